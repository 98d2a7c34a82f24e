//! Gathers events into the blocks of one commit: accepted ones to `raw` by visitor, refused ones to `dlq`.

use std::sync::Arc;

use event::dead_letter::{Cut, DeadLetter};
use event::key::{id_hash, partition_of};
use event::topic::{DLQ, RAW};
use event::{Block, BlockBuilder, Failure, Field, Flags, Header, TopicId};
use wire::{Arrival, ArrivalPosition, Decoder, RawRecord};

/// What one commit will hold. A door has one per connection or input and uses it over and over: an accepted event
/// allocates nothing but its share of a block.
pub struct Collector {
    decoder: Arc<Decoder>,
    raw: Partitions,
    dlq: Partitions,
    record: RawRecord,
    /// Whether `record` is that of the last event.
    record_is_last: bool,
    letter: Vec<u8>,
    position: Vec<u8>,
    header: Vec<u8>,
    accepted: u64,
    refused: u64,
}

/// A topic's blocks being built, one per partition.
struct Partitions {
    topic: TopicId,
    builders: Vec<BlockBuilder>,
    /// Bytes of each partition's last block: the room the next one is given at once, so that it is built without
    /// growing.
    last: Vec<usize>,
    bytes: usize,
}

impl Collector {
    /// `partitions`: how many `raw` has, and `dlq`.
    pub fn new(decoder: Arc<Decoder>, partitions: u32) -> Collector {
        Collector {
            decoder,
            raw: Partitions::new(RAW, partitions),
            dlq: Partitions::new(DLQ, partitions),
            record: RawRecord::default(),
            record_is_last: false,
            letter: Vec::new(),
            position: Vec::new(),
            header: Vec::new(),
            accepted: 0,
            refused: 0,
        }
    }

    pub fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// Takes one JSON event. When it is refused, the failure is for the sender: the dead letter is written already.
    pub fn event(&mut self, bytes: &[u8], arrival: &Arrival<'_>) -> Result<(), Failure> {
        match self.decoder.decode(bytes, arrival, &mut self.record) {
            Ok(()) => {
                self.raw.push(&self.record.key, &self.record.header, &[bytes]);
                self.record_is_last = true;
                self.accepted += 1;
                Ok(())
            }
            Err(failure) => {
                self.refuse(bytes, arrival, &failure);
                Err(failure)
            }
        }
    }

    /// Refuses bytes that are not even an event, or one that the door has judged itself.
    pub fn refuse(&mut self, bytes: &[u8], arrival: &Arrival<'_>, failure: &Failure) {
        self.write_letter(arrival, failure, |letter, out| letter.write(bytes, out));
    }

    /// Refuses an event too long to be held, of which the door kept the beginning.
    pub fn refuse_cut(&mut self, cut: &Cut<'_>, arrival: &Arrival<'_>, failure: &Failure) {
        self.write_letter(arrival, failure, |letter, out| letter.write_cut(cut, out));
    }

    /// Accepted since the last [`Collector::take`].
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Refused since the last [`Collector::take`].
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Encoded bytes gathered since the last [`Collector::take`], headers included.
    pub fn bytes(&self) -> usize {
        self.raw.bytes + self.dlq.bytes
    }

    /// The id of the event handed in last; empty when it was refused, for then none is known.
    pub fn last_id(&self) -> &[u8] {
        if self.record_is_last { &self.record.id } else { b"" }
    }

    /// Everything gathered, as the blocks of one commit, and begins anew.
    pub fn take(&mut self) -> Vec<Block> {
        let mut blocks = self.raw.take();
        blocks.append(&mut self.dlq.take());
        (self.accepted, self.refused, self.record_is_last) = (0, 0, false);
        blocks
    }

    fn write_letter(
        &mut self,
        arrival: &Arrival<'_>,
        failure: &Failure,
        write: impl FnOnce(&DeadLetter<'_>, &mut Vec<u8>),
    ) {
        self.record_is_last = false;
        self.refused += 1;
        let source = self.decoder.source();
        self.position.clear();
        let (flags, position) = match arrival.position {
            ArrivalPosition::At { prefix, index } => {
                // No door makes prefixes this long; a key must stay below 64 KiB whatever they do.
                let prefix = &prefix.as_bytes()[..prefix.len().min(PREFIX_MAX)];
                self.position.extend_from_slice(prefix);
                self.position.extend_from_slice(format!(":{index}").as_bytes());
                (Flags::DERIVED, std::str::from_utf8(&self.position).unwrap_or_default())
            }
            // A key for the letter, but no place where anybody could look.
            ArrivalPosition::Fresh(number) => {
                self.position.extend_from_slice(format!("{number:032x}").as_bytes());
                (Flags::AT_LEAST_ONCE, "")
            }
        };
        let letter = DeadLetter::of(failure, source, position, arrival.received);
        self.letter.clear();
        write(&letter, &mut self.letter);
        self.header.clear();
        let header = Header {
            flags,
            event_time: arrival.received,
            received_time: arrival.received,
            id_hash: id_hash(source.as_bytes(), &self.position),
            inherited: vec![(Field::SOURCE, source.as_bytes().to_vec())],
            ..Header::default()
        };
        header.encode(&mut self.header);
        self.dlq.push(&self.position, &self.header, &[&self.letter]);
    }
}

/// The longest part of a position's text that a dead letter keeps.
const PREFIX_MAX: usize = 1024;

impl Partitions {
    fn new(topic: TopicId, count: u32) -> Partitions {
        assert!(count > 0, "a topic has at least one partition");
        Partitions {
            topic,
            builders: (0..count).map(|p| BlockBuilder::new(topic.partition(p))).collect(),
            last: vec![0; count as usize],
            bytes: 0,
        }
    }

