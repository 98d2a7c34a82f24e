//! A thread that makes commits into transactions, one after another, under one transactional id.
//!
//! After an outcome that is not known the producer is given up, and the next one's start under the same id ends what was open:
//! only then is the answer given, so that the position that is read next is the truth.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event::Block;
use log::{Aborted, Commit, Committed, Input, Outcome, Ticket};
use rdkafka::types::RDKafkaRespErr as Code;
use seam::fault::{Bug, planted};
use tokio::sync::oneshot;

use crate::delivery::Pending;
use crate::kafka::Shared;
use crate::membership::Seat;
use crate::native::{self, Failure, GroupMetadata, List};
use crate::position;
use crate::producer::{Producer, Refused};

/// Between two looks at whether the log was closed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After this long without an outcome it is a reason not to be ready.
const LONG: Duration = Duration::from_secs(2);
/// How long after a commit the next transaction is begun: the broker is still ending the one before, and the client would wait
/// for 20 ms before it tried again. (Measured: docs/benchmarks.md.)
const AFTER_COMMIT: Duration = Duration::from_millis(3);
/// A call of a second that has not returned after this never will.
const STUCK: Duration = Duration::from_millis(2500);
/// Before a member whose group is being balanced commits again.
const BALANCING: Duration = Duration::from_millis(20);

pub(crate) struct Transactor {
    tasks: Sender<Task>,
    thread: Option<JoinHandle<()>>,
}

struct Task {
    commit: Commit,
    answer: oneshot::Sender<Outcome>,
}

/// Under whose name positions are committed.
pub(crate) enum Owner {
    /// A member of a group, which owns what it reads.
    Member(Arc<Seat>),
    /// A consumer that reads by its own membership.
    Consumer(Arc<native::Client>),
    /// A tool: taken while the group has no members.
    Tool,
    /// A source that is no topic, which nobody else reads.
    Source,
}

impl Transactor {
    pub fn start(shared: &Arc<Shared>, id: String, owner: Owner) -> std::io::Result<Transactor> {
        let (tasks, queue) = channel();
        let shared = Arc::downgrade(shared);
        let thread = std::thread::Builder::new().name("kafka-commit".to_owned()).spawn(move || {
            let mut worker = Worker { shared, owner, maker: Maker::new(id) };
            worker.run(&queue);
        })?;
        Ok(Transactor { tasks, thread: Some(thread) })
    }

    pub fn submit(&self, commit: Commit) -> Ticket {
        let (answer, ticket) = Ticket::new();
        if let Err(unsent) = self.tasks.send(Task { commit, answer }) {
            let _ = unsent.0.answer.send(Outcome::Aborted(Aborted::Closed));
        }
        ticket
    }
}

impl Drop for Transactor {
    fn drop(&mut self) {
        self.tasks = channel().0;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    shared: Weak<Shared>,
    owner: Owner,
    maker: Maker,
}

/// How a transaction ended that did not go well.
enum End {
    /// It was aborted, and the producer goes on.
    Aborted(Aborted),
    /// It never came to its commit, and the producer is of no use any more: the next one aborts it.
    Broken(Aborted),
    Unknown,
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Task>) {
        if let (Owner::Member(_), Some(shared)) = (&self.owner, self.shared.upgrade()) {
            self.maker.prepare(&shared);
        }
        while let Ok(task) = queue.recv() {
            let Some(shared) = self.shared.upgrade() else { return };
            let outcome = self.decide(&shared, &task.commit);
            if let Outcome::Committed(_) = &outcome {
                shared.changed();
            }
            let _ = task.answer.send(outcome);
        }
    }

    fn decide(&mut self, shared: &Shared, commit: &Commit) -> Outcome {
        if let Err(what) = shared.valid(commit) {
            return Outcome::Aborted(Aborted::Invalid(what));
        }
        // From here on to the end the group's coordinator waits for us before it gives a partition away.
        let busy = match &self.owner {
            Owner::Member(seat) => match seat.begin(commit) {
                Some(busy) => Some(busy),
                None => return Outcome::Aborted(Aborted::Fenced),
            },
            Owner::Consumer(_) | Owner::Tool | Owner::Source => None,
        };
        let outcome = self.maker.make(shared, &self.owner, &commit.blocks, &positions(shared, &self.maker.id, commit));
        drop(busy);
        outcome
    }
}

