//! What must have a page, a room or a line in the documents.

use std::collections::BTreeSet;
use std::path::Path;

use super::{File, Finding, text_of};
use crate::workspace::Member;

/// Each crate opens with what it is, and has a room in ARCHITECTURE.md.
pub fn crates(members: &[Member], files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let map = text_of(files, "ARCHITECTURE.md");
    for member in members {
        let dir = member.dir.display().to_string();
        let roots = ["src/lib.rs", "src/main.rs"].map(|f| format!("{dir}/{f}"));
        let opened: Vec<&str> = roots.iter().map(|r| text_of(files, r)).filter(|t| !t.is_empty()).collect();
        if opened.iter().any(|text| !text.starts_with("//!")) {
            findings.push(Finding::error(format!("{dir}: its first lines must say what the room is (`//!`)")));
        }
        if !map.contains(&format!("`{dir}`")) {
            findings.push(Finding::error(format!("ARCHITECTURE.md has no room `{dir}`")));
        }
    }
    findings
}

/// Where the failure codes stand.
const CODES: &str = "crates/event/src/failure.rs";

/// Each failure code has a page under its own name, and each page a code.
pub fn failures(files: &[File]) -> Vec<Finding> {
    let codes = codes(text_of(files, CODES));
    if codes.is_empty() {
        return vec![Finding::error(format!("{CODES}: no failure codes found; this rule reads lines of its table"))];
    }
    let mut findings = Vec::new();
    let mut pages: BTreeSet<String> = files
        .iter()
        .filter(|f| f.path.parent() == Some(Path::new("docs/failures")) && f.has_extension("md"))
        .filter_map(|f| f.path.file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    for (code, outcome, meaning) in &codes {
        let path = format!("docs/failures/{code}.md");
        if !pages.remove(code) {
            findings.push(Finding::error(format!("the failure `{code}` has no page: write {path}")));
            continue;
        }
        let text = text_of(files, &path);
        for expected in [format!("# {code}\n"), format!("**{outcome}.**"), meaning.clone()] {
            if !text.contains(&expected) {
                findings.push(Finding::error(format!("{path} does not say `{}` as {CODES} does", expected.trim_end())));
            }
        }
        if !text_of(files, "docs/failures/README.md").contains(&format!("({code}.md)")) {
            findings.push(Finding::error(format!("docs/failures/README.md does not link {code}.md")));
        }
    }
    findings.extend(pages.iter().map(|p| Finding::error(format!("docs/failures/{p}.md: there is no such code"))));
    findings
}

/// (name, outcome, meaning) of each line `NotJson = 1, "not_json", Refused, "The text is not valid JSON.";`.
fn codes(text: &str) -> Vec<(String, String, String)> {
    let mut codes = Vec::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.trim().splitn(4, ", ").collect();
        if let [number, name, outcome, meaning] = parts[..]
            && number.contains(" = ")
            && let Some(name) = name.strip_prefix('"').and_then(|n| n.strip_suffix('"'))
            && let Some(meaning) = meaning.strip_prefix('"').and_then(|m| m.strip_suffix("\";"))
        {
            codes.push((name.to_owned(), outcome.to_owned(), meaning.to_owned()));
        }
    }
    codes
}

/// Each decision is in the list of decisions.
pub fn decisions(files: &[File]) -> Vec<Finding> {
    let list = text_of(files, "docs/decisions/README.md");
    let pages = files.iter().filter(|f| f.path.parent() == Some(Path::new("docs/decisions")) && f.has_extension("md"));
    let names = pages.filter_map(|f| f.path.file_name()?.to_str()).filter(|name| *name != "README.md");
    names
        .filter(|name| !list.contains(&format!("({name})")))
        .map(|name| Finding::error(format!("docs/decisions/README.md does not list {name}")))
        .collect()
}

/// Where a dependency is named with its reason.
const DECISIONS: &str = "docs/decisions/0004-dependencies.md";

