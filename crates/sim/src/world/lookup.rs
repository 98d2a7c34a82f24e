//! A source of facts as a process asks it: through the desk of `ask`, from a cache of its own, in simulated time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ask::{
    Action, Age, Answer, AskId, BreakerConfig, Cache, CallId, Counters, Desk, DeskConfig, Failure, Outcome, Planted,
    Ttls,
};
use flow::Status;
use lookup::asked::Tier;
use lookup::{Asked, Asking, Hear, Key, Origin, Told};
use seam::Clock;
use seam::fault::{Bug, planted};

use super::{SimClock, SimSource};

/// What a call comes to.
pub type Reply = Result<Vec<(Key, Answer)>, Failure>;

/// A process's way to a source.
#[derive(Clone)]
pub struct SimLookup(Arc<Inner>);

struct Inner {
    clock: Arc<SimClock>,
    source: SimSource,
    state: Mutex<State>,
}

struct State {
    desk: Desk,
    cache: Cache,
    /// Who waits, and for which of his keys.
    waiting: BTreeMap<AskId, (usize, Arc<Hear>)>,
    /// What is on its way, by the time when it comes and the order in which it was asked for.
    replies: BTreeMap<(u64, u64), (CallId, u32, Reply)>,
    /// Attempts that are neither over nor given up.
    open: BTreeSet<(CallId, u32)>,
    wake_at: Option<u64>,
    asks: u64,
    calls: u64,
}

impl SimLookup {
    pub fn new(clock: Arc<SimClock>, source: SimSource, seed: u64) -> SimLookup {
        let ttls = Ttls { hit: 300_000, not_found: 100_000, error: 50_000, max_stale: 100_000 };
        let mut config = DeskConfig::new(seed, ttls);
        // Small, so that calls wait for each other, and a source that is down is left alone now and then.
        (config.bulk, config.in_flight_max, config.attempts_max) = (8, 4, 3);
        config.breaker = BreakerConfig { open_us: 50_000, slow_us: 20_000, ..config.breaker };
        let mut desk = Desk::new(config);
        let bugs = [
            (Bug::LateReplyWritten, Planted::LateReplyWritten),
            (Bug::PermitLeaked, Planted::PermitLeaked),
            (Bug::FollowerCancelledWithLeader, Planted::FollowerCancelledWithLeader),
        ];
        bugs.iter().filter(|(bug, _)| planted(*bug)).for_each(|(_, plant)| desk.plant(*plant));
        let state = State {
            desk,
            cache: Cache::new(1 << 20, 10),
            waiting: BTreeMap::new(),
            replies: BTreeMap::new(),
            open: BTreeSet::new(),
            wake_at: None,
            asks: 0,
            calls: 0,
        };
        SimLookup(Arc::new(Inner { clock, source, state: Mutex::new(state) }))
    }

    /// Hands over what has come by now.
    pub fn turn(&self) {
        let now = self.now();
        let mut state = self.state();
        while let Some(due) = state.replies.first_entry().filter(|first| first.key().0 <= now) {
            let (call, attempt, reply) = due.remove();
            state.open.remove(&(call, attempt));
            match reply {
                Ok(answers) => state.desk.answered(now, call, attempt, answers),
                Err(failure) => state.desk.failed(now, call, attempt, failure),
            }
            self.act(&mut state, now);
        }
        if state.wake_at.is_some_and(|at| at <= now) {
            state.wake_at = None;
            state.desk.tick(now);
            self.act(&mut state, now);
        }
    }

    /// How long until something comes.
    pub fn due_in(&self) -> Option<Duration> {
        let state = self.state();
        let reply = state.replies.first_key_value().map(|((at, _), _)| *at);
        let due = [reply, state.wake_at].into_iter().flatten().min()?;
        Some(Duration::from_micros(due.saturating_sub(self.now())))
    }

    pub fn counters(&self) -> Counters {
        self.state().desk.counters()
    }

    fn now(&self) -> u64 {
        self.0.clock.elapsed().as_micros() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, state: &mut State, now: u64) {
        while let Some(action) = state.desk.next_action() {
            match action {
                Action::Settle { ask, outcome, .. } => {
                    let Some((place, hear)) = state.waiting.remove(&ask) else { continue };
                    let (status, json) = (outcome.status(), json(&outcome));
                    hear(place, Told { status, json, origin: None });
                }
                Action::Call { call, attempt, keys, .. } => {
                    let is_new = state.open.iter().all(|(open, _)| *open != call);
                    assert!(is_new, "an attempt begins when the one before is over");
                    state.open.insert((call, attempt));
                    // One that nobody answers is given up by the desk.
                    if let Some((after, reply)) = self.0.source.reply(&keys) {
                        state.calls += 1;
                        state.replies.insert((now + after, state.calls), (call, attempt, reply));
                    }
                }
                // Its answer is on its way all the same, and comes to a call that is over.
                Action::Drop { call } => state.open.retain(|(open, _)| *open != call),
                Action::Remember { key, entry } => state.cache.put(now, &key, &entry),
                Action::WakeAt(at) => state.wake_at = Some(at),
                Action::ReadShared { .. }
                | Action::WriteShared { .. }
                | Action::Lease { .. }
                | Action::Release { .. } => unreachable!("there is no shared tier here"),
            }
        }
        let in_flight = state.desk.counters().in_flight;
        assert_eq!(in_flight, state.open.len(), "each attempt that is open has a permit, and nothing else has one");
    }
}

fn json(outcome: &Outcome) -> &[u8] {
    match outcome {
        Outcome::Ok(json) | Outcome::Stale(json, _) => json,
        Outcome::Miss | Outcome::Timeout | Outcome::Error(_) | Outcome::Open => &[],
    }
}

impl Asked for SimLookup {
    fn known(&self, key: &[u8], out: &mut Vec<u8>) -> Option<(Status, Origin)> {
        let now = self.now();
        let mut state = self.state();
        let hit = state.cache.get(now, key).filter(|hit| hit.age == Age::Fresh)?;
        let status = match hit.known {
            ask::Known::Found(json) => {
                out.extend_from_slice(json);
                Status::Ok
            }
            ask::Known::NotFound => Status::Miss,
            ask::Known::Failed(code) => Status::Error(code.word()),
        };
        let refresh = hit.refresh.then(|| hit.entry());
        if let Some(entry) = refresh {
            state.desk.refresh(now, key.into(), &entry);
            self.act(&mut state, now);
        }
        Some((status, Origin { tier: Tier::Local, age_us: 0 }))
    }

    fn ask(&self, keys: Vec<Key>, deadline: u64, hear: Hear) -> Asking {
        let now = self.now();
        let mut state = self.state();
        let hear = Arc::new(hear);
        let first = state.asks;
        for (place, key) in keys.into_iter().enumerate() {
            let id = AskId(state.asks);
            state.asks += 1;
            let stale = state.cache.get(now, &key).filter(|hit| hit.age != Age::Fresh).map(|hit| hit.entry());
            state.waiting.insert(id, (place, hear.clone()));
            state.desk.ask(now, id, key, deadline, stale);
            self.act(&mut state, now);
        }
        Box::new(Gone { lookup: self.clone(), asks: first..state.asks })
    }
}

/// Whoever asked goes away.
struct Gone {
    lookup: SimLookup,
    asks: std::ops::Range<u64>,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let now = self.lookup.now();
        let mut state = self.lookup.state();
        for id in self.asks.clone().map(AskId) {
            if state.waiting.remove(&id).is_some() {
                state.desk.cancel(now, id);
                self.lookup.act(&mut state, now);
            }
        }
    }
}
