//! Rows of a CSV file with a header line, as JSON objects of strings by column name.
//!
//! ```text
//! user_id;note            ->   {"user_id":"7","note":"says \"hi\""}
//! 7;"says ""hi"""
//! ```
//! Quotes are those of RFC 4180. The separator is the one of `,`, `;`, tab and `|` that the header line has most of
//! outside quotes. Every value is a string, since CSV has no other type; an empty field is an empty string. One row is one
//! line: a quoted field with a line break in it is refused where it is cut, because a stray quote would otherwise
//! swallow the rest of the file.

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
        let bad = |message: String| Failure::new(Code::BadLine, "", message);
        let mut fields = Fields::new(trim_line_end(line), self.separator);
        let mut count = 0;
        while let Some(field) = fields.next(&mut self.plain).map_err(|(at, why)| bad(format!("{why}, at byte {at}")))? {
            if let Some(lead_in) = self.lead_ins.get(count) {
                out.extend_from_slice(lead_in);
                write_string(field, out);
            }
            count += 1;
        }
        if count != self.names.len() {
            return Err(bad(format!("the row has {count} fields, but the header {} columns", self.names.len())));
        }
        out.push(b'}');
        Ok(())
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
