//! What is in the topics, reduced to what the laws need: for every record its place, its identity and two hashes. It is
//! read from the lines of the public reader or, where the program is part of this process, from its log.

use std::borrow::Cow;

use event::topic::{DLQ, ENRICHED, LATE, RAW, SESSIONS};
use event::{Code, Flags, Micros, RecordRef, Source, TopicId, TopicPartition};
use log::{Fetch, Log};
use ouzel_gen::EventId;
use serde::Deserialize;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::ledger::payload_of;
use crate::told::Told;

/// The topics that are read, in the order of the flow.
pub const TOPICS: [&str; 3] = ["raw", "enriched", "dlq"];
/// The same with those of the sessions stage.
pub const ALL_TOPICS: [&str; 5] = ["raw", "enriched", "dlq", "sessions", "late"];

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    pub offset: u64,
    /// `None` when the value does not begin as the producers' events do.
    pub id: Option<EventId>,
    /// Hash of the bytes that were sent: the value itself in `raw`, without the spliced member in `enriched`, the
    /// original in `dlq` (without that member, too, if it has been enriched).
    pub bytes: u64,
    /// The same without `sentAt`.
    pub payload: u64,
    /// Hash of the key.
    pub key: u64,
    /// Partition and offset of the record it was made from.
    pub source: Option<(u32, u64)>,
    /// Whether that record is in `enriched`, and not in `raw`: so it is for what is told of sessions, and for a dead letter
    /// of the sessions stage.
    pub from_enriched: bool,
    pub revision: u32,
    /// Only in `dlq`.
    pub code: Option<Code>,
    /// The record is flagged `future`.
    pub future: bool,
    /// The key belongs into the partition where it is.
    pub placed: bool,
    /// The event's own time, and that of its receipt, where the reader says them.
    pub time: Option<Micros>,
    pub received: Option<Micros>,
    /// Hash of the user that the event names.
    pub user: Option<u64>,
    /// Hash of the visitor that is written in the enriched event, and whether it was found by the user.
    pub visitor: Option<u64>,
    pub linked: bool,
    /// Only in `sessions` and `late`.
    pub told: Option<Told>,
}

impl Row {
    /// The time at which it counts in a session: its own, or that of its receipt if it is flagged `future`.
    pub fn counts_at(&self) -> Option<Micros> {
        if self.future { self.received } else { self.time }
    }
}

/// The records of one topic that were read so far.
#[derive(Clone, Default, Debug)]
pub struct Topic {
    /// By partition, in order.
    pub rows: Vec<Vec<Row>>,
    /// By partition: where to read on.
    pub next: Vec<u64>,
}

impl Topic {
    pub fn new(partitions: u32) -> Topic {
        Topic { rows: vec![Vec::new(); partitions as usize], next: vec![0; partitions as usize] }
    }

    pub fn len(&self) -> usize {
        self.rows.iter().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(Vec::is_empty)
    }

    /// (partition, row) of every record.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Row)> {
        (0..).zip(&self.rows).flat_map(|(p, rows)| rows.iter().map(move |r| (p, r)))
    }

    /// Appends a record; gives what is wrong with its place, if anything is.
    pub fn push(&mut self, partition: u32, row: Row) -> Result<(), String> {
        let rows = self.rows.get_mut(partition as usize).ok_or_else(|| format!("there is no partition {partition}"))?;
        if let Some(last) = rows.last()
            && row.offset <= last.offset
        {
            return Err(format!("partition {partition}: offset {} follows offset {}", row.offset, last.offset));
        }
        self.next[partition as usize] = row.offset + 1;
        rows.push(row);
        Ok(())
    }
}

/// Everything that was read.
#[derive(Clone, Default, Debug)]
pub struct Outputs {
    pub raw: Topic,
    pub enriched: Topic,
    pub dlq: Topic,
    pub sessions: Topic,
    pub late: Topic,
}

impl Outputs {
    pub fn topic(&self, name: &str) -> &Topic {
        match name {
            "raw" => &self.raw,
            "enriched" => &self.enriched,
            "sessions" => &self.sessions,
            "late" => &self.late,
            _ => &self.dlq,
        }
    }

