//! Reading the log over HTTP: which topics there are, and the records of a partition as NDJSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::record::Chunk;
use event::topic::TOPICS;
use event::{Field, Flags, HeaderRef, Micros, Offset, RecordRef, TopicId, TopicPartition};
use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use log::{Fetch, Log, LogError};
use serde_json::{Value, json};

use super::Front;
use super::answer::{self, Answer, write_number, write_string};
use super::limits::{PIECE_BYTES, RECORDS_BYTES, RECORDS_DEFAULT, RECORDS_MAX, WAIT_MAX};
use super::listen::Stage;

const NEXT: HeaderName = HeaderName::from_static("x-ouzel-next");
const END: HeaderName = HeaderName::from_static("x-ouzel-end");

/// `GET /v1/topics`.
pub async fn list(front: &Arc<Front>) -> Answer {
    match blocking(front, overview).await {
        Ok(topics) => answer::whole(StatusCode::OK, answer::JSON, json!({ "topics": topics }).to_string() + "\n"),
        Err(e) => log_error(&e),
    }
}

/// All topics with their partitions, in the order of the flow.
pub fn overview(log: &dyn Log) -> Result<Value, LogError> {
    let mut topics = Vec::new();
    for topic in &TOPICS {
        let partitions = (0..log.partitions(topic.id))
            .map(|p| {
                let (start, end) = log.bounds(topic.id.partition(p))?;
                Ok(json!({ "partition": p, "start": start, "end": end }))
            })
            .collect::<Result<Vec<_>, LogError>>()?;
        topics.push(json!({
            "name": topic.name, "key": topic.key, "holds": topic.holds, "partitions": partitions,
        }));
    }
    Ok(Value::Array(topics))
}

