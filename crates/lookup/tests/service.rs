//! A source behind its service: what whoever asks lives through. With a real Redis where processes share one.
#![allow(clippy::disallowed_methods)] // looks at real files and times

use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ask::shared::SharedConfig;
use ask::{BreakerConfig, Code, DeskConfig, Key, Outcome, Ttls};
use event::Micros;
use futures_util::future::join_all;
use ouzel_lookup::remote::{self, BoxFuture, Found, Kind, RedisConfig, Remote, Secret, SharedCache};
use ouzel_lookup::service::{CacheConfig, Known, Loaded, OPEN_MAX, Service, key};
use seam::{Clock, RealClock, RealFs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::sleep;

#[path = "remote/servers.rs"]
mod servers;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000 * MS;
const CACHE: CacheConfig = CacheConfig { bytes: 1 << 20, shards: 4 };

/// A source that answers with the number of the call, as it is told.
#[derive(Default)]
struct Stub {
    takes: Duration,
    fails: AtomicBool,
    hangs: bool,
    panics: AtomicBool,
    calls: AtomicUsize,
    /// Calls that hang and were not dropped.
    open: AtomicUsize,
}

impl Stub {
    fn that_takes(ms: u64) -> Arc<Stub> {
        Arc::new(Stub { takes: Duration::from_millis(ms), ..Stub::default() })
    }

    fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }
}

impl Remote for Stub {
    fn call<'a>(
        &'a self,
        keys: &'a [remote::Key],
        give_up_after: Duration,
    ) -> BoxFuture<'a, Result<Vec<Found>, remote::Failure>> {
        let call = self.calls.fetch_add(1, SeqCst) + 1;
        assert!(!self.panics.load(SeqCst), "a bug of a client");
        let found = keys.iter().map(|key| match &*key.parameters()[0] {
            "nobody" => Found::NotFound,
            "twice" => Found::Bad("many_rows"),
            _ => Found::Value(call.to_string().into_bytes()),
        });
        let found: Vec<Found> = found.collect();
        Box::pin(async move {
            let failure = |kind| remote::Failure { kind, retry_after: None, message: String::new() };
            if self.hangs {
                self.open.fetch_add(1, SeqCst);
                let _open = Open(&self.open);
                return pending().await;
            }
            if self.takes > give_up_after {
                sleep(give_up_after).await;
                return Err(failure(Kind::Timeout));
            }
            sleep(self.takes).await;
            if self.fails.load(SeqCst) { Err(failure(Kind::Connection)) } else { Ok(found) }
        })
    }
}

struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn config() -> DeskConfig {
    let ttls = Ttls { hit: 60 * SECOND, not_found: 60 * SECOND, error: 60 * SECOND, max_stale: 600 * SECOND };
    DeskConfig::new(1, ttls)
}

fn service(config: DeskConfig, stub: &Arc<Stub>) -> Service {
    start(config, stub, None, Arc::new(RealClock::new()))
}

fn start(config: DeskConfig, stub: &Arc<Stub>, shared: Option<SharedCache>, clock: Arc<dyn Clock>) -> Service {
    let remote: Arc<dyn Remote> = Arc::clone(stub) as _;
    Service::start("test", config, CACHE, remote, shared.map(Arc::new), &Handle::current(), clock)
}

fn ok(json: &str) -> Outcome {
    Outcome::Ok(json.as_bytes().into())
}

fn k(text: &str) -> Key {
    key::of([text])
}

async fn ask(service: &Service, text: &str, ms: u64) -> Outcome {
    service.ask(k(text), service.now() + ms * MS).await
}

/// Until it holds; fails when that takes ten seconds.
async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "it never came to hold");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_misses_of_a_key_are_one_call() {
    let stub = Stub::that_takes(20);
    let service = service(config(), &stub);
    let asks = (0..1_000).map(|_| {
        let service = service.clone();
        tokio::spawn(async move { ask(&service, "a", 2_000).await })
    });
    for outcome in join_all(asks).await {
        assert_eq!(outcome.expect("asked"), ok("1"));
    }
    assert_eq!(stub.calls(), 1);
    assert_eq!(service.get(&k("a"), service.now()), Known::Settled(ok("1")));
    let report = service.report();
    assert_eq!(report.desk.settled.ok, report.desk.asked, "the others found it in the cache: {report:?}");
    assert_eq!((report.latencies.source.count(), report.latencies.asks.count()), (1, report.desk.asked));
    assert!(report.latencies.source.sum_us >= 20 * MS, "{report:?}");
}

