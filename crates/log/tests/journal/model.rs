//! The journal against a naive model: lists of records in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use event::topic::TOPICS;
use event::{BlockBuilder, Offset, TopicPartition};
use proptest::prelude::*;

use super::support::*;
use log::journal::{Drive, Journal, JournalConfig};
use log::{Commit, Input, Log, LogError, Outcome, Position};

#[derive(Clone, Debug)]
enum Step {
    /// Blocks as (topic, partition, sizes of the records' values), positions as (group, input, metadata length).
    Commit(Vec<(u16, u32, Vec<usize>)>, Vec<(u8, u8, usize)>),
    Fetch(u16, u32, u64, usize),
    Reopen,
    Maintain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let topics = TOPICS.len() as u16;
    let sizes = prop::collection::vec(prop_oneof![8 => 0..300usize, 1 => 3000..6000usize], 0..4);
    let blocks = prop::collection::vec((0..topics, 0..2u32, sizes), 0..4);
    let positions = prop::collection::vec((0..3u8, 0..4u8, 0..50usize), 0..3);
    let step = prop_oneof![
        10 => (blocks, positions).prop_map(|(b, p)| Step::Commit(b, p)),
        6 => (0..topics, 0..2u32, any::<u64>(), prop_oneof![Just(1usize), 100..5000usize])
            .prop_map(|(t, p, at, max)| Step::Fetch(t, p, at, max)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Maintain),
    ];
    prop::collection::vec(step, 1..150)
}

#[derive(Default)]
struct Model {
    records: BTreeMap<TopicPartition, Vec<Vec<u8>>>,
    positions: BTreeMap<(u8, u8), (Offset, Vec<u8>)>,
    commits: u64,
}

fn input(n: u8) -> Input {
    // No topics among them: retention would have to wait for these groups, and generations are another story.
    Input::External(format!("input {n}").into())
}

fn run(steps: Vec<Step>, drive: Drive) {
    let root = tempfile::tempdir().expect("a directory");
    let clock = FakeClock::new();
    let config = JournalConfig { drive, ..config() };
    let open = || open_with(root.path(), config.clone(), &clock).expect("opens");
    let mut log: Arc<Journal> = open();
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Commit(blocks, positions) => commit_both(&log, &mut model, blocks, positions),
            Step::Fetch(topic, partition, at, max) => {
                let tp = TOPICS[topic as usize].id.partition(partition);
                fetch_both(&log, &model, tp, at, max);
            }
            Step::Reopen => {
                drop(log);
                log = open();
            }
            Step::Maintain => log.maintain(),
        }
    }
    for _ in 0..2 {
        for ((group, n), (next, metadata)) in &model.positions {
            let stored = log.committed(&format!("group {group}"), &input(*n)).expect("readable").expect("a position");
            assert_eq!((stored.next, &stored.metadata[..]), (*next, &metadata[..]));
        }
        for (tp, records) in &model.records {
            for at in (0..records.len()).step_by(7) {
                fetch_both(&log, &model, *tp, at as u64, 700);
            }
            assert_eq!(log.bounds(*tp).expect("bounds"), (0, records.len() as u64));
        }
        drop(log);
        log = open();
    }
    assert!(log::journal::verify(root.path(), &seam::RealFs).expect("verifies").damage.is_empty());
}

fn commit_both(log: &Journal, model: &mut Model, blocks: Vec<(u16, u32, Vec<usize>)>, positions: Vec<(u8, u8, usize)>) {
    model.commits += 1;
    let mut commit = Commit::default();
    let mut bases = Vec::new();
    for (topic, partition, sizes) in blocks {
        let tp = TOPICS[topic as usize].id.partition(partition);
        let records = model.records.entry(tp).or_default();
        bases.push(records.len() as u64);
        let mut builder = BlockBuilder::new(tp);
        for size in sizes {
            let value: Vec<u8> = (0..size).map(|i| (i as u64 * 31 + model.commits) as u8).collect();
            builder.push(b"key", b"header", Some(&[&value]));
            records.push(value);
        }
        commit.blocks.push(builder.finish());
    }
    for (group, n, len) in positions {
        let metadata = vec![group; len];
        commit.positions.push(Position {
            group: format!("group {group}").into(),
            input: input(n),
            next: model.commits,
            metadata: Bytes::from(metadata.clone()),
        });
        model.positions.insert((group, n), (model.commits, metadata));
    }
    match log.submit(commit).wait() {
        Outcome::Committed(c) => assert_eq!(c.bases, bases),
        other => panic!("{other:?}"),
    }
}

fn fetch_both(log: &Journal, model: &Model, tp: TopicPartition, at: u64, max: usize) {
    let empty = Vec::new();
    let records = model.records.get(&tp).unwrap_or(&empty);
    let end = records.len() as u64;
    let at = at % (end + 3);
    match log.fetch(tp, at, max) {
        Err(LogError::OutOfRange { .. }) => assert!(at > end),
        Err(other) => panic!("{other}"),
        Ok(fetch) => {
            assert!(at <= end);
            let mut expected = at;
            let mut size = 0;
            for chunk in &fetch.chunks {
                for r in chunk.records() {
                    let (offset, r) = r.expect("a record");
                    assert_eq!(offset, expected);
                    assert!(r.value == Some(&records[offset as usize][..]), "{tp} at {offset}: other bytes");
                    expected += 1;
                }
                size += chunk.bytes.len();
            }
            assert_eq!((fetch.next, fetch.end), (expected, end));
            assert!(at == end || !fetch.chunks.is_empty(), "nothing at {at} of {end}");
            assert!(size <= max + 6100, "{size} bytes where {max} were asked");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_what_is_read(steps in steps()) {
        run(steps, Drive::Caller);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 15, ..ProptestConfig::default() })]

    #[test]
    fn with_threads_too(steps in steps()) {
        run(steps, Drive::Threads);
    }
}
