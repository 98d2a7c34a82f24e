//! What `ouzel plan` draws: all that runs, within its columns, as a chart that Mermaid reads, and without a file being
//! opened.

#![allow(clippy::disallowed_methods)] // tests look at real files

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ouzel_node::config::{Config, LoadArgs, Loaded};
use ouzel_node::plan::{DataState, Plan, json, mermaid, reference_files, text};
use proptest::prelude::*;
use seam::RealFs;

fn load(file: &str, dir: &Path) -> Loaded {
    let args = LoadArgs { file: Some("ouzel.toml".into()), cwd: dir.to_owned(), ..LoadArgs::default() };
    let file = format!("version = 1\n{file}");
    Config::load_with(&args, |_| Ok(file)).unwrap_or_else(|e| panic!("{e}"))
}

fn plan_in(file: &str, dir: &Path) -> Plan {
    Plan::of(&load(file, dir), &RealFs).expect("it can be made")
}

/// Nothing of the machine: paths stay relative, and nothing is there.
fn plan(file: &str) -> Plan {
    plan_in(file, Path::new(""))
}

/// The reference data; loud when it is not there.
fn data(path: &str) -> PathBuf {
    let root = std::env::var_os("OUZEL_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(path);
    assert!(path.exists(), "no test data at {}: set OUZEL_TEST_DATA (see CONTRIBUTING.md)", path.display());
    path
}

const SHOP: &str = r#"
[data]
dir = "/nowhere/data"
keep.raw = "30d"
[[source]]
name = "web"
kind = "http"
[[source]]
name = "orders"
kind = "file"
path = "/nowhere/orders.csv"
preset = "csv"
follow = true
[geo]
database = ["/nowhere/city.mmdb"]
[[lookup]]
name = "company"
kind = "mmdb"
path = "/nowhere/company.mmdb"
required = true
"#;

/// Lines of the drawing between two of them, without what is left of the names.
fn part<'d>(drawn: &'d str, from: &str, to: &str) -> &'d str {
    drawn.split_once(from).and_then(|(_, rest)| rest.split_once(to)).unwrap_or_else(|| panic!("no {from}:\n{drawn}")).0
}

/// How wide the column of names is depends on what enrichers there are.
fn without_columns(drawn: &str) -> String {
    let one_space = |l: &str| l.split(' ').filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    drawn.lines().map(|l| one_space(l) + "\n").collect()
}

#[test]
fn it_is_drawn_from_top_to_bottom() {
    let drawn = without_columns(&text::text(&plan(SHOP)));
    let begin = "\
what runs with ouzel.toml
data in /nowhere/data: new, made at the start; an answer means that the disk has it

  web       http, preset segment, addresses from the connection
            POST http://127.0.0.1:7070/v1/events
  orders    file, preset csv, followed
            /nowhere/orders.csv: NOT THERE, and the run does not start without it
    │  refused ─► dlq
    ▼
  raw       8 partitions, kept 30d, at most 20GiB
            events as received, byte for byte
    │
    ▼
";
    assert!(drawn.starts_with(&without_columns(begin)), "{drawn}");
    let geo = "
    │  geo       event.ip -> enriched.geo
    │            /nowhere/city.mmdb: NOT THERE
    │            \"skipped\": no database
";
    assert!(drawn.contains(&without_columns(geo)), "{drawn}");
    let company = "
    │  company   event.ip -> enriched.company  (lookup, mmdb)
    │            /nowhere/company.mmdb: NOT THERE, and the run does not start without it
    │            \"skipped\": no file
    │  set aside ─► dlq
    ▼
  enriched  8 partitions, kept 3d, at most 20GiB
";
    assert!(drawn.contains(&without_columns(company)), "{drawn}");
    let end = "
  readers   GET http://127.0.0.1:7070/v1/topics/enriched/records
            ouzel tail

  sessions  enriched ─► sessions; what is too late ─► late
            a session ends with 30m without events
            late events are taken for 10m more; state at most 2GiB, snapshot every 5s

  dlq       8 partitions, kept 30d, at most 20GiB
            dead letters: refused and quarantined events, original bytes

  sessions  8 partitions, kept 7d, at most 20GiB
            sessions: updates, finals and their revisions, merges

  late      8 partitions, kept 7d, at most 20GiB
            events too late for a session, with lateness and what they missed
";
    assert!(drawn.ends_with(&without_columns(end)), "{drawn}");
}

