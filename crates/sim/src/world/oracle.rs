//! Who knows the truth: what was sent, what must have come of it, and what a stage that nothing ever happened to would have
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drive::{Action, Driver, Input, Restored, Settled};
use event::topic::{DLQ, ENRICHED, LATE, SESSIONS};
use event::{Micros, Offset, TopicPartition};
use flow::{Keyed, Metadata, Operator as _, Progress};
use log::Log;
use session::{SessionStage, SessionsConfig};

use super::scenario::LONG_MS;
use super::source;
use crate::laws::{self, Law, Violation, sessions as law};
use crate::ledger::Ledger;
use crate::model::Model;
use crate::outputs::Outputs;

/// What is known of a run.
#[derive(Default)]
pub struct Oracle {
    pub ledger: Ledger,
    pub outputs: Outputs,
    model: Model,
}

/// A record as it was stored: key, header and value.
type Stored = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

impl Oracle {
    fn world(&self, rules: &SessionsConfig) -> laws::World<'_> {
        let sessions = law::SessionRules { gap_us: rules.gap_us, allowed_lateness_us: rules.allowed_lateness_us };
        laws::World { ledger: &self.ledger, outputs: &self.outputs, model: &self.model, sessions: Some(sessions) }
    }

    /// Reads on in all topics.
    pub fn read(&mut self, log: &dyn Log) -> Vec<Violation> {
        let read = self.outputs.read(log);
        self.model.extend(&self.outputs.raw);
        let look_at = "the log: what it gave before, it must give again";
        read.err().map(|why| laws::conduct(why, look_at)).into_iter().collect()
    }

    /// The laws that hold while events flow.
    pub fn at_any_time(&self, rules: &SessionsConfig) -> Vec<Violation> {
        let world = self.world(rules);
        let mut all = laws::l1_acknowledged_is_stored(&world);
        all.extend(laws::l2_at_most_once(&world));
        all.extend(laws::l3_nothing_that_was_not_sent(&world));
        all.extend(laws::l5_no_hole(&world));
        all.extend(laws::order_of_each_visitor(&world));
        let rules = world.sessions.expect("set above");
        all.extend(law::l2_told_once(&world));
        all.extend(law::l3_links_were_seen(&world, rules));
        all
    }

    /// All laws, when all is quiet. `over`: every session is.
    pub fn when_quiet(&self, rules: &SessionsConfig, log: &dyn Log, over: bool) -> Vec<Violation> {
        let world = self.world(rules);
        let mut all = laws::check(&world);
        if over && rules.allowed_lateness_us >= LONG_MS * 1000 {
            all.extend(law::l8_sessions_equal_the_model(&world, world.sessions.expect("set above")));
        }
        if over {
            all.extend(facts(log));
        }
        match totals(log) {
            Ok((enrich, sessions)) => {
                all.extend(law::l7_sessions_sum(&world, sessions.processed, sessions.quarantined));
                let stored = laws::Sums::of_outputs(&world);
                let own = (enrich.processed, enrich.quarantined, enrich.deduplicated);
                if own != (stored.processed, stored.quarantined, stored.deduplicated) {
                    let what = format!("enrich says of itself {own:?}, and stored is {stored:?}");
                    all.push(Violation { law: Law::L7, ..laws::conduct(what, "the totals beside its positions") });
                }
            }
            Err(why) => all.push(laws::conduct(why, "the committed positions")),
        }
        all
    }
}

/// What is said of an event's visitor is what the source says of him, and of nobody else; or a lie.
fn facts(log: &dyn Log) -> Vec<Violation> {
    let mut all = Vec::new();
    for p in 0..log.partitions(ENRICHED) {
        let stored = match stored(log, ENRICHED.partition(p)) {
            Ok(stored) => stored,
            Err(why) => return vec![laws::conduct(why, "the log: it must be readable when all is quiet")],
        };
        for (_, (_, _, value)) in stored {
            let Some(value) = value else { continue };
            let event: serde_json::Value = serde_json::from_slice(&value).unwrap_or_default();
            // Whose visitor is not named is known by his user.
            let visitor = match (event["anonymousId"].as_str(), event["userId"].as_str()) {
                (Some(visitor), _) => visitor.to_owned(),
                (None, user) => format!("user:{}", user.unwrap_or_default()),
            };
            let id = event["messageId"].as_str().unwrap_or_default();
            all.extend(fact(&event["enriched"], "fact", &visitor));
            all.extend(fact(&event["enriched"], "own", id));
        }
    }
    all
}

