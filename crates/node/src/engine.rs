//! The running process: everything started in order, watched, and stopped in order.
//!
//! ```text
//! start:  log ─► sources ─► output ─► enrich ─► inputs ─► port
//! stop:   port, inputs ─► enrich has caught up ─► enrich ─► output ─► log
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use door::http::{self, Front, Limits, Server};
use door::input;
use enrich::Enrich;
use event::BlockBuilder;
use event::topic::{ENRICHED, RAW};
use flow::Punctuation;
use log::{Commit, Log, LogError, Outcome};
use lookup::{Links, LookupError};
use seam::{Clock, Fs, Net, RealClock, RealFs, RealNet, RealRng, Rng};
use stage::StageStatus;
use stage::facts::Sources;
use stage::lookahead::Lookahead;
use state::Store;
use wire::Decoder;

use crate::admin::{HTTP_LINE, TOKEN_LINE};
use crate::carrier::{Carrier, CarrierError, Condition, Who};
use crate::config::{self, Config, SourceKind};
use crate::enriching::Enriching;
use crate::lookups::named::Named;
use crate::lookups::{Clients, Lookups, LookupsError};
use crate::output::{Output, OutputError, OutputProgress, To};
use crate::parts::{decoder, input_config, local_dir, sources_asked, store};
use crate::pipeline::operator;
use crate::roles::Roles;
use crate::sessions::{How, Sessions, Worker};
use crate::status::{InputStatus, Status, Sums};

/// How long requests that have begun may take once the port closes.
const PORT_DRAIN: Duration = Duration::from_secs(5);
/// How long workers wait to be told what is theirs: a group that is there already takes its time.
const PARTITIONS_WAIT: Duration = Duration::from_secs(20);
/// Between two looks at what is to be watched (rate, reference files).
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// The world the engine runs in.
#[derive(Clone)]
pub struct World {
    pub fs: Arc<dyn Fs>,
    pub clock: Arc<dyn Clock>,
    pub net: Arc<dyn Net>,
    pub rng: Arc<dyn Rng>,
    /// The environment, in which secrets may be.
    pub env: Arc<[(String, String)]>,
    /// For measuring and tests.
    pub clients: Clients,
}

impl World {
    pub fn real() -> World {
        World {
            fs: Arc::new(RealFs),
            clock: Arc::new(RealClock::new()),
            net: Arc::new(RealNet),
            rng: Arc::new(RealRng),
            env: std::env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
            clients: Clients::default(),
        }
    }
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Lookups(#[from] LookupsError),
    #[error("the field map of source {source_name}: {error}")]
    Map { source_name: String, error: wire::MapError },
    #[error("cannot listen on {addr}: {why}")]
    Listen { addr: SocketAddr, why: String },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// Snapshots have no place.
    #[error("state.store: {0}")]
    Store(String),
    #[error("{0}: {1}")]
    Environment(String, std::io::Error),
}

/// Everything that runs.
pub struct Engine {
    pub status: Arc<Status>,
    carrier: Arc<Carrier>,
    started: Duration,
    /// Sums at the start: what this run adds is told apart from what was there.
    begun: Sums,
    late_before: u64,
    inputs: Vec<JoinHandle<()>>,
    workers: Vec<Worker>,
    session_workers: Vec<Worker>,
    /// There where all is said of time in this process.
    punctuation: Option<Arc<Mutex<Punctuation>>>,
    clock: Arc<dyn Clock>,
    output: Option<OutputThread>,
    watcher: Option<JoinHandle<()>>,
    /// Reads again who was seen with which user before the start.
    recall: Option<JoinHandle<()>>,
    lookups: Arc<Lookups>,
    port: Option<Port>,
    stop_inputs: Arc<AtomicBool>,
    stop_workers: Arc<AtomicBool>,
    stop_sessions: Arc<AtomicBool>,
    stop_output: Arc<AtomicBool>,
    stop_watcher: Arc<AtomicBool>,
}

struct OutputThread {
    handle: JoinHandle<()>,
    progress: Arc<OutputProgress>,
    error: Arc<Mutex<Option<String>>>,
    ended: Arc<AtomicBool>,
}

/// A port that is served, on threads of its own.
pub(crate) struct Port {
    runtime: tokio::runtime::Runtime,
    server: Server,
    pub addr: SocketAddr,
}

impl Port {
    pub fn open(front: Front, listener: std::net::TcpListener) -> Result<Port, StartError> {
        let cannot = |e| StartError::Environment("cannot start the port's threads".to_owned(), e);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(1, usize::from).min(4))
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(cannot)?;
        let server = {
            let _entered = runtime.enter();
            Server::start(listener, Arc::new(front)).map_err(cannot)?
        };
        let addr = server.addr();
        Ok(Port { runtime, server, addr })
    }

