//! The gap alone: an event is placed when it comes, whatever the order.

use crate::facts::Facts;
use crate::stage::{Run, Sink};

impl<'a, S: Sink> Run<'a, S> {
    /// `false`: no session takes the event, and it is too late to open one.
    pub fn take_free(&mut self, facts: Facts<'a>) -> bool {
        let (at, gap) = (facts.at.0, self.sessions.config.gap_us);
        let takes = |n: &usize| {
            let session = &self.visitor.sessions[*n];
            session.start.0 - gap <= at && at <= session.end.0 + gap
        };
        // Kept sessions are further apart than the gap, so at most two can take an event: one that ends before it and one
        // that starts after it.
        let mut candidates = (0..self.visitor.sessions.len()).filter(takes);
        match (candidates.next(), candidates.next()) {
            (None, _) if self.is_too_late(facts.at) => return false,
            (None, _) => {
                self.open(&facts);
            }
            (Some(place), None) => {
                self.visitor.sessions[place].take(&facts);
                self.note(place);
            }
            (Some(before), Some(after)) => self.bridge(before, after, &facts),
        }
        true
    }

    /// An event joins two sessions. The one that was opened first in the log survives.
    fn bridge(&mut self, before: usize, after: usize, facts: &Facts<'a>) {
        let sessions = &mut self.visitor.sessions;
        if self.sessions.keeps_both {
            sessions[before].take(facts);
            return self.note(before);
        }
        let absorbed = if sessions[before].index < sessions[after].index { after } else { before };
        let absorbed = sessions.remove(absorbed);
        // What is left of the two stands where the first one stood: they were neighbours.
        let survivor = &mut sessions[before];
        survivor.take(facts);
        let (survivor_id, absorbed_id) = (survivor.id, absorbed.id);
        survivor.absorb(absorbed);
        if self.visitor.last_id == absorbed_id {
            self.visitor.last_id = survivor_id;
        }
        self.visitor.sessions.iter_mut().filter(|s| s.previous == absorbed_id).for_each(|s| s.previous = survivor_id);
        self.send_merge(before, absorbed_id);
        self.note(before);
    }
}
