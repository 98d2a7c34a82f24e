//! Dedup's older pairs on disk: `dedup/<partition>/<from>-<to>.run`, written and merged out of the way.
//!
//! * [`file`]: a run as a file
//! * [`shelf`]: the runs that can be asked
//! * [`sealer`]: who writes and merges them
//! * [`depot`]: where the next owner of a partition finds them, if workers come and go
//!
//! `raw` is the truth, and a run a saving: one that is not whole at start is thrown away, and what it covered is read from
//! `raw` again, as far as that still goes back. A rebuild from runs decides as the first reading did. One that had to begin
//! within the horizon may remember a resend in place of its original, and so tell a duplicate longer; never shorter.

mod depot;
mod file;
mod sealer;
mod shelf;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use enrich::Dedup;
use enrich::dedup::{FAN, Head};
use event::{Micros, Offset};
use seam::Fs;

pub use depot::Depot;
use file::OpenRun;
use sealer::Task;
pub use sealer::{Cost, Sealer};
pub use shelf::Shelf;
use shelf::{Done, RUNS_MANY, RUNS_MAX};

/// What the name of a run that cannot be read ends with.
const DAMAGED: &str = ".damaged";

/// The runs of one partition.
pub struct Runs {
    dir: PathBuf,
    depot: Option<Arc<Depot>>,
    shelf: Shelf,
    merging: bool,
    /// It was said that this partition is about to wait.
    behind: bool,
}

impl Runs {
    /// `depot`: where other workers find them, if there are others.
    pub fn open(fs: &Arc<dyn Fs>, data: &Path, partition: u32, depot: Option<Depot>) -> io::Result<Runs> {
        let dir = data.join("dedup").join(partition.to_string());
        fs.create_dir_all(&dir)?;
        Ok(Runs { dir, depot: depot.map(Arc::new), shelf: Shelf::new(fs.clone()), merging: false, behind: false })
    }

    /// For a start at `committed`, brings here what others have put where it is found; `None`: nothing was ever committed.
    /// Without the store, `raw` is read.
    pub fn fetch(&self, fs: &dyn Fs, dedup: &Dedup, committed: Option<Offset>) {
        let Some(depot) = &self.depot else { return };
        let fetched = match committed {
            Some(committed) => depot.fetch(fs, &self.dir, committed, dedup.reaches_to(committed)),
            None => depot.clear(),
        };
        if let Err(e) = fetched {
            tracing::warn!(error = %e, "dedup runs of other workers could not be fetched; raw is read again instead");
        }
    }

    /// What [`Dedup`] asks for older pairs.
    pub fn shelf(&self) -> Shelf {
        self.shelf.clone()
    }

    /// Tells `dedup` of the runs on disk for a start at `committed`, and gives the position from which `raw` is to be read
    /// again. `kept_from`, `end`: the positions `raw` still has. `received` says when the record at a position, or the next
    /// one above it, was received; `None` if there is none.
    pub fn restore(
        &self,
        fs: &dyn Fs,
        dedup: &mut Dedup,
        committed: Offset,
        kept_from: Offset,
        received: impl FnMut(Offset) -> Option<Micros>,
    ) -> io::Result<Offset> {
        let generation = dedup.generation();
        let (runs, lost) = self.whole(fs, committed)?;
        let runs = chain(runs, kept_from);
        // Their own times say most often that nothing is missing, and reading many places of a log that is far away takes long.
        let lowest = dedup.reaches_to(committed).max(kept_from.min(committed));
        let proves = |first: &OpenRun| {
            first.from() <= lowest || dedup.counts_from(runs.iter().map(|r| &r.index.head)) > first.from()
        };
        let wanted = match runs.first().filter(|first| proves(first)) {
            Some(first) => first.from(),
            None => wanted_from(dedup, committed, kept_from, received),
        };
        // Times that overlap at the ends of generations may have let a run go that would be wanted now. What is lost by it
        // is seconds at the far end of the horizon, what is saved is reading an hour of raw. IMPORTANT: not when a file was lost,
        // or may have been: what a store does not have may never have been put there.
        let enough = wanted + if lost || self.depot.is_some() { 0 } else { 2 * generation };
        let (runs, from) = match (runs.first(), runs.last()) {
            (Some(first), Some(last)) if first.from() <= enough => {
                let reached = last.to();
                runs.iter().for_each(|r| dedup.restore(&r.index.head));
                (runs, reached)
            }
            // More counts than the runs go back, and raw has it: then it is told from there, and the runs are made again.
            _ => {
                dedup.begin_at(wanted);
                (Vec::new(), wanted)
            }
        };
        self.keep_only(fs, &runs)?;
        let rest = self.depot.as_ref().and_then(|depot| depot.rest(dedup.sealed(), committed));
        let from = match rest {
            Some(rest) if rest.head.to > from => {
                let to = rest.head.to;
                if dedup.take_up(rest) { to } else { from }
            }
            _ => from,
        };
        if committed.saturating_sub(from) >= 2 * generation {
            tracing::info!(from, committed, "raw is read again for what tells duplicates");
        }
        self.shelf.held().runs = runs.into_iter().map(Arc::new).collect();
        Ok(from)
    }

