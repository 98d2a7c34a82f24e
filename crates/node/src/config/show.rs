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
            None => writeln!(out, "\n[{}]", table.section.replace("[]", "")),
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

#[cfg(test)]
mod tests {
    use super::super::{Config, LoadArgs};
    use super::*;

    fn shown(file: &str, env: &[(&str, &str)], set: &[&str], origins: bool) -> String {
        let args = LoadArgs {
            file: Some("conf/ouzel.toml".into()),
            env: env.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            set: set.iter().map(|s| s.to_string()).collect(),
            ..LoadArgs::default()
        };
        let file = format!("version = 1\n{file}");
        let (loaded, effective) = Config::explain_with(&args, |_| Ok(file)).unwrap_or_else(|e| panic!("{e}"));
        toml(&effective, &loaded.origin, origins)
    }

    /// The line of a key, comment and all, with single spaces.
    fn line(shown: &str, section: &str, key: &str) -> String {
        let in_section = shown.split_once(section).unwrap_or_else(|| panic!("no {section} in\n{shown}")).1;
        let is_it = |l: &&str| l.trim_start_matches("# ").split([' ', ':']).next() == Some(key);
        let line = in_section.lines().find(is_it).unwrap_or_else(|| panic!("no {key} in\n{in_section}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_value_says_where_it_came_from() {
        let file = "[data]\nsegment = 65536\nkeep.raw = \"24h\"\n[http]\nbatch = \"1MB\"\n\
                    [[source]]\nname = \"logs\"\nkind = \"file\"\npath = \"a.log\"\nmap.user = \"/u\"\n";
        let env = [("OUZEL__HTTP__CONNECTIONS", "7"), ("OUZEL__SOURCE__LOGS__CLOCK", "live"), ("HOME", "/home/me")];
        let set = ["geo.database=x.mmdb", "source.logs.map.plan=/p", "data.keep={ dlq = \"1w\" }"];
        let shown = shown(file, &env, &set, true);
        for (section, key, expected) in [
            ("", "version", "version = 1 # conf/ouzel.toml:1:1"),
            ("[data]", "dir", "dir = \"./ouzel-data\" # default"),
            ("[data]", "segment", "segment = \"64KiB\" # conf/ouzel.toml:3:1"),
            ("[data.keep]", "raw", "raw = \"1d\" # conf/ouzel.toml:4:6"),
            ("[data.keep]", "dlq", "dlq = \"7d\" # --set"),
            ("[http]", "batch", "batch = \"1MB\" # conf/ouzel.toml:6:1"),
            ("[http]", "connections", "connections = 7 # environment OUZEL__HTTP__CONNECTIONS"),
            ("\"logs\"", "path", "path = \"conf/a.log\" # conf/ouzel.toml:10:1"),
            ("\"logs\"", "client_address", "client_address = \"none\" # default, by the kind"),
            ("\"logs\"", "clock", "clock = \"live\" # environment OUZEL__SOURCE__LOGS__CLOCK"),
            ("\"logs\"", "user", "user = \"/u\" # conf/ouzel.toml:11:5"),
            ("\"logs\"", "plan", "plan = \"/p\" # --set"),
            ("\"logs\"", "visitor", "visitor = \"/anonymousId\" # default, by the preset segment"),
            ("name = \"http\"", "kind", "kind = \"http\" # default"),
            ("name = \"http\"", "follow", "# follow: for kind file only"),
            ("[geo]", "database", "database = [\"x.mmdb\"] # --set"),
            ("[network]", "asn", "# asn: not set: that of `ouzel assets`, else none"),
            ("[assets]", "dir", "dir = \"/home/me/.cache/ouzel\" # default, by the environment"),
        ] {
            assert_eq!(line(&shown, section, key), expected, "{section} {key}");
        }
    }

    #[test]
    fn defaults_are_marked_and_what_was_written_is_plain() {
        let shown = shown("[data]\npartitions = 8\n", &[], &[], false);
        assert_eq!(line(&shown, "[data]", "partitions"), "partitions = 8");
        assert_eq!(line(&shown, "[data]", "max_bytes"), "max_bytes = \"20GiB\" # default");
        assert_eq!(line(&shown, "name = \"http\"", "clock"), "clock = \"live\" # default, by the kind");
    }

    #[test]
    fn secrets_are_not_shown() {
        let file = "[campaign]\nclick_ids = { gclid = \"Google\", token = \"hunter2\" }\n\
                    [geo]\ndatabase = [\"pg://me:hunter2@host/x\"]\n\
                    [[source]]\nname = \"web\"\nkind = \"http\"\nmap.api_key = { value = \"hunter2\" }\n\
                    map.type = { value = \"http://a:hunter2@b\" }\n";
        let set = ["referrer.internal=http://u:hunter2@h"];
        let shown = shown(file, &[], &set, true);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("click_ids = { gclid = \"Google\", token = \"***\" }"), "{shown}");
        assert_eq!(line(&shown, "\"web\"", "api_key"), "api_key = \"***\" # conf/ouzel.toml:9:5");
        assert!(shown.contains("put it in before you load this"), "{shown}");
    }

    #[test]
    fn a_file_of_any_name_stays_a_comment() {
        let args = LoadArgs { file: Some("a\nb = 1".into()), ..LoadArgs::default() };
        let (loaded, effective) = Config::explain_with(&args, |_| Ok("version = 1\n".into())).expect("it is right");
        let shown = toml(&effective, &loaded.origin, true);
        assert!(shown.lines().all(|l| !l.starts_with("b = 1")), "{shown}");
        assert!(shown.contains("# a?b = 1:1:1"), "{shown}");
    }

    #[test]
    fn machines_get_every_key() {
        let args = LoadArgs { set: vec!["data.partitions=4".into()], ..LoadArgs::default() };
        let read = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let (loaded, effective) = Config::explain_with(&args, read).expect("the defaults are right");
        let json = json(&effective, &loaded.origin);
        let of =
            |key: &str| json["keys"].as_array().expect("a list").iter().find(|k| k["key"] == key).expect("it is there");
        assert_eq!(
            *of("data.partitions"),
            json!({"key": "data.partitions", "value": 4, "from": "command_line", "where": "--set"})
        );
        assert_eq!(
            *of("data.dir"),
            json!({"key": "data.dir", "value": "./ouzel-data", "from": "default", "where": null})
        );
        assert_eq!(of("source.http.follow")["value"], Value::Null);
        assert_eq!(of("source.http.map.type")["value"], json!(["/event", "/type"]));
    }
}
