//! What happens to those that are asked: they are slow, down, come and go, lie, have new data.

use ouzel_sim::world::{Disaster, Mood, Shape};

use super::tell::{again, ms, tell};

#[test]
fn a_source_that_is_down_for_every_event_flags_them_all_and_holds_up_none() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| s.mood = Mood::Down) {
            assert_eq!(told.with_status("fact", "timeout"), told.outputs.enriched.len(), "seed {}", told.seed);
            // What was refused or conflicts is a dead letter in any world.
            let quarantined = told.outputs.dlq.iter().filter(|(_, row)| row.source.is_some() && !row.from_enriched);
            assert_eq!(
                quarantined.count(),
                told.letters(event::Code::ConflictingDuplicate).len(),
                "seed {}",
                told.seed
            );
            assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
        }
    }
}

#[test]
fn a_source_that_flaps_costs_those_facts_that_it_did_not_give() {
    for told in tell(Shape::Embedded, |s| s.mood = Mood::Flapping) {
        let (ok, timeout) = (told.with_status("fact", "ok"), told.with_status("fact", "timeout"));
        assert!(ok > 200 && timeout > 200, "seed {}: {ok} and {timeout}", told.seed);
        let facts = told.enriched().iter().filter(|e| e["enriched"]["fact"]["n"].is_u64()).count();
        assert_eq!(facts, ok, "seed {}", told.seed);
    }
}

#[test]
fn a_source_that_lies_is_believed_and_breaks_nothing() {
    for told in tell(Shape::Embedded, |s| s.mood = Mood::Lying) {
        let lies = told.enriched().iter().filter(|e| e["enriched"]["fact"]["lie"].is_string()).count();
        assert!(lies > 1000 && lies == told.outputs.enriched.len(), "seed {}: {lies}", told.seed);
    }
}

#[test]
fn a_slow_source_delays_and_nothing_else() {
    for told in tell(Shape::Embedded, |s| s.mood = Mood::Slow(ms(4))) {
        assert!(told.with_status("fact", "ok") > 1000, "seed {}", told.seed);
        // All that was asked took its time.
        assert!(told.report.lasted > ms(4000), "seed {}", told.seed);
    }
}

#[test]
fn a_source_that_comes_and_goes_is_asked_again_when_it_is_back() {
    for told in tell(Shape::Kafka, |s| s.script = again(10, ms(600), Disaster::SourceMood)) {
        let moods = ["source.down", "source.flaps", "source.lies", "source.slow"];
        let count: u64 = moods.iter().map(|mood| told.count(mood)).sum();
        assert_eq!(count, 10, "seed {}", told.seed);
        assert!(told.with_status("fact", "ok") > 500, "seed {}", told.seed);
    }
}

#[test]
fn fifty_reloads_under_load_cost_no_event_and_each_event_says_what_it_was_told_by() {
    for told in tell(Shape::Embedded, |s| s.script = again(50, ms(80), Disaster::Reload)) {
        told.fired("source.reloads", 50);
        let mut versions = std::collections::BTreeSet::new();
        for event in told.enriched() {
            versions.insert(event["enriched"]["data_versions"].to_string());
        }
        assert!(versions.len() > 20, "seed {}: {versions:?}", told.seed);
        assert_eq!(told.with_status("fact", "timeout"), 0, "seed {}", told.seed);
    }
}
