//! The user's lookups through the whole stage: what they ask in which round, by which keys, and what their status says.

use std::collections::BTreeMap;

use event::record::{Chunk, records};
use event::topic::{ENRICHED, RAW};
use event::{BlockBuilder, Field, Micros};
use flow::{Asks, Batch, Clocks, Effects, Facts, Keyed, Operator, Progress, SourceId, Status};
use ouzel_enrich::condition::Condition;
use ouzel_enrich::enricher::{AsksBy, LookupSetup, Setup, built_in};
use ouzel_enrich::order::OrderError;
use ouzel_enrich::path::{Base, Path};
use ouzel_enrich::{Dedup, Enrich, EnrichConfig, StatusMode};
use proptest::prelude::*;
use serde_json::{Value, json};
use wire::{Arrival, ArrivalPosition, Decoder, DecoderConfig, FieldMap, MapEntry, Preset, RawRecord};

/// `name: key [if condition]`, one lookup a line; `ip` before the key: by address, `all`: by parameters. The source of the n-th lookup is the n-th.
fn setup(lookups: &str) -> Setup {
    let lookup = |(n, line): (usize, &str)| {
        let (name, rest) = line.split_once(": ").expect("name: key");
        let (key, when) = rest.split_once(" if ").map_or((rest, None), |(key, when)| (key, Some(when)));
        let (key, asks_by) = match key.split_once(' ') {
            Some(("ip", key)) => (key, AsksBy::Address),
            Some(("all", key)) => (key, AsksBy::Parameters),
            _ => (key, AsksBy::Text),
        };
        LookupSetup {
            name: name.trim().into(),
            source: SourceId(n as u16),
            asks_by,
            key: key.split(", ").map(|key| Path::parse(key).expect(key)).collect(),
            when: when.map(|when| Condition::compile(when).unwrap_or_else(|e| panic!("{when}: {e}"))),
        }
    };
    Setup {
        lookups: lookups.lines().filter(|l| !l.trim().is_empty()).enumerate().map(lookup).collect(),
        fields: vec![
            (Base::Field("plan".into()), Field(16)),
            (Base::Pointer("/properties/listing/id".into()), Field(31)),
        ],
        ..Setup::default()
    }
}

fn operator(lookups: &str) -> Result<Enrich, OrderError> {
    Enrich::new(EnrichConfig {
        member: "enriched".into(),
        status: StatusMode::All,
        partitions: 1,
        out_of_order_us: 0,
        setup: setup(lookups),
    })
}

fn batch(operator: &Enrich, events: &[Value]) -> Batch {
    let mut map = FieldMap::preset(Preset::Segment);
    map.set("plan", MapEntry::pointers(&["/plan"])).expect("a field");
    map.add_pointer(Field(31), "/properties/listing/id").expect("a pointer");
    let decoder = Decoder::build(DecoderConfig::new("web", map)).expect("a decoder");
    let mut block = BlockBuilder::new(RAW.partition(0));
    let mut record = RawRecord::default();
    for (n, event) in events.iter().enumerate() {
        let mut event = event.clone();
        event["type"] = json!("track");
        let arrival = Arrival {
            received: Micros(1),
            position: ArrivalPosition::At { prefix: "test", index: n as u64 },
            inherited: &[(Field::IP, b"::ffff:9.9.9.9")],
        };
        let text = event.to_string();
        decoder.decode(text.as_bytes(), &arrival, &mut record).expect("an event");
        block.push(&record.key, &record.header, Some(&[text.as_bytes()]));
    }
    let block = block.finish();
    let chunk = Chunk { base: 0, count: block.count, bytes: block.bytes };
    let mut dedup = Dedup::new(1 << 24);
    Batch::read(RAW.partition(0), Micros(1), vec![chunk], None, |offset, record, header| {
        operator.observe(&mut dedup, offset, record, header)
    })
    .expect("a batch")
}

