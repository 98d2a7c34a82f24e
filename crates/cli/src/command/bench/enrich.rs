//! `ouzel bench enrich`: raw bytes to enriched bytes on one core, without a log.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::topic::RAW;
use event::{Block, BlockBuilder, Micros};
use node::config::{Config, RunArgs};
use node::pipeline::Pipeline;
use ouzel_gen::GenConfig;
use ouzel_gen::batch::{Form, render_batches};
use seam::{Clock, RealClock};
use serde_json::{Value, json};
use stage::facts::{Pinned, Sources};
use wire::{Arrival, ArrivalPosition, Decoder, RawRecord};

use super::EnrichArgs;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, alloc, look, term};

/// As many as a batch of a busy partition has.
const BATCH: usize = 500;
/// 480 x 500 events of 1.2 KB: 290 MB, beyond the caches.
const BATCHES: usize = 480;
/// Marketplaces they are of, so that there are at least 50,000 addresses and 5,000 agents.
const CROWDS: usize = 4;
/// Batches after which nothing is cold any more.
const COLD: usize = 40;
const COLD_RUNS: usize = 5;
/// What the floor finds: the members that the preset `segment` maps, and three more.
pub const TWELVE: [&str; 12] = [
    "/messageId",
    "/event",
    "/type",
    "/timestamp",
    "/sentAt",
    "/userId",
    "/anonymousId",
    "/context/ip",
    "/context/userAgent",
    "/context/page/url",
    "/context/page/referrer",
    "/context/campaign",
];

struct Bench {
    decoder: Decoder,
    pipeline: Pipeline,
    sources: Sources,
    pinned: Arc<Pinned>,
    record: RawRecord,
    out_bytes: u64,
}

impl Bench {
    fn new(config: &Config) -> Result<Bench> {
        let source = &config.sources[0];
        let decoder = node::parts::decoder(config, source).map_err(crate::command::run::start_failed)?;
        let (sources, setup, without) =
            node::parts::sources(config).map_err(|e| Failed::new(Exit::Environment, e.to_string()))?;
        if let Some(without) = without.into_iter().next() {
            return Err(Failed::new(Exit::Environment, without));
        }
        Ok(Bench {
            decoder,
            pipeline: Pipeline::new(config, setup, config.dedup.memory / 8),
            sources,
            pinned: Arc::default(),
            record: RawRecord::default(),
            out_bytes: 0,
        })
    }

    /// One batch all the way: decode, judge, ask, answer, apply, splice.
    fn batch(&mut self, events: &[&[u8]], now: Micros) {
        let mut block = BlockBuilder::new(RAW.partition(0));
        block.reserve(events.iter().map(|e| e.len() + 300).sum());
        for (index, event) in events.iter().enumerate() {
            let position = ArrivalPosition::At { prefix: "bench", index: index as u64 };
            let arrival = Arrival { received: now, position, inherited: &[] };
            self.decoder.decode(event, &arrival, &mut self.record).expect("the generator's events are good");
            block.push(&self.record.key, &self.record.header, Some(&[event]));
        }
        self.sources.renew(&mut self.pinned);
        let out_bytes = &mut self.out_bytes;
        let count = |blocks: Vec<Block>| *out_bytes += blocks.iter().map(|b| b.bytes.len() as u64).sum::<u64>();
        self.pipeline.pass(block.finish(), now, &self.pinned, count).expect("nothing goes wrong in a bench");
    }
}

/// The events of the bench, and what is in them.
struct Stream {
    batches: Vec<ouzel_gen::Batch>,
    /// How many different ones there are.
    addresses: usize,
    agents: usize,
    /// Users and listings, each once, sorted.
    users: BTreeSet<String>,
    listings: BTreeSet<String>,
}

impl Stream {
    fn render() -> Result<Stream> {
        let crowd = |seed| {
            let mut generator = GenConfig::crowd(seed as u64 + 1).build().expect("a valid configuration");
            render_batches(&mut generator, BATCHES / CROWDS, BATCH, Form::Ndjson)
        };
        let batches: Vec<_> = (0..CROWDS).flat_map(crowd).collect();
        let (mut addresses, mut agents) = (BTreeSet::new(), BTreeSet::new());
        let (mut users, mut listings) = (BTreeSet::new(), BTreeSet::new());
        for line in batches.iter().flat_map(lines) {
            let event: Value = serde_json::from_slice(line).map_err(|e| Failed::new(Exit::Failed, e.to_string()))?;
            let take = |pointer: &str, into: &mut BTreeSet<String>| {
                into.extend(event.pointer(pointer).and_then(Value::as_str).map(str::to_owned));
            };
            take("/context/ip", &mut addresses);
            take("/context/userAgent", &mut agents);
            take("/userId", &mut users);
            take(LISTING, &mut listings);
        }
        Ok(Stream { batches, addresses: addresses.len(), agents: agents.len(), users, listings })
    }

