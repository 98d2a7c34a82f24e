//! A log that does to its callers what Kafka may: unknown outcomes (of commits that happened and of others that did not),
//! aborts, revocation in mid-commit, and offsets with gaps. Seeded, so that a failure can be had again.
//!
//! A correct caller cannot tell it from the log inside but by patience.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::record::{Chunk, records};
use event::{Offset, TopicId, TopicPartition};
use tokio::sync::watch;

use crate::contract::{
    Aborted, Assignment, Commit, Committed, Fetch, Generation, Input, Log, LogError, Membership, Outcome,
    StoredPosition, Ticket,
};

/// How often, in thousandths of all commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Answered Unknown, and it happened.
    pub unknown_done: u32,
    /// Answered Unknown, and it did not.
    pub unknown_dropped: u32,
    pub retriable: u32,
    /// Of commits with positions of topics: the generation ends before the commit is decided.
    pub revoked: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { unknown_done: 40, unknown_dropped: 40, retriable: 60, revoked: 40 }
    }
}

impl Faults {
    /// Only the gaps.
    pub const NONE: Faults = Faults { unknown_done: 0, unknown_dropped: 0, retriable: 0, revoked: 0 };
}

/// After every `RUN` records `HOLE` offsets are left out, as aborted transactions and control records do.
const RUN: Offset = 7;
const HOLE: Offset = 3;

/// The offset others see of record `i`.
fn offset_of(i: Offset) -> Offset {
    i / RUN * (RUN + HOLE) + i % RUN
}

/// The position others see after the first `n` records.
fn position_after(n: Offset) -> Offset {
    n.checked_sub(1).map_or(0, |last| offset_of(last) + 1)
}

/// How many records lie below a position others see.
fn records_below(position: Offset) -> Offset {
    position / (RUN + HOLE) * RUN + (position % (RUN + HOLE)).min(RUN)
}

/// Wraps a log. Open it anew by wrapping the inner log again, with any seed.
pub struct Injecting<L> {
    inner: L,
    faults: Faults,
    state: Arc<Mutex<State>>,
    settling: Mutex<()>,
}

struct State {
    random: u64,
    last_generation: u64,
    /// Generations others know -> those of the inner log. What is not here is over.
    generations: HashMap<u64, Generation>,
    /// Generations that ended here and not in the inner log; their members do not know yet.
    ended: Vec<u64>,
    /// Commits that were answered Unknown and are not decided yet.
    unsettled: Vec<Ticket>,
    /// Positions in a hole come back as they were committed.
    exact: HashMap<(Arc<str>, Input, Offset), Offset>,
    injected: Injected,
}

/// How many of each were injected: a test in which none was proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Injected {
    pub unknown_done: u64,
    pub unknown_dropped: u64,
    pub retriable: u64,
    pub revoked: u64,
}

impl State {
    /// splitmix64 (Steele, Lea, Flood 2014).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn new_generation(&mut self, inner: Generation) -> Generation {
        self.last_generation += 1;
        self.generations.insert(self.last_generation, inner);
        Generation(self.last_generation)
    }
}

enum Fate {
    Plain,
    UnknownDone,
    UnknownDropped,
    Retriable,
    Revoked(u64),
}

impl<L: Log> Injecting<L> {
    pub fn new(inner: L, faults: Faults, seed: u64) -> Injecting<L> {
        let state = State {
            random: seed,
            last_generation: 0,
            generations: HashMap::new(),
            ended: Vec::new(),
            unsettled: Vec::new(),
            exact: HashMap::new(),
            injected: Injected::default(),
        };
        Injecting { inner, faults, state: Arc::new(Mutex::new(state)), settling: Mutex::new(()) }
    }

    pub fn inner(&self) -> &L {
        &self.inner
    }

    pub fn injected(&self) -> Injected {
        self.state().injected
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    fn fate(&self, commit: &Commit) -> Fate {
        let of_topics = commit.positions.iter().any(|p| matches!(p.input, Input::Topic(_)));
        let mut state = self.state();
        let roll = (state.random() % 1000) as u32;
        let f = self.faults;
        let mut upto = f.unknown_done;
        if roll < upto {
            state.injected.unknown_done += 1;
            return Fate::UnknownDone;
        }
        upto += f.unknown_dropped;
        if roll < upto {
            state.injected.unknown_dropped += 1;
            return Fate::UnknownDropped;
        }
        upto += f.retriable;
        if roll < upto {
            state.injected.retriable += 1;
            return Fate::Retriable;
        }
        upto += f.revoked;
        match commit.generation {
            Some(Generation(g)) if roll < upto && of_topics && state.generations.contains_key(&g) => {
                state.injected.revoked += 1;
                Fate::Revoked(g)
            }
            _ => Fate::Plain,
        }
    }

    /// The commit as the inner log is to see it; `None` when its generation is over.
    fn translate(&self, mut commit: Commit) -> Option<Commit> {
        let mut state = self.state();
        let of_topics = commit.positions.iter().any(|p| matches!(p.input, Input::Topic(_)));
        if let Some(Generation(g)) = commit.generation {
            match state.generations.get(&g) {
                Some(inner) => commit.generation = Some(*inner),
                None if of_topics => return None,
                None => {}
            }
        }
        for p in commit.positions.iter_mut().filter(|p| matches!(p.input, Input::Topic(_))) {
            let inner = records_below(p.next);
            state.exact.insert((p.group.clone(), p.input.clone(), inner), p.next);
            p.next = inner;
        }
        Some(commit)
    }

    /// Waits until all that was answered Unknown is decided.
    fn settle(&self) {
        // IMPORTANT: one after another. Who finds nothing unsettled because another is waiting for it must wait too.
        let _turn = self.settling.lock().expect("settling");
        let mut open = std::mem::take(&mut self.state().unsettled);
        while let Some(mut ticket) = open.pop() {
            let mut seen = 0;
            while ticket.try_take().is_none() {
                seen = self.inner.wait(seen, Duration::from_millis(1));
            }
        }
    }
}

impl<L: Log> Log for Injecting<L> {
    fn partitions(&self, topic: TopicId) -> u32 {
        self.inner.partitions(topic)
    }

