//! Runs a deterministic stage in the real world: a thread restores the state of its partitions, drives their state
//! machines, commits for them, and writes snapshots in slices between batches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drive::{Action, Driver, Input, Phase, Restored, Settled};
use event::{Micros, Offset, TopicId, TopicPartition};
use flow::{Keyed, Metadata, Operator};
use log::{Commit, Generation, Log, LogError, Position};
use seam::fault::{Bug, planted, point};
use seam::{Clock, Rng};
use state::writer::{Hurry, Writing};
use state::{Begin, Snapshots, Store, Writer};

use crate::hold::{Hold, Snapped};
use crate::stage::{StageStatus, Trouble};

/// Bytes of one partition's records in one batch.
const FETCH_BYTES: usize = 512 * 1024;
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// Between two batches of a stage whose state is at its bound; at a quarter more it reads nothing at all.
const BOUND_WAIT: Duration = Duration::from_millis(100);
/// Bytes of a snapshot that are taken between two batches: some tens of microseconds.
const SLICE_BYTES: usize = 64 * 1024;

/// Everything a thread of a deterministic stage needs.
pub struct KeyedWorker<O: Operator<Prefix = ()>> {
    pub log: Arc<dyn Log>,
    pub operator: Arc<O>,
    /// The topic it reads, and how many partitions the topic one hop up has.
    pub input: TopicId,
    pub sources: u32,
    pub generation: Generation,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub store: Arc<dyn Store>,
    pub parts: Arc<KeyedParts<O>>,
    pub status: Arc<StageStatus>,
    pub settings: Settings,
    pub stop: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    pub snapshot_every: Duration,
    /// Bytes of state, of all partitions.
    pub memory: u64,
    /// Goes on when a replay makes other outputs than those that are stored.
    pub accept_divergence: bool,
}

/// The partitions of a stage, for its threads and for whoever looks at its state.
pub struct KeyedParts<O: Operator> {
    list: Vec<Mutex<Option<Part<O>>>>,
    bytes: Vec<AtomicU64>,
    keys: Vec<AtomicU64>,
    /// For savepoints.
    pub hold: Hold,
}

struct Part<O: Operator> {
    driver: Driver<O>,
    writer: Writer,
    /// A snapshot was begun, and not all of its slices were taken.
    taking: bool,
    /// When the last one was begun, and for which position.
    begun: (Duration, Offset),
    /// Positions from here on are needed to come back: what `enriched` must keep.
    held: Option<Offset>,
    received: Vec<Micros>,
}

impl<O: Operator> KeyedParts<O> {
    pub fn new(partitions: u32) -> KeyedParts<O> {
        let zeros = || (0..partitions).map(|_| AtomicU64::new(0)).collect();
        KeyedParts {
            list: (0..partitions).map(|_| Mutex::new(None)).collect(),
            bytes: zeros(),
            keys: zeros(),
            hold: Hold::default(),
        }
    }

    /// Looks at the state of a partition; `None` while it is being restored.
    pub fn look<T>(&self, partition: u32, look: impl FnOnce(&Driver<O>) -> T) -> Option<T> {
        let held = self.list[partition as usize].lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|part| look(&part.driver))
    }

    /// Bytes of state and live keys, of all partitions.
    pub fn size(&self) -> (u64, u64) {
        let sum = |of: &[AtomicU64]| of.iter().map(|n| n.load(Relaxed)).sum();
        (sum(&self.bytes), sum(&self.keys))
    }
}

impl<O: Operator<Prefix = ()>> KeyedWorker<O> {
    /// Runs until told to stop or until going on would be wrong; the latter is in the status and in the answer. At the end
    /// it leaves a snapshot at the committed position, so that the next start has nothing to replay.
    pub fn run(self, partitions: &[u32]) -> Result<(), String> {
        let result = self.run_inner(partitions);
        if let Err(reason) = &result {
            self.status.set_trouble(Some(Trouble { reason: reason.clone(), fatal: true }));
        }
        result
    }

