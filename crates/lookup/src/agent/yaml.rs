//! Reads the YAML that uap-core's `regexes.yaml` is written in: sections, each a list of items, each a handful of members
//! with a text on the same line. What else YAML has (anchors, nesting, texts over several lines) is refused with its
//! line: no published file has it, and every surprise that YAML is known for is in there.

use std::borrow::Cow;

/// An item of a section.
pub(super) struct Item<'y> {
    pub section: &'y str,
    /// Counted from 1.
    pub line: usize,
    pub members: Vec<(&'y str, Cow<'y, str>)>,
}

impl Item<'_> {
    /// A member's text; `None` also if it is empty.
    pub fn member(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(key, _)| *key == name).map(|(_, text)| text.trim()).filter(|text| !text.is_empty())
    }
}

#[derive(Debug)]
pub(super) struct Problem {
    /// Counted from 1.
    pub line: usize,
    pub what: String,
}

/// Members of an item. uap-core's have at most seven.
const MEMBERS_MAX: usize = 32;

/// The items of the sections that are wanted, in their order. Other sections are passed over unread. Gives at most `max`.
pub(super) fn items<'y>(text: &'y str, wanted: &[&str], max: usize) -> Result<Vec<Item<'y>>, Problem> {
    let mut items: Vec<Item<'y>> = Vec::new();
    let mut section: Option<&str> = None;
    // The column at which the members of the item that is being read begin.
    let mut column = None;
    for (at, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let problem = |what: &str| Problem { line: at + 1, what: what.to_owned() };
        let content = line.trim_start_matches(' ');
        if content.trim_end().is_empty() || content.starts_with('#') || matches!(line.trim_end(), "---" | "...") {
            continue;
        }
        let indent = line.len() - content.len();
        let item = content.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if indent == 0 && item.is_none() && !content.starts_with('\t') {
            section = Some(header(content).ok_or_else(|| problem("a section's name and a colon are expected"))?);
            column = None;
            continue;
        }
        let Some(section) = section else { return Err(problem("an item stands before the first section")) };
        if !wanted.contains(&section) {
            continue;
        }
        if line[..indent + usize::from(item.is_some())].contains('\t') || content.starts_with('\t') {
            return Err(problem("lines are indented with spaces, not tabs"));
        }
        let member = match item {
            None => content,
            Some(rest) => {
                if items.len() == max {
                    return Err(problem(&format!("a file may have {max} rules")));
                }
                items.push(Item { section, line: at + 1, members: Vec::new() });
                let member = rest.trim_start_matches(' ');
                column = Some(line.len() - member.len());
                member
            }
        };
        let (Some(item), Some(column)) = (items.last_mut(), column) else {
            return Err(problem("an item's first line begins with a dash"));
        };
        if line.len() - member.len() != column {
            return Err(problem("a member of an item begins where the item's first one does"));
        }
        if item.members.len() == MEMBERS_MAX {
            return Err(problem("an item has more members than it can use"));
        }
        let (key, value) = key_and_value(member).ok_or_else(|| problem("a name, a colon and a text are expected"))?;
        if item.members.iter().any(|(other, _)| *other == key) {
            return Err(problem(&format!("`{key}` is there twice")));
        }
        item.members.push((key, scalar(value).map_err(problem)?));
    }
    Ok(items)
}

/// `name:` with nothing behind it but a comment.
fn header(content: &str) -> Option<&str> {
    let (name, rest) = content.split_once(':')?;
    let rest = rest.trim();
    (name_like(name) && (rest.is_empty() || rest.starts_with('#') || rest == "[]")).then_some(name)
}

fn key_and_value(member: &str) -> Option<(&str, &str)> {
    let (key, value) = member.split_once(':')?;
    let ends = value.is_empty() || value.starts_with([' ', '\t']);
    (ends && name_like(key)).then(|| (key, value.trim()))
}

