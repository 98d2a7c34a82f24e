//! Members of a group that copy `raw` to `enriched`, each partition to the same one, a feed of records, and a reader.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event::topic::{ENRICHED, RAW};
use event::{BlockBuilder, Offset, TopicPartition};
use log::{Assignment, Commit, Generation, Input, Log, Outcome, Position};
use ouzel_log_kafka::{KafkaConfig, KafkaLog};

const GROUP: &str = "copy";
/// How long all that was fed may take to be copied once nothing breaks any more.
fn quiet() -> Duration {
    // Where a bug is planted it is expected in vain.
    Duration::from_secs(if std::env::var_os("OUZEL_PLANT").is_some() { 25 } else { 90 })
}

/// Feeds numbered records into all partitions of `raw`, and says how many each has.
pub struct Feed {
    stop: Arc<AtomicBool>,
    begun: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u64>>,
}

impl Feed {
    pub fn start(config: &KafkaConfig) -> Feed {
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(AtomicBool::new(false));
        let config = KafkaConfig { slot: "feed".into(), ..config.clone() };
        let (stopped, some) = (stop.clone(), begun.clone());
        let thread = std::thread::spawn(move || {
            let log = KafkaLog::connect(config).expect("connects");
            let partitions = log.partitions(RAW);
            let mut fed = vec![0u64; partitions as usize];
            while !stopped.load(Relaxed) {
                for p in 0..partitions {
                    let mut block = BlockBuilder::new(RAW.partition(p));
                    let from = fed[p as usize];
                    (from..from + 5).for_each(|n| block.push(n.to_string().as_bytes(), b"h", Some(&[&[b'x'; 200]])));
                    // Idempotent: stored once whatever breaks, unless it says that it does not know.
                    let outcome = log.submit(Commit { blocks: vec![block.finish()], ..Commit::default() }).wait();
                    if !matches!(outcome, Outcome::Committed(_)) {
                        eprintln!("the feed ends: {outcome:?}");
                        std::process::exit(1);
                    }
                    fed[p as usize] += 5;
                    some.store(true, Relaxed);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            fed
        });
        Feed { stop, begun, thread }
    }

    pub fn wait_for_some(&self) {
        while !self.begun.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the feed")
    }
}

/// Members, each a process of its own, so that it can be killed and stopped.
pub struct Copiers {
    config: KafkaConfig,
    members: Vec<Child>,
    started: u32,
    reader: Watcher,
}

impl Copiers {
    pub fn start(config: &KafkaConfig, count: u32) -> Copiers {
        let mut copiers =
            Copiers { config: config.clone(), members: Vec::new(), started: 0, reader: Watcher::start(config) };
        (0..count).for_each(|_| copiers.one_more());
        copiers
    }

    pub fn one_more(&mut self) {
        self.started += 1;
        self.start_as(self.started);
    }

    fn start_as(&mut self, slot: u32) {
        let c = &self.config;
        let ms = |d: Duration| d.as_millis();
        let said = format!(
            "{}|{}|{}|c{slot}|{}|{}|{}",
            c.brokers,
            c.prefix,
            c.partitions,
            ms(c.transaction_timeout),
            ms(c.session_timeout),
            c.static_members
        );
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "copier", "--nocapture"]).env(COPIER, said);
        // It ends with its standard input, also when this process is killed.
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn();
        self.members.push(child.expect("a copier starts"));
    }

    /// The newest ends as it should.
    pub fn one_less(&mut self) {
        if let Some(member) = self.members.pop() {
            end(member);
        }
    }

    /// The oldest, which works: SIGKILL.
    pub fn kill_one(&mut self) {
        let mut member = self.members.remove(0);
        member.kill().expect("it lives");
        member.wait().expect("it is waited for");
    }

    /// The oldest stands still for so long.
    pub fn pause_one(&mut self, time: Duration) {
        let signal = |signal| {
            // SAFETY: a process of ours that was not waited for.
            unsafe { libc::kill(self.members[0].id() as i32, signal) };
        };
        signal(libc::SIGSTOP);
        std::thread::sleep(time);
        signal(libc::SIGCONT);
    }