    /// Takes no more requests, and finishes those that have begun.
    pub fn close(self) {
        let cut = self.runtime.block_on(self.server.stop(PORT_DRAIN));
        if cut > 0 {
            tracing::warn!(connections = cut, "connections were cut off; their clients were not answered");
        }
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// What a stranger may take of the port.
pub(crate) fn limits(config: &Config) -> Limits {
    let h = &config.http;
    Limits {
        connections: h.connections,
        connections_per_address: h.connections_per_address,
        header_time: h.header_timeout,
        idle_time: h.idle_timeout,
        body_rate_min: h.min_body_rate,
        batch_bytes: h.batch,
        in_flight_bytes: h.in_flight,
        ..Limits::default()
    }
}

/// What a run did, once it is over.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Of this run.
    pub run: Sums,
    /// Of the directory's life.
    pub total: Sums,
    /// Records this run added to `enriched`.
    pub enriched: u64,
    /// Events of this run's time that were too late for their session.
    pub late: u64,
    /// Lines written by `--output`.
    pub lines: Option<u64>,
    pub inputs: Vec<serde_json::Value>,
    /// Errors that ended an input, a stage or the output before its time.
    pub errors: Vec<String>,
}

impl Engine {
    pub fn start(config: &Config, output: Option<To>, world: &World) -> Result<Engine, StartError> {
        Engine::start_with(config, output, world, &Start::default())
    }

    /// As [`Engine::start`], with what a user said beside the configuration.
    pub fn start_with(config: &Config, output: Option<To>, world: &World, start: &Start) -> Result<Engine, StartError> {
        let who = Who { role: start.roles.to_string(), slot: start.slot.clone() };
        let carrier = Arc::new(Carrier::open(config, world, &who)?);
        let store = store(config, world).and_then(|store| {
            // Before there is anything to lose.
            if carrier.is_shared() && config.sessions.enabled && start.roles.sessions {
                state::place::probe(&*store, &*world.rng).map_err(|e| e.to_string())?;
            }
            Ok(store)
        });
        let store = store.map_err(StartError::Store);
        let mut own = config.clone();
        own.data.dir = local_dir(config, &who);
        let started = store.and_then(|store| Engine::start_on(&own, output, world, &carrier, start, &store));
        match started {
            Ok(engine) => Ok(engine),
            Err(e) => {
                carrier.close();
                Err(e)
            }
        }
    }

