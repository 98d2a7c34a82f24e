//! Simulated worlds by their seeds: builds `crates/sim`'s program with every fault point compiled in, as tests are, and hands
//! it the arguments. What they mean is written there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{Stop, step, workspace};

pub fn run(args: &[&str]) -> Result<()> {
    build()?;
    let status =
        command(args).stdin(Stdio::null()).status().context("the program `sim`, just built, does not start")?;
    match status.code() {
        Some(0) => Ok(()),
        Some(2) => Err(Stop::usage("`sim` did not understand that").into()),
        _ => Err(Stop::failed(format!("`sim` ended with {status}")).into()),
    }
}

pub fn build() -> Result<()> {
    step::run(step::cargo().current_dir(workspace::root()).args([
        "build",
        "--locked",
        "--profile",
        "ci",
        "--package",
        "ouzel-sim",
        "--features",
        "faults",
        "--bin",
        "sim",
    ]))
}

/// What [`build`] made.
pub fn command(args: &[&str]) -> Command {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    let mut command = Command::new(target.join("ci/sim"));
    command.args(args);
    command
}
