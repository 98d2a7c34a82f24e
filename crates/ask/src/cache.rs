//! One shard of the local cache. Its owner shards by key and locks.
//!
//! Entries lie in segments, one behind the other, as in a log (after Segcache, Yang and others, NSDI 2021): nothing is
//! allocated for an entry, so nothing is lost to the allocator's rounding or to fragmentation, and the memory taken is the
//! segments', the index's and the ghosts'. Segments are given up oldest first, by S3-FIFO (Yang and others, SOSP 2023): new
//! entries go through a small queue, and only what was read there gets into the main one, in which what was read goes round
//! again. It is chosen over CLOCK because most ids are seen once, and in CLOCK each of those pushes out an entry of the
//! main part; it needs no more than a counter of two bits in an entry, and a read moves nothing.
//!
//! What is not there, and what failed, lies in a queue of its own, so that random ids cannot flush good values.

use std::collections::VecDeque;

use xxhash_rust::xxh3::xxh3_64;

use crate::counters::Reads;
use crate::entry::{age, signed};
use crate::{Age, Code, Entry, Moment, Origin, Tier, Value};

mod ghost;
mod index;
mod record;

use ghost::Ghosts;
use index::{Index, tag};
use record::{Record, RecordMut};

/// The smallest shard: below that its segments would hold nothing.
pub const BYTES_MIN: usize = 64 << 10;

/// A shard has about so many segments: giving up one takes little of it, and little time.
const SEGMENTS: usize = 128;

const SEGMENT_MIN: usize = 4 << 10;

/// Just below the size from which the allocator takes whole pages and one more. It holds the longest answer that is read.
const SEGMENT_MAX: usize = (128 << 10) - 64;

/// What the allocator adds to a segment, and the vectors that hold it.
const SEGMENT_EXTRA: usize = 64;

/// The share of new values in the values' memory, in percent (as in the paper).
const SMALL_PERCENT: usize = 10;

/// The share of not-found and error entries in all, in percent.
pub const NEGATIVE_PERCENT: u8 = 10;

/// How often reads are counted up to, between two rounds of an entry.
const READS_MAX: u8 = 3;

/// When so many segments were gone through and none came free, the next is given up with all that is in it: a write must
/// end soon, and who reads everything all the time has too small a cache anyway.
const ROUNDS_MAX: usize = 8;

/// A place is so many bits of the segment, then of the offset in it, in eights.
const OFFSET_BITS: u32 = 14;

const _: () = assert!(SEGMENT_MAX < 8 << OFFSET_BITS);

/// What is known of a key, without a copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known<'a> {
    /// JSON.
    Found(&'a [u8]),
    NotFound,
    Failed(Code),
}

/// What the cache has under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit<'a> {
    pub known: Known<'a>,
    /// `Fresh` or `Stale`. What is stale is to be given to the desk with the ask.
    pub age: Age,
    /// It is used in the last tenth of its life: to be refreshed now. Said once for an entry.
    pub refresh: bool,
    fetched_at: i64,
    fresh_until: i64,
    stale_until: i64,
}

