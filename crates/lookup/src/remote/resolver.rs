//! Names to addresses, and which of them may be asked. A template is the operator's, but names are answered by others:
//! without this, whoever answers for a name could have us ask our own neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Failure, Kind};

/// Which addresses may be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// Those of the public internet.
    Public,
    Anywhere,
}

/// The addresses of a host, a name or an address itself, that may be asked.
pub(super) async fn resolve(host: &str, port: u16, reach: Reach) -> Result<Vec<SocketAddr>, Failure> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<SocketAddr> =
        found.map_err(|_| Failure::new(Kind::Connection, format!("no address is known for {host}")))?.collect();
    let permitted: Vec<SocketAddr> =
        found.iter().copied().filter(|a| reach == Reach::Anywhere || is_public(a.ip())).collect();
    match (permitted.is_empty(), found.is_empty()) {
        (false, _) => Ok(permitted),
        (true, true) => Err(Failure::new(Kind::Connection, format!("no address is known for {host}"))),
        (true, false) => {
            let message = format!("{host} has private addresses only; name it in allow_private if that is meant");
            Err(Failure::new(Kind::Forbidden, message))
        }
    }
}

/// Anybody's to reach, by IANA's registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// An IPv6 address that carries an IPv4 one is as public as that one.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let v4 = |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        // Mapped, and translated (NAT64).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        // 6to4.
        [0x2002, high, low, ..] => v4(high, low),
        // Teredo and others that are protocols' own, and what documents use.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_in_all_their_forms() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().expect(private)), "{private}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2a00:1450::1", "2606:4700::1111"] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        for carried in ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"] {
            assert!(is_public(carried.parse().expect(carried)), "{carried}");
        }
    }
}
