//! The merged tree against the schema: unknown keys, and typed reading of known ones. Every problem is noted and reading
//! goes on with the default, so that one look finds all of them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::layers::{Layers, Spelling, join, suggest};
use super::mask;
use super::problem::{Found, ProblemKind};
use super::schema::{Absent, Key, Kind, Schema, VERSION, show_section};
use super::secret::{MaybeSecret, SecretRef};
use super::suggest::nearest;
use super::text::{Spot, Texts};
use super::tree::{self, Member, Node, Table, Value};
use super::units::{self, Space, show_duration, show_size};

pub(crate) struct Reader {
    schema: Schema,
    pub texts: Texts,
    pub found: Vec<Found>,
}

/// A table that is being read.
#[derive(Clone)]
pub(crate) struct At<'t> {
    table: Option<&'t Table>,
    /// Of the schema.
    path: String,
    /// Where the table begins.
    pub spot: Option<Spot>,
}

/// Why a value cannot be taken.
enum Wrong {
    Type,
    /// The element of a list that stands there is this.
    Element(Spot, &'static str),
    /// With the reason.
    Value(String),
    /// With the whole message and help.
    Other(ProblemKind, String, String),
}

impl<'t> At<'t> {
    pub fn top(root: &'t Table) -> At<'t> {
        At { table: Some(root), path: String::new(), spot: None }
    }

    pub fn section(&self, name: &str) -> At<'t> {
        let member = self.member(name);
        let table = member.and_then(|m| match &m.node.value {
            Value::Table(t) => Some(t),
            _ => None,
        });
        At { table, path: join(&self.path, name), spot: member.map(|m| m.node.spot) }
    }

    pub fn list(&self, name: &str) -> Vec<At<'t>> {
        let Some(Value::List(nodes)) = self.member(name).map(|m| &m.node.value) else {
            return Vec::new();
        };
        let path = format!("{}[]", join(&self.path, name));
        nodes
            .iter()
            .filter_map(|n| match &n.value {
                Value::Table(t) => Some(At { table: Some(t), path: path.clone(), spot: Some(n.spot) }),
                _ => None,
            })
            .collect()
    }

    pub fn member(&self, name: &str) -> Option<&'t Member> {
        self.table.and_then(|t| t.get(name))
    }

    /// The text at `name`, if it is one.
    pub fn text(&self, name: &str) -> Option<&'t str> {
        self.table.and_then(|t| t.text_at(name))
    }

    /// The text at `name`, or those of a list, each with where it stands.
    pub fn texts(&self, name: &str) -> Vec<(&'t str, Spot)> {
        let nodes = match self.member(name).map(|m| &m.node) {
            Some(Node { value: Value::List(nodes), .. }) => nodes.as_slice(),
            Some(node) => std::slice::from_ref(node),
            None => &[],
        };
        let text = |node: &'t Node| match &node.value {
            Value::Text(text) => Some((text.as_str(), node.spot)),
            _ => None,
        };
        nodes.iter().filter_map(text).collect()
    }

    /// Where the `n`-th element of `name` stands; all of it, if it is no list.
    pub fn spot_of_element(&self, name: &str, n: usize) -> Option<Spot> {
        match self.member(name).map(|m| &m.node.value) {
            Some(Value::List(nodes)) => nodes.get(n).map(|node| node.spot),
            _ => self.spot_of(name),
        }
    }

    /// Where the value of `name` stands, or the table if it is not written.
    pub fn spot_of(&self, name: &str) -> Option<Spot> {
        self.member(name).map(|m| m.node.spot).or(self.spot)
    }

    /// Where the key `name` stands, if it is written.
    pub fn key_spot(&self, name: &str) -> Option<Spot> {
        self.member(name).map(|m| m.key)
    }
}

impl Reader {
    /// Looks for unknown keys in all layers.
    pub fn new(layers: Layers) -> (Reader, Table) {
        let Layers { schema, texts, root, found } = layers;
        let mut reader = Reader { schema, texts, found };
        reader.known(&root, "");
        (reader, root)
    }

