//! Topics: which are wanted, which are there, and what is to be done about it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use event::TopicId;
use event::topic::TOPICS;
use log::LogError;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::bindings as rd;
use rdkafka::client::DefaultClientContext;

use crate::config::KafkaConfig;
use crate::native::{self, Handle, ok, words};

/// How long a question may take.
const ASK: Duration = Duration::from_secs(5);

/// A partition without a leader is waited for this long; it may be one whose brokers are gone.
const LED_MAX: Duration = Duration::from_secs(4);

/// The largest record, with room for what is added to an event of a mebibyte.
const RECORD_MAX: usize = 8 << 20;

/// What is to be done so that the topics are as wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The topic is not there.
    Make { topic: String, partitions: u32, replication: u16, settings: Vec<(String, String)> },
    /// It is there, and this setting of it is another.
    Set { topic: String, setting: String, from: String, to: String },
    /// It cannot be mended in place.
    Cannot { topic: String, why: String },
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Make { topic, partitions, replication, settings } => {
                let settings: Vec<_> = settings.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let settings = settings.join(", ");
                write!(f, "make {topic}: partitions {partitions}, replication {replication}, {settings}")
            }
            Change::Set { topic, setting, from, to } => write!(f, "set {setting} of {topic} from {from} to {to}"),
            Change::Cannot { topic, why } => write!(f, "{topic} cannot be used: {why}"),
        }
    }
}

/// What each topic is wanted to be. `keep`: seconds for which records are kept.
fn settings(config: &KafkaConfig, keep_secs: u64) -> Vec<(String, String)> {
    let mut settings = vec![
        ("cleanup.policy".to_owned(), "delete".to_owned()),
        ("retention.ms".to_owned(), (keep_secs * 1000).to_string()),
        ("max.message.bytes".to_owned(), RECORD_MAX.to_string()),
    ];
    if config.replication > 1 {
        // One copy may be away, and what was acknowledged is on two.
        settings.push(("min.insync.replicas".to_owned(), (config.replication / 2 + 1).to_string()));
    }
    settings.push(("unclean.leader.election.enable".to_owned(), "false".to_owned()));
    settings
}

/// What would be done. `keep`: for how many seconds each topic's records are to be kept, where it is not as in the table.
///
/// # Errors
/// No broker answers, or it refuses.
pub fn plan(config: &KafkaConfig, keep: &[(TopicId, u64)]) -> Result<Vec<Change>, LogError> {
    let config = &KafkaConfig { patience: config.patience.or(Some(Duration::from_secs(10))), ..config.clone() };
    let admin = admin(config)?;
    let client = Handle::of(admin.inner().native_ptr());
    let found = partitions(client, config, |begun| {
        let over = config.patience.is_some_and(|p| begun.elapsed() > p);
        over.then(|| unreachable_cluster(config, "ask for the topics"))
    })?;
    let mut changes = Vec::new();
    for (topic, count) in found {
        let name = config.topic(topic);
        let kept = keep.iter().find(|(id, _)| *id == topic).map_or(topic.topic().keep_secs, |(_, secs)| *secs);
        let wanted = settings(config, kept);
        match count {
            None => changes.push(Change::Make {
                topic: name,
                partitions: config.partitions,
                replication: config.replication,
                settings: wanted,
            }),
            Some(n) if n != config.partitions => changes.push(Change::Cannot {
                topic: name,
                why: format!(
                    "it has {n} partitions, and `data.partitions` is {}. The number never changes in place: set it to {n}, or \
                     take another `kafka.prefix` and a savepoint",
                    config.partitions
                ),
            }),
            Some(_) => {
                let now = settings_of(&admin, &name)?;
                for (setting, to) in wanted {
                    let from = now.get(&setting).cloned().unwrap_or_default();
                    if from != to {
                        changes.push(Change::Set { topic: name.clone(), setting, from, to });
                    }
                }
            }
        }
    }
    Ok(changes)
}

