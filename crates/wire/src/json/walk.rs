//! Steps through JSON that was checked before ([`super::pass`], or a source that writes it): finds members without
//! looking at the rest twice. Text that was not checked gives wrong answers, never a panic or an endless loop.

use super::text::unescape;
use super::{Kind, kind, scan};

/// The value at a path of member names and array indices; an empty path leads to the value itself. Of members with equal
/// names the last one counts. `None` where the path leads nowhere.
pub fn find<'j, N: AsRef<str>>(json: &'j [u8], path: &[N]) -> Option<&'j [u8]> {
    let mut at = json;
    for name in path {
        let name = name.as_ref();
        at = match kind(at) {
            Kind::Object => Members::of(at).filter(|m| m.is(name)).last()?.value,
            Kind::Array => Elements::of(at).nth(index(name)?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// A name as an array index, as RFC 6901 has it: no sign, no leading zeros.
fn index(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    if digits { name.parse().ok() } else { None }
}

/// A member of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member<'j> {
    /// As it stands in the text, without its quotes.
    pub raw_name: &'j [u8],
    pub value: &'j [u8],
}

impl Member<'_> {
    fn is(&self, name: &str) -> bool {
        match self.raw_name.contains(&b'\\') {
            false => self.raw_name == name.as_bytes(),
            true => *unescape(self.raw_name) == *name.as_bytes(),
        }
    }
}

/// The members of an object, in their order; nothing for what is no object.
pub struct Members<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Members<'j> {
    pub fn of(json: &'j [u8]) -> Members<'j> {
        Members { json, at: if kind(json) == Kind::Object { 1 } else { json.len() } }
    }
}

impl<'j> Iterator for Members<'j> {
    type Item = Member<'j>;

    fn next(&mut self) -> Option<Member<'j>> {
        let name = start_of_next(self.json, self.at).filter(|at| self.json[*at] == b'"')?;
        let name_end = end_of(self.json, name);
        let colon = scan::space_run(self.json, name_end);
        let value = scan::space_run(self.json, colon + 1);
        let end = end_of(self.json, value);
        self.at = end;
        let raw_name = self.json.get(name + 1..name_end - 1)?;
        self.json.get(value..end).filter(|v| !v.is_empty()).map(|value| Member { raw_name, value })
    }
}

/// The elements of an array, in their order; nothing for what is no array.
pub struct Elements<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Elements<'j> {
    pub fn of(json: &'j [u8]) -> Elements<'j> {
        Elements { json, at: if kind(json) == Kind::Array { 1 } else { json.len() } }
    }
}

impl<'j> Iterator for Elements<'j> {
    type Item = &'j [u8];

    fn next(&mut self) -> Option<&'j [u8]> {
        let start = start_of_next(self.json, self.at)?;
        self.at = end_of(self.json, start);
        self.json.get(start..self.at).filter(|v| !v.is_empty())
    }
}

/// Where the next member or element begins; `None` at the end of its object or array.
fn start_of_next(json: &[u8], at: usize) -> Option<usize> {
    let at = scan::space_run(json, at);
    let at = if json.get(at) == Some(&b',') { scan::space_run(json, at + 1) } else { at };
    json.get(at).filter(|b| !matches!(b, b'}' | b']')).map(|_| at)
}

/// The index after the value that begins at `at`.
fn end_of(json: &[u8], at: usize) -> usize {
    match json.get(at) {
        Some(b'"') => end_of_string(json, at),
        Some(b'{' | b'[') => {
            let mut depth = 0usize;
            let mut at = at;
            loop {
                at = scan::bracket_run(json, at);
                match json.get(at) {
                    None => return json.len(),
                    Some(b'"') => {
                        at = end_of_string(json, at);
                        continue;
                    }
                    Some(b'{' | b'[') => depth += 1,
                    Some(_) => depth -= 1,
                }
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
        }
        Some(_) => {
            let rest = &json[at..];
            at + rest
                .iter()
                .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                .unwrap_or(rest.len())
        }
        None => json.len(),
    }
}

/// The index after the closing quote of a string.
fn end_of_string(json: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        at = scan::plain_run(json, at);
        match json.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return json.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_path_leads_to_a_value_or_nowhere() {
        let json =
            r#" { "a" : {"b" : [1, "t}w\"o", {"c":null}], "" : {} },"d\u0065":-1.5e3 ,"a/b":true,"x":1,"x":[],"\\":false} "#
                .trim();
        for (path, expected) in [
            (&[][..], Some(json)),
            (&["a", "b", "0"], Some("1")),
            (&["a", "b", "1"], Some(r#""t}w\"o""#)),
            (&["a", "b", "2", "c"], Some("null")),
            (&["a", "b", "3"], None),
            (&["a", "b", "01"], None),
            (&["a", "b", "c"], None),
            (&["a", ""], Some("{}")),
            (&["a", "", "x"], None),
            (&["de"], Some("-1.5e3")),
            (&["de", "x"], None),
            (&["a/b"], Some("true")),
            (&["x"], Some("[]")),
            (&["y"], None),
            (&["\\"], Some("false")),
            (&["\\\\"], None),
        ] {
            assert_eq!(
                find(json.as_bytes(), path).map(|v| std::str::from_utf8(v).expect("UTF-8")),
                expected,
                "{path:?}"
            );
        }
        for empty in ["{}", "[]", "{ }", "[ ]", "1", "\"s\"", ""] {
            assert_eq!(
                (Members::of(empty.as_bytes()).count(), Elements::of(empty.as_bytes()).count()),
                (0, 0),
                "{empty}"
            );
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a\"\\\\{}\\[\\], é\n]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec(("[ab\"\\\\}]{0,2}", inner), 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// Every value reached through the walk is the one `serde_json` has there.
    fn agrees(json: &[u8], expected: &Value) {
        assert_eq!(&serde_json::from_slice::<Value>(json).expect("JSON"), expected);
        match expected {
            Value::Array(elements) => {
                assert_eq!(Elements::of(json).count(), elements.len());
                Elements::of(json).zip(elements).for_each(|(json, expected)| agrees(json, expected));
            }
            Value::Object(members) => {
                assert_eq!(Members::of(json).count(), members.len());
                for (name, expected) in members {
                    agrees(find(json, &[name]).expect("a member"), expected);
                }
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_serde_json_finds(value in value(), pretty: bool) {
            let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            agrees(json.expect("JSON").as_bytes(), &value);
        }

        #[test]
        fn what_is_no_json_ends_too(bytes in "[{}\\[\\]\",:\\\\ a1]{0,40}") {
            let _ = find(bytes.as_bytes(), &["a", "0", "a"]);
            let _ = Members::of(bytes.as_bytes()).count() + Elements::of(bytes.as_bytes()).count();
        }
    }
}
