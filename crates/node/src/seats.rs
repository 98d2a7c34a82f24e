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
            let now = all.get(p.partition as usize).map(|committed| committed.progress).unwrap_or_default();
            // Another worker of this process may not have heard yet that it lost it.
            if let Some(before) = held.by_partition.insert(p.partition, Seat { worker, begun: now }) {
                add(&mut held.before, &now, &before.begun);
            }
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
            if is_own && let Some(seat) = held.by_partition.remove(&p.partition) {
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

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a journal of its own in a temporary directory
mod tests {
    use std::sync::Arc;

    use event::BlockBuilder;
    use event::topic::RAW;
    use flow::Kind;
    use log::{Commit, Input, Journal, JournalConfig, Log, Outcome, Position};
    use seam::{RealClock, RealFs};

    use super::*;

    #[test]
    fn what_was_done_here_is_what_came_between_a_partitions_coming_and_its_going() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = JournalConfig { partitions: 2, allocate_step: 1 << 16, ..JournalConfig::default() };
        let journal = Journal::open(dir.path(), config, Arc::new(RealFs), Arc::new(RealClock::new()));
        let journal = journal.expect("a journal");
        let (status, seats) = (StageStatus::new(2), Seats::default());
        let mut next = 0;
        let mut committed = |processed: u64| {
            next += 1;
            let metadata = Progress { processed, ..Progress::default() }.encode().into();
            let positions =
                vec![Position { group: "enrich".into(), input: Input::Topic(RAW.partition(1)), next, metadata }];
            let mut block = BlockBuilder::new(RAW.partition(1));
            block.push(b"k", b"", None);
            let blocks = vec![block.finish()];
            let outcome = journal.submit(Commit { blocks, positions, ..Commit::default() }).wait();
            assert!(matches!(outcome, Outcome::Committed(_)));
            status.preset(&*journal, Kind::Recording, "enrich", RAW).expect("it reads");
        };
        let one = [RAW.partition(1)];
        committed(100);
        seats.take(0, &one, &status);
        committed(130);
        assert_eq!((seats.done(&status).processed, seats.partitions()), (30, vec![1]));
        // Another worker has it before this one hears that it lost it.
        seats.take(1, &one, &status);
        seats.leave(0, &one, &status);
        assert_eq!(seats.partitions(), [1]);
        seats.leave(1, &one, &status);
        committed(500);
        assert_eq!((seats.done(&status).processed, seats.partitions()), (30, vec![]));
        seats.take(0, &one, &status);
        committed(507);
        assert_eq!(seats.done(&status).processed, 37);
        journal.close();
    }
}
