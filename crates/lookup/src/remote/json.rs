//! What is taken as an answer.

use super::{Found, VALUE_MAX};
pub(super) use crate::json::checked;

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
    fn a_value_is_bounded_json() {
        assert_eq!(value(b"  "), Found::Bad("empty"));
        assert_eq!(value(b"1 2"), Found::Bad("not_json"));
        assert_eq!(value(b" [1]\n"), Found::Value(b"[1]".to_vec()));
        assert_eq!(value(format!("\"{}\"", "x".repeat(VALUE_MAX)).as_bytes()), Found::Bad("too_large"));
    }
}
