//! A program that holds a million visitors is killed while events come, and started again.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use event::Offset;
use event::topic::{ENRICHED, SESSIONS};
use log::Log;
use node::sessions::STATE_DIR;
use seam::{Clock, RealClock};
use serde_json::{Value, json};
use session::operator::GROUP;

use super::crowd;
use crate::Global;
use crate::command::bench::sender::{Load, Sent, Silence};
use crate::command::bench::{SessionsArgs, bench_dir};
use crate::exit::{Exit, Failed, Result};
use crate::look::Look;

/// How often a restarted program is asked what it has done.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Between two kills: two snapshots, as they are by default, and some of a third.
const BETWEEN_KILLS: Duration = Duration::from_secs(13);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Less than this waits in a program that keeps up, in seconds of the load.
const KEEPS_UP_S: f64 = 0.1;

pub fn run(global: &Global, args: &SessionsArgs) -> Result<Value> {
    let dir = bench_dir(global)?;
    let file = dir.with_extension("ndjson");
    let measured = measure(global, args, &dir, &file);
    let _ = std::fs::remove_dir_all(&dir);
    let _ = std::fs::remove_file(&file);
    measured
}

fn measure(global: &Global, args: &SessionsArgs, dir: &Path, file: &Path) -> Result<Value> {
    crowd::write_file(file, args.visitors)?;
    let mut program = Program::new(global, dir)?;
    program.start(Some(file))?;
    let status = crowd::wait("the visitors are loaded", Duration::from_millis(200), || {
        Ok(program.json("/status.json")?.filter(|status| crowd::holds(status, args.visitors)))
    })?;
    let loaded = SystemTime::now();
    let partitions = status["topics"][0]["partitions"].as_array().map_or(0, Vec::len) as u32;
    crowd::wait("a snapshot of each partition", Duration::from_millis(100), || {
        let all = (0..partitions).all(|p| newest_snapshot(dir, p, u64::MAX).is_some_and(|(_, at)| at > loaded));
        Ok(all.then_some(()))
    })?;

    let load = Load {
        addr: program.addr,
        batch: 100,
        connections: 16,
        rate: Some(args.rate),
        clock: Arc::new(RealClock::new()),
        first: 0,
        visitors: Some(args.visitors),
        silence: Silence::Passes,
    };
    let (sent, stop) = (Arc::<Sent>::default(), Arc::<AtomicBool>::default());
    let mut runs = Ok(Vec::new());
    let mut sending = Ok(());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| load.run(&sent, &stop));
        let kill = |_| {
            std::thread::sleep(BETWEEN_KILLS);
            kill(&mut program, dir, args.rate, &sent)
        };
        runs = (0..args.kills).map(kill).collect();
        stop.store(true, Relaxed);
        sending = sender.join().unwrap_or_else(|_| Err(std::io::Error::other("the sender panicked")));
    });
    sending.map_err(|e| Failed::environment("sending", &e))?;
    let runs: Vec<Value> = runs?;
    let mut figures = super::medians(&runs);
    figures["slowest_first_output_s"] = json!(slowest(&runs, "first_output_s"));
    figures["slowest_all_partitions_s"] = json!(slowest(&runs, "all_partitions_s"));
    figures["kills"] = json!(args.kills);
    Ok(figures)
}

fn slowest(runs: &[Value], name: &str) -> f64 {
    runs.iter().filter_map(|run| run[name].as_f64()).fold(0.0, f64::max)
}

/// Kills the program and starts it again; seconds from its start.
fn kill(program: &mut Program, dir: &Path, rate: u64, sent: &Sent) -> Result<Value> {
    program.kill();
    let (ends, replayed, restored) = stored(program, dir)?;
    let clock = RealClock::new();
    let failed = sent.failed.load(Relaxed);
    let begun = clock.elapsed();
    program.start(None)?;
    let (mut answered, mut first, mut all) = (None, None, None);
    let caught_up = crowd::wait("the program is at work again", LOOK_EVERY, || {
        let Some(topics) = program.json("/v1/topics")? else { return Ok(None) };
        let now = clock.elapsed() - begun;
        answered.get_or_insert(now);
        let grown = ends_of(&topics).iter().zip(&ends).filter(|(now, before)| now > before).count();
        if grown > 0 {
            first.get_or_insert(now);
        }
        if grown == ends.len() {
            all.get_or_insert(now);
        }
        if all.is_none() {
            return Ok(None);
        }
        let status = program.json("/status.json")?.unwrap_or_default();
        let waits =
            status["sessions"]["lag"].as_u64().unwrap_or(u64::MAX).saturating_add(status["lag"].as_u64().unwrap_or(0));
        Ok((waits as f64 <= rate as f64 * KEEPS_UP_S).then(|| clock.elapsed() - begun))
    })?;
    let s = |at: Option<Duration>| at.map(|at| at.as_secs_f64());
    Ok(json!({
        "answered_s": s(answered),
        "first_output_s": s(first),
        "all_partitions_s": s(all),
        "caught_up_s": s(Some(caught_up)),
        "replayed_events": replayed,
        "restored_mb": restored as f64 / 1e6,
        "not_accepted": sent.failed.load(Relaxed) - failed,
    }))
}

