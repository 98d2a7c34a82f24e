//! Nanoseconds a lookup in a file of rows: `cargo run --release -p ouzel-lookup --example table [ROWS]`
//!
//! A CSV of four columns (about 90 bytes of JSON a row; default 1,000,000 rows), asked evenly (every lookup is cold) and by
//! Zipf (s = 1, as visitors come), and for keys that are not there; how long it takes to read, and what a row costs.

#![allow(clippy::disallowed_methods)] // it measures

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use ouzel_lookup::{Table, TableConfig};

const LOOKUPS: usize = 1_000_000;
const ROUNDS: usize = 5;

struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn main() {
    let rows: usize = std::env::args().nth(1).map_or(1_000_000, |n| n.parse().expect("a number of rows"));
    let mut text = String::from("user_id,plan,home_country,since\n");
    let plans = ["free", "pro", "team", "enterprise"];
    for n in 0..rows {
        writeln!(text, "u-{:08x},{},DE,2024-0{}-01", n * 2_654_435_761 % 0xffff_ffff, plans[n % 4], n % 9 + 1)
            .expect("text");
    }
    let started = Instant::now();
    let table = Table::parse("users.csv", text.as_bytes(), &TableConfig::default()).expect("a table");
    let read = started.elapsed();
    println!(
        "{} rows of {} bytes of text read in {:.0} ms ({:.0} MB/s); {} bytes of memory a row, {} of them beyond its JSON",
        table.len(),
        text.len() / rows,
        read.as_secs_f64() * 1e3,
        text.len() as f64 / 1e6 / read.as_secs_f64(),
        table.bytes() / rows,
        table.overhead() / rows
    );
    let mut rng = XorShift(0x9e37_79b9_7f4a_7c15);
    let harmonic = (rows as f64).ln();
    let key = |n: usize| format!("u-{:08x}", n * 2_654_435_761 % 0xffff_ffff);
    let even: Vec<String> = (0..LOOKUPS).map(|_| key((rng.unit() * rows as f64) as usize)).collect();
    let zipf: Vec<String> = (0..LOOKUPS).map(|_| key(((rng.unit() * harmonic).exp() as usize).min(rows) - 1)).collect();
    let absent: Vec<String> = even.iter().map(|k| format!("{k}x")).collect();
    for (name, keys, found) in [("even", &even, true), ("Zipf", &zipf, true), ("absent", &absent, false)] {
        let mut times = Vec::new();
        let mut out = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for key in keys {
                out.clear();
                assert_eq!(table.row(key.as_bytes(), &mut out).expect("no error"), found);
                black_box(&out);
            }
            times.push(started.elapsed().as_nanos() as f64 / keys.len() as f64);
        }
        times.sort_by(f64::total_cmp);
        println!(
            "{name:<7} {:.0} ns a lookup (median of {ROUNDS}; {:.0} to {:.0})",
            times[ROUNDS / 2],
            times[0],
            times[ROUNDS - 1]
        );
    }
}