#[test]
fn nothing_configured_is_a_plan_too() {
    let plan = Plan::of(
        &Config::load_with(&LoadArgs::default(), |_| Err(std::io::ErrorKind::NotFound.into())).expect("right"),
        &RealFs,
    );
    let drawn = text::text(&plan.expect("it can be made"));
    assert!(drawn.starts_with("what runs with built-in defaults\n"), "{drawn}");
    assert!(drawn.contains("\"skipped\": no database"), "{drawn}");
}

/// Whatever enrichers and topics there are: each is in each drawing, and says what it reads.
#[test]
fn all_of_them_are_there() {
    let plan = plan(SHOP);
    let (drawn, chart, told) = (text::text(&plan), mermaid::mermaid(&plan), json::json(&plan));
    for topic in event::topic::TOPICS {
        assert!(drawn.contains(&format!("\n  {} ", topic.name)), "{}: {drawn}", topic.name);
        assert!(chart.contains(&format!("t_{}[(\"{}<br/>", topic.name, topic.name)), "{}: {chart}", topic.name);
    }
    let setup = ouzel_node::parts::setup(&load(SHOP, Path::new("")).config).expect("it can be made");
    let outline = enrich::Enrich::outline(&setup);
    assert_eq!(plan.stage.enrichers.len(), outline.len());
    for (n, (enricher, outline)) in plan.stage.enrichers.iter().zip(&outline).enumerate() {
        assert_eq!(enricher.name, outline.name);
        assert!(!enricher.reads.is_empty(), "{}: what does it read? `Enricher::fields`", enricher.name);
        assert!(part(&drawn, "enrich ", "set aside").contains(&format!(" {} ", enricher.name)), "{drawn}");
        assert!(chart.contains(&format!("e{n}[\"{}", enricher.name)), "{chart}");
        assert_eq!(told["enrich"]["enrichers"][n]["writes"], format!("enriched.{}", enricher.name));
    }
}

/// Every file that a key can name is in the plan, beside the enricher of its section.
#[test]
fn every_reference_file_is_told() {
    use ouzel_node::config::schema::{KEYS, Kind};
    let files = KEYS.iter().filter(|k| matches!(k.kind, Kind::Path | Kind::Paths));
    let of_enrichers: Vec<_> = files
        .filter(|k| !k.section().ends_with("[]") && !["data", "assets", "cache.shared"].contains(&k.section()))
        .collect();
    assert!(of_enrichers.len() >= 10);
    for key in of_enrichers {
        let file = format!("[{}]\n{} = \"/nowhere/x\"\n", key.section(), key.name());
        let config = load(&file, Path::new("")).config;
        assert_eq!(reference_files(&config), [(key.path, Path::new("/nowhere/x"))], "{}", key.path);
    }
}

#[test]
fn the_state_of_the_directory_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = format!("data.dir = {:?}\n", dir.path().join("d"));
    assert_eq!(plan(&file).data.state, DataState::New);
    let config = load(&file, Path::new("")).config;
    let journal = log::journal::Journal::open(
        &config.data.dir,
        ouzel_node::parts::journal_config(&config),
        std::sync::Arc::new(RealFs),
        std::sync::Arc::new(seam::RealClock::new()),
    );
    journal.expect("a directory is made").close();
    assert_eq!(plan(&file).data.state, DataState::There);
    let other = plan(&format!("{file}data.partitions = 4\n"));
    assert_eq!(other.data.state, DataState::OtherPartitions(8));
    assert!(text::text(&other).contains("REFUSED at the start: it has 8 partitions per topic"));
    assert_eq!(json::json(&other)["data"]["state"], "refused");
    std::fs::write(dir.path().join("d/format"), "ouzel 99\n").expect("written");
    assert!(matches!(plan(&file).data.state, DataState::Refused(_)));
}

