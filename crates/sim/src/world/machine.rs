//! A machine: a disk, and the process that runs on it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use event::TopicId;
use state::{Directory, Store};

use super::process::{Process, Which};
use crate::fs::LossyFs;

/// A machine and what runs on it.
pub struct Machine {
    pub name: String,
    pub disk: LossyFs,
    pub process: Option<Process>,
    /// Grows when its process dies: what was planned for it means nothing any more.
    pub epoch: u64,
    /// Its process stands still until then.
    pub paused_until: Duration,
    /// Whether its process can reach the store of snapshots: a dead one cannot.
    pub reaches_store: Arc<AtomicBool>,
    /// When each stage has its next turn: its place in the queue.
    pub next: [Option<(Duration, u64)>; 2],
    pub state: [StageState; 2],
    /// Its places in groups, for a coordinator that expels it.
    pub members: Vec<(u64, &'static str, TopicId)>,
    /// It ignores for so many turns what has happened to its partitions.
    pub deaf: u32,
    /// It is on its way up.
    pub starting: bool,
    /// Of its disk, as far as they are known to it.
    pub failed_reads: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StageState {
    /// Its next turn comes by itself.
    Runs,
    /// For the outcome of its commit.
    Waits,
    /// For the log to change.
    Idle,
}

impl Machine {
    pub fn new(n: usize, disk: LossyFs) -> Machine {
        Machine {
            name: format!("node-{n}"),
            disk,
            process: None,
            epoch: 0,
            paused_until: Duration::ZERO,
            reaches_store: Arc::new(AtomicBool::new(true)),
            next: [None; 2],
            state: [StageState::Runs; 2],
            members: Vec::new(),
            deaf: 0,
            starting: false,
            failed_reads: 0,
        }
    }

    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }
}

pub fn index(which: Which) -> usize {
    match which {
        Which::Enrich => 0,
        Which::Sessions => 1,
    }
}

/// The store of snapshots as one process reaches it.
pub struct Reached {
    pub store: Directory,
    /// A process that died reaches nothing.
    pub alive: Arc<AtomicBool>,
    /// It fails, for everybody.
    pub fails: Arc<AtomicBool>,
}

impl Reached {
    pub fn new(disk: &LossyFs, alive: Arc<AtomicBool>, fails: Arc<AtomicBool>) -> Reached {
        Reached { store: Directory::new(Arc::new(disk.clone()), Path::new("/data/state")), alive, fails }
    }

    fn reach(&self) -> io::Result<()> {
        if !self.alive.load(Relaxed) || self.fails.load(Relaxed) {
            return Err(io::Error::other("the store does not answer"));
        }
        Ok(())
    }
}

impl Store for Reached {
    fn put_if_absent(&self, name: &str, bytes: &[u8], _hurry: &AtomicBool) -> io::Result<bool> {
        self.reach()?;
        // Nobody sleeps in a simulated world.
        self.store.put_if_absent(name, bytes, &AtomicBool::new(true))
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.reach()?;
        self.store.get(name)
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        self.reach()?;
        self.store.list(prefix)
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        self.reach()?;
        self.store.delete(names)
    }
}
