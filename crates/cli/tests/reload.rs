//! Reference files that are replaced under load, by bad ones and by good ones: no event is affected, readiness and a metric
//! say what is not in use, and the good one is taken up when it is there.

#![allow(clippy::disallowed_methods)] // it writes the files that are reloaded, and measures how long that takes

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use support::{Running, data, fine, json, ouzel, text};

/// Far beyond what it takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

const BATCH: u64 = 50;

/// One file of each kind: its name, where a good one comes from, and the key that names it.
const FILES: [(&str, &str, &str); 4] = [
    ("city.mmdb", "geo/maxmind-testdb/test-data/GeoLite2-City-Test.mmdb", "geo.database"),
    ("asn.csv", "", "network.asn"),
    ("regexes.yaml", "ua/regexes.yaml", "device.rules"),
    ("crawlers.json", "bots/crawler-user-agents.json", "bot.crawlers"),
];

/// As a careful writer does it: beside, then renamed.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).expect("written");
    std::fs::rename(beside, path).expect("renamed");
}

/// A CSV that ends within quotes, a rule that is none; a JSON without its end, a database without its metadata.
fn broken(name: &str, good: &[u8]) -> Vec<u8> {
    match name.rsplit('.').next() {
        Some("csv") => [good, b"81.2.70.0,\"half"].concat(),
        Some("yaml") => [b"user_agent_parsers:\n  - regex: '(half'\n", good].concat(),
        _ => good[..good.len() * 2 / 3].to_vec(),
    }
}

fn body(first: u64) -> String {
    (first..first + BATCH)
        .map(|n| {
            format!(
                r#"{{"type":"page","messageId":"m-{n}","anonymousId":"v-{}","userId":"{}","context":{{"ip":"81.2.69.160","userAgent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36","page":{{"url":"https://shop.example/a"}}}}}}"#,
                n % 97,
                n % 3
            ) + "\n"
        })
        .collect()
}

fn refused(running: &Running) -> u64 {
    let metrics = text(&running.get("/metrics").1);
    let line = metrics.lines().find_map(|l| l.strip_prefix("ouzel_assets_refused ")).expect("the metric");
    line.parse::<f64>().expect("a number") as u64
}

fn degraded(running: &Running) -> String {
    let (status, body) = running.get("/readyz");
    assert_eq!(status, 200, "an old file is no reason to turn senders away: {}", text(&body));
    json(&body)["degraded"].to_string()
}

/// How long until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    begun.elapsed()
}

#[test]
fn files_replaced_under_load_cost_no_event() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    for (name, from, _) in FILES {
        match from {
            "" => replace(&at(name), b"81.2.69.0,81.2.69.255,20712,Andrews & Arnold Ltd\n"),
            from => replace(&at(name), &std::fs::read(data(from)).expect("read")),
        }
    }
    replace(&at("plans.csv"), b"user,plan\n0,free\n1,pro\n2,pro\n");
    let keys: String = FILES
        .iter()
        .map(|(name, _, key)| {
            let (section, key) = key.split_once('.').expect("a section");
            format!("[{section}]\n{key} = \"{name}\"\n")
        })
        .collect();
    let lookup = "[[lookup]]\nname = \"plan\"\nkind = \"file\"\npath = \"plans.csv\"\nkey = \"event.user\"\n";
    let config = format!("version = 1\n[enrich]\nstatus = \"all\"\nreload = \"200ms\"\n{keys}{lookup}");
    std::fs::write(at("ouzel.toml"), config).expect("written");
    let config = at("ouzel.toml").display().to_string();
    let running = Running::start(&at("data"), &["-c", &config]);
    assert_eq!(refused(&running), 0, "{}", degraded(&running));

    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Relaxed) {
                let first = sent.load(Relaxed);
                let (status, answer) = running.post("/v1/events", "", body(first).as_bytes());
                assert_eq!(status, 200, "{}", text(&answer));
                sent.fetch_add(BATCH, Relaxed);
                // Thousands a second are load enough; more would fill the disk while files are waited for.
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let more = |n: u64| {
            let before = sent.load(Relaxed);
            until("events go on", || sent.load(Relaxed) >= before + n);
        };
        for name in FILES.iter().map(|(name, ..)| *name).chain(["plans.csv"]) {
            more(10 * BATCH);
            let good = std::fs::read(at(name)).expect("read");
            replace(&at(name), &broken(name, &good));
            until("it is told", || degraded(&running).contains(name) && refused(&running) == 1);
            more(10 * BATCH);
            // The same again, but for a byte that means nothing: another version.
            replace(&at(name), &good);
            let took = until("the good one is taken up", || refused(&running) == 0);
            println!("{name}: taken up {took:?} after its return");
            assert!(!degraded(&running).contains(name));
            more(10 * BATCH);
        }
        stop.store(true, Relaxed);
    });
    running.quiet();
    assert_eq!(running.stop(), 0);

    let out = fine(ouzel().args(["tail", "--from", "start", "--data"]).arg(at("data")));
    let events: Vec<_> = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect();
    assert_eq!(events.len() as u64, sent.load(Relaxed), "every event that was acknowledged is enriched");
    for event in &events {
        let e = &event["enriched"];
        assert_eq!(e["geo"]["country"], "GB", "{e}");
        assert_eq!(e["network"]["asn"], 20712, "{e}");
        assert_eq!(e["device"]["browser"], "Chrome", "{e}");
        assert_eq!(e["bot"]["is_bot"], false, "{e}");
        assert_eq!(e["plan"]["plan"], if event["userId"] == "0" { "free" } else { "pro" }, "{e}");
        for (name, status) in e["status"].as_object().expect("all of them") {
            assert_eq!(status, "ok", "{name}: {e}");
        }
    }
}
