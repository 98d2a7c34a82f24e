//! Keyed state and timers of one input partition, with one overlay of changes per open commit.
//!
//! ```text
//! read:   newest overlay -> ... -> oldest overlay -> committed
//! write:  newest overlay
//! commit decided:  Committed -> oldest overlay is merged;  Aborted -> it is dropped with all that are stacked on it
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use event::Micros;
use hashbrown::DefaultHashBuilder;
use hashbrown::HashMap;

type Map<V> = HashMap<Vec<u8>, V, DefaultHashBuilder>;

/// State of one operator for one partition: values by key (each operator's own encoding) and event-time timers.
#[derive(Default)]
pub struct Keyed {
    values: Map<Vec<u8>>,
    timers: BTreeSet<(Micros, Vec<u8>)>,
    overlays: VecDeque<Overlay>,
}

#[derive(Default)]
struct Overlay {
    /// `None`: removed.
    values: Map<Option<Vec<u8>>>,
    /// Whether the timer is set or cleared.
    timers: BTreeMap<(Micros, Vec<u8>), bool>,
}

impl Keyed {
    /// Opens the overlay of the next commit; writes go there from now on.
    pub fn open(&mut self) {
        self.overlays.push_back(Overlay::default());
    }

    /// The oldest open commit happened: its overlay becomes part of the state.
    pub fn merge_oldest(&mut self) {
        let overlay = self.overlays.pop_front().expect("an overlay for each open commit");
        for (key, value) in overlay.values {
            match value {
                Some(value) => self.values.insert(key, value),
                None => self.values.remove(&key),
            };
        }
        for (timer, set) in overlay.timers {
            if set {
                self.timers.insert(timer);
            } else {
                self.timers.remove(&timer);
            }
        }
    }

    /// The oldest open commit did not happen: its overlay and all stacked on it never were.
    pub fn drop_all_open(&mut self) {
        self.overlays.clear();
    }

    /// Drops the newest overlay alone: a panic in the middle of a batch, or of one record.
    pub fn drop_newest(&mut self) {
        self.overlays.pop_back().expect("an overlay that was opened");
    }

    /// Folds the newest overlay into the one below it: a record of a batch went well.
    pub fn fold_newest(&mut self) {
        let top = self.overlays.pop_back().expect("an overlay that was opened");
        let below = self.newest();
        below.values.extend(top.values);
        below.timers.extend(top.timers);
    }

    pub fn value(&self, key: &[u8]) -> Option<&[u8]> {
        for overlay in self.overlays.iter().rev() {
            if let Some(value) = overlay.values.get(key) {
                return value.as_deref();
            }
        }
        self.values.get(key).map(Vec::as_slice)
    }

    pub fn set(&mut self, key: &[u8], value: Vec<u8>) {
        self.newest().values.insert(key.to_vec(), Some(value));
    }

    pub fn remove(&mut self, key: &[u8]) {
        self.newest().values.insert(key.to_vec(), None);
    }

    pub fn set_timer(&mut self, at: Micros, key: &[u8]) {
        self.newest().timers.insert((at, key.to_vec()), true);
    }

    pub fn clear_timer(&mut self, at: Micros, key: &[u8]) {
        self.newest().timers.insert((at, key.to_vec()), false);
    }

    fn newest(&mut self) -> &mut Overlay {
        self.overlays.back_mut().expect("open() before the first write of a commit")
    }

    /// The committed state in a canonical order: two states are equal when these bytes are.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let sorted: BTreeMap<_, _> = self.values.iter().collect();
        for (key, value) in sorted {
            for part in [key, value] {
                out.extend_from_slice(&(part.len() as u32).to_le_bytes());
                out.extend_from_slice(part);
            }
        }
        out.extend_from_slice(&u32::MAX.to_le_bytes());
        for (at, key) in &self.timers {
            out.extend_from_slice(&at.0.to_le_bytes());
            out.extend_from_slice(&(key.len() as u32).to_le_bytes());
            out.extend_from_slice(key);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_stack_merge_and_fall() {
        let mut s = Keyed::default();
        s.open();
        s.set(b"a", b"1".to_vec());
        s.set_timer(Micros(5), b"a");
        s.open();
        s.set(b"b", b"2".to_vec());
        s.remove(b"a");
        s.clear_timer(Micros(5), b"a");
        assert_eq!((s.value(b"a"), s.value(b"b")), (None, Some(&b"2"[..])));
        s.merge_oldest();
        assert_eq!(s.value(b"a"), None, "the open overlay still hides it");
        s.drop_all_open();
        assert_eq!((s.value(b"a"), s.value(b"b")), (Some(&b"1"[..]), None));
        let with_a = s.canonical();
        s.open();
        s.set(b"z", b"9".to_vec());
        s.drop_newest();
        assert_eq!(s.canonical(), with_a);
        s.open();
        s.open();
        s.set(b"c", b"3".to_vec());
        s.fold_newest();
        s.merge_oldest();
        assert_eq!(s.value(b"c"), Some(&b"3"[..]));
    }
}
