//! MaxMind's own test databases: what each answers is what the JSON says it was made of.

#![allow(clippy::disallowed_methods)] // it reads the test data

mod support;

use std::net::IpAddr;

use ouzel_lookup::{GeoSource, Mmdb};
use serde_json::Value;

/// Databases, how many networks their JSON lists, and whether they say where an address is.
const DATABASES: &[(&str, usize, bool)] = &[
    ("GeoIP-Anonymous-Plus-Test", 32, false),
    ("GeoIP-Residential-Proxy-Test", 29, false),
    ("GeoIP2-Anonymous-IP-Test", 12, false),
    ("GeoIP2-City-Test", 251, true),
    ("GeoIP2-Connection-Type-Test", 25, false),
    ("GeoIP2-Country-Test", 345, true),
    ("GeoIP2-DensityIncome-Test", 2, false),
    ("GeoIP2-Domain-Test", 91, false),
    ("GeoIP2-Enterprise-Test", 34, true),
    ("GeoIP2-IP-Risk-Test", 15, false),
    ("GeoIP2-ISP-Test", 2109, false),
    ("GeoIP2-Precision-Enterprise-Test", 61, true),
    ("GeoIP2-Static-IP-Score-Test", 429, false),
    ("GeoIP2-User-Count-Test", 429, false),
    ("GeoLite2-ASN-Test", 720, false),
    ("GeoLite2-City-Test", 242, true),
    ("GeoLite2-Country-Test", 244, true),
];

/// Networks that lie within 2001:480::/32, which the writer put in after them: they answer with its record.
const OVERLAPS: &[(&str, &str)] =
    &[("GeoIP2-IP-Risk-Test", "2001:480:1::/64"), ("GeoIP2-IP-Risk-Test", "2001:480:2::/64")];

/// Equal, numbers to 4 places: the JSON has decimals where the database has 32-bit floats.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().expect("f64"), b.as_f64().expect("f64"));
            (a - b).abs() < 0.00005
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| equal(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(v, w)| equal(v, w)),
        _ => a == b,
    }
}

fn source(name: &str) -> Vec<(String, Value)> {
    let json = std::fs::read(support::data(&format!("geo/maxmind-testdb/source-data/{name}.json"))).expect("readable");
    let networks: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(&json).expect("JSON");
    networks.into_iter().flatten().collect()
}

fn database(name: &str) -> std::path::PathBuf {
    support::data(&format!("geo/maxmind-testdb/test-data/{name}.mmdb"))
}

fn first_address(network: &str) -> IpAddr {
    network.split('/').next().and_then(|ip| ip.parse().ok()).expect(network)
}

/// What `geo` ought to say of a record, read off the JSON.
fn place(record: &Value) -> Value {
    let mut place = serde_json::Map::new();
    for (member, pointer) in [
        ("country", "/country/iso_code"),
        ("region", "/subdivisions/0/names/en"),
        ("city", "/city/names/en"),
        ("postal", "/postal/code"),
        ("lat", "/location/latitude"),
        ("lon", "/location/longitude"),
        ("tz", "/location/time_zone"),
    ] {
        if let Some(value) = record.pointer(pointer) {
            place.insert(member.to_owned(), value.clone());
        }
    }
    Value::Object(place)
}

