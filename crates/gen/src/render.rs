//! One event as bytes. What changes with every send stands first and has a fixed width, so that it can be written over
//! in place:
//!
//! ```text
//! {"messageId":"0123456789abcdef-000000000000042","timestamp":"2026-11-22T19:33:00.123456Z","sentAt":"...","type":...
//!  ^14, 32 bytes: run, number                     ^61, 27 bytes                              ^100, 27 bytes
//! ```

use event::Micros;
use event::json::write_number;

use crate::rng::{Rng, mix2};
use crate::world::{self};

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
        let mut text = [b'0'; EventId::LEN];
        for (i, b) in text[..16].iter_mut().enumerate() {
            *b = b"0123456789abcdef"[(self.run >> (60 - 4 * i) & 15) as usize];
        }
        text[16] = b'-';
        digits(&mut text[17..], self.number);
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

    /// The identity of a rendered event, from its fixed place.
    pub fn of(event: &[u8]) -> Option<EventId> {
        (event.starts_with(HEAD)).then(|| EventId::parse(event.get(ID_AT..ID_AT + EventId::LEN)?))?
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text()))
    }
}

const HEAD: &[u8] = b"{\"messageId\":\"";
const TIMESTAMP: &[u8] = b"\",\"timestamp\":\"";
const SENT_AT: &[u8] = b"\",\"sentAt\":\"";
/// Bytes of a time as [`Micros::write_rfc3339`] writes it.
pub const TIME_LEN: usize = 27;
/// Where the identity begins in an event.
pub const ID_AT: usize = HEAD.len();
/// Where `timestamp` begins in an event.
pub const TIME_AT: usize = ID_AT + EventId::LEN + TIMESTAMP.len();
/// Where `sentAt` begins in an event.
pub const SENT_AT_AT: usize = TIME_AT + TIME_LEN + SENT_AT.len();

/// Writes another number into a rendered event.
pub fn stamp_number(event: &mut [u8], number: u64) {
    digits(&mut event[ID_AT + 17..ID_AT + EventId::LEN], number);
}

/// Writes another `timestamp` into a rendered event.
pub fn stamp_time(event: &mut [u8], time: Micros) {
    event[TIME_AT..TIME_AT + TIME_LEN].copy_from_slice(&time_text(time));
}

/// Writes another `sentAt` into a rendered event, as an SDK does when it tries again.
pub fn stamp_sent_at(event: &mut [u8], time: Micros) {
    event[SENT_AT_AT..SENT_AT_AT + TIME_LEN].copy_from_slice(&time_text(time));
}

pub(crate) fn time_text(time: Micros) -> [u8; TIME_LEN] {
    let mut text = Vec::with_capacity(TIME_LEN);
    time.write_rfc3339(&mut text);
    text.try_into().unwrap_or(*b"1970-01-01T00:00:00.000000Z")
}

