//! The (source, id) pairs that were passed on, per partition of `raw`.
//!
//! It is a pure function of the partition's prefix. A pair counts as seen only if it was passed on at a *lower* position
//! within the horizon of the record that asks, and the horizon is a function of that record's position and of the received
//! times below it; so a second reading after an abort, or a rebuild after a restart, decides the same.
//!
//! ```text
//! positions:  ... | run | run |   run   | run |  generation n - 1  |  generation n  |
//!                 '------------ disk ---------'
//!                                    '--------------- memory -----------------------'
//!                      '----------------------- horizon ----------------------------'
//! ```
//! * [`table`]: the recent pairs, exactly
//! * [`horizon`]: how far back counts
//! * [`run`]: older pairs as sorted files; [`ranks`]: what of a file stays in memory
//!
//! A generation below the committed position is handed out as a run. The table forgets it only when the run can be asked
//! ([`Older`]), so a pair is always in one of both; and what is at or above the committed position is never in a run, so
//! that a second reading finds in runs only what the first one found there. What a second reading finds in the table is
//! taken away first.

mod horizon;
mod ranks;
mod run;
mod table;
#[cfg(test)]
mod tests;

pub use ranks::Place;
pub use run::{FOOTER_BYTES, Footer, Head, Merge, PAGE_BYTES, Page, RunIndex, RunWriter};
pub use table::{Pair, Seen};

use event::{Micros, Offset};
use flow::Verdict;

use horizon::Generations;
use ranks::Ranks;
use table::Table;

/// Positions per generation: a run of one is a megabyte. At 3,475 events a second in a partition it is 9 s, which is how
/// exact the horizon is.
pub const GENERATION: Offset = 32_768;

/// How many neighbours are merged into one run, twice: so a horizon of 400 generations is in about 13 runs, 20 at most, and
/// a pair is written three times.
pub const FAN: u64 = 8;

/// Generations that the table of a partition holds: the current one, those whose run is being written, and a few more, so
/// that the disk may be slow for a while and that a retry within seconds needs no disk. Fewer do not work, more are only
/// worth it where there is memory.
const TABLE_GENERATIONS: std::ops::RangeInclusive<u64> = 3..=24;

/// What a process may spend on telling duplicates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DedupConfig {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk.
    pub disk: u64,
    /// Received time over which a duplicate is told at least, if memory and disk suffice, in microseconds.
    pub horizon_us: i64,
    /// Positions per generation; [`GENERATION`] but in tests.
    pub generation: Offset,
}

/// How what may be spent is spent on one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Plan {
    /// Entries of the table.
    table: usize,
    /// Generations that count beside the current one.
    most: u64,
    /// Generations of the biggest run.
    biggest: u64,
}

impl DedupConfig {
    /// What one of so many partitions may spend.
    #[must_use]
    pub fn share(self, partitions: u32) -> DedupConfig {
        let partitions = u64::from(partitions.max(1));
        DedupConfig { memory: self.memory / partitions, disk: self.disk / partitions, ..self }
    }

    fn plan(&self) -> Plan {
        let generation = self.generation;
        let table = |generations: u64| Table::bytes(generations * generation);
        let (fewest, most) = (*TABLE_GENERATIONS.start(), *TABLE_GENERATIONS.end());
        let held = (fewest..=most).rev().find(|g| table(*g) <= self.memory / 4).unwrap_or(fewest);
        // A generation on its way to the disk is there twice.
        let rest = self.memory.saturating_sub(table(held) + generation * 32);
        let affordable = (rest / Ranks::bytes(generation)).min(self.disk / run::bytes(generation));
        // A run stays until all of it is beyond the horizon, and one that is being made is there beside what it is made of.
        let biggest = [FAN * FAN, FAN].into_iter().find(|b| b * 6 <= affordable).unwrap_or(1);
        Plan { table: (held * generation) as usize, most: affordable.saturating_sub(2 * biggest).max(1), biggest }
    }
}

/// The pairs of one partition that are on disk.
pub trait Older: Send {
    /// The newest pair of this id at or above a position.
    ///
    /// # Errors
    /// Why it cannot be told, for people: naming the file. The record must not be judged then.
    fn find(&mut self, id: u128, from: Offset) -> Result<Option<Seen>, String>;
}

