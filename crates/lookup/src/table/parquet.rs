//! Rows of Parquet files, of which the columns that are kept are read, and the key.
//!
//! | a column of | is, in a row |
//! |---|---|
//! | numbers, booleans, texts, JSON | what it is; unsigned and decimal ones with all their digits |
//! | UUIDs | `"2f6e-..."`, with its hyphens |
//! | dates, times of the day | `"2026-11-27"`, `"07:15:00.250"` |
//! | timestamps | RFC 3339 with 3, 6 or 9 digits, by their unit; `Z` if they are in UTC, no zone if they are local |
//! | other bytes | hex |
//! | lists, structs | arrays, objects |
//! | maps | objects, of which the members are the texts of the keys |
//!
//! A file that is cut has no footer, and its pages have lengths and mostly checksums: what is half there or damaged is told
//! while it is read. It is read whole before it is used.

mod column;
mod tree;
mod value;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use wire::json::text;

use super::load::{Counted, Loaded, Loading, close, lead_ins, no_column_twice, shown};
use super::{FILE_MAX, TableConfig};
use crate::error::LookupError;
use column::{Column, DAMAGED};
use tree::{Node, Planting, no_name_twice};

/// Rows of which all columns are in memory at a time.
const BATCH: usize = 1024;

pub(super) fn load(file: &str, all: &[u8], config: &TableConfig) -> Result<Loaded, LookupError> {
    let refuse = |what: String| LookupError::NotTable { file: file.to_owned(), what };
    framed(all).map_err(refuse)?;
    // The library believes some of the lengths that it reads and slices by them: damaged files make it panic. What it was
    // reading is dropped with it.
    catch_unwind(AssertUnwindSafe(|| read(file, Bytes::copy_from_slice(all), config)))
        .unwrap_or_else(|_| Err(refuse("it is damaged: write it again".into())))
}

/// Whether it has the beginning and the end of a Parquet file.
fn framed(all: &[u8]) -> Result<(), String> {
    let what = match (all.first_chunk::<4>(), all.last_chunk::<4>()) {
        (Some(b"PARE"), _) | (_, Some(b"PARE")) => "it is encrypted, and only what is not can be read",
        (Some(b"PAR1"), Some(b"PAR1")) if all.len() >= 12 => return Ok(()),
        (Some(b"PAR1"), _) => "it is a Parquet file without its end: is it still being written?",
        _ => "it is no Parquet file",
    };
    Err(what.into())
}

fn read(file: &str, all: Bytes, config: &TableConfig) -> Result<Loaded, LookupError> {
    let refuse = |what: String| LookupError::NotTable { file: file.to_owned(), what };
    no_column_twice(file, config)?;
    let reader = SerializedFileReader::new(all).map_err(|e| refuse(format!("its footer cannot be read ({e})")))?;
    let mut plan = Plan::new(&reader, config).map_err(refuse)?;
    plan.check(&reader).map_err(refuse)?;
    let mut loading = Loading::new(file, Counted::Rows);
    for group in 0..reader.num_row_groups() {
        let unreadable = |name: &str, e: ParquetError| {
            refuse(format!("its column `{name}` cannot be read ({e}): is it whole, and not encrypted?"))
        };
        let rows = reader.get_row_group(group).map_err(|e| refuse(e.to_string()))?;
        let mut left = usize::try_from(rows.metadata().num_rows()).map_err(|_| refuse(DAMAGED.into()))?;
        for column in &mut plan.columns {
            column.open(&*rows).map_err(|e| unreadable(&column.name, e))?;
        }
        // The last batch has no rows, in any column.
        loop {
            let batch = left.min(BATCH);
            for column in &mut plan.columns {
                let read = column.read(batch.max(1)).map_err(|e| unreadable(&column.name, e))?;
                if read != batch {
                    return Err(refuse(DAMAGED.into()));
                }
            }
            for _ in 0..batch {
                plan.row(&mut loading)?;
                loading.take(&plan.key_column)?;
                loading.line += 1;
            }
            if batch == 0 {
                break;
            }
            left -= batch;
        }
    }
    Ok(loading.finish(&plan.key_column))
}

