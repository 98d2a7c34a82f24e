//! A case: commands and requests in a directory of its own, everything that was said, and the file it must be equal to.

use std::path::{Path, PathBuf};
use std::process::Output;

use super::support::{self, Running, ouzel, text};

/// Lines of `doctor` that say what machine this is.
const OF_THE_MACHINE: [&str; 5] = ["clock", "open files", "machine", "disk", "sync speed"];

/// What no text for people may hold.
const NEVER: [&str; 6] = ["os error", "Error {", "Custom {", "panicked", "RUST_BACKTRACE", "Some("];

pub struct Case {
    name: &'static str,
    tmp: tempfile::TempDir,
    said: String,
    /// What differs from run to run, and what stands for it.
    hidden: Vec<(String, &'static str)>,
    loose: bool,
    /// PATH of the commands; `None`: as it is.
    search: Option<std::ffi::OsString>,
}

impl Case {
    pub fn new(name: &'static str) -> Case {
        let tmp = tempfile::tempdir().expect("a directory");
        Case { name, tmp, said: String::new(), hidden: Vec::new(), loose: false, search: None }
    }

    /// Numbers of three digits and more depend on timing or on the disk.
    pub fn loose(&mut self) {
        self.loose = true;
    }

    /// Where commands look for programs from now on.
    pub fn search(&mut self, path: impl Into<std::ffi::OsString>) {
        self.search = Some(path.into());
    }

    pub fn dir(&self) -> &Path {
        self.tmp.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below ours")).expect("made");
        std::fs::write(&path, content).expect("written");
        path
    }

    pub fn hide(&mut self, what: impl ToString, placeholder: &'static str) {
        self.hidden.push((what.to_string(), placeholder));
    }

    /// A sentence between the texts: what the test does to the world.
    pub fn note(&mut self, sentence: &str) {
        self.add(&format!("# {sentence}\n\n"));
    }

    /// Starts `ouzel run` on `$DIR/data` with a port; its process id and port are hidden.
    pub fn start(&mut self, more: &[&str]) -> Running {
        self.start_on("data", more)
    }

    pub fn start_on(&mut self, data: &str, more: &[&str]) -> Running {
        let args: Vec<String> = more.iter().map(|a| self.real(a)).collect();
        let running = Running::start(&self.path(data), &args.iter().map(String::as_str).collect::<Vec<_>>());
        self.hide(running.child.id(), "$PID");
        let port = running.addr.rsplit(':').next().expect("a port").to_owned();
        self.hide(format!(":{port}"), ":$PORT");
        let more: String = more.iter().map(|a| format!(" {a}")).collect();
        self.add(&format!("$ ouzel run --data $DIR/{data} --listen 127.0.0.1:$PORT{more} &\n\n"));
        running
    }

    /// Runs a command to its end; `$DIR` in its arguments is the directory of the case.
    pub fn run(&mut self, args: &[&str]) -> Output {
        let mut command = ouzel();
        command.current_dir(self.dir()).args(args.iter().map(|a| self.real(a)));
        command.env("XDG_CACHE_HOME", self.path("cache"));
        if let Some(path) = &self.search {
            command.env("PATH", path);
        }
        let out = support::output(&mut command);
        self.show(args, &out);
        out
    }

    /// What a command wrote.
    pub fn show_file(&mut self, name: &str) {
        let content = std::fs::read_to_string(self.path(name)).expect("it was written");
        self.add(&format!("--- {name}\n{content}\n"));
    }

    fn real(&self, arg: &str) -> String {
        arg.replace("$DIR", &self.dir().display().to_string())
    }

    pub fn show(&mut self, args: &[&str], out: &Output) {
        self.add(&format!("$ ouzel {}\n", args.join(" ")));
        self.ended(out.status.code().unwrap_or(-1), &text(&out.stdout), &text(&out.stderr));
    }

