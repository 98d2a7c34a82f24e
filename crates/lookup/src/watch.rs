//! When a file of the operator's is read again. A file is judged by its stamp, never by its content: looking must be cheap
//! enough for every half second.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::LookupError;

/// What differs when a file was written or replaced. The change time catches a copy that keeps the modification time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(m: &Metadata) -> Stamp {
        Stamp {
            device: m.dev(),
            inode: m.ino(),
            len: m.len(),
            modified: (m.mtime(), m.mtime_nsec()),
            changed: (m.ctime(), m.ctime_nsec()),
        }
    }

    fn at(path: &Path) -> Option<Stamp> {
        fs::metadata(path).ok().map(|m| Stamp::of(&m))
    }
}

/// The whole file and the stamp it had before and after. Takes no more memory than the file has bytes, and none at all for
/// what is longer than `max` or is not a file.
#[allow(clippy::disallowed_methods)] // a file of the operator's, not of ours
pub(crate) fn read(path: &Path, max: u64) -> Result<(Vec<u8>, Stamp), LookupError> {
    let failed = |source: io::Error| LookupError::Io { path: path.to_owned(), source };
    // IMPORTANT: asked before opening. Opening a pipe waits for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(LookupError::NotFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    if stamp.len > max {
        return Err(LookupError::TooLarge { path: path.to_owned(), bytes: stamp.len, max });
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(stamp.len as usize).map_err(|e| failed(io::Error::new(io::ErrorKind::OutOfMemory, e)))?;
    (&file).take(stamp.len).read_to_end(&mut bytes).map_err(failed)?;
    let after = Stamp::of(&file.metadata().map_err(failed)?);
    if after != stamp || bytes.len() as u64 != stamp.len {
        return Err(LookupError::Changing { path: path.to_owned() });
    }
    Ok((bytes, stamp))
}

/// Attempts beyond the first at one stamp that turned out bad. A writer may go on within the tick of the clock in which we
/// read, and leave the stamp as it was.
const MORE_ATTEMPTS: u32 = 1;

/// One file and what came of reading it.
pub(crate) struct Watch {
    path: PathBuf,
    /// The stamp that was last judged; `None` while there is no file.
    judged: Option<Stamp>,
    attempts_left: u32,
    /// The stamp that was seen last, judged or not.
    seen: Option<Stamp>,
    /// Why the file as it is now is not in use.
    problem: Option<String>,
}

impl Watch {
    /// A file that was read and taken.
    pub(crate) fn new(path: &Path, stamp: Stamp) -> Watch {
        let judged = Some(stamp);
        Watch { path: path.to_owned(), judged, attempts_left: 0, seen: judged, problem: None }
    }

    /// A file that is not there, or is bad, from the start.
    pub(crate) fn absent(path: &Path, why: &LookupError) -> Watch {
        let (judged, problem) = (Stamp::at(path), Some(why.to_string()));
        Watch { path: path.to_owned(), judged, attempts_left: MORE_ATTEMPTS, seen: judged, problem }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The stamp to judge, if there is something to judge: the file changed, or is to be tried once more. With `settled`, a
    /// file that changed is judged only when it is found as it was the last time: nobody has written to it in between.
    pub(crate) fn due(&mut self, settled: bool) -> Option<Option<Stamp>> {
        let now = Stamp::at(&self.path);
        let stood_still = std::mem::replace(&mut self.seen, now) == now;
        ((now != self.judged && (stood_still || !settled)) || (now == self.judged && self.attempts_left > 0))
            .then_some(now)
    }

    /// The file was read whole at this stamp, and taken.
    pub(crate) fn took(&mut self, stamp: Stamp) {
        *self = Watch::new(&std::mem::take(&mut self.path), stamp);
    }

    /// The file was not taken. True if that is news.
    pub(crate) fn refused(&mut self, stamp: Option<Stamp>, why: &LookupError) -> bool {
        self.attempts_left = if stamp == self.judged { self.attempts_left.saturating_sub(1) } else { MORE_ATTEMPTS };
        self.judged = stamp;
        let why = why.to_string();
        let news = self.problem.as_ref() != Some(&why);
        self.problem = Some(why);
        news
    }
}
