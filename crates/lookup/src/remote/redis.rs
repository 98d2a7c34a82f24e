//! A Redis (or Valkey): values of keys that are made from a template, asked in one pipeline; and the few commands of a cache
//! that several processes share. RESP2 over connections that are kept, with TLS for `rediss://`. One server: a cluster's
//! redirections are failures that say so.

mod resp;
mod shared;

use std::time::Duration;

use event::json::write_string;
use tokio::io::AsyncWriteExt;

use super::found::{assert_parameters, within};
use super::pool::{Connect, Pool};
use super::resolver::Reach;
use super::socket::{Duplex, Host};
use super::template::{Template, plain};
use super::tls::Tls;
use super::{BoxFuture, ConfigError, Failure, Found, Key, Kind, Remote, Secret, VALUE_MAX, json};
use resp::{Incoming, Reply};

pub use shared::{Cached, SharedCache};

/// Keys of one MGET. Redis answers nobody else while it carries out a command.
const MGET_MAX: usize = 256;
/// What a reply that is skipped may have at most before the connection is given up, in bytes.
const SKIPPED_MAX: usize = 16 << 20;
/// Fields of a hash. One with more is longer than a value may be in nearly every case.
const HASH_FIELDS_MAX: usize = 10_000;

/// What lies under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RedisValue {
    /// A string that is JSON (`MGET`).
    #[default]
    Json,
    /// A string that becomes a JSON text (`MGET`).
    String,
    /// A hash that becomes an object of texts (`HGETALL`), in the order in which Redis gives its fields.
    Hash,
    /// A document of RedisJSON (`JSON.GET`).
    Document,
}

/// A Redis, and what is asked of it.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// `redis://host:port/db` or `rediss://...`; without port 6379, without db 0. Names and passwords have no place in it.
    pub url: String,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// `user:{key}`.
    pub key: String,
    /// Names of the parameters of a key, in its order.
    pub parameters: Vec<String>,
    pub value: RedisValue,
    pub connections: usize,
    /// From the name to a connection that is logged in.
    pub connect_timeout: Duration,
    /// Certificates as PEM that are trusted instead of the machine's.
    pub ca: Option<Vec<u8>>,
}

impl Default for RedisConfig {
    fn default() -> RedisConfig {
        RedisConfig {
            url: "redis://127.0.0.1".into(),
            user: None,
            password: None,
            key: "{key}".into(),
            parameters: vec!["key".into()],
            value: RedisValue::default(),
            connections: 4,
            connect_timeout: Duration::from_secs(2),
            ca: None,
        }
    }
}

impl RedisConfig {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The member that is wrong.
    pub fn build(self) -> Result<RedisSource, ConfigError> {
        let key = Template::parse(&self.key, &self.parameters).map_err(|what| ConfigError::new("key", what))?;
        let unused = (0..self.parameters.len()).find(|p| !key.parameters().any(|q| q == *p));
        if let Some(unused) = unused {
            let name = &self.parameters[unused];
            return Err(ConfigError::new(
                "key",
                format!("every key would be asked for alike: {{{name}}} is not in it"),
            ));
        }
        Ok(RedisSource { key, parameters: self.parameters.len(), value: self.value, pool: self.pool()? })
    }

    /// The same server as a cache that several processes share; `key` and `value` do not matter.
    ///
    /// # Errors
    /// The member that is wrong.
    pub fn build_shared(self) -> Result<SharedCache, ConfigError> {
        Ok(SharedCache::new(self.pool()?))
    }

    fn pool(self) -> Result<Pool<Door>, ConfigError> {
        ConfigError::connections(self.connections)?;
        let wrong = |what: &str| ConfigError::new("url", what);
        let (tls, rest) = match (self.url.strip_prefix("rediss://"), self.url.strip_prefix("redis://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(wrong("it begins with redis:// or rediss://")),
        };
        if rest.contains(['@', '?', '#']) {
            return Err(wrong("a host, a port and the number of a database: write user and password beside it"));
        }
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        let db = if db.is_empty() { 0 } else { db.parse().map_err(|_| wrong("its database is no number"))? };
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                (name, port.parse().map_err(|_| wrong("its port is no number up to 65535"))?)
            }
            _ => (authority, 6379),
        };
        let name = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name).to_owned();
        if name.is_empty() {
            return Err(wrong("there is no host in it"));
        }
        if self.user.is_some() && self.password.is_none() {
            return Err(ConfigError::new("password", "a user needs one"));
        }
        let tls = if tls { Some(Tls::new(&name, self.ca.as_deref())?) } else { None };
        // A database is the operator's neighbour more often than not, and its name is nobody else's to answer for.
        let host = Host { name, port, reach: Reach::Anywhere, tls, connect_timeout: self.connect_timeout };
        Ok(Pool::new(Door { host, user: self.user, password: self.password, db }, self.connections))
    }
}

/// Keys of a Redis.
pub struct RedisSource {
    key: Template,
    parameters: usize,
    value: RedisValue,
    pool: Pool<Door>,
}

