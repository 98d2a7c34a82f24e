//! Directories: of one process, and shared.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use ouzel_state::{Directory, Store};
use seam::{Fs, RealFs};

use crate::conformance::{STORIES, bytes, put};
use crate::support::Hand;

static RANDOM: AtomicU64 = AtomicU64::new(1);

fn shared(root: &Path, clock: &Arc<Hand>) -> Arc<dyn Store> {
    Arc::new(Directory::shared(Arc::new(RealFs), root, clock.clone(), RANDOM.fetch_add(1, SeqCst)))
}

fn files(dir: &Path) -> Vec<String> {
    RealFs.list(dir).expect("it is there")
}

#[test]
fn a_directory_that_is_shared_conforms() {
    for (name, story) in STORIES {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Hand::new();
        eprintln!("{name}");
        story(&|| shared(&dir.path().join("state"), &clock));
    }
}

#[test]
fn a_directory_of_one_process_conforms() {
    // Who writes a name is decided by whoever has the partition.
    for (name, story) in STORIES.into_iter().filter(|(name, _)| !name.contains("one wins")) {
        let dir = tempfile::tempdir().expect("a directory");
        let store: Arc<dyn Store> = Arc::new(Directory::new(Arc::new(RealFs), &dir.path().join("state")));
        // Its unfinished file has one name, so this process writes a partition in one thread.
        let alone = Arc::new(Alone { store, turn: std::sync::Mutex::new(()) });
        eprintln!("{name}");
        story(&|| Arc::clone(&alone) as Arc<dyn Store>);
    }
}

/// One call at a time.
struct Alone {
    store: Arc<dyn Store>,
    turn: std::sync::Mutex<()>,
}

impl Store for Alone {
    fn put_if_absent(&self, name: &str, bytes: &[u8], hurry: &std::sync::atomic::AtomicBool) -> std::io::Result<bool> {
        let _turn = self.turn.lock().expect("whole");
        self.store.put_if_absent(name, bytes, hurry)
    }
    fn get(&self, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        self.store.get(name)
    }
    fn list(&self, prefix: &str) -> std::io::Result<Vec<String>> {
        self.store.list(prefix)
    }
    fn delete(&self, names: &[String]) -> std::io::Result<()> {
        self.store.delete(names)
    }
}

#[test]
fn two_owners_of_one_partition_write_side_by_side() {
    let dir = tempfile::tempdir().expect("a directory");
    let (root, clock) = (dir.path().join("state"), Hand::new());
    let owners = [shared(&root, &clock), shared(&root, &clock)];
    std::thread::scope(|scope| {
        for (n, owner) in owners.iter().enumerate() {
            scope.spawn(move || {
                for serial in 0..40 {
                    let bytes = bytes((n * 100 + serial) as u64, 150_000);
                    assert!(put(&**owner, &format!("sessions/0/{serial:03}-{n}.part"), &bytes));
                }
            });
        }
    });
    let names = owners[0].list("sessions/0/").expect("listed");
    assert_eq!(names.len(), 80);
    for (at, name) in names.iter().enumerate() {
        let expected = bytes((at % 2 * 100 + at / 2) as u64, 150_000);
        assert!(owners[1].get(name).expect("read") == Some(expected), "{name}");
    }
    assert_eq!(files(&root.join("sessions/0")).len(), 80, "nothing unfinished is left");
}

#[test]
fn what_a_killed_writer_left_goes_when_nobody_can_be_writing_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (root, clock) = (dir.path().join("state"), Hand::new());
    let store = shared(&root, &clock);
    assert!(put(&*store, "sessions/0/whole", b"x"));
    let partition = root.join("sessions/0");
    let left = "00000000deadbeef-0.tmp";
    RealFs.open(&partition.join(left), true).expect("left");
    for minutes in [0, 4, 4] {
        clock.forward(minutes * 60);
        assert_eq!(store.list("sessions/0/").expect("listed"), ["sessions/0/whole"], "it is no object");
        assert_eq!(files(&partition), [left, "whole"], "its writer may be at work");
    }
    clock.forward(3 * 60);
    store.list("sessions/0/").expect("listed");
    assert_eq!(files(&partition), ["whole"]);
    // One that comes and goes begins anew.
    RealFs.open(&partition.join(left), true).expect("left");
    store.list("sessions/0/").expect("listed");
    assert_eq!(files(&partition).len(), 2);
}

#[test]
fn a_writer_whose_file_was_removed_meanwhile_says_so() {
    /// Removes what is about to get its name, as a process does that thinks nobody finishes it.
    struct Meddling(RealFs);
    impl Fs for Meddling {
        fn open(&self, path: &Path, create: bool) -> std::io::Result<Arc<dyn seam::File>> {
            self.0.open(path, create)
        }
        fn open_read(&self, path: &Path) -> std::io::Result<Arc<dyn seam::File>> {
            self.0.open_read(path)
        }
        fn create_dir_all(&self, path: &Path) -> std::io::Result<()> {
            self.0.create_dir_all(path)
        }
        fn list(&self, dir: &Path) -> std::io::Result<Vec<String>> {
            self.0.list(dir)
        }
        fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
            self.0.remove(from)?;
            self.0.rename(from, to)
        }
        fn remove(&self, path: &Path) -> std::io::Result<()> {
            self.0.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> std::io::Result<()> {
            self.0.sync_dir(dir)
        }
        fn exists(&self, path: &Path) -> bool {
            self.0.exists(path)
        }
        fn space(&self, path: &Path) -> std::io::Result<(u64, u64)> {
            self.0.space(path)
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let store = Directory::shared(Arc::new(Meddling(RealFs)), dir.path(), Hand::new(), 1);
    let hurry = std::sync::atomic::AtomicBool::new(true);
    let why = store.put_if_absent("sessions/0/x", b"x", &hurry).expect_err("it is not there");
    assert_eq!(why.kind(), std::io::ErrorKind::NotFound);
    assert_eq!(store.get("sessions/0/x").expect("read"), None);
}
