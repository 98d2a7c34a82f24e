//! What a source that is asked over a connection is for whoever asks and does not wait.

use std::sync::Arc;
use std::time::Duration;

use flow::Status;

/// A key as its source wants it: of a source that is asked over a connection, and of one that is asked by its name, each
/// parameter behind its length, a u32 in little endian.
pub type Key = Arc<[u8]>;

/// What came of an ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told<'a> {
    pub status: Status,
    /// JSON; empty unless the status is `Ok` or `Stale`.
    pub json: &'a [u8],
    /// Where it comes from; `None` where nobody answered.
    pub origin: Option<Origin>,
}

/// Who answered, and how old the answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub tier: Tier,
    /// Microseconds since the source was asked for it.
    pub age_us: u64,
}

/// Who answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// The cache of this process.
    Local,
    /// The cache that several processes share.
    Shared,
    Source,
}

impl Tier {
    pub fn word(self) -> &'static str {
        match self {
            Tier::Local => "local",
            Tier::Shared => "shared",
            Tier::Source => "source",
        }
    }
}

/// Is told of each key how its ask ended, by its place among the keys, on any thread. It must neither block nor panic.
pub type Hear = Box<dyn Fn(usize, Told<'_>) + Send + Sync>;

/// Keys that were asked for. Dropping it is to go away: of those that are not settled nothing is heard any more, save what is
/// being said at this moment.
pub type Asking = Box<dyn Send + Sync>;

/// A source that may have to be waited for.
pub trait Asked: Send + Sync {
    /// What is known at once: appends the fact's JSON and says what of it. `None`: it must be asked.
    fn known(&self, key: &[u8], out: &mut Vec<u8>) -> Option<(Status, Origin)>;

    /// Asks. Each key is settled once, by `deadline` at the latest: microseconds as the process's clock has them elapsed.
    fn ask(&self, keys: Vec<Key>, deadline: u64, hear: Hear) -> Asking;
}

/// A lookup as it is asked by its name.
#[derive(Clone, Copy)]
pub struct Listed<'a> {
    pub asked: &'a dyn Asked,
    /// Texts that a key is made of; at least 1.
    pub parameters: usize,
    /// How long an ask may take that does not say so itself.
    pub deadline: Duration,
}

/// The lookups of a process, for those who ask for them by name.
pub trait Directory: Send + Sync {
    fn find(&self, name: &str) -> Option<Listed<'_>>;

    /// In the order of the configuration.
    fn names(&self) -> Vec<&str>;
}
