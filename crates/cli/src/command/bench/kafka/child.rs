//! A process that is measured: a worker of Ouzel, or another program with the same work.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use log_kafka::broker::spawn;
use seam::{Clock, RealClock};
use serde_json::Value;

use super::process::{Usage, usage};
use crate::exit::{Exit, Failed, Result};

const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long a process may take to end in order.
const END: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Lines of its own that are shown of a process that died.
const LAST_LINES: usize = 12;

/// It is killed when this is dropped.
pub struct Child {
    process: Option<Process>,
    what: String,
    /// Where its standard output and error go.
    out: PathBuf,
    log: PathBuf,
}

impl Child {
    /// Starts it; what it says goes to files in `dir`.
    pub fn start(mut command: Command, what: &str, dir: &Path) -> Result<Child> {
        let failed = |e: &dyn std::fmt::Display| Failed::environment(&format!("starting {what}"), e);
        std::fs::create_dir_all(dir).map_err(|e| failed(&e))?;
        let (out, log) = (dir.join("out"), dir.join("log"));
        let append = |path: &Path| std::fs::File::options().create(true).append(true).open(path);
        command.stdin(Stdio::null()).stdout(append(&out).map_err(|e| failed(&e))?);
        command.stderr(append(&log).map_err(|e| failed(&e))?);
        let process = spawn(command).map_err(|e| failed(&e))?;
        Ok(Child { process: Some(process), what: what.to_owned(), out, log })
    }

    /// # Errors
    /// It has ended: what it said last.
    pub fn check(&mut self) -> Result<()> {
        let Some(Ok(Some(status))) = self.process.as_mut().map(Process::try_wait) else { return Ok(()) };
        let lines = |path: &Path| tail(&std::fs::read_to_string(path).unwrap_or_default(), LAST_LINES);
        let said = [lines(&self.out), lines(&self.log)].concat();
        let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
        Err(Failed::new(Exit::Failed, format!("{} ended: {status}; the last it said:\n{said}", self.what)))
    }

    pub fn usage(&mut self) -> Result<Usage> {
        let found = self.process.as_ref().and_then(|process| usage(process.id()));
        match found {
            Some(usage) => Ok(usage),
            None => {
                self.check()?;
                Err(Failed::new(Exit::Failed, format!("{} cannot be looked at in /proc", self.what)))
            }
        }
    }

    /// What it has written to its standard output so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// As the kernel kills: without a word.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM, and waits until it has ended; what takes too long is killed.
    pub fn stop(&mut self) {
        let clock = RealClock::new();
        if let Some(process) = &mut self.process {
            // SAFETY: a child of ours that was not waited for.
            unsafe { libc::kill(process.id() as i32, libc::SIGTERM) };
            while process.try_wait().is_ok_and(|ended| ended.is_none()) && clock.elapsed() < END {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        self.kill();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("  {line}\n")).collect()
}

/// `ouzel run` with the roles of a worker.
pub struct Worker {
    pub child: Child,
    pub slot: u32,
    addr: SocketAddr,
    agent: ureq::Agent,
}

/// The partitions that a worker has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Held {
    pub enrich: Vec<u32>,
    pub sessions: Vec<u32>,
}

impl Worker {
    /// `set`: keys of the configuration over the file.
    pub fn start(config: &Path, slot: u32, set: &[String], dir: &Path) -> Result<Worker> {
        // A port that was free a moment ago.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let addr = addr.map_err(|e| Failed::environment("looking for a port", &e))?;
        let program = std::env::current_exe().map_err(|e| Failed::environment("looking for this program", &e))?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(config).args(["--roles", "enrich,sessions"]);
        command.args(["--slot", &slot.to_string(), "--listen", &addr.to_string()]);
        command.args(set.iter().flat_map(|set| ["--set", set]));
        // What is granted, and when, stands in its log.
        command.env("OUZEL_LOG", "warn,kafka=info,stage=info");
        let child =
            Child::start(command, &format!("worker {slot} (`ouzel run`)"), &dir.join(format!("worker-{slot}")))?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN)).build().into();
        Ok(Worker { child, slot, addr, agent })
    }

    /// `/status.json`; `None` while it does not answer. An error when it has ended.
    pub fn status(&mut self) -> Result<Option<Value>> {
        self.child.check()?;
        let Ok(mut answer) = self.agent.get(format!("http://{}/status.json", self.addr)).call() else {
            return Ok(None);
        };
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        Ok(serde_json::from_str(&text).ok())
    }

    /// The partitions that it has; none while it does not answer.
    pub fn held(&mut self) -> Result<Held> {
        Ok(self.status()?.map(|status| held(&status)).unwrap_or_default())
    }
}

fn held(status: &Value) -> Held {
    let of = |stage: &str| {
        let list = status["partitions"][stage].as_array().into_iter().flatten();
        list.filter_map(Value::as_u64).map(|p| p as u32).collect()
    };
    Held { enrich: of("enrich"), sessions: of("sessions") }
}

/// The program that `--peer` names.
pub fn peer(command: &str, arguments: &[(&str, String)], dir: &Path) -> Result<Child> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line(command, arguments));
    Child::start(shell, "the peer", dir)
}

/// A line for a shell that becomes the command, so that the process is its own.
fn line(command: &str, arguments: &[(&str, String)]) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let arguments = arguments.iter().map(|(name, value)| format!(" --{name} {}", quoted(value)));
    format!("exec {command}{}", arguments.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_a_command_as_they_are() {
        let made = line("printf '%s\\n' -cp 'a/*'", &[("raw", "it's".into()), ("n", "1 2".into())]);
        let out = Command::new("sh").arg("-c").arg(made).output().expect("a shell");
        assert_eq!(String::from_utf8_lossy(&out.stdout), "-cp\na/*\n--raw\nit's\n--n\n1 2\n");
    }

    #[test]
    fn what_died_is_told_with_its_last_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut child = peer("sh -c 'echo out; echo cause >&2; exit 3' --", &[], dir.path()).expect("it starts");
        let why = loop {
            match child.check() {
                Ok(()) => std::thread::sleep(LOOK_EVERY),
                Err(why) => break why.message,
            }
        };
        assert!(why.contains("the peer ended: exit status: 3") && why.contains("  out\n  cause\n"), "{why}");
        assert_eq!(tail("1\n\n2\n3\n", 2), "  2\n  3\n");
    }

    #[test]
    fn a_status_says_what_a_worker_has() {
        let status = serde_json::json!({"partitions": {"enrich": [0, 2], "sessions": [1]}});
        assert_eq!(held(&status), Held { enrich: vec![0, 2], sessions: vec![1] });
        assert_eq!(held(&serde_json::json!({"partitions": "all"})), Held::default());
    }
}
