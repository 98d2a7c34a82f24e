//! Which file this is, and how far it was read.
//!
//! A file's identity is its canonical path and the hash of its first 4 KiB. A file that is shorter when it is first seen
//! is known by the bytes it had then, and keeps that identity while it grows: `path:<hash of the path>` remembers how
//! many bytes those were, and, from then on, what the first 4 KiB look like. A file whose beginning changed, or that is
//! shorter than what was read of it, is a new one, even where its bytes are those of an old one (then a counter goes
//! into the hash).
//!
//! ```text
//! path:<path hash>    -> the identity last seen under this path, with what its beginning must look like
//! file:<identity>     -> bytes read (decompressed), events accepted and refused so far
//! ```
//! Both are committed together with the events, in group `collect`.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use log::{Input, Log, LogError, Position};
use serde_json::{Value, json};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The group under which inputs commit their positions.
pub const GROUP: &str = "collect";

/// How many bytes of a file its identity rests on.
pub const HEAD: usize = 4096;

/// A path longer than this is cut in metadata, which has room for 4,096 bytes.
const PATH_SHOWN_MAX: usize = 1024;

/// What makes a file this file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    hash: u64,
    /// How many of its first bytes are hashed: [`HEAD`], or what there was when it was first seen.
    prefix: usize,
    /// Counts files with the same path and beginning.
    generation: u64,
}

impl Identity {
    fn new(path: &[u8], head: &[u8], generation: u64) -> Identity {
        let prefix = head.len().min(HEAD);
        let mut h = Xxh3::new();
        for part in [&(path.len() as u64).to_le_bytes(), path, &generation.to_le_bytes(), &head[..prefix]] {
            h.update(part);
        }
        Identity { hash: h.digest(), prefix, generation }
    }

    /// `file:<16 hexadecimal digits>`: the name of its position, and the prefix of ids derived from it.
    pub fn name(&self) -> String {
        format!("file:{:016x}", self.hash)
    }
}

/// How far a file was read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Read {
    /// Decompressed bytes; where to read on.
    pub next: u64,
    /// Bytes of the file itself; a file that has fewer is another one.
    pub raw: u64,
    /// In all runs.
    pub accepted: u64,
    pub refused: u64,
}

/// A file as the log knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    pub identity: Identity,
    /// `None` when nothing of it was read before.
    pub read: Option<Read>,
}

/// Finds out which file this is. `head`: its first [`HEAD`] bytes, all of them if it has fewer, at least one.
pub(super) fn recognise(log: &dyn Log, path: &Path, head: &[u8], len: u64) -> Result<Known, LogError> {
    let path = path_bytes(path);
    let mut generation = 0;
    if let Some(last) = last_under(log, path)?
        && last.begins(head)
    {
        match read_of(log, &last.identity)? {
            Some(read) if read.raw <= len => return Ok(Known { identity: last.identity, read: Some(read) }),
            None => return Ok(Known { identity: last.identity, read: None }),
            Some(_) => generation = last.identity.generation + 1,
        }
    }
    // Ends: only so many generations can have been committed.
    loop {
        let identity = Identity::new(path, head, generation);
        match read_of(log, &identity)? {
            Some(read) if read.raw > len => generation += 1,
            read => return Ok(Known { identity, read }),
        }
    }
}

/// The positions to commit when all of a file below `read` is in the same commit or an earlier one.
pub(super) fn positions(path: &Path, head: &[u8], identity: &Identity, read: &Read) -> Vec<Position> {
    let shown: String = path.to_string_lossy().chars().take(PATH_SHOWN_MAX / 4).collect();
    // Of a short file only the bytes that were read count: what follows may still be changing.
    let checked = head.len().min(usize::try_from(read.raw).unwrap_or(HEAD)).min(HEAD);
    let Read { next, raw, accepted, refused } = read;
    let file = json!({ "path": shown, "raw": raw, "accepted": accepted, "refused": refused });
    let last = json!({
        "path": shown, "identity": format!("{:016x}", identity.hash), "prefix": identity.prefix,
        "generation": identity.generation, "checked": checked, "hash": format!("{:016x}", xxh3_64(&head[..checked])),
    });
    vec![position(input_of(identity), *next, &file), position(pointer_of(path_bytes(path)), identity.generation, &last)]
}

/// The name of a file's position in the log.
pub(super) fn input_of(identity: &Identity) -> Input {
    Input::External(identity.name().into())
}

fn position(input: Input, next: u64, metadata: &Value) -> Position {
    Position { group: Arc::from(GROUP), input, next, metadata: Bytes::from(metadata.to_string()) }
}

fn pointer_of(path: &[u8]) -> Input {
    Input::External(format!("path:{:016x}", xxh3_64(path)).into())
}

/// The file last seen under a path.
struct Last {
    identity: Identity,
    checked: usize,
    hash: u64,
}

impl Last {
    fn begins(&self, head: &[u8]) -> bool {
        head.get(..self.checked).is_some_and(|b| xxh3_64(b) == self.hash)
    }
}

/// Metadata that cannot be read counts as none: at worst a file is read again under a new identity.
fn last_under(log: &dyn Log, path: &[u8]) -> Result<Option<Last>, LogError> {
    let Some(stored) = log.committed(GROUP, &pointer_of(path))? else { return Ok(None) };
    let Ok(v) = serde_json::from_slice::<Value>(&stored.metadata) else { return Ok(None) };
    let hex = |name: &str| v[name].as_str().and_then(|s| u64::from_str_radix(s, 16).ok());
    let number = |name: &str| v[name].as_u64();
    Ok((|| {
        let identity =
            Identity { hash: hex("identity")?, prefix: number("prefix")? as usize, generation: number("generation")? };
        Some(Last { identity, checked: number("checked")? as usize, hash: hex("hash")? })
    })())
}

fn read_of(log: &dyn Log, identity: &Identity) -> Result<Option<Read>, LogError> {
    let Some(stored) = log.committed(GROUP, &input_of(identity))? else { return Ok(None) };
    let v: Value = serde_json::from_slice(&stored.metadata).unwrap_or_default();
    let number = |name: &str| v[name].as_u64().unwrap_or(0);
    let (raw, accepted, refused) = (number("raw"), number("accepted"), number("refused"));
    Ok(Some(Read { next: stored.next, raw, accepted, refused }))
}

fn path_bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
