//! A deterministic stage at work: restores the state of its partitions, drives their state machines, commits, and takes
//! snapshots in slices between batches.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drive::{Action, Driver, Input, Phase, Planted, Restored, Settled};
use event::{Micros, Offset, TopicId, TopicPartition};
use flow::{Keyed, Metadata, Operator};
use log::{Commit, Generation, Log, LogError, Outcome, Position};
use seam::fault::{Bug, planted, point};
use seam::{Background, Clock, Rng};
use state::writer::{Hurry, Writing};
use state::{Begin, Snapshots, Store, Writer};

use crate::gap::Gap;
use crate::hold::{Asking, Hold, Snapped};
use crate::status::{Committed, StageStatus, Trouble};
use crate::turn::{Stage, Then, Turn};

/// Bytes of one partition's records in one batch.
const FETCH_BYTES: usize = 512 * 1024;
/// How long the snapshots of partitions that go to others are waited for.
const LEAVING: Duration = Duration::from_millis(300);
/// Bytes of a snapshot that are taken between two batches: some tens of microseconds.
const SLICE_BYTES: usize = 64 * 1024;

/// Everything a deterministic stage needs of the world around it.
pub struct KeyedWorld<O: Operator<Prefix = ()>> {
    pub log: Arc<dyn Log>,
    pub operator: Arc<O>,
    /// The topic it reads, and how many partitions the topic one hop up has.
    pub input: TopicId,
    pub sources: u32,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub store: Arc<dyn Store>,
    pub parts: Arc<KeyedParts<O>>,
    pub status: Arc<StageStatus>,
    pub settings: Settings,
    pub background: Background,
}

/// The stage, for the partitions that it was granted.
pub struct KeyedStage<O: Operator<Prefix = ()>> {
    with: KeyedWorld<O>,
    generation: Option<Generation>,
    /// Its partitions; those up to `opened` are restored or on the way.
    mine: Vec<u32>,
    opened: usize,
    /// The commit that is to be settled: (partition, its driver's number of the commit).
    submitted: Option<Vec<(u32, u64)>>,
    /// The last asking to hold that was answered.
    told: Option<Asking>,
    /// Whether the state may grow, as of this turn.
    room: Room,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    pub snapshot_every: Duration,
    /// Bytes of state, of all partitions.
    pub memory: u64,
    /// Goes on when a replay makes other outputs than those that are stored.
    pub accept_divergence: bool,
    /// Whether other processes write and read snapshots in the store: then none is deleted before its time.
    pub shared: bool,
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
    gap: Gap,
    received: Vec<Micros>,
    /// While it is restored.
    restoring: Option<Restoring>,
}

/// How a restoring goes, for people.
struct Restoring {
    since: Duration,
    /// What reading the snapshot took.
    loaded: Duration,
    /// Where what is read again begins.
    from: Offset,
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

impl<O: Operator<Prefix = ()>> KeyedStage<O> {
    pub fn new(with: KeyedWorld<O>) -> KeyedStage<O> {
        KeyedStage {
            with,
            generation: None,
            mine: Vec::new(),
            opened: 0,
            submitted: None,
            told: None,
            room: Room::Enough,
        }
    }

    /// Opens the next partition when the one before it is restored: the first is at work while others are not yet.
    fn open_next(&mut self) -> Result<bool, String> {
        let with = &self.with;
        let is_replaying = |p: &u32| {
            let held = with.part(*p);
            held.as_ref().is_some_and(|part| matches!(part.driver.phase(), Phase::Starting | Phase::Replaying))
        };
        let Some(next) = self.mine.get(self.opened).filter(|_| !self.mine[..self.opened].iter().any(is_replaying))
        else {
            return Ok(false);
        };
        with.open(*next)?;
        self.opened += 1;
        Ok(true)
    }

    /// Whether it is held: then every partition has a snapshot. Here no commit is open, but for one that the log aborted and
    /// that is to be tried again.
    fn is_held(&mut self) -> bool {
        let Some(asking) = self.with.parts.hold.asked().filter(|_| self.opened == self.mine.len()) else {
            return false;
        };
        if self.told == Some(asking) {
            return true;
        }
        let is_settled = |p: &u32| self.with.part(*p).as_ref().is_some_and(Part::is_settled);
        let all = self.mine.iter().all(is_settled);
        if all {
            self.mine.iter().for_each(|p| self.with.parts.hold.tell(asking, *p, self.with.snapshot_now(*p)));
            self.told = Some(asking);
        }
        all
    }