    fn start_on(
        config: &Config,
        output: Option<To>,
        world: &World,
        carrier: &Arc<Carrier>,
        start: &Start,
        store: &Arc<dyn Store>,
    ) -> Result<Engine, StartError> {
        let log = carrier.log();
        let shared = carrier.is_shared();
        let roles = start.roles;
        let partitions = config.data.partitions;
        let lookups = Arc::new(Lookups::start(config, world)?);
        let (mut sources, mut setup, without) = sources_asked(config, &|name| lookups.asked(name))?;
        let gap_us = config.sessions.rules.gap_us;
        let wants_links = config.sessions.enabled && roles.enrich && config.sessions.links > 0;
        let links = wants_links.then(|| Links::new(gap_us, config.sessions.links as usize));
        setup.link = links.as_ref().map(|links| sources.add_live("visitor", Box::new(links.clone())));
        let sources = Arc::new(sources);
        let stage = Arc::new(StageStatus::new(partitions));
        let status = Arc::new(Status::new(
            config,
            carrier.clone(),
            roles,
            stage.clone(),
            sources.clone(),
            (lookups.clone(), Named::new(config, &sources, &lookups)),
            world.clock.clone(),
            without,
        ));
        let output = output.map(|to| Output::open(log.clone(), &*world.fs, &to)).transpose();
        let output = output?;

        let stop_workers = Arc::new(AtomicBool::new(false));
        let operator = Arc::new(operator(config, partitions, setup));
        let group = operator_group(&operator);
        if !shared {
            stage.preset(&*log, flow::Kind::Recording, group, RAW)?;
        } else if links.is_some() {
            let all: Vec<_> = (0..partitions).map(|p| RAW.partition(p)).collect();
            stage.preset_of(&*log, flow::Kind::Recording, group, &all)?;
        }
        let positions: Vec<_> = stage.partitions().map(|committed| committed.next).collect();
        let stop_watcher = Arc::new(AtomicBool::new(false));
        let (mut lookahead, mut recall) = (None, None);
        if let Some(links) = links {
            let ahead = Arc::new(Lookahead::ahead(links, &*log, &positions)?);
            // A log that others work on too is far away, and partitions may be waiting for this process: it looks back later.
            if shared {
                ahead.advance(&*log)?;
            } else {
                ahead.look_back(&*log, gap_us)?;
                let until = world.clock.elapsed() + RECALL_FIRST;
                while ahead.recall(&*log)? && world.clock.elapsed() < until {}
            }
            recall = Some(start_recall(&ahead, &log, shared.then_some(gap_us), world, &stop_watcher)?);
            lookahead = Some(ahead);
        }
        let begun = status.sums();
        let late_before = status.late();

        let decoders: Vec<(config::Source, Arc<Decoder>)> = config
            .sources
            .iter()
            .map(|s| Ok((s.clone(), Arc::new(decoder(config, s)?))))
            .collect::<Result<_, StartError>>()?;
        // The port is bound before anything runs, so that a port that is taken is the first thing said.
        let listener = match config.http.listen {
            Some(addr) => Some(world.net.listen(addr).map_err(|e| listen_error(addr, &e))?),
            None => None,
        };

        let enriching = Enriching {
            config,
            world,
            log: &log,
            operator: &operator,
            sources: &sources,
            lookahead: lookahead.as_ref(),
            store,
            status: &stage,
            seats: &status.seats,
            commits: &status.commits,
            stop: &stop_workers,
        };
        let (mut workers, mut punctuation) = (Vec::new(), None);
        if shared && roles.enrich {
            workers = enriching.among_others()?;
        } else if !shared {
            let (threads, said) = enriching.alone()?;
            (workers, punctuation) = (threads, Some(said));
        }
        let stop_sessions = Arc::new(AtomicBool::new(false));
        let mut session_workers = Vec::new();
        if config.sessions.enabled && roles.sessions {
            let accept_divergence = start.accept == Accept::Divergence;
            let (commits, store) = (status.commits.clone(), store.clone());
            let how = How { accept_divergence, shared, commits, store };
            let (sessions, workers) = Sessions::start(config, &log, world, &how, &stop_sessions)?;
            session_workers = workers;
            let _ = status.sessions.set(sessions);
        }
        let stop_output = Arc::new(AtomicBool::new(false));
        let output = output.map(|o| start_output(o, &stop_output)).transpose()?;

        let stop_inputs = Arc::new(AtomicBool::new(false));
        let mut inputs = Vec::new();
        for (source, decoder) in decoders.iter().filter(|_| roles.collect) {
            let (carrier, what) = (carrier.clone(), source.kind.clone());
            let world = input::World {
                log: log.clone(),
                decoder: decoder.clone(),
                clock: world.clock.clone(),
                rng: world.rng.clone(),
            };
            if let Some(config) = input_config(source) {
                let read = move |progress: &input::Progress, stop: &AtomicBool| {
                    input::run(config, &world, progress, stop).map(|summary| summary.note)
                };
                inputs.push(start_input(source, read, &status, &stop_inputs)?);
            } else if let SourceKind::Kafka { topic, from_start } = what {
                let name = source.name.clone();
                let read = move |progress: &input::Progress, stop: &AtomicBool| match &*carrier {
                    Carrier::Kafka(kafka) => {
                        kafka.take((&name, &topic, from_start), &world, progress, stop).map(|()| None)
                    }
                    Carrier::Journal(_) => Ok(None),
                };
                inputs.push(start_input(source, read, &status, &stop_inputs)?);
            }
        }
        let port = match listener {
            Some(listener) if roles.collect => Some(open_port(config, listener, &decoders, &log, world, &status)?),
            Some(listener) => {
                let (site, counters) = (status.clone(), status.http.clone());
                let front = Front::of_lookups(site, world.clock.clone(), world.rng.clone(), limits(config), counters);
                Some(Port::open(front, listener)?)
            }
            None => None,
        };
        let watcher = start_watcher(&status, &stop_watcher, config.enrich.reload)?;
        if let (Some(port), Some(journal)) = (&port, carrier.journal()) {
            let token = status.admin.open(world);
            journal.announce(&[&format!("{HTTP_LINE}{}", port.addr), &format!("{TOKEN_LINE}{token}")])?;
        }
        Ok(Engine {
            status,
            carrier: carrier.clone(),
            started: world.clock.elapsed(),
            begun,
            late_before,
            inputs,
            workers,
            session_workers,
            punctuation,
            clock: world.clock.clone(),
            output,
            watcher: Some(watcher),
            recall,
            lookups,
            port,
            stop_inputs,
            stop_workers,
            stop_sessions,
            stop_output,
            stop_watcher,
        })
    }

