//! Reading a package's archive (`.tgz`). It is trusted with nothing: names in it choose among the files we want and never
//! become paths, links are refused, and every size has a limit before anything is read or written.

use std::io::{self, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::MultiGzDecoder;
use seam::Fs;
use sha2::{Digest as _, Sha512};
use tar::EntryType;

use super::catalogue::{Asset, Origin, Part};
use super::manifest::is_version;
use super::store::Staging;
use super::{AssetError, CHUNK, Reading, Step, Work};

/// Bytes that an archive may inflate to, files we do not want included. The largest package has 134 MB.
const INFLATED_MAX: u64 = 2 << 30;

/// Files in an archive. The packages have 5 to 27; this is for whoever sends us round in circles.
const ENTRIES_MAX: usize = 10_000;

/// Bytes of a `package.json`. Those of the packages have about 1 kB.
const DESCRIPTION_MAX: u64 = 256 << 10;

/// What an archive says about itself in its `package.json`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    pub package: String,
    pub version: String,
}

/// Reads the `package.json` of an archive.
pub fn describe(fs: &dyn Fs, path: &Path) -> Result<Description, AssetError> {
    let mut found = None;
    visit(fs, path, &mut |name, size, data| {
        if name != "package.json" {
            return Ok(true);
        }
        if size > DESCRIPTION_MAX {
            return Err(format!("its package.json has {size} bytes"));
        }
        let mut text = Vec::new();
        data.take(DESCRIPTION_MAX).read_to_end(&mut text).map_err(|e| unread(&e))?;
        let json: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| format!("its package.json is no JSON: {e}"))?;
        let of = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        let (package, version) = (of("name"), of("version"));
        if package.is_empty() || !is_version(&version) {
            return Err("its package.json names no package with a version".to_owned());
        }
        found = Some(Description { package, version });
        Ok(false)
    })
    .map_err(|failed| failed.of(path))?;
    found.ok_or_else(|| AssetError::damaged(shown(path), "it has no package.json, so it is no package of npm"))
}

/// Writes the files of an asset that the archive has. All that the package must have are there, or it is an error.
pub(crate) fn unpack(
    fs: &dyn Fs,
    path: &Path,
    asset: Asset,
    staging: &mut Staging<'_>,
    work: &mut Work<'_>,
) -> Result<(), AssetError> {
    let parts = || asset.entry().parts.iter().filter(|p| p.from != Origin::Directory);
    let total = Reading::open(fs, path).and_then(|f| f.len());
    let total = total.map_err(AssetError::io(format!("cannot read {}", path.display())))?;
    let mut before = 0;
    // An error of ours (a full disk, Ctrl-C) passes through the reader of the archive unharmed.
    let mut ours = None;
    let done = visit(fs, path, &mut |name, size, data| {
        let Some(part) = parts().find(|p| p.name == name) else { return Ok(true) };
        if size > part.max_bytes {
            return Err(format!("its {name} has {size} bytes and may have {}", part.max_bytes));
        }
        let mut each = |bytes: u64| work.at(Step::Unpack, Some(before + bytes), total);
        match staging.write(part, data, &mut each).map(|f| f.bytes) {
            Ok(bytes) if bytes == size => {
                before += bytes;
                Ok(true)
            }
            Ok(bytes) => Err(format!("its {name} ends after {bytes} of {size} bytes")),
            Err(e) => {
                ours = Some(e);
                Err(String::new())
            }
        }
    });
    if let Some(e) = ours {
        return Err(e);
    }
    done.map_err(|failed| failed.of(path))?;
    let missing = |part: &&Part| part.from == Origin::Package && !staging.has(part.name);
    match parts().find(missing) {
        Some(part) => {
            let what = format!("it has no {}: the package has changed, and this ouzel does not know how", part.name);
            Err(AssetError::damaged(shown(path), what))
        }
        None => Ok(()),
    }
}

