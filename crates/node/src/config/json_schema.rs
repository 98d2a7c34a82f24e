//! The table of keys as a JSON Schema (draft 2020-12), for editors that complete and check a configuration as it is
//! written. It refuses nothing that the program takes from a file alone; bounds of durations and rules between keys are
//! for `ouzel check`.

use serde_json::{Map, Value, json};

use super::read::{NAME_MAX, TEXT_MAX, TEXTS_MAX};
use super::reference;
use super::schema::{Absent, Key, Kind, SCHEMA, SECTIONS, VERSION};
use super::tree::{self, Node};
use super::units;

/// The schema of the whole file.
pub fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ouzel",
        "description": "The configuration of Ouzel (ouzel.toml).",
    });
    merge(&mut schema, table(""));
    // Only what is nested has a name of its own: many editors show nothing that stands beside a `$ref`.
    schema["$defs"] = json!({
        "pointer": {"type": "string", "pattern": "^/([^~]|~[01])*$"},
        "pointers": {"anyOf": [
            {"$ref": "#/$defs/pointer"},
            {"type": "array", "items": {"$ref": "#/$defs/pointer"}, "minItems": 1},
        ]},
        "field": {"anyOf": [
            {"$ref": "#/$defs/pointers"},
            {
                "type": "object",
                "properties": {
                    "pointer": {"$ref": "#/$defs/pointers", "description": "Where it is, as a JSON Pointer."},
                    "format": {
                        "type": "string",
                        "description": "How a time is written: `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, or a pattern of strftime.",
                        "examples": ["rfc3339", "epoch_s", "epoch_ms", "epoch_us", "%Y-%m-%d %H:%M:%S"],
                    },
                    "zone": {
                        "type": "string",
                        "description": "The zone of times that have none.",
                        "examples": ["UTC", "Europe/Berlin"],
                    },
                    "value": {"type": "string", "description": "A constant, the same for all events."},
                },
                "additionalProperties": false,
                "minProperties": 1,
            },
        ]},
    });
    schema
}

/// A TOML value as JSON; `None` where it is no value (or has a fraction or a date, of which no key has any).
pub(crate) fn value_of(toml: &str) -> Option<Value> {
    tree::parse_value(toml, 0, 0).ok().map(|node| node_json(&node))
}

fn node_json(node: &Node) -> Value {
    match &node.value {
        tree::Value::Text(text) => json!(text),
        tree::Value::Integer(i) => i64::try_from(*i).map_or(Value::Null, Value::from),
        tree::Value::Switch(b) => json!(b),
        tree::Value::List(nodes) => nodes.iter().map(node_json).collect(),
        tree::Value::Table(table) => {
            let mut members: Vec<_> = table.members.iter().collect();
            members.sort_by_key(|(_, m)| (m.key.text, m.key.start));
            Value::Object(members.into_iter().map(|(name, m)| (name.clone(), node_json(&m.node))).collect())
        }
        tree::Value::Fraction | tree::Value::Time => Value::Null,
    }
}

/// The table at `path` of the schema: its keys, and the tables in it.
fn table(path: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    let mut rules = Vec::new();
    for name in SCHEMA.names_in(path) {
        let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        if let Some(key) = SCHEMA.key(&full) {
            properties.insert(name.into(), of_key(key));
            if key.absent == Absent::Refused {
                required.push(name);
            }
            // Of a table in an element, the whole table is refused.
            if !key.only.is_empty() && (path.is_empty() || path.ends_with("[]")) {
                rules.push((name, key.only));
            }
        } else if SCHEMA.is_list(&full) {
            let element = table(&format!("{full}[]"));
            properties.insert(name.into(), described(&format!("{full}[]"), json!({"type": "array", "items": element})));
        } else {
            properties.insert(name.into(), described(&full, table(&full)));
            // A table in an element goes with the kinds that its keys go with.
            rules
                .extend(SCHEMA.keys.iter().find(|k| k.section() == full && !k.only.is_empty()).map(|k| (name, k.only)));
        }
    }
    let mut out = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if !rules.is_empty() {
        out["allOf"] = rules.iter().map(|(name, kinds)| only(name, kinds)).collect();
    }
    out
}

fn described(section: &str, mut schema: Value) -> Value {
    if let Some(section) = SECTIONS.iter().find(|s| s.path == section) {
        schema["description"] = json!(section.meaning);
    }
    schema
}

