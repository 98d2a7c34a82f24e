//! Event-time timers, one a slot at most.
//!
//! A timer that is moved to a later time leaves its entry where it is, and the entry is moved when its old time comes: a
//! session's timer moves with each of its events, and comes once or twice.
//!
//! ```text
//!   entry of a slot with a timer:  one, at slot.entry <= slot.timer      (stale while it is less)
//!   entry of a slot without:       none
//! ```

use std::collections::BTreeSet;
use std::ops::Bound;

use event::Micros;

use super::slab::Slot;

#[derive(Default)]
pub struct Timers {
    /// Equal times are in no order that means anything here: a slot's number says nothing about its key.
    set: BTreeSet<(Micros, u32)>,
    sorted: Option<Sorted>,
}

/// The timers of one time, sorted by key once: access logs have times of whole seconds, and then tens of thousands are
/// due at once, of which a caller takes a few at a time.
///
/// It may name slots that have no timer at this time any more. It lacks none that has: setting one drops it.
struct Sorted {
    at: Micros,
    slots: Vec<u32>,
    /// Slots before this one have no timer at this time any more.
    next: usize,
}

impl Timers {
    /// The earliest timer. Entries that are stale and stand before it are moved.
    pub fn earliest(&mut self, slots: &mut [Slot]) -> Option<Micros> {
        loop {
            let (at, slot) = *self.set.first()?;
            if slots[slot as usize].timer == Some(at) {
                return Some(at);
            }
            self.refresh(at, slot, slots);
        }
    }

    /// Slots that have a timer, in any order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.set.iter().map(|(_, slot)| *slot)
    }

    /// The slot's timer was changed.
    pub fn changed(&mut self, slot: u32, held: &mut Slot) {
        if let (Some(entry), Some(timer)) = (held.entry, held.timer)
            && entry <= timer
        {
            // What was sorted lacks a slot that comes back to its entry's time.
            if self.sorted.as_ref().is_some_and(|s| s.at == timer) {
                self.sorted = None;
            }
            return;
        }
        if let Some(entry) = held.entry {
            self.set.remove(&(entry, slot));
        }
        held.entry = held.timer;
        if let Some(at) = held.timer {
            self.set.insert((at, slot));
            if self.sorted.as_ref().is_some_and(|s| s.at == at) {
                self.sorted = None;
            }
        }
    }

    /// Moves a stale entry to its slot's timer.
    fn refresh(&mut self, entry: Micros, slot: u32, slots: &mut [Slot]) {
        let held = &mut slots[slot as usize];
        self.set.remove(&(entry, slot));
        held.entry = None;
        self.changed(slot, held);
    }

    pub fn due(&mut self, until: Micros, max: usize, slots: &mut [Slot]) -> Vec<(Micros, Vec<u8>)> {
        let mut due = Vec::new();
        let mut next = self.earliest(slots);
        while let Some(at) = next.filter(|at| *at <= until) {
            self.due_at(at, max, slots, &mut due);
            if due.len() >= max || at.0 == i64::MAX {
                break;
            }
            next = self.after(at, slots);
        }
        due
    }

    /// The earliest timer after a time of which nothing earlier is left. Stale entries from that time on are moved.
    fn after(&mut self, time: Micros, slots: &mut [Slot]) -> Option<Micros> {
        let mut from = Bound::Included((time, 0));
        loop {
            let (at, slot) = *self.set.range((from, Bound::Unbounded)).next()?;
            if slots[slot as usize].timer != Some(at) {
                self.refresh(at, slot, slots);
            } else if at > time {
                return Some(at);
            } else {
                from = Bound::Excluded((at, slot));
            }
        }
    }

    fn due_at(&mut self, at: Micros, max: usize, slots: &[Slot], due: &mut Vec<(Micros, Vec<u8>)>) {
        let mut sorted = match self.sorted.take() {
            Some(sorted) if sorted.at == at => sorted,
            kept => {
                self.sorted = kept;
                let mut of_time: Vec<u32> = self.set.range((at, 0)..=(at, u32::MAX)).map(|(_, slot)| *slot).collect();
                of_time.sort_unstable_by(|a, b| slots[*a as usize].key.cmp(&slots[*b as usize].key));
                Sorted { at, slots: of_time, next: 0 }
            }
        };
        let set = |slot: u32| slots[slot as usize].timer == Some(at);
        while sorted.slots.get(sorted.next).is_some_and(|slot| !set(*slot)) {
            sorted.next += 1;
        }
        let left = &sorted.slots[sorted.next..];
        let wanted = left.iter().filter(|slot| set(**slot)).take(max - due.len());
        due.extend(wanted.map(|slot| (at, slots[*slot as usize].key.to_vec())));
        if left.len() > max {
            self.sorted = Some(sorted);
        }
    }
}
