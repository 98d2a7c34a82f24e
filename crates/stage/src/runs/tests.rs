//! What is told with files, merges and restarts is what the definition says. `enrich` tries the same without files.

#![allow(clippy::disallowed_methods)] // they look at real files, and damage them

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use enrich::Dedup;
use enrich::dedup::{DedupConfig, PAGE_BYTES};
use event::{Micros, Offset};
use flow::Verdict;
use seam::{Background, File, Fs, RealClock, RealFs};
use state::{Directory, Store};
use tempfile::TempDir;

use super::{DAMAGED, Depot, Runs, Sealer};

/// A record of `raw`: id, payload, received.
type Record = (u128, u64, i64);

const SIZE: Offset = 16;

/// A little table, so that nearly all is on disk. `generations`: how many count at most, about.
fn config(generations: u64, horizon_us: i64) -> DedupConfig {
    // A page, an index of 16 ids and a footer.
    let run = PAGE_BYTES as u64 + 16 + 4 + 4 + 16 + 72;
    DedupConfig { memory: 32 << 10, disk: run * generations, horizon_us, generation: SIZE }
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// `once`: an id is repeated once at most, so that it does not matter whether its first or its second is remembered.
fn stream(chance: &mut Chance, n: u64, once: bool) -> Vec<Record> {
    let (mut now, mut pace, mut repeated) = (1_000_000_000, 1000, std::collections::HashSet::new());
    (0..n)
        .map(|i| {
            if chance.below(300) == 0 {
                pace = 1 << chance.below(13);
            }
            now += chance.below(pace) as i64;
            let mut id = i;
            if i > 0 && chance.below(6) == 0 {
                let back = 1 << (3 + chance.below(11));
                let earlier = i - 1 - chance.below(i.min(back));
                // What is itself a repetition has no first of its own number.
                if !once || (repeated.insert(earlier) && repeated.insert(i)) {
                    id = earlier;
                }
            }
            let payload = id * 7 + u64::from(chance.below(8) == 0 && id != i);
            (u128::from(id + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835), payload, now)
        })
        .collect()
}

/// The definition.
fn verdicts(config: &DedupConfig, most: u64, records: &[Record]) -> Vec<Verdict> {
    let mut passed: HashMap<u128, Vec<(Offset, u64)>> = HashMap::new();
    let begin = |g: Offset| records[(g * SIZE) as usize].2;
    let judge = |(offset, (id, payload, _)): (Offset, &Record)| {
        let generation = offset / SIZE;
        let cut = begin(generation).saturating_sub(config.horizon_us);
        let floor = (generation.saturating_sub(most)..generation).find(|h| begin(h + 1) > cut).unwrap_or(generation);
        let passed = passed.entry(*id).or_default();
        match passed.iter().find(|(at, _)| *at >= floor * SIZE) {
            Some((_, p)) if p == payload => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => {
                passed.push((offset, *payload));
                Verdict::Fresh
            }
        }
    };
    (0..).zip(records).map(judge).collect()
}

/// A stage without a log.
struct Stage {
    dir: TempDir,
    fs: Arc<dyn Fs>,
    config: DedupConfig,
    records: Vec<Record>,
    verdicts: Vec<Verdict>,
    always_yes: bool,
    committed: Offset,
    dedup: Dedup,
    runs: Runs,
    sealer: Option<Sealer>,
    /// Where others find the runs.
    store: Option<Arc<dyn Store>>,
}

impl Stage {
    fn new(config: DedupConfig, records: Vec<Record>, always_yes: bool) -> Stage {
        // In memory where there is a place for it: nothing here asks for what a sync gives, and there are thousands.
        let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a directory");
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let runs = Runs::open(&fs, dir.path(), 0, None).expect("a directory");
        let dedup = Dedup::with_older(&config, Box::new(runs.shelf()));
        let far = 1 << 40;
        let most = (far - dedup.reaches_to(far)) / SIZE;
        let verdicts = verdicts(&config, most, &records);
        let (committed, sealer, store) = (0, None, None);
        let mut stage = Stage { dir, fs, config, records, verdicts, always_yes, committed, dedup, runs, sealer, store };
        stage.start(0);
        stage
    }

    /// Stops without warning where nothing but files is left, and starts again; `kept_from`: what `raw` has still.
    fn start(&mut self, kept_from: Offset) -> Offset {
        self.sealer = None;
        self.runs = Runs::open(&self.fs, self.dir.path(), 0, self.depot()).expect("a directory");
        self.runs.shelf().held().always_yes = self.always_yes;
        self.dedup = Dedup::with_older(&self.config, Box::new(self.runs.shelf()));
        let received = |at: Offset| self.records.get(at as usize).map(|r| Micros(r.2));
        self.runs.fetch(&*self.fs, &self.dedup, Some(self.committed));
        let from = self.runs.restore(&*self.fs, &mut self.dedup, self.committed, kept_from, received).expect("files");
        self.sealer =
            Some(Sealer::with_pauses(self.fs.clone(), Background::Threads, Duration::ZERO).expect("a thread"));
        for offset in from.min(self.committed)..self.committed {
            self.ready().expect("files");
            self.judge(offset);
        }
        from
    }

    fn depot(&self) -> Option<Depot> {
        let depot =
            |store: &Arc<dyn Store>| Depot::new(store.clone(), Arc::new(RealClock::new()), 0, Background::Threads);
        self.store.as_ref().map(depot)
    }

    fn ready(&mut self) -> Result<(), String> {
        let sealer = self.sealer.as_ref().expect("running");
        while !self.runs.keep_up(sealer, &mut self.dedup, self.committed)? {
            std::thread::yield_now();
        }
        Ok(())
    }

    fn judge(&mut self, offset: Offset) -> Verdict {
        let (id, payload, received) = self.records[offset as usize];
        self.dedup.judge(id, payload, offset, Micros(received))
    }

    /// Reads to a position, with aborts on the way, and says where it was wrong first.
    fn read(&mut self, to: Offset, chance: &mut Chance) -> Result<(), String> {
        while self.committed < to {
            self.ready()?;
            let until = to.min(self.committed + 1 + chance.below(SIZE));
            for offset in self.committed..until {
                let verdict = self.judge(offset);
                if let Some(why) = self.dedup.trouble() {
                    return Err(why.to_owned());
                }
                if verdict != self.verdicts[offset as usize] {
                    return Err(format!("wrong at {offset}: {verdict:?}"));
                }
            }
            if chance.below(6) > 0 {
                self.committed = until;
            }
        }
        Ok(())
    }

    /// Waits until nothing is left to be written or merged.
    fn settle(&mut self) {
        let mut names = Vec::new();
        for _ in 0..200 {
            self.ready().expect("files");
            std::thread::sleep(Duration::from_millis(2));
            let now = self.files();
            if now == names && !self.runs.merging && self.dedup.all_covered() {
                return;
            }
            names = now;
        }
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let files = std::fs::read_dir(self.dir.path().join("dedup/0")).expect("the directory");
        let mut files: Vec<_> = files.map(|f| f.expect("a file").path()).collect();
        files.sort();
        files
    }
}

/// (most generations, horizon, records)
const SHAPES: [(u64, i64, u64); 4] =
    [(40, i64::MAX, 3000), (400, 300_000, 4000), (60, 200_000, 3000), (700, i64::MAX, 5000)];

#[test]
fn a_sealer_that_is_gone_is_told_and_not_waited_for() {
    let mut stage = Stage::new(config(8, i64::MAX), stream(&mut Chance(7), 100, true), false);
    stage.ready().expect("it is there");
    stage.sealer.as_mut().expect("running").end();
    assert!(stage.ready().is_err_and(|why| why.contains("has ended")));
}

#[test]
fn it_decides_as_the_definition_through_runs_merges_and_restarts() {
    let mut merged = 0;
    for (n, (most, horizon, count)) in SHAPES.into_iter().enumerate() {
        for (always_yes, damaged) in [(false, false), (true, false), (false, true)] {
            let mut chance = Chance(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(n as u64 + 1));
            let records = stream(&mut chance, count, damaged);
            let mut stage = Stage::new(config(most, horizon), records, always_yes);
            while stage.committed < count {
                let to = count.min(stage.committed + 1 + chance.below(count / 4));
                let context = format!("shape {n}, filters that say yes: {always_yes}, damaged: {damaged}, to {to}");
                stage.read(to, &mut chance).unwrap_or_else(|why| panic!("{context}: {why}"));
                merged +=
                    stage.sealer.as_ref().expect("running").cost().merges.load(std::sync::atomic::Ordering::Relaxed);
                stage.sealer = None;
                if damaged {
                    damage(&stage.files(), &mut chance);
                }
                stage.start(0);
            }
            let (asked, found) = stage.runs.asked();
            assert!(always_yes || found * 3 >= asked, "{n}: {found} of {asked} pages held something");
            let kinds =
                [Verdict::Duplicate, Verdict::Conflict].map(|k| stage.verdicts.iter().filter(|v| **v == k).count());
            assert!(kinds.iter().all(|k| *k > 10), "{kinds:?}: nothing was tried");
        }
    }
    assert!(merged > 20, "{merged} merges: nothing was tried");
}

/// One run is set aside, cut, or was never finished; or nothing happens.
fn damage(files: &[std::path::PathBuf], chance: &mut Chance) {
    let Some(file) = files.get(chance.below(files.len().max(1) as u64) as usize) else { return };
    match chance.below(4) {
        0 => std::fs::rename(file, file.with_extension("run.damaged")).expect("a file"),
        1 => {
            let bytes = std::fs::read(file).expect("a file");
            std::fs::write(file, &bytes[..chance.below(bytes.len() as u64) as usize]).expect("cut");
        }
        2 => std::fs::write(file.with_extension("tmp"), "half").expect("a file"),
        _ => {}
    }
}

#[test]
fn without_any_run_what_counts_is_read_again_and_no_more() {
    for (n, (most, horizon, count)) in SHAPES.into_iter().enumerate() {
        let mut chance = Chance(77 + n as u64);
        let records = stream(&mut chance, count, true);
        let mut stage = Stage::new(config(most, horizon), records, false);
        while stage.committed < count {
            let to = count.min(stage.committed + 1 + chance.below(count / 3));
            stage.read(to, &mut chance).unwrap_or_else(|why| panic!("shape {n}, to {to}: {why}"));
            stage.sealer = None;
            stage.files().iter().for_each(|f| std::fs::remove_file(f).expect("a file"));
            let needed = stage.dedup.horizon().start;
            let from = stage.start(0);
            assert!(
                from + 2 * SIZE >= needed && from <= needed + 12 * SIZE,
                "shape {n}: {needed} is needed, read from {from}"
            );
        }
    }
}

#[test]
fn what_raw_has_no_more_makes_the_horizon_shorter() {
    let mut chance = Chance(5);
    let records = stream(&mut chance, 1500, false);
    let mut stage = Stage::new(config(1000, i64::MAX), records, false);
    stage.read(1200, &mut chance).expect("right");
    stage.settle();
    stage.sealer = None;
    // A hole in the middle, and raw begins above it.
    let files = stage.files();
    let hole = files[files.len() / 2].clone();
    std::fs::remove_file(&hole).expect("a file");
    let from = stage.start(1190);
    assert!(from >= 1190, "{from}");
    let known = stage.dedup.horizon().start;
    let end: Offset = hole.file_stem().and_then(|s| s.to_str()?.split_once('-')?.1.parse().ok()).expect("a name");
    assert_eq!(known, end, "{}", hole.display());
    // What is above the hole is told, what is below it is not.
    let records = stage.records.clone();
    let id = |at: Offset| records[at as usize].0;
    let below = (0..known).rfind(|at| (known..1201).all(|o| id(o) != id(*at))).expect("a record of its own");
    let mut told = |at: Offset, now: Offset| {
        let (id, payload, _) = stage.records[at as usize];
        stage.dedup.judge(id, payload, now, Micros(i64::MAX)) != Verdict::Fresh
    };
    assert!(told(known + 3, 1200));
    assert!(!told(below, 1201));
}

#[test]
fn runs_are_merged_and_removed() {
    let mut chance = Chance(9);
    let records = stream(&mut chance, 6000, false);
    let mut stage = Stage::new(config(700, i64::MAX), records, false);
    stage.read(3000, &mut chance).expect("right");
    stage.settle();
    let (runs, ..) = stage.runs.sizes();
    // 187 generations: two of 64, seven of 8, three.
    assert!(runs <= 2 + 7 + 8, "{runs} runs: {:?}", stage.files());
    assert_eq!(stage.files().len(), runs, "{:?}", stage.files());
    let disk = stage.files().iter().map(|f| f.metadata().expect("a file").len()).sum::<u64>();
    assert_eq!(stage.runs.sizes().2, disk);
    // Time passes: nothing counts any more.
    let later = stage.records[2999].2;
    stage.config.horizon_us = 1;
    stage.records.iter_mut().skip(3000).for_each(|r| r.2 += later);
    stage.start(0);
    for offset in 3000..3100 {
        stage.judge(offset);
    }
    stage.committed = 3100;
    stage.settle();
    assert!(stage.files().len() <= 8, "{:?}", stage.files());
}

#[test]
fn a_damaged_page_stops_the_stage_names_the_file_and_is_read_from_raw_at_the_next_start() {
    let mut chance = Chance(21);
    let records = stream(&mut chance, 3000, true);
    let mut stage = Stage::new(config(700, i64::MAX), records, false);
    stage.read(1500, &mut chance).expect("right");
    stage.settle();
    // Every page of every run, so that whatever is asked first is damaged.
    for file in stage.files() {
        let mut bytes = std::fs::read(&file).expect("a file");
        let pages = bytes.len() / PAGE_BYTES;
        (0..pages).for_each(|n| bytes[n * PAGE_BYTES + 1000] ^= 4);
        std::fs::write(&file, &bytes).expect("damaged");
    }
    // Damage is not seen by a start, which reads what stays in memory only.
    let before = stage.files().len();
    stage.start(0);
    let (mut stops, mut committed) = (0, stage.committed);
    loop {
        match stage.read(3000, &mut chance) {
            Ok(()) => break,
            Err(why) => {
                assert!(why.contains(".run is damaged in page ") && why.contains("the next start reads raw"), "{why}");
                assert!(stage.files().iter().any(|f| f.extension().is_some_and(|e| e == "damaged")), "{why}");
                stops += 1;
                assert!(stops <= before + 1, "{why}");
                assert!(stage.committed >= committed);
                committed = stage.committed;
                stage.start(0);
            }
        }
    }
    assert!(stops > 0, "nothing was asked");
}

#[test]
fn a_disk_that_takes_nothing_holds_the_stage_up_and_nothing_is_forgotten() {
    let mut chance = Chance(31);
    let records = stream(&mut chance, 2000, false);
    let mut stage = Stage::new(config(700, i64::MAX), records, false);
    stage.read(500, &mut chance).expect("right");
    // A directory in the place of the next file: it can be neither removed nor opened.
    let dir = stage.dir.path().join("dedup/0");
    let blocks: Vec<_> = (500 / SIZE..520 / SIZE + 20)
        .map(|g| dir.join(super::file::name(g * SIZE, (g + 1) * SIZE)).with_extension("tmp"))
        .filter(|path| std::fs::create_dir(path).is_ok())
        .collect();
    let mut offset = 500;
    while offset < 2000 {
        let sealer = stage.sealer.as_ref().expect("running");
        if !stage.runs.keep_up(sealer, &mut stage.dedup, offset).expect("no run is damaged") {
            break;
        }
        assert_eq!(stage.judge(offset), stage.verdicts[offset as usize]);
        offset += 1;
    }
    assert!((500..500 + 30 * SIZE).contains(&offset), "it went on to {offset}");
    stage.committed = offset;
    blocks.iter().for_each(|b| std::fs::remove_dir(b).expect("a directory"));
    stage.read(2000, &mut chance).expect("right");
}

/// Files of which so many can still be removed.
struct Dying(AtomicUsize);

impl Fs for Dying {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        RealFs.open(path, create)
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealFs.open_read(path)
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
        let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        left.map_err(|_| io::Error::other("killed"))?;
        RealFs.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFs.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> bool {
        RealFs.exists(path)
    }
    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        RealFs.space(path)
    }
}

