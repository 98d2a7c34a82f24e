//! The suite on the journal, and on the log that injects faults into it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use log::conformance::Seen;
use log::inject::{Faults, Injecting};
use log::journal::{Drive, Durability, Journal, JournalConfig, MinFree};
use log::{Log, conformance};
use ouzel_log as log;
use seam::{RealClock, RealFs};

fn config(drive: Drive) -> JournalConfig {
    JournalConfig {
        partitions: 3,
        // The suite is about what is seen, not about power cuts; thousands of small commits need no disk for that.
        durability: Durability::Os,
        // Small, so that the suite crosses segments and reads from disk as well as from memory.
        segment_bytes: 64 << 10,
        allocate_step: 16 << 10,
        cache_bytes: 4 << 10,
        min_free: MinFree::Bytes(0),
        drive,
        ..JournalConfig::default()
    }
}

fn open(dir: &Path, drive: Drive) -> Arc<Journal> {
    Journal::open(dir, config(drive), Arc::new(RealFs), Arc::new(RealClock::new())).expect("opens")
}

#[test]
fn the_journal_conforms() {
    for drive in [Drive::Threads, Drive::Caller] {
        let root = tempfile::tempdir().expect("a directory");
        let n = AtomicU64::new(0);
        let fresh = || root.path().join(n.fetch_add(1, Ordering::Relaxed).to_string());
        conformance::suite(Seen::AtOnce, || open(&fresh(), drive));
        let dir = fresh();
        conformance::reopening(|| open(&dir, drive));
    }
}

#[test]
fn the_log_that_injects_faults_conforms() {
    let root = tempfile::tempdir().expect("a directory");
    let n = AtomicU64::new(0);
    let fresh = || root.path().join(n.fetch_add(1, Ordering::Relaxed).to_string());
    for seed in 0..4 {
        for drive in [Drive::Threads, Drive::Caller] {
            conformance::suite(Seen::AtOnce, || {
                Arc::new(Injecting::new(open(&fresh(), drive), Faults::default(), seed))
            });
            let dir = fresh();
            conformance::reopening(|| Arc::new(Injecting::new(open(&dir, drive), Faults::default(), seed)));
        }
    }
}

#[test]
fn every_fault_is_injected() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = Injecting::new(open(dir.path(), Drive::Caller), Faults::default(), 1);
    let tp = event::topic::RAW.partition(0);
    let mut seat = log.join("g", tp.topic);
    let mut generation = None;
    for next in 0..500 {
        for news in seat.poll() {
            if let log::Assignment::Granted { generation: g, .. } = news {
                generation = Some(g);
            }
        }
        let input = log::Input::Topic(tp);
        let positions = vec![log::Position { group: "g".into(), input, next, metadata: Default::default() }];
        log.submit(log::Commit { blocks: vec![], positions, generation }).wait();
    }
    let i = log.injected();
    assert!(i.unknown_done > 0 && i.unknown_dropped > 0 && i.retriable > 0 && i.revoked > 0, "{i:?}");
}
