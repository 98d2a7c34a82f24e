use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ouzel_lookup::remote::{Batch, BatchAnswer, Failure, Found, HttpConfig, HttpSource, Key, Kind, Remote, Secret};

use crate::stub::{Answer, Stub, json, status, with};

const LONG: Duration = Duration::from_secs(10);

fn config(url: String) -> HttpConfig {
    HttpConfig { url, allow_private: vec!["127.0.0.1".into(), "localhost".into()], ..HttpConfig::default() }
}

fn source(stub: &Stub) -> HttpSource {
    config(stub.url("/users/{key}")).build().expect("a source")
}

fn batch(stub: &Stub, batch: Batch) -> HttpSource {
    HttpConfig { batch: Some(batch), ..config(stub.url("/many")) }.build().expect("a source")
}

fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|t| Key::of(*t)).collect()
}

fn value(json: &str) -> Found {
    Found::Value(json.as_bytes().to_vec())
}

async fn one(source: &HttpSource, key: &str) -> Result<Found, Failure> {
    source.call(&[Key::of(key)], LONG).await.map(|mut found| found.remove(0))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).expect("written");
    gzip.finish().expect("finished")
}

#[tokio::test]
async fn a_key_is_asked_for_and_its_headers_are_sent() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    let stub = Stub::start(move |asked| {
        seen.lock().expect("whole").push(asked.head);
        json("{\"name\":\"Ada\"}")
    })
    .await;
    let config = HttpConfig {
        headers: vec![("x-tenant".into(), Secret::new("acme"))],
        bearer: Some(Secret::new("s3cret")),
        ..config(stub.url("/users/{key}?v={key}"))
    };
    assert!(!format!("{config:?}").contains("s3cret"));
    let source = config.build().expect("a source");
    assert_eq!(one(&source, "7").await, Ok(value("{\"name\":\"Ada\"}")));
    let head = heads.lock().expect("whole").remove(0);
    assert!(head.starts_with("GET /users/7?v=7 HTTP/1.1\r\n"), "{head}");
    for header in ["authorization: Bearer s3cret", "x-tenant: acme", &format!("host: {}", stub.address)] {
        assert!(head.lines().any(|line| line == header), "{header} in {head}");
    }
}

#[tokio::test]
async fn keys_of_any_kind_come_through_as_they_are() {
    let stub = Stub::start(|asked| {
        let target = asked.target().to_owned();
        json(&format!("{{\"target\":{}}}", serde_json::to_string(&target).expect("JSON")))
    })
    .await;
    let source = source(&stub);
    let hard = ["a'b\"c", "\0\u{1}\n", "{key}", "100%", "a?b=c#d", "x\r\nHost: evil", "Zürich"];
    let found = source.call(&keys(&hard), LONG).await.expect("answers");
    for (key, found) in hard.iter().zip(found) {
        let Found::Value(json) = found else { panic!("{key}: {found:?}") };
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let path = json["target"].as_str().expect("text").strip_prefix("/users/").expect("the place");
        let decoded: Vec<u8> = {
            let bytes = path.as_bytes();
            let mut out = Vec::new();
            let mut at = 0;
            while at < bytes.len() {
                if bytes[at] == b'%' {
                    out.push(u8::from_str_radix(&path[at + 1..at + 3], 16).expect("hex"));
                    at += 3;
                } else {
                    out.push(bytes[at]);
                    at += 1;
                }
            }
            out
        };
        assert_eq!(decoded, key.as_bytes());
    }
    let found = source.call(&keys(&["/../", "", &"k".repeat(1 << 20), "ok"]), LONG).await.expect("answers");
    assert_eq!(found[..3], [Found::Bad("unsafe_key"), Found::Bad("unsafe_key"), Found::Bad("too_large")]);
    assert!(matches!(found[3], Found::Value(_)));
}