    pub fn topic_mut(&mut self, name: &str) -> &mut Topic {
        match name {
            "raw" => &mut self.raw,
            "enriched" => &mut self.enriched,
            "sessions" => &mut self.sessions,
            "late" => &mut self.late,
            _ => &mut self.dlq,
        }
    }

    /// Reads on in every topic of a log, to its end. Control records are passed over.
    ///
    /// # Errors
    /// What is wrong with the log or a record, and where.
    pub fn read(&mut self, log: &dyn Log) -> Result<(), String> {
        let mut scratch = Vec::new();
        for name in ALL_TOPICS {
            let id = TopicId::named(name).ok_or_else(|| format!("there is no topic {name}"))?;
            let topic = self.topic_mut(name);
            if topic.rows.is_empty() {
                *topic = Topic::new(log.partitions(id));
            }
            for partition in 0..topic.rows.len() as u32 {
                topic.read(log, id.partition(partition), &mut scratch)?;
            }
        }
        Ok(())
    }
}

impl Topic {
    fn read(&mut self, log: &dyn Log, at: TopicPartition, scratch: &mut Vec<u8>) -> Result<(), String> {
        let partitions = self.rows.len() as u32;
        loop {
            let from = self.next[at.partition as usize];
            let Fetch { chunks, next, end } = log.fetch(at, from, FETCH_BYTES).map_err(|e| format!("{at}: {e}"))?;
            for chunk in &chunks {
                for record in chunk.records() {
                    let (offset, record) = record.map_err(|e| format!("{at}, from {}: {e:?}", chunk.base))?;
                    let is_control = record.header().is_some_and(|h| h.flags().has(Flags::CONTROL));
                    if offset >= from && !is_control {
                        let row = Stored::of(at, offset, &record).row(partitions, scratch);
                        row.and_then(|row| self.push(at.partition, row))
                            .map_err(|what| format!("{at}@{offset}: {what}"))?;
                    }
                }
            }
            // Behind the last record there may be a gap, or control records.
            self.next[at.partition as usize] = next.max(from);
            if next >= end || next <= from {
                return Ok(());
            }
        }
    }
}

/// About so much is read from a log at once.
const FETCH_BYTES: usize = 1 << 20;

/// A record as either reader gives it.
struct Stored<'a> {
    topic: TopicId,
    partition: u32,
    offset: u64,
    key: &'a [u8],
    /// The topic, partition and offset of what it was made from; `None` for what came through a door.
    source: Option<(TopicId, u32, u64)>,
    future: bool,
    time: Option<Micros>,
    received: Option<Micros>,
    value: &'a [u8],
}

#[derive(Deserialize)]
struct Line<'a> {
    partition: u32,
    offset: u64,
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(default, borrow)]
    event_time: Cow<'a, str>,
    #[serde(default, borrow)]
    received_at: Cow<'a, str>,
    #[serde(default, borrow)]
    flags: Vec<Cow<'a, str>>,
    #[serde(default, borrow)]
    source: Option<LineSource<'a>>,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
struct LineSource<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    partition: u32,
    offset: u64,
}

#[derive(Deserialize)]
struct DeadLetter<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<Cow<'a, str>>,
}

/// Reads a line of `GET /v1/topics/{topic}/records` as (partition, row). `partitions` is how many the topic has.
pub fn parse_line(topic: &str, line: &[u8], partitions: u32, scratch: &mut Vec<u8>) -> Result<(u32, Row), String> {
    let shown = || String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned();
    let read: Line<'_> = serde_json::from_slice(line).map_err(|e| format!("no record ({e}): {}", shown()))?;
    let source = read.source.as_ref().and_then(|s| Some((TopicId::named(&s.topic)?, s.partition, s.offset)));
    let stored = Stored {
        topic: TopicId::named(topic).ok_or_else(|| format!("there is no topic {topic}"))?,
        partition: read.partition,
        offset: read.offset,
        key: read.key.as_bytes(),
        source,
        future: read.flags.iter().any(|f| f == "future"),
        time: Micros::parse_rfc3339(read.event_time.as_bytes()),
        received: Micros::parse_rfc3339(read.received_at.as_bytes()),
        value: read.value.get().as_bytes(),
    };
    let row = stored.row(partitions, scratch).map_err(|what| format!("{what}: {}", shown()))?;
    Ok((read.partition, row))
}

