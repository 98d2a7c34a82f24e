//! What the configuration makes of each part of the process, before anything runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use door::input;
use enrich::DedupConfig;
use enrich::dedup::GENERATION;
use enrich::enricher::{AsksBy, CampaignMap, LookupSetup, Setup};
use event::TopicId;
use event::topic::{DLQ, ENRICHED, LATE, RAW, SESSIONS};
use flow::SourceId;
use log::journal::{self, JournalConfig, MinFree};
use lookup::mmdb::{RecordSource, Records};
use lookup::table::Rows;
use lookup::{
    AgentVersion, Answer as _, Asked, CrawlerVersion, Data, Format, GeoVersion, ListKind, LookupError, Network,
    NetworkFile, OnMany, Referrers, Reloaded, TableConfig, TableSource,
};
use seam::Fs;
use wire::Decoder;

use crate::assets::{Asset, Installed};
use crate::carrier::Who;
use crate::config::{self, Config, LookupKind, SourceKind};
use crate::engine::{StartError, World};
use crate::lookups::unasked::Unasked;
use crate::sessions::STATE_DIR;
use stage::facts::Sources;
use state::{Directory, Place, Store};

/// What the process may spend on telling duplicates.
pub fn dedup(config: &Config) -> DedupConfig {
    DedupConfig {
        memory: config.dedup.memory,
        disk: config.dedup.disk,
        horizon_us: i64::try_from(config.dedup.horizon.as_micros()).unwrap_or(i64::MAX),
        generation: GENERATION,
    }
}

/// How long each topic is kept, in seconds.
pub fn keep_secs(config: &Config) -> Vec<(TopicId, u64)> {
    let keep = &config.data.keep;
    vec![
        (RAW, keep.raw.as_secs()),
        (ENRICHED, keep.enriched.as_secs()),
        (DLQ, keep.dlq.as_secs()),
        (SESSIONS, keep.sessions.as_secs()),
        (LATE, keep.late.as_secs()),
    ]
}

/// Where a process keeps what is its own: the data directory, and on a log that others share a directory in it that is named
/// after what it is there.
pub fn local_dir(config: &Config, who: &Who) -> PathBuf {
    match config.kafka {
        Some(_) => config.data.dir.join(format!("{}-{}", who.role.replace(',', "+"), who.slot)),
        None => config.data.dir.clone(),
    }
}

/// Where the snapshots of stages lie.
///
/// # Errors
/// What is wrong with the place, or that this program cannot use it.
pub fn store(config: &Config, world: &World) -> Result<Arc<dyn Store>, String> {
    let dir = config.data.dir.join(STATE_DIR);
    match &config.state.store {
        None if config.kafka.is_none() => Ok(Arc::new(Directory::new(world.fs.clone(), &dir))),
        None => shared(dir, world),
        Some(config::Store::Directory(dir)) => shared(dir.clone(), world),
        Some(config::Store::Bucket(bucket)) => crate::bucket::open(bucket, world),
    }
}

/// A directory that several processes write to.
fn shared(dir: PathBuf, world: &World) -> Result<Arc<dyn Store>, String> {
    let store = Place::Directory(dir).open(world.fs.clone(), world.clock.clone(), world.rng.clone());
    store.map_err(|e| e.to_string())
}

/// The journal's part of the configuration.
pub fn journal_config(config: &Config) -> JournalConfig {
    let data = &config.data;
    JournalConfig {
        partitions: data.partitions,
        durability: match data.durability {
            config::Durability::Fsync => journal::Durability::Fsync,
            config::Durability::Os => journal::Durability::Os,
        },
        segment_bytes: data.segment,
        keep_secs: keep_secs(config),
        max_bytes: data.max_bytes,
        min_free: match data.min_free {
            config::Space::Percent(p) => MinFree::Percent(p),
            config::Space::Bytes(b) => MinFree::Bytes(b),
        },
        cache_bytes: data.cache as usize,
        ..JournalConfig::default()
    }
}

/// The decoder of a source.
pub fn decoder(config: &Config, source: &config::Source) -> Result<Decoder, StartError> {
    let built = Decoder::build(config.decoder(source));
    built.map_err(|error| StartError::Map { source_name: source.name.clone(), error })
}

/// Puts files that were fetched in the place of what is not configured, and says what of them cannot be used.
pub fn with_assets(config: &mut Config, fs: &dyn Fs) -> Vec<String> {
    let installed = match &config.assets.dir {
        Some(dir) if config.assets.in_use => Installed::open(dir, fs),
        _ => return Vec::new(),
    };
    let files = |asset| installed.path(asset).unwrap_or_default();
    if config.geo.databases.is_empty() {
        config.geo.databases = installed.geo().map(files).unwrap_or_default();
    }
    if config.network.asn.is_empty() {
        config.network.asn = files(Asset::Asn);
    }
    let first = |asset| files(asset).into_iter().next();
    config.device.rules = config.device.rules.take().or_else(|| first(Asset::Agents));
    config.bot.crawlers = config.bot.crawlers.take().or_else(|| first(Asset::Crawlers));
    installed.damaged()
}