/// Each dependency that is not ours is named where it was decided.
pub fn dependencies(members: &[Member], files: &[File]) -> Vec<Finding> {
    let decisions: String =
        files.iter().filter(|f| f.path.starts_with("docs/decisions")).filter_map(|f| f.text.as_deref()).collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for member in members {
        used.extend(member.dependencies.iter().filter(|d| !d.ours).map(|d| d.package.as_str()));
    }
    used.iter()
        .filter(|name| !decisions.contains(&format!("`{name}`")))
        .map(|name| {
            Finding::error(format!("the dependency `{name}` is named in no decision: give it a line in {DECISIONS}"))
        })
        .collect()
}

/// The program's own page of all keys of the configuration.
const KEYS: &str = "docs/configuration-reference.md";
/// Figures have names of their own, which look like keys.
const FIGURES: &str = "docs/benchmarks.md";

/// Each key of the configuration that a document names is one.
pub fn keys(files: &[File]) -> Vec<Finding> {
    let keys: BTreeSet<&str> =
        text_of(files, KEYS).lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`')).collect();
    let sections: BTreeSet<&str> = keys.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
    let is_key =
        |span: &str| keys.iter().any(|k| k.strip_prefix(span).is_some_and(|r| r.is_empty() || r.starts_with('.')));
    let mut findings = Vec::new();
    let others = |f: &&File| f.has_extension("md") && f.path != Path::new(KEYS) && f.path != Path::new(FIGURES);
    for file in files.iter().filter(others) {
        for (n, line) in file.text.as_deref().unwrap_or("").lines().enumerate() {
            for span in line.split('`').skip(1).step_by(2) {
                let plain = span.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c == '.');
                let ours = span.split_once('.').is_some_and(|(section, _)| sections.contains(section));
                // A file that is called after its section is none.
                if plain && ours && !is_key(span) && !span.ends_with(".toml") {
                    findings.push(Finding::error(format!(
                        "{}:{}: there is no key `{span}`",
                        file.path.display(),
                        n + 1
                    )));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.into(), text: Some(text.to_owned()) }
    }

    #[test]
    fn a_code_without_its_page_and_a_page_without_its_code_are_found() {
        let source =
            "    NotJson = 1, \"not_json\", Refused, \"Not, really, JSON.\";\n    X = 2, \"x\", Flagged, \"X.\";\n";
        let files = [
            file(CODES, source),
            file("docs/failures/README.md", "[x](x.md)"),
            file("docs/failures/x.md", "# x\n\n**Refused.** X.\n"),
            file("docs/failures/gone.md", "# gone\n"),
        ];
        let found: Vec<String> = failures(&files).iter().map(|f| format!("{f:?}")).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("docs/failures/not_json.md"), "{found:?}");
        assert!(found[1].contains("**Flagged.**"), "{found:?}");
        assert!(found[2].contains("gone.md"), "{found:?}");
    }

    #[test]
    fn keys_that_are_named_exist() {
        let text = "`data.dir`, `data.keep`, `data.toml`, `event.user`, `data.dirs` and `data`";
        let files = [file(KEYS, "### `data.dir`\n\n### `data.keep.raw`\n"), file("README.md", text)];
        assert_eq!(keys(&files), vec![Finding::error("README.md:1: there is no key `data.dirs`")]);
    }

    #[test]
    fn a_table_that_moved_is_not_taken_for_no_codes() {
        assert_eq!(failures(&[file(CODES, "pub enum Code {}")]).len(), 1);
    }

    #[test]
    fn a_room_that_is_missing_and_a_crate_that_does_not_say_what_it_is() {
        let members = [Member {
            package: "ouzel-a".into(),
            dir: "crates/a".into(),
            dependencies: Vec::new(),
            features: BTreeSet::new(),
        }];
        let files = [file("crates/a/src/lib.rs", "use b;\n"), file("ARCHITECTURE.md", "`crates/ab`")];
        assert_eq!(crates(&members, &files).len(), 2);
        let files = [file("crates/a/src/lib.rs", "//! A room.\n"), file("ARCHITECTURE.md", "### `crates/a`")];
        assert_eq!(crates(&members, &files), vec![]);
    }
}
