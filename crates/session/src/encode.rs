//! The bytes of a visitor's state: a version, then varints, texts and ids in a fixed order. Times of a session are counted
//! from its start. Bytes that are no state give `None` or a state that makes no sense, never a panic.

use event::Micros;

use crate::codec::{Reader, put_signed, put_text, put_varint};
use crate::config::Reason;
use crate::facets::Facets;
use crate::facts::{PAGE, Text};
use crate::session::Session;
use crate::stage::STATE_VERSION;
use crate::visitor::{Visitor, Waiting};

/// The visitor's last opened session is kept, so its id is there already.
const LAST_KEPT: u8 = 1;
const UPDATED: u8 = 1 << 1;

const CLOSED: u16 = 1;
const HAS_PREVIOUS: u16 = 1 << 1;
const HAS_DAY_END: u16 = 1 << 2;
const SAME_PAGE: u16 = 1 << 3;
const HAS_USER: u16 = 1 << 4;
const HAS_CLIENT_SESSION: u16 = 1 << 5;
const HAS_CAMPAIGN: u16 = 1 << 6;
const VALUES_OVER: u16 = 1 << 7;
/// Out of order, early, other types: mostly all 0.
const HAS_ODD: u16 = 1 << 8;

impl<'a> Visitor<'a> {
    pub fn encode(&self) -> Vec<u8> {
        let waiting: usize = self.waiting.iter().map(|w| w.facts.len() + 12).sum();
        let mut out = Vec::with_capacity(64 + self.sessions.len() * 512 + waiting);
        let last_kept = self.sessions.iter().any(|s| s.id == self.last_id);
        out.push(STATE_VERSION);
        out.push((u8::from(last_kept) * LAST_KEPT) | (u8::from(self.updated_at.is_some()) * UPDATED));
        put_varint(u64::from(self.opened), &mut out);
        put_signed(self.last_end.0, &mut out);
        if let Some(at) = self.updated_at {
            put_signed(at.0, &mut out);
        }
        put_varint(self.sessions.len() as u64, &mut out);
        for session in &self.sessions {
            encode_session(session, &mut out);
        }
        match self.sessions.iter().position(|s| s.id == self.last_id) {
            Some(n) => put_varint(n as u64, &mut out),
            None => out.extend_from_slice(&self.last_id.to_le_bytes()),
        }
        put_varint(self.waiting.len() as u64, &mut out);
        let mut before = self.last_end;
        for one in &self.waiting {
            put_signed(one.at.0 - before.0, &mut out);
            put_text(&one.facts, &mut out);
            before = one.at;
        }
        out
    }

    /// `None`: no state of this version.
    pub fn decode(bytes: &'a [u8]) -> Option<Visitor<'a>> {
        let mut r = Reader::new(bytes);
        if r.byte()? != STATE_VERSION {
            return None;
        }
        let flags = r.byte()?;
        let mut visitor = Visitor { opened: r.count()?, last_end: Micros(r.signed()?), ..Visitor::default() };
        if flags & UPDATED != 0 {
            visitor.updated_at = Some(Micros(r.signed()?));
        }
        let sessions = r.count()?;
        // One more than there are: an event opens at most one.
        visitor.sessions = Vec::with_capacity((sessions as usize).min(64) + 1);
        for _ in 0..sessions {
            visitor.sessions.push(decode_session(&mut r)?);
        }
        visitor.last_id = match flags & LAST_KEPT {
            0 => r.u128()?,
            _ => visitor.sessions.get(r.count()? as usize)?.id,
        };
        let mut at = visitor.last_end.0;
        for _ in 0..r.count()? {
            at = at.wrapping_add(r.signed()?);
            visitor.waiting.push(Waiting { at: Micros(at), facts: r.text()? });
        }
        r.is_empty().then_some(visitor)
    }
}

fn encode_session(s: &Session<'_>, out: &mut Vec<u8>) {
    let flag = |yes: bool, bit: u16| if yes { bit } else { 0 };
    let odd = [s.late_joined, s.early, s.other_types];
    let flags = flag(s.closed, CLOSED)
        | flag(s.previous != 0, HAS_PREVIOUS)
        | flag(s.day_end.is_some(), HAS_DAY_END)
        | flag(s.last_page == s.origin[PAGE], SAME_PAGE)
        | flag(!s.user.is_empty(), HAS_USER)
        | flag(s.client_session != 0, HAS_CLIENT_SESSION)
        | flag(s.campaign != 0, HAS_CAMPAIGN)
        | flag(s.values_over, VALUES_OVER)
        | flag(odd != [0; 3], HAS_ODD);
    out.extend_from_slice(&s.id.to_le_bytes());
    put_varint(u64::from(flags), out);
    out.push(s.cut.map_or(0, |c| c as u8));
    if s.previous != 0 {
        out.extend_from_slice(&s.previous.to_le_bytes());
    }
    put_signed(s.start.0, out);
    let offset = |at: Micros, out: &mut Vec<u8>| put_signed(at.0 - s.start.0, out);
    offset(s.end, out);
    for n in [s.index, s.finals, s.events, s.views, s.key_events] {
        put_varint(u64::from(n), out);
    }
    if odd != [0; 3] {
        odd.iter().for_each(|n| put_varint(u64::from(*n), out));
    }
    if let Some(end) = s.day_end {
        offset(end, out);
    }
    offset(s.entry_at, out);
    encode_texts(&s.origin, out);
    if !s.last_page.is_empty() {
        offset(s.last_at, out);
    }
    if s.last_page != s.origin[PAGE] {
        put_text(&s.last_page, out);
    }
    if !s.user.is_empty() {
        offset(s.user_at, out);
        put_text(&s.user, out);
    }
    for hash in [s.client_session, s.campaign] {
        if hash != 0 {
            out.extend_from_slice(&hash.to_le_bytes());
        }
    }
    put_varint(s.types.len() as u64, out);
    for (name, count) in &s.types {
        put_text(name, out);
        put_varint(u64::from(*count), out);
    }
    s.facets.encode(start_ms(s.start), out);
    put_varint(s.values.len() as u64, out);
    for (currency, amount) in &s.values {
        put_text(currency, out);
        put_signed(*amount, out);
    }
}

fn decode_session<'a>(r: &mut Reader<'a>) -> Option<Session<'a>> {
    let mut s = Session { id: r.u128()?, ..Session::default() };
    let flags = r.varint()? as u16;
    let has = |bit| flags & bit != 0;
    s.closed = has(CLOSED);
    s.values_over = has(VALUES_OVER);
    s.cut = match r.byte()? {
        0 => None,
        n => Some(Reason::of(n)?),
    };
    if has(HAS_PREVIOUS) {
        s.previous = r.u128()?;
    }
    s.start = Micros(r.signed()?);
    let start = s.start.0;
    let offset = |r: &mut Reader<'a>| Some(Micros(start.wrapping_add(r.signed()?)));
    s.end = offset(r)?;
    for n in [&mut s.index, &mut s.finals, &mut s.events, &mut s.views, &mut s.key_events] {
        *n = r.count()?;
    }
    if has(HAS_ODD) {
        for n in [&mut s.late_joined, &mut s.early, &mut s.other_types] {
            *n = r.count()?;
        }
    }
    if has(HAS_DAY_END) {
        s.day_end = Some(offset(r)?);
    }
    s.entry_at = offset(r)?;
    decode_texts(&mut s.origin, r)?;
    if !has(SAME_PAGE) || !s.origin[PAGE].is_empty() {
        s.last_at = offset(r)?;
    }
    s.last_page = if has(SAME_PAGE) { s.origin[PAGE].clone() } else { r.text()? };
    if has(HAS_USER) {
        s.user_at = offset(r)?;
        s.user = r.text()?;
    }
    if has(HAS_CLIENT_SESSION) {
        s.client_session = r.u64()?;
    }
    if has(HAS_CAMPAIGN) {
        s.campaign = r.u64()?;
    }
    let types = r.count()? as usize;
    s.types = Vec::with_capacity(types.min(32) + 1);
    for _ in 0..types {
        s.types.push((r.text()?, r.count()?));
    }
    s.facets = Facets::decode(start_ms(s.start), r)?;
    for _ in 0..r.count()? {
        s.values.push((r.text()?, r.signed()?));
    }
    Some(s)
}

