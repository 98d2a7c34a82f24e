//! Sessions through the real binary: the same sessions as Apache Flink makes of the same clicks, whatever the order, the
//! number of partitions, and however often the process is killed.

#![allow(clippy::disallowed_methods)] // it writes what is read, and looks at the clock for the moments of kills

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Running, data, fine, json, output, ouzel, signal, text};

/// (user, start, end + 30 min, events), as Flink's session window tells them.
type Row = (String, String, String, u64);

/// What real Flink said of the clicks of `ecom.csv`.
fn expected() -> Vec<Row> {
    let text = fs::read_to_string(data("clicks/expected_sessions_flink_30min.csv")).expect("the rows");
    let mut rows: Vec<Row> = text
        .lines()
        .map(|line| {
            let mut cells = line.split(',').map(|c| c.trim_matches('"').to_owned());
            let mut next = || cells.next().expect("four cells");
            let (user, start, end) = (next(), next(), next());
            (user, start[..19].to_owned(), end[..19].to_owned(), next().parse().expect("a count"))
        })
        .collect();
    rows.sort();
    rows
}

/// The clicks with their times in seconds of some day, and the header.
fn clicks() -> (String, Vec<(u64, String)>) {
    let text = fs::read_to_string(data("clicks/ecom.csv")).expect("the clicks");
    let mut lines = text.lines();
    let header = lines.next().expect("a header").to_owned();
    let seconds = |line: &str| {
        let time = line.split(',').nth(3).expect("a time");
        let number = |at: std::ops::Range<usize>| time[at].parse::<u64>().expect("a number");
        // All of them are of the first half of 2024.
        let days = [0, 31, 60, 91, 121, 152, 182][number(5..7) as usize - 1] + number(8..10);
        days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
    };
    (header, lines.map(|l| (seconds(l), l.to_owned())).collect())
}

/// Writes the clicks sorted by time, each up to `disorder` seconds later than its place.
fn write_clicks(to: &Path, disorder: u64, seed: u64) {
    let (header, mut clicks) = clicks();
    let mut x = seed;
    for (at, _) in &mut clicks {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        *at += if disorder > 0 { x % disorder } else { 0 };
    }
    clicks.sort_by_key(|(at, _)| *at);
    let lines: String = clicks.iter().map(|(_, line)| format!("{line}\n")).collect();
    fs::write(to, format!("{header}\n{lines}")).expect("written");
}

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

    fn input(&self) -> PathBuf {
        self.tmp.path().join("clicks.csv")
    }

    fn run(&self, more: &[&str]) -> std::process::Command {
        let mut command = ouzel();
        command.args(["run", "--preset", "csv", "--map", "time=/timestamp,zone=UTC", "--set", "time.out_of_order=10m"]);
        command.arg("--input").arg(self.input()).arg("--data").arg(self.data()).args(more);
        command
    }

    fn records(&self, topic: &str) -> Vec<Value> {
        let mut tail = ouzel();
        tail.args(["tail", topic, "--from", "start", "--data"]).arg(self.data());
        let out = fine(&mut tail);
        out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect()
    }

    /// The last final of each session that no merge took back. No revision of a session is there twice.
    fn rows(&self) -> Vec<Row> {
        let mut finals: BTreeMap<String, Value> = BTreeMap::new();
        let mut absorbed = Vec::new();
        for record in self.records("sessions") {
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            match record["kind"].as_str() {
                Some("merge") => absorbed.push(text("absorbed")),
                Some("final") => {
                    let before = finals.insert(text("session_id"), record.clone());
                    let revision = |r: &Value| r["revision"].as_u64().expect("a revision");
                    assert!(before.is_none_or(|b| revision(&b) < revision(&record)), "{record}");
                }
                _ => {}
            }
        }
        absorbed.iter().for_each(|id| drop(finals.remove(id)));
        let time = |r: &Value, name: &str| r[name].as_str().expect("a time")[..19].replace('T', " ");
        let mut rows: Vec<Row> = finals
            .values()
            .map(|r| {
                let user = r["visitor"].as_str().expect("a visitor").trim_start_matches("user:").to_owned();
                (user, time(r, "start"), time(r, "expires_at"), r["events"].as_u64().expect("a count"))
            })
            .collect();
        rows.sort();
        rows
    }
}

fn same(rows: &[Row], expected: &[Row], what: &str) {
    let wrong = rows.iter().zip(expected).find(|(a, b)| a != b);
    assert!(rows == expected, "{what}: {} rows, {} expected; first: {wrong:?}", rows.len(), expected.len());
}

