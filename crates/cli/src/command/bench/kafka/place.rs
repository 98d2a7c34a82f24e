//! Where it is measured: a broker of this machine, topics of their own for each program, and what is enriched with.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use log_kafka::broker::{Cluster, ClusterConfig};
use log_kafka::{KafkaConfig, KafkaLog, topics};
use node::config::{Config, RunArgs};
use wire::Decoder;

use super::child::{Held, Worker};
use super::process::{Usage, usage};
use crate::command::bench::sessions::crowd;
use crate::command::bench::{KafkaArgs, bench_dir};
use crate::exit::{Exit, Failed, Result, with_help};
use crate::{Global, look};

/// Of the broker, in mebibytes.
pub const HEAP: u32 = 1024;
/// Of the group's members: those who are silent for longer have lost their partitions.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the sender waits for a broker that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The broker runs until this is dropped; then its files go, too.
pub struct Place<'a> {
    pub global: &'a Global,
    pub args: &'a KafkaArgs,
    pub dir: PathBuf,
    pub decoder: Arc<Decoder>,
    cluster: Option<Cluster>,
    config: Config,
}

/// Topics of one program, and its directory. They are removed when this is dropped.
pub struct Ground<'a> {
    place: &'a Place<'a>,
    pub kafka: KafkaConfig,
    pub dir: PathBuf,
}

