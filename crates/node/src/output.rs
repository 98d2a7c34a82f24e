//! `--output`: the records of `enriched` as NDJSON, to a file or to standard output. A file is cut back at start to the
//! length that was committed with the positions it holds, so that a crash leaves no line out and none twice.

use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use event::Offset;
use event::topic::ENRICHED;
use log::{Commit, Input, Log, LogError, Outcome, Position};
use seam::fault::point;
use seam::{File, Fs};

/// Bytes read of one partition at a time.
const FETCH_BYTES: usize = 512 * 1024;
/// A file's lines are synced and their positions committed at least this often while lines come in.
const COMMIT_EVERY_BYTES: usize = 4 * 1024 * 1024;
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// Where the lines go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum To {
    Stdout,
    File(PathBuf),
}

/// Why an output could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("{} is a directory; --output takes a file, or - for standard output", path.display())]
    Directory { path: PathBuf },
    /// Going on would leave lines out.
    #[error(
        "{} has {found} bytes, but {kept} were written to it: somebody cut or replaced it. Put it back as it was, or \
         give --output another name: everything that is kept is written there from the beginning",
        path.display()
    )]
    Cut { path: PathBuf, found: u64, kept: u64 },
    #[error("cannot write to {}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Log(#[from] LogError),
}

/// What the writer has done so far.
#[derive(Default)]
pub struct OutputProgress {
    pub lines: AtomicU64,
    /// The offset written up to, in each partition.
    next: Vec<AtomicU64>,
}

impl OutputProgress {
    /// Whether everything that is committed in `enriched` now has been written.
    pub fn caught_up(&self, log: &dyn Log) -> bool {
        self.next.iter().enumerate().all(|(p, next)| {
            log.bounds(ENRICHED.partition(p as u32)).map_or(true, |(_, end)| next.load(Relaxed) >= end)
        })
    }
}

pub struct Output {
    log: Arc<dyn Log>,
    target: Target,
    next: Vec<Offset>,
    group: Arc<str>,
    pub progress: Arc<OutputProgress>,
}

enum Target {
    Stdout,
    File { file: Arc<dyn File>, len: u64, input: Input },
}

impl Output {
    /// Opens the output. Standard output begins at the end of what `enriched` holds now; a file goes on where it was.
    pub fn open(log: Arc<dyn Log>, fs: &dyn Fs, to: &To) -> Result<Output, OutputError> {
        let partitions = log.partitions(ENRICHED);
        let bounds = |p: u32| log.bounds(ENRICHED.partition(p));
        let (target, group, next) = match to {
            To::Stdout => {
                let next = (0..partitions).map(|p| Ok(bounds(p)?.1)).collect::<Result<Vec<_>, LogError>>()?;
                (Target::Stdout, Arc::from("output:-"), next)
            }
            To::File(path) => {
                let cannot = |source| OutputError::Io { path: path.clone(), source };
                let name = std::path::absolute(path).map_err(cannot)?;
                let group: Arc<str> = format!("output:{}", name.display()).into();
                let input = Input::External(group.clone());
                let stored = log.committed(&group, &input)?;
                let kept = stored.as_ref().map_or(0, |p| p.next);
                let file = open_file(fs, path).map_err(|e| match e.kind() {
                    io::ErrorKind::IsADirectory => OutputError::Directory { path: path.clone() },
                    _ => cannot(e),
                })?;
                let found = file.len().map_err(cannot)?;
                if found < kept {
                    return Err(OutputError::Cut { path: path.clone(), found, kept });
                }
                file.set_len(kept).map_err(cannot)?;
                let next = match stored {
                    Some(position) => decode(&position.metadata),
                    None => (0..partitions).map(|p| Ok(bounds(p)?.0)).collect::<Result<Vec<_>, LogError>>()?,
                };
                (Target::File { file, len: kept, input }, group, next)
            }
        };
        let progress =
            OutputProgress { lines: AtomicU64::new(0), next: next.iter().map(|n| AtomicU64::new(*n)).collect() };
        Ok(Output { log, target, next, group, progress: Arc::new(progress) })
    }

