//! What was found for a text, kept by the text: agents repeat, and one costs a hundred times as much as a look here.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Parts with a lock each: threads seldom meet in one of sixteen.
const SHARDS: usize = 16;

/// What an entry takes besides its bytes: its place in the table, a third of which is empty, and the allocator's.
const ENTRY_BYTES: usize = 64;

/// Texts and what was found for them, within a number of bytes. The ones that were not asked for in a long time go first.
pub(crate) struct Memo {
    shards: [Mutex<Shard>; SHARDS],
    /// Of this process, so that nobody outside can choose texts that fall together.
    seed: u64,
    shard_bytes: usize,
}

/// Two generations. What is found in the old one moves to the young one; when that is full, it becomes the old one, and
/// what is left of the old one is dropped.
#[derive(Default)]
struct Shard {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
    young_bytes: usize,
}

struct Entry {
    hash: u64,
    /// The text, and what was found for it.
    bytes: Box<[u8]>,
    text_len: u32,
}

impl Entry {
    fn is(&self, hash: u64, text: &str) -> bool {
        self.hash == hash && &self.bytes[..self.text_len as usize] == text.as_bytes()
    }

    fn weight(&self) -> usize {
        self.bytes.len() + ENTRY_BYTES
    }
}

impl Memo {
    pub(crate) fn new(bytes: usize) -> Memo {
        Memo {
            shards: std::array::from_fn(|_| Mutex::default()),
            seed: RandomState::new().hash_one(0u8),
            shard_bytes: bytes / SHARDS,
        }
    }

    /// Appends what is known for `text`; else what `find` writes, which is kept. Gives how many bytes that are.
    pub(crate) fn ask(&self, text: &str, out: &mut Vec<u8>, find: impl FnOnce(&mut Vec<u8>)) -> usize {
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        // The table takes its place from the low bits and its tag from the high ones.
        let shard = &self.shards[(hash >> 32) as usize % SHARDS];
        let from = out.len();
        if shard.lock().unwrap_or_else(PoisonError::into_inner).look(hash, text, out, self.shard_bytes / 2) {
            return out.len() - from;
        }
        // Not under the lock: others need not wait, and two that find the same do no harm.
        find(out);
        let bytes = [text.as_bytes(), &out[from..]].concat().into_boxed_slice();
        let entry = Entry { hash, bytes, text_len: text.len() as u32 };
        shard.lock().unwrap_or_else(PoisonError::into_inner).keep(entry, self.shard_bytes / 2);
        out.len() - from
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        let of = |table: &HashTable<Entry>| table.iter().map(Entry::weight).sum::<usize>();
        self.shards.iter().map(|s| s.lock().expect("a shard")).map(|s| of(&s.young) + of(&s.old)).sum()
    }
}

impl Shard {
    fn look(&mut self, hash: u64, text: &str, out: &mut Vec<u8>, generation_bytes: usize) -> bool {
        if let Some(entry) = self.young.find(hash, |e| e.is(hash, text)) {
            out.extend_from_slice(&entry.bytes[entry.text_len as usize..]);
            return true;
        }
        let Ok(found) = self.old.find_entry(hash, |e| e.is(hash, text)) else { return false };
        let (entry, _) = found.remove();
        out.extend_from_slice(&entry.bytes[entry.text_len as usize..]);
        self.keep(entry, generation_bytes);
        true
    }

    fn keep(&mut self, entry: Entry, generation_bytes: usize) {
        if self.young_bytes + entry.weight() > generation_bytes {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        if self.young.find(entry.hash, |e| e.hash == entry.hash && e.bytes == entry.bytes).is_none() {
            self.young_bytes += entry.weight();
            self.young.insert_unique(entry.hash, entry, |e| e.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_with_what_was_found_and_asks_once() {
        let memo = Memo::new(1 << 20);
        let mut asked = 0;
        for round in 0..3 {
            for text in ["", "a", "b", "ü"] {
                let mut out = Vec::from(*b"before ");
                let len = memo.ask(text, &mut out, |out| {
                    asked += 1;
                    out.extend_from_slice(format!("<{text}>").as_bytes());
                });
                assert_eq!(String::from_utf8(out).expect("text"), format!("before <{text}>"), "round {round}");
                assert_eq!(len, text.len() + 2);
            }
        }
        assert_eq!(asked, 4);
    }

    #[test]
    fn it_stays_within_its_bytes_and_keeps_what_is_asked_for() {
        const BYTES: usize = 256 << 10;
        let memo = Memo::new(BYTES);
        let mut again = 0;
        let mut out = Vec::new();
        for n in 0..50_000 {
            memo.ask(&format!("agent {n}"), &mut out, |out| out.extend_from_slice(&[b'x'; 100]));
            memo.ask("the usual one", &mut out, |out| {
                again += 1;
                out.push(b'u');
            });
            out.clear();
            if n % 1_000 == 0 {
                assert!(memo.bytes() <= BYTES, "{} bytes after {n}", memo.bytes());
            }
        }
        assert_eq!(again, 1);
        assert!(memo.bytes() > BYTES / 4, "it keeps less than it may: {}", memo.bytes());
    }

    /// What was old is asked for again and again while new texts come: it may not pile up among the young.
    #[test]
    fn it_stays_within_its_bytes_when_all_is_asked_for_again() {
        const BYTES: usize = 256 << 10;
        let mut out = Vec::new();
        // New texts for a part of a generation, which has some 750, and then those of the part before.
        for part in (100..800).step_by(100) {
            let memo = Memo::new(BYTES);
            for block in 0..20usize {
                for n in (block * part..(block + 1) * part).chain(block.saturating_sub(1) * part..block * part) {
                    memo.ask(&format!("agent {n}"), &mut out, |out| out.extend_from_slice(&[b'x'; 100]));
                    out.clear();
                    assert!(memo.bytes() <= BYTES, "{} bytes after {n}", memo.bytes());
                }
            }
        }
    }

    #[test]
    fn an_entry_larger_than_a_generation_is_no_harm() {
        let memo = Memo::new(1 << 10);
        let mut out = Vec::new();
        for _ in 0..3 {
            memo.ask("x", &mut out, |out| out.extend_from_slice(&[b'x'; 5_000]));
        }
        assert_eq!(out.len(), 15_000);
    }
}
