//! The log on Apache Kafka: the contract of `log` by transactions, committed offsets and consumer groups. The only crate that
//! links librdkafka.
//!
//! * [`config`]: how the cluster is reached, and who this process is there
//! * [`kafka`]: the log; `transactor`: commits as transactions; `door`: records without; `reader`: reads from anywhere;
//!   `membership`: a place in a group; `position`: what was committed
//! * [`foreign`]: topics of other people's
//! * [`topics`]: topics that are wanted and those that are there; [`lag`]: how far groups are behind
//! * `native`: librdkafka, as far as it is used here; `producer`, `delivery`: records on their way, and what became of them
//! * [`broker`]: real brokers on this machine, [`proxy`], which breaks connections to them, and [`watch`], which times what is
//!   read (feature `broker`)
//!
//! It does not know what is in a record, keep state, or decide what to work on: the group's coordinator does.

#![allow(clippy::disallowed_methods)] // librdkafka has clocks and threads of its own: none of this can run in a simulated world

#[cfg(feature = "broker")]
pub mod broker;
pub mod config;
mod delivery;
mod door;
pub mod foreign;
pub mod kafka;
pub mod lag;
mod membership;
mod native;
mod position;
mod producer;
#[cfg(feature = "broker")]
pub mod proxy;
mod reader;
pub mod topics;
mod transactor;
#[cfg(feature = "broker")]
pub mod watch;

pub use config::KafkaConfig;
pub use kafka::{Counts, KafkaLog};
