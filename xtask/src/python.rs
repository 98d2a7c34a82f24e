//! Programs in Python, each in a virtual environment of its own below `target/tools`, installed by pip once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result};

use crate::services::install;
use crate::{step, workspace};

/// What is installed.
pub struct Environment {
    /// The package that it is for. Its version is in the environment's name: another one is installed beside it.
    pub package: &'static str,
    /// All that pip installs, by version: what is used is the same everywhere.
    pub requirements: &'static str,
}

/// A copy of the requirements, in what was made of them.
const LIST: &str = "requirements.txt";

impl Environment {
    pub fn home(&self) -> PathBuf {
        let of = |line: &'static str| line.strip_prefix(self.package)?.strip_prefix("==");
        let version = self.requirements.lines().find_map(of).expect("the package is among them");
        workspace::root().join("target/tools").join(format!("{}-{version}", self.package))
    }

    /// Its Python; `None`: it is not there, or was made of other requirements.
    pub fn python(&self) -> Option<PathBuf> {
        let python = self.home().join("bin/python");
        let is_whole = std::fs::read_to_string(self.home().join(LIST)).is_ok_and(|had| had == self.requirements);
        (is_whole && python.is_file()).then_some(python)
    }

    /// Makes it. `module`: installs Python's module venv, which Debian has in a package of its own. `missing` makes an error of
    /// what there is to do.
    pub fn install(&self, module: &dyn Fn() -> Result<()>, missing: &dyn Fn(String) -> Error) -> Result<()> {
        let Some(python) = install::find(&["python3"], &[]) else {
            return Err(missing(format!("{} needs Python: install python3 and its module venv", self.package)));
        };
        let home = self.home();
        // Made elsewhere, and given its name when it is whole: others may be installing it too. Only its Python is ever started,
        // which finds its packages from where it is.
        let unfinished = home.with_file_name(format!("{}-unfinished-{}", self.package, std::process::id()));
        let made = self.make(module, &python, &unfinished).map_err(missing).and_then(|()| {
            if self.python().is_none() {
                let _ = std::fs::remove_dir_all(&home);
            }
            match std::fs::rename(&unfinished, &home) {
                // Another was quicker.
                Err(_) if self.python().is_some() => Ok(()),
                renamed => renamed.with_context(|| format!("cannot make {}", home.display())),
            }
        });
        let _ = std::fs::remove_dir_all(&unfinished);
        made
    }

    /// The environment with all that is required; `Err` says what to do.
    fn make(&self, module: &dyn Fn() -> Result<()>, python: &Path, home: &Path) -> Result<(), String> {
        let venv = || said(Command::new(python).args(["-m", "venv", "--clear"]).arg(home));
        if venv().is_err() {
            let tried = module().err().map(|e| format!("; {e:#}")).unwrap_or_default();
            venv().map_err(|why| {
                format!("`python3 -m venv` failed: install its module (python3-venv in Debian){tried}\n{why}\n")
            })?;
        }
        let list = home.join(LIST);
        std::fs::write(&list, self.requirements).map_err(|e| format!("cannot write {}: {e}", list.display()))?;
        let mut pip = Command::new(home.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"])
            .arg(&list);
        said(&mut pip).map_err(|why| format!("pip failed; mend that\n{why}\n"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifests, services};

    #[test]
    fn every_requirement_has_its_version() {
        for requirements in [services::s3::REQUIREMENTS, manifests::REQUIREMENTS] {
            for line in requirements.lines().filter(|line| !line.starts_with('#')) {
                assert_eq!(line.split("==").filter(|part| !part.is_empty()).count(), 2, "{line}");
            }
        }
    }

    #[test]
    fn the_version_is_in_its_name() {
        let environment = Environment { package: "moto", requirements: "moto-ext==7\nmoto==5.2.5\n" };
        assert!(environment.home().ends_with("target/tools/moto-5.2.5"));
    }

    #[test]
    fn what_fails_is_said() {
        let why = said(Command::new("sh").args(["-c", "echo no room >&2; exit 1"])).expect_err("it failed");
        assert_eq!(why, "no room");
        assert!(said(&mut Command::new("/nowhere/python3")).expect_err("none").contains("does not start"));
    }
}
