//! The directory: who may write, and which format it has.

use std::sync::Arc;

use event::topic::RAW;
use seam::RealFs;

use super::support::*;
use log::contract::Aborted;
use log::journal::{Journal, Lock};
use log::{Log, LogError, Outcome};

fn real(dir: &std::path::Path) -> Result<Arc<Journal>, LogError> {
    Journal::open(dir, config(), Arc::new(RealFs), FakeClock::new())
}

#[test]
fn a_second_writer_is_refused_and_told_by_whom() {
    let root = tempfile::tempdir().expect("a directory");
    let log = real(root.path()).expect("opens");
    match real(root.path()).map(|_| ()) {
        Err(LogError::InUse { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    log.announce(&["127.0.0.1:1234", "token"]).expect("writes");
    let holder = Lock::peek(&RealFs, root.path()).expect("reads").expect("held");
    assert_eq!(holder.lines, ["127.0.0.1:1234", "token"]);
    must_commit_numbered(&*log, 0, 10);
    drop(log);
    assert_eq!(Lock::peek(&RealFs, root.path()).expect("reads"), None);
    assert_eq!(next_of(&*real(root.path()).expect("opens again")), 1);
}

#[test]
fn another_format_is_refused_by_name() {
    let root = tempfile::tempdir().expect("a directory");
    drop(open(root.path()));
    let path = root.path().join("format");
    let good = read_file(&path);
    for (text, named) in [("ouzel 2\njournal 1\npartitions 2\n", "2"), ("parquet", "`parquet`"), ("", "``")] {
        write_file(&path, text.as_bytes());
        match open_with(root.path(), config(), &FakeClock::new()).map(|_| ()) {
            Err(LogError::Format { found, known: 1, .. }) => assert_eq!(found, named),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    write_file(&path, &good);
    drop(open(root.path()));
}

#[test]
fn the_number_of_partitions_never_changes_in_place() {
    let root = tempfile::tempdir().expect("a directory");
    drop(open(root.path()));
    let other = log::JournalConfig { partitions: 3, ..config() };
    match open_with(root.path(), other, &FakeClock::new()).map(|_| ()) {
        Err(LogError::Partitions { stored: 2, asked: 3, .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn looking_changes_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let look = || Journal::open_read_only(root.path(), Arc::new(RealFs), FakeClock::new());
    assert!(look().is_err(), "there is nothing to look at");
    let log = open(root.path());
    for n in 0..100 {
        must_commit_numbered(&*log, n, 400);
    }
    drop(log);
    // A torn tail too stays as it is.
    let last = segments(root.path()).pop().expect("a segment");
    let mut bytes = read_file(&last);
    let at = frames(&last);
    bytes.truncate(at[at.len() - 2] + 300);
    write_file(&last, &bytes);
    let before: Vec<_> = segments(root.path()).iter().map(|p| read_file(p)).collect();
    let log = look().expect("opens");
    assert_eq!(log.partitions(RAW), 2);
    assert_eq!(keys(&*log, RAW.partition(0)).len(), 99);
    assert!(matches!(commit(&*log, vec![]), Outcome::Aborted(Aborted::Closed)));
    log.maintain();
    drop(log);
    assert_eq!(segments(root.path()).iter().map(|p| read_file(p)).collect::<Vec<_>>(), before);
}

#[test]
fn a_crash_between_a_new_segment_and_its_first_frame_loses_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let log = open(root.path());
    for n in 0..100 {
        must_commit_numbered(&*log, n, 400);
    }
    drop(log);
    let last = segments(root.path()).pop().expect("a segment");
    let number: u64 = last.file_stem().expect("a name").to_string_lossy().parse().expect("a number");
    let next = last.with_file_name(format!("{:020}.seg", number + 1));
    // Empty; reserved; with half a first frame.
    let half: Vec<u8> = read_file(&last)[..300].to_vec();
    for content in [vec![], vec![0; 8192], [half, vec![0; 4096]].concat()] {
        write_file(&next, &content);
        let log = open(root.path());
        assert_eq!((next_of(&*log), keys(&*log, RAW.partition(0)).len()), (100, 100));
        drop(log);
    }
    let log = open(root.path());
    must_commit_numbered(&*log, 100, 10);
    drop(log);
    assert_eq!(next_of(&*open(root.path())), 101);
}