    fn submit(&self, commit: Commit) -> Ticket {
        let fate = self.fate(&commit);
        match fate {
            Fate::Retriable => return Ticket::ready(Outcome::Aborted(Aborted::Retriable)),
            Fate::UnknownDropped => return Ticket::ready(Outcome::Unknown),
            Fate::Revoked(g) => {
                let mut state = self.state();
                state.ended.push(g);
                state.generations.get(&g).copied().expect("checked with the fate");
                return Ticket::ready(Outcome::Aborted(Aborted::Fenced));
            }
            Fate::Plain | Fate::UnknownDone => {}
        }
        if commit.generation.is_some_and(|g| self.state().ended.contains(&g.0))
            && commit.positions.iter().any(|p| matches!(p.input, Input::Topic(_)))
        {
            return Ticket::ready(Outcome::Aborted(Aborted::Fenced));
        }
        let Some(commit) = self.translate(commit) else {
            return Ticket::ready(Outcome::Aborted(Aborted::Fenced));
        };
        let ticket = self.inner.submit(commit).map(|outcome| match outcome {
            Outcome::Committed(c) => {
                Outcome::Committed(Committed { bases: c.bases.into_iter().map(offset_of).collect() })
            }
            other => other,
        });
        if matches!(fate, Fate::UnknownDone) {
            self.state().unsettled.push(ticket);
            return Ticket::ready(Outcome::Unknown);
        }
        ticket
    }

    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        let (start, end) = self.bounds(from)?;
        if at < start || at > end {
            return Err(LogError::OutOfRange { partition: from, asked: at, start, end });
        }
        let inner = self.inner.fetch(from, records_below(at), max_bytes).map_err(|e| match e {
            LogError::OutOfRange { partition, asked: _, start, end } => {
                LogError::OutOfRange { partition, asked: at, start: position_after(start), end: position_after(end) }
            }
            other => other,
        })?;
        let chunks = inner.chunks.iter().flat_map(spread).collect();
        Ok(Fetch { chunks, next: position_after(inner.next).max(at), end: position_after(inner.end) })
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError> {
        let (start, end) = self.inner.bounds(partition)?;
        Ok((position_after(start), position_after(end)))
    }

    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError> {
        self.settle();
        let stored = self.inner.committed(group, input)?;
        Ok(stored.map(|mut stored| {
            if matches!(input, Input::Topic(_)) {
                let exact = self.state().exact.get(&(group.into(), input.clone(), stored.next)).copied();
                stored.next = exact.unwrap_or(position_after(stored.next));
            }
            stored
        }))
    }

    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership> {
        Box::new(Seat { inner: self.inner.join(group, topic), state: self.state.clone(), granted: None })
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.subscribe()
    }

    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        self.inner.wait(seen, timeout)
    }
}

struct Seat {
    inner: Box<dyn Membership>,
    state: Arc<Mutex<State>>,
    /// What this member was last told it has: partitions, the generation it knows and the inner one.
    granted: Option<(Vec<TopicPartition>, u64, Generation)>,
}

impl Membership for Seat {
    fn poll(&mut self) -> Vec<Assignment> {
        let mut state = self.state.lock().expect("no panic while it is held");
        let mut news = VecDeque::new();
        for assignment in self.inner.poll() {
            match assignment {
                Assignment::Granted { partitions, generation } => {
                    if let Some((_, g, _)) = &self.granted {
                        state.generations.remove(g);
                    }
                    let outer = state.new_generation(generation);
                    self.granted = Some((partitions.clone(), outer.0, generation));
                    news.push_back(Assignment::Granted { partitions, generation: outer });
                }
                Assignment::Revoked { partitions } => {
                    if let Some((_, g, _)) = self.granted.take() {
                        state.generations.remove(&g);
                    }
                    news.push_back(Assignment::Revoked { partitions });
                }
            }
        }
        if let Some((partitions, g, inner)) = self.granted.clone()
            && state.ended.contains(&g)
        {
            state.ended.retain(|e| *e != g);
            state.generations.remove(&g);
            let outer = state.new_generation(inner);
            self.granted = Some((partitions.clone(), outer.0, inner));
            news.push_back(Assignment::Revoked { partitions: partitions.clone() });
            news.push_back(Assignment::Granted { partitions, generation: outer });
        }
        news.into()
    }
}

/// A chunk as the chunks its records are in when there are holes.
fn spread(chunk: &Chunk) -> Vec<Chunk> {
    let mut out = Vec::new();
    let mut walk = records(&chunk.bytes);
    let mut i = chunk.base;
    while i < chunk.next() {
        let until = (i / RUN * RUN + RUN).min(chunk.next());
        let from = walk.position();
        let count = (i..until).take_while(|_| matches!(walk.next(), Some(Ok(_)))).count() as u32;
        out.push(Chunk { base: offset_of(i), count, bytes: chunk.bytes.slice(from..walk.position()) });
        i = until;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_way_there_and_back() {
        for n in 0..100 {
            assert_eq!(records_below(position_after(n)), n);
            assert_eq!(records_below(offset_of(n)), n);
            assert!(offset_of(n) < offset_of(n + 1));
        }
        assert_eq!((0..9).map(offset_of).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 10, 11]);
    }
}
