//! The sessions stage as a part of the process: its threads, and what others may ask of it.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use event::key::partition_of;
use event::topic::ENRICHED;
use event::{Offset, TopicPartition};
use flow::{Metadata, Operator as _};
use log::{Log, Membership};
use seam::Background;
use seam::fault::{Bug, planted};
use session::SessionStage;
use session::operator::{GROUP, Planted, clocks};
use stage::keyed::{KeyedParts, Settings};
use stage::{Committed, KeyedStage, KeyedWorld, StageStatus};
use state::{Directory, Snapshots, StateError, Store};
use tokio::sync::Notify;

use crate::config::Config;
use crate::engine::{StartError, World, granted, spawn};
use crate::parts::worker_count;
use crate::worker;

/// What runs, for whoever asks.
pub struct Sessions {
    pub status: Arc<StageStatus>,
    pub operator: Arc<SessionStage>,
    pub parts: Arc<KeyedParts<SessionStage>>,
    log: Arc<dyn Log>,
    partitions: u32,
    /// Held as long as the stage runs: in one process nobody takes a partition away.
    _member: Mutex<Box<dyn Membership>>,
}

/// The state is being restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restoring;

/// The thread of a stage, with why it stopped.
pub type Worker = JoinHandle<Result<(), String>>;

/// Where the state of stages lies in a data directory.
pub const STATE_DIR: &str = "state";

impl Sessions {
    /// Starts the stage.
    pub fn start(
        config: &Config,
        log: &Arc<dyn Log>,
        world: &World,
        accept_divergence: bool,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Arc<Sessions>, Vec<Worker>), StartError> {
        let partitions = config.data.partitions;
        let operator = Arc::new(stage(config));
        let status = Arc::new(StageStatus::new(partitions));
        status.preset(&**log, flow::Kind::Deterministic, GROUP, ENRICHED)?;
        let mut member = log.join(GROUP, ENRICHED);
        let generation = granted(&mut *member);
        let sessions = Arc::new(Sessions {
            status: status.clone(),
            operator: operator.clone(),
            parts: Arc::new(KeyedParts::new(partitions)),
            log: log.clone(),
            partitions,
            _member: Mutex::new(member),
        });
        let store: Arc<dyn Store> = Arc::new(Directory::new(world.fs.clone(), &config.data.dir.join(STATE_DIR)));
        let count = worker_count(config) as u32;
        let workers = (0..count)
            .map(|w| {
                let with = KeyedWorld {
                    log: log.clone(),
                    operator: operator.clone(),
                    input: ENRICHED,
                    sources: partitions,
                    clock: world.clock.clone(),
                    rng: world.rng.clone(),
                    store: store.clone(),
                    parts: sessions.parts.clone(),
                    status: status.clone(),
                    settings: Settings {
                        snapshot_every: config.state.snapshot_every,
                        memory: config.state.memory,
                        accept_divergence,
                    },
                    background: Background::Threads,
                };
                let mine: Vec<_> = (0..partitions).filter(|p| p % count == w).map(|p| ENRICHED.partition(p)).collect();
                let (log, status, stop) = (log.clone(), status.clone(), stop.clone());
                spawn(&format!("sessions-{w}"), move || {
                    worker::run(KeyedStage::new(with), &mine, generation, &*log, &status, &Notify::new(), &stop)
                })
            })
            .collect::<Result<_, _>>()?;
        Ok((sessions, workers))
    }

    /// Records of `enriched` that it has not processed yet.
    pub fn lag(&self) -> u64 {
        let of = |(p, Committed { next, .. }): (u32, Committed)| {
            self.log.bounds(ENRICHED.partition(p)).map_or(0, |(_, end)| end.saturating_sub(next))
        };
        (0..).zip(self.status.partitions()).map(of).sum()
    }

    /// The open sessions of a visitor as JSON; `None` for one it knows nothing of.
    pub fn open(&self, visitor: &[u8]) -> Result<Option<Vec<u8>>, Restoring> {
        let partition = partition_of(visitor, self.partitions);
        let show = |driver: &drive::Driver<SessionStage>| {
            let state = driver.state().value(visitor)?;
            let mut out = Vec::new();
            self.operator.sessions().show(visitor, state, &clocks(driver.clocks()), &mut out);
            Some(out)
        };
        self.parts.look(partition, show).ok_or(Restoring)
    }

    pub fn group(&self) -> &'static str {
        self.operator.group()
    }
}

/// What a snapshot says of a visitor.
pub struct Stored {
    /// Its open sessions as JSON; `None`: there is nothing of this visitor in it.
    pub open: Option<Vec<u8>>,
    /// The snapshot's, in `enriched`.
    pub at: TopicPartition,
    pub position: Offset,
    /// What the stage had committed: the snapshot does not know what was read in between.
    pub committed: Offset,
}

/// What the newest snapshot in a data directory says of a visitor; `None`: there is none. All of the partition's state is
/// read for that.
pub fn stored(
    config: &Config,
    log: &dyn Log,
    data: &Path,
    world: &World,
    visitor: &[u8],
) -> Result<Option<Stored>, StateError> {
    let at = ENRICHED.partition(partition_of(visitor, log.partitions(ENRICHED)));
    let committed = log.committed(GROUP, &log::Input::Topic(at)).ok().flatten().map_or(0, |stored| stored.next);
    let store: Arc<dyn Store> = Arc::new(Directory::new(world.fs.clone(), &data.join(STATE_DIR)));
    let Some(found) = Snapshots::new(store, GROUP, at.partition).restore(committed)?.found else { return Ok(None) };
    let metadata = Metadata::decode(&found.manifest.metadata);
    let known = metadata.and_then(|m| m.clocks).unwrap_or_else(|| flow::Clocks::new(log.partitions(ENRICHED)));
    let open = found.keyed.value(visitor).map(|state| {
        let mut out = Vec::new();
        stage(config).sessions().show(visitor, state, &clocks(&known), &mut out);
        out
    });
    Ok(Some(Stored { open, at, position: found.manifest.position, committed }))
}

/// The operator, as the configuration has it.
pub fn stage(config: &Config) -> SessionStage {
    let rules = config.session_rules().build().expect("the configuration was built, so its rules do");
    let mut stage = SessionStage::new(rules, config.data.partitions);
    for (bug, plant) in [
        (Bug::OtherDecisions, Planted::OtherDecisions),
        (Bug::LateForgotten, Planted::LateForgotten),
        (Bug::MergeKeepsBoth, Planted::MergeKeepsBoth),
    ] {
        if planted(bug) {
            stage.plant(plant);
        }
    }
    if planted(Bug::PanicsOnEvent) {
        stage.plant(Planted::PanicsOn(event::key::hash64(b"poison")));
    }
    stage
}
