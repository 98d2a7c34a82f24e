//! Runs a stage in the real world: a thread drives the state machines of its partitions, reads and commits for them, and
//! answers their asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use door::http::Histogram;
use drive::{Action, Driver, Input, Phase, Settled};
use enrich::dedup::Pair;
use enrich::{Dedup, DedupConfig, Enrich};
use event::record::Chunk;
use event::topic::{ENRICHED, RAW};
use event::{Block, BlockBuilder, Micros, Offset, TopicId, TopicPartition};
use flow::punctuation::Controls;
use flow::{Operator, Progress, Punctuation};
use log::{Commit, Generation, Log, LogError, Outcome, Position, Ticket};
use seam::fault::{Bug, planted, point};
use seam::{Clock, Fs};

use crate::facts::{Pinned, Sources};
use crate::lookahead::Lookahead;
use crate::runs::{Runs, Sealer};

/// Bytes of one partition's records in one batch. Above this a bigger batch saves nothing and holds memory.
const FETCH_BYTES: usize = 512 * 1024;
/// How long a thread with nothing to do sleeps before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// Between two tries of a commit that the log aborted for want of disk.
const FULL_WAIT: Duration = Duration::from_millis(200);

/// What others may know of a running stage.
pub struct StageStatus {
    partitions: Vec<PartitionStatus>,
    /// From an event's receipt to its enriched form being readable.
    pub latency: Histogram,
    pub commits: AtomicU64,
    /// Why the stage cannot go on at present, or stopped for good.
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Default)]
struct PartitionStatus {
    progress: Mutex<(Progress, Offset)>,
    /// Positions back from the newest record within which a duplicate is told.
    horizon: AtomicU64,
    /// The same in received time, in microseconds.
    reach: AtomicU64,
}

#[derive(Clone, Debug)]
pub struct Trouble {
    pub reason: String,
    /// The stage has stopped; only a restart helps.
    pub fatal: bool,
}

