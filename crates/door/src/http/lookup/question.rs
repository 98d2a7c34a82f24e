//! The body of a request: `{"keys":["7",["a","b"],8],"deadline_ms":40}`, read in one pass. It is small and there are many, so
//! nothing is made of it but the keys' bytes.

use std::ops::Range;

/// Keys in one request. Whoever has more sends several at once.
pub const KEYS_MAX: usize = 1_000;
/// The longest deadline; clients and proxies give up soon after.
pub const DEADLINE_MS_MAX: u64 = 10_000;

/// Why a body is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Where, as a JSON pointer, and what is wrong there.
    Bad {
        pointer: String,
        message: String,
    },
    TooMany,
}

/// What is asked for.
#[derive(Debug, Default)]
pub struct Question {
    /// The keys' bytes, one behind the other.
    bytes: Vec<u8>,
    keys: Vec<Place>,
    pub deadline_ms: Option<u64>,
}

#[derive(Debug)]
struct Place {
    /// Where its bytes end.
    end: usize,
    /// Where it stands in the body.
    shown: Range<usize>,
}

impl Question {
    /// Reads a body whose keys are of so many parameters.
    pub fn read(body: &[u8], parameters: usize) -> Result<Question, Refused> {
        let text = std::str::from_utf8(body).map_err(|_| bad("", "the body is not UTF-8"))?;
        let mut reader = Reader { text: text.as_bytes(), at: 0, parameters, question: Question::default() };
        reader.object()?;
        Ok(reader.question)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// A key's bytes, and where it stands in the body.
    pub fn key(&self, place: usize) -> (&[u8], Range<usize>) {
        let begin = place.checked_sub(1).map_or(0, |before| self.keys[before].end);
        let Place { end, shown } = &self.keys[place];
        (&self.bytes[begin..*end], shown.clone())
    }
}

fn bad(pointer: impl Into<String>, message: impl Into<String>) -> Refused {
    Refused::Bad { pointer: pointer.into(), message: message.into() }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    parameters: usize,
    question: Question,
}

const A_KEY: &str = "a key is a text or a number";

impl Reader<'_> {
    fn object(&mut self) -> Result<(), Refused> {
        if self.next() != b'{' {
            return Err(bad("", "the body is an object: {\"keys\":[\"...\"]}"));
        }
        self.at += 1;
        let mut has_keys = false;
        if self.next() != b'}' {
            loop {
                match self.name()? {
                    "keys" if !has_keys => self.keys()?,
                    "deadline_ms" if self.question.deadline_ms.is_none() => self.deadline()?,
                    name @ ("keys" | "deadline_ms") => return Err(bad(format!("/{name}"), "it is there twice")),
                    _ => return Err(bad("", "a body has the members `keys` and `deadline_ms`, and no other")),
                }
                has_keys |= !self.question.keys.is_empty();
                match self.next() {
                    b',' => self.at += 1,
                    b'}' => break,
                    _ => return Err(self.broken("")),
                }
                self.next();
            }
        }
        self.at += 1;
        if !has_keys {
            return Err(bad("/keys", "it must be there: a list of at least one key"));
        }
        self.next();
        if self.at < self.text.len() { Err(bad("", "there is something behind the object")) } else { Ok(()) }
    }

