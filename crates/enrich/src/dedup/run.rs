//! A run: the pairs of a range of positions, sorted by id, as a file is made of it.
//!
//! ```text
//! | page | page | ... | index: ranks of the ids, begins of the generations | footer |
//!  page:   | checksum | 146 x: id, payload, position - base |      4096 bytes, the last one filled with zeros
//!  footer: | magic | from | to | base | pairs | begins | index bytes | checksum of the index | checksum of all before |
//! ```
//! Little-endian. The index is what stays in memory; a page is read when the index says that a pair may be there, and has a
//! checksum of its own, so that a reader needs nothing else of the file.

use event::Offset;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::ranks::{Place, Ranks};
use super::table::Pair;

/// Bytes of a page: what a disk reads at once.
pub const PAGE_BYTES: usize = 4096;
const PAIR_BYTES: usize = 28;
/// Pairs in a page.
pub const PAGE_PAIRS: usize = (PAGE_BYTES - 8) / PAIR_BYTES;
pub const FOOTER_BYTES: usize = 72;
const MAGIC: &[u8; 8] = b"OUZELDR2";

/// Bytes on disk for so many pairs.
pub(super) fn bytes(pairs: u64) -> u64 {
    pairs.div_ceil(PAGE_PAIRS as u64) * PAGE_BYTES as u64 + Ranks::bytes(pairs) + FOOTER_BYTES as u64
}

/// What a run is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Positions it covers: a pair of these that is not in it was not passed on.
    pub from: Offset,
    pub to: Offset,
    /// No pair stands below, and none stands 2^32 or more above.
    pub base: Offset,
    /// When the generations that end at `to` began, in microseconds.
    pub begins: Vec<i64>,
}

impl Head {
    /// Of the run that neighbours become, oldest first. `None`: they are too far apart.
    pub fn merged<'a>(heads: impl Iterator<Item = &'a Head> + Clone) -> Option<Head> {
        let (from, to) = (heads.clone().map(|h| h.from).min()?, heads.clone().map(|h| h.to).max()?);
        let base = heads.clone().map(|h| h.base).min()?;
        let begins = heads.flat_map(|h| h.begins.iter().copied()).collect();
        (to - base <= Offset::from(u32::MAX)).then_some(Head { from, to, base, begins })
    }
}

/// Makes a run of pairs that come sorted by id and position. What is ready of the file is taken from `out`.
pub struct RunWriter {
    head: Head,
    ranks: Ranks,
    page: Vec<u8>,
    pages: u64,
    pairs: u64,
    /// The next bytes of the file.
    pub out: Vec<u8>,
}

impl RunWriter {
    /// `pairs`: how many will come.
    pub fn new(head: Head, pairs: u64) -> RunWriter {
        let ranks = Ranks::with_capacity(pairs as usize);
        RunWriter { head, ranks, page: Vec::with_capacity(PAGE_BYTES), pages: 0, pairs: 0, out: Vec::new() }
    }

    pub fn push(&mut self, pair: Pair) {
        self.ranks.push(hash(pair.id));
        self.page.extend_from_slice(&pair.id.to_le_bytes());
        self.page.extend_from_slice(&pair.payload.to_le_bytes());
        self.page.extend_from_slice(&((pair.offset - self.head.base) as u32).to_le_bytes());
        self.pairs += 1;
        if self.page.len() == PAGE_PAIRS * PAIR_BYTES {
            self.end_page();
        }
    }

