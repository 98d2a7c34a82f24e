//! Configurations for a start, as `ouzel init` writes them: one from somebody's own events, and one with every key there
//! is. Both can be run as they are, and say in comments what could be otherwise.
//!
//! * `sample`: the text of a configuration for a sample's events
//! * `defaults`: the text of a configuration that changes nothing, with every key in a comment
//! * `text`: comments, quotes and numbers of such a text
//!
//! It reads and writes no files.

mod defaults;
mod sample;
mod text;

use event::{Failure, Micros};
use wire::infer::{Inferred, Sample};
use wire::{Arrival, ArrivalPosition, Decoder, MapError, RawRecord};

use super::Config;

pub use defaults::defaults;
pub use sample::{Reads, from_sample, source_name};

/// A sample and what was made out about it, on the way to a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'s> {
    pub sample: &'s Sample,
    pub inferred: &'s Inferred,
}

/// What became of a sample's events under a configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    pub accepted: usize,
    /// Each reason once, the most frequent first.
    pub refused: Vec<Refused>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    pub events: usize,
    /// Of the first such event.
    pub failure: Failure,
}

impl Tried {
    pub fn events(&self) -> usize {
        self.accepted + self.refused.iter().map(|r| r.events).sum::<usize>()
    }
}

/// Decodes a sample's events as the configuration's first source would.
pub fn try_sample(config: &Config, sample: &Sample, received: Micros) -> Result<Tried, MapError> {
    let source = config.sources.first().expect("every configuration has a source");
    let decoder = Decoder::build(config.decoder(source))?;
    let mut tried = Tried::default();
    let mut refuse = |failure: Failure| match tried.refused.iter_mut().find(|r| same(&r.failure, &failure)) {
        Some(known) => known.events += 1,
        None => tried.refused.push(Refused { events: 1, failure }),
    };
    let inherited = match sample.around.as_deref().map(|around| decoder.batch_context(around)).transpose() {
        Ok(context) => context.unwrap_or_default(),
        Err(failure) => {
            sample.events.iter().for_each(|_| refuse(failure.clone()));
            return Ok(tried);
        }
    };
    let inherited: Vec<_> = inherited.iter().map(|(field, value)| (*field, &**value)).collect();
    let mut record = RawRecord::default();
    let mut accepted = 0;
    for (index, event) in (0..).zip(&sample.events) {
        let position = ArrivalPosition::At { prefix: "sample", index };
        let arrival = Arrival { received, position, inherited: &inherited };
        match event.as_ref().map_err(Clone::clone).and_then(|e| decoder.decode(e, &arrival, &mut record)) {
            Ok(()) => accepted += 1,
            Err(failure) => refuse(failure),
        }
    }
    tried.accepted = accepted;
    tried.refused.sort_by_key(|r| usize::MAX - r.events);
    Ok(tried)
}

/// Whether two failures are one to somebody who reads them.
fn same(a: &Failure, b: &Failure) -> bool {
    a.code == b.code && a.pointer == b.pointer
}

#[cfg(test)]
mod tests;
