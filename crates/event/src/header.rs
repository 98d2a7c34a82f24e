//! The fixed binary part of a record, and after it the spans of mapped members and the values inherited from a batch.
//!
//! ```text
//! 0        1      2       4          8            16              24
//! | version | spans | flags | revision | event time | received time | watermark |
//! 32        48          56             64             72              80                 88       92
//! | id hash | type hash | visitor hash | payload hash | source offset | output hash      | source partition | source topic | inherited bytes |
//! 96
//! | spans: 8 bytes each | inherited: field u8, length u16, bytes; ... |
//! ```
//! All integers are little-endian. A header is read in place through [`HeaderRef`]; nothing is parsed ahead of need.

use crate::field::Field;
use crate::time::Micros;
use crate::topic::{Offset, TopicId};

/// Marks on a record. Bits are stored: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The id was derived from the event's position.
    pub const DERIVED: Flags = Flags(1);
    /// The id is fresh: a resend would be a new event.
    pub const AT_LEAST_ONCE: Flags = Flags(1 << 1);
    /// The event's time is more than `max_future` ahead of its receipt.
    pub const FUTURE: Flags = Flags(1 << 2);
    /// The record is a watermark, idle or end-of-input record; it has no value.
    pub const CONTROL: Flags = Flags(1 << 3);
    /// The visitor was given by the event; otherwise see `VISITOR_USER`, else it is a hash of address and agent.
    pub const VISITOR_GIVEN: Flags = Flags(1 << 4);
    /// The visitor is `user:<user>`.
    pub const VISITOR_USER: Flags = Flags(1 << 5);
    /// The visitor is the one last seen with the event's user.
    pub const VISITOR_LINKED: Flags = Flags(1 << 6);

    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

/// The record one hop up that this one was made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Source {
    /// The topic's number; `u16::MAX` for what came through a door.
    pub topic: u16,
    pub partition: u32,
    pub offset: Offset,
}

impl Source {
    /// What came through a door has no record one hop up.
    pub const DOOR: Source = Source { topic: u16::MAX, partition: 0, offset: 0 };

    pub fn of(topic: TopicId, partition: u32, offset: Offset) -> Source {
        Source { topic: topic.0, partition, offset }
    }
}

/// Where a field's JSON value (quotes included) stands in the record's value: `value[start..start + len]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub field: Field,
    pub start: u32,
    /// Below 2^24.
    pub len: u32,
}

/// A header being made. `encode` writes it; [`HeaderRef`] reads it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    pub flags: Flags,
    pub revision: u32,
    pub event_time: Micros,
    pub received_time: Micros,
    /// The watermark of `source`'s partition as its owner knew it; [`Micros::MIN`] while unknown.
    pub watermark: Micros,
    pub id_hash: u128,
    pub type_hash: u64,
    pub visitor_hash: u64,
    pub payload_hash: u64,
    pub source: Source,
    /// Rolling hash over the outputs of the stage that wrote it; not itself hashed.
    pub output_hash: u64,
    /// At most [`Field::MAX`].
    pub spans: Vec<Span>,
    /// Text values the event has from its batch, its connection or its source: (field, value), plain UTF-8, not JSON.
    pub inherited: Vec<(Field, Vec<u8>)>,
}

impl Default for Header {
    fn default() -> Header {
        Header {
            flags: Flags::default(),
            revision: 0,
            event_time: Micros(0),
            received_time: Micros(0),
            watermark: Micros::MIN,
            id_hash: 0,
            type_hash: 0,
            visitor_hash: 0,
            payload_hash: 0,
            source: Source::DOOR,
            output_hash: 0,
            spans: Vec::new(),
            inherited: Vec::new(),
        }
    }
}

const VERSION: u8 = 1;
/// Bytes before the spans.
pub const FIXED: usize = 96;
const SPAN: usize = 8;
/// Where the output hash stands.
pub(crate) const OUTPUT_HASH_AT: usize = 80;