impl StageStatus {
    pub fn new(partitions: u32) -> StageStatus {
        StageStatus {
            partitions: (0..partitions).map(|_| PartitionStatus::default()).collect(),
            latency: Histogram::default(),
            commits: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// Reads what was committed before this start, so that the sums are right from the first moment.
    pub fn preset(&self, log: &dyn Log, group: &str, topic: TopicId) -> Result<(), LogError> {
        for (p, status) in self.partitions.iter().enumerate() {
            let input = topic.partition(p as u32);
            let (mut progress, at) = match log.committed(group, &log::Input::Topic(input))? {
                Some(stored) => (Progress::decode(&stored.metadata).unwrap_or_default(), stored.next),
                None => (Progress::default(), log.bounds(input)?.0),
            };
            // Positions that hold nothing are stepped over first; they were never waiting.
            let ahead = log.fetch(input, at, 1)?;
            let next = if ahead.chunks.is_empty() { ahead.next.max(at) } else { at };
            progress.lost += next - at;
            *status.progress.lock().expect("no panic while held") = (progress, next);
        }
        Ok(())
    }

    /// Committed totals and position of each partition.
    pub fn partitions(&self) -> impl Iterator<Item = (Progress, Offset)> + '_ {
        self.partitions.iter().map(|p| *p.progress.lock().expect("no panic while held"))
    }

    /// Committed totals of all partitions (watermark and hash are those of the first).
    pub fn totals(&self) -> Progress {
        let mut all = self.partitions();
        let first = all.next().map(|(p, _)| p).unwrap_or_default();
        all.fold(first, |mut sum, (p, _)| {
            sum.processed += p.processed;
            sum.quarantined += p.quarantined;
            sum.deduplicated += p.deduplicated;
            sum.control += p.control;
            sum.lost += p.lost;
            sum.watermark = sum.watermark.min(p.watermark);
            sum
        })
    }

    /// Within how many events of a partition a duplicate is told: the smallest horizon of all.
    pub fn horizon(&self) -> u64 {
        self.partitions.iter().map(|p| p.horizon.load(Relaxed)).min().unwrap_or(0)
    }

    /// Within how much received time a duplicate is told, in seconds: the shortest of all partitions.
    pub fn horizon_seconds(&self) -> f64 {
        self.partitions.iter().map(|p| p.reach.load(Relaxed)).min().unwrap_or(0) as f64 / 1e6
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect("no panic while held").clone()
    }

    /// Notes what is committed for a partition.
    pub(crate) fn show(&self, partition: u32, committed: (Progress, Offset)) {
        *self.partitions[partition as usize].progress.lock().expect("no panic while held") = committed;
    }

    /// Waits for a commit of `group`: how it ended, and whether there was no room for it; then it has waited a little for some.
    /// Passes the fault point `committed` when it happened.
    pub(crate) fn wait(&self, ticket: Ticket, group: &str, committed: &'static str) -> Result<(Settled, bool), String> {
        match ticket.wait() {
            Outcome::Committed(_) => {
                point(committed);
                self.commits.fetch_add(1, Relaxed);
                self.set_trouble(None);
                Ok((Settled::Committed, false))
            }
            Outcome::Aborted(log::Aborted::Full(what)) => {
                self.set_trouble(Some(Trouble { reason: format!("the disk is full: {what}"), fatal: false }));
                std::thread::sleep(FULL_WAIT);
                Ok((Settled::Aborted, true))
            }
            Outcome::Aborted(log::Aborted::Retriable) => Ok((Settled::Aborted, false)),
            Outcome::Aborted(why) => Err(format!("{group} cannot commit: {why}")),
            Outcome::Unknown => Ok((Settled::Unknown, false)),
        }
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut held = self.trouble.lock().expect("no panic while held");
        // A thread that stopped for good is not healed by another's success.
        if !held.as_ref().is_some_and(|t| t.fatal) {
            *held = trouble;
        }
    }
}

/// Everything a stage thread needs.
pub struct EnrichWorker {
    pub log: Arc<dyn Log>,
    pub operator: Arc<Enrich>,
    pub sources: Arc<Sources>,
    pub generation: Generation,
    pub clock: Arc<dyn Clock>,
    pub fs: Arc<dyn Fs>,
    pub data: std::path::PathBuf,
    /// What one partition may spend on telling duplicates.
    pub dedup: DedupConfig,
    /// What is said of time, by all workers of the stage.
    pub punctuation: Arc<Mutex<Punctuation>>,
    /// Where the links between users and visitors come from, if they are wanted.
    pub lookahead: Option<Arc<Lookahead>>,
    pub status: Arc<StageStatus>,
    pub stop: Arc<AtomicBool>,
}

struct Part {
    driver: Driver<Enrich>,
    runs: Runs,
    pinned: Pinned,
    /// Times of receipt in the open batch, for the latency of its commit.
    received: Vec<Micros>,
    /// What was read and is not handed to the driver yet.
    fetched: Option<Fetched>,
    /// There was nothing to read.
    at_end: bool,
    /// Partitions of `enriched` that the open batch wrote to.
    wrote: Vec<u32>,
}

struct Fetched {
    from: Offset,
    fetch: log::Fetch,
}

impl EnrichWorker {
    /// Runs until told to stop or until going on would be wrong; the latter is in the status and in the answer.
    pub fn run(self, partitions: &[u32]) -> Result<(), String> {
        let result = self.run_inner(partitions);
        if let Err(reason) = &result {
            self.status.set_trouble(Some(Trouble { reason: reason.clone(), fatal: true }));
        }
        result
    }

