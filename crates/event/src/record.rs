//! A record = key, header, JSON bytes; and a block, the run of records of one partition that the log stores as it is.
//!
//! ```text
//! record: | length u32 | key length u16 | header length u16 | value length u32, MAX = no value | key | header | value |
//! ```
//! `length` counts what follows it. Offsets are not in the records: a block has a base offset and its records follow
//! one another.

use bytes::Bytes;

use crate::header::{HeaderRef, OUTPUT_HASH_AT};
use crate::topic::{Offset, TopicPartition};

/// A record in place.
#[derive(Clone, Copy)]
pub struct RecordRef<'a> {
    pub key: &'a [u8],
    /// Encoded; see [`RecordRef::header`].
    pub header_bytes: &'a [u8],
    /// `None` for control records and tombstones.
    pub value: Option<&'a [u8]>,
}

impl<'a> RecordRef<'a> {
    pub fn header(&self) -> Option<HeaderRef<'a>> {
        HeaderRef::new(self.header_bytes)
    }
}

const PREFIX: usize = 12;
const NO_VALUE: u32 = u32::MAX;

/// Records of one partition on their way into the log, encoded.
#[derive(Clone, Debug)]
pub struct Block {
    pub to: TopicPartition,
    pub count: u32,
    pub bytes: Bytes,
}

/// Encodes records into a [`Block`].
#[derive(Debug)]
pub struct BlockBuilder {
    to: TopicPartition,
    count: u32,
    bytes: Vec<u8>,
}

impl BlockBuilder {
    pub fn new(to: TopicPartition) -> BlockBuilder {
        BlockBuilder { to, count: 0, bytes: Vec::new() }
    }

    /// Appends one record whose value is given in parts (so that a splice is one copy); `None` = no value.
    ///
    /// Key and header must be shorter than 64 KiB, the value shorter than 4 GiB; the doors' limits see to it.
    pub fn push(&mut self, key: &[u8], header: &[u8], value: Option<&[&[u8]]>) {
        let value_len = value.map_or(0, |parts| parts.iter().map(|p| p.len()).sum::<usize>());
        assert!(key.len() <= 0xffff && header.len() <= 0xffff, "a key or header over 64 KiB passed the doors");
        let len = PREFIX - 4 + key.len() + header.len() + value_len;
        self.bytes.reserve(4 + len);
        self.bytes.extend_from_slice(&(len as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
        let stored_len = if value.is_some() { value_len as u32 } else { NO_VALUE };
        self.bytes.extend_from_slice(&stored_len.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(header);
        for part in value.unwrap_or_default() {
            self.bytes.extend_from_slice(part);
        }
        self.count += 1;
    }

    /// As [`BlockBuilder::push`], with the output hash of the header made from the record's encoded bytes (hash field
    /// zero) by `hash`; gives the hash.
    pub fn push_hashed(
        &mut self,
        key: &[u8],
        header: &[u8],
        value: Option<&[&[u8]]>,
        hash: impl FnOnce(&[u8]) -> u64,
    ) -> u64 {
        let start = self.bytes.len();
        self.push(key, header, value);
        let field = start + PREFIX + key.len() + OUTPUT_HASH_AT;
        self.bytes[field..field + 8].fill(0);
        let hash = hash(&self.bytes[start..]);
        self.bytes[field..field + 8].copy_from_slice(&hash.to_le_bytes());
        hash
    }

    /// Cuts back to an earlier `count` and `len`.
    pub fn truncate(&mut self, count: u32, len: usize) {
        self.count = count;
        self.bytes.truncate(len);
    }

    pub fn to(&self) -> TopicPartition {
        self.to
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Makes room for `bytes` more, so that a batch of known size is built without growing.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Encoded bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn finish(self) -> Block {
        Block { to: self.to, count: self.count, bytes: self.bytes.into() }
    }
}

/// A block whose bytes are not records. The log's checksums stand before this, so it means a bug or a newer writer.
#[derive(Debug, PartialEq, Eq)]
pub struct BlockError {
    /// Byte at which the record that could not be read begins.
    pub at: usize,
}

impl std::fmt::Display for BlockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the block cannot be read from its byte {} on", self.at)
    }
}

impl std::error::Error for BlockError {}

/// Reads the records of an encoded block in order; after an error it ends.
pub fn records(block: &[u8]) -> Records<'_> {
    Records { block, at: 0 }
}

pub struct Records<'a> {
    block: &'a [u8],
    at: usize,
}

