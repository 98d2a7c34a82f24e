//! What any log must do, as stories. Every caller here behaves as stages and doors must: it tries again what was aborted,
//! settles what is unknown by the committed position, and joins anew when it is fenced. So the suite holds for the journal,
//! for Kafka, and for a log that injects faults.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use event::topic::{DLQ, ENRICHED, RAW};
use event::{Block, BlockBuilder, Offset, TopicPartition};

use crate::contract::{
    Aborted, Assignment, Commit, Generation, Input, Log, LogError, METADATA_MAX, Membership, Outcome, Position,
};

/// Rounds of anything that is tried again: beyond this the log does not make progress.
const ROUNDS_MAX: u32 = 1000;

/// When readers see what was committed to several partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// At one moment, so that there is one order of all commits.
    AtOnce,
    /// In each partition at a moment of its own, before the same caller's next commit: on Kafka every partition has its own
    /// mark of the transaction.
    ByPartition,
}

/// Runs all stories; `make` gives a log with nothing in it, at least two partitions, each time.
pub fn suite(seen: Seen, make: impl Fn() -> Arc<dyn Log>) {
    starts_empty(&*make());
    keeps_the_order_of_one_caller(&make());
    keeps_the_order_of_what_was_not_waited_for(&*make());
    shows_all_of_a_commit_or_nothing(seen, &make());
    shows_nothing_of_an_aborted_commit(&*make());
    commits_positions_with_outputs(&*make());
    settles_unknown_outcomes(&*make());
    takes_metadata_up_to_the_limit(&*make());
    fences_generations_that_are_over(&*make());
    reads_from_every_position(&*make());
    takes_many_callers_at_once(seen, &make());
    takes_a_big_commit(&*make());
    takes_an_empty_commit(&*make());
    wakes_those_who_wait(&make());
}

/// Opens the same log again and again: `open` is called after what it gave before is dropped.
pub fn reopening(open: impl Fn() -> Arc<dyn Log>) {
    let mut expected: BTreeMap<TopicPartition, Vec<(Offset, String)>> = BTreeMap::new();
    let tps = [RAW.partition(0), ENRICHED.partition(1)];
    for life in 0..6u64 {
        let log = open();
        for tp in tps {
            assert_eq!(read_all(&*log, tp), expected.get(&tp).cloned().unwrap_or_default(), "{tp} in life {life}");
        }
        let mut caller = Caller::new(&*log, "reopened");
        assert_eq!(caller.done, life * 20, "the position at the begin of life {life}");
        for n in 0..20 {
            let name = format!("{life}/{n}");
            caller.commit(vec![block(tps[0], &[&name]), block(tps[1], &[&name, &name])]);
        }
        for tp in tps {
            let now = read_all(&*log, tp);
            let before = expected.insert(tp, now.clone()).unwrap_or_default();
            assert_eq!(now[..before.len()], before[..], "{tp}: what was there changed");
            assert_eq!(now.len(), (life as usize + 1) * 20 * if tp == tps[0] { 1 } else { 2 }, "{tp}");
        }
    }
}

/// One that commits exactly once, whatever the log answers.
pub struct Caller<'a> {
    log: &'a dyn Log,
    group: Arc<str>,
    input: Input,
    /// Commits that happened.
    pub done: Offset,
}

