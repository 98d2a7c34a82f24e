//! Who in this process has which partitions of a stage's input: what its sums and its lag are about.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use event::TopicPartition;
use flow::Progress;
use stage::StageStatus;

/// The partitions of one stage that this process has.
#[derive(Default)]
pub struct Seats {
    held: Mutex<Held>,
    /// How often partitions came or went.
    rebalances: AtomicU64,
}

#[derive(Default)]
struct Held {
    by_partition: BTreeMap<u32, Seat>,
    /// What was done in partitions that are another's now.
    before: Progress,
}

struct Seat {
    worker: usize,
    /// As it was when the partition came.
    begun: Progress,
}

impl Seats {
    /// A worker got these. Their committed positions are in the status already.
    pub fn take(&self, worker: usize, partitions: &[TopicPartition], status: &StageStatus) {
        if partitions.is_empty() {
            return;
        }
        self.rebalances.fetch_add(1, Relaxed);
        let all: Vec<_> = status.partitions().collect();
        let mut held = self.held();
        for p in partitions {
            let begun = all.get(p.partition as usize).map(|committed| committed.progress).unwrap_or_default();
            held.by_partition.insert(p.partition, Seat { worker, begun });
        }
    }

    /// A worker lost these. One that comes too late loses nothing that another has got meanwhile.
    pub fn leave(&self, worker: usize, partitions: &[TopicPartition], status: &StageStatus) {
        if partitions.is_empty() {
            return;
        }
        self.rebalances.fetch_add(1, Relaxed);
        let all: Vec<_> = status.partitions().collect();
        let mut held = self.held();
        for p in partitions {
            let is_own = held.by_partition.get(&p.partition).is_some_and(|seat| seat.worker == worker);
            if let (true, Some(seat)) = (is_own, held.by_partition.remove(&p.partition)) {
                let now = all.get(p.partition as usize).map(|committed| committed.progress).unwrap_or_default();
                add(&mut held.before, &now, &seat.begun);
            }
        }
    }

    /// The partitions of this process, in order.
    pub fn partitions(&self) -> Vec<u32> {
        self.held().by_partition.keys().copied().collect()
    }

    /// What was done here since the start, in whatever partitions this process had.
    pub fn done(&self, status: &StageStatus) -> Progress {
        let all: Vec<_> = status.partitions().collect();
        let held = self.held();
        let mut done = held.before;
        for (p, seat) in &held.by_partition {
            let now = all.get(*p as usize).map(|committed| committed.progress).unwrap_or_default();
            add(&mut done, &now, &seat.begun);
        }
        done
    }

    pub fn rebalances(&self) -> u64 {
        self.rebalances.load(Relaxed)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(sum: &mut Progress, now: &Progress, begun: &Progress) {
    sum.processed += now.processed.saturating_sub(begun.processed);
    sum.quarantined += now.quarantined.saturating_sub(begun.quarantined);
    sum.deduplicated += now.deduplicated.saturating_sub(begun.deduplicated);
}
