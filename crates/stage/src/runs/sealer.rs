//! Writes runs and merges them, out of the way of events: in a thread, or in turns. Seals go first, because the stage waits for them
//! when its table is full; merges get their share between them, or runs would become too many.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use enrich::dedup::{Head, Merge, RunWriter, Sealed};
use event::Offset;
use seam::fault::point;
use seam::{Background, File, Fs};

use super::depot::Depot;
use super::file::{OpenRun, Reader, name};
use super::shelf::{Done, Shelf};

/// A run is a megabyte and more. The file system orders what others have written before our journal's next sync, so that all
/// of it at once would hold up every commit for tens of milliseconds: it is written and synced by slices, with pauses in
/// which the journal syncs.
const SLICE: usize = 64 * 1024;
const SLICE_PAUSE: Duration = Duration::from_millis(5);
/// A slice while a stage waits for the disk: then throughput is what is wanted.
const BEHIND_SLICE: usize = 512 * 1024;
/// Bytes of merges that may be written after a sealed generation before the next one, which waits meanwhile: twice its size
/// is what merging costs in the long run.
const MERGE_SHARE: u64 = 3 << 20;
/// Between two tries when the disk takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// Has runs written. When it is dropped, generations that were handed in are written first; a merge is given up.
pub struct Sealer {
    tasks: Option<mpsc::Sender<Task>>,
    /// In turns: who works. Else a thread does.
    turns: Option<Mutex<Worker>>,
    hurry: Arc<AtomicBool>,
    behind: Arc<AtomicUsize>,
    cost: Arc<Cost>,
    thread: Option<JoinHandle<()>>,
}

/// What was done so far.
#[derive(Default)]
pub struct Cost {
    pub runs: AtomicU64,
    pub merges: AtomicU64,
    /// Bytes written, by sealing and by merging.
    pub sealed_bytes: AtomicU64,
    pub merged_bytes: AtomicU64,
}

pub(super) enum Task {
    Seal { dir: PathBuf, shelf: Shelf, depot: Option<Arc<Depot>>, sealed: Sealed },
    Merge { dir: PathBuf, shelf: Shelf, head: Head, runs: Vec<Arc<OpenRun>> },
    Remove(Vec<PathBuf>),
    Expire { depot: Arc<Depot>, needed: Offset },
    Leave { depot: Arc<Depot>, rest: Sealed },
}

impl Sealer {
    pub fn start(fs: Arc<dyn Fs>, background: Background) -> io::Result<Sealer> {
        Sealer::with_pauses(fs, background, SLICE_PAUSE)
    }

    /// `pause`: after each slice.
    pub(super) fn with_pauses(fs: Arc<dyn Fs>, background: Background, pause: Duration) -> io::Result<Sealer> {
        let pause = if background == Background::Turns { Duration::ZERO } else { pause };
        let (tasks, queue) = mpsc::channel::<Task>();
        let hurry = Arc::new(AtomicBool::new(false));
        let behind = Arc::new(AtomicUsize::new(0));
        let cost = Arc::new(Cost::default());
        let mut worker = Worker {
            fs,
            queue,
            hurry: hurry.clone(),
            behind: behind.clone(),
            pause,
            background,
            cost: cost.clone(),
            seals: VecDeque::new(),
            merges: VecDeque::new(),
            merging: None,
            merge_share: 0,
        };
        let (mut turns, mut thread) = (None, None);
        match background {
            Background::Threads => {
                let thread_of = std::thread::Builder::new().name("sealer".to_owned());
                thread = Some(thread_of.spawn(move || while worker.step() {})?);
            }
            Background::Turns => turns = Some(Mutex::new(worker)),
        }
        Ok(Sealer { tasks: Some(tasks), turns, hurry, behind, cost, thread })
    }

