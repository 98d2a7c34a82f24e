//! The client: good, wrong, slow, missing, and talking nonsense.

use std::time::Duration;

use ouzel_node::assets::{Asset, AssetError, Kind, Progress, Step, Watch};
use seam::{Clock, RealClock};

use super::support::*;

#[test]
fn a_version_is_fetched_once() {
    let machine = Machine::new();
    machine.npm_has("0.18.0", &agents("0.18.0"));
    let first = machine.fetch(Asset::Agents).expect("fetched");
    assert_eq!(machine.calls(), ["view", "pack"]);
    let manifest = machine.installed().manifest(Asset::Agents).expect("there").clone();
    assert_eq!(&manifest, first.manifest());
    assert_eq!((manifest.package.as_str(), manifest.licence.as_str()), ("uap-core", "Apache-2.0"));
    assert_eq!(manifest.integrity, Some(integrity(&agents("0.18.0"))));
    let names: Vec<_> = manifest.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["regexes.yaml", "LICENSE"], "and not the README");
    let paths = machine.installed().path(Asset::Agents).expect("there");
    assert_eq!(paths, [machine.cache().join("agents/regexes.yaml")], "a notice is not for reading");
    assert_eq!(std::fs::read(&paths[0]).expect("there"), rules("0.18.0"));

    let again = machine.fetch(Asset::Agents).expect("looked at");
    assert_eq!(machine.calls(), ["view", "pack", "view"], "it is not downloaded again");
    let checked = machine.installed().manifest(Asset::Agents).expect("there").clone();
    assert_eq!(&checked, again.manifest());
    assert!(checked.checked_at > manifest.checked_at, "it was looked after");
    assert_eq!(checked.fetched_at, manifest.fetched_at, "and is no younger for it");

    machine.npm_has("0.19.0", &agents("0.19.0"));
    machine.fetch(Asset::Agents).expect("fetched");
    assert_eq!(machine.version(Asset::Agents).as_deref(), Some("0.19.0"));
}

/// The same version under another hash, and a file that rotted: both are fetched again.
#[test]
fn up_to_date_is_about_bytes_and_not_about_names() {
    let machine = Machine::new();
    machine.npm_has("0.18.0", &agents("0.18.0"));
    machine.fetch(Asset::Agents).expect("fetched");
    let other = package("uap-core", "0.18.0", &[("regexes.yaml", &rules("other"))]);
    machine.npm_has("0.18.0", &other);
    machine.fetch(Asset::Agents).expect("fetched");
    assert_eq!(machine.calls(), ["view", "pack", "view", "pack"]);
    let path = machine.cache().join("agents/regexes.yaml");
    assert!(!machine.cache().join("agents/LICENSE").exists(), "what the new version does not have is gone");

    let mut rotten = rules("other");
    rotten[3] ^= 1;
    std::fs::write(&path, &rotten).expect("written");
    assert!(machine.installed().path(Asset::Agents).is_some(), "a start does not read it all");
    let wrong = machine.installed().verify(Asset::Agents, &seam::RealFs);
    assert_eq!(wrong, ["regexes.yaml is not what was fetched (its SHA-256 differs)"]);
    machine.fetch(Asset::Agents).expect("fetched");
    assert_eq!(std::fs::read(&path).expect("there"), rules("other"));
}

/// Each leaves the version that is there in use.
#[test]
fn whatever_npm_does_what_was_there_stays() {
    let view = "case $1 in view) echo '{\"version\": \"2.0.0\"}'; exit ;; esac\n";
    let offline =
        "echo '{\"error\": {\"code\": \"ENOTFOUND\", \"summary\": \"request failed, reason: ENOTFOUND\"}}'; exit 1";
    for (what, script, says, for_all) in [
        ("it has no network", offline.to_owned(), "npm: request failed, reason: ENOTFOUND", true),
        ("it fails while it downloads", format!("{view}echo 'npm error nope' >&2; exit 1"), "npm: nope", false),
        ("it has no node", "echo \"env: 'node': No such file\" >&2; exit 127".to_owned(), "npm: env: 'node'", false),
        ("it is killed", "kill -9 $$".to_owned(), "signal: 9", false),
        ("it says nothing", "exit 1".to_owned(), "exit status: 1 and said nothing", false),
        ("it prints junk", "echo '<html>'".to_owned(), "npm's answer cannot be read: it is no JSON", false),
        ("it prints nothing", "exit 0".to_owned(), "it is no JSON", false),
        ("it prints another thing", "echo '{\"name\": 1}'".to_owned(), "no version in it", false),
        ("it prints a flag", "echo '{\"version\": \"--x\"}'".to_owned(), "its version is no version", false),
        ("it never stops talking", "yes '{' | head -c 3000000".to_owned(), "it is no JSON", false),
        ("it gives no package", format!("{view}echo '[]'"), "no package is there", false),
        ("it gives two", format!("{view}touch a.tgz b.tgz"), "more than one", false),
        ("it gives a broken one", format!("{view}echo x > a.tgz"), "a.tgz: it is cut off or no archive", false),
    ] {
        let machine = Machine::new();
        machine.npm_has("1.0.0", &agents("1.0.0"));
        machine.fetch(Asset::Agents).expect("the first");
        machine.npm_does(&script);
        let e = machine.fetch(Asset::Agents).expect_err(what);
        assert!(e.to_string().contains(says), "{what}: {e}");
        assert_eq!(e.is_for_all(), for_all, "{what}");
        let kind = if what.contains("broken") { Kind::Data } else { Kind::Environment };
        assert_eq!(e.kind(), kind, "{what}");
        assert_eq!(machine.version(Asset::Agents).as_deref(), Some("1.0.0"), "{what}");
    }
}

