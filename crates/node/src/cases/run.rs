//! One case through the pipeline: the door's own collector, the enrich stage's own state machine.

use std::sync::Arc;

use door::collect::Collector;
use door::http::{Delivery, take_body};
use door::input::{Origin, beginning, take_whole};
use enrich::enricher::{AsksBy, LookupSetup, Setup};
use event::record::records;
use event::topic::{DLQ, ENRICHED, RAW};
use event::{Block, BlockBuilder, Field, RecordRef};
use flow::Status;
use lookup::{Answer, LookupError};
use serde_json::{Map, Value, json};
use wire::{ArrivalPosition, Decoder, Preset};

use super::compare::{Difference, differences};
use super::{Answered, Case, Expect, INPUT_MAX, Input, Rows, Subsets};
use crate::config::{ClientAddress, Config, SourceKind};
use crate::engine::StartError;
use crate::lookups::unasked::Unasked;
use crate::parts;
use crate::pipeline::Pipeline;
use stage::facts::{Pinned, Sources};

/// Runs cases against one configuration, with its own files where a case gives nothing else.
pub struct Runner<'c> {
    config: &'c Config,
    sources: Sources,
    setup: Setup,
    members: Vec<String>,
    /// What cannot be used of the configuration's files, one sentence each.
    without: Vec<String>,
}

/// What became of a case.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Empty: it passed.
    pub differences: Vec<Difference>,
    /// The member `enriched` of each event that came out.
    pub enriched: Vec<Value>,
    /// The fields of each event that was accepted.
    pub fields: Vec<Value>,
    /// (code, pointer, message) of each dead letter.
    pub dead: Vec<(String, String, String)>,
    pub duplicates: u64,
    /// Lookups over a connection that an event wanted, and the case gives nothing for: nobody was asked.
    pub unasked: Vec<String>,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Memory to tell a case's duplicates with: the least there is is more than a case has events.
const DEDUP_MEMORY: u64 = 1 << 20;

