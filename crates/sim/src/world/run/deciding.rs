//! The log: opened, and deciding what was submitted.

use super::*;

impl World {
    pub(super) fn open_log(&mut self) -> Result<(), String> {
        let config = JournalConfig {
            partitions: self.scenario.partitions,
            segment_bytes: self.scenario.segment_bytes,
            allocate_step: 64 << 10,
            min_free: MinFree::Bytes(0),
            cache_bytes: 32 << 10,
            drive: Drive::Caller,
            ..JournalConfig::default()
        };
        let disk = if self.is_embedded() { &self.machines[0].disk } else { &self.log_disk };
        let journal = Journal::open(data_dir(), config, Arc::new(disk.clone()), self.clock.clone());
        let journal = journal.map_err(|e| format!("the log does not open: {e}"))?;
        self.epoch += 1;
        self.deciding = (0, Duration::ZERO);
        self.broker = Some(Broker::new(journal.clone(), self.scenario.shape, self.scenario.seed));
        self.journal = Some(journal);
        Ok(())
    }

    pub(super) fn plan_decisions(&mut self) {
        let Some(broker) = &self.broker else { return };
        let pending = broker.pending();
        while self.deciding.0 < pending {
            let (from, to) = self.scenario.log_takes_us;
            let by = Duration::from_micros(self.rng.between(from, to));
            if by > SLOW_COMMIT {
                self.trace.fired("commit.slow");
            }
            let at = self.deciding.1.max(self.clock.elapsed() + by);
            let epoch = self.epoch;
            self.deciding = (self.deciding.0 + 1, at);
            self.plan(at.saturating_sub(self.clock.elapsed()), Event::Decide { epoch });
        }
    }

    pub(super) fn decide(&mut self, epoch: u64) {
        if epoch != self.epoch {
            return;
        }
        let now = self.clock.elapsed();
        if self.is_embedded() && self.machines[0].paused_until > now {
            let after = self.machines[0].paused_until - now;
            self.plan(after, Event::Decide { epoch });
            return;
        }
        self.deciding.0 = self.deciding.0.saturating_sub(1);
        self.decide_one();
    }

    pub(super) fn decide_one(&mut self) {
        let Some(broker) = self.broker.clone() else { return };
        let outcomes = self.scenario.outcomes;
        let roll = self.rng.below(1000);
        let fate = match roll {
            _ if self.phase != Phase::Storm => Fate::Plain,
            r if r < outcomes.unknown_done => Fate::UnknownDone,
            r if r < outcomes.unknown_done + outcomes.unknown_dropped => Fate::UnknownDropped,
            r if r < outcomes.unknown_done + outcomes.unknown_dropped + outcomes.retriable => Fate::Retriable,
            _ => Fate::Plain,
        };
        let how = match guarded(|| broker.decide(fate)) {
            Ok(how) => how,
            Err(end) => return self.ended(0, end),
        };
        let Some((how, what)) = how else { return };
        let name = match how {
            "fenced" => Some("commit.fenced"),
            "aborted" => Some("commit.aborted"),
            "no room" => Some("commit.no_room"),
            "unknown, and it did not happen" => Some("commit.unknown_dropped"),
            "unknown, and it happens" => Some("commit.unknown_done"),
            _ => None,
        };
        match name {
            Some(name) => self.fault("log", name, format_args!("{how}: {what}")),
            None => self.note("log", format_args!("{how}: {what}")),
        }
        self.answer_decided();
        self.wake_stages();
    }

    /// Stages that wait for an outcome or for the log have a turn soon.
    pub(super) fn wake_stages(&mut self) {
        for machine in 0..self.machines.len() {
            for which in Which::ALL {
                let state = self.machines[machine].state[index(which)];
                if self.machines[machine].is_up() && state != StageState::Runs {
                    let after = Duration::from_micros(self.rng.between(10, 2000));
                    self.plan_turn(machine, which, after);
                }
            }
        }
    }
}
