//! Whose an address is: ranges with the number and the organisation of their autonomous system, from CSV or MMDB.
//!
//! Both become the same sorted ranges in memory. An MMDB could be asked as it is, but then a damaged record would be an error
//! of some event instead of one at the load.

use std::collections::HashMap;
use std::net::IpAddr;

use event::json::{write_number, write_string};
use serde::Deserialize;

use super::{RANGES_MAX, hosting};
use crate::error::LookupError;
use crate::lines;
use crate::mmdb::{Found, Mmdb};
use crate::ranges::{Given, Ranges};

/// Bytes of an organisation's name. The longest real one has 167.
const ORGANISATION_MAX: usize = 512;

/// Bytes of all systems. Those of all there are have 6 MB.
const SYSTEMS_MAX: usize = 64 << 20;

/// No system: addresses that nobody announces.
const NONE: u32 = u32::MAX;

/// What an MMDB file has shortly before its end.
const MMDB_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
/// Where the format allows it.
const MMDB_MARKER_WITHIN: usize = 128 << 10;

/// The ranges of one file.
pub(super) struct AsnTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    systems: Systems,
    version: String,
}

impl AsnTable {
    /// Reads an MMDB file, or a CSV one as it is or in gzip, by what it holds and not by its name.
    pub(super) fn read(name: &str, bytes: Vec<u8>) -> Result<AsnTable, LookupError> {
        let tail = &bytes[bytes.len().saturating_sub(MMDB_MARKER_WITHIN)..];
        let table = if tail.windows(MMDB_MARKER.len()).any(|w| w == MMDB_MARKER) {
            let mmdb = Mmdb::from_bytes(name, bytes)?;
            mmdb_table(&mmdb)?
        } else {
            csv_table(name, &bytes)?
        };
        if table.v4.len() + table.v6.len() == 2 {
            return Err(LookupError::File { file: name.to_owned(), what: "there are no ranges in it" });
        }
        Ok(table)
    }

    /// The system of an address that is in its canonical form.
    pub(super) fn find(&self, ip: IpAddr) -> Option<System<'_>> {
        let system = match ip {
            IpAddr::V4(ip) => self.v4.at(ip.to_bits()),
            IpAddr::V6(ip) => self.v6.at(ip.to_bits()),
        };
        (system != NONE).then(|| self.systems.at(system))
    }

    pub(super) fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn ranges(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.v4.bytes() + self.v6.bytes() + self.systems.bytes.len()
    }
}

/// What is known of an autonomous system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct System<'t> {
    /// `"asn":13335,"org":"Cloudflare, Inc."`, without braces; the organisation is left out where it has no name.
    pub(super) json: &'t [u8],
    /// By our own table of hosting organisations.
    pub(super) hosting: bool,
}

/// Every system once, rendered at the load: some hundred thousand ranges share tens of thousands of systems. A system is
/// known by where it lies.
///
/// ```text
/// | length, and the highest bit if it is hosting: u16 | JSON | ...
/// ```
#[derive(Default)]
struct Systems {
    bytes: Vec<u8>,
    count: usize,
}

/// The bit of a system that is hosting, in its length.
const HOSTING: u16 = 1 << 15;

impl Systems {
    fn at(&self, at: u32) -> System<'_> {
        let (head, rest) = self.bytes[at as usize..].split_first_chunk::<2>().expect("a system lies there");
        let head = u16::from_le_bytes(*head);
        System { json: &rest[..usize::from(head & !HOSTING)], hosting: head & HOSTING != 0 }
    }

    /// `json` has at most 6 bytes for each of [`ORGANISATION_MAX`], and a few more: far fewer than a length can say.
    fn add(&mut self, json: &[u8], hosting: bool) -> u32 {
        let at = self.bytes.len() as u32;
        let head = json.len() as u16 | if hosting { HOSTING } else { 0 };
        self.bytes.extend_from_slice(&head.to_le_bytes());
        self.bytes.extend_from_slice(json);
        self.count += 1;
        at
    }
}

