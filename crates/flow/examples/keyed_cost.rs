//! What keyed state costs: `cargo run --release -p ouzel-flow --example keyed_cost`
//!
//! One million keys of 16 bytes with values of 450 bytes and a timer each, as sessions have. Time for a read and a write of
//! a key at random, in commits of 500; resident memory beside the estimate; the longest slice of a snapshot.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)] // it measures

use std::time::{Duration, Instant};

use event::Micros;
use ouzel_flow::Keyed;

const KEYS: u64 = 1_000_000;
const VALUE: usize = 450;
const COMMIT: u64 = 500;
const SLICE: usize = 64 << 10;

fn main() {
    let before = resident();
    let mut keyed = Keyed::default();
    let mut slowest = Duration::ZERO;
    let start = Instant::now();
    for n in 0..KEYS {
        if n % COMMIT == 0 {
            keyed.open();
        }
        let one = Instant::now();
        keyed.set(&key(n), vec![n as u8; VALUE], Some(timer(n)));
        slowest = slowest.max(one.elapsed());
        if n % COMMIT == COMMIT - 1 {
            keyed.merge_oldest();
        }
    }
    println!("insert            {:>6} ns a key, slowest {slowest:?}", each(start, KEYS));
    println!("resident          {:>6} MiB, estimated {} MiB", (resident() - before) >> 20, keyed.bytes() >> 20);

    let mut chance = Chance(1);
    for round in 0..3 {
        let start = Instant::now();
        rewrite(&mut keyed, &mut chance, KEYS);
        println!("value() + set()   {:>6} ns, round {round}", each(start, KEYS));
    }
    let start = Instant::now();
    let mut found = 0;
    for _ in 0..KEYS {
        found += usize::from(keyed.value(&key(chance.below(KEYS))).is_some());
    }
    println!("value()           {:>6} ns ({found} found)", each(start, KEYS));

    let base = snapshot(&mut keyed, &mut chance, true);
    rewrite(&mut keyed, &mut chance, 139_000);
    drop(snapshot(&mut keyed, &mut chance, false));
    println!("resident          {:>6} MiB, with the base beside it", (resident() - before) >> 20);

    let start = Instant::now();
    let mut again = Keyed::default();
    base.iter().for_each(|entries| again.load(entries).expect("it was written whole"));
    println!("load              {:>6} ns a key", each(start, again.len() as u64));
    drop((base, again));

    let start = Instant::now();
    let mut fired = 0;
    keyed.open();
    loop {
        let due = keyed.take_due(Micros(i64::MAX), 256);
        if due.is_empty() {
            break;
        }
        for (_, key) in due {
            keyed.remove(&key);
            fired += 1;
        }
        keyed.merge_oldest();
        keyed.open();
    }
    println!("fire and remove   {:>6} ns a timer, of {fired}", each(start, fired));
}

fn rewrite(keyed: &mut Keyed, chance: &mut Chance, writes: u64) {
    keyed.open();
    for n in 0..writes {
        let n_key = chance.below(KEYS);
        let key = key(n_key);
        let mut value = keyed.value(&key).expect("it was set").to_vec();
        value[0] = value[0].wrapping_add(1);
        keyed.set(&key, value, Some(timer(KEYS + n)));
        if n % COMMIT == COMMIT - 1 {
            keyed.merge_oldest();
            keyed.open();
        }
    }
    keyed.merge_oldest();
}

fn snapshot(keyed: &mut Keyed, chance: &mut Chance, full: bool) -> Vec<Vec<u8>> {
    let start = Instant::now();
    assert!(keyed.begin_snapshot(full));
    let begin = start.elapsed();
    let (mut slices, mut longest, mut sum) = (Vec::new(), Duration::ZERO, Duration::ZERO);
    loop {
        let mut out = Vec::with_capacity(SLICE + VALUE * 2);
        let start = Instant::now();
        let done = keyed.snapshot_slice(SLICE, &mut out);
        longest = longest.max(start.elapsed());
        sum += start.elapsed();
        slices.push(out);
        if done {
            break;
        }
        rewrite(keyed, chance, 100);
    }
    let bytes: usize = slices.iter().map(Vec::len).sum();
    let (count, mean) = (slices.len(), sum / slices.len() as u32);
    println!("snapshot          begin {begin:?}, {count} slices, longest {longest:?}, mean {mean:?}, {bytes} bytes");
    slices
}

/// Sessions end at times of whole seconds, about 30,000 in each.
fn timer(n: u64) -> Micros {
    Micros((n / 30_000) as i64 * Micros::SECOND)
}

fn key(n: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

fn each(start: Instant, n: u64) -> u128 {
    start.elapsed().as_nanos() / u128::from(n)
}

/// Bytes of memory this process holds.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).expect("a number of pages") * 4096
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
