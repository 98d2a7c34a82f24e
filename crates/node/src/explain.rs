//! What became of an event: everything that the log has on one id, from its receipt to its session.
//!
//! ```text
//!  raw/p@o ──┬─► enriched/q@e, whose header names raw/p@o ──┬─► sessions, late: headers that name enriched/q@e
//!            ├─► dlq: quarantined, header names raw/p@o     └─► else the session of the visitor that covers its time
//!            └─► nothing: a duplicate, or not processed yet
//!  dlq: refused at a door, which has no id; its original has it somewhere
//! ```
//! * [`scan`]: reading partitions from their end, and finding what was made of a record
//! * [`session`]: what the sessions stage made of an enriched record

mod scan;
mod session;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow::{Break, Continue};

use event::key::partition_of;
use event::topic::{DLQ, ENRICHED, RAW};
use event::{Code, Field, Flags, Header, HeaderRef, Micros, Offset, RecordRef, Source, TopicPartition};
use flow::Progress;
use log::{Log, LogError};
use serde_json::{Map, Value, json};

use scan::{Budget, Scan};
pub(crate) use scan::{each, seek};

/// What one request may read: some seconds of a disk.
pub const BYTES_OF_A_REQUEST: u64 = 2 << 30;

/// Events of one id that are told, newest first: an id that more events have is none.
const FOUND_MAX: usize = 100;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    pub id: &'a [u8],
    /// The member that enrich adds.
    pub member: &'a str,
    /// Only events of the source of this name.
    pub source: Option<Vec<u8>>,
    /// Whether the events themselves are told.
    pub body: bool,
    /// How much of `raw` and `dlq` is read at the most, newest first.
    pub bytes_max: u64,
}

impl<'a> Asked<'a> {
    pub fn new(id: &'a [u8], member: &'a str) -> Asked<'a> {
        Asked { id, member, source: None, body: false, bytes_max: u64::MAX }
    }
}

/// How far the search is, in records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Searched {
    pub done: u64,
    pub of: u64,
}

/// The open sessions of a visitor, as `GET /v1/sessions/{visitor}` gives them, where they are known.
pub type Open<'a> = dyn Fn(&[u8]) -> Option<Value> + 'a;

/// What the log has on an id.
#[derive(Clone, PartialEq, Debug)]
pub struct Told {
    id: String,
    /// Of each event its way, as JSON; in the order of their receipt.
    pub events: Vec<Value>,
    /// Dead letters of doors that hold the id.
    pub refused: Vec<Value>,
    searched: u64,
    /// Whether all that is kept was read.
    complete: bool,
}

impl Told {
    pub fn is_found(&self) -> bool {
        !(self.events.is_empty() && self.refused.is_empty())
    }

    pub fn json(&self) -> Value {
        let mut json = json!({
            "id": self.id, "events": self.events, "refused": self.refused,
            "searched": {"records": self.searched, "complete": self.complete},
        });
        if !self.is_found() {
            let how_much = if self.complete {
                "all that is kept"
            } else {
                "the newest part, which is as much as one request reads"
            };
            json["code"] = "no_event".into();
            json["message"] = format!(
                "no event with the id `{}` is in raw or dlq; {how_much} was searched, {} records",
                self.id, self.searched
            )
            .into();
        }
        json
    }
}

/// Finds out. `open` tells the open sessions; `progress` is called now and then.
pub fn explain(
    log: &dyn Log,
    asked: &Asked<'_>,
    open: &Open<'_>,
    progress: &mut dyn FnMut(Searched),
) -> Result<Told, LogError> {
    let mut budget = Budget::new(log, asked.bytes_max, progress)?;
    let mut found = find(log, asked, &mut budget)?;
    let refused = refusals(log, asked, &mut budget)?;
    found.sort_by_key(|f| (f.header.received_time, f.at.partition, f.offset));
    let mut told = Told {
        id: String::from_utf8_lossy(asked.id).into_owned(),
        events: Vec::new(),
        refused,
        searched: budget.records(),
        complete: budget.complete(),
    };
    // In the order of their positions, for a duplicate is one of a lower position.
    let mut outcomes: Vec<Way> = Vec::new();
    for one in &found {
        let way = way(log, asked, open, one, &found, &outcomes)?;
        told.events.push(way.json(asked, one));
        outcomes.push(way);
    }
    Ok(told)
}

