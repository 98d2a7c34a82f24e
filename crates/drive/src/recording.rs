//! The records of a recording stage: asked for, applied when they are answered, committed with what is finished.

use std::panic::{AssertUnwindSafe, catch_unwind};

use flow::{Answered, Batch, Effects, Facts, Operator, ROUNDS_MAX};

use crate::driver::{Action, Driver, Known, Phase, Planted};
use crate::stop::{PANICS_MAX, Stop};
use crate::window::Pick;

impl<O: Operator> Driver<O> {
    /// Takes in what was read.
    pub(crate) fn admit(&mut self, batch: Batch) {
        let flight = self.window.admit(&*self.operator, batch, &self.finished);
        match self.window.flight(flight).and_then(|of| of.asks()) {
            Some(asks) => self.actions.push_back(Action::Ask { flight, asks, from: 0 }),
            // A gap, or what was finished before a restart.
            None => self.ripe = true,
        }
    }

    pub(crate) fn on_facts(&mut self, flight: u64, facts: Facts) {
        if self.phase == Phase::Running
            && let Some(of) = self.window.flight(flight)
        {
            of.answer(facts);
            self.go_on(flight);
        }
    }

    pub(crate) fn on_answers(&mut self, flight: u64, answers: &[Answered]) {
        if self.phase == Phase::Running
            && let Some(of) = self.window.flight(flight)
        {
            of.settle(answers);
            self.go_on(flight);
        }
    }

    fn go_on(&mut self, number: u64) {
        let rounds = self.operator.rounds().min(ROUNDS_MAX);
        let flight = self.window.flight(number).expect("looked for before");
        let (from, ready) = flight.go_on(&*self.operator, rounds);
        self.ripe |= ready;
        if let (Some(from), Some(asks)) = (from, flight.asks()) {
            self.actions.push_back(Action::Ask { flight: number, asks, from });
        }
    }

    /// Applies what may be applied, and commits it.
    pub(crate) fn apply_ripe(&mut self) {
        self.ripe = false;
        let picks = self.window.picks(self.planted != Some(Planted::OrderIgnored));
        let before = self.window.passed();
        let mut out = self.effects();
        self.state.open();
        if self.apply_all(&picks, &mut out).is_ok() {
            self.panics_in_row = 0;
        } else {
            // Record by record; the guilty ones are set aside, their neighbours are as if they had never been.
            self.state.drop_newest();
            self.window.put_back(&picks, before);
            out = self.effects();
            self.state.open();
            if let Err(why) = self.apply_each(&picks, &mut out) {
                return self.stop(why);
            }
        }
        let next = self.window.passed().to;
        if picks.is_empty() && next == before.to {
            self.state.drop_newest();
            return;
        }
        let received = picks.iter().map(|pick| self.window.received(*pick)).collect();
        self.window.sweep(&picks);
        let (blocks, progress, clocks) = out.finish();
        let mut finished = self.window.finished();
        // What was finished before a restart, and is not read again yet.
        self.finished.since(self.next).for_each(|at| finished.insert(at));
        self.commit(blocks, next, Known { progress, clocks, guilty: Vec::new(), finished }, received);
    }

    /// `Err` if the operator panicked: then state, outputs and the window are in pieces.
    fn apply_all(&mut self, picks: &[Pick], out: &mut Effects) -> Result<(), ()> {
        let (operator, window, state) = (&*self.operator, &mut self.window, &mut self.state);
        // What it half did is in an undo log and in effects that the caller drops: nothing broken is seen.
        let all = AssertUnwindSafe(|| {
            picks.iter().for_each(|pick| window.apply(operator, *pick, state, out));
            window.pass(operator, out);
        });
        catch_unwind(all).map_err(|_| ())
    }

    fn apply_each(&mut self, picks: &[Pick], out: &mut Effects) -> Result<(), Stop> {
        for pick in picks {
            let (mark, before) = (out.mark(), self.window.passed());
            self.state.open();
            if self.apply_all(&[*pick], out).is_ok() {
                self.state.fold_newest();
                self.panics_in_row = 0;
                continue;
            }
            self.state.drop_newest();
            self.window.put_back(&[*pick], before);
            out.rewind(&mark);
            self.panics_in_row += 1;
            if self.panics_in_row >= PANICS_MAX {
                return Err(Stop::Panics { last: self.window.offset(*pick) });
            }
            self.window.set_aside(&*self.operator, *pick, out);
        }
        Ok(())
    }
}