/// `GET /v1/topics/{topic}/records?partition=&from=&limit=&wait=`.
pub async fn records(front: &Arc<Front>, topic: &str, query: &str) -> Answer {
    let Some(topic) = TopicId::named(topic) else {
        let names: Vec<_> = TOPICS.iter().map(|t| t.name).collect();
        let message = format!("there is no such topic; there are {}", names.join(", "));
        let mut more = serde_json::Map::new();
        more.insert("topics".to_owned(), json!(names));
        return answer::error_with(StatusCode::NOT_FOUND, "no_topic", &message, more);
    };
    let asked = match Asked::parse(query) {
        Ok(asked) => asked,
        Err(message) => return answer::error(StatusCode::BAD_REQUEST, "bad_query", &message),
    };
    let count = front.events().log.partitions(topic);
    let Some(partition) = asked.partition.filter(|p| *p < u64::from(count)) else {
        let message = match asked.partition {
            None => format!("say which partition: partition=0 to {}", count - 1),
            Some(p) => format!("there is no partition {p} of {}; there are 0 to {}", topic.name(), count - 1),
        };
        let mut more = serde_json::Map::new();
        more.insert("partitions".to_owned(), json!((0..count).collect::<Vec<_>>()));
        return answer::error_with(StatusCode::BAD_REQUEST, "bad_partition", &message, more);
    };
    match page(front, topic.partition(partition as u32), &asked).await {
        Ok(page) => {
            let (next, end) = (page.next, page.end);
            let mut answer = answer::stream(answer::NDJSON, Lines::new(topic.partition(partition as u32), page));
            answer.headers_mut().insert(NEXT, HeaderValue::from(next));
            answer.headers_mut().insert(END, HeaderValue::from(end));
            answer
        }
        Err(e) => log_error(&e),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum From {
    Earliest,
    Latest,
    At(Offset),
}

#[derive(Clone, PartialEq, Debug)]
struct Asked {
    partition: Option<u64>,
    from: From,
    limit: u64,
    wait: Duration,
}

impl Asked {
    fn parse(query: &str) -> Result<Asked, String> {
        let mut asked = Asked { partition: None, from: From::Earliest, limit: RECORDS_DEFAULT, wait: Duration::ZERO };
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || value.parse::<u64>().map_err(|_| format!("{name} is a whole number of 0 or more"));
            match name {
                "partition" => asked.partition = Some(number()?),
                "from" => {
                    asked.from = match value {
                        "earliest" => From::Earliest,
                        "latest" => From::Latest,
                        _ => From::At(number().map_err(|_| "from is an offset, `earliest` or `latest`".to_owned())?),
                    }
                }
                "limit" => asked.limit = number()?.clamp(1, RECORDS_MAX),
                "wait" => {
                    let ms = number().map_err(|_| "wait is a number of milliseconds".to_owned())?;
                    asked.wait = Duration::from_millis(ms).min(WAIT_MAX);
                }
                _ => {
                    return Err("this takes partition, from, limit and wait (milliseconds); something else was given"
                        .to_owned());
                }
            }
        }
        Ok(asked)
    }
}

/// Records of one answer.
struct Page {
    chunks: Vec<Chunk>,
    from: Offset,
    next: Offset,
    end: Offset,
}

/// Reads until there is at least one record to show, the limit is reached, or the time is over.
async fn page(front: &Arc<Front>, at: TopicPartition, asked: &Asked) -> Result<Page, LogError> {
    let mut commits = front.events().log.subscribe();
    let mut stage = front.stage.subscribe();
    let (start, end) = blocking(front, move |log| log.bounds(at)).await?;
    let from = match asked.from {
        From::Earliest => start,
        From::Latest => end,
        From::At(offset) => offset,
    };
    if from < start || from > end {
        return Err(LogError::OutOfRange { partition: at, asked: from, start, end });
    }
    let deadline = tokio::time::sleep(asked.wait);
    tokio::pin!(deadline);
    let mut page = Page { chunks: Vec::new(), from, next: from, end };
    loop {
        // Seen before the read: a commit that comes in between ends the wait below at once.
        commits.borrow_and_update();
        let found = fill(front, at, asked.limit, &mut page).await?;
        if found > 0 || asked.wait.is_zero() {
            return Ok(page);
        }
        tokio::select! {
            () = &mut deadline => return Ok(page),
            _ = stage.wait_for(|s| *s != Stage::Open) => return Ok(page),
            changed = commits.changed() => if changed.is_err() { return Ok(page) },
        }
    }
}

/// Reads on from `page.next` to the end, the limit or [`RECORDS_BYTES`]; gives how many records there are to show.
async fn fill(front: &Arc<Front>, at: TopicPartition, limit: u64, page: &mut Page) -> Result<u64, LogError> {
    let (mut found, mut bytes) = (0, 0);
    loop {
        let (asked_at, room) = (page.next, RECORDS_BYTES - bytes);
        let Fetch { chunks, next, end } = blocking(front, move |log| log.fetch(at, asked_at, room)).await?;
        page.end = end;
        if chunks.is_empty() {
            // Only a gap, or nothing, is left below `next`.
            page.next = next;
            return Ok(found);
        }
        for chunk in chunks {
            bytes += chunk.bytes.len();
            for record in chunk.records() {
                let (offset, record) = record.map_err(|e| LogError::Io {
                    doing: format!("reading {at} at offset {}", chunk.base),
                    source: std::io::Error::new(std::io::ErrorKind::InvalidData, e),
                })?;
                if offset < page.next {
                    continue;
                }
                page.next = offset + 1;
                found += u64::from(is_shown(&record));
                if found == limit {
                    page.chunks.push(chunk.clone());
                    return Ok(found);
                }
            }
            page.chunks.push(chunk);
        }
        // A log that gives nothing new would keep us here.
        let stuck = page.next.max(next) == asked_at;
        page.next = page.next.max(next);
        if stuck || bytes >= RECORDS_BYTES || page.next >= end {
            return Ok(found);
        }
    }
}

/// Whether readers see a record: control records are for stages only.
pub fn is_shown(record: &RecordRef<'_>) -> bool {
    record.header().is_none_or(|h| !h.flags().has(Flags::CONTROL))
}

/// A page as NDJSON, in pieces that are rendered as the client takes them.
struct Lines {
    at: TopicPartition,
    page: Page,
    chunk: usize,
    /// Where in the chunk to read on, and the offset of the record there.
    byte: usize,
    offset: Offset,
}

impl Lines {
    fn new(at: TopicPartition, page: Page) -> Lines {
        let offset = page.chunks.first().map_or(0, |c| c.base);
        Lines { at, page, chunk: 0, byte: 0, offset }
    }
}

impl Iterator for Lines {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        while let Some(chunk) = self.page.chunks.get(self.chunk) {
            let mut records = event::record::records(&chunk.bytes[self.byte..]);
            while out.len() < PIECE_BYTES
                && self.offset < self.page.next
                && let Some(Ok(record)) = records.next()
            {
                if self.offset >= self.page.from && is_shown(&record) {
                    write_record(&mut out, self.at.partition, self.offset, &record);
                }
                self.offset += 1;
            }
            if out.len() >= PIECE_BYTES {
                self.byte += records.position();
                break;
            }
            (self.chunk, self.byte) = (self.chunk + 1, 0);
            self.offset = self.page.chunks.get(self.chunk).map_or(self.offset, |c| c.base);
        }
        (!out.is_empty()).then(|| out.into())
    }
}

