//! A member of a group: what it may work on, and the thread that keeps it a member.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event::{TopicId, TopicPartition};
use log::{Assignment, Commit, Generation, Input, Membership};
use rdkafka::bindings as rd;

use crate::kafka::Shared;
use crate::native::{Client, Events, GroupMetadata, Handle, Kind, List, words};
use crate::transactor::{Owner, Transactor};

const POLL: Duration = Duration::from_millis(50);
/// How long whoever works on what is given away has to let it go, and to leave the next owner what it can.
const LET_GO: Duration = Duration::from_millis(500);
/// A client joins its group once in a second at most (librdkafka 2.12: `rkcg_join_intvl`), and partitions that move are nobody's
/// until those who gave them away have joined once more. They are kept, and worked on, for as long.
const KEEP: Duration = Duration::from_millis(1000);

/// What a member has, shared between its thread, the one that commits and whoever asks.
pub(crate) struct Seat {
    state: Mutex<State>,
    /// No commit is being made.
    free: Condvar,
    /// Of the consumer, once there is one.
    client: Mutex<Option<Arc<Client>>>,
    /// How long a commit may keep a partition that is to be given away.
    patience: Duration,
}

#[derive(Default)]
struct State {
    owned: BTreeSet<TopicPartition>,
    news: VecDeque<Assignment>,
    /// Granted by the group, and not yet ready to be worked on.
    coming: Vec<TopicPartition>,
    /// Of what a commit is being made; `None`: none is.
    committing: Option<BTreeSet<TopicPartition>>,
    /// Something that is being committed was given away meanwhile.
    overtaken: bool,
    /// Something was given away, and whoever works on it does not say yet that it has let it go.
    unheard: bool,
    /// What the group called this member when it gave it what it has.
    called: String,
    /// The group let this member in anew, which never gave up what it had before: see [`Seat::heard`].
    is_forgotten: bool,
    rebalances: u64,
}

/// A commit is being made until this is dropped.
pub(crate) struct Busy<'a>(&'a Seat);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.lock().committing = None;
        self.0.free.notify_all();
    }
}

impl Seat {
    pub fn new(patience: Duration) -> Arc<Seat> {
        Arc::new(Seat { state: Mutex::default(), free: Condvar::new(), client: Mutex::new(None), patience })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: some position is of a partition that this member has not.
    pub fn begin(&self, commit: &Commit) -> Option<Busy<'_>> {
        let mut state = self.lock();
        let topic = |input: &Input| match input {
            Input::Topic(at) => Some(*at),
            Input::External(_) => None,
        };
        let partitions: BTreeSet<_> = commit.positions.iter().filter_map(|p| topic(&p.input)).collect();
        partitions.is_subset(&state.owned).then(|| {
            state.committing = Some(partitions);
            state.overtaken = false;
            Busy(self)
        })
    }

    /// Under whose name the commit that is being made is sent. `None`: a partition of it was given away since it began, or the
    /// group knows this member no longer as the one that had it; what is in it was decided by an owner of before.
    pub fn group_metadata(&self) -> Option<GroupMetadata> {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // IMPORTANT: in this order. The generation after a partition was given away takes nothing of that partition from us, but
        // the broker knows only the member, not what it owns.
        let metadata = client.as_ref().expect("a member commits, so it has joined").group_metadata();
        let state = self.lock();
        (state.called == metadata.member() && !state.overtaken).then_some(metadata)
    }

    /// The group gives or takes, and calls this member so. `false`: it is not to be followed, and this client is of no use any more.
    ///
    /// IMPORTANT: a static member whose session ends while it joins is let in as another one, and its client claims what it had
    /// before, which others have meanwhile; who divides the partitions believes it. (librdkafka 2.12:
    /// `rd_kafka_cgrp_handle_JoinGroup`.) Nothing is committed under the new name, and the client is given up: the next one claims
    /// nothing, and is given nothing before the others have let it go.
    fn heard(&self, called: &str) -> bool {
        let mut state = self.lock();
        if state.owned.is_empty() && state.coming.is_empty() {
            state.called = called.to_owned();
        }
        state.is_forgotten |= state.called != called;
        !state.is_forgotten
    }

    fn is_forgotten(&self) -> bool {
        self.lock().is_forgotten
    }

    /// The bug: positions that are no part of any transaction.
    pub fn commit_apart(&self, list: &List) {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = client.as_ref() {
            // SAFETY: a live consumer and list.
            unsafe { rd::rd_kafka_commit(client.rk(), list.raw(), 0) };
        }
    }