impl<'c> Runner<'c> {
    /// Opens the configuration's files.
    pub fn new(config: &'c Config) -> Result<Runner<'c>, LookupError> {
        let (sources, setup, without) = parts::sources(config)?;
        let members = Pipeline::new(config, setup.clone(), DEDUP_MEMORY).members().map(str::to_owned).collect();
        Ok(Runner { config, sources, setup, members, without })
    }

    /// The members of `enriched` that enrichers write.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// What these cases go without, one sentence each: what cannot be used of the configuration's files, where at least one
    /// of them gives nothing else.
    pub fn without<'r>(&'r self, cases: &'r [&Case]) -> impl Iterator<Item = &'r str> {
        let given = |case: &Case, sentence: &str| {
            let members = case.members.iter().map(|m| &m.name).chain(case.lookups.iter().map(|(name, _)| name));
            members.into_iter().any(|name| sentence.contains(&format!("`enriched.{name}`")))
        };
        let missed = move |sentence: &&str| cases.iter().any(|case| !given(case, sentence));
        self.without.iter().map(String::as_str).filter(missed)
    }

    /// # Errors
    /// What keeps the case from being run at all: a file that cannot be read.
    pub fn run(&self, case: &Case) -> Result<Outcome, String> {
        let source = &self.config.sources[case.source];
        let decoder = Arc::new(parts::decoder(self.config, source).map_err(|e: StartError| e.to_string())?);
        let mut collector = Collector::new(decoder.clone(), 1);
        self.collect(case, &mut collector)?;
        let mut outcome = Outcome::default();
        let mut raw = None;
        for block in collector.take() {
            match block.to.topic {
                RAW => raw = Some(block),
                _ => self.letters(&block, &mut outcome),
            }
        }
        let raw = raw.unwrap_or_else(|| BlockBuilder::new(RAW.partition(0)).finish());
        outcome.fields.extend(each(&raw).map(|record| fields(&record, &decoder)));
        let mut blocks = Vec::new();
        let setup = Setup { given: case.members.clone(), ..self.setup.clone() };
        let mut pipeline = Pipeline::new(self.config, setup, DEDUP_MEMORY);
        let unasked = self.unasked(case);
        pipeline
            .pass(raw, case.received, &self.facts(case, &unasked), |out| blocks.extend(out))
            .map_err(|why| format!("the enrich stage stopped: {why}"))?;
        for block in &blocks {
            match block.to.topic {
                ENRICHED => outcome.enriched.extend(each(block).map(|record| self.member(&record))),
                _ => self.letters(block, &mut outcome),
            }
        }
        let wanted = unasked.iter().filter(|(_, unasked)| unasked.wanted());
        outcome.unasked = wanted.map(|(lookup, _)| lookup.name.clone()).collect();
        outcome.duplicates = pipeline.progress().deduplicated;
        outcome.differences = judge(&case.expect, &outcome);
        Ok(outcome)
    }

    /// Hands a case's events to the door, as its source would.
    fn collect(&self, case: &Case, collector: &mut Collector) -> Result<(), String> {
        let source = &self.config.sources[case.source];
        let mut texts: Vec<Vec<u8>> = Vec::new();
        for input in &case.inputs {
            texts.push(match input {
                Input::Text(text) => text.clone(),
                Input::File(path) => {
                    let read = beginning(Origin::File(path.clone()), INPUT_MAX).map_err(|e| e.to_string())?;
                    if !read.is_whole {
                        return Err(format!("{} has more than {INPUT_MAX} bytes, or is damaged", path.display()));
                    }
                    read.bytes
                }
            });
        }
        if source.kind != SourceKind::Http {
            match source.preset {
                // Lines of one file: the header of a CSV stands in the first.
                Preset::Csv | Preset::AccessLog => texts = vec![texts.join(&b'\n')],
                Preset::Segment | Preset::Ouzel => texts.iter_mut().for_each(|text| on_one_line(text)),
            }
        }
        for (n, text) in texts.iter().enumerate() {
            let name = format!("case:{n}");
            match source.kind {
                SourceKind::Http => {
                    let connection = case.connection.as_ref().map(|(ip, agent)| (ip.as_str(), agent.as_str()));
                    let delivery = Delivery {
                        content_type: None,
                        received: case.received,
                        connection: connection.filter(|_| source.client_address == ClientAddress::Connection),
                        events_max: u64::MAX,
                    };
                    let position = |index| ArrivalPosition::At { prefix: &name, index };
                    let taken = take_body(collector, text, &delivery, position, |_, _| {});
                    taken.expect("there is no bound on them");
                }
                SourceKind::File { .. } | SourceKind::Stdin | SourceKind::Kafka { .. } => {
                    take_whole(collector, text, source.preset, &name, case.received)
                        .map_err(|f| format!("the first line of `input` is no CSV header: {}", f.message))?;
                }
            }
        }
        Ok(())
    }

    /// What lookups answer: what the case gives, else what the configuration's files have.
    fn facts(&self, case: &Case, unasked: &[(&LookupSetup, Unasked)]) -> Pinned {
        let given = case.lookups.iter().filter_map(|(name, rows)| {
            let lookup = self.setup.lookups.iter().find(|l| l.name == *name)?;
            Some((lookup.source, Arc::new(rows.clone()) as Arc<dyn Answer>))
        });
        let unasked = unasked.iter().map(|(l, unasked)| (l.source, Arc::new(unasked.clone()) as Arc<dyn Answer>));
        self.sources.pin_with(unasked.chain(given))
    }

    /// Lookups over a connection that the case gives nothing for.
    fn unasked(&self, case: &Case) -> Vec<(&LookupSetup, Unasked)> {
        let is_given = |l: &&LookupSetup| case.lookups.iter().any(|(name, _)| l.name == *name);
        let remote = self.setup.lookups.iter().filter(|l| l.asks_by == AsksBy::Parameters);
        remote.filter(|l| !is_given(l)).map(|l| (l, Unasked::default())).collect()
    }

    fn letters(&self, block: &Block, outcome: &mut Outcome) {
        debug_assert_eq!(block.to.topic, DLQ);
        for letter in each(block) {
            let letter: Value = serde_json::from_slice(letter.value.unwrap_or_default()).unwrap_or_default();
            let text = |name: &str| letter[name].as_str().unwrap_or_default().to_owned();
            outcome.dead.push((text("code"), text("pointer"), text("message")));
        }
    }

    fn member(&self, record: &RecordRef<'_>) -> Value {
        let event: Value = serde_json::from_slice(record.value.unwrap_or_default()).unwrap_or_default();
        event.get(&self.config.enrich.member).cloned().unwrap_or_default()
    }
}

/// Puts an event that was written over several lines, so that people can read it, on the one line that it has in a file.
fn on_one_line(text: &mut [u8]) {
    if serde_json::from_slice::<Map<String, Value>>(text).is_ok() {
        // In JSON, line ends stand between values alone.
        text.iter_mut().filter(|b| matches!(b, b'\n' | b'\r')).for_each(|b| *b = b' ');
    }
}

impl Answer for Rows {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        let own = self.by_key.iter().find(|(k, _)| k == key).map(|(_, answered)| answered);
        match own.or(self.every.as_ref()) {
            Some(Answered { status, json }) => {
                out.extend_from_slice(json);
                *status
            }
            None => Status::Miss,
        }
    }

