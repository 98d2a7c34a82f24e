//! Files in memory that behave as a disk may: what was not synced is lost when the power goes, or only some of it, torn at
//! sectors; room runs out; a sync fails and the data with it; reads come short; bits rot.
//!
//! ```text
//!   write ──► cached (what the program reads) ──► sync_data ──► durable (what is there after the power was off)
//!   create, rename, remove ──► entries ──► sync_dir ──► durable entries
//! ```
//! After [`LossyFs::crash`] every handle of the old life answers with an error, as the process that held it is dead.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ouzel_gen::Rng;
use seam::fs::{File, Fs};

/// Disks promise to write this much whole or not at all, and no more.
const SECTOR: u64 = 512;

/// What becomes of everything that was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// All of it is gone.
    All,
    /// An arbitrary part: any of the unsynced sectors, in any order; and of each directory's unsynced changes the first
    /// few, as file systems with a journal keep their order.
    Some { seed: u64 },
    /// Nothing is lost: only the process died.
    Nothing,
}

#[derive(Clone)]
pub struct LossyFs(Arc<Mutex<Disk>>);

struct Disk {
    files: Vec<Inode>,
    dirs: BTreeMap<PathBuf, Dir>,
    /// Off: everything fails.
    on: bool,
    /// Changes made so far: writes, syncs, everything but reading.
    changes: u64,
    cut_at: Option<u64>,
    capacity: u64,
    syncs: u64,
    fail_sync: Option<u64>,
    /// Reads until one fails.
    fail_read: Option<u64>,
    failed_reads: u64,
    short_reads: Option<Rng>,
}

#[derive(Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write { at: u64, bytes: Vec<u8> },
    Len(u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Dir,
}

type Entries = BTreeMap<OsString, Entry>;

#[derive(Clone, Default)]
struct Dir {
    entries: Entries,
    durable: Entries,
    /// The entries after each change since the last sync.
    pending: Vec<Entries>,
}

impl Default for LossyFs {
    fn default() -> LossyFs {
        LossyFs::new()
    }
}

impl LossyFs {
    /// An empty disk with the directory `/`.
    pub fn new() -> LossyFs {
        LossyFs::with(Vec::new(), BTreeMap::from([(PathBuf::from("/"), Dir::default())]), u64::MAX)
    }

    fn with(files: Vec<Inode>, dirs: BTreeMap<PathBuf, Dir>, capacity: u64) -> LossyFs {
        LossyFs(Arc::new(Mutex::new(Disk {
            files,
            dirs,
            on: true,
            changes: 0,
            cut_at: None,
            capacity,
            syncs: 0,
            fail_sync: None,
            fail_read: None,
            failed_reads: 0,
            short_reads: None,
        })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The `n`-th read from now fails, counting from 1; the next may go well again.
    pub fn fail_read(&self, n: u64) {
        self.disk().fail_read = Some(n);
    }

    /// Reads that failed because they were to.
    pub fn failed_reads(&self) -> u64 {
        self.disk().failed_reads
    }

    /// Takes back what was to come: no cut, no failing sync or read.
    pub fn spare(&self) {
        let mut disk = self.disk();
        (disk.cut_at, disk.fail_sync, disk.fail_read) = (None, None, None);
    }

    /// The power goes at the `n`-th change from now, counting from 1. A write that it cuts may be torn, a sync that it
    /// cuts has not happened.
    pub fn cut_at(&self, n: u64) {
        let mut disk = self.disk();
        disk.cut_at = Some(disk.changes + n);
    }

    /// Whether the power is still there.
    pub fn is_on(&self) -> bool {
        self.disk().on
    }

    /// Changes so far, to choose a moment from.
    pub fn changes(&self) -> u64 {
        self.disk().changes
    }

    /// Bytes the disk holds; more is refused as a full disk refuses it, after half of the write was written.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk().capacity = bytes;
    }

    /// The `n`-th data sync from now fails with EIO, and what it should have written is lost, though it can still be read
    /// and later syncs succeed: what Linux does.
    pub fn fail_sync(&self, n: u64) {
        let mut disk = self.disk();
        disk.fail_sync = Some(disk.syncs + n);
    }

    /// Reads give fewer bytes than asked for.
    pub fn short_reads(&self, seed: u64) {
        self.disk().short_reads = Some(Rng::new(seed));
    }

    /// Flips a bit of a file, on the platter and in the cache. `false` if the file does not have it.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> bool {
        let mut disk = self.disk();
        let Ok(n) = disk.file(path) else { return false };
        let (byte, mask) = ((bit / 8) as usize, 1 << (bit % 8));
        let inode = &mut disk.files[n];
        let there = byte < inode.cached.len();
        for bytes in [&mut inode.cached, &mut inode.durable] {
            if let Some(b) = bytes.get_mut(byte) {
                *b ^= mask;
            }
        }
        there
    }

    /// The power goes now, and the disk is looked at again. This one answers with errors from here on.
    pub fn crash(&self, loss: Loss) -> LossyFs {
        let mut disk = self.disk();
        disk.on = false;
        let mut rng = Rng::new(match loss {
            Loss::Some { seed } => seed,
            _ => 0,
        });
        let files = disk.files.iter().map(|f| f.after(loss, &mut rng)).collect();
        let kept = disk.dirs.iter().map(|(path, d)| (path.clone(), d.after(loss, &mut rng))).collect();
        LossyFs::with(files, reachable(&kept), disk.capacity)
    }
}

/// The directories whose whole path is there.
fn reachable(kept: &BTreeMap<PathBuf, Entries>) -> BTreeMap<PathBuf, Dir> {
    let mut dirs: BTreeMap<PathBuf, Dir> = BTreeMap::new();
    for (path, entries) in kept {
        let there = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => dirs.get(parent).is_some_and(|d| d.entries.contains_key(name)),
            _ => true,
        };
        if there {
            let dir = Dir { entries: entries.clone(), durable: entries.clone(), pending: Vec::new() };
            dirs.insert(path.clone(), dir);
        }
    }
    dirs
}

