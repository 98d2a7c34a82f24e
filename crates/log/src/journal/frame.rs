//! A frame: what one group commit is on disk. It is whole or it is not there, and that makes commits atomic.
//!
//! ```text
//! 0        64            64+meta                  next multiple of 512
//! | header | meta        | body: block block ...  | zeros |
//!            directory of blocks (with their checksums), positions, and in the first frame of a segment: which
//!            segments the file stands for, and where every partition stood before it
//! ```
//! The header's checksum covers the header, the meta's covers the directory, and the directory covers each block: so a
//! reader of one partition reads and checks its own blocks only. Frames begin at multiples of 512, the unit a disk
//! writes whole: writing a frame never rewrites a sector of a frame that was synced before.

use std::io;

use bytes::Bytes;
use event::{Micros, Offset, TopicId, TopicPartition};
use seam::File;

use crate::contract::{Input, METADATA_MAX, Position};

pub(super) const ALIGN: u64 = 512;
pub(super) const HEADER: usize = 64;
const MAGIC: [u8; 4] = *b"OZJ1";

/// One directory entry: topic 2, partition 4, base 8, count 4, length 4, checksum 4.
const ENTRY: usize = 26;
/// One standing: topic 2, partition 4, start 8, end 8.
const STANDING: usize = 22;

/// The first frame of a segment; its meta says where every partition and position stood.
const CHECKPOINT: u16 = 1;
/// Retention or repair wrote this segment anew: its sequence numbers have gaps. Only beside CHECKPOINT.
const REWRITTEN: u16 = 2;

/// Where one block is in a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub tp: TopicPartition,
    pub base: Offset,
    pub count: u32,
    pub len: u32,
    pub crc: u32,
}

impl Entry {
    pub fn next(&self) -> Offset {
        self.base.saturating_add(Offset::from(self.count))
    }
}

/// What the first frame of a segment says about all before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Checkpoint {
    /// The segment's own number, so that a file under a wrong name is found out.
    pub number: u64,
    /// The last of the segments this file stands for; `number` unless retention merged some.
    pub covers: u64,
    /// How often this segment was written anew.
    pub revision: u32,
    pub rewritten: bool,
    /// All partitions before this frame, in order.
    pub standings: Vec<Standing>,
}

/// Where a partition stood before a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    pub tp: TopicPartition,
    /// Retention has passed all below this, here and in older segments.
    pub start: Offset,
    pub end: Offset,
}

/// A frame without its body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    pub seq: u64,
    pub written: Micros,
    pub entries: Vec<Entry>,
    pub positions: Vec<Position>,
    pub checkpoint: Option<Checkpoint>,
    pub meta_len: u32,
    pub body_len: u32,
}

impl Frame {
    /// Bytes from the frame's begin to its first block.
    pub fn body_at(&self) -> u64 {
        HEADER as u64 + u64::from(self.meta_len)
    }

    /// Bytes the frame takes in the file.
    pub fn size(&self) -> u64 {
        (self.body_at() + u64::from(self.body_len)).next_multiple_of(ALIGN)
    }

    /// The blocks with where each begins, counted from the frame's begin.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let mut at = self.body_at();
        self.entries.iter().map(move |e| {
            let begin = at;
            at += u64::from(e.len);
            (begin, e)
        })
    }
}

/// Zeros between a body of this many bytes after `meta` bytes of meta and the next frame.
pub(super) fn padding(head: usize, body: usize) -> usize {
    let len = head as u64 + body as u64;
    (len.next_multiple_of(ALIGN) - len) as usize
}

fn put_position(out: &mut Vec<u8>, p: &Position) {
    out.extend_from_slice(&(p.group.len() as u16).to_le_bytes());
    out.extend_from_slice(p.group.as_bytes());
    match &p.input {
        Input::Topic(tp) => {
            out.push(0);
            out.extend_from_slice(&tp.topic.0.to_le_bytes());
            out.extend_from_slice(&tp.partition.to_le_bytes());
        }
        Input::External(name) => {
            out.push(1);
            out.extend_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        }
    }
    out.extend_from_slice(&p.next.to_le_bytes());
    out.extend_from_slice(&(p.metadata.len() as u16).to_le_bytes());
    out.extend_from_slice(&p.metadata);
}

