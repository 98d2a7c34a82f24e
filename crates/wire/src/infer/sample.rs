//! The first events of somebody's file: the form they are in, and each as the JSON that would be stored.

use event::{Code, Failure};

use crate::json::{self, Limits, MAX_DEPTH, Pointers, Scratch};
use crate::{access_log, csv, guess, split};

/// Events that are looked at: enough to tell shares of a percent.
pub const EVENTS_MAX: usize = 1_000;
/// Bytes that are looked at, decompressed.
pub const BYTES_MAX: usize = 4 << 20;

/// How the events of a file are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A JSON object on each line.
    Lines,
    /// A JSON array of objects.
    Array,
    /// One JSON object over several lines. Only a request is read so.
    Document,
    /// `{"batch":[...]}`, what SDKs send. Only a request is read so.
    Batch,
    AccessLog,
    Csv,
}

impl Form {
    /// Whether it is read from a file or the standard input.
    pub fn is_of_files(self) -> bool {
        !matches!(self, Form::Document | Form::Batch)
    }

    /// Whether it is read from a request.
    pub fn is_of_requests(self) -> bool {
        !matches!(self, Form::AccessLog | Form::Csv)
    }

    /// For people: "100 events, ...".
    pub fn sentence(self) -> &'static str {
        match self {
            Form::Lines => "a JSON object on each line",
            Form::Array => "a JSON array",
            Form::Document => "one JSON object",
            Form::Batch => "the batch of an SDK",
            Form::AccessLog => "lines of an access log",
            Form::Csv => "rows of a CSV file",
        }
    }
}

/// The first events of a file.
#[derive(Clone, Debug)]
pub struct Sample {
    pub form: Form,
    /// The JSON of each, or why it has none. The JSON was not checked.
    pub events: Vec<Result<Vec<u8>, Failure>>,
    /// For [`Form::Batch`] the object around the events, for [`crate::Decoder::batch_context`].
    pub around: Option<Vec<u8>>,
    /// The file has no more than these.
    pub is_whole: bool,
}

/// Why a sample cannot be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreadable {
    /// What the file looks like.
    pub what: String,
    /// What to do.
    pub help: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

impl std::error::Error for Unreadable {}

impl Sample {
    /// Cuts the beginning of a file into events. `is_whole`: there is nothing behind it; else what is cut off at the end
    /// is left out.
    ///
    /// # Errors
    /// What the bytes look like instead of events.
    pub fn cut(bytes: &[u8], is_whole: bool) -> Result<Sample, Unreadable> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let lines: Vec<&[u8]> = split::lines(text).map(|(_, line)| line).take(LOOKED_AT).collect();
        let Some(first) = lines.first() else { return unreadable("there is nothing in it", READ) };
        let start = text.trim_ascii_start();
        match start.first() {
            Some(b'{') => object(text, is_whole),
            Some(b'[') if matches!(start[1..].trim_ascii_start().first(), Some(b'{' | b']')) => array(text, is_whole),
            _ if looks_like_access_log(&lines) => Ok(access_log_lines(text, is_whole)),
            _ => match csv_rows(first, &lines) {
                Some(rows) => csv(rows, text, is_whole),
                None => Err(what_it_is(text, &lines)),
            },
        }
    }

    /// The events that are JSON objects, whatever their length.
    pub fn json(&self) -> impl Iterator<Item = &[u8]> {
        let (pointers, _) = Pointers::compile(&[]).expect("no pointer");
        let mut scratch = Scratch::default();
        let events = self.events.iter().filter_map(|e| e.as_deref().ok());
        events.filter(move |e| is_object(e, &pointers, &mut scratch))
    }
}

/// Lines that decide what a file is.
const LOOKED_AT: usize = 100;

/// What is done about most of it.
const READ: &str = "what is read: JSON objects (one a line, or in an array), CSV with a header, combined access logs";

fn unreadable<T>(what: impl Into<String>, help: impl Into<String>) -> Result<T, Unreadable> {
    Err(Unreadable { what: what.into(), help: help.into() })
}

fn is_object(event: &[u8], pointers: &Pointers, scratch: &mut Scratch) -> bool {
    let limits = Limits { event: usize::MAX, depth: MAX_DEPTH, members: usize::MAX };
    match json::pass(event, pointers, &limits, scratch) {
        Ok(()) => true,
        // It is to be read, and refused, as the object it is.
        Err(refusal) => refusal.code == Code::DuplicateMember,
    }
}

