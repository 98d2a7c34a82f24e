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
//! * [`driver`]: what happens in which order, for both kinds
//! * `deterministic`: records that are applied in order, and made again
//! * `recording`, `window`: records that wait for answers, and are finished out of order
//! * `stop`: why a stage stops
//!
//! It does no I/O, keeps no time and knows no operator beyond the trait.

mod deterministic;
pub mod driver;
mod recording;
mod stop;
mod window;

use event::Source;
use flow::{Batch, Effects, Operator};

pub use driver::{Action, Driver, Input, Phase, Planted, Restored, Settled};
pub use stop::Stop;

fn set_aside<O: Operator>(operator: &O, batch: &Batch, n: usize, out: &mut Effects) {
    out.position = Source::of(batch.input.topic, batch.input.partition, batch.entry(n).offset);
    operator.quarantine(batch, n, out);
}
