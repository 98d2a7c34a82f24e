//! Snapshots that are written, damaged, cut short, retired and copied. What is restored is the state as it was at its
//! position, to the byte, or it is not restored.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use event::Micros;
use ouzel_state::manifest::{is_manifest, position_of};
use ouzel_state::retire::{KEEP, Known, retired};
use ouzel_state::savepoint::{Beginning, Saved, begin, export, import};
use ouzel_state::{Begin, Directory, Kind, Manifest, StateError, Store, Version};
use seam::RealFs;
use support::{Chance, Fault, Hand, Memory, START, Stage, VERSION, check, restore, snapshots, writing};

#[test]
fn what_is_restored_is_what_was_there() {
    for seed in 1..=30 {
        let mut chance = Chance(seed);
        let (store, clock) = (Arc::new(Memory::default()), Hand::new());
        let mut stage = Stage::new(store.clone(), clock.clone(), writing(1));
        for round in 0..40 {
            for _ in 0..chance.below(6) {
                stage.commit(&mut chance, 40);
            }
            stage.take(&mut chance);
            clock.forward(5);
            let what = format!("seed {seed}, round {round}");
            let (newest, passed_over) = restore(store.clone(), u64::MAX);
            let newest = newest.expect("one was written");
            assert_eq!(passed_over, Vec::<String>::new(), "{what}");
            assert_eq!(Some(newest.manifest.position), stage.writer.completed(), "{what}");
            check(&newest, &stage.at, &what);
            // Any earlier position has the newest one at or below it.
            let at_most = chance.below(stage.position + 1);
            let (earlier, _) = restore(store.clone(), at_most);
            let expected = stage.at.range(..=at_most).next_back().map(|(at, _)| *at);
            assert_eq!(earlier.as_ref().map(|e| e.manifest.position), expected, "{what}");
            earlier.inspect(|e| check(e, &stage.at, &what));
            // Now and then another process goes on.
            if chance.below(6) == 0 {
                let position = newest.manifest.position;
                let (at, fulls) = (std::mem::take(&mut stage.at), std::mem::take(&mut stage.fulls));
                stage =
                    Stage::from(newest.keyed, Some(newest.manifest), store.clone(), clock.clone(), writing(round + 2));
                assert_eq!((stage.writer.completed(), stage.position), (Some(position), position));
                // Replay brings it elsewhere than where the other one was; those positions are not to be found again.
                snapshots(store.clone()).discard_after(position).expect("the store answers");
                (stage.at, stage.fulls) = (at, fulls);
            }
        }
        let increments = stage.fulls.iter().filter(|full| !**full).count();
        assert!((5..35).contains(&increments), "seed {seed}: {increments} of 40");
    }
}

#[test]
fn a_full_one_comes_after_eight_increments_or_when_they_are_half_as_large() {
    let mut chance = Chance(1);
    let mut stage = Stage::new(Arc::new(Memory::default()), Hand::new(), writing(1));
    assert!(stage.writer.next_is_full(), "there is none to add to");
    stage.keyed.open();
    for n in 0..1000u32 {
        stage.keyed.set(&n.to_be_bytes(), vec![1; 20], None);
    }
    stage.keyed.merge_oldest();
    for _ in 0..10 {
        stage.take(&mut chance);
        stage.keyed.open();
        stage.keyed.set(b"one", vec![1], None);
        stage.keyed.merge_oldest();
        stage.position += 1;
    }
    let mut expected = [vec![true], vec![false; 8], vec![true]].concat();
    assert_eq!(stage.fulls, expected);
    for share in [480, 60] {
        stage.keyed.open();
        for n in 0..share as u32 {
            stage.keyed.set(&n.to_be_bytes(), vec![2; 20], None);
        }
        stage.keyed.merge_oldest();
        stage.position += 1;
        expected.push(stage.take(&mut chance));
    }
    assert!(stage.writer.next_is_full(), "540 of about 1020 keys are more than half");
    assert_eq!(&expected[10..], [false, false]);
}

