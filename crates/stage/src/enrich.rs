//! The enrich stage at work: reads `raw`, answers its asks, commits `enriched`, and says in the log what it knows of time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drive::{Action, Driver, Input, Phase, Planted, Settled};
use enrich::dedup::Pair;
use enrich::{Dedup, DedupConfig, Enrich};
use event::record::Chunk;
use event::topic::{ENRICHED, RAW};
use event::{Block, BlockBuilder, Micros, Offset, TopicPartition};
use flow::punctuation::Controls;
use flow::{Operator, Punctuation};
use log::{Commit, Generation, Log, LogError, Outcome, Position};
use seam::fault::{Bug, planted, point};
use seam::{Background, Clock, Fs};
use state::Store;

use crate::facts::Sources;
use crate::gap::Gap;
use crate::inquiry::{Inquiries, Mailbox};
use crate::lookahead::Lookahead;
use crate::runs::{Depot, Runs, Sealer};
use crate::status::{Committed, StageStatus};
use crate::turn::{Stage, Then, Turn};

/// Bytes of one partition's records in one batch. Above this a bigger batch saves nothing and holds memory.
const FETCH_BYTES: usize = 512 * 1024;

/// Everything the stage needs of the world around it.
pub struct EnrichParts {
    pub log: Arc<dyn Log>,
    pub operator: Arc<Enrich>,
    pub sources: Arc<Sources>,
    /// How long an event may wait for all that it asks for.
    pub budget: Duration,
    /// Is rung, on any thread, when an answer has come that was waited for.
    pub bell: Arc<dyn Fn() + Send + Sync>,
    pub clock: Arc<dyn Clock>,
    pub fs: Arc<dyn Fs>,
    pub data: std::path::PathBuf,
    /// What one partition may spend on telling duplicates.
    pub dedup: DedupConfig,
    /// What is said of time, by all of this process that share the stage's partitions.
    pub punctuation: Arc<Mutex<Punctuation>>,
    /// Where the links between users and visitors come from, if they are wanted.
    pub lookahead: Option<Arc<Lookahead>>,
    pub status: Arc<StageStatus>,
    /// Where workers that share the log leave for each other what tells duplicates.
    pub store: Option<Arc<dyn Store>>,
    pub background: Background,
}

/// The stage, for the partitions that it was granted.
pub struct EnrichStage {
    with: EnrichParts,
    sealer: Sealer,
    mailbox: Arc<Mailbox>,
    generation: Option<Generation>,
    /// By partition.
    parts: Vec<Part>,
    step: Step,
}

/// What the next turn does.
enum Step {
    Read,
    Process,
    /// Nothing, until the commit of these is settled: (partition, its driver's number of the commit).
    Settle(Vec<(u32, u64)>),
}

struct Part {
    driver: Driver<Enrich>,
    /// Since when it is taken over, and from which position on `raw` is read for that; `None`: it runs.
    taken_since: Option<(Duration, Offset)>,
    runs: Runs,
    inquiries: Inquiries,
    /// Times of receipt in the open batch, for the latency of its commit.
    received: Vec<Micros>,
    /// What was read and is not handed to the driver yet.
    fetched: Option<Fetched>,
    gap: Gap,
    /// There was nothing to read.
    at_end: bool,
    /// Partitions of `enriched` that the open batch wrote to.
    wrote: Vec<u32>,
}

struct Fetched {
    from: Offset,
    fetch: log::Fetch,
}

impl EnrichStage {
    /// # Errors
    /// A thread cannot be started.
    pub fn new(with: EnrichParts) -> std::io::Result<EnrichStage> {
        let sealer = Sealer::start(with.fs.clone(), with.background)?;
        let mailbox = Arc::new(Mailbox::new(with.bell.clone()));
        Ok(EnrichStage { with, sealer, mailbox, generation: None, parts: Vec::new(), step: Step::Read })
    }

    /// Reads what waits in every partition, before anything is processed: what the records of one say of time must not pass
    /// by those that wait in another. Says whether there is any.
    fn read_all(&mut self, reading: bool) -> Result<bool, String> {
        for part in &mut self.parts {
            self.with.read(part, &self.sealer, reading)?;
        }
        Ok(self.parts.iter().any(|p| p.fetched.is_some()))
    }

