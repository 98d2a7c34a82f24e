//! Events with keys to look up, written to the log as a door does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use door::collect::Collector;
use event::Micros;
use log::{Commit, Log, Outcome, Ticket};
use ouzel_gen::batch::{Form, render_batches};
use ouzel_gen::rng::Rng;
use ouzel_gen::{Batch, GenConfig};
use seam::{Clock, RealClock};
use wire::{Arrival, ArrivalPosition, Decoder};

use crate::exit::{Exit, Failed, Result};

/// Events of a commit: few, so that their time of sending is that of each.
const BATCH: usize = 50;
/// Rendered batches: 13 MB, more than the processor's caches have.
const RENDERED: usize = 200;
/// Commits on their way at most.
const IN_FLIGHT: usize = 64;
/// Without a rate: events that may be between the log and the reader.
const WINDOW: u64 = 10_000;
/// Keys of an event: for the file, and for each source over a connection.
const KEYS: usize = 4;

/// Draws numbers below `n`, the k-th with a probability that falls with 1/k: Zipf's law with the exponent 1.
pub struct Zipf {
    /// Up to and with each, how much of the whole.
    sums: Vec<f64>,
}

impl Zipf {
    pub fn new(n: usize) -> Zipf {
        let mut sum = 0.0;
        let sums = (1..=n).map(|k| {
            sum += 1.0 / k as f64;
            sum
        });
        Zipf { sums: sums.collect() }
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        let whole = self.sums.last().copied().unwrap_or_default();
        let at = rng.next_u64() as f64 / u64::MAX as f64 * whole;
        self.sums.partition_point(|sum| *sum < at).min(self.sums.len() - 1)
    }
}

/// What the log is loaded with.
pub struct Load {
    pub log: Arc<dyn Log>,
    pub decoder: Arc<Decoder>,
    pub clock: Arc<RealClock>,
    pub keys: Arc<Zipf>,
    /// Events a second; `None`: as fast as they are read.
    pub rate: Option<u64>,
}

/// What came of it so far.
#[derive(Default)]
pub struct Sent {
    pub events: AtomicU64,
    /// Commits that began more than 1 ms after they were due.
    pub behind: AtomicU64,
}

/// Events to be stamped and sent over and over.
pub fn rendered() -> Result<Vec<Batch>> {
    let mut generator = GenConfig::crowd(1).build().map_err(|e| Failed::new(Exit::Failed, e.to_string()))?;
    Ok(render_batches(&mut generator, RENDERED, BATCH, Form::Ndjson))
}

impl Load {
    /// Writes until `stop`; `read` is how many events have come out. Each event has its intended time of sending as its
    /// time.
    pub fn run(&self, mut batches: Vec<Batch>, sent: &Sent, read: &AtomicU64, stop: &AtomicBool) -> Result<()> {
        let mut collector = Collector::new(self.decoder.clone(), self.log.partitions(event::topic::RAW));
        let mut rng = Rng::new(1);
        let mut tickets: VecDeque<Ticket> = VecDeque::new();
        let (begun, wall) = (self.clock.elapsed(), self.clock.now());
        let mut number = 1_000_000_000;
        for turn in 0u64.. {
            if stop.load(Relaxed) {
                break;
            }
            let due = match self.rate {
                Some(rate) => begun + Duration::from_secs_f64(turn as f64 * BATCH as f64 / rate as f64),
                None => self.clock.elapsed(),
            };
            self.wait(due, sent, read);
            let batch = &mut batches[turn as usize % RENDERED];
            let intended = Micros(wall.0 + due.saturating_sub(begun).as_micros() as i64);
            batch.restamp(number, intended);
            self.collect(batch, number, &mut rng, &mut collector)?;
            number += BATCH as u64;
            tickets.push_back(self.log.submit(Commit { blocks: collector.take(), ..Commit::default() }));
            sent.events.fetch_add(BATCH as u64, Relaxed);
            if tickets.len() > IN_FLIGHT {
                tickets.pop_front().map_or(Ok(()), committed)?;
            }
        }
        tickets.into_iter().try_for_each(committed)
    }

    fn wait(&self, due: Duration, sent: &Sent, read: &AtomicU64) {
        let now = self.clock.elapsed();
        match self.rate {
            Some(_) if due > now => std::thread::sleep(due - now),
            Some(_) if now - due > Duration::from_millis(1) => {
                sent.behind.fetch_add(1, Relaxed);
            }
            Some(_) => {}
            // It looks again soon: what is in the window is a quarter of a second's work.
            None => {
                for _ in 0..10_000 {
                    if sent.events.load(Relaxed).saturating_sub(read.load(Relaxed)) < WINDOW {
                        break;
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        }
    }

    fn collect(&self, batch: &Batch, first: u64, rng: &mut Rng, collector: &mut Collector) -> Result<()> {
        let received = self.clock.now();
        let mut text = Vec::with_capacity(2048);
        let lines = batch.body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        for (index, line) in (first..).zip(lines) {
            text.clear();
            text.extend_from_slice(&line[..line.len() - 1]);
            text.extend_from_slice(b",\"keys\":[");
            for n in 0..KEYS {
                let comma = if n == 0 { "" } else { "," };
                text.extend_from_slice(format!("{comma}\"{}\"", key(self.keys.draw(rng))).as_bytes());
            }
            text.extend_from_slice(b"]}");
            let position = ArrivalPosition::At { prefix: "bench", index };
            collector.event(&text, &Arrival { received, position, inherited: &[] }).map_err(|failure| {
                Failed::new(Exit::Failed, format!("an event of the generator: {}", failure.message))
            })?;
        }
        Ok(())
    }
}

/// A key of the bench.
pub fn key(n: usize) -> String {
    format!("user-{n:08}")
}

fn committed(ticket: Ticket) -> Result<()> {
    match ticket.wait() {
        Outcome::Committed(_) => Ok(()),
        outcome => Err(Failed::new(Exit::Environment, format!("the log does not take events: {outcome:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_drawn_twice_as_often_as_the_second() {
        let (zipf, mut rng) = (Zipf::new(1000), Rng::new(1));
        let mut counts = [0; 1000];
        (0..100_000).for_each(|_| counts[zipf.draw(&mut rng)] += 1);
        assert!((1.8..2.2).contains(&(f64::from(counts[0]) / f64::from(counts[1]))), "{:?}", &counts[..4]);
        assert!(counts[900..].iter().sum::<i32>() > 0);
    }
}
