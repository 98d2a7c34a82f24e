use ouzel_lookup::remote::{Found, Key, Kind, Remote, SqlConfig};
use tokio_postgres::NoTls;

use crate::sql::{self, LONG, PEOPLE, build, keys, one, value};

const LIST: &str = "id = ANY($1)";

/// A schema of this test's own, made anew; its name goes into the statements by `people` as table.
async fn start(test: &str, statements: &[&str]) -> Option<SqlConfig> {
    let config = sql::config("OUZEL_TEST_POSTGRES")?;
    let db = format!("ouzel_{test}");
    admin(&config, None, &[&format!("DROP DATABASE IF EXISTS {db} WITH (FORCE)"), &format!("CREATE DATABASE {db}")])
        .await;
    admin(&config, Some(&db), statements).await;
    let (base, _) = config.url.rsplit_once('/').expect("a database");
    Some(SqlConfig { url: format!("{base}/{db}"), ..config })
}

async fn admin(config: &SqlConfig, db: Option<&str>, statements: &[&str]) {
    let rest = config.url.split_once("://").expect("a URL").1;
    let (authority, own) = rest.split_once('/').expect("a database");
    let (host, port) = authority.split_once(':').unwrap_or((authority, "5432"));
    let mut login = tokio_postgres::Config::new();
    login.user(config.user.as_deref().expect("a user")).dbname(db.unwrap_or(own));
    if let Some(password) = &config.password {
        login.password(password.reveal());
    }
    let tcp = tokio::net::TcpStream::connect((host, port.parse::<u16>().expect("a port"))).await.expect("a server");
    let (client, driver) = login.connect_raw(tcp, NoTls).await.expect("a login");
    let driver = tokio::spawn(driver);
    for statement in statements {
        client.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
    driver.abort();
}

#[tokio::test]
async fn rows_for_keys() {
    let Some(config) = start("rows", &PEOPLE).await else { return };
    let pairs = "(shop, id) IN (SELECT * FROM unnest($1::int[], $2::text[]))";
    sql::people(&config, LIST, pairs, "shop = ANY($1)").await;
}

#[tokio::test]
async fn what_it_refuses() {
    let Some(config) = start("refusals", &PEOPLE).await else { return };
    sql::refusals(&config, LIST).await;
    for (statement, says) in [
        ("SELECT id FROM people WHERE id = $1", "ANY"),
        ("SELECT id FROM people WHERE id = ANY($1) AND shop = ANY($2)", "2 parameters"),
        ("SELECT id, point(1, 2) AS at FROM people WHERE id = ANY($1)", "at::text"),
    ] {
        let failure = one(&build(&config, statement), "bob").await.expect_err(statement);
        assert_eq!(failure.kind, Kind::Query);
        assert!(failure.message.contains(says), "{failure}");
    }
    // An error of a row says what kind it is, and nothing of the row.
    let divides = build(&config, "SELECT id, name::int AS n FROM people WHERE id = ANY($1)");
    let failure = one(&divides, "ada").await.expect_err("no number");
    assert!(failure.message.contains("22P02") && !failure.message.contains("Ada"), "{failure}");
    assert_eq!(failure.kind, Kind::Query);
}

#[tokio::test]
async fn doors() {
    let Some(config) = start("doors", &PEOPLE).await else { return };
    sql::doors(&config, LIST).await;
}

#[tokio::test]
async fn late_queries() {
    let Some(config) = start("late", &PEOPLE).await else { return };
    sql::late(&config, "SELECT id, pg_sleep(5)::text AS s FROM people WHERE id = ANY($1)", LIST).await;
}

#[tokio::test]
async fn lost_connections_and_changed_tables() {
    let Some(config) = start("lost", &PEOPLE).await else { return };
    let source = build(&config, "SELECT * FROM people WHERE id = ANY($1)");
    let bob = one(&source, "bob").await;
    assert_eq!(bob, Ok(value(r#"{"id":"bob","shop":1,"name":null,"age":7}"#)));
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                  WHERE datname = 'ouzel_lost' AND pid <> pg_backend_pid()";
    admin(&config, None, &[others]).await;
    assert_eq!(one(&source, "bob").await, bob);
    admin(&config, Some("ouzel_lost"), &["ALTER TABLE people ADD COLUMN size INTEGER DEFAULT 3"]).await;
    assert_eq!(one(&source, "bob").await, Ok(value(r#"{"id":"bob","shop":1,"name":null,"age":7,"size":3}"#)));
}

#[tokio::test]
async fn types() {
    let create = [
        "CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE DOMAIN cents AS bigint; CREATE TABLE all_types (
            id uuid, b bool, i2 int2, i8 int8, f4 float4, f8 float8, nan float8, n numeric, n2 numeric(20, 6), n3 numeric,
            n4 numeric, j json, jb jsonb, ts timestamp, tz timestamptz, inf timestamptz, d date, t time, by bytea,
            c char(3), m mood, ce cents, a int[], aa text[][], e int[])",
        "SET timezone = 'Asia/Tokyo'; INSERT INTO all_types VALUES ('0f0e0d0c-0b0a-0908-0706-050403020100', true, -2,
            9007199254740993, 38.1, 1e300, 'NaN', 12345678901234567890.5, -0.000100, 10000, 'NaN', '{\"a\": [1]}',
            '{\"b\": null}', '2026-11-27 09:58:00.5', '2026-11-27 18:58:00', 'infinity', '2026-11-27', '09:58:00.25',
            '\\x00ff', 'ab', 'sad', 7, '{1,NULL,3}', '{{a,b},{c,\"d\\\"\"}}', '{}')",
    ];
    let Some(config) = start("types", &create).await else { return };
    let source = build(&config, "SELECT * FROM all_types WHERE id = ANY($1)");
    let id = "0f0e0d0c-0b0a-0908-0706-050403020100";
    let expected = format!(
        "{{\"id\":\"{id}\",\"b\":true,\"i2\":-2,\"i8\":9007199254740993,\"f4\":38.1,\"f8\":1e300,\"nan\":null,\
         \"n\":12345678901234567890.5,\"n2\":-0.000100,\"n3\":10000,\"n4\":null,\"j\":{{\"a\": [1]}},\
         \"jb\":{{\"b\": null}},\"ts\":\"2026-11-27T09:58:00.500000Z\",\"tz\":\"2026-11-27T09:58:00.000000Z\",\
         \"inf\":null,\"d\":\"2026-11-27\",\"t\":\"09:58:00.250000\",\"by\":\"00ff\",\"c\":\"ab \",\"m\":\"sad\",\"ce\":7,\
         \"a\":[1,null,3],\"aa\":[[\"a\",\"b\"],[\"c\",\"d\\\"\"]],\"e\":[]}}"
    );
    for key in [id.to_owned(), id.to_uppercase(), id.replace('-', "")] {
        let Ok(Found::Value(json)) = one(&source, &key).await else { panic!("{key}: {:?}", one(&source, &key).await) };
        assert_eq!(String::from_utf8(json).expect("text").replace("e+", "e"), expected);
    }
    assert_eq!(one(&source, "no uuid").await, Ok(Found::NotFound));
}

/// Every decimal is as Postgres itself writes it.
#[tokio::test]
async fn decimals() {
    let texts = [
        "0",
        "0.0",
        "1",
        "-1",
        "10",
        "9999",
        "10000",
        "10001",
        "0.1",
        "0.0001",
        "0.00001",
        "0.00010000",
        "123456.789",
        "100000000",
        "1e20",
        "1e-20",
        "0.99995",
        "-12345678.00012345",
        "10000.0001",
        "1.0000",
        "7.00000000000",
    ];
    let rows: Vec<String> = texts.iter().map(|t| format!("('{t}', {t}::numeric)")).collect();
    let create = format!("CREATE TABLE d AS SELECT * FROM (VALUES {}) AS v(id, n)", rows.join(","));
    let Some(config) = start("decimals", &[&create]).await else { return };
    let source = build(&config, "SELECT id, n, n::text AS t FROM d WHERE id = ANY($1)");
    for (text, found) in texts.iter().zip(source.call(&keys(&texts), LONG).await.expect("answers")) {
        let Found::Value(json) = found else { panic!("{text}: {found:?}") };
        let json = String::from_utf8(json).expect("text");
        let (n, t) =
            json.strip_prefix(&format!("{{\"id\":\"{text}\",\"n\":")).expect(&json).split_once(',').expect("two");
        assert_eq!(t, format!("\"t\":\"{n}\"}}"), "{json}");
    }
}

#[tokio::test]
async fn values_are_bounded() {
    let create = ["CREATE TABLE big AS SELECT 'a' AS id, repeat('x', 70000) AS text UNION ALL SELECT 'b', 'y'"];
    let Some(config) = start("bounded", &create).await else { return };
    let source = build(&config, "SELECT * FROM big WHERE id = ANY($1)");
    let found = source.call(&keys(&["a", "b"]), LONG).await;
    assert_eq!(found, Ok(vec![Found::Bad("too_large"), value(r#"{"id":"b","text":"y"}"#)]));
    let many = build(&config, "SELECT id FROM big, generate_series(1, 1000) WHERE id = ANY($1)");
    assert_eq!(many.call(&[Key::of("a")], LONG).await.expect_err("rows").kind, Kind::TooLarge);
}

#[tokio::test]
async fn tls_is_spoken_or_refused_but_not_left_out() {
    let Some(config) = start("tls", &PEOPLE).await else { return };
    let ca = Some(include_bytes!("../certificates/ca.pem").to_vec());
    let config = SqlConfig { tls: true, ca, ..config };
    let found = one(&build(&config, "SELECT id FROM people WHERE id = ANY($1)"), "bob").await;
    sql::tls(&config, found);
}