#[test]
fn a_damaged_object_costs_the_snapshots_that_need_it_and_no_more() {
    let mut chance = Chance(4);
    let store = Arc::new(Memory::default());
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    for _ in 0..60 {
        stage.commit(&mut chance, 40);
    }
    for round in 0..12 {
        stage.commit(&mut chance, 40);
        // Two chains.
        stage.take_as(&mut chance, round % 6 == 0);
    }
    let manifests: Vec<Manifest> = store
        .names()
        .iter()
        .filter(|n| is_manifest(n))
        .map(|n| Manifest::decode(&store.get(n).expect("alive").expect("there")).expect("whole"))
        .collect();
    assert_eq!(manifests.len(), 12);
    assert!(manifests.iter().any(|m| m.chain[0].parts.len() > 3), "parts are small here");
    let mut fell_back = 0;
    for name in store.names() {
        for harm in 0..12 {
            let damaged = store.copy();
            {
                let mut objects = damaged.objects.lock().expect("whole");
                let bytes = objects.get_mut(&name).expect("there");
                match harm {
                    0 => drop(objects.remove(&name)),
                    1 => bytes.truncate(chance.below(bytes.len() as u64) as usize),
                    2 => bytes.clear(),
                    3 => bytes.push(b'\n'),
                    4 => bytes.fill(0),
                    _ => {
                        let at = chance.below(bytes.len() as u64) as usize;
                        bytes[at] ^= 1 << chance.below(8);
                    }
                }
            }
            let what = format!("{name}, harm {harm}");
            let hit = |m: &&Manifest| m.parts().any(|p| p.name == name) || position_of(&name) == Some(m.position);
            let needs = |m: &&Manifest| if is_manifest(&name) { hit(m) } else { m.parts().any(|p| p.name == name) };
            let expected = manifests.iter().filter(|m| !needs(m)).map(|m| m.position).max();
            let (newest, passed_over) = restore(damaged, u64::MAX);
            assert_eq!(newest.as_ref().map(|n| n.manifest.position), expected, "{what}");
            let newest_hit = manifests.last().filter(needs).is_some();
            // One that is gone leaves nothing to warn of.
            assert_eq!(
                passed_over.is_empty(),
                !newest_hit || (is_manifest(&name) && harm == 0),
                "{what}: {passed_over:?}"
            );
            fell_back += usize::from(newest_hit);
            newest.inspect(|n| check(n, &stage.at, &what));
        }
    }
    assert!(fell_back > 50, "{fell_back}");
}

#[test]
fn a_start_from_an_older_one_keeps_what_its_next_one_is_made_of() {
    let (store, clock) = (Arc::new(Memory::default()), Hand::new());
    let mut chance = Chance(5);
    let keep = || ouzel_state::writer::Writing { keep: std::time::Duration::ZERO, ..writing(1) };
    let mut stage = Stage::new(store.clone(), clock.clone(), keep());
    let mut before = store.copy();
    for round in 0..5 {
        (0..30).for_each(|_| stage.commit(&mut chance, 40));
        clock.forward(61);
        stage.take_as(&mut chance, true);
        if round == 2 {
            before = store.copy();
        }
    }
    drop(stage);
    // The two that are kept for their age are damaged, as one rotten part of both would have it.
    let rotten: Vec<String> = store.names().into_iter().rev().filter(|n| is_manifest(n)).take(2).collect();
    assert_eq!(
        store.names().iter().filter(|n| is_manifest(n)).count(),
        2,
        "no more are kept in a directory of one's own"
    );
    let base = before.copy();
    for name in &rotten {
        let manifest = Manifest::decode(&store.get(name).expect("alive").expect("there")).expect("whole");
        let part = &manifest.parts().next().expect("a part").name;
        base.objects.lock().expect("whole").insert(part.clone(), b"rotten".to_vec());
        base.objects.lock().expect("whole").insert(name.clone(), manifest.encode());
    }
    let store = base;
    let (older, passed_over) = restore(store.clone(), u64::MAX);
    let older = older.expect("one is whole");
    assert_eq!(passed_over.len(), 2);
    let again = ouzel_state::writer::Writing { keep: std::time::Duration::ZERO, ..writing(2) };
    let mut stage = Stage::from(older.keyed, Some(older.manifest), store.clone(), clock.clone(), again);
    for _ in 0..5 {
        // As a replay does, it passes the position of the damaged one.
        (0..20).for_each(|_| stage.commit(&mut chance, 40));
        clock.forward(61);
        stage.take_as(&mut chance, false);
        let (newest, passed_over) = restore(store.clone(), u64::MAX);
        let newest = newest.unwrap_or_else(|| panic!("none is whole: {passed_over:?}"));
        check(&newest, &stage.at, "its chain is whole");
    }
}

