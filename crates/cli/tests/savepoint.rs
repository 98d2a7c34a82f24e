//! Savepoints through the real binary: of a running process and of the directory it leaves; a new directory goes on where
//! the savepoint is; what is damaged or in the way is said.

#![allow(clippy::disallowed_methods)] // it damages files, and looks at the clock

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use event::Micros;
use event::key::partition_of;
use seam::{Clock as _, RealClock};
use serde_json::Value;
use support::{Running, fine, json, output, ouzel, text};

fn event(id: &str, visitor: &str) -> String {
    format!(r#"{{"messageId":"{id}","event":"Page Viewed","anonymousId":"{visitor}"}}"#)
}

fn send(run: &Running, ids: std::ops::Range<u32>, visitor: &str) {
    let events: Vec<String> = ids.map(|n| event(&format!("{visitor}-{n}"), visitor)).collect();
    assert_eq!(run.events(&format!("[{}]", events.join(","))).0, 200);
}

/// The open session of a visitor, once it has so many events.
fn open(run: &Running, visitor: &str, events: u64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = run.get(&format!("/v1/sessions/{visitor}"));
        // A closed one may be kept before it.
        let newest = || json(&body)["sessions"].as_array().and_then(|all| all.last().cloned()).unwrap_or_default();
        if status == 200 && newest()["events"] == events {
            return newest();
        }
        assert!(Instant::now() < deadline, "{status}: {}", text(&body));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn savepoint(data: &Path, args: &[&str]) -> Output {
    output(ouzel().arg("savepoint").args(args).arg("--data").arg(data))
}

fn restore(savepoint: &Path, to: &Path) -> Output {
    output(ouzel().arg("restore").arg(savepoint).arg("--to").arg(to))
}

fn said(out: &Output, code: i32) -> String {
    let said = text(&out.stdout) + &text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{said}");
    said
}

#[test]
fn a_new_directory_goes_on_with_the_sessions_of_a_running_one() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (data, new) = (tmp.path().join("data"), tmp.path().join("new"));
    let run = Running::start(&data, &[]);
    // The visitor's first session was two hours ago, and ends when the watermark moves on; the second is open when the
    // savepoint is made.
    let now = RealClock::new().now();
    let old: Vec<String> = (0..3)
        .map(|n| {
            event(&format!("v-{n}"), "v")
                .replace('}', &format!(",\"timestamp\":\"{}\"}}", Micros(now.0 - 7_200_000_000)))
        })
        .collect();
    // Another visitor of the same partition, or its partition would hold the watermark back.
    let same = |u: &String| partition_of(u.as_bytes(), 8) == partition_of(b"v", 8);
    let u = (0..).map(|n| format!("u{n}")).find(same).expect("one of eight");
    let ended = old[0].replace("v-0", "u-0").replace("\"v\"", &format!("\"{u}\""));
    assert_eq!(run.events(&format!("[{},{ended}]", old.join(","))).0, 200);
    let first = open(&run, "v", 3);
    let of_u = open(&run, &u, 1);
    send(&run, 3..5, "v");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let out = output(ouzel().args(["sessions", "v", "--json", "--data"]).arg(&data));
        if text(&out.stdout).contains("\"kind\":\"final\"") {
            break;
        }
        assert!(Instant::now() < deadline, "no final");
        std::thread::sleep(Duration::from_millis(50));
    }
    let second = open(&run, "v", 2);
    assert_eq!((&first["session_index"], &second["session_index"]), (&1.into(), &2.into()));
    let made = json(said(&savepoint(&data, &["deploy", "--json"]), 0).as_bytes());
    let at = PathBuf::from(made["savepoint"].as_str().expect("a path"));
    assert_eq!(at, data.join("savepoints/deploy"));
    assert!(made["bytes"].as_u64() > Some(0) && made["partitions"].as_array().is_some_and(|p| !p.is_empty()), "{made}");
    // It went on: events are still taken in and sessions told.
    send(&run, 5..6, "w");
    open(&run, "w", 1);
    assert!(said(&savepoint(&data, &["deploy"]), 2).contains("is there already"));
    assert_eq!(run.stop(), 0);

    said(&restore(&at, &new), 0);
    let run = Running::start(&new, &[]);
    // The state is being restored at first, and says so.
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut status, mut body) = run.get("/v1/sessions/v");
    while status == 503 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        (status, body) = run.get("/v1/sessions/v");
    }
    assert_eq!(status, 200, "{}", text(&body));
    assert!(json(&body)["watermark"].is_string(), "time is known before anything comes: {}", text(&body));
    send(&run, 6..7, "v");
    let again = open(&run, "v", 3);
    assert_eq!(again["session_id"], second["session_id"], "the open session goes on: {again}");
    assert_eq!((&again["session_index"], &again["previous_session_id"]), (&2.into(), &first["session_id"]));
    // Of a visitor whose session had ended the next one is the second, and what was late before is late here.
    let late = old[0].replace("v-0", "late");
    send(&run, 1..2, &u);
    let next_of_u = open(&run, &u, 1);
    assert_eq!((&next_of_u["session_index"], &next_of_u["previous_session_id"]), (&2.into(), &of_u["session_id"]));
    assert_eq!(run.events(&format!("[{late}]")).0, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !text(&output(ouzel().args(["explain", "late", "--data"]).arg(&new)).stdout).contains("no session took it") {
        assert!(Instant::now() < deadline, "it is not late");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(run.get("/v1/sessions/w").0, 404, "what came after the savepoint is not in it");
    assert_eq!(run.stop(), 0);
    // Once more, and with a snapshot of its own: a start from it.
    let run = Running::start(&new, &[]);
    send(&run, 7..8, "v");
    assert_eq!(open(&run, "v", 4)["session_id"], second["session_id"]);
    assert_eq!(run.stop(), 0);
    fine(ouzel().args(["data", "verify", "--data"]).arg(&new));
    // Killed before it has a snapshot of its own: it begins from the restored one and replays.
    let third = tmp.path().join("third");
    said(&restore(&at, &third), 0);
    let run = Running::start(&third, &["--set", "state.snapshot_every=1h"]);
    send(&run, 6..7, "v");
    open(&run, "v", 3);
    run.end("-KILL");
    let run = Running::start(&third, &[]);
    assert_eq!(open(&run, "v", 3)["session_id"], second["session_id"]);
    assert_eq!(run.stop(), 0);
}

#[test]
fn stopping_for_a_savepoint_ends_both_with_0_and_all_that_was_accepted_is_in_it() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (data, to) = (tmp.path().join("data"), tmp.path().join("elsewhere/here"));
    let mut run = Running::start(&data, &[]);
    for n in 0..20 {
        send(&run, n * 100..n * 100 + 100, &format!("v{}", n % 4));
    }
    let made = savepoint(&data, &["--stop", "--json", "--to", to.to_str().expect("text")]);
    let made = json(said(&made, 0).as_bytes());
    assert_eq!(run.child.wait().expect("it ends").code(), Some(0));
    assert_eq!(made["unread"], 0, "{made}");
    // Once more from what it left.
    let again = savepoint(&data, &["again"]);
    assert!(said(&again, 0).contains("savepoints/again: the state of 8 partitions"), "{}", text(&again.stdout));
    let new = tmp.path().join("new");
    said(&restore(&to, &new), 0);
    let run = Running::start(&new, &[]);
    for n in 0..4 {
        open(&run, &format!("v{n}"), 500);
    }
    assert_eq!(run.stop(), 0);
}

