//! A log in memory whose outcomes a test decides, and a front line before it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use event::record::Chunk;
use event::topic::{DLQ, RAW};
use event::{Offset, TopicId, TopicPartition};
use log::{Commit, Committed, Fetch, Input, Log, LogError, Membership, Outcome, StoredPosition, Ticket};
use lookup::Directory;
use ouzel_door::http::{ClientAddress, Counters, Front, Limits, Parts, Server, Site};
use seam::{Net, RealClock, RealNet, RealRng};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

pub const PARTITIONS: u32 = 2;

/// Answers `Committed` at once, unless told another outcome or to hold.
pub struct FakeLog {
    partitions: Mutex<BTreeMap<TopicPartition, Vec<Chunk>>>,
    outcome: Mutex<Option<Outcome>>,
    hold: AtomicBool,
    held: Mutex<Vec<(oneshot::Sender<Outcome>, Commit)>>,
    version: watch::Sender<u64>,
}

impl FakeLog {
    pub fn new() -> Arc<FakeLog> {
        Arc::new(FakeLog {
            partitions: Mutex::default(),
            outcome: Mutex::default(),
            hold: AtomicBool::new(false),
            held: Mutex::default(),
            version: watch::Sender::new(0),
        })
    }

    /// Every commit from now on ends like this; `None`: it is committed.
    pub fn answer_with(&self, outcome: Option<Outcome>) {
        *self.outcome.lock().unwrap() = outcome;
    }

    /// Leaves commits undecided until [`FakeLog::release`].
    pub fn hold(&self) {
        self.hold.store(true, Ordering::SeqCst);
    }

    pub fn held(&self) -> usize {
        self.held.lock().unwrap().len()
    }

    pub fn release(&self) {
        self.hold.store(false, Ordering::SeqCst);
        for (sender, commit) in std::mem::take(&mut *self.held.lock().unwrap()) {
            let _ = sender.send(self.decide(commit));
        }
    }

    /// Leaves a gap, as a Kafka transaction's markers do.
    pub fn append(&self, to: TopicPartition, at: Offset, block: event::Block) {
        let chunk = Chunk { base: at, count: block.count, bytes: block.bytes };
        self.partitions.lock().unwrap().entry(to).or_default().push(chunk);
        self.version.send_modify(|v| *v += 1);
    }

    /// How many wait for commits.
    pub fn readers(&self) -> usize {
        self.version.receiver_count()
    }

    /// (key, header, value) of all records of a topic, partition by partition.
    pub fn records(&self, topic: TopicId) -> Vec<(Vec<u8>, event::Header, Vec<u8>)> {
        let partitions = self.partitions.lock().unwrap();
        let chunks = partitions.iter().filter(|(p, _)| p.topic == topic).flat_map(|(_, chunks)| chunks);
        let mut all = Vec::new();
        for chunk in chunks {
            for record in chunk.records() {
                let (_, r) = record.expect("a record");
                all.push((
                    r.key.to_vec(),
                    r.header().expect("a header").to_header(),
                    r.value.unwrap_or_default().to_vec(),
                ));
            }
        }
        all
    }

    pub fn values(&self, topic: TopicId) -> Vec<String> {
        let mut values: Vec<_> =
            self.records(topic).into_iter().map(|(_, _, v)| String::from_utf8(v).expect("text")).collect();
        values.sort();
        values
    }

    fn decide(&self, commit: Commit) -> Outcome {
        if let Some(outcome) = &*self.outcome.lock().unwrap() {
            return outcome.clone();
        }
        let mut bases = Vec::new();
        for block in commit.blocks {
            let base = self.bounds(block.to).expect("bounds").1;
            bases.push(base);
            self.append(block.to, base, block);
        }
        Outcome::Committed(Committed { bases })
    }
}

impl Log for FakeLog {
    fn partitions(&self, _: TopicId) -> u32 {
        PARTITIONS
    }

    fn submit(&self, commit: Commit) -> Ticket {
        if self.hold.load(Ordering::SeqCst) {
            let (sender, ticket) = Ticket::new();
            self.held.lock().unwrap().push((sender, commit));
            return ticket;
        }
        Ticket::ready(self.decide(commit))
    }