impl<'a> Stored<'a> {
    fn of(at: TopicPartition, offset: u64, record: &RecordRef<'a>) -> Stored<'a> {
        let header = record.header();
        let source = header.map(|h| h.source()).filter(|s| s.topic != Source::DOOR.topic);
        Stored {
            topic: at.topic,
            partition: at.partition,
            offset,
            key: record.key,
            source: source.map(|s| (TopicId(s.topic), s.partition, s.offset)),
            future: header.is_some_and(|h| h.flags().has(Flags::FUTURE)),
            time: header.map(|h| h.event_time()),
            received: header.map(|h| h.received_time()),
            value: record.value.unwrap_or(b"null"),
        }
    }

    /// What is kept of it.
    fn row(&self, partitions: u32, scratch: &mut Vec<u8>) -> Result<Row, String> {
        let from: &[TopicId] = match self.topic {
            SESSIONS | LATE => &[ENRICHED],
            DLQ => &[RAW, ENRICHED],
            _ => &[RAW],
        };
        let source = self.source.filter(|(topic, ..)| from.contains(topic));
        let mut row = Row {
            offset: self.offset,
            id: None,
            bytes: 0,
            payload: 0,
            key: xxh3_64(self.key),
            source: source.map(|(_, partition, offset)| (partition, offset)),
            from_enriched: source.is_some_and(|(topic, ..)| topic == ENRICHED),
            revision: 0,
            code: None,
            future: self.future,
            placed: event::key::partition_of(self.key, partitions.max(1)) == self.partition,
            time: self.time,
            received: self.received,
            user: None,
            visitor: None,
            linked: false,
            told: None,
        };
        match self.topic {
            RAW => row.is_of(self.value),
            ENRICHED => row.is_of_enriched(self.value, scratch)?,
            SESSIONS | LATE => {
                row.told = Some(Told::of(self.value)?);
                row.bytes = xxh3_64(self.value);
            }
            _ => {
                let letter: DeadLetter<'_> =
                    serde_json::from_slice(self.value).map_err(|e| format!("no dead letter ({e})"))?;
                row.code = Some(Code::named(&letter.code).ok_or("a dead letter with an unknown code")?);
                let event = letter.event.as_deref().unwrap_or_default().as_bytes();
                match row.from_enriched {
                    true => row.is_of_enriched(event, scratch)?,
                    false => row.is_of(event),
                }
            }
        }
        Ok(row)
    }
}

impl Row {
    /// Fills in what the bytes of an event say, as they were sent.
    fn is_of(&mut self, event: &[u8]) {
        self.id = EventId::of(event);
        self.bytes = xxh3_64(event);
        self.payload = payload_of(event);
        self.user = text_after(event, b"\"userId\":\"").map(xxh3_64);
    }

    /// Fills in what an enriched event says.
    fn is_of_enriched(&mut self, value: &[u8], scratch: &mut Vec<u8>) -> Result<(), String> {
        let (start, end) = first_level_member(value, b"enriched").ok_or("no first-level member `enriched`")?;
        let member = &value[start..end];
        self.revision = revision(member).unwrap_or(0);
        self.visitor = text_after(member, b"\"visitor\":{\"id\":\"").map(xxh3_64);
        self.linked = text_after(member, b",\"how\":\"") == Some(b"linked");
        scratch.clear();
        scratch.extend_from_slice(&value[..start]);
        scratch.extend_from_slice(&value[end..]);
        self.is_of(scratch);
        Ok(())
    }
}

/// The text behind a label, up to its quote. The producers' users and visitors have nothing escaped in them.
fn text_after<'a>(text: &'a [u8], label: &[u8]) -> Option<&'a [u8]> {
    let at = memchr::memmem::find(text, label)? + label.len();
    let len = text[at..].iter().position(|b| *b == b'"')?;
    Some(&text[at..at + len])
}

fn revision(member: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"\"revision\":";
    let at = member.windows(NAME.len()).position(|w| w == NAME)? + NAME.len();
    let digits = member[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, b| n * 10 + u32::from(b - b'0')))
}

