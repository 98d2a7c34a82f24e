//! Files of runs: opened for searching, and read from the front for merging.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use enrich::dedup::{FOOTER_BYTES, Footer, PAGE_BYTES, Page, Pair, RunIndex, Sealed};
use event::Offset;
use seam::{File, Fs};

/// Pages that a merge reads at once: one of eight runs reads a megabyte together.
const READ_PAGES: u64 = 32;

/// A run that can be asked.
pub struct OpenRun {
    pub path: PathBuf,
    pub index: RunIndex,
    file: Arc<dyn File>,
    /// Of the file, in bytes.
    pub bytes: u64,
    /// The file was damaged and is set aside already.
    aside: AtomicBool,
}

/// `<from>-<to>.run`
pub fn name(from: Offset, to: Offset) -> String {
    format!("{from:020}-{to:020}.run")
}

/// What a run's name says: (from, to).
pub fn parse(name: &str) -> Option<(Offset, Offset)> {
    let (from, to) = name.strip_suffix(".run")?.split_once('-')?;
    Some((from.parse().ok()?, to.parse().ok()?)).filter(|(from, to)| self::name(*from, *to) == name)
}

/// The pairs of a whole run. `None`: these bytes are none.
pub fn pairs(bytes: &[u8]) -> Option<Sealed> {
    let at = bytes.len().checked_sub(FOOTER_BYTES)?;
    let footer = Footer::decode(bytes[at..].first_chunk()?, bytes.len() as u64)?;
    let (at, len) = footer.index();
    let index = RunIndex::decode(footer, bytes.get(at as usize..at as usize + len)?)?;
    let mut pairs = Vec::with_capacity(index.pairs as usize);
    for (number, page) in (0..index.pages()).zip(bytes.chunks_exact(PAGE_BYTES)) {
        pairs.extend(index.pairs_of(number, &Page::check(page, index.head.from, number)?));
    }
    Some(Sealed { head: index.head, pairs })
}

impl OpenRun {
    pub fn new(path: PathBuf, index: RunIndex, file: Arc<dyn File>, bytes: u64) -> OpenRun {
        OpenRun { path, index, file, bytes, aside: AtomicBool::new(false) }
    }

    /// Reads what stays in memory. `None`: the file is not a whole run.
    pub fn open(fs: &dyn Fs, path: PathBuf) -> io::Result<Option<OpenRun>> {
        let file = fs.open_read(&path)?;
        let len = file.len()?;
        let mut footer = [0; FOOTER_BYTES];
        let Some(at) = len.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        file.read_exact_at(&mut footer, at)?;
        let Some(footer) = Footer::decode(&footer, len) else { return Ok(None) };
        let (at, bytes) = footer.index();
        let mut index = vec![0; bytes];
        file.read_exact_at(&mut index, at)?;
        Ok(RunIndex::decode(footer, &index).map(|index| OpenRun::new(path, index, file, len)))
    }

    pub fn from(&self) -> Offset {
        self.index.head.from
    }

    pub fn to(&self) -> Offset {
        self.index.head.to
    }

    /// The newest pair of this id among candidates that the index named.
    pub fn find(&self, fs: &dyn Fs, id: u128, candidates: std::ops::Range<usize>) -> Result<Option<Pair>, String> {
        self.index.find(id, candidates, |number, buffer| {
            let read = self.file.read_exact_at(buffer, number * PAGE_BYTES as u64);
            read.map_err(|e| self.unreadable(&e))?;
            Page::check(buffer, self.from(), number).ok_or_else(|| self.damaged(fs, number))
        })
    }

    /// Nothing is known of the pairs in a damaged page, and to say that they are not there would count an event twice: the
    /// stage stops. The file is set aside until then, so that the next start reads `raw` in its place, which holds the truth; going on
    /// at once is not possible, because that reading begins below what was judged since.
    fn damaged(&self, fs: &dyn Fs, number: u64) -> String {
        let path = self.path.display();
        let mut aside = self.path.clone().into_os_string();
        aside.push(".damaged");
        let what = format!("the dedup run {path} is damaged in page {number}");
        if self.aside.swap(true, Relaxed) {
            return what;
        }
        match fs
            .rename(&self.path, Path::new(&aside))
            .and_then(|()| fs.sync_dir(self.path.parent().unwrap_or(&self.path)))
        {
            Ok(()) => format!("{what}; it is now {path}.damaged, and the next start reads raw in its place"),
            Err(e) => format!("{what}, and could not be set aside ({e}): remove it, so that the next start reads raw"),
        }
    }

    fn unreadable(&self, e: &io::Error) -> String {
        format!("the dedup run {} cannot be read: {e}", self.path.display())
    }
}

/// Reads a run from the front.
pub struct Reader {
    run: Arc<OpenRun>,
    bytes: Vec<u8>,
    next_page: u64,
    pairs: std::vec::IntoIter<Pair>,
}

impl Reader {
    pub fn new(run: Arc<OpenRun>) -> Reader {
        Reader { run, bytes: Vec::new(), next_page: 0, pairs: Vec::new().into_iter() }
    }

    /// # Errors
    /// As of [`OpenRun::find`].
    pub fn next(&mut self, fs: &dyn Fs) -> Result<Option<Pair>, String> {
        if let Some(pair) = self.pairs.next() {
            return Ok(Some(pair));
        }
        let pages = READ_PAGES.min(self.run.index.pages() - self.next_page);
        self.bytes.resize(pages as usize * PAGE_BYTES, 0);
        let at = self.next_page * PAGE_BYTES as u64;
        self.run.file.read_exact_at(&mut self.bytes, at).map_err(|e| self.run.unreadable(&e))?;
        let mut pairs = Vec::with_capacity(self.bytes.len() / 28);
        for (number, bytes) in (self.next_page..).zip(self.bytes.chunks_exact(PAGE_BYTES)) {
            let page = Page::check(bytes, self.run.from(), number).ok_or_else(|| self.run.damaged(fs, number))?;
            pairs.extend(self.run.index.pairs_of(number, &page));
        }
        self.next_page += pages;
        self.pairs = pairs.into_iter();
        Ok(self.pairs.next())
    }
}
