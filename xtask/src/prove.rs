//! The long forms of the tests: hundreds of kill cycles, power loss, many seeds. They run the same code as the short
//! forms, which read `OUZEL_PROVE` for their numbers, and those too slow for every change, which are `#[ignore]`d.

use anyhow::Result;

use crate::step::{self, Steps};
use crate::{services, sim, test, workspace};

pub fn run() -> Result<()> {
    let data = workspace::test_data()?;
    let features = test::features()?;
    let mut steps = Steps::new();
    steps.step("servers for tests are installed", services::install::all)?;
    steps.step("Kafka for tests is there", || services::kafka::libs().map(drop))?;
    let tests = || {
        let mut command = test::tests(&features);
        command.env("OUZEL_PROVE", "1").env("OUZEL_TEST_DATA", &data);
        command
    };
    steps.step("build simulated worlds", sim::build)?;
    steps
        .step("2,000 simulated worlds, each twice", || step::run(&mut sim::command(&["--seeds", "2000", "--twice"])))?;
    steps.step("planted bugs, in simulated worlds", || step::run(&mut sim::command(&["--plants"])))?;
    steps.step("build", || step::run(tests().arg("--no-run")))?;
    let services = test::start_services(&mut steps)?;
    // One test at a time: kill loops measure rates, and their processes would take each other's cores.
    steps.step("long tests", || {
        let variables = services.variables().iter().cloned();
        step::run(tests().envs(variables).args(["--", "--include-ignored", "--test-threads=1", "--nocapture"]))
    })?;
    drop(services);
    steps.summary();
    Ok(())
}