/// An event in `raw`.
struct Found {
    at: TopicPartition,
    offset: Offset,
    key: Vec<u8>,
    /// The id as it stands in the event, without quotes: the key of its dead letter.
    raw_id: Vec<u8>,
    header: Header,
    kind: String,
    source: String,
    value: Option<Vec<u8>>,
}

/// What became of it.
struct Way {
    at: (TopicPartition, Offset),
    id_hash: u128,
    outcome: &'static str,
    /// Members that tell more.
    more: Map<String, Value>,
}

fn find(log: &dyn Log, asked: &Asked<'_>, budget: &mut Budget<'_>) -> Result<Vec<Found>, LogError> {
    let mut found = Vec::new();
    let mut scan = Scan::new(log, RAW)?;
    while let Some((at, window)) = scan.next_window() {
        if !budget.allows() || found.len() >= FOUND_MAX {
            budget.cut_short();
            break;
        }
        let read = scan::each(log, at, window.clone(), |offset, record, header| {
            let value = record.value.unwrap_or_default();
            if is_of(header, value, asked) && found.len() < FOUND_MAX {
                found.push(Found::of(at, offset, record, header, asked.body));
            }
            Continue(())
        })?;
        budget.spend(read, window.end - window.start);
    }
    Ok(found)
}

/// Whether a record's event has the id, and comes from the source that is asked for.
fn is_of(header: HeaderRef<'_>, value: &[u8], asked: &Asked<'_>) -> bool {
    let has_id = match header.json(Field::ID, value) {
        Some(json) => {
            let plain = json.strip_prefix(b"\"").and_then(|j| j.strip_suffix(b"\"")).unwrap_or(json);
            plain == asked.id || (plain.contains(&b'\\') && wire::json::text(json).is_some_and(|id| *id == *asked.id))
        }
        None => header.inherited_value(Field::ID) == Some(asked.id),
    };
    let wanted = asked.source.as_deref();
    has_id && wanted.is_none_or(|source| header.inherited_value(Field::SOURCE) == Some(source))
}

impl Found {
    fn of(at: TopicPartition, offset: Offset, record: &RecordRef<'_>, header: HeaderRef<'_>, body: bool) -> Found {
        let value = record.value.unwrap_or_default();
        let text = |field| match header.json(field, value) {
            Some(json) => wire::json::text(json).map(|t| String::from_utf8_lossy(&t).into_owned()),
            None => header.inherited_value(field).map(|t| String::from_utf8_lossy(t).into_owned()),
        };
        let id = header.json(Field::ID, value).or(header.inherited_value(Field::ID)).unwrap_or_default();
        let raw_id = id.strip_prefix(b"\"").and_then(|i| i.strip_suffix(b"\"")).unwrap_or(id);
        Found {
            at,
            offset,
            key: record.key.to_vec(),
            raw_id: raw_id.to_vec(),
            header: header.to_header(),
            kind: text(Field::TYPE).unwrap_or_default(),
            source: String::from_utf8_lossy(header.inherited_value(Field::SOURCE).unwrap_or_default()).into_owned(),
            value: body.then(|| value.to_vec()),
        }
    }

    fn place(&self) -> Source {
        Source::of(RAW, self.at.partition, self.offset)
    }
}