/// A table being read.
struct Reading {
    v4: Vec<Given<u32>>,
    v6: Vec<Given<u128>>,
    systems: Systems,
    /// Systems by what they are rendered to.
    known: HashMap<Vec<u8>, u32>,
    scratch: Vec<u8>,
}

impl Reading {
    fn new() -> Reading {
        Reading {
            v4: Vec::new(),
            v6: Vec::new(),
            systems: Systems::default(),
            known: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    fn system(&mut self, asn: u32, organisation: &str) -> u32 {
        self.scratch.clear();
        self.scratch.extend_from_slice(b"\"asn\":");
        write_number(asn.into(), &mut self.scratch);
        if !organisation.is_empty() {
            self.scratch.extend_from_slice(b",\"org\":");
            write_string(organisation.as_bytes(), &mut self.scratch);
        }
        if let Some(known) = self.known.get(&self.scratch) {
            return *known;
        }
        let hosting = hosting::is_hosting(asn, organisation);
        let at = self.systems.add(&self.scratch, hosting);
        self.known.insert(self.scratch.clone(), at);
        at
    }

    fn range(&mut self, first: IpAddr, last: IpAddr, system: u32) -> Result<(), &'static str> {
        match (first, last) {
            (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
                self.v4.push(Given { first: first.to_bits(), last: last.to_bits(), value: system });
            }
            (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
                self.v6.push(Given { first: first.to_bits(), last: last.to_bits(), value: system });
            }
            (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
                return Err("the range ends before it starts");
            }
            _ => return Err("the range starts in IPv4 and ends in IPv6, or the other way round"),
        }
        if self.v4.len() + self.v6.len() > RANGES_MAX {
            return Err("the file has more than 2 million ranges");
        }
        if self.systems.bytes.len() > SYSTEMS_MAX {
            return Err("the names of organisations come to more than 64 MiB");
        }
        Ok(())
    }

    fn finish(mut self, version: String) -> AsnTable {
        self.systems.bytes.shrink_to_fit();
        AsnTable {
            v4: Ranges::narrowest(self.v4, NONE),
            v6: Ranges::narrowest(self.v6, NONE),
            systems: self.systems,
            version,
        }
    }
}

/// `first,last,asn,organisation` a line; addresses as text or as decimal numbers, the ASN with or without `AS`. Number 0
/// stands for what nobody announces. A first line of names is passed over.
fn csv_table(name: &str, bytes: &[u8]) -> Result<AsnTable, LookupError> {
    let mut reading = Reading::new();
    let mut fields = Vec::with_capacity(4);
    lines::each(name, bytes, |number, line| {
        split(line.trim_start(), &mut fields)?;
        let [first, last, asn, organisation] = &fields[..] else {
            return Err("a line is `first address,last address,asn,organisation`");
        };
        let address = |text: &str| address(text).ok_or("the first two fields must be addresses");
        if number == 1 && first.starts_with(|c: char| c.is_ascii_alphabetic()) && !first.contains(':') {
            return Ok(());
        }
        let (first, last) = (address(first)?, address(last)?);
        let digits = asn.strip_prefix("AS").unwrap_or(asn);
        let asn = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
        let asn = asn.ok_or("the third field must be the number of an autonomous system, 0 to 4294967295")?;
        if organisation.len() > ORGANISATION_MAX {
            return Err("the organisation's name is longer than 512 bytes");
        }
        let system = if asn == 0 { NONE } else { reading.system(asn, organisation.trim()) };
        reading.range(first, last, system)
    })?;
    Ok(reading.finish(crate::version(name, bytes)))
}

/// The fields of a CSV line (RFC 4180): one in double quotes may have commas, and double quotes twice.
fn split(line: &str, fields: &mut Vec<String>) -> Result<(), &'static str> {
    let mut rest = line;
    let mut n = 0;
    loop {
        if n == fields.len() {
            fields.push(String::new());
        }
        let field = &mut fields[n];
        field.clear();
        n += 1;
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (part, after) = quoted.split_once('"').ok_or("a quote is not closed")?;
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        match rest.strip_prefix(',') {
            Some(next) if n < 4 => rest = next,
            Some(_) => return Err("a line has four fields; a comma in a name needs quotes around the name"),
            None if rest.is_empty() => break,
            None => return Err("something follows a closing quote"),
        }
    }
    fields.truncate(n);
    Ok(())
}

