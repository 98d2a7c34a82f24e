//! Agents as events through the real binary: browsers, systems and kinds of devices, and which of them are programs.

#![allow(clippy::disallowed_methods)] // it reads and writes files of its own

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{data, fine, json, ouzel};

/// Runs events through a configuration, and gives them back enriched, in their order.
fn run(config: &str, events: &[Value]) -> Vec<Value> {
    let tmp = tempfile::tempdir().expect("a directory");
    let [file, input, out] = ["ouzel.toml", "in.ndjson", "out.ndjson"].map(|name| tmp.path().join(name));
    std::fs::write(&file, config).expect("written");
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    std::fs::write(&input, lines).expect("written");
    fine(
        ouzel()
            .args(["run", "--until-idle", "--input"])
            .arg(&input)
            .arg("--output")
            .arg(&out)
            .arg("-c")
            .arg(&file)
            .arg("--data")
            .arg(tmp.path().join("data")),
    );
    let out = std::fs::read(&out).expect("the output");
    let mut enriched: Vec<Value> = out.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(json).collect();
    // Partitions are written as they come: back into the order of the events.
    enriched.sort_by_key(|event| event["n"].as_u64());
    assert_eq!(enriched.len(), events.len());
    enriched
}

fn event(n: usize, agent: &str) -> Value {
    json!({"event": "look", "n": n, "anonymousId": format!("v{n}"), "context": {"userAgent": agent}})
}

fn with_files() -> String {
    let (rules, list) = (data("ua/regexes.yaml"), data("bots/crawler-user-agents.json"));
    format!("version = 1\n[device]\nrules = {rules:?}\n[bot]\ncrawlers = {list:?}\n")
}

/// The cases of a `test_*.yaml` of uap-core: its texts by their names.
fn cases(path: &str) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(data(path)).expect("readable");
    let mut cases: Vec<BTreeMap<String, String>> = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("- ") {
            cases.push(BTreeMap::new());
        }
        let (Some(case), Some((key, value))) = (cases.last_mut(), line.trim_start_matches("- ").split_once(':')) else {
            continue;
        };
        let value = value.trim();
        let double = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).map(str::to_owned);
        let single = || Some(value.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"));
        assert!(value.is_empty() || value.starts_with(['\'', '"']), "a text of another shape: {line}");
        case.insert(key.to_owned(), double.or_else(single).unwrap_or_default());
    }
    cases
}

/// All parts of a version that a case names, joined. A case that does not name the fourth says nothing of it.
fn version_fits(case: &BTreeMap<String, String>, got: &Value) -> bool {
    let parts = ["major", "minor", "patch", "patch_minor"];
    let given = parts.iter().map_while(|part| case.get(*part)).take_while(|part| !part.is_empty());
    let expected = given.cloned().collect::<Vec<_>>().join(".");
    let got = got.as_str().unwrap_or_default();
    got == expected
        || !case.contains_key("patch_minor") && got.strip_prefix(&expected).is_some_and(|r| r.starts_with('.'))
}

