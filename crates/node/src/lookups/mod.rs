//! The lookups that are asked over a connection, as a part of the process.
//!
//! * `client` (the feature `remote`): the client of a source, from its configuration and its secrets
//! * `desk` (the same feature): how a source is asked
//! * `running` (the same feature): all of them at work, each a [`lookup::service::Service`], on a runtime of their own
//! * [`named`]: all lookups, those of files too, for whoever asks for them by name
//! * `shown` (the same feature): what is seen of them: metrics, remarks, the status page's numbers
//! * [`unasked`]: what stands for one where nothing is asked: in tests of a configuration, in drawings
//!
//! [`lookup::service::Service`]: ../../lookup/service/struct.Service.html

#[cfg(not(feature = "remote"))]
mod absent;
#[cfg(feature = "remote")]
pub mod client;
#[cfg(feature = "remote")]
mod desk;
pub mod named;
#[cfg(feature = "remote")]
mod running;
#[cfg(feature = "remote")]
mod shown;
pub mod unasked;

use std::path::{Path, PathBuf};

use seam::Fs;

use crate::config::{Config, Loaded, MaybeSecret, NamedSecret, Problem, ProblemKind, Secret, SecretRef, read_file};

#[cfg(not(feature = "remote"))]
pub use absent::Lookups;
#[cfg(feature = "remote")]
pub use desk::desk;
#[cfg(feature = "remote")]
pub use running::Lookups;

/// Clients that are there already, by the names of their lookups: they are asked in place of what the configuration says.
#[cfg(feature = "remote")]
pub type Clients = std::collections::BTreeMap<String, std::sync::Arc<dyn lookup::remote::Remote>>;
#[cfg(not(feature = "remote"))]
pub type Clients = ();

/// Why a lookup cannot be started. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum LookupsError {
    /// `of` is the lookup, or the section.
    #[error("{of}: `{key}`: {what}")]
    Wrong { of: String, key: &'static str, what: String },
    #[error("cannot start the threads of lookups: {0}")]
    Threads(std::io::Error),
}

/// What a key has wrong, as far as whoever made the client could tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    /// The last part of the key.
    pub key: &'static str,
    pub what: String,
}

/// Where secrets and certificates are read.
#[derive(Clone, Copy)]
pub struct Outside<'o> {
    pub env: &'o [(String, String)],
    pub fs: &'o dyn Fs,
}

// Without lookups over a connection nobody reads secrets here; `check` asks them where they are named.
#[cfg_attr(not(feature = "remote"), allow(dead_code))]
impl Outside<'_> {
    /// The error names the place, never the text.
    fn secret(&self, key: &'static str, secret: &SecretRef) -> Result<Secret, Wrong> {
        let found = secret.resolve(self.env, |path| read_file(self.fs, path));
        found.map_err(|what| Wrong { key, what })
    }

    fn text(&self, key: &'static str, text: &MaybeSecret) -> Result<Secret, Wrong> {
        match text {
            MaybeSecret::Text(text) => Ok(Secret::new(text)),
            MaybeSecret::Secret(secret) => self.secret(key, secret),
        }
    }

    /// Certificates.
    fn pem(&self, path: Option<&Path>) -> Result<Option<Vec<u8>>, Wrong> {
        let Some(path) = path else { return Ok(None) };
        match read_file(self.fs, path) {
            Ok(text) => Ok(Some(text.into_bytes())),
            Err(e) => Err(Wrong { key: "ca", what: format!("cannot read {}: {e}", path.display()) }),
        }
    }
}

/// What a start would refuse that the configuration alone does not show: secrets that are not there, and clients that cannot
/// be made with those that are. Nobody is asked.
pub fn check(loaded: &Loaded, outside: Outside<'_>) -> Vec<Problem> {
    const START: &str = "the run does not start like this";
    let unresolved = |named: &NamedSecret| {
        let what = named.secret.resolve(outside.env, |path| read_file(outside.fs, path)).err()?;
        Some(Problem {
            kind: ProblemKind::Unreadable,
            message: format!("`{}`: {what}", named.key),
            place: named.place.clone(),
            help: vec![START.into()],
        })
    };
    let mut problems: Vec<Problem> = loaded.secrets.iter().filter_map(unresolved).collect();
    if problems.is_empty() {
        problems.extend(refused(&loaded.config, outside).into_iter().map(|e| Problem {
            kind: ProblemKind::BadValue,
            message: e.to_string(),
            place: None,
            help: vec![START.into()],
        }));
    }
    problems
}

#[cfg(feature = "remote")]
fn refused(config: &Config, outside: Outside<'_>) -> Vec<LookupsError> {
    let mut refused = Vec::new();
    for lookup in &config.lookups {
        if let Some(Err(wrong)) = lookup.kind.remote().map(|r| client::build(r, lookup.key.len(), outside)) {
            refused.push(wrong.of_lookup(&lookup.name));
        }
    }
    if let Some(Err(wrong)) = config.cache.shared.as_ref().map(|shared| client::shared(shared, outside)) {
        refused.push(wrong.of("[cache.shared]"));
    }
    refused
}

#[cfg(not(feature = "remote"))]
fn refused(_: &Config, _: Outside<'_>) -> Vec<LookupsError> {
    Vec::new()
}

#[cfg(feature = "remote")]
impl Wrong {
    fn of_lookup(self, name: &str) -> LookupsError {
        self.of(&format!("lookup `{name}`"))
    }

    fn of(self, of: &str) -> LookupsError {
        LookupsError::Wrong { of: of.to_owned(), key: self.key, what: self.what }
    }
}

/// Where the caches of lookups lie in a data directory, from one process to the next.
pub fn cache_dir(data: &Path) -> PathBuf {
    data.join("cache")
}
