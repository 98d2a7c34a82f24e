//! The operator of the enrich stage.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use event::dead_letter::DeadLetter;
use event::json::write_string;
use event::topic::{DLQ, ENRICHED};
use event::{Code, Field, Flags, HeaderRef, Micros, Offset, RecordRef, Source, header, key};
use flow::{Asked, Asks, Batch, Effects, Entry, Facts, Keyed, Kind, Operator, Planned, Status, Verdict};

use crate::dedup::Dedup;
use crate::enricher::{Enricher, Event, Given, Ordered, Setup, Slot, View, in_order};
use crate::order::OrderError;
use crate::splice;

/// Which outcomes `enriched.status` lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StatusMode {
    #[default]
    NotOk,
    All,
}

#[derive(Clone, Debug)]
pub struct EnrichConfig {
    /// The member that is added.
    pub member: String,
    pub status: StatusMode,
    /// Of `enriched` and `dlq`.
    pub partitions: u32,
    /// An event is late behind the highest time seen by this much, in microseconds.
    pub out_of_order_us: i64,
    pub setup: Setup,
}

pub struct Enrich {
    config: EnrichConfig,
    enrichers: Vec<Box<dyn Enricher>>,
    /// For each round of asks, who asks in it.
    rounds: Vec<Vec<Slot>>,
    /// `"geo":` for each enricher, so that the hot path copies it.
    labels: Vec<Vec<u8>>,
    /// `,"enriched":{"v":1,"at":"`.
    opening: Vec<u8>,
}

/// One enricher, from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outline {
    /// The member it writes.
    pub name: String,
    /// Members of `enriched` it reads, before it asks or when it writes; sorted.
    pub members: Vec<String>,
    /// Fields of the event it reads.
    pub fields: Vec<Field>,
    /// Whether it asks a source.
    pub asks: bool,
    /// In which round of asks it asks, from 0.
    pub round: usize,
}

/// What `enriched` and its status need beside the event's own bytes; a guess to size buffers by.
const ADDED_BYTES: usize = 800;

