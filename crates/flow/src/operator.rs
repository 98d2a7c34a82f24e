//! The trait a stage implements.

use std::ops::Range;

use event::header::HeaderRef;
use event::{Offset, RecordRef};

use crate::ask::{Asks, Facts};
use crate::batch::Batch;
use crate::effects::Effects;
use crate::keyed::Keyed;

/// Most rounds of asks in a batch. Each may wait for a source; a chain of more lookups that need one another is a mistake
/// in a configuration rather than a wish.
pub const ROUNDS_MAX: usize = 8;

/// What reading a record in position order decided about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To be processed.
    Fresh,
    /// The same event again: counted, not passed on.
    Duplicate,
    /// Its id was used before by another payload: to be quarantined.
    Conflict,
    /// A control record.
    Control,
}

/// A stage's pure part. The driver calls `observe` for each record in position order, `plan` and `apply` for each batch,
/// and `observe` alone when it rebuilds a recording stage after a restart.
pub trait Operator: Send + 'static {
    /// What is kept per input partition as a pure function of its prefix and record headers (duplicates). It is not part
    /// of any commit: a second reading of the same record, with later ones observed in between, must decide the same.
    type Prefix: Send;

    /// The name under which it commits.
    fn group(&self) -> &'static str;

    /// Judges a record.
    fn observe(
        &self,
        prefix: &mut Self::Prefix,
        offset: Offset,
        record: &RecordRef<'_>,
        header: HeaderRef<'_>,
    ) -> Verdict;

    /// Says what the records of the batch need to know. Called for round 0, 1, ... below [`Operator::rounds`]; `facts` has
    /// the answers to all earlier rounds.
    fn plan(&self, batch: &Batch, round: usize, facts: &Facts, asks: &mut Asks);

    /// How many rounds of asks there are, from 1 to [`ROUNDS_MAX`]: more than one where what to ask depends on an answer.
    fn rounds(&self) -> usize {
        1
    }

    /// Applies records in order. Reads `facts`; all it does is in `state`, which is undone if the commit
    /// fails, and in `out`. May be called again for the same records after an abort.
    fn apply(
        &self,
        batch: &Batch,
        range: Range<usize>,
        asks: &Asks,
        facts: &Facts,
        state: &mut Keyed,
        out: &mut Effects,
    );

    /// Writes the dead letter of a record that `apply` cannot process without panicking.
    fn quarantine(&self, batch: &Batch, n: usize, out: &mut Effects);
}
