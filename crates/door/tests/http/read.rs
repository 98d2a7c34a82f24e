//! Reading: topics, records, health, the page, and what unknown requests are told.

use event::topic::{ENRICHED, RAW};
use event::{BlockBuilder, Flags, Header, Micros, Source};
use serde_json::json;

use crate::client::{Client, request};
use crate::fake::World;

fn header(flags: Flags, source: Source) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { flags, source, event_time: Micros(1), received_time: Micros(2_000_000), ..Header::default() };
    header.encode(&mut bytes);
    bytes
}

fn block(values: &[&[u8]]) -> event::Block {
    let mut b = BlockBuilder::new(ENRICHED.partition(0));
    for value in values {
        b.push(b"v-1", &header(Flags::DERIVED, Source::of(RAW, 1, 12)), Some(&[value]));
    }
    b.finish()
}

#[test]
fn records_are_lines_with_all_there_is_to_know_and_their_values_verbatim() {
    let world = World::new();
    let values: [&[u8]; 3] = [b"{\"a\" :  1.50,\"b\":\"\\u00e9\"}", b"{\n\t\"a\":1\r\n}", b"\xff\xfe"];
    world.log.append(ENRICHED.partition(0), 10, block(&values));
    let answer = Client::new(world.addr).get("/v1/topics/enriched/records?partition=0");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!((answer.header("x-ouzel-next"), answer.header("x-ouzel-end")), (Some("13"), Some("13")));
    let text = answer.text();
    assert!(text.lines().next().unwrap().ends_with(r#","value":{"a" :  1.50,"b":"\u00e9"}}"#), "{text}");
    let lines = answer.lines();
    assert_eq!(
        lines[0],
        json!({
            "partition": 0, "offset": 10, "key": "v-1",
            "event_time": "1970-01-01T00:00:00.000001Z", "received_at": "1970-01-01T00:00:02.000000Z",
            "flags": ["derived"], "source": {"topic": "raw", "partition": 1, "offset": 12},
            "value": {"a": 1.5, "b": "é"},
        })
    );
    assert_eq!(lines[1]["value"], json!({"a": 1}), "a value of several lines is one line");
    assert_eq!(lines[2]["value_base64"], "//4=");
    assert_eq!(lines.len(), 3);
}

#[test]
fn pages_meet_without_a_record_lost_or_twice_across_gaps_and_control_records() {
    let world = World::new();
    let at = ENRICHED.partition(0);
    let mut offset = 5;
    let mut expected = Vec::new();
    for n in 0..40u64 {
        let mut b = BlockBuilder::new(at);
        for i in 0..7u64 {
            if i == 3 {
                b.push(b"", &header(Flags::CONTROL, Source::DOOR), None);
            } else {
                let value = format!("{{\"n\":{n},\"i\":{i},\"pad\":\"{}\"}}", "x".repeat(3_000));
                b.push(b"k", &header(Flags::default(), Source::DOOR), Some(&[value.as_bytes()]));
                expected.push(offset + i);
            }
        }
        world.log.append(at, offset, b.finish());
        offset += 7 + n % 3;
    }
    for limit in [1, 5, 6, 7, 100, 10_000] {
        let mut client = Client::new(world.addr);
        let (mut from, mut seen) = ("earliest".to_owned(), Vec::new());
        loop {
            let answer = client.get(&format!("/v1/topics/enriched/records?partition=0&from={from}&limit={limit}"));
            let lines = answer.lines();
            assert!(lines.len() <= limit);
            seen.extend(lines.iter().map(|l| l["offset"].as_u64().unwrap()));
            from = answer.header("x-ouzel-next").unwrap().to_owned();
            if answer.header("x-ouzel-end") == Some(&from) {
                break;
            }
        }
        assert_eq!(seen, expected, "limit {limit}");
    }
}

#[test]
fn a_waiting_reader_is_answered_by_the_next_commit_and_by_nothing_else() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    client.send(request("GET", "/v1/topics/enriched/records?partition=0&from=0&wait=30000", &[], b""));
    world.until("it waits", || world.log.readers() > 0);
    // A commit to another partition may wake it, but is no answer.
    world.log.append(ENRICHED.partition(1), 0, block(&[b"{}"]));
    world.log.append(ENRICHED.partition(0), 0, block(&[b"{\"a\":1}"]));
    assert_eq!(client.read().expect("an answer").lines()[0]["value"], json!({"a": 1}));
    let empty = client.get("/v1/topics/enriched/records?partition=0&from=latest&wait=1");
    assert_eq!((empty.status, empty.text().as_str()), (200, ""));
    assert_eq!(empty.header("x-ouzel-next"), Some("1"));
}

#[test]
fn reads_that_cannot_be_say_what_could() {
    let world = World::new();
    world.log.append(ENRICHED.partition(0), 10, block(&[b"{}", b"{}"]));
    let mut client = Client::new(world.addr);
    for (path, status, code) in [
        ("/v1/topics/enriched/records", 400, "bad_partition"),
        ("/v1/topics/enriched/records?partition=2", 400, "bad_partition"),
        ("/v1/topics/enriched/records?partition=x", 400, "bad_query"),
        ("/v1/topics/enriched/records?partition=0&from=soon", 400, "bad_query"),
        ("/v1/topics/enriched/records?partition=0&form=1", 400, "bad_query"),
        ("/v1/topics/enriched/records?partition=0&wait=5s", 400, "bad_query"),
        ("/v1/topics/nothing/records?partition=0", 404, "no_topic"),
        ("/v1/topics/enriched/records?partition=0&from=9", 416, "out_of_range"),
        ("/v1/topics/enriched/records?partition=0&from=13", 416, "out_of_range"),
    ] {
        let answer = client.get(path);
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code.into()), "{path}");
    }
    let partitions = client.get("/v1/topics/enriched/records").json();
    assert_eq!(partitions["partitions"], json!([0, 1]));
    let range = client.get("/v1/topics/enriched/records?partition=0&from=9").json();
    assert_eq!((&range["start"], &range["end"]), (&10.into(), &12.into()));
    assert_eq!(range["message"], "enriched/0 has records from 10 up to 12; 9 is outside");
}

