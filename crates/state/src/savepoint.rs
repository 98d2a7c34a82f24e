//! A copy of snapshots in a place of its own, which nothing retires, and back: as they are ([`import`]), or as the beginning
//! of another log, whose positions begin at 0 ([`begin`]). `SAVEPOINT`, written last, says what is in it.

use std::sync::atomic::AtomicBool;

use event::{Micros, Offset};
use serde::{Deserialize, Serialize};

use crate::error::StateError;
use crate::manifest::{Manifest, Part, Shot, manifest_name, part_name, stem};
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
    /// Partitions per topic where it was made: where it is restored there must be as many, or keys lie elsewhere.
    pub of: u32,
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

/// Copies the snapshots that these manifests name, of topics of `of` partitions. `to` must hold no savepoint yet.
pub fn export(
    from: &dyn Store,
    manifests: &[String],
    to: &dyn Store,
    of: u32,
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
    let savepoint = Savepoint { format: FORMAT, written_at: written_at.to_string(), of, partitions };
    let text = serde_json::to_vec_pretty(&savepoint).expect("numbers and texts");
    if !to.put_if_absent(SAVEPOINT, &text, &AtomicBool::new(true)).map_err(StateError::store(SAVEPOINT))? {
        return Err(StateError::NotSavepoint { what: "another savepoint is there already".to_owned() });
    }
    Ok(savepoint)
}

/// Copies a savepoint's snapshots into a store, where they are snapshots as any others. Nothing is written before all of it
/// has been read and found whole.
pub fn import(from: &dyn Store, to: &dyn Store) -> Result<Savepoint, StateError> {
    let savepoint = check(from)?;
    for saved in &savepoint.partitions {
        copy(from, &saved.manifest, to)?;
    }
    Ok(savepoint)
}

/// How a snapshot of a savepoint begins another log.
pub struct Beginning<'a> {
    /// A fresh random number, so that its objects have names of their own.
    pub random: u64,
    pub now: Micros,
    /// What is committed beside position 0 there, of what was committed beside the snapshot's; or why that cannot be told.
    pub metadata: &'a dyn Fn(&Saved, &[u8]) -> Result<Vec<u8>, String>,
}

/// Copies a savepoint's snapshots into the store of a log in which nothing was ever committed: each is one of position 0.
/// Nothing is written before all of it has been read and found whole.
pub fn begin(from: &dyn Store, to: &dyn Store, how: &Beginning<'_>) -> Result<Savepoint, StateError> {
    let savepoint = check(from)?;
    for saved in &savepoint.partitions {
        let was = read_manifest(from, &saved.manifest)?;
        let mut manifest = Manifest::new(&was.operator, was.partition, was.version, 0, how.now);
        manifest.metadata =
            (how.metadata)(saved, &was.metadata).map_err(|what| StateError::damaged(&saved.manifest, what))?;
        manifest.keys = was.keys;
        let stem = stem(&manifest, how.random, 0);
        let mut parts = Vec::new();
        // The whole chain is the base of what follows: its entries mean the same in one piece.
        for part in was.parts() {
            let bytes = read_part(from, part)?;
            let name = part_name(&stem, parts.len());
            put(to, &name, &bytes)?;
            parts.push(Part::of(name, &bytes));
        }
        manifest.chain = vec![Shot { position: 0, parts }];
        put(to, &manifest_name(&stem), &manifest.encode())?;
    }
    Ok(savepoint)
}

/// What is in a savepoint, once all of it has been read and found whole.
pub fn check(from: &dyn Store) -> Result<Savepoint, StateError> {
    let savepoint = read(from)?;
    for saved in &savepoint.partitions {
        let manifest = read_manifest(from, &saved.manifest)?;
        if (&manifest.operator, manifest.partition, manifest.position)
            != (&saved.operator, saved.partition, saved.position)
        {
            return Err(StateError::damaged(&saved.manifest, format!("{SAVEPOINT} says something else of it")));
        }
        if manifest.partition >= savepoint.of {
            return Err(StateError::damaged(
                SAVEPOINT,
                format!("it names partition {} of {}", manifest.partition, savepoint.of),
            ));
        }
        for part in manifest.parts() {
            read_part(from, part)?;
        }
    }
    Ok(savepoint)
}

/// Bytes of the snapshots that a savepoint holds.
pub fn bytes(from: &dyn Store, savepoint: &Savepoint) -> Result<u64, StateError> {
    let mut bytes = 0;
    for saved in &savepoint.partitions {
        bytes += read_manifest(from, &saved.manifest)?.parts().map(|p| p.bytes).sum::<u64>();
    }
    Ok(bytes)
}

/// What a savepoint says is in it.
pub fn read(from: &dyn Store) -> Result<Savepoint, StateError> {
    let not = |what: String| StateError::NotSavepoint { what };
    let text = from.get(SAVEPOINT).map_err(StateError::store(SAVEPOINT))?;
    let text = text.ok_or_else(|| not(format!("there is no file {SAVEPOINT}")))?;
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    // The format first: a newer one may have members of its own.
    let Format { format } = serde_json::from_slice(&text).map_err(|e| not(format!("{SAVEPOINT}: {e}")))?;
    if format != FORMAT {
        return Err(not(format!("{SAVEPOINT} has format {format}; this program reads {FORMAT}")));
    }
    serde_json::from_slice(&text).map_err(|e| not(format!("{SAVEPOINT}: {e}")))
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
