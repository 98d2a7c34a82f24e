//! Records of `enriched` to measure the sessions stage with: the marketplace's own, and its visits under a million names.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::topic::{ENRICHED, RAW};
use event::{Block, BlockBuilder, Header, Micros, Offset, Source};
use node::config::Config;
use node::pipeline::Pipeline;
use ouzel_gen::generator::people_for;
use ouzel_gen::{Batch, GenConfig, Generator, Pace, Visitor};
use stage::facts::{Pinned, Sources};
use wire::{Arrival, ArrivalPosition, Decoder, RawRecord};

use crate::command::bench::{enrich, own_cpu_seconds};
use crate::exit::{Exit, Failed, Result};

/// Events a second of the marketplace in [`Market`]: its half hour is 180,000 events, so that sessions end while they are
/// measured.
const PER_S: f64 = 100.0;
/// About as many records as a busy stage reads at once: 512 KiB.
const BATCH: usize = 230;

/// The marketplace's events at their own times, enriched.
pub struct Market {
    generator: Generator,
    batch: Batch,
    decoder: Decoder,
    pipeline: Pipeline,
    sources: Sources,
    pinned: Arc<Pinned>,
    record: RawRecord,
    floor: Floor,
}

/// The least anybody can do with the same events: check that they are JSON and find some members. It says how fast this
/// machine is at the moment, whatever else it does.
#[derive(Default)]
struct Floor {
    events: u64,
    /// Seconds of processor time.
    spent: f64,
    scratch: wire::json::Scratch,
}

impl Floor {
    fn pass(&mut self, body: &[u8], events: usize) {
        let (pointers, _) = wire::json::Pointers::compile(&enrich::TWELVE).expect("they are pointers");
        let limits = wire::Limits::default();
        let mut copy = Vec::with_capacity(body.len());
        let begun = own_cpu_seconds();
        for line in body.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            wire::json::pass(line, &pointers, &limits, &mut self.scratch).expect("the generator's events are good");
            copy.extend_from_slice(line);
        }
        self.spent += own_cpu_seconds() - begun;
        std::hint::black_box(&copy);
        self.events += events as u64;
    }
}

impl Market {
    pub fn open(config: &Config) -> Result<Market> {
        let decoder = node::parts::decoder(config, &config.sources[0]).map_err(crate::command::run::start_failed)?;
        let (sources, setup, _) =
            node::parts::sources(config).map_err(|e| Failed::new(Exit::Environment, e.to_string()))?;
        let market = GenConfig { pace: Pace::Even { per_s: PER_S }, ..GenConfig::of(people_for(PER_S)) };
        Ok(Market {
            generator: market.build().map_err(|e| Failed::new(Exit::Failed, e.to_string()))?,
            batch: Batch::default(),
            decoder,
            pipeline: Pipeline::new(config, setup, config.dedup.memory / 8),
            sources,
            pinned: Arc::default(),
            record: RawRecord::default(),
            floor: Floor::default(),
        })
    }

    /// Nanoseconds of processor time an event of the floor took so far.
    pub fn floor_ns(&self) -> f64 {
        self.floor.spent * 1e9 / self.floor.events as f64
    }

    /// The next records, about a batch of a busy stage.
    pub fn next(&mut self) -> Result<Block> {
        self.batch.pull(&mut self.generator, BATCH, i64::MAX / 4);
        let mut block = BlockBuilder::new(RAW.partition(0));
        let mut now = Micros(0);
        let lines = self.batch.body.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        for (line, truth) in lines.zip(&self.batch.truths) {
            now = truth.arrival;
            let position = ArrivalPosition::At { prefix: "bench", index: truth.id.number };
            let arrival = Arrival { received: now, position, inherited: &[] };
            self.decoder.decode(line, &arrival, &mut self.record).expect("the generator's events are good");
            block.push(&self.record.key, &self.record.header, Some(&[line]));
        }
        self.floor.pass(&self.batch.body, self.batch.len());
        self.sources.renew(&mut self.pinned);
        let mut enriched = None;
        let take = |blocks: Vec<Block>| enriched = blocks.into_iter().find(|b| b.to.topic == ENRICHED);
        self.pipeline
            .pass(block.finish(), now, &self.pinned, take)
            .map_err(|why| Failed::new(Exit::Failed, why.to_string()))?;
        enriched.ok_or_else(|| Failed::new(Exit::Failed, "nothing was enriched"))
    }
}

