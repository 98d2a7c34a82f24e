//! `[[lookup]]`: what each reads and writes, held to what there is: fields of the sources' maps, members of `enriched`, and
//! an order in which all can be asked.

use enrich::condition::Condition;
use enrich::enricher::{PARAMETERS_MAX, built_in};
use enrich::order::{self, Node};
use enrich::path::{Base, Path};
use event::Field;

use super::build::NamedFile;
use super::model::{Config, Lookup, LookupKind, OnMany, TableFormat};
use super::problem::{Found, ProblemKind};
use super::read::{At, Reader};
use super::remote::{self, Named, Remote};
use super::schema::{KEYS, REMOTE};
use super::suggest::nearest;
use super::text::Spot;

/// Members of `enriched` that are not free for lookups: its own, and those of the built-in enrichers, also of later ones.
pub(super) const TAKEN: [&str; 14] = [
    "v",
    "at",
    "revision",
    "status",
    "data_versions",
    "geo",
    "network",
    "device",
    "referrer",
    "campaign",
    "visitor",
    "bot",
    "cross_domain",
    "score",
];

const DEFAULT: &str = "the key has a default";

/// Reads all lookups into the configuration, and gives the sources' maps what lookups need of events.
pub(super) fn add(reader: &mut Reader, root: &At<'_>, config: &mut Config, named: &mut Named<'_>) {
    let places = root.list("lookup");
    for at in &places {
        let lookup = read(reader, at, named);
        let name = &lookup.name;
        let conflict = if TAKEN.contains(&name.as_str()) {
            Some(format!("`enriched.{name}` is taken: take another name"))
        } else if config.lookups.iter().any(|l| l.name == *name) && !name.is_empty() {
            Some(format!("there is a [[lookup]] \"{name}\" already"))
        } else {
            None
        };
        if let Some(message) = conflict {
            reader.found.push(Found::new(ProblemKind::Conflict, at.spot_of("name"), message));
        }
        config.lookups.push(lookup);
    }
    number_fields(reader, &places, config);
    check_fields(reader, &places, config);
    check_order(reader, &places, config);
}

fn read(r: &mut Reader, at: &At<'_>, named: &mut Named<'_>) -> Lookup {
    let name = r.name(at, "name").unwrap_or_default();
    let kind = r.word(at, "kind");
    let key = keys(r, at, kind.as_deref());
    let when = when(r, at);
    let required = r.switch(at, "required").expect(DEFAULT);
    if let Some(kind) = &kind {
        refuse_other_kinds(r, at, kind);
    }
    let kind = match kind.as_deref() {
        Some(kind) if REMOTE.contains(&kind) => {
            let before = r.found.len();
            let remote = remote::read(r, at, kind, key.len(), named);
            // What is wrong already is told once.
            if r.found.len() == before && key.len() <= PARAMETERS_MAX {
                refuse_what_no_client_takes(r, at, &remote, key.len());
            }
            LookupKind::Remote(Box::new(remote))
        }
        kind => file(r, at, kind, required, named),
    };
    Lookup { name, kind, key, when, required }
}

/// Of kind file or mmdb.
fn file(r: &mut Reader, at: &At<'_>, kind: Option<&str>, required: bool, named: &mut Named<'_>) -> LookupKind {
    let path = r.path(at, "path");
    if let (None, Some(kind)) = (at.member("path"), kind) {
        let example = if kind == "mmdb" { "company.mmdb" } else { "plans.csv" };
        let found = Found::new(ProblemKind::MissingKey, at.spot, format!("a lookup of kind {kind} needs `path`"));
        r.found.push(found.help(format!("for example: path = \"{example}\"")));
    }
    let path = path.unwrap_or_default();
    named.files.push(NamedFile { key: "lookup.path", path: path.clone(), spot: at.spot_of("path"), needed: required });
    if kind == Some("mmdb") {
        return LookupKind::Mmdb { path };
    }
    let on_many = r.word(at, "on_many").expect(DEFAULT);
    LookupKind::File {
        path,
        format: r.word(at, "format").map(|f| match f.as_str() {
            "csv" => TableFormat::Csv,
            "ndjson" => TableFormat::Ndjson,
            _ => TableFormat::Parquet,
        }),
        key_column: r.text(at, "key_column"),
        columns: r.texts(at, "columns").unwrap_or_default(),
        on_many: if on_many == "first" { OnMany::First } else { OnMany::Error },
    }
}

