//! Start: the format, the segments, the torn tail, and damage told apart from it.
//!
//! Sealed segments are taken at their index file's word; the last one is read to its end and every byte is checked. What
//! follows the last good frame is torn (one frame is written at a time, and nobody saw it) unless another good frame
//! follows: then something that was synced is not what was written, and the journal is not opened.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, RwLock};

use event::{Offset, TopicPartition};
use seam::fault::{Bug, planted};
use seam::{Clock, File, Fs};
use tokio::sync::watch;

use super::dir::{FORMAT, Format, Lock, index_path, io_error, journal_dir, segment_number, segment_path};
use super::frame::{Window, header};
use super::index::{self, SegmentIndex};
use super::segment::{Positions, Scan, Segment, Stop, damaged, scan};
use super::view::{Active, View, known};
use super::writer::Writer;
use super::{Counters, Groups, Health, JournalConfig, Queue, Shared, keep};
use crate::contract::LogError;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Write,
    /// Nothing is changed, not even a torn tail.
    Read,
}

/// Makes the directories and takes the lock.
pub(super) fn prepare(dir: &Path, fs: &dyn Fs) -> Result<Lock, LogError> {
    let journal = journal_dir(dir);
    let new = !fs.exists(&journal);
    fs.create_dir_all(&journal).map_err(io_error("making", &journal))?;
    let lock = Lock::acquire(fs, dir)?;
    if new {
        // The directory's own entry too: an acknowledged event must not go with its directory. A parent that may be
        // passed but not read is the operator's to keep.
        let parent = match dir.parent() {
            Some(p) if p.as_os_str().is_empty() => Path::new("."),
            Some(p) => p,
            None => dir,
        };
        match fs.sync_dir(parent) {
            Err(e) if e.kind() != std::io::ErrorKind::PermissionDenied => {
                return Err(io_error("syncing", parent)(e));
            }
            _ => fs.sync_dir(dir).map_err(io_error("syncing", dir))?,
        }
    }
    Ok(lock)
}

/// The segments of a journal, learned from its directory.
pub(super) struct Found {
    pub sealed: Vec<Arc<Segment>>,
    /// The last file, if its frames may be followed by more.
    pub tail: Option<Tail>,
    pub positions: Positions,
    /// Of the last frame; 0 when there is none.
    pub last_seq: u64,
}

pub(super) struct Tail {
    pub path: PathBuf,
    pub file: Arc<dyn File>,
    /// Its frames; the index is empty when the file has none.
    pub scan: Scan,
}

pub(super) fn open(
    dir: &Path,
    mut config: JournalConfig,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    mode: Mode,
) -> Result<(Arc<Shared>, Option<Writer>), LogError> {
    let journal = journal_dir(dir);
    let format = match Format::read(&*fs, dir)? {
        Some(format) => format,
        None if mode == Mode::Read || !segments(&*fs, &journal)?.is_empty() => {
            return Err(LogError::Format { dir: dir.display().to_string(), found: "none".into(), known: FORMAT });
        }
        None => {
            let seed = [clock.now().0 as u64, clock.elapsed().as_nanos() as u64, u64::from(std::process::id())];
            let bytes: Vec<u8> = seed.iter().flat_map(|n| n.to_le_bytes()).collect();
            let format = Format { salt: event::key::hash64(&bytes), partitions: config.partitions };
            format.write(&*fs, dir)?;
            format
        }
    };
    if mode == Mode::Read {
        config.partitions = format.partitions;
    } else if config.partitions != format.partitions {
        let dir = dir.display().to_string();
        return Err(LogError::Partitions { dir, stored: format.partitions, asked: config.partitions });
    }
    if mode == Mode::Write {
        tidy(&*fs, &journal)?;
    }
    let mut found = find(&*fs, &journal, format.salt, mode)?;
    if planted(Bug::LostTail) && mode == Mode::Write {
        lose_tail(&mut found, format.salt)?;
    }

    let mut view = View::new(config.partitions, config.cache_bytes);
    let mut writer_at = None;
    let mut active = None;
    if let Some(tail) = found.tail {
        let end = tail.scan.index.end;
        if mode == Mode::Write && tail.scan.stop != Stop::End {
            tracing::warn!(file = %tail.path.display(), at = end, "cut off a frame that was never finished");
            // IMPORTANT: synced before anything is appended, or a later torn frame could end in this one's bytes.
            tail.file.set_len(end).map_err(io_error("cutting", &tail.path))?;
            tail.file.sync_data().map_err(io_error("syncing", &tail.path))?;
        }
        writer_at = Some((tail.file.clone(), tail.scan.index.number, end));
        active = Some(Active { file: tail.file, index: tail.scan.index });
    }
    view.sealed = found.sealed;
    view.active = active;
    view.positions = found.positions;
    for (tp, (start, end)) in bounds(&view) {
        if !known(tp, config.partitions) {
            let found = format!("{FORMAT} with a topic {} partition {}", tp.topic.0, tp.partition);
            return Err(LogError::Format { dir: dir.display().to_string(), found, known: FORMAT });
        }
        view.set_bounds(tp, start, end);
    }

    let shared = Arc::new(Shared {
        dir: dir.to_owned(),
        journal,
        fs,
        clock,
        salt: format.salt,
        view: RwLock::new(view),
        queue: Mutex::new(Queue { closed: mode == Mode::Read, ..Queue::default() }),
        wake: Condvar::new(),
        queued_bytes: AtomicU64::new(0),
        groups: Mutex::new(Groups::default()),
        health: Mutex::new(Health::Ok),
        counters: Counters::default(),
        published: watch::Sender::new(0),
        seen: Mutex::new(0),
        seen_wake: Condvar::new(),
        hints: Mutex::new(HashMap::new()),
        keeper: Mutex::new(keep::Signal::default()),
        keeper_wake: Condvar::new(),
        keeping: Mutex::new(()),
        read_only: mode == Mode::Read,
        config,
    });
    if mode == Mode::Read {
        return Ok((shared, None));
    }
    let writer = Writer::new(shared.clone(), found.last_seq + 1, writer_at)?;
    Ok((shared, Some(writer)))
}

