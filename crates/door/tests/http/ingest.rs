//! Batches in: what is taken, what is refused and how that is said, and what the log's outcomes become.

use std::io::Write;

use event::topic::{DLQ, RAW};
use event::{Field, Flags};
use log::{Aborted, Outcome};
use ouzel_door::http::ClientAddress;

use crate::client::{Client, request};
use crate::fake::World;

const GOOD: &str = r#"{"id":"1","type":"view","visitor":"v"}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn every_form_of_a_batch_is_taken() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    for (body, accepted) in [
        (GOOD.to_owned(), 1),
        (format!("[{GOOD},{GOOD} , {GOOD}]"), 3),
        (format!("{GOOD}\n{GOOD}\n\n"), 2),
        (format!("{{\"batch\":[{GOOD},{GOOD}],\"sent_at\":\"2026-01-01T00:00:00Z\"}}"), 2),
    ] {
        let answer = client.post(&body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.text(), format!("{{\"accepted\":{accepted},\"refused\":0,\"results\":[]}}\n"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    assert_eq!(world.raw(), vec![GOOD; 8], "byte for byte");
    assert_eq!(world.counters.accepted.value(), 8);
    assert_eq!(world.counters.ack.count(), 4);
    assert_eq!(world.counters.connections_total.value(), 1, "one connection was kept");
}

#[test]
fn compressed_bodies_are_taken() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    let body = format!("[{}]", vec![GOOD; 50].join(","));
    let zstd = zstd::encode_all(body.as_bytes(), 3).unwrap();
    for (encoding, bytes) in [("gzip", gzip(body.as_bytes())), ("zstd", zstd)] {
        let answer = client.request("POST", "/v1/events", &[("content-encoding", encoding)], &bytes);
        assert_eq!(answer.json()["accepted"], 50, "{encoding}");
    }
}

#[test]
fn neighbours_of_a_bad_event_are_accepted_and_it_is_in_dlq() {
    let world = World::new();
    let deep = format!("{{\"type\":\"t\",\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"type\":\"t\",\"a\":\"{}\"}}", "x".repeat(40_000));
    for (bad, code, pointer) in [
        ("{\"id\":\"1\"}", "missing_field", "/type"),
        ("{\"type\":\"t\",\"type\":\"u\"}", "duplicate_member", "/type"),
        ("{\"type\":\"t\",\"enriched\":{}}", "reserved_member", "/enriched"),
        ("{\"type\":\"t\",\"time\":\"yesterday\"}", "bad_time", "/time"),
        ("{\"type\":tru}", "not_json", ""),
        ("7", "not_object", ""),
        (&deep, "too_deep", ""),
        (&long, "too_large", ""),
    ] {
        let answer = Client::new(world.addr).post(format!("[{GOOD},{bad},{GOOD}]"));
        let json = answer.json();
        assert_eq!((answer.status, &json["accepted"], &json["refused"]), (200, &2.into(), &1.into()), "{json}");
        let result = &json["results"][0];
        assert_eq!((&result["index"], &result["code"], &result["id"]), (&1.into(), &code.into(), &().into()), "{json}");
        assert!(pointer.is_empty() || result["pointer"] == pointer, "{json}");
        assert!(!result["message"].as_str().unwrap().is_empty());
        let last = world.dlq().into_iter().find(|l| l["code"] == code).unwrap_or_else(|| panic!("no {code}"));
        assert_eq!(last["source"], "http");
    }
    assert_eq!(world.raw().len(), 16);
    assert_eq!(world.log.records(DLQ).len(), 8);
    assert_eq!((world.counters.accepted.value(), world.counters.refused.value()), (16, 8));
    assert_eq!(world.counters.refusals().map(|(_, n)| n).sum::<u64>(), 8);
}

#[test]
fn an_event_that_is_too_deep_costs_its_neighbours_nothing() {
    let world = World::new();
    for depth in [60, 70, 300, 10_000] {
        let deep = format!("{{\"type\":\"t\",\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        for body in [
            format!("{GOOD}\n{deep}\n{GOOD}"),
            format!("[{GOOD},{deep},{GOOD}]"),
            format!("{{\"batch\":[{GOOD},{deep},{GOOD}],\"sentAt\":\"2026-11-23T00:00:00Z\"}}"),
        ] {
            let json = Client::new(world.addr).post(&body).json();
            let expected = if depth == 60 { (3, 0) } else { (2, 1) };
            assert_eq!((&json["accepted"], &json["refused"]), (&expected.0.into(), &expected.1.into()), "{json}");
        }
    }
}

#[test]
fn a_batch_without_an_accepted_event_is_a_400_and_still_kept() {
    let world = World::new();
    for (body, code, dead) in [
        ("{\"type\":\"t\",\"a\":[1,2", "not_json", "{\"type\":\"t\",\"a\":[1,2"),
        ("hello", "not_json", "hello"),
        ("[{\"type\":\"t\"", "not_json", "{\"type\":\"t\""),
        ("{\"id\":\"1\"}", "missing_field", "{\"id\":\"1\"}"),
    ] {
        let before = world.log.records(DLQ).len();
        let answer = Client::new(world.addr).post(body);
        assert_eq!((answer.status, &answer.json()["accepted"]), (400, &0.into()), "{body}");
        assert_eq!(answer.json()["results"][0]["code"], code, "{body}");
        assert_eq!(world.log.records(DLQ).len(), before + 1, "{body}");
        assert!(world.dlq().iter().any(|l| l["event"] == dead), "{body}: {:?}", world.dlq());
    }
    for body in ["", "[]", " \n "] {
        let answer = Client::new(world.addr).post(body);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"no_events".into()), "{body:?}");
    }
    assert!(world.raw().is_empty());
}

