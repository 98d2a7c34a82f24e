#![allow(clippy::disallowed_methods)] // it reads the cases, and writes them when asked to

//! What the configuration says, word for word: each `config_messages/CASE.toml` with what `ouzel check` prints for it in
//! `CASE.txt`. Lines that begin with `#:` are flags (`--set`, `--listen`, ...) and variables (`env NAME=value`).
//! `remote_*` are of lookups over a connection, and need the feature `remote`; `kafka_*` need the feature `kafka`.
//! `UPDATE_MESSAGES=1 cargo test -p ouzel-node --test config_messages` writes the expected texts anew; read the diff.

use std::fs;
use std::path::{Path, PathBuf};

use ouzel_node::config::{Config, LoadArgs, check};

fn said(content: &str) -> String {
    let mut args = LoadArgs { file: Some(PathBuf::from("ouzel.toml")), ..LoadArgs::default() };
    for line in content.lines().filter_map(|l| l.strip_prefix("#: ")) {
        let (what, value) = line.split_once(' ').unwrap_or((line, ""));
        let value = value.to_owned();
        match what {
            "--set" => args.set.push(value),
            "--map" => args.run.map.push(value),
            "--input" => args.run.input = Some(value),
            "--preset" => args.run.preset = Some(value),
            "--listen" => args.run.listen = Some(value),
            "--follow" => args.run.follow = true,
            "--insecure" => args.insecure = true,
            "env" => {
                let (name, value) = value.split_once('=').expect("env NAME=value");
                args.env.push((name.into(), value.into()));
            }
            other => panic!("no such flag here: {other}"),
        }
    }
    let result = Config::load_with(&args, |path| {
        assert_eq!(path, Path::new("ouzel.toml"));
        Ok(content.to_owned())
    });
    check::human(&result)
}

#[test]
fn every_message_is_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_messages");
    let update = std::env::var_os("UPDATE_MESSAGES").is_some();
    let mut wrong = Vec::new();
    let mut cases = 0;
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).expect("the cases").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "toml")) {
        let is_remote = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("remote_"));
        if is_remote && !cfg!(feature = "remote") {
            println!("not run: {}, for which the feature `remote` is needed", path.display());
            continue;
        }
        let named = |prefix: &str| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        if named("kafka_") && !cfg!(feature = "kafka") || named("without_kafka") && cfg!(feature = "kafka") {
            println!("not run: {}, for which another choice of the feature `kafka` is needed", path.display());
            continue;
        }
        cases += 1;
        let said = said(&fs::read_to_string(path).expect("a case"));
        assert!(!said.contains("hunter2"), "{}: a secret was shown:\n{said}", path.display());
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, &said).expect("written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("--- {}\n{said}", path.file_name().expect("a name").to_string_lossy()));
        }
    }
    assert!(cases >= 20, "the cases are gone");
    assert!(wrong.is_empty(), "not as written:\n{}", wrong.join("\n"));
}