/// An address as text, or as a decimal number: below 2^32 of IPv4, otherwise of IPv6.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ip.to_canonical());
    }
    let number: u128 = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))?;
    Some(u32::try_from(number).map_or_else(|_| IpAddr::V6(number.into()), |v4| IpAddr::V4(v4.into())))
}

/// A record: MaxMind's and DB-IP's names, or the flat ones that others have.
#[derive(Deserialize)]
struct Record<'d> {
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'d str>,
    asn: Option<Number<'d>>,
    as_organization: Option<&'d str>,
    as_name: Option<&'d str>,
}

/// 13335 or "AS13335".
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'d> {
    Number(u32),
    Text(&'d str),
}

impl Record<'_> {
    fn asn(&self) -> Option<u32> {
        let flat = || match self.asn.as_ref()? {
            Number::Number(n) => Some(*n),
            Number::Text(text) => text.strip_prefix("AS").unwrap_or(text).parse().ok(),
        };
        self.autonomous_system_number.or_else(flat).filter(|asn| *asn != 0)
    }

    fn organisation(&self) -> &str {
        self.autonomous_system_organization.or(self.as_organization).or(self.as_name).unwrap_or_default().trim()
    }
}

fn mmdb_table(mmdb: &Mmdb) -> Result<AsnTable, LookupError> {
    let mut reading = Reading::new();
    // Networks share records, so each is decoded once.
    let mut decoded: HashMap<usize, u32> = HashMap::new();
    for found in mmdb.networks()? {
        let found = found?;
        let Some(offset) = found.offset() else { continue };
        let system = match decoded.get(&offset) {
            Some(system) => *system,
            None => {
                let record: Option<Record<'_>> = found.decode().map_err(|e| mmdb.corrupt(&e))?;
                let system = match record.as_ref().and_then(|record| Some((record.asn()?, record.organisation()))) {
                    Some((_, organisation)) if organisation.len() > ORGANISATION_MAX => {
                        let what = "an organisation's name is longer than 512 bytes";
                        return Err(LookupError::File { file: mmdb.name().to_owned(), what });
                    }
                    Some((asn, organisation)) => reading.system(asn, organisation),
                    None => NONE,
                };
                decoded.insert(offset, system);
                system
            }
        };
        if system != NONE {
            let range = |(first, last)| reading.range(first, last, system);
            let what = bounds(mmdb, &found)?.into_iter().flatten().try_for_each(range);
            what.map_err(|what| LookupError::File { file: mmdb.name().to_owned(), what })?;
        }
    }
    if reading.systems.count == 0 {
        return Err(LookupError::NotAsn {
            database: mmdb.name().to_owned(),
            database_type: mmdb.database_type().chars().take(64).collect(),
        });
    }
    Ok(reading.finish(mmdb.version().to_owned()))
}

