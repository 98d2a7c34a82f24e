//! A topic of other people's: random keys, other producers, anything in it. It is read as a member of a group, and what is made
//! of its records is committed in one transaction with the positions in it: each record is taken once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event::{Block, Offset};
use log::{LogError, Outcome};
use rdkafka::bindings as rd;
use rdkafka::types::RDKafkaRespErr as Code;

use crate::kafka::{KafkaLog, Shared};
use crate::native::{Client, Events, Handle, Kind, List, Queue, words};
use crate::position;
use crate::reader::{LOOK, MISSED, SILENT};
use crate::transactor::{Maker, Owner};

/// Records taken in one go.
const BATCH: usize = 2000;

/// A record as it lies there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRecord {
    pub partition: u32,
    pub offset: Offset,
    /// When it was made or stored, in milliseconds since 1970.
    pub timestamp: Option<i64>,
    /// `None`: a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A place in the group that reads a foreign topic. Dropping it leaves.
pub struct Foreign {
    shared: Arc<Shared>,
    client: Arc<Client>,
    queue: Queue,
    seat: Arc<Seat>,
    owner: Owner,
    maker: Maker,
    topic: String,
    group: String,
    /// By partition: the position after what was read and is not committed.
    next: BTreeMap<i32, Offset>,
    heard: Instant,
    /// There was more than came when it was last looked.
    missed: bool,
}

#[derive(Default)]
struct Seat(Mutex<State>);

#[derive(Default)]
struct State {
    owned: BTreeSet<i32>,
    /// Taken away since the last reading.
    gone: BTreeSet<i32>,
    /// Owned, and read to the end, which was there.
    at_end: BTreeMap<i32, Offset>,
    joined: bool,
}

impl Foreign {
    /// `source`: the name of the source, by which its group is called. `from_start`: where it has no position yet, all that is
    /// there is read; else what comes from now on.
    ///
    /// # Errors
    /// A property is wrong.
    pub fn join(log: &KafkaLog, topic: &str, source: &str, from_start: bool) -> Result<Foreign, LogError> {
        let shared = log.shared().clone();
        let stopped = |why: String| LogError::Stopped(format!("the topic {topic} cannot be read: {why}"));
        let group = format!("collect.{source}");
        let id = shared.config.member(&group, 0);
        let mut config = shared.config.consumer(&id, &group);
        config.set("auto.offset.reset", if from_start { "earliest" } else { "latest" });
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("session.timeout.ms", shared.config.session_timeout.as_millis().to_string());
        config.set("heartbeat.interval.ms", "300");
        let seat = Arc::new(Seat::default());
        let client = Client::new(&config, Kind::Consumer, Rebalances(seat.clone())).map_err(stopped)?;
        client.subscribe(topic).map_err(|code| stopped(words(code)))?;
        let (client, queue) = (Arc::new(client), BATCH);
        Ok(Foreign {
            queue: Queue::new(**client, queue),
            owner: Owner::Consumer(client.clone()),
            maker: Maker::new(id),
            topic: topic.to_owned(),
            group: shared.config.group(&group),
            next: BTreeMap::new(),
            heard: Instant::now(),
            missed: false,
            shared,
            client,
            seat,
        })
    }

    /// What is there, after waiting for the first for at most `wait`. To be called often, also when nothing is wanted: the
    /// group's news come with it.
    pub fn read(&mut self, wait: Duration) -> Vec<ForeignRecord> {
        let mut read = Vec::new();
        let seat = &self.seat;
        self.queue.read(wait, |message| match message.result() {
            Ok(()) => {
                seat.lock().at_end.remove(&message.partition());
                read.push(ForeignRecord {
                    partition: message.partition().max(0) as u32,
                    offset: message.offset(),
                    timestamp: message.timestamp(),
                    value: message.value().map(<[u8]>::to_vec),
                });
            }
            Err(Code::RD_KAFKA_RESP_ERR__PARTITION_EOF) => {
                seat.lock().at_end.insert(message.partition(), message.offset());
            }
            Err(code) => tracing::info!(target: "kafka", topic = message.topic(), "a foreign topic: {}", words(code)),
        });
        // What was taken away meanwhile is another's: it begins at the committed position.
        let gone = std::mem::take(&mut self.seat.lock().gone);
        if !gone.is_empty() {
            read.retain(|r| !gone.contains(&(r.partition as i32)));
            self.next.retain(|p, _| !gone.contains(p));
        }
        for record in &read {
            self.next.insert(record.partition as i32, record.offset + 1);
        }
        if read.is_empty() {
            self.look_after_the_silent();
        } else {
            (self.heard, self.missed) = (Instant::now(), false);
        }
        read
    }

