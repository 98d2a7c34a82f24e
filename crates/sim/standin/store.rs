//! A journal of frames in small segments, and what it means, in memory.
//!
//! ```text
//! frame:  | length u32 | xxh3 u64 | JSON array of records |
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use event::{Code, Failure, Micros, dead_letter::DeadLetter, key};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Fault, Standin, point};

pub const PARTITIONS: u32 = 4;
pub const TOPICS: [&str; 3] = ["raw", "enriched", "dlq"];
/// Small, so that a run makes many.
const SEGMENT: u64 = 1 << 20;
/// What must be one commit is two, this far apart: long enough that a kill by chance comes between them soon.
const BETWEEN: std::time::Duration = std::time::Duration::from_millis(1);

#[derive(Clone, Serialize, Deserialize)]
pub struct Record {
    /// Index in [`TOPICS`]; 9 = the enrich position of `partition` is `offset`.
    pub topic: usize,
    pub partition: u32,
    /// Of the source in `raw`; `None` for what came through the door.
    pub source: Option<u64>,
    pub key: String,
    pub id: String,
    pub future: bool,
    pub value: String,
}

pub struct Store {
    dir: PathBuf,
    fault: Option<Fault>,
    file: Option<(File, u64)>,
    segment: u32,
    /// By topic and partition.
    pub records: Vec<Vec<Vec<Record>>>,
    pub position: Vec<usize>,
    seen: HashMap<String, u64>,
    delayed: Vec<Vec<Record>>,
}

impl Store {
    pub fn open(dir: &Path, fault: Option<Fault>) -> Store {
        fs::create_dir_all(dir).expect("a directory");
        let mut store = Store {
            dir: dir.to_owned(),
            fault,
            file: None,
            segment: 0,
            records: vec![vec![Vec::new(); PARTITIONS as usize]; TOPICS.len()],
            position: vec![0; PARTITIONS as usize],
            seen: HashMap::new(),
            delayed: Vec::new(),
        };
        store.read();
        if fault != Some(Fault::DedupForgets) {
            for partition in 0..PARTITIONS as usize {
                for record in &store.records[0][partition][..store.position[partition]] {
                    let payload = payload(&record.value);
                    store.seen.entry(record.id.clone()).or_insert(payload);
                }
            }
        }
        store
    }

    fn path(&self, segment: u32) -> PathBuf {
        self.dir.join(format!("log-{segment:06}"))
    }

    fn read(&mut self) {
        let mut frames = Vec::new();
        let mut end = (0, 0);
        for segment in 0.. {
            let Ok(bytes) = fs::read(self.path(segment)) else { break };
            let mut at = 0;
            while let Some((frame, next)) = self.frame(&bytes, at) {
                frames.push((frame, segment, at as u64));
                at = next;
            }
            end = (segment, at as u64);
        }
        if self.fault == Some(Fault::LostTail)
            && let Some((_, segment, at)) = frames.pop()
        {
            end = (segment, at);
        }
        for (records, ..) in frames {
            self.apply(records);
        }
        self.segment = end.0;
        for later in end.0 + 1.. {
            if fs::remove_file(self.path(later)).is_err() {
                break;
            }
        }
        if let Ok(file) = File::options().append(true).open(self.path(end.0)) {
            file.set_len(end.1).expect("the torn tail is cut");
            file.sync_all().expect("synced");
            self.file = Some((file, end.1));
        }
    }

    fn frame(&self, bytes: &[u8], at: usize) -> Option<(Vec<Record>, usize)> {
        let head = bytes.get(at..at + 12)?;
        let len = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
        let hash = u64::from_le_bytes(head[4..].try_into().ok()?);
        match bytes.get(at + 12..at + 12 + len) {
            Some(body) if xxh3_64(body) == hash => Some((serde_json::from_slice(body).ok()?, at + 12 + len)),
            None if self.fault == Some(Fault::TornTail) => {
                // What is there of it is taken.
                let text = String::from_utf8_lossy(&bytes[at + 12..]).into_owned();
                let cut = text.rfind("},{")?;
                let records = serde_json::from_str(&format!("{}}}]", &text[..cut])).ok()?;
                Some((records, bytes.len()))
            }
            _ => None,
        }
    }

    fn apply(&mut self, records: Vec<Record>) {
        for record in records {
            if record.topic == 9 {
                self.position[record.partition as usize] = record.source.unwrap_or(0) as usize;
            } else {
                self.records[record.topic][record.partition as usize].push(record);
            }
        }
    }

    /// Commits: written, synced, visible.
    pub fn commit(&mut self, records: Vec<Record>) {
        match self.fault {
            Some(Fault::AckFirst) => self.delayed.push(records),
            Some(Fault::DirtyReads) => {
                self.delayed.push(records.clone());
                self.apply(records);
            }
            _ => {
                self.write(&records);
                self.apply(records);
            }
        }
    }

