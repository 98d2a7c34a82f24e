//! The embedded default by itself: built without any feature, and run where there is no Java, no Kafka and no network.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{Stop, services, step, workspace};

/// Builds it, and has it take the events of an example.
pub fn run() -> Result<()> {
    let root = workspace::root();
    let mut cargo = step::cargo();
    cargo.current_dir(&root);
    cargo.args(["build", "--locked", "--profile", "ci", "--package", "ouzel-cli", "--no-default-features"]);
    // Beside the program with everything in it, which tests run.
    let target = root.join("target/alone");
    step::run(cargo.arg("--target-dir").arg(&target))?;
    let data = target.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| format!("emptying {}", data.display()))?;
    }
    let out = without_anything(&target.join("ci/ouzel"))
        .args(["run", "--until-idle", "--data"])
        .arg(&data)
        .args(["--input", "examples/events.ndjson", "--output", "-"])
        .current_dir(&root)
        .stdin(Stdio::null())
        .output()
        .context("the program does not start")?;
    let enriched = out.stdout.split(|b| *b == b'\n').filter(|line| line.starts_with(b"{")).count();
    if !out.status.success() || enriched == 0 {
        let said = String::from_utf8_lossy(&out.stderr);
        return Err(Stop::failed(format!("alone it made {enriched} enriched events ({}):\n{said}", out.status)).into());
    }
    step::say(&format!("    {enriched} events were enriched without Java, Kafka or a network"));
    Ok(())
}

/// A program without an environment, and, where that may be made, in a network of its own that has nothing in it.
fn without_anything(program: &PathBuf) -> Command {
    let unshare = services::install::find(&["unshare"], &[]);
    let may = |unshare: &PathBuf| {
        let tried = Command::new(unshare).args(["--net", "true"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let mut command = match unshare.filter(may) {
        Some(unshare) => {
            let mut command = Command::new(unshare);
            command.arg("--net").arg(program);
            command
        }
        None => {
            step::say("    the network stays as it is: only root may take it away");
            Command::new(program)
        }
    };
    command.env_clear().env("PATH", "/nonexistent");
    command
}
