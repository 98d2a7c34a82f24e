//! Writing JSON's strings and numbers. Reading it is `wire`'s.

pub(crate) const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string with its quotes; runs that need no escape are copied whole. Bytes that are not valid
/// UTF-8 are copied, and it is the caller's to have dealt with them.
pub fn write_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut from = 0;
    while let Some(n) = next_escape(&bytes[from..]) {
        out.extend_from_slice(&bytes[from..from + n]);
        match bytes[from + n] {
            b @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', b]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
        }
        from += n + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

/// Index of the first byte JSON does not take as it is (`"`, `\`, below 0x20), eight bytes at a time.
fn next_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(word) = bytes.get(at..at + 8) {
        let w = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        // The high bit of a byte is set where the byte is zero, or is below 0x20 (Mycroft's test). A borrow can mark a
        // byte above the first true mark by mistake, never one below it, and the first one is all that is asked.
        let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGHS;
        let marks = zero(w ^ (ONES * u64::from(b'"')))
            | zero(w ^ (ONES * u64::from(b'\\')))
            | (w.wrapping_sub(ONES * 0x20) & !w & HIGHS);
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let found = bytes[at..].iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
    found.map(|n| at + n)
}

/// Appends a number's decimal digits.
pub fn write_number(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_the_standard_library_writes_them() {
        for n in [0, 9, 10, 1234567890, u64::MAX] {
            let mut out = Vec::new();
            write_number(n, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), n.to_string());
        }
    }

    #[test]
    fn the_fast_scan_agrees_with_the_slow_one() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut bytes = [0u8; 19];
            for b in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Mostly bytes near the edges, where a borrow would show.
                let near =
                    [0x1f, 0x20, 0x21, 0x22, 0x23, 0x5b, 0x5c, 0x5d, 0x7f, 0x80, 0x81, 0xa0, 0xff, 0, b'a', b'z'];
                *b = near[(state >> 60) as usize];
            }
            for from in 0..bytes.len() {
                let slow = bytes[from..].iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20));
                assert_eq!(next_escape(&bytes[from..]), slow, "{bytes:?} from {from}");
            }
        }
    }
}
