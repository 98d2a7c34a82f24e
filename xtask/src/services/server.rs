//! One server: the user it runs as, its directory, a free port, its first answer and its end.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{TICK, install, place};
use crate::step;

/// For one command, and for a server's first answer: ten times what they take on two cores that others use too.
const START_MAX: Duration = Duration::from_secs(60);
/// For one question of a client.
const ASK_MAX: Duration = Duration::from_secs(5);
/// For a server to end before it is killed.
const END_MAX: Duration = Duration::from_secs(5);
/// Each try loses its port only if another process takes it within milliseconds.
const PORTS_MAX: usize = 5;
/// Of a log, in errors.
const LINES_MAX: usize = 12;

/// What every server of its kind has in common.
pub struct Kind {
    pub name: &'static str,
    /// Where tests find its URL.
    pub variable: &'static str,
    /// Debian's.
    pub packages: &'static [&'static str],
    /// Gets them, or what else it is made of; says what to do where it cannot.
    pub install: fn(&Kind) -> Result<()>,
    /// Where we are root it runs as the first of these that exists, for servers refuse root.
    pub users: &'static [&'static str],
    /// The signal that ends it at once and its children with it. Nothing in it is kept, so none needs to be polite.
    pub end: libc::c_int,
    /// The programs on this machine; `None` if one of them is not there.
    pub find: fn() -> Option<Box<dyn Server>>,
}

/// What differs between servers. A value is one that is installed.
pub trait Server {
    /// The program, as people are shown it.
    fn program(&self) -> &Path;

    /// Makes what it needs before its first start.
    fn prepare(&self, home: &Home) -> Result<()>;

    /// The server in the foreground, on this port of loopback and nowhere else.
    fn serve(&self, home: &Home, port: u16) -> Command;

    /// A client that asks the server for [`ANSWER`] and prints it, or fails.
    fn ask(&self, home: &Home, port: u16) -> Command;

    /// How tests reach it.
    fn url(&self, home: &Home, port: u16) -> String;
}

pub const ANSWER: &str = "42";

/// The user of the server that tests are.
pub const USER: &str = "ouzel";

/// The directory of one server, which it owns and is in, and its password.
pub struct Home {
    pub dir: PathBuf,
    pub password: String,
    owner: Option<Owner>,
    end: libc::c_int,
    log: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Home {
    /// In `place`; everything that waits here gives up once `stop` is true.
    pub fn new(kind: &Kind, place: &Path, stop: &Arc<AtomicBool>) -> Result<Home> {
        let owner = if install::is_root() {
            let users = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
            let owner = kind.users.iter().find_map(|name| Owner::parse(&users, name));
            Some(owner.with_context(|| format!("there is no user {} to run it as", kind.users.join(" or ")))?)
        } else {
            None
        };
        let home = Home {
            dir: place.join(kind.name),
            password: place::random()?,
            owner,
            end: kind.end,
            log: place.join(format!("{}.log", kind.name)),
            stop: Arc::clone(stop),
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&home.dir)
            .with_context(|| format!("cannot make {}", home.dir.display()))?;
        home.own(&home.dir)?;
        Ok(home)
    }

    /// A file that only the server reads: passwords are in no list of processes.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        self.own(&path)?;
        Ok(path)
    }

    /// A program in this directory, as its owner, with nothing of our environment that could change what it does.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.dir).env_clear().env("LC_ALL", "C").env("HOME", &self.dir);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }

    /// Runs a command to its end; its output goes to the log, whose end is in the error.
    pub fn run(&self, mut command: Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let log = self.new_log()?;
        command.stdout(log.try_clone()?).stderr(log);
        let status = Group::start(self, command, libc::SIGKILL)?.wait(self, START_MAX)?;
        if status.success() { Ok(()) } else { bail!("{program} ended with {status}; it said:\n{}", self.said()) }
    }

    fn own(&self, path: &Path) -> Result<()> {
        match self.owner {
            Some(owner) => std::os::unix::fs::chown(path, Some(owner.user), Some(owner.group))
                .with_context(|| format!("cannot give {} to its user", path.display())),
            None => Ok(()),
        }
    }

    fn new_log(&self) -> Result<File> {
        let _ = std::fs::remove_file(&self.log);
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.log);
        log.with_context(|| format!("cannot write {}", self.log.display()))
    }

    /// The end of the log.
    fn said(&self) -> String {
        step::tail(&String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()), LINES_MAX)
    }

    fn keep_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { bail!("asked to end while it was starting") } else { Ok(()) }
    }
}