/// Does what was planned.
///
/// # Errors
/// What could not be done; what stands before it is done.
pub fn apply(config: &KafkaConfig, changes: &[Change]) -> Result<(), LogError> {
    let admin = admin(config)?;
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    let mut sets: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for change in changes {
        match change {
            Change::Cannot { topic, why } => return Err(LogError::Stopped(format!("{topic}: {why}"))),
            Change::Set { topic, setting, to, .. } => sets.entry(topic).or_default().push((setting, to)),
            Change::Make { topic, partitions, replication, settings } => {
                let mut new =
                    NewTopic::new(topic, *partitions as i32, TopicReplication::Fixed(i32::from(*replication)));
                for (name, value) in settings {
                    new = new.set(name, value);
                }
                let doing = format!("make {topic}");
                let made = wait(admin.create_topics([&new], &options)).map_err(|e| refused(&doing, &e))?;
                for result in made {
                    match result {
                        Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists)) => {}
                        Err((_, code)) => return Err(refused(&doing, &code)),
                    }
                }
            }
        }
    }
    let all_made: Vec<&String> =
        changes.iter().filter_map(|c| if let Change::Make { topic, .. } = c { Some(topic) } else { None }).collect();
    wait_until_there(config, &admin, &all_made)?;
    for (topic, wanted) in sets {
        // What is altered is the whole of what is set: what others set stays.
        let mut all = own_settings_of(&admin, topic)?;
        all.extend(wanted.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let mut alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in &all {
            alter = alter.set(name, value);
        }
        let doing = format!("change {topic}");
        let done = wait(admin.alter_configs([&alter], &options)).map_err(|e| refused(&doing, &e))?;
        for result in done {
            result.map_err(|(_, code)| refused(&doing, &code))?;
        }
    }
    Ok(())
}

/// Removes all topics of this configuration that are there.
#[cfg(feature = "broker")]
pub(crate) fn remove(config: &KafkaConfig) -> Result<(), LogError> {
    let admin = admin(config)?;
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    let names: Vec<String> = TOPICS.iter().map(|t| config.topic(t.id)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for result in wait(admin.delete_topics(&names, &options)).map_err(|e| refused("remove topics", &e))? {
        match result {
            Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => return Err(refused(&format!("remove {topic}"), &code)),
        }
    }
    Ok(())
}

/// Makes a topic that is not one of ours, for tests.
///
/// # Errors
/// It is there, or a broker refuses.
#[cfg(feature = "broker")]
pub fn make(config: &KafkaConfig, topic: &str, partitions: u32) -> Result<(), LogError> {
    let admin = admin(config)?;
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(30)));
    let new = NewTopic::new(topic, partitions as i32, TopicReplication::Fixed(1));
    for result in wait(admin.create_topics([&new], &options)).map_err(|e| refused("make a topic", &e))? {
        result.map_err(|(_, code)| refused("make a topic", &code))?;
    }
    std::thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// Brokers make topics one by one, and tell each other.
