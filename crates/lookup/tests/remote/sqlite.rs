use std::sync::Arc;

use ouzel_lookup::remote::{Found, Key, Kind, Remote, SqlConfig};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::sql::{self, LONG, PEOPLE, build, keys, one, value};

const LIST: &str = "id IN (?)";

fn start(statements: &[&str]) -> (SqlConfig, Connection, TempDir) {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("facts.db");
    let file = Connection::open(&path).expect("a file");
    statements.iter().for_each(|statement| file.execute_batch(statement).expect(statement));
    (SqlConfig { url: format!("sqlite:{}", path.display()), ..SqlConfig::default() }, file, dir)
}

#[tokio::test]
async fn rows_for_keys() {
    let (config, _file, _dir) = start(&PEOPLE);
    sql::people(&config, LIST, "(shop, id) IN (?)", "shop IN (?)").await;
}

#[tokio::test]
async fn what_it_refuses() {
    let (config, _file, _dir) = start(&PEOPLE);
    sql::refusals(&config, LIST).await;
}

#[tokio::test]
async fn late_queries() {
    let (config, _file, _dir) = start(&PEOPLE);
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                   SELECT id, (SELECT max(x) FROM n) AS m FROM people WHERE id IN (?)";
    sql::late(&config, endless, LIST).await;
    // The thread was interrupted: the runtime could not end with this test otherwise.
}

#[tokio::test]
async fn types() {
    let (config, _file, _dir) = start(&[
        "CREATE TABLE t (id INTEGER PRIMARY KEY, b BOOLEAN, j JSON, r REAL, x BLOB, d TEXT, n)",
        "INSERT INTO t VALUES (9007199254740993, 1, '{\"a\": [1]}', 0.1, x'00ff', '2026-11-27', NULL)",
        "INSERT INTO t VALUES (2, 2, '{', 1e400, x'', CAST(x'ff' AS TEXT), 'x')",
        "INSERT INTO t VALUES (3, 0, NULL, -1, NULL, '', 1)",
    ]);
    let source = build(&config, "SELECT * FROM t WHERE id IN (?)");
    let found = source.call(&keys(&["9007199254740993", "2", "3", "3.0", " 3"]), LONG).await.expect("answers");
    let first = r#"{"id":9007199254740993,"b":true,"j":{"a": [1]},"r":0.1,"x":"00ff","d":"2026-11-27","n":null}"#;
    assert_eq!(found[0], value(first));
    assert!(matches!(found[1], Found::Bad("not_json" | "not_utf8")), "{:?}", found[1]);
    assert_eq!(found[2], value(r#"{"id":3,"b":false,"j":null,"r":-1.0,"x":null,"d":"","n":1}"#));
    assert_eq!(found[3..], [Found::NotFound, Found::NotFound]);
}

#[tokio::test]
async fn the_file_is_read_while_it_is_written_and_changed() {
    let (config, file, dir) = start(&PEOPLE);
    file.execute_batch("PRAGMA journal_mode = WAL").expect("a log");
    let source = build(&config, "SELECT * FROM people WHERE id IN (?)");
    let bob = one(&source, "bob").await;
    assert_eq!(bob, Ok(value(r#"{"id":"bob","shop":1,"name":null,"age":7}"#)));
    file.execute_batch("BEGIN IMMEDIATE; UPDATE people SET age = 8").expect("begun");
    assert_eq!(one(&source, "bob").await, bob);
    file.execute_batch("COMMIT; ALTER TABLE people ADD COLUMN size INTEGER DEFAULT 3").expect("changed");
    assert_eq!(one(&source, "bob").await, Ok(value(r#"{"id":"bob","shop":1,"name":null,"age":8,"size":3}"#)));
    let nowhere = SqlConfig { url: format!("sqlite:{}", dir.path().join("none.db").display()), ..config.clone() };
    assert_eq!(
        one(&build(&nowhere, "SELECT 1 AS id WHERE 1 IN (?)"), "1").await.expect_err("no file").kind,
        Kind::Connection
    );
    std::fs::write(dir.path().join("no.db"), "x".repeat(5_000)).expect("written");
    let damaged = SqlConfig { url: format!("sqlite:{}", dir.path().join("no.db").display()), ..config };
    assert_eq!(
        one(&build(&damaged, "SELECT 1 AS id WHERE 1 IN (?)"), "1").await.expect_err("no file").kind,
        Kind::Malformed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_at_once() {
    let (config, _file, _dir) = start(&PEOPLE);
    let source = Arc::new(build(&SqlConfig { connections: 3, ..config }, "SELECT id, age FROM people WHERE id IN (?)"));
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { source.call(&[Key::of("bob"), Key::of("none")], LONG).await })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.await.expect("done"), Ok(vec![value(r#"{"id":"bob","age":7}"#), Found::NotFound]));
    }
}
