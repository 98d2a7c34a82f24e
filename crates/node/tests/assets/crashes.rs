//! Ended in the middle: at every single file operation, what is there is one version or the other, whole, and the next
//! start tidies up.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use ouzel_node::assets::{Asset, Installed, State, Store, fetch};
use seam::{File, FileLock, Fs, RealClock, RealFs};

use super::support::*;

/// The real files, until so many operations that change something were made; from then on each of those fails, as in a
/// process that is no more.
struct Ends {
    left: Arc<AtomicI64>,
}

impl Ends {
    fn goes_on(&self) -> io::Result<()> {
        if self.left.fetch_sub(1, Relaxed) > 0 { Ok(()) } else { Err(io::Error::other("ended here")) }
    }
}

struct EndingFile(Arc<dyn File>, Arc<AtomicI64>);

impl Fs for Ends {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        self.goes_on()?;
        Ok(Arc::new(EndingFile(RealFs.open(path, create)?, self.left.clone())))
    }
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        RealFs.open_read(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.goes_on()?;
        RealFs.create_dir_all(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealFs.list(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.goes_on()?;
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.goes_on()?;
        RealFs.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.goes_on()?;
        RealFs.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> bool {
        RealFs.exists(path)
    }
    fn space(&self, path: &Path) -> io::Result<(u64, u64)> {
        RealFs.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Result<Box<dyn FileLock>, String>> {
        RealFs.lock(path)
    }
}

impl File for EndingFile {
    fn write_all_at(&self, parts: &[io::IoSlice<'_>], at: u64) -> io::Result<()> {
        // Half of what was to be written gets there.
        let half = parts.first().map_or(0, |p| p.len() / 2);
        if self.1.fetch_sub(1, Relaxed) <= 0 {
            self.0.write_all_at(&[io::IoSlice::new(&parts[0][..half])], at)?;
            return Err(io::Error::other("ended here"));
        }
        self.0.write_all_at(parts, at)
    }
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buf, at)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.0.allocate(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

/// Two files that are read, so that there is an in between. Lengths differ between versions.
fn disposable(version: &str) -> Vec<u8> {
    let list = |name: &str| format!("[\"{name}-{version}.example\"]").into_bytes();
    let files = [("index.json", list("exact")), ("wildcard.json", list("wild"))];
    package("disposable-email-domains", version, &files.each_ref().map(|(name, list)| (*name, list.as_slice())))
}

#[test]
fn ended_anywhere_the_files_are_whole() {
    let mut seen = Vec::new();
    for operations in 0.. {
        let machine = Machine::new();
        machine.npm_has("1.0.0", &disposable("1.0.0"));
        machine.fetch(Asset::Disposable).expect("the first");
        machine.npm_has("10.0.0", &disposable("10.0.0"));
        let fs = Ends { left: Arc::new(AtomicI64::new(operations)) };
        let ended = Store::open(&machine.cache(), Arc::new(fs))
            .and_then(|store| fetch::fetch(&store, Asset::Disposable, &machine.npm, &RealClock::new(), &mut Nobody));

        // What a run finds, before anybody has tidied up.
        let installed = machine.installed();
        let paths = installed.path(Asset::Disposable).unwrap_or_else(|| panic!("after {operations} nothing is in use"));
        assert_eq!(installed.damaged(), Vec::<String>::new(), "after {operations}");
        assert_eq!(installed.verify(Asset::Disposable, &RealFs), Vec::<String>::new(), "after {operations}");
        let versions: Vec<bool> = paths
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).expect("there");
                assert!(text.starts_with('[') && text.ends_with(".example\"]"), "after {operations}: {text}");
                text.contains("10.0.0")
            })
            .collect();
        if !seen.contains(&versions) {
            seen.push(versions);
        }

        // The next start.
        drop(machine.store());
        let version = machine.version(Asset::Disposable);
        if ended.is_ok() {
            assert_eq!(version.as_deref(), Some("10.0.0"));
            assert!(operations > 15, "{operations}");
            break;
        }
        assert!(matches!(version.as_deref(), Some("1.0.0" | "10.0.0")), "after {operations}: {version:?}");
        machine.fetch(Asset::Disposable).expect("and again");
        assert_eq!(machine.version(Asset::Disposable).as_deref(), Some("10.0.0"), "after {operations}");
    }
    // The test has been everywhere: all old, one of two renamed, all new.
    assert_eq!(seen, [[false, false], [true, false], [true, true]]);
}

/// The same from nothing: there is nothing, or all of it.
#[test]
fn ended_anywhere_the_first_time() {
    for operations in 0.. {
        let machine = Machine::new();
        machine.npm_has("1.0.0", &disposable("1.0.0"));
        let fs = Ends { left: Arc::new(AtomicI64::new(operations)) };
        let ended = Store::open(&machine.cache(), Arc::new(fs))
            .and_then(|store| fetch::fetch(&store, Asset::Disposable, &machine.npm, &RealClock::new(), &mut Nobody));
        let installed = machine.installed();
        assert_eq!(installed.damaged(), Vec::<String>::new(), "after {operations}");
        assert_eq!(installed.verify(Asset::Disposable, &RealFs), Vec::<String>::new(), "after {operations}");
        assert!(installed.path(Asset::Disposable).is_none_or(|paths| paths.len() == 2), "after {operations}");
        machine.fetch(Asset::Disposable).expect("again");
        assert_eq!(machine.version(Asset::Disposable).as_deref(), Some("1.0.0"), "after {operations}");
        if ended.is_ok() {
            break;
        }
    }
}

/// A file that is shorter, longer, gone or a directory, and manifests that are not: said, and not used.
#[test]
fn what_is_damaged_is_said_and_not_used() {
    type Deed = fn(&Path);
    let cases: [(&str, Deed, &str); 7] = [
        ("cut off", |d| std::fs::write(d.join("index.json"), "[").expect("written"), "should have 23 bytes and has 1"),
        ("gone", |d| std::fs::remove_file(d.join("index.json")).expect("removed"), "index.json is not there"),
        (
            "half a manifest",
            |d| std::fs::write(d.join("manifest.json"), "{\"format\"").expect("written"),
            "no manifest",
        ),
        (
            "a large manifest",
            |d| std::fs::write(d.join("manifest.json"), vec![b' '; 70_000]).expect("written"),
            "at most",
        ),
        ("of a newer version", |d| edit(d, "\"format\": 1", "\"format\": 9"), "a newer ouzel wrote it"),
        ("of something else", |d| edit(d, "\"disposable\"", "\"city\""), "about something else"),
        ("that leads out", |d| edit(d, "\"index.json\"", "\"../../x\""), "is not one of disposable"),
    ];
    for (what, deed, says) in cases {
        let machine = Machine::new();
        machine.npm_has("1.0.0", &disposable("1.0.0"));
        machine.fetch(Asset::Disposable).expect("the first");
        deed(&machine.cache().join("disposable"));
        let installed = machine.installed();
        assert_eq!(installed.path(Asset::Disposable), None, "{what}");
        assert!(matches!(installed.state(Asset::Disposable), State::Damaged { .. }), "{what}");
        let said = installed.damaged();
        assert!(said.len() == 1 && said[0].contains(says), "{what}: {said:?}");
        assert!(said[0].contains("`ouzel assets fetch disposable` gets it anew"), "{said:?}");
        machine.fetch(Asset::Disposable).expect("it is mended");
        assert_eq!(machine.version(Asset::Disposable).as_deref(), Some("1.0.0"), "{what}");
    }
    fn edit(dir: &Path, what: &str, by: &str) {
        let path = dir.join("manifest.json");
        let text = std::fs::read_to_string(&path).expect("there");
        assert!(text.contains(what), "{text}");
        std::fs::write(path, text.replacen(what, by, 1)).expect("written");
    }
}

#[test]
fn nothing_there_is_no_damage() {
    let machine = Machine::new();
    for installed in [machine.installed(), Installed::none(), Installed::open(Path::new("/dev/null/x"), &RealFs)] {
        assert!(Asset::ALL.into_iter().all(|a| installed.path(a).is_none() && *installed.state(a) == State::NotThere));
        assert_eq!(installed.damaged(), Vec::<String>::new());
        assert_eq!(installed.geo(), None);
    }
    assert!(!machine.cache().exists(), "to look is not to write");
}

#[test]
fn one_process_writes_at_a_time() {
    let machine = Machine::new();
    let held = machine.store();
    let Err(e) = Store::open(&machine.cache(), Arc::new(RealFs)) else { panic!("two at once") };
    assert!(e.to_string().contains(&format!("in use by process {}", std::process::id())), "{e}");
    drop(held);
    machine.store();
}
