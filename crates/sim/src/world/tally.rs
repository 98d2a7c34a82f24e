//! What many worlds came to: averages, what fired how often, and which of them broke a law.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use seam::fault::POINTS;

use super::Report;
use crate::laws::Violation;

/// What happens to worlds and what comes of it, each under the name that a trace counts it by. One that never fires proves
/// nothing.
pub const FAULTS: [&str; 35] = [
    "kill",
    "kill.at_point",
    "power.loss",
    "power.cut",
    "disk.full",
    "disk.sync_fails",
    "disk.read_fails",
    "disk.short_reads",
    "disk.rot",
    "process.restarts",
    "process.paused",
    "process.joins",
    "process.stops",
    "process.stops_at_damage",
    "process.without_store",
    "group.expelled",
    "clock.jumps",
    "client.clock",
    "source.down",
    "source.flaps",
    "source.lies",
    "source.slow",
    "source.reloads",
    "savepoint",
    "store.fails",
    "door.dies",
    "net.request_lost",
    "net.answer_lost",
    "net.twice",
    "net.slow",
    "commit.aborted",
    "commit.fenced",
    "commit.no_room",
    "commit.unknown_done",
    "commit.unknown_dropped",
];

/// What is counted and need not come: the laws ask for neither.
const OPTIONAL: [&str; 2] = ["process.overtaken", "violation"];

/// Named points that no world passes: it has doors, but no server, files or standard output around the stages, and is over
/// before anything in its log is old enough to go.
const ELSEWHERE: [&str; 6] =
    ["door.acked", "input.submitted", "input.committed", "output.written", "output.synced", "journal.segment.retired"];

/// Failed worlds that are told of in words.
const SHOWN: usize = 10;

/// The sum of some reports.
#[derive(Default)]
pub struct Tally {
    pub worlds: usize,
    pub events: usize,
    pub partitions: u64,
    pub crashes: u64,
    /// Simulated.
    pub lasted: Duration,
    /// In how many worlds, and how often in all.
    pub fired: BTreeMap<&'static str, (usize, u64)>,
    pub failed: Vec<Failed>,
}

/// A world that broke a law.
pub struct Failed {
    pub seed: u64,
    pub first: Violation,
    /// Beyond the first.
    pub more: usize,
}

impl Tally {
    pub fn add(&mut self, report: Report) {
        self.worlds += 1;
        self.events += report.events;
        self.partitions += u64::from(report.partitions);
        self.crashes += report.crashes;
        self.lasted += report.lasted;
        for (name, times) in report.trace.counts() {
            let (worlds, all) = self.fired.entry(name).or_default();
            (*worlds, *all) = (*worlds + 1, *all + times);
        }
        let mut violations = report.violations.into_iter();
        if let Some(first) = violations.next() {
            self.failed.push(Failed { seed: report.seed, first, more: violations.len() });
        }
    }

    /// Of events, partitions and crashes, what one world has.
    pub fn averages(&self) -> [f64; 3] {
        [self.events as f64, self.partitions as f64, self.crashes as f64].map(|sum| sum / self.worlds.max(1) as f64)
    }

    /// What should have fired in some world and did not.
    pub fn never_fired(&self) -> Vec<&'static str> {
        names().filter(|name| !self.fired.contains_key(name)).collect()
    }

    /// What fired and is not in the lists, which then are not whole.
    pub fn not_listed(&self) -> Vec<&'static str> {
        let listed = |name: &&'static str| names().chain(OPTIONAL).any(|known| known == *name);
        self.fired.keys().copied().filter(|name| !listed(name)).collect()
    }
}

/// All that can fire.
fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.into_iter().chain(points())
}

fn points() -> impl Iterator<Item = &'static str> {
    POINTS.iter().copied().filter(|name| !ELSEWHERE.contains(name))
}

/// The averages, a table of what fired, and what failed with the command that tells its story.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [events, partitions, crashes] = self.averages();
        let hours = self.lasted.as_secs_f64() / 3600.0;
        writeln!(f, "  {} worlds, {hours:.1} hours of simulated time", self.worlds)?;
        writeln!(f, "  on average {events:.0} events, {partitions:.1} partitions, {crashes:.1} crashes\n")?;
        writeln!(f, "  {:28}{:>8}{:>10}", "what fired", "worlds", "times")?;
        for name in FAULTS.into_iter().chain(OPTIONAL).chain(self.not_listed()) {
            let (worlds, times) = self.fired.get(name).copied().unwrap_or_default();
            writeln!(f, "  {name:28}{worlds:>8}{times:>10}")?;
        }
        writeln!(f, "\n  {:28}{:>8}", "points passed", "worlds")?;
        for name in points() {
            writeln!(f, "  {name:28}{:>8}", self.fired.get(name).map_or(0, |(worlds, _)| *worlds))?;
        }
        let never = self.never_fired();
        if !never.is_empty() {
            writeln!(f, "\n  NEVER FIRED: {}", never.join(", "))?;
        }
        if !self.failed.is_empty() {
            writeln!(f, "\n  {} of {} worlds FAILED:", self.failed.len(), self.worlds)?;
        }
        for failed in self.failed.iter().take(SHOWN) {
            writeln!(f, "\n  seed {}: {}", failed.seed, failed.first)?;
            if failed.more > 0 {
                writeln!(f, "    and {} more", failed.more)?;
            }
            writeln!(f, "    its story: cargo xtask sim --seed {}", failed.seed)?;
        }
        if self.failed.len() > SHOWN {
            let others: Vec<String> = self.failed[SHOWN..].iter().map(|failed| failed.seed.to_string()).collect();
            writeln!(f, "\n  and seeds {}", others.join(", "))?;
        }
        if !self.failed.is_empty() {
            writeln!(f, "\n  What found something is kept: a line in crates/sim/seeds.txt")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::laws;

    #[test]
    fn what_is_missing_or_new_or_failed_is_named() {
        let mut tally = Tally { worlds: 2, events: 5000, partitions: 7, crashes: 4, ..Tally::default() };
        assert_eq!(tally.averages(), [2500.0, 3.5, 2.0]);
        tally.fired.extend(names().filter(|name| *name != "disk.rot").map(|name| (name, (1, 1))));
        tally.fired.insert("moon.falls", (1, 3));
        tally.fired.insert("violation", (1, 1));
        assert_eq!((tally.never_fired(), tally.not_listed()), (vec!["disk.rot"], vec!["moon.falls"]));
        let first = laws::conduct("it stops".to_owned(), "the stage");
        tally.failed.push(Failed { seed: 14, first, more: 2 });
        let shown = tally.to_string();
        let expected = [
            "on average 2500 events, 3.5 partitions, 2.0 crashes",
            "moon.falls                         1         3",
            "NEVER FIRED: disk.rot",
            "1 of 2 worlds FAILED",
            "seed 14: Conduct broken 1x: it stops",
            "and 2 more",
            "cargo xtask sim --seed 14",
        ];
        expected.iter().for_each(|text| assert!(shown.contains(text), "{text} is not in\n{shown}"));
    }
}
