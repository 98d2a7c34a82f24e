//! Batches over HTTP, open loop: each has a time to be sent, and a receiver that is slow makes them late, not fewer.
//!
//! A sender holds one batch at a time, taken in turn; so at most as many are in memory as there are connections. What
//! could not be sent when it was due is sent as soon as it can be, and its latency counts from when it was due.

use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use door::http::Histogram;
use ouzel_gen::Batch;
use serde_json::Value;

use super::args::{Plan, Target};
use super::feed::Feed;
use super::{Pace, STATUS_EVERY, Stop};
use crate::exit::{Exit, Failed, Result, plain, with_help};
use crate::send::{Answer, Connection};

/// A batch is sent with what is due within this span, so that a slow stream does not wait for a hundred records.
const TOGETHER: Duration = Duration::from_millis(50);
/// A send that begins this much after it was due is counted.
const BEHIND: Duration = Duration::from_millis(1);
/// How long a batch is tried for before the run gives up.
const TRIED_FOR: Duration = Duration::from_secs(120);
/// When an answer does not say how long to wait, and after a lost connection.
const PAUSE: Duration = Duration::from_millis(500);
/// However long an answer says.
const PAUSE_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What became of what was sent.
#[derive(Default)]
pub struct Sent {
    pub requests: AtomicU64,
    pub accepted: AtomicU64,
    pub refused: AtomicU64,
    /// Answers of 429 and 503.
    pub pushed_back: AtomicU64,
    /// Batches that were sent once more after a connection was lost.
    pub resent: AtomicU64,
    /// Records of batches that were never taken.
    pub failed: AtomicU64,
    /// Batches that began to be sent after they were due.
    pub behind: AtomicU64,
    /// From when a batch was due to its answer.
    pub latency: Histogram,
    /// The first answer that was none of those expected.
    pub strange: Mutex<Option<String>>,
}

pub fn send(
    feed: &mut Feed,
    pace: &Pace,
    stop: &Stop,
    to: &Target,
    plan: &Plan,
    mut status: impl FnMut(&Feed, &Sent),
) -> Result<Sent> {
    let mut first = Connection::new(to.addr, to.path.as_str());
    first.connect().map_err(|e| unreachable(to, &e))?;
    let mut connections = vec![first];
    connections.resize_with(plan.connections, || Connection::new(to.addr, to.path.as_str()));
    let sent = Sent::default();
    let feed = Mutex::new(feed);
    let at_work = AtomicUsize::new(plan.connections);
    std::thread::scope(|scope| {
        let senders: Vec<_> = connections
            .into_iter()
            .map(|connection| {
                let sender = Sender { feed: &feed, pace, stop, to, sent: &sent, connection };
                let at_work = &at_work;
                scope.spawn(move || {
                    let result = sender.run(plan.batch);
                    if result.is_err() {
                        // The others need not go on.
                        stop.set();
                    }
                    at_work.fetch_sub(1, Relaxed);
                    result
                })
            })
            .collect();
        let mut shown = Duration::ZERO;
        while at_work.load(Relaxed) > 0 {
            std::thread::sleep(LOOK_EVERY);
            let now = pace.elapsed();
            if now - shown >= STATUS_EVERY {
                shown = now;
                status(&feed.lock().expect("no panic while held"), &sent);
            }
        }
        senders.into_iter().try_for_each(|s| s.join().expect("senders do not panic"))
    })?;
    Ok(sent)
}

struct Sender<'a, 'f> {
    feed: &'a Mutex<&'f mut Feed>,
    pace: &'a Pace,
    stop: &'a Stop,
    to: &'a Target,
    sent: &'a Sent,
    connection: Connection,
}

impl Sender<'_, '_> {
    fn run(mut self, n: usize) -> Result<()> {
        let within_us = self.pace.within_us(TOGETHER);
        let mut batch = Batch::default();
        while !self.stop.is_set() {
            if !self.feed.lock().expect("no panic while held").pull(&mut batch, n, within_us)? {
                break;
            }
            let due = match batch.due().and_then(|at| self.pace.due(at)) {
                Some(due) => {
                    if !self.pace.wait(due, self.stop) {
                        self.lost(&batch);
                        break;
                    }
                    self.sent.behind.fetch_add(u64::from(self.pace.elapsed() > due + BEHIND), Relaxed);
                    due
                }
                None => self.pace.elapsed(),
            };
            self.deliver(&batch, due)?;
        }
        Ok(())
    }

    /// Sends a batch until it is taken, or refused for good.
    fn deliver(&mut self, batch: &Batch, due: Duration) -> Result<()> {
        let begun = self.pace.elapsed();
        loop {
            self.sent.requests.fetch_add(1, Relaxed);
            let pause = match self.connection.post(&batch.body) {
                Ok(answer) => match self.sent.judge(answer, batch.len() as u64) {
                    Judged::Settled => {
                        self.sent.latency.record(self.pace.elapsed().saturating_sub(due));
                        return Ok(());
                    }
                    Judged::Later(pause) => pause,
                },
                Err(e) if self.pace.elapsed() - begun > TRIED_FOR => {
                    self.lost(batch);
                    return Err(unreachable(self.to, &e));
                }
                Err(e) if e.kind() == ErrorKind::InvalidData => {
                    self.lost(batch);
                    return Err(Failed::environment(&format!("{} does not answer as expected", self.to.url), &e));
                }
                Err(_) => {
                    self.sent.resent.fetch_add(1, Relaxed);
                    PAUSE
                }
            };
            if self.pace.elapsed() - begun > TRIED_FOR || !self.pace.wait(self.pace.elapsed() + pause, self.stop) {
                self.lost(batch);
                return Ok(());
            }
        }
    }

    fn lost(&self, batch: &Batch) {
        self.sent.failed.fetch_add(batch.len() as u64, Relaxed);
    }
}

enum Judged {
    Settled,
    Later(Duration),
}

impl Sent {
    fn judge(&self, answer: &Answer, records: u64) -> Judged {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        match (answer.status, body["accepted"].as_u64(), body["refused"].as_u64()) {
            // A batch of broken events only is answered with 400 and the same sums.
            (200 | 400, Some(accepted), Some(refused)) => {
                self.accepted.fetch_add(accepted, Relaxed);
                self.refused.fetch_add(refused, Relaxed);
                Judged::Settled
            }
            // Receivers that are no Ouzel say less.
            (200..300, ..) => {
                self.accepted.fetch_add(records, Relaxed);
                Judged::Settled
            }
            (429 | 503, ..) => {
                self.pushed_back.fetch_add(1, Relaxed);
                Judged::Later(answer.retry_after.unwrap_or(PAUSE).min(PAUSE_MAX))
            }
            (status, ..) => {
                self.failed.fetch_add(records, Relaxed);
                let message = body["message"].as_str().unwrap_or("no message");
                self.strange
                    .lock()
                    .expect("no panic while held")
                    .get_or_insert_with(|| format!("status {status}: {message}"));
                Judged::Settled
            }
        }
    }
}

fn unreachable(to: &Target, e: &std::io::Error) -> Failed {
    let what = format!("cannot send to {}: {}", to.url, plain(e));
    Failed::new(Exit::Environment, with_help(&what, "start an Ouzel there first: `ouzel run`"))
}