fn way(
    log: &dyn Log,
    asked: &Asked<'_>,
    open: &Open<'_>,
    one: &Found,
    all: &[Found],
    before: &[Way],
) -> Result<Way, LogError> {
    let mut way = Way { at: (one.at, one.offset), id_hash: one.header.id_hash, outcome: "gone", more: Map::new() };
    if let Some(enriched) = enriched_of(log, asked, open, one)? {
        way.outcome = "enriched";
        way.more = enriched;
        return Ok(way);
    }
    if let Some(letter) = dead_letter_of(log, &one.raw_id, one.place(), asked.body)? {
        way.outcome = "quarantined";
        way.more.insert("dead_letter".to_owned(), letter);
        return Ok(way);
    }
    let committed = log.committed("enrich", &log::Input::Topic(one.at))?;
    let is_done = committed.is_some_and(|position| {
        let above = Progress::decode_with(position.next, &position.metadata);
        one.offset < position.next || above.is_some_and(|(_, finished)| finished.contains(one.offset))
    });
    if !is_done {
        way.outcome = "waiting";
        return Ok(way);
    }
    let same = |at: TopicPartition, offset: Offset, hash: u128| {
        at == one.at && offset < one.offset && hash == one.header.id_hash
    };
    // The newest that went on; else the first there is, whatever is still known of it.
    let went_on = before.iter().rfind(|w| same(w.at.0, w.at.1, w.id_hash) && w.outcome == "enriched");
    let first = all.iter().filter(|f| same(f.at, f.offset, f.header.id_hash)).map(|f| (f.at, f.offset)).min();
    if let Some((at, offset)) = went_on.map(|w| w.at).or(first) {
        way.outcome = "duplicate";
        way.more.insert("duplicate_of".to_owned(), place(at, offset));
        return Ok(way);
    }
    let to = ENRICHED.partition(partition_of(&one.key, log.partitions(ENRICHED)));
    if scan::first_received(log, to)?.is_some_and(|kept| kept > one.header.received_time) {
        way.outcome = "expired";
    }
    Ok(way)
}

/// What enrich made of it, and what the sessions stage made of that.
fn enriched_of(
    log: &dyn Log,
    asked: &Asked<'_>,
    open: &Open<'_>,
    one: &Found,
) -> Result<Option<Map<String, Value>>, LogError> {
    let partitions = log.partitions(ENRICHED);
    let own = partition_of(&one.key, partitions);
    // An event with a user alone may have been linked to a visitor of any partition.
    let others = (0..partitions).filter(|p| *p != own && one.header.flags.has(Flags::VISITOR_USER));
    for partition in std::iter::once(own).chain(others) {
        let at = ENRICHED.partition(partition);
        let mut found = None;
        scan::made_of(log, at, one.place(), |offset, record, header| {
            found = Some((offset, record.key.to_vec(), header.to_header(), record.value.unwrap_or_default().to_vec()));
            Break(())
        })?;
        if let Some((offset, visitor, header, value)) = found {
            let event: Value = serde_json::from_slice(&value).unwrap_or_default();
            let member = &event[asked.member];
            let mut more = Map::new();
            more.insert("visitor".to_owned(), member["visitor"].clone());
            let mut enriched = place(at, offset);
            enriched["at"] = member["at"].clone();
            enriched["enrichers"] = enrichers(member);
            enriched["waited"] = member["waited"].clone();
            enriched["data_versions"] = member["data_versions"].clone();
            if asked.body {
                enriched["event"] = event.clone();
            }
            more.insert("enriched".to_owned(), enriched);
            let letter = dead_letter_of(log, &one.raw_id, Source::of(ENRICHED, partition, offset), asked.body)?;
            more.extend(session::of(log, at, offset, &visitor, &header, letter, open)?);
            return Ok(Some(more));
        }
    }
    Ok(None)
}

/// Each enricher and how it went: what wrote a member and says nothing else went well.
fn enrichers(member: &Value) -> Value {
    const OURS: [&str; 7] = ["v", "at", "revision", "visitor", "status", "waited", "data_versions"];
    let members = member.as_object().into_iter().flatten();
    let mut all: Map<String, Value> =
        members.filter(|(name, _)| !OURS.contains(&name.as_str())).map(|(n, _)| (n.clone(), "ok".into())).collect();
    all.extend(member["status"].as_object().into_iter().flatten().map(|(n, s)| (n.clone(), s.clone())));
    all.into()
}

fn dead_letter_of(log: &dyn Log, raw_id: &[u8], of: Source, body: bool) -> Result<Option<Value>, LogError> {
    let at = DLQ.partition(partition_of(raw_id, log.partitions(DLQ)));
    let mut found = None;
    scan::made_of(log, at, of, |offset, record, _| {
        found = Some(letter(at, offset, record.value.unwrap_or_default(), body));
        Break(())
    })?;
    Ok(found)
}

