//! Records of one input partition, in order. A batch is a unit of I/O only: any cutting gives the same result (L11).

use std::sync::LazyLock;

use event::header::{Header, HeaderRef};
use event::record::{Chunk, RecordRef, records};
use event::{Micros, Offset, TopicPartition};

use crate::operator::Verdict;

/// A batch with, for each record, what reading it in position order decided.
pub struct Batch {
    pub input: TopicPartition,
    /// The driver's time when the batch was read: a fact for recording stages, not to be used by deterministic ones.
    pub at: Micros,
    chunks: Vec<Chunk>,
    entries: Vec<Place>,
    /// The offset after the last record.
    pub next: Offset,
}

/// That of a record that has none.
static NO_HEADER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    Header::default().encode(&mut bytes);
    bytes
});

struct Place {
    chunk: u32,
    start: u32,
    offset: Offset,
    verdict: Verdict,
}

/// One record of a batch.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub offset: Offset,
    pub record: RecordRef<'a>,
    pub header: HeaderRef<'a>,
    pub verdict: Verdict,
}

impl Batch {
    /// Makes a batch of the records below `until`, calling `judge` once for each in order; not for those that somebody else
    /// wrote, which have an empty header here.
    ///
    /// # Errors
    /// The offset of the first record that cannot be read: the log's checksums held, so it was written wrong.
    pub fn read(
        input: TopicPartition,
        at: Micros,
        chunks: Vec<Chunk>,
        until: Option<Offset>,
        mut judge: impl FnMut(Offset, &RecordRef<'_>, HeaderRef<'_>) -> Verdict,
    ) -> Result<Batch, Offset> {
        let mut entries = Vec::with_capacity(chunks.iter().map(|c| c.count as usize).sum());
        let mut next = 0;
        'chunks: for (c, chunk) in chunks.iter().enumerate() {
            let mut all = records(&chunk.bytes);
            let mut offset = chunk.base;
            loop {
                let start = all.position() as u32;
                let Some(record) = all.next() else { break };
                let record = record.map_err(|_| offset)?;
                if until.is_some_and(|until| offset >= until) {
                    break 'chunks;
                }
                let verdict = record.header().map_or(Verdict::Foreign, |header| judge(offset, &record, header));
                entries.push(Place { chunk: c as u32, start, offset, verdict });
                offset += 1;
                next = offset;
            }
        }
        if entries.is_empty() {
            // Nothing but a gap was between here and there.
            next = until.or(chunks.last().map(Chunk::next)).unwrap_or(0);
        }
        Ok(Batch { input, at, chunks, entries, next })
    }

    /// A batch without records, up to `next`: there are none, and never will be.
    pub fn gap(input: TopicPartition, at: Micros, next: Offset) -> Batch {
        Batch { input, at, chunks: Vec::new(), entries: Vec::new(), next }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Encoded bytes of its records.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(|c| c.bytes.len()).sum()
    }

    /// The `n`-th record.
    pub fn entry(&self, n: usize) -> Entry<'_> {
        let place = &self.entries[n];
        let bytes = &self.chunks[place.chunk as usize].bytes[place.start as usize..];
        let record = records(bytes).next().expect("read before").expect("read before");
        let header = record.header().or_else(|| HeaderRef::new(&NO_HEADER)).expect("an empty header is one");
        Entry { offset: place.offset, record, header, verdict: place.verdict }
    }

    /// The position of the `n`-th record.
    pub fn offset(&self, n: usize) -> Offset {
        self.entries[n].offset
    }

    /// What was decided about the `n`-th record.
    pub fn verdict(&self, n: usize) -> Verdict {
        self.entries[n].verdict
    }

    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.entries.len()).map(|n| self.entry(n))
    }
}
