//! What a newcomer does first, on real data: files, presets, field maps, pipes, and the commands beside.

mod support;

use std::collections::BTreeMap;
use std::process::Stdio;

use serde_json::Value;
use support::{Running, data, fine, json, output, ouzel, text};

/// Every enriched event of a stopped directory.
fn enriched(dir: &std::path::Path) -> Vec<Value> {
    let out = fine(ouzel().args(["tail", "enriched", "--from", "start", "--data"]).arg(dir));
    out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect()
}

#[test]
fn a_real_web_log_runs_once_and_only_once() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let run = |input: &std::path::Path| {
        let mut geo = std::ffi::OsString::from("geo.database=");
        geo.push(data("geo/country-pddl.mmdb"));
        let out = fine(
            ouzel()
                .args(["run", "--preset", "access-log", "--until-idle", "--json", "--input"])
                .arg(input)
                .arg("--set")
                .arg(&geo)
                .arg("--data")
                .arg(&dir),
        );
        json(&out.stdout)
    };
    let log = data("weblogs/apache_logs");
    let first = run(&log);
    for (name, count) in [("accepted", 10_000), ("enriched", 10_000), ("refused", 0), ("deduplicated", 0)] {
        assert_eq!(first[name], count, "{name}: {first}");
    }
    assert_eq!(first["adds_up"], true);
    assert_eq!(first["total"]["adds_up"], true);

    let events = enriched(&dir);
    assert_eq!(events.len(), 10_000);
    let mut by_address: BTreeMap<String, bool> = BTreeMap::new();
    for event in &events {
        let member = &event["enriched"];
        let found = member["geo"]["country"].is_string();
        assert_eq!(found, member["status"]["geo"] != "miss", "{event}");
        by_address.insert(event["ip"].as_str().expect("an address").to_owned(), found);
    }
    let with = by_address.values().filter(|found| **found).count();
    assert_eq!((by_address.len(), with, by_address.len() - with), (1_753, 1_655, 98));

    let again = run(&log);
    assert_eq!((&again["accepted"], &again["enriched"]), (&0.into(), &0.into()), "again: {again}");
    let other = tmp.path().join("another_name");
    std::fs::copy(&log, &other).expect("a copy");
    let renamed = run(&other);
    assert_eq!((&renamed["accepted"], &renamed["enriched"]), (&10_000.into(), &10_000.into()), "renamed: {renamed}");
    assert_eq!(renamed["total"]["accepted"], 20_000);
}

/// Whoever writes into it takes a while to begin, and again in the middle.
#[test]
fn a_pipe_that_pauses_has_not_ended() {
    let tmp = tempfile::tempdir().expect("a directory");
    let mut child = ouzel()
        .args(["run", "--input", "-", "--json", "--data"])
        .arg(tmp.path().join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    for n in 0..3 {
        std::thread::sleep(std::time::Duration::from_millis(600));
        let event = format!("{{\"type\":\"page\",\"messageId\":\"m-{n}\",\"anonymousId\":\"v-1\"}}\n");
        std::io::Write::write_all(&mut input, event.as_bytes()).expect("it still reads");
    }
    drop(input);
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(json(&out.stdout)["enriched"], 3);
}

#[test]
fn a_pipe_simply_works() {
    let tmp = tempfile::tempdir().expect("a directory");
    let mut child = ouzel()
        .args(["run", "--input", "-", "--output", "-", "--preset", "access-log", "--data"])
        .arg(tmp.path().join("data"))
        .stdin(Stdio::from(std::fs::File::open(data("weblogs/apache_logs")).expect("the log")))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = 0;
    for line in std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped"))) {
        let event: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        assert!(event["enriched"]["v"] == 1);
        lines += 1;
    }
    assert!(child.wait().expect("it ends").success());
    assert_eq!(lines, 10_000);
}

