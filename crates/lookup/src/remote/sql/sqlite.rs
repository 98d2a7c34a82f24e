//! A file of SQLite, on threads that may wait: opened to be read, whoever writes to it meanwhile.
//!
//! Columns declared as `JSON` are JSON, and as `BOOLEAN` true or false; everything else is what lies in the row.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags, Statement};

use super::super::found::within;
use super::super::pool::{Connect, Pool};
use super::super::{BoxFuture, ConfigError, Failure, Found, Key, Kind};
use super::rows::{self, Columns, Rows};
use super::statement::{List, distinct, list_len};
use super::{Client, LIST_MAX, SqlConfig};
use crate::json;
use crate::table::OnMany;

/// How long a reader waits for a writer that holds the whole file, which is only when it has no write-ahead log.
const BUSY_MAX: Duration = Duration::from_secs(1);

pub(super) struct Sqlite {
    asking: Arc<Asking>,
    pool: Pool<Door>,
}

/// What every call needs, on whatever thread it runs.
struct Asking {
    statement: List,
    key_columns: Vec<String>,
    on_many: OnMany,
}

impl Sqlite {
    pub(super) fn build(path: &str, config: SqlConfig) -> Result<Sqlite, ConfigError> {
        if path.is_empty() {
            return Err(ConfigError::new("url", "there is no path in it"));
        }
        let statement = List::parse(&config.statement, config.key_columns.len(), "VALUES ")
            .map_err(|what| ConfigError::new("statement", what))?;
        Ok(Sqlite {
            asking: Arc::new(Asking { statement, key_columns: config.key_columns, on_many: config.on_many }),
            pool: Pool::new(Door(path.to_owned()), config.connections),
        })
    }
}

impl Client for Sqlite {
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>> {
        Box::pin(within(give_up_after, async move {
            let lent = self.pool.lend().await?;
            let (asking, keys, file) = (Arc::clone(&self.asking), keys.to_vec(), Arc::clone(&lent.file));
            let interrupt = Interrupt(Arc::clone(&lent.interrupt));
            let found = blocking(move || asking.ask(&file.lock().unwrap_or_else(PoisonError::into_inner), &keys)).await;
            drop(interrupt);
            if found.is_ok() {
                lent.give_back();
            }
            found
        }))
    }
}

impl Asking {
    fn ask(&self, file: &Connection, keys: &[Key]) -> Result<Vec<Found>, Failure> {
        let mut rows = Rows::new(self.on_many, keys.len());
        for keys in distinct(keys).chunks(LIST_MAX) {
            self.list(file, keys, &mut rows).map_err(|e| match e {
                Stop::Sqlite(e) => failure(&e),
                Stop::Rows(failure) => failure,
            })?;
        }
        Ok(keys.iter().map(|key| rows.of(key)).collect())
    }

    fn list(&self, file: &Connection, keys: &[&Key], rows: &mut Rows) -> Result<(), Stop> {
        let len = list_len(keys.len());
        let mut prepared = file.prepare_cached(&self.statement.of(len))?;
        // Also without any row a statement may be wrong.
        self.columns(&prepared)?;
        let last = &keys[keys.len() - 1..];
        let list = keys.iter().chain(last.iter().cycle()).take(len).flat_map(|key| key.parameters());
        for (n, parameter) in list.enumerate() {
            prepared.raw_bind_parameter(n + 1, &**parameter)?;
        }
        let mut found = prepared.raw_query();
        let mut columns = None;
        while let Some(row) = found.next()? {
            // IMPORTANT: looked at with the first row. SQLite prepares a statement anew by itself when a table has changed.
            let (columns, forms) = match &columns {
                Some(columns) => columns,
                None => columns.insert(self.columns(row.as_ref())?),
            };
            rows.add(columns.row(|n, out| {
                // The error is about the number of a column.
                write(row.get_ref(n).unwrap_or(ValueRef::Null), forms[n], out)
            }))?;
        }
        Ok(())
    }

