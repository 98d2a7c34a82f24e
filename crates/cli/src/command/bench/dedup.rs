//! `ouzel bench dedup`: an hour of distinct ids through the table, the runs and their merges, without a log.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use enrich::Dedup;
use enrich::dedup::{DedupConfig, GENERATION};
use event::{Micros, Offset};
use flow::Verdict;
use seam::{Clock, Fs, RealClock, RealFs};
use serde_json::{Value, json};
use stage::runs::{Runs, Sealer};

use super::DedupArgs;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, look, term};

/// Records between two commits of a partition.
const BATCH: u64 = 500;
const HOUR_US: u64 = 3_600_000_000;
/// Time passes so far beyond the hour, at the same rate: then 59 minutes ago and 61 minutes ago are both there to be asked.
const AFTER_US: u64 = 120_000_000;
/// Duplicates asked of each of these times.
const ASKED: u64 = 20_000;
/// How long the stage waits when the disk lags.
const LAG_WAIT: Duration = Duration::from_millis(1);

struct Part {
    dedup: Dedup,
    runs: Runs,
    next: Offset,
}

struct Bench {
    parts: Vec<Part>,
    sealer: Sealer,
    clock: RealClock,
    /// In `Dedup::judge`.
    judging: Duration,
    /// Waiting for the disk.
    waiting: Duration,
}

impl Bench {
    fn start(dir: &Path, config: &DedupConfig, partitions: u32) -> std::io::Result<Bench> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let part = |partition| {
            let runs = Runs::open(&fs, dir, partition, None)?;
            let dedup = Dedup::with_older(&config.share(partitions), Box::new(runs.shelf()));
            Ok(Part { dedup, runs, next: 0 })
        };
        Ok(Bench {
            parts: (0..partitions).map(part).collect::<std::io::Result<_>>()?,
            sealer: Sealer::start(fs, seam::Background::Threads)?,
            clock: RealClock::new(),
            judging: Duration::ZERO,
            waiting: Duration::ZERO,
        })
    }

    /// Judges ids as one batch of a partition and counts those that were told as duplicates.
    fn batch(&mut self, partition: usize, pairs: impl Iterator<Item = (u64, u64)>) -> std::result::Result<u64, String> {
        let part = &mut self.parts[partition];
        let begun = self.clock.elapsed();
        while !part.runs.keep_up(&self.sealer, &mut part.dedup, part.next)? {
            std::thread::sleep(LAG_WAIT);
        }
        let waited = self.clock.elapsed();
        self.waiting += waited - begun;
        let mut told = 0;
        for (number, received_us) in pairs {
            let verdict = part.dedup.judge(id(number), number, part.next, Micros(received_us as i64));
            told += u64::from(verdict == Verdict::Duplicate);
            part.next += 1;
        }
        self.judging += self.clock.elapsed() - waited;
        part.dedup.trouble().map_or(Ok(told), |why| Err(why.to_owned()))
    }

    /// Numbers `from..to`, each a new id, at their times.
    fn distinct(&mut self, from: u64, to: u64, hour: u64) -> std::result::Result<u64, String> {
        let mut told = 0;
        let partitions = self.parts.len() as u64;
        for first in (from..to).step_by((BATCH * partitions) as usize) {
            for partition in 0..partitions {
                let numbers = (0..BATCH).map(|n| first + n * partitions + partition).filter(|n| *n < to);
                told += self.batch(partition as usize, numbers.map(|n| (n, received(n, hour))))?;
            }
        }
        Ok(told)
    }

    /// What is told of ids that were sent so long before `now`.
    fn again(&mut self, ago_us: u64, now: u64, hour: u64) -> std::result::Result<(u64, u64), String> {
        let partitions = self.parts.len() as u64;
        let first = number_at(now - ago_us, hour) / partitions * partitions;
        let (mut told, mut asked) = (0, 0);
        for partition in 0..partitions {
            let numbers = (0..ASKED / partitions).map(|n| first + n * partitions + partition).filter(|n| *n < hour);
            asked += numbers.clone().count() as u64;
            told += self.batch(partition as usize, numbers.map(|n| (n, now)))?;
        }
        Ok((told, asked))
    }

    /// Runs, their bytes in memory and on disk, pages read, and how many of these held what was sought.
    fn sizes(&self) -> [u64; 5] {
        self.parts.iter().fold([0; 5], |sum, part| {
            let ((runs, memory, disk), (asked, found)) = (part.runs.sizes(), part.runs.asked());
            let more = [runs as u64, memory, disk, asked, found];
            std::array::from_fn(|n| sum[n] + more[n])
        })
    }
}

/// An identity as `event::key::id_hash` would give: 128 even bits.
fn id(number: u64) -> u128 {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    let high = mix(number.wrapping_add(0x9E37_79B9_7F4A_7C15));
    u128::from(high) << 64 | u128::from(mix(high ^ number))
}

fn received(number: u64, hour: u64) -> u64 {
    (u128::from(number) * u128::from(HOUR_US) / u128::from(hour)) as u64
}

fn number_at(us: u64, hour: u64) -> u64 {
    (u128::from(us) * u128::from(hour) / u128::from(HOUR_US)) as u64
}

