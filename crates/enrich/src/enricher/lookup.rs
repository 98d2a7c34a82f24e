//! A lookup of the user's own: the fact as its source gave it, under the name the configuration gives it.

use flow::{AskId, Asks, Facts, SourceId, Status};

use super::{Enricher, Event, ask_by_address};

pub struct Lookup {
    name: String,
    source: SourceId,
}

impl Lookup {
    pub fn new(name: String, source: SourceId) -> Lookup {
        Lookup { name, source }
    }
}

impl Enricher for Lookup {
    fn name(&self) -> &str {
        &self.name
    }

    fn plan(&self, event: &Event<'_>, asks: &mut Asks) -> Result<AskId, Status> {
        ask_by_address(self.source, event, asks)
    }

    fn apply(&self, _event: &Event<'_>, ask: AskId, facts: &Facts, out: &mut Vec<u8>) -> Status {
        let fact = facts.fact(ask);
        out.extend_from_slice(fact.json);
        fact.status
    }
}
