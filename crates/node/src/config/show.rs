//! What `ouzel config show` prints: the configuration that holds, as TOML that gives the same configuration again.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::effective::{Effective, EffectiveTable, Holding, MASKED, Origin, bare_or_quoted};
use super::json_schema::value_of;
use super::schema::{Absent, Kind};

/// The column in which comments begin, where the value leaves room.
const COMMENT_AT: usize = 40;

/// As TOML, every key printed. Defaults are marked; with `origins` each value has where it came from as a comment. Ends
/// with a newline.
pub fn toml(effective: &Effective, from: &str, origins: bool) -> String {
    let mut out = format!("# What holds: {}, the environment and --set together.\n", plain(from));
    out.push_str("# Paths are relative to the directory in which this was written.\n");
    if effective.values().any(|v| v.value.as_deref().is_some_and(|v| v.contains(MASKED))) {
        out.push_str("# \"***\" hides what sounds secret: put it in before you load this.\n");
    }
    for table in &effective.tables {
        if table.section.is_empty() {
            out.push('\n');
            keys(&mut out, table, origins);
            continue;
        }
        let _ = match table.section.strip_suffix("[]") {
            Some(list) => writeln!(out, "\n[[{list}]]"),
            None => writeln!(out, "\n[{}]", table.section),
        };
        keys(&mut out, table, origins);
    }
    out
}

/// For machines: one object, `{"origin", "keys": [{"key", "value", "from", "where"}]}`. A value that no key gives is null.
pub fn json(effective: &Effective, from: &str) -> Value {
    let key = |holding: &Holding| {
        let place = match &holding.origin {
            Origin::Default => None,
            other => Some(other.to_string()),
        };
        json!({
            "key": holding.path,
            "value": holding.value.as_deref().and_then(value_of),
            "from": holding.origin.name(),
            "where": place,
        })
    };
    json!({"origin": from, "keys": effective.values().map(key).collect::<Vec<_>>()})
}

fn keys(out: &mut String, table: &EffectiveTable, origins: bool) {
    let of_map = |v: &&Holding| v.key.kind == Kind::FieldMap;
    for holding in table.values.iter().filter(|v| !of_map(v)) {
        line(out, holding.key.name(), holding, origins);
    }
    // A table of its own, so that each field has room for its comment; behind all other keys, as TOML wants it.
    let mut last = "";
    for holding in table.values.iter().filter(of_map) {
        if holding.key.path != last {
            last = holding.key.path;
            let _ = writeln!(out, "[{}]", last.replace("[]", ""));
        }
        line(out, &bare_or_quoted(holding.field.as_deref().unwrap_or_default()), holding, origins);
    }
}

fn line(out: &mut String, name: &str, holding: &Holding, origins: bool) {
    let Some(value) = &holding.value else {
        let why = match (&holding.origin, holding.key.absent) {
            (Origin::OtherKinds(_), _) => holding.origin.to_string(),
            (_, Absent::Means(words)) => format!("not set: {words}"),
            (_, Absent::Is(_) | Absent::Refused) => "not set".into(),
        };
        let _ = writeln!(out, "# {name}: {why}");
        return;
    };
    let line = format!("{name} = {value}");
    if !origins && holding.origin.written() {
        let _ = writeln!(out, "{line}");
        return;
    }
    let pad = COMMENT_AT.saturating_sub(line.chars().count() + 1);
    let _ = writeln!(out, "{line} {:pad$}# {}", "", holding.origin);
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