#[test]
fn a_writer_that_dies_at_any_step_leaves_the_one_before() {
    for after in [false, true] {
        let mut steps = 0;
        for step in 0.. {
            let fault = if after { Fault::DeadAfter(step) } else { Fault::DeadFrom(step) };
            let (store, clock) = (Arc::new(Memory::with(fault)), Hand::new());
            let mut chance = Chance(9);
            let mut stage = Stage::new(store.clone(), clock.clone(), writing(1));
            for _ in 0..14 {
                for _ in 0..4 {
                    stage.commit(&mut chance, 30);
                }
                stage.take(&mut chance);
                // So that retiring is among the steps.
                clock.forward(3000);
            }
            let completed = stage.writer.completed();
            let (newest, passed_over) = restore(store.copy(), u64::MAX);
            let what = format!("step {step}, after {after}");
            assert_eq!(passed_over, Vec::<String>::new(), "nothing is half there, {what}");
            assert!(newest.as_ref().map(|n| n.manifest.position) >= completed, "{what}");
            newest.inspect(|n| check(n, &stage.at, &what));
            steps = step;
            if store.changes() < step {
                break;
            }
        }
        assert!(steps > 60, "{steps}");
    }
}

#[test]
fn one_that_fails_leaves_the_next_to_be_full_and_readable() {
    for fault in (0..40).flat_map(|step| [Fault::Once(step), Fault::Unheard(step)]) {
        let (Fault::Once(step) | Fault::Unheard(step)) = fault else { continue };
        let (store, clock) = (Arc::new(Memory::with(fault)), Hand::new());
        let mut chance = Chance(step + 1);
        let mut stage = Stage::new(store.clone(), clock, writing(1));
        let mut failed = 0;
        for round in 0..12 {
            stage.commit(&mut chance, 30);
            let before = stage.writer.completed();
            stage.take(&mut chance);
            let begun = *stage.at.keys().next_back().expect("one was begun");
            let what = format!("{fault:?}, round {round}");
            if stage.writer.completed() != Some(begun) {
                failed += 1;
                assert_eq!(stage.writer.completed(), before, "{what}");
                assert!(stage.writer.next_is_full(), "{what}");
            }
            // One whose manifest is there although nobody heard of it is a snapshot as any other.
            let (newest, passed_over) = restore(store.clone(), u64::MAX);
            assert_eq!(passed_over, Vec::<String>::new(), "{what}");
            newest.inspect(|n| check(n, &stage.at, &what));
        }
        assert_eq!(failed, usize::from(store.changes() > step), "{fault:?}");
        store.fails(None);
        stage.commit(&mut chance, 30);
        stage.take(&mut chance);
        assert_eq!(stage.writer.completed(), stage.at.keys().next_back().copied(), "all is well again");
    }
}

#[test]
fn an_increment_on_one_that_fails_is_not_written() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(2);
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    for _ in 0..50 {
        stage.commit(&mut chance, 200);
    }
    stage.take(&mut chance);
    // Two are begun at once, of which the first fails at its first part.
    store.fails(Some(Fault::Once(store.changes())));
    for _ in 0..2 {
        stage.commit(&mut chance, 200);
        assert!(stage.keyed.begin_snapshot(false));
        let mut slice = Vec::new();
        assert!(stage.keyed.snapshot_slice(1 << 20, &mut slice) && !slice.is_empty());
        let metadata = stage.position.to_le_bytes().to_vec();
        stage.writer.begin(Begin { full: false, position: stage.position, metadata, keys: 0 });
        stage.writer.slice(slice);
        stage.writer.end();
    }
    stage.wait();
    let (newest, _) = restore(store.clone(), u64::MAX);
    check(&newest.expect("the first of all"), &stage.at, "without the first increment there is no second");
    assert!(stage.take(&mut chance), "a full one");
    check(&restore(store, u64::MAX).0.expect("written"), &stage.at, "full again");
}

#[test]
fn an_abandoned_one_leaves_nothing_and_its_changes_come_with_the_next() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(2);
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    for _ in 0..50 {
        stage.commit(&mut chance, 200);
    }
    stage.take(&mut chance);
    let before = store.names();
    for _ in 0..5 {
        stage.commit(&mut chance, 200);
    }
    assert!(!stage.writer.next_is_full());
    assert!(stage.keyed.begin_snapshot(false));
    stage.writer.begin(Begin { full: false, position: stage.position, metadata: vec![], keys: 0 });
    for _ in 0..4 {
        let mut slice = Vec::new();
        stage.keyed.snapshot_slice(100, &mut slice);
        stage.writer.slice(slice);
    }
    stage.keyed.abandon_snapshot();
    stage.writer.abandon();
    stage.wait();
    assert_eq!(store.names(), before);
    stage.commit(&mut chance, 200);
    assert!(!stage.take(&mut chance), "an increment");
    let (newest, _) = restore(store, u64::MAX);
    check(&newest.expect("written"), &stage.at, "after one that was abandoned");
}

