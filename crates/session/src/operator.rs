//! Sessions as a deterministic stage: reads `enriched`, writes `sessions` and `late`.

use std::cell::RefCell;
use std::ops::Range;

use event::dead_letter::DeadLetter;
use event::key::{self, hash64};
use event::topic::{DLQ, LATE, SESSIONS};
use event::{Code, Field, Flags, Header, HeaderRef, Micros, Offset, RecordRef, Source};
use flow::{Asks, Batch, Effects, Facts, Keyed, Kind, Operator, Verdict, Version};
use xxhash_rust::xxh3::xxh3_64;

use crate::event::Event;
use crate::stage::{Clocks, Kind as Told, Next, Sessions, Sink};

/// Raised whenever the same events may make other outputs.
pub const VERSION: u32 = 1;

/// The group under which it commits.
pub const GROUP: &str = "sessions";

/// The sessions stage.
pub struct SessionStage {
    sessions: Sessions,
    version: Version,
    /// Of `sessions`, `late` and `dlq`.
    partitions: u32,
    planted: Vec<Planted>,
}

/// Bugs that tests plant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// It decides otherwise than a version of the same number did.
    OtherDecisions,
    /// Events that are too late for every session are not told of.
    LateForgotten,
    /// An event that joins two sessions extends one and leaves the other.
    MergeKeepsBoth,
    /// It fails on events of this type, after it has changed its state.
    PanicsOn(u64),
}

thread_local! {
    static HEADER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl SessionStage {
    pub fn new(sessions: Sessions, partitions: u32) -> SessionStage {
        // Whatever is said of the rules in words is said the same way by the same program.
        let configuration = xxh3_64(format!("{:?}", sessions.config).as_bytes());
        SessionStage { sessions, version: Version { number: VERSION, configuration }, partitions, planted: Vec::new() }
    }

    pub fn plant(&mut self, bug: Planted) {
        self.planted.push(bug);
        self.sessions.keeps_both |= bug == Planted::MergeKeepsBoth;
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    fn put(&self, key: &[u8], next: Next, state: &mut Keyed) {
        match next.value {
            Some(value) => state.set(key, value, next.timer),
            None => state.remove(key),
        }
    }
}

/// The clocks as sessions see them.
pub fn clocks(of: &flow::Clocks) -> Clocks {
    Clocks { watermark: of.watermark(), log_time: of.log_time(), closing: of.closing() }
}

impl Operator for SessionStage {
    type Prefix = ();

    const KIND: Kind = Kind::Deterministic;

    fn version(&self) -> Version {
        self.version
    }

    fn group(&self) -> &'static str {
        GROUP
    }

    fn observe(&self, (): &mut (), _: Offset, record: &RecordRef<'_>, header: HeaderRef<'_>) -> Verdict {
        match record.value {
            Some(_) if !header.flags().has(Flags::CONTROL) => Verdict::Fresh,
            _ => Verdict::Control,
        }
    }

    fn apply(&self, batch: &Batch, range: Range<usize>, _: &Asks, _: &Facts, state: &mut Keyed, out: &mut Effects) {
        for n in range {
            let entry = batch.entry(n);
            let at = Source::of(batch.input.topic, batch.input.partition, entry.offset);
            let event = Event::new(entry.header, entry.record.value.unwrap_or_default(), at);
            let key = entry.record.key;
            let clocks = clocks(&out.clocks);
            let mut sink = Out { stage: self, key, clocks, out };
            let next = self.sessions.apply(key, state.value(key), &event, &clocks, &mut sink);
            self.put(key, next, state);
            out.progress.processed += 1;
            let fails = self.planted.contains(&Planted::PanicsOn(entry.header.type_hash()));
            assert!(!fails, "planted: it fails on this type of event");
        }
    }

    fn advance(&self, key: &[u8], state: &mut Keyed, out: &mut Effects) {
        let Some(value) = state.value(key) else { return };
        let clocks = clocks(&out.clocks);
        let mut sink = Out { stage: self, key, clocks, out };
        let next = self.sessions.advance(key, value, &clocks, &mut sink);
        self.put(key, next, state);
    }

    fn quarantine(&self, batch: &Batch, n: usize, out: &mut Effects) {
        let entry = batch.entry(n);
        let value = entry.record.value.unwrap_or_default();
        let id = entry.header.json(Field::ID, value).or(entry.header.inherited_value(Field::ID)).unwrap_or_default();
        let id = id.strip_prefix(b"\"").and_then(|i| i.strip_suffix(b"\"")).unwrap_or(id);
        let position = format!("{}@{}", batch.input, entry.offset);
        let (code, message) = match entry.verdict {
            Verdict::Foreign => (Code::ForeignRecord, "it was written into `enriched` by another program than Ouzel"),
            _ => (Code::OperatorPanic, "the sessions stage failed on this event; its neighbours went on"),
        };
        let mut dead = Vec::new();
        DeadLetter {
            code,
            pointer: "",
            message,
            source: &String::from_utf8_lossy(entry.header.inherited_value(Field::SOURCE).unwrap_or_default()),
            position: &position,
            received: entry.header.received_time(),
            id: Some(id),
        }
        .write(value, &mut dead);
        let header = Header {
            source: Source::of(batch.input.topic, batch.input.partition, entry.offset),
            watermark: out.clocks.watermark(),
            spans: Vec::new(),
            inherited: Vec::new(),
            output_hash: 0,
            ..entry.header.to_header()
        };
        let mut header_bytes = Vec::new();
        header.encode(&mut header_bytes);
        let to = DLQ.partition(key::partition_of(id, self.partitions));
        out.emit(to, id, &header_bytes, Some(&[&dead]), 0);
        out.progress.quarantined += 1;
    }
}

/// Writes what a step says about sessions into the effects of the batch.
struct Out<'a> {
    stage: &'a SessionStage,
    key: &'a [u8],
    clocks: Clocks,
    out: &'a mut Effects,
}

impl Out<'_> {
    fn emit(&mut self, topic: event::TopicId, id: u128, kind: &[u8], revision: u32, at: Micros, json: &[u8]) {
        let header = Header {
            revision,
            event_time: at,
            received_time: self.clocks.log_time,
            watermark: self.clocks.watermark,
            id_hash: id,
            type_hash: hash64(kind),
            visitor_hash: hash64(self.key),
            source: self.out.position,
            ..Header::default()
        };
        HEADER.with_borrow_mut(|bytes| {
            bytes.clear();
            header.encode(bytes);
            let to = topic.partition(key::partition_of(self.key, self.stage.partitions));
            self.out.emit(to, self.key, bytes, Some(&[json]), 0);
        });
    }
}

impl Sink for Out<'_> {
    fn session(&mut self, session_id: u128, kind: Told, revision: u32, event_time: Micros, json: &[u8]) {
        // The bug: what a build decides differs although nobody raised its number.
        if self.stage.planted.contains(&Planted::OtherDecisions)
            && kind == Told::Update
            && session_id.is_multiple_of(64)
        {
            return;
        }
        let kind: &[u8] = match kind {
            Told::Update => b"update",
            Told::Final => b"final",
            Told::Merge => b"merge",
        };
        self.emit(SESSIONS, session_id, kind, revision, event_time, json);
    }

    fn late(&mut self, json: &[u8]) {
        if self.stage.planted.contains(&Planted::LateForgotten) {
            return;
        }
        self.emit(LATE, 0, b"late", 0, self.clocks.log_time, json);
    }
}