/// Makes transactions under one id, one after another.
pub(crate) struct Maker {
    pub id: String,
    producer: Option<Arc<Producer>>,
    lane: Lane,
    /// When the transaction before ended.
    ended: Option<Instant>,
}

impl Maker {
    pub fn new(id: String) -> Maker {
        Maker { id, producer: None, lane: Lane::default(), ended: None }
    }

    /// Blocks and positions, by the name of their group in the cluster, in one transaction.
    pub fn make(
        &mut self,
        shared: &Shared,
        owner: &Owner,
        blocks: &[Block],
        positions: &BTreeMap<String, List>,
    ) -> Outcome {
        if let Err(why) = Self::ready(&mut self.producer, &self.id, shared) {
            return Outcome::Aborted(why);
        }
        // The broker takes a transaction's positions from who says that it is nobody, members or not.
        if matches!(owner, Owner::Tool) && positions.keys().any(|group| shared.has_members(group)) {
            return Outcome::Aborted(Aborted::Fenced);
        }
        if let Some(ended) = self.ended {
            std::thread::sleep(AFTER_COMMIT.saturating_sub(ended.elapsed()));
        }
        let producer = self.producer.as_ref().expect("made just now");
        let begun = Instant::now();
        let result = transaction(shared, producer, &mut self.lane, &self.id, owner, blocks, positions);
        self.ended = Some(Instant::now());
        match result {
            Ok(committed) => {
                shared.committed.record(begun.elapsed());
                Outcome::Committed(committed)
            }
            Err(End::Aborted(why)) => Outcome::Aborted(why),
            Err(end) => {
                self.producer = None;
                // IMPORTANT: before the answer. The start of a producer under the same id decides what is open; until then nobody
                // reads on behind it.
                if !planted(Bug::ProducerReused) {
                    let _ = Self::ready(&mut self.producer, &self.id, shared);
                }
                match end {
                    End::Aborted(why) | End::Broken(why) => Outcome::Aborted(why),
                    End::Unknown => {
                        shared.unknown.fetch_add(1, Relaxed);
                        Outcome::Unknown
                    }
                }
            }
        }
    }

    /// The first commit of a member is to wait for nothing that can be done before. What fails here is told of then.
    fn prepare(&mut self, shared: &Shared) {
        let new = Producer::new(&shared.config, &shared.config.transactional(&self.id)).ok();
        self.producer = new.filter(|new| new.client.init(LOOK_EVERY).is_ok()).map(Arc::new);
    }

    /// A producer that has ended whatever was open under its id.
    fn ready(producer: &mut Option<Arc<Producer>>, id: &str, shared: &Shared) -> Result<(), Aborted> {
        if producer.is_some() {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            let new = Producer::new(&shared.config, &shared.config.transactional(id)).map_err(Aborted::Invalid)?;
            loop {
                if shared.is_closed() {
                    return Err(Aborted::Closed);
                }
                let why = match new.client.init(LOOK_EVERY) {
                    Ok(()) => {
                        shared.waits(id, None);
                        *producer = Some(Arc::new(new));
                        return Ok(());
                    }
                    Err(why) => why,
                };
                if shared.out_of_patience(begun) {
                    return Err(Aborted::Invalid(format!("no transaction can be begun as {id}: {why}")));
                }
                if begun.elapsed() > LONG {
                    shared.waits(id, Some(format!("no transaction can be begun as {id}: {why}")));
                }
                if why.fatal || !why.retriable {
                    std::thread::sleep(Duration::from_millis(200));
                    break;
                }
            }
        }
    }
}

