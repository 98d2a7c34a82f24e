//! `cargo xtask sim`: runs simulated worlds by their seeds, tells the story of one, looks for planted bugs.

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // a program, not a part of the product

use std::io::{IsTerminal, Write};
use std::ops::{ControlFlow, RangeInclusive};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ouzel_sim::world::seeds::{self, How, Hunt, PLANTS};
use ouzel_sim::world::{Tally, Trace};
use seam::fault::Bug;

const HELP: &str = "\
cargo xtask sim [options]

  --seeds N       worlds of the seeds 1 to N, after those that once found something (200)
  --from S        worlds of the seeds from S on, without those
  --seed S        the world of one seed, and its story as a timeline
    --all         every line of it, nothing folded
  --twice         each world twice: their traces must be the same
  --plant BUG     with a bug planted: how many worlds (at most --seeds, or 500) it takes to find it; with --seed, its story
  --plants        the same for every bug that must be found

Exit codes: 0 fine; 1 a law was broken, or a bug not found; 2 usage.
";

/// Worlds without `--seeds`.
const SEEDS: u64 = 200;
/// Worlds within which a planted bug must be found, without `--seeds`.
const HUNT: u64 = 500;
/// What takes longer shows how far it is.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Options {
    seeds: Option<u64>,
    from: Option<u64>,
    seed: Option<u64>,
    all: bool,
    how: How,
    plants: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| ["help", "-h", "--help"].contains(&arg.as_str())) {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let options = match parse(&args) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("sim: {why}");
            return ExitCode::from(2);
        }
    };
    let fine = match (options.seed, options.how.plant) {
        (Some(seed), _) => story(seed, options.how, options.all),
        (None, Some(bug)) => hunts(&[bug], options.range(HUNT)),
        (None, None) if options.plants => hunts(&PLANTS, options.range(HUNT)),
        (None, None) => storm(&options),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} takes a value"));
        let number = |text: &String| {
            let number = text.parse().ok().filter(|n| *n > 0 && *n <= u64::MAX / 2);
            number.ok_or(format!("{arg} takes a number from 1, not `{text}`"))
        };
        match arg.as_str() {
            "--seeds" => options.seeds = Some(number(value()?)?),
            "--from" => options.from = Some(number(value()?)?),
            "--seed" => options.seed = Some(number(value()?)?),
            "--all" => options.all = true,
            "--twice" => options.how.twice = true,
            "--plant" => options.how.plant = Some(bug(value()?)?),
            "--plants" => options.plants = true,
            other => return Err(format!("there is no option `{other}`; `cargo xtask sim --help` lists them")),
        }
    }
    Ok(options)
}

fn bug(name: &str) -> Result<Bug, String> {
    let all = || Bug::ALL.into_iter();
    all().find(|bug| bug.name() == name).ok_or_else(|| {
        let names: Vec<&str> = all().map(Bug::name).collect();
        format!("there is no bug `{name}`; there are {}", names.join(", "))
    })
}

impl Options {
    fn range(&self, default: u64) -> RangeInclusive<u64> {
        let from = self.from.unwrap_or(1);
        from..=from + self.seeds.unwrap_or(default) - 1
    }
}

/// One world, from the beginning to the verdict.
fn story(seed: u64, how: How, all: bool) -> bool {
    let report = seeds::run(seed, how, Trace::kept());
    // A timeline is long, and read with `less` or `head`: it is no error when they have enough.
    let mut out = std::io::stdout().lock();
    let shown = match all {
        true => write!(out, "{:#}", report.trace),
        false => write!(out, "{}", report.trace),
    };
    let _ = shown.and_then(|()| {
        writeln!(
            out,
            "\nseed {seed}: {} events, {} partitions, {} crashes, {} steps, {:.1} s simulated, trace {:016x}",
            report.events,
            report.partitions,
            report.crashes,
            report.steps,
            report.lasted.as_secs_f64(),
            report.hash
        )?;
        report.violations.iter().try_for_each(|violation| writeln!(out, "\n{violation}"))?;
        writeln!(out, "{}", if report.violations.is_empty() { "all laws hold" } else { "\nFAILED" })
    });
    report.violations.is_empty()
}

/// Many worlds, and what they came to.
fn storm(options: &Options) -> bool {
    let list = match options.from {
        Some(_) => options.range(SEEDS).collect(),
        None => seeds::kept_and(options.range(SEEDS)),
    };
    let mut tally = Tally::default();
    let mut progress = Progress::new(list.len());
    seeds::run_all(&list, options.how, |report| {
        tally.add(report);
        progress.show(tally.worlds, &format!("{} failed", tally.failed.len()));
        ControlFlow::Continue(())
    });
    progress.clear();
    let took = progress.began.elapsed();
    let per_minute = tally.worlds as f64 / took.as_secs_f64() * 60.0;
    let each = if options.how.twice { ", each twice" } else { "" };
    print!("{tally}");
    let cores = seeds::cores();
    println!("\n  {:.1} s on {cores} cores{each}: {per_minute:.0} seeds per minute", took.as_secs_f64());
    tally.failed.is_empty()
}

/// Looks for bugs.
fn hunts(bugs: &[Bug], range: RangeInclusive<u64>) -> bool {
    let list: Vec<u64> = range.collect();
    let mut missed = Vec::new();
    let progress = Mutex::new(Progress::new(list.len()));
    let progress = || progress.lock().expect("nobody panics while it shows something");
    println!("  {:28}{:>8}{:>8}  found by", "planted bug", "worlds", "seed");
    let tried = |bug: Bug, worlds| progress().show(worlds, bug.name());
    seeds::hunt_all(bugs, &list, tried, |Hunt { bug, worlds, found }| {
        progress().clear();
        match found {
            Some((seed, by)) => {
                let what = by.what.lines().next().unwrap_or_default();
                println!("  {:28}{worlds:>8}{seed:>8}  {:?}: {what:.100}", bug.name(), by.law);
            }
            None => {
                println!("  {:28}{worlds:>8}{:>8}  NOT FOUND", bug.name(), "");
                missed.push(bug.name());
            }
        }
    });
    if !missed.is_empty() {
        println!("\n  not found within {} worlds: {}", list.len(), missed.join(", "));
    }
    missed.is_empty()
}

/// How far it is, for who waits at a terminal.
struct Progress {
    began: Instant,
    of: usize,
    shown: Option<Instant>,
}

impl Progress {
    fn new(of: usize) -> Progress {
        Progress { began: Instant::now(), of, shown: None }
    }

    fn show(&mut self, done: usize, what: &str) {
        let took = self.began.elapsed();
        let is_due = self.shown.is_none_or(|at| at.elapsed() > PATIENCE / 10);
        if took > PATIENCE && is_due && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K  {done} of {} worlds, {:.0} s, {what}", self.of, took.as_secs_f64());
            self.shown = Some(Instant::now());
        }
    }

    fn clear(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