/// The pairs of one partition.
pub struct Dedup {
    table: Table,
    older: Option<Box<dyn Older>>,
    generations: Generations,
    biggest: u64,
    /// Pairs below were forgotten by the table.
    table_from: Offset,
    /// Everything below was handed out as a run.
    sealed: Offset,
    /// Everything below can be asked of `older`.
    covered: Offset,
    /// The position read last, plus one.
    next: Offset,
    trouble: Option<String>,
    /// For tests that plant a bug: the entry at this record's own position counts as earlier.
    planted: Option<Pair>,
}

/// The pairs of a generation, to be made a run of.
pub struct Sealed {
    pub head: Head,
    pub pairs: Vec<Pair>,
}

impl Dedup {
    /// Without a disk. `memory`: bytes for the table; two generations at least are told from.
    pub fn new(memory: u64) -> Dedup {
        // The current generation, those that count, and one more for readings that go back.
        let held = (memory / Table::bytes(GENERATION)).max(3);
        let generations = Generations::new(GENERATION, i64::MAX, held - 2);
        Dedup::made(Table::new((held * GENERATION) as usize), None, generations, 1)
    }

    /// With a disk. `config` is the share of this partition.
    pub fn with_older(config: &DedupConfig, older: Box<dyn Older>) -> Dedup {
        let plan = config.plan();
        let generations = Generations::new(config.generation, config.horizon_us, plan.most);
        Dedup::made(Table::new(plan.table), Some(older), generations, plan.biggest)
    }

    fn made(table: Table, older: Option<Box<dyn Older>>, generations: Generations, biggest: u64) -> Dedup {
        Dedup {
            table,
            older,
            generations,
            biggest,
            table_from: 0,
            sealed: 0,
            covered: 0,
            next: 0,
            trouble: None,
            planted: None,
        }
    }

    /// Plants the off-by-one that the kill loop must find: this pair is taken for one that was passed on before.
    pub fn plant_off_by_one(&mut self, pair: Pair) {
        self.planted = Some(pair);
    }

    /// Judges the pair at `offset` and remembers it. After [`Dedup::trouble`] the answer means nothing.
    pub fn judge(&mut self, id: u128, payload: u64, offset: Offset, received: Micros) -> Verdict {
        if offset < self.next {
            // A second reading: what the first one left from here on is not part of this record's prefix.
            self.table.undo(offset);
        }
        self.next = offset + 1;
        self.generations.enter(offset, received);
        match self.earlier(id, offset) {
            Some(seen) if seen.payload == payload => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => {
                self.make_room();
                self.table.push(Pair { id, payload, offset });
                Verdict::Fresh
            }
        }
    }

    fn earlier(&mut self, id: u128, offset: Offset) -> Option<Seen> {
        let floor = self.generations.floor();
        if let Some(planted) = self.planted.filter(|p| p.id == id && p.offset == offset) {
            return Some(planted.into());
        }
        if let Some(seen) = self.table.newest(id) {
            return (seen.offset >= floor).then_some(seen);
        }
        let older = self.older.as_mut().filter(|_| floor < self.table_from)?;
        match older.find(id, floor) {
            Ok(seen) => {
                debug_assert!(seen.is_none_or(|s| s.offset < offset), "runs hold what is committed");
                seen
            }
            Err(why) => {
                self.trouble.get_or_insert(why);
                None
            }
        }
    }

    /// Forgets the oldest entries of a full table, if they can be asked elsewhere or no longer count.
    fn make_room(&mut self) {
        while self.table.len() == self.table.capacity() {
            let Some(first) = self.table.first() else { return };
            if self.older.is_some() && first.offset >= self.covered {
                return;
            }
            self.table.pop_first();
            self.table_from = first.offset + 1;
        }
    }

    /// Why the verdicts since some record mean nothing: a file of older pairs cannot be read.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Whether the table has room for so many generations without forgetting what is not on disk yet. One is more than a
    /// batch takes; without it, none may be read.
    pub fn has_room_for(&self, generations: u64) -> bool {
        let kept = self.table.len() - self.table.below(self.covered);
        kept as u64 + generations * self.generations.size() <= self.table.capacity() as u64
    }

    /// The next generation that lies below the committed position and was not handed out yet. [`Dedup::cover`] is due when
    /// its run can be asked.
    pub fn seal(&mut self, committed: Offset) -> Option<Sealed> {
        let size = self.generations.size();
        let first = self.table.below(self.sealed);
        // Positions that retention took away are passed over at once, however many.
        let from = self.table.range(first..self.table.len()).next().map_or(self.sealed, |p| p.offset).max(self.sealed);
        let to = (from / size + 1) * size;
        if to > committed || to > self.next {
            return None;
        }
        let pairs: Vec<Pair> = self.table.range(first..self.table.below(to)).collect();
        let base = pairs.first().map_or(self.sealed, |p| p.offset);
        let head = Head { from: self.sealed, to, base, begins: self.generations.begins(self.sealed, to) };
        self.sealed = to;
        Some(Sealed { head, pairs })
    }

