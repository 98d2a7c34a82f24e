//! What holds, key by key: every key of the schema with its value, written in one way, and where the value came from.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use wire::{ClockMode, MapEntry};

use super::layers::ENV_PREFIX;
use super::mask;
use super::model::{ClientAddress, Config, Lookup, Source};
use super::problem;
use super::read::{At, S3, address, below};
use super::schema::{Absent, KEYS, Key, Kind, SECTIONS};
use super::text::{Origin as TextOrigin, Spot, Texts};
use super::tree::{self, Node, Table, Value};
use super::units::{self, show_duration, show_size, show_space};

/// What stands for a value that is never shown.
pub const MASKED: &str = "\"***\"";

/// All keys, table by table in the order of the schema, lists in the order of the configuration.
#[derive(Clone, Debug)]
pub struct Effective {
    pub tables: Vec<EffectiveTable>,
}

/// The keys of one table: of the top, of a section, or of one element of a list.
#[derive(Clone, Debug)]
pub struct EffectiveTable {
    /// Of the schema; "" for the top.
    pub section: &'static str,
    /// The name of the element, for lists.
    pub element: Option<String>,
    /// In the order of the schema; a field map has one for each field.
    pub values: Vec<Holding>,
}

/// One key, and what holds for it.
#[derive(Clone, Debug)]
pub struct Holding {
    pub key: &'static Key,
    /// As `--set` takes it: `data.keep.raw`, `source.web.preset`, `source.web.map.time`.
    pub path: String,
    /// For an entry of a field map, the field.
    pub field: Option<String>,
    /// As TOML, in one spelling: equal values are equal texts. `None`: none holds, and the key says what that means.
    pub value: Option<String>,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    /// It follows from another key, which is named.
    Follows(String),
    File {
        /// As it was named.
        name: String,
        line: usize,
        column: usize,
    },
    /// The variable.
    Environment(String),
    /// The flag.
    CommandLine(String),
    /// It goes with other kinds only, which are named.
    OtherKinds(&'static [&'static str]),
}

impl Origin {
    /// For machines.
    pub fn name(&self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::Follows(_) => "follows",
            Origin::File { .. } => "file",
            Origin::Environment(_) => "environment",
            Origin::CommandLine(_) => "command_line",
            Origin::OtherKinds(_) => "other_kinds",
        }
    }

    /// Whether somebody wrote it.
    pub fn written(&self) -> bool {
        matches!(self, Origin::File { .. } | Origin::Environment(_) | Origin::CommandLine(_))
    }
}

/// On one line, without control characters: it stands in comments.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Origin::Default => "default".to_owned(),
            Origin::Follows(what) => format!("default, by {what}"),
            Origin::File { name, line, column } => format!("{name}:{line}:{column}"),
            Origin::Environment(variable) => format!("environment {variable}"),
            Origin::CommandLine(flag) => flag.clone(),
            Origin::OtherKinds(kinds) => format!("for kind {} only", kinds.join(", ")),
        };
        text.chars().try_for_each(|c| fmt::Write::write_char(f, if c.is_control() { '?' } else { c }))
    }
}

impl Effective {
    pub(crate) fn of(config: &Config, root: &Table, texts: &mut Texts) -> Effective {
        let text = texts.add(TextOrigin::BuiltIn, String::new(), "".into());
        let nowhere = Spot { text, start: 0, end: 0 };
        let walk = Walk { config, texts };
        let top = At::top(root);
        let mut tables = vec![walk.table(&top, "", None)];
        for section in SECTIONS {
            let Some(list) = section.path.strip_suffix("[]") else {
                if section.path.contains("[]") {
                    // Told behind its element.
                    continue;
                }
                let at = section.path.split('.').fold(top.clone(), |at, name| at.section(name));
                tables.push(walk.table(&at, section.path, None));
                continue;
            };
            let elements = top.list(list);
            for at in &elements {
                let name = Some(at.text("name").unwrap_or_default());
                tables.push(walk.table(at, section.path, name));
                for (inner, within) in inner_sections(section.path) {
                    if KEYS.iter().any(|k| k.section() == within && goes_with(k, at.text("kind"))) {
                        tables.push(walk.table(&at.section(inner), within, name));
                    }
                }
            }
            // The source of a port that no [[source]] is about.
            let unwritten =
                |s: &&Source| list == "source" && !elements.iter().any(|at| at.text("name") == Some(&s.name));
            for source in config.sources.iter().filter(unwritten) {
                let mut table = Table::default();
                table.put("name", nowhere, Node::text(&source.name, nowhere));
                table.put("kind", nowhere, Node::text(source.kind.name(), nowhere));
                tables.push(walk.table(&At::top(&table), section.path, Some(&source.name)));
            }
        }
        Effective { tables }
    }

