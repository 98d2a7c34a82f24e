//! Bytes in, records out, each handed to the collector with its position. Holds at most one unfinished record.

use event::dead_letter::{Cut, KEEP};
use event::{Code, Failure, Micros};
use seam::Rng;
use sha2::{Digest as _, Sha256};
use wire::csv::Rows;
use wire::{Arrival, ArrivalPosition, Preset, access_log};

use super::frame::{Array, Framer, Scan};
use crate::collect::Collector;

/// An unfinished record is held up to this much beyond the limit of an event; a longer one is only counted and hashed.
const HELD_BEYOND_LIMIT: usize = 64 * 1024;

/// When this many records of an input, from its first on, are all refused, it is not what the preset says.
pub const ALL_REFUSED: u64 = 100;

/// How many records are kept to tell what such an input looks like, and how much of each.
const SAMPLES: usize = 8;
const SAMPLE_BYTES: usize = 4096;

/// What a record is, before it is an event.
enum Form {
    Json,
    AccessLog,
    /// `None` until the header line was read.
    Csv(Option<Rows>),
}

/// Cuts one input into records.
pub(super) struct Feed {
    /// Decompressed bytes; those before `start` are done with.
    buf: Vec<u8>,
    start: usize,
    /// Where the framer reads on.
    scanned: usize,
    /// The input's position of `buf[0]`.
    base: u64,
    /// `None` until the first byte that tells.
    framer: Option<Framer>,
    form: Form,
    long: Option<Long>,
    limit: usize,
    json: Vec<u8>,
    ids: Ids,
    pub first: First,
}

/// How events without an id get one.
pub(super) enum Ids {
    /// From the file's identity and the record's offset.
    Position(String),
    Fresh(Box<Fresh>),
}

/// Random numbers, 256 for each call to the kernel.
pub(super) struct Fresh {
    bytes: [u8; 4096],
    at: usize,
}

/// A record too long to be held.
struct Long {
    at: u64,
    start: Vec<u8>,
    length: u64,
    hash: Sha256,
}

/// What is known of an input's first records, while all were refused.
#[derive(Default)]
pub(super) struct First {
    /// An event was accepted, now or in an earlier run: the preset is right.
    pub settled: bool,
    pub refused: u64,
    pub samples: Vec<Vec<u8>>,
    pub failure: Option<Failure>,
}

impl First {
    fn sample(&mut self, record: &[u8]) {
        if !self.settled && self.samples.len() < SAMPLES {
            self.samples.push(record[..record.len().min(SAMPLE_BYTES)].to_vec());
        }
    }

    fn accepted(&mut self) {
        if !self.settled {
            *self = First { settled: true, ..First::default() };
        }
    }

    fn refused(&mut self, failure: Failure) {
        if !self.settled {
            self.refused += 1;
            self.failure.get_or_insert(failure);
        }
    }

    /// The first [`ALL_REFUSED`] records were refused.
    pub fn is_hopeless(&self) -> bool {
        self.refused >= ALL_REFUSED
    }
}

/// Where a record goes.
pub(super) struct Sink<'a> {
    pub collector: &'a mut Collector,
    /// Bytes gathered at which the feed stops for a commit.
    pub full: usize,
    pub received: Micros,
    pub rng: &'a dyn Rng,
}

/// Why a feed stopped.
#[derive(Debug)]
pub(super) enum Fed {
    /// It needs more bytes.
    Hungry,
    /// The sink is full.
    Full,
    /// All of the first records were refused.
    Hopeless,
    /// The first line is no CSV header.
    NoHeader(Failure),
}

impl Feed {
    pub fn new(preset: Preset, limit: usize, ids: Ids) -> Feed {
        let (form, framer) = match preset {
            Preset::Segment | Preset::Ouzel => (Form::Json, None),
            Preset::AccessLog => (Form::AccessLog, Some(Framer::Lines)),
            Preset::Csv => (Form::Csv(None), Some(Framer::Lines)),
        };
        Feed {
            buf: Vec::new(),
            start: 0,
            scanned: 0,
            base: 0,
            framer,
            form,
            long: None,
            limit,
            json: Vec::new(),
            ids,
            first: First::default(),
        }
    }

