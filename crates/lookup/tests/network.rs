//! Networks: what is answered is what the files say, at every edge of every range; and what a bad file does.

#![allow(clippy::disallowed_methods)] // it reads the test data

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;

use ouzel_lookup::{ListKind, Network, NetworkPart};
use serde_json::{Value, json};

fn asn_csv() -> String {
    let gz = std::fs::read(support::data("network/asn/asn-ipv4.csv.gz")).expect("readable");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&gz[..]).read_to_string(&mut text).expect("text");
    text
}

fn network(parts: Vec<NetworkPart>) -> Network {
    Network::of(parts.into_iter().map(Arc::new).collect())
}

/// The member, or null.
fn member(network: &Network, ip: IpAddr) -> Value {
    let mut out = Vec::new();
    let known = network.network(ip, &mut out);
    assert_eq!(known, !out.is_empty());
    if known { serde_json::from_slice(&out).expect("the member is JSON") } else { Value::Null }
}

/// xorshift64: the same addresses in every run.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The lines of the CSV, as simply as can be.
struct Rows {
    /// First and last address.
    ranges: Vec<(u32, u32)>,
    /// `{"asn":7922,"org":"Comcast",`: what the member begins with.
    members: Vec<Vec<u8>>,
}

impl Rows {
    fn of(csv: &str) -> Rows {
        let mut rows = Rows { ranges: Vec::new(), members: Vec::new() };
        for line in csv.lines() {
            let mut fields = line.splitn(4, ',');
            let mut address = || fields.next().and_then(|a| a.parse::<Ipv4Addr>().ok()).expect(line).to_bits();
            rows.ranges.push((address(), address()));
            let asn = fields.next().expect(line);
            let organisation = fields.next().expect(line);
            let bare = organisation.strip_prefix('"').and_then(|o| o.strip_suffix('"')).unwrap_or(organisation);
            let organisation = json!(bare.replace("\"\"", "\"").trim());
            rows.members.push(format!("{{\"asn\":{asn},\"org\":{organisation},").into_bytes());
        }
        rows
    }

    /// What the member of an address begins with, by looking at all rows in `among`: of several the narrowest.
    fn scan(&self, among: Range<usize>, ip: u32) -> Option<&[u8]> {
        let inside = among.filter(|n| self.ranges[*n].0 <= ip && ip <= self.ranges[*n].1);
        inside.min_by_key(|n| self.ranges[*n].1 - self.ranges[*n].0).map(|n| &self.members[n][..])
    }

    /// How many of `ips` the network answers otherwise than the scan.
    fn differences(&self, among: Range<usize>, network: &Network, ips: &[u32]) -> usize {
        let mut out = Vec::new();
        let differs = |ip: &&u32| {
            out.clear();
            network.network(Ipv4Addr::from_bits(**ip).into(), &mut out);
            match self.scan(among.clone(), **ip) {
                Some(member) => !out.starts_with(member),
                None => out.starts_with(b"{\"asn\""),
            }
        };
        ips.iter().filter(differs).count()
    }
}

fn edges((first, last): (u32, u32)) -> [u32; 4] {
    [first.saturating_sub(1), first, last, last.saturating_add(1)]
}

#[test]
fn autonomous_systems_are_as_a_naive_scan_finds_them() {
    let csv = asn_csv();
    let rows = Rows::of(&csv);
    assert_eq!(rows.ranges.len(), 411_961);
    let part = NetworkPart::asn("asn-ipv4.csv", csv.clone().into_bytes()).expect("a table");
    assert!(part.version().starts_with("asn-ipv4-"), "{}", part.version());
    println!("{} ranges in {} bytes", part.len(), part.bytes());
    assert!(part.bytes() <= 20 << 20, "{} bytes", part.bytes());
    let network = network(vec![part]);

    let all = 0..rows.ranges.len();
    let mut state = 7;
    let mut ips: Vec<u32> = (0..10_000).map(|_| random(&mut state) as u32).collect();
    ips.extend([0, u32::MAX]);
    // One range of a thousand, and the two of which one begins within the other.
    let overlap = all
        .clone()
        .filter(|n| [b"{\"asn\":749,", b"{\"asn\":721,"].iter().any(|system| rows.members[*n].starts_with(*system)));
    let some = all.clone().step_by(1_009).chain(overlap);
    ips.extend(some.flat_map(|n| edges(rows.ranges[n])));
    assert_eq!(rows.differences(all.clone(), &network, &ips), 0);

    // All edges, with the neighbours of each in the file instead of a scan: it is sorted, and only two ranges overlap.
    for n in all.clone() {
        let near = n.saturating_sub(3)..(n + 4).min(all.end);
        assert_eq!(rows.differences(near, &network, &edges(rows.ranges[n])), 0, "row {n}");
    }
}

