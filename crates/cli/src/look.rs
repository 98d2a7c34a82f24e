//! Looking into a log: a data directory through the process that runs on it when it has a port, else in its files, which one
//! may read beside a running process too; Kafka itself, where the configuration says that the log is there.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::topic::TOPICS;
use event::{Offset, TopicId, TopicPartition};
use log::Log;
use log::journal::{Holder, Journal, Lock};
use node::carrier::Kafka;
use node::config::{Config, LoadArgs, Loaded, RunArgs};
use node::engine::World;
use seam::{Fs, RealClock, RealFs};
use serde_json::Value;
use state::Store;

use crate::Global;
use crate::command::run::carrier_failed;
use crate::exit::{Exit, Failed, Result, with_help};

/// The configuration that the global flags and `run` describe, with fetched files for what it does not name.
pub fn load(global: &Global, insecure: bool, run: RunArgs) -> Result<Loaded> {
    let mut loaded = load_as_written(global, insecure, run)?;
    for damaged in node::parts::with_assets(&mut loaded.config, &RealFs) {
        eprintln!("warning: {damaged}");
    }
    Ok(loaded)
}

/// The same without: for whoever does not enrich, or asks what stands in for what.
pub fn load_as_written(global: &Global, insecure: bool, run: RunArgs) -> Result<Loaded> {
    Config::load(&load_args(global, insecure, run), &RealFs).map_err(|e| Failed::usage(e.to_string()))
}

pub fn load_args(global: &Global, insecure: bool, mut run: RunArgs) -> LoadArgs {
    run.data = global.data.as_ref().map(|d| d.display().to_string());
    LoadArgs {
        file: global.config.clone(),
        env: std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
        set: global.set.clone(),
        cwd: PathBuf::new(),
        stands_in: None,
        insecure,
        run,
    }
}

/// The configuration, if its log is Kafka and no directory was named.
pub fn kafka(global: &Global) -> Result<Option<Config>> {
    if global.data.is_some() {
        return Ok(None);
    }
    let config = load_as_written(global, false, RunArgs::default())?.config;
    Ok(config.kafka.is_some().then_some(config))
}

/// Where snapshots of state lie.
pub fn store(config: &Config) -> Result<Arc<dyn Store>> {
    node::parts::store(config, &World::real()).map_err(|e| Failed::usage(format!("state.store: {e}")))
}

/// The configuration of a log that is Kafka: `what` is about that.
pub fn needs_kafka(global: &Global, what: &str) -> Result<Config> {
    let loaded = load_as_written(global, false, RunArgs::default())?;
    if loaded.config.kafka.is_some() {
        return Ok(loaded.config);
    }
    let message = format!("{what} is about Kafka, and {} has no [kafka]", loaded.origin);
    Err(Failed::usage(with_help(
        &message,
        "-c FILE names a configuration; topics of the journal are there by themselves",
    )))
}

/// An error where the log is Kafka: `what` is about a data directory; `help` says what to do instead.
pub fn not_on_kafka(global: &Global, what: &str, help: &str) -> Result<()> {
    match kafka(global)? {
        None => Ok(()),
        Some(_) => {
            let message = format!("{what} is about a data directory, and the log is Kafka");
            Err(Failed::usage(with_help(&message, &format!("{help}; --data DIR names a directory"))))
        }
    }
}

/// The data directory that the global flags mean.
pub fn data_dir(global: &Global) -> Result<PathBuf> {
    if let Some(dir) = &global.data {
        return Ok(dir.clone());
    }
    Ok(load_as_written(global, false, RunArgs::default())?.config.data.dir)
}

/// Who runs on a directory, if anybody does.
pub fn holder(dir: &Path) -> Result<Option<Holder>> {
    Ok(Lock::peek(&RealFs, dir)?)
}

/// An error unless `dir` is a data directory.
pub fn known(dir: &Path) -> Result<()> {
    if node::engine::is_data_dir(&RealFs, dir) {
        return Ok(());
    }
    if let Err(e) = RealFs.list(dir)
        && e.kind() == std::io::ErrorKind::PermissionDenied
    {
        let what = format!("{} may not be read by this user", dir.display());
        return Err(Failed::new(Exit::Environment, with_help(&what, "run this as the user that `ouzel run` runs as")));
    }
    let what = if RealFs.exists(dir) {
        format!("{} is no data directory of ouzel: it has no file `format`", dir.display())
    } else {
        format!("there is no directory {}", dir.display())
    };
    Err(Failed::usage(with_help(&what, "--data DIR names the directory; `ouzel run` makes one")))
}

