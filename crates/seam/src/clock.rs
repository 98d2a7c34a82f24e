//! Wall time and elapsed time.

use std::time::Duration;

use event::Micros;

pub trait Clock: Send + Sync {
    /// Wall time. May jump; never used to measure a span.
    fn now(&self) -> Micros;
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
}

pub struct RealClock {
    start: std::time::Instant,
}

impl RealClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the real clock
    pub fn new() -> RealClock {
        RealClock { start: std::time::Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        RealClock::new()
    }
}

impl Clock for RealClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the real clock
    fn now(&self) -> Micros {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Micros(since.map_or(0, |d| d.as_micros() as i64))
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}
