//! Builds the program and shows it at work on the committed examples, in a directory of its own under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::step::{self, Steps};
use crate::{Stop, workspace};

pub fn run() -> Result<()> {
    let root = workspace::root();
    let data = root.join("target/demo");
    let mut steps = Steps::new();
    steps.step("build (release; the first time takes minutes)", build)?;
    if data.exists() {
        std::fs::remove_dir_all(&data).context("emptying target/demo")?;
    }
    let demo = Demo { program: program(), root, data };

    steps.attempt("real data: places, networks, user agents, bots (about 83 MB the first time)", || {
        fetch_assets(&demo.program)
    })?;
    steps.step("a marketplace: 20,000 events flow through, with what goes wrong on the way", || demo.marketplace())?;
    steps.step("five of them, enriched", || demo.show(&["tail", "-n", "5", "--pretty"]))?;
    steps.step("what was refused, and why (the first lines)", || demo.refused())?;
    steps.step("a web log: 200 lines in, enriched events out", || demo.web_log())?;
    steps.step("the same again: nothing is new, its position was committed with the events", || demo.web_log())?;
    steps.step("one of them as JSON: the event, and one more member", || demo.show(&["tail", "-n", "1"]))?;
    steps.step("events of another shape, by a field map", || {
        demo.show(&["run", "-c", "examples/github.toml", "--until-idle"])
    })?;
    steps.step("what is in the log now", || demo.show(&["topics"]))?;
    steps.summary();
    demo.next();
    Ok(())
}

pub fn build() -> Result<()> {
    build_with(&[])
}

/// The same with features beside the default ones.
pub fn build_with(features: &[&str]) -> Result<()> {
    let mut cargo = step::cargo();
    cargo.current_dir(workspace::root()).args(["build", "--locked", "--release", "--package", "ouzel-cli"]);
    if !features.is_empty() {
        cargo.args(["--features", &features.join(",")]);
    }
    step::run(&mut cargo)
}

/// The binary that [`build`] made.
pub fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    target.join("release/ouzel")
}

/// Fetches what enriched events are made with, into this user's cache. Without npm or a network whoever called goes on:
/// nothing of it is needed.
pub fn fetch_assets(program: &Path) -> Result<Option<String>> {
    let args = ["assets", "fetch", "city", "asn", "agents", "crawlers"];
    step::say(&format!("    $ ouzel {}", args.join(" ")));
    let status = Command::new(program).args(args).stdin(Stdio::null()).status();
    match status.context("starting ouzel")?.code() {
        Some(0) => Ok(None),
        // The environment: no npm, no network. Anything else is a defect, and ends the demo.
        Some(5) => Ok(Some("without npm and a network (see above) events say less".to_owned())),
        _ => Err(Stop::failed("`ouzel assets fetch` ended otherwise than by a missing npm or network").into()),
    }
}

struct Demo {
    program: PathBuf,
    root: PathBuf,
    data: PathBuf,
}

impl Demo {
    /// The generator's events through a pipe.
    fn marketplace(&self) -> Result<()> {
        let gen_args = ["gen", "--events", "20000", "--seed", "7", "--quiet"];
        let run_args = ["run", "--input", "-", "--until-idle"];
        let (made, run) = (gen_args.join(" "), run_args.join(" "));
        step::say(&format!("    $ ouzel {made} | ouzel {run} --data {}", self.near(&self.data)));
        let mut maker = Command::new(&self.program);
        let mut maker = maker.args(gen_args).stdout(Stdio::piped()).spawn().context("starting ouzel gen")?;
        let events = maker.stdout.take().context("its output")?;
        let mut runner = Command::new(&self.program);
        runner.current_dir(&self.root).args(run_args).arg("--data").arg(&self.data).stdin(events);
        // Not by `step::run`, which gives nothing to read.
        let ran = runner.status().context("starting ouzel run")?.success();
        match (maker.wait()?.success(), ran) {
            (true, true) => Ok(()),
            (false, _) => Err(Stop::failed("ouzel gen failed").into()),
            (true, false) => Err(Stop::failed("ouzel run failed").into()),
        }
    }

    /// The first dead letters.
    fn refused(&self) -> Result<()> {
        const SHOWN: usize = 8;
        step::say(&format!("    $ ouzel dlq list --data {} | head -n {SHOWN}", self.near(&self.data)));
        let out = Command::new(&self.program).args(["dlq", "list", "--data"]).arg(&self.data).output()?;
        for line in String::from_utf8_lossy(&out.stdout).lines().take(SHOWN) {
            println!("{line}");
        }
        Ok(())
    }

    fn web_log(&self) -> Result<()> {
        self.show(&["run", "--input", "examples/access.log", "--preset", "access-log", "--until-idle"])
    }

    /// Shows a command as one would type it, then its output.
    fn show(&self, args: &[&str]) -> Result<()> {
        step::say(&format!("    $ ouzel {} --data {}", args.join(" "), self.near(&self.data)));
        let mut command = Command::new(&self.program);
        command.current_dir(&self.root).args(args).arg("--data").arg(&self.data).stdout(Stdio::inherit());
        step::run(&mut command)
    }

    fn near(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }

    fn next(&self) {
        let (program, data) = (self.near(&self.program), self.near(&self.data));
        step::say(&format!(
            "
Try next, from the root of the repository:

  {program} init --from YOUR-EVENTS.ndjson     # a configuration guessed from events of your own
  {program} run                        # takes events on http://127.0.0.1:7070/ (its status page)
  {program} gen --rate 1000 --to http://127.0.0.1:7070      # in another terminal: a thousand a second
  curl -s --json '{{\"type\":\"page\",\"messageId\":\"m-1\",\"anonymousId\":\"v-81\"}}' http://127.0.0.1:7070/v1/events
  {program} tail --follow              # in another terminal: events as they come

  cat examples/events.ndjson | {program} run --input - --output - | jq .enriched
  {program} dlq list --code duplicate_member --data {data}
  {program} data verify --data {data}
  {program} assets                     # what was fetched, under which licence, and whom to name
  {program} doctor

README.md goes on from here."
        ));
    }
}
