//! Varints and lengths: the pieces that states are written in.

use std::borrow::Cow;

pub(crate) fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Signed numbers near zero are short, too.
pub(crate) fn put_signed(n: i64, out: &mut Vec<u8>) {
    put_varint((n << 1 ^ n >> 63) as u64, out);
}

pub(crate) fn put_text(text: &[u8], out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

/// Reads what was put, in the same order. `None` where the bytes end or make no sense.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    #[inline]
    pub fn varint(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut n = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    pub fn signed(&mut self) -> Option<i64> {
        let n = self.varint()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    pub fn count(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(taken)
    }

    pub fn text(&mut self) -> Option<Cow<'a, [u8]>> {
        let len = self.varint()?;
        self.take(usize::try_from(len).ok()?).map(Cow::Borrowed)
    }

    pub fn u128(&mut self) -> Option<u128> {
        self.take(16).map(|b| u128::from_le_bytes(b.try_into().expect("sixteen bytes")))
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.take(8).map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for n in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, u64::from(u32::MAX), u64::MAX] {
            let mut out = Vec::new();
            put_varint(n, &mut out);
            put_signed(n as i64, &mut out);
            put_signed((n as i64).wrapping_neg(), &mut out);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint(), Some(n));
            assert_eq!(reader.signed(), Some(n as i64));
            assert_eq!(reader.signed(), Some((n as i64).wrapping_neg()));
            assert!(reader.is_empty() && reader.varint().is_none());
        }
    }
}
