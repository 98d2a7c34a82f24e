//! Files of rows that are replaced while they are used: by good ones, by bad ones, and by ones that are only half there.

#![allow(clippy::disallowed_methods)] // it writes the files that are reloaded

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use flow::Status;
use ouzel_lookup::table::Rows;
use ouzel_lookup::{Answer, ReloadReport, TableConfig, TableSource};

/// Version `n` of a file: every row says so, and it grows with `n`.
fn version(n: u32) -> Vec<u8> {
    let row = |key: u32| format!("k{key},\"version\n{n}\"\n");
    (std::iter::once("key,value\n".to_owned()).chain((0..40 + n).map(row))).collect::<String>().into_bytes()
}

fn value(rows: &Rows, key: &str) -> Option<String> {
    let mut out = Vec::new();
    match rows.answer(key.as_bytes(), &mut out) {
        Status::Ok => {
            let row: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            Some(row["value"].as_str().expect("a value").replace('\n', " "))
        }
        Status::Miss => None,
        other => panic!("{other:?}"),
    }
}

/// As a careful writer does it: beside, then renamed.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).expect("written");
    fs::rename(beside, path).expect("renamed");
}

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
    source: TableSource,
}

fn place(bytes: &[u8]) -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    replace(&path, bytes);
    let source = TableSource::open_all(&[(path.clone(), TableConfig::default())]).expect("opens");
    Place { _folder: folder, path, source }
}

/// Two looks: the first sees that the file changed, the second that it stood still.
fn look(source: &TableSource) -> ReloadReport {
    let first = source.reload_if_changed();
    assert!(first.loaded.is_empty() && first.refused.is_empty(), "{first:?}");
    source.reload_if_changed()
}

#[test]
fn a_new_version_is_used_by_the_next_batch_and_not_by_this_one() {
    let Place { path, source, .. } = &place(&version(1));
    let batch = source.pin();
    replace(path, &version(2));
    let report = look(source);
    assert!(
        report.refused.is_empty() && report.loaded.len() == 1 && report.loaded[0].starts_with("rows-"),
        "{report:?}"
    );
    assert_eq!(value(&batch, "k3").as_deref(), Some("version 1"));
    assert_eq!(value(&source.pin(), "k3").as_deref(), Some("version 2"));
    assert_eq!((value(&batch, "k41"), value(&source.pin(), "k41").as_deref()), (None, Some("version 2")));
    let quiet = look(source);
    assert!(quiet.loaded.is_empty(), "{quiet:?}");
}

#[test]
fn a_file_that_is_being_written_is_left_alone_until_it_stands_still() {
    let Place { path, source, .. } = &place(&version(1));
    let new = version(30);
    let mut loaded = 0;
    for end in (0..=new.len()).step_by(23).chain([new.len()]) {
        fs::write(path, &new[..end]).expect("written");
        let report = source.reload_if_changed();
        loaded += report.loaded.len();
        assert!(report.refused.is_empty(), "{report:?}");
        assert_eq!(value(&source.pin(), "k3").as_deref(), Some("version 1"), "{end} of {}", new.len());
    }
    loaded += source.reload_if_changed().loaded.len();
    assert_eq!((loaded, value(&source.pin(), "k3").as_deref()), (1, Some("version 30")));
}

#[test]
fn what_can_be_no_successor_is_told_once_and_the_old_version_stays() {
    let good = version(1);
    for (says, bytes) in [
        ("there is no header line", &b""[..]),
        ("this is no header line", b"<html>403 Forbidden</html>\n"),
        ("it has no rows, and rows-", b"key,value\n"),
        ("its last line has no line end", &good[..good.len() - 1]),
        ("a quote is not closed", &good[..good.len() - 4]),
        ("the row has 1 fields", &good[..good.windows(3).position(|w| w == b"k7,").expect("a row") + 2]),
        ("the key is `value`, and was `key`", b"value,key\na,b\n"),
        ("the row is not valid UTF-8", b"key,value\nk,\xff\n"),
    ] {
        let Place { path, source, .. } = &place(&good);
        replace(path, bytes);
        let told: Vec<String> =
            (0..5).flat_map(|_| source.reload_if_changed().refused).map(|e| e.to_string()).collect();
        assert_eq!(told.len(), 1, "{says}: {told:?}");
        assert!(told[0].contains(says) && told[0].starts_with("rows.csv"), "{}", told[0]);
        assert_eq!(source.refused(), told);
        assert_eq!(value(&source.pin(), "k3").as_deref(), Some("version 1"), "{says}");
        replace(path, &version(2));
        assert_eq!(look(source).loaded.len(), 1);
        assert!(source.refused().is_empty());
    }
}

#[test]
fn a_file_that_is_not_there_yet_is_taken_when_it_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rows.csv");
    let (source, errors) = TableSource::open_what_is_good(&[(path.clone(), TableConfig::default())]);
    assert_eq!(errors.len(), 1);
    assert_eq!(source.pin().answer(b"k3", &mut Vec::new()), Status::Skipped);
    assert!(source.pin().versions().is_empty());
    fs::write(&path, version(1)).expect("written");
    let loaded: usize = (0..4).map(|_| source.reload_if_changed().loaded.len()).sum();
    assert_eq!((loaded, value(&source.pin(), "k3").as_deref()), (1, Some("version 1")));
}

/// Ends the readers also when the writer's checks fail.
struct Stopping<'s>(&'s AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Good and bad files by turns, moved into place and written in place, 50 times, while three threads ask without a pause.
/// A pinned version answers the same for every key, and no lookup fails.
#[test]
fn fifty_reloads_under_concurrent_lookups() {
    let Place { path, source, .. } = &place(&version(1));
    let (stop, newest) = (AtomicBool::new(false), AtomicU32::new(1));
    let asked = std::thread::scope(|threads| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                threads.spawn(|| {
                    let (mut batches, mut last) = (0u64, 0);
                    while !stop.load(Ordering::Relaxed) {
                        let pinned: Arc<Rows> = source.pin();
                        let first = value(&pinned, "k0").expect("a row");
                        for key in 0..20 {
                            assert_eq!(value(&pinned, &format!("k{key}")).as_deref(), Some(first.as_str()));
                        }
                        let n: u32 = first.trim_start_matches("version ").parse().expect("a number");
                        assert!(n >= last && n <= newest.load(Ordering::SeqCst), "{last} then {n}");
                        last = n;
                        batches += 1;
                    }
                    batches
                })
            })
            .collect();
        let stopping = Stopping(&stop);
        let (mut loaded, mut refused) = (0, 0);
        for n in 2..52 {
            let bytes = version(n);
            if n % 3 == 0 {
                // Half of it, and it stays so for a while; in the middle of a row, since between two it would be a good file.
                fs::write(path, &bytes[..bytes.len() / 2 - 3]).expect("written");
                refused += look(source).refused.len();
            }
            newest.store(n, Ordering::SeqCst);
            if n % 2 == 0 {
                replace(path, &bytes)
            } else {
                fs::write(path, &bytes).expect("written")
            }
            loaded += look(source).loaded.len();
            assert_eq!(value(&source.pin(), "k0"), Some(format!("version {n}")));
        }
        drop(stopping);
        assert_eq!((loaded, refused), (50, 17));
        readers.into_iter().map(|r| r.join().expect("no panic")).sum::<u64>()
    });
    assert!(asked > 50, "{asked} batches");
}
