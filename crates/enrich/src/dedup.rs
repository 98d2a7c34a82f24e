//! The table of (source, id) pairs that were passed on, per partition of `raw`.
//!
//! It is a pure function of the partition's prefix. A pair counts as seen only if it was seen at a *lower* position within
//! the horizon of the record that asks, and the horizon is a function of that record's position alone; so a second
//! reading after an abort, or a rebuild after a restart, decides the same.
//!
//! ```text
//! positions:  |  generation 0  |  generation 1  |  ...  |  generation n  |
//!                               '---- horizon: `generations` before the current one, and the current one ----'
//! ```
//! A generation below the committed position is sealed as a run: its entries sorted by hash, with a checksum. At start
//! the runs are taken back and only what follows them is read again. Filters and a disk tier for a longer horizon come
//! with snapshots.

use event::Offset;
use flow::Verdict;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use xxhash_rust::xxh3::xxh3_64;

/// Positions per generation. Dropping one scans the table once: about 1 ms per 32,768 events.
pub const GENERATION: Offset = 32_768;

/// Bytes one slot of the table takes: an entry of 32 and a control byte.
const SLOT_BYTES: u64 = 33;

#[derive(Clone, Copy)]
struct Seen {
    payload: u64,
    offset: Offset,
}

/// The pairs of one partition.
pub struct Dedup {
    seen: HashMap<u128, Seen>,
    /// Generations kept before the current one.
    generations: u64,
    /// First position of the oldest generation that is kept.
    oldest: Offset,
    /// Everything below is in a run already.
    sealed: Offset,
    /// What was remembered at or above `sealed`, for the next runs: sealing never walks the table.
    unsealed: Vec<(u128, u64, Offset)>,
    /// The highest position seen, plus one.
    next: Offset,
    /// For tests that plant a bug: an entry at the record's own position counts as earlier.
    own_position_counts: bool,
}

impl Dedup {
    /// `memory`: bytes this partition's table may take; at least one generation is kept.
    ///
    /// The table is made at its final size. One that grows is copied whole, 20 ms for 100,000 entries, and partitions with
    /// equal shares of the events grow all at the same moment; memory that is not touched yet costs nothing.
    pub fn new(memory: u64) -> Dedup {
        // Slots are a power of two, seven of eight may be taken.
        let slots = 1u64 << (memory / SLOT_BYTES).max(1).ilog2();
        // The current generation, those that count, and one more: see `advance`.
        let held = (slots / 8 * 7 / GENERATION).max(3);
        let generations = held - 2;
        Dedup {
            seen: HashMap::with_capacity((held * GENERATION) as usize),
            generations,
            oldest: 0,
            sealed: 0,
            unsealed: Vec::new(),
            next: 0,
            own_position_counts: false,
        }
    }

    /// Plants the off-by-one that the kill loop must find.
    pub fn plant_off_by_one(&mut self) {
        self.own_position_counts = true;
    }

    /// Judges the pair at `offset` and remembers it.
    pub fn judge(&mut self, id: u128, payload: u64, offset: Offset) -> Verdict {
        self.advance(offset);
        let floor = self.floor(offset);
        match self.seen.entry(id) {
            Entry::Vacant(v) => {
                v.insert(Seen { payload, offset });
                self.unsealed.push((id, payload, offset));
                Verdict::Fresh
            }
            Entry::Occupied(mut o) => {
                let seen = *o.get();
                let earlier = seen.offset < offset || (self.own_position_counts && seen.offset == offset);
                if earlier && seen.offset >= floor {
                    return if seen.payload == payload { Verdict::Duplicate } else { Verdict::Conflict };
                }
                if seen.offset != offset {
                    o.insert(Seen { payload, offset });
                    self.unsealed.push((id, payload, offset));
                }
                Verdict::Fresh
            }
        }
    }

    /// The first position that still counts for a record at `offset`.
    fn floor(&self, offset: Offset) -> Offset {
        (offset / GENERATION).saturating_sub(self.generations) * GENERATION
    }

