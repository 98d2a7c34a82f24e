//! One version of a file of rows: key to row. Every row is rendered as a JSON object once, when the file is read, so that a
//! lookup is one probe of an index and one copy.
//!
//! | format | a row | its key | values |
//! |---|---|---|---|
//! | CSV, TSV | a record of RFC 4180 under a header line | the first column, or `key_column` | texts; an empty field is `""` |
//! | NDJSON | an object on a line | the member `id`, or `key_column`, a name or a JSON Pointer | as they are |
//! | Parquet (a feature) | a row | the first column, or `key_column` | by the types of their columns |
//!
//! Keys are texts: the JSON number 42 and the text "42" are one key, so that it does not matter which of them an event
//! has. Blank lines are passed over; everything else that is no row refuses the file, whole, with its line or row.

mod index;
mod inflate;
mod load;
#[cfg(feature = "parquet")]
mod parquet;

use std::path::Path;
use std::sync::Arc;

use flow::Status;

use crate::error::LookupError;
use crate::mmdb::status;
use crate::reload::{Answer, Data, Extent, Reloaded};
use index::{Index, Taken};

/// Largest file that is read, and largest text that a compressed one may come to.
pub const FILE_MAX: u64 = 1 << 30;
/// Longest row, in its file and as JSON. A row is spliced into every event that finds it, and events have 32 KiB.
pub const ROW_MAX: usize = 64 << 10;
/// Longest key: as long as what an event may ask for.
pub const KEY_MAX: usize = enrich::enricher::KEY_MAX;
/// Bytes of memory that the rows of one file may come to. A CSV row carries the names of its columns as JSON, so a file
/// grows several times.
pub const BYTES_MAX: usize = 4 << 30;

/// How a file is read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableConfig {
    /// `None`: told by the file's name, of which `.gz` and `.zst` do not count.
    pub format: Option<Format>,
    /// The column or member that is the key; `None`: the first column of a CSV or Parquet file, `id` of NDJSON.
    pub key_column: Option<String>,
    /// What a row keeps, in this order; `None`: all of it, the key included.
    pub columns: Option<Vec<String>>,
    pub on_many: OnMany,
}

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// CSV and TSV: the separator is told by the header line.
    Csv,
    /// One JSON object on each line.
    Ndjson,
    Parquet,
}

