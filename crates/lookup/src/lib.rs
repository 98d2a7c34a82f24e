//! Lookup sources: where facts about an event come from that the event itself does not hold. A fact is JSON bytes, so that
//! a source renders it once and everybody after it splices.
//!
//! * [`mmdb`]: one version of a MaxMind database file: address to record
//! * [`geo`]: the databases that say where an address is, asked in order and replaced while running
//! * [`reload`]: files that are replaced while they are used; what a source is for whoever asks
//! * `place`: the members of `geo`, read from the three shapes that databases have
//! * `watch`: when a file of the operator's is read again, and what is wrong with the one that was not taken
//! * [`network`]: what network an address is in, from ranges and lists
//! * [`referrer`]: which search engine, social network or mail host a referrer is
//! * `ranges`: which range an address lies in
//! * `lines`: a text file of the operator's, bounded
//! * `json`: what a source writes
//! * [`error`]: what can go wrong, without a word about whom was asked for
//!
//! It does not decide what is looked up or when (`enrich` plans that), does not put facts into events, and keeps no
//! deadline.

pub mod error;
pub mod geo;
mod json;
mod lines;
pub mod mmdb;
pub mod network;
mod place;
mod ranges;
pub mod referrer;
pub mod reload;
mod watch;

pub use error::{Kind, LookupError};
pub use geo::{GeoSource, GeoVersion};
pub use mmdb::{Findings, Mmdb, RecordSource};
pub use network::{ListKind, Network, NetworkFile, NetworkPart, NetworkSource};
pub use referrer::{ReferrerSource, Referrers};
pub use reload::{Answer, Data, Extent, ReloadReport, Reloaded, Source};

/// The version of a file that says nothing of its age: its name up to its extensions, and a hash of its bytes.
fn version(name: &str, bytes: &[u8]) -> String {
    let stem = std::path::Path::new(name).file_stem().and_then(|s| s.to_str()).unwrap_or(name);
    // `asn-ipv4.csv.gz` has two.
    let stem = [".csv", ".txt", ".yml"].iter().find_map(|end| stem.strip_suffix(end)).unwrap_or(stem);
    format!("{stem}-{:08x}", xxhash_rust::xxh3::xxh3_64(bytes) >> 32)
}
