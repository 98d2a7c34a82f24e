//! Real events through the real door into a real journal: what is read from the log is what the public reader's lines say,
//! and the laws hold of it, whatever the clocks of senders and of the machine do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use door::collect::Collector;
use door::http::{Delivery, is_shown, take_body, write_record};
use event::dead_letter::DeadLetter;
use event::record::BlockBuilder;
use event::topic::{DLQ, ENRICHED, LATE, RAW, SESSIONS};
use event::{Block, Code, Flags, Header, HeaderRef, Micros, Source, TopicId, TopicPartition, key};
use log::journal::{Drive, Journal, JournalConfig, MinFree};
use log::{Commit, Log, Outcome};
use ouzel_sim::fs::LossyFs;
use ouzel_sim::laws::sessions::SessionRules;
use ouzel_sim::laws::{self, Law, World};
use ouzel_sim::ledger::{Answer, Ledger, Producer, ProducerConfig, Refusal};
use ouzel_sim::model::{Fate, Model};
use ouzel_sim::outputs::{ALL_TOPICS, Outputs, parse_line};
use ouzel_sim::world::SimClock;
use seam::Clock;
use wire::{ArrivalPosition, ClockMode, Decoder, DecoderConfig, FieldMap, Preset};

const PARTITIONS: u32 = 2;
const RULES: SessionRules = SessionRules { gap_us: 1_800 * Micros::SECOND, allowed_lateness_us: 0 };

/// A door, a journal, and the naivest of enrich and sessions stages.
struct Machine {
    clock: Arc<SimClock>,
    log: Arc<Journal>,
    collector: Collector,
    ledger: Ledger,
    outputs: Outputs,
    model: Model,
    /// By partition of `raw`, and of `enriched`: how many rows have been passed on.
    done: [[usize; PARTITIONS as usize]; 2],
}

impl Machine {
    fn new() -> Machine {
        let clock = SimClock::new(Micros(1_795_400_000_000_000));
        let config = JournalConfig {
            partitions: PARTITIONS,
            min_free: MinFree::Bytes(0),
            drive: Drive::Caller,
            ..JournalConfig::default()
        };
        let (fs, time) = (Arc::new(LossyFs::new()), Arc::clone(&clock));
        let log = Journal::open(Path::new("/data"), config, fs, time).expect("a new journal");
        let mut config = DecoderConfig::new("web", FieldMap::preset(Preset::Segment));
        config.clock = ClockMode::Live;
        let decoder = Arc::new(Decoder::build(config).expect("a preset is valid"));
        Machine {
            clock,
            log,
            collector: Collector::new(decoder, PARTITIONS),
            ledger: Ledger::in_memory(),
            outputs: Outputs::default(),
            model: Model::default(),
            done: Default::default(),
        }
    }

    fn commit(&self, blocks: Vec<Block>) {
        let outcome = self.log.submit(Commit { blocks, ..Commit::default() }).wait();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }

    /// Sends a batch and gives the answer to it.
    fn post(&mut self, producer: &mut Producer, client_now: Micros) -> Answer {
        let prepared = producer.next(40, client_now).expect("written");
        let mut results = Vec::new();
        let received = self.clock.now();
        let content_type = Some(prepared.content_type);
        let delivery = Delivery { content_type, received, connection: None, events_max: 100 };
        take_body(
            &mut self.collector,
            &prepared.body,
            &delivery,
            |index| ArrivalPosition::Fresh(index.into()),
            |index, failure| {
                results.push(Refusal { index: index as u32, code: failure.code.name().to_owned() });
            },
        )
        .expect("no more events than there may be");
        let answer =
            Answer { accepted: self.collector.accepted() as u32, refused: self.collector.refused() as u32, results };
        let blocks = self.collector.take();
        self.commit(blocks);
        self.ledger.take(producer).expect("records");
        answer
    }

