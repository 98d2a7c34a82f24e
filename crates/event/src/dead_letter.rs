//! The value of a record in `dlq`: why an event was set aside, where it came from, and its original bytes.
//!
//! ```json
//! {"code": "missing_field", "pointer": "/type", "message": "...", "source": "web", "position": "file:9f..:120",
//!  "id": "e-1", "received_at": "2026-11-22T19:33:00.123456Z", "attempts": 0, "length": 212, "event": "{...}"}
//! ```
//! `event` is the original text as a JSON string. Bytes that are not UTF-8 are in `event_base64` instead. Of an original
//! over [`KEEP`] bytes only the beginning is there; `length` still counts all of it, and `sha256` (hex, of all of it)
//! says which original it was.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::failure::{Code, Failure};
use crate::json::write_string;
use crate::time::Micros;

/// How many bytes of an original are kept: the default limit of an event, so that whatever could have been accepted is
/// kept whole.
pub const KEEP: usize = 32 * 1024;

/// Why an event was set aside. The original is given to [`DeadLetter::write`], so that it is copied once.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    pub code: Code,
    /// JSON Pointer to the member, or empty where the event as a whole is meant.
    pub pointer: &'a str,
    pub message: &'a str,
    /// The name of the `[[source]]` that received it.
    pub source: &'a str,
    /// Where it came from, as far as its source has positions (`file:9f..:120`, `http:<key>:3`); empty without one.
    pub position: &'a str,
    pub received: Micros,
    /// The event's id as text, when it is known.
    pub id: Option<&'a [u8]>,
}

/// An original too long to be held: its beginning, and what is known of all of it.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    /// The first bytes, at least [`KEEP`] of them; more are not written.
    pub start: &'a [u8],
    /// Length of the whole in bytes.
    pub length: u64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
}

