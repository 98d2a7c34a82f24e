//! The kill loop: a program is started, driven as fast as it answers, killed at a moment nobody chose or at a point it
//! was told to die at, started again, and judged by the laws, over and over on the same data directory. With
//! [`KillLoopConfig::power_loss`] what it had not synced is gone too.
//!
//! * [`process`]: the program in a process of its own
//! * [`load`]: the senders
//! * [`reader`]: reads the topics and watches that what was shown stays as it was
//! * [`aim`]: when to kill
//! * [`close`]: the end, when every session is over
//! * [`report`]: what came of it
//!
//! A cycle counts when at least [`KillLoopConfig::min_acks`] events were acknowledged before the kill, at
//! [`KillLoopConfig::min_rate`] or more: a program that does little is not tried by being killed.

#![allow(clippy::disallowed_methods)] // the harness stands in the real world, outside the one it tests

pub mod aim;
pub mod close;
pub mod load;
pub mod process;
pub mod reader;
pub mod report;

use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ouzel_gen::Rng;

use crate::laws::sessions::SessionRules;
use crate::laws::{self, Sums, Violation, World, conduct};
use crate::ledger::{Ledger, Producer, ProducerConfig};
use crate::model::Model;
use crate::outputs::{ALL_TOPICS, Outputs, TOPICS};
use crate::platter::Platter;
use aim::{Aim, Aims};
use load::{Meter, Sent};
use process::{Down, Program, Running, down};
use reader::{ReadError, Reader};
pub use report::Report;

#[derive(Clone, Debug)]
pub struct KillLoopConfig {
    /// Started as `BINARY run --data DIR --listen ADDR ARGS`; for named points and planted bugs built with the feature
    /// `faults`.
    pub binary: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// An empty directory for the data, the ledger and what the program prints.
    pub dir: PathBuf,
    /// How many cycles must count.
    pub cycles: u32,
    pub seed: u64,
    /// Points of `seam::fault::POINTS` to die at, each at least once; after that, moments and points by chance.
    pub points: Vec<String>,
    pub connections: u64,
    /// Acknowledged events before a kill that counts.
    pub min_acks: u64,
    /// Acknowledged events a second.
    pub min_rate: f64,
    /// Each kill is a power loss: the data directory is put back to what had been synced.
    pub power_loss: bool,
    /// Whether `/metrics` must show both sums and they must hold when things are quiet.
    pub sums: bool,
    /// What `args` say of sessions, if they are to be judged. Gap and lateness are to be seconds, so that sessions end
    /// within the loop, and idleness less than that.
    pub sessions: Option<SessionRules>,
}

