//! What is due when. A timer is taken out by whoever set it: none is left behind.

use std::collections::BTreeSet;

use crate::{AskId, CallId, Key};

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Due {
    /// A call is to be given up, or made again.
    Call(CallId),
    /// An ask's deadline.
    Ask(AskId),
    /// A refresh has taken too long.
    Refresh(Key),
    /// A flight's next step in the shared tier.
    Flight(Key),
}

#[derive(Default)]
pub struct Timers {
    set: BTreeSet<(u64, Due)>,
}

impl Timers {
    pub fn set(&mut self, at: u64, due: Due) {
        self.set.insert((at, due));
    }

    pub fn clear(&mut self, at: u64, due: Due) {
        self.set.remove(&(at, due));
    }

    /// The next one that is due, if its time has come.
    pub fn take(&mut self, now: u64) -> Option<Due> {
        (self.first()? <= now).then(|| self.set.pop_first().expect("there is a first").1)
    }

    pub fn first(&self) -> Option<u64> {
        self.set.first().map(|(at, _)| *at)
    }
}
