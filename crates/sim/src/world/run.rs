//! The world at work: who has the next turn, what happens to them, and whether the laws held.
//!
//! * [`traffic`]: clients, the network and the doors; [`deciding`]: the log
//! * [`life`]: processes; [`disaster`]: what comes over them; [`judgement`]: what the oracle says

mod deciding;
mod disaster;
mod judgement;
mod life;
mod traffic;

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
            source: SimSource::new(seed ^ 0x736f_7572),
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