    /// The lookups that are asked over a connection.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// Where the port is, when there is one.
    pub fn addr(&self) -> Option<SocketAddr> {
        self.port.as_ref().map(|p| p.addr)
    }

    /// Whether other processes work on the log too.
    pub fn is_shared(&self) -> bool {
        self.carrier.is_shared()
    }

    /// Whether all inputs have ended and every stage and the output have caught up, in the partitions of this process.
    pub fn idle(&self) -> bool {
        let inputs = self.status.inputs.lock().expect("no panic while held");
        inputs.iter().all(|i| i.at_end())
            && self.has_its_partitions()
            && self.status.lag() == 0
            && self.status.sessions.get().is_none_or(|s| s.lag() == 0)
            && self.output_caught_up()
    }

    /// Whether its workers have been told what is theirs. Where others have all there is, nobody ever tells them.
    fn has_its_partitions(&self) -> bool {
        let enrich = !self.status.roles.enrich || self.status.seats.rebalances() > 0;
        let sessions = self.status.sessions.get().is_none_or(|s| s.seats.rebalances() > 0);
        let waited = self.clock.elapsed().saturating_sub(self.started);
        !self.is_shared() || enrich && sessions || waited > PARTITIONS_WAIT
    }

    /// Ends everything that was read for good: every session gets its final. To be called when the engine is idle and
    /// nothing more will come; it is idle again when that is done.
    pub fn close(&self) -> Result<(), String> {
        let Some(punctuation) = &self.punctuation else {
            return Err("the sessions were not closed: other processes may still bring events".to_owned());
        };
        let now = self.clock.now();
        let control = punctuation.lock().expect("no panic while held").close(now).encode();
        let block = |p| {
            let mut block = BlockBuilder::new(ENRICHED.partition(p));
            block.push(b"", &control, None);
            block.finish()
        };
        let log = self.log();
        let blocks = (0..log.partitions(ENRICHED)).map(block).collect();
        match log.submit(Commit { blocks, ..Commit::default() }).wait() {
            Outcome::Committed(_) => Ok(()),
            Outcome::Aborted(why) => Err(format!("the sessions were not closed: {why}")),
            Outcome::Unknown => Err("the sessions may not be closed: the log stopped".to_owned()),
        }
    }

    fn output_caught_up(&self) -> bool {
        self.output.as_ref().is_none_or(|o| o.ended.load(Relaxed) || o.progress.caught_up(&*self.log()))
    }

    /// Whether going on has become pointless or wrong: the log or the stage stopped, or the reader of the output went
    /// away.
    pub fn must_stop(&self) -> bool {
        matches!(self.carrier.condition(), Condition::Stopped(_))
            || self.status.trouble().is_some_and(|t| t.fatal)
            || self.output.as_ref().is_some_and(|o| o.ended.load(Relaxed))
    }

    /// Whether an input failed: then nothing more is taken in, and what was accepted is still enriched.
    pub fn input_failed(&self) -> bool {
        self.status.inputs.lock().expect("no panic while held").iter().any(|i| i.failed())
    }

    /// Stops taking events in. What was accepted goes on; see [`Engine::idle`].
    pub fn stop_taking(&mut self) {
        self.status.draining.store(true, Relaxed);
        self.stop_inputs.store(true, Relaxed);
        if let Some(port) = self.port.take() {
            port.close();
        }
        for input in self.inputs.drain(..) {
            let _ = input.join();
        }
    }

