//! Holds a stage still: it stops reading, leaves a snapshot of each of its partitions at the committed position, says where,
//! and does nothing until it is let go. So what was snapshotted is not retired while somebody copies it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::Offset;

/// How often who waits looks whether waiting has become pointless.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The position of a partition's snapshot; `None`: there is no state yet.
pub type Snapped = Option<Offset>;

/// Which asking it is, so that a stage that is slow to see that it was let go does not sleep through the next one.
pub(crate) type Asking = u64;

#[derive(Default)]
pub struct Hold {
    /// Grows with every asking and every letting go; even numbers: nothing is asked.
    asking: AtomicU64,
    snapped: Mutex<BTreeMap<u32, Result<Snapped, String>>>,
    changed: Condvar,
}

/// The stage stands still as long as this lives.
pub struct Held<'a> {
    hold: &'a Hold,
    /// By partition.
    pub snapped: BTreeMap<u32, Snapped>,
}

impl Hold {
    /// Asks the stage to hold, and waits until all `partitions` have a snapshot. `give_up` says why that will never be.
    pub fn ask(&self, partitions: u32, give_up: impl Fn() -> Option<String>) -> Result<Held<'_>, String> {
        let mut held = self.raise()?;
        let mut snapped = self.lock();
        while snapped.len() < partitions as usize {
            if let Some(why) = give_up() {
                drop(snapped);
                return Err(why);
            }
            snapped = self.changed.wait_timeout(snapped, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(snapped);
        held.snapped = self.told()?;
        Ok(held)
    }

    /// Asks the stage to hold, and does not wait for it.
    pub fn raise(&self) -> Result<Held<'_>, String> {
        let _snapped = self.lock();
        if self.asked().is_some() {
            return Err("another savepoint is being made".to_owned());
        }
        self.asking.fetch_add(1, Relaxed);
        Ok(Held { hold: self, snapped: BTreeMap::new() })
    }

    /// What was told so far, by partition.
    pub fn told(&self) -> Result<BTreeMap<u32, Snapped>, String> {
        self.lock().iter().map(|(p, at)| Ok((*p, at.clone()?))).collect()
    }

    /// Asked of a stage: that it snapshots its partitions, tells of each, and does nothing until it is let go.
    pub(crate) fn asked(&self) -> Option<Asking> {
        Some(self.asking.load(Relaxed)).filter(|asking| asking % 2 == 1)
    }

    pub(crate) fn tell(&self, asking: Asking, partition: u32, snapped: Result<Snapped, String>) {
        let mut all = self.lock();
        if self.asked() == Some(asking) {
            all.insert(partition, snapped);
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Result<Snapped, String>>> {
        self.snapped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut snapped = self.hold.lock();
        snapped.clear();
        self.hold.asking.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_stage_is_held_until_it_is_let_go_and_no_longer() {
        let (hold, stop) = (Hold::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let (mut turns, mut told) = (0, None);
                while !stop.load(Relaxed) {
                    let Some(asking) = hold.asked().filter(|asking| told != Some(*asking)) else { continue };
                    (0..3).for_each(|p| hold.tell(asking, p, Ok((p > 0).then_some(u64::from(p) + turns))));
                    told = Some(asking);
                    turns += 1;
                }
            });
            // One right after the other: the thread has not always seen that it was let go.
            for turn in 0..200 {
                let held = hold.ask(3, || None).expect("held");
                assert_eq!(held.snapped[&0], None);
                assert!(held.snapped[&1] == Some(1 + turn) && held.snapped[&2] > held.snapped[&1]);
                assert!(hold.ask(3, || None).is_err(), "one at a time");
            }
            stop.store(true, Relaxed);
            thread.join().expect("it was let go");
        });
        let why = hold.ask(1, || Some("it stopped".to_owned())).err();
        assert_eq!(why.as_deref(), Some("it stopped"));
        assert_eq!(hold.asked(), None);
    }
}
