//! gzip and zstd, streamed: a cap on what comes out and on its ratio to what went in, both checked before memory is
//! taken. One layer only: what comes out is never inflated again.
//!
//! Two ways to use it. A body of bounded size is [`Inflater::push`]ed piece by piece and [`Inflater::finish`]ed. A file
//! of any size is pulled through [`Inflater::step`], which never gives more than asked for.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// How bytes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// As in `Content-Encoding`, and as people know it.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }
}

/// Recognises compressed bytes by their first four (three for gzip); `None` for anything else.
pub fn sniff(first: &[u8]) -> Option<Encoding> {
    match first {
        [0x1f, 0x8b, 0x08, ..] => Some(Encoding::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Encoding::Zstd),
        // A skippable frame, with which some parallel compressors begin.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Encoding::Zstd),
        _ => None,
    }
}

/// What an [`Inflater`] may give.
#[derive(Clone, Copy, Debug)]
pub struct InflateLimits {
    /// Bytes out, over all members and frames; `u64::MAX` for a stream that is pulled and may be of any length.
    pub max_out: u64,
    /// Bytes out for each byte in, judged beyond the first [`RATIO_FREE`] bytes.
    pub max_ratio: u32,
}

/// Output that is never judged by its ratio: a short, repetitive body compresses a thousandfold without any malice.
pub const RATIO_FREE: u64 = 1 << 20;

/// The largest zstd window taken, as a power of two: 8 MiB, which RFC 8878 asks every decoder to support and which is
/// all that `zstd` uses below `--ultra` and `--long`.
const WINDOW_LOG_MAX: u32 = 23;

/// The most that [`Inflater::push`] inflates between two looks at the limits.
const PUSH_ROOM_MAX: usize = 64 * 1024;

/// Why bytes could not be inflated. Each text is for the sender, and names what to change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InflateError {
    #[error("the data is over {max_out} bytes when decompressed; send less at once")]
    TooLarge { max_out: u64 },
    #[error("the data grows more than {max_ratio} times when decompressed; send it uncompressed, or in smaller pieces")]
    Ratio { max_ratio: u32 },
    #[error("{0}")]
    Bad(String),
}

/// Inflates one stream of gzip members or zstd frames.
pub struct Inflater {
    codec: Codec,
    limits: InflateLimits,
    total_in: u64,
    total_out: u64,
    /// Given again to whoever goes on after it.
    failed: Option<InflateError>,
}

enum Codec {
    Gzip { inflate: Box<Decompress>, state: GzipState },
    Zstd { decoder: Decoder<'static>, state: ZstdState },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GzipState {
    /// Nothing was read of the first member.
    New,
    InMember,
    /// A member ended: another one may follow, or zeros, with which some tools fill up the last block.
    Between,
    Padding,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ZstdState {
    New,
    InFrame,
    Between,
}

/// zlib's largest window, which every gzip decoder has.
const GZIP_WINDOW_BITS: u8 = 15;

impl Inflater {
    pub fn new(encoding: Encoding, limits: InflateLimits) -> Inflater {
        let codec = match encoding {
            Encoding::Gzip => {
                Codec::Gzip { inflate: Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS)), state: GzipState::New }
            }
            Encoding::Zstd => {
                let mut decoder = Decoder::new().expect("a zstd decoder without a dictionary");
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).expect("a window log zstd knows");
                Codec::Zstd { decoder, state: ZstdState::New }
            }
        };
        Inflater { codec, limits, total_in: 0, total_out: 0, failed: None }
    }

    pub fn encoding(&self) -> Encoding {
        match self.codec {
            Codec::Gzip { .. } => Encoding::Gzip,
            Codec::Zstd { .. } => Encoding::Zstd,
        }
    }

    /// Compressed bytes taken so far.
    pub fn total_in(&self) -> u64 {
        self.total_in
    }

    /// Inflates all of `input` and appends what it gives to `out`, as far as the limits allow.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        let mut rest = input;
        loop {
            let before = out.len();
            // Text grows about five times; clearing much more room than that for each small piece would cost more than
            // the inflating.
            let room = (8 * rest.len()).clamp(512, PUSH_ROOM_MAX);
            let taken = self.step(rest, out, room)?;
            rest = &rest[taken..];
            if rest.is_empty() && out.len() - before < room {
                return Ok(());
            }
        }
    }

    /// Inflates until `room` more bytes are in `out` or `input` is used up, and says how many bytes of `input` it took.
    ///
    /// When it appended exactly `room` bytes there may be more inside: call it again, even without input. What was
    /// appended before an error is good; after it nothing more comes.
    pub fn step(&mut self, input: &[u8], out: &mut Vec<u8>, room: usize) -> Result<usize, InflateError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        // One byte beyond the limit is enough to know that it was passed.
        let left = usize::try_from(self.limits.max_out - self.total_out).unwrap_or(usize::MAX);
        let room = room.min(left.saturating_add(1));
        let start = out.len();
        out.resize(start + room, 0);
        let (taken, mut given, error) = self.fill(input, &mut out[start..]);
        self.total_in += taken as u64;
        let InflateLimits { max_out, max_ratio } = self.limits;
        let total = self.total_out + given as u64;
        self.failed = if total > max_out {
            given -= 1;
            Some(InflateError::TooLarge { max_out })
        } else if total > RATIO_FREE && total / u64::from(max_ratio.max(1)) > self.total_in {
            Some(InflateError::Ratio { max_ratio })
        } else {
            let name = self.encoding().name();
            error.map(|what| InflateError::Bad(format!("bad {name} data near its byte {}: {what}", self.total_in)))
        };
        self.total_out += given as u64;
        out.truncate(start + given);
        self.failed.clone().map_or(Ok(taken), Err)
    }

    /// (bytes taken, bytes given, what is wrong).
    fn fill(&mut self, input: &[u8], out: &mut [u8]) -> (usize, usize, Option<String>) {
        let (mut taken, mut given) = (0, 0);
        while given < out.len() {
            match self.codec.run(&input[taken..], &mut out[given..]) {
                Ok((0, 0)) => break,
                Ok((t, g)) => (taken, given) = (taken + t, given + g),
                Err(what) => return (taken, given, Some(what)),
            }
        }
        (taken, given, None)
    }

    /// Whether all members or frames that began have ended, so that the input may end here.
    pub fn is_whole(&self) -> bool {
        match &self.codec {
            Codec::Gzip { state, .. } => matches!(state, GzipState::Between | GzipState::Padding),
            Codec::Zstd { state, .. } => *state == ZstdState::Between,
        }
    }

    /// Says that there is no more input. An error when the data ends in the middle.
    pub fn finish(&mut self) -> Result<(), InflateError> {
        if self.is_whole() {
            return Ok(());
        }
        let (name, at) = (self.encoding().name(), self.total_in);
        Err(InflateError::Bad(format!("the {name} data ends in the middle, after {at} bytes, as if it was cut off")))
    }
}

