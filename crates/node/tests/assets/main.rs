//! Assets: archives and directories that mean harm, processes that are ended in the middle, and an npm that is missing,
//! wrong, slow or talks nonsense. Whatever happens, what was there stays in use.

#![allow(clippy::disallowed_methods)] // tests look at real files and processes

mod archives;
mod crashes;
mod directories;
mod npm;
mod support;
