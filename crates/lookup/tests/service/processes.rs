//! Real processes that share a real Redis.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use flow::Status;
use futures_util::future::join_all;
use seam::RealClock;
use tokio::runtime::Runtime;

use crate::asking::{Stub, ask, start};
use crate::shared::{redis, seed, sharing};

const ASKS: usize = 1_000;
/// A machine that is busy may be too slow for the shared tier's time; then each process may call once.
const ROUNDS: usize = 10;
/// What tells a child that it is one, and what its seed is.
const CHILD: &str = "OUZEL_TEST_CHILD";
/// What the child's lines begin with; the test harness says other things.
const SAYS: &str = "child:";

#[test]
fn two_processes_make_one_call() {
    if redis(4, None).is_none() {
        return;
    }
    let seed = seed();
    let mut two = [seed, seed + 1].map(Process::start);
    for round in 0..ROUNDS {
        two.iter_mut().for_each(|process| process.tell(&format!("{seed}-{round}")));
        let said = two.each_mut().map(Process::hear);
        assert!(said.iter().all(|said| said.calls <= 1), "{said:?}");
        if said.iter().all(|said| said.failed == 0) {
            assert_eq!(said.iter().map(|said| said.calls).sum::<u64>(), 1, "{said:?}");
            return;
        }
    }
    panic!("the shared tier failed in every round");
}

/// What came of a round in one process.
#[derive(Debug)]
struct Round {
    calls: u64,
    /// How often the shared tier failed it.
    failed: u64,
}

/// This program again, as [`a_process_that_asks`].
struct Process {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Process {
    fn start(seed: u64) -> Process {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "processes::a_process_that_asks", "--nocapture"]).env(CHILD, seed.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let says = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut process = Process { child, says };
        assert_eq!(process.line(), "ready");
        process
    }

    fn tell(&mut self, key: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{key}").expect("it listens");
    }

    fn hear(&mut self) -> Round {
        let line = self.line();
        let (calls, failed) = line.split_once(' ').expect("two numbers");
        Round { calls: calls.parse().expect("a number"), failed: failed.parse().expect("a number") }
    }

    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.says.read_line(&mut line).expect("text") > 0, "it has ended");
            // The harness leaves its own line open.
            if let Some((_, said)) = line.split_once(SAYS) {
                return said.trim().to_owned();
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Of the test above; by itself it does nothing.
#[test]
fn a_process_that_asks() {
    let Ok(seed) = std::env::var(CHILD) else { return };
    let seed = seed.parse().expect("a number");
    let runtime = Runtime::new().expect("a runtime");
    let guard = runtime.enter();
    let stub = Stub::that_takes(50);
    let service = start(sharing(seed), &stub, redis(4, None), Arc::new(RealClock::new()));
    drop(guard);
    println!("{SAYS} ready");
    for key in std::io::stdin().lines() {
        let key: Arc<str> = key.expect("text").into();
        let before = (stub.calls(), service.report().desk.shared_failed);
        let asks = (0..ASKS).map(|_| {
            let (service, key) = (service.clone(), Arc::clone(&key));
            runtime.spawn(async move { ask(&service, &key, 500).await })
        });
        for heard in runtime.block_on(join_all(asks)) {
            assert_eq!(heard.expect("asked").0, Status::Ok);
        }
        println!("{SAYS} {} {}", stub.calls() - before.0, service.report().desk.shared_failed - before.1);
    }
}
