//! A client that is honest and clumsy: it writes down what it will send, sends some of it twice, some late, some broken,
//! and after a lost answer sends the same batch again.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use event::{Code, Micros, key};
use ouzel_gen::render::{SENT_AT_AT, TIME_LEN};
use ouzel_gen::{
    EventId, Form, GenConfig, Generator, Malformation, Pace, Rng, Visitor, disorder, stamp_sent_at, stamp_time,
};
use xxhash_rust::xxh3::xxh3_64;

use super::book::Book;
use super::intent::{Ack, Intent, Kind, Mark};

#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Must differ between producers: it is in the ids.
    pub seed: u64,
    pub people: u64,
    /// Of 1,000 events, how many are sent once more.
    pub resend_per_mille: u64,
    pub late_per_mille: u64,
    pub malformed_per_mille: u64,
    /// Of 10,000 events.
    pub future_per_myriad: u64,
    pub conflict_per_myriad: u64,
    /// Events whose type is `poison`.
    pub poison_per_mille: u64,
    /// Of 1,000 events of browsers, how many are of one visitor, the same for all producers. (Servers know users only.)
    pub hot_per_mille: u64,
    /// How far the clock that gives events their time is ahead, in microseconds; `sentAt` is right all the same.
    pub clock_skew_us: i64,
}

impl ProducerConfig {
    /// The shares that `reliability.md` asks for.
    pub fn new(seed: u64) -> ProducerConfig {
        ProducerConfig {
            seed,
            people: 20_000,
            resend_per_mille: 50,
            late_per_mille: 20,
            malformed_per_mille: 10,
            future_per_myriad: 10,
            conflict_per_myriad: 10,
            poison_per_mille: 0,
            hot_per_mille: 0,
            clock_skew_us: 0,
        }
    }
}

/// A batch that is written down and may be sent.
#[derive(Debug)]
pub struct Prepared {
    pub body: Vec<u8>,
    pub content_type: &'static str,
    batch: u64,
    events: Vec<Planned>,
}

#[derive(Debug)]
struct Planned {
    kind: Kind,
    id: EventId,
    visitor: u64,
    time: Micros,
    sent_at: Micros,
    amount: u64,
    bytes: Vec<u8>,
}

impl Prepared {
    pub fn len(&self) -> usize {
        self.events.len()
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// What a 200 said.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Answer {
    pub accepted: u32,
    pub refused: u32,
    #[serde(default)]
    pub results: Vec<Refusal>,
}

#[derive(Clone, Debug, serde::Deserialize)]
pub struct Refusal {
    pub index: u32,
    pub code: String,
}

/// Half of the late ones come this late at most, in microseconds: between the sessions of a storm, which are seconds apart.
const LITTLE_LATE_US: u64 = 3_500_000;
/// An event's time may be so far ahead of its receipt without being called `future`, in microseconds: the default of
/// `time.max_future`.
pub(crate) const MAX_FUTURE_US: i64 = 300 * Micros::SECOND;
/// The visitor of [`ProducerConfig::hot_per_mille`].
const HOT: Visitor = Visitor(0x0068_6f74_0000);
/// Room for most events.
const EVENT_BYTES: usize = 1800;
/// Acknowledged events that may be sent again: enough to reach back over a crash and the restart after it.
const RECENT_MAX: usize = 4096;

pub struct Producer {
    config: ProducerConfig,
    generator: Generator,
    rng: Rng,
    book: Book,
    next_batch: u64,
    next_sequence: u64,
    /// The batch whose answer is not known. While it is there, nothing else is sent.
    pending: Option<Prepared>,
    recent: VecDeque<Planned>,
    scratch: Vec<u8>,
}

impl Producer {
    /// Begins the producer's two files in `dir`.
    pub fn create(dir: &Path, config: ProducerConfig) -> io::Result<Producer> {
        Producer::new(config, |run| Book::create(dir, run))
    }

    /// One that writes in memory, for [`Ledger::take`](super::Ledger::take).
    pub fn in_memory(config: ProducerConfig) -> io::Result<Producer> {
        Producer::new(config, |_| Ok(Book::Memory { intents: Vec::new(), acks: Vec::new() }))
    }

