//! The end: no new connections, requests that have begun are finished, and a deadline.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use crate::client::{Client, request};
use crate::fake::World;

const LONG: Duration = Duration::from_secs(60);
const GOOD: &str = r#"{"id":"1","type":"view","visitor":"v"}"#;

fn refuses_connections(world: &World) {
    world.until("connections are refused", || {
        TcpStream::connect(world.addr).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    });
}

#[test]
fn a_request_in_the_middle_of_its_body_is_finished() {
    let mut world = World::new();
    let mut client = Client::new(world.addr);
    client.send(format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", GOOD.len()));
    client.send(&GOOD[..5]);
    world.until("its first bytes are in", || world.counters.body_bytes.value() == 5);
    let stopped = world.stop(LONG);
    refuses_connections(&world);
    client.send(&GOOD[5..]);
    let answer = client.read().expect("an answer");
    assert_eq!(answer.json()["accepted"], 1);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(world.runtime.block_on(stopped).unwrap(), 0, "nothing was cut off");
}

#[test]
fn a_commit_that_is_not_decided_is_waited_for() {
    let mut world = World::new();
    world.log.hold();
    let mut client = Client::new(world.addr);
    client.send(request("POST", "/v1/events", &[], GOOD.as_bytes()));
    world.until("submitted", || world.log.held() == 1);
    let stopped = world.stop(LONG);
    refuses_connections(&world);
    world.log.release();
    assert_eq!(client.read().expect("an answer").status, 200);
    assert_eq!(world.runtime.block_on(stopped).unwrap(), 0);
}

#[test]
fn idle_connections_and_long_reads_do_not_hold_up_the_end() {
    let mut world = World::new();
    let mut idle = Client::new(world.addr);
    assert_eq!(idle.get("/healthz").status, 200);
    let mut reader = Client::new(world.addr);
    reader.send(request("GET", "/v1/topics/raw/records?partition=0&wait=30000", &[], b""));
    world.until("both are in", || world.counters.connections_open.value() == 2);
    let stopped = world.stop(LONG);
    assert_eq!(world.runtime.block_on(stopped).unwrap(), 0, "nothing was cut off");
    assert!(idle.read().is_none());
}

#[test]
fn after_the_deadline_what_is_left_is_cut_off() {
    let mut world = World::new();
    world.log.hold();
    let mut client = Client::new(world.addr);
    client.send(request("POST", "/v1/events", &[], GOOD.as_bytes()));
    world.until("submitted", || world.log.held() == 1);
    let stopped = world.stop(Duration::from_millis(50));
    assert_eq!(world.runtime.block_on(stopped).unwrap(), 1);
    assert!(client.read().is_none(), "no answer is better than a wrong one");
}
