//! What is known of the network an address is in: whose it is, what kind of network, and what is said of it. Ranges of
//! autonomous systems and lists of networks, each a file of the operator's; our own table of hosting organisations.

mod asn;
mod hosting;
mod list;

use std::net::IpAddr;
use std::sync::Arc;

use flow::Status;

use crate::error::LookupError;
use crate::ranges::{Given, Ranges};
use crate::reload::{Answer, Data, Extent, Reloaded};

use asn::AsnTable;
use list::List;

pub use list::ListKind;

/// Ranges or networks of one file: twice what all of the internet is announced in (IPv4 and IPv6 together). While a file
/// of that size is read it takes 200 MB.
const RANGES_MAX: usize = 2_000_000;

/// What stands in `kind`, and the bit by which it is kept. The first in this order that is known of an address is its kind.
const KINDS: [(u32, &str); 7] = [
    // Not on the internet at all: nothing else can be true of it.
    (PRIVATE, "private"),
    // An exit of Tor is also found among proxies and in data centres, a VPN's among proxies and in data centres, and a
    // proxy in data centres: the narrower word comes first.
    (bit(ListKind::Tor), "tor"),
    (bit(ListKind::Vpn), "vpn"),
    (bit(ListKind::Proxy), "proxy"),
    // People, whatever else their carrier does on the same network.
    (bit(ListKind::Satellite), "satellite"),
    (bit(ListKind::Mobile), "mobile"),
    // Last, for it is the broadest: our own table speaks of whole organisations.
    (bit(ListKind::Hosting), "hosting"),
];

/// What stands in `flags`, in this order.
const FLAGS: [(u32, &str); 2] = [(bit(ListKind::Anycast), "anycast"), (bit(ListKind::Hostile), "hostile")];

const PRIVATE: u32 = 1 << 31;

const fn bit(kind: ListKind) -> u32 {
    1 << kind as u32
}

/// Networks that are not on the public internet: the IANA registries of special-purpose addresses (RFC 6890 and its
/// updates), multicast and reserved space, and private use among them.
const NOT_PUBLIC: [&str; 27] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10", // carrier-grade NAT
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24", // documentation
    "192.168.0.0/16",
    "198.18.0.0/15",   // benchmarks
    "198.51.100.0/24", // documentation
    "203.0.113.0/24",  // documentation
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "::1/128",
    "64:ff9b:1::/48", // local-use translation
    "100::/64",
    "2001:2::/48",   // benchmarks
    "2001:db8::/32", // documentation
    "3fff::/20",     // documentation
    "5f00::/16",     // segment routing
    "fc00::/7",
    "fe80::/10",
    "fec0::/10", // site-local, given up
    "ff00::/8",
    "2001:10::/28", // ORCHID, given up
];

/// One file, read. Immutable, shared by `Arc`: when one file changes the others stay as they are.
pub struct NetworkPart(Part);

enum Part {
    Asn(AsnTable),
    List(List),
}

impl NetworkPart {
    /// Ranges with the number and organisation of their autonomous system: CSV (`first,last,asn,organisation`; plain or gzip;
    /// IPv4 and IPv6) or MMDB. `name` is the file's, for texts and versions. Where ranges overlap the narrowest decides.
    ///
    /// # Errors
    /// A line that is none, a damaged database, one without systems, or a file without ranges: nothing of it is used.
    pub fn asn(name: &str, bytes: Vec<u8>) -> Result<NetworkPart, LookupError> {
        AsnTable::read(name, bytes).map(|table| NetworkPart(Part::Asn(table)))
    }

    /// A list of networks of one kind: a network or an address a line, comments after `#`; plain or gzip. It may be empty.
    ///
    /// # Errors
    /// A line that is neither: nothing of the file is used.
    pub fn list(kind: ListKind, name: &str, bytes: &[u8]) -> Result<NetworkPart, LookupError> {
        List::read(kind, name, bytes).map(|list| NetworkPart(Part::List(list)))
    }

    /// The file's name without its extensions, and a hash of it; of an MMDB file the day it was built.
    pub fn version(&self) -> &str {
        match &self.0 {
            Part::Asn(table) => table.version(),
            Part::List(list) => &list.version,
        }
    }

