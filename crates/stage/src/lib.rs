//! Stages at work: they read a log, drive the state machines of their partitions, commit, and keep snapshots. All in turns
//! that never wait: `node` gives each stage a thread that does the waiting, `sim` decides itself who has the next turn.
//!
//! * [`turn`]: what a turn comes to, and what a commit's end means for it
//! * [`enrich`]: the recording stage; [`facts`]: answers what a batch asks; [`runs`]: dedup's older pairs on disk
//! * `inquiry`: what is waited for, and the box that answers come into
//! * [`lookahead`]: reads `raw` ahead for links between users and visitors
//! * `gap`: positions that hold nothing
//! * [`keyed`]: a deterministic stage, with its state and snapshots; [`hold`]: holds it still
//! * [`status`]: what others may know of a running stage
//!
//! It decides nothing about events: that is in the pure crates it drives. It does not know configurations or threads.

pub mod enrich;
pub mod facts;
mod gap;
pub mod hold;
mod inquiry;
pub mod keyed;
pub mod lookahead;
pub mod runs;
pub mod status;
pub mod turn;

pub use enrich::{EnrichParts, EnrichStage};
pub use keyed::{KeyedStage, KeyedWorld};
pub use status::{Committed, StageStatus, Trouble};
pub use turn::{Stage, Then, Turn};
