//! One source's desk: takes asks, sees to it that each key is asked for once and each ask is settled once. Every method says
//! what happened and when; [`Desk::next_action`] says what to do, until it says nothing.
//!
//! IMPORTANT: actions are carried out in the order they are given, and each method is called with a time not before the last
//! one's. A desk belongs to one thread at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use flow::Status;

use crate::breaker::State;
use crate::call::Call;
use crate::entry::signed;
use crate::flight::{Flight, Flights, Refresh, Stage};
use crate::limit::{Bulkhead, TokenBucket};
use crate::queue::Queue;
use crate::shared::SharedConfig;
use crate::timers::{Due, Timers};
use crate::{
    Age, Breaker, BreakerConfig, CallId, Code, Counters, Entry, Failure, FailureKind, Key, Origin, Tier, Ttls, Value,
};

/// Longer keys are not asked for: no source takes them.
pub const KEY_MAX: usize = 64 << 10;

/// An ask, numbered by who asks; not used again while it is not settled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskId(pub u64);

/// Times in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeskConfig {
    /// Spreads TTLs and pauses; different in every process.
    pub seed: u64,
    pub ttls: Ttls,
    /// Keys in a call or a read, at most; at least 1.
    pub bulk: usize,
    /// How long a key waits for others to go with; 0: not at all.
    pub bulk_wait_us: u64,
    /// Attempts of a call, the first among them; at least 1.
    pub attempts_max: u32,
    /// The first pause before a retry is at most so long; it doubles with each.
    pub back_off_us: u64,
    pub back_off_max_us: u64,
    /// How long a call goes on when the last one who waits has gone: its answer fills the caches. It holds its permit.
    pub late_us: u64,
    /// How long a refresh may take.
    pub refresh_us: u64,
    /// Calls in flight; at least 1.
    pub in_flight_max: usize,
    /// Asks that wait at once, and flights; what comes beyond is refused.
    pub asks_max: usize,
    /// Calls a second, and at once after a pause.
    pub rate: Option<(u32, u32)>,
    pub breaker: BreakerConfig,
    pub shared: Option<SharedConfig>,
}

impl DeskConfig {
    pub fn new(seed: u64, ttls: Ttls) -> DeskConfig {
        DeskConfig {
            seed,
            ttls,
            bulk: 100,
            bulk_wait_us: 200,
            attempts_max: 3,
            back_off_us: 2_000,
            back_off_max_us: 1_000_000,
            late_us: 100_000,
            refresh_us: 1_000_000,
            in_flight_max: 32,
            asks_max: 10_000,
            rate: None,
            breaker: BreakerConfig::default(),
            shared: None,
        }
    }

    /// What is wrong with it, for whoever reads the configuration.
    pub fn check(&self) -> Result<(), &'static str> {
        let rules = [
            (self.bulk >= 1, "a bulk is at least one key"),
            (self.attempts_max >= 1, "a call is at least one attempt"),
            (self.in_flight_max >= 1, "at least one call must be allowed in flight"),
            (self.asks_max >= 1, "at least one ask must be allowed to wait"),
            (
                self.shared.is_none_or(|shared| shared.lease_us / 8 >= shared.timeout_us.max(1)),
                "a lease lasts at least eight times as long as the shared tier may take to answer",
            ),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(why))
    }
}

/// How an ask ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok(Arc<[u8]>),
    Miss,
    /// The last value that is known, so many seconds past its time.
    Stale(Arc<[u8]>, u32),
    Timeout,
    Error(Code),
    /// Not asked: the source's breaker is open.
    Open,
}

impl Outcome {
    /// JSON; empty where there is no value.
    pub fn json(&self) -> &[u8] {
        match self {
            Outcome::Ok(json) | Outcome::Stale(json, _) => json,
            _ => &[],
        }
    }

