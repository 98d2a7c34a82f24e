//! What the public reader gives back, reduced to what the laws need: for every record its place, its identity and two
//! hashes.

use std::borrow::Cow;

use event::{Code, Micros};
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
    /// original in `dlq`.
    pub bytes: u64,
    /// The same without `sentAt`.
    pub payload: u64,
    /// Hash of the key.
    pub key: u64,
    /// Partition and offset of the record it was made from: in `enriched` for what is told of sessions, else in `raw`.
    pub source: Option<(u32, u64)>,
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
    let value = read.value.get().as_bytes();
    let from = if matches!(topic, "sessions" | "late") { "enriched" } else { "raw" };
    let mut row = Row {
        offset: read.offset,
        id: None,
        bytes: 0,
        payload: 0,
        key: xxh3_64(read.key.as_bytes()),
        source: read.source.filter(|s| s.topic == from).map(|s| (s.partition, s.offset)),
        revision: 0,
        code: None,
        future: read.flags.iter().any(|f| f == "future"),
        placed: event::key::partition_of(read.key.as_bytes(), partitions.max(1)) == read.partition,
        time: Micros::parse_rfc3339(read.event_time.as_bytes()),
        received: Micros::parse_rfc3339(read.received_at.as_bytes()),
        user: None,
        visitor: None,
        linked: false,
        told: None,
    };
    let original: &[u8] = match topic {
        "raw" => value,
        "enriched" => {
            let (start, end) = first_level_member(value, b"enriched")
                .ok_or_else(|| format!("no first-level member `enriched`: {}", shown()))?;
            let member = &value[start..end];
            row.revision = revision(member).unwrap_or(0);
            row.visitor = text_after(member, b"\"visitor\":{\"id\":\"").map(xxh3_64);
            row.linked = text_after(member, b",\"how\":\"") == Some(b"linked");
            scratch.clear();
            scratch.extend_from_slice(&value[..start]);
            scratch.extend_from_slice(&value[end..]);
            scratch
        }
        "sessions" | "late" => {
            row.told = Some(Told::of(value).map_err(|e| format!("{e}: {}", shown()))?);
            row.bytes = xxh3_64(value);
            return Ok((read.partition, row));
        }
        _ => {
            let letter: DeadLetter<'_> =
                serde_json::from_slice(value).map_err(|e| format!("no dead letter ({e}): {}", shown()))?;
            row.code = Code::named(&letter.code);
            if row.code.is_none() {
                return Err(format!("a dead letter with an unknown code: {}", shown()));
            }
            scratch.clear();
            scratch.extend_from_slice(letter.event.as_deref().unwrap_or_default().as_bytes());
            scratch
        }
    };
    row.id = EventId::of(original);
    row.bytes = xxh3_64(original);
    row.payload = payload_of(original);
    row.user = text_after(original, b"\"userId\":\"").map(xxh3_64);
    Ok((read.partition, row))
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
