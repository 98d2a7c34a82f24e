//! The operator's table of referrers: the little of YAML that such a file is written in.
//!
//! ```yaml
//! search:                 # the medium
//!   Google:               # the source
//!     domains:
//!       - google.com      # with its subdomains
//!       - google.com/search
//!     parameters: [q]
//! ```
//! Anchors, blocks of text and other forms of YAML have no use here and are refused with their line, as is a key of another
//! name: it would be a mistake.

use std::sync::Arc;

use super::{Rule, Table};
use crate::error::LookupError;
use crate::lines;

/// Domains and parameters of a file. Real ones have 2,000.
const ITEMS_MAX: usize = 200_000;
/// Bytes of a medium, a source, a domain or a parameter.
const ITEM_MAX: usize = 256;

/// Reads a table. `name` is the file's, for texts.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Table, LookupError> {
    let mut reading = Reading::default();
    lines::each(name, bytes, |_, line| reading.line(line))?;
    reading.end_of_source();
    if reading.table.hosts.is_empty() {
        return Err(LookupError::File { file: name.to_owned(), what: "there are no domains in it" });
    }
    Ok(reading.table)
}

#[derive(Default)]
struct Reading {
    table: Table,
    medium: String,
    source: Option<Reads>,
    items: usize,
}

/// A source whose lines are being read.
struct Reads {
    name: String,
    indent: usize,
    domains: Vec<String>,
    parameters: Vec<String>,
    /// The list that items belong to, and how far its key is indented.
    list: Option<(List, usize)>,
}

#[derive(Clone, Copy)]
enum List {
    Domains,
    Parameters,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), &'static str> {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        let content = without_comment(content);
        match content {
            "" | "---" | "..." => return Ok(()),
            _ if content.starts_with('\t') => return Err("a tab cannot indent a line of YAML; use spaces"),
            _ => {}
        }
        if let Some(item) = content.strip_prefix("- ").or((content == "-").then_some("")) {
            let item = scalar(item.trim())?;
            let list = self.source.as_ref().and_then(|source| source.list).filter(|(_, key)| indent >= *key);
            let (list, _) = list.ok_or("an item stands under `domains` or `parameters`")?;
            return self.item(list, item);
        }
        let (key, rest) = key(content)?;
        match &mut self.source {
            _ if indent == 0 => {
                self.end_of_source();
                self.medium = key;
                if rest.is_empty() { Ok(()) } else { Err("below a medium stand its sources, a line each") }
            }
            Some(source) if indent > source.indent => {
                let list = match key.as_str() {
                    "domains" => List::Domains,
                    "parameters" => List::Parameters,
                    _ => return Err("below a source stand `domains` and `parameters` only"),
                };
                source.list = Some((list, indent));
                flow_items(rest)?.into_iter().try_for_each(|item| self.item(list, item))
            }
            Some(source) if indent < source.indent => Err("the line is indented less than the source before it"),
            _ if self.medium.is_empty() => Err("the first line is a medium, and is not indented"),
            _ if !rest.is_empty() => Err("below a source stand `domains` and `parameters`, a line each"),
            _ => {
                self.end_of_source();
                self.source =
                    Some(Reads { name: key, indent, domains: Vec::new(), parameters: Vec::new(), list: None });
                Ok(())
            }
        }
    }

    fn item(&mut self, list: List, item: String) -> Result<(), &'static str> {
        self.items += 1;
        if self.items > ITEMS_MAX {
            return Err("the file has more than 200,000 domains and parameters");
        }
        let source = self.source.as_mut().expect("a list is a source's");
        match list {
            List::Domains if item.contains([' ', ':', '?']) => {
                Err("a domain is a host, and may have a path: example.com/search")
            }
            List::Domains => {
                source.domains.push(item);
                Ok(())
            }
            List::Parameters => {
                source.parameters.push(item);
                Ok(())
            }
        }
    }

    fn end_of_source(&mut self) {
        let Some(source) = self.source.take() else { return };
        let parameters = source.parameters.iter().map(String::as_str);
        let number = self.table.add_source(&self.medium, &source.name, parameters);
        for domain in &source.domains {
            let (host, path) = domain.find('/').map_or((domain.as_str(), ""), |slash| domain.split_at(slash));
            let path = path.trim_end_matches('/');
            let paths = if path.is_empty() { Arc::default() } else { Arc::from([path.as_bytes().into()]) };
            self.table.add_host(host, Rule { source: number, exact: false, paths });
        }
    }
}

