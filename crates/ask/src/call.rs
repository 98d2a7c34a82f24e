//! Calls: what is on its way to the source, how it ends, and whether it is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::breaker::Pass;
use crate::desk::{Action, Desk, End, Planted};
use crate::flight::Stage;
use crate::timers::Due;
use crate::{Code, Entry, Key, Tier, Value, derive};

/// A call, with all its attempts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// What the source said of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// JSON.
    Value(Arc<[u8]>),
    NotFound,
    /// It cannot say, and will not be able to when it is asked again.
    Bad(Code),
    /// Its own attempt failed while others were answered: it is tried again as after a failed call.
    Failed(Failure),
}

/// Why an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    pub kind: FailureKind,
    /// How long the source wants to be left alone, in microseconds.
    pub retry_after_us: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    Timeout,
    /// Refused, reset, or not found.
    Connection,
    /// An HTTP status, or what a source has for it, other than success.
    Status(u16),
    /// The answer is longer than is read.
    TooLarge,
    /// The answer is not what the source's format says.
    Malformed,
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Failure {
        Failure { kind, retry_after_us: None }
    }
}

impl Failure {
    /// Whether the same call can succeed later. Who limits us says when, else he is not asked again.
    pub fn may_retry(self) -> bool {
        match self.kind {
            FailureKind::Timeout | FailureKind::Connection | FailureKind::Status(500..) => true,
            FailureKind::Status(429) => self.retry_after_us.is_some(),
            FailureKind::Status(_) | FailureKind::TooLarge | FailureKind::Malformed => false,
        }
    }

    /// Whether one of several keys may be to blame, and the others can be had without it.
    fn may_split(self) -> bool {
        match self.kind {
            FailureKind::TooLarge | FailureKind::Malformed => true,
            FailureKind::Status(status) => (400..500).contains(&status) && !matches!(status, 401 | 403 | 429),
            FailureKind::Timeout | FailureKind::Connection => false,
        }
    }

    /// Whether the source is unwell, rather than the question wrong.
    fn is_unwell(self) -> bool {
        match self.kind {
            FailureKind::Timeout | FailureKind::Connection | FailureKind::Malformed => true,
            FailureKind::Status(status) => status == 429 || status >= 500,
            FailureKind::TooLarge => false,
        }
    }

    pub fn code(self) -> Code {
        match self.kind {
            FailureKind::Timeout => Code::Timeout,
            FailureKind::Connection => Code::Connection,
            FailureKind::Status(429) => Code::RateLimited,
            FailureKind::Status(500..) => Code::Unavailable,
            FailureKind::Status(_) => Code::Refused,
            FailureKind::TooLarge => Code::TooLarge,
            FailureKind::Malformed => Code::Malformed,
        }
    }
}

