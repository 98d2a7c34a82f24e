//! Hands the records of a commit to a client that produces.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use event::record::{BlockError, RecordRef, records};
use event::{Block, TopicId};
use rdkafka::ClientConfig;
use rdkafka::types::RDKafkaRespErr as Code;

use crate::config::KafkaConfig;
use crate::delivery::{Deliveries, Pending, Slot};
use crate::native::{Client, Kind, Record, Topic};

pub(crate) struct Producer {
    /// IMPORTANT: before the client, which waits in its end for what is still open of it.
    topics: HashMap<TopicId, Topic>,
    pub client: Client,
}

/// Why the records of a commit are not with the client.
pub(crate) enum Refused {
    /// Its buffer is full.
    Full,
    /// They never can be.
    Invalid(String),
    Failed(Code),
}

impl Producer {
    pub fn new(config: &KafkaConfig, client: &ClientConfig) -> Result<Producer, String> {
        let client = Client::new(client, Kind::Producer, Deliveries)?;
        let topics = event::topic::TOPICS.iter().map(|t| Ok((t.id, client.topic(&config.topic(t.id))?)));
        let topics = topics.collect::<Result<_, String>>()?;
        Ok(Producer { topics, client })
    }

    /// Hands in all records of these blocks. `wait`: for room, as long as it takes; else it is refused when the buffer is full,
    /// and what was handed in before stays.
    pub fn send(&self, blocks: &[Block], pending: &Arc<Pending>, wait: bool) -> Result<(), Refused> {
        let mut rests: Vec<_> = blocks.iter().map(|block| records(&block.bytes)).collect();
        // The first record of a partition adds it to a transaction: one request for all of them, if they come together.
        let mut added = BTreeSet::new();
        for (n, (block, rest)) in blocks.iter().zip(&mut rests).enumerate() {
            if added.insert(block.to) {
                self.send_some(block, rest.take(1), &pending.slot(n), wait)?;
            }
        }
        for (n, (block, rest)) in blocks.iter().zip(rests).enumerate() {
            self.send_some(block, rest, &pending.slot(n), wait)?;
        }
        Ok(())
    }

    fn send_some<'a>(
        &self,
        block: &Block,
        records: impl Iterator<Item = Result<RecordRef<'a>, BlockError>>,
        slot: &Arc<Slot>,
        wait: bool,
    ) -> Result<(), Refused> {
        let topic = self.topics.get(&block.to.topic);
        let topic = topic.ok_or_else(|| Refused::Invalid(format!("there is no topic {}", block.to.topic.0)))?;
        for record in records {
            let record = record.map_err(|e| Refused::Invalid(e.to_string()))?;
            // Other people's tools go by it; the broker keeps records by it. That of receipt, as it never lies far off.
            let timestamp = record.header().map_or(0, |h| h.received_time().0 / 1000).max(0);
            let out = Record { key: record.key, header: record.header_bytes, value: record.value, timestamp };
            self.send_one(topic, block.to.partition, out, slot, wait)?;
        }
        Ok(())
    }

    fn send_one(
        &self,
        topic: &Topic,
        partition: u32,
        record: Record<'_>,
        slot: &Arc<Slot>,
        wait: bool,
    ) -> Result<(), Refused> {
        loop {
            let opaque = slot.opaque();
            let Err(code) = self.client.produce(topic, partition, record, opaque) else { return Ok(()) };
            Slot::taken_back(opaque);
            match code {
                Code::RD_KAFKA_RESP_ERR__QUEUE_FULL if wait => {
                    self.client.poll(Duration::from_millis(10));
                }
                Code::RD_KAFKA_RESP_ERR__QUEUE_FULL => return Err(Refused::Full),
                Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE => {
                    let size = record.value.map_or(0, <[u8]>::len) + record.header.len() + record.key.len();
                    return Err(Refused::Invalid(format!("a record of {size} bytes is too large for Kafka")));
                }
                code => return Err(Refused::Failed(code)),
            }
        }
    }
}
