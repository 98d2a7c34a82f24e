//! What is found by halving is what is found by reading everything.

#![allow(clippy::disallowed_methods)] // a journal of its own in a temporary directory

use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use event::topic::{ENRICHED, RAW, SESSIONS};
use event::{BlockBuilder, Header, Micros, Offset, Source};
use log::{Commit, Journal, JournalConfig, Log as _, Outcome};
use seam::{RealClock, RealFs};

use super::scan::{Scan, each, first_received, made_of, seek};

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Records of one partition, some of them control records, made of what several partitions hold, each in its order; what is made
/// of `raw` is overtaken now and then.
fn journal(chance: &mut Chance, dir: &std::path::Path) -> (Arc<Journal>, Vec<Source>) {
    let config = JournalConfig { partitions: 2, allocate_step: 1 << 16, ..JournalConfig::default() };
    let journal = Journal::open(dir, config, Arc::new(RealFs), Arc::new(RealClock::new())).expect("a journal");
    let mut sources = Vec::new();
    let (mut next, mut waits) = ([0u64; 3], None);
    for _ in 0..1 + chance.below(12) {
        let mut block = BlockBuilder::new(SESSIONS.partition(1));
        for _ in 0..1 + chance.below(20) {
            // Sparse ones too: a partition of which next to nothing is made.
            let partition = if chance.below(30) == 0 { 2 } else { chance.below(2) };
            next[partition as usize] += chance.below(4);
            let topic = if partition == 1 { RAW } else { ENRICHED };
            let mut at = next[partition as usize];
            if topic == RAW && (waits.is_some() || chance.below(3) == 0) {
                // The one that waits is finished after this one, or this one begins to wait.
                let before = waits.take();
                waits = before.is_none().then_some(at);
                at = before.unwrap_or(at + 1);
                next[partition as usize] = next[partition as usize].max(at) + 1;
            }
            let source = Source::of(topic, partition as u32, at);
            let header = Header { source, received_time: Micros(sources.len() as i64), ..Header::default() };
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            let is_control = chance.below(5) == 0;
            block.push(b"k", &bytes, (!is_control).then_some(&[&b"{}"[..]][..]));
            // What has no value is nobody's output.
            sources.push(if is_control { Source::DOOR } else { source });
        }
        let blocks = vec![block.finish()];
        let outcome = journal.submit(Commit { blocks, ..Commit::default() }).wait();
        assert!(matches!(outcome, Outcome::Committed(_)));
    }
    (journal, sources)
}

#[test]
fn what_was_made_of_a_record_is_found_by_halving_as_by_reading_everything() {
    for seed in 1..=40 {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
        let dir = tempfile::tempdir().expect("a directory");
        let (journal, sources) = journal(&mut chance, &dir.path().join("data"));
        let at = SESSIONS.partition(1);
        for (topic, partition) in [(ENRICHED, 0), (RAW, 1), (ENRICHED, 2), (RAW, 0)] {
            for offset in 0..60 {
                let of = Source::of(topic, partition, offset);
                let same = |s: &Source| (s.topic, s.partition) == (of.topic, of.partition);
                let expected: Vec<Offset> = (0..).zip(&sources).filter(|(_, s)| **s == of).map(|(at, _)| at).collect();
                let mut found = Vec::new();
                made_of(&*journal, at, of, |offset, _, _| {
                    found.push(offset);
                    Continue(())
                })
                .expect("it reads");
                assert_eq!(found, expected, "seed {seed}: {of:?}");
                let from = seek(&*journal, at, of).expect("it reads");
                let (before, after) = sources.split_at(from as usize);
                assert!(before.iter().filter(|s| same(s)).all(|s| s.offset < offset), "seed {seed}: {of:?}");
                let in_order = topic != RAW;
                assert!(
                    !in_order || after.iter().filter(|s| same(s)).all(|s| s.offset >= offset),
                    "seed {seed}: {of:?}"
                );
            }
        }
        assert_eq!(first_received(&*journal, at).expect("it reads"), None, "nothing was removed");
        journal.close();
    }
}

#[test]
fn windows_hold_every_record_once_and_a_visit_may_break() {
    let mut chance = Chance(5);
    let dir = tempfile::tempdir().expect("a directory");
    let (journal, sources) = journal(&mut chance, &dir.path().join("data"));
    let mut seen = vec![0; sources.len()];
    let mut scan = Scan::new(&*journal, SESSIONS).expect("it reads");
    while let Some((at, window)) = scan.next_window() {
        each(&*journal, at, window, |offset, _, _| {
            seen[offset as usize] += 1;
            Continue(())
        })
        .expect("it reads");
    }
    let expected: Vec<i32> = sources.iter().map(|s| i32::from(*s != Source::DOOR)).collect();
    assert_eq!(seen, expected);
    let mut visits = 0;
    each(&*journal, SESSIONS.partition(1), 0..sources.len() as u64, |_, _, _| {
        visits += 1;
        if visits == 3 { Break(()) } else { Continue(()) }
    })
    .expect("it reads");
    assert_eq!(visits, 3);
    journal.close();
}