pub(crate) struct Call {
    pub keys: Vec<Key>,
    pub attempt: u32,
    pub state: State,
    /// Why the last attempt failed, if there was one.
    failure: Option<Failure>,
    /// When the first attempt was made: what it answers is no newer.
    started_at: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum State {
    Open {
        pass: Pass,
        since: u64,
        give_up_at: u64,
    },
    BackOff {
        until: u64,
    },
    /// Waits for a permit.
    Ready,
}

impl Desk {
    /// The source answered an attempt, each key by itself and in any order. Of a key named twice the first counts; keys that
    /// were not asked for are nobody's; those of which nothing is said have failed for
    /// good.
    pub fn answered(&mut self, now: u64, id: CallId, attempt: u32, answers: Vec<(Key, Answer)>) {
        let now = self.advance(now);
        let mut id = id;
        if !self.is_open(id, attempt) {
            self.counters.ignored += 1;
            let other = self.calls.iter().find(|(_, call)| matches!(call.state, State::Open { .. }));
            match other {
                Some((other, _)) if self.planted == Some(Planted::LateReplyWritten) => id = *other,
                _ => return,
            }
        }
        // Of a source that is asked key by key, this is as many attempts as keys: the call is what most of them were.
        let unwell =
            answers.iter().filter(|(_, answer)| matches!(answer, Answer::Failed(failure) if failure.is_unwell()));
        let good = 2 * unwell.count() <= answers.len();
        let mut call = self.end(now, id, good);
        let by_place = matches!(self.planted, Some(Planted::AnswersByPlace | Planted::LateReplyWritten));
        let mut by_key: BTreeMap<Key, Answer> = BTreeMap::new();
        if by_place {
            by_key = call.keys.iter().cloned().zip(answers.into_iter().map(|(_, answer)| answer)).collect();
        } else {
            for (key, answer) in answers {
                by_key.entry(key).or_insert(answer);
            }
        }
        let mut failed = Vec::new();
        for key in std::mem::take(&mut call.keys) {
            let value = match by_key.remove(&key) {
                Some(Answer::Value(json)) => Value::Found(json),
                Some(Answer::NotFound) => Value::NotFound,
                Some(Answer::Bad(code)) => Value::Failed(code),
                Some(Answer::Failed(failure)) if failure.kind == FailureKind::Status(404) => Value::NotFound,
                Some(Answer::Failed(failure)) => {
                    failed.push((key, failure));
                    continue;
                }
                None => {
                    self.counters.source.misses += 1;
                    self.finish(now, &key, &End::Failed(Code::Unanswered), false);
                    continue;
                }
            };
            self.land(now, &key, value, call.started_at);
        }
        if !failed.is_empty() {
            self.counters.failed += 1;
            self.try_again(now, id, call, failed);
        }
        self.pump(now);
    }

    /// An attempt failed.
    pub fn failed(&mut self, now: u64, id: CallId, attempt: u32, failure: Failure) {
        let now = self.advance(now);
        if self.is_open(id, attempt) {
            self.fail(now, id, failure);
        } else {
            self.counters.ignored += 1;
        }
        self.pump(now);
    }

    /// Sends what may be sent: first what was sent before or is in halves, then a bulk of new keys.
    pub(crate) fn send_calls(&mut self, now: u64) {
        loop {
            if self.ready.is_empty() && self.queue.is_empty() {
                return;
            }
            if !self.breaker.admits(now) {
                return self.refuse_all(now);
            }
            if self.calls_due_at(now).is_none_or(|due| due > now) {
                return;
            }
            let id = self.ready.pop_front().unwrap_or_else(|| {
                let keys = self.queue.take(self.config.bulk);
                self.new_call(keys, None)
            });
            self.open(now, id);
        }
    }

    /// When the next call may be sent; `None`: not before a permit comes back.
    pub(crate) fn calls_due_at(&self, now: u64) -> Option<u64> {
        if !self.bulkhead.has_room() {
            return None;
        }
        let due = match self.ready.is_empty() {
            true => self.queue.due_at(self.config.bulk, self.config.bulk_wait_us)?,
            false => now,
        };
        Some(self.bucket.as_ref().map_or(due, |bucket| due.max(bucket.ready_at(now))))
    }

    /// A call of these keys, whose flights fly with it from now on.
    fn new_call(&mut self, keys: Vec<Key>, failure: Option<Failure>) -> CallId {
        self.call_seq += 1;
        let id = CallId(self.call_seq);
        for key in &keys {
            self.flights.get_mut(key).expect("a key that waits has a flight").stage = Stage::Flying(id);
        }
        self.calls.insert(id, Call { keys, attempt: 0, state: State::Ready, failure, started_at: 0 });
        id
    }

    fn open(&mut self, now: u64, id: CallId) {
        let call = self.calls.get_mut(&id).expect("what is ready is a call");
        let until = call.keys.iter().filter_map(|key| self.flights.get(key)?.until()).max();
        let give_up_at = until.unwrap_or(now).saturating_add(self.config.late_us);
        let pass = self.breaker.enter(now).expect("it was asked whether it admits");
        self.bulkhead.enter();
        if let Some(bucket) = &mut self.bucket {
            bucket.take(now);
        }
        if call.attempt == 0 {
            call.started_at = now;
        }
        call.state = State::Open { pass, since: now, give_up_at };
        self.counters.calls += 1;
        self.counters.retries += u64::from(call.attempt > 0);
        let (keys, attempt) = (call.keys.clone(), call.attempt);
        self.timers.set(give_up_at, Due::Call(id));
        self.actions.push_back(Action::Call { call: id, attempt, keys, give_up_at });
    }

