//! Workers come and go, commits are aborted, fenced and of unknown outcome: every event is in `enriched` once.

#![allow(clippy::disallowed_methods)] // a journal of its own in a temporary directory, and real threads

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use door::collect::Collector;
use event::record::Chunk;
use event::topic::ENRICHED;
use event::{Control, Micros, Says};
use log::inject::{Faults, Injecting};
use log::{Commit, Journal, JournalConfig, Outcome};
use seam::{RealClock, RealFs};
use wire::{Arrival, ArrivalPosition};

use super::*;
use crate::config::LoadArgs;
use crate::parts;
use crate::pipeline::operator;

const PARTITIONS: u32 = 4;
/// Nobody waits for this long unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

type Faulty = Injecting<Arc<Journal>>;

struct Process {
    seats: Arc<Seats>,
    stop: Arc<AtomicBool>,
    workers: Vec<Worker>,
}

impl Process {
    fn start(config: &Config, world: &World, log: &Arc<dyn Log>) -> Process {
        let (sources, setup, _) = parts::sources(config).expect("there are no files");
        let (status, seats) = (Arc::new(StageStatus::new(PARTITIONS)), Arc::default());
        let stop = Arc::default();
        let enriching = Enriching {
            config,
            world,
            log,
            operator: &Arc::new(operator(config, PARTITIONS, setup)),
            sources: &Arc::new(sources),
            lookahead: None,
            store: &parts::store(config, world).expect("a directory"),
            status: &status,
            seats: &seats,
            commits: &Arc::default(),
            stop: &stop,
        };
        let workers = enriching.among_others().expect("threads");
        Process { seats, stop, workers }
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        for worker in self.workers {
            worker.join().expect("no panic").expect("it stopped well");
        }
    }
}

/// Sends events of some visitors until each is stored, as a client does that is not told.
fn send(config: &Config, log: &Faulty, ids: std::ops::Range<u32>) {
    let source = &config.sources[0];
    let mut collector = Collector::new(Arc::new(parts::decoder(config, source).expect("a decoder")), PARTITIONS);
    for at in ids.clone().step_by(20) {
        loop {
            for id in at..(at + 20).min(ids.end) {
                let text = format!(
                    r#"{{"messageId":"e{id}","type":"track","event":"Seen","anonymousId":"v{}","timestamp":"2026-11-27T10:00:{:02}Z"}}"#,
                    id % 7,
                    id / 20 % 60
                );
                let position = ArrivalPosition::At { prefix: "t", index: u64::from(id) };
                let arrival = Arrival { received: seam::Clock::now(&RealClock::new()), position, inherited: &[] };
                collector.event(text.as_bytes(), &arrival).expect("it is an event");
            }
            let commit = Commit { blocks: collector.take(), ..Commit::default() };
            match log.submit(commit).wait() {
                Outcome::Committed(_) => break,
                Outcome::Aborted(_) | Outcome::Unknown => {}
            }
        }
    }
}

