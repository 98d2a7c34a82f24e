//! The world at work: who has the next turn, what happens to them, and whether the laws held.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use event::topic::ENRICHED;
use event::{BlockBuilder, Micros};
use log::journal::{Drive, Health, Journal, JournalConfig, MinFree};
use log::{Commit, Log, Outcome};
use ouzel_gen::Rng;
use seam::{Clock as _, Fs};
use stage::hold::Held;
use state::Snapshots;

use super::broker::{Broker, Fate, Shape};
use super::client::{Body, Client, Door, Request};
use super::machine::{Machine, Reached, StageState, index};
use super::oracle::{Oracle, Straight, groups};
use super::process::{Process, Setting, Step, Which, data_dir, session_stage};
use super::scenario::{Disaster, Scenario};
use super::source::Mood;
use super::{SimClock, SimRng, SimSource, Trace};
use crate::fs::{Loss, LossyFs};
use crate::laws::{self, Violation};
use crate::ledger::Answer;

const MS: Duration = Duration::from_millis(1);
/// A client waits so long for an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(1000);
/// A coordinator waits so long for a member.
const SESSION_TIMEOUT: Duration = Duration::from_millis(2000);
/// A commit that takes longer is called slow.
const SLOW_COMMIT: Duration = Duration::from_millis(20);
/// A stage that is idle looks again after so long, whatever happens.
const IDLE_LOOK: Duration = Duration::from_millis(100);
/// Everything must be caught up so long after the last event.
const QUIET_WITHIN: Duration = Duration::from_secs(300);
/// Every session is over by itself after so long: the longest gap, what a clock may be off, and twice the longest that an
/// idle input keeps its peace.
const OVER_WITHIN: Duration = Duration::from_secs(170);
/// Steps after which a run is given up: some hundred times what one needs.
const STEPS_MAX: u64 = 3_000_000;
/// It is a Friday in November 2026.
const BEGINNING: Micros = Micros(1_795_780_800_000_000);

/// What came of a run.
pub struct Report {
    pub seed: u64,
    pub hash: u64,
    pub events: usize,
    pub partitions: u32,
    pub crashes: u64,
    pub steps: u64,
    /// Simulated.
    pub lasted: Duration,
    pub violations: Vec<Violation>,
    pub trace: Trace,
    /// What is stored at the end, if somebody has the log.
    pub log: Option<Broker>,
}

enum Event {
    /// A client sends its next batch, or the last one again.
    Send(usize),
    Arrive {
        client: usize,
        attempt: u64,
        body: Body,
    },
    Answered {
        client: usize,
        attempt: u64,
        answer: Option<Answer>,
    },
    Timeout {
        client: usize,
        attempt: u64,
    },
    /// The log decides a commit.
    Decide {
        epoch: u64,
    },
    Turn {
        machine: usize,
        which: Which,
        epoch: u64,
    },
    Start {
        machine: usize,
    },
    /// A coordinator's patience with a member ends.
    Expel {
        machine: usize,
        epoch: u64,
    },
    Readmit {
        machine: usize,
        epoch: u64,
    },
    /// A certain one, or any that may come.
    Disaster(Option<Disaster>),
    Heal(Heal),
    /// Retention, and files beside sealed segments.
    Maintain,
    Doors,
    /// Is all quiet?
    Look,
}

#[derive(Clone, Copy)]
enum Heal {
    Disk,
    Source,
    Store,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Clients send, and everything may happen.
    Storm,
    /// Nothing more happens but what must.
    Calm,
    /// All is quiet, and time passes until every session is over by itself.
    Waiting,
    /// All sessions were ended.
    Closing,
    Over,
}

/// A process that is killed at a point ends with this.
struct Killed;

#[derive(Default)]
struct Points {
    passed: BTreeMap<&'static str, u64>,
    /// Killed at the so many-th passing from now.
    kill_in: Option<u64>,
    /// Killed the next time this one is passed.
    kill_at: Option<&'static str>,
    killed_at: Option<&'static str>,
}