#[test]
fn what_is_damaged_or_in_the_way_is_said_and_nothing_is_made() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (data, new) = (tmp.path().join("data"), tmp.path().join("new"));
    let run = Running::start(&data, &["--set", "state.snapshot_every=1h"]);
    send(&run, 0..50, "v");
    open(&run, "v", 50);
    // Not with a guessed token, and not without one.
    for token in ["", "Authorization: Bearer 00000000000000000000000000000000\r\n"] {
        let body = format!("{{\"to\":\"{}\"}}", tmp.path().join("stolen").display());
        assert_eq!(run.post("/admin/savepoint", token, body.as_bytes()).0, 401);
        assert_eq!(run.post("/admin/stop", token, b"").0, 401);
    }
    assert!(!tmp.path().join("stolen").exists());
    let at = tmp.path().join("at");
    said(&savepoint(&data, &["--to", at.to_str().expect("text")]), 0);
    send(&run, 50..60, "v");
    open(&run, "v", 60);
    run.end("-KILL");
    // Killed: the newest snapshot is behind what was committed.
    let not_clean = said(&savepoint(&data, &["x"]), 1);
    assert!(not_clean.contains("was not stopped cleanly") && not_clean.contains("ouzel run"), "{not_clean}");
    assert!(!data.join("savepoints/x").exists());

    fs::create_dir(&new).expect("made");
    assert!(said(&restore(&at, &new), 2).contains("is there already"));
    fs::remove_dir(&new).expect("removed");
    assert!(said(&restore(&tmp.path().join("nowhere"), &new), 3).contains("no savepoint"));
    // Any byte of any file.
    let mut files = Vec::new();
    let mut dirs = vec![at.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            if entry.path().is_dir() { dirs.push(entry.path()) } else { files.push(entry.path()) }
        }
    }
    assert!(files.len() >= 3);
    for file in files {
        let good = fs::read(&file).expect("read");
        for at_byte in [0, good.len() / 2].into_iter().filter(|n| *n < good.len()) {
            let mut bad = good.clone();
            bad[at_byte] ^= 1;
            // The one file without a checksum is words: some of them may be any.
            if file.ends_with("SAVEPOINT") && at_byte > 0 {
                continue;
            }
            fs::write(&file, bad).expect("written");
            said(&restore(&at, &new), 3);
        }
        fs::remove_file(&file).expect("removed");
        said(&restore(&at, &new), 3);
        fs::write(&file, good).expect("written");
        assert!(!new.exists());
    }
    let file = at.join("SAVEPOINT");
    let good = fs::read_to_string(&file).expect("read");
    fs::write(&file, good.replace("\"format\": 1", "\"format\": 9, \"more\": 1")).expect("written");
    assert!(said(&restore(&at, &new), 3).contains("format 9"));
    fs::write(&file, good).expect("written");
    said(&restore(&at, &new), 0);
    // Partitions are the savepoint's.
    let mut run = ouzel();
    run.args(["run", "--listen", "127.0.0.1:0", "--set", "data.partitions=4", "--data"]).arg(&new);
    assert!(said(&output(&mut run), 2).contains("8 partitions"));
}
