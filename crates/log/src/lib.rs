//! The log: topics with partitions, durable and ordered, and the one way anything is committed to them. Stages meet
//! only here.
//!
//! * [`contract`]: the trait, with Kafka's shape
//! * [`journal`]: the log on a local disk
//!
//! It does not know what is in a record beyond its block, does not keep operators' state, and does not retry.

pub mod contract;
pub mod journal;

pub use contract::{
    Aborted, Assignment, Commit, Committed, Fetch, Generation, Input, Log, LogError, Membership, Outcome, Position,
    StoredPosition, Ticket,
};
pub use journal::{Journal, JournalConfig};
