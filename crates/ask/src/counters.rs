//! What happened so far, and what is going on. Counts only rise; the last fields are levels.

/// What one tier's reads found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reads {
    /// Fresh values.
    pub hits: u64,
    /// Fresh entries without a value.
    pub negative: u64,
    /// Entries past their time.
    pub stale: u64,
    pub misses: u64,
}

/// A desk's. What the local cache found, its shards count ([`crate::Cache::reads`]).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    pub asked: u64,
    /// Asks that joined a flight.
    pub coalesced: u64,
    /// Flights begun to refresh what is still good.
    pub refreshed: u64,
    /// Flights whose leader left before the others.
    pub handed_over: u64,
    pub cancelled: u64,
    pub settled: Settled,

    pub shared: Reads,
    /// Reads and leases that failed or took too long, and writes that were reported to have failed.
    pub shared_failed: u64,
    /// How often the shared tier's breaker opened.
    pub shared_opened: u64,
    pub leases_granted: u64,
    /// Leases that another process had.
    pub leases_taken: u64,

    /// Keys that the source answered: values in `hits`, not found and bad keys in `negative`, those it said nothing of in
    /// `misses`.
    pub source: Reads,
    /// Attempts that were made, retries among them.
    pub calls: u64,
    pub retries: u64,
    /// Attempts that failed, in whole or for some of their keys.
    pub failed: u64,
    /// Keys whose answer came when nobody waited any more; it went to the caches.
    pub late: u64,
    /// Answers and failures of attempts that were over.
    pub ignored: u64,
    /// How often the source's breaker opened.
    pub opened: u64,

    /// Whether the source was left alone when something was last asked for.
    pub open: bool,
    /// Calls in flight.
    pub in_flight: usize,
    /// Keys that wait for a call or a permit.
    pub queued: usize,
    /// Asks that are not settled.
    pub waiting: usize,
    /// Keys that are on their way.
    pub flights: usize,
}

/// Asks by how they were settled.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Settled {
    pub ok: u64,
    pub miss: u64,
    pub stale: u64,
    pub timeout: u64,
    pub error: u64,
    pub open: u64,
}

impl Settled {
    pub fn sum(&self) -> u64 {
        self.ok + self.miss + self.stale + self.timeout + self.error + self.open
    }
}