impl Format {
    /// The format that a file's name says it has.
    pub fn of(name: &str) -> Option<Format> {
        let name = name.to_ascii_lowercase();
        let plain = [".gz", ".gzip", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let (_, extension) = plain.rsplit_once('.')?;
        match extension {
            "csv" | "tsv" => Some(Format::Csv),
            "ndjson" | "jsonl" => Some(Format::Ndjson),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// What becomes of a key that stands in more than one row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnMany {
    /// Whoever asks for it gets `error:many_rows`: nobody could say which row was meant.
    #[default]
    Refuse,
    /// The first row counts.
    First,
}

/// One version of a file. Immutable, shared by `Arc`.
pub struct Table {
    index: Index,
    on_many: OnMany,
    /// The file's name.
    name: String,
    version: String,
    /// What the key is called.
    key_column: String,
    /// Rows whose key stood in an earlier row.
    repeated: usize,
    /// The last line has a line end.
    ended: bool,
}

impl Table {
    /// Reads a file from its bytes, compressed by gzip or zstd or not. `name` is the file's name: it says the format, and
    /// stands in texts and, without its extension, in the version.
    ///
    /// # Errors
    /// Anything that is not a table of this configuration, with the line; then nothing is taken.
    pub fn parse(name: &str, bytes: &[u8], config: &TableConfig) -> Result<Table, LookupError> {
        let refuse = |what: String| LookupError::NotTable { file: name.to_owned(), what };
        let format = config.format.or_else(|| Format::of(name)).ok_or_else(|| {
            refuse("its name does not say what it is: write format = \"csv\", \"ndjson\" or \"parquet\"".into())
        })?;
        let text = inflate::inflate(bytes, FILE_MAX).map_err(refuse)?;
        let loaded = match format {
            Format::Csv => load::csv(name, &text, config),
            Format::Ndjson => load::ndjson(name, &text, config),
            #[cfg(feature = "parquet")]
            Format::Parquet => parquet::load(name, &text, config),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => {
                Err(refuse("Parquet was left out when this program was built (its feature `parquet`)".into()))
            }
        }?;
        Ok(Table {
            index: loaded.index,
            on_many: config.on_many,
            name: name.to_owned(),
            version: crate::version(name, bytes),
            key_column: loaded.key_column,
            repeated: loaded.repeated,
            // A Parquet file without its end is refused.
            ended: format == Format::Parquet || text.ends_with(b"\n"),
        })
    }

    /// Appends the row of `key` as a JSON object; false, and nothing, if there is none.
    ///
    /// # Errors
    /// [`LookupError::ManyRows`] for a key of several rows, unless the first one counts.
    pub fn row(&self, key: &[u8], out: &mut Vec<u8>) -> Result<bool, LookupError> {
        match self.index.find(key) {
            None => Ok(false),
            Some(Taken { many: true, .. }) if self.on_many == OnMany::Refuse => Err(LookupError::ManyRows),
            Some(row) => {
                out.extend_from_slice(row.json);
                Ok(true)
            }
        }
    }

    /// `plans-1f3a9c2e`: the file's name without its extensions, and a hash of its bytes.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows whose key stood in an earlier row; none of them is to be had.
    pub fn repeated(&self) -> usize {
        self.repeated
    }

    pub fn on_many(&self) -> OnMany {
        self.on_many
    }

    /// Bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        self.index.bytes()
    }

    /// Bytes of memory beyond the rows' own JSON: keys, and what finds them.
    pub fn overhead(&self) -> usize {
        self.index.bytes() - self.index.json_bytes()
    }
}

/// The rows of a file, for lookups by key, and replaced when the file is.
pub type TableSource = Reloaded<Rows>;

/// One version of them; nothing while there is no good file.
pub struct Rows(Option<Arc<Table>>);

impl Rows {
    pub fn table(&self) -> Option<&Table> {
        self.0.as_deref()
    }
}

impl Data for Rows {
    type Part = Arc<Table>;
    type Use = TableConfig;
    const FILE_MAX: u64 = FILE_MAX;
    // A CSV that was cut between two rows is a CSV.
    const SETTLED: bool = true;

    fn read(name: &str, bytes: Vec<u8>, config: &TableConfig, _: Extent) -> Result<Arc<Table>, LookupError> {
        Table::parse(name, &bytes, config).map(Arc::new)
    }

    /// Three things that a good file may be, but not in place of another one: they are signs of one that is half there, or is
    /// another file.
    fn may_replace(new: &Arc<Table>, old: &Arc<Table>) -> Result<(), LookupError> {
        let what = if new.is_empty() && !old.is_empty() {
            format!("it has no rows, and {} had: is it still being written?", old.version)
        } else if !new.ended && old.ended {
            format!(
                "its last line has no line end, as that of {} has: is it still being written? If not, end it with a line \
                 break",
                old.version
            )
        } else if new.key_column != old.key_column {
            format!(
                "the key is `{}`, and was `{}` in {}: write key_column, or start again",
                new.key_column, old.key_column, old.version
            )
        } else {
            return Ok(());
        };
        Err(LookupError::NotTable { file: new.name.clone(), what })
    }

    fn of(tables: Vec<Arc<Table>>) -> Rows {
        Rows(tables.into_iter().next())
    }

    fn version(table: &Arc<Table>) -> &str {
        table.version()
    }
}

impl Answer for Rows {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        self.0.as_ref().map_or(Status::Skipped, |table| status(table.row(key, out)))
    }

    fn versions(&self) -> Vec<&str> {
        self.0.iter().map(|table| table.version()).collect()
    }
}

/// The name without `.csv.gz` and the like.
pub(crate) fn stem(name: &str) -> &str {
    let mut stem = name;
    for _ in 0..2 {
        let path = Path::new(stem);
        let known = path.extension().and_then(|e| e.to_str()).is_some_and(|e| {
            let e = e.to_ascii_lowercase();
            ["gz", "gzip", "zst", "zstd", "csv", "tsv", "ndjson", "jsonl", "parquet", "json", "txt", "yml", "yaml"]
                .contains(&e.as_str())
        });
        match path.file_stem().and_then(|s| s.to_str()) {
            Some(shorter) if known => stem = shorter,
            _ => break,
        }
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_files_are() {
        for (name, format, short) in [
            ("plans.csv", Some(Format::Csv), "plans"),
            ("plans.TSV", Some(Format::Csv), "plans"),
            ("plans.v2.csv.gz", Some(Format::Csv), "plans.v2"),
            ("users.ndjson", Some(Format::Ndjson), "users"),
            ("users.jsonl.zst", Some(Format::Ndjson), "users"),
            ("users.Parquet", Some(Format::Parquet), "users"),
            ("users.json", None, "users"),
            ("users", None, "users"),
            (".csv", Some(Format::Csv), ".csv"),
            ("users.2026-11-05", None, "users.2026-11-05"),
            ("", None, ""),
        ] {
            assert_eq!((Format::of(name), stem(name)), (format, short), "{name}");
        }
    }
}
