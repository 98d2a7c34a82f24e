//! What a recording stage has read and not finished: batches whose records wait for answers, each for its own.
//!
//! A record goes on when all it asked for is answered, behind earlier records with its own key, and behind nobody else. So
//! records are finished out of order; the position that is committed is that of the lowest that is not.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use event::key::hash64;
use event::{Micros, Offset};
use flow::{Asks, Batch, Effects, Facts, Finished, Keyed, Operator, Verdict};

/// Bytes of records that are read ahead of the lowest one that waits. Above this nothing more is read.
const BYTES_MAX: usize = 4 << 20;

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It waits for the answers of this round.
    Asks(u8),
    /// It knows all it asked for.
    Ready,
    Done,
}

/// A batch, some of whose records are not finished.
pub(crate) struct Flight {
    batch: Batch,
    asks: Arc<Asks>,
    facts: Facts,
    /// By record.
    steps: Vec<Step>,
    /// Records that are not done, in order.
    open: Vec<u32>,
    /// Asks that are on their way or answered.
    told: usize,
}

/// A record of a flight.
#[derive(Clone, Copy)]
pub(crate) struct Pick {
    flight: usize,
    n: u32,
}

#[derive(Default)]
pub(crate) struct Window {
    /// In the order they were read.
    flights: VecDeque<Flight>,
    /// The number of the first of them.
    first: u64,
    /// All records below are done and passed.
    passed: Passed,
}

/// How far the stage has passed: the first record that it has not.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passed {
    flight: usize,
    n: usize,
    pub to: Offset,
}

impl Window {
    /// Empties it: the next batch is read from this position.
    pub fn clear(&mut self, at: Offset) {
        self.first += self.flights.len() as u64;
        self.flights.clear();
        self.passed = Passed { to: at, ..Passed::default() };
    }

    /// Numbers of the flights that are open.
    pub fn numbers(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.flights.len() as u64
    }

    pub fn has_room(&self) -> bool {
        let next = self.flights.back().map_or(self.passed.to, |flight| flight.batch.next);
        next - self.passed.to < Finished::SPAN
            && self.flights.iter().map(|flight| flight.batch.bytes()).sum::<usize>() < BYTES_MAX
    }

    /// Takes a batch in, without its records that were finished before. Gives its number.
    pub fn admit<O: Operator>(&mut self, operator: &O, batch: Batch, finished: &Finished) -> u64 {
        let done = |n| !finished.is_empty() && finished.contains(batch.offset(n));
        let steps = (0..batch.len()).map(|n| if done(n) { Step::Done } else { Step::Asks(0) }).collect::<Vec<_>>();
        let open: Vec<u32> = (0..).zip(&steps).filter(|(_, step)| **step != Step::Done).map(|(n, _)| n).collect();
        let mut asks = Asks::default();
        asks.parts().1.lay_out(batch.len(), operator.slots());
        for n in &open {
            operator.plan(&batch, *n as usize, 0, &Facts::default(), &mut asks);
        }
        let told = asks.len();
        self.flights.push_back(Flight { batch, asks: Arc::new(asks), facts: Facts::default(), steps, open, told });
        self.first + self.flights.len() as u64 - 1
    }

