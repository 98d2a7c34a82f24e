//! Writes the snapshots of one partition, out of the way of events: in a thread, or in turns.
//!
//! ```text
//!   begin, slice, slice, ... end ──► parts of some megabytes, each put ──► manifest ──► completed, what is old goes
//! ```
//! Whatever fails, the snapshots before it stay as they are: the next one is a full one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use event::Offset;
use seam::{Background, Clock};

use crate::error::StateError;
use crate::manifest::{Manifest, Part, Shot, Version, manifest_name, part_name, stem};
use crate::retire::{Good, KEEP, Retention};
use crate::snapshots::delete;
use crate::store::Store;

/// A base, and as many increments at the most: a start reads nine snapshots, not hundreds.
const INCREMENTS_MAX: usize = 8;

/// An object's size, about: large enough that a base is a hundred objects, small enough to be held while it fills.
pub const PART_BYTES: usize = 8 << 20;

/// Slices that wait to be written, in bytes: two parts.
const QUEUE: usize = 16 << 20;

/// How often what is old is looked for; it lists the partition's objects, which has a price in object stores.
const RETIRE_EVERY: Duration = Duration::from_secs(60);

/// Whose snapshots a writer writes, and how.
#[derive(Clone, Debug)]
pub struct Writing {
    pub operator: String,
    pub partition: u32,
    pub version: Version,
    /// A fresh random number, so that no other writer's objects have the same names.
    pub random: u64,
    /// How long old snapshots are kept.
    pub keep: Duration,
    /// From how many bytes on a part is written.
    pub part_bytes: usize,
}

impl Writing {
    pub fn new(operator: &str, partition: u32, version: Version, random: u64) -> Writing {
        Writing { operator: operator.to_owned(), partition, version, random, keep: KEEP, part_bytes: PART_BYTES }
    }
}

/// What a snapshot is of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begin {
    /// As it was given to `Keyed::begin_snapshot`.
    pub full: bool,
    /// The first record that is not in the state.
    pub position: Offset,
    pub metadata: Vec<u8>,
    pub keys: u64,
}

/// Whether a snapshot is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hurry {
    Yes,
    No,
}

/// Takes a snapshot's slices. Nothing here waits for the store; when it is dropped, what was ended is written first.
pub struct Writer {
    begun: u64,
    shared: Arc<Shared>,
    by: By,
}

/// Who does the writing.
enum By {
    Thread {
        tasks: Option<mpsc::Sender<Task>>,
        thread: Option<JoinHandle<()>>,
    },
    /// [`Writer::work`].
    Turns(RefCell<(VecDeque<Task>, Box<Work>)>),
}

enum Task {
    Begin(Begin),
    Slice(Vec<u8>),
    End,
    Abandon,
}

struct Shared {
    /// Position of the newest complete snapshot; `NONE` before the first.
    completed: AtomicU64,
    /// Snapshots that were begun and are decided, one way or the other.
    settled: AtomicU64,
    /// Snapshots up to this one are not worth writing any more.
    abandoned: AtomicU64,
    next_full: AtomicBool,
    queued: AtomicUsize,
    hurry: AtomicBool,
}

const NONE: u64 = u64::MAX;