impl Codec {
    /// (bytes taken, bytes given); (0, 0) when it needs more input or more room.
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), String> {
        match self {
            Codec::Gzip { inflate, state } => run_gzip(inflate, state, input, output),
            Codec::Zstd { decoder, state } => run_zstd(decoder, state, input, output),
        }
    }
}

fn run_gzip(
    inflate: &mut Decompress,
    state: &mut GzipState,
    input: &[u8],
    output: &mut [u8],
) -> Result<(usize, usize), String> {
    if matches!(state, GzipState::Between | GzipState::Padding) {
        match (input.first(), *state) {
            (None, _) => return Ok((0, 0)),
            (Some(0), _) => {
                *state = GzipState::Padding;
                return Ok((input.iter().take_while(|b| **b == 0).count(), 0));
            }
            (Some(0x1f), GzipState::Between) => {
                inflate.reset(true);
                *state = GzipState::InMember;
            }
            _ => return Err("after the end of the compressed part comes something that is not gzip".to_owned()),
        }
    }
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None).map_err(|e| e.to_string())?;
    let taken = (inflate.total_in() - before_in) as usize;
    if status == Status::StreamEnd {
        *state = GzipState::Between;
    } else if taken > 0 {
        *state = GzipState::InMember;
    }
    Ok((taken, (inflate.total_out() - before_out) as usize))
}

