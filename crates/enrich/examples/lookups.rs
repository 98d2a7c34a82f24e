//! Nanoseconds that lookups add to an event: `cargo run --release -p ouzel-enrich --example lookups`
//!
//! Everything but the sources themselves: conditions, keys, rounds, and the answers spliced in. Batches of 500 events of
//! about 400 bytes; answers of 60 bytes, copied from memory.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)] // it measures

use std::time::Instant;

use event::record::Chunk;
use event::topic::RAW;
use event::{BlockBuilder, Field, Micros};
use flow::{Asks, Batch, Clocks, Effects, Facts, Keyed, Operator, Progress, SourceId, Status, Verdict};
use ouzel_enrich::condition::Condition;
use ouzel_enrich::enricher::{AsksBy, LookupSetup, Setup};
use ouzel_enrich::path::{Base, Path};
use ouzel_enrich::{Enrich, EnrichConfig, StatusMode};
use wire::{Arrival, ArrivalPosition, Decoder, DecoderConfig, FieldMap, Preset, RawRecord};

const EVENTS: usize = 500;
const BATCHES: usize = 2_000;
const ROUNDS: usize = 5;

/// (name, key, condition)
type Lookups = &'static [(&'static str, &'static str, Option<&'static str>)];

fn operator(lookups: Lookups) -> Enrich {
    let lookup = |(n, (name, key, when)): (usize, &(&str, &str, Option<&str>))| LookupSetup {
        name: (*name).into(),
        source: SourceId(n as u16),
        asks_by: AsksBy::Text,
        key: vec![Path::parse(key).expect("a path")],
        when: when.map(|when| Condition::compile(when).expect("a condition")),
    };
    let setup = Setup {
        lookups: lookups.iter().enumerate().map(lookup).collect(),
        fields: vec![(Base::Pointer("/properties/listing/id".into()), Field(31))],
        ..Setup::default()
    };
    let config =
        EnrichConfig { member: "enriched".into(), status: StatusMode::NotOk, partitions: 1, out_of_order_us: 0, setup };
    Enrich::new(config).expect("an order")
}

fn chunk() -> Chunk {
    let mut map = FieldMap::preset(Preset::Segment);
    map.add_pointer(Field(31), "/properties/listing/id").expect("a pointer");
    let decoder = Decoder::build(DecoderConfig::new("web", map)).expect("a decoder");
    let mut block = BlockBuilder::new(RAW.partition(0));
    let mut record = RawRecord::default();
    for n in 0..EVENTS {
        let event = format!(
            r#"{{"messageId":"m-{n}","type":"track","event":"Product Viewed","userId":"u-{n}","anonymousId":"a-{n}","timestamp":"2026-11-05T10:00:00Z","context":{{"ip":"1.2.3.4","page":{{"url":"https://shop.example/products/{n}?color=blue","referrer":"https://search.example/"}}}},"properties":{{"listing":{{"id":{n},"seller":"s"}},"price":129.95,"note":"{}"}}}}"#,
            "x".repeat(80)
        );
        let position = ArrivalPosition::At { prefix: "b", index: n as u64 };
        let arrival = Arrival { received: Micros(1 << 50), position, inherited: &[] };
        decoder.decode(event.as_bytes(), &arrival, &mut record).expect("an event");
        block.push(&record.key, &record.header, Some(&[event.as_bytes()]));
    }
    let block = block.finish();
    Chunk { base: 0, count: block.count, bytes: block.bytes }
}

fn once(operator: &Enrich, chunk: &Chunk, answer: &[u8]) -> usize {
    let batch = Batch::read(RAW.partition(0), Micros(1), vec![chunk.clone()], None, |_, _, _| Verdict::Fresh);
    let batch = batch.expect("a batch");
    let (mut asks, mut facts) = (Asks::default(), Facts::new("{}".into()));
    asks.parts().1.lay_out(batch.len(), operator.slots());
    for round in 0..operator.rounds() {
        let from = asks.len();
        (0..batch.len()).for_each(|n| operator.plan(&batch, n, round, &facts, &mut asks));
        let mut answers = Facts::default();
        for _ in asks.since(from) {
            answers.push_with(|out| {
                out.extend_from_slice(answer);
                Some(Status::Ok)
            });
        }
        facts.append(answers);
    }
    let mut state = Keyed::default();
    state.open();
    let mut out = Effects::new(Progress::default(), Clocks::new(0));
    operator.apply(&batch, 0..batch.len(), &asks, &facts, &mut state, &mut out);
    out.bytes()
}

fn main() {
    let chunk = chunk();
    let answer = br#"{"user_id":"u-0018","plan":"pro","active":true,"country":"DE"}"#;
    let mut without = 0.0;
    let cases: [(&str, Lookups); 6] = [
        ("no lookup", &[]),
        ("event.user", &[("user", "event.user", None)]),
        ("event.user when event.user != null", &[("user", "event.user", Some("event.user != null"))]),
        ("a pointer", &[("listing", "/properties/listing/id", None)]),
        ("event.user, enriched.user.plan", &[("user", "event.user", None), ("plan", "enriched.user.plan", None)]),
        (
            "both under conditions",
            &[
                ("user", "event.user", Some("event.user != null")),
                (
                    "plan",
                    "enriched.user.plan",
                    Some("enriched.user.active == true && event.type == \"Product Viewed\""),
                ),
            ],
        ),
    ];
    for (name, lookups) in cases {
        let operator = operator(lookups);
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                let bytes: usize = (0..BATCHES / ROUNDS).map(|_| once(&operator, &chunk, answer)).sum();
                assert!(bytes > 0);
                started.elapsed().as_nanos() as f64 / (BATCHES / ROUNDS * EVENTS) as f64
            })
            .collect();
        times.sort_by(f64::total_cmp);
        // The least disturbed of them.
        let time = times[0];
        if lookups.is_empty() {
            without = time;
        }
        println!("{time:>6.0} ns an event, {:>+6.0} ns: {name}", time - without);
    }
}