thread_local! {
    /// The enriched member and the header being made: one buffer of each per thread, reused.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

impl Enrich {
    /// # Errors
    /// Lookups that wait for one another, or for what nobody writes.
    pub fn new(config: EnrichConfig) -> Result<Enrich, OrderError> {
        let Ordered { mut enrichers, rounds } = in_order(&config.setup)?;
        for given in &config.setup.given {
            if let Some(place) = enrichers.iter_mut().find(|e| e.name() == given.name) {
                *place = Box::new(Given::new(given));
            }
        }
        let labels = enrichers
            .iter()
            .map(|e| {
                let mut label = Vec::new();
                write_string(e.name().as_bytes(), &mut label);
                label.push(b':');
                label
            })
            .collect();
        let mut opening = Vec::new();
        write_string(config.member.as_bytes(), &mut opening);
        opening.extend_from_slice(br#":{"v":1,"at":""#);
        Ok(Enrich { config, enrichers, rounds, labels, opening })
    }

    /// The enrichers that `setup` gives, in the order in which they write.
    pub fn outline(setup: &Setup) -> Vec<Outline> {
        let Ordered { enrichers, rounds } =
            in_order(setup).expect("the configuration was built, so its lookups have an order");
        let round_of = |slot: usize| rounds.iter().position(|r| r.contains(&Slot(slot)));
        let outline = |(slot, enricher): (usize, &dyn Enricher)| Outline {
            name: enricher.name().to_owned(),
            members: {
                let mut members: Vec<String> =
                    enricher.reads().into_iter().chain(enricher.needs()).map(str::to_owned).collect();
                members.sort();
                members.dedup();
                members
            },
            fields: enricher.fields(),
            asks: enricher.asks(),
            round: round_of(slot).unwrap_or(0),
        };
        enrichers.iter().map(AsRef::as_ref).enumerate().map(outline).collect()
    }

    /// The members it writes, in their order.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.enrichers.iter().map(|e| e.name())
    }

    /// Where the answer about an event's visitor is noted: behind those of the enrichers.
    fn link_slot(&self) -> usize {
        self.enrichers.len()
    }

    /// Asks for the visitor of an event that has a user alone.
    fn plan_link(&self, event: &Event<'_>, asked: &mut Asked) -> Planned {
        let source = self.config.setup.link.ok_or(Status::Skipped)?;
        if !event.header.flags().has(Flags::VISITOR_USER) {
            return Err(Status::Skipped);
        }
        let user = event.text(Field::USER).ok_or(Status::Skipped)?;
        let mut key = event.header.event_time().0.to_le_bytes().to_vec();
        key.extend_from_slice(&user);
        Ok(asked.ask(source, &key))
    }

    /// Whose event it is: as it came, or the visitor it was linked to.
    fn visitor<'a>(&self, entry: &Entry<'a>, notes: &[Planned], facts: &'a Facts) -> (Cow<'a, [u8]>, &'static str) {
        if let Ok(ask) = notes[self.link_slot()] {
            let fact = facts.fact(ask);
            if let (Status::Ok, Some(visitor)) = (fact.status, wire::json::text(fact.json)) {
                return (visitor, LINKED);
            }
        }
        (Cow::Borrowed(entry.record.key), how(entry.header.flags()))
    }

    /// Writes `"enriched":{...}` without the separating comma. `visitor`: whose event it is, and how that is known.
    fn write_member(&self, view: &View<'_>, visitor: (&[u8], &str), at: Micros, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.opening);
        at.write_rfc3339(out);
        out.extend_from_slice(br#"","revision":0"#);
        let mut statuses: Vec<(usize, Status)> = Vec::new();
        for (n, enricher) in self.enrichers.iter().enumerate() {
            let start = out.len();
            out.push(b',');
            out.extend_from_slice(&self.labels[n]);
            let labelled = out.len();
            let status = enricher.apply(view, out);
            if out.len() == labelled || !matches!(status, Status::Ok | Status::Stale(_)) {
                out.truncate(start);
            }
            if status != Status::Ok || self.config.status == StatusMode::All {
                statuses.push((n, status));
            }
        }
        out.extend_from_slice(br#","visitor":{"id":"#);
        write_string(visitor.0, out);
        out.extend_from_slice(br#","how":""#);
        out.extend_from_slice(visitor.1.as_bytes());
        out.extend_from_slice(br#""},"status":{"#);
        for (i, (n, status)) in statuses.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.labels[*n]);
            out.push(b'"');
            status.write(out);
            out.push(b'"');
        }
        out.push(b'}');
        self.write_waited(view, out);
        out.extend_from_slice(br#","data_versions":"#);
        out.extend_from_slice(if view.facts.versions.is_empty() { "{}" } else { &view.facts.versions }.as_bytes());
        out.push(b'}');
    }

    /// `,"waited":{"user":4.021}`: milliseconds, of those that had to be waited for; nothing where there are none.
    fn write_waited(&self, view: &View<'_>, out: &mut Vec<u8>) {
        if !view.facts.waited() {
            return;
        }
        let mut first = true;
        for n in 0..self.enrichers.len() {
            let Some(waited) = view.fact(Slot(n)).waited else { continue };
            out.extend_from_slice(if first { br#","waited":{"# } else { b"," });
            first = false;
            out.extend_from_slice(&self.labels[n]);
            out.extend_from_slice(format!("{}.{:03}", waited / 1000, waited % 1000).as_bytes());
        }
        if !first {
            out.push(b'}');
        }
    }

    /// What the enrichers see of an event.
    fn view<'a>(&'a self, entry: &Entry<'a>, notes: &'a [Planned], facts: &'a Facts) -> View<'a> {
        View { event: Event::new(entry.record, entry.header), notes, facts, enrichers: &self.enrichers }
    }

    fn emit(&self, batch: &Batch, entry: &Entry<'_>, notes: &[Planned], facts: &Facts, out: &mut Effects) {
        let Some(value) = entry.record.value else { return };
        let view = self.view(entry, notes, facts);
        let (visitor, how) = self.visitor(entry, notes, facts);
        let (to, size_hint) = (
            ENRICHED.partition(key::partition_of(&visitor, self.config.partitions)),
            batch.bytes() + batch.len() * ADDED_BYTES,
        );
        SCRATCH.with_borrow_mut(|(member, header_bytes)| {
            member.clear();
            header_bytes.clear();
            header_bytes.extend_from_slice(entry.record.header_bytes);
            let source = Source::of(batch.input.topic, batch.input.partition, entry.offset);
            header::patch(header_bytes, source, out.progress.watermark, 0);
            if how == LINKED {
                let mut flags = entry.header.flags();
                flags.set(Flags::VISITOR_LINKED);
                header::patch_visitor(header_bytes, flags, key::hash64(&visitor));
            }
            let place = splice::place(value).expect("the door let only objects through");
            if !place.empty {
                member.push(b',');
            }
            self.write_member(&view, (&visitor, how), batch.at, member);
            let parts = [&value[..place.at], &member[..], &value[place.at..]];
            out.emit(to, &visitor, header_bytes, Some(&parts), size_hint);
        });
    }

    fn set_aside(&self, batch: &Batch, entry: &Entry<'_>, code: Code, message: &str, out: &mut Effects) {
        let header = entry.header;
        let id = header.json(Field::ID, entry.record.value.unwrap_or_default());
        let id = id.or(header.inherited_value(Field::ID)).unwrap_or_default();
        // A string loses its quotes; what is escaped in it stays so.
        let id = id.strip_prefix(b"\"").and_then(|i| i.strip_suffix(b"\"")).unwrap_or(id);
        let position = format!("{}@{}", batch.input, entry.offset);
        let mut value = Vec::new();
        DeadLetter {
            code,
            pointer: "",
            message,
            source: &String::from_utf8_lossy(header.inherited_value(Field::SOURCE).unwrap_or_default()),
            position: &position,
            received: header.received_time(),
            id: Some(id),
        }
        .write(entry.record.value.unwrap_or_default(), &mut value);
        let dead = event::Header {
            flags: header.flags(),
            event_time: header.event_time(),
            received_time: header.received_time(),
            watermark: out.progress.watermark,
            id_hash: header.id_hash(),
            type_hash: header.type_hash(),
            visitor_hash: header.visitor_hash(),
            payload_hash: header.payload_hash(),
            source: Source::of(batch.input.topic, batch.input.partition, entry.offset),
            ..event::Header::default()
        };
        let mut header_bytes = Vec::new();
        dead.encode(&mut header_bytes);
        let to = DLQ.partition(key::partition_of(id, self.config.partitions));
        out.emit(to, id, &header_bytes, Some(&[&value]), 0);
        out.progress.quarantined += 1;
    }
}

impl Operator for Enrich {
    type Prefix = Dedup;

    const KIND: Kind = Kind::Recording;

    fn group(&self) -> &'static str {
        "enrich"
    }

    fn observe(&self, prefix: &mut Dedup, offset: Offset, record: &RecordRef<'_>, header: HeaderRef<'_>) -> Verdict {
        if record.value.is_none() {
            return Verdict::Control;
        }
        prefix.judge(header.id_hash(), header.payload_hash(), offset, header.received_time())
    }

    fn rounds(&self) -> usize {
        self.rounds.len()
    }

    fn slots(&self) -> usize {
        self.enrichers.len() + 1
    }

    fn plan(&self, batch: &Batch, n: usize, round: usize, facts: &Facts, asks: &mut Asks) {
        if batch.verdict(n) != Verdict::Fresh {
            return;
        }
        let entry = batch.entry(n);
        let (asked, notes) = asks.parts();
        let event = Event::new(entry.record, entry.header);
        for slot in &self.rounds[round] {
            let view = View { event, notes: notes.of(n), facts, enrichers: &self.enrichers };
            let planned = self.enrichers[slot.0].plan(&view, asked);
            notes.set(n, slot.0, planned);
        }
        if round == 0 {
            notes.set(n, self.link_slot(), self.plan_link(&event, asked));
        }
    }

    fn apply(
        &self,
        batch: &Batch,
        range: Range<usize>,
        asks: &Asks,
        facts: &Facts,
        _state: &mut Keyed,
        out: &mut Effects,
    ) {
        for n in range {
            let entry = batch.entry(n);
            match entry.verdict {
                Verdict::Fresh => {
                    self.emit(batch, &entry, asks.notes().of(n), facts, out);
                    out.progress.processed += 1;
                }
                Verdict::Duplicate => out.progress.deduplicated += 1,
                Verdict::Conflict => {
                    let message = "the id was used before by another payload; the first one was passed on";
                    self.set_aside(batch, &entry, Code::ConflictingDuplicate, message, out);
                }
                Verdict::Control => out.progress.control += 1,
                Verdict::Foreign => self.quarantine(batch, n, out),
            }
        }
    }

    /// Moves the watermark: an event counts as the earlier of its own time and its receipt, so that one fast clock makes
    /// nobody late.
    fn passed(&self, entry: &Entry<'_>, out: &mut Effects) {
        let counts = entry.header.event_time().min(entry.header.received_time());
        let to = Micros(counts.0.saturating_sub(self.config.out_of_order_us));
        out.progress.watermark = out.progress.watermark.max(to);
    }

    fn quarantine(&self, batch: &Batch, n: usize, out: &mut Effects) {
        let entry = batch.entry(n);
        let (code, message) = match entry.verdict {
            Verdict::Foreign => (Code::ForeignRecord, "it was written into `raw` by another program than Ouzel"),
            _ => (Code::OperatorPanic, "an enricher failed on this event; its neighbours went on"),
        };
        self.set_aside(batch, &entry, code, message, out);
    }
}

/// `enriched.visitor.how` of an event whose user was seen with a visitor.
const LINKED: &str = "linked";

fn how(flags: Flags) -> &'static str {
    if flags.has(Flags::VISITOR_GIVEN) {
        "given"
    } else if flags.has(Flags::VISITOR_USER) {
        "user"
    } else {
        "hash"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enricher_says_what_it_reads() {
        let outline = Enrich::outline(&Setup::default());
        assert!(outline.iter().any(|o| o.name == "geo" && o.fields == [Field::IP] && o.round == 0), "{outline:?}");
        for (n, one) in outline.iter().enumerate() {
            assert!(!one.fields.is_empty() || !one.members.is_empty(), "{}: `Enricher::fields`", one.name);
            for member in &one.members {
                let writer = outline[..n].iter().find(|o| o.name == *member);
                assert!(writer.is_some_and(|w| w.round <= one.round), "{} reads {member}, written later", one.name);
            }
        }
    }
}
