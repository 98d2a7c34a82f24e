//! A lookup of the user's own: the fact as its source gave it, under the name the configuration gives it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write as _;
use std::ops::Range;

use event::Field;
use flow::{Asked, Planned, SourceId, Status};
use wire::json::{Kind, kind, text, walk};

use super::{Address, Enricher, Setup, Slot, View};
use crate::address;
use crate::condition::{Condition, Given};
use crate::key;
use crate::path::{Base, Path};

/// Longest key that is asked for, in bytes. Ids have 20 to 60; what is longer is a text that was taken for a key, and would
/// fill caches with it.
pub const KEY_MAX: usize = 1024;

/// Most parameters of a key: what a statement takes is written by hand, and each is read for every event.
pub const PARAMETERS_MAX: usize = 8;

/// A lookup, as the configuration has it.
#[derive(Clone, Debug)]
pub struct LookupSetup {
    /// The member it writes.
    pub name: String,
    pub source: SourceId,
    pub asks_by: AsksBy,
    /// One, or one for each parameter of a source that is asked by [`AsksBy::Parameters`]; [`PARAMETERS_MAX`] at most.
    pub key: Vec<Path>,
    pub when: Option<Condition>,
}

/// What a source takes as a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AsksBy {
    /// A text; see [`Lookup`].
    Text,
    /// An address as people write it, whose 4 or 16 bytes are asked for.
    Address,
    /// One or several texts, written as [`key::write`] does.
    Parameters,
}

/// Plans in this order: the condition, if there is one; then the key.
///
/// | what there is | status |
/// |---|---|
/// | the condition does not hold; no key, or null, or an empty text; one of its parameters is so | `skipped` |
/// | the condition cannot be decided | `error:condition` |
/// | the key or one of its parameters is a list, an object, or no text; it is longer than [`KEY_MAX`] | `error:bad_key` |
/// | the key is to be an address and is none | `error:bad_address` |
pub struct Lookup {
    slot: Slot,
    name: String,
    source: SourceId,
    asks_by: AsksBy,
    key: Vec<From>,
    when: Option<(Condition, Vec<From>)>,
    /// The members that key and condition read, with the slots of those who write them.
    needs: Vec<(String, Option<Slot>)>,
    /// Key or condition read the address as a text.
    reads_address: bool,
}

/// Where a value comes from.
enum From {
    /// The address as it was read, for a key or a text: without port, brackets and the like.
    Address,
    Event {
        field: Field,
        rest: Vec<String>,
    },
    /// What is at this place of `needs`.
    Enriched {
        need: usize,
        rest: Vec<String>,
    },
    /// From a field that no source maps.
    Nowhere,
}

