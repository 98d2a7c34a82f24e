//! The chores of this repository, as `cargo xtask <command>`: each is one file, and all of them run child processes
//! through [`step`], so that progress, times and exit codes look the same everywhere.
//!
//! * [`test`]: everything that must hold before a change is kept; what CI runs
//! * [`services`]: real servers for tests, for as long as those run
//! * [`tidy`]: the rules a compiler does not know: layers, names, links, pages
//! * [`demo`]: builds the program and runs it on the committed examples
//! * [`bench`]: measures, and writes the figures to `docs/benchmarks.md`
//! * [`manifests`]: the manifests for Kubernetes, by its schemas
//! * [`peers`]: builds the programs that Ouzel is measured against
//! * [`sim`]: simulated worlds by their seeds, and the story of one
//! * [`prove`]: the long forms of the tests
//!
//! It is no part of the product and knows nothing about events.

mod alone;
mod bench;
mod demo;
mod deny;
mod manifests;
mod peers;
mod prove;
mod python;
mod services;
mod sim;
mod step;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  demo               build the program, fetch real data (npm), run it on examples/, say what to try next
  test               all that must hold: format, tidy, clippy, tests, licences (what CI runs)
  tidy [--fix]       layers, links, pages and names; --fix rewrites what is generated
  bench [--runs N]   measure `ouzel bench`, medians of N runs (3), into docs/benchmarks.md
      [--secs N]     length of each run (60)
      [--dry]        print only
  peers              build the programs of bench/peers (Maven, Java 17), print the command for `--peer`
  sim [options]      simulated worlds by their seeds; --seed S tells the story of one, --help lists the rest
  manifests          examples/kubernetes, judged by the schemas of Kubernetes (pip, once)
  services           PostgreSQL, MariaDB and Redis for tests that are run by hand, until Ctrl-C, and the jars of Kafka
      [-- COMMAND]   for one command, as `cargo xtask services -- cargo test --profile ci -p ouzel-lookup`
  prove              the long tests: 200 kill cycles, power loss, many seeds (an hour or more)

Test data is read from $OUZEL_TEST_DATA, else ../shared/data beside the checkout.
Exit codes: 0 fine; 1 something does not hold; 2 usage; 5 something is missing on this machine.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [] | ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            Ok(())
        }
        ["test"] => test::run(),
        ["tidy"] => tidy::run(false),
        ["tidy", "--fix"] => tidy::run(true),
        ["demo"] => demo::run(),
        ["bench", options @ ..] => bench::Options::parse(options).and_then(|options| bench::run(&options)),
        ["peers"] => peers::run(),
        ["manifests"] => manifests::run(),
        ["sim", options @ ..] => sim::run(options),
        ["services"] => services::run(),
        ["services", "--", command @ ..] => services::run_command(command),
        // For ourselves only.
        ["services", "--keep"] => services::keeper::run(),
        ["prove"] => prove::run(),
        other => {
            Err(Stop::usage(format!("there is no command `{}`; `cargo xtask` lists them", other.join(" "))).into())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::from(error.downcast_ref::<Stop>().map_or(Stop::FAILED, |stop| stop.code))
        }
    }
}

/// A reason to end with an exit code of its own; any other error ends with [`Stop::FAILED`].
#[derive(Debug)]
pub struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// Something that must hold does not.
    const FAILED: u8 = 1;

    pub fn failed(message: impl Into<String>) -> Stop {
        Stop { code: Stop::FAILED, message: message.into() }
    }

    pub fn usage(message: impl Into<String>) -> Stop {
        Stop { code: 2, message: message.into() }
    }

    /// This machine lacks something: a tool, the test data.
    pub fn missing(message: impl Into<String>) -> Stop {
        Stop { code: 5, message: message.into() }
    }
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}
