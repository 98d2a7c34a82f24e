//! Holds a stage still: its threads stop reading, leave a snapshot of each of their partitions at the committed position,
//! say where, and wait until they are let go. So what was snapshotted is not retired while somebody copies it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::Offset;

/// How often who waits looks whether waiting has become pointless.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The position of a partition's snapshot; `None`: there is no state yet.
pub type Snapped = Option<Offset>;

/// Which asking it is, so that a thread that is slow to see that it was let go does not sleep through the next one.
pub(crate) type Turn = u64;

#[derive(Default)]
pub struct Hold {
    /// The turn that is asked for; even numbers: none is.
    turn: AtomicU64,
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
    /// Asks the threads to hold, and waits until all `partitions` have a snapshot. `give_up` says why that will never be.
    pub fn ask(&self, partitions: u32, give_up: impl Fn() -> Option<String>) -> Result<Held<'_>, String> {
        let mut snapped = self.lock();
        if self.asked().is_some() {
            return Err("another savepoint is being made".to_owned());
        }
        self.turn.fetch_add(1, Relaxed);
        let mut held = Held { hold: self, snapped: BTreeMap::new() };
        while snapped.len() < partitions as usize {
            if let Some(why) = give_up() {
                drop(snapped);
                return Err(why);
            }
            snapped = self.changed.wait_timeout(snapped, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        let all: Result<BTreeMap<u32, Snapped>, String> = snapped.iter().map(|(p, at)| Ok((*p, at.clone()?))).collect();
        drop(snapped);
        held.snapped = all?;
        Ok(held)
    }

    /// Asked of a thread: that it snapshots its partitions, tells of each, and waits.
    pub(crate) fn asked(&self) -> Option<Turn> {
        Some(self.turn.load(Relaxed)).filter(|turn| turn % 2 == 1)
    }

    pub(crate) fn tell(&self, turn: Turn, partition: u32, snapped: Result<Snapped, String>) {
        let mut all = self.lock();
        if self.asked() == Some(turn) {
            all.insert(partition, snapped);
            self.changed.notify_all();
        }
    }

    /// Returns when the stage is let go, or is to stop.
    pub(crate) fn wait(&self, turn: Turn, stop: &AtomicBool) {
        let mut snapped = self.lock();
        while self.asked() == Some(turn) && !stop.load(Relaxed) {
            snapped = self.changed.wait_timeout(snapped, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
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
        self.hold.turn.fetch_add(1, Relaxed);
        drop(snapped);
        self.hold.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_held_until_it_is_let_go_and_no_longer() {
        let (hold, stop) = (Hold::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut turns = 0;
                while !stop.load(Relaxed) {
                    let Some(turn) = hold.asked() else { continue };
                    (0..3).for_each(|p| hold.tell(turn, p, Ok((p > 0).then_some(u64::from(p) + turns))));
                    hold.wait(turn, &stop);
                    turns += 1;
                }
            });
            // One right after the other: the thread has not always seen that it was let go.
            for turn in 0..200 {
                let held = hold.ask(3, || None).expect("held");
                assert_eq!(held.snapped[&0], None);
                assert!(held.snapped[&1] <= Some(1 + turn) && held.snapped[&2] > held.snapped[&1]);
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