    /// All keys that are there, in order.
    pub fn values(&self) -> impl Iterator<Item = &Holding> {
        self.tables.iter().flat_map(|t| &t.values)
    }
}

struct Walk<'c> {
    config: &'c Config,
    texts: &'c Texts,
}

impl Walk<'_> {
    fn table(&self, at: &At<'_>, section: &'static str, element: Option<&str>) -> EffectiveTable {
        let keys = KEYS.iter().filter(|k| k.section() == section);
        let values = keys.flat_map(|key| match key.kind {
            Kind::FieldMap => self.map(at, key, element),
            _ => vec![self.value(at, key, element)],
        });
        EffectiveTable { section, element: element.map(str::to_owned), values: values.collect() }
    }

    fn value(&self, at: &At<'_>, key: &'static Key, element: Option<&str>) -> Holding {
        let (value, origin) = match at.member(key.name()) {
            Some(member) => {
                let shown = self.shown(key.kind, &member.node);
                let shown = match key.path {
                    // Hosts are compared without regard to case, and are kept so.
                    "referrer.internal" => shown.to_ascii_lowercase(),
                    // One path alone is what most keys are.
                    "lookup[].key" => self.lookup(element).map_or(shown, key_of),
                    _ => shown,
                };
                (Some(shown), self.origin(member.key))
            }
            // A table in an element is there only where its keys go with the element's kind.
            None if section_is_element(key) && !goes_with(key, at.text("kind")) => (None, Origin::OtherKinds(key.only)),
            None => match key.absent {
                Absent::Is(default) => {
                    let node = tree::parse_value(default, 0, 0).ok();
                    (node.map(|n| spelled(key.kind, &n, Path::new(""))), Origin::Default)
                }
                // Without a file the program's own version holds.
                Absent::Refused if key.kind == Kind::Version => (Some(key.example.into()), Origin::Default),
                Absent::Refused => (None, Origin::Default),
                Absent::Means(_) => match self.follows(key.path, element) {
                    Some((value, what)) => (Some(value), Origin::Follows(what.into())),
                    None => (None, Origin::Default),
                },
            },
        };
        Holding { key, path: path_of(key, element), field: None, value, origin }
    }

    /// What a key that is not written comes to, where that is one value.
    fn follows(&self, path: &str, element: Option<&str>) -> Option<(String, &'static str)> {
        let source = || self.config.sources.iter().find(|s| Some(s.name.as_str()) == element);
        Some(match path {
            "source[].client_address" => {
                let word = match source()?.client_address {
                    ClientAddress::Connection => "connection",
                    ClientAddress::None => "none",
                };
                (quoted(word), "the kind")
            }
            "source[].clock" => {
                let word = match source()?.clock {
                    ClockMode::Live => "live",
                    ClockMode::AsSent => "as_sent",
                };
                (quoted(word), "the kind")
            }
            "lookup[].key" => (key_of(self.lookup(element)?), "the kind"),
            "cache.shared.kind" => {
                self.config.cache.shared.as_ref()?;
                (quoted("redis"), "the URL")
            }
            "assets.dir" => (quoted(&self.config.assets.dir.as_ref()?.display().to_string()), "the environment"),
            _ => return None,
        })
    }

    fn lookup(&self, name: Option<&str>) -> Option<&Lookup> {
        self.config.lookups.iter().find(|l| Some(l.name.as_str()) == name)
    }

    fn map(&self, at: &At<'_>, key: &'static Key, element: Option<&str>) -> Vec<Holding> {
        let Some(source) = self.config.sources.iter().find(|s| Some(s.name.as_str()) == element) else {
            return Vec::new();
        };
        let written = at.section(key.name());
        let fields = source.map.fields().iter().map(|mapped| {
            let member = written.member(&mapped.name);
            let hidden = member.is_some_and(|m| self.is_masked(&m.node) || mask::sounds_secret(&mapped.name));
            Holding {
                key,
                path: format!("{}.{}", path_of(key, element), mapped.name),
                field: Some(mapped.name.clone()),
                value: Some(if hidden { MASKED.into() } else { entry(&mapped.entry) }),
                origin: member.map_or_else(
                    || Origin::Follows(format!("the preset {}", source.preset.name())),
                    |m| self.origin(m.key),
                ),
            }
        });
        fields.collect()
    }

    fn shown(&self, kind: Kind, node: &Node) -> String {
        if self.is_masked(node) {
            return MASKED.into();
        }
        let base = &self.texts.get(node.spot.text).base;
        match (&node.value, kind) {
            // Members of their own may have to be hidden one by one.
            (Value::Table(table), Kind::TextMap) => {
                let member = |(name, m): (&String, &tree::Member)| {
                    let hidden = self.is_masked(&m.node) || mask::sounds_secret(name);
                    let value = if hidden { MASKED.into() } else { spelled(Kind::Text, &m.node, base) };
                    format!("{} = {value}", bare_or_quoted(name))
                };
                inline(in_written_order(table).into_iter().map(member))
            }
            _ => spelled(kind, node, base),
        }
    }

    fn is_masked(&self, node: &Node) -> bool {
        let covers = |m: &std::ops::Range<usize>| m.start <= node.spot.start && node.spot.end <= m.end;
        node.spot.end > node.spot.start && self.texts.get(node.spot.text).masks.iter().any(covers)
    }

    fn origin(&self, key: Spot) -> Origin {
        let text = self.texts.get(key.text);
        match &text.origin {
            TextOrigin::BuiltIn => Origin::Default,
            TextOrigin::File(name) => match problem::place_of(Some(key), self.texts) {
                Some(problem::Place { line: Some(line), column: Some(column), .. }) => {
                    Origin::File { name: name.clone(), line, column }
                }
                _ => Origin::File { name: name.clone(), line: 1, column: 1 },
            },
            TextOrigin::Environment => {
                let variable = text.content.split('=').next().unwrap_or(ENV_PREFIX);
                Origin::Environment(variable.to_owned())
            }
            TextOrigin::CommandLine => {
                Origin::CommandLine(text.content.split(' ').next().unwrap_or_default().to_owned())
            }
        }
    }
}

