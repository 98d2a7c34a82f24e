//! Disasters, and what passes of them.

use super::*;

impl World {
    /// Lets a disaster happen now, if it can.
    pub(super) fn strike(&mut self, disaster: Disaster) {
        let n = self.rng.below(self.machines.len() as u64) as usize;
        let who = self.machines[n].name.clone();
        let up = self.machines[n].is_up();
        match disaster {
            Disaster::Kill if up => {
                self.fault(&who, "kill", format_args!("is killed"));
                self.die(n, Loss::Nothing);
            }
            Disaster::KillAtPoint if up => {
                let after = self.soon(8);
                self.points.borrow_mut().kill_in = Some(after);
            }
            Disaster::PowerLoss if up => {
                let seed = self.rng.next_u64();
                let loss = if seed.is_multiple_of(3) { Loss::All } else { Loss::Some { seed } };
                self.fault(&who, "power.loss", format_args!("loses its power"));
                self.die(n, loss);
            }
            Disaster::PowerCut if self.is_embedded() => {
                let after = self.soon(7);
                self.machines[n].disk.cut_at(after);
            }
            Disaster::DiskFull if up => {
                let (free, total) = self.machines[n].disk.space(data_dir()).unwrap_or((0, 0));
                let left = [0, 3_000, 100_000][self.rng.below(3) as usize];
                self.machines[n].disk.set_capacity(total - free + left);
                self.fault(&who, "disk.full", format_args!("has {left} bytes of disk left"));
                let after = self.between(200, 4000);
                self.plan(after, Event::Heal(Heal::Disk));
            }
            Disaster::DiskLeft(left, by) if up => {
                let (free, total) = self.machines[n].disk.space(data_dir()).unwrap_or((0, 0));
                self.machines[n].disk.set_capacity(total - free + left);
                self.fault(&who, "disk.full", format_args!("has {left} bytes of disk left"));
                self.plan(by, Event::Heal(Heal::Disk));
            }
            Disaster::KillAt(point) => self.points.borrow_mut().kill_at = Some(point),
            Disaster::SyncFails if up => {
                let after = self.rng.between(1, 6);
                self.machines[n].disk.fail_sync(after);
                self.fault(&who, "disk.sync_fails", format_args!("will have an fsync fail"));
            }
            Disaster::ReadFails if up => {
                let after = self.soon(8);
                self.machines[n].disk.fail_read(after);
            }
            Disaster::Rot => self.rot(n),
            Disaster::RotNewest(below) => self.rot_newest(n, below),
            Disaster::Restart if up => self.restart(n),
            Disaster::Pause if up && self.machines[n].paused_until <= self.clock.elapsed() => {
                let by = self.between(50, 6000);
                self.pause(n, by);
            }
            Disaster::PauseFor(by) if up && self.machines[n].paused_until <= self.clock.elapsed() => self.pause(n, by),
            Disaster::ClockJump => {
                let by = [-3_600_000i64, -2000, -50, 50, 2000, 3_600_000][self.rng.below(6) as usize];
                self.jump(by);
            }
            Disaster::ClockBy(by) => self.jump(by),
            Disaster::ClientClock => {
                let client = self.rng.below(self.clients.len() as u64) as usize;
                let by = [-20_000, -300, 0, 300, 20_000][self.rng.below(5) as usize];
                self.clients[client].producer.set_clock(by * 1000);
                self.fault(
                    &format!("client-{client}"),
                    "client.clock",
                    format_args!("has a clock that is off by {by} ms"),
                );
            }
            Disaster::SourceMood => {
                let slow = Duration::from_micros(self.rng.between(10, 3000));
                let moods = [Mood::Down, Mood::Flapping, Mood::Lying, Mood::Slow(slow)];
                let mood = moods[self.rng.below(4) as usize];
                let name = match mood {
                    Mood::Down => "source.down",
                    Mood::Flapping => "source.flaps",
                    Mood::Lying => "source.lies",
                    _ => "source.slow",
                };
                self.source.set(mood);
                self.fault("source", name, format_args!("is {mood:?}"));
                let after = self.between(100, 2000);
                self.plan(after, Event::Heal(Heal::Source));
            }
            Disaster::Reload => {
                self.source.reload();
                self.fault("source", "source.reloads", format_args!("has new data"));
            }
            Disaster::Savepoint if up && self.is_embedded() => self.savepoint(n),
            Disaster::Join if self.machines.len() < 4 => {
                self.fault("log", "process.joins", format_args!("sees another process come"));
                self.add_machine();
            }
            Disaster::StoreFails => {
                self.store_fails.store(true, Relaxed);
                self.fault("store", "store.fails", format_args!("does not answer"));
                let after = self.between(100, 3000);
                self.plan(after, Event::Heal(Heal::Store));
            }
            Disaster::DoorDies if self.doors_up => self.doors_die(),
            _ => {}
        }
    }