    /// Where a rebuild for a committed position must begin.
    pub fn rebuild_from(&self, committed: Offset) -> Offset {
        // One generation more than counts: a record just below may be read again.
        self.floor(committed).saturating_sub(GENERATION)
    }

    fn advance(&mut self, offset: Offset) {
        self.next = self.next.max(offset + 1);
        // One generation more is kept than counts, so that a second reading finds what the first one found.
        let keep_from = self.floor(self.next - 1).saturating_sub(GENERATION);
        if keep_from > self.oldest {
            self.oldest = keep_from;
            self.seen.retain(|_, s| s.offset >= keep_from);
        }
    }

    /// The next generation that lies below the committed position and has no run yet, as a run. Call until `None`.
    pub fn seal(&mut self, committed: Offset) -> Option<Run> {
        let end = self.sealed + GENERATION;
        if end > committed || end > self.next {
            return None;
        }
        let (entries, rest) = std::mem::take(&mut self.unsealed).into_iter().partition(|e| e.2 < end);
        self.unsealed = rest;
        let run = Run { from: self.sealed, to: end, entries };
        self.sealed = end;
        Some(run)
    }

    /// Takes back a run. Runs are given oldest first; those that no longer count are passed over.
    pub fn restore(&mut self, run: &Run) {
        for (id, payload, offset) in &run.entries {
            self.seen.insert(*id, Seen { payload: *payload, offset: *offset });
        }
        self.sealed = self.sealed.max(run.to);
        self.next = self.next.max(run.to);
    }

    /// Says that sealing begins at this position: the start of a rebuild without runs.
    pub fn begin_at(&mut self, offset: Offset) {
        let from = offset / GENERATION * GENERATION;
        self.sealed = self.sealed.max(from);
        self.oldest = self.oldest.max(from);
    }

    /// Positions that count at present: the horizon actually reached.
    pub fn horizon(&self) -> std::ops::Range<Offset> {
        self.floor(self.next.saturating_sub(1))..self.next
    }

    pub fn len(&self) -> usize {
        self.seen.len()
    }

    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// A sealed generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    pub from: Offset,
    pub to: Offset,
    entries: Vec<(u128, u64, Offset)>,
}

const MAGIC: &[u8; 8] = b"OUZELDR1";

