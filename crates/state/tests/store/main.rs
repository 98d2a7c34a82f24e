//! What every store must do, and what each of them does when its disk, its network or its service does not.
#![allow(clippy::disallowed_methods)] // files and sockets of the tests' own

mod conformance;
mod directory;
mod planted;
mod snapshots;
#[allow(dead_code)] // what only the other tests of snapshots need
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "s3")]
mod bucket;
#[cfg(feature = "s3")]
mod faults;
#[cfg(feature = "s3")]
mod proxy;
#[cfg(feature = "s3")]
mod tls;