/// How often each event is in `enriched`; and of which inputs each partition has heard.
fn enriched(log: &dyn Log) -> (BTreeMap<String, u32>, BTreeMap<u32, BTreeMap<u32, Says>>) {
    let (mut ids, mut heard) = (BTreeMap::new(), BTreeMap::<u32, BTreeMap<u32, Says>>::new());
    for p in 0..PARTITIONS {
        let at = ENRICHED.partition(p);
        let (mut from, end) = log.bounds(at).expect("bounds");
        while from < end {
            let fetch = log.fetch(at, from, 1 << 20).expect("it reads");
            for (_, record) in fetch.chunks.iter().flat_map(Chunk::records).flatten() {
                let header = record.header().expect("a header");
                match record.value {
                    Some(value) => {
                        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
                        *ids.entry(value["messageId"].as_str().expect("an id").to_owned()).or_insert(0) += 1;
                        let from = header.source().partition;
                        heard.entry(p).or_default().insert(from, Says::Watermark(header.watermark()));
                    }
                    None => {
                        let control = Control::decode(header).expect("a control record");
                        for assertion in control.assertions {
                            heard.entry(p).or_default().insert(assertion.partition, assertion.says);
                        }
                    }
                }
            }
            from = fetch.chunks.last().map_or(fetch.next, Chunk::next).max(fetch.next);
        }
    }
    (ids, heard)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn config(dir: &Path) -> Config {
    let set = ["enrich.workers=1", "data.partitions=4", "assets.use=false"].map(str::to_owned).to_vec();
    let args = LoadArgs { set, ..LoadArgs::default() };
    let loaded = Config::load_with(&args, |_| Err(std::io::ErrorKind::NotFound.into()));
    let mut config = loaded.expect("a configuration").config;
    config.data.dir = dir.to_owned();
    config
}

fn story(faults: Faults, seed: u64) -> log::inject::Injected {
    let dir = tempfile::tempdir().expect("a directory");
    let of_log = JournalConfig { partitions: PARTITIONS, allocate_step: 1 << 16, ..JournalConfig::default() };
    let journal = Journal::open(&dir.path().join("log"), of_log, Arc::new(RealFs), Arc::new(RealClock::new()));
    let journal = journal.expect("a journal");
    let faulty = Arc::new(Injecting::new(journal.clone(), faults, seed));
    let log: Arc<dyn Log> = faulty.clone();
    let world = World::real();
    let start = |name: &str| Process::start(&config(&dir.path().join(name)), &world, &log);
    let sends = config(dir.path());
    let has_all = |process: &Process| process.seats.partitions() == [0, 1, 2, 3];

    // The journal gives all partitions to whoever came last, and back when it leaves.
    let first = start("first");
    send(&sends, &faulty, 0..200);
    until("the first works", || has_all(&first));
    let second = start("second");
    send(&sends, &faulty, 200..400);
    until("the second has them, and the first has none", || has_all(&second) && first.seats.partitions().is_empty());
    let third = start("third");
    send(&sends, &faulty, 400..500);
    second.stop();
    send(&sends, &faulty, 500..600);
    until("the third works", || has_all(&third));
    third.stop();
    send(&sends, &faulty, 600..800);
    until("the first has them again", || has_all(&first));
    assert!(first.seats.rebalances() >= 3);
    until("all is enriched", || enriched(&*log).0.len() == 800);
    first.stop();

    let (ids, heard) = enriched(&*log);
    let twice: Vec<_> = ids.iter().filter(|(_, n)| **n != 1).collect();
    assert!(twice.is_empty(), "seed {seed}: {twice:?}");
    assert_eq!(ids.len(), 800);
    // Nobody waits for the watermark of an input that has none.
    for p in 0..PARTITIONS {
        let of: Vec<u32> = heard[&p].keys().copied().collect();
        assert_eq!(of, [0, 1, 2, 3], "seed {seed}: enriched/{p} has heard of these only");
    }
    let of_visitors = heard.values().flat_map(|of| of.values()).any(|says| *says != Says::Watermark(Micros::MIN));
    assert!(of_visitors);
    journal.close();
    faulty.injected()
}

#[test]
fn workers_that_come_and_go_leave_nothing_out_and_nothing_twice() {
    story(Faults::NONE, 1);
}

#[test]
fn nor_do_they_when_commits_are_fenced_and_outcomes_unknown() {
    let faults = Faults { unknown_done: 80, unknown_dropped: 80, retriable: 80, revoked: 80 };
    let mut all = [0; 4];
    for seed in 1..=3 {
        let injected = story(faults, seed);
        let each = [injected.unknown_done, injected.unknown_dropped, injected.retriable, injected.revoked];
        all.iter_mut().zip(each).for_each(|(sum, n)| *sum += n);
    }
    assert!(all.iter().all(|n| *n > 0), "{all:?}");
}
