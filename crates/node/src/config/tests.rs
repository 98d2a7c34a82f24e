use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::schema::{Absent, KEYS, Key, Kind, PRESETS, SCHEMA, SECTIONS, Schema, Section};
use super::*;

fn load(content: Option<&str>, args: LoadArgs) -> Result<Loaded, ConfigErrors> {
    Config::load_with(&args, |_| content.map(str::to_owned).ok_or(io::ErrorKind::NotFound.into()))
}

fn config(content: &str) -> Config {
    load(Some(content), LoadArgs::default()).unwrap_or_else(|e| panic!("{e}")).config
}

fn problems(content: &str) -> Vec<Problem> {
    load(Some(content), LoadArgs::default()).expect_err("problems").problems
}

fn set(assignments: &[&str]) -> LoadArgs {
    LoadArgs { set: assignments.iter().map(|s| s.to_string()).collect(), ..LoadArgs::default() }
}

fn input(name: &str) -> RunArgs {
    RunArgs { input: Some(name.into()), ..RunArgs::default() }
}

#[test]
fn nothing_configured_runs() {
    let c = Config::defaults();
    assert_eq!(c.data.dir, Path::new("./ouzel-data"));
    assert_eq!(c.data.keep.raw, Duration::from_secs(7 * 86_400));
    assert_eq!(c.http.listen, Some("127.0.0.1:7070".parse().unwrap()));
    assert_eq!(c.limits, wire::Limits::default());
    assert_eq!(c.sources.len(), 1);
    assert_eq!((c.sources[0].name.as_str(), &c.sources[0].kind), ("http", &SourceKind::Http));
    assert_eq!(c.sources[0].clock, wire::ClockMode::Live);
    assert_eq!(c.sources[0].client_address, ClientAddress::Connection);
    assert_eq!(load(None, LoadArgs::default()).unwrap().origin, "built-in defaults");
}

/// What a lookup needs beside `key`, by its kind.
fn lookup_with(kind: &str, key: &str) -> Vec<(&'static str, &'static str)> {
    let mut beside = vec![("name", "\"x\""), ("key", "\"event.user\"")];
    match kind {
        "sql" => beside.extend([("url", "{ env = \"X\" }"), ("query", "\"SELECT 1 WHERE id IN (?)\"")]),
        "redis" | "http" => beside.push(("url", "{ env = \"X\" }")),
        _ => beside.push(("path", "\"x\"")),
    }
    match key {
        "key_columns" => beside[1].1 = "[\"event.source\", \"event.user\"]",
        "answer" | "at" => beside.push(("body", "\"{keys}\"")),
        "burst" => beside.push(("rate", "1")),
        _ => {}
    }
    beside.retain(|(name, _)| *name != key);
    beside
}

