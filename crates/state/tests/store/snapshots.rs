//! Snapshots in places that several processes reach: what is restored is what was there, whoever else writes beside.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};

use event::Offset;
use ouzel_state::manifest::{is_manifest, position_of};
use ouzel_state::{Begin, Directory, Store, Writing};
use seam::RealFs;

use crate::conformance::Reach;
use crate::support::{Chance, Hand, OPERATOR, Stage, VERSION, check, restore, writing};

/// A base and increments, restored by another process, which goes on from there.
pub fn base_and_increments_are_restored(reach: Reach<'_>) {
    let (mut chance, clock) = (Chance(11), Hand::new());
    let mut stage = Stage::new(reach(), clock.clone(), writing(1));
    for round in 0..8 {
        for _ in 0..5 {
            stage.commit(&mut chance, 30);
        }
        stage.take(&mut chance);
        clock.forward(10);
        let (newest, passed_over) = restore(reach(), u64::MAX);
        assert_eq!(passed_over, Vec::<String>::new());
        let newest = newest.expect("one was written");
        assert_eq!(Some(newest.manifest.position), stage.writer.completed(), "round {round}");
        check(&newest, &stage.at, &format!("round {round}"));
        if round == 4 {
            let (at, fulls) = (std::mem::take(&mut stage.at), std::mem::take(&mut stage.fulls));
            stage = Stage::from(newest.keyed, Some(newest.manifest), reach(), clock.clone(), writing(2));
            // The state between the snapshot and its restore is lost, as a replay would bring it back.
            (stage.at, stage.fulls) = (at, fulls);
        }
    }
    assert!(stage.fulls.iter().any(|full| *full) && stage.fulls.iter().any(|full| !*full), "{:?}", stage.fulls);
}

/// The owner before, who does not know yet that he is not, writes on beside the new one. Both replay the same log, so their
/// state at a position is the same; what each has in its chain is not.
pub fn a_zombie_and_its_successor_write_side_by_side(reach: Reach<'_>) {
    const ROUNDS: i64 = 14;
    let (clock, barrier) = (Hand::new(), Barrier::new(2));
    let at: Vec<BTreeMap<Offset, Vec<u8>>> = std::thread::scope(|scope| {
        let owner = |n: u64| {
            let (store, clock, barrier) = (reach(), clock.clone(), &barrier);
            scope.spawn(move || {
                let mut stage = Stage::new(
                    store,
                    clock.clone(),
                    Writing { part_bytes: 400, ..Writing::new(OPERATOR, 7, VERSION, n) },
                );
                for round in 0..ROUNDS {
                    // One of them is ahead, now this one, now that one.
                    for _ in 0..5 + (round as u64 * (n + 1)) % 4 {
                        // The same commit at the same position, whoever makes it.
                        let position = stage.position;
                        stage.commit(&mut Chance(position + 1), 30);
                    }
                    barrier.wait();
                    take(&mut stage, round % 5 == n as i64);
                    if barrier.wait().is_leader() {
                        // So that what is old is deleted, by both.
                        clock.forward(900);
                    }
                }
                stage.at
            })
        };
        let owners = [owner(1), owner(2)];
        owners.map(|owner| owner.join().expect("it ends")).into()
    });
    let mut both = at[0].clone();
    for (position, state) in &at[1] {
        let same = both.entry(*position).or_insert_with(|| state.clone());
        assert!(same == state, "the story: their states at {position} are the same");
    }
    let store = reach();
    let names = store.list(&format!("{OPERATOR}/7/")).expect("listed");
    let manifests: Vec<&String> = names.iter().filter(|name| is_manifest(name)).collect();
    assert!((6..2 * ROUNDS as usize).contains(&manifests.len()), "{} are left", manifests.len());
    // Whatever position is the committed one: the newest at or below it is whole.
    for position in manifests.iter().filter_map(|name| position_of(name)) {
        for at_most in [position, position + 1] {
            let (found, passed_over) = restore(reach(), at_most);
            assert_eq!(passed_over, Vec::<String>::new(), "at most {at_most}");
            let found = found.expect("there is one");
            assert!(found.manifest.position == position || found.manifest.position == at_most);
            check(&found, &both, &format!("at most {at_most}"));
        }
    }
}

/// A snapshot without commits in between.
fn take(stage: &mut Stage, full: bool) {
    let full = full || stage.writer.next_is_full() || stage.keyed.needs_full_snapshot();
    assert!(stage.keyed.begin_snapshot(full), "none is running");
    stage.at.insert(stage.position, stage.keyed.canonical());
    let metadata = stage.position.to_le_bytes().to_vec();
    stage.writer.begin(Begin { full, position: stage.position, metadata, keys: stage.keyed.len() as u64 });
    loop {
        let mut slice = Vec::new();
        let done = stage.keyed.snapshot_slice(150, &mut slice);
        stage.writer.slice(slice);
        if done {
            break;
        }
    }
    stage.writer.end();
    stage.wait();
    assert_eq!(stage.writer.completed(), Some(stage.position), "it was written");
}

#[test]
fn in_a_directory_that_is_shared() {
    let dir = tempfile::tempdir().expect("a directory");
    let random = std::sync::atomic::AtomicU64::new(0);
    for (name, story) in [
        ("restored", base_and_increments_are_restored as fn(Reach<'_>)),
        ("side by side", a_zombie_and_its_successor_write_side_by_side),
    ] {
        let root = dir.path().join(name);
        story(&|| -> Arc<dyn Store> {
            let random = random.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Arc::new(Directory::shared(Arc::new(RealFs), &root, Hand::new(), random))
        });
    }
}
