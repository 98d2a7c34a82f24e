//! Objects as files in a directory: of this process alone, or one that several share, on a network file system.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use seam::{Clock, FileLock, Fs};

use crate::name::{self, UNFINISHED};
use crate::store::Store;

/// Writing all of a snapshot at once would hold up every commit of a journal on the same disk for tens of milliseconds, as
/// the file system orders it before the journal's next sync: it is written and synced by slices, with pauses in which the
/// journal syncs.
const SLICE: usize = 64 * 1024;
const SLICE_PAUSE: Duration = Duration::from_millis(5);

/// A partition has one writer in a process, so one name does: what a killed one leaves is overwritten by the next.
const ALONE: &str = "unfinished.tmp";

/// Held while a file gets its name in a directory that is shared: to look whether there is one, and to rename, are two steps.
const LOCK: &str = ".lock";
/// Each takes 50 ms, and whoever has it needs a rename and a sync: five seconds are for a file system that hangs.
const LOCK_ATTEMPTS: u32 = 100;
/// Linux's number for a file system without locks.
const ENOLCK: i32 = 37;

/// From when on an unfinished file is one that nobody finishes: a part takes seconds. A writer that slept for longer finds
/// that its file has no name any more, and its snapshot is not written.
const LEFT_AFTER: Duration = Duration::from_secs(600);

/// Objects as files in a directory.
pub struct Directory {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    /// Directories whose own entries this process has made durable.
    made: Mutex<BTreeSet<PathBuf>>,
    /// `None`: it belongs to this process.
    shared: Option<Shared>,
}

/// What is needed beside others who write there, of the same partition too: the owner before, who does not know yet that it is
/// not.
struct Shared {
    clock: Arc<dyn Clock>,
    /// In the names of our unfinished files, so that they are no one else's.
    random: u64,
    serial: AtomicU64,
    /// The unfinished files of others, and when each was first seen.
    seen: Mutex<BTreeMap<PathBuf, Duration>>,
}

impl Directory {
    /// One that belongs to this process. `root` is made when the first object is written; the directory it lies in must be
    /// there, and be durable.
    pub fn new(fs: Arc<dyn Fs>, root: &Path) -> Directory {
        Directory { fs, root: root.to_owned(), made: Mutex::default(), shared: None }
    }

    /// One in which several processes write, each with a `random` number of its own. Exactly one of those who put the same
    /// name has it, if the file system has locks; without, the last one has it.
    pub fn shared(fs: Arc<dyn Fs>, root: &Path, clock: Arc<dyn Clock>, random: u64) -> Directory {
        let shared = Shared { clock, random, serial: AtomicU64::new(0), seen: Mutex::default() };
        Directory { shared: Some(shared), ..Directory::new(fs, root) }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        name::check(name)?;
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

    fn unfinished(&self) -> String {
        match &self.shared {
            None => ALONE.to_owned(),
            Some(Shared { random, serial, .. }) => {
                format!("{random:016x}-{}{UNFINISHED}", serial.fetch_add(1, Relaxed))
            }
        }
    }

    fn rename_if_absent(&self, unfinished: &Path, path: &Path) -> io::Result<bool> {
        let _lock = match &self.shared {
            None => None,
            Some(_) => self.lock()?,
        };
        if self.shared.is_some() && self.fs.exists(path) {
            return Ok(false);
        }
        self.fs.rename(unfinished, path)?;
        Ok(true)
    }

    /// `None`: the file system has no locks.
    fn lock(&self) -> io::Result<Option<Box<dyn FileLock>>> {
        let path = self.root.join(LOCK);
        for _ in 0..LOCK_ATTEMPTS {
            match self.fs.lock(&path) {
                Ok(Ok(lock)) => return Ok(Some(lock)),
                Ok(Err(_holder)) => {}
                Err(e) if e.kind() == io::ErrorKind::Unsupported || e.raw_os_error() == Some(ENOLCK) => {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
        }
        let what = format!("another process has held {} for seconds: see which one has it open", path.display());
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    }

    /// Removes the unfinished files that have been in `dir` for so long that nobody finishes them.
    fn remove_left(&self, shared: &Shared, dir: &Path, entries: &[String]) {
        let now = shared.clock.elapsed();
        let ours = format!("{:016x}-", shared.random);
        let others = entries.iter().filter(|entry| entry.ends_with(UNFINISHED) && !entry.starts_with(&ours));
        let others: BTreeSet<PathBuf> = others.map(|entry| dir.join(entry)).collect();
        let mut seen = shared.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|path, _| path.parent() != Some(dir) || others.contains(path));
        for path in others {
            let first = *seen.entry(path.clone()).or_insert(now);
            // One that cannot be removed is tried again with the next list; it is in nobody's way.
            if now.saturating_sub(first) >= LEFT_AFTER && self.fs.remove(&path).is_ok() {
                seen.remove(&path);
            }
        }
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
        let unfinished = dir.join(self.unfinished());
        let named = self.write(&unfinished, bytes, hurry).and_then(|()| self.rename_if_absent(&unfinished, &path));
        if !matches!(named, Ok(true)) {
            // A disk that is full gets back what did not fit; if even that fails, a later one removes it.
            let _ = self.fs.remove(&unfinished);
            return named;
        }
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
            Err(e) if is_absent(&e) || e.kind() == io::ErrorKind::IsADirectory => Ok(None),
            // The disk cannot read a sector of it any more.
            Err(e) if e.raw_os_error() == Some(EIO) => Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            Err(e) => Err(e),
        }
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        name::check_prefix(prefix)?;
        let dir = self.root.join(prefix);
        let entries = match self.fs.list(&dir) {
            Ok(entries) => entries,
            Err(e) if is_absent(&e) => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        if let Some(shared) = &self.shared {
            self.remove_left(shared, &dir, &entries);
        }
        // Directories are where names have further slashes, and there are few entries.
        let has_dirs = prefix.matches('/').count() < 2;
        let is_object = |entry: &String| name::is_part(entry) && !(has_dirs && self.fs.list(&dir.join(entry)).is_ok());
        Ok(entries.into_iter().filter(is_object).map(|entry| format!("{prefix}{entry}")).collect())
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