/// A file in which `key = value` stands where it belongs, with what its table needs beside it.
fn file_with(key: &Key, value: &str) -> String {
    let lookup = |key: &Key| {
        let kind = key.only.first().unwrap_or(&"file");
        let kind = if ["answer", "at"].contains(&key.name()) { "http" } else { kind };
        let beside = lookup_with(kind, if key.section() == "lookup[]" { key.name() } else { "" });
        let beside = beside.iter().map(|(name, value)| format!("{name} = {value}\n")).collect::<String>();
        match key.name() {
            "kind" => beside,
            _ => format!("kind = \"{kind}\"\n{beside}"),
        }
    };
    let lines = match key.section() {
        "" => return format!("{} = {value}\n", key.name()),
        "source[]" if is_of_topic(key) => {
            let topic = if key.name() == "topic" { "" } else { "topic = \"x\"\n" };
            let kafka = "version = 1\n[kafka]\nbrokers = \"x:1\"\n[[source]]\nname = \"x\"\nkind = \"kafka\"\n";
            return format!("{kafka}{topic}{} = {value}\n", key.name());
        }
        "source[]" if key.name() == "path" || key.name() == "follow" => {
            format!("name = \"x\"\nkind = \"file\"\n{}", if key.name() == "path" { "" } else { "path = \"x\"\n" })
        }
        "source[]" => [("name", "\"x\""), ("kind", "\"http\"")]
            .iter()
            .filter(|(name, _)| *name != key.name())
            .map(|(name, value)| format!("{name} = {value}\n"))
            .collect(),
        "lookup[]" => lookup(key),
        section if section.starts_with("lookup[].") => {
            let element = schema::show_section("lookup[]");
            let (section, name) = (schema::show_section(section), key.name());
            return format!("version = 1\n{element}\n{}{section}\n{name} = {value}\n", lookup(key));
        }
        "geo" if key.name() != "database" => "database = \"x\"\n".into(),
        "cache.shared" if key.name() != "url" => "url = { env = \"X\" }\n".into(),
        "kafka" if key.name() != "brokers" => "brokers = \"x:1\"\n".into(),
        "state" if is_of_store(key) => {
            let beside =
                [("store", "\"s3://snapshots\""), ("access_key", "{ env = \"X\" }"), ("secret_key", "{ env = \"X\" }")];
            let beside = beside.iter().filter(|(name, _)| *name != key.name());
            let beside: String = beside.map(|(name, value)| format!("{name} = {value}\n")).collect();
            return format!("version = 1\n[kafka]\nbrokers = \"x:1\"\n[state]\n{beside}{} = {value}\n", key.name());
        }
        _ => String::new(),
    };
    format!("version = 1\n{}\n{lines}{} = {value}\n", schema::show_section(key.section()), key.name())
}

/// Keys of `[state]` that say where snapshots lie.
fn is_of_store(key: &Key) -> bool {
    key.section() == "state" && !["snapshot_every", "memory"].contains(&key.name())
}

/// Keys of a source that is a topic.
fn is_of_topic(key: &Key) -> bool {
    key.only.contains(&"kafka")
}

/// Without the feature `remote`, kinds over a connection are refused; without `kafka`, and `s3`, what is about them.
fn is_built_in(key: &Key) -> bool {
    if key.section() == "kafka" || is_of_topic(key) {
        return cfg!(feature = "kafka");
    }
    if is_of_store(key) {
        return cfg!(all(feature = "kafka", feature = "s3"));
    }
    cfg!(feature = "remote") || key.only.is_empty() || key.only.iter().any(|kind| !schema::REMOTE.contains(kind))
}

#[test]
fn every_example_is_accepted() {
    for key in KEYS.iter().filter(|k| is_built_in(k)) {
        let content = file_with(key, key.example);
        load(Some(&content), LoadArgs::default()).unwrap_or_else(|e| panic!("{}:\n{e}", key.path));
    }
}

/// A key that nobody reads would take anything.
#[test]
fn every_key_is_read() {
    for key in KEYS {
        let found = problems(&file_with(key, "1979-05-27"));
        let kind = if key.kind == Kind::Secret { ProblemKind::SecretInPlace } else { ProblemKind::WrongType };
        let named = |p: &Problem| p.kind == kind && p.message.contains(key.name());
        assert!(found.iter().any(named), "{}: {found:?}", key.path);
    }
}

#[test]
fn every_key_is_in_the_reference_and_in_a_section() {
    let page = reference();
    let mut paths = BTreeSet::new();
    for key in KEYS {
        assert!(paths.insert(key.path), "{} is there twice", key.path);
        assert!(
            key.section().is_empty() || SCHEMA.is_section(key.section()) || is_element(key.section()),
            "{}",
            key.path
        );
        assert!(page.contains(&format!("### `{}`", key.path.replace("[]", ""))), "{}", key.path);
        assert!(key.meaning.ends_with('.') && !key.example.is_empty(), "{}", key.path);
    }
    for section in SECTIONS {
        assert!(page.contains(section.meaning), "{}", section.path);
        assert!(KEYS.iter().any(|k| k.section() == section.path), "{} is empty", section.path);
    }
}

