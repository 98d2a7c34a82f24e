//! Where the address is: country, region, city, postal code, coordinates, time zone, from MMDB databases.

use event::Field;
use flow::{Asked, Planned, SourceId, Status};

use super::{Enricher, Slot, View, ask_by_address};

pub struct Geo {
    slot: Slot,
    source: Option<SourceId>,
}

impl Geo {
    pub fn new(slot: Slot, source: Option<SourceId>) -> Geo {
        Geo { slot, source }
    }
}

impl Enricher for Geo {
    fn name(&self) -> &str {
        "geo"
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
