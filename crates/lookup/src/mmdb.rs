//! One version of an MMDB file: address to record. The format is MaxMind's (https://maxmind.github.io/MaxMind-DB/); the
//! decoder is the `maxminddb` crate, which bounds depth, values and text of a record (docs/decisions/0002-mmdb-reader.md).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use event::Micros;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};

use flow::Status;

use crate::error::LookupError;
use crate::json::{Rendered, TOO_DEEP};
use crate::place::Place;
use crate::reload::{Answer, Data, Extent, Reloaded};
use crate::watch;

/// Largest file that is read. A path that names something else entirely (a disk image, a device) is refused before memory
/// is taken; city databases have 130 MB.
pub(crate) const FILE_MAX: u64 = 2 << 30;

/// One version of a database. Immutable, shared by `Arc`.
///
/// The bytes are in our own memory. A mapped file would save the copy, but whoever truncates it in place (`cp` onto it, a
/// half-finished download) would end the process with SIGBUS.
pub struct Mmdb {
    reader: Reader<Vec<u8>>,
    bytes: usize,
    /// The file's name, for texts.
    name: String,
    version: String,
}

/// A leaf of the tree.
pub(crate) type Found<'d> = maxminddb::LookupResult<'d, Vec<u8>>;

/// Networks that [`Extent::Sample`] looks at, at most; and addresses spread over all. Tens of milliseconds, whatever the size of the database.
pub const SAMPLE: usize = 1 << 16;

/// JSON that all records of a database may come to, in bytes for each byte of the file, before it is called damaged.
/// Records share texts by pointers, so more than the file is common (2.2 times in MaxMind's city test database). Crafted
/// pointers can come to terabytes, and a look at them to days.
const EXPANSION_MAX: usize = 64;
/// The same for small files, whose few records may all share one text.
const EXPANSION_FREE: usize = 16 << 20;

/// What a look at a database found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Networks in the tree that were visited, those without a record included.
    pub networks: usize,
    /// Different records that were decoded.
    pub records: usize,
    /// Some record says where its network is.
    pub has_place: bool,
    /// Some record has a postal code.
    pub has_postal: bool,
}

impl Mmdb {
    /// Reads the file into memory and checks its layout, not yet its records: see [`Mmdb::check`].
    pub fn open(path: &Path) -> Result<Mmdb, LookupError> {
        let (bytes, _) = watch::read(path, FILE_MAX)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        Mmdb::from_bytes(&name, bytes)
    }

    /// A database from its bytes. `name` is the file's name; it stands in texts and, without its extension, in the version.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Mmdb, LookupError> {
        let len = bytes.len();
        let reader = Reader::from_source(bytes).map_err(|e| corrupt(name, &e))?;
        let epoch = reader.metadata().build_epoch;
        let built = i64::try_from(epoch).ok().and_then(|s| s.checked_mul(Micros::SECOND)).map(Micros);
        let Some(built) = built.filter(|t| (Micros::EARLIEST..Micros::LATEST).contains(t)) else {
            let what = format!("build_epoch {epoch} is outside the years 1970 to 2200");
            return Err(LookupError::Corrupt { database: name.to_owned(), what });
        };
        let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
        let version = format!("{stem}-{}", &built.to_string()[..10]);
        Ok(Mmdb { reader, bytes: len, name: name.to_owned(), version })
    }

    /// `dbip-city-2026-11-05`: the file's name and the day it was built (UTC).
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The name of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its maker calls it: `GeoLite2-City`.
    pub fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// Bytes of memory it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the whole record of `ip` as JSON; false, and nothing, if there is none. On an error nothing is appended.
    pub fn record(&self, ip: IpAddr, out: &mut Vec<u8>) -> Result<bool, LookupError> {
        let Some(found) = self.find(ip)? else { return Ok(false) };
        let record: Option<Rendered> = found.decode().map_err(|e| corrupt(&self.name, &e))?;
        Ok(record.inspect(|record| out.extend_from_slice(&record.0)).is_some())
    }

    /// Appends `{"country","region","city","postal","lat","lon","tz"}` of `ip`, unknown members left out; false, and
    /// nothing, if none is known. On an error nothing is appended.
    pub fn geo(&self, ip: IpAddr, out: &mut Vec<u8>) -> Result<bool, LookupError> {
        let Some(found) = self.find(ip)? else { return Ok(false) };
        let place: Option<Place<'_>> = found.decode().map_err(|e| corrupt(&self.name, &e))?;
        Ok(place.is_some_and(|place| place.write(out)))
    }

    /// Decodes records, each once, and says what they hold. Takes a bit of memory for every byte of the file, and time in
    /// proportion to the file, whatever its pointers say.
    pub fn check(&self, extent: Extent) -> Result<Findings, LookupError> {
        let corrupt = |e: &MaxMindDbError| corrupt(&self.name, e);
        let mut findings = Findings::default();
        let mut seen = vec![0u64; self.bytes / 64 + 1];
        let mut scratch = Vec::new();
        let mut allowance = self.bytes.saturating_mul(EXPANSION_MAX).saturating_add(EXPANSION_FREE);
        let mut look = |found: &Found<'_>, findings: &mut Findings| {
            let Some(offset) = found.offset() else { return Ok(()) };
            let (word, bit) = (&mut seen[offset / 64], 1 << (offset % 64));
            if *word & bit != 0 {
                return Ok(());
            }
            *word |= bit;
            findings.records += 1;
            let record = found.decode::<Rendered>()?.map_or(0, |record| record.0.len());
            let expanded = || MaxMindDbError::invalid_database("records come to many times the size of the file");
            allowance = allowance.checked_sub(record).ok_or_else(expanded)?;
            if let Some(place) = found.decode::<Place<'_>>()? {
                scratch.clear();
                findings.has_place |= place.write(&mut scratch);
                findings.has_postal |= place.has_postal();
            }
            Ok(())
        };

        for found in self.networks()? {
            if extent == Extent::Sample && findings.networks == SAMPLE {
                break;
            }
            findings.networks += 1;
            look(&found?, &mut findings).map_err(|e| corrupt(&e))?;
        }
        // The walk begins with the lowest addresses; where it ended early these reach the others.
        for ip in spread() {
            if let Some(found) = self.find(ip)? {
                look(&found, &mut findings).map_err(|e| corrupt(&e))?;
            }
        }
        Ok(findings)
    }

    /// Every leaf of the tree, from the lowest address up, those without a record included; what follows an error
    /// is not to be used. Networks of IPv4 come once, whatever aliases a tree of IPv6 has for them.
    pub(crate) fn networks(&self) -> Result<impl Iterator<Item = Result<Found<'_>, LookupError>>, LookupError> {
        let options = WithinOptions::default().include_networks_without_data();
        let mut walk = self.reader.networks(options).map_err(|e| self.corrupt(&e))?;
        // Leaves are one more than nodes in a tree. More of them means that nodes are shared, and a walk may have no end.
        let mut left = self.reader.metadata().node_count as usize + 1;
        Ok(std::iter::from_fn(move || {
            let found = walk.next()?;
            let Some(others) = left.checked_sub(1) else {
                let what = "the search tree has a cycle".to_owned();
                return Some(Err(LookupError::Corrupt { database: self.name.clone(), what }));
            };
            left = others;
            Some(found.map_err(|e| self.corrupt(&e)))
        }))
    }

    pub(crate) fn corrupt(&self, e: &MaxMindDbError) -> LookupError {
        corrupt(&self.name, e)
    }

    /// Where the record of `ip` lies. An IPv4 address in IPv6 clothes (`::ffff:...`) is asked for as itself, because not
    /// every database has both.
    fn find(&self, ip: IpAddr) -> Result<Option<Found<'_>>, LookupError> {
        let ip = ip.to_canonical();
        if ip.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let found = self.reader.lookup(ip).map_err(|e| corrupt(&self.name, &e))?;
        Ok(found.has_data().then_some(found))
    }
}

