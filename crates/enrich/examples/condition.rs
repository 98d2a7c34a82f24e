//! Nanoseconds an evaluation of some conditions: `cargo run --release -p ouzel-enrich --example condition`

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)] // it measures

use std::hint::black_box;
use std::time::Instant;

use ouzel_enrich::condition::{Condition, Given};

const EVALUATIONS: u32 = 1_000_000;
const ROUNDS: usize = 5;

fn main() {
    for text in [
        "event.user != null",
        "event.user == \"u-0017\"",
        "event.price > 100",
        "event.user in [\"a\", \"b\", \"c\"]",
        "event.url.startsWith(\"https://\")",
        "event.user != null && event.price > 10",
        "!(event.user == null) && (event.url.startsWith(\"https://\") || event.price >= 10.0)",
        "event.tags.exists(t, t == \"sale\")",
    ] {
        let started = Instant::now();
        let condition = Condition::compile(text).expect("a condition");
        let compiled = started.elapsed();
        let values: Vec<&[u8]> = condition
            .paths()
            .iter()
            .map(|path| match path.to_string().as_str() {
                "event.user" => &b"\"u-0018\""[..],
                "event.price" => b"129.95",
                "event.tags" => b"[\"new\",\"sale\"]",
                _ => b"\"https://shop.example/products/17?color=blue\"",
            })
            .collect();
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                for _ in 0..EVALUATIONS {
                    black_box(condition.holds(|place| Some(Given::Json(values[place]))).expect("it decides"));
                }
                started.elapsed().as_nanos() as f64 / f64::from(EVALUATIONS)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{:>5.0} ns  {text}  (compiled in {} us)", times[ROUNDS / 2], compiled.as_micros());
    }
}
