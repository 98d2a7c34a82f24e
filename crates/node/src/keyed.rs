//! Runs a deterministic stage in the real world: a thread restores the state of its partitions, drives their state
//! machines, commits for them, and writes snapshots in slices between batches.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drive::{Action, Driver, Input, Phase, Restored, Settled};
use event::{Micros, Offset, TopicId, TopicPartition};
use flow::{Keyed, Metadata, Operator};
use log::{Commit, Generation, Log, LogError, Outcome, Position};
use seam::fault::point;
use seam::{Clock, Rng};
use state::{Begin, Manifest, Snapshots, Store, Writer};

use crate::stage::{StageStatus, Trouble};

/// Bytes of one partition's records in one batch.
const FETCH_BYTES: usize = 512 * 1024;
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// Between two tries of a commit that the log aborted for want of disk.
const FULL_WAIT: Duration = Duration::from_millis(200);
/// Between two batches of a stage whose state is at its bound; at a quarter more it reads nothing at all.
const BOUND_WAIT: Duration = Duration::from_millis(100);
/// Bytes of a snapshot that are taken between two batches: some tens of microseconds.
const SLICE_BYTES: usize = 64 * 1024;

/// Everything a thread of a deterministic stage needs.
pub struct KeyedWorker<O: Operator<Prefix = ()>> {
    pub log: Arc<dyn Log>,
    pub operator: Arc<O>,
    /// The topic it reads, and how many partitions the topic one hop up has.
    pub input: TopicId,
    pub sources: u32,
    pub generation: Generation,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub store: Arc<dyn Store>,
    pub parts: Arc<KeyedParts<O>>,
    pub status: Arc<StageStatus>,
    pub settings: Settings,
    pub stop: Arc<AtomicBool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    pub snapshot_every: Duration,
    /// Bytes of state, of all partitions.
    pub memory: u64,
    /// Goes on when a replay makes other outputs than those that are stored.
    pub accept_divergence: bool,
}

/// The partitions of a stage, for its threads and for whoever looks at its state.
pub struct KeyedParts<O: Operator> {
    list: Vec<Mutex<Option<Part<O>>>>,
    bytes: Vec<AtomicU64>,
    keys: Vec<AtomicU64>,
}

struct Part<O: Operator> {
    driver: Driver<O>,
    writer: Writer,
    /// The snapshot that is being taken.
    taking: Option<Taking>,
    /// When the last one was begun, and for which position.
    begun: (Duration, Offset),
    /// Positions from here on are needed to come back: what `enriched` must keep.
    held: Offset,
    received: Vec<Micros>,
}

struct Taking {
    position: Offset,
}

impl<O: Operator> KeyedParts<O> {
    pub fn new(partitions: u32) -> KeyedParts<O> {
        let zeros = || (0..partitions).map(|_| AtomicU64::new(0)).collect();
        KeyedParts { list: (0..partitions).map(|_| Mutex::new(None)).collect(), bytes: zeros(), keys: zeros() }
    }

    /// Looks at the state of a partition; `None` while it is being restored.
    pub fn look<T>(&self, partition: u32, look: impl FnOnce(&Driver<O>) -> T) -> Option<T> {
        let held = self.list[partition as usize].lock().unwrap_or_else(PoisonError::into_inner);
        held.as_ref().map(|part| look(&part.driver))
    }

    /// Bytes of state and live keys, of all partitions.
    pub fn size(&self) -> (u64, u64) {
        let sum = |of: &[AtomicU64]| of.iter().map(|n| n.load(Relaxed)).sum();
        (sum(&self.bytes), sum(&self.keys))
    }
}
