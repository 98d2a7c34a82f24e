//! `ouzel init`: what it writes for real events runs as it is, and says what the summary says.

#![allow(clippy::disallowed_methods)] // tests look at real files

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use support::{Running, data, fine, json, output, ouzel, text};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// `ouzel init --from SAMPLE` in a directory of its own, and then a run of what it wrote, unedited: both as JSON.
fn init_and_run(sample: &Path, more: &[&str]) -> (tempfile::TempDir, Value, Value) {
    let tmp = tempfile::tempdir().expect("a directory");
    let init = fine(ouzel().current_dir(&tmp).args(["init", "--json", "--from"]).arg(sample));
    fine(ouzel().current_dir(&tmp).arg("check"));
    let listen = ["run", "--until-idle", "--json", "--listen", "127.0.0.1:0"];
    let run = fine(ouzel().current_dir(&tmp).args(listen).args(more));
    (tmp, json(&init.stdout), json(&run.stdout))
}

/// `field -> pointers`, with format and zone, of what was found.
fn found(init: &Value) -> Vec<String> {
    let fields = init["fields"].as_array().expect("fields").iter();
    let show = |f: &Value| {
        let first = f["pointers"].get(0).or(f.get("value")).filter(|v| !v.is_null())?.as_str()?;
        let part = |name: &str| f[name].as_str().map_or(String::new(), |v| format!(" {v}"));
        Some(format!("{} {first}{}{}", f["field"].as_str()?, part("format"), part("zone")))
    };
    fields.filter_map(show).collect()
}

fn enriched(dir: &Path) -> Vec<Value> {
    let out = fine(ouzel().current_dir(dir).args(["tail", "enriched", "--from", "start"]));
    out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(json).collect()
}

#[test]
fn events_of_github_run_with_what_was_written() {
    let (tmp, init, run) = init_and_run(&data("nested/github-events.ndjson"), &[]);
    assert_eq!(found(&init), ["id /id", "type /type", "time /created_at", "user /actor/id"]);
    assert_eq!((&init["accepted"], &init["events"], &init["whole"]), (&100.into(), &100.into(), &true.into()));
    assert_eq!((&run["accepted"], &run["refused"], &run["enriched"]), (&100.into(), &0.into(), &100.into()));
    let events = enriched(tmp.path());
    assert_eq!(events.len(), 100);
    for event in events {
        let visitor = format!("user:{}", event["actor"]["id"]);
        assert_eq!(event["enriched"]["visitor"]["id"], visitor);
    }
}

#[test]
fn rows_logs_and_sdk_events_run_with_what_was_written() {
    let (_tmp, init, run) = init_and_run(&data("clicks/ecom.csv"), &[]);
    assert_eq!(found(&init), ["type /event", "time /timestamp UTC", "user /user_id", "session /session_id"]);
    assert_eq!((&run["accepted"], &run["refused"]), (&31_106.into(), &0.into()));

    let (_tmp, init, run) = init_and_run(&data("weblogs/apache_logs"), &[]);
    assert_eq!((&init["preset"], &init["preset_fits"]), (&"access-log".into(), &true.into()));
    assert_eq!((&init["accepted"], &init["events"], &init["whole"]), (&1_000.into(), &1_000.into(), &false.into()));
    assert_eq!((&run["accepted"], &run["refused"]), (&10_000.into(), &0.into()));

    for (name, accepted, refused) in
        [("events.ndjson", 10, 2), ("github.ndjson", 5, 0), ("access.log", 200, 0), ("shop.csv", 50, 0)]
    {
        let (_tmp, init, run) = init_and_run(&example(name), &[]);
        assert_eq!((&init["accepted"], &run["accepted"]), (&accepted.into(), &accepted.into()), "{name}");
        let told: u64 = init["refused"].as_array().expect("a list").iter().filter_map(|r| r["events"].as_u64()).sum();
        assert_eq!((told, &run["refused"]), (refused, &refused.into()), "{name}");
    }
}

