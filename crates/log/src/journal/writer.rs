//! The one thread that writes. It takes all that is queued, writes it as one frame straight from the submitted bytes,
//! syncs, shows it to readers, and only then answers.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use event::{Micros, Offset, TopicPartition};
use seam::File;
use seam::fault::{Bug, planted, point};
use tokio::sync::oneshot;

use super::dir::{io_error, segment_path};
use super::frame::{ALIGN, Checkpoint, Entry, encode, padding};
use super::index::SegmentIndex;
use super::segment::Segment;
use super::view::Active;
use super::{Durability, Health, MinFree, Shared, Submission};
use crate::contract::{Aborted, Committed, LogError, Outcome, Position};

/// Body bytes gathered into one frame at most, unless one commit alone is larger: beyond this a larger frame makes
/// nothing faster and makes everybody in it wait longer.
const FRAME_MAX: usize = 8 << 20;

static ZEROS: [u8; ALIGN as usize] = [0; ALIGN as usize];

pub(super) struct Writer {
    shared: Arc<Shared>,
    /// The next frame's number.
    seq: u64,
    segment: Option<Writing>,
    /// The writer's own copy of each partition's end.
    ends: Vec<(TopicPartition, Offset)>,
    head: Vec<u8>,
    failed: bool,
}

/// The segment that is being written.
struct Writing {
    file: Arc<dyn File>,
    number: u64,
    /// Where the next frame goes; 0: none yet.
    end: u64,
    /// Disk is reserved up to here.
    allocated: u64,
    first_written: Micros,
}

/// Why a frame was not written.
enum Refusal {
    /// Nothing was written, and it may be tried again.
    Full(String),
    /// What is on disk is not known.
    Failed(String),
}

impl Writer {
    /// `at`: the last segment with where its frames end; without one, the first is made.
    pub fn new(shared: Arc<Shared>, seq: u64, at: Option<(Arc<dyn File>, u64, u64)>) -> Result<Writer, LogError> {
        let (ends, first_written) = {
            let view = shared.view.read().expect("view");
            (
                view.standings().iter().map(|s| (s.tp, s.end)).collect(),
                view.active.as_ref().map_or(Micros(0), |a| a.index.first_written),
            )
        };
        let mut writer = Writer { shared, seq, segment: None, ends, head: Vec::new(), failed: false };
        match at {
            // What the file's length promises was allocated is not believed: room is reserved again before it is used.
            Some((file, number, end)) => {
                writer.segment = Some(Writing { file, number, end, allocated: end, first_written });
            }
            None => {
                let path = segment_path(&writer.shared.journal, 1);
                match writer.begin_segment(1) {
                    Ok(()) => {}
                    // It opens for reading, and commits when there is room.
                    Err(Refusal::Full(why)) => writer.set_health(Health::Full(why)),
                    Err(Refusal::Failed(why)) => return Err(io_error("making", &path)(io::Error::other(why))),
                }
            }
        }
        Ok(writer)
    }

    /// Until the journal is closed.
    pub fn run(mut self) {
        let _last = LastWords(self.shared.clone());
        loop {
            let (batch, roll) = {
                let queue = self.shared.queue.lock().expect("queue");
                let mut queue =
                    self.shared.wake.wait_while(queue, |q| q.items.is_empty() && !q.closed && !q.roll).expect("queue");
                if queue.items.is_empty() && queue.closed {
                    return;
                }
                (take(&mut queue.items), std::mem::take(&mut queue.roll))
            };
            self.pass(batch, roll);
        }
    }

    /// All that is queued now, on the caller's thread.
    pub fn step(&mut self) {
        loop {
            let (batch, roll) = {
                let mut queue = self.shared.queue.lock().expect("queue");
                (take(&mut queue.items), std::mem::take(&mut queue.roll))
            };
            if batch.is_empty() && !roll {
                return;
            }
            self.pass(batch, roll);
        }
    }

    fn pass(&mut self, batch: Vec<Submission>, roll: bool) {
        if roll && !self.failed {
            self.roll_if_old();
        }
        if !batch.is_empty() {
            self.commit(batch);
        }
    }

