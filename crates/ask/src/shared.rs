//! The shared tier: entries that other processes fetched, and leases, so that of all processes one calls.
//!
//! ```text
//! Gathering --> Reading --entry--> settled
//!     ^            |nothing
//!     |look again  v
//!  Watching <-- Leasing --granted--> Queued --> Flying --> written; the lease runs out by itself
//!          taken
//! ```
//! IMPORTANT: the lease is not given back after a write. A process that read before the write and asks for the lease after
//! it would get it, and call again. It is held for at least half its time, and a read and a lease together take less
//! (`DeskConfig::check`).

use crate::breaker::{BreakerConfig, State};
use crate::desk::{Action, Desk, End, Planted};
use crate::flight::Stage;
use crate::timers::Due;
use crate::{Age, Entry, Key, Tier, Value, derive};

/// Times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SharedConfig {
    /// A read or a lease that takes longer has failed.
    pub timeout_us: u64,
    /// How long a lease lasts that is not renewed: how long the others wait for a process that died.
    pub lease_us: u64,
    /// How often is looked again while another process has the lease.
    pub look_us: u64,
    pub breaker: BreakerConfig,
}

impl Default for SharedConfig {
    fn default() -> SharedConfig {
        SharedConfig { timeout_us: 5_000, lease_us: 100_000, look_us: 5_000, breaker: BreakerConfig::default() }
    }
}

/// Who got a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lease {
    Granted,
    /// Another process has it.
    Taken,
}

impl Desk {
    /// What the shared tier has under a key, in answer to [`Action::ReadShared`].
    pub fn shared(&mut self, now: u64, key: &Key, entry: Option<Entry>) {
        let now = self.advance(now);
        if let Some(flight) = self.flights.get(key)
            && let Stage::Reading(pass) = flight.stage
        {
            self.shared_breaker.leave(now, pass, true, 0);
            self.set_due(key, None);
            self.on_read(now, key, entry);
        }
        self.pump(now);
    }

    /// The shared tier could not be read or written, or gave no lease: it has nothing, then.
    pub fn shared_failed(&mut self, now: u64, key: &Key) {
        let now = self.advance(now);
        self.counters.shared_failed += 1;
        self.shared_is_late(now, key);
        self.pump(now);
    }

    /// Who has a key's lease, in answer to [`Action::Lease`].
    pub fn lease(&mut self, now: u64, key: &Key, lease: Lease) {
        let now = self.advance(now);
        match lease {
            Lease::Granted => self.counters.leases_granted += 1,
            Lease::Taken => self.counters.leases_taken += 1,
        }
        match (self.flights.get(key).map(|flight| flight.stage), lease) {
            (Some(Stage::Leasing(pass)), lease) => {
                self.shared_breaker.leave(now, pass, true, 0);
                self.set_due(key, None);
                match lease {
                    Lease::Granted => {
                        self.take_lease(now, key);
                        self.enqueue(now, key);
                    }
                    Lease::Taken => self.watch(now, key),
                }
            }
            // It was renewed, or came after we had stopped waiting for it.
            (Some(Stage::Queued(_) | Stage::Flying(_)), Lease::Granted) => self.take_lease(now, key),
            (Some(Stage::Queued(_) | Stage::Flying(_)), Lease::Taken) => {
                self.set_due(key, None);
                self.flights.get_mut(key).expect("it was there").leased = false;
            }
            // IMPORTANT: it is not given back here, though nobody here wants it: it may be the renewal of a lease whose entry
            // was written since. A flight that ends without one gives it back itself.
            _ => {}
        }
        self.pump(now);
    }

    /// Reads what has waited long enough, in bulk.
    pub(crate) fn send_reads(&mut self, now: u64) {
        while self.reads_due_at().is_some_and(|due| due <= now) {
            let mut keys = Vec::new();
            for key in self.gather.take(self.config.bulk) {
                match self.shared_breaker.enter(now) {
                    Some(pass) => {
                        self.step(now, &key, Stage::Reading(pass));
                        keys.push(key);
                    }
                    None => self.enqueue(now, &key),
                }
            }
            if !keys.is_empty() {
                self.actions.push_back(Action::ReadShared { keys });
            }
        }
    }

    pub(crate) fn reads_due_at(&self) -> Option<u64> {
        self.gather.due_at(self.config.bulk, self.config.bulk_wait_us)
    }

    /// The time of a flight's timer has come.
    pub(crate) fn flight_is_due(&mut self, now: u64, key: &Key) {
        let flight = self.flights.get_mut(key).expect("a flight takes its timer with it");
        flight.due = None;
        match flight.stage {
            Stage::Reading(_) | Stage::Leasing(_) => {
                self.counters.shared_failed += 1;
                self.shared_is_late(now, key);
            }
            Stage::Watching => flight.stage = Stage::Gathering(self.gather.push(now, key.clone())),
            Stage::Queued(_) | Stage::Flying(_) => self.renew(now, key),
            Stage::Gathering(_) => unreachable!("what gathers has no timer"),
        }
    }