#[test]
fn files_are_opened_only_when_asked() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::copy(data("geo/country-pddl.mmdb"), dir.path().join("country.mmdb")).expect("copied");
    std::fs::write(dir.path().join("bad.mmdb"), "not a database").expect("written");
    let file = "[geo]\ndatabase = [\"country.mmdb\", \"bad.mmdb\", \"none.mmdb\"]\nrequired = true\n";
    let loaded = load(file, dir.path());
    let mut plan = Plan::of(&loaded, &RealFs).expect("bad files are no error");
    let geo = |plan: &Plan| plan.stage.enrichers.iter().find(|e| e.name == "geo").expect("it is always there").clone();
    assert_eq!(geo(&plan).opened, None);
    let there: Vec<_> = geo(&plan).files.iter().map(|f| (f.there, f.needed, f.bytes)).collect();
    assert_eq!(there, [(true, true, None), (true, true, None), (false, true, None)]);
    assert_eq!(geo(&plan).expect, []);

    plan.open(&loaded.config, &RealFs).expect("bad files are told");
    let opened = geo(&plan).opened.expect("it was opened");
    assert_eq!(opened.versions.len(), 1, "{opened:?}");
    assert!(opened.versions[0].starts_with("country-"), "{opened:?}");
    assert_eq!(geo(&plan).files[1].bytes, Some(14));
    let drawn = text::text(&plan);
    let said = drawn.lines().filter(|l| l.contains("bad.mmdb") || l.contains("none.mmdb")).count();
    // One line for each file, and one for what is wrong with the one that is there.
    assert_eq!((said, drawn.matches("NOT IN USE").count()), (3, 1), "{drawn}");
}

/// The two ways to make enrichers agree: the plan is of what runs.
#[test]
fn the_plan_is_of_what_runs() {
    let config = load(&SHOP.replace("required = true", ""), Path::new("")).config;
    let (_, setup, _) = ouzel_node::parts::sources(&config).expect("nothing is required");
    let planned = ouzel_node::parts::setup(&config).expect("nothing is required");
    assert_eq!(format!("{planned:?}"), format!("{setup:?}"));
}

/// Names and paths as long and as strange as they may be.
fn strange() -> impl Strategy<Value = (String, String, String)> {
    let name = || "[a-z0-9_][a-z0-9_-]{0,60}";
    // Long ones without a space, which no line can be broken at, do not come by chance.
    let path = prop_oneof!["[a-z /\"'`<>&#%{}()\\[\\];|\\\\\u{fc}\u{1}\n-]{1,140}", "[a-z/\u{fc}]{90,200}"];
    (name(), name(), path).prop_filter("names are unique", |(a, b, _)| a != b)
}

fn strange_plan(source: &str, lookup: &str, path: &str) -> Option<Plan> {
    let path: String = path
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        })
        .collect();
    let file = format!(
        "version = 1\n[data]\ndir = \"/nowhere/{path}\"\n[[source]]\nname = \"{source}\"\nkind = \"file\"\npath = \"{path}\"\n\
         [geo]\ndatabase = [\"{path}\", \"b\"]\n[[lookup]]\nname = \"{lookup}\"\nkind = \"mmdb\"\npath = \"/nowhere/{path}\"\n"
    );
    let args = LoadArgs { file: Some(format!("{source}.toml").into()), ..LoadArgs::default() };
    let loaded = Config::load_with(&args, |_| Ok(file)).ok()?;
    Some(Plan::of(&loaded, &RealFs).expect("it can be made"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_names_fit((source, lookup, path) in strange()) {
        let Some(mut plan) = strange_plan(&source, &lookup, &path) else { return Ok(()) };
        plan.output = Some(path.clone());
        let drawn = text::text(&plan);
        for line in drawn.lines() {
            prop_assert!(line.chars().count() <= 100 && !line.chars().any(char::is_control), "{:?}\n{}", line, drawn);
            prop_assert_eq!(line.trim_end(), line);
        }
        chart(&mermaid::mermaid(&plan)).map_err(TestCaseError::fail)?;
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json::json(&plan).to_string()).is_ok());
    }
}

/// Ids of nodes and groups, and edges between them.
type Chart = (BTreeSet<String>, Vec<(String, String)>);

