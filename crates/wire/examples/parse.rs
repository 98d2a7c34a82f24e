//! What one pass costs: `cargo run --release -p ouzel-wire --example parse`.
//!
//! Prints microseconds per event for the pass with twelve mapped fields, the whole decode to a record header, and in the
//! same run two parses of `serde_json` for scale. The best of several rounds is given: on a shared machine the others
//! measure the neighbours.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros, reason = "a measurement")]

use std::hint::black_box;

use event::Micros;
use ouzel_wire::json::{Limits, Pointers, Scratch, pass};
use ouzel_wire::{
    Arrival, ArrivalPosition, ClockMode, Decoder, DecoderConfig, FieldMap, Preset, RawRecord, access_log,
};

const EVENT: &[u8] = include_bytes!("../tests/samples/segment.json");
const LINE: &[u8] = br#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash-monitorama-2013/images/kibana-search.png HTTP/1.1" 200 203023 "http://semicomplete.com/presentations/logstash-monitorama-2013/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36""#;
const POINTERS: [&str; 12] = [
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

fn microseconds(mut f: impl FnMut()) -> f64 {
    const EVENTS: u32 = 20_000;
    let round = |f: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        (0..EVENTS).for_each(|_| f());
        start.elapsed().as_secs_f64() * 1e6 / f64::from(EVENTS)
    };
    (0..30).map(|_| round(&mut f)).fold(f64::MAX, f64::min)
}

fn main() {
    let event = EVENT.trim_ascii();
    let (pointers, _) = Pointers::compile(&POINTERS).expect("pointers");
    let (limits, mut scratch) = (Limits::default(), Scratch::default());
    let ours = microseconds(|| pass(black_box(event), &pointers, &limits, &mut scratch).expect("an event"));
    let config =
        DecoderConfig { clock: ClockMode::Live, ..DecoderConfig::new("web", FieldMap::preset(Preset::Segment)) };
    let decoder = Decoder::build(config).expect("a decoder");
    let position = ArrivalPosition::At { prefix: "http:key", index: 1 };
    let arrival = Arrival { received: Micros(1_795_375_990_000_000), position, inherited: &[] };
    let mut record = RawRecord::default();
    let decode = microseconds(|| decoder.decode(black_box(event), &arrival, &mut record).expect("an event"));
    let log = Decoder::build(DecoderConfig::new("log", FieldMap::preset(Preset::AccessLog))).expect("a decoder");
    let mut json = Vec::new();
    let line = microseconds(|| {
        json.clear();
        access_log::to_json(black_box(LINE), &mut json).expect("a line");
        log.decode(&json, &arrival, &mut record).expect("an event");
    });
    let value = microseconds(|| drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(event)))));
    let ignored = microseconds(|| drop(black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(event)))));
    println!("{} bytes, {} pointers; microseconds per event, best of 30 rounds", event.len(), POINTERS.len());
    println!("pass                    {ours:.3}");
    println!("decode                  {decode:.3}   (pass, times, hashes, record header)");
    println!("access log line         {line:.3}   ({} bytes: to JSON, and decode)", LINE.len());
    println!("serde_json, IgnoredAny  {ignored:.3}   {:.1} x", ignored / ours);
    println!("serde_json, Value       {value:.3}   {:.1} x", value / ours);
}
