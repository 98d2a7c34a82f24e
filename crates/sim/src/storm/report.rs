//! What came of a loop.

use std::collections::BTreeMap;
use std::fmt;

use crate::laws::Violation;

#[derive(Clone, Default, Debug)]
pub struct Report {
    /// Cycles that count: enough acknowledgements, fast enough, then a kill.
    pub cycles: u32,
    /// Times the program was started.
    pub starts: u32,
    /// Times all laws were checked.
    pub judged: u32,
    /// Acknowledged events, of cycles that count.
    pub acks: u64,
    /// Acknowledged events a second in each cycle that counts.
    pub rates: Vec<f64>,
    /// How often the program died at a point.
    pub points_fired: BTreeMap<String, u32>,
    /// Points that were never hit under load.
    pub points_missed: Vec<String>,
    /// Batches whose sender went away without an answer.
    pub abandoned: u32,
    /// Records in `raw` at the end.
    pub records: usize,
    /// Sessions at the end; how many were taken in by others; events that were too late for any; events whose visitor was
    /// found by their user.
    pub sessions: usize,
    pub merges: usize,
    pub late: usize,
    pub linked: usize,
    /// Too many cycles did not count.
    pub gave_up: bool,
    pub violations: Vec<Violation>,
}

impl Report {
    /// No law was broken.
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Median acknowledged events a second.
    pub fn events_per_s(&self) -> f64 {
        let mut rates = self.rates.clone();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(0.0)
    }

    pub(super) fn fired(&mut self, point: &str) {
        *self.points_fired.entry(point.to_owned()).or_default() += 1;
    }

    pub(super) fn storm(&mut self, acks: u64, rate: f64, counts: bool) {
        if counts {
            self.cycles += 1;
            self.acks += acks;
            self.rates.push(rate);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} cycles counted of {} starts, {} times judged; {} acknowledged events at {:.0}/s (median), {} records in raw, {} batches abandoned{}",
            self.cycles,
            self.starts,
            self.judged,
            self.acks,
            self.events_per_s(),
            self.records,
            self.abandoned,
            if self.gave_up { "; GAVE UP: too slow, or dying too early" } else { "" }
        )?;
        if self.sessions > 0 {
            writeln!(
                f,
                "{} sessions, {} merges, {} late events, {} linked by their user",
                self.sessions, self.merges, self.late, self.linked
            )?;
        }
        if !self.points_fired.is_empty() {
            writeln!(f, "died at {} points:", self.points_fired.len())?;
        }
        for (point, times) in &self.points_fired {
            writeln!(f, "    {point} {times}x")?;
        }
        if !self.points_missed.is_empty() {
            writeln!(f, "never hit under load: {}", self.points_missed.join(", "))?;
        }
        for violation in &self.violations {
            writeln!(f, "{violation}")?;
        }
        write!(f, "{}", if self.is_clean() { "all laws hold" } else { "LAWS BROKEN" })
    }
}
