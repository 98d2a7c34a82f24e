//! Rows of a CSV file with a header line, as JSON objects of strings by column name.
//!
//! ```text
//! user_id;note            ->   {"user_id":"7","note":"says \"hi\""}
//! 7;"says ""hi"""
//! ```
//! Quotes are those of RFC 4180. The separator is the one of `,`, `;`, tab and `|` that the header line has most of
//! outside quotes. Every value is a string, since CSV has no other type; an empty field is an empty string. Where rows are
//! events, one row is one line: a quoted field with a line break in it is refused where it is cut, because a stray quote
//! would otherwise swallow the rest of the file. Who has the whole file at hand, and a limit for a row, finds rows of
//! several lines with [`Rows::row_len`].

use event::{Code, Failure};

use event::json::write_string;

/// More columns than this are refused with the header: the members of an event are limited, too.
const MAX_COLUMNS: usize = 2_000;

/// Reads rows by the names of one header line.
#[derive(Clone, Debug)]
pub struct Rows {
    separator: u8,
    /// `{"name":` for the first column, `,"name":` for the others.
    lead_ins: Vec<Vec<u8>>,
    names: Vec<String>,
    /// A quoted field without its quotes.
    plain: Vec<u8>,
}

impl Rows {
    /// Reads a header line (without its line end).
    ///
    /// # Errors
    /// `bad_line` for a header that is empty, not UTF-8, or has a column twice or without a name.
    pub fn new(header_line: &[u8]) -> Result<Rows, Failure> {
        let bad = |message: String| Failure::new(Code::BadLine, "", message);
        let line = header_line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header_line);
        let line = trim_line_end(line);
        if std::str::from_utf8(line).is_err() {
            return Err(bad("the header line is not valid UTF-8".into()));
        }
        let mut rows =
            Rows { separator: separator_of(line), lead_ins: Vec::new(), names: Vec::new(), plain: Vec::new() };
        let mut fields = Fields::new(line, rows.separator);
        while let Some(field) =
            fields.next(&mut rows.plain).map_err(|(at, why)| bad(format!("{why}, at byte {at} of the header")))?
        {
            let name = String::from_utf8_lossy(field.trim_ascii()).into_owned();
            let number = rows.names.len() + 1;
            if name.is_empty() {
                return Err(bad(format!("column {number} of the header has no name")));
            }
            if let Some(first) = rows.names.iter().position(|n| *n == name) {
                return Err(bad(format!("columns {} and {number} of the header have the same name", first + 1)));
            }
            if number > MAX_COLUMNS {
                return Err(bad(format!("the header has more than {MAX_COLUMNS} columns")));
            }
            let mut lead_in = vec![if number == 1 { b'{' } else { b',' }];
            write_string(name.as_bytes(), &mut lead_in);
            lead_in.push(b':');
            rows.lead_ins.push(lead_in);
            rows.names.push(name);
        }
        Ok(rows)
    }

    /// The columns' names, from left to right.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Appends one row (without its line end) as JSON to `out`. What is appended on a failure is to be thrown away. Bytes that are not
    /// UTF-8 are copied, so that the event is then refused as `not_utf8`.
    ///
    /// # Errors
    /// `bad_line` for a row with more or fewer fields than the header has columns, or with a quote out of place.
    pub fn to_json(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let lead_ins = std::mem::take(&mut self.lead_ins);
        let read = self.fields(line, |column, field| {
            out.extend_from_slice(&lead_ins[column]);
            write_string(field, out);
        });
        self.lead_ins = lead_ins;
        out.push(b'}');
        read
    }

    /// Calls `each` with every field of one row (without its line end) and the number of its column, from 0. What it did
    /// before a failure is to be thrown away.
    ///
    /// # Errors
    /// As [`Rows::to_json`].
    pub fn fields(&mut self, row: &[u8], mut each: impl FnMut(usize, &[u8])) -> Result<(), Failure> {
        let bad = |message: String| Failure::new(Code::BadLine, "", message);
        let mut fields = Fields::new(trim_line_end(row), self.separator);
        let mut count = 0;
        while let Some(field) = fields.next(&mut self.plain).map_err(|(at, why)| bad(format!("{why}, at byte {at}")))? {
            if count < self.names.len() {
                each(count, field);
            }
            count += 1;
        }
        if count != self.names.len() {
            return Err(bad(format!("the row has {count} fields, but the header {} columns", self.names.len())));
        }
        Ok(())
    }

    /// How long the row is that `text` begins with, its line end included, when quoted fields may have line breaks in
    /// them; `None` if it does not end within `text`. Scans no further than the row's end: give it no more than a row
    /// may have, or a stray quote costs a scan of the whole file.
    pub fn row_len(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if text.get(at) == Some(&b'"') {
                // A doubled quote closes and opens again, which comes to the same.
                at += 2 + memchr::memchr(b'"', &text[at + 1..])?;
                continue;
            }
            // Between quotes, or in a field without: on to the next field or line, whichever comes first.
            at += 1 + memchr::memchr2(self.separator, b'\n', text.get(at..)?)?;
            if text[at - 1] == b'\n' {
                return Some(at);
            }
        }
    }
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The most frequent candidate outside quotes; the first of them when equal.
fn separator_of(header: &[u8]) -> u8 {
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut in_quotes = false;
    for b in header {
        in_quotes ^= *b == b'"';
        if let Some((_, n)) = counts.iter_mut().find(|(c, _)| c == b && !in_quotes) {
            *n += 1;
        }
    }
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(b',', |(c, _)| *c)
}

