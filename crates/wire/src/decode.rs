//! One JSON event -> what a record of `raw` needs beside the event's own bytes.

use std::borrow::Cow;
use std::ops::Range;

use event::key::{hash64, id_hash, payload_hash};
use event::{Code, Failure, Field, Flags, Header, Micros, Source, Span};
use xxhash_rust::xxh3::xxh3_128;

use crate::json::{self, Found, Kind, Limits, Pointers, Scratch, kind, text};
use crate::map::{FieldMap, MapEntry, MapError, Mapped};
use crate::time::TimeReader;

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

#[derive(Clone, Debug)]
struct Mapping {
    /// The slots of the pass, the first that has something wins, with their pointers.
    places: Vec<(usize, String)>,
    constant: Option<String>,
    takes: Takes,
}

/// The kinds of values a field can have.
#[derive(Clone, Debug)]
enum Takes {
    /// Strings and numbers of at most [`KEY_BYTES`], as text. An empty string counts as absent.
    Key,
    /// Strings and numbers, as text. An empty string counts as absent.
    Text,
    /// Strings and numbers; read by the reader. An empty string counts as absent.
    Time(TimeReader),
    /// Objects (of `source`, `medium`, `name` ...) and strings. An empty string counts as absent.
    Campaign,
    /// A field of the user's own: whatever there is, but null.
    Anything,
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
                write_decimal(*index, id);
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
        // The array and the object around the events, and events of any size and number in them.
        let limits = Limits { event: LONGEST_EVENT, depth: self.limits.depth.saturating_add(2), members: usize::MAX };
        let mut scratch = Scratch::default();
        json::pass(batch, &self.pointers, &limits, &mut scratch)?;
        let mut context = Vec::new();
        for field in [
            Field::SENT_AT,
            Field::USER,
            Field::VISITOR,
            Field::IP,
            Field::USER_AGENT,
            Field::URL,
            Field::REFERRER,
            Field::SESSION,
        ] {
            let mapping = self.fields[field.0 as usize].as_ref();
            let mut values = mapping.into_iter().flat_map(|m| &m.places).map(|(slot, _)| scratch.found(*slot));
            let text = values.find_map(|f| f.is_there().then(|| text(&batch[f.range()])).flatten());
            context.extend(text.filter(|t| !t.is_empty()).map(|t| (field, t)));
        }
        Ok(context)
    }
}

impl Mapping {
    fn build(mapped: &Mapped, places: &mut impl Iterator<Item = (usize, String)>) -> Result<Mapping, MapError> {
        let (own_places, constant, time) = match &mapped.entry {
            MapEntry::Pointer { pointers, format, zone } => {
                (places.take(pointers.len()).collect(), None, Some((format.as_ref(), zone.as_deref())))
            }
            MapEntry::Constant(value) => (Vec::new(), Some(value.clone()), None),
        };
        if constant.as_ref().is_some_and(|c| c.is_empty() || c.len() > KEY_BYTES) {
            return Err(MapError::new(&mapped.name, format!("a constant has 1 to {KEY_BYTES} bytes")));
        }
        let takes = match mapped.field {
            Field::ID | Field::TYPE | Field::USER | Field::VISITOR | Field::SESSION => Takes::Key,
            Field::TIME | Field::SENT_AT => {
                let (format, zone) = time.unwrap_or_default();
                Takes::Time(TimeReader::build(format, zone).map_err(|e| MapError::new(&mapped.name, e))?)
            }
            Field::IP | Field::USER_AGENT | Field::URL | Field::REFERRER => Takes::Text,
            Field::CAMPAIGN => Takes::Campaign,
            _ => Takes::Anything,
        };
        Ok(Mapping { places: own_places, constant, takes })
    }

    #[inline]
    fn counts_as_absent(&self, json: &[u8]) -> bool {
        json == b"null" || (json == b"\"\"" && !matches!(self.takes, Takes::Anything))
    }

    #[inline]
    fn check_kind(&self, json: &[u8], pointer: &str) -> Result<(), Failure> {
        let fits = match (&self.takes, kind(json)) {
            (Takes::Anything, _) | (_, Kind::String) => true,
            (Takes::Campaign, k) => k == Kind::Object,
            (Takes::Key | Takes::Text | Takes::Time(_), k) => k == Kind::Number,
        };
        if fits { Ok(()) } else { Err(self.wrong_kind(kind(json), pointer)) }
    }

    #[cold]
    fn wrong_kind(&self, found: Kind, pointer: &str) -> Failure {
        let found = match found {
            Kind::Null => "null",
            Kind::Bool => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        };
        let wanted = match self.takes {
            Takes::Campaign => "an object or a string",
            _ => "a string or a number",
        };
        Failure::new(Code::BadField, pointer, format!("{wanted} was expected, not {found}"))
    }
}

/// Where a field's value is, and which of its places that was.
#[derive(Clone, Copy, Default)]
struct Picked {
    value: Found,
    place: usize,
}

/// One event's fields, with what they inherit.
struct Fields<'e> {
    decoder: &'e Decoder,
    event: &'e [u8],
    arrival: &'e Arrival<'e>,
    picked: [Picked; Field::MAX],
}

impl<'e> Fields<'e> {
    fn found(&self, field: Field) -> Option<Found> {
        Some(self.picked[field.0 as usize].value).filter(|f| f.is_there())
    }

    fn span(&self, field: Field) -> Option<Range<usize>> {
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
    fn key(&self, field: Field) -> Result<Option<Cow<'e, [u8]>>, Failure> {
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

    fn event_time(&self) -> Result<Micros, Failure> {
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
    fn hash_address_and_agent(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(&self.text(Field::IP).unwrap_or_default());
        key.push(0);
        key.extend_from_slice(&self.text(Field::USER_AGENT).unwrap_or_default());
        let hash = xxh3_128(key);
        key.clear();
        write_hex(hash, key);
    }

    /// Constants of the map, and what the batch or connection has and the event lacks.
    fn inherit_into(&self, out: &mut RawRecord) {
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

/// 32 hexadecimal digits.
fn write_hex(number: u128, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend((0..32).rev().map(|place| DIGITS[(number >> (place * 4)) as usize & 15]));
}

fn write_decimal(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
