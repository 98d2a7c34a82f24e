//! Reads topics as they grow, as anybody would who wants records soon, and says how late they were and how long there were none.
//! It knows nothing of who writes them: Ouzel's and other programs' are read alike.

#![allow(clippy::disallowed_methods)] // it measures real time, as a program of its own would

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event::HeaderRef;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::config::KafkaConfig;
use crate::native::HEADER;

const POLL: Duration = Duration::from_millis(50);
const ASK: Duration = Duration::from_secs(10);

/// A reader of some topics, from their ends at its start until it is dropped. Control records, which have no value, do not count.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    topics: Vec<Mutex<Seen>>,
    stop: AtomicBool,
    failed: Mutex<Option<String>>,
}

struct Seen {
    name: String,
    records: u64,
    latencies: Latencies,
    pauses: BTreeMap<u32, Silence>,
}

/// What is known of a partition's pauses.
struct Silence {
    last: Instant,
    longest: Pause,
    records: u64,
}

/// A time without records.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    pub from: Instant,
    pub until: Instant,
}

impl Pause {
    pub fn length(&self) -> Duration {
        self.until - self.from
    }
}

/// What was seen of one partition since [`Watch::mark`].
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub partition: u32,
    pub records: u64,
    /// The longest; the one that goes on is one of them.
    pub longest: Pause,
    /// How long it has been silent now.
    pub silent: Duration,
}

impl Watch {
    /// `topics`: their full names. Any record written after this has returned is seen.
    ///
    /// # Errors
    /// A topic is not there, or no broker answers.
    pub fn start(config: &KafkaConfig, topics: &[&str]) -> Result<Watch, String> {
        let mut client = config.consumer(&format!("{}watch", config.prefix), "watch");
        client.set("enable.partition.eof", "false");
        let consumer: BaseConsumer = client.create().map_err(|e| e.to_string())?;
        let mut list = TopicPartitionList::new();
        for topic in topics {
            let found = consumer.fetch_metadata(Some(topic), ASK).map_err(|e| format!("{topic}: {e}"))?;
            let partitions = found.topics().first().map_or(0, |t| t.partitions().len()) as i32;
            if partitions == 0 {
                return Err(format!("there is no topic {topic}"));
            }
            for p in 0..partitions {
                let (_, end) = consumer.fetch_watermarks(topic, p, ASK).map_err(|e| format!("{topic}/{p}: {e}"))?;
                list.add_partition_offset(topic, p, Offset::Offset(end)).map_err(|e| e.to_string())?;
            }
        }
        consumer.assign(&list).map_err(|e| e.to_string())?;
        let seen = |topic: &&str| {
            let name = (*topic).to_owned();
            Mutex::new(Seen { name, records: 0, latencies: Latencies::default(), pauses: BTreeMap::new() })
        };
        let topics = topics.iter().map(seen).collect();
        let shared = Arc::new(Shared { topics, stop: AtomicBool::new(false), failed: Mutex::default() });
        let polled = shared.clone();
        let thread = std::thread::Builder::new().name("kafka-watch".to_owned());
        let thread = thread.spawn(move || polled.run(&consumer)).map_err(|e| e.to_string())?;
        Ok(Watch { shared, thread: Some(thread) })
    }

    /// Records of the `n`-th topic so far.
    pub fn records(&self, n: usize) -> u64 {
        self.topic(n).records
    }

    /// How late those of the `n`-th topic were since it was asked last: from the record's timestamp to now.
    pub fn take(&self, n: usize) -> Latencies {
        std::mem::take(&mut self.topic(n).latencies)
    }

    /// Pauses begin anew: those of the partitions `0..partitions` of all topics.
    pub fn mark(&self, partitions: u32) {
        let now = Instant::now();
        for n in 0..self.shared.topics.len() {
            let fresh = |_| Silence { last: now, longest: Pause { from: now, until: now }, records: 0 };
            self.topic(n).pauses = (0..partitions).map(|p| (p, fresh(p))).collect();
        }
    }

    /// Since [`Watch::mark`], by the partition that the records were made from where their header says it, else by their own.
    pub fn flows(&self, n: usize) -> Vec<Flow> {
        let now = Instant::now();
        let flow = |(partition, silence): (&u32, &Silence)| {
            let current = Pause { from: silence.last, until: now };
            let longest = if current.length() > silence.longest.length() { current } else { silence.longest };
            Flow { partition: *partition, records: silence.records, longest, silent: current.length() }
        };
        self.topic(n).pauses.iter().map(flow).collect()
    }

