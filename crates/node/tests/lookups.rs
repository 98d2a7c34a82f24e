//! The lookups of a process over a connection: asked, kept from one process to the next, and refused at the start.

#![cfg(feature = "remote")]
#![allow(clippy::disallowed_methods)] // a service on loopback, and files of its own

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use ask::shared::SharedConfig;
use ask::{DeskConfig, Ttls};
use flow::Status;
use lookup::service::key;
use lookup::{Asked as _, Told};
use ouzel_node::config::{Config, LoadArgs, Loaded};
use ouzel_node::engine::World;
use ouzel_node::lookups::{Lookups, Outside, check, desk as desk_of};
use seam::RealFs;

/// A service that answers `{"path": "..."}`, and how often it was asked.
fn service() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), count) = (stream, count.clone()) else { return };
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().expect("a socket")).lines();
                while let Some(Ok(first)) = lines.next() {
                    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                    count.fetch_add(1, Relaxed);
                    let body = format!("{{\"path\":\"{path}\"}}");
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                    let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
                }
            });
        }
    });
    (address, asked)
}

fn load(dir: &Path, lookups: &str) -> Loaded {
    let file = format!("version = 1\ndata.dir = {dir:?}\n{lookups}");
    Config::load_with(&LoadArgs::default(), |_| Ok(file)).unwrap_or_else(|e| panic!("{e}"))
}

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn start(loaded: &Loaded, variables: &[(&str, &str)]) -> Result<Lookups, String> {
    let world = World { env: env(variables).into(), ..World::real() };
    Lookups::start(&loaded.config, &world).map_err(|e| e.to_string())
}

fn ask(lookups: &Lookups, name: &str, parameters: &[&str]) -> String {
    let service = lookups.get(name).expect("it runs");
    let (say, heard) = std::sync::mpsc::channel();
    let hear = Box::new(move |_, told: Told<'_>| {
        let _ = say.send((told.status, String::from_utf8_lossy(told.json).into_owned()));
    });
    let _asking = service.ask(vec![key::of(parameters.iter().copied())], service.now() + 5_000_000, hear);
    let (status, json) = heard.recv().expect("an answer");
    assert_eq!(status, Status::Ok);
    json
}

fn is_known(lookups: &Lookups, name: &str, parameters: &[&str]) -> bool {
    let service = lookups.get(name).expect("it runs");
    service.known(&key::of(parameters.iter().copied()), &mut Vec::new()).is_some()
}

