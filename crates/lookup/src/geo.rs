//! Where an address is: an ordered list of databases, of which the first that knows answers. They are replaced while
//! running; a bad file is never taken in place of a good one.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use crate::error::{Kind, LookupError};
use crate::mmdb::{Extent, Mmdb};
use crate::watch::{Stamp, Watch};

/// The databases as they are at one moment. Pin one for a batch, so that all its events see the same.
pub struct GeoVersion {
    databases: Vec<Database>,
    has_postal: bool,
}

#[derive(Clone)]
struct Database {
    mmdb: Arc<Mmdb>,
    has_postal: bool,
}

impl GeoVersion {
    fn of(databases: Vec<Database>) -> GeoVersion {
        GeoVersion { has_postal: databases.iter().any(|d| d.has_postal), databases }
    }

    /// Appends the `geo` member's value; false, and nothing, if no database knows the address. The first that knows answers
    /// alone: members of several are never mixed. A damaged one stands in nobody's way: its error is given only if none
    /// of the others knows.
    pub fn geo(&self, ip: IpAddr, out: &mut Vec<u8>) -> Result<bool, LookupError> {
        let mut failed = None;
        for database in &self.databases {
            match database.mmdb.geo(ip, out) {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        failed.map_or(Ok(false), Err)
    }

    /// The versions for `data_versions`, in the order the databases are asked.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.databases.iter().map(|d| d.mmdb.version())
    }

    /// Whether a postal code may be expected. Judged by the records that were looked at when the databases were opened.
    pub fn has_postal(&self) -> bool {
        self.has_postal
    }

    /// Bytes of memory the databases hold.
    pub fn bytes(&self) -> usize {
        self.databases.iter().map(|d| d.mmdb.bytes()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }
}

/// What a call of [`GeoSource::reload_if_changed`] did.
#[derive(Debug, Default)]
pub struct ReloadReport {
    /// Versions in use from now on.
    pub loaded: Vec<String>,
    /// Files that changed and are bad, each told once. Their old versions stay in use.
    pub refused: Vec<LookupError>,
}

/// The databases of a configuration.
pub struct GeoSource {
    current: RwLock<Arc<GeoVersion>>,
    watches: Mutex<Vec<Watch>>,
    problems: Mutex<Vec<String>>,
}

impl GeoSource {
    /// Opens all, in the order they are to be asked; none at all is fine, and knows nothing. Looks at a sample of each
    /// ([`Extent::Sample`]), so that a start stays quick: a damaged record elsewhere is an error when it is asked for.
    pub fn open(paths: &[PathBuf]) -> Result<GeoSource, LookupError> {
        let mut databases = Vec::with_capacity(paths.len());
        let mut watches = Vec::with_capacity(paths.len());
        for path in paths {
            let (mmdb, stamp) = Mmdb::open_stamped(path)?;
            databases.push(checked(mmdb, Extent::Sample)?);
            watches.push(Watch::new(path, stamp));
        }
        Ok(GeoSource {
            current: RwLock::new(Arc::new(GeoVersion::of(databases))),
            watches: Mutex::new(watches),
            problems: Mutex::default(),
        })
    }

    /// The version in use now, for one batch.
    pub fn pin(&self) -> Arc<GeoVersion> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether files changed, and reads those that did: one after another, every record ([`Extent::Whole`]), and only
    /// then swaps it in. About 1 us a file when nothing changed. When one did it takes as long as the file takes (a city
    /// database: about a second), so call it where a wait is nobody's harm; besides what is pinned, the old and the new
    /// version of one file at a time are in memory. While one thread is at it, a call of another does nothing.
    ///
    /// A file that was overwritten in place with the same length, and is by chance whole in between, is taken and then
    /// replaced at the next look. Move new files into place and there is no in between.
    pub fn reload_if_changed(&self) -> ReloadReport {
        let mut report = ReloadReport::default();
        let mut watches = match self.watches.try_lock() {
            Ok(watches) => watches,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return report,
        };
        let mut looked = false;
        for (at, watch) in watches.iter_mut().enumerate() {
            let Some(stamp) = watch.due() else { continue };
            looked = true;
            match load(watch) {
                Ok((database, stamp)) => {
                    watch.took(stamp);
                    report.loaded.push(database.mmdb.version().to_owned());
                    self.swap(at, database);
                }
                // The next call sees another stamp, and tries again.
                Err(e) if e.kind() == Kind::Retry => {}
                Err(e) => {
                    if watch.refused(stamp, &e) {
                        report.refused.push(e);
                    }
                }
            }
        }
        if looked {
            *self.problems() = watches.iter().filter_map(|w| w.problem().map(str::to_owned)).collect();
        }
        report
    }

    fn swap(&self, at: usize, database: Database) {
        let mut databases = self.pin().databases.clone();
        databases[at] = database;
        let version = Arc::new(GeoVersion::of(databases));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Files that are not in use as they are now, and why: for readiness and metrics. Empty when all is well.
    pub fn refused(&self) -> Vec<String> {
        self.problems().clone()
    }

    fn problems(&self) -> MutexGuard<'_, Vec<String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn load(watch: &Watch) -> Result<(Database, Stamp), LookupError> {
    let (mmdb, stamp) = Mmdb::open_stamped(watch.path())?;
    Ok((checked(mmdb, Extent::Whole)?, stamp))
}

/// A database that is whole as far as `extent` shows, and that has places in it.
fn checked(mmdb: Mmdb, extent: Extent) -> Result<Database, LookupError> {
    let findings = mmdb.check(extent)?;
    if !findings.has_place {
        return Err(LookupError::NotGeo {
            database: mmdb.name().to_owned(),
            database_type: mmdb.database_type().chars().take(64).collect(),
        });
    }
    Ok(Database { mmdb: Arc::new(mmdb), has_postal: findings.has_postal })
}