    /// What was not handed out of that which lies below the committed position, for another to go on from here
    /// ([`Dedup::take_up`]). `None`: there is nothing, or it lies too far apart.
    pub fn rest(&self, committed: Offset) -> Option<Sealed> {
        let to = committed.min(self.next);
        let pairs: Vec<Pair> = self.table.range(self.table.below(self.sealed)..self.table.below(to)).collect();
        let base = pairs.first().map_or(self.sealed, |p| p.offset);
        if to <= self.sealed || to - base > Offset::from(u32::MAX) {
            return None;
        }
        let begins = self.generations.begins(self.sealed, to.next_multiple_of(self.generations.size()));
        Some(Sealed { head: Head { from: self.sealed, to, base, begins }, pairs })
    }

    /// At a start, after the runs: takes up what another left of what lies above them ([`Dedup::rest`]). Says whether it fits.
    pub fn take_up(&mut self, rest: Sealed) -> bool {
        let Sealed { head, mut pairs } = rest;
        if head.from != self.sealed || head.to < self.next || self.table.len() > 0 {
            return false;
        }
        let size = self.generations.size();
        let end = head.to.div_ceil(size);
        for (generation, begin) in (end - head.begins.len() as u64..end).zip(&head.begins) {
            self.generations.enter(head.from.max(generation * size), Micros(*begin));
        }
        pairs.sort_unstable_by_key(|p| p.offset);
        pairs.into_iter().for_each(|pair| self.table.push(pair));
        self.next = head.to;
        true
    }

    /// A run can be asked for what lies below `to`.
    pub fn cover(&mut self, to: Offset) {
        self.covered = self.covered.max(to);
    }

    /// Whether everything that was handed out can be asked.
    pub fn all_covered(&self) -> bool {
        self.covered >= self.sealed
    }

    /// At a start: takes note of a run that can be asked. Runs come oldest first, each where the one before ends.
    pub fn restore(&mut self, head: &Head) {
        self.generations.restore(head.to, &head.begins);
        self.begin_at(head.to);
    }

    /// At a start without runs: nothing below this position is known.
    pub fn begin_at(&mut self, offset: Offset) {
        let from = offset / self.generations.size() * self.generations.size();
        self.sealed = from;
        self.covered = from;
        self.table_from = from;
        self.next = self.next.max(from);
    }

    /// Everything below was handed out as a run.
    pub fn sealed(&self) -> Offset {
        self.sealed
    }

    /// How many positions below a committed one count at most, and what lies below may count for none.
    pub fn reaches_to(&self, committed: Offset) -> Offset {
        let size = self.generations.size();
        (committed / size).saturating_sub(self.generations.most()) * size
    }

    /// The first position that counts where these runs end, by what they say of time. Nothing older is missing if they begin
    /// below it.
    pub fn counts_from<'a>(&self, heads: impl Iterator<Item = &'a Head>) -> Offset {
        let mut generations = Generations::new(self.generation(), self.horizon_us(), self.generations.most());
        let mut end = 0;
        for head in heads {
            generations.restore(head.to, &head.begins);
            end = head.to;
        }
        generations.floor_at(end)
    }

    /// Runs that end here or below are needed no more. A rebuild begins where the newest run ends, and must decide there as
    /// it was decided: so what counted there is kept, which is a little more than what counts now.
    pub fn needed_from(&self) -> Offset {
        self.generations.floor_at(self.covered)
    }

    /// Received time over which a duplicate is told if nothing else ends it, in microseconds.
    pub fn horizon_us(&self) -> i64 {
        self.generations.horizon_us()
    }

    /// Positions of the biggest run that is worth merging.
    pub fn biggest_run(&self) -> Offset {
        self.biggest * self.generations.size()
    }

    /// Positions per generation.
    pub fn generation(&self) -> Offset {
        self.generations.size()
    }

    /// Positions that count at present: the horizon actually reached.
    pub fn horizon(&self) -> std::ops::Range<Offset> {
        self.generations.floor()..self.next
    }

    /// Received time over which a duplicate is told at present, in microseconds.
    pub fn reach(&self) -> i64 {
        self.generations.reach()
    }
}
