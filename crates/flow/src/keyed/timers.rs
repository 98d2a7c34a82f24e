//! Event-time timers, one a slot at most.

use std::collections::BTreeSet;

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
    pub fn earliest(&self) -> Option<Micros> {
        self.set.first().map(|(at, _)| *at)
    }

    /// By time; those of the same time in any order.
    pub fn iter(&self) -> impl Iterator<Item = (Micros, u32)> {
        self.set.iter().copied()
    }

    pub fn set(&mut self, timer: Option<Micros>, slot: u32) {
        let Some(at) = timer else { return };
        self.set.insert((at, slot));
        if self.sorted.as_ref().is_some_and(|s| s.at == at) {
            self.sorted = None;
        }
    }

    pub fn clear(&mut self, timer: Option<Micros>, slot: u32) {
        if let Some(at) = timer {
            self.set.remove(&(at, slot));
        }
    }

    pub fn due(&mut self, until: Micros, max: usize, slots: &[Slot]) -> Vec<(Micros, Vec<u8>)> {
        let mut due = Vec::new();
        let mut next = self.earliest();
        while let Some(at) = next.filter(|at| *at <= until) {
            self.due_at(at, max, slots, &mut due);
            if due.len() >= max || at.0 == i64::MAX {
                break;
            }
            next = self.set.range((Micros(at.0 + 1), 0)..).next().map(|(at, _)| *at);
        }
        due
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
