//! Reads `raw` ahead of the enrich stage, for the links between users and visitors: an event of a partition that is read
//! late must not come too late for an event of another one that names its user.
//!
//! A link is a fact of `raw`, whatever becomes of the event. So links need no snapshot: after a start the last `gap` of
//! `raw` is read again, newest first, by a thread of its own and out of the way of the events that flow.

use std::ops::Range;
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
/// Positions that are recalled in one go: some megabytes.
const RECALL: Offset = 4096;

pub struct Lookahead {
    links: Links,
    next: Vec<Mutex<Offset>>,
    /// What was enriched before the start and may still matter: read from its end to its beginning.
    past: Mutex<Vec<Range<Offset>>>,
}

impl Lookahead {
    /// `from`: the position of each partition from which events are still to be enriched. What was received in the `gap_us`
    /// microseconds before is to be recalled ([`Lookahead::recall`]).
    pub fn new(links: Links, log: &dyn Log, from: &[Offset], gap_us: i64) -> Result<Lookahead, LogError> {
        let lookahead = Lookahead::ahead(links, log, from)?;
        lookahead.look_back(log, gap_us)?;
        Ok(lookahead)
    }

    /// The same, but nothing of before is recalled until [`Lookahead::look_back`] has found it.
    pub fn ahead(links: Links, log: &dyn Log, from: &[Offset]) -> Result<Lookahead, LogError> {
        let begin = |(partition, at): (u32, &Offset)| {
            let (start, end) = log.bounds(RAW.partition(partition))?;
            let at = (*at).clamp(start, end.max(start));
            Ok(at..at)
        };
        let past = (0..).zip(from).map(begin).collect::<Result<Vec<Range<Offset>>, LogError>>()?;
        let next = past.iter().map(|range| Mutex::new(range.end)).collect();
        Ok(Lookahead { links, next, past: Mutex::new(past) })
    }

    /// Finds what was received in the `gap_us` microseconds before. It reads in many places: where the log is far away this
    /// takes seconds.
    pub fn look_back(&self, log: &dyn Log, gap_us: i64) -> Result<(), LogError> {
        let ends: Vec<Offset> = self.past.lock().expect("no panic while held").iter().map(|range| range.end).collect();
        let begin = |(partition, at): (u32, Offset)| {
            let (start, _) = log.bounds(RAW.partition(partition))?;
            let received =
                received_at(log, partition, at)?.or(received_at(log, partition, at.saturating_sub(1).max(start))?);
            let since = Micros(received.map_or(i64::MAX, |r| r.0.saturating_sub(gap_us)));
            // Times of receipt grow, but for the reach of a commit: what is passed over by that is as old as the gap.
            let (mut low, mut high) = (start.min(at), at);
            while low < high {
                let middle = low + (high - low) / 2;
                match received_at(log, partition, middle)? {
                    Some(then) if then < since => low = middle + 1,
                    _ => high = middle,
                }
            }
            Ok(low..at)
        };
        let past = (0..).zip(ends).map(begin).collect::<Result<Vec<_>, LogError>>()?;
        *self.past.lock().expect("no panic while held") = past;
        Ok(())
    }

    /// Reads a little of what was enriched before the start, the newest first. Says whether there is more. It ends early
    /// where more would push out what is newer.
    pub fn recall(&self, log: &dyn Log) -> Result<bool, LogError> {
        let mut past = self.past.lock().expect("no panic while held");
        let newest = (0..).zip(past.iter_mut()).max_by_key(|(_, range)| range.end - range.start);
        let Some((partition, range)) = newest.filter(|(_, range)| !range.is_empty() && self.links.has_room()) else {
            past.clear();
            return Ok(false);
        };
        let (mut at, end) = (range.end.saturating_sub(RECALL).max(range.start), range.end);
        range.end = at;
        while at < end {
            let fetch = log.fetch(RAW.partition(partition), at, FETCH_BYTES)?;
            fetch.chunks.iter().for_each(|chunk| self.read(chunk));
            let reached = fetch.chunks.last().map_or(fetch.next, Chunk::next);
            if reached <= at {
                break;
            }
            at = reached;
        }
        Ok(true)
    }

    /// Reads on in every partition.
    pub fn advance(&self, log: &dyn Log) -> Result<(), LogError> {
        // All of them are waited for at once, where waiting is needed.
        for (partition, next) in (0..).zip(&self.next) {
            if let Ok(next) = next.try_lock() {
                log.read_ahead(RAW.partition(partition), *next);
            }
        }
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
