//! What no file may hold, links that lead nowhere, and files that grew long.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{File, Finding};

/// Past this many lines a file is probably more than one noun.
const LONG: usize = 700;

/// A string no file may hold, and why. Written in two halves, so that this list does not find itself.
struct Forbidden {
    halves: (&'static str, &'static str),
    /// Only in files of this extension; empty: in all texts.
    extension: &'static str,
    why: &'static str,
}

const FORBIDDEN: [Forbidden; 13] = [
    rust("to", "do!(", "finish it, or leave it out"),
    rust("unimple", "mented!(", "finish it, or leave it out"),
    rust("FIX", "ME", "mend it, or file it"),
    rust("HA", "CK", "a comment that apologises"),
    rust("XX", "X:", "a comment that apologises"),
    text("/ro", "ot/", "a path of one machine"),
    text("/wo", "rk/", "a path of one machine"),
    text("index.cra", "tes.io", "registries are the client's business"),
    text("static.cra", "tes.io", "registries are the client's business"),
    text("registry.np", "mjs.org", "registries are the client's business"),
    text("https://py", "pi.org", "registries are the client's business"),
    text("files.python", "hosted.org", "registries are the client's business"),
    text("BEGIN PRIV", "ATE KEY", "a secret"),
];

const fn rust(a: &'static str, b: &'static str, why: &'static str) -> Forbidden {
    Forbidden { halves: (a, b), extension: "rs", why }
}

const fn text(a: &'static str, b: &'static str, why: &'static str) -> Forbidden {
    Forbidden { halves: (a, b), extension: "", why }
}

/// Other people's data and generated lists: what stands in them is not ours to mend.
fn is_foreign(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let data = ["log", "ndjson", "csv"].iter().any(|e| path.extension().is_some_and(|x| x == *e));
    name.ends_with(".lock") || name == "deny.toml" || name == "LICENSE" || (path.starts_with("examples") && data)
}

/// `here` are paths of this machine (its home, this checkout), which no file may hold either.
pub fn forbidden(files: &[File], here: &[String]) -> Vec<Finding> {
    let mut needles: Vec<(String, &str, &str)> = Vec::new();
    needles.extend(FORBIDDEN.iter().map(|r| (format!("{}{}", r.halves.0, r.halves.1), r.extension, r.why)));
    needles.extend(here.iter().map(|path| (path.clone(), "", "a path of this machine")));
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| !is_foreign(&f.path)) {
        let Some(text) = &file.text else { continue };
        for (needle, _, why) in needles.iter().filter(|n| n.1.is_empty() || file.has_extension(n.1)) {
            for (n, line) in text.lines().enumerate() {
                // A path stands alone: `/v1/work/x` and `https://host/home/` are none.
                let alone = |at: usize| {
                    !needle.starts_with('/')
                        || !line[..at].ends_with(|c: char| c.is_alphanumeric() || ".~_-:/}*".contains(c))
                };
                if line.match_indices(needle.as_str()).any(|(at, _)| alone(at)) {
                    findings.push(Finding::error(format!("{}:{}: `{needle}`: {}", file.path.display(), n + 1, why)));
                }
            }
        }
    }
    findings
}

/// Standard output belongs to the commands: `--output -` and `--json` are read by programs.
pub fn prints(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rooms = files.iter().filter(|f| f.has_extension("rs") && f.path.components().any(|c| c.as_os_str() == "src"));
    for file in rooms.filter(|f| f.path.starts_with("crates") && !f.path.starts_with("crates/cli")) {
        let text = file.text.as_deref().unwrap_or("");
        let code = text.split("\n#[cfg(test)]").next().unwrap_or("");
        for (n, line) in code.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("println!(") || line.starts_with("print!(") {
                findings.push(Finding::error(format!("{}:{}: only `cli` prints", file.path.display(), n + 1)));
            }
        }
    }
    findings
}

/// Links of Markdown files to files and headings of this repository.
pub fn links(root: &Path, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known: BTreeSet<&Path> = files.iter().map(|f| f.path.as_path()).collect();
    for file in files.iter().filter(|f| f.has_extension("md")) {
        let Some(text) = &file.text else { continue };
        for (n, target) in targets(text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match path {
                "" => file.path.clone(),
                path => normal(&file.path.parent().unwrap_or(Path::new("")).join(path)),
            };
            let found =
                known.contains(path.as_path()) || known.iter().any(|k| k.starts_with(&path)) || path == Path::new("");
            if !found {
                let there = if root.join(&path).exists() { " (it exists, but is not tracked)" } else { "" };
                findings.push(Finding::error(format!(
                    "{}:{n}: the link to `{target}` leads nowhere{there}",
                    file.path.display()
                )));
            } else if !anchor.is_empty() && path.extension().is_some_and(|e| e == "md") {
                let text = files.iter().find(|f| f.path == path).and_then(|f| f.text.as_deref()).unwrap_or("");
                if !headings(text).contains(anchor) {
                    findings.push(Finding::error(format!(
                        "{}:{n}: `{}` has no heading for `#{anchor}`",
                        file.path.display(),
                        path.display()
                    )));
                }
            }
        }
    }
    findings
}

