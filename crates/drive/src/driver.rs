//! The driver. `handle` takes what happened; `next_action` says what to do next, until it says nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use event::record::Chunk;
use event::{Block, Micros, Offset, TopicPartition};
use flow::{Answered, Asks, Batch, Clocks, Effects, Facts, Finished, Keyed, Kind, Metadata, Operator, Progress};

use crate::stop::Stop;
use crate::window::Window;

/// What happened.
pub enum Input {
    /// The answer to [`Action::ReadPosition`]: the committed position and its metadata.
    Position(Option<(Offset, Vec<u8>)>),
    /// The answer to [`Action::Read`]; no chunks when there is nothing to read yet. `at` is the driver's wall time.
    Records { chunks: Vec<Chunk>, at: Micros },
    /// Another answer to [`Action::Read`]: there are no records from there up to `next`, and never will be.
    Gap { next: Offset },
    /// The answers to [`Action::Ask`], from its `from` on; some may be said to be waited for.
    Facts { flight: u64, facts: Facts },
    /// Answers that were waited for.
    Answers { flight: u64, answers: Vec<Answered> },
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
    /// answered from the same versions of everything. `flight` is the batch's number, never used again.
    Ask { flight: u64, asks: Arc<Asks>, from: usize },
    /// Commit these outputs with this position, atomically. `received`: of a recording stage, when each event was that is
    /// finished with it.
    Commit { seq: u64, blocks: Vec<Block>, next: Offset, metadata: Vec<u8>, received: Vec<Micros> },
    /// Stop the stage: going on would be wrong.
    Stop(Stop),
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
    /// A record does not wait for earlier ones with its key.
    OrderIgnored,
    /// What is finished above the committed position is not committed with it.
    FinishedForgotten,
}

pub struct Driver<O: Operator> {
    pub(crate) operator: Arc<O>,
    input: TopicPartition,
    pub(crate) phase: Phase,
    prefix: O::Prefix,
    pub(crate) state: Keyed,
    /// Where the state-only replay began.
    pub(crate) replay_from: Offset,
    /// Of the outputs that the replay must make again.
    pub(crate) stored: Option<Metadata>,
    /// Whether there was a snapshot to begin from.
    restored: bool,
    pub(crate) accept_divergence: bool,
    /// Whether the replay did differ, and was told to go on.
    pub(crate) diverged: bool,
    /// What the replay made since it was last taken, if somebody wants to see it.
    pub(crate) replayed: Option<Vec<Block>>,
    /// Next record to read.
    pub(crate) next: Offset,
    /// As of the committed position.
    pub(crate) committed: Known,
    pub(crate) committed_next: Offset,
    /// As of the newest applied batch.
    pub(crate) tip: Known,
    open: VecDeque<Open>,
    pipeline: usize,
    seq: u64,
    /// What a recording stage has read and not finished.
    pub(crate) window: Window,
    /// Above the committed position from which it reads.
    pub(crate) finished: Finished,
    /// There may be something in the window to be applied.
    pub(crate) ripe: bool,
    pub(crate) actions: VecDeque<Action>,
    reading: bool,
    pub(crate) panics_in_row: u32,
    pub(crate) planted: Option<Planted>,
    /// Of [`Planted::ReplaySentTwice`]: outputs of the replay, to be sent with the next commit.
    pub(crate) sent_again: Vec<Block>,
}

struct Open {
    seq: u64,
    next: Offset,
    known: Known,
}

/// What is known as of a position.
#[derive(Clone)]
pub(crate) struct Known {
    pub progress: Progress,
    pub clocks: Clocks,
    pub guilty: Vec<Offset>,
    /// Of a recording stage: above the position.
    pub finished: Finished,
}