/// A log to look into.
pub enum Look {
    /// A process runs on it and has a port here.
    Running {
        base: String,
        agent: ureq::Agent,
    },
    Stored(Arc<Journal>),
    /// The log is Kafka, and the configuration says where.
    Kafka(Kafka),
}

/// Some records of a partition, a line each, and where to read on.
pub struct Page {
    /// NDJSON as `GET /v1/topics/{topic}/records` gives it.
    pub lines: Vec<u8>,
    pub next: Offset,
}

impl Look {
    pub fn open(global: &Global) -> Result<Look> {
        match kafka(global)? {
            Some(config) => Ok(Look::Kafka(Kafka::look(&config, &World::real()).map_err(carrier_failed)?)),
            None => Look::open_dir(&data_dir(global)?),
        }
    }

    /// The log itself, where no running process stands before it.
    pub fn log(&self) -> Option<Arc<dyn Log>> {
        match self {
            Look::Running { .. } => None,
            Look::Stored(journal) => Some(journal.clone()),
            Look::Kafka(kafka) => Some(kafka.log()),
        }
    }

    pub fn open_dir(dir: &Path) -> Result<Look> {
        let running = holder(dir)?.and_then(|h| node::admin::announced(&h.lines).0.map(str::to_owned));
        if let Some(addr) = running {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            return Ok(Look::Running { base: format!("http://{addr}"), agent });
        }
        known(dir)?;
        Ok(Look::Stored(Journal::open_read_only(dir, Arc::new(RealFs), Arc::new(RealClock::new()))?))
    }

    /// The topics as `GET /v1/topics` gives them.
    pub fn topics(&self) -> Result<Value> {
        match self.log() {
            None => Ok(self.get_json("/v1/topics")?["topics"].take()),
            Some(log) => Ok(door::http::overview(&*log)?),
        }
    }

    /// (first offset kept, end) of each partition of a topic.
    pub fn bounds(&self, topic: TopicId) -> Result<Vec<(Offset, Offset)>> {
        match self.log() {
            Some(log) => (0..log.partitions(topic)).map(|p| Ok(log.bounds(topic.partition(p))?)).collect(),
            None => {
                let all = self.topics()?;
                let of = all.as_array().into_iter().flatten().find(|t| t["name"] == topic.name());
                let partitions = of.and_then(|t| t["partitions"].as_array()).into_iter().flatten();
                Ok(partitions.map(|p| (p["start"].as_u64().unwrap_or(0), p["end"].as_u64().unwrap_or(0))).collect())
            }
        }
    }

    /// Up to `limit` records from `from` on; waits up to `wait_ms` for one where a process runs.
    pub fn records(&self, at: TopicPartition, from: Offset, limit: u64, wait_ms: u64) -> Result<Page> {
        match self.log() {
            None => {
                let path = format!(
                    "/v1/topics/{}/records?partition={}&from={from}&limit={limit}&wait={wait_ms}",
                    at.topic.name(),
                    at.partition
                );
                let (lines, headers) = self.get(&path)?;
                let number = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
                Ok(Page { lines, next: number("x-ouzel-next").unwrap_or(from) })
            }
            Some(log) => {
                let fetch = log.fetch(at, from, 4 << 20)?;
                let mut page = Page { lines: Vec::new(), next: fetch.next };
                let mut shown = 0;
                for chunk in &fetch.chunks {
                    for record in chunk.records() {
                        let (offset, record) = record.map_err(|e| {
                            Failed::new(Exit::Data, format!("{at} at {offset}: {e}", offset = chunk.base))
                        })?;
                        if !door::http::is_shown(&record) {
                            continue;
                        }
                        if shown == limit {
                            page.next = offset;
                            return Ok(page);
                        }
                        door::http::write_record(&mut page.lines, at.partition, offset, &record);
                        shown += 1;
                    }
                }
                Ok(page)
            }
        }
    }

    /// A JSON answer of the running process; `None` when nothing runs.
    pub fn running_json(&self, path: &str) -> Result<Option<Value>> {
        match self {
            Look::Running { .. } => self.get_json(path).map(Some),
            Look::Stored(_) | Look::Kafka(_) => Ok(None),
        }
    }

