//! A source as it is asked: from the local cache at once, else by a task that owns the source's [`ask::Desk`] and carries out
//! what the desk says.
//!
//! ```text
//!  known, ask --> Local (the cache, in shards) --hit--> done
//!                 |miss, stale      ^ remembers
//!                 v                 |
//!              Clerk (a task: the desk, a timer) --calls--> Remote
//!                 |  ^                       \--errands--> Courier (a task) --> Redis
//!                 v  |cancel
//!               Hearing: whoever asked hears of each key once
//! ```
//!
//! * [`local`]: the local cache, saved and loaded for a warm start
//! * `hearing`: who hears how an ask ended
//! * `clerk`: the task that owns the desk
//! * `courier`: the task that speaks with the shared tier
//! * [`key`]: the keys of a source as bytes
//! * `reply`: what a client answers, in the desk's words
//! * [`meter`]: how long each tier took
//!
//! What becomes of a question is decided in `ask`, how the source is spoken with in `remote`; here is neither.
//! **Invariant:** whoever asked hears of each of his keys once, unless he went away: also when the service stops, and when
//! its runtime goes.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ask::{AskId, Code, Counters, DeskConfig, Moment};
use flow::Status;
use seam::{Clock, Fs};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::LookupError;
use crate::asked::{self, Hear, Key, Origin, Tier, Told};
use crate::remote::{Remote, SharedCache};

mod clerk;
mod courier;
mod hearing;
pub mod key;
pub mod local;
pub mod meter;
mod reply;

use clerk::{Asked, Clerk, Message};
use courier::Courier;
use hearing::{Asking, Hearing};
pub use local::{CacheConfig, Loaded};
use local::{Known, Local};
use meter::Meters;
pub use meter::{Failed, Latencies, Latency};

/// Asks that are open at once, those that the desk has not seen yet among them. The desk's own limit is lower and gives what
/// is stale; this one bounds memory while the runtime does not get to run.
pub const OPEN_MAX: usize = 100_000;

/// One source, asked by many at once. A clone is the same service. It stops when the last one is dropped, or is told to.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    local: Arc<Local>,
    messages: UnboundedSender<Message>,
    /// The next ask's number.
    next: AtomicU64,
    open: Arc<AtomicUsize>,
    desk: Arc<Mutex<Counters>>,
    meters: Arc<Meters>,
}

/// What happened so far, tier by tier.
#[derive(Clone, Debug)]
pub struct Report {
    pub local: local::Level,
    /// As of the last time that the desk did something.
    pub desk: Counters,
    pub latencies: Latencies,
    /// What the source last failed with, if it ever did.
    pub failed: Option<Failed>,
}

impl Service {
    /// Starts its tasks on `runtime`, which needs a timer. `name` keeps its entries in the shared tier apart from those of
    /// other sources: services with one name ask the same and get the same. Times are those of `clock`, in microseconds.
    ///
    /// # Panics
    /// On a configuration that [`DeskConfig::check`] refuses, and on one that has a shared tier when none is given, or none
    /// when one is.
    pub fn start(
        name: &str,
        desk: DeskConfig,
        cache: CacheConfig,
        remote: Arc<dyn Remote>,
        shared: Option<Arc<SharedCache>>,
        runtime: &Handle,
        clock: Arc<dyn Clock>,
    ) -> Service {
        assert_eq!(desk.shared.is_some(), shared.is_some(), "a shared tier is configured and given, or neither");
        let (messages, incoming) = unbounded_channel();
        let inner = Inner {
            local: Arc::new(Local::new(cache)),
            messages,
            next: AtomicU64::new(0),
            open: Arc::default(),
            desk: Arc::default(),
            meters: Arc::default(),
            clock,
        };
        let courier = shared.map(|shared| {
            let (clock, meters) = (Arc::clone(&inner.clock), Arc::clone(&inner.meters));
            Courier::start(name, desk.seed, shared, clock, meters, runtime)
        });
        let clerk = Clerk::new(
            desk,
            Arc::clone(&inner.clock),
            Arc::clone(&inner.local),
            remote,
            courier,
            Arc::clone(&inner.desk),
            Arc::clone(&inner.meters),
        );
        runtime.spawn(clerk.run(incoming));
        Service(Arc::new(inner))
    }