fn kept(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir.join("cache"))
        .map(|entries| entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

#[test]
fn what_was_asked_is_known_to_the_next_process_if_it_asks_the_same() {
    let (dir, (address, asked)) = (tempfile::tempdir().expect("a directory"), service());
    let file = |path: &str| {
        format!(
            "[[lookup]]\nname = \"price\"\nkind = \"http\"\nurl = {{ env = \"PRICES\" }}\nkey = [\"event.source\", \"event.user\"]\n\
             allow_private = [\"127.0.0.1\"]\nheaders = {{ x-api-key = {{ env = \"KEY\" }}, x-path = \"{path}\" }}\n"
        )
    };
    let url = format!("http://{address}/v1/{{1}}?sku={{2}}");
    let variables = [("PRICES", url.as_str()), ("KEY", "hunter2")];
    let first = start(&load(dir.path(), &file("a")), &variables).expect("it starts");
    assert_eq!(first.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["price"]);
    assert!(!is_known(&first, "price", &["shop", "a b"]));
    let answer = ask(&first, "price", &["shop", "a b"]);
    assert_eq!((answer.as_str(), asked.load(Relaxed)), ("{\"path\":\"/v1/shop?sku=a%20b\"}", 1));
    assert!(is_known(&first, "price", &["shop", "a b"]));
    first.stop();
    assert_eq!(kept(dir.path()).len(), 1, "{:?}", kept(dir.path()));

    let second = start(&load(dir.path(), &file("a")), &variables).expect("it starts");
    assert!(is_known(&second, "price", &["shop", "a b"]), "it was kept");
    assert!(!is_known(&second, "price", &["shop", "a", "b"]));
    assert_eq!(asked.load(Relaxed), 1);
    second.stop();

    // Asked in another way it is another cache, and the old one is of no use to anybody.
    let third = start(&load(dir.path(), &file("b")), &variables).expect("it starts");
    assert!(!is_known(&third, "price", &["shop", "a b"]), "a cache of another question was taken");
    assert_eq!(kept(dir.path()), Vec::<String>::new());
    third.stop();
    // Stopping twice is stopping once.
    third.stop();
    assert_eq!(kept(dir.path()).len(), 1);
    assert!(kept(dir.path())[0].starts_with("price."));

    let cold = start(&load(dir.path(), &format!("cache.warm = false\n{}", file("b"))), &variables).expect("it starts");
    cold.stop();
    assert_eq!(kept(dir.path()), Vec::<String>::new());
}

const USERS: &str = "[[lookup]]\nname = \"user\"\nkind = \"sql\"\nurl = { env = \"USERS_DB\" }\nkey = \"event.user\"\n\
                     query = \"SELECT id FROM users WHERE id = ANY($1)\"\n";

#[test]
fn what_only_the_secrets_show_is_refused_at_the_start_and_told_by_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let pem = dir.path().join("bad.pem");
    std::fs::write(&pem, "no certificate").expect("written");
    let shared = "[cache.shared]\nurl = { env = \"REDIS\" }\n";
    let ca = format!("tls = true\nca = {pem:?}\n");
    for (file, variables, says) in [
        (USERS.to_owned(), &[][..], "`lookup.url`: the environment variable USERS_DB is not set"),
        (
            USERS.to_owned(),
            &[("USERS_DB", "oracle://u:hunter2@h/d")],
            "lookup `user`: `url`: it begins with postgres://",
        ),
        (
            USERS.to_owned(),
            &[("USERS_DB", "mysql://u:hunter2@h/d")],
            "lookup `user`: `query`: write the keys as one list",
        ),
        (USERS.to_owned(), &[("USERS_DB", "postgres://h/d")], "lookup `user`: `user`: write who asks"),
        (
            USERS.to_owned(),
            &[("USERS_DB", "postgres://u:hunter2@h/d?sslmode=require")],
            "lookup `user`: `url`: a host, a port",
        ),
        (
            USERS.to_owned() + &ca,
            &[("USERS_DB", "postgres://u:hunter2@h/d")],
            "lookup `user`: `ca`: there is no certificate",
        ),
        (
            USERS.to_owned() + shared,
            &[("USERS_DB", "postgres://u:p@h/d"), ("REDIS", "http://hunter2@h")],
            "[cache.shared]: `url`",
        ),
        (
            format!("{USERS}password = {{ file = \"/nowhere/hunter2\" }}\n").replace("hunter2", "p"),
            &[("USERS_DB", "postgres://u@h/d")],
            "cannot read /nowhere/p",
        ),
    ] {
        let loaded = load(dir.path(), &file);
        let told = check(&loaded, Outside { env: &env(variables), fs: &RealFs });
        let told: Vec<String> =
            told.iter().map(|p| format!("{}{}", p.message, p.place.as_ref().map_or("", |_| " @"))).collect();
        assert_eq!(told.len(), 1, "{says}: {told:?}");
        assert!(told[0].contains(says), "{told:?}");
        assert_eq!(told[0].ends_with(" @"), told[0].contains("not set") || told[0].contains("cannot read"), "{told:?}");
        let refused = start(&loaded, variables).map(|_| ()).expect_err(says);
        let what = says.rsplit("`: ").next().unwrap_or(says);
        assert!(refused.contains(what) && !refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn nothing_to_ask_starts_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let loaded = load(dir.path(), "[cache.shared]\nurl = { env = \"REDIS\" }\n");
    let lookups = start(&loaded, &[]).expect("nobody needs it");
    assert_eq!(lookups.iter().count(), 0);
    assert!(lookups.get("user").is_none());
    lookups.stop();
}

#[test]
fn the_example_has_all_kinds_and_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/lookups.toml");
    let args = LoadArgs { file: Some(path), ..LoadArgs::default() };
    let loaded = Config::load(&args, &RealFs).unwrap_or_else(|e| panic!("{e}"));
    let mut kinds: Vec<&str> = loaded.config.lookups.iter().map(|l| l.kind.name()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["file", "http", "mmdb", "redis", "sql"]);
    assert!(loaded.warnings.is_empty() && loaded.config.cache.shared.is_some());
    let variables = [("USERS_DB", "postgres://me:p@db/users"), ("REDIS_URL", "redis://cache"), ("PRICES_TOKEN", "t")];
    assert_eq!(check(&loaded, Outside { env: &env(&variables), fs: &RealFs }), []);
}

/// What the keys' defaults say is what the desk takes by itself.
#[test]
fn defaults_are_those_of_the_desk() {
    let dir = tempfile::tempdir().expect("a directory");
    let loaded = load(dir.path(), &format!("{USERS}[cache.shared]\nurl = {{ env = \"REDIS\" }}\n"));
    let remote = loaded.config.lookups[0].kind.remote().expect("it is one");
    let ttls = Ttls { hit: 600_000_000, not_found: 60_000_000, error: 5_000_000, max_stale: 3_600_000_000 };
    let desk = DeskConfig { in_flight_max: 8, shared: Some(SharedConfig::default()), ..DeskConfig::new(7, ttls) };
    assert_eq!(format!("{:?}", desk_of(remote, loaded.config.cache.shared.as_ref(), 7)), format!("{desk:?}"));
    assert_eq!(desk.check(), Ok(()));
}
