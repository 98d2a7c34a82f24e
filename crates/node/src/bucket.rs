//! Snapshots in object storage, as the configuration has it.

use std::sync::Arc;

use state::{Credentials, PlaceConfig, Store};

use crate::config::{Bucket, SecretRef, read_file};
use crate::engine::World;

/// # Errors
/// What is wrong with the place, or that this program cannot use it.
pub fn open(bucket: &Bucket, world: &World) -> Result<Arc<dyn Store>, String> {
    let secret = |key: &str, place: &SecretRef| {
        let secret = place.resolve(&world.env, |path| read_file(&*world.fs, path));
        secret.map_err(|why| format!("`{key}`: {why}"))
    };
    let credentials = match &bucket.keys {
        None => None,
        Some((id, key)) => {
            let (id, key) = (secret("state.access_key", id)?, secret("state.secret_key", key)?);
            Some(Credentials::new(id.reveal(), key.reveal(), None))
        }
    };
    let place = PlaceConfig { credentials, ..bucket.place() }.build().map_err(|e| e.to_string())?;
    place.open(world.fs.clone(), world.clock.clone(), world.rng.clone()).map_err(|e| e.to_string())
}