    fn run_inner(&self, partitions: &[u32]) -> Result<(), String> {
        let mut parts = Vec::new();
        for partition in partitions {
            parts
                .push(self.open(RAW.partition(*partition)).map_err(|e| format!("{}: {e}", RAW.partition(*partition)))?);
        }
        let sealer = Sealer::start(self.fs.clone()).map_err(|e| format!("cannot start a thread: {e}"))?;
        let mut changes = *self.log.subscribe().borrow();
        loop {
            let reading = !self.stop.load(Relaxed);
            // Everything is read before anything is processed: what the records of one partition say of time must not
            // pass by those that wait in another.
            for part in &mut parts {
                self.read(part, &sealer, reading)?;
            }
            let now = self.clock.now();
            let mut commit = Commit { generation: Some(self.generation), ..Commit::default() };
            let busy = parts.iter().any(|p| p.fetched.is_some());
            if busy {
                if let Some(lookahead) = &self.lookahead {
                    lookahead.advance(&*self.log).map_err(|e| e.to_string())?;
                }
                let waiting = self.waiting(&parts);
                let controls = self.punctuation().wake(waiting.into_iter(), now);
                commit.blocks.extend(self.controls(controls, now));
            }
            let mut of = Vec::new();
            for (n, part) in parts.iter_mut().enumerate() {
                self.process(n, part, &mut commit, &mut of)?;
            }
            self.punctuate(&parts, &of, now, &mut commit);
            if !of.is_empty() || !commit.blocks.is_empty() {
                self.stay(&parts, &of, &mut commit);
                point("enrich.applied");
                // One commit at a time: an abort does not abort what was submitted behind it.
                let ticket = self.log.submit(commit);
                point("enrich.submitted");
                let full = self.settle(&mut parts, ticket, &of)?;
                // Told to stop, nobody waits for room: the next start does this batch again.
                if full && !reading {
                    return Ok(());
                }
            } else if !busy {
                if !reading {
                    return Ok(());
                }
                changes = self.log.wait(changes, IDLE_WAIT);
            }
        }
    }

    /// Lets a driver go on until it wants records, and reads those for it.
    fn read(&self, part: &mut Part, sealer: &Sealer, reading: bool) -> Result<(), String> {
        part.at_end = false;
        while let Some(action) = part.driver.next_action() {
            match action {
                Action::ReadPosition => self.read_position(part)?,
                Action::Read { .. } if !reading && part.driver.phase() == Phase::Running => {
                    part.driver.read_nothing();
                    return Ok(());
                }
                Action::Read { from } => {
                    let committed = part.driver.committed().1;
                    if !part.runs.keep_up(sealer, part.driver.prefix(), committed)? {
                        part.driver.read_nothing();
                        return Ok(());
                    }
                    let fetch = self.fetch(part.driver.input(), from)?;
                    if fetch.chunks.is_empty() && fetch.next <= from {
                        part.driver.read_nothing();
                        part.at_end = true;
                        return Ok(());
                    }
                    part.fetched = Some(Fetched { from, fetch });
                    return Ok(());
                }
                Action::Stop(why) => return Err(stopped(part.driver.input(), &why)),
                Action::Ask { .. } | Action::Commit { .. } => {
                    unreachable!("a batch is processed and its commit settled before the next is read")
                }
            }
        }
        Ok(())
    }

    /// Partitions in which records wait: those that were read, and all others that have some now. (Those of other threads
    /// too: holding the watermark for them is right whoever says it.)
    fn waiting(&self, parts: &[Part]) -> Vec<u32> {
        let read = |p: u32| parts.iter().any(|part| part.driver.input().partition == p && part.fetched.is_some());
        let punctuation = self.punctuation();
        (0..self.status.partitions.len() as u32)
            .filter(|p| {
                read(*p)
                    || punctuation.is_resting(*p) && {
                        let (_, next) =
                            *self.status.partitions[*p as usize].progress.lock().expect("no panic while held");
                        self.log.bounds(RAW.partition(*p)).is_ok_and(|(_, end)| end > next)
                    }
            })
            .collect()
    }