    fn bytes(&self) -> f64 {
        self.batches.iter().map(|b| b.body.len()).sum::<usize>() as f64
    }

    /// Two files for lookups, and a configuration that names them: four of five keys are in them.
    fn lookups(&self, dir: &Path) -> std::io::Result<PathBuf> {
        let table = |name: &str, head: &str, keys: &BTreeSet<String>, row: &dyn Fn(usize, &str) -> String| {
            let rows: String = keys.iter().enumerate().filter(|(n, _)| n % 5 != 0).map(|(n, k)| row(n, k)).collect();
            std::fs::write(dir.join(name), format!("{head}\n{rows}"))
        };
        table("users.csv", "user,plan,since", &self.users, &|n, user| {
            format!("{user},{},20{:02}-03-01\n", ["free", "plus", "pro"][n % 3], 10 + n % 16)
        })?;
        table("listings.csv", "listing,category,price", &self.listings, &|n, listing| {
            format!("{listing},{},{}\n", ["bicycles", "cameras", "books"][n % 3], 100 + n % 9000)
        })?;
        let config = format!(
            "version = 1\n\
             [[lookup]]\nname = \"account\"\nkind = \"file\"\npath = \"users.csv\"\nkey = \"event.user\"\n\
             [[lookup]]\nname = \"listing\"\nkind = \"file\"\npath = \"listings.csv\"\nkey = \"{LISTING}\"\n"
        );
        let path = dir.join("bench.toml");
        std::fs::write(&path, config)?;
        Ok(path)
    }
}

/// Where the marketplace's events have the listing they are about.
const LISTING: &str = "/properties/listing_id";

fn lines(batch: &ouzel_gen::Batch) -> impl Iterator<Item = &[u8]> {
    batch.body.split(|b| *b == b'\n').filter(|l| !l.is_empty())
}

/// Numbers and times that no batch had before.
struct Stamps<'c> {
    clock: &'c RealClock,
    next: u64,
}

impl Stamps<'_> {
    /// Puts all batches through, each as new events. Gives the time that took, stamping left out.
    fn pass(&mut self, bench: &mut Bench, batches: &mut [ouzel_gen::Batch]) -> Duration {
        let mut spent = Duration::ZERO;
        for batch in batches {
            let now = self.clock.now();
            batch.restamp(self.next, now);
            self.next += BATCH as u64;
            let lines: Vec<&[u8]> = lines(batch).collect();
            let begun = self.clock.elapsed();
            bench.batch(&lines, now);
            spent += self.clock.elapsed() - begun;
        }
        spent
    }
}

