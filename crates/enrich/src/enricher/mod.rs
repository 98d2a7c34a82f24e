//! One enricher, and the order of all of them.

mod geo;
mod lookup;

use std::net::IpAddr;

use event::{Field, HeaderRef, RecordRef};
use flow::{AskId, Asks, Facts, SourceId, Status};

use crate::address;

pub use geo::Geo;
pub use lookup::Lookup;

/// An event as enrichers see it.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub record: RecordRef<'a>,
    pub header: HeaderRef<'a>,
}

impl Event<'_> {
    /// The event's address, normalised; everything that asks by address starts from here.
    pub fn address(&self) -> Address {
        let text = match self.header.json(Field::IP, self.record.value.unwrap_or_default()) {
            // An address has no escapes in it.
            Some(json) => json.strip_prefix(b"\"").and_then(|j| j.strip_suffix(b"\"")),
            None => self.header.inherited_value(Field::IP),
        };
        match text {
            None => Address::Absent,
            Some(text) => address::parse(text).map_or(Address::Unreadable, Address::Ip),
        }
    }
}

/// What [`Event::address`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    Absent,
    /// There is one, but it is none.
    Unreadable,
    Ip(IpAddr),
}

/// One enricher: what it asks, and what it writes from the answer. Called in the order of [`in_order`].
pub trait Enricher: Send + Sync {
    /// The member it writes in `enriched`, and its name in `status`.
    fn name(&self) -> &str;

    /// What this event makes it ask, or why it asks nothing.
    fn plan(&self, event: &Event<'_>, asks: &mut Asks) -> Result<AskId, Status>;

    /// The member's JSON, appended to `out`; anything but `Ok` and `Stale` writes nothing.
    fn apply(&self, event: &Event<'_>, ask: AskId, facts: &Facts, out: &mut Vec<u8>) -> Status;
}

/// Which sources there are, by configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `None`: no database is configured, and every event's `status.geo` is `skipped`.
    pub geo: Option<SourceId>,
    /// The user's own lookups: (name, source).
    pub lookups: Vec<(String, SourceId)>,
}

/// The order of enrichers, with its reasons. Normalising (see [`crate::address`]) comes before all of them.
pub fn in_order(sources: &Sources) -> Vec<Box<dyn Enricher>> {
    let mut all: Vec<Box<dyn Enricher>> = vec![
        // Place comes first: it needs nothing but the address.
        Box::new(Geo::new(sources.geo)),
    ];
    // The user's lookups come last, so that later ones may read what built-in enrichers wrote.
    for (name, source) in &sources.lookups {
        all.push(Box::new(Lookup::new(name.clone(), *source)));
    }
    all
}

/// Asks `source` by the event's address.
fn ask_by_address(source: SourceId, event: &Event<'_>, asks: &mut Asks) -> Result<AskId, Status> {
    match event.address() {
        Address::Ip(ip) => {
            let (key, len) = address::key(&ip);
            Ok(asks.ask(source, &key[..len]))
        }
        Address::Absent => Err(Status::Skipped),
        Address::Unreadable => Err(Status::Error("bad_address")),
    }
}
