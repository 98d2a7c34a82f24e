//! Where visits come from, as events through the real binary: campaigns, links between sites, referrers, networks.

#![allow(clippy::disallowed_methods)] // it reads and writes files of its own

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use support::{data, fine, json, ouzel};

/// Runs events, one a line, through a configuration, and gives them back enriched, in their order.
fn run(config: &str, preset: &str, input: &Path) -> Vec<Value> {
    let tmp = tempfile::tempdir().expect("a directory");
    let (file, out) = (tmp.path().join("ouzel.toml"), tmp.path().join("out.ndjson"));
    std::fs::write(&file, config).expect("written");
    fine(
        ouzel()
            .args(["run", "--until-idle", "--preset", preset, "--input"])
            .arg(input)
            .arg("--output")
            .arg(&out)
            .arg("-c")
            .arg(&file)
            .arg("--data")
            .arg(tmp.path().join("data")),
    );
    let out = std::fs::read(&out).expect("the output");
    out.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(json).collect()
}

fn run_events(config: &str, events: &[Value]) -> Vec<Value> {
    let tmp = tempfile::tempdir().expect("a directory");
    let input = tmp.path().join("in.ndjson");
    // Every other one as PHP writes JSON.
    let line = |(n, event): (usize, &Value)| match n % 2 {
        0 => format!("{event}\n"),
        _ => format!("{event}\n").replace('/', "\\/"),
    };
    let lines: String = events.iter().enumerate().map(line).collect();
    std::fs::write(&input, lines).expect("written");
    let mut enriched = run(config, "segment", &input);
    // Partitions are written as they come: back into the order of the events.
    enriched.sort_by_key(|event| event["n"].as_u64());
    assert_eq!(enriched.len(), events.len());
    enriched
}

fn vectors(name: &str) -> Vec<Value> {
    let vectors = std::fs::read(data(&format!("vectors/{name}.json"))).expect("readable");
    serde_json::from_slice(&vectors).expect("JSON")
}

/// A page's URL with these parameters; every byte of a value that could mean something is escaped.
fn page(qs: &Value) -> String {
    let escaped = |text: &str| -> String {
        text.bytes()
            .map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
            .collect()
    };
    let pair = |pair: &Value| {
        let name = pair[0].as_str().expect("a name");
        pair[1].as_str().map_or(name.to_owned(), |value| format!("{name}={}", escaped(value)))
    };
    let pairs: Vec<String> = qs.as_array().expect("pairs").iter().map(pair).collect();
    format!("https://www.example.com/page?{}#top", pairs.join("&"))
}

fn event(n: usize, url: &str) -> Value {
    json!({"event": "page", "n": n, "anonymousId": format!("v{n}"), "context": {"page": {"url": url}}})
}

#[test]
fn the_five_cases_of_campaigns_hold_for_events() {
    let cases = vectors("campaign_attribution");
    assert_eq!(cases.len(), 5);
    for (n, case) in cases.iter().enumerate() {
        let list = |member: &str| case["map"].get(member).cloned().unwrap_or(json!([])).to_string();
        let clicks = case["map"]["click_id"].as_object().cloned().unwrap_or_default();
        let clicks: Vec<String> =
            clicks.iter().map(|(parameter, network)| format!("{parameter} = {network}")).collect();
        let config = format!(
            "version = 1\n[campaign]\nsource = {}\nmedium = {}\nname = {}\nterm = {}\ncontent = {}\nclick_ids = {{ {} }}\n",
            list("source"),
            list("medium"),
            list("campaign"),
            list("term"),
            list("content"),
            clicks.join(", ")
        );
        let enriched = run_events(&config, &[event(n, &page(&case["qs"]))]);
        let got = &enriched[0]["enriched"]["campaign"];
        let expected = &case["expected"];
        for (member, theirs) in [
            ("source", "source"),
            ("medium", "medium"),
            ("name", "campaign"),
            ("term", "term"),
            ("content", "content"),
            ("network", "network"),
        ] {
            assert_eq!(got[member], expected[theirs], "{}: {member} of {got}", case["name"]);
        }
        let click_id = got["click_id"].as_object().and_then(|click| click.values().next()).unwrap_or(&Value::Null);
        assert_eq!(click_id, &expected["click_id"], "{}", case["name"]);
        let all_absent = expected.as_object().expect("members").values().all(Value::is_null);
        assert_eq!(got.is_null(), all_absent, "{}: none at all is no member", case["name"]);
        assert_eq!(enriched[0]["enriched"]["status"]["campaign"], Value::Null);
    }
}

#[test]
fn the_seven_cases_of_links_between_sites_hold_for_events() {
    let cases = vectors("cross_domain");
    assert_eq!(cases.len(), 7);
    let events: Vec<Value> = cases.iter().enumerate().map(|(n, case)| event(n, &page(&case["qs"]))).collect();
    for (case, enriched) in cases.iter().zip(run_events("version = 1\n", &events)) {
        let got = &enriched["enriched"]["cross_domain"];
        let status = &enriched["enriched"]["status"]["cross_domain"];
        if case.get("error").is_some() {
            assert_eq!((got, status), (&Value::Null, &json!("error:bad_time")), "{case}");
            continue;
        }
        assert_eq!(got["visitor"], case["expected"][0], "{case}");
        // 2015-03-13 11:19:21.368 in theirs, RFC 3339 in ours.
        let time = case["expected"][1].as_str().map(|time| format!("{}000Z", time.replace(' ', "T")));
        assert_eq!(got["time"].as_str(), time.as_deref(), "{case}");
        assert_eq!(got.is_null(), case["expected"][0].is_null(), "{case}");
        assert_eq!(status, &Value::Null, "{case}");
    }
}