fn wait_until_there(
    config: &KafkaConfig,
    admin: &AdminClient<DefaultClientContext>,
    made: &[&String],
) -> Result<(), LogError> {
    let (client, begun) = (Handle::of(admin.inner().native_ptr()), Instant::now());
    loop {
        let found = partitions(client, config, |begun| {
            (begun.elapsed() > ASK).then(|| unreachable_cluster(config, "ask for the topics"))
        })?;
        let missing = found.iter().find(|(id, count)| count.is_none() && made.contains(&&config.topic(*id)));
        match missing {
            None => return Ok(()),
            Some((id, _)) if begun.elapsed() > Duration::from_secs(30) => {
                let name = config.topic(*id);
                return Err(LogError::Stopped(format!("{name} was made, but no broker leads it after 30 s")));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The number of partitions of each topic that we have; `None`: it is not there.
pub(crate) fn partitions(
    client: Handle,
    config: &KafkaConfig,
    give_up: impl Fn(Instant) -> Option<LogError>,
) -> Result<Vec<(TopicId, Option<u32>)>, LogError> {
    let begun = Instant::now();
    loop {
        let mut metadata = std::ptr::null();
        // SAFETY: a live client; what it gives is freed after it was read.
        unsafe {
            let code = rd::rd_kafka_metadata(client.rk(), 1, std::ptr::null_mut(), &mut metadata, 3000);
            match ok(code) {
                Ok(()) => {
                    let topics = native::slice((*metadata).topics, (*metadata).topic_cnt);
                    let find = |name: String| {
                        let is =
                            |t: &&rd::rd_kafka_metadata_topic| CStr::from_ptr(t.topic).to_bytes() == name.as_bytes();
                        topics.iter().find(is).filter(|t| t.partition_cnt > 0)
                    };
                    let found: Vec<_> = TOPICS.iter().map(|t| (t.id, find(config.topic(t.id)))).collect();
                    let all_led = found.iter().filter_map(|(_, t)| *t).all(|t| led(t));
                    let counts = found.iter().map(|(id, t)| (*id, t.map(|t| t.partition_cnt as u32))).collect();
                    rd::rd_kafka_metadata_destroy(metadata);
                    // Brokers that have just started do not lead yet.
                    if all_led || begun.elapsed() > LED_MAX {
                        return Ok(counts);
                    }
                }
                Err(code) => tracing::debug!(target: "kafka", "no metadata: {}", words(code)),
            }
        }
        if let Some(e) = give_up(begun) {
            return Err(e);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether every partition of it has a leader.
///
/// # Safety
/// Metadata that lives.
unsafe fn led(topic: &rd::rd_kafka_metadata_topic) -> bool {
    // SAFETY: by the caller's word.
    unsafe { native::slice(topic.partitions, topic.partition_cnt) }.iter().all(|p| p.leader >= 0)
}

fn admin(config: &KafkaConfig) -> Result<AdminClient<DefaultClientContext>, LogError> {
    let client = config.client(&format!("{}tools", config.prefix)).create();
    client.map_err(|e| LogError::Stopped(format!("Kafka's client cannot be made: {e}")))
}

/// What is set for a topic, defaults of the cluster included.
fn settings_of(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<BTreeMap<String, String>, LogError> {
    described(admin, topic, |_| true)
}

/// What is set for this topic itself.
fn own_settings_of(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
) -> Result<BTreeMap<String, String>, LogError> {
    described(admin, topic, |entry| entry.source == rdkafka::admin::ConfigSource::DynamicTopic)
}

fn described(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    wanted: impl Fn(&rdkafka::admin::ConfigEntry) -> bool,
) -> Result<BTreeMap<String, String>, LogError> {
    let doing = format!("ask for the settings of {topic}");
    let options = AdminOptions::new().request_timeout(Some(ASK));
    let found = wait(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options));
    let mut all = BTreeMap::new();
    for resource in found.map_err(|e| refused(&doing, &e))? {
        let resource = resource.map_err(|code| refused(&doing, &code))?;
        for entry in resource.entries.iter().filter(|e| wanted(e)) {
            all.insert(entry.name.clone(), entry.value.clone().unwrap_or_default());
        }
    }
    Ok(all)
}

fn refused(doing: &str, why: &dyn std::fmt::Display) -> LogError {
    LogError::Io { doing: doing.to_owned(), source: std::io::Error::other(format!("Kafka refuses it: {why}")) }
}

fn unreachable_cluster(config: &KafkaConfig, doing: &str) -> LogError {
    LogError::Io {
        doing: doing.to_owned(),
        source: std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!(
                "Kafka at {} does not answer. Is it running, and are `kafka.brokers` and `kafka.properties` right?",
                config.brokers
            ),
        ),
    }
}

/// Waits for what another thread does.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Thread(std::thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Thread(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(answer) => return answer,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