fn is_element(section: &str) -> bool {
    section.strip_suffix("[]").is_some_and(|list| SCHEMA.is_list(list))
}

#[test]
fn every_key_has_a_unit_where_it_is_a_number() {
    for key in KEYS {
        let number = matches!(key.kind, Kind::Count { .. } | Kind::Duration { .. } | Kind::Size { .. } | Kind::Space);
        let unit = key.unit();
        assert_eq!(unit.is_some(), number, "{}: what does it count? `.counts(\"threads\")`", key.path);
        assert!(unit.is_none_or(|u| !u.is_empty()), "{}: what does it count? `.counts(\"threads\")`", key.path);
    }
}

/// What the table says of kinds is what is refused.
#[test]
fn keys_go_with_the_kinds_that_the_table_says() {
    let mut tried = 0;
    for key in KEYS.iter().filter(|k| k.section().ends_with("[]") && !["name", "kind"].contains(&k.name())) {
        let Some(Key { kind: Kind::Word(kinds), .. }) = SCHEMA.key(&format!("{}.kind", key.section())) else {
            continue;
        };
        for kind in *kinds {
            let goes = key.only.is_empty() || key.only.contains(kind);
            let mut beside = match key.section() {
                "lookup[]" => lookup_with(kind, key.name()),
                _ if key.name() != "path" && *kind == "file" => vec![("name", "\"x\""), ("path", "\"x\"")],
                _ if key.name() != "topic" && *kind == "kafka" => vec![("name", "\"x\""), ("topic", "\"x\"")],
                _ => vec![("name", "\"x\"")],
            };
            let written = format!("\"{kind}\"");
            beside.extend([("kind", written.as_str()), (key.name(), key.example)]);
            let lines: String = beside.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
            let file = format!("version = 1\n{}\n{lines}", schema::show_section(key.section()));
            let accepted = load(Some(&file), LoadArgs::default());
            let refused =
                accepted.as_ref().err().is_some_and(|e| e.to_string().contains(&format!("`{}` is for", key.name())));
            assert_eq!(refused, !goes, "{} beside {kind}: {:?}", key.path, accepted.err());
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} were tried");
}

#[test]
fn tables_of_lookups_go_with_their_kinds() {
    for table in ["cache", "breaker"] {
        let file = format!("version = 1\n[[lookup]]\nname = \"x\"\nkind = \"mmdb\"\npath = \"x\"\n[lookup.{table}]\n");
        let found = problems(&file);
        let said = format!("`{table}` is for lookups of kind sql, redis or http, and this one is mmdb");
        assert_eq!(found.iter().map(|p| p.message.as_str()).collect::<Vec<_>>(), [said]);
    }
}

#[test]
fn presets_and_taken_names_are_those_of_the_code() {
    assert_eq!(PRESETS, wire::Preset::NAMES.map(|(name, _)| name));
    for enricher in enrich::enricher::built_in() {
        assert!(lookup::TAKEN.contains(&enricher.name()), "{}", enricher.name());
    }
}

#[test]
fn later_layers_win() {
    let file =
        "version = 1\n[http]\nlisten = \"127.0.0.1:1\"\nbatch = \"2MiB\"\nidle_timeout = \"1s\"\nconnections = 5\n";
    let mut args = set(&["http.batch=4MiB", "http.listen=127.0.0.1:4"]);
    args.env = vec![
        ("OUZEL__HTTP__LISTEN".into(), "127.0.0.1:2".into()),
        ("OUZEL__HTTP__BATCH".into(), "3MiB".into()),
        ("OUZEL__HTTP__IDLE_TIMEOUT".into(), "2s".into()),
        ("OUZEL_LOG".into(), "debug".into()),
        ("HTTP__LISTEN".into(), "nonsense".into()),
    ];
    args.run.listen = Some("127.0.0.1:3".into());
    let http = load(Some(file), args).unwrap().config.http;
    assert_eq!(http.listen, Some("127.0.0.1:4".parse().unwrap()));
    assert_eq!(http.batch, 4 << 20);
    assert_eq!(http.idle_timeout, Duration::from_secs(2));
    assert_eq!(http.connections, 5);
    assert_eq!(http.header_timeout, Duration::from_secs(10));
}

#[test]
fn values_of_flags_need_no_quotes() {
    let args = set(&[
        "geo.database=a.mmdb",
        "data.dir=2026",
        "geo.required=true",
        "data.min_free=5%",
        "data.keep={ raw = \"1d\" }",
        "source.http.map.time={ pointer = \"/t\", format = \"epoch_ms\" }",
        "source.http.map.plan=/plan",
        "source.http.preset=ouzel",
        "http.listen=localhost:9",
    ]);
    let c = load(Some("version = 1\n[data]\nkeep = { dlq = \"1d\" }\n"), args).unwrap_or_else(|e| panic!("{e}")).config;
    assert_eq!(c.geo.databases, [PathBuf::from("a.mmdb")]);
    assert!(c.geo.required);
    assert_eq!(c.data.dir, Path::new("2026"));
    assert_eq!(c.data.min_free, Space::Percent(5));
    let day = Duration::from_secs(86_400);
    assert_eq!(c.data.keep, Keep { raw: day, enriched: 3 * day, dlq: day, sessions: 7 * day, late: 7 * day });
    let mapped = |name: &str| c.sources[0].map.fields().iter().find(|m| m.name == name).map(|m| m.entry.clone());
    let ms = Some(wire::TimeFormat::EpochMs);
    let time = wire::MapEntry::Pointer { pointers: vec!["/t".into()], format: ms, zone: None };
    assert_eq!(mapped("time"), Some(time));
    assert_eq!(mapped("plan"), Some(wire::MapEntry::pointers(&["/plan"])));
    assert_eq!(mapped("user"), Some(wire::MapEntry::pointers(&["/user"])), "the preset is ouzel");
    assert_eq!(c.http.listen, Some("127.0.0.1:9".parse().unwrap()));
}

#[test]
fn a_source_is_set_by_its_name() {
    let file =
        "version = 1\n[[source]]\nname = \"web-shop\"\nkind = \"http\"\n[[source]]\nname = \"in\"\nkind = \"stdin\"\n";
    let mut args = set(&["source.in.preset=csv", "source.in={ clock = \"live\" }"]);
    args.env = vec![("OUZEL__SOURCE__WEB_SHOP__PRESET".into(), "ouzel".into())];
    let c = load(Some(file), args).unwrap_or_else(|e| panic!("{e}")).config;
    assert_eq!(c.sources[0].preset, wire::Preset::Ouzel);
    assert_eq!((c.sources[1].preset, c.sources[1].clock), (wire::Preset::Csv, wire::ClockMode::Live));
}

#[test]
fn paths_are_relative_to_where_they_stand() {
    let args = LoadArgs {
        file: Some("conf/ouzel.toml".into()),
        cwd: "/home/me".into(),
        set: vec!["data.dir=d".into()],
        ..LoadArgs::default()
    };
    let file = "version = 1\n[geo]\ndatabase = [\"a.mmdb\", \"/b.mmdb\"]\n[[source]]\nname = \"f\"\nkind = \"file\"\npath = \"e\"\n";
    let loaded = load(Some(file), args).unwrap_or_else(|e| panic!("{e}"));
    let c = &loaded.config;
    assert_eq!(c.geo.databases, ["/home/me/conf/a.mmdb", "/b.mmdb"].map(PathBuf::from));
    assert_eq!(c.data.dir, Path::new("/home/me/d"));
    assert_eq!(c.sources[0].kind, SourceKind::File { path: "/home/me/conf/e".into(), follow: false });
    assert_eq!(loaded.origin, "conf/ouzel.toml");
    let named: Vec<_> = loaded.files.iter().map(|f| (f.key, f.path.to_str().unwrap(), f.needed)).collect();
    let expected = [
        ("source.path", "/home/me/conf/e", true),
        ("geo.database", "/home/me/conf/a.mmdb", false),
        ("geo.database", "/b.mmdb", false),
    ];
    assert_eq!(named, expected);
}

#[test]
fn an_input_is_read_alone_and_opens_no_port() {
    let file = "version = 1\n[http]\nlisten = \"127.0.0.1:1\"\n[[source]]\nname = \"web\"\nkind = \"http\"\n[[source]]\nname = \"f\"\nkind = \"file\"\npath = \"e\"\n";
    let names = |c: &Config| c.sources.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    let mut args = LoadArgs { run: input("x.csv"), ..LoadArgs::default() };
    args.run.preset = Some("csv".into());
    args.run.follow = true;
    args.run.map = vec!["time=zone=UTC".into(), "user=/who".into()];
    let c = load(Some(file), args.clone()).unwrap_or_else(|e| panic!("{e}")).config;
    assert_eq!(names(&c), ["input"]);
    assert_eq!(c.http.listen, None);
    assert_eq!(c.sources[0].kind, SourceKind::File { path: "x.csv".into(), follow: true });
    assert_eq!((c.sources[0].preset, c.sources[0].clock), (wire::Preset::Csv, wire::ClockMode::AsSent));
    assert_eq!(c.sources[0].client_address, ClientAddress::None);
    let user = c.sources[0].map.fields().iter().find(|m| m.name == "user").map(|m| m.entry.clone());
    assert_eq!(user, Some(wire::MapEntry::pointers(&["/who"])));

    args.run.listen = Some("127.0.0.1:5".into());
    let c = load(Some(file), args.clone()).unwrap().config;
    assert_eq!(names(&c), ["web", "input"]);
    assert_eq!(c.http.listen, Some("127.0.0.1:5".parse::<SocketAddr>().unwrap()));

    let c = load(None, args).unwrap().config;
    assert_eq!(names(&c), ["input", "http"]);

    let c = load(None, LoadArgs { run: input("-"), ..LoadArgs::default() }).unwrap().config;
    assert_eq!((names(&c), &c.sources[0].kind), (vec!["input".to_owned()], &SourceKind::Stdin));
}

#[test]
fn a_port_always_has_its_source() {
    let file = |name: &str| format!("version = 1\n[[source]]\nname = \"{name}\"\nkind = \"file\"\npath = \"e\"\n");
    let names = |c: &Config| c.sources.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&config(&file("f"))), ["f", "http"]);
    assert_eq!(config(&file("f")).sources[1], Config::defaults().sources[0]);
    let c = load(None, set(&["source=[{ name = \"f\", kind = \"stdin\" }]"])).unwrap().config;
    assert_eq!(names(&c), ["f", "http"]);
    assert!(problems(&file("http"))[0].message.contains("the source of the port itself"));
}

