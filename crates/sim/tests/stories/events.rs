//! What events are: late, early, hot, twice, too many.

use event::Code;
use ouzel_sim::fs::LossyFs;
use ouzel_sim::ledger::ProducerConfig;
use ouzel_sim::world::Shape;

use super::single::{Single, line};
use super::tell::{tell, values};

#[test]
fn events_two_hours_ahead_are_flagged_and_make_nobody_late() {
    for told in tell(Shape::Embedded, |s| {
        for client in &mut s.clients {
            (client.future_per_myriad, client.late_per_mille) = (2000, 0);
        }
    }) {
        let flagged = told.outputs.enriched.iter().filter(|(_, row)| row.future).count();
        assert!(flagged > 200, "seed {}: {flagged}", told.seed);
        assert_eq!(told.outputs.late.len(), 0, "seed {}", told.seed);
    }
}

#[test]
fn clients_whose_clocks_are_hours_off_find_their_sessions() {
    for told in tell(Shape::Kafka, |s| {
        for (client, hours) in s.clients.iter_mut().zip([2, -2, 0, 0]) {
            client.clock_skew_us = hours * 3_600_000_000;
        }
        s.waits = false;
    }) {
        assert!(told.outputs.enriched.iter().any(|(_, row)| row.future), "seed {}", told.seed);
        assert!(!told.outputs.late.is_empty(), "seed {}", told.seed);
    }
}

#[test]
fn times_beyond_all_bounds_are_refused_and_their_neighbours_are_told() {
    let mut single = Single::open(&LossyFs::new()).expect("an empty disk");
    // (its time, whether it is accepted)
    let times = [
        ("\"9999-12-31T23:59:59Z\"", false),
        ("\"2200-01-01T00:00:00Z\"", false),
        ("\"1969-12-31T23:59:59Z\"", false),
        ("\"-0001-01-01T00:00:00Z\"", false),
        ("-1", false),
        ("-1795780800000", false),
        ("\"1970-01-01T00:00:01Z\"", true),
        ("\"2026-11-27T14:00:00Z\"", true),
        ("\"2199-12-31T23:59:59Z\"", true),
    ];
    for round in 0..3 {
        let mut lines = String::new();
        for (n, (time, _)) in times.iter().enumerate() {
            lines += &line(&format!("{round}-{n}"), "odd", time);
            lines += &line(&format!("{round}-{n}-neighbour"), "even", "\"2026-11-27T12:00:00Z\"");
        }
        let answer = single.send(&lines).expect("stored");
        let refused: Vec<(usize, &str)> = answer.results.iter().map(|r| (r.index as usize, r.code.as_str())).collect();
        let expected: Vec<(usize, &str)> =
            (0..).zip(times).filter(|(_, (_, taken))| !taken).map(|(n, _)| (2 * n, Code::BadTime.name())).collect();
        assert_eq!(refused, expected);
        single.work().expect("both stages go on");
    }
    let enriched = values(&single.broker, event::topic::ENRICHED);
    let of = |visitor: &str| enriched.iter().filter(|e| e["anonymousId"] == visitor).count();
    assert_eq!((of("even"), of("odd")), (3 * times.len(), 9));
    let late = values(&single.broker, event::topic::LATE);
    // The year 1970 may be late. Nothing of today is, whatever the year 2199 said before.
    assert!(late.iter().all(|l| !l.to_string().contains("neighbour")), "{late:?}");
}

#[test]
fn late_and_shuffled_events_make_the_same_sessions() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| {
            s.clients.iter_mut().for_each(|c| c.late_per_mille = 300);
            (s.network.slow, s.network.twice) = (300, 50);
        }) {
            told.fired("net.slow", 20);
            told.fired("net.twice", 2);
            assert!(!told.outputs.late.is_empty(), "seed {}", told.seed);
        }
    }
}

#[test]
fn clients_that_never_heard_the_answer_send_again_and_nothing_is_there_twice() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| {
            (s.network.answer_lost, s.network.request_lost) = (250, 50);
            s.clients.iter_mut().for_each(|c| c.resend_per_mille = 0);
        }) {
            told.fired("net.answer_lost", 15);
            assert!(told.outputs.raw.len() > told.outputs.enriched.len() + 100, "seed {}", told.seed);
        }
    }
}

#[test]
fn an_id_that_is_taken_by_another_payload_is_a_dead_letter() {
    for told in tell(Shape::Embedded, |s| s.clients.iter_mut().for_each(|c| c.conflict_per_myriad = 1500)) {
        assert!(told.letters(Code::ConflictingDuplicate).len() > 50, "seed {}", told.seed);
    }
}

#[test]
fn broken_events_are_refused_and_their_neighbours_are_told() {
    for told in tell(Shape::Kafka, |s| s.clients.iter_mut().for_each(|c| c.malformed_per_mille = 300)) {
        assert!(told.letters(Code::BadTime).len() > 20, "seed {}", told.seed);
        assert!(told.outputs.enriched.len() > 500, "seed {}", told.seed);
    }
}

#[test]
fn three_times_the_clients_and_a_slow_log_are_caught_up_with() {
    for told in tell(Shape::Embedded, |s| {
        let more = (4..12).map(|n| ProducerConfig { people: 200, ..ProducerConfig::new(s.seed * 31 + n) });
        s.clients.extend(more);
        s.events *= 3;
        s.log_takes_us = (3000, 30_000);
    }) {
        assert!(told.report.events > 5000, "seed {}", told.seed);
        told.fired("commit.slow", 20);
        assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
    }
}

#[test]
fn a_hot_visitor_holds_up_nobody() {
    for told in tell(Shape::Kafka, |s| s.clients.iter_mut().for_each(|c| c.hot_per_mille = 900)) {
        let mut by_key = std::collections::BTreeMap::new();
        told.outputs.enriched.iter().for_each(|(_, row)| *by_key.entry(row.key).or_insert(0) += 1);
        let most = by_key.values().max().copied().unwrap_or(0);
        assert!(most * 2 > told.outputs.enriched.len(), "seed {}: {most} of one visitor", told.seed);
    }
}
