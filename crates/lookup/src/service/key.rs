//! The keys of a source as bytes, as the caches and the desk have them.

use crate::remote;

pub use enrich::key::write;

/// A key of these parameters, in the source's order.
pub fn of<'a>(parameters: impl IntoIterator<Item = &'a str>) -> ask::Key {
    let mut out = Vec::new();
    write(parameters, &mut out);
    out.into()
}

/// `None`: the bytes are not what [`write`] makes.
pub(super) fn read(mut bytes: &[u8]) -> Option<remote::Key> {
    let mut parameters = Vec::new();
    while !bytes.is_empty() {
        let (len, rest) = bytes.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        parameters.push(std::str::from_utf8(text).ok()?);
        bytes = rest;
    }
    Some(remote::Key::new(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_no_two_are_alike() {
        let keys: [&[&str]; 6] = [&[], &[""], &["ab"], &["a", "b"], &["", "ab"], &["Zürich", "\0"]];
        for (n, parameters) in keys.iter().enumerate() {
            let key = of(parameters.iter().copied());
            assert_eq!(read(&key), Some(remote::Key::new(parameters.iter().copied())));
            assert!(keys[..n].iter().all(|other| of(other.iter().copied()) != key));
        }
    }

    #[test]
    fn other_bytes_are_no_key() {
        for bytes in [&b"a"[..], b"\x02\0\0\0a", b"\x01\0\0\0\xff", b"\x01\0\0\0aa"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