/// All of a commit, in one transaction.
fn transaction(
    shared: &Shared,
    producer: &Arc<Producer>,
    lane: &mut Lane,
    id: &str,
    owner: &Owner,
    blocks: &[Block],
    positions: &BTreeMap<String, List>,
) -> Result<Committed, End> {
    let client = &producer.client;
    let pending = Pending::new(blocks.len(), None, |_| Outcome::Unknown);
    let result = client.begin().and_then(|()| {
        match producer.send(blocks, &pending, true) {
            Ok(()) => {}
            Err(Refused::Invalid(what)) => return Ok(Some(Aborted::Invalid(what))),
            Err(Refused::Full) => unreachable!("it waits for room"),
            Err(Refused::Failed(code)) => {
                tracing::debug!(target: "kafka", id, "a record was refused: {}", native::words(code));
                return Ok(Some(Aborted::Retriable));
            }
        }
        for (group, list) in positions {
            let who = match owner {
                Owner::Member(seat) => match seat.group_metadata() {
                    Some(who) => who,
                    None => return Ok(Some(Aborted::Fenced)),
                },
                Owner::Consumer(client) => client.group_metadata(),
                Owner::Tool | Owner::Source => GroupMetadata::of_nobody(group),
            };
            if matches!(owner, Owner::Member(_) | Owner::Consumer(_)) && !who.is_of_a_member() {
                std::thread::sleep(BALANCING);
                return Ok(Some(Aborted::Retriable));
            }
            if planted(Bug::PositionsOutside)
                && let Owner::Member(seat) = owner
            {
                seat.commit_apart(list);
                continue;
            }
            let who = Arc::new(who);
            until_answered(shared, id, || lane.offsets(producer, list, &who))?;
        }
        // A commit with records on their way would wait for 100 ms.
        let begun = Instant::now();
        while client.in_flight() > 0 && pending.failed().is_none() {
            client.poll(Duration::from_millis(10));
            if begun.elapsed() > LONG {
                shared.waits(id, Some(format!("records of {id} are not taken since {} s", begun.elapsed().as_secs())));
            }
        }
        Ok(None)
    });
    shared.waits(id, None);
    let failed = pending.failed();
    match (result, failed) {
        (Ok(None), None) => commit_it(shared, client, &pending, id).map(|()| {
            shared.stored(blocks.iter().map(|b| b.to).zip(pending.ends()));
            Committed { bases: pending.bases() }
        }),
        (Ok(Some(why)), _) => abort(client, &pending, why),
        (Ok(None), Some(code)) => {
            tracing::info!(target: "kafka", id, "a record was not stored: {}", native::words(code));
            let why = match code {
                Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE => {
                    Aborted::Invalid("a record is larger than the topic takes: raise its max.message.bytes".to_owned())
                }
                _ => Aborted::Retriable,
            };
            abort(client, &pending, why)
        }
        (Err(why), _) => {
            let aborted = meaning(owner, &why);
            tracing::info!(target: "kafka", id, "a transaction failed before its commit: {why}");
            if why.fatal { Err(End::Broken(aborted)) } else { abort(client, &pending, aborted) }
        }
    }
}

/// A thread for calls that may never return. Who waits for one in vain goes on without that client: the thread ends, and the
/// client with it, when the call does.
#[derive(Default)]
struct Lane {
    thread: Option<(Sender<Call>, Answers)>,
}

type Answers = Receiver<Result<(), Failure>>;

struct Call {
    producer: Arc<Producer>,
    offsets: List,
    who: Arc<GroupMetadata>,
}