impl Known {
    fn new(progress: Progress, clocks: Clocks) -> Known {
        Known { progress, clocks, guilty: Vec::new(), finished: Finished::default() }
    }
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
            committed: Known::new(Progress::default(), Clocks::new(0)),
            committed_next: 0,
            tip: Known::new(Progress::default(), Clocks::new(0)),
            open: VecDeque::new(),
            pipeline,
            seq: 0,
            window: Window::default(),
            finished: Finished::default(),
            ripe: false,
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
        driver.tip = Known::new(progress, clocks);
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
            Input::Facts { flight, facts } => self.on_facts(flight, facts),
            Input::Answers { flight, answers } => self.on_answers(flight, &answers),
            Input::Settled { seq, settled } => self.on_settled(seq, settled),
        }
    }

    /// The next thing to do. `None`: nothing until something happens.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let may_commit = self.open.len() < self.pipeline;
        if self.ripe && may_commit && self.phase == Phase::Running {
            self.apply_ripe();
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
        }
        let wants = match self.phase {
            _ if self.reading => false,
            Phase::Replaying => true,
            Phase::Running => may_commit && self.window.has_room(),
            Phase::Starting | Phase::Settling | Phase::Stopped => false,
        };
        self.reading |= wants;
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

    /// Whether something is to be done at once; else the next action is to read, or nothing.
    pub fn is_processing(&self) -> bool {
        let ripe = self.ripe && self.phase == Phase::Running && self.open.len() < self.pipeline;
        !self.actions.is_empty() || ripe
    }

    /// Numbers of the batches of which records are not finished.
    pub fn flights(&self) -> Range<u64> {
        self.window.numbers()
    }

    /// Records above the committed position that are finished, as of that position.
    pub fn finished(&self) -> u64 {
        self.committed.finished.len()
    }

    /// What stands beside the committed position.
    pub fn committed_metadata(&self) -> Vec<u8> {
        self.encode(&self.committed)
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

    fn encode(&self, known: &Known) -> Vec<u8> {
        match O::KIND {
            Kind::Recording if self.planted == Some(Planted::FinishedForgotten) => known.progress.encode(),
            Kind::Recording => known.progress.encode_with(&known.finished),
            Kind::Deterministic => self.metadata(known).encode(),
        }
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
            (Some((next, metadata)), Kind::Recording) => Progress::decode_with(*next, metadata)
                .map(|(progress, finished)| Known { finished, ..Known::new(progress, Clocks::new(0)) }),
            (Some((next, metadata)), Kind::Deterministic) => Metadata::decode(metadata).map(|m| {
                let clocks = self.clocks_at(*next);
                let known = Known { guilty: m.guilty.clone(), ..Known::new(m.progress, clocks) };
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
        self.window.clear(next);
        self.finished.clone_from(&known.finished);
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
        match (self.phase, O::KIND) {
            (Phase::Replaying, Kind::Recording) => self.replayed(),
            (Phase::Replaying, Kind::Deterministic) => {
                self.replay(&batch, lost);
                self.replayed();
            }
            (_, Kind::Recording) => self.admit(batch),
            (_, Kind::Deterministic) => self.apply_batch(&batch, lost),
        }
    }

    pub(crate) fn effects(&self) -> Effects {
        Effects::new(self.tip.progress, self.tip.clocks.clone())
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
        if O::KIND == Kind::Recording {
            return self.admit(Batch::gap(self.input, Micros(0), next));
        }
        self.state.open();
        let mut known = self.tip.clone();
        known.progress.lost += lost;
        self.commit(Vec::new(), next, known, Vec::new());
    }

    pub(crate) fn commit(&mut self, mut blocks: Vec<Block>, next: Offset, known: Known, received: Vec<Micros>) {
        blocks.splice(0..0, self.sent_again.drain(..));
        let metadata = self.encode(&known);
        self.tip = known.clone();
        self.seq += 1;
        self.open.push_back(Open { seq: self.seq, next, known });
        self.actions.push_back(Action::Commit { seq: self.seq, blocks, next, metadata, received });
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

    pub(crate) fn stop(&mut self, why: Stop) {
        self.phase = Phase::Stopped;
        self.actions.push_back(Action::Stop(why));
    }
}