/// Reads a chart as far as ours go: what is wrong with it, or its nodes and edges.
fn chart(text: &str) -> Result<Chart, String> {
    let mut lines = text.lines();
    if lines.next() != Some("flowchart LR") {
        return Err(format!("it does not begin as a flowchart:\n{text}"));
    }
    let (mut nodes, mut edges, mut open) = (BTreeSet::new(), Vec::new(), false);
    for line in lines {
        let wrong = |what: &str| Err(format!("{what}: {line}\n{text}"));
        let line = line.trim_start();
        if line == "end" {
            if !std::mem::take(&mut open) {
                return wrong("nothing is open");
            }
            continue;
        }
        let (group, declared) = match line.strip_prefix("subgraph ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if let Some((id, label)) = declared.split_once('[').filter(|(id, _)| is_id(id)) {
            let label = label.strip_suffix(']').unwrap_or_default();
            let label = label.strip_prefix('(').and_then(|l| l.strip_suffix(')')).unwrap_or(label);
            match label.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
                Some(label) if quiet(label) => {}
                _ => return wrong("a label that is not one"),
            }
            if id == "end" || !nodes.insert(id.to_owned()) {
                return wrong("an id that is taken");
            }
            if group && std::mem::replace(&mut open, true) {
                return wrong("a group in a group");
            }
            continue;
        }
        let parts: Vec<&str> = line.split(' ').collect();
        match parts.as_slice() {
            [from, "-->", to] => edges.push((from.to_string(), to.to_string())),
            [from, "-.", label @ .., ".->", to] if quiet(label.join(" ").trim_matches('"')) => {
                edges.push((from.to_string(), to.to_string()));
            }
            _ => return wrong("neither a node nor an edge"),
        }
    }
    if open {
        return Err(format!("a group is not closed:\n{text}"));
    }
    for (from, to) in &edges {
        if !nodes.contains(from) || !nodes.contains(to) {
            return Err(format!("{from} -> {to}: an end that is nowhere\n{text}"));
        }
    }
    Ok((nodes, edges))
}

/// Nothing in a label means anything to Mermaid or to HTML, save the breaks that are ours.
fn quiet(label: &str) -> bool {
    let rest = label.replace("<br/>", "");
    let entities = rest.split('#').skip(1).all(|after| {
        after
            .split_once(';')
            .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()))
    });
    entities && !rest.contains(['"', '<', '>', '&', '`', '%', '\\']) && !rest.chars().any(char::is_control)
}

#[test]
fn the_chart_has_every_way_of_an_event() {
    let (nodes, edges) = chart(&mermaid::mermaid(&plan(SHOP))).unwrap_or_else(|e| panic!("{e}"));
    for edge in [
        ("sources", "t_raw"),
        ("t_raw", "stage"),
        ("stage", "t_enriched"),
        ("t_enriched", "readers"),
        ("stage", "t_dlq"),
        ("sources", "t_dlq"),
        ("t_enriched", "sessions"),
        ("sessions", "t_sessions"),
        ("sessions", "t_late"),
    ] {
        assert!(edges.contains(&(edge.0.to_owned(), edge.1.to_owned())), "{edge:?}: {edges:?}");
    }
    assert!(nodes.contains("s1") && !nodes.contains("s2"), "{nodes:?}");
}

/// A lookup that reads what another wrote is in a later round, whatever the order in the file.
#[test]
fn what_waits_for_another_is_drawn_so() {
    let file = "[enrich]\nmember = \"ours\"\n\
                [[lookup]]\nname = \"plan\"\nkind = \"file\"\npath = \"p.csv\"\nkey = \"enriched.user.plan\"\n\
                when = \"event.user_agent != null && event.user != null\"\n\
                [[lookup]]\nname = \"user\"\nkind = \"file\"\npath = \"u.csv\"\nkey = \"event.user\"\non_many = \"first\"\n";
    let plan = plan(file);
    let of = |name: &str| plan.stage.enrichers.iter().find(|e| e.name == name).expect("it is there");
    assert_eq!((of("user").round, of("plan").round, plan.stage.rounds), (Some(1), Some(2), 2));
    assert_eq!(of("user").reads, ["event.user"]);
    assert_eq!(of("plan").reads[0], "enriched.user.plan");
    let others: BTreeSet<&str> = of("plan").reads[1..].iter().map(String::as_str).collect();
    assert_eq!(others, BTreeSet::from(["event.user", "event.user_agent"]));
    assert_eq!((of("plan").after.as_slice(), of("plan").writes.as_str()), (&["user".to_owned()][..], "ours.plan"));
    let drawn = without_columns(&text::text(&plan));
    assert!(drawn.contains("2 plan enriched.user.plan, "), "{drawn}");
    assert!(drawn.contains("\n│ when event.user_agent != null && event.user != null\n"), "{drawn}");
    let at = |name: &str| plan.stage.enrichers.iter().position(|e| e.name == name).expect("it is there");
    let (_, edges) = chart(&mermaid::mermaid(&plan)).unwrap_or_else(|e| panic!("{e}"));
    let edge = (format!("e{}", at("user")), format!("e{}", at("plan")));
    assert!(edges.contains(&edge), "{edge:?}: {edges:?}");
    assert_eq!(edges.iter().filter(|(_, to)| *to == edge.1).count(), 1, "{edges:?}");
}