impl Hit<'_> {
    /// Microseconds since the source was asked for it.
    pub fn age_us(&self, now: u64) -> u64 {
        Origin { tier: Tier::Local, fetched_at: self.fetched_at }.age_us(now)
    }

    /// A copy, with its age.
    pub fn entry(&self) -> Entry {
        let value = match self.known {
            Known::Found(json) => Value::Found(json.into()),
            Known::NotFound => Value::NotFound,
            Known::Failed(code) => Value::Failed(code),
        };
        let Hit { fetched_at, fresh_until, stale_until, .. } = *self;
        Entry { value, fetched_at, fresh_until, stale_until }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Queue {
    Small,
    Main,
    Negative,
}

#[derive(Default)]
struct Segment {
    bytes: Box<[u8]>,
    used: usize,
}

pub struct Cache {
    bytes: usize,
    negative_percent: u8,
    segment_bytes: usize,
    segments: Vec<Segment>,
    /// Segments that hold nothing: with their memory, and without.
    free: Vec<u32>,
    vacant: Vec<u32>,
    /// Segments, oldest first; the last one is being filled.
    small: VecDeque<u32>,
    main: VecDeque<u32>,
    negative: VecDeque<u32>,
    index: Index,
    ghosts: Ghosts,
    reads: Reads,
    evicted: u64,
    refused: u64,
}

impl Cache {
    /// All its memory is at most so many bytes, of which at least [`BYTES_MIN`] are taken. Entries without a value get
    /// `negative_percent` of it.
    pub fn new(bytes: usize, negative_percent: u8) -> Cache {
        let bytes = bytes.max(BYTES_MIN);
        let segment_bytes = (bytes / SEGMENTS).clamp(SEGMENT_MIN, SEGMENT_MAX) & !7;
        assert!(
            bytes / segment_bytes < 1 << (32 - OFFSET_BITS),
            "a shard of {bytes} bytes has more places than it knows"
        );
        Cache {
            bytes,
            negative_percent: negative_percent.min(100),
            segment_bytes,
            segments: Vec::new(),
            free: Vec::new(),
            vacant: Vec::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            negative: VecDeque::new(),
            index: Index::default(),
            ghosts: Ghosts::new(bytes),
            reads: Reads::default(),
            evicted: 0,
            refused: 0,
        }
    }

    /// What is known of the key, if it may still be given. A read does not make its life longer.
    pub fn get(&mut self, now: u64, key: &[u8]) -> Option<Hit<'_>> {
        let hash = xxh3_64(key);
        let Some(place) = self.find(hash, key) else {
            self.reads.misses += 1;
            return None;
        };
        let record = self.record(place);
        let (fetched_at, fresh_until, stale_until) = record.times();
        let age = age(now, fresh_until, stale_until);
        let is_value = record.is_value();
        match age {
            Age::Fresh if is_value => self.reads.hits += 1,
            Age::Fresh => self.reads.negative += 1,
            Age::Stale(_) => self.reads.stale += 1,
            Age::Gone => {
                self.reads.misses += 1;
                self.remove(hash, place);
                return None;
            }
        }
        let is_near_its_end =
            is_value && age == Age::Fresh && signed(now) >= fresh_until - (fresh_until - fetched_at) / 10;
        let mut record = self.record_mut(place);
        record.read(READS_MAX);
        let refresh = is_near_its_end && record.refresh_once();
        Some(Hit { known: self.record(place).known(), age, refresh, fetched_at, fresh_until, stale_until })
    }

    /// Remembers what is known of a key, unless something newer or better is: a value that may still be given stale is not
    /// replaced by an error. What takes more than a segment, one 128th of the shard, is not kept.
    pub fn put(&mut self, now: u64, key: &[u8], entry: &Entry) {
        if entry.at(now) == Age::Gone {
            return;
        }
        let hash = xxh3_64(key);
        let queue = if matches!(entry.value, Value::Found(_)) { Queue::Small } else { Queue::Negative };
        let old = self.find(hash, key);
        if let Some(place) = old {
            let record = self.record(place);
            let (fetched_at, _, stale_until) = record.times();
            let is_better = matches!(entry.value, Value::Failed(_)) && record.is_value() && signed(now) < stale_until;
            if fetched_at > entry.fetched_at || is_better {
                return;
            }
            if record.is_value() == (queue == Queue::Small) && self.record_mut(place).rewrite(key, entry) {
                return;
            }
        }
        // The old one goes in any case: it is not what is known now.
        let queue = match old {
            Some(place) => {
                self.remove(hash, place);
                queue
            }
            None if queue == Queue::Small && self.ghosts.take(hash) => Queue::Main,
            None => queue,
        };
        let len = record::len(key, entry);
        if len > self.segment_bytes {
            self.refused += 1;
            return;
        }
        let segment = match self.head_with_room(queue, len) {
            Some(segment) => segment,
            None => {
                self.make_room(now, queue);
                self.begin(queue)
            }
        };
        let place = self.append(segment, len, |bytes| record::write(bytes, hash, key, entry));
        let before = self.index.bytes();
        self.index.insert(tag(hash), place);
        if self.index.bytes() > before {
            self.shrink(now);
        }
    }

    /// Everything it knows, oldest first, encoded for a warm start: keys and [`Entry::encode`]'s bytes.
    pub fn save(&self, at: Moment) -> impl Iterator<Item = (&[u8], Vec<u8>)> {
        let queues = [&self.main, &self.small, &self.negative];
        let segments = queues.into_iter().flatten().map(|segment| &self.segments[*segment as usize]);
        segments.flat_map(|segment| record::records(&segment.bytes[..segment.used])).filter(|r| !r.is_dead()).map(
            move |record| {
                let mut out = Vec::new();
                record.entry().encode(record.key(), at, &mut out);
                (record.key(), out)
            },
        )
    }

    /// Takes in what [`Cache::save`] gave; entries keep their age. Gives how many were damaged, or of another version:
    /// those are left out.
    pub fn load<'a>(&mut self, at: Moment, saved: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
        let mut damaged = 0;
        for (key, bytes) in saved {
            match Entry::decode(key, bytes, at) {
                Some(entry) => self.put(at.elapsed, key, &entry),
                None => damaged += 1,
            }
        }
        damaged
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Bytes of memory it takes.
    pub fn resident(&self) -> usize {
        let held = self.segments.len() - self.vacant.len();
        held * (self.segment_bytes + SEGMENT_EXTRA) + self.index.bytes() + self.ghosts.bytes()
    }

    /// What its reads found.
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// Takes back what was counted since: for a key that is read once more for the same asker.
    pub fn recount(&mut self, reads: Reads) {
        self.reads = reads;
    }

    /// Entries that were given up for others before their time.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Entries that were too large.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        self.index.find(tag(hash), |place| self.record(place).key() == key)
    }

    fn record(&self, place: u32) -> Record<'_> {
        let (segment, offset) = split(place);
        Record::at(&self.segments[segment].bytes[offset..])
    }

    fn record_mut(&mut self, place: u32) -> RecordMut<'_> {
        let (segment, offset) = split(place);
        RecordMut::at(&mut self.segments[segment].bytes[offset..])
    }

    /// Takes an entry out of the index; its room comes free with its segment.
    fn remove(&mut self, hash: u64, place: u32) {
        self.record_mut(place).bury();
        self.forget(hash, place);
    }

    fn forget(&mut self, hash: u64, place: u32) {
        self.index.remove(tag(hash), place);
    }

    fn queue(&mut self, queue: Queue) -> &mut VecDeque<u32> {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
            Queue::Negative => &mut self.negative,
        }
    }

    fn head_with_room(&mut self, queue: Queue, len: usize) -> Option<u32> {
        let head = *self.queue(queue).back()?;
        (self.segments[head as usize].used + len <= self.segment_bytes).then_some(head)
    }

    /// Segments that values and others may have. One is kept back: while a segment is given up, what lives on in it is
    /// written to another. The index grows with the entries, at the cost of segments.
    fn shares(&self) -> (usize, usize) {
        let fixed = self.index.bytes() + self.ghosts.bytes();
        let all = (self.bytes.saturating_sub(fixed) / (self.segment_bytes + SEGMENT_EXTRA)).saturating_sub(1).max(2);
        let negative = (all * usize::from(self.negative_percent) / 100).max(1);
        ((all - negative).max(1), negative)
    }

    /// Gives up segments until one more may be begun in the queue.
    fn make_room(&mut self, now: u64, queue: Queue) {
        for round in 0.. {
            let (values, negative) = self.shares();
            let may_stay = round < ROUNDS_MAX;
            if queue == Queue::Negative {
                if self.negative.len() < negative {
                    return;
                }
                self.give_up(now, Queue::Negative, may_stay);
            } else {
                if self.small.len() + self.main.len() < values {
                    return;
                }
                let small_max = (values * SMALL_PERCENT / 100).max(1);
                let from_small = self.small.len() > small_max || self.main.is_empty();
                self.give_up(now, if from_small { Queue::Small } else { Queue::Main }, may_stay);
            }
        }
    }

    /// Gives memory back when the index took some.
    fn shrink(&mut self, now: u64) {
        self.make_room(now, Queue::Small);
        self.make_room(now, Queue::Negative);
        for segment in std::mem::take(&mut self.free) {
            self.segments[segment as usize].bytes = Box::default();
            self.vacant.push(segment);
        }
    }

    /// Gives up the oldest segment of a queue. What was read lives on in the main queue, if it may.
    fn give_up(&mut self, now: u64, queue: Queue, may_stay: bool) {
        let Some(victim) = self.queue(queue).pop_front() else { return };
        let bytes = std::mem::take(&mut self.segments[victim as usize].bytes);
        let used = std::mem::take(&mut self.segments[victim as usize].used);
        let mut offset = 0;
        while offset < used {
            let record = Record::at(&bytes[offset..]);
            let place = join(victim, offset);
            offset += record.room();
            if record.is_dead() {
                continue;
            }
            let hash = record.hash();
            self.forget(hash, place);
            let is_gone = record.times().2 <= signed(now);
            if !is_gone && may_stay && queue != Queue::Negative && record.reads() > 0 {
                self.move_on(record, queue);
            } else if !is_gone {
                self.evicted += 1;
                if queue == Queue::Small {
                    self.ghosts.insert(hash);
                }
            }
        }
        let (values, negative) = self.shares();
        let held = self.small.len() + self.main.len() + self.negative.len() + self.free.len() + 1;
        // The index has grown since: this memory is its.
        if held > values + negative + 1 {
            self.vacant.push(victim);
        } else {
            self.segments[victim as usize].bytes = bytes;
            self.free.push(victim);
        }
    }

    fn move_on(&mut self, record: Record<'_>, from: Queue) {
        let (hash, len) = (record.hash(), record.room());
        let segment = match self.head_with_room(Queue::Main, len) {
            Some(segment) => segment,
            None => self.begin(Queue::Main),
        };
        let place = self.append(segment, len, |bytes| bytes.copy_from_slice(record.bytes()));
        let reads = if from == Queue::Main { record.reads() - 1 } else { 0 };
        self.record_mut(place).set_reads(reads);
        self.index.insert(tag(hash), place);
    }

    /// Begins a segment at the end of the queue.
    fn begin(&mut self, queue: Queue) -> u32 {
        let segment = self.free.pop().unwrap_or_else(|| {
            let segment = self.vacant.pop().unwrap_or_else(|| {
                self.segments.push(Segment::default());
                self.segments.len() as u32 - 1
            });
            self.segments[segment as usize].bytes = vec![0; self.segment_bytes].into_boxed_slice();
            segment
        });
        self.queue(queue).push_back(segment);
        segment
    }

    fn append(&mut self, segment: u32, len: usize, write: impl FnOnce(&mut [u8])) -> u32 {
        let Segment { bytes, used } = &mut self.segments[segment as usize];
        write(&mut bytes[*used..*used + len]);
        let place = join(segment, *used);
        *used += len;
        place
    }
}

fn join(segment: u32, offset: usize) -> u32 {
    segment << OFFSET_BITS | (offset / 8) as u32
}

fn split(place: u32) -> (usize, usize) {
    ((place >> OFFSET_BITS) as usize, (place & ((1 << OFFSET_BITS) - 1)) as usize * 8)
}

#[cfg(test)]
mod tests;
