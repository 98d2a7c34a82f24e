//! The log that everybody in the world sees. Behind it is a journal; in front of it commits wait to be decided, some are
//! aborted, some have an outcome that nobody is told, and partitions go from one member to another as a broker's group
//! coordinator has it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::{Offset, TopicId, TopicPartition};
use log::inject::{Faults, Injecting};
use log::{
    Aborted, Assignment, Commit, Fetch, Generation, Input, Journal, Log, LogError, Membership, Outcome, StoredPosition,
    Ticket,
};
use tokio::sync::{oneshot, watch};

/// Whose log it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// In the process itself: one owner, and what it is told is so.
    Embedded,
    /// A broker's: gaps, unknown outcomes, groups.
    Kafka,
}

/// How a commit is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Plain,
    /// Nobody is told, and it happens, perhaps later.
    UnknownDone,
    /// Nobody is told, and it never happens.
    UnknownDropped,
    Retriable,
}

/// Shared by all that see the log.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    shape: Shape,
    log: Arc<dyn Log>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In the order they were handed in.
    pending: VecDeque<Pending>,
    /// Answered Unknown, and still to happen.
    unsettled: VecDeque<Pending>,
    groups: BTreeMap<(Arc<str>, TopicId), Group>,
    last_generation: u64,
    last_member: u64,
    /// What members have not polled yet.
    news: BTreeMap<u64, VecDeque<Assignment>>,
}

struct Pending {
    commit: Commit,
    /// Taken when it was answered.
    answer: Option<oneshot::Sender<Outcome>>,
}

#[derive(Default)]
struct Group {
    generation: u64,
    /// In the order they joined, with what they have.
    members: BTreeMap<u64, Vec<TopicPartition>>,
}

