//! What the HTTP front line costs an event, beside decoding it: `cargo run --release -p ouzel-door --example front_cost`.
//!
//! Batches of 100 events of 1.2 KB over loopback into a log that forgets. The server's time is the process's CPU time
//! without the sender's thread; the floor is the same bodies split and decoded in a loop.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use event::{Block, Micros, Offset, TopicId, TopicPartition};
use log::{Commit, Committed, Fetch, Input, Log, LogError, Membership, Outcome, StoredPosition, Ticket};
use ouzel_door::collect::Collector;
use ouzel_door::http::{ClientAddress, Counters, Front, Limits, Parts, Server, Site};
use ouzel_gen::GenConfig;
use ouzel_gen::batch::{Form, render_batches};
use seam::{Net, RealClock, RealNet, RealRng};
use tokio::sync::watch;
use wire::{Arrival, ArrivalPosition, Decoder, DecoderConfig, FieldMap, Preset, RawRecord};

const PARTITIONS: u32 = 8;
const BATCHES: usize = 50;
const EVENTS: usize = 100;
const ROUNDS: usize = 100;

struct Forgets(watch::Sender<u64>);

impl Log for Forgets {
    fn partitions(&self, _: TopicId) -> u32 {
        PARTITIONS
    }
    fn submit(&self, commit: Commit) -> Ticket {
        let blocks: Vec<Block> = commit.blocks;
        Ticket::ready(Outcome::Committed(Committed { bases: vec![0; blocks.len()] }))
    }
    fn fetch(&self, _: TopicPartition, at: Offset, _: usize) -> Result<Fetch, LogError> {
        Ok(Fetch { chunks: Vec::new(), next: at, end: at })
    }
    fn bounds(&self, _: TopicPartition) -> Result<(Offset, Offset), LogError> {
        Ok((0, 0))
    }
    fn committed(&self, _: &str, _: &Input) -> Result<Option<StoredPosition>, LogError> {
        Ok(None)
    }
    fn join(&self, _: &str, _: TopicId) -> Box<dyn Membership> {
        unreachable!("the front line owns nothing")
    }
    fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
    fn wait(&self, seen: u64, _: Duration) -> u64 {
        seen
    }
}

struct NoSite;

impl Site for NoSite {
    fn ready(&self) -> Vec<String> {
        Vec::new()
    }
    fn metrics(&self, _: &mut String) {}
    fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn admin(&self, _: &str, _: &str, _: &str, _: Option<&str>, _: &[u8]) -> Option<(u16, String)> {
        None
    }
}

/// (user, system) CPU microseconds of the process or of this thread.
fn cpu_us(who: libc::c_int) -> (f64, f64) {
    // SAFETY: all zeros is a valid rusage, and the call writes it whole.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &mut usage);
        usage
    };
    let us = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    (us(usage.ru_utime), us(usage.ru_stime))
}

fn main() {
    let decoder = Arc::new(
        Decoder::build(DecoderConfig::new("http", FieldMap::preset(Preset::Segment))).expect("a preset is valid"),
    );
    let mut generator = GenConfig::crowd(1).build().expect("a valid configuration");
    let batches = render_batches(&mut generator, BATCHES, EVENTS, Form::Ndjson);
    let total = (BATCHES * EVENTS * ROUNDS) as f64;
    let bytes: usize = batches.iter().map(|b| b.body.len()).sum();
    println!("{} bytes an event", bytes / BATCHES / EVENTS);

    let arrival =
        Arrival { received: Micros(1_795_305_600_000_000), position: ArrivalPosition::Fresh(1), inherited: &[] };
    let before = cpu_us(libc::RUSAGE_THREAD);
    let mut record = RawRecord::default();
    for _ in 0..ROUNDS {
        for batch in &batches {
            for (_, event) in wire::split::body(&batch.body, None) {
                decoder.decode(event, &arrival, &mut record).expect("a good event");
            }
        }
    }
    report("split and decode", before, cpu_us(libc::RUSAGE_THREAD), total);

    let before = cpu_us(libc::RUSAGE_THREAD);
    let mut collector = Collector::new(Arc::clone(&decoder), PARTITIONS);
    for _ in 0..ROUNDS {
        for batch in &batches {
            for (_, event) in wire::split::body(&batch.body, None) {
                collector.event(event, &arrival).expect("a good event");
            }
            drop(collector.take());
        }
    }
    report("split, decode and collect", before, cpu_us(libc::RUSAGE_THREAD), total);

    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let front = Front::new(Parts {
        log: Arc::new(Forgets(watch::Sender::new(0))),
        site: Arc::new(NoSite),
        clock: Arc::new(RealClock::new()),
        rng: Arc::new(RealRng),
        decoder,
        client_address: ClientAddress::Connection,
        limits: Limits::default(),
        counters: Arc::new(Counters::default()),
    });
    let listener = RealNet.listen("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let guard = runtime.enter();
    let server = Server::start(listener, Arc::new(front)).expect("a server");
    drop(guard);
    let requests: Vec<Vec<u8>> = batches
        .iter()
        .map(|b| {
            let head =
                format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", b.body.len());
            [head.as_bytes(), &b.body].concat()
        })
        .collect();
    let mut stream = TcpStream::connect(server.addr()).expect("a connection");
    let mut answer = [0; 4096];
    let (process, sender) = (cpu_us(libc::RUSAGE_SELF), cpu_us(libc::RUSAGE_THREAD));
    for _ in 0..ROUNDS {
        for request in &requests {
            stream.write_all(request).expect("sent");
            let n = stream.read(&mut answer).expect("an answer");
            assert!(answer[..n].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..n]));
        }
    }
    let (process_after, sender_after) = (cpu_us(libc::RUSAGE_SELF), cpu_us(libc::RUSAGE_THREAD));
    let minus = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0, a.1 - b.1);
    report("the whole front line", minus(process, sender), minus(process_after, sender_after), total);
}

fn report(what: &str, before: (f64, f64), after: (f64, f64), events: f64) {
    let (user, system) = ((after.0 - before.0) / events, (after.1 - before.1) / events);
    println!("{what}: {:.3} us an event ({user:.3} user, {system:.3} system)", user + system);
}