/// Where a member stands in an object, one comma beside it included: what is left without it is the object as it was
/// before it was spliced in. White space around the comma counts as the object's own.
pub fn first_level_member(object: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let mut depth = 0u32;
    let mut at = 0;
    let mut comma = None;
    while at < object.len() {
        match object[at] {
            b'"' => {
                let end = string_end(object, at)?;
                let is_name = depth == 1 && &object[at + 1..end - 1] == name && next_token(object, end) == Some(b':');
                if is_name && comma.is_some() == (previous_token(object, at) == Some(b',')) {
                    let member_end = value_end(object, end)?;
                    return Some(match comma {
                        Some(comma) => (comma, member_end),
                        None if object.get(member_end) == Some(&b',') => (at, member_end + 1),
                        None => (at, member_end),
                    });
                }
                at = end;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            b',' if depth == 1 => comma = Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn next_token(text: &[u8], at: usize) -> Option<u8> {
    text[at..].iter().copied().find(|b| !b.is_ascii_whitespace())
}

fn previous_token(text: &[u8], at: usize) -> Option<u8> {
    text[..at].iter().rev().copied().find(|b| !b.is_ascii_whitespace())
}

/// The position after the string that begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match *text.get(i)? {
            b'"' => return Some(i + 1),
            b'\\' => i += 2,
            _ => i += 1,
        }
    }
}

/// The position after the value whose name ends at `at`.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0u32;
    let mut i = at;
    loop {
        match *text.get(i)? {
            b'"' => {
                i = string_end(text, i)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return Some(i),
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return Some(i),
            _ => {}
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spliced_member_is_taken_out_again() {
        for (object, left) in [
            (r#"{"a":1,"enriched":{"v":1}}"#, Some(r#"{"a":1}"#)),
            (r#"{"a":{"enriched":1},"enriched":{"v":"}\"]"}}"#, Some(r#"{"a":{"enriched":1}}"#)),
            (r#"{"a":"enriched","enriched":[1,{"b":","}],"b":2}"#, Some(r#"{"a":"enriched","b":2}"#)),
            (r#"{"a":",\"enriched\":{}","enriched":null}"#, Some(r#"{"a":",\"enriched\":{}"}"#)),
            (r#"{"enriched":{"v":1}}"#, Some("{}")),
            (r#"{"enriched":{"v":1},"a":2}"#, Some(r#"{"a":2}"#)),
            (r#"{"a":"enriched"}"#, None),
            (r#"{"a":{"enriched":1}}"#, None),
            (r#"{"a":1"#, None),
        ] {
            let got = first_level_member(object.as_bytes(), b"enriched")
                .map(|(start, end)| format!("{}{}", &object[..start], &object[end..]));
            assert_eq!(got.as_deref(), left, "{object}");
        }
    }

    #[test]
    fn a_line_of_each_topic_is_reduced_to_the_same_event() {
        let event = r#"{"messageId":"0123456789abcdef-000000000000042","timestamp":"2026-11-22T19:33:00.123456Z","sentAt":"2026-11-22T19:33:00.123456Z","type":"track"}"#;
        let raw =
            format!(r#"{{"partition":1,"offset":7,"key":"v-1","flags":["future"],"source":null,"value":{event}}}"#);
        let enriched = format!(
            r#"{{"partition":1,"offset":9,"key":"v-1","flags":[],"source":{{"topic":"raw","partition":1,"offset":7}},"value":{},"enriched":{{"v":1,"revision":3}}}}}}"#,
            &event[..event.len() - 1]
        );
        let text = serde_json::to_string(event).expect("a string");
        let dlq = format!(r#"{{"partition":0,"offset":2,"key":"x","value":{{"code":"bad_time","event":{text}}}}}"#);
        let mut scratch = Vec::new();
        let mut read = |topic: &str, line: &str| parse_line(topic, line.as_bytes(), 8, &mut scratch).expect("a row").1;
        let (raw, enriched, dlq) = (read("raw", &raw), read("enriched", &enriched), read("dlq", &dlq));
        assert_eq!((raw.id, raw.bytes, raw.payload), (enriched.id, enriched.bytes, enriched.payload));
        assert_eq!((raw.id, raw.bytes, raw.payload), (dlq.id, dlq.bytes, dlq.payload));
        assert_eq!(raw.bytes, xxh3_64(event.as_bytes()));
        assert_eq!((raw.future, enriched.source, enriched.revision), (true, Some((1, 7)), 3));
        assert_eq!(dlq.code, Some(Code::BadTime));
    }
}
