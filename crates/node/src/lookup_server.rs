//! A process that answers lookups alone: no log, no stages, a port. In a data directory it keeps what its caches knew, and
//! nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use door::http::{Counters, Front, Site};
use lookup::Directory;
use seam::Clock;
use serde_json::{Value, json};
use stage::facts::Sources;

use crate::config::Config;
use crate::engine::{Port, StartError, World, limits, listen_error, spawn, tell_of_reloads};
use crate::lookups::Lookups;
use crate::lookups::named::Named;
use crate::parts::sources_asked;

/// Between two looks at whether it is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Everything that runs.
pub struct LookupServer {
    answers: Arc<Answers>,
    port: Port,
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
    /// What it goes on without.
    pub without: Vec<String>,
}

/// The lookups of a configuration, without a port: also for whoever asks by hand.
pub struct Answers {
    sources: Arc<Sources>,
    lookups: Arc<Lookups>,
    named: Named,
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
    draining: AtomicBool,
}

impl Answers {
    /// What they are, and what they go on without. Nothing is asked yet.
    ///
    /// # Errors
    /// Files that are required and cannot be used; secrets that are not there.
    pub fn start(config: &Config, world: &World) -> Result<(Answers, Vec<String>), StartError> {
        let lookups = Arc::new(Lookups::start(config, world)?);
        let (sources, _, without) = sources_asked(config, &|name| lookups.asked(name))?;
        let sources = Arc::new(sources);
        let named = Named::new(config, &sources, &lookups);
        let (clock, counters, draining) = (world.clock.clone(), Arc::default(), AtomicBool::new(false));
        Ok((Answers { sources, lookups, named, clock, counters, draining }, without))
    }

    pub fn named(&self) -> &Named {
        &self.named
    }

    /// For `/status.json`; also what a source was last heard to fail with.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// Whoever waits hears that his time is over; caches are kept.
    pub fn stop(&self) {
        self.lookups.stop();
    }
}

impl LookupServer {
    /// # Errors
    /// Those of [`Answers::start`]; a port that cannot be had.
    pub fn start(config: &Config, addr: SocketAddr, world: &World) -> Result<LookupServer, StartError> {
        // The port is bound before anything runs, so that a port that is taken is the first thing said.
        let listener = world.net.listen(addr).map_err(|e| listen_error(addr, &e))?;
        let (answers, without) = Answers::start(config, world)?;
        let answers = Arc::new(answers);
        let (site, counters) = (answers.clone(), answers.counters.clone());
        let front = Front::of_lookups(site, world.clock.clone(), world.rng.clone(), limits(config), counters);
        let port = Port::open(front, listener)?;
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = watch(&answers, &stop, config.enrich.reload)?;
        Ok(LookupServer { answers, port, stop, watcher, without })
    }

    pub fn addr(&self) -> SocketAddr {
        self.port.addr
    }

    /// Takes no more requests, finishes those that have begun, and keeps the caches.
    pub fn stop(self) {
        self.answers.draining.store(true, Relaxed);
        self.stop.store(true, Relaxed);
        self.port.close();
        self.answers.stop();
        self.watcher.thread().unpark();
        let _ = self.watcher.join();
    }
}

/// Takes new versions of files.
fn watch(answers: &Arc<Answers>, stop: &Arc<AtomicBool>, every: Duration) -> Result<JoinHandle<()>, StartError> {
    let (answers, stop) = (answers.clone(), stop.clone());
    spawn("watcher", move || {
        while !stop.load(Relaxed) {
            tell_of_reloads(&answers.sources);
            std::thread::park_timeout(LOOK_EVERY.min(every));
        }
    })
}

impl Site for Answers {
    fn ready(&self) -> Vec<String> {
        let draining = self.draining.load(Relaxed);
        draining.then(|| "stopping: what was asked for is being finished".to_owned()).into_iter().collect()
    }

    fn degraded(&self) -> Vec<String> {
        let refused = self.sources.refused().into_iter();
        let refused = refused.map(|(name, why)| format!("a file of `{name}` is not in use: {why}"));
        refused.chain(self.lookups.remarks()).collect()
    }

    fn lookups(&self) -> Option<&dyn Directory> {
        Some(&self.named)
    }

    fn metrics(&self, out: &mut String) {
        self.lookups.write_metrics(out);
        self.counters.write_metrics(out);
    }

    fn status(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.clock.elapsed().as_secs_f64(),
            "roles": ["lookup"],
            "lookups": self.lookups.status(),
        })
    }

    fn admin(&self, _: &str, _: &str, _: &str, _: Option<&str>, _: &[u8]) -> Option<(u16, String)> {
        None
    }
}
