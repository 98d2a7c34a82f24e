//! A segment file: sealed ones as readers see them, and the scan that learns a segment from its frames.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use seam::{File, Fs};

use super::frame::{ALIGN, Frame, HEADER, Window, header};
use super::index::SegmentIndex;
use crate::contract::{Input, LogError, Position, StoredPosition};

/// Bytes a scan reads at once.
const SCAN_CHUNK: usize = 1 << 20;

/// All positions, by group and input, ordered so that what is written of them does not depend on chance.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct Positions(pub BTreeMap<Arc<str>, BTreeMap<Input, StoredPosition>>);

impl Positions {
    pub fn set(&mut self, p: &Position) {
        let stored = StoredPosition { next: p.next, metadata: p.metadata.clone() };
        match self.0.get_mut(&p.group) {
            Some(group) => {
                group.insert(p.input.clone(), stored);
            }
            None => {
                self.0.insert(p.group.clone(), BTreeMap::from([(p.input.clone(), stored)]));
            }
        }
    }

    pub fn stored(&self, group: &str, input: &Input) -> Option<&StoredPosition> {
        self.0.get(group)?.get(input)
    }

    pub fn all(&self) -> Vec<Position> {
        let mut all = Vec::new();
        for (group, inputs) in &self.0 {
            for (input, stored) in inputs {
                all.push(Position {
                    group: group.clone(),
                    input: input.clone(),
                    next: stored.next,
                    metadata: stored.metadata.clone(),
                });
            }
        }
        all
    }
}

/// A segment nothing is appended to any more.
pub(super) struct Segment {
    pub path: PathBuf,
    pub index: SegmentIndex,
    /// Open while it is being read; a directory may have more segments than a process may have files.
    file: Mutex<Option<Arc<dyn File>>>,
    used: AtomicBool,
    /// Whether its `.idx` file is written.
    pub indexed: AtomicBool,
    /// Retention met damage in it and leaves it alone.
    pub stuck: AtomicBool,
}

impl Segment {
    pub fn new(path: PathBuf, index: SegmentIndex, file: Option<Arc<dyn File>>, indexed: bool) -> Segment {
        Segment {
            path,
            index,
            file: Mutex::new(file),
            used: AtomicBool::new(true),
            indexed: AtomicBool::new(indexed),
            stuck: AtomicBool::new(false),
        }
    }

    pub fn open(&self, fs: &dyn Fs, salt: u64) -> io::Result<Arc<dyn File>> {
        self.used.store(true, Ordering::Relaxed);
        let mut slot = self.file.lock().expect("no one panics while opening a file");
        if let Some(file) = &*slot {
            return Ok(file.clone());
        }
        let file = fs.open_read(&self.path)?;
        // Retention may have put another file in this one's place; a reader must not take that one for it, because its
        // frames are elsewhere.
        let mut first = [0; HEADER];
        file.read_exact_at(&mut first, 0)?;
        if header(&first, salt).is_ok_and(|h| h.revision != self.index.revision) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "retention replaced it"));
        }
        *slot = Some(file.clone());
        Ok(file)
    }

    /// Closes the file if nobody read it since the last call.
    pub fn rest(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            *self.file.lock().expect("no one panics while opening a file") = None;
        }
    }
}

/// What a scan of a segment found.
pub(super) struct Scan {
    /// Of the good frames from the begin on.
    pub index: SegmentIndex,
    pub positions: Positions,
    pub stop: Stop,
    /// Where the last good frame begins.
    pub last_at: u64,
}

/// Why a scan stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// At the end of the file, or where only zeros follow.
    End,
    /// Something else is there that is not a good frame, and no good frame with a higher number follows.
    Torn { at: u64, what: &'static str },
    /// A bad frame with a good one after it, or a good one that does not belong here.
    Damaged { at: u64, what: &'static str },
}

impl Stop {
    pub fn damage(self, path: &Path) -> Option<LogError> {
        match self {
            Stop::End => None,
            Stop::Torn { at, what } | Stop::Damaged { at, what } => Some(damaged(path, at, what)),
        }
    }
}

pub(super) fn damaged(path: &Path, at: u64, what: &str) -> LogError {
    LogError::Damaged { file: path.display().to_string(), at, what: what.to_owned() }
}

/// Reads a segment from its begin, checking every byte, and hands each good frame to `each`.
pub(super) fn scan(file: &dyn File, number: u64, salt: u64, mut each: impl FnMut(u64, &Frame)) -> io::Result<Scan> {
    let mut window = Window::new(file, SCAN_CHUNK);
    let mut scan =
        Scan { index: SegmentIndex::new(number), positions: Positions::default(), stop: Stop::End, last_at: 0 };
    let len = file.len()?;
    loop {
        let at = scan.index.end;
        if at >= len {
            return Ok(scan);
        }
        let what = match window.frame(at, salt)? {
            Err(what) => what,
            Ok(frame) => match window.bad_block(at, &frame)? {
                Some(_) => "the checksum of a block is wrong",
                None => {
                    if let Err(what) = scan.index.add(&frame) {
                        scan.stop = Stop::Damaged { at, what };
                        return Ok(scan);
                    }
                    for p in &frame.positions {
                        scan.positions.set(p);
                    }
                    scan.last_at = at;
                    each(at, &frame);
                    continue;
                }
            },
        };
        scan.stop = judge(&mut window, at, len, salt, scan.index.last_seq, what)?;
        return Ok(scan);
    }
}

/// What a place that is no good frame means: it depends on what follows.
fn judge(window: &mut Window<'_>, at: u64, len: u64, salt: u64, last_seq: u64, what: &'static str) -> io::Result<Stop> {
    if next_good(window, at + ALIGN, len, salt, last_seq)?.is_some() {
        return Ok(Stop::Damaged { at, what });
    }
    let mut pos = at;
    while pos < len {
        let bytes = window.get(pos, ((len - pos) as usize).min(SCAN_CHUNK))?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|b| *b != 0) {
            return Ok(Stop::Torn { at, what });
        }
        pos += bytes.len() as u64;
    }
    Ok(Stop::End)
}

/// The first good frame at or after `from` whose number is higher than `last_seq`.
pub(super) fn next_good(
    window: &mut Window<'_>,
    from: u64,
    len: u64,
    salt: u64,
    last_seq: u64,
) -> io::Result<Option<u64>> {
    let mut at = from;
    while at + HEADER as u64 <= len {
        if header(window.get(at, HEADER)?, salt).is_ok_and(|h| h.seq > last_seq)
            && let Ok(frame) = window.frame(at, salt)?
            && window.bad_block(at, &frame)?.is_none()
        {
            return Ok(Some(at));
        }
        at += ALIGN;
    }
    Ok(None)
}