    fn commit(&mut self, batch: Vec<Submission>) {
        point("journal.batch.taken");
        let bytes: usize = batch.iter().map(|s| s.bytes).sum();
        // IMPORTANT: judged here and not at submission: between this and `settle` no new owner is told that it is one.
        let (batch, fenced): (Vec<_>, Vec<_>) = {
            let mut groups = self.shared.groups.lock().expect("groups");
            groups.take();
            batch.into_iter().partition(|s| groups.allows(&s.commit))
        };
        self.write(batch);
        for s in fenced {
            answer(s.answer, Outcome::Aborted(Aborted::Fenced));
        }
        self.shared.queued_bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        self.shared.groups.lock().expect("groups").settle();
        self.shared.bump();
    }

    /// Writes the batch as one frame and answers it.
    fn write(&mut self, batch: Vec<Submission>) {
        if self.failed {
            abort(batch, &Aborted::Closed);
            return;
        }
        let mut ends = self.ends.clone();
        let mut entries = Vec::new();
        let mut bases = Vec::with_capacity(batch.len());
        for s in &batch {
            let mut of_commit = Vec::with_capacity(s.commit.blocks.len());
            for (b, crc) in s.commit.blocks.iter().zip(&s.crcs) {
                let i = ends.binary_search_by_key(&b.to, |(tp, _)| *tp).expect("checked at submission");
                let end = &mut ends[i].1;
                of_commit.push(*end);
                if b.count > 0 {
                    let len = b.bytes.len() as u32;
                    entries.push(Entry { tp: b.to, base: *end, count: b.count, len, crc: *crc });
                    *end += Offset::from(b.count);
                }
            }
            bases.push(of_commit);
        }
        let positions: Vec<&Position> = batch.iter().flat_map(|s| &s.commit.positions).collect();
        if entries.is_empty() && positions.is_empty() {
            self.answer(batch, bases);
            return;
        }
        if planted(Bug::PositionApart) && !entries.is_empty() && !positions.is_empty() {
            // If it fails, what follows fails too, and says so.
            let _ = self.append(&[], &positions, &[]);
        }
        let blocks: Vec<&[u8]> =
            batch.iter().flat_map(|s| &s.commit.blocks).filter(|b| b.count > 0).map(|b| &b.bytes[..]).collect();
        match self.append(&entries, &positions, &blocks) {
            Ok(()) => {}
            Err(Refusal::Full(why)) => {
                self.set_health(Health::Full(why.clone()));
                abort(batch, &Aborted::Full(why));
                return;
            }
            Err(Refusal::Failed(why)) => {
                self.fail(why);
                for s in batch {
                    answer(s.answer, Outcome::Unknown);
                }
                return;
            }
        }
        self.ends = ends;
        let freed = {
            let mut view = self.shared.view.write().expect("view");
            for p in positions {
                view.positions.set(p);
            }
            let blocks = batch.iter().flat_map(|s| &s.commit.blocks).filter(|b| b.count > 0).map(|b| b.bytes.clone());
            if entries.is_empty() { Vec::new() } else { view.publish(&entries, blocks) }
        };
        drop(freed);
        point("journal.published");
        if self.shared.health.lock().expect("health").clone() != Health::Ok {
            self.set_health(Health::Ok);
        }
        self.answer(batch, bases);
    }

    fn answer(&self, batch: Vec<Submission>, bases: Vec<Vec<Offset>>) {
        self.shared.counters.commits.fetch_add(batch.len() as u64, Ordering::Relaxed);
        for (s, bases) in batch.into_iter().zip(bases) {
            answer(s.answer, Outcome::Committed(Committed { bases }));
        }
    }

