//! Files and standard input: read at the pace at which they can be stored, with positions that survive a restart.
//!
//! * `bytes`: what a file or a stream holds, inflated
//! * `frame`: where one record ends and the next begins
//! * `feed`: records to the collector, with their positions
//! * [`identity`]: which file this is, and how far it was read
//! * `commit`: one commit after another, each seen through to its end
//! * `reader`: the loop that joins them; `watch`: what happens to a file that is followed
//! * `whole`: outside a run: the beginning of an input, and one that is there whole
//! * [`error`]: the texts for people
//!
//! ```text
//! file --read, inflate--> bytes --cut--> records --collect--> raw + dlq + position of the file, one commit
//! ```
//! A commit holds the events and the position behind them, so a restart repeats nothing and loses nothing. A stream
//! has no positions: its events have their own ids or fresh ones.

mod bytes;
mod commit;
pub mod error;
mod feed;
mod frame;
pub mod identity;
mod reader;
#[cfg(test)]
mod tests;
mod watch;
mod whole;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::log::Log;
use seam::{Clock, Rng};
use wire::{Decoder, Preset};

pub use error::InputError;
pub use identity::Identity;
pub use whole::{Beginning, beginning, take_whole};

/// One input to read.
#[derive(Debug)]
pub struct InputConfig {
    pub origin: Origin,
    /// How its records are cut and converted. What their members mean is the decoder's.
    pub preset: Preset,
    pub follow: Follow,
    /// Bytes out for each byte in that a compressed input may have; see [`MAX_RATIO`].
    pub max_ratio: u32,
}

impl InputConfig {
    pub fn new(origin: Origin, preset: Preset) -> InputConfig {
        InputConfig { origin, preset, follow: Follow::No, max_ratio: MAX_RATIO }
    }
}

/// What a compressed input may grow by. A file is its owner's own, is never held whole, and logs that repeat one line
/// do grow a thousandfold; what grows more than this would fill the disk for no good.
pub const MAX_RATIO: u32 = 10_000;

/// Where an input comes from.
#[derive(Debug)]
pub enum Origin {
    /// A regular file has an identity and positions; anything else under that path (a named pipe, a terminal) is a
    /// stream.
    File(PathBuf),
    Stdin,
    Stream(OwnedFd),
}

/// What happens at the end of a file. A stream ends when it is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// The input has ended; a last line without a newline counts.
    No,
    /// Wait for more, through renames and truncations, until stopped. A last line waits for its newline.
    Forever,
    /// The same until nothing has come for this long; then a last line without a newline counts, and the input ends.
    UntilIdle(Duration),
}

/// What reading needs of the world.
#[derive(Clone)]
pub struct World {
    pub log: Arc<dyn Log>,
    pub decoder: Arc<Decoder>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

/// How far an input is, for the status line; also what `--until-idle` waits for.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes taken from the file, compressed ones if it is; those read in earlier runs included.
    pub bytes: AtomicU64,
    /// Bytes the file has; 0 while unknown, and for streams.
    pub total: AtomicU64,
    /// Committed in this run.
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    /// Everything that is there was read and committed. Becomes false again when a followed file grows. A stream is at
    /// its end only when it is closed.
    pub at_end: AtomicBool,
    /// The input is done with, whether well or not.
    pub finished: AtomicBool,
    waiting: Mutex<Option<String>>,
}

impl Progress {
    /// Why reading waits, while it does: the log has no room.
    pub fn waiting(&self) -> Option<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets why reading waits; answers whether it began to.
    fn wait_for(&self, what: Option<&str>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let began = waiting.is_none() && what.is_some();
        *waiting = what.map(str::to_owned);
        began
    }
}

/// What became of an input.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InputSummary {
    /// A path as it was given, or `standard input`.
    pub name: String,
    /// `file:<hex>` of the file read last; `None` for streams and empty files.
    pub identity: Option<String>,
    /// Committed in this run.
    pub accepted: u64,
    pub refused: u64,
    /// Accepted and refused in earlier runs, of the file as it was found.
    pub before: u64,
    /// There was not one byte in it.
    pub is_empty: bool,
    /// It was stopped before its end.
    pub is_stopped: bool,
    /// For people: what was remarkable about it, or nothing.
    pub note: Option<String>,
}

/// Reads an input to its end, or until `stop`: then it commits what it has and returns. Blocks the calling thread,
/// which must not be one of an async runtime.
///
/// # Errors
/// See [`InputError`]. Whatever was committed before an error stays, and the next run goes on behind it.
pub fn run(
    config: InputConfig,
    world: &World,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<InputSummary, InputError> {
    let result = reader::Reader::new(config, world, progress, stop).run();
    progress.finished.store(true, Ordering::Release);
    result
}

/// Sleeps, but not long after `stop`.
#[allow(clippy::disallowed_methods)] // the one place where an input waits
fn pause(time: Duration, stop: &AtomicBool) {
    const SLICE: Duration = Duration::from_millis(20);
    let mut left = time;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let slice = left.min(SLICE);
        std::thread::sleep(slice);
        left -= slice;
    }
}
