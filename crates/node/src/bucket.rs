//! Snapshots in object storage, as the configuration has it.

use std::sync::Arc;

use state::Store;
use state::place::{Credentials, PlaceConfig, probe};

use crate::config::{Bucket, SecretRef, read_file};
use crate::engine::World;

/// Opens it, and looks whether it does what a store must.
///
/// # Errors
/// What is wrong with the place, or that this program cannot use it.
pub fn open(bucket: &Bucket, world: &World) -> Result<Arc<dyn Store>, String> {
    let secret = |secret: &SecretRef| {
        let found = secret.resolve(&world.env, |path| read_file(&*world.fs, path));
        found.map_err(|why| format!("{}: its key cannot be had: {why}", bucket.url))
    };
    let credentials = match &bucket.keys {
        Some((id, key)) => Some(Credentials::new(secret(id)?.reveal(), secret(key)?.reveal(), None)),
        None => None,
    };
    let place = PlaceConfig {
        endpoint: bucket.endpoint.clone(),
        region: bucket.region.clone(),
        credentials,
        path_style: bucket.path_style.then_some(true),
        ..PlaceConfig::new(&bucket.url)
    };
    let place = place.build().map_err(|e| e.to_string())?;
    let store = place.open(world.fs.clone(), world.clock.clone(), world.rng.clone()).map_err(|e| e.to_string())?;
    probe(&*store, &*world.rng).map_err(|e| format!("{} cannot be used: {e}", bucket.url))?;
    Ok(store)
}