/// First and last address of a leaf. One of IPv6 that lies above the place of IPv4 in the tree speaks for all of IPv4 too.
fn bounds(mmdb: &Mmdb, found: &Found<'_>) -> Result<[Option<(IpAddr, IpAddr)>; 2], LookupError> {
    /// Bits before an IPv4 address in a tree of IPv6.
    const V4_AT: u8 = 96;
    let network = found.network().map_err(|e| mmdb.corrupt(&e))?;
    let (first, last) = super::ends(network.ip(), network.prefix()).expect("the reader masks what it gives");
    let all_v4 = first == IpAddr::V6(0u128.into()) && network.prefix() <= V4_AT;
    let v4 = (IpAddr::V4(0.into()), IpAddr::V4(u32::MAX.into()));
    Ok([Some((first, last)), all_v4.then_some(v4)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(csv: &str) -> Result<AsnTable, LookupError> {
        AsnTable::read("asn.csv", csv.as_bytes().to_vec())
    }

    fn json(table: &AsnTable, ip: &str) -> Option<String> {
        let system = table.find(ip.parse().expect(ip))?;
        Some(String::from_utf8(system.json.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn lines_of_all_kinds_are_read() {
        let csv = "start,end,asn,organisation\n1.0.0.0,1.0.0.255,13335,\"Cloudflare, \"\"Inc.\"\"\"\r\n\
                   16909060,16909061,AS7,Two\n2001:db8::,2001:db8::f,9,\n\
                   42540766411282592856903984951653826592,42540766411282592856903984951653826593,10,Numbers\n\
                   5.0.0.0,5.255.255.255,0,not announced\n::ffff:9.0.0.0,::ffff:9.0.0.255,11,mapped\n";
        let table = table(csv).expect("a table");
        for (ip, want) in [
            ("1.0.0.0", Some(r#""asn":13335,"org":"Cloudflare, \"Inc.\"""#)),
            ("1.0.1.0", None),
            ("1.2.3.4", Some(r#""asn":7,"org":"Two""#)),
            ("1.2.3.5", Some(r#""asn":7,"org":"Two""#)),
            ("1.2.3.6", None),
            ("5.1.1.1", None),
            ("9.0.0.255", Some(r#""asn":11,"org":"mapped""#)),
            ("2001:db8::f", Some(r#""asn":9"#)),
            ("2001:db8::10", None),
            ("2001:db8::20", Some(r#""asn":10,"org":"Numbers""#)),
            ("2001:db8::22", None),
        ] {
            assert_eq!(json(&table, ip).as_deref(), want, "{ip}");
        }
    }

    #[test]
    fn a_bad_line_refuses_the_file_and_says_which() {
        let long = format!("1.0.0.0,1.0.0.1,1,{}", "x".repeat(600));
        for (line, want) in [
            ("1.0.0.0,1.0.0.255,1", "a line is `first address,last address,asn,organisation`"),
            ("1.0.0.0,1.0.0.255,1,a,b", "a line has four fields; a comma in a name needs quotes around the name"),
            ("1.0.0.0,1.0.0.256,1,a", "the first two fields must be addresses"),
            ("1.0.0.0,+5,1,a", "the first two fields must be addresses"),
            ("1.0.0.5,1.0.0.4,1,a", "the range ends before it starts"),
            ("1.0.0.5,::1:0:0,1,a", "the range starts in IPv4 and ends in IPv6, or the other way round"),
            (
                "1.0.0.0,1.0.0.1,4294967296,a",
                "the third field must be the number of an autonomous system, 0 to 4294967295",
            ),
            ("1.0.0.0,1.0.0.1,+1,a", "the third field must be the number of an autonomous system, 0 to 4294967295"),
            ("1.0.0.0,1.0.0.1,1,\"a", "a quote is not closed"),
            ("1.0.0.0,1.0.0.1,1,\"a\"b", "something follows a closing quote"),
            (&long, "the organisation's name is longer than 512 bytes"),
        ] {
            let said = table(&format!("2.0.0.0,2.0.0.1,1,a\n{line}\n")).err().expect(line).to_string();
            assert_eq!(said, format!("asn.csv, line 2: {want}"), "{line}");
        }
        for empty in ["", "\n\n", "start,end,asn,organisation\n", "1.0.0.0,1.0.0.1,0,nobody\n"] {
            assert_eq!(table(empty).err().expect("empty").to_string(), "asn.csv: there are no ranges in it");
        }
    }
}
