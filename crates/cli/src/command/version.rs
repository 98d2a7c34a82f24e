//! `ouzel version`.

use crate::Global;
use crate::exit::{Exit, Result};

pub fn run(global: &Global) -> Result {
    let faults = cfg!(feature = "faults");
    if global.json {
        println!(
            "{}",
            serde_json::json!({"version": env!("CARGO_PKG_VERSION"), "target": std::env::consts::ARCH,
                "os": std::env::consts::OS, "faults": faults, "debug": cfg!(debug_assertions)})
        );
    } else {
        let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
        let faults = if faults { ", with fault points for tests" } else { "" };
        println!(
            "ouzel {} ({}-{}, {build}{faults})",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::ARCH,
            std::env::consts::OS
        );
    }
    Ok(Exit::Fine)
}