thread_local! {
    /// The members that were read, one after another, and the address as a text: one buffer per thread, reused.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// A key of several parameters; the same for all.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Members that a lookup reads, at most: a condition's paths and the key's.
const NEEDS_MAX: usize = crate::condition::PATHS_MAX + PARAMETERS_MAX;

impl Lookup {
    /// `slot_of` tells who writes a member. A field that nobody maps is absent, always: the configuration has refused it.
    ///
    /// # Panics
    /// On a key of no path or of more than its source takes.
    pub(super) fn new(
        slot: Slot,
        lookup: &LookupSetup,
        setup: &Setup,
        slot_of: impl Fn(&str) -> Option<Slot>,
    ) -> Lookup {
        let paths_max = if lookup.asks_by == AsksBy::Parameters { PARAMETERS_MAX } else { 1 };
        assert!(
            (1..=paths_max).contains(&lookup.key.len()),
            "the key of {} has {} paths",
            lookup.name,
            lookup.key.len()
        );
        let mut needs: Vec<(String, Option<Slot>)> = Vec::new();
        let mut from = |path: &Path| {
            let rest = path.rest.clone();
            match &path.base {
                Base::Member(name) => {
                    let need = needs.iter().position(|(need, _)| need == name).unwrap_or_else(|| {
                        needs.push((name.clone(), slot_of(name)));
                        needs.len() - 1
                    });
                    From::Enriched { need, rest }
                }
                base => match setup.field(base) {
                    Some(Field::IP) if rest.is_empty() => From::Address,
                    Some(field) => From::Event { field, rest },
                    None => From::Nowhere,
                },
            }
        };
        let key: Vec<From> = lookup.key.iter().map(&mut from).collect();
        let when: Option<(Condition, Vec<From>)> =
            lookup.when.as_ref().map(|when| (when.clone(), when.paths().iter().map(&mut from).collect()));
        let is_address = |from: &From| matches!(from, From::Address);
        let reads_address = key.iter().chain(when.iter().flat_map(|(_, from)| from)).any(is_address);
        Lookup {
            slot,
            name: lookup.name.clone(),
            source: lookup.source,
            asks_by: lookup.asks_by,
            key,
            when,
            needs,
            reads_address,
        }
    }

    /// What is read of others, and the address, in `scratch`.
    fn read<'s>(&self, view: &View<'_>, scratch: &'s mut Vec<u8>) -> Read<'s> {
        scratch.clear();
        let mut members: [Range<usize>; NEEDS_MAX] = Default::default();
        for ((_, slot), member) in self.needs.iter().zip(&mut members) {
            let start = scratch.len();
            let status = slot.map_or(Status::Skipped, |slot| view.member(slot, scratch));
            if !matches!(status, Status::Ok | Status::Stale(_)) {
                scratch.truncate(start);
            }
            *member = start..scratch.len();
        }
        let start = scratch.len();
        if let (true, Address::Ip(ip)) = (self.reads_address, view.event.address) {
            write!(scratch, "{ip}").expect("a vector takes it");
        }
        Read { address: start..scratch.len(), members, scratch }
    }

    fn key(&self, view: &View<'_>, read: &Read<'_>, asked: &mut Asked) -> Planned {
        if self.asks_by == AsksBy::Parameters {
            return KEY.with_borrow_mut(|key| self.parameters(view, read, key, asked));
        }
        let from = &self.key[0];
        let key = parameter(read.value(from, view))?;
        if key.len() > KEY_MAX {
            return Err(Status::Error("bad_key"));
        }
        if self.asks_by == AsksBy::Text {
            return Ok(asked.ask(self.source, &key));
        }
        let ip = match (from, view.event.address) {
            (From::Address, Address::Ip(ip)) => Some(ip),
            _ => address::parse(&key),
        };
        let (key, len) = address::key(&ip.ok_or(Status::Error("bad_address"))?);
        Ok(asked.ask(self.source, &key[..len]))
    }

    /// All parameters are looked at before one is found bad: an event that lacks another is skipped all the same.
    fn parameters(&self, view: &View<'_>, read: &Read<'_>, key: &mut Vec<u8>, asked: &mut Asked) -> Planned {
        key.clear();
        let (mut len, mut bad) = (0, false);
        for from in &self.key {
            match parameter(read.value(from, view)) {
                Err(Status::Skipped) => return Err(Status::Skipped),
                Err(_) => bad = true,
                Ok(text) => {
                    len += text.len();
                    bad |= len > KEY_MAX;
                    match std::str::from_utf8(&text) {
                        Ok(text) if !bad => key::write([text], key),
                        _ => bad = true,
                    }
                }
            }
        }
        if bad { Err(Status::Error("bad_key")) } else { Ok(asked.ask(self.source, key)) }
    }
}

/// The text of a key or of one of its parameters.
fn parameter(given: Option<Given<'_>>) -> Result<Cow<'_, [u8]>, Status> {
    let text = match given.ok_or(Status::Skipped)? {
        Given::Text(text) => Cow::Borrowed(text),
        Given::Json(json) => match text(json) {
            Some(text) => text,
            None if kind(json) == Kind::Null => return Err(Status::Skipped),
            None => return Err(Status::Error("bad_key")),
        },
    };
    if text.is_empty() { Err(Status::Skipped) } else { Ok(text) }
}

/// What was read of others for one event.
struct Read<'s> {
    scratch: &'s [u8],
    members: [Range<usize>; NEEDS_MAX],
    address: Range<usize>,
}

impl<'s> Read<'s> {
    fn value<'v>(&'v self, from: &From, view: &View<'v>) -> Option<Given<'v>> {
        match from {
            From::Nowhere => None,
            From::Address if !self.address.is_empty() => Some(Given::Text(&self.scratch[self.address.clone()])),
            From::Address => of_event(view, Field::IP, &[]),
            From::Event { field, rest } => of_event(view, *field, rest),
            From::Enriched { need, rest } => {
                let member = &self.scratch[self.members[*need].clone()];
                walk::find(member, rest).filter(|json| !json.is_empty()).map(Given::Json)
            }
        }
    }
}

fn of_event<'v>(view: &View<'v>, field: Field, rest: &[String]) -> Option<Given<'v>> {
    match view.event.json(field) {
        Some(json) => walk::find(json, rest).map(Given::Json),
        None if rest.is_empty() => view.event.header.inherited_value(field).map(Given::Text),
        None => None,
    }
}

impl Enricher for Lookup {
    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        let from = self.key.iter().chain(self.when.iter().flat_map(|(_, from)| from));
        let field = |from: &From| match from {
            From::Address => Some(Field::IP),
            From::Event { field, .. } => Some(*field),
            From::Enriched { .. } | From::Nowhere => None,
        };
        from.filter_map(field).collect()
    }

    fn needs(&self) -> Vec<&str> {
        self.needs.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn plan(&self, view: &View<'_>, asked: &mut Asked) -> Planned {
        SCRATCH.with_borrow_mut(|scratch| {
            let read = self.read(view, scratch);
            if let Some((when, from)) = &self.when {
                match when.holds(|place| read.value(&from[place], view)) {
                    Ok(true) => {}
                    Ok(false) => return Err(Status::Skipped),
                    Err(_) => return Err(Status::Error("condition")),
                }
            }
            self.key(view, &read, asked)
        })
    }

    fn apply(&self, view: &View<'_>, out: &mut Vec<u8>) -> Status {
        let fact = view.fact(self.slot);
        out.extend_from_slice(fact.json);
        fact.status
    }
}
