//! What is said about the files of an asset, beside them in `manifest.json`. A manifest may come from another machine, so
//! it is read as anything else from outside: bounded, and with names that are the catalogue's or none.

use std::io::Read as _;
use std::path::Path;

use event::Micros;
use seam::Fs;
use serde::{Deserialize, Serialize};

use super::Reading;
use super::catalogue::Asset;

/// The form of a manifest that this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// Largest manifest, in bytes. Six files take 2 KiB.
const BYTES_MAX: u64 = 64 << 10;

/// Longest version that is taken, in bytes: it goes into texts and into an argument of the client.
pub const VERSION_MAX: usize = 64;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub asset: String,
    pub package: String,
    /// The package's version; of files that came without their package the day they were made, where they say it.
    pub version: Option<String>,
    /// The day the data was made, `2026-06-05`, where it says.
    #[serde(default)]
    pub made: Option<String>,
    /// The package's hash as its registry gives it: `sha512-` and base64.
    pub integrity: Option<String>,
    pub files: Vec<FileEntry>,
    #[serde(with = "rfc3339")]
    pub fetched_at: Micros,
    /// When this was last known to be the newest version there is. Not before `fetched_at`.
    #[serde(with = "rfc3339")]
    pub checked_at: Micros,
    pub licence: String,
    pub attribution: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileEntry {
    pub name: String,
    pub bytes: u64,
    /// Lower-case hex.
    pub sha256: String,
}

impl Manifest {
    /// The manifest at `path`, which must be about `asset`; `None` if there is none.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn read(fs: &dyn Fs, path: &Path, asset: Asset) -> Result<Option<Manifest>, String> {
        if !fs.exists(path) {
            return Ok(None);
        }
        let unreadable = |e: std::io::Error| format!("it cannot be read: {e}");
        let file = Reading::open(fs, path).map_err(unreadable)?;
        let len = file.len().map_err(unreadable)?;
        if len > BYTES_MAX {
            return Err(format!("it has {len} bytes, and a manifest has at most {BYTES_MAX}"));
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?;
        Manifest::parse(&bytes, asset).map(Some)
    }

    pub(crate) fn parse(bytes: &[u8], asset: Asset) -> Result<Manifest, String> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|e| format!("it is no manifest: {e}"))?;
        if manifest.format > FORMAT {
            return Err(format!("a newer ouzel wrote it (form {}, this one reads {FORMAT})", manifest.format));
        }
        if manifest.asset != asset.name() {
            return Err(format!("it is about something else than {}", asset.name()));
        }
        if [&manifest.version, &manifest.made].into_iter().flatten().any(|v| !is_version(v)) {
            return Err("its version is no version".to_owned());
        }
        if manifest.files.is_empty() {
            return Err("it names no files".to_owned());
        }
        for (n, file) in manifest.files.iter().enumerate() {
            let Some(part) = asset.entry().part(&file.name) else {
                return Err(format!("its file {} is not one of {}", n + 1, asset.name()));
            };
            if file.bytes > part.max_bytes {
                return Err(format!("{} may not have {} bytes", part.name, file.bytes));
            }
            let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            if file.sha256.len() != 64 || !file.sha256.bytes().all(hex) {
                return Err(format!("the checksum of {} is none", part.name));
            }
            if manifest.files[..n].iter().any(|other| other.name == file.name) {
                return Err(format!("it names {} twice", part.name));
            }
        }
        Ok(manifest)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// What it says of a file.
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.name == name)
    }

    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// The version for people.
    pub fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("unknown")
    }
}

/// Whether a text can be a version: nothing a shell, a client or a terminal would take for something else.
pub(crate) fn is_version(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".+-".contains(&b);
    text.len() <= VERSION_MAX && text.bytes().all(plain) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// Lower-case hex.
pub(crate) fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

mod rfc3339 {
    use event::Micros;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(at: &Micros, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Micros, D::Error> {
        let text = String::deserialize(from)?;
        let at = Micros::parse_rfc3339(text.as_bytes()).filter(|t| (Micros::EARLIEST..Micros::LATEST).contains(t));
        at.ok_or_else(|| serde::de::Error::custom("a time is not RFC 3339"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> serde_json::Value {
        serde_json::json!({
            "format": 1, "asset": "agents", "package": "uap-core", "version": "0.18.0", "made": null, "integrity": null,
            "files": [{"name": "regexes.yaml", "bytes": 3, "sha256": "ab".repeat(32)}],
            "fetched_at": "2026-11-22T19:33:00Z", "checked_at": "2026-11-22T19:33:00Z",
            "licence": "Apache-2.0", "attribution": "uap-core", "a member of a later version": 1
        })
    }

    #[test]
    fn a_good_one_comes_back_as_it_went() {
        let read = Manifest::parse(good().to_string().as_bytes(), Asset::Agents).expect("good");
        assert_eq!(read.version(), "0.18.0");
        assert_eq!(Manifest::parse(&read.to_bytes(), Asset::Agents), Ok(read));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let file =
            |name: &str, bytes: u64, sha: String| serde_json::json!({"name": name, "bytes": bytes, "sha256": sha});
        let sum = || "ab".repeat(32);
        for (pointer, value, says) in [
            ("/format", 2.into(), "newer ouzel"),
            ("/asset", "city".into(), "something else"),
            ("/version", "--registry=x".into(), "no version"),
            ("/version", "1\u{1b}[2J".into(), "no version"),
            ("/made", "\u{1b}[2J".into(), "no version"),
            ("/files", serde_json::json!([]), "no files"),
            ("/files/0", file("../../.profile", 3, sum()), "not one of agents"),
            ("/files/0", file("manifest.json", 3, sum()), "not one of agents"),
            ("/files/0", file("regexes.yaml", 10 << 30, sum()), "may not have"),
            ("/files/0", file("regexes.yaml", 3, "AB".repeat(32)), "checksum"),
            ("/files/0", file("regexes.yaml", 3, "ab".into()), "checksum"),
            ("/files", [file("regexes.yaml", 3, sum()), file("regexes.yaml", 3, sum())].as_slice().into(), "twice"),
            ("/fetched_at", "yesterday".into(), "RFC 3339"),
            ("/files", "none".into(), "no manifest"),
        ] {
            let mut manifest = good();
            *manifest.pointer_mut(pointer).expect("there") = value;
            let said = Manifest::parse(manifest.to_string().as_bytes(), Asset::Agents).expect_err(pointer);
            assert!(said.contains(says), "{pointer}: {said}");
        }
        for text in ["", "{", "null", "[1]"] {
            assert!(Manifest::parse(text.as_bytes(), Asset::Agents).is_err(), "{text}");
        }
    }
}
