//! Records that wait for answers are finished out of order, in order for each key; whatever is aborted or begun anew in
//! between, each is done once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use event::record::{Chunk, records};
use event::topic::{ENRICHED, RAW};
use event::{BlockBuilder, Header, HeaderRef, Micros, Offset, RecordRef, Source};
use flow::{
    Answered, AskId, Asks, Batch, Effects, Entry, Facts, Keyed, Kind, Operator, Progress, SourceId, Status, Verdict,
};
use ouzel_drive::{Action, Driver, Input, Phase, Planted, Settled};

/// Asks for its value, then for what it was told, and writes both. The watermark is the position that was passed.
struct Asking;

const ROUNDS: usize = 2;

impl Operator for Asking {
    type Prefix = BTreeMap<Vec<u8>, Offset>;

    const KIND: Kind = Kind::Recording;

    fn group(&self) -> &'static str {
        "asking"
    }

    fn observe(&self, seen: &mut Self::Prefix, offset: Offset, record: &RecordRef<'_>, _: HeaderRef<'_>) -> Verdict {
        let first = *seen.entry(record.value.unwrap_or_default().to_vec()).or_insert(offset);
        if first < offset { Verdict::Duplicate } else { Verdict::Fresh }
    }

    fn slots(&self) -> usize {
        ROUNDS
    }

    fn rounds(&self) -> usize {
        ROUNDS
    }

    fn plan(&self, batch: &Batch, n: usize, round: usize, facts: &Facts, asks: &mut Asks) {
        let entry = batch.entry(n);
        if entry.verdict != Verdict::Fresh {
            return;
        }
        let (asked, notes) = asks.parts();
        let value = entry.record.value.unwrap_or_default();
        let planned = match round {
            // A few ask nothing.
            0 if value.ends_with(b"0") => Err(Status::Skipped),
            0 => Ok(asked.ask(SourceId(0), value)),
            _ => notes.of(n)[0].map(|first| {
                assert!(facts.has(first), "the first round is answered");
                // Some ask the same as others.
                asked.ask(SourceId(1), &facts.fact(first).json[..1])
            }),
        };
        notes.set(n, round, planned);
    }

    fn apply(&self, batch: &Batch, range: Range<usize>, asks: &Asks, facts: &Facts, _: &mut Keyed, out: &mut Effects) {
        for n in range {
            let entry = batch.entry(n);
            if entry.verdict != Verdict::Fresh {
                out.progress.deduplicated += 1;
                continue;
            }
            let told = asks.notes().of(n).iter().flatten().map(|ask| {
                assert!(facts.has(*ask), "all is answered");
                facts.fact(*ask).json
            });
            let value: Vec<u8> =
                [entry.record.value.unwrap_or_default()].into_iter().chain(told).collect::<Vec<_>>().concat();
            let mut header = entry.record.header_bytes.to_vec();
            let source = Source::of(RAW, 0, entry.offset);
            event::header::patch(&mut header, source, out.progress.watermark, 0);
            out.emit(ENRICHED.partition(0), entry.record.key, &header, Some(&[&value]), 0);
            out.progress.processed += 1;
            assert!(!value.starts_with(b"poison"), "poison, after changing outputs");
        }
    }

    fn passed(&self, entry: &Entry<'_>, out: &mut Effects) {
        assert!(Micros(entry.offset as i64) > out.progress.watermark, "in order, and once");
        out.progress.watermark = Micros(entry.offset as i64);
    }

    fn quarantine(&self, batch: &Batch, n: usize, out: &mut Effects) {
        out.emit(ENRICHED.partition(0), b"dead", batch.entry(n).record.header_bytes, Some(&[b"dead"]), 0);
        out.progress.quarantined += 1;
    }
}

/// xorshift64, so that a failing seed can be run again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A log with gaps, and answers that come when they like.
struct World {
    chance: Chance,
    /// By position.
    input: BTreeMap<Offset, (Vec<u8>, Vec<u8>)>,
    end: Offset,
    outputs: Vec<u8>,
    committed: Option<(Offset, Vec<u8>)>,
    /// Most finished records that were seen above a committed position.
    finished_most: u64,
    bug: Option<Planted>,
}