    /// Passes on what is new in `raw`, as the model says, and then what is new in `enriched`.
    fn work(&mut self) {
        self.read();
        self.model.extend(&self.outputs.raw);
        let mut out = Blocks::default();
        for (partition, fates) in (0..).zip(&self.model.fates) {
            let records = self.records(RAW.partition(partition));
            let done = std::mem::replace(&mut self.done[0][partition as usize], fates.len());
            for (fate, (offset, record)) in fates.iter().zip(&records).skip(done) {
                let header = record.header_from(RAW.partition(partition), *offset);
                match fate {
                    Fate::Enriched => {
                        let key = String::from_utf8_lossy(&record.key);
                        let object = record.value.strip_suffix(b"}").expect("an object");
                        let member =
                            format!(r#","enriched":{{"v":1,"revision":0,"visitor":{{"id":"{key}","how":"given"}}}}}}"#);
                        out.push(ENRICHED, &record.key, &header, Some(&[object, member.as_bytes()].concat()));
                    }
                    Fate::Conflict => out.set_aside(Code::ConflictingDuplicate, *offset, record, &header),
                    Fate::Duplicate => {}
                }
            }
        }
        // What stages say to each other, nobody sees.
        let control = Header { flags: Flags::CONTROL, ..Header::default() };
        for topic in [RAW, ENRICHED, SESSIONS] {
            out.push(topic, b"", &control, None);
        }
        self.commit(out.take());
        self.read();
        for partition in 0..PARTITIONS {
            let records = self.records(ENRICHED.partition(partition));
            let done = std::mem::replace(&mut self.done[1][partition as usize], records.len());
            for (n, (offset, record)) in records.iter().enumerate().skip(done) {
                let header = record.header_from(ENRICHED.partition(partition), *offset);
                let row = &self.outputs.enriched.rows[partition as usize][n];
                if row.id.is_some_and(|id| self.ledger.poison.contains(&id)) {
                    out.set_aside(Code::OperatorPanic, *offset, record, &header);
                } else if n % 8 == 0 {
                    let late = format!(
                        r#"{{"kind":"late","time":"{time}","watermark":"2100-01-01T00:00:00.000000Z","at":{{"topic":"enriched","partition":{partition},"offset":{offset}}}}}"#,
                        time = text(row.counts_at().expect("a time"))
                    );
                    out.push(LATE, &record.key, &header, Some(late.as_bytes()));
                } else {
                    let update = format!(r#"{{"kind":"update","session_id":"{offset:032x}"}}"#);
                    out.push(SESSIONS, &record.key, &header, Some(update.as_bytes()));
                }
            }
        }
        self.commit(out.take());
        self.read();
    }

    fn read(&mut self) {
        self.outputs.read(&*self.log).expect("readable");
    }

    fn records(&self, at: TopicPartition) -> Vec<(u64, Owned)> {
        let fetch = self.log.fetch(at, 0, usize::MAX).expect("readable");
        let records = fetch.chunks.iter().flat_map(|c| c.records().map(|r| r.expect("a record")));
        records
            .filter(|(_, r)| is_shown(r))
            .map(|(offset, r)| {
                let (key, header) = (r.key.to_vec(), r.header_bytes.to_vec());
                (offset, Owned { key, header, value: r.value.unwrap_or_default().to_vec() })
            })
            .collect()
    }

    fn check(&self, outputs: &Outputs) -> Vec<laws::Violation> {
        laws::check(&World { ledger: &self.ledger, outputs, model: &self.model, sessions: Some(RULES) })
    }
}

/// A record that is kept.
struct Owned {
    key: Vec<u8>,
    header: Vec<u8>,
    value: Vec<u8>,
}

impl Owned {
    /// The header of what is made of it.
    fn header_from(&self, at: TopicPartition, offset: u64) -> Header {
        let header = HeaderRef::new(&self.header).expect("a header").to_header();
        Header { source: Source::of(at.topic, at.partition, offset), ..header }
    }
}

#[derive(Default)]
struct Blocks(BTreeMap<TopicPartition, BlockBuilder>);

impl Blocks {
    fn push(&mut self, topic: TopicId, key: &[u8], header: &Header, value: Option<&[u8]>) {
        let to = topic.partition(key::partition_of(key, PARTITIONS));
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        let parts = value.map(|v| [v]);
        self.0.entry(to).or_insert_with(|| BlockBuilder::new(to)).push(key, &bytes, parts.as_ref().map(|p| &p[..]));
    }

    fn set_aside(&mut self, code: Code, offset: u64, record: &Owned, header: &Header) {
        let (source, position) = ("web", offset.to_string());
        let received = header.received_time;
        let letter = DeadLetter { code, pointer: "", message: "", source, position: &position, received, id: None };
        let mut value = Vec::new();
        letter.write(&record.value, &mut value);
        self.push(DLQ, position.as_bytes(), header, Some(&value));
    }

    fn take(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.0).into_values().map(BlockBuilder::finish).collect()
    }
}

fn text(time: Micros) -> String {
    let mut out = Vec::new();
    time.write_rfc3339(&mut out);
    String::from_utf8(out).expect("a time is text")
}

/// Senders with all sorts of clocks; answers that are lost and asked for again minutes later; a machine whose clock is set.
fn lived() -> Machine {
    let mut machine = Machine::new();
    let mut producers: Vec<Producer> = [0, 60, -60, 600, 900, -900, 7_200, -7_200]
        .into_iter()
        .zip(1..)
        .map(|(skew_s, seed)| {
            let config = ProducerConfig {
                people: 200,
                future_per_myriad: 200,
                conflict_per_myriad: 100,
                poison_per_mille: 20,
                hot_per_mille: 100,
                clock_skew_us: skew_s * Micros::SECOND,
                ..ProducerConfig::new(seed)
            };
            Producer::in_memory(config).expect("a generator")
        })
        .collect();
    let began = machine.clock.now();
    for round in 0..24 {
        for producer in &mut producers {
            let client_now = Micros(began.0 + machine.clock.elapsed().as_micros() as i64);
            machine.post(producer, client_now);
            if round % 4 == 1 {
                // The answer is lost, and it takes long until it is asked for again.
                machine.clock.advance(Duration::from_secs(150 * (1 + round / 4)));
                machine.post(producer, client_now);
            }
            let answer = machine.post(producer, client_now);
            assert_eq!(producer.acknowledge(&answer).expect("written"), Ok(()));
            machine.ledger.take(producer).expect("records");
            machine.clock.advance(Duration::from_millis(700));
        }
        match round {
            8 => machine.clock.jump(-3_600 * Micros::SECOND),
            16 => machine.clock.jump(2 * 3_600 * Micros::SECOND),
            _ => {}
        }
        if round % 5 == 4 {
            machine.work();
        }
    }
    machine.work();
    machine
}

#[test]
fn what_the_log_holds_and_what_the_lines_say_are_the_same_rows() {
    let machine = lived();
    let mut scratch = Vec::new();
    for name in ALL_TOPICS {
        let topic = machine.outputs.topic(name);
        let id = TopicId::named(name).expect("a topic");
        for partition in 0..PARTITIONS {
            let at = id.partition(partition);
            let fetch = machine.log.fetch(at, 0, usize::MAX).expect("readable");
            let mut rows = Vec::new();
            for (offset, record) in fetch.chunks.iter().flat_map(|c| c.records().map(|r| r.expect("a record"))) {
                if is_shown(&record) {
                    let mut line = Vec::new();
                    write_record(&mut line, partition, offset, &record);
                    rows.push(parse_line(name, &line, PARTITIONS, &mut scratch).expect("a row").1);
                }
            }
            assert!(rows.len() > 20, "{at}");
            assert_eq!(rows, topic.rows[partition as usize], "{at}");
            assert_eq!(topic.next[partition as usize], fetch.end, "{at}");
        }
    }
    let mut again = Outputs::default();
    again.read(&*machine.log).expect("readable");
    assert_eq!(format!("{again:?}"), format!("{:?}", machine.outputs), "at once as bit by bit");
}

#[test]
fn the_laws_hold_of_it_and_find_what_is_wrong() {
    let machine = lived();
    let outputs = &machine.outputs;
    assert_eq!(machine.check(outputs), []);
    let flagged = outputs.raw.iter().filter(|(_, r)| r.future).count();
    let set_aside = outputs.dlq.iter().filter(|(_, r)| r.from_enriched).count();
    assert!(flagged > 500 && flagged + 500 < outputs.raw.len(), "{flagged} of {}", outputs.raw.len());
    assert!(set_aside > 50, "{set_aside}");
    for topic in ["raw", "enriched"] {
        for future in [false, true] {
            let mut wrong = outputs.clone();
            let rows = wrong.topic_mut(topic).rows.iter_mut().flatten();
            rows.filter(|r| r.future == future).for_each(|r| r.future = !future);
            assert_eq!(machine.check(&wrong)[0].law, Law::L3, "{topic}, flagged: {future}");
        }
    }
    // A letter of the sessions stage is not one of the enrich stage.
    let mut wrong = outputs.clone();
    wrong.dlq.rows.iter_mut().flatten().for_each(|r| r.from_enriched = false);
    let laws: Vec<Law> = machine.check(&wrong).into_iter().map(|v| v.law).collect();
    for law in [Law::L3, Law::L4, Law::L7] {
        assert!(laws.contains(&law), "{law:?} of {laws:?}");
    }
}
