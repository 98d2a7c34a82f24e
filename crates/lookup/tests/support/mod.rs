//! What these tests share: where the real data is, and a writer of small databases.

#![allow(dead_code)] // each test file uses its own part
#![allow(clippy::disallowed_methods)] // it looks at the test data

pub mod writer;

use std::path::PathBuf;

/// The folder of real data. Absent data fails the test: a test that is skipped in silence proves nothing.
pub fn data(path: &str) -> PathBuf {
    let root = std::env::var_os("OUZEL_TEST_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = root.join(path);
    assert!(path.exists(), "{} is absent: set OUZEL_TEST_DATA to the folder of test data", path.display());
    path
}

/// Files below a folder of the data whose name ends so, sorted.
pub fn files(folder: &str, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![data(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable folder") {
            let path = entry.expect("readable entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
