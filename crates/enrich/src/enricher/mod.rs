//! One enricher, and the order of all of them.

mod bot;
pub mod campaign;
pub mod cross_domain;
mod device;
mod geo;
mod given;
mod lookup;
mod network;
pub mod referrer;

use std::borrow::Cow;
use std::net::IpAddr;

use event::{Field, HeaderRef, RecordRef};
use flow::{Asked, Fact, Facts, Planned, SourceId, Status};

use crate::address;
use crate::order::{self, Node, OrderError};
use crate::path::Base;

pub use bot::Bot;
pub use campaign::Campaign;
pub use cross_domain::CrossDomain;
pub use device::Device;
pub use geo::Geo;
pub use given::{Given, GivenMember};
pub use lookup::{AsksBy, KEY_MAX, Lookup, LookupSetup, PARAMETERS_MAX};
pub use network::Network;
pub use referrer::Referrer;

/// An event as enrichers see it.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub record: RecordRef<'a>,
    pub header: HeaderRef<'a>,
    /// Its address, normalised; everything that asks by address starts from here.
    pub address: Address,
}

impl<'a> Event<'a> {
    pub fn new(record: RecordRef<'a>, header: HeaderRef<'a>) -> Event<'a> {
        let text = match header.json(Field::IP, record.value.unwrap_or_default()) {
            // An address has no escapes in it.
            Some(json) => json.strip_prefix(b"\"").and_then(|j| j.strip_suffix(b"\"")),
            None => header.inherited_value(Field::IP),
        };
        let address = match text {
            None => Address::Absent,
            Some(text) => address::parse(text).map_or(Address::Unreadable, Address::Ip),
        };
        Event { record, header, address }
    }

    /// The text of a field: a string without quotes and escapes, a number or boolean as it is written; from the event, else
    /// from its batch, connection or source. `None` where it is absent, null, a list or an object. Allocates only for a
    /// string with escapes.
    pub fn text(&self, field: Field) -> Option<Cow<'a, [u8]>> {
        match self.json(field) {
            Some(json) => wire::json::text(json),
            None => self.header.inherited_value(field).map(Cow::Borrowed),
        }
    }

    /// The JSON of a field, as it stands in the event.
    pub fn json(&self, field: Field) -> Option<&'a [u8]> {
        self.header.json(field, self.record.value.unwrap_or_default())
    }
}

/// What an event has as its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    Absent,
    /// There is one, but it is none.
    Unreadable,
    Ip(IpAddr),
}

/// An enricher's place in the order; its ask is noted there, and others that come after it read its answer there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Slot(pub usize);

/// What an enricher may look at: the event, and the answers to what was asked for it so far.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub event: Event<'a>,
    pub(crate) notes: &'a [Planned],
    pub(crate) facts: &'a Facts,
    pub(crate) enrichers: &'a [Box<dyn Enricher>],
}

impl<'a> View<'a> {
    /// The answer to what the enricher at `slot` asked, or why it did not ask.
    pub fn fact(&self, slot: Slot) -> Fact<'a> {
        match self.notes[slot.0] {
            Ok(ask) => self.facts.fact(ask),
            Err(status) => Fact::none(status),
        }
    }

    /// What the enricher at `slot` writes for this event, appended to `out`: for those that depend on it.
    pub fn member(&self, slot: Slot, out: &mut Vec<u8>) -> Status {
        self.enrichers[slot.0].apply(self, out)
    }
}

/// One enricher: what it asks, and what it writes from the answers. Called in the order of [`in_order`].
pub trait Enricher: Send + Sync {
    /// The member it writes in `enriched`, and its name in `status`.
    fn name(&self) -> &str;

    /// The other members of `enriched` it reads when it writes its own. Those who write them come before it.
    fn reads(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The fields of the event it reads, for whoever wants to know what it depends on (`ouzel plan`).
    fn fields(&self) -> Vec<Field> {
        Vec::new()
    }

    /// The other members of `enriched` it reads before it asks. It asks in a round after theirs.
    fn needs(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether what it writes depends on what it asks. What does not is there for others in the first round.
    fn asks(&self) -> bool {
        true
    }

    /// What this event makes it ask, or why it asks nothing. Called once an event, in the enricher's round.
    fn plan(&self, _view: &View<'_>, _asked: &mut Asked) -> Planned {
        Err(Status::Skipped)
    }

    /// Appends the member's JSON to `out`. `Ok` with nothing appended: there is nothing to add and nothing to say. Anything
    /// but `Ok` and `Stale` writes nothing, and stands in `status`.
    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status;
}

/// What the enrichers are made from, by configuration. A source that is `None` is not configured: its enricher says
/// `skipped` for every event.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub geo: Option<SourceId>,
    pub network: Option<SourceId>,
    pub agent: Option<SourceId>,
    pub crawler: Option<SourceId>,
    pub referrer: Option<SourceId>,
    /// Hosts of one's own, lower case, beside the page's: a visit from there is `internal`.
    pub internal_hosts: Vec<String>,
    pub campaign: CampaignMap,
    /// The user's own lookups.
    pub lookups: Vec<LookupSetup>,
    /// Where a record's header has what lookups read of an event beyond the envelope: fields that sources' maps add, and
    /// JSON Pointers.
    pub fields: Vec<(Base, Field)>,
    /// Who says which visitor was last seen with a user, for events that have a user alone.
    pub link: Option<SourceId>,
    /// Members that are given instead of found out: tests of a pipeline have them, a run has none.
    pub given: Vec<GivenMember>,
}

impl Setup {
    /// Where a record's header has a field or pointer; `None` for one that no source maps.
    fn field(&self, base: &Base) -> Option<Field> {
        let own = self.fields.iter().find(|(b, _)| b == base).map(|(_, field)| *field);
        own.or(match base {
            Base::Field(name) => Field::named(name),
            Base::Pointer(_) | Base::Member(_) => None,
        })
    }
}

/// Which parameters of a page's URL say where a visit came from: the first that is there and not empty counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CampaignMap {
    pub source: Vec<String>,
    pub medium: Vec<String>,
    pub name: Vec<String>,
    pub term: Vec<String>,
    pub content: Vec<String>,
    /// (parameter, advertising network), in the order they are looked for.
    pub click_ids: Vec<(String, String)>,
}

