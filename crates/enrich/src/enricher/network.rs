//! What network the address is in: its autonomous system, what kind of network it is, and what is said of it.

use event::Field;
use flow::{Asked, Planned, SourceId, Status};

use super::{Enricher, Slot, View, ask_by_address};

pub struct Network {
    slot: Slot,
    source: Option<SourceId>,
}

impl Network {
    pub fn new(slot: Slot, source: Option<SourceId>) -> Network {
        Network { slot, source }
    }
}

impl Enricher for Network {
    fn name(&self) -> &str {
        "network"
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::IP]
    }

    fn plan(&self, view: &View<'_>, asked: &mut Asked) -> Planned {
        ask_by_address(self.source, &view.event, asked)
    }

    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let fact = view.fact(self.slot);
        out.extend_from_slice(fact.json);
        fact.status
    }
}
