//! The layers of a configuration put over each other: file, then environment, then flags, then `--set`.

use std::path::{Path, PathBuf};

use super::mask;
use super::problem::{Found, ProblemKind};
use super::schema::{Kind, Schema, show_section};
use super::suggest::{nearest, same};
use super::text::{Origin, Spot, Texts};
use super::tree::{self, Node, Table, Value};

/// Variables that begin like this are configuration; `__` stands for the dot in a key.
pub(crate) const ENV_PREFIX: &str = "OUZEL__";

/// How a key was written, so that suggestions are written the same way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    File,
    Env,
    Set,
}

pub(crate) struct Layers {
    pub schema: Schema,
    pub texts: Texts,
    pub root: Table,
    pub found: Vec<Found>,
}

/// One name of a dotted key, and where it stands.
struct Segment {
    name: String,
    spot: Spot,
}

impl Layers {
    pub fn new(schema: Schema) -> Layers {
        Layers { schema, texts: Texts::default(), root: Table::default(), found: Vec::new() }
    }

    /// The lowest layer. Gives its text, and whether it could be read at all.
    pub fn file(&mut self, name: &str, content: String, base: PathBuf) -> (usize, bool) {
        let text = self.texts.add(Origin::File(name.to_owned()), content, base);
        mask::mask_addresses(text, &mut self.texts);
        match tree::parse_file(&self.texts.get(text).content, text) {
            Ok(table) => {
                mask::mask_table(&table, &mut self.texts);
                self.root = table;
                (text, true)
            }
            Err(found) => {
                mask::mask_unread(text, &mut self.texts);
                self.found.extend(found);
                (text, false)
            }
        }
    }

    /// Variables that begin with [`ENV_PREFIX`], in the order of their names.
    pub fn env(&mut self, env: &[(String, String)], cwd: &Path) {
        let mut ours: Vec<_> = env.iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
        ours.sort();
        for (name, value) in ours {
            let text = self.texts.add(Origin::Environment, format!("{name}={value}"), cwd.to_owned());
            let mut at = ENV_PREFIX.len();
            let segments = name[at..]
                .split("__")
                .map(|part| {
                    let spot = Spot { text, start: at, end: at + part.len() };
                    at += part.len() + 2;
                    Segment { name: part.to_ascii_lowercase(), spot }
                })
                .collect();
            self.value(text, segments, name.len() + 1, Spelling::Env);
        }
    }

    /// `key=value` of a `--set`.
    pub fn set(&mut self, assignment: &str, cwd: &Path) {
        const FLAG: &str = "--set ";
        let text = self.texts.add(Origin::CommandLine, format!("{FLAG}{assignment}"), cwd.to_owned());
        let Some((key, _)) = assignment.split_once('=') else {
            let spot = Spot { text, start: FLAG.len(), end: FLAG.len() + assignment.len() };
            self.found.push(
                Found::new(ProblemKind::Syntax, Some(spot), "`--set` takes `key=value`")
                    .help("for example `--set http.listen=127.0.0.1:8080`"),
            );
            return;
        };
        let mut at = FLAG.len();
        let segments = key
            .split('.')
            .map(|part| {
                let spot = Spot { text, start: at, end: at + part.len() };
                at += part.len() + 1;
                Segment { name: part.trim().to_owned(), spot }
            })
            .collect();
        self.value(text, segments, FLAG.len() + key.len() + 1, Spelling::Set);
    }

    /// A flag of its own, such as `--listen ADDRESS`: gives its text and the spot of its value.
    pub fn flag(&mut self, flag: &str, value: &str, cwd: &Path) -> Spot {
        let text = self.texts.add(Origin::CommandLine, format!("{flag} {value}"), cwd.to_owned());
        mask::mask_addresses(text, &mut self.texts);
        Spot { text, start: flag.len() + 1, end: flag.len() + 1 + value.len() }
    }

    fn value(&mut self, text: usize, segments: Vec<Segment>, value_at: usize, spelling: Spelling) {
        let secret = segments.iter().any(|s| mask::sounds_secret(&s.name));
        mask::mask_addresses(text, &mut self.texts);
        let content = self.texts.get(text).content.clone();
        match tree::parse_value(&content[value_at..], text, value_at) {
            Ok(node) => {
                if secret && !mask::is_reference(&node) {
                    self.texts.mask(Spot { text, start: value_at, end: content.len() });
                } else if let Value::Table(table) = &node.value {
                    mask::mask_table(table, &mut self.texts);
                }
                if let Err(found) = put(&self.schema, &mut self.root, "", &segments, 0, node, spelling) {
                    self.found.push(found);
                }
            }
            Err(found) => {
                if secret {
                    self.texts.mask(Spot { text, start: value_at, end: content.len() });
                }
                mask::mask_unread(text, &mut self.texts);
                self.found.push(found);
            }
        }
    }
}