impl Header {
    /// Appends the encoding to `out`. Inherited values are cut at 65,535 bytes (no door lets one be that long).
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(self.spans.len() <= Field::MAX);
        let inherited_bytes: usize = self.inherited.iter().map(|(_, v)| 3 + v.len().min(0xffff)).sum();
        out.reserve(FIXED + self.spans.len() * SPAN + inherited_bytes);
        out.push(VERSION);
        out.push(self.spans.len() as u8);
        out.extend_from_slice(&self.flags.0.to_le_bytes());
        out.extend_from_slice(&self.revision.to_le_bytes());
        out.extend_from_slice(&self.event_time.0.to_le_bytes());
        out.extend_from_slice(&self.received_time.0.to_le_bytes());
        out.extend_from_slice(&self.watermark.0.to_le_bytes());
        out.extend_from_slice(&self.id_hash.to_le_bytes());
        out.extend_from_slice(&self.type_hash.to_le_bytes());
        out.extend_from_slice(&self.visitor_hash.to_le_bytes());
        out.extend_from_slice(&self.payload_hash.to_le_bytes());
        out.extend_from_slice(&self.source.offset.to_le_bytes());
        out.extend_from_slice(&self.output_hash.to_le_bytes());
        out.extend_from_slice(&self.source.partition.to_le_bytes());
        out.extend_from_slice(&self.source.topic.to_le_bytes());
        out.extend_from_slice(&(inherited_bytes.min(0xffff) as u16).to_le_bytes());
        for s in &self.spans {
            out.extend_from_slice(&s.start.to_le_bytes());
            out.extend_from_slice(&((s.len << 8) | u32::from(s.field.0)).to_le_bytes());
        }
        for (field, value) in &self.inherited {
            let len = value.len().min(0xffff);
            out.push(field.0);
            out.extend_from_slice(&(len as u16).to_le_bytes());
            out.extend_from_slice(&value[..len]);
        }
    }
}

/// A header in place. Made by [`HeaderRef::new`], which checks the lengths, so that no accessor can fail.
#[derive(Clone, Copy)]
pub struct HeaderRef<'a>(&'a [u8]);

impl<'a> HeaderRef<'a> {
    /// `None` when the bytes are no header of a version this program knows.
    pub fn new(bytes: &'a [u8]) -> Option<HeaderRef<'a>> {
        if bytes.len() < FIXED || bytes[0] != VERSION {
            return None;
        }
        let h = HeaderRef(bytes);
        (bytes.len() >= FIXED + bytes[1] as usize * SPAN).then_some(h)
    }

    fn u64_at(self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("eight bytes"))
    }

    pub fn bytes(self) -> &'a [u8] {
        self.0
    }
    pub fn flags(self) -> Flags {
        Flags(u16::from_le_bytes([self.0[2], self.0[3]]))
    }
    pub fn revision(self) -> u32 {
        u32::from_le_bytes(self.0[4..8].try_into().expect("four bytes"))
    }
    pub fn event_time(self) -> Micros {
        Micros(self.u64_at(8) as i64)
    }
    pub fn received_time(self) -> Micros {
        Micros(self.u64_at(16) as i64)
    }
    pub fn watermark(self) -> Micros {
        Micros(self.u64_at(24) as i64)
    }
    pub fn id_hash(self) -> u128 {
        u128::from_le_bytes(self.0[32..48].try_into().expect("sixteen bytes"))
    }
    pub fn type_hash(self) -> u64 {
        self.u64_at(48)
    }
    pub fn visitor_hash(self) -> u64 {
        self.u64_at(56)
    }
    pub fn payload_hash(self) -> u64 {
        self.u64_at(64)
    }
    pub fn output_hash(self) -> u64 {
        self.u64_at(80)
    }
    pub fn source(self) -> Source {
        Source {
            topic: u16::from_le_bytes([self.0[92], self.0[93]]),
            partition: u32::from_le_bytes(self.0[88..92].try_into().expect("four bytes")),
            offset: self.u64_at(72),
        }
    }

    pub fn spans(self) -> impl Iterator<Item = Span> + 'a {
        self.0[FIXED..FIXED + self.0[1] as usize * SPAN].chunks_exact(SPAN).map(|c| {
            let start = u32::from_le_bytes(c[..4].try_into().expect("four bytes"));
            let packed = u32::from_le_bytes(c[4..].try_into().expect("four bytes"));
            Span { field: Field(packed as u8), start, len: packed >> 8 }
        })
    }

    pub fn inherited(self) -> impl Iterator<Item = (Field, &'a [u8])> + 'a {
        let mut rest = &self.0[FIXED + self.0[1] as usize * SPAN..];
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_at_checked(3)?;
            let (value, tail) = tail.split_at_checked(u16::from_le_bytes([head[1], head[2]]) as usize)?;
            rest = tail;
            Some((Field(head[0]), value))
        })
    }

    /// The JSON text of a mapped member of `value` (a string has its quotes); `None` if the event does not have it.
    pub fn json(self, field: Field, value: &[u8]) -> Option<&[u8]> {
        let s = self.spans().find(|s| s.field == field)?;
        value.get(s.start as usize..s.start as usize + s.len as usize)
    }

    /// The value inherited for a field, if any.
    pub fn inherited_value(self, field: Field) -> Option<&'a [u8]> {
        self.inherited().find(|(f, _)| *f == field).map(|(_, v)| v)
    }

    /// All of the header as an owned value, for a stage that makes the next record from it.
    pub fn to_header(self) -> Header {
        Header {
            flags: self.flags(),
            revision: self.revision(),
            event_time: self.event_time(),
            received_time: self.received_time(),
            watermark: self.watermark(),
            id_hash: self.id_hash(),
            type_hash: self.type_hash(),
            visitor_hash: self.visitor_hash(),
            payload_hash: self.payload_hash(),
            source: self.source(),
            output_hash: self.output_hash(),
            spans: self.spans().collect(),
            inherited: self.inherited().map(|(f, v)| (f, v.to_vec())).collect(),
        }
    }
}

