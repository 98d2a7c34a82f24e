//! What is known about a segment without reading it: where the blocks of each partition begin, sparsely, and what it
//! holds. A sealed segment has it beside itself in an `.idx` file; that file is a shortcut, and made again when it is
//! missing or bad.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use event::{Micros, Offset, TopicId, TopicPartition};
use seam::Fs;

use super::frame::{ALIGN, Checkpoint, Cut, Frame};

/// Bytes of a segment that one entry of a partition stands for at most: what a reader skims to find a record.
pub(super) const STRIDE: u64 = 1 << 20;

/// Where the first block at or after an offset may be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Spot {
    pub base: Offset,
    /// Position of the frame in units of [`ALIGN`]: half the memory, and room for segments of 2 TiB.
    at: u32,
}

impl Spot {
    pub fn at(self) -> u64 {
        u64::from(self.at) * ALIGN
    }
}

/// A partition's part in a segment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct PartIndex {
    /// What the segment's first frame says retention has passed.
    pub floor: Offset,
    /// The partition's end before this segment, and after it.
    pub start: Offset,
    pub end: Offset,
    pub records: u64,
    pub spots: Vec<Spot>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SegmentIndex {
    pub number: u64,
    pub covers: u64,
    pub revision: u32,
    pub rewritten: bool,
    pub first_seq: u64,
    /// 0: no frame yet.
    pub last_seq: u64,
    pub first_written: Micros,
    pub last_written: Micros,
    /// Where the frames end.
    pub end: u64,
    pub parts: BTreeMap<TopicPartition, PartIndex>,
    pub topic_bytes: BTreeMap<TopicId, u64>,
}

impl SegmentIndex {
    pub fn new(number: u64) -> SegmentIndex {
        SegmentIndex {
            number,
            covers: number,
            revision: 0,
            rewritten: false,
            first_seq: 0,
            last_seq: 0,
            first_written: Micros(0),
            last_written: Micros(0),
            end: 0,
            parts: BTreeMap::new(),
            topic_bytes: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Takes in the frame that stands at [`SegmentIndex::end`].
    pub fn add(&mut self, frame: &Frame) -> Result<(), &'static str> {
        self.begin(frame.seq, frame.written, frame.checkpoint.as_ref())?;
        for e in &frame.entries {
            self.add_block(e.tp, e.base, e.count, e.len)?;
        }
        self.finish(frame.seq, frame.written, frame.size());
        Ok(())
    }

    /// The first of three steps of [`SegmentIndex::add`], for the writer, who has no [`Frame`].
    pub fn begin(&mut self, seq: u64, written: Micros, checkpoint: Option<&Checkpoint>) -> Result<(), &'static str> {
        match (self.is_empty(), checkpoint) {
            (true, Some(c)) => {
                if c.number != self.number || c.covers < c.number {
                    return Err("the segment's first frame names another segment");
                }
                self.covers = c.covers;
                self.revision = c.revision;
                self.rewritten = c.rewritten;
                self.first_seq = seq;
                self.first_written = written;
                for s in &c.standings {
                    let part = PartIndex { floor: s.start, start: s.end, end: s.end, ..PartIndex::default() };
                    self.parts.insert(s.tp, part);
                }
                Ok(())
            }
            (true, None) => Err("the segment's first frame does not say where partitions stand"),
            (false, Some(_)) => Err("a segment's first frame stands inside it"),
            (false, None) if self.rewritten && seq > self.last_seq => Ok(()),
            (false, None) if seq == self.last_seq + 1 => Ok(()),
            (false, None) => Err("the frame's sequence number does not follow the one before it"),
        }
    }

    pub fn add_block(&mut self, tp: TopicPartition, base: Offset, count: u32, len: u32) -> Result<(), &'static str> {
        let part = self.parts.entry(tp).or_default();
        if base < part.end {
            return Err("offsets go back");
        }
        let at = self.end;
        if part.spots.last().is_none_or(|s| at >= s.at() + STRIDE) {
            part.spots.push(Spot { base, at: (at / ALIGN) as u32 });
        }
        part.end = base.saturating_add(Offset::from(count));
        part.records += u64::from(count);
        *self.topic_bytes.entry(tp.topic).or_default() += u64::from(len);
        Ok(())
    }

    pub fn finish(&mut self, seq: u64, written: Micros, size: u64) {
        self.last_seq = seq;
        self.last_written = written;
        self.end += size;
    }

    /// Bytes of blocks of the topics for which `live` says yes.
    pub fn bytes_of(&self, live: impl Fn(TopicId) -> bool) -> u64 {
        self.topic_bytes.iter().filter(|(t, _)| live(**t)).map(|(_, n)| n).sum()
    }
}

