//! The log: topics with partitions, durable and ordered, and the one way anything is committed to them. Stages meet
//! only here.
//!
//! * [`contract`]: the trait, with Kafka's shape
//! * [`journal`]: the log on a local disk
//! * `conformance`: what any log must do, as a suite (feature `conformance`)
//! * `inject`: a log that injects unknown outcomes, aborts, revocations and gaps (feature `conformance`)
//!
//! It does not know what is in a record beyond its block, does not keep operators' state, and does not retry.

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod contract;
#[cfg(feature = "conformance")]
pub mod inject;
pub mod journal;

pub use contract::{
    Aborted, Assignment, Commit, Committed, Fetch, Generation, Input, Log, LogError, Membership, Outcome, Position,
    StoredPosition, Ticket,
};
pub use journal::{Journal, JournalConfig};
