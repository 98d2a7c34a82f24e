//! Events written to `raw` as a process with the role `collect` does: decoded and headed by the door's code, stored by the log.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use door::collect::Collector;
use event::Micros;
use log::{Commit, Log, Outcome, Ticket};
use ouzel_gen::GenConfig;
use ouzel_gen::batch::{Form, render_batches};
use seam::{Clock, RealClock};
use wire::{Arrival, ArrivalPosition, Decoder};

use crate::command::bench::sender::Rendered;
use crate::command::bench::sessions::crowd;
use crate::exit::{Exit, Failed, Result};

/// Events of a commit: few, so that their time of sending is that of each.
const BATCH: usize = 50;
/// Rendered batches: 60 MB, more than the processor's caches have, of tens of thousands of visitors.
const RENDERED: usize = 1000;
/// Commits on their way at most.
const IN_FLIGHT: usize = 400;
/// Numbers of events begin here, above those that the generator gave.
const FIRST: u64 = 1_000_000_000;

/// How events are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// So many a second, whatever becomes of them: each event counts as received when it was to be sent, so that a stall counts
    /// for all that it delays.
    Rate(u64),
    /// So many may be sent and not read yet.
    Window(u64),
}

/// What came of it so far.
#[derive(Default)]
pub struct Sent {
    pub events: AtomicU64,
    /// Batches that began more than 1 ms after they were due.
    pub behind: AtomicU64,
}

/// Writes events to one log.
pub struct Load {
    pub log: Arc<dyn Log>,
    pub decoder: Arc<Decoder>,
    /// Events of browsers are each of one of so many visitors, any; `None`: of the generator's.
    pub visitors: Option<u64>,
    /// So many batches were sent before: all numbers are above theirs.
    pub turns_before: u64,
}

/// Events to be stamped and sent over and over.
pub fn rendered() -> Result<Vec<Rendered>> {
    let mut generator = GenConfig::crowd(1).build().map_err(|e| Failed::new(Exit::Failed, e.to_string()))?;
    let batches = render_batches(&mut generator, RENDERED, BATCH, Form::Ndjson);
    Ok(batches.into_iter().map(Rendered::of).collect())
}

impl Load {
    /// Writes until `stop`; `read` says how many events have come out. Returns how many batches it has sent.
    pub fn run(
        &self,
        pace: Pace,
        batches: &mut [Rendered],
        sent: &Sent,
        read: &dyn Fn() -> u64,
        stop: &AtomicBool,
    ) -> Result<u64> {
        let clock = RealClock::new();
        let mut writer = Writer::new(self);
        let (begun, wall) = (clock.elapsed(), clock.now());
        for turn in 0u64.. {
            if stop.load(Relaxed) {
                writer.finish()?;
                return Ok(turn);
            }
            let received = match pace {
                Pace::Rate(rate) => {
                    let due = begun + due(turn, rate);
                    let now = clock.elapsed();
                    if due > now {
                        std::thread::sleep(due - now);
                    } else if now - due > Duration::from_millis(1) {
                        sent.behind.fetch_add(1, Relaxed);
                    }
                    Micros(wall.0 + (due - begun).as_micros() as i64)
                }
                Pace::Window(window) => {
                    wait_for_room(window, sent, read, stop);
                    clock.now()
                }
            };
            let at = turn as usize % batches.len();
            let rendered = &mut batches[at];
            let number = FIRST + (self.turns_before + turn) * BATCH as u64;
            rendered.batch.restamp(number, received);
            if let Some(visitors) = self.visitors {
                rendered.disguise(number, visitors);
            }
            let lines = rendered.batch.body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
            for (index, line) in (number..).zip(lines) {
                writer.event(line, index, received)?;
            }
            writer.submit()?;
            sent.events.fetch_add(BATCH as u64, Relaxed);
        }
        Ok(0)
    }

    /// Writes one small event of each of `visitors`, as fast as they come out.
    pub fn crowd(&self, visitors: u64, window: u64, sent: &Sent, read: &dyn Fn() -> u64) -> Result<()> {
        let clock = RealClock::new();
        let mut writer = Writer::new(self);
        let never = AtomicBool::new(false);
        let mut line = Vec::new();
        for first in (0..visitors).step_by(BATCH) {
            wait_for_room(window, sent, read, &never);
            let now = clock.now();
            let last = visitors.min(first + BATCH as u64);
            for n in first..last {
                line.clear();
                let _ = write!(line, r#"{{"type":"page","messageId":"crowd-{n}","anonymousId":""#);
                crowd::visitor(n).write(&mut line);
                line.extend_from_slice(br#"","timestamp":""#);
                now.write_rfc3339(&mut line);
                line.extend_from_slice(b"\"}");
                writer.event(&line, n, now)?;
            }
            writer.submit()?;
            sent.events.fetch_add(last - first, Relaxed);
        }
        writer.finish()
    }
}

/// When the batch of a turn is to be sent, from the first one on.
fn due(turn: u64, rate: u64) -> Duration {
    Duration::from_secs_f64(turn as f64 * BATCH as f64 / rate as f64)
}

/// It looks again soon: what is in a window is a fraction of a second's work. What does not move at all is somebody else's to
/// find.
fn wait_for_room(window: u64, sent: &Sent, read: &dyn Fn() -> u64, stop: &AtomicBool) {
    for _ in 0..120_000 {
        if sent.events.load(Relaxed).saturating_sub(read()) < window || stop.load(Relaxed) {
            return;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

struct Writer<'l> {
    log: &'l dyn Log,
    collector: Collector,
    tickets: VecDeque<Ticket>,
}

impl Writer<'_> {
    fn new(load: &Load) -> Writer<'_> {
        let collector = Collector::new(load.decoder.clone(), load.log.partitions(event::topic::RAW));
        Writer { log: &*load.log, collector, tickets: VecDeque::new() }
    }

    fn event(&mut self, line: &[u8], index: u64, received: Micros) -> Result<()> {
        let position = ArrivalPosition::At { prefix: "bench", index };
        let taken = self.collector.event(line, &Arrival { received, position, inherited: &[] });
        taken.map_err(|failure| Failed::new(Exit::Failed, format!("an event of the generator: {}", failure.message)))
    }

    fn submit(&mut self) -> Result<()> {
        self.tickets.push_back(self.log.submit(Commit { blocks: self.collector.take(), ..Commit::default() }));
        if self.tickets.len() > IN_FLIGHT {
            self.tickets.pop_front().map_or(Ok(()), stored)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        self.tickets.into_iter().try_for_each(stored)
    }
}

fn stored(ticket: Ticket) -> Result<()> {
    match ticket.wait() {
        Outcome::Committed(_) => Ok(()),
        outcome => Err(Failed::new(Exit::Environment, format!("Kafka does not take events: {outcome:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_due_evenly_however_many_there_were() {
        assert_eq!(due(0, 10_000), Duration::ZERO);
        assert_eq!(due(1, 10_000), Duration::from_millis(5));
        // A day later nothing has drifted.
        assert_eq!(due(200 * 86_400, 10_000), Duration::from_secs(86_400));
    }

    #[test]
    fn who_waits_for_room_ends_when_told() {
        let sent = Sent { events: AtomicU64::new(10), ..Sent::default() };
        wait_for_room(10, &sent, &|| 1, &AtomicBool::new(false));
        wait_for_room(10, &sent, &|| 0, &AtomicBool::new(true));
    }
}