/// A seeded world.
pub struct World {
    scenario: Scenario,
    clock: Arc<SimClock>,
    rng: Rng,
    trace: Trace,
    queue: BTreeMap<(Duration, u64), Event>,
    number: u64,
    broker: Option<Broker>,
    journal: Option<Arc<Journal>>,
    /// The log's life: commits of an earlier one are gone.
    epoch: u64,
    /// Decisions that are in the queue, and when the last of them comes.
    deciding: (usize, Duration),
    /// What the log lies on: the machine's own disk, or the broker's, to which nothing happens.
    log_disk: LossyFs,
    /// Where snapshots lie when it is not the machine's own disk.
    cloud: LossyFs,
    store_fails: Arc<AtomicBool>,
    machines: Vec<Machine>,
    clients: Vec<Client>,
    requests: Vec<Request>,
    doors_up: bool,
    source: SimSource,
    points: Rc<RefCell<Points>>,
    oracle: Oracle,
    violations: Vec<Violation>,
    crashes: u64,
    steps: u64,
    phase: Phase,
    /// Until then somebody may believe that he has a partition that is another's.
    unsettled_until: Duration,
    /// Since when it is not quiet although it should be.
    calm_since: Duration,
}

impl World {
    /// `trace`: whether lines are kept decides whether the story can be read.
    pub fn new(scenario: Scenario, trace: Trace) -> World {
        let clock = SimClock::new(BEGINNING);
        let seed = scenario.seed;
        let count = scenario.clients.len();
        let client = |(n, config): (usize, &crate::ledger::ProducerConfig)| {
            Client::new(config.clone(), scenario.events / count + usize::from(n < scenario.events % count))
                .expect("a generator of few people")
        };
        World {
            clients: scenario.clients.iter().enumerate().map(client).collect(),
            rng: Rng::new(seed),
            source: SimSource::new(clock.clone(), seed ^ 0x736f_7572),
            clock,
            trace,
            queue: BTreeMap::new(),
            number: 0,
            broker: None,
            journal: None,
            epoch: 0,
            deciding: (0, Duration::ZERO),
            log_disk: LossyFs::new(),
            cloud: LossyFs::new(),
            store_fails: Arc::default(),
            machines: Vec::new(),
            requests: Vec::new(),
            doors_up: true,
            points: Rc::default(),
            oracle: Oracle::default(),
            violations: Vec::new(),
            crashes: 0,
            steps: 0,
            phase: Phase::Storm,
            unsettled_until: Duration::ZERO,
            calm_since: Duration::ZERO,
            scenario,
        }
    }

