//! Who may use whom. A crate uses only lower layers; a pure crate uses only pure crates, and nothing that brings time,
//! chance, threads or I/O with it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;
use crate::step;
use crate::workspace::{self, Kind, Member};

/// What is said once about a crate's place.
pub struct Layer {
    pub name: &'static str,
    pub layer: u8,
    pub pure: bool,
    /// Crates of the same layer it may use.
    pub beside: &'static [&'static str],
}

const fn pure(name: &'static str, layer: u8) -> Layer {
    Layer { name, layer, pure: true, beside: &[] }
}

const fn edge(name: &'static str, layer: u8) -> Layer {
    Layer { name, layer, pure: false, beside: &[] }
}

/// Every crate there is, lowest layer first. ARCHITECTURE.md says what each is for.
pub const LAYERS: [Layer; 19] = [
    pure("event", 0),
    Layer { name: "wire", layer: 0, pure: true, beside: &["event"] },
    pure("flow", 1),
    edge("seam", 1),
    pure("ask", 2),
    pure("enrich", 2),
    pure("gen", 2),
    pure("session", 2),
    pure("drive", 3),
    edge("log", 4),
    Layer { name: "log-kafka", layer: 4, pure: false, beside: &["log"] },
    edge("lookup", 4),
    edge("state", 4),
    edge("door", 5),
    Layer { name: "stage", layer: 5, pure: false, beside: &["door"] },
    edge("node", 6),
    edge("sim", 6),
    edge("cli", 7),
    // Outside crates/: uses none of ours, and none uses it.
    edge("xtask", 0),
];

/// What a pure crate may not name among its dependencies, each with what to use instead.
const NOT_PURE: [(&str, &str); 13] = [
    ("tokio", "give out an ask or an effect; `node` awaits"),
    ("futures", "give out an ask or an effect; `node` awaits"),
    ("hyper", "`door` speaks HTTP"),
    ("mio", "`door` owns sockets"),
    ("socket2", "`door` owns sockets"),
    ("rand", "derive it from an id, or take it as an argument"),
    ("fastrand", "derive it from an id, or take it as an argument"),
    ("getrandom", "take it as an argument; `seam::rng` has the kernel's"),
    ("memmap2", "take bytes as an argument; `lookup` maps files"),
    ("libc", "`seam` makes system calls"),
    ("rustix", "`seam` makes system calls"),
    ("nix", "`seam` makes system calls"),
    ("num_cpus", "take it as an argument"),
];

/// Not even through another crate: it would bring a runtime, threads and sockets into the pure crates' builds.
const NEVER_LINKED: [&str; 3] = ["tokio", "mio", "rand"];

pub fn of(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|l| l.name == name)
}

/// The direct edges of every crate.
pub fn check(members: &[Member]) -> Vec<Finding> {
    let by_package: BTreeMap<&str, &str> = members.iter().map(|m| (m.package.as_str(), m.name())).collect();
    let mut findings = Vec::new();
    for member in members {
        let Some(layer) = of(member.name()) else {
            findings.push(Finding::error(format!(
                "{} has no layer: give it a line in xtask/src/tidy/layers.rs and a room in ARCHITECTURE.md",
                member.dir.display()
            )));
            continue;
        };
        for dependency in &member.dependencies {
            // Tests of a crate may use its own crate with other features.
            if dependency.package == member.package {
                continue;
            }
            if let Some(used) = by_package.get(dependency.package.as_str()) {
                findings.extend(edge_between(layer, used));
            } else if layer.pure && dependency.kind != Kind::Dev {
                let banned = NOT_PURE.iter().find(|(name, _)| *name == dependency.package);
                findings.extend(banned.map(|(name, instead)| {
                    Finding::error(format!("{} -> {name}: a pure crate must not; {instead}", layer.name))
                }));
            }
        }
    }
    findings
}

fn edge_between(from: &Layer, to: &str) -> Option<Finding> {
    let to = of(to)?;
    let edge = format!("{} (layer {}) -> {} (layer {})", from.name, from.layer, to.name, to.layer);
    if to.name == "xtask" || from.name == "xtask" {
        Some(Finding::error(format!("{edge}: xtask stands apart")))
    } else if from.layer <= to.layer && !from.beside.contains(&to.name) {
        Some(Finding::error(format!("{edge}: a crate uses only lower layers")))
    } else if from.pure && !to.pure {
        Some(Finding::error(format!("{edge}: a pure crate uses only pure crates")))
    } else {
        None
    }
}

/// What each package links, by name, without dev-dependencies: one entry per package of the whole graph.
pub type Graph = BTreeMap<String, BTreeSet<String>>;

/// The graph with every dependency of a dependency.
pub fn resolve() -> Result<Graph> {
    let text = step::output(step::cargo().current_dir(workspace::root()).args(["metadata", "--format-version", "1"]))?;
    parse_graph(&serde_json::from_str(&text).context("cargo metadata")?)
}

