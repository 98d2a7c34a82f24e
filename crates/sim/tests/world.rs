//! Seeds of the simulated world.

use std::time::Instant;

use ouzel_sim::world::{Scenario, Trace, World};

#[test]
fn seeds() {
    let range: Vec<u64> =
        std::env::var("SEEDS").unwrap_or("1-5".into()).split('-').map(|n| n.parse().expect("n")).collect();
    let keep = std::env::var("STORY").is_ok();
    let plant = std::env::var("PLANT").ok();
    let bug = plant.map(|name| *seam::fault::Bug::ALL.iter().find(|b| b.name() == name).expect("a bug"));
    let _planted = seam::fault::plant_here(bug);
    for seed in range[0]..=*range.last().expect("one") {
        let begun = Instant::now();
        let trace = if keep { Trace::kept() } else { Trace::new() };
        let report = World::new(Scenario::of_seed(seed), trace).run();
        if keep {
            println!("{}", report.trace);
        }
        println!(
            "seed {seed}: {} events, {} crashes, {} steps, {:?} simulated, hash {:016x}, {:?}",
            report.events,
            report.crashes,
            report.steps,
            report.lasted,
            report.hash,
            begun.elapsed()
        );
        for v in &report.violations {
            println!("{v}");
        }
        if bug.is_some() && !report.violations.is_empty() {
            println!("{} FOUND at seed {seed} by {:?}", bug.expect("one").name(), report.violations[0].law);
            return;
        }
    }
}
