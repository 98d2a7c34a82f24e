//! Where objects lie. Four blocking calls, shaped after those of object stores, and a directory that answers them.
//!
//! A name is `operator/partition/file`; nothing else has slashes.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seam::Fs;

/// Objects, each whole and never overwritten.
pub trait Store: Send + Sync + 'static {
    /// Writes an object; when this answers `true` it is durable, whole. `false`: one of that name is there, and stays as it
    /// is. An error means that it may be there or not, but not in part.
    ///
    /// Writing takes its time so that others' commits need not wait for it, unless in `hurry`.
    fn put_if_absent(&self, name: &str, bytes: &[u8], hurry: &AtomicBool) -> io::Result<bool>;
    /// `None`: there is none. `InvalidData`: it is there, but it cannot be read and never will be.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// The names that begin with `prefix`, which ends with a slash or is empty, and have no further slash; sorted.
    fn list(&self, prefix: &str) -> io::Result<Vec<String>>;
    /// Deletes these, durably; those that are not there are none to delete.
    fn delete(&self, names: &[String]) -> io::Result<()>;
}

/// Writing all of a snapshot at once would hold up every commit of a journal on the same disk for tens of milliseconds, as
/// the file system orders it before the journal's next sync: it is written and synced by slices, with pauses in which the
/// journal syncs.
const SLICE: usize = 64 * 1024;
const SLICE_PAUSE: Duration = Duration::from_millis(5);

/// A partition has one writer, so one name does: what a killed one leaves is overwritten by the next.
const UNFINISHED: &str = "unfinished.tmp";

/// Objects as files in a directory. It belongs to one process.
pub struct Directory {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    /// Directories whose own entries this process has made durable.
    made: Mutex<BTreeSet<PathBuf>>,
}

impl Directory {
    /// `root` is made when the first object is written; the directory it lies in must be there, and be durable.
    pub fn new(fs: Arc<dyn Fs>, root: &Path) -> Directory {
        Directory { fs, root: root.to_owned(), made: Mutex::default() }
    }

    /// Names come out of manifests, which may be anybody's: none leads out of the directory.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !name.split('/').all(plain) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of an object"));
        }
        Ok(self.root.join(name))
    }

    /// IMPORTANT: an entry is durable only when all above it are; a directory that was there already may have been made by
    /// a process that died before its sync.
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.contains(dir) {
            return Ok(());
        }
        self.fs.create_dir_all(dir)?;
        let within = dir.ancestors().take_while(|above| above.starts_with(&self.root));
        for above in within.filter_map(Path::parent) {
            self.fs.sync_dir(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
        }
        made.insert(dir.to_owned());
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], hurry: &AtomicBool) -> io::Result<()> {
        if self.fs.exists(path) {
            self.fs.remove(path)?;
        }
        let file = self.fs.open(path, true)?;
        let mut at = 0;
        for slice in bytes.chunks(SLICE) {
            if at > 0 && !hurry.load(Relaxed) {
                std::thread::sleep(SLICE_PAUSE);
            }
            file.write_all_at(&[IoSlice::new(slice)], at)?;
            file.sync_data()?;
            at += slice.len() as u64;
        }
        Ok(())
    }
}

impl Store for Directory {
    fn put_if_absent(&self, name: &str, bytes: &[u8], hurry: &AtomicBool) -> io::Result<bool> {
        let path = self.path(name)?;
        let dir = path.parent().unwrap_or(&self.root);
        self.make_dir(dir)?;
        if self.fs.exists(&path) {
            return Ok(false);
        }
        let unfinished = dir.join(UNFINISHED);
        if let Err(e) = self.write(&unfinished, bytes, hurry) {
            // A disk that is full gets back what did not fit; if even that fails, the next one removes it.
            let _ = self.fs.remove(&unfinished);
            return Err(e);
        }
        self.fs.rename(&unfinished, &path)?;
        self.fs.sync_dir(dir)?;
        Ok(true)
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(name)?;
        let read = || {
            let file = self.fs.open_read(&path)?;
            let mut bytes = vec![0; file.len()? as usize];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if is_absent(&e) => Ok(None),
            // The disk cannot read a sector of it any more.
            Err(e) if e.raw_os_error() == Some(EIO) => Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            Err(e) => Err(e),
        }
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        match self.fs.list(&self.root.join(prefix)) {
            Ok(names) => {
                Ok(names.into_iter().filter(|n| !n.ends_with(".tmp")).map(|n| format!("{prefix}{n}")).collect())
            }
            Err(e) if is_absent(&e) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        let mut dirs = BTreeSet::new();
        for name in names {
            let path = self.path(name)?;
            match self.fs.remove(&path) {
                Ok(()) => dirs.extend(path.parent().map(Path::to_owned)),
                Err(e) if is_absent(&e) => {}
                Err(e) => return Err(e),
            }
        }
        dirs.iter().try_for_each(|dir| self.fs.sync_dir(dir))
    }
}

/// Linux's number for an input or output error.
const EIO: i32 = 5;

fn is_absent(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::NotFound
}
