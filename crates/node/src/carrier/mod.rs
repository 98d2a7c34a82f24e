//! What carries the events of a process: the journal in its data directory, or Kafka. The log itself is [`log::Log`]; here is
//! what a process has to know of it beside.

#[cfg(not(feature = "kafka"))]
mod absent;
#[cfg(feature = "kafka")]
mod foreign;
#[cfg(feature = "kafka")]
mod kafka;

use std::sync::Arc;

use event::topic::{ENRICHED, RAW};
use event::{Offset, TopicId};
use log::journal::{Health, Journal};
use log::{Log, LogError};
use session::operator::GROUP as SESSIONS_GROUP;

#[cfg(not(feature = "kafka"))]
pub use absent::{Kafka, Plan, lag, plan};
#[cfg(feature = "kafka")]
pub use kafka::{Kafka, Plan, lag, plan};

use crate::config::Config;
use crate::engine::World;
use crate::parts::journal_config;

/// The log of a process.
pub enum Carrier {
    Journal(Arc<Journal>),
    Kafka(Kafka),
}

/// How a log is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    Well,
    /// Nothing is taken until there is room. Why.
    Full(String),
    /// It does not answer at present. Why.
    Waits(String),
    /// Only a restart helps. Why.
    Stopped(String),
}

/// Which of all processes on a log this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Who {
    /// What it does, for people who look at the brokers.
    pub role: String,
    /// Of two with the same slot and role the later fences the earlier.
    pub slot: String,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    #[error(transparent)]
    Log(#[from] LogError),
    /// A secret that is not where the configuration says.
    #[error("`{key}`: {why}")]
    Secret { key: String, why: String },
    /// A program without Kafka has a configuration with it.
    #[error("the log is Kafka, and this program was built without it")]
    NotBuilt,
}

/// How far a stage is in a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lag {
    pub stage: &'static str,
    pub topic: TopicId,
    pub partition: u32,
    /// `None`: nothing was ever committed.
    pub committed: Option<Offset>,
    pub end: Offset,
    /// Up to here transactions have ended; what is above cannot be read yet.
    pub stable: Offset,
    /// Who committed last.
    pub member: Option<String>,
    /// Whether that one is in the group now.
    pub is_member: bool,
    /// How many are in the group.
    pub members: usize,
}

/// Every stage that reads a topic, by its group.
pub const STAGES: [(&str, TopicId); 2] = [("enrich", RAW), (SESSIONS_GROUP, ENRICHED)];

impl Carrier {
    /// # Errors
    /// The directory is another's or damaged; no broker answers.
    pub fn open(config: &Config, world: &World, who: &Who) -> Result<Carrier, CarrierError> {
        if config.kafka.is_some() {
            return Kafka::connect(config, world, who).map(Carrier::Kafka);
        }
        let journal = Journal::open(&config.data.dir, journal_config(config), world.fs.clone(), world.clock.clone())?;
        Ok(Carrier::Journal(journal))
    }

    pub fn log(&self) -> Arc<dyn Log> {
        match self {
            Carrier::Journal(journal) => journal.clone(),
            Carrier::Kafka(kafka) => kafka.log(),
        }
    }

    pub fn journal(&self) -> Option<&Arc<Journal>> {
        match self {
            Carrier::Journal(journal) => Some(journal),
            Carrier::Kafka(_) => None,
        }
    }

    /// Whether other processes work on it as well.
    pub fn is_shared(&self) -> bool {
        self.journal().is_none()
    }

    pub fn condition(&self) -> Condition {
        match self {
            Carrier::Journal(journal) => match journal.health() {
                Health::Ok => Condition::Well,
                Health::Full(why) => Condition::Full(why),
                Health::Stopped(why) => Condition::Stopped(why),
            },
            Carrier::Kafka(kafka) => kafka.health().map_or_else(Condition::Waits, |()| Condition::Well),
        }
    }

    /// Commits what was handed in, and leaves.
    pub fn close(&self) {
        match self {
            Carrier::Journal(journal) => journal.close(),
            Carrier::Kafka(kafka) => kafka.close(),
        }
    }
}
