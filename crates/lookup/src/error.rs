//! What can go wrong with a source. No text here has an address, a key or a value in it: they are personal data.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    #[error("{} cannot be read: {}", path.display(), plain(source))]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody is writing the file; what was read is neither the old one nor the new one.
    #[error("{} changed while it was read", path.display())]
    Changing { path: PathBuf },
    #[error("{} has {bytes} bytes; a database may have {max}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, max: u64 },
    #[error("{} is not a file", path.display())]
    NotFile { path: PathBuf },
    /// The bytes are not a database, or a part of it is damaged.
    #[error("{database} is damaged or not an MMDB file: {what}")]
    Corrupt { database: String, what: String },
    /// It is a good database of something else (networks, domains, risk).
    #[error("{database} has no places in it (its type is \"{database_type}\"); geo needs a city or country database")]
    NotGeo { database: String, database_type: String },
    /// The file is none that this configuration can read.
    #[error("{file}: {what}")]
    NotTable { file: String, what: String },
    /// Of a single ask, not of a file.
    #[error("the key stands in more than one row: make it unique, or write on_many = \"first\"")]
    ManyRows,
    /// It is a good database, but no record of it has the number of an autonomous system.
    #[error("{database} has no networks in it (its type is \"{database_type}\"); `network.asn` needs an ASN database")]
    NotAsn { database: String, database_type: String },
    /// One line of a text file is not what it should be; nothing of the file is used.
    #[error("{file}, line {line}: {what}")]
    Line { file: String, line: u64, what: String },
    /// The same of a file that has rows and no lines.
    #[error("{file}, row {row}: {what}")]
    Row { file: String, row: u64, what: String },
    /// The file is readable as far as it goes, but as a whole it cannot be what it is meant for.
    #[error("{file}: {what}")]
    File { file: String, what: &'static str },
    /// A file of rules has something in it that cannot be used; `place` is a line or the like.
    #[error("{file}, {place}: {what}")]
    Rules { file: String, place: String, what: String },
}

/// An I/O error without its number: `os error 2` says nothing that the words before it do not.
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The same call may succeed a moment later.
    Retry,
    /// The path, or what lies there, has to be put right.
    FixConfig,
    /// A file has to be fetched anew.
    Data,
}

impl LookupError {
    pub fn kind(&self) -> Kind {
        match self {
            LookupError::Changing { .. } => Kind::Retry,
            LookupError::Io { .. } | LookupError::TooLarge { .. } | LookupError::NotFile { .. } => Kind::FixConfig,
            LookupError::NotGeo { .. } | LookupError::NotAsn { .. } | LookupError::NotTable { .. } => Kind::FixConfig,
            LookupError::Corrupt { .. }
            | LookupError::Line { .. }
            | LookupError::Row { .. }
            | LookupError::File { .. }
            | LookupError::Rules { .. } => Kind::Data,
            LookupError::ManyRows => Kind::Data,
        }
    }

    /// The code after `error:` in an event's `status`.
    pub fn code(&self) -> &'static str {
        match self {
            LookupError::Io { .. } => "io",
            LookupError::Changing { .. } => "changing",
            LookupError::TooLarge { .. } => "too_large",
            LookupError::NotFile { .. } => "not_file",
            LookupError::Corrupt { .. } => "corrupt",
            LookupError::NotGeo { .. } => "not_geo",
            LookupError::NotTable { .. } => "not_table",
            LookupError::ManyRows => "many_rows",
            LookupError::NotAsn { .. } => "not_asn",
            LookupError::Line { .. } => "bad_line",
            LookupError::Row { .. } => "bad_row",
            LookupError::File { .. } => "bad_file",
            LookupError::Rules { .. } => "bad_rules",
        }
    }
}
