//! Fetching: from memory at the tail, else from the segments, own blocks only, each with its checksum.

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use event::record::Chunk;
use event::{Offset, TopicPartition};
use seam::File;

use super::Shared;
use super::frame::Window;
use super::segment::damaged;
use super::view::{Place, Where, cut};
use crate::contract::{Fetch, LogError};

/// Read at once when skimming frames: header and directory of most, not their bodies.
const SKIM_CHUNK: usize = 16 << 10;
/// Hints are dropped together beyond this: a few readers per partition is what there is.
const HINTS_MAX: usize = 1024;

pub(super) fn fetch(shared: &Shared, tp: TopicPartition, asked: Offset, max: usize) -> Result<Fetch, LogError> {
    let mut at = asked;
    let (mut chunks, mut used) = (Vec::new(), 0);
    let end;
    let mut from_disk = false;
    {
        let view = shared.view.read().expect("view");
        let part = view.part(tp).ok_or(LogError::NoTopic(tp.topic.0))?;
        if at < part.start || at > part.end {
            return Err(LogError::OutOfRange { partition: tp, asked: at, start: part.start, end: part.end });
        }
        end = part.end;
    }
    while at < end && (chunks.is_empty() || used < max) {
        let place = shared.view.read().expect("view").locate(tp, at, max.saturating_sub(used))?;
        match place {
            Place::Skip(to) => at = to,
            Place::Ring(more) => {
                at = more.last().expect("at least one").next();
                used += more.iter().map(|c| c.bytes.len()).sum::<usize>();
                chunks.extend(more);
            }
            Place::Disk { file, from, until, then } => {
                from_disk = true;
                let budget = max.saturating_sub(used).max(1);
                let read = skim(shared, &file, tp, at, from, until, budget);
                match read {
                    Ok((more, Stopped::Full)) => {
                        at = more.last().expect("full of something").next();
                        used = max;
                        chunks.extend(more);
                    }
                    Ok((more, Stopped::Until)) => {
                        used += more.iter().map(|c| c.bytes.len()).sum::<usize>();
                        at = more.last().map_or(at, Chunk::next).max(then);
                        chunks.extend(more);
                    }
                    Err(error) => {
                        // Retention may have replaced or removed the segment while it was read: then ask the new picture.
                        let Where::Sealed(segment) = &file else { return Err(error) };
                        let view = shared.view.read().expect("view");
                        if view.sealed.iter().any(|s| std::sync::Arc::ptr_eq(s, segment)) {
                            return Err(error);
                        }
                        let start = view.part(tp).map_or(0, |p| p.start);
                        if at < start {
                            if chunks.is_empty() {
                                return Err(LogError::OutOfRange { partition: tp, asked: at, start, end });
                            }
                            break;
                        }
                    }
                }
            }
        }
    }
    let counter = if from_disk { &shared.counters.disk_reads } else { &shared.counters.ring_reads };
    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // What was published while this was read is given too, so the end may have moved.
    Ok(Fetch { chunks, next: at, end: end.max(at) })
}

enum Stopped {
    /// There is enough.
    Full,
    /// At the end of the stretch.
    Until,
}

/// Reads the blocks of `tp` at or after `at` from the frames in `[from, until)`.
fn skim(
    shared: &Shared,
    file: &Where,
    tp: TopicPartition,
    at: Offset,
    from: u64,
    until: u64,
    budget: usize,
) -> Result<(Vec<Chunk>, Stopped), LogError> {
    let (handle, number, path) = match file {
        Where::Sealed(s) => {
            let handle = s.open(&*shared.fs, shared.salt).map_err(super::dir::io_error("opening", &s.path))?;
            (handle, s.index.number, s.path.clone())
        }
        Where::Active(f, number) => (f.clone(), *number, super::dir::segment_path(&shared.journal, *number)),
    };
    let io = |e: io::Error| super::dir::io_error("reading", &path)(e);
    let mut pos = from;
    // The reader went on from here last time: the frames before are behind it.
    if let Some((n, hint)) = shared.hints.lock().expect("hints").remove(&(tp, at))
        && n == number
        && (from..until).contains(&hint)
    {
        pos = hint;
    }
    let mut window = Window::new(&*handle, SKIM_CHUNK);
    let (mut chunks, mut used): (Vec<Chunk>, usize) = (Vec::new(), 0);
    while pos < until {
        let frame = match window.frame(pos, shared.salt).map_err(io)? {
            Ok(frame) => frame,
            Err(what) => return Err(damaged(&path, pos, what)),
        };
        for (begin, e) in frame.blocks().filter(|(_, e)| e.tp == tp && e.next() > at) {
            let bytes = block(&mut window, &*handle, pos + begin, e.len as usize).map_err(io)?;
            let Some(bytes) = bytes.filter(|b| crc32c::crc32c(b) == e.crc) else {
                return Err(damaged(&path, pos + begin, "the checksum of a block is wrong"));
            };
            if let Some(chunk) = cut(e.base, e.count, &bytes, at, budget.saturating_sub(used))? {
                used += chunk.bytes.len();
                let next = chunk.next();
                chunks.push(chunk);
                if used >= budget {
                    // The same frame may have more of it.
                    remember(&mut shared.hints.lock().expect("hints"), (tp, next), (number, pos));
                    return Ok((chunks, Stopped::Full));
                }
            }
        }
        pos += frame.size();
    }
    Ok((chunks, Stopped::Until))
}

fn remember(
    hints: &mut HashMap<(TopicPartition, Offset), (u64, u64)>,
    key: (TopicPartition, Offset),
    place: (u64, u64),
) {
    if hints.len() >= HINTS_MAX {
        hints.clear();
    }
    hints.insert(key, place);
}

/// A block's bytes; `None` when the file is too short.
fn block(window: &mut Window<'_>, file: &dyn File, at: u64, len: usize) -> io::Result<Option<Bytes>> {
    if window.holds(at, len) {
        return Ok(Some(Bytes::copy_from_slice(window.get(at, len)?)));
    }
    let mut bytes = vec![0; len];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(Some(bytes.into())),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(e),
    }
}