    /// How something ended and what it said.
    pub fn ended(&mut self, code: i32, stdout: &str, stderr: &str) {
        self.add(&format!("exit {code}\n"));
        for (name, said) in [("stdout", stdout), ("stderr", stderr)] {
            if !said.is_empty() {
                self.add(&format!("--- {name}\n{said}"));
            }
        }
        self.add("\n");
        // Lines that only draw, around the one that is meant, are there once for each mistake.
        let is_drawn = |l: &str| l.chars().all(|c| matches!(c, ' ' | '|' | '^'));
        let mut lines: Vec<&str> = stderr.lines().filter(|l| !l.is_empty() && !is_drawn(l)).collect();
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), all, "said twice:\n{stderr}");
    }

    /// Posts a body and records the answer with the headers that matter. `shown` stands for the body.
    pub fn post(&mut self, to: &Running, headers: &str, body: &[u8], shown: &str) -> (u16, String) {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            to.addr,
            body.len()
        );
        let sent: String = headers.lines().map(|h| format!("{h}\n")).collect();
        self.add(&format!("POST /v1/events\n{sent}{shown}\n"));
        self.request(to, &head, body)
    }

    pub fn get(&mut self, to: &Running, path: &str) -> (u16, String) {
        self.add(&format!("GET {path}\n"));
        self.request(to, &format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", to.addr), &[])
    }

    fn request(&mut self, to: &Running, head: &str, body: &[u8]) -> (u16, String) {
        let (status, headers, body) = support::request_with_headers(&to.addr, head, body).expect("a whole answer");
        let kept: String = headers
            .iter()
            .filter(|h| ["retry-after", "allow", "accept-encoding"].iter().any(|n| h.starts_with(n)))
            .map(|h| format!("{h}\n"))
            .collect();
        let body = text(&body);
        self.add(&format!("{status}\n{kept}--- answer\n{body}\n"));
        (status, body)
    }

    fn add(&mut self, said: &str) {
        self.said.push_str(said);
        if !said.ends_with('\n') {
            self.said.push('\n');
        }
    }

    /// Compares with the file, or writes it when `UPDATE_MESSAGES` is set.
    pub fn finish(self) {
        let got = self.normal();
        for never in NEVER {
            assert!(!got.contains(never), "{}: `{never}` is nothing for people:\n{got}", self.name);
        }
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages").join(format!("{}.txt", self.name));
        if std::env::var_os("UPDATE_MESSAGES").is_some() {
            std::fs::write(&path, &got).expect("written");
            return;
        }
        let want = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            want == got,
            "{} is not what is said now; if the new text is better, UPDATE_MESSAGES=1 writes it\n{}",
            path.display(),
            diff(&want, &got)
        );
    }

    fn normal(&self) -> String {
        let mut out = self.said.replace(&self.dir().display().to_string(), "$DIR");
        for (what, placeholder) in &self.hidden {
            out = replace_word(&out, what, placeholder);
        }
        let mut lines = Vec::new();
        let mut skipping = false;
        for line in out.trim_end().lines() {
            skipping = is_of_the_machine(line) || (skipping && line.trim_start().starts_with("-> "));
            if skipping {
                continue;
            }
            let line = without_times(line);
            let line = match line.split_once(" events added to `enriched` in ") {
                Some((count, _)) => format!("{count} events added to `enriched` in $N s ($N/s)"),
                None => line,
            };
            let line = match line.split_once(" taken in ").and_then(|(a, b)| Some((a, b.split_once(", ")?.1))) {
                Some((what, size)) => format!("{what} taken in $N s, {size}"),
                None => line,
            };
            lines.push(if self.loose { without_numbers(&line) } else { line });
        }
        // Near the limit a disk may be full, have room for something small, and be full again.
        lines.dedup_by(|a, b| a == b && a.starts_with("{\"timestamp\""));
        lines.join("\n") + "\n"
    }
}