#[test]
fn an_increment_on_another_version_is_not_made() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(2);
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    for _ in 0..50 {
        stage.commit(&mut chance, 20);
    }
    stage.take(&mut chance);
    let restored = restore(store.clone(), u64::MAX).0.expect("written");
    for (version, full) in [(VERSION, false), (Version { number: 4, ..VERSION }, true)] {
        let writing = ouzel_state::Writing { version, ..writing(2) };
        let chain = Some(restored.manifest.clone());
        let stage = Stage::from(Default::default(), chain, store.clone(), Hand::new(), writing);
        assert_eq!(stage.writer.next_is_full(), full, "{version:?}");
    }
}

#[test]
fn a_store_that_does_not_answer_is_not_an_empty_one() {
    let store = Arc::new(Memory::default());
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    stage.take(&mut Chance(1));
    store.fails(Some(Fault::Reads));
    let error = snapshots(store.clone()).newest(u64::MAX).err().expect("no answer");
    assert_eq!(error.kind(), Kind::Retry);
    store.fails(None);
    let newest = snapshots(store).newest(u64::MAX).expect("it answers").found.expect("it is there");
    assert_eq!((newest.position(), newest.version(), newest.chain.len()), (0, VERSION, 0), "an empty state is one");
}

#[test]
fn those_beyond_the_journals_end_go() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(3);
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    for _ in 0..10 {
        stage.commit(&mut chance, 10);
        stage.take(&mut chance);
    }
    let positions: Vec<u64> = stage.at.keys().copied().collect();
    let end = positions[4];
    snapshots(store.clone()).discard_after(end).expect("the store answers");
    assert!(store.names().iter().all(|n| position_of(n).expect("ours") <= end));
    let (newest, passed_over) = restore(store, u64::MAX);
    assert_eq!((newest.expect("there").manifest.position, passed_over.len()), (end, 0));
}

#[test]
fn retention_never_deletes_what_a_manifest_of_the_last_hour_names() {
    let hour = KEEP.as_micros() as i64;
    let mut deleted = 0;
    for seed in 1..=2000 {
        let mut chance = Chance(seed);
        let now = Micros(START + 5 * hour);
        let part = |n: u64| format!("sessions/7/{n:020}-v1-x-x-1-00000.part");
        let manifest = |n: u64| format!("sessions/7/{n:020}-v1-x-x-1.manifest");
        let positions = 1 + chance.below(12);
        let mut names: Vec<String> = (0..positions).map(part).collect();
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for position in 0..positions {
            names.push(manifest(position));
            // Times are mostly in the order of positions, as clocks are mostly right.
            let age = if chance.below(8) == 0 { chance.below(12) } else { (positions - position).min(11) };
            let written_at = Micros(now.0 - age as i64 * hour / 4);
            let parts = (0..=position).filter(|_| chance.below(3) > 0).map(part).collect();
            // Some cannot be read.
            if chance.below(6) > 0 {
                known.insert(manifest(position), Known { position, written_at, parts });
            }
        }
        // Another writer is at work; or it was, long ago.
        let unnamed: Vec<String> = (0..positions).map(|n| part(n).replace("-x-x-", "-x-y-")).collect();
        names.extend(unnamed.iter().cloned());
        let readable = known.iter().map(|(name, known)| (name.as_str(), known)).collect();
        let gone = retired(now, KEEP, None, &readable, &names);
        let mut newest: Vec<&Known> = known.values().collect();
        newest.sort_by_key(|k| k.position);
        let needed = |k: &&Known| now.0 - k.written_at.0 < hour || newest.iter().rev().take(2).any(|n| n == k);
        for (name, known) in &known {
            assert_eq!(gone.contains(name), !needed(&known), "seed {seed}, {name}");
            let parts_kept = !known.parts.iter().any(|part| gone.contains(part));
            assert!(!needed(&known) || parts_kept, "seed {seed}, {name}");
        }
        let floor = known.values().filter(|k| now.0 - k.written_at.0 >= hour).map(|k| k.position).max();
        for name in unnamed.iter().chain(names.iter().filter(|n| is_manifest(n) && !known.contains_key(*n))) {
            assert_eq!(gone.contains(name), position_of(name) < floor, "seed {seed}, {name}");
        }
        // What only old ones named is gone too.
        for (name, known) in known.iter().filter(|(_, k)| !needed(k)) {
            for part in &known.parts {
                let still = readable_needs(&readable, &needed, part);
                assert_eq!(gone.contains(part), !still, "seed {seed}, {name}: {part}");
            }
        }
        deleted += gone.len();
    }
    assert!(deleted > 2000, "{deleted}");
}

