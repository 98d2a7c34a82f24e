//! Snapshots on a disk that loses what was not synced. After any loss of power the newest readable one is whole, and is no
//! older than the newest that was called complete; what was deleted before anything was appended stays deleted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use event::{Micros, Offset};
use flow::Keyed;
use ouzel_gen::Rng;
use ouzel_sim::fs::{Loss, LossyFs};
use seam::{Clock, Fs};
use state::{Begin, Directory, Manifest, Snapshots, Store, Version, Writer, Writing};

const ROOT: &str = "/data/snapshots";

/// A quarter of an hour passes with each look, so that retention is at work.
#[derive(Default)]
struct Quarters(std::sync::atomic::AtomicU64);

impl Clock for Quarters {
    fn now(&self) -> Micros {
        Micros(1_795_400_000_000_000 + self.elapsed().as_micros() as i64)
    }
    fn elapsed(&self) -> Duration {
        Duration::from_secs(900 * self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

/// One disk through several lives.
struct Story {
    fs: LossyFs,
    clock: Arc<Quarters>,
    rng: Rng,
    lives: u64,
    /// The state at each position of which a snapshot was begun, in the history that the disk has.
    at: BTreeMap<Offset, Vec<u8>>,
    /// The newest position that was called complete.
    completed: Option<Offset>,
    found: u32,
    complete: u32,
}

impl Story {
    fn new(seed: u64) -> Story {
        // The data directory is the journal's, which makes it durable.
        let fs = LossyFs::new();
        fs.create_dir_all(Path::new("/data")).and_then(|()| fs.sync_dir(Path::new("/"))).expect("an empty disk");
        Story {
            fs,
            clock: Arc::default(),
            rng: Rng::new(seed),
            lives: 0,
            at: BTreeMap::new(),
            completed: None,
            found: 0,
            complete: 0,
        }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Directory::new(Arc::new(self.fs.clone()), Path::new(ROOT)))
    }

    fn crash(&mut self) {
        let loss = match self.rng.below(4) {
            0 => Loss::All,
            1 => Loss::Nothing,
            _ => Loss::Some { seed: self.rng.next_u64() },
        };
        self.fs = self.fs.crash(loss);
        if self.rng.below(2) == 0 {
            self.fs.short_reads(self.rng.next_u64());
        }
    }

    /// What is there after a loss of power.
    fn recover(&mut self) -> (Keyed, Option<Manifest>) {
        let newest = Snapshots::new(self.store(), "sessions", 0).restore(u64::MAX).expect("the disk answers");
        assert_eq!(newest.passed_over, Vec::<String>::new(), "a manifest is whole, and what it names too");
        let position = newest.found.as_ref().map(|f| f.manifest.position);
        assert!(position >= self.completed, "{:?} was complete; {position:?} is there", self.completed);
        let Some(found) = newest.found else { return (Keyed::default(), None) };
        assert!(self.at.get(&found.manifest.position) == Some(&found.keyed.canonical()), "the state at {position:?}");
        self.found += 1;
        (found.keyed, Some(found.manifest))
    }

    /// A start, as a stage makes it, and snapshots until the power goes.
    fn life(&mut self) {
        let (mut keyed, mut manifest) = self.recover();
        self.lives += 1;
        self.fs.cut_at(self.rng.between(1, 120));
        // Now and then the journal has lost its tail, and all beyond is of another history.
        if self.rng.below(4) == 0 {
            let end = self.rng.below(self.at.keys().next_back().copied().unwrap_or_default() + 1);
            if Snapshots::new(self.store(), "sessions", 0).discard_after(end).is_err() {
                // Any of them beyond the end may be gone.
                self.completed = self.completed.filter(|at| *at <= end);
                return;
            }
            self.at.retain(|at, _| *at <= end);
            self.completed = self.completed.filter(|at| *at <= end);
            let Ok(newest) = Snapshots::new(self.store(), "sessions", 0).restore(u64::MAX) else { return };
            let position = newest.found.as_ref().map(|f| f.manifest.position);
            assert!(position <= Some(end) && position >= self.completed, "{position:?} after the end at {end}");
            (keyed, manifest) = newest.found.map_or_else(Default::default, |f| (f.keyed, Some(f.manifest)));
        }
        self.snapshots(keyed, manifest);
    }

    fn snapshots(&mut self, mut keyed: Keyed, manifest: Option<Manifest>) {
        let mut position = manifest.as_ref().map_or(0, |m| m.position);
        let version = Version { number: 1, configuration: 2 };
        let writing = Writing { part_bytes: 2000, ..Writing::new("sessions", 0, version, self.lives) };
        let mut writer = Writer::start(self.store(), self.clock.clone(), writing, manifest, seam::Background::Threads)
            .expect("a thread");
        while self.fs.is_on() {
            // Positions of a life are its own: what another one wrote there is another state.
            position += 1 + self.rng.below(5);
            while self.at.contains_key(&position) {
                position += 1;
            }
            self.commit(&mut keyed);
            let full = writer.next_is_full() || keyed.needs_full_snapshot() || self.rng.below(8) == 0;
            assert!(keyed.begin_snapshot(full));
            self.at.insert(position, keyed.canonical());
            writer.begin(Begin { full, position, metadata: vec![1, 2], keys: keyed.len() as u64 });
            loop {
                let mut slice = Vec::new();
                let done = keyed.snapshot_slice(700, &mut slice);
                writer.slice(slice);
                if done {
                    break;
                }
                self.commit(&mut keyed);
            }
            writer.end();
            while !writer.is_idle() {
                std::thread::yield_now();
            }
            if writer.completed() == Some(position) {
                self.completed = self.completed.max(Some(position));
                self.complete += 1;
            }
        }
    }

    fn commit(&mut self, keyed: &mut Keyed) {
        keyed.open();
        for _ in 0..self.rng.below(10) {
            let key = self.rng.below(60).to_le_bytes();
            match self.rng.below(4) {
                0 => keyed.remove(&key),
                n => {
                    let value = vec![self.rng.below(256) as u8; self.rng.below(200) as usize];
                    keyed.set(&key, value, (n == 1).then(|| Micros(self.rng.below(100) as i64)));
                }
            }
        }
        keyed.merge_oldest();
    }
}

#[test]
fn no_loss_of_power_loses_a_complete_snapshot() {
    let seeds = if std::env::var_os("OUZEL_PROVE").is_some() { 2000 } else { 60 };
    let (mut found, mut complete) = (0, 0);
    for seed in 1..=seeds {
        let mut story = Story::new(seed);
        for _ in 0..12 {
            story.life();
            story.crash();
        }
        story.recover();
        found += story.found;
        complete += story.complete;
    }
    assert!(found > 5 * seeds as u32 && complete > 10 * seeds as u32, "{found} found, {complete} complete");
}

#[test]
fn a_sync_that_fails_costs_that_snapshot_alone() {
    for n in 1..40 {
        let mut story = Story::new(n);
        story.fs.fail_sync(n);
        story.fs.cut_at(400);
        story.snapshots(Keyed::default(), None);
        assert!(story.complete > 5, "{}", story.complete);
        story.crash();
        story.recover();
    }
}

#[test]
fn a_full_disk_costs_the_snapshot_that_finds_no_room() {
    let mut story = Story::new(3);
    story.fs.set_capacity(16_000);
    story.fs.cut_at(2000);
    story.snapshots(Keyed::default(), None);
    let began = story.at.len() as u32;
    assert!(story.complete > 5 && story.complete < began, "{} of {began}", story.complete);
    story.crash();
    story.recover();
}
