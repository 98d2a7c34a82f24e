//! The edges of what belongs to a session, each a story.

mod support;

use event::Micros;
use ouzel_session::{Preset, SessionsConfig};
use serde_json::Value;
use support::edge::*;
use support::{Drive, Sent};

#[test]
fn an_event_exactly_the_gap_later_still_joins_and_one_microsecond_more_does_not() {
    for config in [SessionsConfig::default(), SessionsConfig::preset(Preset::Snowplow)] {
        assert_eq!(cut_into(config.clone(), &[page(noon()), page(noon() + GAP)]), [2]);
        assert_eq!(cut_into(config, &[page(noon()), page(noon() + GAP + 1)]), [1, 1]);
    }
}

#[test]
fn a_session_of_one_event_gets_its_final_when_the_watermark_reaches_its_end_plus_the_gap() {
    let mut drive = gap_only();
    drive.send(&page(noon()));
    assert_eq!(kinds(&drive.take()), [(UPDATE, 0)]);
    drive.watermark(noon() + GAP - 1);
    assert!(drive.take().is_empty());
    drive.watermark(noon() + GAP);
    let said = drive.take();
    assert_eq!(kinds(&said), [(FINAL, 0)]);
    let f = said[0].value();
    assert_eq!((&f["start"], &f["end"]), (&f["end"], &"2026-11-22T12:00:00.000000Z".into()));
    assert_eq!(f["expires_at"], "2026-11-22T12:30:00.000000Z");
    assert_eq!((&f["duration_s"], &f["engaged"], &f["closed_by"]), (&0.into(), &false.into(), &"gap".into()));
}

#[test]
fn a_late_event_bridges_two_sessions_and_the_one_opened_first_in_the_log_survives() {
    let (a, b, c) = (noon(), noon() + 25 * MINUTE, noon() + 50 * MINUTE);
    for (order, survivor) in [([a, c, b], a), ([c, a, b], c)] {
        let mut drive = gap_only();
        order.iter().for_each(|at| drive.place(&Sent { campaign: format!("c{at}"), received: c, ..page(*at) }));
        let said = drive.take();
        assert_eq!(kinds(&said), [(UPDATE, 0), (MERGE, 0)], "one update in ten seconds of log time");
        let merge = said[1].value();
        assert_eq!(merge["survivor"], merge["session_id"]);
        assert_eq!(merge["session_id"], said[0].value()["session_id"]);
        assert_eq!((&merge["start"], &merge["end"]), (&Micros(a).to_string().into(), &Micros(c).to_string().into()));
        drive.close();
        let all = finals(&drive.take());
        assert_eq!(all.len(), 1, "the absorbed one says no more");
        let f = &all[0];
        assert_eq!((&f["session_id"], &f["events"]), (&merge["survivor"], &3.into()));
        assert_ne!(f["session_id"], merge["absorbed"]);
        assert_eq!(f["entry"]["campaign"]["name"], format!("c{a}"), "whoever survives, the entry is the earliest's");
        assert_eq!((&f["entry"]["page"], &f["last_page"]), (&"/0".into(), &"/3000000000".into()));
        assert_eq!(survivor, order[0]);
    }
}

#[test]
fn a_bridge_over_exactly_two_gaps_joins_and_one_microsecond_off_does_not() {
    for (off, want) in [(0, vec![3]), (1, vec![2, 1])] {
        let mut drive = gap_only();
        [noon(), noon() + 2 * GAP + off, noon() + GAP].iter().for_each(|at| drive.place(&page(*at)));
        drive.close();
        assert_eq!(counts(&drive.take()), want);
    }
}

#[test]
fn a_session_opened_after_a_merge_is_linked_to_the_survivor() {
    let mut drive = gap_only();
    for at in [0, 50, 25, 100] {
        drive.place(&page(noon() + at * MINUTE));
    }
    drive.close();
    let all = finals(&drive.take());
    assert_eq!(all[1]["previous_session_id"], all[0]["session_id"]);
}

