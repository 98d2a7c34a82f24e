//! The cache directory: how files get into it, whole or not at all.
//!
//! ```text
//!  DIR/lock                  held while somebody writes
//!  DIR/tmp/                  what the client downloads; emptied at every start of a fetch
//!  DIR/city/manifest.json    what is there
//!  DIR/city/*.mmdb           replaced by renaming, so that whoever reads one keeps it, and a run sees a new one
//!  DIR/city/*.new            being written
//!  DIR/city/pending.json     the manifest of files that are being renamed into place
//! ```
//!
//! **Invariant:** a file under its own name is whole, was checked, and is described by `manifest.json` or `pending.json`.
//! IMPORTANT: the order is: write and sync `*.new`; check them; `pending.json`; rename them; rename `pending.json` to
//! `manifest.json`; remove what the new version does not have. Wherever that is cut, [`Store::open`] finishes it or
//! undoes it, and until then [`super::Installed`] uses what is there.

use std::io::{IoSlice, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::Micros;
use seam::{FileLock, Fs};
use sha2::{Digest as _, Sha256};

use super::catalogue::{Asset, Part};
use super::installed::{Installed, sum};
use super::manifest::{FORMAT, FileEntry, Manifest, hex};
use super::{AssetError, CHUNK};

pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const PENDING: &str = "pending.json";
const NEW: &str = ".new";
const LOCK: &str = "lock";
const TMP: &str = "tmp";

/// The cache directory, open for writing. One process at a time.
pub struct Store {
    dir: PathBuf,
    fs: Arc<dyn Fs>,
    _lock: Box<dyn FileLock>,
}

/// Where files come from, for their manifest.
#[derive(Clone, Debug)]
pub struct Source {
    pub version: Option<String>,
    pub integrity: Option<String>,
    pub made: Option<String>,
    pub fetched_at: Micros,
    /// When it was known to be the newest.
    pub checked_at: Micros,
}

impl Store {
    /// Opens `dir`, makes it if need be, and tidies up after a process that was ended in the middle.
    pub fn open(dir: &Path, fs: Arc<dyn Fs>) -> Result<Store, AssetError> {
        let doing = |what: &str, path: &Path| AssetError::io(format!("cannot {what} {}", path.display()));
        fs.create_dir_all(dir).map_err(doing("make", dir))?;
        let path = dir.join(LOCK);
        let lock = match fs.lock(&path).map_err(doing("lock", &path))? {
            Ok(lock) => lock,
            Err(said) => {
                let pid = said.lines().next().unwrap_or("").trim();
                let who = if pid.is_empty() { "another process".to_owned() } else { format!("process {pid}") };
                return Err(AssetError::InUse { dir: dir.to_owned(), who });
            }
        };
        lock.write(&format!("{}\n", std::process::id())).map_err(doing("write", &path))?;
        let store = Store { dir: dir.to_owned(), fs, _lock: lock };
        let tmp = store.tmp();
        store.fs.create_dir_all(&tmp).map_err(doing("make", &tmp))?;
        store.fs.sync_dir(dir).map_err(doing("sync", dir))?;
        store.empty_tmp();
        for asset in Asset::ALL {
            if store.fs.exists(&store.of(asset)) {
                store.finish(asset)?;
            }
        }
        Ok(store)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn fs(&self) -> &dyn Fs {
        &*self.fs
    }

    /// Where the client puts what it downloads.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join(TMP)
    }

    /// The directory of an asset.
    pub(crate) fn of(&self, asset: Asset) -> PathBuf {
        self.dir.join(asset.name())
    }

    /// Removes what the client left. What cannot be removed is in nobody's way.
    pub(crate) fn empty_tmp(&self) {
        let tmp = self.tmp();
        for name in self.fs.list(&tmp).unwrap_or_default() {
            let _ = self.fs.remove(&tmp.join(name));
        }
    }

    /// What is there now.
    pub fn installed(&self) -> Installed {
        Installed::open(&self.dir, &*self.fs)
    }

    /// What is there of an asset, if it is whole to the last byte. Reads all of it.
    pub(crate) fn sound(&self, asset: Asset) -> Option<Manifest> {
        let installed = self.installed();
        let manifest = installed.manifest(asset)?;
        installed.verify(asset, &*self.fs).is_empty().then(|| manifest.clone())
    }

    /// Notes that what is there is the newest there is.
    pub(crate) fn checked(&self, asset: Asset, at: Micros) -> Result<(), AssetError> {
        let path = self.of(asset).join(MANIFEST);
        let Ok(Some(mut manifest)) = Manifest::read(&*self.fs, &path, asset) else { return Ok(()) };
        manifest.checked_at = manifest.checked_at.max(at);
        self.write(&path, &manifest)
    }

    /// Begins a new version of an asset.
    pub(crate) fn stage(&self, asset: Asset) -> Result<Staging<'_>, AssetError> {
        let dir = self.of(asset);
        let doing = || AssetError::io(format!("cannot make {}", dir.display()));
        self.fs.create_dir_all(&dir).map_err(doing())?;
        self.fs.sync_dir(&self.dir).map_err(doing())?;
        Ok(Staging { store: self, asset, files: Vec::new(), committed: false })
    }

    fn write(&self, path: &Path, manifest: &Manifest) -> Result<(), AssetError> {
        seam::fs::write_atomically(&*self.fs, path, &manifest.to_bytes())
            .map_err(AssetError::io(format!("cannot write {}", path.display())))
    }

    /// Ends what an earlier process began with an asset: forward where its files are complete, else back.
    fn finish(&self, asset: Asset) -> Result<(), AssetError> {
        let dir = self.of(asset);
        let pending = dir.join(PENDING);
        if self.fs.exists(&pending) {
            // What is in place already, or is complete beside it.
            let is = |path: &Path, said: &FileEntry| {
                self.fs.exists(path) && sum(&*self.fs, path).is_ok_and(|sum| sum == said.sha256)
            };
            let complete = |m: &Manifest| {
                let there = |f: &FileEntry| is(&dir.join(&f.name), f) || is(&new(&dir, &f.name), f);
                m.files.iter().all(there)
            };
            match Manifest::read(&*self.fs, &pending, asset) {
                Ok(Some(manifest)) if complete(&manifest) => self.promote(asset, &manifest)?,
                _ => {
                    let doing = AssetError::io(format!("cannot remove {}", pending.display()));
                    self.fs.remove(&pending).map_err(doing)?;
                }
            }
        }
        let leftover = |name: &String| name.ends_with(NEW) || name.ends_with(".tmp");
        for name in self.fs.list(&dir).unwrap_or_default().iter().filter(|name| leftover(name)) {
            let _ = self.fs.remove(&dir.join(name));
        }
        Ok(())
    }

    /// Renames the files of `pending.json`, which is written, into place, and makes it the manifest.
    fn promote(&self, asset: Asset, manifest: &Manifest) -> Result<(), AssetError> {
        let dir = self.of(asset);
        let doing = |what: &Path| AssetError::io(format!("cannot put {} into place", what.display()));
        for file in &manifest.files {
            let (from, to) = (new(&dir, &file.name), dir.join(&file.name));
            if self.fs.exists(&from) {
                self.fs.rename(&from, &to).map_err(doing(&to))?;
            }
        }
        self.fs.sync_dir(&dir).map_err(doing(&dir))?;
        let to = dir.join(MANIFEST);
        self.fs.rename(&dir.join(PENDING), &to).map_err(doing(&to))?;
        self.fs.sync_dir(&dir).map_err(doing(&dir))?;
        for part in asset.entry().parts.iter().filter(|p| manifest.file(p.name).is_none()) {
            let old = dir.join(part.name);
            if self.fs.exists(&old) {
                let _ = self.fs.remove(&old);
            }
        }
        Ok(())
    }
}

