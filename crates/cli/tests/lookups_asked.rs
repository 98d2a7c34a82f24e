//! Lookups over a connection, through the real binary: asked while events pass, known to the next process, and what is said
//! where nobody is asked.

#![allow(clippy::disallowed_methods)] // it writes files, and is a source on a port of its own

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use support::{fine, json as parsed, output, ouzel, text};

/// Users and plans for whoever has the token; counts what it is asked.
fn source() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (addr, asked) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            std::thread::spawn(move || answer(&stream, &count));
        }
    });
    (addr, asked)
}

fn answer(mut stream: &TcpStream, asked: &AtomicUsize) {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(first)) = lines.next() {
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let head: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        asked.fetch_add(1, SeqCst);
        let known = head.iter().any(|line| line == "authorization: Bearer hunter2");
        let (status, body) = match path.as_str() {
            _ if !known => ("403 Forbidden", String::new()),
            "/users/u-1" => ("200 OK", json!({"plan": "gold"}).to_string()),
            "/plans/gold?of=shop" => ("200 OK", json!({"price": 480}).to_string()),
            _ => ("404 Not Found", String::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// A user, and the plan that the user has: the second is asked after the first.
fn place(source: SocketAddr) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let lookup = |name: &str, path: &str, key: &str| {
        format!(
            "[[lookup]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"http://{source}/{path}\"\nkey = {key}\n\
             bearer = {{ env = \"TOKEN\" }}\nallow_private = [\"127.0.0.1\"]\n"
        )
    };
    let config = format!(
        "version = 1\n[enrich]\ndeadline = \"10s\"\nstatus = \"all\"\n\
         [[source]]\nname = \"shop\"\nkind = \"file\"\npath = \"events.ndjson\"\npreset = \"ouzel\"\n{}{}",
        lookup("plan", "plans/{1}?of={2}", "[\"enriched.user.plan\", \"event.source\"]"),
        lookup("user", "users/{key}", "\"event.user\""),
    );
    std::fs::write(dir.path().join("ouzel.toml"), config).expect("written");
    let events = ["u-1", "u-1", "u-2", ""].map(|user| json!({"type": "view", "user": user}).to_string());
    std::fs::write(dir.path().join("events.ndjson"), events.join("\n") + "\n").expect("written");
    dir
}

fn enriched(dir: &tempfile::TempDir) -> Vec<Value> {
    let mut command = ouzel();
    command.args(["run", "--until-idle", "--output", "-", "-c"]).arg(dir.path().join("ouzel.toml"));
    let out = fine(command.arg("--data").arg(dir.path().join("data")).env("TOKEN", "hunter2"));
    assert!(!text(&out.stderr).contains("hunter2"), "{}", text(&out.stderr));
    let lines = out.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty());
    let mut events: Vec<Value> = lines.map(parsed).collect();
    events.sort_by_key(|e| e["user"].to_string());
    events.into_iter().map(|mut e| e["enriched"].take()).collect()
}

#[test]
fn what_is_asked_is_in_the_event_and_known_to_the_next_process() {
    let (addr, asked) = source();
    let dir = place(addr);
    let first = enriched(&dir);
    let of = |events: &[Value], n: usize| {
        let e = &events[n];
        (e["user"].clone(), e["plan"].clone(), e["status"]["user"].clone(), e["status"]["plan"].clone())
    };
    let gold = (json!({"plan": "gold"}), json!({"price": 480}), json!("ok"), json!("ok"));
    assert_eq!(first.len(), 4);
    assert_eq!(of(&first, 0), (Value::Null, Value::Null, json!("skipped"), json!("skipped")));
    assert_eq!((of(&first, 1), of(&first, 2)), (gold.clone(), gold.clone()));
    assert_eq!(of(&first, 3), (Value::Null, Value::Null, json!("miss"), json!("skipped")));
    // Each key once: two users and a plan.
    assert_eq!(asked.load(SeqCst), 3);

    let mut more =
        std::fs::OpenOptions::new().append(true).open(dir.path().join("events.ndjson")).expect("it is there");
    more.write_all(b"{\"type\":\"view\",\"user\":\"u-1\"}\n").expect("written");
    let second = enriched(&dir);
    assert_eq!((second.len(), of(&second, 0)), (1, gold));
    assert_eq!(asked.load(SeqCst), 3, "what the first process knew was asked for again");
}

#[test]
fn a_secret_that_is_not_there_is_told_before_anything_runs() {
    let dir = place(source().0);
    let config = dir.path().join("ouzel.toml");
    let run =
        output(ouzel().args(["run", "--until-idle", "-c"]).arg(&config).arg("--data").arg(dir.path().join("data")));
    assert_eq!(run.status.code(), Some(2), "{}", text(&run.stderr));
    assert!(
        text(&run.stderr).contains("lookup `plan`: `bearer`: the environment variable TOKEN is not set"),
        "{}",
        text(&run.stderr)
    );

    let check = fine(ouzel().arg("check").arg(&config));
    let said = text(&check.stdout);
    assert_eq!(
        said.matches("warning: `lookup.bearer`: the environment variable TOKEN is not set").count(),
        2,
        "{said}"
    );
    assert!(said.contains("the run does not start like this") && said.contains(":15:"), "{said}");
    let check = fine(ouzel().arg("check").arg(&config).env("TOKEN", "hunter2"));
    assert!(
        !text(&check.stdout).contains("TOKEN") && !text(&check.stdout).contains("hunter2"),
        "{}",
        text(&check.stdout)
    );
}

#[test]
fn tests_of_a_pipeline_ask_nobody() {
    let (addr, asked) = source();
    let dir = place(addr);
    let cases = dir.path().join("cases.toml");
    std::fs::write(
        &cases,
        "[[case]]\nname = \"given\"\ninput = '{\"type\":\"view\",\"user\":\"u-1\"}'\n\
         given.lookups.user = { plan = \"gold\" }\ngiven.lookups.plan.rows.'[\"gold\", \"shop\"]' = { price = 1 }\n\
         expect.enriched = { plan.price = 1 }\n\
         [[case]]\nname = \"wanted\"\ninput = '{\"type\":\"view\",\"user\":\"u-1\"}'\nexpect.enriched = { status.user = \"skipped\" }\n",
    )
    .expect("written");
    let out = fine(ouzel().args(["test", "-c"]).arg(dir.path().join("ouzel.toml")).arg(&cases));
    let said = text(&out.stderr);
    assert_eq!(said.matches("nobody is asked over a connection here, so `user` is \"skipped\"").count(), 1, "{said}");
    assert!(!said.contains("`plan`"), "{said}");
    assert_eq!(asked.load(SeqCst), 0);
}