/// Writes header and meta into `out` (cleared first). The body follows it in the file, then [`padding`] zeros.
pub(super) fn encode<'a>(
    out: &mut Vec<u8>,
    salt: u64,
    seq: u64,
    written: Micros,
    entries: &[Entry],
    positions: impl Iterator<Item = &'a Position>,
    checkpoint: Option<&Checkpoint>,
) {
    out.clear();
    out.resize(HEADER, 0);
    for e in entries {
        put_tp(out, e.tp);
        out.extend_from_slice(&e.base.to_le_bytes());
        out.extend_from_slice(&e.count.to_le_bytes());
        out.extend_from_slice(&e.len.to_le_bytes());
        out.extend_from_slice(&e.crc.to_le_bytes());
    }
    let mut position_count = 0u32;
    for p in positions {
        put_position(out, p);
        position_count += 1;
    }
    let mut flags = 0;
    if let Some(c) = checkpoint {
        flags = CHECKPOINT | if c.rewritten { REWRITTEN } else { 0 };
        out.extend_from_slice(&c.number.to_le_bytes());
        out.extend_from_slice(&c.covers.to_le_bytes());
        for s in &c.standings {
            put_tp(out, s.tp);
            out.extend_from_slice(&s.start.to_le_bytes());
            out.extend_from_slice(&s.end.to_le_bytes());
        }
    }
    let meta_len = (out.len() - HEADER) as u32;
    let meta_crc = crc32c::crc32c(&out[HEADER..]);
    let body_len: u32 = entries.iter().map(|e| e.len).sum();
    let h = &mut out[..HEADER];
    h[0..4].copy_from_slice(&MAGIC);
    h[8..16].copy_from_slice(&salt.to_le_bytes());
    h[16..24].copy_from_slice(&seq.to_le_bytes());
    h[24..32].copy_from_slice(&written.0.to_le_bytes());
    h[32..36].copy_from_slice(&meta_len.to_le_bytes());
    h[36..40].copy_from_slice(&meta_crc.to_le_bytes());
    h[40..44].copy_from_slice(&body_len.to_le_bytes());
    h[44..48].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    h[48..52].copy_from_slice(&position_count.to_le_bytes());
    h[52..56].copy_from_slice(&checkpoint.map_or(0, |c| c.standings.len() as u32).to_le_bytes());
    h[56..58].copy_from_slice(&flags.to_le_bytes());
    h[60..64].copy_from_slice(&checkpoint.map_or(0, |c| c.revision).to_le_bytes());
    let crc = crc32c::crc32c(&h[8..]);
    h[4..8].copy_from_slice(&crc.to_le_bytes());
}

fn put_tp(out: &mut Vec<u8>, tp: TopicPartition) {
    out.extend_from_slice(&tp.topic.0.to_le_bytes());
    out.extend_from_slice(&tp.partition.to_le_bytes());
}

/// Reads plain values off the front of a slice; `None` when it is too short.
pub(super) struct Cut<'a>(pub &'a [u8]);

impl<'a> Cut<'a> {
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }

    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    pub fn tp(&mut self) -> Option<TopicPartition> {
        Some(TopicPartition { topic: TopicId(self.u16()?), partition: self.u32()? })
    }

    fn text(&mut self) -> Option<&'a str> {
        let n = self.u16()? as usize;
        std::str::from_utf8(self.bytes(n)?).ok()
    }

    fn position(&mut self) -> Option<Position> {
        let group = self.text()?.into();
        let input = match self.bytes(1)? {
            [0] => Input::Topic(self.tp()?),
            [1] => Input::External(self.text()?.into()),
            _ => return None,
        };
        let next = self.u64()?;
        let n = self.u16()? as usize;
        if n > METADATA_MAX {
            return None;
        }
        Some(Position { group, input, next, metadata: Bytes::copy_from_slice(self.bytes(n)?) })
    }
}

