//! What was going to be sent, written before it was, and what was acknowledged, written after.
//!
//! Each producer owns two files in the ledger's directory: `<run>.intents`, a record for every event of every batch, and
//! `<run>.acks`, a record for every further attempt and every answer. They outlive the process under test, not the
//! machine: nothing is synced. Where the program under test is part of this process, they are in memory.

mod book;
mod intent;
mod producer;

pub use intent::{Ack, Intent, Kind, RECORD};
pub use producer::{Answer, Prepared, Producer, ProducerConfig, Refusal};
pub(crate) use producer::{MAX_FUTURE_US, payload_of};

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use hashbrown::{HashMap, HashSet};
use ouzel_gen::EventId;

use book::Book;
use intent::Mark;

/// Everything that producers have written.
#[derive(Default)]
pub struct Ledger {
    /// Where their files are; `None` where they write in memory.
    dir: Option<PathBuf>,
    /// How far each file has been read.
    read: BTreeMap<PathBuf, u64>,
    pub intents: Vec<Intent>,
    /// The intents of an id, in the order they were written.
    pub by_id: HashMap<EventId, Vec<u32>>,
    /// The intents of these exact bytes.
    pub by_bytes: HashMap<u64, Vec<u32>>,
    /// Ids of [`Kind::Poison`].
    pub poison: HashSet<EventId>,
    pub batches: HashMap<(u64, u64), BatchState>,
}

/// What is known of a batch.
#[derive(Clone, Copy, Default, Debug)]
pub struct BatchState {
    pub events: u32,
    pub malformed: u32,
    /// How often it was sent, or about to be.
    pub attempts: u32,
    pub ack: Option<Ack>,
}

impl Ledger {
    /// Reads all that producers have written to `dir` so far.
    pub fn open(dir: &Path) -> io::Result<Ledger> {
        let mut ledger = Ledger { dir: Some(dir.to_owned()), ..Ledger::default() };
        ledger.refresh()?;
        Ok(ledger)
    }

    /// An empty one, for producers that write in memory.
    pub fn in_memory() -> Ledger {
        Ledger::default()
    }

    /// Takes what a producer in memory has written since the last time; of one with files, nothing.
    pub fn take(&mut self, producer: &mut Producer) -> io::Result<()> {
        let Book::Memory { intents, acks } = producer.book() else { return Ok(()) };
        let whole = self.read_intents(intents).and_then(|_| self.read_marks(acks));
        intents.clear();
        acks.clear();
        whole.map(|_| ()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a producer wrote no record"))
    }

    /// Reads what was written to files since the last time.
    #[allow(clippy::disallowed_methods)] // the ledger stands outside the world it checks
    pub fn refresh(&mut self) -> io::Result<()> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<io::Result<_>>()?;
        // `.intents` sorts after `.acks`, and an ack needs its batch: intents first.
        paths.sort_by_key(|p| (p.extension().is_some_and(|e| e == "acks"), p.clone()));
        for path in paths {
            let from = self.read.get(&path).copied().unwrap_or(0);
            let mut file = std::fs::File::open(&path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let is_intents = path.extension().is_some_and(|e| e == "intents");
            let read = if is_intents { self.read_intents(&bytes) } else { self.read_marks(&bytes) }
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{}: no record", path.display())))?;
            self.read.insert(path, from + read as u64);
        }
        Ok(())
    }

    /// Gives the bytes of whole records; `None` when one is none.
    fn read_intents(&mut self, bytes: &[u8]) -> Option<usize> {
        let (records, _) = bytes.as_chunks::<RECORD>();
        records.iter().try_for_each(|r| Intent::decode(r).map(|i| self.intend(i)))?;
        Some(records.len() * RECORD)
    }

    fn read_marks(&mut self, bytes: &[u8]) -> Option<usize> {
        let (records, _) = bytes.as_chunks::<RECORD>();
        records.iter().try_for_each(|r| Mark::decode(r).map(|m| self.mark(m)))?;
        Some(records.len() * RECORD)
    }

    fn intend(&mut self, intent: Intent) {
        let n = self.intents.len() as u32;
        let batch = self.batches.entry((intent.producer, intent.batch)).or_default();
        batch.events += 1;
        batch.attempts = 1;
        if let Kind::Malformed(_) = intent.kind {
            batch.malformed += 1;
        } else {
            self.by_id.entry(intent.id).or_default().push(n);
        }
        if intent.kind == Kind::Poison {
            self.poison.insert(intent.id);
        }
        self.by_bytes.entry(intent.bytes).or_default().push(n);
        self.intents.push(intent);
    }

    fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Again { producer, batch } => self.batches.entry((producer, batch)).or_default().attempts += 1,
            Mark::Acked { producer, batch, ack } => {
                self.batches.entry((producer, batch)).or_default().ack = Some(ack);
            }
        }
    }

    pub fn batch(&self, intent: &Intent) -> BatchState {
        self.batches.get(&(intent.producer, intent.batch)).copied().unwrap_or_default()
    }

    pub fn is_acked(&self, intent: &Intent) -> bool {
        self.batch(intent).ack.is_some()
    }
}