    /// Whether what was handed in is on disk: the door waits for it, unless that is the fault.
    pub fn write_delayed(&mut self) {
        for records in std::mem::take(&mut self.delayed) {
            self.write(&records);
            if self.fault == Some(Fault::AckFirst) {
                self.apply(records);
            }
        }
    }

    fn write(&mut self, records: &[Record]) {
        if self.file.as_ref().is_none_or(|(_, len)| *len > SEGMENT) {
            if self.file.is_some() {
                self.segment += 1;
            }
            let file = File::options().create_new(true).append(true).open(self.path(self.segment));
            point("journal.segment.created");
            if self.fault != Some(Fault::NoDirSync) {
                File::open(&self.dir).expect("the directory").sync_all().expect("synced");
            }
            self.file = Some((file.expect("a new segment"), 0));
        }
        let (file, len) = self.file.as_mut().expect("a segment is open");
        let body = serde_json::to_vec(records).expect("records are JSON");
        let mut frame = (body.len() as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&xxh3_64(&body).to_le_bytes());
        frame.extend_from_slice(&body);
        point("journal.frame.before_write");
        let half = frame.len() / 2;
        file.write_all(&frame[..half]).expect("written");
        point("journal.frame.half_written");
        file.write_all(&frame[half..]).expect("written");
        point("journal.frame.written");
        if self.fault != Some(Fault::NoSync) {
            file.sync_data().expect("synced");
        }
        point("journal.frame.synced");
        *len += frame.len() as u64;
    }

    /// Now and then: of `n` calls about one, the same ones in every run.
    pub fn rarely(&self, what: &str, n: u64) -> bool {
        xxh3_64(what.as_bytes()).is_multiple_of(n)
    }
}

fn payload(value: &str) -> u64 {
    let at = value.find("\"sentAt\":\"").map_or(0, |at| at + 10);
    key::payload_hash(value.as_bytes(), Some(at..at + 27))
}

pub fn letter(code: Code, id: Option<&str>, original: &[u8]) -> String {
    let failure = Failure::new(code, "", code.meaning());
    let mut out = Vec::new();
    let mut letter = DeadLetter::of(&failure, "http", "", Micros(0));
    letter.id = id.map(str::as_bytes);
    letter.write(original, &mut out);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// One round of the enrich stage; whether there was anything to do.
pub fn enrich(standin: &Standin) -> bool {
    let mut store = standin.store.lock().expect("no panic");
    if store.fault == Some(Fault::AckFirst) && !store.delayed.is_empty() {
        return false;
    }
    let mut out = Vec::new();
    let mut positions = Vec::new();
    for partition in 0..PARTITIONS as usize {
        let from = store.position[partition];
        let to = store.records[0][partition].len().min(from + 500);
        for offset in from..to {
            let raw = store.records[0][partition][offset].clone();
            let hash = payload(&raw.value);
            let first = *store.seen.entry(raw.id.clone()).or_insert(hash ^ 1);
            let source = Some(offset as u64);
            if first == hash ^ 1 {
                store.seen.insert(raw.id.clone(), hash);
            } else if first == hash {
                continue;
            } else if standin.fault != Some(Fault::LastWins) {
                let value = letter(Code::ConflictingDuplicate, Some(&raw.id), raw.value.as_bytes());
                let partition = key::partition_of(raw.id.as_bytes(), PARTITIONS);
                // The source's partition is the key's.
                out.push(Record { topic: 2, partition, source, value, ..raw });
                continue;
            }
            let mut value = raw.value.clone();
            if standin.has(Fault::TornSplice) && store.rarely(&raw.id, 1500) {
                value.replace_range(300..301, "");
            }
            value.pop();
            value += ",\"enriched\":{\"v\":1,\"revision\":0,\"geo\":{\"country\":\"}\\\"\"}}}";
            out.push(Record { topic: 1, source, value, ..raw });
        }
        if to > from {
            store.position[partition] = to;
            let position = Record {
                topic: 9,
                partition: partition as u32,
                source: Some(to as u64),
                key: String::new(),
                id: String::new(),
                future: false,
                value: String::new(),
            };
            positions.push(position);
        }
    }
    if positions.is_empty() {
        return false;
    }
    match standin.fault {
        Some(Fault::PositionFirst) => {
            store.commit(positions);
            std::thread::sleep(BETWEEN);
            store.commit(out);
        }
        Some(Fault::PositionLast) => {
            store.commit(out);
            std::thread::sleep(BETWEEN);
            store.commit(positions);
        }
        _ => {
            out.extend(positions);
            store.commit(out);
        }
    }
    true
}
