//! The generator's records, up to the end asked for, counted, their truth written down.

use event::Micros;
use ouzel_gen::{Batch, Generator, Kind};

use super::args::Plan;
use super::truth::TruthFiles;
use crate::exit::Result;

pub struct Feed {
    generator: Generator,
    /// Records still to come.
    left: Option<u64>,
    /// No record is sent then or later.
    until: Option<Micros>,
    truth: Option<TruthFiles>,
    pub counts: Counts,
}

/// What was handed out.
#[derive(Clone, Default)]
pub struct Counts {
    pub records: u64,
    pub bytes: u64,
    /// In the order of [`Kind::ALL`].
    pub kinds: [u64; Kind::ALL.len()],
    /// When the first and the last record were due.
    pub first: Option<Micros>,
    pub last: Option<Micros>,
}

impl Feed {
    pub fn new(generator: Generator, plan: &Plan, start: Micros, truth: Option<TruthFiles>) -> Feed {
        let until = plan.span_us.map(|span| Micros(start.0.saturating_add(span)));
        Feed { generator, left: plan.events, until, truth, counts: Counts::default() }
    }

    /// Fills the batch with up to `n` records, none of which is due more than `within_us` after the first. False when
    /// there are no more.
    pub fn pull(&mut self, batch: &mut Batch, n: usize, within_us: Option<i64>) -> Result<bool> {
        let n = self.left.map_or(n, |left| left.min(n as u64) as usize);
        if n == 0 {
            return Ok(false);
        }
        let mut within_us = within_us.unwrap_or(NO_LIMIT_US);
        if let Some(until) = self.until {
            let first = self.generator.next_arrival();
            if first >= until {
                return Ok(false);
            }
            within_us = within_us.min(until.0 - 1 - first.0);
        }
        batch.pull(&mut self.generator, n, within_us);
        self.left = self.left.map(|left| left - batch.len() as u64);
        let counts = &mut self.counts;
        counts.records += batch.len() as u64;
        counts.bytes += batch.body.len() as u64;
        for truth in &batch.truths {
            counts.kinds[truth.kind as usize] += 1;
        }
        counts.first = counts.first.or(batch.truths.first().map(|t| t.arrival));
        counts.last = batch.due().or(counts.last);
        if let Some(truth) = &mut self.truth {
            truth.write(&self.generator, batch)?;
        }
        Ok(true)
    }

    /// Writes the truth to its end.
    pub fn finish(&mut self) -> Result<()> {
        self.truth.as_mut().map_or(Ok(()), TruthFiles::finish)
    }

    pub fn generator(&self) -> &Generator {
        &self.generator
    }
}

/// Longer than any run.
const NO_LIMIT_US: i64 = i64::MAX / 4;