#[test]
fn a_range_that_is_off_by_one_is_found() {
    let csv = asn_csv();
    let rows = Rows::of(&csv);
    let n = 200_000;
    let (first, last) = rows.ranges[n];
    let line = |first, last| format!("{},{},", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last));
    for off in [line(first, last - 1), line(first + 1, last)] {
        let planted = csv.replacen(&line(first, last), &off, 1);
        assert_ne!(planted, csv);
        let network = network(vec![NetworkPart::asn("planted.csv", planted.into_bytes()).expect("a table")]);
        assert_eq!(rows.differences(n - 3..n + 4, &network, &edges((first, last))), 1);
    }
}

/// The test's own idea of membership: an address is in a list if it, cut to some prefix length, stands in it.
struct Naive(BTreeMap<u32, BTreeSet<u128>>, bool);

impl Naive {
    fn of(text: &str, v6: bool) -> Naive {
        let mut by_length: BTreeMap<u32, BTreeSet<u128>> = BTreeMap::new();
        for line in text.lines() {
            let (ip, length) = line.split_once('/').expect(line);
            by_length.entry(length.parse().expect(line)).or_default().insert(bits(ip.parse().expect(line)));
        }
        Naive(by_length, v6)
    }

    fn has(&self, ip: IpAddr) -> bool {
        let width = if self.1 { 128 } else { 32 };
        ip.is_ipv6() == self.1
            && self.0.iter().any(|(length, networks)| {
                let rest = width - length;
                networks.contains(&(bits(ip).checked_shr(rest).unwrap_or(0).checked_shl(rest).unwrap_or(0)))
            })
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn address(bits: u128, v6: bool) -> IpAddr {
    if v6 { IpAddr::V6(bits.into()) } else { IpAddr::V4((bits as u32).into()) }
}

/// First and last address of each network of a list, and their neighbours.
fn list_edges(text: &str, v6: bool) -> Vec<IpAddr> {
    let width = if v6 { 128 } else { 32 };
    let all = if v6 { u128::MAX } else { u32::MAX.into() };
    let of_line = |line: &str| {
        let (ip, length) = line.split_once('/').expect(line);
        let first = bits(ip.parse().expect(line));
        let last = first + ((1 << (width - length.parse::<u32>().expect(line))) - 1);
        [first.saturating_sub(1), first, last, (last + 1).min(all)].map(|bits| address(bits, v6))
    };
    text.lines().flat_map(of_line).collect()
}

const LISTS: [(&str, ListKind, bool); 8] = [
    ("anonymous-proxy.v4", ListKind::Proxy, false),
    ("anonymous-proxy.v6", ListKind::Proxy, true),
    ("satellite-provider.v4", ListKind::Satellite, false),
    ("satellite-provider.v6", ListKind::Satellite, true),
    ("drop.v4", ListKind::Hostile, false),
    ("drop.v6", ListKind::Hostile, true),
    ("anycast.v4", ListKind::Anycast, false),
    ("anycast.v6", ListKind::Anycast, true),
];

/// What `{"kind", "flags"}` ought to be by the naive model.
fn want(lists: &[(ListKind, Naive)], ip: IpAddr, private: bool) -> Value {
    let is = |kind| lists.iter().any(|(k, naive)| *k == kind && naive.has(ip));
    let kind = if private {
        "private"
    } else if is(ListKind::Proxy) {
        "proxy"
    } else if is(ListKind::Satellite) {
        "satellite"
    } else {
        "unknown"
    };
    let flags: Vec<_> = [(ListKind::Anycast, "anycast"), (ListKind::Hostile, "hostile")]
        .into_iter()
        .filter(|(kind, _)| is(*kind))
        .map(|(_, name)| name)
        .collect();
    match (kind, flags.is_empty()) {
        ("unknown", true) => Value::Null,
        (_, true) => json!({ "kind": kind }),
        (_, false) => json!({ "kind": kind, "flags": flags }),
    }
}

#[test]
fn every_network_of_every_list_begins_and_ends_where_it_says() {
    let text =
        |name: &str| std::fs::read_to_string(support::data(&format!("network/flags/{name}.txt"))).expect("readable");
    let (mut naive, mut parts, mut ips) = (Vec::new(), Vec::new(), Vec::new());
    for (name, kind, v6) in LISTS {
        let text = text(name);
        let of_list = list_edges(&text, v6);
        let alone = [(kind, Naive::of(&text, v6))];
        let part = Arc::new(NetworkPart::list(kind, &format!("{name}.txt"), text.as_bytes()).expect(name));
        assert_eq!(part.len(), text.lines().count());
        assert!(part.version().starts_with(&format!("{name}-")), "{}", part.version());
        let network = Network::of(vec![part.clone()]);
        for ip in &of_list {
            assert_eq!(member(&network, *ip), want(&alone, *ip, is_private(*ip)), "{name}: {ip}");
        }
        naive.extend(alone);
        parts.push(part);
        ips.extend(of_list);
    }
    // Together: an address may be in several, and one kind is chosen.
    let network = Network::of(parts);
    let mut state = 3;
    ips.extend((0..20_000).map(|_| address((random(&mut state) as u32).into(), false)));
    ips.extend((0..20_000).map(|_| {
        let high = 0x2000 << 48 | random(&mut state) >> 3;
        address(u128::from(high) << 64 | u128::from(random(&mut state)), true)
    }));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for ip in ips {
        let got = member(&network, ip);
        assert_eq!(got, want(&naive, ip, is_private(ip)), "{ip}");
        *seen.entry(got.to_string()).or_default() += 1;
    }
    println!("{seen:#?}");
    assert!(seen.len() > 8, "the lists overlap, so that the order of kinds was asked");
}

/// The parts of the registries that the standard library knows, and the rest by hand.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || ip.is_multicast()
                || matches!((a, b, c), (0 | 240.., ..) | (100, 64..128, _) | (192, 0, 0) | (198, 18 | 19, _))
        }
        IpAddr::V6(ip) => {
            let s = ip.segments();
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || s[0] & 0xffc0 == 0xfec0
                || s[..2] == [0x2001, 0xdb8]
                || s[..3] == [0x2001, 2, 0]
                || (s[0] == 0x2001 && s[1] & 0xfff0 == 0x10)
                || (s[0] == 0x3fff && s[1] < 0x1000)
                || s[0] == 0x5f00
                || s[..4] == [0x100, 0, 0, 0]
                || s[..3] == [0x64, 0xff9b, 1]
        }
    }
}

