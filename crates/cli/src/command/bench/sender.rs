//! A sender of pre-rendered batches over HTTP, at almost no cost of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use door::http::Histogram;
use event::Micros;
use ouzel_gen::batch::{Form, render_batches};
use ouzel_gen::{Batch, GenConfig};
use seam::{Clock, RealClock};

/// Batches rendered per connection: enough that the receiver's caches do not learn them.
const RENDERED: usize = 50;

pub struct Load {
    pub addr: SocketAddr,
    pub batch: usize,
    pub connections: usize,
    /// Events a second; `None`: as fast as answers come.
    pub rate: Option<u64>,
    pub clock: Arc<RealClock>,
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
    /// Sends until `stop`; every event is new and has its intended time of sending as its time.
    pub fn run(&self, sent: &Arc<Sent>, stop: &Arc<AtomicBool>) -> io::Result<()> {
        let begun = self.clock.elapsed();
        let wall = self.clock.now();
        let turn = Arc::new(AtomicU64::new(0));
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..self.connections)
                .map(|n| {
                    let (sent, stop, turn) = (sent.clone(), stop.clone(), turn.clone());
                    scope.spawn(move || self.connection(n as u64, begun, wall, &turn, &sent, &stop))
                })
                .collect();
            // Every sender is waited for, whatever became of the others.
            let ends: Vec<_> = senders.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            ends.into_iter().try_for_each(|end| end.unwrap_or_else(|_| Err(io::Error::other("a sender panicked"))))
        })
    }

    fn connection(
        &self,
        n: u64,
        begun: Duration,
        wall: Micros,
        turn: &AtomicU64,
        sent: &Sent,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let mut generator = GenConfig::crowd(n + 1).build().map_err(io::Error::other)?;
        let mut batches: Vec<Batch> = render_batches(&mut generator, RENDERED, self.batch, Form::Ndjson);
        let stream = TcpStream::connect(self.addr)?;
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let mut number = 1_000_000;
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
            let batch = &mut batches[at];
            batch.restamp(number, intended);
            number += self.batch as u64;
            let head = format!(
                "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
                self.addr,
                batch.body.len()
            );
            let parts = [io::IoSlice::new(head.as_bytes()), io::IoSlice::new(&batch.body)];
            write_all(&mut stream, &parts)?;
            let status = read_answer(&mut reader)?;
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

fn write_all(stream: &mut TcpStream, parts: &[io::IoSlice<'_>; 2]) -> io::Result<()> {
    let wrote = stream.write_vectored(parts)?;
    if wrote < parts[0].len() {
        stream.write_all(&parts[0][wrote..])?;
        return stream.write_all(&parts[1]);
    }
    stream.write_all(&parts[1][wrote - parts[0].len()..])
}

fn read_answer(reader: &mut BufReader<TcpStream>) -> io::Result<u16> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("the server hung up"))?;
    let mut length = 0usize;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim_end();
        if header.is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    io::copy(&mut reader.take(length as u64), &mut io::sink())?;
    Ok(status)
}
