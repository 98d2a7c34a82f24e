//! The log on Apache Kafka. What it will be called like; nothing is connected yet.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use event::{Offset, TopicId, TopicPartition};
use log::{Commit, Fetch, Input, Log, LogError, Membership, StoredPosition, Ticket};
use tokio::sync::watch;

#[derive(Clone, Debug)]
pub struct KafkaConfig {
    pub brokers: String,
    pub prefix: String,
    pub partitions: u32,
    pub replication: u16,
    pub role: String,
    pub slot: String,
    pub commit_age: Duration,
    pub session_timeout: Duration,
    pub transaction_timeout: Duration,
    pub properties: BTreeMap<String, String>,
}

pub struct KafkaLog(Infallible);

impl KafkaLog {
    pub fn connect(_: KafkaConfig) -> Result<Arc<KafkaLog>, LogError> {
        Err(LogError::Stopped("there is no Kafka yet".into()))
    }

    pub fn health(&self) -> Result<(), String> {
        match self.0 {}
    }

    pub fn close(&self) {
        match self.0 {}
    }
}

impl Log for KafkaLog {
    fn partitions(&self, _: TopicId) -> u32 {
        match self.0 {}
    }

    fn submit(&self, _: Commit) -> Ticket {
        match self.0 {}
    }

    fn fetch(&self, _: TopicPartition, _: Offset, _: usize) -> Result<Fetch, LogError> {
        match self.0 {}
    }

    fn bounds(&self, _: TopicPartition) -> Result<(Offset, Offset), LogError> {
        match self.0 {}
    }

    fn committed(&self, _: &str, _: &Input) -> Result<Option<StoredPosition>, LogError> {
        match self.0 {}
    }

    fn join(&self, _: &str, _: TopicId) -> Box<dyn Membership> {
        match self.0 {}
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        match self.0 {}
    }

    fn wait(&self, _: u64, _: Duration) -> u64 {
        match self.0 {}
    }
}

pub mod topics {
    use super::{KafkaConfig, LogError, TopicId};

    pub struct Change(std::convert::Infallible);

    impl std::fmt::Display for Change {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            match self.0 {}
        }
    }

    pub fn plan(_: &KafkaConfig, _: &[(TopicId, u64)]) -> Result<Vec<Change>, LogError> {
        Err(LogError::Stopped("there is no Kafka yet".into()))
    }

    pub fn apply(_: &KafkaConfig, _: &[Change]) -> Result<(), LogError> {
        Err(LogError::Stopped("there is no Kafka yet".into()))
    }
}

pub mod lag {
    use super::{KafkaConfig, LogError, TopicId};

    #[derive(Clone, Debug)]
    pub struct Lag {
        pub group: String,
        pub topic: TopicId,
        pub partition: u32,
        pub committed: Option<u64>,
        pub end: u64,
        /// The last stable offset.
        pub stable: u64,
        pub member: Option<String>,
    }

    pub fn read(_: &KafkaConfig, _: &[(&str, TopicId)]) -> Result<Vec<Lag>, LogError> {
        Err(LogError::Stopped("there is no Kafka yet".into()))
    }
}
