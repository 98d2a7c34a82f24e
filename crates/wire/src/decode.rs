//! One JSON event -> what a record of `raw` needs beside the event's own bytes.

mod fields;
mod mapping;

use std::borrow::Cow;
use std::ops::Range;

use event::key::{hash64, id_hash, payload_hash};
use event::{Code, Failure, Field, Flags, Header, Micros, Source, Span};
use xxhash_rust::xxh3::xxh3_128;

use crate::json::{self, Limits, Pointers, Scratch, text};
use crate::map::{FieldMap, MapEntry, MapError};
use fields::{Fields, Picked};
use mapping::Mapping;

/// Ids, types, users, visitors and sessions are at most this long: they become keys of records and of state, and a record
/// keeps its key in 64 KiB. The ids that SDKs make have 20 to 60 bytes.
pub const KEY_BYTES: usize = 1024;
/// What a record inherits from its batch or connection is cut to this many bytes a value, so that all a map can ask for
/// fits a header's 64 KiB.
pub const INHERITED_BYTES: usize = 2048;
/// An event's length must fit the 24 bits of a span.
const LONGEST_EVENT: usize = (1 << 24) - 1;

/// Whether the sender's clock is corrected with `sent_at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockMode {
    /// A sender that is talking to us now: received - (sent_at - time), when both are there and sent_at >= time.
    Live,
    /// Files, standard input, other people's topics: last year's log stays last year's. `sent_at` is not read as a time.
    AsSent,
}

/// What a [`Decoder`] is made from.
#[derive(Clone, Debug)]
pub struct DecoderConfig {
    /// The event's `source`: the name of the `[[source]]`.
    pub source: String,
    pub map: FieldMap,
    pub limits: Limits,
    /// The first-level member that enrichment adds, and events must not have.
    pub reserved: String,
    /// Microseconds that an event's time may be ahead of its receipt without a flag.
    pub max_future_us: i64,
    pub clock: ClockMode,
}

impl DecoderConfig {
    /// The defaults: 32 KiB, depth 64, 2,000 members, `enriched` reserved, 5 minutes of future, times as sent.
    pub fn new(source: impl Into<String>, map: FieldMap) -> DecoderConfig {
        DecoderConfig {
            source: source.into(),
            map,
            limits: Limits::default(),
            reserved: "enriched".into(),
            max_future_us: 300 * Micros::SECOND,
            clock: ClockMode::AsSent,
        }
    }
}

/// Where an event came from, and when.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    pub received: Micros,
    pub position: ArrivalPosition<'a>,
    /// Texts of the batch or the connection, for fields that the event lacks.
    pub inherited: &'a [(Field, &'a [u8])],
}

/// What the id of an event without one is made from.
#[derive(Clone, Copy, Debug)]
pub enum ArrivalPosition<'a> {
    /// A place that a resend has again: the id is `<prefix>:<index>`.
    At { prefix: &'a str, index: u64 },
    /// No such place: the id is this random number in hexadecimal.
    Fresh(u128),
}

/// The fields that the members of a batch inherit from it: who sent it, from where and when.
pub const INHERITED: [Field; 8] = [
    Field::SENT_AT,
    Field::USER,
    Field::VISITOR,
    Field::IP,
    Field::USER_AGENT,
    Field::URL,
    Field::REFERRER,
    Field::SESSION,
];

/// What the members of a batch inherit: fields and their texts, for [`Arrival::inherited`].
pub type BatchContext<'b> = Vec<(Field, Cow<'b, [u8]>)>;

/// What [`Decoder::decode`] makes of an event. Used again for the next one, it allocates nothing.
#[derive(Default)]
pub struct RawRecord {
    /// The record's key: the visitor.
    pub key: Vec<u8>,
    /// An encoded [`Header`].
    pub header: Vec<u8>,
    /// The event's id.
    pub id: Vec<u8>,
    pub event_time: Micros,
    pub flags: Flags,
    pass: Scratch,
    parts: Header,
    /// Emptied values of `parts.inherited`, for their memory.
    spare: Vec<Vec<u8>>,
}

/// Reads events of one source. Compiled from a [`DecoderConfig`], and valid if it is there.
#[derive(Clone, Debug)]
pub struct Decoder {
    source: String,
    pointers: Pointers,
    /// Indexed by the field's number.
    fields: Vec<Option<Mapping>>,
    names: Vec<(Field, String)>,
    limits: Limits,
    reserved: String,
    reserved_slot: usize,
    id_is_hash: bool,
    max_future_us: i64,
    clock: ClockMode,
}