impl Inode {
    fn after(&self, loss: Loss, rng: &mut Rng) -> Inode {
        let bytes = match loss {
            Loss::All => self.durable.clone(),
            Loss::Nothing => self.cached.clone(),
            Loss::Some { .. } => {
                let mut bytes = self.durable.clone();
                // Of a thousand; drawn per file, so that "nearly all" and "nearly none" are tried too.
                let kept = [0, 100, 500, 900, 1000][rng.below(5) as usize];
                for change in &self.pending {
                    change.apply_some(&mut bytes, kept, rng);
                }
                bytes
            }
        };
        Inode { cached: bytes.clone(), durable: bytes, pending: Vec::new() }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        apply_write(&mut self.cached, at, bytes);
        self.pending.push(Pending::Write { at, bytes: bytes.to_vec() });
    }

    fn set_len(&mut self, len: u64) {
        self.cached.resize(len as usize, 0);
        self.pending.push(Pending::Len(len));
    }

    fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Pending::Write { at, bytes } => apply_write(&mut self.durable, at, &bytes),
                Pending::Len(len) => self.durable.resize(len as usize, 0),
            }
        }
    }
}

impl Pending {
    fn apply_some(&self, to: &mut Vec<u8>, kept_per_mille: u64, rng: &mut Rng) {
        match self {
            Pending::Len(len) => {
                if rng.per_mille(kept_per_mille) {
                    to.resize(*len as usize, 0);
                }
            }
            Pending::Write { at, bytes } => {
                let end = at + bytes.len() as u64;
                let mut from = *at;
                while from < end {
                    let next = (from / SECTOR * SECTOR + SECTOR).min(end);
                    if rng.per_mille(kept_per_mille) {
                        apply_write(to, from, &bytes[(from - at) as usize..(next - at) as usize]);
                    }
                    from = next;
                }
            }
        }
    }
}

fn apply_write(to: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[at as usize..end].copy_from_slice(bytes);
}

impl Dir {
    fn after(&self, loss: Loss, rng: &mut Rng) -> Entries {
        match loss {
            Loss::All => self.durable.clone(),
            Loss::Nothing => self.entries.clone(),
            Loss::Some { .. } => match rng.below(self.pending.len() as u64 + 1) {
                0 => self.durable.clone(),
                n => self.pending[n as usize - 1].clone(),
            },
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Entries) -> Option<Entry>) {
        change(&mut self.entries);
        self.pending.push(self.entries.clone());
    }
}

