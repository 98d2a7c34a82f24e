//! Lookups by name, before a directory whose answers the tests decide.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flow::Status;
use lookup::{Asked, Asking, Directory, Hear, Key, Listed, Origin, Tier, Told};
use ouzel_door::http::Limits;
use serde_json::{Value, json};

use crate::client::{Answer, Client, request};
use crate::fake::World;

/// `users` takes one text, `pairs` two. What is known of a key, its first text says.
#[derive(Default)]
pub struct Lookups {
    users: Users,
}

/// Keys, the deadline, and who hears.
type Wait = (Vec<Key>, u64, Hear);

#[derive(Default)]
pub struct Users {
    /// Asks that wait for [`Users::tell`].
    waiting: Arc<Mutex<Vec<Wait>>>,
    gone: Arc<AtomicUsize>,
}

impl Directory for Lookups {
    fn find(&self, name: &str) -> Option<Listed<'_>> {
        let parameters = match name {
            "users" => 1,
            "pairs" => 2,
            _ => return None,
        };
        Some(Listed { asked: &self.users, parameters, deadline: Duration::from_millis(40) })
    }

    fn names(&self) -> Vec<&str> {
        vec!["users", "pairs"]
    }
}

fn first(key: &[u8]) -> &str {
    let len = u32::from_le_bytes(key[..4].try_into().expect("a length")) as usize;
    std::str::from_utf8(&key[4..4 + len]).expect("text")
}

impl Asked for Users {
    fn known(&self, key: &[u8], out: &mut Vec<u8>) -> Option<(Status, Origin)> {
        let origin = Origin { tier: Tier::Local, age_us: 2_500 };
        // What is appended does not count without a value.
        out.extend_from_slice(b"{\"name\":\"Ada\"}");
        match first(key) {
            "nobody" => Some((Status::Miss, origin)),
            "bad" => Some((Status::Error("many_rows"), origin)),
            text if text.starts_with("slow") => None,
            _ => Some((Status::Ok, origin)),
        }
    }

