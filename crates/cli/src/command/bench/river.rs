//! `ouzel bench run`: the whole program in this process, with a sender and a reader beside it on the same cores.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use door::http::Histogram;
use event::topic::ENRICHED;
use log::Log;
use node::config::{Config, RunArgs as ConfigRunArgs};
use node::engine::{Engine, World};
use ouzel_gen::GenConfig;
use ouzel_gen::batch::{Form, render_batches};
use seam::{Clock, RealClock};
use serde_json::{Value, json};

use super::RunArgs;
use super::sender::{Load, Sent, Silence};
use crate::command::run::start_failed;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, look, term};

/// Not counted: caches fill, the first segments are made.
const WARM_UP: Duration = Duration::from_secs(3);
/// The file part reads at most this many events, so that the file fits on a small disk: 4.8 GB.
const FILE_EVENTS_MAX: u64 = 4_000_000;
/// How much the file part is made for, a second of `--secs`.
const FILE_EVENTS_PER_SEC: u64 = 60_000;

pub fn run(global: &Global, args: &RunArgs) -> Result {
    let dir = super::bench_dir(global)?;
    let mut out = json!({});
    for part in &args.parts {
        let figures = match part.as_str() {
            "http" => over_http(global, args, &dir, None),
            "latency" => over_http(global, args, &dir, Some(args.rate)),
            "file" => from_file(global, args, &dir),
            other => Err(Failed::usage(format!("there is no part `{other}`; there are http, file, latency"))),
        };
        let _ = std::fs::remove_dir_all(&dir);
        let figures = figures?;
        if !global.json {
            show(part, &figures);
        }
        out[part] = figures;
    }
    out["settings"] = json!({
        "batch": args.batch.to_string(), "connections": args.connections.to_string(), "secs": args.secs.to_string(),
        "durability": "fsync", "sender": "same process, same cores",
    });
    out["machine"] = super::machine();
    if global.json {
        println!("{out}");
    }
    Ok(Exit::Fine)
}

fn config(global: &Global, dir: &Path, run: ConfigRunArgs) -> Result<Config> {
    let mut global = global.clone();
    global.data = Some(dir.to_path_buf());
    Ok(look::load(&global, false, run)?.config)
}

/// Over HTTP: as fast as answers come, or at a rate from the intended send.
fn over_http(global: &Global, args: &RunArgs, dir: &Path, rate: Option<u64>) -> Result<Value> {
    let run = ConfigRunArgs { listen: Some("127.0.0.1:0".into()), ..ConfigRunArgs::default() };
    let mut config = config(global, dir, run)?;
    // The event's time is its intended time of sending, to be compared with, not corrected.
    for source in &mut config.sources {
        source.clock = node::config::Clock::AsSent;
    }
    let mut engine = Engine::start(&config, None, &World::real()).map_err(start_failed)?;
    let load = Load {
        addr: engine.addr().ok_or_else(|| Failed::usage("the configuration has no HTTP source"))?,
        batch: args.batch,
        connections: args.connections.max(if rate.is_some() { 16 } else { 1 }),
        rate,
        clock: Arc::new(RealClock::new()),
        first: 0,
        visitors: None,
        silence: Silence::Ends,
    };
    let figures = measure(&engine, &load, args.secs);
    engine.stop_taking();
    let summary = engine.finish();
    if !summary.errors.is_empty() {
        return Err(Failed::new(Exit::Environment, summary.errors.join("\n")));
    }
    let mut figures = figures?;
    // Of what is resident, the bodies that were made before the clock started are the sender's.
    figures["sender_mb"] = json!(load.rendered_bytes() as f64 / 1e6);
    Ok(figures)
}

