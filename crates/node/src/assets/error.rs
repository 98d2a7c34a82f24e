//! What can go wrong with an asset. A command turns the kind into its exit code.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// Neither on PATH nor anywhere else.
    #[error("npm is not on this machine")]
    NoNpm,
    /// npm's own reason, one line.
    #[error("{reason}")]
    Npm { reason: String, network: bool },
    #[error("npm had not ended after {} s and was stopped", limit.as_secs())]
    Slow { limit: Duration },
    /// It ended well, and what it printed cannot be used.
    #[error("npm's answer cannot be read: {what}")]
    Junk { what: String },
    #[error("stopped")]
    Stopped,
    /// A package, a file of it or a manifest is not what it must be.
    #[error("{file}: {what}")]
    Damaged { file: String, what: String },
    #[error("{doing}: {}", plain(source))]
    Io {
        doing: String,
        #[source]
        source: io::Error,
    },
    #[error("{} is in use by {who}", dir.display())]
    InUse { dir: PathBuf, who: String },
}

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The machine: a missing program, the network, the disk. Once that is mended the same call succeeds.
    Environment,
    /// What was fetched or given is bad; the same thing again will be bad again.
    Data,
    /// Another process is at it.
    InUse,
    /// Somebody asked to stop.
    Stopped,
}

impl AssetError {
    pub fn kind(&self) -> Kind {
        match self {
            AssetError::NoNpm | AssetError::Npm { .. } | AssetError::Slow { .. } | AssetError::Junk { .. } => {
                Kind::Environment
            }
            AssetError::Io { .. } => Kind::Environment,
            AssetError::Damaged { .. } => Kind::Data,
            AssetError::InUse { .. } => Kind::InUse,
            AssetError::Stopped => Kind::Stopped,
        }
    }

    /// Whether the next asset would fail in the same way, so that asking for it is a waste of minutes.
    pub fn is_for_all(&self) -> bool {
        match self {
            AssetError::NoNpm | AssetError::Slow { .. } | AssetError::Stopped | AssetError::InUse { .. } => true,
            AssetError::Npm { network, .. } => *network,
            _ => false,
        }
    }

    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> AssetError {
        let doing = doing.into();
        move |source| AssetError::Io { doing, source }
    }

    pub(crate) fn damaged(file: impl Into<String>, what: impl Into<String>) -> AssetError {
        AssetError::Damaged { file: file.into(), what: what.into() }
    }
}

/// An I/O error without its number: `os error 2` says nothing that the words before it do not.
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
}
