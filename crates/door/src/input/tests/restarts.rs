//! Nothing is lost and nothing is repeated, whatever the log answers and wherever a run ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::log::inject::{Faults, Injecting};
use ::log::{Aborted, Commit, Fetch, Input, LogError, Membership, Outcome, StoredPosition, Ticket};
use event::{Offset, TopicPartition};
use tokio::sync::watch;

use super::*;

/// A log that answers the first commits by itself, in the order given, and then passes everything on. What is
/// [`Answer::Dead`] stays so.
struct Moody {
    inner: Arc<Journal>,
    passed: AtomicU32,
    answer: fn(u32) -> Answer,
}

enum Answer {
    Pass,
    Full,
    /// The run ends: the commit did not happen.
    Dead,
    /// The run ends: the commit happened, but nobody heard of it.
    DeadAfter,
}

impl Log for Moody {
    fn partitions(&self, topic: TopicId) -> u32 {
        self.inner.partitions(topic)
    }
    fn submit(&self, commit: Commit) -> Ticket {
        match (self.answer)(self.passed.fetch_add(1, Ordering::Relaxed)) {
            Answer::Pass => self.inner.submit(commit),
            Answer::Full => Ticket::ready(Outcome::Aborted(Aborted::Full("no room in the test".into()))),
            Answer::Dead => Ticket::ready(Outcome::Aborted(Aborted::Closed)),
            Answer::DeadAfter => {
                assert!(matches!(self.inner.submit(commit).wait(), Outcome::Committed(_)));
                Ticket::ready(Outcome::Aborted(Aborted::Closed))
            }
        }
    }
    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        self.inner.fetch(from, at, max_bytes)
    }
    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.inner.bounds(partition)
    }
    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError> {
        self.inner.committed(group, input)
    }
    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership> {
        self.inner.join(group, topic)
    }
    fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.subscribe()
    }
    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        self.inner.wait(seen, timeout)
    }
}

fn moody(bed: &Bed, answer: fn(u32) -> Answer) -> World {
    let log = Moody { inner: bed.journal.clone(), passed: AtomicU32::new(0), answer };
    world(Arc::new(log), FieldMap::preset(Preset::Ouzel))
}

/// 20,000 events: about five megabytes with their headers, so several commits.
const COUNT: usize = 20_000;

#[test]
fn unknown_outcomes_and_aborts_cannot_be_seen_in_the_log() {
    for seed in 0..4 {
        let bed = bed();
        let faults = Faults { unknown_done: 200, unknown_dropped: 200, retriable: 200, revoked: 0 };
        let log = Arc::new(Injecting::new(bed.journal.clone(), faults, seed));
        let world = world(log.clone(), FieldMap::preset(Preset::Ouzel));
        let text = lines(0, COUNT);
        let summary = read(&bed.file("f", &text), Preset::Ouzel, &world).expect("read");
        assert_eq!(summary.accepted as usize, COUNT);
        let injected = log.injected();
        assert!(injected.unknown_done + injected.unknown_dropped + injected.retriable > 0, "nothing was injected");
        assert_eq!(numbers(&bed.raw()), (0..COUNT).collect::<Vec<_>>());

        // A stream has no position to ask for: what may have happened is sent again under the same id.
        let bed = self::bed();
        let log = Arc::new(Injecting::new(bed.journal.clone(), faults, seed));
        let world = self::world(log, FieldMap::preset(Preset::Ouzel));
        assert_eq!(read_stream(&text, Preset::Ouzel, &world).expect("read").accepted as usize, COUNT);
        let mut raw = bed.raw();
        raw.dedup();
        assert_eq!(numbers(&raw), (0..COUNT).collect::<Vec<_>>());
    }
}

#[test]
fn a_run_may_end_at_any_commit() {
    let text = lines(0, COUNT);
    for (name, bytes) in [("plain", text.clone()), ("gz", gzip(&text)), ("array", as_array(&text))] {
        let bed = bed();
        let path = bed.file(name, &bytes);
        let mut accepted = 0;
        let mut runs = 0;
        let answers: [fn(u32) -> Answer; 2] = [
            |n| if n == 1 { Answer::Dead } else { Answer::Pass },
            |n| if n == 2 { Answer::DeadAfter } else { Answer::Pass },
        ];
        loop {
            runs += 1;
            assert!(runs < 100, "no progress");
            let progress = Progress::default();
            let config = InputConfig::new(Origin::File(path.clone()), Preset::Ouzel);
            let result = run(config, &moody(&bed, answers[runs % 2]), &progress, &AtomicBool::new(false));
            accepted += progress.accepted.load(Ordering::Relaxed) as usize;
            match result {
                Ok(_) => break,
                Err(e) => assert!(matches!(e, InputError::Refused(Aborted::Closed)), "{e}"),
            }
        }
        assert!(runs > 2, "{name}: the file is too short for this test");
        assert!(accepted < COUNT, "{name}: commits that nobody heard of are not counted");
        assert_eq!(numbers(&bed.raw()), (0..COUNT).collect::<Vec<_>>(), "{name}");
        let again = bed.read(&path, Preset::Ouzel);
        assert_eq!((again.accepted, again.before as usize), (0, COUNT), "{name}");
    }
}

