//! Who does the work that nobody waits for.

/// Who writes snapshots, seals runs, and the like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Background {
    /// A thread of its own.
    Threads,
    /// Whoever has the work done, a little at each of its turns. For simulated worlds, where no thread may decide what
    /// happens next.
    Turns,
}
