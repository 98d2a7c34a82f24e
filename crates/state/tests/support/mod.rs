//! A store in memory that fails where it is told to, a clock that is set, and a state whose snapshots are remembered.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::{Micros, Offset};
use flow::Keyed;
use ouzel_state::{Begin, Manifest, Restored, Snapshots, Store, Version, Writer, Writing};
use seam::Clock;

pub const OPERATOR: &str = "sessions";
pub const VERSION: Version = Version { number: 3, configuration: 0xfeed };
/// `2026-11-23`, in microseconds.
pub const START: i64 = 1_795_400_000_000_000;

/// xorshift64, so that a failing seed can be run again.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// A clock that stands where it is put.
pub struct Hand(pub AtomicI64);

impl Hand {
    pub fn new() -> Arc<Hand> {
        Arc::new(Hand(AtomicI64::new(START)))
    }

    pub fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * Micros::SECOND, SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Micros {
        Micros(self.0.load(SeqCst))
    }
    fn elapsed(&self) -> Duration {
        Duration::from_micros((self.0.load(SeqCst) - START) as u64)
    }
}

/// Where a store in memory fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// From this change on (counting from 0), nothing is done and everything answers with an error: the writer is dead.
    DeadFrom(u64),
    /// That change is done, but it and all after it answer with an error.
    DeadAfter(u64),
    /// That change alone answers with an error and is not done.
    Once(u64),
    /// That change alone answers with an error although it is done.
    Unheard(u64),
    /// Reading objects answers with an error; listing them works.
    Reads,
}

#[derive(Default)]
pub struct Memory {
    pub objects: Mutex<BTreeMap<String, Vec<u8>>>,
    changes: Mutex<u64>,
    fault: Mutex<Option<Fault>>,
}

impl Memory {
    pub fn with(fault: Fault) -> Memory {
        Memory { fault: Mutex::new(Some(fault)), ..Memory::default() }
    }

    pub fn fails(&self, fault: Option<Fault>) {
        *self.fault.lock().expect("whole") = fault;
    }

    /// As another process finds it.
    pub fn copy(&self) -> Arc<Memory> {
        Arc::new(Memory { objects: Mutex::new(self.objects.lock().expect("whole").clone()), ..Memory::default() })
    }

    pub fn names(&self) -> Vec<String> {
        self.objects.lock().expect("whole").keys().cloned().collect()
    }

    pub fn changes(&self) -> u64 {
        *self.changes.lock().expect("whole")
    }

    /// Whether the next change is done, and whether it is answered well.
    fn change(&self) -> (bool, bool) {
        let mut changes = self.changes.lock().expect("whole");
        let at = *changes;
        *changes += 1;
        match *self.fault.lock().expect("whole") {
            Some(Fault::DeadFrom(n)) => (at < n, at < n),
            Some(Fault::DeadAfter(n)) => (at <= n, at < n),
            Some(Fault::Once(n)) => (at != n, at != n),
            Some(Fault::Unheard(n)) => (true, at != n),
            _ => (true, true),
        }
    }

    fn readable(&self) -> io::Result<()> {
        match *self.fault.lock().expect("whole") {
            Some(Fault::Reads) => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }
}

impl Store for Memory {
    fn put_if_absent(&self, name: &str, bytes: &[u8], _: &AtomicBool) -> io::Result<bool> {
        let (done, well) = self.change();
        let mut objects = self.objects.lock().expect("whole");
        let absent = !objects.contains_key(name);
        if done && absent {
            objects.insert(name.to_owned(), bytes.to_vec());
        }
        if well { Ok(absent) } else { Err(io::ErrorKind::TimedOut.into()) }
    }

    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.readable()?;
        Ok(self.objects.lock().expect("whole").get(name).cloned())
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<String>> {
        let objects = self.objects.lock().expect("whole");
        let below = objects.keys().filter(|n| n.strip_prefix(prefix).is_some_and(|rest| !rest.contains('/')));
        Ok(below.cloned().collect())
    }

