//! What judging an agent string costs: `cargo run --release -p ouzel-lookup --example agent -- RULES.yaml CRAWLERS.json LOG`
//!
//! Loads the rules and the list, then asks for the agents of a web log in combined format: each for the first time (cold:
//! nothing is kept, the patterns' automata are built as they are needed), each new to what is kept but with warm automata,
//! and again (kept). Then for agents that were shuffled to do harm, on two threads. Memory is the process's.

#![allow(clippy::disallowed_methods)] // it measures

use std::hint::black_box;
use std::time::{Duration, Instant};

use ouzel_lookup::{AgentRules, Crawlers};

const HARMFUL: usize = 100_000;

fn main() {
    let [rules, list, log] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        panic!("name a regexes.yaml, a crawler-user-agents.json and a web log");
    };
    let (rules, list) = (std::fs::read(rules).expect("readable"), std::fs::read(list).expect("readable"));
    let log = std::fs::read(log).expect("readable");
    let log = String::from_utf8_lossy(&log);
    let mut agents: Vec<&str> = log.lines().filter_map(|line| line.split('"').nth(5)).collect();
    agents.sort_unstable();
    agents.dedup();
    // The same with a version more: new to what is kept, ordinary for the automata.
    let others: Vec<String> = (0..20).flat_map(|n| agents.iter().map(move |a| format!("{a} X/{n}"))).collect();

    let mut memory = resident();
    let mut grown = || {
        let now = resident();
        let grown = now - memory;
        memory = now;
        grown
    };
    let (rules, load) = timed(|| AgentRules::parse("regexes.yaml", &rules).expect("good rules"));
    println!("rules: loaded in {load:.1?}, {:.1} MB resident", grown());
    let (crawlers, load) = timed(|| Crawlers::parse("crawlers.json", &list).expect("a good list"));
    println!("crawlers: loaded in {load:.1?}, {:.1} MB resident", grown());

    let mut out = Vec::with_capacity(4096);
    let mut device = |agent: &str| {
        out.clear();
        rules.device(agent, &mut out);
        black_box(out.len());
    };
    println!("device of {} agents: cold {:.2?}", agents.len(), each(&agents, &mut device));
    println!(
        "  new {:.2?}, kept {:.0?} an agent, {:.1} MB more",
        each(&others, &mut device),
        best(&agents, &mut device),
        grown()
    );
    let mut out = Vec::with_capacity(4096);
    let mut judge = |agent: &str| {
        out.clear();
        black_box(crawlers.judge(agent, &mut out));
    };
    println!("bots among them: cold {:.2?}", each(&agents, &mut judge));
    println!(
        "  new {:.2?}, kept {:.0?} an agent, {:.1} MB more",
        each(&others, &mut judge),
        best(&agents, &mut judge),
        grown()
    );

    let (_, harm) = timed(|| {
        std::thread::scope(|scope| {
            for seed in 1..=2 {
                let (agents, rules, crawlers) = (&agents, &rules, &crawlers);
                scope.spawn(move || harm(agents, seed, rules, crawlers));
            }
        });
    });
    println!("harmful agents: {:.1?} each for both, {:.1} MB more", harm / HARMFUL as u32, grown());
}

/// Pieces of agents in any order, with other bytes in between.
fn harm(agents: &[&str], seed: u64, rules: &AgentRules, crawlers: &Crawlers) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64 ^ seed;
    let mut below = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize % n
    };
    let mut out = Vec::new();
    for _ in 0..HARMFUL {
        let mut agent = String::new();
        for _ in 0..below(40) {
            let words: Vec<&str> = agents[below(agents.len())].split_inclusive([' ', '/', ';', '(', ')']).collect();
            agent.push_str(words.get(below(words.len().max(1))).copied().unwrap_or_default());
            if below(4) == 0 {
                agent.push((b' ' + below(90) as u8) as char);
            }
        }
        out.clear();
        rules.device(&agent, &mut out);
        crawlers.judge(&agent, &mut out);
    }
}

/// Time an agent, all once.
fn each<A: AsRef<str>>(agents: &[A], ask: &mut impl FnMut(&str)) -> Duration {
    let (_, all) = timed(|| agents.iter().for_each(|agent| ask(agent.as_ref())));
    all / agents.len() as u32
}

/// The best of some rounds.
fn best<A: AsRef<str>>(agents: &[A], ask: &mut impl FnMut(&str)) -> Duration {
    (0..20).map(|_| each(agents, ask)).min().unwrap_or_default()
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// MB of memory of this process.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}
