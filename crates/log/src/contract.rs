//! The log trait. It has Kafka's shape from the first day, so that what is right on the journal is right there:
//! positions are opaque, increasing and have gaps; a commit takes outputs, input positions and metadata together and
//! answers Committed, Aborted or Unknown; partitions are granted and revoked; reads see committed records only.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use event::record::Chunk;
use event::{Block, Offset, TopicId, TopicPartition};
use tokio::sync::{oneshot, watch};

/// What a position is a position in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Input {
    Topic(TopicPartition),
    /// Something outside the log, by a name its reader chose (`file:<identity>`, `output:<path>`).
    External(Arc<str>),
}

/// "All below `next` is done", with what its owner wants to find beside it after a crash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    pub group: Arc<str>,
    pub input: Input,
    pub next: Offset,
    /// At most [`METADATA_MAX`] bytes; more is refused as a bug, never cut.
    pub metadata: Bytes,
}

/// A position as the log keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredPosition {
    pub next: Offset,
    pub metadata: Bytes,
}

/// Kafka takes 4,096 bytes of text by default (`offset.metadata.max.bytes`): so many fit in it, with the committer's name.
pub const METADATA_MAX: usize = 2976;

/// A number that fences: a commit made under a generation that is over is aborted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(pub u64);

/// Outputs, positions and metadata that happen together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Records to append, at most one block per partition and commit where order between blocks matters.
    pub blocks: Vec<Block>,
    pub positions: Vec<Position>,
    /// The membership under which `positions` of topics are committed; `None` for doors, which own nothing. Positions of
    /// topics without a generation are for tools: they are fenced while the group has a member.
    pub generation: Option<Generation>,
}

/// How a commit ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is durable, and readers see it.
    Committed(Committed),
    /// None of it happened or ever will.
    Aborted(Aborted),
    /// It may have happened. Read the committed position before doing anything else.
    Unknown,
}

#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// For each block, in order, the offset of its first record.
    pub bases: Vec<Offset>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Aborted {
    /// Try again when there is room; until then refuse at the door.
    #[error("the disk is full: {0}")]
    Full(String),
    #[error("the partition was revoked, or the generation is over")]
    Fenced,
    #[error("the log is closed")]
    Closed,
    /// Injected, or the broker's own decision; the same commit may be submitted again.
    #[error("the log aborted the commit")]
    Retriable,
    /// A bug of the caller (no such partition, metadata over [`METADATA_MAX`], a commit too large): never submit it again.
    #[error("the commit is not valid: {0}")]
    Invalid(String),
}

/// The answer to a submitted commit, when there is one. Dropping it does not cancel the commit.
pub struct Ticket {
    receiver: oneshot::Receiver<Outcome>,
    /// What a wrapping log makes of the inner log's answer.
    map: Option<Box<dyn FnOnce(Outcome) -> Outcome + Send>>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}

impl Ticket {
    /// A ticket and the sender that answers it. A sender that is dropped answers [`Outcome::Unknown`].
    pub fn new() -> (oneshot::Sender<Outcome>, Ticket) {
        let (sender, receiver) = oneshot::channel();
        (sender, Ticket { receiver, map: None })
    }

    /// A ticket that is answered already.
    pub fn ready(outcome: Outcome) -> Ticket {
        let (sender, ticket) = Ticket::new();
        let _ = sender.send(outcome);
        ticket
    }

    /// The same answer as another log's callers see it. Wrapping a log needs no thread for this.
    pub fn map(self, f: impl FnOnce(Outcome) -> Outcome + Send + 'static) -> Ticket {
        let inner = self.map;
        let map: Box<dyn FnOnce(Outcome) -> Outcome + Send> = match inner {
            Some(inner) => Box::new(move |outcome| f(inner(outcome))),
            None => Box::new(f),
        };
        Ticket { receiver: self.receiver, map: Some(map) }
    }

    /// Blocks this thread until the outcome is known. There is no deadline of our own. Not for async code.
    pub fn wait(self) -> Outcome {
        let outcome = self.receiver.blocking_recv().unwrap_or(Outcome::Unknown);
        match self.map {
            Some(map) => map(outcome),
            None => outcome,
        }
    }

    /// The outcome if it is known now.
    pub fn try_take(&mut self) -> Option<Outcome> {
        let outcome = match self.receiver.try_recv() {
            Ok(outcome) => outcome,
            Err(oneshot::error::TryRecvError::Empty) => return None,
            Err(oneshot::error::TryRecvError::Closed) => Outcome::Unknown,
        };
        Some(self.finish(outcome))
    }

    fn finish(&mut self, outcome: Outcome) -> Outcome {
        match self.map.take() {
            Some(map) => map(outcome),
            None => outcome,
        }
    }
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let answer = std::task::ready!(Pin::new(&mut self.receiver).poll(cx));
        Poll::Ready(self.finish(answer.unwrap_or(Outcome::Unknown)))
    }
}

