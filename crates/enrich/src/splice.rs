//! Adding a member to a JSON object: what is there is copied, not parsed and written again.

/// Where the new member goes: the text up to here, then `,"name":...` (no comma in an empty object), then the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Length of the part before the closing brace.
    pub at: usize,
    /// Whether the object has no members yet.
    pub empty: bool,
}

/// Finds the closing brace of a valid JSON object (the door checked it). `None`: it is no object.
pub fn place(object: &[u8]) -> Option<Place> {
    let at = object.iter().rposition(|b| !b.is_ascii_whitespace())?;
    if object[at] != b'}' {
        return None;
    }
    let before = object[..at].iter().rposition(|b| !b.is_ascii_whitespace())?;
    Some(Place { at, empty: object[before] == b'{' && object[..before].iter().all(u8::is_ascii_whitespace) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_before_the_last_brace() {
        for (object, at, empty) in [
            ("{}", 1, true),
            (" { } \n", 3, true),
            (r#"{"a":{}}"#, 7, false),
            ("{\"a\":\"}\"}\n", 8, false),
            (r#"{"a":1 }"#, 7, false),
        ] {
            assert_eq!(place(object.as_bytes()), Some(Place { at, empty }), "{object}");
        }
        assert_eq!(place(b"[]"), None);
        assert_eq!(place(b""), None);
        assert_eq!(place(b"}"), None);
    }
}