/// What stands there and goes with other kinds.
fn refuse_other_kinds(r: &mut Reader, at: &At<'_>, kind: &str) {
    let mut told: Vec<&str> = Vec::new();
    for key in KEYS.iter().filter(|k| !k.only.is_empty() && !k.only.contains(&kind)) {
        let Some(name) = key.path.strip_prefix("lookup[].").and_then(|rest| rest.split('.').next()) else { continue };
        if at.member(name).is_some() && !told.contains(&name) {
            told.push(name);
            let message = format!("`{name}` is for lookups of kind {}, and this one is {kind}", one_of(key.only));
            r.found.push(Found::new(ProblemKind::Conflict, at.key_spot(name).or(at.spot), message));
        }
    }
}

/// `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// What the client of a source does not take, as far as that can be told without secrets and connections.
#[cfg(feature = "remote")]
fn refuse_what_no_client_takes(r: &mut Reader, at: &At<'_>, remote: &Remote, parameters: usize) {
    if let Err(wrong) = crate::lookups::client::try_out(remote, parameters) {
        let message = format!("`lookup.{}`: {}", wrong.key, wrong.what);
        r.found.push(Found::new(ProblemKind::BadValue, at.spot_of(wrong.key), message));
    }
}

#[cfg(not(feature = "remote"))]
fn refuse_what_no_client_takes(r: &mut Reader, at: &At<'_>, _: &Remote, _: usize) {
    let message = "this program was built without lookups that are asked over a connection";
    let found = Found::new(ProblemKind::BadValue, at.spot_of("kind"), message);
    r.found.push(found.help("take one that was built with its feature `lookups`, which is a default"));
}

/// What is looked up; where it is missing or wrong, something that stands for it.
fn keys(r: &mut Reader, at: &At<'_>, kind: Option<&str>) -> Vec<Path> {
    let address = || Path { base: Base::Field("ip".into()), rest: Vec::new() };
    let texts = r.texts(at, "key");
    if let (None, Some(kind)) = (at.member("key"), kind.filter(|k| *k != "mmdb")) {
        let found = Found::new(ProblemKind::MissingKey, at.spot, format!("a lookup of kind {kind} needs `key`"));
        r.found.push(found.help("for example: key = \"event.user\""));
    }
    let Some(texts) = texts else { return vec![address()] };
    let most = if kind.is_some_and(|kind| REMOTE.contains(&kind)) { PARAMETERS_MAX } else { 1 };
    if !(1..=most).contains(&texts.len()) {
        let message = match (texts.len(), kind) {
            (0, _) => "`lookup.key` names nothing".to_owned(),
            (n, _) if most > 1 => format!("`lookup.key` has {n} parameters; a key has at most {most}"),
            (_, kind) => format!("a lookup of kind {} has a key of one path", kind.unwrap_or("file")),
        };
        r.found.push(Found::new(ProblemKind::BadValue, at.spot_of("key"), message));
    }
    let mut keys = Vec::new();
    for (n, text) in texts.iter().enumerate() {
        keys.push(Path::parse(text).unwrap_or_else(|message| {
            let message = format!("`lookup.key` cannot be \"{text}\": {message}");
            r.found.push(Found::new(ProblemKind::BadValue, at.spot_of_element("key", n), message));
            address()
        }));
    }
    if keys.is_empty() { vec![address()] } else { keys }
}

