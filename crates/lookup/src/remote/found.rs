//! What comes back from a call.

use std::time::Duration;

use super::Key;

/// What came of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// JSON, checked.
    Value(Vec<u8>),
    /// The source answered that it has nothing for this key.
    NotFound,
    /// The source has something that cannot be used, or the key cannot be asked for. A code: `many_rows`, `not_json`,
    /// `too_large`, `empty`, `unsafe_key`, `wrong_type`, `not_utf8`.
    Bad(&'static str),
    /// This key's own attempt failed while others got answers. Only of sources that are asked key by key.
    Failed(Failure),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub kind: Kind,
    /// How long the source asked to be left alone.
    pub retry_after: Option<Duration>,
    /// For people. Without secrets, keys or bodies.
    pub message: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The time of the call, or that of making a connection, is over.
    Timeout,
    /// No connection, or one that was lost.
    Connection,
    /// No TLS: a certificate that is not trusted, or no common version.
    Tls,
    /// The address is one that may not be asked.
    Forbidden,
    /// An HTTP status that is not an answer.
    Status(u16),
    /// The answer is longer than was asked for.
    TooLarge,
    /// The answer is not what the configuration says it is.
    Malformed,
    /// The source refused: who is asking, or what is asked.
    Query,
}

impl Kind {
    /// The code after `error:` in an event's `status`.
    pub fn code(self) -> &'static str {
        match self {
            Kind::Timeout => "timeout",
            Kind::Connection => "connection",
            Kind::Tls => "tls",
            Kind::Forbidden => "forbidden",
            Kind::Status(_) => "status",
            Kind::TooLarge => "too_large",
            Kind::Malformed => "malformed",
            Kind::Query => "query",
        }
    }

    /// The same call may succeed a moment later.
    pub fn may_pass(self) -> bool {
        match self {
            Kind::Timeout | Kind::Connection => true,
            Kind::Status(status) => status == 429 || status >= 500,
            Kind::Tls | Kind::Forbidden | Kind::TooLarge | Kind::Malformed | Kind::Query => false,
        }
    }
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, retry_after: None, message: message.into() }
    }

    pub(super) fn lost(what: &str) -> Failure {
        Failure::new(Kind::Connection, format!("the connection was lost: {what}"))
    }

    pub(super) fn late(after: Duration) -> Failure {
        Failure::new(Kind::Timeout, format!("no answer within {after:?}"))
    }
}

/// Bounds a call in time.
pub(super) async fn within<T>(
    give_up_after: Duration,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(give_up_after, call).await.unwrap_or_else(|_| Err(Failure::late(give_up_after)))
}

/// All keys have as many parameters as the source asks for.
///
/// # Panics
/// Otherwise: whoever made the keys and the source has read the same configuration.
pub(super) fn assert_parameters(keys: &[Key], parameters: usize) {
    assert!(keys.iter().all(|key| key.parameters().len() == parameters), "a key of {parameters} parameters");
}
