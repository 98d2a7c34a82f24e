//! Snapshots of keyed state: the keys that changed since the one before, as they were at its begin, in slices. A key that
//! is written before its slice came is saved first (copy on write).
//!
//! ```text
//!   begin n            slice   slice   slice = done, begin n + 1
//!   ──┬─────────────────┬───────┬───────┬──────────────
//!     │ changed before: │ waiting, written as of "begin n", or saved by the first write after it
//!     │ changed after:  └─► belongs to n + 1
//! ```
//!
//! Entries, one after another, numbers little-endian:
//! ```text
//!   flags u8 (1: removed, 2: has a timer) | key length u32 | value length u32 | timer i64, if it has one | key | value
//! ```

use std::collections::{BTreeSet, VecDeque};

use event::Micros;

use super::Keyed;
use super::slab::{Contents, Slab, Slot};

const REMOVED: u8 = 1;
const TIMER: u8 = 2;

/// Removed keys that are remembered at the least, however few are live. Beyond that and beyond the number of live keys, a
/// full snapshot is no more to write than the removals are.
const GONE_MIN: usize = 1 << 16;

/// What was saved is handed on in pieces of about this many bytes, so that a slice stays short.
const SAVED_PIECE: usize = 64 << 10;

/// A slot that is passed over costs a slice this many bytes, so that passing over many of them is bounded too.
const VISIT: usize = 32;

/// Which keys changed since when. A slot is marked with the number of the snapshot to come; so beginning one, which takes
/// the next number, touches no slot.
pub struct Changes {
    /// Of the snapshot to come; from 1 on.
    number: u32,
    /// Whether changes are noted: only when there is a snapshot to which they would be added.
    noting: bool,
    /// Slots that have the mark `number`, each once.
    slots: Vec<u32>,
    /// Keys that were removed, and are not there now.
    gone: BTreeSet<Box<[u8]>>,
    running: Option<Running>,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes { number: 1, noting: false, slots: Vec::new(), gone: BTreeSet::new(), running: None }
    }
}

/// The snapshot that is being taken: changes up to its begin, not yet given out.
struct Running {
    /// The mark of the slots that wait, in an increment.
    number: u32,
    /// All slots below this number wait in a full snapshot, marked or not.
    full: Option<u32>,
    /// How far `slots`, or all slots in a full one, have been given out.
    next: usize,
    slots: Vec<u32>,
    gone: BTreeSet<Box<[u8]>>,
    /// Removed keys that were given out, in case the snapshot is abandoned.
    gone_out: Vec<Box<[u8]>>,
    saved: VecDeque<Vec<u8>>,
    /// Whether there was a snapshot before.
    noted: bool,
}

/// Bytes that are no entries of a snapshot, or not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadError {
    /// Where the entry begins that cannot be read.
    pub at: usize,
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the entry at byte {} of a snapshot cannot be read", self.at)
    }
}

impl std::error::Error for LoadError {}

impl Keyed {
    /// Whether only a full snapshot can be begun: there was none, or too much was removed since to remember it.
    pub fn needs_full_snapshot(&self) -> bool {
        !self.changes.noting
    }

    /// Begins a snapshot of the state as it is now: of all keys if `full`, else of those that changed since the last one
    /// that was begun, or loaded. `false`: it was not begun, because a commit is open, one is running, or only a full one
    /// can be begun.
    ///
    /// If what it gave out is lost after its last slice, the next must be full.
    pub fn begin_snapshot(&mut self, full: bool) -> bool {
        if !self.open.is_empty() || self.changes.running.is_some() || (!full && self.needs_full_snapshot()) {
            return false;
        }
        let c = &mut self.changes;
        c.running = Some(Running {
            number: c.number,
            full: full.then_some(self.slab.slots()),
            next: 0,
            slots: std::mem::take(&mut c.slots),
            gone: std::mem::take(&mut c.gone),
            gone_out: Vec::new(),
            saved: VecDeque::new(),
            noted: c.noting,
        });
        c.number += 1;
        c.noting = true;
        true
    }

    /// Appends about `max_bytes` of entries (at least one, and whole ones). `true`: that was all, or no snapshot is running.
    pub fn snapshot_slice(&mut self, max_bytes: usize, out: &mut Vec<u8>) -> bool {
        let Changes { running, number, .. } = &mut self.changes;
        let Some(run) = running else { return true };
        let end = out.len() + max_bytes;
        let mut visited = 0;
        while run.give_one(&mut self.slab, *number, out) {
            visited += VISIT;
            if out.len() + visited >= end {
                return false;
            }
        }
        *running = None;
        true
    }

    /// Forgets the running snapshot: its keys count as changed again.
    pub fn abandon_snapshot(&mut self) {
        let Some(run) = self.changes.running.take() else { return };
        let c = &mut self.changes;
        if !run.noted {
            c.forget();
        }
        if !c.noting {
            return;
        }
        for slot in run.slots {
            c.mark(&mut self.slab, slot);
        }
        let again = run.gone.into_iter().chain(run.gone_out);
        c.gone.extend(again.filter(|key| self.slab.find(key).is_none()));
    }