/// What a killed program left: the ends of `sessions`, how many records of `enriched` have to be replayed, and the bytes
/// of its state's snapshots.
fn stored(program: &Program, dir: &Path) -> Result<(Vec<Offset>, u64, u64)> {
    let Look::Stored(journal) = Look::open(&program.global)? else {
        return Err(Failed::new(Exit::Failed, "the killed program still runs"));
    };
    let mut ends = Vec::new();
    let (mut replayed, mut bytes) = (0, 0);
    for p in 0..journal.partitions(SESSIONS) {
        ends.push(journal.bounds(SESSIONS.partition(p))?.1);
        let committed = journal.committed(GROUP, &log::Input::Topic(ENRICHED.partition(p)))?.map_or(0, |c| c.next);
        let from = newest_snapshot(dir, p, committed).map_or(0, |(position, _)| position);
        replayed += committed - from;
        let files = std::fs::read_dir(state_dir(dir, p)).into_iter().flatten().flatten();
        bytes += files.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>();
    }
    Ok((ends, replayed, bytes))
}

fn ends_of(topics: &Value) -> Vec<Offset> {
    let sessions = topics["topics"].as_array().into_iter().flatten().find(|t| t["name"] == SESSIONS.name());
    let partitions = sessions.and_then(|t| t["partitions"].as_array()).into_iter().flatten();
    partitions.map(|p| p["end"].as_u64().unwrap_or(0)).collect()
}

fn state_dir(dir: &Path, partition: u32) -> PathBuf {
    dir.join(STATE_DIR).join(GROUP).join(partition.to_string())
}

/// Position of the newest complete snapshot at or below `most`, and when it was written.
fn newest_snapshot(dir: &Path, partition: u32, most: Offset) -> Option<(Offset, SystemTime)> {
    let files = std::fs::read_dir(state_dir(dir, partition)).ok()?.flatten();
    let snapshot = |file: std::fs::DirEntry| {
        let name = file.file_name().into_string().ok()?;
        let position = name.ends_with(".manifest").then(|| name.split('-').next()?.parse().ok())??;
        Some((position, file.metadata().ok()?.modified().ok()?))
    };
    files.filter_map(snapshot).filter(|(position, _)| *position <= most).max()
}

/// `ouzel run` in a process of its own.
struct Program {
    global: Global,
    addr: SocketAddr,
    agent: ureq::Agent,
    child: Option<Child>,
}

impl Program {
    fn new(global: &Global, dir: &Path) -> Result<Program> {
        // A port that was free a moment ago.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER_WITHIN)).build().into();
        Ok(Program {
            global: Global { data: Some(dir.to_path_buf()), ..global.clone() },
            addr: addr.map_err(|e| Failed::environment("looking for a port", &e))?,
            agent,
            child: None,
        })
    }

    fn start(&mut self, input: Option<&Path>) -> Result<()> {
        let start = || {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["run", "--quiet", "--listen", &self.addr.to_string()]);
            command.args(self.global.data.iter().flat_map(|dir| ["--data".as_ref(), dir.as_os_str()]));
            command.args(self.global.config.iter().flat_map(|file| ["--config".as_ref(), file.as_os_str()]));
            command.args(self.global.set.iter().flat_map(|set| ["--set", set]));
            command.args(input.iter().flat_map(|file| ["--input".as_ref(), file.as_os_str()]));
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
        };
        self.child = Some(start().map_err(|e| Failed::environment("starting `ouzel run`", &e))?);
        Ok(())
    }

    /// What it answers; `None` while it does not. An error when it has ended.
    fn json(&mut self, path: &str) -> Result<Option<Value>> {
        if let Some(Ok(Some(status))) = self.child.as_mut().map(Child::try_wait) {
            return Err(Failed::new(Exit::Failed, format!("`ouzel run` ended: {status}")));
        }
        let Ok(mut answer) = self.agent.get(format!("http://{}{path}", self.addr)).call() else { return Ok(None) };
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        Ok(serde_json::from_str(&text).ok())
    }

    /// As the kernel kills: without a word.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
