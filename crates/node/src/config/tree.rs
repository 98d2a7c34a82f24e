//! TOML as a tree in which every key and value knows where it was written.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Found, ProblemKind};
use super::text::Spot;

/// Most syntax errors reported of one file: the parser goes on after one, and later ones are often its echo.
const SYNTAX_ERRORS_MAX: usize = 3;
/// Most of the parser's errors that are looked at for those: a line can have as many as it has characters.
const ECHOES_MAX: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub value: Value,
    pub spot: Spot,
    /// The value as it was written, where quotes may be left out (`--set`, environment): a key that is a text takes it.
    pub bare: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i128),
    Fraction,
    Switch(bool),
    Time,
    List(Vec<Node>),
    Table(Table),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub members: BTreeMap<String, Member>,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// Where the key stands.
    pub key: Spot,
    pub node: Node,
}

impl Value {
    /// What it is, with its article.
    pub fn what(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Fraction => "a number with a fraction",
            Value::Switch(_) => "true or false",
            Value::Time => "a date or time",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl Node {
    pub fn text(text: impl Into<String>, spot: Spot) -> Node {
        Node { value: Value::Text(text.into()), spot, bare: None }
    }

    pub fn new(value: Value, spot: Spot) -> Node {
        Node { value, spot, bare: None }
    }
}

impl Table {
    pub fn get(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    pub fn put(&mut self, name: impl Into<String>, key: Spot, node: Node) {
        self.members.insert(name.into(), Member { key, node });
    }

    /// The text at `name`, if it is one.
    pub fn text_at(&self, name: &str) -> Option<&str> {
        match self.get(name).map(|m| &m.node.value) {
            Some(Value::Text(t)) => Some(t),
            _ => None,
        }
    }
}

/// Reads a whole file, which is the text of number `text`.
pub(crate) fn parse_file(content: &str, text: usize) -> Result<Table, Vec<Found>> {
    let (table, errors) = DeTable::parse_recoverable(content);
    if errors.is_empty() {
        return Ok(convert_table(table.into_inner(), text, 0));
    }
    let mut found: Vec<Found> = Vec::new();
    let mut last_line = usize::MAX;
    for error in errors.into_iter().take(ECHOES_MAX) {
        let span = error.span().unwrap_or(content.len()..content.len());
        let line = content.get(..span.start).map_or(0, |before| before.matches('\n').count());
        if line != last_line && found.len() < SYNTAX_ERRORS_MAX {
            last_line = line;
            let spot = Spot { text, start: span.start, end: span.end };
            let problem = Found::new(ProblemKind::Syntax, Some(spot), format!("not valid TOML: {}", error.message()));
            found.push(match without_quotes(content.lines().nth(line).unwrap_or_default()) {
                Some(key) => problem.help(format!("texts, durations and sizes stand in quotes: {key} = \"...\"")),
                None => problem,
            });
        }
    }
    Err(found)
}

/// The key of a line `key = value` whose value is no TOML, and seems to be meant as a text.
fn without_quotes(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let bare = !value.is_empty() && !value.starts_with(['"', '\'', '[', '{', '=']);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let key = key.trim();
    (bare && key.chars().all(plain) && DeValue::parse(value).is_err()).then_some(key)
}

/// Reads a value of a flag or variable, which stands at `at` of the text of number `text`. What is not TOML is a text
/// without its quotes, unless it begins like a list, a table or a quoted text.
pub(crate) fn parse_value(value: &str, text: usize, at: usize) -> Result<Node, Found> {
    let trimmed = value.trim();
    let at = at + value.len() - value.trim_start().len();
    let spot = Spot { text, start: at, end: at + trimmed.len() };
    match DeValue::parse(trimmed) {
        Ok(parsed) => {
            let mut node = convert(parsed, text, at);
            let scalar = !matches!(node.value, Value::Text(_) | Value::List(_) | Value::Table(_));
            node.bare = scalar.then(|| trimmed.to_owned());
            Ok(node)
        }
        Err(error) if trimmed.starts_with(['[', '{', '"', '\'']) => {
            let span = error.span().unwrap_or(trimmed.len()..trimmed.len());
            let spot = Spot { text, start: at + span.start, end: at + span.end };
            Err(Found::new(ProblemKind::Syntax, Some(spot), format!("not a valid TOML value: {}", error.message()))
                .help("texts in lists and tables need quotes, which the shell must let through: 'key=[\"a\", \"b\"]'"))
        }
        Err(_) => Ok(Node::text(trimmed, spot)),
    }
}

fn convert_table(table: DeTable<'_>, text: usize, offset: usize) -> Table {
    let mut out = Table::default();
    for (key, value) in table {
        let key_spot = spot(key.span(), text, offset);
        out.put(key.into_inner().into_owned(), key_spot, convert(value, text, offset));
    }
    out
}

fn convert(value: Spanned<DeValue<'_>>, text: usize, offset: usize) -> Node {
    let spot = spot(value.span(), text, offset);
    let value = match value.into_inner() {
        DeValue::String(s) => Value::Text(s.into_owned()),
        DeValue::Integer(i) => Value::Integer(i128::from_str_radix(i.as_str(), i.radix()).unwrap_or(i128::MAX)),
        DeValue::Float(_) => Value::Fraction,
        DeValue::Boolean(b) => Value::Switch(b),
        DeValue::Datetime(_) => Value::Time,
        DeValue::Array(values) => Value::List(values.into_iter().map(|v| convert(v, text, offset)).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table, text, offset)),
    };
    Node { value, spot, bare: None }
}

fn spot(span: Range<usize>, text: usize, offset: usize) -> Spot {
    Spot { text, start: span.start + offset, end: span.end + offset }
}
