//! Sources that are asked over a connection: databases, caches, services. One call asks for many keys at once and answers
//! in their order; a client keeps its connections, and replaces those that were lost.
//!
//! * [`http`]: a service that answers with JSON, key by key or many in one body
//! * [`redis`]: keys of a Redis, and the commands of a shared cache
//! * [`sql`]: rows of a database
//! * [`key`], [`found`]: what is asked for, and what comes back
//! * `template`: texts with places for the parameters of a key
//! * `resolver`: which addresses may be asked; `socket`, `tls`: connections; `pool`: those that are kept
//! * `json`: what is taken as JSON
//!
//! Nothing is cached, repeated or held back here: that, and whether a source is well, is the business of whoever calls.
//! **Invariant:** a key travels as a parameter of its protocol; it is never pasted into a statement, a host or a command.
//! No text that comes out of here has a key, a secret or a body in it.

use std::pin::Pin;
use std::time::Duration;

pub mod found;
pub mod http;
mod json;
pub mod key;
mod pool;
pub mod redis;
mod resolver;
mod socket;
pub mod sql;
mod template;
mod tls;

pub use crate::secret::Secret;
pub use found::{Failure, Found, Kind};
pub use http::{Batch, BatchAnswer, HttpConfig, HttpSource};
pub use key::Key;
pub use redis::{RedisConfig, RedisSource, RedisValue, SharedCache};
pub use sql::{SqlConfig, SqlSource};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Largest value taken for one key, in bytes of JSON: what a row of a file may have, too. It is spliced into events, which
/// have 32 KiB.
pub const VALUE_MAX: usize = crate::table::ROW_MAX;
/// Connections of one source at most: above what any database gives to one program.
pub const CONNECTIONS_MAX: usize = 256;

/// A source that is asked over a connection.
pub trait Remote: Send + Sync {
    /// Asks for all these keys at once; answers in their order. `give_up_after` is the time of the whole call, with waiting
    /// for a connection and making one. Dropping the future gives everything back. Runs on a tokio runtime with its timer.
    ///
    /// # Errors
    /// When there is an answer for no key. What is wrong with a single one is in [`Found`].
    fn call<'a>(&'a self, keys: &'a [Key], give_up_after: Duration) -> BoxFuture<'a, Result<Vec<Found>, Failure>>;
}

/// What a configuration of a source has wrong, for the person who wrote it. Holds no secret.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{member}: {what}")]
pub struct ConfigError {
    /// The member of the configuration.
    pub member: &'static str,
    pub what: String,
}

impl ConfigError {
    fn new(member: &'static str, what: impl Into<String>) -> ConfigError {
        ConfigError { member, what: what.into() }
    }

    fn connections(connections: usize) -> Result<(), ConfigError> {
        match connections {
            1..=CONNECTIONS_MAX => Ok(()),
            _ => Err(ConfigError::new("connections", format!("write a number from 1 to {CONNECTIONS_MAX}"))),
        }
    }
}
