//! `ouzel bench lookup`: the lookup service over HTTP with its caches warm, and a client of our own on the same cores.
//!
//! * [`client`]: what sends requests and reads answers
//! * [`source`]: what is asked before the caches know

mod client;
mod source;

use std::path::Path;
use std::time::Duration;

use node::config::{Config, LoadArgs, RunArgs};
use node::engine::World;
use node::lookup_server::LookupServer;
use seam::RealFs;
use serde_json::{Value, json};

use super::LookupArgs;
use crate::Global;
use crate::command::run::start_failed;
use crate::exit::{Exit, Failed, Result};
use client::{Client, Load};

/// Keys of a request, and how many requests a second it must be at least: half of these are sent to see how long they take.
const REQUESTS: [(usize, f64); 2] = [(1, 50_000.0), (10, 25_000.0)];

pub fn run(global: &Global, args: &LookupArgs) -> Result {
    let machine = super::machine();
    let dir = super::bench_dir(global)?;
    std::fs::create_dir_all(&dir).map_err(|e| Failed::environment("cannot make a directory for the bench", &e))?;
    let measured = measure(&dir, args);
    let _ = std::fs::remove_dir_all(&dir);
    let parts = measured?;
    let settings = json!({
        "keys": args.keys, "secs": args.secs, "turns": args.turns, "connections": args.connections, "depth": args.depth,
        "paced_depth": PACED_DEPTH, "value_bytes": source::VALUE_BYTES, "server": "in the same process",
    });
    if global.json {
        println!("{}", json!({ "machine": machine, "settings": settings, "parts": parts }));
        return Ok(Exit::Fine);
    }
    println!("{machine}\n{settings}");
    for part in &parts {
        let number = |name: &str| part[name].as_f64().unwrap_or(0.0);
        println!(
            "requests of {:>2}: {:>9.0} requests/s {:>9.0} keys/s; at {:.0} requests/s p50 {:.2} ms, p99 {:.2} ms",
            number("keys_a_request"),
            number("requests_per_s"),
            number("keys_per_s"),
            number("paced_per_s"),
            number("p50_ms"),
            number("p99_ms")
        );
    }
    Ok(Exit::Fine)
}

/// Requests that a connection sends at once where the rate is held.
const PACED_DEPTH: usize = 8;

fn measure(dir: &Path, args: &LookupArgs) -> Result<Vec<Value>> {
    let failed = |e: std::io::Error| Failed::environment("the bench cannot go on", &e);
    let source = source::start().map_err(failed)?;
    let config = config(dir, source, args)?;
    let addr = "127.0.0.1:0".parse().expect("an address");
    let server = LookupServer::start(&config, addr, &World::real()).map_err(start_failed)?;
    let client = Client { addr: server.addr(), keys: args.keys, connections: args.connections };
    client.warm().map_err(failed)?;
    let mut parts = Vec::new();
    for (size, bar) in REQUESTS {
        let mut turns = Vec::new();
        for _ in 0..args.turns {
            let span = Duration::from_secs(args.secs);
            let fast = client.run(Load { size, depth: args.depth, rate: None, span }).map_err(failed)?;
            let rate = Some(fast.per_second.min(bar) / 2.0);
            let paced = client.run(Load { size, depth: PACED_DEPTH, rate, span }).map_err(failed)?;
            let ms = |q: f64| paced.latency.quantile(q).map_or(0.0, |d| d.as_secs_f64() * 1e3);
            turns.push([fast.per_second, paced.per_second, ms(0.5), ms(0.99), ms(1.0)]);
        }
        let median = |n: usize| {
            let mut all: Vec<f64> = turns.iter().map(|turn| turn[n]).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        parts.push(json!({
            "keys_a_request": size, "requests_per_s": median(0), "keys_per_s": median(0) * size as f64,
            "paced_per_s": median(1), "p50_ms": median(2), "p99_ms": median(3), "max_ms": median(4), "turns": turns,
        }));
    }
    server.stop();
    Ok(parts)
}

/// One lookup of the source, whose values stay fresh.
fn config(dir: &Path, source: std::net::SocketAddr, args: &LookupArgs) -> Result<Config> {
    // Twice what the entries take, with their keys.
    let size = (args.keys * (source::VALUE_BYTES + 100) * 2).max(1 << 20);
    let text = format!(
        "version = 1\n[data]\ndir = {data:?}\n[http]\nlisten = \"127.0.0.1:0\"\n[cache]\nwarm = false\n\
         [[lookup]]\nname = \"bench\"\nkind = \"http\"\nurl = \"http://{source}/{{key}}\"\nkey = \"event.user\"\n\
         allow_private = [\"127.0.0.1\"]\nattempts = 5\ncache = {{ size = {size}, ttl = \"1d\" }}\n",
        data = dir.join("data").display().to_string(),
    );
    let file = dir.join("bench.toml");
    std::fs::write(&file, text).map_err(|e| Failed::environment("cannot write the bench's configuration", &e))?;
    let args = LoadArgs {
        file: Some(file),
        env: Vec::new(),
        set: Vec::new(),
        cwd: std::path::PathBuf::new(),
        stands_in: None,
        insecure: false,
        run: RunArgs::default(),
    };
    Ok(Config::load(&args, &RealFs).map_err(|e| Failed::usage(e.to_string()))?.config)
}
