//! All that is kept of a visitor.

use event::Micros;

use crate::facts::Text;
use crate::session::Session;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Visitor<'a> {
    /// Sessions opened so far.
    pub opened: u32,
    /// The session opened last, or the one that took it in; 0 while there is none.
    pub last_id: u128,
    /// The latest event time of any session.
    pub last_end: Micros,
    /// Log time of the last update.
    pub updated_at: Option<Micros>,
    /// Kept sessions, by start.
    pub sessions: Vec<Session<'a>>,
    /// Events newer than the watermark, by time and then by arrival.
    pub waiting: Vec<Waiting<'a>>,
}

/// An event that waits for the watermark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Waiting<'a> {
    pub at: Micros,
    /// [`crate::facts::Facts`], encoded.
    pub facts: Text<'a>,
}

impl<'a> Visitor<'a> {
    /// Puts an event behind all that wait with its time or an earlier one.
    pub fn wait(&mut self, at: Micros, facts: Vec<u8>) {
        let place = self.waiting.partition_point(|w| w.at <= at);
        self.waiting.insert(place, Waiting { at, facts: facts.into() });
    }

    /// Puts the sessions back in order after one of them changed.
    pub fn sort(&mut self) {
        self.sessions.sort_by_key(|s| (s.start, s.index));
    }
}