    /// Applies entries of a snapshot, or of a part of it that ends between two of them; a chain's base first, then its
    /// increments in order. What is loaded does not count as changed. Panics while a commit is open or a snapshot is
    /// running.
    ///
    /// After an error the state holds a part of the entries, and is to be thrown away.
    pub fn load(&mut self, entries: &[u8]) -> Result<(), LoadError> {
        assert!(self.open.is_empty() && self.changes.running.is_none(), "a state is loaded before it is used");
        self.changes.noting = true;
        let mut rest = entries;
        while !rest.is_empty() {
            let at = entries.len() - rest.len();
            let (entry, behind) = Entry::decode(rest).ok_or(LoadError { at })?;
            rest = behind;
            match (self.slab.find(entry.key), entry.value) {
                (Some(slot), Some(value)) => {
                    self.slab.replace(slot, value.into(), entry.timer);
                }
                (None, Some(value)) => {
                    self.slab.insert(Contents { key: entry.key.into(), value: value.into(), timer: entry.timer });
                }
                (Some(slot), None) => {
                    self.slab.take(slot);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }
}

impl Changes {
    /// IMPORTANT: before the slot changes, or what the running snapshot waits for is lost.
    pub fn before_change(&mut self, slab: &mut Slab, slot: u32) {
        if let Some(run) = &mut self.running
            && run.waits_for(slab.slot(slot), slot, self.number)
        {
            run.save(slab.slot(slot));
        }
        self.mark(slab, slot);
    }

    pub fn after_insert(&mut self, slab: &mut Slab, slot: u32) {
        self.mark(slab, slot);
        if !self.gone.is_empty() {
            self.gone.remove(&slab.slot(slot).key);
        }
    }

    pub fn after_remove(&mut self, key: &[u8], live: usize) {
        if self.noting {
            self.gone.insert(key.into());
            if self.gone.len() > live.max(GONE_MIN) && self.running.is_none() {
                self.forget();
            }
        }
    }

    fn mark(&mut self, slab: &mut Slab, slot: u32) {
        let held = slab.slot_mut(slot);
        if self.noting && held.changed_in != self.number {
            held.changed_in = self.number;
            self.slots.push(slot);
        }
    }

    /// The next snapshot is a full one. It has another number, so that marks that stay behind mean nothing.
    fn forget(&mut self) {
        self.noting = false;
        self.slots = Vec::new();
        self.gone = BTreeSet::new();
    }
}

impl Running {
    /// Whether the slot still holds what the snapshot wants of it. `number`: the mark of what changed after the begin.
    fn waits_for(&self, held: &Slot, slot: u32, number: u32) -> bool {
        let waits = match self.full {
            Some(end) => (self.next as u32..end).contains(&slot) && held.changed_in != number,
            None => held.changed_in == self.number,
        };
        waits && held.live
    }

    fn save(&mut self, held: &Slot) {
        if self.saved.back().is_none_or(|piece| piece.len() >= SAVED_PIECE) {
            self.saved.push_back(Vec::with_capacity(SAVED_PIECE));
        }
        Entry::of(held).encode(self.saved.back_mut().expect("pushed above"));
    }

    /// Gives out a piece of what was saved, or a removal, or a slot. `false`: nothing is left.
    fn give_one(&mut self, slab: &mut Slab, number: u32, out: &mut Vec<u8>) -> bool {
        if let Some(piece) = self.saved.pop_front() {
            out.extend_from_slice(&piece);
            return true;
        }
        if self.full.is_none()
            && let Some(key) = self.gone.pop_first()
        {
            Entry { key: &key, value: None, timer: None }.encode(out);
            self.gone_out.push(key);
            return true;
        }
        let slot = match self.full {
            Some(end) => (self.next < end as usize).then_some(self.next as u32),
            None => self.slots.get(self.next).copied(),
        };
        let Some(slot) = slot else { return false };
        if self.waits_for(slab.slot(slot), slot, number) {
            Entry::of(slab.slot(slot)).encode(out);
            // It is not waited for any more. In a full snapshot `next` says so, and the mark is left to the next one.
            if self.full.is_none() {
                slab.slot_mut(slot).changed_in = 0;
            }
        }
        self.next += 1;
        true
    }
}

struct Entry<'a> {
    key: &'a [u8],
    /// `None`: removed.
    value: Option<&'a [u8]>,
    timer: Option<Micros>,
}

impl<'a> Entry<'a> {
    fn of(held: &'a Slot) -> Entry<'a> {
        Entry { key: &held.key, value: Some(&held.value), timer: held.timer }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let removed = if self.value.is_none() { REMOVED } else { 0 };
        let value = self.value.unwrap_or_default();
        out.push(removed | if self.timer.is_some() { TIMER } else { 0 });
        out.extend_from_slice(&(self.key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        if let Some(at) = self.timer {
            out.extend_from_slice(&at.0.to_le_bytes());
        }
        out.extend_from_slice(self.key);
        out.extend_from_slice(value);
    }

    /// The first entry, and what follows it.
    fn decode(bytes: &'a [u8]) -> Option<(Entry<'a>, &'a [u8])> {
        let (flags, rest) = bytes.split_first()?;
        let (key_len, rest) = rest.split_first_chunk()?;
        let (value_len, mut rest) = rest.split_first_chunk()?;
        let mut timer = None;
        if flags & TIMER != 0 {
            let (at, behind) = rest.split_first_chunk()?;
            timer = Some(Micros(i64::from_le_bytes(*at)));
            rest = behind;
        }
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key_len) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
        let removed = flags & REMOVED != 0;
        if flags & !(REMOVED | TIMER) != 0 || (removed && (timer.is_some() || !value.is_empty())) {
            return None;
        }
        Some((Entry { key, value: (!removed).then_some(value), timer }, rest))
    }
}