impl World {
    fn new(seed: u64, events: u64) -> World {
        let mut chance = Chance(seed * 0x9e37_79b9 + 1);
        let (mut input, mut at) = (BTreeMap::new(), 0);
        for i in 0..events {
            at += u64::from(chance.below(9) == 0) * chance.below(5);
            let value = if i > 0 && chance.below(10) == 0 { chance.below(i) } else { i };
            let value = if chance.below(97) == 0 { format!("poison{i}") } else { format!("v{value}") };
            input.insert(at, (format!("k{}", chance.below(7)).into_bytes(), value.into_bytes()));
            at += 1;
        }
        World { chance, input, end: at, outputs: Vec::new(), committed: None, finished_most: 0, bug: None }
    }

    /// A driver's life: until all is done, or for so many steps.
    fn live(&mut self, steps: u64) -> bool {
        let mut driver = Driver::new(Arc::new(Asking), RAW.partition(0), BTreeMap::new(), 0, 1);
        if let Some(bug) = self.bug {
            driver.plant(bug);
        }
        // (flight, ask, key) that nobody has answered yet.
        let mut open: Vec<(u64, AskId, Vec<u8>)> = Vec::new();
        for _ in 0..steps {
            if self.chance.below(3) == 0 && !open.is_empty() {
                self.answer(&mut driver, &mut open);
            }
            match driver.next_action() {
                Some(Action::ReadPosition) => driver.handle(Input::Position(self.committed.clone())),
                Some(Action::Read { from }) => self.read(&mut driver, from),
                Some(Action::Ask { flight, asks, from }) => {
                    let mut facts = Facts::new("{}".into());
                    for (n, (source, key)) in asks.since(from).enumerate() {
                        let now = self.chance.below(2) == 0;
                        if !now {
                            open.push((flight, AskId((from + n) as u32), key.to_vec()));
                        }
                        facts.push_with(|out| now.then(|| fact(source, key, out)));
                    }
                    drop(asks);
                    driver.handle(Input::Facts { flight, facts });
                }
                Some(Action::Commit { seq, blocks, next, metadata, .. }) => {
                    let (settled, happened) = match self.chance.below(12) {
                        0 => (Settled::Aborted, false),
                        1 => (Settled::Unknown, true),
                        2 => (Settled::Unknown, false),
                        _ => (Settled::Committed, true),
                    };
                    if happened {
                        blocks.iter().for_each(|b| self.outputs.extend_from_slice(&b.bytes));
                        self.committed = Some((next, metadata));
                    }
                    driver.handle(Input::Settled { seq, settled });
                    self.finished_most = self.finished_most.max(driver.finished());
                    if settled == Settled::Committed {
                        let stored = self.committed.as_ref().map(|(next, metadata)| (*next, metadata.clone()));
                        assert_eq!(stored, Some((driver.committed().1, driver.committed_metadata())));
                    }
                }
                Some(Action::Stop(why)) => panic!("{why}"),
                None if !open.is_empty() => self.answer(&mut driver, &mut open),
                None => {}
            }
            let at_end = driver.phase() == Phase::Running && driver.committed().1 == self.end;
            if at_end && driver.flights().is_empty() && driver.open_commits() == 0 {
                return true;
            }
        }
        false
    }

    fn read(&mut self, driver: &mut Driver<Asking>, from: Offset) {
        let most = 1 + self.chance.below(30) as usize;
        let run: Vec<_> = self.input.range(from..).take(most).collect();
        let Some((first, _)) = run.first() else {
            return if from < self.end { driver.handle(Input::Gap { next: self.end }) } else { driver.read_nothing() };
        };
        if **first > from && self.chance.below(2) == 0 {
            return driver.handle(Input::Gap { next: **first });
        }
        let chunks = run.iter().map(|(at, (key, value))| {
            let mut block = BlockBuilder::new(RAW.partition(0));
            let mut header = Vec::new();
            Header::default().encode(&mut header);
            block.push(key, &header, Some(&[value]));
            Chunk { base: **at, count: 1, bytes: block.finish().bytes }
        });
        driver.handle(Input::Records { chunks: chunks.collect(), at: Micros(0) });
    }

    fn answer(&mut self, driver: &mut Driver<Asking>, open: &mut Vec<(u64, AskId, Vec<u8>)>) {
        let (flight, ask, key) = open.swap_remove(self.chance.below(open.len() as u64) as usize);
        let mut json = Vec::new();
        let source = SourceId(u16::from(key.len() == 1));
        let status = fact(source, &key, &mut json);
        driver.handle(Input::Answers { flight, answers: vec![Answered { ask, status, json, waited: 1 }] });
    }

