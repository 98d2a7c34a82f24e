//! Rows of Parquet files, as another implementation writes them and says they are: `make.py` beside this makes the files with
//! pyarrow, and what their rows are.

#![allow(clippy::disallowed_methods)] // it reads the files beside it

use std::collections::BTreeMap;
use std::path::Path;

use ouzel_lookup::{Kind, LookupError, OnMany, Table, TableConfig, TableSource};
use proptest::prelude::*;

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parquet")).join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn parse(name: &str, config: &TableConfig) -> Result<Table, LookupError> {
    Table::parse(name, &bytes(name), config)
}

fn row(table: &Table, key: &str) -> Option<String> {
    let mut out = Vec::new();
    table.row(key.as_bytes(), &mut out).expect("one row").then(|| String::from_utf8(out).expect("UTF-8"))
}

fn expected(name: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8(bytes(name)).expect("UTF-8");
    let rows = text.lines().map(|line| line.split_once('\t').expect("a key and a row"));
    rows.map(|(key, row)| (key.to_owned(), row.to_owned())).collect()
}

fn names(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|n| (*n).to_owned()).collect())
}

#[test]
fn rows_are_what_the_writer_says() {
    for (name, rows) in [
        ("types.parquet", "types.tsv"),
        ("groups_v1.parquet", "groups.tsv"),
        ("groups_v2.parquet", "groups.tsv"),
        ("groups_old.parquet", "groups.tsv"),
        ("codec_none.parquet", "users.tsv"),
        ("codec_snappy.parquet", "users.tsv"),
        ("codec_gzip.parquet", "users.tsv"),
        ("codec_zstd.parquet", "users.tsv"),
        ("codec_lz4.parquet", "users.tsv"),
        ("encoding_delta.parquet", "users.tsv"),
        ("int96.parquet", "int96.tsv"),
    ] {
        let table = parse(name, &TableConfig::default()).unwrap_or_else(|e| panic!("{e}"));
        let rows = expected(rows);
        assert_eq!((table.len(), table.repeated()), (rows.len(), 0), "{name}");
        for (key, expected) in &rows {
            let row = row(&table, key).unwrap_or_else(|| panic!("{name}: nothing for {key}"));
            assert_eq!(&row, expected, "{name}");
            serde_json::from_str::<serde_json::Value>(&row).expect("JSON");
        }
    }
}

