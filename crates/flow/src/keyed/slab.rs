//! Where keys and values lie: slots in a row, a table of slot numbers by key, and the timers.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use event::Micros;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::timers::Timers;

/// Slots by key. Which slot a key has is of no meaning outside, and reaches no output.
#[derive(Default)]
pub struct Slab {
    slots: Vec<Slot>,
    /// Empty slots, the next to be filled last. IMPORTANT: a stack, so that undoing the newest changes first gives each
    /// key its old slot back.
    free: Vec<u32>,
    table: HashTable<Place>,
    hasher: DefaultHashBuilder,
    timers: Timers,
    /// The slot that was found last: who reads a key writes it next.
    last: AtomicU32,
    /// Of the keys and values in slots.
    bytes: usize,
}

/// Half of the hash stands beside the slot number, so that a growing table need not look at a million keys.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    slot: u32,
}

/// An empty slot has no key, no value and no timer.
#[derive(Default)]
pub struct Slot {
    pub key: Box<[u8]>,
    pub value: Box<[u8]>,
    pub timer: Option<Micros>,
    /// Where its timer's entry stands (`timers.rs`).
    pub entry: Option<Micros>,
    /// The number of the snapshot that this slot's last change belongs to (`snapshot.rs`); 0: none.
    pub changed_in: u32,
    pub live: bool,
}

/// What a live slot holds.
pub struct Contents {
    pub key: Box<[u8]>,
    pub value: Box<[u8]>,
    pub timer: Option<Micros>,
}

/// Memory of a key beyond its bytes and its value's: the slot, its place in the table, its timer, and what an allocator
/// rounds up. Measured by `examples/keyed_cost.rs`.
const OVERHEAD: usize = 128;

impl Slab {
    pub fn find(&self, key: &[u8]) -> Option<u32> {
        let last = self.last.load(Relaxed);
        if self.slots.get(last as usize).is_some_and(|held| held.live && *held.key == *key) {
            return Some(last);
        }
        let hash = self.hash(key);
        let same = |p: &Place| p.hash == hash && *self.slots[p.slot as usize].key == *key;
        let slot = self.table.find(spread(hash), same)?.slot;
        self.last.store(slot, Relaxed);
        Some(slot)
    }

    pub fn slot(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    pub fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// Live keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Live and empty slots.
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    pub fn bytes(&self) -> usize {
        self.bytes + self.len() * OVERHEAD
    }

    pub fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|s| s.live)
    }

    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    pub fn earliest_timer(&mut self) -> Option<Micros> {
        self.timers.earliest(&mut self.slots)
    }

    /// Timers up to `until`, at most `max`, by time and then key.
    pub fn due(&mut self, until: Micros, max: usize) -> Vec<(Micros, Vec<u8>)> {
        self.timers.due(until, max, &mut self.slots)
    }

    /// Replaces a live slot's value and timer, and gives those that were there.
    pub fn replace(&mut self, slot: u32, value: Box<[u8]>, timer: Option<Micros>) -> (Box<[u8]>, Option<Micros>) {
        let held = &mut self.slots[slot as usize];
        self.bytes = self.bytes - held.value.len() + value.len();
        let old = (std::mem::replace(&mut held.value, value), std::mem::replace(&mut held.timer, timer));
        if old.1 != timer {
            self.timers.changed(slot, held);
        }
        old
    }

    /// Gives a key that is not there a slot.
    pub fn insert(&mut self, contents: Contents) -> u32 {
        let Contents { key, value, timer } = contents;
        let hash = self.hash(&key);
        self.bytes += key.len() + value.len();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 4 billion keys fit into memory")
        });
        let held = &mut self.slots[slot as usize];
        (held.key, held.value, held.timer, held.live) = (key, value, timer, true);
        self.timers.changed(slot, held);
        self.table.insert_unique(spread(hash), Place { hash, slot }, |p| spread(p.hash));
        slot
    }

    /// Empties a live slot.
    pub fn take(&mut self, slot: u32) -> Contents {
        let held = &mut self.slots[slot as usize];
        let (key, value) = (std::mem::take(&mut held.key), std::mem::take(&mut held.value));
        let timer = held.timer.take();
        self.timers.changed(slot, held);
        held.live = false;
        self.bytes -= key.len() + value.len();
        let hash = self.hash(&key);
        let place = self.table.find_entry(spread(hash), |p| p.slot == slot);
        place.ok().expect("a live slot is in the table").remove();
        self.free.push(slot);
        Contents { key, value, timer }
    }

    /// Seeded anew for each slab.
    pub fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }
}

/// The table takes its place from the low bits and a tag from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