fn digits(out: &mut [u8], mut n: u64) {
    for b in out.iter_mut().rev() {
        *b = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// What an event is rendered from.
pub struct Facts<'a> {
    pub seed: u64,
    pub id: EventId,
    pub time: Micros,
    pub visitor: u64,
    pub agent: &'a str,
    /// Minor units of the currency.
    pub amount: u64,
    /// The event is filled up with words to about this many bytes.
    pub bytes: usize,
}

/// Appends one event, a JSON object without white space between its tokens.
pub fn event(facts: &Facts<'_>, rng: &mut Rng, out: &mut Vec<u8>) {
    let begin = out.len();
    let time = time_text(facts.time);
    let habit = mix2(facts.seed, facts.visitor);
    let of = |list: usize, salt: u32| (habit.rotate_right(salt) % list as u64) as usize;
    // The small numbers come far more often: a product of two uniform draws leans to 0.
    let action = world::ACTIONS[(rng.below(world::ACTIONS.len() as u64 * 1000) * rng.below(1000) / 1_000_000) as usize];
    let listing = rng.below(200_000);
    let category = world::CATEGORIES[(listing % world::CATEGORIES.len() as u64) as usize];
    let (width, height, density) = world::SCREENS[of(world::SCREENS.len(), 9)];

    let put = |out: &mut Vec<u8>, text: &[u8]| out.extend_from_slice(text);
    put(out, HEAD);
    put(out, &facts.id.text());
    put(out, TIMESTAMP);
    put(out, &time);
    put(out, SENT_AT);
    put(out, &time);
    put(out, b"\",\"type\":\"");
    put(out, action.0.as_bytes());
    put(out, b"\",\"event\":\"");
    put(out, action.1.as_bytes());
    put(out, b"\",\"anonymousId\":\"");
    visitor_text(facts.visitor, out);
    if habit >> 60 < 6 {
        put(out, b"\",\"userId\":\"u-");
        write_number(facts.visitor, out);
    }
    put(out, b"\",\"context\":{\"ip\":\"");
    // Home, and now and then one of three other places.
    let place = if rng.below(8) == 0 { rng.between(1, 4) } else { 0 };
    world::address(facts.seed, mix2(facts.visitor, place), out);
    put(out, b"\",\"userAgent\":\"");
    put(out, facts.agent.as_bytes());
    put(out, b"\",\"locale\":\"");
    put(out, world::LOCALES[of(world::LOCALES.len(), 17)].as_bytes());
    put(out, b"\",\"timezone\":\"");
    put(out, world::ZONES[of(world::ZONES.len(), 23)].as_bytes());
    put(out, b"\",\"library\":{\"name\":\"analytics.js\",\"version\":\"next-1.");
    write_number(40 + habit % 40, out);
    put(out, b".0\"},\"page\":{\"url\":\"https://shop.example.com/");
    page_path(category, listing, out);
    let campaign = rng.below(12) == 0;
    if campaign {
        put(out, b"?utm_source=google&utm_medium=cpc&utm_campaign=");
        put(out, rng.pick(world::CAMPAIGNS).as_bytes());
        put(out, b"&gclid=");
        write_number(rng.next_u64(), out);
    }
    put(out, b"\",\"path\":\"/");
    page_path(category, listing, out);
    put(out, b"\",\"referrer\":\"");
    put(out, rng.pick(world::REFERRERS).as_bytes());
    put(out, b"\",\"title\":\"");
    words(rng, 24, out);
    put(out, b"\"},\"screen\":{\"width\":");
    write_number(u64::from(width), out);
    put(out, b",\"height\":");
    write_number(u64::from(height), out);
    put(out, b",\"density\":");
    write_number(u64::from(density), out);
    put(out, b"}},\"properties\":{\"listing\":{\"id\":\"l-");
    write_number(listing, out);
    put(out, b"\",\"category\":\"");
    put(out, category.as_bytes());
    put(out, b"\",\"seller\":\"s-");
    write_number(listing % 20_011, out);
    put(out, b"\"},\"amount\":");
    write_number(facts.amount, out);
    put(out, b",\"currency\":\"");
    put(out, world::CURRENCIES[of(world::CURRENCIES.len(), 31)].as_bytes());
    put(out, b"\",\"position\":");
    write_number(rng.below(60), out);
    put(out, b",\"filters\":[\"price\",\"distance\"],\"in_stock\":true,\"note\":\"");
    const TAIL: &[u8] = b"\"}}";
    let have = out.len() - begin + TAIL.len();
    words(rng, facts.bytes.saturating_sub(have), out);
    put(out, TAIL);
}

/// Appends the visitor's name, 12 bytes.
pub fn visitor_text(visitor: u64, out: &mut Vec<u8>) {
    let mut text = *b"v-0000000000";
    digits(&mut text[2..], visitor);
    out.extend_from_slice(&text);
}

fn page_path(category: &str, listing: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(category.as_bytes());
    out.extend_from_slice(b"/listing-");
    write_number(listing, out);
}

/// Appends words up to `bytes`, ending within one word of it.
fn words(rng: &mut Rng, bytes: usize, out: &mut Vec<u8>) {
    let end = out.len() + bytes;
    let mut bits = 0u64;
    while out.len() < end {
        if bits < 1 << 16 {
            bits = rng.next_u64() | 1 << 63;
        }
        let word = world::WORDS[(bits & 0xffff) as usize % world::WORDS.len()].as_bytes();
        bits >>= 16;
        out.extend_from_slice(word);
        out.push(b' ');
    }
}
