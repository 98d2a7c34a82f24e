//! Reads `enriched`, and times each event from its intended send, apart by what it had to wait for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use door::http::Histogram;
use event::topic::ENRICHED;
use log::Log;
use seam::{Clock, RealClock};
use serde_json::{Value, json};
use wire::json::{Limits, Pointers, Scratch, pass};

/// Visitors that are remembered, until those whose lookups are over are forgotten.
const REMEMBERED: usize = 50_000;

pub struct Reader {
    log: Arc<dyn Log>,
    pub events: AtomicU64,
    times: Mutex<Arc<Times>>,
}

/// How long events took, and lookups.
#[derive(Default)]
pub struct Times {
    /// Of events whose facts were all there and whose visitor had nothing in flight.
    free: Histogram,
    /// Of those that waited for a fact themselves.
    waited: Histogram,
    /// Of those that had nothing to wait for but an earlier event of their visitor.
    behind: Histogram,
    /// Of every lookup: how long it was waited for.
    lookups: [Histogram; 3],
}

/// The lookups that may be waited for.
pub const WAITED: [&str; 3] = ["account", "session", "risk"];

impl Reader {
    pub fn new(log: Arc<dyn Log>) -> Reader {
        Reader { log, events: AtomicU64::new(0), times: Mutex::default() }
    }

    /// What was timed since the last call.
    pub fn take(&self) -> Arc<Times> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn run(&self, clock: &RealClock, stop: &AtomicBool) {
        let mut next: Vec<u64> = vec![0; self.log.partitions(ENRICHED) as usize];
        let (pointers, slots) = Pointers::compile(&["/enriched/waited"]).expect("a pointer");
        let limits = Limits::default();
        let mut scratch = Scratch::default();
        // By visitor: when what it waited for was there, in microseconds since 1970.
        let mut settled: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let mut changes = 0;
        while !stop.load(Relaxed) {
            changes = self.log.wait(changes, Duration::from_millis(20));
            for (p, next) in next.iter_mut().enumerate() {
                let Ok(fetch) = self.log.fetch(ENRICHED.partition(p as u32), *next, 4 << 20) else { continue };
                let now = clock.now();
                let times = self.times.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for chunk in &fetch.chunks {
                    *next = chunk.next();
                    for (_, record) in chunk.records().flatten() {
                        let (Some(header), Some(value)) = (record.header(), record.value) else { continue };
                        self.events.fetch_add(1, Relaxed);
                        let sent = header.event_time().0;
                        let waited = match pass(value, &pointers, &limits, &mut scratch) {
                            Ok(()) if scratch.found(slots[0]).is_there() => {
                                times.of_lookups(&value[scratch.found(slots[0]).range()])
                            }
                            _ => 0,
                        };
                        let before = settled.get(record.key).copied().unwrap_or(i64::MIN);
                        let class = match waited {
                            0 if before <= sent => &times.free,
                            0 => &times.behind,
                            _ => &times.waited,
                        };
                        if waited > 0 {
                            settled.insert(record.key.to_vec(), before.max(sent + waited));
                        }
                        class.record(Duration::from_micros((now.0 - sent).max(0) as u64));
                    }
                }
                if settled.len() > REMEMBERED {
                    // Nobody waits for a minute.
                    settled.retain(|_, at| *at > now.0 - 60_000_000);
                }
            }
        }
    }
}

impl Times {
    /// Counts `{"account":4.021}`; gives the longest, in microseconds.
    fn of_lookups(&self, json: &[u8]) -> i64 {
        let waited: Value = serde_json::from_slice(json).unwrap_or_default();
        let mut longest = 1;
        for (name, histogram) in WAITED.iter().zip(&self.lookups) {
            let Some(ms) = waited[name].as_f64() else { continue };
            longest = longest.max((ms * 1e3) as i64);
            histogram.record(Duration::from_micros((ms * 1e3) as u64));
        }
        longest
    }

    pub fn figures(&self) -> Value {
        let ms = |h: &Histogram, q| h.quantile(q).map(|d| d.as_secs_f64() * 1e3);
        let of = |h: &Histogram| json!({ "events": h.count(), "p50_ms": ms(h, 0.5), "p99_ms": ms(h, 0.99) });
        let lookups: serde_json::Map<String, Value> =
            WAITED.iter().zip(&self.lookups).map(|(name, h)| ((*name).to_owned(), of(h))).collect();
        json!({ "free": of(&self.free), "waited": of(&self.waited), "behind": of(&self.behind), "lookups": lookups })
    }
}
