//! Bytes of a file or a stream, inflated where their beginning says so, at positions that count decompressed bytes.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::error::InputError;
use super::identity::HEAD;
use crate::inflate::{InflateError, InflateLimits, Inflater, sniff};

/// How many bytes are read from the system, and at most given, at once.
const PIECE: usize = 256 * 1024;

/// The longest first line: far more than the header of any CSV file.
const LINE_MAX: usize = 1 << 20;

/// What a read gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Got {
    Data,
    /// Nothing now: the file ends here, or the stream has nothing ready.
    Nothing,
    /// The stream was closed.
    Closed,
}

/// Where bytes come from.
pub(super) struct Bytes {
    /// For people: a path, or `standard input`.
    name: String,
    file: File,
    /// A pipe, a terminal, a socket: it has no positions, and a read may wait.
    is_stream: bool,
    max_ratio: u32,
    /// Bytes taken from the file.
    at: u64,
    /// The first [`HEAD`] bytes of the file as they were last seen.
    head: Vec<u8>,
    coding: Coding,
    raw: Vec<u8>,
    /// How much of `raw` was inflated.
    inflated: usize,
}

enum Coding {
    /// A stream of which fewer bytes are there than tell.
    Unknown,
    Plain,
    Packed {
        inflater: Box<Inflater>,
        /// The last step filled its room, so there may be more inside.
        more: bool,
        /// Decompressed bytes given so far.
        given: u64,
    },
}

