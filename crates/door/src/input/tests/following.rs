//! Files that are written while they are read.

use std::fs::{File, OpenOptions};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;

/// Long enough for a loaded machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follows a file in a thread while `story` runs; gives the summary.
fn follow(bed: &Bed, path: &Path, follow: Follow, story: impl FnOnce(&dyn Fn(usize))) -> InputSummary {
    let (progress, stop) = (Progress::default(), AtomicBool::new(false));
    let world = bed.world(Preset::Ouzel);
    let config = InputConfig { follow, ..InputConfig::new(Origin::File(path.to_owned()), Preset::Ouzel) };
    std::thread::scope(|s| {
        let reader = s.spawn(|| run(config, &world, &progress, &stop));
        let since = Instant::now();
        let accepted = |count: usize| {
            while (progress.accepted.load(Ordering::Relaxed) as usize) < count {
                assert!(!reader.is_finished() && since.elapsed() < PATIENCE, "{count} never came: {progress:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        story(&accepted);
        if follow == Follow::Forever {
            stop.store(true, Ordering::Relaxed);
        }
        reader.join().expect("no panic").expect("no error")
    })
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).create(true).open(path).expect("open").write_all(bytes).expect("append");
}

#[test]
fn a_line_counts_when_it_is_whole() {
    let bed = bed();
    let path = bed.file("f", b"");
    let text = lines(0, 3);
    let third = text.len() / 3;
    let summary = follow(&bed, &path, Follow::Forever, |accepted| {
        append(&path, &text[..third + 20]);
        accepted(1);
        append(&path, &text[third + 20..2 * third]);
        accepted(2);
        append(&path, &text[2 * third..text.len() - 1]);
        std::thread::sleep(Duration::from_millis(400));
    });
    assert_eq!((summary.accepted, summary.is_stopped), (2, true), "the last one has no newline yet");
    assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 1, "without --follow it counts");
    assert_eq!(numbers(&bed.raw()), [0, 1, 2]);
}

#[test]
fn until_idle_takes_the_last_line_and_ends() {
    let bed = bed();
    let text = lines(0, 3);
    let path = bed.file("f", &text[..text.len() - 1]);
    let summary = follow(&bed, &path, Follow::UntilIdle(Duration::from_millis(100)), |accepted| accepted(2));
    assert_eq!((summary.accepted, summary.is_stopped), (3, false));
    let empty = follow(&bed, &bed.file("e", b""), Follow::UntilIdle(Duration::from_millis(50)), |_| {});
    assert!(empty.is_empty && !empty.is_stopped);
}

#[test]
fn a_renamed_file_is_finished_and_the_new_one_begun() {
    let bed = bed();
    let path = bed.file("f", &lines(0, 100));
    let old = bed.dir.path().join("f.1");
    let summary = follow(&bed, &path, Follow::Forever, |accepted| {
        accepted(100);
        std::fs::rename(&path, &old).expect("rename");
        // The writer still has the old file, also when the new one is there but empty.
        append(&old, &lines(100, 50));
        accepted(150);
        File::create(&path).expect("create");
        append(&old, &lines(150, 10));
        append(&path, &lines(160, 40));
        accepted(200);
        append(&path, &lines(200, 1));
        accepted(201);
    });
    assert_eq!(summary.accepted, 201);
    assert_eq!(numbers(&bed.raw()), (0..201).collect::<Vec<_>>());
    assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 0);
}

#[test]
fn a_truncated_file_begins_anew() {
    let bed = bed();
    let path = bed.file("f", &lines(0, 100));
    let summary = follow(&bed, &path, Follow::Forever, |accepted| {
        accepted(100);
        // Cut to nothing and written again, in one look.
        bed.file("f", &lines(100, 30));
        accepted(130);
        // The same bytes again are other events.
        bed.file("f", b"");
        std::thread::sleep(Duration::from_millis(400));
        append(&path, &lines(100, 20));
        accepted(150);
    });
    assert_eq!(summary.accepted, 150);
    assert_eq!(bed.raw().len(), 150);
    assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 0);
}