/// Shapes that nobody sent to us, but many people have.
#[test]
fn shapes_made_by_hand_run_with_what_was_written() {
    let tmp = tempfile::tempdir().expect("a directory");
    for (name, event, expected) in [
        (
            "nested milliseconds",
            r#"{"meta":{"ts":171032527$n,"event":"e"},"actor":{"id":"u$n"}}"#,
            &["type /meta/event", "time /meta/ts epoch_ms", "user /actor/id"][..],
        ),
        (
            "a cloud event",
            r#"{"specversion":"1.0","id":"$n","source":"/x","type":"t","time":"2024-03-13T10:21:14Z","data":{"userId":"u"}}"#,
            &["id /id", "type /type", "time /time", "user /data/userId"],
        ),
        (
            "an export of Google Analytics",
            r#"{"event_timestamp":"161208000000$n","event_name":"e","user_id":null,"user_pseudo_id":"18.16","event_params":[]}"#,
            &["type /event_name", "time /event_timestamp epoch_us", "visitor /user_pseudo_id"],
        ),
        (
            "flat rows of Snowplow",
            r#"{"event":"page_view","event_id":"e-$n","collector_tstamp":"2024-03-13 10:21:15.120","domain_userid":"d$n","user_ipaddress":"203.0.113.7","event_name":"page_view"}"#,
            &[
                "id /event_id",
                "type /event_name",
                "time /collector_tstamp UTC",
                "visitor /domain_userid",
                "ip /user_ipaddress",
            ],
        ),
    ] {
        let lines: String = (0..30).map(|n| event.replace("$n", &(1000 + n).to_string()) + "\n").collect();
        let sample = tmp.path().join(format!("{name}.ndjson"));
        std::fs::write(&sample, &lines).expect("written");
        let (_tmp, init, run) = init_and_run(&sample, &[]);
        assert_eq!(found(&init), expected, "{name}");
        assert_eq!(
            (&run["accepted"], &run["refused"], &run["enriched"]),
            (&30.into(), &0.into(), &30.into()),
            "{name}"
        );
    }
}

#[test]
fn a_compressed_sample_and_one_from_a_pipe_are_looked_at_too() {
    use std::io::Write as _;
    let tmp = tempfile::tempdir().expect("a directory");
    let events = std::fs::read(data("nested/github-events.ndjson")).expect("the data");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&events).expect("to memory");
    let packed = [gzip.finish().expect("to memory"), zstd::encode_all(&events[..], 3).expect("to memory")];
    for (n, bytes) in packed.iter().enumerate() {
        let sample = tmp.path().join(format!("events.{n}"));
        std::fs::write(&sample, bytes).expect("written");
        let (_tmp, init, run) = init_and_run(&sample, &[]);
        assert_eq!((&init["accepted"], &run["accepted"]), (&100.into(), &100.into()));
    }
    // Rows from a pipe are read from the standard input again.
    let rows = std::fs::File::open(example("shop.csv")).expect("the rows");
    let init = fine(ouzel().current_dir(&tmp).args(["init", "--from", "-"]).stdin(Stdio::from(rows)));
    assert!(text(&init.stderr).contains("50 of 50 events would be accepted"), "{}", text(&init.stderr));
    let rows = std::fs::File::open(example("shop.csv")).expect("the rows");
    let listen = ["run", "--until-idle", "--json", "--listen", "127.0.0.1:0"];
    let run = fine(ouzel().current_dir(&tmp).args(listen).stdin(Stdio::from(rows)));
    assert_eq!(json(&run.stdout)["accepted"], 50);
}

#[test]
fn the_batch_of_an_sdk_is_for_requests() {
    let tmp = tempfile::tempdir().expect("a directory");
    let batch = r#"{"sentAt":"2026-11-22T19:30:01Z","context":{"ip":"8.8.8.8"},"batch":[
        {"type":"page","messageId":"1","anonymousId":"v","timestamp":"2026-11-22T19:30:00Z"},
        {"type":"track","event":"x","messageId":"2","anonymousId":"v","timestamp":"2026-11-22T19:30:00Z"}]}"#;
    std::fs::write(tmp.path().join("batch.json"), batch).expect("written");
    let init = fine(ouzel().current_dir(&tmp).args(["init", "--json", "--from", "batch.json"]));
    assert_eq!(json(&init.stdout)["accepted"], 2);
    let config = tmp.path().join("ouzel.toml").display().to_string();
    let running = Running::start(&tmp.path().join("data"), &["-c", &config]);
    let (status, answer) = running.events(batch);
    assert_eq!((status, &answer["accepted"]), (200, &2.into()), "{answer}");
    assert_eq!(running.stop(), 0);
}