const FLAGS: [(Flags, &str); 3] =
    [(Flags::DERIVED, "derived"), (Flags::AT_LEAST_ONCE, "at_least_once"), (Flags::FUTURE, "future")];

pub fn write_record(out: &mut Vec<u8>, partition: u32, offset: Offset, record: &RecordRef<'_>) {
    out.extend_from_slice(b"{\"partition\":");
    write_number(out, partition.into());
    out.extend_from_slice(b",\"offset\":");
    write_number(out, offset);
    write_text_or_base64(out, "key", record.key);
    if let Some(h) = record.header() {
        // A text stands in the event as JSON already; a constant of the field map is the source's.
        let named = |field| match h.json(field, record.value.unwrap_or_default()) {
            Some(json) => wire::json::text(json),
            None => h.inherited_value(field).map(std::borrow::Cow::Borrowed),
        };
        for (name, field) in [("type", Field::TYPE), ("from", Field::SOURCE)] {
            if let Some(text) = named(field) {
                write_text_or_base64(out, name, &text);
            }
        }
        write_header(out, h);
    }
    match record.value {
        None => out.extend_from_slice(b",\"value\":null"),
        Some(value) if is_json(value) => {
            out.extend_from_slice(b",\"value\":");
            let at = out.len();
            out.extend_from_slice(value);
            // In JSON a line break can only stand between tokens; a space there means the same and keeps the line whole.
            for byte in &mut out[at..] {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
        }
        Some(value) => write_text_or_base64(out, "value", value),
    }
    out.extend_from_slice(b"}\n");
}

fn write_header(out: &mut Vec<u8>, h: HeaderRef<'_>) {
    let mut time = |name: &str, at: Micros| {
        out.extend_from_slice(name.as_bytes());
        at.write_rfc3339(out);
        out.push(b'"');
    };
    time(",\"event_time\":\"", h.event_time());
    time(",\"received_at\":\"", h.received_time());
    out.extend_from_slice(b",\"flags\":[");
    for (i, (_, name)) in FLAGS.iter().filter(|(flag, _)| h.flags().has(*flag)).enumerate() {
        out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.push(b'"');
    }
    out.extend_from_slice(b"],\"source\":");
    let source = h.source();
    if source.topic == event::Source::DOOR.topic {
        out.extend_from_slice(b"null");
    } else {
        out.extend_from_slice(b"{\"topic\":\"");
        out.extend_from_slice(TopicId(source.topic).name().as_bytes());
        out.extend_from_slice(b"\",\"partition\":");
        write_number(out, source.partition.into());
        out.extend_from_slice(b",\"offset\":");
        write_number(out, source.offset);
        out.push(b'}');
    }
}

/// The doors checked that values are JSON; this only keeps a foreign writer's bytes from breaking the line.
fn is_json(value: &[u8]) -> bool {
    let trimmed = value.trim_ascii();
    trimmed.starts_with(b"{") && trimmed.ends_with(b"}") && std::str::from_utf8(value).is_ok()
}

/// `,"name":"text"`, or `,"name_base64":"..."` for bytes that are no text.
fn write_text_or_base64(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            out.extend_from_slice(b"\":");
            write_string(out, text);
        }
        Err(_) => {
            out.extend_from_slice(b"_base64\":\"");
            write_base64(out, bytes);
            out.push(b'"');
        }
    }
}

/// RFC 4648, section 4, with padding.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let n = group.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let byte = if digit <= group.len() { DIGITS[(n >> (18 - 6 * digit)) as usize & 63] } else { b'=' };
            out.push(byte);
        }
    }
}

/// The log may read from disk: never on a thread that serves connections.
pub async fn blocking<T: Send + 'static>(
    front: &Arc<Front>,
    read: impl FnOnce(&dyn Log) -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    let log = Arc::clone(&front.events().log);
    let read = tokio::task::spawn_blocking(move || read(&*log));
    read.await.unwrap_or_else(|_| Err(LogError::Stopped("a read of the log failed".to_owned())))
}

fn log_error(e: &LogError) -> Answer {
    let message = e.to_string();
    match e {
        LogError::OutOfRange { start, end, .. } => {
            let mut more = serde_json::Map::new();
            more.insert("start".to_owned(), json!(start));
            more.insert("end".to_owned(), json!(end));
            answer::error_with(StatusCode::RANGE_NOT_SATISFIABLE, "out_of_range", &message, more)
        }
        LogError::NoTopic(_) => answer::error(StatusCode::NOT_FOUND, "no_topic", &message),
        LogError::Stopped(_) => answer::error(StatusCode::SERVICE_UNAVAILABLE, "stopped", &message),
        LogError::Damaged { .. } => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "damaged", &message),
        _ => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "log", &message),
    }
}