    fn known(&mut self, table: &Table, path: &str) {
        for (name, member) in &table.members {
            let here = join(path, name);
            let value = &member.node.value;
            if let Some(key) = self.schema.key(&here) {
                if key.kind == Kind::Secret && !mask::is_reference(&member.node) {
                    mask::mask_values(&member.node, &mut self.texts);
                }
            } else if self.schema.is_list(&here) {
                match value {
                    Value::List(nodes) if nodes.iter().all(|n| matches!(n.value, Value::Table(_))) => {
                        for node in nodes {
                            if let Value::Table(element) = &node.value {
                                self.known(element, &format!("{here}[]"));
                            }
                        }
                    }
                    other => self.found.push(
                        Found::new(
                            ProblemKind::WrongType,
                            Some(member.key),
                            format!("`{here}` is a list of tables, not {}", other.what()),
                        )
                        .help(format!("begin each with [[{here}]]")),
                    ),
                }
            } else if self.schema.is_section(&here) {
                match value {
                    Value::Table(inner) => self.known(inner, &here),
                    other => self.found.push(
                        Found::new(
                            ProblemKind::WrongType,
                            Some(member.key),
                            format!("`{here}` is a table, not {}", other.what()),
                        )
                        .help(self.below(member.key, &here)),
                    ),
                }
            } else {
                self.unknown(path, name, member);
            }
        }
    }

    /// How the keys of a section are written where `spot` is.
    fn below(&self, spot: Spot, section: &str) -> String {
        match self.texts.get(spot.text).numbered() {
            true => format!("write its keys below [{section}]"),
            false => {
                let keys = self.schema.keys.iter().filter(|k| k.section() == section).map(|k| k.path);
                format!("name one of its keys: {}", keys.collect::<Vec<_>>().join(", "))
            }
        }
    }

    fn unknown(&mut self, path: &str, name: &str, member: &Member) {
        let message = match &member.node.value {
            Value::Table(_) => format!("unknown section [{}]", join(path, name).replace("[]", "")),
            Value::List(l) if l.iter().any(|n| matches!(n.value, Value::Table(_))) => {
                format!("unknown section [[{}]]", join(path, name).replace("[]", ""))
            }
            _ if path.is_empty() => format!("unknown key `{name}`"),
            _ => format!("unknown key `{name}` in {}", show_section(path)),
        };
        let found = Found::new(ProblemKind::UnknownKey, Some(member.key), message);
        let mut found = suggest(&self.schema, found, path, name, path, Spelling::File);
        if mask::sounds_secret(name) && !mask::is_reference(&member.node) {
            found = found.help(SECRET_HELP);
        }
        self.found.push(found);
    }

    fn value<T>(&mut self, at: &At<'_>, name: &str, read: impl Fn(&Key, &Node) -> Result<T, Wrong>) -> Option<T> {
        let path = join(&at.path, name);
        let key = self.schema.key(&path).unwrap_or_else(|| panic!("{path} is not in the table of keys"));
        if let Some(member) = at.member(name) {
            match read(key, &member.node) {
                Ok(value) => return Some(value),
                Err(wrong) => self.wrong(key, &member.node, wrong),
            }
        }
        match key.absent {
            Absent::Is(default) => {
                let node =
                    tree::parse_value(default, 0, 0).unwrap_or_else(|_| panic!("the default of {path} is no TOML"));
                Some(read(key, &node).unwrap_or_else(|_| panic!("the default of {path} is not in its own bounds")))
            }
            Absent::Refused if at.member(name).is_none() => {
                let found = Found::new(
                    ProblemKind::MissingKey,
                    at.spot,
                    format!("`{name}` is missing in {}", show_section(&at.path)),
                );
                self.found.push(found.help(format!("for example: {name} = {}", key.example)));
                None
            }
            Absent::Refused | Absent::Means(_) => None,
        }
    }

