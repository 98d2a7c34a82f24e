//! A disk that is full, slowly or at once, and one that fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use event::topic::RAW;

use super::support::*;
use log::contract::Aborted;
use log::journal::{Drive, Health, Journal, JournalConfig, MinFree};
use log::{Commit, Input, Log, LogError, Outcome};

fn open_on_disk(dir: &std::path::Path, config: JournalConfig) -> (Arc<Journal>, Arc<Knobs>) {
    let (disk, knobs) = FakeDisk::new();
    (Journal::open(dir, config, disk, FakeClock::new()).expect("opens"), knobs)
}

#[test]
fn a_disk_that_fills_slowly_refuses_whole_commits_and_resumes() {
    let root = tempfile::tempdir().expect("a directory");
    let (log, knobs) = open_on_disk(root.path(), config());
    knobs.room.store(40 << 10, Ordering::SeqCst);
    let mut done = 0;
    let mut refused = 0;
    for attempt in 0..400u64 {
        let blocks = vec![block_of(RAW.partition(0), &done.to_string(), 500)];
        match commit(&*log, blocks) {
            Outcome::Committed(_) => done += 1,
            Outcome::Aborted(Aborted::Full(why)) => {
                assert!(why.contains("No space left"), "{why}");
                assert!(matches!(log.health(), Health::Full(_)));
                refused += 1;
                // Reads go on.
                assert_eq!(keys(&*log, RAW.partition(0)).len(), done);
            }
            other => panic!("{other:?}"),
        }
        if attempt % 100 == 99 {
            knobs.room.fetch_add(9 << 10, Ordering::SeqCst);
        }
    }
    assert!(refused > 100 && done > 60, "{refused} refused, {done} done");
    knobs.room.store(u64::MAX, Ordering::SeqCst);
    must_commit(&*log, vec![block_of(RAW.partition(0), &done.to_string(), 500)]);
    assert_eq!(log.health(), Health::Ok);
    drop(log);
    let log = open(root.path());
    assert_eq!(keys(&*log, RAW.partition(0)), (0..=done).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn room_is_left_to_the_machine() {
    let root = tempfile::tempdir().expect("a directory");
    for min_free in [MinFree::Percent(10), MinFree::Bytes((1 << 41) / 10)] {
        let (log, knobs) =
            open_on_disk(&root.path().join(format!("{min_free:?}")), JournalConfig { min_free, ..config() });
        must_commit(&*log, vec![block_of(RAW.partition(0), "a", 10)]);
        knobs.free.store((1 << 41) / 10 - 1, Ordering::SeqCst);
        // What is reserved already may be used.
        must_commit(&*log, vec![block_of(RAW.partition(0), "b", 10)]);
        let outcome = commit(&*log, vec![block_of(RAW.partition(0), "c", 5000)]);
        assert!(matches!(outcome, Outcome::Aborted(Aborted::Full(_))), "{outcome:?}");
        knobs.free.store(1 << 40, Ordering::SeqCst);
        must_commit(&*log, vec![block_of(RAW.partition(0), "c", 5000)]);
    }
}

#[test]
fn a_full_disk_at_the_first_start_still_opens() {
    let root = tempfile::tempdir().expect("a directory");
    let (disk, knobs) = FakeDisk::new();
    knobs.room.store(0, Ordering::SeqCst);
    let log = Journal::open(root.path(), config(), disk, FakeClock::new()).expect("opens for reading");
    assert!(matches!(log.health(), Health::Full(_)));
    assert!(matches!(commit(&*log, vec![block_of(RAW.partition(0), "a", 9)]), Outcome::Aborted(Aborted::Full(_))));
    knobs.room.store(u64::MAX, Ordering::SeqCst);
    must_commit(&*log, vec![block_of(RAW.partition(0), "a", 9)]);
}

#[test]
fn a_disk_that_promised_room_and_has_none_leaves_no_half_commit() {
    let root = tempfile::tempdir().expect("a directory");
    let (log, knobs) = open_on_disk(root.path(), config());
    must_commit_numbered(&*log, 0, 100);
    knobs.liar.store(true, Ordering::SeqCst);
    let outcome = commit(&*log, vec![block_of(RAW.partition(0), "x", 3000)]);
    assert!(matches!(outcome, Outcome::Aborted(Aborted::Full(_))), "{outcome:?}");
    knobs.liar.store(false, Ordering::SeqCst);
    must_commit_numbered(&*log, 1, 100);
    drop(log);
    assert_eq!(keys(&*open(root.path()), RAW.partition(0)), ["0", "1"]);
}

#[test]
fn a_failed_fsync_is_the_end() {
    for drive in [Drive::Caller, Drive::Threads] {
        let root = tempfile::tempdir().expect("a directory");
        let (log, knobs) = open_on_disk(root.path(), JournalConfig { drive, ..config() });
        must_commit_numbered(&*log, 0, 100);
        knobs.fail_sync.store(true, Ordering::SeqCst);
        let outcome = commit(&*log, vec![block_of(RAW.partition(0), "x", 100)]);
        assert!(matches!(outcome, Outcome::Unknown), "{outcome:?}");
        // It never counts as done, not even when the next fsync would answer well.
        knobs.fail_sync.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            let outcome = commit(&*log, vec![block_of(RAW.partition(0), "y", 100)]);
            assert!(matches!(outcome, Outcome::Aborted(Aborted::Closed)), "{outcome:?}");
        }
        assert!(matches!(log.health(), Health::Stopped(why) if why.contains("fsync")));
        assert!(matches!(log.committed("g", &Input::External("in".into())), Err(LogError::Stopped(_))));
        assert_eq!(keys(&*log, RAW.partition(0)), ["0"], "readers see nothing of it");
    }
}

#[test]
fn a_failed_write_is_the_end_too() {
    let root = tempfile::tempdir().expect("a directory");
    let (log, knobs) = open_on_disk(root.path(), config());
    knobs.fail_write.store(true, Ordering::SeqCst);
    assert!(matches!(commit(&*log, vec![block_of(RAW.partition(0), "x", 100)]), Outcome::Unknown));
    assert!(matches!(log.health(), Health::Stopped(_)));
}

#[test]
fn every_commit_is_synced_before_it_is_answered_and_every_new_file_with_its_directory() {
    let root = tempfile::tempdir().expect("a directory");
    let (log, knobs) = open_on_disk(root.path(), config());
    for n in 0..60 {
        knobs.calls.lock().expect("calls").clear();
        let before = segments(root.path()).len();
        must_commit_numbered(&*log, n, 500);
        let mut calls = knobs.calls.lock().expect("calls").clone();
        // With the feature `faults` a frame is written in two halves.
        calls.dedup();
        if segments(root.path()).len() > before {
            assert_eq!(calls, ["sync_dir", "write", "sync"]);
        } else {
            assert_eq!(calls, ["write", "sync"]);
        }
    }
}

#[test]
fn what_arrives_while_a_frame_is_written_is_the_next_frame() {
    let root = tempfile::tempdir().expect("a directory");
    let config = JournalConfig { drive: Drive::Threads, segment_bytes: 1 << 20, ..config() };
    let (log, knobs) = open_on_disk(root.path(), config);
    let one = || Commit { blocks: vec![block_of(RAW.partition(0), "k", 100)], ..Commit::default() };
    knobs.calls.lock().expect("calls").clear();
    let gate = knobs.gate.lock().expect("gate");
    let mut tickets = vec![log.submit(one())];
    while !knobs.calls.lock().expect("calls").contains(&"sync") {
        std::thread::yield_now();
    }
    tickets.extend((0..200).map(|_| log.submit(one())));
    assert!(tickets[0].try_take().is_none(), "answered before it was synced");
    assert_eq!(log.bounds(RAW.partition(0)).expect("bounds"), (0, 0), "seen before it was synced");
    assert!(log.queued_bytes() > 200 * 100);
    drop(gate);
    for ticket in tickets {
        assert!(matches!(ticket.wait(), Outcome::Committed(_)));
    }
    assert_eq!((log.stats().commits, log.stats().frames), (201, 2));
    drop(log);
    assert_eq!(keys(&*open(root.path()), RAW.partition(0)).len(), 201);
}
