//! What an input looks like, for the answer to somebody whose first records were all refused.

use event::Micros;

use crate::json::{self, Limits, MAX_DEPTH, Pointers, Scratch};
use crate::map::{FieldMap, MapEntry, Preset};
use crate::{access_log, csv};

/// What the first lines look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// The preset that would read them, where there is one.
    pub preset: Option<Preset>,
    /// For people: "line 1 looks like a combined access log; add `--preset access-log`".
    pub sentence: String,
}

/// Judges by the first lines (two are enough; blank ones should be left out). `None` when they look like nothing known.
pub fn guess(first_lines: &[&[u8]]) -> Option<Guess> {
    let first = first_lines.first()?;
    let found = |preset: Option<Preset>, sentence: &str| Some(Guess { preset, sentence: sentence.into() });
    for (magic, name) in MAGIC {
        if first.starts_with(magic) {
            return found(None, &format!("the input looks like {name}, not like lines of text"));
        }
    }
    let first = first.trim_ascii();
    if access_log::looks_like(first) {
        return found(Some(Preset::AccessLog), "line 1 looks like a combined access log; add `--preset access-log`");
    }
    if first.starts_with(b"{") {
        return json_object(first);
    }
    if first.starts_with(b"[") && first_lines.len() == 1 {
        return found(
            None,
            "line 1 looks like a JSON array; its elements are read as events only when the array is closed",
        );
    }
    if first.starts_with(b"<") {
        return found(None, "line 1 looks like XML or syslog with a priority; neither is read");
    }
    if is_csv(first, first_lines.get(1).copied()) {
        return found(Some(Preset::Csv), "line 1 looks like the header of a CSV file; add `--preset csv`");
    }
    if first.contains(&b' ') && std::str::from_utf8(first).is_ok_and(starts_with_syslog_time) {
        return found(None, "line 1 looks like syslog, which is not read");
    }
    if begins_with_a_time(first) {
        return found(
            None,
            "line 1 looks like a line of a program's log that begins with a time; such lines are not read",
        );
    }
    if is_logfmt(first) {
        return found(None, "line 1 looks like logfmt (`key=value key=value`), which is not read");
    }
    None
}

/// First bytes of formats that are no text.
const MAGIC: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PAR1", "Parquet"),
    (b"Obj\x01", "Avro"),
];

/// Tells the flat shape from Segment's, and names the members of what is neither.
fn json_object(line: &[u8]) -> Option<Guess> {
    const PLACES: [&str; 6] = ["/messageId", "/anonymousId", "/context", "/type", "/time", "/event"];
    let (pointers, slots) = Pointers::compile(&PLACES).expect("pointers");
    let mut scratch = Scratch::default();
    let limits = Limits { event: usize::MAX, depth: MAX_DEPTH, members: usize::MAX };
    if json::pass(line, &pointers, &limits, &mut scratch).is_err() {
        return Some(Guess { preset: None, sentence: "line 1 begins like JSON, but is not valid JSON".into() });
    }
    let there = |n: usize| scratch.found(slots[n]).is_there();
    let (preset, sentence) = match () {
        () if (there(0) || there(1) || there(2)) && (there(3) || there(5)) => {
            (Some(Preset::Segment), "line 1 looks like an event of a Segment SDK; add `--preset segment`")
        }
        () if there(3) && there(4) => (Some(Preset::Ouzel), "line 1 looks like a flat event; add `--preset ouzel`"),
        () => (
            None,
            "line 1 is JSON, but its type is not where the preset looks; say where, with `--map type=/...` (and `time`, `user`, `visitor`)",
        ),
    };
    Some(Guess { preset, sentence: sentence.into() })
}

/// A header of several plain names, and a second line with as many fields; without one, a name that the preset knows.
pub(crate) fn is_csv(header: &[u8], second: Option<&[u8]>) -> bool {
    let Ok(mut rows) = csv::Rows::new(header) else { return false };
    let is_name = |n: &String| n.len() <= 64 && n.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let is_known = |n: &String| {
        let map = FieldMap::preset(Preset::Csv);
        let knows =
            |e: &MapEntry| matches!(e, MapEntry::Pointer { pointers, .. } if pointers.iter().any(|p| p[1..] == **n));
        map.fields().iter().any(|m| knows(&m.entry))
    };
    rows.names().len() > 1
        && rows.names().iter().all(is_name)
        && match second {
            Some(line) => rows.to_json(line, &mut Vec::new()).is_ok(),
            None => rows.names().iter().any(is_known),
        }
}

/// `2024-03-13 10:21:14,123 INFO ...`, with or without a bracket before it.
fn begins_with_a_time(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"[").unwrap_or(line);
    line.len() > 20
        && line.first_chunk::<19>().is_some_and(|t| Micros::parse_rfc3339(&[&t[..], b"Z"].concat()).is_some())
}

/// At least two `key=value`, and no more words than such values with spaces in quotes explain.
fn is_logfmt(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let is_pair = |word: &str| {
        word.split_once('=').is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        })
    };
    let mut words = line.split_ascii_whitespace();
    words.next().is_some_and(is_pair) && words.any(is_pair)
}

/// `Mar  7 10:21:14 host ...`
fn starts_with_syslog_time(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let month =
        words.next().is_some_and(|m| "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(' ').any(|k| k == m));
    let day = words.next().is_some_and(|d| d.parse::<u8>().is_ok_and(|d| (1..=31).contains(&d)));
    let time = words.next().is_some_and(|t| t.len() == 8 && t.bytes().all(|b| b.is_ascii_digit() || b == b':'));
    month && day && time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_look_like_what_they_are() {
        use Preset::*;
        for (lines, preset, says) in [
            (&[&b"h - - [t] \"GET /\" 200 1"[..]][..], Some(AccessLog), "--preset access-log"),
            (&[b"user_id,event,timestamp", b"1,home,2024-03-13 10:21:14"], Some(Csv), "--preset csv"),
            (&[b"user_id;event"], Some(Csv), "--preset csv"),
            (&[br#"{"anonymousId":"v","type":"page"}"#], Some(Segment), "--preset segment"),
            (&[br#"{"time":"t","type":"page"}"#], Some(Ouzel), "--preset ouzel"),
            (&[br#"{"kind":"page"}"#], None, "--map type"),
            (&[br#"{"kind":"page""#], None, "not valid JSON"),
            (&[b"\x1f\x8b\x08\x00"], None, "gzip"),
            (&[b"2024-03-13 10:21:14,123 INFO main started"], None, "begins with a time"),
            (&[b"ts=1 level=info msg=\"a b\""], None, "logfmt"),
            (&[b"Mar 27 13:06:56 ip-10-77-20-248 sshd[1291]: Server listening on 0.0.0.0 port 22."], None, "syslog"),
        ] {
            let guess = guess(lines).unwrap_or_else(|| panic!("nothing for {says}"));
            assert_eq!(guess.preset, preset, "{}", guess.sentence);
            assert!(guess.sentence.contains(says), "{}", guess.sentence);
        }
        for lines in [&[][..], &[&b""[..]], &[b"hello, world"], &[b"user_id,event", b"1,2,3"], &[b"17;4", b"1;2"]] {
            assert_eq!(guess(lines), None);
        }
    }
}
