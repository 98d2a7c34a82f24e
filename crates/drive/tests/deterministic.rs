//! A deterministic stage: where its input is cut into batches, what is aborted, and where it is killed must not be seen in
//! its outputs (L11, exactly once), and a replay that decides otherwise must be.

use std::ops::Range;
use std::sync::Arc;

use event::record::{Chunk, records};
use event::topic::{ENRICHED, RAW, SESSIONS};
use event::{Assertion, BlockBuilder, Control, Flags, Header, HeaderRef, Micros, Offset, RecordRef, Says, Source};
use flow::{Asks, Batch, Effects, Facts, Keyed, Kind, Metadata, Operator, Verdict, Version};
use ouzel_drive::{Action, Driver, Input, Phase, Planted, Restored, Settled, Stop};

/// Counts events per key and tells the count when nothing came for 10: so it depends on order, timers and the watermark.
#[derive(Clone, Copy)]
struct Counting {
    version: u32,
    /// What it adds to each count: another build has another number.
    step: u64,
}

const GAP: i64 = 10;

impl Operator for Counting {
    type Prefix = ();
    const KIND: Kind = Kind::Deterministic;

    fn version(&self) -> Version {
        Version { number: self.version, configuration: 0 }
    }

    fn group(&self) -> &'static str {
        "counting"
    }

    fn observe(&self, _: &mut (), _: Offset, record: &RecordRef<'_>, _: HeaderRef<'_>) -> Verdict {
        if record.value.is_some() { Verdict::Fresh } else { Verdict::Control }
    }

    fn apply(&self, batch: &Batch, range: Range<usize>, _: &Asks, _: &Facts, state: &mut Keyed, out: &mut Effects) {
        for n in range {
            let entry = batch.entry(n);
            let key = entry.record.key;
            let count = state.value(key).map_or(0, number) + self.step;
            let due = Micros(entry.header.event_time().0 + GAP);
            state.set(key, count.to_le_bytes().to_vec(), Some(due));
            let late = entry.header.event_time() <= out.clocks.watermark();
            emit(out, key, format!("{count} late {late} at {}", out.clocks.log_time().0));
            out.progress.processed += 1;
            assert!(entry.record.value != Some(b"poison"), "poison, after changing state and output");
        }
    }

    fn advance(&self, key: &[u8], state: &mut Keyed, out: &mut Effects) {
        let count = state.value(key).map_or(0, number);
        state.remove(key);
        emit(out, key, format!("total {count} at watermark {}", out.clocks.watermark().0));
    }

    fn quarantine(&self, batch: &Batch, n: usize, out: &mut Effects) {
        let key = batch.entry(n).record.key;
        emit(out, key, "dead".to_owned());
        out.progress.quarantined += 1;
    }
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