    /// Takes a slice of each snapshot that was begun. Says whether there is more to take.
    fn snapshots(&self) -> bool {
        let mut busy = false;
        for partition in &self.mine[..self.opened] {
            let mut held = self.with.part(*partition);
            let part = held.as_mut().expect("opened before");
            busy |= part.writer.work();
            busy |= self.with.snapshot(part);
        }
        busy
    }
}

impl<O: Operator<Prefix = ()>> Stage for KeyedStage<O> {
    fn turn(&mut self, reading: bool) -> Result<Turn, String> {
        if self.submitted.is_some() {
            return Err(format!("a commit of {} was not settled; this is a bug", self.with.operator.group()));
        }
        let mut busy = self.open_next()?;
        if reading && self.is_held() {
            return Ok(Turn::Held);
        }
        self.room = self.with.room();
        let mut commit = Commit { generation: self.generation, ..Commit::default() };
        let mut of = Vec::new();
        for partition in &self.mine[..self.opened] {
            let mut held = self.with.part(*partition);
            let part = held.as_mut().expect("opened before");
            busy |= self.with.advance(part, reading && self.room != Room::None, &mut commit, &mut of)?;
        }
        if !of.is_empty() {
            point("sessions.applied");
            let ticket = self.with.log.submit(commit);
            point("sessions.submitted");
            self.submitted = Some(of);
            return Ok(Turn::Submitted(ticket));
        }
        busy |= self.snapshots();
        Ok(match (busy, self.room) {
            (false, _) => Turn::Idle,
            (true, Room::Enough) => Turn::Busy,
            (true, _) => Turn::Crowded,
        })
    }

    fn settle(&mut self, outcome: Outcome) -> Result<Then, String> {
        let Some(of) = self.submitted.take() else {
            return Err(format!("no commit of {} is to be settled; this is a bug", self.with.operator.group()));
        };
        let with = &self.with;
        let (settled, then) = with.status.ended(&outcome, with.operator.group())?;
        if settled == Settled::Committed {
            point("sessions.committed");
        }
        let now = with.clock.now();
        for (partition, seq) in of {
            let mut held = with.part(partition);
            let Some(part) = held.as_mut() else { continue };
            part.driver.handle(Input::Settled { seq, settled });
            if settled == Settled::Committed {
                for received in part.received.drain(..) {
                    with.status.latency.record(Duration::from_micros((now.0 - received.0).max(0) as u64));
                }
            }
            with.show(part);
        }
        if then != Then::Fenced {
            self.snapshots();
        }
        Ok(then)
    }

    fn grant(&mut self, partitions: &[TopicPartition], generation: Generation) -> Result<(), String> {
        self.generation = Some(generation);
        for input in partitions {
            if !self.mine.contains(&input.partition) {
                self.mine.push(input.partition);
                self.with.read_ahead(*input);
            }
        }
        Ok(())
    }

    fn revoke(&mut self, partitions: &[TopicPartition]) {
        let gone = |p: &u32| partitions.iter().any(|tp| tp.partition == *p);
        let kept_open = self.mine[..self.opened].iter().filter(|p| !gone(p)).count();
        let mut left = Vec::new();
        for partition in self.mine.iter().filter(|p| gone(p)) {
            let Some(mut part) = self.with.part(*partition).take() else { continue };
            if self.with.leave(&mut part) {
                left.push(part.writer);
            }
        }
        self.with.write_out(left);
        self.mine.retain(|p| !gone(p));
        self.opened = kept_open;
    }

    /// Leaves a snapshot at the committed position, so that the next start has nothing to replay.
    fn finish(&mut self) {
        self.mine.iter().for_each(|p| self.with.last_snapshot(*p));
    }
}

impl<O: Operator<Prefix = ()>> KeyedWorld<O> {
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
                    if part.driver.phase() == Phase::Running
                        && let Some(restoring) = part.restoring.take()
                    {
                        self.tell(part, &restoring);
                    }
                    let fetch = self.fetch(input, from)?;
                    let replaying = part.driver.phase() == Phase::Replaying;
                    if part.gap.is_nothing(&fetch, from, self.clock.elapsed(), replaying) {
                        part.driver.read_nothing();
                        break;
                    }
                    busy = true;
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

    fn tell(&self, part: &Part<O>, restoring: &Restoring) {
        let (input, (_, committed)) = (part.driver.input(), part.driver.committed());
        let (keys, read_again) = (part.driver.state().len(), committed.saturating_sub(restoring.from));
        let (took, loading) = (self.clock.elapsed().saturating_sub(restoring.since), restoring.loaded);
        tracing::info!(target: "stage", %input, committed, keys, read_again, ?took, ?loading, "the state is restored");
    }

    /// Records that a restoring will read are fetched while what comes before it in line is restored.
    fn read_ahead(&self, input: TopicPartition) {
        let Ok(Some((committed, _))) = self.committed(input) else { return };
        let newest =
            Snapshots::new(self.store.clone(), self.operator.group(), input.partition).newest_manifest(committed);
        // Whatever fails here fails again when it is opened, and is told of then.
        let from = newest.ok().flatten().map_or(committed, |(_, manifest)| manifest.position);
        self.log.read_ahead(input, from);
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

    fn show(&self, part: &Part<O>) {
        let partition = part.driver.input().partition;
        let (progress, next) = part.driver.committed();
        self.status.show(partition, Committed { progress, next, finished: 0 });
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
        if !self.log.keeps_by_position() {
            return;
        }
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
            part.writer.catch_up();
            self.begin(&mut part, self.clock.elapsed());
            while part.taking {
                self.slice(&mut part);
            }
        }
    }

