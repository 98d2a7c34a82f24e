//! Keys of several parameters as bytes: each parameter behind its length, so that no two keys are alike.

/// Appends a key's bytes: for each parameter its length as u32, little endian, and its text. Parameters go in their source's
/// order; a key of one parameter is written alike.
pub fn write<'a>(parameters: impl IntoIterator<Item = &'a str>, out: &mut Vec<u8>) {
    for parameter in parameters {
        // Longer ones are refused for the key's length.
        let len = u32::try_from(parameter.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(parameter.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_alike() {
        let keys: [&[&str]; 6] = [&[], &[""], &["ab"], &["a", "b"], &["", "ab"], &["ab", ""]];
        let bytes = keys.map(|key| {
            let mut out = Vec::new();
            write(key.iter().copied(), &mut out);
            out
        });
        assert_eq!(bytes[3], b"\x01\0\0\0a\x01\0\0\0b");
        for (n, key) in bytes.iter().enumerate() {
            assert!(!bytes[..n].contains(key), "{:?}", keys[n]);
        }
    }
}
