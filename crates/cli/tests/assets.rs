//! `ouzel assets` as one types it, with an npm that stands in for the real one, and once with that.

#![allow(clippy::disallowed_methods)] // tests look at real files and processes

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{fine, json, output, ouzel, signal, text};

const RULES: &str = "user_agent_parsers:\n  - regex: 'x'\nos_parsers:\ndevice_parsers:\n";

struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("below ours")).expect("made");
        std::fs::write(&path, content).expect("written");
        path
    }

    fn ouzel(&self, args: &[&str]) -> Command {
        let mut command = ouzel();
        command.env("XDG_CACHE_HOME", self.path("cache")).current_dir(self.0.path()).args(args);
        command
    }

    /// With the npm that does what `cache/ouzel/npm.sh` says.
    fn with_npm(&self, args: &[&str]) -> Command {
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../node/tests/assets/bin");
        let mut command = self.ouzel(args);
        command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
        command
    }

    /// npm has `uap-core`.
    fn npm_has_agents(&self, version: &str) {
        let package = self.path("cache/ouzel/package");
        self.file("cache/ouzel/package/regexes.yaml", RULES);
        self.file("cache/ouzel/package/package.json", format!(r#"{{"name": "uap-core", "version": "{version}"}}"#));
        let tgz = self.path("cache/ouzel/registry.tgz");
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(&tgz).arg("-C").arg(package.parent().expect("made")).arg("package");
        assert!(tar.status().expect("tar").success());
        self.file(
            "cache/ouzel/npm.sh",
            format!(
                "case $1 in view) echo '{{\"version\": \"{version}\"}}' ;; pack) cp ../registry.tgz ./x.tgz ;; esac\n"
            ),
        );
    }
}

#[test]
fn fetched_listed_and_up_to_date() {
    let machine = Machine::new();
    machine.npm_has_agents("0.18.0");
    let out = fine(&mut machine.with_npm(&["assets", "fetch", "agents"]));
    assert!(text(&out.stdout).starts_with("agents      0.18.0           taken in "), "{}", text(&out.stdout));
    assert_eq!(text(&out.stderr), "agents: downloading uap-core, about 45.6 KiB\n");
    let out = fine(&mut machine.with_npm(&["assets", "fetch", "agents"]));
    assert_eq!(text(&out.stdout), "agents      0.18.0           up to date\n");
    assert_eq!(text(&out.stderr), "");

    machine.npm_has_agents("0.19.0");
    let out = fine(&mut machine.with_npm(&["assets", "fetch", "agents", "--json"]));
    let said = json(&out.stdout);
    assert_eq!(said["assets"][0]["name"], "agents");
    assert_eq!(said["assets"][0]["outcome"], "fetched");
    assert_eq!(said["assets"][0]["version"], "0.19.0");
    assert_eq!(text(&out.stderr), "");
    let out = fine(&mut machine.with_npm(&["assets", "fetch", "agents", "--quiet"]));
    assert_eq!((text(&out.stdout), text(&out.stderr)), (String::new(), String::new()));

    let out = fine(&mut machine.ouzel(&["assets", "list", "--verify", "--json"]));
    let said = json(&out.stdout);
    let list = said["assets"].as_array().expect("a list");
    assert_eq!(list.len(), 6);
    for row in list {
        let there = row["name"] == "agents";
        assert_eq!(row["in_use"], there, "{row}");
        assert_eq!(row["state"], if there { "here" } else { "not_there" }, "{row}");
        for member in ["licence", "package", "what", "since"] {
            assert!(row[member].as_str().is_some_and(|s| s.len() > 2), "{member}: {row}");
        }
        assert!(row["attribution"]["text"].is_string() && row["attribution"]["must_be_shown"].is_boolean(), "{row}");
    }
    let agents = list.iter().find(|row| row["name"] == "agents").expect("listed");
    let path = machine.path("cache/ouzel/agents/regexes.yaml");
    assert_eq!(agents["files"][0], path.to_str().expect("text"));
    assert_eq!(std::fs::read_to_string(&path).expect("there"), RULES);
    assert!(agents["age_seconds"].as_u64().is_some_and(|s| s < 600), "{agents}");
}

/// Whoever says where places come from gets them from there.
#[test]
fn what_is_configured_is_not_taken_from_the_cache() {
    let machine = Machine::new();
    machine.file("usb/iptoasn-country.mmdb", std::fs::read(support::data("geo/country-pddl.mmdb")).expect("there"));
    fine(&mut machine.ouzel(&["assets", "--from", "usb"]));
    let used = |args: &[&str]| {
        let mut all = vec!["assets", "list", "--json"];
        all.extend(args);
        let said = json(&fine(&mut machine.ouzel(&all)).stdout);
        let row = &said["assets"][1];
        assert_eq!(row["name"], "country");
        (row["in_use"].clone(), row["why_not"].clone())
    };
    assert_eq!(used(&[]), (true.into(), serde_json::Value::Null));
    assert_eq!(used(&["--set", "geo.database=mine.mmdb"]), (false.into(), "geo.database names others".into()));
    assert_eq!(used(&["--set", "assets.use=false"]), (false.into(), "assets.use is false".into()));

    // And a run does what the list says.
    machine.file(
        "events.ndjson",
        "{\"type\": \"page\", \"messageId\": \"m-1\", \"anonymousId\": \"v\", \"context\": {\"ip\": \"193.0.6.139\"}}\n",
    );
    for (set, country) in [("assets.use=true", "NL".into()), ("assets.use=false", serde_json::Value::Null)] {
        let data = machine.path(set);
        let data = data.to_str().expect("text");
        fine(&mut machine.ouzel(&["run", "--input", "events.ndjson", "--until-idle", "--data", data, "--set", set]));
        let event = json(&fine(&mut machine.ouzel(&["tail", "-n", "1", "--data", data])).stdout);
        assert_eq!(event["enriched"]["geo"]["country"], country, "{set}: {event}");
    }
}

/// Ctrl-C while npm hangs: it is ended with its children, and what was there stays.
#[test]
fn interrupted_it_leaves_nothing_behind() {
    let machine = Machine::new();
    machine.npm_has_agents("0.18.0");
    fine(&mut machine.with_npm(&["assets", "fetch", "agents"]));
    machine.file("cache/ouzel/npm.sh", "sleep 600 &\necho $! > ../child.tmp\nmv ../child.tmp ../child\nsleep 600\n");
    let mut command = machine.with_npm(&["assets", "fetch"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let deadline = Instant::now() + Duration::from_secs(30);
    let pid = loop {
        if let Ok(pid) = std::fs::read_to_string(machine.path("cache/ouzel/child")) {
            break pid;
        }
        assert!(Instant::now() < deadline, "npm was not started in 30 s");
        std::thread::sleep(Duration::from_millis(10));
    };
    // Meanwhile nobody else writes there.
    let other = output(&mut machine.with_npm(&["assets", "fetch"]));
    assert_eq!(other.status.code(), Some(4), "{}", text(&other.stderr));
    assert!(text(&other.stderr).contains(&format!("in use by process {}", child.id())), "{}", text(&other.stderr));

    signal(&child, "-INT");
    let out = child.wait_with_output().expect("it ends");
    assert_eq!(out.status.code(), Some(130), "{}", text(&out.stderr));
    assert!(text(&out.stderr).contains("stopped; what was there stays in use"), "{}", text(&out.stderr));
    let stat = format!("/proc/{}/stat", pid.trim());
    while std::fs::read_to_string(&stat).is_ok_and(|s| !s.contains(") Z ")) {
        assert!(Instant::now() < deadline, "npm's child outlives it");
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = json(&fine(&mut machine.ouzel(&["assets", "list", "--verify", "--json"])).stdout);
    assert_eq!(said["assets"][3]["version"], "0.18.0");
}

/// A damaged cache is a warning to whoever looks, and nothing to a run.
#[test]
fn a_run_starts_whatever_is_in_the_cache() {
    let machine = Machine::new();
    machine.file("cache/ouzel/city/manifest.json", "{\"format\"");
    machine.file("cache/ouzel/agents", "a file where a directory should be");
    machine.file("events.ndjson", "{\"type\": \"page\", \"messageId\": \"m-1\", \"anonymousId\": \"v\"}\n");
    fine(&mut machine.ouzel(&["run", "--input", "events.ndjson", "--until-idle"]));
    assert_eq!(output(&mut machine.ouzel(&["assets", "list"])).status.code(), Some(3));
}

/// The real npm, from its real registry: 47 kB. Where `CI` is set it must work; elsewhere a machine may have no npm or no
/// network, which is said.
#[test]
fn real_npm_gives_uap_core() {
    let machine = Machine::new();
    let out = output(&mut machine.ouzel(&["assets", "fetch", "agents", "--json"]));
    let ci = std::env::var_os("CI").is_some_and(|v| !v.is_empty() && v != "false");
    if out.status.code() == Some(5) && !ci {
        eprintln!("SKIPPED: the real npm cannot be used here: {}", text(&out.stderr));
        return;
    }
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
    let said = json(&fine(&mut machine.ouzel(&["assets", "list", "--verify", "--json"])).stdout);
    let agents = &said["assets"][3];
    assert_eq!((&agents["name"], &agents["state"]), (&"agents".into(), &"here".into()), "{agents}");
    let rules = std::fs::read_to_string(machine.path("cache/ouzel/agents/regexes.yaml")).expect("there");
    assert!(rules.lines().filter(|l| l.trim_start().starts_with("- regex:")).count() > 1_000);
}
