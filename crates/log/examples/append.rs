//! How fast the journal takes commits on this disk, and how long each waits.
//!
//! `cargo run --release -p ouzel-log --example append -- [DIR] [SECONDS] [CASE]`; cases: `big` (2 producers, commits of
//! 120 KB, closed loop), `small` (28,000 events/s of 1.2 KB in commits of 100, open loop), `peak` and `flow` (28,000 and
//! 60,000 events/s of 1.35 KB raw and 1.7 KB enriched, open loop, with readers at the tail of every partition).
//! A case named alone is followed by reading all of `raw` again. `STEP_MB` and `SEGMENT_MB` change how disk is reserved.

#![allow(clippy::disallowed_methods)] // it measures the real disk by the real clock

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use event::topic::{ENRICHED, RAW};
use event::{Block, BlockBuilder, TopicId};
use ouzel_log::journal::{Journal, JournalConfig, MinFree, Stats};
use ouzel_log::{Commit, Log, Outcome, Ticket};
use seam::{RealClock, RealFs};

const PARTITIONS: u32 = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let dir = args.first().map_or_else(std::env::temp_dir, PathBuf::from).join("ouzel-append");
    let seconds = Duration::from_secs(args.get(1).and_then(|s| s.parse().ok()).unwrap_or(10));
    let wanted = args.get(2).map(String::as_str);
    for (name, case) in
        [("big", big as fn(&Arc<Journal>, Duration) -> Vec<u64>), ("small", small), ("peak", peak), ("flow", flow)]
    {
        if wanted.is_some_and(|w| w != name) {
            continue;
        }
        let log = open(&dir);
        let (begun, cpu) = (Instant::now(), writer_cpu());
        let mut waits = case(&log, seconds);
        let took = begun.elapsed().as_secs_f64();
        let cpu = (writer_cpu() - cpu).as_secs_f64();
        report(name, &log.stats(), &mut waits, took, cpu);
        if wanted.is_some() {
            replay(&log);
        }
        drop(log);
        let _ = std::fs::remove_dir_all(&dir);
    }
}

fn open(dir: &Path) -> Arc<Journal> {
    let _ = std::fs::remove_dir_all(dir);
    let mib = |name, or: u64| std::env::var(name).ok().and_then(|s| s.parse().ok()).unwrap_or(or) << 20;
    let config = JournalConfig {
        segment_bytes: mib("SEGMENT_MB", 256),
        partitions: PARTITIONS,
        min_free: MinFree::Bytes(1 << 30),
        allocate_step: mib("STEP_MB", 16),
        ..JournalConfig::default()
    };
    Journal::open(dir, config, Arc::new(RealFs), Arc::new(RealClock::new())).expect("opens")
}

/// CPU time of the writer's thread so far.
fn writer_cpu() -> Duration {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").expect("Linux").flatten() {
        let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        if read("comm").trim() == "journal" {
            let stat = read("stat");
            let after = stat.rsplit(')').next().unwrap_or_default();
            let fields: Vec<u64> = after.split_whitespace().filter_map(|f| f.parse().ok()).collect();
            // User and system time, at 10 and 11 when counted in numbers after the state.
            ticks += fields[10] + fields[11];
        }
    }
    Duration::from_millis(ticks * 10)
}

fn report(name: &str, stats: &Stats, waits: &mut [u64], took: f64, cpu: f64) {
    waits.sort_unstable();
    let at = |p: f64| waits[((waits.len() - 1) as f64 * p) as usize] as f64 / 1000.0;
    println!(
        "{name}: {:.0} MB/s, {:.0} commits/s, {:.0} KB a frame, fsync {:.2} ms mean; waits p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.1} ms; \
         writer's CPU {:.0} % of a core; reads from memory {} from disk {}",
        stats.bytes as f64 / took / 1e6,
        waits.len() as f64 / took,
        stats.bytes as f64 / stats.frames as f64 / 1e3,
        stats.sync_us as f64 / stats.syncs.max(1) as f64 / 1e3,
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0),
        cpu / took * 100.0,
        stats.ring_reads,
        stats.disk_reads,
    );
}

/// Blocks of `events` records of `size` bytes, spread over the partitions.
fn blocks(topic: TopicId, events: u32, size: usize) -> Vec<Block> {
    let value: Vec<u8> = (0..size).map(|i| b'a' + (i * 7 % 26) as u8).collect();
    (0..PARTITIONS)
        .map(|p| {
            let mut builder = BlockBuilder::new(topic.partition(p));
            for i in (p..events).step_by(PARTITIONS as usize) {
                builder.push(&i.to_le_bytes(), &[0; 96], Some(&[&value]));
            }
            builder.finish()
        })
        .collect()
}