fn fact(enriched: &serde_json::Value, name: &str, key: &str) -> Option<Violation> {
    let status = enriched["status"][name].as_str().unwrap_or_default();
    let truth = source::value(key.as_bytes());
    let said = enriched.get(name).map(ToString::to_string);
    let lie = said.as_ref().is_some_and(|said| said.contains("\"lie\""));
    let holds = match status {
        "ok" => lie || said.is_some() && said == truth,
        "miss" => truth.is_none() && said.is_none(),
        stale if stale.starts_with("stale:") => lie || said.is_some() && said == truth,
        _ => said.is_none(),
    };
    let what = || format!("{name} of {key:?} is {said:?} ({status}), and the truth is {truth:?}");
    (!holds).then(|| laws::conduct(what(), "whose answer it is: a call's answers, or what came when it was over"))
}

/// What the stages say of themselves, of all partitions.
fn totals(log: &dyn Log) -> Result<(Progress, Progress), String> {
    let (mut enrich, mut sessions) = (Progress::default(), Progress::default());
    for p in 0..log.partitions(ENRICHED) {
        let committed =
            |group: &str, at: TopicPartition| log.committed(group, &log::Input::Topic(at)).map_err(|e| e.to_string());
        if let Some(stored) = committed("enrich", event::topic::RAW.partition(p))? {
            let of = Progress::decode(&stored.metadata).ok_or("enrich's metadata cannot be read")?;
            add(&mut enrich, &of);
        }
        if let Some(stored) = committed("sessions", ENRICHED.partition(p))? {
            let of = Metadata::decode(&stored.metadata).ok_or("sessions' metadata cannot be read")?.progress;
            add(&mut sessions, &of);
        }
    }
    Ok((enrich, sessions))
}

fn add(sum: &mut Progress, of: &Progress) {
    sum.processed += of.processed;
    sum.quarantined += of.quarantined;
    sum.deduplicated += of.deduplicated;
}

/// L11. The sessions stage from the beginning of the log to its end, in one go and without a disaster: its outputs and its
/// state, by partition.
pub struct Straight {
    outputs: BTreeMap<TopicPartition, Vec<Stored>>,
    states: Vec<Vec<u8>>,
}

impl Straight {
    /// # Errors
    /// Why it stopped.
    pub fn run(stage: SessionStage, log: &dyn Log) -> Result<Straight, String> {
        let stage = Arc::new(stage);
        let partitions = log.partitions(ENRICHED);
        let mut straight = Straight { outputs: BTreeMap::new(), states: Vec::new() };
        for p in 0..partitions {
            let from = Restored {
                state: Keyed::default(),
                position: 0,
                metadata: None,
                sources: partitions,
                accept_divergence: false,
            };
            let mut driver = Driver::restored(stage.clone(), ENRICHED.partition(p), (), from, 1);
            straight.pass(&mut driver, log)?;
            straight.states.push(driver.state().canonical());
        }
        Ok(straight)
    }

    fn pass(&mut self, driver: &mut Driver<SessionStage>, log: &dyn Log) -> Result<(), String> {
        while let Some(action) = driver.next_action() {
            match action {
                Action::ReadPosition => driver.handle(Input::Position(None)),
                Action::Read { from } => {
                    let fetch = log.fetch(driver.input(), from, usize::MAX / 2).map_err(|e| e.to_string())?;
                    if !fetch.chunks.is_empty() {
                        driver.handle(Input::Records { chunks: fetch.chunks, at: Micros(0) });
                    } else if fetch.next > from {
                        driver.handle(Input::Gap { next: fetch.next });
                    } else {
                        driver.read_nothing();
                        return Ok(());
                    }
                }
                Action::Commit { seq, blocks, .. } => {
                    for block in blocks {
                        let stored = self.outputs.entry(block.to).or_default();
                        for record in event::record::records(&block.bytes) {
                            stored.push(owned(&record.expect("just written")));
                        }
                    }
                    driver.handle(Input::Settled { seq, settled: Settled::Committed });
                }
                Action::Ask { .. } => unreachable!("a deterministic stage asks nobody"),
                Action::Stop(why) => return Err(why.to_string()),
            }
        }
        Ok(())
    }

