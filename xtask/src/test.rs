//! All that must hold before a change is kept, cheapest first. CI runs exactly this.

use std::process::Command;

use anyhow::Result;

use crate::services::{self, Services};
use crate::step::{self, Steps};
use crate::{Stop, alone, deny, manifests, tidy, workspace};

pub fn run() -> Result<()> {
    let data = workspace::test_data()?;
    step::say(&format!("test data: {}", data.display()));
    let mut steps = Steps::new();

    steps.step("format", || step::run(cargo().args(["fmt", "--all", "--check"])))?;
    steps.step("tidy", || tidy::run(false))?;
    match deny::find() {
        Ok(program) => steps.step("licences, bans, sources", || deny::check(&program))?,
        Err(why) if in_ci() => return Err(Stop::missing(why).into()),
        Err(why) => steps.skip("licences, bans, sources", why),
    }
    // Started only for the tests, but what is missing is said before minutes of building.
    steps.step("servers for tests are installed", services::install::all)?;
    steps.step("Kafka for tests is there", || services::kafka::libs().map(drop))?;
    steps.step("manifests", manifests::run)?;
    let features = features()?;
    steps.step("clippy", || {
        step::run(cargo().args([
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--profile",
            "ci",
            "--features",
            &features,
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    // Building is a step of its own, so that the time of the tests is theirs.
    steps.step("build", || step::run(tests(&features).arg("--no-run").env("OUZEL_TEST_DATA", &data)))?;
    steps.step("the embedded default alone", alone::run)?;
    let services = start_services(&mut steps)?;
    let variables = services.variables().iter().cloned();
    steps.step("tests", || step::run(tests(&features).env("OUZEL_TEST_DATA", &data).envs(variables)))?;
    drop(services);

    steps.summary();
    Ok(())
}

/// `cargo test` over the workspace in the one test profile, with every fault point compiled in.
pub fn tests(features: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--locked", "--workspace", "--profile", "ci", "--no-fail-fast", "--features", features]);
    command
}

/// PostgreSQL, MariaDB and Redis, until what is given back is dropped; and where the jars of Kafka are.
pub fn start_services(steps: &mut Steps) -> Result<Services> {
    let mut started = None;
    steps.step("servers for tests", || {
        started = Some(Services::start()?);
        Ok(())
    })?;
    Ok(started.expect("the step went well"))
}

/// The features with which everything is tested: the fault points of every crate that has them, which exist in test builds
/// only, sources that are asked over a connection, snapshots in object storage, and Kafka.
pub fn features() -> Result<String> {
    let mut features = ["ouzel-lookup/remote", "ouzel-state/s3", "ouzel-cli/kafka"].map(str::to_owned).to_vec();
    for member in workspace::members()? {
        if member.features.contains("faults") {
            features.push(format!("{}/faults", member.package));
        }
    }
    Ok(features.join(","))
}

fn cargo() -> Command {
    let mut command = step::cargo();
    command.current_dir(workspace::root());
    command
}

/// Nothing is skipped where a machine judges.
fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false")
}
