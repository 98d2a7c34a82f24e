//! The three shapes of databases, by small files written here, and the real country database.

#![allow(clippy::disallowed_methods)] // it reads the test data and writes files of its own

mod support;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ouzel_lookup::{Extent, GeoSource, Mmdb};
use support::writer::{Value, Value::*, Writer};

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// `geo` of one address, or nothing.
fn geo(mmdb: &Mmdb, address: &str) -> String {
    let mut out = b"before ".to_vec();
    let known = mmdb.geo(ip(address), &mut out).expect(address);
    assert_eq!(known, out.len() > 7, "{address}");
    String::from_utf8(out.split_off(7)).expect("UTF-8")
}

fn open(writer: &Writer) -> Mmdb {
    Mmdb::from_bytes("test.mmdb", writer.build()).expect("opens")
}

fn names(name: &'static str) -> Value {
    Map(vec![("names", Map(vec![("de", Text("falsch")), ("en", Text(name)), ("fr", Text("faux"))]))])
}

fn max_mind() -> Value {
    Map(vec![
        ("city", names("Fairfield")),
        ("continent", Map(vec![("code", Text("NA"))])),
        ("country", Map(vec![("geoname_id", U32(6252001)), ("iso_code", Text("US"))])),
        (
            "location",
            Map(vec![
                ("accuracy_radius", U32(20)),
                ("latitude", F64(38.25)),
                ("longitude", F64(-122.04)),
                ("metro_code", U32(807)),
                ("time_zone", Text("America/Los_Angeles")),
            ]),
        ),
        ("postal", Map(vec![("code", Text("94534"))])),
        ("registered_country", Map(vec![("iso_code", Text("XX"))])),
        ("subdivisions", Array(vec![names("California"), names("Solano County"), names("third")])),
        ("traits", Map(vec![("is_anycast", Bool(true))])),
    ])
}

fn db_ip(city: &'static str, postcode: &'static str) -> Value {
    Map(vec![
        ("city", Text(city)),
        ("country_code", Text("US")),
        ("latitude", F32(38.1)),
        ("longitude", F32(-122.04)),
        ("postcode", Text(postcode)),
        ("state1", Text("California")),
        ("state2", Text("")),
        ("timezone", Text("")),
    ])
}

