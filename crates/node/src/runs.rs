//! Dedup's sealed runs on disk: `dedup/<partition>/<from>-<to>.run`. They save reading `raw` again at start and nothing
//! else, so one that is not whole is thrown away.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use enrich::{Dedup, Run};
use event::Offset;
use seam::Fs;
use seam::fault::point;

/// A run is a megabyte. The file system orders what others have written before our journal's next sync, so that all of it
/// at once would hold up every commit for tens of milliseconds: it is written and synced by slices, with pauses in which
/// the journal syncs.
const SLICE: usize = 64 * 1024;
const SLICE_PAUSE: Duration = Duration::from_millis(5);

/// A thread that writes runs, out of the way of events. When it is dropped, what was handed in is written first.
pub struct Sealer {
    tasks: Option<mpsc::Sender<Task>>,
    hurry: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Task {
    runs: Runs,
    run: Run,
    needed_from: Offset,
}

impl Sealer {
    pub fn start(fs: Arc<dyn Fs>) -> io::Result<Sealer> {
        let (tasks, queue) = mpsc::channel::<Task>();
        let hurry = Arc::new(AtomicBool::new(false));
        let in_hurry = hurry.clone();
        let thread = std::thread::Builder::new().name("sealer".to_owned()).spawn(move || {
            for Task { runs, run, needed_from } in queue {
                if let Err(e) = runs.write(&*fs, run, needed_from, &in_hurry) {
                    tracing::warn!(error = %e, "a dedup run was not written; the next start reads raw instead");
                }
            }
        })?;
        Ok(Sealer { tasks: Some(tasks), hurry, thread: Some(thread) })
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.hurry.store(true, Relaxed);
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The runs of one partition.
pub struct Runs {
    dir: PathBuf,
}

impl Runs {
    pub fn open(fs: &dyn Fs, data: &Path, partition: u32) -> io::Result<Runs> {
        let dir = data.join("dedup").join(partition.to_string());
        fs.create_dir_all(&dir)?;
        Ok(Runs { dir })
    }

    /// Gives `dedup` what the runs hold for a start at `committed`, and the position from which `raw` is to be read
    /// again. `kept_from`, `end`: the positions `raw` still has; a run that reaches beyond its end is of another history
    /// and is deleted before anything is appended.
    pub fn restore(
        &self,
        fs: &dyn Fs,
        dedup: &mut Dedup,
        committed: Offset,
        kept_from: Offset,
        end: Offset,
    ) -> io::Result<Offset> {
        let from = dedup.rebuild_from(committed);
        dedup.begin_at(from);
        let mut reached = from;
        for (name, range) in self.list(fs)? {
            let path = self.dir.join(&name);
            if range.end > end || range.end <= from {
                fs.remove(&path)?;
                continue;
            }
            if range.start != reached || range.end > committed {
                continue;
            }
            let Some(run) = Run::decode(&read(fs, &path)?) else {
                tracing::warn!(file = %path.display(), "a dedup run is not whole; raw is read again instead");
                fs.remove(&path)?;
                continue;
            };
            dedup.restore(&run);
            reached = run.to;
        }
        Ok(reached.max(kept_from))
    }

    /// Hands what can be sealed below `committed` to the sealer.
    pub fn seal(&self, sealer: &Sealer, dedup: &mut Dedup, committed: Offset) {
        while let Some(run) = dedup.seal(committed) {
            let task = Task { runs: Runs { dir: self.dir.clone() }, run, needed_from: dedup.rebuild_from(committed) };
            // The thread ends only after this sender is gone.
            let _ = sealer.tasks.as_ref().expect("open until it is dropped").send(task);
        }
    }

    /// Writes a run, and removes those that no longer count.
    fn write(&self, fs: &dyn Fs, run: Run, needed_from: Offset, hurry: &AtomicBool) -> io::Result<()> {
        let path = self.dir.join(format!("{:020}-{:020}.run", run.from, run.to));
        let tmp = path.with_extension("tmp");
        if fs.exists(&tmp) {
            fs.remove(&tmp)?;
        }
        let file = fs.open(&tmp, true)?;
        let mut at = 0;
        for slice in run.encode().chunks(SLICE) {
            file.write_all_at(&[IoSlice::new(slice)], at)?;
            file.sync_data()?;
            at += slice.len() as u64;
            if !hurry.load(Relaxed) {
                std::thread::sleep(SLICE_PAUSE);
            }
        }
        point("dedup.run.written");
        fs.rename(&tmp, &path)?;
        point("dedup.run.renamed");
        for (name, range) in self.list(fs)? {
            if range.end <= needed_from {
                fs.remove(&self.dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Runs by name with their positions, oldest first.
    fn list(&self, fs: &dyn Fs) -> io::Result<Vec<(String, std::ops::Range<Offset>)>> {
        let names = fs.list(&self.dir)?;
        let parse = |name: &str| {
            let (from, to) = name.strip_suffix(".run")?.split_once('-')?;
            Some(from.parse().ok()?..to.parse().ok()?)
        };
        Ok(names.into_iter().filter_map(|name| parse(&name).map(|range| (name, range))).collect())
    }
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let mut bytes = vec![0; file.len()? as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
