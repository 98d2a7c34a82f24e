//! Gives a stage a thread: its turns, the waiting between them, and what its member of a group is told.
//!
//! ```text
//!  poll ─► granted, revoked ─► a turn ─► a commit ─► its outcome, and news meanwhile ─► poll
//! ```
//! The same for both logs: the journal grants once, Kafka whenever workers come and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use door::http::Histogram;
use event::TopicPartition;
use log::{Assignment, Log, Membership, Outcome, Ticket};
use seam::Clock;
use stage::{Stage, StageStatus, Then, Trouble, Turn};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::seats::Seats;

/// How long a thread with nothing to do sleeps before it looks whether it is to stop, and what it has.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// How often a thread that waits for the outcome of its commit looks whether its partitions are another's.
const OUTCOME_WAIT: Duration = Duration::from_millis(20);
/// How long what is taken away may wait for the outcome of a commit that holds some of it: who is settled leaves more to the
/// next owner.
const REVOKED_WAIT: Duration = Duration::from_millis(250);
/// Between two tries of a commit that the log aborted for want of disk.
const FULL_WAIT: Duration = Duration::from_millis(200);
/// Between two batches of a stage whose state is at its bound.
const BOUND_WAIT: Duration = Duration::from_millis(100);
/// How often a stage that is held looks whether it was let go.
const HELD_WAIT: Duration = Duration::from_millis(5);
/// How often a member that was fenced looks what it has now.
const FENCED_WAIT: Duration = Duration::from_millis(5);
/// How long a member that is to stop waits for word of what it has, once it was fenced: what is not committed by then others
/// do again.
const FENCED_STOP: Duration = Duration::from_secs(1);
/// How long a worker that others went past stays away before it begins anew.
const OVERTAKEN_WAIT: Duration = Duration::from_secs(1);

/// What a worker needs beside its stage.
pub struct Post<'a> {
    pub log: &'a dyn Log,
    pub clock: &'a dyn Clock,
    pub status: &'a StageStatus,
    /// Who has which partitions, and which of the workers this is.
    pub seats: &'a Seats,
    pub number: usize,
    /// Rung when there is something for the stage that is not in the log.
    pub bell: &'a Notify,
    pub stop: &'a AtomicBool,
    pub commits: &'a Histogram,
    /// The least time from one commit to the next: each costs a log that is far away more than what is in it.
    pub pace: Duration,
}

/// What a worker works with.
pub struct Work<S> {
    pub stage: S,
    pub member: Box<dyn Membership>,
}

/// Runs until told to stop or until going on would be wrong; the latter is in the status and in the answer. `begin` makes the
/// stage and joins its group: again, where others work as well and went past this one. `granting` is told of partitions
/// before the stage has them.
pub fn run<S: Stage>(
    post: &Post<'_>,
    shared: bool,
    mut begin: impl FnMut() -> Result<Work<S>, String>,
    mut granting: impl FnMut(&[TopicPartition]) -> Result<(), String>,
) -> Result<(), String> {
    let result = loop {
        let mut turns = || {
            let Work { stage, member } = begin()?;
            let mut worker = Worker { post, stage, member, granting: &mut granting, mine: BTreeSet::new() };
            let ended = worker.turns();
            if shared {
                worker.leave();
            }
            ended
        };
        match turns() {
            Err(why) if shared && is_overtaken(&why) && !post.stop.load(Relaxed) => {
                tracing::warn!(why, "a worker was given up for dead, and others went on: it begins anew");
                std::thread::sleep(OVERTAKEN_WAIT);
            }
            ended => break ended,
        }
    };
    if let Err(reason) = &result {
        post.status.set_trouble(Some(Trouble { reason: reason.clone(), fatal: true }));
    }
    result
}

/// Whether a stage stopped because another process has gone on with its partition ([`drive::Stop::Overtaken`]): on a log that
/// others work on too this happens to whoever stood still for too long.
fn is_overtaken(why: &str) -> bool {
    why.contains("another process works on this partition")
}

struct Worker<'a, 'p, S, G> {
    post: &'a Post<'p>,
    stage: S,
    member: Box<dyn Membership>,
    granting: &'a mut G,
    mine: BTreeSet<TopicPartition>,
}

