//! What the configuration makes of each part of the process, before anything runs.

use door::input;
use enrich::enricher::{AsksBy, LookupSetup, Setup};
use event::topic::{DLQ, ENRICHED, RAW};
use log::journal::{self, JournalConfig, MinFree};
use lookup::mmdb::RecordSource;
use lookup::{Answer as _, Format, GeoSource, LookupError, OnMany, TableConfig, TableSource};
use wire::Decoder;

use crate::config::{self, Config, SourceKind};
use crate::engine::StartError;
use crate::facts::Sources;

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

/// The sources, what enrich asks them for, and what it goes on without: a file that cannot be used is no reason not to take
/// events in, unless the configuration says it is.
pub fn sources(config: &Config) -> Result<(Sources, Setup, Vec<String>), LookupError> {
    let mut sources = Sources::default();
    let mut setup = Setup::default();
    let mut without = Vec::new();
    let geo: Vec<_> = config.geo.databases.iter().map(|path| (path.clone(), ())).collect();
    if !geo.is_empty() {
        let (source, errors) = GeoSource::open_what_is_good(&geo);
        go_on_without(&mut without, "geo", errors, config.geo.required)?;
        setup.geo = Some(sources.add("geo", Box::new(source)));
    }
    for lookup in &config.lookups {
        let (source, asks_by, errors) = lookup_source(lookup);
        go_on_without(&mut without, &lookup.name, errors, lookup.required)?;
        let source = sources.add(&lookup.name, source);
        let (name, key, when) = (lookup.name.clone(), lookup.key.clone(), lookup.when.clone());
        setup.lookups.push(LookupSetup { name, source, asks_by, key, when });
    }
    setup.fields.clone_from(&config.fields);
    Ok((sources, setup, without))
}

/// What a lookup asks, with what is wrong with it at present.
fn lookup_source(lookup: &config::Lookup) -> (Box<dyn lookup::Source>, AsksBy, Vec<LookupError>) {
    match table_config(lookup) {
        Some(table) => {
            let (source, errors) = TableSource::open_what_is_good(&[(lookup.path.clone(), table)]);
            (Box::new(source), AsksBy::Text, errors)
        }
        None => {
            let (source, errors) = RecordSource::open_what_is_good(&[(lookup.path.clone(), ())]);
            (Box::new(source), AsksBy::Address, errors)
        }
    }
}

/// How the rows of a lookup's file are read; `None` for a file that has none.
fn table_config(lookup: &config::Lookup) -> Option<TableConfig> {
    let config::LookupKind::File { format, key_column, columns, on_many } = &lookup.kind else { return None };
    Some(TableConfig {
        format: format.map(|format| match format {
            config::TableFormat::Csv => Format::Csv,
            config::TableFormat::Ndjson => Format::Ndjson,
        }),
        key_column: key_column.clone(),
        columns: (!columns.is_empty()).then(|| columns.clone()),
        on_many: match on_many {
            config::OnMany::Error => OnMany::Refuse,
            config::OnMany::First => OnMany::First,
        },
    })
}

/// The file of a lookup in a few words: its version, and what is in it.
pub fn look_at(lookup: &config::Lookup) -> Result<String, LookupError> {
    match table_config(lookup) {
        Some(config) => {
            let rows = TableSource::open_all(&[(lookup.path.clone(), config)])?.pin();
            Ok(rows.table().map_or_else(String::new, |table| {
                let repeated = match (table.repeated(), table.on_many()) {
                    (0, _) => String::new(),
                    (n, OnMany::Refuse) => format!(", rows that repeat a key (error:many_rows): {n}"),
                    (n, OnMany::First) => format!(", rows that repeat a key (they do not count): {n}"),
                };
                format!("{}, keys: {}, bytes of memory: {}{repeated}", table.version(), table.len(), table.bytes())
            }))
        }
        None => Ok(RecordSource::open(std::slice::from_ref(&lookup.path))?.pin().versions().join(", ")),
    }
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