#[test]
fn a_port_is_opened_for_this_machine_only() {
    for (address, opened) in [
        ("127.0.0.1:7070", true),
        ("127.9.9.9:0", true),
        ("[::1]:7070", true),
        ("[::ffff:127.0.0.1]:7070", true),
        ("0.0.0.0:7070", false),
        ("[::]:7070", false),
        ("192.168.1.5:7070", false),
    ] {
        let mut args = LoadArgs::default();
        args.run.listen = Some(address.into());
        assert_eq!(load(None, args.clone()).is_ok(), opened, "{address}");
        args.insecure = true;
        let warnings = load(None, args).unwrap().warnings;
        assert_eq!(warnings.is_empty(), opened, "{address}: --insecure is said");
    }
}

#[test]
fn files_are_read_and_refused_with_reason() {
    let dir = tempfile::tempdir().unwrap();
    let fs = seam::RealFs;
    let at = |file: Option<&str>| {
        let args = LoadArgs { file: file.map(PathBuf::from), cwd: dir.path().into(), ..LoadArgs::default() };
        Config::load(&args, &fs)
    };
    let write = |name: &str, bytes: &[u8]| seam::fs::write_atomically(&fs, &dir.path().join(name), bytes).unwrap();
    assert_eq!(at(None).unwrap().origin, "built-in defaults");
    write("ouzel.toml", b"version = 1\n[data]\ndir = \"d\"\n");
    let loaded = at(None).unwrap();
    assert_eq!((loaded.origin.as_str(), loaded.config.data.dir), ("ouzel.toml", dir.path().join("d")));
    write("latin.toml", b"version = 1\n# gr\xfcn\n");
    write("large.toml", &vec![b'#'; FILE_MAX as usize + 1]);
    write("empty.toml", b"");
    for (file, says) in [
        ("none.toml", "cannot read the configuration none.toml: there is no such file"),
        ("latin.toml", "line 2 is not valid UTF-8"),
        ("large.toml", "at most 1048576"),
        (".", "cannot read the configuration .:"),
        ("empty.toml", "`version` is missing"),
    ] {
        let errors = at(Some(file)).expect_err(file);
        assert!(errors.to_string().contains(says), "{file}: {errors}");
    }
}

