//! The table of keys for people: every key with meaning, default, unit, example, what a change costs, and first version.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::change::{self, Rule};
use super::json_schema::value_of;
use super::layers::ENV_PREFIX;
use super::schema::{Absent, KEYS, Key, Kind, SECTIONS, Section, show_section};
use super::suggest::{nearest, same};
use super::units::{show_duration, show_size};

/// The whole reference, in Markdown.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration reference\n\n\
         Written from the program's own table of keys, so it says what the program does.\n\n\
         Durations are written \"5s\", \"1h30m\" (units w, d, h, m, s, ms, us), sizes \"64MiB\" (KiB, MiB, GiB, TiB, and kB, \
         MB, GB, TB of 1,000), times as RFC 3339. Any key can be given as `--set section.key=value` or as an environment \
         variable `OUZEL__SECTION__KEY=value`; a key of a source or lookup by its name: `--set source.web.preset=csv`.\n",
    );
    keys_of(&mut out, "");
    for section in SECTIONS {
        let _ = write!(out, "\n## `{}`\n\n{}\n", show_section(section.path), section.meaning);
        keys_of(&mut out, section.path);
    }
    out
}

/// What a name of the configuration means: a key, or a section with its keys.
#[derive(Clone, Copy, Debug)]
pub enum Named {
    Key(&'static Key),
    Section(&'static Section),
}

/// A name that nothing has.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no key or section `{name}`")]
pub struct Unknown {
    pub name: String,
    /// What may have been meant, best first.
    pub near: Vec<String>,
}

impl Named {
    /// Finds a name in any of its spellings: `data.keep.raw`, `source[].preset`, `source.preset`, `source.web.preset`,
    /// `[data]`, `OUZEL__DATA__KEEP__RAW`.
    pub fn find(name: &str) -> Result<Named, Unknown> {
        let plain = match name.strip_prefix(ENV_PREFIX) {
            Some(variable) => variable.to_lowercase().replace("__", "."),
            None => name.trim().trim_start_matches('[').trim_end_matches(']').trim_end_matches('[').replace("[]", ""),
        };
        let parts: Vec<&str> = plain.split('.').collect();
        let without_element = match parts.as_slice() {
            [list, _, rest @ ..] if SECTIONS.iter().any(|s| s.path.strip_suffix("[]") == Some(list)) => {
                [&[*list], rest].concat().join(".")
            }
            _ => plain.clone(),
        };
        let spelled = |path: &str| path.replace("[]", "");
        let key = |name: &str| KEYS.iter().find(|k| spelled(k.path) == *name);
        if let Some(key) = key(&plain) {
            return Ok(Named::Key(key));
        }
        if let Some(section) = SECTIONS.iter().find(|s| spelled(s.path) == plain) {
            return Ok(Named::Section(section));
        }
        key(&without_element).map(Named::Key).ok_or_else(|| Unknown { name: name.to_owned(), near: near(&plain) })
    }

    /// Its page, in Markdown.
    pub fn page(self) -> String {
        let mut out = String::new();
        match self {
            Named::Key(key) => {
                let _ = write!(out, "# `{}`\n\n", shown(key));
                about(&mut out, key);
                let _ = writeln!(out, "* flag: `--set {}=...`", key.path.replace("[].", ".NAME."));
                let variable = key.path.replace("[].", "__NAME__").replace('.', "__").to_uppercase();
                let _ = writeln!(out, "* variable: `{ENV_PREFIX}{variable}`");
            }
            Named::Section(section) => {
                let _ = write!(out, "# `{}`\n\n{}\n", show_section(section.path), section.meaning);
                keys_of(&mut out, section.path);
            }
        }
        out
    }

    /// For machines: its keys, as [`json`] gives them.
    pub fn json(self) -> Value {
        let keys = KEYS.iter().filter(|k| match self {
            Named::Key(key) => k.path == key.path,
            Named::Section(section) => k.section() == section.path,
        });
        keys.map(key_json).collect()
    }
}

/// All keys for machines, in their order: a list of `{"key", "meaning", "is", "unit", "default", "example", ...}`.
pub fn json() -> Value {
    KEYS.iter().map(key_json).collect()
}

fn key_json(key: &Key) -> Value {
    let (default, otherwise) = match key.absent {
        Absent::Is(value) => (value_of(value), None),
        Absent::Refused => (None, None),
        Absent::Means(words) => (None, Some(words)),
    };
    let rule = change::rule(key.path).expect("every key has a rule");
    json!({
        "key": shown(key),
        "section": show_section(key.section()),
        "meaning": key.meaning,
        "is": kind(key),
        "unit": key.unit(),
        "needed": key.absent == Absent::Refused,
        "default": default,
        "default_means": otherwise,
        "example": value_of(key.example),
        "change": {"raised": rule.raised.0.name(), "lowered": rule.lowered.0.name()},
        "since": key.since,
    })
}

fn shown(key: &Key) -> String {
    key.path.replace("[]", "")
}

/// What may have been meant by a name: keys of that name or of another program's name for it, else what is spelled alike.
fn near(name: &str) -> Vec<String> {
    const NEAR_MAX: usize = 5;
    let last = name.rsplit('.').next().unwrap_or(name);
    let mut found: Vec<String> =
        KEYS.iter().filter(|k| same(k.name(), last) || k.also.iter().any(|a| same(a, last))).map(shown).collect();
    if found.is_empty() {
        let name = nearest(last, KEYS.iter().map(|k| k.name()));
        found.extend(KEYS.iter().filter(|k| Some(k.name()) == name).map(shown));
    }
    // In the section that was named, first.
    let section = name.rsplit_once('.').map_or("", |(section, _)| section);
    let here = |path: &String| path.rsplit_once('.').is_some_and(|(s, _)| s == section);
    found.sort_by_key(|path| !here(path));
    let sections = SECTIONS.iter().map(|s| s.path.replace("[]", "")).filter(|_| section.is_empty());
    let spelled: Vec<String> = KEYS.iter().map(shown).chain(sections).collect();
    if let Some(alike) = nearest(name, spelled.iter().map(String::as_str)) {
        found.retain(|f| f != alike);
        found.insert(usize::from(found.first().is_some_and(here)), alike.to_owned());
    }
    found.truncate(NEAR_MAX);
    found
}

fn keys_of(out: &mut String, section: &str) {
    for key in KEYS.iter().filter(|k| k.section() == section) {
        let _ = write!(out, "\n### `{}`\n\n", shown(key));
        about(out, key);
    }
}

fn about(out: &mut String, key: &Key) {
    let _ = write!(out, "{}\n\n", key.meaning);
    let _ = writeln!(out, "* is: {}", kind(key));
    let _ = writeln!(out, "* unit: {}", key.unit().unwrap_or_else(|| "none".into()));
    let _ = writeln!(
        out,
        "* default: {}",
        match key.absent {
            Absent::Is(value) => format!("`{value}`"),
            Absent::Refused => "none, it is needed".into(),
            Absent::Means(words) => words.into(),
        }
    );
    let _ = writeln!(out, "* example: `{} = {}`", key.name(), key.example);
    if !key.only.is_empty() {
        let _ = writeln!(out, "* goes with: `kind = \"{}\"`", key.only.join("\" or \""));
    }
    let Rule { raised, lowered, .. } = change::rule(key.path).expect("every key has a rule");
    let _ = match raised.0 == lowered.0 {
        true => writeln!(out, "* a change: {}", raised.0.words()),
        false => writeln!(out, "* a change: {} when raised, {} when lowered", raised.0.words(), lowered.0.words()),
    };
    let _ = writeln!(out, "* since: {}", key.since);
}

/// What its value is, with its bounds.
pub(crate) fn kind(key: &Key) -> String {
    match key.kind {
        Kind::Version => "a whole number".into(),
        Kind::Name => "a name of letters, digits, `_` and `-`".into(),
        Kind::Word(words) => words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or "),
        Kind::Switch => "`true` or `false`".into(),
        Kind::Count { min, max } => format!("a whole number from {min} to {max}"),
        Kind::Duration { min_ms, max_ms } => {
            let show = |ms| show_duration(std::time::Duration::from_millis(ms));
            format!("a duration from {} to {}", show(min_ms), show(max_ms))
        }
        Kind::Size { min, max } => format!("a size from {} to {}", show_size(min), show_size(max)),
        Kind::Space => "a share of the disk (\"10%\") or a size".into(),
        Kind::Address => "an IP address and a port".into(),
        Kind::Path => "a path".into(),
        Kind::Paths => "a path or a list of paths".into(),
        Kind::Text => "a text".into(),
        Kind::Texts => "a list of texts".into(),
        Kind::TextMap => "a table of texts".into(),
        Kind::Secret => "the place of a secret: `{ env = \"NAME\" }` or `{ file = \"path\" }`".into(),
        Kind::Url => "a URL, or the place of a secret: `{ env = \"NAME\" }` or `{ file = \"path\" }`".into(),
        Kind::SecretMap => "a table of texts and of places of secrets".into(),
        Kind::Store => "`s3://bucket/prefix`, or a path".into(),
        Kind::FieldMap => "a table of fields".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_in_any_spelling() {
        for (name, found) in [
            ("data.keep.raw", "data.keep.raw"),
            ("OUZEL__DATA__KEEP__RAW", "data.keep.raw"),
            ("source.preset", "source[].preset"),
            ("source[].preset", "source[].preset"),
            ("source.web-shop.preset", "source[].preset"),
            ("OUZEL__SOURCE__WEB__PRESET", "source[].preset"),
            ("version", "version"),
            ("[data]", "data"),
            ("[[source]]", "source[]"),
            ("data.keep", "data.keep"),
        ] {
            let path = match Named::find(name) {
                Ok(Named::Key(key)) => key.path,
                Ok(Named::Section(section)) => section.path,
                Err(unknown) => panic!("{unknown}"),
            };
            assert_eq!(path, found, "{name}");
        }
    }

    #[test]
    fn what_may_have_been_meant_is_told() {
        for (name, near) in [
            ("data.partitons", &["data.partitions"][..]),
            ("partitons", &["data.partitions"]),
            ("data.shards", &["data.partitions"]),
            ("http.retention", &["data.keep.raw", "data.keep.enriched"]),
            ("device.file", &["device.rules"]),
            ("geoo", &["geo"]),
            ("", &[]),
            ("sessions.frobnicate", &[]),
        ] {
            let unknown = Named::find(name).expect_err(name);
            assert_eq!(unknown.near[..near.len()], *near, "{name}: {:?}", unknown.near);
            assert!(!near.is_empty() || unknown.near.is_empty(), "{name}: {:?}", unknown.near);
            assert!(unknown.near.len() <= 5, "{name}");
        }
    }

    #[test]
    fn every_page_says_all_of_its_key() {
        for key in KEYS {
            let page = Named::Key(key).page();
            for part in ["* is: ", "* unit: ", "* default: ", "* example: ", "* a change: ", "* since: "] {
                assert_eq!(page.matches(part).count(), 1, "{}: {part}\n{page}", key.path);
            }
            assert_eq!(Named::Key(key).json()[0]["key"], shown(key));
        }
        for section in SECTIONS {
            let named = Named::Section(section);
            assert!(named.page().contains(section.meaning) && !named.json().as_array().is_some_and(Vec::is_empty));
        }
    }
}
