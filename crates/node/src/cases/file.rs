//! A file of cases: read whole, with line and column of everything that is wrong in it.

use std::path::Path;

use enrich::address;
use enrich::enricher::GivenMember;
use event::{Code, Micros, failure::Outcome};
use flow::Status;
use serde_json::Value as Json;

use super::{Answered, Case, Expect, INPUT_MAX, Input, RECEIVED, Rows, Subsets, json};
use crate::config::problem::{ConfigErrors, Found, ProblemKind, place_of, render};
use crate::config::suggest::nearest;
use crate::config::text::{Origin, Spot, Texts};
use crate::config::tree::{self, Node, Table, Value};
use crate::config::{Config, Lookup, LookupKind, SourceKind};

/// What a case may name.
pub struct Known<'k> {
    pub config: &'k Config,
    /// The members of `enriched` that enrichers write, lookups among them.
    pub members: &'k [String],
}

/// Reads the text of a file; `name` is what it is called. Relative paths in it are below `base`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(name: &str, content: String, base: &Path, known: &Known<'_>) -> Result<Vec<Case>, ConfigErrors> {
    let mut texts = Texts::default();
    let text = texts.add(Origin::File(name.to_owned()), content, base.to_owned());
    let mut reader = Reader { texts, known, file: name, found: Vec::new() };
    let cases = match tree::parse_file(&reader.texts.get(text).content, text) {
        Ok(root) => reader.cases(&root, text),
        Err(found) => {
            reader.found = found;
            Vec::new()
        }
    };
    if reader.found.is_empty() {
        return Ok(cases);
    }
    Err(ConfigErrors { problems: render(reader.found, &reader.texts) })
}

const CASE: [&str; 8] = ["name", "source", "received", "input", "input_file", "connection", "given", "expect"];
const CONNECTION: [&str; 2] = ["ip", "user_agent"];
const EXPECT: [&str; 4] = ["enriched", "fields", "dlq", "duplicates"];

struct Reader<'k> {
    texts: Texts,
    known: &'k Known<'k>,
    file: &'k str,
    found: Vec<Found>,
}

