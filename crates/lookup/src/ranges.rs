//! Which range an address lies in: sorted starts, and an index by the first 16 bits that leaves a handful of them to search.
//!
//! ```text
//! what was given    |------ a ------|        |---- c ----|
//!                        |-- b --|
//! what is kept      | a  |   b   |a |  none  |     c     |  none
//!                   ^ a start and a value for each; an end is the next one's start
//! ```

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// An address as a number: `u32` or `u128`.
pub(crate) trait Word: Copy + Ord + Default {
    /// The first [`INDEX_BITS`] bits.
    fn head(self) -> usize;
    fn next(self) -> Option<Self>;
    /// Addresses in `self..=end`, less one.
    fn distance(self, end: Self) -> u128;
}

/// Bits of an address that the index is made by: 65,536 slots. Of IPv4 a slot holds 15 ranges on average and 500 at most;
/// of IPv6, where few slots are in use, some thousands.
const INDEX_BITS: u32 = 16;

/// Fewer starts than this are searched as they are.
const INDEX_FROM: usize = 256;

impl Word for u32 {
    fn head(self) -> usize {
        (self >> (u32::BITS - INDEX_BITS)) as usize
    }
    fn next(self) -> Option<u32> {
        self.checked_add(1)
    }
    fn distance(self, end: u32) -> u128 {
        u128::from(end - self)
    }
}

impl Word for u128 {
    fn head(self) -> usize {
        (self >> (u128::BITS - INDEX_BITS)) as usize
    }
    fn next(self) -> Option<u128> {
        self.checked_add(1)
    }
    fn distance(self, end: u128) -> u128 {
        end - self
    }
}

/// A range as it was given: first and last address, and what is so there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Given<W> {
    pub(crate) first: W,
    pub(crate) last: W,
    pub(crate) value: u32,
}

/// Where a range starts, and its value beside it: the search ends in the cache line that has both.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
struct Range<W> {
    start: W,
    value: u32,
}

/// Ranges that do not overlap and cover all addresses.
pub(crate) struct Ranges<W> {
    /// The first starts at 0.
    ranges: Vec<Range<W>>,
    /// For each slot the range in which its first address lies, and one for the end; empty if there are few ranges.
    index: Vec<u32>,
}

impl<W: Word> Ranges<W> {
    /// Where ranges overlap the one with fewer addresses decides, as the longest prefix does among networks; of two with as
    /// many the one that begins first, and of equal ones the one that was given first. Where there is none the value is `none`.
    pub(crate) fn narrowest(given: Vec<Given<W>>, none: u32) -> Ranges<W> {
        struct Narrowest(BTreeSet<(u128, u32)>, u32);
        impl<W: Word> Open<W> for Narrowest {
            fn enter(&mut self, n: u32, given: &Given<W>) {
                self.0.insert((given.first.distance(given.last), n));
            }
            fn leave(&mut self, n: u32, given: &Given<W>) {
                self.0.remove(&(given.first.distance(given.last), n));
            }
            fn value(&self, all: &[Given<W>]) -> u32 {
                self.0.first().map_or(self.1, |(_, n)| all[*n as usize].value)
            }
        }
        Ranges::sweep(given, Narrowest(BTreeSet::new(), none))
    }

    /// The values are sets of bits; an address has those of all ranges it lies in, and 0 outside of them.
    pub(crate) fn union(given: Vec<Given<W>>) -> Ranges<W> {
        /// How many open ranges have each bit.
        struct Union([u32; u32::BITS as usize]);
        fn bits(mask: u32) -> impl Iterator<Item = usize> {
            (0..u32::BITS).filter(move |bit| mask >> bit & 1 == 1).map(|bit| bit as usize)
        }
        impl<W: Word> Open<W> for Union {
            fn enter(&mut self, _: u32, given: &Given<W>) {
                bits(given.value).for_each(|bit| self.0[bit] += 1);
            }
            fn leave(&mut self, _: u32, given: &Given<W>) {
                bits(given.value).for_each(|bit| self.0[bit] -= 1);
            }
            fn value(&self, _: &[Given<W>]) -> u32 {
                bits(u32::MAX).filter(|bit| self.0[*bit] > 0).fold(0, |mask, bit| mask | 1 << bit)
            }
        }
        Ranges::sweep(given, Union([0; u32::BITS as usize]))
    }

    /// Goes over all addresses from 0 up, from one start or end to the next.
    fn sweep(mut given: Vec<Given<W>>, mut open: impl Open<W>) -> Ranges<W> {
        // Stable: ranges with the same start stay in the order they were given.
        given.sort_by_key(|g| g.first);
        let mut ranges: Vec<Range<W>> = Vec::with_capacity(given.len());
        let mut ends: BinaryHeap<Reverse<(W, u32)>> = BinaryHeap::new();
        let (mut at, mut entered) = (W::default(), 0);
        loop {
            while let Some(Reverse((_, n))) = ends.peek().copied().filter(|Reverse((last, _))| *last < at) {
                ends.pop();
                open.leave(n, &given[n as usize]);
            }
            while let Some(next) = given.get(entered).filter(|g| g.first == at) {
                ends.push(Reverse((next.last, entered as u32)));
                open.enter(entered as u32, next);
                entered += 1;
            }
            let value = open.value(&given);
            if ranges.last().is_none_or(|before| before.value != value) {
                ranges.push(Range { start: at, value });
            }
            let after = ends.peek().and_then(|Reverse((last, _))| last.next());
            let Some(next) = after.into_iter().chain(given.get(entered).map(|g| g.first)).min() else { break };
            at = next;
        }
        ranges.shrink_to_fit();
        let index = if ranges.len() < INDEX_FROM { Vec::new() } else { index(&ranges) };
        Ranges { ranges, index }
    }

