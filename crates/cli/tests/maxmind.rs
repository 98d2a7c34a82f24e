//! MaxMind's own test databases through the program: each network of their source data becomes an event, and what `run`
//! writes into `enriched` must be what the source says.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use support::{data, fine, json, ouzel};

/// Networks whose record in the database is that of the larger network around them: (database, network).
const OVERLAPS: [(&str, &str); 2] =
    [("GeoIP2-IP-Risk-Test", "2001:480:1::/64"), ("GeoIP2-IP-Risk-Test", "2001:480:2::/64")];

/// Shapes that `geo` reads.
const PLACES: [&str; 6] = [
    "GeoIP2-City-Test",
    "GeoIP2-Country-Test",
    "GeoIP2-Enterprise-Test",
    "GeoIP2-Precision-Enterprise-Test",
    "GeoLite2-City-Test",
    "GeoLite2-Country-Test",
];

/// (network, its record).
fn source_data(name: &str) -> Vec<(String, Value)> {
    let path = data("geo/maxmind-testdb/source-data").join(format!("{name}.json"));
    let list = json(&std::fs::read(path).expect("source data"));
    let networks = list.as_array().expect("a list").iter();
    networks.flat_map(|n| n.as_object().expect("an object").clone()).collect()
}

/// Floats are compared to 4 places: databases hold 32 or 64 bits of what the source has in decimal.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => {
            x == y || (x.as_f64().unwrap_or(f64::NAN) - y.as_f64().unwrap_or(f64::NAN)).abs() < 5e-5
        }
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| same(v, w)))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same(v, w)),
        _ => a == b || number_text(a, b) || number_text(b, a),
    }
}

/// Numbers beyond 64 bits stand as text in JSON.
fn number_text(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::String(text), Value::Number(n)) if *text == n.to_string())
}

/// Runs all networks of one database through `ouzel run`; gives, by address, the enriched member.
fn through_run(name: &str, networks: &[(String, Value)]) -> BTreeMap<String, Value> {
    let tmp = tempfile::tempdir().expect("a directory");
    let database = data("geo/maxmind-testdb/test-data").join(format!("{name}.mmdb"));
    let mut config = format!("version = 1\n[[lookup]]\nname = \"record\"\nkind = \"mmdb\"\npath = {database:?}\n");
    if PLACES.contains(&name) {
        let _ = write!(config, "[geo]\ndatabase = {database:?}\nrequired = true\n");
    }
    let (file, input, output) = (tmp.path().join("ouzel.toml"), tmp.path().join("in"), tmp.path().join("out"));
    std::fs::write(&file, config).expect("written");
    let events: String = networks
        .iter()
        .map(|(network, _)| {
            let ip = network.split('/').next().expect("an address");
            format!("{{\"event\":\"look\",\"network\":\"{network}\",\"context\":{{\"ip\":\"{ip}\"}}}}\n")
        })
        .collect();
    std::fs::write(&input, events).expect("written");
    fine(
        ouzel()
            .args(["run", "-c"])
            .arg(&file)
            .arg("--input")
            .arg(&input)
            .arg("--output")
            .arg(&output)
            .arg("--data")
            .arg(tmp.path().join("data")),
    );
    let out = std::fs::read(&output).expect("the output");
    out.split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(json)
        .map(|e| (e["network"].as_str().expect("a network").to_owned(), e["enriched"].clone()))
        .collect()
}

#[test]
fn every_network_of_every_database() {
    let mut names: Vec<String> = std::fs::read_dir(data("geo/maxmind-testdb/source-data"))
        .expect("source data")
        .filter_map(|e| e.expect("an entry").file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    // One source is there without its database.
    names.retain(|n| data("geo/maxmind-testdb/test-data").join(format!("{n}.mmdb")).exists());
    names.sort();
    let (mut lookups, mut overlaps, mut places) = (0, Vec::new(), 0);
    for name in &names {
        let networks = source_data(name);
        let got = through_run(name, &networks);
        for (network, record) in &networks {
            lookups += 1;
            let member = &got[network];
            if !same(&member["record"], record) {
                overlaps.push((name.clone(), network.clone()));
                continue;
            }
            if !PLACES.contains(&name.as_str()) {
                continue;
            }
            // `geo` says what the record says.
            let place = |pointer: &str| record.pointer(pointer).filter(|v| **v != Value::String(String::new()));
            for (ours, theirs) in [
                ("country", "/country/iso_code"),
                ("region", "/subdivisions/0/names/en"),
                ("city", "/city/names/en"),
                ("postal", "/postal/code"),
                ("lat", "/location/latitude"),
                ("lon", "/location/longitude"),
                ("tz", "/location/time_zone"),
            ] {
                let (ours, theirs) = (member["geo"].get(ours), place(theirs));
                assert_eq!(ours.is_some(), theirs.is_some(), "{name} {network}: {member}");
                assert!(ours.zip(theirs).is_none_or(|(a, b)| same(a, b)), "{name} {network}: {member}");
            }
            places += 1;
        }
    }
    assert_eq!(lookups, 5_070);
    assert!(places > 1_000, "{places} places");
    let known: Vec<_> = OVERLAPS.iter().map(|(d, n)| ((*d).to_owned(), (*n).to_owned())).collect();
    assert_eq!(overlaps, known, "the two known overlaps, and nothing else");
}
