//! Reading and writing single JSON values.

use std::borrow::Cow;

/// What a JSON value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// The kind of a value that is known to be JSON, without white space before it, by its first byte.
pub fn kind(json: &[u8]) -> Kind {
    match json.first() {
        Some(b'"') => Kind::String,
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'-' | b'0'..=b'9') => Kind::Number,
        _ => Kind::Null,
    }
}

/// The text of a JSON value as [`super::pass`] found it: a string without quotes and escapes, a number or boolean as it
/// is written; `None` for null, objects and arrays. Allocates only for a string with escapes.
pub fn text(json: &[u8]) -> Option<Cow<'_, [u8]>> {
    match kind(json) {
        Kind::String => Some(unescape(json.get(1..json.len() - 1)?)),
        Kind::Number | Kind::Bool => Some(Cow::Borrowed(json)),
        Kind::Null | Kind::Array | Kind::Object => None,
    }
}

/// Undoes the escapes of a string's inside. Escapes that are none are left as they stand, so that this cannot fail.
pub fn unescape(inside: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', inside) else {
        return Cow::Borrowed(inside);
    };
    let mut out = Vec::with_capacity(inside.len());
    let (plain, mut rest) = inside.split_at(first);
    out.extend_from_slice(plain);
    while let Some((&b, tail)) = rest.split_first() {
        if b != b'\\' {
            let run = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..run]);
            rest = &rest[run..];
            continue;
        }
        let simple = match tail.first() {
            Some(b'u') => {
                let (c, used) = code_point(rest);
                match c {
                    Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => out.extend_from_slice(&rest[..used]),
                }
                rest = &rest[used..];
                continue;
            }
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(other) => *other,
            None => b'\\',
        };
        out.push(simple);
        rest = tail.get(1..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// The character of the `\uXXXX` (or pair of them) that `s` begins with, and its length in bytes.
fn code_point(s: &[u8]) -> (Option<char>, usize) {
    match hex4(s, 2) {
        Some(high @ 0xd800..0xdc00) => match (s.get(6..8), hex4(s, 8)) {
            (Some(b"\\u"), Some(low @ 0xdc00..0xe000)) => {
                (char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)), 12)
            }
            _ => (None, 6),
        },
        Some(c) => (char::from_u32(c), 6),
        None => (None, 2),
    }
}

/// Four hexadecimal digits at `at`.
pub(super) fn hex4(s: &[u8], at: usize) -> Option<u32> {
    let four: &[u8; 4] = s.get(at..)?.first_chunk()?;
    four.iter().try_fold(0, |v, b| Some(v << 4 | (*b as char).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_a_text_or_none() {
        for (json, expected) in [
            (r#""a""#, Some("a")),
            (r#""""#, Some("")),
            (r#""a\"\\\/\b\f\n\r\tz""#, Some("a\"\\/\u{8}\u{c}\n\r\tz")),
            (r#""\u00e9\ud83d\ude00!""#, Some("é😀!")),
            ("-12.5e3", Some("-12.5e3")),
            ("true", Some("true")),
            ("null", None),
            ("{}", None),
            ("[1]", None),
            ("", None),
        ] {
            assert_eq!(text(json.as_bytes()).as_deref(), expected.map(str::as_bytes), "{json}");
        }
        assert!(matches!(text(b"\"plain\""), Some(Cow::Borrowed(b"plain"))));
    }

    #[test]
    fn what_is_written_reads_back() {
        let all: String = (0..0x250u32).filter_map(char::from_u32).chain("😀\u{2028}".chars()).collect();
        let mut json = Vec::new();
        event::json::write_string(all.as_bytes(), &mut json);
        assert_eq!(text(&json).as_deref(), Some(all.as_bytes()));
        assert_eq!(serde_json::from_slice::<String>(&json).expect("JSON"), all);
    }
}