/// A load on an engine for so long, after a warm-up: what comes out, and how soon if the load has a rate.
pub fn measure(engine: &Engine, load: &Load, secs: u64) -> Result<Value> {
    let clock = load.clock.clone();
    let (sent, stop, stop_reader) = (Arc::<Sent>::default(), Arc::<AtomicBool>::default(), AtomicBool::new(false));
    let reader = Reader::new(engine.log());
    let mut figures = Value::Null;
    let mut sending = Ok(());
    std::thread::scope(|scope| {
        scope.spawn(|| reader.run(&clock, &stop_reader));
        let sender = scope.spawn(|| load.run(&sent, &stop));
        std::thread::sleep(WARM_UP);
        let begun = Mark::take(&clock, &sent, &reader, engine);
        reader.measuring.store(true, Relaxed);
        sent.measuring.store(true, Relaxed);
        std::thread::sleep(Duration::from_secs(secs));
        reader.measuring.store(false, Relaxed);
        sent.measuring.store(false, Relaxed);
        let ended = Mark::take(&clock, &sent, &reader, engine);
        stop.store(true, Relaxed);
        sending = sender.join().unwrap_or_else(|_| Err(std::io::Error::other("the sender panicked")));
        stop_reader.store(true, Relaxed);
        figures = ended.since(&begun, &sent, &reader, load.rate.is_some());
    });
    sending.map_err(|e| Failed::environment("sending", &e))?;
    Ok(figures)
}

/// From a file on the same disk, without a port.
fn from_file(global: &Global, args: &RunArgs, dir: &Path) -> Result<Value> {
    let events = (args.secs * FILE_EVENTS_PER_SEC).min(FILE_EVENTS_MAX);
    let path = dir.with_extension("ndjson");
    write_file(&path, events).map_err(|e| Failed::environment("writing the file to read", &e))?;
    let run = ConfigRunArgs { input: Some(path.display().to_string()), ..ConfigRunArgs::default() };
    let config = config(global, dir, run)?;
    let clock = RealClock::new();
    let (begun, cpu) = (clock.elapsed(), super::cpu_seconds());
    let mut engine = Engine::start(&config, None, &World::real()).map_err(start_failed)?;
    while !engine.idle() && !engine.must_stop() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let span = (clock.elapsed() - begun).as_secs_f64();
    let cpu = super::cpu_seconds() - cpu;
    let sessions = engine.status.sessions.get().map_or(0, |s| s.status.totals().processed);
    engine.stop_taking();
    let summary = engine.finish();
    let _ = std::fs::remove_file(&path);
    if !summary.errors.is_empty() {
        return Err(Failed::new(Exit::Environment, summary.errors.join("\n")));
    }
    if summary.enriched != events {
        return Err(Failed::new(
            Exit::Failed,
            format!("{events} events were in the file, {} came out", summary.enriched),
        ));
    }
    Ok(json!({
        "events": events, "seconds": span, "events_per_s": events as f64 / span,
        // Idle is when sessions has all of them, too.
        "sessions_per_s": sessions as f64 / span,
        "cpu_s_per_million": cpu / events as f64 * 1e6, "resident_mb": super::resident().0 as f64 / 1e6,
    }))
}

fn write_file(path: &Path, events: u64) -> std::io::Result<()> {
    const PER_BATCH: usize = 1000;
    let mut generator = GenConfig::crowd(1).build().expect("a valid configuration");
    let mut batches = render_batches(&mut generator, 20, PER_BATCH, Form::Ndjson);
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let start = RealClock::new().now();
    for n in 0..events / PER_BATCH as u64 {
        let batch = &mut batches[n as usize % 20];
        batch.restamp(1_000_000 + n * PER_BATCH as u64, event::Micros(start.0 + n as i64 * 1000));
        out.write_all(&batch.body)?;
    }
    out.into_inner().map_err(|e| e.into_error())?.sync_all()
}

/// Reads `enriched` as anybody would who wants events soon, and times each from its intended send.
struct Reader {
    log: Arc<dyn Log>,
    events: AtomicU64,
    latency: Histogram,
    measuring: AtomicBool,
}

impl Reader {
    fn new(log: Arc<dyn Log>) -> Reader {
        Reader { log, events: AtomicU64::new(0), latency: Histogram::default(), measuring: AtomicBool::new(false) }
    }

