//! Files of rows: what is taken, what is refused and with which words, and that no bytes at all do harm.

use ouzel_lookup::table::{KEY_MAX, ROW_MAX};
use ouzel_lookup::{Format, OnMany, Table, TableConfig};
use proptest::prelude::*;

fn config() -> TableConfig {
    TableConfig::default()
}

fn columns(names: &[&str]) -> TableConfig {
    TableConfig { columns: Some(names.iter().map(|n| n.to_string()).collect()), ..config() }
}

fn keyed(name: &str) -> TableConfig {
    TableConfig { key_column: Some(name.into()), ..config() }
}

/// The row of a key; `None` where there is none, and the code of an error.
fn row(table: &Table, key: &str) -> Option<String> {
    let mut out = Vec::from(*b"before");
    match table.row(key.as_bytes(), &mut out) {
        Ok(found) => {
            assert_eq!(found, out.len() > 6);
            found.then(|| String::from_utf8(out.split_off(6)).expect("UTF-8"))
        }
        Err(e) => Some(format!("error:{}", e.code())),
    }
}

/// File name, text, configuration, and what is found under which key.
type Case<'c> = (&'c str, &'c str, TableConfig, &'c [(&'c str, Option<&'c str>)]);

#[test]
fn rows_are_had_by_their_key() {
    let cases: &[Case<'_>] = &[
        (
            "plans.csv",
            "plan,price\nfree,0\npro,\"12,50\"\n",
            config(),
            &[
                ("free", Some(r#"{"plan":"free","price":"0"}"#)),
                ("pro", Some(r#"{"plan":"pro","price":"12,50"}"#)),
                ("Pro", None),
                ("", None),
                ("plan", None),
            ],
        ),
        // No line end at the end, blank lines, Windows line ends, a byte order mark, another separator.
        (
            "p.csv",
            "\u{feff}a;b\r\n\r\n1;x\r\n\r\n2;",
            config(),
            &[("1", Some(r#"{"a":"1","b":"x"}"#)), ("2", Some(r#"{"a":"2","b":""}"#))],
        ),
        // Line breaks and quotes in fields.
        (
            "p.csv",
            "a,b\n\"1\n\"\"one\"\"\",\"x\r\ny\"\n2,z\n",
            config(),
            &[("1\n\"one\"", Some(r#"{"a":"1\n\"one\"","b":"x\r\ny"}"#)), ("2", Some(r#"{"a":"2","b":"z"}"#))],
        ),
        ("p.tsv", "a\tb\n1\t\"\"\n", keyed("a"), &[("1", Some(r#"{"a":"1","b":""}"#))]),
        ("p.csv", "a,b,c\n1,2,3\n", keyed("b"), &[("2", Some(r#"{"a":"1","b":"2","c":"3"}"#)), ("1", None)]),
        ("p.csv", "a,b,c\n1,2,3\n", columns(&["a", "c"]), &[("1", Some(r#"{"a":"1","c":"3"}"#))]),
        ("p.csv", "a,b,c\n1,2,3\n", columns(&["c", "a"]), &[("1", Some(r#"{"c":"3","a":"1"}"#))]),
        ("p.csv", "a,b,c\n1,2,3\n", columns(&["b"]), &[("1", Some(r#"{"b":"2"}"#))]),
        ("p.csv", "a,b\n", config(), &[("a", None)]),
        // A number and a text of the same digits are one key; so is a boolean and its word.
        (
            "u.ndjson",
            "{\"id\":42,\"plan\":\"pro\"}\n\n {\"plan\": null, \"id\": \"a\\u0062\"} \r\n{\"id\":true}",
            config(),
            &[
                ("42", Some(r#"{"id":42,"plan":"pro"}"#)),
                ("ab", Some(r#"{"plan": null, "id": "a\u0062"}"#)),
                ("true", Some(r#"{"id":true}"#)),
                ("42.0", None),
            ],
        ),
        (
            "u.jsonl",
            r#"{"user":{"id":7},"tags":["a",{"b":1}],"plan":"pro"}"#,
            TableConfig { key_column: Some("/user/id".into()), ..columns(&["plan", "gone", "tags"]) },
            &[("7", Some(r#"{"plan":"pro","tags":["a",{"b":1}]}"#))],
        ),
        (
            "u.jsonl",
            r#"{"a/b":"x","p":1}"#,
            TableConfig { key_column: Some("a/b".into()), ..columns(&["q"]) },
            &[("x", Some("{}"))],
        ),
        ("u.jsonl", r#"{"id":"x","p":1}"#, columns(&["q", "p"]), &[("x", Some(r#"{"p":1}"#))]),
        ("users", "id\n1\n", TableConfig { format: Some(Format::Csv), ..config() }, &[("1", Some(r#"{"id":"1"}"#))]),
        ("u.ndjson", "\n", config(), &[("", None)]),
    ];
    for (name, text, config, rows) in cases {
        let table = Table::parse(name, text.as_bytes(), config).unwrap_or_else(|e| panic!("{text}: {e}"));
        for (key, expected) in *rows {
            assert_eq!(row(&table, key).as_deref(), *expected, "{key} of {text}");
        }
        assert_eq!(table.len(), rows.iter().filter(|r| r.1.is_some()).count(), "{text}");
    }
}

#[test]
fn a_key_of_several_rows_is_an_error_unless_the_first_counts() {
    for (name, text) in
        [("p.csv", "k,v\n1,a\n2,b\n1,c\n1,a\n"), ("p.ndjson", "{\"id\":1}\n{\"id\":2}\n{\"id\":\"1\"}\n{\"id\":1}\n")]
    {
        let table = Table::parse(name, text.as_bytes(), &config()).expect("a table");
        assert_eq!(row(&table, "1").as_deref(), Some("error:many_rows"), "{name}");
        assert!(row(&table, "2").is_some_and(|r| r.starts_with('{')));
        assert_eq!((table.len(), table.repeated()), (2, 2));
        let first = TableConfig { on_many: OnMany::First, ..config() };
        let table = Table::parse(name, text.as_bytes(), &first).expect("a table");
        assert!(row(&table, "1").is_some_and(|r| r == r#"{"k":"1","v":"a"}"# || r == r#"{"id":1}"#), "{name}");
    }
}

#[test]
fn what_is_no_table_is_refused_with_its_line_and_what_to_do() {
    let long = format!("a,b\n1,{}\n", "x".repeat(ROW_MAX));
    let long_key = format!("a,b\n{},1\n", "k".repeat(KEY_MAX + 1));
    let grows = format!("a,b\n1,{}\n", "\\\"".repeat(ROW_MAX / 3));
    let unclosed = format!("a,b\n1,2\n3,\"{}", "x,y\n".repeat(ROW_MAX));
    let long_header = "a,".repeat(ROW_MAX);
    let many_members = format!("{{\"id\":1,\"m\":{{{}}}}}", vec!["\"x\":1"; 2001].join(","));
    let deep = format!("{{\"id\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    for (name, text, config, says) in [
        ("p.csv", "", config(), "p.csv, line 1: there is no header line with the columns' names"),
        ("p.csv", "\n1,2\n", config(), "p.csv, line 1: there is no header line"),
        ("p.csv", "a,b\n1,2\n3\n", config(), "p.csv, line 3: the row has 1 fields, but the header 2 columns"),
        ("p.csv", "a,b\n\"1\n\n\",2\n1,2,3\n", config(), "line 5: the row has 3 fields"),
        ("p.csv", "a,b\n\"x\"y,2\n", config(), "line 2: something follows a closing quote"),
        ("p.csv", "a,b\n1,\"2", config(), "line 2: a quote is not closed"),
        ("p.csv", "a,a\n", config(), "line 1: columns 1 and 2 of the header have the same name"),
        ("p.csv", "a,b\n,2\n", config(), "line 2: the row has no key: give it a `a`, or leave it out"),
        ("p.csv", "a,b\n1,2\n", keyed("c"), "p.csv: it has no column `c`; its columns are `a`, `b`"),
        ("p.csv", "a,b\n1,2\n", columns(&["a", "c"]), "it has no column `c`"),
        ("p.csv", "a,b\n1,2\n", columns(&["a", "b", "a"]), "`columns` has `a` twice"),
        ("p.csv", &long, config(), "line 2: the row is longer than 65536 bytes: is a quote in it not closed?"),
        ("p.csv", &grows, config(), "line 2: the row is longer than 65536 bytes as JSON"),
        ("p.csv", &long_key, config(), "line 2: the key is longer than 1024 bytes"),
        ("p.csv", &unclosed, config(), "line 3: the row is longer than 65536 bytes: is a quote in it not closed?"),
        ("p.csv", &long_header, config(), "line 1: the header line is longer than 65536 bytes"),
        ("p.txt", "a,b\n1,2\n", config(), "p.txt: its name does not say what it is: write format ="),
        ("u.ndjson", "", config(), "u.ndjson: it is empty: is it still being written?"),
        ("u.ndjson", "{\"id\":1}\n{\"id\":2", config(), "u.ndjson, line 2: the text ends too early, at byte 7"),
        ("u.ndjson", "{\"id\":1}\n\n[1]\n", config(), "line 3: JSON, but not an object"),
        (
            "u.ndjson",
            "[\n{\"id\":1}\n]\n",
            config(),
            "line 1: the text ends too early, at byte 1: write one object on each line",
        ),
        ("u.ndjson", "{\"id\":1} {\"id\":2}\n", config(), "line 1: something follows the row's end, at byte 9"),
        ("u.ndjson", "{\"user\":1}\n", config(), "line 1: the row has no key: give it a `id`"),
        ("u.ndjson", "{\"id\":null}\n", config(), "line 1: the row has no key"),
        ("u.ndjson", "{\"id\":{}}\n", config(), "line 1: the row has no key"),
        ("u.ndjson", "{\"id\":\"\"}\n", config(), "line 1: the row has no key"),
        ("u.ndjson", "{\"id\":1,\"id\":2}\n", config(), "line 1: a first-level member is there twice"),
        ("u.ndjson", "{\"id\":1}", keyed("/a~2"), "u.ndjson: in /a~2: `~` is written `~0`"),
        ("u.ndjson", &many_members, config(), "line 1: the row has more than 2000 members"),
        ("u.ndjson", &deep, config(), "line 1: the row is nested deeper than 64 levels"),
        ("p.csv", "<html>\n<h1>403 Forbidden</h1>\n</html>\n", config(), "line 1: this is no header line"),
        ("p.csv.gz", "\u{1f}\u{8b}\u{8}", config(), "line 1: this is no header line"),
    ] {
        let error = Table::parse(name, text.as_bytes(), &config).map(|t| t.len()).expect_err(says).to_string();
        assert!(error.contains(says), "{error}\n  does not say\n{says}");
        assert!(!error.contains("limits."), "{error}");
    }
    let latin = Table::parse("p.csv", b"a,b\n1,2\n2,M\xfcller\n", &config()).map(|t| t.len()).expect_err("Latin-1");
    assert_eq!(latin.to_string(), "p.csv, line 3: the row is not valid UTF-8: save the file as UTF-8");
}

#[test]
fn no_error_has_a_value_of_the_file_in_it() {
    for text in ["k,v\nsecret,1\nsecret\n", "k,v\n\"secret\"secret,1\n", "k,v\nsecret,\"1\n"] {
        let error = Table::parse("p.csv", text.as_bytes(), &config()).map(|t| t.len()).expect_err("bad");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for text in ["{\"id\":\"secret\"", "{\"id\":\"secret\"}x", "{\"id\":secret}"] {
        let error = Table::parse("p.ndjson", text.as_bytes(), &config()).map(|t| t.len()).expect_err("bad");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[test]
fn the_version_is_the_name_and_a_hash_of_the_content() {
    let version =
        |name: &str, text: &str| Table::parse(name, text.as_bytes(), &config()).expect("a table").version().to_owned();
    let one = version("plans.csv", "a\n1\n");
    assert_eq!(one, version("plans.csv", "a\n1\n"));
    assert_ne!(one, version("plans.csv", "a\n2\n"));
    let (name, hash) = one.rsplit_once('-').expect("a name and a hash");
    assert_eq!((name, hash.len()), ("plans", 8));
    assert!(hash.bytes().all(|b| b.is_ascii_hexdigit()));
}

#[test]
fn compressed_files_are_read_and_cut_ones_refused() {
    let text = b"k,v\n1,a\n2,b\n";
    let zstd = zstd::stream::encode_all(&text[..], 1).expect("encoded");
    let table = Table::parse("p.csv.zst", &zstd, &config()).expect("a table");
    assert_eq!(row(&table, "2").as_deref(), Some(r#"{"k":"2","v":"b"}"#));
    let cut = Table::parse("p.csv.zst", &zstd[..zstd.len() - 3], &config()).map(|t| t.len()).expect_err("cut");
    assert!(cut.to_string().contains("p.csv.zst: it cannot be inflated as zstd"), "{cut}");
}

#[test]
fn a_row_costs_little_more_than_its_json_and_its_key() {
    let text: String =
        std::iter::once("id,name\n".to_owned()).chain((0..100_000).map(|n| format!("{n:08},somebody\n"))).collect();
    let table = Table::parse("u.csv", text.as_bytes(), &config()).expect("a table");
    let overhead = table.overhead() as f64 / table.len() as f64;
    // 6 of lengths, 8 of key, 21 of slots at this many rows (12 to 24 at others), and what growing leaves behind.
    assert!((30.0..45.0).contains(&overhead), "{overhead} bytes a row");
}

/// A CSV that a careful writer made of these rows.
fn written(rows: &[(String, String)]) -> String {
    let quoted = |f: &str| format!("\"{}\"", f.replace('"', "\"\""));
    let plain = |f: &str| if f.contains([',', '"', '\n', '\r']) || f.is_empty() { quoted(f) } else { f.to_owned() };
    let mut text = String::from("k,v\n");
    rows.iter().for_each(|(k, v)| text.push_str(&format!("{},{}\n", plain(k), plain(v))));
    text
}

proptest! {
    #[test]
    fn what_is_written_reads_back(rows in prop::collection::btree_map("[a-zé0-9 ,\"\r\n;]{1,8}", "[a-z,\"\r\n;\\\\é]{0,12}", 0..40)) {
        let rows: Vec<(String, String)> = rows.into_iter().filter(|(k, _)| !k.trim().is_empty()).collect();
        let table = Table::parse("p.csv", written(&rows).as_bytes(), &config()).expect("a table");
        prop_assert_eq!(table.len(), rows.len());
        for (key, value) in &rows {
            let json: serde_json::Value = serde_json::from_str(&row(&table, key).expect("a row")).expect("JSON");
            prop_assert_eq!(json, serde_json::json!({"k": key, "v": value}));
        }
    }

    /// Cut anywhere, the file is refused, or what is left of it are its first rows, the last one perhaps cut.
    #[test]
    fn a_cut_file_has_no_row_that_was_not_there(rows in prop::collection::btree_map("[a-z]{1,8}", "[a-z,\"\n]{0,12}", 1..20), cut in 0usize..400) {
        let rows: Vec<(String, String)> = rows.into_iter().collect();
        let text = written(&rows);
        if let Ok(table) = Table::parse("p.csv", &text.as_bytes()[..cut.min(text.len())], &config()) {
            for (n, (key, value)) in rows.iter().take(table.len()).enumerate() {
                let json: serde_json::Value = serde_json::from_str(&row(&table, key).expect("a row")).expect("JSON");
                let found = json["v"].as_str().expect("a text");
                prop_assert!(found == value || (n + 1 == table.len() && value.starts_with(found)));
            }
        }
    }

    #[test]
    fn any_bytes_are_a_table_or_refused(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[a,b\"\n\r;{}:1\\[\\]\\\\]{0,80}".prop_map(String::into_bytes),
            "(\\{\"id\":[a\"1]{0,3}(,\"b\":[\\[{1]{0,2})?\\}\n?){0,4}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|b| [&[0x1f, 0x8b, 0x08][..], &b].concat()),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|b| [&[0x28, 0xb5, 0x2f, 0xfd][..], &b].concat()),
        ],
        name in prop_oneof![Just("p.csv"), Just("p.ndjson")],
        kept in prop::option::of(Just(vec!["b".to_owned(), "id".to_owned()])),
        key_column in prop::option::of(Just("b".to_owned())),
    ) {
        let config = TableConfig { columns: kept, key_column, ..config() };
        if let Ok(table) = Table::parse(name, &bytes, &config) {
            for key in ["1", "a", ""] {
                if let Some(row) = row(&table, key) && !row.starts_with("error") {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&row).is_ok_and(|v| v.is_object()), "{}", row);
                }
            }
        }
    }
}