    /// Lets it run to its end.
    pub fn run(mut self) -> Report {
        let points = self.points.clone();
        let is_kafka = !self.is_embedded();
        let _hook = seam::fault::on_point(Some(Box::new(move |name| {
            let mut points = points.borrow_mut();
            *points.passed.entry(name).or_insert(0) += 1;
            // Behind a broker the log is somebody else's.
            if is_kafka && name.starts_with("journal.") {
                return;
            }
            let mut is_last = points.kill_at == Some(name);
            if let Some(left) = &mut points.kill_in {
                *left -= 1;
                is_last |= *left == 0;
            }
            if is_last {
                (points.kill_in, points.kill_at) = (None, None);
                points.killed_at = Some(name);
                drop(points);
                // Nobody's hook reports it: it is no bug.
                resume_unwind(Box::new(Killed));
            }
        })));
        super::silence::here();
        self.begin();
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if self.phase == Phase::Over {
                break;
            }
            let now = self.clock.elapsed();
            if at > now {
                self.clock.advance(at - now);
            }
            self.steps += 1;
            if self.steps > STEPS_MAX {
                self.found(laws::conduct("it does not come to an end".to_owned(), "who is busy for nothing"));
                break;
            }
            self.happen(event);
            self.notice_power();
            self.plan_decisions();
        }
        for (name, count) in &self.points.borrow().passed {
            (0..*count.min(&1)).for_each(|_| self.trace.fired(name));
        }
        Report {
            seed: self.scenario.seed,
            hash: self.trace.hash(),
            events: self.oracle.ledger.intents.len(),
            partitions: self.scenario.partitions,
            crashes: self.crashes,
            steps: self.steps,
            lasted: self.clock.elapsed(),
            violations: self.violations,
            trace: self.trace,
            log: self.broker,
        }
    }

    fn begin(&mut self) {
        self.source.set(self.scenario.mood);
        if self.scenario.shape == Shape::Kafka {
            self.log_disk.create_dir_all(data_dir()).expect("an empty disk");
            self.cloud.create_dir_all(data_dir()).expect("an empty disk");
            self.open_log().expect("an empty disk");
        }
        for _ in 0..self.scenario.processes {
            self.add_machine();
        }
        for client in 0..self.clients.len() {
            let after = self.between(1, 300);
            self.plan(after, Event::Send(client));
        }
        if !self.scenario.disasters.is_empty() {
            self.plan_disaster();
        }
        for (after, disaster) in self.scenario.script.clone() {
            self.plan(after, Event::Disaster(Some(disaster)));
        }
        self.plan(MS * 1000, Event::Maintain);
        self.plan(MS * 500, Event::Look);
    }

    fn add_machine(&mut self) {
        let machine = Machine::new(self.machines.len(), LossyFs::new());
        machine.disk.create_dir_all(data_dir()).expect("an empty disk");
        machine.disk.sync_dir(std::path::Path::new("/")).expect("an empty disk");
        self.machines.push(machine);
        let machine = self.machines.len() - 1;
        self.machines[machine].starting = true;
        self.plan(MS, Event::Start { machine });
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Send(client) => self.send(client),
            Event::Arrive { client, attempt, body } => self.arrive(client, attempt, body),
            Event::Answered { client, attempt, answer } => self.answered(client, attempt, answer),
            Event::Timeout { client, attempt } => {
                if self.clients[client].attempt == attempt && self.clients[client].producer.has_pending() {
                    self.note(&format!("client-{client}"), format_args!("waited long enough, and sends again"));
                    self.send(client);
                }
            }
            Event::Decide { epoch } => self.decide(epoch),
            Event::Turn { machine, which, epoch } => self.turn(machine, which, epoch),
            Event::Start { machine } => self.start(machine),
            Event::Expel { machine, epoch } => self.expel(machine, epoch),
            Event::Readmit { machine, epoch } => self.readmit(machine, epoch),
            Event::Disaster(Some(disaster)) => {
                if self.phase == Phase::Storm {
                    self.strike(disaster);
                }
            }
            Event::Disaster(None) => {
                if self.phase == Phase::Storm {
                    let all = &self.scenario.disasters;
                    let disaster = all[self.rng.below(all.len() as u64) as usize];
                    self.strike(disaster);
                    self.plan_disaster();
                }
            }
            Event::Heal(what) => self.heal(what),
            Event::Maintain => {
                if let Some(journal) = self.journal.clone()
                    && let Err(end) = guarded(|| journal.maintain())
                {
                    self.ended(0, end);
                }
                self.plan(MS * 1000, Event::Maintain);
            }
            Event::Doors => {
                self.doors_up = true;
                self.note("doors", format_args!("are open again"));
            }
            Event::Look => self.look(),
        }
    }

    // ----- time, chance and the story -----

    fn plan(&mut self, after: Duration, event: Event) -> (Duration, u64) {
        self.number += 1;
        let at = (self.clock.elapsed() + after, self.number);
        self.queue.insert(at, event);
        at
    }

    fn plan_disaster(&mut self) {
        let calm = self.scenario.calm.as_millis() as u64;
        let after = self.between(calm / 4, calm * 7 / 4);
        self.plan(after, Event::Disaster(None));
    }

    /// A duration in `from..to` milliseconds.
    fn between(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(self.rng.between(from * 1000, to.max(from + 1) * 1000))
    }

    /// A number from 1 to `2^doublings`, each doubling as likely as any other.
    fn soon(&mut self, doublings: u64) -> u64 {
        let from = 1 << self.rng.below(doublings);
        self.rng.between(from, 2 * from)
    }

    fn note(&mut self, who: &str, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.clock.elapsed(), who, what);
    }

    fn fault(&mut self, who: &str, name: &'static str, what: std::fmt::Arguments<'_>) {
        self.trace.fault(self.clock.elapsed(), who, name, what);
    }

    fn found(&mut self, violation: Violation) {
        self.fault("oracle", "violation", format_args!("{violation}"));
        self.violations.push(violation);
        self.phase = Phase::Over;
    }

    fn is_embedded(&self) -> bool {
        self.scenario.shape == Shape::Embedded
    }

    // ----- clients, network, doors -----

    fn send(&mut self, client: usize) {
        if self.clients[client].is_done() {
            return;
        }
        let who = format!("client-{client}");
        let n = self.rng.between(4, 30) as usize;
        let n = n.min(self.clients[client].left.max(1));
        let now = self.clock.now();
        let body = self.clients[client].body(n, now).expect("in memory");
        let attempt = self.clients[client].attempt;
        let network = self.scenario.network;
        self.note(&who, format_args!("sends {} bytes, attempt {attempt}", body.bytes.len()));
        self.plan(CLIENT_TIMEOUT, Event::Timeout { client, attempt });
        if self.rng.per_mille(network.request_lost) {
            return self.fault("network", "net.request_lost", format_args!("loses a request of {who}"));
        }
        let after = self.latency();
        self.plan(after, Event::Arrive { client, attempt, body: body.clone() });
        if self.rng.per_mille(network.twice) {
            self.fault("network", "net.twice", format_args!("delivers a request of {who} twice"));
            // The ledger knows how often it was sent.
            let _ = self.clients[client].producer.next(n, now);
            let after = self.latency();
            self.plan(after, Event::Arrive { client, attempt, body });
        }
    }

    fn latency(&mut self) -> Duration {
        if self.rng.per_mille(self.scenario.network.slow) {
            self.trace.fired("net.slow");
            return self.between(200, 3000);
        }
        self.between(1, 30)
    }

    fn arrive(&mut self, client: usize, attempt: u64, body: Body) {
        let now = self.clock.elapsed();
        let embedded = self.is_embedded();
        if embedded && self.machines[0].is_up() && self.machines[0].paused_until > now {
            let after = self.machines[0].paused_until - now;
            self.plan(after, Event::Arrive { client, attempt, body });
            return;
        }
        let log = self.broker.clone().filter(|_| if embedded { self.machines[0].is_up() } else { self.doors_up });
        let Some(log) = log else {
            self.note("network", format_args!("nobody listens to client-{client}"));
            return self.answer(client, attempt, None);
        };
        let mut fresh = [0; 16];
        fresh[..8].copy_from_slice(&self.rng.next_u64().to_le_bytes());
        let now = self.clock.now();
        let taken = guarded(|| Door::new(Arc::new(log)).take(client, attempt, &body, now, u128::from_le_bytes(fresh)));
        match taken {
            Ok(request) => {
                let Answer { accepted, refused, .. } = &request.answer;
                self.note("door", format_args!("takes {accepted} events of client-{client}, refuses {refused}"));
                self.requests.push(request);
            }
            Err(End::Killed) if !embedded => self.doors_die(),
            Err(end) => self.ended(0, end),
        }
    }

    /// Answers those whose batches are decided.
    fn answer_decided(&mut self) {
        let mut n = 0;
        while n < self.requests.len() {
            let Some(outcome) = self.requests[n].ticket.try_take() else {
                n += 1;
                continue;
            };
            let request = self.requests.remove(n);
            let answer = matches!(outcome, Outcome::Committed(_)).then_some(request.answer);
            self.answer(request.client, request.attempt, answer);
        }
    }

    fn answer(&mut self, client: usize, attempt: u64, answer: Option<Answer>) {
        if self.rng.per_mille(self.scenario.network.answer_lost) {
            return self.fault("network", "net.answer_lost", format_args!("loses an answer to client-{client}"));
        }
        let after = self.latency();
        self.plan(after, Event::Answered { client, attempt, answer });
    }

    fn answered(&mut self, client: usize, attempt: u64, answer: Option<Answer>) {
        if self.clients[client].attempt != attempt || !self.clients[client].producer.has_pending() {
            return;
        }
        let who = format!("client-{client}");
        // Whatever it was, it is answered: an answer that comes later means nothing.
        self.clients[client].attempt += 1;
        let pause = match answer {
            Some(answer) => {
                self.note(&who, format_args!("is told {} accepted, {} refused", answer.accepted, answer.refused));
                let verdict = self.clients[client].producer.acknowledge(&answer).expect("in memory");
                if let Err(why) = verdict {
                    self.found(laws::conduct(format!("a wrong answer: {why}"), "the door"));
                }
                self.between(20, 500)
            }
            None => {
                self.note(&who, format_args!("is told to come again"));
                self.between(100, 600)
            }
        };
        self.plan(pause, Event::Send(client));
    }

    fn doors_die(&mut self) {
        self.fault("doors", "door.dies", format_args!("die, with {} requests not answered", self.requests.len()));
        self.requests.clear();
        self.doors_up = false;
        let after = self.between(50, 800);
        self.plan(after, Event::Doors);
    }

    // ----- the log -----

    fn open_log(&mut self) -> Result<(), String> {
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

    fn plan_decisions(&mut self) {
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

    fn decide(&mut self, epoch: u64) {
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

    fn decide_one(&mut self) {
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
    fn wake_stages(&mut self) {
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

    // ----- processes -----

    fn start(&mut self, n: usize) {
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

    fn try_start(&mut self, n: usize) -> Result<(), String> {
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

    fn plan_turn(&mut self, machine: usize, which: Which, after: Duration) {
        if let Some(before) = self.machines[machine].next[index(which)].take() {
            self.queue.remove(&before);
        }
        let epoch = self.machines[machine].epoch;
        let at = self.plan(after, Event::Turn { machine, which, epoch });
        self.machines[machine].next[index(which)] = Some(at);
        self.machines[machine].state[index(which)] = StageState::Runs;
    }

    fn turn(&mut self, n: usize, which: Which, epoch: u64) {
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
    fn step(&mut self, n: usize, which: Which, reading: bool) {
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
    fn stopped(&mut self, n: usize, which: Which, why: &str) {
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
    fn has_failed_read(&mut self, n: usize) -> bool {
        let failed = self.machines[n].disk.failed_reads();
        let news = std::mem::replace(&mut self.machines[n].failed_reads, failed) != failed;
        if news {
            let who = self.machines[n].name.clone();
            self.fault(&who, "disk.read_fails", format_args!("could not read, and is started again"));
        }
        news
    }

    /// It passed a point at which it was to be killed, or panicked where it must not.
    fn ended(&mut self, n: usize, end: End) {
        if let End::Panicked(text) = end {
            return self.found(laws::conduct(format!("a panic: {text}"), "whose it is: the panic's place was printed"));
        }
        let at = self.points.borrow_mut().killed_at.take().unwrap_or("an unknown point");
        let who = self.machines[n].name.clone();
        self.fault(&who, "kill.at_point", format_args!("is killed at {at}"));
        self.die(n, Loss::Nothing);
    }

    /// The disk says that the power is gone.
    fn notice_power(&mut self) {
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
    fn die(&mut self, n: usize, loss: Loss) {
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

    fn drop_log(&mut self) {
        self.epoch += 1;
        self.broker = None;
        self.journal = None;
        self.deciding = (0, Duration::ZERO);
    }

    fn expel(&mut self, n: usize, epoch: u64) {
        if self.machines[n].epoch != epoch {
            return;
        }
        let Some(broker) = self.broker.clone() else { return };
        let who = self.machines[n].name.clone();
        self.fault("log", "group.expelled", format_args!("gives up waiting for {who}"));
        self.machines[n].members.iter().for_each(|(member, ..)| broker.expel(*member));
    }

    fn readmit(&mut self, n: usize, epoch: u64) {
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

    // ----- disasters -----

    /// Lets a disaster happen now, if it can.
    fn strike(&mut self, disaster: Disaster) {
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

    fn pause(&mut self, n: usize, by: Duration) {
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
    fn jump(&mut self, by: i64) {
        self.clock.jump(by * 1000);
        self.fault("clock", "clock.jumps", format_args!("jumps by {by} ms"));
    }

    fn heal(&mut self, what: Heal) {
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
    fn rot(&mut self, n: usize) {
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
    fn rot_newest(&mut self, n: usize, below: &str) {
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
    fn restart(&mut self, n: usize) {
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
    fn drain(&mut self, n: usize, which: Which, reading: bool, wanted: impl Fn(&Step) -> bool) -> bool {
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
    fn savepoint(&mut self, n: usize) {
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

    // ----- judgement -----

    fn take_books(&mut self) {
        for client in &mut self.clients {
            self.oracle.ledger.take(&mut client.producer).expect("in memory");
        }
    }

    /// Reads what is stored and judges it.
    fn check(&mut self, quiet: bool) {
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
    fn states(&self) -> Vec<(u32, Vec<u8>)> {
        let mut all = Vec::new();
        for process in self.machines.iter().filter_map(|m| m.process.as_ref()) {
            for p in 0..self.scenario.partitions {
                all.extend(process.parts.look(p, |driver| driver.state().canonical()).map(|state| (p, state)));
            }
        }
        all
    }

    /// Ends the storm when everybody has sent everything, and the run when all is quiet.
    fn look(&mut self) {
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

    fn calm(&mut self) {
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

    fn close(&mut self) {
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
    fn is_settled(&self) -> bool {
        self.machines.iter().all(Machine::is_up) && self.clock.elapsed() > self.unsettled_until
    }

    fn is_quiet(&self) -> bool {
        self.requests.is_empty() && self.broker.as_ref().is_some_and(|b| b.pending() == 0) && self.lags().is_empty()
    }

    /// What is not read yet, in words.
    fn lags(&self) -> String {
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

/// Why something did not come to its end.
enum End {
    Killed,
    /// A bug, with its text.
    Panicked(String),
}

/// Runs what may be killed at a point, or panic.
fn guarded<T>(what: impl FnOnce() -> T) -> Result<T, End> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => End::Panicked(*text),
        Err(payload) if payload.is::<Killed>() => End::Killed,
        Err(payload) => End::Panicked(payload.downcast_ref::<&str>().copied().unwrap_or("without a word").to_owned()),
    })
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