    pub fn wait_for_progress(&self) {
        let (before, begun) = (self.reader.count(), Instant::now());
        while self.reader.count() <= before {
            assert!(begun.elapsed() < quiet(), "the copy is wrong: nothing is copied");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until every partition has gone on.
    pub fn wait_for_all(&self) {
        let counts = || self.reader.seen.lock().expect("no panic while held").iter().map(Vec::len).collect::<Vec<_>>();
        let (before, begun) = (counts(), Instant::now());
        while counts().iter().zip(&before).any(|(now, before)| now <= before) {
            assert!(
                begun.elapsed() < quiet(),
                "the copy is wrong: some partition is not copied: {before:?}, {:?}",
                counts()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn end(mut member: Child) {
    drop(member.stdin.take());
    let status = member.wait().expect("it is waited for");
    assert!(status.success(), "a copier: {status}");
}

/// Names the environment variable that makes a process a copier.
const COPIER: &str = "OUZEL_COPIER";

/// With this in the environment they say what they do.
const AUDIBLE: &str = "OUZEL_COPIERS_SPEAK";

/// A process of [`Copiers`].
pub fn be_a_copier() {
    let Ok(said) = std::env::var(COPIER) else { return };
    if std::env::var_os(AUDIBLE).is_some() {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    }
    let of: Vec<&str> = said.split('|').collect();
    let ms = |text: &str| Duration::from_millis(text.parse().expect("a number"));
    let config = KafkaConfig {
        brokers: of[0].into(),
        prefix: of[1].into(),
        partitions: of[2].parse().expect("a number"),
        slot: of[3].into(),
        transaction_timeout: ms(of[4]),
        session_timeout: ms(of[5]),
        static_members: of[6] == "true",
        ..KafkaConfig::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stopped.store(true, Relaxed);
    });
    copy(config, &stop);
}

fn copy(config: KafkaConfig, stop: &AtomicBool) {
    let log = KafkaLog::connect(config).expect("connects");
    let mut member = log.join(GROUP, RAW);
    let mut at: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    let mut generation = Generation(0);
    let mut changes = log.subscribe();
    while !stop.load(Relaxed) {
        for news in member.poll() {
            match news {
                Assignment::Granted { partitions, generation: g } => {
                    generation = g;
                    for tp in partitions {
                        at.insert(tp, committed(&*log, tp));
                    }
                }
                Assignment::Revoked { partitions } => at.retain(|tp, _| !partitions.contains(tp)),
            }
        }
        let (mut commit, mut next) = (Commit { generation: Some(generation), ..Commit::default() }, Vec::new());
        for (tp, from) in &at {
            let fetch = log.fetch(*tp, *from, 64 << 10).expect("readable");
            let mut block = BlockBuilder::new(ENRICHED.partition(tp.partition));
            for (_, r) in fetch.chunks.iter().flat_map(|c| c.records()).flatten() {
                block.push(r.key, r.header_bytes, r.value.as_ref().map(std::slice::from_ref));
            }
            if block.is_empty() {
                continue;
            }
            next.push((*tp, fetch.next));
            commit.blocks.push(block.finish());
            commit.positions.push(Position {
                group: GROUP.into(),
                input: Input::Topic(*tp),
                next: fetch.next,
                metadata: Default::default(),
            });
        }
        if next.is_empty() {
            // Not within the call: who holds it holds up the news.
            let seen = *changes.borrow_and_update();
            log.wait(seen, Duration::from_millis(20));
            continue;
        }
        let outcome = log.submit(commit).wait();
        for (tp, to) in next {
            match &outcome {
                Outcome::Committed(_) => at.insert(tp, to),
                // What was not, or may not be, committed: the position says.
                _ => at.insert(tp, committed(&*log, tp)),
            };
        }
    }
}

fn committed(log: &dyn Log, tp: TopicPartition) -> Offset {
    let stored = log.committed(GROUP, &Input::Topic(tp)).expect("readable");
    stored.map_or_else(|| log.bounds(tp).expect("bounds").0, |p| p.next)
}

/// Reads `enriched` while it is written.
struct Watcher {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Vec<u64>>>>,
    thread: JoinHandle<Duration>,
}

impl Watcher {
    fn count(&self) -> u64 {
        self.seen.lock().expect("no panic while held").iter().map(|s| s.len() as u64).sum()
    }

    fn start(config: &KafkaConfig) -> Watcher {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(vec![Vec::new(); config.partitions as usize]));
        let config = KafkaConfig { slot: "watch".into(), ..config.clone() };
        let (stopped, all) = (stop.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            let log = KafkaLog::connect(config).expect("connects");
            let mut at = vec![0; log.partitions(ENRICHED) as usize];
            let (mut stalled, mut last) = (Duration::ZERO, Instant::now());
            while !stopped.load(Relaxed) {
                let mut any = false;
                for (p, at) in (0..).zip(at.iter_mut()) {
                    let fetch = log.fetch(ENRICHED.partition(p), *at, 1 << 20).expect("readable");
                    *at = fetch.next;
                    for (_, r) in fetch.chunks.iter().flat_map(|c| c.records()).flatten() {
                        let n = std::str::from_utf8(r.key).ok().and_then(|k| k.parse().ok()).expect("a number");
                        all.lock().expect("no panic while held")[p as usize].push(n);
                        any = true;
                    }
                }
                if last.elapsed() > Duration::from_secs(3) && any {
                    println!("the reader waited for {:?}", last.elapsed());
                }
                stalled = stalled.max(last.elapsed());
                if any {
                    last = Instant::now();
                } else {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            stalled
        });
        Watcher { stop, seen, thread }
    }
}

/// Waits until all is copied, and looks at the copy: by the reader that watched, and by a new one.
pub fn expect_copied(config: &KafkaConfig, feed: Feed, copiers: Copiers) {
    let fed = feed.end();
    let all: u64 = fed.iter().sum();
    let begun = Instant::now();
    while copiers.reader.count() < all && begun.elapsed() < quiet() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let Copiers { members, reader, .. } = copiers;
    members.into_iter().for_each(end);
    // Anything that comes twice would come by now.
    std::thread::sleep(Duration::from_millis(300));
    reader.stop.store(true, Relaxed);
    let stalled = reader.thread.join().expect("the reader");
    println!(
        "{all} records; the reader's longest wait {stalled:?}; all was there {:?} after the last",
        begun.elapsed()
    );
    let log = KafkaLog::connect(KafkaConfig { slot: "check".into(), ..config.clone() }).expect("connects");
    let watched = reader.seen.lock().expect("no panic while held").clone();
    for (p, fed) in (0..).zip(&fed) {
        let numbers = |at| -> Vec<u64> {
            log::conformance::read_all(&*log, at).iter().map(|(_, n)| n.parse().expect("a number")).collect()
        };
        let copied = numbers(ENRICHED.partition(p));
        expect_each_once(&numbers(RAW.partition(p)), *fed, &format!("the feed is wrong: partition {p}"));
        expect_each_once(&copied, *fed, &format!("the copy is wrong: partition {p}"));
        expect_each_once(&watched[p as usize], *fed, &format!("who watched saw something else: partition {p}"));
    }
}

fn expect_each_once(read: &[u64], fed: u64, what: &str) {
    let wrong = read.iter().zip(0..).position(|(n, wanted)| *n != wanted);
    assert!(
        wrong.is_none() && read.len() as u64 == fed,
        "{what} has {} of {fed}, first wrong at {wrong:?}: {:?}",
        read.len(),
        wrong.map(|at| &read[at.saturating_sub(3)..read.len().min(at + 4)])
    );
}