impl KillLoopConfig {
    pub fn new(binary: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> KillLoopConfig {
        KillLoopConfig {
            binary: binary.into(),
            args: Vec::new(),
            env: Vec::new(),
            dir: dir.into(),
            cycles: 10,
            seed: 1,
            points: Vec::new(),
            connections: 2,
            min_acks: 1_000,
            min_rate: 5_000.0,
            power_loss: false,
            sums: true,
            sessions: None,
        }
    }
}

/// Runs the loop until enough cycles counted, a law is broken, or it is clear that the program is too slow. An error is
/// the harness's own (disk, permissions, no compiler), never the program's.
pub fn kill_loop(config: KillLoopConfig) -> io::Result<Report> {
    let mut storm = Storm::new(config)?;
    match storm.run() {
        Ok(()) => {}
        Err(Stop::Broken(violations)) => storm.report.violations.extend(violations),
        Err(Stop::Harness(e)) => return Err(e),
    }
    storm.report.points_missed = storm.aims.missed();
    Ok(storm.report)
}

/// Runs the loop with a bug planted; it must break a law within `budget` cycles. Gives the report in either case:
/// [`Report::is_clean`] then says that the bug was *not* found.
pub fn find_planted(bug: seam::fault::Bug, budget: u32, mut config: KillLoopConfig) -> io::Result<Report> {
    config.env.push(("OUZEL_PLANT".to_owned(), bug.name().to_owned()));
    config.cycles = budget;
    if config.points.is_empty() {
        // Around the write of a frame is where most bugs of a log show; chance alone is seldom there.
        config.points = FRAME_POINTS.map(str::to_owned).to_vec();
    }
    kill_loop(config)
}

const FRAME_POINTS: [&str; 4] =
    ["journal.frame.before_write", "journal.frame.half_written", "journal.frame.written", "journal.published"];

enum Stop {
    Broken(Vec<Violation>),
    Harness(io::Error),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Stop {
        Stop::Harness(e)
    }
}

fn broken<T>(what: String, look_at: &'static str) -> Result<T, Stop> {
    Err(Stop::Broken(vec![conduct(what, look_at)]))
}

/// Whether the program is still there.
enum Life {
    Alive,
    /// It died at the point it was told to die at.
    Died,
}

struct Slot {
    producer: Producer,
    /// Sends a batch whose answer was lost until it has one; the others may go away for good.
    honest: bool,
}

struct Storm {
    config: KillLoopConfig,
    program: Program,
    platter: Option<Platter>,
    slots: Vec<Slot>,
    producers_made: u64,
    ledger: Ledger,
    outputs: Outputs,
    model: Model,
    aims: Aims,
    rng: Rng,
    report: Report,
}

/// Longer without any progress is no catching up.
const STUCK: Duration = Duration::from_secs(10);
/// What is stored twice comes soon after what is stored once.
const SETTLED: Duration = Duration::from_millis(30);
/// A storm that was not ended by a point by then is ended by a kill.
const STORM_MAX: Duration = Duration::from_secs(20);
const POINT_ACKS_MAX: u64 = 30_000;

impl Storm {
    fn new(config: KillLoopConfig) -> io::Result<Storm> {
        let (data, ledger_dir) = (config.dir.join("data"), config.dir.join("ledger"));
        process::make_dir(&data)?;
        process::make_dir(&ledger_dir)?;
        let platter = config.power_loss.then(|| Platter::begin(&data, &config.dir.join("platter"))).transpose()?;
        let mut env = config.env.clone();
        env.extend(platter.iter().flat_map(Platter::env));
        let program = Program {
            binary: config.binary.clone(),
            args: config.args.clone(),
            env,
            data,
            log: config.dir.join("printed.log"),
        };
        let mut storm = Storm {
            program,
            platter,
            slots: Vec::new(),
            producers_made: 0,
            ledger: Ledger::open(&ledger_dir)?,
            outputs: Outputs::default(),
            model: Model::default(),
            aims: Aims::new(&config.points, config.min_acks),
            rng: Rng::new(config.seed),
            report: Report::default(),
            config,
        };
        for n in 0..storm.config.connections {
            let producer = storm.new_producer()?;
            storm.slots.push(Slot { producer, honest: n % 2 == 0 });
        }
        Ok(storm)
    }

    fn topics(&self) -> &'static [&'static str] {
        if self.config.sessions.is_some() { &ALL_TOPICS } else { &TOPICS }
    }