    /// Bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Part::Asn(table) => table.bytes(),
            Part::List(list) => size_of_val(&list.networks[..]),
        }
    }

    /// Ranges or networks: of ASN ranges those between them, which nobody announces, count too.
    pub fn len(&self) -> usize {
        match &self.0 {
            Part::Asn(table) => table.ranges(),
            Part::List(list) => list.networks.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All that is known of networks at one moment. Pin one for a batch, so that all its events see the same.
pub struct Network {
    parts: Vec<Arc<NetworkPart>>,
    /// The bits of all lists that an address is in.
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl Network {
    /// Joins parts. Of several with ASN ranges the first that knows an address decides; lists of one kind are one list. Takes
    /// milliseconds for lists of some ten thousand networks. Without parts it still knows private addresses.
    pub fn of(parts: Vec<Arc<NetworkPart>>) -> Network {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let mut add = |(first, last), value| match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                v4.push(Given { first: first.to_bits(), last: last.to_bits(), value });
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                v6.push(Given { first: first.to_bits(), last: last.to_bits(), value });
            }
            _ => unreachable!("both ends of a network are of one family"),
        };
        for network in NOT_PUBLIC {
            add(list::network(network).expect("a network"), PRIVATE);
        }
        for part in &parts {
            if let Part::List(list) = &part.0 {
                list.networks.iter().for_each(|network| add(*network, bit(list.kind)));
            }
        }
        Network { parts, v4: Ranges::union(v4), v6: Ranges::union(v6) }
    }

    /// Appends `{"asn":7922,"org":"COMCAST-7922","kind":"unknown","flags":["anycast","hostile"]}`, what is not known left
    /// out; false, and nothing, if nothing is known. An IPv4 address in IPv6 clothes (`::ffff:...`) is that IPv4 address.
    pub fn network(&self, ip: IpAddr, out: &mut Vec<u8>) -> bool {
        let ip = ip.to_canonical();
        let mut bits = match ip {
            IpAddr::V4(ip) => self.v4.at(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.at(ip.to_bits()),
        };
        let system = self.parts.iter().find_map(|part| match &part.0 {
            Part::Asn(table) => table.find(ip),
            Part::List(_) => None,
        });
        if system.is_none() && bits == 0 {
            return false;
        }
        out.push(b'{');
        if let Some(system) = system {
            out.extend_from_slice(system.json);
            out.push(b',');
            if system.hosting {
                bits |= bit(ListKind::Hosting);
            }
        }
        let kind = KINDS.iter().find(|(bit, _)| bits & bit != 0).map_or("unknown", |(_, name)| name);
        out.extend_from_slice(b"\"kind\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        let mut separator: &[u8] = b",\"flags\":[\"";
        for (_, name) in FLAGS.iter().filter(|(bit, _)| bits & bit != 0) {
            out.extend_from_slice(separator);
            out.extend_from_slice(name.as_bytes());
            separator = b"\",\"";
        }
        out.extend_from_slice(if separator == b"\",\"" { b"\"]}" } else { b"}" });
        true
    }

    /// The versions for `data_versions`, in the order of the parts.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| part.version())
    }

    /// Bytes of memory it holds, parts included.
    pub fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + self.parts.iter().map(|part| part.bytes()).sum::<usize>()
    }
}

/// The files of a configuration.
pub type NetworkSource = Reloaded<Network>;

/// What a file is read as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NetworkFile {
    /// See [`NetworkPart::asn`].
    Asn,
    /// See [`NetworkPart::list`].
    List(ListKind),
}

impl Data for Network {
    type Part = Arc<NetworkPart>;
    type Use = NetworkFile;
    /// Eight times the largest file of ranges there is.
    const FILE_MAX: u64 = 256 << 20;
    // A list that was cut between two lines is a list.
    const SETTLED: bool = true;

    /// Reads the whole file, at a start too: ranges are of use only when they are sorted.
    fn read(name: &str, bytes: Vec<u8>, of: &NetworkFile, _: Extent) -> Result<Arc<NetworkPart>, LookupError> {
        let part = match of {
            NetworkFile::Asn => NetworkPart::asn(name, bytes)?,
            NetworkFile::List(kind) => NetworkPart::list(*kind, name, &bytes)?,
        };
        Ok(Arc::new(part))
    }

    fn of(parts: Vec<Arc<NetworkPart>>) -> Network {
        Network::of(parts)
    }

    fn version(part: &Arc<NetworkPart>) -> &str {
        part.version()
    }
}

impl Answer for Network {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        match enrich::address::from_key(key) {
            // None of the files is good at present.
            Some(_) if self.parts.is_empty() => Status::Skipped,
            Some(ip) if self.network(ip, out) => Status::Ok,
            Some(_) => Status::Miss,
            None => Status::Error("bad_key"),
        }
    }

    fn versions(&self) -> Vec<&str> {
        Network::versions(self).collect()
    }
}

/// First and last address of a network.
fn ends(ip: IpAddr, prefix: u8) -> Result<(IpAddr, IpAddr), &'static str> {
    const LONG: &str = "the prefix is longer than the address";
    const BITS: &str = "the address has bits beyond the length of its prefix";
    // The bits behind the prefix; none of a whole address.
    match ip {
        IpAddr::V4(_) if prefix > 32 => Err(LONG),
        IpAddr::V6(_) if prefix > 128 => Err(LONG),
        IpAddr::V4(ip) => {
            let (first, rest) = (ip.to_bits(), u32::MAX.checked_shr(prefix.into()).unwrap_or(0));
            if first & rest != 0 { Err(BITS) } else { Ok((ip.into(), IpAddr::V4((first | rest).into()))) }
        }
        IpAddr::V6(ip) => {
            let (first, rest) = (ip.to_bits(), u128::MAX.checked_shr(prefix.into()).unwrap_or(0));
            if first & rest != 0 { Err(BITS) } else { Ok((ip.into(), IpAddr::V6((first | rest).into()))) }
        }
    }
}
