//! The release's promise, tried on the real binary: killed at random and at every named point, and with the power cut.
//! The long forms run with `OUZEL_PROVE=1` (`cargo xtask prove`).

#![cfg(feature = "faults")]

use seam::fault::{Bug, POINTS};
use sim::storm::{KillLoopConfig, Report, find_planted, kill_loop};

/// Points that need an input, an output file or many events to be passed; they have tests of their own below.
const ELSEWHERE: [&str; 5] = ["input.", "output.", "dedup.", "journal.segment.retired", "door.acked"];

fn long() -> bool {
    std::env::var_os("OUZEL_PROVE").is_some()
}

fn config(dir: &tempfile::TempDir) -> KillLoopConfig {
    let mut config = KillLoopConfig::new(env!("CARGO_BIN_EXE_ouzel"), dir.path().join("storm"));
    // Small segments, so that every cycle crosses some.
    config.args = ["--set", "data.segment=16MiB", "--set", "data.partitions=4"].map(str::to_owned).to_vec();
    config.seed = std::env::var("OUZEL_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    config
}

fn temp() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("ouzel-storm").tempdir().expect("a directory")
}

fn clean(report: &Report) {
    eprintln!("{report}");
    assert!(report.is_clean(), "{report}");
    assert!(!report.gave_up, "{report}");
}

#[test]
fn killed_at_named_points_and_at_random() {
    let dir = temp();
    let mut config = config(&dir);
    config.points = POINTS
        .iter()
        .filter(|p| !ELSEWHERE.iter().any(|e| p.starts_with(e)))
        .map(|p| (*p).to_owned())
        .collect();
    config.cycles = if long() { 200 } else { 14 };
    let report = kill_loop(config).expect("the harness works");
    clean(&report);
    assert!(report.points_missed.is_empty() && report.points_fired.len() >= 12, "{report}");
}

#[test]
fn the_power_goes() {
    let dir = temp();
    let mut config = config(&dir);
    config.power_loss = true;
    config.cycles = if long() { 50 } else { 3 };
    clean(&kill_loop(config).expect("the harness works"));
}

/// A planted bug must be found, or the loop proves nothing.
fn found(bug: Bug, power_loss: bool, budget: u32) {
    let dir = temp();
    let mut config = config(&dir);
    config.power_loss = power_loss;
    let report = find_planted(bug, budget, config).expect("the harness works");
    assert!(!report.is_clean(), "{} was not found in {} cycles:\n{report}", bug.name(), report.cycles);
    eprintln!("{} found after {} starts: {}", bug.name(), report.starts, report.violations[0]);
}

#[test]
fn ack_before_fsync_is_found() {
    found(Bug::AckBeforeFsync, true, 10);
}

#[test]
fn directory_sync_skipped_is_found() {
    found(Bug::DirectorySyncSkipped, true, 10);
}

#[test]
fn position_apart_is_found() {
    found(Bug::PositionApart, false, 20);
}

#[test]
fn lost_tail_is_found() {
    found(Bug::LostTail, false, 10);
}

#[test]
fn dedup_off_by_one_is_found() {
    found(Bug::DedupOffByOne, false, 20);
}
