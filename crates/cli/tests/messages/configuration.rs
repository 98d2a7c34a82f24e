//! Cases of commands that explain a configuration: `check`, `plan`, `config`, `completions`.

use std::path::Path;

use serde_json::Value;

use super::case::Case;
use super::support::{self, data, json, ouzel, text};

/// A shop with something of everything, half of whose files are there.
fn shop(case: &Case) {
    case.file(
        "ouzel.toml",
        "version = 1\n\n[data]\ndir = \"shop-data\"\nkeep.raw = \"30d\"\n\n[[source]]\nname = \"web\"\nkind = \"http\"\n\n\
         [source.map]\ntime = { pointer = \"/created_at\", format = \"epoch_ms\" }\n\n[[source]]\nname = \"orders\"\n\
         kind = \"file\"\npath = \"orders.csv\"\npreset = \"csv\"\n\n[geo]\ndatabase = [\"city.mmdb\", \"country.mmdb\"]\n\n\
         [referrer]\ninternal = [\"shop.example.com\"]\n\n[[lookup]]\nname = \"company\"\nkind = \"mmdb\"\n\
         path = \"company.mmdb\"\nrequired = true\n\n[assets]\ndir = \"/var/cache/ouzel\"\n",
    );
    case.file("orders.csv", "event_id,event,timestamp\n");
    std::fs::copy(data("geo/country-pddl.mmdb"), case.path("country.mmdb")).expect("copied");
}

pub fn check_of_a_whole_file(case: &mut Case) {
    shop(case);
    assert_eq!(case.run(&["check"]).status.code(), Some(0));
    let out = support::output(ouzel().current_dir(case.dir()).args(["check", "--json"]));
    let said = json(&out.stdout);
    let files: Vec<_> =
        said["files"].as_array().expect("a list").iter().map(|f| (f["key"].clone(), f["there"].clone())).collect();
    assert_eq!(
        files,
        [("source.path", true), ("geo.database", false), ("geo.database", true), ("lookup.path", false)]
            .map(|(key, there)| (Value::from(key), Value::from(there)))
    );
}

pub fn plan_drawn(case: &mut Case) {
    shop(case);
    assert_eq!(case.run(&["plan"]).status.code(), Some(0));
    case.note("The files are opened.");
    let out = case.run(&["plan", "--open"]);
    assert!(text(&out.stdout).contains("in use: country-"), "{}", text(&out.stdout));
    case.note("With the flags of a run.");
    assert_eq!(case.run(&["plan", "--input", "orders.csv", "--preset", "csv", "--output", "-"]).status.code(), Some(0));
    assert_eq!(case.run(&["plan", "--mermaid"]).status.code(), Some(0));
    let drawn = support::fine(ouzel().current_dir(case.dir()).args(["plan", "--json"]));
    assert_eq!(json(&drawn.stdout)["enrich"]["enrichers"][0]["name"], "geo");
    assert!(!case.path("shop-data").exists(), "nothing is made");
}

pub fn plan_against(case: &mut Case) {
    shop(case);
    let old = case.path("old.toml");
    std::fs::copy(case.path("ouzel.toml"), &old).expect("copied");
    assert_eq!(case.run(&["plan", "--against", "old.toml"]).status.code(), Some(0));
    let new = std::fs::read_to_string(&old).expect("a file");
    let new = new.replace("30d", "14d").replace("/created_at", "/ts").replace("\"company\"", "\"firm\"");
    case.file("ouzel.toml", new);
    let set = ["--set", "data.partitions=4", "--set", "http.batch=2MiB"];
    assert_eq!(case.run(&[&["plan", "--against", "old.toml"], &set[..]].concat()).status.code(), Some(0));
    assert_eq!(case.run(&["plan", "--against", "old.toml", "--json"]).status.code(), Some(0));
    case.note("From another directory: what is relative is relative to the file of today.");
    std::fs::create_dir(case.path("kept")).expect("made");
    std::fs::copy(&old, case.path("kept/ouzel.toml")).expect("copied");
    assert_eq!(case.run(&["plan", "old.toml", "--against", "kept/ouzel.toml"]).status.code(), Some(0));
    case.file("broken.toml", "version = 1\n[data]\npartitons = 4\n");
    assert_eq!(case.run(&["plan", "--against", "broken.toml"]).status.code(), Some(2));
}

pub fn plan_two_ways(case: &mut Case) {
    assert_eq!(case.run(&["plan", "--mermaid", "--json"]).status.code(), Some(2));
    assert_eq!(case.run(&["plan", "--format", "svg"]).status.code(), Some(2));
}

pub fn config_shown(case: &mut Case) {
    shop(case);
    let set = ["--set", "http.connections=64"];
    let out = case.run(&[&["config", "show", "--origin"], &set[..]].concat());
    assert_eq!(out.status.code(), Some(0));
    let shown = support::fine(
        ouzel().env("XDG_CACHE_HOME", case.path("cache")).current_dir(case.dir()).args(["config", "show"]).args(set),
    );
    case.file("shown.toml", &shown.stdout);
    case.note("What is shown is saved as shown.toml, and says the same.");
    assert_eq!(case.run(&[&["plan", "--against", "shown.toml"], &set[..]].concat()).status.code(), Some(0));
    let keys = support::fine(
        ouzel()
            .env("XDG_CACHE_HOME", case.path("cache"))
            .current_dir(case.dir())
            .args(["config", "show", "--json"])
            .args(set),
    );
    let keys = json(&keys.stdout);
    let connections = keys["keys"].as_array().expect("a list").iter().find(|k| k["key"] == "http.connections");
    assert_eq!(connections.expect("it is there")["from"], "command_line");
}

pub fn config_reference(case: &mut Case) {
    assert_eq!(case.run(&["config", "reference", "data.keep.raw"]).status.code(), Some(0));
    assert_eq!(case.run(&["config", "reference", "lookup.format"]).status.code(), Some(0));
    assert_eq!(case.run(&["config", "reference", "[time]"]).status.code(), Some(0));
    assert_eq!(case.run(&["config", "reference", "data.partitons"]).status.code(), Some(2));
    assert_eq!(case.run(&["config", "reference", "retention"]).status.code(), Some(2));
    assert_eq!(case.run(&["config", "reference", "frobnicate"]).status.code(), Some(2));
    let all = support::fine(ouzel().args(["config", "reference"]));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration-reference.md");
    assert_eq!(text(&all.stdout), std::fs::read_to_string(page).expect("the page"));
}

pub fn config_schema(case: &mut Case) {
    assert_eq!(case.run(&["config", "schema", "--help"]).status.code(), Some(0));
    let schema = json(&support::fine(ouzel().args(["config", "schema"])).stdout);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["data"]["properties"]["partitions"]["maximum"], 1024);
}

pub fn completions(case: &mut Case) {
    assert_eq!(case.run(&["completions", "--help"]).status.code(), Some(0));
    assert_eq!(case.run(&["completions", "csh"]).status.code(), Some(2));
    for (shell, begins) in [
        ("bash", "_ouzel()"),
        ("zsh", "#compdef ouzel"),
        ("fish", "# Print an optspec"),
        ("elvish", "\nuse builtin;"),
        ("powershell", "\nusing namespace"),
    ] {
        let script = text(&support::fine(ouzel().args(["completions", shell])).stdout);
        assert!(script.starts_with(begins), "{shell}: {}", &script[..60]);
        assert!(script.contains("plan") && script.contains("against"), "{shell} knows all commands");
    }
}