    /// Compares what it wrote with what is stored.
    pub fn compare(&self, log: &dyn Log) -> Vec<Violation> {
        let look_at = "the sessions stage: what of batches, aborts, kills and snapshots is seen in its outputs?";
        let found = |what: String| Violation { law: Law::L11, ..laws::conduct(what, look_at) };
        let mut all = Vec::new();
        let partitions = log.partitions(ENRICHED);
        for topic in [SESSIONS, LATE] {
            for p in 0..partitions {
                let at = topic.partition(p);
                let stored = match stored(log, at) {
                    Ok(stored) => stored,
                    Err(why) => return vec![laws::conduct(why, "the log")],
                };
                let wanted = self.outputs.get(&at).map_or(&[][..], Vec::as_slice);
                let differs = wanted.iter().zip(&stored).position(|(w, (_, s))| w != s);
                if let Some(n) = differs {
                    let show = |(key, _, value): &Stored| {
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        format!("{} {}", text(key), value.as_deref().map(text).unwrap_or_default())
                    };
                    let (offset, is) = &stored[n];
                    all.push(found(format!(
                        "{at}@{offset}, the {n}th record, is {}; a run without a disaster writes {}{}",
                        show(is),
                        show(&wanted[n]),
                        if is.0 == wanted[n].0 && is.2 == wanted[n].2 { " (their headers differ)" } else { "" }
                    )));
                } else if wanted.len() != stored.len() {
                    let counts = (stored.len(), wanted.len());
                    all.push(found(format!(
                        "{at} has {} records; a run without a disaster writes {}",
                        counts.0, counts.1
                    )));
                }
            }
        }
        // Dead letters lie by their ids, in the order in which partitions happened to be at work.
        let dead = |p| stored(log, DLQ.partition(p)).unwrap_or_default();
        let stored: BTreeSet<Stored> =
            (0..partitions).flat_map(dead).map(|(_, s)| s).filter(|(_, header, _)| is_of_enriched(header)).collect();
        let wanted: BTreeSet<Stored> =
            (0..partitions).flat_map(|p| self.outputs.get(&DLQ.partition(p)).cloned().unwrap_or_default()).collect();
        if stored.iter().map(without_hash).ne(wanted.iter().map(without_hash)) {
            all.push(found(format!("{} dead letters of sessions where {} are right", stored.len(), wanted.len())));
        }
        all
    }

    /// Compares its state with that of a stage at work.
    pub fn compare_state(&self, partition: u32, state: &[u8]) -> Option<Violation> {
        let is = &self.states[partition as usize];
        (is != state).then(|| Violation {
            law: Law::L11,
            ..laws::conduct(
                format!(
                    "the state of sessions in partition {partition} ({} bytes) is not that of a run without a disaster ({} bytes)",
                    state.len(),
                    is.len()
                ),
                "snapshots and their chains, undo logs, timers",
            )
        })
    }
}

fn owned(record: &event::RecordRef<'_>) -> Stored {
    (record.key.to_vec(), record.header_bytes.to_vec(), record.value.map(<[u8]>::to_vec))
}

fn without_hash((key, _, value): &Stored) -> (Vec<u8>, Option<Vec<u8>>) {
    (key.clone(), value.clone())
}

fn is_of_enriched(header: &[u8]) -> bool {
    event::HeaderRef::new(header).is_some_and(|h| h.source().topic == ENRICHED.0)
}

/// All records of a partition.
fn stored(log: &dyn Log, at: TopicPartition) -> Result<Vec<(Offset, Stored)>, String> {
    let (mut out, mut from) = (Vec::new(), 0);
    loop {
        let fetch = log.fetch(at, from, 1 << 22).map_err(|e| format!("{at}: {e}"))?;
        for chunk in &fetch.chunks {
            for record in chunk.records() {
                let (offset, record) = record.map_err(|e| format!("{at}: {e:?}"))?;
                if offset >= from {
                    out.push((offset, owned(&record)));
                }
            }
        }
        if fetch.next <= from || fetch.next >= fetch.end {
            return Ok(out);
        }
        from = fetch.next;
    }
}

/// The group under which sessions are committed, for whoever asks how far they are.
pub fn groups(stage: &SessionStage) -> [(&'static str, event::TopicId); 2] {
    [("enrich", event::topic::RAW), (stage.group(), ENRICHED)]
}
