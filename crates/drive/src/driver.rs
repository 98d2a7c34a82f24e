//! The driver. `handle` takes what happened; `next_action` says what to do next, until it says nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use event::record::Chunk;
use event::{Block, Micros, Offset, TopicPartition};
use event::{Control, Source};
use flow::progress::GUILTY_MAX;
use flow::{
    Asks, Batch, Clocks, Effects, Facts, Keyed, Kind, Metadata, Operator, Progress, ROUNDS_MAX, Verdict, Version,
};

/// What happened.
pub enum Input {
    /// The answer to [`Action::ReadPosition`]: the committed position and its metadata.
    Position(Option<(Offset, Vec<u8>)>),
    /// The answer to [`Action::Read`]; no chunks when there is nothing to read yet. `at` is the driver's wall time.
    Records { chunks: Vec<Chunk>, at: Micros },
    /// Another answer to [`Action::Read`]: there are no records from there up to `next`, and never will be.
    Gap { next: Offset },
    /// The answers to [`Action::Ask`], from its `from` on.
    Facts(Facts),
    /// The outcome of a commit, in the order they were asked for.
    Settled { seq: u64, settled: Settled },
}

/// How a commit ended, for the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    Committed,
    Aborted,
    Unknown,
}

/// What to do.
pub enum Action {
    /// Read the committed position of this group and partition (for [`Input::Position`]).
    ReadPosition,
    /// Read records from here on.
    Read { from: Offset },
    /// Fetch the facts of these asks, from the `from`-th on. More than 0: it is a further round of the same batch, to be
    /// answered from the same versions of everything.
    Ask { asks: Arc<Asks>, from: usize },
    /// Commit these outputs with this position, atomically.
    Commit { seq: u64, blocks: Vec<Block>, next: Offset, metadata: Vec<u8>, records: u64 },
    /// Stop the stage: going on would be wrong.
    Stop(Stop),
}

/// Why a stage stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A record that the log's checksums call good is no record.
    Unreadable { offset: Offset },
    /// Metadata of another version stands beside the position.
    Metadata,
    /// So many records in a row made the operator panic that the fault is the operator's.
    Panics { last: Offset },
    /// More records were set aside since the last snapshot than a replay can know of.
    Guilty { last: Offset },
    /// What must be replayed was written by another version, or under another configuration.
    Version { snapshot: Offset, committed: Offset, wrote: Version, is: Version },
    /// Another committed for this input since: the state here is of the past. It can be restored anew.
    Overtaken { known: Offset, committed: Offset },
    /// The replay made other outputs than those that are stored.
    Diverged { from: Offset, to: Offset, stored: u64, made: u64 },
}

/// The word that `ouzel run` takes to go on after [`Stop::Version`] or [`Stop::Diverged`].
const ACCEPT: &str = "--accept-divergence";

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Unreadable { offset } => write!(
                f,
                "the record at {offset} cannot be read although its checksum is right; it was written by a newer version or by a bug"
            ),
            Stop::Metadata => {
                f.write_str("what stands beside the committed position was written by another version of this program")
            }
            Stop::Panics { last } => write!(
                f,
                "{PANICS_MAX} records in a row, up to {last}, made it fail; this is a bug in the program, not in the events, and nothing was set aside"
            ),
            Stop::Guilty { last } => write!(
                f,
                "more than {GUILTY_MAX} records, the last at {last}, made it fail since the last snapshot; this is a bug in the program, not in the events"
            ),
            Stop::Version { snapshot, committed, wrote, is } => write!(
                f,
                "its outputs from {snapshot} to {committed} were made by version {wrote}, and this is version {is}: they cannot be made again to rebuild its state. Start with the program and configuration of before and stop it with `ouzel savepoint --stop`, then start this one; or give {ACCEPT}, and it rebuilds its state as if it had always been this version"
            ),
            Stop::Overtaken { known, committed } => write!(
                f,
                "the committed position is {committed}, and the last that was committed from here is {known}: another process works on this partition"
            ),
            Stop::Diverged { from, to, stored, made } => write!(
                f,
                "replaying {from} to {to} made other outputs than those that are stored (hash {made:016x}, stored {stored:016x}): this program decides differently although its version number is the same. `ouzel explain divergence` names the first record that differs; {ACCEPT} goes on with what was made now"
            ),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Starting,
    Replaying,
    Running,
    /// Some outcome was not Committed: wait for all open commits, then read the committed position.
    Settling,
    Stopped,
}