    /// In turns: does a little, if there is something to do.
    pub fn work(&self) {
        if let Some(worker) = &self.turns {
            let mut worker = worker.lock().expect("no panic while held");
            if worker.is_idle()
                && let Ok(task) = worker.queue.try_recv()
            {
                worker.take(task);
            } else if !worker.is_idle() {
                worker.step();
            }
        }
    }

    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// Says that one partition more, or one less, is about to wait for the disk.
    pub(super) fn set_behind(&self, behind: bool) {
        match behind {
            true => self.behind.fetch_add(1, Relaxed),
            false => self.behind.fetch_sub(1, Relaxed),
        };
    }

    /// Whether its thread is gone although it is still needed: whoever waited for it would wait for ever.
    pub(super) fn has_ended(&self) -> bool {
        self.turns.is_none() && self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// For tests: its thread ends, as one does that panics.
    #[cfg(test)]
    pub(super) fn end(&mut self) {
        self.tasks = None;
        while !self.has_ended() {
            std::thread::yield_now();
        }
    }

    pub(super) fn send(&self, task: Task) {
        // The thread ends only after this sender is gone.
        let _ = self.tasks.as_ref().expect("open until it is dropped").send(task);
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.hurry.store(true, Relaxed);
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Some(worker) = self.turns.take() {
            let mut worker = worker.into_inner().unwrap_or_else(PoisonError::into_inner);
            while worker.step() {}
        }
    }
}

/// A generation that is to be written.
struct Seal {
    dir: PathBuf,
    shelf: Shelf,
    depot: Option<Arc<Depot>>,
    sealed: Sealed,
}

struct Worker {
    fs: Arc<dyn Fs>,
    queue: mpsc::Receiver<Task>,
    hurry: Arc<AtomicBool>,
    /// Partitions that are about to wait.
    behind: Arc<AtomicUsize>,
    pause: Duration,
    background: Background,
    cost: Arc<Cost>,
    seals: VecDeque<Seal>,
    merges: VecDeque<(PathBuf, Shelf, Head, Vec<Arc<OpenRun>>)>,
    merging: Option<Merging>,
    /// Bytes of merges that go before the next seal.
    merge_share: u64,
}

impl Worker {
    fn is_idle(&self) -> bool {
        self.seals.is_empty() && self.merges.is_empty() && self.merging.is_none()
    }

    /// Takes a task, or works on one; waits for one when there is none. Says whether there can be more.
    fn step(&mut self) -> bool {
        let task = match self.is_idle() {
            true => self.queue.recv().map_err(|_| TryRecvError::Disconnected),
            false => self.queue.try_recv(),
        };
        match task {
            Ok(task) => self.take(task),
            Err(TryRecvError::Disconnected) if self.seals.is_empty() => {
                if let Some(merging) = self.merging.take() {
                    self.remove(&merging.out.tmp);
                }
                return false;
            }
            Err(_) => self.work(),
        }
        true
    }

    fn take(&mut self, task: Task) {
        match task {
            Task::Seal { dir, shelf, depot, sealed } => self.seals.push_back(Seal { dir, shelf, depot, sealed }),
            Task::Merge { dir, shelf, head, runs } => self.merges.push_back((dir, shelf, head, runs)),
            Task::Remove(paths) => paths.iter().for_each(|p| self.remove(p)),
            Task::Expire { depot, needed } => depot.expire(needed),
            // The next owner may be looking for it already.
            Task::Leave { depot, rest } => depot.leave(rest),
        }
    }

