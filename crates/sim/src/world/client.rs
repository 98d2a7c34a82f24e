//! Clients, the network between, and the doors: a client sends a batch until it is answered, and then the next one.

use std::sync::Arc;

use door::collect::Collector;
use door::http::{Delivery, take_body};
use event::Micros;
use log::{Commit, Log, Ticket};
use seam::fault::point;
use wire::{ArrivalPosition, ClockMode, Decoder, DecoderConfig, FieldMap, Preset};

use crate::ledger::{Answer, Producer, ProducerConfig, Refusal};

/// Somebody who sends events, and is honest about it.
pub struct Client {
    pub producer: Producer,
    /// Events still to be sent for the first time.
    pub left: usize,
    /// Grows with each sending and with each answer, so that an answer that comes too late is known.
    pub attempt: u64,
}

impl Client {
    pub fn new(config: ProducerConfig, events: usize) -> std::io::Result<Client> {
        Ok(Client { producer: Producer::in_memory(config)?, left: events, attempt: 0 })
    }

    pub fn is_done(&self) -> bool {
        self.left == 0 && !self.producer.has_pending()
    }

    /// The body to send now: a new batch of at most `n`, or the one whose answer is not known.
    pub fn body(&mut self, n: usize, now: Micros) -> std::io::Result<Body> {
        self.attempt += 1;
        if !self.producer.has_pending() {
            self.left -= n.min(self.left);
        }
        let prepared = self.producer.next(n, now)?;
        Ok(Body { bytes: prepared.body.as_slice().into(), content_type: prepared.content_type })
    }
}

/// A request's.
#[derive(Clone)]
pub struct Body {
    pub bytes: Arc<[u8]>,
    pub content_type: &'static str,
}

/// A batch that a door has taken, and not answered yet.
pub struct Request {
    pub client: usize,
    pub attempt: u64,
    pub ticket: Ticket,
    /// If it is committed.
    pub answer: Answer,
}

/// The doors of a process.
pub struct Door {
    decoder: Arc<Decoder>,
    log: Arc<dyn Log>,
}

impl Door {
    pub fn new(log: Arc<dyn Log>) -> Door {
        let config =
            DecoderConfig { clock: ClockMode::Live, ..DecoderConfig::new("web", FieldMap::preset(Preset::Segment)) };
        Door { decoder: Arc::new(Decoder::build(config).expect("a preset")), log }
    }

    /// Takes a request, as the HTTP door does once it has its body. `fresh`: for events without an id.
    pub fn take(&self, client: usize, attempt: u64, body: &Body, now: Micros, fresh: u128) -> Request {
        let mut collector = Collector::new(self.decoder.clone(), self.log.partitions(event::topic::RAW));
        let mut results = Vec::new();
        let delivery = Delivery {
            content_type: Some(body.content_type),
            received: now,
            connection: Some(("192.0.2.7", "sim")),
            events_max: u64::MAX,
        };
        let position = |index: u64| ArrivalPosition::Fresh(fresh.wrapping_add(u128::from(index)));
        let taken = take_body(&mut collector, &body.bytes, &delivery, position, |index, failure| {
            results.push(Refusal { index: index as u32, code: failure.code.name().to_owned() });
        });
        taken.expect("there is no bound");
        point("door.parsed");
        let answer = Answer { accepted: collector.accepted() as u32, refused: collector.refused() as u32, results };
        let ticket = self.log.submit(Commit { blocks: collector.take(), ..Commit::default() });
        point("door.submitted");
        Request { client, attempt, ticket, answer }
    }
}
