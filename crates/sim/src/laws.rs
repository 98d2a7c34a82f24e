//! The laws of `stateful.md` that a ledger can check, each written once. They are judged when things are quiet: nothing
//! is being sent, and everything that was stored has been processed.

pub mod sessions;

use std::collections::BTreeMap;
use std::fmt;

use event::Code;
use hashbrown::{HashMap, HashSet};

use crate::ledger::{Intent, Kind, Ledger, MAX_FUTURE_US};
use crate::model::{Fate, Model};
use crate::outputs::{Outputs, Row, Topic};
use sessions::SessionRules;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Law {
    /// Acknowledged is stored.
    L1,
    /// An id is at most once per revision in each output.
    L2,
    /// Nothing is stored that was not sent, checksums equal.
    L3,
    /// An event is in all outputs or in none.
    L4,
    /// No hole below the highest acknowledged sequence of a source.
    L5,
    /// Aggregates equal the model's.
    L6,
    /// Both sums of `events.md` hold.
    L7,
    /// Session boundaries equal the model's.
    L8,
    /// Any cutting into batches, and any abort in between, gives the same outputs.
    L11,
    /// What is enriched of one visitor, as `raw` has him, is in the order of `raw`.
    Order,
    /// The program answers, keeps running and shows what it has shown before.
    Conduct,
}

/// A law that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub law: Law,
    pub what: String,
    /// The first few events (or records, `topic/partition@offset`) it is about.
    pub examples: Vec<String>,
    /// Of how many it is true.
    pub count: usize,
    /// Where to look first.
    pub look_at: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken {}x: {}", self.law, self.count, self.what)?;
        for example in &self.examples {
            write!(f, "\n    {example}")?;
        }
        write!(f, "\n    look at: {}", self.look_at)
    }
}

const EXAMPLES_MAX: usize = 5;

/// Gathers what breaks one law in one way.
struct Finding {
    violation: Violation,
}

impl Finding {
    fn new(law: Law, what: &str, look_at: &'static str) -> Finding {
        Finding { violation: Violation { law, what: what.to_owned(), examples: Vec::new(), count: 0, look_at } }
    }

    fn add(&mut self, example: impl FnOnce() -> String) {
        self.violation.count += 1;
        if self.violation.examples.len() < EXAMPLES_MAX {
            self.violation.examples.push(example());
        }
    }
}

fn found(findings: impl IntoIterator<Item = Finding>) -> Vec<Violation> {
    findings.into_iter().map(|f| f.violation).filter(|v| v.count > 0).collect()
}

/// A violation that was seen directly.
pub fn conduct(what: String, look_at: &'static str) -> Violation {
    Violation { law: Law::Conduct, what, examples: Vec::new(), count: 1, look_at }
}

/// What is judged.
pub struct World<'a> {
    pub ledger: &'a Ledger,
    pub outputs: &'a Outputs,
    pub model: &'a Model,
    /// `None`: no sessions are made.
    pub sessions: Option<SessionRules>,
}

impl World<'_> {
    /// Whether a record is of an event that the sessions stage was made to fail on.
    fn is_poison(&self, row: &Row) -> bool {
        row.id.is_some_and(|id| self.ledger.poison.contains(&id))
    }
}

/// All laws that hold at any time; empty when they do.
pub fn check(world: &World<'_>) -> Vec<Violation> {
    let mut all = l1_acknowledged_is_stored(world);
    all.extend(l2_at_most_once(world));
    all.extend(l3_nothing_that_was_not_sent(world));
    all.extend(l4_in_all_or_in_none(world));
    all.extend(l5_no_hole(world));
    all.extend(order_of_each_visitor(world));
    all.extend(l7_sums(world));
    all.extend(world.sessions.iter().flat_map(|rules| sessions::at_any_time(world, *rules)));
    all
}

fn show(ledger: &Ledger, intent: &Intent) -> String {
    let batch = ledger.batch(intent);
    format!(
        "{} ({:?}; producer {:016x}, batch {}, place {}; sent {}x, {})",
        intent.id,
        intent.kind,
        intent.producer,
        intent.batch,
        intent.index,
        batch.attempts,
        if batch.ack.is_some() { "acknowledged" } else { "not acknowledged" }
    )
}

fn place(topic: &str, partition: u32, row: &Row) -> String {
    let id = row.id.map_or("no id of ours".to_owned(), |id| id.to_string());
    format!("{topic}/{partition}@{} ({id})", row.offset)
}