#[test]
fn named_files_that_are_not_there_are_told() {
    let file =
        "version = 1\n[geo]\ndatabase = \"no.mmdb\"\n[[source]]\nname = \"f\"\nkind = \"file\"\npath = \"no.csv\"\n";
    let dir = tempfile::tempdir().unwrap();
    let args = LoadArgs { cwd: dir.path().into(), ..LoadArgs::default() };
    let loaded = load(Some(file), args).unwrap();
    let (problems, warnings) = check::files(&loaded, &seam::RealFs);
    assert_eq!((problems.len(), warnings.len()), (1, 1));
    assert!(problems[0].message.starts_with("`source.path`: there is no file"), "{}", problems[0]);
    assert_eq!(problems[0].place.as_ref().and_then(|p| p.line), Some(7));
    assert!(warnings[0].help[0].contains("skipped"), "{}", warnings[0]);
    assert!(warnings[0].help[1].contains("ouzel assets fetch"), "{}", warnings[0]);
    let lists = "version = 1\n[network]\nproxy = \"p.txt\"\n";
    let (_, warnings) = check::files(&load(Some(lists), LoadArgs::default()).unwrap(), &seam::RealFs);
    assert!(warnings[0].message.starts_with("`network.proxy`: there is no file p.txt"), "{}", warnings[0]);
    assert_eq!(warnings[0].help.len(), 1, "nothing fetches a list of proxies: {}", warnings[0]);
}