#[test]
fn every_published_browser_and_system() {
    let (browsers, systems) = (cases("ua/test_ua.yaml"), cases("ua/test_os.yaml"));
    assert_eq!((browsers.len(), systems.len()), (1_601, 483));
    let all: Vec<_> = browsers.iter().chain(&systems).collect();
    let events: Vec<Value> = all.iter().enumerate().map(|(n, case)| event(n, &case["user_agent_string"])).collect();
    let enriched = run(&with_files(), &events);
    let mut wrong = Vec::new();
    for (n, (case, event)) in all.iter().zip(&enriched).enumerate() {
        let device = &event["enriched"]["device"];
        let (name, version) = if n < browsers.len() { ("browser", "browser_version") } else { ("os", "os_version") };
        if device[name] != case["family"] || !version_fits(case, &device[version]) {
            wrong.push(format!("{}: {case:?}, not {device}", case["user_agent_string"]));
        }
        let is_bot = event["enriched"]["bot"]["is_bot"].as_bool().expect("a verdict");
        assert_eq!(device["kind"] == "bot", is_bot, "{event}");
        assert_eq!(event["enriched"]["status"]["device"], Value::Null, "{event}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    let versions = &enriched[0]["enriched"]["data_versions"];
    assert!(versions["device"].as_str().is_some_and(|v| v.starts_with("regexes-")), "{versions}");
    assert!(versions["bot"].as_str().is_some_and(|v| v.starts_with("crawler-user-agents-")), "{versions}");
}

#[test]
fn every_published_crawler_is_a_bot_with_its_tag() {
    let list = json(&std::fs::read(data("bots/crawler-user-agents.json")).expect("readable"));
    let entries = list.as_array().expect("a list").iter();
    let examples: Vec<(&str, &Value)> = entries
        .flat_map(|e| {
            e["instances"].as_array().expect("examples").iter().map(|a| (a.as_str().expect("text"), &e["tags"]))
        })
        .collect();
    assert_eq!(examples.len(), 2_122);
    let events: Vec<Value> = examples.iter().enumerate().map(|(n, (agent, _))| event(n, agent)).collect();
    for ((agent, tags), event) in examples.iter().zip(run(&with_files(), &events)) {
        let bot = &event["enriched"]["bot"];
        assert_eq!(bot["is_bot"], true, "{agent}: {event}");
        assert_eq!(bot["reasons"][0], "crawler_list", "{agent}: {event}");
        let has = bot["tags"].as_array().expect("tags");
        assert!(tags.as_array().expect("tags").iter().all(|tag| has.contains(tag)), "{tags} of {agent}: {bot}");
        assert!(bot["name"].as_str().is_some_and(|name| !name.is_empty()), "{agent}: {bot}");
        assert_eq!(event["enriched"]["device"]["kind"], "bot", "{agent}: {event}");
    }
}

const PHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                     Version/18.6 Mobile/15E148 Safari/604.1";
const NEW_BOT: &str = "Mozilla/5.0 (compatible; NewBot/1.0; +https://example.org/bot)";

#[test]
fn without_files_kinds_are_told_and_agents_are_judged_all_the_same() {
    let enriched = run("version = 1\n", &[event(0, PHONE), event(1, NEW_BOT), event(2, "")]);
    let of = |n: usize, member: &str| enriched[n]["enriched"][member].clone();
    assert_eq!((of(0, "device"), of(0, "bot")), (json!({"kind": "mobile"}), json!({"is_bot": false})));
    let bot = json!({"is_bot": true, "name": "NewBot", "tags": [], "reasons": ["says_so", "impossible_agent"]});
    assert_eq!((of(1, "device"), of(1, "bot")), (json!({"kind": "bot"}), bot));
    // An empty agent is asked about by nobody.
    assert_eq!((of(2, "device"), of(2, "bot")), (Value::Null, Value::Null));
    let skipped = of(2, "status");
    assert_eq!((&skipped["device"], &skipped["bot"]), (&json!("skipped"), &json!("skipped")));
    let versions = of(0, "data_versions");
    assert_eq!((&versions["device"], &versions["bot"]), (&Value::Null, &Value::Null));
    assert!(versions.as_object().is_some_and(|v| v.contains_key("device") && v.contains_key("bot")), "{versions}");
}

#[test]
fn the_network_supports_a_suspicion_and_raises_none() {
    let tmp = tempfile::tempdir().expect("a directory");
    let lists = [("hosting", "8.8.8.0/24\n8.8.4.0/24\n"), ("proxy", "9.9.9.9\n"), ("hostile", "8.8.4.0/24\n7.7.7.7\n")];
    let mut config = with_files() + "[network]\n";
    for (kind, networks) in lists {
        let path = tmp.path().join(kind);
        std::fs::write(&path, networks).expect("written");
        config += &format!("{kind} = [{path:?}]\n");
    }
    // Address, agent (`None`: the field is not there), reasons beyond those of the agent; `None`: no verdict.
    type Case = (&'static str, Option<&'static str>, Option<&'static [&'static str]>);
    let table: [Case; 15] = [
        ("8.8.8.8", Some(PHONE), Some(&[])),
        ("8.8.4.4", Some(PHONE), Some(&[])),
        ("1.1.1.1", Some("curl/8.5.0"), Some(&["crawler_list", "http_client", "impossible_agent"])),
        ("8.8.8.8", Some("curl/8.5.0"), Some(&["crawler_list", "http_client", "impossible_agent", "hosting_network"])),
        ("9.9.9.9", Some("curl/8.5.0"), Some(&["crawler_list", "http_client", "impossible_agent", "hosting_network"])),
        (
            "8.8.4.4",
            Some("curl/8.5.0"),
            Some(&["crawler_list", "http_client", "impossible_agent", "hosting_network", "hostile_network"]),
        ),
        // A missing agent is one reason of two, whether the field is empty or not there.
        ("1.1.1.1", Some(""), None),
        ("1.1.1.1", None, None),
        ("", None, None),
        ("9.9.9.9", Some(""), None),
        ("8.8.8.8", Some(""), Some(&["no_agent", "hosting_network"])),
        ("8.8.8.8", None, Some(&["no_agent", "hosting_network"])),
        ("8.8.4.4", Some(" - "), Some(&["no_agent", "hosting_network", "hostile_network"])),
        ("7.7.7.7", Some("-"), Some(&["no_agent", "hostile_network"])),
        ("", Some("curl/8.5.0"), Some(&["crawler_list", "http_client", "impossible_agent"])),
    ];
    let events: Vec<Value> = table
        .iter()
        .enumerate()
        .map(|(n, (ip, agent, _))| {
            let mut context = serde_json::Map::new();
            if !ip.is_empty() {
                context.insert("ip".to_owned(), json!(ip));
            }
            if let Some(agent) = agent {
                context.insert("userAgent".to_owned(), json!(agent));
            }
            json!({"event": "look", "n": n, "anonymousId": format!("v{n}"), "context": context})
        })
        .collect();
    for ((ip, agent, reasons), event) in table.iter().zip(run(&config, &events)) {
        let bot = &event["enriched"]["bot"];
        match reasons {
            None => assert_eq!(
                (bot, &event["enriched"]["status"]["bot"]),
                (&Value::Null, &json!("skipped")),
                "{ip} {agent:?}: {event}"
            ),
            Some([]) => assert_eq!(*bot, json!({"is_bot": false}), "{ip} {agent:?}"),
            Some(reasons) => {
                assert_eq!(
                    (&bot["is_bot"], &bot["reasons"]),
                    (&json!(true), &json!(reasons)),
                    "{ip} {agent:?}: {event}"
                );
            }
        }
    }
}

/// Escapes, bytes beyond ASCII, more than is looked at, and none.
#[test]
fn odd_agents() {
    let long = format!("{PHONE} {}", "é".repeat(2_000));
    let late = format!("{PHONE} {} NewBot/1.0 (+https://example.org)", "x".repeat(2_000));
    let quoted = r#"Acme "Best\Browser" 漢字/2 (Windows NT 10.0)"#;
    let mut events = vec![event(0, &long), event(1, &late), event(2, quoted)];
    let mut none = event(3, "");
    none["context"]["userAgent"] = json!(null);
    events.push(none);
    let enriched = run(&with_files(), &events);
    for event in &enriched[..2] {
        let member = &event["enriched"];
        assert_eq!(
            (&member["device"]["kind"], &member["bot"]["is_bot"]),
            (&json!("mobile"), &json!(false)),
            "{member}"
        );
        assert_eq!(member["device"]["browser"], "Mobile Safari");
    }
    assert_eq!(enriched[2]["enriched"]["device"]["kind"], "desktop");
    assert_eq!(enriched[2]["context"]["userAgent"], quoted);
    let status = &enriched[3]["enriched"]["status"];
    assert_eq!((&status["device"], &status["bot"]), (&json!("skipped"), &json!("skipped")));
}