/// What goes with some kinds only is refused beside others.
fn only(name: &str, kinds: &[&str]) -> Value {
    json!({
        "if": {"properties": {"kind": {"not": {"enum": kinds}}}, "required": ["kind"]},
        "then": {"properties": {name: false}},
    })
}

fn of_key(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Version => json!({"const": VERSION}),
        Kind::Name => {
            json!({"type": "string", "pattern": format!("^[A-Za-z0-9_][A-Za-z0-9_-]{{0,{}}}$", NAME_MAX - 1)})
        }
        Kind::Word(words) => json!({"enum": words}),
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Count { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Duration { .. } => json!({"type": "string", "pattern": duration_pattern()}),
        Kind::Size { .. } => json!({"anyOf": size()}),
        Kind::Space => {
            let share = json!({"type": "string", "pattern": r"^\s*\+?0*(100|[0-9]{1,2})\s*%\s*$"});
            let [text, number] = size();
            json!({"anyOf": [share, text, number]})
        }
        Kind::Address | Kind::Path | Kind::Store => some_text(),
        Kind::Text => text(),
        Kind::Paths => json!({"anyOf": [some_text(), {"type": "array", "items": some_text()}]}),
        Kind::Texts => json!({"anyOf": [text(), {"type": "array", "items": text(), "maxItems": TEXTS_MAX}]}),
        Kind::TextMap => json!({
            "type": "object",
            "propertyNames": text(),
            "additionalProperties": text(),
            "maxProperties": TEXTS_MAX,
        }),
        Kind::Secret => json!({"anyOf": secret()}),
        Kind::Url => text_or_secret(),
        Kind::SecretMap => json!({
            "type": "object",
            "propertyNames": text(),
            "additionalProperties": text_or_secret(),
            "maxProperties": TEXTS_MAX,
        }),
        Kind::FieldMap => json!({"type": "object", "additionalProperties": {"$ref": "#/$defs/field"}}),
    };
    let mut description = format!("{}\n\nIt is {}.", key.meaning, reference::kind(key));
    match key.absent {
        Absent::Is(default) => match value_of(default) {
            Some(value) => schema["default"] = value,
            None => unreachable!("the default of {} is TOML", key.path),
        },
        Absent::Means(words) => description += &format!(" Not set: {words}."),
        Absent::Refused => description += " It is needed.",
    }
    if let Some(unit) = key.unit() {
        description += &format!(" Unit: {unit}.");
    }
    schema["description"] = json!(description);
    schema["examples"] = json!([value_of(key.example)]);
    schema
}

fn some_text() -> Value {
    json!({"type": "string", "minLength": 1})
}

fn text() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": TEXT_MAX})
}

/// The place of a secret.
fn secret() -> [Value; 2] {
    ["env", "file"].map(|name| {
        json!({
            "type": "object",
            "properties": {name: some_text()},
            "required": [name],
            "additionalProperties": false,
        })
    })
}

fn text_or_secret() -> Value {
    let [env, file] = secret();
    json!({"anyOf": [text(), env, file]})
}

/// Without a unit, and then also as a number, it is in bytes.
fn size() -> [Value; 2] {
    let names: Vec<_> = units::SIZE_UNITS.iter().map(|(name, _)| *name).collect();
    let pattern = format!(r"^\s*[0-9]+\s*({})?\s*$", names.join("|"));
    [json!({"type": "string", "pattern": pattern}), json!({"type": "integer", "minimum": 0})]
}

/// Units in any order: that they go from large to small is for `ouzel check`, whose words are better.
fn duration_pattern() -> String {
    let names: Vec<_> = units::DURATION_UNITS.iter().map(|(name, _)| *name).collect();
    format!(r"^\s*([0-9]+\s*({})\s*)+$", names.join("|"))
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::KEYS;
    use super::*;

    #[test]
    fn every_key_is_in_the_schema() {
        let schema = json_schema();
        for key in KEYS {
            let mut at = &schema;
            for part in key.path.split('.') {
                at = &at["properties"][part.trim_end_matches("[]")];
                if part.ends_with("[]") {
                    at = &at["items"];
                }
            }
            assert!(at["description"].as_str().is_some_and(|d| d.starts_with(key.meaning)), "{}", key.path);
            assert!(!at["examples"][0].is_null(), "{}: its example is no value", key.path);
        }
    }
}
