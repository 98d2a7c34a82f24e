use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Ttls;

const TTLS: Ttls = Ttls { hit: 1_000_000, not_found: 1_000_000, error: 1_000_000, max_stale: 2_000_000 };

fn found(value: &[u8], now: u64) -> Entry {
    Entry::new(Value::Found(value.into()), now, &TTLS, 0, b"")
}

fn key(n: u64) -> [u8; 8] {
    n.to_be_bytes()
}

fn value_of(cache: &mut Cache, now: u64, key: &[u8]) -> Option<Vec<u8>> {
    match cache.get(now, key)?.known {
        Known::Found(json) => Some(json.to_vec()),
        _ => None,
    }
}

#[test]
fn reads_do_not_extend_life_and_refresh_is_said_once() {
    let mut cache = Cache::new(BYTES_MIN, 10);
    let entry = found(b"1", 0);
    cache.put(0, b"k", &entry);
    let fresh = entry.fresh_until as u64;
    let near = fresh - fresh / 10;
    assert!(!cache.get(near - 1, b"k").expect("fresh").refresh);
    assert!(cache.get(near, b"k").expect("fresh").refresh);
    assert!(!cache.get(near + 1, b"k").expect("fresh").refresh, "once");
    assert_eq!(cache.get(fresh, b"k").expect("stale").age, Age::Stale(1));
    assert_eq!(cache.get(fresh, b"k").expect("stale").entry(), entry);
    assert_eq!(cache.get(entry.stale_until as u64, b"k"), None);
    assert!(cache.is_empty());
    assert_eq!(cache.reads(), Reads { hits: 3, negative: 0, stale: 2, misses: 1 });
}

#[test]
fn a_newer_entry_replaces_an_older_one_and_an_error_replaces_no_value() {
    let mut cache = Cache::new(BYTES_MIN, 10);
    cache.put(10, b"k", &found(b"old", 10));
    cache.put(20, b"k", &found(b"new", 20));
    cache.put(20, b"k", &found(b"old", 15));
    assert_eq!(value_of(&mut cache, 20, b"k").as_deref(), Some(&b"new"[..]));
    cache.put(30, b"k", &Entry::new(Value::Failed(Code::BadValue), 30, &TTLS, 0, b"k"));
    assert_eq!(value_of(&mut cache, 30, b"k").as_deref(), Some(&b"new"[..]));
    cache.put(40, b"k", &Entry::new(Value::NotFound, 40, &TTLS, 0, b"k"));
    assert_eq!(cache.get(40, b"k").expect("known").known, Known::NotFound);
    assert_eq!(cache.len(), 1);
}

#[test]
fn random_ids_do_not_flush_values() {
    let mut cache = Cache::new(1 << 20, 10);
    for n in 0..2_000 {
        cache.put(0, &key(n), &found(&[b'x'; 200], 0));
    }
    for n in 0..100_000 {
        cache.put(0, &key(1 << 32 | n), &Entry::new(Value::NotFound, 0, &TTLS, 0, b""));
    }
    let lost = (0..2_000).filter(|n| cache.get(1, &key(*n)).is_none()).count();
    assert_eq!(lost, 0, "entries without a value have their own share");
    assert!(cache.resident() <= 1 << 20, "{}", cache.resident());
}

#[test]
fn values_that_are_seen_once_do_not_flush_those_that_are_read() {
    let mut cache = Cache::new(1 << 20, 10);
    let hot = 1_000;
    let mut lost = 0;
    for n in 0..60_000_u64 {
        let (hot_key, once) = (key(n % hot), key(1 << 32 | n));
        if cache.get(0, &hot_key).is_none() {
            lost += u64::from(n > 4 * hot);
            cache.put(0, &hot_key, &found(&[b'h'; 200], 0));
        }
        cache.put(0, &once, &found(&[b'o'; 200], 0));
    }
    assert!(lost < 60, "{lost} reads of 56,000 found a key gone that is read all the time");
}

#[test]
fn memory_stays_within_its_bytes_through_ten_times_its_size() {
    for (bytes, value) in [(BYTES_MIN, 10), (1 << 20, 0), (1 << 20, 300), (4 << 20, 3_000)] {
        let mut cache = Cache::new(bytes, 10);
        let mut put = 0;
        let mut n = 0;
        while put < 10 * bytes {
            n += 1;
            // Sizes that differ, keys that return, some that are read.
            let json = vec![b'v'; value / 2 + n * 7919 % (value + 1)];
            cache.put(0, &key((n * 31 % 100_000) as u64), &found(&json, 0));
            cache.get(0, &key((n * 17 % 5_000) as u64));
            put += 60 + json.len();
            assert!(cache.resident() <= bytes, "{} of {bytes}", cache.resident());
        }
        let held: usize = cache.save(Moment { elapsed: 0, wall: 0 }).map(|(key, entry)| key.len() + entry.len()).sum();
        assert!(held > bytes / 3, "it keeps {held} of {bytes}, values of {value}");
    }
}