    /// Reads on at `position`, where a record ended with the byte `before`. `beginning`: the first bytes of the input,
    /// which say how the rest is to be read.
    pub fn resume(&mut self, position: u64, before: u8, beginning: &[u8]) -> Result<(), Failure> {
        self.base = position;
        self.first.settled = true;
        match &mut self.form {
            Form::Json => {
                self.framer = framer_of(beginning).map(|framer| match framer {
                    Framer::Array(_) => Framer::Array(Array::after(before)),
                    Framer::Lines => Framer::Lines,
                });
            }
            Form::Csv(rows) => {
                let header = beginning.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty());
                *rows = Some(Rows::new(header.unwrap_or_default())?);
            }
            Form::AccessLog => {}
        }
        Ok(())
    }

    /// Where bytes are to be appended.
    pub fn buf(&mut self) -> &mut Vec<u8> {
        &mut self.buf
    }

    /// All records before this position were handed on.
    pub fn position(&self) -> u64 {
        match &self.long {
            Some(long) => long.at,
            None => self.base + self.start as u64,
        }
    }

    /// Hands on the records that are complete.
    pub fn take(&mut self, sink: &mut Sink<'_>) -> Fed {
        let fed = self.take_complete(sink);
        self.buf.drain(..self.start);
        self.base += self.start as u64;
        self.scanned -= self.start;
        self.start = 0;
        fed
    }

    /// Hands on what is left when there is no more: a last record without its end.
    pub fn take_last(&mut self, sink: &mut Sink<'_>) -> Fed {
        match self.take(sink) {
            Fed::Hungry => {}
            other => return other,
        }
        let end = self.buf.len();
        self.record(end, end, sink).unwrap_or(Fed::Hungry)
    }

    fn take_complete(&mut self, sink: &mut Sink<'_>) -> Fed {
        if self.base == 0 && self.start == 0 && self.scanned == 0 {
            const BOM: &[u8] = b"\xef\xbb\xbf";
            if self.buf.starts_with(BOM) {
                (self.start, self.scanned) = (BOM.len(), BOM.len());
            } else if BOM.starts_with(&self.buf) {
                return Fed::Hungry;
            }
        }
        if self.framer.is_none() {
            self.framer = framer_of(&self.buf[self.start..]);
        }
        let Some(mut framer) = self.framer.take() else {
            // White space only, so far.
            (self.start, self.scanned) = (self.buf.len(), self.buf.len());
            return Fed::Hungry;
        };
        let fed = loop {
            if sink.collector.bytes() >= sink.full {
                break Fed::Full;
            }
            match framer.scan(&self.buf[self.scanned..]) {
                Scan::End { end, next } => {
                    let (end, next) = (self.scanned + end, self.scanned + next);
                    if let Some(fed) = self.record(end, next, sink) {
                        break fed;
                    }
                }
                Scan::More => {
                    self.scanned = self.buf.len();
                    self.hold();
                    break Fed::Hungry;
                }
            }
        };
        self.framer = Some(framer);
        fed
    }

    /// Sees to it that an unfinished record takes no more memory than an event may have.
    fn hold(&mut self) {
        if matches!(self.form, Form::Json) && self.long.is_none() {
            // White space before a record is nobody's.
            self.start += self.buf[self.start..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        }
        let held = &self.buf[self.start..];
        if self.long.is_none() {
            if held.len() <= self.limit.max(KEEP) + HELD_BEYOND_LIMIT {
                return;
            }
            let at = self.base + self.start as u64;
            self.long = Some(Long { at, start: held[..KEEP].to_vec(), length: 0, hash: Sha256::new() });
        }
        let long = self.long.as_mut().expect("just made");
        long.length += held.len() as u64;
        long.hash.update(held);
        self.start = self.buf.len();
    }

    /// The record from `start` to `end` is whole; the next one begins at `next`.
    fn record(&mut self, end: usize, next: usize, sink: &mut Sink<'_>) -> Option<Fed> {
        let from = self.start;
        (self.start, self.scanned) = (next, next);
        if let Some(mut long) = self.long.take() {
            long.length += (end - from) as u64;
            long.hash.update(&self.buf[from..end]);
            return self.refuse_long(long, sink);
        }
        let bytes = &self.buf[from..end];
        let record = match self.form {
            Form::Json => bytes.trim_ascii(),
            Form::AccessLog | Form::Csv(_) => bytes.strip_suffix(b"\r").unwrap_or(bytes),
        };
        if record.trim_ascii().is_empty() {
            return None;
        }
        // The event's own first byte, wherever white space was cut off.
        let at = self.base + (record.as_ptr() as usize - self.buf.as_ptr() as usize) as u64;
        let position = self.ids.position(at, sink.rng);
        let arrival = Arrival { received: sink.received, position, inherited: &[] };
        self.first.sample(record);
        let json = match &mut self.form {
            Form::Json => Ok(record),
            Form::Csv(rows @ None) => match Rows::new(record) {
                Ok(header) => {
                    *rows = Some(header);
                    return None;
                }
                Err(failure) => return Some(Fed::NoHeader(failure)),
            },
            Form::Csv(Some(rows)) => {
                self.json.clear();
                rows.to_json(record, &mut self.json).map(|()| &self.json[..])
            }
            Form::AccessLog => {
                self.json.clear();
                access_log::to_json(record, &mut self.json).map(|()| &self.json[..])
            }
        };
        let result = match json {
            Ok(json) => sink.collector.event(json, &arrival),
            Err(failure) => {
                sink.collector.refuse(record, &arrival, &failure);
                Err(failure)
            }
        };
        self.judge(result)
    }

    fn refuse_long(&mut self, long: Long, sink: &mut Sink<'_>) -> Option<Fed> {
        let Long { at, start, length, hash } = long;
        let message = format!("the event has {length} bytes, `limits.event` is {}", self.limit);
        let failure = Failure::new(Code::TooLarge, "", message);
        let position = self.ids.position(at, sink.rng);
        let arrival = Arrival { received: sink.received, position, inherited: &[] };
        self.first.sample(&start);
        let cut = Cut { start: &start, length, sha256: hash.finalize().into() };
        sink.collector.refuse_cut(&cut, &arrival, &failure);
        self.judge(Err(failure))
    }

    fn judge(&mut self, result: Result<(), Failure>) -> Option<Fed> {
        match result {
            Ok(()) => self.first.accepted(),
            Err(failure) => self.first.refused(failure),
        }
        self.first.is_hopeless().then_some(Fed::Hopeless)
    }
}

/// How JSON is cut into records, by its first byte that is no white space.
fn framer_of(beginning: &[u8]) -> Option<Framer> {
    let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
    let first = text.iter().find(|b| !b.is_ascii_whitespace())?;
    Some(if *first == b'[' { Framer::Array(Array::new()) } else { Framer::Lines })
}

impl Ids {
    fn position(&mut self, at: u64, rng: &dyn Rng) -> ArrivalPosition<'_> {
        match self {
            Ids::Position(prefix) => ArrivalPosition::At { prefix, index: at },
            Ids::Fresh(fresh) => ArrivalPosition::Fresh(fresh.next(rng)),
        }
    }
}

impl Fresh {
    pub fn new() -> Box<Fresh> {
        Box::new(Fresh { bytes: [0; 4096], at: 4096 })
    }

    fn next(&mut self, rng: &dyn Rng) -> u128 {
        if self.at == self.bytes.len() {
            rng.fill(&mut self.bytes);
            self.at = 0;
        }
        let number = self.bytes[self.at..].first_chunk().expect("sixteen bytes");
        self.at += 16;
        u128::from_le_bytes(*number)
    }
}
