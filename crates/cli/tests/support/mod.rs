//! Running the real binary: what the tests of this crate share.

#![allow(dead_code, clippy::disallowed_methods)] // each test file uses its part; tests look at real files

pub mod stub;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub fn ouzel() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ouzel"));
    // Nothing of the environment the tests run in may change what is tested.
    for (name, _) in std::env::vars() {
        if name.starts_with("OUZEL_") {
            command.env_remove(name);
        }
    }
    // Nor what its user has fetched.
    command.env("XDG_CACHE_HOME", "/nonexistent");
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The reference data; loud when it is not there.
pub fn data(path: &str) -> PathBuf {
    let root = std::env::var_os("OUZEL_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(path);
    assert!(path.exists(), "no test data at {}: set OUZEL_TEST_DATA (see CONTRIBUTING.md)", path.display());
    path
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs to the end; the caller looks at the exit code.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("the binary starts")
}

/// Runs to the end and fails the test with what was said if the exit code is not 0.
pub fn fine(command: &mut Command) -> Output {
    let out = output(command);
    assert!(out.status.success(), "{command:?}: {}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
    out
}

pub fn json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", text(bytes)))
}

/// A running `ouzel run`, killed when dropped.
pub struct Running {
    pub child: Child,
    pub addr: String,
    pub dir: PathBuf,
}

impl Running {
    /// Starts on a free port and waits until it is ready.
    pub fn start(dir: &Path, more: &[&str]) -> Running {
        let mut command = ouzel();
        command.arg("run").arg("--data").arg(dir).args(["--listen", "127.0.0.1:0"]).args(more);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut running = Running { child, addr: String::new(), dir: dir.to_path_buf() };
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(addr) = std::fs::read_to_string(dir.join("lock"))
                .ok()
                .and_then(|t| t.lines().find_map(|l| l.strip_prefix("http ").map(str::to_owned)))
            {
                running.addr = addr;
                if running.try_get("/healthz").is_some_and(|(status, _)| status == 200) {
                    return running;
                }
            }
            if let Ok(Some(status)) = running.child.try_wait() {
                let mut said = String::new();
                let _ = running.child.stderr.take().expect("piped").read_to_string(&mut said);
                panic!("it ended with {status}: {said}");
            }
            assert!(Instant::now() < deadline, "not ready in 30 s");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    fn try_get(&self, path: &str) -> Option<(u16, Vec<u8>)> {
        request(&self.addr, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr), &[])
    }

    pub fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.addr,
            body.len()
        );
        request(&self.addr, &head, body).unwrap_or_else(|| panic!("no answer to POST {path}"))
    }

    pub fn events(&self, body: &str) -> (u16, serde_json::Value) {
        let (status, body) = self.post("/v1/events", "Content-Type: application/json\r\n", body.as_bytes());
        (status, json(&body))
    }

    /// Waits until everything accepted is enriched.
    pub fn quiet(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let status = json(&self.get("/status.json").1);
            if status["sums"]["in_flight"] == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "not quiet in 30 s: {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A signal, then the exit code and what was said on standard error.
    pub fn end(mut self, with: &str) -> (i32, String) {
        signal(&self.child, with);
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        (self.child.wait().expect("it ends").code().unwrap_or(-1), said)
    }

    /// SIGTERM, and the exit code.
    pub fn stop(mut self) -> i32 {
        signal(&self.child, "-TERM");
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").arg(signal).arg(child.id().to_string()).status().expect("kill").success());
}

/// One request on a connection of its own; `None` if there is no whole answer.
pub fn request(addr: &str, head: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (status, _, body) = request_with_headers(addr, head, body)?;
    Some((status, body))
}

/// The same with the answer's headers, one `name: value` each, in lower case.
pub fn request_with_headers(addr: &str, head: &str, body: &[u8]) -> Option<(u16, Vec<String>, Vec<u8>)> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    // A server that has refused the head may close before it has read all of the body.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let (mut length, mut chunked, mut headers) = (None, false, Vec::new());
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(n) = header.strip_prefix("content-length:") {
            length = n.trim().parse::<usize>().ok();
        }
        chunked |= header == "transfer-encoding: chunked";
        headers.push(header);
    }
    let mut out = Vec::new();
    if chunked {
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let n = usize::from_str_radix(line.trim_end(), 16).ok()?;
            let mut chunk = vec![0; n + 2];
            reader.read_exact(&mut chunk).ok()?;
            if n == 0 {
                break;
            }
            out.extend_from_slice(&chunk[..n]);
        }
    } else if let Some(n) = length {
        out.resize(n, 0);
        reader.read_exact(&mut out).ok()?;
    } else {
        reader.read_to_end(&mut out).ok()?;
    }
    Some((status, headers, out))
}
