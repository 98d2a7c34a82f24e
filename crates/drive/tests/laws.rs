//! L11: any cutting into batches, and any abort in between, gives the same outputs and state; a panic costs the guilty
//! record alone. The operator counts per key, so that a lost, doubled or reordered step shows.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use event::record::{Chunk, records};
use event::topic::{ENRICHED, RAW};
use event::{BlockBuilder, Header, HeaderRef, Micros, Offset, RecordRef};
use flow::{Asks, Batch, Effects, Facts, Keyed, Kind, Operator, Verdict};
use ouzel_drive::{Action, Driver, Input, Phase, Settled, Stop};

struct Counting;

impl Operator for Counting {
    type Prefix = BTreeMap<Vec<u8>, Offset>;

    const KIND: Kind = Kind::Recording;

    fn group(&self) -> &'static str {
        "counting"
    }

    /// The first position of a value decides: a second one is a duplicate.
    fn observe(&self, seen: &mut Self::Prefix, offset: Offset, record: &RecordRef<'_>, _: HeaderRef<'_>) -> Verdict {
        let first = *seen.entry(record.value.unwrap_or_default().to_vec()).or_insert(offset);
        if first < offset { Verdict::Duplicate } else { Verdict::Fresh }
    }

    fn apply(&self, batch: &Batch, range: Range<usize>, _: &Asks, _: &Facts, state: &mut Keyed, out: &mut Effects) {
        for n in range {
            let entry = batch.entry(n);
            if entry.verdict != Verdict::Fresh {
                out.progress.deduplicated += 1;
                continue;
            }
            let key = entry.record.key;
            let count = state.value(key).map_or(0, |v| u64::from_le_bytes(v.try_into().expect("eight bytes"))) + 1;
            state.set(key, count.to_le_bytes().to_vec(), Some(Micros(count as i64)));
            out.emit(ENRICHED.partition(0), key, entry.record.header_bytes, Some(&[&count.to_le_bytes()]), 0);
            out.progress.processed += 1;
            assert!(entry.record.value != Some(b"poison"), "poison, after changing state and output");
        }
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

/// Which outcome the `n`-th commit has, and whether an unknown one happened.
type Fate = Box<dyn FnMut(u64) -> (Settled, bool)>;

struct World {
    input: Vec<(Vec<u8>, Vec<u8>)>,
    outputs: Vec<u8>,
    committed: Option<(Offset, Vec<u8>)>,
    /// Restart the driver after this many commits, losing all it knows.
    restart_every: Option<u64>,
}

struct End {
    outputs: Vec<u8>,
    state: Vec<u8>,
    metadata: Vec<u8>,
}

impl World {
    fn new(input: Vec<(Vec<u8>, Vec<u8>)>) -> World {
        World { input, outputs: Vec::new(), committed: None, restart_every: None }
    }

    fn chunk(&self, from: Offset, count: u64) -> Vec<Chunk> {
        let to = (from + count).min(self.input.len() as u64);
        if from >= to {
            return Vec::new();
        }
        // As a log gives them: a chunk for each append.
        let places: Vec<u64> = (from..to).collect();
        let runs = places.chunks(3);
        runs.map(|run| {
            let mut block = BlockBuilder::new(RAW.partition(0));
            for at in run {
                let (key, value) = &self.input[*at as usize];
                let mut header = Vec::new();
                Header::default().encode(&mut header);
                block.push(key, &header, Some(&[value]));
            }
            let block = block.finish();
            Chunk { base: run[0], count: block.count, bytes: block.bytes }
        })
        .collect()
    }

    fn run(mut self, chance: &mut Chance, batch_max: u64, pipeline: usize, mut fate: Fate) -> (End, Option<Stop>) {
        let mut driver = Driver::new(Arc::new(Counting), RAW.partition(0), BTreeMap::new(), 0, pipeline);
        let mut waiting: Vec<(u64, Vec<u8>, Offset, Vec<u8>)> = Vec::new();
        let mut commits = 0;
        let mut rejecting = false;
        loop {
            match driver.next_action() {
                Some(Action::ReadPosition) => {
                    rejecting = false;
                    driver.handle(Input::Position(self.committed.clone()));
                }
                Some(Action::Read { from }) => {
                    let chunks = self.chunk(from, 1 + chance.below(batch_max));
                    if chunks.is_empty() {
                        driver.read_nothing();
                        if driver.open_commits() == 0 && driver.phase() == Phase::Running {
                            break;
                        }
                    } else {
                        driver.handle(Input::Records { chunks, at: Micros(0) });
                        continue;
                    }
                }
                Some(Action::Ask { flight, .. }) => driver.handle(Input::Facts { flight, facts: Facts::default() }),
                Some(Action::Commit { seq, blocks, next, metadata, .. }) => {
                    let bytes: Vec<u8> = blocks.iter().flat_map(|b| b.bytes.to_vec()).collect();
                    waiting.push((seq, bytes, next, metadata));
                }
                Some(Action::Stop(why)) => return (self.end(&driver), Some(why)),
                None => {}
            }
            // Outcomes come in order, now or some actions later.
            if !waiting.is_empty() && (waiting.len() >= pipeline || chance.below(3) == 0) {
                let (seq, bytes, next, metadata) = waiting.remove(0);
                commits += 1;
                let (settled, happened) = if rejecting { (Settled::Aborted, false) } else { fate(commits) };
                if happened {
                    self.outputs.extend_from_slice(&bytes);
                    self.committed = Some((next, metadata));
                }
                // What stands behind a commit that did not happen cannot happen either.
                rejecting |= settled != Settled::Committed;
                driver.handle(Input::Settled { seq, settled });
                if self.restart_every.is_some_and(|n| commits % n == 0) {
                    waiting.clear();
                    rejecting = false;
                    // A recording stage has no keyed state to lose; here it would, so this world checks outputs only.
                    driver = Driver::new(Arc::new(Counting), RAW.partition(0), BTreeMap::new(), 0, pipeline);
                }
            }
        }
        (self.end(&driver), None)
    }

    fn end(self, driver: &Driver<Counting>) -> End {
        let metadata = self.committed.map(|(_, m)| m).unwrap_or_default();
        End { outputs: self.outputs, state: driver.state().canonical(), metadata }
    }
}

fn input(chance: &mut Chance, n: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
    (0..n)
        .map(|i| {
            let value = if i > 0 && chance.below(10) == 0 { chance.below(i) } else { i };
            let key = format!("k{}", chance.below(7)).into_bytes();
            (key, format!("v{value}").into_bytes())
        })
        .collect()
}

fn committed() -> Fate {
    Box::new(|_| (Settled::Committed, true))
}

#[test]
fn abort_after_every_kth_commit_is_as_if_it_had_never_been() {
    for seed in 1..=20 {
        let mut chance = Chance(seed);
        let input = input(&mut chance, 400);
        let (straight, _) = World::new(input.clone()).run(&mut Chance(seed), 400, 1, committed());
        assert_eq!(records(&straight.outputs).count() as u64, {
            let unique: std::collections::BTreeSet<_> = input.iter().map(|(_, v)| v).collect();
            unique.len() as u64
        });
        for k in 1..=7u64 {
            for pipeline in [1, 2, 4] {
                let fate: Fate = Box::new(move |n| {
                    // Every k-th is aborted; k = 1 aborts every other one, else nothing would ever happen.
                    if n % (k + 1) == 0 { (Settled::Aborted, false) } else { (Settled::Committed, true) }
                });
                let (end, _) = World::new(input.clone()).run(&mut chance, 1 + 3 * k, pipeline, fate);
                assert_eq!(end.outputs, straight.outputs, "outputs, seed {seed}, k {k}, pipeline {pipeline}");
                assert_eq!(end.state, straight.state, "state, seed {seed}, k {k}, pipeline {pipeline}");
                assert_eq!(end.metadata, straight.metadata, "metadata, seed {seed}, k {k}, pipeline {pipeline}");
            }
        }
    }
}

#[test]
fn an_unknown_outcome_is_settled_by_the_committed_position() {
    for seed in 1..=50 {
        let mut chance = Chance(seed * 77);
        let input = input(&mut chance, 300);
        let (straight, _) = World::new(input.clone()).run(&mut Chance(seed), 300, 1, committed());
        let mut coin = Chance(seed * 131);
        let fate: Fate = Box::new(move |_| match coin.below(6) {
            0 => (Settled::Unknown, true),
            1 => (Settled::Unknown, false),
            2 => (Settled::Aborted, false),
            _ => (Settled::Committed, true),
        });
        let (end, _) = World::new(input).run(&mut chance, 20, 1 + (seed % 3) as usize, fate);
        assert_eq!(end.outputs, straight.outputs, "outputs, seed {seed}");
        assert_eq!(end.state, straight.state, "state, seed {seed}");
        assert_eq!(end.metadata, straight.metadata, "metadata, seed {seed}");
    }
}

#[test]
fn a_recording_stage_rebuilds_what_it_needs_after_a_restart() {
    // Keyed state would come from a snapshot; what is judged while reading comes from reading again.
    let mut chance = Chance(5);
    let input: Vec<_> = input(&mut chance, 500).into_iter().map(|(_, v)| (v.clone(), v)).collect();
    let (straight, _) = World::new(input.clone()).run(&mut Chance(1), 500, 1, committed());
    for every in 1..6 {
        let mut world = World::new(input.clone());
        world.restart_every = Some(every);
        let (end, _) = world.run(&mut chance, 40, 1, committed());
        assert_eq!(end.outputs, straight.outputs, "restart after every {every} commits");
    }
}

#[test]
fn a_panic_costs_the_guilty_record_alone() {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut chance = Chance(9);
    let mut poisoned = input(&mut chance, 200);
    let clean: Vec<_> = poisoned.clone();
    poisoned.insert(90, (b"k1".to_vec(), b"poison".to_vec()));
    let (with, stop) = World::new(poisoned.clone()).run(&mut chance, 30, 2, committed());
    let (without, _) = World::new(clean).run(&mut chance, 30, 2, committed());
    assert_eq!(stop, None);
    assert_eq!(with.state, without.state);
    let live = |outputs: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
        records(outputs)
            .map(|r| r.expect("a record"))
            .filter(|r| r.key != b"dead")
            .map(|r| (r.key.to_vec(), r.value.unwrap_or_default().to_vec()))
            .collect()
    };
    assert_eq!(live(&with.outputs), live(&without.outputs));
    assert_eq!(records(&with.outputs).count(), live(&with.outputs).len() + 1, "one dead letter");

    // A hundred in a row are the operator's fault, not the events'. (Each is a value of its own: none is a duplicate.)
    struct AllPanic;
    impl Operator for AllPanic {
        type Prefix = ();
        const KIND: Kind = Kind::Recording;
        fn group(&self) -> &'static str {
            "panic"
        }
        fn observe(&self, _: &mut (), _: Offset, _: &RecordRef<'_>, _: HeaderRef<'_>) -> Verdict {
            Verdict::Fresh
        }
        fn apply(&self, _: &Batch, _: Range<usize>, _: &Asks, _: &Facts, _: &mut Keyed, _: &mut Effects) {
            panic!("always");
        }
        fn quarantine(&self, _: &Batch, _: usize, _: &mut Effects) {}
    }
    let world = World::new(poisoned);
    let mut driver = Driver::new(Arc::new(AllPanic), RAW.partition(0), (), 0, 1);
    let stop = loop {
        match driver.next_action() {
            Some(Action::ReadPosition) => driver.handle(Input::Position(None)),
            Some(Action::Read { from }) => {
                driver.handle(Input::Records { chunks: world.chunk(from, 150), at: Micros(0) })
            }
            Some(Action::Ask { flight, .. }) => driver.handle(Input::Facts { flight, facts: Facts::default() }),
            Some(Action::Stop(why)) => break why,
            Some(Action::Commit { .. }) => panic!("nothing is to be committed"),
            None => panic!("it waits for something"),
        }
    };
    std::panic::set_hook(silent);
    assert_eq!(stop, Stop::Panics { last: 99 });
}
