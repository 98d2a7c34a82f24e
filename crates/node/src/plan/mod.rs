//! What will run with a configuration: sources, topics, the enrich stage with its enrichers in order, and what each reads
//! and writes. Nothing is opened and nothing is made; with [`Plan::open`] reference files are opened and told with their
//! versions.
//!
//! The enrichers are asked themselves ([`enrich::Enrich::outline`]), and topics come from their table: what is new there
//! is in the drawing without a line here.
//!
//! * [`text`]: for people, within 100 columns
//! * [`mermaid`]: as a flowchart
//! * [`json`]: for machines

pub mod json;
pub mod mermaid;
pub mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use enrich::Enrich;
use event::topic::TOPICS;
use lookup::LookupError;
use seam::Fs;

use crate::config::schema::SCHEMA;
use crate::config::units::show_duration;
use crate::config::{self, Config, Durability, Loaded, LookupKind, OnMany, SourceKind};
use crate::parts;

/// What will run.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The configuration file as it was named, or "built-in defaults".
    pub origin: String,
    pub data: Data,
    /// Where events come in by HTTP and topics are read; `None`: no port is opened.
    pub port: Option<String>,
    pub sources: Vec<Source>,
    /// In the order of the flow.
    pub topics: Vec<Topic>,
    pub stage: Stage,
    /// How sessions are made, if they are.
    pub sessions: Option<Sessions>,
    /// `--output`: a file, or `-`.
    pub output: Option<String>,
    /// What is there and cannot be used, a sentence each.
    pub warnings: Vec<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Data {
    pub dir: PathBuf,
    pub fsync: bool,
    pub state: DataState,
}

/// What is in the data directory now.
#[derive(Clone, PartialEq, Debug)]
pub enum DataState {
    /// The start makes it.
    New,
    There,
    /// The start refuses it: it was made with so many partitions.
    OtherPartitions(u32),
    /// The start refuses it, and says this.
    Refused(String),
}

#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    pub name: String,
    /// `http`, `file`, `stdin`.
    pub kind: &'static str,
    pub preset: &'static str,
    /// Whether events without an address get the connection's.
    pub connection_address: bool,
    /// `live` or `as_sent`.
    pub clock: &'static str,
    /// The file it reads, and whether it goes on at its end.
    pub file: Option<File>,
    pub follow: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Topic {
    pub name: &'static str,
    /// What it is partitioned by.
    pub key: &'static str,
    pub holds: &'static str,
    pub partitions: u32,
    pub keep: Duration,
    pub max_bytes: u64,
}

/// The enrich stage.
#[derive(Clone, PartialEq, Debug)]
pub struct Stage {
    /// The member it adds to events.
    pub member: String,
    /// Threads; 0: half of the cores.
    pub workers: usize,
    /// Bytes for telling duplicates.
    pub dedup: u64,
    /// In the order in which they write.
    pub enrichers: Vec<Enricher>,
    /// Rounds of asks; those of one round ask together.
    pub rounds: usize,
    /// How long an event waits for lookups over a connection; `None`: there are none.
    pub deadline: Option<Duration>,
}

/// The sessions stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sessions {
    /// What ends a session, a few words each.
    pub rules: Vec<String>,
    pub allowed_lateness: Duration,
    pub snapshot_every: Duration,
    /// Bytes of state, at most.
    pub memory: u64,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Enricher {
    pub name: String,
    /// In which round it asks, from 1; `None`: it asks nobody.
    pub round: Option<usize>,
    /// What it reads, as keys and conditions call it: `event.ip`, `enriched.user`.
    pub reads: Vec<String>,
    /// Those whose members it reads, by their names.
    pub after: Vec<String>,
    /// `enriched.geo`.
    pub writes: String,
    /// Of a lookup of the user's own.
    pub lookup: Option<Lookup>,
    /// In the order they are asked.
    pub files: Vec<File>,
    /// What is to be expected of it.
    pub expect: Vec<Expect>,
    /// What its files came to, once they have been opened.
    pub opened: Option<Opened>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Lookup {
    pub kind: &'static str,
    /// One path, or those of all parameters.
    pub key: Vec<String>,
    /// A condition in CEL.
    pub when: Option<String>,
    /// Of one that is asked over a connection.
    pub remote: Option<Remote>,
}

/// A source that is asked over a connection.
#[derive(Clone, PartialEq, Debug)]
pub struct Remote {
    /// Where it is, without login and query; where the secret stands, if it is one.
    pub place: String,
    pub connections: usize,
    /// Keys of a call.
    pub bulk: usize,
    pub cache: Cache,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// Bytes.
    pub size: u64,
    pub ttl: Duration,
    pub ttl_missing: Duration,
    pub max_stale: Duration,
    /// The cache that several processes share, if it is used.
    pub shared: Option<String>,
}

/// A file that is read.
#[derive(Clone, PartialEq, Debug)]
pub struct File {
    pub path: PathBuf,
    /// The key that names it.
    pub key: &'static str,
    /// Whether it is one of `ouzel assets` that stands in for what the key does not name.
    pub fetched: bool,
    pub there: bool,
    /// Whether the run cannot start without it.
    pub needed: bool,
    /// Once it has been opened.
    pub bytes: Option<u64>,
}

/// What the files of an enricher came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Of the files in use.
    pub versions: Vec<String>,
    /// What nobody should wait for although there is data.
    pub lacks: Vec<&'static str>,
    /// Files that are not in use, and why.
    pub refused: Vec<String>,
}