    pub(super) fn pause(&mut self, n: usize, by: Duration) {
        let who = self.machines[n].name.clone();
        self.fault(&who, "process.paused", format_args!("stands still for {} ms", by.as_millis()));
        self.machines[n].paused_until = self.clock.elapsed() + by;
        self.unsettled_until = self.unsettled_until.max(self.machines[n].paused_until + MS * 800);
        if !self.is_embedded() && by > SESSION_TIMEOUT {
            let epoch = self.machines[n].epoch;
            self.machines[n].deaf = self.rng.below(6) as u32;
            self.plan(SESSION_TIMEOUT, Event::Expel { machine: n, epoch });
            self.plan(by + MS * 300, Event::Readmit { machine: n, epoch });
        }
    }

    /// Sets the wall clock, by milliseconds.
    pub(super) fn jump(&mut self, by: i64) {
        self.clock.jump(by * 1000);
        self.fault("clock", "clock.jumps", format_args!("jumps by {by} ms"));
    }

    pub(super) fn heal(&mut self, what: Heal) {
        match what {
            Heal::Disk => {
                self.machines.iter().for_each(|m| m.disk.set_capacity(u64::MAX));
                self.note("disk", format_args!("has room again"));
            }
            Heal::Source => {
                self.source.set(self.scenario.mood);
                self.note("source", format_args!("is well"));
            }
            Heal::Store => {
                self.store_fails.store(false, Relaxed);
                self.note("store", format_args!("answers again"));
            }
        }
    }

    /// Kills a process, and lets a bit rot of what it can make again.
    pub(super) fn rot(&mut self, n: usize) {
        let disks = [&self.machines[n].disk, &self.cloud];
        let disk = disks[self.rng.below(2) as usize].clone();
        let mut files = Vec::new();
        let (state, dedup) = (data_dir().join("state"), data_dir().join("dedup"));
        for root in [state, dedup] {
            files_below(&disk, &root, &mut files);
        }
        if files.is_empty() {
            return;
        }
        let path = files.swap_remove(self.rng.below(files.len() as u64) as usize);
        let bits = disk.open_read(&path).and_then(|f| f.len()).unwrap_or(0) * 8;
        if bits > 0 && disk.flip_bit(&path, self.rng.below(bits)) {
            let who = self.machines[n].name.clone();
            self.fault(&who, "disk.rot", format_args!("is killed, and a bit of {} rots", path.display()));
            self.die(n, Loss::Nothing);
        }
    }

    /// Kills a process, and lets a bit rot of the newest file in each directory below one of its own.
    pub(super) fn rot_newest(&mut self, n: usize, below: &str) {
        let who = self.machines[n].name.clone();
        for disk in [self.machines[n].disk.clone(), self.cloud.clone()] {
            let mut files = Vec::new();
            files_below(&disk, &data_dir().join(below), &mut files);
            files.sort();
            let newest = files.chunk_by(|a, b| a.parent() == b.parent()).filter_map(|dir| dir.last());
            for path in newest {
                let bits = disk.open_read(path).and_then(|f| f.len()).unwrap_or(0) * 8;
                if bits > 0 && disk.flip_bit(path, self.rng.below(bits)) {
                    self.fault(&who, "disk.rot", format_args!("finds a bit of {} rotten", path.display()));
                }
            }
        }
        if self.machines[n].is_up() {
            self.die(n, Loss::Nothing);
        }
    }

