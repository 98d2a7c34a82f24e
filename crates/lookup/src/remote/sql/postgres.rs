//! Postgres: a parameter of the statement is an array, with an element for each key.

mod value;

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, NoTls, TlsConnect, TlsStream};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Error, Row, Statement};

use super::super::found::within;
use super::super::pool::{Connect, Pool};
use super::super::socket::Host;
use super::super::tls::{self, Tls};
use super::super::{BoxFuture, ConfigError, Failure, Found, Key, Kind};
use super::rows::{Columns, Rows};
use super::{Client, QUERY_MAX, SqlConfig};
use crate::table::OnMany;

type AnyError = Box<dyn std::error::Error + Sync + Send>;

pub(super) struct Postgres {
    on_many: OnMany,
    pool: Pool<Door>,
}

impl Postgres {
    pub(super) fn build(config: SqlConfig) -> Result<Postgres, ConfigError> {
        let (host, db) = config.host(5432)?;
        let mut login = tokio_postgres::Config::new();
        login.user(config.user()?).dbname(db).application_name("ouzel");
        login.ssl_mode(if config.tls { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = &config.password {
            login.password(password.reveal());
        }
        let door = Door { host, login, statement: config.statement, key_columns: config.key_columns };
        Ok(Postgres { on_many: config.on_many, pool: Pool::new(door, config.connections) })
    }

    /// One query on a connection.
    async fn ask(&self, connection: &Connection, keys: &[Key]) -> Result<Vec<Found>, Failure> {
        // A key that the column's type has no value for is in no row, and would fail the others.
        let asked: Vec<Option<Key>> = keys.iter().map(|key| connection.canonical(key)).collect();
        if asked.iter().all(Option::is_none) {
            return Ok(vec![Found::NotFound; keys.len()]);
        }
        let arrays = connection.arrays(asked.iter().flatten());
        let mut rows = Rows::new(self.on_many, keys.len());
        let stream = connection.client.query_raw(&connection.statement, arrays).await.map_err(|e| failure(&e))?;
        let mut stream = std::pin::pin!(stream);
        while let Some(row) = stream.try_next().await.map_err(|e| failure(&e))? {
            rows.add(connection.columns.row(|n, out| write(&row, n, out)))?;
        }
        Ok(asked.iter().map(|key| key.as_ref().map_or(Found::NotFound, |key| rows.of(key))).collect())
    }
}

impl Client for Postgres {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        Box::pin(within(give_up_after, async move {
            let mut lent = self.pool.lend().await?;
            let found = match self.ask(&lent, keys).await {
                Err(lost) if lost.kind == Kind::Connection => match lent.renew().await? {
                    true => self.ask(&lent, keys).await,
                    false => Err(lost),
                },
                found => found,
            };
            // After a query that was refused the connection is as good as before.
            if found.as_ref().map_or_else(|f| f.kind == Kind::Query, |_| true) {
                lent.give_back();
            }
            found
        }))
    }
}

/// Connects, logs in and prepares.
struct Door {
    host: Host,
    login: tokio_postgres::Config,
    statement: String,
    key_columns: Vec<String>,
}

struct Connection {
    client: tokio_postgres::Client,
    driver: AbortHandle,
    statement: Statement,
    elements: Vec<Element>,
    columns: Columns,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connect for Door {
    type Connection = Connection;

    async fn connect(&self) -> Result<Connection, Failure> {
        self.host.in_time(self.log_in()).await
    }

    fn is_open(connection: &Connection) -> bool {
        !connection.client.is_closed()
    }
}

impl Door {
    async fn log_in(&self) -> Result<Connection, Failure> {
        let tcp = self.host.connect_tcp().await?;
        let failed = |e: Error| failure(&e);
        // What goes wrong on a connection is said to whoever waits for an answer.
        let (client, driver) = match &self.host.tls {
            None => {
                let (client, driving) = self.login.connect_raw(tcp, NoTls).await.map_err(failed)?;
                (client, tokio::spawn(async { drop(driving.await) }).abort_handle())
            }
            Some(tls) => {
                let (client, driving) = self.login.connect_raw(tcp, Upgrade(tls.clone())).await.map_err(failed)?;
                (client, tokio::spawn(async { drop(driving.await) }).abort_handle())
            }
        };
        let session =
            format!("SET statement_timeout = {}; SET default_transaction_read_only = on", QUERY_MAX.as_millis());
        client.batch_execute(&session).await.map_err(failed)?;
        let statement = client.prepare(&self.statement).await.map_err(failed)?;
        let elements = self.elements(&statement)?;
        let names: Vec<&str> = statement.columns().iter().map(tokio_postgres::Column::name).collect();
        let columns = Columns::new(&names, &self.key_columns)?;
        if let Some(column) = statement.columns().iter().find(|column| !value::is_renderable(column.type_())) {
            let (name, ty) = (column.name(), column.type_().name());
            return Err(Failure::new(
                Kind::Query,
                format!("{name} is of type {ty}, which has no JSON: write {name}::text"),
            ));
        }
        Ok(Connection { client, driver, statement, elements, columns })
    }

