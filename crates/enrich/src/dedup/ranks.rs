//! A filter that is an index: for a sorted list of hashes it answers where in the list one would stand, or that it is not
//! there. One in 256 that are not there is taken for one that is.
//!
//! The upper bits of the hashes, as many as make as many slots as there are hashes and 8 more, in the form of Elias and
//! Fano: the slot in unary, the 8 bits as a byte. 10.5 bits a hash; a lookup touches three places in memory; it is made in
//! one pass over the sorted list, without memory of its own. A Bloom filter of that size errs three times as often and does
//! not say where to look; a fuse filter (9 bits, 1 in 256) needs all hashes in memory at once while it is made.

/// Slots between two counts that are stored.
const BLOCK: u64 = 64;
/// Bits of a hash below its slot.
const REMAINDER_BITS: u32 = 8;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ranks {
    slots: u64,
    /// How many hashes stand in slots before each block.
    before: Vec<u32>,
    /// For each slot as many ones as it has hashes, and a zero.
    unary: Vec<u64>,
    remainders: Vec<u8>,
}

/// Where a hash would stand: found step by step, so that the memory of several filters is waited for at once.
#[derive(Clone, Copy, Default)]
pub struct Place {
    slot: u64,
    remainder: u8,
    before: u32,
}

impl Ranks {
    /// Bytes for so many hashes.
    pub fn bytes(hashes: u64) -> u64 {
        hashes + (hashes * 2).div_ceil(8) + hashes.div_ceil(BLOCK) * 4 + 16
    }

    /// For at most `u32::MAX` hashes.
    pub fn with_capacity(hashes: usize) -> Ranks {
        let slots = hashes.max(1) as u64;
        Ranks {
            slots,
            before: Vec::with_capacity(slots.div_ceil(BLOCK) as usize),
            unary: vec![0; (hashes as u64 + slots).div_ceil(64) as usize],
            remainders: Vec::with_capacity(hashes),
        }
    }

    /// Adds the next hash: none is lower than the one before, and there are no more than was said.
    pub fn push(&mut self, hash: u64) {
        let (slot, remainder) = self.split(hash);
        let rank = self.remainders.len() as u64;
        while self.before.len() as u64 * BLOCK <= slot {
            self.before.push(rank as u32);
        }
        let bit = rank + slot;
        self.unary[(bit / 64) as usize] |= 1 << (bit % 64);
        self.remainders.push(remainder);
    }

    /// Ends the list.
    pub fn seal(&mut self) {
        while (self.before.len() as u64) < self.slots.div_ceil(BLOCK) {
            self.before.push(self.remainders.len() as u32);
        }
    }

    /// First step.
    pub fn place(&self, hash: u64) -> Place {
        let (slot, remainder) = self.split(hash);
        Place { slot, remainder, before: self.before[(slot / BLOCK) as usize] }
    }

    /// Second step: the ranks of the hashes in the same slot.
    pub fn slot(&self, place: Place) -> std::ops::Range<usize> {
        let block = place.slot / BLOCK * BLOCK;
        let start = self.after_zeros(u64::from(place.before) + block, place.slot - block);
        let end = self.after_zeros(start, 1) - 1;
        (start - place.slot) as usize..(end - place.slot) as usize
    }

    /// Third step: the ranks of the hashes that look the same. Nearly always none or one.
    pub fn alike(&self, place: Place, slot: std::ops::Range<usize>) -> std::ops::Range<usize> {
        let remainders = &self.remainders[slot.clone()];
        let from = remainders.partition_point(|r| *r < place.remainder);
        let to = from + remainders[from..].partition_point(|r| *r == place.remainder);
        slot.start + from..slot.start + to
    }

    fn split(&self, hash: u64) -> (u64, u8) {
        let value = ((u128::from(hash) * u128::from(self.slots << REMAINDER_BITS)) >> 64) as u64;
        (value >> REMAINDER_BITS, value as u8)
    }

    /// The bit behind the `zeros`th zero from `bit` on.
    fn after_zeros(&self, bit: u64, zeros: u64) -> u64 {
        if zeros == 0 {
            return bit;
        }
        let mut left = zeros as u32;
        let mut word = (bit / 64) as usize;
        let mut open = !self.unary[word] & (u64::MAX << (bit % 64));
        while open.count_ones() < left {
            left -= open.count_ones();
            word += 1;
            open = !self.unary[word];
        }
        word as u64 * 64 + u64::from(nth_one(open, left - 1)) + 1
    }