#[test]
fn check_answers_machines() {
    let json = check::json(&load(Some("version = 1\n[http]\nlistn = 1\n"), LoadArgs::default()), &seam::RealFs);
    let expected = serde_json::json!({
        "ok": false,
        "origin": null,
        "problems": [{
            "code": "unknown_key",
            "message": "unknown key `listn` in [http]",
            "source": "ouzel.toml",
            "line": 3,
            "column": 1,
            "text": "listn = 1",
            "help": ["did you mean `listen`?"],
        }],
        "warnings": [],
        "files": [],
    });
    assert_eq!(json, expected);
    let json = check::json(&load(None, set(&["geo.database=/no/such.mmdb"])), &seam::RealFs);
    let expected = serde_json::json!({
        "ok": true,
        "origin": "built-in defaults",
        "problems": [],
        "warnings": [],
        "files": [{"key": "geo.database", "path": "/no/such.mmdb", "there": false, "needed": false}],
    });
    assert_eq!(json, expected);
}

#[test]
fn depth_is_limited_before_the_stack_is() {
    for open in ["[", "{ a = "] {
        let content = format!("version = 1\na = {}", open.repeat(100_000));
        assert_eq!(problems(&content)[0].kind, ProblemKind::Syntax);
        assert!(load(None, set(&[&format!("geo.database={}", open.repeat(100_000))])).is_err());
    }
}