#[test]
fn no_npm_is_said() {
    let mut machine = Machine::new();
    machine.npm.program = machine.path("nowhere/npm");
    let e = machine.fetch(Asset::City).expect_err("there is none");
    assert!(matches!(e, AssetError::NoNpm) && e.is_for_all() && e.kind() == Kind::Environment, "{e}");
}

/// One that hangs, with a child that hangs, and both deaf to SIGTERM.
const HANGS: &str = "trap '' TERM\nsleep 600 &\necho $! > ../child\necho $$ > ../leader\nwait; wait; sleep 600\n";

#[test]
fn one_that_hangs_is_ended_with_its_children() {
    let mut machine = Machine::new();
    machine.npm.ask_limit = Duration::from_millis(500);
    machine.npm_does(HANGS);
    let clock = RealClock::new();
    let e = machine.fetch(Asset::Agents).expect_err("it hangs");
    assert!(matches!(e, AssetError::Slow { .. }) && e.is_for_all(), "{e}");
    assert!(clock.elapsed() < Duration::from_secs(20));
    for name in ["cache/leader", "cache/child"] {
        let pid = std::fs::read_to_string(machine.path(name)).expect("it wrote its id");
        until("both are gone", || !lives(&pid));
    }
}

/// Whoever asks to stop does not wait for the limit, in whatever step.
#[test]
fn asked_to_stop_it_stops() {
    struct After(Step, bool);
    impl Watch for After {
        fn show(&mut self, progress: Progress) {
            self.1 |= progress.step == self.0;
        }
        fn stop(&self) -> bool {
            self.1
        }
    }
    for step in [Step::Ask, Step::Download, Step::Unpack, Step::Check] {
        let machine = Machine::new();
        machine.npm_has("1.0.0", &agents("1.0.0"));
        machine.fetch(Asset::Agents).expect("the first");
        machine.npm_has("2.0.0", &agents("2.0.0"));
        let slow = |word: &str| {
            let script = std::fs::read_to_string(machine.path("cache/npm.sh")).expect("there");
            machine.npm_does(&format!("case $1 in {word}) {HANGS} ;; esac\n{script}"));
        };
        match step {
            Step::Ask => slow("view"),
            Step::Download => slow("pack"),
            _ => {}
        }
        let e = machine.fetch_watched(Asset::Agents, &mut After(step, false)).expect_err("stopped");
        assert!(matches!(e, AssetError::Stopped) && e.is_for_all(), "{step:?}: {e}");
        assert_eq!(machine.version(Asset::Agents).as_deref(), Some("1.0.0"), "{step:?}");
        for name in ["cache/leader", "cache/child"] {
            if let Ok(pid) = std::fs::read_to_string(machine.path(name)) {
                until("both are gone", || !lives(&pid));
            }
        }
    }
}

/// A child of npm that goes on in the background with its output open holds nobody up.
#[test]
fn an_output_that_stays_open_is_not_waited_for() {
    let machine = Machine::new();
    machine.npm_has("1.0.0", &agents("1.0.0"));
    let script = std::fs::read_to_string(machine.path("cache/npm.sh")).expect("there");
    machine.npm_does(&format!("sleep 5 &\necho $! >> ../children\n{script}"));
    let clock = RealClock::new();
    let e = machine.fetch(Asset::Agents).expect_err("its answer never ends");
    assert!(matches!(e, AssetError::Junk { .. }), "{e}");
    assert!(clock.elapsed() < Duration::from_secs(5), "{:?}", clock.elapsed());
}
