//! Looking into a file before it is taken: with the reader that will read it where it is here, else by its form.

use std::io::Read as _;
use std::path::Path;

use lookup::{Extent, LookupError, Mmdb, NetworkPart};
use seam::Fs;
use serde_json::Value;

use super::Reading;
use super::catalogue::Form;

/// What a file says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// The day it was made, `2026-06-05`, where it says.
    pub made: Option<String>,
}

/// Largest file that is looked into, in bytes: the most that any part of the catalogue may have.
const BYTES_MAX: u64 = 512 << 20;

/// Reads a file whole and looks at all of it. `name` is what it will be called. Takes as much memory as the file has
/// bytes, and about a second for a database of cities.
///
/// # Errors
/// What is wrong, for behind the file's name and a colon.
pub fn check(fs: &dyn Fs, path: &Path, form: Form, name: &str) -> Result<Findings, String> {
    if form == Form::Notice {
        return Ok(Findings::default());
    }
    let bytes = read(fs, path).map_err(|e| format!("it cannot be read: {e}"))?;
    let mut findings = Findings::default();
    match form {
        Form::Places => findings.made = Some(places(name, bytes)?),
        Form::Networks => drop(NetworkPart::asn(name, bytes).map_err(text)?),
        Form::AgentRules => agent_rules(&bytes)?,
        Form::Crawlers => list(&bytes, "objects with a `pattern`", |v| v["pattern"].is_string())?,
        Form::Domains => list(&bytes, "domains", |v| v.as_str().is_some_and(|d| d.contains('.')))?,
        Form::Notice => {}
    }
    Ok(findings)
}

/// What the maker of an MMDB file calls it; `None` if it is none.
pub fn database_type(fs: &dyn Fs, path: &Path) -> Option<String> {
    let mmdb = Mmdb::from_bytes("", read(fs, path).ok()?).ok()?;
    // It is shown, and may be anything.
    Some(mmdb.database_type().chars().filter(|c| !c.is_control()).take(64).collect())
}

fn read(fs: &dyn Fs, path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = Reading::open(fs, path)?;
    let len = file.len()?;
    if len > BYTES_MAX {
        return Err(std::io::Error::other(format!("it has {len} bytes, and {BYTES_MAX} are the most")));
    }
    bytes.try_reserve_exact(len as usize).map_err(std::io::Error::other)?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The day the database was made.
fn places(name: &str, bytes: Vec<u8>) -> Result<String, String> {
    let mmdb = Mmdb::from_bytes(name, bytes).map_err(text)?;
    if !mmdb.check(Extent::Whole).map_err(text)?.has_place {
        return Err("it is a database without places".to_owned());
    }
    // `<name>-2026-06-05`.
    let version = mmdb.version();
    Ok(version[version.len().saturating_sub(10)..].to_owned())
}

/// A reader's words, without the file's name before them.
fn text(e: LookupError) -> String {
    match e {
        LookupError::Corrupt { what, .. } => format!("it is damaged or no MMDB file: {what}"),
        LookupError::Line { line, what, .. } => format!("line {line}: {what}"),
        LookupError::File { what, .. } => what.to_owned(),
        e => e.to_string(),
    }
}

fn agent_rules(bytes: &[u8]) -> Result<(), String> {
    let text = utf8(bytes)?;
    for section in ["user_agent_parsers:", "os_parsers:", "device_parsers:"] {
        if !text.lines().any(|line| line.trim_end() == section) {
            return Err(format!("it has no line `{section}`, so it is not the regexes.yaml of uap-core"));
        }
    }
    Ok(())
}

fn list(bytes: &[u8], of: &str, is_one: impl Fn(&Value) -> bool) -> Result<(), String> {
    let list: Vec<Value> = serde_json::from_slice(bytes).map_err(|e| format!("it is no JSON list of {of}: {e}"))?;
    match list.iter().position(|v| !is_one(v)) {
        Some(n) => Err(format!("it is no JSON list of {of}: entry {} is none", n + 1)),
        None if list.is_empty() => Err("its list is empty".to_owned()),
        None => Ok(()),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|e| format!("it is not UTF-8, at byte {}", e.valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_what_it_should_be_is_refused() {
        let yaml = "user_agent_parsers:\n  - regex: 'x'\nos_parsers:\ndevice_parsers:\n";
        let cases: &[(Form, &[u8], &str)] = &[
            (Form::Networks, b"1.0.0.0,1.0.0.255,13335,\"Cloudflare, Inc.\"\n2001::,2001::ff,6939,\n", ""),
            (Form::Networks, b"", "no ranges"),
            (Form::Networks, b"1.0.0.0,1.0.0.255,13335,x\n1.0.1.0,1.0.", "line 2"),
            (Form::Networks, b"1.0.0.255,1.0.0.0,13335,x\n", "line 1"),
            (Form::Networks, b"1.0.0.0,2001::,13335,x\n", "line 1"),
            (Form::Networks, b"1.0.0.0,1.0.0.255,AU\n", "line 1"),
            (Form::Networks, b"<html>\n", "line 1"),
            (Form::AgentRules, yaml.as_bytes(), ""),
            (Form::AgentRules, b"user_agent_parsers:\nos_parsers:\n", "device_parsers"),
            (Form::AgentRules, b"\xff", "UTF-8, at byte 0"),
            (Form::Crawlers, br#"[{"pattern":"Googlebot\\/","url":"x"}]"#, ""),
            (Form::Crawlers, br#"[{"pattern":"a"},{"url":"x"}]"#, "entry 2"),
            (Form::Crawlers, b"[]", "empty"),
            (Form::Crawlers, br#"[{"pattern":"a"}"#, "no JSON list"),
            (Form::Domains, br#"["0-180.com"]"#, ""),
            (Form::Domains, br#"["x.y", "com"]"#, "entry 2"),
            (Form::Domains, br#"{"main":"index.js"}"#, "no JSON list"),
            (Form::Places, b"<html>not found</html>", "no MMDB file"),
            (Form::Notice, b"\xff", ""),
        ];
        let dir = tempfile::tempdir().expect("a directory");
        for (form, bytes, says) in cases {
            let path = dir.path().join("file");
            #[allow(clippy::disallowed_methods)] // tests look at real files
            std::fs::write(&path, bytes).expect("written");
            let said = check(&seam::RealFs, &path, *form, "file");
            match said {
                Ok(_) => assert_eq!(*says, "", "{form:?} {:?}", String::from_utf8_lossy(bytes)),
                Err(said) => assert!(!says.is_empty() && said.contains(says), "{form:?}: {said}"),
            }
        }
    }
}