#[test]
fn a_start_that_dies_while_it_clears_away_leaves_no_part_for_the_whole() {
    let mut chance = Chance(11);
    let mut interrupted = 0;
    for removed in 0..4 {
        let records = stream(&mut chance, 400, false);
        let mut stage = Stage::new(config(200, i64::MAX / 4), records, false);
        stage.read(100, &mut chance).expect("files");
        stage.settle();
        stage.sealer = None;
        // The first run was found damaged, and is set aside: all others are of no use without it.
        let first = stage.files().into_iter().min().expect("there are runs");
        let mut aside = first.clone().into_os_string();
        aside.push(DAMAGED);
        std::fs::rename(&first, aside).expect("there");
        let dying: Arc<dyn Fs> = Arc::new(Dying(AtomicUsize::new(removed)));
        let runs = Runs::open(&dying, stage.dir.path(), 0, None).expect("a directory");
        let mut dedup = Dedup::with_older(&stage.config, Box::new(runs.shelf()));
        let received = |at: Offset| stage.records.get(at as usize).map(|r| Micros(r.2));
        interrupted += u32::from(runs.restore(&*dying, &mut dedup, stage.committed, 0, received).is_err());
        assert_eq!(stage.start(0), 0, "all of raw is read again, after {removed} files were removed");
        stage.read(400, &mut chance).expect("files");
    }
    assert!(interrupted > 1, "{interrupted}");
}

