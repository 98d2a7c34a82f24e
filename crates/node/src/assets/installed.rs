//! What a run finds in the cache directory. Opening it never fails and never writes: what is missing or damaged is a
//! state of the asset, and a sentence for a person.

use std::path::{Path, PathBuf};

use event::Micros;
use seam::Fs;
use sha2::{Digest as _, Sha256};

use super::catalogue::{Asset, Form};
use super::manifest::{FileEntry, Manifest, hex};
use super::store::{MANIFEST, PENDING};
use super::{CHUNK, Reading};

/// The cache directory as it was when it was looked at. Files are replaced by renaming, so a path that was given out
/// stays right when a newer version comes.
pub struct Installed {
    dir: Option<PathBuf>,
    /// In the order of [`Asset::ALL`].
    states: Vec<State>,
}

/// One asset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    NotThere,
    /// Its files are there, each as long as its manifest says. Checksums are looked at by [`Installed::verify`] only:
    /// a start need not read 130 MB for it.
    Here(Manifest),
    /// What is there is not used.
    Damaged {
        what: String,
    },
}

impl Installed {
    /// Looks into the directory `dir`, which need not exist.
    pub fn open(dir: &Path, fs: &dyn Fs) -> Installed {
        let states = Asset::ALL.into_iter().map(|asset| look(fs, dir, asset)).collect();
        Installed { dir: Some(dir.to_owned()), states }
    }

    /// For a user without a cache directory, or a configuration that wants none of it.
    pub fn none() -> Installed {
        Installed { dir: None, states: vec![State::NotThere; Asset::ALL.len()] }
    }

    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    pub fn state(&self, asset: Asset) -> &State {
        &self.states[asset as usize]
    }

    pub fn manifest(&self, asset: Asset) -> Option<&Manifest> {
        match self.state(asset) {
            State::Here(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// The files to read, in the order a reader wants them; `None` unless all are there.
    pub fn path(&self, asset: Asset) -> Option<Vec<PathBuf>> {
        let manifest = self.manifest(asset)?;
        let dir = self.dir.as_ref()?.join(asset.name());
        let parts = asset.entry().parts.iter().filter(|p| p.form != Form::Notice);
        Some(parts.filter(|p| manifest.file(p.name).is_some()).map(|p| dir.join(p.name)).collect())
    }

    /// What the place of an address is taken from when the configuration names no database: city, else country.
    pub fn geo(&self) -> Option<Asset> {
        [Asset::City, Asset::Country].into_iter().find(|asset| self.manifest(*asset).is_some())
    }

    /// What is there and cannot be used: a sentence for each, for a warning.
    pub fn damaged(&self) -> Vec<String> {
        let say = |(asset, state): (Asset, &State)| match state {
            State::Damaged { what } => Some(format!(
                "{} in {}: {what}. It is not used; `ouzel assets fetch {}` gets it anew",
                asset.name(),
                self.dir.as_deref().unwrap_or(Path::new("")).display(),
                asset.name()
            )),
            _ => None,
        };
        Asset::ALL.into_iter().zip(&self.states).filter_map(say).collect()
    }

    /// Reads every file of an asset and compares checksums, then lengths again: what differs, a sentence each. Reads as
    /// many bytes as there are.
    pub fn verify(&self, asset: Asset, fs: &dyn Fs) -> Vec<String> {
        let (Some(dir), Some(manifest)) = (&self.dir, self.manifest(asset)) else {
            return Vec::new();
        };
        let dir = dir.join(asset.name());
        // A fetch that was ended between two renames has left files of two versions.
        let both = [MANIFEST, PENDING].map(|name| Manifest::read(fs, &dir.join(name), asset).ok().flatten());
        let mut wrong = Vec::new();
        for file in &manifest.files {
            let says = |m: &Manifest, sum: &str| m.file(&file.name).is_some_and(|f| f.sha256 == sum);
            let known = |sum: &str| both.iter().flatten().any(|m| says(m, sum));
            match sum(fs, &dir.join(&file.name)) {
                Ok(sum) if known(&sum) => {}
                Ok(_) => wrong.push(format!("{} is not what was fetched (its SHA-256 differs)", file.name)),
                Err(e) => wrong.push(format!("{} cannot be read: {e}", file.name)),
            }
        }
        wrong
    }
}

/// How long ago, never negative: a clock that was set back makes nothing newer than new.
pub fn age(at: Micros, now: Micros) -> std::time::Duration {
    std::time::Duration::from_micros(u64::try_from(now.0.saturating_sub(at.0)).unwrap_or(0))
}

fn look(fs: &dyn Fs, dir: &Path, asset: Asset) -> State {
    let dir = dir.join(asset.name());
    let read = |name: &str| Manifest::read(fs, &dir.join(name), asset).map_err(|what| format!("{name}: {what}"));
    let (committed, pending) = (read(MANIFEST), read(PENDING));
    let pending = pending.ok().flatten();
    let as_said = |said: &FileEntry| {
        let path = dir.join(&said.name);
        fs.exists(&path) && fs.open_read(&path).and_then(|f| f.len()).is_ok_and(|len| len == said.bytes)
    };
    // A fetch that was ended between two renames has left files of both versions, each of them whole. The next one
    // tidies up; until then any mixture of the two is used.
    if let Some(pending) = pending {
        let of_committed =
            |name: &str| committed.as_ref().ok().and_then(|m| m.as_ref()?.file(name)).is_some_and(as_said);
        if pending.files.iter().all(as_said) {
            return State::Here(pending);
        }
        let whole = committed.as_ref().is_ok_and(|m| m.as_ref().is_some_and(|m| m.files.iter().all(as_said)));
        if !whole && pending.files.iter().all(|file| as_said(file) || of_committed(&file.name)) {
            return State::Here(pending);
        }
    }
    match committed {
        Ok(None) => State::NotThere,
        Ok(Some(manifest)) => match manifest.files.iter().find(|file| !as_said(file)) {
            None => State::Here(manifest),
            Some(file) => {
                let found = match fs.open_read(&dir.join(&file.name)).and_then(|f| f.len()) {
                    Ok(len) => format!("{} should have {} bytes and has {len}", file.name, file.bytes),
                    Err(_) if !fs.exists(&dir.join(&file.name)) => format!("{} is not there", file.name),
                    Err(e) => format!("{} cannot be read: {e}", file.name),
                };
                State::Damaged { what: found }
            }
        },
        Err(what) => State::Damaged { what },
    }
}

/// The SHA-256 of a file, as a manifest writes it.
pub(crate) fn sum(fs: &dyn Fs, path: &Path) -> std::io::Result<String> {
    let mut digest = Sha256::new();
    let mut file = Reading::open(fs, path)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match std::io::Read::read(&mut file, &mut chunk)? {
            0 => return Ok(hex(&digest.finalize())),
            n => digest.update(&chunk[..n]),
        }
    }
}
