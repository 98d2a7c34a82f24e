//! Of one process.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ask::{BreakerConfig, DeskConfig};
use flow::Status;
use futures_util::future::join_all;
use ouzel_lookup::remote::{HttpConfig, Remote};
use ouzel_lookup::service::{Loaded, OPEN_MAX, Service};
use ouzel_lookup::{Asked, Tier, Told};
use seam::{RealClock, RealFs};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::asking::{
    CACHE, Heard, Later, MS, SECOND, Stub, ask, asked, config, k, known, no, ok, service, start, text, until,
};
use crate::stub;

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
    assert_eq!(known(&service, "a"), Some(ok("1")));
    let report = service.report();
    assert_eq!(report.desk.settled.ok, report.desk.asked, "the others found it in the cache: {report:?}");
    assert_eq!((report.latencies.source.count(), report.latencies.asks.count()), (1, report.desk.asked));
    assert!(report.latencies.source.sum_us >= 20 * MS, "{report:?}");
}

#[tokio::test]
async fn a_leader_that_goes_hands_over_and_takes_nobody_with_him() {
    let stub = Stub::that_takes(60);
    let service = service(config(), &stub);
    let leader = asked(&service, k("a"), service.now() + 2_000 * MS);
    let followers: Vec<_> = (0..10).map(|_| asked(&service, k("a"), service.now() + 2_000 * MS)).collect();
    until(|| service.report().desk.in_flight == 1).await;
    drop(leader);
    for (heard, origin) in join_all(followers).await {
        assert_eq!((heard, origin.map(|origin| origin.tier)), (ok("1"), Some(Tier::Source)));
    }
    let desk = service.report().desk;
    assert_eq!((stub.calls(), desk.handed_over, desk.cancelled, desk.waiting), (1, 1, 1, 0));
}

#[tokio::test]
async fn a_call_that_is_killed_is_made_once_more_for_all() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let server = stub::Stub::start(move |_| match count.fetch_add(1, SeqCst) {
        0 => stub::Answer::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1".to_vec()),
        _ => stub::json("2"),
    })
    .await;
    let source =
        HttpConfig { url: server.url("/{key}"), allow_private: vec!["127.0.0.1".into()], ..HttpConfig::default() };
    let source: Arc<dyn Remote> = Arc::new(source.build().expect("a source"));
    let clock = Arc::new(RealClock::new());
    let service = Service::start("test", config(), CACHE, source, None, &Handle::current(), clock);
    let asks = (0..100).map(|_| asked(&service, k("a"), service.now() + 2_000 * MS));
    for (heard, _) in join_all(asks).await {
        assert_eq!(heard, ok("2"));
    }
    let desk = service.report().desk;
    assert_eq!((calls.load(SeqCst), desk.calls, desk.retries, desk.failed), (2, 2, 1, 1));
}

