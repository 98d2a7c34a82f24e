//! One pass over an object that is known to be JSON: every byte is looked at once, and a text without escapes is borrowed
//! without a second look. The values of `enriched` are short, so a plain loop is faster than one that looks for its
//! brackets many bytes at a time. Text that is no JSON gives wrong answers, never a panic or an endless loop.

use std::borrow::Cow;

use crate::facts::Text;

/// The members of an object, in their order; the caller skips each value or enters it.
pub(crate) struct Scan<'j> {
    json: &'j [u8],
    at: usize,
}

impl<'j> Scan<'j> {
    /// Nothing for what is no object.
    pub fn of(json: &'j [u8]) -> Scan<'j> {
        Scan { json, at: if json.first() == Some(&b'{') { 1 } else { json.len() } }
    }

    fn peek(&self) -> u8 {
        self.json.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    /// The next member's name as it stands in the text; its value begins here. `None` after the object's end.
    pub fn name(&mut self) -> Option<&'j [u8]> {
        self.space();
        if self.peek() == b',' {
            self.at += 1;
            self.space();
        }
        if self.peek() != b'"' {
            self.at = (self.at + 1).min(self.json.len());
            return None;
        }
        let (start, end, _) = self.string();
        self.space();
        self.at += usize::from(self.peek() == b':');
        self.space();
        self.json.get(start..end)
    }

    /// Goes into the object that begins here: its members come next, and `name` says `None` at its end. `false`: there is
    /// none, and the value was skipped.
    pub fn enter(&mut self) -> bool {
        let object = self.peek() == b'{';
        if object {
            self.at += 1;
        } else {
            self.skip();
        }
        object
    }

    /// The text of the value that begins here: a string's inside, a number or word as it is written; empty for null, lists
    /// and objects.
    pub fn text(&mut self) -> Text<'j> {
        let start = self.at;
        match self.peek() {
            b'"' => {
                let (start, end, escaped) = self.string();
                let whole = self.json.get(start - 1..end + 1).unwrap_or_default();
                match escaped {
                    false => Cow::Borrowed(self.json.get(start..end).unwrap_or_default()),
                    true => wire::json::text(whole).unwrap_or_default(),
                }
            }
            b'{' | b'[' | b'n' => {
                self.skip();
                Text::default()
            }
            _ => {
                self.skip();
                Cow::Borrowed(&self.json[start..self.at])
            }
        }
    }

    pub fn skip(&mut self) {
        match self.peek() {
            b'"' => {
                self.string();
            }
            b'{' | b'[' => self.brackets(),
            _ => {
                while !matches!(self.peek(), 0 | b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') {
                    self.at += 1;
                }
            }
        }
    }

    fn brackets(&mut self) {
        let mut depth = 0usize;
        while let Some(b) = self.json.get(self.at) {
            match b {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Passes the string that begins here: where its inside starts and ends, and whether it has escapes.
    fn string(&mut self) -> (usize, usize, bool) {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at += plain(self.json.get(at..).unwrap_or_default());
            match self.json.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return (start, at, escaped);
                }
                Some(_) => {
                    escaped = true;
                    at += 2;
                }
                None => {
                    self.at = self.json.len();
                    return (start, self.json.len(), escaped);
                }
            }
        }
    }
}

/// How many bytes come before the first quote or backslash, looking at eight of them at a time.
#[inline(always)]
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut at = 0;
    while let Some(block) = bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*block);
        // The high bit of a byte is set where the byte is zero (Mycroft's test); a borrow can set it by mistake only above
        // the first one that is true.
        let zero = |x: u64| x.wrapping_sub(ONES) & !x & (ONES << 7);
        let marks = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|b| !matches!(b, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use wire::json::text;
    use wire::json::walk::Members;

    use super::*;

    fn both<'j>(json: &'j [u8], depth: usize, scan: &mut Scan<'j>) {
        for member in Members::of(json) {
            assert_eq!(scan.name(), Some(member.raw_name));
            if depth == 0 && member.value.first() == Some(&b'{') {
                assert!(scan.enter());
                both(member.value, 1, scan);
            } else {
                assert_eq!(scan.text(), text(member.value).unwrap_or_default());
            }
        }
        assert_eq!(scan.name(), None);
    }

    #[test]
    fn it_finds_what_the_walk_finds() {
        for json in [
            "{}",
            "{ }",
            r#"{"a":{"b":"x","c":[1,"]",{"d":"}"}],"e":null},"f":"","g\"":-1.5e3,"h":true}"#,
            "{ \"a\" : { \"b\" : \"\\u00e9\\\\\" , \"c\" : { } } ,\n \"d\" : [ ] , \"e\" : 7 }",
            r#"{"longer than eight":{"and longer than sixteen":"a text of more\n than \\ sixteen \" bytes"},"x":"12345678"}"#,
            r#"{"a":{},"b":{"c":{"d":{"e":1}},"f":"\"}"}}"#,
        ] {
            both(json.as_bytes(), 0, &mut Scan::of(json.as_bytes()));
            for cut in 0..json.len() {
                let mut scan = Scan::of(&json.as_bytes()[..cut]);
                while scan.name().is_some() && scan.at < cut {
                    scan.text();
                }
            }
        }
        assert_eq!(Scan::of(b"[1]").name(), None);
    }
}
