//! Processes: how they start, have their turns, and end.

use super::*;

impl World {
    pub(super) fn start(&mut self, n: usize) {
        if self.machines[n].is_up() {
            return;
        }
        let who = self.machines[n].name.clone();
        let started = guarded(|| self.try_start(n));
        self.machines[n].starting = false;
        let why = match started {
            Ok(Ok(())) => {
                self.unsettled_until = self.unsettled_until.max(self.clock.elapsed() + MS * 300);
                self.note(&who, format_args!("is up"));
                return self.check(false);
            }
            Ok(Err(why)) => why,
            Err(end) => return self.ended(n, end),
        };
        if !self.machines[n].disk.is_on() {
            return self.notice_power();
        }
        self.note(&who, format_args!("cannot start: {why}"));
        let is_full = self.machines[n].disk.space(data_dir()).is_ok_and(|(free, _)| free < 1 << 30);
        let excused = is_full || self.store_fails.load(Relaxed) || self.has_failed_read(n);
        if !excused {
            return self.found(laws::conduct(format!("{who} cannot start: {why}"), "what it needs to start"));
        }
        if self.is_embedded() {
            self.drop_log();
        }
        self.machines[n].starting = true;
        self.plan(MS * 500, Event::Start { machine: n });
    }

    pub(super) fn try_start(&mut self, n: usize) -> Result<(), String> {
        if self.is_embedded() {
            self.open_log()?;
        }
        let broker = self.broker.clone().expect("it is open");
        let machine = &mut self.machines[n];
        machine.reaches_store = Arc::new(AtomicBool::new(true));
        let disk = if self.scenario.shape == Shape::Embedded { &machine.disk } else { &self.cloud };
        let store = Reached::new(disk, machine.reaches_store.clone(), self.store_fails.clone());
        let before = broker.last_member();
        let process = Process::start(Setting {
            log: Arc::new(broker.clone()),
            fs: Arc::new(machine.disk.clone()),
            data: PathBuf::from(data_dir()),
            store: Arc::new(store),
            clock: self.clock.clone(),
            rng: Arc::new(SimRng::new(self.rng.next_u64())),
            source: self.source.clone(),
            rules: self.scenario.rules.clone(),
            shared: self.scenario.shape == Shape::Kafka,
        })?;
        let members = (before + 1..=broker.last_member()).zip(Which::ALL);
        machine.members = members.map(|(member, which)| (member, which.name(), which.input())).collect();
        machine.process = Some(process);
        for which in Which::ALL {
            let after = self.between(0, 3);
            self.plan_turn(n, which, after);
        }
        Ok(())
    }

    pub(super) fn plan_turn(&mut self, machine: usize, which: Which, after: Duration) {
        if let Some(before) = self.machines[machine].next[index(which)].take() {
            self.queue.remove(&before);
        }
        let epoch = self.machines[machine].epoch;
        let at = self.plan(after, Event::Turn { machine, which, epoch });
        self.machines[machine].next[index(which)] = Some(at);
        self.machines[machine].state[index(which)] = StageState::Runs;
    }

    pub(super) fn turn(&mut self, n: usize, which: Which, epoch: u64) {
        if self.machines[n].epoch != epoch {
            return;
        }
        self.machines[n].next[index(which)] = None;
        let now = self.clock.elapsed();
        if self.machines[n].paused_until > now {
            let after = self.machines[n].paused_until - now + Duration::from_micros(self.rng.below(5000));
            return self.plan_turn(n, which, after);
        }
        self.step(n, which, true);
    }

    /// A turn of a stage, and what follows from it.
    pub(super) fn step(&mut self, n: usize, which: Which, reading: bool) {
        let polls = self.machines[n].deaf == 0;
        self.machines[n].deaf = self.machines[n].deaf.saturating_sub(1);
        let Some(mut process) = self.machines[n].process.take() else { return };
        let stepped = guarded(|| process.step(which, polls, reading));
        self.machines[n].process = Some(process);
        let (after, state) = match stepped {
            Err(end) => return self.ended(n, end),
            Ok(Err(why)) => return self.stopped(n, which, &why),
            Ok(Ok(Step::Busy)) => (Duration::from_micros(self.rng.between(20, 400)), StageState::Runs),
            Ok(Ok(Step::Waits)) => {
                self.plan_decisions();
                self.machines[n].state[index(which)] = StageState::Waits;
                return;
            }
            Ok(Ok(Step::Idle)) if self.phase == Phase::Waiting => (IDLE_LOOK * 5, StageState::Idle),
            Ok(Ok(Step::Idle)) => (IDLE_LOOK, StageState::Idle),
            Ok(Ok(Step::Asks(after))) => (after.min(IDLE_LOOK), StageState::Runs),
            Ok(Ok(Step::NoRoom)) => (MS * 100, StageState::Runs),
            Ok(Ok(Step::Fenced)) => {
                let who = self.machines[n].name.clone();
                self.note(&who, format_args!("learns that {} was fenced", which.name()));
                self.machines[n].deaf = 0;
                (MS, StageState::Runs)
            }
            Ok(Ok(Step::Held)) => (MS * 5, StageState::Runs),
        };
        self.plan_turn(n, which, after);
        self.machines[n].state[index(which)] = state;
    }