    fn new(config: ProducerConfig, book: impl FnOnce(u64) -> io::Result<Book>) -> io::Result<Producer> {
        let generator = GenConfig { seed: config.seed, pace: Pace::Given, ..GenConfig::of(config.people) };
        let generator = generator.build().map_err(io::Error::other)?;
        Ok(Producer {
            book: book(generator.run())?,
            rng: Rng::new(config.seed ^ 0x7072_6f64),
            next_batch: 0,
            next_sequence: 0,
            pending: None,
            recent: VecDeque::new(),
            scratch: Vec::new(),
            generator,
            config,
        })
    }

    pub fn run(&self) -> u64 {
        self.generator.run()
    }

    pub(super) fn book(&mut self) -> &mut Book {
        &mut self.book
    }

    /// Sets the clock that gives events their time: see [`ProducerConfig::clock_skew_us`].
    pub fn set_clock(&mut self, skew_us: i64) {
        self.config.clock_skew_us = skew_us;
    }

    /// Whether a batch was sent whose answer is not known.
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// The batch to send now: the pending one, noted as sent once more, or a new one of `n` events, written to the ledger
    /// before this returns.
    pub fn next(&mut self, n: usize, now: Micros) -> io::Result<&Prepared> {
        if let Some(batch) = self.pending.as_ref().map(|p| p.batch) {
            self.mark(Mark::Again { producer: self.run(), batch })?;
        } else {
            let prepared = self.prepare(n, now)?;
            self.pending = Some(prepared);
        }
        self.pending.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The pending batch was answered with 200; the answer says how many of it were accepted. Gives what is wrong with
    /// the answer, if anything is.
    pub fn acknowledge(&mut self, answer: &Answer) -> io::Result<Result<(), String>> {
        let Some(prepared) = self.pending.take() else { return Ok(Err("an answer to nothing".to_owned())) };
        let ack = Ack { accepted: answer.accepted, refused: answer.refused };
        self.mark(Mark::Acked { producer: self.run(), batch: prepared.batch, ack })?;
        let verdict = check_answer(&prepared, answer);
        for event in prepared.events {
            if matches!(event.kind, Kind::New | Kind::Late | Kind::Future | Kind::Poison) {
                if self.recent.len() == RECENT_MAX {
                    // Any of them may go, so that a few stay for a very long time.
                    let victim = self.rng.below(RECENT_MAX as u64) as usize;
                    self.recent.swap_remove_back(victim);
                }
                self.recent.push_back(event);
            }
        }
        Ok(verdict)
    }

    fn mark(&mut self, mark: Mark) -> io::Result<()> {
        self.scratch.clear();
        mark.encode(&mut self.scratch);
        // An attempt is an intent too, but one file per kind of record keeps both readable by stepping through them.
        self.book.acks().write_all(&self.scratch)
    }

    fn prepare(&mut self, n: usize, now: Micros) -> io::Result<Prepared> {
        let form = if self.rng.below(3) == 0 { Form::Batch } else { Form::Ndjson };
        let events: Vec<Planned> = (0..n).map(|_| self.plan(form, now)).collect();
        let batch = self.next_batch;
        self.next_batch += 1;
        self.scratch.clear();
        let mut body = Vec::with_capacity(events.iter().map(|e| e.bytes.len() + 1).sum::<usize>() + 16);
        if form == Form::Batch {
            body.extend_from_slice(b"{\"batch\":[");
        }
        for (index, event) in events.iter().enumerate() {
            if index > 0 && form == Form::Batch {
                body.push(b',');
            }
            body.extend_from_slice(&event.bytes);
            if form == Form::Ndjson {
                body.push(b'\n');
            }
            Intent {
                producer: self.generator.run(),
                sequence: self.next_sequence + index as u64,
                batch,
                index: index as u16,
                kind: event.kind,
                id: event.id,
                visitor: event.visitor,
                time: event.time,
                sent_at: event.sent_at,
                amount: event.amount,
                bytes: xxh3_64(&event.bytes),
                payload: payload_of(&event.bytes),
            }
            .encode(&mut self.scratch);
        }
        if form == Form::Batch {
            body.extend_from_slice(b"]}");
        }
        self.next_sequence += events.len() as u64;
        self.book.intents().write_all(&self.scratch)?;
        let content_type = if form == Form::Batch { "application/json" } else { "application/x-ndjson" };
        Ok(Prepared { body, content_type, batch, events })
    }

    fn plan(&mut self, form: Form, now: Micros) -> Planned {
        let c = &self.config;
        let (resend, malformed, late) = (c.resend_per_mille * 10, c.malformed_per_mille * 10, c.late_per_mille * 10);
        let (future, conflict, poison) = (c.future_per_myriad, c.conflict_per_myriad, c.poison_per_mille * 10);
        let mut draw = self.rng.below(10_000);
        let mut falls = |share: u64| {
            let yes = draw < share;
            draw = draw.wrapping_sub(share);
            yes
        };
        if falls(resend + conflict) && !self.recent.is_empty() {
            let old = &self.recent[self.rng.below(self.recent.len() as u64) as usize];
            let mut bytes = old.bytes.clone();
            let (mut kind, mut amount, mut sent_at) = (Kind::Resend, old.amount, old.sent_at);
            if self.rng.below(resend + conflict) < conflict {
                kind = Kind::Conflict;
                amount = disorder::change(&mut bytes).unwrap_or(old.amount);
            } else if self.rng.below(2) == 0 {
                kind = Kind::ResendLater;
                sent_at = now;
                stamp_sent_at(&mut bytes, now);
            }
            return Planned { kind, id: old.id, visitor: old.visitor, time: old.time, sent_at, amount, bytes };
        }
        let mut bytes = Vec::with_capacity(EVENT_BYTES);
        self.generator.set_time(now);
        let truth = self.generator.next(&mut bytes);
        let (mut kind, mut visitor) = (Kind::New, truth.visitor);
        if c.hot_per_mille > 0 && !visitor.is_user() && self.rng.per_mille(c.hot_per_mille) {
            visitor = HOT;
            give_to(visitor, &mut bytes);
        }
        // What the sender's clock shows.
        let shown = now.0 + c.clock_skew_us;
        let mut time = Micros(shown);
        stamp_time(&mut bytes, time);
        if falls(malformed) {
            kind = Kind::Malformed(malform(&mut bytes, form, &mut self.rng));
        } else if falls(late) {
            kind = Kind::Late;
            let little = self.rng.below(2) == 0;
            time = Micros(shown - if little { self.rng.below(LITTLE_LATE_US) as i64 } else { 3600 * Micros::SECOND });
            stamp_time(&mut bytes, time);
        } else if falls(future) {
            time = Micros(shown + 2 * 3600 * Micros::SECOND);
            stamp_time(&mut bytes, time);
        } else if falls(poison) {
            kind = Kind::Poison;
            name_it(b"poison", &mut bytes);
        }
        if matches!(kind, Kind::New | Kind::Late) && time.0 > now.0 + MAX_FUTURE_US {
            kind = Kind::Future;
        }
        let amount = truth.amount.unwrap_or(0);
        Planned { kind, id: truth.id, visitor: visitor.0, time, sent_at: now, amount, bytes }
    }
}

/// Makes an event of a browser that of another visitor.
fn give_to(visitor: Visitor, event: &mut [u8]) {
    const LABEL: &[u8] = b"\"anonymousId\":\"";
    let mut text = Vec::new();
    visitor.write(&mut text);
    let at = memchr::memmem::find(event, LABEL).expect("every event of a browser has it") + LABEL.len();
    event[at..at + text.len()].copy_from_slice(&text);
}

/// Gives an event another type: its name, or, where it has none, what stands in `type`.
fn name_it(name: &[u8], event: &mut Vec<u8>) {
    const LABELS: [&[u8]; 2] = [b"\",\"type\":\"track\",\"event\":\"", b"\",\"type\":\""];
    let after = SENT_AT_AT + TIME_LEN;
    let label = LABELS.iter().find(|l| event[after..].starts_with(l)).expect("every event has a type");
    let at = after + label.len();
    let len = event[at..].iter().position(|b| *b == b'"').expect("a text ends");
    event.splice(at..at + len, name.iter().copied());
}

/// Hash of an event without its `sentAt`, where this crate's events have it.
pub(crate) fn payload_of(event: &[u8]) -> u64 {
    let sent_at = SENT_AT_AT..SENT_AT_AT + TIME_LEN;
    key::payload_hash(event, (sent_at.end <= event.len()).then_some(sent_at))
}

fn check_answer(prepared: &Prepared, answer: &Answer) -> Result<(), String> {
    let expected: Vec<(u32, &str)> = (0..)
        .zip(&prepared.events)
        .filter_map(|(i, e)| if let Kind::Malformed(code) = e.kind { Some((i, code.name())) } else { None })
        .collect();
    let mut got: Vec<(u32, &str)> = answer.results.iter().map(|r| (r.index, r.code.as_str())).collect();
    got.sort_unstable();
    let counts = (answer.accepted as usize, answer.refused as usize);
    if got == expected && counts == (prepared.len() - expected.len(), expected.len()) {
        return Ok(());
    }
    Err(format!(
        "{} events of which these had to be refused: {expected:?}; the answer: {} accepted, {} refused, {got:?}",
        prepared.len(),
        counts.0,
        counts.1
    ))
}

/// Breaks an event in a way a door must name. What breaks the text as JSON is left out where it would break its
/// neighbours too.
fn malform(event: &mut Vec<u8>, form: Form, rng: &mut Rng) -> Code {
    use Malformation::{DuplicateMember, FarTime, NoTime, NoType, NotObject, ReservedMember, Truncated};
    const WAYS: [Malformation; 7] = [NoType, DuplicateMember, ReservedMember, NoTime, FarTime, Truncated, NotObject];
    let way = WAYS[rng.below(if form == Form::Ndjson { 7 } else { 5 }) as usize];
    way.apply(event, 0, rng.next_u64());
    way.code()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn the_ledger_has_every_event_before_it_is_sent_with_the_shares_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut producer = Producer::create(dir.path(), ProducerConfig::new(1)).expect("files");
        let mut sent = 0;
        for round in 0..200 {
            let prepared = producer.next(100, Micros(1_795_400_000_000_000 + round)).expect("written");
            sent += prepared.len();
            if round % 50 == 0 {
                let ledger = Ledger::open(dir.path()).expect("readable");
                assert_eq!(ledger.intents.len(), sent, "written before it is sent");
            }
            let refused: Vec<Refusal> = (0..)
                .zip(&prepared.events)
                .filter_map(|(index, e)| match e.kind {
                    Kind::Malformed(code) => Some(Refusal { index, code: code.name().to_owned() }),
                    _ => None,
                })
                .collect();
            let refusals = refused.len() as u32;
            let answer = Answer { accepted: 100 - refusals, refused: refusals, results: refused };
            assert_eq!(producer.acknowledge(&answer).expect("written"), Ok(()));
        }
        let ledger = Ledger::open(dir.path()).expect("readable");
        let share = |f: fn(&Kind) -> bool| ledger.intents.iter().filter(|i| f(&i.kind)).count();
        assert!((700..1300).contains(&share(|k| matches!(k, Kind::Resend | Kind::ResendLater))));
        assert!((300..500).contains(&share(|k| matches!(k, Kind::Late))));
        assert!((120..280).contains(&share(|k| matches!(k, Kind::Malformed(_)))));
        assert!((5..45).contains(&share(|k| matches!(k, Kind::Future))));
        assert!((5..45).contains(&share(|k| matches!(k, Kind::Conflict))));
        assert!(ledger.intents.iter().all(|i| ledger.is_acked(i)));
    }