    /// The value at an address.
    pub(crate) fn at(&self, address: W) -> u32 {
        let (from, to) = match self.index.get(address.head()..address.head() + 2) {
            Some(slot) => (slot[0] as usize, slot[1] as usize + 1),
            None => (0, self.ranges.len()),
        };
        let later = self.ranges[from..to].partition_point(|range| { range.start } <= address);
        self.ranges[from + later - 1].value
    }

    /// Ranges, those without a value included.
    pub(crate) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.ranges[..]) + size_of_val(&self.index[..])
    }
}

/// The ranges that are open at one address of the sweep.
trait Open<W> {
    /// Range number `n` begins.
    fn enter(&mut self, n: u32, given: &Given<W>);
    fn leave(&mut self, n: u32, given: &Given<W>);
    fn value(&self, all: &[Given<W>]) -> u32;
}

fn index<W: Word>(ranges: &[Range<W>]) -> Vec<u32> {
    let slots = 1usize << INDEX_BITS;
    let mut index = Vec::with_capacity(slots + 1);
    let mut range = 0;
    for slot in 0..slots {
        // The last start that lies in an earlier slot; one at this slot's very first address is found by the search.
        while ranges.get(range + 1).is_some_and(|range| { range.start }.head() < slot) {
            range += 1;
        }
        index.push(range as u32);
    }
    index.push(ranges.len() as u32 - 1);
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, by looking at all.
    fn naive<W: Word>(given: &[Given<W>], address: W, none: u32) -> (u32, u32) {
        let inside = || given.iter().filter(|g| g.first <= address && address <= g.last);
        let narrowest = inside().min_by_key(|g| (g.first.distance(g.last), g.first)).map_or(none, |g| g.value);
        (narrowest, inside().fold(0, |mask, g| mask | g.value))
    }

    fn next(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Ranges of all sizes, so that some overlap, some touch, some are equal, and some reach to an end of the space.
    fn some<W: Word>(n: usize, seed: u64, top: W, address: impl Fn(u64) -> W) -> Vec<Given<W>> {
        let mut state = seed;
        let mut given: Vec<Given<W>> = Vec::new();
        for i in 0..n {
            let a = address(next(&mut state));
            let b = match next(&mut state) % 4 {
                0 => a,
                1 => given.last().map_or(a, |g| g.last),
                _ => address(next(&mut state)),
            };
            given.push(Given { first: a.min(b), last: a.max(b), value: 1 << (i % 20) });
        }
        if let Some(g) = given.first_mut() {
            g.last = top;
        }
        if let Some(g) = given.last_mut() {
            g.first = W::default();
        }
        given
    }

    fn agree<W: Word + std::fmt::Debug>(
        given: Vec<Given<W>>,
        top: W,
        more: impl Iterator<Item = W>,
        before: fn(W) -> W,
    ) {
        let (narrow, union) = (Ranges::narrowest(given.clone(), 7), Ranges::union(given.clone()));
        let edges = given.iter().flat_map(|g| {
            let outside = [Some(before(g.first)), g.last.next()].into_iter().flatten();
            [g.first, g.last].into_iter().chain(outside)
        });
        for address in edges.chain([W::default(), top]).chain(more) {
            assert_eq!((narrow.at(address), union.at(address)), naive(&given, address, 7), "{address:?}");
        }
        for ranges in [&narrow, &union] {
            assert!(
                ranges.ranges.windows(2).all(|w| { w[0].value } != w[1].value),
                "neighbours with one value are one range"
            );
        }
    }

    #[test]
    fn all_boundaries_and_random_addresses_are_as_in_the_naive_model() {
        for (n, seed) in [(0, 1), (1, 2), (5, 3), (40, 4), (700, 5)] {
            let mut state = seed * 77;
            let more: Vec<u64> = (0..2_000).map(|_| next(&mut state)).collect();
            // Small ranges near each other, and ones across the whole space.
            agree(
                some(n, seed, u32::MAX, |r| (r >> 40) as u32),
                u32::MAX,
                more.iter().map(|r| (r >> 40) as u32),
                |a| a.saturating_sub(1),
            );
            agree(
                some(n, seed, u32::MAX, |r| (r >> 32) as u32),
                u32::MAX,
                more.iter().map(|r| (r >> 32) as u32),
                |a| a.saturating_sub(1),
            );
            let wide = |r: u64| u128::from(r) << 64 | u128::from(r.rotate_left(17));
            agree(some(n, seed, u128::MAX, wide), u128::MAX, more.iter().map(|r| wide(*r)), |a| a.saturating_sub(1));
        }
    }

    #[test]
    fn of_equal_ranges_the_first_given_decides() {
        let given = |value| Given { first: 10u32, last: 20, value };
        let ranges = Ranges::narrowest(vec![given(3), given(1), given(2)], 0);
        assert_eq!((ranges.at(9), ranges.at(10), ranges.at(20), ranges.at(21)), (0, 3, 3, 0));
        assert_eq!(ranges.len(), 3);
    }
}