/// A user of this machine, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// By name, from the text of /etc/passwd.
    fn parse(users: &str, name: &str) -> Option<Owner> {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields.as_slice() {
                [user, _, id, group, ..] if *user == name => {
                    Some(Owner { user: id.parse().ok()?, group: group.parse().ok()? })
                }
                _ => None,
            }
        })
    }
}

/// A server that has answered, ended when dropped.
pub struct Running {
    group: Group,
    home: Home,
    port: u16,
}

impl Running {
    /// Starts it on a port that `ports` gives, and waits for its first answer.
    pub fn start(server: &dyn Server, home: Home, mut ports: impl FnMut() -> Result<u16>) -> Result<Running> {
        server.prepare(&home)?;
        for _ in 0..PORTS_MAX {
            let port = ports()?;
            let log = home.new_log()?;
            let mut command = server.serve(&home, port);
            command.stdout(log.try_clone()?).stderr(log);
            let mut group = Group::start(&home, command, home.end)?;
            if answers(server, &home, &mut group, port)? {
                return Ok(Running { group, home, port });
            }
        }
        bail!("{PORTS_MAX} ports in a row were taken by others before it could listen")
    }

    pub fn home(&self) -> &Home {
        &self.home
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How it ended, if it has, and the end of its log.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.group.ended().ok().flatten()?;
        Some(format!("{status}; it said:\n{}", self.home.said()))
    }
}

/// Waits until it answers. False: somebody else took the port first.
fn answers(server: &dyn Server, home: &Home, group: &mut Group, port: u16) -> Result<bool> {
    let begun = Instant::now();
    loop {
        home.keep_on()?;
        if let Some(status) = group.ended()? {
            let said = home.said();
            // All of them add the system's own words.
            if said.contains("Address already in use") {
                return Ok(false);
            }
            bail!("it ended with {status}; it said:\n{said}");
        }
        let why = match asked(server, home, port) {
            Ok(()) => return Ok(true),
            Err(why) => why,
        };
        if begun.elapsed() > START_MAX {
            let said = home.said();
            bail!("it did not answer in {}: {why:#}; it said:\n{said}", step::seconds(START_MAX));
        }
        std::thread::sleep(TICK);
    }
}

fn asked(server: &dyn Server, home: &Home, port: u16) -> Result<()> {
    let path = home.dir.with_extension("answer");
    let answer = File::create(&path)?;
    let mut command = server.ask(home, port);
    command.stdout(answer.try_clone()?).stderr(answer);
    let status = Group::start(home, command, libc::SIGKILL)?.wait(home, ASK_MAX)?;
    let answer = std::fs::read_to_string(&path).unwrap_or_default();
    if status.success() && answer.trim() == ANSWER { Ok(()) } else { bail!("its client said: {}", answer.trim()) }
}

/// A child that leads a group of processes. It ends when this is dropped, and also if we are killed.
struct Group {
    child: Child,
    end: libc::c_int,
    ended: Option<ExitStatus>,
}

impl Group {
    fn start(home: &Home, mut command: Command, end: libc::c_int) -> Result<Group> {
        home.keep_on()?;
        // A group of its own: Ctrl-C is for xtask.
        command.stdin(Stdio::null()).process_group(0);
        let us = std::process::id() as libc::pid_t;
        // SAFETY: system calls only, which is what may be done between fork and exec.
        unsafe {
            command.pre_exec(move || {
                // After the user is changed, which would take it back. The kernel looks at the thread that started the
                // child: it is the keeper's first one.
                #[cfg(target_os = "linux")]
                if libc::prctl(libc::PR_SET_PDEATHSIG, end) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // We may have ended before that.
                if libc::getppid() != us { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Group { child, end, ended: None })
    }

    fn wait(&mut self, home: &Home, deadline: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            home.keep_on()?;
            if begun.elapsed() > deadline {
                bail!("it took longer than {}; it said:\n{}", step::seconds(deadline), home.said());
            }
            std::thread::sleep(TICK);
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("cannot wait for a server")?;
        }
        Ok(self.ended)
    }

    fn signal(&self, signal: libc::c_int) {
        // SAFETY: no memory effects. The child was not waited for, so its id, which is the group's, is nobody else's.
        unsafe { libc::kill(-(self.child.id() as libc::pid_t), signal) };
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.signal(self.end);
        let begun = Instant::now();
        while begun.elapsed() < END_MAX {
            if !matches!(self.ended(), Ok(None)) {
                return;
            }
            std::thread::sleep(TICK);
        }
        self.signal(libc::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A port of loopback that nobody listens on. It is not held: whoever is given it may come too late.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests;