    /// Appends one frame and makes it durable. Readers do not see it yet, but its place in the segment is taken.
    fn append(&mut self, entries: &[Entry], positions: &[&Position], blocks: &[&[u8]]) -> Result<(), Refusal> {
        let body: usize = blocks.iter().map(|b| b.len()).sum();
        let written = self.shared.clock.now();
        let mut head = std::mem::take(&mut self.head);
        let salt = self.shared.salt;
        encode(&mut head, salt, self.seq, written, entries, positions.iter().copied(), None);
        let size = head.len() as u64 + body as u64;
        match &self.segment {
            Some(s) if s.end == 0 || s.end + size <= self.shared.config.segment_bytes => {}
            Some(s) => self.begin_segment(s.number + 1)?,
            None => self.begin_segment(1)?,
        }
        let (number, at) = self.segment.as_ref().map(|s| (s.number, s.end)).expect("begun above");
        let mut checkpoint = None;
        if at == 0 {
            let (standings, standing) = {
                let view = self.shared.view.read().expect("view");
                (view.standings(), view.positions.all())
            };
            checkpoint = Some(Checkpoint { number, covers: number, revision: 0, rewritten: false, standings });
            // All positions as they stand, this frame's after them: the last one read counts.
            let all = standing.iter().chain(positions.iter().copied());
            encode(&mut head, salt, self.seq, written, entries, all, checkpoint.as_ref());
        }
        let pad = padding(head.len(), body);
        let size = (head.len() + body + pad) as u64;
        self.reserve(at + size)?;

        point("journal.frame.before_write");
        let mut parts = Vec::with_capacity(blocks.len() + 2);
        parts.push(IoSlice::new(&head));
        parts.extend(blocks.iter().map(|b| IoSlice::new(b)));
        parts.push(IoSlice::new(&ZEROS[..pad]));
        let segment = self.segment.as_mut().expect("begun above");
        if let Err(e) = write_parts(&*segment.file, &parts, at) {
            if e.kind() != io::ErrorKind::StorageFull {
                return Err(Refusal::Failed(format!("writing a frame: {e}")));
            }
            // A file system that promises room and has none. What was written of the frame is taken back before it is
            // called an abort.
            return match segment.file.set_len(at).and_then(|()| segment.file.sync_data()) {
                Ok(()) => {
                    segment.allocated = at;
                    Err(Refusal::Full(e.to_string()))
                }
                Err(undo) => Err(Refusal::Failed(format!("taking back a frame that met a full disk: {undo}"))),
            };
        }
        point("journal.frame.written");
        if self.shared.config.durability == Durability::Fsync && !planted(Bug::AckBeforeFsync) {
            let begun = self.shared.clock.elapsed();
            segment.file.sync_data().map_err(|e| Refusal::Failed(format!("fsync: {e}")))?;
            let took = self.shared.clock.elapsed().saturating_sub(begun);
            self.shared.counters.syncs.fetch_add(1, Ordering::Relaxed);
            self.shared.counters.sync_us.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        }
        point("journal.frame.synced");

        segment.end = at + size;
        if at == 0 {
            segment.first_written = written;
        }
        let mut view = self.shared.view.write().expect("view");
        let index = &mut view.active.as_mut().expect("begun with the segment").index;
        index.begin(self.seq, written, checkpoint.as_ref()).expect("the writer counts right");
        for e in entries {
            index.add_block(e.tp, e.base, e.count, e.len).expect("the writer counts right");
        }
        index.finish(self.seq, written, size);
        drop(view);
        self.shared.counters.frames.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.bytes.fetch_add(size, Ordering::Relaxed);
        self.seq += 1;
        self.head = head;
        Ok(())
    }

    /// Reserves disk for the active segment up to `end`, so that writing there cannot run out of it.
    fn reserve(&mut self, end: u64) -> Result<(), Refusal> {
        let shared = self.shared.clone();
        let segment = self.segment.as_mut().expect("begun by the caller");
        if end <= segment.allocated {
            return Ok(());
        }
        let want = end.next_multiple_of(shared.config.allocate_step.max(ALIGN));
        let (free, total) =
            shared.fs.space(&shared.journal).map_err(|e| Refusal::Full(format!("asking for free space: {e}")))?;
        let keep = match shared.config.min_free {
            MinFree::Percent(p) => total / 100 * u64::from(p),
            MinFree::Bytes(n) => n,
        };
        let more = want - segment.allocated;
        if free < keep.saturating_add(more) {
            return Err(Refusal::Full(format!(
                "{free} bytes are free where {keep} must stay free and {more} are needed"
            )));
        }
        segment.file.allocate(want).map_err(|e| Refusal::Full(format!("reserving disk: {e}")))?;
        segment.allocated = want;
        Ok(())
    }

