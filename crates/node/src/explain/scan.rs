//! Reading partitions from their end, a window at a time, and finding what a stage made of a record.

use std::ops::{ControlFlow, Range};

use event::topic::{DLQ, RAW};
use event::{HeaderRef, Micros, Offset, RecordRef, Source, TopicId, TopicPartition};
use flow::Finished;
use log::{Log, LogError};

use super::Searched;

/// Records of a partition that are read before the next partition has its turn: the newest of all come first.
const WINDOW: Offset = 50_000;
const FETCH_BYTES: usize = 4 << 20;

/// What the search may read, and has read.
pub struct Budget<'p> {
    bytes: u64,
    done: u64,
    of: u64,
    complete: bool,
    progress: &'p mut dyn FnMut(Searched),
}

impl<'p> Budget<'p> {
    pub fn new(log: &dyn Log, bytes: u64, progress: &'p mut dyn FnMut(Searched)) -> Result<Budget<'p>, LogError> {
        let mut of = 0;
        for topic in [RAW, DLQ] {
            for p in 0..log.partitions(topic) {
                let (start, end) = log.bounds(topic.partition(p))?;
                of += end - start;
            }
        }
        Ok(Budget { bytes, done: 0, of, complete: true, progress })
    }

    pub fn allows(&self) -> bool {
        self.bytes > 0
    }

    pub fn spend(&mut self, bytes: u64, records: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.done += records;
        (self.progress)(Searched { done: self.done, of: self.of.max(self.done) });
    }

    pub fn cut_short(&mut self) {
        self.complete = false;
    }

    pub fn records(&self) -> u64 {
        self.done
    }

    pub fn complete(&self) -> bool {
        self.complete
    }
}

/// The windows of a topic, newest first.
pub struct Scan {
    /// What is left of each partition.
    left: Vec<(TopicPartition, Range<Offset>)>,
    turn: usize,
}

impl Scan {
    pub fn new(log: &dyn Log, topic: TopicId) -> Result<Scan, LogError> {
        let left = (0..log.partitions(topic))
            .map(|p| {
                let at = topic.partition(p);
                let (start, end) = log.bounds(at)?;
                Ok((at, start..end))
            })
            .collect::<Result<_, LogError>>()?;
        Ok(Scan { left, turn: 0 })
    }

    pub fn next_window(&mut self) -> Option<(TopicPartition, Range<Offset>)> {
        for _ in 0..self.left.len() {
            let at = self.turn % self.left.len();
            self.turn += 1;
            let (partition, left) = &mut self.left[at];
            if !left.is_empty() {
                let from = left.end.saturating_sub(WINDOW).max(left.start);
                let window = from..left.end;
                left.end = from;
                return Some((*partition, window));
            }
        }
        None
    }
}

/// Calls `visit` for the records in a range, in order, until it breaks. Gives the bytes that were read. What retention
/// removes meanwhile is passed over.
pub fn each(
    log: &dyn Log,
    at: TopicPartition,
    range: Range<Offset>,
    mut visit: impl FnMut(Offset, &RecordRef<'_>, HeaderRef<'_>) -> ControlFlow<()>,
) -> Result<u64, LogError> {
    let (mut next, mut bytes) = (range.start, 0);
    while next < range.end {
        let fetch = match log.fetch(at, next, FETCH_BYTES) {
            Err(LogError::OutOfRange { start, .. }) if start > next => {
                next = start;
                continue;
            }
            fetch => fetch?,
        };
        for chunk in &fetch.chunks {
            bytes += chunk.bytes.len() as u64;
            for record in chunk.records() {
                let unreadable = |e| LogError::Io {
                    doing: format!("reading {at} at {}", chunk.base),
                    source: std::io::Error::new(std::io::ErrorKind::InvalidData, e),
                };
                let (offset, record) = record.map_err(unreadable)?;
                if offset >= range.end {
                    return Ok(bytes);
                }
                if let Some(header) = record.header().filter(|_| offset >= range.start && record.value.is_some())
                    && visit(offset, &record, header).is_break()
                {
                    return Ok(bytes);
                }
            }
        }
        let read_to = fetch.chunks.last().map_or(fetch.next, |c| c.next().max(fetch.next));
        if read_to <= next {
            break;
        }
        next = read_to;
    }
    Ok(bytes)
}

/// How much later than others a stage may have finished what it read before them, in positions: what is made of `raw` is in
/// order for each visitor only, all else is in order.
fn disorder(of: Source) -> Offset {
    if of.topic == RAW.0 { Finished::SPAN } else { 0 }
}

/// A position behind which are all records made of `of`, or of what comes after it in the same partition; the first such,
/// where a stage writes in the order in which it reads. It is found by halving.
///
/// Records made of other partitions lie between. Each is looked at twice at the most, for what held none is not looked at
/// again.
pub fn seek(log: &dyn Log, at: TopicPartition, of: Source) -> Result<Offset, LogError> {
    let (mut low, mut high) = log.bounds(at)?;
    // What was made of lower positions has none of these behind it.
    let wanted = of.offset.saturating_sub(disorder(of));
    while low < high {
        let middle = low + (high - low) / 2;
        let mut seen = None;
        each(log, at, middle..high, |offset, _, header| {
            let source = header.source();
            if (source.topic, source.partition) != (of.topic, of.partition) {
                return ControlFlow::Continue(());
            }
            seen = Some((offset, source.offset));
            ControlFlow::Break(())
        })?;
        match seen {
            Some((offset, source)) if source < wanted => low = offset + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Calls `visit` for what was made of a record, until it breaks.
pub fn made_of(
    log: &dyn Log,
    at: TopicPartition,
    of: Source,
    mut visit: impl FnMut(Offset, &RecordRef<'_>, HeaderRef<'_>) -> ControlFlow<()>,
) -> Result<(), LogError> {
    let from = seek(log, at, of)?;
    let (_, end) = log.bounds(at)?;
    let last = of.offset.saturating_add(disorder(of));
    each(log, at, from..end, |offset, record, header| {
        let source = header.source();
        if source == of {
            return visit(offset, record, header);
        }
        let behind = (source.topic, source.partition) == (of.topic, of.partition) && source.offset > last;
        if behind { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(())
}

/// When the first record that is still kept was received, if others were removed before it.
pub fn first_received(log: &dyn Log, at: TopicPartition) -> Result<Option<Micros>, LogError> {
    let (start, end) = log.bounds(at)?;
    let mut first = None;
    if start > 0 {
        each(log, at, start..end, |_, _, header| {
            first = Some(header.received_time());
            ControlFlow::Break(())
        })?;
    }
    Ok(first)
}
