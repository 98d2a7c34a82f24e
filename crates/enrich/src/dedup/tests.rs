//! The definition beside the fast code, over horizons by time and by size, second readings and restarts. What is on disk is
//! a list here; `node` tries the same on files.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;

/// A record of `raw`.
type Record = (u128, u64, i64);

/// The definition, on a list of all that was ever passed on.
struct Naive {
    config: DedupConfig,
    passed: BTreeMap<u128, Vec<(Offset, u64)>>,
    begins: Vec<i64>,
}

impl Naive {
    fn verdicts(config: DedupConfig, records: &[Record]) -> Vec<Verdict> {
        let mut naive = Naive { config, passed: BTreeMap::new(), begins: Vec::new() };
        (0..).zip(records).map(|(offset, record)| naive.judge(offset, *record)).collect()
    }

    fn judge(&mut self, offset: Offset, (id, payload, received): Record) -> Verdict {
        let generation = (offset / self.config.generation) as usize;
        if self.begins.len() <= generation {
            self.begins.push(self.begins.last().map_or(received, |b| received.max(*b)));
        }
        let lowest = generation.saturating_sub(self.config.plan().most as usize);
        let cut = self.begins[generation] - self.config.horizon_us;
        let counts = (lowest..generation).find(|h| self.begins[h + 1] > cut).unwrap_or(generation);
        let floor = counts as u64 * self.config.generation;
        let passed = self.passed.entry(id).or_default();
        match passed.iter().find(|(at, _)| *at >= floor) {
            Some((_, p)) if *p == payload => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => {
                passed.push((offset, payload));
                Verdict::Fresh
            }
        }
    }
}

/// The disk: all that was handed out.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Vec<Written>>>);

type Written = (Head, Vec<Pair>);

impl Older for Disk {
    fn find(&mut self, id: u128, from: Offset) -> Result<Option<Seen>, String> {
        let runs = self.0.lock().expect("one thread");
        let pairs = runs.iter().flat_map(|r| &r.1).filter(|p| p.id == id && p.offset >= from);
        Ok(pairs.max_by_key(|p| p.offset).map(|p| Seen::from(*p)))
    }
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

/// Times that pass by fits and starts, and sometimes go back; one record in eight repeats one from somewhere before, one in
/// four of these with another payload.
fn stream(chance: &mut Chance, n: u64) -> Vec<Record> {
    let (mut now, mut pace) = (1_000_000_000, 1000);
    (0..n)
        .map(|i| {
            if chance.below(500) == 0 {
                pace = 1 << chance.below(14);
            }
            now += chance.below(pace) as i64;
            // Whole milliseconds, so that times and the horizon meet exactly now and then.
            let received = (now - chance.below(3000) as i64) / 1000 * 1000;
            let id = match chance.below(8) {
                0 if i > 0 => {
                    let back = 1 << (3 + chance.below(12));
                    i - 1 - chance.below(i.min(back))
                }
                _ => i,
            };
            let payload = id * 7 + u64::from(chance.below(32) == 0);
            (u128::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835), payload, received)
        })
        .collect()
}

const SMALL: DedupConfig = DedupConfig { memory: 20_000, disk: u64::MAX, horizon_us: i64::MAX, generation: 32 };

/// By memory, by disk and by time.
fn configs() -> [DedupConfig; 4] {
    [
        SMALL,
        DedupConfig { disk: run::bytes(32) * 24, ..SMALL },
        DedupConfig { horizon_us: 400_000, ..SMALL },
        DedupConfig { horizon_us: 400_000, disk: run::bytes(32) * 60, memory: 1 << 20, ..SMALL },
    ]
}

fn judge(dedup: &mut Dedup, offset: usize, records: &[Record]) -> Verdict {
    let (id, payload, received) = records[offset];
    dedup.judge(id, payload, offset as Offset, Micros(received))
}

/// Hands out what may be handed out; sometimes the disk takes its time.
fn seal(dedup: &mut Dedup, disk: &Disk, committed: usize, chance: &mut Chance) {
    while !dedup.has_room_for(1) || chance.below(3) > 0 {
        let Some(sealed) = dedup.seal(committed as Offset) else { return };
        dedup.cover(sealed.head.to);
        assert!(sealed.pairs.iter().all(|p| p.offset < committed as Offset && p.offset >= sealed.head.from));
        disk.0.lock().expect("one thread").push((sealed.head, sealed.pairs));
    }
}

