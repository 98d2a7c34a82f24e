//! A clock that stands still, a disk with knobs, and short words for what the stories do.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use event::topic::RAW;
use event::{Block, Micros, Offset, TopicPartition};
pub use ouzel_log as log;
use ouzel_log::journal::{Drive, Journal, JournalConfig, MinFree};
use ouzel_log::{Commit, Input, Log, LogError, Outcome, Position};
use seam::{Clock, File, Fs, RealFs};

pub const START: i64 = 1_800_000_000_000_000;

/// Moves when told to.
pub struct FakeClock(AtomicI64);

impl FakeClock {
    pub fn new() -> Arc<FakeClock> {
        Arc::new(FakeClock(AtomicI64::new(START)))
    }

    pub fn advance_secs(&self, secs: i64) {
        self.0.fetch_add(secs * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros((self.0.load(Ordering::SeqCst) - START) as u64)
    }
}

/// Real files on a disk that can be full or broken.
pub struct FakeDisk {
    pub knobs: Arc<Knobs>,
}

pub struct Knobs {
    /// Bytes that may still be reserved.
    pub room: AtomicU64,
    /// What `space` says is free.
    pub free: AtomicU64,
    pub fail_sync: AtomicBool,
    pub fail_write: AtomicBool,
    /// Writes of frames run out of room although it was reserved.
    pub liar: AtomicBool,
    pub calls: Mutex<Vec<&'static str>>,
    /// While a test holds it, no sync ends.
    pub gate: Mutex<()>,
}

impl FakeDisk {
    pub fn new() -> (Arc<FakeDisk>, Arc<Knobs>) {
        let knobs = Arc::new(Knobs {
            room: AtomicU64::new(u64::MAX),
            free: AtomicU64::new(1 << 40),
            fail_sync: AtomicBool::new(false),
            fail_write: AtomicBool::new(false),
            liar: AtomicBool::new(false),
            calls: Mutex::new(Vec::new()),
            gate: Mutex::new(()),
        });
        (Arc::new(FakeDisk { knobs: knobs.clone() }), knobs)
    }

    fn wrap(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FakeFile { file, knobs: self.knobs.clone() })
    }
}

impl Fs for FakeDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(RealFs.open(path, create)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.wrap(RealFs.open_read(path)?))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        self.knobs.calls.lock().expect("calls").push("sync_dir");
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        RealFs.exists(path)
    }

    fn space(&self, _path: &Path) -> io::Result<(u64, u64)> {
        Ok((self.knobs.free.load(Ordering::SeqCst), 1 << 41))
    }
}

struct FakeFile {
    file: Arc<dyn File>,
    knobs: Arc<Knobs>,
}

impl File for FakeFile {
    fn write_all_at(&self, parts: &[IoSlice<'_>], at: u64) -> io::Result<()> {
        self.knobs.calls.lock().expect("calls").push("write");
        if self.knobs.fail_write.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        if self.knobs.liar.load(Ordering::SeqCst) {
            // Half of it is there, as with a real one.
            let all: Vec<u8> = parts.iter().flat_map(|p| p.to_vec()).collect();
            self.file.write_all_at(&[IoSlice::new(&all[..all.len() / 2])], at)?;
            return Err(io::Error::from_raw_os_error(28));
        }
        self.file.write_all_at(parts, at)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buf, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.knobs.calls.lock().expect("calls").push("sync");
        let _passed = self.knobs.gate.lock().expect("gate");
        if self.knobs.fail_sync.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let more = len.saturating_sub(self.file.len()?);
        let room = self.knobs.room.load(Ordering::SeqCst);
        if more > room {
            return Err(io::Error::from_raw_os_error(28));
        }
        self.knobs.room.store(room - more, Ordering::SeqCst);
        self.file.allocate(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// Everything happens in the caller's thread, in small segments.
pub fn config() -> JournalConfig {
    JournalConfig {
        partitions: 2,
        segment_bytes: 16 << 10,
        allocate_step: 4 << 10,
        cache_bytes: 2 << 10,
        min_free: MinFree::Bytes(0),
        drive: Drive::Caller,
        ..JournalConfig::default()
    }
}

pub fn open_with(dir: &Path, config: JournalConfig, clock: &Arc<FakeClock>) -> Result<Arc<Journal>, LogError> {
    let (disk, _) = FakeDisk::new();
    Journal::open(dir, config, disk, clock.clone())
}

pub fn open(dir: &Path) -> Arc<Journal> {
    open_with(dir, config(), &FakeClock::new()).expect("opens")
}

/// A block of one record with this key and a value of `size` bytes.
pub fn block_of(tp: TopicPartition, key: &str, size: usize) -> Block {
    let mut builder = event::BlockBuilder::new(tp);
    builder.push(key.as_bytes(), b"", Some(&[&vec![b'v'; size]]));
    builder.finish()
}

pub fn commit(log: &dyn Log, blocks: Vec<Block>) -> Outcome {
    log.submit(Commit { blocks, ..Commit::default() }).wait()
}

#[track_caller]
pub fn must_commit(log: &dyn Log, blocks: Vec<Block>) {
    let outcome = commit(log, blocks);
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

/// One record in `raw/0` named by `n`, with the position of an input called `in` after it.
#[track_caller]
pub fn must_commit_numbered(log: &dyn Log, n: u64, size: usize) {
    let position =
        Position { group: "g".into(), input: Input::External("in".into()), next: n + 1, metadata: Bytes::new() };
    let blocks = vec![block_of(RAW.partition(0), &n.to_string(), size)];
    let outcome = log.submit(Commit { blocks, positions: vec![position], generation: None }).wait();
    assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
}

pub fn next_of(log: &dyn Log) -> u64 {
    log.committed("g", &Input::External("in".into())).expect("readable").map_or(0, |p| p.next)
}

pub fn keys(log: &dyn Log, tp: TopicPartition) -> Vec<String> {
    log::conformance::read_all(log, tp).into_iter().map(|(_, k)| k).collect()
}

/// Segment files, oldest first.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = RealFs.list(&dir.join("journal")).expect("lists");
    names.iter().filter(|n| n.ends_with(".seg")).map(|n| dir.join("journal").join(n)).collect()
}

pub fn read_file(path: &Path) -> Vec<u8> {
    let file = RealFs.open_read(path).expect("opens");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_exact_at(&mut bytes, 0).expect("reads");
    bytes
}

pub fn write_file(path: &Path, bytes: &[u8]) {
    let exists = RealFs.exists(path);
    let file = RealFs.open(path, !exists).expect("opens");
    file.set_len(bytes.len() as u64).expect("cuts");
    file.write_all_at(&[IoSlice::new(bytes)], 0).expect("writes");
}

pub fn flip(path: &Path, at: usize) {
    let mut bytes = read_file(path);
    bytes[at] ^= 0x40;
    write_file(path, &bytes);
}

/// Where frames begin in a segment, and where the last ends.
pub fn frames(path: &Path) -> Vec<usize> {
    let bytes = read_file(path);
    let (mut at, mut out) = (0, Vec::new());
    while bytes.get(at..at + 4) == Some(b"OZJ1") {
        out.push(at);
        let n = |i: usize| u32::from_le_bytes(bytes[at + i..at + i + 4].try_into().expect("four")) as usize;
        at += (64 + n(32) + n(40)).next_multiple_of(512);
    }
    out.push(at);
    out
}

pub fn position_of_topic(group: &str, tp: TopicPartition, next: Offset) -> Position {
    Position { group: group.into(), input: Input::Topic(tp), next, metadata: Bytes::new() }
}