#[test]
fn another_owner_finds_them_in_the_store() {
    let place = TempDir::new().expect("a directory");
    let mut chance = Chance(0x5DEE_CE66);
    let records = stream(&mut chance, 3000, true);
    let mut stage = Stage::new(config(400, 300_000), records, false);
    let clock = Arc::new(RealClock::new());
    stage.store = Some(Arc::new(Directory::shared(stage.fs.clone(), place.path(), clock, 7)));
    let stored = || std::fs::read_dir(place.path().join("dedup/0")).map_or(0, Iterator::count);
    stage.start(0);
    let mut from_the_store = 0;
    while stage.committed < 3000 {
        let to = 3000.min(stage.committed + 1 + chance.below(300));
        stage.read(to, &mut chance).unwrap_or_else(|why| panic!("to {to}: {why}"));
        stage.settle();
        let leaves = chance.below(2) == 0;
        if leaves {
            stage.runs.leave(stage.sealer.as_ref().expect("running"), &stage.dedup, stage.committed);
        }
        stage.sealer = None;
        // Another machine.
        stage.dir = TempDir::new().expect("a directory");
        let from = stage.start(0);
        assert!(!leaves || from == stage.committed, "{from} for {}", stage.committed);
        assert!(stage.committed - from < 2 * SIZE, "{from} for {}", stage.committed);
        from_the_store += u32::from(from > 0);
    }
    assert!(from_the_store > 10);
    assert!(stored() < 60, "those of before the horizon are deleted: {}", stored());
}

