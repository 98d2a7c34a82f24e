//! `ouzel bench facts`: what lookups cost. The whole engine in this process, without HTTP and without sessions; events are
//! written to its log and read from `enriched` on the same cores.
//!
//! * [`backend`]: stubs of the backends; [`real`]: real ones
//! * [`load`]: events with keys
//! * [`reader`]: what comes out, and when
//!
//! Five lookups an event: rows of a file, an MMDB file, and three sources over a connection with a local cache each. How an
//! event is classed is told by its own member `waited`.

mod backend;
mod load;
mod reader;
mod real;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use node::config::{Clock as Times, Config, RunArgs};
use node::engine::{Engine, World};
use node::parts::decoder;
use seam::{Clock, RealClock};
use serde_json::{Value, json};

use self::backend::{Health, Stub};
use self::load::{Load, Sent, Zipf};
use self::reader::{Reader, WAITED};
use super::FactsArgs;
use crate::command::run::start_failed;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, look, term};

/// What the lookups are to keep to: events a second on two cores, milliseconds, share of the throughput.
const EVENTS_PER_S: f64 = 40_000.0;
const ADDED_MS: f64 = 5.0;
const FALL: f64 = 0.1;

pub fn run(global: &Global, args: &FactsArgs) -> Result {
    let dir = super::bench_dir(global)?;
    let mmdb = match &args.mmdb {
        Some(path) => Some(path.clone()),
        None => look::load(global, false, RunArgs::default())?.config.geo.databases.into_iter().next(),
    };
    let mmdb =
        mmdb.map(std::path::absolute).transpose().map_err(|e| Failed::environment("finding the MMDB file", &e))?;
    let urls = if args.real { Urls::real(args.keys)? } else { Urls::stubs() };
    let bench = Bench { global, args, dir: &dir, mmdb, urls };
    let mut out = json!({});
    for part in args.parts.iter().filter(|part| !args.real || *part != "down") {
        let mut runs = Vec::new();
        for _ in 0..args.runs.max(1) {
            let figures = match part.as_str() {
                "throughput" => bench.throughput(),
                "latency" => bench.latency(),
                "down" => bench.down(),
                other => Err(Failed::usage(format!("there is no part `{other}`; there are throughput, latency, down"))),
            };
            bench.clear();
            runs.push(figures?);
        }
        let median = median(
            runs,
            match part.as_str() {
                "latency" => "/free/added_p99_ms",
                "down" => "/refuses/fall",
                _ => "/events_per_s",
            },
        );
        if !global.json {
            show(part, &median);
        }
        out[part] = median;
    }
    out["settings"] = json!({
        "runs": args.runs.to_string(), "secs": args.secs.to_string(), "rate": args.rate.to_string(),
        "keys": args.keys.to_string(), "cache": args.cache, "backends": if args.real { "real, on loopback" } else { "stubs, log-normal, p50 5 ms, p99 50 ms" },
        "durability": "fsync", "sender": "same process, same cores", "sessions": "off",
        "lookups": if bench.mmdb.is_some() { "file, mmdb, sql, redis, http" } else { "file, sql, redis, http; no MMDB file was named" },
    });
    out["machine"] = super::machine();
    if global.json {
        println!("{out}");
    }
    Ok(Exit::Fine)
}

/// The run in the middle by one of its figures.
fn median(mut runs: Vec<Value>, by: &str) -> Value {
    let figure = |run: &Value| run.pointer(by).and_then(Value::as_f64).unwrap_or(f64::MAX);
    runs.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    runs.swap_remove(runs.len() / 2)
}

struct Bench<'b> {
    global: &'b Global,
    args: &'b FactsArgs,
    dir: &'b Path,
    /// `None`: one lookup less.
    mmdb: Option<PathBuf>,
    urls: Urls,
}

/// Where the backends are, as the configuration says it.
struct Urls {
    sql: String,
    redis: String,
    http: String,
}

impl Urls {
    /// Of stubs, which nobody connects to.
    fn stubs() -> Urls {
        Urls {
            sql: "\"postgres://bench@127.0.0.1/bench\"".into(),
            redis: "\"redis://127.0.0.1\"".into(),
            http: "\"http://127.0.0.1/risks\"".into(),
        }
    }