/// What is known of an enricher's answers before there are any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expect {
    /// What an event's `status` will say; `None`: nothing, but it does less than it could.
    pub status: Option<&'static str>,
    pub why: &'static str,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "\"{status}\": {}", self.why),
            None => f.write_str(self.why),
        }
    }
}

const fn expect(status: &'static str, why: &'static str) -> Expect {
    Expect { status: Some(status), why }
}

/// What to expect of an enricher that has none of its files; those that are not here do all they can.
const WITHOUT: &[(&str, Expect)] = &[
    ("geo", expect("skipped", "no database")),
    ("network", expect("skipped", "no data of networks")),
    ("device", Expect { status: None, why: "only the kind of device: no rules" }),
    ("bot", Expect { status: None, why: "judged by the program's own rules alone: no list of crawlers" }),
];

impl Plan {
    /// What runs with a configuration as it was loaded; files that were fetched stand in for what it does not name.
    ///
    /// # Errors
    /// A configuration that no enrichers can be made from.
    pub fn of(loaded: &Loaded, fs: &dyn Fs) -> Result<Plan, LookupError> {
        let mut config = loaded.config.clone();
        let warnings = parts::with_assets(&mut config, fs);
        let journal = parts::journal_config(&config);
        let topic = |t: &event::topic::Topic| Topic {
            name: t.name,
            key: t.key,
            holds: t.holds,
            partitions: journal.partitions,
            keep: Duration::from_secs(
                journal.keep_secs.iter().find(|(id, _)| *id == t.id).map_or(t.keep_secs, |(_, secs)| *secs),
            ),
            max_bytes: journal.max_bytes,
        };
        let files = Files { named: &loaded.config, used: &config, fs };
        Ok(Plan {
            origin: loaded.origin.clone(),
            data: Data {
                dir: config.data.dir.clone(),
                fsync: config.data.durability == Durability::Fsync,
                state: data_state(&config, fs),
            },
            port: config.http.listen.map(|address| address.to_string()),
            sources: config.sources.iter().map(|s| source(s, &files)).collect(),
            topics: TOPICS.iter().map(topic).collect(),
            stage: stage(&config, &files)?,
            sessions: config.sessions.enabled.then(|| sessions(&config)),
            output: None,
            warnings,
        })
    }

    /// Opens all reference files, which takes as long as a start does. None that is bad is an error here: the plan says
    /// so.
    pub fn open(&mut self, config: &Config, fs: &dyn Fs) -> Result<(), LookupError> {
        let mut all = config.clone();
        parts::with_assets(&mut all, fs);
        all.geo.required = false;
        all.lookups.iter_mut().for_each(|l| l.required = false);
        let (sources, ..) = parts::sources(&all)?;
        let overview = sources.overview();
        for enricher in &mut self.stage.enrichers {
            enricher.opened = overview.iter().find(|o| o.name == enricher.name).map(|o| Opened {
                versions: o.versions.clone(),
                lacks: o.lacks.clone(),
                refused: o.refused.clone(),
            });
        }
        let of_sources = self.sources.iter_mut().filter_map(|s| s.file.as_mut());
        for file in self.stage.enrichers.iter_mut().flat_map(|e| &mut e.files).chain(of_sources) {
            file.bytes = size(fs, &file.path);
        }
        Ok(())
    }

    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|t| t.name == name)
    }
}

