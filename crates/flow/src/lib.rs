//! The contract between an operator and whoever drives it: a batch comes in, asks go out, facts come back, effects and
//! changed state are committed together. Everything here is pure.
//!
//! * [`operator`]: the trait a stage implements
//! * [`batch`]: records of one input partition, in order
//! * [`ask`]: what a batch needs to know, deduplicated, and the facts that answer
//! * [`keyed`]: keyed state and timers, with an undo log per open commit, and its snapshots
//! * [`clocks`]: the two clocks a deterministic stage knows, as read from the log
//! * [`punctuation`]: what the owner of an input says about time, and when
//! * [`finished`]: positions above a committed one that are done
//! * [`effects`]: output records, with the rolling hash over them
//! * [`progress`]: what is committed beside a position
//!
//! It does not read or write a log, keep time, or know any operator.

pub mod ask;
pub mod batch;
pub mod clocks;
pub mod effects;
pub mod finished;
pub mod keyed;
pub mod operator;
pub mod progress;
pub mod punctuation;

pub use ask::{Answered, AskId, Asked, Asks, Fact, Facts, Notes, Planned, SourceId, Status};
pub use batch::{Batch, Entry};
pub use clocks::Clocks;
pub use effects::Effects;
pub use finished::Finished;
pub use keyed::Keyed;
pub use operator::{Kind, Operator, ROUNDS_MAX, Verdict, Version};
pub use progress::{Metadata, Progress};
pub use punctuation::Punctuation;