/// Committed records from a position on.
#[derive(Clone, Debug, Default)]
pub struct Fetch {
    /// In order; offsets may jump between chunks, and `from` may lie below the first one.
    pub chunks: Vec<Chunk>,
    /// Where to read on.
    pub next: Offset,
    /// The end of the partition when this was read: nothing is committed at or above it yet.
    pub end: Offset,
}

/// A change in what a member may work on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Assignment {
    /// Commits for these partitions are under this generation from now on.
    Granted { partitions: Vec<TopicPartition>, generation: Generation },
    /// Finish or drop what is open for these: commits for them are fenced.
    Revoked { partitions: Vec<TopicPartition> },
}

/// A member's place in a group. Dropping it leaves the group.
pub trait Membership: Send {
    /// What changed since the last call, oldest first; empty when nothing did.
    fn poll(&mut self) -> Vec<Assignment>;

    /// What the last poll told is done: what was revoked is worked on no more. A group may wait for it, not for long.
    fn handled(&mut self) {}
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The position is not in the log any more (or not yet): retention passed it, or the topic was made anew.
    #[error("{partition} has records from {start} up to {end}; {asked} is outside")]
    OutOfRange { partition: TopicPartition, asked: Offset, start: Offset, end: Offset },
    /// Stored bytes are not what was written. Never skipped.
    #[error(
        "damaged: {file} at byte {at}: {what}. Nothing was changed. `ouzel data verify` shows all damage; `ouzel data repair --quarantine` moves the damaged part aside and says what is lost"
    )]
    Damaged { file: String, at: u64, what: String },
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
    #[error("there is no topic {0}")]
    NoTopic(u16),
    /// Another process writes here.
    #[error("{dir} is in use by process {pid}")]
    InUse { dir: String, pid: String },
    /// The directory was written by a version this one cannot read.
    #[error("{dir} has format {found}; this program reads format {known}")]
    Format { dir: String, found: String, known: u32 },
    /// The number of partitions of a topic never changes in place.
    #[error(
        "{dir} has {stored} partitions per topic and the configuration asks for {asked}; the number never changes in place: set `data.partitions = {stored}`, or start a new directory"
    )]
    Partitions { dir: String, stored: u32, asked: u32 },
    #[error("the log stopped: {0}")]
    Stopped(String),
}

/// A log. Shared by everything in the process; every method may be called from any thread.
pub trait Log: Send + Sync + 'static {
    /// Partitions of a topic; never changes.
    fn partitions(&self, topic: TopicId) -> u32;

    /// Hands in a commit; never blocks. Commits of one caller are decided in the order they were submitted.
    ///
    /// IMPORTANT: an abort does not abort what was submitted after it. A caller that commits positions of an input has at
    /// most one such commit in flight, or a later one may pass over the outputs of an aborted one.
    fn submit(&self, commit: Commit) -> Ticket;

    /// Committed records of a partition at or after `from`, about `max_bytes` of them and at least one if there is one.
    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError>;

    /// Somebody is about to read on from there: a log that is far away begins to fetch. Returns at once, and promises nothing.
    fn read_ahead(&self, _from: TopicPartition, _at: Offset) {}

    /// (first offset still kept, offset after the last committed record).
    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError>;

    /// What was last committed for this group and input. Settles unknown outcomes: what this does not show did not happen
    /// and will not.
    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError>;

    /// Joins a group that shares the partitions of `topic`.
    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership>;

    /// A number that grows with every commit that readers can see, to wait on in async code.
    fn subscribe(&self) -> watch::Receiver<u64>;

    /// Blocks until that number differs from `seen` or the time is over; gives the number.
    fn wait(&self, seen: u64, timeout: Duration) -> u64;

    /// Whether anything is committed at or above a position; it may be a moment old where asking costs much.
    fn waits_above(&self, partition: TopicPartition, next: Offset) -> bool {
        self.bounds(partition).is_ok_and(|(_, end)| end > next)
    }

    /// Whether records stay as long as they lie at or above some group's position. Else they are kept by time alone.
    fn keeps_by_position(&self) -> bool {
        true
    }
}

impl<L: Log + ?Sized> Log for Arc<L> {
    fn partitions(&self, topic: TopicId) -> u32 {
        (**self).partitions(topic)
    }

    fn submit(&self, commit: Commit) -> Ticket {
        (**self).submit(commit)
    }

    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        (**self).fetch(from, at, max_bytes)
    }

    fn read_ahead(&self, from: TopicPartition, at: Offset) {
        (**self).read_ahead(from, at);
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError> {
        (**self).bounds(partition)
    }

    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError> {
        (**self).committed(group, input)
    }

    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership> {
        (**self).join(group, topic)
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        (**self).subscribe()
    }

    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        (**self).wait(seen, timeout)
    }

    fn waits_above(&self, partition: TopicPartition, next: Offset) -> bool {
        (**self).waits_above(partition, next)
    }

    fn keeps_by_position(&self) -> bool {
        (**self).keeps_by_position()
    }
}
