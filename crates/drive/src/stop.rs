//! Why a stage stops.

use event::Offset;
use flow::Version;
use flow::progress::GUILTY_MAX;

/// When this many records in a row would be quarantined for panics, the stage stops instead (spec `events.md`).
pub(crate) const PANICS_MAX: u32 = 100;

/// Why a stage stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A record that the log's checksums call good is no record.
    Unreadable { offset: Offset },
    /// Metadata of another version stands beside the position.
    Metadata,
    /// So many records in a row made the operator panic that the fault is the operator's.
    Panics { last: Offset },
    /// More records were set aside since the last snapshot than a replay can know of.
    Guilty { last: Offset },
    /// What must be replayed was written by another version, or under another configuration.
    Version { snapshot: Offset, committed: Offset, wrote: Version, is: Version },
    /// Another committed for this input since: the state here is of the past. It can be restored anew.
    Overtaken { known: Offset, committed: Offset },
    /// The replay made other outputs than those that are stored.
    Diverged { from: Offset, to: Offset, stored: u64, made: u64 },
}

/// The word that `ouzel run` takes to go on after [`Stop::Version`] or [`Stop::Diverged`].
const ACCEPT: &str = "--accept-divergence";

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Unreadable { offset } => write!(
                f,
                "the record at {offset} cannot be read although its checksum is right; it was written by a newer version or by a bug"
            ),
            Stop::Metadata => {
                f.write_str("what stands beside the committed position was written by another version of this program")
            }
            Stop::Panics { last } => write!(
                f,
                "{PANICS_MAX} records in a row, up to {last}, made it fail; this is a bug in the program, not in the events, and nothing was set aside"
            ),
            Stop::Guilty { last } => write!(
                f,
                "more than {GUILTY_MAX} records, the last at {last}, made it fail since the last snapshot; this is a bug in the program, not in the events"
            ),
            Stop::Version { snapshot, committed, wrote, is } => write!(
                f,
                "its outputs from {snapshot} to {committed} were made by version {wrote}, and this is version {is}: they cannot be made again to rebuild its state. Start with the program and configuration of before and stop it with `ouzel savepoint --stop`, then start this one; or give {ACCEPT}, and it rebuilds its state as if it had always been this version"
            ),
            Stop::Overtaken { known, committed } => write!(
                f,
                "the committed position is {committed}, and the last that was committed from here is {known}: another process works on this partition"
            ),
            Stop::Diverged { from, to, stored, made } => write!(
                f,
                "replaying {from} to {to} made other outputs than those that are stored (hash {made:016x}, stored {stored:016x}): this program decides differently although its version number is the same. `ouzel explain divergence` names the first record that differs; {ACCEPT} goes on with what was made now"
            ),
        }
    }
}
