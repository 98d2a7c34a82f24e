//! The operator's own tables on events, through the real binary: keys, conditions, order, and files that are replaced while
//! events flow.

#![allow(clippy::disallowed_methods)] // it writes the files that are looked up in

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Running, data, fine, json as parsed, output, ouzel, text};

struct Place {
    tmp: tempfile::TempDir,
}

impl Place {
    fn new(config: &str) -> Place {
        let place = Place { tmp: tempfile::tempdir().expect("a directory") };
        place.file("ouzel.toml", &format!("version = 1\n{config}"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        fs::write(self.path(name), content).expect("written");
        self.path(name)
    }

    fn lines(&self, name: &str, events: &[Value]) {
        let lines: String = events.iter().map(|e| format!("{e}\n")).collect();
        self.file(name, &lines);
    }

    /// Runs to the end of its inputs, and gives the enriched events by id.
    fn run(&self) -> BTreeMap<String, Value> {
        let mut command = ouzel();
        command.args(["run", "--until-idle", "--json", "--listen", "127.0.0.1:0", "-c"]).arg(self.path("ouzel.toml"));
        fine(command.arg("--data").arg(self.path("data")));
        self.enriched()
    }

    fn enriched(&self) -> BTreeMap<String, Value> {
        let mut tail = ouzel();
        tail.args(["tail", "enriched", "--from", "start", "--data"]).arg(self.path("data"));
        let out = fine(&mut tail);
        let events = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(parsed);
        events.map(|e| (e["messageId"].as_str().expect("an id").to_owned(), e["enriched"].clone())).collect()
    }
}

/// The story of the documentation: a user's plan, and what the plan is worth.
#[test]
fn what_one_lookup_finds_another_looks_up() {
    let place = Place::new(
        r#"
        [[source]]
        name = "app"
        kind = "file"
        path = "events.ndjson"

        # Reads what `user` wrote, and stands before it: the order is told by what each reads.
        [[lookup]]
        name = "plan"
        kind = "file"
        path = "plans.csv"
        key = "enriched.user.plan"
        columns = ["price", "seats"]

        [[lookup]]
        name = "user"
        kind = "file"
        path = "users.ndjson"
        key_column = "user_id"
        key = "event.user"
        when = "event.user != null"
        "#,
    );
    place.file("users.ndjson", "{\"user_id\":42,\"plan\":\"pro\"}\n{\"user_id\":\"u-7\",\"plan\":null,\"vip\":true}\n{\"user_id\":\"u-8\",\"plan\":\"old\"}\n{\"user_id\":\"u-9\",\"plan\":\"pro\"}\n{\"user_id\":\"u-9\",\"plan\":\"free\"}\n");
    place.file("plans.csv", "plan,price,seats,note\npro,\"12,50\",5,\"two\nlines\"\nfree,0,1,\n");
    let event = |id: &str, user: Value| json!({"messageId": id, "type": "track", "event": "Opened", "userId": user, "anonymousId": "a"});
    place.lines(
        "events.ndjson",
        &[
            event("number", json!(42)),
            event("text", json!("42")),
            event("no plan", json!("u-7")),
            event("other plan", json!("u-8")),
            event("two rows", json!("u-9")),
            event("stranger", json!("u-0")),
            event("nobody", json!(null)),
            event("list", json!("")),
        ],
    );
    let enriched = place.run();
    let of = |id: &str| {
        let e = &enriched[id];
        let status = |name: &str| e["status"].get(name).and_then(Value::as_str).unwrap_or("ok").to_owned();
        (status("user"), e.get("user").cloned(), status("plan"), e.get("plan").cloned())
    };
    let is = |user: &str, user_row: Value, plan: &str, plan_row: Value| {
        let row = |row: Value| Some(row).filter(|r| !r.is_null());
        (user.to_owned(), row(user_row), plan.to_owned(), row(plan_row))
    };
    let pro = json!({"price": "12,50", "seats": "5"});
    assert_eq!(of("number"), is("ok", json!({"user_id": 42, "plan": "pro"}), "ok", pro.clone()));
    assert_eq!(of("text"), is("ok", json!({"user_id": 42, "plan": "pro"}), "ok", pro));
    assert_eq!(of("no plan"), is("ok", json!({"user_id": "u-7", "plan": null, "vip": true}), "skipped", Value::Null));
    assert_eq!(of("other plan"), is("ok", json!({"user_id": "u-8", "plan": "old"}), "miss", Value::Null));
    assert_eq!(of("two rows"), is("error:many_rows", Value::Null, "skipped", Value::Null));
    assert_eq!(of("stranger"), is("miss", Value::Null, "skipped", Value::Null));
    assert_eq!(of("nobody"), is("skipped", Value::Null, "skipped", Value::Null));
    let versions = &enriched["number"]["data_versions"];
    let version = |name: &str| versions[name].as_str().expect("a version").to_owned();
    assert!(version("user").starts_with("users-") && version("plan").starts_with("plans-"), "{versions}");
    assert_eq!(enriched["nobody"]["data_versions"], *versions);
}

/// Fields that two sources' maps number differently, pointers into nested members, and what stands in a batch.
#[test]
fn keys_and_conditions_read_what_each_source_maps() {
    let place = Place::new(
        r#"
        [[source]]
        name = "shop"
        kind = "file"
        path = "shop.ndjson"
        map = { tenant = "/account/tenant", amount = "/properties/amount" }

        [[source]]
        name = "app"
        kind = "file"
        path = "app.ndjson"
        map = { screen = "/context/screen", tenant = "/tenant" }

        [[lookup]]
        name = "tenant"
        kind = "file"
        path = "tenants.csv"
        key = "event.tenant"
        when = "event.source == \"shop\" || event.screen in [\"home\", \"cart\"]"

        [[lookup]]
        name = "listing"
        kind = "file"
        path = "listings.csv"
        key = "/properties/listing/id"
        when = "event.amount == null || event.amount >= 10"

        [[lookup]]
        name = "seller"
        kind = "file"
        path = "sellers.csv"
        key = "enriched.listing.seller"
        when = 'event["/properties/listing/kind"] != "own" && enriched.tenant.tier.startsWith("g")'
        "#,
    );
    place.file("tenants.csv", "tenant,tier\nt1,gold\nt2,silver\n");
    place.file("listings.csv", "id,seller\n7,s1\n8,s2\n");
    place.file("sellers.csv", "seller,since\ns1,2019\n");
    let event = |id: &str, more: Value| {
        let mut event = json!({"messageId": id, "type": "track", "userId": "u"});
        more.as_object().expect("members").iter().for_each(|(k, v)| event[k] = v.clone());
        event
    };
    place.lines("shop.ndjson", &[
        event("1", json!({"account": {"tenant": "t1"}, "properties": {"amount": 10.0, "listing": {"id": 7, "kind": "new"}}})),
        event("2", json!({"account": {"tenant": "t2"}, "properties": {"amount": 9.99, "listing": {"id": 7}}})),
        event("3", json!({"account": {"tenant": "t1"}, "properties": {"amount": "10", "listing": {"id": "7", "kind": "own"}}})),
        event("4", json!({"account": {"tenant": ["t1"]}, "properties": {"listing": {"id": {}}}})),
    ]);
    place.lines(
        "app.ndjson",
        &[
            event("5", json!({"tenant": "t1", "context": {"screen": "home"}, "properties": {"listing": {"id": "8"}}})),
            event("6", json!({"tenant": "t1", "context": {"screen": "help"}})),
            event("7", json!({"tenant": "t1", "context": {"screen": {"name": "cart"}}})),
            event("8", json!({"tenant": "k".repeat(1025), "context": {"screen": "cart"}})),
        ],
    );
    let enriched = place.run();
    let statuses: Vec<[String; 3]> = enriched
        .values()
        .map(|e| {
            ["tenant", "listing", "seller"]
                .map(|name| e["status"].get(name).and_then(Value::as_str).unwrap_or("ok").to_owned())
        })
        .collect();
    assert_eq!(
        statuses,
        [
            ["ok", "ok", "ok"],
            ["ok", "skipped", "skipped"],
            // A text is not compared with a number.
            ["ok", "error:condition", "skipped"],
            ["error:bad_key", "error:bad_key", "error:condition"],
            ["ok", "ok", "miss"],
            ["skipped", "skipped", "error:condition"],
            ["skipped", "skipped", "error:condition"],
            ["error:bad_key", "skipped", "error:condition"],
        ]
    );
    assert_eq!(enriched["1"]["seller"], json!({"seller": "s1", "since": "2019"}));
    assert_eq!(enriched["5"]["tenant"], json!({"tenant": "t1", "tier": "gold"}));
}

/// Of an MMDB file too the key may be anything that is an address.
#[test]
fn a_record_of_an_address_that_stands_elsewhere() {
    let place = Place::new("[[source]]\nname = \"app\"\nkind = \"file\"\npath = \"events.ndjson\"\n");
    let config = fs::read_to_string(place.path("ouzel.toml")).expect("text");
    let lookup = |name: &str, more: &str| {
        format!("[[lookup]]\nname = \"{name}\"\nkind = \"mmdb\"\npath = {:?}\n{more}\n", data("geo/country-pddl.mmdb"))
    };
    let lookups = lookup("by_ip", "") + &lookup("by_field", "key = \"/proxy/address\"");
    place.file("ouzel.toml", &(config + &lookups));
    place.lines("events.ndjson", &[
        json!({"messageId": "1", "type": "t", "context": {"ip": "8.8.8.8:80"}, "proxy": {"address": "[2001:4860:4860::8888]:443"}}),
        json!({"messageId": "2", "type": "t", "proxy": {"address": "here"}}),
        json!({"messageId": "3", "type": "t", "context": {"ip": "10.0.0.1"}, "proxy": {"address": 7}}),
    ]);
    let enriched = place.run();
    assert_eq!(enriched["1"]["by_ip"]["country_code"], "US");
    assert_eq!(enriched["1"]["by_field"]["country_code"], "US");
    let status = |id: &str| (enriched[id]["status"]["by_ip"].clone(), enriched[id]["status"]["by_field"].clone());
    assert_eq!(status("2"), (json!("skipped"), json!("error:bad_address")));
    assert_eq!(status("3"), (json!("miss"), json!("error:bad_address")));
}

#[test]
fn a_file_that_is_not_there_is_said_and_taken_when_it_comes() {
    let lookup = "[[lookup]]\nname = \"user\"\nkind = \"file\"\npath = \"users.csv\"\nkey = \"event.user\"\n";
    let place = Place::new(&format!("[enrich]\nreload = \"10ms\"\n{lookup}"));
    let config = place.path("ouzel.toml").display().to_string();
    let running = Running::start(&place.path("data"), &["-c", &config]);
    let ready = || parsed(&running.get("/readyz").1);
    assert!(ready()["degraded"].to_string().contains("a file of `user` is not in use"), "{}", ready());
    let send = |id: &str| running.events(&json!({"messageId": id, "type": "t", "userId": "u"}).to_string());
    assert_eq!(send("1").0, 200);
    running.quiet();
    place.file("users.csv", "id,plan\nu,pro\n");
    let deadline = Instant::now() + Duration::from_secs(30);
    while ready()["degraded"].to_string().contains("`user`") {
        assert!(Instant::now() < deadline, "not taken in 30 s");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(send("2").0, 200);
    running.quiet();
    assert_eq!(running.stop(), 0);
    let enriched = place.enriched();
    assert_eq!(
        (&enriched["1"]["status"]["user"], &enriched["1"]["data_versions"]["user"]),
        (&json!("skipped"), &Value::Null)
    );
    assert_eq!(enriched["2"]["user"], json!({"id": "u", "plan": "pro"}));

    let place = Place::new(&format!("{lookup}required = true\n"));
    let mut command = ouzel();
    command.args(["run", "--until-idle", "-c"]).arg(place.path("ouzel.toml")).arg("--data").arg(place.path("data"));
    let out = output(&mut command);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("users.csv cannot be read"), "{}", text(&out.stderr));
}

/// A file is replaced 50 times, by good versions moved into place and written in place, and by half-written ones that stay
/// for a while, and events flow all the time: every one of them has the row of one good version, the one that its
/// `data_versions` names, and none is lost.
#[test]
fn a_file_that_is_replaced_fifty_times_while_events_flow() {
    const VERSIONS: usize = 50;
    let place = Place::new(
        "[enrich]\nreload = \"10ms\"\n[[lookup]]\nname = \"user\"\nkind = \"file\"\npath = \"users.csv\"\nkey = \"event.user\"\n",
    );
    let rows = |n: usize| -> String {
        let row = |key: usize| format!("u-{key},version {n},\"{}\"\n", "line\n".repeat(key % 3));
        std::iter::once("user,version,note\n".to_owned()).chain((0..200 + n).map(row)).collect()
    };
    let path = place.file("users.csv", &rows(0));
    let config = place.path("ouzel.toml").display().to_string();
    let running = Running::start(&place.path("data"), &["-c", &config]);
    let stop = AtomicBool::new(false);
    let sent: usize = std::thread::scope(|threads| {
        let senders: Vec<_> = (0..2)
            .map(|sender| {
                let (running, stop) = (&running, &stop);
                threads.spawn(move || {
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) {
                        let event = |n: usize| json!({"messageId": format!("{sender}-{n}"), "type": "t", "userId": format!("u-{}", n % 200)});
                        let batch: Vec<Value> = (sent..sent + 20).map(event).collect();
                        let (status, answer) = running.events(&json!({"batch": batch}).to_string());
                        assert_eq!((status, &answer["accepted"]), (200, &json!(20)), "{answer}");
                        sent += 20;
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    sent
                })
            })
            .collect();
        for n in 1..=VERSIONS {
            let (good, beside) = (rows(n), path.with_extension("new"));
            if n % 2 == 0 {
                // In the middle of a row: between two it would be a good file of fewer rows.
                let half = good.len() / 2;
                let cut = half + good[half..].find("version").expect("another row") + 3;
                fs::write(&path, &good[..cut]).expect("written");
                std::thread::sleep(Duration::from_millis(40));
            }
            if n % 3 == 0 {
                fs::write(&path, &good).expect("written");
            } else {
                fs::write(&beside, &good).expect("written");
                fs::rename(&beside, &path).expect("renamed");
            }
            std::thread::sleep(Duration::from_millis(40));
        }
        stop.store(true, Ordering::Relaxed);
        senders.into_iter().map(|s| s.join().expect("no panic")).sum()
    });
    // The last version is taken two looks after it stands still; how soon that is, is the machine's.
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut last = 0;
    let enriched = loop {
        let id = format!("last-{last}");
        last += 1;
        let event = json!({"messageId": id, "type": "t", "userId": "u-0"});
        assert_eq!(running.events(&event.to_string()).0, 200);
        running.quiet();
        let enriched = place.enriched();
        if enriched[&id]["user"]["version"] == format!("version {VERSIONS}") {
            break enriched;
        }
        assert!(Instant::now() < deadline, "the last version is not taken in 30 s: {}", enriched[&id]);
    };
    assert_eq!(running.stop(), 0);
    assert_eq!(enriched.len(), sent + last, "every event once");
    let mut of_version: BTreeMap<String, String> = BTreeMap::new();
    for (id, e) in &enriched {
        assert!(e["status"].get("user").is_none(), "{id}: {e}");
        let version = e["user"]["version"].as_str().expect("a version").to_owned();
        let named = e["data_versions"]["user"].as_str().expect("a name").to_owned();
        assert_eq!(of_version.entry(named).or_insert_with(|| version.clone()), &version, "{id}: {e}");
    }
    let distinct: std::collections::BTreeSet<&String> = of_version.values().collect();
    assert_eq!(distinct.len(), of_version.len(), "one name a version: {of_version:?}");
    assert!(of_version.len() > 10, "events flowed under few versions: {of_version:?}");
}

#[test]
fn a_cycle_is_refused_before_anything_is_made() {
    let lookup = |name: &str, key: &str| {
        format!("[[lookup]]\nname = \"{name}\"\nkind = \"file\"\npath = \"a.csv\"\nkey = \"{key}\"\n")
    };
    let place = Place::new(&(lookup("a", "enriched.b.x") + &lookup("b", "enriched.a.x")));
    for command in ["check", "run"] {
        let mut ran = ouzel();
        ran.current_dir(place.tmp.path()).arg(command);
        let out = output(&mut ran);
        assert_eq!(out.status.code(), Some(2));
        let said = text(if command == "check" && out.stderr.is_empty() { &out.stdout } else { &out.stderr });
        assert!(said.contains("a -> b -> a") && said.contains("ouzel.toml:6:8"), "{said}");
    }
    assert!(!place.path("ouzel-data").exists());
}