/// Bugs that tests plant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// What a replay makes is committed once more.
    ReplaySentTwice,
    /// What an aborted commit changed in the keyed state is kept.
    OverlayKept,
    /// What a commit of unknown outcome changed is undone although it happened.
    OverlayDropped,
    /// Timers fire at the end of a batch only.
    BatchCuts,
    /// Timers that are due at once fire in the order of a hash map.
    MapOrderLeaks,
}

/// When this many records in a row would be quarantined for panics, the stage stops instead (spec `events.md`).
const PANICS_MAX: u32 = 100;

pub struct Driver<O: Operator> {
    operator: Arc<O>,
    input: TopicPartition,
    phase: Phase,
    prefix: O::Prefix,
    state: Keyed,
    /// Where the state-only replay began.
    replay_from: Offset,
    /// Of the outputs that the replay must make again.
    stored: Option<Metadata>,
    /// Whether there was a snapshot to begin from.
    restored: bool,
    accept_divergence: bool,
    /// Whether the replay did differ, and was told to go on.
    diverged: bool,
    /// What the replay made since it was last taken, if somebody wants to see it.
    replayed: Option<Vec<Block>>,
    /// Next record to read.
    next: Offset,
    /// As of the committed position.
    committed: Known,
    committed_next: Offset,
    /// As of the newest applied batch.
    tip: Known,
    open: VecDeque<Open>,
    pipeline: usize,
    seq: u64,
    planned: Option<PlannedBatch>,
    actions: VecDeque<Action>,
    reading: bool,
    panics_in_row: u32,
    planted: Option<Planted>,
    /// Of [`Planted::ReplaySentTwice`]: outputs of the replay, to be sent with the next commit.
    sent_again: Vec<Block>,
}

/// A batch whose facts are being fetched.
struct PlannedBatch {
    batch: Batch,
    asks: Arc<Asks>,
    facts: Facts,
    /// The round that is being asked for.
    round: usize,
    /// Positions in the batch at which there is no record.
    lost: u64,
}

struct Open {
    seq: u64,
    next: Offset,
    known: Known,
}

/// What is known as of a position.
#[derive(Clone)]
struct Known {
    progress: Progress,
    clocks: Clocks,
    guilty: Vec<Offset>,
}

/// What a deterministic stage begins with.
pub struct Restored {
    /// The keyed state of the snapshot; empty without one.
    pub state: Keyed,
    /// The snapshot's position and metadata; without one the first position of the input.
    pub position: Offset,
    pub metadata: Option<Metadata>,
    /// Partitions of the topic one hop up.
    pub sources: u32,
    /// Goes on when a replay makes other outputs than those that are stored.
    pub accept_divergence: bool,
}

impl<O: Operator> Driver<O> {
    /// `replay_from`: recording stages rebuild their prefix state from this offset on (0, or what a snapshot covers, with
    /// `prefix` restored from it). `pipeline`: how many commits may be open at once (1 on Kafka).
    pub fn new(
        operator: Arc<O>,
        input: TopicPartition,
        prefix: O::Prefix,
        replay_from: Offset,
        pipeline: usize,
    ) -> Driver<O> {
        Driver {
            operator,
            input,
            phase: Phase::Starting,
            prefix,
            state: Keyed::default(),
            replay_from,
            stored: None,
            restored: false,
            accept_divergence: false,
            diverged: false,
            replayed: None,
            next: 0,
            committed: Known { progress: Progress::default(), clocks: Clocks::new(0), guilty: Vec::new() },
            committed_next: 0,
            tip: Known { progress: Progress::default(), clocks: Clocks::new(0), guilty: Vec::new() },
            open: VecDeque::new(),
            pipeline,
            seq: 0,
            planned: None,
            actions: VecDeque::from([Action::ReadPosition]),
            reading: false,
            panics_in_row: 0,
            planted: None,
            sent_again: Vec::new(),
        }
    }