#[test]
fn all_5070_records_are_what_they_were_made_of() {
    let (mut asked, mut out) = (0, Vec::new());
    for (name, networks, _) in DATABASES {
        let mmdb = Mmdb::open(&database(name)).expect(name);
        let source = source(name);
        assert_eq!(source.len(), *networks, "{name}");
        for (network, want) in &source {
            out.clear();
            assert!(mmdb.record(first_address(network), &mut out).expect(name), "{name} {network}");
            let got: Value = serde_json::from_slice(&out).expect("a record is JSON");
            let overlapped = OVERLAPS.contains(&(name, network));
            assert_eq!(equal(&got, want), !overlapped, "{name} {network}: {got} instead of {want}");
            if overlapped {
                assert_eq!(got["anonymizer_confidence"], 70, "{name} {network}: the record of the network around it");
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 5_070);
}

#[test]
fn all_5070_places_are_what_the_records_say() {
    let (mut asked, mut known, mut out) = (0, 0, Vec::new());
    for (name, _, has_place) in DATABASES {
        let path = database(name);
        let source = GeoSource::open(std::slice::from_ref(&path));
        assert_eq!(source.is_ok(), *has_place, "{name}: {:?}", source.err());
        let mmdb = Mmdb::open(&path).expect(name);
        for (network, record) in &self::source(name) {
            let ip = first_address(network);
            let want = place(record);
            let has_members = want.as_object().is_some_and(|m| !m.is_empty());
            out.clear();
            assert_eq!(mmdb.geo(ip, &mut out).expect(name), has_members, "{name} {network}");
            if has_members {
                let got: Value = serde_json::from_slice(&out).expect("geo is JSON");
                assert!(equal(&got, &want), "{name} {network}: {got} instead of {want}");
                let order: Vec<&String> = got.as_object().expect("an object").keys().collect();
                assert_eq!(order, want.as_object().expect("an object").keys().collect::<Vec<_>>(), "{name} {network}");
                known += 1;
            }
            if let Ok(source) = &source {
                let mut through = Vec::new();
                assert_eq!(source.pin().geo(ip, &mut through).expect(name), has_members);
                assert_eq!(through, out, "{name} {network}");
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 5_070);
    println!("{known} networks with a place");
}

#[test]
fn postal_codes_are_expected_only_where_there_are_some() {
    for (name, networks) in [("GeoIP2-City-Test", 8), ("GeoIP2-Country-Test", 0)] {
        let with_postal = source(name).iter().filter(|(_, record)| record.pointer("/postal/code").is_some()).count();
        assert_eq!(with_postal, networks, "{name}");
        assert_eq!(GeoSource::open(&[database(name)]).expect(name).pin().has_postal(), networks > 0, "{name}");
    }
}

#[test]
fn every_type_of_value_is_written() {
    let mmdb = Mmdb::open(&database("MaxMind-DB-test-decoder")).expect("opens");
    let mut out = Vec::new();
    assert!(mmdb.record("::1.1.1.0".parse().expect("an address"), &mut out).expect("decodes"));
    let got: Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(
        got,
        serde_json::json!({
            "array": [1, 2, 3], "boolean": true, "bytes": "0000002a", "double": 42.123456, "float": 1.1, "int32": -268435456,
            "map": {"mapX": {"arrayX": [7, 8, 9], "utf8_stringX": "hello"}},
            "uint128": serde_json::from_str::<Value>("1329227995784915872903807060280344576").expect("a number"),
            "uint16": 100, "uint32": 268435456, "uint64": 1152921504606846976u64, "utf8_string": "unicode! ☯ - ♫"
        })
    );
    out.clear();
    assert!(mmdb.record("::".parse().expect("an address"), &mut out).expect("decodes"), "limits of every type");
    serde_json::from_slice::<Value>(&out).expect("infinity and the largest numbers are JSON too");
}

#[test]
fn an_address_of_the_other_family_is_a_miss() {
    let v4_only = Mmdb::open(&database("MaxMind-DB-test-ipv4-24")).expect("opens");
    let no_v4 = Mmdb::open(&database("MaxMind-DB-no-ipv4-search-tree")).expect("opens");
    let mut out = Vec::new();
    let mut has = |mmdb: &Mmdb, ip: &str| mmdb.record(ip.parse().expect("an address"), &mut out).expect("no error");
    assert!(has(&v4_only, "1.1.1.1"));
    assert!(has(&v4_only, "::ffff:1.1.1.1"), "an IPv4 address in IPv6 clothes");
    assert!(!has(&v4_only, "2001:db8::1"));
    assert!(has(&no_v4, "0.0.0.1"));
}
