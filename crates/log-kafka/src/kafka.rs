//! The log on Kafka, from its parts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use event::{Offset, TopicId, TopicPartition};
use log::contract::METADATA_MAX;
use log::{Aborted, Commit, Fetch, Input, Log, LogError, Membership, Outcome, StoredPosition, Ticket};
use rdkafka::types::RDKafkaRespErr as Code;
use seam::fault::{Bug, planted};
use tokio::sync::watch;

use crate::config::KafkaConfig;
use crate::door::Door;
use crate::membership::Member;
use crate::native::{Client, Kind, Quiet, name, words};
use crate::position::{self, Stored};
use crate::producer::Producer;
use crate::reader::Readers;
use crate::transactor::{Owner, Transactor, has_topics};

/// How long one question to a broker may take before it is asked again.
const ASK: Duration = Duration::from_secs(5);
/// A position that an open transaction may change is waited for this long before its owner is looked for.
const UNSTABLE: Duration = Duration::from_millis(500);
/// A topic that the cluster does not know is asked for this long.
const UNKNOWN_MAX: Duration = Duration::from_secs(30);
/// And at the start, where it may not have been made yet.
const MISSING_MAX: Duration = Duration::from_secs(2);
/// Within this a committed transaction is marked in all its partitions, but for brokers that are away.
const MARKED: Duration = Duration::from_secs(2);

/// The log on Kafka.
pub struct KafkaLog {
    shared: Arc<Shared>,
    door: OnceLock<Result<Door, String>>,
    /// Of those who commit positions in what is no topic, and of tools.
    callers: Mutex<Callers>,
}

/// By the group and what they commit positions in.
type Callers = HashMap<(Arc<str>, Input), Arc<Transactor>>;

/// What all parts have in common.
pub(crate) struct Shared {
    pub config: KafkaConfig,
    /// Asks; reads nothing and produces nothing.
    client: Client,
    /// Ask for the positions of a group, for those that no open transaction may change, or for what they are at present.
    groups: Mutex<HashMap<(String, bool), Arc<Client>>>,
    readers: Readers,
    news: watch::Sender<u64>,
    closed: AtomicBool,
    /// The last generation that was given out.
    generation: AtomicU64,
    /// Generations that may commit.
    members: Mutex<HashMap<u64, Arc<Transactor>>>,
    /// Numbers of members by group.
    seats: Mutex<BTreeMap<String, BTreeSet<u32>>>,
    /// What waits for the cluster, and why.
    waiting: Mutex<BTreeMap<String, String>>,
    rebalances: AtomicU64,
    /// Times of commits.
    pub committed: Times,
    /// Commits of unknown outcome.
    pub unknown: AtomicU64,
}

/// How long something took, in all.
#[derive(Default)]
pub(crate) struct Times {
    count: AtomicU64,
    micros: AtomicU64,
}

impl Times {
    pub fn record(&self, took: Duration) {
        self.count.fetch_add(1, Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Relaxed);
    }
}

/// What a log on Kafka says of its work since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Transactions that were committed.
    pub commits: u64,
    /// How long they took, in all.
    pub commit_time: Duration,
    /// Commits whose outcome had to be looked up.
    pub unknown: u64,
    /// Changes of what its members own.
    pub rebalances: u64,
}

impl KafkaLog {
    /// Connects, and looks whether the topics are there.
    ///
    /// # Errors
    /// No broker answers, a property is wrong, topics are missing or have another number of partitions.
    pub fn connect(config: KafkaConfig) -> Result<Arc<KafkaLog>, LogError> {
        let log = KafkaLog::open(config)?;
        log.shared.check_topics()?;
        Ok(log)
    }

    fn open(config: KafkaConfig) -> Result<Arc<KafkaLog>, LogError> {
        let id = format!("{}{}-{}", config.prefix, config.role, config.slot);
        let client = Client::new(&config.consumer(&id, "reader"), Kind::Consumer, Quiet);
        let client = client.map_err(|why| LogError::Stopped(format!("Kafka's client cannot be made: {why}")))?;
        let news = watch::Sender::new(0);
        let shared = Shared {
            client,
            groups: Mutex::default(),
            readers: Readers::new(config.clone(), news.clone()),
            config,
            news,
            closed: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            members: Mutex::default(),
            seats: Mutex::default(),
            waiting: Mutex::default(),
            rebalances: AtomicU64::new(0),
            committed: Times::default(),
            unknown: AtomicU64::new(0),
        };
        Ok(Arc::new(KafkaLog { shared: Arc::new(shared), door: OnceLock::new(), callers: Mutex::default() }))
    }

