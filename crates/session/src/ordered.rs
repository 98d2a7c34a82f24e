//! Rules that depend on order: an event newer than the watermark waits until the watermark has passed it, so that events
//! are taken in the order of their times; one at or before it joins what is there, without cutting anew.

use crate::config::Reason;
use crate::facts::{Facts, Marks};
use crate::session::Session;
use crate::stage::{Run, Sink};

impl<'a, S: Sink> Run<'a, S> {
    /// `false`: no session takes the event, and it is too late to open one.
    pub fn take_ordered(&mut self, facts: Facts<'a>) -> bool {
        if self.is_late(facts.at) {
            return self.take_late(&facts);
        }
        let mut bytes = Vec::with_capacity(256);
        facts.encode(&mut bytes);
        self.visitor.wait(facts.at, bytes);
        if self.visitor.waiting.len() > self.sessions.config.buffer {
            self.take_first_waiting(Marks::EARLY);
        }
        true
    }

    /// Takes the oldest event that waits.
    pub fn take_first_waiting(&mut self, marks: u8) {
        let first = self.visitor.waiting.remove(0);
        // The bytes live as long as the state they are borrowed from; those of this step's own event are few, and copied.
        match first.facts {
            std::borrow::Cow::Borrowed(bytes) => {
                let mut facts = Facts::decode(first.at, bytes).expect("facts that were encoded");
                facts.marks.0 |= marks;
                self.take_in_order(&facts);
            }
            std::borrow::Cow::Owned(bytes) => {
                let mut facts = Facts::decode(first.at, &bytes).expect("facts that were encoded").into_owned();
                facts.marks.0 |= marks;
                self.take_in_order(&facts);
            }
        }
    }

    /// Takes all that wait, for a view of what would be.
    pub fn take_waiting_provisionally(&mut self) {
        while !self.visitor.waiting.is_empty() {
            self.touched = None;
            self.take_first_waiting(0);
            if let Some(session) = self.visitor.sessions.iter_mut().find(|s| Some(s.id) == self.touched) {
                session.provisional += 1;
            }
        }
    }

    /// Takes an event that no earlier one is expected before.
    fn take_in_order(&mut self, facts: &Facts<'a>) {
        self.end_before(facts);
        let sessions = &self.visitor.sessions;
        let Some(place) = (0..sessions.len()).max_by_key(|n| (sessions[*n].end, sessions[*n].index)) else {
            return self.open_and_judge(facts);
        };
        let current = &sessions[place];
        if facts.at < current.end {
            // Only after events that were taken early.
            if !self.take_late(facts) {
                self.open_and_judge(facts);
            }
            return;
        }
        if current.cut.is_some() || facts.at.0 > current.end.0 + self.sessions.config.gap_us {
            return self.open_and_judge(facts);
        }
        match self.splits(current, facts) {
            Some(reason) => {
                self.cut(place, reason);
                self.open_and_judge(facts);
            }
            None => {
                self.visitor.sessions[place].take(facts);
                self.judge(place, facts);
            }
        }
    }

    /// Sends the finals of sessions that were over before the event.
    fn end_before(&mut self, facts: &Facts<'a>) {
        for n in 0..self.visitor.sessions.len() {
            let session = &self.visitor.sessions[n];
            if !session.closed && self.sessions.final_at(session) < facts.at {
                self.send_final(n);
            }
        }
    }

    fn open_and_judge(&mut self, facts: &Facts<'a>) {
        let place = self.open(facts);
        self.judge(place, facts);
    }

    /// The rule that opens a new session before the event, if any. Any will do; the reason told is the first in this order.
    fn splits(&self, session: &Session<'a>, facts: &Facts<'a>) -> Option<Reason> {
        let config = &self.sessions.config;
        let changed = |before: u64, now: u64| now != 0 && now != before;
        if facts.marks.has(Marks::STARTS) {
            Some(Reason::StartEvent)
        } else if session.day_end.is_some_and(|end| facts.at >= end) {
            Some(Reason::Midnight)
        } else if config.max_length_us.is_some_and(|max| facts.at.0 - session.start.0 > max) {
            Some(Reason::MaxLength)
        } else if config.max_events.is_some_and(|max| session.events >= max) {
            Some(Reason::MaxEvents)
        } else if config.campaign_change && changed(session.campaign, facts.campaign()) {
            Some(Reason::Campaign)
        } else if config.split_on_user_change
            && !session.user.is_empty()
            && !facts.user.is_empty()
            && session.user != facts.user
        {
            Some(Reason::User)
        } else if session.client_session != 0 && changed(session.client_session, facts.client_session) {
            Some(Reason::ClientSession)
        } else {
            None
        }
    }

    /// After an event was taken in order: what later ones are compared with, and whether it was the session's last.
    fn judge(&mut self, place: usize, facts: &Facts<'a>) {
        let config = &self.sessions.config;
        let session = &mut self.visitor.sessions[place];
        if facts.client_session != 0 {
            session.client_session = facts.client_session;
        }
        if config.campaign_change {
            let campaign = facts.campaign();
            session.campaign = if campaign == 0 { session.campaign } else { campaign };
        }
        let full = config.max_events.is_some_and(|max| session.events >= max);
        self.note(place);
        if facts.marks.has(Marks::ENDS) {
            self.cut(place, Reason::EndEvent);
        } else if full {
            self.cut(place, Reason::MaxEvents);
        }
    }

    /// Takes an event out of order: into the session that covers its time, else the one that ends at most the gap before
    /// it, else the one that starts at most the gap after it.
    fn take_late(&mut self, facts: &Facts<'a>) -> bool {
        let (at, gap) = (facts.at, self.sessions.config.gap_us);
        let sessions = &self.visitor.sessions;
        let all = || 0..sessions.len();
        let covers = all().filter(|n| sessions[*n].start <= at && at <= sessions[*n].end);
        let before = all().filter(|n| sessions[*n].end < at && at.0 <= sessions[*n].end.0 + gap);
        let after = all().filter(|n| sessions[*n].start > at && sessions[*n].start.0 - gap <= at.0);
        let place = covers
            .min_by_key(|n| sessions[*n].index)
            .or_else(|| before.max_by_key(|n| (sessions[*n].end, sessions[*n].index)))
            .or_else(|| after.min_by_key(|n| (sessions[*n].start, sessions[*n].index)));
        let Some(place) = place else {
            if self.is_too_late(at) {
                return false;
            }
            self.open_and_judge(facts);
            return true;
        };
        let session = &mut self.visitor.sessions[place];
        session.take(facts);
        session.late_joined += 1;
        self.note(place);
        self.visitor.sort();
        true
    }
}