fn when(r: &mut Reader, at: &At<'_>) -> Option<Condition> {
    let text = r.text(at, "when")?;
    match Condition::compile(&text) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let spot = at.spot_of("when").map(|spot| inside(r, spot, &text, error.position));
            let message = format!("`lookup.when` is no condition: {error}");
            let found = Found::new(ProblemKind::BadValue, spot, message);
            r.found.push(found.help("conditions are written in CEL, like event.user != null"));
            None
        }
    }
}

impl Lookup {
    /// What it reads, each with the name of the key that says so.
    fn reads(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let when = self.when.iter().flat_map(|when| when.paths()).map(|path| ("when", path));
        self.key.iter().map(|path| ("key", path)).chain(when)
    }
}

/// One number for each field of the users' own, the same in the maps of all sources: names from the lowest number up, in
/// the order they are written; pointers from the highest down, so that a further name leaves them theirs. (Records that wait
/// in `raw` while the configuration changes have the numbers of the old one.)
fn number_fields(reader: &mut Reader, places: &[At<'_>], config: &mut Config) {
    let mut names: Vec<String> = Vec::new();
    for mapped in config.sources.iter().flat_map(|s| s.map.fields()) {
        if mapped.field.0 >= Field::FIRST_CUSTOM && !names.contains(&mapped.name) {
            names.push(mapped.name.clone());
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let room = Field::MAX - Field::FIRST_CUSTOM as usize;
    let mut pointers: Vec<&str> = Vec::new();
    for (lookup, at) in config.lookups.iter().zip(places) {
        for (key, path) in lookup.reads() {
            let Base::Pointer(pointer) = &path.base else { continue };
            if pointers.contains(&pointer.as_str()) {
                continue;
            }
            pointers.push(pointer);
            let reserved = format!("/{}", config.enrich.member);
            if pointer.strip_prefix(&reserved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                let message = format!("{reserved} is what enrichment adds; events do not have it");
                let found = Found::new(ProblemKind::BadValue, spot_of(reader, at, key, pointer), message);
                reader.found.push(found.help("what others wrote is read like enriched.user.plan"));
            }
            if names.len() + pointers.len() == room + 1 {
                let message = format!(
                    "a record keeps {room} fields beyond the envelope: {} of the sources' maps, and not this pointer",
                    names.len()
                );
                reader.found.push(Found::new(ProblemKind::Conflict, spot_of(reader, at, key, pointer), message));
            }
        }
    }
    if names.len() + pointers.len() > room {
        if names.len() > room {
            let message = format!("the sources' maps have {} fields of their own; a record keeps {room}", names.len());
            reader.found.push(Found::new(ProblemKind::Conflict, None, message));
        }
        return;
    }
    let number = |n: usize| Field(u8::try_from(n).expect("below Field::MAX"));
    let names_at = names
        .iter()
        .enumerate()
        .map(|(n, name)| (Base::Field((*name).to_owned()), number(Field::FIRST_CUSTOM as usize + n)));
    let pointers_at =
        pointers.iter().enumerate().map(|(n, p)| (Base::Pointer((*p).to_owned()), number(Field::MAX - 1 - n)));
    config.fields = names_at.chain(pointers_at).collect();
    for source in &mut config.sources {
        source.map.number(&names);
        for (base, field) in &config.fields {
            if let Base::Pointer(pointer) = base {
                source.map.add_pointer(*field, pointer).expect("it was read as a pointer");
            }
        }
    }
}

/// Each field that is read is one of the envelope's, or of some source's map.
fn check_fields(reader: &mut Reader, places: &[At<'_>], config: &Config) {
    let own = |name: &str| config.fields.iter().any(|(base, _)| matches!(base, Base::Field(n) if n == name));
    for (lookup, at) in config.lookups.iter().zip(places) {
        for (key, path) in lookup.reads() {
            let Base::Field(name) = &path.base else { continue };
            if Field::named(name).is_some() || own(name) {
                continue;
            }
            let message = format!("no source has a field `{name}`");
            let found = Found::new(ProblemKind::BadValue, spot_of(reader, at, key, name), message);
            let known = Field::NAMED.iter().map(|(_, name)| *name);
            let known = known.chain(config.fields.iter().filter_map(|(base, _)| match base {
                Base::Field(name) => Some(name.as_str()),
                _ => None,
            }));
            reader.found.push(match nearest(name, known) {
                Some(near) => found.help(format!("did you mean event.{near}?")),
                None => found.help(match key {
                    "key" => format!("map it in [source.map], or read it by a pointer: key = \"/properties/{name}\""),
                    _ => format!("map it in [source.map], or read it by a pointer: event[\"/properties/{name}\"]"),
                }),
            });
        }
    }
}

/// There is an order, and who writes what others read.
fn check_order(reader: &mut Reader, places: &[At<'_>], config: &Config) {
    let built_in = built_in();
    let mut nodes: Vec<Node<'_>> = built_in.iter().map(|e| Node::of(e.as_ref())).collect();
    nodes.extend(config.lookups.iter().map(|lookup| Node {
        name: &lookup.name,
        needs: lookup.reads().filter_map(|(_, path)| member(path)).collect(),
        asks: true,
    }));
    let Err(error) = order::rounds(&nodes) else { return };
    let Some(n) = error.at.checked_sub(built_in.len()) else { return };
    let (lookup, at) = (&config.lookups[n], &places[n]);
    let need = nodes[error.at].needs[error.need];
    let (key, _) = lookup.reads().find(|(_, path)| member(path) == Some(need)).expect("it is read somewhere");
    let spot = spot_of(reader, at, key, &format!("enriched.{need}"));
    let found = Found::new(ProblemKind::Conflict, spot, error.message);
    reader.found.push(match need {
        "visitor" => found.help("the visitor's id is event.visitor"),
        _ => found,
    });
}

fn member(path: &Path) -> Option<&str> {
    match &path.base {
        Base::Member(name) => Some(name),
        Base::Field(_) | Base::Pointer(_) => None,
    }
}

/// Where `part` stands in the text of a key.
fn spot_of(reader: &Reader, at: &At<'_>, key: &str, part: &str) -> Option<Spot> {
    let texts = at.texts(key);
    let Some((text, spot, position)) =
        texts.into_iter().find_map(|(text, spot)| text.find(part).map(|at| (text, spot, at)))
    else {
        return at.spot_of(key);
    };
    let from = inside(reader, spot, text, position);
    Some(if from == spot { spot } else { Spot { end: from.start + part.len(), ..from } })
}

/// The word at `position` of a text that stands at `spot`; all of it where that cannot be told.
fn inside(reader: &Reader, spot: Spot, text: &str, position: usize) -> Spot {
    let written = reader.texts.get(spot.text).content.get(spot.start..spot.end).unwrap_or_default();
    let Some(start) = written_at(written, text, position) else { return spot };
    let rest = text.get(position..).unwrap_or_default();
    let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let len = if word == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { word };
    Spot { start: spot.start + start, end: spot.start + start + len, ..spot }
}

/// Where the byte at `position` of `text` is in `written`, which is `text` in some kind of TOML's quotes, or in none.
fn written_at(written: &str, text: &str, position: usize) -> Option<usize> {
    if let Some(start) = written.find(text).filter(|_| !text.is_empty()) {
        return Some(start + position);
    }
    // With escapes: two characters stand for one, but for those by number, which nobody writes in a condition.
    let mut at = 1;
    for c in text.get(..position)?.chars() {
        at += match written.get(at..)?.strip_prefix('\\') {
            Some(escaped) if escaped.starts_with(['"', '\\', 'n', 't', 'r', 'b', 'f', 'e']) => 2,
            None if written[at..].starts_with(c) => c.len_utf8(),
            _ => return None,
        };
    }
    written.is_char_boundary(at).then_some(at)
}