impl Writer {
    /// `chain`: the snapshot from which the state was loaded, so that increments can be added to it.
    pub fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        writing: Writing,
        chain: Option<Manifest>,
        background: Background,
    ) -> io::Result<Writer> {
        let completed = chain.as_ref().map_or(NONE, |m| m.position);
        let good = chain.as_ref().map(|m| Good::of(m.position, &m.chain));
        // Increments of another version would be in another form than what they are added to.
        let chain = chain.filter(|m| m.version == writing.version).map(|m| m.chain);
        let shared = Arc::new(Shared {
            completed: AtomicU64::new(completed),
            settled: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            next_full: AtomicBool::new(next_is_full(chain.as_deref())),
            queued: AtomicUsize::new(0),
            hurry: AtomicBool::new(false),
        });
        let retention = Retention::new(&writing.operator, writing.partition, writing.keep);
        let mut work = Work {
            store,
            clock,
            writing,
            chain,
            begun: 0,
            open: None,
            shared: shared.clone(),
            good,
            retention,
            retired: None,
        };
        let by = match background {
            Background::Threads => {
                let (tasks, queue) = mpsc::channel();
                let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(move || work.run(queue))?;
                By::Thread { tasks: Some(tasks), thread: Some(thread) }
            }
            Background::Turns => {
                work.retire();
                By::Turns(RefCell::new((VecDeque::new(), Box::new(work))))
            }
        };
        Ok(Writer { begun: 0, shared, by })
    }

    /// In turns: does a little. Says whether there is more to do.
    pub fn work(&self) -> bool {
        let By::Turns(turns) = &self.by else { return false };
        let (tasks, work) = &mut *turns.borrow_mut();
        if let Some(task) = tasks.pop_front() {
            work.take(task);
        }
        !tasks.is_empty()
    }

    /// Waits until all that was begun is decided.
    pub fn catch_up(&self) {
        while !self.is_idle() {
            match &self.by {
                By::Thread { .. } => std::thread::sleep(Duration::from_millis(1)),
                By::Turns(_) => {
                    if !self.work() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether the next snapshot must be of all keys: there is none to add to, its increments are many or large, or the last
    /// one could not be written. To be asked when [`Writer::is_idle`].
    pub fn next_is_full(&self) -> bool {
        self.shared.next_full.load(Acquire)
    }

    /// Whether all that was begun is decided. A snapshot that is begun earlier waits for the one before it.
    pub fn is_idle(&self) -> bool {
        self.shared.settled.load(Acquire) == self.begun
    }

    /// Whether there is room for another slice. One that is handed in nevertheless is taken.
    pub fn has_room(&self) -> bool {
        self.shared.queued.load(Relaxed) < QUEUE
    }

    /// Position of the newest complete snapshot, durable.
    pub fn completed(&self) -> Option<Offset> {
        Some(self.shared.completed.load(Acquire)).filter(|at| *at != NONE)
    }

    pub fn begin(&mut self, begin: Begin) {
        self.begun += 1;
        self.send(Task::Begin(begin));
    }

    /// What `Keyed::snapshot_slice` gave, in order.
    pub fn slice(&self, bytes: Vec<u8>) {
        self.shared.queued.fetch_add(bytes.len(), Relaxed);
        self.send(Task::Slice(bytes));
    }

    /// That was the last slice.
    pub fn end(&self) {
        self.send(Task::End);
    }

    /// The snapshot that was begun, ended or not, is not to be written. If it was ended, the next must be full.
    pub fn abandon(&self) {
        self.shared.abandoned.store(self.begun, Relaxed);
        self.send(Task::Abandon);
    }

    /// Whether somebody waits for what is being written: then it takes no pauses for the sake of others' commits.
    pub fn hurry(&self, hurry: Hurry) {
        self.shared.hurry.store(hurry == Hurry::Yes, Relaxed);
    }

    fn send(&self, task: Task) {
        match &self.by {
            // The thread ends only after this sender is gone, or by a panic that the next start survives as it does a kill.
            By::Thread { tasks, .. } => {
                let _ = tasks.as_ref().expect("open until it is dropped").send(task);
            }
            By::Turns(turns) => turns.borrow_mut().0.push_back(task),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.hurry.store(true, Relaxed);
        match &mut self.by {
            By::Thread { tasks, thread } => {
                *tasks = None;
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
            By::Turns(turns) => {
                let (tasks, work) = turns.get_mut();
                tasks.drain(..).for_each(|task| work.take(task));
                work.drop_open();
            }
        }
    }
}

/// The side of whoever writes.
struct Work {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    writing: Writing,
    /// What the newest complete snapshot is made of; `None`: nothing can be added to it.
    chain: Option<Vec<Shot>>,
    begun: u64,
    open: Option<Open>,
    shared: Arc<Shared>,
    /// What a start would read.
    good: Option<Good>,
    retention: Retention,
    retired: Option<Duration>,
}

/// A snapshot that is being written.
struct Open {
    begin: Begin,
    manifest: Manifest,
    stem: String,
    parts: Vec<Part>,
    /// The next part.
    filling: Vec<u8>,
    /// Why it cannot become complete.
    failed: Option<Failed>,
}

enum Failed {
    /// It adds to one that was not written.
    NoChain,
    Abandoned,
    Store(StateError),
}

impl Work {
    fn run(&mut self, queue: mpsc::Receiver<Task>) {
        self.retire();
        queue.into_iter().for_each(|task| self.take(task));
        self.drop_open();
    }

    fn take(&mut self, task: Task) {
        match task {
            Task::Begin(begin) => {
                self.drop_open();
                self.open(begin);
            }
            Task::Slice(bytes) => {
                self.shared.queued.fetch_sub(bytes.len(), Relaxed);
                self.slice(&bytes);
            }
            Task::End => self.end(),
            Task::Abandon => self.drop_open(),
        }
    }

    fn open(&mut self, begin: Begin) {
        self.begun += 1;
        let Writing { operator, partition, version, random, .. } = &self.writing;
        let mut manifest = Manifest::new(operator, *partition, *version, begin.position, self.clock.now());
        manifest.metadata.clone_from(&begin.metadata);
        manifest.keys = begin.keys;
        let stem = stem(&manifest, *random, self.begun);
        let failed = (!begin.full && self.chain.is_none()).then_some(Failed::NoChain);
        self.open = Some(Open { begin, manifest, stem, parts: Vec::new(), filling: Vec::new(), failed });
    }

    fn slice(&mut self, bytes: &[u8]) {
        let Some(open) = &mut self.open else { return };
        if open.failed.is_none() {
            open.filling.extend_from_slice(bytes);
            if open.filling.len() >= self.writing.part_bytes {
                self.put_part();
            }
        }
    }

    fn put_part(&mut self) {
        let Some(open) = &mut self.open else { return };
        if self.shared.abandoned.load(Relaxed) >= self.begun {
            open.failed = Some(Failed::Abandoned);
        }
        if open.failed.is_some() || open.filling.is_empty() {
            return;
        }
        let part = Part::of(part_name(&open.stem, open.parts.len()), &open.filling);
        let bytes = std::mem::take(&mut open.filling);
        match put(&*self.store, &part.name, &bytes, &self.shared.hurry) {
            Ok(()) => open.parts.push(part),
            Err(e) => open.failed = Some(Failed::Store(e)),
        }
    }

    fn end(&mut self) {
        self.put_part();
        let Some(mut open) = self.open.take() else { return };
        match open.failed.take() {
            Some(why) => {
                self.delete_parts(&open);
                self.give_up(&open, why);
            }
            None => match self.complete(&open) {
                Ok(chain) => {
                    self.good = Some(Good::of(open.begin.position, &chain));
                    self.chain = Some(chain);
                    self.shared.completed.store(open.begin.position, Release);
                }
                // IMPORTANT: its parts stay, because the manifest may be there although the answer was an error.
                Err(e) => self.give_up(&open, Failed::Store(e)),
            },
        }
        self.settle();
    }

    /// Writes the manifest; everything it names is durable.
    fn complete(&self, open: &Open) -> Result<Vec<Shot>, StateError> {
        let mut chain = if open.begin.full { Vec::new() } else { self.chain.clone().unwrap_or_default() };
        // An increment without entries adds nothing; a base without any says that the state is empty.
        if open.begin.full || !open.parts.is_empty() {
            chain.push(Shot { position: open.begin.position, parts: open.parts.clone() });
        }
        let mut manifest = open.manifest.clone();
        manifest.chain = chain;
        put(&*self.store, &manifest_name(&open.stem), &manifest.encode(), &self.shared.hurry)?;
        Ok(manifest.chain)
    }

    /// What was ended is lost: its changes are in no snapshot, so nothing can be added before the next full one.
    fn give_up(&mut self, open: &Open, why: Failed) {
        self.chain = None;
        if let Failed::Store(e) = &why {
            tracing::warn!(error = %e, position = open.begin.position,
                "a snapshot was not written; the one before it stays, and a start replays from there");
        }
    }

    /// Without an end it was given up by whoever took it, who knows that its changes are still to come.
    fn drop_open(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.delete_parts(&open);
        self.settle();
    }

    /// No manifest names them; a store that refuses here keeps them until they are old.
    fn delete_parts(&self, open: &Open) {
        let names: Vec<String> = open.parts.iter().map(|part| part.name.clone()).collect();
        let _ = delete(&*self.store, &open.stem, names);
    }

    fn settle(&mut self) {
        self.shared.next_full.store(next_is_full(self.chain.as_deref()), Release);
        self.shared.settled.store(self.begun, Release);
        let now = self.clock.elapsed();
        if self.retired.is_none_or(|at| now.saturating_sub(at) >= RETIRE_EVERY) {
            self.retire();
        }
    }

    fn retire(&mut self) {
        self.retired = Some(self.clock.elapsed());
        if let Err(e) = self.retention.pass(&*self.store, self.clock.now(), self.good.as_ref()) {
            tracing::warn!(error = %e, "old snapshots were not deleted; this is tried again in a minute");
        }
    }
}

fn next_is_full(chain: Option<&[Shot]>) -> bool {
    let Some([base, increments @ ..]) = chain else { return true };
    let added: u64 = increments.iter().map(Shot::bytes).sum();
    increments.len() >= INCREMENTS_MAX || added * 2 > base.bytes()
}

fn put(store: &dyn Store, name: &str, bytes: &[u8], hurry: &AtomicBool) -> Result<(), StateError> {
    match store.put_if_absent(name, bytes, hurry) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StateError::damaged(name, "another object has this name, which no other writer should use")),
        Err(e) => Err(StateError::store(name)(e)),
    }
}
