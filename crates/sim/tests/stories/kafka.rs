//! What happens to workers on a log that is everybody's: they die, come back as zombies, are fenced, are not told how a
//! commit ended.

use ouzel_sim::world::{Disaster, Shape};

use super::tell::{again, fired_in_all, ms, tell};

#[test]
fn a_worker_that_dies_leaves_its_partitions_to_the_others() {
    for told in tell(Shape::Kafka, |s| {
        s.processes = 3;
        s.script = again(10, ms(600), Disaster::Kill);
    }) {
        told.fired("kill", 5);
    }
}

#[test]
fn a_worker_that_was_given_up_and_comes_back_changes_nothing() {
    let told = tell(Shape::Kafka, |s| {
        s.script = (0..3).map(|n| (ms(600 + 4000 * n), Disaster::PauseFor(ms(3500)))).collect();
        s.events = 3000;
    });
    for told in &told {
        told.fired("process.paused", 2);
        told.fired("group.expelled", 2);
    }
    fired_in_all(&told, "commit.fenced", 1);
}

#[test]
fn a_worker_that_stands_still_for_thirty_seconds_is_done_without() {
    for told in tell(Shape::Kafka, |s| s.script = vec![(ms(1500), Disaster::PauseFor(ms(30_000)))]) {
        told.fired("group.expelled", 1);
    }
}

#[test]
fn workers_that_join_in_the_middle_of_a_batch_take_over_and_nothing_is_there_twice() {
    let told = tell(Shape::Kafka, |s| {
        s.partitions = 5;
        s.processes = 1;
        s.script = again(3, ms(1000), Disaster::Join);
        // Commits are under way when the others come.
        s.log_takes_us = (2000, 60_000);
    });
    for told in &told {
        told.fired("process.joins", 3);
    }
    fired_in_all(&told, "commit.fenced", 1);
}

#[test]
fn commits_whose_outcome_nobody_is_told_are_found_out() {
    for told in tell(Shape::Kafka, |s| (s.outcomes.unknown_done, s.outcomes.unknown_dropped) = (120, 120)) {
        told.fired("commit.unknown_done", 10);
        told.fired("commit.unknown_dropped", 10);
    }
}

#[test]
fn commits_that_are_aborted_leave_no_trace() {
    for told in tell(Shape::Kafka, |s| s.outcomes.retriable = 300) {
        told.fired("commit.aborted", 30);
        assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
    }
}

#[test]
fn fenced_in_the_middle_of_unknown_outcomes_and_kills_it_is_still_right() {
    let told = tell(Shape::Kafka, |s| {
        s.processes = 3;
        (s.outcomes.unknown_done, s.outcomes.unknown_dropped, s.outcomes.retriable) = (60, 60, 60);
        s.log_takes_us = (1000, 30_000);
        s.script = again(4, ms(1100), Disaster::PauseFor(ms(2600)));
        s.script.extend(again(4, ms(1500), Disaster::Kill));
        s.script.extend(again(2, ms(2300), Disaster::Join));
    });
    for told in &told {
        told.fired("commit.unknown_done", 5);
        told.fired("kill", 1);
    }
    fired_in_all(&told, "commit.fenced", 1);
}

#[test]
fn an_object_store_that_is_down_for_seconds_costs_snapshots_and_no_event() {
    for told in tell(Shape::Kafka, |s| {
        s.script = again(4, ms(1500), Disaster::StoreFails);
        s.script.extend(again(3, ms(1900), Disaster::Kill));
    }) {
        told.fired("store.fails", 3);
    }
}

#[test]
fn doors_that_die_are_sent_again_what_they_had_not_answered() {
    for told in tell(Shape::Kafka, |s| {
        s.script = again(10, ms(500), Disaster::DoorDies);
        s.log_takes_us = (2000, 30_000);
    }) {
        told.fired("door.dies", 5);
    }
}