    /// Of real ones, which hold a row for each key by then.
    fn real(keys: usize) -> Result<Urls> {
        let Some(redis) = std::env::var(real::REDIS).ok().filter(|_| std::env::var_os(real::POSTGRES).is_some()) else {
            let what =
                format!("{} and {} name the backends: `cargo xtask services` starts them", real::POSTGRES, real::REDIS);
            return Err(Failed::usage(what));
        };
        real::fill(&redis, keys).map_err(|e| Failed::environment("filling the Redis", &e))?;
        let http = real::serve().map_err(|e| Failed::environment("serving HTTP", &e))?;
        let of = |variable| format!("{{ env = \"{variable}\" }}");
        Ok(Urls { sql: of(real::POSTGRES), redis: of(real::REDIS), http: format!("\"http://{http}/risks\"") })
    }
}

impl Bench<'_> {
    /// As fast as it goes.
    fn throughput(&self) -> Result<Value> {
        self.load(Facts::All, None, |running| running.span(self.args.secs))
    }

    /// At a rate; and the same without lookups, which is what they add to.
    fn latency(&self) -> Result<Value> {
        let measured = |facts| self.load(facts, Some(self.args.rate), |running| running.span(self.args.secs));
        let without = measured(Facts::None)?;
        self.clear();
        let mut figures = measured(Facts::All)?;
        let floor = without["free"]["p99_ms"].as_f64().unwrap_or(0.0);
        for class in ["free", "waited", "behind"] {
            if let Some(p99) = figures[class]["p99_ms"].as_f64() {
                figures[class]["added_p99_ms"] = json!(p99 - floor);
            }
        }
        figures["without_lookups"] = without["free"].clone();
        Ok(figures)
    }

    /// As fast as it goes, before the source over HTTP goes away and while it is, in two ways.
    fn down(&self) -> Result<Value> {
        self.load(Facts::All, None, |running| {
            let mut out = json!({ "up": running.span(self.args.secs) });
            for (name, health) in [("refuses", Health::Refuses), ("silent", Health::Silent)] {
                running.stubs[WAITED.len() - 1].set(health);
                let mut figures = running.span(self.args.down_secs);
                running.stubs[WAITED.len() - 1].set(Health::Up);
                let rate = |of: &Value| of["events_per_s"].as_f64().unwrap_or(0.0);
                figures["fall"] = json!(1.0 - rate(&figures) / rate(&out["up"]));
                out[name] = figures;
                // Its breaker has closed again when the next way begins.
                std::thread::sleep(Duration::from_secs(self.args.warm_up_secs));
            }
            out
        })
    }

    /// Removes what a run left.
    fn clear(&self) {
        for dir in [self.dir.to_path_buf(), self.beside()] {
            let _ = std::fs::remove_dir_all(dir);
        }
    }

    /// Where the files of lookups are.
    fn beside(&self) -> PathBuf {
        self.dir.with_extension("lookups")
    }

    /// An engine under load, while `measure` looks at it.
    fn load(&self, facts: Facts, rate: Option<u64>, measure: impl FnOnce(&Running<'_>) -> Value) -> Result<Value> {
        let config = self.config(&facts)?;
        let stubs: Vec<Arc<Stub>> = (0..WAITED.len() as u64).map(|seed| Arc::new(Stub::new(seed))).collect();
        let mut world = World::real();
        for (name, stub) in WAITED.iter().zip(&stubs).filter(|_| !self.args.real) {
            world.clients.insert((*name).to_owned(), stub.clone());
        }
        let mut engine = Engine::start(&config, None, &world).map_err(start_failed)?;
        let clock = Arc::new(RealClock::new());
        let load = Load {
            log: engine.log(),
            decoder: Arc::new(decoder(&config, &config.sources[0]).map_err(start_failed)?),
            clock: clock.clone(),
            keys: Arc::new(Zipf::new(self.args.keys)),
            rate,
        };
        let batches = load::rendered()?;
        let (sent, reader) = (Sent::default(), Reader::new(engine.log()));
        let (stop, stop_reader) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut figures = Value::Null;
        let mut sending = Ok(());
        std::thread::scope(|scope| {
            scope.spawn(|| reader.run(&clock, &stop_reader));
            let sender = scope.spawn(|| load.run(batches, &sent, &reader.events, &stop));
            std::thread::sleep(Duration::from_secs(self.args.warm_up_secs));
            figures = measure(&Running { engine: &engine, sent: &sent, reader: &reader, clock: &clock, stubs: &stubs });
            stop.store(true, Relaxed);
            sending = sender.join().unwrap_or_else(|_| Err(Failed::new(Exit::Failed, "the sender panicked")));
            stop_reader.store(true, Relaxed);
        });
        engine.stop_taking();
        let summary = engine.finish();
        sending?;
        if !summary.errors.is_empty() {
            return Err(Failed::new(Exit::Environment, summary.errors.join("\n")));
        }
        Ok(figures)
    }

    fn config(&self, facts: &Facts) -> Result<Config> {
        let written =
            self.write(&self.beside(), facts).map_err(|e| Failed::environment("writing the files of lookups", &e));
        written.and_then(|path| {
            let (config, data) = (Some(path), Some(self.dir.to_path_buf()));
            let global = Global { config, data, ..self.global.clone() };
            let mut config = look::load(&global, false, RunArgs::default())?.config;
            // The event's time is its intended time of sending, to be compared with, not corrected.
            config.sources.iter_mut().for_each(|source| source.clock = Times::AsSent);
            Ok(config)
        })
    }

    /// The configuration and the file of rows. They stay until the engine is done with them.
    fn write(&self, dir: &Path, facts: &Facts) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        let rows: String =
            (0..self.args.keys).map(|n| format!("{},{}\n", load::key(n), ["free", "pro"][n % 2])).collect();
        std::fs::write(dir.join("plans.csv"), format!("user,plan\n{rows}"))?;
        let mut text = String::from(
            "version = 1\n[data]\nmax_bytes = \"2GiB\"\n[sessions]\nenabled = false\n[cache]\nwarm = false\n",
        );
        if matches!(facts, Facts::All) {
            let mmdb = self.mmdb.as_ref().map_or_else(String::new, |path| {
                format!(
                    "[[lookup]]\nname = \"place\"\nkind = \"mmdb\"\npath = \"{}\"\nkey = \"event.ip\"\n",
                    path.display()
                )
            });
            let cache = format!("cache = {{ size = \"{}\" }}\n", self.args.cache);
            let Urls { sql, redis, http } = &self.urls;
            text.push_str(&format!(
                "[[lookup]]\nname = \"plan\"\nkind = \"file\"\npath = \"plans.csv\"\nkey = \"/keys/0\"\n{mmdb}\
                 [[lookup]]\nname = \"account\"\nkind = \"sql\"\nurl = {sql}\n\
                 query = \"SELECT id, 'pro' AS plan, 12 AS seats FROM unnest($1::text[]) AS id\"\n\
                 key_columns = [\"id\"]\nkey = \"/keys/1\"\n{cache}\
                 [[lookup]]\nname = \"session\"\nkind = \"redis\"\nurl = {redis}\nkey = \"/keys/2\"\n{cache}\
                 [[lookup]]\nname = \"risk\"\nkind = \"http\"\nurl = {http}\n\
                 body = '{{\"ids\": {{keys}}}}'\nallow_private = [\"127.0.0.1\"]\nkey = \"/keys/3\"\n{cache}"
            ));
        }
        let path = dir.join("bench.toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}

/// What is looked up for an event.
enum Facts {
    All,
    None,
}

/// An engine under load.
struct Running<'r> {
    engine: &'r Engine,
    sent: &'r Sent,
    reader: &'r Reader,
    clock: &'r RealClock,
    stubs: &'r [Arc<Stub>],
}

/// Counts at one moment.
struct Mark {
    at: Duration,
    cpu: f64,
    read: u64,
    behind: u64,
    /// Of each lookup: hits of the local cache, reads of it, calls of the source, asks whose time was over.
    lookups: Vec<[u64; 4]>,
}

impl Running<'_> {
    fn mark(&self) -> Mark {
        let lookup = |name: &&str| {
            self.engine.lookups().get(name).map_or([0; 4], |service| {
                let report = service.report();
                let reads = report.local.reads;
                let read = reads.hits + reads.negative + reads.stale + reads.misses;
                [reads.hits, read, report.desk.calls, report.desk.settled.timeout]
            })
        };
        Mark {
            at: self.clock.elapsed(),
            cpu: super::cpu_seconds(),
            read: self.reader.events.load(Relaxed),
            behind: self.sent.behind.load(Relaxed),
            lookups: WAITED.iter().map(lookup).collect(),
        }
    }

    /// What happens in so many seconds from now on.
    fn span(&self, secs: u64) -> Value {
        let begun = self.mark();
        self.reader.take();
        std::thread::sleep(Duration::from_secs(secs));
        let times = self.reader.take();
        let ended = self.mark();
        let events = ended.read.saturating_sub(begun.read).max(1) as f64;
        let mut figures = times.figures();
        figures["events_per_s"] = json!(events / (ended.at - begun.at).as_secs_f64());
        figures["cpu_s_per_million"] = json!((ended.cpu - begun.cpu) / events * 1e6);
        figures["commits_behind"] = json!(ended.behind - begun.behind);
        let mut calls = 0.0;
        for (n, name) in WAITED.iter().enumerate() {
            let [hits, reads, called, late] =
                std::array::from_fn(|i| (ended.lookups[n][i] - begun.lookups[n][i]) as f64);
            calls += called;
            figures["lookups"][name]["hits"] = json!(hits / reads.max(1.0));
            figures["lookups"][name]["calls_per_event"] = json!(called / events);
            figures["lookups"][name]["timeouts_per_event"] = json!(late / events);
        }
        figures["calls_per_event"] = json!(calls / events);
        figures["resident_mb"] = json!(super::resident().0 as f64 / 1e6);
        figures
    }
}

