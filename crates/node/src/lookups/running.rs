//! Lookups over a connection at work.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lookup::Asked;
use lookup::service::{CacheConfig, Service};
use seam::{Clock, Fs};
use tokio::runtime::Runtime;

use super::client::{self, Made};
use super::{LookupsError, Outside, cache_dir, desk};
use crate::config::{self, Config};
use crate::engine::World;

/// How long a stop waits for what is on its way.
const STOP_MAX: Duration = Duration::from_secs(2);
/// Threads that speak with sources: they wait more than they work.
const THREADS_MAX: usize = 4;
/// Parts of a local cache at most: threads that read at once seldom meet in one.
const SHARDS_MAX: usize = 16;
/// Bytes that a part of a local cache has at least, unless the whole is smaller.
const SHARD_MIN: usize = 1 << 20;

/// The services of all lookups that are asked over a connection. They run until [`Lookups::stop`].
pub struct Lookups {
    pub(super) clock: Arc<dyn Clock>,
    /// In the order of the configuration.
    list: Vec<Running>,
    fs: Arc<dyn Fs>,
    runtime: Mutex<Option<Runtime>>,
}

struct Running {
    name: String,
    service: Service,
    /// Where its cache is kept from one process to the next.
    kept: Option<PathBuf>,
}

impl Lookups {
    /// Starts them; connects to nothing before something is asked. What the last process kept of their caches is read.
    ///
    /// # Errors
    /// A secret or a certificate that is not there, and what clients refuse.
    pub fn start(config: &Config, world: &World) -> Result<Lookups, LookupsError> {
        let outside = Outside { env: &world.env, fs: &*world.fs };
        let remotes = || config.lookups.iter().filter_map(|l| Some((l, l.kind.remote()?)));
        let mut lookups =
            Lookups { clock: world.clock.clone(), list: Vec::new(), fs: world.fs.clone(), runtime: Mutex::default() };
        if remotes().next().is_none() {
            return Ok(lookups);
        }
        let runtime = runtime()?;
        let shared = config.cache.shared.as_ref();
        let tier = shared.map(|s| client::shared(s, outside)).transpose().map_err(|w| w.of("[cache.shared]"))?;
        let tier = tier.map(Arc::new);
        for (lookup, remote) in remotes() {
            let made =
                client::build(remote, lookup.key.len(), outside).map_err(|wrong| wrong.of_lookup(&lookup.name))?;
            let Made { remote: client, mark } = made;
            let client = world.clients.get(&lookup.name).cloned().unwrap_or(client);
            let name = format!("{}.{mark}", lookup.name);
            let uses_shared = remote.shared && tier.is_some();
            let seed = world.rng.next_u128() as u64;
            let service = Service::start(
                &name,
                desk(remote, shared.filter(|_| uses_shared), seed),
                cache(&remote.cache),
                client,
                tier.clone().filter(|_| uses_shared),
                runtime.handle(),
                world.clock.clone(),
            );
            let kept = config.cache.warm.then(|| cache_dir(&config.data.dir).join(&name));
            lookups.list.push(Running { name: lookup.name.clone(), service, kept });
        }
        lookups.runtime = Mutex::new(Some(runtime));
        lookups.warm(&cache_dir(&config.data.dir));
        Ok(lookups)
    }

    pub fn get(&self, name: &str) -> Option<&Service> {
        self.iter().find(|(n, _)| *n == name).map(|(_, service)| service)
    }

    /// What a stage asks.
    pub fn asked(&self, name: &str) -> Option<Arc<dyn Asked>> {
        self.get(name).map(|service| Arc::new(service.clone()) as Arc<dyn Asked>)
    }

    /// Each with its name, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.list.iter().map(|running| (running.name.as_str(), &running.service))
    }

    /// Ends them: who waits hears that his time is over. Their caches are kept for the next process.
    pub fn stop(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(runtime) = runtime else { return };
        runtime.block_on(async {
            let all = async {
                for running in &self.list {
                    running.service.stop().await;
                }
            };
            // A source that does not let go is not waited for.
            let _ = tokio::time::timeout(STOP_MAX, all).await;
        });
        for running in &self.list {
            if let Some(path) = &running.kept
                && let Err(e) = keep(&running.service, &*self.fs, path)
            {
                tracing::warn!(lookup = running.name, "its cache is not kept: {e}");
            }
        }
        runtime.shutdown_timeout(STOP_MAX);
    }

    /// Takes in what was kept, and removes what nobody asks for any more: caches of other lookups, or of the same asked in
    /// another way.
    fn warm(&self, dir: &Path) {
        for running in &self.list {
            let Some(path) = &running.kept else { continue };
            match running.service.load(&*self.fs, path) {
                Ok(loaded) if loaded.read + loaded.damaged > 0 => {
                    tracing::info!(lookup = running.name, read = loaded.read, damaged = loaded.damaged, "warm cache");
                }
                Ok(_) => {}
                Err(e) => tracing::warn!(lookup = running.name, "it starts with an empty cache: {e}"),
            }
        }
        for name in self.fs.list(dir).unwrap_or_default() {
            let path = dir.join(name);
            if !self.list.iter().any(|running| running.kept.as_ref() == Some(&path))
                && let Err(e) = self.fs.remove(&path)
            {
                tracing::warn!("cannot remove {}: {e}", path.display());
            }
        }
    }
}

impl Drop for Lookups {
    /// A start that failed behind them stops nothing in order.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

fn keep(service: &Service, fs: &dyn Fs, path: &Path) -> Result<(), String> {
    let dir = path.parent().expect("it is below the data directory");
    fs.create_dir_all(dir).map_err(|e| e.to_string())?;
    service.save(fs, path).map_err(|e| e.to_string())
}

fn runtime() -> Result<Runtime, LookupsError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(2).min(THREADS_MAX))
        .thread_name("lookup")
        .enable_all()
        .build()
        .map_err(LookupsError::Threads)
}

fn cache(config: &config::remote::LookupCache) -> CacheConfig {
    CacheConfig { bytes: config.size, shards: (config.size / SHARD_MIN).clamp(1, SHARDS_MAX) }
}
