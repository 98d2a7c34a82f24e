//! The configuration as the rest of the program uses it: every value is within its bounds, every path is resolved.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use enrich::condition::Condition;
use enrich::path::{Base, Path};
use event::Field;
use session::SessionsConfig;
use state::PlaceConfig;
use wire::{ClockMode, DecoderConfig, FieldMap, Limits, Preset};

use super::remote::{Cache, Remote};
use super::secret::{MaybeSecret, SecretRef};
use super::units::Space;

#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub data: Data,
    /// Where it is there, the log is Kafka.
    pub kafka: Option<Kafka>,
    pub http: Http,
    pub limits: Limits,
    /// At least one, and where a port is opened exactly one by HTTP. Names are unique, and at most one is the standard
    /// input.
    pub sources: Vec<Source>,
    pub geo: Geo,
    pub network: Network,
    pub device: Device,
    pub bot: Bot,
    pub referrer: Referrer,
    pub campaign: Campaign,
    pub assets: Assets,
    /// Each has what it reads, and there is an order in which all can be asked.
    pub lookups: Vec<Lookup>,
    pub cache: Cache,
    /// The fields beyond the envelope's, as the maps of all sources number them.
    pub fields: Vec<(Base, Field)>,
    pub enrich: Enrich,
    pub dedup: Dedup,
    pub time: Time,
    pub sessions: Sessions,
    pub state: State,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Data {
    pub dir: PathBuf,
    pub durability: Durability,
    /// Of each topic.
    pub partitions: u32,
    pub keep: Keep,
    /// Most bytes per topic.
    pub max_bytes: u64,
    pub min_free: Space,
    /// Bytes of one file of the journal.
    pub segment: u64,
    /// Bytes of the tail cache.
    pub cache: u64,
}

/// When an event counts as safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When the disk has it.
    Fsync,
    /// When the operating system has it. Had to be asked for, and is shown.
    Os,
}

/// How long each topic is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    pub raw: Duration,
    pub enriched: Duration,
    pub dlq: Duration,
    pub sessions: Duration,
    pub late: Duration,
}