fn emit(out: &mut Effects, key: &[u8], text: String) {
    let mut header = Vec::new();
    Header { source: out.position, ..Header::default() }.encode(&mut header);
    out.emit(SESSIONS.partition(0), key, &header, Some(&[text.as_bytes()]), 0);
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// (key, header, value)
type Row = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// Events of two sources in disorder, with controls between them.
fn input(chance: &mut Chance, n: u64) -> Vec<Row> {
    let mut time = [0i64; 2];
    let mut rows = Vec::new();
    for i in 0..n {
        let source = chance.below(2) as u32;
        let at = &mut time[source as usize];
        let watermark = *at - 5;
        *at += chance.below(6) as i64;
        if chance.below(8) == 0 {
            let says =
                [Says::Idle(Micros(*at)), Says::Watermark(Micros(watermark)), Says::Empty][chance.below(3) as usize];
            let control = Control {
                topic: RAW,
                sources: 2,
                assertions: vec![Assertion { partition: source, says }],
                close: chance.below(20) == 0,
                received_time: Micros(*at),
            };
            rows.push((Vec::new(), control.encode(), None));
            continue;
        }
        let header = Header {
            event_time: Micros(*at - chance.below(8) as i64),
            received_time: Micros(*at),
            watermark: Micros(watermark),
            source: Source::of(RAW, source, i),
            ..Header::default()
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        rows.push((format!("k{}", chance.below(7)).into_bytes(), bytes, Some(b"event".to_vec())));
    }
    rows
}

struct Snapshot {
    position: Offset,
    metadata: Metadata,
    /// The chain, base first.
    parts: Vec<Vec<u8>>,
}

/// The world outside the driver: what survives a crash.
struct World {
    input: Vec<Row>,
    outputs: Vec<u8>,
    committed: Option<(Offset, Vec<u8>)>,
    snapshots: Vec<Snapshot>,
    /// In each of its processes.
    planted: Option<Planted>,
}

/// How the world treats the driver.
struct Treatment {
    batch_max: u64,
    pipeline: usize,
    /// Of a hundred commits, so many are aborted, and so many have an unknown outcome.
    aborted: u64,
    unknown: u64,
    /// Of a hundred commits, after so many the process is killed.
    killed: u64,
    /// Of a hundred commits, after so many a snapshot is begun.
    snapshots: u64,
}

const STRAIGHT: Treatment = Treatment { batch_max: 1000, pipeline: 1, aborted: 0, unknown: 0, killed: 0, snapshots: 0 };

impl World {
    fn new(input: Vec<Row>) -> World {
        World { input, outputs: Vec::new(), committed: None, snapshots: Vec::new(), planted: None }
    }

    fn chunks(&self, from: Offset, count: u64) -> Vec<Chunk> {
        let to = (from + count).min(self.input.len() as u64);
        let places: Vec<u64> = (from..to).collect();
        let runs = places.chunks(3).map(|run| {
            let mut block = BlockBuilder::new(ENRICHED.partition(0));
            for at in run {
                let (key, header, value) = &self.input[*at as usize];
                let parts: Option<[&[u8]; 1]> = value.as_ref().map(|v| [&v[..]]);
                block.push(key, header, parts.as_ref().map(|p| &p[..]));
            }
            let block = block.finish();
            Chunk { base: run[0], count: block.count, bytes: block.bytes }
        });
        runs.collect()
    }

    /// A new process.
    fn start(&self, operator: Counting, chance: &mut Chance, pipeline: usize, accept: bool) -> Driver<Counting> {
        let at_most = self.committed.as_ref().map_or(0, |(next, _)| *next);
        let readable: Vec<&Snapshot> = self.snapshots.iter().filter(|s| s.position <= at_most).collect();
        let mut from =
            Restored { state: Keyed::default(), position: 0, metadata: None, sources: 2, accept_divergence: accept };
        // Any snapshot at or below the committed position is right; now and then the newest cannot be read.
        if !readable.is_empty() {
            let back = chance.below(2).min(readable.len() as u64 - 1) as usize;
            let snapshot = readable[readable.len() - 1 - back];
            snapshot.parts.iter().for_each(|part| from.state.load(part).expect("a part"));
            (from.position, from.metadata) = (snapshot.position, Some(snapshot.metadata.clone()));
        }
        let mut driver = Driver::restored(Arc::new(operator), ENRICHED.partition(0), (), from, pipeline);
        if let Some(bug) = self.planted {
            driver.plant(bug);
        }
        driver
    }

    /// Lets a driver work until all is done, killing it as the treatment says; gives the state at the end.
    fn run(&mut self, operator: Counting, chance: &mut Chance, t: &Treatment, accept: bool) -> Result<Vec<u8>, Stop> {
        let mut driver = self.start(operator, chance, t.pipeline, accept);
        let mut waiting: Vec<(u64, Vec<u8>, Offset, Vec<u8>)> = Vec::new();
        let mut taking: Option<Snapshot> = None;
        let mut rejecting = false;
        loop {
            match driver.next_action() {
                Some(Action::ReadPosition) => {
                    rejecting = false;
                    driver.handle(Input::Position(self.committed.clone()));
                }
                Some(Action::Read { from }) => {
                    let chunks = self.chunks(from, 1 + chance.below(t.batch_max));
                    if chunks.is_empty() {
                        driver.read_nothing();
                        if driver.open_commits() == 0 && driver.phase() == Phase::Running {
                            return Ok(driver.state().canonical());
                        }
                    } else {
                        driver.handle(Input::Records { chunks, at: Micros(0) });
                        continue;
                    }
                }
                Some(Action::Ask { .. }) => panic!("a deterministic stage asks nobody"),
                Some(Action::Commit { seq, blocks, next, metadata, .. }) => {
                    let bytes = blocks.iter().flat_map(|b| b.bytes.to_vec()).collect();
                    waiting.push((seq, bytes, next, metadata));
                }
                Some(Action::Stop(why)) => return Err(why),
                None => {}
            }
            if let Some(snapshot) = &mut taking {
                let mut part = Vec::new();
                let done = driver.state_mut().snapshot_slice(40, &mut part);
                snapshot.parts.push(part);
                if done {
                    let snapshot = taking.take().expect("just looked at");
                    driver.snapshot_done(snapshot.position);
                    self.snapshots.push(snapshot);
                }
            }
            if waiting.is_empty() || (waiting.len() < t.pipeline && chance.below(3) != 0) {
                continue;
            }
            let (seq, bytes, next, metadata) = waiting.remove(0);
            let dice = chance.below(100);
            let (settled, happened) = match dice {
                _ if rejecting => (Settled::Aborted, false),
                d if d < t.aborted => (Settled::Aborted, false),
                d if d < t.aborted + t.unknown => (Settled::Unknown, chance.below(2) == 0),
                _ => (Settled::Committed, true),
            };
            if happened {
                self.outputs.extend_from_slice(&bytes);
                self.committed = Some((next, metadata));
            }
            rejecting |= settled != Settled::Committed;
            driver.handle(Input::Settled { seq, settled });
            if chance.below(100) < t.killed {
                waiting.clear();
                (taking, rejecting) = (None, false);
                driver = self.start(operator, chance, t.pipeline, accept);
            } else if taking.is_none() && chance.below(100) < t.snapshots {
                // The chain goes on from what was loaded or taken last; a full one begins anew.
                let full =
                    chance.below(4) == 0 || driver.state_mut().needs_full_snapshot() || self.snapshots.is_empty();
                if let Some((position, metadata)) = driver.begin_snapshot(full) {
                    let base = if full { Vec::new() } else { self.snapshots.last().expect("one").parts.clone() };
                    taking = Some(Snapshot { position, metadata, parts: base });
                }
            }
        }
    }

    fn texts(&self) -> Vec<(u64, String)> {
        records(&self.outputs)
            .map(|r| {
                let r = r.expect("a record");
                let text = String::from_utf8(r.value.expect("a value").to_vec()).expect("text");
                (r.header().expect("a header").source().offset, format!("{} {text}", String::from_utf8_lossy(r.key)))
            })
            .collect()
    }
}

const BUILD: Counting = Counting { version: 1, step: 1 };

/// What is seen of a treatment beside the straight way: in the outputs, their hashes, the state at the end, or a stop.
fn seen(rows: &[Row], planted: Option<Planted>, chance: &mut Chance, t: &Treatment) -> Option<String> {
    let mut straight = World { planted, ..World::new(rows.to_vec()) };
    let state = straight.run(BUILD, chance, &STRAIGHT, false).expect("it goes through");
    assert!(planted.is_some() || straight.texts().iter().any(|(_, t)| t.contains("total")), "timers fire");
    let mut world = World { planted, ..World::new(rows.to_vec()) };
    match world.run(BUILD, chance, t, false) {
        Err(why) => Some(why.to_string()),
        Ok(_) if world.texts() != straight.texts() => {
            let (texts, want) = (world.texts(), straight.texts());
            let at = texts.iter().zip(&want).take_while(|(a, b)| a == b).count();
            Some(format!("output {at}: {:?}, not {:?}", texts.get(at), want.get(at)))
        }
        Ok(_) if world.outputs != straight.outputs => Some("hashes of outputs".to_owned()),
        Ok(end) => (end != state).then(|| "state".to_owned()),
    }
}

#[test]
fn cuts_aborts_unknown_outcomes_and_kills_are_not_seen() {
    for seed in 1..=120u64 {
        let mut chance = Chance(seed * 7919);
        let rows = input(&mut chance, 300);
        for t in [
            Treatment { batch_max: 1, ..STRAIGHT },
            Treatment { batch_max: 9, pipeline: 3, aborted: 20, unknown: 20, ..STRAIGHT },
            Treatment { batch_max: 12, killed: 15, snapshots: 0, ..STRAIGHT },
            Treatment { batch_max: 12, killed: 10, snapshots: 60, ..STRAIGHT },
            Treatment { batch_max: 7, pipeline: 2, aborted: 10, unknown: 10, killed: 10, snapshots: 40 },
        ] {
            if let Some(what) = seen(&rows, None, &mut chance, &t) {
                panic!("seed {seed}, batches of {}: {what}", t.batch_max);
            }
        }
    }
}

#[test]
fn planted_bugs_are_seen() {
    for (bug, t) in [
        (Planted::ReplaySentTwice, Treatment { batch_max: 12, killed: 15, ..STRAIGHT }),
        (Planted::OverlayKept, Treatment { batch_max: 12, aborted: 20, ..STRAIGHT }),
        (Planted::OverlayKept, Treatment { batch_max: 12, pipeline: 3, aborted: 20, ..STRAIGHT }),
        (Planted::OverlayDropped, Treatment { batch_max: 12, unknown: 20, ..STRAIGHT }),
        (Planted::OverlayDropped, Treatment { batch_max: 12, pipeline: 3, unknown: 20, ..STRAIGHT }),
        (Planted::BatchCuts, Treatment { batch_max: 12, ..STRAIGHT }),
        (Planted::BatchCuts, Treatment { batch_max: 12, killed: 15, snapshots: 40, ..STRAIGHT }),
        (Planted::MapOrderLeaks, STRAIGHT),
        (Planted::MapOrderLeaks, Treatment { batch_max: 12, killed: 15, ..STRAIGHT }),
    ] {
        let found = (1..=100u64).find_map(|seed| {
            let mut chance = Chance(seed * 7919);
            let rows = input(&mut chance, 300);
            seen(&rows, Some(bug), &mut chance, &t).map(|what| format!("seed {seed}: {what}"))
        });
        eprintln!("{bug:?}, batches of {}, {}", t.batch_max, found.unwrap_or_else(|| panic!("{bug:?} was not seen")));
    }
}

#[test]
fn a_poisoned_record_is_set_aside_and_its_neighbours_never_knew_it() {
    let silent = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for seed in 1..=30u64 {
        let mut chance = Chance(seed * 31);
        let clean = input(&mut chance, 200);
        let mut poisoned = clean.clone();
        let at = 50 + chance.below(100) as usize;
        let header = Header {
            event_time: Micros(100_000),
            received_time: Micros(100_000),
            watermark: Micros(99_000),
            source: Source::of(RAW, 0, 0),
            ..Header::default()
        };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        poisoned.insert(at, (b"k1".to_vec(), bytes, Some(b"poison".to_vec())));
        let mut without = World::new(clean);
        let state = without.run(BUILD, &mut Chance(seed), &STRAIGHT, false).expect("it goes through");
        // Killed again and again: a replay sets it aside without running it.
        let t = Treatment { batch_max: 20, killed: 30, snapshots: 30, ..STRAIGHT };
        let mut with = World::new(poisoned);
        let end = with.run(BUILD, &mut chance, &t, false);
        let end = end.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert_eq!(end, state, "seed {seed}");
        let (dead, live): (Vec<_>, Vec<_>) = with.texts().into_iter().partition(|(_, text)| text == "k1 dead");
        assert_eq!(dead, [(at as u64, "k1 dead".to_owned())], "one dead letter, seed {seed}");
        let live: Vec<String> = live.into_iter().map(|(_, text)| text).collect();
        let expected: Vec<String> = without.texts().into_iter().map(|(_, text)| text).collect();
        assert_eq!(live, expected, "seed {seed}");
    }
    std::panic::set_hook(silent);
}

#[test]
fn a_position_that_another_moved_stops_it() {
    let mut chance = Chance(80);
    let world = World::new(input(&mut chance, 100));
    let mut driver = world.start(BUILD, &mut chance, 1, false);
    // Its first commit is fenced, and who took the partition over has committed since.
    let mut theirs = None;
    let stop = loop {
        match driver.next_action() {
            Some(Action::ReadPosition) => driver.handle(Input::Position(theirs.clone())),
            Some(Action::Read { from }) => {
                driver.handle(Input::Records { chunks: world.chunks(from, 10), at: Micros(0) })
            }
            Some(Action::Commit { seq, metadata, .. }) => {
                theirs = Some((20, metadata));
                driver.handle(Input::Settled { seq, settled: Settled::Aborted });
            }
            Some(Action::Stop(why)) => break why,
            Some(Action::Ask { .. }) | None => panic!("it reads, commits, and stops"),
        }
    };
    assert_eq!(stop, Stop::Overtaken { known: 0, committed: 20 });
    assert!(stop.to_string().contains("another process works on this partition"), "{stop}");
}

#[test]
fn a_build_that_decides_otherwise_under_the_same_number_is_caught_by_the_replay() {
    let mut chance = Chance(77);
    let mut world = World::new(input(&mut chance, 300));
    let t = Treatment { batch_max: 30, snapshots: 30, ..STRAIGHT };
    world.run(BUILD, &mut chance, &t, false).expect("it goes through");
    // Killed before the last snapshot: there is something to replay.
    world.snapshots.truncate(1);
    let changed = Counting { step: 2, ..BUILD };
    let stop = world.run(changed, &mut chance, &STRAIGHT, false).expect_err("it decides otherwise");
    let Stop::Diverged { from, to, stored, made } = stop else { panic!("{stop}") };
    assert_eq!((from, to), (world.snapshots[0].position, 300));
    assert_ne!(stored, made);
    // Told to go on, it goes on with what it made.
    world.run(changed, &mut chance, &STRAIGHT, true).expect("it was told to");
}

#[test]
fn what_a_replay_made_can_be_had_and_is_what_was_committed() {
    let mut chance = Chance(79);
    let mut world = World::new(input(&mut chance, 300));
    let t = Treatment { batch_max: 30, snapshots: 30, ..STRAIGHT };
    world.run(BUILD, &mut chance, &t, false).expect("it goes through");
    // From the beginning, whatever batches there were then and are now.
    world.snapshots.clear();
    for kept in [true, false] {
        let mut driver = world.start(BUILD, &mut chance, 1, false);
        if kept {
            driver.keep_replayed();
        }
        let mut made = Vec::new();
        while driver.phase() != Phase::Running {
            match driver.next_action() {
                Some(Action::ReadPosition) => driver.handle(Input::Position(world.committed.clone())),
                Some(Action::Read { from }) => {
                    let chunks = world.chunks(from, 1 + chance.below(40));
                    driver.handle(Input::Records { chunks, at: Micros(0) });
                    made.extend(driver.take_replayed().iter().flat_map(|b| b.bytes.to_vec()));
                }
                _ => panic!("it replays"),
            }
        }
        assert_eq!(driver.replayed_to(), 300);
        assert_eq!(made, if kept { world.outputs.clone() } else { Vec::new() });
    }
}

#[test]
fn another_version_replays_nothing_but_takes_over_at_the_snapshot() {
    let mut chance = Chance(78);
    let mut world = World::new(input(&mut chance, 300));
    let t = Treatment { batch_max: 30, snapshots: 30, ..STRAIGHT };
    world.run(BUILD, &mut chance, &t, false).expect("it goes through");
    world.snapshots.truncate(1);
    let next = Counting { version: 2, step: 5 };
    let stop = world.run(next, &mut chance, &STRAIGHT, false).expect_err("it is another version");
    assert!(matches!(stop, Stop::Version { committed: 300, .. }), "{stop}");
    let told = stop.to_string();
    assert!(told.contains("savepoint --stop") && told.contains("--accept-divergence"), "{told}");
    // With a snapshot at the committed position there is nothing to replay.
    let mut driver = world.start(BUILD, &mut chance, 1, false);
    while let Some(action) = driver.next_action() {
        match action {
            Action::ReadPosition => driver.handle(Input::Position(world.committed.clone())),
            Action::Read { from } if from < 300 => {
                driver.handle(Input::Records { chunks: world.chunks(from, 50), at: Micros(0) })
            }
            Action::Read { .. } => {
                driver.read_nothing();
                break;
            }
            _ => panic!("nothing but the replay"),
        }
    }
    let (position, metadata) = driver.begin_snapshot(true).expect("nothing is open");
    let mut parts = Vec::new();
    while !driver.state_mut().snapshot_slice(1 << 20, &mut parts) {}
    assert_eq!(position, 300);
    world.snapshots = vec![Snapshot { position, metadata, parts: vec![parts] }];
    world.run(next, &mut chance, &STRAIGHT, false).expect("any version takes over there");
}

#[test]
fn a_record_is_applied_before_its_own_watermark_counts() {
    let row = |time: i64, watermark: i64| {
        let source = Source::of(RAW, 0, 0);
        let header = Header { event_time: Micros(time), watermark: Micros(watermark), source, ..Header::default() };
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        (b"k".to_vec(), bytes, Some(b"event".to_vec()))
    };
    let assertions = vec![Assertion { partition: 1, says: Says::Empty }];
    let control = Control { topic: RAW, sources: 2, assertions, close: false, received_time: Micros(0) };
    let mut world = World::new(vec![(Vec::new(), control.encode(), None), row(5, 8), row(7, 9), row(20, 9)]);
    world.run(BUILD, &mut Chance(1), &STRAIGHT, false).expect("it goes through");
    let texts: Vec<String> = world.texts().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["k 1 late false at 0", "k 2 late true at 0", "k 3 late false at 0"]);
}

#[test]
fn control_records_are_not_events() {
    let control = Control { topic: RAW, sources: 2, assertions: vec![], close: false, received_time: Micros(1) };
    let bytes = control.encode();
    assert!(HeaderRef::new(&bytes).expect("a header").flags().has(Flags::CONTROL));
    let mut world = World::new(vec![(Vec::new(), bytes, None)]);
    world.run(BUILD, &mut Chance(1), &STRAIGHT, false).expect("it goes through");
    assert!(world.texts().is_empty());
    let (next, metadata) = world.committed.expect("a position");
    let progress = Metadata::decode(&metadata).expect("metadata").progress;
    assert_eq!((next, progress.control, progress.processed), (1, 1, 0));
}
