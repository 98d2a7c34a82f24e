//! Finds the servers' programs on this machine, else installs them: most are packages of Debian's.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::server::Kind;
use super::wanted;
use crate::{Stop, step};

/// Installs what is not there yet; says what to do where it cannot.
pub fn all() -> Result<()> {
    for kind in wanted().filter(|kind| (kind.find)().is_none()) {
        (kind.install)(kind)?;
        if (kind.find)().is_none() {
            let packages = kind.packages.join(" ");
            return Err(Stop::missing(format!("{packages} brought no program of {} that we know", kind.name)).into());
        }
    }
    Ok(())
}

/// A program by any of its names, the first that is found; on PATH, then where servers are, then in `more`.
pub fn find(names: &[&str], more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // On Debian the last two are not on the PATH of those who are not root.
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/local/sbin", "/usr/sbin"].map(PathBuf::from));
    dirs.extend_from_slice(more);
    names.iter().find_map(|name| dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file()))
}

/// Whether we are root, who installs, and as whom servers are not run.
pub fn is_root() -> bool {
    // SAFETY: no memory effects, and it cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Installs its packages, as root and where there is `apt-get`.
pub fn debian(kind: &Kind) -> Result<()> {
    let packages = kind.packages.join(" ");
    let else_set = format!("or set {} to the URL of a server for tests", kind.variable);
    let missing = |what_to_do: String| Stop::missing(format!("{} is not installed: {what_to_do}", kind.name));
    let Some(apt) = find(&["apt-get"], &[]) else {
        return Err(missing(format!("install it with its client ({packages} in Debian), {else_set}")).into());
    };
    if !is_root() {
        let command = format!("sudo apt-get install --no-install-recommends {packages}");
        return Err(missing(format!("only root can; `{command}`, {else_set}")).into());
    }
    step::say(&format!("    installing {}: {packages}", kind.name));
    let _policy = Policy::new(Path::new(Policy::PATH))?;
    let mut install = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    install.extend_from_slice(kind.packages);
    if apt_get(&apt, &install).is_err() {
        // The lists of packages are empty, or older than the mirror.
        step::say("    apt-get update");
        let updated = apt_get(&apt, &["update"]);
        apt_get(&apt, &install).map_err(|why| {
            let before = updated.err().map(|e| format!("\napt-get update before it:\n{e}")).unwrap_or_default();
            missing(format!("apt-get install {packages} failed; mend that, {else_set}\n{why}{before}"))
        })?;
    }
    Ok(())
}

/// `Err` is the end of what it said.
fn apt_get(apt: &Path, args: &[&str]) -> Result<(), String> {
    let mut command = Command::new(apt);
    // Somebody else may be installing.
    command.args(["--quiet=2", "-o", "DPkg::Lock::Timeout=120"]).args(args);
    command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C").stdin(Stdio::null());
    let out = command.output().map_err(|e| format!("{} does not start: {e}", apt.display()))?;
    if out.status.success() {
        return Ok(());
    }
    let said = [out.stdout, out.stderr].concat();
    Err(step::tail(&String::from_utf8_lossy(&said), 12))
}

/// While it lives, packages that are installed do not start their own services.
struct Policy {
    /// None: the machine has one of its own, and that is what holds.
    ours: Option<PathBuf>,
}

impl Policy {
    /// What Debian asks before it starts a service.
    const PATH: &str = "/usr/sbin/policy-rc.d";
    const MARK: &str = "# By `cargo xtask`, while it installs servers for tests.";

    fn new(path: &Path) -> Result<Policy> {
        if std::fs::read_to_string(path).is_ok_and(|text| text.contains(Self::MARK)) {
            let _ = std::fs::remove_file(path);
        }
        match OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                // If we are killed and it stays, it forbids nothing: it looks whether we live.
                let process = std::process::id();
                write!(file, "#!/bin/sh\n{}\n[ -d /proc/{process} ] && exit 101\nexit 0\n", Self::MARK)?;
                Ok(Policy { ours: Some(path.to_owned()) })
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(Policy { ours: None }),
            Err(e) => Err(e).with_context(|| path.display().to_string()),
        }
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = &self.ours {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_that_is_found() {
        let sh = find(&["no-such-program", "sh"], &[]).expect("a shell");
        assert!(sh.ends_with("sh") && sh.is_absolute(), "{}", sh.display());
        assert_eq!(find(&["no-such-program"], &["/nowhere".into()]), None);
    }

    #[test]
    fn what_apt_get_says_is_in_the_error() {
        let sh = find(&["false"], &[]).expect("false");
        assert_eq!(apt_get(&sh, &["update"]), Err(String::new()));
        let why = apt_get(Path::new("/nowhere/apt-get"), &["update"]).expect_err("nothing there");
        assert!(why.contains("/nowhere/apt-get does not start"), "{why}");
    }
    #[test]
    fn no_service_is_started_while_we_install() {
        let path = std::env::temp_dir().join(format!("ouzel-policy-{}", std::process::id()));
        // Read by a shell: a file just written cannot be run while another test, forking, still has it open.
        let asked = || Command::new("sh").arg(&path).status().expect("it runs").code();
        let policy = Policy::new(&path).expect("a policy");
        assert_eq!(asked(), Some(101), "forbidden by policy");
        drop(policy);
        assert!(!path.exists());

        // One that was left by a process that is no more.
        let gone = Command::new("true").spawn().and_then(|mut child| child.wait().map(|_| child.id())).expect("true");
        let mut left = OpenOptions::new().write(true).create_new(true).mode(0o755).open(&path).expect("make");
        write!(left, "#!/bin/sh\n{}\n[ -d /proc/{gone} ] && exit 101\nexit 0\n", Policy::MARK).expect("write");
        drop(left);
        assert_eq!(asked(), Some(0), "whoever wrote it is gone");
        drop(Policy::new(&path).expect("a policy"));
        assert!(!path.exists());

        std::fs::write(&path, "#!/bin/sh\nexit 104\n").expect("write");
        drop(Policy::new(&path).expect("a policy"));
        assert!(path.exists(), "the machine's own is left alone");
        std::fs::remove_file(&path).expect("remove");
    }
}