/// Answers like sources of rows: (number of the lookup, key) to row. Gives the `enriched` of each event, and what was asked
/// in each round.
fn enrich(
    lookups: &str,
    rows: &BTreeMap<(u16, Vec<u8>), Value>,
    events: &[Value],
) -> (Vec<Value>, Vec<Vec<(u16, String)>>) {
    let operator = operator(lookups).expect("an order");
    let batch = batch(&operator, events);
    let (mut asks, mut facts, mut asked) = (Asks::default(), Facts::default(), Vec::new());
    asks.parts().1.lay_out(batch.len(), operator.slots());
    for round in 0..operator.rounds() {
        let from = asks.len();
        (0..batch.len()).for_each(|n| operator.plan(&batch, n, round, &facts, &mut asks));
        let mut answers = Facts::new("{}".into());
        asked.push(Vec::new());
        for (source, key) in asks.since(from) {
            asked[round].push((source.0, String::from_utf8_lossy(key).into_owned()));
            answers.push_with(|out| match rows.get(&(source.0, key.to_vec())) {
                Some(Value::String(code)) if code == "timeout" => Some(Status::Timeout),
                Some(row) => {
                    out.extend_from_slice(row.to_string().as_bytes());
                    Some(Status::Ok)
                }
                None => Some(Status::Miss),
            });
        }
        facts.append(answers);
    }
    let mut out = Effects::new(Progress::default(), Clocks::new(0));
    let mut state = Keyed::default();
    state.open();
    operator.apply(&batch, 0..batch.len(), &asks, &facts, &mut state, &mut out);
    let (blocks, _, _) = out.finish();
    let block = blocks.iter().find(|b| b.to == ENRICHED.partition(0)).expect("outputs");
    let enriched = records(&block.bytes)
        .map(|record| {
            let value = record.expect("a record").value.expect("a value");
            serde_json::from_slice::<Value>(value).expect("JSON")["enriched"].take()
        })
        .collect();
    (enriched, asked)
}

fn rows(rows: Value) -> BTreeMap<(u16, Vec<u8>), Value> {
    let rows = rows.as_array().cloned().unwrap_or_default();
    rows.into_iter()
        .map(|row| {
            ((row[0].as_u64().expect("a number") as u16, row[1].as_str().expect("a key").into()), row[2].clone())
        })
        .collect()
}

#[test]
fn a_plan_of_a_user_is_looked_up_by_what_the_lookup_of_users_found() {
    // The order of the configuration is the wrong one on purpose.
    let lookups = "
        plan: enriched.user.plan if enriched.user.active
        user: event.user if event.user != null
    ";
    let found = rows(json!([
        [1, "u1", {"plan": "pro", "active": true}],
        [1, "u2", {"plan": "pro", "active": false}],
        [1, "42", {"plan": 7, "active": true}],
        [1, "u4", "timeout"],
        [1, "u5", {"plan": null, "active": true}],
        [0, "pro", {"price": 12}],
        [0, "7", {"price": 70}]
    ]));
    let events = [
        json!({"userId": "u1"}),
        json!({"userId": "u2"}),
        json!({"userId": 42}),
        json!({"userId": "u4"}),
        json!({"userId": "u5"}),
        json!({"userId": "nobody"}),
        json!({"anonymousId": "a"}),
        json!({"userId": "u1", "again": 1}),
    ];
    let (enriched, asked) = enrich(lookups, &found, &events);
    let statuses: Vec<(Value, Value)> =
        enriched.iter().map(|e| (e["status"]["user"].clone(), e["status"]["plan"].clone())).collect();
    let status = |user: &str, plan: &str| (json!(user), json!(plan));
    assert_eq!(
        statuses,
        [
            status("ok", "ok"),
            status("ok", "skipped"),
            status("ok", "ok"),
            // `enriched.user.active` is null where there is no user, which is neither true nor false.
            status("timeout", "error:condition"),
            status("ok", "skipped"),
            status("miss", "error:condition"),
            status("skipped", "error:condition"),
            status("ok", "ok"),
        ]
    );
    assert_eq!(enriched[0]["plan"], json!({"price": 12}));
    assert_eq!(enriched[0]["user"], json!({"plan": "pro", "active": true}));
    assert_eq!(enriched[2]["plan"], json!({"price": 70}));
    assert!(enriched[1].get("plan").is_none() && enriched[3].get("user").is_none());
    let ask = |source: u16, key: &str| (source, key.to_owned());
    // Each key once a batch, each lookup in its round.
    assert_eq!(
        asked,
        [
            vec![ask(1, "u1"), ask(1, "u2"), ask(1, "42"), ask(1, "u4"), ask(1, "u5"), ask(1, "nobody")],
            vec![ask(0, "pro"), ask(0, "7")],
        ]
    );
}