fn letter(at: TopicPartition, offset: Offset, value: &[u8], body: bool) -> Value {
    let letter: Value = serde_json::from_slice(value).unwrap_or_default();
    let mut told = place(at, offset);
    for name in ["code", "pointer", "message", "source", "position", "received_at"] {
        told[name] = letter[name].clone();
    }
    let code = letter["code"].as_str().and_then(Code::named);
    told["meaning"] = code.map_or(Value::Null, |c| c.meaning().into());
    if body {
        told["event"] =
            if letter["event"].is_null() { letter["event_base64"].clone() } else { letter["event"].clone() };
    }
    told
}

/// Dead letters of doors: they have no id, for the event was refused before it had one, but the original may have it.
fn refusals(log: &dyn Log, asked: &Asked<'_>, budget: &mut Budget<'_>) -> Result<Vec<Value>, LogError> {
    let mut found = Vec::new();
    let mut scan = Scan::new(log, DLQ)?;
    while let Some((at, window)) = scan.next_window() {
        if !budget.allows() || found.len() >= FOUND_MAX {
            budget.cut_short();
            break;
        }
        let read = scan::each(log, at, window.clone(), |offset, record, header| {
            let value = record.value.unwrap_or_default();
            let wanted = header.source().topic == Source::DOOR.topic
                && (record.key == asked.id || mentions(value, asked.id))
                && asked.source.as_deref().is_none_or(|s| header.inherited_value(Field::SOURCE) == Some(s));
            if wanted && found.len() < FOUND_MAX {
                found.push((header.received_time(), letter(at, offset, value, asked.body)));
            }
            Continue(())
        })?;
        budget.spend(read, window.end - window.start);
    }
    found.sort_by_key(|(received, _)| *received);
    Ok(found.into_iter().map(|(_, letter)| letter).collect())
}

/// Whether the original in a dead letter has this text as one of its values.
fn mentions(letter: &[u8], id: &[u8]) -> bool {
    if id.is_empty() || !letter.windows(id.len()).any(|w| w == id) {
        return false;
    }
    let letter: Value = serde_json::from_slice(letter).unwrap_or_default();
    let quoted = format!("\"{}\"", String::from_utf8_lossy(id));
    letter["event"].as_str().is_some_and(|event| event.contains(&quoted))
}

impl Way {
    fn json(&self, asked: &Asked<'_>, one: &Found) -> Value {
        let h = &one.header;
        let how = match h.flags {
            f if f.has(Flags::VISITOR_GIVEN) => "given",
            f if f.has(Flags::VISITOR_USER) => "user",
            _ => "hash",
        };
        let flags = [(Flags::DERIVED, "derived"), (Flags::AT_LEAST_ONCE, "at_least_once"), (Flags::FUTURE, "future")];
        let flags: Vec<&str> = flags.into_iter().filter(|(f, _)| h.flags.has(*f)).map(|(_, name)| name).collect();
        let mut raw = place(one.at, one.offset);
        raw["visitor"] = json!({"id": String::from_utf8_lossy(&one.key), "how": how});
        let mut json = json!({
            "id": String::from_utf8_lossy(asked.id), "source": one.source, "type": one.kind,
            "event_time": h.event_time.to_string(), "received_at": h.received_time.to_string(), "flags": flags,
            "outcome": self.outcome, "raw": raw,
        });
        let all = json.as_object_mut().expect("made above");
        all.extend(self.more.clone());
        if let Some(value) = &one.value {
            all.insert("event".to_owned(), serde_json::from_slice(value).unwrap_or_default());
        }
        json
    }
}

fn place(at: TopicPartition, offset: Offset) -> Value {
    json!({"topic": at.topic.name(), "partition": at.partition, "offset": offset})
}

/// The time at which an event counts for its session: its own, or that of its receipt if it is flagged `future`.
fn counts_at(header: &Header) -> Micros {
    if header.flags.has(Flags::FUTURE) { header.received_time } else { header.event_time }
}
