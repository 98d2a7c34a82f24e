//! One event as bytes. What changes with every send stands first and has a fixed width, so that it can be written over
//! in place:
//!
//! ```text
//! {"messageId":"0123456789abcdef-000000000000042","timestamp":"2026-11-22T19:33:00.123456Z","sentAt":"...","type":...
//!  ^14, 32 bytes: run, number                     ^61, 27 bytes                              ^100, 27 bytes
//! ```

mod page;
mod properties;

use event::Micros;
use event::json::write_number;

use crate::id::{EventId, digits, hex};
use crate::population::Population;
use crate::rng::{mix2, pick};
use crate::session::{Action, Happening};
use crate::world::entry::ENTRIES;
use crate::world::{Catalogue, Platform, World};

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

impl EventId {
    /// The identity of a rendered event, from its fixed place.
    pub fn of(event: &[u8]) -> Option<EventId> {
        (event.starts_with(HEAD)).then(|| EventId::parse(event.get(ID_AT..ID_AT + EventId::LEN)?))?
    }
}

/// Writes another number into a rendered event.
pub fn stamp_number(event: &mut [u8], number: u64) {
    digits(number, &mut event[ID_AT + 17..ID_AT + EventId::LEN]);
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

/// Events are filled up to 80 % to 120 % of these. Some browsers' events have more to say than that, so that theirs come
/// to 1,210 bytes in the mean, and, with those of servers, all to 1,200.
const CLIENT_BYTES: u64 = 1090;
const SERVER_BYTES: u64 = 780;

/// Renders events.
pub struct Renderer<'a> {
    pub(crate) seed: u64,
    pub(crate) world: &'a World,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) population: &'a Population,
    /// The page of the event at hand.
    page: &'a page::Written,
}

/// What a renderer uses again from event to event.
#[derive(Default)]
pub struct Scratch(page::Written);

impl<'a> Renderer<'a> {
    pub(crate) fn new(
        seed: u64,
        (world, catalogue, population): (&'a World, &'a Catalogue, &'a Population),
        h: &Happening,
        scratch: &'a mut Scratch,
    ) -> Renderer<'a> {
        if !h.action.is_server() {
            scratch.0.of(h, catalogue);
        }
        Renderer { seed, world, catalogue, population, page: &scratch.0 }
    }

    /// Appends one event, a JSON object without white space between its tokens.
    pub(crate) fn write(&self, h: &Happening, id: EventId, time: Micros, sent_at: Micros, out: &mut Vec<u8>) {
        let begin = out.len();
        put(out, HEAD);
        put(out, &id.text());
        put(out, TIMESTAMP);
        put(out, &time_text(time));
        put(out, SENT_AT);
        if sent_at == time {
            out.extend_from_within(begin + TIME_AT..begin + TIME_AT + TIME_LEN);
        } else {
            put(out, &time_text(sent_at));
        }
        let server = h.action.is_server();
        match h.action {
            Action::Viewed => {
                put(out, b"\",\"type\":\"page\",\"name\":\"");
                put(out, h.page.name().as_bytes());
            }
            Action::Identified => put(out, b"\",\"type\":\"identify"),
            action => {
                put(out, b"\",\"type\":\"track\",\"event\":\"");
                put(out, action.name().as_bytes());
            }
        }
        if !server {
            put(out, b"\",\"anonymousId\":\"");
            h.client.device.write(out);
        }
        if server || h.signed_in {
            put(out, b"\",\"userId\":\"");
            h.client.user.write(out);
        }
        put(out, if h.action == Action::Identified { b"\",\"traits\":{" } else { b"\",\"properties\":{" });
        properties::write(self, h, out);
        put(out, b"},\"context\":{");
        if server {
            self.server_context(h, out)
        } else {
            self.client_context(h, out)
        }
        self.fill(h, begin, out);
        put(out, b"}}");
    }