    /// Writes until `stop` is set and everything committed before that is written. A closed pipe ends it without error.
    pub fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut changes = *self.log.subscribe().borrow();
        let mut buffer = Vec::new();
        loop {
            let stopping = stop.load(Relaxed);
            buffer.clear();
            let mut lines = 0;
            for p in 0..self.next.len() {
                let fetch = self
                    .log
                    .fetch(ENRICHED.partition(p as u32), self.next[p], FETCH_BYTES)
                    .map_err(io::Error::other)?;
                for chunk in &fetch.chunks {
                    for record in chunk.records() {
                        let (_, record) = record.map_err(io::Error::other)?;
                        if let Some(value) = record.value {
                            write_line(value, &mut buffer);
                            lines += 1;
                        }
                    }
                    self.next[p] = chunk.next();
                }
                if buffer.len() > COMMIT_EVERY_BYTES {
                    break;
                }
            }
            if buffer.is_empty() {
                // Control records alone are no lines, and are passed over all the same.
                self.show();
                if stopping {
                    return Ok(());
                }
                changes = self.log.wait(changes, IDLE_WAIT);
                continue;
            }
            match self.write(&buffer, stop) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(e) => return Err(e),
            }
            self.progress.lines.fetch_add(lines, Relaxed);
            self.show();
        }
    }

    fn show(&self) {
        for (shown, next) in self.progress.next.iter().zip(&self.next) {
            shown.store(*next, Relaxed);
        }
    }

    /// Answers false when it was told to stop while the log had no room for the position: the next start cuts these lines
    /// off and writes them again.
    fn write(&mut self, lines: &[u8], stop: &AtomicBool) -> io::Result<bool> {
        let Target::File { file, len, input } = &mut self.target else {
            let mut out = io::stdout().lock();
            out.write_all(lines)?;
            return out.flush().map(|()| true);
        };
        file.write_all_at(&[IoSlice::new(lines)], *len)?;
        point("output.written");
        // IMPORTANT: the lines are on disk before the position that counts them.
        file.sync_data()?;
        point("output.synced");
        *len += lines.len() as u64;
        let position =
            Position { group: self.group.clone(), input: input.clone(), next: *len, metadata: encode(&self.next) };
        let commit = || Commit { positions: vec![position.clone()], ..Commit::default() };
        loop {
            match self.log.submit(commit()).wait() {
                Outcome::Committed(_) => return Ok(true),
                Outcome::Aborted(log::Aborted::Full(_)) if stop.load(Relaxed) => return Ok(false),
                // The lines stay; only their position is waiting for room.
                Outcome::Aborted(log::Aborted::Full(_) | log::Aborted::Retriable) => std::thread::sleep(IDLE_WAIT),
                Outcome::Aborted(why) => return Err(io::Error::other(why)),
                Outcome::Unknown => return Err(io::Error::other("the log stopped")),
            }
        }
    }
}

/// The positions in `enriched` stand in the metadata of the file's own position: they belong together, and an output that
/// is abandoned does not hold back what the log may remove.
fn encode(next: &[Offset]) -> Bytes {
    next.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn decode(metadata: &[u8]) -> Vec<Offset> {
    metadata.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("eight bytes"))).collect()
}

fn open_file(fs: &dyn Fs, path: &Path) -> io::Result<Arc<dyn File>> {
    if fs.exists(path) {
        return fs.open(path, false);
    }
    let file = fs.open(path, true)?;
    fs.sync_dir(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    Ok(file)
}

/// One line per record: line breaks between the members of somebody's pretty-printed event become spaces (in JSON they can
/// stand nowhere else).
pub fn write_line(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(value);
    for b in &mut out[start..] {
        if matches!(b, b'\n' | b'\r') {
            *b = b' ';
        }
    }
    out.push(b'\n');
}
