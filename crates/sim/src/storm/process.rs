//! The program under test, in a process of its own.

#![allow(clippy::disallowed_methods)] // the harness stands in the real world, outside the one it tests

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::http::Client;

/// A start reads the journal back; more than this is a fault of its own.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is started, and how.
#[derive(Clone, Debug)]
pub struct Program {
    pub binary: PathBuf,
    /// After `run --data DIR --listen ADDR`.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The data directory.
    pub data: PathBuf,
    /// Where its standard output and error go.
    pub log: PathBuf,
}

/// A started program. Dropping it kills it.
pub struct Running {
    child: Child,
    pub addr: SocketAddr,
}

/// Why a program does not answer.
#[derive(Debug)]
pub enum Down {
    /// It was killed by SIGKILL, and not by us: it passed the point it was told to die at.
    Point,
    /// It ended in any other way.
    Exit(ExitStatus),
    /// It runs, and is not ready.
    NotReady(String),
    Io(io::Error),
}

impl Program {
    /// Starts the program and waits until it is ready.
    pub fn start(&self, env: &[(String, String)]) -> Result<Running, Down> {
        let mut running = self.spawn(env).map_err(Down::Io)?;
        let began = Instant::now();
        let mut last = "no connection".to_owned();
        while began.elapsed() < READY_TIMEOUT {
            if let Some(status) = running.ended() {
                return Err(down(status));
            }
            match Client::new(running.addr).get("/readyz") {
                Ok(answer) if answer.status == 200 => return Ok(running),
                Ok(answer) => last = answer.text(),
                Err(_) => {}
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        Err(Down::NotReady(last))
    }

    /// Starts the program and kills it `after` that, ready or not. Gives its status if it had ended before.
    pub fn start_and_kill(&self, after: Duration) -> io::Result<Option<ExitStatus>> {
        let mut running = self.spawn(&[])?;
        std::thread::sleep(after);
        Ok(running.kill())
    }

    fn spawn(&self, env: &[(String, String)]) -> io::Result<Running> {
        let addr = free_address()?;
        let child = self
            .command()?
            .args(["--listen", &addr.to_string()])
            .args(&self.args)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .spawn()?;
        Ok(Running { child, addr })
    }

    /// `BINARY run --data DIR`, with its environment and its outputs.
    fn command(&self) -> io::Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.binary);
        command
            .arg("run")
            .arg("--data")
            .arg(&self.data)
            // What this user has fetched may not change what is measured.
            .env("XDG_CACHE_HOME", "/nonexistent")
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Runs the program on what is there and an input without events until it has closed everything. Gives how it ended.
    pub fn close(&self, empty: &Path) -> io::Result<ExitStatus> {
        std::fs::write(empty, b"")?;
        let mut child = self.command()?.arg("--input").arg(empty).arg("--close").args(&self.args).spawn()?;
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > READY_TIMEOUT {
                child.kill()?;
                return child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The end of what it printed.
    pub fn printed(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2000)..]).into_owned()
    }
}

/// How an ended process went down.
pub fn down(status: ExitStatus) -> Down {
    if status.signal() == Some(libc::SIGKILL) { Down::Point } else { Down::Exit(status) }
}

impl Running {
    /// Its status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// kill -9; gives the status it had if it was dead before.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let before = self.ended();
        let _ = self.child.kill();
        let _ = self.child.wait();
        before
    }

    /// SIGTERM, as an operator stops it; how it ended, `None` if it did not.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        // SAFETY: kill has no memory effects, and the child has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let began = Instant::now();
        while began.elapsed() < READY_TIMEOUT {
            if let Some(status) = self.ended() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        None
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An address of loopback where nobody listens.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Makes `dir` and everything below it, or leaves it as it is.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)
}
