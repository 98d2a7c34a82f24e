//! `ouzel gen` as people use it: in pipes, into files, against receivers that are slow, busy or gone.

#![allow(clippy::disallowed_methods)] // tests look at real files, processes and clocks

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Running, data, fine, json, output, ouzel, signal, text};

fn generated() -> Command {
    let mut command = ouzel();
    command.arg("gen");
    command
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect()
}

fn truth(dir: &Path, name: &str) -> Vec<Value> {
    let bytes = std::fs::read(dir.join(format!("{name}.ndjson"))).expect("a file of the truth");
    lines(&bytes).into_iter().map(json).collect()
}

/// A receiver of our own: for each request its body goes to the test, and `answer` says what is answered and when.
fn receiver(
    mut answer: impl FnMut(usize) -> (Duration, &'static str) + Send + 'static,
) -> (SocketAddr, mpsc::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("bound");
    let (send, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        let mut requests = 0;
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.expect("a caller");
            let mut reader = BufReader::new(stream.try_clone().expect("a clone"));
            'request: loop {
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        break 'request;
                    }
                    match line.trim_end().split_once(": ") {
                        Some(("Content-Length", n)) => length = n.parse().expect("a number"),
                        None if line.trim_end().is_empty() => break,
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("a body");
                let _ = send.send(body);
                let (after, what) = answer(requests);
                requests += 1;
                std::thread::sleep(after);
                if what.is_empty() || stream.write_all(what.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    (addr, bodies)
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn the_same_seed_makes_the_same_bytes_wherever_they_go() {
    let tmp = tempfile::tempdir().expect("a directory");
    let file = tmp.path().join("events.ndjson");
    let args = ["--events", "3000", "--seed", "9", "--shuffled", "2s"];
    let printed = fine(generated().args(args)).stdout;
    assert_eq!(lines(&printed).len(), 3000);
    assert_eq!(printed, fine(generated().args(args)).stdout, "again");
    fine(generated().args(args).arg("--output").arg(&file));
    assert_eq!(printed, std::fs::read(&file).expect("the file"), "into a file");
    let (addr, bodies) = receiver(|_| (AT_ONCE, FINE));
    fine(generated().args(args).args(["--connections", "1", "--batch", "77", "--to", &format!("http://{addr}")]));
    assert_eq!(printed, bodies.try_iter().flatten().collect::<Vec<u8>>(), "over HTTP");
    assert_ne!(printed, fine(generated().args(["--events", "3000", "--shuffled", "2s"])).stdout, "another seed");
}

#[test]
fn the_example_is_what_its_command_makes() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let page = std::fs::read_to_string(examples.join("README.md")).expect("the page");
    let command = page.split("`ouzel gen ").nth(1).and_then(|rest| rest.split('`').next()).expect("the command");
    let made = fine(generated().args(command.split(' '))).stdout;
    assert_eq!(made, std::fs::read(examples.join("marketplace.ndjson")).expect("the example"));
}

#[test]
fn five_events_are_pleasant_to_look_at() {
    let out = fine(generated().args(["--events", "5"]));
    assert_eq!(out.stderr, b"", "nothing but the events");
    let events: Vec<Value> = lines(&out.stdout).into_iter().map(json).collect();
    assert_eq!(events.len(), 5);
    assert!(events.iter().all(|e| e["timestamp"].as_str().is_some_and(|t| t.starts_with("2026-11-22T12:00:0"))));
}

/// The truth says what must become of every record, and `run` makes that of it.
#[test]
fn a_pipe_into_run_adds_up_with_the_truth() {
    let tmp = tempfile::tempdir().expect("a directory");
    let truth_dir = tmp.path().join("truth");
    let mut source = generated()
        .args(["--events", "20000", "--doubled", "6%", "--conflicting", "0.5%", "--shuffled", "3s", "--truth"])
        .arg(&truth_dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut run = ouzel();
    run.args(["run", "--input", "-", "--json", "--data"]).arg(tmp.path().join("data"));
    let out = fine(run.stdin(source.stdout.take().expect("piped")));
    assert!(source.wait().expect("it ends").success());
    let events = truth(&truth_dir, "events");
    assert_eq!(events.len(), 20_000);
    let count = |kinds: &[&str]| events.iter().filter(|e| kinds.contains(&e["kind"].as_str().expect("a kind"))).count();
    let said = json(&out.stdout);
    for (name, kinds) in [
        ("refused", &["malformed"][..]),
        ("deduplicated", &["duplicate"]),
        ("quarantined", &["conflict"]),
        ("processed", &["good", "late", "future"]),
    ] {
        assert!(count(kinds) > 10, "{kinds:?}");
        assert_eq!(said[name], count(kinds), "{name}: {said}");
    }
    // Every refusal is for the reason that the truth names.
    let dead = fine(ouzel().args(["dlq", "list", "-n", "100000", "--json", "--data"]).arg(tmp.path().join("data")));
    let mut codes: BTreeMap<String, usize> = BTreeMap::new();
    for letter in lines(&dead.stdout).into_iter().map(json) {
        let code = letter["code"].as_str().or(letter["value"]["code"].as_str()).expect("a code").to_owned();
        *codes.entry(code).or_default() += 1;
    }
    for code in ["not_json", "not_utf8", "missing_field", "bad_field", "bad_time"] {
        let expected = events.iter().filter(|e| e["code"] == code).count();
        assert!(expected > 0);
        assert_eq!(codes.get(code).copied().unwrap_or(0), expected, "{code}: {codes:?}");
    }
}

/// The addresses are real: a database that knows nothing of the generator finds people in the countries they live in.
#[test]
fn people_are_found_in_their_countries() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (truth_dir, file) = (tmp.path().join("truth"), tmp.path().join("events.ndjson"));
    let mut command = generated();
    command.args(["--clean", "--events", "20000", "--people", "8000000", "--truth"]).arg(&truth_dir);
    fine(command.arg("--output").arg(&file));
    let mut geo = std::ffi::OsString::from("geo.database=");
    geo.push(data("geo/country-pddl.mmdb"));
    let out = tmp.path().join("enriched.ndjson");
    let mut run = ouzel();
    run.args(["run", "--until-idle", "--input"]).arg(&file).arg("--set").arg(&geo);
    fine(run.arg("--output").arg(&out).arg("--data").arg(tmp.path().join("data")));
    let people: BTreeMap<String, Value> = truth(&truth_dir, "people")
        .into_iter()
        .map(|p| (p["person"].as_str().expect("a name").to_owned(), p))
        .collect();
    let person_of: BTreeMap<String, String> = truth(&truth_dir, "events")
        .into_iter()
        .map(|e| (e["id"].as_str().expect("an id").to_owned(), e["person"].as_str().expect("a name").to_owned()))
        .collect();
    let (mut right, mut wrong, mut countries) = (0u32, BTreeMap::new(), BTreeSet::new());
    for event in lines(&std::fs::read(&out).expect("enriched events")).into_iter().map(json) {
        let person = &people[&person_of[event["messageId"].as_str().expect("an id")]];
        let vpn = person["networks"].as_array().expect("a list").iter().any(|n| n["place"] == "vpn");
        let Some(country) = person["country"].as_str() else { continue };
        if vpn || event["context"]["ip"].is_null() {
            continue;
        }
        if event["enriched"]["geo"]["country"] == country {
            right += 1;
            countries.insert(country.to_owned());
        } else {
            let networks = person["networks"].to_string();
            *wrong.entry(format!("{country} {} {networks}", event["enriched"]["geo"])).or_insert(0u32) += 1;
        }
    }
    let all_wrong: u32 = wrong.values().sum();
    assert!(right > 15_000 && countries.len() >= 20, "{right} right in {} countries", countries.len());
    assert!(all_wrong * 100 < right, "{all_wrong} of {right} somewhere else: {wrong:?}");
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    for args in [&[][..], &["--rate", "500"], &["--speed", "600"]] {
        let mut child =
            generated().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
        assert!(first.starts_with("{\"messageId\""));
        let out = child.wait_with_output().expect("it ends");
        assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn a_steady_stream_is_sent_when_it_is_due() {
    let begun = Instant::now();
    let out = fine(generated().args(["--rate", "200", "--for", "2s", "--clean", "--start", "2026-01-01T00:00:00Z"]));
    let took = begun.elapsed();
    assert!((1900..6000).contains(&took.as_millis()), "{took:?}");
    let events: Vec<Value> = lines(&out.stdout).into_iter().map(json).collect();
    assert_eq!(events.len(), 400);
    for (n, event) in events.iter().enumerate() {
        let us = n * 5000;
        let due = format!("2026-01-01T00:00:0{}.{:06}Z", us / 1_000_000, us % 1_000_000);
        assert_eq!((&event["timestamp"], &event["sentAt"]), (&Value::from(due.as_str()), &Value::from(due.as_str())));
    }
}

/// Open loop: a receiver that takes 400 ms for each answer makes events late, and changes neither their times nor how
/// many there are; and the latency says so.
#[test]
fn a_slow_receiver_does_not_slow_the_schedule() {
    let (addr, bodies) = receiver(|_| (Duration::from_millis(400), FINE));
    let mut command = generated();
    command.args(["--rate", "100", "--for", "2s", "--clean", "--start", "2026-01-01T00:00:00Z", "--json"]);
    let out = fine(command.args(["--connections", "1", "--to", &format!("http://{addr}")]));
    let said = json(&out.stdout);
    assert_eq!((&said["events"], &said["sent"]["accepted"]), (&200.into(), &200.into()), "{said}");
    assert_eq!(said["last"], "2026-01-01T00:00:01.990000Z");
    let batches: Vec<Vec<u8>> = bodies.try_iter().collect();
    assert!(batches.len() > 10, "{} batches", batches.len());
    let p99 = said["sent"]["p99_ms"].as_f64().expect("a number");
    assert!(p99 > 2_000.0, "what waited behind the others waited long: {said}");
    assert!(said["sent"]["behind"].as_u64().is_some_and(|n| n > 5), "{said}");
}

#[test]
fn a_busy_receiver_is_asked_again_when_it_said() {
    let (addr, bodies) = receiver(|n| (AT_ONCE, if n < 2 { BUSY } else { FINE }));
    let begun = Instant::now();
    let out =
        fine(generated().args(["--events", "250", "--connections", "1", "--json", "--to", &format!("http://{addr}")]));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let said = json(&out.stdout);
    assert_eq!((&said["sent"]["pushed_back"], &said["sent"]["requests"]), (&2.into(), &5.into()), "{said}");
    assert_eq!(said["sent"]["accepted"], 250);
    let bodies: Vec<Vec<u8>> = bodies.try_iter().collect();
    assert_eq!((&bodies[0], &bodies[0]), (&bodies[1], &bodies[2]), "the same batch again");
    assert_ne!(bodies[2], bodies[3]);
}

#[test]
fn a_lost_answer_is_followed_by_the_same_batch() {
    let (addr, bodies) = receiver(|n| (AT_ONCE, if n == 0 { "" } else { FINE }));
    let out =
        fine(generated().args(["--events", "50", "--connections", "1", "--json", "--to", &format!("http://{addr}")]));
    let said = json(&out.stdout);
    assert_eq!((&said["sent"]["resent"], &said["sent"]["accepted"]), (&1.into(), &50.into()), "{said}");
    let bodies: Vec<Vec<u8>> = bodies.try_iter().collect();
    assert_eq!((bodies.len(), &bodies[0]), (2, &bodies[1]));
}

#[test]
fn what_a_receiver_never_takes_is_said_and_is_no_success() {
    const REFUSES: &str = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 26\r\n\r\n{\"message\":\"is too large\"}";
    let (addr, _bodies) = receiver(|_| (AT_ONCE, REFUSES));
    let out = output(generated().args(["--events", "50", "--to", &format!("http://{addr}")]));
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("50 EVENTS WERE NOT TAKEN") && said.contains("status 413: is too large"), "{said}");
}

#[test]
fn an_ouzel_takes_what_is_sent_and_refuses_what_is_broken() {
    let tmp = tempfile::tempdir().expect("a directory");
    let running = Running::start(&tmp.path().join("data"), &[]);
    let to = format!("http://{}", running.addr);
    let out = fine(generated().args(["--events", "5000", "--malformed", "4%", "--json", "--to", &to]));
    let said = json(&out.stdout);
    assert_eq!(said["sent"]["refused"], said["malformed"], "{said}");
    assert_eq!(
        said["sent"]["accepted"].as_u64().expect("a number"),
        5000 - said["malformed"].as_u64().expect("a number")
    );
    assert!(said["sent"]["p50_ms"].is_number() && said["sent"]["failed"] == 0);
    running.quiet();
    let status = json(&running.get("/status.json").1);
    assert_eq!(status["sums"]["refused"], said["malformed"], "{status}");
    assert_eq!(status["sums"]["deduplicated"], said["duplicate"], "{status}");
}

/// Ctrl-C in the middle: what was written down as true is what was handed out.
#[test]
fn an_interrupted_run_ends_whole() {
    let tmp = tempfile::tempdir().expect("a directory");
    let (truth_dir, file) = (tmp.path().join("truth"), tmp.path().join("events.ndjson"));
    let mut command = generated();
    command.args(["--rate", "400", "--for", "1h", "--truth"]).arg(&truth_dir).arg("--output").arg(&file);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    while std::fs::metadata(&file).map_or(0, |m| m.len()) < 100_000 {
        assert!(Instant::now() < deadline, "nothing is written");
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "-INT");
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let bytes = std::fs::read(&file).expect("events");
    assert!(bytes.ends_with(b"\n"));
    let (events, said) = (lines(&bytes), truth(&truth_dir, "events"));
    assert!(events.len() > 80 && said.len() >= events.len() && said.len() <= events.len() + 256);
    for (event, said) in events.iter().zip(&said).filter(|(_, said)| said["kind"] != "malformed") {
        assert_eq!(json(event)["messageId"], said["id"]);
    }
}

#[test]
fn mistakes_are_named_with_what_to_do() {
    for (args, code, says) in [
        (&["--late", "2"][..], 2, "2%, 0.1%"),
        (&["--malformed", "60%"], 2, "at most half"),
        (&["--people", "10"], 2, "80 million"),
        (&["--rate", "0"], 2, "--rate 1000"),
        (&["--rate", "5000", "--people", "1000"], 2, "or leave --people out"),
        (&["--speed", "0"], 2, "--speed is a factor"),
        (&["--rate", "5", "--speed", "5"], 2, "cannot be used with"),
        (&["--start", "tomorrow"], 2, "2026-11-22T12:00:00Z"),
        (&["--for", "5 parsecs"], 2, "\"parsecs\" is no unit"),
        (&["--shuffled", "3h"], 2, "ten minutes"),
        (&["--output", "x.ndjson"], 2, "add --events N"),
        (&["--batch", "5"], 2, "--to"),
        (&["--to", "127.0.0.1:7070"], 2, "http://127.0.0.1:7070"),
        (&["--to", "https://127.0.0.1:7070"], 2, "without TLS"),
        // Port 1 of this machine: nobody listens.
        (&["--to", "http://127.0.0.1:1", "--events", "1"], 5, "`ouzel run`"),
        (&["--events", "1", "--output", "/proc/none/x"], 5, "cannot write to /proc/none/x"),
        (&["--events", "1", "--truth", "/proc/none"], 5, "/proc/none"),
    ] {
        let out = output(generated().args(args));
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says) && out.stdout.is_empty(), "{args:?}: {said}");
        assert!(!said.contains("os error") && !said.contains("panicked"), "{said}");
    }
}