fn object(text: &[u8], is_whole: bool) -> Result<Sample, Unreadable> {
    let mut events = split::body(text, None);
    let around = events.take_batch();
    let mut all: Vec<Vec<u8>> = events.by_ref().take(EVENTS_MAX).map(|(_, e)| e.to_vec()).collect();
    let has_more = events.next().is_some();
    let is_one = all.len() == 1 && !has_more;
    let form = match () {
        () if around.is_some() => Form::Batch,
        () if is_one && all[0].contains(&b'\n') => Form::Document,
        () => Form::Lines,
    };
    if !is_whole && !has_more && all.len() > 1 {
        all.pop();
    }
    let sample = Sample { form, events: all.into_iter().map(Ok).collect(), around, is_whole: is_whole && !has_more };
    if sample.json().next().is_some() {
        return match wrapped_events(&sample) {
            Some((what, help)) => unreadable(what, help),
            None => Ok(sample),
        };
    }
    let first = text.trim_ascii().split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
    match first.last() {
        Some(b'{' | b',' | b'[') => unreadable(
            "it looks like JSON objects that go over several lines",
            "write each on a line of its own (`jq -c . FILE`)",
        ),
        _ if !is_whole && is_one => {
            unreadable("it is one JSON object longer than what is looked at", "write each event on a line of its own")
        }
        _ => unreadable("it begins like JSON, but no line of it is valid JSON", READ),
    }
}

/// One object that is not an event but has a list of objects in it, under whatever name.
fn wrapped_events(sample: &Sample) -> Option<(String, String)> {
    use json::walk::{Elements, Members};
    if sample.form == Form::Batch || sample.events.len() != 1 || !sample.is_whole {
        return None;
    }
    let event = sample.json().next()?.trim_ascii();
    let members: Vec<_> = Members::of(event).collect();
    let [member] = members.as_slice() else { return None };
    let list = Elements::of(member.value).filter(|e| json::kind(e) == json::Kind::Object).count();
    if list == 0 {
        return None;
    }
    let name = String::from_utf8_lossy(member.raw_name);
    Some((
        format!("it is one object whose only member, `{name}`, is a list of {list} objects"),
        format!("give each of them a line of its own (`jq -c '.\"{name}\"[]' FILE`)"),
    ))
}

fn array(text: &[u8], is_whole: bool) -> Result<Sample, Unreadable> {
    let mut events = split::body(text, None);
    let mut all: Vec<Vec<u8>> = events.by_ref().take(EVENTS_MAX).map(|(_, e)| e.to_vec()).collect();
    let has_more = events.next().is_some();
    if !is_whole && !has_more {
        // The one that is cut off, or the empty one that stands for the rest where that is cut between two.
        all.pop();
    }
    if all.is_empty() {
        return unreadable("it is an empty JSON array", READ);
    }
    let sample = Sample {
        form: Form::Array,
        events: all.into_iter().map(Ok).collect(),
        around: None,
        is_whole: is_whole && !has_more,
    };
    if sample.json().next().is_none() {
        return unreadable("it begins like a JSON array, but none of its elements is a valid JSON object", READ);
    }
    Ok(sample)
}

/// All whole lines, at most as many as are looked at, and whether there are more.
fn lines_of(text: &[u8], is_whole: bool, most: usize) -> (Vec<&[u8]>, bool) {
    let mut lines = split::lines(text);
    let mut all: Vec<&[u8]> = lines.by_ref().take(most).map(|(_, line)| line).collect();
    let has_more = lines.next().is_some();
    if !is_whole && !has_more && !text.ends_with(b"\n") && all.len() > 1 {
        all.pop();
    }
    (all, is_whole && !has_more)
}

fn looks_like_access_log(lines: &[&[u8]]) -> bool {
    let fit = lines.iter().filter(|l| access_log::looks_like(l)).count();
    2 * fit > lines.len()
}

fn access_log_lines(text: &[u8], is_whole: bool) -> Sample {
    let (lines, is_whole) = lines_of(text, is_whole, EVENTS_MAX);
    let json = |line: &&[u8]| {
        let mut out = Vec::new();
        access_log::to_json(line, &mut out).map(|()| out)
    };
    Sample { form: Form::AccessLog, events: lines.iter().map(json).collect(), around: None, is_whole }
}

/// A reader of rows, if the first line is a header. The second line may be a damaged one.
fn csv_rows(header: &[u8], lines: &[&[u8]]) -> Option<csv::Rows> {
    const ROWS_TRIED: usize = 5;
    let rows = lines.iter().skip(1).take(ROWS_TRIED);
    let mut seconds = rows.map(|l| Some(*l)).chain((lines.len() == 1).then_some(None));
    let is_csv = seconds.any(|second| guess::is_csv(header, second));
    if is_csv { csv::Rows::new(header).ok() } else { None }
}

fn csv(mut rows: csv::Rows, text: &[u8], is_whole: bool) -> Result<Sample, Unreadable> {
    let (lines, is_whole) = lines_of(text, is_whole, EVENTS_MAX + 1);
    let json = |line: &&[u8]| {
        let mut out = Vec::new();
        rows.to_json(line, &mut out).map(|()| out)
    };
    let events: Vec<_> = lines.iter().skip(1).map(json).collect();
    if events.is_empty() {
        return unreadable("it looks like the header of a CSV file, and there is no row below it", "add some rows");
    }
    Ok(Sample { form: Form::Csv, events, around: None, is_whole })
}

