//! What is said about sessions, as JSON.

use event::json::{write_number, write_string};
use event::{Field, Micros};

use crate::event::Event;
use crate::facets::FacetKind;
use crate::facts::{
    CAMPAIGN_MEDIUM, CAMPAIGN_NAME, CAMPAIGN_SOURCE, PAGE, REFERRER, REFERRER_MEDIUM, REFERRER_SOURCE, cut,
};
use crate::session::Session;
use crate::stage::Clocks;

/// An update is at most this long, in bytes: its last page is cut to fit. Only a visitor's id of more than about 90 bytes
/// makes it longer, since an id that is cut is none.
pub(crate) const UPDATE_MAX: usize = 300;

/// An object being written: members are separated by what comes before them.
struct Object<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Object<'o> {
    fn new(kind: &str, out: &'o mut Vec<u8>) -> Object<'o> {
        out.extend_from_slice(br#"{"v":1,"kind":""#);
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        Object { out }
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn text(&mut self, name: &str, text: &[u8]) {
        write_string(text, self.name(name));
    }

    /// `null` for a text that is empty.
    fn optional(&mut self, name: &str, text: &[u8]) {
        optional(text, self.name(name));
    }

    fn number(&mut self, name: &str, n: u64) {
        write_number(n, self.name(name));
    }

    fn time(&mut self, name: &str, at: Micros) {
        write_time(at, self.name(name));
    }

    fn flag(&mut self, name: &str, yes: bool) {
        self.name(name).extend_from_slice(if yes { b"true" } else { b"false" });
    }

    fn id(&mut self, name: &str, id: u128) {
        write_id(id, self.name(name));
    }

    fn seconds(&mut self, name: &str, micros: i64) {
        write_millionths(micros, self.name(name));
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// `{"v":1,"kind":"update",...}`: ids, start, end, counts, last page.
pub(crate) fn update(visitor: &[u8], s: &Session<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(UPDATE_MAX);
    let mut o = Object::new("update", &mut out);
    o.id("session_id", s.id);
    o.text("visitor", visitor);
    o.number("revision", u64::from(s.finals));
    o.time("start", s.start);
    o.time("end", s.end);
    o.number("events", u64::from(s.events));
    o.number("views", u64::from(s.views));
    let without_page = o.out.len();
    let mut room = UPDATE_MAX.saturating_sub(without_page + r#","last_page":""}"#.len());
    // Escapes make a text longer, so it is cut until it fits.
    while !s.last_page.is_empty() && room > 0 {
        let page = cut(std::borrow::Cow::Borrowed(&s.last_page), room);
        o.text("last_page", &page);
        let over = (o.out.len() + 1).saturating_sub(UPDATE_MAX);
        if over == 0 {
            break;
        }
        o.out.truncate(without_page);
        room = room.min(page.len()).saturating_sub(over);
    }
    o.close();
    out
}

/// `{"v":1,"kind":"final",...}`: all that a session has.
pub(crate) fn session_final(visitor: &[u8], s: &Session<'_>, gap_us: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(1_536);
    let mut o = Object::new("final", &mut out);
    o.id("session_id", s.id);
    o.text("visitor", visitor);
    o.text("closed_by", s.cut.map_or("gap", |c| c.name()).as_bytes());
    all(s, gap_us, &mut o);
    o.close();
    out
}

/// `{"v":1,"kind":"merge",...}`: `survivor` took in `absorbed`, which is thereby retracted.
pub(crate) fn merge(visitor: &[u8], s: &Session<'_>, absorbed: u128) -> Vec<u8> {
    let mut out = Vec::with_capacity(320);
    let mut o = Object::new("merge", &mut out);
    o.id("session_id", s.id);
    o.text("visitor", visitor);
    o.id("survivor", s.id);
    o.id("absorbed", absorbed);
    o.time("start", s.start);
    o.time("end", s.end);
    o.number("revision", u64::from(s.finals));
    o.close();
    out
}

/// `{"v":1,"kind":"late",...}`: an event that no session takes, and where it is.
pub(crate) fn late(visitor: &[u8], event: &Event<'_>, watermark: Micros) -> Vec<u8> {
    let (at, place) = (event.time(), event.place());
    let mut out = Vec::with_capacity(400);
    let mut o = Object::new("late", &mut out);
    o.id("id", event.id());
    o.text("visitor", visitor);
    o.text("type", &event.text(Field::TYPE));
    o.time("time", at);
    o.time("watermark", watermark);
    o.seconds("lateness_s", watermark.0 - at.0);
    o.name("missed").extend_from_slice(br#"["sessions"]"#);
    o.name("at").extend_from_slice(br#"{"topic":"enriched","partition":"#);
    write_number(u64::from(place.partition), o.out);
    o.number("offset", place.offset);
    o.out.push(b'}');
    o.close();
    out
}

/// `{"v":1,"kind":"open",...}`: the open sessions of a visitor. `age_s` of a session is log time since its last event.
pub(crate) fn view(visitor: &[u8], open: &[&Session<'_>], gap_us: i64, clocks: &Clocks, out: &mut Vec<u8>) {
    let mut o = Object::new("open", out);
    o.text("visitor", visitor);
    match clocks.watermark {
        Micros::MIN => o.name("watermark").extend_from_slice(b"null"),
        watermark => o.time("watermark", watermark),
    }
    match clocks.log_time {
        Micros::MIN => o.name("log_time").extend_from_slice(b"null"),
        at => o.time("log_time", at),
    }
    o.name("sessions").push(b'[');
    for (n, s) in open.iter().enumerate() {
        if n > 0 {
            o.out.push(b',');
        }
        o.out.extend_from_slice(br#"{"session_id":"#);
        write_id(s.id, o.out);
        let mut one = Object { out: o.out };
        one.seconds("age_s", clocks.log_time.0.saturating_sub(s.end.0).max(0));
        one.flag("provisional", s.provisional > 0);
        one.number("provisional_events", u64::from(s.provisional));
        all(s, gap_us, &mut one);
        one.close();
    }
    o.out.push(b']');
    o.close();
}

/// The members that finals and the open view share.
fn all(s: &Session<'_>, gap_us: i64, o: &mut Object<'_>) {
    o.number("revision", u64::from(s.finals));
    o.number("session_index", u64::from(s.index));
    match s.previous {
        0 => o.name("previous_session_id").extend_from_slice(b"null"),
        id => o.id("previous_session_id", id),
    }
    o.optional("user", &s.user);
    o.time("start", s.start);
    o.time("end", s.end);
    o.time("expires_at", Micros(s.end.0 + gap_us));
    o.seconds("duration_s", s.end.0 - s.start.0);
    o.flag("engaged", s.is_engaged());
    for (name, n) in [
        ("events", s.events),
        ("views", s.views),
        ("key_events", s.key_events),
        ("late_joined", s.late_joined),
        ("early", s.early),
    ] {
        o.number(name, u64::from(n));
    }
    types(s, o);
    entry(s, o);
    o.optional("last_page", &s.last_page);
    places(s, o);
    list(s, "devices", FacetKind::Device, o);
    list(s, "networks", FacetKind::Network, o);
    o.name("bot").extend_from_slice(br#"{"is_bot":"#);
    o.out.extend_from_slice(if s.facets.has(FacetKind::Bot) { b"true" } else { b"false" });
    list(s, "names", FacetKind::Bot, o);
    o.out.push(b'}');
    o.name("items").push(b'{');
    for kind in [FacetKind::Viewed, FacetKind::Liked, FacetKind::Carted, FacetKind::Bought] {
        list(s, kind.name(), kind, o);
    }
    o.out.push(b'}');
    values(s, o);
    o.name("cut").push(b'[');
    let over = s.facets.over().map(FacetKind::name).chain(s.values_over.then_some("value"));
    over.for_each(|name| element(o.out, |out| write_string(name.as_bytes(), out)));
    o.out.push(b']');
}

fn types(s: &Session<'_>, o: &mut Object<'_>) {
    o.name("types").push(b'{');
    for (name, count) in &s.types {
        element(o.out, |out| {
            write_string(name, out);
            out.push(b':');
            write_number(u64::from(*count), out);
        });
    }
    o.out.push(b'}');
    o.number("other_types", u64::from(s.other_types));
}

fn entry(s: &Session<'_>, o: &mut Object<'_>) {
    let write = |members: &[(&str, usize)], out: &mut Vec<u8>| {
        for (name, n) in members {
            element(out, |out| {
                write_string(name.as_bytes(), out);
                out.push(b':');
                optional(&s.origin[*n], out);
            });
        }
    };
    o.name("entry").extend_from_slice(br#"{"page":"#);
    optional(&s.origin[PAGE], o.out);
    o.name("referrer").push(b'{');
    write(&[("url", REFERRER), ("medium", REFERRER_MEDIUM), ("source", REFERRER_SOURCE)], o.out);
    o.out.push(b'}');
    o.name("campaign").push(b'{');
    write(&[("source", CAMPAIGN_SOURCE), ("medium", CAMPAIGN_MEDIUM), ("name", CAMPAIGN_NAME)], o.out);
    o.out.extend_from_slice(b"}}");
}

fn places(s: &Session<'_>, o: &mut Object<'_>) {
    o.name("places").push(b'[');
    for place in s.facets.of(FacetKind::Place) {
        let middle = place.iter().position(|b| *b == 0).unwrap_or(place.len());
        element(o.out, |out| {
            out.extend_from_slice(br#"{"country":"#);
            optional(&place[..middle], out);
            out.extend_from_slice(br#","city":"#);
            optional(place.get(middle + 1..).unwrap_or_default(), out);
            out.push(b'}');
        });
    }
    o.out.push(b']');
}

/// A list of texts as a member, also as the first one of an object.
fn list(s: &Session<'_>, name: &str, kind: FacetKind, o: &mut Object<'_>) {
    element(o.out, |out| write_string(name.as_bytes(), out));
    o.out.extend_from_slice(b":[");
    s.facets.of(kind).into_iter().filter(|t| !t.is_empty()).for_each(|text| element(o.out, |o| write_string(text, o)));
    o.out.push(b']');
}

fn values(s: &Session<'_>, o: &mut Object<'_>) {
    o.name("value").push(b'[');
    for (currency, amount) in &s.values {
        element(o.out, |out| {
            out.extend_from_slice(br#"{"currency":"#);
            optional(currency, out);
            out.extend_from_slice(br#","amount":"#);
            write_millionths(*amount, out);
            out.push(b'}');
        });
    }
    o.out.push(b']');
}

/// Writes an element or member with the comma it needs.
fn element(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if !matches!(out.last(), Some(b'[' | b'{')) {
        out.push(b',');
    }
    write(out);
}

fn optional(text: &[u8], out: &mut Vec<u8>) {
    match text {
        b"" => out.extend_from_slice(b"null"),
        text => write_string(text, out),
    }
}

fn write_time(at: Micros, out: &mut Vec<u8>) {
    out.push(b'"');
    at.write_rfc3339(out);
    out.push(b'"');
}

fn write_id(id: u128, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.extend((0..32).rev().map(|n| DIGITS[(id >> (4 * n)) as usize & 15]));
    out.push(b'"');
}

/// Writes `12.5` for 12,500,000.
fn write_millionths(n: i64, out: &mut Vec<u8>) {
    if n < 0 {
        out.push(b'-');
    }
    let n = n.unsigned_abs();
    write_number(n / 1_000_000, out);
    let mut fraction = n % 1_000_000;
    if fraction == 0 {
        return;
    }
    out.push(b'.');
    let mut power = 100_000;
    while fraction > 0 {
        out.push(b'0' + (fraction / power) as u8);
        fraction %= power;
        power /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids() {
        for (n, want) in [(0, "0"), (12_500_000, "12.5"), (-1, "-0.000001"), (i64::MIN, "-9223372036854.775808")] {
            let mut out = Vec::new();
            write_millionths(n, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
        let mut out = Vec::new();
        write_id(0xab << 120 | 1, &mut out);
        assert_eq!(out, b"\"ab000000000000000000000000000001\"");
    }

    #[test]
    fn an_update_is_slim_whatever_the_page() {
        for visitor in ["v", "0195f1c2-7a31-7c1e-9b7a-2f1d3c4b5a69", &"u".repeat(80)] {
            for page in ["", "/", &"a".repeat(200), &"é".repeat(100), &"\"".repeat(200), &"\u{1}".repeat(200)] {
                let s = Session {
                    last_page: page.as_bytes().into(),
                    end: Micros::LATEST,
                    events: u32::MAX,
                    views: u32::MAX,
                    finals: 1_000,
                    ..Session::default()
                };
                let json = update(visitor.as_bytes(), &s);
                assert!(json.len() <= UPDATE_MAX, "{}: {}", json.len(), String::from_utf8_lossy(&json));
                let read: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
                assert_eq!(read["visitor"], visitor);
                assert!(page.starts_with(read["last_page"].as_str().unwrap_or_default()));
                assert!(page.is_empty() || visitor.len() == 80 || read["last_page"] != "", "a page that fits is told");
            }
        }
    }
}