    fn work(&mut self) {
        let merges_wait = self.merging.is_some() || !self.merges.is_empty();
        if (self.merge_share == 0 || !merges_wait)
            && let Some(seal) = self.seals.pop_front()
        {
            if let Some(seal) = self.seal(seal) {
                self.seals.push_front(seal);
            }
            self.merge_share = MERGE_SHARE;
        } else if let Some(mut merging) = self.merging.take() {
            let slice = self.slice();
            self.merge_share = self.merge_share.saturating_sub(slice as u64);
            match merging.step(&*self.fs, slice) {
                Ok(None) => self.merging = Some(merging),
                Ok(Some(done)) => {
                    self.cost.merges.fetch_add(1, Relaxed);
                    self.cost.merged_bytes.fetch_add(merging.out.at, Relaxed);
                    merging.shelf.held().done.push(done);
                }
                Err(why) => {
                    self.remove(&merging.out.tmp);
                    self.give_up(&merging.shelf, why);
                }
            }
            self.pause();
        } else if let Some((dir, shelf, head, runs)) = self.merges.pop_front() {
            match Merging::begin(&*self.fs, &dir, shelf.clone(), head, runs) {
                Ok(merging) => self.merging = Some(merging),
                Err(why) => self.give_up(&shelf, why),
            }
        }
    }

    /// Writes a run. The stage goes on until its table is full, and then waits: a pair is forgotten in memory only when it
    /// is on disk.
    /// In turns, what could not be written is given back.
    fn seal(&self, mut seal: Seal) -> Option<Seal> {
        seal.sealed.pairs.sort_unstable_by_key(|p| (p.id, p.offset));
        let mut told = false;
        loop {
            match self.write(&seal.dir, &seal.sealed) {
                Ok(run) => {
                    self.cost.runs.fetch_add(1, Relaxed);
                    self.cost.sealed_bytes.fetch_add(run.bytes, Relaxed);
                    let run = Arc::new(run);
                    seal.shelf.held().done.push(Done::Sealed(run.clone()));
                    if let Some(depot) = &seal.depot {
                        depot.put(&*self.fs, &run, &self.hurry);
                    }
                    return None;
                }
                Err(e) if self.hurry.load(Relaxed) => {
                    tracing::warn!(error = %e, "a dedup run was not written; the next start reads raw instead");
                    return None;
                }
                Err(_) if self.background == Background::Turns => return Some(seal),
                Err(e) => {
                    if !told {
                        tracing::warn!(error = %e, "a dedup run cannot be written; it is tried again");
                    }
                    told = true;
                    self.wait();
                }
            }
        }
    }

    fn write(&self, dir: &Path, sealed: &Sealed) -> io::Result<OpenRun> {
        let fs = &*self.fs;
        let mut out = Out::create(fs, dir, &sealed.head)?;
        let mut writer = RunWriter::new(sealed.head.clone(), sealed.pairs.len() as u64);
        for pair in &sealed.pairs {
            writer.push(*pair);
            if writer.out.len() >= self.slice() {
                out.slice(&writer.out)?;
                writer.out.clear();
                self.pause();
            }
        }
        let (index, rest) = writer.finish();
        for slice in rest.chunks(self.slice()) {
            out.slice(slice)?;
            self.pause();
        }
        point("dedup.run.written");
        let (path, file, bytes) = out.publish(fs)?;
        point("dedup.run.renamed");
        Ok(OpenRun::new(path, index, file, bytes))
    }

    fn give_up(&self, shelf: &Shelf, why: Failed) {
        shelf.held().done.push(match why {
            Failed::Unreadable(why) => Done::Unreadable(why),
            Failed::Unwritable(e) => {
                tracing::warn!(error = %e, "dedup runs cannot be merged; it is tried again");
                Done::Postponed
            }
        });
        self.wait();
    }

    fn pause(&self) {
        if !self.pause.is_zero() && self.behind.load(Relaxed) == 0 && !self.hurry.load(Relaxed) {
            std::thread::sleep(self.pause);
        }
    }

    /// Bytes to be written at once.
    fn slice(&self) -> usize {
        if self.behind.load(Relaxed) == 0 { SLICE } else { BEHIND_SLICE }
    }

    fn wait(&self) {
        let mut waited = Duration::ZERO;
        while self.background == Background::Threads && waited < RETRY && !self.hurry.load(Relaxed) {
            std::thread::sleep(SLICE_PAUSE * 4);
            waited += SLICE_PAUSE * 4;
        }
    }

