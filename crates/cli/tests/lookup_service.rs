//! Lookups for other programs, through the real binary: over HTTP beside the stages and alone, and by hand.

#![allow(clippy::disallowed_methods)] // it writes files, and is a source on a port of its own

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use serde_json::{Value, json};
use support::{Running, fine, json as parsed, output, ouzel, request, signal, text};

/// A service that knows every path but `/nobody`, and counts what it is asked.
struct Source {
    addr: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Source {
    fn start() -> Source {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (addr, asked) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || answer(stream, &count));
            }
        });
        Source { addr, asked }
    }
}

fn answer(mut stream: TcpStream, asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("the same"));
    let (mut line, mut path) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
        if line.starts_with("GET ") {
            path = line.split(' ').nth(1).expect("a path").to_owned();
        }
        if line == "\r\n" {
            asked.fetch_add(1, SeqCst);
            let (status, body) = match path.as_str() {
                "/nobody" => ("404 Not Found", String::new()),
                path => ("200 OK", json!({ "path": path }).to_string()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all((head + &body).as_bytes()).is_err() {
                return;
            }
        }
        line.clear();
    }
}

/// A configuration with a file, a service that is there, and one that is not.
fn place(source: SocketAddr) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("plans.csv"), "id,plan\n7,gold\n8,free\n").expect("written");
    let nowhere = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let lookup = |name: &str, url: String| {
        format!(
            "[[lookup]]\nname = \"{name}\"\nkind = \"http\"\nurl = \"{url}\"\nkey = \"event.user\"\n\
             allow_private = [\"127.0.0.1\"]\nattempts = 1\n"
        )
    };
    let config = format!(
        "version = 1\n[enrich]\ndeadline = \"5s\"\n[[lookup]]\nname = \"plan\"\nkind = \"file\"\npath = \"plans.csv\"\n\
         key = \"event.user\"\n{}{}",
        lookup("there", format!("http://{source}/{{key}}")),
        lookup("gone", format!("http://{nowhere}/{{key}}")),
    );
    std::fs::write(dir.path().join("ouzel.toml"), config).expect("written");
    dir
}

fn by_hand(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = ouzel();
    command.arg("lookup").args(args).arg("-c").arg(dir.join("ouzel.toml"));
    output(command.arg("--data").arg(dir.join("data")))
}

fn config_of(dir: &Path) -> String {
    dir.join("ouzel.toml").display().to_string()
}