#[test]
fn defaults_and_what_events_say_themselves() {
    let with = |n: usize, url: Value, referrer: Value, campaign: Value| {
        json!({"event": "page", "n": n, "anonymousId": format!("v{n}"),
            "context": {"page": {"url": url, "referrer": referrer}, "campaign": campaign}})
    };
    let shop = "https://shop.example/p?mkt_source=mail&fbclid=f%2F1";
    let events = [
        with(
            0,
            json!(shop),
            json!("https://www.google.com/search?q=blue+shoes"),
            json!({"source": "s", "medium": "email"}),
        ),
        with(1, json!("https://shop.example/"), json!("https://www.shop.example/cart"), Value::Null),
        with(2, json!("https://shop.example/"), Value::Null, json!({"name": "spring"})),
        with(3, Value::Null, Value::Null, Value::Null),
        with(4, json!("https://shop.example/"), json!("https://help.other.example/"), Value::Null),
        with(5, json!("https://shop.example/"), json!("android-app://com.google.android.gm/"), Value::Null),
        with(6, json!("https://shop.example/"), json!("https://blog.example.net/"), Value::Null),
        with(7, json!("https://shop.example/"), json!("https://intra.example/"), Value::Null),
    ];
    let tmp = tempfile::tempdir().expect("a directory");
    let table = tmp.path().join("referers.yml");
    std::fs::write(&table, "partner:\n  Blog:\n    domains:\n      - blog.example.net\n").expect("written");
    let config = format!(
        "version = 1\n[referrer]\nfile = {table:?}\ninternal = [\"other.example\", \"www.intra.example\"]\n[enrich]\nstatus = \"not_ok\"\n"
    );
    let referrers = [
        json!({"medium": "search", "source": "Google", "term": "blue shoes"}),
        json!({"medium": "internal"}),
        json!({"medium": "direct"}),
        Value::Null,
        json!({"medium": "internal"}),
        json!({"medium": "email", "source": "Gmail"}),
        json!({"medium": "partner", "source": "Blog"}),
        json!({"medium": "internal"}),
    ];
    let campaigns = [
        json!({"source": "mail", "medium": "email", "network": "Facebook", "click_id": {"fbclid": "f/1"}}),
        Value::Null,
        json!({"name": "spring"}),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ];
    for (n, event) in run_events(&config, &events).iter().enumerate() {
        let member = &event["enriched"];
        assert_eq!((&member["referrer"], &member["campaign"]), (&referrers[n], &campaigns[n]), "{event}");
        for silent in ["referrer", "campaign", "cross_domain"] {
            assert_eq!(member["status"][silent], Value::Null, "{event}");
        }
        assert!(member["data_versions"]["referrer"].as_str().expect("a version").starts_with("referers-"), "{event}");
    }
}

#[test]
fn a_real_web_log_with_its_networks_and_referrers() {
    let list = |name: &str| format!("{:?}", data(&format!("network/flags/{name}.txt")));
    let config = format!(
        "version = 1\n[referrer]\ninternal = [\"semicomplete.com\"]\n[network]\nasn = [{:?}]\nproxy = [{}, {}]\nsatellite = [{}]\n\
         hostile = [{}]\nanycast = [{}]\n",
        data("network/asn/asn-ipv4.csv.gz"),
        list("anonymous-proxy.v4"),
        list("anonymous-proxy.v6"),
        list("satellite-provider.v4"),
        list("drop.v4"),
        list("anycast.v4"),
    );
    let events = run(&config, "access-log", &data("weblogs/apache_logs"));
    assert_eq!(events.len(), 10_000);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        let member = &event["enriched"];
        let network = &member["network"];
        assert_eq!(network.is_null(), member["status"]["network"] == "miss", "{event}");
        if !network.is_null() {
            *counts.entry(format!("kind {}", network["kind"])).or_default() += 1;
        }
        // The preset's referrer is what the line says; its own idea of direct and internal is looked at here.
        let referrer = event["referrer"].as_str().unwrap_or("-");
        let host = referrer.split('/').nth(2).unwrap_or_default().to_lowercase();
        let own = host == "semicomplete.com" || host.ends_with(".semicomplete.com");
        let medium = member["referrer"]["medium"].as_str().expect("every line has a medium");
        assert_eq!(medium == "direct", referrer == "-" || referrer.is_empty(), "{event}");
        assert_eq!(medium == "internal", own, "{event}");
        *counts.entry(format!("medium {medium}")).or_default() += 1;
        if let Some(source) = member["referrer"]["source"].as_str() {
            *counts.entry(format!("from {source}")).or_default() += 1;
        }
    }
    println!("{counts:#?}");
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    assert_eq!(count("medium direct"), 4_073);
    assert!(count("from Google") > 500 && count("from DuckDuckGo") >= 14 && count("from Stack Overflow") >= 34);
    assert!(count("kind \"hosting\"") > 500 && count("kind \"unknown\"") > 3_000);
}