#[test]
fn it_decides_as_the_definition_whatever_is_read_again_and_wherever_it_starts_anew() {
    for seed in 1..40u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let config = configs()[seed as usize % 4];
        let records = stream(&mut chance, 6000);
        let verdicts = Naive::verdicts(config, &records);
        let disk = Disk::default();
        let mut dedup = Dedup::with_older(&config, Box::new(disk.clone()));
        let (mut committed, mut restarts) = (0, 0);
        while committed < records.len() {
            seal(&mut dedup, &disk, committed, &mut chance);
            let until = records.len().min(committed + 1 + chance.below(90) as usize);
            for (offset, verdict) in verdicts.iter().enumerate().take(until).skip(committed) {
                assert_eq!(judge(&mut dedup, offset, &records), *verdict, "seed {seed}, at {offset}");
            }
            match chance.below(8) {
                // An abort: the same records come again, maybe fewer.
                0 | 1 => {}
                // A restart: what is on disk is there, the rest is read again. Not all that was handed out needs to have
                // been written.
                2 => {
                    restarts += 1;
                    let mut runs = disk.0.lock().expect("one thread");
                    let written = runs.len() - chance.below(3).min(runs.len() as u64) as usize;
                    runs.truncate(written);
                    dedup = Dedup::with_older(&config, Box::new(disk.clone()));
                    runs.iter().for_each(|(head, _)| dedup.restore(head));
                    let from = runs.last().map_or(0, |(head, _)| head.to as usize);
                    drop(runs);
                    for (offset, verdict) in verdicts.iter().enumerate().take(committed).skip(from) {
                        let again = judge(&mut dedup, offset, &records);
                        assert_eq!(again, *verdict, "seed {seed}, again {offset}");
                    }
                }
                _ => committed = until,
            }
        }
        assert!(restarts > 5, "seed {seed}");
        let kinds = [Verdict::Duplicate, Verdict::Conflict].map(|k| verdicts.iter().filter(|v| **v == k).count());
        assert!(kinds.iter().all(|k| *k > 5), "{kinds:?}: nothing was tried");
    }
}

#[test]
fn without_a_disk_it_tells_over_what_its_table_holds() {
    let mut chance = Chance(7);
    let mut dedup = Dedup::new(0);
    let all = 5 * GENERATION as usize;
    let records = stream(&mut chance, all as u64);
    let mut passed: BTreeMap<u128, Vec<(Offset, u64)>> = BTreeMap::new();
    for (offset, (id, payload, _)) in (0..).zip(&records) {
        let floor = (offset / GENERATION).saturating_sub(dedup.generations.most()) * GENERATION;
        let passed = passed.entry(*id).or_default();
        let expected = match passed.iter().find(|(at, _)| *at >= floor) {
            Some((_, p)) if p == payload => Verdict::Duplicate,
            Some(_) => Verdict::Conflict,
            None => {
                passed.push((offset, *payload));
                Verdict::Fresh
            }
        };
        assert_eq!(judge(&mut dedup, offset as usize, &records), expected, "at {offset}");
    }
    for offset in all - 5000..all {
        let again = judge(&mut dedup, offset, &records);
        assert_eq!(again == Verdict::Fresh, passed[&records[offset].0].iter().any(|(at, _)| *at == offset as Offset));
    }
}

#[test]
fn a_first_and_its_successor_beyond_the_horizon_are_told_apart_in_a_second_reading() {
    // The same id at three places: the second counts for the first, the third does not, and all three come again after an
    // abort that lies before the second.
    let config = DedupConfig { disk: run::bytes(32), ..SMALL };
    assert_eq!(config.plan().most, 1);
    let mut dedup = Dedup::with_older(&config, Box::new(Disk::default()));
    for _ in 0..2 {
        for offset in 0..80u64 {
            let id = if [10, 40, 70].contains(&offset) { 1 } else { u128::from(offset) + 1000 };
            let verdict = dedup.judge(id, 1, offset, Micros(0));
            assert_eq!(verdict == Verdict::Duplicate, offset == 40, "at {offset}");
        }
    }
}