impl Reader<'_> {
    fn cases(&mut self, root: &Table, text: usize) -> Vec<Case> {
        self.only(root, &["case"], "a file of cases");
        let nodes = match root.get("case").map(|m| (&m.node.value, m.key)) {
            Some((Value::List(nodes), _)) => nodes.as_slice(),
            Some((other, key)) => {
                let message = format!("`case` is a list of tables, not {}", other.what());
                self.problem(ProblemKind::WrongType, key, message, "begin each with [[case]]");
                return Vec::new();
            }
            None => {
                let top = Spot { text, start: 0, end: 0 };
                let help = "a case begins with [[case]], and has `name`, `input` and `expect`";
                self.problem(ProblemKind::MissingKey, top, "there is no case in this file".to_owned(), help);
                return Vec::new();
            }
        };
        let mut cases: Vec<Case> = Vec::new();
        for node in nodes {
            let Value::Table(table) = &node.value else {
                let message = format!("a case is a table, not {}", node.value.what());
                self.problem(ProblemKind::WrongType, node.spot, message, "begin each with [[case]]");
                continue;
            };
            let case = self.case(table, node.spot);
            if let (Some(member), true) = (table.get("name"), cases.iter().any(|c| c.name == case.name)) {
                let message = format!("there is a case \"{}\" already", case.name);
                self.problem(ProblemKind::Conflict, member.node.spot, message, "names are unique in a file");
            }
            cases.push(case);
        }
        cases
    }

    fn case(&mut self, table: &Table, spot: Spot) -> Case {
        self.only(table, &CASE, "a case");
        let name = self.text(table, "name").map(|(name, _)| name);
        if table.get("name").is_none() {
            let message = "the case has no `name`".to_owned();
            self.problem(
                ProblemKind::MissingKey,
                spot,
                message,
                "for example: name = \"a visit from a search engine\"",
            );
        }
        let source = self.source(table);
        let received = self.received(table);
        let connection = self.connection(table, source);
        let inputs = self.inputs(table, spot);
        let (members, lookups) = self.given(table);
        let line = place_of(Some(spot), &self.texts).and_then(|p| p.line).unwrap_or(1);
        Case {
            name: name.unwrap_or_default(),
            file: self.file.to_owned(),
            line,
            source,
            received,
            connection,
            inputs,
            members,
            lookups,
            expect: self.expect(table, spot),
        }
    }

    fn source(&mut self, table: &Table) -> usize {
        let Some((name, spot)) = self.text(table, "source") else { return 0 };
        let sources = &self.known.config.sources;
        if let Some(at) = sources.iter().position(|s| s.name == name) {
            return at;
        }
        let names: Vec<&str> = sources.iter().map(|s| s.name.as_str()).collect();
        self.no_such(spot, format!("there is no [[source]] \"{name}\" in the configuration"), &name, &names);
        0
    }

    fn received(&mut self, table: &Table) -> Micros {
        let Some(member) = table.get("received") else { return RECEIVED };
        let spot = member.node.spot;
        let written = match &member.node.value {
            Value::Text(text) => Some(text.clone()),
            Value::Time => self.texts.get(spot.text).content.get(spot.start..spot.end).map(str::to_owned),
            _ => None,
        };
        let read = written.and_then(|text| Micros::parse_rfc3339(text.as_bytes()));
        let Some(at) = read.filter(|at| (Micros::EARLIEST..Micros::LATEST).contains(at)) else {
            let message = "`received` is a time with a zone, between 1970 and 2200".to_owned();
            self.problem(ProblemKind::BadValue, spot, message, "for example: received = 2026-11-22T19:33:00Z");
            return RECEIVED;
        };
        at
    }

    fn connection(&mut self, table: &Table, source: usize) -> Option<(String, String)> {
        let member = table.get("connection")?;
        let connection = self.table(&member.node, "connection")?;
        self.only(connection, &CONNECTION, "`connection`");
        let source = self.known.config.sources.get(source)?;
        if source.kind != SourceKind::Http {
            let message =
                format!("\"{}\" is a source of kind {}: it has no connection", source.name, source.kind.name());
            self.problem(
                ProblemKind::Conflict,
                member.key,
                message,
                "leave `connection` out, or name another `source`",
            );
            return None;
        }
        let mut part = |name: &str| self.text(connection, name).map(|(text, _)| text).unwrap_or_default();
        Some((part("ip"), part("user_agent")))
    }

    fn inputs(&mut self, table: &Table, spot: Spot) -> Vec<Input> {
        if let (Some(input), Some(_)) = (table.get("input"), table.get("input_file")) {
            let message = "a case has `input` or `input_file`, not both".to_owned();
            self.problem(ProblemKind::Conflict, input.key, message, "");
        }
        if let Some((path, at)) = self.text(table, "input_file") {
            let path = self.texts.get(at.text).base.join(path);
            return vec![Input::File(path)];
        }
        let Some(member) = table.get("input") else {
            if table.get("input_file").is_none() {
                let help = "for example: input = '{\"type\": \"view\", \"user\": \"u-1\"}'";
                self.problem(ProblemKind::MissingKey, spot, "the case has no `input`".to_owned(), help);
            }
            return Vec::new();
        };
        let nodes = match &member.node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(&member.node),
        };
        let mut inputs = Vec::new();
        for node in nodes {
            match &node.value {
                Value::Text(text) => inputs.push(Input::Text(text.clone().into_bytes())),
                Value::Table(_) => {
                    let event = self.or_note(|texts| json::of_toml(node, texts));
                    inputs.extend(event.map(|event| Input::Text(event.to_string().into_bytes())));
                }
                other => {
                    let message = format!("an event is a text or a table, not {}", other.what());
                    self.problem(ProblemKind::WrongType, node.spot, message, "");
                }
            }
        }
        let bytes = |input: &Input| if let Input::Text(text) = input { text.len() } else { 0 };
        if inputs.iter().map(bytes).sum::<usize>() > INPUT_MAX {
            let message = format!("the events of a case have at most {INPUT_MAX} bytes");
            self.problem(ProblemKind::BadValue, member.key, message, "");
        }
        inputs
    }

    /// Members and lookups that are given.
    fn given(&mut self, table: &Table) -> (Vec<GivenMember>, Vec<(String, Rows)>) {
        let (mut members, mut lookups) = (Vec::new(), Vec::new());
        let Some(given) = table.get("given").and_then(|m| self.table(&m.node, "given")) else {
            return (members, lookups);
        };
        let known = self.known;
        let is_lookup = |name: &str| known.config.lookups.iter().any(|l| l.name == name);
        for (name, member) in &given.members {
            if name == "lookups" {
                let Some(table) = self.table(&member.node, "given.lookups") else { continue };
                for (name, member) in &table.members {
                    let Some(lookup) = known.config.lookups.iter().find(|l| l.name == *name) else {
                        let names: Vec<&str> = known.config.lookups.iter().map(|l| l.name.as_str()).collect();
                        let message = format!("there is no [[lookup]] \"{name}\" in the configuration");
                        self.no_such(member.key, message, name, &names);
                        continue;
                    };
                    lookups.push((name.clone(), self.rows(lookup, &member.node)));
                }
            } else if is_lookup(name) {
                let message = format!("`{name}` is a lookup");
                self.problem(ProblemKind::UnknownKey, member.key, message, &format!("write given.lookups.{name}"));
            } else if !known.members.iter().any(|m| m == name) {
                let mut names: Vec<&str> = known.members.iter().map(String::as_str).filter(|m| !is_lookup(m)).collect();
                names.push("lookups");
                self.no_such(
                    member.key,
                    format!("nothing that writes `enriched.{name}` is there to be given"),
                    name,
                    &names,
                );
            } else if let Some(Answered { status, json }) = self.answered(name, &member.node) {
                members.push(GivenMember { name: name.clone(), status, json });
            }
        }
        (members, lookups)
    }

    /// A row for every key, or a table whose one member `rows` has one for each.
    fn rows(&mut self, lookup: &Lookup, node: &Node) -> Rows {
        let name = &lookup.name;
        let by_key = match &node.value {
            Value::Table(table) if table.members.len() == 1 => table.get("rows"),
            _ => None,
        };
        let Some(member) = by_key else {
            return Rows { every: self.answered(name, node), by_key: Vec::new() };
        };
        let mut rows = Rows::default();
        let Some(table) = self.table(&member.node, "rows") else { return rows };
        for (key, member) in &table.members {
            let asked = asked_by(lookup, key);
            let answered = self.answered(name, &member.node);
            match (asked, answered) {
                (Ok(key), Some(answered)) => rows.by_key.push((key, answered)),
                (Err((message, help)), _) => self.problem(ProblemKind::BadValue, member.key, message, help),
                (_, None) => {}
            }
        }
        rows
    }

    /// A table, JSON in a text, or a status.
    fn answered(&mut self, name: &str, node: &Node) -> Option<Answered> {
        let ok = |json: Json| Answered { status: Status::Ok, json: json.to_string().into_bytes() };
        match &node.value {
            Value::Table(_) => self.or_note(|texts| json::of_toml(node, texts)).map(ok),
            Value::Text(text) => {
                if let Some(status) = status(text) {
                    return Some(Answered { status, json: Vec::new() });
                }
                let looks_like_json = text.trim_start().starts_with(['{', '[', '"']);
                if looks_like_json {
                    return self.or_note(|_| json::of_text(text, node, &format!("what is given for `{name}`"))).map(ok);
                }
                let message = format!("what is given for `{name}` is neither JSON nor a status");
                let problem = Found::new(ProblemKind::BadValue, Some(node.spot), message);
                self.found.push(match nearest(text, ["miss", "timeout", "open", "skipped"]) {
                    Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                    None => problem.help("a status is \"miss\", \"timeout\", \"open\", \"skipped\" or \"error:CODE\""),
                });
                None
            }
            other => {
                let message =
                    format!("what is given for `{name}` is a table, JSON in a text or a status, not {}", other.what());
                self.problem(ProblemKind::WrongType, node.spot, message, "for example: \"miss\"");
                None
            }
        }
    }

    fn expect(&mut self, table: &Table, spot: Spot) -> Expect {
        let Some(member) = table.get("expect") else {
            let help = "for example: expect.enriched = { geo = { country = \"DE\" } }";
            self.problem(ProblemKind::MissingKey, spot, "the case has no `expect`".to_owned(), help);
            return Expect::default();
        };
        let Some(expect) = self.table(&member.node, "expect") else { return Expect::default() };
        self.only(expect, &EXPECT, "`expect`");
        if expect.members.is_empty() {
            let message = "`expect` says nothing".to_owned();
            self.problem(ProblemKind::MissingKey, member.key, message, &format!("it has: {}", EXPECT.join(", ")));
        }
        let duplicates = match expect.get("duplicates").map(|m| &m.node) {
            None => 0,
            Some(Node { value: Value::Integer(n), .. }) if u64::try_from(*n).is_ok() => *n as u64,
            Some(node) => {
                let message = "`duplicates` is a whole number".to_owned();
                self.problem(ProblemKind::WrongType, node.spot, message, "for example: duplicates = 1");
                0
            }
        };
        let fields = self.subsets(expect, "fields").map(|subsets| self.with_times(subsets, expect));
        Expect { enriched: self.subsets(expect, "enriched"), fields, dlq: self.codes(expect), duplicates }
    }

    fn subsets(&mut self, expect: &Table, name: &str) -> Option<Subsets> {
        let node = &expect.get(name)?.node;
        match &node.value {
            Value::List(nodes) => {
                let all: Vec<Json> = nodes.iter().filter_map(|n| self.subset(name, n)).collect();
                Some(Subsets::List(all))
            }
            _ => Some(Subsets::Each(self.subset(name, node)?)),
        }
    }

    fn subset(&mut self, name: &str, node: &Node) -> Option<Json> {
        let json = match &node.value {
            Value::Table(_) => self.or_note(|texts| json::of_toml(node, texts))?,
            Value::Text(text) => self.or_note(|_| json::of_text(text, node, &format!("`expect.{name}`")))?,
            other => {
                let message =
                    format!("`expect.{name}` is a table, JSON in a text, or a list of them, not {}", other.what());
                self.problem(ProblemKind::WrongType, node.spot, message, "");
                return None;
            }
        };
        if !json.is_object() {
            let message = format!("`expect.{name}` is JSON, but not an object");
            self.problem(ProblemKind::WrongType, node.spot, message, "what it does not name may be anything");
            return None;
        }
        Some(json)
    }

    /// Times of fields in the one form they are compared in.
    fn with_times(&mut self, mut subsets: Subsets, expect: &Table) -> Subsets {
        let spot = expect.get("fields").map(|m| m.node.spot);
        let all = match &mut subsets {
            Subsets::Each(one) => std::slice::from_mut(one),
            Subsets::List(all) => all.as_mut_slice(),
        };
        for time in all.iter_mut().filter_map(|s| s.get_mut("time")).filter(|t| !t.is_null()) {
            match time.as_str().and_then(|t| Micros::parse_rfc3339(t.as_bytes())) {
                Some(at) => *time = Json::String(at.to_string()),
                None => {
                    let found =
                        Found::new(ProblemKind::BadValue, spot, "`time` in `expect.fields` is a time with a zone");
                    self.found.push(found.help("for example: time = \"2026-11-22T19:33:00Z\""));
                }
            }
        }
        subsets
    }

    fn codes(&mut self, expect: &Table) -> Vec<Code> {
        let Some(member) = expect.get("dlq") else { return Vec::new() };
        let nodes = match &member.node.value {
            Value::List(nodes) => nodes.as_slice(),
            _ => std::slice::from_ref(&member.node),
        };
        let mut codes = Vec::new();
        for node in nodes {
            let Value::Text(text) = &node.value else {
                let message = format!("`expect.dlq` is a code or a list of them, not {}", node.value.what());
                self.problem(ProblemKind::WrongType, node.spot, message, "for example: dlq = \"missing_field\"");
                continue;
            };
            let letters = |code: &Code| code.outcome() != Outcome::Flagged;
            match Code::named(text).filter(letters) {
                Some(code) => codes.push(code),
                None => {
                    let names: Vec<&str> = Code::ALL.iter().filter(|c| letters(c)).map(|c| c.name()).collect();
                    self.no_such(node.spot, format!("there is no dead letter with the code \"{text}\""), text, &names);
                }
            }
        }
        codes
    }

    /// A text that has to be one, where it is written, and its spot.
    fn text(&mut self, table: &Table, name: &str) -> Option<(String, Spot)> {
        let node = &table.get(name)?.node;
        match &node.value {
            Value::Text(text) if !text.is_empty() => Some((text.clone(), node.spot)),
            other => {
                let what = if matches!(other, Value::Text(_)) { "an empty one" } else { other.what() };
                self.problem(ProblemKind::WrongType, node.spot, format!("`{name}` is a text, not {what}"), "");
                None
            }
        }
    }

    fn table<'t>(&mut self, node: &'t Node, name: &str) -> Option<&'t Table> {
        match &node.value {
            Value::Table(table) => Some(table),
            other => {
                let message = format!("`{name}` is a table, not {}", other.what());
                self.problem(ProblemKind::WrongType, node.spot, message, "");
                None
            }
        }
    }

    /// Refuses members with other names.
    fn only(&mut self, table: &Table, names: &[&str], what: &str) {
        for (name, member) in &table.members {
            if !names.contains(&name.as_str()) {
                self.no_such(member.key, format!("unknown key `{name}` in {what}"), name, names);
            }
        }
    }

    fn no_such(&mut self, spot: Spot, message: String, written: &str, names: &[&str]) {
        let found = Found::new(ProblemKind::UnknownKey, Some(spot), message);
        self.found.push(match nearest(written, names.iter().copied()) {
            Some(near) => found.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => found,
            None => found.help(format!("there are: {}", names.join(", "))),
        });
    }

    fn problem(&mut self, kind: ProblemKind, spot: Spot, message: String, help: &str) {
        let found = Found::new(kind, Some(spot), message);
        self.found.push(if help.is_empty() { found } else { found.help(help) });
    }

    fn or_note<T>(&mut self, read: impl FnOnce(&Texts) -> Result<T, Found>) -> Option<T> {
        match read(&self.texts) {
            Ok(value) => Some(value),
            Err(found) => {
                self.found.push(found);
                None
            }
        }
    }
}