impl Broker {
    pub fn new(journal: Arc<Journal>, shape: Shape, seed: u64) -> Broker {
        let log: Arc<dyn Log> = match shape {
            Shape::Embedded => journal,
            Shape::Kafka => Arc::new(Injecting::new(journal, Faults::NONE, seed)),
        };
        Broker(Arc::new(Inner { shape, log, state: Mutex::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The member that joined last.
    pub fn last_member(&self) -> u64 {
        self.state().last_member
    }

    /// Commits that wait to be decided.
    pub fn pending(&self) -> usize {
        self.state().pending.len()
    }

    /// Decides the oldest commit that waits; says how, for the story. `None`: none waits, or nobody waits for it any more.
    pub fn decide(&self, fate: Fate) -> Option<(&'static str, String)> {
        let mut pending = self.state().pending.pop_front()?;
        let what = describe(&pending.commit);
        let answer = pending.answer.take().expect("not answered yet");
        if self.is_fenced(&pending.commit) {
            let _ = answer.send(Outcome::Aborted(Aborted::Fenced));
            return Some(("fenced", what));
        }
        let how = match fate {
            Fate::Plain => {
                let outcome = self.happen(pending.commit);
                let how = match &outcome {
                    Outcome::Committed(_) => "committed",
                    Outcome::Aborted(Aborted::Full(_)) => "no room",
                    Outcome::Aborted(_) => "refused",
                    Outcome::Unknown => "lost",
                };
                let _ = answer.send(outcome);
                how
            }
            Fate::Retriable => {
                let _ = answer.send(Outcome::Aborted(Aborted::Retriable));
                "aborted"
            }
            Fate::UnknownDropped => {
                let _ = answer.send(Outcome::Unknown);
                "unknown, and it did not happen"
            }
            Fate::UnknownDone => {
                self.state().unsettled.push_back(pending);
                let _ = answer.send(Outcome::Unknown);
                "unknown, and it happens"
            }
        };
        Some((how, what))
    }

    /// What was answered Unknown, and is to happen, happens.
    pub fn settle(&self) {
        loop {
            let Some(pending) = self.state().unsettled.pop_front() else { return };
            // Decided when it was fenced or not: what the broker took it carries out.
            self.happen(pending.commit);
        }
    }

    fn happen(&self, mut commit: Commit) -> Outcome {
        if self.0.shape == Shape::Kafka {
            // The inner log has no members: who may commit was looked at here.
            commit.generation = None;
        }
        self.0.log.submit(commit).wait()
    }

    fn is_fenced(&self, commit: &Commit) -> bool {
        if self.0.shape == Shape::Embedded {
            return false;
        }
        let state = self.state();
        commit.positions.iter().any(|p| {
            let Input::Topic(tp) = p.input else { return false };
            match (state.groups.get(&(p.group.clone(), tp.topic)), commit.generation) {
                (Some(group), Some(Generation(n))) => {
                    group.generation != n || !group.members.values().any(|m| m.contains(&tp))
                }
                (Some(group), None) => !group.members.is_empty(),
                (None, generation) => generation.is_some(),
            }
        })
    }

    /// The coordinator heard nothing of a member for too long: its partitions go to others, and it learns of it when it
    /// asks.
    pub fn expel(&self, member: u64) {
        let mut state = self.state();
        let keys: Vec<_> = state.groups.keys().cloned().collect();
        for key in keys {
            let group = state.groups.get_mut(&key).expect("it is there");
            if let Some(partitions) = group.members.remove(&member) {
                if let Some(news) = state.news.get_mut(&member) {
                    news.push_back(Assignment::Revoked { partitions });
                }
                self.rebalance(&mut state, &key);
            }
        }
    }

    /// A member that was expelled is back.
    pub fn readmit(&self, member: u64, group: &str, topic: TopicId) {
        let mut state = self.state();
        let key = (Arc::from(group), topic);
        let members = &mut state.groups.entry(key.clone()).or_default().members;
        if let Entry::Vacant(seat) = members.entry(member) {
            seat.insert(Vec::new());
            self.rebalance(&mut state, &key);
        }
    }

    /// Gives every member its share. What a member keeps it keeps, under the new generation.
    fn rebalance(&self, state: &mut State, key: &(Arc<str>, TopicId)) {
        state.last_generation += 1;
        let generation = state.last_generation;
        let partitions = self.0.log.partitions(key.1);
        let group = state.groups.get_mut(key).expect("it is there");
        group.generation = generation;
        let count = group.members.len() as u32;
        let mut shares: Vec<BTreeSet<TopicPartition>> = vec![BTreeSet::new(); count as usize];
        (0..partitions).for_each(|p| {
            if count > 0 {
                shares[(p % count) as usize].insert(key.1.partition(p));
            }
        });
        for ((member, had), share) in group.members.iter_mut().zip(shares) {
            let Some(news) = state.news.get_mut(member) else { continue };
            let lost: Vec<_> = had.iter().copied().filter(|tp| !share.contains(tp)).collect();
            if !lost.is_empty() {
                news.push_back(Assignment::Revoked { partitions: lost });
            }
            *had = share.into_iter().collect();
            news.push_back(Assignment::Granted { partitions: had.clone(), generation: Generation(generation) });
        }
    }
}

/// `enrich raw/1 to 344, raw/2 to 7`, or `raw/0 +3`.
fn describe(commit: &Commit) -> String {
    let mut out = String::new();
    for p in &commit.positions {
        let Input::Topic(tp) = &p.input else { continue };
        let _ = write!(out, "{} {tp} to {}, ", p.group, p.next);
    }
    for block in &commit.blocks {
        let _ = write!(out, "{} +{}, ", block.to, block.count);
    }
    out.truncate(out.len().saturating_sub(2));
    out
}

impl Log for Broker {
    fn partitions(&self, topic: TopicId) -> u32 {
        self.0.log.partitions(topic)
    }

    fn submit(&self, commit: Commit) -> Ticket {
        let (answer, ticket) = Ticket::new();
        self.state().pending.push_back(Pending { commit, answer: Some(answer) });
        ticket
    }

    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        self.0.log.fetch(from, at, max_bytes)
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.0.log.bounds(partition)
    }

    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError> {
        self.settle();
        self.0.log.committed(group, input)
    }

    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership> {
        if self.0.shape == Shape::Embedded {
            return self.0.log.join(group, topic);
        }
        let mut state = self.state();
        state.last_member += 1;
        let member = state.last_member;
        state.news.insert(member, VecDeque::new());
        drop(state);
        self.readmit(member, group, topic);
        Box::new(Seat { broker: self.clone(), member })
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.log.subscribe()
    }

    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        self.0.log.wait(seen, timeout)
    }
}

/// A member's place in a group.
pub struct Seat {
    broker: Broker,
    pub member: u64,
}

impl Membership for Seat {
    fn poll(&mut self) -> Vec<Assignment> {
        self.broker.state().news.get_mut(&self.member).map(std::mem::take).unwrap_or_default().into()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.broker.state().news.remove(&self.member);
        self.broker.expel(self.member);
    }
}
