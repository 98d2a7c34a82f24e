//! The simulated marketplace: bytes of events from a seed and tables, the same for the same seed on every machine. People
//! come, look around, sign in, buy, sell and leave; their browsers and the marketplace's servers send what the Segment
//! SDKs send; some of it goes wrong on the way; and what is so is told beside it.
//!
//! * [`generator`]: the marketplace at work, record after record; its configuration
//! * [`population`]: who there is and who comes next, by [`curve`], the day's; [`person`]: what somebody is and has
//! * [`session`]: what is done in a visit: a script a role
//! * [`disorder`]: late, twice, changed, broken, out of order
//! * [`render`]: one event as bytes, its identifiers and times at fixed places
//! * [`truth`]: people, devices and events as they are
//! * [`batch`]: bodies of requests, rendered once and stamped anew, or pulled as they are due
//! * [`world`]: the tables: countries, networks, user agents, goods, names
//! * [`id`], [`rng`], [`zipf`]: names of things; random numbers; what is wanted often
//!
//! It has no clock (times are handed in, or follow from the start), opens nothing, and does not pace or send: `cli` and
//! `sim` do. It knows no attackers yet: they will be roles beside the others.

pub mod batch;
pub mod curve;
pub mod disorder;
pub mod generator;
pub mod id;
pub mod person;
pub mod population;
pub mod render;
pub mod rng;
pub mod session;
pub mod truth;
pub mod world;
pub mod zipf;

pub use batch::{Batch, Form};
pub use disorder::{Disorder, Kind, Malformation};
pub use generator::{GenConfig, GenError, Generator, Pace};
pub use id::{EventId, Visitor};
pub use render::{stamp_sent_at, stamp_time};
pub use rng::Rng;
pub use truth::{Introduction, Truth};