/// A key as the lookup's source is asked for it; else what is wrong with it, and what to write. A key of several parameters
/// is a list, as in JSON.
fn asked_by(lookup: &Lookup, key: &str) -> Result<Vec<u8>, (String, &'static str)> {
    let name = &lookup.name;
    match (&lookup.kind, lookup.key.len()) {
        (LookupKind::File { .. }, _) => Ok(key.as_bytes().to_vec()),
        (LookupKind::Mmdb { .. }, _) => match address::parse(key.as_bytes()) {
            Some(ip) => {
                let (bytes, len) = address::key(&ip);
                Ok(bytes[..len].to_vec())
            }
            None => Err((
                format!("the lookup `{name}` is asked by address, and \"{key}\" is none"),
                "for example: \"203.0.113.7\"",
            )),
        },
        (LookupKind::Remote(_), 1) => Ok(parameters(&[key])),
        (LookupKind::Remote(_), several) => match serde_json::from_str::<Vec<String>>(key) {
            Ok(texts) if texts.len() == several => Ok(parameters(&texts)),
            _ => Err((
                format!("the lookup `{name}` is asked by {several} parameters, and {key} is no list of as many texts"),
                "for example: rows.'[\"shop-1\", \"sku-7\"]' = {}",
            )),
        },
    }
}

fn parameters(texts: &[impl AsRef<str>]) -> Vec<u8> {
    let mut out = Vec::new();
    enrich::key::write(texts.iter().map(AsRef::as_ref), &mut out);
    out
}

/// A status as it stands in `enriched.status`. That of a stale row is not among them: a row is given, or none is.
fn status(text: &str) -> Option<Status> {
    Some(match text {
        "miss" => Status::Miss,
        "timeout" => Status::Timeout,
        "open" => Status::Open,
        "skipped" => Status::Skipped,
        _ => {
            let code = text.strip_prefix("error:")?;
            let is_word =
                !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            // A file of cases is read once, and has few of them: they may stay for as long as the process.
            Status::Error(is_word.then(|| &*Box::leak(code.to_owned().into_boxed_str()))?)
        }
    })
}