/// How asking a database for something ended.
pub(crate) fn status(found: Result<bool, LookupError>) -> Status {
    match found {
        Ok(true) => Status::Ok,
        Ok(false) => Status::Miss,
        Err(e) => Status::Error(e.code()),
    }
}

/// Whole records of one database, for lookups by address.
pub type RecordSource = Reloaded<Records>;

/// One version of it; nothing while there is no good file.
pub struct Records(Option<Arc<Mmdb>>);

impl Data for Records {
    type Part = Arc<Mmdb>;
    type Use = ();
    const FILE_MAX: u64 = FILE_MAX;

    fn read(name: &str, bytes: Vec<u8>, (): &(), extent: Extent) -> Result<Arc<Mmdb>, LookupError> {
        let mmdb = Mmdb::from_bytes(name, bytes)?;
        mmdb.check(extent)?;
        Ok(Arc::new(mmdb))
    }

    fn of(databases: Vec<Arc<Mmdb>>) -> Records {
        Records(databases.into_iter().next())
    }

    fn version(mmdb: &Arc<Mmdb>) -> &str {
        mmdb.version()
    }
}

impl Answer for Records {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        let Some(ip) = enrich::address::from_key(key) else { return Status::Error("bad_key") };
        self.0.as_ref().map_or(Status::Skipped, |mmdb| status(mmdb.record(ip, out)))
    }

    fn versions(&self) -> Vec<&str> {
        self.0.iter().map(|mmdb| mmdb.version()).collect()
    }
}

/// 2,048 addresses, spread evenly over IPv4 and the assigned eighth of IPv6.
fn spread() -> impl Iterator<Item = IpAddr> {
    let v4 = (0..1024u32).map(|i| IpAddr::V4(Ipv4Addr::from(i << 22 | 1 << 8 | 1)));
    let v6 = (0..1024u128).map(|i| IpAddr::V6(Ipv6Addr::from(1 << 125 | i << 115 | 1)));
    v4.chain(v6)
}

/// The decoder's words where they are about the layout. Where a value is of a wrong type they quote it, so they are left
/// out.
fn corrupt(name: &str, e: &MaxMindDbError) -> LookupError {
    let what = match e {
        MaxMindDbError::InvalidDatabase { message, offset: Some(at) } => format!("{message}, at byte {at}"),
        MaxMindDbError::InvalidDatabase { message, offset: None } => message.clone(),
        MaxMindDbError::ResourceLimit { message, .. } => message.clone(),
        MaxMindDbError::Decoding { message, .. } if message == TOO_DEEP || message.starts_with("missing field") => {
            message.clone()
        }
        _ => "a value is of a type it cannot be".to_owned(),
    };
    LookupError::Corrupt { database: name.to_owned(), what }
}