    /// Takes partitions away, when no commit is being made or it takes too long.
    fn give_up(&self, partitions: &[TopicPartition], wait: bool) {
        let begun = Instant::now();
        let mut state = self.lock();
        state.owned.retain(|at| !partitions.contains(at));
        state.coming.retain(|at| !partitions.contains(at));
        let is_committed = |state: &State| {
            state.committing.as_ref().is_some_and(|those| partitions.iter().any(|at| those.contains(at)))
        };
        while wait && is_committed(&state) && begun.elapsed() < self.patience {
            state = self.free.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        tracing::info!(target: "kafka", partitions = ?numbers(partitions), waited = ?begun.elapsed(), "given away");
        state.overtaken |= is_committed(&state);
        state.rebalances += 1;
        state.news.push_back(Assignment::Revoked { partitions: partitions.to_vec() });
        state.unheard = true;
        let begun = Instant::now();
        while wait && state.unheard && begun.elapsed() < LET_GO {
            state = self.free.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// A place in a group. Dropping it leaves.
pub(crate) struct Member {
    seat: Arc<Seat>,
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    generations: Arc<Mutex<Vec<u64>>>,
    name: (String, u32),
}

impl Membership for Member {
    fn poll(&mut self) -> Vec<Assignment> {
        self.seat.lock().news.drain(..).collect()
    }

    fn handled(&mut self) {
        let mut state = self.seat.lock();
        // More may have come since.
        state.unheard = state.news.iter().any(|news| matches!(news, Assignment::Revoked { .. }));
        drop(state);
        self.seat.free.notify_all();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.shared.leave(&self.generations.lock().unwrap_or_else(PoisonError::into_inner), &self.name);
    }
}

impl Member {
    pub fn join(shared: &Arc<Shared>, group: &str, topic: TopicId) -> std::io::Result<Member> {
        let n = shared.seat_number(group);
        let id = shared.config.member(group, n);
        let seat = Seat::new(shared.config.transaction_timeout);
        let transactor = Transactor::start(shared, id.clone(), Owner::Member(seat.clone()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let generations = Arc::new(Mutex::new(Vec::new()));
        let mut thread = Thread {
            shared: Arc::downgrade(shared),
            seat: seat.clone(),
            stop: stop.clone(),
            generations: generations.clone(),
            transactor: Arc::new(transactor),
            id,
            group: group.to_owned(),
            topic,
        };
        let thread = std::thread::Builder::new().name("kafka-member".to_owned()).spawn(move || thread.run())?;
        let name = (group.to_owned(), n);
        Ok(Member { seat, shared: shared.clone(), stop, thread: Some(thread), generations, name })
    }
}

struct Thread {
    shared: Weak<Shared>,
    seat: Arc<Seat>,
    stop: Arc<AtomicBool>,
    generations: Arc<Mutex<Vec<u64>>>,
    transactor: Arc<Transactor>,
    id: String,
    group: String,
    topic: TopicId,
}

impl Thread {
    fn run(&mut self) {
        while !self.stop.load(Relaxed) {
            let Some(shared) = self.shared.upgrade() else { return };
            match self.consumer(&shared) {
                Ok(client) => self.be_a_member(&shared, &client),
                Err(why) => {
                    shared.waits(&self.id, Some(format!("{} cannot join its group: {why}", self.id)));
                    std::thread::sleep(POLL);
                }
            }
        }
    }

    fn consumer(&self, shared: &Shared) -> Result<Arc<Client>, String> {
        let config = &shared.config;
        let mut client = config.consumer(&self.id, &self.group);
        if config.static_members {
            client.set("group.instance.id", &self.id);
        }
        let session = config.session_timeout.as_millis();
        client.set("partition.assignment.strategy", "cooperative-sticky");
        client.set("session.timeout.ms", session.to_string());
        // Members learn of a balancing by the answer to one: partitions that move stand still for two of them.
        client.set("heartbeat.interval.ms", (session / 30).clamp(100, 1000).to_string());
        let (seat, stop) = (self.seat.clone(), self.stop.clone());
        let events = Rebalances { seat, stop, topic: self.topic, name: config.topic(self.topic) };
        let client = Arc::new(Client::new(&client, Kind::Consumer, events)?);
        client.subscribe(&config.topic(self.topic)).map_err(words)?;
        *self.seat.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    /// Returns when it is to leave, or cannot stay.
    fn be_a_member(&self, shared: &Arc<Shared>, client: &Client) {
        let mut seen = 0;
        while !self.stop.load(Relaxed) {
            client.serve(POLL);
            client.wake();
            if self.seat.is_forgotten() {
                tracing::warn!(target: "kafka", member = self.id, "its group had forgotten it: it begins anew");
                self.give_all_up(shared);
                break;
            }
            let (coming, rebalances) = {
                let mut state = self.seat.lock();
                (std::mem::take(&mut state.coming), state.rebalances)
            };
            if !coming.is_empty() {
                self.take_over(shared, coming);
            }
            if rebalances != seen {
                seen = rebalances;
                shared.rebalanced(&self.group, rebalances);
            }
            if let Some((_, why)) = client.fatal() {
                let why =
                    format!("{} was put out of its group: {why}; is there another process with this slot?", self.id);
                tracing::error!(target: "kafka", "{why}");
                shared.waits(&self.id, Some(why));
                self.give_all_up(shared);
                std::thread::sleep(Duration::from_secs(1));
                break;
            }
        }
        // What is being committed is finished first: the callback waits for it.
        client.close();
        self.seat.lock().is_forgotten = false;
    }

    fn give_all_up(&self, shared: &Shared) {
        let all: Vec<_> = {
            let state = self.seat.lock();
            state.owned.iter().chain(&state.coming).copied().collect()
        };
        self.seat.give_up(&all, false);
        shared.changed();
    }

    /// Before these are worked on, what their owner before left open is ended.
    fn take_over(&self, shared: &Arc<Shared>, coming: Vec<TopicPartition>) {
        let begun = Instant::now();
        shared.end_orphans(&self.group, &coming, &self.id, || self.stop.load(Relaxed));
        let generation = shared.new_generation(&self.transactor);
        self.generations.lock().unwrap_or_else(PoisonError::into_inner).push(generation);
        let mut state = self.seat.lock();
        state.owned.extend(&coming);
        state.rebalances += 1;
        tracing::info!(target: "kafka", member = self.id, partitions = ?numbers(&coming), took = ?begun.elapsed(), "granted");
        state.news.push_back(Assignment::Granted { partitions: coming, generation: Generation(generation) });
        drop(state);
        shared.waits(&self.id, None);
        shared.changed();
    }
}

fn numbers(partitions: &[TopicPartition]) -> Vec<u32> {
    partitions.iter().map(|at| at.partition).collect()
}

struct Rebalances {
    seat: Arc<Seat>,
    stop: Arc<AtomicBool>,
    topic: TopicId,
    name: String,
}

impl Events for Rebalances {
    fn rebalanced(&self, client: Handle, assigned: bool, partitions: &List) {
        let of = |(topic, p): (&str, i32)| (topic == self.name && p >= 0).then(|| self.topic.partition(p as u32));
        let ours: Vec<_> = partitions.iter().filter_map(of).collect();
        // A client that knows that it lost all claims nothing.
        let is_lost = !assigned && client.assignment_lost();
        if !is_lost && !self.seat.heard(client.group_metadata().member()) {
            let done = if assigned { client.assign_more(partitions) } else { client.assign_less(partitions) };
            if let Err(why) = done {
                tracing::debug!(target: "kafka", "what a member that begins anew is given or loses: {why}");
            }
            return;
        }
        if assigned {
            // Records are read by others: nothing is to be fetched here.
            let mut list = List::new();
            ours.iter().for_each(|at| {
                list.add(&self.name, at.partition as i32, rd::RD_KAFKA_OFFSET_END.into());
            });
            if let Err(why) = client.assign_more(&list) {
                tracing::warn!(target: "kafka", "an assignment failed: {why}");
            }
            client.pause(&list);
            self.seat.lock().coming.extend(ours);
        } else {
            if !ours.is_empty() {
                let begun = Instant::now();
                while begun.elapsed() < KEEP && !client.assignment_lost() && !self.stop.load(Relaxed) {
                    std::thread::sleep(POLL);
                }
                // Nobody listens any more to what a member that is to stop is told.
                self.seat.give_up(&ours, !client.assignment_lost() && !self.stop.load(Relaxed));
            }
            if let Err(why) = client.assign_less(partitions) {
                tracing::info!(target: "kafka", "partitions could not be given back: {why}");
            }
        }
    }
}