/// A commit of its own memory, as every real one is.
fn fresh(blocks: &[Block]) -> Commit {
    let copy = |b: &Block| Block { bytes: b.bytes.to_vec().into(), ..b.clone() };
    Commit { blocks: blocks.iter().map(copy).collect(), ..Commit::default() }
}

fn committed(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

/// Reads all of `raw` from its begin, one partition after another, as a stage does that starts over.
fn replay(log: &Journal) {
    let (begun, mut bytes, mut records) = (Instant::now(), 0, 0);
    for p in 0..PARTITIONS {
        let tp = RAW.partition(p);
        let (mut at, end) = log.bounds(tp).expect("bounds");
        while at < end {
            let fetch = log.fetch(tp, at, 1 << 20).expect("readable");
            at = fetch.next;
            bytes += fetch.chunks.iter().map(|c| c.bytes.len()).sum::<usize>();
            records += fetch.chunks.iter().map(|c| c.count).sum::<u32>();
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!("replay: {:.0} MB/s, {:.0} records/s", bytes as f64 / took / 1e6, f64::from(records) / took);
}

fn big(log: &Arc<Journal>, seconds: Duration) -> Vec<u64> {
    let blocks = blocks(RAW, 100, 1100);
    let end = Instant::now() + seconds;
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut waits = Vec::new();
                    while Instant::now() < end {
                        let begun = Instant::now();
                        committed(log.submit(fresh(&blocks)).wait());
                        waits.push(begun.elapsed().as_micros() as u64);
                    }
                    waits
                })
            })
            .collect();
        producers.into_iter().flat_map(|p| p.join().expect("a producer")).collect()
    })
}

/// Submits at a fixed rate whatever the answers; waits are measured from the intended moment.
fn paced(log: &Arc<Journal>, seconds: Duration, per_second: u32, blocks: &[Vec<Block>]) -> Vec<u64> {
    let begun = Instant::now();
    let (sender, receiver) = std::sync::mpsc::channel::<(Instant, Ticket)>();
    std::thread::scope(|scope| {
        let answers = scope.spawn(move || {
            let mut waits = Vec::new();
            for (due, ticket) in receiver {
                committed(ticket.wait());
                waits.push(due.elapsed().as_micros() as u64);
            }
            waits
        });
        let mut n = 0;
        loop {
            let due = begun + Duration::from_secs(1) * n / per_second;
            if due > begun + seconds {
                break;
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let commit = fresh(&blocks[n as usize % blocks.len()]);
            sender.send((due, log.submit(commit))).expect("the other end is there");
            n += 1;
        }
        drop(sender);
        answers.join().expect("answers")
    })
}

fn small(log: &Arc<Journal>, seconds: Duration) -> Vec<u64> {
    paced(log, seconds, 280, &[blocks(RAW, 100, 1100)])
}

fn peak(log: &Arc<Journal>, seconds: Duration) -> Vec<u64> {
    flow_at(log, seconds, 560)
}

fn flow(log: &Arc<Journal>, seconds: Duration) -> Vec<u64> {
    flow_at(log, seconds, 1200)
}

/// Half of the commits are raw events, half enriched ones.
fn flow_at(log: &Arc<Journal>, seconds: Duration, commits: u32) -> Vec<u64> {
    let over = AtomicBool::new(false);
    let read = AtomicU64::new(0);
    let waits = std::thread::scope(|scope| {
        let tail = scope.spawn(|| {
            let mut next = [[0u64; PARTITIONS as usize]; 2];
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) {
                seen = log.wait(seen, Duration::from_millis(50));
                for (t, topic) in [RAW, ENRICHED].into_iter().enumerate() {
                    for p in 0..PARTITIONS {
                        let at = &mut next[t][p as usize];
                        let fetch = log.fetch(topic.partition(p), *at, 1 << 20).expect("readable");
                        *at = fetch.next;
                        let bytes: usize = fetch.chunks.iter().map(|c| c.bytes.len()).sum();
                        read.fetch_add(bytes as u64, Ordering::Relaxed);
                    }
                }
            }
        });
        let waits = paced(log, seconds, commits, &[blocks(RAW, 100, 1240), blocks(ENRICHED, 100, 1590)]);
        over.store(true, Ordering::Relaxed);
        tail.join().expect("the reader");
        waits
    });
    println!("{:.0} MB read", read.load(Ordering::Relaxed) as f64 / 1e6);
    waits
}