impl Records<'_> {
    /// Where the next record begins: bytes before it may be skipped by slicing the block there.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, BlockError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.block.len() {
            return None;
        }
        let at = self.at;
        match read_record(&self.block[at..]) {
            Some((record, len)) => {
                self.at = at + len;
                Some(Ok(record))
            }
            None => {
                self.at = self.block.len();
                Some(Err(BlockError { at }))
            }
        }
    }
}

fn read_record(bytes: &[u8]) -> Option<(RecordRef<'_>, usize)> {
    let prefix: &[u8; PREFIX] = bytes.first_chunk()?;
    let len = u32::from_le_bytes(prefix[..4].try_into().expect("four bytes")) as usize;
    let key_len = u16::from_le_bytes([prefix[4], prefix[5]]) as usize;
    let header_len = u16::from_le_bytes([prefix[6], prefix[7]]) as usize;
    let value_len = u32::from_le_bytes(prefix[8..].try_into().expect("four bytes"));
    let body = bytes.get(PREFIX..4usize.checked_add(len)?)?;
    let (key, rest) = body.split_at_checked(key_len)?;
    let (header_bytes, rest) = rest.split_at_checked(header_len)?;
    let value = if value_len == NO_VALUE {
        rest.is_empty().then_some(None)?
    } else {
        (rest.len() == value_len as usize).then_some(Some(rest))?
    };
    Some((RecordRef { key, header_bytes, value }, 4 + len))
}

/// A run of committed records with consecutive offsets, as a log gives it to a reader.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub base: Offset,
    pub count: u32,
    pub bytes: Bytes,
}

impl Chunk {
    /// The offset after the last record.
    pub fn next(&self) -> Offset {
        self.base + Offset::from(self.count)
    }

    pub fn records(&self) -> impl Iterator<Item = Result<(Offset, RecordRef<'_>), BlockError>> {
        (self.base..).zip(records(&self.bytes)).map(|(offset, r)| r.map(|r| (offset, r)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::RAW;

    #[test]
    fn records_read_back_as_pushed() {
        let mut b = BlockBuilder::new(RAW.partition(3));
        b.push(b"k", b"head", Some(&[b"{\"a\":", b"1}"]));
        b.push(b"", b"", None);
        b.push(b"k2", b"", Some(&[]));
        let block = b.finish();
        let got: Vec<_> = records(&block.bytes).map(|r| r.expect("a record")).collect();
        assert_eq!(block.count, 3);
        assert_eq!((got[0].key, got[0].header_bytes, got[0].value), (&b"k"[..], &b"head"[..], Some(&b"{\"a\":1}"[..])));
        assert_eq!((got[1].key, got[1].value), (&b""[..], None));
        assert_eq!((got[2].key, got[2].value), (&b"k2"[..], Some(&b""[..])));
    }

    #[test]
    fn any_cut_of_a_block_is_an_error_or_a_shorter_block() {
        let mut b = BlockBuilder::new(RAW.partition(0));
        b.push(b"key", b"header", Some(&[b"value"]));
        b.push(b"key", b"header", Some(&[b"value"]));
        let block = b.finish();
        for cut in 0..block.bytes.len() {
            let whole = records(&block.bytes[..cut]).take_while(Result::is_ok).count();
            assert_eq!(whole, usize::from(cut >= block.bytes.len() / 2), "cut at {cut}");
        }
    }
}