    /// Tells the caches what is known now; `newly`: the source said it, so that others do not know it yet.
    pub(crate) fn remember(&mut self, now: u64, key: &Key, entry: &Entry, newly: bool) {
        let stale = self.flights.get(key).and_then(|flight| flight.stale.as_ref());
        let has_better = stale.is_some_and(|(stale, _)| stale.at(now) != Age::Gone);
        if matches!(entry.value, Value::Failed(_)) && has_better || entry.at(now) == Age::Gone {
            return;
        }
        self.actions.push_back(Action::Remember { key: key.clone(), entry: entry.clone() });
        if newly && self.config.shared.is_some() && self.shared_breaker.state(now) != State::Open {
            self.actions.push_back(Action::WriteShared { key: key.clone(), entry: entry.clone() });
        }
    }

    fn on_read(&mut self, now: u64, key: &Key, entry: Option<Entry>) {
        let age = entry.as_ref().map_or(Age::Gone, |entry| entry.at(now));
        let (Some(entry), true) = (entry, age != Age::Gone) else {
            self.counters.shared.misses += 1;
            return self.ask_lease(now, key);
        };
        if age != Age::Fresh {
            self.counters.shared.stale += 1;
            self.flights.get_mut(key).expect("it was read for it").offer(entry, Tier::Shared);
            return self.ask_lease(now, key);
        }
        match entry.value {
            Value::Found(_) => self.counters.shared.hits += 1,
            _ => self.counters.shared.negative += 1,
        }
        self.remember(now, key, &entry, false);
        let flight = self.flights.get_mut(key).expect("it was read for it");
        let wants_newer = flight.refresh.is_some_and(|refresh| entry.fresh_until <= refresh.fresh_until);
        let end = End::Entry(entry, Tier::Shared);
        if wants_newer {
            // Askers may have it; the refresh goes on alone.
            self.settle_all(now, key, &end);
            self.ask_lease(now, key);
        } else {
            self.finish(now, key, &end, true);
        }
    }

    /// IMPORTANT: a source that is left alone is not leased: the others would wait for a call that nobody makes.
    fn ask_lease(&mut self, now: u64, key: &Key) {
        if !self.breaker.admits(now) {
            return self.finish(now, key, &End::Open, false);
        }
        match self.shared_breaker.enter(now) {
            Some(pass) => {
                self.step(now, key, Stage::Leasing(pass));
                self.say_lease(key);
            }
            None => self.enqueue(now, key),
        }
    }

    fn say_lease(&mut self, key: &Key) {
        let for_us = self.shared_config().lease_us;
        self.actions.push_back(Action::Lease { key: key.clone(), for_us });
    }

    fn take_lease(&mut self, now: u64, key: &Key) {
        let half = self.shared_config().lease_us / 2;
        self.flights.get_mut(key).expect("a lease is for a flight").leased = true;
        if self.planted != Some(Planted::LeaseNotRenewed) {
            // A margin for the answer's own way: it was granted before it came.
            let margin = self.shared_config().timeout_us;
            self.set_due(key, Some(now + half.saturating_sub(margin).max(1)));
        }
    }

    fn renew(&mut self, now: u64, key: &Key) {
        self.say_lease(key);
        // Asked again even if nobody answers.
        self.set_due(key, Some(now + (self.shared_config().lease_us / 2).max(1)));
    }

    /// Another process calls: its answer will be in the shared tier.
    fn watch(&mut self, now: u64, key: &Key) {
        let flight = self.flights.get_mut(key).expect("a lease is asked for a flight");
        flight.stage = Stage::Watching;
        if let Some(refresh) = flight.refresh.take() {
            self.timers.clear(refresh.until, Due::Refresh(key.clone()));
        }
        let look_us = self.shared_config().look_us.max(1);
        let jitter = derive(self.config.seed, key, now) % (look_us / 2 + 1);
        self.set_due(key, Some(now + look_us + jitter));
        self.leave_if_unwanted(now, key);
    }

    /// The shared tier is slow or gone: the flight goes on as if there were none.
    fn shared_is_late(&mut self, now: u64, key: &Key) {
        let Some(flight) = self.flights.get(key) else { return };
        if let Stage::Reading(pass) | Stage::Leasing(pass) = flight.stage {
            self.shared_breaker.leave(now, pass, false, 0);
            self.set_due(key, None);
            self.enqueue(now, key);
        }
    }

    /// A step that the shared tier must answer in time.
    fn step(&mut self, now: u64, key: &Key, stage: Stage) {
        self.flights.get_mut(key).expect("a step of a flight").stage = stage;
        self.set_due(key, Some(now + self.shared_config().timeout_us));
    }

    fn shared_config(&self) -> SharedConfig {
        self.config.shared.expect("only a desk with a shared tier comes here")
    }
}
