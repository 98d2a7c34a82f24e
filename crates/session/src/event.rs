//! What the stage reads of a record of `enriched`.

use std::borrow::Cow;

use event::{Field, Flags, HeaderRef, Micros, Source};
use wire::json::text;
use wire::json::walk::Members;

use crate::config::kinds::{Inside, Items, Value};
use crate::facts::{
    CAMPAIGN_MEDIUM, CAMPAIGN_NAME, CAMPAIGN_SOURCE, Facts, ITEMS_PER_EVENT, Marks, PAGE, PAGE_MAX, REFERRER,
    REFERRER_MAX, REFERRER_MEDIUM, REFERRER_SOURCE, TEXT_MAX, Text, USER_MAX, cut,
};
use crate::scan::Scan;
use crate::stage::Sessions;

/// A record of `enriched`. Nothing is read before it is needed.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    header: HeaderRef<'a>,
    value: &'a [u8],
    at: Source,
}

impl<'a> Event<'a> {
    /// `value`: the event's JSON as the enrich stage writes it. `at`: where the record is (topic, partition, offset).
    pub fn new(header: HeaderRef<'a>, value: &'a [u8], at: Source) -> Event<'a> {
        Event { header, value, at }
    }

    /// The time it counts at: its own, or that of its receipt if it is flagged `future`.
    pub fn time(&self) -> Micros {
        if self.header.flags().has(Flags::FUTURE) { self.header.received_time() } else { self.header.event_time() }
    }

    pub fn place(&self) -> Source {
        self.at
    }

    pub(crate) fn id(&self) -> u128 {
        self.header.id_hash()
    }

    /// A field's text from the event, else from its batch, connection or source; empty where there is none.
    pub(crate) fn text(&self, field: Field) -> Text<'a> {
        match self.header.json(field, self.value).and_then(text) {
            Some(text) => text,
            None => Cow::Borrowed(self.header.inherited_value(field).unwrap_or_default()),
        }
    }

    /// All that a session keeps of it.
    pub(crate) fn facts(&self, sessions: &Sessions) -> Facts<'a> {
        let mut facts = Facts {
            at: self.time(),
            id: self.id(),
            kind: cut(self.text(Field::TYPE), TEXT_MAX),
            user: cut(self.text(Field::USER), USER_MAX),
            ..Facts::default()
        };
        facts.origin[PAGE] = cut(self.text(Field::URL), PAGE_MAX);
        facts.origin[REFERRER] = cut(self.text(Field::REFERRER), REFERRER_MAX);
        if sessions.config.client_session {
            let session = self.text(Field::SESSION);
            facts.client_session = if session.is_empty() { 0 } else { event::key::hash64(&session).max(1) };
        }
        enriched(&mut Scan::of(self.enriched(sessions)), &mut facts);
        if let Some(role) = sessions.types.of(self.header.type_hash()) {
            facts.marks.0 |= role.marks;
            let mut inside = Inside::new(self.value);
            role.items.iter().for_each(|items| take_items(items, &mut inside, &mut facts));
            facts.value = role.value.as_ref().and_then(|value| amount(value, &mut inside));
        }
        facts
    }

    /// The member that enrich spliced in; empty where there is none. Its beginning is nowhere else in most events, since
    /// quotes within texts are escaped. Where it is, the member is the one that ends at the event's last brace.
    fn enriched(&self, sessions: &Sessions) -> &'a [u8] {
        let value = self.value.trim_ascii_end();
        let inside = value.strip_suffix(b"}").unwrap_or(value).trim_ascii_end();
        let mut found =
            sessions.opening.find_iter(inside).map(|at| &inside[at + sessions.opening.needle().len() - 1..]);
        match (found.next(), found.next()) {
            (None, _) => &[],
            (Some(object), None) => object,
            (Some(first), Some(second)) => {
                [first, second].into_iter().chain(found).find(|object| is_whole(object)).unwrap_or_default()
            }
        }
    }
}

/// Whether a text that begins with an object ends with it.
fn is_whole(object: &[u8]) -> bool {
    let end = Members::of(object).last().map_or(1, |last| {
        // Where the last member ends in the object that it is borrowed from.
        last.value.as_ptr() as usize - object.as_ptr() as usize + last.value.len()
    });
    object[end..].trim_ascii() == b"}"
}