impl<'a> Place<'a> {
    pub fn open(global: &'a Global, args: &'a KafkaArgs) -> Result<Place<'a>> {
        let dir = bench_dir(global)?;
        let config = look::load(global, false, RunArgs::default())?.config;
        let (_, _, without) =
            node::parts::sources(&config).map_err(|e| Failed::new(Exit::Environment, e.to_string()))?;
        if let Some(without) = without.into_iter().next() {
            return Err(Failed::new(Exit::Environment, without));
        }
        let decoder = node::parts::decoder(&config, &config.sources[0]).map_err(crate::command::run::start_failed)?;
        std::fs::create_dir_all(&dir).map_err(|e| Failed::environment(&format!("making {}", dir.display()), &e))?;
        let dir = dir.canonicalize().map_err(|e| Failed::environment("the directory of the bench", &e))?;
        let mut place = Place { global, args, dir, decoder: Arc::new(decoder), cluster: None, config };
        progress("Kafka starts");
        // What is removed goes soon: there is much of it.
        let properties = vec![("log.segment.delete.delay.ms".to_owned(), "1000".to_owned())];
        let dir = Some(place.dir.join("kafka"));
        let cluster =
            Cluster::start(ClusterConfig { heap: HEAP, tuned: true, dir, properties, ..ClusterConfig::default() });
        place.cluster = Some(cluster.map_err(|why| Failed::new(Exit::Environment, why))?);
        Ok(place)
    }

    fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("it was started")
    }

    /// New topics.
    pub fn ground(&'a self, partitions: u32) -> Result<Ground<'a>> {
        let kafka = KafkaConfig {
            role: "bench".to_owned(),
            slot: "bench".to_owned(),
            session_timeout: SESSION_TIMEOUT,
            transaction_timeout: TRANSACTION_TIMEOUT,
            patience: Some(PATIENCE),
            ..self.cluster().config(partitions)
        };
        let dir = self.dir.join(&kafka.prefix);
        let ground = Ground { place: self, kafka, dir };
        topics::apply(&ground.kafka, &topics::plan(&ground.kafka, &[])?)?;
        Ok(ground)
    }

    /// What the broker uses.
    pub fn broker(&self) -> Usage {
        self.cluster().pid(0).and_then(usage).unwrap_or_default()
    }

    /// Files that the program is compared with needs as well: a database of places, and rules of agents.
    pub fn reference(&self) -> Result<(PathBuf, PathBuf)> {
        let geo = self.config.geo.databases.first().cloned();
        geo.map(absolute).zip(self.config.device.rules.clone().map(absolute)).ok_or_else(|| {
            Failed::usage(with_help(
                "--peer needs a database of places and rules of agents, so that both programs do the same",
                "`ouzel assets fetch city agents` gets them, or say geo.database and device.rules (--set)",
            ))
        })
    }

    /// The configuration of workers, as text. What they enrich with is what this process would.
    fn worker_config(&self, ground: &Ground<'_>, commit_age: Duration) -> String {
        let text = |path: &Path| quoted(&absolute(path.to_owned()).display().to_string());
        let list = |paths: &[PathBuf]| paths.iter().map(|p| text(p)).collect::<Vec<_>>().join(", ");
        let KafkaConfig { brokers, prefix, partitions, .. } = &ground.kafka;
        let (dir, store) = (text(&ground.dir.join("data")), text(&ground.dir.join("state")));
        let mut out = format!(
            "version = 1\n[data]\ndir = {dir}\npartitions = {partitions}\n[state]\nstore = {store}\n\
             [sessions]\ngap = \"30m\"\n\
             [kafka]\nbrokers = {}\nprefix = {}\nreplication = 1\ncommit_age = \"{}ms\"\nsession_timeout = \"{}ms\"\n\
             transaction_timeout = \"{}ms\"\n",
            quoted(brokers),
            quoted(prefix),
            commit_age.as_millis(),
            SESSION_TIMEOUT.as_millis(),
            TRANSACTION_TIMEOUT.as_millis(),
        );
        let config = &self.config;
        let _ = writeln!(out, "[geo]\ndatabase = [{}]", list(&config.geo.databases));
        let _ = writeln!(out, "[network]\nasn = [{}]", list(&config.network.asn));
        for (section, key, file) in [
            ("device", "rules", &config.device.rules),
            ("bot", "crawlers", &config.bot.crawlers),
            ("referrer", "file", &config.referrer.file),
        ] {
            if let Some(file) = file {
                let _ = writeln!(out, "[{section}]\n{key} = {}", text(file));
            }
        }
        out
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.cluster = None;
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Ground<'_> {
    /// To write to `raw`.
    pub fn log(&self) -> Result<Arc<KafkaLog>> {
        Ok(KafkaLog::connect(self.kafka.clone())?)
    }

    /// Starts workers, and waits until they have all partitions.
    pub fn workers(&self, slots: u32, commit_age: Duration) -> Result<Vec<Worker>> {
        let file = self.dir.join("worker.toml");
        std::fs::create_dir_all(&self.dir)
            .and_then(|()| std::fs::write(&file, self.place.worker_config(self, commit_age)))
            .map_err(|e| Failed::environment("writing the configuration of a worker", &e))?;
        let mut workers = (0..slots).map(|slot| self.worker(slot)).collect::<Result<Vec<_>>>()?;
        let all = self.kafka.partitions as usize;
        crowd::wait("the workers have their partitions", LOOK_EVERY, || {
            let held = held(&mut workers)?;
            let count = |of: fn(&Held) -> usize| held.iter().map(of).sum::<usize>();
            Ok((count(|h| h.enrich.len()) == all && count(|h| h.sessions.len()) == all).then_some(()))
        })?;
        Ok(workers)
    }

    /// One worker more, of the same configuration.
    pub fn worker(&self, slot: u32) -> Result<Worker> {
        Worker::start(&self.dir.join("worker.toml"), slot, &self.place.global.set, &self.dir)
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        // The next one finds the disk as this one found it.
        if let Err(why) = self.place.cluster().remove(&self.kafka) {
            eprintln!("warning: topics of the bench were not removed: {why}");
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// What each has.
fn held(workers: &mut [Worker]) -> Result<Vec<Held>> {
    workers.iter_mut().map(Worker::held).collect()
}

/// What is done at present, for people who wait.
pub fn progress(what: &str) {
    eprintln!("{what}");
}

fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// A string of TOML: what JSON escapes, TOML reads.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
