//! `ouzel bench enrich`: raw bytes to enriched bytes on one core, without a log.

use std::sync::Arc;
use std::time::Duration;

use drive::{Action, Driver, Input, Settled};
use enrich::{Dedup, Enrich, EnrichConfig, StatusMode};
use event::record::Chunk;
use event::topic::RAW;
use event::{BlockBuilder, Micros};
use node::config::{Config, RunArgs};
use node::facts::{Pinned, Sources};
use ouzel_gen::GenConfig;
use ouzel_gen::batch::{Form, render_batches};
use seam::{Clock, RealClock};
use serde_json::json;
use wire::{Arrival, ArrivalPosition, Decoder, RawRecord};

use super::EnrichArgs;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, alloc, look, term};

/// As many as a batch of a busy partition has.
const BATCH: usize = 500;
/// 40 x 500 events of 1.2 KB: 24 MB, beyond the caches.
const BATCHES: usize = 40;
/// What the floor finds: the members that the preset `segment` maps, and three more.
const TWELVE: [&str; 12] = [
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
    driver: Driver<Enrich>,
    sources: Sources,
    pinned: Pinned,
    record: RawRecord,
    next: u64,
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
        let enrich = Enrich::new(EnrichConfig {
            member: config.enrich.member.clone(),
            status: StatusMode::NotOk,
            partitions: 1,
            out_of_order_us: config.time.out_of_order.as_micros() as i64,
            setup,
        });
        let enrich = enrich.expect("the configuration was built, so its lookups have an order");
        let dedup = Dedup::new(config.dedup.memory / 8);
        let mut driver = Driver::new(Arc::new(enrich), RAW.partition(0), dedup, 0, 1);
        while let Some(action) = driver.next_action() {
            match action {
                Action::ReadPosition => driver.handle(Input::Position(None)),
                _ => break,
            }
        }
        driver.read_nothing();
        Ok(Bench {
            decoder,
            driver,
            sources,
            pinned: Pinned::default(),
            record: RawRecord::default(),
            next: 0,
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
        let block = block.finish();
        let chunk = Chunk { base: self.next, count: block.count, bytes: block.bytes };
        self.next += u64::from(block.count);
        let mut chunk = Some(chunk);
        while let Some(action) = self.driver.next_action() {
            match action {
                Action::Read { .. } => match chunk.take() {
                    Some(chunk) => self.driver.handle(Input::Records { chunks: vec![chunk], at: now }),
                    None => {
                        self.driver.read_nothing();
                        break;
                    }
                },
                Action::Ask { asks, from } => {
                    if from == 0 {
                        self.pinned.renew(&self.sources);
                    }
                    let facts = self.pinned.answer(&asks, from);
                    drop(asks);
                    self.driver.handle(Input::Facts(facts));
                }
                Action::Commit { seq, blocks, .. } => {
                    self.out_bytes += blocks.iter().map(|b| b.bytes.len() as u64).sum::<u64>();
                    self.driver.handle(Input::Settled { seq, settled: Settled::Committed });
                }
                Action::ReadPosition | Action::Stop(_) => unreachable!("nothing goes wrong in a bench"),
            }
        }
    }
}

pub fn run(global: &Global, args: &EnrichArgs) -> Result {
    let config = look::load(global, false, RunArgs::default())?.config;
    let clock = RealClock::new();
    let mut generator = GenConfig::crowd(1).build().expect("a valid configuration");
    let mut batches = render_batches(&mut generator, BATCHES, BATCH, Form::Ndjson);
    let mean = batches.iter().map(|b| b.body.len()).sum::<usize>() as f64 / (BATCHES * BATCH) as f64;
    let mut bench = Bench::new(&config)?;
    let floor = floor(&batches, &clock)?;

    let mut stamped = 1_000_000_000;
    let mut spent = Duration::ZERO;
    let mut events = 0u64;
    let mut allocations = 0;
    let mut counted = 0;
    // One round to warm up, not counted.
    let mut warm = false;
    while !warm || spent < Duration::from_secs(args.secs) {
        let mut round = Duration::ZERO;
        for batch in &mut batches {
            let now = clock.now();
            batch.restamp(stamped, now);
            stamped += BATCH as u64;
            let lines: Vec<&[u8]> = batch.body.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
            let begun = clock.elapsed();
            bench.batch(&lines, now);
            round += clock.elapsed() - begun;
        }
        if warm {
            spent += round;
            events += (BATCHES * BATCH) as u64;
        } else {
            let lines: Vec<Vec<u8>> = {
                batches[0].restamp(stamped, clock.now());
                stamped += BATCH as u64;
                batches[0].body.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect()
            };
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            allocations = alloc::count(|| bench.batch(&lines, clock.now()));
            counted = lines.len() as u64;
        }
        warm = true;
    }
    let rate = events as f64 / spent.as_secs_f64();
    let per_event = spent.as_secs_f64() * 1e6 / events as f64;
    let (rss, _) = super::resident();
    let result = json!({
        "events_per_s": rate,
        "us_per_event": per_event,
        "floor_us_per_event": floor,
        "ratio_to_floor": per_event / floor,
        "allocations_per_event": allocations as f64 / counted as f64,
        "mean_event_bytes": mean,
        "resident_mb": rss as f64 / 1e6,
        "data_versions": serde_json::from_str::<serde_json::Value>(&bench.sources.versions()).unwrap_or_default(),
        "machine": super::machine(),
    });
    if global.json {
        println!("{result}");
    } else {
        println!("enrich, one core, {mean:.0} B an event, data: {}", result["data_versions"]);
        println!("  {} events/s   {per_event:.2} us an event", term::count(rate as u64));
        println!("  floor (validate, find 12 members, copy): {floor:.2} us; ratio {:.2}", per_event / floor);
        println!(
            "  {:.2} allocations an event   {:.0} MB resident",
            allocations as f64 / counted as f64,
            rss as f64 / 1e6
        );
    }
    Ok(Exit::Fine)
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