    /// Hands what can be sealed below `committed` to the sealer, takes in what it has done, and has neighbours merged and
    /// what is beyond the horizon removed. Call before each reading. Answers whether more may be read at present: not when
    /// the disk lags so far behind that the table would forget what is nowhere else.
    ///
    /// # Errors
    /// A run that cannot be read, for people.
    pub fn keep_up(&mut self, sealer: &Sealer, dedup: &mut Dedup, committed: Offset) -> Result<bool, String> {
        if sealer.has_ended() {
            return Err("the thread that writes dedup's runs has ended; this is a bug".to_owned());
        }
        let shelf = self.shelf.clone();
        let mut held = shelf.held();
        for done in std::mem::take(&mut held.done) {
            match done {
                Done::Sealed(run) => {
                    dedup.cover(run.to());
                    held.runs.push(run);
                }
                Done::Merged { inputs, into } => {
                    self.merging = false;
                    // Some may have been removed meanwhile; what they became is removed when all of it may be.
                    let at = held.runs.partition_point(|r| r.from() < into.from());
                    let until = held.runs.partition_point(|r| r.to() <= into.to());
                    held.runs.splice(at..until, [into]);
                    sealer.send(Task::Remove(inputs.iter().map(|r| r.path.clone()).collect()));
                }
                Done::Postponed => self.merging = false,
                Done::Unreadable(why) => return Err(why),
            }
        }
        if dedup.all_covered()
            && let Some(sealed) = dedup.seal(committed)
        {
            sealer.send(Task::Seal { dir: self.dir.clone(), shelf: shelf.clone(), depot: self.depot.clone(), sealed });
        }
        let needed = dedup.needed_from();
        let merge = match self.merging {
            true => None,
            false => mergeable(&held.runs, needed, dedup.generation(), dedup.biggest_run()),
        };
        if let Some((head, runs)) = merge {
            self.merging = true;
            sealer.send(Task::Merge { dir: self.dir.clone(), shelf: shelf.clone(), head, runs });
        }
        let expired = held.runs.partition_point(|r| r.to() <= needed);
        if expired > 0 {
            sealer.send(Task::Remove(held.runs.drain(..expired).map(|r| r.path.clone()).collect()));
            if let Some(depot) = &self.depot {
                // A few more are kept there, so that their times prove that none is missing.
                let needed = needed.saturating_sub(2 * dedup.generation());
                sealer.send(Task::Expire { depot: depot.clone(), needed });
            }
        }
        let runs = held.runs.len();
        drop(held);
        let behind = !dedup.has_room_for(2) || runs > RUNS_MANY;
        if behind != std::mem::replace(&mut self.behind, behind) {
            sealer.set_behind(behind);
        }
        Ok(dedup.has_room_for(1) && runs <= RUNS_MAX)
    }

    /// Before the partition is another's: leaves it what no run has yet.
    pub fn leave(&self, sealer: &Sealer, dedup: &Dedup, committed: Offset) {
        if let Some(depot) = &self.depot
            && let Some(rest) = dedup.rest(committed)
        {
            sealer.send(Task::Leave { depot: depot.clone(), rest });
        }
    }

    /// (runs, bytes in memory, bytes on disk)
    pub fn sizes(&self) -> (usize, u64, u64) {
        let held = self.shelf.held();
        let sum = |of: &dyn Fn(&OpenRun) -> u64| held.runs.iter().map(|r| of(r)).sum();
        (held.runs.len(), sum(&|r| r.index.bytes()), sum(&|r| r.bytes))
    }

    /// (pages read because an index said so, how many of these held the pair)
    pub fn asked(&self) -> (u64, u64) {
        let held = self.shelf.held();
        (held.asked, held.found)
    }