/// The header alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub seq: u64,
    written: i64,
    pub meta_len: u32,
    meta_crc: u32,
    body_len: u32,
    blocks: u32,
    positions: u32,
    standings: u32,
    flags: u16,
    pub revision: u32,
}

/// A header of this journal, with a right checksum.
pub(super) fn header(bytes: &[u8], salt: u64) -> Result<Header, &'static str> {
    let Some(h) = bytes.first_chunk::<HEADER>() else { return Err("the file ends inside a frame's header") };
    if h[..4] != MAGIC {
        return Err("no frame begins here");
    }
    if crc32c::crc32c(&h[8..]).to_le_bytes() != h[4..8] {
        return Err("the checksum of the frame's header is wrong");
    }
    let mut c = Cut(&h[8..]);
    let read = (|| {
        if c.u64()? != salt {
            return None;
        }
        Some(Header {
            seq: c.u64()?,
            written: c.u64()? as i64,
            meta_len: c.u32()?,
            meta_crc: c.u32()?,
            body_len: c.u32()?,
            blocks: c.u32()?,
            positions: c.u32()?,
            standings: c.u32()?,
            flags: {
                let flags = c.u16()?;
                c.u16()?;
                flags
            },
            revision: c.u32()?,
        })
    })();
    read.ok_or("the frame belongs to another journal")
}

/// The meta of a frame whose header is `h`.
pub(super) fn meta(h: &Header, bytes: &[u8]) -> Result<Frame, &'static str> {
    if crc32c::crc32c(bytes) != h.meta_crc {
        return Err("the checksum of the frame's directory is wrong");
    }
    decode_meta(h, bytes).ok_or("the frame's directory cannot be read")
}

fn decode_meta(h: &Header, bytes: &[u8]) -> Option<Frame> {
    // The counts are covered by a checksum, but nothing is reserved on their word alone.
    if h.blocks as usize > bytes.len() / ENTRY || h.standings as usize > bytes.len() / STANDING {
        return None;
    }
    let mut c = Cut(bytes);
    let mut entries = Vec::with_capacity(h.blocks as usize);
    let mut body = 0u64;
    for _ in 0..h.blocks {
        let e = Entry { tp: c.tp()?, base: c.u64()?, count: c.u32()?, len: c.u32()?, crc: c.u32()? };
        body += u64::from(e.len);
        entries.push(e);
    }
    if body != u64::from(h.body_len) {
        return None;
    }
    let mut positions = Vec::new();
    for _ in 0..h.positions {
        positions.push(c.position()?);
    }
    let checkpoint = if h.flags & CHECKPOINT == 0 {
        None
    } else {
        let (number, covers) = (c.u64()?, c.u64()?);
        let mut standings = Vec::with_capacity(h.standings as usize);
        for _ in 0..h.standings {
            standings.push(Standing { tp: c.tp()?, start: c.u64()?, end: c.u64()? });
        }
        Some(Checkpoint { number, covers, revision: h.revision, rewritten: h.flags & REWRITTEN != 0, standings })
    };
    c.0.is_empty().then_some(Frame {
        seq: h.seq,
        written: Micros(h.written),
        entries,
        positions,
        checkpoint,
        meta_len: h.meta_len,
        body_len: h.body_len,
    })
}

/// A part of a file in memory, read again when something outside it is asked for.
pub(super) struct Window<'a> {
    file: &'a dyn File,
    buf: Vec<u8>,
    start: u64,
    /// Bytes to read at once.
    chunk: usize,
}

