//! The recent pairs, exactly: a ring of entries in the order of their positions, and an index of hashes over it.
//!
//! The ring is three things at once. Its front is what is forgotten first, its middle is what the next run is made of, and
//! its back is what a second reading takes away again. Nothing is ever scanned, and its size is fixed from the start.

use event::Offset;

/// An identity that was passed on, where, and with which payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pair {
    pub id: u128,
    pub payload: u64,
    pub offset: Offset,
}

/// What is known of an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    pub payload: u64,
    pub offset: Offset,
}

impl From<Pair> for Seen {
    fn from(pair: Pair) -> Seen {
        Seen { payload: pair.payload, offset: pair.offset }
    }
}

/// Bytes of an entry.
const ENTRY_BYTES: u64 = 32;
const EMPTY: u32 = 0;
/// 2^64 divided by the golden ratio: ids are hashes already, but tests and whoever chooses ids are not to be trusted.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

pub(super) struct Table {
    /// Grows to `capacity` once and is a ring from then on.
    entries: Vec<Pair>,
    capacity: usize,
    /// Place of the oldest entry.
    head: usize,
    len: usize,
    /// `| some bits of the hash | place + 1 |`, linear probing, at most half full. An id that was passed on twice, the first
    /// time beyond the horizon, stands here twice.
    slots: Vec<u32>,
    /// Bits of a slot that are the place.
    place_bits: u32,
    slot_bits: u32,
}

impl Table {
    /// Bytes a table of so many entries takes.
    pub fn bytes(capacity: u64) -> u64 {
        capacity * ENTRY_BYTES + (capacity * 2).next_power_of_two() * 4
    }

    pub fn new(capacity: usize) -> Table {
        let slots = (capacity * 2).next_power_of_two();
        Table {
            // Memory that is not touched yet costs nothing.
            entries: Vec::with_capacity(capacity),
            capacity,
            head: 0,
            len: 0,
            slots: vec![EMPTY; slots],
            place_bits: usize::BITS - capacity.leading_zeros(),
            slot_bits: slots.trailing_zeros(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The entry of this id with the highest position.
    pub fn newest(&self, id: u128) -> Option<Seen> {
        let (mut at, tag) = self.home(id);
        let mut newest: Option<Pair> = None;
        while self.slots[at] != EMPTY {
            let slot = self.slots[at];
            if slot >> self.place_bits == tag {
                let entry = self.entries[self.place(slot)];
                if entry.id == id && newest.is_none_or(|n| n.offset < entry.offset) {
                    newest = Some(entry);
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        newest.map(Seen::from)
    }

    /// Adds an entry behind all others. A full table grows, which copies it whole: the caller makes room first.
    pub fn push(&mut self, pair: Pair) {
        debug_assert!(self.last().is_none_or(|l| l.offset < pair.offset), "positions rise");
        if self.len == self.capacity {
            self.grow();
        }
        let place = self.wrap(self.head + self.len);
        if place == self.entries.len() {
            self.entries.push(pair);
        } else {
            self.entries[place] = pair;
        }
        self.len += 1;
        let (mut at, tag) = self.home(pair.id);
        while self.slots[at] != EMPTY {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = tag << self.place_bits | (place as u32 + 1);
    }

    pub fn first(&self) -> Option<Pair> {
        (self.len > 0).then(|| self.entries[self.head])
    }

    pub fn last(&self) -> Option<Pair> {
        (self.len > 0).then(|| self.at(self.len - 1))
    }

    pub fn pop_first(&mut self) {
        self.unlink(self.head);
        self.head = self.wrap(self.head + 1);
        self.len -= 1;
    }

    /// Takes away what stands at or above a position, as if it had never been seen.
    pub fn undo(&mut self, offset: Offset) {
        while self.last().is_some_and(|l| l.offset >= offset) {
            self.unlink(self.wrap(self.head + self.len - 1));
            self.len -= 1;
        }
    }

    /// How many entries stand below a position.
    pub fn below(&self, offset: Offset) -> usize {
        let (mut from, mut to) = (0, self.len);
        while from < to {
            let middle = from.midpoint(to);
            if self.at(middle).offset < offset {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    /// Entries by age, the oldest is 0.
    pub fn range(&self, ages: std::ops::Range<usize>) -> impl Iterator<Item = Pair> {
        ages.map(|age| self.at(age))
    }

    fn at(&self, age: usize) -> Pair {
        self.entries[self.wrap(self.head + age)]
    }

    fn wrap(&self, place: usize) -> usize {
        if place >= self.capacity { place - self.capacity } else { place }
    }

    fn place(&self, slot: u32) -> usize {
        (slot & ((1 << self.place_bits) - 1)) as usize - 1
    }

    /// The first slot to look at, and what a slot of this id has above its place.
    fn home(&self, id: u128) -> (usize, u32) {
        let hash = ((id >> 64) as u64 ^ (id as u64).rotate_left(32)).wrapping_mul(MIX);
        ((hash >> (64 - self.slot_bits)) as usize, (hash as u32) >> self.place_bits)
    }

    /// Takes the entry at a place out of the index, and moves back what stood behind it only because it was there.
    fn unlink(&mut self, place: usize) {
        let mask = self.slots.len() - 1;
        let (mut hole, _) = self.home(self.entries[place].id);
        while self.slots[hole] == EMPTY || self.place(self.slots[hole]) != place {
            debug_assert!(self.slots[hole] != EMPTY, "every entry is in the index");
            hole = (hole + 1) & mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if self.slots[at] == EMPTY {
                break;
            }
            let (home, _) = self.home(self.entries[self.place(self.slots[at])].id);
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.slots[hole] = EMPTY;
    }

    fn grow(&mut self) {
        let mut bigger = Table::new(self.capacity * 2);
        for pair in self.range(0..self.len) {
            bigger.push(pair);
        }
        *self = bigger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same calls on a list.
    #[test]
    fn it_answers_as_a_list_does() {
        for seed in 1..40u64 {
            let mut x = seed.wrapping_mul(MIX) | 1;
            let mut chance = move |n: u64| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x % n
            };
            let mut table = Table::new(8 + chance(60) as usize);
            let mut list: Vec<Pair> = Vec::new();
            let mut offset = 0;
            for _ in 0..3000 {
                match chance(16) {
                    0 if !list.is_empty() => {
                        let back = chance(list.len() as u64 / 4 + 1) as usize;
                        offset = list[list.len() - 1 - back].offset;
                        table.undo(offset);
                        list.retain(|p| p.offset < offset);
                    }
                    1..=5 if !list.is_empty() => {
                        table.pop_first();
                        list.remove(0);
                    }
                    _ => {
                        offset += 1 + chance(3);
                        // Few ids, and some that differ in their upper half only.
                        let pair = Pair { id: u128::from(chance(40)) << (chance(2) * 64), payload: offset * 3, offset };
                        table.push(pair);
                        list.push(pair);
                    }
                }
                let id = u128::from(chance(40)) << (chance(2) * 64);
                let newest = list.iter().rev().find(|p| p.id == id).map(|p| Seen::from(*p));
                assert_eq!(table.newest(id), newest, "seed {seed}");
                let at = chance(offset + 2);
                assert_eq!(table.below(at), list.iter().filter(|p| p.offset < at).count());
            }
            assert_eq!(table.range(0..table.len()).collect::<Vec<_>>(), list);
        }
    }
}
