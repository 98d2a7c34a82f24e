//! Files that are replaced while they are used: by good ones, bad ones, and ones that are only half there.

#![allow(clippy::disallowed_methods)] // it writes the files that are reloaded

mod support;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ouzel_lookup::{GeoSource, GeoVersion};
use support::writer::{Value::*, Writer};

const ASKED: &str = "1.2.3.4";

/// Version `n` of a database: it says so in the region of every address, and grows with `n`.
fn version(n: u32) -> Vec<u8> {
    let place = || Map(vec![("country_code", Text("JP")), ("state1", Long(format!("region {n}")))]);
    let mut writer = Writer::new(4, 28).add("1.0.0.0/8", place()).add("9.0.0.0/8", place());
    for i in 0..n {
        writer = writer.add(&format!("20.{}.{}.0/24", i / 256, i % 256), place());
    }
    writer.build()
}

fn region(version: &GeoVersion, address: &str) -> String {
    let ip: IpAddr = address.parse().expect("an address");
    let mut out = Vec::new();
    assert!(version.geo(ip, &mut out).expect("no error"), "known");
    let place: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    place["region"].as_str().expect("a region").to_owned()
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
    source: GeoSource,
}

fn place(bytes: &[u8]) -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("city.mmdb");
    replace(&path, bytes);
    let source = GeoSource::open(std::slice::from_ref(&path)).expect("opens");
    Place { _folder: folder, path, source }
}

#[test]
fn a_new_version_is_used_by_the_next_batch_and_not_by_this_one() {
    let Place { path, source, .. } = &place(&version(1));
    let batch = source.pin();
    for _ in 0..3 {
        let report = source.reload_if_changed();
        assert!(report.loaded.is_empty() && report.refused.is_empty(), "nothing changed: {report:?}");
    }
    replace(path, &version(2));
    let report = source.reload_if_changed();
    assert_eq!(report.loaded, ["city-2026-11-05"]);
    assert_eq!(region(&batch, ASKED), "region 1");
    assert_eq!(region(&source.pin(), ASKED), "region 2");
    fs::write(path, version(3)).expect("written in place");
    assert_eq!(source.reload_if_changed().loaded.len(), 1);
    assert_eq!(region(&source.pin(), ASKED), "region 3");
    assert!(source.refused().is_empty());
}

#[test]
fn a_bad_file_is_told_once_and_the_old_version_stays() {
    let good = version(1);
    let asn = fs::read(support::data("geo/maxmind-testdb/test-data/GeoLite2-ASN-Test.mmdb")).expect("readable");
    let mut spoiled = good.clone();
    let at = good.windows(8).position(|w| w == b"region 1").expect("its text");
    spoiled[at] = 0xff;
    let bad: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("text", b"<html>403 Forbidden</html>"),
        ("half", &good[..good.len() / 2]),
        ("not UTF-8", &spoiled),
        ("of networks", &asn),
    ];
    for (name, bytes) in bad {
        for in_place in [true, false] {
            let Place { path, source, .. } = &place(&good);
            if in_place {
                fs::write(path, bytes).expect("written")
            } else {
                replace(path, bytes)
            }
            let told: Vec<String> =
                (0..5).flat_map(|_| source.reload_if_changed().refused).map(|e| e.to_string()).collect();
            assert_eq!(told.len(), 1, "{name}: {told:?}");
            assert_eq!(source.refused(), told);
            assert_eq!(region(&source.pin(), ASKED), "region 1", "{name}");
            replace(path, &version(2));
            assert_eq!(source.reload_if_changed().loaded.len(), 1, "{name}");
            assert_eq!(region(&source.pin(), ASKED), "region 2", "{name}");
            assert!(source.refused().is_empty());
        }
    }
}

#[test]
fn a_file_that_is_gone_is_told_once_and_taken_when_it_is_back() {
    let Place { path, source, .. } = &place(&version(1));
    fs::remove_file(path).expect("removed");
    let told: usize = (0..5).map(|_| source.reload_if_changed().refused.len()).sum();
    assert_eq!(told, 1);
    assert_eq!(region(&source.pin(), ASKED), "region 1");
    fs::create_dir(path).expect("a folder in its place");
    assert_eq!(source.reload_if_changed().refused.len(), 1);
    fs::remove_dir(path).expect("removed");
    fs::write(path, version(2)).expect("written");
    assert_eq!(source.reload_if_changed().loaded.len(), 1);
    assert_eq!(region(&source.pin(), ASKED), "region 2");
}

/// A copy onto the file itself: shorter first, then longer, read at every stage of it.
#[test]
fn a_file_written_in_place_is_taken_when_it_is_whole() {
    let Place { path, source, .. } = &place(&version(1));
    let new = version(40);
    let mut loaded = 0;
    for end in (0..=new.len()).step_by(97).chain([new.len()]) {
        fs::write(path, &new[..end]).expect("written");
        loaded += source.reload_if_changed().loaded.len();
        let whole = end == new.len();
        assert_eq!(
            region(&source.pin(), ASKED),
            if whole { "region 40" } else { "region 1" },
            "{end} of {}",
            new.len()
        );
    }
    assert_eq!(loaded, 1);
    assert!(source.refused().is_empty());
}

/// Good and bad files by turns, moved into place and written in place, 50 times, while three threads ask without a pause.
/// A pinned version answers the same for every address, and no lookup fails.
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
                        let pinned = source.pin();
                        let first = region(&pinned, ASKED);
                        for _ in 0..20 {
                            assert_eq!(region(&pinned, "9.9.9.9"), first);
                        }
                        let n: u32 = first.trim_start_matches("region ").parse().expect("a number");
                        assert!(n >= last && n <= newest.load(Ordering::SeqCst), "{last} then {n}");
                        last = n;
                        batches += 1;
                    }
                    batches
                })
            })
            .collect();
        let (mut loaded, mut refused) = (0, 0);
        for n in 2..52 {
            let bytes = version(n);
            if n % 3 == 0 {
                fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
                refused += source.reload_if_changed().refused.len();
            }
            newest.store(n, Ordering::SeqCst);
            if n % 2 == 0 {
                replace(path, &bytes)
            } else {
                fs::write(path, &bytes).expect("written")
            }
            loaded += source.reload_if_changed().loaded.len();
            assert_eq!(region(&source.pin(), ASKED), format!("region {n}"));
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!((loaded, refused), (50, 17));
        readers.into_iter().map(|r| r.join().expect("no panic")).sum::<u64>()
    });
    assert!(asked > 50, "{asked} batches");
}

/// Several threads may call; a file is read by one of them.
#[test]
fn reloads_at_the_same_time_take_a_file_once() {
    let Place { path, source, .. } = &place(&version(1));
    replace(path, &version(2));
    let loaded: usize = std::thread::scope(|threads| {
        let calls: Vec<_> = (0..4).map(|_| threads.spawn(|| source.reload_if_changed().loaded.len())).collect();
        calls.into_iter().map(|c| c.join().expect("no panic")).sum()
    });
    assert_eq!(loaded, 1);
    assert_eq!(region(&source.pin(), ASKED), "region 2");
}