    /// The time of a call's timer has come: nobody answered, or it is to be made again.
    pub(crate) fn call_is_due(&mut self, now: u64, id: CallId) {
        let call = self.calls.get_mut(&id).expect("a call takes its timer with it");
        match call.state {
            State::Open { .. } => {
                self.actions.push_back(Action::Drop { call: id });
                self.fail(now, id, FailureKind::Timeout.into());
            }
            State::BackOff { .. } => {
                call.state = State::Ready;
                self.ready.push_back(id);
            }
            State::Ready => unreachable!("what is ready has no timer"),
        }
    }

    /// Whether the call still serves the key if nobody waits for it any more.
    pub(crate) fn is_under_way(&self, id: CallId) -> bool {
        self.calls.get(&id).is_some_and(|call| matches!(call.state, State::Open { .. }))
    }

    /// Takes a key out of a call that is not open.
    pub(crate) fn take_out(&mut self, id: CallId, key: &[u8]) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.keys.retain(|k| **k != *key);
        if call.keys.is_empty() {
            if let State::BackOff { until } = call.state {
                self.timers.clear(until, Due::Call(id));
            }
            self.ready.retain(|ready| *ready != id);
            self.calls.remove(&id);
        }
    }

    fn is_open(&self, id: CallId, attempt: u32) -> bool {
        self.calls.get(&id).is_some_and(|call| call.attempt == attempt) && self.is_under_way(id)
    }

    /// Ends an attempt: its permit, its timer and its pass are given back.
    fn end(&mut self, now: u64, id: CallId, good: bool) -> Call {
        let call = self.calls.remove(&id).expect("an open call");
        if let State::Open { pass, since, give_up_at } = call.state {
            let gave_up = now >= give_up_at;
            if !(gave_up && self.planted == Some(Planted::PermitLeaked)) {
                self.bulkhead.leave();
            }
            self.breaker.leave(now, pass, good, now - since);
            self.timers.clear(give_up_at, Due::Call(id));
        }
        call
    }

    fn fail(&mut self, now: u64, id: CallId, failure: Failure) {
        let mut call = self.end(now, id, !failure.is_unwell());
        if failure.kind == FailureKind::Status(404) {
            call.keys.iter().for_each(|key| self.land(now, key, Value::NotFound, call.started_at));
            return;
        }
        self.counters.failed += 1;
        if failure.may_split() && call.keys.len() > 1 {
            let right = call.keys.split_off(call.keys.len() / 2);
            for half in [call.keys, right] {
                let half = self.new_call(half, Some(failure));
                self.ready.push_back(half);
            }
            self.leave_abandoned(now);
            return;
        }
        let failed = std::mem::take(&mut call.keys).into_iter().map(|key| (key, failure)).collect();
        self.try_again(now, id, call, failed);
    }

