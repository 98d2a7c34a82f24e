//! What is known of a key, and until when.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Code, derive};

/// What a source said of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// JSON.
    Found(Arc<[u8]>),
    NotFound,
    Failed(Code),
}

/// Who knew it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tier {
    /// The local cache.
    Local,
    Shared,
    Source,
}

/// Where an answer comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub tier: Tier,
    /// When the source was asked for it: [`Entry::fetched_at`].
    pub fetched_at: i64,
}

impl Origin {
    /// Microseconds since the source was asked for it.
    pub fn age_us(&self, now: u64) -> u64 {
        u64::try_from(signed(now) - self.fetched_at).unwrap_or(0)
    }
}

/// How long an entry is good, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ttls {
    pub hit: u64,
    pub not_found: u64,
    /// For a key that the source cannot answer. Failed calls are not remembered.
    pub error: u64,
    /// How long past its time a value may still be given when its source fails; 0: never.
    pub max_stale: u64,
}

/// How old an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Age {
    Fresh,
    /// Past its time by so many seconds, begun ones counted; to be given only when the source fails.
    Stale(u32),
    Gone,
}

/// One moment on both clocks: times within a process are of the first, times that leave it are of the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Microseconds since the process started.
    pub elapsed: u64,
    /// Microseconds since 1970.
    pub wall: u64,
}

/// Times are in microseconds since the process started; negative ones were before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub value: Value,
    pub fetched_at: i64,
    /// From here on it is to be asked for anew.
    pub fresh_until: i64,
    /// From here on it is not given at all. Not before `fresh_until`.
    pub stale_until: i64,
}

/// TTLs are spread by a tenth of themselves in both directions, so that what was fetched together is not asked for again
/// together.
const JITTER_PARTS: u64 = 10;

/// No TTL is longer than this: thirty years, so that sums of times stay in range.
const TTL_MAX: u64 = 1 << 50;

/// The encoding's version.
const VERSION: u8 = 1;

/// Bytes before the value: version, kind, code, written, age, fresh for, stale for, checksum.
const HEADER: usize = 3 + 4 * 8 + 8;

impl Entry {
    /// Of an answer that was asked for at `fetched_at`: not when it came, so that a slow answer is not taken for a new one.
    pub fn new(value: Value, fetched_at: u64, ttls: &Ttls, seed: u64, key: &[u8]) -> Entry {
        let (ttl, max_stale) = match value {
            Value::Found(_) => (ttls.hit, ttls.max_stale),
            Value::NotFound => (ttls.not_found, 0),
            Value::Failed(_) => (ttls.error, 0),
        };
        let ttl = ttl.min(TTL_MAX);
        let spread = 2 * (ttl / JITTER_PARTS);
        let ttl = ttl - spread / 2 + derive(seed, key, fetched_at) % (spread + 1);
        let fetched_at = signed(fetched_at);
        let fresh_until = fetched_at + signed(ttl);
        Entry { value, fetched_at, fresh_until, stale_until: fresh_until + signed(max_stale.min(TTL_MAX)) }
    }

    pub fn at(&self, now: u64) -> Age {
        age(now, self.fresh_until, self.stale_until)
    }

    /// Appends it for the shared tier or for a warm start. `at`: when it is written, on both clocks.
    pub fn encode(&self, key: &[u8], at: Moment, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, code, value): (u8, u8, &[u8]) = match &self.value {
            Value::Found(json) => (0, 0, json),
            Value::NotFound => (1, 0, &[]),
            Value::Failed(code) => (2, *code as u8, &[]),
        };
        out.extend_from_slice(&[VERSION, kind, code]);
        let age = u64::try_from(signed(at.elapsed) - self.fetched_at).unwrap_or(0);
        let fresh_for = self.fresh_until - self.fetched_at;
        let stale_for = self.stale_until - self.fresh_until;
        for number in [at.wall, age, fresh_for as u64, stale_for as u64] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(key, &out[start..], value);
        out.extend_from_slice(&sum.to_le_bytes());
        out.extend_from_slice(value);
    }

    /// Reads what [`Entry::encode`] wrote under this key. `None`: it is of another version, of another key, or damaged.
    /// It is at least as old as it was when it was written, whatever the clocks say.
    pub fn decode(key: &[u8], bytes: &[u8], at: Moment) -> Option<Entry> {
        let (header, value) = bytes.split_at_checked(HEADER)?;
        let (fixed, sum) = header.split_at(HEADER - 8);
        if fixed[0] != VERSION || checksum(key, fixed, value) != number(sum, 0) {
            return None;
        }
        let value = match (fixed[1], fixed[2]) {
            (0, 0) => Value::Found(value.into()),
            (1, 0) if value.is_empty() => Value::NotFound,
            (2, code) if value.is_empty() => Value::Failed(Code::of(code)?),
            _ => return None,
        };
        let [written, age, fresh_for, stale_for] = [0, 1, 2, 3].map(|n| number(&fixed[3..], n));
        if age.max(fresh_for).max(stale_for) > 2 * TTL_MAX {
            return None;
        }
        let age = age + at.wall.saturating_sub(written).min(TTL_MAX);
        let fetched_at = signed(at.elapsed) - signed(age);
        let fresh_until = fetched_at + signed(fresh_for);
        Some(Entry { value, fetched_at, fresh_until, stale_until: fresh_until + signed(stale_for) })
    }
}

