//! One event's fields as texts and times: its own, the map's constants, or inherited.

use std::borrow::Cow;
use std::ops::Range;

use event::{Code, Failure, Field, Micros};
use xxhash_rust::xxh3::xxh3_128;

use super::mapping::{Mapping, Takes};
use super::{Arrival, ClockMode, Decoder, INHERITED_BYTES, KEY_BYTES, RawRecord, write_hex};
use crate::json::{Found, Kind, kind, text};

/// Where a field's value is, and which of its places that was.
#[derive(Clone, Copy, Default)]
pub(super) struct Picked {
    pub(super) value: Found,
    pub(super) place: usize,
}

/// One event's fields, with what they inherit.
pub(super) struct Fields<'e> {
    pub(super) decoder: &'e Decoder,
    pub(super) event: &'e [u8],
    pub(super) arrival: &'e Arrival<'e>,
    pub(super) picked: [Picked; Field::MAX],
}

impl<'e> Fields<'e> {
    fn found(&self, field: Field) -> Option<Found> {
        Some(self.picked[field.0 as usize].value).filter(|f| f.is_there())
    }

    pub(super) fn span(&self, field: Field) -> Option<Range<usize>> {
        self.found(field).map(Found::range)
    }

    fn constant(&self, field: Field) -> Option<&'e [u8]> {
        let mapping = self.decoder.fields.get(field.0 as usize)?.as_ref()?;
        mapping.constant.as_ref().filter(|_| field != Field::ID).map(String::as_bytes)
    }

    /// From the batch or the connection, if the event may take it from there.
    fn inherited(&self, field: Field) -> Option<&'e [u8]> {
        let (_, value) = self.arrival.inherited.iter().find(|(f, v)| *f == field && !v.is_empty())?;
        Some(cut(value))
    }

    /// The field's text: the event's own, else the map's constant, else what is inherited.
    fn text(&self, field: Field) -> Option<Cow<'e, [u8]>> {
        match self.found(field) {
            Some(found) => text(&self.event[found.range()]),
            None => self.constant(field).or_else(|| self.inherited(field)).map(Cow::Borrowed),
        }
    }

    /// The text of a field that becomes a key somewhere.
    pub(super) fn key(&self, field: Field) -> Result<Option<Cow<'e, [u8]>>, Failure> {
        match self.text(field) {
            Some(text) if text.len() > KEY_BYTES => {
                Err(Failure::new(Code::BadField, self.pointer(field), format!("longer than {KEY_BYTES} bytes")))
            }
            text => Ok(text),
        }
    }

    /// The pointer that led to the field's value; empty for what is inherited.
    fn pointer(&self, field: Field) -> String {
        let mapping = self.decoder.fields[field.0 as usize].as_ref();
        let place = mapping.and_then(|m| m.places.get(self.picked[field.0 as usize].place));
        place.filter(|_| self.found(field).is_some()).map(|(_, p)| p.clone()).unwrap_or_default()
    }

    fn time(&self, field: Field) -> Result<Option<Micros>, Failure> {
        let Some(Mapping { takes: Takes::Time(reader), .. }) = &self.decoder.fields[field.0 as usize] else {
            return Ok(None);
        };
        let Some(text) = self.text(field) else { return Ok(None) };
        let is_number = self.found(field).is_some_and(|f| kind(&self.event[f.range()]) == Kind::Number);
        match reader.read(&text, is_number) {
            Ok(time) => Ok(Some(time)),
            Err(message) => Err(Failure::new(Code::BadTime, self.pointer(field), message)),
        }
    }

    pub(super) fn event_time(&self) -> Result<Micros, Failure> {
        let received = self.arrival.received;
        let Some(time) = self.time(Field::TIME)? else { return Ok(received) };
        if self.decoder.clock == ClockMode::AsSent {
            return Ok(time);
        }
        match self.time(Field::SENT_AT)? {
            Some(sent_at) if sent_at >= time => {
                let corrected = Micros(received.0 - (sent_at.0 - time.0));
                let message = "corrected with `sent_at`, the time is before 1970";
                let bad_time = || Failure::new(Code::BadTime, self.pointer(Field::TIME), message);
                Some(corrected).filter(|c| *c >= Micros::EARLIEST).ok_or_else(bad_time)
            }
            _ => Ok(time),
        }
    }

    /// Writes the visitor of an event that names neither visitor nor user: xxh3-128 of address, a zero and agent, in hex.
    pub(super) fn hash_address_and_agent(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.text(Field::IP).unwrap_or_default());
        key.push(0);
        key.extend_from_slice(&self.text(Field::USER_AGENT).unwrap_or_default());
        let hash = xxh3_128(key);
        key.clear();
        write_hex(hash, key);
    }

    /// Constants of the map, and what the batch or connection has and the event lacks.
    pub(super) fn inherit_into(&self, out: &mut RawRecord) {
        for (field, _) in &self.decoder.names {
            if let Some(constant) = self.constant(*field) {
                out.inherit(*field, constant);
            }
        }
        for (n, (field, _)) in self.arrival.inherited.iter().enumerate() {
            let is_first = self.arrival.inherited[..n].iter().all(|(f, _)| f != field);
            let is_ours = *field == Field::SOURCE || field.0 as usize >= Field::MAX;
            if !is_first || is_ours || self.found(*field).is_some() || self.constant(*field).is_some() {
                continue;
            }
            if let Some(value) = self.inherited(*field) {
                out.inherit(*field, value);
            }
        }
    }
}

/// At most [`INHERITED_BYTES`], cut between characters where it is UTF-8.
fn cut(value: &[u8]) -> &[u8] {
    if value.len() <= INHERITED_BYTES {
        return value;
    }
    let mut end = INHERITED_BYTES;
    while end > INHERITED_BYTES - 4 && value[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &value[..end]
}