#[test]
fn refusals_beyond_a_thousand_are_counted_and_events_beyond_ten_thousand_end_the_batch() {
    let world = World::new();
    let json = Client::new(world.addr).post("{}\n".repeat(1_500)).json();
    assert_eq!(json["results"].as_array().unwrap().len(), 1_000);
    assert_eq!((&json["refused"], &json["results_omitted"]), (&1_500.into(), &500.into()));
    let before = world.log.records(DLQ).len();
    let answer = Client::new(world.addr).post("{}\n".repeat(10_001));
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"too_many_events".into()));
    assert_eq!(world.log.records(DLQ).len(), before, "all or nothing");
    let next = Client::new(world.addr).post(GOOD);
    assert_eq!(next.json()["refused"], 0, "nothing of it is left for the next batch");
}

#[test]
fn what_is_too_large_is_a_413_that_its_sender_gets_to_read() {
    let world = World::new();
    let event = format!("{{\"type\":\"t\",\"a\":\"{}\"}}", "x".repeat(10_000_000));
    let answer = Client::new(world.addr).post(&event);
    assert_eq!((answer.status, &answer.json()["code"]), (413, &"batch_too_large".into()));

    let mut chunked = Client::new(world.addr);
    chunked.send("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..40 {
        chunked.send(format!("{:x}\r\n{}\r\n", 64 * 1024, " ".repeat(64 * 1024)));
    }
    chunked.send("0\r\n\r\n");
    assert_eq!(chunked.read().expect("an answer").status, 413);

    let bytes = gzip(&vec![b' '; 2_000_000]);
    let answer = Client::new(world.addr).request("POST", "/v1/events", &[("content-encoding", "gzip")], &bytes);
    assert_eq!(answer.status, 413, "{}", answer.text());

    let mut asks_first = Client::new(world.addr);
    asks_first
        .send("POST /v1/events HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 5000000\r\n\r\n");
    assert_eq!(asks_first.read().expect("an answer").status, 413, "without the body being asked for");
}

#[test]
fn types_and_encodings_that_are_not_taken_are_a_415() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    for (header, value, code) in [
        ("content-type", "multipart/form-data; boundary=x", "content_type"),
        ("content-type", "application/xml", "content_type"),
        ("content-encoding", "br", "content_encoding"),
        ("content-encoding", "gzip, gzip", "content_encoding"),
    ] {
        let answer = client.request("POST", "/v1/events", &[(header, value)], GOOD.as_bytes());
        assert_eq!((answer.status, &answer.json()["code"]), (415, &code.into()), "{value}");
    }
    for good in ["application/json", "application/x-ndjson", "text/plain; charset=utf-8"] {
        assert_eq!(client.request("POST", "/v1/events", &[("content-type", good)], GOOD.as_bytes()).status, 200);
    }
}