    fn wrong(&mut self, key: &Key, node: &Node, wrong: Wrong) {
        let shown = key.path.replace("[]", "");
        let found = match wrong {
            Wrong::Type => Found::new(
                ProblemKind::WrongType,
                Some(node.spot),
                format!("`{shown}` takes {}, not {}", wanted(key.kind), node.value.what()),
            )
            .help(format!("for example: {} = {}", key.name(), key.example)),
            Wrong::Element(spot, what) => {
                let message = format!("`{shown}` takes {}, and this is {what}", wanted(key.kind));
                Found::new(ProblemKind::WrongType, Some(spot), message)
            }
            Wrong::Value(why) => {
                let value = match &node.value {
                    Value::Text(t) => format!("\"{t}\""),
                    Value::Integer(i) => i.to_string(),
                    other => other.what().into(),
                };
                let found =
                    Found::new(ProblemKind::BadValue, Some(node.spot), format!("`{shown}` cannot be {value}: {why}"));
                match (key.kind, &node.value) {
                    (Kind::Word(words), Value::Text(t)) => match nearest(t, words.iter().copied()) {
                        Some(near) => found.help(format!("did you mean \"{near}\"?")),
                        None => found,
                    },
                    _ => found,
                }
            }
            Wrong::Other(kind, message, help) => Found::new(kind, Some(node.spot), message).help(help),
        };
        self.found.push(found);
    }

    /// What a relative path written at `spot` is relative to.
    fn base(&self, spot: Spot) -> PathBuf {
        self.texts.get(spot.text).base.clone()
    }

    pub fn version(&mut self, at: &At<'_>, name: &str) -> Option<u64> {
        self.value(at, name, |_, node| match node.value {
            Value::Integer(i) if i == i128::from(VERSION) => Ok(VERSION),
            Value::Integer(_) => Err(Wrong::Value(format!("this program reads version {VERSION}"))),
            _ => Err(Wrong::Type),
        })
    }

    /// A text that is a name: letters, digits, `_` and `-`.
    pub fn name(&mut self, at: &At<'_>, name: &str) -> Option<String> {
        self.value(at, name, |_, node| {
            let text = text(node)?;
            if text.is_empty() || text.len() > NAME_MAX {
                return Err(Wrong::Value(format!("a name has 1 to {NAME_MAX} characters")));
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !text.chars().all(plain) || !text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                return Err(Wrong::Value(
                    "a name has letters, digits, `_` and `-`, and does not begin with `-`".into(),
                ));
            }
            Ok(text)
        })
    }

    /// A text of 1 to [`TEXT_MAX`] bytes.
    pub fn text(&mut self, at: &At<'_>, name: &str) -> Option<String> {
        self.value(at, name, |_, node| bounded(text(node)?))
    }

    /// A list of such texts; one alone is a list of one.
    pub fn texts(&mut self, at: &At<'_>, name: &str) -> Option<Vec<String>> {
        self.value(at, name, |_, node| match &node.value {
            Value::List(nodes) if nodes.len() > TEXTS_MAX => {
                Err(Wrong::Value(format!("a list has at most {TEXTS_MAX} texts")))
            }
            Value::List(nodes) => nodes.iter().map(element).collect(),
            _ => Ok(vec![bounded(text(node)?)?]),
        })
    }

    /// A table of such texts, in the order they are written in.
    pub fn text_map(&mut self, at: &At<'_>, name: &str) -> Option<Vec<(String, String)>> {
        self.value(at, name, |_, node| {
            let Value::Table(table) = &node.value else { return Err(Wrong::Type) };
            if table.members.len() > TEXTS_MAX {
                return Err(Wrong::Value(format!("a table has at most {TEXTS_MAX} texts")));
            }
            let mut members: Vec<_> = table.members.iter().collect();
            members.sort_by_key(|(_, m)| (m.key.text, m.key.start));
            members.into_iter().map(|(name, m)| Ok((bounded(name.clone())?, element(&m.node)?))).collect()
        })
    }

    pub fn word(&mut self, at: &At<'_>, name: &str) -> Option<String> {
        self.value(at, name, |key, node| {
            let Kind::Word(words) = key.kind else { panic!("{} is not a word", key.path) };
            let text = text(node)?;
            if words.contains(&text.as_str()) {
                return Ok(text);
            }
            Err(Wrong::Value(match words {
                [one] => format!("it can only be \"{one}\""),
                _ => format!("it is one of {}", words.join(", ")),
            }))
        })
    }