#[test]
fn finals_come_in_the_order_of_time_also_when_the_watermark_leaps() {
    let config = SessionsConfig { end_events: vec!["end".into()], ..SessionsConfig::default() };
    let mut drive = with(config);
    drive.place(&page(noon()));
    drive.place(&Sent { kind: "end".into(), ..page(noon() + 2 * GAP) });
    drive.watermark(noon() + 2 * GAP);
    let all = finals(&drive.take());
    assert_eq!(all.iter().map(|f| f["session_index"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
}

#[test]
fn a_session_after_the_absorbed_one_is_linked_to_the_survivor() {
    let mut drive = gap_only();
    for at in [0, 50, 100, 25, 150] {
        drive.place(&page(noon() + at * MINUTE));
    }
    drive.close();
    let all = finals(&drive.take());
    assert_eq!(all.iter().map(|f| f["session_index"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(3), Some(4)]);
    assert_eq!(all[0]["previous_session_id"], Value::Null);
    assert_eq!(all[1]["previous_session_id"], all[0]["session_id"]);
    assert_eq!(all[2]["previous_session_id"], all[1]["session_id"]);
}

#[test]
fn a_new_first_event_moves_the_start_and_the_entry_but_not_the_id() {
    let mut drive = gap_only();
    drive.place(&page(noon()));
    let id = drive.take()[0].id;
    drive.place(&late_by(MINUTE, noon() - GAP));
    drive.close();
    let f = &finals(&drive.take())[0];
    assert_eq!(f["session_id"], format!("{id:032x}"));
    assert_eq!((&f["start"], &f["entry"]["page"]), (&"2026-11-22T11:30:00.000000Z".into(), &"/-1800000000".into()));
    assert_eq!((&f["last_page"], &f["engaged"]), (&"/0".into(), &true.into()));
    assert_eq!(id, event::key::id_hash(b"v", &(noon() as u128).to_le_bytes()), "of the event that opened it");
}

#[test]
fn midnight_is_the_zones_also_when_its_clocks_are_set() {
    let midnight = |zone: &str| SessionsConfig { midnight: Some(zone.into()), ..SessionsConfig::default() };
    for (zone, end) in [
        ("UTC", "2026-11-23T00:00:00Z"),
        // The day in spring has 23 hours, that in autumn 25.
        ("Europe/Berlin", "2026-03-28T23:00:00Z"),
        ("Europe/Berlin", "2026-03-29T22:00:00Z"),
        ("Europe/Berlin", "2026-10-24T22:00:00Z"),
        ("Europe/Berlin", "2026-10-25T23:00:00Z"),
        // Midnight itself was left out, or was there twice.
        ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
        ("America/Sao_Paulo", "2018-02-18T03:00:00Z"),
    ] {
        let end = time(end);
        let three = [page(end - 20 * MINUTE), page(end - 1), page(end)];
        assert_eq!(cut_into(midnight(zone), &three), [2, 1], "{zone}");
        assert_eq!(cut_into(midnight(zone), &[page(end), page(end + 1)]), [2], "{zone}");
        assert_eq!(cut_into(midnight(zone), &[page(end - MINUTE - 1), page(end - MINUTE)]), [2], "{zone}");
    }
}

#[test]
fn a_late_event_within_a_final_session_makes_it_final_again_at_once() {
    let mut drive = gap_only();
    drive.send(&page(noon()));
    drive.send(&page(noon() + 20 * MINUTE));
    drive.watermark(noon() + 50 * MINUTE);
    drive.place(&late_by(45 * MINUTE, noon() + 5 * MINUTE));
    let said = drive.take();
    assert_eq!(kinds(&said), [(UPDATE, 0), (UPDATE, 0), (FINAL, 0), (FINAL, 1)]);
    assert_eq!(counts(&said), [2, 3]);
}

#[test]
fn a_late_event_that_extends_a_final_session_opens_it_again() {
    let mut drive = gap_only();
    drive.send(&page(noon()));
    drive.watermark(noon() + GAP);
    drive.place(&page(noon() + GAP));
    assert_eq!(kinds(&drive.take()), [(UPDATE, 0), (FINAL, 0), (UPDATE, 1)]);
    assert_eq!(drive.show("v")["sessions"][0]["events"], 2);
    drive.watermark(noon() + 2 * GAP - 1);
    assert!(drive.take().is_empty());
    drive.watermark(noon() + 2 * GAP);
    assert_eq!(kinds(&drive.take()), [(FINAL, 1)]);
}

#[test]
fn a_final_session_takes_events_until_its_lateness_is_over() {
    let over = noon() + GAP + LATENESS;
    for (watermark, want) in
        [(over - 1, vec![(UPDATE, 0), (FINAL, 0), (FINAL, 1)]), (over, vec![(UPDATE, 0), (FINAL, 0), (None, 0)])]
    {
        let mut drive = gap_only();
        drive.send(&page(noon()));
        drive.watermark(watermark);
        drive.place(&late_by(GAP + LATENESS, noon() - 1));
        assert_eq!(kinds(&drive.take()), want);
    }
}

#[test]
fn an_event_is_too_late_when_gap_and_lateness_are_over_and_opens_its_session_one_microsecond_before() {
    for config in [SessionsConfig::default(), SessionsConfig::preset(Preset::Snowplow)] {
        for (watermark, want) in [(noon() + GAP + LATENESS - 1, FINAL), (noon() + GAP + LATENESS, None)] {
            let mut drive = with(config.clone());
            drive.watermark(watermark);
            drive.place(&late_by(3 * GAP, noon()));
            let said = drive.take();
            assert_eq!(kinds(&said), [(want, 0)], "due at once, so its final comes at once");
        }
    }
}

#[test]
fn nothing_is_late_while_the_watermark_is_undefined() {
    for config in [SessionsConfig::default(), SessionsConfig::preset(Preset::UniversalAnalytics)] {
        let mut drive = with(config);
        drive.place(&page(noon()));
        drive.place(&page(0));
        assert!(drive.take().iter().all(|s| s.kind == UPDATE));
        drive.close();
        assert_eq!(counts(&drive.take()), [1, 1]);
    }
}

#[test]
fn a_clock_five_minutes_fast_counts_as_it_says_and_one_beyond_that_by_its_receipt() {
    let mut drive = gap_only();
    drive.send(&page(noon()));
    drive.send(&Sent { at: noon() + 5 * MINUTE, received: noon() + SECOND, ..page(noon() + 1) });
    assert_eq!(drive.clocks.watermark, Micros(noon() + SECOND), "one fast clock makes nobody late");
    drive.send(&Sent {
        at: time("2150-01-01T00:00:00Z"),
        received: noon() + 2 * SECOND,
        future: true,
        ..page(noon() + 2)
    });
    drive.watermark(noon() + 5 * MINUTE + GAP);
    let all = finals(&drive.take());
    assert_eq!((&all[0]["events"], &all[0]["end"]), (&3.into(), &"2026-11-22T12:05:00.000000Z".into()));
}

#[test]
fn a_session_of_max_length_takes_its_last_event_and_one_microsecond_more_opens_a_new_one() {
    let config = SessionsConfig { max_length_us: Some(40 * MINUTE), ..SessionsConfig::default() };
    let (a, b, c) = (page(noon()), page(noon() + 20 * MINUTE), page(noon() + 40 * MINUTE));
    assert_eq!(cut_into(config.clone(), &[a.clone(), b.clone(), c]), [3]);
    assert_eq!(cut_into(config, &[a, b, page(noon() + 40 * MINUTE + 1)]), [2, 1]);
}

#[test]
fn the_last_event_that_fits_closes_a_session_of_max_events() {
    let config = SessionsConfig { max_events: Some(2), ..SessionsConfig::default() };
    let mut drive = with(config);
    (0..2).for_each(|n| drive.send(&page(noon() + n)));
    assert_eq!(counts(&drive.take()), [2], "at once, not with the third");
    (2..5).for_each(|n| drive.send(&page(noon() + n)));
    let said = drive.take();
    assert_eq!(counts(&said), [2]);
    assert!(finals(&said).iter().all(|f| f["closed_by"] == "max_events"));
    drive.close();
    assert_eq!(counts(&drive.take()), [1]);
}

#[test]
fn end_events_close_after_and_start_events_open_before_themselves_also_at_one_time() {
    let config = SessionsConfig {
        start_events: vec!["start".into()],
        end_events: vec!["end".into()],
        ..SessionsConfig::default()
    };
    let event = |at: i64, id: u128, kind: &str| Sent { id, kind: kind.into(), ..page(noon() + at) };
    let events =
        [event(0, 1, "page"), event(0, 2, "end"), event(0, 3, "page"), event(1, 4, "start"), event(1, 5, "end")];
    assert_eq!(cut_into(config, &events), [2, 1, 2]);
}

#[test]
fn another_campaign_user_or_client_session_splits_and_none_does_not() {
    let none = SessionsConfig::default();
    let campaign = |n: i64, name: &str| Sent { campaign: name.into(), ..page(noon() + n) };
    let user = |n: i64, name: &str| Sent { user: name.into(), ..page(noon() + n) };
    let client = |n: i64, name: &str| Sent { session: name.into(), ..page(noon() + n) };
    let config = SessionsConfig { campaign_change: true, ..none.clone() };
    assert_eq!(cut_into(config, &[campaign(0, "a"), campaign(1, ""), campaign(2, "a"), campaign(3, "b")]), [3, 1]);
    let config = SessionsConfig { split_on_user_change: true, ..none };
    assert_eq!(cut_into(config, &[user(0, ""), user(1, "ann"), user(2, ""), user(3, "bob")]), [3, 1]);
    let config = SessionsConfig::preset(Preset::Snowplow);
    assert_eq!(cut_into(config, &[client(0, "x"), client(1, ""), client(2, "x"), client(3, "y")]), [3, 1]);
}

#[test]
fn what_is_too_much_for_the_buffer_is_taken_early_and_flagged() {
    let config = SessionsConfig { buffer: 2, ..SessionsConfig::preset(Preset::Snowplow) };
    let mut drive = Drive::new(config.build().expect("good"), MINUTE);
    for n in [3, 2, 1, 4] {
        drive.place(&page(noon() + n));
    }
    assert_eq!(drive.show("v")["sessions"][0]["events"], 4);
    drive.place(&page(noon()));
    drive.close();
    let all = finals(&drive.take());
    assert_eq!((&all[0]["events"], &all[0]["early"], &all[0]["late_joined"]), (&5.into(), &3.into(), &1.into()));
}

#[test]
fn a_late_event_joins_without_cutting_anew() {
    let config = SessionsConfig {
        max_length_us: Some(10 * MINUTE),
        end_events: vec!["end".into()],
        ..SessionsConfig::default()
    };
    let event = |at: i64, kind: &str| Sent { kind: kind.into(), ..page(noon() + at) };
    for (at, first, second) in [
        // Covered by the first; though it would have ended it.
        (1, 3, 3),
        // After the first one's end, within the gap: into that one, although the second starts sooner after.
        (3 * MINUTE, 3, 3),
        // Covered by the second.
        (5 * MINUTE + 1, 2, 4),
        // Before both: into the one that starts within the gap.
        (-GAP, 3, 3),
    ] {
        let mut drive = with(config.clone());
        for e in [event(0, "page"), event(2 * MINUTE, "end"), event(5 * MINUTE, "page"), event(6 * MINUTE, "page")] {
            drive.send(&e);
        }
        drive.take();
        drive.place(&Sent { kind: "end".into(), ..late_by(10 * MINUTE, noon() + at) });
        // In order again: the second session goes on.
        drive.send(&page(noon() + 7 * MINUTE));
        drive.watermark(noon() + 7 * MINUTE + GAP);
        let all = finals(&drive.take());
        let of = |index: u64| {
            all.iter().rfind(|f| f["session_index"] == index).map(|f| (f["events"].clone(), f["late_joined"].clone()))
        };
        assert_eq!(of(2), Some((second.into(), (second - 3).into())), "{at}");
        match first {
            2 => assert_eq!(of(1), None, "{at}: its final was sent before"),
            n => assert_eq!(of(1), Some((n.into(), 1.into())), "{at}"),
        }
    }
}

#[test]
fn an_event_at_the_watermark_is_late_and_one_a_microsecond_newer_waits() {
    let config = SessionsConfig { start_events: vec!["start".into()], ..SessionsConfig::default() };
    for (at, want) in [(noon() + MINUTE, vec![2]), (noon() + MINUTE + 1, vec![1, 1])] {
        let mut drive = with(config.clone());
        drive.send(&page(noon()));
        drive.watermark(noon() + MINUTE);
        drive.send(&Sent { kind: "start".into(), ..page(at) });
        drive.close();
        let all = finals(&drive.take());
        assert_eq!(all.iter().map(|f| f["events"].as_u64().expect("a count")).collect::<Vec<_>>(), want);
        assert_eq!(all[0]["late_joined"], u64::from(want.len() == 1));
    }
}

#[test]
fn a_late_event_in_a_session_that_a_rule_closed_makes_it_final_again_at_once() {
    let config = SessionsConfig { end_events: vec!["end".into()], ..SessionsConfig::default() };
    let mut drive = with(config);
    drive.send(&page(noon()));
    drive.send(&Sent { kind: "end".into(), ..page(noon() + MINUTE) });
    drive.take();
    drive.place(&late_by(MINUTE, noon() + 1));
    let said = drive.take();
    assert_eq!(kinds(&said), [(FINAL, 1)]);
    assert_eq!((&said[0].value()["closed_by"], &said[0].value()["late_joined"]), (&"end_event".into(), &1.into()));
}

#[test]
fn a_visitor_is_remembered_and_then_forgotten() {
    let week = 7 * 24 * 60 * MINUTE;
    for (back, index) in [(week - 1, 2), (week, 1)] {
        let mut drive = gap_only();
        drive.send(&page(noon()));
        drive.watermark(noon() + GAP + LATENESS);
        assert!(drive.visitors["v"].0.len() < 50, "a stub is small");
        let first = drive.take()[1].value()["session_id"].clone();
        drive.watermark(noon() + back);
        drive.place(&page(noon() + back + MINUTE));
        drive.close();
        let f = &finals(&drive.take())[0];
        assert_eq!(f["session_index"], index);
        assert_eq!(f["previous_session_id"], if index == 2 { first } else { Value::Null });
    }
}

#[test]
fn closing_ends_everything_and_later_events_are_judged_by_the_watermark_as_it_was() {
    for config in [SessionsConfig::default(), SessionsConfig::preset(Preset::Snowplow)] {
        let mut drive = Drive::new(config.build().expect("good"), 10 * SECOND);
        drive.send(&page(noon()));
        drive.close();
        assert_eq!(drive.take().last().map(|s| s.kind), Some(FINAL));
        assert!(drive.visitors.is_empty());
        drive.place(&page(noon() + 1));
        drive.place(&late_by(0, noon() - 10 * SECOND - GAP - LATENESS));
        assert_eq!(kinds(&drive.take()), [(FINAL, 0), (None, 0)]);
    }
}