    /// Stops everything that still runs and says what the run did. Call after [`Engine::stop_taking`]; what has not been
    /// enriched by now is enriched at the next start.
    pub fn finish(mut self) -> Summary {
        self.stop_workers.store(true, Relaxed);
        let mut errors = Vec::new();
        for worker in self.workers.drain(..) {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(e)) => errors.push(e),
                Err(_) => errors.push("the enrich stage panicked; this is a bug".to_owned()),
            }
        }
        self.lookups.stop();
        self.stop_sessions.store(true, Relaxed);
        for worker in self.session_workers.drain(..) {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(e)) => errors.push(e),
                Err(_) => errors.push("the sessions stage panicked; this is a bug".to_owned()),
            }
        }
        self.stop_output.store(true, Relaxed);
        let mut lines = None;
        if let Some(output) = self.output.take() {
            let _ = output.handle.join();
            errors.extend(output.error.lock().expect("no panic while held").take());
            lines = Some(output.progress.lines.load(Relaxed));
        }
        self.stop_watcher.store(true, Relaxed);
        for thread in self.watcher.take().into_iter().chain(self.recall.take()) {
            let _ = thread.join();
        }
        // IMPORTANT: a log on Kafka says nothing once it is closed.
        let total = self.status.sums();
        let run = if self.is_shared() { self.status.sums_of_run() } else { total.since(&self.begun) };
        let late = self.status.late().saturating_sub(self.late_before);
        self.carrier.close();
        if let Condition::Stopped(why) = self.carrier.condition() {
            errors.push(format!("the log stopped: {why}"));
        }
        let inputs = self.status.inputs.lock().expect("no panic while held");
        errors.extend(inputs.iter().filter_map(|i| i.error()));
        Summary {
            run,
            total,
            enriched: run.processed,
            late,
            lines,
            inputs: inputs.iter().map(|i| i.json()).collect(),
            errors,
        }
    }

    /// The log itself, for a reader in this process (benchmarks).
    pub fn log(&self) -> Arc<dyn Log> {
        self.carrier.log()
    }
}

/// What a user said of a run, beside the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Start {
    pub accept: Accept,
    /// On the journal always all.
    pub roles: Roles,
    /// Which of the processes with these roles it is; on the journal there is one.
    pub slot: String,
}

impl Default for Start {
    fn default() -> Start {
        Start { accept: Accept::Nothing, roles: Roles::ALL, slot: "0".into() }
    }
}

/// What of a start a user said to accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Accept {
    #[default]
    Nothing,
    /// A stage may make other outputs than those that are stored.
    Divergence,
}

fn operator_group(operator: &Enrich) -> &'static str {
    flow::Operator::group(operator)
}

