//! The real world: what turns a configuration into a running process. `sim` drives the same pure crates in a simulated one.
//!
//! * [`config`]: the configuration, from file, environment and flags to types that are always valid
//!
//! It decides nothing about events: that is in the pure crates it drives.

pub mod config;