    fn versions(&self) -> Vec<&str> {
        vec!["given"]
    }
}

fn each(block: &Block) -> impl Iterator<Item = RecordRef<'_>> {
    records(&block.bytes).map(|record| record.expect("this process wrote it"))
}

/// The envelope of an accepted event, by the names of configuration: texts as they count, the time in UTC.
fn fields(record: &RecordRef<'_>, decoder: &Decoder) -> Value {
    let header = record.header().expect("this process wrote it");
    let value = record.value.unwrap_or_default();
    let mut fields = Map::new();
    for (field, name) in decoder.fields() {
        let found = match header.json(*field, value) {
            _ if *field == Field::TIME => Some(json!(header.event_time().to_string())),
            Some(json) => match wire::json::text(json) {
                Some(text) => Some(json!(String::from_utf8_lossy(&text))),
                None => serde_json::from_slice(json).ok(),
            },
            None => header.inherited_value(*field).map(|text| json!(String::from_utf8_lossy(text))),
        };
        fields.extend(found.map(|found| (name.clone(), found)));
    }
    fields.entry("id").or_insert_with(|| {
        let id = header.inherited_value(Field::ID).unwrap_or_default();
        json!(String::from_utf8_lossy(id))
    });
    fields.insert("visitor".into(), json!(String::from_utf8_lossy(record.key)));
    Value::Object(fields)
}

/// What is not as the case expects it.
fn judge(expect: &Expect, outcome: &Outcome) -> Vec<Difference> {
    let mut all = Vec::new();
    let codes: Vec<&str> = outcome.dead.iter().map(|(code, ..)| code.as_str()).collect();
    let expected: Vec<&str> = expect.dlq.iter().map(|c| c.name()).collect();
    if codes != expected {
        let list = |codes: &[&str]| {
            if codes.is_empty() { "no dead letter".to_owned() } else { format!("dead letters: {}", codes.join(", ")) }
        };
        let mut got = list(&codes);
        for (code, pointer, message) in &outcome.dead {
            let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
            got.push_str(&format!("\n{code}{at}: {message}"));
        }
        all.push(Difference::whole(list(&expected), got));
    }
    if outcome.duplicates != expect.duplicates {
        let of = |n: u64| format!("{n} duplicates");
        all.push(Difference::whole(of(expect.duplicates), of(outcome.duplicates)));
    }
    match &expect.enriched {
        Some(subsets) => compare(subsets, &outcome.enriched, "enriched event", "", &mut all),
        // Who says what becomes of the fields, or nothing but a dead letter, is not asked about the rest.
        None if expect.fields.is_none() && !outcome.enriched.is_empty() => {
            let got = format!("{} of them", outcome.enriched.len());
            all.push(Difference::whole("no enriched event", got));
        }
        None => {}
    }
    if let Some(subsets) = &expect.fields {
        compare(subsets, &outcome.fields, "accepted event", "fields ", &mut all);
    }
    all
}

fn compare(subsets: &Subsets, got: &[Value], what: &str, prefix: &str, all: &mut Vec<Difference>) {
    let expected: Vec<&Value> = match subsets {
        Subsets::Each(one) => vec![one; got.len().max(1)],
        Subsets::List(list) => list.iter().collect(),
    };
    if expected.len() != got.len() {
        let of = |n: usize| match n {
            0 => format!("no {what}"),
            1 => format!("one {what}"),
            n => format!("{n} {what}s"),
        };
        all.push(Difference::whole(of(expected.len()), of(got.len())));
    }
    for (event, (expected, got)) in expected.iter().zip(got).enumerate() {
        for (pointer, expected, found) in differences(expected, Some(got)) {
            let missing = || match status_of(&pointer, got) {
                Some(status) => format!("nothing (its status is \"{status}\")"),
                None => "nothing".to_owned(),
            };
            let got = found.map_or_else(missing, Value::to_string);
            let pointer = format!("{prefix}{pointer}");
            all.push(Difference { event: Some(event), pointer, expected: expected.to_string(), got });
        }
    }
}

/// What `status` says about the member that a pointer leads into.
fn status_of<'v>(pointer: &str, enriched: &'v Value) -> Option<&'v str> {
    let member = pointer.split('/').nth(1)?;
    enriched["status"].get(member)?.as_str()
}