fn parse_graph(metadata: &Value) -> Result<Graph> {
    let mut names = BTreeMap::new();
    for package in metadata["packages"].as_array().context("no `packages`")? {
        names.insert(package["id"].as_str().context("no id")?, package["name"].as_str().context("no name")?);
    }
    let mut graph = Graph::new();
    for node in metadata["resolve"]["nodes"].as_array().context("no `resolve.nodes`")? {
        let name = names[node["id"].as_str().context("no id")?];
        let uses = graph.entry(name.to_owned()).or_default();
        for dependency in node["deps"].as_array().context("no `deps`")? {
            let kinds = dependency["dep_kinds"].as_array().context("no `dep_kinds`")?;
            // Procedural macros and build scripts run on the builder's machine; they are not linked.
            if kinds.iter().any(|k| k["kind"].is_null()) {
                uses.insert(names[dependency["pkg"].as_str().context("no pkg")?].to_owned());
            }
        }
    }
    Ok(graph)
}

/// What pure crates link through others.
pub fn check_resolved(members: &[Member], graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in members.iter().filter(|m| of(m.name()).is_some_and(|l| l.pure)) {
        for banned in NEVER_LINKED {
            if let Some(path) = path_to(graph, &member.package, banned)
                && path.len() > 2
            {
                findings.push(Finding::error(format!(
                    "{}: a pure crate must not link {banned}, even through another",
                    path.join(" -> ")
                )));
            }
        }
    }
    findings
}

/// A shortest chain of packages from one to the other.
fn path_to(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        if at == to {
            let mut path = vec![at.to_owned()];
            let mut at = at;
            while at != from {
                at = came_from[at];
                path.push(at.to_owned());
            }
            path.reverse();
            return Some(path);
        }
        for next in graph.get(at).into_iter().flatten() {
            if next != from && !came_from.contains_key(next.as_str()) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    /// A crate with what it uses.
    type Uses<'a> = (&'a str, &'a [(&'a str, Kind)]);

    fn member(name: &str, uses: &[(&str, Kind)]) -> Member {
        Member {
            package: format!("ouzel-{name}"),
            dir: format!("crates/{name}").into(),
            dependencies: uses
                .iter()
                .map(|(package, kind)| Dependency {
                    package: (*package).to_owned(),
                    kind: *kind,
                    ours: package.starts_with("ouzel-"),
                })
                .collect(),
            features: BTreeSet::new(),
        }
    }

    #[test]
    fn edges() {
        let all = |uses: &[Uses<'_>]| {
            let names = ["event", "wire", "flow", "seam", "enrich", "drive", "log", "door", "node", "cli"];
            let mut members: Vec<Member> =
                names.iter().filter(|n| !uses.iter().any(|(name, _)| name == *n)).map(|n| member(n, &[])).collect();
            members.extend(uses.iter().map(|(name, uses)| member(name, uses)));
            check(&members)
        };
        let fine: [Uses<'_>; 4] = [
            ("wire", &[("ouzel-event", Kind::Normal)]),
            ("log", &[("ouzel-seam", Kind::Normal), ("tokio", Kind::Normal), ("ouzel-log", Kind::Dev)]),
            ("drive", &[("ouzel-enrich", Kind::Normal), ("rand", Kind::Dev)]),
            ("cli", &[("ouzel-node", Kind::Normal)]),
        ];
        for uses in fine {
            assert_eq!(all(&[uses]), vec![], "{uses:?}");
        }
        let wrong: &[(&str, &str, Kind, &str)] = &[
            ("event", "ouzel-wire", Kind::Normal, "event (layer 0) -> wire (layer 0)"),
            ("log", "ouzel-door", Kind::Normal, "log (layer 4) -> door (layer 5)"),
            ("log", "ouzel-node", Kind::Dev, "log (layer 4) -> node (layer 6)"),
            ("drive", "ouzel-seam", Kind::Normal, "a pure crate uses only pure crates"),
            ("drive", "tokio", Kind::Normal, "drive -> tokio"),
            ("enrich", "libc", Kind::Build, "enrich -> libc"),
        ];
        for (name, uses, kind, expected) in wrong {
            let found = all(&[(name, &[(uses, *kind)])]);
            assert_eq!(found.len(), 1, "{name} -> {uses}: {found:?}");
            let Finding::Error(message) = &found[0] else { panic!("{found:?}") };
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_crate_without_a_layer_is_named() {
        let found = check(&[member("helpers", &[])]);
        assert!(matches!(&found[..], [Finding::Error(m)] if m.starts_with("crates/helpers has no layer")), "{found:?}");
    }

    #[test]
    fn a_runtime_behind_two_crates_is_found_with_its_path() {
        let graph: Graph = [("ouzel-wire", "sse"), ("sse", "bus"), ("bus", "tokio")]
            .iter()
            .map(|(a, b)| ((*a).to_owned(), BTreeSet::from([(*b).to_owned()])))
            .collect();
        let found = check_resolved(&[member("wire", &[]), member("log", &[])], &graph);
        let [Finding::Error(message)] = &found[..] else { panic!("{found:?}") };
        assert!(message.starts_with("ouzel-wire -> sse -> bus -> tokio"), "{message}");
    }

    #[test]
    fn dev_edges_are_not_linked() {
        let metadata = serde_json::json!({
            "packages": [{"id": "a 1", "name": "a"}, {"id": "t 1", "name": "tokio"}],
            "resolve": {"nodes": [
                {"id": "a 1", "deps": [{"pkg": "t 1", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "t 1", "deps": []},
            ]},
        });
        assert!(parse_graph(&metadata).expect("a graph")["a"].is_empty());
    }
}
