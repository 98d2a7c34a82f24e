//! Snapshots of operators' state: parts that are written once and never changed, and a manifest that names the whole
//! chain, written last. What has no readable manifest was never there.
//!
//! * [`store`]: where objects lie: the four calls, and [`name`], what objects are called
//! * [`directory`]: a directory as such a place, of one process or shared
//! * `object`: a bucket as such a place (feature `s3`)
//! * [`place`]: which of them, as a configuration names it
//! * [`manifest`]: what a snapshot is, as text with a checksum
//! * [`snapshots`]: finding the newest readable one, and deleting those above the journal's end
//! * [`retire`]: which manifests and parts are no longer needed
//! * [`writer`]: a thread that writes a partition's snapshots, out of the way of events
//! * [`savepoint`]: a copy of snapshots in a directory of its own, and back
//!
//! It does not know what is in a state, take snapshots (`flow::Keyed` does), or decide when.

pub mod directory;
pub mod error;
pub mod manifest;
pub mod name;
#[cfg(feature = "s3")]
pub mod object;
pub mod place;
pub mod retire;
pub mod savepoint;
pub mod snapshots;
pub mod store;
pub mod writer;

pub use directory::Directory;
pub use error::{Kind, StateError};
pub use manifest::{Manifest, Part, Shot, Version};
pub use place::{Credentials, Place, PlaceConfig, PlaceError};
pub use snapshots::{Loaded, Newest, Restored, Snapshots};
pub use store::Store;
pub use writer::{Begin, Writer, Writing};