impl<'a> Caller<'a> {
    pub fn new(log: &'a dyn Log, name: &str) -> Caller<'a> {
        let (group, input) = (Arc::from("conformance"), Input::External(name.into()));
        let done = log.committed(&group, &input).expect("readable").map_or(0, |p| p.next);
        Caller { log, group, input, done }
    }

    /// Commits `blocks` with a position of this caller's own; the bases, if the log said them.
    pub fn commit(&mut self, blocks: Vec<Block>) -> Option<Vec<Offset>> {
        for _ in 0..ROUNDS_MAX {
            let position = Position {
                group: self.group.clone(),
                input: self.input.clone(),
                next: self.done + 1,
                metadata: Bytes::new(),
            };
            let commit = Commit { blocks: blocks.clone(), positions: vec![position], generation: None };
            match self.log.submit(commit).wait() {
                Outcome::Committed(c) => {
                    assert_eq!(c.bases.len(), blocks.len(), "a base for each block");
                    self.done += 1;
                    return Some(c.bases);
                }
                Outcome::Aborted(Aborted::Retriable | Aborted::Full(_)) => {}
                Outcome::Aborted(other) => panic!("aborted: {other}"),
                Outcome::Unknown => {
                    let now = self.log.committed(&self.group, &self.input).expect("readable").map_or(0, |p| p.next);
                    assert!(now == self.done || now == self.done + 1, "the position is {now}, not near {}", self.done);
                    if now > self.done {
                        self.done = now;
                        return None;
                    }
                }
            }
        }
        panic!("no progress in {ROUNDS_MAX} rounds")
    }
}

/// A block of records whose keys are `names`.
pub fn block(to: TopicPartition, names: &[&str]) -> Block {
    let mut builder = BlockBuilder::new(to);
    for name in names {
        builder.push(name.as_bytes(), b"h", Some(&[b"{\"n\":\"", name.as_bytes(), b"\"}"]));
    }
    builder.finish()
}

/// All records of a partition by key, read in small portions; checks what every reader may rely on.
pub fn read_all(log: &dyn Log, tp: TopicPartition) -> Vec<(Offset, String)> {
    let (start, end) = log.bounds(tp).expect("bounds");
    let mut out: Vec<(Offset, String)> = Vec::new();
    let mut at = start;
    while at < end {
        let fetch = log.fetch(tp, at, 256).expect("readable");
        assert!(fetch.next > at, "{tp}: no progress at {at} below {end}");
        assert!(fetch.end >= end, "{tp}: the end went back");
        for chunk in &fetch.chunks {
            assert!(chunk.base >= at && chunk.next() <= fetch.next, "{tp}: a chunk outside what was asked");
            for record in chunk.records() {
                let (offset, record) = record.expect("a record");
                assert!(out.last().is_none_or(|(last, _)| *last < offset), "{tp}: offsets go back at {offset}");
                out.push((offset, String::from_utf8(record.key.to_vec()).expect("text")));
            }
        }
        at = fetch.next;
    }
    out
}

fn names(log: &dyn Log, tp: TopicPartition) -> Vec<String> {
    read_all(log, tp).into_iter().map(|(_, name)| name).collect()
}

fn starts_empty(log: &dyn Log) {
    let tp = RAW.partition(0);
    assert!(log.partitions(RAW) >= 2);
    assert_eq!(log.bounds(tp).expect("bounds"), (0, 0));
    let fetch = log.fetch(tp, 0, 1024).expect("an empty answer");
    assert!(fetch.chunks.is_empty() && fetch.next == 0 && fetch.end == 0);
    assert!(matches!(log.fetch(tp, 1, 1024), Err(LogError::OutOfRange { .. })));
    assert_eq!(log.committed("g", &Input::Topic(tp)).expect("readable"), None);
}

fn keeps_the_order_of_one_caller(log: &Arc<dyn Log>) {
    let tp = RAW.partition(1);
    let mut caller = Caller::new(log, "order");
    let mut expected = Vec::new();
    let mut bases = Vec::new();
    for n in 0..60 {
        let (a, b) = (format!("{n}a"), format!("{n}b"));
        bases.push((expected.len(), caller.commit(vec![block(tp, &[&a, &b])])));
        expected.extend([a, b]);
    }
    let read = read_all(log, tp);
    assert_eq!(read.iter().map(|(_, n)| n.clone()).collect::<Vec<_>>(), expected);
    for (i, base) in bases {
        if let Some(base) = base {
            assert_eq!(base, [read[i].0], "the base of a commit is the offset of its first record");
        }
    }
}

fn keeps_the_order_of_what_was_not_waited_for(log: &dyn Log) {
    let tp = ENRICHED.partition(0);
    let tickets: Vec<_> = (0..100)
        .map(|n| {
            let blocks = vec![block(tp, &[&n.to_string()])];
            log.submit(Commit { blocks, ..Commit::default() })
        })
        .collect();
    let outcomes: Vec<_> = tickets.into_iter().map(|t| t.wait()).collect();
    // Unknown ones without a position cannot be settled; a commit behind them can, because callers are decided in order.
    Caller::new(log, "behind").commit(Vec::new());
    let read: Vec<usize> = names(log, tp).iter().map(|n| n.parse().expect("a number")).collect();
    assert!(read.is_sorted_by(|a, b| a < b), "out of order or twice: {read:?}");
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Outcome::Committed(_) => assert!(read.contains(&n), "commit {n} is missing"),
            Outcome::Aborted(_) => assert!(!read.contains(&n), "commit {n} was aborted"),
            Outcome::Unknown => {}
        }
    }
}

