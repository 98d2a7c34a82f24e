//! The program on real Kafka: several workers, killed and stopped in turn with the brokers, make of what was sent what one
//! worker would have that nothing ever happened to. The long form runs with `OUZEL_PROVE=1` (`cargo xtask prove`).

#![allow(clippy::disallowed_methods)] // tests stand in the real world
#![cfg(all(feature = "kafka", feature = "faults"))]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use log::Log;
use log_kafka::broker::{Cluster, ClusterConfig};
use log_kafka::{KafkaConfig, KafkaLog};
use seam::{Clock, RealClock};
use sim::http::Client;
use sim::laws::sessions::{self as law, SessionRules};
use sim::laws::{self, World};
use sim::ledger::{Answer, Ledger, Producer, ProducerConfig};
use sim::model::Model;
use sim::outputs::{ALL_TOPICS, Outputs};
use sim::storm::process::{Program, Running};

const RULES: SessionRules = SessionRules { gap_us: 1_000_000, allowed_lateness_us: 10_000_000 };
const PARTITIONS: u32 = 4;
/// Once nothing breaks any more, all must be done within this.
const QUIET: Duration = Duration::from_secs(120);

fn long() -> bool {
    std::env::var_os("OUZEL_PROVE").is_some()
}

/// Processes on a cluster, and what they are started with.
struct Fleet {
    dir: PathBuf,
    collect: Running,
    workers: Vec<(Program, Option<Running>)>,
}

impl Fleet {
    fn start(kafka: &KafkaConfig, dir: &Path, workers: usize, env: &[(&str, &str)]) -> Fleet {
        let file = dir.join("kafka.toml");
        let text = format!(
            "version = 1\n\
             data.partitions = {PARTITIONS}\n\
             sessions.gap = \"1s\"\n\
             sessions.allowed_lateness = \"10s\"\n\
             sessions.update_every = \"1s\"\n\
             time.out_of_order = \"1s\"\n\
             time.idle_after = \"500ms\"\n\
             state.snapshot_every = \"1s\"\n\
             state.store = \"{}\"\n\
             enrich.workers = 1\n\
             [kafka]\n\
             brokers = \"{}\"\n\
             prefix = \"{}\"\n\
             replication = {}\n",
            dir.join("store").display(),
            kafka.brokers,
            kafka.prefix,
            kafka.replication,
        );
        std::fs::write(&file, text).expect("written");
        std::fs::create_dir_all(dir.join("store")).expect("made");
        let program = |role: &str, slot: String| {
            let args = ["-c", &file.display().to_string(), "--roles", role, "--slot", &slot].map(str::to_owned);
            Program {
                binary: env!("CARGO_BIN_EXE_ouzel").into(),
                args: args.to_vec(),
                env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                data: dir.join(format!("data-{slot}")),
                log: dir.join(format!("printed-{slot}.log")),
            }
        };
        let collect = program("collect", "door".to_owned());
        let collect = collect.start(&[]).unwrap_or_else(|e| panic!("collect: {e:?}\n{}", collect.printed()));
        let mut fleet = Fleet { dir: dir.to_owned(), collect, workers: Vec::new() };
        for n in 0..workers {
            fleet.workers.push((program("enrich,sessions", n.to_string()), None));
            fleet.start_worker(n);
        }
        fleet
    }

    fn start_worker(&mut self, n: usize) {
        let (program, running) = &mut self.workers[n];
        let started = program.start(&[]).unwrap_or_else(|e| panic!("worker {n}: {e:?}\n{}", program.printed()));
        *running = Some(started);
    }

    fn kill_worker(&mut self, n: usize) {
        if let Some(mut running) = self.workers[n].1.take() {
            assert!(running.kill().is_none(), "worker {n} had ended by itself:\n{}", self.workers[n].0.printed());
        }
    }

    fn signal(&self, n: usize, signal: i32) {
        if let Some(running) = &self.workers[n].1 {
            // SAFETY: a process of ours that was not waited for.
            unsafe { libc::kill(running.pid() as i32, signal) };
        }
    }

    /// Nobody ended by itself; SIGTERM ends all well.
    fn stop(mut self) {
        for (n, (program, running)) in self.workers.iter_mut().enumerate() {
            let Some(running) = running else { continue };
            assert!(running.ended().is_none(), "worker {n} ended by itself:\n{}", program.printed());
            let status = running.stop();
            assert!(status.is_some_and(|s| s.success()), "worker {n}: {status:?}\n{}", program.printed());
        }
        let status = self.collect.stop();
        assert!(status.is_some_and(|s| s.success()), "collect: {status:?}, {}", self.dir.display());
    }
}

