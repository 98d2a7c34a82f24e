//! Kafka, as the configuration has it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use door::input;
use event::TopicId;
use log::journal::Lock;
use log::{Log, LogError};
use log_kafka::{KafkaConfig, KafkaLog};

use super::{CarrierError, Lag, STAGES, Who};
use crate::config::{self, Config, MaybeSecret, read_file};
use crate::engine::World;
use crate::parts::{keep_secs, local_dir};

/// The log, and this process's own directory beside it.
pub struct Kafka {
    log: Arc<KafkaLog>,
    lock: Mutex<Option<Lock>>,
}

impl Kafka {
    /// # Errors
    /// No broker answers, or does not let us in; another process of this slot runs on this machine.
    pub fn connect(config: &Config, world: &World, who: &Who) -> Result<Kafka, CarrierError> {
        let dir = local_dir(config, who);
        let made = world.fs.create_dir_all(&dir);
        made.map_err(|source| LogError::Io { doing: format!("making {}", dir.display()), source })?;
        let lock = Lock::acquire(&*world.fs, &dir)?;
        let log = KafkaLog::connect(settings(config, world, who)?)?;
        Ok(Kafka { log, lock: Mutex::new(Some(lock)) })
    }

    /// Only to look: nothing is locked, and no group is joined.
    ///
    /// # Errors
    /// As [`Kafka::connect`].
    pub fn look(config: &Config, world: &World) -> Result<Kafka, CarrierError> {
        let log = KafkaLog::connect(patient(settings(config, world, &tool())?))?;
        Ok(Kafka { log, lock: Mutex::new(None) })
    }

    pub fn log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    /// Takes the records of a foreign topic until it is told to stop; `of`: the source's name, its topic, and whether it is read
    /// from its start.
    ///
    /// # Errors
    /// What no patience helps with.
    pub fn take(
        &self,
        of: (&str, &str, bool),
        world: &input::World,
        progress: &input::Progress,
        stop: &AtomicBool,
    ) -> Result<(), input::InputError> {
        super::foreign::take(&self.log, of, world, progress, stop)
    }

    /// # Errors
    /// What it waits for.
    pub fn health(&self) -> Result<(), String> {
        self.log.health()
    }

    pub fn close(&self) {
        self.log.close();
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What has to be done so that the topics are as the configuration has them.
pub struct Plan {
    settings: KafkaConfig,
    changes: Vec<log_kafka::topics::Change>,
}

impl Plan {
    /// Each change as a line.
    pub fn lines(&self) -> Vec<String> {
        self.changes.iter().map(ToString::to_string).collect()
    }

    /// # Errors
    /// What the brokers refuse.
    pub fn apply(&self) -> Result<(), CarrierError> {
        Ok(log_kafka::topics::apply(&self.settings, &self.changes)?)
    }
}

/// # Errors
/// No broker answers, or does not let us in.
pub fn plan(config: &Config, world: &World) -> Result<Plan, CarrierError> {
    let settings = patient(settings(config, world, &tool())?);
    let changes = log_kafka::topics::plan(&settings, &keep_secs(config))?;
    Ok(Plan { settings, changes })
}

/// How far every stage is in each partition of its input.
///
/// # Errors
/// No broker answers, or does not let us in.
pub fn lag(config: &Config, world: &World) -> Result<Vec<Lag>, CarrierError> {
    let settings = patient(settings(config, world, &tool())?);
    let stage = |group: &str, topic: TopicId| STAGES.iter().find(|(name, of)| *of == topic && group == *name);
    let all = log_kafka::lag::read(&settings, &STAGES)?.into_iter().filter_map(|lag| {
        let (stage, topic) = *stage(&lag.group, lag.topic)?;
        Some(Lag {
            stage,
            topic,
            partition: lag.partition,
            committed: lag.committed,
            end: lag.end,
            stable: lag.stable,
            member: lag.committer,
            is_member: lag.is_member,
            members: lag.members,
        })
    });
    Ok(all.collect())
}

fn settings(config: &Config, world: &World, who: &Who) -> Result<KafkaConfig, CarrierError> {
    let kafka = config.kafka.as_ref().expect("only asked for where there is one");
    Ok(KafkaConfig {
        brokers: kafka.brokers.clone(),
        prefix: kafka.prefix.clone(),
        partitions: config.data.partitions,
        replication: kafka.replication,
        role: who.role.clone(),
        slot: who.slot.clone(),
        commit_age: kafka.commit_age,
        session_timeout: kafka.session_timeout,
        transaction_timeout: kafka.transaction_timeout,
        properties: properties(kafka, world)?,
        ..KafkaConfig::default()
    })
}

/// Who looks at the cluster, and works on nothing.
fn tool() -> Who {
    Who { role: "tool".into(), slot: std::process::id().to_string() }
}

/// People wait for an answer.
fn patient(settings: KafkaConfig) -> KafkaConfig {
    KafkaConfig { patience: Some(PATIENCE), ..settings }
}

/// Brokers that are well answer within milliseconds; a cluster that elects leaders takes seconds.
const PATIENCE: Duration = Duration::from_secs(10);

fn properties(kafka: &config::Kafka, world: &World) -> Result<BTreeMap<String, String>, CarrierError> {
    let resolved = kafka.properties.iter().map(|(name, value)| {
        let value = match value {
            MaybeSecret::Text(text) => text.clone(),
            MaybeSecret::Secret(place) => {
                let secret = place.resolve(&world.env, |path| read_file(&*world.fs, path));
                let wrong = |why| CarrierError::Secret { key: format!("kafka.properties.{name}"), why };
                secret.map_err(wrong)?.reveal().to_owned()
            }
        };
        Ok((name.clone(), value))
    });
    resolved.collect()
}
