//! What can go wrong with snapshots.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store does not answer, or refuses.
    #[error("snapshots: {name}: {source}")]
    Store {
        name: String,
        #[source]
        source: io::Error,
    },
    /// An object that is named is not there, or is not what was written.
    #[error("snapshots: {name} is damaged: {what}")]
    Damaged { name: String, what: String },
    #[error("{what}; a savepoint is a directory that `ouzel savepoint` wrote, whole")]
    NotSavepoint { what: String },
}

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The same call may succeed a moment later.
    Retry,
    /// An older snapshot, or another savepoint, has to be taken.
    Data,
}

impl StateError {
    pub fn kind(&self) -> Kind {
        match self {
            StateError::Store { .. } => Kind::Retry,
            StateError::Damaged { .. } | StateError::NotSavepoint { .. } => Kind::Data,
        }
    }

    pub(crate) fn store(name: impl Into<String>) -> impl FnOnce(io::Error) -> StateError {
        let name = name.into();
        move |source| StateError::Store { name, source }
    }

    pub(crate) fn damaged(name: impl Into<String>, what: impl Into<String>) -> StateError {
        StateError::Damaged { name: name.into(), what: what.into() }
    }
}
