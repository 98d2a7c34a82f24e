//! The local cache: shards by the keys' hashes, each behind a lock that is held for one read or write. It is saved when a
//! process stops and loaded by the next.
//!
//! ```text
//! magic 8 | { key length 4 | entry length 4 | key | entry, with its checksum } ...
//! ```

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ask::cache::{self, NEGATIVE_PERCENT};
use ask::counters::Reads;
use ask::{Age, Cache, Entry};
use flow::Status;
use seam::{Clock, Fs};
use xxhash_rust::xxh3::xxh3_64;

use super::moment;
use crate::LookupError;

const MAGIC: &[u8; 8] = b"ouzelkv1";

/// What the local cache may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheConfig {
    /// Of memory, all shards together; a shard takes at least [`cache::BYTES_MIN`].
    pub bytes: usize,
    /// Threads that read at once wait for each other if they meet in one. At least 1.
    pub shards: usize,
}

/// What the local cache knows of a key.
pub(super) enum Known {
    /// There is nothing to ask: what is known for so many microseconds, and the entry if it is to be refreshed now.
    Settled {
        status: Status,
        age_us: u64,
        refresh: Option<Entry>,
    },
    /// A value past its time: what whoever asks gets if the source fails.
    Stale(Entry),
    Nothing,
}

/// What came of loading a file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Loaded {
    /// Entries in it.
    pub read: usize,
    /// Entries, or ends of the file, that were damaged or of another version.
    pub damaged: usize,
}

/// What is in the cache, and what its reads found.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Level {
    pub reads: Reads,
    pub entries: usize,
    /// Bytes of memory.
    pub resident: usize,
    /// Entries that were given up for others before their time.
    pub evicted: u64,
    /// Entries that were too large.
    pub refused: u64,
}

pub(super) struct Local {
    shards: Box<[Mutex<Cache>]>,
}

impl Local {
    pub fn new(config: CacheConfig) -> Local {
        let shards = config.shards.max(1);
        let shard = || Mutex::new(Cache::new(config.bytes / shards, NEGATIVE_PERCENT));
        Local { shards: std::iter::repeat_with(shard).take(shards).collect() }
    }

    /// What is known; a fresh value's JSON is appended to `out`. What it finds fresh it does not allocate for.
    pub fn get(&self, now: u64, key: &[u8], out: &mut Vec<u8>) -> Known {
        Local::read(&mut self.shard(key), now, key, out)
    }

    /// The same for whoever has just looked: it is not counted again.
    pub fn get_again(&self, now: u64, key: &[u8], out: &mut Vec<u8>) -> Known {
        let mut shard = self.shard(key);
        let reads = shard.reads();
        let known = Local::read(&mut shard, now, key, out);
        shard.recount(reads);
        known
    }

    fn read(shard: &mut Cache, now: u64, key: &[u8], out: &mut Vec<u8>) -> Known {
        let Some(hit) = shard.get(now, key) else { return Known::Nothing };
        if hit.age != Age::Fresh {
            return Known::Stale(hit.entry());
        }
        let status = match hit.known {
            cache::Known::Found(json) => {
                out.extend_from_slice(json);
                Status::Ok
            }
            cache::Known::NotFound => Status::Miss,
            cache::Known::Failed(code) => Status::Error(code.word()),
        };
        Known::Settled { status, age_us: hit.age_us(now), refresh: hit.refresh.then(|| hit.entry()) }
    }

    pub fn put(&self, now: u64, key: &[u8], entry: &Entry) {
        self.shard(key).put(now, key, entry);
    }

    pub fn save(&self, fs: &dyn Fs, path: &Path, clock: &dyn Clock) -> Result<(), LookupError> {
        let mut out = MAGIC.to_vec();
        for shard in &self.shards {
            for (key, entry) in lock(shard).save(moment(clock)) {
                for part in [key, &entry] {
                    let len = u32::try_from(part.len()).expect("what lies in a segment is shorter than 4 GiB");
                    out.extend_from_slice(&len.to_le_bytes());
                }
                out.extend_from_slice(key);
                out.extend_from_slice(&entry);
            }
        }
        seam::fs::write_atomically(fs, path, &out).map_err(|source| LookupError::Io { path: path.to_owned(), source })
    }

    pub fn load(&self, fs: &dyn Fs, path: &Path, clock: &dyn Clock) -> Result<Loaded, LookupError> {
        let bytes = match read(fs, path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
            Err(source) => return Err(LookupError::Io { path: path.to_owned(), source }),
        };
        let Some(mut rest) = bytes.strip_prefix(MAGIC) else { return Ok(Loaded { read: 0, damaged: 1 }) };
        let at = moment(clock);
        let mut loaded = Loaded::default();
        while !rest.is_empty() {
            let Some((key, entry, after)) = split(rest) else {
                loaded.damaged += 1;
                break;
            };
            loaded.read += 1;
            loaded.damaged += self.shard(key).load(at, std::iter::once((key, entry)));
            rest = after;
        }
        Ok(loaded)
    }

    pub fn level(&self) -> Level {
        let mut level = Level::default();
        for shard in &self.shards {
            let shard = lock(shard);
            let reads = shard.reads();
            level.reads.hits += reads.hits;
            level.reads.negative += reads.negative;
            level.reads.stale += reads.stale;
            level.reads.misses += reads.misses;
            level.entries += shard.len();
            level.resident += shard.resident();
            level.evicted += shard.evicted();
            level.refused += shard.refused();
        }
        level
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Cache> {
        lock(&self.shards[(xxh3_64(key) % self.shards.len() as u64) as usize])
    }
}

fn lock(shard: &Mutex<Cache>) -> MutexGuard<'_, Cache> {
    // A cache is left in no half-done state that a later read could not stand.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// The first key, its entry, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (lengths, rest) = bytes.split_at_checked(8)?;
    let len = |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().expect("four bytes")) as usize;
    let (key, rest) = rest.split_at_checked(len(0))?;
    let (entry, rest) = rest.split_at_checked(len(4))?;
    Some((key, entry, rest))
}