fn counts(topic: &Topic, of: impl Fn(&Row) -> bool) -> HashMap<u64, u32> {
    let mut counts = HashMap::new();
    for (_, row) in topic.iter().filter(|(_, r)| of(r)) {
        *counts.entry(row.bytes).or_insert(0) += 1;
    }
    counts
}

fn is_refusal(row: &Row) -> bool {
    row.code.is_some_and(|c| c.outcome() == event::Outcome::Refused)
}

/// The dead letters of the doors and of the enrich stage; those of the sessions stage are judged with sessions.
fn letters(outputs: &Outputs) -> impl Iterator<Item = (u32, &Row)> {
    outputs.dlq.iter().filter(|(_, r)| !r.from_enriched)
}

/// Whether a record of this event must have the flag. A live door corrects a time that is not after `sentAt`; any other it
/// takes as it stands. Where the reader does not say when it was received, it was when it was sent.
fn must_be_future(intent: &Intent, row: &Row) -> bool {
    let received = row.received.unwrap_or(intent.sent_at);
    intent.time > intent.sent_at && intent.time.0 > received.0 + MAX_FUTURE_US
}

/// L1. Every acknowledged event is in `raw` as often as it was acknowledged, and every acknowledged refusal in `dlq`.
pub fn l1_acknowledged_is_stored(world: &World<'_>) -> Vec<Violation> {
    let mut lost = Finding::new(
        Law::L1,
        "acknowledged, and not in raw",
        "the journal's sync and its tail at start: was the answer given before the data was durable?",
    );
    let mut unexplained = Finding::new(
        Law::L1,
        "its refusal was acknowledged, and it is not in dlq",
        "the door: are refused events part of the commit that the answer waits for?",
    );
    let raw = counts(&world.outputs.raw, |_| true);
    let dlq = counts(&world.outputs.dlq, is_refusal);
    let mut acked: HashMap<u64, u32> = HashMap::new();
    for intent in world.ledger.intents.iter().filter(|i| world.ledger.is_acked(i)) {
        let wanted = acked.entry(intent.bytes).or_insert(0);
        *wanted += 1;
        let (stored, finding) = match intent.kind {
            Kind::Malformed(_) => (&dlq, &mut unexplained),
            _ => (&raw, &mut lost),
        };
        if stored.get(&intent.bytes).copied().unwrap_or(0) < *wanted {
            finding.add(|| show(world.ledger, intent));
        }
    }
    found([lost, unexplained])
}

/// L2. An id is once per revision in `enriched`; no record of `raw` has two descendants in one output.
pub fn l2_at_most_once(world: &World<'_>) -> Vec<Violation> {
    let mut twice = Finding::new(
        Law::L2,
        "an id is in enriched more than once",
        "dedup after a restart: does its table hold exactly what lies below the committed position?",
    );
    let mut descendants = Finding::new(
        Law::L2,
        "one record of raw has several descendants in one output",
        "the commit of the enrich stage: are outputs and position in one frame, and is the position the right one?",
    );
    let mut ids = HashSet::new();
    for (partition, row) in world.outputs.enriched.iter() {
        if row.id.is_some_and(|id| !ids.insert((id, row.revision))) {
            twice.add(|| place("enriched", partition, row));
        }
    }
    for (name, topic) in [("enriched", &world.outputs.enriched), ("dlq", &world.outputs.dlq)] {
        let mut sources = HashSet::new();
        for (partition, row) in topic.iter().filter(|(_, r)| !r.from_enriched) {
            if row.source.is_some_and(|source| !sources.insert((source, row.revision))) {
                descendants.add(|| place(name, partition, row));
            }
        }
    }
    found([twice, descendants])
}