    pub fn status(&self) -> Status {
        match self {
            Outcome::Ok(_) => Status::Ok,
            Outcome::Miss => Status::Miss,
            Outcome::Stale(_, secs) => Status::Stale(*secs),
            Outcome::Timeout => Status::Timeout,
            Outcome::Error(code) => Status::Error(code.word()),
            Outcome::Open => Status::Open,
        }
    }
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Tell the asker; it is over for him. Once for each ask that was not cancelled. `origin`: who knew it, and since when;
    /// `None` where nobody answered.
    Settle { ask: AskId, outcome: Outcome, origin: Option<Origin> },
    /// Ask the source; then [`Desk::answered`] or [`Desk::failed`] with the same call and attempt. Attempts are counted from
    /// 0 and follow one another; a retry may be of fewer keys.
    Call { call: CallId, attempt: u32, keys: Vec<Key>, give_up_at: u64 },
    /// Stop waiting for the call's last attempt: it is over, whatever comes.
    Drop { call: CallId },
    /// Put it into the local cache.
    Remember { key: Key, entry: Entry },
    /// Read the shared tier; then [`Desk::shared`] or [`Desk::shared_failed`] for each key.
    ReadShared { keys: Vec<Key> },
    /// Write to the shared tier, to be kept until the entry's `stale_until`; if that fails, [`Desk::shared_failed`].
    WriteShared { key: Key, entry: Entry },
    /// Take the key's lease for this process, or renew it if this process has it; then [`Desk::lease`] or
    /// [`Desk::shared_failed`].
    Lease { key: Key, for_us: u64 },
    /// Give the key's lease back if this process has it.
    Release { key: Key },
    /// Call [`Desk::tick`] at this time; it replaces the last one.
    WakeAt(u64),
}

/// Bugs that tests plant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Planted {
    /// A retry is another call.
    RetryUnderNewId,
    /// An answer that comes when its attempt is over is taken for another call's.
    LateReplyWritten,
    /// A call that is given up keeps its permit.
    PermitLeaked,
    /// Who cancels first takes all others with him.
    FollowerCancelledWithLeader,
    /// Answers are taken to be in the order of the keys.
    AnswersByPlace,
    /// A lease is left to run out under a call.
    LeaseNotRenewed,
    /// A stale value is given however old it is.
    StaleForever,
    /// What the shared tier had is told as the source's.
    SharedToldAsSource,
    /// An answer is told to be as new as its telling.
    ToldTooYoung,
}

impl Planted {
    pub const ALL: [Planted; 9] = [
        Planted::RetryUnderNewId,
        Planted::LateReplyWritten,
        Planted::PermitLeaked,
        Planted::FollowerCancelledWithLeader,
        Planted::AnswersByPlace,
        Planted::LeaseNotRenewed,
        Planted::StaleForever,
        Planted::SharedToldAsSource,
        Planted::ToldTooYoung,
    ];
}

/// How a flight ends, or its part for one asker.
pub(crate) enum End {
    Entry(Entry, Tier),
    Failed(Code),
    Timeout,
    Open,
}

impl End {
    pub fn of(failure: Failure) -> End {
        match failure.kind {
            FailureKind::Timeout => End::Timeout,
            _ => End::Failed(failure.code()),
        }
    }
}

struct Ask {
    key: Key,
    deadline: u64,
}

pub struct Desk {
    pub(crate) config: DeskConfig,
    now: u64,
    asks: BTreeMap<AskId, Ask>,
    pub(crate) flights: Flights,
    /// Keys that wait to be read from the shared tier.
    pub(crate) gather: Queue,
    /// Keys that wait for their first call.
    pub(crate) queue: Queue,
    pub(crate) calls: BTreeMap<CallId, Call>,
    /// Calls that wait for a permit: retries and halves.
    pub(crate) ready: VecDeque<CallId>,
    pub(crate) call_seq: u64,
    pub(crate) timers: Timers,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) bucket: Option<TokenBucket>,
    pub(crate) breaker: Breaker,
    pub(crate) shared_breaker: Breaker,
    pub(crate) actions: VecDeque<Action>,
    /// The time of the last [`Action::WakeAt`]: when it has come, nothing is due at it any more.
    told: Option<u64>,
    pub(crate) counters: Counters,
    pub(crate) planted: Option<Planted>,
}

impl Desk {
    /// Panics on a configuration that [`DeskConfig::check`] refuses.
    pub fn new(config: DeskConfig) -> Desk {
        config.check().expect("a configuration that was checked");
        Desk {
            config,
            now: 0,
            asks: BTreeMap::new(),
            flights: Flights::default(),
            gather: Queue::default(),
            queue: Queue::default(),
            calls: BTreeMap::new(),
            ready: VecDeque::new(),
            call_seq: 0,
            timers: Timers::default(),
            bulkhead: Bulkhead::new(config.in_flight_max),
            bucket: config.rate.map(|(per_second, burst)| TokenBucket::new(per_second, burst)),
            breaker: Breaker::new(config.breaker),
            shared_breaker: Breaker::new(config.shared.unwrap_or_default().breaker),
            actions: VecDeque::new(),
            told: None,
            counters: Counters::default(),
            planted: None,
        }
    }