fn start_input(
    source: &config::Source,
    read: impl FnOnce(&input::Progress, &AtomicBool) -> Result<Option<String>, input::InputError> + Send + 'static,
    status: &Arc<Status>,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<()>, StartError> {
    let shown = Arc::new(InputStatus {
        name: source.name.clone(),
        what: match &source.kind {
            SourceKind::File { path, .. } => path.display().to_string(),
            SourceKind::Kafka { topic, .. } => format!("topic {topic}"),
            other => other.name().to_owned(),
        },
        progress: Arc::default(),
        note: Mutex::default(),
        error: Mutex::default(),
    });
    status.inputs.lock().expect("no panic while held").push(shown.clone());
    let stop = stop.clone();
    spawn(&format!("input-{}", source.name), move || match read(&shown.progress, &stop) {
        Ok(note) => *shown.note.lock().expect("no panic while held") = note,
        Err(e) => *shown.error.lock().expect("no panic while held") = Some(e),
    })
}

fn start_output(output: Output, stop: &Arc<AtomicBool>) -> Result<OutputThread, StartError> {
    let progress = output.progress.clone();
    let error = Arc::new(Mutex::new(None));
    let ended = Arc::new(AtomicBool::new(false));
    let (stop, failed, over) = (stop.clone(), error.clone(), ended.clone());
    let handle = spawn("output", move || {
        if let Err(e) = output.run(&stop) {
            *failed.lock().expect("no panic while held") = Some(format!("the output stopped: {e}"));
        }
        over.store(true, Relaxed);
    })?;
    Ok(OutputThread { handle, progress, error, ended })
}

fn open_port(
    config: &Config,
    listener: std::net::TcpListener,
    decoders: &[(config::Source, Arc<Decoder>)],
    log: &Arc<dyn Log>,
    world: &World,
    status: &Arc<Status>,
) -> Result<Port, StartError> {
    let by_http = decoders.iter().find(|(s, _)| s.kind == SourceKind::Http);
    let (source, decoder) = by_http.expect("a port is only opened for an HTTP source");
    let front = Front::new(http::Parts {
        log: log.clone(),
        site: status.clone(),
        clock: world.clock.clone(),
        rng: world.rng.clone(),
        decoder: decoder.clone(),
        client_address: match source.client_address {
            config::ClientAddress::Connection => http::ClientAddress::Connection,
            config::ClientAddress::None => http::ClientAddress::None,
        },
        limits: limits(config),
        counters: status.http.clone(),
    });
    Port::open(front, listener)
}

/// At the start this much time is spent on what was enriched before: where it is little, all of it is there before the first
/// event.
const RECALL_FIRST: Duration = Duration::from_millis(100);
/// The rest comes when the stages are at work again: they need the processor first.
const RECALL_AFTER: Duration = Duration::from_secs(5);
/// Where others work too, it joins them first and takes over what they did.
const RECALL_AFTER_JOINING: Duration = Duration::from_secs(20);

fn start_recall(
    lookahead: &Arc<Lookahead>,
    log: &Arc<dyn Log>,
    look_back: Option<i64>,
    world: &World,
    stop: &Arc<AtomicBool>,
) -> Result<JoinHandle<()>, StartError> {
    let (lookahead, log, clock, stop) = (lookahead.clone(), log.clone(), world.clock.clone(), stop.clone());
    let begin = clock.elapsed() + if look_back.is_some() { RECALL_AFTER_JOINING } else { RECALL_AFTER };
    spawn("recall", move || {
        while !stop.load(Relaxed) && clock.elapsed() < begin {
            std::thread::sleep(WATCH_EVERY / 10);
        }
        if let Some(Err(e)) = look_back.map(|gap_us| lookahead.look_back(&*log, gap_us)) {
            return tracing::warn!(error = %e, "events of before the start are not looked at for links");
        }
        while !stop.load(Relaxed) {
            let begun = clock.elapsed();
            match lookahead.recall(&*log) {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => return tracing::warn!(error = %e, "events of before the start are not looked at for links"),
            }
            // Half of the time belongs to the events that flow.
            std::thread::sleep(clock.elapsed().saturating_sub(begun));
        }
    })
}

fn start_watcher(status: &Arc<Status>, stop: &Arc<AtomicBool>, reload: Duration) -> Result<JoinHandle<()>, StartError> {
    let (status, stop) = (status.clone(), stop.clone());
    spawn("watcher", move || {
        let every = WATCH_EVERY.min(reload);
        while !stop.load(Relaxed) {
            status.sample();
            tell_of_reloads(&status.sources);
            std::thread::park_timeout(every);
        }
    })
}

/// Takes new versions of files, and says so.
pub(crate) fn tell_of_reloads(sources: &Sources) {
    for (source, report) in sources.reload_if_changed() {
        for version in report.loaded {
            tracing::info!(source, %version, "a new file is in use");
        }
        for e in report.refused {
            tracing::warn!(source, error = %e, "a new file is bad; the one before stays in use");
        }
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|e| StartError::Environment("cannot start a thread".to_owned(), e))
}

pub(crate) fn listen_error(addr: SocketAddr, e: &std::io::Error) -> StartError {
    let why = match e.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "another program has this port. `ss -ltnp 'sport = :{}'` shows which; --listen 127.0.0.1:0 takes any free one",
            addr.port()
        ),
        std::io::ErrorKind::PermissionDenied => "a port below 1024 needs more rights; take a higher one".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; `ip addr` shows those it has, and 127.0.0.1 is always there".to_owned()
        }
        _ => e.to_string(),
    };
    StartError::Listen { addr, why }
}

/// Whether a directory holds data of ours.
pub fn is_data_dir(fs: &dyn Fs, dir: &Path) -> bool {
    fs.exists(&dir.join("format"))
}