    /// A deterministic stage: begins from a snapshot at or below the committed position and replays up to it.
    pub fn restored(
        operator: Arc<O>,
        input: TopicPartition,
        prefix: O::Prefix,
        from: Restored,
        pipeline: usize,
    ) -> Driver<O> {
        let mut driver = Driver::new(operator, input, prefix, from.position, pipeline);
        driver.restored = from.metadata.is_some();
        let (progress, clocks) = match from.metadata {
            Some(m) => (m.progress, m.clocks.unwrap_or_else(|| Clocks::new(from.sources))),
            None => (Progress::default(), Clocks::new(from.sources)),
        };
        driver.state = from.state;
        driver.tip = Known { progress, clocks, guilty: Vec::new() };
        driver.committed = driver.tip.clone();
        driver.accept_divergence = from.accept_divergence;
        driver
    }

    /// Plants a bug, before anything is handled.
    pub fn plant(&mut self, bug: Planted) {
        self.planted = Some(bug);
        if bug == Planted::MapOrderLeaks {
            self.state.leak_map_order();
        }
    }

    pub fn handle(&mut self, input: Input) {
        match input {
            Input::Position(position) => self.on_position(position),
            Input::Records { chunks, at } => self.on_records(chunks, at),
            Input::Gap { next } => self.on_gap(next),
            Input::Facts(facts) => self.on_facts(facts),
            Input::Settled { seq, settled } => self.on_settled(seq, settled),
        }
    }