/// L3. Every stored record was sent, byte for byte, by the visitor it is stored under, and no more often than it was.
pub fn l3_nothing_that_was_not_sent(world: &World<'_>) -> Vec<Violation> {
    let ledger = world.ledger;
    let mut unsent = Finding::new(
        Law::L3,
        "stored, but no event with these bytes was sent",
        "whatever copies an event's bytes: splice, dead letters, frames that were torn",
    );
    let mut too_often = Finding::new(
        Law::L3,
        "stored more often than it was sent",
        "the door and the journal: was one commit carried out twice, or replayed after it had been stored?",
    );
    let mut misjudged = Finding::new(
        Law::L3,
        "stored where it does not belong",
        "the decoder: an event that had to be refused is in raw, or a good one was refused, or the reason is another",
    );
    let mut misplaced = Finding::new(
        Law::L3,
        "under another key, or in another partition, or without its flag",
        "the field map, the partitioner, and the flags in the record's header",
    );
    let mut times: HashMap<(&str, u64), u32> = HashMap::new();
    for name in crate::outputs::TOPICS {
        for (partition, row) in world.outputs.topic(name).iter() {
            let Some(intents) = ledger.by_bytes.get(&row.bytes) else {
                unsent.add(|| place(name, partition, row));
                continue;
            };
            let intents = intents.iter().map(|i| &ledger.intents[*i as usize]);
            let first = intents.clone().next().expect("an entry is made with its first intent");
            let belongs = match (name, first.kind, row.code) {
                ("dlq", ..) if row.from_enriched => world.is_poison(row) && row.code == Some(Code::OperatorPanic),
                ("dlq", Kind::Malformed(code), got) => got == Some(code),
                ("dlq", _, got) => got == Some(Code::ConflictingDuplicate),
                (_, kind, _) => !matches!(kind, Kind::Malformed(_)),
            };
            if !belongs {
                misjudged
                    .add(|| format!("{} code {:?}: {}", place(name, partition, row), row.code, show(ledger, first)));
            }
            // A dead letter of `raw` is counted by its source (L2); all else by how often its bytes were sent.
            if name == "raw" || (name == "dlq" && row.source.is_none()) {
                let times = times.entry((name, row.bytes)).or_insert(0);
                *times += 1;
                if *times > intents.clone().map(|i| ledger.batch(i).attempts).sum() {
                    too_often.add(|| format!("{}: {}", place(name, partition, row), show(ledger, first)));
                }
            }
            if name != "dlq" {
                let mut key = Vec::new();
                ouzel_gen::Visitor(first.visitor).write_key(&mut key);
                // Who was found by the user is judged where links are.
                let is_linked = row.linked && world.sessions.is_some() && key.starts_with(b"user:");
                let key_is_right = is_linked || row.key == xxhash_rust::xxh3::xxh3_64(&key);
                if !key_is_right || !row.placed || row.future != must_be_future(first, row) {
                    misplaced.add(|| format!("{}: {}", place(name, partition, row), show(ledger, first)));
                }
            }
        }
    }
    found([unsent, too_often, misjudged, misplaced])
}

/// L4. What is in `raw` went where the model says, and nothing else did, whether it was acknowledged or not; and a batch
/// is stored whole or not at all.
pub fn l4_in_all_or_in_none(world: &World<'_>) -> Vec<Violation> {
    let mut half = Finding::new(
        Law::L4,
        "a part of a batch that was not acknowledged is stored, and another part is not",
        "the journal: is a frame that was not written to its end taken for a good one?",
    );
    let mut stored: HashSet<u64> = world.outputs.raw.iter().map(|(_, r)| r.bytes).collect();
    stored.extend(letters(world.outputs).map(|(_, r)| r.bytes));
    let mut open: BTreeMap<(u64, u64), (usize, usize, usize)> = BTreeMap::new();
    for (n, intent) in world.ledger.intents.iter().enumerate() {
        // The bytes of other kinds may be there from an earlier batch.
        let first = !matches!(intent.kind, Kind::Resend | Kind::ResendLater | Kind::Conflict);
        if first && !world.ledger.is_acked(intent) {
            let (events, found, _) = open.entry((intent.producer, intent.batch)).or_insert((0, 0, n));
            *events += 1;
            *found += usize::from(stored.contains(&intent.bytes));
        }
    }
    for (events, found, n) in open.into_values().filter(|(events, found, _)| *found > 0 && found < events) {
        half.add(|| format!("{found} of {events}, the first: {}", show(world.ledger, &world.ledger.intents[n])));
    }
    let mut missing = Finding::new(
        Law::L4,
        "in raw, and never passed on",
        "the enrich stage's position: did it move past a record whose output was not committed?",
    );
    let mut wrongly = Finding::new(
        Law::L4,
        "a record of raw that is a duplicate or conflict was passed on, or the first of its id was not",
        "dedup: which of several records of one id is taken for the first?",
    );
    let mut orphan = Finding::new(
        Law::L4,
        "in enriched or dlq, and its source is not in raw",
        "the journal's tail at start: was a record lost that a stage had read already?",
    );
    let by_source = |topic: &Topic| -> HashMap<(u32, u64), u64> {
        topic.iter().filter(|(_, r)| !r.from_enriched).filter_map(|(_, r)| Some((r.source?, r.bytes))).collect()
    };
    let (enriched, dlq) = (by_source(&world.outputs.enriched), by_source(&world.outputs.dlq));
    let mut sources = HashSet::new();
    for (partition, (rows, fates)) in (0..).zip(world.outputs.raw.rows.iter().zip(&world.model.fates)) {
        for (row, fate) in rows.iter().zip(fates) {
            let source = (partition, row.offset);
            sources.insert(source);
            let got = (enriched.get(&source), dlq.get(&source));
            let example = || format!("{} must be {fate:?}: {}", place("raw", partition, row), whose(world, row));
            match (fate, got) {
                (Fate::Enriched, (Some(bytes), None)) if *bytes == row.bytes => {}
                (Fate::Duplicate, (None, None)) => {}
                (Fate::Conflict, (None, Some(bytes))) if *bytes == row.bytes => {}
                (Fate::Enriched | Fate::Conflict, (None, None)) => missing.add(example),
                _ => wrongly.add(example),
            }
        }
    }
    for (name, topic) in [("enriched", &world.outputs.enriched), ("dlq", &world.outputs.dlq)] {
        for (partition, row) in topic.iter().filter(|(_, r)| !r.from_enriched) {
            let needs_source = name == "enriched" || !is_refusal(row);
            if row.source.map_or(needs_source, |s| !sources.contains(&s)) {
                orphan
                    .add(|| format!("{}, source {:?}: {}", place(name, partition, row), row.source, whose(world, row)));
            }
        }
    }
    found([missing, wrongly, orphan, half])
}