    /// Stops a process in good order.
    pub(super) fn restart(&mut self, n: usize) {
        let who = self.machines[n].name.clone();
        self.fault(&who, "process.restarts", format_args!("is stopped in good order"));
        for which in Which::ALL {
            if !self.drain(n, which, false, |step| matches!(step, Step::Idle)) {
                return;
            }
        }
        let Some(mut process) = self.machines[n].process.take() else { return };
        let finished = guarded(|| process.finish());
        self.machines[n].process = Some(process);
        if let Err(end) = finished {
            return self.ended(n, end);
        }
        if let (true, Some(journal)) = (self.is_embedded(), &self.journal) {
            journal.close();
        }
        self.die(n, Loss::Nothing);
        self.crashes -= 1;
    }

    /// Gives a stage turns, and decides commits, until a step is what is wanted. Says whether the process is still there.
    pub(super) fn drain(&mut self, n: usize, which: Which, reading: bool, wanted: impl Fn(&Step) -> bool) -> bool {
        for _ in 0..10_000 {
            let Some(mut process) = self.machines[n].process.take() else { return false };
            let stepped = guarded(|| process.step(which, true, reading));
            self.machines[n].process = Some(process);
            match stepped {
                Err(end) => {
                    self.ended(n, end);
                    return false;
                }
                Ok(Err(why)) => {
                    self.stopped(n, which, &why);
                    self.notice_power();
                    return false;
                }
                Ok(Ok(step)) if wanted(&step) => return true,
                // Nobody stops in good order on a disk that is full.
                Ok(Ok(Step::NoRoom)) => return true,
                Ok(Ok(_)) => {}
            }
            self.decide_one();
            self.deciding.0 = self.deciding.0.saturating_sub(1);
            self.clock.advance(Duration::from_micros(50));
            if !self.machines[n].is_up() {
                return false;
            }
        }
        self.found(laws::conduct(format!("{} does not come to rest", which.name()), "the stage it names"));
        false
    }

    /// Makes a savepoint while events flow, and looks whether what is in it is the state.
    pub(super) fn savepoint(&mut self, n: usize) {
        let who = self.machines[n].name.clone();
        let Some(parts) = self.machines[n].process.as_ref().map(|p| p.parts.clone()) else { return };
        let Ok(held): Result<Held<'_>, String> = parts.hold.raise() else { return };
        if !self.drain(n, Which::Sessions, true, |step| matches!(step, Step::Held)) {
            return;
        }
        let Ok(snapped) = parts.hold.told() else {
            drop(held);
            return self.note(&who, format_args!("cannot make a savepoint now"));
        };
        self.fault(&who, "savepoint", format_args!("makes a savepoint of {} partitions", snapped.len()));
        let store = Arc::new(Reached::new(&self.machines[n].disk, Arc::new(AtomicBool::new(true)), Arc::default()));
        for (partition, at) in snapped {
            let Some(at) = at else { continue };
            let live = parts.look(partition, |driver| driver.state().canonical());
            let found = Snapshots::new(store.clone(), "sessions", partition).restore(at);
            let wrong = match found {
                _ if !self.machines[n].disk.is_on() || self.has_failed_read(n) => continue,
                Err(e) => Some(e.to_string()),
                Ok(newest) => match newest.found.filter(|r| r.manifest.position == at) {
                    None => Some(format!("it cannot be read: {}", newest.passed_over.join("; "))),
                    Some(r) if Some(r.keyed.canonical()) != live => Some("it is another state".to_owned()),
                    Some(_) => None,
                },
            };
            if let Some(wrong) = wrong {
                let what = format!("the savepoint of partition {partition} at {at}: {wrong}");
                return self.found(laws::conduct(what, "snapshots that are taken while held"));
            }
        }
    }
}

fn files_below(disk: &LossyFs, dir: &std::path::Path, out: &mut Vec<PathBuf>) {
    for name in disk.list(dir).unwrap_or_default() {
        let path = dir.join(name);
        if disk.list(&path).is_ok() {
            files_below(disk, &path, out);
        } else {
            out.push(path);
        }
    }
}
