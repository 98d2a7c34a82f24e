//! Named points at which tests kill the process, and bugs that tests plant to see that they are found.
//!
//! Without the feature `faults` every function here is a constant and the compiler removes the call. With it:
//!
//! * `OUZEL_KILL_AT=journal.frame.written:3` kills the process (SIGKILL) the third time it passes that point;
//! * `OUZEL_PLANT=ack_before_fsync` makes [`planted`] say yes for that bug.
//!
//! A simulated world, many of which share a process, says the same for its own thread: [`plant_here`], [`on_point`].

use std::marker::PhantomData;

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
    /// What an aborted commit changed in the keyed state is kept (simulation).
    OverlayKept,
    /// What a commit of unknown outcome changed is undone although it happened (simulation).
    OverlayDropped,
    /// Timers fire at the end of a batch only (simulation).
    BatchCuts,
    /// Timers that are due at once fire in the order of a hash map (simulation).
    MapOrderLeaks,
    /// An event does not wait for an earlier one of its visitor that waits for an answer (simulation).
    OrderIgnored,
    /// What is finished above the committed position is not committed with it (simulation).
    FinishedForgotten,
    /// An answer that comes when its attempt is over is taken for another call's (simulation, life of an ask).
    LateReplyWritten,
    /// A call that is given up keeps its permit (simulation, life of an ask).
    PermitLeaked,
    /// Whoever cancels an ask takes all others with him who wait for the same key (simulation, life of an ask).
    FollowerCancelledWithLeader,
    /// Positions are committed beside the transaction that their outputs are in (Kafka stories).
    PositionsOutside,
    /// After a commit whose outcome is not known the same producer goes on, and nothing is settled (Kafka stories).
    ProducerReused,
    /// A snapshot from before the topics were made anew is left where it may be taken for one of now (Kafka stories).
    SnapshotOfAnotherEpoch,
    /// The sessions stage fails on events of the type `poison` (no bug to be found: to see it set aside).
    PanicsOnEvent,
}

impl Bug {
    pub const ALL: [Bug; 25] = [
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
        Bug::OverlayKept,
        Bug::OverlayDropped,
        Bug::BatchCuts,
        Bug::MapOrderLeaks,
        Bug::OrderIgnored,
        Bug::FinishedForgotten,
        Bug::LateReplyWritten,
        Bug::PermitLeaked,
        Bug::FollowerCancelledWithLeader,
        Bug::PositionsOutside,
        Bug::ProducerReused,
        Bug::SnapshotOfAnotherEpoch,
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
            Bug::OverlayKept => "overlay_kept",
            Bug::OverlayDropped => "overlay_dropped",
            Bug::BatchCuts => "batch_cuts",
            Bug::MapOrderLeaks => "map_order_leaks",
            Bug::OrderIgnored => "order_ignored",
            Bug::FinishedForgotten => "finished_forgotten",
            Bug::LateReplyWritten => "late_reply_written",
            Bug::PermitLeaked => "permit_leaked",
            Bug::PositionsOutside => "positions_outside",
            Bug::ProducerReused => "producer_reused",
            Bug::SnapshotOfAnotherEpoch => "snapshot_of_another_epoch",
            Bug::FollowerCancelledWithLeader => "follower_cancelled_with_leader",
            Bug::PanicsOnEvent => "panics_on_event",
        }
    }
}