    /// A stage says that it cannot go on.
    pub(super) fn stopped(&mut self, n: usize, which: Which, why: &str) {
        let who = self.machines[n].name.clone();
        if !self.machines[n].disk.is_on() {
            return;
        }
        let log_stopped = self.journal.as_ref().is_some_and(|j| matches!(j.health(), Health::Stopped(_)));
        let overtaken = why.contains("another process works on this partition");
        if self.is_embedded() && log_stopped {
            self.fault(&who, "process.stops", format_args!("stops, because the log did: {why}"));
            // The data that an fsync failed on may be there or not.
            return self.die(n, Loss::Some { seed: self.scenario.seed ^ self.steps });
        }
        if self.has_failed_read(n) {
            return self.die(n, Loss::Nothing);
        }
        if why.contains("is damaged in page") {
            self.fault(&who, "process.stops_at_damage", format_args!("stops, and is started again: {why}"));
            return self.die(n, Loss::Nothing);
        }
        if !self.is_embedded() && (overtaken || self.store_fails.load(Relaxed)) {
            let name = if overtaken { "process.overtaken" } else { "process.without_store" };
            self.fault(&who, name, format_args!("{} stops, and is started again: {why}", which.name()));
            return self.die(n, Loss::Nothing);
        }
        self.found(laws::conduct(format!("{who}: {} stopped: {why}", which.name()), "the stage it names"));
    }

    /// Whether a read of its disk failed since this was last asked: then what stops may be started again.
    pub(super) fn has_failed_read(&mut self, n: usize) -> bool {
        let failed = self.machines[n].disk.failed_reads();
        let news = std::mem::replace(&mut self.machines[n].failed_reads, failed) != failed;
        if news {
            let who = self.machines[n].name.clone();
            self.fault(&who, "disk.read_fails", format_args!("could not read, and is started again"));
        }
        news
    }

    /// It passed a point at which it was to be killed, or panicked where it must not.
    pub(super) fn ended(&mut self, n: usize, end: End) {
        if let End::Panicked(text) = end {
            return self.found(laws::conduct(format!("a panic: {text}"), "whose it is: the panic's place was printed"));
        }
        let at = self.points.borrow_mut().killed_at.take().unwrap_or("an unknown point");
        let who = self.machines[n].name.clone();
        self.fault(&who, "kill.at_point", format_args!("is killed at {at}"));
        self.die(n, Loss::Nothing);
    }

    /// The disk says that the power is gone.
    pub(super) fn notice_power(&mut self) {
        for n in 0..self.machines.len() {
            if !self.machines[n].disk.is_on() {
                let who = self.machines[n].name.clone();
                self.fault(&who, "power.cut", format_args!("loses its power in the middle of a write"));
                let seed = self.rng.next_u64();
                self.die(n, if seed.is_multiple_of(4) { Loss::All } else { Loss::Some { seed } });
            }
        }
    }

    /// Its process is gone, and what `loss` says of its files.
    pub(super) fn die(&mut self, n: usize, loss: Loss) {
        self.points.borrow_mut().kill_in = None;
        self.crashes += 1;
        let embedded = self.is_embedded();
        let machine = &mut self.machines[n];
        machine.epoch += 1;
        machine.reaches_store.store(false, Relaxed);
        machine.disk = machine.disk.crash(loss);
        machine.failed_reads = 0;
        if self.rng.below(3) == 0 {
            machine.disk.short_reads(self.rng.next_u64());
            self.trace.fired("disk.short_reads");
        }
        machine.paused_until = Duration::ZERO;
        machine.deaf = 0;
        for next in machine.next.iter_mut().filter_map(Option::take) {
            self.queue.remove(&next);
        }
        // A coordinator notices later; but nobody polls for the dead.
        let process = machine.process.take();
        if !std::mem::replace(&mut machine.starting, true) || process.is_some() {
            let after = self.between(30, 1500);
            self.plan(after, Event::Start { machine: n });
        }
        drop(process);
        if embedded {
            self.requests.clear();
            self.drop_log();
        }
    }

    pub(super) fn drop_log(&mut self) {
        self.epoch += 1;
        self.broker = None;
        self.journal = None;
        self.deciding = (0, Duration::ZERO);
    }

    pub(super) fn expel(&mut self, n: usize, epoch: u64) {
        if self.machines[n].epoch != epoch {
            return;
        }
        let Some(broker) = self.broker.clone() else { return };
        let who = self.machines[n].name.clone();
        self.fault("log", "group.expelled", format_args!("gives up waiting for {who}"));
        self.machines[n].members.iter().for_each(|(member, ..)| broker.expel(*member));
    }

    pub(super) fn readmit(&mut self, n: usize, epoch: u64) {
        if self.machines[n].epoch != epoch {
            return;
        }
        let Some(broker) = self.broker.clone() else { return };
        let who = self.machines[n].name.clone();
        self.note("log", format_args!("has {who} back in its groups"));
        for (member, group, topic) in &self.machines[n].members {
            broker.readmit(*member, group, *topic);
        }
    }
}
