//! Output records of a batch, with the rolling hash over them: the hash in each output's header covers it and all before
//! it, so that two runs can be compared record by record.

use event::{Block, BlockBuilder, Source, TopicPartition};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clocks::Clocks;
use crate::progress::Progress;

pub struct Effects {
    /// As of the last record applied.
    pub progress: Progress,
    /// What a deterministic stage knows of time, as of the record being applied. Without sources for a recording stage.
    pub clocks: Clocks,
    /// The record being applied, or the one whose watermark made a timer due.
    pub position: Source,
    blocks: Vec<BlockBuilder>,
}

impl Effects {
    pub fn new(progress: Progress, clocks: Clocks) -> Effects {
        Effects { progress, clocks, position: Source::DOOR, blocks: Vec::new() }
    }

    /// Appends a record. `header` is encoded; its output hash is filled in here. `size_hint`: bytes the whole batch will
    /// probably write to this partition, so that its buffer grows once.
    pub fn emit(&mut self, to: TopicPartition, key: &[u8], header: &[u8], value: Option<&[&[u8]]>, size_hint: usize) {
        let at = match self.blocks.iter().position(|b| b.to() == to) {
            Some(at) => at,
            None => {
                let mut block = BlockBuilder::new(to);
                block.reserve(size_hint);
                self.blocks.push(block);
                self.blocks.len() - 1
            }
        };
        let previous = self.progress.output_hash;
        self.progress.output_hash = self.blocks[at].push_hashed(key, header, value, |bytes| {
            xxh3_64_with_seed(bytes, previous ^ (u64::from(to.topic.0) << 32 | u64::from(to.partition)))
        });
    }

    /// Everything back as it was at `mark`, made by [`Effects::mark`].
    pub fn rewind(&mut self, mark: &Mark) {
        self.progress = mark.progress;
        self.clocks.clone_from(&mark.clocks);
        self.blocks.truncate(mark.lens.len());
        for (block, (count, len)) in self.blocks.iter_mut().zip(&mark.lens) {
            block.truncate(*count, *len);
        }
    }

    pub fn mark(&self) -> Mark {
        Mark {
            progress: self.progress,
            clocks: self.clocks.clone(),
            lens: self.blocks.iter().map(|b| (b.count(), b.len())).collect(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(BlockBuilder::len).sum()
    }

    pub fn finish(self) -> (Vec<Block>, Progress, Clocks) {
        let blocks = self.blocks.into_iter().filter(|b| !b.is_empty()).map(BlockBuilder::finish);
        (blocks.collect(), self.progress, self.clocks)
    }
}

/// A place to rewind to when a record turns out to panic its operator.
pub struct Mark {
    progress: Progress,
    clocks: Clocks,
    lens: Vec<(u32, usize)>,
}