/// What is read of a file.
struct Plan {
    columns: Vec<Column>,
    /// What a row keeps, and what stands before each.
    kept: Vec<(Vec<u8>, String, Node)>,
    key: Key,
    key_column: String,
}

enum Key {
    /// One of those that are kept.
    Kept(usize),
    Apart(Node),
}

impl Plan {
    fn new(reader: &SerializedFileReader<Bytes>, config: &TableConfig) -> Result<Plan, String> {
        let schema = reader.metadata().file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields();
        let names: Vec<String> = fields.iter().map(|field| field.name().to_owned()).collect();
        no_name_twice(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut planting = Planting { schema, columns: Vec::new() };
        let mut plant = |name: &str| {
            let n = names
                .iter()
                .position(|n| n == name)
                .ok_or_else(|| format!("it has no column `{name}`; its columns are {}", shown(&names)))?;
            // The values of a column of the first level lie together.
            let place = (0..schema.num_columns()).find(|place| schema.get_column_root_idx(*place) == n);
            planting.plant(&fields[n], place.ok_or(DAMAGED)?).map_err(|e| format!("its column `{name}`: {e}"))
        };
        let key_column = config.key_column.as_ref().or(names.first()).ok_or("it has no columns")?.clone();
        let keep = config.columns.as_deref().unwrap_or(&names);
        let kept = lead_ins(keep.iter().map(String::as_str))
            .into_iter()
            .zip(keep)
            .map(|(lead_in, name)| Ok((lead_in, name.clone(), plant(name)?)))
            .collect::<Result<Vec<_>, String>>()?;
        let key = match keep.iter().position(|name| *name == key_column) {
            Some(n) => Key::Kept(n),
            None => Key::Apart(plant(&key_column)?),
        };
        let node = match &key {
            Key::Kept(n) => &kept[*n].2,
            Key::Apart(node) => node,
        };
        if !matches!(node, Node::Value(_)) {
            return Err(format!("its column `{key_column}` has lists or groups in it, which cannot be keys"));
        }
        Ok(Plan { columns: planting.columns, kept, key, key_column })
    }

    /// Whether all that is to be read can be, as far as the footer says.
    fn check(&self, reader: &SerializedFileReader<Bytes>) -> Result<(), String> {
        let mut bytes = 0u64;
        for group in reader.metadata().row_groups() {
            for column in &self.columns {
                let chunk = group.column(column.place());
                if let Compression::BROTLI(_) | Compression::LZO = chunk.compression() {
                    return Err(format!(
                        "its column `{}` is compressed by {}: write the file with ZSTD, SNAPPY, GZIP or LZ4",
                        column.name,
                        chunk.compression().to_string().split('(').next().unwrap_or_default()
                    ));
                }
                bytes = bytes.saturating_add(u64::try_from(chunk.uncompressed_size()).unwrap_or(u64::MAX));
            }
        }
        if bytes > FILE_MAX {
            return Err(format!(
                "what is kept of it has more than {FILE_MAX} bytes: keep fewer rows, or less with `columns`"
            ));
        }
        Ok(())
    }

    /// Reads the next row.
    fn row(&mut self, loading: &mut Loading) -> Result<(), LookupError> {
        loading.key.clear();
        loading.json.clear();
        for (n, (lead_in, name, node)) in self.kept.iter().enumerate() {
            loading.json.extend_from_slice(lead_in);
            let at = loading.json.len();
            node.write(&mut self.columns, &mut loading.json)
                .map_err(|what| loading.refuse(format!("its column `{name}`: {what}")))?;
            if matches!(self.key, Key::Kept(key) if key == n) {
                loading.key.extend_from_slice(&text(&loading.json[at..]).unwrap_or_default());
            }
        }
        close(&mut loading.json);
        if let Key::Apart(node) = &self.key {
            let mut json = Vec::new();
            node.write(&mut self.columns, &mut json)
                .map_err(|what| loading.refuse(format!("its column `{}`: {what}", self.key_column)))?;
            loading.key.extend_from_slice(&text(&json).unwrap_or_default());
        }
        // Columns of which the next value goes on with this row were not read as far as the others.
        if self.columns.iter().any(|column| column.rep() != 0) {
            return Err(loading.refuse(DAMAGED));
        }
        Ok(())
    }
}
