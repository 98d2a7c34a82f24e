//! `ouzel explain` and `ouzel sessions` through the real binary: the way of events that went well, of duplicates, of what
//! was refused or late; beside a running process and on the directory it leaves, the same. And a build that decides
//! otherwise: the first record that differs is named.

#![allow(clippy::disallowed_methods)] // it writes what is read, and looks at the clock

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Running, fine, json, output, ouzel, text};

struct Place {
    tmp: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { tmp: tempfile::tempdir().expect("a directory") }
    }

    fn data(&self) -> PathBuf {
        self.tmp.path().join("data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    /// A command on the directory, with its exit code and what it printed.
    fn ask(&self, args: &[&str]) -> (i32, String, String) {
        let out = output(ouzel().args(args).arg("--data").arg(self.data()));
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    fn explain(&self, args: &[&str]) -> Value {
        let (code, out, err) = self.ask(&[&["explain", "--json"], args].concat());
        assert_eq!(code, 0, "{args:?}: {err}");
        json(out.as_bytes())
    }
}

fn event(id: &str, visitor: &str, time: &str) -> String {
    format!(
        "{{\"messageId\":\"{id}\",\"event\":\"Page Viewed\",\"anonymousId\":\"{visitor}\",\"timestamp\":\"2026-01-01T{time}Z\"}}\n"
    )
}

/// Reads these lines as a file of their own, to the end.
fn read(place: &Place, name: &str, lines: &str, more: &[&str]) {
    fs::write(place.path(name), lines).expect("written");
    let mut run = ouzel();
    run.args(["run", "--input"]).arg(place.path(name)).arg("--data").arg(place.data()).args(more);
    fine(&mut run);
}

#[test]
fn the_way_of_an_event_is_told_from_its_receipt_to_its_session() {
    let place = Place::new();
    let lines = event("a", "v-1", "00:00:00")
        + &event("b", "v-1", "00:05:00")
        + &event("c", "v-2", "00:06:00")
        + &event("a", "v-1", "00:00:00");
    read(&place, "events.ndjson", &lines, &["--close"]);
    let told = place.explain(&["b"]);
    let events = told["events"].as_array().expect("a list");
    assert_eq!((events.len(), &told["searched"]["complete"]), (1, &true.into()), "{told}");
    let b = &events[0];
    assert_eq!((&b["outcome"], &b["type"]), (&"enriched".into(), &"Page Viewed".into()), "{b}");
    assert_eq!(b["event_time"], "2026-01-01T00:05:00.000000Z");
    assert_eq!((&b["visitor"]["id"], &b["visitor"]["how"]), (&"v-1".into(), &"given".into()));
    assert_eq!(b["enriched"]["partition"], b["raw"]["partition"]);
    assert!(b["enriched"]["at"].is_string() && b["enriched"]["enrichers"]["device"].is_string(), "{b}");
    let session = &b["session"]["covered_by"];
    assert_eq!((&session["kind"], &session["events"]), (&"final".into(), &2.into()), "{b}");
    assert!(b.get("event").is_none(), "no body unless it is asked for");
    assert_eq!(place.explain(&["b", "--body"])["events"][0]["event"]["anonymousId"], "v-1");

    // The same event again is a duplicate of the first one's position.
    let told = place.explain(&["a"]);
    let outcomes: Vec<&Value> = told["events"].as_array().expect("a list").iter().map(|e| &e["outcome"]).collect();
    assert_eq!(outcomes, ["enriched", "duplicate"], "{told}");
    let first = &told["events"][0]["raw"];
    let of = &told["events"][1]["duplicate_of"];
    assert_eq!((&of["partition"], &of["offset"]), (&first["partition"], &first["offset"]));
    // The first event opened the session: that was said at once.
    assert_eq!(told["events"][0]["session"]["said"][0]["kind"], "update", "{told}");

    let (code, out, _) = place.ask(&["explain", "b"]);
    assert_eq!(code, 0);
    for part in ["b   Page Viewed   from", "received", "enriched/", "final of", "2 events"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (code, _, err) = place.ask(&["explain", "nothing-like-it"]);
    assert_eq!(code, 1);
    assert!(err.contains("all that is kept was searched"), "{err}");
}

#[test]
fn what_was_refused_set_aside_or_late_is_told_with_its_reason() {
    let place = Place::new();
    let conflict = event("a", "v-1", "02:00:00").replace("Page Viewed", "Other");
    let refused = "{\"messageId\":\"no-type\",\"anonymousId\":\"v-1\"}\n";
    let lines = event("a", "v-1", "02:00:00")
        + &event("far", "v-2", "09:00:00")
        + &event("far", "v-1", "09:00:00")
        + &conflict
        + refused;
    read(&place, "events.ndjson", &lines, &[]);
    read(&place, "more.ndjson", &event("old", "v-1", "03:00:00"), &["--set", "time.idle_after=100ms"]);
    let a = place.explain(&["a"]);
    assert_eq!(a["events"][1]["outcome"], "quarantined", "{a}");
    assert_eq!(a["events"][1]["dead_letter"]["code"], "conflicting_duplicate");
    let refused = place.explain(&["no-type"]);
    assert_eq!(refused["events"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        (&refused["refused"][0]["code"], &refused["refused"][0]["pointer"]),
        (&"missing_field".into(), &"/type".into()),
        "{refused}"
    );
    let (_, out, _) = place.ask(&["explain", "no-type"]);
    assert!(out.contains("refused") && out.contains("missing_field"), "{out}");
    // The id of two visitors: both are told.
    assert_eq!(place.explain(&["far"])["events"].as_array().map(Vec::len), Some(2));
    assert_eq!(place.ask(&["explain", "far", "--source", "nobody"]).0, 1);
    let old = place.explain(&["old"]);
    let old = &old["events"][0];
    assert_eq!(old["outcome"], "enriched");
    assert!(old["late"]["lateness_s"].as_f64().is_some_and(|s| s > 20_000.0) && old["session"].is_null(), "{old}");
    let (_, out, _) = place.ask(&["explain", "old"]);
    assert!(out.contains("behind the watermark, no session took it"), "{out}");
}

#[test]
fn a_running_process_tells_the_same_and_what_is_open() {
    let place = Place::new();
    let run = Running::start(&place.data(), &[]);
    let events = r#"[{"messageId":"x 1","event":"Sign In","userId":"u1","anonymousId":"v/81"},{"messageId":"x2","event":"Order","userId":"u1"}]"#;
    assert_eq!(run.events(events).0, 200);
    run.quiet();
    let deadline = Instant::now() + Duration::from_secs(10);
    let told = loop {
        let told = place.explain(&["x2"]);
        if told["events"][0]["session"]["open"].is_object() || Instant::now() > deadline {
            break told;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let x2 = &told["events"][0];
    assert_eq!(x2["visitor"]["id"], "v/81", "a server's event, linked to the browser's visitor: {told}");
    assert_eq!((&x2["visitor"]["how"], &x2["raw"]["visitor"]["id"]), (&"linked".into(), &"user:u1".into()));
    assert_eq!(x2["session"]["open"]["events"], 2, "{told}");
    let (status, body) = run.get("/v1/explain/x%201?body");
    assert_eq!((status, &json(&body)["events"][0]["event"]["userId"]), (200, &"u1".into()));
    assert_eq!(run.get("/v1/explain/x%201?source=other").0, 404);
    assert_eq!(run.get("/v1/explain/x%201?sauce=other").0, 400);

    let (code, out, err) = place.ask(&["sessions", "v/81", "--json"]);
    assert_eq!(code, 0, "{err}");
    assert_eq!(json(out.as_bytes())["sessions"][0]["events"], 2);
    let (code, out, _) = place.ask(&["sessions", "v/81"]);
    assert!(code == 0 && out.contains("open (watermark") && out.contains("2 events"), "{out}");
    assert_eq!(place.ask(&["sessions", "nobody"]).0, 1);
    assert_eq!(run.stop(), 0);
    // The directory it leaves: the open session is in the snapshot of the clean stop.
    let stopped = place.explain(&["x2"]);
    assert_eq!(stopped["events"][0]["session"]["open"]["events"], 2, "{stopped}");
    let (code, out, err) = place.ask(&["sessions", "v/81", "--json"]);
    assert_eq!(code, 0, "{err}");
    let open = json(out.as_bytes());
    assert_eq!((&open["as_of"]["behind"], &open["sessions"][0]["events"]), (&0.into(), &2.into()));
    let (_, out, _) = place.ask(&["sessions", "v/81"]);
    assert!(out.contains("as of position"), "{out}");
}

#[test]
fn the_newest_sessions_are_a_table_and_each_is_there_once() {
    let place = Place::new();
    // v-1: two sessions that a late event joins; the gap is 30 minutes.
    let lines = event("a", "v-1", "00:00:00")
        + &event("b", "v-1", "00:50:00")
        + &event("c", "v-2", "01:30:00")
        + &event("d", "v-3", "09:00:00");
    read(&place, "events.ndjson", &lines, &["--set", "sessions.allowed_lateness=12h"]);
    read(&place, "more.ndjson", &event("e", "v-1", "00:25:00"), &["--close", "--set", "sessions.allowed_lateness=12h"]);
    let (code, out, err) = place.ask(&["sessions", "--json"]);
    assert_eq!(code, 0, "{err}");
    let all: Vec<Value> = out.lines().map(|l| json(l.as_bytes())).collect();
    let of = |s: &Value| (s["visitor"].as_str().expect("a visitor").to_owned(), s["events"].as_u64().expect("a count"));
    assert_eq!(
        all.iter().map(of).collect::<Vec<_>>(),
        [("v-1".to_owned(), 3), ("v-2".to_owned(), 1), ("v-3".to_owned(), 1)]
    );
    let (_, out, _) = place.ask(&["sessions", "-n", "2"]);
    assert_eq!(out.lines().count(), 3, "a head and two rows: {out}");
    assert!(out.lines().next().is_some_and(|l| l.starts_with("start")) && !out.contains("v-1"), "{out}");
    let (_, out, _) = place.ask(&["sessions", "v-1"]);
    assert!(out.contains("50 min 0 s") && out.contains("3"), "{out}");
    let (_, cards, _) = place.ask(&["tail", "sessions", "--pretty"]);
    assert!(cards.contains("session final") && cards.contains("closed by gap"), "{cards}");
}

/// Clicks of many visitors, killed without a snapshot in between.
fn killed(place: &Place) {
    let mut lines = String::new();
    for n in 0..40_000u32 {
        let time = format!("{:02}:{:02}:{:02}", n / 3600, n / 60 % 60, n % 60);
        lines += &event(&format!("e{n}"), &format!("v{}", n % 701), &time);
    }
    fs::write(place.path("events.ndjson"), lines).expect("written");
    let mut run = ouzel();
    run.args(["run", "--set", "state.snapshot_every=1h", "--input"]).arg(place.path("events.ndjson"));
    run.arg("--data").arg(place.data()).env("OUZEL_KILL_AT", "sessions.committed:3").stderr(Stdio::null());
    assert!(!output(&mut run).status.success(), "it is killed");
}

fn divergence(place: &Place, plant: Option<&str>, more: &[&str]) -> (i32, Vec<Value>, String) {
    let mut command = ouzel();
    command.args(["explain", "divergence", "--json"]).args(more).arg("--data").arg(place.data());
    if let Some(bug) = plant {
        command.env("OUZEL_PLANT", bug);
    }
    let out = output(&mut command);
    let all = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect();
    (out.status.code().unwrap_or(-1), all, text(&out.stderr))
}

#[test]
fn a_build_with_other_decisions_is_told_its_first_other_record() {
    let place = Place::new();
    killed(&place);
    let (code, all, err) = divergence(&place, None, &[]);
    assert_eq!((code, all.len()), (0, 8), "{err}");
    assert!(all.iter().map(|c| c["same"].as_u64().expect("a count")).sum::<u64>() > 500, "{all:?}");
    let (code, all, err) = divergence(&place, Some("other_decisions"), &[]);
    assert_eq!(code, 1, "{err}");
    let other: Vec<&Value> = all.iter().filter(|c| c["diverges"] == true).collect();
    assert!(!other.is_empty());
    for compared in other {
        // The bug leaves out updates of one session in 64: the first that is stored and that it does not make is named.
        let expected = first_left_out(&place.data(), compared["partition"].as_u64().expect("a partition"));
        let first = &compared["first"];
        assert_eq!(first["made_of"]["offset"].as_u64(), Some(expected.0), "{compared}");
        assert_eq!(first["output"]["offset"].as_u64(), Some(expected.1), "{compared}");
        assert!(first["stored"].as_str().is_some_and(|s| s.contains("\"kind\":\"update\"")), "{compared}");
        assert!(first["made"].is_null(), "{compared}");
    }
    let only = all.iter().find(|c| c["diverges"] == true).expect("one")["partition"].to_string();
    let mut command = ouzel();
    command.args(["explain", "divergence", "--partition", &only, "--data"]).arg(place.data());
    let out = output(command.env("OUZEL_PLANT", "other_decisions"));
    let said = text(&out.stdout);
    assert!(
        said.contains("differs") && said.contains("  stored  sessions/") && said.contains("  made    nothing"),
        "{said}"
    );
    // Other rules are told as what they are.
    let (code, all, _) = divergence(&place, None, &["--set", "sessions.gap=10s"]);
    assert_eq!(code, 1);
    assert!(all.iter().any(|c| c["versions"].is_object()), "{all:?}");
    assert_eq!(divergence(&place, None, &["--partition", "8"]).0, 2);
    let run = Running::start(&place.data(), &[]);
    assert_eq!(divergence(&place, None, &[]).0, 4);
    run.stop();
}

/// Of the updates in a partition of `sessions` of a session whose number 64 divides: made of what, and where the first is.
fn first_left_out(data: &Path, partition: u64) -> (u64, u64) {
    let mut tail = ouzel();
    tail.args(["tail", "sessions", "--json", "--from", "start", "--partition", &partition.to_string(), "--data"])
        .arg(data);
    let out = fine(&mut tail);
    let records = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json);
    let mut left_out = records.filter(|r| {
        let id = u128::from_str_radix(r["value"]["session_id"].as_str().expect("an id"), 16).expect("a number");
        r["value"]["kind"] == "update" && id % 64 == 0
    });
    let first = left_out.next().expect("one of them");
    (first["source"]["offset"].as_u64().expect("an offset"), first["offset"].as_u64().expect("an offset"))
}
