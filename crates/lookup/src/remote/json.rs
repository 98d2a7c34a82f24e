//! What is taken as JSON: by the same pass that checks events, so that what is spliced into one can be read back.

use wire::json::{Limits, Pointers, Scratch, pass};

use super::{Found, VALUE_MAX};

/// Levels of a value: an event has 64, and the value lies a few deep in it.
const DEPTH_MAX: usize = 32;
/// Members of all objects of an answer. Its bytes are bounded already; this one only has to be there.
const MEMBERS_MAX: usize = 1 << 20;
const BEFORE: &[u8] = b"{\"v\":";

/// The value without the white space around it, if the text is one JSON value.
pub(super) fn checked(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    // The pass takes objects. What closes the member early, as `1,"a":2` does, has its end before that of the text.
    let wrapped = [BEFORE, text, b"}"].concat();
    let (pointers, slots) = Pointers::compile(&["/v"]).expect("a pointer of one name");
    let limits = Limits { event: wrapped.len(), depth: DEPTH_MAX + 1, members: MEMBERS_MAX };
    let mut scratch = Scratch::default();
    pass(&wrapped, &pointers, &limits, &mut scratch).ok()?;
    (scratch.found(slots[0]).range() == (BEFORE.len()..wrapped.len() - 1)).then_some(text)
}

/// A text that should be the value of a key.
pub(super) fn value(text: &[u8]) -> Found {
    match text.trim_ascii() {
        [] => Found::Bad("empty"),
        text if text.len() > VALUE_MAX => Found::Bad("too_large"),
        text => checked(text).map_or(Found::Bad("not_json"), |json| Found::Value(json.to_vec())),
    }
}

/// Something that was written here, as JSON.
pub(super) fn written(json: Vec<u8>) -> Found {
    if json.len() > VALUE_MAX { Found::Bad("too_large") } else { Found::Value(json) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_nothing_else() {
        for good in [" 1\n", "\"a\"", "null", "[1,2]", "{\"a\":{\"a\":1}}", "true", "-1e5"] {
            assert_eq!(checked(good.as_bytes()), Some(good.trim().as_bytes()), "{good}");
        }
        let deep = "[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1);
        for bad in ["", " ", "1 2", "1,\"b\":2", "1},\"b\":{\"c\":1", "{", "nul", "\"\\ud800\"", "<p>no</p>", &deep] {
            assert_eq!(checked(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(checked(b"\"\xff\""), None);
        assert_eq!(value(b"  "), Found::Bad("empty"));
        assert_eq!(value(format!("\"{}\"", "x".repeat(VALUE_MAX)).as_bytes()), Found::Bad("too_large"));
    }
}