/// Paths of this repository that Markdown names in code spans: they move less often than links, but they move.
pub fn paths(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|f| f.has_extension("md")) {
        for (n, line) in unfenced(file.text.as_deref().unwrap_or("")) {
            for span in line.split('`').skip(1).step_by(2) {
                let ours = ["crates/", "docs/", "xtask/", "examples/"].iter().any(|dir| span.starts_with(dir));
                let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
                if ours && plain && !files.iter().any(|f| f.path.starts_with(span)) {
                    findings.push(Finding::error(format!("{}:{n}: there is no `{span}`", file.path.display())));
                }
            }
        }
    }
    findings
}

/// Files that are probably more than one noun: for a person to judge.
pub fn long(files: &[File]) -> Vec<Finding> {
    let mut long: Vec<(usize, &Path)> = files
        .iter()
        .filter(|f| f.has_extension("rs"))
        .map(|f| (f.text.as_deref().unwrap_or("").lines().count(), f.path.as_path()))
        .filter(|(lines, _)| *lines > LONG)
        .collect();
    long.sort_by(|a, b| b.cmp(a));
    long.iter().map(|(lines, path)| Finding::Warning(format!("{}: {lines} lines", path.display()))).collect()
}

/// The targets of `[text](target)` with their lines, code left out.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (n, line) in prose(text) {
        let mut rest = line.as_str();
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let Some(end) = rest.find(')') else { break };
            found.push((n, rest[..end].split_whitespace().next().unwrap_or("").to_owned()));
            rest = &rest[end..];
        }
    }
    found
}

/// The anchors GitHub makes of headings: lower case, spaces to hyphens, punctuation gone.
fn headings(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// The lines outside code fences, with code spans emptied in all but headings.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    unfenced(text).map(|(n, line)| match line.starts_with('#') {
        true => (n, line.to_owned()),
        false => (n, line.split('`').step_by(2).collect::<Vec<_>>().join("``")),
    })
}

/// The lines outside code fences, numbered from 1.
fn unfenced(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(n, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fence && !fenced).then_some((n + 1, line))
    })
}

/// `a/../b` is `b`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: Some(text.to_owned()) }
    }

    #[test]
    fn every_forbidden_string_is_found() {
        for rule in FORBIDDEN {
            let line = format!(" {}{}x", rule.halves.0, rule.halves.1);
            assert_eq!(forbidden(&[file("crates/a/src/a.rs", &line)], &[]).len(), 1, "{line}");
            assert_eq!(forbidden(&[file("Cargo.lock", &line)], &[]).len(), 0, "{line}");
        }
    }

    #[test]
    fn part_of_a_longer_path_is_no_machine_path() {
        for line in ["https://example.com/home/", "GET /v1/work/3", "$DIR/root/"] {
            assert_eq!(forbidden(&[file("a.md", line)], &[]), vec![], "{line}");
        }
    }

    #[test]
    fn a_path_of_this_machine_is_found() {
        let here = ["/srv/people/alice".to_owned()];
        assert_eq!(forbidden(&[file("a.toml", "dir = \"/srv/people/alice/x\"")], &here).len(), 1);
    }

    #[test]
    fn only_the_commands_and_tests_print() {
        let text = "fn a() {\n    println!(\"x\");\n}\n\n#[cfg(test)]\nmod tests {\n    println!(\"y\");\n}\n";
        let files = ["crates/node/src/a.rs", "crates/node/tests/a.rs", "crates/cli/src/a.rs"].map(|p| file(p, text));
        assert_eq!(prints(&files), vec![Finding::error("crates/node/src/a.rs:2: only `cli` prints")]);
    }

    #[test]
    fn links_resolve() {
        let files = [
            file(
                "docs/a.md",
                "# A & `b`\n[x](b.md#one-two) [y](../README.md) [z](https://x/y) `[c](no.md)`\n```\n[c](no.md)\n```\n[s](#a--b)",
            ),
            file("docs/b.md", "## One, two"),
            file("README.md", "[docs](docs/) [bad](docs/c.md) [bad](docs/b.md#three)"),
        ];
        let found = links(Path::new("/nowhere"), &files);
        assert_eq!(
            found,
            vec![
                Finding::error("README.md:1: the link to `docs/c.md` leads nowhere"),
                Finding::error("README.md:1: `docs/b.md` has no heading for `#three`"),
            ]
        );
    }

    #[test]
    fn paths_in_code_spans_exist() {
        let files = [
            file(
                "ARCHITECTURE.md",
                "see `crates/a`, `crates/a/src/lib.rs`, `crates/b/<x>.rs`\n```\n`crates/no`\n```\n`docs/no.md`",
            ),
            file("crates/a/src/lib.rs", ""),
        ];
        assert_eq!(paths(&files), vec![Finding::error("ARCHITECTURE.md:5: there is no `docs/no.md`")]);
    }

    #[test]
    fn long_files_are_listed_longest_first() {
        let files = [file("a.rs", &"\n".repeat(701)), file("b.rs", &"\n".repeat(900)), file("c.rs", &"\n".repeat(700))];
        let found = long(&files);
        assert_eq!(found, vec![Finding::Warning("b.rs: 900 lines".into()), Finding::Warning("a.rs: 701 lines".into())]);
    }
}