    /// `Err`: why it does not go on at present, for people.
    pub fn health(&self) -> Result<(), String> {
        let waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_empty() { Ok(()) } else { Err(waiting.values().cloned().collect::<Vec<_>>().join("; ")) }
    }

    pub fn counts(&self) -> Counts {
        let shared = &self.shared;
        Counts {
            commits: shared.committed.count.load(Relaxed),
            commit_time: Duration::from_micros(shared.committed.micros.load(Relaxed)),
            unknown: shared.unknown.load(Relaxed),
            rebalances: shared.rebalances.load(Relaxed),
        }
    }

    pub fn config(&self) -> &KafkaConfig {
        &self.shared.config
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Nothing is taken in any more; who waits is told. Members leave when they are dropped.
    pub fn close(&self) {
        self.shared.closed.store(true, Relaxed);
        self.shared.changed();
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.readers.close();
    }

    /// The one that commits for this caller: one for each name, so that none waits for another.
    fn caller(&self, group: &Arc<str>, input: &Input) -> Result<Arc<Transactor>, String> {
        // All positions of topics that tools commit are committed by one.
        let key = match input {
            Input::Topic(_) => (Arc::from("tools"), Input::External("tools".into())),
            Input::External(_) => (group.clone(), input.clone()),
        };
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = callers.get(&key) {
            return Ok(caller.clone());
        }
        let Input::External(name) = &key.1 else { unreachable!("tools have a name") };
        let id = format!("{}-{:016x}", key.0, event::key::hash64(name.as_bytes()));
        let owner = if matches!(input, Input::Topic(_)) { Owner::Tool } else { Owner::Source };
        let caller =
            Transactor::start(&self.shared, self.shared.config.member(&id, 0), owner).map_err(|e| e.to_string())?;
        let caller = Arc::new(caller);
        callers.insert(key, caller.clone());
        Ok(caller)
    }
}

impl Log for KafkaLog {
    fn partitions(&self, _: TopicId) -> u32 {
        self.shared.config.partitions
    }

    fn submit(&self, commit: Commit) -> Ticket {
        let shared = &self.shared;
        if shared.is_closed() {
            return Ticket::ready(Outcome::Aborted(Aborted::Closed));
        }
        if let Err(what) = shared.valid(&commit) {
            return Ticket::ready(Outcome::Aborted(Aborted::Invalid(what)));
        }
        if commit.blocks.is_empty() && commit.positions.is_empty() {
            return Ticket::ready(Outcome::Committed(log::Committed::default()));
        }
        match (commit.generation, commit.positions.first()) {
            (Some(generation), _) if has_topics(&commit) => {
                let members = shared.members.lock().unwrap_or_else(PoisonError::into_inner);
                match members.get(&generation.0).cloned() {
                    Some(member) => member.submit(commit),
                    None => Ticket::ready(Outcome::Aborted(Aborted::Fenced)),
                }
            }
            (_, Some(first)) => match self.caller(&first.group, &first.input) {
                Ok(caller) => caller.submit(commit),
                Err(why) => Ticket::ready(Outcome::Aborted(Aborted::Invalid(why))),
            },
            (_, None) => match self.door.get_or_init(|| Door::start(shared)) {
                Ok(door) => door.submit(&commit),
                Err(why) => Ticket::ready(Outcome::Aborted(Aborted::Invalid(why.clone()))),
            },
        }
    }

    fn fetch(&self, from: TopicPartition, at: Offset, max_bytes: usize) -> Result<Fetch, LogError> {
        self.shared.config.checked(from)?;
        let bounds = || self.shared.bounds(from);
        let give_up = |begun| self.shared.give_up(begun, || format!("read {from} at {at}"));
        self.shared.readers.fetch(from, at, max_bytes, bounds, give_up)
    }