#[test]
fn keys_are_read_from_everywhere() {
    let long = "k".repeat(1025);
    for (key, event, expected) in [
        ("event.user", json!({"userId": "u"}), Ok("u")),
        ("event.user", json!({"userId": "a\"\u{e9}\\"}), Ok("a\"\u{e9}\\")),
        ("event.user", json!({"userId": 42}), Ok("42")),
        ("event.user", json!({"userId": null}), Err("skipped")),
        ("event.user", json!({"userId": ""}), Err("skipped")),
        ("event.user", json!({}), Err("skipped")),
        ("event.visitor", json!({"anonymousId": "v"}), Ok("v")),
        // Derived ones are inherited, and are keys as well.
        ("event.visitor", json!({"userId": "u"}), Ok("user:u")),
        ("event.id", json!({}), Ok("test:0")),
        ("event.source", json!({}), Ok("web")),
        ("event.type", json!({}), Ok("track")),
        ("event.url", json!({"context": {"page": {"url": "https://x/y"}}}), Ok("https://x/y")),
        ("event.url", json!({"context": {"page": {"url": long}}}), Err("error:bad_key")),
        ("event.url", json!({"context": {"page": {"url": "k".repeat(1024)}}}), Ok("")),
        ("event.campaign.source", json!({"context": {"campaign": {"source": "mail"}}}), Ok("mail")),
        ("event.campaign.source", json!({"context": {"campaign": "mail"}}), Err("skipped")),
        ("event.campaign", json!({"context": {"campaign": {"source": "mail"}}}), Err("error:bad_key")),
        // The address as it was read, not as it was written.
        ("event.ip", json!({"context": {"ip": "1.2.3.4:80"}}), Ok("1.2.3.4")),
        ("event.ip", json!({}), Ok("9.9.9.9")),
        ("event.ip", json!({"context": {"ip": "unknown"}}), Ok("unknown")),
        // A field of the source's map, and a pointer.
        ("event.plan", json!({"plan": true}), Ok("true")),
        ("event.plan.name", json!({"plan": {"name": "pro"}}), Ok("pro")),
        ("event.plan", json!({"plan": ["a"]}), Err("error:bad_key")),
        ("/properties/listing/id", json!({"properties": {"listing": {"id": 7}}}), Ok("7")),
        ("/properties/listing/id", json!({"properties": {"listing": 7}}), Err("skipped")),
        ("ip event.ip", json!({"context": {"ip": "[2001:db8::1]:80"}}), Ok("")),
        ("ip event.ip", json!({"context": {"ip": "unknown"}}), Err("error:bad_address")),
        ("ip event.plan", json!({"plan": "1.2.3.4, 5.6.7.8"}), Ok("")),
        ("ip event.plan", json!({"plan": "pro"}), Err("error:bad_address")),
        ("ip event.plan", json!({}), Err("skipped")),
    ] {
        let (enriched, asked) = enrich(&format!("a: {key}"), &BTreeMap::new(), std::slice::from_ref(&event));
        let status = enriched[0]["status"]["a"].as_str().expect("a status");
        match expected {
            // Nobody answered, so what was asked for is missed.
            Ok(key) => {
                assert_eq!((status, asked[0].len()), ("miss", 1), "{key} of {event}");
                assert!(key.is_empty() || asked[0][0].1 == key, "{:?} for {key} of {event}", asked[0]);
            }
            Err(expected) => assert_eq!((status, asked[0].len()), (expected, 0), "{key} of {event}"),
        }
    }
    let address = |key: &str, event: Value| {
        enrich(&format!("a: ip {key}"), &rows(json!([[0, "\u{1}\u{2}\u{3}\u{4}", {}]])), &[event]).0
    };
    assert_eq!(address("event.ip", json!({"context": {"ip": "::ffff:1.2.3.4"}}))[0]["status"]["a"], "ok");
    assert_eq!(address("event.plan", json!({"plan": "1.2.3.4:80"}))[0]["status"]["a"], "ok");
}

#[test]
fn keys_of_several_parameters_need_them_all() {
    let long = "k".repeat(1024);
    for (key, event, expected) in [
        ("all event.user", json!({"userId": "u"}), Ok("\u{1}\0\0\0u")),
        ("all event.plan, event.user", json!({"plan": 7, "userId": "ab"}), Ok("\u{1}\0\0\x007\u{2}\0\0\0ab")),
        ("all event.ip, event.user", json!({"userId": "u"}), Ok("\u{7}\0\0\x009.9.9.9\u{1}\0\0\0u")),
        ("all event.user, event.user", json!({"userId": "u"}), Ok("\u{1}\0\0\0u\u{1}\0\0\0u")),
        ("all event.plan, event.user", json!({"plan": "p"}), Err("skipped")),
        ("all event.plan, event.user", json!({"plan": null, "userId": "u"}), Err("skipped")),
        ("all event.plan, event.user", json!({"plan": "", "userId": "u"}), Err("skipped")),
        ("all event.plan, event.user", json!({"plan": ["p"], "userId": "u"}), Err("error:bad_key")),
        // What lacks another is skipped, whatever the first one is.
        ("all event.plan, event.user", json!({"plan": ["p"]}), Err("skipped")),
        ("all event.plan, event.user", json!({"plan": long, "userId": "u"}), Err("error:bad_key")),
        ("all event.plan", json!({"plan": long}), Ok("")),
    ] {
        let (enriched, asked) = enrich(&format!("a: {key}"), &BTreeMap::new(), std::slice::from_ref(&event));
        let status = enriched[0]["status"]["a"].as_str().expect("a status");
        match expected {
            Ok(key) => {
                assert_eq!((status, asked[0].len()), ("miss", 1), "{key} of {event}");
                assert!(key.is_empty() || asked[0][0].1 == key, "{:?} for {key:?} of {event}", asked[0]);
            }
            Err(expected) => assert_eq!((status, asked[0].len()), (expected, 0), "{key} of {event}"),
        }
    }
}