    /// What is wrong with the outputs.
    fn judge(&self) -> Result<(), String> {
        let mut expected: BTreeMap<Offset, &(Vec<u8>, Vec<u8>)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (at, event) in &self.input {
            if seen.insert(&event.1) {
                expected.insert(*at, event);
            }
        }
        let (mut last, mut done, mut dead) = (BTreeMap::new(), BTreeSet::new(), 0);
        for record in records(&self.outputs) {
            let record = record.expect("a record");
            if record.key == b"dead" {
                dead += 1;
                continue;
            }
            let header = record.header().expect("a header");
            let at = header.source().offset;
            let (key, value) = expected.get(&at).ok_or_else(|| format!("{at} is a duplicate"))?;
            if !done.insert(at) {
                return Err(format!("{at} is there twice"));
            }
            let text = record.value.unwrap_or_default();
            let asked = if value.ends_with(b"0") { 0 } else { 2 };
            if key != record.key || !text.starts_with(value) || text.len() != value.len() + asked {
                return Err(format!("{at} is {:?}", String::from_utf8_lossy(text)));
            }
            if last.insert(record.key.to_vec(), at).is_some_and(|before| before > at) {
                return Err(format!("{at} comes after a later one of its key"));
            }
            let unfinished = expected.keys().find(|at| !done.contains(*at)).copied().unwrap_or(self.end);
            let poison = self.input.iter().find(|(_, (_, value))| value.starts_with(b"poison")).map(|(at, _)| *at);
            if header.watermark().0 >= unfinished as i64 && poison.is_none_or(|at| unfinished < at) {
                return Err(format!("{at} says {:?} while {unfinished} is not finished", header.watermark()));
            }
        }
        let poison = expected.values().filter(|(_, value)| value.starts_with(b"poison")).count();
        if (done.len() + poison, dead) != (expected.len(), poison) {
            return Err(format!("{} of {}, {dead} dead of {poison}", done.len(), expected.len()));
        }
        let (next, metadata) = self.committed.as_ref().expect("a position");
        let (progress, finished) = Progress::decode_with(*next, metadata).expect("what was written");
        let totals = (progress.processed, progress.quarantined, progress.deduplicated, progress.lost);
        let deduplicated = self.input.len() - expected.len();
        let lost = self.end - self.input.len() as u64;
        let wanted = ((expected.len() - poison) as u64, poison as u64, deduplicated as u64, lost);
        if totals != wanted || !finished.is_empty() || *next != self.end {
            return Err(format!("{totals:?} instead of {wanted:?}, at {next} of {}", self.end));
        }
        Ok(())
    }
}

fn fact(source: SourceId, key: &[u8], out: &mut Vec<u8>) -> Status {
    out.push(if source.0 == 0 { b'a' + key[key.len() - 1] % 3 } else { key[0].to_ascii_uppercase() });
    Status::Ok
}

fn run(seed: u64, bug: Option<Planted>) -> (Result<(), String>, u64) {
    let mut world = World { bug, ..World::new(seed, 200) };
    // Lives that end before their time, and a last one.
    for _ in 0..seed % 5 {
        let steps = world.chance.below(200);
        world.live(steps);
    }
    let ended = world.live(100_000);
    let judged = if ended { world.judge() } else { Err("it does not end".to_owned()) };
    (judged, world.finished_most)
}

#[test]
fn each_record_is_done_once_and_in_order_for_its_key() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut finished_most = 0;
    for seed in 1..=150 {
        let (judged, finished) = run(seed, None);
        judged.unwrap_or_else(|why| {
            drop(std::panic::take_hook());
            panic!("seed {seed}: {why}")
        });
        finished_most = finished_most.max(finished);
    }
    assert!(finished_most > 20, "records are finished out of order: {finished_most}");
    for bug in [Planted::OrderIgnored, Planted::FinishedForgotten] {
        let found = (1..=20).find(|seed| run(*seed, Some(bug)).0.is_err());
        drop(std::panic::take_hook());
        assert!(found.is_some(), "{bug:?} is found");
        std::panic::set_hook(Box::new(|_| {}));
    }
}