mod secrets {
    use super::*;

    static KEYS: &[Key] = &[Key {
        path: "db.url",
        kind: Kind::Secret,
        absent: Absent::Refused,
        meaning: "Where it is.",
        example: "{ env = \"DB_URL\" }",
        since: "0",
        also: &[],
        counts: "",
        only: &[],
    }];
    static SECTIONS: &[Section] = &[Section { path: "db", meaning: "A database." }];

    fn read(content: &str) -> Result<SecretRef, String> {
        let mut layers = Layers::new(Schema { keys: KEYS, sections: SECTIONS });
        layers.file("x.toml", content.into(), "/etc".into());
        let (mut reader, root) = Reader::new(layers);
        let secret = reader.secret(&At::top(&root).section("db"), "url");
        let said = render(reader.found, &reader.texts).iter().map(Problem::to_string).collect::<String>();
        if said.is_empty() { Ok(secret.expect("a secret")) } else { Err(said) }
    }

    #[test]
    fn a_secret_is_named_never_written() {
        assert_eq!(read("[db]\nurl = { env = \"DB_URL\" }"), Ok(SecretRef::Env("DB_URL".into())));
        assert_eq!(read("[db]\nurl = { file = \"db.url\" }"), Ok(SecretRef::File("/etc/db.url".into())));
        for in_place in [
            "url = \"hunter2\"",
            "url = \"hunter2\"\nlisten = 1",
            "url = { env = \"A\", text = \"hunter2\" }",
            "url = { value = \"hunter2\" }",
            "url = [\"hunter2\"]",
            "url = '''\nhunter2\n'''",
            "url = { env = 1 }",
        ] {
            let said = read(&format!("[db]\n{in_place}")).expect_err(in_place);
            assert!(!said.contains("hunter2"), "{said}");
            assert!(said.contains("{ env = \""), "{said}");
        }
        let said = read("[db]\nurl = \"hunter2\" # ours").expect_err("in place");
        assert_eq!(
            said,
            "error: `db.url` is a secret, and a secret does not stand in the configuration\n\
             \x20 --> x.toml:2:7\n  |\n2 | url = *** # ours\n  |       ^^^\n\
             \x20 = a secret comes from the environment or a file: { env = \"NAME\" } or { file = \"path\" }\n"
        );
    }
}

const WHOLE: &str = r#"
version = 1
[data]
dir = "./d"   # größer
keep = { raw = "7d", enriched = "3d" }
[http]
listen = "127.0.0.1:7070"
password = "hunter2"
[[source]]
name = "web"
kind = "http"
[source.map]
time = { pointer = "/created_at", format = "epoch_ms" }
user = ["/a", "/b"]
[[lookup]]
name = "x"
kind = "mmdb"
path = 'x.mmdb'
"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written, it is refused or accepted, and a secret on a whole line of its own is never shown.
    #[test]
    fn any_text_gets_an_answer(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6usize, "[\\[\\]{}=\"'#.,\n a-z0-9\u{fc}\t-]{0,6}"), 0..5),
        flag in "[a-z.]{0,12}=?[\\[{\"'a-z0-9/%:. ]{0,12}",
    ) {
        let mut lines: Vec<String> = WHOLE.lines().map(str::to_owned).collect();
        for (at, cut, insert) in edits {
            let line = at.get(&lines).clone();
            if line.starts_with("password") {
                continue;
            }
            let chars: Vec<char> = line.chars().collect();
            let from = at.index(chars.len() + 1);
            let to = (from + cut).min(chars.len());
            let i = lines.iter().position(|l| *l == line).expect("it is there");
            lines[i] = chars[..from].iter().collect::<String>() + &insert + &chars[to..].iter().collect::<String>();
        }
        let answer = check::human(&load(Some(&lines.join("\n")), set(&[&flag])));
        prop_assert!(!answer.contains("hunter2"), "{}", answer);
    }
}