    /// Ends the file: the rest of it is in `out` of what is answered, beside the index for a reader.
    pub fn finish(mut self) -> (RunIndex, Vec<u8>) {
        if !self.page.is_empty() {
            self.page.resize(PAGE_PAIRS * PAIR_BYTES, 0);
            self.end_page();
        }
        self.ranks.seal();
        let mut out = self.out;
        let begun = out.len();
        self.ranks.encode(&mut out);
        self.head.begins.iter().for_each(|b| out.extend_from_slice(&b.to_le_bytes()));
        let index = &out[begun..];
        let (index_bytes, index_sum) = (index.len() as u64, xxh3_64(index));
        let footer = out.len();
        out.extend_from_slice(MAGIC);
        let (head, begins) = (&self.head, self.head.begins.len() as u64);
        for n in [head.from, head.to, head.base, self.pairs, begins, index_bytes, index_sum] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        let sum = xxh3_64(&out[footer..]);
        out.extend_from_slice(&sum.to_le_bytes());
        (RunIndex { head: self.head, ranks: self.ranks, pairs: self.pairs }, out)
    }

    fn end_page(&mut self) {
        self.out.extend_from_slice(&page_sum(&self.page, self.head.from, self.pages).to_le_bytes());
        self.out.append(&mut self.page);
        self.pages += 1;
    }
}

/// The end of a file, read before the rest of what stays in memory.
pub struct Footer {
    head: Head,
    pairs: u64,
    begins: usize,
    index_bytes: u64,
    index_sum: u64,
}

impl Footer {
    /// `None` for bytes that are not the footer of a whole file of `len` bytes.
    pub fn decode(bytes: &[u8; FOOTER_BYTES], len: u64) -> Option<Footer> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if &body[..8] != MAGIC || xxh3_64(body).to_le_bytes() != *sum {
            return None;
        }
        let n = |at: usize| u64::from_le_bytes(body[at * 8..][..8].try_into().expect("eight bytes"));
        let head = Head { from: n(1), to: n(2), base: n(3), begins: Vec::new() };
        let footer =
            Footer { head, pairs: n(4), begins: usize::try_from(n(5)).ok()?, index_bytes: n(6), index_sum: n(7) };
        (footer.index_at().checked_add(footer.index_bytes)?.checked_add(FOOTER_BYTES as u64)? == len).then_some(footer)
    }

    /// Where in the file the index is.
    pub fn index(&self) -> (u64, usize) {
        (self.index_at(), self.index_bytes as usize)
    }

    fn index_at(&self) -> u64 {
        self.pairs.div_ceil(PAGE_PAIRS as u64).saturating_mul(PAGE_BYTES as u64)
    }
}

/// What stays in memory of a run.
pub struct RunIndex {
    pub head: Head,
    pub pairs: u64,
    ranks: Ranks,
}

impl RunIndex {
    /// `None` for bytes that are not the index this footer is of.
    pub fn decode(footer: Footer, bytes: &[u8]) -> Option<RunIndex> {
        if xxh3_64(bytes) != footer.index_sum {
            return None;
        }
        let (ranks, begins) = bytes.split_at_checked(bytes.len().checked_sub(footer.begins.checked_mul(8)?)?)?;
        let begins = begins.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect();
        let ranks = Ranks::decode(ranks)?;
        Some(RunIndex { head: Head { begins, ..footer.head }, pairs: footer.pairs, ranks })
    }

    /// First step of a search: where the id would stand.
    pub fn place(&self, id: u128) -> Place {
        self.ranks.place(hash(id))
    }

    /// Second step.
    pub fn slot(&self, place: Place) -> std::ops::Range<usize> {
        self.ranks.slot(place)
    }

    /// Third step: which pairs of the run must be looked at; mostly none.
    pub fn candidates(&self, place: Place, slot: std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.ranks.alike(place, slot)
    }

