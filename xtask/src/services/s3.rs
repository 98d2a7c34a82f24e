//! S3, by moto: its server in a virtual environment of Python, installed by pip into `target/tools` once.
//!
//! moto keeps all objects in memory, checks signatures, and speaks the protocol as far as its own tests against Amazon go.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::install;
use super::server::{Home, Kind, Server, USER};
use crate::python::Environment;
use crate::{Stop, step};

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
pub const REQUIREMENTS: &str = include_str!("s3/requirements.txt");
const SERVE: &str = include_str!("s3/serve.py");
const ASK: &str = include_str!("s3/ask.py");

struct S3 {
    python: PathBuf,
}

const MOTO: Environment = Environment { package: "moto", requirements: REQUIREMENTS };

fn find() -> Option<Box<dyn Server>> {
    MOTO.python().map(|python| Box::new(S3 { python }) as Box<dyn Server>)
}

fn install(kind: &Kind) -> Result<()> {
    let else_set = format!("or set {} to http://KEY:SECRET@HOST:PORT/BUCKET of a server for tests", kind.variable);
    step::say(&format!("    installing {}: moto by pip, into {}", kind.name, MOTO.home().display()));
    let missing = |what: String| Stop::missing(format!("{} is not installed: {what}, {else_set}", kind.name)).into();
    MOTO.install(&|| install::debian(kind), &missing)
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
    fn its_answer_is_the_one_that_is_waited_for() {
        assert!(ASK.contains(&format!("print({ANSWER})")));
    }
}
