//! The journal: the log on a local disk. One frame and one fdatasync per group commit; all topics in one file.
//!
//! ```text
//!  submit ──► queue ──► writer ──► pwritev, fdatasync ──► view ──► tickets, watchers
//!                          │                               ▲  ▲
//!                          └─ next segment                 │  └── fetch: from memory at the tail, else from segments
//!                                          keeper: index files, retention
//! ```
//! * [`frame`]: a group commit on disk
//! * [`index`], [`segment`]: what is known of a segment file, and how it is learned again
//! * [`open`]: start: format, segments, the torn tail, damage
//! * [`writer`]: the one thread that writes
//! * [`view`], [`read`]: what readers see
//! * [`group`]: who may commit positions
//! * [`keep`]: retention, and the files beside sealed segments
//! * [`repair`]: verify, quarantine
//! * [`dir`]: names of files, the format, the lock
//!
//! One frame is written at a time and readers see synced frames only, so only the last frame can be torn. A failed fsync
//! is the end: what the kernel kept of the data is not known, and a second fsync that answers well proves nothing.

mod dir;
mod frame;
mod group;
mod index;
mod keep;
mod open;
mod read;
mod repair;
mod segment;
mod view;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use event::topic::TOPICS;
use event::{Offset, TopicId, TopicPartition};
use seam::{Clock, Fs};
use tokio::sync::{oneshot, watch};

pub use dir::{FORMAT, Holder, Lock, partitions_of};
pub use repair::{Damage, Lost, RepairReport, VerifyReport, repair_quarantine, verify};

use crate::contract::{
    Aborted, Commit, Fetch, Input, Log, LogError, METADATA_MAX, Membership, Outcome, StoredPosition, Ticket,
};
use group::Groups;
use view::View;
use writer::Writer;

/// When a commit is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// After fdatasync: it survives a power cut.
    Fsync,
    /// After write: it survives the process, not the machine.
    Os,
}

/// Room that is left to the rest of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MinFree {
    /// Of the file system, 0..=100.
    Percent(u8),
    Bytes(u64),
}

/// Who does the writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drive {
    /// A thread for commits and one for retention.
    Threads,
    /// The caller of `submit`, before it returns; retention by [`Journal::maintain`]. For simulated worlds, where no
    /// thread may decide what happens next.
    Caller,
}

#[derive(Clone, Debug)]
pub struct JournalConfig {
    /// Per topic, the same for all; never changes in place.
    pub partitions: u32,
    pub durability: Durability,
    /// A segment is followed by the next when it would grow beyond this.
    pub segment_bytes: u64,
    /// ... or when its first frame is this old, so that retention by time has something to remove.
    pub segment_secs: u64,
    /// Disk is reserved this much at a time.
    pub allocate_step: u64,
    /// How long records are kept, per topic, in seconds; [`TOPICS`] says for topics that are not here.
    pub keep_secs: Vec<(TopicId, u64)>,
    /// How much of each topic is kept.
    pub max_bytes: u64,
    pub min_free: MinFree,
    /// Blocks kept in memory for readers at the tail.
    pub cache_bytes: usize,
    pub drive: Drive,
}

impl Default for JournalConfig {
    fn default() -> Self {
        JournalConfig {
            partitions: 8,
            durability: Durability::Fsync,
            segment_bytes: 256 << 20,
            segment_secs: 6 * 3600,
            allocate_step: 16 << 20,
            keep_secs: Vec::new(),
            max_bytes: 20 << 30,
            min_free: MinFree::Percent(10),
            cache_bytes: 64 << 20,
            drive: Drive::Threads,
        }
    }
}

impl JournalConfig {
    fn keep_secs(&self, topic: TopicId) -> u64 {
        let set = self.keep_secs.iter().find(|(t, _)| *t == topic);
        set.map_or(topic.topic().keep_secs, |(_, secs)| *secs)
    }
}

/// Bytes of one commit at most: a frame's lengths are 32 bit, and it must fit in memory twice.
pub const COMMIT_MAX: usize = 1 << 30;

/// How the journal is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    Ok,
    /// Reads go on; commits are refused until there is room. Why.
    Full(String),
    /// Nothing is committed any more; the process should end. Why.
    Stopped(String),
}

/// Counters since the start, for metrics.
#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    syncs: AtomicU64,
    sync_us: AtomicU64,
    disk_reads: AtomicU64,
    ring_reads: AtomicU64,
}

/// A reading of the counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub commits: u64,
    pub frames: u64,
    /// Of frames, on disk.
    pub bytes: u64,
    pub syncs: u64,
    /// Time spent in fdatasync, microseconds.
    pub sync_us: u64,
    /// Fetches that had to go to the disk, and those that did not.
    pub disk_reads: u64,
    pub ring_reads: u64,
}

/// A commit on its way to the writer.
struct Submission {
    commit: Commit,
    /// The checksum of each block, computed by the submitter while the bytes are in its cache.
    crcs: Vec<u32>,
    bytes: usize,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Submission>,
    /// The active segment is old: begin the next.
    roll: bool,
    closed: bool,
}