#[test]
fn a_running_process_answers_from_its_files_its_caches_and_its_sources() {
    let source = Source::start();
    let dir = place(source.addr);
    let running = Running::start(&dir.path().join("data"), &["-c", &config_of(dir.path())]);
    let ask = |name: &str, body: &str| {
        let (status, body) = running.post(&format!("/v1/lookup/{name}"), "", body.as_bytes());
        (status, parsed(&body))
    };
    let (status, answer) = ask("plan", r#"{"keys":["7", 8, "9"]}"#);
    assert_eq!(status, 200);
    assert_eq!(answer["results"][0]["value"], json!({"id": "7", "plan": "gold"}));
    let statuses: Vec<&Value> = (0..3).map(|n| &answer["results"][n]["status"]).collect();
    assert_eq!(statuses, ["ok", "ok", "miss"]);
    assert_eq!(answer["results"][2], json!({"key": "9", "status": "miss", "age_ms": 0, "tier": "source"}));

    for tier in ["source", "local"] {
        let (_, answer) = ask("there", r#"{"keys":["a","nobody"]}"#);
        let results = &answer["results"];
        assert_eq!((&results[0]["value"], &results[0]["tier"]), (&json!({"path": "/a"}), &json!(tier)));
        assert_eq!((&results[1]["status"], &results[1]["tier"]), (&json!("miss"), &json!(tier)));
    }
    assert_eq!(source.asked.load(SeqCst), 2, "each key once");
    let (status, answer) = ask("plans", r#"{"keys":["7"]}"#);
    assert_eq!((status, &answer["lookups"]), (404, &json!(["plan", "there", "gone"])));

    // By hand, the running process is asked.
    let out = by_hand(dir.path(), &["there", "a", "--json"]);
    let answer = parsed(&out.stdout);
    assert_eq!((out.status.code(), &answer["results"][0]["tier"]), (Some(0), &json!("local")));
    let out = by_hand(dir.path(), &["there", "nobody"]);
    assert_eq!((out.status.code(), text(&out.stdout).starts_with("nobody: miss  from local")), (Some(1), true));
    let out = by_hand(dir.path(), &["gone", "x"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("last heard to fail with: "), "{}", text(&out.stderr));

    let metrics = text(&running.get("/metrics").1);
    for line in [
        "ouzel_lookup_reads_total{lookup=\"there\",tier=\"source\",result=\"hit\"} 1",
        "ouzel_lookup_reads_total{lookup=\"there\",tier=\"source\",result=\"negative\"} 1",
        "ouzel_lookup_reads_total{lookup=\"there\",tier=\"local\",result=\"hit\"} 2",
        "ouzel_lookup_failures_total{lookup=\"gone\",tier=\"source\"} 1",
        "ouzel_lookup_asks_total{lookup=\"gone\",outcome=\"error\"} 1",
        "ouzel_lookup_in_flight{lookup=\"there\"} 0",
        "ouzel_lookup_cache_entries{lookup=\"there\"} 2",
        "ouzel_lookup_seconds_count{lookup=\"there\",of=\"ask\"} 2",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
    assert_eq!(running.stop(), 0);
}

#[test]
fn by_hand_without_a_process_the_source_itself_is_asked() {
    let source = Source::start();
    let dir = place(source.addr);
    let out = by_hand(dir.path(), &["there", "a", "--json"]);
    let result = &parsed(&out.stdout)["results"][0];
    assert_eq!((&result["value"], &result["tier"]), (&json!({"path": "/a"}), &json!("source")));
    assert!(text(&by_hand(dir.path(), &["plan", "7"]).stdout).contains("\"plan\": \"gold\""));
    let out = by_hand(dir.path(), &["plans", "7"]);
    assert_eq!(out.status.code(), Some(2));
    assert_eq!(text(&out.stderr), "error: there is no lookup `plans`\n  = there are plan, there, gone\n");
    let out = by_hand(dir.path(), &["there", "[\"a\",\"b\"]"]);
    assert_eq!((out.status.code(), text(&out.stderr).contains("a key here is one text")), (Some(2), true));
    assert!(!dir.path().join("data").exists(), "nothing is written");
}

/// `ouzel run --roles lookup`, and where it listens.
struct Alone {
    child: Child,
    addr: String,
}

impl Alone {
    fn start(dir: &Path) -> Alone {
        let mut command = ouzel();
        command.args(["run", "--roles", "lookup", "--listen", "127.0.0.1:0", "-c"]).arg(dir.join("ouzel.toml"));
        command.arg("--data").arg(dir.join("data")).env("OUZEL_LOG", "info");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
        let addr = said.find_map(|line| {
            let line = line.expect("text");
            let at = line.find("127.0.0.1:")?;
            Some(line[at..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect())
        });
        std::thread::spawn(move || said.for_each(drop));
        Alone { child, addr: addr.expect("it says where it listens") }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            self.addr,
            body.len()
        );
        request(&self.addr, &head, body.as_bytes()).expect("an answer")
    }

    fn stop(mut self) -> Option<i32> {
        signal(&self.child, "-TERM");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_for_lookups_alone_keeps_its_caches_and_nothing_else() {
    let source = Source::start();
    let dir = place(source.addr);
    for tier in ["source", "local"] {
        let alone = Alone::start(dir.path());
        let (status, answer) = alone.request("POST", "/v1/lookup/there", r#"{"keys":["a"]}"#);
        assert_eq!((status, &parsed(&answer)["results"][0]["tier"]), (200, &json!(tier)), "its cache is warm");
        let (status, answer) = alone.request("POST", "/v1/events", "{}");
        assert_eq!((status, &parsed(&answer)["code"]), (404, &json!("not_here")));
        assert_eq!(alone.request("GET", "/readyz", "").0, 200);
        let (_, shown) = alone.request("GET", "/status.json", "");
        assert_eq!(parsed(&shown)["lookups"][0]["name"], "there");
        assert_eq!(alone.stop(), Some(0));
        let left: Vec<_> = std::fs::read_dir(dir.path().join("data")).expect("a directory").flatten().collect();
        assert_eq!(left.iter().map(|e| e.file_name()).collect::<Vec<_>>(), ["cache"]);
    }
    assert_eq!(source.asked.load(SeqCst), 1);
}

#[test]
fn roles_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |more: &[&str]| {
        let mut command = ouzel();
        command.args(["run", "--data"]).arg(dir.path().join("data")).arg("--roles").args(more);
        let out = output(&mut command);
        (out.status.code(), text(&out.stderr))
    };
    for (args, says) in [
        (&["lookups"][..], "there is no role `lookups`"),
        (&["enrich"], "--roles enrich needs a log that several processes share"),
        (&["lookup", "--until-idle"], "--until-idle is nothing for --roles lookup"),
    ] {
        let (code, said) = run(args);
        assert_eq!((code, said.contains(says)), (Some(2), true), "{said}");
    }
    let mut command = ouzel();
    command.args(["run", "--roles", "collect,enrich,sessions", "--until-idle", "--input", "-", "--data"]);
    fine(command.arg(dir.path().join("data")));
}
