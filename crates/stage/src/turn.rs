//! What a turn of a stage comes to.

use event::TopicPartition;
use log::{Aborted, Generation, Outcome, Ticket};

/// A stage at work.
pub trait Stage {
    /// Does a little, and never waits. `reading`: else what is on its way is finished, and nothing new is begun.
    ///
    /// # Errors
    /// Why going on would be wrong.
    fn turn(&mut self, reading: bool) -> Result<Turn, String>;

    /// The commit of [`Turn::Submitted`] ended so.
    ///
    /// # Errors
    /// Why going on would be wrong.
    fn settle(&mut self, outcome: Outcome) -> Result<Then, String>;

    /// These partitions are its own from now on, under this generation. Those it has already stay as they are.
    ///
    /// # Errors
    /// Why they cannot be taken over.
    fn grant(&mut self, partitions: &[TopicPartition], generation: Generation) -> Result<(), String>;

    /// These are another's. What is open for them is dropped; a commit that is on its way is fenced or is not, and is still
    /// to be settled.
    fn revoke(&mut self, partitions: &[TopicPartition]);

    /// Leaves the stage as the next start finds it best. For a stage that is [`Turn::Idle`] and reads no more.
    fn finish(&mut self);
}

/// What a turn came to.
pub enum Turn {
    /// Something was done, and there may be more.
    Busy,
    /// A commit is on its way: [`Stage::settle`] is next.
    Submitted(Ticket),
    /// There is nothing to do until the log changes or some time has passed.
    Idle,
    /// The same, or until an answer comes: something is begun that is to be finished.
    Waiting,
    /// Something was done, and the state is at its bound: the stage is to slow down.
    Crowded,
    /// The stage is held, and has told of a snapshot of all its partitions. It does nothing until it is let go.
    Held,
}

/// What to do after a commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    GoOn,
    /// There was no room for it: wait for some. The next turns try it again.
    NoRoom,
    /// The partitions are another's now, or the generation is over: ask the log what this member has.
    Fenced,
}

/// How a commit ended, for the driver and for whoever gives the turns; `Err`: why it can never be made.
pub(crate) fn ended(outcome: &Outcome) -> Result<(drive::Settled, Then), &Aborted> {
    use drive::Settled;
    match outcome {
        Outcome::Committed(_) => Ok((Settled::Committed, Then::GoOn)),
        Outcome::Unknown => Ok((Settled::Unknown, Then::GoOn)),
        Outcome::Aborted(Aborted::Full(_)) => Ok((Settled::Aborted, Then::NoRoom)),
        Outcome::Aborted(Aborted::Retriable) => Ok((Settled::Aborted, Then::GoOn)),
        Outcome::Aborted(Aborted::Fenced) => Ok((Settled::Aborted, Then::Fenced)),
        Outcome::Aborted(why @ (Aborted::Closed | Aborted::Invalid(_))) => Err(why),
    }
}