    /// Hands the writer what the next owner would read again, behind what it is writing. Says whether there is anything to be
    /// waited for.
    fn leave(&self, part: &mut Part<O>) -> bool {
        // Its last commit may have been aborted.
        if let Some(Action::ReadPosition) = part.driver.next_action()
            && let Ok(stored) = self.committed(part.driver.input())
        {
            part.driver.handle(Input::Position(stored.map(|(next, metadata)| (next, metadata.to_vec()))));
        }
        if !part.is_settled() {
            part.writer.abandon();
            return false;
        }
        part.writer.hurry(Hurry::Yes);
        while part.taking {
            self.slice(part);
        }
        let (_, next) = part.driver.committed();
        if next > part.begun.1 {
            self.begin(part, self.clock.elapsed());
            while part.taking {
                self.slice(part);
            }
        }
        true
    }

    /// Waits a little for what these are writing: the next owner is given its partitions then. A store that takes long is not
    /// waited for.
    fn write_out(&self, writers: Vec<Writer>) {
        let (done, all_done) = std::sync::mpsc::channel::<()>();
        for writer in writers {
            let done = done.clone();
            let write = move || {
                drop(writer);
                drop(done);
            };
            match self.background {
                // Without a thread it is dropped here.
                Background::Threads => drop(std::thread::Builder::new().name("last-snapshot".to_owned()).spawn(write)),
                Background::Turns => write(),
            }
        }
        drop(done);
        let _ = all_done.recv_timeout(LEAVING);
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
            part.writer.catch_up();
            if part.writer.completed() == Some(next) {
                break;
            }
            self.begin(part, self.clock.elapsed());
            while part.taking {
                self.slice(part);
            }
            part.writer.catch_up();
        }
        part.writer.hurry(Hurry::No);
        match part.writer.completed() == Some(next) {
            true => Ok(Some(next)),
            false => Err(format!("the snapshot of {} could not be written; the log says why", part.driver.input())),
        }
    }

    fn open(&self, partition: u32) -> Result<(), String> {
        let begun = self.clock.elapsed();
        let input = self.input.partition(partition);
        let group = self.operator.group();
        let say = |e: &dyn std::fmt::Display| format!("{group} cannot go on at {input}: {e}");
        let (start, end) = self.log.bounds(input).map_err(|e| say(&e))?;
        let snapshots = Snapshots::new(self.store.clone(), group, partition);
        if !self.settings.shared {
            // IMPORTANT: only where this process alone says what the end is: another's may have been read later.
            snapshots.discard_after(end).map_err(|e| say(&e))?;
        }
        let committed = self.committed(input)?;
        let at_most = match &committed {
            Some((next, _)) => *next,
            // IMPORTANT: all that there are are of another history, which this one would grow into.
            None if self.settings.shared && !planted(Bug::SnapshotOfAnotherEpoch) => Offset::MAX,
            None => end,
        };
        let asked = self.clock.elapsed();
        let newest = snapshots.restore(at_most).map_err(|e| say(&e))?;
        let loaded = self.clock.elapsed().saturating_sub(asked);
        for passed in &newest.passed_over {
            tracing::warn!(%input, "{passed}; an older one is taken, and more is read again");
        }
        let (mut state, manifest) = newest.found.map_or((Keyed::default(), None), |r| (r.keyed, Some(r.manifest)));
        if planted(Bug::TimersLost) {
            state.forget_timers();
        }
        if let (Some(manifest), None) = (&manifest, &committed) {
            return Err(say(&format!(
                "there is a snapshot of its state at {}, but no position was ever committed: the positions were lost, or the topic was made anew. Nothing was changed. {}",
                manifest.position,
                match self.settings.shared {
                    true => "Give these topics a store of their own (`state.store`), or empty this one",
                    false => "Restore a savepoint, or start a new directory",
                }
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
        for (bug, plant) in [
            (Bug::ReplaySentTwice, Planted::ReplaySentTwice),
            (Bug::OverlayKept, Planted::OverlayKept),
            (Bug::OverlayDropped, Planted::OverlayDropped),
            (Bug::BatchCuts, Planted::BatchCuts),
            (Bug::MapOrderLeaks, Planted::MapOrderLeaks),
        ] {
            if planted(bug) {
                driver.plant(plant);
            }
        }
        let version = self.operator.version();
        let version = state::Version { number: version.number, configuration: version.configuration };
        let mut writing = Writing::new(group, partition, version, self.rng.next_u128() as u64);
        if !self.settings.shared {
            // Nobody else reads old snapshots.
            writing.keep = Duration::ZERO;
        }
        let writer = Writer::start(self.store.clone(), self.clock.clone(), writing, manifest, self.background)
            .map_err(|e| say(&format!("a thread cannot be started: {e}")))?;
        let part = Part {
            driver,
            writer,
            taking: false,
            begun: (self.clock.elapsed(), position),
            held: None,
            gap: Gap::default(),
            received: Vec::new(),
            restoring: Some(Restoring { since: begun, loaded, from: position }),
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
