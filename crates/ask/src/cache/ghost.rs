//! Keys that were given up unread a short while ago. Who comes back so soon goes to the main queue.

/// Marks by the low bits of their hash; a newer mark takes an older one's place, which forgets without a list.
pub struct Ghosts {
    marks: Box<[u32]>,
}

/// One mark for so many bytes of cache: about as many as it has entries, for a 64th of its memory.
const BYTES_PER_MARK: usize = 256;

impl Ghosts {
    pub fn new(cache_bytes: usize) -> Ghosts {
        // A power of two at or below, so that it stays within its part.
        let count = 1_usize << (cache_bytes / BYTES_PER_MARK).max(1).ilog2();
        Ghosts { marks: vec![0; count].into_boxed_slice() }
    }

    pub fn insert(&mut self, hash: u64) {
        let at = self.at(hash);
        self.marks[at] = mark(hash);
    }

    /// Whether it was there; it is not any more.
    pub fn take(&mut self, hash: u64) -> bool {
        let at = self.at(hash);
        let was = self.marks[at] == mark(hash);
        if was {
            self.marks[at] = 0;
        }
        was
    }

    pub fn bytes(&self) -> usize {
        self.marks.len() * 4
    }

    fn at(&self, hash: u64) -> usize {
        hash as usize & (self.marks.len() - 1)
    }
}

/// 0 is no mark.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
