//! The names things have: events, visitors, users, people, listings. Each is made of a number, so that nothing has to be
//! kept.

use event::json::write_number;

use crate::rng::mix;

/// An event's identity: which run made it, and its number there. 32 bytes as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    pub run: u64,
    /// Below 10^15.
    pub number: u64,
}

impl EventId {
    pub const LEN: usize = 32;

    pub fn text(self) -> [u8; EventId::LEN] {
        let mut text = [b'-'; EventId::LEN];
        hex(self.run, &mut text[..16]);
        digits(self.number, &mut text[17..]);
        text
    }

    /// `None` for a text that [`EventId::text`] did not make.
    pub fn parse(text: &[u8]) -> Option<EventId> {
        let text: &[u8; EventId::LEN] = text.try_into().ok()?;
        let mut run = 0u64;
        for b in &text[..16] {
            run = run << 4 | u64::from(char::from(*b).to_digit(16)?);
        }
        let mut number = 0u64;
        for b in &text[17..] {
            number = number * 10 + u64::from(b.is_ascii_digit().then(|| b - b'0')?);
        }
        (text[16] == b'-').then_some(EventId { run, number })
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

/// Who an event's visitor is to whoever receives it: a device by its anonymous id, or, for events from servers, which
/// have none, a user. A number, so that a ledger can keep it; the lowest bit says which.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Visitor(pub u64);

impl Visitor {
    pub fn device(hash: u64) -> Visitor {
        Visitor(hash & !1)
    }

    pub fn user(hash: u64) -> Visitor {
        Visitor(hash | 1)
    }

    pub fn is_user(self) -> bool {
        self.0 & 1 == 1
    }

    /// Appends the text in `anonymousId` (a UUID of version 4, as the SDKs make) or in `userId`.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.is_user() {
            let mut text = *b"u-0000000000000000";
            hex(self.0, &mut text[2..]);
            out.extend_from_slice(&text);
            return;
        }
        let (high, low) = (mix(self.0), mix(self.0 ^ 0x0000_6465_7669_6365));
        let mut text = *b"00000000-0000-0000-0000-000000000000";
        hex(high >> 32, &mut text[..8]);
        hex(high >> 16, &mut text[9..13]);
        hex(high & 0x0fff | 0x4000, &mut text[14..18]);
        hex(low >> 48 & 0x3fff | 0x8000, &mut text[19..23]);
        hex(low, &mut text[24..]);
        out.extend_from_slice(&text);
    }

    /// Appends the key under which such an event is kept when its visitor is not linked: `user:<user>` for a user.
    pub fn write_key(self, out: &mut Vec<u8>) {
        if self.is_user() {
            out.extend_from_slice(b"user:");
        }
        self.write(out);
    }
}

/// Appends `l-` and the number of a listing.
pub fn write_listing(listing: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"l-");
    write_number(listing, out);
}

/// Writes the last digits of a number, as many as there is room for.
pub(crate) fn digits(mut n: u64, out: &mut [u8]) {
    for b in out.iter_mut().rev() {
        *b = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Writes the last hexadecimal digits of a number, as many as there is room for.
pub(crate) fn hex(mut n: u64, out: &mut [u8]) {
    for b in out.iter_mut().rev() {
        *b = b"0123456789abcdef"[(n & 15) as usize];
        n >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back() {
        for id in [EventId { run: 0, number: 0 }, EventId { run: u64::MAX - 9, number: 999_999_999_999_999 }] {
            assert_eq!(EventId::parse(&id.text()), Some(id));
        }
        assert_eq!(EventId::parse(b"0123456789abcdef_000000000000042"), None);
    }

    #[test]
    fn visitors_have_the_shapes_that_sdks_give_them() {
        let text = |v: Visitor| {
            let mut out = Vec::new();
            v.write_key(&mut out);
            String::from_utf8(out).expect("text")
        };
        let device = text(Visitor::device(77));
        assert_eq!(device.len(), 36);
        assert_eq!(
            (device.as_bytes()[14], device.as_bytes()[8], device.as_bytes()[23]),
            (b'4', b'-', b'-'),
            "{device}"
        );
        assert!(matches!(device.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{device}");
        assert_eq!(text(Visitor::user(0x1234)), "user:u-0000000000001235");
        assert_ne!(device, text(Visitor::device(79)));
    }
}
