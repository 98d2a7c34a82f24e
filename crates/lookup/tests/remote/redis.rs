use std::time::Duration;

use ouzel_lookup::remote::redis::Cached;
use ouzel_lookup::remote::{Found, Key, Kind, RedisConfig, RedisSource, RedisValue, Remote, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::servers::{Parts, url};

const LONG: Duration = Duration::from_secs(10);

fn config() -> Option<RedisConfig> {
    let parts = Parts::of(&url("OUZEL_TEST_REDIS")?);
    let password = parts.password.map(Secret::new);
    Some(RedisConfig { url: parts.url, user: parts.user, password, ..RedisConfig::default() })
}

fn source(key: &str, value: RedisValue) -> Option<RedisSource> {
    Some(RedisConfig { key: key.into(), value, ..config()? }.build().expect("a source"))
}

fn value(json: &str) -> Found {
    Found::Value(json.as_bytes().to_vec())
}

/// Writes texts under keys of this test's own.
async fn put(entries: &[(String, &[u8])]) {
    let cache = config().expect("a server").build_shared().expect("a cache");
    let life = Duration::from_secs(60);
    let entries: Vec<(&[u8], &[u8], Duration)> = entries.iter().map(|(k, v)| (k.as_bytes(), *v, life)).collect();
    cache.write(&entries, LONG).await.expect("written");
}

/// Sends words that no client of ours would.
async fn raw(words: &[&str]) -> String {
    let config = config().expect("a server");
    let authority = config.url.strip_prefix("redis://").expect("a URL").split('/').next().expect("a host").to_owned();
    let mut tcp = TcpStream::connect(authority).await.expect("a server");
    let mut commands = Vec::new();
    if let Some(password) = &config.password {
        let login: Vec<&str> = ["AUTH"].into_iter().chain(config.user.as_deref()).chain([password.reveal()]).collect();
        commands.push(login);
    }
    commands.push(words.to_vec());
    commands.push(vec!["QUIT"]);
    for command in commands {
        let mut text = format!("*{}\r\n", command.len());
        command.iter().for_each(|word| text += &format!("${}\r\n{word}\r\n", word.len()));
        tcp.write_all(text.as_bytes()).await.expect("sent");
    }
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn strings_that_are_json() {
    let Some(source) = source("t1:{key}", RedisValue::Json) else { return };
    let large = format!("\"{}\"", "x".repeat(70_000));
    put(&[
        ("t1:a".into(), b"{\"n\":1}"),
        ("t1:bad".into(), b"{n:1}"),
        ("t1:large".into(), large.as_bytes()),
        ("t1:empty".into(), b""),
        ("t1:b".into(), b" [1] "),
    ])
    .await;
    raw(&["HSET", "t1:hash", "a", "1"]).await;
    let keys: Vec<Key> = ["a", "nobody", "bad", "large", "empty", "hash", "b"].iter().map(|k| Key::of(*k)).collect();
    let expected = [
        value("{\"n\":1}"),
        Found::NotFound,
        Found::Bad("not_json"),
        Found::Bad("too_large"),
        Found::Bad("empty"),
        // MGET says of another type that there is nothing.
        Found::NotFound,
        value("[1]"),
    ];
    assert_eq!(source.call(&keys, LONG).await, Ok(expected.to_vec()));
    assert_eq!(source.call(&[], LONG).await, Ok(vec![]));
}

#[tokio::test]
async fn keys_of_any_kind_and_number() {
    let Some(source) = source("t2:{key}", RedisValue::String) else { return };
    let long = "k".repeat(1 << 20);
    let hard = ["a'b\"c", "\0\r\n*1\r\n", "{key}", "100%", "/../", "Zürich", "", &long];
    let entries: Vec<(String, &[u8])> =
        hard.iter().map(|key| (format!("t2:{key}"), &key.as_bytes()[..key.len().min(100)])).collect();
    put(&entries).await;
    let keys: Vec<Key> = hard.iter().map(|k| Key::of(*k)).collect();
    for (key, found) in hard.iter().zip(source.call(&keys, LONG).await.expect("answers")) {
        let Found::Value(json) = found else { panic!("{found:?}") };
        assert_eq!(serde_json::from_slice::<String>(&json).expect("a text"), key[..key.len().min(100)]);
    }
    let numbers: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    let entries: Vec<(String, &[u8])> = numbers.iter().map(|n| (format!("t2:{n}"), n.as_bytes())).collect();
    put(&entries).await;
    let keys: Vec<Key> = numbers.iter().map(|n| Key::of(n.as_str())).collect();
    let expected: Vec<Found> = numbers.iter().map(|n| value(&format!("\"{n}\""))).collect();
    assert_eq!(source.call(&keys, LONG).await, Ok(expected));
    put(&[("t2:bytes".into(), b"\xff")]).await;
    assert_eq!(source.call(&[Key::of("bytes")], LONG).await, Ok(vec![Found::Bad("not_utf8")]));
}

#[tokio::test]
async fn hashes_become_objects() {
    let Some(source) = source("t3:{key}", RedisValue::Hash) else { return };
    raw(&["HSET", "t3:ada", "name", "Ada \"A\"", "age", "36"]).await;
    raw(&["SET", "t3:text", "x"]).await;
    let large = "x".repeat(70_000);
    raw(&["HSET", "t3:large", "a", &large]).await;
    let keys = ["ada", "nobody", "text", "large"].map(Key::of);
    let expected = vec![
        value(r#"{"name":"Ada \"A\"","age":"36"}"#),
        Found::NotFound,
        Found::Bad("wrong_type"),
        Found::Bad("too_large"),
    ];
    assert_eq!(source.call(&keys, LONG).await, Ok(expected));
}

#[tokio::test]
async fn documents_need_a_module() {
    let Some(source) = source("t4:{key}", RedisValue::Document) else { return };
    if raw(&["JSON.SET", "t4:a", "$", "{\"n\":1}"]).await.contains("unknown command") {
        assert_eq!(source.call(&[Key::of("a")], LONG).await.expect_err("no module").kind, Kind::Query);
    } else {
        let found = source.call(&["a", "nobody"].map(Key::of), LONG).await;
        assert_eq!(found, Ok(vec![value("{\"n\":1}"), Found::NotFound]));
    }
}

#[tokio::test]
async fn databases_are_apart() {
    let Some(config) = config() else { return };
    let base = config.url.trim_end_matches("/0").trim_end_matches('/').to_owned();
    let other = RedisConfig { url: format!("{base}/1"), ..config.clone() };
    let shared = other.clone().build_shared().expect("a cache");
    shared.write(&[(b"t5", b"1", LONG)], LONG).await.expect("written");
    let key = [Key::of("t5")];
    assert_eq!(other.build().expect("a source").call(&key, LONG).await, Ok(vec![value("1")]));
    assert_eq!(config.clone().build().expect("a source").call(&key, LONG).await, Ok(vec![Found::NotFound]));
    let none = RedisConfig { url: format!("{base}/9999"), ..config };
    assert_eq!(none.build().expect("a source").call(&key, LONG).await.expect_err("no db").kind, Kind::Query);
}

#[tokio::test]
async fn a_wrong_password_is_not_repeated() {
    let Some(config) = config() else { return };
    let wrong = RedisConfig { password: Some(Secret::new("guess-me-not")), ..config };
    let failure = wrong.build().expect("a source").call(&[Key::of("a")], LONG).await.expect_err("wrong");
    assert_eq!(failure.kind, Kind::Query);
    assert!(!failure.message.contains("guess"), "{failure}");
}

#[tokio::test]
async fn connections_that_the_server_closed_are_replaced() {
    let Some(config) = config() else { return };
    // A user of this test's own, so that only its connections are killed.
    raw(&["ACL", "SETUSER", "t6", "on", ">t6", "~t6:*", "+mget"]).await;
    let login = RedisConfig { user: Some("t6".into()), password: Some(Secret::new("t6")), ..config };
    let source = RedisConfig { key: "t6:{key}".into(), ..login.clone() }.build().expect("a source");
    for _ in 0..3 {
        assert_eq!(source.call(&[Key::of("a")], LONG).await, Ok(vec![Found::NotFound]));
        let killed = raw(&["CLIENT", "KILL", "USER", "t6"]).await;
        assert!(killed.contains(":1\r\n"), "{killed}");
    }
    let others = RedisConfig { key: "t7:{key}".into(), ..login }.build().expect("a source");
    assert_eq!(others.call(&[Key::of("a")], LONG).await.expect_err("not permitted").kind, Kind::Query);
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let source = RedisConfig { url, ..RedisConfig::default() }.build().expect("a source");
    let failure = source.call(&[Key::of("a")], Duration::from_millis(100)).await.expect_err("late");
    assert_eq!(failure.kind, Kind::Timeout);
    drop(listener);
    assert_eq!(source.call(&[Key::of("a")], LONG).await.expect_err("gone").kind, Kind::Connection);
}

#[tokio::test]
async fn a_shared_cache_keeps_entries_for_their_life() {
    let Some(config) = config() else { return };
    let cache = config.build_shared().expect("a cache");
    let (short, long) = (Duration::from_millis(60), Duration::from_secs(60));
    cache.write(&[(b"t7:a", b"\0\xff", short), (b"t7:b", b"", long)], LONG).await.expect("written");
    let keys = ["t7:a", "t7:none", "t7:b"];
    let there = [Cached::Bytes(vec![0, 0xff]), Cached::Missing, Cached::Bytes(vec![])];
    assert_eq!(cache.read(&keys, LONG).await, Ok(there.to_vec()));
    tokio::time::sleep(short * 2).await;
    assert_eq!(cache.read(&keys, LONG).await, Ok(vec![Cached::Missing, Cached::Missing, Cached::Bytes(vec![])]));
}

#[tokio::test]
async fn a_lease_has_one_holder() {
    let Some(config) = config() else { return };
    let cache = config.build_shared().expect("a cache");
    cache.release(b"t8", b"one", LONG).await.expect("asked");
    cache.release(b"t8", b"two", LONG).await.expect("asked");
    let life = Duration::from_millis(200);
    assert_eq!(cache.lease(b"t8", b"one", life, LONG).await, Ok(true));
    assert_eq!(cache.lease(b"t8", b"two", life, LONG).await, Ok(false));
    assert_eq!(cache.lease(b"t8", b"one", life, LONG).await, Ok(true), "a repeated attempt");
    let long = Duration::from_secs(60);
    assert_eq!(cache.lease(b"t8", b"one", long, LONG).await, Ok(true), "for longer");
    tokio::time::sleep(life * 2).await;
    assert_eq!(cache.lease(b"t8", b"two", life, LONG).await, Ok(false), "it was extended");
    assert_eq!(cache.release(b"t8", b"two", LONG).await, Ok(false));
    assert_eq!(cache.release(b"t8", b"one", LONG).await, Ok(true));
    assert_eq!(cache.lease(b"t8", b"two", life, LONG).await, Ok(true));
    tokio::time::sleep(life * 2).await;
    assert_eq!(cache.lease(b"t8", b"one", life, LONG).await, Ok(true), "it ends by itself");
}

#[test]
fn configurations_that_cannot_be_meant() {
    let good = RedisConfig::default;
    for (member, config) in [
        ("url", RedisConfig { url: "http://a".into(), ..good() }),
        ("url", RedisConfig { url: "redis://".into(), ..good() }),
        ("url", RedisConfig { url: "redis://:secret@a".into(), ..good() }),
        ("url", RedisConfig { url: "redis://a/b".into(), ..good() }),
        ("key", RedisConfig { key: "all".into(), ..good() }),
        ("key", RedisConfig { key: "{other}".into(), ..good() }),
        ("connections", RedisConfig { connections: 0, ..good() }),
        ("password", RedisConfig { user: Some("me".into()), ..good() }),
    ] {
        let refused = config.build().err().unwrap_or_else(|| panic!("{member} was taken"));
        assert_eq!(refused.member, member, "{refused}");
        assert!(!refused.to_string().contains("secret"));
    }
}
