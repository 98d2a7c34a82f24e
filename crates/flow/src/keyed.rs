//! Keyed state of one input partition: a value and at most one timer a key. Writes go straight into the state; an undo log
//! for each open commit keeps what was there before.
//!
//! ```text
//!   set, remove:  state <- new,  log of the newest open commit <- old
//!   Committed:    the log of the oldest open commit is forgotten
//!   Aborted:      the logs of all open commits are played backwards, newest change first
//! ```
//!
//! * [`snapshot`]: the state as of a moment, in slices, while it goes on changing

mod slab;
pub mod snapshot;
mod timers;

use std::collections::VecDeque;

use event::Micros;

use self::slab::{Contents, Slab};
use self::snapshot::Changes;
pub use self::snapshot::LoadError;

/// State of one operator for one partition: values by key (each operator's own encoding) and event-time timers.
#[derive(Default)]
pub struct Keyed {
    slab: Slab,
    /// Oldest first.
    undo: VecDeque<Undo>,
    /// How many entries of `undo` belong to each open commit, oldest first.
    open: VecDeque<usize>,
    changes: Changes,
    /// A bug that tests plant.
    leaks_map_order: bool,
}

/// How to take a change back. Slot numbers hold because changes are only ever taken back newest first.
enum Undo {
    Replaced { slot: u32, value: Box<[u8]>, timer: Option<Micros> },
    Inserted { slot: u32 },
    Removed { slot: u32, contents: Contents },
}

impl Keyed {
    /// Opens the undo log of the next commit.
    pub fn open(&mut self) {
        self.open.push_back(0);
    }

    /// The oldest open commit happened: it cannot be undone any more.
    pub fn merge_oldest(&mut self) {
        let changes = self.open.pop_front().expect("an open commit that happened");
        self.undo.drain(..changes);
    }

    /// No open commit happened: all are undone.
    pub fn drop_all_open(&mut self) {
        while !self.open.is_empty() {
            self.drop_newest();
        }
    }

    /// Undoes the newest open commit alone: a panic in the middle of a batch, or of one record.
    pub fn drop_newest(&mut self) {
        let changes = self.open.pop_back().expect("an open commit to undo");
        for _ in 0..changes {
            let undo = self.undo.pop_back().expect("as many as were counted");
            self.take_back(undo);
        }
    }

    /// The newest open commit becomes part of the one below it: a record of a batch went well.
    pub fn fold_newest(&mut self) {
        let changes = self.open.pop_back().expect("an open commit to fold");
        *self.open.back_mut().expect("an open commit below it") += changes;
    }

    pub fn open_commits(&self) -> usize {
        self.open.len()
    }

    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        self.slab.find(key).map(|slot| &*self.slab.slot(slot).value)
    }

    /// The key's timer.
    pub fn timer(&self, key: &[u8]) -> Option<Micros> {
        self.slab.find(key).and_then(|slot| self.slab.slot(slot).timer)
    }

    /// Replaces the key's value and its timer. A commit must be open.
    pub fn set(&mut self, key: &[u8], value: Vec<u8>, timer: Option<Micros>) {
        assert!(!self.open.is_empty(), "open() before the first write of a commit");
        let value = value.into_boxed_slice();
        let undo = match self.slab.find(key) {
            Some(slot) => {
                let (value, timer) = self.replace(slot, value, timer);
                Undo::Replaced { slot, value, timer }
            }
            None => Undo::Inserted { slot: self.insert(Contents { key: key.into(), value, timer }) },
        };
        self.log(undo);
    }

    /// Removes the key with its timer, if it is there. A commit must be open.
    pub fn remove(&mut self, key: &[u8]) {
        assert!(!self.open.is_empty(), "open() before the first write of a commit");
        if let Some(slot) = self.slab.find(key) {
            let contents = self.take(slot);
            self.log(Undo::Removed { slot, contents });
        }
    }

    pub fn earliest_timer(&mut self) -> Option<Micros> {
        self.slab.earliest_timer()
    }

    /// Timers at or before `until`, by time and then by key, at most `max`. They stay set: the operator's `set` or `remove`
    /// of the key is what clears them, so one that does neither is given the same again.
    pub fn take_due(&mut self, until: Micros, max: usize) -> Vec<(Micros, Vec<u8>)> {
        let mut due = self.slab.due(until, max);
        if self.leaks_map_order {
            due.sort_by_key(|(_, key)| self.slab.hash(key));
        }
        due
    }

    /// A bug that tests plant: timers that are due at once are in the order of a hash map, which each state has another of.
    pub fn leak_map_order(&mut self) {
        self.leaks_map_order = true;
    }

    /// A bug that tests plant: all timers are gone. No commit may be open.
    pub fn forget_timers(&mut self) {
        let due = self.slab.due(Micros(i64::MAX), usize::MAX);
        for slot in due.iter().filter_map(|(_, key)| self.slab.find(key)).collect::<Vec<_>>() {
            let value = self.slab.slot(slot).value.clone();
            self.slab.replace(slot, value, None);
        }
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An estimate of the memory that keys, values and what leads to them take.
    pub fn bytes(&self) -> usize {
        self.slab.bytes()
    }

    /// The state with what open commits did, in a canonical order: two states are equal when these bytes are.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |part: &[u8]| {
            out.extend_from_slice(&(part.len() as u32).to_le_bytes());
            out.extend_from_slice(part);
        };
        let mut sorted: Vec<_> = self.slab.iter().collect();
        sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        for slot in &sorted {
            put(&slot.key);
            put(&slot.value);
        }
        out.extend_from_slice(&u32::MAX.to_le_bytes());
        // As the set of timers has them, so that one which the set and the slots tell differently shows.
        let timer_of = |slot| {
            let held = self.slab.slot(slot);
            (held.timer.unwrap_or(Micros::MIN), &*held.key)
        };
        let mut timers: Vec<(Micros, &[u8])> = self.slab.timers().iter().map(timer_of).collect();
        timers.sort_unstable();
        for (at, key) in timers {
            out.extend_from_slice(&at.0.to_le_bytes());
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        }
        out
    }

    fn log(&mut self, undo: Undo) {
        self.undo.push_back(undo);
        *self.open.back_mut().expect("a commit is open") += 1;
    }

    fn take_back(&mut self, undo: Undo) {
        match undo {
            Undo::Replaced { slot, value, timer } => {
                self.replace(slot, value, timer);
            }
            Undo::Inserted { slot } => {
                self.take(slot);
            }
            Undo::Removed { slot, contents } => {
                let again = self.insert(contents);
                assert_eq!(again, slot, "changes are taken back newest first");
            }
        }
    }

    // Every change of the state, forwards or backwards, is one of these three: a snapshot must hear of each.

    fn replace(&mut self, slot: u32, value: Box<[u8]>, timer: Option<Micros>) -> (Box<[u8]>, Option<Micros>) {
        self.changes.before_change(&mut self.slab, slot);
        self.slab.replace(slot, value, timer)
    }

    fn insert(&mut self, contents: Contents) -> u32 {
        let slot = self.slab.insert(contents);
        self.changes.after_insert(&mut self.slab, slot);
        slot
    }

    fn take(&mut self, slot: u32) -> Contents {
        self.changes.before_change(&mut self.slab, slot);
        let contents = self.slab.take(slot);
        self.changes.after_remove(&contents.key, self.slab.len());
        contents
    }
}
