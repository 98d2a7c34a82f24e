//! Positions above a committed one whose records are finished all the same: a recording stage goes on past a record that
//! waits for an answer. They are committed beside the position, so that a restart does none of them twice.

use event::Offset;

/// A set of positions from a committed one on, [`Finished::SPAN`] of them at most.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Finished {
    from: Offset,
    /// A bit for each position, the lowest first; the last byte is not 0.
    bits: Vec<u8>,
}

impl Finished {
    /// Positions that it can tell apart: they must fit the metadata of a commit, also where that is a text.
    pub const SPAN: u64 = 16_384;

    /// None above this position.
    pub fn none(from: Offset) -> Finished {
        Finished { from, bits: Vec::new() }
    }

    /// # Panics
    /// On a position outside of the span.
    pub fn insert(&mut self, at: Offset) {
        assert!(at >= self.from && at - self.from < Finished::SPAN, "{at} is not within the span from {}", self.from);
        let bit = (at - self.from) as usize;
        if self.bits.len() <= bit / 8 {
            self.bits.resize(bit / 8 + 1, 0);
        }
        self.bits[bit / 8] |= 1 << (bit % 8);
    }

    pub fn contains(&self, at: Offset) -> bool {
        let bit = at.checked_sub(self.from).and_then(|bit| usize::try_from(bit).ok());
        bit.is_some_and(|bit| self.bits.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
    }

    /// Those of them from `from` on, in order.
    pub fn since(&self, from: Offset) -> impl Iterator<Item = Offset> + '_ {
        let end = self.from + self.bits.len() as u64 * 8;
        (from.max(self.from)..end).filter(|at| self.contains(*at))
    }

    pub fn len(&self) -> u64 {
        self.bits.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Appends them; nothing where there are none. The position itself is stored beside.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            out.push(VERSION);
            out.extend_from_slice(&self.bits);
        }
    }

    /// `None` for bytes of another version.
    pub fn decode(from: Offset, bytes: &[u8]) -> Option<Finished> {
        let Some((version, bits)) = bytes.split_first() else { return Some(Finished::none(from)) };
        let fits = *version == VERSION && bits.len() as u64 * 8 <= Finished::SPAN;
        (fits && bits.last().is_some_and(|last| *last != 0)).then(|| Finished { from, bits: bits.to_vec() })
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set_that_reads_back(
            from in 0u64..1 << 40, offsets in prop::collection::btree_set(0..Finished::SPAN, 0..80),
        ) {
            let mut finished = Finished::none(from);
            offsets.iter().for_each(|offset| finished.insert(from + offset));
            let mut bytes = Vec::new();
            finished.encode(&mut bytes);
            prop_assert!(bytes.len() <= 1 + Finished::SPAN as usize / 8);
            prop_assert_eq!(bytes.is_empty(), offsets.is_empty());
            let again = Finished::decode(from, &bytes);
            prop_assert_eq!(again.as_ref(), Some(&finished));
            prop_assert_eq!(finished.len(), offsets.len() as u64);
            let all: BTreeSet<u64> = finished.since(0).map(|at| at - from).collect();
            prop_assert!(finished.since(from + 99).eq(all.iter().map(|at| at + from).filter(|at| *at >= from + 99)));
            prop_assert_eq!(all, offsets);
            prop_assert!(from == 0 || !finished.contains(from - 1));
        }

        #[test]
        fn other_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(finished) = Finished::decode(5, &bytes) {
                let mut again = Vec::new();
                finished.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
