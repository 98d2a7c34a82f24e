//! Stubs of backends: answers from the key, after times of a pinned distribution.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lookup::remote::{BoxFuture, Failure, Found, Key, Kind, Remote};
use ouzel_gen::rng::{mix, mix2};

/// Half of all calls take no longer.
const P50_MS: f64 = 5.0;
/// And 99 of a hundred not longer than this.
const P99_MS: f64 = 50.0;
/// Where the standard normal distribution has 99 of a hundred below it.
const Z99: f64 = 2.326_347_874;

/// How a backend is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Health {
    Up,
    /// Connections are refused at once.
    Refuses,
    /// Nothing comes back.
    Silent,
}

/// A backend.
pub struct Stub {
    seed: u64,
    calls: AtomicU64,
    health: AtomicU8,
}

impl Stub {
    pub fn new(seed: u64) -> Stub {
        Stub { seed, calls: AtomicU64::new(0), health: AtomicU8::new(Health::Up as u8) }
    }

    pub fn set(&self, health: Health) {
        self.health.store(health as u8, Relaxed);
    }

    /// The time of the `n`-th call: log-normal.
    fn takes(&self, n: u64) -> Duration {
        let uniform = |salt: u64| (mix2(self.seed ^ salt, mix(n)) >> 11) as f64 / (1u64 << 53) as f64;
        // Box and Muller; 1 minus, because the logarithm of 0 is none.
        let z = (-2.0 * (1.0 - uniform(1)).ln()).sqrt() * (TAU * uniform(2)).cos();
        Duration::from_secs_f64(P50_MS * (z * (P99_MS / P50_MS).ln() / Z99).exp() / 1e3)
    }
}

impl Remote for Stub {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        let takes = self.takes(self.calls.fetch_add(1, Relaxed));
        let health = self.health.load(Relaxed);
        let failed = |kind| Failure { kind, retry_after: None, message: String::new() };
        Box::pin(async move {
            if health == Health::Refuses as u8 {
                return Err(failed(Kind::Connection));
            }
            if health == Health::Silent as u8 || takes > give_up_after {
                tokio::time::sleep(give_up_after).await;
                return Err(failed(Kind::Timeout));
            }
            tokio::time::sleep(takes).await;
            Ok(keys.iter().map(|key| Found::Value(row(&key.parameters()[0]))).collect())
        })
    }
}

/// What there is for a key.
pub fn row(key: &str) -> Vec<u8> {
    format!(r#"{{"id":"{key}","plan":"pro","seats":12,"since":"2019-03-01","region":"eu-west"}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_they_are_pinned() {
        let stub = Stub::new(1);
        let mut times: Vec<f64> = (0..100_000).map(|n| stub.takes(n).as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        assert!((4.9..5.1).contains(&times[50_000]), "{}", times[50_000]);
        assert!((47.0..53.0).contains(&times[99_000]), "{}", times[99_000]);
    }
}