    /// The next thing to do. `None`: nothing until something happens.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.reading || self.planned.is_some() {
            return None;
        }
        let wants = match self.phase {
            Phase::Replaying => true,
            Phase::Running => self.open.len() < self.pipeline,
            Phase::Starting | Phase::Settling | Phase::Stopped => false,
        };
        self.reading = wants;
        wants.then_some(Action::Read { from: self.next })
    }

    /// A read found nothing: `next_action` will ask for it again.
    pub fn read_nothing(&mut self) {
        self.reading = false;
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Totals as of the committed position, and that position.
    pub fn committed(&self) -> (Progress, Offset) {
        (self.committed.progress, self.committed_next)
    }

    /// Totals as of the newest batch that was applied.
    pub fn tip(&self) -> &Progress {
        &self.tip.progress
    }

    /// Whether a batch is on its way, or something is to be done at once; else the next action is to read, or nothing.
    pub fn is_processing(&self) -> bool {
        !self.actions.is_empty() || self.planned.is_some()
    }

    /// What a deterministic stage knows of time as of the committed position.
    pub fn clocks(&self) -> &Clocks {
        &self.committed.clocks
    }

    /// Whether a replay made other outputs than those that are stored, and was told to go on.
    pub fn diverged(&self) -> bool {
        self.diverged
    }

    /// Keeps what the replay makes, for [`Driver::take_replayed`]: to be called before the first action.
    pub fn keep_replayed(&mut self) {
        self.replayed = Some(Vec::new());
    }

    /// The outputs that the replay made since this was last called, batch after batch; within a batch a block for each
    /// partition.
    pub fn take_replayed(&mut self) -> Vec<Block> {
        self.replayed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Where the replay is: all below was made again.
    pub fn replayed_to(&self) -> Offset {
        self.next
    }

    /// Begins a snapshot of the state at the committed position, if no commit is open: its position and metadata.
    /// `full`: of all keys, else of those that changed since the last one was begun.
    pub fn begin_snapshot(&mut self, full: bool) -> Option<(Offset, Metadata)> {
        let may = self.phase == Phase::Running && self.open.is_empty() && self.state.begin_snapshot(full);
        may.then(|| {
            let clocks = Some(self.committed.clocks.clone());
            (self.committed_next, Metadata { clocks, ..self.metadata(&self.committed) })
        })
    }

    /// A snapshot at this position is complete: what was set aside below it is no more replayed.
    pub fn snapshot_done(&mut self, position: Offset) {
        for known in [&mut self.committed, &mut self.tip].into_iter().chain(self.open.iter_mut().map(|o| &mut o.known))
        {
            known.guilty.retain(|at| *at >= position);
        }
    }

    /// The keyed state, to read slices of a snapshot from.
    pub fn state_mut(&mut self) -> &mut Keyed {
        &mut self.state
    }

    fn metadata(&self, known: &Known) -> Metadata {
        Metadata {
            progress: known.progress,
            clocks: None,
            version: self.operator.version(),
            guilty: known.guilty.clone(),
        }
    }

    pub fn open_commits(&self) -> usize {
        self.open.len()
    }

    pub fn input(&self) -> TopicPartition {
        self.input
    }

    /// The state that is a function of the input's prefix. What it holds at or above the committed position may be read
    /// again.
    pub fn prefix(&mut self) -> &mut O::Prefix {
        &mut self.prefix
    }

    /// Keyed state; its canonical form is that of the committed position when no commit is open.
    pub fn state(&self) -> &Keyed {
        &self.state
    }

    fn on_position(&mut self, position: Option<(Offset, Vec<u8>)>) {
        let position_is_snapshot =
            self.restored && position.as_ref().is_some_and(|(next, _)| *next == self.replay_from);
        let known = match (&position, O::KIND) {
            (None, _) => Some(self.nothing_committed()),
            (Some((_, metadata)), Kind::Recording) => Progress::decode(metadata).map(|progress| Known {
                progress,
                clocks: Clocks::new(0),
                guilty: Vec::new(),
            }),
            (Some((next, metadata)), Kind::Deterministic) => Metadata::decode(metadata).map(|m| {
                let clocks = self.clocks_at(*next);
                let known = Known { progress: m.progress, clocks, guilty: m.guilty.clone() };
                self.stored = Some(m);
                known
            }),
        };
        let Some(known) = known else { return self.stop(Stop::Metadata) };
        let nothing = match self.phase {
            Phase::Starting => self.replay_from.min(self.next),
            _ => self.committed_next,
        };
        let next = position.map_or(nothing, |(next, _)| next);
        match self.phase {
            Phase::Starting => {
                self.committed_next = next;
                self.next = self.replay_from.min(next);
                self.phase = if self.next < next { Phase::Replaying } else { Phase::Running };
                if self.phase == Phase::Running && O::KIND == Kind::Deterministic && position_is_snapshot {
                    let (stored, made) = (known.progress.output_hash, self.tip.progress.output_hash);
                    if stored != made {
                        return self.stop(Stop::Diverged { from: next, to: next, stored, made });
                    }
                }
                if self.phase == Phase::Replaying && O::KIND == Kind::Deterministic {
                    // The replay begins with what is known as of the snapshot, and must arrive at what is committed.
                    self.committed = known;
                    return self.check_version();
                }
            }
            Phase::Settling => {
                if next != self.committed_next && !self.open.iter().any(|o| o.next == next) {
                    let known = self.committed_next;
                    return self.stop(Stop::Overtaken { known, committed: next });
                }
                // What the position covers happened: its changes are kept. What it does not will not happen.
                while self.open.front().is_some_and(|o| o.next <= next) {
                    self.open.pop_front();
                    if self.planted != Some(Planted::OverlayDropped) {
                        self.state.merge_oldest();
                    }
                }
                self.open.clear();
                while self.planted == Some(Planted::OverlayKept) && self.state.open_commits() > 0 {
                    self.state.merge_oldest();
                }
                self.state.drop_all_open();
                self.committed_next = next;
                self.next = next;
                self.phase = Phase::Running;
            }
            _ => return,
        }
        self.committed = known.clone();
        self.tip = known;
    }

    /// The clocks as of a committed position: of the commit that reached it, else those there were before.
    fn clocks_at(&self, position: Offset) -> Clocks {
        let reached = self.open.iter().rfind(|o| o.next <= position);
        reached.map_or(&self.committed, |o| &o.known).clocks.clone()
    }

    /// What is known when no position was ever committed: what the driver was made with.
    fn nothing_committed(&self) -> Known {
        match self.phase {
            Phase::Starting => self.tip.clone(),
            _ => self.committed.clone(),
        }
    }

    fn check_version(&mut self) {
        let is = self.operator.version();
        let wrote = self.stored.as_ref().map_or(is, |m| m.version);
        if wrote != is && !self.accept_divergence {
            let (snapshot, committed) = (self.next, self.committed_next);
            self.stop(Stop::Version { snapshot, committed, wrote, is });
        }
    }

    fn on_records(&mut self, chunks: Vec<Chunk>, at: Micros) {
        self.reading = false;
        if chunks.is_empty() || !matches!(self.phase, Phase::Replaying | Phase::Running) {
            return;
        }
        let (operator, prefix) = (&self.operator, &mut self.prefix);
        let until = (self.phase == Phase::Replaying).then_some(self.committed_next);
        let batch = Batch::read(self.input, at, chunks, until, |offset, record, header| {
            operator.observe(prefix, offset, record, header)
        });
        let batch = match batch {
            Ok(batch) => batch,
            Err(offset) => return self.stop(Stop::Unreadable { offset }),
        };
        let lost = batch.next - self.next - batch.len() as u64;
        self.next = batch.next;
        if self.phase == Phase::Replaying {
            if O::KIND == Kind::Deterministic {
                self.replay(&batch, lost);
            }
            return self.replayed();
        }
        if O::KIND == Kind::Deterministic {
            // It asks nobody.
            return self.apply_batch(&batch, &Asks::default(), &Facts::default(), lost);
        }
        let mut asks = Asks::default();
        self.operator.plan(&batch, 0, &Facts::default(), &mut asks);
        let asks = Arc::new(asks);
        self.actions.push_back(Action::Ask { asks: asks.clone(), from: 0 });
        self.planned = Some(PlannedBatch { batch, asks, facts: Facts::default(), round: 0, lost });
    }

    fn on_facts(&mut self, answers: Facts) {
        let Some(mut planned) = self.planned.take() else { return };
        if self.phase != Phase::Running {
            return;
        }
        if planned.round == 0 {
            planned.facts = answers;
        } else {
            planned.facts.append(answers);
        }
        while planned.round + 1 < self.operator.rounds().min(ROUNDS_MAX) {
            planned.round += 1;
            let from = planned.asks.len();
            self.operator.plan(&planned.batch, planned.round, &planned.facts, Arc::make_mut(&mut planned.asks));
            if planned.asks.len() > from {
                self.actions.push_back(Action::Ask { asks: planned.asks.clone(), from });
                self.planned = Some(planned);
                return;
            }
        }
        let PlannedBatch { batch, asks, facts, lost, .. } = planned;
        self.apply_batch(&batch, &asks, &facts, lost);
    }

    fn apply_batch(&mut self, batch: &Batch, asks: &Asks, facts: &Facts, lost: u64) {
        self.state.open();
        let mut out = self.effects();
        let mut guilty = Vec::new();
        if self.apply(batch, 0..batch.len(), asks, facts, &mut out).is_ok() {
            self.panics_in_row = 0;
        } else {
            // Record by record; the guilty ones are set aside, their neighbours are as if they had never been.
            self.state.drop_newest();
            out = self.effects();
            self.state.open();
            match self.apply_one_by_one(batch, asks, facts, &mut out) {
                Ok(found) => guilty = found,
                Err(why) => return self.stop(why),
            }
        }
        let records = batch.len() as u64;
        out.progress.lost += lost;
        let (blocks, progress, clocks) = out.finish();
        guilty.splice(0..0, self.tip.guilty.iter().copied());
        self.commit(blocks, batch.next, Known { progress, clocks, guilty }, records);
    }

    fn effects(&self) -> Effects {
        Effects::new(self.tip.progress, self.tip.clocks.clone())
    }

    /// Makes a batch's state and outputs again; the outputs are known by their hash and sent nowhere.
    fn replay(&mut self, batch: &Batch, lost: u64) {
        self.state.open();
        let mut out = self.effects();
        let mut from = 0;
        for at in 0..=batch.len() {
            let is_guilty = at < batch.len() && self.committed.guilty.contains(&batch.entry(at).offset);
            if at < batch.len() && !is_guilty {
                continue;
            }
            let (asks, facts) = (Asks::default(), Facts::default());
            if self.try_apply(batch, from..at, &asks, &facts, &mut out).is_err() {
                // It was set aside before a snapshot that cannot be read any more: then nobody knows of it, and it is found
                // as it was the first time. If it was not, the outputs differ.
                for n in from..at {
                    if self.try_apply(batch, n..n + 1, &asks, &facts, &mut out).is_err() {
                        set_aside(&*self.operator, batch, n, &mut out);
                    }
                }
            }
            if is_guilty {
                set_aside(&*self.operator, batch, at, &mut out);
            }
            from = at + 1;
        }
        out.progress.lost += lost;
        let (blocks, progress, clocks) = out.finish();
        if self.planted == Some(Planted::ReplaySentTwice) {
            self.sent_again.extend(blocks.iter().cloned());
        }
        if let Some(kept) = &mut self.replayed {
            kept.extend(blocks);
        }
        self.tip.progress = progress;
        self.tip.clocks = clocks;
        self.state.merge_oldest();
    }

    /// After a step of the replay: at its end, what was made must be what is stored.
    fn replayed(&mut self) {
        if self.next < self.committed_next {
            return;
        }
        self.phase = Phase::Running;
        if O::KIND == Kind::Recording {
            return;
        }
        let (stored, made) = (self.committed.progress.output_hash, self.tip.progress.output_hash);
        if stored != made {
            if !self.accept_divergence {
                let (from, to) = (self.replay_from, self.committed_next);
                return self.stop(Stop::Diverged { from, to, stored, made });
            }
            self.diverged = true;
        }
        // The totals and clocks made now are those of the state made now.
        self.tip.guilty.clone_from(&self.committed.guilty);
        self.committed = self.tip.clone();
    }

    /// Steps over positions that hold nothing, so that nobody waits for them.
    fn on_gap(&mut self, next: Offset) {
        self.reading = false;
        if next <= self.next || !matches!(self.phase, Phase::Replaying | Phase::Running) {
            return;
        }
        let lost = next - self.next;
        if self.phase == Phase::Replaying {
            let to = next.min(self.committed_next);
            // What a recording stage lost is in its committed totals already; a deterministic one makes its totals again.
            if O::KIND == Kind::Deterministic {
                self.tip.progress.lost += to - self.next;
            }
            self.next = to;
            return self.replayed();
        }
        self.next = next;
        self.state.open();
        let mut known = self.tip.clone();
        known.progress.lost += lost;
        self.commit(Vec::new(), next, known, 0);
    }

    fn commit(&mut self, mut blocks: Vec<Block>, next: Offset, known: Known, records: u64) {
        blocks.splice(0..0, self.sent_again.drain(..));
        let metadata = match O::KIND {
            Kind::Recording => known.progress.encode(),
            Kind::Deterministic => self.metadata(&known).encode(),
        };
        self.tip = known.clone();
        self.seq += 1;
        self.open.push_back(Open { seq: self.seq, next, known });
        self.actions.push_back(Action::Commit { seq: self.seq, blocks, next, metadata, records });
    }

    /// Gives the positions that were set aside.
    fn apply_one_by_one(
        &mut self,
        batch: &Batch,
        asks: &Asks,
        facts: &Facts,
        out: &mut Effects,
    ) -> Result<Vec<Offset>, Stop> {
        let mut guilty = Vec::new();
        for n in 0..batch.len() {
            if self.try_apply(batch, n..n + 1, asks, facts, out).is_ok() {
                self.panics_in_row = 0;
                continue;
            }
            self.panics_in_row += 1;
            let last = batch.entry(n).offset;
            if self.panics_in_row >= PANICS_MAX {
                return Err(Stop::Panics { last });
            }
            if O::KIND == Kind::Deterministic {
                guilty.push(last);
                if self.tip.guilty.len() + guilty.len() > GUILTY_MAX {
                    return Err(Stop::Guilty { last });
                }
            }
            set_aside(&*self.operator, batch, n, out);
        }
        Ok(guilty)
    }

    /// Applies a range; `Err` if the operator panicked: then state and outputs are as before.
    fn try_apply(
        &mut self,
        batch: &Batch,
        range: Range<usize>,
        asks: &Asks,
        facts: &Facts,
        out: &mut Effects,
    ) -> Result<(), ()> {
        let mark = out.mark();
        self.state.open();
        let applied = self.apply(batch, range, asks, facts, out);
        match applied {
            Ok(()) => self.state.fold_newest(),
            Err(()) => {
                self.state.drop_newest();
                out.rewind(&mark);
            }
        }
        applied
    }

    /// Applies a range; `Err` if the operator panicked: then state and outputs are in pieces.
    fn apply(
        &mut self,
        batch: &Batch,
        range: Range<usize>,
        asks: &Asks,
        facts: &Facts,
        out: &mut Effects,
    ) -> Result<(), ()> {
        // What it half did is in an undo log and in effects that the caller drops: nothing broken is seen.
        catch_unwind(AssertUnwindSafe(|| match O::KIND {
            Kind::Recording => self.operator.apply(batch, range, asks, facts, &mut self.state, out),
            Kind::Deterministic => range.for_each(|n| self.step(batch, n, asks, facts, out)),
        }))
        .map_err(|_| ())
    }

    /// One record of a deterministic stage, and the timers that its watermark makes due.
    ///
    /// IMPORTANT: a record is applied before the watermark in its own header counts, and timers fire between two records,
    /// not at the end of a batch: where a batch is cut must not be seen.
    fn step(&mut self, batch: &Batch, n: usize, asks: &Asks, facts: &Facts, out: &mut Effects) {
        let (operator, state) = (&*self.operator, &mut self.state);
        let entry = batch.entry(n);
        out.position = Source::of(batch.input.topic, batch.input.partition, entry.offset);
        if entry.verdict == Verdict::Control {
            out.progress.control += 1;
            let Some(control) = Control::decode(entry.header) else { return };
            out.clocks.control(&control);
            if control.close {
                // Each timer once: what stays for later has its time.
                for (_, key) in state.take_due(Micros(i64::MAX), usize::MAX) {
                    operator.advance(&key, state, out);
                }
                out.progress.watermark = out.clocks.watermark();
                return;
            }
        } else {
            out.clocks.before(entry.header);
            operator.apply(batch, n..n + 1, asks, facts, state, out);
            out.clocks.after(entry.header);
        }
        out.progress.watermark = out.clocks.watermark();
        let waits = self.planted == Some(Planted::BatchCuts) && n + 1 < batch.len();
        if !waits {
            fire(operator, state, out);
        }
    }

    fn on_settled(&mut self, seq: u64, settled: Settled) {
        match (self.phase, settled) {
            (Phase::Running, Settled::Committed) => {
                let open = self.open.pop_front().expect("an open commit for each outcome");
                debug_assert_eq!(open.seq, seq, "outcomes come in order");
                self.state.merge_oldest();
                self.committed = open.known;
                self.committed_next = open.next;
            }
            (Phase::Running, _) => {
                self.phase = Phase::Settling;
                self.planned = None;
                self.settle_if_last(seq);
            }
            (Phase::Settling, _) => self.settle_if_last(seq),
            _ => {}
        }
    }

    /// IMPORTANT: the position is read only when no commit of ours can still happen, else it could pass us by.
    fn settle_if_last(&mut self, seq: u64) {
        if self.seq == seq {
            self.actions.clear();
            self.actions.push_back(Action::ReadPosition);
        }
    }

    fn stop(&mut self, why: Stop) {
        self.phase = Phase::Stopped;
        self.planned = None;
        self.actions.push_back(Action::Stop(why));
    }
}

/// Timers fired at a time: their keys are copied.
const DUE_MAX: usize = 256;

fn fire<O: Operator>(operator: &O, state: &mut Keyed, out: &mut Effects) {
    let until = out.clocks.watermark();
    while state.earliest_timer().is_some_and(|at| at <= until) {
        for (at, key) in state.take_due(until, DUE_MAX) {
            operator.advance(&key, state, out);
            assert!(state.timer(&key).is_none_or(|next| next > at), "a timer that fires is moved on or cleared");
        }
    }
}

fn set_aside<O: Operator>(operator: &O, batch: &Batch, n: usize, out: &mut Effects) {
    out.position = Source::of(batch.input.topic, batch.input.partition, batch.entry(n).offset);
    operator.quarantine(batch, n, out);
}
