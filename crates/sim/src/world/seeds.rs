//! Many worlds, a seed each, on all cores; those first that once found something.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::ops::{ControlFlow, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use seam::fault::{Bug, plant_here};

use super::{Report, Scenario, Trace, World};
use crate::laws::{self, Violation};

/// Bugs that worlds must find: all but those that only a process shows that is started again as another version.
pub const PLANTS: [Bug; 15] = [
    Bug::ReplaySentTwice,
    Bug::SnapshotWithoutPosition,
    Bug::TimersLost,
    Bug::OverlayKept,
    Bug::OverlayDropped,
    Bug::BatchCuts,
    Bug::MapOrderLeaks,
    Bug::LateForgotten,
    Bug::MergeKeepsBoth,
    Bug::IdleHoldsWatermark,
    Bug::DedupOffByOne,
    Bug::PositionApart,
    Bug::LostTail,
    Bug::AckBeforeFsync,
    Bug::DirectorySyncSkipped,
];

/// A seed that once found something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    pub seed: u64,
    pub found: &'static str,
}

/// The seeds of `seeds.txt`, in its order.
pub fn kept() -> Vec<Kept> {
    let lines = include_str!("../../seeds.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (seed, found) = line.split_once('#').expect("seeds.txt: `<seed>  # what it once found`");
            Kept { seed: seed.trim().parse().expect("seeds.txt: a line begins with a seed"), found: found.trim() }
        })
        .collect()
}

/// The kept seeds, then those of the range, none of them twice.
pub fn kept_and(range: RangeInclusive<u64>) -> Vec<u64> {
    let mut seeds: Vec<u64> = kept().iter().map(|kept| kept.seed).collect();
    let others: Vec<u64> = range.filter(|seed| !seeds.contains(seed)).collect();
    seeds.extend(others);
    seeds
}

/// How worlds are run.
#[derive(Clone, Copy, Default, Debug)]
pub struct How {
    pub plant: Option<Bug>,
    /// Each of them once more: the same seed must have the same trace hash (L9).
    pub twice: bool,
}

/// Runs the world of a seed. A panic is a violation; its text went to where panics are shown.
pub fn run(seed: u64, how: How, trace: Trace) -> Report {
    let _planted = plant_here(how.plant);
    let mut report = once(seed, trace);
    if how.twice {
        let again = once(seed, Trace::new());
        if again.hash != report.hash {
            let what = format!("L9: run twice, its traces differ: {:016x}, then {:016x}", report.hash, again.hash);
            report.violations.push(laws::conduct(what, "time, chance or an order that the seed does not decide"));
        }
    }
    report
}

fn once(seed: u64, trace: Trace) -> Report {
    let world = || World::new(Scenario::of_seed(seed), trace).run();
    catch_unwind(AssertUnwindSafe(world)).unwrap_or_else(|_| Report {
        seed,
        hash: 0,
        events: 0,
        partitions: 0,
        crashes: 0,
        steps: 0,
        lasted: Duration::ZERO,
        violations: vec![laws::conduct("it panics".to_owned(), "the panic's text")],
        trace: Trace::new(),
    })
}

/// Runs many on all cores. `each` is told of them in the order of `seeds`, and may end it.
pub fn run_all(seeds: &[u64], how: How, mut each: impl FnMut(Report) -> ControlFlow<()>) {
    let next = &AtomicUsize::new(0);
    thread::scope(|scope| {
        let (done, reports) = sync_channel(1);
        for _ in 0..cores().min(seeds.len()) {
            let done = done.clone();
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    let Some(seed) = seeds.get(n) else { return };
                    if done.send((n, run(*seed, how, Trace::new()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // Those that ended before one that began earlier: few, as worlds last about as long as each other.
        let mut early = BTreeMap::new();
        let mut told = 0;
        for (n, report) in reports {
            early.insert(n, report);
            while let Some(report) = early.remove(&told) {
                told += 1;
                if each(report).is_break() {
                    // Nobody receives any more: every thread ends after its world.
                    return;
                }
            }
        }
    });
}

/// Worlds that run at a time.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What came of looking for a planted bug.
pub struct Hunt {
    pub bug: Bug,
    /// Worlds that were run, up to the one that found it.
    pub worlds: usize,
    /// The seed that found it, and by what.
    pub found: Option<(u64, Violation)>,
}

/// Plants a bug and runs worlds until one finds it. `each` is told how many were run.
pub fn hunt(bug: Bug, seeds: &[u64], mut each: impl FnMut(usize)) -> Hunt {
    let mut hunt = Hunt { bug, worlds: 0, found: None };
    run_all(seeds, How { plant: Some(bug), twice: false }, |mut report| {
        hunt.worlds += 1;
        each(hunt.worlds);
        // What a world finds without the bug as well says nothing about it.
        if report.violations.is_empty() || !run(report.seed, How::default(), Trace::new()).violations.is_empty() {
            return ControlFlow::Continue(());
        }
        hunt.found = Some((report.seed, report.violations.swap_remove(0)));
        ControlFlow::Break(())
    });
    hunt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_seeds_come_first_and_none_comes_twice() {
        assert_eq!(kept()[0].seed, 14);
        assert!(kept()[0].found.starts_with("an unknown outcome"), "{}", kept()[0].found);
        let first: Vec<u64> = kept().iter().map(|k| k.seed).collect();
        let all = kept_and(10..=30);
        assert!(all.starts_with(&first));
        let mut sorted = all.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), all.len());
        assert!((10..=30).all(|seed| all.contains(&seed)));
    }

    #[test]
    fn reports_come_in_the_order_of_the_seeds_until_somebody_has_enough() {
        let mut told = Vec::new();
        run_all(&[5, 2, 9, 7, 1, 3], How::default(), |report| {
            told.push(report.seed);
            if told.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(told, [5, 2, 9, 7]);
    }
}
