//! What is kept, what goes, and that nothing goes that somebody still has to read.

use std::sync::Arc;

use event::topic::{DLQ, ENRICHED, RAW};
use event::{Offset, TopicPartition};
use seam::RealFs;

use super::support::*;
use log::journal::{Journal, JournalConfig, verify};
use log::{Commit, Log, LogError, Outcome};

const DAY: i64 = 86_400;

/// One commit that fills about a third of a segment: a record in `raw` and `enriched`, and a small one in `dlq`.
fn day(log: &Journal, n: u64) {
    let name = n.to_string();
    let blocks = vec![
        block_of(RAW.partition(0), &name, 2500),
        block_of(ENRICHED.partition(0), &name, 2500),
        block_of(DLQ.partition(0), &name, 20),
    ];
    must_commit(log, blocks);
}

fn reopened(dir: &std::path::Path, clock: &Arc<FakeClock>) -> Arc<Journal> {
    open_with(dir, config(), clock).expect("opens")
}

fn start(log: &dyn Log, tp: TopicPartition) -> Offset {
    log.bounds(tp).expect("bounds").0
}

#[test]
fn each_topic_is_kept_as_long_as_it_says() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = FakeClock::new();
    let mut log = reopened(root.path(), &clock);
    // raw 7 d, enriched 3 d, dlq 30 d; a record of each a day.
    for n in 0..60u64 {
        day(&log, n);
        clock.advance_secs(DAY);
        log.maintain();
        if n % 7 == 6 {
            drop(log);
            log = reopened(root.path(), &clock);
        }
        for (topic, keep) in [(RAW, 7), (ENRICHED, 3), (DLQ, 30)] {
            let tp = topic.partition(0);
            let (start, end) = log.bounds(tp).expect("bounds");
            assert_eq!(end, n + 1);
            // By whole segments: never sooner than promised, and no later than a segment's span after it: three days
            // for one that was written at once, an eighth of the time to keep for merged ones.
            let late = 4 + keep / 8;
            assert!(start <= (n + 1).saturating_sub(keep), "{tp} day {n}: {start} is gone too soon");
            assert!(start + keep + late >= n, "{tp} day {n}: {start} is still there");
            let kept: Vec<String> = (start..end).map(|n| n.to_string()).collect();
            assert_eq!(keys(&*log, tp), kept, "{tp} day {n}");
            if start > 0 {
                let below = log.fetch(tp, start - 1, 100);
                assert!(matches!(below, Err(LogError::OutOfRange { start: s, .. }) if s == start), "{tp}");
            }
        }
    }
    // The segments of dead letters are written anew and merged: 30 days of them need few files and little room.
    let size: u64 = segments(root.path()).iter().map(|p| read_file(p).len() as u64).sum();
    assert!(segments(root.path()).len() < 18, "{} segments", segments(root.path()).len());
    assert!(size < 100 << 10, "{size} bytes");
    let report = verify(root.path(), &RealFs).expect("verifies");
    assert!(report.damage.is_empty(), "{report:?}");
}

#[test]
fn a_topic_holds_no_more_than_it_may() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = FakeClock::new();
    let config = JournalConfig { max_bytes: 60 << 10, ..config() };
    let log = open_with(root.path(), config, &clock).expect("opens");
    for n in 0..200 {
        day(&log, n);
        log.maintain();
        let raw = keys(&*log, RAW.partition(0)).len() as u64 * 2500;
        assert!(raw <= (60 << 10) + (16 << 10), "{raw} bytes of raw");
    }
    assert!(start(&*log, RAW.partition(0)) > 150);
    assert_eq!(start(&*log, DLQ.partition(0)), 0, "the small topic is not at its limit");
    assert_eq!(keys(&*log, DLQ.partition(0)).len(), 200);
}

#[test]
fn nothing_goes_that_a_group_has_still_to_read() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = FakeClock::new();
    let tp = RAW.partition(0);
    let log = reopened(root.path(), &clock);
    for n in 0..30 {
        day(&log, n);
        clock.advance_secs(DAY);
    }
    let put = |log: &Journal, group: &str, next| {
        let positions = vec![position_of_topic(group, tp, next)];
        let outcome = log.submit(Commit { positions, ..Commit::default() }).wait();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    };
    put(&log, "slow", 5);
    put(&log, "fast", 30);
    // One that has joined and committed nothing yet holds everything.
    let seat = log.join("new", RAW);
    log.maintain();
    assert_eq!(start(&*log, tp), 0);
    drop(seat);
    log.maintain();
    let held = start(&*log, tp);
    assert!(held <= 5 && held > 0, "{held}");
    assert!(start(&*log, ENRICHED.partition(0)) > 20, "nobody reads enriched");
    drop(log);
    // The positions hold it in the next life too.
    let log = reopened(root.path(), &clock);
    log.maintain();
    assert_eq!(start(&*log, tp), held);
    put(&log, "slow", 30);
    log.maintain();
    assert!(start(&*log, tp) > 20);
}

#[test]
fn a_quiet_journal_forgets_too() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = FakeClock::new();
    let log = reopened(root.path(), &clock);
    must_commit_numbered(&*log, 0, 100);
    clock.advance_secs(8 * DAY);
    log.maintain();
    assert_eq!(start(&*log, RAW.partition(0)), 1, "the segment is sealed by its age");
    assert_eq!(next_of(&*log), 1, "positions are no records");
    drop(log);
    let log = reopened(root.path(), &clock);
    assert_eq!((next_of(&*log), log.bounds(RAW.partition(0)).expect("bounds")), (1, (1, 1)));
    must_commit_numbered(&*log, 1, 100);
    assert_eq!(keys(&*log, RAW.partition(0)), ["1"]);
}

#[test]
fn an_interrupted_merge_is_finished_or_forgotten() {
    let root = tempfile::tempdir().expect("a directory");
    let clock = FakeClock::new();
    let log = reopened(root.path(), &clock);
    for n in 0..30 {
        day(&log, n);
    }
    drop(log);
    let before: Vec<_> = segments(root.path()).iter().map(|p| (p.clone(), read_file(p))).collect();
    clock.advance_secs(10 * DAY);
    let log = reopened(root.path(), &clock);
    log.maintain();
    let dlq = keys(&*log, DLQ.partition(0));
    assert_eq!(dlq.len(), 30);
    drop(log);
    let after = segments(root.path());
    assert!(after.len() < before.len());
    // The crash came before what was merged was removed: the old files are there again, and a temporary one.
    for (path, bytes) in before.iter().filter(|(p, _)| !after.contains(p)) {
        write_file(path, bytes);
    }
    write_file(&after[0].with_extension("seg.tmp"), b"half");
    let log = reopened(root.path(), &clock);
    assert_eq!(keys(&*log, DLQ.partition(0)), dlq);
    assert_eq!(keys(&*log, RAW.partition(0)).len() as u64, 30 - start(&*log, RAW.partition(0)));
    drop(log);
    assert!(verify(root.path(), &RealFs).expect("verifies").damage.is_empty());
}
