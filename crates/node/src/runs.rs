//! Dedup's sealed runs on disk: `dedup/<partition>/<from>-<to>.run`. They save reading `raw` again at start and nothing
//! else, so they are written without a sync and one that is not whole is thrown away.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use enrich::{Dedup, Run};
use event::Offset;
use seam::Fs;
use seam::fault::point;

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

    /// Writes what can be sealed below `committed`, and removes what no longer counts.
    pub fn seal(&self, fs: &dyn Fs, dedup: &mut Dedup, committed: Offset) -> io::Result<()> {
        while let Some(run) = dedup.seal(committed) {
            let path = self.dir.join(format!("{:020}-{:020}.run", run.from, run.to));
            let tmp = path.with_extension("tmp");
            if fs.exists(&tmp) {
                fs.remove(&tmp)?;
            }
            fs.open(&tmp, true)?.write_all_at(&[IoSlice::new(&run.encode())], 0)?;
            point("dedup.run.written");
            fs.rename(&tmp, &path)?;
            point("dedup.run.renamed");
            let from = dedup.rebuild_from(committed);
            for (name, range) in self.list(fs)? {
                if range.end <= from {
                    fs.remove(&self.dir.join(name))?;
                }
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
