//! A copy of snapshots in a place of its own, which nothing retires, and back. `SAVEPOINT`, written last, says what is in it.

use std::sync::atomic::AtomicBool;

use event::{Micros, Offset};
use serde::{Deserialize, Serialize};

use crate::error::StateError;
use crate::manifest::Manifest;
use crate::snapshots::{read_manifest, read_part};
use crate::store::Store;

const SAVEPOINT: &str = "SAVEPOINT";
const FORMAT: u32 = 1;

/// What is in a savepoint.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Savepoint {
    format: u32,
    /// RFC 3339, UTC.
    pub written_at: String,
    pub partitions: Vec<Saved>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub operator: String,
    pub partition: u32,
    /// The first record that is not in the state.
    pub position: Offset,
    /// The manifest's name.
    pub manifest: String,
}

/// Copies the snapshots that these manifests name. `to` must hold no savepoint yet.
pub fn export(
    from: &dyn Store,
    manifests: &[String],
    to: &dyn Store,
    written_at: Micros,
) -> Result<Savepoint, StateError> {
    let mut partitions = Vec::new();
    for name in manifests {
        let manifest = copy(from, name, to)?;
        partitions.push(Saved {
            operator: manifest.operator,
            partition: manifest.partition,
            position: manifest.position,
            manifest: name.clone(),
        });
    }
    let savepoint = Savepoint { format: FORMAT, written_at: written_at.to_string(), partitions };
    let text = serde_json::to_vec_pretty(&savepoint).expect("numbers and texts");
    if !to.put_if_absent(SAVEPOINT, &text, &AtomicBool::new(true)).map_err(StateError::store(SAVEPOINT))? {
        return Err(StateError::NotSavepoint { what: "another savepoint is there already".to_owned() });
    }
    Ok(savepoint)
}

/// Copies a savepoint's snapshots into a store, where they are snapshots as any others. Nothing is written before all of it
/// has been read and found whole.
pub fn import(from: &dyn Store, to: &dyn Store) -> Result<Savepoint, StateError> {
    let savepoint = read(from)?;
    for saved in &savepoint.partitions {
        let manifest = read_manifest(from, &saved.manifest)?;
        if (&manifest.operator, manifest.partition, manifest.position)
            != (&saved.operator, saved.partition, saved.position)
        {
            return Err(StateError::damaged(&saved.manifest, format!("{SAVEPOINT} says something else of it")));
        }
        for part in manifest.parts() {
            read_part(from, part)?;
        }
    }
    for saved in &savepoint.partitions {
        copy(from, &saved.manifest, to)?;
    }
    Ok(savepoint)
}

/// What a savepoint says is in it.
pub fn read(from: &dyn Store) -> Result<Savepoint, StateError> {
    let not = |what: String| StateError::NotSavepoint { what };
    let text = from.get(SAVEPOINT).map_err(StateError::store(SAVEPOINT))?;
    let text = text.ok_or_else(|| not(format!("there is no file {SAVEPOINT}")))?;
    let savepoint: Savepoint = serde_json::from_slice(&text).map_err(|e| not(format!("{SAVEPOINT}: {e}")))?;
    if savepoint.format != FORMAT {
        return Err(not(format!("{SAVEPOINT} has format {}; this program reads {FORMAT}", savepoint.format)));
    }
    Ok(savepoint)
}

/// Copies a snapshot, its manifest last.
fn copy(from: &dyn Store, name: &str, to: &dyn Store) -> Result<Manifest, StateError> {
    let manifest = read_manifest(from, name)?;
    for part in manifest.parts() {
        let bytes = read_part(from, part)?;
        if !put(to, &part.name, &bytes)? {
            // Chains share parts, and an earlier copy may have been cut short.
            read_part(to, part)?;
        }
    }
    put(to, name, &manifest.encode())?;
    Ok(manifest)
}

fn put(to: &dyn Store, name: &str, bytes: &[u8]) -> Result<bool, StateError> {
    to.put_if_absent(name, bytes, &AtomicBool::new(false)).map_err(StateError::store(name))
}