#[test]
fn an_hour_at_the_peak_fits_into_what_may_be_spent_by_default() {
    let config =
        DedupConfig { memory: 256 << 20, disk: 4 << 30, horizon_us: 3600 * Micros::SECOND, generation: GENERATION };
    let plan = config.share(8).plan();
    let hour = 27_800 * 3600 / 8 / GENERATION + 2;
    assert!(plan.most >= hour, "{plan:?}: {hour} generations are wanted");
    assert_eq!(plan.biggest, FAN * FAN);
    // All that is there at once: the tables, a generation on its way, filters up to a run beyond the horizon, one in the
    // making.
    let filters = (plan.most + 2 * plan.biggest) * Ranks::bytes(GENERATION);
    assert!(Table::bytes(plan.table as u64) + GENERATION * 32 + filters <= config.share(8).memory);
    assert!((plan.most + 2 * plan.biggest) * run::bytes(GENERATION) <= config.share(8).disk);
    // However little there is, something is told.
    let least = DedupConfig { memory: 1, disk: 1, ..config }.share(256).plan();
    assert!(least.most >= 1 && least.table >= 3 * GENERATION as usize);
}

#[test]
fn a_disk_that_cannot_be_read_is_not_one_that_has_nothing() {
    struct Broken;
    impl Older for Broken {
        fn find(&mut self, _id: u128, _from: Offset) -> Result<Option<Seen>, String> {
            Err("the file x cannot be read".into())
        }
    }
    let mut dedup = Dedup::with_older(&SMALL, Box::new(Broken));
    dedup.restore(&Head { from: 0, to: 64, base: 0, begins: vec![1, 2] });
    assert_eq!(dedup.trouble(), None);
    dedup.judge(5, 5, 64, Micros(3));
    assert_eq!(dedup.trouble(), Some("the file x cannot be read"));
}

/// Runs of all sizes around a page, written, decoded and merged.
#[test]
fn a_run_gives_back_what_was_written() {
    let mut chance = Chance(3);
    for pairs in [0, 1, 2, 145, 146, 147, 292, 1000] {
        let mut all: Vec<Pair> = (0..pairs)
            .map(|n| Pair {
                // Some ids twice, and some that differ in their lower half only.
                id: u128::from(chance.below(pairs)) << (chance.below(2) * 64),
                payload: n * 3,
                offset: 5_000_000_000 + n,
            })
            .collect();
        all.sort_by_key(|p| (p.id, p.offset));
        let head = Head { from: 5_000_000_000, to: 5_000_100_000, base: 5_000_000_000, begins: vec![1, 2, 3] };
        let (index, bytes) = write(&head, &all);
        let footer: &[u8; FOOTER_BYTES] = bytes.last_chunk().expect("a footer");
        let footer = Footer::decode(footer, bytes.len() as u64).expect("a footer");
        let (at, len) = footer.index();
        let read = RunIndex::decode(footer, &bytes[at as usize..][..len]).expect("an index");
        assert_eq!((&read.head, read.pairs), (&head, pairs));
        for (index, everything) in [(&index, false), (&read, false), (&read, true)] {
            for id in all.iter().map(|p| p.id).chain([0, 1, u128::MAX, 77 << 100]) {
                let place = index.place(id);
                let candidates =
                    if everything { index.everything() } else { index.candidates(place, index.slot(place)) };
                let found = index.find(id, candidates, |n, buffer| page(&bytes, n, buffer, head.from)).expect("pages");
                assert_eq!(found, all.iter().rfind(|p| p.id == id).copied(), "{id} of {pairs}");
            }
        }
        let pages = (0..read.pages()).flat_map(|n| {
            let mut buffer = [0; PAGE_BYTES];
            let page = page(&bytes, n, &mut buffer, head.from).expect("a page");
            read.pairs_of(n, &page).collect::<Vec<_>>()
        });
        assert_eq!(pages.collect::<Vec<_>>(), all);
    }
}