#[tokio::test]
async fn what_a_status_means() {
    let date = "HTTP/1.1 503 x\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:50:07 GMT\r\n\
                content-length: 0\r\n\r\n";
    let stub = Stub::start(move |asked| match asked.target() {
        "/users/404" => status("404 Not Found"),
        "/users/410" => status("410 Gone"),
        "/users/204" => Answer::Bytes(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        "/users/429" => with("429 Slow", "retry-after: 7", b""),
        "/users/503" => Answer::Bytes(date.into()),
        "/users/500" => status("500 Oh"),
        "/users/302" => with("302 Found", "location: http://127.0.0.1:1/", b""),
        "/users/401" => status("401 Who"),
        target => panic!("{target}"),
    })
    .await;
    let source = source(&stub);
    for key in ["404", "410", "204"] {
        assert_eq!(one(&source, key).await, Ok(Found::NotFound), "{key}");
    }
    for (key, wait, may_pass) in [
        ("429", Some(7), true),
        ("503", Some(30), true),
        ("500", None, true),
        ("302", None, false),
        ("401", None, false),
    ] {
        let failure = one(&source, key).await.expect_err(key);
        assert_eq!(failure.kind, Kind::Status(key.parse().expect("digits")));
        assert_eq!(failure.retry_after, wait.map(Duration::from_secs), "{key}");
        assert_eq!(failure.kind.may_pass(), may_pass, "{key}");
    }
    // All of them were read to their end, one after the other.
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn what_is_no_value() {
    let big = format!("\"{}\"", "x".repeat(10 << 20));
    let bomb = gzip(format!("\"{}\"", "x".repeat(1 << 20)).as_bytes());
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{big}", big.len());
    let stub = Stub::start(move |asked| match asked.target() {
        "/users/empty" => json(""),
        "/users/html" => with("200 OK", "content-type: text/html", b"<p>log in</p>"),
        "/users/cut" => json("{\"a\":"),
        "/users/two" => json("{} {}"),
        "/users/big" => json(&big),
        "/users/chunks" => Answer::Reset(endless.clone().into()),
        "/users/bomb" => with("200 OK", "content-encoding: gzip", &bomb),
        "/users/no-gzip" => with("200 OK", "content-encoding: gzip", b"{}"),
        "/users/br" => with("200 OK", "content-encoding: br", b"{}"),
        "/users/gzip" => with("200 OK", "content-encoding: gzip", &gzip(b"{\"a\":1}")),
        target => panic!("{target}"),
    })
    .await;
    let source = source(&stub);
    for (key, code) in [
        ("empty", "empty"),
        ("html", "not_json"),
        ("cut", "not_json"),
        ("two", "not_json"),
        ("big", "too_large"),
        ("chunks", "too_large"),
        ("bomb", "too_large"),
        ("no-gzip", "not_json"),
        ("br", "not_json"),
    ] {
        assert_eq!(one(&source, key).await, Ok(Found::Bad(code)), "{key}");
    }
    assert_eq!(one(&source, "gzip").await, Ok(value("{\"a\":1}")));
}

#[tokio::test]
async fn one_slow_key_does_not_take_the_others_with_it() {
    let stub = Stub::start(|asked| match asked.target() {
        "/users/slow" => Answer::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n1".repeat(9), LONG / 100),
        "/users/hang" => Answer::Hang,
        _ => json("1"),
    })
    .await;
    let source = source(&stub);
    let began = Instant::now();
    let found = source.call(&keys(&["a", "slow", "hang", "b"]), Duration::from_millis(300)).await.expect("answers");
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!((&found[0], &found[3]), (&value("1"), &value("1")));
    for late in &found[1..3] {
        assert!(matches!(late, Found::Failed(f) if f.kind == Kind::Timeout), "{late:?}");
    }
    // The connections of those were closed, not kept.
    assert_eq!(one(&source, "a").await, Ok(value("1")));
}

#[tokio::test]
async fn lost_connections_are_replaced_once() {
    let resets = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&resets);
    let stub = Stub::start(move |asked| match (asked.target(), asked.before) {
        ("/users/always", _) => {
            counted.fetch_add(1, SeqCst);
            Answer::Reset(Vec::new())
        }
        ("/users/cut", _) => Answer::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123".to_vec()),
        ("/users/garbage", _) => Answer::Reset(b"220 mail.example ready\r\n".to_vec()),
        (_, 0) => json("1"),
        // A kept connection that was closed meanwhile.
        _ => Answer::Reset(Vec::new()),
    })
    .await;
    let source = source(&stub);
    assert_eq!(one(&source, "a").await, Ok(value("1")));
    assert_eq!(one(&source, "b").await, Ok(value("1")), "on a new connection");
    assert_eq!(stub.connections(), 2);
    assert_eq!(one(&source, "always").await.expect_err("reset").kind, Kind::Connection);
    assert_eq!(resets.load(SeqCst), 2, "once on a kept connection, once on a new one");
    assert_eq!(one(&source, "cut").await.expect_err("cut").kind, Kind::Connection);
    assert_eq!(one(&source, "garbage").await.expect_err("garbage").kind, Kind::Malformed);
    assert_eq!(one(&source, "a").await, Ok(value("1")));
}

#[tokio::test]
async fn many_keys_in_one_body() {
    let stub = Stub::start(|asked| {
        let body: serde_json::Value = serde_json::from_slice(&asked.body).expect("JSON");
        assert!(asked.head.contains("content-type: application/json\r\n"));
        let keys = body["keys"].as_array().expect("keys").clone();
        if keys[0] == "fail" {
            return status("500 Oh");
        }
        let known: serde_json::Map<String, serde_json::Value> =
            keys.iter().filter(|k| *k != "nobody").map(|k| (k.as_str().expect("text").to_owned(), k.clone())).collect();
        json(&serde_json::Value::Object(known).to_string())
    })
    .await;
    let source = batch(&stub, Batch::default());
    let long = "k".repeat(40_000);
    let hard = ["a", "nobody", "a\"b'\\", "\0\n", "{keys}", "/../", &long];
    let found = source.call(&keys(&hard), LONG).await.expect("answers");
    for (key, found) in hard.iter().zip(&found) {
        match (*key, found) {
            ("nobody", found) => assert_eq!(*found, Found::NotFound),
            (key, Found::Value(json)) => {
                assert_eq!(serde_json::from_slice::<String>(json).expect("a text"), key);
            }
            (key, other) => panic!("{key}: {other:?}"),
        }
    }
    assert_eq!(source.call(&keys(&["fail", "a"]), LONG).await.expect_err("500").kind, Kind::Status(500));
    assert_eq!(source.call(&[], LONG).await, Ok(Vec::new()));
    assert_eq!(stub.connections(), 1);
}

#[tokio::test]
async fn keys_of_two_parameters() {
    let stub = Stub::start(|asked| {
        assert_eq!(asked.body, br#"{"ids":[["a","1"],["b","2"]],"full":true}"#);
        json(r#"{"data":{"rows":[{"shop":"b","id":2,"n":5}]}}"#)
    })
    .await;
    let source = HttpConfig {
        parameters: vec!["shop".into(), "id".into()],
        batch: Some(Batch {
            body: r#"{"ids":{keys},"full":true}"#.into(),
            answer: BatchAnswer::Rows { key_members: vec!["shop".into(), "id".into()] },
            at: vec!["data".into(), "rows".into()],
        }),
        ..config(stub.url("/many"))
    }
    .build()
    .expect("a source");
    let found = source.call(&[Key::new(["a", "1"]), Key::new(["b", "2"])], LONG).await;
    assert_eq!(found, Ok(vec![Found::NotFound, value(r#"{"shop":"b","id":2,"n":5}"#)]));
}

#[tokio::test]
async fn a_batch_is_capped_as_a_whole_and_value_by_value() {
    let stub = Stub::start(|asked| {
        let keys: usize = asked.body.iter().filter(|b| **b == b'k').count() - 1;
        json(&match keys {
            1 => format!("{{\"k\":\"{}\"}}", "x".repeat(70_000)),
            _ => format!("{{\"k\":\"{}\",\"k2\":1}}", "x".repeat(70_000)),
        })
    })
    .await;
    let source = batch(&stub, Batch::default());
    assert_eq!(source.call(&keys(&["k"]), LONG).await.expect_err("too large").kind, Kind::TooLarge);
    assert_eq!(source.call(&keys(&["k", "k2"]), LONG).await, Ok(vec![Found::Bad("too_large"), value("1")]));
}

#[tokio::test]
async fn private_addresses_are_asked_only_when_they_are_named() {
    let stub = Stub::start(|_| json("1")).await;
    let port = stub.address.port();
    for host in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0"] {
        let config = HttpConfig { url: format!("http://{host}:{port}/{{key}}"), ..HttpConfig::default() };
        let source = config.build().expect("a source");
        assert_eq!(one(&source, "a").await.expect_err(host).kind, Kind::Forbidden, "{host}");
    }
    assert_eq!(stub.connections(), 0);
    let allowed = config(format!("http://localhost:{port}/{{key}}")).build().expect("a source");
    assert_eq!(one(&allowed, "a").await, Ok(value("1")));
}

#[tokio::test]
async fn nobody_there_and_nobody_answering() {
    let gone = config("http://127.0.0.1:1/{key}".into()).build().expect("a source");
    assert_eq!(one(&gone, "a").await.expect_err("nobody").kind, Kind::Connection);
    let unknown = config("http://nobody.invalid/{key}".into()).build().expect("a source");
    assert_eq!(one(&unknown, "a").await.expect_err("no name").kind, Kind::Connection);
}

#[tokio::test]
async fn connections_are_bounded() {
    let stub =
        Stub::start(|_| Answer::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1".to_vec(), LONG / 10_000)).await;
    let source = HttpConfig { connections: 3, ..config(stub.url("/{key}")) }.build().expect("a source");
    let texts: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let keys: Vec<Key> = texts.iter().map(|t| Key::of(t.as_str())).collect();
    assert_eq!(source.call(&keys, LONG).await, Ok(vec![value("1"); 20]));
    assert_eq!(stub.connections(), 3);
}

#[test]
fn configurations_that_cannot_be_meant() {
    let good = || config("https://a.example/{key}".into());
    let many = |batch| HttpConfig { batch: Some(batch), ..config("https://a.example/".into()) };
    for (member, config) in [
        ("url", HttpConfig { url: "https://a.example/".into(), ..good() }),
        ("url", HttpConfig { batch: Some(Batch::default()), ..good() }),
        ("connections", HttpConfig { connections: 0, ..good() }),
        ("headers", HttpConfig { headers: vec![("host".into(), Secret::new("b"))], ..good() }),
        ("headers", HttpConfig { headers: vec![("a b".into(), Secret::new("b"))], ..good() }),
        ("headers", HttpConfig { bearer: Some(Secret::new("two\nlines")), ..good() }),
        ("ca", HttpConfig { ca: Some(b"no".to_vec()), ..good() }),
        ("body", many(Batch { body: "{\"keys\":[]}".into(), ..Batch::default() })),
        ("body", many(Batch { body: "{keys} and more".into(), ..Batch::default() })),
        ("answer", many(Batch { answer: BatchAnswer::Rows { key_members: vec![] }, ..Batch::default() })),
    ] {
        let refused = config.build().err().unwrap_or_else(|| panic!("{member} was taken"));
        assert_eq!(refused.member, member, "{refused}");
        assert!(!refused.to_string().contains("lines"));
    }
}