    /// Makes the file of segment `number` and turns to it. Its first frame will say where everything stands.
    fn begin_segment(&mut self, number: u64) -> Result<(), Refusal> {
        let shared = self.shared.clone();
        let path = segment_path(&shared.journal, number);
        let full = |doing: &str, e: &io::Error| Refusal::Full(format!("{doing} {}: {e}", path.display()));
        // An attempt that met a full disk may have left it.
        if shared.fs.exists(&path) {
            shared.fs.remove(&path).map_err(|e| full("removing", &e))?;
        }
        let file = shared.fs.open(&path, true).map_err(|e| full("making", &e))?;
        let before = self.segment.replace(Writing {
            file: file.clone(),
            number,
            end: 0,
            allocated: 0,
            first_written: Micros(0),
        });
        if let Err(refusal) = self.reserve(ALIGN) {
            self.segment = before;
            // IMPORTANT: gone for good before the segment before it is written on. Beside a last file that is empty, a frame that
            // is torn there would be damage.
            let gone = shared.fs.remove(&path).and_then(|()| shared.fs.sync_dir(&shared.journal));
            gone.map_err(|e| Refusal::Failed(format!("removing {}: {e}", path.display())))?;
            return Err(refusal);
        }
        point("journal.segment.created");
        if !planted(Bug::DirectorySyncSkipped) {
            shared.fs.sync_dir(&shared.journal).map_err(|e| Refusal::Failed(format!("syncing the directory: {e}")))?;
        }
        point("journal.segment.synced");
        let mut view = shared.view.write().expect("view");
        let index = SegmentIndex::new(number);
        if let Some(sealed) = view.active.replace(Active { file, index }) {
            let path = segment_path(&shared.journal, sealed.index.number);
            view.sealed.push(Arc::new(Segment::new(path, sealed.index, Some(sealed.file), false)));
        }
        drop(view);
        shared.keeper.lock().expect("keeper").sealed = true;
        shared.keeper_wake.notify_all();
        Ok(())
    }

    /// Seals a segment whose first frame is old, with a frame that only says where everything stands.
    fn roll_if_old(&mut self) {
        let now = self.shared.clock.now().0;
        let age = self.shared.config.segment_secs as i64 * 1_000_000;
        let old = self.segment.as_ref().is_some_and(|s| s.end > 0 && now - s.first_written.0 >= age);
        if !old {
            return;
        }
        let number = self.segment.as_ref().map_or(1, |s| s.number + 1);
        match self.begin_segment(number).and_then(|()| self.append(&[], &[], &[])) {
            Ok(()) => {}
            Err(Refusal::Full(why)) => self.set_health(Health::Full(why)),
            Err(Refusal::Failed(why)) => self.fail(why),
        }
    }

    fn set_health(&self, health: Health) {
        let mut now = self.shared.health.lock().expect("health");
        match (&*now, &health) {
            (Health::Ok, Health::Full(why)) => tracing::warn!(why, "the journal is full; commits are refused"),
            (Health::Full(_), Health::Ok) => tracing::info!("the journal has room again"),
            _ => {}
        }
        *now = health;
    }

    fn fail(&mut self, why: String) {
        self.failed = true;
        self.shared.stop(why);
    }
}

/// When the writer's thread ends, whatever the reason, nobody is left waiting for it.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop("the journal's writer panicked".into());
        }
        let mut queue = self.0.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.closed = true;
        abort(queue.items.drain(..).collect(), &Aborted::Closed);
    }
}

/// The commits of the next frame.
fn take(items: &mut VecDeque<Submission>) -> Vec<Submission> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(s) = items.pop_front_if(|s| bytes == 0 || bytes + s.bytes <= FRAME_MAX) {
        bytes += s.bytes;
        batch.push(s);
    }
    batch
}

/// The receiver may be gone; the commit stands all the same.
fn answer(sender: oneshot::Sender<Outcome>, outcome: Outcome) {
    let _ = sender.send(outcome);
}

fn abort(batch: Vec<Submission>, why: &Aborted) {
    for s in batch {
        answer(s.answer, Outcome::Aborted(why.clone()));
    }
}

#[cfg(not(feature = "faults"))]
fn write_parts(file: &dyn File, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
    file.write_all_at(parts, at)
}

/// In two halves, so that a test can end the process between them.
#[cfg(feature = "faults")]
fn write_parts(file: &dyn File, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
    let mut half: usize = parts.iter().map(|p| p.len()).sum::<usize>() / 2;
    let first = half as u64;
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for p in parts {
        let (a, b) = p.split_at(half.min(p.len()));
        half -= a.len();
        front.push(IoSlice::new(a));
        back.push(IoSlice::new(b));
    }
    file.write_all_at(&front, at)?;
    point("journal.frame.half_written");
    file.write_all_at(&back, at + first)
}