    fn run(&self, clock: &RealClock, stop: &AtomicBool) {
        // What was there before is nobody's news.
        let end = |p| self.log.bounds(ENRICHED.partition(p)).map_or(0, |(_, end)| end);
        let mut next: Vec<_> = (0..self.log.partitions(ENRICHED)).map(end).collect();
        let mut changes = 0;
        while !stop.load(Relaxed) {
            changes = self.log.wait(changes, Duration::from_millis(20));
            for (p, next) in next.iter_mut().enumerate() {
                let Ok(fetch) = self.log.fetch(ENRICHED.partition(p as u32), *next, 4 << 20) else { continue };
                let now = clock.now();
                let measuring = self.measuring.load(Relaxed);
                for chunk in &fetch.chunks {
                    *next = chunk.next();
                    self.events.fetch_add(u64::from(chunk.count), Relaxed);
                    if !measuring {
                        continue;
                    }
                    for (_, record) in chunk.records().flatten() {
                        if let Some(header) = record.header() {
                            let span = (now.0 - header.event_time().0).max(0) as u64;
                            self.latency.record(Duration::from_micros(span));
                        }
                    }
                }
            }
        }
    }
}

struct Mark {
    at: Duration,
    sent: u64,
    read: u64,
    cpu: f64,
    bytes: u64,
    /// What the sessions stage has processed, and what waits for it.
    sessions: u64,
    sessions_lag: u64,
}

impl Mark {
    fn take(clock: &RealClock, sent: &Sent, reader: &Reader, engine: &Engine) -> Mark {
        let sessions = engine.status.sessions.get();
        Mark {
            sessions: sessions.map_or(0, |s| s.status.totals().processed),
            sessions_lag: sessions.map_or(0, |s| s.lag()),
            at: clock.elapsed(),
            sent: sent.events.load(Relaxed),
            read: reader.events.load(Relaxed),
            cpu: super::cpu_seconds(),
            bytes: engine.status.carrier.journal().map_or(0, |journal| journal.stats().bytes),
        }
    }

    fn since(&self, begun: &Mark, sent: &Sent, reader: &Reader, latency: bool) -> Value {
        let span = (self.at - begun.at).as_secs_f64();
        let read = (self.read - begun.read) as f64;
        let ms = |q: Option<Duration>| q.map(|d| d.as_secs_f64() * 1e3);
        let mut out = json!({
            "acked_per_s": (self.sent - begun.sent) as f64 / span,
            "events_per_s": read / span,
            "sessions_per_s": (self.sessions - begun.sessions) as f64 / span,
            // Records of `enriched` that wait for sessions: at the end, and how many more each second.
            "sessions_lag": self.sessions_lag,
            "sessions_lag_per_s": (self.sessions_lag as f64 - begun.sessions_lag as f64) / span,
            "cpu_s_per_million": (self.cpu - begun.cpu) / read * 1e6,
            "journal_mb_per_s": (self.bytes - begun.bytes) as f64 / span / 1e6,
            "not_accepted": sent.failed.load(Relaxed),
            "ack_p50_ms": ms(sent.ack.quantile(0.5)),
            "ack_p99_ms": ms(sent.ack.quantile(0.99)),
            "resident_mb": super::resident().0 as f64 / 1e6,
        });
        if latency {
            for (name, q) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999), ("max_ms", 1.0)] {
                out[name] = json!(ms(reader.latency.quantile(q)));
            }
            out["sends_behind"] = json!(sent.behind.load(Relaxed));
        }
        out
    }
}

fn show(part: &str, f: &Value) {
    let n = |name: &str| f[name].as_f64().unwrap_or(0.0);
    println!(
        "{part}: {} events/s, {:.1} CPU s per million, {:.0} MB resident",
        term::count(n("events_per_s") as u64),
        n("cpu_s_per_million"),
        n("resident_mb")
    );
    println!(
        "  sessions: {} events/s; {} wait for it at the end",
        term::count(n("sessions_per_s") as u64),
        term::count(n("sessions_lag") as u64)
    );
    if f["p99_ms"].is_number() {
        println!(
            "  intended send to a reader of `enriched`: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
            n("p50_ms"),
            n("p99_ms"),
            n("p999_ms")
        );
    }
    if f["ack_p99_ms"].is_number() {
        println!("  answer: p50 {:.1} ms, p99 {:.1} ms", n("ack_p50_ms"), n("ack_p99_ms"));
    }
}
