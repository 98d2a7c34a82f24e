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

/// The cases of a `test_*.yaml` of uap-core: a map each, absent texts left out.
pub fn cases(path: &str) -> Vec<std::collections::BTreeMap<String, String>> {
    let text = std::fs::read_to_string(data(path)).expect("readable");
    let mut cases = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with("- ") {
            cases.push(std::collections::BTreeMap::new());
        }
        let (Some(case), Some((key, value))) = (cases.last_mut(), line.trim_start_matches("- ").split_once(':')) else {
            continue;
        };
        let value = value.trim();
        let text = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).map(str::to_owned);
        let text = text.or_else(|| Some(value.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'")));
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            case.insert(key.to_owned(), text);
        } else {
            assert!(matches!(value, "" | "''"), "{path}: a text of another shape: {line}");
            case.insert(key.to_owned(), String::new());
        }
    }
    cases
}
