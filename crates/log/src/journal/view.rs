//! What readers see: one consistent picture of all that is committed, changed once per frame under one lock, so that no
//! reader ever sees half a commit.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use event::record::{Chunk, records};
use event::topic::TOPICS;
use event::{Offset, TopicId, TopicPartition};
use seam::File;

use super::frame::{Entry, Standing};
use super::index::{PartIndex, STRIDE, SegmentIndex};
use super::segment::{Positions, Segment};
use crate::contract::LogError;

/// A block whose bytes are still in memory.
struct Cached {
    base: Offset,
    count: u32,
    bytes: Bytes,
}

#[derive(Default)]
pub(super) struct Partition {
    /// The first offset still kept, and the one after the last.
    pub start: Offset,
    pub end: Offset,
    ring: VecDeque<Cached>,
}

/// The segment that is being written.
pub(super) struct Active {
    pub file: Arc<dyn File>,
    pub index: SegmentIndex,
}

pub(super) struct View {
    /// `[topic][partition]`.
    parts: Vec<Vec<Partition>>,
    /// Oldest first.
    pub sealed: Vec<Arc<Segment>>,
    pub active: Option<Active>,
    pub positions: Positions,
    cache_max: usize,
    cached: usize,
    /// Frames in the ring, oldest first: bytes, and the partition of each block.
    frames: VecDeque<(usize, Vec<TopicPartition>)>,
}

/// Where to read next.
pub(super) enum Place {
    /// From memory.
    Ring(Vec<Chunk>),
    Disk {
        file: Where,
        /// Frames in `[from, until)` may have what is wanted; the file's frames end at or after `until`.
        from: u64,
        until: u64,
        /// Where to go on when they do not: nothing of the partition lies between.
        then: Offset,
    },
    /// There is nothing between the offset asked for and this one.
    Skip(Offset),
}

pub(super) enum Where {
    Sealed(Arc<Segment>),
    Active(Arc<dyn File>, u64),
}

impl View {
    pub fn new(partitions: u32, cache_max: usize) -> View {
        let parts = TOPICS.iter().map(|_| (0..partitions).map(|_| Partition::default()).collect()).collect();
        View {
            parts,
            sealed: Vec::new(),
            active: None,
            positions: Positions::default(),
            cache_max,
            cached: 0,
            frames: VecDeque::new(),
        }
    }

    pub fn part(&self, tp: TopicPartition) -> Option<&Partition> {
        self.parts.get(tp.topic.0 as usize)?.get(tp.partition as usize)
    }

    fn part_mut(&mut self, tp: TopicPartition) -> &mut Partition {
        &mut self.parts[tp.topic.0 as usize][tp.partition as usize]
    }

    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + use<> {
        let count = self.parts.first().map_or(0, Vec::len) as u32;
        TOPICS.iter().flat_map(move |t| (0..count).map(move |p| t.id.partition(p)))
    }