/// The files that are read, and whether they are there.
struct Files<'c> {
    /// The configuration as it was written.
    named: &'c Config,
    /// The same with the files of `ouzel assets`.
    used: &'c Config,
    fs: &'c dyn Fs,
}

impl Files<'_> {
    fn file(&self, path: &Path, key: &'static str, needed: bool) -> File {
        File { path: path.to_owned(), key, fetched: false, there: self.fs.exists(path), needed, bytes: None }
    }

    /// The files of a built-in enricher: those of the section that has its name.
    fn of_section(&self, name: &str) -> Vec<File> {
        let named = reference_files(self.named);
        let used = reference_files(self.used).into_iter().filter(|(key, _)| key.split('.').next() == Some(name));
        let file = |(key, path): (&'static str, &Path)| File {
            fetched: !named.contains(&(key, path)),
            ..self.file(path, key, key == "geo.database" && self.used.geo.required)
        };
        used.map(file).collect()
    }
}

/// The files that built-in enrichers read, each with its key, in the order of the schema.
pub fn reference_files(config: &Config) -> Vec<(&'static str, &Path)> {
    let mut files: Vec<(&'static str, &Path)> = Vec::new();
    files.extend(config.geo.databases.iter().map(|f| ("geo.database", f.as_path())));
    files.extend(config.network.asn.iter().map(|f| ("network.asn", f.as_path())));
    for (kind, path) in &config.network.lists {
        let key = SCHEMA.key(&format!("network.{kind}")).expect("each list has its key");
        files.push((key.path, path));
    }
    files.extend(config.device.rules.iter().map(|f| ("device.rules", f.as_path())));
    files.extend(config.bot.crawlers.iter().map(|f| ("bot.crawlers", f.as_path())));
    files.extend(config.referrer.file.iter().map(|f| ("referrer.file", f.as_path())));
    files
}

fn data_state(config: &Config, fs: &dyn Fs) -> DataState {
    match log::journal::partitions_of(fs, &config.data.dir) {
        Ok(None) => DataState::New,
        Ok(Some(stored)) if stored == config.data.partitions => DataState::There,
        Ok(Some(stored)) => DataState::OtherPartitions(stored),
        Err(e) => DataState::Refused(e.to_string()),
    }
}

fn source(source: &config::Source, files: &Files<'_>) -> Source {
    let (file, follow) = match &source.kind {
        SourceKind::File { path, follow } => (Some(files.file(path, "source.path", true)), *follow),
        SourceKind::Http | SourceKind::Stdin | SourceKind::Kafka { .. } => (None, false),
    };
    Source {
        name: source.name.clone(),
        kind: source.kind.name(),
        preset: source.preset.name(),
        connection_address: source.client_address == config::ClientAddress::Connection,
        clock: match source.clock {
            config::Clock::Live => "live",
            config::Clock::AsSent => "as_sent",
        },
        file,
        follow,
    }
}

fn stage(config: &Config, files: &Files<'_>) -> Result<Stage, LookupError> {
    let outline = Enrich::outline(&parts::setup(config)?);
    let member = &config.enrich.member;
    let enricher = |o: &enrich::Outline| {
        let lookup = config.lookups.iter().find(|l| l.name == o.name);
        let mut reads: Vec<String> = o.fields.iter().map(|f| format!("event.{}", f.name())).collect();
        reads.extend(o.members.iter().map(|m| format!("enriched.{m}")));
        let mut seen = BTreeSet::new();
        reads.retain(|r| seen.insert(r.clone()));
        let files = match lookup {
            Some(lookup) => {
                // Its key says more than what it is a part of, and the condition is told beside.
                let keys: Vec<String> = lookup.key.iter().map(ToString::to_string).collect();
                let part = |of: &str| {
                    keys.iter()
                        .any(|key| key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
                };
                reads.retain(|r| !part(r) && *r != "event.custom");
                reads.splice(0..0, keys);
                lookup.kind.path().map(|path| files.file(path, "lookup.path", lookup.required)).into_iter().collect()
            }
            None => files.of_section(&o.name),
        };
        Enricher {
            name: o.name.clone(),
            round: o.asks.then_some(o.round + 1),
            reads,
            after: o.members.clone(),
            writes: format!("{member}.{}", o.name),
            lookup: lookup.map(|l| Lookup {
                kind: l.kind.name(),
                key: l.key.iter().map(ToString::to_string).collect(),
                when: l.when.as_ref().map(|when| when.text().to_owned()),
                remote: l.kind.remote().map(|r| remote(r, config)),
            }),
            expect: expected(&o.name, lookup, &files),
            files,
            opened: None,
        }
    };
    let enrichers: Vec<Enricher> = outline.iter().map(enricher).collect();
    Ok(Stage {
        member: member.clone(),
        workers: config.enrich.workers,
        dedup: config.dedup.memory,
        rounds: enrichers.iter().filter_map(|e| e.round).max().unwrap_or(0),
        deadline: config.lookups.iter().any(|l| l.kind.remote().is_some()).then_some(config.enrich.deadline),
        enrichers,
    })
}

fn remote(remote: &config::Remote, config: &Config) -> Remote {
    let shared = config.cache.shared.as_ref().filter(|_| remote.shared);
    let cache = &remote.cache;
    Remote {
        place: remote.place(),
        connections: remote.connections,
        bulk: remote.limits.bulk,
        cache: Cache {
            size: cache.size as u64,
            ttl: cache.ttl,
            ttl_missing: cache.ttl_missing,
            max_stale: cache.max_stale,
            shared: shared.map(|shared| config::remote::shown(&shared.url)),
        },
    }
}

fn sessions(config: &Config) -> Sessions {
    let rules = &config.sessions.rules;
    let show = |us: i64| show_duration(Duration::from_micros(us as u64));
    let mut told = vec![format!("{} without events", show(rules.gap_us))];
    told.extend(rules.max_length_us.map(|us| format!("a length of {}", show(us))));
    told.extend(rules.max_events.map(|n| format!("{n} events")));
    told.extend(rules.midnight.as_ref().map(|zone| format!("midnight in {zone}")));
    told.extend(rules.campaign_change.then(|| "another campaign".to_owned()));
    told.extend(rules.split_on_user_change.then(|| "another user".to_owned()));
    told.extend(rules.client_session.then(|| "another session id of the client's".to_owned()));
    let types = |what: &str, types: &[String]| (!types.is_empty()).then(|| format!("{what} {}", types.join(", ")));
    told.extend(types("before", &rules.start_events));
    told.extend(types("after", &rules.end_events));
    Sessions {
        rules: told,
        allowed_lateness: Duration::from_micros(rules.allowed_lateness_us as u64),
        snapshot_every: config.state.snapshot_every,
        memory: config.state.memory,
    }
}

fn expected(name: &str, lookup: Option<&config::Lookup>, files: &[File]) -> Vec<Expect> {
    let nothing = files.iter().all(|f| !f.there);
    let Some(lookup) = lookup else {
        return WITHOUT.iter().filter(|(n, _)| nothing && *n == name).map(|(_, e)| e.clone()).collect();
    };
    let (source, many) = match &lookup.kind {
        LookupKind::Mmdb { .. } | LookupKind::File { .. } if nothing => return vec![expect("skipped", "no file")],
        LookupKind::Mmdb { .. } => (FILE, None),
        LookupKind::File { on_many, .. } => (FILE, Some(*on_many)),
        LookupKind::Remote(remote) => match &remote.client {
            config::remote::Client::Sql(sql) => (SOURCE, Some(sql.on_many)),
            config::remote::Client::Redis(_) | config::remote::Client::Http(_) => (SOURCE, None),
        },
    };
    let condition = lookup.when.as_ref().map(|_| expect("skipped", "where the condition does not hold"));
    let several = (many == Some(OnMany::Error)).then(|| expect("error:many_rows", source.several));
    condition
        .into_iter()
        .chain([expect("miss", source.miss)])
        .chain(several)
        .chain(source.more.iter().cloned())
        .collect()
}

/// What to expect of a kind of source.
struct Expected {
    miss: &'static str,
    several: &'static str,
    more: &'static [Expect],
}

const FILE: Expected = Expected {
    miss: "where the file does not have the key",
    several: "where the file has the key in several rows",
    more: &[],
};

const SOURCE: Expected = Expected {
    miss: "where the source does not have the key",
    several: "where the source has the key in several rows",
    more: &[
        expect("timeout", "where the source does not answer in time, and the cache has nothing older"),
        expect("open", "while the source is left alone because it fails"),
    ],
};

fn size(fs: &dyn Fs, path: &Path) -> Option<u64> {
    fs.open_read(path).and_then(|f| f.len()).ok()
}