fn is_of_the_machine(line: &str) -> bool {
    let Some((grade, rest)) = line.split_once(' ') else { return false };
    ["good", "warning", "bad"].contains(&grade)
        && OF_THE_MACHINE.iter().any(|what| rest.trim_start().starts_with(&format!("{what}  ")))
}

/// Replaces `what` where it is not a part of a longer number.
fn replace_word(text: &str, what: &str, by: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(what) {
        let end = at + what.len();
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let begins_inside = digit(what.chars().next()) && digit(rest[..at].chars().next_back());
        let inside = begins_inside || digit(rest[end..].chars().next());
        out.push_str(&rest[..at]);
        out.push_str(if inside { what } else { by });
        rest = &rest[end..];
    }
    out + rest
}

/// `2026-11-23T20:07:01.545571Z` -> `$TIME`, `file:56089add413175c1` -> `file:$ID`.
fn without_times(line: &str) -> String {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    const FILE: &str = "file:";
    let fits = |s: &[u8]| {
        s.len() >= SHAPE.len()
            && s.iter().zip(SHAPE).all(|(c, shape)| if *shape == b'd' { c.is_ascii_digit() } else { c == shape })
    };
    let bytes = line.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if fits(&bytes[at..]) {
            out.extend_from_slice(b"$TIME");
            at += SHAPE.len();
            at += bytes[at..].iter().take_while(|c| c.is_ascii_digit() || matches!(c, b'.' | b'Z')).count();
        } else if line[..at].ends_with(FILE)
            && bytes.get(at..at + 16).is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
        {
            out.extend_from_slice(b"$ID");
            at += 16;
        } else {
            let next = (at + 1..=bytes.len()).find(|n| line.is_char_boundary(*n)).expect("the end is one");
            out.extend_from_slice(&bytes[at..next]);
            at = next;
        }
    }
    String::from_utf8(out).expect("it was text")
}

/// Numbers of three digits and more -> `$N`, but not a segment's name, a port or an exit code.
fn without_numbers(line: &str) -> String {
    if line.starts_with("exit ") || line.parse::<u16>().is_ok() {
        return line.to_owned();
    }
    // How much is in how many frames is decided by who came first.
    let shortest = if line.contains(" frames of ") { 1 } else { 3 };
    let mut out = String::new();
    let mut run = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_digit() || (c == ',' && !run.is_empty()) {
            run.push(c);
            continue;
        }
        let number = run.trim_end_matches(',');
        let long = number.chars().filter(char::is_ascii_digit).count();
        let is_ip = number == "127" && c == '.';
        if (shortest..20).contains(&long) && !is_ip {
            out.push_str("$N");
            out.push_str(&run[number.len()..]);
        } else {
            out.push_str(&run);
        }
        run.clear();
        out.push(c);
    }
    out.pop();
    out
}

/// Lines that went and came, by the longest common subsequence.
fn diff(want: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (want.lines().collect(), got.lines().collect());
    let mut common = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push_str(&format!("  {}\n", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push_str(&format!("- {}\n", a[i]));
            i += 1;
        } else {
            out.push_str(&format!("+ {}\n", b[j]));
            j += 1;
        }
    }
    out
}

#[test]
fn what_differs_from_run_to_run_is_taken_out() {
    assert_eq!(
        without_times("at 2026-11-23T20:07:01.545571Z in file:56089add413175c1:110"),
        "at $TIME in file:$ID:110"
    );
    assert_eq!(
        without_numbers("00000000000000000001.seg at byte 4,857,344: 12 of 130,"),
        "00000000000000000001.seg at byte $N: 12 of $N,"
    );
    assert_eq!(replace_word("process 12, not 123 or 312", "12", "$PID"), "process $PID, not 123 or 312");
    assert_eq!(diff("a\nb\n", "a\nc\n"), "  a\n- b\n+ c\n");
    assert!(is_of_the_machine("good     disk           1 GiB free") && !is_of_the_machine("bad      geo            x"));
}