#[test]
fn nested_events_with_a_field_map() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let config = tmp.path().join("ouzel.toml");
    let text = format!(
        "version = 1\n[[source]]\nname = \"github\"\nkind = \"file\"\npath = {:?}\n[source.map]\nid = \"/id\"\ntype = \"/type\"\n\
         time = \"/created_at\"\nuser = \"/actor/id\"\nvisitor = \"/actor/login\"\n",
        data("nested/github-events.ndjson")
    );
    std::fs::write(&config, text).expect("a file");
    let out = fine(
        ouzel()
            .args(["run", "--until-idle", "--json", "--listen", "127.0.0.1:0", "-c"])
            .arg(&config)
            .arg("--data")
            .arg(&dir),
    );
    let summary = json(&out.stdout);
    assert_eq!(
        (&summary["accepted"], &summary["refused"], &summary["enriched"]),
        (&100.into(), &0.into(), &100.into())
    );
    for event in enriched(&dir) {
        assert_eq!(event["enriched"]["visitor"]["id"], event["actor"]["login"]);
        assert_eq!(event["enriched"]["visitor"]["how"], "given");
    }
}

#[test]
fn a_csv_file_with_a_zone() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let out = fine(
        ouzel()
            .args(["run", "--until-idle", "--json", "--preset", "csv", "--map", "time=/timestamp,zone=UTC", "--input"])
            .arg(data("clicks/ecom.csv"))
            .arg("--data")
            .arg(&dir),
    );
    let summary = json(&out.stdout);
    assert_eq!((&summary["accepted"], &summary["refused"]), (&31_106.into(), &0.into()), "{summary}");
}

#[test]
fn an_output_file_holds_every_line_once_over_restarts() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (dir, file) = (tmp.path().join("data"), tmp.path().join("out.ndjson"));
    let run = |input: &std::path::Path| {
        fine(
            ouzel()
                .args(["run", "--preset", "access-log", "--until-idle", "--json", "--input"])
                .arg(input)
                .arg("--output")
                .arg(&file)
                .arg("--data")
                .arg(&dir),
        );
    };
    run(&data("weblogs/apache_logs"));
    // What a crash would leave: lines written whose position was not committed.
    let mut whole = std::fs::read(&file).expect("the output");
    whole.extend_from_slice(b"{\"half\":");
    std::fs::write(&file, &whole).expect("written");
    let other = tmp.path().join("other");
    std::fs::copy(data("weblogs/apache_logs"), &other).expect("a copy");
    run(&other);
    let lines = std::fs::read(&file).expect("the output");
    let lines: Vec<_> = lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    assert_eq!(lines.len(), 20_000);
    for line in lines {
        json(line);
    }
}

#[test]
fn http_in_and_the_commands_beside() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let running = Running::start(&dir, &[]);
    let (status, answer) = running.events(
        r#"[{"messageId":"m-1","event":"view","anonymousId":"v-1"},
            {"messageId":"m-2","anonymousId":"v-1"},
            {"messageId":"m-1","event":"view","anonymousId":"v-1"},
            {"messageId":"m-1","event":"view","anonymousId":"v-1","more":true}]"#,
    );
    assert_eq!(status, 200, "{answer}");
    assert_eq!((&answer["accepted"], &answer["refused"]), (&3.into(), &1.into()), "{answer}");
    assert_eq!(answer["results"][0]["index"], 1);
    assert_eq!(answer["results"][0]["code"], "missing_field");
    running.quiet();
    let sums = json(&running.get("/status.json").1)["sums"].clone();
    for (name, n) in [("accepted", 3), ("refused", 1), ("processed", 1), ("deduplicated", 1), ("quarantined", 1)] {
        assert_eq!(sums[name], n, "{name}: {sums}");
    }
    assert_eq!(sums["adds_up"], true);
    assert_eq!(running.get("/readyz").0, 200);
    let metrics = text(&running.get("/metrics").1);
    assert!(metrics.contains("ouzel_events_deduplicated_total 1\n"), "{metrics}");
    assert!(text(&running.get("/").1).contains("<html"));

    // Beside the running process, and again on the stopped directory: the same.
    let look = || {
        let list = fine(ouzel().args(["dlq", "list", "--json", "--data"]).arg(&dir)).stdout;
        let tail = fine(ouzel().args(["tail", "--data"]).arg(&dir)).stdout;
        let topics = fine(ouzel().args(["topics", "--json", "--data"]).arg(&dir)).stdout;
        // In `enriched` the owner of a quiet input goes on saying what time it is.
        let mut topics = json(&topics)["topics"].clone();
        topics.as_array_mut().expect("a list").retain(|t| ["raw", "dlq"].contains(&t["name"].as_str().expect("a name")));
        (text(&list), text(&tail), topics)
    };
    let beside = look();
    assert_eq!(beside.0.lines().count(), 2, "{}", beside.0);
    assert!(beside.0.contains("conflicting_duplicate") && beside.0.contains("missing_field"));
    assert_eq!(beside.1.lines().count(), 1);
    let shown = fine(ouzel().args(["dlq", "show", "m-1", "--original", "--data"]).arg(&dir)).stdout;
    assert_eq!(text(&shown), r#"{"messageId":"m-1","event":"view","anonymousId":"v-1","more":true}"#);
    assert!(fine(ouzel().args(["doctor", "--data"]).arg(&dir)).status.success());
    assert_eq!(running.stop(), 0);
    assert_eq!(look(), beside);
    let verify = fine(ouzel().args(["data", "verify", "--data"]).arg(&dir)).stdout;
    assert!(text(&verify).contains("every checksum is right"));
}

