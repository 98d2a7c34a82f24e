//! What a session keeps of an event. Also what is written for an event that waits: a few dozen bytes, not its JSON.

use std::borrow::Cow;

use event::Micros;

use crate::codec::{Reader, put_signed, put_text, put_varint};
use crate::config::ItemKind;

/// Texts that are not pages (types, users, items, places, campaigns) are cut here: names are shorter, and a text that
/// somebody makes long must not make every visitor's state long.
pub(crate) const TEXT_MAX: usize = 64;
/// Pages are cut here. Most have 40 to 90 bytes; what follows is mostly parameters.
pub(crate) const PAGE_MAX: usize = 200;
/// Referrers are cut here: their host matters most.
pub(crate) const REFERRER_MAX: usize = 100;
/// Users are cut here: two that agree as far are taken for one.
pub(crate) const USER_MAX: usize = 128;
/// Items taken from one event. An order of more is rare, and a session keeps no more anyway.
pub(crate) const ITEMS_PER_EVENT: usize = 20;

/// A text, borrowed wherever it can be. Empty: the event does not have it.
pub(crate) type Text<'a> = Cow<'a, [u8]>;

/// What an event is, beside its texts. Bits are stored: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks(pub u8);

impl Marks {
    /// A page or screen was seen.
    pub const VIEW: u8 = 1;
    pub const KEY: u8 = 1 << 1;
    /// It opens a session before itself.
    pub const STARTS: u8 = 1 << 2;
    /// It closes the session after itself.
    pub const ENDS: u8 = 1 << 3;
    pub const BOT: u8 = 1 << 4;
    /// It was applied before the watermark had passed it, because the buffer was full.
    pub const EARLY: u8 = 1 << 5;

    pub fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }
}

