//! One key on its way, and those who wait for it.

use std::collections::BTreeSet;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::breaker::Pass;
use crate::queue::Place;
use crate::{AskId, CallId, Entry, Key, Tier};

/// Where a flight is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Waits to be read from the shared tier with others.
    Gathering(Place),
    /// The shared tier is asked for its entry.
    Reading(Pass),
    /// The shared tier is asked for its lease.
    Leasing(Pass),
    /// Another process has the lease: looks again when its timer fires.
    Watching,
    /// Waits to be called with others, and for a permit.
    Queued(Place),
    /// In a call that is open, or will be made again.
    Flying(CallId),
}

pub struct Flight {
    pub key: Key,
    pub stage: Stage,
    /// By deadline.
    pub askers: BTreeSet<(u64, AskId)>,
    /// The asker with whom it began, or to whom it was handed over.
    pub leader: Option<AskId>,
    /// The best there is if the source fails, and who knew it.
    pub stale: Option<(Entry, Tier)>,
    pub refresh: Option<Refresh>,
    /// Whether this process has the key's lease.
    pub leased: bool,
    /// The time of its timer.
    pub due: Option<u64>,
}

/// Of a flight that is to end with something newer than what is known.
#[derive(Clone, Copy, Debug)]
pub struct Refresh {
    pub until: u64,
    /// What is known is good until then.
    pub fresh_until: i64,
}

impl Flight {
    /// The time from which nobody waits for it; `None`: nobody does.
    pub fn until(&self) -> Option<u64> {
        let asker = self.askers.last().map(|(deadline, _)| *deadline);
        asker.max(self.refresh.map(|refresh| refresh.until))
    }

    /// Takes a stale entry in if it is the best so far.
    pub fn offer(&mut self, entry: Entry, tier: Tier) {
        if self.stale.as_ref().is_none_or(|(stale, _)| stale.fetched_at < entry.fetched_at) {
            self.stale = Some((entry, tier));
        }
    }
}

/// Flights by key. Never iterated.
#[derive(Default)]
pub struct Flights {
    table: HashTable<Flight>,
}

impl Flights {
    pub fn get(&self, key: &[u8]) -> Option<&Flight> {
        self.table.find(xxh3_64(key), |flight| *flight.key == *key)
    }

    pub fn get_mut(&mut self, key: &[u8]) -> Option<&mut Flight> {
        self.table.find_mut(xxh3_64(key), |flight| *flight.key == *key)
    }

    /// Call it for a key without a flight.
    pub fn insert(&mut self, flight: Flight) {
        self.table.insert_unique(xxh3_64(&flight.key), flight, |flight| xxh3_64(&flight.key));
    }

    pub fn remove(&mut self, key: &[u8]) -> Option<Flight> {
        let entry = self.table.find_entry(xxh3_64(key), |flight| *flight.key == *key);
        entry.ok().map(|entry| entry.remove().0)
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }
}