/// What is called at every point, with its name.
pub type Hook = Box<dyn FnMut(&'static str)>;

/// While it is there, a thread has another bug planted or another hook; dropped, what was before is so again. Guards of
/// one thread are dropped newest first.
#[must_use = "it ends when this is dropped"]
pub struct Here {
    _before: imp::Before,
    /// It is this thread's.
    _thread: PhantomData<*const ()>,
}

#[cfg(not(feature = "faults"))]
mod imp {
    pub type Before = ();

    #[inline(always)]
    pub fn point(_name: &'static str) {}

    #[inline(always)]
    pub fn planted(_bug: super::Bug) -> bool {
        false
    }

    #[inline(always)]
    pub fn plant_here(_bug: Option<super::Bug>) -> Before {}

    #[inline(always)]
    pub fn on_point(_hook: Option<super::Hook>) -> Before {}
}

#[cfg(feature = "faults")]
mod imp {
    use std::cell::{Cell, RefCell};
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Bug, Hook};

    static KILL_AT: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var("OUZEL_KILL_AT").ok()?;
        let (name, n) = text.split_once(':').unwrap_or((&text, "1"));
        assert!(super::POINTS.contains(&name), "OUZEL_KILL_AT names no point: {name}");
        Some((name.to_owned(), n.parse().expect("OUZEL_KILL_AT=point:count")))
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);
    static PLANTED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("OUZEL_PLANT").ok());

    thread_local! {
        /// `None`: as the environment says.
        static PLANTED_HERE: Cell<Option<Option<Bug>>> = const { Cell::new(None) };
        /// Whether there is a hook: it needs no destructor, so that looking costs a read and nothing else.
        static HOOKED: Cell<bool> = const { Cell::new(false) };
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// What was there before, to be put back.
    pub enum Before {
        Planted(Option<Option<Bug>>),
        Hook(Option<Hook>),
    }

    impl Drop for Before {
        fn drop(&mut self) {
            match self {
                Before::Planted(before) => PLANTED_HERE.set(*before),
                Before::Hook(before) => drop(hook(before.take())),
            }
        }
    }

    pub fn plant_here(bug: Option<Bug>) -> Before {
        Before::Planted(PLANTED_HERE.replace(Some(bug)))
    }

    pub fn on_point(new: Option<Hook>) -> Before {
        Before::Hook(hook(new))
    }

    /// Sets the hook and gives the one there was.
    fn hook(new: Option<Hook>) -> Option<Hook> {
        HOOKED.set(new.is_some());
        HOOK.replace(new)
    }

    pub fn point(name: &'static str) {
        debug_assert!(super::POINTS.contains(&name), "a point that is not in POINTS: {name}");
        if HOOKED.get() {
            // Taken out while it runs, so that points which it passes itself call nobody; put back also when it panics.
            let mut taken = on_point(None);
            if let Before::Hook(Some(hook)) = &mut taken {
                hook(name);
            }
        }
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

    pub fn planted(bug: Bug) -> bool {
        match PLANTED_HERE.get() {
            Some(here) => here == Some(bug),
            None => PLANTED.as_deref() == Some(bug.name()),
        }
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

/// Plants a bug, or none, for this thread: what the environment says does not count here then.
#[inline(always)]
pub fn plant_here(bug: Option<Bug>) -> Here {
    Here { _before: imp::plant_here(bug), _thread: PhantomData }
}

/// Has `hook` called whenever this thread passes a point, or nobody. It may panic, to end what it calls a process there:
/// locks that are held then are poisoned, so nothing of that process is to be used again. Points that it passes itself do
/// not call it.
#[inline(always)]
pub fn on_point(hook: Option<Hook>) -> Here {
    Here { _before: imp::on_point(hook), _thread: PhantomData }
}

#[cfg(all(test, feature = "faults"))]
mod tests {
    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::rc::Rc;

    use super::*;

    #[test]
    fn what_is_planted_here_is_planted_on_this_thread_until_the_guard_is_dropped() {
        assert!(!planted(Bug::LostTail));
        let outer = plant_here(Some(Bug::LostTail));
        assert!(planted(Bug::LostTail) && !planted(Bug::TimersLost));
        assert!(!std::thread::spawn(|| planted(Bug::LostTail)).join().expect("it ends well"));
        {
            let _inner = plant_here(Some(Bug::TimersLost));
            assert!(planted(Bug::TimersLost) && !planted(Bug::LostTail), "one at a time");
            let _none = plant_here(None);
            assert!(!planted(Bug::TimersLost));
        }
        assert!(planted(Bug::LostTail));
        drop(outer);
        assert!(Bug::ALL.into_iter().all(|bug| !planted(bug)));
    }

    #[test]
    fn what_is_planted_here_decides_alone() {
        // The environment is read once a process, so it is another process that has it.
        const ASKED: &str = "fault::tests::what_is_planted_here_decides_alone";
        if std::env::var_os("OUZEL_PLANT").is_some() {
            assert!(planted(Bug::LostTail), "as the environment says");
            for here in [None, Some(Bug::TimersLost)] {
                let _guard = plant_here(here);
                assert!(!planted(Bug::LostTail));
            }
            assert!(planted(Bug::LostTail));
            return;
        }
        let this = std::env::current_exe().expect("a path");
        let out = std::process::Command::new(this)
            .args(["--exact", ASKED])
            .env("OUZEL_PLANT", Bug::LostTail.name())
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn a_hook_is_called_at_the_points_of_its_thread_until_the_guard_is_dropped() {
        let passed = Rc::new(RefCell::new(Vec::new()));
        let noting = |who: &'static str| -> Hook {
            let passed = passed.clone();
            Box::new(move |name| {
                // Its own points call nobody.
                point("door.acked");
                passed.borrow_mut().push((who, name));
            })
        };
        point("door.parsed");
        let outer = on_point(Some(noting("outer")));
        point("door.parsed");
        std::thread::spawn(|| point("door.acked")).join().expect("it ends well");
        {
            let _inner = on_point(Some(noting("inner")));
            point("door.submitted");
            let _nobody = on_point(None);
            point("door.submitted");
        }
        point("door.acked");
        drop(outer);
        point("door.parsed");
        let all = [("outer", "door.parsed"), ("inner", "door.submitted"), ("outer", "door.acked")];
        assert_eq!(*passed.borrow(), all);
    }

    #[test]
    fn a_hook_that_panics_is_there_again_and_its_payload_arrives() {
        #[derive(PartialEq, Debug)]
        struct Killed(u32);
        let mut passed = 0;
        let guard = on_point(Some(Box::new(move |_| {
            passed += 1;
            if passed == 2 {
                resume_unwind(Box::new(Killed(passed)));
            }
        })));
        let process = || (0..10).for_each(|_| point("journal.frame.written"));
        let ended = catch_unwind(AssertUnwindSafe(process)).expect_err("it is ended");
        assert_eq!(ended.downcast_ref(), Some(&Killed(2)));
        catch_unwind(AssertUnwindSafe(process)).expect("what is started again goes on counting");
        drop(guard);
    }
}
