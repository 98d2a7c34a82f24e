//! A file of the operator's, line by line: plain or gzip, bounded, and every complaint with its line.

use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;

use crate::error::LookupError;

/// Bytes of a line. The longest real ones have 250.
const LINE_MAX: usize = 4096;

/// Lines of a file: twice what a table may have in ranges, for comments between them.
const LINES_MAX: u64 = 4_000_000;

/// Bytes that a gzip file may come to. All ASN ranges there are have 33 MB.
const INFLATED_MAX: u64 = 256 << 20;

/// Calls `line` with each line that is not blank, without a byte order mark and white space at its end, until one is wrong.
/// `name` is the file's, for texts.
pub(crate) fn each(
    name: &str,
    bytes: &[u8],
    mut line: impl FnMut(u64, &str) -> Result<(), &'static str>,
) -> Result<(), LookupError> {
    let gzip = bytes.starts_with(&[0x1f, 0x8b]);
    // One byte more than is allowed, to tell a file that ends there from one that goes on.
    let mut inflated = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(bytes).take(INFLATED_MAX + 1));
    let mut plain = bytes;
    let input: &mut dyn BufRead = if gzip { &mut inflated } else { &mut plain };
    let (mut raw, mut number, mut total) = (Vec::with_capacity(LINE_MAX), 0, 0);
    loop {
        raw.clear();
        number += 1;
        let wrong =
            |what: &'static str| LookupError::Line { file: name.to_owned(), line: number, what: what.to_owned() };
        let read = input.take(LINE_MAX as u64 + 1).read_until(b'\n', &mut raw);
        total += read.map_err(|_| wrong("the gzip stream is damaged or ends too early"))? as u64;
        if raw.is_empty() {
            return Ok(());
        }
        if gzip && total > INFLATED_MAX {
            return Err(wrong("the file inflates to more than 256 MiB"));
        }
        if number > LINES_MAX {
            return Err(wrong("the file has more than 4 million lines"));
        }
        if raw.len() > LINE_MAX {
            return Err(wrong("the line is longer than 4,096 bytes"));
        }
        let text = std::str::from_utf8(&raw).map_err(|_| wrong("the line is not valid UTF-8"))?;
        let text = if number == 1 { text.trim_start_matches('\u{feff}') } else { text }.trim_end();
        if !text.is_empty() {
            line(number, text).map_err(wrong)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(plain: &[u8], times: usize) -> Vec<u8> {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        (0..times).for_each(|_| out.write_all(plain).expect("in memory"));
        out.finish().expect("in memory")
    }

    fn lines(bytes: &[u8]) -> Result<Vec<(u64, String)>, LookupError> {
        let mut all = Vec::new();
        each("f", bytes, |n, text| {
            all.push((n, text.to_owned()));
            if text == "bad" { Err("bad") } else { Ok(()) }
        })?;
        Ok(all)
    }

    #[test]
    fn lines_have_numbers_and_no_ends() {
        let plain = "\u{feff}a\r\n\n  b c \n \t\nlast";
        let want = [(1, "a".to_owned()), (3, "  b c".to_owned()), (5, "last".to_owned())];
        assert_eq!(lines(plain.as_bytes()).expect("lines"), want);
        assert_eq!(lines(&gzip(plain.as_bytes(), 1)).expect("lines"), want);
        // Two members, as `cat a.gz b.gz` makes them.
        let two = [gzip(b"a\n", 1), gzip(b"b\n", 1)].concat();
        assert_eq!(lines(&two).expect("lines").len(), 2);
        assert_eq!(lines(b"").expect("lines"), []);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let whole = gzip(b"line\n", 50_000);
        for (bytes, text) in [
            (b"ok\nbad\n".to_vec(), "f, line 2: bad"),
            (b"ok\n\xff\n".to_vec(), "f, line 2: the line is not valid UTF-8"),
            ([b"ok\n", &[b'x'; 5000][..]].concat(), "f, line 2: the line is longer than 4,096 bytes"),
            (whole[..whole.len() / 2].to_vec(), "the gzip stream is damaged or ends too early"),
            (gzip(b"\n", LINES_MAX as usize + 1), "the file has more than 4 million lines"),
            (
                gzip(&[&[b'x'; 4000][..], b"\n"].concat(), (INFLATED_MAX / 4000) as usize),
                "the file inflates to more than 256 MiB",
            ),
        ] {
            let said = lines(&bytes).expect_err("wrong").to_string();
            assert!(said.ends_with(text), "{said}");
        }
    }
}
