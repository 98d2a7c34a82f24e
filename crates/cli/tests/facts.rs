//! Sources that misbehave, one beside the other, through the real binary: each event goes on with what it has, its status says
//! why the rest is missing, and what else it asks is answered.

#![allow(clippy::disallowed_methods)] // it writes files, and is a source on a port of its own

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};
use support::stub::{say, serve};
use support::{fine, json as parsed, ouzel};

/// How each lookup's source answers, and what its status may be.
const WAYS: [(&str, &[&str]); 14] = [
    ("well", &["ok"]),
    ("missing", &["miss"]),
    ("down", &["error:connection", "timeout", "open"]),
    ("silent", &["timeout", "open"]),
    ("drip", &["timeout", "open"]),
    ("prose", &["error:bad_value", "timeout", "open"]),
    ("huge", &["error:too_large", "timeout", "open"]),
    ("reset", &["error:connection", "timeout", "open"]),
    ("certificate", &["error:connection", "timeout", "open"]),
    ("limited", &["error:rate_limited", "timeout", "open"]),
    ("broken", &["error:unavailable", "timeout", "open"]),
    ("empty", &["error:bad_value", "timeout", "open"]),
    ("moved", &["error:refused", "timeout", "open"]),
    ("refused", &["error:refused", "timeout", "open"]),
];

fn answer(path: &str, stream: &mut TcpStream) -> bool {
    match path.split('/').nth(1).unwrap_or_default() {
        "well" => say(stream, "200 OK", "", json!({"path": path}).to_string().as_bytes()),
        "missing" => say(stream, "404 Not Found", "", b"<h1>no</h1>"),
        "silent" => {
            sleep(Duration::from_secs(20));
            false
        }
        "drip" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                sleep(Duration::from_millis(20));
            }
            false
        }
        "prose" => say(stream, "200 OK", "", b"all is well"),
        "huge" => say(stream, "200 OK", "", &[b"\"", &vec![b'x'; 10 << 20][..], b"\""].concat()),
        "limited" => say(stream, "429 Too Many Requests", "retry-after: 30\r\n", b"later"),
        "broken" => say(stream, "500 Internal Server Error", "", b"{}"),
        "empty" => say(stream, "200 OK", "", b""),
        "moved" => say(stream, "302 Found", "location: http://169.254.169.254/\r\n", b""),
        "refused" => say(stream, "403 Forbidden", "", b"{}"),
        // `reset`, and whatever speaks TLS.
        _ => false,
    }
}

/// Events, one of them with a key that is to be bound and not pasted, one with a key that nobody takes.
fn events() -> Vec<Value> {
    let mut keys: Vec<String> = (0..40).map(|n| format!("k-{n}")).collect();
    keys.push("'; DROP TABLE users; --\"\\ \u{1} ü/%2e?x=1#&\n\r\n".to_owned());
    keys.push("a/../b".to_owned());
    keys.push("x".repeat(2_000));
    keys.iter().map(|key| json!({"type": "view", "q": key})).collect()
}

#[test]
fn whatever_a_source_does_events_go_on_and_say_why() {
    let addr = serve(answer);
    let dir = tempfile::tempdir().expect("a directory");
    let lookup = |name: &str| {
        let (scheme, at) = match name {
            // Nobody listens there.
            "down" => ("http", "127.0.0.1:1".to_owned()),
            "certificate" => ("https", addr.to_string()),
            _ => ("http", addr.to_string()),
        };
        format!(
            "[[lookup]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"{scheme}://{at}/{name}/{{key}}\"\nkey = \"/q\"\n\
             allow_private = [\"127.0.0.1\"]\n"
        )
    };
    let lookups: String = WAYS.iter().map(|(name, _)| lookup(name)).collect();
    let config = format!(
        "version = 1\n[enrich]\ndeadline = \"2s\"\nstatus = \"all\"\n\
         [[source]]\nname = \"shop\"\nkind = \"file\"\npath = \"events.ndjson\"\npreset = \"ouzel\"\n{lookups}"
    );
    std::fs::write(dir.path().join("ouzel.toml"), config).expect("written");
    let events = events();
    let mut lines: String = events.iter().map(|event| event.to_string() + "\n").collect();
    // No event is so large: it is refused at the door, and those before and behind it are not.
    lines.insert_str(0, &(json!({"type": "view", "q": "y".repeat(1 << 20)}).to_string() + "\n"));
    std::fs::write(dir.path().join("events.ndjson"), lines).expect("written");
    let mut command = ouzel();
    command.args(["run", "--until-idle", "--output", "-", "-c"]).arg(dir.path().join("ouzel.toml"));
    let out = fine(command.arg("--data").arg(dir.path().join("data")));
    let enriched: Vec<Value> = out.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(parsed).collect();
    assert_eq!(enriched.len(), events.len());
    let mut seen: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for event in &enriched {
        let key = event["q"].as_str().expect("a key");
        for (name, may) in WAYS {
            let status = event["enriched"]["status"][name].as_str().expect("a status");
            *seen.entry(name).or_default().entry(status.to_owned()).or_insert(0) += 1;
            if key.len() > 1024 {
                assert_eq!(status, "error:bad_key", "{name}");
                continue;
            }
            // What climbs in a path is known to its client, who is not asked while his source is left alone.
            let may = if key.contains("..") { &["error:bad_key", "open", "timeout"][..] } else { may };
            if !may.contains(&status) {
                wrong.push(format!("{name} of {key:?}: {status}"));
            }
            assert_eq!(event["enriched"].get(name).is_some(), status == "ok", "{name} of {key:?}");
        }
        // The key is one segment of the path, whatever is in it.
        if key.len() <= 1024 && !key.contains("..") {
            let path = event["enriched"]["well"]["path"].as_str().expect("a path");
            let key = path.strip_prefix("/well/").expect("the path of the template");
            assert!(!key.contains(['/', '?', '#', '\'', '"', ' ', '\n', '&']), "{path}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{seen:#?}");
    // What is told of it has no key in it.
    let said = support::text(&out.stderr);
    assert!(!said.contains("k-17") && !said.contains("DROP TABLE"), "{said}");
}