    /// What stays because it cannot be removed is removed at the next start.
    fn remove(&self, path: &Path) {
        let _ = self.fs.remove(path);
    }
}

/// A file that is being written.
struct Out {
    tmp: PathBuf,
    path: PathBuf,
    file: Arc<dyn File>,
    at: u64,
}

impl Out {
    fn create(fs: &dyn Fs, dir: &Path, head: &Head) -> io::Result<Out> {
        let path = dir.join(name(head.from, head.to));
        let tmp = path.with_extension("tmp");
        if fs.exists(&tmp) {
            fs.remove(&tmp)?;
        }
        Ok(Out { file: fs.open(&tmp, true)?, tmp, path, at: 0 })
    }

    fn slice(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(&[IoSlice::new(bytes)], self.at)?;
        self.file.sync_data()?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Gives it its name, for good.
    fn publish(&self, fs: &dyn Fs) -> io::Result<(PathBuf, Arc<dyn File>, u64)> {
        fs.rename(&self.tmp, &self.path)?;
        fs.sync_dir(self.path.parent().expect("it is in a directory"))?;
        Ok((self.path.clone(), self.file.clone(), self.at))
    }
}

enum Failed {
    Unreadable(String),
    Unwritable(io::Error),
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Failed {
        Failed::Unwritable(e)
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Failed {
        Failed::Unreadable(why)
    }
}

/// Neighbouring runs becoming one, a slice at a time. In memory are a slice, 128 KiB of each run, and the new index.
struct Merging {
    shelf: Shelf,
    runs: Vec<Arc<OpenRun>>,
    readers: Vec<Reader>,
    merge: Merge,
    /// Until all pairs are in it.
    writer: Option<RunWriter>,
    /// What is to be written of the finished file.
    rest: Option<(enrich::dedup::RunIndex, Vec<u8>)>,
    rest_at: usize,
    out: Out,
}

impl Merging {
    fn begin(fs: &dyn Fs, dir: &Path, shelf: Shelf, head: Head, runs: Vec<Arc<OpenRun>>) -> Result<Merging, Failed> {
        let out = Out::create(fs, dir, &head)?;
        let pairs = runs.iter().map(|r| r.index.pairs).sum();
        let mut readers: Vec<Reader> = runs.iter().cloned().map(Reader::new).collect();
        let merge = Merge::new(readers.len(), |n| readers[n].next(fs))?;
        let writer = Some(RunWriter::new(head, pairs));
        Ok(Merging { shelf, runs, readers, merge, writer, rest: None, rest_at: 0, out })
    }

    /// Writes a slice. Answers what to report when it was the last one.
    fn step(&mut self, fs: &dyn Fs, slice: usize) -> Result<Option<Done>, Failed> {
        if let Some(mut writer) = self.writer.take() {
            while writer.out.len() < slice {
                let Some(pair) = self.merge.next(|n| self.readers[n].next(fs))? else {
                    self.rest = Some(writer.finish());
                    return Ok(None);
                };
                writer.push(pair);
            }
            self.out.slice(&writer.out)?;
            writer.out.clear();
            self.writer = Some(writer);
            return Ok(None);
        }
        let (index, rest) = self.rest.take().expect("a merge writes pairs, then the rest");
        let end = rest.len().min(self.rest_at + slice);
        self.out.slice(&rest[self.rest_at..end])?;
        self.rest_at = end;
        if end < rest.len() {
            self.rest = Some((index, rest));
            return Ok(None);
        }
        point("dedup.merge.written");
        let (path, file, bytes) = self.out.publish(fs)?;
        point("dedup.merge.renamed");
        let into = Arc::new(OpenRun::new(path, index, file, bytes));
        Ok(Some(Done::Merged { inputs: std::mem::take(&mut self.runs), into }))
    }
}
