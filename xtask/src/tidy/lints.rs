//! Clippy reads the `clippy.toml` nearest above a crate's manifest and none above that one, so every crate gets the
//! whole of its configuration as a copy of one of three originals.
//!
//! * `xtask/clippy/pure.toml` -> `crates/<pure crate>/clippy.toml`
//! * `xtask/clippy/edge.toml` -> `clippy.toml`, for every crate without a file of its own
//! * `xtask/clippy/world.toml` -> the crates that are the real world: the binary, the chores, the simulator

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{File, Finding, layers, text_of};
use crate::workspace::Member;

const EDGE: &str = "xtask/clippy/edge.toml";
const PURE: &str = "xtask/clippy/pure.toml";
const WORLD: &str = "xtask/clippy/world.toml";

/// They run processes, read what people name on a command line, and measure: the seams are handed out here.
const WORLDS: [&str; 3] = ["cli", "sim", "xtask"];

/// Where each copy lies and what it is a copy of.
fn copies(members: &[Member]) -> Vec<(PathBuf, &'static str)> {
    let mut copies = vec![(PathBuf::from("clippy.toml"), EDGE)];
    for member in members {
        if layers::of(member.name()).is_some_and(|l| l.pure) {
            copies.push((member.dir.join("clippy.toml"), PURE));
        } else if WORLDS.contains(&member.name()) {
            copies.push((member.dir.join("clippy.toml"), WORLD));
        }
    }
    copies
}

pub fn check(members: &[Member], files: &[File]) -> Vec<Finding> {
    let copies = copies(members);
    let mut findings = Vec::new();
    for (path, original) in &copies {
        let found = text_of(files, &path.display().to_string());
        if found.is_empty() {
            findings.push(Finding::error(format!("{} is not there: `cargo xtask tidy --fix`", path.display())));
        } else if found != copy_of(original, text_of(files, original)) {
            findings.push(Finding::error(format!(
                "{} is not a copy of {original}: change that one, then `cargo xtask tidy --fix`",
                path.display()
            )));
        }
    }
    for file in files.iter().filter(|f| f.path.file_name().is_some_and(|n| n == "clippy.toml")) {
        if !copies.iter().any(|(path, _)| *path == file.path) {
            findings.push(Finding::error(format!("{}: this crate has no lints of its own", file.path.display())));
        }
    }
    for member in members {
        let manifest = member.dir.join("Cargo.toml");
        if !text_of(files, &manifest.display().to_string()).contains("[lints]\nworkspace = true") {
            findings.push(Finding::error(format!("{}: `[lints] workspace = true` is missing", manifest.display())));
        }
    }
    findings
}

/// Writes every copy anew.
pub fn write(root: &Path, members: &[Member]) -> Result<()> {
    for (path, original) in copies(members) {
        let text = copy_of(original, &std::fs::read_to_string(root.join(original))?);
        if std::fs::read_to_string(root.join(&path)).ok().as_deref() != Some(&text) {
            std::fs::write(root.join(&path), text)?;
        }
    }
    Ok(())
}

fn copy_of(original: &str, text: &str) -> String {
    format!("# A copy of {original}, made by `cargo xtask tidy --fix`.\n{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_edited_is_found() {
        let members = [Member {
            package: "ouzel-event".into(),
            dir: "crates/event".into(),
            dependencies: Vec::new(),
            features: Default::default(),
        }];
        let file = |path: &str, text: &str| File { path: path.into(), text: Some(text.to_owned()) };
        let mut files = vec![
            file(PURE, "a = 1\n"),
            file(EDGE, "b = 1\n"),
            file("clippy.toml", &copy_of(EDGE, "b = 1\n")),
            file("crates/event/clippy.toml", &copy_of(PURE, "a = 1\n")),
            file("crates/event/Cargo.toml", "[lints]\nworkspace = true\n"),
        ];
        assert_eq!(check(&members, &files), vec![]);
        files[3].text = Some(copy_of(PURE, "a = 2\n"));
        assert_eq!(check(&members, &files).len(), 1);
        files[4].text = Some(String::new());
        assert_eq!(check(&members, &files).len(), 2);
    }
}
