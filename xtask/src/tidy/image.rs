//! The Dockerfile: what it copies is there and is sent to the builder, and its toolchain is ours. That its commands, flags
//! and variables exist is a test of the binary (`crates/cli/tests/image.rs`).

use std::path::Path;

use super::{File, Finding, text_of};

const DOCKERFILE: &str = "Dockerfile";
const IGNORE: &str = ".dockerignore";

pub fn check(files: &[File]) -> Vec<Finding> {
    let text = text_of(files, DOCKERFILE);
    if text.is_empty() {
        return vec![Finding::error(format!("{DOCKERFILE} is not there"))];
    }
    let mut findings = Vec::new();
    let (mut systems, mut workspace) = (Vec::new(), Vec::new());
    for (n, line) in text.lines().enumerate() {
        let mut error = |what: String| findings.push(Finding::error(format!("{DOCKERFILE}:{}: {what}", n + 1)));
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["FROM", image, ..] => {
                let (name, tag) = image.split_once(':').unwrap_or((image, ""));
                systems.extend(tag.split('-').find(|t| t.len() > 4 && t.bytes().all(|b| b.is_ascii_lowercase())));
                let ours = rust_version(files);
                if name == "rust" && tag.split('-').next() != Some(ours) {
                    error(format!("it builds with `{image}`, and rust-version in Cargo.toml is {ours}"));
                }
            }
            ["COPY", first, ..] if first.starts_with("--from=") => {}
            ["COPY", sources @ .., _] => {
                for source in sources {
                    if !files.iter().any(|f| f.path.starts_with(source)) {
                        error(format!("there is no `{source}`"));
                    }
                    if !is_sent(text_of(files, IGNORE), source) {
                        error(format!("`{source}` is not sent to the builder: name it in {IGNORE}"));
                    }
                    workspace.push(*source);
                }
            }
            _ => {}
        }
    }
    systems.dedup();
    if systems.len() > 1 {
        let what = format!("it builds on {} and runs on {}: their C libraries differ", systems[0], systems[1]);
        findings.push(Finding::error(format!("{DOCKERFILE}: {what}")));
    }
    // Cargo refuses a workspace with a member that is not there.
    let manifests = files.iter().filter(|f| f.path.file_name().is_some_and(|n| n == "Cargo.toml"));
    for manifest in manifests.map(|f| f.path.as_path()) {
        if !workspace.iter().any(|source| manifest.starts_with(source)) {
            findings.push(Finding::error(format!("{DOCKERFILE} does not copy {}", manifest.display())));
        }
    }
    findings
}

/// `1.95` of `rust-version = "1.95"`.
fn rust_version(files: &[File]) -> &str {
    let line = text_of(files, "Cargo.toml").lines().find_map(|l| l.strip_prefix("rust-version = \""));
    line.and_then(|l| l.strip_suffix('"')).unwrap_or("?")
}

/// Whether a list that begins with `*` names the path behind a `!`. Of a list of another form nothing is known, so nothing
/// is sent.
fn is_sent(ignore: &str, source: &str) -> bool {
    let mut lines = ignore.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.next() == Some("*") && lines.any(|l| l.strip_prefix('!').is_some_and(|l| Path::new(source).starts_with(l)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: Some(text.to_owned()) }
    }

    fn found(dockerfile: &str, ignore: &str) -> Vec<String> {
        let files = [
            file(DOCKERFILE, dockerfile),
            file(IGNORE, ignore),
            file("Cargo.toml", "[workspace.package]\nrust-version = \"1.95\"\n"),
            file("crates/a/Cargo.toml", ""),
        ];
        check(&files).iter().map(|f| format!("{f:?}")).collect()
    }

    #[test]
    fn what_would_not_build_is_found() {
        let good = "FROM rust:1.95-slim-trixie AS build\nCOPY Cargo.toml ./\nCOPY crates crates\nFROM debian:trixie-slim\nCOPY --from=build /x /y\n";
        let ignore = "# nothing\n*\n!Cargo.toml\n!crates\n";
        assert_eq!(found(good, ignore), Vec::<String>::new());
        for (from, to, says) in [
            ("1.95", "1.94", "rust-version in Cargo.toml is 1.95"),
            ("COPY crates crates", "COPY crates crates\nCOPY docs docs", "there is no `docs`"),
            ("COPY crates crates", "", "does not copy crates/a/Cargo.toml"),
            ("debian:trixie", "debian:bookworm", "builds on trixie and runs on bookworm"),
        ] {
            let said = found(&good.replace(from, to), ignore).join("\n");
            assert!(said.contains(says), "{says}: {said}");
        }
        for ignore in ["", "*\n!Cargo.toml\n", "target\n"] {
            assert!(found(good, ignore).join("\n").contains("`crates` is not sent"), "{ignore}");
        }
        assert_eq!(check(&[]).len(), 1);
    }
}
