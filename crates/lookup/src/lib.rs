//! Lookup sources: where facts about an event come from that the event itself does not hold. A fact is JSON bytes, so that
//! a source renders it once and everybody after it splices.
//!
//! * [`mmdb`]: one version of a MaxMind database file: address to record
//! * [`geo`]: the databases that say where an address is, asked in order and replaced while running
//! * [`table`]: one version of a file of rows (CSV, NDJSON; Parquet by a feature): key to row
//! * [`asked`]: what a source that is asked over a connection is for whoever does not wait
//! * `remote` (a feature): sources that are asked over a connection
//! * `service` (the same feature): one of them as it is asked: cached, coalesced, in bulk, within a deadline
//! * [`reload`]: files that are replaced while they are used; what a source is for whoever asks
//! * `place`: the members of `geo`, read from the three shapes that databases have
//! * `watch`: when a file of the operator's is read again, and what is wrong with the one that was not taken
//! * [`network`]: what network an address is in, from ranges and lists
//! * [`referrer`]: which search engine, social network or mail host a referrer is
//! * [`link`]: which visitor was last seen with a user
//! * `ranges`: which range an address lies in
//! * `lines`: a text file of the operator's, bounded
//! * [`agent`]: what an agent string says of a device, its browser and its system
//! * [`crawler`]: which agents are programs, by a list and by our own judgement
//! * `pattern`, `sieve`, `words`: regular expressions of files, which of many may match, and tables of words of our own
//! * `memo`: answers by the agent string, within a number of bytes
//! * `json`: what a source writes
//! * [`error`]: what can go wrong, without a word about whom was asked for
//! * [`secret`]: texts that nobody may print
//!
//! It does not decide what is looked up or when (`enrich` plans that), and does not put facts into events. Files keep no
//! deadline: they are asked in memory.

pub mod agent;
pub mod asked;
pub mod crawler;
pub mod error;
pub mod geo;
mod json;
mod lines;
pub mod link;
mod memo;
pub mod mmdb;
pub mod network;
mod pattern;
mod place;
mod ranges;
pub mod referrer;
pub mod reload;
#[cfg(feature = "remote")]
pub mod remote;
pub mod secret;
#[cfg(feature = "remote")]
pub mod service;
mod sieve;
pub mod table;
mod watch;
mod words;

pub use agent::{AgentRules, AgentSource, AgentVersion};
pub use asked::{Asked, Asking, Directory, Hear, Key, Listed, Origin, Tier, Told};
pub use crawler::{CrawlerSource, CrawlerVersion, Crawlers};
pub use error::{Kind, LookupError};
pub use geo::{GeoSource, GeoVersion};
pub use link::Links;
pub use mmdb::{Findings, Mmdb, RecordSource};
pub use network::{ListKind, Network, NetworkFile, NetworkPart, NetworkSource};
pub use referrer::{ReferrerSource, Referrers};
pub use reload::{Answer, Data, Extent, ReloadReport, Reloaded, Source};
pub use secret::Secret;
pub use table::{Format, OnMany, Table, TableConfig, TableSource};

/// The version of a file that says nothing of its age: its name without extensions, and a hash of its bytes.
fn version(name: &str, bytes: &[u8]) -> String {
    format!("{}-{:08x}", table::stem(name), xxhash_rust::xxh3::xxh3_64(bytes) >> 32)
}