/// The sources, what enrich asks them for, and what it goes on without: a file that cannot be used is no reason not to take
/// events in, unless the configuration says it is.
///
/// Nothing is asked over a connection: such lookups are `skipped`.
pub fn sources(config: &Config) -> Result<(Sources, Setup, Vec<String>), LookupError> {
    sources_with(config, Look::Open, &|_| None)
}

/// [`sources`], with those that are asked over a connection by the name of their lookup.
pub fn sources_asked(config: &Config, asked: &Services<'_>) -> Result<(Sources, Setup, Vec<String>), LookupError> {
    sources_with(config, Look::Open, asked)
}

/// The source of a lookup that is asked over a connection, by its name.
pub type Services<'s> = dyn Fn(&str) -> Option<Arc<dyn Asked>> + 's;

/// What enrich is made from, without a file being opened: for whoever wants to know what would run.
pub fn setup(config: &Config) -> Result<Setup, LookupError> {
    sources_with(config, Look::Away, &|_| None).map(|(_, setup, _)| setup)
}

/// Whether files are opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Open,
    Away,
}

/// A source of these files, and what is wrong with them at present.
fn source<D: Data>(files: Vec<(PathBuf, D::Use)>, look: Look) -> (Reloaded<D>, Vec<LookupError>) {
    Reloaded::open_what_is_good(if look == Look::Open { &files } else { &[] })
}

fn plain(paths: &[PathBuf]) -> Vec<(PathBuf, ())> {
    paths.iter().map(|path| (path.clone(), ())).collect()
}

fn sources_with(
    config: &Config,
    look: Look,
    asked: &Services<'_>,
) -> Result<(Sources, Setup, Vec<String>), LookupError> {
    let mut sources = Sources::default();
    let mut setup = Setup::default();
    let mut without = Vec::new();
    // A source without files is there all the same: `data_versions` says that there is no data. Nobody asks it.
    let (geo, errors) = source::<GeoVersion>(plain(&config.geo.databases), look);
    go_on_without(&mut without, "geo", errors, config.geo.required)?;
    let geo = sources.add("geo", Box::new(geo));
    setup.geo = (!config.geo.databases.is_empty()).then_some(geo);
    let network = network_files(&config.network);
    let known = !network.is_empty();
    let (network, errors) = source::<Network>(network, look);
    go_on_without(&mut without, "network", errors, false)?;
    let network = sources.add("network", Box::new(network));
    setup.network = known.then_some(network);
    // Our own judgement of agents needs no file.
    let (crawlers, errors) = source::<CrawlerVersion>(plain(config.bot.crawlers.as_slice()), look);
    go_on_without(&mut without, "bot", errors, false)?;
    setup.crawler = Some(sources.add("bot", Box::new(crawlers)));
    let (agents, errors) = source::<AgentVersion>(plain(config.device.rules.as_slice()), look);
    go_on_without(&mut without, "device", errors, false)?;
    setup.agent = Some(sources.add("device", Box::new(agents)));
    // Our own table is always there.
    let (referrers, errors) = source::<Referrers>(plain(config.referrer.file.as_slice()), look);
    go_on_without(&mut without, "referrer", errors, false)?;
    setup.referrer = Some(sources.add("referrer", Box::new(referrers)));
    setup.internal_hosts = config.referrer.internal.clone();
    setup.campaign = campaign(&config.campaign);
    for lookup in &config.lookups {
        let (source, asks_by) = match &lookup.kind {
            LookupKind::Remote(_) => (remote_source(&mut sources, &lookup.name, asked), AsksBy::Parameters),
            LookupKind::Mmdb { .. } | LookupKind::File { .. } => {
                let (source, asks_by, errors) = file_source(&lookup.kind, look);
                go_on_without(&mut without, &lookup.name, errors, lookup.required)?;
                (sources.add(&lookup.name, source), asks_by)
            }
        };
        let (name, key, when) = (lookup.name.clone(), lookup.key.clone(), lookup.when.clone());
        setup.lookups.push(LookupSetup { name, source, asks_by, key, when });
    }
    setup.fields.clone_from(&config.fields);
    Ok((sources, setup, without))
}

/// A source over a connection, or what stands for it where there is none.
fn remote_source(sources: &mut Sources, name: &str, asked: &Services<'_>) -> SourceId {
    match asked(name) {
        Some(asked) => sources.add_asked(name, asked),
        None => sources.add(name, Box::new(Unasked::default())),
    }
}