#[test]
fn the_three_shapes_give_the_same_members() {
    for (ip_version, record_size) in [(4, 24), (4, 28), (4, 32), (6, 24), (6, 28), (6, 32)] {
        let mmdb = open(
            &Writer::new(ip_version, record_size)
                .add("1.0.0.0/8", max_mind())
                .add("2.0.0.0/8", db_ip("Fairfield", ""))
                .add("3.0.0.0/8", Map(vec![("country_code", Text("JP"))])),
        );
        let cases = [
            (
                "1.2.3.4",
                r#"{"country":"US","region":"California","city":"Fairfield","postal":"94534","lat":38.25,"lon":-122.04,"tz":"America/Los_Angeles"}"#,
            ),
            ("2.2.3.4", r#"{"country":"US","region":"California","city":"Fairfield","lat":38.1,"lon":-122.04}"#),
            ("3.2.3.4", r#"{"country":"JP"}"#),
            ("4.2.3.4", ""),
            ("::ffff:3.2.3.4", r#"{"country":"JP"}"#),
            ("2001:db8::1", ""),
        ];
        for (address, want) in cases {
            assert_eq!(geo(&mmdb, address), want, "{address} in {ip_version}/{record_size}");
        }
    }
}

/// A member of another type than its shape has is left out; it must not shift what comes after it.
#[test]
fn what_no_shape_has_is_left_out() {
    let odd = [
        Map(vec![("city", U32(7)), ("country_code", Text("JP"))]),
        Map(vec![("city", Map(vec![])), ("country", Text("United States")), ("country_code", Text("JP"))]),
        Map(vec![("location", Text("here")), ("postal", Array(vec![])), ("country_code", Text("JP"))]),
        Map(vec![
            ("location", Array(vec![U32(1), U32(2)])),
            ("subdivisions", Array(vec![])),
            ("country_code", Text("JP")),
        ]),
        Map(vec![("subdivisions", names("not in an array")), ("country_code", Text("JP")), ("latitude", Text("38.1"))]),
        Map(vec![("latitude", F64(f64::NAN)), ("longitude", F32(f32::INFINITY)), ("country_code", Text("JP"))]),
        Map(vec![
            ("timezone", Bytes(vec![1])),
            ("country_code", Text("JP")),
            ("state1", Bool(true)),
            ("x", U128(u128::MAX)),
        ]),
    ];
    for (n, record) in odd.into_iter().enumerate() {
        let mmdb = open(&Writer::new(4, 24).add("1.0.0.0/8", record));
        let want = if n == 4 { r#"{"country":"JP","region":"not in an array"}"# } else { r#"{"country":"JP"}"# };
        assert_eq!(geo(&mmdb, "1.1.1.1"), want, "{n}");
    }
    for record in
        [Text("JP"), U32(1), F32(1.0), Bool(true), Array(vec![Text("JP")]), Map(vec![]), db_ip("", "").clone()]
    {
        let empty = !matches!(&record, Map(members) if !members.is_empty());
        let mmdb = open(&Writer::new(4, 24).add("1.0.0.0/8", record));
        assert_eq!(geo(&mmdb, "1.1.1.1").is_empty(), empty);
    }
}

#[test]
fn texts_are_escaped_and_long_ones_are_whole() {
    let record = Map(vec![("city", Text("a \"b\" \\ \n\u{1}")), ("state1", Long("x".repeat(70_000)))]);
    let mmdb = open(&Writer::new(4, 24).add("1.0.0.0/8", record));
    for text in [geo(&mmdb, "1.1.1.1"), {
        let mut out = Vec::new();
        assert!(mmdb.record(ip("1.1.1.1"), &mut out).expect("decodes"));
        String::from_utf8(out).expect("UTF-8")
    }] {
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["city"], "a \"b\" \\ \n\u{1}");
        let region = value.get("region").or(value.get("state1")).and_then(|v| v.as_str()).expect("a region");
        assert_eq!(region.len(), 70_000);
    }
}

#[test]
fn the_first_database_that_knows_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let [city, country] = ["city.mmdb", "country.mmdb"].map(|name| folder.path().join(name));
    let near = Writer::new(4, 28).add("1.0.0.0/8", db_ip("Fairfield", "94534")).add("2.0.0.0/8", Map(vec![]));
    let wide = Writer::new(6, 24)
        .add("1.0.0.0/8", Map(vec![("country_code", Text("XX"))]))
        .add("2.0.0.0/8", Map(vec![("country_code", Text("JP"))]))
        .add("2001:db8::/32", Map(vec![("country_code", Text("DE"))]));
    std::fs::write(&city, near.build()).expect("written");
    std::fs::write(&country, wide.build()).expect("written");
    let source = GeoSource::open(&[city.clone(), country.clone()]).expect("opens");
    let version = source.pin();
    let geo = |version: &ouzel_lookup::GeoVersion, address: &str| {
        let mut out = Vec::new();
        version.geo(ip(address), &mut out).expect(address);
        String::from_utf8(out).expect("UTF-8")
    };
    assert!(geo(&version, "1.1.1.1").contains("Fairfield"));
    assert_eq!(geo(&version, "2.1.1.1"), r#"{"country":"JP"}"#, "an empty record is not an answer");
    assert_eq!(geo(&version, "2001:db8::1"), r#"{"country":"DE"}"#);
    assert_eq!(geo(&version, "9.9.9.9"), "");
    assert!(version.has_postal());
    assert_eq!(version.versions().collect::<Vec<_>>(), ["city-2026-11-05", "country-2026-11-05"]);
    assert!(!GeoSource::open(&[country]).expect("opens").pin().has_postal());

    let none = GeoSource::open(&[]).expect("no databases are fine");
    assert!(none.pin().is_empty() && !none.pin().has_postal());
    assert_eq!(geo(&none.pin(), "1.1.1.1"), "");
    assert!(none.reload_if_changed().loaded.is_empty());
}

#[test]
fn a_path_that_is_no_database_says_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.mmdb");
    std::fs::write(&text, "country,code\n").expect("written");
    let empty = folder.path().join("empty.mmdb");
    std::fs::write(&empty, "").expect("written");
    let asn = support::data("geo/maxmind-testdb/test-data/GeoLite2-ASN-Test.mmdb");
    let cases = [
        (folder.path().join("absent.mmdb"), "absent.mmdb cannot be read: No such file", "io"),
        (folder.path().to_owned(), "is not a file", "not_file"),
        ("/dev/zero".into(), "/dev/zero is not a file", "not_file"),
        (text, "text.mmdb is damaged or not an MMDB file: could not find MaxMind DB metadata", "corrupt"),
        (empty, "empty.mmdb is damaged or not an MMDB file", "corrupt"),
        (asn, "has no places in it (its type is \"GeoLite2-ASN\")", "not_geo"),
    ];
    for (path, want, code) in cases {
        let e = GeoSource::open(&[path]).err().expect(want);
        assert!(e.to_string().contains(want), "{e}");
        assert_eq!(e.code(), code);
    }
    let sparse = folder.path().join("huge.mmdb");
    std::fs::File::create(&sparse).and_then(|f| f.set_len(1 << 40)).expect("a sparse file");
    let e = GeoSource::open(&[sparse]).err().expect("too large");
    assert_eq!(e.code(), "too_large", "{e}");
}

#[test]
fn the_build_day_is_in_the_version() {
    let mut writer = Writer::new(4, 24).add("1.0.0.0/8", Map(vec![("country_code", Text("JP"))]));
    let version =
        |writer: &Writer| Mmdb::from_bytes("dbip-city.2.mmdb", writer.build()).map(|m| m.version().to_owned());
    assert_eq!(version(&writer).expect("opens"), "dbip-city.2-2026-11-05");
    writer.build_epoch = 0;
    assert_eq!(version(&writer).expect("opens"), "dbip-city.2-1970-01-01");
    for epoch in [7_258_118_400, u64::MAX, i64::MAX as u64] {
        writer.build_epoch = epoch;
        assert!(version(&writer).is_err(), "{epoch}");
    }
}

/// Pointers can make a small file come to terabytes: 2,000 records that each point to one of 60,000 values.
#[test]
fn a_file_whose_records_come_to_far_more_than_it_is_refused_soon() {
    let big = Array(vec![U32(0); 60_000]);
    let mut writer = Writer::new(4, 24).add("255.0.0.0/8", big);
    for n in 0..2_000u32 {
        let network = format!("{}/24", std::net::Ipv4Addr::from(n << 8));
        writer = writer.add(&network, Array(vec![Pointer(0); 1]));
    }
    let started = std::time::Instant::now();
    let e = open(&writer).check(Extent::Whole).expect_err("refused");
    assert!(e.to_string().contains("many times the size"), "{e}");
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn of_1753_addresses_of_the_web_log_1655_have_a_country() {
    let log = std::fs::read_to_string(support::data("weblogs/apache_logs")).expect("readable");
    let addresses: BTreeSet<&str> = log.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(addresses.len(), 1_753);
    let source = GeoSource::open(&[support::data("geo/country-pddl.mmdb")]).expect("opens");
    let version = source.pin();
    let (mut known, mut out) = (0, Vec::new());
    for address in addresses {
        out.clear();
        if version.geo(ip(address), &mut out).expect(address) {
            let place: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            let members = place.as_object().expect("an object");
            assert_eq!(members.len(), 1, "only the country is known");
            assert_eq!(members["country"].as_str().map(str::len), Some(2));
            known += 1;
        } else {
            assert!(out.is_empty());
        }
    }
    assert_eq!(known, 1_655);
    assert_eq!(version.versions().collect::<Vec<_>>(), ["country-pddl-2026-06-17"]);
    assert!(!version.has_postal());
}
