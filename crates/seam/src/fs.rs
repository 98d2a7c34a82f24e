//! The file operations the log is made of, and no more. `sim` has one that loses what was not synced.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files and directories.
pub trait Fs: Send + Sync + 'static {
    /// Opens for reading and writing. `create`: makes it, and fails if it is there already.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>>;
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
    /// (free for us, total) bytes of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<(u64, u64)>;

    /// Takes the advisory lock of the file `path` (made if it is missing, readable by its owner only) until the guard is
    /// dropped or the process ends. `Err(text)`: another holds it, with what that one wrote into it.
    ///
    /// A world with one process may leave this as it is: the lock is always free.
    fn lock(&self, _path: &Path) -> io::Result<Result<Box<dyn FileLock>, String>> {
        Ok(Ok(Box::new(NoLock)))
    }

    /// What the holder of the lock at `path` wrote into it; `None` if nobody holds it.
    fn lock_holder(&self, _path: &Path) -> io::Result<Option<String>> {
        Ok(None)
    }
}

/// A lock that is held.
pub trait FileLock: Send + Sync {
    /// Replaces what others find in the file while the lock is held.
    fn write(&self, contents: &str) -> io::Result<()>;
}

struct NoLock;

impl FileLock for NoLock {
    fn write(&self, _contents: &str) -> io::Result<()> {
        Ok(())
    }
}

/// An open file. All positions are absolute; there is no cursor.
pub trait File: Send + Sync {
    /// Writes all parts one after another at `at`.
    fn write_all_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()>;
    /// Reads up to `buf.len()` bytes; 0 at the end.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;
    /// Makes the data (and a length that changed) durable. An error means the data may be gone: never retry it.
    fn sync_data(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves disk for `[0, len)` and extends the file with zeros, so that later writes there cannot run out of disk.
    fn allocate(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `at`; `UnexpectedEof` if the file is shorter.
    fn read_exact_at(&self, buf: &mut [u8], at: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], at + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// The operating system's files.
#[derive(Clone, Copy, Default)]
pub struct RealFs;

struct RealFile(std::fs::File);

#[allow(clippy::disallowed_methods)] // the one place that touches real files
impl Fs for RealFs {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let file = std::fs::OpenOptions::new().read(true).write(true).create_new(create).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(std::fs::File::open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names: Vec<String> = std::fs::read_dir(dir)?
            .map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<_>>()?;
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::File::open(dir)?.sync_all()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        use std::os::unix::ffi::OsStrExt;
        let c = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let mut s = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `c` is a live C string and `s` is written whole when the call answers 0.
        let s = unsafe {
            if libc::statvfs(c.as_ptr(), s.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            s.assume_init()
        };
        Ok((s.f_bavail * s.f_frsize, s.f_blocks * s.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn FileLock>, String>> {
        use std::os::unix::fs::OpenOptionsExt;
        let file =
            std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // One that only looks holds the lock for a moment (see `lock_holder`), so a refusal counts when it lasts.
        for attempt in 0..LOCK_ATTEMPTS {
            if flock(&file, libc::LOCK_EX | libc::LOCK_NB)? {
                return Ok(Ok(Box::new(RealLock(file))));
            }
            if attempt + 1 < LOCK_ATTEMPTS {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        Ok(Err(std::fs::read_to_string(path)?))
    }

    fn lock_holder(&self, path: &Path) -> io::Result<Option<String>> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if flock(&file, libc::LOCK_SH | libc::LOCK_NB)? {
            return Ok(None);
        }
        Ok(Some(std::fs::read_to_string(path)?))
    }
}

const LOCK_ATTEMPTS: u32 = 10;

/// Whether the lock was taken. It goes with the open file, so with the process too.
fn flock(file: &std::fs::File, operation: libc::c_int) -> io::Result<bool> {
    use std::os::fd::AsRawFd;
    loop {
        // SAFETY: the descriptor is open; the call has no memory effects.
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(true);
        }
        let e = io::Error::last_os_error();
        match e.kind() {
            io::ErrorKind::WouldBlock => return Ok(false),
            io::ErrorKind::Interrupted => {}
            _ => return Err(e),
        }
    }
}

struct RealLock(std::fs::File);

impl FileLock for RealLock {
    fn write(&self, contents: &str) -> io::Result<()> {
        self.0.set_len(0)?;
        std::os::unix::fs::FileExt::write_all_at(&self.0, contents.as_bytes(), 0)
    }
}

impl Drop for RealLock {
    fn drop(&mut self) {
        // The file stays: removing it would let two processes hold locks of two files with one name.
        let _ = self.0.set_len(0);
    }
}

impl File for RealFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let mut at = at;
        let mut parts: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        let mut rest = &mut parts[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            // IOV_MAX is 1,024 on Linux.
            let n = rest.len().min(1024);
            // SAFETY: IoSlice has the layout of iovec, and the slices live through the call.
            let wrote =
                unsafe { libc::pwritev(self.0.as_raw_fd(), rest.as_ptr().cast(), n as libc::c_int, at as libc::off_t) };
            match wrote {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n if n > 0 => {
                    at += n as u64;
                    IoSlice::advance_slices(&mut rest, n as usize);
                }
                _ => {
                    let e = io::Error::last_os_error();
                    if e.kind() != io::ErrorKind::Interrupted {
                        return Err(e);
                    }
                }
            }
        }
        Ok(())
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buf, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        loop {
            // SAFETY: the descriptor is open; the call has no memory effects.
            match unsafe { libc::posix_fallocate(self.0.as_raw_fd(), 0, len as libc::off_t) } {
                0 => return Ok(()),
                libc::EINTR => {}
                e => return Err(io::Error::from_raw_os_error(e)),
            }
        }
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Writes a small file so that it is there whole or not at all: temporary name, data sync, rename, directory sync.
pub fn write_atomically(fs: &dyn Fs, path: &Path, contents: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut tmp = PathBuf::from(path).into_os_string();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    if fs.exists(&tmp) {
        fs.remove(&tmp)?;
    }
    let file = fs.open(&tmp, true)?;
    file.write_all_at(&[IoSlice::new(contents)], 0)?;
    file.sync_data()?;
    fs.rename(&tmp, path)?;
    fs.sync_dir(dir)
}
