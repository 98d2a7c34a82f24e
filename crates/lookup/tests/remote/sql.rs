//! What every database has to do.

use std::time::{Duration, Instant};

use ouzel_lookup::OnMany;
use ouzel_lookup::remote::{Failure, Found, Key, Kind, Remote, Secret, SqlConfig, SqlSource};

use crate::servers::{Parts, url};

pub const LONG: Duration = Duration::from_secs(20);

pub fn value(json: &str) -> Found {
    Found::Value(json.as_bytes().to_vec())
}

pub fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|t| Key::of(*t)).collect()
}

pub fn config(variable: &str) -> Option<SqlConfig> {
    let parts = Parts::of(&url(variable)?);
    let password = parts.password.map(Secret::new);
    Some(SqlConfig { url: parts.url, user: parts.user, password, ..SqlConfig::default() })
}

pub fn build(config: &SqlConfig, statement: &str) -> SqlSource {
    SqlConfig { statement: statement.into(), ..config.clone() }.build().expect("a source")
}

pub async fn one(source: &SqlSource, key: &str) -> Result<Found, Failure> {
    source.call(&[Key::of(key)], LONG).await.map(|mut found| found.remove(0))
}

/// The table that the common tests read.
pub const PEOPLE: [&str; 2] = [
    "CREATE TABLE people (id VARCHAR(40) NOT NULL, shop INTEGER NOT NULL, name VARCHAR(200), age INTEGER)",
    "INSERT INTO people VALUES ('ada', 1, 'Ada \"A\" L', 36), ('bob', 1, NULL, 7), ('two', 1, 'first', 1), \
     ('two', 2, 'second', 2), ('''; --', 3, 'quoted', 0), ('{key}', 3, 'braces', 0), ('/../', 3, 'dots', 0), \
     ('100%', 3, 'percent', 0), ('Zürich', 3, 'umlaut', 0)",
];