/// A key and what follows its colon on the line.
fn key(content: &str) -> Result<(String, &str), &'static str> {
    const WHAT: &str = "a line is a name with a colon behind it, or an item with a dash before it";
    let quoted = content.starts_with(['"', '\'']);
    let end = if quoted {
        let quote = &content[..1];
        content[1..].find(quote).map(|at| at + 2).ok_or("a quote is not closed")?
    } else {
        // A colon within a name has no space behind it.
        content.find(": ").or(content.strip_suffix(':').map(str::len)).ok_or(WHAT)?
    };
    let (name, rest) = content.split_at(end);
    let rest = rest.trim_start().strip_prefix(':').ok_or(WHAT)?;
    Ok((scalar(name.trim())?, rest.trim()))
}

/// `[a, "b"]`, or nothing.
fn flow_items(text: &str) -> Result<Vec<String>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inside =
        inside.ok_or("a list stands on lines of its own (`- item`), or on this one in brackets ([a, b])")?.trim();
    let items = inside.strip_suffix(',').unwrap_or(inside);
    if items.is_empty() { Ok(Vec::new()) } else { items.split(',').map(|item| scalar(item.trim())).collect() }
}

/// A plain or quoted text.
fn scalar(text: &str) -> Result<String, &'static str> {
    let plain = match text.as_bytes() {
        [quote @ (b'"' | b'\''), inside @ .., end]
            if quote == end && !inside.contains(quote) && !inside.contains(&b'\\') =>
        {
            &text[1..text.len() - 1]
        }
        [b'"' | b'\'', ..] => return Err("a quoted text has no quotes and backslashes in it, and nothing behind it"),
        [b'&' | b'*' | b'!' | b'|' | b'>' | b'{' | b'[' | b'@' | b'`' | b'%', ..] => {
            return Err("anchors, tags, blocks and braces are not read; quote a text that begins so");
        }
        _ => text,
    };
    match plain.len() {
        0 => Err("a text is empty"),
        1..=ITEM_MAX => Ok(plain.to_owned()),
        _ => Err("a text is longer than 256 bytes"),
    }
}