#[test]
fn private_networks_are_known_without_any_file() {
    let network = network(Vec::new());
    let private = json!({"kind": "private"});
    for (first, last) in [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
        ("224.0.0.0", "255.255.255.255"),
        ("::", "::1"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("fe80::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ] {
        let (first, last): (IpAddr, IpAddr) = (first.parse().expect(first), last.parse().expect(last));
        assert_eq!(member(&network, first), private, "{first}");
        assert_eq!(member(&network, last), private, "{last}");
        let v6 = first.is_ipv6();
        for outside in [bits(first).checked_sub(1), bits(last).checked_add(1)].into_iter().flatten() {
            if v6 || outside <= u32::MAX.into() {
                let outside = address(outside, v6);
                assert_eq!(member(&network, outside) == private, is_private(outside), "{outside}");
            }
        }
    }
    assert_eq!(member(&network, "::ffff:10.1.2.3".parse().expect("an address")), private, "IPv4 in IPv6 clothes");
    assert_eq!(member(&network, "::ffff:8.8.8.8".parse().expect("an address")), Value::Null);
}

#[test]
fn one_kind_is_chosen_and_parts_are_joined() {
    let list = |kind, text: &str| NetworkPart::list(kind, "list.txt", text.as_bytes()).expect("a list");
    let asn = |text: &str| NetworkPart::asn("asn.csv", text.as_bytes().to_vec()).expect("a table");
    let network = network(vec![
        asn("8.0.0.0,8.0.0.255,1,First\n8.0.2.0,8.0.2.255,24940,Anything\n"),
        asn("8.0.0.0,8.0.1.255,2,Second\n2600::,2600::ff,3,\"OVH \"\"US\"\"\"\n"),
        list(ListKind::Hosting, "8.0.1.0/25\n"),
        list(ListKind::Hosting, "8.0.1.0/28\n9.9.9.9"),
        list(ListKind::Mobile, "8.0.1.0/26\n"),
        list(ListKind::Satellite, "8.0.1.0/27\n"),
        list(ListKind::Proxy, "8.0.1.0/28\n"),
        list(ListKind::Vpn, "8.0.1.0/29\n"),
        list(ListKind::Tor, "8.0.1.0/30\n"),
        list(ListKind::Hostile, "8.0.1.0/31\n8.0.2.0\n"),
        list(ListKind::Anycast, "8.0.1.0/32\n10.0.0.0/8\n"),
    ]);
    for (ip, want) in [
        ("8.0.0.1", json!({"asn": 1, "org": "First", "kind": "unknown"})),
        ("8.0.1.200", json!({"asn": 2, "org": "Second", "kind": "unknown"})),
        ("8.0.1.100", json!({"asn": 2, "org": "Second", "kind": "hosting"})),
        ("8.0.1.60", json!({"asn": 2, "org": "Second", "kind": "mobile"})),
        ("8.0.1.30", json!({"asn": 2, "org": "Second", "kind": "satellite"})),
        ("8.0.1.15", json!({"asn": 2, "org": "Second", "kind": "proxy"})),
        ("8.0.1.7", json!({"asn": 2, "org": "Second", "kind": "vpn"})),
        ("8.0.1.3", json!({"asn": 2, "org": "Second", "kind": "tor"})),
        ("8.0.1.1", json!({"asn": 2, "org": "Second", "kind": "tor", "flags": ["hostile"]})),
        ("8.0.1.0", json!({"asn": 2, "org": "Second", "kind": "tor", "flags": ["anycast", "hostile"]})),
        ("8.0.2.0", json!({"asn": 24940, "org": "Anything", "kind": "hosting", "flags": ["hostile"]})),
        ("9.9.9.9", json!({"kind": "hosting"})),
        ("9.9.9.8", Value::Null),
        ("10.0.0.1", json!({"kind": "private", "flags": ["anycast"]})),
        ("2600::1", json!({"asn": 3, "org": "OVH \"US\"", "kind": "hosting"})),
        ("2600::100", Value::Null),
    ] {
        assert_eq!(member(&network, ip.parse().expect(ip)), want, "{ip}");
    }
    let versions: Vec<_> = network.versions().map(|v| v.rsplit_once('-').expect("a hash").0.to_owned()).collect();
    assert_eq!(versions[..3], ["asn", "asn", "list"]);
}

#[test]
fn an_mmdb_file_answers_what_it_was_made_of() {
    let bytes = |folder: &str, name: &str| {
        std::fs::read(support::data(&format!("geo/maxmind-testdb/{folder}/{name}"))).expect("readable")
    };
    for (name, asns) in [("GeoLite2-ASN-Test", 720), ("GeoIP2-ISP-Test", 2_109)] {
        let part = NetworkPart::asn(&format!("{name}.mmdb"), bytes("test-data", &format!("{name}.mmdb"))).expect(name);
        assert!(part.version().starts_with(&format!("{name}-20")), "{}", part.version());
        let network = network(vec![part]);
        let source: Vec<BTreeMap<String, Value>> =
            serde_json::from_slice(&bytes("source-data", &format!("{name}.json"))).expect("JSON");
        assert_eq!(source.len(), asns, "{name}");
        for (of, record) in source.iter().flatten() {
            let first: IpAddr = of.split('/').next().and_then(|ip| ip.parse().ok()).expect(of);
            // The JSON of this one has IPv4 as it lies in a tree of IPv6.
            let in_v6 = u32::try_from(bits(first)).map(|v4| IpAddr::V4(v4.into())).unwrap_or(first);
            let got = member(&network, in_v6);
            assert_eq!(got["asn"], record["autonomous_system_number"], "{name} {of}");
            let organisation = record.get("autonomous_system_organization");
            assert_eq!(got.get("org"), organisation, "{name} {of}");
        }
    }
    // A good database of something else.
    let said = NetworkPart::asn("city.mmdb", bytes("test-data", "GeoIP2-City-Test.mmdb")).err().expect("refused");
    assert_eq!(
        said.to_string(),
        "city.mmdb has no networks in it (its type is \"GeoIP2-City\"); `network.asn` needs an ASN database"
    );
}

#[test]
fn what_is_no_table_is_refused_and_harms_nobody() {
    for path in support::files("geo/maxmind-testdb/bad-data", ".mmdb") {
        let bytes = std::fs::read(&path).expect("readable");
        assert!(NetworkPart::asn("bad.mmdb", bytes).is_err(), "{}", path.display());
    }
    // A good one cut at every length, and with every byte spoiled.
    let good = std::fs::read(support::data("geo/maxmind-testdb/test-data/GeoLite2-ASN-Test.mmdb")).expect("readable");
    for len in 0..good.len() {
        assert!(NetworkPart::asn("cut.mmdb", good[..len].to_vec()).is_err(), "cut at {len}");
    }
    for at in 0..good.len() {
        for spoil in [0x00, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = spoil;
            if let Ok(part) = NetworkPart::asn("spoiled.mmdb", bytes) {
                let network = network(vec![part]);
                member(&network, "1.128.0.0".parse().expect("an address"));
            }
        }
    }
    // Bytes of no kind.
    let mut state = 11;
    for n in 0..2_000 {
        let bytes: Vec<u8> =
            (0..n % 97).map(|_| b"0123456789.:,/\"#\n \xffAS"[(random(&mut state) >> 40) as usize % 21]).collect();
        let _ = NetworkPart::asn("junk", bytes.clone());
        let _ = NetworkPart::list(ListKind::Proxy, "junk", &bytes);
    }
}

#[test]
fn the_table_of_hosters_names_the_systems_it_means() {
    let network = network(vec![NetworkPart::asn("asn-ipv4.csv", asn_csv().into_bytes()).expect("a table")]);
    let log = std::fs::read_to_string(support::data("weblogs/apache_logs")).expect("readable");
    let ips: BTreeSet<IpAddr> =
        log.lines().filter_map(|line| line.split(' ').next().and_then(|ip| ip.parse().ok())).collect();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for ip in &ips {
        let member = member(&network, *ip);
        *kinds.entry(member["kind"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
    }
    println!("of {} addresses of the web log: {kinds:?}", ips.len());
    for (ip, asn, kind) in [
        ("3.5.140.2", 16509, "hosting"),  // Amazon
        ("5.9.0.1", 24940, "hosting"),    // Hetzner
        ("51.254.0.1", 16276, "hosting"), // OVH
        ("24.0.0.1", 7922, "unknown"),    // Comcast
        ("1.1.1.1", 13335, "unknown"),    // Cloudflare: people come from there too
    ] {
        let member = member(&network, ip.parse().expect(ip));
        assert_eq!((&member["asn"], &member["kind"]), (&json!(asn), &json!(kind)), "{ip}: {member}");
    }
    assert!(kinds["hosting"] > 200 && kinds["unknown"] > 1_000, "{kinds:?}");
}
