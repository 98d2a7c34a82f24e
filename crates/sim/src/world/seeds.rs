//! Many worlds, a seed each, on all cores; those first that once found something.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::num::NonZero;
use std::ops::{ControlFlow, RangeInclusive};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread;

use seam::fault::{Bug, plant_here};

use super::{Report, Scenario, Trace, World};
use crate::laws::{self, Violation};

/// Bugs that worlds must find. Other decisions take two versions of a program, and the poison is in every world; that a retry is
/// another call shows nowhere but in the life of an ask (`crates/ask/tests/life`).
pub const PLANTS: [Bug; 20] = [
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
    Bug::OrderIgnored,
    Bug::FinishedForgotten,
    Bug::LateReplyWritten,
    Bug::PermitLeaked,
    Bug::FollowerCancelledWithLeader,
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

/// Runs the world of a seed.
pub fn run(seed: u64, how: How, trace: Trace) -> Report {
    let _planted = plant_here(how.plant);
    let mut report = World::new(Scenario::of_seed(seed), trace).run();
    if how.twice {
        let again = World::new(Scenario::of_seed(seed), Trace::new()).run();
        if again.hash != report.hash {
            let what = format!("L9: run twice, its traces differ: {:016x}, then {:016x}", report.hash, again.hash);
            report.violations.push(laws::conduct(what, "time, chance or an order that the seed does not decide"));
        }
    }
    report
}

/// Runs many on all cores. `each` is told of them in the order of `seeds`, and may end it.
pub fn run_all(seeds: &[u64], how: How, each: impl FnMut(Report) -> ControlFlow<()>) {
    on_all_cores(seeds, |seed| run(*seed, how, Trace::new()), each);
}

/// What came of looking for a planted bug.
pub struct Hunt {
    pub bug: Bug,
    /// Worlds that were run, up to the one that found it.
    pub worlds: usize,
    /// The seed that found it, and by what.
    pub found: Option<(u64, Violation)>,
}

/// Plants each bug and runs worlds until one finds it, several bugs at a time. `tried` is told how many worlds a bug was
/// looked for in, `each` of what came of it, in the order of `bugs`.
pub fn hunt_all(bugs: &[Bug], seeds: &[u64], tried: impl Fn(Bug, usize) + Sync, mut each: impl FnMut(Hunt)) {
    let hunt = |bug: &Bug| {
        let mut hunt = Hunt { bug: *bug, worlds: 0, found: None };
        for seed in seeds {
            hunt.worlds += 1;
            let mut report = run(*seed, How { plant: Some(*bug), twice: false }, Trace::new());
            // What a world finds without the bug as well says nothing about it.
            if !report.violations.is_empty() && run(*seed, How::default(), Trace::new()).violations.is_empty() {
                hunt.found = Some((*seed, report.violations.swap_remove(0)));
                break;
            }
            tried(*bug, hunt.worlds);
        }
        hunt
    };
    on_all_cores(bugs, hunt, |hunt| {
        each(hunt);
        ControlFlow::Continue(())
    });
}

/// Threads that work at a time.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Does the work on all cores. `each` gets its results in the order of `items`, and may end it. Panics if the work does, and
/// says on what: a world takes what panics in its processes for a violation, so this one is a bug of the world.
fn on_all_cores<T: Sync + Debug, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut each: impl FnMut(R) -> ControlFlow<()>,
) {
    let next = &AtomicUsize::new(0);
    let work = &work;
    thread::scope(|scope| {
        let (done, results) = sync_channel(1);
        for _ in 0..cores().min(items.len()) {
            let done = done.clone();
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Relaxed);
                    let Some(item) = items.get(n) else { return };
                    let result = catch_unwind(AssertUnwindSafe(|| work(item)));
                    if done.send((n, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // Those that ended before one that began earlier: few, as the work on each takes about as long.
        let mut early = BTreeMap::new();
        let mut told = 0;
        for (n, result) in results {
            early.insert(n, result);
            while let Some(result) = early.remove(&told) {
                let result = result.unwrap_or_else(|_| panic!("a panic in the world of {:?}", items[told]));
                told += 1;
                if each(result).is_break() {
                    // Nobody receives any more: every thread ends after what it is at.
                    return;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_seeds_come_first_and_none_comes_twice() {
        assert!(!kept().is_empty() && kept().iter().all(|k| !k.found.is_empty()), "each says what it found");
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
