//! The state machine of a stage for one input partition: recovery, batches, asks, commits and their outcomes. Events go
//! in, actions come out; the real and the simulated world drive the same code.
//!
//! ```text
//! Starting --Position--> Replaying --at the committed position--> Running <--Position-- Settling
//!                                                                    |                     ^
//!                                                                    +--Unknown, Aborted---+
//! ```
//! A recording stage replays to rebuild what it observed; a deterministic one makes its state and outputs again, and
//! compares the outputs with what is stored by their rolling hash.
//!
//! It does no I/O, keeps no time and knows no operator beyond the trait.

mod driver;

pub use driver::{Action, Driver, Input, Phase, Planted, Restored, Settled, Stop};