/// What the writer, the keeper, readers and submitters share.
struct Shared {
    dir: PathBuf,
    /// `dir/journal`.
    journal: PathBuf,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    config: JournalConfig,
    salt: u64,
    view: RwLock<View>,
    queue: Mutex<Queue>,
    wake: Condvar,
    queued_bytes: AtomicU64,
    groups: Mutex<Groups>,
    health: Mutex<Health>,
    counters: Counters,
    published: watch::Sender<u64>,
    /// The same number for threads, which cannot wait on a `watch`.
    seen: Mutex<u64>,
    seen_wake: Condvar,
    /// Where a reader that was served from disk goes on: partition and offset -> segment number and byte.
    hints: Mutex<HashMap<(TopicPartition, Offset), (u64, u64)>>,
    keeper: Mutex<keep::Signal>,
    keeper_wake: Condvar,
    /// Held by whoever does retention; never by the writer.
    keeping: Mutex<()>,
    read_only: bool,
}

impl Shared {
    fn stop(&self, why: String) {
        tracing::error!(why, "the journal stopped");
        *self.health.lock().expect("health") = Health::Stopped(why);
    }

    fn bump(&self) {
        let mut seen = self.seen.lock().expect("seen");
        *seen += 1;
        self.published.send_replace(*seen);
        drop(seen);
        self.seen_wake.notify_all();
    }
}

/// The log on a local disk.
pub struct Journal {
    shared: Arc<Shared>,
    /// Present with [`Drive::Caller`].
    inline: Option<Mutex<Writer>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Let go when the threads have ended and nothing is written any more.
    lock: Mutex<Option<Lock>>,
}

impl Journal {
    /// Opens the data directory `dir` for writing; makes it if it is not there.
    ///
    /// Errors: [`LogError::InUse`], [`LogError::Format`], [`LogError::Partitions`], [`LogError::Damaged`],
    /// [`LogError::Io`]. A torn last frame is no error: it was never answered, and it is cut off.
    pub fn open(
        dir: &Path,
        config: JournalConfig,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Journal>, LogError> {
        let lock = open::prepare(dir, &*fs)?;
        let (shared, writer) = open::open(dir, config, fs, clock, open::Mode::Write)?;
        let writer = writer.expect("a writer in this mode");
        // What retention removed in an earlier life must not come back because its file outlived it.
        keep::advance_starts(&shared);
        let mut threads = Vec::new();
        let mut inline = None;
        match shared.config.drive {
            Drive::Caller => inline = Some(Mutex::new(writer)),
            Drive::Threads => {
                let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
                    std::thread::Builder::new()
                        .name(name.into())
                        .spawn(body)
                        .map_err(dir::io_error("starting a thread for", dir))
                };
                threads.push(spawn("journal", Box::new(move || writer.run()))?);
                let keeper = shared.clone();
                threads.push(spawn("journal-keeper", Box::new(move || keep::run(&keeper)))?);
            }
        }
        Ok(Arc::new(Journal { shared, inline, threads: Mutex::new(threads), lock: Mutex::new(Some(lock)) }))
    }

