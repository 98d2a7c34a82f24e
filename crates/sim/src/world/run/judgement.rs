//! Judgement, and the way to quiet.

use super::*;

impl World {
    pub(super) fn take_books(&mut self) {
        for client in &mut self.clients {
            self.oracle.ledger.take(&mut client.producer).expect("in memory");
        }
    }

    /// Reads what is stored and judges it.
    pub(super) fn check(&mut self, quiet: bool) {
        self.take_books();
        let Some(broker) = self.broker.clone() else { return };
        let mut all = self.oracle.read(&broker);
        let rules = self.scenario.rules.sessions.clone();
        if all.is_empty() {
            all = match quiet {
                true => {
                    let over = matches!(self.phase, Phase::Waiting | Phase::Closing);
                    self.oracle.when_quiet(&rules, &broker, over)
                }
                false => self.oracle.at_any_time(&rules),
            };
        }
        if quiet && all.is_empty() {
            match Straight::run(session_stage(&rules, self.scenario.partitions), &broker) {
                Ok(straight) => {
                    all.extend(straight.compare(&broker));
                    all.extend(self.states().iter().filter_map(|(p, state)| straight.compare_state(*p, state)));
                }
                Err(why) => all.push(laws::conduct(format!("a run without a disaster stops: {why}"), "sessions")),
            }
        }
        all.into_iter().for_each(|v| self.found(v));
    }

    /// The state of each partition, of whoever has it.
    pub(super) fn states(&self) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        for process in self.machines.iter().filter_map(|m| m.process.as_ref()) {
            for p in 0..self.scenario.partitions {
                all.extend(process.parts.look(p, |driver| driver.state().canonical()).map(|state| (p, state)));
            }
        }
        all
    }

    /// Ends the storm when everybody has sent everything, and the run when all is quiet.
    pub(super) fn look(&mut self) {
        let often = if self.phase == Phase::Waiting { MS * 1000 } else { MS * 50 };
        self.plan(often, Event::Look);
        match self.phase {
            Phase::Storm => {
                if self.clients.iter().all(Client::is_done) {
                    self.calm();
                }
            }
            Phase::Calm | Phase::Closing => {
                if self.clock.elapsed() > self.calm_since + QUIET_WITHIN {
                    let what = format!("not everything is caught up: {}", self.lags());
                    self.found(laws::conduct(what, "who waits for whom"));
                } else if self.is_settled() && self.is_quiet() {
                    self.check(true);
                    match self.phase {
                        Phase::Calm if self.scenario.waits => {
                            self.note("world", format_args!("waits until all sessions are over"));
                            self.phase = Phase::Waiting;
                            self.calm_since = self.clock.elapsed();
                        }
                        Phase::Calm => self.close(),
                        Phase::Closing => self.phase = Phase::Over,
                        _ => {}
                    }
                }
            }
            Phase::Waiting => {
                let passed = self.clock.elapsed() - self.calm_since;
                if passed > OVER_WITHIN && self.is_quiet() {
                    self.check(true);
                    if self.phase == Phase::Waiting {
                        self.close();
                    }
                }
            }
            Phase::Over => {}
        }
    }

    pub(super) fn calm(&mut self) {
        self.note("world", format_args!("everything was sent; it heals"));
        self.phase = Phase::Calm;
        self.calm_since = self.clock.elapsed();
        {
            let mut points = self.points.borrow_mut();
            (points.kill_in, points.kill_at) = (None, None);
        }
        for machine in &self.machines {
            machine.disk.set_capacity(u64::MAX);
            machine.disk.spare();
        }
        self.store_fails.store(false, Relaxed);
        self.source.set(self.scenario.mood);
    }

    pub(super) fn close(&mut self) {
        let Some(broker) = self.broker.clone() else { return };
        let now = self.clock.now();
        let Some(control) = self.machines.iter().find_map(|m| m.process.as_ref()).map(|p| p.close(now)) else { return };
        let block = |p| {
            let mut block = BlockBuilder::new(ENRICHED.partition(p));
            block.push(b"", &control, None);
            block.finish()
        };
        let blocks = (0..self.scenario.partitions).map(block).collect();
        self.note("world", format_args!("ends all sessions"));
        drop(broker.submit(Commit { blocks, ..Commit::default() }));
        while broker.pending() > 0 {
            self.decide_one();
            self.deciding.0 = self.deciding.0.saturating_sub(1);
        }
        self.phase = Phase::Closing;
        self.calm_since = self.clock.elapsed();
    }

    /// Whether everybody is there, and knows what is his.
    pub(super) fn is_settled(&self) -> bool {
        self.machines.iter().all(Machine::is_up) && self.clock.elapsed() > self.unsettled_until
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.broker.as_ref().is_some_and(|b| b.pending() == 0) && self.lags().is_empty()
    }

    /// What is not read yet, in words.
    pub(super) fn lags(&self) -> String {
        let Some(broker) = &self.broker else { return "the log is closed".to_owned() };
        let mut lags = String::new();
        for (group, topic) in groups(&session_stage(&self.scenario.rules.sessions, self.scenario.partitions)) {
            for p in 0..self.scenario.partitions {
                let at = topic.partition(p);
                let next = broker.committed(group, &log::Input::Topic(at)).ok().flatten().map_or(0, |s| s.next);
                let end = broker.bounds(at).map_or(0, |(_, end)| end);
                if next < end {
                    lags.push_str(&format!("{group} is at {next} of {end} in {at}; "));
                }
            }
        }
        lags
    }
}