    /// Processes what was read and commits it, with what is to be said of time.
    fn process_all(&mut self) -> Result<Turn, String> {
        let with = &self.with;
        let now = with.clock.now();
        let mut commit = Commit { generation: self.generation, ..Commit::default() };
        let told = self.mailbox.take();
        for part in &mut self.parts {
            for (flight, answers) in part.inquiries.open(&told) {
                part.driver.handle(Input::Answers { flight, answers });
            }
        }
        let read = self.parts.iter().any(|p| p.fetched.is_some());
        let busy = read || !told.is_empty();
        if read {
            if let Some(lookahead) = &with.lookahead {
                lookahead.advance(&*with.log).map_err(|e| e.to_string())?;
            }
            let waiting = with.waiting(&self.parts);
            let controls = with.punctuation().wake(waiting.into_iter(), now);
            commit.blocks.extend(with.controls(controls, now));
        }
        let mut of = Vec::new();
        for part in &mut self.parts {
            with.process(part, &mut commit, &mut of)?;
        }
        with.punctuate(&self.parts, &of, now, &mut commit);
        if of.is_empty() && commit.blocks.is_empty() {
            self.step = Step::Read;
            let waits = self.parts.iter().any(|p| !p.driver.flights().is_empty());
            return Ok(match busy {
                true => Turn::Busy,
                false if waits => Turn::Waiting,
                false => Turn::Idle,
            });
        }
        with.stay(&self.parts, &of, &mut commit);
        point("enrich.applied");
        // One commit at a time: an abort does not abort what was submitted behind it.
        let ticket = with.log.submit(commit);
        point("enrich.submitted");
        self.step = Step::Settle(of);
        Ok(Turn::Submitted(ticket))
    }
}

impl Stage for EnrichStage {
    fn turn(&mut self, reading: bool) -> Result<Turn, String> {
        match self.step {
            Step::Read => {
                self.sealer.work();
                self.step = Step::Process;
                if self.read_all(reading)? { Ok(Turn::Busy) } else { self.process_all() }
            }
            Step::Process => self.process_all(),
            Step::Settle(_) => Err("a commit of enrich was not settled; this is a bug".to_owned()),
        }
    }

    fn settle(&mut self, outcome: Outcome) -> Result<Then, String> {
        let Step::Settle(of) = std::mem::replace(&mut self.step, Step::Read) else {
            return Err("no commit of enrich is to be settled; this is a bug".to_owned());
        };
        let with = &self.with;
        let (settled, then) = with.status.ended(&outcome, with.operator.group())?;
        if settled == Settled::Committed {
            point("enrich.committed");
        } else {
            // They are asked for again: what was answered meanwhile is in the caches.
            self.parts
                .iter_mut()
                .filter(|p| of.iter().any(|(at, _)| *at == p.partition()))
                .for_each(|p| p.inquiries.drop_all());
            let mut punctuation = with.punctuation();
            for part in self.parts.iter().filter(|p| p.knows_its_position()) {
                let (committed, _) = part.driver.committed();
                punctuation.take_back(part.partition(), committed.watermark);
            }
        }
        if settled == Settled::Unknown {
            // IMPORTANT: before anything else is committed, also by those who had nothing in it but their position as it was:
            // reading it is what settles the commit, which might happen after the next one otherwise.
            let idle = self.parts.iter().filter(|p| p.knows_its_position());
            for part in idle.filter(|p| of.iter().all(|(partition, _)| *partition != p.partition())) {
                with.read_again(part)?;
            }
        }
        let now = with.clock.now();
        for (partition, seq) in of {
            let Some(part) = self.parts.iter_mut().find(|p| p.partition() == partition) else { continue };
            part.driver.handle(Input::Settled { seq, settled });
            if settled != Settled::Committed {
                continue;
            }
            for received in part.received.drain(..) {
                with.status.latency.record(Duration::from_micros((now.0 - received.0).max(0) as u64));
            }
            with.status.show(partition, part.committed());
            let horizon = part.driver.prefix().horizon();
            with.status.show_horizon(partition, horizon.end - horizon.start, part.driver.prefix().reach() as u64);
        }
        Ok(then)
    }

    fn grant(&mut self, partitions: &[TopicPartition], generation: Generation) -> Result<(), String> {
        self.generation = Some(generation);
        for input in partitions {
            if self.parts.iter().all(|p| p.driver.input() != *input) {
                self.parts.push(self.with.open(*input, &self.mailbox).map_err(|e| format!("{input}: {e}"))?);
            }
        }
        self.parts.sort_unstable_by_key(Part::partition);
        Ok(())
    }

    fn revoke(&mut self, partitions: &[TopicPartition]) {
        self.leave(|p| partitions.contains(&p));
        self.parts.retain(|p| !partitions.contains(&p.driver.input()));
        let mut punctuation = self.with.punctuation();
        partitions.iter().for_each(|p| punctuation.release(p.partition));
    }

    fn finish(&mut self) {
        self.leave(|_| true);
    }
}