/// A parameter that another lookup found is asked for in the round after it.
#[test]
fn a_parameter_of_another_lookup_is_waited_for() {
    let lookups = "
        price: all enriched.user.plan, event.source
        user: event.user
    ";
    let found = rows(json!([
        [1, "u1", {"plan": "pro"}],
        [0, "\u{3}\0\0\0pro\u{3}\0\0\0web", {"price": 12}]
    ]));
    let (enriched, asked) = enrich(lookups, &found, &[json!({"userId": "u1"}), json!({"userId": "u2"})]);
    assert_eq!((enriched[0]["price"].clone(), asked.len()), (json!({"price": 12}), 2));
    assert_eq!((enriched[1]["status"]["price"].clone(), asked[1].len()), (json!("skipped"), 1));
}

#[test]
fn conditions_see_the_event_and_what_others_wrote() {
    for (when, event, expected) in [
        ("event.plan == 'pro'", json!({"plan": "pro"}), "miss"),
        ("event.plan == 'pro'", json!({"plan": "free"}), "skipped"),
        ("event.plan.size() > 3", json!({}), "error:condition"),
        ("event['/properties/listing/id'] in [7, 8]", json!({"properties": {"listing": {"id": 7}}}), "miss"),
        ("event['/properties/listing/id'] == null", json!({}), "miss"),
        ("event.ip == '9.9.9.9' && event.source == 'web' && event.type == 'track'", json!({}), "miss"),
        ("event.ip.startsWith('1.')", json!({"context": {"ip": "1.2.3.4:80"}}), "miss"),
        ("enriched.user.tags.exists(t, t == 'vip')", json!({"userId": "u"}), "miss"),
        ("enriched.user.tags.exists(t, t == 'vip')", json!({"userId": "w"}), "error:condition"),
        ("enriched.user.name == 'a\"b' && enriched.user.n == 1", json!({"userId": "u"}), "miss"),
        ("enriched.geo.country == null", json!({}), "miss"),
    ] {
        let lookups = format!("user: event.user\n a: event.type if {when}");
        let found = rows(json!([[0, "u", {"tags": ["new", "vip"], "name": "a\"b", "n": 1}]]));
        let (enriched, _) = enrich(&lookups, &found, std::slice::from_ref(&event));
        assert_eq!(enriched[0]["status"]["a"], expected, "{when} of {event}");
    }
}

#[test]
fn lookups_that_have_no_order_make_no_stage() {
    let error = operator("a: enriched.b.x\nb: event.user if enriched.a.y != null").map(|_| ()).expect_err("a cycle");
    assert!(error.message.contains("a -> b -> a"), "{}", error.message);
    let error = operator("a: enriched.nobody.x").map(|_| ()).expect_err("nobody");
    assert!(error.message.contains("nobody writes `enriched.nobody`; there are geo"), "{}", error.message);
}

proptest! {
    /// Whatever events look like, no lookup fails, and every event comes out with a status for each.
    #[test]
    fn no_event_does_harm(
        user in prop_oneof![Just(json!(null)), any::<i64>().prop_map(|n| json!(n)), ".{0,8}".prop_map(|s| json!(s))],
        plan in prop_oneof![
            Just(json!(null)), any::<bool>().prop_map(|b| json!(b)), any::<f64>().prop_map(|n| json!(n)),
            ".{0,8}".prop_map(|s| json!(s)), prop::collection::vec(any::<u8>(), 0..4).prop_map(|v| json!(v)),
            Just(json!({"name": {"a": [1, {"b": "\u{1f600}\n"}]}})),
        ],
    ) {
        let lookups = "
            user: event.user
            plan: event.plan.name if event.plan != 3
            a: enriched.user.plan.name if enriched.user.plan.size() > 0 || event.plan > 1
            c: all enriched.user.plan.name, event.user, /properties/listing/id
            b: /properties/listing/id if enriched.a.x == null && event.plan.name.a[1].b.startsWith('x')
        ";
        let key = user.as_str().map_or(user.to_string(), str::to_owned);
        let found = BTreeMap::from([((0, key.into_bytes()), json!({"plan": plan, "user": user}))]);
        let event = json!({"userId": user, "plan": plan, "properties": {"listing": {"id": plan}}});
        let (enriched, _) = enrich(lookups, &found, &[event]);
        prop_assert_eq!(enriched[0]["status"].as_object().map(|s| s.len()), Some(built_in().len() + 5));
    }
}
