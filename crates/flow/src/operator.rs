//! The trait a stage implements.

use std::ops::Range;

use event::header::HeaderRef;
use event::{Offset, RecordRef};

use crate::ask::{Asks, Facts};
use crate::batch::{Batch, Entry};
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
    /// It has no header of ours: somebody else wrote it. To be quarantined.
    Foreign,
}

/// Whether a stage may ask the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It may: what it learned is in its outputs, a fact from then on. They are never made again; after a restart only
    /// what it observed is rebuilt.
    Recording,
    /// It asks nothing but its own keyed state: the same input gives the same state and the same outputs, byte for byte.
    /// It is applied record by record, with its timers in between, and after a restart its outputs are made again and
    /// compared by their rolling hash.
    Deterministic,
}

/// Which outputs an operator makes: the number is raised when they may change, the hash is of the configuration it reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Version {
    pub number: u32,
    pub configuration: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with configuration {:016x}", self.number, self.configuration)
    }
}

/// A stage's pure part. The driver calls `observe` for each record in position order, then `plan` and `apply`,
/// and `observe` alone when it rebuilds a recording stage after a restart.
pub trait Operator: Send + 'static {
    /// What is kept per input partition as a pure function of its prefix and record headers (duplicates). It is not part
    /// of any commit: a second reading of the same record, with later ones observed in between, must decide the same.
    type Prefix: Send;

    const KIND: Kind;

    /// Of a deterministic stage.
    fn version(&self) -> Version {
        Version::default()
    }

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

    /// Notes that each record has room for in [`Asks`].
    fn slots(&self) -> usize {
        0
    }

    /// Says what the `n`-th record of the batch needs to know. Called for round 0, 1, ... below [`Operator::rounds`]; `facts`
    /// has the answers to all that was asked for this record in earlier rounds.
    fn plan(&self, _batch: &Batch, _n: usize, _round: usize, _facts: &Facts, _asks: &mut Asks) {}

    /// How many rounds of asks there are, from 1 to [`ROUNDS_MAX`]: more than one where what to ask depends on an answer.
    fn rounds(&self) -> usize {
        1
    }

    /// Applies records in order; those of a recording stage when all they asked for is answered, so that only those with the
    /// same key are sure to come in order. Reads `facts`; all it does is in `state`, which is undone if the commit
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

    /// This record and all before it are finished. Of a recording stage; called in order.
    fn passed(&self, _entry: &Entry<'_>, _out: &mut Effects) {}

    /// The timer of `key` is due ([`Effects::clocks`] say by which watermark, or that the input is closed): does all that
    /// is due for it, and sets its timer later or clears it. Of a deterministic stage.
    fn advance(&self, _key: &[u8], _state: &mut Keyed, _out: &mut Effects) {}

    /// Writes the dead letter of a record that `apply` cannot process without panicking. Of a deterministic stage it
    /// is made again in a replay.
    fn quarantine(&self, batch: &Batch, n: usize, out: &mut Effects);
}
