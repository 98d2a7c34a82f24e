//! What the configuration makes of each part of the process, before anything runs.

use door::input;
use enrich::enricher;
use event::topic::{DLQ, ENRICHED, RAW};
use log::journal::{self, JournalConfig, MinFree};
use lookup::{GeoSource, LookupError, Mmdb};
use wire::Decoder;

use crate::config::{self, Config, SourceKind};
use crate::engine::StartError;
use crate::facts::{Source, Sources};

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
        keep_secs: vec![
            (RAW, data.keep.raw.as_secs()),
            (ENRICHED, data.keep.enriched.as_secs()),
            (DLQ, data.keep.dlq.as_secs()),
        ],
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

/// The sources, what enrich asks them for, and what it goes on without: a database that cannot be used is no reason not
/// to take events in, unless the configuration says it is.
pub(crate) fn sources(config: &Config) -> Result<(Sources, enricher::Sources, Vec<String>), LookupError> {
    let mut sources = Sources::default();
    let mut enrichers = enricher::Sources::default();
    let mut without = Vec::new();
    if !config.geo.databases.is_empty() {
        match GeoSource::open(&config.geo.databases) {
            Ok(geo) => enrichers.geo = Some(sources.add(Source::Geo(geo))),
            Err(e) if config.geo.required => return Err(e),
            Err(e) => without.push(format!(
                "{e}. Events get no place (`status.geo` is \"skipped\") until geo.database is a good file and this is \
                 started again"
            )),
        }
    }
    for lookup in &config.lookups {
        let config::LookupKind::Mmdb { path } = &lookup.kind;
        let source = Source::Record { name: lookup.name.clone(), mmdb: Mmdb::open(path)? };
        enrichers.lookups.push((lookup.name.clone(), sources.add(source)));
    }
    Ok((sources, enrichers, without))
}

/// What reads a source; `None` for the one that is the port.
pub(crate) fn input_config(source: &config::Source) -> Option<input::InputConfig> {
    let (origin, follow) = match &source.kind {
        SourceKind::Http => return None,
        SourceKind::Stdin => (input::Origin::Stdin, false),
        SourceKind::File { path, follow } => (input::Origin::File(path.clone()), *follow),
    };
    let mut config = input::InputConfig::new(origin, source.preset);
    if follow {
        config.follow = input::Follow::Forever;
    }
    Some(config)
}

/// Half of the cores, at least one: doors and the log need the others.
pub(crate) fn worker_count(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = if config.enrich.workers == 0 { cores.div_ceil(2) } else { config.enrich.workers };
    count.clamp(1, config.data.partitions as usize)
}
