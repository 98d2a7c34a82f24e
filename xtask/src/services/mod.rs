//! Real servers for tests: PostgreSQL, MariaDB, Redis and S3, on loopback, made for one run and gone after it.
//!
//! * [`install`]: finds their programs, else installs them
//! * [`keeper`]: the process that has them, and ends them when whoever asked for them is gone
//! * [`place`]: the directory they are in
//! * [`server`]: one of them: its user, its port, its first answer, its end
//! * [`postgres`], [`mariadb`], [`redis`], [`s3`]: what differs, the same functions in the same order
//! * [`kafka`]: the jars of Apache Kafka, whose brokers tests start themselves
//!
//! ```text
//! xtask ──pipe──> keeper ──> postgres, mariadbd, redis-server, moto
//! ```
//!
//! The pipe is the lease: the kernel closes it when xtask ends, by a signal, a panic or SIGKILL too. The keeper then ends
//! the servers and removes the directory. If the keeper itself is killed, the kernel ends the servers, and the next keeper
//! removes the directory.

pub mod install;
pub mod kafka;
pub mod keeper;
mod mariadb;
mod place;
mod postgres;
mod redis;
pub mod s3;
mod server;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use server::Kind;

use crate::step;
use crate::{Stop, workspace};

const KINDS: [&Kind; 4] = [&postgres::KIND, &mariadb::KIND, &redis::KIND, &s3::KIND];

/// How often a process that waits looks up.
const TICK: Duration = Duration::from_millis(20);

/// For the keeper to end: more than its servers may take one after another.
const END_MAX: Duration = Duration::from_secs(20);

/// Servers that answer, until this is dropped.
pub struct Services {
    keeper: Child,
    variables: Vec<(String, String)>,
}

impl Services {
    /// Starts those that the environment does not name yet; takes seconds, and the first time longer.
    pub fn start() -> Result<Services> {
        let kafka = kafka::variables()?;
        let mut command = Command::new(std::env::current_exe().context("where xtask is")?);
        command.args(["services", "--keep"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C is for xtask, and its end for the keeper.
        command.process_group(0);
        let keeper = command.spawn().context("cannot start the keeper of the servers")?;
        let mut services = Services { keeper, variables: Vec::new() };
        let said = services.keeper.stdout.take().expect("it is piped");
        for line in BufReader::new(said).lines() {
            match line.context("reading what the keeper says")?.split_once('=') {
                Some((name, value)) => services.variables.push((name.to_owned(), value.to_owned())),
                None => {
                    services.variables.extend(kafka);
                    return Ok(services);
                }
            }
        }
        Err(Stop::failed("the servers for tests did not start; the reason is above").into())
    }

    /// Where they are: variables for the environment of tests.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let begun = Instant::now();
        while let Ok(None) = self.keeper.try_wait() {
            if begun.elapsed() > END_MAX {
                // The kernel then ends the servers.
                let _ = self.keeper.kill();
            }
            std::thread::sleep(TICK);
        }
    }
}

/// `cargo xtask services`: until Ctrl-C, for tests that are run by hand.
pub fn run() -> Result<()> {
    let stop = stop_signals()?;
    install::all()?;
    let mut services = Services::start()?;
    for (name, value) in services.variables() {
        println!("export {name}={value}");
    }
    step::say("Tests in shells with these variables use these servers. Ctrl-C ends them.");
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = services.keeper.try_wait()? {
            return Err(Stop::failed(format!("the keeper of the servers ended with {status}")).into());
        }
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// `cargo xtask services -- COMMAND`: as long as the command takes.
pub fn run_command(command: &[&str]) -> Result<()> {
    let [program, args @ ..] = command else { return Err(Stop::usage("services -- takes a command").into()) };
    install::all()?;
    let services = Services::start()?;
    let mut command = Command::new(program);
    command.args(args).envs(services.variables().iter().cloned());
    // So that tests of crates find the test data as `cargo xtask test` gives it.
    if let Ok(data) = workspace::test_data() {
        command.env("OUZEL_TEST_DATA", data);
    }
    let status = command.status().with_context(|| format!("cannot start `{program}`"))?;
    if status.success() { Ok(()) } else { Err(Stop::failed(format!("`{program}` ended with {status}")).into()) }
}

/// True once this process was asked to end.
fn stop_signals() -> Result<Arc<AtomicBool>> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot hear signals")?;
    }
    Ok(stop)
}

/// The kinds that nobody has started yet: a variable that is set names a server of somebody else's.
fn wanted() -> impl Iterator<Item = &'static Kind> {
    KINDS.into_iter().filter(|kind| std::env::var_os(kind.variable).is_none_or(|url| url.is_empty()))
}