#[test]
fn without_a_database_it_runs_and_says_what_is_missing() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let input = tmp.path().join("one.ndjson");
    std::fs::write(&input, "{\"event\":\"view\",\"anonymousId\":\"v\",\"context\":{\"ip\":\"1.1.1.1\"}}\n")
        .expect("a file");
    fine(ouzel().args(["run", "--input"]).arg(&input).arg("--data").arg(&dir));
    let event = &enriched(&dir)[0];
    assert_eq!(event["enriched"]["status"]["geo"], "skipped");
    let doctor = fine(ouzel().args(["doctor", "--data"]).arg(&dir)).stdout;
    assert!(text(&doctor).contains("no database"), "{}", text(&doctor));
}

#[test]
fn after_a_repair_nobody_waits_for_what_is_lost() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (dir, input) = (tmp.path().join("data"), tmp.path().join("in"));
    let run = |events: std::ops::Range<u32>| {
        let lines: String =
            events.map(|n| format!("{{\"event\":\"e\",\"messageId\":\"{n}\",\"anonymousId\":\"v{n}\"}}\n")).collect();
        std::fs::write(&input, lines).expect("written");
        let out = fine(ouzel().args(["run", "--json", "--input"]).arg(&input).arg("--data").arg(&dir));
        json(&out.stdout)
    };
    assert_eq!(run(0..20)["enriched"], 20);
    let segment = dir.join("journal/00000000000000000001.seg");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    bytes[900..904].copy_from_slice(b"XXXX");
    std::fs::write(&segment, bytes).expect("damaged");
    assert_eq!(output(ouzel().args(["run", "--input", "-", "--data"]).arg(&dir)).status.code(), Some(3));
    fine(ouzel().args(["data", "repair", "--quarantine", "--data"]).arg(&dir));

    let running = Running::start(&dir, &[]);
    running.quiet();
    let sums = json(&running.get("/status.json").1)["sums"].clone();
    assert!(sums["accepted"].as_u64() <= Some(20) && sums["adds_up"] == true, "{sums}");
    assert_eq!(running.stop(), 0, "a drain that waits for nothing");
    let after = run(100..130);
    assert_eq!(
        (&after["accepted"], &after["enriched"], &after["adds_up"]),
        (&30.into(), &30.into(), &true.into()),
        "{after}"
    );
}

#[test]
fn a_second_writer_is_refused_by_name() {
    let tmp = tempfile::tempdir().expect("a directory");
    let dir = tmp.path().join("data");
    let running = Running::start(&dir, &[]);
    let second = output(ouzel().args(["run", "--listen", "127.0.0.1:0", "--data"]).arg(&dir));
    assert_eq!(second.status.code(), Some(4));
    let said = text(&second.stderr);
    assert!(said.contains(&running.child.id().to_string()), "{said}");
}