fn whose(world: &World<'_>, row: &Row) -> String {
    match world.ledger.by_bytes.get(&row.bytes).and_then(|all| all.first()) {
        Some(i) => show(world.ledger, &world.ledger.intents[*i as usize]),
        None => "never sent".to_owned(),
    }
}

/// L5. A producer sends in order and waits for each answer, so below its highest acknowledged event nothing is missing.
pub fn l5_no_hole(world: &World<'_>) -> Vec<Violation> {
    let mut hole = Finding::new(
        Law::L5,
        "below the highest acknowledged event of its producer, and stored nowhere",
        "the journal: was a later frame kept and an earlier one lost?",
    );
    let mut highest: BTreeMap<u64, u64> = BTreeMap::new();
    for intent in world.ledger.intents.iter().filter(|i| world.ledger.is_acked(i)) {
        let highest = highest.entry(intent.producer).or_insert(0);
        *highest = intent.sequence.max(*highest);
    }
    let mut stored: HashSet<u64> = world.outputs.raw.iter().map(|(_, r)| r.bytes).collect();
    stored.extend(letters(world.outputs).map(|(_, r)| r.bytes));
    for intent in &world.ledger.intents {
        let below = highest.get(&intent.producer).is_some_and(|h| intent.sequence <= *h);
        if below && !stored.contains(&intent.bytes) {
            hole.add(|| show(world.ledger, intent));
        }
    }
    found([hole])
}

/// What is enriched of one visitor, as `raw` has him, is in the order of `raw`: also of those whom their user led to another.
pub fn order_of_each_visitor(world: &World<'_>) -> Vec<Violation> {
    let mut turned = Finding::new(
        Law::Order,
        "an event is enriched behind a later one of its visitor",
        "the window of the enrich stage: does an event wait for earlier ones with its key?",
    );
    let mut last: HashMap<(u32, u32, u64), u64> = HashMap::new();
    for (partition, row) in world.outputs.enriched.iter().filter(|(_, row)| row.revision == 0) {
        let Some((from, offset)) = row.source else { continue };
        let rows = &world.outputs.raw.rows[from as usize];
        let Ok(at) = rows.binary_search_by_key(&offset, |raw| raw.offset) else { continue };
        let before = last.insert((partition, from, rows[at].key), offset);
        if before.is_some_and(|before| before > offset) {
            turned.add(|| place("enriched", partition, row));
        }
    }
    found([turned])
}