fn dead() -> io::Error {
    io::Error::other("the power is off")
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk {
    /// Counts a change. The one at which the power goes still reaches the cache, but its caller never hears of it.
    fn change(&mut self) -> io::Result<bool> {
        if !self.on {
            return Err(dead());
        }
        self.changes += 1;
        if self.cut_at.is_some_and(|at| self.changes >= at) {
            self.on = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn readable(&self) -> io::Result<()> {
        if self.on { Ok(()) } else { Err(dead()) }
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Entry::Dir) };
        let dir = self.dirs.get(parent).ok_or_else(not_found)?;
        dir.entries.get(name).copied().ok_or_else(not_found)
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.entry(path)? {
            Entry::File(n) => Ok(n),
            Entry::Dir => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn parent(&mut self, path: &Path) -> io::Result<(&mut Dir, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        Ok((self.dirs.get_mut(parent).ok_or_else(not_found)?, name))
    }

    fn used(&self) -> u64 {
        let mut linked: Vec<usize> = Vec::new();
        for dir in self.dirs.values() {
            linked.extend(dir.entries.values().filter_map(|e| if let Entry::File(n) = e { Some(*n) } else { None }));
        }
        linked.iter().map(|n| self.files[*n].cached.len() as u64).sum()
    }

    /// How many of `more` bytes there is room for.
    fn room(&self, more: u64) -> u64 {
        if self.capacity == u64::MAX { more } else { more.min(self.capacity.saturating_sub(self.used())) }
    }
}

impl Fs for LossyFs {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        if !create {
            disk.readable()?;
            let inode = disk.file(path)?;
            return Ok(Arc::new(Handle { fs: self.clone(), inode }));
        }
        if disk.entry(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let alive = disk.change()?;
        let inode = disk.files.len();
        disk.files.push(Inode::default());
        let (dir, name) = disk.parent(path)?;
        dir.change(|e| e.insert(name, Entry::File(inode)));
        if alive { Ok(Arc::new(Handle { fs: self.clone(), inode })) } else { Err(dead()) }
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        self.open(path, false)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let missing: Vec<&Path> = path.ancestors().take_while(|p| !disk.dirs.contains_key(*p)).collect();
        for path in missing.into_iter().rev() {
            let alive = disk.change()?;
            let (dir, name) = disk.parent(path)?;
            dir.change(|e| e.insert(name, Entry::Dir));
            disk.dirs.insert(path.to_owned(), Dir::default());
            if !alive {
                return Err(dead());
            }
        }
        disk.readable()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        disk.readable()?;
        let dir = disk.dirs.get(dir).ok_or_else(not_found)?;
        Ok(dir.entries.keys().map(|n| n.to_string_lossy().into_owned()).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let entry = disk.entry(from)?;
        let alive = disk.change()?;
        if from.parent() == to.parent() {
            let new = to.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
            let (dir, old) = disk.parent(from)?;
            dir.change(|e| {
                e.remove(&old);
                e.insert(new, entry)
            });
        } else {
            let (dir, new) = disk.parent(to)?;
            dir.change(|e| e.insert(new, entry));
            let (dir, old) = disk.parent(from)?;
            dir.change(|e| e.remove(&old));
        }
        if alive { Ok(()) } else { Err(dead()) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.file(path)?;
        let alive = disk.change()?;
        let (dir, name) = disk.parent(path)?;
        dir.change(|e| e.remove(&name));
        if alive { Ok(()) } else { Err(dead()) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        if !disk.change()? {
            return Err(dead());
        }
        let dir = disk.dirs.get_mut(path).ok_or_else(not_found)?;
        dir.durable = dir.entries.clone();
        dir.pending.clear();
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let disk = self.disk();
        disk.on && disk.entry(path).is_ok()
    }

    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        let disk = self.disk();
        disk.readable()?;
        let total = disk.capacity.min(1 << 50);
        Ok((total.saturating_sub(disk.used()), total))
    }
}

struct Handle {
    fs: LossyFs,
    inode: usize,
}

impl File for Handle {
    fn write_all_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        let alive = disk.change()?;
        let bytes: Vec<u8> = parts.iter().flat_map(|p| p.iter().copied()).collect();
        let more = (at + bytes.len() as u64).saturating_sub(disk.files[self.inode].cached.len() as u64);
        let room = disk.room(more);
        let fits = bytes.len() - (more - room) as usize;
        let written = if room < more { fits / 2 } else { fits };
        disk.files[self.inode].write(at, &bytes[..written]);
        match (alive, room < more) {
            (false, _) => Err(dead()),
            (_, true) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            _ => Ok(()),
        }
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut disk = self.fs.disk();
        disk.readable()?;
        if let Some(left) = &mut disk.fail_read {
            *left -= 1;
            if *left == 0 {
                disk.fail_read = None;
                disk.failed_reads += 1;
                return Err(io::Error::from_raw_os_error(libc::EIO));
            }
        }
        let mut want = buf.len();
        if let Some(rng) = &mut disk.short_reads
            && want > 1
        {
            want = rng.between(1, want as u64 + 1) as usize;
        }
        let bytes = disk.files[self.inode].cached.get(at as usize..).unwrap_or_default();
        let n = want.min(bytes.len());
        buf[..n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.fs.disk();
        if !disk.change()? {
            return Err(dead());
        }
        disk.syncs += 1;
        if disk.fail_sync == Some(disk.syncs) {
            disk.files[self.inode].pending.clear();
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        disk.files[self.inode].sync();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        let alive = disk.change()?;
        disk.files[self.inode].set_len(len);
        if alive { Ok(()) } else { Err(dead()) }
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.fs.disk();
        let alive = disk.change()?;
        let more = len.saturating_sub(disk.files[self.inode].cached.len() as u64);
        if disk.room(more) < more {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        if more > 0 {
            disk.files[self.inode].set_len(len);
        }
        if alive { Ok(()) } else { Err(dead()) }
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.fs.disk();
        disk.readable()?;
        Ok(disk.files[self.inode].cached.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &dyn File, at: u64, bytes: &[u8]) {
        file.write_all_at(&[IoSlice::new(bytes)], at).expect("written");
    }

    fn contents(fs: &LossyFs, path: &str) -> Option<Vec<u8>> {
        let file = fs.open_read(Path::new(path)).ok()?;
        let mut bytes = vec![0; file.len().expect("alive") as usize];
        file.read_exact_at(&mut bytes, 0).expect("readable");
        Some(bytes)
    }

    #[test]
    fn what_was_not_synced_is_lost_and_what_was_is_not() {
        let fs = LossyFs::new();
        fs.create_dir_all(Path::new("/d")).expect("made");
        fs.sync_dir(Path::new("/")).expect("synced");
        let file = fs.open(Path::new("/d/a"), true).expect("made");
        write(&*file, 0, b"one");
        file.sync_data().expect("synced");
        fs.sync_dir(Path::new("/d")).expect("synced");
        write(&*file, 3, b"two");
        fs.open(Path::new("/d/b"), true).expect("made").sync_data().expect("synced");
        fs.rename(Path::new("/d/a"), Path::new("/d/c")).expect("renamed");
        let killed = fs.crash(Loss::Nothing);
        assert_eq!(contents(&killed, "/d/c"), Some(b"onetwo".to_vec()));
        let cut = fs.crash(Loss::All);
        assert_eq!(contents(&cut, "/d/a"), Some(b"one".to_vec()));
        assert_eq!((contents(&cut, "/d/b"), contents(&cut, "/d/c")), (None, None));
        assert!(file.sync_data().is_err() && !fs.exists(Path::new("/d/a")), "the old life is over");
    }

    #[test]
    fn a_torn_write_is_torn_at_sectors() {
        let fs = LossyFs::new();
        let file = fs.open(Path::new("/a"), true).expect("made");
        fs.sync_dir(Path::new("/")).expect("synced");
        write(&*file, 0, &[1; 4096]);
        let mut shapes = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let bytes = contents(&fs.crash(Loss::Some { seed }), "/a").expect("the entry was synced");
            assert!(bytes.chunks(512).all(|s| s.iter().all(|b| *b == s[0])), "torn inside a sector");
            shapes.insert(bytes);
        }
        assert!(shapes.len() > 10, "{} shapes", shapes.len());
    }

    #[test]
    fn an_unsynced_directory_takes_its_files_along() {
        let fs = LossyFs::new();
        fs.create_dir_all(Path::new("/d/e")).expect("made");
        fs.open(Path::new("/d/e/a"), true).expect("made").sync_data().expect("synced");
        fs.sync_dir(Path::new("/d/e")).expect("synced");
        assert!(!fs.crash(Loss::All).exists(Path::new("/d")));
    }

    #[test]
    fn a_failed_sync_loses_the_data_although_the_next_one_succeeds() {
        let fs = LossyFs::new();
        let file = fs.open(Path::new("/a"), true).expect("made");
        fs.sync_dir(Path::new("/")).expect("synced");
        fs.fail_sync(1);
        write(&*file, 0, b"lost");
        assert_eq!(file.sync_data().map_err(|e| e.raw_os_error()), Err(Some(libc::EIO)));
        file.sync_data().expect("the second one lies");
        assert_eq!(contents(&fs, "/a"), Some(b"lost".to_vec()));
        assert_eq!(contents(&fs.crash(Loss::All), "/a"), Some(Vec::new()));
    }

    #[test]
    fn a_full_disk_refuses_and_says_how_much_is_left() {
        let fs = LossyFs::new();
        fs.set_capacity(1000);
        let file = fs.open(Path::new("/a"), true).expect("made");
        file.allocate(800).expect("there is room");
        assert_eq!(fs.space(Path::new("/")).expect("alive"), (200, 1000));
        assert!(file.allocate(1001).is_err());
        let error = file.write_all_at(&[IoSlice::new(&[0; 500])], 700).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        write(&*file, 0, &[7; 800]);
    }

    #[test]
    fn the_power_goes_at_the_change_it_was_told_to() {
        let fs = LossyFs::new();
        let file = fs.open(Path::new("/a"), true).expect("made");
        fs.cut_at(2);
        write(&*file, 0, b"first");
        assert!(fs.is_on() && file.sync_data().is_err() && !fs.is_on());
        assert!(fs.flip_bit(Path::new("/a"), 3) && !fs.flip_bit(Path::new("/a"), 8 * 5));
    }
}
