//! The rows of a file, one by one, into an index.

use event::Code;
use event::json::write_string;
use wire::csv::Rows;
use wire::json::{Limits, Pointers, Refusal, Scratch, pass, text};

use super::index::Index;
use super::{BYTES_MAX, KEY_MAX, ROW_MAX, TableConfig};
use crate::error::LookupError;

/// The key of an NDJSON row, where none is configured.
const NDJSON_KEY: &str = "id";

/// What a file came to.
pub(super) struct Loaded {
    pub index: Index,
    pub repeated: usize,
    /// What the key is called.
    pub key_column: String,
}

/// What a place in a file is told by.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Lines,
    #[cfg(feature = "parquet")]
    Rows,
}

/// Rows into an index, with the limits that all formats share.
pub(super) struct Loading<'l> {
    file: &'l str,
    counted: Counted,
    index: Index,
    repeated: usize,
    /// Of the row being read, from 1.
    pub line: u64,
    pub key: Vec<u8>,
    pub json: Vec<u8>,
}

impl<'l> Loading<'l> {
    pub(super) fn new(file: &'l str, counted: Counted) -> Loading<'l> {
        Loading { file, counted, index: Index::new(), repeated: 0, line: 1, key: Vec::new(), json: Vec::new() }
    }

    pub(super) fn refuse(&self, what: impl Into<String>) -> LookupError {
        let (file, what) = (self.file.to_owned(), what.into());
        match self.counted {
            Counted::Lines => LookupError::Line { file, line: self.line, what },
            #[cfg(feature = "parquet")]
            Counted::Rows => LookupError::Row { file, row: self.line, what },
        }
    }

    fn too_long(&self, why: &str) -> LookupError {
        self.refuse(format!("the row is longer than {ROW_MAX} bytes{why}"))
    }

    /// Takes the row in `key` and `json`.
    pub(super) fn take(&mut self, key_name: &str) -> Result<(), LookupError> {
        if self.key.is_empty() {
            return Err(self.refuse(format!("the row has no key: give it a `{key_name}`, or leave it out")));
        }
        if self.key.len() > KEY_MAX {
            return Err(self.refuse(format!("the key is longer than {KEY_MAX} bytes: no event asks for such a key")));
        }
        if self.json.len() > ROW_MAX {
            return Err(self.too_long(" as JSON: keep less of it with `columns`"));
        }
        if self.index.bytes() + self.json.len() > BYTES_MAX {
            return Err(self.refuse(format!(
                "the rows up to here come to {BYTES_MAX} bytes of memory: keep less of each with `columns`"
            )));
        }
        if !self.index.insert(&self.key, &self.json) {
            self.repeated += 1;
        }
        Ok(())
    }

    pub(super) fn finish(self, key_column: &str) -> Loaded {
        Loaded { index: self.index.finish(), repeated: self.repeated, key_column: key_column.to_owned() }
    }
}

pub(super) fn csv(file: &str, text: &[u8], config: &TableConfig) -> Result<Loaded, LookupError> {
    let mut loading = Loading::new(file, Counted::Lines);
    let header = &text[..memchr::memchr(b'\n', text).map_or(text.len(), |n| n + 1)];
    if header.len() > ROW_MAX {
        return Err(loading.refuse(format!("the header line is longer than {ROW_MAX} bytes: is this a CSV file?")));
    }
    if header.trim_ascii().is_empty() {
        return Err(loading.refuse("there is no header line with the columns' names"));
    }
    // A server's page in place of the file, or something compressed in a way we do not know, would be rows of one column.
    if header.trim_ascii().starts_with(b"<") || header.iter().any(|b| *b < b' ' && !b.is_ascii_whitespace()) {
        return Err(loading.refuse("this is no header line: is this a CSV file?"));
    }
    let mut rows = Rows::new(header).map_err(|failure| loading.refuse(failure.message))?;
    let names = rows.names().to_vec();
    let column = |name: &str| {
        names.iter().position(|n| n == name).ok_or_else(|| LookupError::NotTable {
            file: file.to_owned(),
            what: format!("it has no column `{name}`; its columns are {}", shown(&names)),
        })
    };
    no_column_twice(file, config)?;
    let key_column = config.key_column.as_deref().map_or(Ok(0), column)?;
    // What a row keeps: the column, and `{"name":` or `,"name":`.
    let kept: Vec<usize> = match &config.columns {
        None => (0..names.len()).collect(),
        Some(kept) => kept.iter().map(|name| column(name)).collect::<Result<_, _>>()?,
    };
    let lead_ins = lead_ins(kept.iter().map(|column| names[*column].as_str()));
    let in_order = kept.is_sorted();
    // Where the fields of the row being read are, in `plain`, for columns that are kept in another order than they stand.
    let (mut plain, mut ends) = (Vec::new(), Vec::new());

    let mut rest = &text[header.len()..];
    loading.line = 2;
    while !rest.is_empty() {
        let reach = &rest[..rest.len().min(ROW_MAX + 1)];
        let len = match rows.row_len(reach) {
            Some(len) => len,
            None if reach.len() > ROW_MAX => return Err(loading.too_long(": is a quote in it not closed?")),
            None => rest.len(),
        };
        let row = &rest[..len];
        rest = &rest[len..];
        if !row.trim_ascii().is_empty() {
            if std::str::from_utf8(row).is_err() {
                return Err(loading.refuse("the row is not valid UTF-8: save the file as UTF-8"));
            }
            plain.clear();
            ends.clear();
            loading.key.clear();
            loading.json.clear();
            let (key, json) = (&mut loading.key, &mut loading.json);
            let mut next = 0;
            let read = rows.fields(row, |column, field| {
                if column == key_column {
                    key.extend_from_slice(field);
                }
                if in_order {
                    if kept.get(next) == Some(&column) {
                        json.extend_from_slice(&lead_ins[next]);
                        write_string(field, json);
                        next += 1;
                    }
                } else {
                    plain.extend_from_slice(field);
                    ends.push(plain.len());
                }
            });
            // `wire` speaks of rows that are lines; here they may be longer.
            read.map_err(|f| loading.refuse(f.message.replace(" on its line (a row is one line)", "")))?;
            if !in_order {
                for (lead_in, column) in lead_ins.iter().zip(&kept) {
                    let start = column.checked_sub(1).map_or(0, |before| ends[before]);
                    loading.json.extend_from_slice(lead_in);
                    write_string(&plain[start..ends[*column]], &mut loading.json);
                }
            }
            close(&mut loading.json);
            loading.take(&names[key_column])?;
        }
        loading.line += memchr::memchr_iter(b'\n', row).count() as u64;
    }
    Ok(loading.finish(&names[key_column]))
}

pub(super) fn ndjson(file: &str, all: &[u8], config: &TableConfig) -> Result<Loaded, LookupError> {
    let mut loading = Loading::new(file, Counted::Lines);
    let refuse = |what: String| LookupError::NotTable { file: file.to_owned(), what };
    if all.is_empty() {
        return Err(refuse("it is empty: is it still being written?".into()));
    }
    no_column_twice(file, config)?;
    let key_name = config.key_column.as_deref().unwrap_or(NDJSON_KEY);
    let key_pointer = if key_name.starts_with('/') { key_name.to_owned() } else { pointer(key_name) };
    let kept: Vec<String> = config.columns.iter().flatten().map(|name| pointer(name)).collect();
    let pointers: Vec<&str> = std::iter::once(key_pointer.as_str()).chain(kept.iter().map(String::as_str)).collect();
    let (pointers, slots) = Pointers::compile(&pointers).map_err(|e| refuse(e.message))?;
    let lead_ins = lead_ins(config.columns.iter().flatten().map(String::as_str));
    let limits = Limits { event: ROW_MAX, ..Limits::default() };
    let mut scratch = Scratch::default();
    for line in all.split(|b| *b == b'\n') {
        let row = line.trim_ascii();
        if !row.is_empty() {
            if row.len() > ROW_MAX {
                return Err(loading.too_long(""));
            }
            pass(row, &pointers, &limits, &mut scratch).map_err(|refusal| {
                let is_list = loading.line == 1 && row.starts_with(b"[");
                loading.refuse(said(&refusal, &limits) + if is_list { ": write one object on each line" } else { "" })
            })?;
            let key = scratch.found(slots[0]);
            let key = text(&row[key.range()]).unwrap_or_default();
            loading.key.clear();
            loading.key.extend_from_slice(&key);
            loading.json.clear();
            match config.columns {
                None => loading.json.extend_from_slice(row),
                Some(_) => {
                    for (lead_in, slot) in lead_ins.iter().zip(&slots[1..]) {
                        let found = scratch.found(*slot);
                        if found.is_there() {
                            // The first that is there opens the object, whichever column it is.
                            loading.json.push(if loading.json.is_empty() { b'{' } else { b',' });
                            loading.json.extend_from_slice(&lead_in[1..]);
                            loading.json.extend_from_slice(&row[found.range()]);
                        }
                    }
                    close(&mut loading.json);
                }
            }
            loading.take(key_name)?;
        }
        loading.line += 1;
    }
    Ok(loading.finish(key_name))
}

pub(super) fn no_column_twice(file: &str, config: &TableConfig) -> Result<(), LookupError> {
    let kept = config.columns.as_deref().unwrap_or_default();
    match kept.iter().enumerate().find(|(n, name)| kept[..*n].contains(name)) {
        Some((_, name)) => {
            Err(LookupError::NotTable { file: file.to_owned(), what: format!("`columns` has `{name}` twice") })
        }
        None => Ok(()),
    }
}

/// The words of `wire`'s refusal, which are about events and their limits.
fn said(refusal: &Refusal, limits: &Limits) -> String {
    let what = match refusal.code {
        Code::TooManyMembers => format!("the row has more than {} members", limits.members),
        Code::TooDeep => format!("the row is nested deeper than {} levels", limits.depth),
        _ => refusal.message.replace("the event", "the row"),
    };
    format!("{what}, at byte {}", refusal.at)
}

/// Ends an object of which the members are written.
pub(super) fn close(json: &mut Vec<u8>) {
    if json.is_empty() {
        json.push(b'{');
    }
    json.push(b'}');
}

/// `{"name":` for the first name, `,"name":` for the others.
pub(super) fn lead_ins<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Vec<u8>> {
    names
        .enumerate()
        .map(|(n, name)| {
            let mut lead_in = vec![if n == 0 { b'{' } else { b',' }];
            write_string(name.as_bytes(), &mut lead_in);
            lead_in.push(b':');
            lead_in
        })
        .collect()
}

/// A first-level member as a JSON Pointer.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Names for a text; the first of them if there are many.
pub(super) fn shown(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names[..names.len().min(SHOWN)].iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
