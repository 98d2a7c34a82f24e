//! One session.

use event::Micros;

use crate::config::Reason;
use crate::facets::{FacetKind, Facets};
use crate::facts::{Facts, Marks, Origin, PAGE, Text};

/// Types counted each by its name; further ones together. Sites send some ten to thirty.
pub(crate) const TYPES_MAX: usize = 32;
/// Currencies of one session. Somebody who pays in more pays for somebody else.
pub(crate) const VALUES_MAX: usize = 4;
/// Longer than this is engaged, in microseconds; as Google Analytics has it.
const ENGAGED_US: i64 = 10 * Micros::SECOND;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Session<'a> {
    pub id: u128,
    /// The session opened before it; 0 for none.
    pub previous: u128,
    /// Counts this visitor's openings, from 1. Of two sessions the one with the lower index was opened first in the log.
    pub index: u32,
    pub start: Micros,
    pub end: Micros,
    /// Finals sent so far, so the revision of the next one.
    pub finals: u32,
    /// The last final still says what is so.
    pub closed: bool,
    /// The rule that closed it: only events out of order join it now.
    pub cut: Option<Reason>,
    pub events: u32,
    pub views: u32,
    pub key_events: u32,
    pub late_joined: u32,
    pub early: u32,
    /// Where the day ends that it was opened in; only with the rule `midnight`.
    pub day_end: Option<Micros>,
    /// When the event happened that [`Session::origin`] is of.
    pub entry_at: Micros,
    pub origin: Origin<'a>,
    pub last_at: Micros,
    pub last_page: Text<'a>,
    pub user_at: Micros,
    pub user: Text<'a>,
    /// Hash of the client's session id last seen; 0 for none.
    pub client_session: u64,
    /// Hash of the campaign last seen; 0 for none.
    pub campaign: u64,
    /// By name.
    pub types: Vec<(Text<'a>, u32)>,
    pub other_types: u32,
    pub facets: Facets<'a>,
    /// Millionths, by currency.
    pub values: Vec<(Text<'a>, i64)>,
    /// There was a currency too many.
    pub values_over: bool,
    /// Events that are shown although they wait. Not encoded.
    pub provisional: u32,
}

impl<'a> Session<'a> {
    /// Takes an event in, wherever in the session its time is. Of events with equal times the one taken first is the
    /// earlier one.
    pub fn take(&mut self, facts: &Facts<'a>) {
        let at = facts.at;
        if self.events == 0 {
            (self.start, self.end) = (at, at);
        }
        self.start = self.start.min(at);
        self.end = self.end.max(at);
        self.closed = false;
        self.events += 1;
        self.views += u32::from(facts.marks.has(Marks::VIEW));
        self.key_events += u32::from(facts.marks.has(Marks::KEY));
        self.early += u32::from(facts.marks.has(Marks::EARLY));
        self.enter(at, &facts.origin);
        self.leave(at, &facts.origin[PAGE]);
        self.meet(at, &facts.user);
        self.count_type(&facts.kind, 1);
        let ms = at.0.div_euclid(1000);
        for (kind, text) in
            [(FacetKind::Place, &facts.place), (FacetKind::Device, &facts.device), (FacetKind::Network, &facts.network)]
        {
            if !text.is_empty() {
                self.facets.add(kind, ms, text);
            }
        }
        if facts.marks.has(Marks::BOT) {
            self.facets.add(FacetKind::Bot, ms, &facts.bot);
        }
        for (kind, id) in &facts.items {
            self.facets.add(kind.facet(), ms, id);
        }
        if let Some((currency, amount)) = &facts.value {
            self.add_value(currency, *amount);
        }
    }

    /// Takes in all of a session that turned out to be part of this one.
    pub fn absorb(&mut self, other: Session<'a>) {
        self.start = self.start.min(other.start);
        self.end = self.end.max(other.end);
        self.closed = false;
        self.events += other.events;
        self.views += other.views;
        self.key_events += other.key_events;
        self.late_joined += other.late_joined;
        self.early += other.early;
        self.leave(other.last_at, &other.last_page);
        self.enter(other.entry_at, &other.origin);
        self.meet(other.user_at, &other.user);
        for (name, count) in &other.types {
            self.count_type(name, *count);
        }
        self.other_types += other.other_types;
        self.facets.absorb(other.facets);
        for (currency, amount) in &other.values {
            self.add_value(currency, *amount);
        }
        self.values_over |= other.values_over;
    }

    /// The entry is that of the earliest event with a page, or of the earliest one while none has a page: servers tell of
    /// what was done on pages, but not where it came from.
    fn enter(&mut self, at: Micros, origin: &Origin<'a>) {
        let (has, had) = (!origin[PAGE].is_empty(), !self.origin[PAGE].is_empty());
        let first = self.events == 1;
        if first || (has && !had) || (has == had && at < self.entry_at) {
            self.entry_at = at;
            self.origin = origin.clone();
        }
    }

    fn leave(&mut self, at: Micros, page: &Text<'a>) {
        if !page.is_empty() && (self.last_page.is_empty() || at >= self.last_at) {
            self.last_at = at;
            self.last_page = page.clone();
        }
    }

    fn meet(&mut self, at: Micros, user: &Text<'a>) {
        if !user.is_empty() && (self.user.is_empty() || at >= self.user_at) {
            self.user_at = at;
            self.user = user.clone();
        }
    }

    fn count_type(&mut self, name: &Text<'a>, count: u32) {
        match self.types.binary_search_by(|(n, _)| n.cmp(name)) {
            Ok(n) => self.types[n].1 += count,
            Err(n) if self.types.len() < TYPES_MAX => self.types.insert(n, (name.clone(), count)),
            Err(_) => self.other_types += count,
        }
    }

    fn add_value(&mut self, currency: &Text<'a>, amount: i64) {
        match self.values.binary_search_by(|(c, _)| c.cmp(currency)) {
            Ok(n) => self.values[n].1 = self.values[n].1.saturating_add(amount),
            Err(n) if self.values.len() < VALUES_MAX => self.values.insert(n, (currency.clone(), amount)),
            Err(_) => self.values_over = true,
        }
    }

    pub fn is_engaged(&self) -> bool {
        self.end.0 - self.start.0 > ENGAGED_US || self.views >= 2 || self.key_events > 0
    }
}
