//! What the stage reads of a record of `enriched`.

use std::borrow::Cow;

use event::{Field, Flags, HeaderRef, Micros, Source};
use wire::json::walk::Members;
use wire::json::{Kind, kind, text};

use crate::config::kinds::{Items, Value};
use crate::facts::{
    CAMPAIGN_MEDIUM, CAMPAIGN_NAME, CAMPAIGN_SOURCE, Facts, ITEMS_PER_EVENT, Marks, PAGE, PAGE_MAX, REFERRER,
    REFERRER_MAX, REFERRER_MEDIUM, REFERRER_SOURCE, TEXT_MAX, Text, USER_MAX, cut,
};
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
        for member in Members::of(self.enriched(sessions)) {
            enriched_member(member.raw_name, member.value, &mut facts);
        }
        if let Some(role) = sessions.types.of(self.header.type_hash()) {
            facts.marks.0 |= role.marks;
            role.items.iter().for_each(|items| self.items(items, &mut facts));
            facts.value = role.value.as_ref().and_then(|value| self.amount(value));
        }
        facts
    }

    /// The member that enrich spliced in, which is the last one: what begins like it and ends at the event's last brace.
    /// Empty where there is none.
    fn enriched(&self, sessions: &Sessions) -> &'a [u8] {
        let value = self.value.trim_ascii_end();
        let inside = value.strip_suffix(b"}").unwrap_or(value).trim_ascii_end();
        for at in sessions.opening.find_iter(inside) {
            let object = &inside[at + sessions.opening.needle().len() - 1..];
            let end = Members::of(object).last().map_or(1, |last| {
                // Where the last member ends in the object that it is borrowed from.
                last.value.as_ptr() as usize - object.as_ptr() as usize + last.value.len()
            });
            if object[end..].trim_ascii() == b"}" {
                return object;
            }
        }
        &[]
    }

    fn items(&self, items: &Items, facts: &mut Facts<'a>) {
        if let Some((path, wanted)) = &items.only
            && path.first(self.value).and_then(text).as_deref() != Some(wanted)
        {
            return;
        }
        for path in &items.ids {
            let before = facts.items.len();
            path.each(self.value, &mut |json| {
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

    fn amount(&self, value: &Value) -> Option<(Text<'a>, i64)> {
        let number = |json: &'a [u8]| text(json).and_then(|t| millionths(&t));
        let amount = value.amounts.iter().find_map(|path| path.first(self.value).and_then(number))?;
        let currency = value.currency.first(self.value).and_then(text).unwrap_or_default();
        Some((cut(currency, TEXT_MAX), amount))
    }
}

/// What is kept of one member of `enriched`.
fn enriched_member<'a>(name: &[u8], value: &'a [u8], facts: &mut Facts<'a>) {
    let short = |json: &'a [u8]| cut(text(json).unwrap_or_default(), TEXT_MAX);
    match name {
        b"geo" => {
            let (mut country, mut city): (Text<'a>, Text<'a>) = Default::default();
            for m in Members::of(value) {
                match m.raw_name {
                    b"country" => country = short(m.value),
                    b"city" => city = short(m.value),
                    _ => {}
                }
            }
            if !country.is_empty() || !city.is_empty() {
                facts.place = Cow::Owned([&country[..], &city[..]].join(&0));
            }
        }
        b"device" => facts.device = member(value, b"kind").map(short).unwrap_or_default(),
        b"network" => facts.network = member(value, b"kind").map(short).unwrap_or_default(),
        b"bot" if member(value, b"is_bot") == Some(b"true") => {
            facts.marks.0 |= Marks::BOT;
            facts.bot = member(value, b"name").map(short).unwrap_or_default();
        }
        b"referrer" => {
            for m in Members::of(value) {
                match m.raw_name {
                    b"medium" => facts.origin[REFERRER_MEDIUM] = short(m.value),
                    b"source" => facts.origin[REFERRER_SOURCE] = short(m.value),
                    _ => {}
                }
            }
        }
        b"campaign" => {
            for m in Members::of(value) {
                match m.raw_name {
                    b"source" => facts.origin[CAMPAIGN_SOURCE] = short(m.value),
                    b"medium" => facts.origin[CAMPAIGN_MEDIUM] = short(m.value),
                    b"name" => facts.origin[CAMPAIGN_NAME] = short(m.value),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn member<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    debug_assert!(kind(object) != Kind::Array);
    Members::of(object).find(|m| m.raw_name == name).map(|m| m.value)
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
