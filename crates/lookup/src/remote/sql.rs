//! Databases: one statement of the operator's that takes many keys, whose rows find their keys by a column that says so.
//!
//! | | many keys are | prepared |
//! |---|---|---|
//! | Postgres | an array for each parameter: `WHERE id = ANY($1)` | once a connection |
//! | MySQL, MariaDB, SQLite | a list that is filled: `WHERE id IN (?)` | once a connection and length of the list (a power of two) |
//!
//! Keys are bound, never pasted. A row finds its key by the text of its key columns, byte by byte: a database that compares
//! more kindly (by case, by trailing spaces) may return rows for which nobody asked, and they are left out. Rows become
//! objects with their columns in order; times are RFC 3339 and those without a zone are taken as UTC; what is bytes becomes
//! hex; decimals keep their digits. Connections are read-only.

mod mysql;
mod postgres;
mod rows;
mod sqlite;
mod statement;

use std::time::Duration;

use super::found::assert_parameters;
use super::resolver::Reach;
use super::socket::Host;
use super::tls::Tls;
use super::{BoxFuture, ConfigError, Failure, Found, Key, Remote, Secret};
use crate::table::OnMany;

/// When a query ends whose caller may have gone long ago. Callers give up after milliseconds; this one is for the database.
const QUERY_MAX: Duration = Duration::from_secs(30);
/// Keys in one list. Databases bound the number of parameters, the lowest at 32,766.
const LIST_MAX: usize = 512;
/// Parameters of a key at most, so that a list stays within that.
const PARAMETERS_MAX: usize = 8;

/// A database, and what is asked of it.
#[derive(Clone, Debug)]
pub struct SqlConfig {
    /// `postgres://host:port/db`, `mysql://host:port/db` (also MariaDB) or `sqlite:path`. Names and passwords have no place in it.
    pub url: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Refuse to speak without TLS.
    pub tls: bool,
    /// Certificates as PEM that are trusted instead of the machine's.
    pub ca: Option<Vec<u8>>,
    pub statement: String,
    /// The columns of a row that are its key, one for each parameter, in the order of the parameters.
    pub key_columns: Vec<String>,
    pub on_many: OnMany,
    pub connections: usize,
    /// From the name to a connection on which the statement is prepared.
    pub connect_timeout: Duration,
}

impl Default for SqlConfig {
    fn default() -> SqlConfig {
        SqlConfig {
            url: String::new(),
            user: None,
            password: None,
            tls: false,
            ca: None,
            statement: String::new(),
            key_columns: vec!["id".into()],
            on_many: OnMany::default(),
            connections: 4,
            connect_timeout: Duration::from_secs(2),
        }
    }
}

impl SqlConfig {
    /// Connects to nothing yet: what the database thinks of the statement is heard with the first call.
    ///
    /// # Errors
    /// The member that is wrong.
    pub fn build(self) -> Result<SqlSource, ConfigError> {
        ConfigError::connections(self.connections)?;
        if !(1..=PARAMETERS_MAX).contains(&self.key_columns.len()) {
            return Err(ConfigError::new("key_columns", format!("name from 1 to {PARAMETERS_MAX}")));
        }
        if self.statement.contains('\0') {
            return Err(ConfigError::new("statement", "there is a character NUL in it"));
        }
        let parameters = self.key_columns.len();
        let client: Box<dyn Client> = if let Some(path) = self.url.strip_prefix("sqlite:") {
            let path = path.to_owned();
            Box::new(sqlite::Sqlite::build(&path, self)?)
        } else if self.url.starts_with("postgres://") || self.url.starts_with("postgresql://") {
            Box::new(postgres::Postgres::build(self)?)
        } else if self.url.starts_with("mysql://") || self.url.starts_with("mariadb://") {
            Box::new(mysql::Mysql::build(self)?)
        } else {
            return Err(ConfigError::new("url", "it begins with postgres://, mysql:// or sqlite:"));
        };
        Ok(SqlSource { client, parameters })
    }

    /// The host of `scheme://host:port/db`, and the database.
    fn host(&self, default_port: u16) -> Result<(Host, String), ConfigError> {
        let wrong = |what: &str| ConfigError::new("url", what);
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        if rest.contains(['@', '?', '#']) {
            return Err(wrong("a host, a port and a database: write user, password and tls beside it"));
        }
        let (authority, db) = rest.split_once('/').ok_or_else(|| wrong("there is no database in it"))?;
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                (name, port.parse().map_err(|_| wrong("its port is no number up to 65535"))?)
            }
            _ => (authority, default_port),
        };
        let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name).to_owned();
        if name.is_empty() || db.is_empty() {
            return Err(wrong("there is no host or no database in it"));
        }
        let tls = if self.tls { Some(Tls::new(&name, self.ca.as_deref())?) } else { None };
        // A database is the operator's neighbour more often than not, and its name is nobody else's to answer for.
        let host = Host { name, port, reach: Reach::Anywhere, tls, connect_timeout: self.connect_timeout };
        Ok((host, db.to_owned()))
    }

    fn user(&self) -> Result<String, ConfigError> {
        self.user.clone().filter(|user| !user.is_empty()).ok_or_else(|| ConfigError::new("user", "write who asks"))
    }
}

/// A database.
pub struct SqlSource {
    client: Box<dyn Client>,
    parameters: usize,
}

/// What one kind of database does.
trait Client: Send + Sync {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>>;
}

impl Remote for SqlSource {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        assert_parameters(keys, self.parameters);
        if keys.is_empty() {
            return Box::pin(async { Ok(Vec::new()) });
        }
        self.client.call(keys, give_up_after)
    }
}