/// All enrichers in their order, and in which round each asks.
pub(crate) struct Ordered {
    pub enrichers: Vec<Box<dyn Enricher>>,
    /// For each round the slots that ask in it.
    pub rounds: Vec<Vec<Slot>>,
}

/// The order of enrichers, with its reasons. Normalising (see [`crate::address`]) comes before all of them.
///
/// # Errors
/// Lookups that wait for one another, or for what nobody writes; see [`order::rounds`].
pub(crate) fn in_order(setup: &Setup) -> Result<Ordered, OrderError> {
    let mut enrichers: Vec<Box<dyn Enricher>> = Vec::new();
    let mut add = |make: &dyn Fn(Slot) -> Box<dyn Enricher>| {
        let slot = Slot(enrichers.len());
        enrichers.push(make(slot));
        slot
    };
    // Place comes first: it needs nothing but the address.
    add(&|slot| Box::new(Geo::new(slot, setup.geo)));
    // So does the network.
    let network = add(&|slot| Box::new(Network::new(slot, setup.network)));
    // Whether it is a program is judged by its agent and its network; what device it is, by its agent and that verdict.
    let bot = add(&|slot| Box::new(Bot::new(slot, setup.crawler, network)));
    add(&|slot| Box::new(Device::new(slot, setup.agent, bot)));
    // Where the visit came from: these need nothing but the page's URL and the referrer.
    add(&|slot| Box::new(Referrer::new(slot, setup.referrer, &setup.internal_hosts)));
    add(&|_| Box::new(Campaign::new(&setup.campaign)));
    add(&|_| Box::new(CrossDomain));
    // The user's lookups come last, so that they may read what built-in enrichers wrote. Among themselves they are ordered by
    // what they read, not by where they stand: see `rounds`.
    let built_in: Vec<String> = enrichers.iter().map(|e| e.name().to_owned()).collect();
    let slot_of = |name: &str| {
        let own = || setup.lookups.iter().position(|l| l.name == name).map(|n| n + built_in.len());
        built_in.iter().position(|n| n == name).or_else(own).map(Slot)
    };
    for (n, lookup) in setup.lookups.iter().enumerate() {
        enrichers.push(Box::new(Lookup::new(Slot(built_in.len() + n), lookup, setup, slot_of)));
    }
    let nodes: Vec<Node<'_>> = enrichers.iter().map(|e| Node::of(e.as_ref())).collect();
    let mut rounds = Vec::new();
    for (slot, round) in order::rounds(&nodes)?.into_iter().enumerate() {
        rounds.resize(rounds.len().max(round + 1), Vec::new());
        rounds[round].push(Slot(slot));
    }
    Ok(Ordered { enrichers, rounds })
}

impl Node<'_> {
    /// An enricher as the order sees it.
    pub fn of(enricher: &dyn Enricher) -> Node<'_> {
        Node { name: enricher.name(), needs: enricher.needs(), asks: enricher.asks() }
    }
}

/// The built-in enrichers for [`order::rounds`], in their order. Their members are there whether they are configured or not.
pub fn built_in() -> Vec<Box<dyn Enricher>> {
    in_order(&Setup::default()).expect("built-in enrichers have an order").enrichers
}

/// The event's user agent, if it has one that is not empty.
fn agent<'a>(view: &View<'a>) -> Option<Cow<'a, [u8]>> {
    // Logs write a dash for none.
    view.event.text(Field::USER_AGENT).filter(|agent| !matches!(agent.trim_ascii(), b"" | b"-"))
}

/// Longest agent that is asked for, in bytes: the sources judge by so many. Longer ones are somebody's attempt.
pub const AGENT_MAX: usize = 1024;

/// Asks `source` by the event's user agent.
fn ask_by_agent(source: Option<SourceId>, view: &View<'_>, asked: &mut Asked) -> Planned {
    let source = source.ok_or(Status::Skipped)?;
    let agent = agent(view).ok_or(Status::Skipped)?;
    Ok(asked.ask(source, &agent[..agent.len().min(AGENT_MAX)]))
}

/// Asks `source` by the event's address.
fn ask_by_address(source: Option<SourceId>, event: &Event<'_>, asked: &mut Asked) -> Planned {
    let source = source.ok_or(Status::Skipped)?;
    match event.address {
        Address::Ip(ip) => {
            let (key, len) = address::key(&ip);
            Ok(asked.ask(source, &key[..len]))
        }
        Address::Absent => Err(Status::Skipped),
        Address::Unreadable => Err(Status::Error("bad_address")),
    }
}