fn take_items<'a>(items: &Items, inside: &mut Inside<'a>, facts: &mut Facts<'a>) {
    if let Some((path, wanted)) = &items.only
        && inside.first(path).and_then(text).as_deref() != Some(wanted)
    {
        return;
    }
    for path in &items.ids {
        let before = facts.items.len();
        inside.each(path, &mut |json| {
            if let Some(id) = text(json).filter(|id| !id.is_empty()) {
                facts.items.push((items.what, cut(id, TEXT_MAX)));
            }
            facts.items.len() < before + ITEMS_PER_EVENT
        });
        if facts.items.len() > before {
            return;
        }
    }
}

fn amount<'a>(value: &Value, inside: &mut Inside<'a>) -> Option<(Text<'a>, i64)> {
    let number = |json: &'a [u8]| text(json).and_then(|t| millionths(&t));
    let amount = value.amounts.iter().find_map(|path| inside.first(path).and_then(number))?;
    let currency = inside.first(&value.currency).and_then(text).unwrap_or_default();
    Some((cut(currency, TEXT_MAX), amount))
}

/// What is kept of `enriched`.
fn enriched<'a>(scan: &mut Scan<'a>, facts: &mut Facts<'a>) {
    while let Some(name) = scan.name() {
        match name {
            b"geo" => {
                let [country, city] = texts([b"country", b"city"], scan);
                if !country.is_empty() || !city.is_empty() {
                    facts.place = Cow::Owned([&country[..], &city[..]].join(&0));
                }
            }
            b"device" => [facts.device] = texts([b"kind"], scan),
            b"network" => [facts.network] = texts([b"kind"], scan),
            b"bot" => {
                let [is_bot, name] = texts([b"is_bot", b"name"], scan);
                if *is_bot == *b"true" {
                    facts.marks.0 |= Marks::BOT;
                    facts.bot = name;
                }
            }
            b"referrer" => {
                let [medium, source] = texts([b"medium", b"source"], scan);
                (facts.origin[REFERRER_MEDIUM], facts.origin[REFERRER_SOURCE]) = (medium, source);
            }
            b"campaign" => {
                let [source, medium, name] = texts([b"source", b"medium", b"name"], scan);
                facts.origin[CAMPAIGN_SOURCE] = source;
                facts.origin[CAMPAIGN_MEDIUM] = medium;
                facts.origin[CAMPAIGN_NAME] = name;
            }
            // What enrichers and lookups wrote comes before it.
            b"visitor" => return,
            _ => scan.skip(),
        }
    }
}

/// The texts of some members of the object that begins here; empty for those that are not there.
fn texts<'a, const N: usize>(names: [&[u8]; N], scan: &mut Scan<'a>) -> [Text<'a>; N] {
    let mut all: [Text<'a>; N] = std::array::from_fn(|_| Text::default());
    if scan.enter() {
        while let Some(name) = scan.name() {
            match names.iter().position(|wanted| *wanted == name) {
                Some(n) => all[n] = cut(scan.text(), TEXT_MAX),
                None => scan.skip(),
            }
        }
    }
    all
}

/// A decimal number in millionths, exactly, so that sums do not depend on their order; digits beyond are cut. `None` for
/// what is no number, or is too large.
fn millionths(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if digits.iter().any(|b| matches!(b, b'e' | b'E')) {
        let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        let scaled = number * 1e6;
        return (scaled.abs() < 9e18).then_some(scaled as i64);
    }
    let (whole, fraction) = match digits.iter().position(|b| *b == b'.') {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let mut amount = 0i64;
    for n in 0..whole.len() + 6 {
        let digit = if n < whole.len() { whole[n] } else { *fraction.get(n - whole.len()).unwrap_or(&b'0') };
        amount = amount.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    Some(if negative { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, want) in [
            ("12.5", Some(12_500_000)),
            ("-0.1", Some(-100_000)),
            ("7", Some(7_000_000)),
            ("0.12345678", Some(123_456)),
            ("1e2", Some(100_000_000)),
            ("12,5", None),
            ("", None),
            (".5", None),
            ("free", None),
            ("99999999999999999999", None),
            ("1e300", None),
        ] {
            assert_eq!(millionths(text.as_bytes()), want, "{text}");
        }
    }
}
