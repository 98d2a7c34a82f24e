//! Corrupt files: an error each; never a panic, a hang or a huge allocation.

#![allow(clippy::disallowed_methods)] // it reads the test data

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use ouzel_lookup::{Extent, GeoSource, LookupError, Mmdb};

/// The system's allocator, with the most that was ever held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// For everything that is done to one file of a few kilobytes, the test's own lists included.
const ALLOCATION_MAX: usize = 4 << 20;
/// All of it takes milliseconds.
const TIME_MAX: Duration = Duration::from_secs(20);

fn addresses() -> Vec<IpAddr> {
    let mut all = Vec::new();
    for i in 0..4096u32 {
        all.push(IpAddr::V4(Ipv4Addr::from(i << 20 | i)));
        all.push(IpAddr::V6(Ipv6Addr::from(u128::from(i) << 116 | u128::from(i))));
    }
    for last in 0..=255 {
        all.push(IpAddr::V4(Ipv4Addr::new(1, 1, 1, last)));
        all.push(IpAddr::V6(Ipv6Addr::from(u128::from(last))));
    }
    all
}

/// Opens, scans whole and asks for many addresses; the errors on the way.
fn torment(path: &Path) -> Vec<LookupError> {
    let mut errors = Vec::new();
    let mmdb = match Mmdb::open(path) {
        Ok(mmdb) => mmdb,
        Err(e) => return vec![e],
    };
    errors.extend(mmdb.check(Extent::Sample).err());
    errors.extend(mmdb.check(Extent::Whole).err());
    let mut out = Vec::new();
    for ip in addresses() {
        errors.extend(mmdb.record(ip, &mut out).err());
        errors.extend(mmdb.geo(ip, &mut out).err());
        out.clear();
    }
    errors
}

/// Runs in a thread of its own, so that a hang is a failure and not a test that never ends.
fn guarded<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (done, wait) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = done.send(work());
    });
    let result = wait.recv_timeout(TIME_MAX);
    let peak = PEAK.load(Ordering::Relaxed) - before;
    assert!(peak < ALLOCATION_MAX, "{name}: {peak} bytes");
    match result {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => panic!("{name} panics: {:?}", thread.join().err()),
    }
}

/// Three of the corrupt files broke one reader's bound check and hold nothing wrong: every address has its record. In two
/// an empty map or array ends the metadata, as it may (`country-pddl.mmdb` has an empty description too); one has nodes that
/// no node leads to. They read as they are, and are refused where places are asked for.
const HARMLESS: &[&str] = &[
    "libmaxminddb-corrupt-search-tree.mmdb",
    "libmaxminddb-empty-array-last-in-metadata.mmdb",
    "libmaxminddb-empty-map-last-in-metadata.mmdb",
];

/// One test, because the allocator counts for the whole process.
#[test]
fn a_corrupt_file_is_an_error_and_nothing_worse() {
    let bad = support::files("geo/maxmind-testdb/bad-data", ".mmdb");
    assert_eq!(bad.len(), 21);
    for path in bad {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let geo = path.clone();
        let refused = guarded(&name, move || GeoSource::open(&[geo]).err());
        let refused = refused.unwrap_or_else(|| panic!("{name}: taken as a geo database"));
        println!("{name}: {refused}");
        let read = path.clone();
        let errors = guarded(&name, move || torment(&read));
        if HARMLESS.contains(&&*name) {
            assert!(errors.is_empty(), "{name}: {errors:?}");
            let mut out = Vec::new();
            let mmdb = Mmdb::open(&path).expect(&name);
            assert!(mmdb.record("1.1.1.1".parse().expect("an address"), &mut out).expect(&name));
            assert_eq!(out, br#"{"ip":"test"}"#, "{name}");
        } else {
            assert!(!errors.is_empty(), "{name}: no error");
        }
        for e in errors {
            let text = e.to_string();
            assert!(text.len() < 300 && !text.contains("1.1.1."), "{name}: {text}");
        }
    }
    let broken = [
        "City-Test-Broken-Double-Format",
        "City-Test-Invalid-Node-Count",
        "broken-pointers-24",
        "broken-search-tree-24",
    ];
    for path in support::files("geo/maxmind-testdb/test-data", ".mmdb") {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let errors = guarded(&name, move || torment(&path));
        let expected = broken.iter().any(|b| name.contains(b));
        assert_eq!(!errors.is_empty(), expected, "{name}: {:?}", errors.first());
        if let Some(e) = errors.first() {
            println!("{name}: {e}");
        }
    }

    // Every truncation of a good file, and every byte of it spoiled once.
    let good =
        std::fs::read(support::data("geo/maxmind-testdb/test-data/MaxMind-DB-test-mixed-28.mmdb")).expect("readable");
    let refused = guarded("truncated", {
        let good = good.clone();
        move || {
            (0..good.len())
                .filter(|len| {
                    let opened = Mmdb::from_bytes("cut.mmdb", good[..*len].to_vec());
                    opened.and_then(|mmdb| mmdb.check(Extent::Whole)).is_err()
                })
                .count()
        }
    });
    assert_eq!(refused, good.len(), "a file cut anywhere is refused");
    guarded("spoiled", move || {
        for at in 0..good.len() {
            for flip in [0x01, 0x20, 0x80, 0xff] {
                let mut spoiled = good.clone();
                spoiled[at] ^= flip;
                let Ok(mmdb) = Mmdb::from_bytes("spoiled.mmdb", spoiled) else { continue };
                let _ = mmdb.check(Extent::Whole);
                let mut out = Vec::new();
                for ip in ["1.1.1.1", "::1.1.1.1", "2001:db8::1"] {
                    let _ = mmdb.record(ip.parse().expect("an address"), &mut out);
                    let _ = mmdb.geo(ip.parse().expect("an address"), &mut out);
                }
            }
        }
    });
}