fn key_of(lookup: &Lookup) -> String {
    match lookup.key.as_slice() {
        [one] => quoted(&one.to_string()),
        several => list(several.iter().map(|k| quoted(&k.to_string()))),
    }
}

/// The tables in the elements of a list: (name, path).
fn inner_sections(list: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    SECTIONS.iter().filter_map(move |s| Some((s.path.strip_prefix(list)?.strip_prefix('.')?, s.path)))
}

/// Whether a key stands beside the `kind` that it goes with.
fn section_is_element(key: &Key) -> bool {
    key.section().ends_with("[]")
}

/// Whether a key means something beside this `kind`.
fn goes_with(key: &Key, kind: Option<&str>) -> bool {
    key.only.is_empty() || kind.is_some_and(|kind| key.only.contains(&kind))
}

fn path_of(key: &Key, element: Option<&str>) -> String {
    match element {
        Some(name) => key.path.replacen("[]", &format!(".{name}"), 1),
        None => key.path.to_owned(),
    }
}

/// A value that was read before, in one spelling. What is not of its kind cannot be here: reading refused it.
fn spelled(kind: Kind, node: &Node, base: &Path) -> String {
    let text = || match (&node.value, &node.bare) {
        (Value::Text(text), _) => text.clone(),
        (_, Some(bare)) => bare.clone(),
        (Value::Integer(i), _) => i.to_string(),
        _ => String::new(),
    };
    let nodes = || match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let path = |text: &str| quoted(&without_passwords(&base.join(text).display().to_string()));
    match kind {
        Kind::Version | Kind::Count { .. } => text(),
        Kind::Switch => matches!(node.value, Value::Switch(true)).to_string(),
        Kind::Duration { .. } => quoted(&show_duration(units::duration(&text()).unwrap_or(Duration::ZERO))),
        Kind::Size { .. } => quoted(&show_size(units::size(&text()).unwrap_or(0))),
        Kind::Space => quoted(&units::space(&text()).map(show_space).unwrap_or_default()),
        Kind::Address => quoted(&address(&text()).map(|a| a.to_string()).unwrap_or_default()),
        Kind::Name | Kind::Word(_) | Kind::Text => quoted(&without_passwords(&text())),
        Kind::Path => path(&text()),
        Kind::Paths => list(nodes().iter().map(|n| spelled(Kind::Path, n, base))),
        Kind::Texts => list(nodes().iter().map(|n| spelled(Kind::Text, n, base))),
        Kind::TextMap => match &node.value {
            Value::Table(table) => inline(
                in_written_order(table)
                    .into_iter()
                    .map(|(name, m)| format!("{} = {}", bare_or_quoted(name), spelled(Kind::Text, &m.node, base))),
            ),
            _ => "{}".into(),
        },
        Kind::Secret => match &node.value {
            Value::Table(table) => match (table.text_at("env"), table.text_at("file")) {
                (Some(name), _) => format!("{{ env = {} }}", quoted(name)),
                (_, Some(file)) => format!("{{ file = {} }}", path(file)),
                _ => MASKED.into(),
            },
            _ => MASKED.into(),
        },
        Kind::Url => match &node.value {
            Value::Table(_) => spelled(Kind::Secret, node, base),
            _ => quoted(&without_passwords(&below(&text(), base))),
        },
        Kind::SecretMap => match &node.value {
            Value::Table(table) => inline(in_written_order(table).into_iter().map(|(name, m)| {
                let kind = if matches!(m.node.value, Value::Table(_)) { Kind::Secret } else { Kind::Text };
                format!("{} = {}", bare_or_quoted(name), spelled(kind, &m.node, base))
            })),
            _ => "{}".into(),
        },
        Kind::Store if text().starts_with(S3) => quoted(&without_passwords(&text())),
        Kind::Store => path(&text()),
        // Shown field by field.
        Kind::FieldMap => String::new(),
    }
}