    /// What the elements of the parameters are.
    fn elements(&self, statement: &Statement) -> Result<Vec<Element>, Failure> {
        let wrong = |what: String| Failure::new(Kind::Query, what);
        let (params, keys) = (statement.params(), self.key_columns.len());
        if params.len() != keys {
            return Err(wrong(format!("the statement has {} parameters and a key {keys}", params.len())));
        }
        let element = |(n, ty): (usize, &Type)| {
            Element::of(ty).ok_or_else(|| {
                let n = n + 1;
                let what = "which is no array of texts, integers or uuids: write";
                wrong(format!("parameter {n} is of type {}, {what} = ANY(${n}), or = ANY(${n}::text[])", ty.name()))
            })
        };
        params.iter().enumerate().map(element).collect()
    }
}

/// What the elements of an array are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Element {
    Text,
    Int2,
    Int4,
    Int8,
    Uuid,
}

impl Element {
    fn of(array: &Type) -> Option<Element> {
        Some(match *array {
            Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY | Type::NAME_ARRAY => Element::Text,
            Type::INT2_ARRAY => Element::Int2,
            Type::INT4_ARRAY => Element::Int4,
            Type::INT8_ARRAY => Element::Int8,
            Type::UUID_ARRAY => Element::Uuid,
            _ => return None,
        })
    }

    /// The text as rows have it; `None` for what this type has no value for.
    fn canonical(self, text: &str) -> Option<String> {
        match self {
            Element::Text => (!text.contains('\0')).then(|| text.to_owned()),
            Element::Int2 => text.parse::<i16>().ok().map(|n| n.to_string()),
            Element::Int4 => text.parse::<i32>().ok().map(|n| n.to_string()),
            Element::Int8 => text.parse::<i64>().ok().map(|n| n.to_string()),
            Element::Uuid => uuid(text).map(|bytes| hyphenated(&bytes)),
        }
    }
}

impl Connection {
    fn canonical(&self, key: &Key) -> Option<Key> {
        let parameters = self.elements.iter().zip(key.parameters()).map(|(element, text)| element.canonical(text));
        parameters.collect::<Option<Vec<String>>>().map(Key::new)
    }

    /// The keys, parameter by parameter.
    fn arrays<'k>(&self, keys: impl Iterator<Item = &'k Key> + Clone) -> Vec<Box<dyn ToSql + Sync + Send>> {
        fn numbers<N: std::str::FromStr>(texts: impl Iterator<Item = String>) -> Vec<N> {
            texts.filter_map(|text| text.parse().ok()).collect()
        }
        let array = |(n, element): (usize, &Element)| -> Box<dyn ToSql + Sync + Send> {
            let texts = keys.clone().map(|key| String::from(&*key.parameters()[n]));
            match element {
                Element::Text => Box::new(texts.collect::<Vec<String>>()),
                Element::Int2 => Box::new(numbers::<i16>(texts)),
                Element::Int4 => Box::new(numbers::<i32>(texts)),
                Element::Int8 => Box::new(numbers::<i64>(texts)),
                Element::Uuid => Box::new(texts.filter_map(|text| uuid(&text).map(Uuid)).collect::<Vec<Uuid>>()),
            }
        };
        self.elements.iter().enumerate().map(array).collect()
    }
}

/// The bytes of a uuid, with its hyphens or without.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
    let hex = digits.len() == 32 && text.len() <= 36 && digits.iter().all(u8::is_ascii_hexdigit);
    let number = u128::from_str_radix(std::str::from_utf8(&digits).ok().filter(|_| hex)?, 16).ok()?;
    Some(number.to_be_bytes())
}

fn hyphenated(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[derive(Debug)]
struct Uuid([u8; 16]);

impl ToSql for Uuid {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::UUID
    }

    to_sql_checked!();
}

/// A value as it came.
struct Raw<'r>(Option<&'r [u8]>);

impl<'r> FromSql<'r> for Raw<'r> {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Raw<'r>, AnyError> {
        Ok(Raw(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Raw<'r>, AnyError> {
        Ok(Raw(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn write(row: &Row, column: usize, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let Raw(raw) = row.try_get(column).map_err(|_| "not_json")?;
    value::write(row.columns()[column].type_(), raw, out)
}

/// What went wrong. A message of Postgres is told only where it is about the statement or the login: others have values.
fn failure(e: &Error) -> Failure {
    if let Some(refused) = e.as_db_error() {
        let code = refused.code().code();
        let with_message = |kind| Failure::new(kind, format!("Postgres answered {code}: {}", refused.message()));
        let bare = |kind, what: &str| Failure::new(kind, format!("Postgres answered {code}{what}"));
        return match code {
            "57014" => bare(Kind::Timeout, ": the query was cancelled"),
            // The statement was prepared for a table that has changed, or by somebody else's session.
            "0A000" | "26000" => bare(Kind::Connection, ": the statement has to be prepared again"),
            _ => match &code[..2] {
                "08" | "53" | "57" => with_message(Kind::Connection),
                "28" | "3D" | "42" => with_message(Kind::Query),
                _ => bare(Kind::Query, ", which is about what it found in the data"),
            },
        };
    }
    let mut source = e.source();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return tls::failure_of(io).unwrap_or_else(|| Failure::lost(&io.kind().to_string()));
        }
        source = inner.source();
    }
    if e.is_closed() {
        return Failure::lost("it was closed");
    }
    let text = e.to_string();
    let kind = if text.contains("TLS") { Kind::Tls } else { Kind::Query };
    Failure::new(kind, format!("Postgres: {text}"))
}

/// Goes over to TLS when Postgres has said that it would.
struct Upgrade(Tls);

impl TlsConnect<TcpStream> for Upgrade {
    type Stream = Upgraded;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Upgraded>> + Send>>;

    fn connect(self, tcp: TcpStream) -> Self::Future {
        Box::pin(async move { self.0.connector.connect(self.0.name, tcp).await.map(Upgraded) })
    }
}

struct Upgraded(tokio_rustls::client::TlsStream<TcpStream>);

impl TlsStream for Upgraded {
    /// It would need the hash of the certificate in the form in which it was signed. Without it SCRAM is as it is
    /// everywhere else; the certificate was checked.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