pub fn run(global: &Global, args: &DedupArgs) -> Result {
    let dir = match &global.data {
        Some(_) => super::bench_dir(global)?,
        None => std::env::temp_dir().join(format!("ouzel-bench-{}", std::process::id())),
    };
    let measured = measure(global, args, &dir);
    let _ = std::fs::remove_dir_all(&dir);
    let result = measured?;
    if global.json {
        println!("{result}");
        return Ok(Exit::Fine);
    }
    let n = |name: &str| result[name].as_f64().unwrap_or(0.0);
    let count = |name: &str| term::count(n(name) as u64);
    println!("dedup: {} ids in an hour of received time, {} partitions", count("pairs"), args.partitions);
    println!(
        "  judge: {:.0} ns; of the last tenth {:.0} ns; {:.0} ns of processor time",
        n("ns_per_judge"),
        n("ns_per_judge_full"),
        n("cpu_ns_per_judge")
    );
    println!("  in memory: {:.0} MB resident more; {:.0} MB of it are filters", n("resident_mb"), n("filters_mb"));
    println!("  on disk: {:.2} GB in {} runs, {:.1} B an id", n("disk_gb"), count("runs"), n("disk_bytes_per_pair"));
    println!(
        "  written: {:.1} times, in {} merges; {:.1} s of processor time for sealing and merging",
        n("write_amplification"),
        count("merges"),
        n("sealer_cpu_s")
    );
    println!("  reads: {:.4} a judgement; waited {:.1} s for the disk", n("reads_per_judge"), n("waiting_s"));
    println!("  from 59 minutes ago: {} of {} found", count("found_59min"), count("asked_59min"));
    println!("  from 61 minutes ago: {} of {} found", count("found_61min"), count("asked_61min"));
    println!("  a duplicate: {:.1} us; horizon {:.1} min", n("us_per_duplicate"), n("horizon_min"));
    println!("  start with these runs: {:.0} ms", n("start_ms"));
    Ok(Exit::Fine)
}

fn measure(global: &Global, args: &DedupArgs, dir: &Path) -> Result<Value> {
    let loaded = look::load(global, false, node::config::RunArgs::default())?.config;
    let config = DedupConfig { generation: GENERATION, ..node::parts::dedup(&loaded) };
    let failed = |why: String| Failed::new(Exit::Failed, why);
    let environment = |e: std::io::Error| Failed::environment("writing the runs", &e);
    let machine = super::machine();
    let hour = args.pairs;
    let last = hour + number_at(AFTER_US, hour);
    let now = received(last, hour);
    let (resident_before, cpu_before, own_before) =
        (super::resident().0, super::cpu_seconds(), super::own_cpu_seconds());
    let mut bench = Bench::start(dir, &config, args.partitions).map_err(environment)?;
    let begun = bench.clock.elapsed();
    let tenth = last / 10 * 9;
    let mut wrong = bench.distinct(0, tenth, hour).map_err(failed)?;
    let early = (bench.judging, bench.sizes());
    wrong += bench.distinct(tenth, last, hour).map_err(failed)?;
    let (judging, waiting, took) = (bench.judging, bench.waiting, bench.clock.elapsed() - begun);
    let cpu = super::cpu_seconds() - cpu_before;
    let own_cpu = super::own_cpu_seconds() - own_before;
    let resident = super::resident();
    let sizes = bench.sizes();
    let (found_59, asked_59) = bench.again(59 * 60_000_000, now, hour).map_err(failed)?;
    let us_per_duplicate = (bench.judging - judging).as_secs_f64() * 1e6 / asked_59 as f64;
    let (found_61, asked_61) = bench.again(61 * 60_000_000, now, hour).map_err(failed)?;
    let reach = bench.parts.iter().map(|p| p.dedup.reach()).min().unwrap_or(0);
    let cost = bench.sealer.cost();
    let (merges, sealed, merged) =
        (cost.merges.load(Relaxed), cost.sealed_bytes.load(Relaxed), cost.merged_bytes.load(Relaxed));
    let nexts: Vec<Offset> = bench.parts.iter().map(|p| p.next).collect();
    drop(bench);
    let start_ms = start(dir, &config, args.partitions, &nexts).map_err(environment)?.as_secs_f64() * 1e3;
    let filters = sizes[1] as f64;
    Ok(json!({
        "pairs": hour,
        "ns_per_judge": judging.as_nanos() as f64 / last as f64,
        "ns_per_judge_full": (judging - early.0).as_nanos() as f64 / (last - tenth) as f64,
        "judged_per_s": last as f64 / took.as_secs_f64(),
        "resident_mb": resident.0.saturating_sub(resident_before) as f64 / 1e6,
        "resident_most_mb": resident.1.saturating_sub(resident_before) as f64 / 1e6,
        "filters_mb": filters / 1e6,
        "disk_gb": sizes[2] as f64 / 1e9,
        "disk_bytes_per_pair": sizes[2] as f64 / last as f64,
        "runs": sizes[0],
        "merges": merges,
        "write_amplification": (sealed + merged) as f64 / sealed.max(1) as f64,
        "cpu_ns_per_judge": own_cpu * 1e9 / last as f64,
        "sealer_cpu_s": cpu - own_cpu,
        "reads_per_judge": (sizes[3] - early.1[3]) as f64 / (last - tenth) as f64,
        "waiting_s": waiting.as_secs_f64(),
        "told_wrongly": wrong,
        "found_59min": found_59, "asked_59min": asked_59,
        "found_61min": found_61, "asked_61min": asked_61,
        "us_per_duplicate": us_per_duplicate,
        "horizon_min": reach as f64 / 6e7,
        "start_ms": start_ms,
        "machine": machine,
    }))
}

/// How long it takes to take back all runs.
fn start(dir: &Path, config: &DedupConfig, partitions: u32, nexts: &[Offset]) -> std::io::Result<Duration> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let clock = RealClock::new();
    for (partition, next) in nexts.iter().enumerate() {
        let runs = Runs::open(&fs, dir, partition as u32, None)?;
        let mut dedup = Dedup::with_older(&config.share(partitions), Box::new(runs.shelf()));
        runs.restore(&*fs, &mut dedup, *next, 0, |_| None)?;
    }
    Ok(clock.elapsed())
}