    fn world(&self) -> World<'_> {
        let Storm { ledger, outputs, model, config, .. } = self;
        World { ledger, outputs, model, sessions: config.sessions }
    }

    fn new_producer(&mut self) -> io::Result<Producer> {
        self.producers_made += 1;
        let seed = ouzel_gen::rng::mix2(self.config.seed, self.producers_made);
        Producer::create(&self.config.dir.join("ledger"), ProducerConfig::new(seed))
    }

    fn run(&mut self) -> Result<(), Stop> {
        let starts_max = self.config.cycles * 3 + self.config.points.len() as u32 * 10 + 20;
        while self.report.cycles < self.config.cycles || self.aims.is_open() {
            if self.report.starts >= starts_max {
                self.report.gave_up = true;
                break;
            }
            self.cycle()?;
        }
        self.finish()
    }

    /// One life of the program: start, catch up, be judged, be driven, die.
    fn cycle(&mut self) -> Result<(), Stop> {
        if self.rng.below(8) == 0 {
            self.kill_in_start()?;
        }
        let mut aim = self.aims.next(&mut self.rng);
        let Some(mut running) = self.start(&aim)? else {
            self.aims.died_early(&aim);
            return Ok(());
        };
        if let Life::Died = self.settle(&mut running)? {
            self.died_at_point(&aim)?;
            self.aims.died_early(&aim);
            return Ok(());
        }
        let driven = self.drive(&mut running, &mut aim)?;
        let counts = driven.acks >= self.config.min_acks && driven.rate >= self.config.min_rate;
        if driven.by_itself {
            self.died_at_point(&aim)?;
            if counts {
                self.aims.hit(&aim);
            } else if driven.acks < self.config.min_acks {
                self.aims.died_early(&aim);
            }
        } else {
            self.aims.outlived(&aim);
            self.cut_power()?;
        }
        self.report.storm(driven.acks, driven.rate, counts);
        Ok(())
    }

    /// Kills the program while it starts, at a moment by chance.
    fn kill_in_start(&mut self) -> Result<(), Stop> {
        let after = Duration::from_micros(self.rng.below(40_000));
        self.report.starts += 1;
        match self.program.start_and_kill(after) {
            Ok(None) => {}
            Ok(Some(status)) => {
                let what = format!("ended by itself in its start ({status}); printed:\n{}", self.program.printed());
                return broken(what, "what it printed");
            }
            Err(e) => return Err(Stop::Harness(e)),
        }
        self.cut_power()
    }

    /// `None`: it died at its point before it was ready.
    fn start(&mut self, aim: &Aim) -> Result<Option<Running>, Stop> {
        self.report.starts += 1;
        match self.program.start(&aim.env()) {
            Ok(running) => Ok(Some(running)),
            Err(Down::Point) if aim.point().is_some() => {
                self.died_at_point(aim)?;
                Ok(None)
            }
            Err(Down::Io(e)) => Err(Stop::Harness(e)),
            Err(other) => {
                let what = format!("it does not start ({other:?}); printed:\n{}", self.program.printed());
                broken(what, "what it printed")
            }
        }
    }

    fn died_at_point(&mut self, aim: &Aim) -> Result<(), Stop> {
        if let Some(point) = aim.point() {
            self.report.fired(point);
        }
        self.cut_power()
    }

    fn cut_power(&mut self) -> Result<(), Stop> {
        match &mut self.platter {
            Some(platter) => platter.cut().map_err(Stop::Harness),
            None => Ok(()),
        }
    }

    /// Sends what is pending, waits until everything stored has been processed, and judges.
    fn settle(&mut self, running: &mut Running) -> Result<Life, Stop> {
        let meter = Meter::default();
        for n in 0..self.slots.len() {
            if !self.slots[n].producer.has_pending() {
                continue;
            }
            if !self.slots[n].honest && self.rng.below(2) == 0 {
                // It never comes back: whether its last batch is stored, nobody was told.
                self.slots[n].producer = self.new_producer()?;
                self.report.abandoned += 1;
                continue;
            }
            match load::send_pending(&mut self.slots[n].producer, running.addr, &meter)? {
                Sent::Stopped => {}
                Sent::Lost => return self.gone(running),
                Sent::Wrong(violation) => return Err(Stop::Broken(vec![violation])),
            }
        }
        let metrics = match self.catch_up(running) {
            Ok(metrics) => metrics,
            Err(ReadError::Unreachable(_)) => return self.gone(running),
            Err(ReadError::Wrong(violation)) => return Err(Stop::Broken(vec![violation])),
        };
        self.judge(metrics)?;
        Ok(Life::Alive)
    }

    /// Reads until everything in `raw` has become what the model says, or nothing moves any more. Gives the metrics of then.
    fn catch_up(&mut self, running: &Running) -> Result<Option<String>, ReadError> {
        let mut reader = Reader::new(running.addr, self.topics());
        reader.read_again(&self.outputs)?;
        let mut moved_at = Instant::now();
        loop {
            let news = reader.read_new(&mut self.outputs)?;
            self.model.extend(&self.outputs.raw);
            if news > 0 {
                moved_at = Instant::now();
                continue;
            }
            let dead = self.outputs.dlq.iter().filter(|(_, r)| r.source.is_some()).count();
            let done = self.outputs.enriched.len() >= self.model.enriched && dead >= self.model.conflicts;
            if moved_at.elapsed() > if done { SETTLED } else { STUCK } {
                break;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        if self.config.sessions.is_some() {
            self.sessions_catch_up(&mut reader)?;
        }
        if !self.config.sums {
            return Ok(None);
        }
        // Readers see a commit a moment before the stage that made it has counted it.
        let began = Instant::now();
        loop {
            let text = reader.metrics()?;
            let counted = Sums::of_metrics(&text).is_none_or(|s| s.in_flight == 0);
            if counted || began.elapsed() > STUCK {
                return Ok(Some(text));
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn judge(&mut self, metrics: Option<String>) -> Result<(), Stop> {
        self.ledger.refresh()?;
        self.report.judged += 1;
        self.report.records = self.outputs.raw.len();
        let world = self.world();
        let mut violations = laws::check(&world);
        violations.extend(metrics.into_iter().flat_map(|text| match Sums::of_metrics(&text) {
            Some(sums) => sums.check(&Sums::of_outputs(&world)),
            None => vec![conduct("/metrics does not show both sums".to_owned(), "the names in sim::laws::Sums")],
        }));
        if violations.is_empty() { Ok(()) } else { Err(Stop::Broken(violations)) }
    }

    /// The connection broke: either the program is dead at its point, or something is wrong with it.
    fn gone(&mut self, running: &mut Running) -> Result<Life, Stop> {
        let began = Instant::now();
        loop {
            match running.ended().map(down) {
                Some(Down::Point) => return Ok(Life::Died),
                Some(other) => {
                    let what = format!("it ended by itself ({other:?}); printed:\n{}", self.program.printed());
                    return broken(what, "what it printed");
                }
                None if began.elapsed() > Duration::from_secs(5) => {
                    return broken("it closed a connection and lives on".to_owned(), "the door's timeouts");
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Sends with all connections and reads beside them until the program is dead.
    fn drive(&mut self, running: &mut Running, aim: &mut Aim) -> Result<Driven, Stop> {
        let meter = Meter::default();
        let addr = running.addr;
        let aimed_at_point = aim.point().is_some();
        let kill_after = if aimed_at_point { POINT_ACKS_MAX } else { self.config.min_acks + self.rng.below(4_000) };
        let last_moment = Duration::from_micros(self.rng.below(6_000));
        let rngs: Vec<Rng> = (0..self.slots.len() as u64).map(|n| self.rng.fork(n)).collect();
        let topics = self.topics();
        let (slots, outputs, meter) = (&mut self.slots, &mut self.outputs, &meter);
        let (by_itself, acks, elapsed, sent, read) = std::thread::scope(|scope| {
            let senders: Vec<_> = slots
                .iter_mut()
                .zip(rngs)
                .map(|(slot, mut rng)| scope.spawn(move || load::send(&mut slot.producer, addr, &mut rng, meter)))
                .collect();
            let reader = scope.spawn(move || read_along(Reader::new(addr, topics), outputs, meter));
            let began = Instant::now();
            let mut status = None;
            loop {
                std::thread::sleep(Duration::from_millis(1));
                status = status.or(running.ended());
                let over = meter.acked_events.load(Relaxed) >= kill_after || began.elapsed() > STORM_MAX;
                if status.is_some() || over || senders.iter().all(|s| s.is_finished()) || reader.is_finished() {
                    break;
                }
            }
            if status.is_none() {
                std::thread::sleep(last_moment);
            }
            let (acks, elapsed) = (meter.acked_events.load(Relaxed), began.elapsed());
            let broke = status.is_none() && senders.iter().any(|s| s.is_finished());
            if broke {
                // The sockets of a dying process close before it can be waited for.
                std::thread::sleep(Duration::from_millis(50));
            }
            status = running.kill().or(status);
            meter.stop.store(true, Relaxed);
            let sent: Vec<_> = senders.into_iter().map(|s| s.join().expect("a sender panicked")).collect();
            (status, acks, elapsed, sent, reader.join().expect("the reader panicked"))
        });
        for sent in sent {
            if let Sent::Wrong(violation) = sent? {
                return Err(Stop::Broken(vec![violation]));
            }
        }
        if let Some(violation) = read {
            return Err(Stop::Broken(vec![violation]));
        }
        match by_itself.map(down) {
            None => {}
            Some(Down::Point) if aimed_at_point => {}
            Some(other) => {
                let what = format!("it ended by itself ({other:?}); printed:\n{}", self.program.printed());
                return broken(what, "what it printed");
            }
        }
        let rate = acks as f64 / elapsed.as_secs_f64().max(1e-6);
        Ok(Driven { by_itself: by_itself.is_some(), acks, rate })
    }

    /// After the last kill: once more everything from the beginning.
    fn finish(&mut self) -> Result<(), Stop> {
        let Some(mut running) = self.start(&Aim::Moment)? else { return Ok(()) };
        self.settle(&mut running)?;
        match Reader::new(running.addr, self.topics()).read_all_again(&self.outputs) {
            Ok(()) => {}
            Err(ReadError::Wrong(violation)) => return Err(Stop::Broken(vec![violation])),
            Err(ReadError::Unreachable(_)) => return self.gone(&mut running).map(|_| ()),
        }
        match self.config.sessions {
            Some(rules) => self.close_sessions(running, rules),
            None => Ok(()),
        }
    }
}

struct Driven {
    /// It was dead before it was killed.
    by_itself: bool,
    acks: u64,
    rate: f64,
}

/// Reads everything that comes while it comes: what a reader was shown once must be there for good.
fn read_along(mut reader: Reader, outputs: &mut Outputs, meter: &Meter) -> Option<Violation> {
    while !meter.stop.load(Relaxed) {
        match reader.read_new(outputs) {
            Ok(_) => std::thread::sleep(Duration::from_millis(20)),
            Err(ReadError::Unreachable(_)) => {
                // The senders judge whether it is dead.
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(ReadError::Wrong(violation)) => return Some(violation),
        }
    }
    None
}