fn readable_needs(known: &BTreeMap<&str, &Known>, needed: &impl Fn(&&Known) -> bool, part: &str) -> bool {
    known.values().any(|k| needed(k) && k.parts.iter().any(|p| p == part))
}

#[test]
fn hours_of_snapshots_take_no_more_room_than_one() {
    let (store, clock) = (Arc::new(Memory::default()), Hand::new());
    let mut chance = Chance(6);
    let mut stage = Stage::new(store.clone(), clock.clone(), writing(1));
    let mut most = [0; 6];
    for most in &mut most {
        for _ in 0..60 {
            stage.commit(&mut chance, 30);
            stage.take(&mut chance);
            // A writer that died left parts behind.
            if chance.below(20) == 0 {
                let orphan = format!("sessions/7/{:020}-v3-0-0-0-00000.part", stage.position);
                store.put_if_absent(&orphan, b"orphan", &AtomicBool::new(false)).expect("alive");
            }
            clock.forward(60);
            *most = (*most).max(store.names().len());
        }
        let (newest, passed_over) = restore(store.clone(), u64::MAX);
        check(&newest.expect("there"), &stage.at, "after hours");
        assert_eq!(passed_over.len(), 0);
    }
    let orphans = store.names().iter().filter(|n| n.contains("-v3-0-0-0-")).count();
    assert!(orphans < 10, "{orphans}");
    assert!(most[5] < most[1] * 5 / 4, "{most:?}");
}

#[test]
fn a_directory_keeps_them_as_memory_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("data/snapshots");
    let store = Arc::new(Directory::new(Arc::new(RealFs), &root));
    assert!(restore(store.clone(), u64::MAX).0.is_none(), "no directory is no snapshots");
    let (mut chance, clock) = (Chance(8), Hand::new());
    let mut large = writing(1);
    large.part_bytes = 100 << 10;
    let mut stage = Stage::new(store.clone(), clock.clone(), large);
    stage.keyed.open();
    for n in 0..2000u32 {
        stage.keyed.set(&n.to_be_bytes(), vec![3; 100], None);
    }
    stage.keyed.merge_oldest();
    for _ in 0..12 {
        stage.commit(&mut chance, 30);
        stage.take(&mut chance);
        clock.forward(1800);
    }
    drop(stage.writer);
    let (newest, passed_over) = restore(store.clone(), u64::MAX);
    assert_eq!(passed_over.len(), 0);
    check(&newest.expect("there"), &stage.at, "in a directory");
    let names = store.list("sessions/7/").expect("a directory");
    assert!(names.iter().filter(|n| is_manifest(n)).count() < 6, "{names:?}");
    let hurry = AtomicBool::new(false);
    assert!(!store.put_if_absent(&names[0], b"other", &hurry).expect("it answers"), "nothing is overwritten");
    for name in ["../out", "a/../../out", "/out", "a//b", "", "."] {
        assert!(store.put_if_absent(name, b"", &hurry).is_err() && store.get(name).is_err(), "{name}");
    }
    // What a writer that was killed leaves is no object, and in nobody's way.
    let path = |name: &str| root.join("sessions/7").join(name);
    seam::fs::write_atomically(&RealFs, &path("unfinished.tmp"), b"half").expect("written");
    assert_eq!(store.list("sessions/7/").expect("it answers"), names);
    assert!(store.put_if_absent("sessions/7/x", b"whole", &hurry).expect("it answers"));
    assert_eq!(store.get("sessions/7/x").expect("it answers"), Some(b"whole".to_vec()));
}

