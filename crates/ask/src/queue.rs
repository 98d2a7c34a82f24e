//! Keys that wait to be sent in bulk, in the order they came. Each may leave at any time.

use std::collections::BTreeMap;

use crate::Key;

#[derive(Default)]
pub struct Queue {
    next: u64,
    waiting: BTreeMap<u64, (u64, Key)>,
}

/// A place in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place(u64);

impl Queue {
    pub fn push(&mut self, now: u64, key: Key) -> Place {
        self.next += 1;
        self.waiting.insert(self.next, (now, key));
        Place(self.next)
    }

    pub fn remove(&mut self, place: Place) {
        self.waiting.remove(&place.0);
    }

    /// When the next bulk may go: when it is full, or its first key has waited long enough.
    pub fn due_at(&self, bulk: usize, wait_us: u64) -> Option<u64> {
        let (_, (since, _)) = self.waiting.first_key_value()?;
        Some(if self.waiting.len() >= bulk { *since } else { since + wait_us })
    }

    /// The keys that came first, as many as there are up to so many.
    pub fn take(&mut self, max: usize) -> Vec<Key> {
        let count = max.min(self.waiting.len());
        (0..count).map(|_| self.waiting.pop_first().expect("it was counted").1.1).collect()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