#[test]
fn sorted_clicks_are_the_sessions_that_flink_makes() {
    let (place, expected) = (Place::new(), expected());
    assert_eq!(expected.len(), 3605);
    write_clicks(&place.input(), 0, 0);
    fine(&mut place.run(&["--close"]));
    same(&place.rows(), &expected, "sorted");
    assert!(place.records("late").is_empty());
}

#[test]
fn shuffled_within_ten_minutes_and_killed_five_times_they_are_the_same() {
    let (place, expected) = (Place::new(), expected());
    write_clicks(&place.input(), 600, 88_172_645_463_325_252);
    let mut killed = 0;
    let mut wait = Duration::from_millis(120);
    let deadline = Instant::now() + Duration::from_secs(100);
    while killed < 5 {
        assert!(Instant::now() < deadline, "only {killed} kills in the middle");
        let slow = ["--close", "--set", "state.snapshot_every=100ms"];
        let mut child = place.run(&slow).stderr(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(wait);
        if child.try_wait().expect("a process").is_some() {
            // It was done before the kill came: from the beginning, sooner.
            fs::remove_dir_all(place.data()).expect("removed");
            (killed, wait) = (0, wait * 2 / 3);
            continue;
        }
        signal(&child, "-KILL");
        let _ = child.wait();
        killed += 1;
    }
    fine(&mut place.run(&["--close"]));
    same(&place.rows(), &expected, "shuffled and killed");
}

#[test]
fn the_sessions_stage_can_be_turned_off() {
    let place = Place::new();
    write_clicks(&place.input(), 0, 0);
    fine(&mut place.run(&["--close", "--set", "sessions.enabled=false"]));
    assert!(place.records("sessions").is_empty());
    assert!(!place.data().join("state").exists());
}

/// A browser's events and those of a server that knows the user alone are one session.
#[test]
fn what_a_server_says_of_a_user_joins_the_session_of_the_users_browser() {
    let place = Place::new();
    let run = Running::start(&place.data(), &[]);
    let browser =
        r#"[{"messageId":"1","event":"Sign In","userId":"u1","anonymousId":"v-81","context":{"ip":"192.0.2.1"}}]"#;
    assert_eq!(run.events(browser).0, 200);
    let server = r#"[{"messageId":"2","event":"Order Completed","userId":"u1"},{"messageId":"3","event":"Other","userId":"u2"}]"#;
    assert_eq!(run.events(server).0, 200);
    run.quiet();
    let how = |id: &str| -> (String, String) {
        let all = place_records(&place, "enriched");
        let event = all.iter().find(|e| e["messageId"] == id).expect("it is enriched").clone();
        let visitor = &event["enriched"]["visitor"];
        (visitor["id"].as_str().expect("an id").to_owned(), visitor["how"].as_str().expect("how").to_owned())
    };
    assert_eq!(how("1"), ("v-81".to_owned(), "given".to_owned()));
    assert_eq!(how("2"), ("v-81".to_owned(), "linked".to_owned()));
    assert_eq!(how("3"), ("user:u2".to_owned(), "user".to_owned()));
    // The open session is there at once, with both.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, body) = run.get("/v1/sessions/v-81");
        if status == 200 && json(&body)["sessions"][0]["events"] == 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{status}: {}", text(&body));
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, body) = run.get("/v1/sessions/nobody");
    assert_eq!(status, 404, "{}", text(&body));
    // A restart knows the link again.
    assert_eq!(run.stop(), 0);
    let run = Running::start(&place.data(), &[]);
    assert_eq!(run.events(r#"[{"messageId":"4","event":"Payout Sent","userId":"u1"}]"#).0, 200);
    run.quiet();
    assert_eq!(how("4").1, "linked");
    run.stop();
}

fn place_records(place: &Place, topic: &str) -> Vec<Value> {
    let mut tail = ouzel();
    tail.args(["tail", topic, "-n", "1000", "--data"]).arg(place.data());
    fine(&mut tail).stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect()
}

#[test]
fn a_quiet_stream_closes_its_sessions() {
    let place = Place::new();
    let quick = ["--set", "sessions.gap=1s", "--set", "time.out_of_order=0s", "--set", "time.idle_after=200ms"];
    let run = Running::start(&place.data(), &quick);
    assert_eq!(run.events(r#"[{"messageId":"1","event":"x","anonymousId":"v"}]"#).0, 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !place_records(&place, "sessions").iter().any(|r| r["kind"] == "final") {
        assert!(Instant::now() < deadline, "no final although nothing comes any more");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(run.stop(), 0);
}

/// A build that decides otherwise under the same version number is caught by what its replay makes.
#[test]
fn a_build_with_other_decisions_is_caught() {
    let place = Place::new();
    write_clicks(&place.input(), 0, 0);
    // Killed without a snapshot in between: there is something to replay. In one partition: of several, those that had not
    // committed anything yet would be the other build's from their beginning.
    let mut command = place.run(&["--set", "state.snapshot_every=1h", "--set", "data.partitions=1"]);
    command.env("OUZEL_KILL_AT", "sessions.committed:6").stderr(Stdio::null());
    assert!(!output(&mut command).status.success(), "it is killed");
    let mut changed = place.run(&["--close", "--set", "data.partitions=1"]);
    let out = output(changed.env("OUZEL_PLANT", "other_decisions"));
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{said}");
    assert!(said.contains("sessions stopped at enriched/") && said.contains("explain divergence"), "{said}");
    // The right build goes on as if nothing had been.
    fine(&mut place.run(&["--close", "--set", "data.partitions=1"]));
    same(&place.rows(), &expected(), "after the other build");
}

/// Whoever changes a rule after a crash is told what to do, and a clean stop needs nothing.
#[test]
fn other_rules_take_over_after_a_clean_stop_only() {
    let place = Place::new();
    write_clicks(&place.input(), 0, 0);
    let mut command = place.run(&["--set", "state.snapshot_every=1h"]);
    command.env("OUZEL_KILL_AT", "sessions.committed:6").stderr(Stdio::null());
    assert!(!output(&mut command).status.success(), "it is killed");
    let out = output(&mut place.run(&["--set", "sessions.gap=10m"]));
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(5), "{said}");
    assert!(said.contains("savepoint --stop") && said.contains("--accept-divergence"), "{said}");
    fine(&mut place.run(&[]));
    fine(&mut place.run(&["--close", "--set", "sessions.gap=10m"]));
    let mut child = ouzel();
    child.args(["data", "verify", "--data"]).arg(place.data());
    let mut said = String::new();
    let _ = fine(&mut child).stdout.as_slice().read_to_string(&mut said);
}

#[test]
fn an_event_that_the_stage_fails_on_is_set_aside_and_its_neighbours_never_knew_it() {
    let run = |events: &[&str], plant: bool, kill: bool| {
        let place = Place::new();
        let lines: String = events
            .iter()
            .enumerate()
            .map(|(n, kind)| {
                format!("{{\"messageId\":\"{n}-{kind}\",\"event\":\"{kind}\",\"anonymousId\":\"v\",\"timestamp\":\"2026-01-01T00:{n:02}:00Z\"}}\n")
            })
            .collect();
        fs::write(place.input(), lines).expect("written");
        let command = || {
            let mut command = ouzel();
            command.args(["run", "--close", "--set", "state.snapshot_every=1h", "--input"]).arg(place.input());
            command.arg("--data").arg(place.data());
            if plant {
                command.env("OUZEL_PLANT", "panics_on_event");
            }
            command
        };
        if kill {
            // Before it is closed: what was set aside is set aside again by the replay.
            let mut killed = command();
            assert!(
                !output(killed.env("OUZEL_KILL_AT", "sessions.committed:1").stderr(Stdio::null())).status.success()
            );
        }
        let out = fine(&mut command());
        let said = text(&out.stderr);
        let finals: Vec<(u64, Value)> = place
            .records("sessions")
            .into_iter()
            .filter(|r| r["kind"] == "final")
            .map(|r| (r["events"].as_u64().expect("a count"), r["types"].clone()))
            .collect();
        (finals, place.records("dlq"), said)
    };
    for kill in [false, true] {
        let (with, dead, said) = run(&["a", "poison", "b", "b", "poison", "c"], true, kill);
        let (without, none, _) = run(&["a", "skipped", "b", "b", "skipped", "c"], false, false);
        assert_eq!(none.len(), 0);
        assert_eq!(dead.len(), 2, "{said}");
        assert_eq!(dead[0]["code"], "operator_panic");
        assert_eq!(with.len(), 1);
        assert_eq!((with[0].0, without[0].0), (4, 6), "the neighbours");
    }
}

/// A disk of its own; needs the right to mount.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Disk {
        fs::create_dir(at).expect("made");
        let out = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"])
            .arg(at)
            .output()
            .expect("there is a `mount`");
        let said = text(&out.stderr);
        assert!(out.status.success(), "a full disk cannot be tried: {said} (run the tests as root)");
        Disk(at.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The disk is full in the middle of commits. What they changed in memory is taken back; when there is room again the same
/// process goes on, and its sessions are as if nothing had been.
#[test]
fn a_disk_that_is_full_in_mid_commit_costs_no_restart_and_no_session() {
    let (place, expected) = (Place::new(), expected());
    write_clicks(&place.input(), 600, 4711);
    let disk = Disk::mount(&place.tmp.path().join("disk"), "96m");
    let filler = disk.0.join("filler");
    fs::write(&filler, vec![1; 64 << 20]).expect("written");
    let data = disk.0.join("data");
    let mut command = ouzel();
    command.args(["run", "--preset", "csv", "--map", "time=/timestamp,zone=UTC", "--set", "time.out_of_order=10m"]);
    command.args(["--set", "data.segment=2MiB", "--set", "data.min_free=1MiB", "--close", "--json"]);
    command.args(["--set", "state.snapshot_every=100ms", "--input"]).arg(place.input()).arg("--data").arg(&data);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_secs(4));
    assert!(child.try_wait().expect("a process").is_none(), "it waits for room");
    fs::remove_file(&filler).expect("removed");
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().expect("a process").is_none() {
        assert!(Instant::now() < deadline, "it does not go on although there is room");
        std::thread::sleep(Duration::from_millis(50));
    }
    let out = child.wait_with_output().expect("it ended");
    assert!(out.status.success(), "{}", text(&out.stderr));
    let sums = json(&out.stdout);
    assert_eq!((&sums["processed"], &sums["in_flight"]), (&Value::from(31_106), &Value::from(0)), "{sums}");
    std::os::unix::fs::symlink(&data, place.data()).expect("linked");
    same(&place.rows(), &expected, "after the full disk");
}

/// A log that is older than what the directory has seen is all late, and the run says what to do.
#[test]
fn a_log_of_the_past_is_told_to_be_one() {
    let place = Place::new();
    let read = |name: &str, year: u32| {
        let lines: String = (0..40)
            .map(|n| {
                let time = format!("{year}-03-01T{:02}:00:00Z", n % 20);
                format!("{{\"messageId\":\"{name}-{n}\",\"event\":\"e\",\"anonymousId\":\"v{n}\",\"timestamp\":\"{time}\"}}\n")
            })
            .collect();
        let input = place.tmp.path().join(name);
        fs::write(&input, lines).expect("written");
        let mut command = ouzel();
        command.args(["run", "--set", "data.partitions=1", "--set", "time.out_of_order=1d", "--input"]).arg(input);
        text(&fine(command.arg("--data").arg(place.data())).stderr)
    };
    assert!(!read("new", 2026).contains("too late"));
    let said = read("old", 2020);
    assert!(said.contains("40 events were too late for their session") && said.contains("older than what"), "{said}");
    assert_eq!(place.records("late").len(), 40);
}

/// What a server says of a user comes from another partition of `raw` than what the browser says. That partition was told to
/// be empty; before its first event it must be told to be active, or the browser's newer events pass by it.
#[test]
fn an_input_that_was_empty_holds_the_watermark_before_its_first_event() {
    let place = Place::new();
    let set = ["--set", "data.partitions=64", "--set", "time.out_of_order=0s", "--set", "sessions.allowed_lateness=0s"];
    let run = Running::start(&place.data(), &set);
    let time = |minutes: u32| format!("2026-01-01T{:02}:{:02}:00Z", minutes / 60, minutes % 60);
    let made = |id: &str, at: u32, who: &str| {
        format!("{{\"messageId\":\"{id}\",\"event\":\"e\",\"timestamp\":\"{}\",{who}}}", time(at))
    };
    // The browser's partition is read first.
    let of = |key: &str| event::key::partition_of(key.as_bytes(), 64);
    let user = (0..).map(|n| format!("u{n}")).find(|u| of(&format!("user:{u}")) > of("v")).expect("there is one");
    let browser = format!("\"anonymousId\":\"v\",\"userId\":\"{user}\"");
    let send = |events: &[String]| assert_eq!(run.events(&format!("[{}]", events.join(","))).0, 200);
    send(&[made("seen", 40, &browser)]);
    run.quiet();
    // One request is one commit: all of it waits when the first of it is read.
    let server = made("server", 50, &format!("\"userId\":\"{user}\""));
    send(&[made("newer", 100, &browser), made("newest", 101, &browser), server]);
    run.quiet();
    assert_eq!(run.stop(), 0);
    let linked = place.records("enriched").iter().filter(|e| e["enriched"]["visitor"]["how"] == "linked").count();
    assert_eq!(linked, 1);
    assert_eq!(place.records("late"), [] as [Value; 0]);
}
