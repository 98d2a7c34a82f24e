//! What snapshots of a million visitors add to the latency of events: the same load with and without, in turn.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use node::config::{Clock as SourceClock, Config, RunArgs};
use node::engine::{Engine, World};
use seam::RealClock;
use serde_json::{Value, json};

use super::crowd;
use crate::command::bench::sender::{Load, Silence};
use crate::command::bench::{SessionsArgs, bench_dir, river};
use crate::command::run::start_failed;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, look};

const WITH: Duration = Duration::from_secs(5);
/// Longer than a run: none is taken.
const WITHOUT: Duration = Duration::from_secs(3600);

pub fn run(global: &Global, args: &SessionsArgs) -> Result<Value> {
    let dir = bench_dir(global)?;
    let file = dir.with_extension("ndjson");
    let measured = measure(global, args, &dir, &file);
    let _ = std::fs::remove_dir_all(&dir);
    let _ = std::fs::remove_file(&file);
    measured
}

fn measure(global: &Global, args: &SessionsArgs, dir: &Path, file: &Path) -> Result<Value> {
    crowd::write_file(file, args.visitors)?;
    let mut runs = [Vec::new(), Vec::new()];
    let input = Some(file.display().to_string());
    let loading = config(global, dir, RunArgs { input, ..RunArgs::default() }, WITH)?;
    with_engine(&loading, args.visitors, |_| Ok(Value::Null))?;
    // Of each load there are fewer events than this for a connection.
    let mut firsts = (0..).step_by(1_000_000_000);
    for _ in 0..args.turns {
        for (runs, every) in runs.iter_mut().zip([WITHOUT, WITH]) {
            let run = RunArgs { listen: Some("127.0.0.1:0".into()), ..RunArgs::default() };
            let config = config(global, dir, run, every)?;
            let first = firsts.next().unwrap_or_default();
            runs.push(with_engine(&config, args.visitors, |engine| latency(engine, args, first))?);
        }
    }
    let [without, with] = runs.map(|runs| super::medians(&runs));
    let adds = |name: &str| with[name].as_f64().unwrap_or(f64::NAN) - without[name].as_f64().unwrap_or(f64::NAN);
    Ok(json!({
        "adds_to_p99_ms": adds("p99_ms"),
        "adds_to_sessions_p99_ms": adds("sessions_p99_ms"),
        "without": without,
        "with": with,
        "turns": args.turns,
    }))
}

fn config(global: &Global, dir: &Path, run: RunArgs, snapshot_every: Duration) -> Result<Config> {
    let global = Global { data: Some(dir.to_path_buf()), ..global.clone() };
    let mut config = look::load(&global, false, run)?.config;
    config.state.snapshot_every = snapshot_every;
    // The event's time is its intended time of sending, to be compared with, not corrected.
    for source in &mut config.sources {
        source.clock = SourceClock::AsSent;
    }
    Ok(config)
}

/// Starts an engine, waits until it holds all visitors, and stops it after the body: with a snapshot, so that the next
/// one has all of them at once.
fn with_engine(config: &Config, visitors: u64, body: impl FnOnce(&Engine) -> Result<Value>) -> Result<Value> {
    let mut engine = Engine::start(config, None, &World::real()).map_err(start_failed)?;
    let held = crowd::wait("the visitors are loaded", Duration::from_millis(20), || {
        let held = engine.status.sessions.get().map_or(0, |sessions| sessions.parts.size().1);
        if engine.must_stop() {
            return Err(Failed::new(Exit::Failed, "the engine stopped"));
        }
        Ok((held >= visitors && engine.idle()).then_some(()))
    });
    let figures = held.and_then(|()| body(&engine));
    engine.stop_taking();
    let summary = engine.finish();
    if !summary.errors.is_empty() {
        return Err(Failed::new(Exit::Environment, summary.errors.join("\n")));
    }
    figures
}

fn latency(engine: &Engine, args: &SessionsArgs, first: u64) -> Result<Value> {
    let load = Load {
        addr: engine.addr().ok_or_else(|| Failed::usage("the configuration has no HTTP source"))?,
        batch: 100,
        connections: 16,
        rate: Some(args.rate),
        clock: Arc::new(RealClock::new()),
        first,
        visitors: Some(args.visitors),
        silence: Silence::Ends,
    };
    let mut figures = river::measure(engine, &load, args.secs)?;
    // From receipt; the warm-up is in it.
    let sessions = engine.status.sessions.get().map(|s| &s.status.latency);
    for (name, q) in [("sessions_p50_ms", 0.5), ("sessions_p99_ms", 0.99), ("sessions_p999_ms", 0.999)] {
        figures[name] = json!(sessions.and_then(|l| l.quantile(q)).map(|d| d.as_secs_f64() * 1e3));
    }
    Ok(figures)
}
