//! What a stranger may take: time, connections, headers. Each limit is set small, and what counts is that it ends.

use std::time::Duration;

use ouzel_door::http::Hosts;

use crate::client::{Client, request};
use crate::fake::World;

const SHORT: Duration = Duration::from_millis(100);
const GOOD: &str = r#"{"id":"1","type":"view","visitor":"v"}"#;

#[test]
fn a_head_that_drips_is_ended_while_idle_connections_stay() {
    let world = World::with(|l| l.header_time = SHORT);
    let mut idle = Client::new(world.addr);
    assert_eq!(idle.get("/healthz").status, 200);
    let mut slow = Client::new(world.addr);
    slow.send("POST /v1/events HTTP/1.1\r\nhost: localhost\r\n");
    let answer = slow.read().expect("why");
    assert_eq!((answer.status, &answer.json()["code"]), (408, &"too_slow".into()));
    assert!(slow.read().is_none(), "closed");
    assert_eq!(world.counters.too_slow.value(), 1);
    assert_eq!(idle.get("/healthz").status, 200, "being idle for longer than a head may take is fine");
    // Its second head is timed as its first was.
    idle.send("GET /healthz HTTP/1.1\r\nx: ");
    assert_eq!(idle.read().expect("why").status, 408);
    assert!(idle.read().is_none());
}

#[test]
fn bytes_that_keep_dripping_do_not_extend_the_time_of_a_head() {
    let world = World::with(|l| l.header_time = SHORT);
    let mut slow = Client::new(world.addr);
    slow.send("GET /healthz HTTP/1.1\r\nx: ");
    world.until("it is ended", || {
        slow.send("a");
        world.counters.too_slow.value() == 1
    });
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let world = World::with(|l| l.idle_time = SHORT);
    let mut fresh = Client::new(world.addr);
    let mut used = Client::new(world.addr);
    assert_eq!(used.get("/healthz").status, 200);
    assert!(fresh.read().is_none());
    assert!(used.read().is_none());
    assert_eq!(world.counters.too_slow.value(), 0);
}

#[test]
fn a_body_that_drips_is_a_408() {
    let world = World::with(|l| l.body_grace = SHORT);
    let mut client = Client::new(world.addr);
    client.send("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{");
    let answer = client.read().expect("an answer");
    assert_eq!((answer.status, &answer.json()["code"]), (408, &"too_slow".into()));
    assert!(client.read().is_none(), "closed");
}

#[test]
fn a_body_at_the_least_rate_is_taken() {
    let world = World::with(|l| {
        l.body_grace = Duration::from_secs(2);
        l.body_rate_min = 1;
    });
    let mut client = Client::new(world.addr);
    client.send(format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", GOOD.len()));
    for byte in GOOD.as_bytes() {
        client.send([*byte]);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.read().expect("an answer").status, 200);
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_places_come_back() {
    for (per_address, status) in [(100, 503), (2, 429)] {
        let world = World::with(|l| {
            l.connections = if per_address == 100 { 2 } else { 100 };
            l.connections_per_address = per_address;
        });
        let mut kept: Vec<_> = (0..2).map(|_| Client::new(world.addr)).collect();
        for client in &mut kept {
            assert_eq!(client.get("/healthz").status, 200);
        }
        let answer = Client::new(world.addr).get("/healthz");
        assert_eq!((answer.status, &answer.json()["code"]), (status, &"too_many_connections".into()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(world.counters.connections_refused.value(), 1);
        assert_eq!(kept[0].get("/healthz").status, 200, "those that are in are not disturbed");
        kept.pop();
        world.until("a place comes back", || world.counters.connections_open.value() == 1);
        assert_eq!(Client::new(world.addr).get("/healthz").status, 200);
    }
}

#[test]
fn heads_that_are_too_large_or_no_http_are_refused() {
    let world = World::new();
    let many = (0..120).map(|i| format!("x-{i}: 1\r\n")).collect::<String>();
    let large = format!("x: {}\r\n", "a".repeat(40_000));
    for (head, status) in [
        (format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"), 431),
        (format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{large}\r\n"), 431),
        ("hello\r\n\r\n".to_owned(), 400),
        ("GET /healthz HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = Client::new(world.addr);
        client.send(head);
        assert_eq!(client.read().expect("an answer").status, status);
    }
}

#[test]
fn a_client_that_does_not_take_its_answer_is_let_go() {
    let world = World::with(|l| l.write_stall = SHORT);
    // Four megabytes of records in one answer, more than two sockets' buffers hold.
    let event = format!("{{\"type\":\"t\",\"visitor\":\"v\",\"a\":\"{}\"}}", "x".repeat(30_000));
    for _ in 0..10 {
        let body = vec![event.as_str(); 30].join("\n");
        assert_eq!(Client::new(world.addr).post(body).json()["accepted"], 30);
    }
    let partition = event::key::partition_of(b"v", crate::fake::PARTITIONS);
    let path = format!("/v1/topics/raw/records?partition={partition}&limit=10000");
    // Several answers in a row, so that no size of socket buffer can take them all.
    let mut client = Client::new(world.addr);
    for _ in 0..8 {
        client.send(request("GET", &path, &[], b""));
    }
    world.until("it is let go", || world.counters.too_slow.value() == 1);
    world.until("its place is free", || world.counters.connections_open.value() == 0);
}

#[test]
fn on_a_local_listener_other_hosts_are_refused_unless_all_are_allowed() {
    for (hosts, status) in [(Hosts::AsListener, 421), (Hosts::Any, 200)] {
        let world = World::with(|l| l.hosts = hosts);
        let mut client = Client::new(world.addr);
        assert_eq!(client.get("/healthz").status, 200);
        client.send("GET /v1/topics HTTP/1.1\r\nhost: evil.example\r\n\r\n");
        let answer = client.read().expect("an answer");
        assert_eq!(answer.status, status);
        assert!(status == 200 || answer.json()["code"] == "foreign_host");
    }
}