/// A new version that is being written. Dropped without [`Staging::commit`], nothing has changed.
pub(crate) struct Staging<'a> {
    store: &'a Store,
    asset: Asset,
    files: Vec<FileEntry>,
    committed: bool,
}

impl Staging<'_> {
    /// Writes a file, not yet under its own name, and syncs it. `each` is told the bytes so far, and may end it.
    pub fn write(
        &mut self,
        part: &Part,
        from: &mut dyn Read,
        each: &mut dyn FnMut(u64) -> Result<(), AssetError>,
    ) -> Result<&FileEntry, AssetError> {
        let path = self.new_path(part);
        let (fs, doing) = (&self.store.fs, || AssetError::io(format!("cannot write {}", path.display())));
        if self.files.iter().any(|f| f.name == part.name) {
            return Err(AssetError::damaged(part.name, "it is there twice"));
        }
        if fs.exists(&path) {
            fs.remove(&path).map_err(doing())?;
        }
        let file = fs.open(&path, true).map_err(doing())?;
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK];
        let mut bytes = 0u64;
        loop {
            let n = fill(from, &mut chunk).map_err(|e| AssetError::damaged(part.name, unread(&e)))?;
            if n == 0 {
                break;
            }
            if bytes + n as u64 > part.max_bytes {
                let what = format!("it has more than the {} bytes it may have", part.max_bytes);
                return Err(AssetError::damaged(part.name, what));
            }
            file.write_all_at(&[IoSlice::new(&chunk[..n])], bytes).map_err(doing())?;
            digest.update(&chunk[..n]);
            bytes += n as u64;
            each(bytes)?;
        }
        file.sync_data().map_err(doing())?;
        self.files.push(FileEntry { name: part.name.to_owned(), bytes, sha256: hex(&digest.finalize()) });
        Ok(self.files.last().expect("pushed just now"))
    }

    /// Where a file lies until it is committed.
    pub fn new_path(&self, part: &Part) -> PathBuf {
        new(&self.store.of(self.asset), part.name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|f| f.name == name)
    }

    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// Puts the files into place. They have been checked.
    pub fn commit(mut self, source: Source) -> Result<Manifest, AssetError> {
        let entry = self.asset.entry();
        let mut files = std::mem::take(&mut self.files);
        files.sort_by_key(|f| entry.parts.iter().position(|p| p.name == f.name));
        let manifest = Manifest {
            format: FORMAT,
            asset: entry.name.to_owned(),
            package: entry.package.to_owned(),
            version: source.version,
            made: source.made,
            integrity: source.integrity,
            files,
            fetched_at: source.fetched_at,
            checked_at: source.checked_at.max(source.fetched_at),
            licence: entry.licence.to_owned(),
            attribution: entry.attribution.text.to_owned(),
        };
        let dir = self.store.of(self.asset);
        // The names of the new files must be durable before a manifest speaks of them.
        let doing = AssetError::io(format!("cannot sync {}", dir.display()));
        self.store.fs.sync_dir(&dir).map_err(doing)?;
        self.store.write(&dir.join(PENDING), &manifest)?;
        self.committed = true;
        self.store.promote(self.asset, &manifest)?;
        Ok(manifest)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.committed {
            for part in self.asset.entry().parts {
                let path = self.new_path(part);
                if self.store.fs.exists(&path) {
                    let _ = self.store.fs.remove(&path);
                }
            }
        }
    }
}

fn new(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{NEW}"))
}

/// As many bytes as there are, up to the chunk: readers of archives give few at a time.
fn fill(from: &mut dyn Read, chunk: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < chunk.len() {
        match from.read(&mut chunk[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

fn unread(e: &std::io::Error) -> String {
    format!("it cannot be read to its end: {e}")
}
