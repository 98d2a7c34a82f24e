//! Where entries lie, by their keys' hashes: open addressing with linear probes, so that most finds touch one line of
//! memory, and with entries moved back when one before them goes, so that no marks are left to be swept out.

/// A hash's part that says where its slot is and tells most others apart.
pub type Tag = u32;

/// No place is this one: its segment's last eight bytes are never an entry's beginning.
const EMPTY: u64 = u64::MAX;

const CAPACITY_MIN: usize = 64;

/// Slots that are filled, at most, in eighths: more would make long probes.
const FILLED_MAX: usize = 7;

#[derive(Default)]
pub struct Index {
    /// Tag and place, ordered by tag but for what had to move on: growing is one pass.
    slots: Box<[u64]>,
    len: usize,
}

/// Whoever shards by hash takes away some of its bits: the tag is of all of them.
pub fn tag(hash: u64) -> Tag {
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as Tag
}

impl Index {
    /// The place with this tag for which `is` holds.
    pub fn find(&self, tag: Tag, is: impl Fn(u32) -> bool) -> Option<u32> {
        self.at(tag, is).map(|at| self.slots[at] as u32)
    }

    /// Call it for what is not there.
    pub fn insert(&mut self, tag: Tag, place: u32) {
        if (self.len + 1) * 8 > self.slots.len() * FILLED_MAX {
            self.grow();
        }
        self.put(u64::from(tag) << 32 | u64::from(place));
        self.len += 1;
    }

    /// Takes a place out; panics if it is not there.
    pub fn remove(&mut self, tag: Tag, place: u32) {
        let mut hole = self.at(tag, |other| other == place).expect("an entry that lives is in the index");
        let mut next = self.after(hole);
        while self.slots[next] != EMPTY {
            let home = self.home((self.slots[next] >> 32) as Tag);
            // What lies behind the hole moves into it unless its home is behind it too.
            let count = self.slots.len();
            if (next + count - home) % count >= (next + count - hole) % count {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = self.after(next);
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn bytes(&self) -> usize {
        self.slots.len() * 8
    }

    fn at(&self, tag: Tag, is: impl Fn(u32) -> bool) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(tag);
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                return None;
            }
            if (slot >> 32) as Tag == tag && is(slot as u32) {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    fn home(&self, tag: Tag) -> usize {
        ((u64::from(tag) * self.slots.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    fn put(&mut self, slot: u64) {
        let mut at = self.home((slot >> 32) as Tag);
        while self.slots[at] != EMPTY {
            at = self.after(at);
        }
        self.slots[at] = slot;
    }

    /// By half: it is memory that entries do not get.
    fn grow(&mut self) {
        let count = (self.slots.len() * 3 / 2).max(CAPACITY_MIN);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; count].into_boxed_slice());
        old.into_iter().filter(|slot| *slot != EMPTY).for_each(|slot| self.put(slot));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few tags, at both ends, so that they meet and go round.
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0..6_u32, 0..200_u32), 1..800)) {
            let mut index = Index::default();
            let mut model = BTreeSet::new();
            for (add, n, place) in steps {
                let tag = if n < 3 { n } else { Tag::MAX - n };
                if add && model.insert((tag, place)) {
                    index.insert(tag, place);
                } else if !add && model.remove(&(tag, place)) {
                    index.remove(tag, place);
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for tag in (0..3).chain((3..6).map(|n| Tag::MAX - n)) {
                for place in 0..200 {
                    let found = index.find(tag, |other| other == place).is_some();
                    prop_assert_eq!(found, model.contains(&(tag, place)));
                }
            }
        }
    }
}
