//! What others may know of a running stage.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use door::http::Histogram;
use drive::Settled;
use event::{Offset, TopicId, TopicPartition};
use flow::{Kind, Progress};
use log::{Log, LogError, Outcome};

use crate::turn::{Then, ended};

/// What others may know of a running stage.
pub struct StageStatus {
    partitions: Vec<PartitionStatus>,
    /// From an event's receipt to its enriched form being readable.
    pub latency: Histogram,
    pub commits: AtomicU64,
    /// Why the stage cannot go on at present, or stopped for good.
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Default)]
struct PartitionStatus {
    committed: Mutex<Committed>,
    /// Positions back from the newest record within which a duplicate is told.
    horizon: AtomicU64,
    /// The same in received time, in microseconds.
    reach: AtomicU64,
}

/// What is committed for a partition.
#[derive(Clone, Copy, Default, Debug)]
pub struct Committed {
    pub progress: Progress,
    pub next: Offset,
    /// Records above that position that are done.
    pub finished: u64,
}

#[derive(Clone, Debug)]
pub struct Trouble {
    pub reason: String,
    /// The stage has stopped; only a restart helps.
    pub fatal: bool,
}

impl StageStatus {
    pub fn new(partitions: u32) -> StageStatus {
        StageStatus {
            partitions: (0..partitions).map(|_| PartitionStatus::default()).collect(),
            latency: Histogram::default(),
            commits: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// Reads what was committed before this start, so that the sums are right from the first moment.
    pub fn preset(&self, log: &dyn Log, kind: Kind, group: &str, topic: TopicId) -> Result<(), LogError> {
        let all: Vec<_> = (0..self.partitions.len() as u32).map(|p| topic.partition(p)).collect();
        self.preset_of(log, kind, group, &all)?;
        for input in all {
            // Positions that hold nothing are stepped over first; they were never waiting.
            let mut committed =
                *self.partitions[input.partition as usize].committed.lock().expect("no panic while held");
            let ahead = log.fetch(input, committed.next, 1)?;
            if ahead.chunks.is_empty() && ahead.next > committed.next {
                committed.progress.lost += ahead.next - committed.next;
                committed.next = ahead.next;
                self.show(input.partition, committed);
            }
        }
        Ok(())
    }

    /// The same of these partitions of the stage's input, as it was committed.
    pub fn preset_of(&self, log: &dyn Log, kind: Kind, group: &str, inputs: &[TopicPartition]) -> Result<(), LogError> {
        for input in inputs.iter().copied() {
            let committed = match log.committed(group, &log::Input::Topic(input))? {
                Some(stored) => {
                    let progress = Progress::decode(&stored.metadata).unwrap_or_default();
                    let finished = match kind {
                        Kind::Recording => {
                            Progress::decode_with(stored.next, &stored.metadata).map_or(0, |(_, f)| f.len())
                        }
                        Kind::Deterministic => 0,
                    };
                    Committed { progress, next: stored.next, finished }
                }
                None => Committed { next: log.bounds(input)?.0, ..Committed::default() },
            };
            self.show(input.partition, committed);
        }
        Ok(())
    }

    /// What is committed for each partition.
    pub fn partitions(&self) -> impl Iterator<Item = Committed> + '_ {
        self.partitions.iter().map(|p| *p.committed.lock().expect("no panic while held"))
    }

    /// Committed totals of all partitions (watermark and hash are those of the first).
    pub fn totals(&self) -> Progress {
        let mut all = self.partitions().map(|committed| committed.progress);
        let first = all.next().unwrap_or_default();
        all.fold(first, |mut sum, p| {
            sum.processed += p.processed;
            sum.quarantined += p.quarantined;
            sum.deduplicated += p.deduplicated;
            sum.control += p.control;
            sum.lost += p.lost;
            sum.watermark = sum.watermark.min(p.watermark);
            sum
        })
    }

    /// Within how many events of a partition a duplicate is told: the smallest horizon of all.
    pub fn horizon(&self) -> u64 {
        self.partitions.iter().map(|p| p.horizon.load(Relaxed)).min().unwrap_or(0)
    }

    /// Within how much received time a duplicate is told, in seconds: the shortest of all partitions.
    pub fn horizon_seconds(&self) -> f64 {
        self.partitions.iter().map(|p| p.reach.load(Relaxed)).min().unwrap_or(0) as f64 / 1e6
    }

    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect("no panic while held").clone()
    }

    /// Notes what is committed for a partition. It never goes back: a stage reads its positions after [`StageStatus::preset`] has
    /// stepped over what holds nothing.
    pub(crate) fn show(&self, partition: u32, committed: Committed) {
        let mut shown = self.partitions[partition as usize].committed.lock().expect("no panic while held");
        if committed.next >= shown.next {
            *shown = committed;
        }
    }

    /// Notes within how many positions, and how much received time in microseconds, a partition tells duplicates.
    pub(crate) fn show_horizon(&self, partition: u32, positions: u64, reach: u64) {
        self.partitions[partition as usize].horizon.store(positions, Relaxed);
        self.partitions[partition as usize].reach.store(reach, Relaxed);
    }

    /// Notes how a commit of `group` ended.
    pub(crate) fn ended(&self, outcome: &Outcome, group: &str) -> Result<(Settled, Then), String> {
        let (settled, then) = ended(outcome).map_err(|why| format!("{group} cannot commit: {why}"))?;
        match outcome {
            Outcome::Committed(_) => {
                self.commits.fetch_add(1, Relaxed);
                self.set_trouble(None);
            }
            Outcome::Aborted(log::Aborted::Full(what)) => {
                self.set_trouble(Some(Trouble { reason: format!("the disk is full: {what}"), fatal: false }));
            }
            _ => {}
        }
        Ok((settled, then))
    }

    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut held = self.trouble.lock().expect("no panic while held");
        // A thread that stopped for good is not healed by another's success.
        if !held.as_ref().is_some_and(|t| t.fatal) {
            *held = trouble;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_never_goes_back() {
        let status = StageStatus::new(1);
        for (next, lost) in [(470, 450), (20, 0), (471, 450)] {
            let progress = Progress { lost, ..Progress::default() };
            status.show(0, Committed { progress, next, finished: 0 });
            assert_eq!(status.totals().lost, 450);
        }
        assert_eq!(status.partitions().map(|c| c.next).collect::<Vec<_>>(), [471]);
    }
}
