//! The runs of one partition that can be asked, shared by the thread that judges and the one that writes them.

use std::sync::{Arc, Mutex, MutexGuard};

use enrich::dedup::{Older, Place, Seen};
use event::Offset;
use seam::Fs;

use super::file::OpenRun;

/// Runs of one partition beyond which no more is read until some are merged: each is asked for every record.
pub const RUNS_MAX: usize = 48;
/// Runs of one partition beyond which merging is no longer held back; in the long run there are 20 at most.
pub const RUNS_MANY: usize = 28;

#[derive(Clone)]
pub struct Shelf {
    fs: Arc<dyn Fs>,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
pub struct Held {
    /// Oldest first; neighbours meet.
    pub runs: Vec<Arc<OpenRun>>,
    /// What the sealer has done since it was looked at last.
    pub done: Vec<Done>,
    /// Pages read because an index said that a pair may be there, and how many of these reads found it.
    pub asked: u64,
    pub found: u64,
    /// Of the search that is made; kept so that none allocates.
    places: Vec<Place>,
    slots: Vec<std::ops::Range<usize>>,
    /// For tests: the filters say yes to everything.
    pub always_yes: bool,
}

/// What the sealer reports.
pub enum Done {
    Sealed(Arc<OpenRun>),
    Merged {
        inputs: Vec<Arc<OpenRun>>,
        into: Arc<OpenRun>,
    },
    /// Not merged for now: the disk would not take it.
    Postponed,
    /// A run that was to be merged cannot be read.
    Unreadable(String),
}

impl Shelf {
    pub fn new(fs: Arc<dyn Fs>) -> Shelf {
        Shelf { fs, held: Arc::default() }
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while held")
    }
}

impl Older for Shelf {
    fn find(&mut self, id: u128, from: Offset) -> Result<Option<Seen>, String> {
        let mut held = self.held();
        let held = &mut *held;
        let first = held.runs.partition_point(|r| r.to() <= from);
        let runs = &held.runs[first..];
        // The steps of all runs are taken together, so that their cache misses are waited for at once.
        held.places.clear();
        held.places.extend(runs.iter().map(|run| run.index.place(id)));
        held.slots.clear();
        held.slots.extend(runs.iter().zip(&held.places).map(|(run, place)| run.index.slot(*place)));
        for ((run, place), slot) in runs.iter().zip(&held.places).zip(&held.slots).rev() {
            let candidates = match held.always_yes {
                false => run.index.candidates(*place, slot.clone()),
                true => run.index.everything(),
            };
            if candidates.is_empty() {
                continue;
            }
            held.asked += 1;
            if let Some(pair) = run.find(&*self.fs, id, candidates)? {
                held.found += 1;
                // What is newest decides: an older one below it counts even less.
                return Ok((pair.offset >= from).then_some(pair.into()));
            }
        }
        Ok(None)
    }
}