fn run_zstd(
    decoder: &mut Decoder<'static>,
    state: &mut ZstdState,
    input: &[u8],
    output: &mut [u8],
) -> Result<(usize, usize), String> {
    if input.is_empty() && *state != ZstdState::InFrame {
        return Ok((0, 0));
    }
    let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(output));
    let missing = decoder.run(&mut from, &mut to).map_err(|e| {
        // The library's own words; see zstd's error_private.c.
        match e.to_string() {
            s if s.contains("requires too much memory") => {
                "it needs a window over 8 MiB; compress it again without --ultra and --long".to_owned()
            }
            s => s.to_lowercase(),
        }
    })?;
    let done = (from.pos(), to.pos());
    if missing == 0 {
        *state = ZstdState::Between;
    } else if done.0 > 0 {
        *state = ZstdState::InFrame;
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const FREE: InflateLimits = InflateLimits { max_out: u64::MAX, max_ratio: u32::MAX };

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        e.write_all(data).expect("to memory");
        e.finish().expect("to memory")
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::encode_all(data, 3).expect("to memory")
    }

    fn inflate(encoding: Encoding, limits: InflateLimits, input: &[u8], piece: usize) -> Result<Vec<u8>, InflateError> {
        let mut inflater = Inflater::new(encoding, limits);
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            inflater.push(piece, &mut out)?;
        }
        inflater.finish().map(|()| out)
    }

    fn text() -> Vec<u8> {
        (0..4_000u32)
            .flat_map(|i| format!("{{\"n\":{},\"h\":{}}}\n", i, i.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    #[test]
    fn what_was_compressed_comes_back_however_it_is_cut() {
        let data = text();
        for (encoding, one) in [(Encoding::Gzip, gzip(&data)), (Encoding::Zstd, zstd(&data))] {
            assert_eq!(sniff(&one), Some(encoding));
            let several = [one.clone(), one.clone(), one.clone()].concat();
            for piece in [1, 7, 4096, usize::MAX] {
                assert!(inflate(encoding, FREE, &one, piece).expect("whole") == data, "{encoding:?} by {piece}");
                assert!(
                    inflate(encoding, FREE, &several, piece).expect("whole") == data.repeat(3),
                    "three in one, {encoding:?} by {piece}"
                );
            }
            let empty = match encoding {
                Encoding::Gzip => gzip(b""),
                Encoding::Zstd => zstd(b""),
            };
            assert_eq!(inflate(encoding, FREE, &empty, 3), Ok(Vec::new()));
        }
    }

    #[test]
    fn a_step_never_gives_more_than_its_room() {
        let data = vec![b'x'; 3_000_000];
        for (encoding, packed) in [(Encoding::Gzip, gzip(&data)), (Encoding::Zstd, zstd(&data))] {
            let mut inflater = Inflater::new(encoding, FREE);
            let (mut at, mut total) = (0, 0);
            loop {
                let mut out = Vec::new();
                at += inflater.step(&packed[at..], &mut out, 10_000).expect("good data");
                assert!(out.len() <= 10_000);
                total += out.len();
                if out.len() < 10_000 && at == packed.len() {
                    break;
                }
            }
            assert_eq!(total, data.len());
            inflater.finish().expect("whole");
        }
    }

    #[test]
    fn a_bomb_is_stopped_before_it_takes_memory() {
        let zeros = vec![0; 24 << 20];
        for (encoding, packed) in [(Encoding::Gzip, gzip(&zeros)), (Encoding::Zstd, zstd(&zeros))] {
            let mut out = Vec::new();
            let mut inflater = Inflater::new(encoding, InflateLimits { max_out: 1 << 20, max_ratio: 100_000 });
            assert_eq!(inflater.push(&packed, &mut out), Err(InflateError::TooLarge { max_out: 1 << 20 }));
            assert!(out.len() <= 1 << 20 && out.capacity() <= 4 << 20, "{} of {}", out.len(), out.capacity());

            let mut out = Vec::new();
            let mut inflater = Inflater::new(encoding, InflateLimits { max_out: u64::MAX, max_ratio: 100 });
            assert_eq!(inflater.push(&packed, &mut out), Err(InflateError::Ratio { max_ratio: 100 }));
            assert!(out.capacity() <= 16 << 20, "{}", out.capacity());
        }
        let exactly = gzip(&vec![b' '; 1000]);
        assert!(inflate(Encoding::Gzip, InflateLimits { max_out: 1000, max_ratio: 1 }, &exactly, 9).is_ok());
        assert!(inflate(Encoding::Gzip, InflateLimits { max_out: 999, max_ratio: 1 }, &exactly, 9).is_err());
    }

    #[test]
    fn a_window_over_8_mib_is_refused_with_what_to_do() {
        let mut e = zstd::stream::Encoder::new(Vec::new(), 1).expect("an encoder");
        e.set_parameter(zstd::stream::raw::CParameter::WindowLog(27)).expect("a window");
        e.write_all(&text()).expect("to memory");
        let packed = e.finish().expect("to memory");
        let Err(InflateError::Bad(text)) = inflate(Encoding::Zstd, FREE, &packed, 4096) else { panic!("taken") };
        assert!(text.contains("--long"), "{text}");
    }

    #[test]
    fn damage_is_an_error_that_says_where() {
        let data = text();
        for (encoding, packed) in [(Encoding::Gzip, gzip(&data)), (Encoding::Zstd, zstd(&data))] {
            for cut in [0, 1, 5, 20, packed.len() / 2, packed.len() - 1] {
                let e = inflate(encoding, FREE, &packed[..cut], 4096).expect_err("cut off");
                assert!(e.to_string().contains("ends in the middle"), "{e}");
            }
            let mut flipped = packed.clone();
            for at in (0..packed.len()).step_by(packed.len() / 50) {
                flipped[at] ^= 0x55;
                // A flip may go unseen only where the format has no meaning (gzip's time stamp, for one).
                if let Ok(out) = inflate(encoding, FREE, &flipped, 4096) {
                    assert!(out == data || encoding == Encoding::Zstd, "damage at {at} went unseen");
                }
                flipped[at] ^= 0x55;
            }
            let junk = [packed.clone(), b"junk".to_vec()].concat();
            let e = inflate(encoding, FREE, &junk, 4096).expect_err("junk after the end");
            assert!(e.to_string().contains("near its byte") || e.to_string().contains("ends in the middle"), "{e}");
        }
        let padded = [gzip(&data), vec![0; 512]].concat();
        assert!(inflate(Encoding::Gzip, FREE, &padded, 100).expect("zeros after the end are padding") == data);
        assert!(inflate(Encoding::Gzip, FREE, b"not gzip at all", 100).is_err());
    }
}
