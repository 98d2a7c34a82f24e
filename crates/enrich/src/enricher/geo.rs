//! Where the address is: country, region, city, postal code, coordinates, time zone, from MMDB databases.

use flow::{AskId, Asks, Facts, SourceId, Status};

use super::{Enricher, Event, ask_by_address};

pub struct Geo {
    source: Option<SourceId>,
}

impl Geo {
    pub fn new(source: Option<SourceId>) -> Geo {
        Geo { source }
    }
}

impl Enricher for Geo {
    fn name(&self) -> &str {
        "geo"
    }

    fn plan(&self, event: &Event<'_>, asks: &mut Asks) -> Result<AskId, Status> {
        ask_by_address(self.source.ok_or(Status::Skipped)?, event, asks)
    }

    fn apply(&self, _event: &Event<'_>, ask: AskId, facts: &Facts, out: &mut Vec<u8>) -> Status {
        let fact = facts.fact(ask);
        out.extend_from_slice(fact.json);
        fact.status
    }
}