    /// A client may stop reading a partition for good, and says nothing: where something is behind the ends that it told of, twice
    /// in a row, all is read again from the committed positions.
    fn look_after_the_silent(&mut self) {
        let patience = if self.missed { MISSED } else { SILENT };
        if self.heard.elapsed() < patience || !self.next.is_empty() {
            return;
        }
        let (owned, ends) = {
            let state = self.seat.lock();
            (state.owned.clone(), state.at_end.clone())
        };
        let is_behind = |p: &i32| {
            let end = self.client.watermarks(&self.topic, *p as u32, LOOK);
            end.is_ok_and(|(_, end)| ends.get(p).is_none_or(|told| end > *told))
        };
        let is_missed = owned.iter().any(is_behind);
        if is_missed && self.missed {
            tracing::info!(target: "kafka", topic = self.topic, "nothing comes although there is more: read anew");
            self.rewind();
        }
        (self.heard, self.missed) = (Instant::now(), is_missed && !self.missed);
    }

    /// Commits what was made of all that was read, with the positions behind it. Not Committed: the same is read again.
    pub fn commit(&mut self, blocks: &[Block]) -> Outcome {
        if self.next.is_empty() {
            return Outcome::Committed(log::Committed::default());
        }
        let mut list = List::new();
        let text = position::encode(b"", &self.maker.id);
        for (partition, next) in &self.next {
            list.add_with(&self.topic, *partition, *next as i64, &text);
        }
        let positions = BTreeMap::from([(self.group.clone(), list)]);
        let outcome = self.maker.make(&self.shared, &self.owner, blocks, &positions);
        match &outcome {
            Outcome::Committed(_) => self.shared.changed(),
            _ => self.rewind(),
        }
        self.next.clear();
        outcome
    }

    /// Whether all that is there was read, by this member.
    pub fn is_at_end(&self) -> bool {
        let state = self.seat.lock();
        state.joined && state.owned.iter().all(|p| state.at_end.contains_key(p)) && self.next.is_empty()
    }

    /// Reads again from the committed positions.
    fn rewind(&mut self) {
        let mut list = List::new();
        let mut state = self.seat.lock();
        state.at_end.clear();
        for partition in &state.owned {
            list.add(&self.topic, *partition, rd::RD_KAFKA_OFFSET_INVALID.into());
        }
        drop(state);
        let again = self.client.assign_less(&list).and_then(|()| self.client.assign_more(&list));
        if let Err(why) = again {
            tracing::warn!(target: "kafka", topic = self.topic, "cannot be read again: {why}");
        }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.client.close();
    }
}

impl Seat {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Rebalances(Arc<Seat>);

impl Events for Rebalances {
    fn rebalanced(&self, client: Handle, assigned: bool, partitions: &List) {
        let all: Vec<i32> = partitions.iter().map(|(_, p)| p).collect();
        let mut state = self.0.lock();
        state.joined = true;
        let done = if assigned {
            state.owned.extend(&all);
            drop(state);
            client.assign_more(partitions)
        } else {
            for p in &all {
                state.owned.remove(p);
                state.at_end.remove(p);
            }
            state.gone.extend(all);
            drop(state);
            client.assign_less(partitions)
        };
        if let Err(why) = done {
            tracing::info!(target: "kafka", "a rebalance of a foreign topic: {why}");
        }
    }
}
