//! Reference data made of files that are replaced while they are used. A bad file is never taken in place of a good one,
//! and a batch that has pinned a version keeps it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, TryLockError};

use flow::Status;

use crate::error::{Kind, LookupError};
use crate::watch::{self, Stamp, Watch};

/// How much of a file is looked at before it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// What is quick: for a start.
    Sample,
    /// Everything: for a reload, which is nobody's wait.
    Whole,
}

/// What some files come to.
pub trait Data: Send + Sync + Sized + 'static {
    /// What one file comes to.
    type Part: Clone + Send + Sync + 'static;
    /// What is said about a file beside its path; `()` where nothing is.
    type Use: Clone + Send + Sync + 'static;
    /// Largest file that is read, in bytes.
    const FILE_MAX: u64;
    /// Whether a file is read only when it was found unchanged twice: for formats in which a half-written file can look like a
    /// whole one.
    const SETTLED: bool = false;

    /// Reads a file. `name` is the file's name, for texts and versions.
    fn read(name: &str, bytes: Vec<u8>, of: &Self::Use, extent: Extent) -> Result<Self::Part, LookupError>;

    /// Whether a part, good in itself, may take the place of the one in use.
    fn may_replace(_new: &Self::Part, _old: &Self::Part) -> Result<(), LookupError> {
        Ok(())
    }

    /// The parts that are there, in the order of the files; may be none.
    fn of(parts: Vec<Self::Part>) -> Self;

    /// A name and something that differs between versions: `dbip-city-2026-11-05`.
    fn version(part: &Self::Part) -> &str;
}

/// One version of some data, as a batch asks it.
pub trait Answer: Send + Sync {
    /// Appends the fact's JSON. On anything but `Ok` what was appended does not count.
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status;

    /// Of each file that is in use, in the order they are asked.
    fn versions(&self) -> Vec<&str>;

    /// What nobody should wait for although there is data: `postal`.
    fn lacks(&self) -> &[&'static str] {
        &[]
    }
}

/// Where answers come from, over time.
pub trait Source: Send + Sync {
    /// The version in use now, for one batch.
    fn pin(&self) -> Arc<dyn Answer>;

    /// Grows with every version that is taken.
    fn epoch(&self) -> u64;

    /// See [`Reloaded::reload_if_changed`].
    fn reload_if_changed(&self) -> ReloadReport;

    /// See [`Reloaded::refused`].
    fn refused(&self) -> Vec<String>;
}

/// What a call of [`Reloaded::reload_if_changed`] did.
#[derive(Debug, Default)]
pub struct ReloadReport {
    /// Versions in use from now on.
    pub loaded: Vec<String>,
    /// Files that changed and are bad, each told once. Their old versions stay in use.
    pub refused: Vec<LookupError>,
}

/// Files, and the data they come to at present.
pub struct Reloaded<D: Data> {
    current: RwLock<Arc<D>>,
    epoch: AtomicU64,
    files: Mutex<Vec<Watched<D>>>,
    problems: Mutex<Vec<String>>,
}

struct Watched<D: Data> {
    watch: Watch,
    of: D::Use,
    part: Option<D::Part>,
}

impl<D: Data<Use = ()>> Reloaded<D> {
    /// [`Reloaded::open_all`] for files about which nothing is said.
    pub fn open(paths: &[PathBuf]) -> Result<Reloaded<D>, LookupError> {
        Reloaded::open_all(&paths.iter().map(|p| (p.clone(), ())).collect::<Vec<_>>())
    }
}

impl<D: Data> Reloaded<D> {
    /// Opens all, in the order they are to be asked; none at all is fine, and knows nothing.
    pub fn open_all(files: &[(PathBuf, D::Use)]) -> Result<Reloaded<D>, LookupError> {
        let (source, errors) = Reloaded::open_what_is_good(files);
        errors.into_iter().next().map_or(Ok(source), Err)
    }

