//! MaxMind's own test databases: what each answers is what the JSON says it was made of.

mod support;

use std::net::IpAddr;

use ouzel_lookup::{Extent, GeoSource, Mmdb};
use serde_json::Value;

/// Databases and how many networks their JSON lists.
const DATABASES: &[(&str, usize)] = &[
];

/// Two networks of IP-Risk lie within others that the writer put in later, and answer with theirs.
const OVERLAPS: &[(&str, &str)] = &[
];

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

#[test]
fn count() {
    let mut total = 0;
    for path in support::files("geo/maxmind-testdb/source-data", ".json") {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let db = support::data("geo/maxmind-testdb/test-data/").join(format!("{name}.mmdb"));
        if !db.exists() { println!("{name} has no db"); continue; }
        let db = Mmdb::open(&db).unwrap();
        let nets = source(&name);
        total += nets.len();
        println!("(\"{name}\", {}), // {} {:?}", nets.len(), db.version(), db.check(Extent::Whole));
        let mut out = Vec::new();
        for (net, want) in &nets {
            let ip: IpAddr = net.split('/').next().unwrap().parse().unwrap();
            out.clear();
            let hit = db.record(ip, &mut out);
            let got: Value = if matches!(hit, Ok(true)) { serde_json::from_slice(&out).unwrap() } else { Value::Null };
            if !equal(&got, want) { println!("   {net} {hit:?} got {} want {}", String::from_utf8_lossy(&out), want); }
        }
    }
    println!("{total}");
    let _ = GeoSource::open(&[]);
    panic!();
}