    /// Plants a bug, before anything is asked.
    pub fn plant(&mut self, bug: Planted) {
        self.planted = Some(bug);
    }

    /// Somebody wants to know of a key by the deadline. `stale`: what the local cache has of it, past its time.
    pub fn ask(&mut self, now: u64, id: AskId, key: Key, deadline: u64, stale: Option<Entry>) {
        let now = self.advance(now);
        self.counters.asked += 1;
        let refused = if key.len() > KEY_MAX {
            Some(End::Failed(Code::KeyTooLong))
        } else if deadline <= now {
            Some(End::Timeout)
        } else if self.asks.len() >= self.config.asks_max {
            Some(End::Failed(Code::Overloaded))
        } else {
            None
        };
        let stale = stale.map(|entry| (entry, Tier::Local));
        if let Some(end) = refused {
            self.settle(now, id, &end, stale.as_ref());
            return self.pump(now);
        }
        self.timers.set(deadline, Due::Ask(id));
        let again = self.asks.insert(id, Ask { key: key.clone(), deadline });
        assert!(again.is_none(), "an ask's number is its own until it is settled");
        if self.flights.get(&key).is_some() {
            self.counters.coalesced += 1;
        } else {
            self.begin(now, &key);
        }
        let flight = self.flights.get_mut(&key).expect("it was begun");
        flight.askers.insert((deadline, id));
        flight.leader.get_or_insert(id);
        if let Some((entry, tier)) = stale {
            flight.offer(entry, tier);
        }
        self.pump(now);
    }

    /// Fetches a key anew that is still good: the local cache said so ([`crate::Hit::refresh`]). `known` is what it has.
    /// Nothing is settled; when there is too much to do already, nothing is done.
    pub fn refresh(&mut self, now: u64, key: Key, known: &Entry) {
        let now = self.advance(now);
        let may = self.flights.get(&key).is_none()
            && self.flights.len() < self.config.asks_max
            && key.len() <= KEY_MAX
            && self.breaker.admits(now);
        if may {
            self.counters.refreshed += 1;
            self.begin(now, &key);
            let until = now.saturating_add(self.config.refresh_us);
            let flight = self.flights.get_mut(&key).expect("it was begun");
            flight.refresh = Some(Refresh { until, fresh_until: known.fresh_until });
            flight.offer(known.clone(), Tier::Local);
            self.timers.set(until, Due::Refresh(key));
        }
        self.pump(now);
    }

    /// The asker has gone: nothing is settled for him, unless it was due by now. An ask that was settled already is nothing to
    /// cancel.
    pub fn cancel(&mut self, now: u64, id: AskId) {
        let now = self.advance(now);
        let Some(ask) = self.asks.get(&id) else { return self.pump(now) };
        let key = ask.key.clone();
        let leads = self.flights.get(&key).is_some_and(|flight| flight.leader == Some(id));
        if leads && self.planted == Some(Planted::FollowerCancelledWithLeader) {
            let flight = self.flights.get(&key).expect("it leads one");
            let others: Vec<AskId> =
                flight.askers.iter().map(|(_, other)| *other).filter(|other| *other != id).collect();
            others.into_iter().for_each(|other| self.leave(now, other));
        }
        self.counters.cancelled += 1;
        self.leave(now, id);
        self.pump(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        let now = self.advance(now);
        self.pump(now);
    }

    /// The next thing to do. `None`: nothing until something happens.
    pub fn next_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let at = self.wake_at().filter(|at| self.told != Some(*at))?;
        self.told = Some(at);
        Some(Action::WakeAt(at))
    }

    pub fn counters(&self) -> Counters {
        Counters {
            in_flight: self.bulkhead.open(),
            queued: self.queue.len() + self.ready.len(),
            waiting: self.asks.len(),
            flights: self.flights.len(),
            opened: self.breaker.opened(),
            open: self.breaker.state(self.now) == State::Open,
            shared_opened: self.shared_breaker.opened(),
            ..self.counters
        }
    }

    /// Whether the key is on its way.
    pub fn is_on_its_way(&self, key: &[u8]) -> bool {
        self.flights.get(key).is_some()
    }

