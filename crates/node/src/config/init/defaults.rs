//! A configuration that changes nothing: every key there is, commented out, with its meaning and its default.

use super::super::schema::{Absent, KEYS, Key, SECTIONS, Section, show_section};
use super::text::Toml;

/// The whole text. What it says is what holds without it.
pub fn defaults() -> String {
    let mut out = Toml::default();
    out.comment("Written by `ouzel init`: every key there is. What is commented out is what holds anyway; take the # away from what is to be otherwise, then `ouzel check`.");
    out.comment("`ouzel init --from SAMPLE` writes a configuration for your own events instead.");
    out.line("version = 1");
    for section in SECTIONS {
        self::section(&mut out, section);
    }
    out.0
}

fn section(out: &mut Toml, section: &Section) {
    let is_list = section.path.contains("[]");
    out.blank();
    out.comment(section.meaning);
    let head = show_section(section.path);
    // Of a list there may be none, and an empty one would be refused.
    out.line(&if is_list { format!("# {head}") } else { head });
    for key in KEYS.iter().filter(|k| k.section() == section.path) {
        self::key(out, key, is_list);
    }
}

fn key(out: &mut Toml, key: &Key, in_list: bool) {
    if !in_list {
        out.blank();
    }
    match key.absent {
        Absent::Is(value) => {
            out.hanging(key.meaning, 2);
            out.line(&format!("# {} = {value}", key.name()));
        }
        Absent::Refused => {
            out.hanging(&format!("{} (Needed.)", key.meaning), 2);
            out.line(&format!("# {} = {}", key.name(), key.example));
        }
        Absent::Means(words) => {
            out.hanging(&format!("{} (Default: {words}.)", key.meaning), 2);
            out.line(&format!("# {} = {}", key.name(), key.example));
        }
    }
}
