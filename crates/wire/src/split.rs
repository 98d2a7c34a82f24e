//! The events in a body or a file: where each begins and ends, nothing copied, nothing judged.
//!
//! Every byte of a body that is not white space or punctuation between events ends up in some event, so what is damaged is
//! refused by the decoder and never lost silently. A line protects its neighbours better than an array does: behind an
//! event of an array whose brackets or quotes do not match, the next ones cannot be told apart from it.

use event::Code;

use crate::json::{self, Limits, MAX_DEPTH, Pointers, Scratch, scan};

/// The events of one HTTP body or whole file.
///
/// * `[...]`: each element
/// * `{...}` and nothing else: the elements of its first-level `batch` if that is an array, otherwise itself
/// * anything else, and whatever the content type calls NDJSON (`application/x-ndjson`, `application/jsonl` ...): each line
///   that is not blank
pub fn body<'a>(bytes: &'a [u8], content_type: Option<&str>) -> Events<'a> {
    let start = scan::space_run(bytes, bytes.strip_prefix(BYTE_ORDER_MARK).map_or(0, |_| BYTE_ORDER_MARK.len()));
    let whole = |form| Events { bytes, batch: None, in_batch: false, form };
    if content_type.is_some_and(is_ndjson) {
        return whole(Form::Lines { at: start });
    }
    match bytes.get(start) {
        Some(b'[') => whole(Form::Elements { at: start + 1, end: bytes.len() }),
        Some(b'{') => match object(bytes, start) {
            Object::One => whole(Form::One { at: start }),
            Object::Lines => whole(Form::Lines { at: start }),
            Object::Batch { events, around } => Events {
                bytes,
                batch: Some(around),
                in_batch: true,
                form: Form::Elements { at: events.start + 1, end: events.end },
            },
        },
        _ => whole(Form::Lines { at: start }),
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn is_ndjson(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let subtype = essence.strip_prefix("application/").or(essence.strip_prefix("text/")).unwrap_or_default();
    let subtype = subtype.strip_prefix("x-").unwrap_or(subtype);
    ["ndjson", "jsonl", "jsonlines", "json-lines", "json-seq"].contains(&subtype)
}

enum Object {
    One,
    Lines,
    Batch {
        /// Where its array stands.
        events: std::ops::Range<usize>,
        /// The object with an empty array in its place.
        around: Vec<u8>,
    },
}

/// What a body is that begins with `{` at `start`.
fn object(bytes: &[u8], start: usize) -> Object {
    let text = bytes[start..].trim_ascii_end();
    let end = match element(text, 0, text.len()) {
        Stopped { at, by: By::Bracket | By::Comma, .. } => at,
        Stopped { by: By::End, whole: true, after, .. } => after,
        Stopped { by: By::End, whole: false, .. } => text.len(),
    };
    if end != text.len() {
        return Object::Lines;
    }
    let has_lines = || memchr::memmem::find(text, b"\n{").is_some();
    // Events are judged one by one, so only what is around them is judged here: one that is nested too deep, say, costs
    // none of its neighbours, and none is read twice.
    let events = batch_of(text);
    if events.is_none() && !has_lines() {
        return Object::One;
    }
    let around = match &events {
        Some(events) => [&text[..events.start], b"[]", &text[events.end..]].concat(),
        None => text.to_vec(),
    };
    let (pointers, _) = Pointers::compile(&[]).expect("no pointer");
    let limits = Limits { event: usize::MAX, depth: MAX_DEPTH, members: usize::MAX };
    match (json::pass(&around, &pointers, &limits, &mut Scratch::default()), events) {
        (Ok(()), Some(events)) => Object::Batch { events: start + events.start..start + events.end, around },
        // A broken first line may look like an object that goes on behind it; its neighbours have lines of their own.
        (Err(r), _) if r.code == Code::NotJson && has_lines() => Object::Lines,
        _ => Object::One,
    }
}

/// Where the array of the first-level member `batch` stands in an object, found by counting brackets alone.
fn batch_of(text: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 1;
    loop {
        at = scan::space_run(text, at);
        let name = at + 1;
        at = (text.get(at) == Some(&b'"')).then(|| string_end(text, name))??;
        let is_batch = &text[name..at - 1] == b"batch";
        at = scan::space_run(text, at);
        let value = (text.get(at) == Some(&b':')).then(|| scan::space_run(text, at + 1))?;
        let stopped = element(text, value, text.len());
        if is_batch {
            // The object's own closing bracket is not counted, so the last that was is the array's.
            return (text.get(value) == Some(&b'[') && stopped.whole).then_some(value..stopped.after);
        }
        if stopped.by != By::Comma {
            return None;
        }
        at = stopped.at + 1;
    }
}

/// The lines of a text that are not blank, without their line ends (`\n` or `\r\n`), each with the byte it begins at. The last
/// one needs no line end. A byte order mark before the first is skipped.
pub fn lines(bytes: &[u8]) -> Events<'_> {
    let at = bytes.strip_prefix(BYTE_ORDER_MARK).map_or(0, |_| BYTE_ORDER_MARK.len());
    Events { bytes, batch: None, in_batch: false, form: Form::Lines { at } }
}

