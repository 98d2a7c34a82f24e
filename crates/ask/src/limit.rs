//! How much a source is asked: calls in flight, and calls a second.

/// Calls that may be open at once.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    max: usize,
    open: usize,
}

impl Bulkhead {
    pub fn new(max: usize) -> Bulkhead {
        Bulkhead { max, open: 0 }
    }

    pub fn has_room(&self) -> bool {
        self.open < self.max
    }

    /// Takes a permit. Call it when there is room.
    pub fn enter(&mut self) {
        assert!(self.has_room(), "a permit is taken only where one is left");
        self.open += 1;
    }

    /// Gives one back.
    pub fn leave(&mut self) {
        self.open = self.open.checked_sub(1).expect("a permit is given back once");
    }

    pub fn open(&self) -> usize {
        self.open
    }
}

/// What a call costs, in parts of a token: so many microseconds of one token a second.
const PARTS: u64 = 1_000_000;

/// A token bucket: so many calls a second, and so many at once after a pause.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: u64,
    burst: u64,
    /// In parts of a token.
    filled: u64,
    at: u64,
}

impl TokenBucket {
    /// Full at the beginning. Both at least 1.
    pub fn new(per_second: u32, burst: u32) -> TokenBucket {
        let (per_second, burst) = (u64::from(per_second.max(1)), u64::from(burst.max(1)));
        TokenBucket { per_second, burst, filled: burst * PARTS, at: 0 }
    }

    /// When the next token is there; not after `now` if it is there already.
    pub fn ready_at(&self, now: u64) -> u64 {
        let missing = PARTS.saturating_sub(self.filled_at(now));
        now + missing.div_ceil(self.per_second)
    }

    /// Takes a token. Call it when one is there.
    pub fn take(&mut self, now: u64) {
        self.filled = self.filled_at(now).checked_sub(PARTS).expect("a token is taken only where one is left");
        self.at = now;
    }

    fn filled_at(&self, now: u64) -> u64 {
        let came = (now - self.at).saturating_mul(self.per_second);
        self.filled.saturating_add(came).min(self.burst * PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(1_000, 5);
        let mut now = 10;
        let mut times = Vec::new();
        for _ in 0..8 {
            now = bucket.ready_at(now);
            bucket.take(now);
            times.push(now);
        }
        assert_eq!(times, [10, 10, 10, 10, 10, 1_010, 2_010, 3_010]);
        assert_eq!(bucket.ready_at(u64::MAX / 2), u64::MAX / 2, "a long pause fills it");
    }

    #[test]
    fn a_rate_holds_over_any_span() {
        for per_second in [1, 3, 7, 999, 1_000_000] {
            let mut bucket = TokenBucket::new(per_second, 1);
            let mut now = 0;
            for _ in 0..=per_second.min(2_000) {
                now = bucket.ready_at(now);
                bucket.take(now);
            }
            let tokens = u64::from(per_second.min(2_000));
            let least = 1_000_000 * tokens / u64::from(per_second);
            assert!((least..=least + tokens).contains(&now), "{per_second} a second, each rounded up: {now}");
        }
    }

    #[test]
    fn permits_come_back() {
        let mut bulkhead = Bulkhead::new(2);
        bulkhead.enter();
        bulkhead.enter();
        assert!(!bulkhead.has_room());
        bulkhead.leave();
        assert!(bulkhead.has_room() && bulkhead.open() == 1);
    }
}
