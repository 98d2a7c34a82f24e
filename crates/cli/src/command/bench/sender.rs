//! A sender of pre-rendered batches over HTTP, at almost no cost of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use door::http::Histogram;
use event::Micros;
use ouzel_gen::batch::{Form, render_batches};
use ouzel_gen::{Batch, GenConfig};
use seam::{Clock, RealClock};

use super::sessions::crowd;
use crate::send::Connection;

/// Batches rendered per connection: enough that the receiver's caches do not learn them.
const RENDERED: usize = 50;
/// Numbers of events that each connection has for itself: more than it sends in a year.
const NUMBERS: u64 = 1_000_000_000_000;

/// An event in the mean.
const EVENT_BYTES: usize = 1_200;

pub struct Load {
    pub addr: SocketAddr,
    pub batch: usize,
    pub connections: usize,
    /// Events a second; `None`: as fast as answers come.
    pub rate: Option<u64>,
    pub clock: Arc<RealClock>,
    /// The numbers of events begin here: on a directory that another load came to before, above that one's, or they would be
    /// its events again.
    pub first: u64,
    /// Events of browsers are each of one of so many visitors, any; `None`: of the generator's.
    pub visitors: Option<u64>,
    pub silence: Silence,
}

/// What becomes of the sending when nobody answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silence {
    /// It ends with the error.
    Ends,
    /// The batch is lost and counted, and the next one is sent when it is due.
    Passes,
}

/// A rendered batch, and where its visitors stand in it.
pub struct Rendered {
    pub batch: Batch,
    visitors: Vec<usize>,
}

impl Rendered {
    pub fn of(batch: Batch) -> Rendered {
        const MEMBER: &str = "\"anonymousId\":\"";
        let text = String::from_utf8_lossy(&batch.body);
        let visitors = text.match_indices(MEMBER).map(|(at, member)| at + member.len()).collect();
        Rendered { visitors, batch }
    }

    /// Gives each of its events one of `visitors` visitors, by numbers from `first` on.
    pub fn disguise(&mut self, first: u64, visitors: u64) {
        let mut text = Vec::with_capacity(64);
        for (n, at) in (first..).zip(&self.visitors) {
            text.clear();
            crowd::visitor(ouzel_gen::rng::mix(n) % visitors).write(&mut text);
            self.batch.body[*at..*at + text.len()].copy_from_slice(&text);
        }
    }
}

#[derive(Default)]
pub struct Sent {
    pub events: AtomicU64,
    pub failed: AtomicU64,
    /// From the intended send to the answer.
    pub ack: Histogram,
    /// Whether answers are timed at present.
    pub measuring: AtomicBool,
    /// Sends that began more than 1 ms after they were due.
    pub behind: AtomicU64,
}

impl Load {
    /// Bytes of the bodies that all connections hold, about.
    pub fn rendered_bytes(&self) -> usize {
        self.connections * RENDERED * self.batch * EVENT_BYTES
    }

    /// Sends until `stop`; every event is new and has its intended time of sending as its time.
    pub fn run(&self, sent: &Arc<Sent>, stop: &Arc<AtomicBool>) -> io::Result<()> {
        let mut generator = GenConfig::crowd(1).build().map_err(io::Error::other)?;
        let mut batches = || render_batches(&mut generator, RENDERED, self.batch, Form::Ndjson);
        let rendered: Vec<Vec<Rendered>> =
            (0..self.connections).map(|_| batches().into_iter().map(Rendered::of).collect()).collect();
        let begun = self.clock.elapsed();
        let wall = self.clock.now();
        let turn = Arc::new(AtomicU64::new(0));
        std::thread::scope(|scope| {
            let senders: Vec<_> = (1..)
                .zip(rendered)
                .map(|(n, batches)| {
                    let (sent, stop, turn) = (sent.clone(), stop.clone(), turn.clone());
                    scope.spawn(move || {
                        self.connection(n * NUMBERS + self.first, batches, (begun, wall), &turn, &sent, &stop)
                    })
                })
                .collect();
            // Every sender is waited for, whatever became of the others.
            let ends: Vec<_> = senders.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            ends.into_iter().try_for_each(|end| end.unwrap_or_else(|_| Err(io::Error::other("a sender panicked"))))
        })
    }

    fn connection(
        &self,
        mut number: u64,
        mut batches: Vec<Rendered>,
        (begun, wall): (Duration, Micros),
        turn: &AtomicU64,
        sent: &Sent,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let mut connection = Connection::new(self.addr, "/v1/events");
        if self.silence == Silence::Ends {
            connection.connect()?;
        }
        for at in (0..RENDERED).cycle() {
            if stop.load(Relaxed) {
                return Ok(());
            }
            let due = match self.rate {
                None => self.clock.elapsed(),
                Some(rate) => {
                    let turn = turn.fetch_add(1, Relaxed);
                    let due = begun + Duration::from_secs_f64(turn as f64 * self.batch as f64 / rate as f64);
                    let now = self.clock.elapsed();
                    if due > now {
                        std::thread::sleep(due - now);
                    } else if now - due > Duration::from_millis(1) {
                        sent.behind.fetch_add(1, Relaxed);
                    }
                    due
                }
            };
            let intended = Micros(wall.0 + (due.saturating_sub(begun)).as_micros() as i64);
            let rendered = &mut batches[at];
            rendered.batch.restamp(number, intended);
            if let Some(visitors) = self.visitors {
                rendered.disguise(number, visitors);
            }
            number += self.batch as u64;
            let status = match connection.post(&rendered.batch.body) {
                Ok(answer) => answer.status,
                Err(e) if self.silence == Silence::Ends => return Err(e),
                Err(_) => 0,
            };
            if status == 200 {
                sent.events.fetch_add(self.batch as u64, Relaxed);
                if sent.measuring.load(Relaxed) {
                    sent.ack.record(self.clock.elapsed().saturating_sub(due));
                }
            } else {
                sent.failed.fetch_add(self.batch as u64, Relaxed);
            }
        }
        Ok(())
    }
}
