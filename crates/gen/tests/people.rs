//! What is behind the bytes: visits, people, the day; and what the truth says of them.

use std::collections::{BTreeMap, BTreeSet};

use event::Micros;
use ouzel_gen::generator::{BEFORE, peak_of};
use ouzel_gen::person::Role;
use ouzel_gen::session::Action;
use ouzel_gen::{Disorder, GenConfig, Generator, Kind, Pace, Truth};
use serde_json::Value;

const GAP_US: i64 = 30 * 60 * Micros::SECOND;
const HOUR: i64 = 3600 * Micros::SECOND;

fn generator(config: GenConfig) -> Generator {
    config.build().expect("a valid configuration")
}

fn events(config: GenConfig, n: usize) -> Vec<(Truth, Value)> {
    let mut generator = generator(config);
    (0..n)
        .map(|_| {
            let mut out = Vec::new();
            let truth = generator.next(&mut out);
            (truth, serde_json::from_slice(&out).unwrap_or(Value::Null))
        })
        .collect()
}

/// Little in memory: the marketplace goes on, and its events are looked at one by one.
fn each(config: GenConfig, n: usize, mut look: impl FnMut(&Truth)) -> Generator {
    let mut generator = generator(config);
    let mut out = Vec::new();
    for _ in 0..n {
        out.clear();
        look(&generator.next(&mut out));
    }
    generator
}

#[test]
fn truth_and_bytes_agree() {
    let disorder = Disorder { shuffled_us: 2_000_000, ..Disorder::USUAL };
    let (mut kinds, mut ahead) = (BTreeSet::new(), BTreeSet::new());
    for (truth, event) in events(GenConfig { disorder, ..GenConfig::default() }, 20_000) {
        kinds.insert(truth.kind);
        let mut line = Vec::new();
        truth.write(&mut line);
        let said: Value = serde_json::from_slice(&line).expect("a line of the truth is JSON");
        if truth.kind == Kind::Malformed {
            assert!(said["code"].is_string());
            continue;
        }
        assert_eq!(said["id"], event["messageId"]);
        assert_eq!(said["type"], *event.get("event").unwrap_or(&event["type"]));
        assert_eq!(said["amount"], event["properties"]["amount"], "{event}");
        if truth.amount.is_some() {
            assert_eq!(said["currency"], event["properties"]["currency"]);
        }
        assert_eq!(said["device"], event["anonymousId"], "absent is null");
        if truth.action.is_server() {
            assert!(event["anonymousId"].is_null() && event["context"]["userAgent"].is_null());
            assert_eq!(
                event["context"]["library"]["name"].as_str().map(str::to_lowercase).as_deref(),
                Some("analytics-node")
            );
        } else {
            assert!(event["context"]["userAgent"].is_string() && event["context"]["ip"].is_string());
        }
        let time = |of: &Value| Micros::parse_rfc3339(of.as_str().expect("a time").as_bytes()).expect("a time");
        let off = (time(&event["timestamp"]).0 - truth.time.0, time(&event["sentAt"]).0 - truth.arrival.0);
        assert!(truth.arrival >= truth.time);
        if truth.kind == Kind::Future {
            ahead.insert(truth.id);
        }
        // A clock that is hours ahead is so in every copy.
        if ahead.contains(&truth.id) {
            assert!(off.0 - off.1 >= HOUR, "{off:?}");
        } else {
            // A wrong clock is as wrong in one as in the other.
            assert!(off.0 == off.1 && off.0.abs() <= 240 * Micros::SECOND, "{off:?}");
        }
        assert!(!line.windows(3).any(|w| w == b"\"\":"));
        let text = event.to_string();
        assert!(!text.contains(&format!("\"p-{}\"", truth.person)), "an event never says who somebody is");
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), Kind::ALL);
}

