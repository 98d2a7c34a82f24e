//! The enrich stage: judges duplicates, asks for what is known about an event, and writes the event again with one more
//! member. A recording stage: what it learned is in its outputs, a fact from then on.
//!
//! * [`stage`]: the operator
//! * [`enricher`]: the trait of one enricher, and **their order as one list**; one file each below it
//! * [`condition`], [`path`], [`order`]: when a lookup is made, what it reads, and in which round of asks
//! * [`dedup`]: the (source, id) pairs that were passed on, in memory and on disk
//! * [`address`]: an address as people write it; [`key`]: keys of several parameters as bytes
//! * [`url`]: the parts of a URL, and what is in its query
//! * [`splice`]: adding a member to a JSON object without writing it anew
//!
//! It does not check JSON (`wire` did), open databases, or know where facts come from.

pub mod address;
pub mod condition;
pub mod dedup;
pub mod enricher;
pub mod key;
pub mod order;
pub mod path;
pub mod splice;
pub mod stage;
pub mod url;

pub use dedup::{Dedup, DedupConfig};
pub use enricher::Enricher;
pub use stage::{Enrich, EnrichConfig, Outline, StatusMode};
