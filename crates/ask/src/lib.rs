//! The life of an ask: what becomes of a question to a slow source from the moment it is asked until it is settled.
//! Questions, answers and time go in, actions come out; whoever owns clients, timers and the shared cache carries them out.
//!
//! ```text
//!  ask --> Cache (local) --hit--> done
//!            | miss, stale
//!            v
//!           Desk: one flight per key
//!            Gathering --> Reading --> Leasing --> Queued --> Flying --> settled
//!                             ^           |taken      ^          |
//!                             +-- Watching<           +-- BackOff<
//! ```
//!
//! * [`desk`]: one source's desk; the only part that knows all the others
//! * [`call`]: what is on its way to the source, and what came of it
//! * [`flight`]: one key that somebody waits for, whoever asks
//! * [`shared`]: what the desk keeps about the shared tier
//! * [`queue`]: flights that wait to be sent in bulk
//! * [`timers`]: what is due when
//! * [`entry`]: what is known of a key, and how old it is
//! * [`cache`]: one shard of the local cache, bounded in bytes
//! * [`breaker`], [`limit`]: when a source is left alone
//! * [`code`]: the words for what went wrong
//! * [`counters`]: what happened so far
//!
//! It does no I/O, keeps no time, starts no thread, draws no random numbers, and does not know what a key means. A time is
//! in microseconds since the process started; it is handed in and never goes back.

pub mod breaker;
pub mod cache;
pub mod call;
pub mod code;
pub mod counters;
pub mod desk;
pub mod entry;
mod flight;
pub mod limit;
mod queue;
pub mod shared;
mod timers;

pub use breaker::{Breaker, BreakerConfig};
pub use cache::{Cache, Hit, Known};
pub use call::{Answer, CallId, Failure, FailureKind};
pub use code::Code;
pub use counters::Counters;
pub use desk::{Action, AskId, Desk, DeskConfig, Outcome, Planted};
pub use entry::{Age, Entry, Moment, Origin, Tier, Ttls, Value};

use std::sync::Arc;

/// A key as its source wants it; the bytes are the source's business.
pub type Key = Arc<[u8]>;

/// A number that looks drawn and is the same every time: from a seed, a key and a count.
fn derive(seed: u64, key: &[u8], count: u64) -> u64 {
    // The seed is spread by an odd constant, so that neighbouring seeds and counts do not meet.
    xxhash_rust::xxh3::xxh3_64_with_seed(key, seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(count))
}