#[test]
fn topics_are_listed_with_their_bounds() {
    let world = World::new();
    world.log.append(ENRICHED.partition(0), 10, block(&[b"{}", b"{}"]));
    let topics = Client::new(world.addr).get("/v1/topics").json();
    let names: Vec<_> = topics["topics"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert_eq!(names, ["raw", "enriched", "dlq", "sessions", "late"]);
    assert_eq!(
        topics["topics"][1]["partitions"],
        json!([{"partition": 0, "start": 10, "end": 12}, {"partition": 1, "start": 0, "end": 0}])
    );
}

#[test]
fn health_readiness_metrics_and_admin_come_from_the_site() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    assert_eq!(client.get("/healthz").text(), "ok\n");
    assert_eq!(client.get("/readyz").json(), json!({"ready": true, "reasons": [], "degraded": []}));
    world.site.reasons.lock().unwrap().push("the disk is full".to_owned());
    let answer = client.get("/readyz");
    assert_eq!(
        (answer.status, answer.json()),
        (503, json!({"ready": false, "reasons": ["the disk is full"], "degraded": []}))
    );
    assert_eq!(client.get("/healthz").status, 200, "alive all the same");
    assert_eq!(client.get("/metrics").text(), "ouzel_test 1\n");

    let token = [("authorization", "Bearer secret")];
    assert_eq!(client.request("POST", "/admin/echo?a=1", &token, b"hi").json(), json!(["POST", "a=1", "hi"]));
    assert_eq!(client.request("POST", "/admin/echo", &[], b"hi").status, 401);
    assert_eq!(client.get("/admin/other").status, 404);
}

#[test]
fn the_page_runs_only_its_own_script_and_shows_the_sites_numbers() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    let page = client.get("/");
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    let nonce = policy.split("script-src 'nonce-").nth(1).and_then(|r| r.split('\'').next()).expect("a nonce");
    let html = page.text();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(html.contains(&format!("<script nonce=\"{nonce}\">")) && !html.contains("NONCE"));
    for banned in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "http://",
        "https://",
        "style=\"",
        "onclick",
    ] {
        assert!(!html.contains(banned), "{banned}");
    }
    assert_ne!(client.get("/").header("content-security-policy"), Some(policy.as_str()), "a nonce is used once");

    client.post("[{\"type\":\"a\"},{\"id\":\"<b>\"}]");
    let status = client.get("/status.json").json();
    assert_eq!((&status["version"], &status["lag"]), (&"0.0.0-test".into(), &7.into()));
    assert_eq!((&status["http"]["accepted"], &status["http"]["refused"]), (&1.into(), &1.into()));
    assert_eq!(status["http"]["refused_by_code"], json!({"missing_field": 1}));
    assert!(status["http"]["ack_p99_ms"].as_f64().is_some());
    assert_eq!((&status["ready"], &status["topics"][0]["name"]), (&json!([]), &"raw".into()));
}

#[test]
fn unknown_routes_list_what_exists_and_wrong_methods_what_is_allowed() {
    let world = World::new();
    let mut client = Client::new(world.addr);
    for path in ["/v1/event", "/v1/topics/a/b/records", "/favicon.ico"] {
        let answer = client.get(path);
        assert_eq!((answer.status, &answer.json()["code"]), (404, &"not_found".into()));
        assert!(answer.json()["routes"].as_array().unwrap().contains(&"POST /v1/events".into()));
    }
    for (method, path, allow) in
        [("GET", "/v1/events", "POST"), ("POST", "/healthz", "GET, HEAD"), ("DELETE", "/v1/topics", "GET, HEAD")]
    {
        let answer = client.request(method, path, &[], b"{}");
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let head = client.request("HEAD", "/v1/topics", &[], b"");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    assert_eq!(client.get("/healthz").status, 200, "nothing of the body came");
}