/// What a lookup of a file asks, with what is wrong with it at present.
fn file_source(kind: &LookupKind, look: Look) -> (Box<dyn lookup::Source>, AsksBy, Vec<LookupError>) {
    match (table_config(kind), kind.path()) {
        (Some(table), Some(path)) => {
            let (source, errors) = source::<Rows>(vec![(path.to_owned(), table)], look);
            (Box::new(source), AsksBy::Text, errors)
        }
        (_, path) => {
            let (source, errors) =
                source::<Records>(path.map(|path| (path.to_owned(), ())).into_iter().collect(), look);
            (Box::new(source), AsksBy::Address, errors)
        }
    }
}

/// How the rows of a lookup's file are read; `None` for one that has no rows.
fn table_config(kind: &LookupKind) -> Option<TableConfig> {
    let LookupKind::File { format, key_column, columns, on_many, .. } = kind else { return None };
    Some(TableConfig {
        format: format.map(|format| match format {
            config::TableFormat::Csv => Format::Csv,
            config::TableFormat::Ndjson => Format::Ndjson,
            config::TableFormat::Parquet => Format::Parquet,
        }),
        key_column: key_column.clone(),
        columns: (!columns.is_empty()).then(|| columns.clone()),
        on_many: match on_many {
            config::OnMany::Error => OnMany::Refuse,
            config::OnMany::First => OnMany::First,
        },
    })
}

/// The file of a lookup in a few words: its version, and what is in it. `None` for one that has no file.
pub fn look_at(lookup: &config::Lookup) -> Option<Result<String, LookupError>> {
    let path = lookup.kind.path()?;
    Some(match table_config(&lookup.kind) {
        Some(config) => look_at_table(path, config),
        None => RecordSource::open(&[path.to_owned()]).map(|source| source.pin().versions().join(", ")),
    })
}

fn look_at_table(path: &Path, config: TableConfig) -> Result<String, LookupError> {
    let rows = TableSource::open_all(&[(path.to_owned(), config)])?.pin();
    Ok(rows.table().map_or_else(String::new, |table| {
        let repeated = match (table.repeated(), table.on_many()) {
            (0, _) => String::new(),
            (n, OnMany::Refuse) => format!(", rows that repeat a key (error:many_rows): {n}"),
            (n, OnMany::First) => format!(", rows that repeat a key (they do not count): {n}"),
        };
        format!("{}, keys: {}, bytes of memory: {}{repeated}", table.version(), table.len(), table.bytes())
    }))
}

/// The files of `[network]`, and what each is read as.
fn network_files(config: &config::Network) -> Vec<(PathBuf, NetworkFile)> {
    let asn = config.asn.iter().map(|path| (path.clone(), NetworkFile::Asn));
    let lists = config.lists.iter().map(|(kind, path)| {
        let kind = ListKind::named(kind).expect("every list's key is a kind");
        (path.clone(), NetworkFile::List(kind))
    });
    asn.chain(lists).collect()
}

fn campaign(config: &config::Campaign) -> CampaignMap {
    let config::Campaign { source, medium, name, term, content, click_ids } = config.clone();
    CampaignMap { source, medium, name, term, content, click_ids }
}

/// What is wrong with files of `member`: an error if they are required, else a warning each.
fn go_on_without(
    without: &mut Vec<String>,
    member: &str,
    errors: Vec<LookupError>,
    required: bool,
) -> Result<(), LookupError> {
    for e in errors {
        if required {
            return Err(e);
        }
        without.push(format!("{e}. `enriched.{member}` goes on without it; it is taken as soon as it is a good file"));
    }
    Ok(())
}

/// What reads a source; `None` for the port, and for a topic.
pub(crate) fn input_config(source: &config::Source) -> Option<input::InputConfig> {
    let (origin, follow) = match &source.kind {
        SourceKind::Http | SourceKind::Kafka { .. } => return None,
        SourceKind::Stdin => (input::Origin::Stdin, false),
        SourceKind::File { path, follow } => (input::Origin::File(path.clone()), *follow),
    };
    let mut config = input::InputConfig::new(origin, source.preset);
    if follow {
        config.follow = input::Follow::Forever;
    }
    Some(config)
}

/// The least time from one commit of a stage to its next.
pub(crate) fn pace(config: &Config) -> Duration {
    config.kafka.as_ref().map_or(Duration::ZERO, |kafka| kafka.commit_age)
}

/// Half of the cores, at least one: doors and the log need the others.
pub(crate) fn worker_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if config.enrich.workers == 0 { cores.div_ceil(2) } else { config.enrich.workers };
    count.clamp(1, config.data.partitions as usize)
}