#[test]
fn what_is_damaged_in_the_store_is_read_from_raw_and_put_anew() {
    let place = TempDir::new().expect("a directory");
    let mut chance = Chance(0xB5AD_4ECE);
    let records = stream(&mut chance, 900, true);
    let mut stage = Stage::new(config(400, i64::MAX), records, false);
    let clock = Arc::new(RealClock::new());
    stage.store = Some(Arc::new(Directory::shared(stage.fs.clone(), place.path(), clock, 7)));
    stage.start(0);
    for to in (100..900).step_by(100) {
        stage.read(to, &mut chance).unwrap_or_else(|why| panic!("to {to}: {why}"));
        stage.settle();
        stage.runs.leave(stage.sealer.as_ref().expect("running"), &stage.dedup, stage.committed);
        stage.sealer = None;
        let files = std::fs::read_dir(place.path().join("dedup/0")).expect("there");
        let mut files: Vec<_> = files.map(|file| file.expect("one").path()).collect();
        files.sort();
        let hit = &files[chance.below(files.len() as u64) as usize];
        let bytes = std::fs::read(hit).expect("it reads");
        let cut = match chance.below(3) {
            0 => bytes[..bytes.len() / 2].to_vec(),
            1 => Vec::new(),
            _ => bytes.iter().enumerate().map(|(n, byte)| if n == bytes.len() / 3 { !byte } else { *byte }).collect(),
        };
        std::fs::write(hit, cut).expect("it is damaged");
        stage.dir = TempDir::new().expect("a directory");
        stage.start(0);
    }
}