/// L7. Every answer adds up, and so does what is stored.
pub fn l7_sums(world: &World<'_>) -> Vec<Violation> {
    let mut answer = Finding::new(
        Law::L7,
        "an answer's accepted and refused are not what was sent",
        "the door: received = accepted + refused",
    );
    for ((producer, batch), state) in &world.ledger.batches {
        if let Some(ack) = state.ack
            && (ack.accepted, ack.refused) != (state.events - state.malformed, state.malformed)
        {
            answer.add(|| format!("producer {producer:016x}, batch {batch}: {state:?}"));
        }
    }
    let mut stored = Finding::new(
        Law::L7,
        "accepted = processed + quarantined + deduplicated does not hold of what is stored",
        "the counts of raw, enriched and dlq, partition by partition",
    );
    let outputs = world.outputs;
    let quarantined = letters(outputs).filter(|(_, r)| !is_refusal(r)).count();
    if outputs.raw.len() != outputs.enriched.len() + quarantined + world.model.duplicates {
        stored.add(|| {
            format!(
                "{} in raw; {} in enriched + {quarantined} quarantined in dlq + {} duplicates",
                outputs.raw.len(),
                outputs.enriched.len(),
                world.model.duplicates
            )
        });
    }
    found([answer, stored])
}

/// The numbers of both sums as a running program exports them, over the life of its data directory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sums {
    pub received: u64,
    pub accepted: u64,
    pub refused: u64,
    pub processed: u64,
    pub quarantined: u64,
    pub deduplicated: u64,
    pub in_flight: u64,
    pub expired: u64,
}

impl Sums {
    /// From the text of `/metrics`; labels of one name are added up. `None` when a number is missing.
    pub fn of_metrics(text: &str) -> Option<Sums> {
        let mut values: HashMap<&str, f64> = HashMap::new();
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let value = line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
            *values.entry(name).or_insert(0.0) += value;
        }
        let number = |name: &str| values.get(name).map(|v| *v as u64);
        Some(Sums {
            received: number("ouzel_events_received_total")?,
            accepted: number("ouzel_events_accepted_total")?,
            refused: number("ouzel_events_refused_total")?,
            processed: number("ouzel_events_processed_total")?,
            quarantined: number("ouzel_events_quarantined_total")?,
            deduplicated: number("ouzel_events_deduplicated_total")?,
            in_flight: number("ouzel_events_in_flight")?,
            expired: number("ouzel_events_expired_total")?,
        })
    }

    /// What the numbers must be when things are quiet, from what is stored.
    pub fn of_outputs(world: &World<'_>) -> Sums {
        let dead = letters(world.outputs).count() as u64;
        let refused = letters(world.outputs).filter(|(_, r)| is_refusal(r)).count() as u64;
        let accepted = world.outputs.raw.len() as u64;
        Sums {
            received: accepted + refused,
            accepted,
            refused,
            processed: world.outputs.enriched.len() as u64,
            quarantined: dead - refused,
            deduplicated: world.model.duplicates as u64,
            in_flight: 0,
            expired: 0,
        }
    }

    /// L7 on the program's own numbers: they add up, and they are what is stored.
    pub fn check(&self, stored: &Sums) -> Vec<Violation> {
        let mut sums = Finding::new(
            Law::L7,
            "the program's own numbers do not add up",
            "where the counters are raised: each event once, on the commit that decides it",
        );
        if self.received != self.accepted + self.refused {
            sums.add(|| format!("received = accepted + refused: {self:?}"));
        }
        if self.accepted != self.processed + self.quarantined + self.deduplicated + self.in_flight + self.expired {
            sums.add(|| format!("accepted = processed + quarantined + deduplicated + in flight + expired: {self:?}"));
        }
        if self != stored {
            sums.add(|| format!("it says {self:?}; stored is {stored:?}"));
        }
        found([sums])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_metrics_are_read_and_judged() {
        let text = "# HELP x y\nouzel_events_received_total{source=\"a\"} 7\nouzel_events_received_total{source=\"b\"} 4\n\
            ouzel_events_accepted_total 10\nouzel_events_refused_total 1\nouzel_events_processed_total 7\n\
            ouzel_events_quarantined_total 1\nouzel_events_deduplicated_total 2\nouzel_events_in_flight 0\n\
            ouzel_events_expired_total 0\n";
        let sums = Sums::of_metrics(text).expect("all numbers");
        assert_eq!((sums.received, sums.accepted), (11, 10));
        assert_eq!(sums.check(&sums), []);
        for wrong in [Sums { deduplicated: 3, ..sums }, Sums { received: 12, ..sums }] {
            assert_eq!(wrong.check(&wrong)[0].law, Law::L7, "{wrong:?}");
            assert_eq!(sums.check(&wrong)[0].count, 1, "{wrong:?}");
        }
        assert_eq!(Sums::of_metrics("ouzel_events_received_total 7"), None);
    }
}
