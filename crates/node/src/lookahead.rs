//! Reads `raw` ahead of the enrich stage, for the links between users and visitors: an event of a partition that is read
//! late must not come too late for an event of another one that names its user.
//!
//! A link is a fact of `raw`, whatever becomes of the event. So links need no snapshot: after a start the last `gap` of
//! `raw` is read again, beside the events that flow.

use std::sync::Mutex;

use event::record::Chunk;
use event::topic::RAW;
use event::{Field, Flags, HeaderRef, Micros, Offset, RecordRef};
use log::{Log, LogError};
use lookup::Links;

/// Bytes of one partition that are read ahead in one go: sixteen batches, so that reading ahead stays ahead, and no batch
/// waits for long.
const AHEAD_BYTES: usize = 8 * 1024 * 1024;
const FETCH_BYTES: usize = 1024 * 1024;

pub struct Lookahead {
    links: Links,
    next: Vec<Mutex<Offset>>,
}

impl Lookahead {
    /// Begins `gap_us` before what was received last. `from`: the position of each partition from which events are still to
    /// be enriched.
    pub fn new(links: Links, log: &dyn Log, from: &[Offset], gap_us: i64) -> Result<Lookahead, LogError> {
        let begin = |(partition, at): (u32, &Offset)| {
            let input = RAW.partition(partition);
            let (start, end) = log.bounds(input)?;
            let received = received_at(log, partition, (*at).clamp(start, end.max(start)))?.or(received_at(
                log,
                partition,
                end.saturating_sub(1).max(start),
            )?);
            let Some(received) = received else { return Ok(Mutex::new(start)) };
            let since = Micros(received.0.saturating_sub(gap_us));
            // Times of receipt grow, but for the reach of a commit: what is passed over by that is as old as the gap.
            let (mut low, mut high) = (start, (*at).clamp(start, end));
            while low < high {
                let middle = low + (high - low) / 2;
                match received_at(log, partition, middle)? {
                    Some(then) if then < since => low = middle + 1,
                    _ => high = middle,
                }
            }
            Ok(Mutex::new(low))
        };
        let next = (0..).zip(from).map(begin).collect::<Result<_, LogError>>()?;
        Ok(Lookahead { links, next })
    }

    /// Reads on in every partition.
    pub fn advance(&self, log: &dyn Log) -> Result<(), LogError> {
        for (partition, next) in (0..).zip(&self.next) {
            // Another thread reads this one: what it finds is for all.
            let Ok(mut next) = next.try_lock() else { continue };
            let mut read = 0;
            loop {
                let fetch = log.fetch(RAW.partition(partition), *next, FETCH_BYTES)?;
                *next = fetch.next.max(*next);
                for chunk in &fetch.chunks {
                    self.read(chunk);
                    read += chunk.bytes.len();
                    *next = (*next).max(chunk.next());
                }
                if fetch.chunks.is_empty() || read >= AHEAD_BYTES {
                    break;
                }
            }
        }
        Ok(())
    }

    fn read(&self, chunk: &Chunk) {
        for (_, record) in chunk.records().flatten() {
            let Some(header) = record.header() else { continue };
            if header.flags().has(Flags::VISITOR_GIVEN) {
                self.note(&record, header);
            }
        }
    }

    fn note(&self, record: &RecordRef<'_>, header: HeaderRef<'_>) {
        let value = record.value.unwrap_or_default();
        let at = header.event_time().min(header.received_time());
        match header.json(Field::USER, value) {
            Some(json) => {
                if let Some(user) = wire::json::text(json) {
                    self.links.saw(&user, record.key, at);
                }
            }
            None => {
                if let Some(user) = header.inherited_value(Field::USER) {
                    self.links.saw(user, record.key, at);
                }
            }
        }
    }
}

/// When the first record at or after `at` was received.
fn received_at(log: &dyn Log, partition: u32, at: Offset) -> Result<Option<Micros>, LogError> {
    let fetch = log.fetch(RAW.partition(partition), at, 1)?;
    let mut records = fetch.chunks.iter().flat_map(Chunk::records).flatten();
    let found = records.find(|(offset, _)| *offset >= at);
    Ok(found.and_then(|(_, record)| record.header()).map(HeaderRef::received_time))
}
