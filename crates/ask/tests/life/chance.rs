/// xorshift64 (Marsaglia, 2003), so that a failing seed can be run again.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(xxhash_rust::xxh3::xxh3_64(&seed.to_le_bytes()) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % n
    }

    pub fn between(&mut self, (from, to): (u64, u64)) -> u64 {
        from + self.below(to - from)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