impl<S: Stage, G: FnMut(&[TopicPartition]) -> Result<(), String>> Worker<'_, '_, S, G> {
    fn turns(&mut self) -> Result<(), String> {
        // It waits for several things at once, and runs nothing.
        let waits = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let waits = waits.map_err(|e| format!("a stage cannot wait: {e}"))?;
        let mut changes = self.post.log.subscribe();
        let mut fenced_at = None;
        loop {
            self.news()?;
            let reading = !self.post.stop.load(Relaxed);
            match self.stage.turn(reading)? {
                Turn::Busy => {}
                Turn::Submitted(ticket) => {
                    let begun = self.post.clock.elapsed();
                    let outcome = self.outcome(ticket, &waits)?;
                    let left = (begun + self.post.pace).saturating_sub(self.post.clock.elapsed());
                    match self.stage.settle(outcome)? {
                        Then::GoOn => {
                            fenced_at = None;
                            // What comes meanwhile is in the next one.
                            std::thread::sleep(left);
                        }
                        // Told to stop, nobody waits for room: the next start does this batch again.
                        Then::NoRoom if !reading => return Ok(()),
                        Then::NoRoom => std::thread::sleep(FULL_WAIT),
                        // What it has now it will be told; until then the turns try in vain.
                        Then::Fenced => {
                            let now = self.post.clock.elapsed();
                            let since = *fenced_at.get_or_insert(now);
                            if !reading && now.saturating_sub(since) > FENCED_STOP {
                                break;
                            }
                            std::thread::sleep(FENCED_WAIT);
                        }
                    }
                }
                Turn::Idle if !reading => break,
                Turn::Idle | Turn::Waiting => waits.block_on(async {
                    tokio::select! {
                        // A log that has closed is told of by the next turn.
                        _ = changes.changed() => {}
                        () = self.post.bell.notified() => {}
                        () = tokio::time::sleep(IDLE_WAIT) => {}
                    }
                }),
                Turn::Crowded => std::thread::sleep(BOUND_WAIT),
                Turn::Held => std::thread::sleep(HELD_WAIT),
            }
        }
        self.stage.finish();
        Ok(())
    }

    /// Waits for the outcome of a commit, without a deadline of our own. What is taken away meanwhile is let go soon: the commit is
    /// fenced or is not, and is settled all the same.
    fn outcome(&mut self, mut ticket: Ticket, waits: &Runtime) -> Result<Outcome, String> {
        let begun = self.post.clock.elapsed();
        loop {
            let waited = waits.block_on(async { tokio::time::timeout(OUTCOME_WAIT, &mut ticket).await });
            let waited_for = self.post.clock.elapsed().saturating_sub(begun);
            if let Ok(outcome) = waited {
                self.post.commits.record(waited_for);
                return Ok(outcome);
            }
            if waited_for > REVOKED_WAIT {
                self.news()?;
            }
        }
    }

    /// Does what the group says.
    fn news(&mut self) -> Result<(), String> {
        let all = self.member.poll();
        if all.is_empty() {
            return Ok(());
        }
        for news in all {
            match news {
                Assignment::Granted { partitions, generation } => {
                    let new: Vec<_> = partitions.iter().copied().filter(|p| !self.mine.contains(p)).collect();
                    (self.granting)(&new)?;
                    self.stage.grant(&partitions, generation)?;
                    self.post.seats.take(self.post.number, &new, self.post.status);
                    self.mine.extend(partitions);
                }
                Assignment::Revoked { partitions } => self.revoke(&partitions),
            }
        }
        self.member.handled();
        Ok(())
    }

    fn revoke(&mut self, partitions: &[TopicPartition]) {
        self.stage.revoke(partitions);
        self.post.seats.leave(self.post.number, partitions, self.post.status);
        partitions.iter().for_each(|p| {
            self.mine.remove(p);
        });
    }

    /// What it still has is nobody's from here on.
    fn leave(&mut self) {
        let mine: Vec<_> = self.mine.iter().copied().collect();
        self.revoke(&mine);
    }
}