    /// Sends to a door that takes everything that is not broken.
    fn send(producer: &mut Producer, batches: i64) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        for round in 0..batches {
            let prepared = producer.next(100, Micros(1_795_400_000_000_000 + round)).expect("written");
            events.extend(prepared.events.iter().map(|e| e.bytes.clone()));
            let answer = Answer { accepted: 100, refused: 0, results: Vec::new() };
            assert_eq!(producer.acknowledge(&answer).expect("written"), Ok(()));
        }
        events
    }

    #[test]
    fn in_memory_it_is_the_same_producer_and_the_same_ledger() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = ProducerConfig { people: 200, malformed_per_mille: 0, ..ProducerConfig::new(3) };
        let mut with_files = Producer::create(dir.path(), config.clone()).expect("files");
        let mut without = Producer::in_memory(config).expect("a generator");
        let mut ledger = Ledger::in_memory();
        for batches in [1, 0, 4] {
            assert_eq!(send(&mut with_files, batches), send(&mut without, batches));
            ledger.take(&mut without).expect("records");
        }
        for _ in 0..2 {
            with_files.next(7, Micros(0)).expect("written");
            without.next(7, Micros(0)).expect("written");
        }
        ledger.take(&mut without).expect("records");
        let read = Ledger::open(dir.path()).expect("readable");
        assert_eq!((&ledger.intents, ledger.intents.len()), (&read.intents, 507));
        assert_eq!(ledger.batch(&read.intents[500]).attempts, 2);
        assert_eq!(format!("{:?}", ledger.batch(&read.intents[0])), format!("{:?}", read.batch(&read.intents[0])));
        ledger.refresh().expect("there are no files to read");
        assert_eq!(ledger.intents.len(), 507);
    }

    #[test]
    fn clocks_are_wrong_visitors_hot_and_events_poisonous_as_asked_for() {
        let config = ProducerConfig {
            people: 200,
            resend_per_mille: 0,
            malformed_per_mille: 0,
            poison_per_mille: 30,
            hot_per_mille: 400,
            clock_skew_us: 900 * Micros::SECOND,
            ..ProducerConfig::new(3)
        };
        let mut producer = Producer::in_memory(config).expect("a generator");
        let events = send(&mut producer, 50);
        let mut ledger = Ledger::in_memory();
        ledger.take(&mut producer).expect("records");
        let (mut poison, mut hot, mut browsers) = (0, 0, 0);
        for (event, intent) in events.iter().zip(&ledger.intents) {
            let json: serde_json::Value = serde_json::from_slice(event).expect("JSON");
            let time = |name: &str| Micros::parse_rfc3339(json[name].as_str().expect("a text").as_bytes());
            assert_eq!((time("timestamp"), time("sentAt")), (Some(intent.time), Some(intent.sent_at)));
            let is_future = intent.time.0 > intent.sent_at.0 + MAX_FUTURE_US;
            match intent.kind {
                Kind::Poison | Kind::Conflict => {}
                kind => assert_eq!(kind == Kind::Future, is_future, "{intent:?}"),
            }
            let kind = json.get("event").unwrap_or(&json["type"]);
            assert_eq!(kind == "poison", ledger.poison.contains(&intent.id));
            poison += usize::from(intent.kind == Kind::Poison);
            let mut key = Vec::new();
            Visitor(intent.visitor).write(&mut key);
            let named = json.get("anonymousId").unwrap_or(&json["userId"]);
            assert_eq!(named.as_str().map(str::as_bytes), Some(&key[..]));
            browsers += usize::from(json.get("anonymousId").is_some());
            hot += usize::from(intent.visitor == HOT.0);
        }
        assert!((100..200).contains(&poison), "{poison}");
        assert!((35 * browsers..45 * browsers).contains(&(100 * hot)), "{hot} of {browsers}");
    }

    #[test]
    fn a_batch_without_an_answer_is_sent_again_and_noted() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut producer = Producer::create(dir.path(), ProducerConfig::new(1)).expect("files");
        let first = producer.next(10, Micros(0)).expect("written").body.clone();
        let second = producer.next(99, Micros(9)).expect("written").body.clone();
        assert_eq!(first, second);
        let ledger = Ledger::open(dir.path()).expect("readable");
        assert_eq!(ledger.intents.len(), 10);
        assert_eq!(ledger.batch(&ledger.intents[0]).attempts, 2);
    }
}
