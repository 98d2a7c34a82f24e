//! The field map of a source: what is written becomes `wire`'s types, whose rules it is held to.

use wire::time::TimeReader;
use wire::{FieldMap, MapEntry, MapError, Preset, TimeFormat};

use super::problem::{Found, ProblemKind};
use super::read::{At, Reader};
use super::suggest::nearest;
use super::text::Spot;
use super::tree::{Node, Table, Value};

/// What an entry that is a table may have.
const MEMBERS: [&str; 4] = ["pointer", "format", "zone", "value"];

/// A `--map FIELD=ENTRY` of the command line.
#[derive(Clone, Debug)]
pub(crate) struct MapFlag {
    pub text: String,
    pub spot: Spot,
}

/// The preset with the entries of the field map `name` in `at` over it.
pub(crate) fn read(reader: &mut Reader, at: &At<'_>, name: &str, preset: Preset) -> FieldMap {
    let mut map = FieldMap::preset(preset);
    let Some(member) = at.member(name) else {
        return map;
    };
    let Value::Table(table) = &member.node.value else {
        let found = Found::new(
            ProblemKind::WrongType,
            Some(member.node.spot),
            format!("`source.map` is a table of fields, not {}", member.node.value.what()),
        );
        reader.found.push(found.help("for example: map = { user = \"/account/id\" }"));
        return map;
    };
    for (field, member) in &table.members {
        match entry(field, &member.node) {
            Ok(entry) => {
                let spots = Spots::of(member.key, &member.node);
                reader.found.extend(set(&mut map, field, entry, spots));
            }
            Err(found) => reader.found.extend(found),
        }
    }
    map
}

/// Puts a `--map` flag over a map.
pub(crate) fn apply(flag: &MapFlag, map: &mut FieldMap) -> Option<Found> {
    let Some((field, entry)) = flag.text.split_once('=') else {
        let found = Found::new(ProblemKind::Syntax, Some(flag.spot), "`--map` takes FIELD=POINTER");
        return Some(found.help("for example: --map time=/timestamp,zone=UTC"));
    };
    let value = Spot { start: flag.spot.start + field.len() + 1, ..flag.spot };
    let key = Spot { end: flag.spot.start + field.len(), ..flag.spot };
    let spots = Spots { key, value, time: value };
    match MapEntry::parse_cli(entry.trim()) {
        Ok(entry) => set(map, field.trim(), entry, spots),
        Err(error) => Some(refusal(field, value, error)),
    }
}

/// Where the parts of an entry stand.
struct Spots {
    key: Spot,
    value: Spot,
    /// What says how a time is read.
    time: Spot,
}

impl Spots {
    fn of(key: Spot, node: &Node) -> Spots {
        let part = |name: &str| match &node.value {
            Value::Table(t) => t.get(name).map(|m| m.node.spot),
            _ => None,
        };
        Spots {
            key,
            value: part("pointer").or_else(|| part("value")).unwrap_or(node.spot),
            time: part("format").or_else(|| part("zone")).unwrap_or(node.spot),
        }
    }
}

fn set(map: &mut FieldMap, field: &str, entry: MapEntry, spots: Spots) -> Option<Found> {
    let time = match &entry {
        MapEntry::Pointer { format, zone, .. } => {
            TimeReader::build(format.as_ref(), zone.as_deref()).err().map(|message| (message, zone.is_none()))
        }
        MapEntry::Constant(_) => None,
    };
    // A name is wrong whatever it is given, so a pointer that is surely right tells one mistake from the other.
    let name_is_wrong = || map.clone().set(field, MapEntry::pointers(&["/x"])).is_err();
    if name_is_wrong() {
        let error = map.set(field, entry).err()?;
        return Some(refusal(field, spots.key, error));
    }
    match map.set(field, entry) {
        Err(error) => Some(refusal(field, spots.value, error)),
        Ok(()) => time.map(|(message, no_zone)| {
            let message = format!("the map of `{field}`: {message}");
            let found = Found::new(ProblemKind::BadValue, Some(spots.time), message);
            // The message is wire's, and spelled for flags.
            if no_zone && spots.time != spots.value { found.help("here: zone = \"UTC\"") } else { found }
        }),
    }
}

fn refusal(field: &str, spot: Spot, error: MapError) -> Found {
    Found::new(ProblemKind::BadValue, Some(spot), format!("the map of `{field}`: {}", error.message))
}

fn entry(field: &str, node: &Node) -> Result<MapEntry, Vec<Found>> {
    match &node.value {
        Value::Text(_) | Value::List(_) => {
            Ok(MapEntry::Pointer { pointers: pointers(field, node)?, format: None, zone: None })
        }
        Value::Table(table) => table_entry(field, node, table),
        other => Err(vec![
            Found::new(
                ProblemKind::WrongType,
                Some(node.spot),
                format!("the map of `{field}` is a pointer, a list of them or a table, not {}", other.what()),
            )
            .help(format!("for example: {field} = \"/account/id\"")),
        ]),
    }
}