    /// The time by which deadlines go.
    pub fn now(&self) -> u64 {
        micros(&*self.0.clock)
    }

    /// A value that is used near its end is fetched anew.
    fn refresh(&self, key: &[u8], entry: Option<ask::Entry>) {
        if let Some(entry) = entry {
            // A service that has stopped refreshes nothing.
            let _ = self.0.messages.send(Message::Refresh { key: key.into(), entry });
        }
    }

    /// Stops: open asks are settled as timeouts, and so are those to come; leases are given back. Ready when that is done.
    pub async fn stop(&self) {
        // If nobody takes it, it has stopped already.
        let _ = self.0.messages.send(Message::Stop);
        self.0.messages.closed().await;
    }

    /// Writes the local cache to a file, whole or not at all, for [`Service::load`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, fs: &dyn Fs, path: &std::path::Path) -> Result<(), LookupError> {
        self.0.local.save(fs, path, &*self.0.clock)
    }

    /// Takes in what [`Service::save`] wrote, each entry as old as it is by now. A file that is not there is an empty one.
    ///
    /// # Errors
    /// When it cannot be read. What is damaged in it is left out and counted.
    pub fn load(&self, fs: &dyn Fs, path: &std::path::Path) -> Result<Loaded, LookupError> {
        self.0.local.load(fs, path, &*self.0.clock)
    }

    pub fn report(&self) -> Report {
        Report {
            local: self.0.local.level(),
            desk: *self.0.desk.lock().unwrap_or_else(PoisonError::into_inner),
            latencies: self.0.meters.latencies(),
            failed: self.0.meters.last_failure(),
        }
    }
}

impl asked::Asked for Service {
    /// From the local cache. What is used near its end is refreshed behind it.
    fn known(&self, key: &[u8], out: &mut Vec<u8>) -> Option<(Status, Origin)> {
        match self.0.local.get(self.now(), key, out) {
            Known::Settled { status, age_us, refresh } => {
                self.refresh(key, refresh);
                Some((status, Origin { tier: Tier::Local, age_us }))
            }
            Known::Stale(_) | Known::Nothing => None,
        }
    }

    /// What the local cache has is heard before this returns, of the rest the service's task tells. Whoever goes away hurts
    /// nobody else who waits for the same key.
    fn ask(&self, keys: Vec<Key>, deadline: u64, hear: Hear) -> asked::Asking {
        let now = self.now();
        let first = self.0.next.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let hearing = Hearing::new(keys.len(), Arc::clone(&self.0.open), hear);
        let (mut asked, mut json) = (Vec::new(), Vec::new());
        for (place, key) in keys.into_iter().enumerate() {
            let promise = hearing.promise(place);
            json.clear();
            // Whoever asks has found nothing known: if something is by now, it is not counted twice.
            let stale = match self.0.local.get_again(now, &key, &mut json) {
                Known::Settled { status, age_us, refresh } => {
                    self.refresh(&key, refresh);
                    let origin = Some(Origin { tier: Tier::Local, age_us });
                    promise.settle(Told { status, json: &json, origin });
                    continue;
                }
                Known::Stale(entry) => Some(entry),
                Known::Nothing => None,
            };
            if self.0.open.load(Ordering::Relaxed) > OPEN_MAX {
                let status = Status::Error(Code::Overloaded.word());
                promise.settle(Told { status, json: &[], origin: None });
            } else {
                asked.push(Asked { id: AskId(first + place as u64), key, stale, promise });
            }
        }
        let ids = first..first + hearing.len() as u64;
        if !asked.is_empty() {
            // IMPORTANT: what a service that has stopped does not take is dropped here, which settles it.
            let _ = self.0.messages.send(Message::Ask { asked, at: now, deadline });
        }
        Box::new(Asking::new(ids, hearing, self.0.messages.clone()))
    }
}

fn micros(clock: &dyn Clock) -> u64 {
    // A process does not run for half a million years.
    clock.elapsed().as_micros() as u64
}

fn moment(clock: &dyn Clock) -> Moment {
    Moment { elapsed: micros(clock), wall: u64::try_from(clock.now().0).unwrap_or(0) }
}
