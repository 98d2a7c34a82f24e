//! What goes wrong in a world, and how often.

use ouzel_ask::shared::SharedConfig;
use ouzel_ask::{BreakerConfig, DeskConfig, Ttls};

use crate::chance::Chance;

#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub processes: usize,
    pub desk: DeskConfig,
    /// Keys that are asked for, the first ones more often.
    pub keys: u64,
    pub asks: u64,
    /// Asks come within so long.
    pub span_us: u64,
    pub deadline_us: (u64, u64),
    pub cancel_percent: u64,
    pub kills: u64,
    /// How late timers fire.
    pub lag_us: u64,

    pub source_us: (u64, u64),
    pub fail_percent: u64,
    /// Keys whose own attempt fails while others are answered.
    pub key_fail_percent: u64,
    pub never_percent: u64,
    /// Answers that take ten times as long.
    pub late_percent: u64,
    pub twice_percent: u64,
    /// Answers in another order, with keys that nobody asked for, twice, or left out.
    pub lie_percent: u64,
    /// Between those times the source fails always.
    pub down: (u64, u64),

    pub store_us: (u64, u64),
    pub store_fail_percent: u64,
    pub store_lose_percent: u64,
    pub store_lag_us: u64,
}

const TTLS: Ttls = Ttls { hit: 10_000_000, not_found: 10_000_000, error: 10_000_000, max_stale: 10_000_000 };

impl Weather {
    /// Nothing goes wrong: a lease of 100 ms, deadlines of 500 ms.
    pub fn calm(processes: usize, shared: bool) -> Weather {
        let shared = shared.then(SharedConfig::default);
        Weather {
            processes,
            desk: DeskConfig { shared, ..DeskConfig::new(1, TTLS) },
            keys: 3,
            asks: 60,
            span_us: 40_000,
            deadline_us: (500_000, 500_001),
            cancel_percent: 0,
            kills: 0,
            lag_us: 300,
            source_us: (1_000, 3_000),
            fail_percent: 0,
            key_fail_percent: 0,
            never_percent: 0,
            late_percent: 0,
            twice_percent: 0,
            lie_percent: 0,
            down: (0, 0),
            store_us: (100, 1_500),
            store_fail_percent: 0,
            store_lose_percent: 0,
            store_lag_us: 0,
        }
    }

    /// Every fourth is calm but for a slow source.
    pub fn of(seed: u64, chance: &mut Chance) -> Weather {
        if seed % 4 == 3 {
            let source_us = (500, 1_000 + chance.below(300_000));
            return Weather { source_us, ..Weather::calm(2, true) };
        }
        let now_and_then = |chance: &mut Chance, percent| if chance.percent(50) { chance.below(percent) } else { 0 };
        let shared = chance.percent(60).then(|| SharedConfig {
            timeout_us: 2_000 + chance.below(3_000),
            lease_us: 40_000 + chance.below(60_000),
            look_us: 1_000 + chance.below(5_000),
            breaker: breaker(chance),
        });
        let ttls = Ttls {
            hit: 5_000 + chance.below(100_000),
            not_found: 3_000 + chance.below(50_000),
            error: 1_000 + chance.below(20_000),
            max_stale: if chance.percent(70) { chance.below(100_000) } else { 0 },
        };
        let desk = DeskConfig {
            bulk: 1 + chance.below(6) as usize,
            bulk_wait_us: chance.below(400),
            attempts_max: 1 + chance.below(4) as u32,
            back_off_us: 200 + chance.below(5_000),
            late_us: chance.below(30_000),
            refresh_us: 5_000 + chance.below(50_000),
            in_flight_max: 1 + chance.below(4) as usize,
            asks_max: if chance.percent(20) { 5 } else { 10_000 },
            rate: chance.percent(20).then(|| (100 + chance.below(2_000) as u32, 1 + chance.below(5) as u32)),
            breaker: breaker(chance),
            shared,
            ..DeskConfig::new(seed, ttls)
        };
        let span_us = 50_000 + chance.below(300_000);
        let down_at = chance.below(span_us);
        Weather {
            processes: 1 + chance.below(2) as usize,
            desk,
            keys: 1 + chance.below(10),
            asks: 20 + chance.below(120),
            span_us,
            deadline_us: (1_000, 2_000 + chance.below(60_000)),
            cancel_percent: now_and_then(chance, 40),
            kills: if chance.percent(30) { 1 + chance.below(2) } else { 0 },
            lag_us: 1 + chance.below(500),
            source_us: (200, 500 + chance.below(15_000)),
            fail_percent: now_and_then(chance, 60),
            key_fail_percent: now_and_then(chance, 60),
            never_percent: now_and_then(chance, 20),
            late_percent: now_and_then(chance, 30),
            twice_percent: now_and_then(chance, 30),
            lie_percent: now_and_then(chance, 80),
            down: if chance.percent(20) { (down_at, down_at + 60_000) } else { (0, 0) },
            store_us: (50, 100 + chance.below(2_000)),
            store_fail_percent: now_and_then(chance, 60),
            store_lose_percent: now_and_then(chance, 30),
            store_lag_us: now_and_then(chance, 100) * 100,
        }
    }
}

fn breaker(chance: &mut Chance) -> BreakerConfig {
    BreakerConfig {
        window: 4 + chance.below(20) as u16,
        calls_min: 2 + chance.below(8) as u16,
        bad_percent: 30 + chance.below(60) as u8,
        slow_us: 5_000 + chance.below(100_000),
        slow_percent: 50 + chance.below(60) as u8,
        open_us: 5_000 + chance.below(50_000),
        probes: 1 + chance.below(3) as u16,
    }
}