    fn delete(&self, names: &[String]) -> io::Result<()> {
        for name in names {
            let (done, well) = self.change();
            if done {
                self.objects.lock().expect("whole").remove(name);
            }
            if !well {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

pub fn writing(random: u64) -> Writing {
    Writing { part_bytes: 300, ..Writing::new(OPERATOR, 7, VERSION, random) }
}

/// A stage: a state that changes, and a writer of its snapshots.
pub struct Stage {
    pub keyed: Keyed,
    pub writer: Writer,
    pub position: Offset,
    /// The state at each position of which a snapshot was begun.
    pub at: BTreeMap<Offset, Vec<u8>>,
    pub fulls: Vec<bool>,
}

impl Stage {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, writing: Writing) -> Stage {
        Stage::from(Keyed::default(), None, store, clock, writing)
    }

    pub fn from(
        keyed: Keyed,
        chain: Option<Manifest>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        writing: Writing,
    ) -> Stage {
        let position = chain.as_ref().map_or(0, |m| m.position);
        let writer = Writer::start(store, clock, writing, chain, seam::Background::Threads).expect("a thread");
        Stage { keyed, writer, position, at: BTreeMap::new(), fulls: Vec::new() }
    }

    /// A commit of some writes.
    pub fn commit(&mut self, chance: &mut Chance, keys: u64) {
        self.keyed.open();
        for _ in 0..1 + chance.below(5) {
            let key = format!("visitor-{}", chance.below(keys)).into_bytes();
            if chance.below(4) == 0 {
                self.keyed.remove(&key);
            } else {
                let value = vec![chance.below(256) as u8; chance.below(60) as usize];
                self.keyed.set(&key, value, (chance.below(2) == 0).then(|| Micros(chance.below(1000) as i64)));
            }
        }
        self.keyed.merge_oldest();
        self.position += 1;
    }

    /// Begins a snapshot, with commits between its slices; whether it was asked to be full.
    pub fn take(&mut self, chance: &mut Chance) -> bool {
        let full = self.writer.next_is_full() || self.keyed.needs_full_snapshot();
        self.take_as(chance, full);
        full
    }

    pub fn take_as(&mut self, chance: &mut Chance, full: bool) {
        self.fulls.push(full);
        assert!(self.keyed.begin_snapshot(full), "none is running");
        self.at.insert(self.position, self.keyed.canonical());
        let metadata = self.position.to_le_bytes().to_vec();
        self.writer.begin(Begin { full, position: self.position, metadata, keys: self.keyed.len() as u64 });
        loop {
            let mut slice = Vec::new();
            let done = self.keyed.snapshot_slice(150, &mut slice);
            self.writer.slice(slice);
            if done {
                break;
            }
            if chance.below(3) == 0 {
                self.commit(chance, 20);
            }
        }
        self.writer.end();
        self.wait();
    }

    pub fn wait(&self) {
        while !self.writer.is_idle() {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

pub fn snapshots(store: Arc<dyn Store>) -> Snapshots {
    Snapshots::new(store, OPERATOR, 7)
}

/// The newest, which must be whole, and what was passed over.
pub fn restore(store: Arc<dyn Store>, at_most: Offset) -> (Option<Restored>, Vec<String>) {
    let newest = snapshots(store).restore(at_most).expect("the store answers");
    (newest.found, newest.passed_over)
}

/// Whether a restored state is what it was at its position.
pub fn check(restored: &Restored, at: &BTreeMap<Offset, Vec<u8>>, what: &str) {
    let position = restored.manifest.position;
    assert!(at.get(&position) == Some(&restored.keyed.canonical()), "the state at {position}, {what}");
    assert_eq!(restored.manifest.metadata, position.to_le_bytes(), "{what}");
    assert_eq!(restored.manifest.keys, restored.keyed.len() as u64, "{what}");
    assert_eq!(restored.manifest.version, VERSION, "{what}");
}
