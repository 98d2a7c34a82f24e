use std::process::{Command, Stdio};

use ouzel_lookup::remote::{Found, Key, Kind, Remote, SqlConfig};

use crate::sql::{self, LONG, PEOPLE, build, keys, one, value};

const LIST: &str = "id IN (?)";

/// A database of this test's own, made anew by the command line client. The user has to be one who may do that.
fn start(test: &str, statements: &[&str]) -> Option<SqlConfig> {
    let config = sql::config("OUZEL_TEST_MARIADB")?;
    let db = format!("ouzel_{test}");
    let create = format!("DROP DATABASE IF EXISTS {db}; CREATE DATABASE {db} CHARACTER SET utf8mb4");
    admin(&config, None, &create);
    admin(&config, Some(&db), &statements.join(";\n"));
    let (base, _) = config.url.rsplit_once('/').expect("a database");
    Some(SqlConfig { url: format!("{base}/{db}"), ..config })
}

fn admin(config: &SqlConfig, db: Option<&str>, statements: &str) {
    let rest = config.url.split_once("://").expect("a URL").1;
    let (authority, _) = rest.split_once('/').expect("a database");
    let (host, port) = authority.split_once(':').unwrap_or((authority, "3306"));
    let mut client = Command::new("mariadb");
    client.args(["--no-defaults", "--default-character-set=utf8mb4", "-h", host, "-P", port]);
    client.args(["-u", config.user.as_deref().expect("a user"), "-e", statements]).args(db);
    if let Some(password) = &config.password {
        client.env("MYSQL_PWD", password.reveal());
    }
    let done = client.stdin(Stdio::null()).output().expect("the program mariadb");
    assert!(done.status.success(), "{statements}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn rows_for_keys() {
    let Some(config) = start("rows", &PEOPLE) else { return };
    sql::people(&config, LIST, "(shop, id) IN (?)", "shop IN (?)").await;
}

#[tokio::test]
async fn what_it_refuses() {
    let Some(config) = start("refusals", &PEOPLE) else { return };
    sql::refusals(&config, LIST).await;
    // An error of a row says what kind it is, and nothing of the row.
    let bad = build(&config, "SELECT id, JSON_TABLE_DOES_NOT_EXIST(name) AS n FROM people WHERE id IN (?)");
    assert_eq!(one(&bad, "ada").await.expect_err("no function").kind, Kind::Query);
    let many = build(&config, "SELECT id, (SELECT name FROM people) AS n FROM people WHERE id IN (?)");
    let failure = one(&many, "ada").await.expect_err("more than one row");
    assert!(failure.kind == Kind::Query && !failure.message.contains("Ada"), "{failure}");
}

#[tokio::test]
async fn doors() {
    let Some(config) = start("doors", &PEOPLE) else { return };
    sql::doors(&config, LIST).await;
}

#[tokio::test]
async fn late_queries() {
    let Some(config) = start("late", &PEOPLE) else { return };
    sql::late(&config, "SELECT id, SLEEP(5) AS s FROM people WHERE id IN (?)", LIST).await;
}

#[tokio::test]
async fn lost_connections_and_changed_tables() {
    let Some(config) = start("lost", &PEOPLE) else { return };
    let source = build(&config, "SELECT * FROM people WHERE id IN (?)");
    let bob = one(&source, "bob").await;
    assert_eq!(bob, Ok(value(r#"{"id":"bob","shop":1,"name":null,"age":7}"#)));
    admin(
        &config,
        None,
        "DELIMITER //\nBEGIN NOT ATOMIC FOR c IN (SELECT id FROM information_schema.processlist WHERE db = 'ouzel_lost') \
         DO EXECUTE IMMEDIATE CONCAT('KILL ', c.id); END FOR; END//",
    );
    assert_eq!(one(&source, "bob").await, bob);
    admin(&config, Some("ouzel_lost"), "ALTER TABLE people ADD COLUMN size INTEGER DEFAULT 3");
    assert_eq!(one(&source, "bob").await, Ok(value(r#"{"id":"bob","shop":1,"name":null,"age":7,"size":3}"#)));
}

#[tokio::test]
async fn types() {
    let create = [
        "SET time_zone = '+09:00', sql_mode = ''",
        "CREATE TABLE all_types (id BIGINT UNSIGNED, t1 TINYINT, t1u TINYINT UNSIGNED, s SMALLINT, m MEDIUMINT, \
         i INT, b BIGINT, bo BOOLEAN, f FLOAT, d DOUBLE, n DECIMAL(30, 10), j JSON, dt DATETIME(6), ts TIMESTAMP(3), \
         da DATE, zero DATE, ti TIME(6), y YEAR, bi BIT(1), bits BIT(12), bl BLOB, vb VARBINARY(4), te TEXT, \
         e ENUM('a', 'b'), st SET('x', 'y'), ch CHAR(4), nothing INT)",
        "INSERT INTO all_types VALUES (18446744073709551615, -128, 255, -32768, -8388608, -2147483648, \
         -9223372036854775808, TRUE, 38.1, 1e300, -12345678901234567890.5, '{\"a\": [1]}', '2026-11-27 09:58:00.5', \
         '2026-11-27 18:58:00.25', '2026-11-27', '0000-00-00', '-838:59:59.5', 2026, b'1', b'101010101010', x'00ff', \
         x'01', 'Zürich \\\\ \"q\"', 'b', 'x,y', 'ab', NULL)",
        "INSERT INTO all_types (id, ti, dt) VALUES (7, '00:00:00', '2026-11-27')",
    ];
    let Some(config) = start("types", &create) else { return };
    let source = build(&config, "SELECT * FROM all_types WHERE id IN (?)");
    let Ok(Found::Value(json)) = one(&source, "18446744073709551615").await else {
        panic!("{:?}", one(&source, "18446744073709551615").await)
    };
    assert_eq!(
        String::from_utf8(json).expect("text").replace("e+", "e"),
        "{\"id\":18446744073709551615,\"t1\":-128,\"t1u\":255,\"s\":-32768,\"m\":-8388608,\"i\":-2147483648,\
         \"b\":-9223372036854775808,\"bo\":1,\"f\":38.1,\"d\":1e300,\"n\":-12345678901234567890.5000000000,\
         \"j\":{\"a\": [1]},\"dt\":\"2026-11-27T09:58:00.500000Z\",\"ts\":\"2026-11-27T09:58:00.250000Z\",\
         \"da\":\"2026-11-27\",\"zero\":null,\"ti\":\"-838:59:59.500000\",\"y\":2026,\"bi\":true,\"bits\":2730,\
         \"bl\":\"00ff\",\"vb\":\"01\",\"te\":\"Zürich \\\\ \\\"q\\\"\",\"e\":\"b\",\"st\":\"x,y\",\"ch\":\"ab\",\
         \"nothing\":null}"
    );
    let Ok(Found::Value(json)) = one(&source, "7").await else { panic!("a row") };
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!((&json["ti"], &json["dt"]), (&"00:00:00.000000".into(), &"2026-11-27T00:00:00.000000Z".into()));
}

#[tokio::test]
async fn texts_are_compared_byte_by_byte() {
    let create =
        ["CREATE TABLE t (id VARCHAR(20) COLLATE utf8mb4_general_ci, n INT)", "INSERT INTO t VALUES ('Ada', 1)"];
    let Some(config) = start("bytes", &create) else { return };
    let source = build(&config, "SELECT * FROM t WHERE id IN (?)");
    let found = source.call(&keys(&["ada", "Ada ", "Ada", "ADA"]), LONG).await;
    let ada = value(r#"{"id":"Ada","n":1}"#);
    assert_eq!(found, Ok(vec![Found::NotFound, Found::NotFound, ada, Found::NotFound]));
}

#[tokio::test]
async fn values_are_bounded() {
    let create = [
        "CREATE TABLE big (id VARCHAR(4), text LONGTEXT)",
        "INSERT INTO big VALUES ('a', REPEAT('x', 70000)), ('b', 'y'), ('c', REPEAT('x', 15000000))",
    ];
    let Some(config) = start("bounded", &create) else { return };
    let source = build(&config, "SELECT * FROM big WHERE id IN (?)");
    let b = value(r#"{"id":"b","text":"y"}"#);
    assert_eq!(source.call(&keys(&["a", "b"]), LONG).await, Ok(vec![Found::Bad("too_large"), b.clone()]));
    let bad = Found::Bad("too_large");
    assert_eq!(source.call(&keys(&["a", "b", "c"]), LONG).await, Ok(vec![bad.clone(), b, bad]));
    let many = build(&config, "SELECT id FROM big, (SELECT 1 FROM information_schema.collations) c WHERE id IN (?)");
    assert_eq!(many.call(&[Key::of("a")], LONG).await.expect_err("rows").kind, Kind::TooLarge);
}

#[tokio::test]
async fn tls_is_spoken_or_refused_but_not_left_out() {
    let Some(config) = start("tls", &PEOPLE) else { return };
    let ca = Some(include_bytes!("../certificates/ca.pem").to_vec());
    let config = SqlConfig { tls: true, ca, ..config };
    let found = one(&build(&config, "SELECT id FROM people WHERE id IN (?)"), "bob").await;
    sql::tls(&config, found);
}