    /// Opens a directory to look at it, changing nothing: for commands beside a directory nobody writes to. Commits are
    /// answered with [`Aborted::Closed`].
    pub fn open_read_only(dir: &Path, fs: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Result<Arc<Journal>, LogError> {
        let (shared, _) = open::open(dir, JournalConfig::default(), fs, clock, open::Mode::Read)?;
        Ok(Arc::new(Journal { shared, inline: None, threads: Mutex::default(), lock: Mutex::new(None) }))
    }

    /// Commits what is queued, then stops the threads and gives the directory free. Later commits are answered with
    /// [`Aborted::Closed`]; reads go on.
    pub fn close(&self) {
        self.shared.queue.lock().expect("queue").closed = true;
        self.shared.wake.notify_all();
        self.shared.keeper.lock().expect("keeper").close = true;
        self.shared.keeper_wake.notify_all();
        for thread in self.threads.lock().expect("threads").drain(..) {
            if thread.join().is_err() {
                self.shared.stop("a thread of the journal panicked".into());
            }
        }
        self.lock.lock().expect("lock").take();
    }

    /// Writes lines into the lock file after the process id, for commands that talk to this process.
    pub fn announce(&self, lines: &[&str]) -> Result<(), LogError> {
        match &*self.lock.lock().expect("lock") {
            Some(lock) => lock.announce(lines),
            None => Err(LogError::Stopped("it is closed".into())),
        }
    }

    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    pub fn health(&self) -> Health {
        self.shared.health.lock().expect("health").clone()
    }

    /// Bytes submitted and not yet answered. The journal never refuses for this number; doors keep their own limits.
    pub fn queued_bytes(&self) -> u64 {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }

    pub fn stats(&self) -> Stats {
        let c = &self.shared.counters;
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        Stats {
            commits: read(&c.commits),
            frames: read(&c.frames),
            bytes: read(&c.bytes),
            syncs: read(&c.syncs),
            sync_us: read(&c.sync_us),
            disk_reads: read(&c.disk_reads),
            ring_reads: read(&c.ring_reads),
        }
    }

    /// Does now what the keeper does in the background: index files, retention.
    pub fn maintain(&self) {
        if self.shared.read_only {
            return;
        }
        keep::ask_roll(&self.shared);
        if let Some(writer) = &self.inline {
            writer.lock().expect("writer").step();
        }
        keep::pass(&self.shared);
    }

    /// What each topic holds.
    pub fn sizes(&self) -> Vec<TopicSize> {
        let view = self.shared.view.read().expect("view");
        let indexes = || view.sealed.iter().map(|s| &s.index).chain(view.active.iter().map(|a| &a.index));
        TOPICS
            .iter()
            .map(|t| TopicSize {
                topic: t.id,
                bytes: indexes().filter_map(|x| x.topic_bytes.get(&t.id)).sum(),
                records: indexes()
                    .flat_map(|x| &x.parts)
                    .filter(|(tp, _)| tp.topic == t.id)
                    .map(|(_, p)| p.records)
                    .sum(),
                bounds: (0..self.shared.config.partitions)
                    .map(|p| view.part(t.id.partition(p)).map_or((0, 0), |p| (p.start, p.end)))
                    .collect(),
            })
            .collect()
    }

    /// All committed positions, for tools.
    pub fn positions(&self) -> Vec<crate::contract::Position> {
        self.shared.view.read().expect("view").positions.all()
    }
}

/// What a topic holds on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicSize {
    pub topic: TopicId,
    /// Of its blocks in the segments, whether or not retention has passed them.
    pub bytes: u64,
    pub records: u64,
    /// (first offset kept, offset after the last) of each partition.
    pub bounds: Vec<(Offset, Offset)>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Log for Journal {
    fn partitions(&self, _topic: TopicId) -> u32 {
        self.shared.config.partitions
    }

    fn submit(&self, commit: Commit) -> Ticket {
        if let Err(what) = check(&commit, self.shared.config.partitions) {
            return Ticket::ready(Outcome::Aborted(Aborted::Invalid(what)));
        }
        let crcs = commit.blocks.iter().map(|b| crc32c::crc32c(&b.bytes)).collect();
        let bytes = commit.blocks.iter().map(|b| b.bytes.len()).sum();
        let (answer, ticket) = Ticket::new();
        {
            let mut queue = self.shared.queue.lock().expect("queue");
            if queue.closed {
                return Ticket::ready(Outcome::Aborted(Aborted::Closed));
            }
            self.shared.queued_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            queue.items.push_back(Submission { commit, crcs, bytes, answer });
        }
        match &self.inline {
            Some(writer) => writer.lock().expect("writer").step(),
            None => self.shared.wake.notify_one(),
        }
        ticket
    }

    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        read::fetch(&self.shared, from, at, max_bytes)
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError> {
        let view = self.shared.view.read().expect("view");
        let part = view.part(partition).ok_or(LogError::NoTopic(partition.topic.0))?;
        Ok((part.start, part.end))
    }

    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError> {
        // After a failed fsync the frame in flight is neither there nor not there until the directory is opened again.
        if let Health::Stopped(why) = self.health() {
            return Err(LogError::Stopped(why));
        }
        Ok(self.shared.view.read().expect("view").positions.stored(group, input).cloned())
    }

    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership> {
        group::join(&self.shared, group, topic)
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.published.subscribe()
    }

    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let now = self.shared.seen.lock().expect("seen");
        let (now, _) = self.shared.seen_wake.wait_timeout_while(now, timeout, |now| *now == seen).expect("seen");
        *now
    }
}

/// What is wrong with a commit whatever the journal's state.
fn check(commit: &Commit, partitions: u32) -> Result<(), String> {
    let mut bytes = 0usize;
    for b in &commit.blocks {
        if !view::known(b.to, partitions) {
            return Err(format!("there is no {}", b.to));
        }
        if (b.count == 0) != b.bytes.is_empty() {
            return Err(format!("a block for {} has {} records in {} bytes", b.to, b.count, b.bytes.len()));
        }
        bytes = bytes.saturating_add(b.bytes.len());
    }
    if bytes > COMMIT_MAX {
        return Err(format!("{bytes} bytes in one commit; at most {COMMIT_MAX}"));
    }
    for p in &commit.positions {
        if p.metadata.len() > METADATA_MAX {
            return Err(format!("{} bytes of metadata for {}; at most {METADATA_MAX}", p.metadata.len(), p.group));
        }
        let (name, what) = match &p.input {
            Input::External(name) => (name.len(), "the name of an input"),
            Input::Topic(tp) if !view::known(*tp, partitions) => return Err(format!("there is no {tp}")),
            Input::Topic(_) => (0, ""),
        };
        if name > usize::from(u16::MAX) {
            return Err(format!("{what} has {name} bytes"));
        }
        if p.group.len() > usize::from(u16::MAX) {
            return Err(format!("the name of a group has {} bytes", p.group.len()));
        }
    }
    Ok(())
}