#[tokio::test]
async fn of_many_keys_each_is_heard_of_in_its_own_time() {
    let stub = Stub::that_takes(20);
    let service = service(config(), &stub);
    assert_eq!(ask(&service, "known", 2_000).await, ok("1"));
    let (say, heard) = mpsc::channel();
    let keys = ["a", "known", "nobody", "a", "twice"].map(k).to_vec();
    let hear = move |place, told: Told<'_>| {
        say.send((place, (told.status, text(told.json)))).expect("it is listened to");
    };
    let _asking = service.ask(keys, service.now() + 2_000 * MS, Box::new(hear));
    assert_eq!(heard.try_recv(), Ok((1, ok("1"))), "what is known is heard at once");
    assert!(heard.try_recv().is_err());
    let mut rest: Vec<(usize, Heard)> = Vec::new();
    until(|| {
        rest.extend(heard.try_iter());
        rest.len() == 4
    })
    .await;
    rest.sort_by_key(|(place, _)| *place);
    let expected = [(0, ok("2")), (2, no(Status::Miss)), (3, ok("2")), (4, no(Status::Error("many_rows")))];
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
    let hear = move |_, _: Told<'_>| {
        count.fetch_add(1, SeqCst);
    };
    drop(service.ask(keys, service.now() + 2_000 * MS, Box::new(hear)));
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
    assert_eq!(ask(&service, "a", 40).await, no(Status::Timeout));
    assert!((40..150).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    until(|| service.report().desk.late == 1).await;
    assert_eq!(ask(&service, "a", 40).await, ok("1"));
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn a_call_that_is_given_up_is_dropped() {
    let stub = Arc::new(Stub { hangs: true, ..Stub::default() });
    let service = service(DeskConfig { attempts_max: 1, late_us: 100 * MS, ..config() }, &stub);
    assert_eq!(ask(&service, "a", 200).await, no(Status::Timeout));
    until(|| stub.open.load(SeqCst) == 0 && service.report().desk.in_flight == 0).await;
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn more_than_can_wait_is_refused() {
    let stub = Stub::that_takes(0);
    let service = service(DeskConfig { asks_max: 100, ..config() }, &stub);
    let (say, heard) = mpsc::channel();
    let keys = (0..OPEN_MAX + 7).map(|n| k(&n.to_string())).collect();
    let hear = move |_, told: Told<'_>| say.send(told.status).expect("it is listened to");
    let _asking = service.ask(keys, service.now() + 60 * SECOND, Box::new(hear));
    // This thread has not let the service's task run yet.
    let overloaded = Status::Error("overloaded");
    let refused: Vec<Status> = heard.try_iter().collect();
    assert_eq!(refused, vec![overloaded; 7]);
    let mut rest = Vec::new();
    until(|| {
        rest.extend(heard.try_iter());
        rest.len() == OPEN_MAX
    })
    .await;
    assert_eq!(rest.iter().filter(|status| **status == overloaded).count(), OPEN_MAX - 100);
}

#[tokio::test]
async fn a_source_that_is_down_is_left_alone_and_found_again() {
    let stub = Stub::that_takes(0);
    stub.fails.store(true, SeqCst);
    let breaker = BreakerConfig { window: 10, calls_min: 4, open_us: 300 * MS, probes: 1, ..BreakerConfig::default() };
    let service = service(DeskConfig { attempts_max: 1, breaker, ..config() }, &stub);
    for n in 0..4 {
        assert_eq!(ask(&service, &n.to_string(), 2_000).await, no(Status::Error("connection")));
    }
    assert_eq!(ask(&service, "a", 2_000).await, no(Status::Open));
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
    assert_eq!(ask(&service, "a", 60_000).await, no(Status::Error("connection")));
    stub.panics.store(false, SeqCst);
    assert_eq!(ask(&service, "a", 2_000).await, ok("2"));
    let other_bytes = asked(&service, b"no key"[..].into(), service.now() + 2_000 * MS);
    assert_eq!(other_bytes.await.0, no(Status::Error("bad_key")));
    assert_eq!(stub.calls(), 2);
}

#[tokio::test]
async fn what_is_used_near_its_end_is_fetched_behind_it() {
    let stub = Stub::that_takes(0);
    let later = Arc::new(Later::default());
    let service = start(config(), &stub, None, Arc::clone(&later) as _);
    assert_eq!(ask(&service, "a", 2_000).await, ok("1"));
    // Its life is 54 to 66 s, and its last tenth begins between these two.
    for n in 40..54 {
        later.elapsed.store(n * SECOND, SeqCst);
        assert_eq!(known(&service, "a"), Some(ok("1")), "{n} s later");
    }
    for n in 54..66 {
        later.elapsed.store(n * SECOND, SeqCst);
        drop(known(&service, "a"));
    }
    until(|| known(&service, "a") == Some(ok("2"))).await;
    assert_eq!((stub.calls(), service.report().desk.refreshed), (2, 1));
}

#[tokio::test]
async fn a_service_that_stops_answers_everybody() {
    let stub = Arc::new(Stub { hangs: true, ..Stub::default() });
    let service = service(config(), &stub);
    let open: Vec<_> = (0..300).map(|n| asked(&service, k(&n.to_string()), service.now() + 600 * SECOND)).collect();
    until(|| stub.calls() >= 3).await;
    let more: Vec<_> = (0..300).map(|n| asked(&service, k(&n.to_string()), service.now() + 600 * SECOND)).collect();
    tokio::time::timeout(Duration::from_secs(5), service.stop()).await.expect("it stops");
    until(|| stub.open.load(SeqCst) == 0).await;
    for (heard, origin) in join_all(open.into_iter().chain(more)).await {
        assert_eq!((heard, origin), (no(Status::Timeout), None));
    }
    assert_eq!(ask(&service, "a", 600_000).await, no(Status::Timeout), "it has stopped");
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
    let hear = move |_, told: Told<'_>| say.send(told.status).expect("it is listened to");
    let _asking = service.ask(keys, service.now() + 600 * SECOND, Box::new(hear));
    runtime.shutdown_timeout(Duration::from_secs(5));
    let all: Vec<Status> = heard.iter().take(300).collect();
    assert_eq!(all, vec![Status::Timeout; 300]);
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
    for (secs, is) in [(0, Some(a.clone())), (40, Some(a.clone())), (1_000, None)] {
        let again = start(config(), &stub, None, Later::by(secs));
        assert_eq!(again.load(&RealFs, &path).expect("loaded"), Loaded { read: 3, damaged: 0 });
        assert_eq!(known(&again, "a"), is, "{secs} s later");
    }
    let old = start(config(), &stub, None, Later::by(100));
    old.load(&RealFs, &path).expect("loaded");
    assert_eq!(known(&old, "nobody"), None);
    stub.fails.store(true, SeqCst);
    let ((status, value), origin) = asked(&old, k("a"), old.now() + 100 * MS).await;
    let Status::Stale(secs) = status else { panic!("it is stale, and its source fails") };
    assert_eq!((Status::Ok, value), a);
    assert!((34..=47).contains(&secs), "{secs}");
    let origin = origin.expect("somebody said it");
    assert_eq!((origin.tier, origin.age_us / SECOND), (Tier::Local, 100));

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
