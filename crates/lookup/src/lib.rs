//! Lookup sources: where facts about an event come from that the event itself does not hold. A fact is JSON bytes, so that
//! a source renders it once and everybody after it splices.
//!
//! * [`mmdb`]: one version of a MaxMind database file: address to record
//! * [`geo`]: the databases that say where an address is, asked in order and replaced while running
//! * `place`: the members of `geo`, read from the three shapes that databases have
//! * `watch`: when a file of the operator's is read again, and what is wrong with the one that was not taken
//! * [`agent`]: what an agent string says of a device, its browser and its system
//! * [`crawler`]: which agents are programs, by a list and by our own judgement
//! * `pattern`, `sieve`, `words`: regular expressions of files, which of many may match, and tables of words of our own
//! * `memo`: answers by the agent string, within a number of bytes
//! * `json`: what a source writes
//! * [`error`]: what can go wrong, without a word about whom was asked for
//!
//! It does not decide what is looked up or when (`enrich` plans that), does not put facts into events, and keeps no
//! deadline.

pub mod agent;
pub mod crawler;
pub mod error;
pub mod geo;
mod json;
mod memo;
pub mod mmdb;
mod pattern;
mod place;
mod sieve;
mod watch;
mod words;

pub use agent::AgentRules;
pub use crawler::Crawlers;
pub use error::{Kind, LookupError};
pub use geo::{GeoSource, GeoVersion, ReloadReport};
pub use mmdb::{Extent, Findings, Mmdb};