#[test]
fn a_savepoint_is_copied_whole_or_refused() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(5);
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    for _ in 0..8 {
        for _ in 0..9 {
            stage.commit(&mut chance, 30);
        }
        stage.take(&mut chance);
    }
    let newest = restore(store.clone(), u64::MAX).0.expect("there");
    let dir = tempfile::tempdir().expect("a directory");
    let to = Directory::new(Arc::new(RealFs), &dir.path().join("deploy"));
    assert!(matches!(import(&to, &*store), Err(StateError::NotSavepoint { .. })));
    let saved = export(&*store, std::slice::from_ref(&newest.name), &to, 8, Micros(START)).expect("copied");
    assert_eq!((saved.partitions.len(), saved.partitions[0].position), (1, newest.manifest.position));
    assert!(matches!(
        export(&*store, std::slice::from_ref(&newest.name), &to, 8, Micros(START)),
        Err(StateError::NotSavepoint { .. })
    ));

    let fresh = Arc::new(Memory::default());
    assert_eq!(import(&to, &*fresh).expect("whole"), saved);
    import(&to, &*fresh).expect("a second time changes nothing");
    let (again, _) = restore(fresh.clone(), u64::MAX);
    check(&again.expect("there"), &stage.at, "from a savepoint");

    // In a log that begins anew it is the same state, at position 0 and with other metadata; nothing there is beyond 0.
    let anew = Arc::new(Memory::default());
    let metadata = |_: &Saved, was: &[u8]| Ok([b"was ", was].concat());
    let how = Beginning { random: 9, now: Micros(START), metadata: &metadata };
    assert_eq!(begin(&to, &*anew, &how).expect("whole"), saved);
    snapshots(anew.clone()).discard_after(0).expect("nothing to discard");
    let at_0 = restore(anew, 0).0.expect("there");
    assert_eq!((at_0.manifest.position, at_0.keyed.canonical()), (0, newest.keyed.canonical()));
    assert_eq!(at_0.manifest.metadata, [b"was ", &newest.manifest.metadata[..]].concat());

    // Any part that is missing or damaged: nothing is taken.
    for name in fresh.names() {
        for gone in [true, false] {
            let copy = Memory::default();
            export(&*store, &[saved.partitions[0].manifest.clone()], &copy, 8, Micros(START)).expect("copied");
            {
                let mut objects = copy.objects.lock().expect("whole");
                match gone {
                    true => drop(objects.remove(&name)),
                    false => objects.get_mut(&name).expect("there")[0] ^= 1,
                }
            }
            let into = Memory::default();
            let error = begin(&copy, &into, &how).expect_err("it is not whole");
            assert_eq!((error.kind(), into.names().len()), (Kind::Data, 0), "{name}: {error}");
            let error = import(&copy, &into).expect_err("it is not whole");
            assert_eq!((error.kind(), into.names().len()), (Kind::Data, 0), "{name}: {error}");
        }
    }
}

#[test]
fn a_manifest_with_any_bit_flipped_is_none() {
    let mut manifest = Manifest::new("sessions", 7, VERSION, 12, Micros(START));
    manifest.metadata = vec![0, 255, 16];
    let bytes = manifest.encode();
    assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let json = br#"{"format":2}"#;
    let other = format!("{}\ncrc32c {:08x}\n", String::from_utf8_lossy(json), crc32c::crc32c(json));
    assert!(Manifest::decode(other.as_bytes()).is_err_and(|e| e.contains("format is 2")));
}

#[test]
fn a_writer_that_is_dropped_has_written_what_was_ended() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(5);
    let mut stage = Stage::new(store.clone(), Hand::new(), writing(1));
    stage.commit(&mut chance, 9);
    assert!(stage.keyed.begin_snapshot(true));
    let mut slice = Vec::new();
    assert!(stage.keyed.snapshot_slice(1 << 20, &mut slice));
    stage.writer.begin(Begin {
        full: true,
        position: 1,
        metadata: 1u64.to_le_bytes().to_vec(),
        keys: stage.keyed.len() as u64,
    });
    stage.writer.slice(slice);
    stage.writer.end();
    stage.writer.begin(Begin { full: true, position: 2, metadata: vec![], keys: 0 });
    stage.writer.slice(vec![0; 1000]);
    drop(stage.writer);
    stage.at.insert(1, stage.keyed.canonical());
    let (newest, _) = restore(store.clone(), u64::MAX);
    check(&newest.expect("there"), &stage.at, "dropped");
    assert!(store.names().iter().all(|n| position_of(n) == Some(1)), "what was not ended left nothing");
}

#[test]
fn two_snapshots_of_one_position_are_two() {
    let store = Arc::new(Memory::default());
    let mut chance = Chance(5);
    for random in [1, 2] {
        let mut stage = Stage::new(store.clone(), Hand::new(), writing(random));
        for _ in 0..2 {
            stage.take_as(&mut chance, true);
            assert!(!stage.writer.next_is_full() && stage.writer.completed() == Some(0), "writer {random}");
        }
    }
    assert_eq!(store.names().iter().filter(|n| is_manifest(n)).count(), 4);
}