#[test]
fn what_goes_wrong_on_the_way_does_not_change_what_happened() {
    let clean = events(GenConfig::default(), 30_000);
    let clean: BTreeMap<_, _> = clean.into_iter().map(|(t, e)| (t.id, (t, e))).collect();
    let disorder = Disorder { skewed: 0, ..Disorder::USUAL };
    let (mut good, mut same_payload, mut before) = (0, 0, 0);
    let mut first: BTreeMap<_, Value> = BTreeMap::new();
    for (truth, mut event) in events(GenConfig { disorder, ..GenConfig::default() }, 20_000) {
        if truth.id.number >= BEFORE {
            assert!(truth.time < GenConfig::default().start && truth.arrival >= GenConfig::default().start);
            before += 1;
            continue;
        }
        let (t, e) = &clean[&truth.id];
        assert_eq!(
            (t.person, t.session, t.time, t.action, t.visitor),
            (truth.person, truth.session, truth.time, truth.action, truth.visitor)
        );
        match truth.kind {
            Kind::Good => {
                assert_eq!(e, &event);
                good += 1;
            }
            Kind::Late => {
                event["sentAt"] = e["sentAt"].clone();
                assert_eq!(&event, e);
            }
            Kind::Future => assert_ne!(event["timestamp"], e["timestamp"]),
            Kind::Duplicate | Kind::Conflict => {
                event["sentAt"] = e["sentAt"].clone();
                assert_eq!(event == first[&truth.id], truth.kind == Kind::Duplicate);
                same_payload += 1;
            }
            Kind::Malformed => {}
        }
        first.entry(truth.id).or_insert(event);
    }
    assert!(good > 15_000 && same_payload > 500 && before > 20, "{good} good, {same_payload} twice, {before} before");
}

#[test]
fn rates_are_what_was_asked_for() {
    const RECORDS: usize = 400_000;
    let disorder = Disorder { malformed: 30_000, future: 5_000, conflicting: 4_000, ..Disorder::USUAL };
    let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
    let mut spans: BTreeMap<Kind, (i64, i64)> = BTreeMap::new();
    each(GenConfig { disorder, ..GenConfig::default() }, RECORDS, |t| {
        *counts.entry(t.kind).or_default() += 1;
        let span = spans.entry(t.kind).or_insert((i64::MAX, 0));
        *span = (span.0.min(t.arrival.0 - t.time.0), span.1.max(t.arrival.0 - t.time.0));
    });
    let events: u32 =
        counts.iter().filter(|(k, _)| !matches!(k, Kind::Duplicate | Kind::Conflict)).map(|(_, n)| n).sum();
    for (kind, asked) in [
        (Kind::Late, disorder.late),
        // What is malformed is not sent twice.
        (Kind::Duplicate, disorder.doubled * 97 / 100),
        (Kind::Conflict, disorder.conflicting * 97 / 100),
        (Kind::Malformed, disorder.malformed),
        (Kind::Future, disorder.future),
    ] {
        let (got, asked) = (f64::from(counts[&kind]) / f64::from(events), f64::from(asked) / 1e6);
        assert!((got / asked - 1.0).abs() < 0.08, "{kind:?}: {got} for {asked}");
    }
    assert_eq!(spans[&Kind::Good], (0, 0));
    assert_eq!(spans[&Kind::Malformed], (0, 0));
    let (least, most) = spans[&Kind::Late];
    assert!(
        (5 * Micros::SECOND..10 * Micros::SECOND).contains(&least) && most > 300 * Micros::SECOND,
        "{least} {most}"
    );
}

#[test]
fn shuffled_events_arrive_out_of_order_within_the_window() {
    let disorder = Disorder { shuffled_us: 10 * Micros::SECOND, ..Disorder::NONE };
    let (mut steps_back, mut last, mut most) = (0, i64::MIN, 0);
    each(GenConfig { disorder, ..GenConfig::default() }, 20_000, |t| {
        assert!(t.arrival.0 - t.time.0 < 10 * Micros::SECOND && t.kind == Kind::Good);
        most = most.max(t.arrival.0 - t.time.0);
        steps_back += u32::from(t.time.0 < last);
        last = t.time.0;
    });
    assert!(steps_back > 8_000 && most > 9 * Micros::SECOND, "{steps_back} steps back, {most} us at most");
}

/// Half an hour without an event of a device, and nothing else, divides its visits; also with what is lost to malformed
/// events.
#[test]
fn visits_in_the_truth_are_the_gaps_in_the_events() {
    let disorder = Disorder { malformed: 200_000, ..Disorder::USUAL };
    let mut of_device: BTreeMap<u64, BTreeMap<i64, u64>> = BTreeMap::new();
    // Few people, who come back often.
    let config = GenConfig { disorder, ..GenConfig::of(3_000) };
    each(config, 300_000, |t| {
        if !t.action.is_server() && t.kind != Kind::Malformed {
            of_device.entry(t.visitor.0).or_default().insert(t.time.0, t.session);
        }
    });
    let (mut within, mut between) = (0, 0);
    for events in of_device.values() {
        for ((t1, s1), (t2, s2)) in events.iter().zip(events.iter().skip(1)) {
            if s1 == s2 {
                assert!(t2 - t1 < GAP_US, "a gap of {} min within a visit", (t2 - t1) / 60_000_000);
                within += 1;
            } else {
                assert!(t2 - t1 > GAP_US, "{} min between two visits", (t2 - t1) / 60_000_000);
                between += 1;
            }
        }
    }
    assert!(within > 100_000 && between > 3_000, "{within} within, {between} between");
}