fn start_ms(start: Micros) -> i64 {
    start.0.div_euclid(1000)
}

/// One byte says which are there.
fn encode_texts(texts: &[Text<'_>; 7], out: &mut Vec<u8>) {
    out.push(texts.iter().enumerate().fold(0, |bits, (n, t)| bits | u8::from(!t.is_empty()) << n));
    for text in texts.iter().filter(|t| !t.is_empty()) {
        put_text(text, out);
    }
}

fn decode_texts<'a>(texts: &mut [Text<'a>; 7], r: &mut Reader<'a>) -> Option<()> {
    let bits = r.byte()?;
    for (n, text) in texts.iter_mut().enumerate() {
        if bits >> n & 1 == 1 {
            *text = r.text()?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ItemKind;
    use crate::facts::{Facts, Marks};

    fn visitor() -> Visitor<'static> {
        let facts = |at, text: &'static [u8]| Facts {
            at: Micros(at),
            id: 7,
            kind: text.into(),
            marks: Marks(Marks::VIEW | Marks::BOT),
            origin: std::array::from_fn(|n| text[n % 2..].into()),
            user: text.into(),
            client_session: 9,
            place: text.into(),
            items: vec![(ItemKind::Liked, text.into())],
            value: Some((text.into(), -5)),
            ..Facts::default()
        };
        let mut visitor = Visitor { opened: 3, last_id: 11, last_end: Micros(1_000), ..Visitor::default() };
        for n in 0..3 {
            let mut session = Session { id: 10 + n, previous: n, index: n as u32, ..Session::default() };
            session.take(&facts(5_000_000 * n as i64, b"abc"));
            if n > 0 {
                session.take(&facts(-3_000, b"de"));
                session.cut = Some(Reason::Midnight);
                session.day_end = Some(Micros(9));
                (session.campaign, session.late_joined, session.values_over) = (4, 1, true);
            }
            visitor.sessions.push(session);
        }
        visitor.updated_at = Some(Micros(77));
        visitor.wait(Micros(2_000), vec![1, 2, 3]);
        visitor.wait(Micros(-2_000), vec![]);
        visitor
    }

    #[test]
    fn a_state_reads_back_and_its_bytes_are_canonical() {
        let mut visitor = visitor();
        for last_id in [11, 99] {
            visitor.last_id = last_id;
            let bytes = visitor.encode();
            let read = Visitor::decode(&bytes).expect("a state");
            assert_eq!(read, visitor);
            assert_eq!(read.encode(), bytes);
        }
        visitor.sessions.clear();
        assert_eq!(Visitor::decode(&visitor.encode()), Some(visitor));
    }

    #[test]
    fn damaged_bytes_end_without_a_panic() {
        let bytes = visitor().encode();
        for n in 0..bytes.len() {
            assert_eq!(Visitor::decode(&bytes[..n]), None, "cut at {n}");
            for flip in [1, 0x40, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[n] ^= flip;
                let _ = Visitor::decode(&damaged);
            }
        }
    }
}
