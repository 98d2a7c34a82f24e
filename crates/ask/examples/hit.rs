//! What a local hit costs: `cargo run --release -p ouzel-ask --example hit`
//!
//! One million entries of 180 bytes in 16 shards behind locks, two threads that read at random and copy what they find, as
//! an enricher does. Then the same cache through ten times its size: resident memory beside what was configured.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::disallowed_macros)] // it measures

use std::sync::Mutex;
use std::time::{Duration, Instant};

use ouzel_ask::cache::NEGATIVE_PERCENT;
use ouzel_ask::{Cache, Entry, Known, Ttls, Value};

const ENTRIES: u64 = 1_000_000;
const SHARDS: u64 = 16;
const BYTES: usize = 320 << 20;
const READS: u64 = 4_000_000;
const THREADS: u64 = 2;
const TTLS: Ttls = Ttls { hit: 1 << 40, not_found: 1 << 40, error: 1 << 40, max_stale: 0 };

fn main() {
    let before = resident();
    let shards: Vec<Mutex<Cache>> =
        (0..SHARDS).map(|_| Mutex::new(Cache::new(BYTES / SHARDS as usize, NEGATIVE_PERCENT))).collect();
    let start = Instant::now();
    (0..ENTRIES).for_each(|n| put(&shards, n, 180));
    println!("put          {:>5} ns", each(start.elapsed(), ENTRIES));
    let len = || shards.iter().map(|shard| lock(shard).len() as u64).sum::<u64>();
    println!("entries      {:>5} k, {} MiB", len() / 1_000, held(&shards) >> 20);

    let found: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                scope.spawn({
                    let shards = &shards;
                    move || read(shards, n + 1)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a reader")).sum()
    });
    println!("found        {:>5} % of {} reads", found * 100 / (READS * THREADS), READS * THREADS);

    // Sizes that differ, so that what one leaves does not fit the next.
    let entry_bytes = 8 + 180 + 48;
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    let churn = 10 * BYTES as u64 / entry_bytes;
    for n in 0..churn {
        let one = Instant::now();
        put(&shards, ENTRIES + n, n * 7_919 % 360);
        slowest = slowest.max(one.elapsed());
    }
    println!("churn        {:>5} ns, slowest {slowest:?}", each(start.elapsed(), churn));
    let grown = resident() - before;
    println!(
        "resident     {:>5} MiB, {} % of the {} MiB configured; it says {} MiB, {} k entries",
        grown >> 20,
        grown * 100 / BYTES,
        BYTES >> 20,
        held(&shards) >> 20,
        len() / 1_000
    );
}

fn read(shards: &[Mutex<Cache>], seed: u64) -> u64 {
    let mut chance = Chance(seed);
    let mut out = Vec::with_capacity(1 << 16);
    let (mut found, mut buffers) = (0, 0);
    let (start, before) = (Instant::now(), on_cpu());
    for _ in 0..READS {
        let n = chance.below(ENTRIES);
        let mut shard = lock(&shards[(n % SHARDS) as usize]);
        if let Some(hit) = shard.get(1, &key(n))
            && let Known::Found(json) = hit.known
        {
            found += 1;
            if out.len() + json.len() > out.capacity() {
                out.clear();
                buffers += 1;
            }
            out.extend_from_slice(json);
        }
    }
    let ran = on_cpu() - before;
    println!(
        "hit          {:>5} ns, {} ns on the processor, thread {seed} ({buffers} buffers)",
        each(start.elapsed(), READS),
        each(ran, READS)
    );
    found
}

fn put(shards: &[Mutex<Cache>], n: u64, len: u64) {
    let entry = Entry::new(Value::Found(vec![n as u8; len as usize].into()), 0, &TTLS, n, b"");
    lock(&shards[(n % SHARDS) as usize]).put(1, &key(n), &entry);
}

fn lock(shard: &Mutex<Cache>) -> std::sync::MutexGuard<'_, Cache> {
    shard.lock().expect("nobody panics with it")
}

fn held(shards: &[Mutex<Cache>]) -> usize {
    shards.iter().map(|shard| lock(shard).resident()).sum()
}

fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

fn each(took: Duration, n: u64) -> u128 {
    took.as_nanos() / u128::from(n)
}

/// How long this thread ran: on a machine that is busy with others it is less than the time that passed.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(stat.split(' ').next().and_then(|n| n.parse().ok()).expect("a number of nanoseconds"))
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
