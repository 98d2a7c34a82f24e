//! MySQL and MariaDB: a list that is filled, and texts as parameters. Their protocol has no booleans; `TINYINT(1)` is a
//! number, `BIT(1)` true or false. Moments of `TIMESTAMP` are told in UTC.

mod login;
mod packet;
mod value;

use std::collections::HashMap;

use super::super::found::within;
use super::super::pool::{Connect, Pool};
use super::super::socket::Host;
use super::super::{BoxFuture, ConfigError, Failure, Found, Key, Kind, Secret};
use super::rows::{Columns, Rows};
use super::statement::{List, distinct, list_len};
use super::{Client, LIST_MAX, SqlConfig};
use crate::table::OnMany;
use packet::{Packets, Reader, refused};
use value::Column;

/// Bytes of the keys of one list. A server takes 16 MiB in one packet unless it is told otherwise.
const LIST_BYTES_MAX: usize = 4 << 20;

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;

const OK: u8 = 0x00;
const EOF: u8 = 0xfe;
const ERR: u8 = 0xff;

pub(super) struct Mysql {
    on_many: OnMany,
    pool: Pool<Door>,
}

impl Mysql {
    pub(super) fn build(config: SqlConfig) -> Result<Mysql, ConfigError> {
        let (host, db) = config.host(3306)?;
        let user = config.user()?;
        if user.contains('\0') || db.contains('\0') {
            return Err(ConfigError::new("user", "there is a character NUL in it, or in the database"));
        }
        let list = List::parse(&config.statement, config.key_columns.len(), "")
            .map_err(|what| ConfigError::new("statement", what))?;
        let door = Door { host, user, password: config.password, db, list, key_columns: config.key_columns };
        Ok(Mysql { on_many: config.on_many, pool: Pool::new(door, config.connections) })
    }

    async fn ask(&self, connection: &mut Connection, keys: &[Key]) -> Result<Vec<Found>, Failure> {
        let mut rows = Rows::new(self.on_many, keys.len());
        for keys in lists(&distinct(keys)) {
            self.pool.door().list(connection, keys, &mut rows).await?;
        }
        Ok(keys.iter().map(|key| rows.of(key)).collect())
    }
}

/// Keys in pieces that go into one list. The last key of a list fills it up, so it counts as often as that may be.
fn lists<'k>(keys: &'k [&'k Key]) -> Vec<&'k [&'k Key]> {
    let mut lists = Vec::new();
    let mut rest = keys;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(LIST_MAX).take_while(|key| {
            bytes += key.parameters().iter().map(|p| p.len()).sum::<usize>();
            bytes <= LIST_BYTES_MAX
        });
        let (list, others) = rest.split_at(fitting.count().max(1));
        lists.push(list);
        rest = others;
    }
    lists
}

impl Client for Mysql {
    fn call<'a>(
        &'a self,
        keys: &'a [Key],
        give_up_after: std::time::Duration,
    ) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        Box::pin(within(give_up_after, async move {
            let mut lent = self.pool.lend().await?;
            let found = match self.ask(&mut lent, keys).await {
                Err(lost) if lost.kind == Kind::Connection => match lent.renew().await? {
                    true => self.ask(&mut lent, keys).await,
                    false => Err(lost),
                },
                found => found,
            };
            // An error in the middle of an answer may leave the rest of it; a new connection costs less than telling which.
            if found.is_ok() {
                lent.give_back();
            }
            found
        }))
    }
}

/// Connects and logs in.
struct Door {
    host: Host,
    user: String,
    password: Option<Secret>,
    db: String,
    list: List,
    key_columns: Vec<String>,
}

struct Connection {
    packets: Packets,
    /// Columns come with what they are made of, see [`value::Column::read`].
    extended: bool,
    /// Statements by the length of their list.
    prepared: HashMap<usize, u32>,
}

impl Connect for Door {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Failure> {
        self.host.in_time(self.open()).await
    }

    fn is_open(_: &Connection) -> bool {
        true
    }
}

