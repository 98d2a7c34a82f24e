//! The runs of one partition where its next owner finds them: beside the snapshots, in the store that all workers share.
//!
//! What is sealed is put there as it is on disk, and not merged; who leaves puts there what is not sealed yet, as
//! `<from>-<to>.rest`. It is a saving as the files are: what cannot be put or fetched is read from `raw` again.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use enrich::dedup::{RunWriter, Sealed};
use event::Offset;
use seam::{Background, Clock, Fs};
use state::Store;

use super::file::{self, OpenRun};

/// Runs that are fetched at once: a store that is far away gives each slowly.
const FETCHES: usize = 8;
/// What the name of what was left ends with.
const REST: &str = ".rest";
/// How long a store that refused one is not asked to take another: each try may take seconds, and generations wait behind it.
const REFUSED_WAIT: Duration = Duration::from_secs(30);

/// The runs of one partition in a store.
pub struct Depot {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    /// `dedup/<partition>/`
    prefix: String,
    /// Runs that are fetched at once.
    fetches: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What is there, as (to, from).
    runs: BTreeSet<(Offset, Offset)>,
    /// What was left there, as (from, to).
    rests: BTreeSet<(Offset, Offset)>,
    /// Nothing is put before this time.
    refused_until: Duration,
}

impl Depot {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, partition: u32, background: Background) -> Depot {
        let fetches = if background == Background::Turns { 1 } else { FETCHES };
        Depot { store, clock, prefix: format!("dedup/{partition}/"), fetches, kept: Mutex::default() }
    }

    /// Brings into `dir` what is not there of the runs that lie below `committed` and reach above `from`.
    pub(super) fn fetch(&self, fs: &dyn Fs, dir: &Path, committed: Offset, from: Offset) -> io::Result<()> {
        let names = self.store.list(&self.prefix)?;
        let names = || names.iter().filter_map(|name| name.strip_prefix(&self.prefix));
        let all: BTreeSet<(Offset, Offset)> = names().filter_map(file::parse).map(|(from, to)| (to, from)).collect();
        let rests = names().filter_map(|name| file::parse(&format!("{}.run", name.strip_suffix(REST)?))).collect();
        let here: Vec<_> = fs.list(dir)?.iter().filter_map(|name| file::parse(name)).collect();
        let is_here = |from, to| here.iter().any(|(f, t)| *f <= from && to <= *t);
        let wanted: Vec<_> =
            all.iter().filter(|(t, f)| *t <= committed && *t > from && !is_here(*f, *t)).copied().collect();
        *self.kept() = Kept { runs: all, rests, refused_until: Duration::ZERO };
        // The newest first: what is missing below them costs nothing that they could save.
        let queue = Mutex::new(wanted);
        let fetch = || -> io::Result<()> {
            while let Some((to, from)) = { queue.lock().unwrap_or_else(PoisonError::into_inner).pop() } {
                self.bring(fs, dir, &file::name(from, to))?;
            }
            Ok(())
        };
        let many = queue.lock().unwrap_or_else(PoisonError::into_inner).len().min(self.fetches);
        if many <= 1 {
            return fetch();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..many).map(|_| scope.spawn(fetch)).collect();
            threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err(io::Error::other("a panic"))))
        })
    }

    /// Its file needs no sync: one that is not whole is thrown away at the next start.
    fn bring(&self, fs: &dyn Fs, dir: &Path, name: &str) -> io::Result<()> {
        let bytes = match self.store.get(&format!("{}{name}", self.prefix)) {
            Ok(Some(bytes)) if file::pairs(&bytes).is_some_and(|run| is_of(&run, name)) => bytes,
            Ok(None) => return Ok(()),
            Err(e) if e.kind() != io::ErrorKind::InvalidData => return Err(e),
            _ => {
                tracing::warn!(name, "a dedup run in the store is not whole; raw is read again instead");
                self.remove(name);
                return Ok(());
            }
        };
        let path = dir.join(name);
        let tmp = path.with_extension("tmp");
        let out = fs.open(&tmp, true)?;
        out.set_len(0)?;
        out.write_all_at(&[IoSlice::new(&bytes)], 0)?;
        fs.rename(&tmp, &path)
    }

    /// What was left that begins at `from`, where the runs end, and reaches furthest below `committed`.
    pub(super) fn rest(&self, from: Offset, committed: Offset) -> Option<Sealed> {
        let (from, to) = *self.kept().rests.range((from, 0)..=(from, committed)).next_back()?;
        let found = self.store.get(&self.rest_name(from, to)).ok()??;
        file::pairs(&found).filter(|rest| (rest.head.from, rest.head.to) == (from, to))
    }

    /// Leaves this to the next owner, which may be reading already: at once.
    pub(super) fn leave(&self, rest: Sealed) {
        if self.clock.elapsed() < self.kept().refused_until {
            return;
        }
        let Sealed { head, mut pairs } = rest;
        let name = self.rest_name(head.from, head.to);
        pairs.sort_unstable_by_key(|p| (p.id, p.offset));
        let mut writer = RunWriter::new(head, pairs.len() as u64);
        pairs.into_iter().for_each(|pair| writer.push(pair));
        let (_, bytes) = writer.finish();
        if let Err(e) = self.store.put_if_absent(&name, &bytes, &AtomicBool::new(true)) {
            self.refused(&name, &e);
        }
    }

    fn rest_name(&self, from: Offset, to: Offset) -> String {
        format!("{}{}{REST}", self.prefix, file::name(from, to).trim_end_matches(".run"))
    }

    /// People are told once in a while.
    fn refused(&self, name: &str, e: &io::Error) {
        self.kept().refused_until = self.clock.elapsed() + REFUSED_WAIT;
        tracing::warn!(name, error = %e, "what tells duplicates was not put where other workers find it; whoever takes over reads raw instead");
    }

    /// Puts a run there.
    pub(super) fn put(&self, fs: &dyn Fs, run: &OpenRun, hurry: &AtomicBool) {
        let at = (run.to(), run.from());
        let now = self.clock.elapsed();
        {
            let kept = self.kept();
            if kept.runs.contains(&at) || now < kept.refused_until {
                return;
            }
        }
        let name = format!("{}{}", self.prefix, file::name(run.from(), run.to()));
        match read(fs, &run.path).and_then(|bytes| self.store.put_if_absent(&name, &bytes, hurry)) {
            Ok(_) => {
                let mut kept = self.kept();
                kept.runs.insert(at);
                // What was left below its end is in it.
                let later = kept.rests.split_off(&(run.to(), 0));
                let in_it = std::mem::replace(&mut kept.rests, later);
                drop(kept);
                let names: Vec<_> = in_it.into_iter().map(|(from, to)| self.rest_name(from, to)).collect();
                let _ = if names.is_empty() { Ok(()) } else { self.store.delete(&names) };
            }
            Err(e) => self.refused(&name, &e),
        }
    }

    /// Removes what ends here or below.
    pub(super) fn expire(&self, needed_from: Offset) {
        let gone: Vec<_> = self.kept().runs.range(..=(needed_from, Offset::MAX)).copied().collect();
        let name = |(to, from): &(Offset, Offset)| format!("{}{}", self.prefix, file::name(*from, *to));
        if gone.is_empty() {
            return;
        }
        // What stays is tried again when the next one expires.
        match self.store.delete(&gone.iter().map(name).collect::<Vec<_>>()) {
            Ok(()) => self.kept().runs.retain(|run| !gone.contains(run)),
            Err(e) => tracing::debug!(error = %e, "dedup runs that expired could not be deleted"),
        }
    }

    /// Removes one that is not whole, so that it is put anew.
    fn remove(&self, name: &str) {
        if let Some((from, to)) = file::parse(name)
            && self.store.delete(&[format!("{}{name}", self.prefix)]).is_ok()
        {
            self.kept().runs.remove(&(to, from));
        }
    }

    /// Removes all: nothing was committed, so they are of a topic of before.
    pub(super) fn clear(&self) -> io::Result<()> {
        let names = self.store.list(&self.prefix)?;
        if names.is_empty() { Ok(()) } else { self.store.delete(&names) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(run: &Sealed, name: &str) -> bool {
    file::parse(name) == Some((run.head.from, run.head.to))
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
