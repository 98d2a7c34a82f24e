//! The shared tier of a world: entries as bytes, leases with owners. A read may see what was there a while ago.

use std::collections::BTreeMap;

use ouzel_ask::Key;

#[derive(Default)]
pub struct Store {
    /// What was written under a key, with when; newest last.
    entries: BTreeMap<Key, Vec<(u64, Vec<u8>)>>,
    /// Owner and end.
    leases: BTreeMap<Key, (u64, u64)>,
}

impl Store {
    pub fn write(&mut self, now: u64, key: Key, bytes: Vec<u8>) {
        self.entries.entry(key).or_default().push((now, bytes));
    }

    pub fn read(&self, now: u64, lag_us: u64, key: &Key) -> Option<Vec<u8>> {
        let written = self.entries.get(key)?.iter().rev();
        let mut seen = written.filter(|(at, _)| at + lag_us <= now);
        seen.next().map(|(_, bytes)| bytes.clone())
    }

    /// Everything is gone.
    pub fn forget(&mut self) {
        *self = Store::default();
    }

    /// Whether the owner has it now.
    pub fn lease(&mut self, now: u64, key: Key, owner: u64, for_us: u64) -> bool {
        let lease = self.leases.entry(key).or_insert((owner, 0));
        let may = lease.0 == owner || lease.1 <= now;
        if may {
            *lease = (owner, now + for_us);
        }
        may
    }

    pub fn release(&mut self, key: &Key, owner: u64) {
        if self.leases.get(key).is_some_and(|lease| lease.0 == owner) {
            self.leases.remove(key);
        }
    }
}
