//! One desk by hand: short stories, each for one thing that could go wrong.

use std::sync::Arc;

use ouzel_ask::desk::KEY_MAX;
use ouzel_ask::shared::{Lease, SharedConfig};
use ouzel_ask::{
    Action, Answer, AskId, BreakerConfig, CallId, Code, Desk, DeskConfig, Entry, Failure, FailureKind, Key, Origin,
    Outcome, Tier, Ttls, Value,
};

const TTLS: Ttls = Ttls { hit: 1_000_000, not_found: 100_000, error: 10_000, max_stale: 500_000 };

fn config() -> DeskConfig {
    DeskConfig { bulk_wait_us: 0, ..DeskConfig::new(1, TTLS) }
}

fn with_shared() -> DeskConfig {
    DeskConfig { shared: Some(SharedConfig::default()), ..config() }
}

fn key(name: &str) -> Key {
    name.as_bytes().into()
}

fn json(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

fn value(name: &str, text: &str) -> (Key, Answer) {
    (key(name), Answer::Value(json(text)))
}

fn stale(now: u64) -> Entry {
    Entry {
        value: Value::Found(json("old")),
        fetched_at: 0,
        fresh_until: now as i64 - 1,
        stale_until: now as i64 + 500_000,
    }
}

fn status(status: u16, retry_after_us: Option<u64>) -> Failure {
    Failure { kind: FailureKind::Status(status), retry_after_us }
}

/// What is to be done, but for waking up.
fn actions(desk: &mut Desk) -> Vec<Action> {
    std::iter::from_fn(|| desk.next_action()).filter(|action| !matches!(action, Action::WakeAt(_))).collect()
}

fn settled(actions: &[Action]) -> Vec<(u64, Outcome)> {
    let settled = actions.iter().filter_map(|action| match action {
        Action::Settle { ask, outcome, .. } => Some((ask.0, outcome.clone())),
        _ => None,
    });
    settled.collect()
}

/// Calls with attempt and keys.
fn calls(actions: &[Action]) -> Vec<(CallId, u32, Vec<String>)> {
    let calls = actions.iter().filter_map(|action| match action {
        Action::Call { call, attempt, keys, .. } => {
            let keys = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            Some((*call, *attempt, keys))
        }
        _ => None,
    });
    calls.collect()
}

/// Asks for one key and gives the call.
fn ask_one(desk: &mut Desk, now: u64, id: u64, name: &str, deadline: u64, stale: Option<Entry>) -> CallId {
    desk.ask(now, AskId(id), key(name), deadline, stale);
    calls(&actions(desk))[0].0
}

fn wake_at(desk: &mut Desk) -> Option<u64> {
    std::iter::from_fn(|| desk.next_action()).find_map(|action| match action {
        Action::WakeAt(at) => Some(at),
        _ => None,
    })
}

#[test]
fn what_cannot_be_asked_is_settled_at_once() {
    let mut desk = Desk::new(DeskConfig { asks_max: 1, ..config() });
    desk.ask(10, AskId(1), vec![0; KEY_MAX + 1].into(), 100, None);
    desk.ask(10, AskId(2), key("a"), 10, None);
    desk.ask(10, AskId(3), key("a"), 100, None);
    desk.ask(10, AskId(4), key("b"), 100, None);
    desk.ask(10, AskId(5), key("b"), 100, Some(stale(10)));
    let expected = [
        (1, Outcome::Error(Code::KeyTooLong)),
        (2, Outcome::Timeout),
        (4, Outcome::Error(Code::Overloaded)),
        (5, Outcome::Stale(json("old"), 1)),
    ];
    assert_eq!(settled(&actions(&mut desk)), expected);
}

#[test]
fn keys_wait_for_each_other_and_go_when_they_are_enough() {
    let mut desk = Desk::new(DeskConfig { bulk: 2, bulk_wait_us: 200, ..config() });
    desk.ask(0, AskId(1), key("a"), 9_000, None);
    assert_eq!(wake_at(&mut desk), Some(200));
    desk.ask(50, AskId(2), key("b"), 9_000, None);
    desk.ask(60, AskId(3), key("c"), 9_000, None);
    assert_eq!(calls(&actions(&mut desk)), [(CallId(1), 0, vec!["a".into(), "b".into()])]);
    desk.tick(259);
    assert_eq!(actions(&mut desk), []);
    desk.tick(260);
    assert_eq!(calls(&actions(&mut desk)), [(CallId(2), 0, vec!["c".into()])]);
}

#[test]
fn while_all_permits_are_taken_keys_gather() {
    let mut desk = Desk::new(DeskConfig { in_flight_max: 1, ..config() });
    let first = ask_one(&mut desk, 0, 1, "a", 9_000, None);
    for (id, name) in [(2, "b"), (3, "c"), (4, "d")] {
        desk.ask(1, AskId(id), key(name), 9_000, None);
    }
    desk.cancel(2, AskId(3));
    assert_eq!((calls(&actions(&mut desk)), desk.counters().queued), (vec![], 2));
    desk.answered(3, first, 0, vec![value("a", "1")]);
    assert_eq!(calls(&actions(&mut desk)), [(CallId(2), 0, vec!["b".into(), "d".into()])]);
}

#[test]
fn answers_are_told_by_key_and_what_is_not_said_has_failed() {
    let mut desk = Desk::new(DeskConfig { bulk: 5, bulk_wait_us: 10, ..config() });
    for (id, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        desk.ask(0, AskId(id), key(name), 9_000, None);
    }
    desk.tick(10);
    actions(&mut desk);
    let bad = (key("d"), Answer::Bad(Code::BadKey));
    let answers = vec![bad, (key("b"), Answer::NotFound), value("a", "1"), value("x", "2"), value("a", "3")];
    desk.answered(20, CallId(1), 0, answers.clone());
    desk.answered(21, CallId(1), 0, answers);
    let done = actions(&mut desk);
    let expected = [
        (1, Outcome::Ok(json("1"))),
        (2, Outcome::Miss),
        (3, Outcome::Error(Code::Unanswered)),
        (4, Outcome::Error(Code::BadKey)),
    ];
    assert_eq!(settled(&done), expected);
    let remembered = done.iter().filter(|action| matches!(action, Action::Remember { .. })).count();
    assert_eq!((remembered, desk.counters().ignored), (3, 1));
    assert!(desk.is_idle());
}

#[test]
fn a_deadline_gives_what_is_stale_else_timeout_and_a_late_answer_is_for_the_cache() {
    let mut desk = Desk::new(config());
    let call = ask_one(&mut desk, 0, 1, "a", 40_000, Some(stale(0)));
    let other = ask_one(&mut desk, 0, 2, "b", 40_000, None);
    assert_eq!(wake_at(&mut desk), None, "it was told already");
    desk.tick(40_000);
    assert_eq!(settled(&actions(&mut desk)), [(1, Outcome::Stale(json("old"), 1)), (2, Outcome::Timeout)]);
    desk.answered(41_000, call, 0, vec![value("a", "new")]);
    let done = actions(&mut desk);
    assert!(matches!(&done[..], [Action::Remember { entry, .. }] if entry.fetched_at == 0), "{done:?}");
    assert_eq!((desk.counters().late, desk.counters().in_flight), (1, 1));
    desk.tick(140_000);
    assert_eq!(actions(&mut desk), [Action::Drop { call: other }]);
    assert!(desk.is_idle());
}

#[test]
fn a_stale_value_that_is_too_old_by_the_deadline_is_not_given() {
    let mut desk = Desk::new(config());
    ask_one(&mut desk, 0, 1, "a", 40_000, Some(Entry { stale_until: 40_000, ..stale(0) }));
    desk.tick(40_000);
    assert_eq!(settled(&actions(&mut desk)), [(1, Outcome::Timeout)]);
}

#[test]
fn a_failure_is_settled_at_once_if_it_cannot_be_tried_again() {
    let cases = [
        (status(404, None), Outcome::Miss),
        (status(400, None), Outcome::Error(Code::Refused)),
        (status(429, None), Outcome::Error(Code::RateLimited)),
        (status(429, Some(60_000)), Outcome::Error(Code::RateLimited)),
        (status(503, Some(60_000)), Outcome::Error(Code::Unavailable)),
        (FailureKind::TooLarge.into(), Outcome::Error(Code::TooLarge)),
        (FailureKind::Malformed.into(), Outcome::Error(Code::Malformed)),
    ];
    for (failure, outcome) in cases {
        for old in [None, Some(stale(0))] {
            let outcome = match (&old, &outcome) {
                (Some(_), Outcome::Error(_)) => Outcome::Stale(json("old"), 1),
                _ => outcome.clone(),
            };
            let mut desk = Desk::new(config());
            let call = ask_one(&mut desk, 0, 1, "a", 40_000, old);
            desk.failed(1_000, call, 0, failure);
            assert_eq!(settled(&actions(&mut desk)), [(1, outcome)], "{failure:?}");
            assert!(desk.is_idle(), "{failure:?}");
        }
    }
}

#[test]
fn a_retry_is_the_same_call_within_the_budget_of_each_ask() {
    let mut desk = Desk::new(config());
    let call = ask_one(&mut desk, 0, 1, "a", 5_000, None);
    desk.ask(10, AskId(2), key("a"), 40_000, None);
    desk.failed(1_000, call, 0, status(429, Some(10_000)));
    assert_eq!(settled(&actions(&mut desk)), [(1, Outcome::Error(Code::RateLimited))], "he will be gone by then");
    assert_eq!(desk.counters().in_flight, 0, "a pause takes no permit");
    desk.answered(1_500, call, 0, vec![value("a", "late")]);
    desk.tick(10_999);
    assert_eq!(actions(&mut desk), []);
    desk.ask(11_000, AskId(3), key("a"), 12_000, None);
    assert_eq!(calls(&actions(&mut desk)), [(call, 1, vec!["a".into()])]);
    desk.failed(11_100, call, 0, FailureKind::Connection.into());
    desk.failed(11_200, call, 1, FailureKind::Connection.into());
    let again_at = wake_at(&mut desk).expect("a pause of at most 4 ms");
    assert!((11_200..=15_200).contains(&again_at));
    desk.tick(again_at);
    let (_, attempt, _) = calls(&actions(&mut desk))[0];
    assert_eq!(attempt, 2);
    desk.failed(again_at + 10, call, 2, FailureKind::Connection.into());
    assert!(settled(&actions(&mut desk)).contains(&(2, Outcome::Error(Code::Connection))), "three attempts, no more");
    let counters = desk.counters();
    assert_eq!((counters.calls, counters.retries, counters.ignored), (3, 2, 2));
    assert!(desk.is_idle());
}

#[test]
fn a_key_that_failed_alone_is_tried_again_alone() {
    let mut desk = Desk::new(DeskConfig { bulk: 6, bulk_wait_us: 10, ..config() });
    for (id, name) in ["a", "b", "c", "d", "e", "f"].iter().enumerate() {
        desk.ask(0, AskId(id as u64), key(name), if *name == "c" { 900 } else { 40_000 }, None);
    }
    let call = calls(&actions(&mut desk))[0].0;
    let failed = |name, failure: Failure| (key(name), Answer::Failed(failure));
    let answers = vec![
        value("a", "1"),
        failed("b", FailureKind::Connection.into()),
        failed("c", status(503, Some(2_000))),
        failed("d", status(400, None)),
        failed("e", status(404, None)),
        failed("f", status(503, Some(2_000))),
    ];
    desk.answered(100, call, 0, answers);
    let done = settled(&actions(&mut desk));
    let expected = [
        (0, Outcome::Ok(json("1"))),
        (4, Outcome::Miss),
        (3, Outcome::Error(Code::Refused)),
        (2, Outcome::Error(Code::Unavailable)),
    ];
    assert_eq!(done, expected, "and he of `c` will be gone by then");
    assert_eq!(desk.counters().in_flight, 0);
    desk.tick(4_100);
    assert_eq!(calls(&actions(&mut desk)), [(call, 1, vec!["b".into(), "f".into()])]);
    desk.answered(4_200, call, 1, vec![value("b", "2"), failed("f", FailureKind::Connection.into())]);
    let done = actions(&mut desk);
    let told: Vec<_> = done.iter().filter(|action| matches!(action, Action::Settle { .. })).collect();
    let origin = Some(Origin { tier: Tier::Source, fetched_at: 0 });
    assert_eq!(
        told,
        [&Action::Settle { ask: AskId(1), outcome: Outcome::Ok(json("2")), origin }],
        "as old as its call"
    );
    desk.tick(12_200);
    let (again, attempt, keys) = calls(&actions(&mut desk)).swap_remove(0);
    assert_eq!((again, attempt, &keys[..]), (call, 2, &["f".to_owned()][..]));
    desk.answered(12_300, call, 2, vec![failed("f", FailureKind::Connection.into())]);
    assert_eq!(settled(&actions(&mut desk)), [(5, Outcome::Error(Code::Connection))], "three attempts, no more");
    let counters = desk.counters();
    assert_eq!((counters.calls, counters.retries, counters.failed, counters.opened), (3, 2, 3, 0));
    assert!(desk.is_idle());
}

#[test]
fn a_call_is_bad_when_most_of_its_keys_failed() {
    for (failing, opened) in [(2, 0), (3, 1)] {
        let breaker = BreakerConfig { window: 4, calls_min: 1, ..BreakerConfig::default() };
        let mut desk = Desk::new(DeskConfig { bulk: 4, bulk_wait_us: 10, breaker, ..config() });
        let names = ["a", "b", "c", "d"];
        (0..4).for_each(|id| desk.ask(0, AskId(id), key(names[id as usize]), 40_000, None));
        for (call, attempt, keys) in calls(&actions(&mut desk)) {
            let answer = |name: &String| match names[..failing].contains(&name.as_str()) {
                true => (key(name), Answer::Failed(FailureKind::Connection.into())),
                false => value(name, "1"),
            };
            desk.answered(100, call, attempt, keys.iter().map(answer).collect());
        }
        assert_eq!(desk.counters().opened, opened, "{failing} of 4");
    }
}

#[test]
fn one_key_that_spoils_a_bulk_does_not_spoil_the_others() {
    let mut desk = Desk::new(DeskConfig { bulk: 8, bulk_wait_us: 10, ..config() });
    let names = ["a", "b", "c", "d", "e", "f", "g", "bad"];
    for (id, name) in names.iter().enumerate() {
        desk.ask(0, AskId(id as u64), key(name), 40_000, None);
    }
    let mut results = Vec::new();
    let mut open = calls(&actions(&mut desk));
    let mut count = 0;
    while let Some((call, attempt, keys)) = open.pop() {
        count += 1;
        if keys.contains(&"bad".to_owned()) {
            desk.failed(100, call, attempt, FailureKind::TooLarge.into());
        } else {
            desk.answered(100, call, attempt, keys.iter().map(|name| value(name, name)).collect());
        }
        let done = actions(&mut desk);
        results.extend(settled(&done));
        open.extend(calls(&done));
    }
    results.sort_by_key(|(id, _)| *id);
    for (id, outcome) in results.iter().take(7) {
        assert_eq!(*outcome, Outcome::Ok(json(names[*id as usize])));
    }
    assert_eq!((results.len(), &results[7].1, count), (8, &Outcome::Error(Code::TooLarge), 7));
    assert!(desk.is_idle());
}

#[test]
fn an_open_breaker_settles_at_once_and_lets_a_probe_through_later() {
    let breaker = BreakerConfig { window: 4, calls_min: 2, probes: 1, open_us: 100_000, ..BreakerConfig::default() };
    let mut desk = Desk::new(DeskConfig { breaker, attempts_max: 1, ..config() });
    for id in 0..2 {
        let call = ask_one(&mut desk, 0, id, "a", 40_000, None);
        desk.failed(10, call, 0, FailureKind::Connection.into());
    }
    actions(&mut desk);
    desk.ask(20, AskId(2), key("b"), 40_000, None);
    desk.ask(20, AskId(3), key("c"), 40_000, Some(stale(20)));
    let done = actions(&mut desk);
    assert_eq!(settled(&done), [(2, Outcome::Open), (3, Outcome::Stale(json("old"), 1))]);
    assert_eq!((calls(&done), desk.counters().opened), (vec![], 1));
    let probe = ask_one(&mut desk, 100_010, 4, "d", 140_000, None);
    desk.ask(100_020, AskId(5), key("e"), 140_000, None);
    assert_eq!(settled(&actions(&mut desk)), [(5, Outcome::Open)], "one probe at a time");
    desk.answered(100_030, probe, 0, vec![value("d", "1")]);
    ask_one(&mut desk, 100_040, 6, "e", 140_000, None);
}

#[test]
fn a_rate_holds_calls_back_and_says_when() {
    let mut desk = Desk::new(DeskConfig { rate: Some((1_000, 1)), ..config() });
    ask_one(&mut desk, 0, 1, "a", 40_000, None);
    desk.ask(100, AskId(2), key("b"), 40_000, None);
    assert_eq!(wake_at(&mut desk), Some(1_000));
    desk.tick(1_000);
    assert_eq!(calls(&actions(&mut desk)).len(), 1);
}

#[test]
fn a_refresh_settles_nothing_and_fills_the_cache() {
    let mut desk = Desk::new(config());
    let known = Entry { fresh_until: 1_000_000, stale_until: 1_500_000, ..stale(0) };
    desk.refresh(950_000, key("a"), &known);
    desk.refresh(950_001, key("a"), &known);
    let call = calls(&actions(&mut desk))[0].0;
    let joined = AskId(1);
    desk.ask(960_000, joined, key("a"), 970_000, None);
    desk.tick(970_000);
    assert_eq!(settled(&actions(&mut desk)), [(1, Outcome::Ok(json("old")))], "what is refreshed is still good");
    desk.answered(980_000, call, 0, vec![value("a", "new")]);
    let done = actions(&mut desk);
    assert!(matches!(&done[..], [Action::Remember { .. }]), "{done:?}");
    assert_eq!((desk.counters().refreshed, desk.counters().calls), (1, 1));
    assert!(desk.is_idle());
}

#[test]
fn an_error_replaces_no_value_that_may_be_given() {
    let mut desk = Desk::new(config());
    let call = ask_one(&mut desk, 0, 1, "a", 40_000, Some(stale(0)));
    desk.answered(10, call, 0, vec![(key("a"), Answer::Bad(Code::BadValue))]);
    let origin = Some(Origin { tier: Tier::Local, fetched_at: 0 });
    let outcome = Outcome::Stale(json("old"), 1);
    assert_eq!(actions(&mut desk), [Action::Settle { ask: AskId(1), outcome, origin }]);
}

#[test]
fn the_shared_tier_is_asked_first_and_what_is_fresh_there_is_no_call() {
    let cases = [
        (Value::Found(json("1")), Outcome::Ok(json("1"))),
        (Value::NotFound, Outcome::Miss),
        (Value::Failed(Code::ManyRows), Outcome::Error(Code::ManyRows)),
    ];
    for (known, outcome) in cases {
        let mut desk = Desk::new(with_shared());
        desk.ask(0, AskId(1), key("a"), 40_000, None);
        assert_eq!(actions(&mut desk), [Action::ReadShared { keys: vec![key("a")] }]);
        let entry = Entry::new(known, 0, &TTLS, 1, b"a");
        desk.shared(500, &key("a"), Some(entry.clone()));
        let origin = Some(Origin { tier: Tier::Shared, fetched_at: entry.fetched_at });
        let settle = Action::Settle { ask: AskId(1), outcome, origin };
        assert_eq!(actions(&mut desk), [Action::Remember { key: key("a"), entry }, settle]);
        assert!(desk.is_idle());
    }
}

#[test]
fn who_gets_the_lease_calls_and_writes_what_was_answered() {
    let mut desk = Desk::new(with_shared());
    desk.ask(0, AskId(1), key("a"), 400_000, None);
    actions(&mut desk);
    desk.shared(500, &key("a"), Some(Entry { fresh_until: 0, ..stale(500) }));
    let lease = Action::Lease { key: key("a"), for_us: 100_000 };
    assert_eq!(actions(&mut desk), std::slice::from_ref(&lease));
    desk.lease(1_000, &key("a"), Lease::Granted);
    let call = calls(&actions(&mut desk))[0].0;
    let renew_at = 1_000 + 45_000;
    desk.tick(renew_at);
    assert_eq!(actions(&mut desk), [lease], "it is renewed while the call is open");
    desk.answered(50_000, call, 0, vec![value("a", "1")]);
    let done = actions(&mut desk);
    let [Action::Remember { .. }, Action::WriteShared { .. }, Action::Settle { .. }] = &done[..] else {
        panic!("{done:?}");
    };
    desk.lease(50_100, &key("a"), Lease::Granted);
    assert_eq!(
        actions(&mut desk),
        [],
        "a renewal that comes late is not given back: others may have read before the write"
    );
    assert!(desk.is_idle());
}

#[test]
fn who_does_not_get_the_lease_looks_again_until_it_runs_out() {
    let mut desk = Desk::new(with_shared());
    desk.ask(0, AskId(1), key("a"), 40_000, None);
    for n in 0..3 {
        let at = n * 10_000;
        desk.tick(at);
        assert_eq!(actions(&mut desk), [Action::ReadShared { keys: vec![key("a")] }], "{n}");
        desk.shared(at + 100, &key("a"), None);
        desk.lease(at + 200, &key("a"), if n == 2 { Lease::Granted } else { Lease::Taken });
        let done = actions(&mut desk);
        assert_eq!(calls(&done).len(), usize::from(n == 2), "{done:?}");
    }
    desk.cancel(21_000, AskId(1));
    assert_eq!(actions(&mut desk), [], "the call goes on for the caches");
    desk.failed(22_000, CallId(1), 0, FailureKind::Connection.into());
    assert_eq!(actions(&mut desk), [Action::Release { key: key("a") }], "others need not wait for what will not come");
    assert!(desk.is_idle());
}

#[test]
fn a_shared_tier_that_fails_is_a_miss_and_then_left_alone() {
    let breaker = BreakerConfig { window: 4, calls_min: 2, ..BreakerConfig::default() };
    let shared = SharedConfig { breaker, ..SharedConfig::default() };
    let mut desk = Desk::new(DeskConfig { shared: Some(shared), ..config() });
    desk.ask(0, AskId(1), key("a"), 40_000, None);
    desk.ask(0, AskId(2), key("b"), 40_000, None);
    actions(&mut desk);
    desk.shared_failed(100, &key("a"));
    assert_eq!(calls(&actions(&mut desk)).len(), 1, "it goes on without it");
    desk.tick(5_000);
    assert_eq!(calls(&actions(&mut desk)).len(), 1, "nobody answered in time");
    desk.ask(6_000, AskId(3), key("c"), 40_000, None);
    let done = actions(&mut desk);
    assert!(matches!(&done[..], [Action::Call { .. }]), "{done:?}");
    assert_eq!(desk.counters().shared_opened, 1);
    desk.answered(7_000, CallId(3), 0, vec![value("c", "1")]);
    assert!(!actions(&mut desk).iter().any(|action| matches!(action, Action::WriteShared { .. })));
}

#[test]
fn a_refresh_in_two_processes_is_one_call() {
    let known = Entry { fresh_until: 1_000_000, stale_until: 1_500_000, ..stale(0) };
    let mut desk = Desk::new(with_shared());
    desk.refresh(950_000, key("a"), &known);
    actions(&mut desk);
    desk.shared(950_100, &key("a"), Some(known.clone()));
    let done = actions(&mut desk);
    assert!(matches!(done.last(), Some(Action::Lease { .. })), "what is there is no newer: {done:?}");
    desk.lease(950_200, &key("a"), Lease::Taken);
    assert!(desk.is_idle(), "another process refreshes it");

    desk.refresh(951_000, key("a"), &known);
    actions(&mut desk);
    desk.shared(951_100, &key("a"), Some(Entry { fresh_until: 1_900_000, stale_until: 2_000_000, ..known }));
    assert!(matches!(&actions(&mut desk)[..], [Action::Remember { .. }]), "another process refreshed it");
    assert!(desk.is_idle());
}

#[test]
fn a_refresh_has_its_own_time() {
    let known = Entry { fresh_until: 1_000_000, stale_until: 1_500_000, ..stale(0) };
    let mut desk = Desk::new(DeskConfig { refresh_us: 50_000, late_us: 10_000, ..config() });
    desk.refresh(900_000, key("a"), &known);
    let done = actions(&mut desk);
    assert!(matches!(done[..], [Action::Call { give_up_at: 960_000, .. }]), "{done:?}");
    desk.tick(960_000);
    assert_eq!(actions(&mut desk), [Action::Drop { call: CallId(1) }]);
    assert!(desk.is_idle());
}

#[test]
fn of_stale_values_the_newest_is_given() {
    for shared_is_newer in [false, true] {
        let mut desk = Desk::new(with_shared());
        desk.ask(100, AskId(1), key("a"), 40_000, Some(Entry { fetched_at: 10, ..stale(100) }));
        actions(&mut desk);
        let fetched_at = if shared_is_newer { 20 } else { 5 };
        let shared = Entry { value: Value::Found(json("shared")), fetched_at, ..stale(100) };
        desk.shared(200, &key("a"), Some(shared));
        desk.tick(40_000);
        let best = if shared_is_newer { "shared" } else { "old" };
        assert_eq!(settled(&actions(&mut desk)), [(1, Outcome::Stale(json(best), 1))]);
    }
}

#[test]
fn a_failure_that_opens_the_breaker_is_not_tried_again() {
    let breaker = BreakerConfig { window: 4, calls_min: 1, ..BreakerConfig::default() };
    let mut desk = Desk::new(DeskConfig { breaker, ..config() });
    let call = ask_one(&mut desk, 0, 1, "a", 40_000, None);
    desk.failed(10, call, 0, FailureKind::Connection.into());
    assert_eq!(settled(&actions(&mut desk)), [(1, Outcome::Error(Code::Connection))], "it was asked: it is not `open`");
    assert!(desk.is_idle());
}

#[test]
fn a_source_that_is_left_alone_is_not_leased_but_others_may_know() {
    let breaker = BreakerConfig { window: 4, calls_min: 1, ..BreakerConfig::default() };
    let mut desk = Desk::new(DeskConfig { breaker, ..with_shared() });
    desk.ask(0, AskId(1), key("a"), 40_000, None);
    desk.shared_failed(10, &key("a"));
    desk.failed(20, CallId(1), 0, FailureKind::Connection.into());
    actions(&mut desk);
    for (id, entry) in [(2, None), (3, Some(Entry::new(Value::NotFound, 0, &TTLS, 1, b"b")))] {
        desk.ask(30, AskId(id), key("b"), 40_000, None);
        actions(&mut desk);
        let outcome = if entry.is_some() { Outcome::Miss } else { Outcome::Open };
        desk.shared(40, &key("b"), entry);
        let done = actions(&mut desk);
        assert_eq!(settled(&done), [(id, outcome)]);
        assert!(!done.iter().any(|action| matches!(action, Action::Lease { .. })), "{done:?}");
    }
}

#[test]
fn a_cancelled_probe_of_the_shared_tier_lets_another_through() {
    let breaker = BreakerConfig { window: 4, calls_min: 1, probes: 1, open_us: 1_000, ..BreakerConfig::default() };
    let shared = SharedConfig { breaker, ..SharedConfig::default() };
    let mut desk = Desk::new(DeskConfig { shared: Some(shared), ..config() });
    desk.ask(0, AskId(1), key("a"), 400_000, None);
    desk.shared_failed(10, &key("a"));
    actions(&mut desk);
    for id in 2..5 {
        desk.ask(2_000, AskId(id), key("b"), 400_000, None);
        assert_eq!(actions(&mut desk), [Action::ReadShared { keys: vec![key("b")] }], "{id}");
        desk.cancel(2_000, AskId(id));
    }
}
