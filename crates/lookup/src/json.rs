//! Writing JSON: numbers, what others say is JSON, and a whole record as it lies in a database.

use std::fmt;

use event::json::write_string;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Appends the shortest digits that read back as the same number of the same width: a 32-bit 38.1 stays 38.1 and does not
/// become 38.099998474121094. What JSON has no number for is `null`.
pub(crate) fn float<F: zmij::Float>(value: F, out: &mut Vec<u8>) {
    match zmij::Buffer::new().format(value) {
        "NaN" | "inf" | "-inf" => out.extend_from_slice(b"null"),
        digits => out.extend_from_slice(digits.as_bytes()),
    }
}

/// The value without the white space around it, if the text is one JSON value: by the same pass that checks events, so that
/// what is spliced into one can be read back.
#[cfg(any(feature = "parquet", feature = "remote"))]
pub(crate) fn checked(text: &[u8]) -> Option<&[u8]> {
    use wire::json::{Limits, Pointers, Scratch, pass};

    const BEFORE: &[u8] = b"{\"v\":";
    let text = text.trim_ascii();
    // The pass takes objects. What closes the member early, as `1,"a":2` does, has its end before that of the text.
    let wrapped = [BEFORE, text, b"}"].concat();
    let (pointers, slots) = Pointers::compile(&["/v"]).expect("a pointer of one name");
    // Its bytes are bounded already, and its members with them.
    let limits = Limits { event: wrapped.len(), depth: DEPTH_MAX as usize + 1, members: wrapped.len() };
    let mut scratch = Scratch::default();
    pass(&wrapped, &pointers, &limits, &mut scratch).ok()?;
    (scratch.found(slots[0]).range() == (BEFORE.len()..wrapped.len() - 1)).then_some(text)
}

/// Levels of maps and arrays in a record. Real ones have four; a file made to exhaust the stack has hundreds.
const DEPTH_MAX: u32 = 32;
pub(crate) const TOO_DEEP: &str = "a record is nested deeper than 32 levels";

/// Whatever is decoded, as JSON: maps and arrays as they are, integers in full, bytes in hex. The decoder bounds a record
/// to 65,536 values and 2 MiB of text, and with it what is written.
pub(crate) struct Rendered(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Rendered {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rendered, D::Error> {
        let mut out = Vec::new();
        Transcode { out: &mut out, depth: 0 }.deserialize(from)?;
        Ok(Rendered(out))
    }
}

struct Transcode<'o> {
    out: &'o mut Vec<u8>,
    depth: u32,
}

impl Transcode<'_> {
    fn child<E: de::Error>(&mut self) -> Result<Transcode<'_>, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Transcode { out: self.out, depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Transcode<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

macro_rules! integers {
    ($($visit:ident: $ty:ty),*) => {
        $(fn $visit<E>(self, value: $ty) -> Result<(), E> {
            self.out.extend_from_slice(value.to_string().as_bytes());
            Ok(())
        })*
    };
}

impl<'de> Visitor<'de> for Transcode<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    integers! { visit_i64: i64, visit_u64: u64, visit_u128: u128 }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_f32<E>(self, value: f32) -> Result<(), E> {
        float(value, self.out);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        float(value, self.out);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write_string(value.as_bytes(), self.out);
        Ok(())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<(), E> {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        self.out.push(b'"');
        self.out.extend(value.iter().flat_map(|b| [HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]));
        self.out.push(b'"');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        let first = self.out.len();
        loop {
            let comma = self.out.len();
            if comma > first {
                self.out.push(b',');
            }
            if seq.next_element_seed(self.child()?)?.is_none() {
                self.out.truncate(comma);
                break;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let first = self.out.len();
        while let Some(key) = map.next_key::<&str>()? {
            if self.out.len() > first {
                self.out.push(b',');
            }
            write_string(key.as_bytes(), self.out);
            self.out.push(b':');
            map.next_value_seed(self.child()?)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn strings_read_back_as_they_were() {
        for s in ["", "Zürich", "a\"b\\c", "\u{0}\u{1f}\n\t", "東京", "\u{7f}"] {
            let written = text(|out| write_string(s.as_bytes(), out));
            assert_eq!(serde_json::from_str::<String>(&written).expect(&written), s);
        }
    }

    #[test]
    fn a_float_keeps_its_width() {
        assert_eq!(text(|out| float(38.1f32, out)), "38.1");
        assert_eq!(text(|out| float(-122.04f64, out)), "-122.04");
        assert_eq!(text(|out| float(f64::from(38.1f32), out)), "38.099998474121094");
        assert_eq!(text(|out| float(0.0f32, out)), "0.0");
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(text(|out| float(odd, out)), "null");
        }
        for large in [1e300, f64::MAX, f64::MIN_POSITIVE] {
            let written = text(|out| float(large, out));
            assert_eq!(serde_json::from_str::<f64>(&written).expect(&written), large);
        }
    }
    #[cfg(any(feature = "parquet", feature = "remote"))]
    #[test]
    fn one_value_and_nothing_else() {
        for good in [" 1\n", "\"a\"", "null", "[1,2]", "{\"a\":{\"a\":1}}", "true", "-1e5"] {
            assert_eq!(checked(good.as_bytes()), Some(good.trim().as_bytes()), "{good}");
        }
        let deep = "[".repeat(DEPTH_MAX as usize + 1) + &"]".repeat(DEPTH_MAX as usize + 1);
        for bad in ["", " ", "1 2", "1,\"b\":2", "1},\"b\":{\"c\":1", "{", "nul", "\"\\ud800\"", "<p>no</p>", &deep] {
            assert_eq!(checked(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(checked(b"\"\xff\""), None);
    }
}