    /// Notes what this commit says of time by itself, and adds what else is to be said.
    fn punctuate(&self, parts: &[Part], of: &[(usize, u64)], now: Micros, commit: &mut Commit) {
        let mut punctuation = self.punctuation();
        let mut wrote: Vec<(u32, u32)> = Vec::new();
        for &(n, _) in of {
            let driver = &parts[n].driver;
            let input = driver.input().partition;
            wrote.extend(parts[n].wrote.iter().map(|output| (input, *output)));
            punctuation.reached(input, driver.tip().watermark);
        }
        for (input, output) in wrote {
            punctuation.wrote(input, output, now);
        }
        // The bug: who has nothing more to say holds everybody.
        let idle = !planted(Bug::IdleHoldsWatermark);
        for part in parts.iter().filter(|p| p.at_end && idle) {
            punctuation.at_end(part.driver.input().partition, now);
        }
        let controls = punctuation.due(parts.iter().map(|p| p.driver.input().partition), now);
        drop(punctuation);
        commit.blocks.extend(self.controls(controls, now));
    }

    /// A commit that says something of time alone names the positions as they are: one without positions is not fenced.
    fn stay(&self, parts: &[Part], of: &[(usize, u64)], commit: &mut Commit) {
        if !of.is_empty() {
            return;
        }
        for part in parts {
            let (progress, next) = part.driver.committed();
            commit.positions.push(Position {
                group: self.operator.group().into(),
                input: log::Input::Topic(part.driver.input()),
                next,
                metadata: Bytes::from(progress.encode()),
            });
        }
    }

    fn controls(&self, controls: Controls, now: Micros) -> Vec<Block> {
        let punctuation = self.punctuation();
        let block = |(output, assertions)| {
            let mut block = BlockBuilder::new(ENRICHED.partition(output));
            block.push(b"", &punctuation.record(assertions, now).encode(), None);
            block.finish()
        };
        controls.into_iter().map(block).collect()
    }

    fn punctuation(&self) -> std::sync::MutexGuard<'_, Punctuation> {
        self.punctuation.lock().expect("no panic while held")
    }

    fn read_position(&self, part: &mut Part) -> Result<(), String> {
        let input = part.driver.input();
        let at = log::Input::Topic(input);
        let stored = self.log.committed(self.operator.group(), &at).map_err(|e| e.to_string())?;
        part.driver.handle(Input::Position(stored.map(|p| (p.next, p.metadata.to_vec()))));
        *self.status.partitions[input.partition as usize].progress.lock().expect("no panic while held") =
            part.driver.committed();
        Ok(())
    }

    /// Hands a driver what was read for it, and does what it says up to its commit.
    fn process(
        &self,
        n: usize,
        part: &mut Part,
        commit: &mut Commit,
        of: &mut Vec<(usize, u64)>,
    ) -> Result<(), String> {
        part.wrote.clear();
        let Some(Fetched { from, fetch }) = part.fetched.take() else { return Ok(()) };
        let input = part.driver.input();
        part.received.clear();
        if fetch.chunks.is_empty() {
            debug_assert!(fetch.next > from);
            part.driver.handle(Input::Gap { next: fetch.next });
        } else {
            if part.driver.phase() == Phase::Running {
                let records = fetch.chunks.iter().flat_map(Chunk::records).flatten();
                part.received.extend(records.filter_map(|(_, r)| r.header()).map(|h| h.received_time()));
            }
            part.driver.handle(Input::Records { chunks: fetch.chunks, at: self.clock.now() });
            if let Some(why) = part.driver.prefix().trouble() {
                return Err(format!("enrich stopped at {input}: {why}"));
            }
        }
        while part.driver.is_processing()
            && let Some(action) = part.driver.next_action()
        {
            match action {
                Action::Ask { asks, from } => {
                    if from == 0 {
                        part.pinned.renew(&self.sources);
                    }
                    let facts = part.pinned.answer(&asks, from);
                    drop(asks);
                    point("enrich.fetched");
                    part.driver.handle(Input::Facts(facts));
                }
                Action::Commit { seq, blocks, next, metadata, .. } => {
                    part.wrote.extend(blocks.iter().filter(|b| b.to.topic == ENRICHED).map(|b| b.to.partition));
                    commit.blocks.extend(blocks);
                    commit.positions.push(Position {
                        group: self.operator.group().into(),
                        input: log::Input::Topic(input),
                        next,
                        metadata: Bytes::from(metadata),
                    });
                    of.push((n, seq));
                }
                Action::Stop(why) => return Err(stopped(input, &why)),
                Action::Read { .. } | Action::ReadPosition => unreachable!("asked for when nothing is processed"),
            }
        }
        Ok(())
    }