#[test]
fn servers_speak_of_the_person_whose_browser_was_there() {
    #[derive(Default)]
    struct Visit {
        people: BTreeSet<u64>,
        devices: BTreeSet<u64>,
        users: BTreeSet<u64>,
    }
    let mut visits: BTreeMap<u64, Visit> = BTreeMap::new();
    let mut server = 0;
    for (t, event) in events(GenConfig::default(), 40_000) {
        let visit = visits.entry(t.session).or_default();
        visit.people.insert(t.person);
        if t.action.is_server() {
            server += 1;
            assert!(event["userId"].as_str().is_some_and(|u| u.starts_with("u-")), "{event}");
            visit.users.insert(t.visitor.0);
        } else {
            visit.devices.insert(t.visitor.0);
        }
    }
    let one = |v: &Visit| v.people.len() == 1 && v.devices.len() <= 1 && v.users.len() <= 1;
    assert!(visits.values().all(one), "a visit is one person's, on one device");
    let both = visits.values().filter(|v| !v.devices.is_empty() && !v.users.is_empty()).count();
    assert!(server > 1_000 && both > 400, "{server} events of servers, in {both} visits beside a browser's");
}

#[test]
fn an_account_belongs_to_one_person_and_a_device_too() {
    let (mut user_of, mut device_of) = (BTreeMap::new(), BTreeMap::new());
    let mut devices_of: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let mut anonymous_then_known = BTreeSet::new();
    let mut anonymous = BTreeSet::new();
    let config = GenConfig::of(3_000);
    for (t, event) in events(config, 60_000) {
        let device = event["anonymousId"].as_str().map(str::to_owned);
        if let Some(user) = event["userId"].as_str() {
            assert_eq!(*user_of.entry(user.to_owned()).or_insert(t.person), t.person);
            if let Some(device) = &device {
                devices_of.entry(t.person).or_default().insert(device.clone());
                if anonymous.contains(device) {
                    anonymous_then_known.insert(device.clone());
                }
            }
        } else if let Some(device) = &device {
            anonymous.insert(device.clone());
        }
        if let Some(device) = device {
            assert_eq!(*device_of.entry(device).or_insert(t.person), t.person);
        }
    }
    let several = devices_of.values().filter(|d| d.len() > 1).count();
    assert!(several > 40, "{several} people were signed in on several devices");
    assert!(anonymous_then_known.len() > 100, "{} visitors became known", anonymous_then_known.len());
}

/// Everybody is introduced once, before or with what they do, and as what they are.
#[test]
fn the_truth_names_everybody_once() {
    let config = GenConfig { disorder: Disorder { shuffled_us: 5_000_000, ..Disorder::USUAL }, ..GenConfig::of(2_000) };
    let mut generator = generator(config);
    let (mut people, mut devices) = (BTreeMap::new(), BTreeMap::new());
    let (mut out, mut line) = (Vec::new(), Vec::new());
    let mut bots = 0;
    for _ in 0..150_000 {
        out.clear();
        let truth = generator.next(&mut out);
        for introduction in generator.introductions() {
            line.clear();
            if introduction.is_new {
                generator.write_person(*introduction, &mut line);
                let said: Value = serde_json::from_slice(&line).expect("JSON");
                assert!(said["attacker"].is_null() && !said["networks"].as_array().expect("a list").is_empty());
                assert_eq!(said["is_bot"], matches!(said["role"].as_str(), Some("crawler" | "scraper")));
                assert!(people.insert(said["person"].as_str().expect("a name").to_owned(), said).is_none(), "twice");
            }
            line.clear();
            generator.write_devices(*introduction, &mut line);
            for said in line.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                let said: Value = serde_json::from_slice(said).expect("JSON");
                assert!(people.contains_key(said["person"].as_str().expect("a name")));
                assert!(devices.insert(said["device"].as_str().expect("an id").to_owned(), said).is_none(), "twice");
            }
        }
        let person = &people[&format!("p-{}", truth.person)];
        assert_eq!(person["role"], truth.role.name());
        bots += u32::from(truth.role.is_bot());
        let Ok(event) = serde_json::from_slice::<Value>(&out) else { continue };
        if truth.kind == Kind::Malformed {
            continue;
        }
        if let Some(user) = event["userId"].as_str() {
            assert_eq!(person["user"], user);
        }
        if let Some(device) = event["anonymousId"].as_str() {
            let device = &devices[device];
            assert_eq!(device["person"], format!("p-{}", truth.person));
            assert_eq!(device["user_agent"], event["context"]["userAgent"]);
            let networks = person["networks"].as_array().expect("a list");
            let mut addresses = networks.iter().filter_map(|n| n["address"].as_str());
            let moves = networks.iter().any(|n| n["address"].is_null());
            let v6 = event["context"]["ip"].as_str().is_some_and(|a| a.contains(':'));
            // Of IPv6 each device has an address of its own in the household's network.
            assert!(moves || v6 || addresses.any(|a| event["context"]["ip"] == a), "{event} {person}");
        }
    }
    assert!(people.len() > 1_000 && (4_000..15_000).contains(&bots), "{} people, {bots} events of bots", people.len());
}