/// Puts a value at `segments[depth..]` of `table`, which is at `path` of the schema.
fn put(
    schema: &Schema,
    table: &mut Table,
    path: &str,
    segments: &[Segment],
    depth: usize,
    node: Node,
    spelling: Spelling,
) -> Result<(), Found> {
    let segment = &segments[depth];
    let last = depth + 1 == segments.len();
    let here = join(path, &segment.name);
    let typed = |depth: usize| segments[..depth].iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(".");
    if schema.is_list(&here) && !last {
        let wanted = &segments[depth + 1];
        let list = match table.members.get_mut(&segment.name).map(|m| &mut m.node.value) {
            Some(Value::List(list)) => &mut list[..],
            _ => &mut [],
        };
        let meant = |name: &str| match spelling {
            // A variable's name has neither small letters nor hyphens.
            Spelling::Env => name.replace('-', "_").eq_ignore_ascii_case(&wanted.name),
            _ => name == wanted.name,
        };
        let names: Vec<String> = list.iter().filter_map(|n| name_of(n).map(str::to_owned)).collect();
        let Some(index) = list.iter().position(|n| name_of(n).is_some_and(meant)) else {
            let found = Found::new(
                ProblemKind::UnknownKey,
                Some(wanted.spot),
                format!("there is no [[{here}]] with the name \"{}\"", wanted.name),
            );
            return Err(match nearest(&wanted.name, names.iter().map(String::as_str)) {
                Some(near) => found.help(format!("did you mean \"{near}\"?")),
                None if names.is_empty() => found,
                None => found.help(format!("there are: {}", names.join(", "))),
            });
        };
        let inside = format!("{here}[]");
        return match (&mut list[index].value, depth + 2 == segments.len()) {
            (Value::Table(element), false) => put(schema, element, &inside, segments, depth + 2, node, spelling),
            (Value::Table(element), true) => {
                if let Value::Table(over) = node.value {
                    element.members.extend(over.members);
                    return Ok(());
                }
                Err(Found::new(
                    ProblemKind::WrongType,
                    Some(node.spot),
                    format!("`{}` is a table, not {}", typed(depth + 2), node.value.what()),
                ))
            }
            _ => Ok(()),
        };
    }
    if last && schema.is_section(&here) {
        // A table given whole is put over what is there, key by key.
        if let (Value::Table(over), Some(Value::Table(under))) =
            (&node.value, table.members.get_mut(&segment.name).map(|m| &mut m.node.value))
        {
            under.members.extend(over.members.clone());
            return Ok(());
        }
    } else if !last {
        let map = schema.key(&here).is_some_and(|k| matches!(k.kind, Kind::FieldMap | Kind::TextMap | Kind::SecretMap));
        if !map && !schema.is_section(&here) {
            return Err(unknown(schema, path, segment, &typed(depth), spelling));
        }
        let is_table = |t: &Table| t.get(&segment.name).is_some_and(|m| matches!(m.node.value, Value::Table(_)));
        if !is_table(table) {
            table.put(&segment.name, segment.spot, Node::new(Value::Table(Table::default()), segment.spot));
        }
        let Some(Value::Table(inner)) = table.members.get_mut(&segment.name).map(|m| &mut m.node.value) else {
            return Ok(());
        };
        if map {
            let field = segments[depth + 1..].iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(".");
            let spot = Spot { end: segments[segments.len() - 1].spot.end, ..segments[depth + 1].spot };
            inner.put(field, spot, node);
            return Ok(());
        }
        return put(schema, inner, &here, segments, depth + 1, node, spelling);
    }
    if schema.key(&here).is_none() && !schema.is_section(&here) && !schema.is_list(&here) {
        return Err(unknown(schema, path, segment, &typed(depth), spelling));
    }
    table.put(&segment.name, segment.spot, node);
    Ok(())
}

fn name_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Table(table) => table.text_at("name"),
        _ => None,
    }
}

fn unknown(schema: &Schema, path: &str, segment: &Segment, typed: &str, spelling: Spelling) -> Found {
    let full = join(typed, &segment.name);
    let found = Found::new(ProblemKind::UnknownKey, Some(segment.spot), format!("unknown key `{full}`"));
    suggest(schema, found, path, &segment.name, typed, spelling)
}

/// Adds to a problem with an unknown `name` in the table at `path` what may have been meant.
pub(crate) fn suggest(schema: &Schema, found: Found, path: &str, name: &str, typed: &str, spelling: Spelling) -> Found {
    let written = |full: &str| match spelling {
        Spelling::File => full.replace("[]", ""),
        Spelling::Set => full.replace("[].", ".NAME."),
        Spelling::Env => format!("{ENV_PREFIX}{}", full.replace("[].", "__NAME__").replace('.', "__").to_uppercase()),
    };
    let here = schema.names_in(path);
    let alias = |k: &&super::schema::Key| k.also.iter().any(|a| same(a, name));
    let near = nearest(name, here.iter().copied())
        .or_else(|| schema.keys.iter().filter(|k| k.section() == path).find(alias).map(|k| k.name()));
    if let Some(near) = near {
        let full = join(path, near);
        return found.help(match spelling {
            Spelling::File if schema.is_section(&full) || schema.is_list(&full) => {
                let full = if schema.is_list(&full) { format!("{full}[]") } else { full };
                format!("did you mean {}?", show_section(&full))
            }
            Spelling::File => format!("did you mean `{near}`?"),
            Spelling::Set => format!("did you mean `{}`?", join(typed, near)),
            Spelling::Env => format!("did you mean `{}`?", written(&join(typed, near))),
        });
    }
    let elsewhere = schema
        .keys
        .iter()
        .find(|k| same(k.name(), name))
        .or_else(|| schema.keys.iter().filter(|_| path.is_empty()).find(alias));
    if let Some(key) = elsewhere {
        return found.help(match spelling {
            Spelling::File => format!("`{}` is a key of {}", key.name(), show_section(key.section())),
            _ => format!("did you mean `{}`?", written(key.path)),
        });
    }
    let all: Vec<String> = here
        .iter()
        .map(|n| {
            let full = join(path, n);
            match spelling {
                Spelling::File if schema.is_list(&full) => format!("[[{full}]]"),
                Spelling::File if schema.is_section(&full) => format!("[{full}]"),
                _ => (*n).to_owned(),
            }
        })
        .collect();
    match (path.is_empty(), here.is_empty()) {
        (_, true) => found,
        (true, false) => found.help(format!("there are: {}", all.join(", "))),
        (false, false) => found.help(format!("{} has: {}", show_section(path), all.join(", "))),
    }
}

pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