fn show(part: &str, f: &Value) {
    let n = |pointer: &str| f.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    let met = |is: bool| if is { "kept" } else { "missed" };
    match part {
        "latency" => {
            println!(
                "latency at {} events/s, intended send to a reader of `enriched`:",
                term::count(n("/events_per_s") as u64)
            );
            println!("  without lookups: p99 {:.1} ms", n("/without_lookups/p99_ms"));
            for (class, what) in [
                ("free", "all facts cached, nothing of the visitor in flight"),
                ("waited", "waited for a fact"),
                ("behind", "waited for an earlier event of the visitor"),
            ] {
                println!(
                    "  {what}: {} events, p50 {:.1} ms, p99 {:.1} ms, {:.1} added",
                    term::count(n(&format!("/{class}/events")) as u64),
                    n(&format!("/{class}/p50_ms")),
                    n(&format!("/{class}/p99_ms")),
                    n(&format!("/{class}/added_p99_ms")),
                );
            }
            println!("  at most {ADDED_MS} ms added where all is cached: {}", met(n("/free/added_p99_ms") <= ADDED_MS));
        }
        "down" => {
            println!("one source down: {} events/s before", term::count(n("/up/events_per_s") as u64));
            for way in ["refuses", "silent"] {
                let of = |pointer: &str| n(&format!("/{way}{pointer}"));
                println!(
                    "  it {}: {} events/s, {:.1} % less (at most {:.0} %: {}); p99 of the waits for the others {:.1} and {:.1} ms, before {:.1} and {:.1}",
                    if way == "silent" { "is silent" } else { way },
                    term::count(of("/events_per_s") as u64),
                    of("/fall") * 100.0,
                    FALL * 100.0,
                    met(of("/fall") < FALL),
                    of("/lookups/account/p99_ms"),
                    of("/lookups/session/p99_ms"),
                    n("/up/lookups/account/p99_ms"),
                    n("/up/lookups/session/p99_ms"),
                );
            }
        }
        _ => {
            println!(
                "throughput: {} events/s (at least {}: {}), {:.1} CPU s per million, {:.0} MB resident",
                term::count(n("/events_per_s") as u64),
                term::count(EVENTS_PER_S as u64),
                met(n("/events_per_s") >= EVENTS_PER_S),
                n("/cpu_s_per_million"),
                n("/resident_mb")
            );
            println!("  {:.3} calls an event; of keys in the local caches:", n("/calls_per_event"));
            for name in WAITED {
                println!("    {name}: {:.1} %", n(&format!("/lookups/{name}/hits")) * 100.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That it works, not how fast: what it measures is nothing in a test.
    #[test]
    fn every_part_has_figures() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = Some(folder.path().join("data"));
        let global = Global { config: None, set: Vec::new(), data, json: false, verbose: 0, quiet: false };
        let args = FactsArgs {
            parts: Vec::new(),
            runs: 1,
            secs: 1,
            warm_up_secs: 1,
            down_secs: 1,
            rate: 500,
            keys: 20_000,
            cache: "64KiB".into(),
            real: false,
            mmdb: None,
        };
        let dir = folder.path().join("data");
        let bench = Bench { global: &global, args: &args, dir: &dir, mmdb: None, urls: Urls::stubs() };
        let figure = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let latency = bench.latency().expect("figures");
        let classes = ["free", "waited", "behind"].map(|class| figure(&latency, &format!("/{class}/events")));
        assert!(classes.iter().sum::<f64>() > 0.0, "{latency}");
        bench.clear();
        let down = bench.down().expect("figures");
        for way in ["up", "refuses", "silent"] {
            assert!(figure(&down, &format!("/{way}/events_per_s")) > 0.0, "{down}");
        }
        assert!(figure(&down, "/up/lookups/risk/calls_per_event") > 0.0, "{down}");
    }
}