    /// `| slots | hashes | before | unary | remainders |`, little-endian.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.slots.to_le_bytes());
        out.extend_from_slice(&(self.remainders.len() as u64).to_le_bytes());
        self.before.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        self.unary.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.extend_from_slice(&self.remainders);
    }

    /// `None` for bytes that are not of this form. What they say is believed: they stand under a checksum.
    pub fn decode(bytes: &[u8]) -> Option<Ranks> {
        let (slots, rest) = bytes.split_first_chunk::<8>()?;
        let (hashes, rest) = rest.split_first_chunk::<8>()?;
        let (slots, hashes) = (u64::from_le_bytes(*slots), u64::from_le_bytes(*hashes));
        if slots != hashes.max(1) || hashes > u64::from(u32::MAX) {
            return None;
        }
        let (before, rest) = rest.split_at_checked(slots.div_ceil(BLOCK) as usize * 4)?;
        let (unary, remainders) = rest.split_at_checked((hashes + slots).div_ceil(64) as usize * 8)?;
        (remainders.len() as u64 == hashes).then(|| Ranks {
            slots,
            before: before.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c)).collect(),
            unary: unary.as_chunks::<8>().0.iter().map(|c| u64::from_le_bytes(*c)).collect(),
            remainders: remainders.to_vec(),
        })
    }
}

/// The place of the nth one, from 0. There is one.
fn nth_one(mut word: u64, mut n: u32) -> u32 {
    let mut place = 0;
    for half in [32, 16, 8] {
        let low = (word & ((1 << half) - 1)).count_ones();
        if n >= low {
            n -= low;
            word >>= half;
            place += half;
        }
    }
    for _ in 0..n {
        word &= word - 1;
    }
    place + word.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(hashes: &[u64]) -> Ranks {
        let mut ranks = Ranks::with_capacity(hashes.len());
        hashes.iter().for_each(|h| ranks.push(*h));
        ranks.seal();
        let mut bytes = Vec::new();
        ranks.encode(&mut bytes);
        assert!(bytes.len() as u64 <= Ranks::bytes(hashes.len() as u64) + 16, "{} of {}", bytes.len(), hashes.len());
        assert_eq!(Ranks::decode(&bytes).as_ref(), Some(&ranks));
        assert!(Ranks::decode(&bytes[..bytes.len() - 1]).is_none());
        ranks
    }

    fn alike(ranks: &Ranks, hash: u64) -> std::ops::Range<usize> {
        let place = ranks.place(hash);
        ranks.alike(place, ranks.slot(place))
    }

    fn mixed(n: u64) -> impl Iterator<Item = u64> {
        let mut x = n | 1;
        std::iter::repeat_with(move || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x.wrapping_mul(0x2545_F491_4F6C_DD1D)
        })
    }

    #[test]
    fn every_hash_stands_where_it_says_and_few_others_do() {
        for n in [0, 1, 2, 63, 64, 65, 1000, 32_768] {
            let mut hashes: Vec<u64> = mixed(7).take(n).collect();
            hashes.sort_unstable();
            let ranks = ranks(&hashes);
            for (rank, hash) in hashes.iter().enumerate() {
                assert!(alike(&ranks, *hash).contains(&rank), "{rank} of {n}");
            }
            let wrong = mixed(99).take(20_000).filter(|h| !alike(&ranks, *h).is_empty()).count();
            assert!(wrong < 20_000 / 160, "{wrong} of 20000 at {n}");
        }
    }

    #[test]
    fn hashes_that_somebody_chose_are_found_too() {
        for hashes in [
            vec![0; 500],
            vec![u64::MAX; 500],
            (0..500).collect(),
            (0..500).map(|n| u64::MAX - 500 + n).collect(),
            (0..250).chain((0..250).map(|n| 1 << 63 | n)).collect::<Vec<u64>>(),
        ] {
            let ranks = ranks(&hashes);
            for (rank, hash) in hashes.iter().enumerate() {
                assert!(alike(&ranks, *hash).contains(&rank));
            }
        }
    }

    #[test]
    fn the_nth_one() {
        for word in mixed(5).take(200).chain([1, u64::MAX, 1 << 63]) {
            let ones: Vec<u32> = (0..64).filter(|b| word >> b & 1 == 1).collect();
            for (n, place) in ones.iter().enumerate() {
                assert_eq!(nth_one(word, n as u32), *place);
            }
        }
    }
}