impl EnrichStage {
    /// Leaves to the next owner of these what it would have to read again.
    fn leave(&mut self, is_going: impl Fn(TopicPartition) -> bool) {
        for part in self.parts.iter_mut().filter(|p| is_going(p.driver.input())) {
            let (_, committed) = part.driver.committed();
            part.runs.leave(&self.sealer, part.driver.prefix(), committed);
        }
    }
}

impl Part {
    /// Not before its first turn after it was granted.
    fn knows_its_position(&self) -> bool {
        self.driver.phase() != Phase::Starting
    }

    fn partition(&self) -> u32 {
        self.driver.input().partition
    }

    fn committed(&self) -> Committed {
        let (progress, next) = self.driver.committed();
        Committed { progress, next, finished: self.driver.finished() }
    }
}

impl EnrichParts {
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
                    if part.driver.phase() == Phase::Running
                        && let Some((since, replayed)) = part.taken_since.take()
                    {
                        let took = self.clock.elapsed().saturating_sub(since);
                        let (input, read_again) = (part.driver.input(), committed.saturating_sub(replayed));
                        tracing::info!(target: "stage", %input, committed, read_again, ?took, "enriching goes on");
                    }
                    if !part.runs.keep_up(sealer, part.driver.prefix(), committed)? {
                        part.driver.read_nothing();
                        return Ok(());
                    }
                    let fetch = self.fetch(part.driver.input(), from)?;
                    let replaying = part.driver.phase() == Phase::Replaying;
                    if part.gap.is_nothing(&fetch, from, self.clock.elapsed(), replaying) {
                        part.driver.read_nothing();
                        part.at_end = fetch.next >= fetch.end;
                        return Ok(());
                    }
                    part.fetched = Some(Fetched { from, fetch });
                    return Ok(());
                }
                Action::Stop(why) => return Err(stopped(part.driver.input(), &why)),
                Action::Ask { .. } | Action::Commit { .. } => {
                    unreachable!("what can be done is done, and its commit settled, before more is read")
                }
            }
        }
        Ok(())
    }

    /// Partitions in which records wait: those that were read, and all others that have some now. (Those of other threads
    /// too: holding the watermark for them is right whoever says it.)
    fn waiting(&self, parts: &[Part]) -> Vec<u32> {
        let read = |p: u32| parts.iter().any(|part| part.partition() == p && part.fetched.is_some());
        let punctuation = self.punctuation();
        let waits = |p: u32, next| self.log.waits_above(RAW.partition(p), next);
        (0..)
            .zip(self.status.partitions())
            .filter(|(p, at)| read(*p) || punctuation.is_resting(*p) && waits(*p, at.next))
            .map(|(p, _)| p)
            .collect()
    }

    /// Notes what this commit says of time by itself, and adds what else is to be said.
    fn punctuate(&self, parts: &[Part], of: &[(u32, u64)], now: Micros, commit: &mut Commit) {
        let mut punctuation = self.punctuation();
        let mut wrote: Vec<(u32, u32)> = Vec::new();
        for part in parts.iter().filter(|p| of.iter().any(|(partition, _)| *partition == p.partition())) {
            wrote.extend(part.wrote.iter().map(|output| (part.partition(), *output)));
            punctuation.reached(part.partition(), part.driver.tip().watermark);
        }
        for (input, output) in wrote {
            punctuation.wrote(input, output, now);
        }
        // The bug: who has nothing more to say holds everybody.
        let idle = !planted(Bug::IdleHoldsWatermark);
        for part in parts.iter().filter(|p| p.at_end && p.driver.flights().is_empty() && idle) {
            punctuation.at_end(part.partition(), now);
        }
        let controls = punctuation.due(parts.iter().map(|p| p.partition()), now);
        drop(punctuation);
        commit.blocks.extend(self.controls(controls, now));
    }

    /// A commit that says something of time alone names the positions as they are: one without positions is not fenced.
    fn stay(&self, parts: &[Part], of: &[(u32, u64)], commit: &mut Commit) {
        if !of.is_empty() {
            return;
        }
        for part in parts.iter().filter(|p| p.knows_its_position()) {
            commit.positions.push(Position {
                group: self.operator.group().into(),
                input: log::Input::Topic(part.driver.input()),
                next: part.driver.committed().1,
                metadata: Bytes::from(part.driver.committed_metadata()),
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
        self.status.show(input.partition, part.committed());
        Ok(())
    }

    /// Reads the committed position of a partition that has no commit open: it must be what is known of it.
    fn read_again(&self, part: &Part) -> Result<(), String> {
        let input = part.driver.input();
        let at = log::Input::Topic(input);
        let stored = self.log.committed(self.operator.group(), &at).map_err(|e| e.to_string())?;
        let (_, known) = part.driver.committed();
        match stored {
            Some(stored) if stored.next != known => {
                Err(stopped(input, &drive::Stop::Overtaken { known, committed: stored.next }))
            }
            _ => Ok(()),
        }
    }

    /// Hands a driver what was read for it, and does what it says up to its commit.
    fn process(&self, part: &mut Part, commit: &mut Commit, of: &mut Vec<(u32, u64)>) -> Result<(), String> {
        part.wrote.clear();
        part.received.clear();
        if !part.knows_its_position() {
            return Ok(());
        }
        let input = part.driver.input();
        if let Some(Fetched { from, fetch }) = part.fetched.take() {
            if fetch.chunks.is_empty() {
                debug_assert!(fetch.next > from);
                part.driver.handle(Input::Gap { next: fetch.next });
            } else {
                part.driver.handle(Input::Records { chunks: fetch.chunks, at: self.clock.now() });
                if let Some(why) = part.driver.prefix().trouble() {
                    return Err(format!("enrich stopped at {input}: {why}"));
                }
            }
        }
        while part.driver.is_processing()
            && let Some(action) = part.driver.next_action()
        {
            match action {
                Action::Ask { flight, asks, from } => {
                    let facts = part.inquiries.ask(&self.sources, flight, &asks, from, &self.clock, self.budget);
                    drop(asks);
                    point("enrich.fetched");
                    part.driver.handle(Input::Facts { flight, facts });
                }
                Action::Commit { seq, blocks, next, metadata, received } => {
                    part.received = received;
                    part.wrote.extend(blocks.iter().filter(|b| b.to.topic == ENRICHED).map(|b| b.to.partition));
                    commit.blocks.extend(blocks);
                    commit.positions.push(Position {
                        group: self.operator.group().into(),
                        input: log::Input::Topic(input),
                        next,
                        metadata: Bytes::from(metadata),
                    });
                    of.push((input.partition, seq));
                }
                Action::Stop(why) => return Err(stopped(input, &why)),
                // What could be applied waits for earlier records with its key.
                Action::Read { .. } => {
                    part.driver.read_nothing();
                    break;
                }
                Action::ReadPosition => unreachable!("asked for before anything is read"),
            }
        }
        part.inquiries.forget_below(part.driver.flights().start);
        Ok(())
    }

    fn fetch(&self, input: TopicPartition, from: Offset) -> Result<log::Fetch, String> {
        match self.log.fetch(input, from, FETCH_BYTES) {
            Ok(fetch) => Ok(fetch),
            Err(e @ LogError::OutOfRange { .. }) => Err(format!("the committed position is outside the log: {e}")),
            Err(e) => Err(e.to_string()),
        }
    }

    /// When the first record at or above a position was received.
    fn received(&self, input: TopicPartition, offset: Offset) -> Option<Micros> {
        let fetch = self.log.fetch(input, offset, 1).ok()?;
        let records = fetch.chunks.iter().flat_map(Chunk::records).flatten();
        records.filter(|(at, _)| *at >= offset).find_map(|(_, r)| r.header()).map(|h| h.received_time())
    }

    fn open(&self, input: TopicPartition, mailbox: &Arc<Mailbox>) -> Result<Part, String> {
        let begun = self.clock.elapsed();
        let (start, _) = self.log.bounds(input).map_err(|e| e.to_string())?;
        let at = log::Input::Topic(input);
        let stored = self.log.committed(self.operator.group(), &at).map_err(|e| e.to_string())?;
        let depot = self
            .store
            .as_ref()
            .map(|store| Depot::new(store.clone(), self.clock.clone(), input.partition, self.background));
        let runs = Runs::open(&self.fs, &self.data, input.partition, depot).map_err(|e| e.to_string())?;
        let mut dedup = Dedup::with_older(&self.dedup, Box::new(runs.shelf()));
        runs.fetch(&*self.fs, &dedup, stored.as_ref().map(|p| p.next));
        let committed = stored.map_or(start, |p| p.next);
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
        self.log.read_ahead(input, from.min(committed));
        let mut driver = Driver::new(self.operator.clone(), input, dedup, from.min(committed), 1);
        let bugs = [(Bug::OrderIgnored, Planted::OrderIgnored), (Bug::FinishedForgotten, Planted::FinishedForgotten)];
        bugs.iter().filter(|(bug, _)| planted(*bug)).for_each(|(_, plant)| driver.plant(*plant));
        Ok(Part {
            driver,
            taken_since: Some((begun, from)),
            runs,
            inquiries: Inquiries::new(mailbox.clone()),
            received: Vec::new(),
            fetched: None,
            gap: Gap::default(),
            at_end: false,
            wrote: Vec::new(),
        })
    }
}

fn stopped(input: TopicPartition, why: &drive::Stop) -> String {
    format!("enrich stopped at {input}: {why}")
}
