//! Runs the kill loop on a binary, by hand:
//!
//! `cargo run --profile ci -p ouzel-sim --example storm -- BINARY [--cycles N] [--seed N] [--power-loss] [--points]
//! [--plant BUG] [--dir DIR] [-- ARGS OF RUN]`

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // a program, not a part of the product

use std::process::ExitCode;

use ouzel_sim::storm::{KillLoopConfig, find_planted, kill_loop};
use seam::fault::{Bug, POINTS};

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let run_args = match args.iter().position(|a| a == "--") {
        Some(at) => args.split_off(at).split_off(1),
        None => Vec::new(),
    };
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1).cloned());
    let has = |name: &str| args.iter().any(|a| a == name);
    let binary = args.first().expect("the binary comes first").clone();
    let scratch = tempfile::tempdir().expect("a directory");
    let dir = value("--dir").map_or(scratch.path().to_owned(), Into::into);
    let number = |name: &str, default: u64| value(name).map_or(default, |v| v.parse().expect("a number"));
    let config = KillLoopConfig {
        args: run_args,
        cycles: number("--cycles", 10) as u32,
        seed: number("--seed", 1),
        points: if has("--points") { POINTS.iter().map(|p| (*p).to_owned()).collect() } else { Vec::new() },
        power_loss: has("--power-loss"),
        min_rate: number("--min-rate", 5000) as f64,
        ..KillLoopConfig::new(binary, dir)
    };
    let planted = value("--plant");
    let report = match &planted {
        None => kill_loop(config),
        Some(name) => {
            let bug = Bug::ALL.into_iter().find(|b| b.name() == name).expect("a bug of seam::fault");
            find_planted(bug, config.cycles, config)
        }
    }
    .expect("the harness works");
    println!("{report}");
    if report.is_clean() == planted.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