#[test]
fn without_its_store_a_stage_goes_on_and_nothing_of_another_history_is_taken() {
    let place = TempDir::new().expect("a directory");
    let mut chance = Chance(0x1234_5679);
    let mut stage = Stage::new(config(400, i64::MAX), stream(&mut chance, 600, true), false);
    let store = |root: &Path| -> Arc<dyn Store> {
        Arc::new(Directory::shared(Arc::new(RealFs), root, Arc::new(RealClock::new()), 7))
    };
    // A file stands where its directory should be.
    std::fs::write(place.path().join("dedup"), b"").expect("written");
    stage.store = Some(store(place.path()));
    stage.start(0);
    stage.read(300, &mut chance).expect("it goes on");
    stage.settle();
    stage.dir = TempDir::new().expect("a directory");
    assert_eq!(stage.start(0), 0, "all is read again");
    std::fs::remove_file(place.path().join("dedup")).expect("it was there");
    stage.store = Some(store(place.path()));
    stage.start(0);
    stage.read(600, &mut chance).expect("it goes on");
    stage.settle();
    stage.sealer = None;
    let count = || std::fs::read_dir(place.path().join("dedup/0")).map_or(0, Iterator::count);
    assert!(count() > 10, "{}", count());
    // Nothing was ever committed: the topic was made anew.
    stage.runs = Runs::open(&stage.fs, stage.dir.path(), 0, stage.depot()).expect("a directory");
    stage.runs.fetch(&*stage.fs, &stage.dedup, None);
    assert_eq!(count(), 0);
}

#[test]
fn what_was_left_beyond_the_committed_position_is_not_taken_up() {
    let place = TempDir::new().expect("a directory");
    let mut chance = Chance(0x0DDB_A11D);
    let mut stage = Stage::new(config(400, i64::MAX), stream(&mut chance, 30, true), false);
    let clock = Arc::new(RealClock::new());
    stage.store = Some(Arc::new(Directory::shared(stage.fs.clone(), place.path(), clock, 7)));
    stage.start(0);
    stage.read(14, &mut chance).expect("it reads");
    stage.runs.leave(stage.sealer.as_ref().expect("running"), &stage.dedup, 14);
    stage.sealer = None;
    // As it would be on topics of another history.
    stage.committed = 9;
    stage.dir = TempDir::new().expect("a directory");
    assert_eq!(stage.start(0), 0, "it is read again");
}