impl<'a> Window<'a> {
    pub fn new(file: &'a dyn File, chunk: usize) -> Window<'a> {
        Window { file, buf: Vec::new(), start: 0, chunk }
    }

    /// The bytes from `at` on; fewer than `len` only at the end of the file.
    pub fn get(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let end = self.start + self.buf.len() as u64;
        if at < self.start || at + len as u64 > end {
            let want = len.max(self.chunk);
            self.buf.resize(want, 0);
            let mut got = 0;
            while got < want {
                match self.file.read_at(&mut self.buf[got..], at + got as u64)? {
                    0 => break,
                    n => got += n,
                }
            }
            self.buf.truncate(got);
            self.start = at;
        }
        let from = (at - self.start) as usize;
        Ok(&self.buf[from..(from + len).min(self.buf.len())])
    }

    /// Whether `[at, at + len)` is in memory now.
    pub fn holds(&self, at: u64, len: usize) -> bool {
        at >= self.start && at + len as u64 <= self.start + self.buf.len() as u64
    }

    /// The frame at `at`, its body unread; `Err` says what is wrong there.
    pub fn frame(&mut self, at: u64, salt: u64) -> io::Result<Result<Frame, &'static str>> {
        let h = match header(self.get(at, HEADER)?, salt) {
            Ok(h) => h,
            Err(what) => return Ok(Err(what)),
        };
        let len = h.meta_len as usize;
        // Even a header with a right checksum is not believed about a length the file does not have.
        if len > self.chunk && at + HEADER as u64 + len as u64 > self.file.len()? {
            return Ok(Err("the file ends inside a frame"));
        }
        Ok(meta(&h, self.get(at + HEADER as u64, len)?))
    }

    /// The first entry of the frame whose bytes are not what was written.
    pub fn bad_block<'f>(&mut self, at: u64, frame: &'f Frame) -> io::Result<Option<(u64, &'f Entry)>> {
        for (begin, e) in frame.blocks() {
            if e.len as usize > self.chunk && at + begin + u64::from(e.len) > self.file.len()? {
                return Ok(Some((at + begin, e)));
            }
            let bytes = self.get(at + begin, e.len as usize)?;
            if bytes.len() < e.len as usize || crc32c::crc32c(bytes) != e.crc {
                return Ok(Some((at + begin, e)));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded_and_any_flipped_bit_is_noticed() {
        let tp = TopicId(1).partition(2);
        let entries = [Entry { tp, base: 7, count: 2, len: 10, crc: 99 }];
        let positions = [
            Position { group: "enrich".into(), input: Input::Topic(tp), next: 5, metadata: Bytes::from_static(b"m") },
            Position { group: "in".into(), input: Input::External("file:x".into()), next: 6, metadata: Bytes::new() },
        ];
        let c = Checkpoint {
            number: 3,
            covers: 4,
            revision: 1,
            rewritten: true,
            standings: vec![Standing { tp, start: 3, end: 7 }],
        };
        let mut out = Vec::new();
        encode(&mut out, 42, 9, Micros(1), &entries, positions.iter(), Some(&c));
        let h = header(&out, 42).expect("a header");
        let f = meta(&h, &out[HEADER..]).expect("a directory");
        assert_eq!(
            (f.seq, &f.entries[..], &f.positions[..], f.checkpoint.as_ref()),
            (9, &entries[..], &positions[..], Some(&c))
        );
        assert!(header(&out, 43).is_err());
        for bit in 0..out.len() * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read = header(&bad, 42)
                .and_then(|h| meta(&h, bad.get(HEADER..HEADER + h.meta_len as usize).unwrap_or_default()));
            assert!(read.is_err(), "bit {bit}");
        }
    }

    /// A directory nobody should have written, under a right checksum, is an error and not a panic.
    #[test]
    fn any_directory_is_read_or_refused() {
        let mut random = 1u64;
        let mut next = || {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as u32
        };
        let (mut read, mut refused) = (0, 0);
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..next() % 120).map(|_| if next() % 3 == 0 { next() as u8 } else { 0 }).collect();
            let h = Header {
                seq: 1,
                written: 0,
                meta_len: bytes.len() as u32,
                meta_crc: crc32c::crc32c(&bytes),
                body_len: next() % 2 * next(),
                blocks: next() % 4,
                positions: next() % 4,
                standings: next() % 4,
                flags: next() as u16 & 3,
                revision: 0,
            };
            match meta(&h, &bytes) {
                Ok(frame) => {
                    read += 1;
                    let mut index = crate::journal::index::SegmentIndex::new(0);
                    let _ = index.add(&frame);
                }
                Err(_) => refused += 1,
            }
        }
        assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
    }
}