    fn run_inner(&self, partitions: &[u32]) -> Result<(), String> {
        let mut changes = *self.log.subscribe().borrow();
        let mut opened = 0;
        loop {
            let mut busy = false;
            // One after the other, each with its replay: the first is at work while the next is still being restored.
            let replaying = |p: &u32| {
                let held = self.part(*p);
                held.as_ref().is_some_and(|part| matches!(part.driver.phase(), Phase::Starting | Phase::Replaying))
            };
            if let Some(next) = partitions.get(opened).filter(|_| !partitions[..opened].iter().any(replaying)) {
                self.open(*next)?;
                opened += 1;
                busy = true;
            }
            let reading = !self.stop.load(Relaxed);
            if let Some(turn) = self.parts.hold.asked().filter(|_| reading && opened == partitions.len()) {
                // Here no commit is open, but for one that the log aborted and that is to be tried again.
                if partitions.iter().all(|p| self.part(*p).as_ref().is_some_and(|part| part.is_settled())) {
                    partitions.iter().for_each(|p| self.parts.hold.tell(turn, *p, self.snapshot_now(*p)));
                    self.parts.hold.wait(turn, &self.stop);
                }
            }
            let room = self.room();
            let mut commit = Commit { generation: Some(self.generation), ..Commit::default() };
            let mut of = Vec::new();
            for partition in &partitions[..opened] {
                let mut held = self.part(*partition);
                let part = held.as_mut().expect("opened before");
                busy |= self.advance(part, reading && room != Room::None, &mut commit, &mut of)?;
            }
            if !of.is_empty() {
                point("sessions.applied");
                let full = self.settle(commit, &of)?;
                if full && !reading {
                    return Ok(());
                }
            }
            for partition in &partitions[..opened] {
                let mut held = self.part(*partition);
                busy |= self.snapshot(held.as_mut().expect("opened before"));
            }
            if !busy && of.is_empty() {
                if !reading {
                    break;
                }
                changes = self.log.wait(changes, IDLE_WAIT);
            } else if room != Room::Enough {
                std::thread::sleep(BOUND_WAIT);
            }
        }
        partitions.iter().for_each(|p| self.last_snapshot(*p));
        Ok(())
    }

