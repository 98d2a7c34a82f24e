//! What must have become of every record of `raw`, worked out the slow and obvious way: one record after the other, with
//! a map of all ids ever seen.

use hashbrown::HashMap;
use ouzel_gen::EventId;

use crate::outputs::{Row, Topic};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// The first of its id: it is in `enriched`, once.
    Enriched,
    /// The id was there with the same payload: it is nowhere else.
    Duplicate,
    /// The id was there with another payload: it is in `dlq`.
    Conflict,
}

#[derive(Default)]
pub struct Model {
    /// By partition of `raw`, in the order of its rows.
    pub fates: Vec<Vec<Fate>>,
    pub enriched: usize,
    pub duplicates: usize,
    pub conflicts: usize,
    /// Payload of the first of each id. Ids meet within a partition only, as they have one key.
    seen: HashMap<(u32, EventId), u64>,
}

impl Model {
    pub fn of(raw: &Topic) -> Model {
        let mut model = Model::default();
        model.extend(raw);
        model
    }

    /// Takes in the rows that were read since the last time.
    pub fn extend(&mut self, raw: &Topic) {
        self.fates.resize_with(raw.rows.len(), Vec::new);
        for (partition, rows) in (0..).zip(&raw.rows) {
            for row in &rows[self.fates[partition as usize].len()..] {
                let fate = self.judge(partition, row);
                self.fates[partition as usize].push(fate);
            }
        }
    }

    fn judge(&mut self, partition: u32, row: &Row) -> Fate {
        let first = row.id.and_then(|id| self.seen.get(&(partition, id)).copied());
        match first {
            None => {
                self.enriched += 1;
                if let Some(id) = row.id {
                    self.seen.insert((partition, id), row.payload);
                }
                Fate::Enriched
            }
            Some(payload) if payload == row.payload => {
                self.duplicates += 1;
                Fate::Duplicate
            }
            Some(_) => {
                self.conflicts += 1;
                Fate::Conflict
            }
        }
    }
}
