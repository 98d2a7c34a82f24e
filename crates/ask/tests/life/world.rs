//! A world: its time, what is on its way in it, and what must hold after every step.

use std::collections::BTreeMap;
use std::fmt::Write;

use ouzel_ask::shared::Lease;
use ouzel_ask::{
    Action, Age, Answer, AskId, CallId, Code, Counters, Entry, Failure, Key, Moment, Origin, Outcome, Planted, Tier,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::chance::Chance;
use crate::process::Process;
use crate::source;
use crate::store::Store;
use crate::weather::Weather;

/// Elapsed times of all processes are of one clock here; the wall clock is ahead by this.
const WALL: u64 = 1 << 50;

enum Event {
    Ask(AskId),
    Cancel(AskId),
    Kill(usize),
    StoreEmptied,
    /// To a process, if it still lives the same life.
    To {
        process: usize,
        life: u64,
        what: What,
    },
    /// Reaches the store.
    Store {
        process: usize,
        life: u64,
        op: Op,
    },
}

enum What {
    Tick(u64),
    Reply { call: CallId, attempt: u32, reply: Result<Vec<(Key, Answer)>, Failure> },
    Read(Key, Option<Vec<u8>>),
    Lease(Key, Lease),
    StoreFailed(Key),
}

enum Op {
    Read(Key),
    Write(Key, Vec<u8>),
    Lease(Key, u64),
    Release(Key),
}

struct Asked {
    process: usize,
    key: Key,
    deadline: u64,
    /// The life of the process that it was asked in.
    life: Option<u64>,
    cancelled: bool,
    settled: Option<(u64, Outcome)>,
}

pub struct World {
    chance: Chance,
    pub weather: Weather,
    planted: Option<Planted>,
    now: u64,
    seq: u64,
    events: BTreeMap<(u64, u64), Event>,
    processes: Vec<Process>,
    store: Store,
    asks: BTreeMap<AskId, Asked>,
    calls: BTreeMap<Key, u64>,
    trace: u64,
    tally: Tally,
}

/// What happened, in all.
#[derive(Default, Debug)]
pub struct Tally {
    pub asked: u64,
    pub killed: u64,
    pub given_up: u64,
    counters: Counters,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.asked += other.asked;
        self.killed += other.killed;
        self.given_up += other.given_up;
        self.count(&other.counters);
    }

    fn count(&mut self, more: &Counters) {
        let c = &mut self.counters;
        let (s, m) = (&mut c.settled, &more.settled);
        for (sum, more) in [
            (&mut s.ok, m.ok),
            (&mut s.miss, m.miss),
            (&mut s.stale, m.stale),
            (&mut s.timeout, m.timeout),
            (&mut s.error, m.error),
            (&mut s.open, m.open),
            (&mut c.coalesced, more.coalesced),
            (&mut c.refreshed, more.refreshed),
            (&mut c.handed_over, more.handed_over),
            (&mut c.cancelled, more.cancelled),
            (&mut c.shared.hits, more.shared.hits),
            (&mut c.shared_failed, more.shared_failed),
            (&mut c.shared_opened, more.shared_opened),
            (&mut c.leases_taken, more.leases_taken),
            (&mut c.retries, more.retries),
            (&mut c.failed, more.failed),
            (&mut c.late, more.late),
            (&mut c.ignored, more.ignored),
            (&mut c.opened, more.opened),
        ] {
            *sum += more;
        }
    }

    pub fn all(&self) -> [(&'static str, u64); 22] {
        let c = &self.counters;
        [
            ("asks", self.asked),
            ("processes killed", self.killed),
            ("calls given up", self.given_up),
            ("ok", c.settled.ok),
            ("misses", c.settled.miss),
            ("stale", c.settled.stale),
            ("timeouts", c.settled.timeout),
            ("errors", c.settled.error),
            ("open", c.settled.open),
            ("coalesced", c.coalesced),
            ("refreshes", c.refreshed),
            ("handed over", c.handed_over),
            ("cancelled", c.cancelled),
            ("shared hits", c.shared.hits),
            ("shared failures", c.shared_failed),
            ("shared breaker opened", c.shared_opened),
            ("leases taken", c.leases_taken),
            ("retries", c.retries),
            ("failed", c.failed),
            ("late", c.late),
            ("ignored", c.ignored),
            ("breaker opened", c.opened),
        ]
    }
}

impl World {
    /// A world in some weather, with asks, cancels and deaths.
    pub fn of(seed: u64, planted: Option<Planted>) -> World {
        let mut chance = Chance::new(seed);
        let weather = Weather::of(seed, &mut chance);
        let mut world = World::new(weather, chance, planted);
        for _ in 0..weather.asks {
            let at = 1_000 + world.chance.below(weather.span_us);
            let process = world.chance.below(weather.processes as u64) as usize;
            // Half of them for a third of the keys.
            let of = if world.chance.percent(50) { weather.keys } else { weather.keys.div_ceil(3) };
            let key = format!("k{}", world.chance.below(of));
            let deadline = world.chance.between(weather.deadline_us);
            let id = world.ask_at(at, process, &key, deadline);
            if world.chance.percent(weather.cancel_percent) {
                let at = at + world.chance.below(deadline);
                world.cancel_at(at, id);
            }
        }
        for _ in 0..weather.kills {
            let process = world.chance.below(weather.processes as u64) as usize;
            let at = world.chance.below(weather.span_us);
            world.kill_at(at, process);
        }
        if weather.store_lose_percent > 0 {
            let at = world.chance.below(weather.span_us);
            world.push(at, Event::StoreEmptied);
        }
        world
    }

    /// A world in which nothing happens by itself.
    pub fn quiet(weather: Weather) -> World {
        World::new(weather, Chance::new(0), None)
    }

    fn new(weather: Weather, chance: Chance, planted: Option<Planted>) -> World {
        World {
            chance,
            weather,
            planted,
            now: 0,
            seq: 0,
            events: BTreeMap::new(),
            processes: (0..weather.processes).map(|n| Process::new(n as u64, weather.desk, planted)).collect(),
            store: Store::default(),
            asks: BTreeMap::new(),
            calls: BTreeMap::new(),
            trace: 0,
            tally: Tally::default(),
        }
    }

    pub fn ask_at(&mut self, at: u64, process: usize, key: &str, deadline_us: u64) -> AskId {
        let id = AskId(self.asks.len() as u64);
        let key: Key = key.as_bytes().into();
        let asked = Asked { process, key, deadline: at + deadline_us, life: None, cancelled: false, settled: None };
        self.asks.insert(id, asked);
        self.push(at, Event::Ask(id));
        id
    }

    pub fn cancel_at(&mut self, at: u64, id: AskId) {
        self.push(at, Event::Cancel(id));
    }

    pub fn kill_at(&mut self, at: u64, process: usize) {
        self.push(at, Event::Kill(process));
    }

    pub fn run(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            self.on(event).map_err(|why| format!("at {at} us: {why}"))?;
        }
        self.is_quiet()
    }

    pub fn outcome(&self, id: AskId) -> Option<&Outcome> {
        self.asks[&id].settled.as_ref().map(|(_, outcome)| outcome)
    }

    pub fn settled_at(&self, id: AskId) -> Option<u64> {
        self.asks[&id].settled.as_ref().map(|(at, _)| *at)
    }

    pub fn calls_of(&self, key: &str) -> u64 {
        self.calls.get(key.as_bytes()).copied().unwrap_or(0)
    }

    pub fn counters(&self, process: usize) -> Counters {
        self.processes[process].desk.counters()
    }

    pub fn trace(&self) -> u64 {
        self.trace
    }

    pub fn tally(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        self.processes.iter().for_each(|process| tally.count(&process.desk.counters()));
        tally
    }

    fn push(&mut self, at: u64, event: Event) {
        self.seq += 1;
        self.events.insert((at, self.seq), event);
    }

    fn moment(&self) -> Moment {
        Moment { elapsed: self.now, wall: WALL + self.now }
    }

    fn on(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Ask(id) => self.ask(id),
            Event::Cancel(id) => self.cancel(id),
            Event::Kill(process) => {
                self.tally.killed += 1;
                self.seq += 1;
                let (old, config) = (&mut self.processes[process], self.weather.desk);
                self.tally.count(&old.desk.counters());
                *old = Process::new(self.seq + 100, config, self.planted);
                Ok(())
            }
            Event::StoreEmptied => {
                self.store.forget();
                Ok(())
            }
            Event::To { process, life, what } if self.processes[process].life == life => self.tell(process, what),
            Event::To { .. } => Ok(()),
            Event::Store { process, life, op } => {
                self.store(process, life, op);
                Ok(())
            }
        }
    }

    fn ask(&mut self, id: AskId) -> Result<(), String> {
        let now = self.now;
        let asked = self.asks.get_mut(&id).expect("it was made");
        let (key, deadline, at) = (asked.key.clone(), asked.deadline, asked.process);
        let process = &mut self.processes[at];
        asked.life = Some(process.life);
        self.tally.asked += 1;
        let hit = process.cache.get(now, &key).map(|hit| (hit.age, hit.refresh, hit.entry()));
        match hit {
            Some((Age::Fresh, refresh, entry)) => {
                let outcome = match &entry.value {
                    ouzel_ask::Value::Found(json) => Outcome::Ok(json.clone()),
                    ouzel_ask::Value::NotFound => Outcome::Miss,
                    ouzel_ask::Value::Failed(code) => Outcome::Error(*code),
                };
                if refresh {
                    process.desk.refresh(now, key, &entry);
                }
                let origin = Origin { tier: Tier::Local, fetched_at: entry.fetched_at };
                self.settle(at, id, outcome, Some(origin), true)?;
            }
            Some((_, _, stale)) => process.desk.ask(now, id, key, deadline, Some(stale)),
            None => process.desk.ask(now, id, key, deadline, None),
        }
        self.act(at)
    }

    fn cancel(&mut self, id: AskId) -> Result<(), String> {
        let asked = self.asks.get_mut(&id).expect("it was made");
        let at = asked.process;
        if asked.life != Some(self.processes[at].life) {
            return Ok(());
        }
        let desk = &mut self.processes[at].desk;
        let before = desk.counters().cancelled;
        desk.cancel(self.now, id);
        // What was due by now may have settled it before the cancel could count.
        asked.cancelled = desk.counters().cancelled > before;
        self.act(at)
    }

    fn tell(&mut self, at: usize, what: What) -> Result<(), String> {
        let (now, moment) = (self.now, self.moment());
        let process = &mut self.processes[at];
        match what {
            What::Tick(wake_at) if process.wake_at == Some(wake_at) => {
                process.wake_at = None;
                process.desk.tick(now);
            }
            What::Tick(_) => return Ok(()),
            What::Reply { call, attempt, reply } => {
                process.came(call, attempt);
                match reply {
                    Ok(answers) => process.desk.answered(now, call, attempt, answers),
                    Err(failure) => process.desk.failed(now, call, attempt, failure),
                }
            }
            What::Read(key, bytes) => {
                let entry = bytes.and_then(|bytes| Entry::decode(&key, &bytes, moment));
                entry.iter().for_each(|entry| process.says(Tier::Shared, &key, entry.fetched_at));
                process.desk.shared(now, &key, entry);
            }
            What::Lease(key, lease) => process.desk.lease(now, &key, lease),
            What::StoreFailed(key) => process.desk.shared_failed(now, &key),
        }
        self.act(at)
    }

    /// Carries out what the desk says, then looks at it.
    fn act(&mut self, at: usize) -> Result<(), String> {
        let now = self.now;
        let mut text = String::new();
        while let Some(action) = self.processes[at].desk.next_action() {
            text.clear();
            write!(text, "{now} {at} {action:?}").expect("a string takes all");
            self.trace = xxh3_64_with_seed(text.as_bytes(), self.trace);
            let life = self.processes[at].life;
            match action {
                Action::Settle { ask, outcome, origin } => self.settle(at, ask, outcome, origin, false)?,
                Action::Call { call, attempt, keys, give_up_at } => {
                    let bulk = self.weather.desk.bulk;
                    self.processes[at].called(now, call, attempt, &keys, give_up_at, bulk)?;
                    keys.iter().for_each(|key| *self.calls.entry(key.clone()).or_default() += 1);
                    for (after, reply) in source::replies(&mut self.chance, &self.weather, now, &keys) {
                        let what = What::Reply { call, attempt, reply };
                        self.push(now + after, Event::To { process: at, life, what });
                    }
                }
                Action::Drop { call } => {
                    self.tally.given_up += 1;
                    self.processes[at].open.remove(&call);
                }
                Action::Remember { key, entry } => {
                    self.processes[at].says(Tier::Local, &key, entry.fetched_at);
                    self.processes[at].cache.put(now, &key, &entry);
                }
                Action::ReadShared { keys } => keys.into_iter().for_each(|key| self.send(at, Op::Read(key))),
                Action::WriteShared { key, entry } => {
                    let mut bytes = Vec::new();
                    entry.encode(&key, self.moment(), &mut bytes);
                    self.send(at, Op::Write(key, bytes));
                }
                Action::Lease { key, for_us } => self.send(at, Op::Lease(key, for_us)),
                Action::Release { key } => self.send(at, Op::Release(key)),
                Action::WakeAt(wake_at) => {
                    self.processes[at].wake_at = Some(wake_at);
                    let late = self.chance.below(self.weather.lag_us);
                    self.push(wake_at.max(now) + late, Event::To { process: at, life, what: What::Tick(wake_at) });
                }
            }
        }
        self.look_at(at)
    }

    /// To the store and back: each way takes its time, and may be the one on which it fails.
    fn send(&mut self, process: usize, op: Op) {
        let after = self.chance.between(self.weather.store_us);
        let life = self.processes[process].life;
        self.push(self.now + after, Event::Store { process, life, op });
    }

    fn store(&mut self, process: usize, life: u64, op: Op) {
        let (now, weather) = (self.now, self.weather);
        let fails = self.chance.percent(weather.store_fail_percent);
        let loses = self.chance.percent(weather.store_lose_percent);
        // Something that failed may have happened all the same, or its answer may be lost.
        let happens = !fails || self.chance.percent(50);
        let what = match op {
            Op::Read(key) if fails => What::StoreFailed(key),
            Op::Read(key) => {
                let found = self.store.read(now, weather.store_lag_us, &key);
                What::Read(key, found)
            }
            Op::Write(key, bytes) => {
                if happens && !loses {
                    self.store.write(now, key.clone(), bytes);
                }
                if !fails {
                    return;
                }
                What::StoreFailed(key)
            }
            Op::Lease(key, for_us) => {
                let granted = happens && self.store.lease(now, key.clone(), life, for_us);
                match fails {
                    true => What::StoreFailed(key),
                    false => What::Lease(key, if granted { Lease::Granted } else { Lease::Taken }),
                }
            }
            Op::Release(key) => return self.store.release(&key, life),
        };
        if !(loses && fails) {
            let after = self.chance.between(weather.store_us);
            self.push(now + after, Event::To { process, life, what });
        }
    }

    /// IMPORTANT: what an ask must be: settled once, in time, by its own process, with its own key's value, and said to come
    /// from where it came from.
    fn settle(
        &mut self,
        process: usize,
        id: AskId,
        outcome: Outcome,
        origin: Option<Origin>,
        from_cache: bool,
    ) -> Result<(), String> {
        let now = self.now;
        let life = self.processes[process].life;
        let opened = self.processes[process].desk.counters().opened;
        let Some(asked) = self.asks.get_mut(&id) else { return Err(format!("{id:?} was never asked")) };
        let rule = |holds: bool, what: &str| match holds {
            true => Ok(()),
            false => Err(format!("{id:?}: {what}: {outcome:?}")),
        };
        rule(asked.process == process && asked.life == Some(life), "another's ask is settled")?;
        rule(asked.settled.is_none(), "it is settled twice")?;
        rule(!asked.cancelled, "it was cancelled, and is settled")?;
        rule(now <= asked.deadline + self.weather.lag_us, "it is settled late")?;
        match &outcome {
            Outcome::Ok(value) | Outcome::Stale(value, _) => {
                let Some((key, at)) = source::origin(value) else { return Err("no value at all".into()) };
                rule(*key == *asked.key, "another key's value")?;
                rule(origin.is_some_and(|origin| origin.fetched_at <= at as i64), "told to be younger than it is")?;
                let ttls = self.weather.desk.ttls;
                let end = at + ttls.hit + ttls.hit / 10 + ttls.max_stale;
                rule(!matches!(outcome, Outcome::Stale(..)) || now <= end, "too old a value")?;
                rule(now < asked.deadline || matches!(outcome, Outcome::Stale(..)) || from_cache, "a late answer")?;
            }
            Outcome::Timeout | Outcome::Miss => {}
            Outcome::Open => rule(opened > 0, "open, and the breaker never was")?,
            Outcome::Error(Code::Overloaded) => rule(self.weather.desk.asks_max < 100, "there was room")?,
            Outcome::Error(_) => {}
        }
        match (&outcome, origin) {
            (Outcome::Timeout | Outcome::Open, origin) => rule(origin.is_none(), "nobody said so")?,
            (Outcome::Error(_), None) => {}
            (_, None) => rule(false, "it comes from nowhere")?,
            (_, Some(origin)) => {
                rule(self.processes[process].heard(&asked.key, origin), &format!("nobody said that: {origin:?}"))?;
            }
        }
        asked.settled = Some((now, outcome));
        Ok(())
    }

    fn look_at(&self, at: usize) -> Result<(), String> {
        let process = &self.processes[at];
        let counters = process.desk.counters();
        if counters.in_flight != process.open.len() {
            return Err(format!("{} permits are taken for {} open calls", counters.in_flight, process.open.len()));
        }
        if counters.in_flight > self.weather.desk.in_flight_max {
            return Err(format!("{} calls at once", counters.in_flight));
        }
        if counters.asked != counters.settled.sum() + counters.cancelled + counters.waiting as u64 {
            return Err(format!("asks do not add up: {counters:?}"));
        }
        let waits = |asked: &&Asked| asked.life == Some(process.life) && !asked.cancelled && asked.settled.is_none();
        match self.asks.values().filter(waits).find(|asked| !process.desk.is_on_its_way(&asked.key)) {
            Some(asked) => Err(format!("somebody waits for {:?}, and it is not on its way", asked.key)),
            None => Ok(()),
        }
    }

    /// Nothing more will happen: then nothing is left.
    fn is_quiet(&mut self) -> Result<(), String> {
        for (at, process) in self.processes.iter().enumerate() {
            if !process.desk.is_idle() {
                return Err(format!("process {at} is not idle in the end: {:?}", process.desk.counters()));
            }
        }
        for (id, asked) in &self.asks {
            let lives = asked.life == Some(self.processes[asked.process].life);
            if lives && !asked.cancelled && asked.settled.is_none() {
                return Err(format!("{id:?} is never settled"));
            }
        }
        let calm = self.weather.kills == 0 && self.weather.desk.ttls.hit >= 10_000_000 && self.weather.processes == 2;
        match self.calls.iter().find(|(_, calls)| calm && **calls != 1) {
            Some((key, calls)) => Err(format!("{calls} calls for {key:?} although nothing went wrong")),
            None => Ok(()),
        }
    }
}