/// Where a visit came from and what it landed on.
pub(crate) const PAGE: usize = 0;
pub(crate) const REFERRER: usize = 1;
pub(crate) const REFERRER_MEDIUM: usize = 2;
pub(crate) const REFERRER_SOURCE: usize = 3;
pub(crate) const CAMPAIGN_SOURCE: usize = 4;
pub(crate) const CAMPAIGN_MEDIUM: usize = 5;
pub(crate) const CAMPAIGN_NAME: usize = 6;
pub(crate) type Origin<'a> = [Text<'a>; 7];

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facts<'a> {
    pub at: Micros,
    /// The event's id hash.
    pub id: u128,
    pub kind: Text<'a>,
    pub marks: Marks,
    pub origin: Origin<'a>,
    pub user: Text<'a>,
    /// Hash of the client's own session id; 0 for none.
    pub client_session: u64,
    /// Country and city, a zero byte between them.
    pub place: Text<'a>,
    pub device: Text<'a>,
    pub network: Text<'a>,
    pub bot: Text<'a>,
    pub items: Vec<(ItemKind, Text<'a>)>,
    /// Currency, and millionths of it.
    pub value: Option<(Text<'a>, i64)>,
}

impl<'a> Facts<'a> {
    /// Hash of the event's campaign; 0 for none.
    pub fn campaign(&self) -> u64 {
        let members = &self.origin[CAMPAIGN_SOURCE..=CAMPAIGN_NAME];
        if members.iter().all(|m| m.is_empty()) {
            return 0;
        }
        // Zero bytes cannot be in the texts' place, so that two members cannot trade bytes.
        event::key::hash64(&members.join(&0)).max(1)
    }

    /// Appends all but the time, which the buffer keeps beside it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let texts = self.texts();
        let there = texts.iter().enumerate().fold(0, |bits, (n, t)| bits | u64::from(!t.is_empty()) << n);
        let more = u64::from(self.client_session != 0) | u64::from(self.value.is_some()) << 1;
        out.extend_from_slice(&self.id.to_le_bytes());
        out.push(self.marks.0);
        put_varint(there << 2 | more, out);
        for text in texts.iter().filter(|t| !t.is_empty()) {
            put_text(text, out);
        }
        if self.client_session != 0 {
            out.extend_from_slice(&self.client_session.to_le_bytes());
        }
        if let Some((currency, amount)) = &self.value {
            put_text(currency, out);
            put_signed(*amount, out);
        }
        put_varint(self.items.len() as u64, out);
        for (kind, id) in &self.items {
            out.push(*kind as u8);
            put_text(id, out);
        }
    }

    pub fn decode(at: Micros, bytes: &'a [u8]) -> Option<Facts<'a>> {
        let mut r = Reader::new(bytes);
        let mut facts = Facts { at, id: r.u128()?, marks: Marks(r.byte()?), ..Facts::default() };
        let bits = r.varint()?;
        for (n, text) in facts.texts_mut().into_iter().enumerate() {
            if bits >> (n + 2) & 1 == 1 {
                *text = r.text()?;
            }
        }
        if bits & 1 == 1 {
            facts.client_session = r.u64()?;
        }
        if bits & 2 == 2 {
            facts.value = Some((r.text()?, r.signed()?));
        }
        for _ in 0..r.count()? {
            facts.items.push((ItemKind::of(r.byte()?)?, r.text()?));
        }
        Some(facts)
    }

    /// The same facts, borrowed from nothing.
    pub fn into_owned(mut self) -> Facts<'static> {
        let own = |text: Text<'a>| -> Text<'static> { Cow::Owned(text.into_owned()) };
        Facts {
            at: self.at,
            id: self.id,
            kind: own(self.kind),
            marks: self.marks,
            origin: self.origin.map(own),
            user: own(self.user),
            client_session: self.client_session,
            place: own(self.place),
            device: own(self.device),
            network: own(self.network),
            bot: own(self.bot),
            items: self.items.drain(..).map(|(kind, id)| (kind, own(id))).collect(),
            value: self.value.map(|(currency, amount)| (own(currency), amount)),
        }
    }

    fn texts(&self) -> [&Text<'a>; 13] {
        let [page, referrer, medium, source, c_source, c_medium, c_name] = &self.origin;
        let [kind, user, place, device, network, bot] =
            [&self.kind, &self.user, &self.place, &self.device, &self.network, &self.bot];
        [kind, user, page, place, device, network, referrer, medium, source, c_source, c_medium, c_name, bot]
    }

    fn texts_mut(&mut self) -> [&mut Text<'a>; 13] {
        let [page, referrer, medium, source, c_source, c_medium, c_name] = &mut self.origin;
        let [kind, user, place, device, network, bot] =
            [&mut self.kind, &mut self.user, &mut self.place, &mut self.device, &mut self.network, &mut self.bot];
        [kind, user, page, place, device, network, referrer, medium, source, c_source, c_medium, c_name, bot]
    }
}

/// The text, cut to at most `max` bytes between two characters.
pub(crate) fn cut(text: Text<'_>, max: usize) -> Text<'_> {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while end > 0 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    match text {
        Cow::Borrowed(b) => Cow::Borrowed(&b[..end]),
        Cow::Owned(mut o) => {
            o.truncate(end);
            Cow::Owned(o)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_reads_back() {
        let mut facts = Facts { at: Micros(5), id: 77, kind: b"page"[..].into(), ..Facts::default() };
        for filled in 0..14 {
            let mut bytes = Vec::new();
            facts.encode(&mut bytes);
            assert_eq!(Facts::decode(Micros(5), &bytes).as_ref(), Some(&facts), "{filled} texts");
            assert!((0..bytes.len()).all(|n| Facts::decode(Micros(5), &bytes[..n]).is_none()));
            if let Some(text) = facts.texts_mut().into_iter().nth(filled) {
                *text = Cow::Owned(vec![b'a' + filled as u8; filled + 1]);
            }
            facts.client_session = filled as u64;
            facts.value = Some((b"EUR"[..].into(), -(filled as i64)));
            facts.items.push((ItemKind::Carted, b"l-1"[..].into()));
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, max, want) in [("abc", 3, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é😀", 5, "é"), ("é", 1, "")]
        {
            assert_eq!(*cut(Cow::Borrowed(text.as_bytes()), max), *want.as_bytes(), "{text} {max}");
            assert_eq!(*cut(Cow::Owned(text.as_bytes().to_vec()), max), *want.as_bytes(), "{text} {max}");
        }
    }
}