    fn part(&self, partition: u32) -> MutexGuard<'_, Option<Part<O>>> {
        self.parts.list[partition as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the state may grow.
    fn room(&self) -> Room {
        let (bytes, _) = self.parts.size();
        if bytes <= self.settings.memory {
            return Room::Enough;
        }
        self.status.set_trouble(Some(Trouble {
            reason: format!(
                "the state of {} takes {} MiB, which is its bound: it waits between batches. Raise `state.memory`, or lower `sessions.remember`",
                self.operator.group(),
                bytes >> 20
            ),
            fatal: false,
        }));
        if bytes > self.settings.memory / 4 * 5 { Room::None } else { Room::Little }
    }

    /// Lets a driver work until it waits for something, and adds what it commits. Says whether it did anything.
    fn advance(
        &self,
        part: &mut Part<O>,
        reading: bool,
        commit: &mut Commit,
        of: &mut Vec<(u32, u64)>,
    ) -> Result<bool, String> {
        let input = part.driver.input();
        let mut busy = false;
        while let Some(action) = part.driver.next_action() {
            match action {
                Action::ReadPosition => {
                    let stored = self.committed(input)?;
                    part.driver.handle(Input::Position(stored.map(|(next, metadata)| (next, metadata.to_vec()))));
                    self.show(part);
                }
                Action::Read { .. } if !reading && part.driver.phase() == Phase::Running => {
                    part.driver.read_nothing();
                    break;
                }
                Action::Read { from } => {
                    let fetch = self.fetch(input, from)?;
                    if fetch.chunks.is_empty() && fetch.next <= from {
                        part.driver.read_nothing();
                        break;
                    }
                    busy = true;
                    let replaying = part.driver.phase() == Phase::Replaying;
                    if fetch.chunks.is_empty() {
                        part.driver.handle(Input::Gap { next: fetch.next });
                    } else {
                        if !replaying {
                            let records = fetch.chunks.iter().flat_map(event::record::Chunk::records).flatten();
                            let headers = records.filter_map(|(_, r)| r.header());
                            part.received.clear();
                            part.received.extend(headers.map(|h| h.received_time()));
                        }
                        part.driver.handle(Input::Records { chunks: fetch.chunks, at: Micros(0) });
                    }
                    if replaying {
                        if part.driver.phase() == Phase::Running && part.driver.diverged() {
                            tracing::warn!(%input, "a replay made other outputs than those that are stored, as was accepted");
                        }
                        // The others have their turn.
                        break;
                    }
                }
                Action::Commit { seq, blocks, next, metadata, .. } => {
                    if part.held.is_none() {
                        // IMPORTANT: before the first commit, which is what retention goes by otherwise: a kill before the
                        // next snapshot begins at this position again.
                        self.hold(part, part.begun.1);
                    }
                    commit.blocks.extend(blocks);
                    let group: Arc<str> = self.operator.group().into();
                    let at = log::Input::Topic(input);
                    commit.positions.push(Position { group, input: at, next, metadata: metadata.into() });
                    of.push((input.partition, seq));
                }
                Action::Ask { .. } => unreachable!("a deterministic stage asks nobody"),
                Action::Stop(why) => return Err(format!("{} stopped at {input}: {why}", self.operator.group())),
            }
        }
        Ok(busy)
    }

    fn committed(&self, input: TopicPartition) -> Result<Option<(Offset, Bytes)>, String> {
        let stored = self.log.committed(self.operator.group(), &log::Input::Topic(input));
        Ok(stored.map_err(|e| e.to_string())?.map(|p| (p.next, p.metadata)))
    }

    fn fetch(&self, input: TopicPartition, from: Offset) -> Result<log::Fetch, String> {
        self.log.fetch(input, from, FETCH_BYTES).map_err(|e| match e {
            LogError::OutOfRange { .. } => format!("what {} has to read is not in the log: {e}", self.operator.group()),
            e => e.to_string(),
        })
    }

    /// Commits and tells every driver how it ended. Answers whether there was no room for it.
    fn settle(&self, commit: Commit, of: &[(u32, u64)]) -> Result<bool, String> {
        let ticket = self.log.submit(commit);
        point("sessions.submitted");
        let (settled, full) = self.status.wait(ticket, self.operator.group(), "sessions.committed")?;
        let now = self.clock.now();
        for (partition, seq) in of {
            let mut held = self.part(*partition);
            let part = held.as_mut().expect("opened before");
            part.driver.handle(Input::Settled { seq: *seq, settled });
            if settled == Settled::Committed {
                for received in part.received.drain(..) {
                    self.status.latency.record(Duration::from_micros((now.0 - received.0).max(0) as u64));
                }
            }
            self.show(part);
        }
        Ok(full)
    }

    fn show(&self, part: &Part<O>) {
        let partition = part.driver.input().partition;
        self.status.show(partition, part.driver.committed());
        self.parts.bytes[partition as usize].store(part.driver.state().bytes() as u64, Relaxed);
        self.parts.keys[partition as usize].store(part.driver.state().len() as u64, Relaxed);
    }

    /// Begins a snapshot when it is time, or takes a slice of the one that was begun. Says whether there is more to take.
    fn snapshot(&self, part: &mut Part<O>) -> bool {
        if let Some(completed) = part.writer.completed().filter(|at| part.held.is_some_and(|held| *at > held)) {
            self.hold(part, completed);
        }
        if part.taking {
            return part.writer.has_room() && self.slice(part);
        }
        let now = self.clock.elapsed();
        let (_, next) = part.driver.committed();
        if now.saturating_sub(part.begun.0) >= self.settings.snapshot_every
            && next > part.begun.1
            && part.writer.is_idle()
        {
            self.begin(part, now);
        }
        part.taking
    }

    /// From this position on a start would read again: it is kept by a position of its own, which says nothing of who works on
    /// the partition.
    fn hold(&self, part: &mut Part<O>, completed: Offset) {
        part.held = Some(completed);
        part.driver.snapshot_done(completed);
        let group = format!("{}.snapshot", self.operator.group()).into();
        let input = log::Input::Topic(part.driver.input());
        let position = Position { group, input, next: completed, metadata: Bytes::new() };
        // Nobody waits for it: until it is there, more is kept than is needed.
        drop(self.log.submit(Commit { positions: vec![position], ..Commit::default() }));
    }

    fn begin(&self, part: &mut Part<O>, now: Duration) {
        let full = part.writer.next_is_full() || part.driver.state().needs_full_snapshot();
        let Some((position, metadata)) = part.driver.begin_snapshot(full) else { return };
        let keys = part.driver.state().len() as u64;
        part.writer.begin(Begin { full, position, metadata: metadata.encode(), keys });
        part.taking = true;
        part.begun = (now, position);
    }

    /// Takes one slice. Says whether there are more.
    fn slice(&self, part: &mut Part<O>) -> bool {
        let mut bytes = Vec::with_capacity(SLICE_BYTES + SLICE_BYTES / 4);
        let done = part.driver.state_mut().snapshot_slice(SLICE_BYTES, &mut bytes);
        part.writer.slice(bytes);
        if done {
            part.writer.end();
            part.taking = false;
            point("snapshot.taken");
        }
        !done
    }

    /// A snapshot at the committed position, whatever time it is. What is being written is waited for when its writer is
    /// dropped.
    fn last_snapshot(&self, partition: u32) {
        let Some(mut part) = self.part(partition).take() else { return };
        while part.taking {
            self.slice(&mut part);
        }
        let (_, next) = part.driver.committed();
        if next > part.begun.1 && part.driver.open_commits() == 0 {
            while !part.writer.is_idle() {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.begin(&mut part, self.clock.elapsed());
            while part.taking {
                self.slice(&mut part);
            }
        }
    }

    /// A snapshot at the committed position that is complete when this returns. Where it is; `None`: there is no state yet.
    fn snapshot_now(&self, partition: u32) -> Result<Snapped, String> {
        let mut held = self.part(partition);
        let part = held.as_mut().expect("opened before");
        let (_, next) = part.driver.committed();
        if next == 0 && part.writer.completed().is_none() {
            return Ok(None);
        }
        part.writer.hurry(Hurry::Yes);
        // The second is a full one, should the first be one that adds to what could not be written.
        for _ in 0..2 {
            while part.taking {
                self.slice(part);
            }
            while !part.writer.is_idle() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if part.writer.completed() == Some(next) {
                break;
            }
            self.begin(part, self.clock.elapsed());
            while part.taking {
                self.slice(part);
            }
            while !part.writer.is_idle() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        part.writer.hurry(Hurry::No);
        match part.writer.completed() == Some(next) {
            true => Ok(Some(next)),
            false => Err(format!("the snapshot of {} could not be written; the log says why", part.driver.input())),
        }
    }

    fn open(&self, partition: u32) -> Result<(), String> {
        let input = self.input.partition(partition);
        let group = self.operator.group();
        let say = |e: &dyn std::fmt::Display| format!("{group} cannot go on at {input}: {e}");
        let (start, end) = self.log.bounds(input).map_err(|e| say(&e))?;
        let snapshots = Snapshots::new(self.store.clone(), group, partition);
        snapshots.discard_after(end).map_err(|e| say(&e))?;
        let committed = self.committed(input)?;
        let at_most = committed.as_ref().map_or(end, |(next, _)| *next);
        let newest = snapshots.restore(at_most).map_err(|e| say(&e))?;
        for passed in &newest.passed_over {
            tracing::warn!(%input, "{passed}; an older one is taken, and more is read again");
        }
        let (mut state, manifest) = newest.found.map_or((Keyed::default(), None), |r| (r.keyed, Some(r.manifest)));
        if planted(Bug::TimersLost) {
            state.forget_timers();
        }
        if let (Some(manifest), None) = (&manifest, &committed) {
            return Err(say(&format!(
                "there is a snapshot of its state at {}, but no position was ever committed: the positions were lost, or the topic was made anew. Nothing was changed. Restore a savepoint, or start a new directory",
                manifest.position
            )));
        }
        if manifest.is_none() && committed.is_some() && start > 0 {
            return Err(say(&format!(
                "no snapshot of its state can be read, and {} begins at {start}: what the state was made of is gone. Nothing was changed. Restore a savepoint (`ouzel restore`)",
                self.input.name()
            )));
        }
        let metadata = match &manifest {
            Some(m) => Some(Metadata::decode(&m.metadata).ok_or_else(|| {
                say(&"the snapshot of its state was written by another version of this program, which must be stopped with `ouzel savepoint --stop` first")
            })?),
            None => None,
        };
        let position = manifest.as_ref().map_or(start, |m| m.position);
        let (position, metadata) = match &committed {
            Some((next, stored)) if planted(Bug::SnapshotWithoutPosition) && manifest.is_some() => {
                let clocks = metadata.and_then(|m| m.clocks);
                (*next, Metadata::decode(stored).map(|m| Metadata { clocks, ..m }))
            }
            _ => (position, metadata),
        };
        let from = Restored {
            state,
            position,
            metadata,
            sources: self.sources,
            accept_divergence: self.settings.accept_divergence,
        };
        let mut driver = Driver::restored(self.operator.clone(), input, (), from, 1);
        if planted(Bug::ReplaySentTwice) {
            driver.plant_replay_sent_twice();
        }
        let version = self.operator.version();
        let version = state::Version { number: version.number, configuration: version.configuration };
        // The directory is this process's alone: nobody else reads old snapshots of it.
        let keep = Duration::ZERO;
        let writing = Writing { keep, ..Writing::new(group, partition, version, self.rng.next_u128() as u64) };
        let writer = Writer::start(self.store.clone(), self.clock.clone(), writing, manifest)
            .map_err(|e| say(&format!("a thread cannot be started: {e}")))?;
        let part = Part {
            driver,
            writer,
            taking: false,
            begun: (self.clock.elapsed(), position),
            held: None,
            received: Vec::new(),
        };
        *self.part(partition) = Some(part);
        Ok(())
    }
}

impl<O: Operator> Part<O> {
    /// Whether it runs, and waits for no outcome.
    fn is_settled(&self) -> bool {
        self.driver.phase() == Phase::Running && self.driver.open_commits() == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    Little,
    None,
}