impl Run {
    /// `| magic | from | to | entries: id, payload, position; sorted | checksum of all before |`, little-endian. Takes
    /// some milliseconds: not for a thread that events wait for.
    pub fn encode(mut self) -> Vec<u8> {
        self.entries.sort_unstable();
        let mut out = Vec::with_capacity(24 + self.entries.len() * 32 + 8);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.from.to_le_bytes());
        out.extend_from_slice(&self.to.to_le_bytes());
        for (id, payload, offset) in &self.entries {
            out.extend_from_slice(&id.to_le_bytes());
            out.extend_from_slice(&payload.to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
        }
        let sum = xxh3_64(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// `None` for bytes that are not a whole run. A run is only a saving: without it `raw` is read again.
    pub fn decode(bytes: &[u8]) -> Option<Run> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if body.len() < 24 || &body[..8] != MAGIC || (body.len() - 24) % 32 != 0 || xxh3_64(body).to_le_bytes() != *sum
        {
            return None;
        }
        let u64_at = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
        let entries = body[24..]
            .chunks_exact(32)
            .map(|c| {
                let id = u128::from_le_bytes(c[..16].try_into().expect("sixteen bytes"));
                let n = |at: usize| u64::from_le_bytes(c[at..at + 8].try_into().expect("eight bytes"));
                (id, n(16), n(24))
            })
            .collect();
        Some(Run { from: u64_at(8), to: u64_at(16), entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, on a list of all that was ever passed on.
    struct Naive {
        passed: std::collections::BTreeMap<u128, Vec<(u64, u64)>>,
        next: u64,
        generations: u64,
    }

    impl Naive {
        /// The first occurrence within the horizon that was passed on decides.
        fn judge(&mut self, id: u128, payload: u64) -> Verdict {
            let offset = self.next;
            self.next += 1;
            let floor = (offset / GENERATION).saturating_sub(self.generations) * GENERATION;
            let passed = self.passed.entry(id).or_default();
            match passed.iter().find(|(at, _)| *at >= floor) {
                Some((_, p)) if *p == payload => Verdict::Duplicate,
                Some(_) => Verdict::Conflict,
                None => {
                    passed.push((offset, payload));
                    Verdict::Fresh
                }
            }
        }
    }

    fn stream(n: u64) -> impl Iterator<Item = (u128, u64)> {
        let mut x = 88172645463325252u64;
        (0..n).map(move |i| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            // Mostly new ids; one in 16 repeats one from somewhere before, one in 4 of these with another payload.
            let id = if x.is_multiple_of(16) && i > 0 { (x >> 8) % i } else { i };
            (u128::from(id), id * 7 + u64::from(x.is_multiple_of(64)))
        })
    }

    #[test]
    fn it_decides_as_the_naive_model_across_the_horizon() {
        let mut dedup = Dedup::new(0);
        let mut naive = Naive { passed: Default::default(), next: 0, generations: dedup.generations };
        for (offset, (id, payload)) in stream(5 * GENERATION).enumerate() {
            assert_eq!(dedup.judge(id, payload, offset as u64), naive.judge(id, payload), "at {offset}");
        }
    }

    #[test]
    fn reading_again_and_rebuilding_decide_the_same() {
        let all: Vec<_> = stream(6 * GENERATION + 100).collect();
        let mut first = Dedup::new(0);
        let verdicts: Vec<_> = all.iter().enumerate().map(|(o, (i, p))| first.judge(*i, *p, o as u64)).collect();
        // The last 5,000 are read again, as after an abort.
        for o in all.len() - 5000..all.len() {
            assert_eq!(first.judge(all[o].0, all[o].1, o as u64), verdicts[o], "second reading at {o}");
        }
        // A restart at every kind of committed position, with runs and without.
        for committed in [1, GENERATION - 1, GENERATION, 4 * GENERATION + 7, 5 * GENERATION, 6 * GENERATION + 50] {
            for with_runs in [true, false] {
                // Without runs, a resend seen near the rebuild's beginning stands in for its forgotten original: the
                // table then remembers longer than it must. Equality holds where the rebuild begins at 0.
                if !with_runs && committed > 2 * GENERATION {
                    continue;
                }
                let mut source = Dedup::new(0);
                let mut runs = Vec::new();
                for (o, (i, p)) in all.iter().enumerate().take(committed as usize + 90) {
                    source.judge(*i, *p, o as u64);
                    while let Some(run) = source.seal(committed.min(o as u64)) {
                        runs.push(Run::decode(&run.encode()).expect("a run"));
                    }
                }
                let mut again = Dedup::new(0);
                let mut from = again.rebuild_from(committed);
                again.begin_at(from);
                if with_runs {
                    for run in runs.iter().filter(|r| r.from >= from) {
                        again.restore(run);
                    }
                    from = runs.iter().map(|r| r.to).max().unwrap_or(from).max(from);
                }
                for o in from..committed {
                    again.judge(all[o as usize].0, all[o as usize].1, o);
                }
                for o in committed as usize..all.len() {
                    assert_eq!(
                        again.judge(all[o].0, all[o].1, o as u64),
                        verdicts[o],
                        "at {o} after a restart at {committed}, runs {with_runs}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_run_that_is_not_whole_is_none() {
        let mut dedup = Dedup::new(0);
        for o in 0..GENERATION {
            dedup.judge(u128::from(o), 1, o);
        }
        let bytes = dedup.seal(GENERATION).expect("a generation").encode();
        assert!(Run::decode(&bytes).is_some());
        for cut in [0, 7, 23, 31, bytes.len() - 1] {
            assert!(Run::decode(&bytes[..cut]).is_none());
        }
        let mut flipped = bytes.clone();
        flipped[100] ^= 1;
        assert!(Run::decode(&flipped).is_none());
    }
}