fn entry(entry: &MapEntry) -> String {
    match entry {
        MapEntry::Constant(value) => format!("{{ value = {} }}", quoted(&without_passwords(value))),
        MapEntry::Pointer { pointers, format, zone } => {
            let pointer = match pointers.as_slice() {
                [one] => quoted(one),
                several => list(several.iter().map(|p| quoted(p))),
            };
            if format.is_none() && zone.is_none() {
                return pointer;
            }
            let format = format.as_ref().map(|f| format!("format = {}", quoted(f.name())));
            let zone = zone.as_ref().map(|z| format!("zone = {}", quoted(z)));
            inline([Some(format!("pointer = {pointer}")), format, zone].into_iter().flatten())
        }
    }
}

fn in_written_order(table: &Table) -> Vec<(&String, &tree::Member)> {
    let mut members: Vec<_> = table.members.iter().collect();
    members.sort_by_key(|(_, m)| (m.key.text, m.key.start));
    members
}

fn without_passwords(text: &str) -> String {
    let mut out = text.to_owned();
    for part in mask::passwords_in(text).into_iter().rev() {
        out.replace_range(part, "***");
    }
    out
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn inline(members: impl Iterator<Item = String>) -> String {
    let members: Vec<_> = members.collect();
    if members.is_empty() { "{}".into() } else { format!("{{ {} }}", members.join(", ")) }
}

/// A text as a TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

pub(crate) fn bare_or_quoted(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the key is called: what messages hide, this hides too.
    #[test]
    fn what_is_masked_in_messages_is_masked_here() {
        let mut texts = Texts::default();
        let content = "key = \"hunter2\"\nmap = { a = \"hunter2\", b = \"seen\" }\n";
        let text = texts.add(TextOrigin::File("x.toml".into()), content.into(), "".into());
        let table = tree::parse_file(content, text).expect("TOML");
        let node = |name: &str| &table.get(name).expect("it is there").node;
        let Value::Table(map) = &node("map").value else { panic!("a table") };
        mask::mask_values(node("key"), &mut texts);
        mask::mask_values(&map.get("a").expect("it is there").node, &mut texts);
        let config = Config::defaults();
        let walk = Walk { config: &config, texts: &texts };
        for kind in [Kind::Text, Kind::Path, Kind::Texts] {
            assert_eq!(walk.shown(kind, node("key")), MASKED, "{kind:?}");
        }
        assert_eq!(walk.shown(Kind::TextMap, node("map")), "{ a = \"***\", b = \"seen\" }");
    }
}