pub(crate) fn age(now: u64, fresh_until: i64, stale_until: i64) -> Age {
    let now = signed(now);
    if now < fresh_until {
        Age::Fresh
    } else if now < stale_until {
        Age::Stale(u32::try_from((now - fresh_until) / 1_000_000 + 1).unwrap_or(u32::MAX))
    } else {
        Age::Gone
    }
}

/// A time as a signed number; nobody runs for 290,000 years.
pub(crate) fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at * 8..][..8].try_into().expect("eight bytes"))
}

/// Over the key too: a value that comes back under another key is no value.
fn checksum(key: &[u8], header: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64_with_seed(header, xxh3_64_with_seed(key, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TTLS: Ttls = Ttls { hit: 60_000_000, not_found: 5_000_000, error: 1_000_000, max_stale: 600_000_000 };

    fn found() -> Value {
        Value::Found(b"{\"a\":1}"[..].into())
    }

    #[test]
    fn an_entry_is_fresh_then_stale_then_gone() {
        let entry = Entry::new(found(), 7, &TTLS, 1, b"k");
        let (fresh, stale) = (entry.fresh_until as u64, entry.stale_until as u64);
        let cases = [
            (7, Age::Fresh),
            (fresh - 1, Age::Fresh),
            (fresh, Age::Stale(1)),
            (fresh + 999_999, Age::Stale(1)),
            (fresh + 61_000_000, Age::Stale(62)),
            (stale - 1, Age::Stale(600)),
            (stale, Age::Gone),
        ];
        for (now, age) in cases {
            assert_eq!(entry.at(now), age, "{now}");
        }
        for value in [Value::NotFound, Value::Failed(Code::BadKey)] {
            let entry = Entry::new(value, 7, &TTLS, 1, b"k");
            assert_eq!(entry.at(entry.fresh_until as u64), Age::Gone, "only values are given when they are stale");
        }
    }

    #[test]
    fn ttls_are_spread_over_a_fifth_and_no_more() {
        let lives = (0..1_000).map(|n: u64| Entry::new(found(), 0, &TTLS, n, b"k").fresh_until);
        let (min, max) = lives.fold((i64::MAX, 0), |(min, max), life| (min.min(life), max.max(life)));
        assert!((54_000_000..54_300_000).contains(&min) && (65_700_000..=66_000_000).contains(&max), "{min} {max}");
    }

    #[test]
    fn a_restart_or_a_clock_that_went_back_makes_no_entry_younger() {
        let entry = Entry::new(found(), 1_000_000, &TTLS, 1, b"k");
        let mut bytes = Vec::new();
        entry.encode(b"k", Moment { elapsed: 31_000_000, wall: 1_000_000_000 }, &mut bytes);
        // The wall clock after the restart, and the least age that is right.
        for (wall, age) in [(1_000_000_000, 30), (1_010_000_000, 40), (0, 30), (9_000_000_000, 8030)] {
            let now = 2_000_000;
            let again = Entry::decode(b"k", &bytes, Moment { elapsed: now, wall }).expect("as it was written");
            assert_eq!(again.fetched_at, 2_000_000 - age * 1_000_000);
            assert_eq!(again.fresh_until - again.fetched_at, entry.fresh_until - entry.fetched_at);
            assert_eq!(again.stale_until - again.fresh_until, entry.stale_until - entry.fresh_until);
            assert_eq!(again.value, entry.value);
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(|json| Value::Found(json.into())),
            Just(Value::NotFound),
            (0..Code::ALL.len()).prop_map(|n| Value::Failed(Code::ALL[n])),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else(
            value in value(), at in 0..1u64 << 40, key in any::<[u8; 4]>(), bit in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let entry = Entry::new(value, at, &TTLS, 3, &key);
            let moment = Moment { elapsed: at + 5, wall: 1 << 50 };
            let mut bytes = Vec::new();
            entry.encode(&key, moment, &mut bytes);
            prop_assert_eq!(Entry::decode(&key, &bytes, moment), Some(entry));
            prop_assert_eq!(Entry::decode(b"other", &bytes, moment), None);
            prop_assert_eq!(Entry::decode(&key, &bytes[..cut.index(bytes.len())], moment), None);
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Entry::decode(&key, &bytes, moment), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = Entry::decode(b"k", &bytes, Moment { elapsed: 0, wall: 0 });
        }
    }
}
