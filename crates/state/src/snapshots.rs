//! The snapshots that a store has of one operator's partition.

use std::io;
use std::sync::Arc;

use event::Offset;
use flow::Keyed;

use crate::error::StateError;
use crate::manifest::{self, Manifest, Part, Version};
use crate::store::Store;

/// The snapshots of one operator's partition.
pub struct Snapshots {
    store: Arc<dyn Store>,
    operator: String,
    partition: u32,
}

/// What was found, and what had to be passed over.
pub struct Newest<T> {
    pub found: Option<T>,
    /// A sentence for each snapshot that is damaged or not whole, newest first, for the caller to log.
    pub passed_over: Vec<String>,
}

/// A snapshot with the bytes of its chain.
pub struct Loaded {
    /// The manifest's own, for a savepoint.
    pub name: String,
    pub manifest: Manifest,
    /// Entries for `Keyed::load`, in order.
    pub chain: Vec<Vec<u8>>,
}

/// A snapshot as keyed state.
pub struct Restored {
    /// The manifest's own, for a savepoint.
    pub name: String,
    pub manifest: Manifest,
    pub keyed: Keyed,
}

impl Loaded {
    pub fn position(&self) -> Offset {
        self.manifest.position
    }

    pub fn metadata(&self) -> &[u8] {
        &self.manifest.metadata
    }

    pub fn version(&self) -> Version {
        self.manifest.version
    }
}

impl Snapshots {
    pub fn new(store: Arc<dyn Store>, operator: &str, partition: u32) -> Snapshots {
        Snapshots { store, operator: operator.to_owned(), partition }
    }

    /// The newest snapshot at or below `at_most` that can be read whole. An error is the store's: nothing is known then,
    /// and an older snapshot, or none, must not be taken for the newest.
    pub fn newest(&self, at_most: Offset) -> Result<Newest<Loaded>, StateError> {
        let found = self.newest_as(at_most, Vec::new, |chain: &mut Vec<Vec<u8>>, bytes| {
            chain.push(bytes);
            Ok(())
        })?;
        Ok(found.map(|(name, manifest, chain)| Loaded { name, manifest, chain }))
    }

    /// As [`Snapshots::newest`], with the entries applied as they are read: a large state is not held twice.
    pub fn restore(&self, at_most: Offset) -> Result<Newest<Restored>, StateError> {
        let found =
            self.newest_as(at_most, Keyed::default, |keyed, bytes| keyed.load(&bytes).map_err(|e| e.to_string()))?;
        Ok(found.map(|(name, manifest, keyed)| Restored { name, manifest, keyed }))
    }

    /// The name and the manifest of the newest snapshot at or below `at_most` whose manifest can be read; its parts are not
    /// looked at. For whoever copies it, and finds out then.
    pub fn newest_manifest(&self, at_most: Offset) -> Result<Option<(String, Manifest)>, StateError> {
        for name in self.manifests(at_most)? {
            match read_manifest(&*self.store, &name) {
                Ok(manifest) => return Ok(Some((name, manifest))),
                Err(e @ StateError::Store { .. }) => return Err(e),
                Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Deletes snapshots beyond `end`, the end of the journal: they are of another history. To be called before anything is
    /// appended.
    pub fn discard_after(&self, end: Offset) -> Result<(), StateError> {
        let prefix = manifest::prefix(&self.operator, self.partition);
        let names = self.store.list(&prefix).map_err(StateError::store(&prefix))?;
        let beyond = names.into_iter().filter(|name| manifest::position_of(name).is_some_and(|at| at > end));
        delete(&*self.store, &prefix, beyond.collect())
    }

    /// Manifests, newest first.
    fn manifests(&self, at_most: Offset) -> Result<Vec<String>, StateError> {
        let prefix = manifest::prefix(&self.operator, self.partition);
        let mut names = self.store.list(&prefix).map_err(StateError::store(&prefix))?;
        names.retain(|n| manifest::is_manifest(n) && manifest::position_of(n).is_some_and(|at| at <= at_most));
        names.reverse();
        Ok(names)
    }

    fn newest_as<T>(
        &self,
        at_most: Offset,
        empty: impl Fn() -> T,
        add: impl Fn(&mut T, Vec<u8>) -> Result<(), String>,
    ) -> Result<Newest<(String, Manifest, T)>, StateError> {
        let mut passed_over = Vec::new();
        for name in self.manifests(at_most)? {
            match self.read_whole(&name, &empty, &add) {
                Ok((manifest, whole)) => return Ok(Newest { found: Some((name, manifest, whole)), passed_over }),
                Err(e @ StateError::Store { .. }) => return Err(e),
                Err(e) => passed_over.push(format!("the snapshot {name} is passed over: {e}")),
            }
        }
        Ok(Newest { found: None, passed_over })
    }

    fn read_whole<T>(
        &self,
        name: &str,
        empty: impl Fn() -> T,
        add: impl Fn(&mut T, Vec<u8>) -> Result<(), String>,
    ) -> Result<(Manifest, T), StateError> {
        let manifest = read_manifest(&*self.store, name)?;
        if (manifest.operator.as_str(), manifest.partition) != (&self.operator, self.partition)
            || manifest::position_of(name) != Some(manifest.position)
        {
            return Err(StateError::damaged(name, "it is a manifest of something else"));
        }
        let mut whole = empty();
        for part in manifest.parts() {
            let bytes = read_part(&*self.store, part)?;
            add(&mut whole, bytes).map_err(|what| StateError::damaged(&part.name, what))?;
        }
        Ok((manifest, whole))
    }
}

impl<T> Newest<T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Newest<U> {
        Newest { found: self.found.map(f), passed_over: self.passed_over }
    }
}

/// Deletes manifests before parts, so that at no moment there is one whose parts were deleted.
pub(crate) fn delete(store: &dyn Store, prefix: &str, names: Vec<String>) -> Result<(), StateError> {
    let (manifests, parts): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| manifest::is_manifest(name));
    for names in [manifests, parts] {
        if !names.is_empty() {
            store.delete(&names).map_err(StateError::store(prefix))?;
        }
    }
    Ok(())
}

pub(crate) fn read_manifest(store: &dyn Store, name: &str) -> Result<Manifest, StateError> {
    let bytes = read(store, name)?;
    Manifest::decode(&bytes).map_err(|what| StateError::damaged(name, what))
}

pub(crate) fn read_part(store: &dyn Store, part: &Part) -> Result<Vec<u8>, StateError> {
    let bytes = read(store, &part.name)?;
    part.check(&bytes).map_err(|what| StateError::damaged(&part.name, what))?;
    Ok(bytes)
}

fn read(store: &dyn Store, name: &str) -> Result<Vec<u8>, StateError> {
    match store.get(name) {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(StateError::damaged(name, "it is not there")),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Err(StateError::damaged(name, format!("it cannot be read: {e}")))
        }
        Err(e) => Err(StateError::store(name)(e)),
    }
}
