//! Events of a simulated shop, rendered from a seed: the same seed gives the same bytes on every machine. They have the
//! shape that the Segment SDKs send, 1.2 KB in the mean, with visitors drawn by Zipf's law.
//!
//! * [`rng`]: the random numbers, and the hash that gives a visitor its address, agent and habits
//! * [`zipf`]: who comes often
//! * [`world`]: the addresses, agents, words and pages there are
//! * [`render`]: one event as bytes, its identifiers and times at fixed places
//! * [`generator`]: event after event, with the truth about each
//! * [`batch`]: bodies rendered once and stamped anew for every send
//!
//! It has no clock (times are handed in), opens nothing, and does not pace or send: `cli` and `sim` do.

pub mod batch;
pub mod generator;
pub mod render;
pub mod rng;
pub mod world;
pub mod zipf;

pub use batch::{Batch, Form};
pub use generator::{GenConfig, Generator, Truth};
pub use render::{EventId, stamp_sent_at, stamp_time};
pub use rng::Rng;