/// What a file is that holds no events.
fn what_it_is(text: &[u8], lines: &[&[u8]]) -> Unreadable {
    const READ: &str =
        "what is read: JSON objects (one a line, or in an array), CSV with a header, combined access logs";
    let is_array = text.trim_ascii_start().starts_with(b"[") && text.trim_ascii_end().ends_with(b"]");
    let what = match guess::guess(lines) {
        _ if is_array => "it is a JSON array, but not one of objects".into(),
        Some(guess) => guess.sentence,
        None if text.contains(&0) => "it is not text".into(),
        None if std::str::from_utf8(text).is_err_and(|e| e.error_len().is_some()) => "it is not UTF-8".into(),
        None => "its lines look like nothing that is read".into(),
    };
    Unreadable { what, help: READ.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Result<(Form, usize), String> {
        Sample::cut(text.as_bytes(), true).map(|s| (s.form, s.events.len())).map_err(|e| e.to_string())
    }

    #[test]
    fn files_are_cut_as_they_are_read() {
        let log = "1.2.3.4 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5\n";
        for (text, form, events) in [
            ("{\"a\":1}", Form::Lines, 1),
            ("\u{feff}{\"a\":1}\n\n{\"a\":2}\r\nnot json\n", Form::Lines, 3),
            ("{\n \"a\": 1\n}\n", Form::Document, 1),
            (" [ {\"a\":1} , {\"a\":[2]} ]\n", Form::Array, 2),
            ("{\"sentAt\":1,\"batch\":[{\"a\":1},{\"a\":2},{\"a\":3}]}", Form::Batch, 3),
            (&log.repeat(3), Form::AccessLog, 3),
            (&format!("{log}{log}x\n"), Form::AccessLog, 3),
            ("a,b\n1,2\n\"x\n3,4\n", Form::Csv, 3),
            ("user_id;event\n\"x\n3;4\n", Form::Csv, 2),
            ("{\"a\":1,\"a\":2}\n", Form::Lines, 1),
            ("{\"a\":1,\"items\":[{\"b\":1},{\"b\":2}]}\n", Form::Lines, 1),
        ] {
            assert_eq!(cut(text), Ok((form, events)), "{text}");
        }
    }

    #[test]
    fn what_holds_no_events_is_named() {
        for (text, says) in [
            ("", "nothing in it"),
            (" \n\n", "nothing in it"),
            ("[]", "empty JSON array"),
            ("[{\"a\":}]", "none of its elements"),
            ("[1,2]", "not one of objects"),
            ("{\"a\":1,\n", "several lines"),
            ("{\n\"a\":1\n}\n{\n\"a\":2\n}\n", "several lines"),
            ("{'a': 1}\n{'a': 2}\n", "no line of it is valid JSON"),
            ("{\"Records\":[{\"a\":1},{\"a\":2}]}", "jq -c '.\"Records\"[]'"),
            ("Mar 27 13:06:56 ip-10-77-20-248 sshd[1291]: Server listening on 0.0.0.0 port 22.\n", "syslog"),
            ("<34>1 2003-10-11T22:14:15.003Z mymachine su - ID47 - x\n", "syslog with a priority"),
            ("user_id,event\n", "no row below"),
            ("ts=1 level=info msg=\"hi\"\nts=2 level=warn msg=x\n", "logfmt"),
            ("2024-03-13 10:21:14,123 INFO main started\n2024-03-13 10:21:15,001 WARN main x\n", "begins with a time"),
            ("hello\nworld\n", "nothing that is read"),
            ("a\0b", "not text"),
        ] {
            let error = cut(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(Sample::cut(b"caf\xe9 x\n", true).expect_err("Latin-1").what.contains("UTF-8"));
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        for (text, events) in [
            ("{\"a\":1}\n{\"a\":2}\n{\"a\":", 2),
            ("[{\"a\":1},{\"a\":2},{\"a\":", 2),
            ("[{\"a\":1},{\"a\":2}", 2),
            ("[{\"a\":1},{\"a\":2},", 2),
            ("a,b\n1,2\n3,", 1),
        ] {
            let sample = Sample::cut(text.as_bytes(), false).expect(text);
            assert_eq!((sample.events.len(), sample.is_whole), (events, false), "{text}");
            assert!(sample.events.iter().all(Result::is_ok), "{text}");
        }
        let many = "{\"a\":1}\n".repeat(EVENTS_MAX + 1);
        let sample = Sample::cut(many.as_bytes(), true).expect("lines");
        assert_eq!((sample.events.len(), sample.is_whole), (EVENTS_MAX, false));
    }
}
