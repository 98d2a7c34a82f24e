//! An address as people write it: with a port, in brackets, as the first of a forwarded list, as IPv4 mapped in IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Reads an address; the first of a comma-separated list (`X-Forwarded-For`), without port, brackets and zone; an IPv4
/// address that is mapped in IPv6 is that IPv4 address.
pub fn parse(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text.split(',').next()?.trim();
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Some(v4.into());
    }
    let text = match text.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        // One colon alone separates a port; more of them are an IPv6 address.
        None if text.bytes().filter(|b| *b == b':').count() == 1 => text.split(':').next()?,
        None => text,
    };
    let text = text.split('%').next()?;
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        return Some(v4.into());
    }
    let v6 = text.parse::<Ipv6Addr>().ok()?;
    Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4))
}

/// The bytes under which an address is asked for: 4 or 16.
pub fn key(ip: &IpAddr) -> ([u8; 16], usize) {
    let mut out = [0; 16];
    match ip {
        IpAddr::V4(v4) => {
            out[..4].copy_from_slice(&v4.octets());
            (out, 4)
        }
        IpAddr::V6(v6) => (v6.octets(), 16),
    }
}

/// The address of such bytes.
pub fn from_key(key: &[u8]) -> Option<IpAddr> {
    match key.len() {
        4 => <[u8; 4]>::try_from(key).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(key).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_write_them() {
        for (text, ip) in [
            ("1.2.3.4", Some("1.2.3.4")),
            (" 1.2.3.4 ", Some("1.2.3.4")),
            ("1.2.3.4:5678", Some("1.2.3.4")),
            ("1.2.3.4, 5.6.7.8", Some("1.2.3.4")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("::ffff:1.2.3.4", Some("1.2.3.4")),
            ("1.2.3", None),
            ("1.2.3.256", None),
            ("-", None),
            ("", None),
            ("[", None),
            ("unknown", None),
        ] {
            assert_eq!(parse(text.as_bytes()), ip.map(|i| i.parse().expect("an address")), "{text}");
        }
        for ip in ["1.2.3.4", "2001:db8::1"] {
            let ip: IpAddr = ip.parse().expect("an address");
            let (bytes, len) = key(&ip);
            assert_eq!(from_key(&bytes[..len]), Some(ip));
        }
    }
}