/// Segment numbers in order.
pub(super) fn segments(fs: &dyn Fs, journal: &Path) -> Result<Vec<u64>, LogError> {
    if !fs.exists(journal) {
        return Ok(Vec::new());
    }
    let names = fs.list(journal).map_err(io_error("listing", journal))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|n| segment_number(n)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what a crash left behind of files that were being written beside their place.
fn tidy(fs: &dyn Fs, journal: &Path) -> Result<(), LogError> {
    for name in fs.list(journal).map_err(io_error("listing", journal))? {
        if name.ends_with(".tmp") {
            let path = journal.join(name);
            fs.remove(&path).map_err(io_error("removing", &path))?;
        }
    }
    Ok(())
}

/// Learns all segments.
pub(super) fn find(fs: &dyn Fs, journal: &Path, salt: u64, mode: Mode) -> Result<Found, LogError> {
    let mut numbers = segments(fs, journal)?;
    let mut found = Found { sealed: Vec::new(), tail: None, positions: Positions::default(), last_seq: 0 };
    let Some(&last) = numbers.last() else { return Ok(found) };
    let mut tail = Some(read_tail(fs, journal, last, salt, mode)?);
    numbers.pop();
    if tail.as_ref().is_some_and(|t| t.scan.index.is_empty()) && !numbers.is_empty() {
        // The process ended between making this file and its first frame. All the segment before it holds was synced
        // first, so that one is sealed; the positions are in its frames.
        let path = segment_path(journal, numbers[numbers.len() - 1]);
        let file = fs.open_read(&path).map_err(io_error("opening", &path))?;
        let before = scan(&*file, numbers[numbers.len() - 1], salt, |_, _| ()).map_err(io_error("reading", &path))?;
        if let Some(damage) = before.stop.damage(&path) {
            return Err(damage);
        }
        found.positions = before.positions;
        found.last_seq = before.index.last_seq;
    } else if let Some(tail) = &mut tail {
        found.positions = std::mem::take(&mut tail.scan.positions);
        found.last_seq = tail.scan.index.last_seq;
    }

    let mut covered = None;
    for &number in &numbers {
        if covered.is_some_and(|c| number <= c) {
            // Retention merged it into the one before and was stopped before it removed it.
            if mode == Mode::Write {
                for path in [segment_path(journal, number), index_path(journal, number)] {
                    if fs.exists(&path) {
                        fs.remove(&path).map_err(io_error("removing", &path))?;
                    }
                }
            }
            continue;
        }
        contiguous(journal, covered, number)?;
        let segment = sealed(fs, journal, number, salt)?;
        if let Some(before) = found.sealed.last()
            && !follows(&before.index, segment.index.first_seq)
        {
            let what = format!(
                "its frames end with number {}, the next segment goes on with {}",
                before.index.last_seq, segment.index.first_seq
            );
            return Err(damaged(&before.path, before.index.end, &what));
        }
        covered = Some(segment.index.covers);
        found.sealed.push(Arc::new(segment));
    }
    contiguous(journal, covered, last)?;
    if let (Some(before), Some(t)) = (found.sealed.last(), &tail)
        && !t.scan.index.is_empty()
        && !follows(&before.index, t.scan.index.first_seq)
    {
        let what = format!(
            "its frames end with number {}, the next segment goes on with {}",
            before.index.last_seq, t.scan.index.first_seq
        );
        return Err(damaged(&before.path, before.index.end, &what));
    }
    found.tail = tail;
    Ok(found)
}

fn contiguous(journal: &Path, covered: Option<u64>, number: u64) -> Result<(), LogError> {
    match covered {
        Some(c) if number != c + 1 => Err(damaged(&segment_path(journal, c + 1), 0, "this segment is missing")),
        _ => Ok(()),
    }
}

/// A segment written anew may have lost its last frames to retention; any other must be followed without a gap.
fn follows(before: &SegmentIndex, seq: u64) -> bool {
    if before.rewritten { seq > before.last_seq } else { seq == before.last_seq + 1 }
}

fn read_tail(fs: &dyn Fs, journal: &Path, number: u64, salt: u64, mode: Mode) -> Result<Tail, LogError> {
    let path = segment_path(journal, number);
    let file = match mode {
        Mode::Write => fs.open(&path, false),
        Mode::Read => fs.open_read(&path),
    }
    .map_err(io_error("opening", &path))?;
    let scan = scan(&*file, number, salt, |_, _| ()).map_err(io_error("reading", &path))?;
    if let Stop::Damaged { at, what } = scan.stop {
        return Err(damaged(&path, at, what));
    }
    Ok(Tail { path, file, scan })
}

/// A sealed segment, by its index file if that one belongs to the file beside it.
fn sealed(fs: &dyn Fs, journal: &Path, number: u64, salt: u64) -> Result<Segment, LogError> {
    let path = segment_path(journal, number);
    let file = fs.open_read(&path).map_err(io_error("opening", &path))?;
    let len = file.len().map_err(io_error("reading", &path))?;
    if let Some(index) = index::load(fs, &index_path(journal, number), salt) {
        let mut window = Window::new(&*file, super::frame::HEADER);
        let first = header(window.get(0, super::frame::HEADER).map_err(io_error("reading", &path))?, salt);
        let matches = first.is_ok_and(|h| h.seq == index.first_seq && h.revision == index.revision);
        if matches && index.number == number && index.end <= len {
            return Ok(Segment::new(path, index, None, true));
        }
    }
    let scan = scan(&*file, number, salt, |_, _| ()).map_err(io_error("reading", &path))?;
    if let Some(damage) = scan.stop.damage(&path) {
        return Err(damage);
    }
    if scan.index.is_empty() {
        return Err(damaged(&path, 0, "the segment has no frames and is not the last one"));
    }
    if scan.index.rewritten && scan.index.end != len {
        return Err(damaged(&path, scan.index.end, "frames are missing at the end of the segment"));
    }
    Ok(Segment::new(path, scan.index, None, false))
}

/// First offset kept and end of every partition.
pub(super) fn bounds(view: &View) -> Vec<(TopicPartition, (Offset, Offset))> {
    let sealed = view.sealed.iter().map(|s| &s.index);
    let indexes: Vec<&SegmentIndex> =
        sealed.chain(view.active.iter().map(|a| &a.index)).filter(|x| !x.is_empty()).collect();
    let (Some(oldest), Some(newest)) = (indexes.first(), indexes.last()) else { return Vec::new() };
    let bounds = newest.parts.iter().map(|(tp, part)| {
        let floor = indexes.iter().filter_map(|x| x.parts.get(tp)).map(|p| p.floor).max().unwrap_or(0);
        // A topic younger than the oldest segment is not in it, and kept from its begin.
        let start = oldest.parts.get(tp).map_or(0, |p| p.start);
        (*tp, (floor.max(start), part.end))
    });
    bounds.collect()
}

/// The planted bug: the last good frame goes the way of a torn one.
fn lose_tail(found: &mut Found, salt: u64) -> Result<(), LogError> {
    let Some(tail) = &mut found.tail else { return Ok(()) };
    if tail.scan.last_at == 0 {
        return Ok(());
    }
    let (at, path) = (tail.scan.last_at, tail.path.clone());
    tail.file.set_len(at).map_err(io_error("cutting", &path))?;
    tail.scan = scan(&*tail.file, tail.scan.index.number, salt, |_, _| ()).map_err(io_error("reading", &path))?;
    found.positions = std::mem::take(&mut tail.scan.positions);
    found.last_seq = tail.scan.index.last_seq;
    Ok(())
}