    fn client_context(&self, h: &Happening, out: &mut Vec<u8>) {
        let c = &h.client;
        let agent = self.world.agents.agent(c.agent);
        put(out, b"\"ip\":\"");
        c.address.write(out);
        put(out, b"\",\"userAgent\":\"");
        put(out, agent.text.as_bytes());
        out.push(b'"');
        if !agent.hints.is_empty() {
            put(out, b",\"userAgentData\":");
            put(out, agent.hints.as_bytes());
        }
        put(out, b",\"locale\":\"");
        put(out, if c.english { b"en-US" } else { c.country().locale.as_bytes() });
        put(out, b"\",\"timezone\":\"");
        put(out, if c.role.is_bot() { b"UTC" } else { c.country().zone.as_bytes() });
        put(out, b"\",\"library\":{\"name\":\"analytics.js\",\"version\":\"npm:next-1.81.1\"},\"page\":{\"path\":\"");
        put(out, self.page.path());
        put(out, b"\",\"referrer\":\"");
        page::write_referrer(h, self.catalogue, out);
        put(out, b"\",\"search\":\"");
        put(out, self.page.search());
        put(out, b"\",\"title\":\"");
        page::write_title(h, self.catalogue, out);
        put(out, b"\",\"url\":\"");
        put(out, page::SITE);
        put(out, &self.page.text);
        put(out, b"\"}");
        if let Some(entry) = h.entry.map(|e| &ENTRIES[usize::from(e)])
            && entry.has_campaign()
        {
            for (label, text) in [
                (&b",\"campaign\":{\"source\":\""[..], entry.source),
                (b"\",\"medium\":\"", entry.medium),
                (b"\",\"name\":\"", page::campaign(h)),
            ] {
                put(out, label);
                put(out, text.as_bytes());
            }
            if entry.medium == "cpc" {
                put(out, b"\",\"term\":\"");
                out.extend(page::term(h).bytes().map(|b| if b == b'+' { b' ' } else { b }));
            }
            put(out, b"\"}");
        }
        let (width, height, density) = c.platform.screens()[usize::from(c.screen)];
        put(out, b",\"screen\":{\"width\":");
        write_number(u64::from(width), out);
        put(out, b",\"height\":");
        write_number(u64::from(height), out);
        put(out, b",\"density\":");
        write_number(u64::from(density), out);
        put(out, b"}");
        if !matches!(c.platform, Platform::Crawler | Platform::Headless) {
            put(out, b",\"consent\":{\"categoryPreferences\":{\"analytics\":true,\"advertising\":");
            put(out, if mix2(c.device.0, 7) % 10 < 6 { b"true}}" } else { b"false}}" });
        }
    }

    /// Servers know no browser. What the person's address was they pass on where it matters to somebody, else now and
    /// then.
    fn server_context(&self, h: &Happening, out: &mut Vec<u8>) {
        if matches!(h.action, Action::SignIn | Action::SignUp) || h.salt & 3 == 0 {
            put(out, b"\"ip\":\"");
            h.client.address.write(out);
            put(out, b"\",");
        }
        put(out, b"\"library\":{\"name\":\"analytics-node\",\"version\":\"2.3.0\"},\"app\":{\"name\":\"");
        put(
            out,
            match h.action {
                Action::SignIn | Action::SignUp => b"accounts",
                Action::PayoutSent | Action::PaymentAuthorized | Action::PaymentDeclined => b"payments",
                Action::MessageDelivered => b"messages",
                Action::ListingPublished => b"listings",
                _ => b"orders",
            },
        );
        put(out, b"\",\"version\":\"2026.11.3\"},\"traceId\":\"");
        let mut trace = [0; 32];
        hex(h.salt, &mut trace[..16]);
        hex(mix2(h.salt, 9), &mut trace[16..]);
        put(out, &trace);
        out.push(b'"');
    }

    /// Appends the experiments somebody takes part in: as many as make the event as long as it is to be.
    fn fill(&self, h: &Happening, begin: usize, out: &mut Vec<u8>) {
        let mean = if h.action.is_server() { SERVER_BYTES } else { CLIENT_BYTES };
        let target = begin + (mean - mean / 5 + (h.salt >> 24) % (mean * 2 / 5)) as usize;
        const ENTRY: usize = 36;
        let own = mix2(h.client.device.0, 8);
        let mut n = 0;
        while out.len() + ENTRY / 2 < target {
            put(out, if n == 0 { b",\"experiments\":[" } else { b"," });
            put(out, b"{\"id\":\"");
            put(out, pick(&EXPERIMENTS, own % 1024 + n).as_bytes());
            put(out, b"\",\"variant\":\"");
            out.push(pick(b"abc", own >> (n % 60)));
            put(out, b"\"}");
            n += 1;
        }
        if n > 0 {
            out.push(b']');
        }
    }
}

const EXPERIMENTS: [&str; 24] = [
    "rank-v3",
    "search-typo",
    "card-size",
    "free-ship",
    "photo-zoom",
    "one-tap-pay",
    "fee-label",
    "similar-v2",
    "inbox-tabs",
    "sign-in-key",
    "map-view",
    "dark-mode",
    "new-footer",
    "price-hint",
    "seller-badge",
    "bundle-off",
    "push-ask",
    "filter-bar",
    "home-feed",
    "saved-alert",
    "refund-flow",
    "video-list",
    "size-guide",
    "fast-list",
];

pub(crate) fn put(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
}
