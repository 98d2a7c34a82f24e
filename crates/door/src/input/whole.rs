//! Inputs outside a run: the beginning of one that somebody wants to know more about, and a small one that is there whole.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::time::Duration;

use event::{Failure, Micros};
use seam::RealRng;
use wire::Preset;

use super::bytes::{Bytes, Got};
use super::error::InputError;
use super::feed::{Fed, Feed, Ids, Sink};
use super::reader::open;
use super::{MAX_RATIO, Origin};
use crate::collect::Collector;

/// The first bytes of an input, decompressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beginning {
    /// A path as it was given, or `standard input`.
    pub name: String,
    pub bytes: Vec<u8>,
    /// There are no more than these.
    pub is_whole: bool,
}

/// How long a stream is waited for at a time.
const STREAM_WAIT: Duration = Duration::from_secs(1);

/// Reads at most `most` decompressed bytes of an input. Waits for a stream until it has so many or is closed. What is
/// damaged further on is the run's to find.
///
/// # Errors
/// That it cannot be read, or that it is no text.
pub fn beginning(origin: Origin, most: usize) -> Result<Beginning, InputError> {
    let stdin = |fd: std::os::fd::OwnedFd| Bytes::of_stream("standard input".to_owned(), File::from(fd), MAX_RATIO);
    let (mut bytes, name) = match origin {
        Origin::File(path) => {
            let (file, is_regular) = open(&path)?;
            let name = path.display().to_string();
            let bytes = match is_regular {
                true => Bytes::of_file(name.clone(), file, MAX_RATIO),
                false => Bytes::of_stream(name.clone(), file, MAX_RATIO),
            };
            (bytes, name)
        }
        Origin::Stream(fd) => (stdin(fd), "standard input".to_owned()),
        Origin::Stdin => {
            let name = "standard input".to_owned();
            let fd = std::io::stdin().as_fd().try_clone_to_owned();
            let fd = fd.map_err(|source| InputError::Read { name: name.clone(), at: 0, source })?;
            (stdin(fd), name)
        }
    };
    if !bytes.is_stream() {
        bytes.begin()?;
    }
    let mut out = Vec::new();
    let is_whole = loop {
        match bytes.read(&mut out) {
            _ if out.len() > most => break false,
            Ok(Got::Data) => {}
            Ok(Got::Nothing) if bytes.is_stream() => {
                bytes.is_ready(STREAM_WAIT);
            }
            Ok(Got::Nothing | Got::Closed) => break bytes.finish().is_ok(),
            Err(InputError::Damaged { .. }) if !out.is_empty() => break false,
            Err(e) => return Err(e),
        }
    };
    out.truncate(most);
    Ok(Beginning { name, bytes: out, is_whole })
}

/// Hands all records of a whole file to a collector, as a source of this preset would read it. Ids are those of its
/// positions, after `name`; no bound is kept on what is collected.
///
/// # Errors
/// A first line that is no CSV header.
pub fn take_whole(
    collector: &mut Collector,
    bytes: &[u8],
    preset: Preset,
    name: &str,
    received: Micros,
) -> Result<(), Failure> {
    let limit = collector.decoder().limits().event;
    let mut feed = Feed::new(preset, limit, Ids::Position(name.to_owned()));
    // It was asked for, whatever it looks like.
    feed.first.settled = true;
    feed.buf().extend_from_slice(bytes);
    // Ids of positions ask for no chance.
    let mut sink = Sink { collector, full: usize::MAX, received, rng: &RealRng };
    match feed.take_last(&mut sink) {
        Fed::NoHeader(failure) => Err(failure),
        Fed::Hungry | Fed::Full | Fed::Hopeless => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests look at real files
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use event::record;
    use event::topic::{DLQ, RAW};
    use wire::{Decoder, DecoderConfig, FieldMap};

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    fn of(bytes: &[u8], most: usize) -> Result<(Vec<u8>, bool), InputError> {
        let file = file(bytes);
        beginning(Origin::File(file.path().to_owned()), most).map(|b| (b.bytes, b.is_whole))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("to memory");
        encoder.finish().expect("to memory")
    }

    #[test]
    fn the_beginning_of_a_file_is_inflated_and_bounded() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let packed = [gzip(&text), zstd::encode_all(&text[..], 3).expect("to memory"), text.clone()];
        for bytes in &packed {
            assert_eq!(of(bytes, text.len()).expect("read"), (text.clone(), true));
            assert_eq!(of(bytes, 1000).expect("read"), (text[..1000].to_vec(), false));
        }
        // What is damaged behind the beginning is somebody else's to find; with nothing before it, it is an error.
        let half = &packed[0][..packed[0].len() / 2];
        let (read, is_whole) = of(half, usize::MAX).expect("its first half");
        assert!(!is_whole && !read.is_empty() && text.starts_with(&read));
        assert!(matches!(of(&packed[0][..3], 10), Ok((read, false)) if read.is_empty()));
        assert!(matches!(of(b"\x1f\x8b\x08\x00garbage and more", 10), Err(InputError::Damaged { .. })));
        assert_eq!(of(b"", 10).expect("read"), (Vec::new(), true));
        assert!(matches!(of(b"PK\x03\x04", 10), Err(InputError::NotText { .. })));
    }

    #[test]
    fn the_beginning_of_a_stream_is_waited_for() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let writing = std::thread::spawn(move || {
            for part in ["{\"a\":1}\n", "{\"a\":2}\n"] {
                std::thread::sleep(Duration::from_millis(30));
                writer.write_all(part.as_bytes()).expect("read");
            }
        });
        let read = beginning(Origin::Stream(reader.into()), 1 << 20).expect("read");
        writing.join().expect("written");
        assert_eq!((read.bytes, read.is_whole), (b"{\"a\":1}\n{\"a\":2}\n".to_vec(), true));
    }

    #[test]
    fn a_whole_file_is_collected_as_a_run_reads_it() {
        let of = |preset: Preset, text: &str| {
            let config = DecoderConfig::new("web", FieldMap::preset(preset));
            let mut collector = Collector::new(Arc::new(Decoder::build(config).expect("a preset")), 1);
            let result = take_whole(&mut collector, text.as_bytes(), preset, "t", Micros(7));
            let (mut raw, mut dlq) = (Vec::new(), 0);
            for block in collector.take() {
                let values =
                    record::records(&block.bytes).map(|r| r.expect("a record").value.expect("a value").to_vec());
                match block.to.topic {
                    RAW => raw.extend(values.map(|v| String::from_utf8(v).expect("text"))),
                    DLQ => dlq += block.count,
                    _ => unreachable!("a collector makes these two"),
                }
            }
            (result.map_err(|f| f.code.name()), raw, dlq)
        };
        let (result, raw, dlq) = of(Preset::Ouzel, "[{\"type\":\"a\"},{\"type\":\"b\"},{}]");
        assert_eq!((result, raw.len(), dlq), (Ok(()), 2, 1));
        let (result, raw, dlq) = of(Preset::Csv, "event,user_id\nview,1\nview\n");
        assert_eq!((result, dlq), (Ok(()), 1));
        assert_eq!(raw, ["{\"event\":\"view\",\"user_id\":\"1\"}"]);
        assert_eq!(of(Preset::Csv, "event,,user_id\n").0, Err("bad_line"));
        assert_eq!(of(Preset::Ouzel, &"x\n".repeat(300)).2, 300, "all of them, however hopeless");
    }
}
