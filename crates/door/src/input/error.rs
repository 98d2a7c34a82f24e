//! Why an input could not be read: the texts that somebody sees at three in the morning.

use std::io;
use std::path::{Path, PathBuf};

use log::LogError;

/// What stops an input. What was committed before stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("there is no file {}{}", path.display(), did_you_mean(path, near))]
    NotFound {
        path: PathBuf,
        /// Names in the same directory that look like it, the nearest first.
        near: Vec<String>,
    },
    #[error("{} may not be read by this user; check the permissions of the file and of the directories above it", path.display())]
    Permission { path: PathBuf },
    #[error("{} is a directory; --input takes one file{}", path.display(), for_example(example))]
    Directory { path: PathBuf, example: Option<String> },
    #[error("{name} cannot be read at byte {at}: {source}")]
    Read {
        name: String,
        at: u64,
        #[source]
        source: io::Error,
    },
    /// Compressed in a way that is not taken, or something else that is no text.
    #[error("{name} is {what}; {hint}")]
    NotText { name: String, what: &'static str, hint: &'static str },
    #[error(
        "{name} grows more than {max_ratio} times when decompressed; if that is meant, decompress it yourself (`zcat FILE | ouzel run --input -`, or `zstdcat`)"
    )]
    Grows { name: String, max_ratio: u32 },
    #[error(
        "{name}: {what}. The events before that are stored; when the file is whole again, run the same command to go on from there"
    )]
    Damaged { name: String, what: String },
    /// Every record so far was malformed: most likely the wrong preset, so reading stopped.
    #[error("{name}: {}{}. No event was stored. The first failure: {first}", all_malformed(*count), and(looks))]
    Malformed {
        name: String,
        count: u64,
        /// What the input looks like and the flag to add, if that can be told; else empty.
        looks: String,
        first: String,
    },
    #[error("{name}: the first line is no CSV header: {what}. Nothing was stored")]
    Header { name: String, what: String },
    #[error("the log does not take events any more: {0}")]
    Refused(log::Aborted),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Who can do something about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The command line: another path, another preset.
    FixConfig,
    /// The input's bytes.
    FixInput,
    /// Permissions, disks.
    Environment,
    /// The log; see [`LogError`].
    Log,
}

impl InputError {
    pub fn kind(&self) -> Kind {
        match self {
            InputError::NotFound { .. } | InputError::Directory { .. } | InputError::Malformed { .. } => {
                Kind::FixConfig
            }
            InputError::NotText { .. }
            | InputError::Grows { .. }
            | InputError::Damaged { .. }
            | InputError::Header { .. } => Kind::FixInput,
            InputError::Permission { .. } | InputError::Read { .. } => Kind::Environment,
            InputError::Refused(_) | InputError::Log(_) => Kind::Log,
        }
    }

    /// The error for a path that could not be opened.
    pub(super) fn opening(path: &Path, e: io::Error) -> InputError {
        match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                InputError::NotFound { path: path.to_owned(), near: near_names(path) }
            }
            io::ErrorKind::PermissionDenied => InputError::Permission { path: path.to_owned() },
            _ => InputError::Read { name: path.display().to_string(), at: 0, source: e },
        }
    }

    pub(super) fn directory(path: &Path) -> InputError {
        InputError::Directory { path: path.to_owned(), example: names_in(path).into_iter().next() }
    }
}

#[allow(clippy::disallowed_methods)] // looking at the user's own files is what this room is for
fn did_you_mean(path: &Path, near: &[String]) -> String {
    match near {
        [] => match path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()) {
            Some(dir) => format!(": there is no directory {}", dir.display()),
            None => String::new(),
        },
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

fn for_example(example: &Option<String>) -> String {
    example.as_ref().map_or(String::new(), |name| format!(", for example {name}"))
}

fn all_malformed(count: u64) -> String {
    match count {
        1 => "its only record is malformed".to_owned(),
        n => format!("its first {n} records are all malformed"),
    }
}

fn and(looks: &str) -> String {
    if looks.is_empty() { String::new() } else { format!("; {looks}") }
}

/// At most this many names are proposed, and this many entries of a directory are looked at.
const NEAR_MAX: usize = 3;
const ENTRIES_MAX: usize = 10_000;

/// Names of files in `dir`, sorted.
#[allow(clippy::disallowed_methods)] // looking at the user's own files is what this room is for
fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .take(ENTRIES_MAX)
        .filter(|e| e.file_type().is_ok_and(|t| !t.is_dir()))
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn near_names(path: &Path) -> Vec<String> {
    let Some(wanted) = path.file_name().map(|n| n.to_string_lossy().to_lowercase()) else { return Vec::new() };
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut near: Vec<(usize, String)> = names_in(dir)
        .into_iter()
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let cost = if lower.starts_with(&wanted) { 1 } else { distance(&lower, &wanted) };
            (cost <= (wanted.chars().count() / 3).max(1)).then_some((cost, name))
        })
        .collect();
    near.sort();
    near.into_iter().take(NEAR_MAX).map(|(_, name)| dir_join(path, &name)).collect()
}

/// The name as the user would write it: below the same directory.
fn dir_join(path: &Path, name: &str) -> String {
    path.with_file_name(name).display().to_string()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("", "ab", 2), ("abc", "acb", 2)] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }
}
