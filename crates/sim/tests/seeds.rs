//! Seeds of the simulated world: every law holds in each, every fault comes, every planted bug is found, and the same seed
//! is the same run. The long form is `cargo xtask prove`; one of them as a story, `cargo xtask sim --seed N`.

use std::ops::ControlFlow;

use ouzel_sim::world::Tally;
use ouzel_sim::world::seeds::{self, How, Hunt, PLANTS};

const SEEDS: u64 = 200;
/// Worlds within which each planted bug is found.
const HUNT: u64 = 300;

#[test]
fn every_law_holds_in_every_world_and_every_fault_comes() {
    let mut tally = Tally::default();
    seeds::run_all(&seeds::kept_and(1..=SEEDS), How::default(), |report| {
        tally.add(report);
        ControlFlow::Continue(())
    });
    println!("{tally}");
    assert!(tally.failed.is_empty(), "{tally}");
    assert_eq!(tally.never_fired(), [""; 0], "what never fires proves nothing");
    assert_eq!(
        tally.not_listed(),
        [""; 0],
        "to be added to the list of faults, so that it is missed when it stops firing"
    );
    let [events, partitions, crashes] = tally.averages();
    assert!(events >= 2000.0 && partitions >= 3.0 && crashes >= 2.0, "too little happens:\n{tally}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let list: Vec<u64> = (1..=10).collect();
    let mut tally = Tally::default();
    seeds::run_all(&list, How { twice: true, ..How::default() }, |report| {
        tally.add(report);
        ControlFlow::Continue(())
    });
    assert!(tally.failed.is_empty(), "{tally}");
}

#[test]
fn planted_bugs_are_found() {
    let list: Vec<u64> = (1..=HUNT).collect();
    let mut missed = Vec::new();
    seeds::hunt_all(
        &PLANTS,
        &list,
        |_, _| {},
        |Hunt { bug, worlds, found }| match found {
            Some((seed, by)) => println!("{}: {worlds} worlds, seed {seed}: {by}", bug.name()),
            None => missed.push(bug.name()),
        },
    );
    assert_eq!(missed, [""; 0], "not found within {HUNT} worlds: these worlds prove nothing of what such a bug breaks");
}
