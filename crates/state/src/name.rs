//! What an object may be called: what every store takes, and gives back as it was. Names come out of manifests, which may be
//! anybody's: none leads out of the place that a store is.

use std::io;

/// The longest part of a name in bytes: file systems take 255, and an unfinished file has more to its name.
const PART_MAX: usize = 200;
/// The longest name in bytes: S3's keys have 1,024, with whatever prefix the store has.
pub const NAME_MAX: usize = 700;

/// What the names of files that are no objects end with.
pub const UNFINISHED: &str = ".tmp";

/// `InvalidInput`: no store takes it.
pub fn check(name: &str) -> io::Result<()> {
    if name.len() <= NAME_MAX && name.split('/').all(is_part) { Ok(()) } else { Err(refused()) }
}

/// The same for what a list is asked for: empty, or a name and a slash.
pub fn check_prefix(prefix: &str) -> io::Result<()> {
    match prefix.strip_suffix('/') {
        Some(name) => check(name),
        None if prefix.is_empty() => Ok(()),
        None => Err(refused()),
    }
}

/// Whether it may stand between two slashes. Spaces at the ends, control characters and what XML cannot have do not survive a
/// list of S3's; a dot at the beginning hides a file, or leads elsewhere.
pub fn is_part(part: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !matches!(c, '\\' | '\u{fffe}' | '\u{ffff}');
    !part.is_empty()
        && part.len() <= PART_MAX
        && !part.starts_with('.')
        && !part.ends_with(UNFINISHED)
        && part.trim() == part
        && part.chars().all(is_plain)
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no name of an object")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for fine in ["a", "a/0/b.part", "SAVEPOINT", "über %2F+?&#=", "a/0/b c"] {
            assert!(check(fine).is_ok(), "{fine:?}");
        }
        let long = ["a/".repeat(400), "a".repeat(PART_MAX + 1)];
        let wrong =
            ["", "/", "a/", "/a", "a//b", ".", "a/../b", ".a", "a/b.tmp", "a\\b", "a\0", "a\n", " a", "a ", "\u{ffff}"];
        for wrong in wrong.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(check(wrong).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput), "{wrong:?}");
        }
        for (prefix, fine) in [("", true), ("a/", true), ("a/0/", true), ("a", false), ("/", false), ("../", false)] {
            assert_eq!(check_prefix(prefix).is_ok(), fine, "{prefix:?}");
        }
    }
}
