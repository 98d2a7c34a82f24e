//! Where an address is: an ordered list of databases, of which the first that knows answers. They are replaced while
//! running; a bad file is never taken in place of a good one.

use std::net::IpAddr;
use std::sync::Arc;

use flow::Status;

use crate::error::LookupError;
use crate::mmdb::{self, Mmdb};
use crate::reload::{Answer, Data, Extent, Reloaded};

/// The databases of a configuration.
pub type GeoSource = Reloaded<GeoVersion>;

/// The databases as they are at one moment. Pin one for a batch, so that all its events see the same.
pub struct GeoVersion {
    databases: Vec<Database>,
    has_postal: bool,
}

#[derive(Clone)]
pub struct Database {
    mmdb: Arc<Mmdb>,
    has_postal: bool,
}

impl GeoVersion {
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

impl Data for GeoVersion {
    type Part = Database;
    type Use = ();
    const FILE_MAX: u64 = mmdb::FILE_MAX;

    /// A database that is whole as far as `extent` shows, and that has places in it. A sample keeps a start quick: a
    /// damaged record elsewhere is an error when it is asked for.
    fn read(name: &str, bytes: Vec<u8>, (): &(), extent: Extent) -> Result<Database, LookupError> {
        let mmdb = Mmdb::from_bytes(name, bytes)?;
        let findings = mmdb.check(extent)?;
        if !findings.has_place {
            return Err(LookupError::NotGeo {
                database: mmdb.name().to_owned(),
                database_type: mmdb.database_type().chars().take(64).collect(),
            });
        }
        Ok(Database { mmdb: Arc::new(mmdb), has_postal: findings.has_postal })
    }

    fn of(databases: Vec<Database>) -> GeoVersion {
        GeoVersion { has_postal: databases.iter().any(|d| d.has_postal), databases }
    }

    fn version(database: &Database) -> &str {
        database.mmdb.version()
    }
}

impl Answer for GeoVersion {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        let Some(ip) = enrich::address::from_key(key) else { return Status::Error("bad_key") };
        if self.is_empty() {
            return Status::Skipped;
        }
        mmdb::status(self.geo(ip, out))
    }

    fn versions(&self) -> Vec<&str> {
        GeoVersion::versions(self).collect()
    }

    fn lacks(&self) -> &[&'static str] {
        if self.has_postal { &[] } else { &["postal"] }
    }
}