#[tokio::test]
async fn a_leader_that_goes_hands_over_and_takes_nobody_with_him() {
    let stub = Stub::that_takes(60);
    let service = service(config(), &stub);
    let leader = service.ask(k("a"), service.now() + 2_000 * MS);
    let followers: Vec<_> = (0..10).map(|_| service.ask(k("a"), service.now() + 2_000 * MS)).collect();
    until(|| service.report().desk.in_flight == 1).await;
    drop(leader);
    for outcome in join_all(followers).await {
        assert_eq!(outcome, ok("1"));
    }
    let desk = service.report().desk;
    assert_eq!((stub.calls(), desk.handed_over, desk.cancelled, desk.waiting), (1, 1, 1, 0));
}

#[tokio::test]
async fn of_many_keys_each_is_heard_of_in_its_own_time() {
    let stub = Stub::that_takes(20);
    let service = service(config(), &stub);
    assert_eq!(ask(&service, "known", 2_000).await, ok("1"));
    let (say, heard) = mpsc::channel();
    let keys = ["a", "known", "nobody", "a", "twice"].map(k).to_vec();
    let asking = service.ask_all(keys, service.now() + 2_000 * MS, move |place, outcome| {
        say.send((place, outcome)).expect("it is listened to");
    });
    assert_eq!(heard.try_recv(), Ok((1, ok("1"))), "what is known is heard at once");
    assert!(heard.try_recv().is_err());
    until(|| asking.left() == 0).await;
    let mut rest: Vec<(usize, Outcome)> = heard.iter().take(4).collect();
    rest.sort_by_key(|(place, _)| *place);
    let expected = [(0, ok("2")), (2, Outcome::Miss), (3, ok("2")), (4, Outcome::Error(Code::ManyRows))];
    assert_eq!(rest, expected);
    assert_eq!(stub.calls(), 2, "three keys in one call");
}

#[tokio::test]
async fn whoever_goes_away_hears_nothing() {
    let stub = Stub::that_takes(20);
    let service = service(config(), &stub);
    let heard = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&heard);
    let keys = (0..50).map(|n| k(&n.to_string())).collect();
    drop(service.ask_all(keys, service.now() + 2_000 * MS, move |_, _| {
        count.fetch_add(1, SeqCst);
    }));
    until(|| service.report().desk.cancelled == 50).await;
    sleep(Duration::from_millis(60)).await;
    assert_eq!(heard.load(SeqCst), 0);
    assert_eq!((service.report().desk.waiting, service.report().desk.flights), (0, 0));
}