#[test]
fn what_is_kept_is_chosen_and_so_is_the_key() {
    let config = |columns: &[&str], key: &str| TableConfig {
        columns: names(columns),
        key_column: Some(key.to_owned()),
        on_many: OnMany::First,
        ..TableConfig::default()
    };
    let users = |columns: &[&str], key| parse("codec_snappy.parquet", &config(columns, key)).expect("a table");
    let table = users(&["score", "user"], "user");
    assert_eq!(row(&table, "14").as_deref(), Some(r#"{"score":0.5,"user":14}"#));
    let table = users(&["user"], "score");
    assert_eq!(row(&table, "0.5").as_deref(), Some(r#"{"user":14}"#));
    assert_eq!(row(&users(&[], "user"), "14").as_deref(), Some("{}"));
    let table = users(&["plan"], "plan");
    assert_eq!((table.len(), table.repeated()), (3, 197));
    assert_eq!(row(&table, "pro").as_deref(), Some(r#"{"plan":"pro"}"#));
    let many = TableConfig { on_many: OnMany::Refuse, ..config(&["plan"], "plan") };
    let many = parse("codec_snappy.parquet", &many).expect("a table");
    assert!(matches!(many.row(b"pro", &mut Vec::new()), Err(LookupError::ManyRows)));
    let table = parse("groups_v1.parquet", &config(&["points", "flat"], "id")).expect("a table");
    assert!(row(&table, "1").expect("a row").starts_with(r#"{"points":[{"#));
}

#[test]
fn what_cannot_be_read_says_why() {
    let key = |key: &str| TableConfig { key_column: Some(key.to_owned()), ..TableConfig::default() };
    let kept = |columns: &[&str]| TableConfig { columns: names(columns), ..TableConfig::default() };
    for (name, config, what) in [
        ("codec_brotli.parquet", key("user"), "compressed by BROTLI: write the file with ZSTD"),
        ("encrypted.parquet", key("user"), "it is encrypted"),
        ("encrypted_columns.parquet", key("user"), "its column `plan` cannot be read"),
        ("codec_zstd.parquet", key("nobody"), "no column `nobody`; its columns are `user`, `plan`, `score`"),
        ("codec_zstd.parquet", kept(&["plan", "plan"]), "`columns` has `plan` twice"),
        ("codec_zstd.parquet", kept(&["planet"]), "no column `planet`"),
        ("groups_v1.parquet", key("list"), "`list` has lists or groups in it"),
        ("groups_v1.parquet", key("flat"), "the row has no key"),
        ("types.parquet", key("i32"), "row 3: the row has no key: give it a `i32`"),
    ] {
        let e = parse(name, &config).map(|_| ()).expect_err(name);
        assert!(e.to_string().contains(what), "{e}");
    }
    let all = bytes("codec_zstd.parquet");
    for (bytes, what) in [
        (&b"user,plan\n1,free\n"[..], "no Parquet file"),
        (b"", "no Parquet file"),
        (b"PAR1", "without its end"),
        (b"PAR1PAR1", "without its end"),
        (&all[..all.len() - 1], "is it still being written?"),
        (&[b"PAR1".as_slice(), &[0; 4], b"PAR1"].concat(), "footer"),
    ] {
        let e = Table::parse("users.parquet", bytes, &TableConfig::default()).map(|_| ()).expect_err(what);
        assert!(e.to_string().contains(what), "{e}");
        assert_eq!(e.kind(), Kind::FixConfig);
    }
}

/// Cut anywhere, a file is refused. With a byte that is not what it was, it is refused, or where no checksum is, other values
/// stand in it; it is never more rows, and never a panic that leaves the call. Where there are checksums, no value changes.
#[test]
fn damaged_files_are_refused() {
    let expected = expected("users.tsv");
    let whole = bytes("encoding_delta.parquet");
    for len in 0..whole.len() {
        assert!(Table::parse("cut.parquet", &whole[..len], &TableConfig::default()).is_err(), "{len}");
    }
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 1 << (at % 8);
        match Table::parse("spoiled.parquet", &spoiled, &TableConfig::default()) {
            Err(_) => refused += 1,
            Ok(table) => {
                // What is left are names, statistics and the like.
                for (key, value) in &expected {
                    let value: serde_json::Value = serde_json::from_str(value).expect("JSON");
                    let read: serde_json::Value =
                        serde_json::from_str(&row(&table, key).expect("a row")).expect("JSON");
                    assert!(
                        read.as_object().expect("a row").values().eq(value.as_object().expect("a row").values()),
                        "{at}"
                    );
                }
            }
        }
    }
    assert!(refused > whole.len() / 2);
}

/// A file that is written in place is half there for a while.
#[test]
fn half_a_file_is_not_taken_in_place_of_a_whole_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.parquet");
    let (first, second) = (bytes("codec_none.parquet"), bytes("codec_gzip.parquet"));
    std::fs::write(&path, &first).expect("written");
    let source = TableSource::open_all(&[(path.clone(), TableConfig::default())]).expect("opens");
    let look = || {
        source.reload_if_changed();
        source.reload_if_changed()
    };
    for half in [&second[..second.len() / 2], &second[..second.len() - 1], &[&second[..900], &second[901..]].concat()] {
        std::fs::write(&path, half).expect("written");
        assert!(look().loaded.is_empty());
        assert_eq!(source.refused().len(), 1);
        assert_eq!(source.pin().table().expect("the first one").len(), 200);
    }
    std::fs::write(&path, &second).expect("written");
    assert_eq!(look().loaded.len(), 1);
    assert!(source.refused().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_damage_is_a_table_or_refused(
        name in prop_oneof![
            Just("types.parquet"), Just("groups_v1.parquet"), Just("groups_v2.parquet"), Just("groups_old.parquet"),
            Just("codec_snappy.parquet"), Just("codec_gzip.parquet"), Just("codec_lz4.parquet"), Just("codec_none.parquet"),
        ],
        spoil in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        tail in any::<bool>(),
        cut in prop::option::of((any::<prop::sample::Index>(), 0usize..50)),
    ) {
        let mut all = bytes(name);
        // The footer is where most can go wrong, and little of the file.
        let from = if tail { all.len() - 700.min(all.len()) } else { 0 };
        for (at, byte) in spoil {
            let at = from + at.index(all.len() - from);
            all[at] = byte;
        }
        if let Some((at, len)) = cut {
            let at = at.index(all.len());
            all.drain(at..(at + len).min(all.len()));
        }
        if let Ok(table) = Table::parse(name, &all, &TableConfig { on_many: OnMany::First, ..TableConfig::default() }) {
            prop_assert!(table.len() <= 1 << 20);
        }
    }
}
