//! The files of a data directory: names, the format file, the lock.
//!
//! ```text
//! DIR/lock      held while a process writes here; who it is, where to talk to it, and the token for that
//! DIR/format    the version of all that follows, the journal's own number, partitions per topic
//! DIR/journal/  00000000000000000001.seg, .idx, ...
//! DIR/quarantine/  what `repair` moved aside
//! ```

use std::io;
use std::path::{Path, PathBuf};

use seam::fs::{FileLock, Fs, write_atomically};

use crate::contract::LogError;

/// The format this program reads and writes.
pub const FORMAT: u32 = 1;

pub(super) fn journal_dir(dir: &Path) -> PathBuf {
    dir.join("journal")
}

pub(super) fn segment_path(journal: &Path, number: u64) -> PathBuf {
    journal.join(format!("{number:020}.seg"))
}

pub(super) fn index_path(journal: &Path, number: u64) -> PathBuf {
    journal.join(format!("{number:020}.idx"))
}

/// The number in a segment's file name.
pub(super) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

/// An I/O error with what was being done.
pub(super) fn io_error(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let doing = format!("{doing} {}", path.display());
    move |source| LogError::Io { doing, source }
}

/// The whole of a small file.
pub(super) fn read_small(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// What `DIR/format` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Format {
    /// In every frame of this journal, so that no frame of another one, and no event that looks like a frame, is taken
    /// for one of ours.
    pub salt: u64,
    pub partitions: u32,
}

impl Format {
    pub fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Format>, LogError> {
        let path = dir.join("format");
        if !fs.exists(&path) {
            return Ok(None);
        }
        let bytes = read_small(fs, &path).map_err(io_error("reading", &path))?;
        let text = String::from_utf8_lossy(&bytes);
        let refuse = |found: &str| LogError::Format {
            dir: dir.display().to_string(),
            found: found.chars().take(80).collect(),
            known: FORMAT,
        };
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let Some(version) = first.strip_prefix("ouzel ") else { return Err(refuse(&format!("`{first}`"))) };
        if version.parse() != Ok(FORMAT) {
            return Err(refuse(version));
        }
        let salt = lines.next().and_then(|l| u64::from_str_radix(l.strip_prefix("journal ")?, 16).ok());
        let partitions = lines.next().and_then(|l| l.strip_prefix("partitions ")?.parse().ok());
        match (salt, partitions) {
            (Some(salt), Some(partitions)) => Ok(Some(Format { salt, partitions })),
            _ => Err(refuse("1 with lines it does not have")),
        }
    }

    pub fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), LogError> {
        let path = dir.join("format");
        let text = format!("ouzel {FORMAT}\njournal {:016x}\npartitions {}\n", self.salt, self.partitions);
        write_atomically(fs, &path, text.as_bytes()).map_err(io_error("writing", &path))
    }
}

/// Partitions per topic of the journal in `dir`, which never change; `None` if there is none.
pub fn partitions_of(fs: &dyn Fs, dir: &Path) -> Result<Option<u32>, LogError> {
    Ok(Format::read(fs, dir)?.map(|format| format.partitions))
}

/// The lock of a data directory, held until it is dropped. One process writes; any number read.
pub struct Lock {
    held: Box<dyn FileLock>,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock, or says with [`LogError::InUse`] which process has it.
    pub fn acquire(fs: &dyn Fs, dir: &Path) -> Result<Lock, LogError> {
        let path = dir.join("lock");
        match fs.lock(&path).map_err(io_error("locking", &path))? {
            Ok(held) => {
                let lock = Lock { held, path };
                lock.announce(&[])?;
                Ok(lock)
            }
            Err(text) => {
                let pid = text.lines().next().unwrap_or("unknown").to_owned();
                Err(LogError::InUse { dir: dir.display().to_string(), pid })
            }
        }
    }

    /// Replaces the lines after the process id: the node writes its admin address and a token there.
    pub fn announce(&self, lines: &[&str]) -> Result<(), LogError> {
        let mut text = format!("{}\n", std::process::id());
        for line in lines {
            text.push_str(line);
            text.push('\n');
        }
        self.held.write(&text).map_err(io_error("writing", &self.path))
    }

    /// Who holds the lock of `dir`; `None` if nobody does.
    pub fn peek(fs: &dyn Fs, dir: &Path) -> Result<Option<Holder>, LogError> {
        let path = dir.join("lock");
        let text = fs.lock_holder(&path).map_err(io_error("reading", &path))?;
        Ok(text.map(|text| {
            let mut lines = text.lines().map(str::to_owned);
            Holder { pid: lines.next().unwrap_or_default(), lines: lines.collect() }
        }))
    }
}

/// The process that holds a directory's lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Empty in the moment between taking the lock and writing into it.
    pub pid: String,
    /// What it announced.
    pub lines: Vec<String>,
}