    fn fetch(&self, at: TopicPartition, from: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        let (start, end) = self.bounds(at)?;
        if from < start || from > end {
            return Err(LogError::OutOfRange { partition: at, asked: from, start, end });
        }
        let partitions = self.partitions.lock().unwrap();
        let mut fetch = Fetch { chunks: Vec::new(), next: from, end };
        let mut bytes = 0;
        for chunk in partitions.get(&at).into_iter().flatten().filter(|c| c.next() > from) {
            if bytes > 0 && bytes + chunk.bytes.len() > max_bytes {
                break;
            }
            bytes += chunk.bytes.len();
            fetch.next = chunk.next();
            fetch.chunks.push(chunk.clone());
        }
        Ok(fetch)
    }

    fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError> {
        let partitions = self.partitions.lock().unwrap();
        let chunks = partitions.get(&at);
        let start = chunks.and_then(|c| c.first()).map_or(0, |c| c.base);
        Ok((start, chunks.and_then(|c| c.last()).map_or(0, Chunk::next)))
    }

    fn committed(&self, _: &str, _: &Input) -> Result<Option<StoredPosition>, LogError> {
        Ok(None)
    }

    fn join(&self, _: &str, _: TopicId) -> Box<dyn Membership> {
        unreachable!("the front line owns nothing")
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn wait(&self, seen: u64, _: Duration) -> u64 {
        seen
    }
}

#[derive(Default)]
pub struct FakeSite {
    pub reasons: Mutex<Vec<String>>,
    pub lookups: OnceLock<Arc<dyn Directory>>,
}

impl Site for FakeSite {
    fn ready(&self) -> Vec<String> {
        self.reasons.lock().unwrap().clone()
    }

    fn lookups(&self) -> Option<&dyn Directory> {
        self.lookups.get().map(|lookups| &**lookups)
    }

    fn metrics(&self, out: &mut String) {
        out.push_str("ouzel_test 1\n");
    }

    fn status(&self) -> Value {
        json!({ "version": "0.0.0-test", "lag": 7 })
    }

    fn admin(&self, method: &str, path: &str, query: &str, token: Option<&str>, body: &[u8]) -> Option<(u16, String)> {
        let body = String::from_utf8_lossy(body);
        (path == "/admin/echo").then(|| match token {
            Some("secret") => (200, json!([method, query, body]).to_string()),
            _ => (401, "{}".to_owned()),
        })
    }
}

/// A front line on a port of its own.
pub struct World {
    pub log: Arc<FakeLog>,
    pub site: Arc<FakeSite>,
    pub counters: Arc<Counters>,
    pub addr: SocketAddr,
    pub runtime: Runtime,
    server: Option<Server>,
}

impl World {
    pub fn new() -> World {
        World::with(|_| {})
    }

    pub fn with(limit: impl FnOnce(&mut Limits)) -> World {
        World::build(ClientAddress::None, limit)
    }

    pub fn build(client_address: ClientAddress, limit: impl FnOnce(&mut Limits)) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (log, site, counters) = (FakeLog::new(), Arc::new(FakeSite::default()), Arc::new(Counters::default()));
        let mut limits = Limits::default();
        limit(&mut limits);
        let front = Front::new(Parts {
            log: log.clone(),
            site: site.clone(),
            clock: Arc::new(RealClock::new()),
            rng: Arc::new(RealRng),
            decoder: Arc::new(decoder()),
            client_address,
            limits,
            counters: counters.clone(),
        });
        let listener = RealNet.listen("127.0.0.1:0".parse().unwrap()).expect("a port");
        let _guard = runtime.enter();
        let server = Server::start(listener, Arc::new(front)).expect("a server");
        drop(_guard);
        World { log, site, counters, addr: server.addr(), runtime, server: Some(server) }
    }

    /// Stops the server on another thread; its end gives the number of connections cut off.
    pub fn stop(&mut self, deadline: Duration) -> tokio::task::JoinHandle<usize> {
        let server = self.server.take().expect("stopped once");
        self.runtime.spawn(server.stop(deadline))
    }

    /// Waits for something that other threads bring about.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..2_000 {
            if holds() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("never: {what}");
    }

    pub fn raw(&self) -> Vec<String> {
        self.log.values(RAW)
    }

    pub fn dlq(&self) -> Vec<Value> {
        self.log.values(DLQ).iter().map(|v| serde_json::from_str(v).expect("JSON")).collect()
    }
}

pub fn decoder() -> wire::Decoder {
    wire::Decoder::build(wire::DecoderConfig {
        source: "http".to_owned(),
        map: wire::FieldMap::preset(wire::Preset::Ouzel),
        limits: wire::Limits::default(),
        reserved: "enriched".to_owned(),
        max_future_us: 300_000_000,
        clock: wire::ClockMode::Live,
    })
    .expect("a preset is valid")
}