    /// A member's name, and the colon.
    fn name(&mut self) -> Result<&'static str, Refused> {
        let rest = &self.text[self.at..];
        let known = ["keys", "deadline_ms"].into_iter().find(|name| {
            let quoted = rest.strip_prefix(b"\"").and_then(|rest| rest.strip_prefix(name.as_bytes()));
            quoted.is_some_and(|rest| rest.starts_with(b"\""))
        });
        let Some(name) = known else { return Ok("") };
        self.at += name.len() + 2;
        if self.next() != b':' {
            return Err(self.broken(""));
        }
        self.at += 1;
        self.next();
        Ok(name)
    }

    fn keys(&mut self) -> Result<(), Refused> {
        if self.next() != b'[' {
            return Err(bad("/keys", "it is a list of keys"));
        }
        self.at += 1;
        if self.next() == b']' {
            return Err(bad("/keys", "it has at least one key"));
        }
        loop {
            if self.question.keys.len() == KEYS_MAX {
                return Err(Refused::TooMany);
            }
            self.key()?;
            match self.next() {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.broken("/keys")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn key(&mut self) -> Result<(), Refused> {
        let pointer = |of: &Reader<'_>| format!("/keys/{}", of.question.keys.len());
        let parameters = self.parameters;
        let begin = (self.next(), self.at).1;
        let found = if self.next() == b'[' {
            self.at += 1;
            let mut found = 0;
            loop {
                self.next();
                self.parameter().map_err(|what| bad(format!("{}/{found}", pointer(self)), what))?;
                found += 1;
                match self.next() {
                    b',' if found < parameters => self.at += 1,
                    b']' => break,
                    b',' => return Err(bad(pointer(self), format!("a key here is of {parameters} texts"))),
                    _ => return Err(self.broken(&pointer(self))),
                }
            }
            self.at += 1;
            found
        } else {
            self.parameter().map_err(|what| bad(pointer(self), what))?;
            1
        };
        if found != parameters {
            return Err(bad(pointer(self), format!("a key here is a list of {parameters} texts")));
        }
        self.question.keys.push(Place { end: self.question.bytes.len(), shown: begin..self.at });
        Ok(())
    }

    /// Appends a parameter behind its length.
    fn parameter(&mut self) -> Result<(), &'static str> {
        let at = self.question.bytes.len();
        self.question.bytes.extend_from_slice(&[0; 4]);
        match self.text.get(self.at) {
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => return Err(A_KEY),
        }
        let len = u32::try_from(self.question.bytes.len() - at - 4).unwrap_or(u32::MAX);
        self.question.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        Ok(())
    }

    fn string(&mut self) -> Result<(), &'static str> {
        const OPEN: &str = "the text has no end";
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = memchr::memchr2(b'"', b'\\', rest).ok_or(OPEN)?;
            if rest[..plain].iter().any(|b| *b < 0x20) {
                return Err("a control character in a text is written as an escape");
            }
            self.question.bytes.extend_from_slice(&rest[..plain]);
            self.at += plain + 1;
            if rest[plain] == b'"' {
                return Ok(());
            }
            let c = self.escape().ok_or("this escape is not one of JSON's")?;
            self.question.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Option<char> {
        let escape = *self.text.get(self.at)?;
        self.at += 1;
        Some(match escape {
            b'"' | b'\\' | b'/' => char::from(escape),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => match self.unit()? {
                high @ 0xd800..0xdc00 => {
                    let rest = self.text.get(self.at..self.at + 2)?;
                    self.at += 2;
                    let low = (rest == b"\\u").then(|| self.unit()).flatten()?;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    char::from_u32(0x10000 + ((high - 0xd800) << 10 | low))?
                }
                unit => char::from_u32(unit)?,
            },
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }

    /// As it is written: `1.0` is another key than `1`.
    fn number(&mut self) -> Result<(), &'static str> {
        let begin = self.at;
        self.at += usize::from(self.text[self.at] == b'-');
        let whole = self.digits();
        let leads = whole > 1 && self.text[self.at - whole] == b'0';
        let mut holds = whole > 0 && !leads;
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            holds &= self.digits() > 0;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.text.get(self.at), Some(b'+' | b'-')));
            holds &= self.digits() > 0;
        }
        if !holds {
            return Err("this is not a number of JSON's");
        }
        self.question.bytes.extend_from_slice(&self.text[begin..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += count;
        count
    }

    fn deadline(&mut self) -> Result<(), Refused> {
        let begin = self.at;
        let count = self.digits();
        let digits = std::str::from_utf8(&self.text[begin..begin + count]).unwrap_or("");
        let ends = matches!(self.next(), b',' | b'}');
        let ms = digits.parse().ok().filter(|ms| ends && (1..=DEADLINE_MS_MAX).contains(ms));
        let what = || bad("/deadline_ms", format!("it is a whole number of milliseconds, from 1 to {DEADLINE_MS_MAX}"));
        self.question.deadline_ms = Some(ms.ok_or_else(what)?);
        Ok(())
    }

    /// Goes to the next byte that is no space; 0 at the end.
    fn next(&mut self) -> u8 {
        let rest = &self.text[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn broken(&self, pointer: &str) -> Refused {
        bad(pointer, format!("the JSON breaks off or goes wrong at byte {}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The keys, each with its parameters.
    fn keys(question: &Question) -> Vec<Vec<String>> {
        (0..question.len())
            .map(|place| {
                let (mut bytes, _) = question.key(place);
                let mut parameters = Vec::new();
                while let Some((len, rest)) = bytes.split_first_chunk() {
                    let (text, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
                    parameters.push(String::from_utf8(text.to_vec()).expect("text"));
                    bytes = rest;
                }
                parameters
            })
            .collect()
    }

    #[test]
    fn keys_are_texts_and_numbers_as_they_are_written() {
        let body = r#" { "deadline_ms" : 250 , "keys" : [ "a\"\u00fc\ud83e\udd85\/" , 7 , -1.50e+3, "", ["x"] ] } "#;
        let question = Question::read(body.as_bytes(), 1).expect("a body");
        let expected = ["a\"ü🦅/", "7", "-1.50e+3", "", "x"].map(|text| vec![text.to_owned()]);
        assert_eq!((keys(&question), question.deadline_ms), (expected.to_vec(), Some(250)));
        assert_eq!(&body[question.key(3).1], "\"\"");
        let question = Question::read(br#"{"keys":[["a", 1 ],["b","c"]]}"#, 2).expect("a body");
        assert_eq!(keys(&question), [["a", "1"], ["b", "c"]]);
        assert_eq!(question.key(0).1, 9..18);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let cases: [(&str, usize, &str); 26] = [
            ("", 1, ""),
            ("[]", 1, ""),
            ("{}", 1, "/keys"),
            ("{\"keys\":[]}", 1, "/keys"),
            ("{\"keys\":\"a\"}", 1, "/keys"),
            ("{\"keys\":[\"a\"", 1, "/keys"),
            ("{\"keys\":[\"a\" \"b\"]}", 1, "/keys"),
            ("{\"keys\":[\"a\",]}", 1, "/keys/1"),
            ("{\"keys\":[\"a\",null]}", 1, "/keys/1"),
            ("{\"keys\":[\"a\",{}]}", 1, "/keys/1"),
            ("{\"keys\":[\"a]}", 1, "/keys/0"),
            ("{\"keys\":[\"\\x\"]}", 1, "/keys/0"),
            ("{\"keys\":[\"\\ud800\"]}", 1, "/keys/0"),
            ("{\"keys\":[\"a\nb\"]}", 1, "/keys/0"),
            ("{\"keys\":[01]}", 1, "/keys/0"),
            ("{\"keys\":[1.]}", 1, "/keys/0"),
            ("{\"keys\":[-]}", 1, "/keys/0"),
            ("{\"keys\":[[\"a\",\"b\"]]}", 1, "/keys/0"),
            ("{\"keys\":[[]]}", 1, "/keys/0/0"),
            ("{\"keys\":[\"a\"]}", 2, "/keys/0"),
            ("{\"keys\":[[\"a\"]]}", 2, "/keys/0"),
            ("{\"keys\":[\"a\"],\"keys\":[\"b\"]}", 1, "/keys"),
            ("{\"keys\":[\"a\"],\"deadline_ms\":0}", 1, "/deadline_ms"),
            ("{\"keys\":[\"a\"],\"deadline_ms\":1.5}", 1, "/deadline_ms"),
            ("{\"keys\":[\"a\"],\"deadline\":5}", 1, ""),
            ("{\"keys\":[\"a\"]} x", 1, ""),
        ];
        for (body, parameters, at) in cases {
            match Question::read(body.as_bytes(), parameters) {
                Err(Refused::Bad { pointer, .. }) => assert_eq!(pointer, at, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        let many = format!("{{\"keys\":[{}1]}}", "1,".repeat(KEYS_MAX));
        assert_eq!(Question::read(many.as_bytes(), 1).map(|_| ()), Err(Refused::TooMany));
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_and_what_is_taken_serde_reads(texts in proptest::collection::vec(any::<String>(), 1..5)) {
            let body = serde_json::json!({ "keys": texts }).to_string();
            let question = Question::read(body.as_bytes(), 1).expect("a body");
            prop_assert_eq!(keys(&question), texts.iter().map(|text| vec![text.clone()]).collect::<Vec<_>>());
        }

        #[test]
        fn other_bytes_do_no_harm(body in "[{}\\[\\]\",:a-f0-9 \\\\u.eE+-]{0,40}|\\{\"keys\":\\[[\\[\\]\",a0-9\\\\u.-]{0,20}\\]\\}") {
            if Question::read(body.as_bytes(), 1).is_ok() {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{}", body);
            }
        }
    }
}
