//! The two steps: an event of a visitor is taken, a visitor's timer is due.

use event::Micros;
use memchr::memmem::Finder;

use crate::config::kinds::Types;
use crate::config::{Reason, SessionsConfig};
use crate::event::Event;
use crate::facts::Facts;
use crate::session::Session;
use crate::visitor::Visitor;
use crate::write;
use crate::zone::Zone;

/// The first byte of every state.
pub const STATE_VERSION: u8 = 1;

/// The clocks of a deterministic stage, all from the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clocks {
    /// No event at or before it is expected; [`Micros::MIN`] while undefined.
    pub watermark: Micros,
    /// The highest received time seen.
    pub log_time: Micros,
    /// `close` was read: every timer fires as if the watermark were the end of time. The watermark itself stays, and
    /// events are judged against it.
    pub closing: bool,
}

impl Clocks {
    /// Whether a timer at that time fires.
    fn is_due(&self, at: Micros) -> bool {
        self.closing || self.watermark >= at
    }
}

/// What is left of a visitor after a step.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Next {
    /// `None`: forget the key.
    pub value: Option<Vec<u8>>,
    /// The earliest time at which [`Sessions::advance`] must be called: when the watermark reaches it.
    pub timer: Option<Micros>,
}

/// What is said about a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It goes on; slim.
    Update,
    /// It is over; full. Sent again with the next revision when a late event changes it.
    Final,
    /// It took in another session, which is thereby retracted.
    Merge,
}

/// Where a step's outputs go, in the order in which they are made.
pub trait Sink {
    /// `event_time`: the session's end. `revision`: that of the last final, or, for updates and merges, of the next one.
    fn session(&mut self, session_id: u128, kind: Kind, revision: u32, event_time: Micros, json: &[u8]);
    /// An event that is too late for every session.
    fn late(&mut self, json: &[u8]);
}

/// Sessions by a set of rules. Made by [`SessionsConfig::build`].
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(crate) config: SessionsConfig,
    /// There are rules beside the gap, which see events in the order of their times.
    pub(crate) ordered: bool,
    pub(crate) zone: Option<Zone>,
    pub(crate) types: Types,
    /// How the member that enrich adds begins.
    pub(crate) opening: Finder<'static>,
    /// A bug that tests plant: an event that joins two sessions leaves both.
    pub(crate) keeps_both: bool,
}

impl Sessions {
    /// Takes one event of `visitor`, whose value is `state`.
    ///
    /// # Panics
    /// When `state` was not written by this version ([`STATE_VERSION`]).
    pub fn apply(
        &self,
        visitor: &[u8],
        state: Option<&[u8]>,
        event: &Event<'_>,
        clocks: &Clocks,
        out: &mut impl Sink,
    ) -> Next {
        let mut run = Run::new(self, visitor, state, clocks, out);
        run.settle();
        let facts = event.facts(self);
        let placed = if self.ordered { run.take_ordered(facts) } else { run.take_free(facts) };
        if !placed {
            run.send_late(event);
        }
        run.settle();
        run.finish()
    }

    /// The visitor's timer is due: the watermark has reached it, or `closing`.
    ///
    /// # Panics
    /// As [`Sessions::apply`].
    pub fn advance(&self, visitor: &[u8], state: &[u8], clocks: &Clocks, out: &mut impl Sink) -> Next {
        let mut run = Run::new(self, visitor, Some(state), clocks, out);
        run.settle();
        run.finish()
    }

    /// Appends the open view, a JSON object: sessions that have no final yet or were opened again, with waiting events
    /// taken provisionally. An unreadable state shows nothing.
    pub fn show(&self, visitor: &[u8], state: &[u8], clocks: &Clocks, out: &mut Vec<u8>) {
        let known = Visitor::decode(state).unwrap_or_default();
        let closed: Vec<u128> = known.sessions.iter().filter(|s| s.closed).map(|s| s.id).collect();
        let mut nobody = Nobody;
        let mut run = Run { sessions: self, key: visitor, visitor: known, clocks, out: &mut nobody, touched: None };
        run.take_waiting_provisionally();
        let open = |s: &&Session<'_>| s.provisional > 0 || !closed.contains(&s.id);
        let open: Vec<&Session<'_>> = run.visitor.sessions.iter().filter(open).collect();
        write::view(visitor, &open, self.config.gap_us, clocks, out);
    }

    pub(crate) fn final_at(&self, session: &Session<'_>) -> Micros {
        Micros(session.end.0 + self.config.gap_us)
    }

    pub(crate) fn forget_at(&self, session: &Session<'_>) -> Micros {
        Micros(session.end.0 + self.config.gap_us + self.config.allowed_lateness_us)
    }
}

struct Nobody;

impl Sink for Nobody {
    fn session(&mut self, _: u128, _: Kind, _: u32, _: Micros, _: &[u8]) {}
    fn late(&mut self, _: &[u8]) {}
}

/// One step of one visitor.
pub(crate) struct Run<'a, S> {
    pub sessions: &'a Sessions,
    /// The visitor's id.
    pub key: &'a [u8],
    pub visitor: Visitor<'a>,
    pub clocks: &'a Clocks,
    pub out: &'a mut S,
    /// The session that took an event last.
    pub touched: Option<u128>,
}