    fn columns(&self, prepared: &Statement<'_>) -> Result<(Columns, Vec<Form>), Failure> {
        let forms = prepared.columns().map(|column| Form::of(column.decl_type())).collect();
        let names: Vec<&str> = prepared.column_names().collect();
        Ok((Columns::new(&names, &self.key_columns)?, forms))
    }
}

/// Why a query did not come to its end.
enum Stop {
    Sqlite(rusqlite::Error),
    Rows(Failure),
}

impl From<rusqlite::Error> for Stop {
    fn from(e: rusqlite::Error) -> Stop {
        Stop::Sqlite(e)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Rows(failure)
    }
}

/// What a column was declared as.
#[derive(Clone, Copy)]
enum Form {
    AsItIs,
    Json,
    Bool,
}

impl Form {
    fn of(declared: Option<&str>) -> Form {
        match declared.map(str::to_ascii_uppercase).as_deref() {
            Some("JSON") => Form::Json,
            Some("BOOLEAN" | "BOOL") => Form::Bool,
            _ => Form::AsItIs,
        }
    }
}

fn write(value: ValueRef<'_>, form: Form, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match (value, form) {
        (ValueRef::Null, _) => out.extend_from_slice(b"null"),
        (ValueRef::Integer(n @ (0 | 1)), Form::Bool) => {
            out.extend_from_slice(if n == 1 { b"true" } else { b"false" });
        }
        (ValueRef::Integer(n), _) => out.extend_from_slice(n.to_string().as_bytes()),
        (ValueRef::Real(n), _) => json::float(n, out),
        (ValueRef::Text(text), Form::Json) => rows::json_text(text, out)?,
        (ValueRef::Text(text), _) => rows::string(text, out)?,
        (ValueRef::Blob(bytes), _) => rows::hex(bytes, out),
    }
    Ok(())
}

/// Runs on a thread that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Failure::new(Kind::Connection, "the runtime is shutting down")),
    }
}

/// Ends a query whose caller has gone; one that has ended does not mind.
struct Interrupt(Arc<InterruptHandle>);

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.interrupt();
    }
}

/// Opens the file.
struct Door(String);

struct Opened {
    /// Locked by the one thread that works for the call that borrowed it.
    file: Arc<Mutex<Connection>>,
    interrupt: Arc<InterruptHandle>,
}

impl Connect for Door {
    type Connection = Opened;

    async fn connect(&self) -> Result<Opened, Failure> {
        let path = self.0.clone();
        blocking(move || {
            // Without SQLITE_OPEN_URI: a path is a path.
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let file = Connection::open_with_flags(path, flags).map_err(|e| failure(&e))?;
            file.busy_timeout(BUSY_MAX).map_err(|e| failure(&e))?;
            let interrupt = Arc::new(file.get_interrupt_handle());
            Ok(Opened { file: Arc::new(Mutex::new(file)), interrupt })
        })
        .await
    }

    fn is_open(_: &Opened) -> bool {
        true
    }
}

/// SQLite's messages are about the statement and the file, never about a value that was bound.
fn failure(e: &rusqlite::Error) -> Failure {
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Failure::new(Kind::Timeout, "SQLite: somebody is writing to the file")
        }
        Some(ErrorCode::OperationInterrupted) => Failure::new(Kind::Timeout, "SQLite: the query was interrupted"),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => {
            Failure::new(Kind::Connection, "SQLite: the file cannot be opened or read")
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            Failure::new(Kind::Malformed, "SQLite: the file is damaged, or no database")
        }
        Some(ErrorCode::Unknown) | None => Failure::new(Kind::Query, format!("SQLite: {}", first_line(&e.to_string()))),
        Some(code) => Failure::new(Kind::Query, format!("SQLite refused the query: {code:?}")),
    }
}

/// Without the statement, which follows.
fn first_line(text: &str) -> &str {
    text.split([';', '\n']).next().unwrap_or_default()
}
