//! What one pass costs: `cargo run --release -p ouzel-wire --example parse`.
//!
//! Prints microseconds per event for the pass with twelve mapped fields, the whole decode to a record header, and in the
//! same run two parses of `serde_json` for scale. The best of several rounds is given: on a shared machine the others
//! measure the neighbours.

use std::hint::black_box;

use ouzel_wire::json::{Limits, Pointers, Scratch, pass};

const EVENT: &[u8] = include_bytes!("../tests/samples/segment.json");
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

#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
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
    let value = microseconds(|| drop(black_box(serde_json::from_slice::<serde_json::Value>(black_box(event)))));
    let ignored = microseconds(|| drop(black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(event)))));
    println!("{} bytes, {} pointers; microseconds per event, best of 30 rounds", event.len(), POINTERS.len());
    println!("pass                    {ours:.3}");
    println!("serde_json, IgnoredAny  {ignored:.3}   {:.1} x", ignored / ours);
    println!("serde_json, Value       {value:.3}   {:.1} x", value / ours);
}