/// Formats that begin like this and are not taken, with what to do.
const NOT_TEXT: [(&[u8], &str, &str); 6] = [
    // What begins so and is gzip was recognised before.
    (b"\x1f\x8b", "damaged: it begins like gzip and goes on otherwise", "get a whole copy of it"),
    (b"PK\x03\x04", "a zip archive", "unpack it first (`unzip -p FILE | ouzel run --input -`)"),
    (b"BZh", "compressed with bzip2", "decompress it first (`bzcat FILE | ouzel run --input -`)"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it first (`xzcat FILE | ouzel run --input -`)"),
    (b"PAR1", "a Parquet file", "export it as NDJSON or CSV first"),
    (b"Obj\x01", "an Avro file", "export it as NDJSON first"),
];

impl Bytes {
    /// A regular file, from its beginning. Its encoding is told by [`Bytes::begin`].
    pub fn of_file(name: String, file: File, max_ratio: u32) -> Bytes {
        Bytes::new(name, file, false, max_ratio)
    }

    /// A stream that is read as it comes.
    pub fn of_stream(name: String, file: File, max_ratio: u32) -> Bytes {
        Bytes::new(name, file, true, max_ratio)
    }

    fn new(name: String, file: File, is_stream: bool, max_ratio: u32) -> Bytes {
        let (head, raw) = (Vec::new(), Vec::new());
        Bytes { name, file, is_stream, max_ratio, at: 0, head, coding: Coding::Unknown, raw, inflated: 0 }
    }

    /// A pipe, a terminal, a socket.
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// How many bytes a file must have to hold the decompressed ones below `position`, as far as is known.
    pub fn raw_of(&self, position: u64) -> u64 {
        match self.coding {
            Coding::Packed { .. } => self.at,
            Coding::Plain | Coding::Unknown => position,
        }
    }

    /// Bytes taken from the file or the stream.
    pub fn raw_at(&self) -> u64 {
        self.at
    }

    /// Reads the file's first bytes, [`HEAD`] of them if it has so many; they decide the encoding.
    pub fn begin(&mut self) -> Result<(), InputError> {
        let head = self.first_bytes()?;
        self.coding = self.coding_of(&head)?;
        self.head = head;
        Ok(())
    }

    /// Whether the file still begins as it did. A file that was short shows more of its beginning from now on.
    pub fn begins_as_before(&mut self) -> Result<bool, InputError> {
        let head = self.first_bytes()?;
        let same = head.starts_with(&self.head);
        if same {
            self.head = head;
        }
        Ok(same)
    }

    fn first_bytes(&self) -> Result<Vec<u8>, InputError> {
        let mut head = vec![0; HEAD];
        let mut len = 0;
        while len < HEAD {
            match self.file.read_at(&mut head[len..], len as u64) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.unreadable(e)),
            }
        }
        head.truncate(len);
        Ok(head)
    }

    pub fn head(&self) -> &[u8] {
        &self.head
    }

    fn coding_of(&self, first: &[u8]) -> Result<Coding, InputError> {
        if let Some(encoding) = sniff(first) {
            let limits = InflateLimits { max_out: u64::MAX, max_ratio: self.max_ratio };
            let inflater = Box::new(Inflater::new(encoding, limits));
            return Ok(Coding::Packed { inflater, more: false, given: 0 });
        }
        match NOT_TEXT.iter().find(|(magic, ..)| first.starts_with(magic)) {
            Some((_, what, hint)) => Err(InputError::NotText { name: self.name.clone(), what, hint }),
            None => Ok(Coding::Plain),
        }
    }

    /// The first decompressed bytes: all of the first line that is not blank, as far as it is shorter than
    /// [`LINE_MAX`].
    pub fn beginning(&self) -> Result<Vec<u8>, InputError> {
        let file = self.file.try_clone().map_err(|e| self.unreadable(e))?;
        let mut bytes = Bytes::of_file(self.name.clone(), file, self.max_ratio);
        bytes.begin()?;
        let mut out = Vec::new();
        let has_line = |out: &[u8]| memchr::memchr(b'\n', out.trim_ascii_start()).is_some();
        while !has_line(&out) && out.len() < LINE_MAX && bytes.read(&mut out)? == Got::Data {}
        Ok(out)
    }

    /// Goes to a decompressed position at or after this one. A compressed file is inflated up to there.
    ///
    /// Answers the last byte before it; `None` at the very beginning.
    pub fn go_to(&mut self, position: u64) -> Result<Option<u8>, InputError> {
        if position == 0 {
            return Ok(None);
        }
        if matches!(self.coding, Coding::Plain) {
            let mut before = [0];
            self.file.read_exact_at(&mut before, position - 1).map_err(|e| self.unreadable(e))?;
            self.at = position;
            return Ok(Some(before[0]));
        }
        let mut out = Vec::new();
        loop {
            let Coding::Packed { given, .. } = self.coding else { unreachable!("a file's coding is known") };
            let missing = position - given;
            out.clear();
            let room = usize::try_from(missing).unwrap_or(PIECE).min(PIECE);
            if self.read_at_most(&mut out, room)? != Got::Data {
                let what = format!("it has only {given} bytes when decompressed, but {position} were read before");
                return Err(InputError::Damaged { name: self.name.clone(), what });
            }
            if out.len() as u64 == missing {
                return Ok(out.last().copied());
            }
        }
    }

    /// Appends what is there, at most [`PIECE`] bytes.
    pub fn read(&mut self, out: &mut Vec<u8>) -> Result<Got, InputError> {
        self.read_at_most(out, PIECE)
    }

    fn read_at_most(&mut self, out: &mut Vec<u8>, room: usize) -> Result<Got, InputError> {
        loop {
            match &mut self.coding {
                Coding::Plain if self.inflated < self.raw.len() => {
                    // What was read of a stream before its coding was known.
                    out.extend_from_slice(&self.raw[self.inflated..]);
                    self.inflated = self.raw.len();
                    return Ok(Got::Data);
                }
                Coding::Plain => {
                    let before = out.len();
                    out.resize(before + room, 0);
                    let got = self.read_system(&mut out[before..]);
                    out.truncate(before + count(&got));
                    return Ok(match got? {
                        None => Got::Nothing,
                        Some(0) => self.end(),
                        Some(_) => Got::Data,
                    });
                }
                Coding::Packed { inflater, more, given } if *more || self.inflated < self.raw.len() => {
                    let before = out.len();
                    let taken = inflater.step(&self.raw[self.inflated..], out, room);
                    let n = out.len() - before;
                    *more = n == room;
                    let is_first = *given == 0;
                    *given += n as u64;
                    self.inflated += *taken.as_ref().unwrap_or(&0);
                    if is_first && sniff(&out[before..]).is_some() {
                        let (what, hint) = ("compressed twice", "decompress it once first");
                        return Err(InputError::NotText { name: self.name.clone(), what, hint });
                    }
                    match taken {
                        // What came before the damage is given first; the error comes again with the next step.
                        Err(_) if n > 0 => return Ok(Got::Data),
                        Err(e) => return Err(self.damaged(&e)),
                        Ok(_) if n > 0 => return Ok(Got::Data),
                        Ok(_) => {}
                    }
                }
                Coding::Packed { .. } => {
                    let mut raw = std::mem::take(&mut self.raw);
                    raw.resize(PIECE / 4, 0);
                    let got = self.read_system(&mut raw);
                    raw.truncate(count(&got));
                    (self.raw, self.inflated) = (raw, 0);
                    match got? {
                        None => return Ok(Got::Nothing),
                        Some(0) => return Ok(self.end()),
                        Some(_) => {}
                    }
                }
                Coding::Unknown => {
                    let len = self.raw.len();
                    let mut raw = std::mem::take(&mut self.raw);
                    raw.resize(len + PIECE / 4, 0);
                    let got = self.read_system(&mut raw[len..]);
                    raw.truncate(len + count(&got));
                    self.raw = raw;
                    match got? {
                        None => return Ok(Got::Nothing),
                        Some(0) if self.raw.is_empty() => return Ok(self.end()),
                        Some(n) => {
                            // Six bytes tell all there is to tell.
                            if self.raw.len() >= 6 || n == 0 {
                                self.coding = self.coding_of(&self.raw)?;
                            }
                        }
                    }
                }
            }
        }
    }

    fn end(&self) -> Got {
        if self.is_stream { Got::Closed } else { Got::Nothing }
    }

    /// An error if the data ends inside a compressed member.
    pub fn finish(&mut self) -> Result<(), InputError> {
        match &mut self.coding {
            Coding::Packed { inflater, .. } => inflater.finish().map_err(|e| self.damaged(&e)),
            _ => Ok(()),
        }
    }

    /// `None`: a stream with nothing ready. `Some(0)`: the end.
    fn read_system(&mut self, buf: &mut [u8]) -> Result<Option<usize>, InputError> {
        if self.is_stream && !self.is_ready(Duration::ZERO) {
            return Ok(None);
        }
        loop {
            let got = if self.is_stream { (&self.file).read(buf) } else { self.file.read_at(buf, self.at) };
            match got {
                Ok(n) => {
                    self.at += n as u64;
                    return Ok(Some(n));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) => return Err(self.unreadable(e)),
            }
        }
    }

    /// Waits until a stream has something to read, or has ended; `false` when the time is over.
    pub fn is_ready(&self, timeout: Duration) -> bool {
        let mut fd = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let millis = libc::c_int::try_from(timeout.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: one pollfd that lives through the call. An interrupted call counts as nothing ready.
        unsafe { libc::poll(&mut fd, 1, millis) > 0 }
    }

    fn unreadable(&self, source: io::Error) -> InputError {
        InputError::Read { name: self.name.clone(), at: self.at, source }
    }

    fn damaged(&self, e: &InflateError) -> InputError {
        let name = self.name.clone();
        match e {
            InflateError::Bad(what) => InputError::Damaged { name, what: what.clone() },
            InflateError::TooLarge { .. } | InflateError::Ratio { .. } => {
                InputError::Grows { name, max_ratio: self.max_ratio }
            }
        }
    }
}

/// Bytes that a read of the system gave.
fn count(got: &Result<Option<usize>, InputError>) -> usize {
    match got {
        Ok(Some(n)) => *n,
        _ => 0,
    }
}
