//! Named points at which tests kill the process, and bugs that tests plant to see that they are found.
//!
//! Without the feature `faults` every function here is a constant and the compiler removes the call. With it:
//!
//! * `OUZEL_KILL_AT=journal.frame.written:3` kills the process (SIGKILL) the third time it passes that point;
//! * `OUZEL_PLANT=ack_before_fsync` makes [`planted`] say yes for that bug.

/// Every named point, so that a test can visit each. `point` takes only these.
pub const POINTS: &[&str] = &[
    "door.parsed",
    "door.submitted",
    "door.acked",
    "journal.batch.taken",
    "journal.frame.before_write",
    "journal.frame.half_written",
    "journal.frame.written",
    "journal.frame.synced",
    "journal.published",
    "journal.segment.created",
    "journal.segment.synced",
    "journal.segment.retired",
    "enrich.fetched",
    "enrich.applied",
    "enrich.submitted",
    "enrich.committed",
    "sessions.applied",
    "sessions.submitted",
    "sessions.committed",
    "snapshot.taken",
    "dedup.run.written",
    "dedup.run.renamed",
    "dedup.merge.written",
    "dedup.merge.renamed",
    "input.submitted",
    "input.committed",
    "output.written",
    "output.synced",
];

/// A bug that a test plants. Each must be found by the run named beside it, or that run proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// The journal answers before its fsync (power loss).
    AckBeforeFsync,
    /// A new segment's directory entry is not synced (power loss).
    DirectorySyncSkipped,
    /// The journal writes a commit's positions in the frame before its outputs (kill loop).
    PositionApart,
    /// At start the last good frame is cut off too (kill loop).
    LostTail,
    /// Dedup takes the entry at its own position for an earlier one, off by one at restart (kill loop).
    DedupOffByOne,
    /// The sessions stage leaves out some updates although its version number is the same (replay).
    OtherDecisions,
    /// What a restart replays is committed once more (kill loop).
    ReplaySentTwice,
    /// A snapshot is taken for the state of the committed position, whatever its own is (kill loop).
    SnapshotWithoutPosition,
    /// A snapshot is restored without its timers (kill loop; often by the replay's hash).
    TimersLost,
    /// Events that are too late for every session are not told of (kill loop).
    LateForgotten,
    /// An event that joins two sessions extends one of them and leaves the other as it is (kill loop).
    MergeKeepsBoth,
    /// An input at its end holds the watermark (the end of a kill loop).
    IdleHoldsWatermark,
    /// The sessions stage fails on events of the type `poison` (no bug to be found: to see it set aside).
    PanicsOnEvent,
}

impl Bug {
    pub const ALL: [Bug; 13] = [
        Bug::AckBeforeFsync,
        Bug::DirectorySyncSkipped,
        Bug::PositionApart,
        Bug::LostTail,
        Bug::DedupOffByOne,
        Bug::OtherDecisions,
        Bug::ReplaySentTwice,
        Bug::SnapshotWithoutPosition,
        Bug::TimersLost,
        Bug::LateForgotten,
        Bug::MergeKeepsBoth,
        Bug::IdleHoldsWatermark,
        Bug::PanicsOnEvent,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Bug::AckBeforeFsync => "ack_before_fsync",
            Bug::DirectorySyncSkipped => "directory_sync_skipped",
            Bug::PositionApart => "position_apart",
            Bug::LostTail => "lost_tail",
            Bug::DedupOffByOne => "dedup_off_by_one",
            Bug::OtherDecisions => "other_decisions",
            Bug::ReplaySentTwice => "replay_sent_twice",
            Bug::SnapshotWithoutPosition => "snapshot_without_position",
            Bug::TimersLost => "timers_lost",
            Bug::LateForgotten => "late_forgotten",
            Bug::MergeKeepsBoth => "merge_keeps_both",
            Bug::IdleHoldsWatermark => "idle_holds_watermark",
            Bug::PanicsOnEvent => "panics_on_event",
        }
    }
}

#[cfg(not(feature = "faults"))]
mod imp {
    #[inline(always)]
    pub fn point(_name: &'static str) {}

    #[inline(always)]
    pub fn planted(_bug: super::Bug) -> bool {
        false
    }
}

#[cfg(feature = "faults")]
mod imp {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static KILL_AT: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var("OUZEL_KILL_AT").ok()?;
        let (name, n) = text.split_once(':').unwrap_or((&text, "1"));
        assert!(super::POINTS.contains(&name), "OUZEL_KILL_AT names no point: {name}");
        Some((name.to_owned(), n.parse().expect("OUZEL_KILL_AT=point:count")))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static PLANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("OUZEL_PLANT").ok());

    pub fn point(name: &'static str) {
        debug_assert!(super::POINTS.contains(&name), "a point that is not in POINTS: {name}");
        if let Some((at, n)) = &*KILL_AT
            && at == name
            && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *n
        {
            // SAFETY: kill has no memory effects; SIGKILL ends this process.
            unsafe {
                libc::kill(libc::getpid(), libc::SIGKILL);
            }
            loop {
                std::thread::park();
            }
        }
    }

    pub fn planted(bug: super::Bug) -> bool {
        PLANTED.as_deref() == Some(bug.name())
    }
}

/// Passes a named point; a test may have the process end here.
#[inline(always)]
pub fn point(name: &'static str) {
    imp::point(name);
}

/// Whether a test planted this bug.
#[inline(always)]
pub fn planted(bug: Bug) -> bool {
    imp::planted(bug)
}