    pub fn switch(&mut self, at: &At<'_>, name: &str) -> Option<bool> {
        self.value(at, name, |_, node| match node.value {
            Value::Switch(b) => Ok(b),
            _ => Err(Wrong::Type),
        })
    }

    pub fn count(&mut self, at: &At<'_>, name: &str) -> Option<u64> {
        self.value(at, name, |key, node| {
            let Kind::Count { min, max } = key.kind else { panic!("{} is not a count", key.path) };
            let Value::Integer(i) = node.value else {
                return Err(Wrong::Type);
            };
            match u64::try_from(i) {
                Ok(n) if (min..=max).contains(&n) => Ok(n),
                _ => Err(Wrong::Value(format!("it goes from {min} to {max}"))),
            }
        })
    }

    pub fn duration(&mut self, at: &At<'_>, name: &str) -> Option<Duration> {
        self.value(at, name, |key, node| {
            let Kind::Duration { min_ms, max_ms } = key.kind else { panic!("{} is not a duration", key.path) };
            let read = match &node.value {
                Value::Text(t) => units::duration(t),
                // Without a unit it is refused, but with the right example.
                Value::Integer(i) => units::duration(&i.to_string()),
                _ => return Err(Wrong::Type),
            };
            let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(max_ms));
            match read.map_err(Wrong::Value)? {
                d if (min..=max).contains(&d) => Ok(d),
                _ => Err(Wrong::Value(format!("it goes from {} to {}", show_duration(min), show_duration(max)))),
            }
        })
    }

    pub fn size(&mut self, at: &At<'_>, name: &str) -> Option<u64> {
        self.value(at, name, |key, node| {
            let Kind::Size { min, max } = key.kind else { panic!("{} is not a size", key.path) };
            let read = match &node.value {
                Value::Text(t) => units::size(t),
                Value::Integer(i) => units::size(&i.to_string()),
                _ => return Err(Wrong::Type),
            };
            match read.map_err(Wrong::Value)? {
                n if (min..=max).contains(&n) => Ok(n),
                _ => Err(Wrong::Value(format!("it goes from {} to {}", show_size(min), show_size(max)))),
            }
        })
    }

    pub fn space(&mut self, at: &At<'_>, name: &str) -> Option<Space> {
        self.value(at, name, |_, node| match &node.value {
            Value::Text(t) => units::space(t).map_err(Wrong::Value),
            Value::Integer(i) => units::space(&i.to_string()).map_err(Wrong::Value),
            _ => Err(Wrong::Type),
        })
    }

    pub fn address(&mut self, at: &At<'_>, name: &str) -> Option<SocketAddr> {
        self.value(at, name, |_, node| {
            let Value::Text(t) = &node.value else {
                return Err(Wrong::Type);
            };
            address(t).map_err(Wrong::Value)
        })
    }

    pub fn path(&mut self, at: &At<'_>, name: &str) -> Option<PathBuf> {
        let base = at.member(name).map(|m| self.base(m.node.spot)).unwrap_or_default();
        self.value(at, name, |_, node| path(node, &base))
    }

    /// `s3://bucket/prefix` as it stands, or a path.
    pub fn store(&mut self, at: &At<'_>, name: &str) -> Option<String> {
        let base = at.member(name).map(|m| self.base(m.node.spot)).unwrap_or_default();
        self.value(at, name, |_, node| {
            let written = text(node)?;
            let Some(place) = written.strip_prefix(S3) else {
                if let Some((scheme, _)) = written.split_once("://") {
                    return Err(Wrong::Value(format!("it is a path or begins with {S3}, not with {scheme}://")));
                }
                return path(node, &base).map(|path| path.display().to_string());
            };
            if !mask::passwords_in(&written).is_empty() {
                let message = "`state.store` has a password in it, and is a secret".to_owned();
                let help = "the keys have keys of their own: `state.access_key`, `state.secret_key`".to_owned();
                return Err(Wrong::Other(ProblemKind::SecretInPlace, message, help));
            }
            if place.is_empty() || place.starts_with('/') {
                return Err(Wrong::Value(format!("the bucket is missing: {S3}BUCKET/PREFIX")));
            }
            Ok(written)
        })
    }

    /// Each path with where it stands.
    pub fn paths(&mut self, at: &At<'_>, name: &str) -> Vec<(PathBuf, Option<Spot>)> {
        let base = at.member(name).map(|m| self.base(m.node.spot)).unwrap_or_default();
        let written = at.member(name).is_some();
        let read = self.value(at, name, |_, node| match &node.value {
            Value::List(nodes) => {
                let element = |n: &Node| match path(n, &base) {
                    Ok(path) => Ok((path, n.spot)),
                    Err(Wrong::Type) => Err(Wrong::Element(n.spot, n.value.what())),
                    Err(other) => Err(other),
                };
                nodes.iter().map(element).collect::<Result<Vec<_>, _>>()
            }
            _ => Ok(vec![(path(node, &base)?, node.spot)]),
        });
        read.unwrap_or_default().into_iter().map(|(p, s)| (p, written.then_some(s))).collect()
    }

    /// Where a secret is to be found. A secret that stands there itself is a problem, and is not shown.
    pub fn secret(&mut self, at: &At<'_>, name: &str) -> Option<SecretRef> {
        let base = at.member(name).map(|m| self.base(m.node.spot)).unwrap_or_default();
        self.value(at, name, |key, node| secret(&key.path.replace("[]", ""), node, &base))
    }

    /// A URL, or where it is to be found. One with a password in it is a secret.
    pub fn url(&mut self, at: &At<'_>, name: &str) -> Option<MaybeSecret> {
        let base = at.member(name).map(|m| self.base(m.node.spot)).unwrap_or_default();
        self.value(at, name, |key, node| {
            if matches!(node.value, Value::Table(_)) {
                return secret(&key.path.replace("[]", ""), node, &base).map(MaybeSecret::Secret);
            }
            let url = bounded(text(node)?)?;
            if !mask::passwords_in(&url).is_empty() {
                let message = format!("`{}` has a password in it, and is a secret", key.path.replace("[]", ""));
                return Err(Wrong::Other(ProblemKind::SecretInPlace, message, SECRET_HELP.into()));
            }
            Ok(MaybeSecret::Text(below(&url, &base)))
        })
    }

    /// A table of texts and of secrets' places, in the order they are written in. A name that sounds secret takes a place.
    pub fn secret_map(&mut self, at: &At<'_>, name: &str) -> Option<Vec<(String, MaybeSecret)>> {
        let base = at.member(name).map(|m| self.base(m.node.spot)).unwrap_or_default();
        self.value(at, name, |key, node| {
            let Value::Table(table) = &node.value else { return Err(Wrong::Type) };
            if table.members.len() > TEXTS_MAX {
                return Err(Wrong::Value(format!("a table has at most {TEXTS_MAX} texts")));
            }
            let mut members: Vec<_> = table.members.iter().collect();
            members.sort_by_key(|(_, m)| (m.key.text, m.key.start));
            let member = |(name, m): (&String, &Member)| {
                let shown = format!("{}.{name}", key.path.replace("[]", ""));
                if let Some(dotted) = dotted(name, &m.node) {
                    let message = format!("`{shown}` cannot be a table: a name with dots stands in quotes");
                    return Err(Wrong::Other(ProblemKind::WrongType, message, format!("\"{dotted}\" = ...")));
                }
                let is_secret = matches!(m.node.value, Value::Table(_)) || mask::sounds_secret(name);
                let value = match is_secret {
                    true => MaybeSecret::Secret(secret(&shown, &m.node, &base)?),
                    false => MaybeSecret::Text(element(&m.node)?),
                };
                Ok((bounded(name.clone())?, value))
            };
            members.into_iter().map(member).collect()
        })
    }
}