    fn push(&mut self, key: &[u8], header: &[u8], value: &[&[u8]]) {
        let p = partition_of(key, self.builders.len() as u32) as usize;
        let builder = &mut self.builders[p];
        if builder.is_empty() {
            builder.reserve(self.last[p]);
        }
        let before = builder.len();
        builder.push(key, header, Some(value));
        self.bytes += builder.len() - before;
    }

    fn take(&mut self) -> Vec<Block> {
        self.bytes = 0;
        let mut blocks = Vec::new();
        for (p, builder) in self.builders.iter_mut().enumerate().filter(|(_, b)| !b.is_empty()) {
            self.last[p] = builder.len();
            let empty = BlockBuilder::new(self.topic.partition(p as u32));
            blocks.push(std::mem::replace(builder, empty).finish());
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use event::{Code, HeaderRef, Micros, record};
    use serde_json::Value;
    use wire::{DecoderConfig, FieldMap, Preset};

    use super::*;

    fn collector() -> Collector {
        let config = DecoderConfig::new("input", FieldMap::preset(Preset::Ouzel));
        Collector::new(Arc::new(Decoder::build(config).expect("a preset is valid")), 4)
    }

    fn at(index: u64) -> Arrival<'static> {
        Arrival { received: Micros(7), position: ArrivalPosition::At { prefix: "file:ab", index }, inherited: &[] }
    }

    #[test]
    fn accepted_events_go_to_raw_by_visitor_and_refused_ones_to_dlq() {
        let mut c = collector();
        for i in 0..50 {
            let event = format!("{{\"type\":\"t\",\"visitor\":\"v{i}\",\"id\":\"e{i}\"}}");
            c.event(event.as_bytes(), &at(i)).expect("accepted");
            assert_eq!(c.last_id(), format!("e{i}").as_bytes());
        }
        let failure = c.event(b"{\"type\":", &at(50)).expect_err("not JSON");
        assert_eq!((failure.code, c.last_id()), (Code::NotJson, &b""[..]));
        assert_eq!((c.accepted(), c.refused()), (50, 1));

        let bytes = c.bytes();
        let blocks = c.take();
        assert_eq!(bytes, blocks.iter().map(|b| b.bytes.len()).sum::<usize>());
        for block in blocks.iter().filter(|b| b.to.topic == RAW) {
            for r in record::records(&block.bytes).map(|r| r.expect("a record")) {
                assert_eq!(partition_of(r.key, 4), block.to.partition);
                assert!(r.value.expect("a value").starts_with(b"{\"type\":\"t\""), "byte for byte");
            }
        }
        let dlq: Vec<_> = blocks.iter().filter(|b| b.to.topic == DLQ).collect();
        assert_eq!((blocks.iter().map(|b| b.count).sum::<u32>(), dlq.len()), (51, 1));
        let letter = record::records(&dlq[0].bytes).next().expect("one").expect("a record");
        assert_eq!(letter.key, b"file:ab:50");
        let header = HeaderRef::new(letter.header_bytes).expect("a header");
        assert_eq!((header.received_time(), header.flags()), (Micros(7), Flags::DERIVED));
        assert_eq!(header.id_hash(), id_hash(b"input", b"file:ab:50"));
        let value: Value = serde_json::from_slice(letter.value.expect("a value")).expect("JSON");
        assert_eq!((&value["code"], &value["event"]), (&"not_json".into(), &"{\"type\":".into()));
        assert_eq!((&value["source"], &value["position"]), (&"input".into(), &"file:ab:50".into()));

        assert_eq!((c.accepted(), c.refused(), c.bytes(), c.take().len()), (0, 0, 0, 0), "take begins anew");
    }

    #[test]
    fn a_refused_event_without_a_position_still_gets_a_key() {
        let mut c = collector();
        let arrival = Arrival { position: ArrivalPosition::Fresh(0xabc), ..at(0) };
        c.event(b"[]", &arrival).expect_err("not an object");
        let blocks = c.take();
        let letter = record::records(&blocks[0].bytes).next().expect("one").expect("a record");
        assert_eq!(letter.key, format!("{:032x}", 0xabc).as_bytes());
        let value: Value = serde_json::from_slice(letter.value.expect("a value")).expect("JSON");
        assert_eq!((&value["position"], &value["id"]), (&"".into(), &Value::Null));
    }
}