/// Sends what a ledger knows of, at a few hundred events a second, and again what was not answered.
struct Senders {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Senders {
    fn start(dir: &Path, fleet: &Fleet, count: u64) -> Senders {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..count)
            .map(|n| {
                let mut producer = Producer::create(dir, ProducerConfig::new(n + 1)).expect("a ledger");
                let (addr, stop) = (fleet.collect.addr, stop.clone());
                std::thread::spawn(move || {
                    let (mut client, clock) = (Client::new(addr), RealClock::new());
                    while !stop.load(Relaxed) || producer.has_pending() {
                        let prepared = producer.next(10, clock.now()).expect("written");
                        let answer = client.post("/v1/events", prepared.content_type, &prepared.body);
                        match answer {
                            Ok(r) if r.status == 200 || r.status == 400 => {
                                let answer: Answer = serde_json::from_slice(&r.body).expect("an answer");
                                producer.acknowledge(&answer).expect("written").expect("a right answer");
                            }
                            Ok(r) => assert!(matches!(r.status, 429 | 503), "status {}: {}", r.status, r.text()),
                            Err(_) => client = Client::new(addr),
                        }
                        std::thread::sleep(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        Senders { stop, threads }
    }

    fn end(self) {
        self.stop.store(true, Relaxed);
        self.threads.into_iter().for_each(|t| t.join().expect("a sender"));
    }
}

/// Reads all topics while they are written.
struct Watcher {
    stop: Arc<AtomicBool>,
    outputs: Arc<Mutex<Outputs>>,
    /// The longest time in which nothing came into `enriched`.
    thread: JoinHandle<Duration>,
}

impl Watcher {
    fn start(kafka: &KafkaConfig) -> Watcher {
        let (stop, outputs) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Outputs::default())));
        let (stopped, shared) = (stop.clone(), outputs.clone());
        let log = KafkaLog::connect(KafkaConfig { slot: "watch".into(), ..kafka.clone() }).expect("connects");
        let thread = std::thread::spawn(move || {
            let (mut longest, mut last, mut seen) = (Duration::ZERO, Instant::now(), 0);
            while !stopped.load(Relaxed) {
                let mut outputs = shared.lock().expect("no panic while held");
                outputs.read(&*log).unwrap_or_else(|what| panic!("the reader: {what}"));
                let now = outputs.enriched.len();
                drop(outputs);
                if seen > 0 {
                    longest = longest.max(last.elapsed());
                }
                if now > seen {
                    if seen > 0 && last.elapsed() > Duration::from_secs(4) {
                        eprintln!("nothing was enriched for {:?}", last.elapsed());
                    }
                    (seen, last) = (now, Instant::now());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            longest
        });
        Watcher { stop, outputs, thread }
    }
}

/// What was made of what was sent, once all is quiet; panics with the laws that are broken.
fn judge(kafka: &KafkaConfig, ledger_dir: &Path, watcher: Watcher) {
    let begun = Instant::now();
    let mut last = Vec::new();
    loop {
        let outputs = watcher.outputs.lock().expect("no panic while held").clone();
        let model = Model::of(&outputs.raw);
        let mut ledger = Ledger::open(ledger_dir).expect("a ledger");
        ledger.refresh().expect("readable");
        let world = World { ledger: &ledger, outputs: &outputs, model: &model, sessions: Some(RULES) };
        let mut violations = laws::check(&world);
        violations.extend(law::l8_sessions_equal_the_model(&world, RULES));
        if violations.is_empty() && outputs.enriched.len() >= model.enriched {
            eprintln!(
                "raw {}, enriched {}, sessions {}, late {}, dead letters {}; quiet after {:?}",
                outputs.raw.len(),
                outputs.enriched.len(),
                law::ends(&world).sessions().len(),
                outputs.late.len(),
                outputs.dlq.len(),
                begun.elapsed()
            );
            break;
        }
        last = violations;
        if begun.elapsed() > QUIET {
            let said: Vec<_> = last.iter().map(ToString::to_string).collect();
            panic!("laws are broken:\n{}\nenriched {} of {}", said.join("\n"), outputs.enriched.len(), model.enriched);
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(last);
    // Anything that comes twice would come by now.
    std::thread::sleep(Duration::from_millis(500));
    watcher.stop.store(true, Relaxed);
    let longest = watcher.thread.join().expect("the reader");
    eprintln!("the longest time in which nothing was enriched: {longest:?}");
    let log = KafkaLog::connect(KafkaConfig { slot: "again".into(), ..kafka.clone() }).expect("connects");
    let mut again = Outputs::default();
    // Whoever has asked for the end reads to it.
    let topics = ALL_TOPICS.map(|name| event::TopicId::named(name).expect("a topic"));
    for at in topics.into_iter().flat_map(|topic| (0..PARTITIONS).map(move |p| topic.partition(p))) {
        log.bounds(at).expect("bounds");
    }
    again.read(&*log).expect("readable");
    let watched = watcher.outputs.lock().expect("no panic while held");
    for name in ALL_TOPICS {
        let (watched, again) = (&watched.topic(name).rows, &again.topic(name).rows);
        let counts = |rows: &[Vec<_>]| rows.iter().map(Vec::len).collect::<Vec<_>>();
        assert!(watched == again, "who read {name} meanwhile saw {:?}, not {:?}", counts(watched), counts(again));
    }
}

/// Members are killed and stopped, then the broker, over and over.
#[test]
fn workers_and_brokers_are_killed_and_stopped_in_turn() {
    let brokers = if long() { 3 } else { 1 };
    let mut cluster = Cluster::start(ClusterConfig { brokers, ..ClusterConfig::default() }).expect("brokers");
    let kafka = cluster.fresh(PARTITIONS);
    let dir = tempfile::Builder::new().prefix("ouzel-kafka").tempdir().expect("a directory");
    let ledger = dir.path().join("ledger");
    std::fs::create_dir_all(&ledger).expect("made");
    let mut fleet = Fleet::start(&kafka, dir.path(), 3, &[]);
    let senders = Senders::start(&ledger, &fleet, 2);
    let watcher = Watcher::start(&kafka);
    let secs = std::env::var("OUZEL_STORM_SECS").ok().and_then(|s| s.parse().ok());
    let (begun, time) = (Instant::now(), Duration::from_secs(secs.unwrap_or(if long() { 600 } else { 60 })));
    std::thread::sleep(Duration::from_secs(3));
    let mut turn = 0;
    while begun.elapsed() < time {
        let worker = turn % 3;
        let broker = turn % brokers as usize;
        match turn % 5 {
            0 => {
                eprintln!("{:?} worker {worker} is killed", begun.elapsed());
                fleet.kill_worker(worker);
                std::thread::sleep(Duration::from_secs(1));
                fleet.start_worker(worker);
            }
            1 => {
                eprintln!("{:?} worker {worker} stands still", begun.elapsed());
                fleet.signal(worker, libc::SIGSTOP);
                std::thread::sleep(Duration::from_secs(9));
                fleet.signal(worker, libc::SIGCONT);
            }
            2 => {
                eprintln!("{:?} broker {broker} is killed", begun.elapsed());
                cluster.kill(broker);
                cluster.start_broker(broker).expect("starts");
                cluster.wait_ready().expect("ready");
            }
            3 => {
                eprintln!("{:?} worker {worker} is killed for long", begun.elapsed());
                fleet.kill_worker(worker);
                std::thread::sleep(Duration::from_secs(8));
                fleet.start_worker(worker);
            }
            _ => {
                eprintln!("{:?} broker {broker} is stopped", begun.elapsed());
                cluster.stop(broker);
                cluster.start_broker(broker).expect("starts");
                cluster.wait_ready().expect("ready");
            }
        }
        std::thread::sleep(Duration::from_secs(2));
        turn += 1;
    }
    senders.end();
    judge(&kafka, &ledger, watcher);
    fleet.stop();
}

/// All records of a topic that are there by now: (key, value).
fn records(log: &dyn Log, topic: event::TopicId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    for at in (0..PARTITIONS).map(|p| topic.partition(p)) {
        let (mut next, end) = log.bounds(at).expect("bounds");
        while next < end {
            let fetch = log.fetch(at, next, 1 << 20).expect("readable");
            for (_, r) in fetch.chunks.iter().flat_map(|c| c.records()).flatten() {
                all.push((r.key.to_vec(), r.value.unwrap_or_default().to_vec()));
            }
            next = fetch.next;
        }
    }
    all
}

/// Another program writes into topics that are ours: what it wrote is set aside, byte for byte, and nobody stops.
#[test]
fn what_others_write_into_our_topics_is_set_aside() {
    let cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    let kafka = cluster.fresh(PARTITIONS);
    let dir = tempfile::Builder::new().prefix("ouzel-kafka").tempdir().expect("a directory");
    let fleet = Fleet::start(&kafka, dir.path(), 1, &[]);
    let log = KafkaLog::connect(KafkaConfig { slot: "other".into(), ..kafka.clone() }).expect("connects");
    let mut client = Client::new(fleet.collect.addr);
    let event =
        |n: u32| format!("{{\"type\":\"track\",\"event\":\"seen\",\"messageId\":\"e{n}\",\"anonymousId\":\"v{n}\"}}\n");
    let mut sent = 0;
    for round in 0..10u32 {
        for topic in [event::topic::RAW, event::topic::ENRICHED] {
            let mut block = event::BlockBuilder::new(topic.partition(round % PARTITIONS));
            block.push(b"", b"", Some(&[format!("garbage {round}\0\u{fffd}").as_bytes()]));
            block.push(b"key", b"\x07no header", Some(&[&[0xff, 0xfe, round as u8]]));
            block.push(b"{}", b"", None);
            let commit = log::Commit { blocks: vec![block.finish()], ..log::Commit::default() };
            assert!(matches!(log.submit(commit).wait(), log::Outcome::Committed(_)));
        }
        let body: String = (sent..sent + 20).map(event).collect();
        let answer = client.post("/v1/events", "application/x-ndjson", body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        sent += 20;
    }
    let begun = Instant::now();
    let foreign = || {
        let letters = records(&*log, event::topic::DLQ).into_iter();
        letters.filter(|(_, value)| String::from_utf8_lossy(value).contains("\"foreign_record\"")).collect::<Vec<_>>()
    };
    let enriched = || {
        let all = records(&*log, event::topic::ENRICHED).into_iter();
        all.filter(|(_, value)| String::from_utf8_lossy(value).contains("\"enriched\":")).count()
    };
    while (foreign().len() < 60 || enriched() < sent as usize) && begun.elapsed() < QUIET {
        std::thread::sleep(Duration::from_millis(200));
    }
    let letters = foreign();
    assert_eq!((letters.len(), enriched()), (60, sent as usize));
    let has = |text: &str| letters.iter().any(|(_, value)| String::from_utf8_lossy(value).contains(text));
    assert!(has("garbage 3"), "its bytes are kept");
    fleet.stop();
}

/// Topics were made anew, and the store of snapshots was not: nothing goes on from a state of another history.
#[test]
fn snapshots_of_topics_that_are_gone_are_refused() {
    let cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    let refused = |env: &[(&str, &str)]| {
        let kafka = cluster.fresh(PARTITIONS);
        let dir = tempfile::Builder::new().prefix("ouzel-kafka").tempdir().expect("a directory");
        let fleet = Fleet::start(&kafka, dir.path(), 1, env);
        let mut client = Client::new(fleet.collect.addr);
        let body: String = (0..200)
            .map(|n| format!("{{\"type\":\"page\",\"messageId\":\"e{n}\",\"anonymousId\":\"v{n}\"}}\n"))
            .collect();
        let begun = Instant::now();
        let store = dir.path().join("store");
        while !has_manifest(&store) {
            assert!(begun.elapsed() < QUIET, "no snapshot was written");
            let answer = client.post("/v1/events", "application/x-ndjson", body.as_bytes()).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            std::thread::sleep(Duration::from_millis(200));
        }
        let program = fleet.workers[0].0.clone();
        fleet.stop();
        cluster.remove(&kafka).expect("removed");
        let plan = log_kafka::topics::plan(&kafka, &[]).expect("a plan");
        log_kafka::topics::apply(&kafka, &plan).expect("made anew");
        let begun = Instant::now();
        let Ok(mut running) = program.start(&[]) else { return Some(program.printed()) };
        while running.ended().is_none() {
            if begun.elapsed() > Duration::from_secs(20) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(program.printed())
    };
    let said = refused(&[]).expect("it goes on with the store of topics that are gone");
    assert!(said.contains("the topic was made anew") && said.contains("state.store"), "{said}");
    assert!(refused(&[("OUZEL_PLANT", "snapshot_of_another_epoch")]).is_none(), "the bug that is planted is not found");
}

fn has_manifest(dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    entries.flatten().any(|e| match e.path().is_dir() {
        true => has_manifest(&e.path()),
        false => e.file_name().to_string_lossy().contains("manifest"),
    })
}