impl<'a> DeadLetter<'a> {
    /// The letter for an event that failed at a door.
    pub fn of(failure: &'a Failure, source: &'a str, position: &'a str, received: Micros) -> DeadLetter<'a> {
        let Failure { code, pointer, message } = failure;
        DeadLetter { code: *code, pointer, message, source, position, received, id: None }
    }

    /// Appends the letter as one JSON object. An original over [`KEEP`] bytes is cut and its SHA-256 is added.
    pub fn write(&self, original: &[u8], out: &mut Vec<u8>) {
        let sha256 = (original.len() > KEEP).then(|| Sha256::digest(original).into());
        self.write_parts(original, original.len() as u64, sha256, out);
    }

    /// The same for an original of which its reader kept only the beginning.
    pub fn write_cut(&self, cut: &Cut<'_>, out: &mut Vec<u8>) {
        self.write_parts(cut.start, cut.length, Some(cut.sha256), out);
    }

    fn write_parts(&self, start: &[u8], length: u64, sha256: Option<[u8; 32]>, out: &mut Vec<u8>) {
        let kept = &start[..start.len().min(KEEP)];
        out.reserve(256 + self.message.len() + kept.len() + kept.len() / 8);
        out.extend_from_slice(b"{\"code\":\"");
        out.extend_from_slice(self.code.name().as_bytes());
        out.extend_from_slice(b"\",\"pointer\":");
        write_string(self.pointer.as_bytes(), out);
        out.extend_from_slice(b",\"message\":");
        write_string(self.message.as_bytes(), out);
        out.extend_from_slice(b",\"source\":");
        write_string(self.source.as_bytes(), out);
        out.extend_from_slice(b",\"position\":");
        write_string(self.position.as_bytes(), out);
        out.extend_from_slice(b",\"id\":");
        match self.id {
            Some(id) => write_string(String::from_utf8_lossy(id).as_bytes(), out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"received_at\":\"");
        self.received.write_rfc3339(out);
        out.extend_from_slice(b"\",\"attempts\":0,\"length\":");
        out.extend_from_slice(length.to_string().as_bytes());
        match text_of(kept, sha256.is_some()) {
            Some(text) => {
                out.extend_from_slice(b",\"event\":");
                write_string(text.as_bytes(), out);
            }
            None => {
                out.extend_from_slice(b",\"event_base64\":\"");
                let at = out.len();
                out.resize(at + kept.len().div_ceil(3) * 4, 0);
                let n = BASE64.encode_slice(kept, &mut out[at..]).expect("room for four bytes of every three");
                out.truncate(at + n);
                out.push(b'"');
            }
        }
        if let Some(sha256) = sha256 {
            out.extend_from_slice(b",\"sha256\":\"");
            for b in sha256 {
                out.extend_from_slice(&[crate::json::HEX[usize::from(b >> 4)], crate::json::HEX[usize::from(b & 15)]]);
            }
            out.push(b'"');
        }
        out.push(b'}');
    }
}

/// The bytes as text. Where they are the beginning of something longer, a character that was cut in two is left out.
fn text_of(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(e) if cut && e.error_len().is_none() => std::str::from_utf8(&bytes[..e.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// The original bytes (or their beginning) of a letter, from its members `event` and `event_base64`.
pub fn original(event: Option<&str>, event_base64: Option<&str>) -> Option<Vec<u8>> {
    match (event, event_base64) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(encoded)) => BASE64.decode(encoded).ok(),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn letter() -> DeadLetter<'static> {
        DeadLetter {
            code: Code::MissingField,
            pointer: "/type",
            message: "there is no \"type\"",
            source: "web",
            position: "file:9f:120",
            received: Micros(1_795_375_980_123_456),
            id: None,
        }
    }

    fn written(letter: &DeadLetter<'_>, original: &[u8]) -> Value {
        let mut out = Vec::new();
        letter.write(original, &mut out);
        serde_json::from_slice(&out).expect("a letter is JSON")
    }

    #[test]
    fn a_letter_says_what_where_and_when() {
        assert_eq!(
            written(&letter(), b"{\"a\":1}"),
            json!({
                "code": "missing_field", "pointer": "/type", "message": "there is no \"type\"", "source": "web",
                "position": "file:9f:120", "id": null, "received_at": "2026-11-22T19:33:00.123456Z", "attempts": 0,
                "length": 7, "event": "{\"a\":1}",
            })
        );
        assert_eq!(written(&DeadLetter { id: Some(b"e-\"1"), ..letter() }, b"")["id"], "e-\"1");
    }

    #[test]
    fn every_byte_and_every_character_comes_back() {
        let mut text: String = (0..0x300).filter_map(char::from_u32).collect();
        text.push_str("\u{2028}\u{10ffff} end");
        // Each alignment of the eight-byte scan.
        for skip in 0..20 {
            let text: String = text.chars().skip(skip).collect();
            assert_eq!(written(&letter(), text.as_bytes())["event"], text);
        }
        for original in [&b"\xff\xfe"[..], b"ok \xc3", b"\x80", &[0xf0; 1000]] {
            let v = written(&letter(), original);
            assert!(v.get("event").is_none());
            let back = BASE64.decode(v["event_base64"].as_str().expect("base64")).expect("base64");
            assert_eq!(back, original);
        }
    }

    #[test]
    fn an_oversized_original_is_cut_between_characters_and_named_by_its_hash() {
        for pad in 0..4 {
            let original = "x".repeat(pad) + &"€".repeat(KEEP);
            let v = written(&letter(), original.as_bytes());
            let kept = v["event"].as_str().expect("text");
            assert!(original.starts_with(kept) && kept.len() <= KEEP && kept.len() > KEEP - 3);
            assert_eq!(v["length"], original.len());
            let hex: String = Sha256::digest(original.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(v["sha256"], hex);
            let cut = Cut {
                start: &original.as_bytes()[..KEEP + 1],
                length: original.len() as u64,
                sha256: Sha256::digest(original.as_bytes()).into(),
            };
            let mut out = Vec::new();
            letter().write_cut(&cut, &mut out);
            assert_eq!(serde_json::from_slice::<Value>(&out).expect("JSON"), v, "a reader that cut writes the same");
        }
        assert!(written(&letter(), &vec![b'x'; KEEP]).get("sha256").is_none(), "an event at the limit is kept whole");
    }
}