#[test]
fn a_body_that_is_not_the_gzip_it_says_it_is_is_a_400() {
    let world = World::new();
    let mut cut = gzip(GOOD.as_bytes());
    cut.truncate(cut.len() - 5);
    for body in [GOOD.as_bytes(), &cut] {
        let answer = Client::new(world.addr).request("POST", "/v1/events", &[("content-encoding", "gzip")], body);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"bad_encoding".into()), "{}", answer.text());
    }
    assert!(world.raw().is_empty());
}

#[test]
fn outcomes_that_are_no_commit_are_a_503_with_when_to_come_back() {
    let world = World::new();
    for (outcome, code) in [
        (Outcome::Aborted(Aborted::Full("/data".into())), "disk_full"),
        (Outcome::Aborted(Aborted::Retriable), "not_stored"),
        (Outcome::Aborted(Aborted::Fenced), "not_stored"),
        (Outcome::Aborted(Aborted::Closed), "not_stored"),
        (Outcome::Unknown, "unknown_outcome"),
    ] {
        world.log.answer_with(Some(outcome));
        let answer = Client::new(world.addr).post(GOOD);
        assert_eq!((answer.status, &answer.json()["code"]), (503, &code.into()));
        assert!(answer.header("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()), "{code}");
    }
    assert_eq!((world.counters.accepted.value(), world.counters.not_stored.value()), (0, 5));
    world.log.answer_with(Some(Outcome::Aborted(Aborted::Invalid("too large".into()))));
    let answer = Client::new(world.addr).post(GOOD);
    assert_eq!((answer.status, answer.header("retry-after")), (500, None), "sent again it would fail again");
    world.log.answer_with(None);
    assert_eq!(Client::new(world.addr).post(GOOD).status, 200, "by itself");
}

#[test]
fn nothing_is_answered_before_the_log_has_decided() {
    let world = World::new();
    world.log.hold();
    let mut client = Client::new(world.addr);
    client.send(request("POST", "/v1/events", &[], GOOD.as_bytes()));
    world.until("the commit is submitted", || world.log.held() == 1);
    assert_eq!(world.counters.answers[2].value(), 0);
    world.log.release();
    assert_eq!(client.read().expect("an answer").status, 200);
}

#[test]
fn above_the_bound_on_bytes_in_flight_batches_are_shed_and_later_taken_again() {
    let world = World::with(|l| l.in_flight_bytes = 2 * GOOD.len());
    world.log.hold();
    let mut waiting: Vec<_> = (0..2).map(|_| Client::new(world.addr)).collect();
    for (i, client) in waiting.iter_mut().enumerate() {
        client.send(request("POST", "/v1/events", &[], GOOD.as_bytes()));
        world.until("submitted", || world.log.held() == i + 1);
    }
    let answer = Client::new(world.addr).post(GOOD);
    assert_eq!((answer.status, &answer.json()["code"]), (503, &"overloaded".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!((world.log.held(), world.counters.shed.value()), (2, 1), "it never reached the log");
    world.log.release();
    for mut client in waiting {
        assert_eq!(client.read().expect("an answer").status, 200, "what was accepted before is untouched");
    }
    assert_eq!(Client::new(world.addr).post(GOOD).status, 200);
}

#[test]
fn a_client_that_leaves_takes_neither_its_commit_nor_the_count_of_it_along() {
    let world = World::with(|l| l.in_flight_bytes = GOOD.len());
    world.log.hold();
    let mut client = Client::new(world.addr);
    client.send(request("POST", "/v1/events", &[], GOOD.as_bytes()));
    world.until("submitted", || world.log.held() == 1);
    drop(client);
    world.until("the connection is gone", || world.counters.connections_open.value() == 0);
    assert_eq!(Client::new(world.addr).post(GOOD).status, 503, "its bytes are still in flight");
    world.log.release();
    world.until("it is counted", || world.counters.accepted.value() == 1);
    world.until("its bytes are given back", || Client::new(world.addr).post(GOOD).status == 200);
}

#[test]
fn an_idempotency_key_derives_the_ids_and_bad_ones_are_refused() {
    let world = World::new();
    let without_id = br#"[{"type":"a","visitor":"v"},{"type":"b","visitor":"v"}]"#;
    for _ in 0..2 {
        let headers = [("idempotency-key", "order-7")];
        assert_eq!(Client::new(world.addr).request("POST", "/v1/events", &headers, without_id).status, 200);
    }
    let records = world.log.records(RAW);
    let ids: Vec<_> = records.iter().map(|(_, h, _)| h.id_hash).collect();
    assert_eq!((ids[0], ids[1]), (ids[2], ids[3]), "a resend has the same ids");
    assert_ne!(ids[0], ids[1]);
    assert!(records.iter().all(|(_, h, _)| h.flags.has(Flags::DERIVED)));
    let id = records[1].1.inherited.iter().find(|(f, _)| *f == Field::ID).expect("an id");
    assert_eq!(id.1, b"http:order-7:1");

    let long = "k".repeat(300);
    for bad in ["", &long] {
        let answer = Client::new(world.addr).request("POST", "/v1/events", &[("idempotency-key", bad)], without_id);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &"idempotency_key".into()));
    }
}

#[test]
fn without_key_and_id_every_event_is_a_new_one() {
    let world = World::new();
    for _ in 0..2 {
        Client::new(world.addr).post(r#"[{"type":"a"},{"type":"a"}]"#);
    }
    let mut ids: Vec<_> = world.log.records(RAW).into_iter().map(|(_, h, _)| h.id_hash).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[test]
fn the_connections_address_and_agent_are_inherited_only_when_told_so_and_only_where_missing() {
    let events = br#"[{"type":"a","visitor":"v"},{"type":"a","visitor":"v","ip":"9.9.9.9","user_agent":"own"}]"#;
    for (mode, expected) in [
        (ClientAddress::Connection, vec![(Field::IP, b"127.0.0.1".to_vec()), (Field::USER_AGENT, b"test/1".to_vec())]),
        (ClientAddress::None, vec![]),
    ] {
        let world = World::build(mode, |_| {});
        let answer = Client::new(world.addr).request("POST", "/v1/events", &[("user-agent", "test/1")], events);
        assert_eq!(answer.json()["accepted"], 2, "{}", answer.text());
        let records = world.log.records(RAW);
        let of = |at: usize| -> Vec<_> {
            let inherited = records[at].1.inherited.iter();
            inherited.filter(|(f, _)| matches!(*f, Field::IP | Field::USER_AGENT)).cloned().collect()
        };
        assert_eq!((of(0), of(1)), (expected, vec![]), "{mode:?}");
    }
}

#[test]
fn the_context_of_a_batch_comes_before_the_connection() {
    let world = World::build(ClientAddress::Connection, |_| {});
    let body = format!("{{\"batch\":[{GOOD}],\"ip\":\"8.8.4.4\"}}");
    assert_eq!(Client::new(world.addr).post(body).status, 200);
    let inherited = &world.log.records(RAW)[0].1.inherited;
    let ips: Vec<_> = inherited.iter().filter(|(f, _)| *f == Field::IP).map(|(_, v)| v.as_slice()).collect();
    assert_eq!(ips, [b"8.8.4.4"]);
}

#[test]
fn chunked_bodies_pipelining_and_asking_first_work() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    let (a, b) = GOOD.split_at(11);
    client.send(format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{a}\r\n{:x}\r\n{b}\r\n0\r\n\r\n",
        a.len(),
        b.len()
    ));
    assert_eq!(client.read().expect("an answer").json()["accepted"], 1);

    let two = [request("POST", "/v1/events", &[], GOOD.as_bytes()), request("GET", "/healthz", &[], b"")].concat();
    client.send(two);
    assert_eq!(client.read().expect("the first").json()["accepted"], 1);
    assert_eq!(client.read().expect("the second").text(), "ok\n");

    client.send(format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        GOOD.len()
    ));
    assert_eq!(client.read().expect("go on").status, 100);
    client.send(GOOD);
    assert_eq!(client.read().expect("an answer").json()["accepted"], 1);
    assert_eq!(world.raw().len(), 3);
}

#[test]
fn a_body_that_breaks_off_leaves_nothing() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    client.send(format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 500\r\n\r\n{GOOD}\n{GOOD}\n"));
    drop(client);
    world.until("the connection is gone", || {
        world.counters.connections_total.value() == 1 && world.counters.connections_open.value() == 0
    });
    assert!(world.raw().is_empty() && world.log.records(DLQ).is_empty());
}