    /// Opens those that are good, and says what is wrong with the others. They are taken when they become good.
    pub fn open_what_is_good(files: &[(PathBuf, D::Use)]) -> (Reloaded<D>, Vec<LookupError>) {
        let mut errors = Vec::new();
        let files: Vec<Watched<D>> = files
            .iter()
            .map(|(path, of)| match load::<D>(path, of, Extent::Sample) {
                Ok((part, stamp)) => Watched { watch: Watch::new(path, stamp), of: of.clone(), part: Some(part) },
                Err(e) => {
                    let watch = Watch::absent(path, &e);
                    errors.push(e);
                    Watched { watch, of: of.clone(), part: None }
                }
            })
            .collect();
        let source = Reloaded {
            current: RwLock::new(Arc::new(data(&files))),
            epoch: AtomicU64::new(0),
            problems: Mutex::new(problems(&files)),
            files: Mutex::new(files),
        };
        (source, errors)
    }

    /// The version in use now, for one batch.
    pub fn pin(&self) -> Arc<D> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether files changed, and reads those that did: one after another, whole ([`Extent::Whole`]), and only then
    /// swaps it in. About 1 us a file when nothing changed. When one did it takes as long as the file takes (a city
    /// database: about a second), so call it where a wait is nobody's harm; besides what is pinned, the old and the new
    /// version of one file at a time are in memory. While one thread is at it, a call of another does nothing.
    ///
    /// A file that was overwritten in place with the same length, and is by chance whole in between, is taken and then
    /// replaced at the next look. Move new files into place and there is no in between. Data that is [`Data::SETTLED`] is taken
    /// one look later than other data.
    pub fn reload_if_changed(&self) -> ReloadReport {
        let mut report = ReloadReport::default();
        let mut files = match self.files.try_lock() {
            Ok(files) => files,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return report,
        };
        let mut looked = false;
        for at in 0..files.len() {
            let file = &mut files[at];
            let Some(stamp) = file.watch.due(D::SETTLED) else { continue };
            looked = true;
            let loaded = load::<D>(file.watch.path(), &file.of, Extent::Whole).and_then(|(part, stamp)| {
                file.part.iter().try_for_each(|old| D::may_replace(&part, old))?;
                Ok((part, stamp))
            });
            match loaded {
                Ok((part, stamp)) => {
                    file.watch.took(stamp);
                    report.loaded.push(D::version(&part).to_owned());
                    file.part = Some(part);
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(data(&files));
                    self.epoch.fetch_add(1, Ordering::Release);
                }
                // The next call sees another stamp, and tries again.
                Err(e) if e.kind() == Kind::Retry => {}
                Err(e) => {
                    if file.watch.refused(stamp, &e) {
                        report.refused.push(e);
                    }
                }
            }
        }
        if looked {
            *self.problems() = problems(&files);
        }
        report
    }

    /// Files that are not in use as they are now, and why: for readiness and metrics. Empty when all is well.
    pub fn refused(&self) -> Vec<String> {
        self.problems().clone()
    }

    fn problems(&self) -> MutexGuard<'_, Vec<String>> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Data + Answer> Source for Reloaded<D> {
    fn pin(&self) -> Arc<dyn Answer> {
        Reloaded::<D>::pin(self)
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn reload_if_changed(&self) -> ReloadReport {
        Reloaded::reload_if_changed(self)
    }

    fn refused(&self) -> Vec<String> {
        Reloaded::refused(self)
    }
}

fn data<D: Data>(files: &[Watched<D>]) -> D {
    D::of(files.iter().filter_map(|f| f.part.clone()).collect())
}

fn problems<D: Data>(files: &[Watched<D>]) -> Vec<String> {
    files.iter().filter_map(|f| f.watch.problem().map(str::to_owned)).collect()
}

fn load<D: Data>(path: &Path, of: &D::Use, extent: Extent) -> Result<(D::Part, Stamp), LookupError> {
    let (bytes, stamp) = watch::read(path, D::FILE_MAX)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Ok((D::read(&name, bytes, of, extent)?, stamp))
}
