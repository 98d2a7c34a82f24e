//! What the tests of this crate share: real data, chance that repeats, and damage.

#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(clippy::disallowed_methods, reason = "real data is read from files")]

/// A file of the real data. Its absence fails the test: a test that skips itself checks nothing.
pub fn data(path: &str) -> Vec<u8> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let dir = std::env::var("OUZEL_TEST_DATA").unwrap_or_else(|_| default.into());
    let path = std::path::Path::new(&dir).join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{} ({e}): set OUZEL_TEST_DATA to the test data", path.display()))
}

/// Steele, Lea and Flood's SplitMix64: the same sequence for the same seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Bits of text that parsers stumble over.
const AWKWARD: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\u",
    b"\\ud800",
    b"\\udc00",
    b"\\u0061",
    b"\n",
    b"\r\n",
    b"\0",
    b"\t",
    b" ",
    b"-",
    b"0",
    b"1e999",
    b"0.",
    b"1E+5",
    b"-0",
    b"01",
    b"null",
    b"true",
    b"nul",
    b"\xff",
    b"\xc3",
    b"\xe2\x80",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xef\xbb\xbf",
    b"\x7f",
    b"\"a\":1,",
    b"\"a\":1,\"a\":2,",
    b";",
    b"\"\"",
    b"\x1f",
];

/// `sample` with one to four small damages: bytes changed, removed, put in, doubled, or moved.
pub fn mutated(sample: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut text = sample.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(text.len() + 1);
        let to = (at + chance.below(12)).min(text.len());
        match chance.below(6) {
            0 if at < text.len() => text[at] = chance.next() as u8,
            1 if at < text.len() => text[at] ^= 1 << chance.below(8),
            2 => drop(text.drain(at..to)),
            3 => {
                let piece = text[at..to].to_vec();
                let target = chance.below(text.len() + 1);
                text.splice(target..target, piece);
            }
            _ => {
                let piece = *chance.pick(AWKWARD);
                let over = if chance.below(2) == 0 { at } else { to };
                text.splice(at..over, piece.iter().copied());
            }
        }
    }
    text
}
