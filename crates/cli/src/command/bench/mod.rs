//! `ouzel bench`: measures this machine with this program. Figures that are compared come from one run.

mod dedup;
mod enrich;
mod river;
mod sender;

use std::path::PathBuf;

use crate::Global;
use crate::exit::{Failed, Result};

#[derive(clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The enrich stage alone, on one core, beside the floor: validate, find 12 members, copy
    Enrich(EnrichArgs),
    /// An hour of distinct ids, told from duplicates in memory and on disk
    Dedup(DedupArgs),
    /// The whole program: HTTP in batches and a file, as fast as it goes; then at a fixed rate, for latency
    Run(RunArgs),
}

#[derive(clap::Args, Clone)]
pub struct EnrichArgs {
    /// How long to measure
    #[arg(long, default_value_t = 10)]
    secs: u64,
}

#[derive(clap::Args, Clone)]
pub struct DedupArgs {
    /// Distinct ids in the hour
    #[arg(long, default_value_t = 100_000_000)]
    pairs: u64,
    /// Partitions they are spread over
    #[arg(long, default_value_t = 8)]
    partitions: u32,
}

#[derive(clap::Args, Clone)]
pub struct RunArgs {
    /// How long each part is measured
    #[arg(long, default_value_t = 60)]
    secs: u64,
    /// Events in a batch
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Connections of the sender
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Events a second in the part that measures latency
    #[arg(long, default_value_t = 27_800)]
    rate: u64,
    /// Which parts: http, file, latency
    #[arg(long, value_delimiter = ',', default_value = "http,file,latency")]
    parts: Vec<String>,
}

pub fn run(global: &Global, args: BenchArgs) -> Result {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: its figures say nothing about a release build");
    }
    match args.what {
        What::Dedup(args) => dedup::run(global, &args),
        What::Enrich(args) => enrich::run(global, &args),
        What::Run(args) => river::run(global, &args),
    }
}

/// A directory of our own for what a bench writes.
fn bench_dir(global: &Global) -> Result<PathBuf> {
    let dir = global.data.clone().unwrap_or_else(|| PathBuf::from("./ouzel-bench"));
    if dir.exists() {
        return Err(Failed::usage(format!(
            "{} is there already; a bench wants a directory that is not",
            dir.display()
        )));
    }
    Ok(dir)
}

/// What was measured on: said with every figure.
fn machine() -> serde_json::Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")).map(|l| l.trim_start_matches([' ', '\t', ':']));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    serde_json::json!({
        "cores": std::thread::available_parallelism().map_or(1, usize::from).to_string(),
        "cpu": model.unwrap_or("unknown"),
        "load_before": load.split(' ').next().unwrap_or_default(),
        "version": env!("CARGO_PKG_VERSION"),
    })
}

/// (resident now, most ever) in bytes.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim_start_matches(':').trim().split(' ').next()?.parse::<u64>().ok().map(|k| k * 1024)
    };
    (field("VmRSS").unwrap_or(0), field("VmHWM").unwrap_or(0))
}

/// CPU seconds this process has used.
fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the struct is live; the call writes all of it.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let secs = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    secs(usage.ru_utime) + secs(usage.ru_stime)
}