fn table_entry(field: &str, node: &Node, table: &Table) -> Result<MapEntry, Vec<Found>> {
    let mut found = Vec::new();
    for (name, member) in &table.members {
        if !MEMBERS.contains(&name.as_str()) {
            let message = format!("unknown key `{name}` in the map of `{field}`");
            let problem = Found::new(ProblemKind::UnknownKey, Some(member.key), message);
            found.push(match nearest(name, MEMBERS) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("an entry has pointer, format and zone, or value alone"),
            });
        }
    }
    let mut text = |name: &str| match table.get(name).map(|m| &m.node) {
        None => None,
        Some(Node { value: Value::Text(t), spot, .. }) => Some((t.clone(), *spot)),
        Some(other) => {
            let message = format!("`{name}` in the map of `{field}` is a text, not {}", other.value.what());
            found.push(Found::new(ProblemKind::WrongType, Some(other.spot), message));
            None
        }
    };
    let (constant, format, zone) = (text("value"), text("format"), text("zone"));
    if table.get("value").is_some() && table.members.len() > 1 {
        let message = format!("`value` in the map of `{field}` is a constant: it goes with nothing else");
        found.push(Found::new(ProblemKind::Conflict, Some(node.spot), message));
    } else if table.members.is_empty() {
        let message = format!("the map of `{field}` has neither `pointer` nor `value`");
        found.push(Found::new(ProblemKind::MissingKey, Some(node.spot), message));
    }
    let pointers = match table.get("pointer") {
        Some(member) => pointers(field, &member.node).unwrap_or_else(|f| {
            found.extend(f);
            Vec::new()
        }),
        None => Vec::new(),
    };
    let format = format.and_then(|(name, spot)| {
        let named = TimeFormat::named(&name);
        if named.is_none() {
            let message = format!("the map of `{field}`: \"{name}\" is no format of times");
            let problem = Found::new(ProblemKind::BadValue, Some(spot), message);
            found.push(match near_format(&name) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem.help(
                    "formats are rfc3339, epoch_s, epoch_ms, epoch_us, or a pattern such as \"%Y-%m-%d %H:%M:%S\"",
                ),
            });
        }
        named
    });
    match (found.is_empty(), constant) {
        (false, _) => Err(found),
        (true, Some((constant, _))) => Ok(MapEntry::Constant(constant)),
        (true, None) => Ok(MapEntry::Pointer { pointers, format, zone: zone.map(|(z, _)| z) }),
    }
}

fn near_format(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    nearest(name, ["rfc3339", "epoch_s", "epoch_ms", "epoch_us"]).or(match lower.as_str() {
        n if n.contains("milli") || n.ends_with("ms") => Some("epoch_ms"),
        n if n.contains("micro") || n.ends_with("us") => Some("epoch_us"),
        n if n.contains("unix") || n.contains("epoch") || n.contains("sec") => Some("epoch_s"),
        n if n.contains("iso") || n.contains("rfc") => Some("rfc3339"),
        _ => None,
    })
}

fn pointers(field: &str, node: &Node) -> Result<Vec<String>, Vec<Found>> {
    let nodes = match &node.value {
        Value::List(nodes) => &nodes[..],
        _ => std::slice::from_ref(node),
    };
    let mut pointers = Vec::new();
    let mut found = Vec::new();
    for node in nodes {
        match &node.value {
            Value::Text(t) => match wire::json::pointer::names(t) {
                Ok(_) => pointers.push(t.clone()),
                Err(error) => {
                    let message = format!("the map of `{field}` cannot be \"{t}\": {error}");
                    let problem = Found::new(ProblemKind::BadValue, Some(node.spot), message);
                    found.push(match t.trim_start_matches(['$', '.']) {
                        // Other ways people write paths: `a.b`, `$.a.b`.
                        path if !t.starts_with('/') && path.contains('.') => {
                            problem.help(format!("did you mean \"/{}\"?", path.replace('.', "/")))
                        }
                        _ => problem,
                    });
                }
            },
            other => found.push(Found::new(
                ProblemKind::WrongType,
                Some(node.spot),
                format!("a pointer in the map of `{field}` is a text, not {}", other.what()),
            )),
        }
    }
    if nodes.is_empty() {
        let message = format!("the map of `{field}` has no pointer");
        found.push(Found::new(ProblemKind::BadValue, Some(node.spot), message));
    }
    if found.is_empty() { Ok(pointers) } else { Err(found) }
}
