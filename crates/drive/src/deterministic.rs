//! The records of a deterministic stage: applied one by one with the timers in between, and made again after a restart.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use event::{Control, Micros, Offset, Source};
use flow::progress::GUILTY_MAX;
use flow::{Asks, Batch, Effects, Facts, Finished, Keyed, Kind, Operator, Verdict};

use crate::driver::{Driver, Known, Phase, Planted};
use crate::set_aside;
use crate::stop::{PANICS_MAX, Stop};

impl<O: Operator> Driver<O> {
    /// What it is to make again was made by this version.
    pub(crate) fn check_version(&mut self) {
        let is = self.operator.version();
        let wrote = self.stored.as_ref().map_or(is, |m| m.version);
        if wrote != is && !self.accept_divergence {
            let (snapshot, committed) = (self.next, self.committed_next);
            self.stop(Stop::Version { snapshot, committed, wrote, is });
        }
    }

    /// Applies a batch and commits it.
    pub(crate) fn apply_batch(&mut self, batch: &Batch, lost: u64) {
        self.state.open();
        let mut out = self.effects();
        let mut guilty = Vec::new();
        if self.apply(batch, 0..batch.len(), &mut out).is_ok() {
            self.panics_in_row = 0;
        } else {
            // Record by record; the guilty ones are set aside, their neighbours are as if they had never been.
            self.state.drop_newest();
            out = self.effects();
            self.state.open();
            match self.apply_one_by_one(batch, &mut out) {
                Ok(found) => guilty = found,
                Err(why) => return self.stop(why),
            }
        }
        out.progress.lost += lost;
        let (blocks, progress, clocks) = out.finish();
        guilty.splice(0..0, self.tip.guilty.iter().copied());
        self.commit(blocks, batch.next, Known { progress, clocks, guilty, finished: Finished::default() }, Vec::new());
    }

    /// Gives the positions that were set aside.
    fn apply_one_by_one(&mut self, batch: &Batch, out: &mut Effects) -> Result<Vec<Offset>, Stop> {
        let mut guilty = Vec::new();
        for n in 0..batch.len() {
            if self.try_apply(batch, n..n + 1, out).is_ok() {
                self.panics_in_row = 0;
                continue;
            }
            self.panics_in_row += 1;
            let last = batch.entry(n).offset;
            if self.panics_in_row >= PANICS_MAX {
                return Err(Stop::Panics { last });
            }
            guilty.push(last);
            if self.tip.guilty.len() + guilty.len() > GUILTY_MAX {
                return Err(Stop::Guilty { last });
            }
            set_aside(&*self.operator, batch, n, out);
        }
        Ok(guilty)
    }

    /// Applies a range; `Err` if the operator panicked: then state and outputs are as before.
    fn try_apply(&mut self, batch: &Batch, range: Range<usize>, out: &mut Effects) -> Result<(), ()> {
        let mark = out.mark();
        self.state.open();
        let applied = self.apply(batch, range, out);
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
    fn apply(&mut self, batch: &Batch, range: Range<usize>, out: &mut Effects) -> Result<(), ()> {
        // What it half did is in an undo log and in effects that the caller drops: nothing broken is seen.
        catch_unwind(AssertUnwindSafe(|| range.for_each(|n| self.step(batch, n, out)))).map_err(|_| ())
    }

    /// One record, and the timers that its watermark makes due.
    ///
    /// IMPORTANT: a record is applied before the watermark in its own header counts, and timers fire between two records,
    /// not at the end of a batch: where a batch is cut must not be seen.
    fn step(&mut self, batch: &Batch, n: usize, out: &mut Effects) {
        let (operator, state) = (&*self.operator, &mut self.state);
        let entry = batch.entry(n);
        if entry.verdict == Verdict::Foreign {
            // It says nothing of time.
            return set_aside(operator, batch, n, out);
        }
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
            operator.apply(batch, n..n + 1, &Asks::default(), &Facts::default(), state, out);
            out.clocks.after(entry.header);
        }
        out.progress.watermark = out.clocks.watermark();
        let waits = self.planted == Some(Planted::BatchCuts) && n + 1 < batch.len();
        if !waits {
            fire(operator, state, out);
        }
    }

    /// Makes a batch's state and outputs again; the outputs are known by their hash and sent nowhere.
    pub(crate) fn replay(&mut self, batch: &Batch, lost: u64) {
        self.state.open();
        let mut out = self.effects();
        let mut from = 0;
        for at in 0..=batch.len() {
            let is_guilty = at < batch.len() && self.committed.guilty.contains(&batch.entry(at).offset);
            if at < batch.len() && !is_guilty {
                continue;
            }
            if self.try_apply(batch, from..at, &mut out).is_err() {
                // It was set aside before a snapshot that cannot be read any more: then nobody knows of it, and it is found
                // as it was the first time. If it was not, the outputs differ.
                for n in from..at {
                    if self.try_apply(batch, n..n + 1, &mut out).is_err() {
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
    pub(crate) fn replayed(&mut self) {
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
