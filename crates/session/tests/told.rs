//! What is told of sessions, and when, each a story.

mod support;

use ouzel_session::{Preset, SessionsConfig};
use serde_json::Value;
use support::edge::*;
use support::{Drive, Sent};

#[test]
fn what_is_late_says_by_how_much_and_where_it_is() {
    let mut drive = gap_only();
    drive.watermark(noon() + GAP + LATENESS + SECOND / 2);
    drive.place(&late_by(GAP, noon()));
    let said = drive.take();
    let want = format!(
        r#"{{"v":1,"kind":"late","id":"{:032x}","visitor":"v","type":"page","time":"2026-11-22T12:00:00.000000Z","watermark":"2026-11-22T12:40:00.500000Z","lateness_s":2400.5,"missed":["sessions"],"at":{{"topic":"enriched","partition":7,"offset":0}}}}"#,
        noon()
    );
    assert_eq!(String::from_utf8_lossy(&said[0].json), want);
    assert!(drive.visitors.is_empty(), "nothing is kept of a visitor that has no session");
}

#[test]
fn updates_come_on_the_leading_edge_and_at_most_every_ten_seconds_of_log_time() {
    let mut drive = gap_only();
    for at in [0, 1, 9_999_999, 10_000_000, 10_000_001, 20_000_000] {
        drive.send(&page(noon() + at));
    }
    let said = drive.take();
    assert_eq!(said.iter().map(|s| s.log_time - noon()).collect::<Vec<_>>(), [0, 10_000_000, 20_000_000]);
    let last = said[2].value();
    assert_eq!((&last["events"], &last["views"], &last["last_page"]), (&6.into(), &6.into(), &"/20000000".into()));
}

#[test]
fn an_event_that_waits_is_shown_and_not_yet_told() {
    let mut drive = Drive::new(SessionsConfig::preset(Preset::Snowplow).build().expect("good"), 10 * SECOND);
    drive.send(&page(noon()));
    drive.send(&page(noon() + 5 * SECOND));
    assert!(drive.take().is_empty(), "updates are of applied events only");
    let view = drive.show("v");
    let open = &view["sessions"][0];
    assert_eq!(
        (&open["events"], &open["provisional"], &open["provisional_events"]),
        (&2.into(), &true.into(), &2.into())
    );
    assert_eq!((&view["watermark"], &open["age_s"]), (&"2026-11-22T11:59:55.000000Z".into(), &0.into()));
    drive.watermark(noon() + 5 * SECOND - 1);
    assert_eq!(drive.take().len(), 1);
    assert_eq!(drive.show("v")["sessions"][0]["provisional_events"], 1);
    drive.watermark(noon() + 5 * SECOND);
    assert_eq!(drive.show("v")["sessions"][0]["provisional_events"], 0);
}

