//! The end of a loop in which sessions are made: a quiet stream ends them by itself, closing the run changes nothing any
//! more, and all of them are the model's.

use std::time::{Duration, Instant};

use super::process::Running;
use super::reader::{ReadError, Reader};
use super::{Aim, STUCK, Stop, Storm, broken};
use crate::laws::sessions::{self as law, SessionRules};
use crate::laws::{self, Violation};

/// A quiet stream must end its sessions within this, beyond the gap: the watermark's delay, idleness, a busy machine.
const QUIET_MAX: Duration = Duration::from_secs(20);

impl Storm {
    /// Reads until the sessions stage says that it has read all of `enriched`, and its sum holds.
    pub(super) fn sessions_catch_up(&mut self, reader: &mut Reader) -> Result<(), ReadError> {
        let began = Instant::now();
        loop {
            let status = reader.status()?;
            let number = |name: &str| status["sessions"][name].as_u64();
            let counts = (number("lag"), number("processed"), number("quarantined"));
            let (Some(lag), Some(processed), Some(quarantined)) = counts else {
                let what = format!("/status.json does not show the sessions stage's sum: {}", status["sessions"]);
                return Err(ReadError::Wrong(laws::conduct(what, "node::status")));
            };
            reader.read_new(&mut self.outputs)?;
            // Control records come and go; what counts is that at some moment all was done.
            let violations = law::l7_sessions_sum(&self.world(), processed, quarantined);
            match violations.into_iter().next() {
                None if lag == 0 => return Ok(()),
                Some(violation) if began.elapsed() > STUCK => return Err(ReadError::Wrong(violation)),
                None if began.elapsed() > STUCK => {
                    let what = format!("the sessions stage is {lag} records behind, and nothing moves");
                    return Err(ReadError::Wrong(laws::conduct(what, "the sessions stage")));
                }
                _ => std::thread::sleep(Duration::from_millis(3)),
            }
        }
    }

    /// Waits until a quiet stream has ended its sessions, stops the program, closes the run, and judges what was told.
    pub(super) fn close_sessions(&mut self, mut running: Running, rules: SessionRules) -> Result<(), Stop> {
        self.quiet_ends_sessions(&running, rules)?;
        match running.stop() {
            Some(status) if status.success() => {}
            other => {
                let what = format!("SIGTERM ended it with {other:?}; printed:\n{}", self.program.printed());
                return broken(what, "what it printed");
            }
        }
        let status = self.program.close(&self.config.dir.join("empty.ndjson"))?;
        if !status.success() {
            let what = format!("a run with --close ended with {status}; printed:\n{}", self.program.printed());
            return broken(what, "what it printed");
        }
        let Some(mut running) = self.start(&Aim::Moment)? else { return Ok(()) };
        self.settle(&mut running)?;
        let world = self.world();
        let violations = law::l8_sessions_equal_the_model(&world, rules);
        let (ends, late) = (law::ends(&world), world.outputs.late.len());
        self.report.sessions = ends.sessions().len();
        self.report.merges = ends.merges();
        self.report.late = late;
        self.report.linked = self.outputs.enriched.iter().filter(|(_, r)| r.linked).count();
        if violations.is_empty() { Ok(()) } else { Err(Stop::Broken(violations)) }
    }

    fn quiet_ends_sessions(&mut self, running: &Running, rules: SessionRules) -> Result<(), Stop> {
        let mut reader = Reader::new(running.addr, self.topics());
        let wait = QUIET_MAX + Duration::from_micros(rules.gap_us as u64);
        let began = Instant::now();
        let mut waiting: Vec<Violation> = Vec::new();
        while began.elapsed() < wait {
            match reader.read_new(&mut self.outputs) {
                Ok(_) => {}
                Err(ReadError::Wrong(violation)) => return Err(Stop::Broken(vec![violation])),
                Err(ReadError::Unreachable(e)) => return broken(format!("it went away: {e}"), "what it printed"),
            }
            waiting = law::l8_sessions_equal_the_model(&self.world(), rules);
            if waiting.is_empty() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        for violation in &mut waiting {
            violation.what += ", although nothing has come for long";
        }
        Err(Stop::Broken(waiting))
    }
}