    fn ask(&self, keys: Vec<Key>, deadline: u64, hear: Hear) -> Asking {
        self.waiting.lock().unwrap().push((keys, deadline, hear));
        Box::new(Gone(Arc::clone(&self.gone)))
    }
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Users {
    fn asks(&self) -> usize {
        self.waiting.lock().unwrap().len()
    }

    /// Settles the oldest ask, its last key first.
    fn tell(&self, told: impl Fn(&str) -> Told<'static>) -> u64 {
        let (keys, deadline, hear) = self.waiting.lock().unwrap().remove(0);
        keys.iter().enumerate().rev().for_each(|(place, key)| hear(place, told(first(key))));
        deadline
    }
}

fn world(limit: impl FnOnce(&mut Limits)) -> (World, Arc<Lookups>) {
    let (world, lookups) = (World::with(limit), Arc::new(Lookups::default()));
    assert!(world.site.lookups.set(Arc::clone(&lookups) as _).is_ok());
    (world, lookups)
}

fn post(client: &mut Client, name: &str, body: &str) -> Answer {
    client.request("POST", &format!("/v1/lookup/{name}"), &[], body.as_bytes())
}

fn told(status: Status, json: &'static str) -> Told<'static> {
    Told { status, json: json.as_bytes(), origin: Some(Origin { tier: Tier::Source, age_us: 7_999 }) }
}

#[test]
fn what_is_known_is_answered_in_the_order_of_the_keys() {
    let (world, _) = world(|_| {});
    let mut client = Client::new(world.addr);
    let answer = post(&mut client, "users", r#"{"keys":["ada","nobody",7,"bad"]}"#);
    let ada = json!({"name": "Ada"});
    let expected = json!({"results": [
        {"key": "ada", "status": "ok", "value": ada, "age_ms": 2, "tier": "local"},
        {"key": "nobody", "status": "miss", "age_ms": 2, "tier": "local"},
        {"key": 7, "status": "ok", "value": ada, "age_ms": 2, "tier": "local"},
        {"key": "bad", "status": "error:many_rows", "age_ms": 2, "tier": "local"},
    ]});
    assert_eq!((answer.status, answer.json()), (200, expected));
    let answer = post(&mut client, "pairs", r#"{"keys":[["a\u0062", 1]]}"#);
    assert_eq!(answer.json()["results"][0]["key"], json!(["ab", 1]));
    assert_eq!((world.counters.lookup_keys.value(), world.counters.lookups.count()), (5, 2));
}

#[test]
fn what_is_not_known_is_asked_for_once_and_put_in_its_place() {
    let (world, lookups) = world(|_| {});
    let mut client = Client::new(world.addr);
    let body = r#"{"keys":["slow1","ada","slow2","slow3"],"deadline_ms":9000}"#;
    client.send(request("POST", "/v1/lookup/users", &[], body.as_bytes()));
    world.until("it is asked", || lookups.users.asks() == 1);
    let deadline = lookups.users.tell(|key| match key {
        "slow1" => told(Status::Ok, "[1]"),
        "slow2" => told(Status::Stale(9), "2"),
        _ => Told { status: Status::Timeout, json: &[], origin: None },
    });
    let answer = client.read().expect("an answer").json();
    let expected = json!({"results": [
        {"key": "slow1", "status": "ok", "value": [1], "age_ms": 7, "tier": "source"},
        {"key": "ada", "status": "ok", "value": {"name": "Ada"}, "age_ms": 2, "tier": "local"},
        {"key": "slow2", "status": "stale:9s", "value": 2, "age_ms": 7, "tier": "source"},
        {"key": "slow3", "status": "timeout"},
    ]});
    assert_eq!(answer, expected);
    assert!(deadline >= 9_000_000, "{deadline}");
    assert_eq!(lookups.users.gone.load(SeqCst), 1);
}

#[test]
fn requests_on_one_connection_are_answered_in_their_order() {
    let (world, lookups) = world(|_| {});
    let mut client = Client::new(world.addr);
    let one = |key: &str| request("POST", "/v1/lookup/users", &[], format!("{{\"keys\":[\"{key}\"]}}").as_bytes());
    client.send([one("slow"), one("ada"), one("nobody")].concat());
    world.until("it is asked", || lookups.users.asks() == 1);
    lookups.users.tell(|_| told(Status::Miss, ""));
    let statuses = [(); 3].map(|()| client.read().expect("an answer").json()["results"][0]["status"].clone());
    assert_eq!(statuses, ["miss", "ok", "miss"]);
}

#[test]
fn whoever_hangs_up_takes_his_asks_with_him() {
    let (world, lookups) = world(|_| {});
    let mut client = Client::new(world.addr);
    client.send(request("POST", "/v1/lookup/users", &[], br#"{"keys":["slow"]}"#));
    world.until("it is asked", || lookups.users.asks() == 1);
    drop(client);
    world.until("it is cancelled", || lookups.users.gone.load(SeqCst) == 1);
}

#[test]
fn what_cannot_be_asked_is_told_with_its_place() {
    let (world, _) = world(|l| l.batch_bytes = 20_000);
    let mut client = Client::new(world.addr);
    let bad = |answer: Answer| (answer.status, answer.json()["code"].clone(), answer.json()["pointer"].clone());
    let many = format!("{{\"keys\":[{}1]}}", "1,".repeat(1_000));
    let cases = [
        ("users", r#"{"keys":["a",null]}"#, 400, "bad_body", json!("/keys/1")),
        ("pairs", r#"{"keys":["a"]}"#, 400, "bad_body", json!("/keys/0")),
        ("users", "", 400, "bad_body", json!("")),
        ("users", &many, 413, "too_many_keys", Value::Null),
        ("users", &"1".repeat(20_001), 413, "batch_too_large", Value::Null),
    ];
    for (name, body, status, code, pointer) in cases {
        assert_eq!(bad(post(&mut client, name, body)), (status, json!(code), pointer), "{code}");
    }
    let answer = post(&mut client, "user", r#"{"keys":["a"]}"#);
    assert_eq!((answer.status, &answer.json()["lookups"]), (404, &json!(["users", "pairs"])));
    assert!(answer.json()["message"].as_str().is_some_and(|text| text.contains("there are users, pairs")));
    assert_eq!(client.get("/v1/lookup/users").status, 405);
    let coded = client.request("POST", "/v1/lookup/users", &[("content-encoding", "br")], b"x");
    assert_eq!(coded.status, 415);
}

#[test]
fn when_too_much_is_asked_for_the_rest_comes_back_later() {
    let (world, lookups) = world(|l| l.lookup_keys = 3);
    let mut first = Client::new(world.addr);
    first.send(request("POST", "/v1/lookup/users", &[], br#"{"keys":["slow1","slow2"]}"#));
    world.until("it is asked", || lookups.users.asks() == 1);
    let mut second = Client::new(world.addr);
    let shed = post(&mut second, "users", r#"{"keys":["slow3","slow4"]}"#);
    assert_eq!((shed.status, shed.header("retry-after"), &shed.json()["code"]), (503, Some("1"), &json!("overloaded")));
    assert_eq!(post(&mut second, "users", r#"{"keys":["ada"]}"#).status, 200, "what is known is no ask");
    lookups.users.tell(|_| told(Status::Ok, "1"));
    assert_eq!(first.read().expect("an answer").status, 200);

    // The source's own desk is full.
    let full = || Told { status: Status::Error("overloaded"), json: &[], origin: None };
    for (body, status) in [(r#"{"keys":["slow1","slow2"]}"#, 503), (r#"{"keys":["ada","slow1"]}"#, 200)] {
        first.send(request("POST", "/v1/lookup/users", &[], body.as_bytes()));
        world.until("it is asked", || lookups.users.asks() == 1);
        lookups.users.tell(|_| full());
        assert_eq!(first.read().expect("an answer").status, status, "{body}");
    }
    assert_eq!(world.counters.lookups_shed.value(), 2);
}