#[test]
fn a_final_says_all_of_an_order() {
    let product =
        r#","products":[{"product_id":"p-1","price":5},{"product_id":"p-2"}],"revenue":12.5,"currency":"EUR""#;
    let geo = r#","geo":{"country":"DE","region":"x","city":"K\u00f6ln","lat":1.5},"network":{"asn":1,"kind":"hosting"},"device":{"kind":"mobile"},"referrer":{"medium":"search","source":"Google"},"bot":{"is_bot":true,"name":"Googlebot"}"#;
    let listing = |kind: &str, id: &str, more: &str| Sent {
        kind: kind.into(),
        properties: format!(r#"{more},"listing":{{"id":"{id}","price":{{"amount":9}}}}"#),
        ..page(noon() + 3)
    };
    let mut drive = gap_only();
    drive.send(&Sent { enriched: geo.into(), user: "ann".into(), campaign: "spring".into(), ..page(noon()) });
    drive.send(&listing("Listing Viewed", "l-9", ""));
    drive.send(&listing("Listing Saved", "l-9", ""));
    drive.send(&listing("Cart Updated", "l-8", r#","change":"added""#));
    drive.send(&listing("Cart Updated", "l-7", r#","change":"removed""#));
    drive.send(&Sent {
        kind: "Product Viewed".into(),
        properties: r#","product_id":7"#.into(),
        ..page(noon() + 4_000)
    });
    drive.send(&Sent {
        kind: "Order Completed".into(),
        properties: product.into(),
        page: "".into(),
        ..page(noon() + 5_000)
    });
    drive.send(&Sent {
        kind: "Order Completed".into(),
        properties: r#","currency":"EUR","items":[{"listing":{"id":"l-8"},"quantity":1}]"#.into(),
        amount: Some(100),
        ..page(noon() + 6_000)
    });
    drive.close();
    let f = &finals(&drive.take())[0];
    let want: Value = serde_json::from_str(
        r#"{"entry":{"page":"/0","referrer":{"url":null,"medium":"search","source":"Google"},"campaign":{"source":"mail","medium":null,"name":"spring"}},
        "types":{"Cart Updated":2,"Listing Saved":1,"Listing Viewed":1,"Order Completed":2,"Product Viewed":1,"page":1},"other_types":0,
        "places":[{"country":"DE","city":"Köln"}],"devices":["mobile"],"networks":["hosting"],"bot":{"is_bot":true,"names":["Googlebot"]},
        "items":{"viewed":["l-9","7"],"liked":["l-9"],"carted":["l-8"],"bought":["p-1","p-2","l-8"]},
        "value":[{"currency":"EUR","amount":112.5}],"cut":[],"events":8,"views":1,"key_events":2,"engaged":true,"user":"ann","last_page":"/6000"}"#,
    )
    .expect("JSON");
    for (name, value) in want.as_object().expect("an object") {
        assert_eq!(&f[name], value, "{name}");
    }
    let names: Vec<&String> = f.as_object().expect("an object").keys().collect();
    assert_eq!(names[..5], ["v", "kind", "session_id", "visitor", "closed_by"]);
}

#[test]
fn engaged_is_more_than_ten_seconds_or_two_views_or_a_key_event() {
    let event = |at: i64, kind: &str| Sent { kind: kind.into(), ..page(noon() + at) };
    for (events, want) in [
        (vec![event(0, "page")], false),
        (vec![event(0, "page"), event(1, "page")], true),
        (vec![event(0, "page"), event(10 * SECOND, "click")], false),
        (vec![event(0, "page"), event(10 * SECOND + 1, "click")], true),
        (vec![event(0, "Sign Up")], true),
    ] {
        let mut drive = gap_only();
        events.iter().for_each(|e| drive.send(e));
        drive.close();
        assert_eq!(finals(&drive.take())[0]["engaged"], want, "{events:?}");
    }
}

#[test]
fn an_event_of_ones_own_that_looks_enriched_changes_nothing() {
    let fake =
        r#","a":{"enriched":{"v":1,"at":"x","geo":{"country":"XX"}}},"b":[{"enriched":{"geo":{"country":"YY"}}}]"#;
    let inner = r#","user":{"enriched":{"geo":{"country":"ZZ"}}}"#;
    let mut drive = gap_only();
    drive.send(&Sent {
        properties: fake.into(),
        enriched: format!(r#","geo":{{"country":"DE"}}{inner}"#),
        ..page(noon())
    });
    drive.send(&Sent { properties: fake.into(), enriched: inner.into(), ..page(noon() + 1) });
    drive.close();
    assert_eq!(finals(&drive.take())[0]["places"].to_string(), r#"[{"country":"DE","city":null}]"#);
}

#[test]
fn lists_are_bounded_and_say_so() {
    let mut drive = gap_only();
    for n in 0..60 {
        let properties = format!(r#","product_id":"p-{n}""#);
        drive.place(&Sent {
            kind: "Product Viewed".into(),
            properties,
            page: format!("/{}", "x".repeat(500)),
            ..page(noon() + 59 - n)
        });
        drive.place(&Sent { kind: format!("type {n}"), ..page(noon() + n) });
    }
    let size = drive.visitors["v"].0.len();
    assert!(size < 2_500, "{size} bytes for a session that has too much of everything");
    drive.close();
    let f = &finals(&drive.take())[0];
    assert_eq!((&f["cut"][0], f["items"]["viewed"].as_array().map(Vec::len)), (&"viewed".into(), Some(20)));
    assert_eq!((f["types"].as_object().map(|t| t.len()), &f["other_types"]), (Some(32), &29.into()));
}

#[test]
fn rules_that_cannot_be_are_refused_with_their_key() {
    let none = SessionsConfig::default;
    for (config, says) in [
        (SessionsConfig { gap_us: 0, ..none() }, "`gap` must be"),
        (SessionsConfig { max_length_us: Some(-1), ..none() }, "`max_length` must be"),
        (SessionsConfig { max_events: Some(0), ..none() }, "`max_events` must be at least 1"),
        (SessionsConfig { buffer: 0, ..none() }, "`buffer` must be at least 1"),
        (SessionsConfig { midnight: Some("Berlin".into()), ..none() }, "has no `Berlin`"),
    ] {
        let error = config.build().expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}
