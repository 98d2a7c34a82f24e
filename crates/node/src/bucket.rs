//! Snapshots in object storage, as the configuration has it.

use std::sync::Arc;

use state::Store;

use crate::config::Bucket;
use crate::engine::World;

/// # Errors
/// What is wrong with the place, or that this program cannot use it.
pub fn open(bucket: &Bucket, _: &World) -> Result<Arc<dyn Store>, String> {
    Err(format!("{}: this program was built without object storage", bucket.url))
}
