//! Commits of one input, one after another: events, dead letters and the position behind them, all or nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use log::{Aborted, Commit, Log, Outcome, Ticket};
use seam::fault;

use super::error::InputError;
use super::identity::GROUP;
use super::{Progress, pause};

/// First and longest wait before a commit that the log aborted is submitted again.
const RETRY_FIRST: Duration = Duration::from_millis(2);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// How often a commit is tried again after the run was stopped.
const ATTEMPTS_WHEN_STOPPED: u32 = 3;

/// Hands commits to the log and sees each through to its end.
///
/// IMPORTANT: one commit is in flight at a time. The log may abort one and take the next, whose position would then
/// pass over events that are not stored. While one is being written the next is gathered, so that the log still never
/// waits for an input that has more.
pub(super) struct Committer<'a> {
    log: &'a Arc<dyn Log>,
    progress: &'a Progress,
    stop: &'a AtomicBool,
    in_flight: Option<InFlight>,
    /// A commit was given up.
    ///
    /// IMPORTANT: nothing may be committed after it. The next commit's position would pass over the events of this one,
    /// and where it is smaller it may find the room that this one did not.
    given_up: bool,
    /// Accepted and refused, in all that was committed.
    pub accepted: u64,
    pub refused: u64,
}

struct InFlight {
    commit: Commit,
    ticket: Ticket,
    accepted: u64,
    refused: u64,
}

/// How a commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    Committed,
    /// The log did not take it, and the run was stopped: nothing of it happened.
    GivenUp,
}

impl<'a> Committer<'a> {
    pub fn new(log: &'a Arc<dyn Log>, progress: &'a Progress, stop: &'a AtomicBool) -> Committer<'a> {
        Committer { log, progress, stop, in_flight: None, given_up: false, accepted: 0, refused: 0 }
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// Submits a commit. The one before must be settled.
    pub fn submit(&mut self, commit: Commit, accepted: u64, refused: u64) {
        assert!(self.in_flight.is_none(), "two commits of one input in flight");
        assert!(!self.given_up, "a commit behind one that was given up");
        let ticket = self.log.submit(commit.clone());
        fault::point("input.submitted");
        self.in_flight = Some(InFlight { commit, ticket, accepted, refused });
    }

    /// Settles the commit in flight if its outcome is known.
    pub fn poll(&mut self) -> Result<Settled, InputError> {
        match self.in_flight.as_mut().map(|f| f.ticket.try_take()) {
            Some(Some(outcome)) => self.settle(outcome),
            None if self.given_up => Ok(Settled::GivenUp),
            None | Some(None) => Ok(Settled::Committed),
        }
    }

    /// Waits for the outcome of the commit in flight and settles it.
    pub fn wait(&mut self) -> Result<Settled, InputError> {
        let Some(in_flight) = &mut self.in_flight else {
            return Ok(if self.given_up { Settled::GivenUp } else { Settled::Committed });
        };
        let (_, empty) = Ticket::new();
        let outcome = std::mem::replace(&mut in_flight.ticket, empty).wait();
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Outcome) -> Result<Settled, InputError> {
        let InFlight { commit, accepted, refused, .. } = self.in_flight.take().expect("an outcome of something");
        let mut outcome = outcome;
        let mut delay = RETRY_FIRST;
        let mut attempts_left = ATTEMPTS_WHEN_STOPPED;
        loop {
            match outcome {
                Outcome::Committed(_) => break,
                Outcome::Unknown if self.happened(&commit)? => break,
                Outcome::Unknown => {}
                Outcome::Aborted(Aborted::Retriable) => {}
                Outcome::Aborted(Aborted::Full(what)) => {
                    // Said once, not with every attempt; the log itself has warned.
                    if self.progress.wait_for(Some(&what)) {
                        tracing::info!(%what, "the log is full: reading waits and goes on by itself when there is room");
                    }
                    delay = RETRY_MAX;
                }
                Outcome::Aborted(aborted) => return Err(InputError::Refused(aborted)),
            }
            if self.stop.load(Ordering::Relaxed) {
                attempts_left -= 1;
                if attempts_left == 0 || self.progress.waiting().is_some() {
                    self.given_up = true;
                    return Ok(Settled::GivenUp);
                }
            }
            pause(delay, self.stop);
            delay = (delay * 2).min(RETRY_MAX);
            outcome = self.log.submit(commit.clone()).wait();
        }
        self.progress.wait_for(None);
        self.accepted += accepted;
        self.refused += refused;
        self.progress.accepted.fetch_add(accepted, Ordering::Relaxed);
        self.progress.refused.fetch_add(refused, Ordering::Relaxed);
        fault::point("input.committed");
        Ok(Settled::Committed)
    }

    /// Whether a commit with an unknown outcome happened. Each of an input's commits moves its position, so the stored
    /// one tells. A stream has none: it is submitted again, and where it had happened its ids make it a duplicate.
    fn happened(&self, commit: &Commit) -> Result<bool, InputError> {
        let Some(position) = commit.positions.first() else { return Ok(false) };
        let stored = self.log.committed(GROUP, &position.input)?;
        Ok(stored.is_some_and(|s| s.next == position.next))
    }
}