/// The events of a body: the byte each begins at, and its text.
#[derive(Clone, Debug)]
pub struct Events<'a> {
    bytes: &'a [u8],
    batch: Option<Vec<u8>>,
    in_batch: bool,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    One {
        at: usize,
    },
    Lines {
        at: usize,
    },
    /// `at` is where the next element may begin, `end` where the array must have ended.
    Elements {
        at: usize,
        end: usize,
    },
    Done,
}

impl<'a> Events<'a> {
    /// The object around the events of a `{"batch":[...]}`, with an empty array in their place, for
    /// [`crate::Decoder::batch_context`].
    pub fn take_batch(&mut self) -> Option<Vec<u8>> {
        self.batch.take()
    }

    fn next_line(&mut self, mut at: usize) -> Option<(usize, &'a [u8])> {
        while at < self.bytes.len() {
            let len = memchr::memchr(b'\n', &self.bytes[at..]);
            let line = &self.bytes[at..len.map_or(self.bytes.len(), |n| at + n)];
            let start = at;
            at += line.len() + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.trim_ascii().is_empty() {
                self.form = Form::Lines { at };
                return Some((start, line));
            }
        }
        self.form = Form::Done;
        None
    }

    fn next_element(&mut self, at: usize, end: usize) -> Option<(usize, &'a [u8])> {
        let start = scan::space_run(self.bytes, at).min(end);
        let stopped = element(self.bytes, start, end);
        let text = &self.bytes[start..stopped.at];
        // Right behind the opening bracket nothing stands only in an empty array.
        let is_first = self.bytes[..start].trim_ascii_end().last() == Some(&b'[');
        self.form = match stopped.by {
            By::Comma => Form::Elements { at: stopped.at + 1, end },
            By::Bracket => self.behind_array(stopped.at + 1),
            // The array is cut off: one more event, an empty one, so that somebody hears of it.
            By::End if stopped.whole && !text.is_empty() => Form::Elements { at: end, end },
            By::End => Form::Done,
        };
        match (stopped.by, text.trim_ascii_end()) {
            (By::Bracket, b"") if is_first => self.next(),
            (_, text) => Some((start, text)),
        }
    }

    /// What follows an array is one more event, if there is anything; nothing may follow.
    fn behind_array(&self, at: usize) -> Form {
        let at = scan::space_run(self.bytes, at);
        if self.in_batch || at >= self.bytes.len() { Form::Done } else { Form::One { at } }
    }
}

impl<'a> Iterator for Events<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self.form {
            Form::Done => None,
            Form::Lines { at } => self.next_line(at),
            Form::Elements { at, end } => self.next_element(at, end),
            Form::One { at } => {
                self.form = Form::Done;
                Some((at, self.bytes[at..].trim_ascii_end()))
            }
        }
    }
}