impl Lane {
    /// See [`native::Client::offsets`].
    fn offsets(&mut self, producer: &Arc<Producer>, list: &List, who: &Arc<GroupMetadata>) -> Result<(), Failure> {
        let (calls, answers) = self.thread.get_or_insert_with(|| {
            let ((calls, queue), (answer, answers)) = (channel::<Call>(), channel());
            let run = move || {
                while let Ok(Call { producer, offsets, who }) = queue.recv() {
                    let result = producer.client.offsets(&offsets, &who, LOOK_EVERY);
                    // Given back before the answer: who gave it up may want it to be gone.
                    drop((producer, who));
                    if answer.send(result).is_err() {
                        return;
                    }
                }
            };
            // Without a thread nobody answers, which is told below.
            let _ = std::thread::Builder::new().name("kafka-offsets".to_owned()).spawn(run);
            (calls, answers)
        });
        let sent = calls.send(Call { producer: producer.clone(), offsets: list.clone(), who: who.clone() });
        sent.ok().and_then(|()| answers.recv_timeout(STUCK).ok()).unwrap_or_else(|| {
            self.thread = None;
            Err(Failure::stuck())
        })
    }
}

/// Positions by the name of their group in the cluster.
fn positions(shared: &Shared, id: &str, commit: &Commit) -> BTreeMap<String, List> {
    let mut lists: BTreeMap<String, List> = BTreeMap::new();
    for p in &commit.positions {
        let (group, at) = position::place(&shared.config, &p.group, &p.input);
        let topic = shared.config.topic(at.topic);
        let text = position::encode(&p.metadata, id);
        lists.entry(group).or_insert_with(List::new).add_with(&topic, at.partition as i32, p.next as i64, &text);
    }
    lists
}

/// Asks for the end of a transaction until there is an answer: there is no deadline of our own.
fn commit_it(shared: &Shared, client: &native::Client, pending: &Pending, id: &str) -> Result<(), End> {
    match until_answered(shared, id, || client.commit(LOOK_EVERY)) {
        Ok(()) => Ok(()),
        Err(why) if why.retriable && planted(Bug::ProducerReused) => Err(End::Aborted(Aborted::Retriable)),
        Err(why) if why.abort && !why.fatal => {
            tracing::info!(target: "kafka", id, "a commit was refused: {why}");
            abort(client, pending, Aborted::Retriable)
        }
        Err(why) => {
            tracing::warn!(target: "kafka", id, "the outcome of a commit is not known: {why}");
            Err(End::Unknown)
        }
    }
}

fn until_answered(shared: &Shared, id: &str, mut call: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        match call() {
            Err(why) if planted(Bug::ProducerReused) => return Err(why),
            Err(why) if why.retriable && !why.fatal && !why.abort && !shared.is_closed() => {
                if begun.elapsed() > LONG {
                    let secs = begun.elapsed().as_secs();
                    shared.waits(id, Some(format!("{id} waits for the outcome of a commit since {secs} s: {why}")));
                }
            }
            result => {
                shared.waits(id, None);
                return result;
            }
        }
    }
}

fn abort<T>(client: &native::Client, pending: &Pending, why: Aborted) -> Result<T, End> {
    // It forgets what was not sent, and waits for what was.
    let aborted = client.abort(LOOK_EVERY);
    // IMPORTANT: what is still on its way may arrive after the end of this transaction, and would be in the producer's next one;
    // and what was forgotten left a hole in its numbers. Another producer under the id begins anew, and refuses what comes late.
    // It begins at once where this transaction has ended.
    let is_clean = client.in_flight() == 0 && pending.failed().is_none() || planted(Bug::ProducerReused);
    match aborted {
        Ok(()) if is_clean => Err(End::Aborted(why)),
        _ => Err(End::Broken(why)),
    }
}

/// What a failure before the commit means to whoever submitted it.
fn meaning(owner: &Owner, why: &Failure) -> Aborted {
    let of_group = matches!(
        why.code,
        Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID
            | Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID
            | Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS
    );
    match owner {
        Owner::Tool | Owner::Source if of_group => Aborted::Fenced,
        // Its partitions may stay its own: a balancing that takes some is told of by the membership.
        Owner::Member(_) | Owner::Consumer(_) if of_group => {
            std::thread::sleep(BALANCING);
            Aborted::Retriable
        }
        _ => Aborted::Retriable,
    }
}

/// Whether these are positions of topics, which need an owner.
pub(crate) fn has_topics(commit: &Commit) -> bool {
    commit.positions.iter().any(|p| matches!(p.input, Input::Topic(_)))
}
