//! Snapshots of operators' state: parts that are written once and never changed, and a manifest that names the whole
//! chain, written last. What has no readable manifest was never there.
//!
//! * [`store`]: where objects lie, and the directory as such a place
//! * [`manifest`]: what a snapshot is, as text with a checksum
//! * [`snapshots`]: finding the newest readable one, and deleting those above the journal's end
//! * [`retire`]: which manifests and parts are no longer needed
//! * [`writer`]: a thread that writes a partition's snapshots, out of the way of events
//! * [`savepoint`]: a copy of snapshots in a directory of its own, and back
//!
//! It does not know what is in a state, take snapshots (`flow::Keyed` does), or decide when.

pub mod error;
pub mod manifest;
pub mod retire;
pub mod savepoint;
pub mod snapshots;
pub mod store;
pub mod writer;

pub use error::{Kind, StateError};
pub use manifest::{Manifest, Part, Shot, Version};
pub use snapshots::{Loaded, Newest, Restored, Snapshots};
pub use store::{Directory, Store};
pub use writer::{Begin, Writer, Writing};