const MAGIC: &[u8; 8] = b"OZIDX 1\n";

/// Reads the index file at `path`; `None` when there is none that can be trusted.
pub(super) fn load(fs: &dyn Fs, path: &Path, salt: u64) -> Option<SegmentIndex> {
    let file = fs.open_read(path).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
    file.read_exact_at(&mut bytes, 0).ok()?;
    decode(&bytes, salt)
}

pub(super) fn store(fs: &dyn Fs, path: &Path, salt: u64, index: &SegmentIndex) -> io::Result<()> {
    seam::fs::write_atomically(fs, path, &encode(index, salt))
}

fn encode(x: &SegmentIndex, salt: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[0; 4]);
    for n in [
        salt,
        x.number,
        x.covers,
        u64::from(x.revision),
        u64::from(x.rewritten),
        x.first_seq,
        x.last_seq,
        x.first_written.0 as u64,
        x.last_written.0 as u64,
        x.end,
        x.parts.len() as u64,
        x.topic_bytes.len() as u64,
    ] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    for (tp, p) in &x.parts {
        out.extend_from_slice(&tp.topic.0.to_le_bytes());
        out.extend_from_slice(&tp.partition.to_le_bytes());
        for n in [p.floor, p.start, p.end, p.records, p.spots.len() as u64] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for s in &p.spots {
            out.extend_from_slice(&s.base.to_le_bytes());
            out.extend_from_slice(&s.at.to_le_bytes());
        }
    }
    for (topic, bytes) in &x.topic_bytes {
        out.extend_from_slice(&topic.0.to_le_bytes());
        out.extend_from_slice(&bytes.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[12..]);
    out[8..12].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode(bytes: &[u8], salt: u64) -> Option<SegmentIndex> {
    let mut c = Cut(bytes);
    if c.bytes(8)? != MAGIC || c.u32()? != crc32c::crc32c(bytes.get(12..)?) || c.u64()? != salt {
        return None;
    }
    let mut x = SegmentIndex::new(c.u64()?);
    x.covers = c.u64()?;
    x.revision = c.u64()? as u32;
    x.rewritten = c.u64()? != 0;
    x.first_seq = c.u64()?;
    x.last_seq = c.u64()?;
    x.first_written = Micros(c.u64()? as i64);
    x.last_written = Micros(c.u64()? as i64);
    x.end = c.u64()?;
    let (parts, topics) = (c.u64()?, c.u64()?);
    for _ in 0..parts {
        let tp = c.tp()?;
        let mut p = PartIndex { floor: c.u64()?, start: c.u64()?, end: c.u64()?, records: c.u64()?, spots: Vec::new() };
        for _ in 0..c.u64()? {
            p.spots.push(Spot { base: c.u64()?, at: c.u32()? });
        }
        x.parts.insert(tp, p);
    }
    for _ in 0..topics {
        x.topic_bytes.insert(TopicId(c.u16()?), c.u64()?);
    }
    c.0.is_empty().then_some(x)
}

#[cfg(test)]
mod tests {
    use super::super::frame::Standing;
    use super::*;

    #[test]
    fn an_index_reads_back_and_a_cut_or_flipped_one_is_not_trusted() {
        let tp = TopicId(0).partition(1);
        let mut x = SegmentIndex::new(5);
        let c = Checkpoint {
            number: 5,
            covers: 6,
            revision: 2,
            rewritten: true,
            standings: vec![Standing { tp, start: 0, end: 10 }],
        };
        x.begin(3, Micros(1), Some(&c)).expect("first");
        x.add_block(tp, 12, 4, 100).expect("block");
        x.finish(3, Micros(1), 2 * STRIDE);
        x.begin(5, Micros(2), None).expect("second");
        x.add_block(tp, 16, 4, 100).expect("block");
        x.finish(5, Micros(2), ALIGN);
        let bytes = encode(&x, 7);
        assert_eq!(decode(&bytes, 7).as_ref(), Some(&x));
        assert_eq!(decode(&bytes, 8), None);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], 7), None);
            let mut bad = bytes.clone();
            bad[cut] ^= 0x10;
            assert_eq!(decode(&bad, 7), None, "byte {cut}");
        }
    }
}
