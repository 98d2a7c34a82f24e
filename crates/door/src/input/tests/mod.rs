//! Stories about inputs, on the journal.

#![allow(clippy::disallowed_methods)] // tests look at real files

mod cutting;
mod following;
mod formats;
mod restarts;
mod wrong;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ::log::journal::MinFree;
use ::log::{Journal, JournalConfig, Log};
use event::topic::{DLQ, RAW};
use event::{Field, TopicId};
use seam::{RealClock, RealFs, RealRng};
use tempfile::TempDir;
use wire::{Decoder, DecoderConfig, FieldMap, MapEntry, Preset};

use super::*;

/// A journal and a place for files.
struct Bed {
    dir: TempDir,
    journal: Arc<Journal>,
}

/// One record of `raw` or `dlq`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stored {
    id: String,
    value: String,
}

fn bed() -> Bed {
    let dir = tempfile::tempdir().expect("a directory");
    let config = JournalConfig {
        partitions: 4,
        segment_bytes: 64 << 20,
        allocate_step: 1 << 20,
        min_free: MinFree::Bytes(0),
        ..JournalConfig::default()
    };
    let journal = Journal::open(&dir.path().join("data"), config, Arc::new(RealFs), Arc::new(RealClock::new()));
    Bed { dir, journal: journal.expect("a journal") }
}

impl Bed {
    fn world(&self, preset: Preset) -> World {
        world(self.journal.clone(), FieldMap::preset(preset))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    fn read(&self, path: &Path, preset: Preset) -> InputSummary {
        read(path, preset, &self.world(preset)).expect("read")
    }

    fn raw(&self) -> Vec<Stored> {
        stored(&*self.journal, RAW)
    }

    fn letters(&self) -> Vec<serde_json::Value> {
        stored(&*self.journal, DLQ).iter().map(|s| serde_json::from_str(&s.value).expect("JSON")).collect()
    }
}

fn world(log: Arc<dyn Log>, map: FieldMap) -> World {
    let decoder = Decoder::build(DecoderConfig::new("input", map)).expect("a valid map");
    World { log, decoder: Arc::new(decoder), clock: Arc::new(RealClock::new()), rng: Arc::new(RealRng) }
}

fn mapped(preset: Preset, entries: &[(&str, &str)]) -> FieldMap {
    let mut map = FieldMap::preset(preset);
    for (name, entry) in entries {
        map.set(name, MapEntry::parse_cli(entry).expect("an entry")).expect("a field");
    }
    map
}

fn read(path: &Path, preset: Preset, world: &World) -> Result<InputSummary, InputError> {
    let config = InputConfig::new(Origin::File(path.to_owned()), preset);
    run(config, world, &Progress::default(), &AtomicBool::new(false))
}

/// Reads bytes through a pipe.
fn read_stream(bytes: &[u8], preset: Preset, world: &World) -> Result<InputSummary, InputError> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    std::thread::scope(|s| {
        s.spawn(move || {
            let mut ours = ours;
            for piece in bytes.chunks(50_000) {
                if ours.write_all(piece).is_err() {
                    return; // The reader has stopped.
                }
            }
        });
        let config = InputConfig::new(Origin::Stream(theirs.into()), preset);
        run(config, world, &Progress::default(), &AtomicBool::new(false))
    })
}

/// All records of a topic, sorted by id and value.
fn stored(log: &dyn Log, topic: TopicId) -> Vec<Stored> {
    let mut all = Vec::new();
    for partition in 0..log.partitions(topic) {
        let mut at = 0;
        loop {
            let fetch = log.fetch(topic.partition(partition), at, 1 << 20).expect("a fetch");
            for chunk in &fetch.chunks {
                for (_, record) in chunk.records().map(|r| r.expect("a record")) {
                    let header = record.header().expect("a header");
                    let value = record.value.expect("a value");
                    let id = header.inherited_value(Field::ID).or(header.json(Field::ID, value)).unwrap_or(record.key);
                    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                    all.push(Stored { id: text(id), value: text(value) });
                }
            }
            if fetch.chunks.is_empty() {
                break;
            }
            at = fetch.next;
        }
    }
    all.sort_by(|a, b| (&a.id, &a.value).cmp(&(&b.id, &b.value)));
    all
}

/// Offsets of ids derived from positions, with the values.
fn by_offset(records: &[Stored]) -> BTreeMap<u64, String> {
    let offset = |id: &str| id.rsplit_once(':').and_then(|(_, n)| n.parse().ok()).expect("an id with an offset");
    let map: BTreeMap<u64, String> = records.iter().map(|r| (offset(&r.id), r.value.clone())).collect();
    assert_eq!(map.len(), records.len(), "an offset twice");
    map
}

/// `count` lines of NDJSON of about 150 bytes, the n-th event of type `t<n>`.
fn lines(from: usize, count: usize) -> Vec<u8> {
    let line =
        |n: usize| format!("{{\"type\":\"t{n}\",\"visitor\":\"v{}\",\"pad\":\"{}\"}}\n", n % 97, "x".repeat(100));
    (from..from + count).flat_map(|n| line(n).into_bytes()).collect()
}

/// The numbers of the events that [`lines`] makes, sorted; panics if one is there twice.
fn numbers(records: &[Stored]) -> Vec<usize> {
    let mut all: Vec<usize> = records
        .iter()
        .map(|r| r.value.split('"').nth(3).and_then(|t| t[1..].parse().ok()).expect("a number"))
        .collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count, "an event twice");
    all
}

/// Real data beside the repository; the product does not need it, and tests that do say so loudly.
fn data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    e.write_all(data).expect("to memory");
    e.finish().expect("to memory")
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::encode_all(data, 1).expect("to memory")
}
