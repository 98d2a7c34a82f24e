//! What became of the records of a commit, told record by record.

use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use event::Offset;
use log::Outcome;
use rdkafka::types::RDKafkaRespErr as Code;
use tokio::sync::oneshot;

use crate::native::Events;

/// The records of one commit.
pub(crate) struct Pending {
    /// Records without an answer, and one for who hands them in.
    left: AtomicU32,
    /// The first error; 0: none.
    failed: AtomicI32,
    /// Offsets of the first records of the blocks.
    bases: Vec<AtomicU64>,
    /// Offsets after their last ones.
    ends: Vec<AtomicU64>,
    answer: Mutex<Option<oneshot::Sender<Outcome>>>,
    finish: fn(&Pending) -> Outcome,
}

/// A block of it. A record carries a reference to its block through librdkafka, as a number.
pub(crate) struct Slot {
    pending: Arc<Pending>,
    block: usize,
}

impl Pending {
    /// `finish` makes the answer, once no record is without one and [`Pending::handed_in`] was called.
    pub fn new(
        blocks: usize,
        answer: Option<oneshot::Sender<Outcome>>,
        finish: fn(&Pending) -> Outcome,
    ) -> Arc<Pending> {
        Arc::new(Pending {
            left: AtomicU32::new(1),
            failed: AtomicI32::new(0),
            bases: (0..blocks).map(|_| AtomicU64::new(u64::MAX)).collect(),
            ends: (0..blocks).map(|_| AtomicU64::new(0)).collect(),
            answer: Mutex::new(answer),
            finish,
        })
    }

    pub fn slot(self: &Arc<Pending>, block: usize) -> Arc<Slot> {
        Arc::new(Slot { pending: self.clone(), block })
    }

    pub fn failed(&self) -> Option<Code> {
        // SAFETY: it is a code that librdkafka gave.
        Some(self.failed.load(Acquire)).filter(|c| *c != 0).map(|c| unsafe { std::mem::transmute::<i32, Code>(c) })
    }

    pub fn bases(&self) -> Vec<Offset> {
        self.bases.iter().map(|b| b.load(Relaxed)).collect()
    }

    pub fn ends(&self) -> impl Iterator<Item = Offset> {
        self.ends.iter().map(|b| b.load(Relaxed))
    }

    /// All records are with librdkafka.
    pub fn handed_in(&self) {
        self.one_less();
    }

    /// A record was not taken.
    pub fn fail(&self, code: Code) {
        let _ = self.failed.compare_exchange(0, code as i32, AcqRel, Relaxed);
    }

    fn one_less(&self) {
        if self.left.fetch_sub(1, AcqRel) == 1
            && let Some(answer) = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let _ = answer.send((self.finish)(self));
        }
    }
}

impl Slot {
    /// What a record of this block carries. To be given back by [`Slot::taken_back`] or [`Deliveries`], once.
    pub fn opaque(self: &Arc<Slot>) -> usize {
        self.pending.left.fetch_add(1, Relaxed);
        Arc::into_raw(self.clone()) as usize
    }

    /// The record with this opaque was not taken.
    pub fn taken_back(opaque: usize) {
        // SAFETY: it was made by `opaque`, and is given back once.
        let slot = unsafe { Arc::from_raw(opaque as *const Slot) };
        slot.pending.one_less();
    }
}

/// Tells the commits of their records.
pub(crate) struct Deliveries;

impl Events for Deliveries {
    fn delivered(&self, opaque: usize, result: Result<Offset, Code>) {
        // SAFETY: every record is handed in with an opaque of a slot, and told of once.
        let slot = unsafe { Arc::from_raw(opaque as *const Slot) };
        match result {
            Ok(offset) => {
                slot.pending.bases[slot.block].fetch_min(offset, Relaxed);
                slot.pending.ends[slot.block].fetch_max(offset + 1, Relaxed);
            }
            Err(code) => slot.pending.fail(code),
        }
        slot.pending.one_less();
    }
}
