//! What the test's own side costs, on one core: rendering, stamping anew, and the ledger around every batch.
//!
//! `cargo run --release -p ouzel-sim --example cost`

#![allow(clippy::disallowed_methods, clippy::disallowed_macros)] // a program, not a part of the product

use std::hint::black_box;
use std::time::Instant;

use event::Micros;
use ouzel_gen::batch::render_batches;
use ouzel_gen::{Form, GenConfig};
use ouzel_sim::ledger::{Answer, Ledger, Producer, ProducerConfig};

const BATCH: usize = 100;

fn main() {
    let mut generator = GenConfig::crowd(1).build().expect("a valid configuration");
    let mut out = Vec::new();
    report("render", 200_000, || {
        for _ in 0..200_000 {
            out.clear();
            black_box(generator.next(&mut out));
        }
    });
    let mut batches = render_batches(&mut generator, 100, BATCH, Form::Ndjson);
    report("stamp anew", 2_000_000, || {
        for round in 0..200 {
            for (n, batch) in batches.iter_mut().enumerate() {
                let first = 1_000_000 + ((round * 100 + n) * BATCH) as u64;
                batch.restamp(first, Micros(1_795_400_000_000_000));
            }
        }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let mut producer = Producer::create(dir.path(), ProducerConfig::new(1)).expect("files");
    let answer = Answer { accepted: BATCH as u32, refused: 0, results: Vec::new() };
    report("ledger: render, intents, acks", 200_000, || {
        for n in 0..2_000 {
            black_box(producer.next(BATCH, Micros(1_795_400_000_000_000 + n)).expect("written"));
            let _ = producer.acknowledge(&answer).expect("written");
        }
    });
    report("ledger: read back", 200_000, || drop(black_box(Ledger::open(dir.path()).expect("readable"))));
}

fn report(what: &str, events: u32, run: impl FnOnce()) {
    let began = Instant::now();
    run();
    let per_event = began.elapsed().as_nanos() as f64 / f64::from(events);
    println!("{what}: {per_event:.0} ns an event, {:.0} events/s", 1e9 / per_event);
}