#[tokio::test]
async fn a_slow_source_is_a_timeout_and_its_late_answer_is_kept() {
    let stub = Stub::that_takes(150);
    let service = service(DeskConfig { late_us: SECOND, ..config() }, &stub);
    let start = Instant::now();
    assert_eq!(ask(&service, "a", 40).await, Outcome::Timeout);
    assert!((40..150).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    until(|| service.report().desk.late == 1).await;
    assert_eq!(ask(&service, "a", 40).await, ok("1"));
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn a_call_that_is_given_up_is_dropped() {
    let stub = Arc::new(Stub { hangs: true, ..Stub::default() });
    let service = service(DeskConfig { attempts_max: 1, late_us: 100 * MS, ..config() }, &stub);
    assert_eq!(ask(&service, "a", 200).await, Outcome::Timeout);
    until(|| stub.open.load(SeqCst) == 0 && service.report().desk.in_flight == 0).await;
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn more_than_can_wait_is_refused() {
    let stub = Stub::that_takes(0);
    let service = service(DeskConfig { asks_max: 100, ..config() }, &stub);
    let (say, heard) = mpsc::channel();
    let keys = (0..OPEN_MAX + 7).map(|n| k(&n.to_string())).collect();
    let asking = service.ask_all(keys, service.now() + 60 * SECOND, move |_, outcome| {
        say.send(outcome).expect("it is listened to");
    });
    // This thread has not let the service's task run yet.
    let refused: Vec<Outcome> = heard.try_iter().collect();
    assert_eq!(refused, vec![Outcome::Error(Code::Overloaded); 7]);
    until(|| asking.left() == 0).await;
    assert_eq!(heard.try_iter().filter(|outcome| *outcome == Outcome::Error(Code::Overloaded)).count(), OPEN_MAX - 100);
}

#[tokio::test]
async fn a_source_that_is_down_is_left_alone_and_found_again() {
    let stub = Stub::that_takes(0);
    stub.fails.store(true, SeqCst);
    let breaker = BreakerConfig { window: 10, calls_min: 4, open_us: 300 * MS, probes: 1, ..BreakerConfig::default() };
    let service = service(DeskConfig { attempts_max: 1, breaker, ..config() }, &stub);
    for n in 0..4 {
        assert_eq!(ask(&service, &n.to_string(), 2_000).await, Outcome::Error(Code::Connection));
    }
    assert_eq!(ask(&service, "a", 2_000).await, Outcome::Open);
    assert_eq!((stub.calls(), service.report().desk.opened), (4, 1));
    stub.fails.store(false, SeqCst);
    sleep(Duration::from_millis(350)).await;
    assert_eq!(ask(&service, "a", 2_000).await, ok("5"));
}

#[tokio::test]
async fn a_client_that_panics_is_a_failed_call() {
    let stub = Stub::that_takes(0);
    stub.panics.store(true, SeqCst);
    let service = service(DeskConfig { attempts_max: 1, ..config() }, &stub);
    assert_eq!(ask(&service, "a", 60_000).await, Outcome::Error(Code::Connection));
    stub.panics.store(false, SeqCst);
    assert_eq!(ask(&service, "a", 2_000).await, ok("2"));
    let other_bytes = service.ask(b"no key"[..].into(), service.now() + 2_000 * MS);
    assert_eq!(other_bytes.await, Outcome::Error(Code::BadKey));
    assert_eq!(stub.calls(), 2);
}

#[tokio::test]
async fn what_is_used_near_its_end_is_fetched_behind_it() {
    let stub = Stub::that_takes(0);
    let service = service(config(), &stub);
    assert_eq!(ask(&service, "a", 2_000).await, ok("1"));
    let begin = service.now();
    // Its life is 54 to 66 s, and its last tenth begins between these two.
    let seen: Vec<Known> = (40..54).map(|n| service.get(&k("a"), begin + n * SECOND)).collect();
    assert!(seen.iter().all(|known| *known == Known::Settled(ok("1"))), "{seen:?}");
    (54..66).for_each(|n| drop(service.get(&k("a"), begin + n * SECOND)));
    until(|| service.get(&k("a"), service.now()) == Known::Settled(ok("2"))).await;
    assert_eq!((stub.calls(), service.report().desk.refreshed), (2, 1));
}

#[tokio::test]
async fn a_service_that_stops_answers_everybody() {
    let stub = Arc::new(Stub { hangs: true, ..Stub::default() });
    let service = service(config(), &stub);
    let open: Vec<_> = (0..300).map(|n| service.ask(k(&n.to_string()), service.now() + 600 * SECOND)).collect();
    until(|| stub.calls() >= 3).await;
    let more: Vec<_> = (0..300).map(|n| service.ask(k(&n.to_string()), service.now() + 600 * SECOND)).collect();
    tokio::time::timeout(Duration::from_secs(5), service.stop()).await.expect("it stops");
    until(|| stub.open.load(SeqCst) == 0).await;
    for outcome in join_all(open.into_iter().chain(more)).await {
        assert_eq!(outcome, Outcome::Timeout);
    }
    assert_eq!(ask(&service, "a", 600_000).await, Outcome::Timeout, "it has stopped");
    tokio::join!(service.stop(), service.stop());
}

#[test]
fn a_runtime_that_goes_answers_everybody() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stub = Arc::new(Stub { hangs: true, ..Stub::default() });
    let guard = runtime.enter();
    let service = service(config(), &stub);
    drop(guard);
    let (say, heard) = mpsc::channel();
    let keys = (0..300).map(|n| k(&n.to_string())).collect();
    let asking = service.ask_all(keys, service.now() + 600 * SECOND, move |_, outcome| {
        say.send(outcome).expect("it is listened to");
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    let all: Vec<Outcome> = heard.iter().take(300).collect();
    assert!(all.iter().all(|outcome| *outcome == Outcome::Timeout));
    assert_eq!(asking.left(), 0);
}

/// The real clock, later by so many seconds.
struct Later(RealClock, i64);

impl Clock for Later {
    fn now(&self) -> Micros {
        Micros(self.0.now().0 + self.1 * SECOND as i64)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[tokio::test]
async fn a_cache_that_was_saved_is_loaded_with_its_ages() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("test.cache");
    let stub = Stub::that_takes(0);
    let first = service(config(), &stub);
    assert_eq!(first.load(&RealFs, &path).expect("nothing is there yet"), Loaded::default());
    let asks = ["a", "b", "nobody"].map(|text| ask(&first, text, 2_000));
    let a = join_all(asks).await.swap_remove(0);
    first.save(&RealFs, &path).expect("saved");
    for (secs, is) in [(0, Known::Settled(a.clone())), (40, Known::Settled(a.clone())), (1_000, Known::Nothing)] {
        let again = start(config(), &stub, None, Arc::new(Later(RealClock::new(), secs)));
        assert_eq!(again.load(&RealFs, &path).expect("loaded"), Loaded { read: 3, damaged: 0 });
        assert_eq!(again.get(&k("a"), again.now()), is, "{secs} s later");
    }
    let old = start(config(), &stub, None, Arc::new(Later(RealClock::new(), 100)));
    old.load(&RealFs, &path).expect("loaded");
    assert_eq!(old.get(&k("nobody"), old.now()), Known::Nothing);
    stub.fails.store(true, SeqCst);
    let Outcome::Stale(value, secs) = ask(&old, "a", 100).await else { panic!("it is stale, and its source fails") };
    assert_eq!(Outcome::Ok(value), a);
    assert!((34..=47).contains(&secs), "{secs}");

    let mut bytes = std::fs::read(&path).expect("a file");
    bytes.truncate(bytes.len() - 1);
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).expect("damaged");
    let again = service(config(), &stub);
    assert_eq!(again.load(&RealFs, &path).expect("loaded"), Loaded { read: 2, damaged: 2 });
    assert_eq!(again.report().local.entries, 1);
    std::fs::write(&path, b"something else").expect("written");
    assert_eq!(again.load(&RealFs, &path).expect("loaded"), Loaded { read: 0, damaged: 1 });
    assert!(again.load(&RealFs, dir.path()).is_err(), "a directory");
}

/// The Redis of the tests, its database of this number; `through`: another address.
fn redis(database: u8, through: Option<&str>) -> Option<SharedCache> {
    let parts = servers::Parts::of(&servers::url("OUZEL_TEST_REDIS")?);
    let base = parts.url.trim_end_matches('/').trim_end_matches("/0");
    let base = through.map_or(base.to_owned(), |address| format!("redis://{address}"));
    let password = parts.password.map(Secret::new);
    let config =
        RedisConfig { url: format!("{base}/{database}"), user: parts.user, password, ..RedisConfig::default() };
    Some(config.build_shared().expect("a cache"))
}

fn sharing(seed: u64) -> DeskConfig {
    // As long as a lease of 100 ms allows: this machine may be busy.
    let shared = SharedConfig { timeout_us: 12 * MS, ..SharedConfig::default() };
    assert_eq!(shared.lease_us, 100 * MS);
    DeskConfig { seed, shared: Some(shared), ..config() }
}

/// Different in every run: the server may have been there before.
fn seed() -> u64 {
    RealClock::new().now().0 as u64
}

/// A thousand asks for a key in each of two processes. Gives the calls of each, and how often the shared tier failed them.
async fn stampede(two: &[(Arc<Stub>, Service); 2], text: &str) -> ([usize; 2], u64) {
    let failed = || two.iter().map(|(_, service)| service.report().desk.shared_failed).sum::<u64>();
    let before = (two.each_ref().map(|(stub, _)| stub.calls()), failed());
    let asks = (0..2_000).map(|n| {
        let (service, text) = (two[n % 2].1.clone(), text.to_owned());
        tokio::spawn(async move { ask(&service, &text, 500).await })
    });
    for outcome in join_all(asks).await {
        assert!(matches!(outcome.expect("asked"), Outcome::Ok(_)));
    }
    (std::array::from_fn(|n| two[n].0.calls() - before.0[n]), failed() - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_share_a_redis_make_one_call() {
    // A lease of 100 ms is renewed while the source takes its time.
    let (Some(one), Some(other)) = (redis(2, None), redis(2, None)) else { return };
    let seed = seed();
    let two = [(seed, one), (seed + 1, other)].map(|(seed, shared)| {
        let stub = Stub::that_takes(250);
        let service = start(sharing(seed), &stub, Some(shared), Arc::new(RealClock::new()));
        (stub, service)
    });
    // A machine that is busy may be too slow for the shared tier's time; then each process may call once.
    for round in 0..10 {
        let (calls, failed) = stampede(&two, &format!("{seed}-{round}")).await;
        assert!(calls.iter().all(|calls| *calls <= 1), "{calls:?}");
        if failed == 0 {
            assert_eq!(calls.iter().sum::<usize>(), 1, "{calls:?}");
            assert!(two[0].1.report().latencies.shared.count() > 0);
            return;
        }
    }
    panic!("the shared tier failed in every round");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_gives_its_leases_back() {
    let (Some(one), Some(other)) = (redis(2, None), redis(2, None)) else { return };
    let seed = seed();
    // Longer than whoever comes next would wait.
    let shared = SharedConfig { timeout_us: SECOND, lease_us: 60 * SECOND, ..SharedConfig::default() };
    let desk = |seed| DeskConfig { shared: Some(shared), ..sharing(seed) };
    let hangs = Arc::new(Stub { hangs: true, ..Stub::default() });
    let first = start(desk(seed), &hangs, Some(one), Arc::new(RealClock::new()));
    let text = format!("{seed}-left");
    let open = first.ask(k(&text), first.now() + 60 * SECOND);
    until(|| hangs.calls() == 1).await;
    first.stop().await;
    assert_eq!(open.await, Outcome::Timeout);
    let stub = Stub::that_takes(0);
    let second = start(desk(seed + 1), &stub, Some(other), Arc::new(RealClock::new()));
    assert_eq!(ask(&second, &text, 5_000).await, ok("1"));
}

/// Lets bytes through to the Redis of the tests, as long as it is open.
struct Gate {
    address: String,
    open: tokio::sync::watch::Sender<bool>,
}

impl Gate {
    async fn start(to: String) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (open, opened) = tokio::sync::watch::channel(true);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (to, mut opened) = (to.clone(), opened.clone());
                tokio::spawn(async move {
                    if *opened.borrow() {
                        tokio::select! {
                            through = pass(near, &to) => drop(through),
                            _ = opened.wait_for(|open| !open) => {}
                        }
                    }
                });
            }
        });
        Gate { address, open }
    }
}

async fn pass(mut near: TcpStream, to: &str) -> io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_goes_and_comes_back_empty_fails_nobody() {
    let Some(url) = servers::url("OUZEL_TEST_REDIS") else { return };
    let parts = servers::Parts::of(&url);
    let to = parts.url.trim_start_matches("redis://").split('/').next().expect("a host").to_owned();
    let gate = Gate::start(to).await;
    let seed = seed();
    let breaker = BreakerConfig { calls_min: 4, open_us: 200 * MS, probes: 1, ..BreakerConfig::default() };
    let shared = SharedConfig { breaker, ..sharing(seed).shared.expect("shared") };
    let desk = DeskConfig { shared: Some(shared), ..sharing(seed) };
    let stub = Stub::that_takes(0);
    let near = start(desk, &stub, redis(3, Some(&gate.address)), Arc::new(RealClock::new()));
    // Another process, whose way is always open: its source is not asked if the entry is there.
    let beside = Stub::that_takes(0);
    let far = start(sharing(seed + 1), &beside, redis(3, None), Arc::new(RealClock::new()));
    let is_shared = async |text: &str| {
        let before = beside.calls();
        assert!(matches!(ask(&far, text, 2_000).await, Outcome::Ok(_)));
        beside.calls() == before
    };
    let mut asked = 0;
    // Asks for another key, and looks whether that was written.
    let mut writes = async || {
        asked += 1;
        let text = format!("{seed}-{asked}");
        assert!(matches!(ask(&near, &text, 2_000).await, Outcome::Ok(_)), "{text}");
        sleep(Duration::from_millis(30)).await;
        is_shared(&text).await
    };
    let start = Instant::now();
    while !writes().await {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is written");
    }
    let before = format!("{seed}-before");
    assert!(matches!(ask(&near, &before, 2_000).await, Outcome::Ok(_)));
    gate.open.send_replace(false);
    for _ in 0..10 {
        assert!(!writes().await, "there is no way");
    }
    assert!(near.report().desk.shared_opened > 0, "it is left alone");
    empty(3).await;
    gate.open.send_replace(true);
    let start = Instant::now();
    while !writes().await {
        assert!(start.elapsed() < Duration::from_secs(20), "it is never found again");
    }
    assert!(!is_shared(&before).await, "it came back empty");
    assert_eq!(near.report().desk.settled.ok, near.report().desk.asked);
}

/// Empties a database of the Redis of the tests.
async fn empty(database: u8) {
    let parts = servers::Parts::of(&servers::url("OUZEL_TEST_REDIS").expect("a server"));
    let authority = parts.url.trim_start_matches("redis://").split('/').next().expect("a host").to_owned();
    let login = parts.password.map_or(String::new(), |password| format!("AUTH {password}\r\n"));
    let mut tcp = TcpStream::connect(authority).await.expect("a server");
    let commands = format!("{login}SELECT {database}\r\nFLUSHDB\r\nQUIT\r\n");
    tcp.write_all(commands.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("an answer");
    assert!(!answer.contains("-"), "{answer}");
}
