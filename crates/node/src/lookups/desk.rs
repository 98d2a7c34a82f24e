//! The desk of a source, from the configuration.

use std::time::Duration;

use ask::shared::SharedConfig;
use ask::{BreakerConfig, DeskConfig, Ttls};

use crate::config::remote::{Remote, SharedCache};

/// The longest pause before a retry, unless the first one may be longer.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);

/// `seed` is different in every process; `shared` is the cache that it uses beside its own.
pub fn desk(remote: &Remote, shared: Option<&SharedCache>, seed: u64) -> DeskConfig {
    let (limits, cache, breaker) = (&remote.limits, &remote.cache, &remote.breaker);
    let ttls = Ttls {
        hit: micros(cache.ttl),
        not_found: micros(cache.ttl_missing),
        error: micros(cache.ttl_error),
        max_stale: micros(cache.max_stale),
    };
    DeskConfig {
        bulk: limits.bulk,
        bulk_wait_us: micros(limits.bulk_wait),
        attempts_max: limits.attempts,
        back_off_us: micros(limits.back_off),
        back_off_max_us: micros(limits.back_off.max(BACK_OFF_MAX)),
        late_us: micros(limits.late),
        in_flight_max: limits.in_flight,
        asks_max: limits.queue,
        rate: limits.rate,
        breaker: BreakerConfig {
            window: breaker.window,
            calls_min: breaker.calls,
            bad_percent: breaker.failures,
            slow_us: micros(breaker.slow),
            slow_percent: breaker.slow_calls,
            open_us: micros(breaker.open),
            probes: breaker.probes,
        },
        shared: shared.map(|shared| SharedConfig {
            timeout_us: micros(shared.timeout),
            lease_us: micros(shared.lease),
            look_us: micros(shared.look),
            ..SharedConfig::default()
        }),
        ..DeskConfig::new(seed, ttls)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