pub fn run(global: &Global, args: &EnrichArgs) -> Result {
    let mut stream = Stream::render()?;
    let dir = std::env::temp_dir().join(format!("ouzel-bench-{}", std::process::id()));
    let measured = std::fs::create_dir_all(&dir)
        .and_then(|()| stream.lookups(&dir))
        .map_err(|e| Failed::environment("writing the files of two lookups", &e))
        .and_then(|config| measure(global, args, &mut stream, config));
    let _ = std::fs::remove_dir_all(&dir);
    let result = measured?;
    if global.json {
        println!("{result}");
        return Ok(Exit::Fine);
    }
    let n = |name: &str| result[name].as_f64().unwrap_or(0.0);
    println!(
        "enrich, one core, {:.0} B an event, {} addresses, {} agents",
        n("mean_event_bytes"),
        term::count(n("addresses") as u64),
        term::count(n("agents") as u64)
    );
    println!("  data: {}", result["data_versions"]);
    println!("  warm: {} events/s   {:.2} us an event", term::count(n("events_per_s") as u64), n("us_per_event"));
    println!("  cold: {} events/s, the first {} events", term::count(n("cold_events_per_s") as u64), COLD * BATCH);
    println!(
        "  floor (validate, find 12 members, copy): {:.2} us; ratio {:.2}",
        n("floor_us_per_event"),
        n("ratio_to_floor")
    );
    println!("  {:.2} allocations an event   {:.0} MB resident", n("allocations_per_event"), n("resident_mb"));
    let without: Vec<&str> = result["without"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !without.is_empty() {
        println!("  without {}: `ouzel assets fetch` gets it", without.join(", "));
    }
    Ok(Exit::Fine)
}

/// `config` is used unless the command line names one.
fn measure(global: &Global, args: &EnrichArgs, stream: &mut Stream, config: PathBuf) -> Result<Value> {
    let global = Global { config: global.config.clone().or(Some(config)), ..global.clone() };
    let config = look::load(&global, false, RunArgs::default())?.config;
    let clock = RealClock::new();
    let floor = floor(&stream.batches, &clock)?;
    let mut stamps = Stamps { clock: &clock, next: 1_000_000_000 };

    // Cold: sources and caches made anew each time.
    let mut cold: Vec<f64> = Vec::new();
    for run in 0..COLD_RUNS {
        let mut bench = Bench::new(&config)?;
        let batches = &mut stream.batches[run * COLD..][..COLD];
        cold.push((COLD * BATCH) as f64 / stamps.pass(&mut bench, batches).as_secs_f64());
    }
    cold.sort_by(f64::total_cmp);

    // What the events themselves take is left out.
    let resident_before = super::resident().0;
    let mut bench = Bench::new(&config)?;
    // One round to warm up, not counted.
    stamps.pass(&mut bench, &mut stream.batches);
    let (mut spent, mut events) = (Duration::ZERO, 0u64);
    while spent < Duration::from_secs(args.secs) {
        spent += stamps.pass(&mut bench, &mut stream.batches);
        events += (BATCHES * BATCH) as u64;
    }
    let counted: Vec<Vec<u8>> = {
        stream.batches[0].restamp(stamps.next, clock.now());
        lines(&stream.batches[0]).map(<[u8]>::to_vec).collect()
    };
    let counted: Vec<&[u8]> = counted.iter().map(Vec::as_slice).collect();
    let allocations = alloc::count(|| bench.batch(&counted, clock.now()));
    let per_event = spent.as_secs_f64() * 1e6 / events as f64;
    let versions: Value = serde_json::from_str(&bench.sources.versions()).unwrap_or_default();
    let without: Vec<&String> = versions
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(n, v)| v.is_null() && !n.contains('.'))
        .map(|(n, _)| n)
        .collect();
    Ok(json!({
        "events_per_s": events as f64 / spent.as_secs_f64(),
        "us_per_event": per_event,
        "cold_events_per_s": cold[COLD_RUNS / 2],
        "floor_us_per_event": floor,
        "ratio_to_floor": per_event / floor,
        "allocations_per_event": allocations as f64 / counted.len() as f64,
        "mean_event_bytes": stream.bytes() / (BATCHES * BATCH) as f64,
        "out_bytes_per_event": bench.out_bytes as f64 / bench.pipeline.progress().processed as f64,
        "addresses": stream.addresses,
        "agents": stream.agents,
        "resident_mb": super::resident().0.saturating_sub(resident_before) as f64 / 1e6,
        "without": without,
        "data_versions": versions,
        "machine": super::machine(),
    }))
}

/// Microseconds an event for the least anybody can do: validate, find twelve members, copy.
fn floor(batches: &[ouzel_gen::Batch], clock: &RealClock) -> Result<f64> {
    let (pointers, _) =
        wire::json::Pointers::compile(&TWELVE).map_err(|e| Failed::new(Exit::Failed, format!("{e:?}")))?;
    let limits = wire::Limits::default();
    let mut scratch = wire::json::Scratch::default();
    let mut copy = Vec::with_capacity(1 << 20);
    let mut events = 0u64;
    let mut spent = Duration::ZERO;
    for round in 0..6 {
        let begun = clock.elapsed();
        for batch in batches {
            copy.clear();
            for line in batch.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                wire::json::pass(line, &pointers, &limits, &mut scratch).expect("the generator's events are good");
                copy.extend_from_slice(line);
                events += u64::from(round > 0);
            }
            std::hint::black_box(&copy);
        }
        if round > 0 {
            spent += clock.elapsed() - begun;
        }
    }
    Ok(spent.as_secs_f64() * 1e6 / events as f64)
}
