//! The life of asks in small worlds under a seed: askers with deadlines, one or two processes, a shared tier and a source,
//! in all weathers. What must hold is checked after every step (`world.rs`).

#![allow(clippy::disallowed_macros)] // it tells how many were found

mod chance;
mod process;
mod source;
mod store;
mod weather;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ouzel_ask::{AskId, Outcome, Planted};
use weather::Weather;
use world::World;

const SEEDS: u64 = 500;

fn run(seed: u64, planted: Option<Planted>) -> Result<World, String> {
    let mut world = World::of(seed, planted);
    world.run().map_err(|why| format!("seed {seed}: {why}"))?;
    Ok(world)
}

#[test]
fn each_ask_is_settled_once_whatever_happens() {
    let mut sum = world::Tally::default();
    for seed in 0..SEEDS {
        let mut world = run(seed, None).unwrap_or_else(|why| panic!("{why}"));
        sum.add(&world.tally());
    }
    eprintln!("{SEEDS} worlds: {sum:?}");
    // What never happened was not tested.
    for (what, count) in sum.all() {
        assert!(count > 0, "no world had any {what}: {sum:?}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in Planted::ALL {
        let found: Vec<u64> = (0..SEEDS)
            .filter(|seed| !matches!(catch_unwind(AssertUnwindSafe(|| run(*seed, Some(bug)))), Ok(Ok(_))))
            .collect();
        eprintln!("{bug:?}: found by {} of {SEEDS} seeds, first {:?}", found.len(), found.first());
        assert!(!found.is_empty(), "{bug:?} was not found");
    }
}

#[test]
fn a_seed_is_the_same_world_each_time() {
    for seed in 0..50 {
        let [a, b] = [0, 1].map(|_| run(seed, None).unwrap_or_else(|why| panic!("{why}")).trace());
        assert_eq!(a, b, "seed {seed}");
    }
}

#[test]
fn a_thousand_cold_misses_of_a_key_are_one_call() {
    for weather in [Weather::calm(1, false), Weather::calm(1, true)] {
        let mut world = World::quiet(weather);
        for n in 0..1_000 {
            world.ask_at(1_000 + n, 0, "k", 40_000);
        }
        world.run().expect("nothing goes wrong");
        assert_eq!(world.calls_of("k"), 1);
        assert!((0..1_000).all(|n| matches!(world.outcome(AskId(n)), Some(Outcome::Ok(_)))));
    }
}

#[test]
fn a_leader_who_cancels_hands_over_once() {
    let mut world = World::quiet(Weather { source_us: (20_000, 20_001), ..Weather::calm(1, false) });
    let leader = world.ask_at(1_000, 0, "k", 40_000);
    let followers: Vec<AskId> = (0..9).map(|n| world.ask_at(1_100 + n, 0, "k", 40_000)).collect();
    world.cancel_at(5_000, leader);
    world.run().expect("nothing goes wrong");
    assert_eq!((world.calls_of("k"), world.counters(0).handed_over), (1, 1));
    assert_eq!(world.outcome(leader), None);
    assert!(followers.iter().all(|id| matches!(world.outcome(*id), Some(Outcome::Ok(_)))));
}

#[test]
fn a_process_that_dies_hands_over_once_when_its_lease_runs_out() {
    let mut world = World::quiet(Weather { source_us: (20_000, 20_001), ..Weather::calm(3, true) });
    world.ask_at(1_000, 0, "k", 500_000);
    let followers: Vec<AskId> =
        (0..20).map(|n| world.ask_at(3_000 + n * 50, 1 + n as usize % 2, "k", 500_000)).collect();
    world.kill_at(15_000, 0);
    world.run().expect("nothing goes wrong");
    assert_eq!(world.calls_of("k"), 2, "the dead one's, and one more");
    assert!(followers.iter().all(|id| matches!(world.outcome(*id), Some(Outcome::Ok(_)))));
    let last = followers.iter().filter_map(|id| world.settled_at(*id)).max();
    assert!(last.is_some_and(|at| (100_000..160_000).contains(&at)), "{last:?}");
}

#[test]
fn of_two_processes_one_calls_however_slow_the_source_is() {
    for source_us in [500, 5_000, 50_000, 99_000, 101_000, 250_000, 440_000] {
        let mut world = World::quiet(Weather { source_us: (source_us, source_us + 10), ..Weather::calm(2, true) });
        let ids: Vec<AskId> = (0..100).map(|n| world.ask_at(1_000 + n * 97, n as usize % 2, "k", 500_000)).collect();
        world.run().expect("nothing goes wrong");
        assert_eq!(world.calls_of("k"), 1, "a source that takes {source_us} us");
        assert!(ids.iter().all(|id| matches!(world.outcome(*id), Some(Outcome::Ok(_)))), "{source_us} us");
    }
}
