//! Files as they lie on disk: gzip, zstd, or neither, told by their first bytes.

use std::borrow::Cow;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder;

/// The largest zstd window taken, as a power of two: 128 MiB, which is what `zstd --ultra --long` makes. The file is the
/// operator's own.
const WINDOW_LOG_MAX: u32 = 27;

/// The text of a file, at most `max` bytes of it. A compressed file that was cut off is an error: both formats say where
/// they end.
pub(super) fn inflate(bytes: &[u8], max: u64) -> Result<Cow<'_, [u8]>, String> {
    match bytes {
        [0x1f, 0x8b, 0x08, ..] => whole(MultiGzDecoder::new(bytes), max, "gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let broken = |e: io::Error| format!("it cannot be inflated as zstd: {e}");
            let mut decoder = Decoder::with_buffer(bytes).map_err(broken)?;
            decoder.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
            whole(decoder, max, "zstd")
        }
        _ if bytes.len() as u64 > max => Err(too_large(max)),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

fn whole(from: impl Read, max: u64, encoding: &str) -> Result<Cow<'static, [u8]>, String> {
    let mut out = Vec::new();
    from.take(max + 1)
        .read_to_end(&mut out)
        .map_err(|e| format!("it cannot be inflated as {encoding} ({e}): is it whole?"))?;
    if out.len() as u64 > max { Err(too_large(max)) } else { Ok(Cow::Owned(out)) }
}

fn too_large(max: u64) -> String {
    format!("it has more than {max} bytes: keep fewer rows")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn whole_files_are_read_and_cut_ones_are_not() {
        let text = "a,b\n1,2\n".repeat(100);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).expect("written");
        let gzip = gzip.finish().expect("finished");
        let zstd = zstd::stream::encode_all(text.as_bytes(), 1).expect("encoded");
        for bytes in [text.as_bytes(), &gzip, &zstd] {
            assert_eq!(inflate(bytes, 800).expect("whole"), text.as_bytes());
            assert!(inflate(bytes, 799).expect_err("too long").contains("799"));
        }
        for compressed in [&gzip, &zstd] {
            for cut in 4..compressed.len() {
                assert!(inflate(&compressed[..cut], 800).is_err(), "{cut} of {}", compressed.len());
            }
        }
    }
}