fn shows_all_of_a_commit_or_nothing(seen: Seen, log: &Arc<dyn Log>) {
    let tps = [RAW.partition(0), ENRICHED.partition(1), DLQ.partition(0)];
    let over = Arc::new(AtomicBool::new(false));
    let reader = {
        let (log, over) = (log.clone(), over.clone());
        std::thread::spawn(move || {
            let mut turn = 0;
            let mut looks = 0u32;
            while !over.load(Ordering::Relaxed) || looks == 0 {
                // What is read later may only show more.
                let counts: Vec<_> = (0..3).map(|i| (turn + i) % 3).map(|i| names(&*log, tps[i]).len()).collect();
                let whole = match seen {
                    Seen::AtOnce => counts.is_sorted(),
                    Seen::ByPartition => counts.is_sorted_by(|before, after| *after + 1 >= *before),
                };
                assert!(whole, "half a commit was visible: {counts:?}");
                turn += 1;
                looks += 1;
            }
        })
    };
    let mut caller = Caller::new(log, "atomic");
    for n in 0..60 {
        let name = n.to_string();
        caller.commit(tps.iter().map(|tp| block(*tp, &[&name])).collect());
    }
    over.store(true, Ordering::Relaxed);
    reader.join().expect("the reader saw whole commits");
    for tp in tps {
        assert_eq!(names(log, tp), (0..60).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

fn shows_nothing_of_an_aborted_commit(log: &dyn Log) {
    let tp = RAW.partition(0);
    let no_such = RAW.partition(log.partitions(RAW));
    let position = |group: &str, generation| Commit {
        blocks: vec![block(tp, &["aborted"])],
        positions: vec![Position { group: group.into(), input: Input::Topic(tp), next: 1, metadata: Bytes::new() }],
        generation,
    };
    for round in 0..20 {
        let invalid = Commit { blocks: vec![block(tp, &["aborted"]), block(no_such, &["x"])], ..Commit::default() };
        let never = Some(Generation(u64::MAX - round));
        for commit in [invalid, position("nobody", never)] {
            let outcome = log.submit(commit).wait();
            assert!(matches!(outcome, Outcome::Aborted(_) | Outcome::Unknown), "{outcome:?}");
        }
    }
    assert_eq!(log.committed("nobody", &Input::Topic(tp)).expect("readable"), None);
    assert_eq!(names(log, tp), Vec::<String>::new());
}

/// A member of a group with all partitions of a topic.
struct Worker<'a> {
    log: &'a dyn Log,
    seat: Box<dyn Membership>,
    generation: Option<Generation>,
    owned: BTreeSet<TopicPartition>,
}

impl<'a> Worker<'a> {
    fn join(log: &'a dyn Log, group: &str) -> Worker<'a> {
        Worker { log, seat: log.join(group, RAW), generation: None, owned: BTreeSet::new() }
    }

    /// Waits until this member has partitions.
    fn granted(&mut self) -> Generation {
        self.granted_all(&[])
    }

    /// Waits until this member has partitions, these among them.
    fn granted_all(&mut self, wanted: &[TopicPartition]) -> Generation {
        for _ in 0..ROUNDS_MAX * 10 {
            self.poll();
            if let Some(generation) = self.generation.filter(|_| wanted.iter().all(|tp| self.owned.contains(tp))) {
                return generation;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nothing was granted")
    }

    fn poll(&mut self) -> Vec<Assignment> {
        let news = self.seat.poll();
        for n in &news {
            match n {
                Assignment::Granted { partitions, generation } => {
                    assert!(partitions.iter().all(|tp| tp.topic == RAW && tp.partition < self.log.partitions(RAW)));
                    self.generation = Some(*generation);
                    self.owned.extend(partitions);
                }
                Assignment::Revoked { partitions } => {
                    self.owned.retain(|tp| !partitions.contains(tp));
                    if self.owned.is_empty() {
                        self.generation = None;
                    }
                }
            }
        }
        news
    }
}

fn of_topic(group: &str, tp: TopicPartition, next: Offset, metadata: &'static [u8]) -> Position {
    Position { group: group.into(), input: Input::Topic(tp), next, metadata: Bytes::from_static(metadata) }
}

fn commits_positions_with_outputs(log: &dyn Log) {
    let (input, output) = (RAW.partition(0), ENRICHED.partition(0));
    let mut caller = Caller::new(log, "source");
    for n in 0..40 {
        caller.commit(vec![block(input, &[&n.to_string()])]);
    }
    // A stage: reads its input from its committed position on, copies, commits both; starts over whenever it is unsure.
    let mut worker = Worker::join(log, "copy");
    let end = log.bounds(input).expect("bounds").1;
    for _ in 0..ROUNDS_MAX {
        let generation = worker.granted();
        let at = log.committed("copy", &Input::Topic(input)).expect("readable").map_or(0, |p| p.next);
        if at >= end {
            break;
        }
        let fetch = log.fetch(input, at, 1).expect("readable");
        let mut blocks = Vec::new();
        for chunk in &fetch.chunks {
            for r in chunk.records() {
                let (_, r) = r.expect("a record");
                blocks.push(block(output, &[std::str::from_utf8(r.key).expect("text")]));
            }
        }
        let positions = vec![of_topic("copy", input, fetch.next, b"meta")];
        match log.submit(Commit { blocks, positions, generation: Some(generation) }).wait() {
            Outcome::Committed(_) => {
                let stored = log.committed("copy", &Input::Topic(input)).expect("readable").expect("a position");
                assert_eq!((stored.next, &stored.metadata[..]), (fetch.next, &b"meta"[..]));
            }
            Outcome::Aborted(Aborted::Fenced) => {
                worker.poll();
            }
            Outcome::Aborted(Aborted::Retriable | Aborted::Full(_)) | Outcome::Unknown => {}
            Outcome::Aborted(other) => panic!("aborted: {other}"),
        }
    }
    assert_eq!(names(log, output), names(log, input), "each once, in order");
}

fn settles_unknown_outcomes(log: &dyn Log) {
    let tp = DLQ.partition(1);
    let mut caller = Caller::new(log, "settle");
    for n in 0..300 {
        caller.commit(vec![block(tp, &[&n.to_string()])]);
    }
    assert_eq!(names(log, tp), (0..300).map(|n| n.to_string()).collect::<Vec<_>>());
}

fn takes_metadata_up_to_the_limit(log: &dyn Log) {
    let input = Input::External("limit".into());
    let of = |n: usize| Commit {
        positions: vec![Position {
            group: "g".into(),
            input: input.clone(),
            next: n as u64,
            metadata: vec![7; n].into(),
        }],
        ..Commit::default()
    };
    for _ in 0..ROUNDS_MAX {
        log.submit(of(METADATA_MAX)).wait();
        if log.committed("g", &input).expect("readable").is_some() {
            break;
        }
    }
    for _ in 0..20 {
        let outcome = log.submit(of(METADATA_MAX + 1)).wait();
        assert!(!matches!(outcome, Outcome::Committed(_)), "metadata over the limit was taken");
    }
    let stored = log.committed("g", &input).expect("readable").expect("a position");
    assert_eq!((stored.next, stored.metadata.len()), (METADATA_MAX as u64, METADATA_MAX), "never cut");
}

fn fences_generations_that_are_over(log: &dyn Log) {
    let output = ENRICHED.partition(1);
    let commit = |input, generation, name: &str, next| Commit {
        blocks: vec![block(output, &[name])],
        positions: vec![of_topic("pair", input, next, b"")],
        generation: Some(generation),
    };
    // One commit of a member, exactly once.
    let once = |worker: &mut Worker<'_>, input, name: &str, next| {
        for _ in 0..ROUNDS_MAX {
            let generation = worker.granted_all(&[input]);
            match log.submit(commit(input, generation, name, next)).wait() {
                Outcome::Committed(_) => return,
                Outcome::Aborted(Aborted::Invalid(what)) => panic!("{what}"),
                Outcome::Unknown | Outcome::Aborted(_) => {
                    let now = log.committed("pair", &Input::Topic(input)).expect("readable").map_or(0, |p| p.next);
                    if now == next {
                        return;
                    }
                    worker.poll();
                }
            }
        }
        panic!("no progress")
    };
    let mut first = Worker::join(log, "pair");
    once(&mut first, RAW.partition(0), "one", 1);
    let old = first.granted();
    let mut second = Worker::join(log, "pair");
    let new = second.granted();
    assert!(new > old, "generations grow");
    // What the second has, the first had before.
    let input = *second.owned.first().expect("it has some");
    for _ in 0..20 {
        let outcome = log.submit(commit(input, old, "never", 9)).wait();
        assert!(!matches!(outcome, Outcome::Committed(_)), "a commit under a generation that is over: {outcome:?}");
    }
    // A tool's commit, without a generation, while the group has a member.
    for _ in 0..20 {
        let outcome = log.submit(Commit { generation: None, ..commit(input, old, "never", 9) }).wait();
        assert!(!matches!(outcome, Outcome::Committed(_)), "a commit beside a living member: {outcome:?}");
    }
    let news = first.poll();
    let revoked = |n: &Assignment| matches!(n, Assignment::Revoked { partitions } if partitions.contains(&input));
    assert!(news.iter().any(revoked), "{news:?}");
    once(&mut second, input, "two", 2);
    assert_eq!(log.committed("pair", &Input::Topic(input)).expect("readable").expect("a position").next, 2);
    drop(second);
    once(&mut first, input, "three", 3);
    assert_eq!(names(log, output), ["one", "two", "three"]);
}

fn reads_from_every_position(log: &dyn Log) {
    let tp = RAW.partition(1);
    let mut caller = Caller::new(log, "positions");
    for n in 0..12 {
        let name = n.to_string();
        caller.commit(vec![block(tp, &[&name, &name, &name])]);
        // Others write too, so that the partition's blocks do not lie side by side.
        caller.commit(vec![block(RAW.partition(0), &["other"])]);
    }
    let all = read_all(log, tp);
    let (start, end) = log.bounds(tp).expect("bounds");
    for at in start..end {
        let fetch = log.fetch(tp, at, 1).expect("readable");
        let first = fetch.chunks.first().map(|c| c.base);
        assert_eq!(first, all.iter().map(|(o, _)| *o).find(|o| *o >= at), "the first record at or after {at}");
        assert!(fetch.chunks.iter().map(|c| c.count).sum::<u32>() >= u32::from(first.is_some()), "at least one record");
        let whole = log.fetch(tp, at, usize::MAX).expect("readable");
        let read: usize = whole.chunks.iter().map(|c| c.count as usize).sum();
        assert!(read <= all.iter().filter(|(o, _)| *o >= at).count());
    }
    let at_end = log.fetch(tp, end, 1).expect("readable");
    assert!(at_end.chunks.is_empty() && at_end.next == end && at_end.end == end);
    assert!(matches!(log.fetch(tp, end + 1, 1), Err(LogError::OutOfRange { .. })));
}

fn takes_many_callers_at_once(seen: Seen, log: &Arc<dyn Log>) {
    let tps = [RAW.partition(0), RAW.partition(1)];
    std::thread::scope(|scope| {
        for t in 0..4 {
            scope.spawn(move || {
                let mut caller = Caller::new(log, &format!("caller {t}"));
                for n in 0..50 {
                    let name = format!("{t}:{n}");
                    caller.commit(tps.iter().map(|tp| block(*tp, &[&name])).collect());
                }
            });
        }
    });
    let read = names(log, tps[0]);
    let other = names(log, tps[1]);
    assert!(seen == Seen::ByPartition || read == other, "commits have one order");
    for (t, read) in (0..4).flat_map(|t| [(t, &read), (t, &other)]) {
        let prefix = format!("{t}:");
        let own: Vec<_> = read.iter().filter_map(|n| n.strip_prefix(&prefix)).collect();
        assert_eq!(own, (0..50).map(|n| n.to_string()).collect::<Vec<_>>(), "of caller {t}, each once and in order");
    }
}

fn takes_a_big_commit(log: &dyn Log) {
    let tp = ENRICHED.partition(0);
    let value = vec![b'x'; 64 << 10];
    let mut builder = BlockBuilder::new(tp);
    for n in 0..160u32 {
        builder.push(&n.to_le_bytes(), b"", Some(&[&value]));
    }
    let block = builder.finish();
    Caller::new(log, "big").commit(vec![block.clone()]);
    let (mut at, end) = log.bounds(tp).expect("bounds");
    let mut bytes = Vec::new();
    while at < end {
        let fetch = log.fetch(tp, at, 100 << 10).expect("readable");
        let read: usize = fetch.chunks.iter().map(|c| c.bytes.len()).sum();
        assert!(read <= 400 << 10, "about what was asked, not {read} bytes");
        fetch.chunks.iter().for_each(|c| bytes.extend_from_slice(&c.bytes));
        at = fetch.next;
    }
    assert!(bytes == block.bytes, "byte for byte");
}

fn takes_an_empty_commit(log: &dyn Log) {
    for _ in 0..ROUNDS_MAX {
        match log.submit(Commit::default()).wait() {
            Outcome::Committed(c) => {
                assert!(c.bases.is_empty());
                assert_eq!(log.bounds(RAW.partition(0)).expect("bounds"), (0, 0));
                return;
            }
            Outcome::Aborted(Aborted::Retriable) | Outcome::Unknown => {}
            Outcome::Aborted(other) => panic!("aborted: {other}"),
        }
    }
    panic!("no progress")
}

fn wakes_those_who_wait(log: &Arc<dyn Log>) {
    let watch = log.subscribe();
    let seen = *watch.borrow();
    assert_eq!(log.wait(seen, Duration::from_millis(5)), seen, "nothing was committed");
    let waiter = {
        let log = log.clone();
        std::thread::spawn(move || log.wait(seen, Duration::from_secs(30)))
    };
    Caller::new(log, "wake").commit(vec![block(RAW.partition(0), &["x"])]);
    assert!(waiter.join().expect("the waiter") > seen);
    assert!(*watch.borrow() > seen);
}
