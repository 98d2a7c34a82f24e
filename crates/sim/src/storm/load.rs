//! The senders: one connection each, one request at a time, as fast as answers come.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ouzel_gen::Rng;
use seam::{Clock, RealClock};

use crate::http::Client;
use crate::laws::{Law, Violation, conduct};
use crate::ledger::{Answer, Producer};

/// Sizes of batches: single events, and what SDKs and shippers send.
const SIZES: [usize; 6] = [1, 10, 40, 100, 100, 200];

/// What all senders share.
#[derive(Default)]
pub struct Meter {
    pub acked_events: AtomicU64,
    pub acked_batches: AtomicU64,
    pub pushed_back: AtomicU64,
    pub stop: AtomicBool,
}

/// How sending ended.
#[derive(Debug)]
pub enum Sent {
    /// It was told to stop, or had nothing left to send; every answer is known.
    Stopped,
    /// The connection broke; the producer's last batch is pending.
    Lost,
    /// The program said something it must not.
    Wrong(Violation),
}

/// Sends batches until it is told to stop or the connection breaks.
pub fn send(producer: &mut Producer, addr: SocketAddr, rng: &mut Rng, meter: &Meter) -> io::Result<Sent> {
    let mut client = Client::new(addr);
    let clock = RealClock::new();
    while !meter.stop.load(Relaxed) {
        let size = SIZES[rng.below(SIZES.len() as u64) as usize];
        match exchange(producer, &mut client, size, clock.now(), meter)? {
            Sent::Stopped => {}
            other => return Ok(other),
        }
    }
    Ok(Sent::Stopped)
}

/// Sends the pending batch, if there is one, until its answer is known.
pub fn send_pending(producer: &mut Producer, addr: SocketAddr, meter: &Meter) -> io::Result<Sent> {
    let mut client = Client::new(addr);
    let clock = RealClock::new();
    while producer.has_pending() {
        match exchange(producer, &mut client, 0, clock.now(), meter)? {
            Sent::Stopped => {}
            other => return Ok(other),
        }
    }
    Ok(Sent::Stopped)
}

fn exchange(
    producer: &mut Producer,
    client: &mut Client,
    size: usize,
    now: event::Micros,
    meter: &Meter,
) -> io::Result<Sent> {
    let prepared = producer.next(size, now)?;
    let response = match client.post("/v1/events", prepared.content_type, &prepared.body) {
        Ok(response) => response,
        Err(_) => return Ok(Sent::Lost),
    };
    let n = prepared.len();
    match response.status {
        // A batch of broken events only is answered with 400 and the same body.
        200 | 400 => {
            let answer: Answer = match serde_json::from_slice(&response.body) {
                Ok(answer) => answer,
                Err(e) => {
                    let what = format!("status {}, and an answer that cannot be read ({e})", response.status);
                    return Ok(Sent::Wrong(conduct(format!("{what}: {}", response.text()), "the door")));
                }
            };
            let verdict = producer.acknowledge(&answer)?;
            meter.acked_events.fetch_add(n as u64, Relaxed);
            meter.acked_batches.fetch_add(1, Relaxed);
            let wrong_status = (answer.accepted == 0) != (response.status == 400);
            match verdict {
                Err(what) => Ok(Sent::Wrong(Violation { law: Law::L7, ..conduct(what, "the door and the decoder") })),
                Ok(()) if wrong_status => {
                    let what = format!("status {} for {} accepted events", response.status, answer.accepted);
                    Ok(Sent::Wrong(conduct(what, "the door")))
                }
                Ok(()) => Ok(Sent::Stopped),
            }
        }
        429 | 503 => {
            meter.pushed_back.fetch_add(1, Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            Ok(Sent::Stopped)
        }
        status => Ok(Sent::Wrong(conduct(format!("status {status} for a batch: {}", response.text()), "the door"))),
    }
}