fn name_like(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// A text in single quotes, in double quotes, or plain; nothing is an empty one.
fn scalar(value: &str) -> Result<Cow<'_, str>, &'static str> {
    match value.as_bytes().first() {
        None | Some(b'#') => Ok(Cow::Borrowed("")),
        Some(b'\'') => single_quoted(value),
        Some(b'"') => double_quoted(value),
        Some(b'|' | b'>') => Err("texts over several lines are not read: write it on one, in single quotes"),
        Some(b'&' | b'*' | b'!') => Err("anchors and tags are not read: write the text itself, in single quotes"),
        Some(b'[' | b'{' | b'%' | b'@' | b'`' | b']' | b'}' | b',') => {
            Err("a text that begins with such a character needs single quotes")
        }
        Some(_) => {
            let end = value.find(" #").unwrap_or(value.len());
            let plain = value[..end].trim_end();
            match plain.contains(": ") || plain.ends_with(':') {
                true => Err("a text with a colon needs single quotes"),
                false => Ok(Cow::Borrowed(if matches!(plain, "~" | "null") { "" } else { plain })),
            }
        }
    }
}

const NO_END: &str = "a quoted text does not end on its line";
const AFTER_END: &str = "there is something behind a quoted text";

/// `''` is one quote; nothing else is special.
fn single_quoted(value: &str) -> Result<Cow<'_, str>, &'static str> {
    let text = &value[1..];
    let mut from = 0;
    loop {
        let quote = from + text[from..].find('\'').ok_or(NO_END)?;
        if text[quote + 1..].starts_with('\'') {
            from = quote + 2;
            continue;
        }
        nothing_after(&text[quote + 1..])?;
        let text = &text[..quote];
        return Ok(if from == 0 { Cow::Borrowed(text) } else { Cow::Owned(text.replace("''", "'")) });
    }
}

fn double_quoted(value: &str) -> Result<Cow<'_, str>, &'static str> {
    let mut text = String::new();
    let mut chars = value[1..].chars();
    loop {
        match chars.next().ok_or(NO_END)? {
            '"' => break,
            '\\' => text.push(match chars.next().ok_or(NO_END)? {
                c @ ('"' | '\\' | '/' | ' ') => c,
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                _ => {
                    return Err(
                        "in double quotes \\\\ is a backslash; write the text in single quotes, where \\ is one",
                    );
                }
            }),
            c => text.push(c),
        }
    }
    nothing_after(chars.as_str())?;
    Ok(Cow::Owned(text))
}

fn nothing_after(rest: &str) -> Result<(), &'static str> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(()) } else { Err(AFTER_END) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Read = Vec<(String, Vec<(String, String)>)>;

    fn read(text: &str) -> Result<Read, (usize, String)> {
        let found = items(text, &["a", "b"], 3).map_err(|p| (p.line, p.what))?;
        let owned = |i: &Item<'_>| i.members.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Ok(found.iter().map(|i| (i.section.to_owned(), owned(i))).collect())
    }

    #[test]
    fn the_ways_to_write_a_text() {
        for (written, text) in [
            ("'a b'", "a b"),
            ("'it''s'", "it's"),
            ("''", ""),
            ("''''", "'"),
            (r"'\d+ # no comment'  # a comment", r"\d+ # no comment"),
            (r#""a \"b\" \\d \/""#, r#"a "b" \d /"#),
            ("plain text # comment", "plain text"),
            ("a#b", "a#b"),
            ("7", "7"),
            ("", ""),
            ("~", ""),
            ("# only a comment", ""),
            ("Seznam prohlížeč", "Seznam prohlížeč"),
        ] {
            let items = read(&format!("a:\n  - regex: {written}\n")).expect(written);
            assert_eq!(items, [("a".into(), vec![("regex".into(), text.into())])], "{written}");
        }
    }

    #[test]
    fn the_shapes_of_a_file() {
        let one = |section: &str, members: &[(&str, &str)]| {
            (section.to_owned(), members.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>())
        };
        for (text, expected) in [
            ("", vec![]),
            ("# nothing\n---\n", vec![]),
            ("a:\n", vec![]),
            ("a: []\nb:\n- x: 1\n", vec![one("b", &[("x", "1")])]),
            ("\u{feff}a:\r\n  - x: 1\r\n    y: 2\r\n", vec![one("a", &[("x", "1"), ("y", "2")])]),
            (
                "a:\n  -   x: 1\n\n      # between\n      y: 2\n  - x: 3\nb: # more\n - x: 4\n",
                vec![one("a", &[("x", "1"), ("y", "2")]), one("a", &[("x", "3")]), one("b", &[("x", "4")])],
            ),
            // What is not wanted may be anything.
            ("other:\n  - &x [{\n\t deep\nb:\n  - x: 1\n", vec![one("b", &[("x", "1")])]),
        ] {
            assert_eq!(read(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_refused_says_its_line() {
        for (text, line, words) in [
            ("a\n", 1, "colon"),
            ("a:\n  - regex: 'x\n", 2, "does not end"),
            ("a:\n  - regex: 'x' y\n", 2, "behind"),
            ("a:\n  - regex: \"\\q\"\n", 2, "single quotes"),
            ("a:\n  - regex: \"x\n", 2, "does not end"),
            ("a:\n  - regex: |\n      x\n", 2, "several lines"),
            ("a:\n  - regex: &anchor x\n", 2, "anchors"),
            ("a:\n  - regex: *anchor\n", 2, "anchors"),
            ("a:\n  - regex: [x]\n", 2, "single quotes"),
            ("a:\n  - regex: a: b\n", 2, "single quotes"),
            ("a:\n  - regex: x\n    regex: y\n", 3, "twice"),
            ("a:\n  - regex: x\n      flag: y\n", 3, "begins where"),
            ("a:\n  regex: x\n", 2, "dash"),
            ("a:\n  - - x: 1\n", 2, "a name"),
            ("a:\n  -\n", 2, "a name"),
            ("a:\n  - just text\n", 2, "a name"),
            ("a:\n\t- x: 1\n", 2, "tabs"),
            ("  - x: 1\n", 1, "before the first section"),
            ("a:\n - x: 1\n - x: 1\n - x: 1\n - x: 1\n", 5, "may have 3"),
        ] {
            let (at, what) = read(text).expect_err(text);
            assert_eq!(at, line, "{text}: {what}");
            assert!(what.contains(words), "{text}: {what}");
        }
    }
}
