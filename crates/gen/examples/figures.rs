//! How fast events are rendered on one core, and what they are like: `cargo run --release -p ouzel-gen --example figures`.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // a program, not a part of the product
#![allow(clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};

use ouzel_gen::generator::{peak_of, people_for};
use ouzel_gen::{Disorder, GenConfig, Kind, Pace};

fn main() {
    for (what, people, pace, disorder) in [
        ("100,000 people, daily", 100_000, Pace::Daily { peak_per_s: peak_of(100_000) }, Disorder::NONE),
        ("the same, disordered", 100_000, Pace::Daily { peak_per_s: peak_of(100_000) }, Disorder::USUAL),
        ("8 million, times given", 8_000_000, Pace::Given, Disorder::NONE),
        ("27,800/s, 80 million", people_for(27_800.0), Pace::Even { per_s: 27_800.0 }, Disorder::NONE),
        (
            "27,800/s, disordered, shuffled by 10 s",
            people_for(27_800.0),
            Pace::Even { per_s: 27_800.0 },
            Disorder { shuffled_us: 10_000_000, ..Disorder::USUAL },
        ),
    ] {
        let config = GenConfig { people, pace, disorder, ..GenConfig::default() };
        let begun = cpu_s();
        let mut generator = config.build().expect("a valid configuration");
        let (built, live) = (cpu_s() - begun, generator.live());
        let mut out = Vec::new();
        let (mut bytes, mut kinds) = (0, BTreeMap::new());
        const EVENTS: u32 = 1_000_000;
        let begun = cpu_s();
        let mut last = config.start;
        for _ in 0..EVENTS {
            out.clear();
            let truth = generator.next(&mut out);
            bytes += out.len();
            last = truth.arrival;
            *kinds.entry(truth.kind).or_insert(0u32) += 1;
        }
        let spent = cpu_s() - begun;
        println!(
            "{what}: {:.0} events/s, {:.1} bytes; built in {:.0} ms, {live} visits at the start, {} at the end; {:.1} events/s of the marketplace's time",
            f64::from(EVENTS) / spent,
            bytes as f64 / f64::from(EVENTS),
            built * 1e3,
            generator.live(),
            f64::from(EVENTS) / ((last.0 - config.start.0) as f64 / 1e6),
        );
        let share = |kind: Kind| f64::from(kinds.get(&kind).copied().unwrap_or(0)) / f64::from(EVENTS) * 100.0;
        println!("   {}", Kind::ALL.map(|k| format!("{} {:.2} %", k.name(), share(k))).join(", "));
    }
    shapes();
    println!("{} user agents in all", ouzel_gen::world::World::new().agents.len());
}

/// CPU seconds of this process so far: others may be busy on the same machine.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux says it");
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number") / 1e9
}

/// What is in a day of 100,000 people.
fn shapes() {
    let mut generator = GenConfig::default().build().expect("the default is valid");
    let mut by_action = BTreeMap::new();
    let mut by_role = BTreeMap::new();
    let (mut devices, mut people, mut sessions) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
    let (mut agents, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let (mut client, mut server) = ((0, 0), (0, 0));
    let mut out = Vec::new();
    const EVENTS: u32 = 1_000_000;
    for _ in 0..EVENTS {
        out.clear();
        let t = generator.next(&mut out);
        let of = by_action.entry(t.action.name()).or_insert((0u32, 0usize, usize::MAX, 0));
        *of = (of.0 + 1, of.1 + out.len(), of.2.min(out.len()), of.3.max(out.len()));
        *by_role.entry(t.role.name()).or_insert(0u32) += 1;
        let sizes = if t.action.is_server() { &mut server } else { &mut client };
        *sizes = (sizes.0 + 1, sizes.1 + out.len());
        *people.entry(t.person).or_insert(0u32) += 1;
        sessions.insert(t.session);
        devices.insert(t.visitor);
        let text = String::from_utf8_lossy(&out);
        let after = |mark: &str| text.split_once(mark).and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned);
        agents.extend(after("\"userAgent\":\""));
        addresses.extend(after("\"ip\":\""));
    }
    println!(
        "client {} at {:.0} bytes, server {} at {:.0} bytes",
        client.0,
        client.1 as f64 / client.0 as f64,
        server.0,
        server.1 as f64 / server.0 as f64
    );
    for (name, (n, bytes, least, most)) in by_action {
        println!(
            "   {name:20} {:6.2} %  {:5} bytes ({least} to {most})",
            f64::from(n) / f64::from(EVENTS) * 100.0,
            bytes / n as usize
        );
    }
    for (name, n) in by_role {
        println!("   {name:20} {:6.2} %", f64::from(n) / f64::from(EVENTS) * 100.0);
    }
    let mut counts: Vec<u32> = people.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let top = |share: usize| counts[..counts.len() / share].iter().sum::<u32>() as f64 / f64::from(EVENTS) * 100.0;
    println!(
        "{} people ({:.0} % by the busiest hundredth, {:.0} % by the busiest tenth), {} visitors, {} visits; {} agents, {} addresses",
        counts.len(),
        top(100),
        top(10),
        devices.len(),
        sessions.len(),
        agents.len(),
        addresses.len()
    );
}