/// The name that was meant where TOML reads a table in a table.
fn dotted(name: &str, node: &Node) -> Option<String> {
    let Value::Table(table) = &node.value else { return None };
    let (inner, member) = table.members.iter().next().filter(|_| !mask::is_reference(node))?;
    let whole = format!("{name}.{inner}");
    Some(dotted(&whole, &member.node).unwrap_or(whole))
}

/// Where a secret is to be found; `shown` is the key.
fn secret(shown: &str, node: &Node, base: &std::path::Path) -> Result<SecretRef, Wrong> {
    if let (true, Value::Table(table)) = (mask::is_reference(node), &node.value) {
        match (table.text_at("env"), table.text_at("file")) {
            (Some(variable), _) if !variable.is_empty() => return Ok(SecretRef::Env(variable.to_owned())),
            (_, Some(file)) if !file.is_empty() => return Ok(SecretRef::File(base.join(file))),
            _ => {}
        }
    }
    Err(match node.value {
        Value::Table(_) => Wrong::Type,
        _ => Wrong::Other(
            ProblemKind::SecretInPlace,
            format!("`{shown}` is a secret, and a secret does not stand in the configuration"),
            SECRET_HELP.into(),
        ),
    })
}

/// A URL whose path, if it names a file, is below `base`.
pub(crate) fn below(url: &str, base: &std::path::Path) -> String {
    match url.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() => format!("sqlite:{}", base.join(path).display()),
        _ => url.to_owned(),
    }
}