/// Sources over a connection: what is asked when and where, without a word of a secret.
#[cfg(feature = "remote")]
#[test]
fn what_is_asked_over_a_connection_is_drawn() {
    let file = "[enrich]\ndeadline = \"25ms\"\n\
                [[lookup]]\nname = \"price\"\nkind = \"http\"\nurl = \"https://prices.example/v1?shop={1}&sku={2}&token=hunter2\"\n\
                key = [\"event.source\", \"enriched.user.sku\"]\nwhen = \"event.user != null\"\nshared = false\n\
                [[lookup]]\nname = \"user\"\nkind = \"sql\"\nurl = { env = \"USERS_DB\" }\nkey = \"event.user\"\npool = 1\n\
                query = \"SELECT id FROM u WHERE id = ANY($1)\"\ncache = { size = \"8MiB\", ttl = \"5m\" }\n\
                [[lookup]]\nname = \"seen\"\nkind = \"redis\"\nurl = \"redis://me@cache:6379/1\"\npassword = { env = \"P\" }\nkey = \"event.visitor\"\n\
                [cache.shared]\nurl = \"redis://shared:6379\"\n";
    let plan = plan(file);
    let of = |name: &str| plan.stage.enrichers.iter().find(|e| e.name == name).expect("it is there");
    assert_eq!((of("user").round, of("seen").round, of("price").round), (Some(1), Some(1), Some(2)));
    assert_eq!(of("price").after, ["user"]);
    assert_eq!(of("price").reads, ["event.source", "enriched.user.sku", "event.user"]);
    let drawn = without_columns(&text::text(&plan));
    for part in [
        "enrich 2 rounds of asks, an event waits 25ms at most, half of the cores, duplicates told in",
        "│ 1 user event.user -> enriched.user (lookup, sql)\n│ $USERS_DB: 1 connection, 100 keys a call\n\
         │ cached in 8MiB, then redis://shared:6379: values 5m,",
        "\n│ \"error:many_rows\": where the source has the key in several rows\n│ \"timeout\": where the source does not answer",
        "│ 1 seen event.visitor -> enriched.seen (lookup, redis)\n│ redis://cache:6379/1: 8 connections, 100 keys a call\n",
        "│ 2 price event.source, enriched.user.sku, event.user -> enriched.price (lookup, http)\n│ when event.user != null\n\
         │ https://prices.example/v1: 8 connections, 1 key a call\n│ cached in 64MiB: values 10m,",
    ] {
        assert!(drawn.contains(part), "no {part}\nin {drawn}");
    }
    let chart = mermaid::mermaid(&plan);
    assert!(chart.contains("sql: $USERS_DB<br/>cached 5m, within 25ms"), "{chart}");
    let told = json::json(&plan);
    let user = &told["enrich"]["enrichers"].as_array().expect("a list")
        [plan.stage.enrichers.iter().position(|e| e.name == "price").expect("it is there")];
    assert_eq!(user["lookup"]["key"], serde_json::json!(["event.source", "enriched.user.sku"]));
    assert_eq!(user["lookup"]["source"]["place"], "https://prices.example/v1");
    assert_eq!(
        (&user["lookup"]["source"]["cache"]["shared"], &told["enrich"]["deadline_seconds"]),
        (&serde_json::Value::Null, &serde_json::json!(0.025))
    );
    for text in [drawn, chart, told.to_string()] {
        assert!(!text.contains("hunter2") && !text.contains("me@"), "{text}");
    }
}

#[test]
fn a_chart_that_is_wrong_is_seen() {
    for wrong in [
        "graph LR\n",
        "flowchart LR\n  a[\"x\"]\n  a --> b\n",
        "flowchart LR\n  a[\"x\"y\"]\n",
        "flowchart LR\n  a[\"<b>\"]\n",
        "flowchart LR\n  a[x]\n",
        "flowchart LR\n  a[\"x\"]\n  a[\"y\"]\n",
        "flowchart LR\n  subgraph s[\"x\"]\n",
        "flowchart LR\n  end\n",
        "flowchart LR\n  a[\"x # y\"]\n",
    ] {
        assert!(chart(wrong).is_err(), "{wrong}");
    }
}
