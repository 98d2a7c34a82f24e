//! How long each tier took, and what the source was last heard to fail with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bucket `n` counts what took less than 2^n microseconds, and not less than half of it; the last one everything longer, from
/// one second on.
pub const BUCKETS: usize = 22;

/// How long things took, in buckets of powers of two.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Latency {
    pub counts: [u64; BUCKETS],
    pub sum_us: u64,
}

impl Latency {
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Microseconds in which at least this share of them was done, from above: the end of a bucket. `None`: there were none,
    /// or it lies in the last bucket, which has no end.
    pub fn within(&self, percent: u64) -> Option<u64> {
        let wanted = (self.count() * percent.min(100)).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        (bucket + 1 < BUCKETS).then(|| 1 << bucket)
    }
}

/// What is not a local hit: those take less than reading the clock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Latencies {
    /// From an ask to its end, of those that the local cache did not answer.
    pub asks: Latency,
    /// Reads of the shared tier that were answered.
    pub shared: Latency,
    /// Attempts at the source, failed ones too.
    pub source: Latency,
}

#[derive(Default)]
pub(super) struct Meter {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl Meter {
    pub fn took(&self, us: u64) {
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        self.counts[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn latency(&self) -> Latency {
        let counts = std::array::from_fn(|n| self.counts[n].load(Ordering::Relaxed));
        Latency { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// What a source answered with instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failed {
    /// Microseconds as the process's clock has them elapsed.
    pub at: u64,
    /// For people: what its client heard.
    pub message: String,
}

#[derive(Default)]
pub(super) struct Meters {
    pub asks: Meter,
    pub shared: Meter,
    pub source: Meter,
    failed: Mutex<Option<Failed>>,
}

impl Meters {
    pub fn failed(&self, failed: Failed) {
        *self.last() = Some(failed);
    }

    pub fn last_failure(&self) -> Option<Failed> {
        self.last().clone()
    }

    fn last(&self) -> MutexGuard<'_, Option<Failed>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn latencies(&self) -> Latencies {
        Latencies { asks: self.asks.latency(), shared: self.shared.latency(), source: self.source.latency() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_by_the_end_of_its_bucket() {
        let meter = Meter::default();
        assert_eq!(meter.latency().within(50), None);
        (0..99).for_each(|_| meter.took(700));
        meter.took(1 << 40);
        let latency = meter.latency();
        assert_eq!((latency.count(), latency.within(50), latency.within(99)), (100, Some(1024), Some(1024)));
        assert_eq!(latency.within(100), None);
        let edges = Meter::default();
        [0, 1, 2, 3, 4].into_iter().for_each(|us| edges.took(us));
        assert_eq!(edges.latency().counts[..4], [1, 1, 2, 1]);
    }
}