#[test]
fn memory_stays_within_its_bytes_when_entries_become_many() {
    let bytes = 1 << 20;
    let mut cache = Cache::new(bytes, 10);
    for n in 0..60_000 {
        let len = if n < 1_000 { 3_000 } else { 1 };
        cache.put(0, &key(n), &found(&vec![b'v'; len], 0));
        assert!(cache.resident() <= bytes, "{} of {bytes}", cache.resident());
    }
    assert!(cache.len() > 10_000, "{}", cache.len());
}

#[test]
fn who_comes_back_soon_after_it_was_given_up_stays() {
    let mut cache = Cache::new(1 << 20, 10);
    let once = |cache: &mut Cache, from: u64| {
        (from..from + 1_000).for_each(|n| cache.put(0, &key(n), &found(&[b'o'; 200], 0)))
    };
    // Full of what is read, so that the small queue has its share only.
    (0..8_000).for_each(|n| {
        cache.put(0, &key(n % 3_000), &found(&[b'h'; 200], 0));
        cache.get(0, &key(n % 3_000));
    });
    let back = b"back";
    cache.put(0, back, &found(b"1", 0));
    once(&mut cache, 1 << 32);
    assert_eq!(cache.get(0, back), None, "it was seen once");
    cache.put(0, back, &found(b"2", 0));
    once(&mut cache, 1 << 33);
    assert!(cache.get(0, back).is_some(), "it came back");
}

#[test]
fn what_was_read_once_and_is_not_any_more_goes() {
    let mut cache = Cache::new(1 << 20, 10);
    let mut work = |from: u64, rounds: u64| {
        let mut misses = 0;
        for n in 0..rounds * 2_000 {
            let key = key(from + n % 2_000);
            if cache.get(0, &key).is_none() {
                misses += u64::from(n >= (rounds - 1) * 2_000);
                cache.put(0, &key, &found(&[b'w'; 300], 0));
            }
        }
        misses
    };
    work(0, 10);
    assert!(work(1 << 32, 10) < 100, "the new work has found its place");
    let old = (0..2_000).filter(|n| cache.get(0, &key(*n)).is_some()).count();
    assert!(old < 1_300, "{old} entries of the old work are there still");
}

#[test]
fn what_is_too_large_is_not_kept_and_hides_nothing_older() {
    let mut cache = Cache::new(BYTES_MIN, 10);
    cache.put(0, b"k", &found(b"1", 0));
    cache.put(1, b"k", &found(&[b'x'; 5_000], 1));
    assert_eq!(cache.get(1, b"k"), None, "the old value is not what is known now");
    assert_eq!(cache.refused(), 1);
}

#[test]
fn a_warm_start_keeps_values_and_ages() {
    let mut cache = Cache::new(1 << 20, 10);
    for n in 0..500 {
        let entry = match n % 3 {
            0 => found(&key(n), n * 1_000),
            1 => Entry::new(Value::NotFound, n * 1_000, &TTLS, n, b""),
            _ => Entry::new(Value::Failed(Code::ManyRows), n * 1_000, &TTLS, n, b""),
        };
        cache.put(500_000, &key(n), &entry);
    }
    let saved: Vec<(Vec<u8>, Vec<u8>)> = cache
        .save(Moment { elapsed: 500_000, wall: 9_000_000 })
        .map(|(key, bytes)| (key.to_vec(), bytes))
        .chain([(b"damaged".to_vec(), vec![1; 60])])
        .collect();
    let mut again = Cache::new(1 << 20, 10);
    let at = Moment { elapsed: 5, wall: 9_900_000 };
    assert_eq!(again.load(at, saved.iter().map(|(k, b)| (&k[..], &b[..]))), 1);
    let shift = 500_000 + 900_000 - 5;
    let mut kept = 0;
    for n in 0..500 {
        let then = cache.get(shift + 5, &key(n)).map(|hit| (hit.age, hit.entry().value));
        let now = again.get(5, &key(n)).map(|hit| (hit.age, hit.entry().value));
        assert_eq!(then, now, "{n}");
        kept += usize::from(now.is_some());
    }
    assert!((200..500).contains(&kept), "{kept}");
}

proptest! {
    /// Whatever is evicted: what is found is what was last put.
    #[test]
    fn what_is_found_is_what_was_put_last(
        steps in proptest::collection::vec((any::<bool>(), 0..60_u64, 0..900_usize, 0..3_u8), 1..1_500)
    ) {
        let mut cache = Cache::new(BYTES_MIN, 10);
        let mut model: BTreeMap<u64, Entry> = BTreeMap::new();
        for (now, (is_put, n, len, kind)) in steps.into_iter().enumerate() {
            let now = now as u64;
            if is_put {
                let value = match kind {
                    0 => Value::NotFound,
                    _ => Value::Found(vec![n as u8; len].into()),
                };
                let entry = Entry::new(value, now, &TTLS, n, b"");
                cache.put(now, &key(n), &entry);
                model.insert(n, entry);
            } else if let Some(hit) = cache.get(now, &key(n)) {
                prop_assert_eq!(Some(&hit.entry()), model.get(&n));
            }
            prop_assert!(cache.resident() <= BYTES_MIN);
            prop_assert!(cache.len() <= model.len());
        }
    }
}
