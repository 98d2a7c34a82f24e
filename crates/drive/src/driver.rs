//! The driver. `handle` takes what happened; `next_action` says what to do next, until it says nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use event::record::Chunk;
use event::{Block, Micros, Offset, TopicPartition};
use flow::{Asks, Batch, Effects, Facts, Keyed, Operator, Progress, ROUNDS_MAX};

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
}

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
    /// Next record to read.
    next: Offset,
    /// As of the committed position.
    committed: Progress,
    committed_next: Offset,
    /// As of the newest applied batch.
    tip: Progress,
    open: VecDeque<Open>,
    pipeline: usize,
    seq: u64,
    planned: Option<PlannedBatch>,
    actions: VecDeque<Action>,
    reading: bool,
    panics_in_row: u32,
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
    progress: Progress,
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
            next: 0,
            committed: Progress::default(),
            committed_next: 0,
            tip: Progress::default(),
            open: VecDeque::new(),
            pipeline,
            seq: 0,
            planned: None,
            actions: VecDeque::from([Action::ReadPosition]),
            reading: false,
            panics_in_row: 0,
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
        (self.committed, self.committed_next)
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
        let (next, progress) = match position {
            None => (self.replay_from.min(self.next), Some(Progress::default())),
            Some((next, metadata)) => (next, Progress::decode(&metadata)),
        };
        let Some(progress) = progress else { return self.stop(Stop::Metadata) };
        match self.phase {
            Phase::Starting => {
                self.committed_next = next;
                self.next = self.replay_from.min(next);
                self.phase = if self.next < next { Phase::Replaying } else { Phase::Running };
            }
            Phase::Settling => {
                // What the position covers happened: those overlays are merged. What it does not will not happen.
                while self.open.front().is_some_and(|o| o.next <= next) {
                    self.open.pop_front();
                    self.state.merge_oldest();
                }
                self.open.clear();
                self.state.drop_all_open();
                self.committed_next = next;
                self.next = next;
                self.phase = Phase::Running;
            }
            _ => return,
        }
        self.committed = progress;
        self.tip = progress;
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
            if self.next >= self.committed_next {
                self.phase = Phase::Running;
            }
            return;
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
        let facts = &facts;
        self.state.open();
        let mut out = Effects::new(self.tip);
        let whole = apply(&*self.operator, &batch, 0..batch.len(), &asks, facts, &mut self.state, &mut out);
        if whole.is_err() {
            // Record by record; the guilty ones are set aside, their neighbours are as if they had never been.
            self.state.drop_newest();
            out = Effects::new(self.tip);
            self.state.open();
            if let Err(last) = self.apply_one_by_one(&batch, &asks, facts, &mut out) {
                return self.stop(Stop::Panics { last });
            }
        } else {
            self.panics_in_row = 0;
        }
        let records = batch.len() as u64;
        out.progress.lost += lost;
        let (blocks, progress) = out.finish();
        self.commit(blocks, batch.next, progress, records);
    }

    /// Steps over positions that hold nothing, so that nobody waits for them.
    fn on_gap(&mut self, next: Offset) {
        self.reading = false;
        if next <= self.next || !matches!(self.phase, Phase::Replaying | Phase::Running) {
            return;
        }
        let lost = next - self.next;
        if self.phase == Phase::Replaying {
            self.next = next.min(self.committed_next);
            if self.next >= self.committed_next {
                self.phase = Phase::Running;
            }
            return;
        }
        self.next = next;
        self.state.open();
        let progress = Progress { lost: self.tip.lost + lost, ..self.tip };
        self.commit(Vec::new(), next, progress, 0);
    }

    fn commit(&mut self, blocks: Vec<Block>, next: Offset, progress: Progress, records: u64) {
        self.tip = progress;
        self.seq += 1;
        self.open.push_back(Open { seq: self.seq, next, progress });
        self.actions.push_back(Action::Commit { seq: self.seq, blocks, next, metadata: progress.encode(), records });
    }

    fn apply_one_by_one(&mut self, batch: &Batch, asks: &Asks, facts: &Facts, out: &mut Effects) -> Result<(), Offset> {
        for n in 0..batch.len() {
            let mark = out.mark();
            self.state.open();
            if apply(&*self.operator, batch, n..n + 1, asks, facts, &mut self.state, out).is_ok() {
                self.state.fold_newest();
                self.panics_in_row = 0;
                continue;
            }
            self.state.drop_newest();
            out.rewind(&mark);
            self.panics_in_row += 1;
            if self.panics_in_row >= PANICS_MAX {
                return Err(batch.entry(n).offset);
            }
            self.operator.quarantine(batch, n, out);
        }
        Ok(())
    }

    fn on_settled(&mut self, seq: u64, settled: Settled) {
        match (self.phase, settled) {
            (Phase::Running, Settled::Committed) => {
                let open = self.open.pop_front().expect("an open commit for each outcome");
                debug_assert_eq!(open.seq, seq, "outcomes come in order");
                self.state.merge_oldest();
                self.committed = open.progress;
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

/// Applies a range; `Err` if the operator panicked.
fn apply<O: Operator>(
    operator: &O,
    batch: &Batch,
    range: Range<usize>,
    asks: &Asks,
    facts: &Facts,
    state: &mut Keyed,
    out: &mut Effects,
) -> Result<(), ()> {
    // What it half did is in an overlay and in effects that the caller drops: nothing broken is seen.
    catch_unwind(AssertUnwindSafe(|| operator.apply(batch, range, asks, facts, state, out))).map_err(|_| ())
}