    fn read_ahead(&self, from: TopicPartition, at: Offset) {
        self.shared.readers.read_ahead(from, at);
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(Offset, Offset), LogError> {
        let (start, end) = self.shared.bounds(partition)?;
        self.shared.readers.exists(partition, end);
        Ok((start, end))
    }

    fn committed(&self, group: &str, input: &Input) -> Result<Option<StoredPosition>, LogError> {
        Ok(self.shared.position(group, input, true)?.map(|stored| stored.position))
    }

    fn join(&self, group: &str, topic: TopicId) -> Box<dyn Membership> {
        match Member::join(&self.shared, group, topic) {
            Ok(member) => Box::new(member),
            Err(why) => {
                self.shared.waits(group, Some(format!("no thread can be started for {group}: {why}")));
                Box::new(Nowhere)
            }
        }
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    fn wait(&self, seen: u64, timeout: Duration) -> u64 {
        let news = self.shared.news.subscribe();
        let begun = Instant::now();
        while *news.borrow() == seen && begun.elapsed() < timeout {
            std::thread::sleep(Duration::from_millis(1).min(timeout));
        }
        *news.borrow()
    }

    fn waits_above(&self, partition: TopicPartition, next: Offset) -> bool {
        match self.shared.readers.end(partition) {
            Some(end) => end > next,
            None => self.bounds(partition).is_ok_and(|(_, end)| end > next),
        }
    }

    fn keeps_by_position(&self) -> bool {
        false
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// A member of nothing.
struct Nowhere;

impl Membership for Nowhere {
    fn poll(&mut self) -> Vec<log::Assignment> {
        Vec::new()
    }
}

impl Shared {
    pub fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Something can be seen that could not.
    pub fn changed(&self) {
        self.news.send_modify(|n| *n += 1);
    }

    /// These ends are of what was committed: this process sees it from now on.
    pub fn stored(&self, ends: impl Iterator<Item = (TopicPartition, Offset)>) {
        ends.for_each(|(at, end)| self.readers.exists(at, end));
    }

    /// What somebody waits for, for `/readyz`; `None`: it does not any more.
    pub fn waits(&self, who: &str, why: Option<String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => {
                waiting.insert(who.to_owned(), why);
            }
            None if waiting.is_empty() => {}
            None => {
                waiting.remove(who);
            }
        }
    }

    pub fn rebalanced(&self, group: &str, _: u64) {
        tracing::debug!(target: "kafka", group, "rebalanced");
        self.rebalances.fetch_add(1, Relaxed);
    }

    pub fn out_of_patience(&self, begun: Instant) -> bool {
        self.config.patience.is_some_and(|patience| begun.elapsed() > patience)
    }

    /// Why it is not waited for any longer, if it is not.
    fn give_up(&self, begun: Instant, doing: impl Fn() -> String) -> Option<LogError> {
        if self.is_closed() {
            return Some(LogError::Stopped("it was closed".to_owned()));
        }
        self.out_of_patience(begun).then(|| self.silent(&doing()))
    }

    fn silent(&self, doing: &str) -> LogError {
        let brokers = &self.config.brokers;
        LogError::Io {
            doing: doing.to_owned(),
            source: std::io::Error::new(
                std::io::ErrorKind::TimedOut,
                format!(
                    "Kafka at {brokers} does not answer. Is it running, and are `kafka.brokers` and `kafka.properties` right?"
                ),
            ),
        }
    }

    /// What can never be committed.
    pub fn valid(&self, commit: &Commit) -> Result<(), String> {
        let at = |at: &TopicPartition| self.config.checked(*at).map_err(|_| format!("there is no partition {at}"));
        commit.blocks.iter().try_for_each(|b| at(&b.to))?;
        for p in &commit.positions {
            if let Input::Topic(tp) = &p.input {
                at(tp)?;
            }
            if p.metadata.len() > METADATA_MAX {
                return Err(format!("{} bytes of metadata for {}; at most {METADATA_MAX}", p.metadata.len(), p.group));
            }
        }
        Ok(())
    }

    /// Whether a group, by its name in the cluster, has a member, or that cannot be had.
    pub fn has_members(&self, group: &str) -> bool {
        position::members(*self.client, group, ASK).map_or(true, |m| !m.is_empty())
    }

    fn bounds(&self, at: TopicPartition) -> Result<(Offset, Offset), LogError> {
        self.config.checked(at)?;
        let topic = self.config.topic(at.topic);
        let (known, begun) = (self.readers.known(at), Instant::now());
        loop {
            let (start, end) =
                self.asked(&format!("ask for the ends of {at}"), || self.client.watermarks(&topic, at.partition, ASK))?;
            // A commit is answered before its marks are in all partitions.
            if end >= known || begun.elapsed() > MARKED {
                return Ok((start, end));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks again what could not be answered, as long as patience lasts.
    fn asked<T>(&self, doing: &str, mut ask: impl FnMut() -> Result<T, Code>) -> Result<T, LogError> {
        let begun = Instant::now();
        loop {
            let code = match ask() {
                Ok(answer) => {
                    self.waits("asking", None);
                    return Ok(answer);
                }
                Err(code) => code,
            };
            // A broker that has just started may not know its topics yet.
            let is_gone = is_unknown(code) && begun.elapsed() > UNKNOWN_MAX;
            let refused = (is_gone || forbidden(code)).then(|| refused(doing, code));
            if let Some(e) = refused.or_else(|| self.give_up(begun, || doing.to_owned())) {
                return Err(e);
            }
            if begun.elapsed() > Duration::from_secs(2) {
                let since = begun.elapsed().as_secs();
                self.waits("asking", Some(format!("no answer to: {doing}, since {since} s: {}", words(code))));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `settle`: ends what its owner left open, if that one is gone.
    fn position(&self, group: &str, input: &Input, settle: bool) -> Result<Option<Stored>, LogError> {
        let (name, at) = position::place(&self.config, group, input);
        let topic = self.config.topic(at.topic);
        let begun = Instant::now();
        let doing = format!("ask for the position of {group}");
        let stable = !planted(Bug::ProducerReused);
        loop {
            let answer =
                self.asked(&doing, || match self.position_of(&name, &topic, at.partition, stable, UNSTABLE) {
                    Ok(stored) => Ok(Some(stored)),
                    // Either a transaction is open that has this position in it, or nobody answers.
                    Err(_) => self.position_of(&name, &topic, at.partition, false, ASK).map(|_| None),
                })?;
            if let Some(stored) = answer {
                self.waits(&doing, None);
                return Ok(stored);
            }
            let since = begun.elapsed().as_secs_f64();
            self.waits(&doing, Some(format!("a transaction with {group}'s position in it is open since {since:.1} s")));
            if settle && let Some(committer) = self.committer(&name, &topic, at.partition) {
                self.end_orphan(&name, &committer);
            }
            if let Some(e) = self.give_up(begun, || doing.clone()) {
                return Err(e);
            }
        }
    }

    fn position_of(
        &self,
        group: &str,
        topic: &str,
        partition: u32,
        stable: bool,
        wait: Duration,
    ) -> Result<Option<Stored>, Code> {
        let client = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            match groups.get(&(group.to_owned(), stable)) {
                Some(client) => client.clone(),
                None => {
                    let mut config =
                        self.config.consumer(&format!("{}positions-{}", self.config.prefix, self.config.slot), "");
                    config.set("group.id", group);
                    config.set("isolation.level", if stable { "read_committed" } else { "read_uncommitted" });
                    let client = Client::new(&config, Kind::Consumer, Quiet);
                    let client = client.map_err(|_| Code::RD_KAFKA_RESP_ERR__INVALID_ARG)?;
                    let client = Arc::new(client);
                    groups.insert((group.to_owned(), stable), client.clone());
                    client
                }
            }
        };
        // Only the first has to find the group's coordinator.
        position::read(**client, topic, partition, wait)
    }

    /// Ends what the last owners of these partitions left open, if they are gone.
    pub fn end_orphans(&self, group: &str, partitions: &[TopicPartition], mine: &str, stop: impl Fn() -> bool) {
        let group = self.config.group(group);
        // What one had open is over when it was ended once, and it has no new one.
        let mut seen = BTreeSet::from([mine.to_owned()]);
        for at in partitions {
            if stop() || self.is_closed() {
                return;
            }
            if let Some(committer) = self.committer(&group, &self.config.topic(at.topic), at.partition)
                && seen.insert(committer.clone())
            {
                self.end_orphan(&group, &committer);
            }
        }
    }

    /// The one that committed a position last.
    fn committer(&self, group: &str, topic: &str, partition: u32) -> Option<String> {
        self.position_of(group, topic, partition, false, ASK).ok().flatten()?.committer
    }

    /// IMPORTANT: only of a committer that is no member any more: the producer of one that is would be fenced.
    fn end_orphan(&self, group: &str, committer: &str) {
        if self.is_seated(committer) {
            return;
        }
        match position::members(*self.client, group, ASK) {
            Ok(members) if !members.iter().any(|m| m == committer) => {}
            _ => return,
        }
        let begun = Instant::now();
        let done = Producer::new(&self.config, &self.config.transactional(committer))
            .and_then(|p| p.client.init(ASK).map_err(|why| why.to_string()));
        match done {
            Ok(()) => {
                tracing::info!(target: "kafka", committer, took = ?begun.elapsed(), "its open transaction was ended: it is gone")
            }
            Err(why) => tracing::info!(target: "kafka", committer, "its open transaction cannot be ended yet: {why}"),
        }
    }

    /// Whether that is a member in this process.
    fn is_seated(&self, id: &str) -> bool {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().any(|(group, numbers)| numbers.iter().any(|n| self.config.member(group, *n) == id))
    }

    pub fn seat_number(&self, group: &str) -> u32 {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = seats.entry(group.to_owned()).or_default();
        let n = (0..).find(|n| !taken.contains(n)).expect("there are many numbers");
        taken.insert(n);
        n
    }

    pub fn new_generation(&self, transactor: &Arc<Transactor>) -> u64 {
        let generation = self.generation.fetch_add(1, Relaxed) + 1;
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.insert(generation, transactor.clone());
        generation
    }

    pub fn leave(&self, generations: &[u64], (group, n): &(String, u32)) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<_> = generations.iter().filter_map(|g| members.remove(g)).collect();
        drop(members);
        // Its thread ends here, after what it has to do.
        drop(gone);
        if let Some(seats) = self.seats.lock().unwrap_or_else(PoisonError::into_inner).get_mut(group) {
            seats.remove(n);
        }
    }

    fn check_topics(&self) -> Result<(), LogError> {
        let begun = Instant::now();
        let missing = loop {
            let missing = self.missing_topics()?;
            // A broker that has just started may not know them yet.
            if missing.is_empty() || begun.elapsed() > MISSING_MAX || self.is_closed() {
                break missing;
            }
            std::thread::sleep(Duration::from_millis(200));
        };
        if missing.is_empty() {
            return Ok(());
        }
        Err(LogError::Stopped(format!(
            "these topics are not there: {}. `ouzel topics apply` shows how they would be made, and with `--yes` makes them",
            missing.join(", ")
        )))
    }

    fn missing_topics(&self) -> Result<Vec<String>, LogError> {
        let found = crate::topics::partitions(*self.client, &self.config, |begun| {
            self.give_up(begun, || "ask for the topics".to_owned())
        })?;
        let mut missing = Vec::new();
        for (topic, count) in &found {
            match count {
                None => missing.push(self.config.topic(*topic)),
                Some(n) if *n != self.config.partitions => {
                    return Err(LogError::Partitions {
                        dir: self.config.topic(*topic),
                        stored: *n,
                        asked: self.config.partitions,
                    });
                }
                Some(_) => {}
            }
        }
        Ok(missing)
    }
}

/// What no patience helps with.
fn forbidden(code: Code) -> bool {
    matches!(
        code,
        Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED
            | Code::RD_KAFKA_RESP_ERR__AUTHENTICATION
            | Code::RD_KAFKA_RESP_ERR__INVALID_ARG
    )
}

fn is_unknown(code: Code) -> bool {
    matches!(
        code,
        Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
    )
}

fn refused(doing: &str, code: Code) -> LogError {
    LogError::Io {
        doing: doing.to_owned(),
        source: std::io::Error::other(format!("Kafka refuses it: {} ({})", words(code), name(code))),
    }
}
