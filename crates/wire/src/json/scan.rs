//! The loops that most bytes of an event pass through: to the end of a string's plain run, over white space, and to the
//! next bracket.
//!
//! SSE2 belongs to every x86-64, so nothing is detected at run time; elsewhere eight bytes are looked at in one word.
//! The strings of an event mostly end within their first sixteen bytes, so wider blocks would be loaded in vain.

/// The first index at or after `at` whose byte ends a plain run of a string (`"`, `\` or a control character), or the
/// text's length.
#[inline(always)]
pub fn plain_run(text: &[u8], mut at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    while let Some(block) = text.get(at..).and_then(|t| t.first_chunk::<16>()) {
        let ends = sse2::run_ends(block);
        if ends != 0 {
            return at + ends.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(block) = text.get(at..).and_then(|t| t.first_chunk::<8>()) {
        let ends = word::run_ends(u64::from_le_bytes(*block));
        if ends != 0 {
            return at + (ends.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&b) = text.get(at) {
        if b == b'"' || b == b'\\' || b < 0x20 {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// The first index at or after `at` whose byte is a quote, a bracket or a brace, or the text's length.
#[inline(always)]
pub fn bracket_run(text: &[u8], mut at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    while let Some(block) = text.get(at..).and_then(|t| t.first_chunk::<16>()) {
        let ends = sse2::brackets(block);
        if ends != 0 {
            return at + ends.trailing_zeros() as usize;
        }
        at += 16;
    }
    while !matches!(text.get(at), None | Some(b'"' | b'{' | b'}' | b'[' | b']')) {
        at += 1;
    }
    at
}

/// The first index at or after `at` whose byte is not JSON white space, or the text's length.
#[inline(always)]
pub fn space_run(text: &[u8], at: usize) -> usize {
    // Most events are written without any, or with one space after a colon and a comma.
    match text.get(at) {
        Some(&b) if b > b' ' => at,
        Some(b' ') if text.get(at + 1).is_some_and(|b| *b > b' ') => at + 1,
        _ => long_space_run(text, at),
    }
}

fn long_space_run(text: &[u8], mut at: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    while let Some(block) = text.get(at..).and_then(|t| t.first_chunk::<16>()) {
        let ends = !sse2::spaces(block) & 0xffff;
        if ends != 0 {
            return at + ends.trailing_zeros() as usize;
        }
        at += 16;
    }
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = text.get(at) {
        at += 1;
    }
    at
}

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8,
    };

    /// A bit for each of the sixteen bytes that is `"`, `\` or below 0x20.
    #[inline(always)]
    pub fn run_ends(block: &[u8; 16]) -> u32 {
        // SAFETY: SSE2 is part of x86-64, and the load is unaligned and of exactly the sixteen bytes borrowed.
        unsafe {
            let x = _mm_loadu_si128(block.as_ptr().cast::<__m128i>());
            let quote = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'"' as i8));
            let slash = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'\\' as i8));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, slash), control)) as u32
        }
    }

    /// A bit for each of the sixteen bytes that is a quote, a bracket or a brace.
    #[inline(always)]
    pub fn brackets(block: &[u8; 16]) -> u32 {
        // SAFETY: as above.
        unsafe {
            let x = _mm_loadu_si128(block.as_ptr().cast::<__m128i>());
            // Setting this bit makes `{` of `[` and `}` of `]`, and those of nothing else.
            let braces = _mm_or_si128(x, _mm_set1_epi8(0x20));
            let quote = _mm_cmpeq_epi8(x, _mm_set1_epi8(b'"' as i8));
            let open = _mm_cmpeq_epi8(braces, _mm_set1_epi8(b'{' as i8));
            let close = _mm_cmpeq_epi8(braces, _mm_set1_epi8(b'}' as i8));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, open), close)) as u32
        }
    }

    /// A bit for each of the sixteen bytes that is JSON white space.
    #[inline(always)]
    pub fn spaces(block: &[u8; 16]) -> u32 {
        // SAFETY: as above.
        unsafe {
            let x = _mm_loadu_si128(block.as_ptr().cast::<__m128i>());
            let is = |b: u8| _mm_cmpeq_epi8(x, _mm_set1_epi8(b as i8));
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(is(b' '), is(b'\n')), _mm_or_si128(is(b'\r'), is(b'\t'))))
                as u32
        }
    }
}

mod word {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;

    /// The high bit of each of the eight bytes that is `"`, `\` or below 0x20; bytes after the first such one may be
    /// marked wrongly (borrows run upwards), so only the lowest mark counts.
    #[inline(always)]
    pub fn run_ends(x: u64) -> u64 {
        let zero = |v: u64| v.wrapping_sub(LOW) & !v & HIGH;
        let control = x.wrapping_sub(LOW * 0x20) & !x & HIGH;
        control | zero(x ^ (LOW * b'"' as u64)) | zero(x ^ (LOW * b'\\' as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_a_byte_by_byte_search_says() {
        for special in 0..=255u8 {
            for len in 0..40 {
                for at in (0..len).step_by(3) {
                    let mut text = vec![b'a'; len];
                    text[at] = special;
                    let plain = text.iter().position(|b| matches!(b, b'"' | b'\\' | 0..0x20)).unwrap_or(len);
                    assert_eq!(plain_run(&text, 0), plain, "{special:#x} at {at} of {len}");
                    let bracket = text.iter().position(|b| br#""[]{}"#.contains(b)).unwrap_or(len);
                    assert_eq!(bracket_run(&text, 0), bracket, "{special:#x} at {at} of {len}");
                    let mut text = vec![b' '; len];
                    text[at] = special;
                    let space = text.iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')).unwrap_or(len);
                    assert_eq!(space_run(&text, 0), space, "{special:#x} at {at} of {len}");
                }
            }
            let mut block = [0xe9u8; 8];
            block[5] = special;
            let found = word::run_ends(u64::from_le_bytes(block));
            let expected = matches!(special, b'"' | b'\\' | 0..0x20).then_some(5);
            assert_eq!((found != 0).then(|| found.trailing_zeros() / 8), expected, "{special:#x}");
        }
    }
}