fn as_array(lines: &[u8]) -> Vec<u8> {
    let mut text = b"[".to_vec();
    text.extend(lines.trim_ascii().iter().map(|b| if *b == b'\n' { b',' } else { *b }));
    text.push(b']');
    text
}

#[test]
fn a_full_log_is_waited_for_and_a_stop_ends_the_wait() {
    let bed = bed();
    let path = bed.file("f", &lines(0, 10));
    let summary = read(&path, Preset::Ouzel, &moody(&bed, |n| if n < 2 { Answer::Full } else { Answer::Pass }));
    assert_eq!(summary.expect("read").accepted, 10);

    let path = bed.file("g", &lines(0, 10));
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let world = moody(&bed, |_| Answer::Full);
    std::thread::scope(|s| {
        let config = InputConfig::new(Origin::File(path.clone()), Preset::Ouzel);
        let reader = s.spawn(|| run(config, &world, &progress, &stop));
        while progress.waiting().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(progress.waiting().as_deref(), Some("no room in the test"));
        stop.store(true, Ordering::Relaxed);
        let summary = reader.join().expect("no panic").expect("no error");
        assert_eq!((summary.accepted, summary.is_stopped), (0, true));
    });
    assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 10, "the next run reads it");
}

#[test]
fn what_was_given_up_is_not_passed_over_by_what_was_gathered_behind_it() {
    let bed = bed();
    let path = bed.file("f", &lines(0, COUNT));
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    // No room for the first commit and for its last try; room again for a commit behind it.
    let world = moody(&bed, |n| if n < 2 { Answer::Full } else { Answer::Pass });
    std::thread::scope(|s| {
        let config = InputConfig::new(Origin::File(path.clone()), Preset::Ouzel);
        let reader = s.spawn(|| run(config, &world, &progress, &stop));
        while progress.waiting().is_none() {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().expect("no panic").expect("no error").is_stopped);
    });
    bed.read(&path, Preset::Ouzel);
    assert!(numbers(&bed.raw()) == (0..COUNT).collect::<Vec<_>>(), "{} of {COUNT}", bed.raw().len());
}

#[test]
fn a_stop_loses_nothing() {
    let bed = bed();
    let path = bed.file("f", &lines(0, 50_000));
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let world = bed.world(Preset::Ouzel);
    let first = std::thread::scope(|s| {
        let config = InputConfig::new(Origin::File(path.clone()), Preset::Ouzel);
        let reader = s.spawn(|| run(config, &world, &progress, &stop));
        while progress.accepted.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        reader.join().expect("no panic").expect("no error")
    });
    assert!(first.is_stopped && first.accepted > 0 && first.accepted < 50_000, "{first:?}");
    let second = bed.read(&path, Preset::Ouzel);
    assert_eq!((second.before, first.accepted + second.accepted), (first.accepted, 50_000));
    assert_eq!(numbers(&bed.raw()), (0..50_000).collect::<Vec<_>>());
}

#[test]
fn which_file_is_the_same_and_which_is_new() {
    let bed = bed();
    let accepted = |bytes: &[u8]| bed.read(&bed.file("f", bytes), Preset::Ouzel).accepted;
    // A short file keeps its identity while it grows, past the bytes that identity rests on.
    assert_eq!(accepted(&lines(0, 2)), 2);
    assert_eq!(accepted(&lines(0, 5)), 3);
    assert_eq!(accepted(&lines(0, 100)), 95);
    assert_eq!(accepted(&lines(0, 100)), 0);
    // It is shorter than what was read of it: another file, all of it new, and so when it then grows.
    assert_eq!(accepted(&lines(0, 60)), 60);
    assert_eq!(accepted(&lines(0, 60)), 0);
    assert_eq!(accepted(&lines(0, 90)), 30);
    assert_eq!(accepted(&lines(0, 10)), 10);
    // Its beginning changed.
    assert_eq!(accepted(&lines(1, 200)), 200);
    // What was there before is still known, where identity rests on 4 KiB.
    assert_eq!(accepted(&lines(0, 100)), 100);
    assert_eq!(accepted(&lines(1, 201)), 1);
    assert_eq!(accepted(&lines(0, 110)), 10);
    let mut ids: Vec<String> = bed.raw().into_iter().map(|r| r.id).collect();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count, "no two events share an id");
}