/// `[kafka]`. How topics are is said by [`Data`].
#[derive(Clone, PartialEq, Debug)]
pub struct Kafka {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Of the names of topics, groups and transactions.
    pub prefix: String,
    /// For topics that are made.
    pub replication: u16,
    pub commit_age: Duration,
    pub session_timeout: Duration,
    /// Shorter than `session_timeout`.
    pub transaction_timeout: Duration,
    /// Of librdkafka, none of which is decided by the program itself.
    pub properties: Vec<(String, MaybeSecret)>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Http {
    /// `None`: no port is opened (`--input` without a port asked for).
    pub listen: Option<SocketAddr>,
    pub connections: usize,
    pub connections_per_address: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    /// Bytes a second.
    pub min_body_rate: u32,
    /// Bytes of one body, decompressed.
    pub batch: usize,
    /// Bytes taken in and not yet durable.
    pub in_flight: usize,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Source {
    pub name: String,
    pub kind: SourceKind,
    pub preset: Preset,
    pub client_address: ClientAddress,
    pub clock: ClockMode,
    /// The preset with what was written over it.
    pub map: FieldMap,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceKind {
    Http,
    File {
        path: PathBuf,
        follow: bool,
    },
    Stdin,
    /// A topic of other people's on the same Kafka. `from_start`: where it was never read before.
    Kafka {
        topic: String,
        from_start: bool,
    },
}

/// Whose address an event gets that has none of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientAddress {
    Connection,
    None,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Geo {
    /// In the order they are asked; may be empty.
    pub databases: Vec<PathBuf>,
    pub required: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Network {
    pub asn: Vec<PathBuf>,
    /// (`hosting`, `proxy`, ...; file), in the order of [`NETWORK_LISTS`].
    pub lists: Vec<(&'static str, PathBuf)>,
}

/// Kinds of lists of networks, each the name of a key of `[network]`.
pub const NETWORK_LISTS: [&str; 8] = ["hosting", "proxy", "vpn", "tor", "mobile", "satellite", "hostile", "anycast"];

#[derive(Clone, PartialEq, Debug)]
pub struct Device {
    pub rules: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Bot {
    pub crawlers: Option<PathBuf>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Referrer {
    pub file: Option<PathBuf>,
    /// Lower case.
    pub internal: Vec<String>,
}

/// Parameters of the page's URL, each list in the order of precedence.
#[derive(Clone, PartialEq, Debug)]
pub struct Campaign {
    pub source: Vec<String>,
    pub medium: Vec<String>,
    pub name: Vec<String>,
    pub term: Vec<String>,
    pub content: Vec<String>,
    /// (parameter, advertising network).
    pub click_ids: Vec<(String, String)>,
}

/// Files that `ouzel assets fetch` got.
#[derive(Clone, PartialEq, Debug)]
pub struct Assets {
    /// `None`: neither the configuration nor the environment says where.
    pub dir: Option<PathBuf>,
    /// Whether they stand in for what is not configured.
    pub in_use: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Lookup {
    /// The member of `enriched` it writes.
    pub name: String,
    pub kind: LookupKind,
    /// What is looked up: one, or one for each parameter of a source that is asked over a connection.
    pub key: Vec<Path>,
    pub when: Option<Condition>,
    /// Whether the run cannot start without its file.
    pub required: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub enum LookupKind {
    Mmdb {
        path: PathBuf,
    },
    File {
        path: PathBuf,
        /// `None`: by the file's name.
        format: Option<TableFormat>,
        /// `None`: the first column of a CSV or Parquet file, `id` in NDJSON.
        key_column: Option<String>,
        /// Empty: all.
        columns: Vec<String>,
        on_many: OnMany,
    },
    Remote(Box<Remote>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TableFormat {
    Csv,
    Ndjson,
    Parquet,
}

/// What a key means that stands in several rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnMany {
    Error,
    First,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Enrich {
    /// How long an event waits for all its lookups.
    pub deadline: Duration,
    pub status: Status,
    /// The member that is added to events.
    pub member: String,
    pub max_future: Duration,
    /// How often reference files are looked at.
    pub reload: Duration,
    /// 0: half of the cores.
    pub workers: usize,
}

/// Which enrichers `status` lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    NotOk,
    All,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Dedup {
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub disk: u64,
    /// Received time over which duplicates are told.
    pub horizon: Duration,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Time {
    pub out_of_order: Duration,
    pub idle_after: Duration,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Sessions {
    pub enabled: bool,
    /// They build.
    pub rules: SessionsConfig,
    /// Bytes of memory for links between users and visitors.
    pub links: u64,
}

#[derive(Clone, PartialEq, Debug)]
pub struct State {
    pub snapshot_every: Duration,
    /// Bytes, of all stages.
    pub memory: u64,
    /// `None`: in the data directory. Only on Kafka.
    pub store: Option<Store>,
}

/// Where snapshots lie that several processes share.
#[derive(Clone, PartialEq, Debug)]
pub enum Store {
    Directory(PathBuf),
    Bucket(Box<Bucket>),
}

/// Object storage.
#[derive(Clone, PartialEq, Debug)]
pub struct Bucket {
    /// `s3://bucket/prefix`.
    pub url: String,
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// `None`: with an endpoint.
    pub path_style: Option<bool>,
    /// (id, key); `None`: as the environment says.
    pub keys: Option<(SecretRef, SecretRef)>,
}

impl Bucket {
    /// The place, without its keys.
    pub fn place(&self) -> PlaceConfig {
        PlaceConfig {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            ..PlaceConfig::new(&self.url)
        }
    }
}

impl Config {
    /// What the decoder of a source is made from. [`wire::Decoder::build`] has accepted it once already.
    pub fn decoder(&self, source: &Source) -> DecoderConfig {
        DecoderConfig {
            source: source.name.clone(),
            map: source.map.clone(),
            limits: self.limits,
            reserved: self.enrich.member.clone(),
            max_future_us: self.enrich.max_future.as_micros() as i64,
            clock: source.clock,
        }
    }
}

impl Lookup {
    /// Its key as people write it: one path, or all of them in order.
    pub fn shown_key(&self) -> String {
        self.key.iter().map(Path::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl LookupKind {
    pub fn name(&self) -> &'static str {
        match self {
            LookupKind::Mmdb { .. } => "mmdb",
            LookupKind::File { .. } => "file",
            LookupKind::Remote(remote) => remote.client.kind(),
        }
    }

    /// The file it reads.
    pub fn path(&self) -> Option<&std::path::Path> {
        match self {
            LookupKind::Mmdb { path } | LookupKind::File { path, .. } => Some(path),
            LookupKind::Remote(_) => None,
        }
    }

    pub fn remote(&self) -> Option<&Remote> {
        match self {
            LookupKind::Remote(remote) => Some(remote),
            LookupKind::Mmdb { .. } | LookupKind::File { .. } => None,
        }
    }
}

impl Source {
    /// The source of a port that no `[[source]]` is about.
    pub(crate) fn http() -> Source {
        Source {
            name: super::HTTP_SOURCE.into(),
            kind: SourceKind::Http,
            preset: Preset::Segment,
            client_address: ClientAddress::Connection,
            clock: ClockMode::Live,
            map: FieldMap::preset(Preset::Segment),
        }
    }
}

impl SourceKind {
    pub fn name(&self) -> &'static str {
        match self {
            SourceKind::Http => "http",
            SourceKind::File { .. } => "file",
            SourceKind::Stdin => "stdin",
            SourceKind::Kafka { .. } => "kafka",
        }
    }
}
