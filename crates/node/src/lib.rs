//! The real world: what turns a configuration into a running process. `sim` drives the same pure crates in a simulated one.
//!
//! * [`cases`]: a user's tests of their own pipeline
//! * [`config`]: the configuration, from file, environment and flags to types that are always valid
//! * [`engine`]: everything started in order, watched, and stopped in order
//! * [`lookups`]: lookups that are asked over a connection, as a part of the process
//! * [`parts`]: what the configuration makes of each part
//! * [`pipeline`]: the same pure code in one call, for tests of a configuration and for measuring
//! * [`plan`]: what would run, drawn; [`paragraph`]: texts kept within a width
//! * [`carrier`]: what carries the events, the journal or Kafka; [`roles`]: what a process does of all, where several share it
//! * [`worker`]: gives a stage a thread; `enriching`, [`sessions`]: the stages as parts of the process
//! * [`seats`]: who has which partitions; [`share`]: one member of a group for several threads
//! * `bucket`: snapshots in object storage
//! * [`savepoint`]: what is copied while it is held still, and how a directory begins from it
//! * [`explain`]: what became of an event; [`divergence`]: where a replay makes something else
//! * [`lookup_server`]: a process that answers lookups alone
//! * [`assets`]: reference data that is fetched once, and the directory it lies in
//! * [`output`]: writes `--output`
//! * [`status`]: readiness, metrics, the two sums; [`admin`]: what the commands beside may ask for
//!
//! It decides nothing about events: that is in the pure crates it drives.

pub mod admin;
pub mod assets;
mod bucket;
pub mod carrier;
pub mod cases;
pub mod config;
pub mod divergence;
pub mod engine;
mod enriching;
pub mod explain;
pub mod lookup_server;
pub mod lookups;
pub mod output;
pub mod paragraph;
pub mod parts;
pub mod pipeline;
pub mod plan;
pub mod roles;
pub mod savepoint;
pub mod seats;
pub mod sessions;
pub mod share;
pub mod status;
pub mod worker;
