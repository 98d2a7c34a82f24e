//! How this process reaches Kafka, and who it is there.

use std::collections::BTreeMap;
use std::time::Duration;

use event::{TopicId, TopicPartition};
use log::LogError;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// Who this process is in the cluster, and what it asks of it.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas: any of the cluster's brokers.
    pub brokers: String,
    /// Stands before every topic, group and transactional id, as `ouzel.`.
    pub prefix: String,
    /// Of every topic.
    pub partitions: u32,
    /// Copies of each partition, for topics that are made.
    pub replication: u16,
    /// What this process does, for people who look at the cluster.
    pub role: String,
    /// Tells this process from others with the same role. Two with the same one fence each other.
    pub slot: String,
    /// Whether a member that comes back within the session timeout has its partitions as before. One that leaves keeps them
    /// from others for that long.
    pub static_members: bool,
    /// The least time from one commit of a member to the next.
    pub commit_age: Duration,
    /// After this long without a heartbeat the partitions of a member are another's.
    pub session_timeout: Duration,
    /// After this long the broker aborts a transaction that nobody ends. Below the session timeout.
    pub transaction_timeout: Duration,
    /// How long to wait for a broker's answer before an error is given; `None`: as long as it takes.
    pub patience: Option<Duration>,
    /// Further properties of the client, as librdkafka names them (`security.protocol`, `sasl.username`, ...).
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: "127.0.0.1:9092".to_owned(),
            prefix: "ouzel.".to_owned(),
            partitions: 4,
            replication: 1,
            role: "ouzel".to_owned(),
            slot: "0".to_owned(),
            static_members: true,
            commit_age: Duration::from_millis(15),
            session_timeout: Duration::from_secs(6),
            transaction_timeout: Duration::from_secs(5),
            patience: None,
            properties: BTreeMap::new(),
        }
    }
}

impl KafkaConfig {
    /// A topic's name in the cluster.
    pub fn topic(&self, topic: TopicId) -> String {
        format!("{}{}", self.prefix, topic.name())
    }

    /// A group's name in the cluster.
    pub fn group(&self, group: &str) -> String {
        format!("{}{group}", self.prefix)
    }

    /// The name of the `n`-th member of a group in this process: its client id, group instance id and transactional id.
    pub(crate) fn member(&self, group: &str, n: u32) -> String {
        format!("{}{group}-{}-{n}", self.prefix, self.slot)
    }

    /// The partition must be one there is.
    pub(crate) fn checked(&self, at: TopicPartition) -> Result<(), LogError> {
        match at.partition < self.partitions && (at.topic.0 as usize) < event::topic::TOPICS.len() {
            true => Ok(()),
            false => Err(LogError::NoTopic(at.topic.0)),
        }
    }

    /// What every client has in common. What a user sets wins, but for what exactness depends on.
    pub(crate) fn client(&self, id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", id);
        // Loopback and data centres both: a connection that is dead is found soon, and tried again soon.
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.ms", "50").set("reconnect.backoff.max.ms", "1000");
        config.set("topic.metadata.refresh.interval.ms", "30000");
        // What a broker that has just started does not know yet is known again as soon as it says so (default: after 30 s).
        config.set("topic.metadata.propagation.max.ms", "500");
        config.set("allow.auto.create.topics", "false");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Warning);
        config
    }

    /// A consumer that reads what is committed, from positions that it is told.
    pub(crate) fn consumer(&self, id: &str, group: &str) -> ClientConfig {
        let mut config = self.client(id);
        config.set("group.id", self.group(group));
        config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false");
        config.set("isolation.level", "read_committed");
        config.set("auto.offset.reset", "error");
        config.set("enable.partition.eof", "true");
        // A broker answers when there is much, or after this. With the default, one byte, it answers after every write of anybody:
        // on a busy topic that costs it more than all else. (The default waits for half a second where there is nothing.)
        let wait = (self.commit_age / 2).as_millis().clamp(2, 20);
        config.set("fetch.wait.max.ms", wait.to_string()).set("fetch.min.bytes", "65536");
        config.set("fetch.queue.backoff.ms", "10").set("fetch.error.backoff.ms", "50");
        config.set("queued.min.messages", "20000").set("queued.max.messages.kbytes", "8192");
        config.set("check.crcs", "true");
        config
    }

    /// A producer of doors: its records are each stored once, in order.
    pub(crate) fn door(&self, id: &str) -> ClientConfig {
        let mut config = self.producer(id);
        // Beyond this a sender has an answer; whether the record is stored is not known then.
        config.set("message.timeout.ms", "30000");
        // What comes within it goes in one request for each partition: on a busy topic a request costs a broker more than what
        // is in it.
        self.linger(&mut config, (self.commit_age / 2).as_millis().clamp(1, 10));
        config
    }

    fn linger(&self, config: &mut ClientConfig, ms: u128) {
        if !self.properties.contains_key("linger.ms") {
            config.set("linger.ms", ms.to_string());
        }
    }

    fn producer(&self, id: &str) -> ClientConfig {
        let mut config = self.client(id);
        config.set("enable.idempotence", "true").set("acks", "all");
        config.set("queue.buffering.max.kbytes", "262144").set("queue.buffering.max.messages", "500000");
        config.set("message.max.bytes", "10485760");
        config
    }

    /// A producer for transactions under this id.
    pub(crate) fn transactional(&self, id: &str) -> ClientConfig {
        let mut config = self.producer(id);
        config.set("transactional.id", id);
        // All of a commit is handed in at once; without this the first record of each partition goes in a request of its own.
        self.linger(&mut config, 1);
        // The next transaction may find the one before not ended yet by a few milliseconds. (The default is to wait for 100.)
        config.set("retry.backoff.ms", "10");
        config.set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string());
        // What is in a transaction is delivered within it, or it is aborted.
        config.set("message.timeout.ms", self.transaction_timeout.as_millis().to_string());
        config
    }
}