    pub fn flight(&mut self, number: u64) -> Option<&mut Flight> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.flights.get_mut(at)
    }

    /// Records that may be applied now, in order. `in_order`: behind earlier ones with their key.
    pub fn picks(&self, in_order: bool) -> Vec<Pick> {
        let mut picks = Vec::new();
        // Keys of records that wait, and the lowest position of these.
        let (mut held, mut lowest) = (BTreeSet::new(), None);
        for (flight, at) in self.flights.iter().zip(0..) {
            for n in &flight.open {
                let record = *n as usize;
                let batch = &flight.batch;
                let key = || hash64(batch.entry(record).record.key);
                if matches!(flight.steps[record], Step::Asks(_)) {
                    lowest.get_or_insert(batch.offset(record));
                    held.insert(key());
                    continue;
                }
                if let Some(lowest) = lowest {
                    // What is above cannot be told apart beside the position that is committed.
                    if batch.offset(record) - lowest >= Finished::SPAN {
                        return picks;
                    }
                    if in_order && batch.verdict(record) == Verdict::Fresh && held.contains(&key()) {
                        continue;
                    }
                }
                picks.push(Pick { flight: at, n: *n });
            }
        }
        picks
    }

    /// Applies a record and goes on with those that are done.
    pub fn apply<O: Operator>(&mut self, operator: &O, pick: Pick, state: &mut Keyed, out: &mut Effects) {
        let flight = &self.flights[pick.flight];
        let n = pick.n as usize;
        operator.apply(&flight.batch, n..n + 1, &flight.asks, &flight.facts, state, out);
        self.done(operator, pick, out);
    }

    /// Sets a record aside, and goes on.
    pub fn set_aside<O: Operator>(&mut self, operator: &O, pick: Pick, out: &mut Effects) {
        super::set_aside(operator, &self.flights[pick.flight].batch, pick.n as usize, out);
        self.done(operator, pick, out);
    }

    fn done<O: Operator>(&mut self, operator: &O, pick: Pick, out: &mut Effects) {
        self.flights[pick.flight].steps[pick.n as usize] = Step::Done;
        self.pass(operator, out);
    }

    /// Goes on with the records that are done, as far as none before them is open. Positions without a record are counted
    /// when they are passed.
    pub fn pass<O: Operator>(&mut self, operator: &O, out: &mut Effects) {
        let passed = &mut self.passed;
        while let Some(flight) = self.flights.get(passed.flight) {
            let batch = &flight.batch;
            while passed.n < batch.len() && flight.steps[passed.n] == Step::Done {
                let entry = batch.entry(passed.n);
                operator.passed(&entry, out);
                out.progress.lost += entry.offset - passed.to;
                passed.to = entry.offset + 1;
                passed.n += 1;
            }
            if passed.n < batch.len() {
                return;
            }
            out.progress.lost += batch.next - passed.to;
            *passed = Passed { flight: passed.flight + 1, n: 0, to: batch.next };
        }
    }

    pub fn passed(&self) -> Passed {
        self.passed
    }

    /// Puts records back that were applied in vain.
    pub fn put_back(&mut self, picks: &[Pick], passed: Passed) {
        for pick in picks {
            self.flights[pick.flight].steps[pick.n as usize] = Step::Ready;
        }
        self.passed = passed;
    }

    /// Forgets what is done, after `picks` were applied.
    pub fn sweep(&mut self, picks: &[Pick]) {
        let mut swept = None;
        for at in picks.iter().map(|pick| pick.flight).filter(|at| *at >= self.passed.flight) {
            if swept.replace(at) != Some(at) {
                let Flight { steps, open, .. } = &mut self.flights[at];
                open.retain(|n| steps[*n as usize] != Step::Done);
            }
        }
        self.first += self.passed.flight as u64;
        self.flights.drain(..self.passed.flight);
        self.passed.flight = 0;
    }

    /// Records that are done although one before them is not.
    pub fn finished(&self) -> Finished {
        let mut finished = Finished::none(self.passed.to);
        let mut from = self.passed.n;
        for flight in &self.flights {
            for n in (from..flight.batch.len()).filter(|n| flight.steps[*n] == Step::Done) {
                finished.insert(flight.batch.offset(n));
            }
            from = 0;
        }
        finished
    }

    /// When the event of a record was received.
    pub fn received(&self, pick: Pick) -> Micros {
        let batch = &self.flights[pick.flight].batch;
        let entry = batch.entry(pick.n as usize);
        if entry.verdict == Verdict::Foreign { batch.at } else { entry.header.received_time() }
    }

    pub fn offset(&self, pick: Pick) -> Offset {
        self.flights[pick.flight].batch.offset(pick.n as usize)
    }
}

impl Flight {
    /// What its records ask for; `None`: all are done.
    pub fn asks(&self) -> Option<Arc<Asks>> {
        (!self.open.is_empty()).then(|| self.asks.clone())
    }

    /// The answers to its asks from the last that were made on.
    pub fn answer(&mut self, facts: Facts) {
        if self.facts.is_empty() {
            self.facts = facts;
        } else {
            self.facts.append(facts);
        }
    }

    /// Answers that were waited for.
    pub fn settle(&mut self, answers: &[flow::Answered]) {
        for answered in answers {
            self.facts.settle(answered);
        }
    }

    /// Lets its records go on as far as they know what they asked for: into their next round of asks, or to be applied.
    /// Gives the first of the asks that are to be made, if there are any, and whether a record has become ready.
    pub fn go_on<O: Operator>(&mut self, operator: &O, rounds: usize) -> (Option<usize>, bool) {
        let mut ready = false;
        for n in self.open.iter().map(|n| *n as usize) {
            while let Step::Asks(round) = self.steps[n] {
                let all = self.facts.pending() == 0 && self.facts.len() == self.asks.len();
                let knows = || self.asks.notes().of(n).iter().flatten().all(|ask| self.facts.has(*ask));
                if !all && !knows() {
                    break;
                }
                if usize::from(round) + 1 < rounds {
                    operator.plan(&self.batch, n, usize::from(round) + 1, &self.facts, Arc::make_mut(&mut self.asks));
                    self.steps[n] = Step::Asks(round + 1);
                } else {
                    self.steps[n] = Step::Ready;
                    ready = true;
                }
            }
        }
        let told = std::mem::replace(&mut self.told, self.asks.len());
        (Some(told).filter(|told| *told < self.asks.len()), ready)
    }
}
