//! Lists of networks, each of one kind: whose networks they are, or what is said of them.

use std::net::IpAddr;

use super::{RANGES_MAX, ends};
use crate::error::LookupError;
use crate::lines;

/// What a list says of its networks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ListKind {
    /// Machines in data centres.
    Hosting,
    /// Proxies that hide who uses them.
    Proxy,
    /// Exits of VPN services.
    Vpn,
    /// Exits of the Tor network.
    Tor,
    /// Gateways of mobile carriers: one address, many people.
    Mobile,
    /// Satellite providers: the place is the ground station's.
    Satellite,
    /// Networks that nothing good comes from.
    Hostile,
    /// Networks announced from many places: the place of such an address means little.
    Anycast,
}

impl ListKind {
    /// Every kind, with its name in configuration.
    pub const NAMED: [(ListKind, &'static str); 8] = [
        (ListKind::Hosting, "hosting"),
        (ListKind::Proxy, "proxy"),
        (ListKind::Vpn, "vpn"),
        (ListKind::Tor, "tor"),
        (ListKind::Mobile, "mobile"),
        (ListKind::Satellite, "satellite"),
        (ListKind::Hostile, "hostile"),
        (ListKind::Anycast, "anycast"),
    ];

    pub fn named(name: &str) -> Option<ListKind> {
        ListKind::NAMED.iter().find(|(_, n)| *n == name).map(|(kind, _)| *kind)
    }

    pub fn name(self) -> &'static str {
        ListKind::NAMED.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// The networks of one file, as they were given.
pub(super) struct List {
    pub(super) kind: ListKind,
    /// First and last address of each.
    pub(super) networks: Vec<(IpAddr, IpAddr)>,
    pub(super) version: String,
}

impl List {
    /// A network (`192.0.2.0/24`) or an address a line; what follows `#` or `;` is a comment. A list may be empty.
    pub(super) fn read(kind: ListKind, name: &str, bytes: &[u8]) -> Result<List, LookupError> {
        let mut networks = Vec::new();
        lines::each(name, bytes, |_, line| {
            let text = line.split(['#', ';']).next().unwrap_or_default().trim();
            if !text.is_empty() {
                networks.push(network(text)?);
            }
            if networks.len() > RANGES_MAX {
                return Err("the file has more than 2 million networks");
            }
            Ok(())
        })?;
        Ok(List { kind, networks, version: crate::version(name, bytes) })
    }
}

/// First and last address of a network or an address.
pub(super) fn network(text: &str) -> Result<(IpAddr, IpAddr), &'static str> {
    const WHAT: &str = "a line is one network (192.0.2.0/24, 2001:db8::/32) or one address";
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => {
            let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
            (ip, Some(prefix.parse().ok().filter(|_| digits).ok_or(WHAT)?))
        }
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| WHAT)?;
    let prefix = prefix.unwrap_or(if ip.is_ipv4() { 32 } else { 128 });
    match ip.to_canonical() {
        // An IPv4 network in IPv6 clothes.
        v4 @ IpAddr::V4(_) if ip.is_ipv6() && prefix >= 96 => ends(v4, prefix - 96),
        _ => ends(ip, prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_as_people_write_them() {
        for (text, want) in [
            ("192.0.2.0/24", Some(("192.0.2.0", "192.0.2.255"))),
            ("192.0.2.7", Some(("192.0.2.7", "192.0.2.7"))),
            ("0.0.0.0/0", Some(("0.0.0.0", "255.255.255.255"))),
            ("255.255.255.255/32", Some(("255.255.255.255", "255.255.255.255"))),
            ("2001:db8::/32", Some(("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"))),
            ("::/0", Some(("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))),
            ("2001:db8::1", Some(("2001:db8::1", "2001:db8::1"))),
            ("::ffff:192.0.2.0/120", Some(("192.0.2.0", "192.0.2.255"))),
            ("::ffff:192.0.2.1", Some(("192.0.2.1", "192.0.2.1"))),
            ("192.0.2.1/24", None),
            ("2001:db8::1/32", None),
            ("192.0.2.0/33", None),
            ("192.0.2.0/+8", None),
            ("192.0.2.0/", None),
            ("192.0.2.0/24/8", None),
            ("192.0.2/24", None),
            ("2001:db8::/129", None),
            ("example.com", None),
            ("192.0.2.0-192.0.2.255", None),
        ] {
            let want = want.map(|(first, last)| (first.parse().expect(first), last.parse().expect(last)));
            assert_eq!(network(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn comments_and_bad_lines() {
        let list =
            List::read(ListKind::Hostile, "drop.txt", b"# all of it\n192.0.2.0/24 ; SBL1\n\n192.0.2.0 # again\n");
        assert_eq!(list.expect("a list").networks.len(), 2);
        let said =
            List::read(ListKind::Hostile, "drop.txt", b"192.0.2.0/24\n192.0.2.1/24\n").err().expect("bad").to_string();
        assert_eq!(said, "drop.txt, line 2: the address has bits beyond the length of its prefix");
        for (kind, name) in ListKind::NAMED {
            assert_eq!((ListKind::named(name), kind.name()), (Some(kind), name));
        }
    }
}
