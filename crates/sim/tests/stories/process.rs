//! What happens to a process: it is killed, stands still, is stopped, is told a wrong time.

use event::Code;
use ouzel_sim::world::{Disaster, Shape};
use seam::fault::POINTS;

use super::tell::{again, fired_in_all, ms, tell, tell_of};

/// Points that nobody passes in a simulated world, and where they are passed.
const ELSEWHERE: [(&str, &str); 6] = [
    ("door.acked", "behind the commit is the socket: crates/cli/tests/storms.rs"),
    (
        "journal.segment.retired",
        "nothing is old enough: crates/cli/tests/storms.rs, retention_dies_and_nothing_is_missing",
    ),
    (
        "input.submitted",
        "clients send over a network here: crates/cli/tests/storms.rs, a_file_is_read_and_written_once",
    ),
    ("input.committed", "the same"),
    ("output.written", "the same: the file that is written is node's"),
    ("output.synced", "the same"),
];

#[test]
fn killed_at_any_moment_it_goes_on_where_it_was() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| s.script = again(12, ms(500), Disaster::Kill)) {
            told.fired("kill", 5);
        }
    }
}

#[test]
fn killed_at_every_named_point_it_goes_on_where_it_was() {
    for (seed, point) in (1..).zip(POINTS) {
        let elsewhere = ELSEWHERE.iter().any(|(name, _)| name == point);
        for shape in [Shape::Embedded, Shape::Kafka] {
            if shape == Shape::Kafka && (elsewhere || point.starts_with("journal.")) {
                continue;
            }
            let told = tell_of(seed, shape, |s| {
                // Runs are written and merged more often, or these points are hardly passed.
                s.rules.dedup.generation = 16;
                s.script = again(4, ms(1300), Disaster::KillAt(point));
            });
            if elsewhere {
                assert_eq!(told.count(point), 0, "{point} is passed here after all");
            } else {
                // Behind a broker the doors are nobody's of its workers.
                let killed = told.count("kill.at_point") + told.count("door.dies");
                assert!(killed >= 1, "{point}, {shape:?}: nobody was killed: {:?}", told.report.trace.counts());
            }
        }
    }
}

#[test]
fn a_process_that_stands_still_for_thirty_seconds_takes_up_its_work() {
    for told in tell(Shape::Embedded, |s| s.script = vec![(ms(1500), Disaster::PauseFor(ms(30_000)))]) {
        told.fired("process.paused", 1);
        assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
        // Clients that were not answered sent again, and all of it is told to be a duplicate.
        assert!(told.outputs.raw.len() > told.outputs.enriched.len(), "seed {}", told.seed);
    }
}

#[test]
fn clocks_that_are_set_forward_and_back_move_no_session() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| {
            let jumps = [3_600_000, -50, -7_200_000, 2000, 3_600_000, -2000];
            s.script = (1..).zip(jumps).map(|(n, by)| (ms(700 * n), Disaster::ClockBy(by))).collect();
            s.waits = false;
        }) {
            told.fired("clock.jumps", 6);
        }
    }
}

#[test]
fn stopped_in_good_order_with_full_queues_it_leaves_nothing_behind() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| {
            s.script = again(6, ms(900), Disaster::Restart);
            // Commits are waited for, so that queues are full when it is stopped.
            s.log_takes_us = (3000, 15_000);
        }) {
            told.fired("process.restarts", 3);
            assert_eq!(told.report.crashes, 0, "seed {}: to be stopped is no crash", told.seed);
        }
    }
}

#[test]
fn an_event_that_panics_an_operator_is_set_aside_and_its_neighbours_are_told() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| s.clients.iter_mut().for_each(|c| c.poison_per_mille = 20)) {
            assert!(told.letters(Code::OperatorPanic).len() > 10, "seed {}", told.seed);
            assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
        }
    }
}

#[test]
fn what_panicked_an_operator_is_passed_over_when_it_is_replayed() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        let told = tell(shape, |s| {
            s.clients.iter_mut().for_each(|c| c.poison_per_mille = 20);
            s.script = again(8, ms(700), Disaster::Kill);
            s.script.extend(again(4, ms(1250), Disaster::RotNewest("state")));
        });
        for told in &told {
            told.fired("kill", 3);
            assert!(told.letters(Code::OperatorPanic).len() > 10, "seed {}", told.seed);
        }
        fired_in_all(&told, "disk.rot", 3);
    }
}

#[test]
fn a_savepoint_under_load_is_the_state() {
    for told in tell(Shape::Embedded, |s| s.script = again(8, ms(600), Disaster::Savepoint)) {
        told.fired("savepoint", 4);
    }
}