impl Decoder {
    /// # Errors
    /// What makes the configuration unusable: no `type`, a wrong pointer, a time format without a zone, limits that no
    /// header could hold.
    pub fn build(config: DecoderConfig) -> Result<Decoder, MapError> {
        if config.source.is_empty() || config.source.len() > KEY_BYTES {
            return Err(MapError::new("source", format!("the source needs a name of 1 to {KEY_BYTES} bytes")));
        }
        if config.limits.event > LONGEST_EVENT {
            return Err(MapError::new("", format!("`limits.event` is at most {LONGEST_EVENT} bytes")));
        }
        if !config.map.fields().iter().any(|m| m.field == Field::TYPE) {
            return Err(MapError::new("type", "every event needs a type: write a pointer, like /event, or a constant"));
        }
        let reserved = format!("/{}", config.reserved.replace('~', "~0").replace('/', "~1"));
        let mut all = vec![reserved.as_str()];
        let mut owners = vec![""];
        for mapped in config.map.fields() {
            if let MapEntry::Pointer { pointers, .. } = &mapped.entry {
                all.extend(pointers.iter().map(String::as_str));
                owners.resize(all.len(), mapped.name.as_str());
            }
        }
        for (pointer, owner) in all.iter().zip(&owners).skip(1) {
            let below = pointer.strip_prefix(reserved.as_str());
            if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return Err(MapError::new(owner, format!("{reserved} is what enrichment adds; events do not have it")));
            }
        }
        let (pointers, slots) = Pointers::compile(&all).map_err(|e| MapError::new("", e.message))?;
        let mut places = slots.iter().copied().zip(all.iter().map(|p| p.to_string()));
        let reserved_slot = places.next().expect("the reserved member").0;
        let mut fields = vec![None; Field::MAX];
        for mapped in config.map.fields() {
            fields[mapped.field.0 as usize] = Some(Mapping::build(mapped, &mut places)?);
        }
        let id_is_hash = fields[Field::ID.0 as usize].as_ref().is_some_and(|m: &Mapping| m.constant.is_some());
        Ok(Decoder {
            source: config.source,
            pointers,
            fields,
            names: config.map.fields().iter().map(|m| (m.field, m.name.clone())).collect(),
            limits: config.limits,
            reserved: config.reserved,
            reserved_slot,
            id_is_hash,
            max_future_us: config.max_future_us,
            clock: config.clock,
        })
    }

    /// The event's `source`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The mapped fields with their names in configuration, the user's own ones among them.
    pub fn fields(&self) -> &[(Field, String)] {
        &self.names
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads one event into `out`. After an error nothing in `out` is to be used, except for the next event.
    ///
    /// # Errors
    /// Those of [`json::pass`], then `reserved_member`, `bad_field`, `missing_field` and `bad_time`.
    pub fn decode(&self, event: &[u8], arrival: &Arrival<'_>, out: &mut RawRecord) -> Result<(), Failure> {
        json::pass(event, &self.pointers, &self.limits, &mut out.pass)?;
        let reserved = out.pass.found(self.reserved_slot);
        if reserved.is_there() {
            let message = format!("the event already has `{}`, which enrichment adds", self.reserved);
            return Err(Failure::new(Code::ReservedMember, format!("/{}", self.reserved), message));
        }
        out.begin();
        let fields = Fields { decoder: self, event, arrival, picked: self.pick(event, out)? };
        let flags = &mut out.flags;

        let Some(kind_of_event) = fields.key(Field::TYPE)? else {
            return Err(self.type_is_missing());
        };
        out.parts.type_hash = hash64(&kind_of_event);

        out.event_time = fields.event_time()?;
        if out.event_time.0 > arrival.received.0.saturating_add(self.max_future_us) {
            flags.set(Flags::FUTURE);
        }

        let sent_at = fields.span(Field::SENT_AT);
        let id_is_derived = match fields.key(Field::ID)? {
            Some(id) => {
                out.id.extend_from_slice(&id);
                false
            }
            None => {
                flags.set(self.derive_id(event, sent_at.clone(), &arrival.position, &mut out.id));
                true
            }
        };
        out.parts.id_hash = id_hash(self.source.as_bytes(), &out.id);
        out.parts.payload_hash = payload_hash(event, sent_at);

        let visitor_is_given = match (fields.key(Field::VISITOR)?, fields.key(Field::USER)?) {
            (Some(visitor), _) => {
                out.key.extend_from_slice(&visitor);
                flags.set(Flags::VISITOR_GIVEN);
                true
            }
            (None, Some(user)) => {
                out.key.extend_from_slice(b"user:");
                out.key.extend_from_slice(&user);
                flags.set(Flags::VISITOR_USER);
                false
            }
            (None, None) => {
                fields.hash_address_and_agent(&mut out.key);
                false
            }
        };
        out.parts.visitor_hash = hash64(&out.key);
        // Read for its length alone: a session becomes a key of state, too.
        fields.key(Field::SESSION)?;

        out.inherit(Field::SOURCE, self.source.as_bytes());
        fields.inherit_into(out);
        if id_is_derived {
            let id = std::mem::take(&mut out.id);
            out.inherit(Field::ID, &id);
            out.id = id;
        }
        if !visitor_is_given {
            let key = std::mem::take(&mut out.key);
            out.inherit(Field::VISITOR, &key);
            out.key = key;
        }
        out.finish(arrival.received);
        Ok(())
    }

    /// For each field the value that counts, by the field's number; also lays down its span.
    fn pick(&self, event: &[u8], out: &mut RawRecord) -> Result<[Picked; Field::MAX], Failure> {
        let mut picked = [Picked::default(); Field::MAX];
        for (number, mapping) in self.fields.iter().enumerate() {
            let Some(mapping) = mapping else { continue };
            for (place, (slot, pointer)) in mapping.places.iter().enumerate() {
                let found = out.pass.found(*slot);
                if !found.is_there() || mapping.counts_as_absent(&event[found.range()]) {
                    continue;
                }
                mapping.check_kind(&event[found.range()], pointer)?;
                picked[number] = Picked { value: found, place };
                let (start, len) = (found.start, found.end - found.start);
                out.parts.spans.push(Span { field: Field(number as u8), start, len });
                break;
            }
        }
        Ok(picked)
    }

    #[cold]
    fn type_is_missing(&self) -> Failure {
        let places = self.fields[Field::TYPE.0 as usize].as_ref().map(|m| m.places.as_slice()).unwrap_or_default();
        let pointers: Vec<&str> = places.iter().map(|(_, p)| p.as_str()).collect();
        let last = pointers.last().copied().unwrap_or_default();
        Failure::new(Code::MissingField, last, format!("the event has no type: nothing at {}", pointers.join(" or ")))
    }

    /// Writes an id for an event that has none, and gives the flag for how.
    fn derive_id(
        &self,
        event: &[u8],
        sent_at: Option<Range<usize>>,
        at: &ArrivalPosition<'_>,
        id: &mut Vec<u8>,
    ) -> Flags {
        if self.id_is_hash {
            let hash = match sent_at {
                None => xxh3_128(event),
                Some(s) => {
                    let mut without = event[..s.start].to_vec();
                    without.extend_from_slice(&event[s.end..]);
                    xxh3_128(&without)
                }
            };
            write_hex(hash, id);
            return Flags::DERIVED;
        }
        match at {
            ArrivalPosition::At { prefix, index } => {
                id.extend_from_slice(prefix.as_bytes());
                id.push(b':');
                event::json::write_number(*index, id);
                Flags::DERIVED
            }
            ArrivalPosition::Fresh(number) => {
                write_hex(*number, id);
                Flags::AT_LEAST_ONCE
            }
        }
    }

    /// What the members of a batch inherit from `batch`, the object around them: the texts that the map's own pointers
    /// lead to in it, of the fields that say who sent it, from where and when. A value that cannot be such a text is
    /// passed over, since no event of the batch has it.
    ///
    /// # Errors
    /// Those of [`json::pass`], except for the limits of single events.
    pub fn batch_context<'b>(&self, batch: &'b [u8]) -> Result<BatchContext<'b>, Failure> {
        let limits = Limits { event: LONGEST_EVENT, ..self.limits };
        let mut scratch = Scratch::default();
        json::pass(batch, &self.pointers, &limits, &mut scratch)?;
        let mut context = Vec::new();
        for field in INHERITED {
            let mapping = self.fields[field.0 as usize].as_ref();
            let mut values = mapping.into_iter().flat_map(|m| &m.places).map(|(slot, _)| scratch.found(*slot));
            let text = values.find_map(|f| f.is_there().then(|| text(&batch[f.range()])).flatten());
            context.extend(text.filter(|t| !t.is_empty()).map(|t| (field, t)));
        }
        Ok(context)
    }
}

impl RawRecord {
    fn begin(&mut self) {
        self.key.clear();
        self.header.clear();
        self.id.clear();
        self.flags = Flags::default();
        self.parts.spans.clear();
        self.give_back();
    }

    fn inherit(&mut self, field: Field, value: &[u8]) {
        let mut own = self.spare.pop().unwrap_or_default();
        own.extend_from_slice(value);
        self.parts.inherited.push((field, own));
    }

    fn finish(&mut self, received: Micros) {
        self.parts.flags = self.flags;
        self.parts.event_time = self.event_time;
        self.parts.received_time = received;
        self.parts.source = Source::DOOR;
        self.parts.encode(&mut self.header);
    }

    fn give_back(&mut self) {
        for (_, mut value) in self.parts.inherited.drain(..) {
            value.clear();
            self.spare.push(value);
        }
    }
}

/// 32 hexadecimal digits.
fn write_hex(number: u128, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..32).rev().map(|place| DIGITS[(number >> (place * 4)) as usize & 15]));
}
