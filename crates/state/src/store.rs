//! Where objects lie. Four blocking calls, shaped after those of object stores.
//!
//! A name is `operator/partition/file`, or `file` alone; see [`crate::name`] for what may be in it.

use std::io;
use std::sync::atomic::AtomicBool;

/// Objects, each whole and never overwritten.
pub trait Store: Send + Sync + 'static {
    /// Writes an object; when this answers `true` it is durable, whole. `false`: one of that name is there, and stays as it
    /// is. An error means that it may be there or not, but not in part.
    ///
    /// Writing takes its time so that others' commits need not wait for it, unless in `hurry`.
    fn put_if_absent(&self, name: &str, bytes: &[u8], hurry: &AtomicBool) -> io::Result<bool>;
    /// `None`: there is none. `InvalidData`: it is there, but it cannot be read and never will be.
    fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// The names that begin with `prefix`, which ends with a slash or is empty, and have no further slash; sorted.
    fn list(&self, prefix: &str) -> io::Result<Vec<String>>;
    /// Deletes these, durably; those that are not there are none to delete.
    fn delete(&self, names: &[String]) -> io::Result<()>;
}
