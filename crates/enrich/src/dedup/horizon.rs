//! How far back counts: a function of the position of the record that asks and of the times at which the generations
//! below it began.
//!
//! ```text
//! generations:   |  h - 1  |  h  |  h + 1  |   ...   |  g  |  the record that asks is in g
//!                          ^           begin(g) - horizon lies in h: h counts whole, h - 1 does not
//!                        floor
//! ```
//! So at least the horizon counts, and at most two generations' time more. A generation begins at the received time of its
//! first record, but never before the one below it: a clock that is put back makes the horizon longer, never shorter.

use std::collections::VecDeque;

use event::{Micros, Offset};

/// Times of generations that are kept beyond those that can count, for readings that go back.
const MARGIN: u64 = 64;

pub(super) struct Generations {
    /// Positions in one.
    size: Offset,
    horizon_us: i64,
    /// Most of them that count beside the current one, by memory and disk.
    most: u64,
    /// Number of the generation that `begins` begins with: nothing is known of those below.
    first: u64,
    /// When each began, in microseconds.
    begins: VecDeque<i64>,
    floor: u64,
    newest: i64,
}

impl Generations {
    pub fn new(size: Offset, horizon_us: i64, most: u64) -> Generations {
        Generations { size, horizon_us, most, first: 0, begins: VecDeque::new(), floor: 0, newest: i64::MIN }
    }

    pub fn size(&self) -> Offset {
        self.size
    }

    pub fn horizon_us(&self) -> i64 {
        self.horizon_us
    }

    /// Most generations that count beside the current one.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// A record is read at `offset`. Going back takes back what was learned above.
    pub fn enter(&mut self, offset: Offset, received: Micros) {
        self.newest = self.newest.max(received.0);
        let generation = offset / self.size;
        match self.last() {
            Some(last) if generation == last => return,
            Some(last) if generation > last && generation - last <= self.most + MARGIN => {
                let begin = self.begins.back().map_or(received.0, |b| received.0.max(*b));
                self.begins.extend((last..generation).map(|_| begin));
            }
            Some(last) if generation < last && generation >= self.first => {
                self.begins.truncate((generation - self.first) as usize + 1);
            }
            _ => self.restart(generation, received.0),
        }
        while self.begins.len() as u64 > self.most + 2 * MARGIN {
            self.begins.pop_front();
            self.first += 1;
        }
        self.floor = self.floor_of(generation);
    }

    /// Takes in the times of generations that end at position `to`, as a run has them.
    pub fn restore(&mut self, to: Offset, begins: &[i64]) {
        let end = to / self.size;
        for (generation, begin) in (end - begins.len() as u64..end).zip(begins) {
            match self.last() {
                Some(last) if generation == last + 1 => self.begins.push_back(*begin),
                Some(last) if generation <= last => {}
                _ => self.restart(generation, *begin),
            }
        }
        self.floor = self.last().map_or(0, |last| self.floor_of(last));
    }

    /// When the generations in these positions began, the last ones that are known.
    pub fn begins(&self, from: Offset, to: Offset) -> Vec<i64> {
        let (from, to) = ((from / self.size).max(self.first), to / self.size);
        (from..to).filter_map(|g| self.begins.get((g - self.first) as usize).copied()).collect()
    }

    /// The first position that counts for the record read last.
    pub fn floor(&self) -> Offset {
        self.floor * self.size
    }

    /// The first position that counts for records at `offset` and above it.
    pub fn floor_at(&self, offset: Offset) -> Offset {
        let known = self.last().unwrap_or(0);
        self.floor_of((offset / self.size).min(known)) * self.size
    }

    /// Received time between the first record that counts and the newest one.
    pub fn reach(&self) -> i64 {
        let begin = self.begins.get(self.floor.saturating_sub(self.first) as usize);
        begin.map_or(0, |b| self.newest.saturating_sub(*b).max(0))
    }

    fn floor_of(&self, generation: u64) -> u64 {
        let begin = |g: u64| self.begins.get(g.saturating_sub(self.first) as usize).copied().unwrap_or(i64::MIN);
        let cut = begin(generation).saturating_sub(self.horizon_us);
        let (mut from, mut to) = (generation.saturating_sub(self.most).max(self.first), generation);
        // Times rise with the generations, so the first one that ends after the cut is found by halving.
        while from < to {
            let middle = from.midpoint(to);
            if begin(middle + 1) <= cut {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }

    fn last(&self) -> Option<u64> {
        (!self.begins.is_empty()).then(|| self.first + self.begins.len() as u64 - 1)
    }

    fn restart(&mut self, generation: u64, begin: i64) {
        self.begins.clear();
        self.begins.push_back(begin);
        self.first = generation;
    }
}
