//! What proves the rest. A ledger writes down what was sent and what was acknowledged, a naive model says what must have
//! come of it, and the laws compare; loops that kill the process, and machines that lose what was not synced, make it
//! hard to keep them.
//!
//! * [`ledger`]: intents before sending, acknowledgements after; the producer that makes both, with files or in memory
//! * [`outputs`]: what the public reader, or a log, gives back, reduced to what the laws need
//! * [`model`]: the naive recomputation of what must be in the outputs
//! * [`sessions`]: the naive recomputation of sessions; [`told`]: what was said of them
//! * [`laws`]: L1 to L8, each written once
//! * [`storm`]: the kill loop and the power-loss loop on a program in a process of its own
//! * [`fs`]: files in memory that lose what was not synced, fill up, fail and rot
//! * [`platter`]: what was on the disk of a real program when its power went, by a preloaded library
//! * [`http`]: the client these use
//! * [`world`]: time and chance that come from a seed, and the story of a run
//!
//! It knows nothing of the program's inside: what it checks came through public doors, or is in the log. A test that drives it picks the
//! binary, the number of cycles and the points.

pub mod fs;
pub mod http;
pub mod laws;
pub mod ledger;
pub mod model;
pub mod outputs;
pub mod platter;
pub mod sessions;
pub mod storm;
pub mod told;
pub mod world;