impl Door {
    async fn open(&self) -> Result<Connection, Failure> {
        let (packets, server) = login::log_in(self).await?;
        let mut connection = Connection { packets, extended: server.extended, prepared: HashMap::new() };
        let seconds = super::QUERY_MAX.as_secs();
        let bound = match server.mariadb {
            true => format!("SET SESSION max_statement_time = {seconds}"),
            false => format!("SET SESSION max_execution_time = {}", seconds * 1000),
        };
        for set in [&bound, "SET SESSION TRANSACTION READ ONLY", "SET SESSION time_zone = '+00:00'"] {
            connection.packets.command(COM_QUERY, set.as_bytes()).await?;
            let reply = connection.packets.read().await?;
            refused(&reply)?;
        }
        Ok(connection)
    }

    /// Asks for one list of keys.
    async fn list(&self, connection: &mut Connection, keys: &[&Key], rows: &mut Rows) -> Result<(), Failure> {
        let len = match keys.iter().flat_map(|key| key.parameters()).map(|p| p.len()).sum::<usize>() {
            // Long keys are rare; filled up with the last one, their list might be too long.
            long if long > LIST_BYTES_MAX / 4 => keys.len(),
            _ => list_len(keys.len()),
        };
        let id = match connection.prepared.get(&len) {
            Some(id) => *id,
            None => connection.prepare(&self.list.of(len)).await?,
        };
        if len == list_len(len) {
            connection.prepared.insert(len, id);
        }
        let last = &keys[keys.len() - 1..];
        let list = keys.iter().chain(last.iter().cycle()).take(len).flat_map(|key| key.parameters());
        connection.execute(id, list.map(|parameter| parameter.as_bytes())).await?;
        connection.rows(&self.key_columns, rows).await
    }
}

impl Connection {
    async fn prepare(&mut self, statement: &str) -> Result<u32, Failure> {
        self.packets.command(COM_STMT_PREPARE, statement.as_bytes()).await?;
        let reply = self.packets.read().await?;
        refused(&reply)?;
        let mut reader = Reader::new(&reply);
        reader.u8()?;
        let (id, columns, parameters) = (reader.u32()?, reader.u16()?, reader.u16()?);
        // What they are is told again with the rows.
        for described in [parameters, columns].into_iter().filter(|n| *n > 0) {
            for _ in 0..=described {
                self.packets.read().await?;
            }
        }
        Ok(id)
    }

    async fn execute<'k>(&mut self, id: u32, parameters: impl Iterator<Item = &'k [u8]>) -> Result<(), Failure> {
        const VAR_STRING: u16 = 0xfd;
        let parameters: Vec<&[u8]> = parameters.collect();
        let mut body = id.to_le_bytes().to_vec();
        // No cursor, once.
        body.extend_from_slice(&[0, 1, 0, 0, 0]);
        // None is null, and their types follow.
        body.resize(body.len() + parameters.len().div_ceil(8), 0);
        body.push(1);
        parameters.iter().for_each(|_| body.extend_from_slice(&VAR_STRING.to_le_bytes()));
        for parameter in parameters {
            packet::write_text(parameter, &mut body);
        }
        self.packets.command(COM_STMT_EXECUTE, &body).await
    }

    /// Reads the answer to a query.
    async fn rows(&mut self, key_columns: &[String], rows: &mut Rows) -> Result<(), Failure> {
        let reply = self.packets.read().await?;
        refused(&reply)?;
        if reply.first() == Some(&OK) {
            return Err(Failure::new(Kind::Query, "the statement returns no rows: write a SELECT"));
        }
        let count = Reader::new(&reply).length()?;
        let mut described = Vec::new();
        for _ in 0..count {
            described.push(Column::read(&self.packets.read().await?, self.extended)?);
        }
        self.packets.read().await?;
        let names: Vec<&str> = described.iter().map(|column| column.name.as_str()).collect();
        let columns = Columns::new(&names, key_columns)?;
        loop {
            let reply = self.packets.read().await?;
            refused(&reply)?;
            // A row begins with 0, so its length does not matter.
            if reply.first() == Some(&EOF) {
                return Ok(());
            }
            let values = value::split(&reply, &described)?;
            rows.add(columns.row(|n, out| value::write(&described[n], values[n], out)))?;
        }
    }
}