impl Remote for RedisSource {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        assert_parameters(keys, self.parameters);
        let names: Vec<String> = keys.iter().map(|key| self.key.fill(key, plain)).collect();
        Box::pin(within(give_up_after, async move {
            if names.is_empty() {
                return Ok(Vec::new());
            }
            let commands: Vec<Vec<&[u8]>> = match self.value {
                RedisValue::Json | RedisValue::String => names
                    .chunks(MGET_MAX)
                    .map(|names| std::iter::once(&b"MGET"[..]).chain(names.iter().map(String::as_bytes)).collect())
                    .collect(),
                RedisValue::Hash => names.iter().map(|name| vec![&b"HGETALL"[..], name.as_bytes()]).collect(),
                RedisValue::Document => names.iter().map(|name| vec![&b"JSON.GET"[..], name.as_bytes()]).collect(),
            };
            let replies = self.pool.pipeline(&commands).await?;
            let mut found = Vec::with_capacity(keys.len());
            for reply in replies {
                match (self.value, reply) {
                    (RedisValue::Json | RedisValue::String, Reply::Array(values)) => {
                        found.extend(values.into_iter().map(|value| string(self.value, value)));
                    }
                    (RedisValue::Hash, Reply::Array(fields)) => found.push(hash(fields)),
                    (RedisValue::Document, reply @ (Reply::Bulk(_) | Reply::Nil | Reply::TooLarge)) => {
                        found.push(string(RedisValue::Json, reply));
                    }
                    (_, Reply::TooLarge) => found.push(Found::Bad("too_large")),
                    (_, Reply::Error(error)) if error.is("WRONGTYPE") => found.push(Found::Bad("wrong_type")),
                    (_, Reply::Error(error)) => return Err(error.failure()),
                    _ => return Err(resp::malformed()),
                }
            }
            if found.len() == keys.len() { Ok(found) } else { Err(resp::malformed()) }
        }))
    }
}

/// What lies under a key as a string.
fn string(value: RedisValue, reply: Reply) -> Found {
    match reply {
        Reply::Nil => Found::NotFound,
        Reply::TooLarge => Found::Bad("too_large"),
        Reply::Bulk(bytes) if value == RedisValue::Json => json::value(&bytes),
        Reply::Bulk(bytes) => text(&bytes).map_or(Found::Bad("not_utf8"), json::written),
        _ => Found::Bad("wrong_type"),
    }
}

/// Field, value, field, value; nothing is what Redis says of a key that it does not have.
fn hash(fields: Vec<Reply>) -> Found {
    if fields.is_empty() {
        return Found::NotFound;
    }
    let mut out = Vec::new();
    for (n, reply) in fields.iter().enumerate() {
        out.push(match n {
            0 => b'{',
            n if n % 2 == 1 => b':',
            _ => b',',
        });
        match reply {
            Reply::Bulk(bytes) => match text(bytes) {
                Some(text) => out.extend_from_slice(&text),
                None => return Found::Bad("not_utf8"),
            },
            Reply::TooLarge => return Found::Bad("too_large"),
            _ => return Found::Bad("wrong_type"),
        }
    }
    out.push(b'}');
    json::written(out)
}

fn text(bytes: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(bytes).ok()?;
    let mut out = Vec::with_capacity(bytes.len() + 2);
    write_string(bytes, &mut out);
    Some(out)
}

/// Makes connections to a Redis.
struct Door {
    host: Host,
    user: Option<String>,
    password: Option<Secret>,
    db: u32,
}

struct Connection {
    io: Box<dyn Duplex>,
    incoming: Incoming,
}

impl Connect for Door {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Failure> {
        self.host.in_time(self.log_in()).await
    }

    fn is_open(_: &Connection) -> bool {
        true
    }
}

impl Door {
    async fn log_in(&self) -> Result<Connection, Failure> {
        let mut connection = Connection { io: self.host.connect().await?, incoming: Incoming::default() };
        let db = self.db.to_string();
        let mut commands: Vec<Vec<&[u8]>> = Vec::new();
        if let Some(password) = &self.password {
            let user = self.user.iter().map(String::as_bytes);
            commands.push(std::iter::once(&b"AUTH"[..]).chain(user).chain([password.reveal().as_bytes()]).collect());
        }
        if self.db != 0 {
            commands.push(vec![b"SELECT", db.as_bytes()]);
        }
        for reply in connection.pipeline(&commands).await? {
            if let Reply::Error(error) = reply {
                return Err(error.failure());
            }
        }
        Ok(connection)
    }
}

impl Connection {
    /// Sends all commands, then reads all replies. Both are done side by side: a server that cannot send stops reading.
    async fn pipeline(&mut self, commands: &[Vec<&[u8]>]) -> Result<Vec<Reply>, Failure> {
        let mut request = Vec::new();
        for command in commands {
            resp::write(command, &mut request);
        }
        let (mut read, mut write) = tokio::io::split(&mut self.io);
        let incoming = &mut self.incoming;
        let sending = async {
            write.write_all(&request).await.map_err(|e| Failure::lost(&e.kind().to_string()))?;
            write.flush().await.map_err(|e| Failure::lost(&e.kind().to_string()))
        };
        let receiving = async {
            let mut replies = Vec::with_capacity(commands.len());
            for _ in commands {
                replies.push(incoming.next(&mut read).await?);
            }
            Ok(replies)
        };
        let ((), replies) = futures_util::future::try_join(sending, receiving).await?;
        Ok(replies)
    }
}

impl Pool<Door> {
    /// The replies to these commands, in their order, on one connection. A kept connection that was lost is replaced, and
    /// the commands are sent again: they are such that it does no harm.
    async fn pipeline(&self, commands: &[Vec<&[u8]>]) -> Result<Vec<Reply>, Failure> {
        let mut lent = self.lend().await?;
        let replies = match lent.pipeline(commands).await {
            Err(lost) if lost.kind == Kind::Connection => match lent.renew().await? {
                true => lent.pipeline(commands).await?,
                false => return Err(lost),
            },
            replies => replies?,
        };
        // A server that is loading or has lost its master says so to every command: another connection may be better.
        if !replies.iter().any(|reply| matches!(reply, Reply::Error(e) if e.is_of_the_server())) {
            lent.give_back();
        }
        Ok(replies)
    }
}