/// Rewrites, in an encoded header, what differs between an event and its enriched form, leaving spans and inherited
/// values as they are: the hot path's way to make the next record's header with one copy.
pub fn patch(encoded: &mut [u8], source: Source, watermark: Micros, output_hash: u64) {
    encoded[24..32].copy_from_slice(&watermark.0.to_le_bytes());
    encoded[72..80].copy_from_slice(&source.offset.to_le_bytes());
    encoded[80..88].copy_from_slice(&output_hash.to_le_bytes());
    encoded[88..92].copy_from_slice(&source.partition.to_le_bytes());
    encoded[92..94].copy_from_slice(&source.topic.to_le_bytes());
}

/// Rewrites whose event it is: an event with a user alone that was linked to a visitor.
pub fn patch_visitor(encoded: &mut [u8], flags: Flags, visitor_hash: u64) {
    encoded[2..4].copy_from_slice(&flags.0.to_le_bytes());
    encoded[56..64].copy_from_slice(&visitor_hash.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            flags: Flags(0b10010),
            revision: 3,
            event_time: Micros(-5),
            received_time: Micros(7),
            watermark: Micros(9),
            id_hash: u128::MAX - 4,
            type_hash: 11,
            visitor_hash: 12,
            payload_hash: 13,
            source: Source { topic: 2, partition: 70_000, offset: u64::MAX - 1 },
            output_hash: 14,
            spans: vec![
                Span { field: Field::TYPE, start: 1, len: 4 },
                Span { field: Field(31), start: u32::MAX, len: (1 << 24) - 1 },
            ],
            inherited: vec![(Field::SOURCE, b"web".to_vec()), (Field::IP, b"".to_vec())],
        }
    }

    #[test]
    fn a_header_reads_back_as_written() {
        let h = sample();
        let mut bytes = Vec::new();
        h.encode(&mut bytes);
        assert_eq!(HeaderRef::new(&bytes).expect("a header").to_header(), h);
        assert!(HeaderRef::new(&bytes[..FIXED]).is_none(), "cut spans are no header");
        assert!(HeaderRef::new(b"").is_none());
    }

    #[test]
    fn a_patched_header_equals_one_made_anew() {
        let mut h = sample();
        let mut bytes = Vec::new();
        h.encode(&mut bytes);
        let source = Source { topic: 0, partition: 5, offset: 99 };
        patch(&mut bytes, source, Micros(1), 2);
        patch_visitor(&mut bytes, Flags::VISITOR_LINKED, 77);
        h.flags = Flags::VISITOR_LINKED;
        h.visitor_hash = 77;
        h.source = source;
        h.watermark = Micros(1);
        h.output_hash = 2;
        assert_eq!(HeaderRef::new(&bytes).expect("a header").to_header(), h);
    }
}