    /// # Errors
    /// Why it does not read any more.
    pub fn check(&self) -> Result<(), String> {
        match &*self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    fn topic(&self, n: usize) -> MutexGuard<'_, Seen> {
        self.shared.topics[n].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self, consumer: &BaseConsumer) {
        while !self.stop.load(Relaxed) {
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => self.take_in(&message),
                // The client tries again by itself, but after these.
                Some(Err(e)) if consumer.client().fatal_error().is_none() => {
                    tracing::info!(target: "kafka", "a watch: {e}");
                }
                Some(Err(e)) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(e.to_string());
                    return;
                }
            }
        }
    }

    fn take_in(&self, message: &BorrowedMessage<'_>) {
        if message.payload().is_none() {
            return;
        }
        let topics = self.topics.iter().map(|t| t.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(mut seen) = topics.into_iter().find(|t| t.name == message.topic()) else { return };
        seen.records += 1;
        if let Some(written) = message.timestamp().to_millis() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            seen.latencies.record(now.saturating_sub(Duration::from_millis(written.max(0) as u64)));
        }
        if seen.pauses.is_empty() {
            return;
        }
        let now = Instant::now();
        if let Some(silence) = seen.pauses.get_mut(&made_from(message)) {
            let pause = Pause { from: silence.last, until: now };
            if pause.length() > silence.longest.length() {
                silence.longest = pause;
            }
            silence.last = now;
            silence.records += 1;
        }
    }
}

/// The partition that a record was made from: a visitor that was linked has events of other partitions.
fn made_from(message: &BorrowedMessage<'_>) -> u32 {
    let header = message.headers().and_then(|headers| {
        let ours = headers.iter().find(|h| h.key.as_bytes() == HEADER.to_bytes())?;
        HeaderRef::new(ours.value?).map(|h| h.source())
    });
    header.map_or(message.partition().max(0) as u32, |source| source.partition)
}

/// Times in steps of a tenth of a millisecond up to two seconds, and of ten milliseconds beyond, up to two minutes. Kafka's
/// timestamps are cut to the millisecond, so that each is half of one too long in the mean.
pub struct Latencies {
    fine: Vec<u64>,
    coarse: Vec<u64>,
    count: u64,
}

const FINE_US: u64 = 100;
const FINE_MAX_US: u64 = 2_000_000;
const COARSE_US: u64 = 10_000;
const COARSE_MAX_US: u64 = 120_000_000;

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies {
            fine: vec![0; (FINE_MAX_US / FINE_US) as usize],
            coarse: vec![0; ((COARSE_MAX_US - FINE_MAX_US) / COARSE_US) as usize],
            count: 0,
        }
    }
}

impl Latencies {
    pub fn record(&mut self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let (buckets, n) = match us < FINE_MAX_US {
            true => (&mut self.fine, us / FINE_US),
            false => (&mut self.coarse, (us - FINE_MAX_US) / COARSE_US),
        };
        let last = buckets.len() - 1;
        buckets[(n as usize).min(last)] += 1;
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// What a share `q` (0 to 1) of all did not exceed, at most a step too high; `None` while there are none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((self.count as f64 * q).ceil() as u64).max(1);
        let fine = (1..).map(|n| n * FINE_US).zip(&self.fine);
        let coarse = (1..).map(|n| FINE_MAX_US + n * COARSE_US).zip(&self.coarse);
        let mut seen = 0;
        fine.chain(coarse).find_map(|(upper, count)| {
            seen += count;
            (seen >= rank).then(|| Duration::from_micros(upper))
        })
    }
}

/// A group as its coordinator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupLook {
    /// `Stable`, `PreparingRebalance`, ...
    pub state: String,
    /// Client ids of its members, sorted.
    pub members: Vec<String>,
}

/// Looks at groups.
pub struct Groups {
    client: BaseConsumer,
    config: KafkaConfig,
}

impl Groups {
    /// # Errors
    /// The client cannot be made.
    pub fn open(config: &KafkaConfig) -> Result<Groups, String> {
        let client = config.client(&format!("{}groups", config.prefix)).create().map_err(|e| e.to_string())?;
        Ok(Groups { client, config: config.clone() })
    }

    /// `group`: without the prefix. `None`: the coordinator does not answer, or knows no such group.
    pub fn look(&self, group: &str) -> Option<GroupLook> {
        let list = self.client.fetch_group_list(Some(&self.config.group(group)), ASK).ok()?;
        let group = list.groups().first()?;
        let mut members: Vec<String> = group.members().iter().map(|m| m.client_id().to_owned()).collect();
        members.sort();
        Some(GroupLook { state: group.state().to_owned(), members })
    }

    /// Whether a member with this client id is one of a process with that slot.
    pub fn is_of_slot(&self, group: &str, client_id: &str, slot: &str) -> bool {
        let name = format!("{}-{slot}-", self.config.group(group));
        client_id.strip_prefix(&name).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_a_step_above_what_was_recorded() {
        let mut all = Latencies::default();
        assert_eq!(all.quantile(0.5), None);
        (1..=1000).for_each(|ms| all.record(Duration::from_millis(ms)));
        assert_eq!(all.count(), 1000);
        let ms = |q| all.quantile(q).expect("there are some").as_secs_f64() * 1e3;
        for (q, want) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)] {
            assert!((0.0..=0.11).contains(&(ms(q) - want)), "{q}: {}", ms(q));
        }
    }

    #[test]
    fn long_ones_are_told_in_longer_steps_and_none_is_lost() {
        let mut all = Latencies::default();
        for (ms, want) in [(2_000, 2_010), (31_234, 31_240), (119_999, 120_000), (900_000, 120_000)] {
            all.record(Duration::from_millis(ms));
            assert_eq!(all.quantile(1.0), Some(Duration::from_millis(want)), "{ms}");
        }
        assert_eq!(all.count(), 4);
    }
}