    /// The keys of an attempt that failed, each with why: those that can succeed later go on together, as the same call, after
    /// the longest of their pauses.
    fn try_again(&mut self, now: u64, id: CallId, mut call: Call, failed: Vec<(Key, Failure)>) {
        let may = call.attempt + 1 < self.config.attempts_max && self.breaker.admits(now);
        let (again, over): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(_, failure)| may && failure.may_retry());
        over.iter().for_each(|(key, failure)| self.finish(now, key, &End::of(*failure), false));
        let Some((first, _)) = again.first() else { return };
        let pauses = again.iter().map(|(_, failure)| self.pause_us(first, call.attempt, *failure));
        let again_at = now + pauses.max().expect("there is a first");
        // Who will be gone by then need not wait for his deadline.
        for (key, failure) in again {
            if self.finish_until(now, &key, again_at, &End::of(failure)) {
                call.keys.push(key);
                call.failure = Some(failure);
            }
        }
        if call.keys.is_empty() {
            return;
        }
        call.attempt += 1;
        call.state = State::BackOff { until: again_at };
        let id = match self.planted {
            Some(Planted::RetryUnderNewId) => {
                self.call_seq += 1;
                let new = CallId(self.call_seq);
                for key in &call.keys {
                    self.flights.get_mut(key).expect("it is retried").stage = Stage::Flying(new);
                }
                new
            }
            _ => id,
        };
        self.timers.set(again_at, Due::Call(id));
        self.calls.insert(id, call);
    }

    /// Full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015): anything up to a bound that doubles.
    fn pause_us(&self, key: &Key, attempt: u32, failure: Failure) -> u64 {
        let config = &self.config;
        let bound = config.back_off_us.saturating_mul(1 << attempt.min(30)).min(config.back_off_max_us);
        let pause = derive(config.seed, key, u64::from(attempt)) % (bound + 1);
        // A source that wants to be left alone for an hour is not waited for in any case.
        pause.max(failure.retry_after_us.unwrap_or(0).min(1 << 40))
    }

    /// Halves of a call need not be asked for if nobody waits for any of their keys.
    fn leave_abandoned(&mut self, now: u64) {
        let ids: Vec<CallId> = self.ready.iter().copied().collect();
        for id in ids {
            let keys = self.calls.get(&id).map(|call| call.keys.clone()).unwrap_or_default();
            keys.iter().for_each(|key| self.leave_if_unwanted(now, key));
        }
    }

    /// What the source said of a key goes to those who wait and to the caches.
    fn land(&mut self, now: u64, key: &Key, value: Value, asked_at: u64) {
        match value {
            Value::Found(_) => self.counters.source.hits += 1,
            _ => self.counters.source.negative += 1,
        }
        let entry = Entry::new(value, asked_at, &self.config.ttls, self.config.seed, key);
        if self.flights.get(key).is_some_and(|flight| flight.askers.is_empty() && flight.refresh.is_none()) {
            self.counters.late += 1;
        }
        self.remember(now, key, &entry, true);
        self.finish(now, key, &End::Entry(entry, Tier::Source), true);
    }

    /// The breaker is open: nobody waits for a call any more.
    fn refuse_all(&mut self, now: u64) {
        while let Some(id) = self.ready.pop_front() {
            let call = self.calls.remove(&id).expect("what is ready is a call");
            let end = call.failure.map_or(End::Open, End::of);
            call.keys.iter().for_each(|key| self.finish(now, key, &end, false));
        }
        for key in self.queue.take(usize::MAX) {
            self.finish(now, &key, &End::Open, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_succeed_is_tried_again() {
        let status = |status, retry_after_us| Failure { kind: FailureKind::Status(status), retry_after_us };
        let cases: [(Failure, bool, bool, bool, &str); 11] = [
            // Retried, split, unwell, code.
            (FailureKind::Timeout.into(), true, false, true, "timeout"),
            (FailureKind::Connection.into(), true, false, true, "connection"),
            (FailureKind::TooLarge.into(), false, true, false, "too_large"),
            (FailureKind::Malformed.into(), false, true, true, "malformed"),
            (status(429, None), false, false, true, "rate_limited"),
            (status(429, Some(5)), true, false, true, "rate_limited"),
            (status(500, None), true, false, true, "unavailable"),
            (status(503, None), true, false, true, "unavailable"),
            (status(400, None), false, true, false, "refused"),
            (status(403, None), false, false, false, "refused"),
            (status(302, None), false, false, false, "refused"),
        ];
        for (failure, retry, split, unwell, word) in cases {
            let is = (failure.may_retry(), failure.may_split(), failure.is_unwell(), failure.code().word());
            assert_eq!(is, (retry, split, unwell, word), "{failure:?}");
        }
    }
}
