//! What is said about configurations holds for any of them: what is shown loads again and is the same one; what the
//! program takes, the schema for editors takes, and what it does not know, neither does.

#![allow(clippy::disallowed_methods)] // it reads examples and pages of the repository

#[path = "configurations/made.rs"]
mod made;
#[path = "configurations/validator.rs"]
mod validator;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ouzel_node::config::json_schema::json_schema;
use ouzel_node::config::{Config, Effective, LoadArgs, Loaded, ProblemKind, change, show};
use proptest::prelude::*;
use validator::{Validator, json_of};

/// Shown in the working directory, it is loaded from there.
fn again(shown: &str) -> (Loaded, Effective) {
    let args = LoadArgs { file: Some("shown.toml".into()), ..LoadArgs::default() };
    Config::explain_with(&args, |_| Ok(shown.to_owned())).unwrap_or_else(|e| panic!("{e}\n{shown}"))
}

static TRIED: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicU32 = AtomicU32::new(0);

#[test]
fn what_is_shown_is_what_holds() {
    assert!(made::sections_left_out().is_empty(), "not tried: {:?}", made::sections_left_out());
    let validator = Validator::new(json_schema());
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(made in made::made())| {
        TRIED.fetch_add(1, Relaxed);
        // Rules between keys are against some.
        let Ok((loaded, effective)) = Config::explain_with(&made.args(), |_| Ok(made.file.clone())) else { return Ok(()) };
        TAKEN.fetch_add(1, Relaxed);
        for origins in [false, true] {
            let shown = show::toml(&effective, &loaded.origin, origins);
            let (again, same) = again(&shown);
            prop_assert_eq!(&again.config, &loaded.config, "\n{}", shown);
            prop_assert_eq!(change::compare(&effective, &same), [], "\n{}", shown);
            prop_assert_eq!(validator.errors(&json_of(&shown)), Vec::<String>::new(), "\n{}", shown);
        }
        let mut errors = validator.errors(&json_of(&made.file));
        // The schema cannot see that a key which is needed comes from elsewhere.
        errors.retain(|e| !e.ends_with("is missing") || made.env.is_empty() && made.set.is_empty());
        prop_assert_eq!(errors, Vec::<String>::new(), "\n{}", made.file);
    });
    println!("{TAKEN:?} of {TRIED:?}");
    let (tried, taken) = (TRIED.load(Relaxed), TAKEN.load(Relaxed));
    assert!(taken * 4 > tried, "only {taken} of {tried} were configurations");
}

/// Each has its differences told, and each is told back.
#[test]
fn what_differs_is_told() {
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(old in made::made(), new in made::made())| {
        let load = |made: &made::Made| Config::explain_with(&made.args(), |_| Ok(made.file.clone()));
        let (Ok((old, held)), Ok((new, planned))) = (load(&old), load(&new)) else { return Ok(()) };
        let changes = change::compare(&held, &planned);
        prop_assert_eq!(changes.is_empty(), old.config == new.config, "{:#?}", changes);
        prop_assert_eq!(changes.len(), change::compare(&planned, &held).len());
        for line in change::human(&changes, "old.toml", "new.toml").lines() {
            prop_assert!(line.chars().count() <= 100, "{}", line);
        }
    });
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Blocks of TOML in a page, each with the line it begins at.
fn snippets(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (n, line) in page.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```toml" | "```toml part") => open = Some((n + 1, String::new())),
            (Some(_), "```") => found.extend(open.take()),
            (Some((_, text)), _) => *text += &format!("{line}\n"),
            _ => {}
        }
    }
    found
}

#[test]
fn examples_and_pages_are_configurations() {
    let validator = Validator::new(json_schema());
    let mut files = Vec::new();
    for dir in ["examples", "docs", "docs/enrichers", "."] {
        for entry in fs::read_dir(repository().join(dir)).expect("a directory") {
            let path = entry.expect("an entry").path();
            let text = || fs::read_to_string(&path).expect("a text");
            let name = format!("{dir}/{}", path.file_name().expect("a name").to_string_lossy());
            match path.extension().and_then(|e| e.to_str()) {
                // Of the repository's own tools.
                Some("toml") if dir == "." => {}
                Some("toml") => files.push((name, text())),
                Some("md") => {
                    let named = |(line, text)| (format!("{name}:{line}"), text);
                    files.extend(snippets(&text()).into_iter().map(named));
                }
                _ => {}
            }
        }
    }
    assert!(files.iter().any(|(name, _)| name.ends_with(".toml")), "the examples are gone");
    assert!(files.iter().filter(|(name, _)| name.contains(".md:")).count() >= 2, "the pages are gone");
    for (name, text) in files {
        // A part of a file has no version, and may show a table of an element without the element.
        let element = if text.contains("[[source]]") || !text.contains("[source.") { "" } else { "[[source]]\n" };
        let is_whole = text.contains("version = 1");
        let whole = if is_whole { text } else { format!("version = 1\n{element}{text}") };
        let mut errors = validator.errors(&json_of(&whole));
        errors.retain(|e| !e.ends_with("is missing") || is_whole);
        assert!(errors.is_empty(), "{name}: {errors:?}\n{whole}");
    }
}

/// What `check` calls unknown or of a wrong type, an editor underlines too.
#[test]
fn mistakes_are_seen_in_the_editor() {
    let validator = Validator::new(json_schema());
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_messages");
    let (mut right, mut wrong) = (0, 0);
    for entry in fs::read_dir(dir).expect("the cases") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a case");
        let is_toml = toml::de::DeTable::parse(&text).is_ok();
        if path.extension().is_none_or(|e| e != "toml") || !is_toml || text.contains("#: ") {
            continue;
        }
        let args = LoadArgs { file: Some("ouzel.toml".into()), ..LoadArgs::default() };
        let errors = validator.errors(&json_of(&text));
        match Config::load_with(&args, |_| Ok(text.clone())) {
            Ok(_) => {
                right += 1;
                assert_eq!(errors, Vec::<String>::new(), "{}", path.display());
            }
            Err(e) => {
                use ProblemKind::{MissingKey, UnknownKey, WrongType};
                if e.problems.iter().any(|p| matches!(p.kind, UnknownKey | WrongType | MissingKey)) {
                    wrong += 1;
                    assert!(!errors.is_empty(), "{}: {e}", path.display());
                }
            }
        }
    }
    assert!(right >= 1 && wrong >= 5, "{right} right and {wrong} wrong cases are too few");
}