/// `list` and `pairs` are conditions on `id` alone and on `shop, id`; `number` one on `shop` alone.
pub async fn people(config: &SqlConfig, list: &str, pairs: &str, number: &str) {
    let source = build(config, &format!("SELECT id, name, age FROM people WHERE {list} ORDER BY shop"));
    let asked = ["bob", "nobody", "ada", "two", "'; --", "{key}", "/../", "100%", "Zürich", "", "\0", "ada\0", "Ada"];
    let found = source.call(&keys(&asked), LONG).await.expect("answers");
    let expected = [
        value(r#"{"id":"bob","name":null,"age":7}"#),
        Found::NotFound,
        value(r#"{"id":"ada","name":"Ada \"A\" L","age":36}"#),
        Found::Bad("many_rows"),
        value(r#"{"id":"'; --","name":"quoted","age":0}"#),
        value(r#"{"id":"{key}","name":"braces","age":0}"#),
        value(r#"{"id":"/../","name":"dots","age":0}"#),
        value(r#"{"id":"100%","name":"percent","age":0}"#),
        value(r#"{"id":"Zürich","name":"umlaut","age":0}"#),
        Found::NotFound,
        Found::NotFound,
        Found::NotFound,
        Found::NotFound,
    ];
    assert_eq!(found, expected);
    let long = "k".repeat(1 << 20);
    assert_eq!(source.call(&keys(&[&long, "bob"]), LONG).await.expect("answers")[1], expected[0]);
    assert_eq!(source.call(&[], LONG).await, Ok(vec![]));
    // More than one list, of more lengths than one.
    let many: Vec<String> = (0..1_300).map(|n| if n % 100 == 0 { "bob".into() } else { format!("n{n}") }).collect();
    let many: Vec<Key> = many.iter().map(|k| Key::of(k.as_str())).collect();
    let found = source.call(&many, LONG).await.expect("answers");
    assert_eq!(found.iter().filter(|f| **f == expected[0]).count(), 13);
    assert_eq!(found.iter().filter(|f| **f == Found::NotFound).count(), 1_287);

    let first = SqlConfig { on_many: OnMany::First, ..config.clone() };
    let source = build(&first, &format!("SELECT id, name FROM people WHERE {list} ORDER BY shop"));
    assert_eq!(one(&source, "two").await, Ok(value(r#"{"id":"two","name":"first"}"#)));

    let by_two = SqlConfig { key_columns: vec!["shop".into(), "id".into()], ..config.clone() };
    let source = build(&by_two, &format!("SELECT id, shop, name FROM people WHERE {pairs}"));
    let asked = [Key::new(["2", "two"]), Key::new(["1", "nobody"]), Key::new(["1", "two"]), Key::new(["x", "two"])];
    let second = value(r#"{"id":"two","shop":2,"name":"second"}"#);
    let first = value(r#"{"id":"two","shop":1,"name":"first"}"#);
    assert_eq!(source.call(&asked, LONG).await, Ok(vec![second.clone(), Found::NotFound, first, Found::NotFound]));

    let by_number = SqlConfig { key_columns: vec!["shop".into()], ..config.clone() };
    let source = build(&by_number, &format!("SELECT id, shop, name FROM people WHERE {number}"));
    let asked = ["2", "1", "9", "x", "2x", "99999999999999999999"];
    let none = Found::NotFound;
    let expected = vec![second, Found::Bad("many_rows"), none.clone(), none.clone(), none.clone(), none];
    assert_eq!(source.call(&keys(&asked), LONG).await, Ok(expected));
}

/// What the database has to say about statements and people, and what it must not say.
pub async fn refusals(config: &SqlConfig, list: &str) {
    for (statement, says) in [
        (format!("SELECT id FROM nowhere WHERE {list}"), "nowhere"),
        (format!("SELECT nothing FROM people WHERE {list}"), "nothing"),
        (format!("SELECT name FROM people WHERE {list}"), "key_columns"),
        (format!("SELECT id, name AS id FROM people WHERE {list}"), "two columns"),
        (format!("SELEKT id FROM people WHERE {list}"), "SELEKT"),
        (format!("DELETE FROM people WHERE {list}"), ""),
    ] {
        let failure = one(&build(config, &statement), "ada-secret").await.expect_err(&statement);
        assert_eq!(failure.kind, Kind::Query, "{failure}");
        assert!(failure.message.contains(says), "{failure}");
        assert!(!failure.message.contains("ada-secret"), "{failure}");
    }
    let people = build(config, &format!("SELECT id, age FROM people WHERE {list}"));
    assert_eq!(one(&people, "bob").await, Ok(value(r#"{"id":"bob","age":7}"#)));
}

/// A login and a place that are wrong.
pub async fn doors(config: &SqlConfig, list: &str) {
    let statement = format!("SELECT id FROM people WHERE {list}");
    let wrong = SqlConfig { password: Some(Secret::new("guess-me-not")), ..config.clone() };
    let failure = one(&build(&wrong, &statement), "ada").await.expect_err("a wrong password");
    assert_eq!(failure.kind, Kind::Query, "{failure}");
    assert!(!failure.message.contains("guess"), "{failure}");
    let (base, _) = config.url.rsplit_once('/').expect("a database");
    let wrong = SqlConfig { url: format!("{base}/no_such_database"), ..config.clone() };
    assert_eq!(one(&build(&wrong, &statement), "ada").await.expect_err("no database").kind, Kind::Query);
    let scheme = config.url.split(':').next().expect("a scheme");
    let gone = SqlConfig { url: format!("{scheme}://127.0.0.1:1/x"), ..config.clone() };
    assert_eq!(one(&build(&gone, &statement), "ada").await.expect_err("nobody there").kind, Kind::Connection);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("{scheme}://{}/x", listener.local_addr().expect("an address"));
    let silent = SqlConfig { url: silent, connect_timeout: Duration::from_millis(50), ..config.clone() };
    assert_eq!(one(&build(&silent, &statement), "ada").await.expect_err("silence").kind, Kind::Timeout);
}

/// A query that is late, and the connection after it.
pub async fn late(config: &SqlConfig, slow: &str, list: &str) {
    let config = SqlConfig { connections: 1, ..config.clone() };
    let source = build(&config, slow);
    let began = Instant::now();
    let failure = source.call(&[Key::of("ada")], Duration::from_millis(100)).await.expect_err("late");
    assert_eq!(failure.kind, Kind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(2));
    let source = build(&config, &format!("SELECT id, age FROM people WHERE {list}"));
    assert_eq!(one(&source, "bob").await, Ok(value(r#"{"id":"bob","age":7}"#)));
}

/// A server that is reached as `localhost` has to have the certificate that lies beside these tests. Of another, nothing can
/// be known but that it is not trusted.
pub fn tls(config: &SqlConfig, bob: Result<Found, Failure>) {
    match config.url.contains("://localhost") {
        true => assert_eq!(bob, Ok(value(r#"{"id":"bob"}"#))),
        false => assert_eq!(bob.expect_err("no trust").kind, Kind::Tls),
    }
}

#[test]
fn configurations_that_cannot_be_meant() {
    let good = || SqlConfig {
        url: "postgres://localhost/db".into(),
        user: Some("me".into()),
        statement: "SELECT id FROM t WHERE id = ANY($1)".into(),
        ..SqlConfig::default()
    };
    assert!(good().build().is_ok());
    for (member, config) in [
        ("url", SqlConfig { url: "oracle://localhost/db".into(), ..good() }),
        ("url", SqlConfig { url: "postgres://localhost".into(), ..good() }),
        ("url", SqlConfig { url: "postgres:///db".into(), ..good() }),
        ("url", SqlConfig { url: "postgres://me:secret@localhost/db".into(), ..good() }),
        ("url", SqlConfig { url: "sqlite:".into(), ..good() }),
        ("user", SqlConfig { user: None, ..good() }),
        ("key_columns", SqlConfig { key_columns: vec![], ..good() }),
        ("connections", SqlConfig { connections: 100_000, ..good() }),
        ("statement", SqlConfig { url: "sqlite:x.db".into(), ..good() }),
        ("statement", SqlConfig { statement: "\0".into(), ..good() }),
        ("ca", SqlConfig { tls: true, ca: Some(vec![]), ..good() }),
    ] {
        let refused = config.build().err().unwrap_or_else(|| panic!("{member} was taken"));
        assert_eq!(refused.member, member, "{refused}");
        assert!(!refused.to_string().contains("secret"));
    }
}