#[test]
fn the_marketplace_is_as_full_at_the_start_as_later_and_follows_the_day() {
    let people = 100_000;
    let peak = peak_of(people);
    // From noon on a Sunday to noon on Monday.
    let mut hours = [0u32; 24];
    let mut first_minutes = 0;
    let start = GenConfig::default().start;
    let mut generator = generator(GenConfig::default());
    let mut out = Vec::new();
    loop {
        out.clear();
        let since = generator.next(&mut out).time.0 - start.0;
        if since >= 24 * HOUR {
            break;
        }
        hours[(since / HOUR) as usize] += 1;
        first_minutes += u32::from(since < HOUR / 6);
    }
    let per_s = hours.map(|n| f64::from(n) / 3600.0);
    let early = f64::from(first_minutes) / 600.0;
    assert!((early / per_s[0] - 1.0).abs() < 0.08, "{early}/s at the start, {}/s in the hour", per_s[0]);
    // Sunday evening is the week's peak; in Europe it is eight to nine when it is seven to eight in Greenwich.
    let evening = per_s[7].max(per_s[8]);
    assert!((evening / peak - 1.0).abs() < 0.06, "{evening}/s in the evening, planned {peak}");
    let night = per_s[14..18].iter().copied().fold(f64::MAX, f64::min);
    assert!(night < evening / 3.0, "{night}/s at night, {evening}/s in the evening");
}

#[test]
fn a_steady_stream_is_of_whole_visits() {
    let config = GenConfig { people: 1_000_000, pace: Pace::Even { per_s: 300.0 }, ..GenConfig::default() };
    let mut last: BTreeMap<u64, i64> = BTreeMap::new();
    let mut by_hour = BTreeMap::new();
    each(config, 600_000, |t| {
        let before = last.insert(t.session, t.time.0).unwrap_or(t.time.0);
        assert!(t.time.0 - before < GAP_US);
        *by_hour.entry((t.time.0 - config.start.0) / (600 * Micros::SECOND)).or_insert(0u32) += 1;
    });
    assert!(by_hour.values().take(3).all(|n| *n == 180_000), "{by_hour:?}");
}

#[test]
fn what_is_kept_depends_on_who_is_there_not_on_how_many_there_are() {
    for people in [100_000, 80_000_000] {
        let pace = Pace::Daily { peak_per_s: peak_of(100_000) };
        let generator = each(GenConfig { people, pace, ..GenConfig::default() }, 20_000, |_| {});
        assert!(generator.live() < 1_000, "{} visits", generator.live());
    }
}

#[test]
fn everybody_does_what_somebody_like_that_does() {
    let mut actions: BTreeMap<(Role, Action), u32> = BTreeMap::new();
    each(GenConfig::default(), 300_000, |t| *actions.entry((t.role, t.action)).or_default() += 1);
    for role in [Role::Shopper, Role::Seller] {
        for action in Action::ALL {
            let sells = matches!(
                action,
                Action::ListingCreated
                    | Action::ListingEdited
                    | Action::ListingPublished
                    | Action::PayoutRequested
                    | Action::PayoutSent
            );
            let there = actions.contains_key(&(role, action));
            let never = (role == Role::Shopper && sells) || (role == Role::Seller && action == Action::SignUp);
            // Few payments are declined, and sellers buy little.
            let rare = role == Role::Seller && action == Action::PaymentDeclined;
            assert!(there != never || rare, "{role:?} {action:?}");
        }
    }
    for role in [Role::Crawler, Role::Scraper] {
        let of: Vec<Action> = actions.keys().filter(|(r, _)| *r == role).map(|(_, a)| *a).collect();
        assert!(of.iter().all(|a| *a <= Action::ListingViewed), "{role:?} {of:?}");
    }
    let all: u32 = actions.values().sum();
    let bots: u32 = actions.iter().filter(|((r, _), _)| r.is_bot()).map(|(_, n)| n).sum();
    assert!((2..8).contains(&(bots * 100 / all)), "{bots} of {all} events are of bots");
}
