//! The table of keys as a page for people: every key with meaning, default, unit, example and first version.

use std::fmt::Write as _;

use super::schema::{Absent, KEYS, Key, Kind, SECTIONS, show_section};
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

fn keys_of(out: &mut String, section: &str) {
    for key in KEYS.iter().filter(|k| k.section() == section) {
        let _ = write!(out, "\n### `{}`\n\n{}\n\n", key.path.replace("[]", ""), key.meaning);
        let _ = writeln!(out, "* is: {}", kind(key));
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
        let _ = writeln!(out, "* since: {}", key.since);
    }
}

fn kind(key: &Key) -> String {
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
        Kind::FieldMap => "a table of fields".into(),
    }
}
