//! Which objects are no longer needed. Another process may be reading any snapshot of the last hour, so a part goes only
//! when no manifest of that time names it; the newest two manifests stay however old they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event::{Micros, Offset};

use crate::error::StateError;
use crate::manifest::{self, Shot};
use crate::snapshots::{delete, read_manifest};
use crate::store::Store;

/// How long a manifest and what it names are kept, unless it is one of the newest.
pub const KEEP: Duration = Duration::from_secs(3600);

/// Manifests that are kept whatever their age: the newest, and one more should that be damaged.
const NEWEST: usize = 2;

/// What is known of a manifest in the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    pub position: Offset,
    pub written_at: Micros,
    pub parts: Vec<String>,
}

/// A snapshot that is known to be whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Good {
    pub position: Offset,
    pub parts: Vec<String>,
}

impl Good {
    pub fn of(position: Offset, chain: &[Shot]) -> Good {
        let parts = chain.iter().flat_map(|shot| &shot.parts).map(|part| part.name.clone()).collect();
        Good { position, parts }
    }
}

/// The objects of one partition, as far as retention goes.
pub struct Retention {
    prefix: String,
    keep: Duration,
    /// By name. `None`: it cannot be read.
    manifests: BTreeMap<String, Option<Known>>,
}

impl Retention {
    pub fn new(operator: &str, partition: u32, keep: Duration) -> Retention {
        Retention { prefix: manifest::prefix(operator, partition), keep, manifests: BTreeMap::new() }
    }

    /// Deletes what is no longer needed. `good`: the snapshot that was read or written last, which stays, however many newer
    /// ones there are: they may be damaged. IMPORTANT: not while a snapshot of this partition is being written, as parts that no
    /// manifest names yet may be old enough to go.
    pub fn pass(&mut self, store: &dyn Store, now: Micros, good: Option<&Good>) -> Result<(), StateError> {
        let names = store.list(&self.prefix).map_err(StateError::store(&self.prefix))?;
        self.learn(store, &names)?;
        let readable: BTreeMap<&str, &Known> =
            self.manifests.iter().filter_map(|(name, known)| Some((name.as_str(), known.as_ref()?))).collect();
        let retired = retired(now, self.keep, good, &readable, &names);
        delete(store, &self.prefix, retired)
    }

    fn learn(&mut self, store: &dyn Store, names: &[String]) -> Result<(), StateError> {
        let there: BTreeSet<&String> = names.iter().filter(|name| manifest::is_manifest(name)).collect();
        self.manifests.retain(|name, _| there.contains(name));
        for name in there {
            if self.manifests.contains_key(name) {
                continue;
            }
            let known = match read_manifest(store, name) {
                Ok(m) => Some(Known {
                    position: m.position,
                    written_at: m.written_at(),
                    parts: m.parts().map(|part| part.name.clone()).collect(),
                }),
                Err(e @ StateError::Store { .. }) => return Err(e),
                Err(_) => None,
            };
            self.manifests.insert(name.clone(), known);
        }
        Ok(())
    }
}

/// Of `names`, all objects of a partition, those that are no longer needed. `manifests`: the readable ones, by name.
///
/// A manifest that can be read goes by its age. What no manifest names, and a manifest that cannot be read, may be another
/// writer's that is at work: it goes when a snapshot of a higher position is old.
pub fn retired(
    now: Micros,
    keep: Duration,
    good: Option<&Good>,
    manifests: &BTreeMap<&str, &Known>,
    names: &[String],
) -> Vec<String> {
    let is_old = |known: &Known| now.0.saturating_sub(known.written_at.0) >= keep.as_micros() as i64;
    let mut newest: Vec<_> = manifests.iter().map(|(name, known)| (known.position, known.written_at, *name)).collect();
    newest.sort_unstable();
    let newest: BTreeSet<&str> = newest.iter().rev().take(NEWEST).map(|(.., name)| *name).collect();

    let (old, mut kept): (Vec<_>, Vec<_>) = manifests.iter().partition(|(_, known)| is_old(known));
    let floor = old.iter().map(|(_, known)| known.position).max();
    let is_good = |known: &Known| good.is_some_and(|g| g.position == known.position && g.parts == known.parts);
    let (more, expired): (Vec<_>, Vec<_>) =
        old.into_iter().partition(|(name, known)| newest.contains(*name) || is_good(known));
    kept.extend(more);

    let parts = |of: &[(&&str, &&Known)]| -> BTreeSet<String> {
        of.iter().flat_map(|(_, known)| known.parts.iter().cloned()).collect()
    };
    let (needed, was_needed) = (parts(&kept), parts(&expired));
    let goes = |name: &&String| {
        if kept.iter().any(|(kept, _)| **kept == name.as_str()) || needed.contains(*name) {
            return false;
        }
        manifests.contains_key(name.as_str())
            || was_needed.contains(*name)
            || manifest::position_of(name).is_some_and(|at| floor.is_some_and(|floor| at < floor))
    };
    names.iter().filter(goes).cloned().collect()
}