/// What is before a `#` that begins a word and is not in quotes.
fn without_comment(content: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in content.char_indices() {
        match (quote, c) {
            (None, '#') if before.is_whitespace() => return content[..at].trim_end(),
            // A quote within a word is an apostrophe.
            (None, '"' | '\'') if before.is_whitespace() || matches!(before, '[' | ',') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            _ => {}
        }
        before = c;
    }
    content.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(yaml: &str) -> Vec<String> {
        let table = read("r.yml", yaml.as_bytes()).expect(yaml);
        let mut all: Vec<String> = table
            .hosts
            .iter()
            .flat_map(|(host, rules)| rules.iter().map(move |rule| (host, rule)))
            .map(|(host, rule)| {
                let source = &table.sources[rule.source];
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let parameters: Vec<_> = source.parameters.iter().map(|p| text(p)).collect();
                let paths: String = rule.paths.iter().map(|p| text(p)).collect();
                format!("{} {}{paths} {}", text(&source.json), text(host), parameters.join("+"))
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn the_forms_such_files_are_written_in() {
        let google = [r#"{"medium":"search","source":"Google" google.com q+query2"#];
        for yaml in [
            "search:\n  Google:\n    parameters:\n      - q\n      - query2\n    domains:\n      - google.com\n",
            "# comment\n---\nsearch:\n\n  Google: # engine\n    domains:\n    - Google.COM # host\n    parameters: [q, 'query2']\n",
            "\"search\":\r\n    'Google':\r\n        domains: [ \"google.com\", ]\r\n        parameters:\r\n        - \"q\"\r\n        - query2",
        ] {
            assert_eq!(all(yaml), google, "{yaml}");
        }
        let more = "email:\n  Bob's Mail:\n    domains:\n      - mail.bob.example/a/b/\n  \"Yahoo! Mail\":\n    domains: [mail.yahoo.com]\n\
                    social:\n  A:B #1:\n    domains:\n      - ab.example\n    parameters:\n";
        assert_eq!(
            all(&more.replace(" #1:", ":")),
            [
                r#"{"medium":"email","source":"Bob's Mail" mail.bob.example/a/b "#,
                r#"{"medium":"email","source":"Yahoo! Mail" mail.yahoo.com "#,
                r#"{"medium":"social","source":"A:B" ab.example "#,
            ]
        );
    }

    #[test]
    fn what_is_not_of_that_form_is_refused_with_its_line() {
        let long = format!("a:\n  b:\n    domains:\n      - {}", "x".repeat(300));
        for (yaml, line, what) in [
            ("a:\n\tb:\n", 2, "a tab cannot indent a line of YAML; use spaces"),
            ("  a:\n", 1, "the first line is a medium, and is not indented"),
            ("a: b\n", 1, "below a medium stand its sources, a line each"),
            ("a:\n  b: {domains: [x]}\n", 2, "below a source stand `domains` and `parameters`, a line each"),
            ("a:\n  b:\n    hosts:\n", 3, "below a source stand `domains` and `parameters` only"),
            (
                "a:\n  b:\n    domains: x\n",
                3,
                "a list stands on lines of its own (`- item`), or on this one in brackets ([a, b])",
            ),
            ("a:\n  - x\n", 2, "an item stands under `domains` or `parameters`"),
            ("a:\n  b:\n    domains:\n - x\n", 4, "an item stands under `domains` or `parameters`"),
            ("a:\n  b:\n c:\n", 3, "the line is indented less than the source before it"),
            ("a:\n  b\n", 2, "a line is a name with a colon behind it, or an item with a dash before it"),
            ("a:\n  'b:\n", 2, "a quote is not closed"),
            (
                "a:\n  b:\n    domains:\n      - 'x'y\n",
                4,
                "a quoted text has no quotes and backslashes in it, and nothing behind it",
            ),
            (
                "a:\n  b:\n    domains:\n      - *x\n",
                4,
                "anchors, tags, blocks and braces are not read; quote a text that begins so",
            ),
            ("a:\n  b:\n    domains:\n      -\n", 4, "a text is empty"),
            (
                "a:\n  b:\n    domains:\n      - https://x\n",
                4,
                "a domain is a host, and may have a path: example.com/search",
            ),
            (&long, 4, "a text is longer than 256 bytes"),
        ] {
            let said = read("r.yml", yaml.as_bytes()).err().expect(yaml).to_string();
            assert_eq!(said, format!("r.yml, line {line}: {what}"), "{yaml}");
        }
        assert_eq!(read("r.yml", b"a:\n").err().expect("empty").to_string(), "r.yml: there are no domains in it");
    }

    #[test]
    fn junk_is_refused_or_read_and_harms_nobody() {
        let bytes = b"abc: -#'\"[]{},\n\n  \t/.\xc3\xa9";
        let mut state = 88_172_645_463_325_252u64;
        for n in 0..20_000 {
            let junk: Vec<u8> = (0..n % 60)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    bytes[state as usize % bytes.len()]
                })
                .collect();
            let _ = read("junk", &junk);
        }
    }
}