    /// The runs on disk that are whole and of what was committed, and whether there were others that should have been.
    fn whole(&self, fs: &dyn Fs, committed: Offset) -> io::Result<(Vec<OpenRun>, bool)> {
        let (mut runs, mut lost) = (Vec::new(), false);
        for name in fs.list(&self.dir)? {
            lost |= name.ends_with(DAMAGED);
            if !name.ends_with(".run") {
                continue;
            }
            let path = self.dir.join(&name);
            match OpenRun::open(fs, path.clone())? {
                // One that reaches beyond what was committed is of another history.
                Some(run) if run.to() <= committed && file::name(run.from(), run.to()) == name => runs.push(run),
                Some(_) => {}
                None => {
                    lost = true;
                    tracing::warn!(file = %path.display(), "a dedup run is not whole; raw is read again instead");
                }
            }
        }
        Ok((runs, lost))
    }

    /// Removes all files but these, before anything is appended to the log. IMPORTANT: what says that a run was damaged goes
    /// last, and when the others are gone for good: who finds a part of them must know that something is missing.
    fn keep_only(&self, fs: &dyn Fs, runs: &[OpenRun]) -> io::Result<()> {
        let names = fs.list(&self.dir)?;
        let (damaged, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with(DAMAGED));
        for names in [others, damaged] {
            let mut removed = false;
            for name in names {
                let path = self.dir.join(name);
                if !runs.iter().any(|r| r.path == path) {
                    fs.remove(&path)?;
                    removed = true;
                }
            }
            if removed {
                fs.sync_dir(&self.dir)?;
            }
        }
        Ok(())
    }
}

/// The runs that follow each other without a hole. Of several that begin at the same place the longest, which the others
/// were merged into. What a hole covered is read again if `raw` has it still, with all above it; else what lies below the
/// hole is given up, and the horizon is shorter.
fn chain(mut runs: Vec<OpenRun>, kept_from: Offset) -> Vec<OpenRun> {
    runs.sort_by_key(|r| (r.from(), std::cmp::Reverse(r.to())));
    let mut chain: Vec<OpenRun> = Vec::new();
    for run in runs {
        let reached = chain.last().map_or(run.from(), |r| r.to());
        if run.from() < reached {
            continue;
        }
        if run.from() > reached {
            if kept_from <= reached {
                break;
            }
            chain.clear();
        }
        chain.push(run);
    }
    if chain.last().is_some_and(|r| r.to() < kept_from) {
        chain.clear();
    }
    chain
}

/// The first position that counts at `committed`, as far as `raw` has it, by halving over the times at which generations
/// begin.
fn wanted_from(
    dedup: &Dedup,
    committed: Offset,
    kept_from: Offset,
    mut received: impl FnMut(Offset) -> Option<Micros>,
) -> Offset {
    let generation = dedup.generation();
    let kept_from = kept_from.min(committed);
    let lowest = dedup.reaches_to(committed).max(kept_from);
    let (mut from, mut to) = (lowest / generation, committed.saturating_sub(1).max(lowest) / generation);
    let Some(begin) = received((to * generation).max(kept_from)) else { return lowest };
    let cut = begin.0.saturating_sub(dedup.horizon_us());
    while from < to {
        let middle = from.midpoint(to);
        match received((middle + 1) * generation) {
            Some(at) if at.0 <= cut => from = middle + 1,
            _ => to = middle,
        }
    }
    (from * generation).max(kept_from)
}

/// The first eight neighbours of one size that all count, if they make a run of at most `biggest` positions.
fn mergeable(
    runs: &[Arc<OpenRun>],
    needed: Offset,
    generation: Offset,
    biggest: Offset,
) -> Option<(Head, Vec<Arc<OpenRun>>)> {
    let class = |run: &OpenRun| ((run.to() - run.from()) / generation).max(1).ilog(FAN);
    let fan = FAN as usize;
    let mut windows = runs.windows(fan);
    windows.find_map(|window| {
        let fits = window[fan - 1].to() - window[0].from() <= biggest;
        let same = window.iter().all(|r| class(r) == class(&window[0]) && r.from() >= needed);
        let next_to_each_other = window.windows(2).all(|w| w[0].to() == w[1].from());
        if !(fits && same && next_to_each_other) {
            return None;
        }
        let head = Head::merged(window.iter().map(|r| &r.index.head))?;
        Some((head, window.to_vec()))
    })
}
