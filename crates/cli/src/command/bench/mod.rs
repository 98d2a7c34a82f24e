//! `ouzel bench`: measures this machine with this program. Figures that are compared come from one run.

mod dedup;
mod enrich;
#[cfg(feature = "lookups")]
mod facts;
#[cfg(feature = "kafka")]
mod kafka;
mod lookup;
mod river;
mod sender;
mod sessions;

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
    /// Five lookups for each event, with backends that take their time: throughput, latency, one of them down
    #[cfg(feature = "lookups")]
    Facts(FactsArgs),
    /// An hour of distinct ids, told from duplicates in memory and on disk
    Dedup(DedupArgs),
    /// The sessions stage: an event's cost, a million visitors in memory, after a kill, and beside snapshots
    Sessions(SessionsArgs),
    /// The lookup service over HTTP, its caches warm: as fast as it goes, then at half that rate, for latency
    Lookup(LookupArgs),
    /// On a Kafka broker of this machine: latency, throughput and cost, after a kill, and beside another program (--peer)
    #[cfg(feature = "kafka")]
    Kafka(KafkaArgs),
    /// The whole program: HTTP in batches and a file, as fast as it goes; then at a fixed rate, for latency
    Run(RunArgs),
}

#[derive(clap::Args, Clone)]
pub struct EnrichArgs {
    /// How long to measure
    #[arg(long, default_value_t = 10)]
    secs: u64,
}

#[cfg(feature = "lookups")]
#[derive(clap::Args, Clone)]
pub struct FactsArgs {
    /// Which parts: throughput, latency, down
    #[arg(long, value_delimiter = ',', default_value = "throughput,latency,down")]
    parts: Vec<String>,
    /// How often each part is measured; the median is told
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long each is measured
    #[arg(long, default_value_t = 10)]
    secs: u64,
    /// How long caches fill before
    #[arg(long, default_value_t = 5)]
    warm_up_secs: u64,
    /// How long a backend is down
    #[arg(long, default_value_t = 60)]
    down_secs: u64,
    /// Events a second in `latency`
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Keys of each lookup, drawn by Zipf's law
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// Local cache of each lookup over a connection; 90 of a hundred keys are in one of this size
    #[arg(long, default_value = "6MiB")]
    cache: String,
    /// An MMDB file to look addresses up in; else the first of the configuration or of what was fetched
    #[arg(long, value_name = "FILE")]
    mmdb: Option<PathBuf>,
    /// Asks real backends ($OUZEL_TEST_POSTGRES, $OUZEL_TEST_REDIS, a service over HTTP in this process) instead of stubs;
    /// `down` is left out
    #[arg(long)]
    real: bool,
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
pub struct SessionsArgs {
    /// Which parts: apply, live, recovery, snapshots
    #[arg(long, value_delimiter = ',', default_value = "apply,live,recovery,snapshots")]
    parts: Vec<String>,
    /// Events that are measured in `apply`
    #[arg(long, default_value_t = 200_000)]
    events: u64,
    /// Visitors with a session at the same time
    #[arg(long, default_value_t = 1_000_000)]
    visitors: u64,
    /// Events a second in `recovery` and `snapshots`
    #[arg(long, default_value_t = 27_800)]
    rate: u64,
    /// How often the program is killed in `recovery`
    #[arg(long, default_value_t = 3)]
    kills: u32,
    /// How often `snapshots` is measured without and with
    #[arg(long, default_value_t = 3)]
    turns: u32,
    /// How long each turn of `snapshots` is
    #[arg(long, default_value_t = 20)]
    secs: u64,
}

#[derive(clap::Args, Clone)]
pub struct LookupArgs {
    /// How long each part of a turn is
    #[arg(long, default_value_t = 5)]
    secs: u64,
    /// How often each part is measured; the median counts
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Different keys
    #[arg(long, default_value_t = 20_000)]
    keys: usize,
    /// Connections of the client
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests that a connection sends before it reads their answers, as fast as it goes
    #[arg(long, default_value_t = 16)]
    depth: usize,
}

#[cfg(feature = "kafka")]
#[derive(clap::Args, Clone)]
pub struct KafkaArgs {
    /// Which parts: latency, max, curve, failover
    #[arg(long, value_delimiter = ',', default_value = "latency,max,curve,failover")]
    parts: Vec<String>,
    /// How often each part is measured; the median is told
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long each is measured
    #[arg(long, default_value_t = 20)]
    secs: u64,
    /// How long caches fill, and compilers learn, before
    #[arg(long, default_value_t = 10)]
    warm_up_secs: u64,
    /// Events a second, but in `max` and `failover`
    #[arg(long, default_value_t = 10_000)]
    rate: u64,
    /// Live sessions in `failover`
    #[arg(long, default_value_t = 1_000_000)]
    sessions: u64,
    /// Another program with the same work, measured after Ouzel on the same broker: the command that `cargo xtask peers` prints
    #[arg(long, value_name = "COMMAND")]
    peer: Option<String>,
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
        #[cfg(feature = "lookups")]
        What::Facts(args) => facts::run(global, &args),
        What::Enrich(args) => enrich::run(global, &args),
        What::Sessions(args) => sessions::run(global, &args),
        What::Lookup(args) => lookup::run(global, &args),
        #[cfg(feature = "kafka")]
        What::Kafka(args) => kafka::run(global, &args),
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

/// CPU seconds this thread has used.
fn own_cpu_seconds() -> f64 {
    let mut time = std::mem::MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the struct is live; the call writes all of it.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