impl<'a, S: Sink> Run<'a, S> {
    fn new(
        sessions: &'a Sessions,
        key: &'a [u8],
        state: Option<&'a [u8]>,
        clocks: &'a Clocks,
        out: &'a mut S,
    ) -> Run<'a, S> {
        let visitor = match state {
            Some(bytes) => Visitor::decode(bytes).expect("the state was written by this version"),
            None => Visitor::default(),
        };
        Run { sessions, key, visitor, clocks, out, touched: None }
    }

    /// Whether the watermark says that no event of that time is expected. Closing makes none late.
    pub fn is_late(&self, at: Micros) -> bool {
        at <= self.clocks.watermark
    }

    /// Whether every session that could have taken an event of that time is gone.
    pub fn is_too_late(&self, at: Micros) -> bool {
        let config = &self.sessions.config;
        at.0 + config.gap_us + config.allowed_lateness_us <= self.clocks.watermark.0
    }

    /// Does what is due: waiting events are taken, sessions that are over get their final, those long over are forgotten.
    fn settle(&mut self) {
        // IMPORTANT: events before finals. One that the watermark has passed together with a session's expiry may be the
        // session's own.
        while self.visitor.waiting.first().is_some_and(|w| self.clocks.is_due(w.at)) {
            self.take_first_waiting(0);
        }
        for n in 0..self.visitor.sessions.len() {
            let session = &self.visitor.sessions[n];
            if !session.closed && (session.cut.is_some() || self.clocks.is_due(self.sessions.final_at(session))) {
                self.send_final(n);
            }
        }
        let (sessions, clocks) = (self.sessions, self.clocks);
        self.visitor.sessions.retain(|s| !clocks.is_due(sessions.forget_at(s)));
    }

    /// Opens a session with an event that none takes; its place among the kept ones.
    pub fn open(&mut self, facts: &Facts<'a>) -> usize {
        let visitor = &mut self.visitor;
        visitor.opened += 1;
        let mut session = Session {
            id: event::key::id_hash(self.key, &facts.id.to_le_bytes()),
            previous: visitor.last_id,
            index: visitor.opened,
            day_end: self.sessions.zone.as_ref().map(|zone| zone.day_end(facts.at)),
            ..Session::default()
        };
        session.take(facts);
        visitor.last_id = session.id;
        let place = visitor.sessions.partition_point(|s| (s.start, s.index) <= (session.start, session.index));
        visitor.sessions.insert(place, session);
        self.note(place);
        place
    }

    /// Notes that a session took an event.
    pub fn note(&mut self, place: usize) {
        let session = &self.visitor.sessions[place];
        self.touched = Some(session.id);
        self.visitor.last_end = self.visitor.last_end.max(session.end);
    }

    /// A rule closes a session.
    pub fn cut(&mut self, place: usize, reason: Reason) {
        let session = &mut self.visitor.sessions[place];
        session.cut = session.cut.or(Some(reason));
        if !session.closed {
            self.send_final(place);
        }
    }

    pub fn send_final(&mut self, place: usize) {
        let session = &mut self.visitor.sessions[place];
        let json = write::session_final(self.key, session, self.sessions.config.gap_us);
        let revision = session.finals;
        session.closed = true;
        session.finals += 1;
        self.out.session(session.id, Kind::Final, revision, session.end, &json);
    }

    pub fn send_merge(&mut self, place: usize, absorbed: u128) {
        let session = &self.visitor.sessions[place];
        let json = write::merge(self.key, session, absorbed);
        self.out.session(session.id, Kind::Merge, session.finals, session.end, &json);
    }

    fn send_late(&mut self, event: &Event<'_>) {
        self.out.late(&write::late(self.key, event, self.clocks.watermark));
    }

    /// At most one update: of the session that took an event last, if it goes on and the last update is long enough ago.
    fn send_update(&mut self) {
        let Some(session) = self.visitor.sessions.iter().find(|s| Some(s.id) == self.touched && !s.closed) else {
            return;
        };
        let now = self.clocks.log_time;
        if self.visitor.updated_at.is_none_or(|at| now.0 - at.0 >= self.sessions.config.update_every_us) {
            let json = write::update(self.key, session);
            self.out.session(session.id, Kind::Update, session.finals, session.end, &json);
            self.visitor.updated_at = Some(now);
        }
    }

    fn finish(mut self) -> Next {
        self.send_update();
        match self.timer() {
            Some(timer) if !self.clocks.is_due(timer) => {
                Next { value: Some(self.visitor.encode()), timer: Some(timer) }
            }
            _ => Next::default(),
        }
    }

    /// The earliest time at which something is to be done; `None`: there is nothing to keep.
    fn timer(&self) -> Option<Micros> {
        let rules = self.sessions;
        let due = |s: &Session<'_>| if s.closed { rules.forget_at(s) } else { rules.final_at(s) };
        let sessions = self.visitor.sessions.iter().map(due).min();
        let waiting = self.visitor.waiting.first().map(|w| w.at);
        let remembered =
            || (self.visitor.opened > 0).then(|| Micros(self.visitor.last_end.0 + rules.config.remember_us));
        match (sessions, waiting) {
            (None, None) => remembered(),
            (a, b) => a.into_iter().chain(b).min(),
        }
    }
}
