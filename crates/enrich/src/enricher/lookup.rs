//! A lookup of the user's own: the fact as its source gave it, under the name the configuration gives it.

use event::Field;
use flow::{Asked, Planned, SourceId, Status};

use super::{Enricher, Slot, View, ask_by_address};

/// A lookup, as the configuration has it.
#[derive(Clone, Debug)]
pub struct LookupSetup {
    /// The member it writes.
    pub name: String,
    pub source: SourceId,
}

pub struct Lookup {
    slot: Slot,
    name: String,
    source: SourceId,
}

impl Lookup {
    pub fn new(slot: Slot, setup: &LookupSetup) -> Lookup {
        Lookup { slot, name: setup.name.clone(), source: setup.source }
    }
}

impl Enricher for Lookup {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::IP]
    }

    fn plan(&self, view: &View<'_>, asked: &mut Asked) -> Planned {
        ask_by_address(Some(self.source), &view.event, asked)
    }

    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let fact = view.fact(self.slot);
        out.extend_from_slice(fact.json);
        fact.status
    }
}
