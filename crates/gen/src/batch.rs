//! Bodies of requests: rendered once and stamped anew for every send, so that a sender costs almost nothing and every
//! event it sends is new; or pulled one after another, as their events are due.

use event::Micros;

use crate::generator::Generator;
use crate::render::{self, ID_AT, SENT_AT_AT, TIME_AT, TIME_LEN};
use crate::truth::{Introduction, Truth};

/// How the events of a body stand in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// One a line.
    Ndjson,
    /// `{"batch":[...]}`, as the Segment SDKs send.
    Batch,
}

/// A body and where its events begin.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    pub body: Vec<u8>,
    starts: Vec<u32>,
    /// What is so about each event, where the batch was pulled.
    pub truths: Vec<Truth>,
    /// Who appeared with them.
    pub introductions: Vec<Introduction>,
}

impl Batch {
    /// Renders the generator's next `n` events.
    pub fn render(generator: &mut Generator, n: usize, form: Form) -> Batch {
        let mut body = Vec::with_capacity(n * 1300);
        let mut starts = Vec::with_capacity(n);
        if form == Form::Batch {
            body.extend_from_slice(b"{\"batch\":[");
        }
        for i in 0..n {
            if i > 0 && form == Form::Batch {
                body.push(b',');
            }
            starts.push(body.len() as u32);
            generator.next(&mut body);
            if form == Form::Ndjson {
                body.push(b'\n');
            }
        }
        if form == Form::Batch {
            body.extend_from_slice(b"]}");
        }
        Batch { body, starts, ..Batch::default() }
    }

    /// Fills the batch anew with the generator's next records, one a line: up to `n`, and none that is due more than
    /// `within_us` after the first. Whatever becomes of a batch, the next one is due when it is due.
    pub fn pull(&mut self, generator: &mut Generator, n: usize, within_us: i64) {
        self.body.clear();
        self.starts.clear();
        self.truths.clear();
        self.introductions.clear();
        while self.len() < n {
            if let Some(first) = self.truths.first()
                && generator.next_arrival().0 > first.arrival.0 + within_us
            {
                return;
            }
            self.starts.push(self.body.len() as u32);
            let truth = generator.next(&mut self.body);
            self.body.push(b'\n');
            self.truths.push(truth);
            self.introductions.extend_from_slice(generator.introductions());
        }
    }

    /// When a batch that was pulled is to be sent: with its last record.
    pub fn due(&self) -> Option<Micros> {
        self.truths.last().map(|t| t.arrival)
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Makes new events of the old ones, in place: numbers from `first` on, all at `time` and sent then. Numbers must not
    /// meet those of another batch of the same generator.
    pub fn restamp(&mut self, first: u64, time: Micros) {
        let text = render::time_text(time);
        for (number, start) in (first..).zip(&self.starts) {
            let event = &mut self.body[*start as usize..];
            render::stamp_number(event, number);
            debug_assert_eq!(event[ID_AT + 16], b'-');
            event[TIME_AT..TIME_AT + TIME_LEN].copy_from_slice(&text);
            event[SENT_AT_AT..SENT_AT_AT + TIME_LEN].copy_from_slice(&text);
        }
    }
}

/// Renders `n_batches` bodies of `per_batch` events each.
pub fn render_batches(generator: &mut Generator, n_batches: usize, per_batch: usize, form: Form) -> Vec<Batch> {
    (0..n_batches).map(|_| Batch::render(generator, per_batch, form)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::GenConfig;
    use crate::id::EventId;

    #[test]
    fn a_stamped_batch_has_new_identities_and_times_and_nothing_else_changed() {
        for form in [Form::Ndjson, Form::Batch] {
            let mut g = GenConfig::default().build().expect("the default is valid");
            let mut batch = Batch::render(&mut g, 3, form);
            let before = batch.body.clone();
            batch.restamp(1_000_000, Micros(1_795_400_000_000_001));
            assert_eq!(before.len(), batch.body.len());
            let ids: Vec<u64> = batch
                .starts
                .iter()
                .filter_map(|s| EventId::of(&batch.body[*s as usize..]))
                .map(|id| id.number)
                .collect();
            assert_eq!(ids, [1_000_000, 1_000_001, 1_000_002]);
            let changed = before.iter().zip(&batch.body).filter(|(a, b)| a != b).count();
            assert!(changed <= 3 * (15 + 2 * TIME_LEN), "{changed} bytes changed");
        }
    }
}
