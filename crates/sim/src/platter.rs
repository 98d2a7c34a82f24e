//! What was on the disk of a real program when its power went. A library that is loaded into the program
//! (`shim/powerloss.c`) copies to a shadow what the program syncs; [`Platter::cut`] puts the data directory back to that.
//!
//! The kernel's page cache survives a killed process, so a kill alone never shows that a sync is missing. This does.

#![allow(clippy::disallowed_methods)] // the harness stands in the real world, outside the one it tests

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use hashbrown::HashMap;

const SOURCE: &str = include_str!("../shim/powerloss.c");

pub struct Platter {
    data: PathBuf,
    shadow: PathBuf,
    library: PathBuf,
}

impl Platter {
    /// Compiles the library with `cc` and takes everything in `data` for synced. `dir` is for the shadow and the library,
    /// and must be on the file system of `data`.
    pub fn begin(data: &Path, dir: &Path) -> io::Result<Platter> {
        fs::create_dir_all(dir)?;
        let library = dir.join("powerloss.so");
        compile(&library)?;
        // The library compares with what the kernel says a descriptor's path is.
        let platter = Platter { data: data.canonicalize()?, shadow: dir.join("shadow"), library };
        platter.adopt()?;
        Ok(platter)
    }

    /// What the program's environment needs.
    pub fn env(&self) -> Vec<(String, String)> {
        [("LD_PRELOAD", &self.library), ("POWERLOSS_DIR", &self.data), ("POWERLOSS_SHADOW", &self.shadow)]
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .into()
    }

    /// Puts the data directory back to what had been synced. The program must be dead.
    pub fn cut(&mut self) -> io::Result<()> {
        if !self.shadow.join("loaded").exists() {
            return Err(io::Error::other(
                "the power-loss library was not loaded into the program: is it linked statically, or set-uid?",
            ));
        }
        let next = self.shadow.with_extension("next");
        fs::create_dir(&next)?;
        let root = key_of(&self.data)?;
        rebuild(&self.shadow, &root, &next, &mut HashMap::new())?;
        for entry in fs::read_dir(&self.data)? {
            let path = entry?.path();
            if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
        }
        for entry in fs::read_dir(&next)? {
            let entry = entry?;
            fs::rename(entry.path(), self.data.join(entry.file_name()))?;
        }
        fs::remove_dir(&next)?;
        self.adopt()
    }

    /// Begins a shadow that says: all that is there now is on the platter.
    fn adopt(&self) -> io::Result<()> {
        if self.shadow.exists() {
            fs::remove_dir_all(&self.shadow)?;
        }
        fs::create_dir_all(&self.shadow)?;
        self.adopt_dir(&self.data)
    }

    fn adopt_dir(&self, dir: &Path) -> io::Result<()> {
        let mut lines = String::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let key = key_of(&path)?;
            if path.is_dir() {
                lines += &format!("d {key} {name}\n");
                self.adopt_dir(&path)?;
            } else {
                lines += &format!("f {key} {name}\n");
                copy_sparse(&path, &self.shadow.join(format!("f-{key}")))?;
            }
        }
        fs::write(self.shadow.join(format!("d-{}", key_of(dir)?)), lines)
    }
}

/// Makes in `to` what the shadow says was in the directory `key`. Files are moved out of the shadow; `moved` has where to.
fn rebuild(shadow: &Path, key: &str, to: &Path, moved: &mut HashMap<String, PathBuf>) -> io::Result<()> {
    let lines = match fs::read_to_string(shadow.join(format!("d-{key}"))) {
        Ok(lines) => lines,
        // Its own entry was synced, its contents never were.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for line in lines.lines() {
        let mut parts = line.splitn(3, ' ');
        let (Some(kind), Some(key), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(io::Error::other(format!("no entry in the shadow: {line:?}")));
        };
        let path = to.join(name);
        if kind == "d" {
            fs::create_dir(&path)?;
            rebuild(shadow, key, &path, moved)?;
        } else if let Some(twin) = moved.get(key) {
            copy_sparse(twin, &path)?;
        } else {
            match fs::rename(shadow.join(format!("f-{key}")), &path) {
                // The entry was synced, the file never was.
                Err(e) if e.kind() == io::ErrorKind::NotFound => drop(File::create(&path)?),
                other => other?,
            }
            moved.insert(key.to_owned(), path);
        }
    }
    Ok(())
}

/// Copies without filling holes, so that preallocated files stay cheap.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let (mut input, mut output) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        // SAFETY: the descriptor is open; the call has no memory effects.
        let data = unsafe { libc::lseek(input.as_raw_fd(), at, libc::SEEK_DATA) };
        if data < 0 {
            break;
        }
        input.seek(SeekFrom::Start(data as u64))?;
        let n = input.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        if buffer[..n].iter().any(|b| *b != 0) {
            output.seek(SeekFrom::Start(data as u64))?;
            output.write_all(&buffer[..n])?;
        }
        at = data + n as i64;
    }
    output.set_len(input.metadata()?.len())
}

/// A file's key, made as `identify` in the library makes it.
fn key_of(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let mut st = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: the descriptor is open, the path is an empty C string, and `st` has room for the answer.
    let st = unsafe {
        if libc::statx(file.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, mask, st.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        st.assume_init()
    };
    let mut generation: libc::c_long = 0;
    // SAFETY: the descriptor is open and the kernel writes at most a long.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETVERSION as _, &mut generation) } != 0 {
        generation = 0;
    }
    let born = if st.stx_mask & libc::STATX_BTIME != 0 {
        st.stx_btime.tv_sec * 1_000_000_000 + i64::from(st.stx_btime.tv_nsec)
    } else {
        0
    };
    Ok(format!("{}-{born}-{}", st.stx_ino, generation as u32))
}

fn compile(library: &Path) -> io::Result<()> {
    let source = library.with_extension("c");
    fs::write(&source, SOURCE)?;
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let output = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([library, &source])
        .arg("-lpthread")
        .output()
        .map_err(|e| io::Error::new(e.kind(), format!("power-loss runs need a C compiler; `{compiler}`: {e}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{compiler} failed: {}", String::from_utf8_lossy(&output.stderr))))
}
