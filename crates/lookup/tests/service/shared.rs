//! Of processes that share a Redis; here, as services of one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ask::shared::SharedConfig;
use ask::{BreakerConfig, DeskConfig};
use flow::Status;
use futures_util::future::join_all;
use ouzel_lookup::remote::{RedisConfig, Secret, SharedCache};
use ouzel_lookup::service::Service;
use seam::{Clock, RealClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::asking::{MS, SECOND, Stub, ask, asked, config, k, no, ok, start, until};
use crate::servers;

/// The Redis of the tests, its database of this number; `through`: another address.
pub fn redis(database: u8, through: Option<&str>) -> Option<SharedCache> {
    let parts = servers::Parts::of(&servers::url("OUZEL_TEST_REDIS")?);
    let base = parts.url.trim_end_matches('/').trim_end_matches("/0");
    let base = through.map_or(base.to_owned(), |address| format!("redis://{address}"));
    let password = parts.password.map(Secret::new);
    let config =
        RedisConfig { url: format!("{base}/{database}"), user: parts.user, password, ..RedisConfig::default() };
    Some(config.build_shared().expect("a cache"))
}

pub fn sharing(seed: u64) -> DeskConfig {
    // As long as a lease of 100 ms allows: this machine may be busy.
    let shared = SharedConfig { timeout_us: 12 * MS, ..SharedConfig::default() };
    assert_eq!(shared.lease_us, 100 * MS);
    DeskConfig { seed, shared: Some(shared), ..config() }
}

/// Different in every run: the server may have been there before.
pub fn seed() -> u64 {
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
        assert_eq!(outcome.expect("asked").0, Status::Ok);
    }
    (std::array::from_fn(|n| two[n].0.calls() - before.0[n]), failed() - before.1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_while_a_slow_source_takes_its_time() {
    let (Some(one), Some(other)) = (redis(2, None), redis(2, None)) else { return };
    let seed = seed();
    let two = [(seed, one), (seed + 1, other)].map(|(seed, shared)| {
        // Longer than a lease lasts.
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
    let open = asked(&first, k(&text), first.now() + 60 * SECOND);
    until(|| hangs.calls() == 1).await;
    first.stop().await;
    assert_eq!(open.await.0, no(Status::Timeout));
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
        assert_eq!(ask(&far, text, 2_000).await.0, Status::Ok);
        beside.calls() == before
    };
    let mut asked = 0;
    // Asks for another key, and looks whether that was written.
    let mut writes = async || {
        asked += 1;
        let text = format!("{seed}-{asked}");
        assert_eq!(ask(&near, &text, 2_000).await.0, Status::Ok, "{text}");
        sleep(Duration::from_millis(30)).await;
        is_shared(&text).await
    };
    let start = Instant::now();
    while !writes().await {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is written");
    }
    let before = format!("{seed}-before");
    assert_eq!(ask(&near, &before, 2_000).await.0, Status::Ok);
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