    /// The newest pair of this id among candidates. `page` reads a page by its number.
    ///
    /// # Errors
    /// Those of `page`.
    pub fn find<E>(
        &self,
        id: u128,
        candidates: std::ops::Range<usize>,
        mut page: impl for<'p> FnMut(u64, &'p mut [u8; PAGE_BYTES]) -> Result<Page<'p>, E>,
    ) -> Result<Option<Pair>, E> {
        let (mut from, mut to, mut found) = (candidates.start, candidates.end, None);
        let mut buffer = [0; PAGE_BYTES];
        // One page nearly always. Ids that somebody chose to look alike are halved, so that they cost little too.
        while from < to {
            let number = from.midpoint(to) / PAGE_PAIRS;
            let first = number * PAGE_PAIRS;
            let pairs = page(number as u64, &mut buffer)?;
            let (low, high) = (from.max(first), to.min(first + PAGE_PAIRS));
            let pair = |rank: usize| pairs.pair(rank - first, self.head.base);
            if pair(low).id > id {
                to = low;
                continue;
            }
            found = (low..high).rev().map(pair).find(|p| p.id == id).or(found);
            if pair(high - 1).id > id {
                break;
            }
            from = high;
        }
        Ok(found)
    }

    /// How many pages there are.
    pub fn pages(&self) -> u64 {
        self.pairs.div_ceil(PAGE_PAIRS as u64)
    }

    /// The pairs of a page that was read for this run.
    pub fn pairs_of(&self, number: u64, page: &Page) -> impl Iterator<Item = Pair> {
        let first = number as usize * PAGE_PAIRS;
        let count = (self.pairs as usize).saturating_sub(first).min(PAGE_PAIRS);
        (0..count).map(move |n| page.pair(n, self.head.base))
    }

    /// Bytes it takes in memory.
    pub fn bytes(&self) -> u64 {
        Ranks::bytes(self.pairs)
    }

    /// Makes a filter that always says yes, for tests: what is found must not depend on it.
    #[doc(hidden)]
    pub fn everything(&self) -> std::ops::Range<usize> {
        0..self.pairs as usize
    }
}

/// A page whose checksum was right.
pub struct Page<'a>(&'a [u8]);

impl<'a> Page<'a> {
    /// `None`: these bytes are not that page of the run that begins at `from`.
    pub fn check(bytes: &'a [u8], from: Offset, number: u64) -> Option<Page<'a>> {
        let (sum, pairs) = bytes.split_first_chunk::<8>()?;
        (bytes.len() == PAGE_BYTES && page_sum(pairs, from, number).to_le_bytes() == *sum).then_some(Page(pairs))
    }

    fn pair(&self, n: usize, base: Offset) -> Pair {
        let bytes = &self.0[n * PAIR_BYTES..][..PAIR_BYTES];
        let (id, rest) = bytes.split_first_chunk::<16>().expect("28 bytes");
        let (payload, offset) = rest.split_first_chunk::<8>().expect("12 bytes");
        Pair {
            id: u128::from_le_bytes(*id),
            payload: u64::from_le_bytes(*payload),
            offset: base + Offset::from(u32::from_le_bytes(offset.try_into().expect("four bytes"))),
        }
    }
}

/// A page knows where it belongs: one that a disk gives back for another is found too.
fn page_sum(pairs: &[u8], from: Offset, number: u64) -> u64 {
    xxh3_64_with_seed(pairs, from.rotate_left(32) ^ number)
}

/// What of an id the index knows: the order of hashes is that of ids.
fn hash(id: u128) -> u64 {
    (id >> 64) as u64
}

/// Pairs of several sorted lists in one order. `next` gives the next pair of a list by its number.
pub struct Merge {
    heads: Vec<Option<Pair>>,
}

impl Merge {
    /// # Errors
    /// Those of `next`.
    pub fn new<E>(lists: usize, mut next: impl FnMut(usize) -> Result<Option<Pair>, E>) -> Result<Merge, E> {
        Ok(Merge { heads: (0..lists).map(&mut next).collect::<Result<_, E>>()? })
    }

    /// # Errors
    /// Those of `next`.
    pub fn next<E>(&mut self, mut next: impl FnMut(usize) -> Result<Option<Pair>, E>) -> Result<Option<Pair>, E> {
        let lowest = self.heads.iter().enumerate().filter_map(|(n, p)| p.map(|p| ((p.id, p.offset), n))).min();
        let Some((_, n)) = lowest else { return Ok(None) };
        Ok(std::mem::replace(&mut self.heads[n], next(n)?))
    }
}