    /// Whether nothing is on its way and nothing is held.
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty()
            && self.flights.len() == 0
            && self.gather.is_empty()
            && self.queue.is_empty()
            && self.calls.is_empty()
            && self.ready.is_empty()
            && self.timers.first().is_none()
            && self.bulkhead.open() == 0
            && self.actions.is_empty()
    }

    /// When something is due.
    fn wake_at(&self) -> Option<u64> {
        let waits = !self.ready.is_empty() || !self.queue.is_empty();
        let calls = waits.then(|| self.calls_due_at(self.now)).flatten();
        [self.timers.first(), self.reads_due_at(), calls].into_iter().flatten().min()
    }

    /// What was due until now, in its order. Gives the time, which never goes back.
    pub(crate) fn advance(&mut self, now: u64) -> u64 {
        let now = now.max(self.now);
        self.now = now;
        while let Some(due) = self.timers.take(now) {
            match due {
                Due::Ask(id) => {
                    let stale = self.asks.get(&id).and_then(|ask| self.flights.get(&ask.key)?.stale.clone());
                    self.settle(now, id, &End::Timeout, stale.as_ref());
                    self.leave(now, id);
                }
                Due::Refresh(key) => {
                    self.flights.get_mut(&key).expect("a refresh is a flight's").refresh = None;
                    self.leave_if_unwanted(now, &key);
                }
                Due::Flight(key) => self.flight_is_due(now, &key),
                Due::Call(id) => self.call_is_due(now, id),
            }
        }
        now
    }

    /// Sends what may be sent now.
    pub(crate) fn pump(&mut self, now: u64) {
        self.send_reads(now);
        self.send_calls(now);
    }

    fn begin(&mut self, now: u64, key: &Key) {
        let stage = match self.config.shared {
            Some(_) => Stage::Gathering(self.gather.push(now, key.clone())),
            None => Stage::Queued(self.queue.push(now, key.clone())),
        };
        self.flights.insert(Flight {
            key: key.clone(),
            stage,
            askers: Default::default(),
            leader: None,
            stale: None,
            refresh: None,
            leased: false,
            due: None,
        });
    }

    /// To the source next.
    pub(crate) fn enqueue(&mut self, now: u64, key: &Key) {
        let place = self.queue.push(now, key.clone());
        self.flights.get_mut(key).expect("a flight goes on").stage = Stage::Queued(place);
    }

    /// Sets a flight's timer in place of the one it had.
    pub(crate) fn set_due(&mut self, key: &Key, due: Option<u64>) {
        let flight = self.flights.get_mut(key).expect("a flight's timer");
        if let Some(old) = std::mem::replace(&mut flight.due, due) {
            self.timers.clear(old, Due::Flight(key.clone()));
        }
        if let Some(due) = due {
            self.timers.set(due, Due::Flight(key.clone()));
        }
    }

    /// An asker leaves his flight, whoever leads it then. The flight goes on for the others.
    fn leave(&mut self, now: u64, id: AskId) {
        let Some(Ask { key, deadline }) = self.asks.remove(&id) else { return };
        self.timers.clear(deadline, Due::Ask(id));
        let flight = self.flights.get_mut(&key).expect("an ask has a flight");
        flight.askers.remove(&(deadline, id));
        if flight.leader == Some(id) {
            // Whoever can wait longest.
            flight.leader = flight.askers.last().map(|(_, heir)| *heir);
            self.counters.handed_over += u64::from(flight.leader.is_some());
        }
        self.leave_if_unwanted(now, &key);
    }

    /// Ends a flight that nobody waits for, unless its call is open: the answer is for the caches then.
    pub(crate) fn leave_if_unwanted(&mut self, now: u64, key: &Key) {
        let Some(flight) = self.flights.get(key) else { return };
        if !flight.askers.is_empty() || flight.refresh.is_some() {
            return;
        }
        match flight.stage {
            Stage::Flying(id) if self.is_under_way(id) => {}
            Stage::Flying(id) => {
                self.take_out(id, key);
                self.finish(now, key, &End::Timeout, false);
            }
            _ => self.finish(now, key, &End::Timeout, false),
        }
    }

    /// Ends a flight, wherever it is: all who wait are settled, all it holds is given back. `written`: others find an entry in
    /// the shared tier.
    pub(crate) fn finish(&mut self, now: u64, key: &Key, end: &End, written: bool) {
        self.settle_all(now, key, end);
        let Some(flight) = self.flights.remove(key) else { return };
        match flight.stage {
            Stage::Gathering(place) => self.gather.remove(place),
            Stage::Queued(place) => self.queue.remove(place),
            Stage::Reading(pass) | Stage::Leasing(pass) => self.shared_breaker.give_back(pass),
            Stage::Watching | Stage::Flying(_) => {}
        }
        if let Some(due) = flight.due {
            self.timers.clear(due, Due::Flight(key.clone()));
        }
        if let Some(refresh) = flight.refresh {
            self.timers.clear(refresh.until, Due::Refresh(key.clone()));
        }
        let may_have_lease = flight.leased || matches!(flight.stage, Stage::Leasing(_));
        if may_have_lease && !written {
            self.actions.push_back(Action::Release { key: key.clone() });
        }
    }

    /// Settles all who wait for a key.
    pub(crate) fn settle_all(&mut self, now: u64, key: &Key, end: &End) {
        self.settle_until(now, key, u64::MAX, end);
    }

    /// Settles those whose deadline is up to then, and ends the flight if nobody is left. Gives whether somebody is.
    pub(crate) fn finish_until(&mut self, now: u64, key: &Key, until: u64, end: &End) -> bool {
        let stays = self.flights.get(key).and_then(Flight::until).is_some_and(|last| last > until);
        if stays {
            self.settle_until(now, key, until, end);
        } else {
            self.finish(now, key, end, false);
        }
        stays
    }

    fn settle_until(&mut self, now: u64, key: &Key, until: u64, end: &End) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let later = match until.checked_add(1) {
            Some(next) => flight.askers.split_off(&(next, AskId(0))),
            None => Default::default(),
        };
        let over = std::mem::replace(&mut flight.askers, later);
        if flight.leader.is_some_and(|leader| over.iter().any(|(_, id)| *id == leader)) {
            flight.leader = flight.askers.last().map(|(_, heir)| *heir);
            self.counters.handed_over += u64::from(flight.leader.is_some());
        }
        let stale = flight.stale.clone();
        for (deadline, id) in over {
            self.asks.remove(&id);
            self.timers.clear(deadline, Due::Ask(id));
            self.settle(now, id, end, stale.as_ref());
        }
    }

    fn settle(&mut self, now: u64, ask: AskId, end: &End, stale: Option<&(Entry, Tier)>) {
        let (otherwise, origin) = match end {
            End::Entry(entry, tier) => {
                let origin = Some(self.origin(now, entry, *tier));
                match &entry.value {
                    Value::Found(json) => return self.say(ask, Outcome::Ok(json.clone()), origin),
                    Value::NotFound => return self.say(ask, Outcome::Miss, origin),
                    Value::Failed(code) => (Outcome::Error(*code), origin),
                }
            }
            End::Failed(code) => (Outcome::Error(*code), None),
            End::Timeout => (Outcome::Timeout, None),
            End::Open => (Outcome::Open, None),
        };
        let stale_for = |entry: &Entry| match entry.at(now) {
            Age::Gone if self.planted == Some(Planted::StaleForever) => Some(u32::MAX),
            Age::Gone => None,
            Age::Stale(secs) => Some(secs),
            Age::Fresh => Some(0),
        };
        let given = stale.and_then(|(entry, tier)| match &entry.value {
            Value::Found(json) => Some((json.clone(), stale_for(entry)?, self.origin(now, entry, *tier))),
            _ => None,
        });
        match given {
            // It was to be refreshed, and is still good.
            Some((json, 0, origin)) => self.say(ask, Outcome::Ok(json), Some(origin)),
            Some((json, secs, origin)) => self.say(ask, Outcome::Stale(json, secs), Some(origin)),
            None => self.say(ask, otherwise, origin),
        }
    }

    fn origin(&self, now: u64, entry: &Entry, tier: Tier) -> Origin {
        match self.planted {
            Some(Planted::SharedToldAsSource) if tier == Tier::Shared => {
                Origin { tier: Tier::Source, fetched_at: entry.fetched_at }
            }
            Some(Planted::ToldTooYoung) => Origin { tier, fetched_at: signed(now) },
            _ => Origin { tier, fetched_at: entry.fetched_at },
        }
    }

    fn say(&mut self, ask: AskId, outcome: Outcome, origin: Option<Origin>) {
        let settled = &mut self.counters.settled;
        let count = match outcome {
            Outcome::Ok(_) => &mut settled.ok,
            Outcome::Miss => &mut settled.miss,
            Outcome::Stale(..) => &mut settled.stale,
            Outcome::Timeout => &mut settled.timeout,
            Outcome::Error(_) => &mut settled.error,
            Outcome::Open => &mut settled.open,
        };
        *count += 1;
        self.actions.push_back(Action::Settle { ask, outcome, origin });
    }
}
