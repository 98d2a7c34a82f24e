//! The sessions stage as a part of the process: its threads, and what others may ask of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;

use door::http::Histogram;
use event::key::partition_of;
use event::topic::ENRICHED;
use event::{Offset, TopicPartition};
use flow::{Kind, Metadata, Operator as _};
use log::{Log, Membership};
use seam::Background;
use seam::fault::{Bug, planted};
use session::SessionStage;
use session::operator::{GROUP, Planted, clocks};
use stage::keyed::{KeyedParts, Settings};
use stage::{Committed, KeyedStage, KeyedWorld, StageStatus};
use state::{Snapshots, StateError, Store};
use tokio::sync::Notify;

use crate::config::Config;
use crate::engine::{StartError, World, spawn};
use crate::parts::{pace, worker_count};
use crate::seats::Seats;
use crate::share::share;
use crate::worker::{self, Post, Work};

/// What runs, for whoever asks.
pub struct Sessions {
    pub status: Arc<StageStatus>,
    pub operator: Arc<SessionStage>,
    pub parts: Arc<KeyedParts<SessionStage>>,
    /// Which partitions are this process's.
    pub seats: Arc<Seats>,
    log: Arc<dyn Log>,
    partitions: u32,
    /// Whether other processes work on the log too.
    shared: bool,
}

/// How the stage is started.
pub struct How {
    pub accept_divergence: bool,
    /// Whether other processes work on the log too.
    pub shared: bool,
    /// How long commits take.
    pub commits: Arc<Histogram>,
    /// Where its snapshots lie.
    pub store: Arc<dyn Store>,
}

/// The state is being restored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restoring;

/// The thread of a stage, with why it stopped.
pub type Worker = JoinHandle<Result<(), String>>;

/// Where the state of stages lies in a data directory.
pub const STATE_DIR: &str = "state";

impl Sessions {
    /// Starts the stage. `shared`: others work on the log too, and each thread is a member of its own.
    pub fn start(
        config: &Config,
        log: &Arc<dyn Log>,
        world: &World,
        how: &How,
        stop: &Arc<AtomicBool>,
    ) -> Result<(Arc<Sessions>, Vec<Worker>), StartError> {
        let partitions = config.data.partitions;
        let operator = Arc::new(stage(config));
        let status = Arc::new(StageStatus::new(partitions));
        if !how.shared {
            status.preset(&**log, Kind::Deterministic, GROUP, ENRICHED)?;
        }
        let sessions = Arc::new(Sessions {
            status,
            operator,
            parts: Arc::new(KeyedParts::new(partitions)),
            seats: Arc::default(),
            log: log.clone(),
            partitions,
            shared: how.shared,
        });
        let count = worker_count(config);
        let mut members = match how.shared {
            true => Vec::new(),
            false => share(log.join(GROUP, ENRICHED), count),
        };
        members.reverse();
        let worker = |number| sessions.worker(config, world, how, number, members.pop(), stop);
        let workers = (0..count).map(worker).collect::<Result<_, _>>()?;
        Ok((sessions, workers))
    }

    fn worker(
        &self,
        config: &Config,
        world: &World,
        how: &How,
        number: usize,
        mut member: Option<Box<dyn Membership>>,
        stop: &Arc<AtomicBool>,
    ) -> Result<Worker, StartError> {
        let (operator, store, parts) = (self.operator.clone(), how.store.clone(), self.parts.clone());
        let (log, clock, rng) = (self.log.clone(), world.clock.clone(), world.rng.clone());
        let (status, seats, commits) = (self.status.clone(), self.seats.clone(), how.commits.clone());
        let (stop, shared, sources) = (stop.clone(), how.shared, self.partitions);
        let settings = Settings {
            snapshot_every: config.state.snapshot_every,
            memory: config.state.memory,
            accept_divergence: how.accept_divergence,
            shared,
        };
        let pace = pace(config);
        spawn(&format!("sessions-{number}"), move || {
            let begin = || {
                let stage = KeyedStage::new(KeyedWorld {
                    log: log.clone(),
                    operator: operator.clone(),
                    input: ENRICHED,
                    sources,
                    clock: clock.clone(),
                    rng: rng.clone(),
                    store: store.clone(),
                    parts: parts.clone(),
                    status: status.clone(),
                    settings,
                    background: Background::Threads,
                });
                Ok(Work { stage, member: member.take().unwrap_or_else(|| log.join(GROUP, ENRICHED)) })
            };
            let granting = |partitions: &[TopicPartition]| {
                if !shared {
                    return Ok(());
                }
                let preset = status.preset_of(&*log, Kind::Deterministic, GROUP, partitions);
                preset.map_err(|e| format!("what {GROUP} has committed cannot be read: {e}"))
            };
            let post = Post {
                log: &*log,
                clock: &*clock,
                status: &status,
                seats: &seats,
                number,
                bell: &Notify::new(),
                stop: &stop,
                commits: &commits,
                pace,
            };
            worker::run(&post, shared, begin, granting)
        })
    }

    /// Records of `enriched` that it has not processed yet, in the partitions of this process.
    pub fn lag(&self) -> u64 {
        self.lags().map(|(_, lag)| lag).sum()
    }

    /// The same by partition.
    pub fn lags(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let all: Vec<_> = self.status.partitions().collect();
        let mine = if self.shared { self.seats.partitions() } else { (0..self.partitions).collect() };
        mine.into_iter().map(move |p| {
            let Committed { next, .. } = all[p as usize];
            (p, self.log.bounds(ENRICHED.partition(p)).map_or(0, |(_, end)| end.saturating_sub(next)))
        })
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

/// What the newest snapshot in a store says of a visitor; `None`: there is none. All of the partition's state is read for that.
pub fn stored(
    config: &Config,
    log: &dyn Log,
    store: Arc<dyn Store>,
    visitor: &[u8],
) -> Result<Option<Stored>, StateError> {
    let at = ENRICHED.partition(partition_of(visitor, log.partitions(ENRICHED)));
    let committed = log.committed(GROUP, &log::Input::Topic(at)).ok().flatten().map_or(0, |stored| stored.next);
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
