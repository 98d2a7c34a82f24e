//! Addresses, and the networks they are of.

use event::json::write_number;

use super::ranges::{NetworkKind, Row};
use crate::rng::{mix2, scale};

/// An IPv4 address (`high` is 0) or an IPv6 address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address {
    high: u64,
    low: u64,
}

impl Address {
    pub fn v4(address: u32) -> Address {
        Address { high: 0, low: u64::from(address) }
    }

    pub fn is_v6(self) -> bool {
        self.high != 0
    }

    /// Appends its usual text; of IPv6 the long form without leading zeros.
    pub fn write(self, out: &mut Vec<u8>) {
        if !self.is_v6() {
            let octets = (self.low as u32).to_be_bytes();
            for (i, octet) in octets.into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                write_number(u64::from(octet), out);
            }
            return;
        }
        for i in 0..8u32 {
            if i > 0 {
                out.push(b':');
            }
            let half = if i < 4 { self.high } else { self.low };
            let group = (half >> (48 - 16 * (i % 4))) as u16;
            let digits = (16 - group.leading_zeros()).div_ceil(4).max(1);
            for d in (0..digits).rev() {
                out.push(b"0123456789abcdef"[usize::from(group >> (4 * d) & 15)]);
            }
        }
    }
}

/// An IPv4 range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    first: u32,
    bits: u8,
}

impl Range {
    /// `None` for a text that is no `a.b.c.d/n`.
    pub fn parse(text: &str) -> Option<Range> {
        let (address, bits) = text.split_once('/')?;
        let first: std::net::Ipv4Addr = address.parse().ok()?;
        Some(Range { first: u32::from(first), bits: bits.parse().ok().filter(|b| *b <= 30)? })
    }

    /// The address a hash gives; never the first or last of 256, which people do not have.
    pub fn address(self, hash: u64) -> Address {
        let host = (hash as u32) & (u32::MAX >> self.bits);
        let last = (hash >> 32) as u32 % 254 + 1;
        let keep = if self.bits >= 24 { host } else { host & !0xff | last };
        Address::v4(self.first | keep)
    }

    pub fn contains(self, address: Address) -> bool {
        !address.is_v6() && (address.low as u32 ^ self.first) >> (32 - u32::from(self.bits)) == 0
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", std::net::Ipv4Addr::from(self.first), self.bits)
    }
}

/// A provider's network.
#[derive(Clone, Debug)]
pub struct Network {
    pub org: &'static str,
    pub kind: NetworkKind,
    pub v4: Vec<Range>,
    /// The first 32 bits.
    pub v6: Option<u32>,
}

/// Addresses that all customers of a mobile provider share (carrier-grade NAT), and that all of a VPN's do.
const MOBILE_SHARED: u64 = 4096;
const VPN_SHARED: u64 = 512;

impl Network {
    pub(super) fn of(row: &Row) -> Network {
        let (org, kind, v4, v6) = *row;
        let v6 = v6.split_once(':').map(|(high, low)| {
            let part = |text| u32::from_str_radix(text, 16).expect("a table's range");
            part(high) << 16 | part(low)
        });
        let v4 = v4.split(' ').map(|r| Range::parse(r).expect("a table's range")).collect();
        Network { org, kind, v4, v6 }
    }

    /// The address of a line, from a hash of whose it is; of IPv6 the household is of `line`, the rest of `device`.
    pub fn address(&self, line: u64, device: u64) -> Address {
        if let Some(prefix) = self.v6
            && line % 100 < V6_OF_100
        {
            return Address { high: u64::from(prefix) << 32 | line >> 32, low: device };
        }
        let line = match self.kind {
            NetworkKind::Mobile => mix2(0x6d, line % MOBILE_SHARED),
            NetworkKind::Vpn => mix2(0x76, line % VPN_SHARED),
            NetworkKind::Fixed | NetworkKind::Hosting => line,
        };
        self.v4[scale(line << 32, self.v4.len() as u64) as usize].address(line)
    }
}

/// Of a hundred lines of a provider that has IPv6.
const V6_OF_100: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(address: Address) -> String {
        let mut out = Vec::new();
        address.write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn addresses_are_in_their_ranges_and_read_as_addresses() {
        let row = ("Somebody", NetworkKind::Fixed, "73.64.0.0/12 216.244.66.192/26", "2601:646");
        let network = Network::of(&row);
        let mut v6 = 0;
        for n in 0..2000u64 {
            let address = network.address(mix2(1, n), mix2(2, n));
            let parsed: std::net::IpAddr = text(address).parse().expect("an address");
            match parsed {
                std::net::IpAddr::V4(v4) => {
                    assert!(network.v4.iter().any(|r| r.contains(address)), "{v4}");
                    assert!(network.v4[1].contains(address) || !matches!(v4.octets()[3], 0 | 255), "{v4}");
                }
                std::net::IpAddr::V6(v6_address) => {
                    assert_eq!(v6_address.segments()[..2], [0x2601, 0x0646]);
                    v6 += 1;
                }
            }
        }
        assert!((700..900).contains(&v6), "{v6} of 2000 are IPv6");
    }

    #[test]
    fn customers_of_a_mobile_provider_share_addresses() {
        let network = Network::of(&("Carrier", NetworkKind::Mobile, "97.200.0.0/14", ""));
        let seen: std::collections::BTreeSet<_> = (0..50_000).map(|n| network.address(mix2(3, n), 0)).collect();
        assert!((4000..=4096).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn a_range_is_read_as_people_write_it() {
        assert_eq!(Range::parse("50.176.0.0/12").map(|r| r.to_string()).as_deref(), Some("50.176.0.0/12"));
        for wrong in ["50.176.0.0", "50.176/12", "50.176.0.0/33", ""] {
            assert_eq!(Range::parse(wrong), None, "{wrong}");
        }
    }
}
