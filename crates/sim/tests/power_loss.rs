//! The journal on a disk that loses what was not synced. Every commit that was answered is there afterwards, in order and
//! to the byte; one that was not answered is there whole or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use event::record::BlockBuilder;
use event::topic::{ENRICHED, RAW};
use event::{Block, Micros, TopicPartition};
use log::journal::{Drive, Health, Journal, JournalConfig, MinFree};
use log::{Commit, Input, Log, LogError, Outcome, Position};
use ouzel_gen::Rng;
use ouzel_sim::fs::{Loss, LossyFs};
use seam::fault::Bug;
use seam::{Clock, Fs};

const DIR: &str = "/data";

/// Time stands still: nothing here may depend on it.
struct Still;

impl Clock for Still {
    fn now(&self) -> Micros {
        Micros(1_795_400_000_000_000)
    }
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

fn open(fs: &LossyFs) -> Result<Arc<Journal>, LogError> {
    let config = JournalConfig {
        partitions: 2,
        segment_bytes: 12 << 10,
        allocate_step: 8 << 10,
        min_free: MinFree::Bytes(0),
        cache_bytes: 4 << 10,
        drive: Drive::Caller,
        ..JournalConfig::default()
    };
    Journal::open(Path::new(DIR), config, Arc::new(fs.clone()), Arc::new(Still))
}

/// A commit's blocks follow from its number, so that what is read back can be compared to the byte.
fn blocks(number: u64) -> Vec<Block> {
    let mut rng = Rng::new(number);
    let mut to = Vec::new();
    for topic in [RAW, ENRICHED] {
        for partition in 0..2 {
            if rng.below(3) > 0 {
                to.push(topic.partition(partition));
            }
        }
    }
    if to.is_empty() {
        to.push(RAW.partition(0));
    }
    to.into_iter()
        .map(|tp| {
            let mut block = BlockBuilder::new(tp);
            for _ in 0..rng.between(1, 4) {
                let value = vec![b'a' + rng.below(26) as u8; rng.below(900) as usize];
                block.push(&number.to_le_bytes(), &rng.next_u64().to_le_bytes(), Some(&[&value]));
            }
            block.finish()
        })
        .collect()
}

fn position(number: u64) -> Position {
    let input = Input::External("file:x".into());
    Position { group: "g".into(), input, next: number, metadata: number.to_le_bytes().to_vec().into() }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Known {
    Committed,
    Unknown,
    Aborted,
}

/// One disk through several lives.
struct Story {
    fs: LossyFs,
    rng: Rng,
    sent: BTreeMap<u64, Known>,
    crashes: u32,
}

/// What broke, in words.
type Verdict = Result<(), String>;

impl Story {
    fn new(seed: u64) -> Story {
        Story { fs: LossyFs::new(), rng: Rng::new(seed), sent: BTreeMap::new(), crashes: 0 }
    }

    fn crash(&mut self) {
        self.fs.set_capacity(u64::MAX);
        let loss = match self.rng.below(4) {
            0 => Loss::All,
            1 => Loss::Nothing,
            _ => Loss::Some { seed: self.rng.next_u64() },
        };
        self.fs = self.fs.crash(loss);
        self.crashes += 1;
        if self.rng.below(2) == 0 {
            self.fs.short_reads(self.rng.next_u64());
        }
    }

    /// Opens, checks, commits until the power goes.
    fn life(&mut self) -> Verdict {
        // Now and then it goes while the journal is being opened.
        let within = if self.rng.below(4) == 0 { 12 } else { 150 };
        self.fs.cut_at(self.rng.between(1, within));
        let journal = match open(&self.fs) {
            Ok(journal) => journal,
            Err(_) if !self.fs.is_on() => return Ok(()),
            Err(e) => return Err(format!("it does not open: {e}")),
        };
        if self.fs.is_on() {
            self.check(&journal)?;
        }
        while self.fs.is_on() {
            // Now and then the disk is full for a while: what was begun and given up must not be in the way later.
            match self.rng.below(40) {
                0 => {
                    let (free, total) = self.fs.space(Path::new(DIR)).unwrap_or((0, 0));
                    self.fs.set_capacity(total - free + self.rng.below(9000));
                }
                1..8 => self.fs.set_capacity(u64::MAX),
                _ => {}
            }
            let number = self.sent.len() as u64 + 1;
            let commit = Commit { blocks: blocks(number), positions: vec![position(number)], generation: None };
            let known = match journal.submit(commit).wait() {
                Outcome::Committed(_) => Known::Committed,
                Outcome::Unknown => Known::Unknown,
                Outcome::Aborted(_) => Known::Aborted,
            };
            if known == Known::Committed && !self.fs.is_on() {
                return Err(format!("commit {number} was answered after the power had gone"));
            }
            self.sent.insert(number, known);
            if self.rng.below(30) == 0 {
                journal.maintain();
            }
        }
        Ok(())
    }

    fn check(&mut self, journal: &Journal) -> Verdict {
        let mut found: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        for topic in [RAW, ENRICHED] {
            for partition in 0..2 {
                let tp = topic.partition(partition);
                found.insert(tp, read(journal, tp)?);
            }
        }
        let there: BTreeMap<u64, usize> = {
            let mut there = BTreeMap::new();
            for record in found.values().flatten() {
                *there.entry(record.number).or_insert(0) += 1;
            }
            there
        };
        let mut expected: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        let mut highest = 0;
        for (number, known) in &self.sent {
            let blocks = blocks(*number);
            let whole: usize = blocks.iter().map(|b| b.count as usize).sum();
            match (there.get(number).copied().unwrap_or(0), known) {
                (0, Known::Committed) => return Err(format!("commit {number} was answered, and it is gone")),
                (n, Known::Aborted) if n > 0 => return Err(format!("commit {number} was aborted, and it is there")),
                (0, _) => continue,
                (n, _) if n != whole => return Err(format!("commit {number}: {n} of {whole} records are there")),
                _ => highest = *number,
            }
            for block in blocks {
                expected.entry(block.to).or_default().extend(records(&block.bytes)?);
            }
        }
        for (tp, records) in &found {
            if expected.get(tp).map_or(!records.is_empty(), |e| e != records) {
                return Err(format!("{tp} does not hold what was committed, in the order in which it was"));
            }
        }
        let input = Input::External("file:x".into());
        let stored = journal.committed("g", &input).map_err(|e| e.to_string())?.map_or(0, |p| p.next);
        if stored != highest {
            return Err(format!("the position says {stored}, the last commit that is there is {highest}"));
        }
        // What is not there did not happen, and what is there did.
        for (number, known) in &mut self.sent {
            *known = if there.contains_key(number) { Known::Committed } else { Known::Aborted };
        }
        Ok(())
    }
}

#[derive(PartialEq, Debug)]
struct Record {
    number: u64,
    header: Vec<u8>,
    value: Vec<u8>,
}

fn records(block: &[u8]) -> Result<Vec<Record>, String> {
    event::record::records(block)
        .map(|r| {
            let r = r.map_err(|e| e.to_string())?;
            let number = u64::from_le_bytes(r.key.try_into().map_err(|_| "a key that was never written")?);
            Ok(Record { number, header: r.header_bytes.to_vec(), value: r.value.unwrap_or_default().to_vec() })
        })
        .collect()
}

fn read(journal: &Journal, tp: TopicPartition) -> Result<Vec<Record>, String> {
    let (mut at, end) = journal.bounds(tp).map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    while at < end {
        let fetch = journal.fetch(tp, at, 2000).map_err(|e| e.to_string())?;
        for chunk in &fetch.chunks {
            if chunk.base != at {
                return Err(format!("{tp}: a chunk from {} where {at} was asked for", chunk.base));
            }
            all.extend(records(&chunk.bytes)?);
            at = chunk.next();
        }
        if fetch.chunks.is_empty() {
            return Err(format!("{tp}: nothing at {at}, and the end is {end}"));
        }
    }
    Ok(all)
}

/// Seeds from 1 to `stories`, eight lives each. Gives the first that breaks.
fn tell(stories: u64) -> Result<u32, String> {
    let mut crashes = 0;
    for seed in 1..=stories {
        let mut story = Story::new(seed);
        for life in 0..8 {
            story.life().map_err(|what| format!("seed {seed}, life {life}: {what}"))?;
            story.crash();
        }
        let journal = open(&story.fs).map_err(|e| format!("seed {seed}: at the end it does not open: {e}"))?;
        story.check(&journal).map_err(|what| format!("seed {seed}, at the end: {what}"))?;
        crashes += story.crashes;
    }
    Ok(crashes)
}

const STORIES: u64 = 400;

#[test]
fn the_journal_survives_power_loss() {
    match tell(STORIES) {
        Ok(crashes) => println!("{crashes} crashes, every answered commit there"),
        Err(what) => panic!("{what}"),
    }
}

/// A planted bug is read from the environment once per process: this test runs itself again for each.
#[test]
fn planted_bugs_are_found() {
    let this = std::env::current_exe().expect("this test");
    let mut missed = Vec::new();
    for bug in [Bug::AckBeforeFsync, Bug::DirectorySyncSkipped, Bug::LostTail, Bug::PositionApart] {
        let output = Command::new(&this)
            .args(["--exact", "the_journal_survives_power_loss", "--nocapture"])
            .env("OUZEL_PLANT", bug.name())
            .output()
            .expect("it runs");
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{}: {}", bug.name(), printed.lines().find(|l| l.starts_with("seed")).unwrap_or("nothing found"));
        if output.status.success() || !printed.contains("seed") {
            missed.push(bug.name());
        }
    }
    assert_eq!(missed, Vec::<&str>::new(), "bugs that were planted and not found");
}

#[test]
fn a_failed_sync_stops_the_journal_and_is_never_taken_for_success() {
    for seed in 1..60 {
        let fs = LossyFs::new();
        let journal = open(&fs).expect("an empty disk");
        let mut sent = BTreeMap::new();
        fs.fail_sync(seed % 20 + 1);
        for number in 1..40 {
            let commit = Commit { blocks: blocks(number), positions: vec![position(number)], generation: None };
            let known = match journal.submit(commit).wait() {
                Outcome::Committed(_) => Known::Committed,
                Outcome::Unknown => Known::Unknown,
                Outcome::Aborted(_) => Known::Aborted,
            };
            sent.insert(number, known);
        }
        assert!(matches!(journal.health(), Health::Stopped(_)), "seed {seed}: it went on after a failed sync");
        let failed = sent.values().position(|k| *k != Known::Committed).expect("one failed");
        assert!(sent.values().skip(failed + 1).all(|k| *k == Known::Aborted), "seed {seed}: {sent:?}");
        drop(journal);
        let loss = if seed % 2 == 0 { Loss::All } else { Loss::Some { seed } };
        let mut story = Story { fs: fs.crash(loss), rng: Rng::new(seed), sent, crashes: 1 };
        let journal = open(&story.fs).expect("it opens again");
        story.check(&journal).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn a_full_disk_refuses_and_takes_up_again_when_there_is_room() {
    for seed in 1..40u64 {
        let fs = LossyFs::new();
        fs.set_capacity(40_000 + seed * 777);
        let journal = open(&fs).expect("it opens");
        let mut sent = BTreeMap::new();
        let submit = |number, sent: &mut BTreeMap<u64, Known>| {
            let commit = Commit { blocks: blocks(number), positions: vec![position(number)], generation: None };
            let outcome = journal.submit(commit).wait();
            let known = match outcome {
                Outcome::Committed(_) => Known::Committed,
                Outcome::Aborted(log::Aborted::Full(_)) => Known::Aborted,
                other => panic!("seed {seed}, commit {number}: {other:?}"),
            };
            sent.insert(number, known);
            known
        };
        let full = (1..200).find(|n| submit(*n, &mut sent) == Known::Aborted).expect("it fills up");
        assert!(matches!(journal.health(), Health::Full(_)));
        fs.set_capacity(400_000);
        assert_eq!(submit(full + 1, &mut sent), Known::Committed, "seed {seed}: there is room again");
        assert_eq!(journal.health(), Health::Ok);
        drop(journal);
        let mut story = Story { fs: fs.crash(Loss::All), rng: Rng::new(seed), sent, crashes: 1 };
        let journal = open(&story.fs).expect("it opens again");
        story.check(&journal).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn a_rotten_bit_is_refused_or_harmless_and_never_read_as_data() {
    let mut refused = 0;
    for seed in 1..150u64 {
        let mut story = Story::new(seed);
        let journal = open(&story.fs).expect("an empty disk");
        for number in 1..30 {
            let commit = Commit { blocks: blocks(number), positions: vec![position(number)], generation: None };
            assert!(matches!(journal.submit(commit).wait(), Outcome::Committed(_)));
            story.sent.insert(number, Known::Committed);
        }
        drop(journal);
        let fs = story.fs.crash(Loss::Nothing);
        let journal_dir = Path::new(DIR).join("journal");
        let segments: Vec<String> = fs.list(&journal_dir).expect("it is there");
        let segments: Vec<&String> = segments.iter().filter(|n| n.ends_with(".seg")).collect();
        let path = journal_dir.join(segments[story.rng.below(segments.len() as u64) as usize]);
        let bits = fs.open_read(&path).and_then(|f| f.len()).expect("readable") * 8;
        assert!(fs.flip_bit(&path, story.rng.below(bits)));
        story.fs = fs;
        match open(&story.fs) {
            Err(LogError::Damaged { .. }) => refused += 1,
            Err(e) => panic!("seed {seed}: {e}"),
            Ok(journal) => {
                // The rot may be in reserved room, or in the last frame, which then counts as torn and is the one loss
                // that a journal cannot tell from a crash.
                let verdict = story.check(&journal);
                let last = verdict.as_ref().err().is_none_or(|what| what.starts_with("commit 29 was answered"));
                let located = verdict.as_ref().err().is_some_and(|what| what.contains("damaged"));
                refused += u32::from(located);
                assert!(last || located, "seed {seed}: {verdict:?}");
            }
        }
    }
    assert!(refused > 50, "only {refused} were refused");
}
