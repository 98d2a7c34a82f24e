//! S3, by moto: its server in a virtual environment of Python, installed by pip into `target/tools` once.
//!
//! moto keeps all objects in memory, checks signatures, and speaks the protocol as far as its own tests against Amazon go.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::install;
use super::server::{Home, Kind, Server, USER};
use crate::{Stop, step, workspace};

pub const KIND: Kind = Kind {
    name: "s3",
    variable: "OUZEL_TEST_S3",
    packages: &["python3-venv"],
    install,
    // Python, its packages and the checkout may lie where only root may look, and moto has nothing against him.
    users: &["root"],
    // It has no children, and keeps nothing.
    end: libc::SIGKILL,
    find,
};

/// All that pip installs, by version: what is tested against is the same everywhere.
const REQUIREMENTS: &str = include_str!("s3/requirements.txt");
/// A copy of it, in what was made of it.
const LIST: &str = "requirements.txt";
const SERVE: &str = include_str!("s3/serve.py");
const ASK: &str = include_str!("s3/ask.py");

struct S3 {
    python: PathBuf,
}

/// With the version in its name: another one is installed beside it.
fn environment() -> PathBuf {
    let version = REQUIREMENTS.lines().find_map(|line| line.strip_prefix("moto==")).expect("moto is among them");
    workspace::root().join("target/tools").join(format!("moto-{version}"))
}

fn find() -> Option<Box<dyn Server>> {
    let python = environment().join("bin/python");
    let is_whole = std::fs::read_to_string(environment().join(LIST)).is_ok_and(|had| had == REQUIREMENTS);
    (is_whole && python.is_file()).then(|| Box::new(S3 { python }) as Box<dyn Server>)
}

fn install(kind: &Kind) -> Result<()> {
    let else_set = format!("or set {} to http://KEY:SECRET@HOST:PORT/BUCKET of a server for tests", kind.variable);
    let missing = |what: String| Stop::missing(format!("{} is not installed: {what}, {else_set}", kind.name));
    let Some(python) = install::find(&["python3"], &[]) else {
        return Err(missing("moto needs Python: install python3 and its module venv".to_owned()).into());
    };
    let home = environment();
    // Made elsewhere, and given its name when it is whole: others may be installing it too. Only its Python is ever started,
    // which finds its packages from where it is.
    let unfinished = home.with_file_name(format!("moto-unfinished-{}", std::process::id()));
    step::say(&format!("    installing {}: moto by pip, into {}", kind.name, home.display()));
    let made = make(kind, &python, &unfinished).map_err(|what| missing(what).into()).and_then(|()| {
        if find().is_none() {
            let _ = std::fs::remove_dir_all(&home);
        }
        match std::fs::rename(&unfinished, &home) {
            // Another was quicker.
            Err(_) if find().is_some() => Ok(()),
            renamed => renamed.with_context(|| format!("cannot make {}", home.display())),
        }
    });
    let _ = std::fs::remove_dir_all(&unfinished);
    made
}

/// The environment with all that is required; `Err` says what to do.
fn make(kind: &Kind, python: &Path, home: &Path) -> Result<(), String> {
    let venv = || said(Command::new(python).args(["-m", "venv", "--clear"]).arg(home));
    if venv().is_err() {
        // Debian has the module in a package of its own.
        let apt = install::debian(kind).err().map(|e| format!("; {e:#}")).unwrap_or_default();
        venv().map_err(|why| {
            format!("`python3 -m venv` failed: install its module (python3-venv in Debian){apt}\n{why}\n")
        })?;
    }
    let list = home.join(LIST);
    std::fs::write(&list, REQUIREMENTS).map_err(|e| format!("cannot write {}: {e}", list.display()))?;
    let mut pip = Command::new(home.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"])
        .arg(&list);
    said(&mut pip).map_err(|why| format!("pip failed; mend that\n{why}\n"))
}

/// `Err` is the end of what it said.
fn said(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{program} does not start: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(step::tail(&String::from_utf8_lossy(&[out.stdout, out.stderr].concat()), 12))
}

impl S3 {
    fn run(&self, home: &Home, script: &str, port: u16) -> Command {
        let mut command = home.command(&self.python);
        // Nothing is written beside the packages while several of them run.
        command.args(["-I", "-B", script, &port.to_string()]);
        command
    }
}

impl Server for S3 {
    fn program(&self) -> &Path {
        &self.python
    }

    fn prepare(&self, home: &Home) -> Result<()> {
        home.write("password", &home.password)?;
        home.write("serve.py", SERVE)?;
        home.write("ask.py", ASK)?;
        Ok(())
    }

    fn serve(&self, home: &Home, port: u16) -> Command {
        let mut command = self.run(home, "serve.py", port);
        // Every request is to be signed, the first one too.
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", "0");
        command
    }

    fn ask(&self, home: &Home, port: u16) -> Command {
        self.run(home, "ask.py", port)
    }

    fn url(&self, home: &Home, port: u16) -> String {
        format!("http://{USER}:{}@127.0.0.1:{port}/ouzel", home.password)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::ANSWER;
    use super::*;

    #[test]
    fn every_requirement_has_its_version() {
        let lines = REQUIREMENTS.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            assert_eq!(line.split("==").filter(|part| !part.is_empty()).count(), 2, "{line}");
        }
        assert!(environment().ends_with("target/tools/moto-5.2.5"));
    }

    #[test]
    fn what_fails_is_said() {
        let why = said(Command::new("sh").args(["-c", "echo no room >&2; exit 1"])).expect_err("it failed");
        assert_eq!(why, "no room");
        assert!(said(&mut Command::new("/nowhere/python3")).expect_err("none").contains("does not start"));
    }

    #[test]
    fn its_answer_is_the_one_that_is_waited_for() {
        assert!(ASK.contains(&format!("print({ANSWER})")));
    }
}
