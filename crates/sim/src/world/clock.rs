//! A clock that stands still until it is moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use event::Micros;
use seam::Clock;

/// Wall time and elapsed time of a simulated machine, for everybody who has the same `Arc`.
pub struct SimClock {
    elapsed_ns: AtomicU64,
    /// The wall time at which `elapsed` was zero, as it looks after all jumps, in microseconds.
    began_us: AtomicI64,
}

impl SimClock {
    /// Nothing has elapsed, and it is `now`.
    pub fn new(now: Micros) -> Arc<SimClock> {
        Arc::new(SimClock { elapsed_ns: AtomicU64::new(0), began_us: AtomicI64::new(now.0) })
    }

    /// Time passes, on both.
    pub fn advance(&self, by: Duration) {
        self.elapsed_ns.fetch_add(by.as_nanos() as u64, Relaxed);
    }

    /// Somebody sets the wall clock, by so many microseconds forward or back.
    pub fn jump(&self, by_us: i64) {
        self.began_us.fetch_add(by_us, Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        Micros(self.began_us.load(Relaxed) + self.elapsed().as_micros() as i64)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_told_and_a_jump_moves_the_wall_clock_alone() {
        let clock = SimClock::new(Micros(5_000_000));
        let seen = Arc::clone(&clock);
        let both = || (seen.now(), seen.elapsed());
        assert_eq!(both(), (Micros(5_000_000), Duration::ZERO));
        // Parts of a microsecond are not lost on the way.
        (0..3).for_each(|_| clock.advance(Duration::from_nanos(500)));
        assert_eq!(both(), (Micros(5_000_001), Duration::from_nanos(1500)));
        clock.jump(-2_000_000);
        assert_eq!(both(), (Micros(3_000_001), Duration::from_nanos(1500)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(both(), (Micros(4_000_001), Duration::from_nanos(1_000_001_500)));
    }
}