#[test]
fn a_configuration_elsewhere_finds_the_sample() {
    let tmp = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(tmp.path().join("conf")).expect("made");
    std::fs::create_dir_all(tmp.path().join("events")).expect("made");
    std::fs::copy(example("github.ndjson"), tmp.path().join("events/a b.ndjson")).expect("copied");
    let init = ["init", "--from", "events/a b.ndjson", "--output", "conf/mine.toml"];
    fine(ouzel().current_dir(&tmp).args(init));
    // From another directory, too: paths are relative to the file.
    let run = ["run", "-c", "conf/mine.toml", "--until-idle", "--json", "--listen", "127.0.0.1:0"];
    let run = fine(ouzel().current_dir(&tmp).args(run));
    assert_eq!(json(&run.stdout)["accepted"], 5);
    let other = tempfile::tempdir().expect("a directory");
    let config = tmp.path().join("conf/mine.toml");
    fine(ouzel().current_dir(&other).args(["check", "-c"]).arg(config));
}

#[test]
fn without_a_sample_everything_is_at_its_default() {
    let tmp = tempfile::tempdir().expect("a directory");
    fine(ouzel().current_dir(&tmp).arg("init"));
    let check = |dir: &Path| text(&fine(ouzel().current_dir(dir).arg("check")).stdout);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let lines = |said: String| said.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    // Paths are told relative to the file they stand in.
    assert_eq!(lines(check(tmp.path())), lines(check(elsewhere.path())));
    let shown = fine(ouzel().current_dir(&tmp).args(["init", "--output", "-"])).stdout;
    assert_eq!(shown, std::fs::read(tmp.path().join("ouzel.toml")).expect("written"));
}

/// Nothing that stands in an event is printed or written: a sample is full of people.
#[test]
fn no_value_of_an_event_is_told() {
    let tmp = tempfile::tempdir().expect("a directory");
    let lines: String = (0..50)
        .map(|n| {
            format!(
                "{{\"event\":\"secret-type-{}\",\"user_id\":\"secret-user-{n}\",\"email\":\"secret{n}@mail.example\",\"ip\":\"203.0.113.{n}\",\
                 \"url\":\"https://secret.example/{n}\",\"ts\":\"1999-12-31T23:59:{:02}Z\",\"ua\":\"SecretAgent/{n}.0\",\"odd\":\"secret\"}}\n",
                n % 3,
                n % 60
            )
        })
        .collect::<String>()
        + "{\"event\":\"secret-type-1\",\"ts\":\"secret\"}\nsecret\n";
    std::fs::write(tmp.path().join("x.ndjson"), lines).expect("written");
    for args in [&["init", "--from", "x.ndjson"][..], &["init", "--force", "--json", "--from", "x.ndjson"]] {
        let out = fine(ouzel().current_dir(&tmp).args(args));
        let written = std::fs::read_to_string(tmp.path().join("ouzel.toml")).expect("written");
        let said = text(&out.stdout) + &text(&out.stderr) + &written;
        for value in ["secret", "Secret", "203.0.113", "1999-12-31", "mail.example"] {
            assert!(!said.contains(value), "{value} in {said}");
        }
        assert!(said.contains("/user_id") && said.contains("/ua"), "{said}");
    }
}

#[test]
fn exit_codes_say_whose_turn_it_is() {
    let tmp = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| std::fs::write(tmp.path().join(name), bytes).expect("written");
    file("log", b"Mar 27 13:06:56 host sshd[1291]: Server listening on 0.0.0.0 port 22.\n");
    file("empty", b"");
    file("zip", b"PK\x03\x04 and so on");
    file("good", b"{\"event\":\"x\"}\n");
    file("deep", ("{\"event\":".repeat(100) + "1" + &"}".repeat(100) + "\n").as_bytes());
    for (args, code) in [
        (&["init", "--from", "log"][..], 2),
        (&["init", "--from", "empty"], 2),
        (&["init", "--from", "zip"], 3),
        (&["init", "--from", "not-there"], 2),
        (&["init", "--from", "deep"], 1),
        (&["init", "--from", "good", "--output", "no/such/dir.toml"], 5),
        (&["init", "-c", "x.toml"], 2),
        (&["init", "--from", "good"], 0),
        (&["init", "--from", "good"], 2),
        (&["init", "--from", "good", "--force"], 0),
        (&["init"], 2),
    ] {
        let out = output(ouzel().current_dir(&tmp).args(args));
        assert_eq!(out.status.code(), Some(code), "{args:?}: {}", text(&out.stderr));
        assert_eq!(tmp.path().join("ouzel.toml").exists(), args.contains(&"good") && code != 5 || args == ["init"]);
    }
}
