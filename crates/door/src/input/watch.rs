//! What happens to a file that is followed: it grows, is cut short, or gives its name to another one.
//!
//! A file is found by its name only. What a renamed one still held when the process ended, before the next look, is
//! read when it is given as an input under its new name.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use seam::Clock;

use super::bytes::Bytes;
use super::error::InputError;
use super::pause;

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(250);

/// What was seen.
#[derive(Debug)]
pub(super) enum Change {
    Grown,
    /// It is shorter than what was read of it, or begins otherwise: it was written anew in place.
    Rewritten,
    /// Another file has the name and something in it; this one was finished by its writer.
    Replaced(File),
    /// Nothing came for the time that was to be waited.
    Idle,
    Stopped,
}

/// Waits until something happens to the file at `path` that `bytes` has read to its end.
#[allow(clippy::disallowed_methods)] // looking at the user's own files is what this room is for
pub(super) fn wait(
    path: &Path,
    bytes: &mut Bytes,
    idle: Option<Duration>,
    clock: &dyn Clock,
    stop: &AtomicBool,
) -> Result<Change, InputError> {
    let since = clock.elapsed();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(Change::Stopped);
        }
        let unreadable =
            |bytes: &Bytes, source| InputError::Read { name: bytes.name().to_owned(), at: bytes.raw_at(), source };
        let open = bytes.file().metadata().map_err(|e| unreadable(bytes, e))?;
        if open.len() < bytes.raw_at() {
            return Ok(Change::Rewritten);
        }
        if open.len() > bytes.raw_at() {
            return Ok(if bytes.begins_as_before()? { Change::Grown } else { Change::Rewritten });
        }
        // A name that leads nowhere, or to an empty file, is a rotation that is not over: the writer still has this one.
        if let Ok(named) = std::fs::metadata(path)
            && (named.dev(), named.ino()) != (open.dev(), open.ino())
            && named.is_file()
            && named.len() > 0
            && let Ok(file) = File::open(path)
        {
            return Ok(Change::Replaced(file));
        }
        if idle.is_some_and(|idle| clock.elapsed().saturating_sub(since) >= idle) {
            return Ok(Change::Idle);
        }
        pause(idle.map_or(POLL, |idle| idle.min(POLL)), stop);
    }
}