/// Visits of the marketplace, to be made anew by as many visitors as are wanted.
pub struct Visits {
    all: Vec<Vec<Event>>,
}

struct Event {
    header: Header,
    value: Vec<u8>,
}

/// Enough that the events of neighbours differ.
const VISITS: usize = 1_000;
/// Events of a visit: six, seven or eight.
const EVENTS: [usize; 3] = [6, 7, 8];
/// A round of all visitors is passed in this time: 27,800 events a second.
const EVENT_EVERY_US: i64 = 36;
/// How far events may be out of order, by default: what lies between the newest event and the watermark.
const OUT_OF_ORDER_US: i64 = 10 * Micros::SECOND;
/// A prime, so that every round meets all visitors in an order that is not the one in memory.
const STRIDE: u64 = 611_953;
/// 2026-11-22, noon (UTC).
const START: Micros = Micros(1_795_348_800 * Micros::SECOND);

impl Visits {
    pub fn of(market: &mut Market) -> Result<Visits> {
        let mut open: BTreeMap<Vec<u8>, Vec<Event>> = BTreeMap::new();
        let mut all = Vec::new();
        while all.len() < VISITS {
            let block = market.next()?;
            for record in event::record::records(&block.bytes) {
                let record = record.expect("just written");
                let (Some(header), Some(value)) = (record.header(), record.value) else { continue };
                let visit = open.entry(record.key.to_vec()).or_default();
                visit.push(Event { header: header.to_header(), value: value.to_vec() });
                if visit.len() == EVENTS[all.len() % EVENTS.len()] {
                    all.extend(open.remove(record.key));
                }
            }
        }
        Ok(Visits { all })
    }

    /// All visits of so many visitors, whose events come one after another as if all were there at the same time: each has
    /// one event before anybody has the next. `to` gets them block by block, with the round they are of.
    pub fn pass(&self, visitors: u64, mut to: impl FnMut(usize, Block) -> Result<()>) -> Result<()> {
        let (mut at, mut key, mut bytes): (Offset, _, _) = (0, Vec::new(), Vec::new());
        for round in 0..EVENTS[EVENTS.len() - 1] {
            let mut block = BlockBuilder::new(ENRICHED.partition(0));
            for n in 0..visitors {
                let visitor = (n + round as u64) * STRIDE % visitors;
                let visit = &self.all[(visitor % self.all.len() as u64) as usize];
                let Some(event) = visit.get(round) else { continue };
                key.clear();
                Visitor::device(visitor << 1).write_key(&mut key);
                let time = Micros(START.0 + at as i64 * EVENT_EVERY_US);
                let header = Header {
                    event_time: time,
                    received_time: time,
                    watermark: Micros(time.0 - OUT_OF_ORDER_US),
                    id_hash: event::key::id_hash(b"bench", &at.to_le_bytes()),
                    visitor_hash: event::key::hash64(&key),
                    source: Source::of(RAW, 0, at),
                    ..event.header.clone()
                };
                bytes.clear();
                header.encode(&mut bytes);
                block.push(&key, &bytes, Some(&[&event.value]));
                at += 1;
                if block.count() as usize == BATCH {
                    to(round, std::mem::replace(&mut block, BlockBuilder::new(ENRICHED.partition(0))).finish())?;
                }
            }
            if !block.is_empty() {
                to(round, block.finish())?;
            }
        }
        Ok(())
    }
}