    /// All partitions, in order.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |tp| {
            let part = self.part(tp).expect("one of ours");
            Standing { tp, start: part.start, end: part.end }
        };
        self.partitions().map(standing).collect()
    }

    pub fn set_bounds(&mut self, tp: TopicPartition, start: Offset, end: Offset) {
        let part = self.part_mut(tp);
        part.start = start;
        part.end = end;
    }

    /// Moves the first kept offset on, never back, and forgets what is cached below it.
    pub fn advance_start(&mut self, tp: TopicPartition, start: Offset) {
        let part = self.part_mut(tp);
        part.start = part.start.max(start.min(part.end));
    }

    /// Shows the blocks of a frame. Gives back what left the cache, to be freed outside the lock.
    #[must_use = "freeing under the lock would hold up readers"]
    pub fn publish(&mut self, entries: &[Entry], blocks: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
        let mut size = 0;
        let mut tps = Vec::with_capacity(entries.len());
        for (e, bytes) in entries.iter().zip(blocks) {
            let part = self.part_mut(e.tp);
            part.end = e.next();
            part.ring.push_back(Cached { base: e.base, count: e.count, bytes });
            size += e.len as usize;
            tps.push(e.tp);
        }
        self.cached += size;
        self.frames.push_back((size, tps));
        let mut freed = Vec::new();
        // The newest frame stays whatever its size: the readers at the tail are about to ask for it.
        while self.cached > self.cache_max && self.frames.len() > 1 {
            let (size, tps) = self.frames.pop_front().expect("more than one");
            self.cached -= size;
            for tp in tps {
                freed.extend(self.part_mut(tp).ring.pop_front().map(|c| c.bytes));
            }
        }
        freed
    }

    /// Where records of `tp` at or after `at` are. `at` is within the bounds and below the end.
    pub fn locate(&self, tp: TopicPartition, at: Offset, budget: usize) -> Result<Place, LogError> {
        let part = self.part(tp).expect("checked by the caller");
        if part.ring.front().is_some_and(|c| c.base <= at) {
            return part.read_ring(at, budget);
        }
        let i = self.sealed.partition_point(|s| s.index.parts.get(&tp).map_or(0, |p| p.end) <= at);
        let in_sealed = self.sealed.get(i).and_then(|s| Some((s, s.index.parts.get(&tp)?)));
        if let Some((segment, p)) = in_sealed {
            return Ok(match spots(p, at, segment.index.end) {
                Some((from, until, then)) => Place::Disk { file: Where::Sealed(segment.clone()), from, until, then },
                None => Place::Skip(p.end),
            });
        }
        if let Some(active) = &self.active
            && let Some(p) = active.index.parts.get(&tp)
            && p.end > at
            && let Some((from, until, then)) = spots(p, at, active.index.end)
        {
            let file = Where::Active(active.file.clone(), active.index.number);
            return Ok(Place::Disk { file, from, until, then });
        }
        Ok(Place::Skip(part.end))
    }
}

/// The stretch of a segment in which to look for `at`, and the offset to go on with behind it.
fn spots(p: &PartIndex, at: Offset, end: u64) -> Option<(u64, u64, Offset)> {
    let i = p.spots.partition_point(|s| s.base <= at).saturating_sub(1);
    let spot = p.spots.get(i)?;
    let then = p.spots.get(i + 1).map_or(p.end, |s| s.base);
    Some((spot.at(), end.min(spot.at() + STRIDE), then))
}

impl Partition {
    fn read_ring(&self, at: Offset, budget: usize) -> Result<Place, LogError> {
        let mut i = self.ring.partition_point(|c| c.base <= at) - 1;
        let (mut chunks, mut used) = (Vec::new(), 0);
        while let Some(c) = self.ring.get(i)
            && (used < budget || chunks.is_empty())
        {
            if let Some(chunk) = cut(c.base, c.count, &c.bytes, at, budget.saturating_sub(used))? {
                used += chunk.bytes.len();
                chunks.push(chunk);
            }
            i += 1;
        }
        if chunks.is_empty() {
            return Ok(Place::Skip(self.end));
        }
        Ok(Place::Ring(chunks))
    }
}

/// The records of a block at or after `at`, about `budget` bytes of them and at least one; `None` when all lie before.
pub(super) fn cut(
    base: Offset,
    count: u32,
    bytes: &Bytes,
    at: Offset,
    budget: usize,
) -> Result<Option<Chunk>, LogError> {
    let next = base + Offset::from(count);
    if at >= next {
        return Ok(None);
    }
    if at <= base && bytes.len() <= budget {
        return Ok(Some(Chunk { base, count, bytes: bytes.clone() }));
    }
    let skip = at.saturating_sub(base);
    let mut walk = records(bytes);
    let (mut from, mut taken) = (0, 0u32);
    for i in 0..u64::from(count) {
        if i == skip {
            from = walk.position();
        } else if i > skip && walk.position() - from >= budget {
            break;
        }
        match walk.next() {
            Some(Ok(_)) => taken += u32::from(i >= skip),
            _ => {
                let what = format!("the block at offset {base} has fewer records than the {count} it was written with");
                return Err(LogError::Damaged { file: "memory".into(), at: walk.position() as u64, what });
            }
        }
    }
    Ok(Some(Chunk { base: base + skip, count: taken, bytes: bytes.slice(from..walk.position()) }))
}

/// Whether a topic and partition exist here.
pub(super) fn known(tp: TopicPartition, partitions: u32) -> bool {
    TOPICS.iter().any(|t| t.id == tp.topic) && tp.partition < partitions
}

/// All topics, for loops that must not forget one.
pub(super) fn topics() -> impl Iterator<Item = TopicId> {
    TOPICS.iter().map(|t| t.id)
}