struct Stopped {
    at: usize,
    by: By,
    /// All brackets and quotes of the element were closed.
    whole: bool,
    /// Behind the last bracket that closed the element.
    after: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum By {
    Comma,
    Bracket,
    End,
}

/// Goes from `start` to the comma or bracket that ends an array's element, or to `end`. Only brackets are counted, not
/// matched: whether the element is JSON is for the decoder.
fn element(bytes: &[u8], start: usize, end: usize) -> Stopped {
    let bytes = &bytes[..end];
    let (mut at, mut depth, mut after) = (start, 0usize, start);
    loop {
        if depth > 0 {
            at = scan::bracket_run(bytes, at);
        }
        let by = match bytes.get(at) {
            None => return Stopped { at: end, by: By::End, whole: depth == 0, after },
            Some(b'"') => match string_end(bytes, at + 1) {
                Some(behind) => {
                    at = behind;
                    continue;
                }
                None => return Stopped { at: end, by: By::End, whole: false, after },
            },
            Some(b'{' | b'[') => {
                depth += 1;
                None
            }
            Some(b'}' | b']') if depth > 0 => {
                depth -= 1;
                after = at + 1;
                None
            }
            Some(b']') => Some(By::Bracket),
            Some(b',') => Some(By::Comma),
            Some(_) => None,
        };
        match by {
            Some(by) => return Stopped { at, by, whole: true, after },
            None => at += 1,
        }
    }
}

/// Behind the quote that closes a string, whose inside begins at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = scan::plain_run(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, content_type: Option<&str>) -> Vec<(usize, String)> {
        let events = body(text.as_bytes(), content_type);
        events.map(|(at, e)| (at, String::from_utf8_lossy(e).into_owned())).collect()
    }

    #[test]
    fn a_body_is_split_by_what_it_begins_with() {
        for (text, expected) in [
            ("", &[][..]),
            (" \n ", &[]),
            (r#" {"a":1} "#, &[(1, r#"{"a":1}"#)]),
            ("{\n \"a\": [\n{}]}\n", &[(0, "{\n \"a\": [\n{}]}")]),
            ("\u{feff}{}", &[(3, "{}")]),
            ("{\"a\":1}\n{\"b\":\"}\"}\r\n\n  \n{}", &[(0, "{\"a\":1}"), (8, "{\"b\":\"}\"}"), (23, "{}")]),
            ("[]", &[]),
            (" [ ] ", &[]),
            (r#"[{"a":[1,2]}, {"b":"],["} , 3]"#, &[(1, r#"{"a":[1,2]}"#), (14, r#"{"b":"],["}"#), (28, "3")]),
            (r#"[{"a":"\"]},\\"},2]"#, &[(1, r#"{"a":"\"]},\\"}"#), (17, "2")]),
            // Damaged: what is wrong becomes an event of its own.
            ("[1,,2,]", &[(1, "1"), (3, ""), (4, "2"), (6, "")]),
            ("[{\"a\":1}} ,2]", &[(1, "{\"a\":1}}"), (11, "2")]),
            ("[1]x", &[(1, "1"), (3, "x")]),
            ("[1", &[(1, "1"), (2, "")]),
            ("[{\"a\":1},", &[(1, "{\"a\":1}"), (9, "")]),
            ("[{\"a\":1},{\"b\"", &[(1, "{\"a\":1}"), (9, "{\"b\"")]),
            ("[{\"a\":1},\"x", &[(1, "{\"a\":1}"), (9, "\"x")]),
            ("[", &[(1, "")]),
            ("{\"a\":1", &[(0, "{\"a\":1")]),
            ("{\"a\":1}}", &[(0, "{\"a\":1}}")]),
            ("{\"a\":\"1\n{\"b\":2}\n", &[(0, "{\"a\":\"1"), (8, "{\"b\":2}")]),
            ("{\"a\":[1\n{\"b\":2}\n", &[(0, "{\"a\":[1"), (8, "{\"b\":2}")]),
            ("1.2.3.4 - -\nx", &[(0, "1.2.3.4 - -"), (12, "x")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(at, e)| (*at, e.to_string())).collect();
            assert_eq!(split(text, None), expected, "{text}");
        }
    }

    #[test]
    fn a_batch_gives_its_members_and_itself() {
        let text = r#" {"sentAt":"t","batch":[{"a":1},{"b":{"batch":[]}}],"context":{}} "#;
        let mut events = body(text.as_bytes(), Some("application/json"));
        assert_eq!(events.take_batch().as_deref(), Some(&br#"{"sentAt":"t","batch":[],"context":{}}"#[..]));
        assert_eq!(split(text, None), [(24, r#"{"a":1}"#.into()), (32, r#"{"b":{"batch":[]}}"#.into())]);
        for one in [r#"{"batch":7}"#, r#"{"a":{"batch":[1]}}"#, r#"{"batch":[1],"batch":[2]}"#, r#"{"batch":[1],}"#] {
            assert_eq!(split(one, None), [(0, one.into())]);
            assert!(body(one.as_bytes(), None).take_batch().is_none());
        }
        assert_eq!(split(r#"{"batch":[]}"#, None), []);
    }

    #[test]
    fn ndjson_is_lines_whatever_they_are() {
        for name in
            ["application/x-ndjson", "application/ndjson; charset=utf-8", "Application/JSONL", "text/x-jsonlines"]
        {
            assert_eq!(split("[1,2]\n{}", Some(name)), [(0, "[1,2]".into()), (6, "{}".into())], "{name}");
        }
        assert_eq!(split("[1,2]", Some("application/json")).len(), 2);
    }
}
