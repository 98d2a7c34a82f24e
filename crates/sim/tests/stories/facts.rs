//! What happens to those that are asked: they are slow, down, come and go, lie, have new data.

use std::collections::BTreeMap;

use ouzel_sim::world::{Disaster, Mood, Shape};

use super::tell::{Told, again, ms, tell};

/// How the lookup of each event ended that asked.
fn ends(told: &Told) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for event in told.enriched() {
        *ends.entry(event["enriched"]["status"]["fact"].as_str().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    // Some events name no visitor.
    ends.remove("skipped");
    ends
}

#[test]
fn a_source_that_is_down_for_every_event_flags_them_all_and_holds_up_none() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| s.mood = Mood::Down) {
            let ends = ends(&told);
            let may = ["timeout", "open", "error:connection", "error:unavailable"];
            assert!(ends.keys().all(|end| may.contains(&end.as_str())), "seed {}: {ends:?}", told.seed);
            assert!(ends.values().sum::<usize>() > 500, "seed {}: {ends:?}", told.seed);
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
fn a_source_that_flaps_is_asked_again_and_costs_the_facts_that_it_never_gave() {
    for told in tell(Shape::Embedded, |s| s.mood = Mood::Flapping) {
        let ends = ends(&told);
        let ok = ends["ok"] + ends.iter().filter(|(end, _)| end.starts_with("stale:")).map(|(_, n)| n).sum::<usize>();
        let bad = ends.iter().filter(|(end, _)| end.starts_with("error:") || *end == "timeout" || *end == "open");
        assert!(ok > 200 && bad.count() > 0, "seed {}: {ends:?}", told.seed);
        let facts = told.enriched().iter().filter(|e| e["enriched"]["fact"]["n"].is_u64()).count();
        assert_eq!(facts, ok, "seed {}", told.seed);
    }
}

#[test]
fn a_source_that_lies_is_believed_and_breaks_nothing() {
    for told in tell(Shape::Embedded, |s| s.mood = Mood::Lying) {
        let lies = told.enriched().iter().filter(|e| e["enriched"]["fact"]["lie"].is_string()).count();
        let ends = ends(&told);
        assert!(lies > 500 && lies >= ends["ok"], "seed {}: {lies} of {ends:?}", told.seed);
    }
}

#[test]
fn a_slow_source_delays_those_who_ask_it_and_nobody_else() {
    let mut overtaken = 0;
    for told in tell(Shape::Embedded, |s| s.mood = Mood::Slow(ms(30))) {
        let ends = ends(&told);
        assert!(ends["ok"] > 500, "seed {}: {ends:?}", told.seed);
        let waited = told.enriched().iter().filter(|e| e["enriched"]["waited"]["fact"].is_number()).count();
        assert!(waited > 100 && waited < ends["ok"], "seed {}: {waited} of {ends:?}", told.seed);
        // Some are written before earlier ones, of other visitors.
        for rows in &told.outputs.enriched.rows {
            let mut last = BTreeMap::new();
            for (from, offset) in rows.iter().filter_map(|row| row.source) {
                overtaken += usize::from(last.insert(from, offset).is_some_and(|before| before > offset));
            }
        }
    }
    assert!(overtaken > 20, "{overtaken}");
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
            let again = event["enriched"]["status"]["again"].as_str().unwrap_or_default();
            assert!(["ok", "miss", "skipped"].contains(&again), "seed {}: {again}", told.seed);
        }
        assert!(versions.len() > 20, "seed {}: {versions:?}", told.seed);
    }
}