/// The fields of one line.
struct Fields<'l> {
    line: &'l [u8],
    separator: u8,
    /// Where the next field begins; behind the line's length when there is none.
    at: usize,
}

impl<'l> Fields<'l> {
    fn new(line: &'l [u8], separator: u8) -> Fields<'l> {
        Fields { line, separator, at: 0 }
    }

    /// The next field without its quotes, for which `plain` is the memory. The error is the byte and what is wrong there.
    fn next<'f>(&mut self, plain: &'f mut Vec<u8>) -> Result<Option<&'f [u8]>, (usize, &'static str)>
    where
        'l: 'f,
    {
        let Some(rest) = self.line.get(self.at..) else { return Ok(None) };
        let start = self.at;
        let Some(mut rest) = rest.strip_prefix(b"\"") else {
            let len = memchr::memchr(self.separator, rest).unwrap_or(rest.len());
            self.at += len + 1;
            return Ok(Some(&rest[..len]));
        };
        plain.clear();
        loop {
            let Some(quote) = memchr::memchr(b'"', rest) else {
                return Err((start, "a quote is not closed on its line (a row is one line)"));
            };
            plain.extend_from_slice(&rest[..quote]);
            rest = &rest[quote + 1..];
            match rest.first() {
                Some(b'"') => {
                    plain.push(b'"');
                    rest = &rest[1..];
                }
                Some(b) if *b != self.separator => {
                    return Err((self.line.len() - rest.len(), "something follows a closing quote"));
                }
                _ => break,
            }
        }
        self.at = self.line.len() - rest.len() + 1;
        Ok(Some(plain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_objects_of_strings() {
        for (header, row, expected) in [
            ("a,b", "1,two", Ok(r#"{"a":"1","b":"two"}"#)),
            ("a,b\r\n", "1,two\r\n", Ok(r#"{"a":"1","b":"two"}"#)),
            ("\u{feff}a,b", ",", Ok(r#"{"a":"","b":""}"#)),
            ("a;b,c", "1,2;3", Ok(r#"{"a;b":"1","c":"2;3"}"#)),
            ("a;b", "1,5;x", Ok(r#"{"a":"1,5","b":"x"}"#)),
            ("a\tb", "\"x\"\t", Ok(r#"{"a":"x","b":""}"#)),
            ("\"a,b;c\"|d", "1|2", Ok(r#"{"a,b;c":"1","d":"2"}"#)),
            ("only", "", Ok(r#"{"only":""}"#)),
            ("a,b", r#""x ""y"", z",é\"#, Ok(r#"{"a":"x \"y\", z","b":"é\\"}"#)),
            ("a,b", "\"\",\"\"", Ok(r#"{"a":"","b":""}"#)),
            ("a,b", "5\" pipe,x", Ok(r#"{"a":"5\" pipe","b":"x"}"#)),
            ("\"x\"\"y\",b", "1,2", Ok(r#"{"x\"y":"1","b":"2"}"#)),
            ("a,b", "1", Err("1 fields")),
            ("a,b", "1,2,3", Err("3 fields")),
            ("a,b", "\"1,2", Err("not closed")),
            ("a,b", "\"1\"x,2", Err("at byte 3")),
        ] {
            let mut out = Vec::new();
            let got = Rows::new(header.as_bytes()).and_then(|mut r| r.to_json(row.as_bytes(), &mut out));
            match (got, expected) {
                (Ok(()), Ok(json)) => assert_eq!(String::from_utf8_lossy(&out), json),
                (Err(f), Err(says)) => assert!(f.message.contains(says), "{row}: {}", f.message),
                (got, _) => panic!("{header} {row}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_row_ends_where_its_last_quote_is_closed() {
        let rows = Rows::new(b"a,b").expect("a header");
        for (text, row) in [
            ("1,2\n3,4\n", Some("1,2\n")),
            ("1,2\r\n3", Some("1,2\r\n")),
            ("\n1", Some("\n")),
            ("\"1\n2\",\"3\n\"\n4", Some("\"1\n2\",\"3\n\"\n")),
            ("\"a \"\"b\n\"\" c\",2\n3", Some("\"a \"\"b\n\"\" c\",2\n")),
            ("\"\"\n", Some("\"\"\n")),
            ("5\" pipe,6\"\n7", Some("5\" pipe,6\"\n")),
            ("1,2", None),
            ("1,\"2\n", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(rows.row_len(text.as_bytes()), row.map(str::len), "{text:?}");
        }
        let mut rows = rows;
        let mut fields = Vec::new();
        rows.fields(b"\"1\n2\",\"3\"\r\n", |column, f| fields.push((column, f.to_vec()))).expect("a row");
        assert_eq!(fields, [(0, b"1\n2".to_vec()), (1, b"3".to_vec())]);
    }

    #[test]
    fn a_header_that_names_nothing_is_refused() {
        for (header, says) in [
            (&b""[..], "column 1"),
            (b"a,", "column 2"),
            (b"a,b,a", "columns 1 and 3"),
            (b"a,\"b", "not closed"),
            (b"a,\xff", "UTF-8"),
        ] {
            let failure = Rows::new(header).expect_err("no header");
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }
}