/// `sha512-` and base64, as registries write it.
pub fn integrity(fs: &dyn Fs, path: &Path) -> Result<String, AssetError> {
    let doing = || AssetError::io(format!("cannot read {}", path.display()));
    let mut file = Reading::open(fs, path).map_err(doing())?;
    let mut digest = Sha512::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).map_err(doing())? {
            0 => return Ok(format!("sha512-{}", BASE64.encode(digest.finalize()))),
            n => digest.update(&chunk[..n]),
        }
    }
}

enum Failed {
    Open(io::Error),
    Bad(String),
}

impl Failed {
    fn of(self, path: &Path) -> AssetError {
        match self {
            Failed::Open(e) => AssetError::io(format!("cannot read {}", path.display()))(e),
            Failed::Bad(what) => AssetError::damaged(shown(path), what),
        }
    }
}

/// Called with a file's name below the archive's first directory, its size, and its bytes; false ends the visit.
type Visitor<'a> = &'a mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<bool, String>;

/// Goes through the regular files of an archive.
fn visit(fs: &dyn Fs, path: &Path, visitor: Visitor<'_>) -> Result<(), Failed> {
    let file = Reading::open(fs, path).map_err(Failed::Open)?;
    let inflated = Capped { inner: MultiGzDecoder::new(io::BufReader::with_capacity(CHUNK, file)), left: INFLATED_MAX };
    let mut archive = tar::Archive::new(inflated);
    let unreadable = |e: io::Error| Failed::Bad(unread(&e));
    // IMPORTANT: raw. Otherwise names and sizes of extension headers are read into memory, however long they are, and
    // sparse files are blown up to what they claim to be.
    let entries = archive.entries().map_err(unreadable)?.raw(true);
    let mut count = 0;
    for entry in entries {
        let mut entry = entry.map_err(unreadable)?;
        count += 1;
        if count > ENTRIES_MAX {
            return Err(Failed::Bad(format!("it has more than {ENTRIES_MAX} files")));
        }
        let size = entry.size();
        if size > INFLATED_MAX {
            return Err(Failed::Bad(format!("one of its files says it has {size} bytes")));
        }
        match entry.header().entry_type() {
            EntryType::Regular => {}
            // Times and comments, and names longer than any we want.
            EntryType::Directory | EntryType::XHeader | EntryType::XGlobalHeader | EntryType::GNULongName => continue,
            EntryType::Symlink | EntryType::Link | EntryType::GNULongLink => {
                return Err(Failed::Bad("it has a link in it, which no package of npm has".to_owned()));
            }
            EntryType::GNUSparse => {
                return Err(Failed::Bad("it has a sparse file in it, which no package of npm has".to_owned()));
            }
            _ => return Err(Failed::Bad("it has a device in it, or something else that is no file".to_owned())),
        }
        let name = entry.path_bytes();
        let Some(name) = below_first(&name).map_err(Failed::Bad)?.map(str::to_owned) else { continue };
        if !visitor(&name, size, &mut entry).map_err(Failed::Bad)? {
            break;
        }
    }
    Ok(())
}

/// `package/docs/x.md` is `docs/x.md`; `None` for what lies in no directory or is not named in UTF-8, and so is none of
/// ours. A name that leads out of where it would be unpacked is an error: nobody makes one by accident.
fn below_first(name: &[u8]) -> Result<Option<&str>, String> {
    if name.starts_with(b"/") || name.split(|b| *b == b'/').any(|part| part == b"..") {
        return Err("a name in it leads out of the package (`..` or an absolute path)".to_owned());
    }
    let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
    Ok(name.strip_prefix("./").unwrap_or(name).split_once('/').map(|(_, rest)| rest))
}

/// Ends in an error once so many bytes went through.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("it inflates to more than {INFLATED_MAX} bytes"))),
        }
        Ok(n)
    }
}

fn unread(e: &io::Error) -> String {
    format!("it is cut off or no archive ({e})")
}

/// Only the name: where the client put it says nothing to people.
fn shown(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
