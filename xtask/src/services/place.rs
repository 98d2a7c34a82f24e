//! The directory of one run: made under a name that nobody can guess, locked while it is in use, removed with all in it.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Only directories of this name are ever swept.
const PREFIX: &str = "ouzel-services-";

pub struct Place {
    path: PathBuf,
    /// Of the directory itself; the kernel takes it back from a process that was killed.
    _lock: File,
}

impl Place {
    pub fn new() -> Result<Place> {
        let temporary = std::env::temp_dir();
        let name = random()?;
        let new = temporary.join(format!("ouzel-new-{name}"));
        let path = temporary.join(format!("{PREFIX}{name}"));
        // Servers run as other users: they may pass through it to their own, and see nothing of it.
        DirBuilder::new().mode(0o711).create(&new).with_context(|| format!("cannot make {}", new.display()))?;
        let lock = File::open(&new)?;
        lock.try_lock().with_context(|| format!("cannot lock {}", new.display()))?;
        // IMPORTANT: it gets the name that is swept only now that it is locked.
        std::fs::rename(&new, &path)?;
        Ok(Place { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories of this user's runs that were killed before they could.
pub fn sweep() {
    // SAFETY: no memory effects, and it cannot fail.
    let me = unsafe { libc::geteuid() };
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let ours = entry.metadata().is_ok_and(|m| m.is_dir() && m.uid() == me);
        if ours
            && entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// 128 bits, in hexadecimal: a name, or a password that needs no quotes anywhere.
pub fn random() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_use_is_not_swept_and_one_that_was_left_is() {
        let used = Place::new().expect("a place");
        let left = std::env::temp_dir().join(format!("{PREFIX}{}", random().expect("a name")));
        std::fs::create_dir(&left).expect("make");
        std::fs::write(left.join("file"), "").expect("write");
        sweep();
        assert!(used.path().is_dir(), "somebody is in it");
        assert!(!left.exists(), "nobody is in it");
        let path = used.path().to_owned();
        drop(used);
        assert!(!path.exists());
    }
}