    /// As [`Look::running_json`], with the status, which may be one of an error: then the JSON says which.
    pub fn running_answer(&self, path: &str) -> Result<Option<(u16, Value)>> {
        let Look::Running { base, agent } = self else { return Ok(None) };
        let failed = |e: &dyn std::fmt::Display| unanswered(base, e);
        let mut answer = agent.get(format!("{base}{path}")).call().map_err(|e| failed(&e))?;
        let mut bytes = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut bytes).map_err(|e| failed(&e))?;
        let json = serde_json::from_slice(&bytes).map_err(|e| failed(&e))?;
        Ok(Some((answer.status().as_u16(), json)))
    }

    /// Posts JSON to the running process: the status, and the JSON that came back.
    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        let Look::Running { base, agent } = self else { unreachable!("only asked of a running process") };
        let failed = |e: &dyn std::fmt::Display| unanswered(base, e);
        let request = agent.post(format!("{base}{path}")).header("Content-Type", "application/json");
        let mut answer = request.send(body.to_string().as_bytes()).map_err(|e| failed(&e))?;
        let mut bytes = Vec::new();
        answer.body_mut().as_reader().read_to_end(&mut bytes).map_err(|e| failed(&e))?;
        let json = serde_json::from_slice(&bytes).map_err(|e| failed(&e))?;
        Ok((answer.status().as_u16(), json))
    }

    fn get_json(&self, path: &str) -> Result<Value> {
        let (body, _) = self.get(path)?;
        serde_json::from_slice(&body).map_err(|e| Failed::environment("the running process answered no JSON", &e))
    }

    fn get(&self, path: &str) -> Result<(Vec<u8>, ureq::http::HeaderMap)> {
        let Look::Running { base, agent } = self else { unreachable!("only asked of a running process") };
        let failed = |e: &dyn std::fmt::Display| unanswered(base, e);
        let answer = agent.get(format!("{base}{path}")).call().map_err(|e| failed(&e))?;
        let (parts, mut body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.as_reader().read_to_end(&mut bytes).map_err(|e| failed(&e))?;
        if !parts.status.is_success() {
            let message = serde_json::from_slice::<Value>(&bytes)
                .ok()
                .and_then(|v| v["message"].as_str().map(str::to_owned))
                .unwrap_or_else(|| parts.status.to_string());
            return Err(Failed::new(Exit::Failed, message));
        }
        Ok((bytes, parts.headers))
    }
}

fn unanswered(base: &str, e: &dyn std::fmt::Display) -> Failed {
    Failed::environment(&format!("the running process at {base} did not answer"), e)
}

/// Calls `each` for the records of a page.
pub fn each_record(page: &Page, at: TopicPartition, mut each: impl FnMut(Value)) -> Result<()> {
    for line in page.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let record = serde_json::from_slice(line)
            .map_err(|e| Failed::new(Exit::Data, format!("{at}: a record is no JSON: {e}")))?;
        each(record);
    }
    Ok(())
}

/// Asks something of the process that runs on a directory: a path below `/admin/`, with its token. The status and the JSON.
pub fn ask(holder: &Holder, path: &str, body: &Value) -> Result<(u16, Value)> {
    let (Some(addr), Some(token)) = node::admin::announced(&holder.lines) else {
        return Err(Failed::usage(with_help(
            &format!("process {} has no port, so nothing can be asked of it", holder.pid),
            &format!("stop it (`kill {}`), then ask this again of the directory that it leaves", holder.pid),
        )));
    };
    let base = format!("http://{addr}");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let failed = |e: &dyn std::fmt::Display| unanswered(&base, e);
    let request = agent.post(format!("{base}{path}")).header("Authorization", format!("Bearer {token}"));
    let mut answer = request.send(body.to_string().as_bytes()).map_err(|e| failed(&e))?;
    let mut bytes = Vec::new();
    answer.body_mut().as_reader().read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    let json = serde_json::from_slice(&bytes).map_err(|e| failed(&e))?;
    Ok((answer.status().as_u16(), json))
}

/// A name as it may stand in a path.
pub fn escaped(name: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    name.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// A topic by name, or an error that lists them.
pub fn topic(name: &str) -> Result<TopicId> {
    TopicId::named(name).ok_or_else(|| {
        let names: Vec<_> = TOPICS.iter().map(|t| t.name).collect();
        Failed::usage(format!("there is no topic `{name}`; there are {}", names.join(", ")))
    })
}
