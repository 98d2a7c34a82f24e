//! Where things are: the root, the test data, and the workspace as Cargo sees it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Stop, step};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies one level below the root").to_owned()
}

/// The directory of real test data, absolute. An error when it is not there: tests that skip it would prove nothing.
pub fn test_data() -> Result<PathBuf> {
    let dir = match std::env::var_os("OUZEL_TEST_DATA") {
        Some(dir) => PathBuf::from(dir),
        None => root().join("../shared/data"),
    };
    dir.canonicalize().map_err(|e| {
        Stop::missing(format!(
            "the test data is not at {} ({e}). Set OUZEL_TEST_DATA to the directory that holds weblogs/, clicks/, geo/ \
             (docs/testing.md lists its contents)",
            dir.display()
        ))
        .into()
    })
}

/// A package of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    /// As Cargo knows it: `ouzel-event`.
    pub package: String,
    /// Its folder, relative to the root: `crates/event`.
    pub dir: PathBuf,
    pub dependencies: Vec<Dependency>,
    pub features: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub package: String,
    pub kind: Kind,
    /// Ours, by path.
    pub ours: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Normal,
    Build,
    Dev,
}

impl Member {
    /// The folder's name, which is how people and the layer table call it.
    pub fn name(&self) -> &str {
        self.dir.file_name().and_then(|n| n.to_str()).unwrap_or(&self.package)
    }
}

/// The workspace's packages, without resolving what they depend on; sorted by folder.
pub fn members() -> Result<Vec<Member>> {
    let text =
        step::output(step::cargo().current_dir(root()).args(["metadata", "--format-version", "1", "--no-deps"]))?;
    parse_members(&serde_json::from_str(&text).context("cargo metadata")?, &root())
}

fn parse_members(metadata: &Value, root: &Path) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for package in metadata["packages"].as_array().context("no `packages` in cargo metadata")? {
        let manifest = Path::new(package["manifest_path"].as_str().context("no manifest_path")?);
        let dir = manifest.parent().context("a manifest at the root of the file system")?;
        let mut dependencies = Vec::new();
        for dependency in package["dependencies"].as_array().context("no `dependencies`")? {
            dependencies.push(Dependency {
                package: dependency["name"].as_str().context("a dependency without a name")?.to_owned(),
                kind: match dependency["kind"].as_str() {
                    None => Kind::Normal,
                    Some("build") => Kind::Build,
                    Some(_) => Kind::Dev,
                },
                ours: dependency["path"].is_string(),
            });
        }
        members.push(Member {
            package: package["name"].as_str().context("a package without a name")?.to_owned(),
            dir: dir.strip_prefix(root).unwrap_or(dir).to_owned(),
            dependencies,
            features: package["features"].as_object().map(|f| f.keys().cloned().collect()).unwrap_or_default(),
        });
    }
    members.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(members)
}

/// Every file of the repository, relative to the root and sorted: what git tracks, or without git all but what
/// `.gitignore` names.
pub fn files() -> Result<Vec<PathBuf>> {
    let root = root();
    let listed = std::process::Command::new("git")
        .current_dir(&root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output();
    let mut files = Vec::new();
    match listed {
        Ok(out) if out.status.success() => {
            files.extend(
                out.stdout
                    .split(|&b| b == 0)
                    .filter(|n| !n.is_empty())
                    .map(|n| PathBuf::from(String::from_utf8_lossy(n).into_owned())),
            );
        }
        _ => walk(&root, Path::new(""), &mut files)?,
    }
    // A file that is deleted but not yet committed is still in git's list.
    files.retain(|f| root.join(f).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(dir))? {
        let entry = entry?;
        let path = dir.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if ![".git", "target", "ouzel-data"].iter().any(|skip| entry.file_name() == *skip) {
                walk(root, &path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}