    fn fetch(&self, input: TopicPartition, from: Offset) -> Result<log::Fetch, String> {
        match self.log.fetch(input, from, FETCH_BYTES) {
            Ok(fetch) => Ok(fetch),
            Err(e @ LogError::OutOfRange { .. }) => Err(format!("the committed position is outside the log: {e}")),
            Err(e) => Err(e.to_string()),
        }
    }

    /// Waits for a commit and tells every driver in it, by (place in `parts`, its number of the commit), how it ended.
    /// Answers whether there was no room for it.
    fn settle(&self, parts: &mut [Part], ticket: Ticket, of: &[(usize, u64)]) -> Result<bool, String> {
        let (settled, full) = self.status.wait(ticket, self.operator.group(), "enrich.committed")?;
        if settled != Settled::Committed {
            let mut punctuation = self.punctuation();
            for part in parts.iter() {
                let (committed, _) = part.driver.committed();
                punctuation.take_back(part.driver.input().partition, committed.watermark);
            }
        }
        let now = self.clock.now();
        for &(n, seq) in of {
            let part = &mut parts[n];
            part.driver.handle(Input::Settled { seq, settled });
            if settled != Settled::Committed {
                continue;
            }
            for received in part.received.drain(..) {
                self.status.latency.record(Duration::from_micros((now.0 - received.0).max(0) as u64));
            }
            let (progress, next) = part.driver.committed();
            let partition = part.driver.input().partition as usize;
            *self.status.partitions[partition].progress.lock().expect("no panic while held") = (progress, next);
            let horizon = part.driver.prefix().horizon();
            self.status.partitions[partition].horizon.store(horizon.end - horizon.start, Relaxed);
            self.status.partitions[partition].reach.store(part.driver.prefix().reach() as u64, Relaxed);
        }
        Ok(full)
    }

    /// When the first record at or above a position was received.
    fn received(&self, input: TopicPartition, offset: Offset) -> Option<Micros> {
        let fetch = self.log.fetch(input, offset, 1).ok()?;
        let records = fetch.chunks.iter().flat_map(Chunk::records).flatten();
        records.filter(|(at, _)| *at >= offset).find_map(|(_, r)| r.header()).map(|h| h.received_time())
    }

    fn open(&self, input: TopicPartition) -> Result<Part, String> {
        let (start, _) = self.log.bounds(input).map_err(|e| e.to_string())?;
        let at = log::Input::Topic(input);
        let stored = self.log.committed(self.operator.group(), &at).map_err(|e| e.to_string())?;
        let committed = stored.map_or(start, |p| p.next);
        let runs = Runs::open(&self.fs, &self.data, input.partition).map_err(|e| e.to_string())?;
        let mut dedup = Dedup::with_older(&self.dedup, Box::new(runs.shelf()));
        let received = |offset| self.received(input, offset);
        let from = runs.restore(&*self.fs, &mut dedup, committed, start, received).map_err(|e| e.to_string())?;
        if planted(Bug::DedupOffByOne) {
            // The bug: the rebuild reads one record too many, and takes it for one that was passed on.
            for chunk in self.fetch(input, committed)?.chunks.iter().take(1) {
                if let Some((offset, record)) = chunk.records().flatten().find(|(at, _)| *at >= committed)
                    && let Some(header) = record.header()
                {
                    dedup.plant_off_by_one(Pair { id: header.id_hash(), payload: header.payload_hash(), offset });
                }
            }
        }
        let driver = Driver::new(self.operator.clone(), input, dedup, from.min(committed), 1);
        Ok(Part {
            driver,
            runs,
            pinned: Pinned::default(),
            received: Vec::new(),
            fetched: None,
            at_end: false,
            wrote: Vec::new(),
        })
    }
}

fn stopped(input: TopicPartition, why: &drive::Stop) -> String {
    format!("enrich stopped at {input}: {why}")
}
