//! Keys and their rows in one buffer, and an open-addressed table of places in it.
//!
//! ```text
//! slots:  | hash: 24 bits, place + 1: 40 bits |  ...  (0: free)      at most two thirds are taken
//! bytes:  | key length u16 | many: 1 bit, row length: 31 bits | key | row |  ...
//! ```
//! A lookup is one probe of `slots`, and then key and row lie beside each other: two or three misses of the processor's
//! cache. A row costs 6 bytes, its key, and 12 to 24 bytes of slots beyond its JSON.

use xxhash_rust::xxh3::xxh3_64;

/// Bytes before the key.
const HEAD: usize = 6;
const PLACE_BITS: u32 = 40;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
const MANY: u32 = 1 << 31;
/// Slots of a new index.
const FIRST_SLOTS: usize = 1 << 6;

pub(super) struct Index {
    bytes: Vec<u8>,
    /// A power of two of them.
    slots: Vec<u64>,
    len: usize,
    json_bytes: usize,
}

/// A row of the index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Taken<'i> {
    pub json: &'i [u8],
    /// Its key stood in more than one row.
    pub many: bool,
}

impl Index {
    pub(super) fn new() -> Index {
        Index { bytes: Vec::new(), slots: vec![0; FIRST_SLOTS], len: 0, json_bytes: 0 }
    }

    /// Adds a row under a key of at most 65,535 bytes; false if the key has one already, which is then marked.
    pub(super) fn insert(&mut self, key: &[u8], json: &[u8]) -> bool {
        let hash = xxh3_64(key);
        if let Some(place) = self.place(hash, key) {
            let lengths = u32_at(&self.bytes, place + 2) | MANY;
            self.bytes[place + 2..place + HEAD].copy_from_slice(&lengths.to_le_bytes());
            return false;
        }
        if (self.len + 1) * 3 > self.slots.len() * 2 {
            self.grow();
        }
        let place = self.bytes.len();
        let key_len = u16::try_from(key.len()).expect("keys are bounded");
        let json_len = u32::try_from(json.len()).expect("rows are bounded");
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&json_len.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(json);
        seat(&mut self.slots, hash, place);
        self.len += 1;
        self.json_bytes += json.len();
        true
    }

    pub(super) fn find(&self, key: &[u8]) -> Option<Taken<'_>> {
        let place = self.place(xxh3_64(key), key)?;
        let lengths = u32_at(&self.bytes, place + 2);
        let start = place + HEAD + key.len();
        Some(Taken { json: &self.bytes[start..start + (lengths & !MANY) as usize], many: lengths & MANY != 0 })
    }

    /// Where a key's row begins.
    fn place(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot >> PLACE_BITS == hash >> PLACE_BITS {
                let place = (slot & PLACE_MASK) as usize - 1;
                // A forged hash costs this comparison, and finds no other key's row.
                if self.key(place) == key {
                    return Some(place);
                }
            }
            at = (at + 1) & mask;
        }
    }

    fn key(&self, place: usize) -> &[u8] {
        let len = usize::from(u16::from_le_bytes([self.bytes[place], self.bytes[place + 1]]));
        &self.bytes[place + HEAD..place + HEAD + len]
    }

    /// Twice the slots. The rows are read again from the first to the last, which is quicker than to keep their hashes.
    fn grow(&mut self) {
        let mut slots = vec![0; self.slots.len() * 2];
        let mut place = 0;
        while place < self.bytes.len() {
            let key = self.key(place);
            seat(&mut slots, xxh3_64(key), place);
            place += HEAD + key.len() + (u32_at(&self.bytes, place + 2) & !MANY) as usize;
        }
        self.slots = slots;
    }

    /// Gives back the memory that growing took in advance.
    pub(super) fn finish(mut self) -> Index {
        self.bytes.shrink_to_fit();
        self
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn json_bytes(&self) -> usize {
        self.json_bytes
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity() + self.slots.capacity() * size_of::<u64>()
    }
}

/// Puts a place in the first free slot of its hash.
fn seat(slots: &mut [u64], hash: u64, place: usize) {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at] != 0 {
        at = (at + 1) & mask;
    }
    slots[at] = (hash >> PLACE_BITS << PLACE_BITS) | (place as u64 + 1);
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_is_never_taken_for_its_key() {
        let mut index = Index::new();
        index.insert(b"a", b"1");
        seat(&mut index.slots, xxh3_64(b"b"), 0);
        assert_eq!(index.find(b"b"), None);
        assert_eq!(index.find(b"a"), Some(Taken { json: b"1", many: false }));
    }

    proptest! {
        /// Against a map of the standard library, with keys that repeat and enough of them to grow.
        #[test]
        fn it_finds_what_was_put_in(rows in prop::collection::vec((0u32..3000, ".{0,20}"), 0..3000)) {
            let mut index = Index::new();
            let mut model: BTreeMap<String, (String, bool)> = BTreeMap::new();
            for (key, json) in &rows {
                let key = format!("key {key}");
                let fresh = index.insert(key.as_bytes(), json.as_bytes());
                prop_assert_eq!(fresh, !model.contains_key(&key));
                model.entry(key).and_modify(|row| row.1 = true).or_insert((json.clone(), false));
            }
            let index = index.finish();
            prop_assert_eq!(index.len(), model.len());
            prop_assert_eq!(index.json_bytes(), model.values().map(|(json, _)| json.len()).sum::<usize>());
            for key in 0..3000 {
                let key = format!("key {key}");
                let found = index.find(key.as_bytes());
                let expected = model.get(&key).map(|(json, many)| Taken { json: json.as_bytes(), many: *many });
                prop_assert_eq!(found, expected);
            }
            prop_assert_eq!(index.find(b""), None);
        }
    }
}