#[test]
fn every_byte_of_a_run_is_under_a_checksum() {
    let all: Vec<Pair> = (0..300).map(|n| Pair { id: n << 70, payload: 1, offset: n as Offset }).collect();
    let head = Head { from: 0, to: 320, base: 0, begins: vec![1; 10] };
    let (_, bytes) = write(&head, &all);
    let readable = |bytes: &[u8]| {
        let footer = Footer::decode(bytes.last_chunk()?, bytes.len() as u64)?;
        let (at, len) = footer.index();
        let index = RunIndex::decode(footer, &bytes[at as usize..][..len])?;
        (0..index.pages()).all(|n| page(bytes, n, &mut [0; PAGE_BYTES], 0).is_ok()).then_some(())
    };
    assert!(readable(&bytes).is_some());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(readable(&flipped).is_none(), "byte {at} of {}", bytes.len());
    }
    for cut in [1, 8, FOOTER_BYTES, PAGE_BYTES] {
        assert!(readable(&bytes[..bytes.len() - cut]).is_none());
        assert!(readable(&bytes[cut..]).is_none());
    }
    // A page in another's place.
    let mut swapped = bytes.clone();
    swapped.copy_within(PAGE_BYTES..2 * PAGE_BYTES, 0);
    assert!(readable(&swapped).is_none());
}

#[test]
fn merging_is_sorting() {
    let mut chance = Chance(11);
    let mut lists: Vec<Vec<Pair>> = (0..8)
        .map(|list| {
            let mut pairs: Vec<Pair> = (0..chance.below(50))
                .map(|n| Pair { id: u128::from(chance.below(60)), payload: 0, offset: list * 100 + n })
                .collect();
            pairs.sort_by_key(|p| (p.id, p.offset));
            pairs
        })
        .collect();
    let mut all: Vec<Pair> = lists.concat();
    all.sort_by_key(|p| (p.id, p.offset));
    let mut next = |n: usize| Ok::<_, ()>((!lists[n].is_empty()).then(|| lists[n].remove(0)));
    let mut merge = Merge::new(8, &mut next).expect("heads");
    let merged: Vec<Pair> = std::iter::from_fn(|| merge.next(&mut next).expect("a pair")).collect();
    assert_eq!(merged, all);
}

fn write(head: &Head, pairs: &[Pair]) -> (RunIndex, Vec<u8>) {
    let mut writer = RunWriter::new(head.clone(), pairs.len() as u64);
    pairs.iter().for_each(|p| writer.push(*p));
    writer.finish()
}

fn page<'b>(
    bytes: &[u8],
    number: u64,
    buffer: &'b mut [u8; PAGE_BYTES],
    from: Offset,
) -> Result<Page<'b>, &'static str> {
    buffer.copy_from_slice(&bytes[number as usize * PAGE_BYTES..][..PAGE_BYTES]);
    Page::check(buffer, from, number).ok_or("damaged")
}

#[test]
fn who_takes_up_what_was_left_decides_as_who_left_it() {
    let mut chance = Chance(0xA076_1D64_78BD_642F);
    for round in 0..200 {
        let horizon_us = if round % 2 == 0 { i64::MAX } else { 500 };
        let config = DedupConfig { memory: 64 << 10, disk: 1 << 20, horizon_us, generation: 16 };
        let new = || Dedup::with_older(&config, Box::new(Disk::default()));
        let (mut one, mut other) = (new(), None);
        // Retention may have taken the first positions, and marks of transactions leave holes.
        let (mut offset, mut now) = (chance.below(200), 1_000);
        for step in 0..300 {
            offset += 1 + if chance.below(8) == 0 { chance.below(40) } else { 0 };
            now += chance.below(30) as i64;
            let (id, received) = (u128::from(chance.below(120)), Micros(now));
            let said = one.judge(id, id as u64, offset, received);
            if let Some(other) = &mut other {
                let context = format!("round {round}, step {step}, at {offset}");
                assert_eq!(Dedup::judge(other, id, id as u64, offset, received), said, "{context}");
                assert_eq!(other.horizon(), one.horizon(), "{context}");
            }
            if chance.below(40) == 0 {
                let mut next = new();
                let rest = one.rest(offset + 1).expect("there is something");
                assert!(next.take_up(rest), "it fits");
                other = Some(next);
            }
        }
    }
}