/// What the place of object storage begins with.
pub(crate) const S3: &str = "s3://";

const SECRET_HELP: &str = "a secret comes from the environment or a file: { env = \"NAME\" } or { file = \"path\" }";

/// Longest name of a source or lookup: it is in every record of its source, and in metrics.
pub const NAME_MAX: usize = 64;

/// Longest text: conditions and hosts are shorter.
pub const TEXT_MAX: usize = 4096;
/// Most texts in a list or table.
pub const TEXTS_MAX: usize = 1024;

fn bounded(text: String) -> Result<String, Wrong> {
    match text.len() {
        1..=TEXT_MAX => Ok(text),
        0 => Err(Wrong::Value("it is empty".into())),
        _ => Err(Wrong::Value(format!("a text has at most {TEXT_MAX} bytes"))),
    }
}

fn element(node: &Node) -> Result<String, Wrong> {
    match text(node) {
        Err(Wrong::Type) => Err(Wrong::Element(node.spot, node.value.what())),
        other => bounded(other?),
    }
}

fn text(node: &Node) -> Result<String, Wrong> {
    match (&node.value, &node.bare) {
        (Value::Text(t), _) => Ok(t.clone()),
        (_, Some(bare)) => Ok(bare.clone()),
        _ => Err(Wrong::Type),
    }
}

fn path(node: &Node, base: &std::path::Path) -> Result<PathBuf, Wrong> {
    let text = text(node)?;
    if text.is_empty() {
        return Err(Wrong::Value("a path cannot be empty".into()));
    }
    if text.contains('\0') {
        return Err(Wrong::Value("a path cannot contain a zero byte".into()));
    }
    Ok(base.join(text))
}

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix("localhost:").and_then(|p| p.parse().ok()) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        return Err("an address and a port, without http://".into());
    }
    if let Some(port) = text.trim_start_matches([':', '*']).parse::<u16>().ok().filter(|_| !text.contains('.')) {
        return Err(format!("the address is missing: \"127.0.0.1:{port}\""));
    }
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err(format!("the port is missing: \"{text}:7070\""));
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(format!("the port is missing: \"[{text}]:7070\""));
    }
    Err("it is an IP address and a port, such as \"127.0.0.1:7070\" or \"[::1]:7070\"".into())
}

/// What a value of this kind is, with its article.
pub(crate) fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Version | Kind::Count { .. } => "a whole number",
        Kind::Name | Kind::Word(_) => "a text",
        Kind::Switch => "true or false",
        Kind::Duration { .. } => "a duration",
        Kind::Size { .. } => "a size",
        Kind::Space => "a share or a size",
        Kind::Address => "an address and a port",
        Kind::Path => "a path",
        Kind::Paths => "a path or a list of paths",
        Kind::Text => "a text",
        Kind::Texts => "a list of texts",
        Kind::TextMap => "a table of texts",
        Kind::Secret => "a secret's place",
        Kind::Url => "a URL or a secret's place",
        Kind::SecretMap => "a table of texts and of secrets' places",
        Kind::Store => "a path, or a URL that begins with s3://",
        Kind::FieldMap => "a table of fields",
    }
}
