//! Field maps guessed from events of many houses, and from real files.

mod support;

use event::Field;
use ouzel_wire::infer::{Inferred, Sample, Sure, infer};
use ouzel_wire::{MapEntry, Preset};

/// `time=/created_at,format=epoch_ms` for each field that was found, in the order of the map.
fn found(inferred: &Inferred) -> Vec<String> {
    let show = |field: Field, entry: &MapEntry| match entry {
        MapEntry::Constant(value) => format!("{}=value={value}", field.name()),
        MapEntry::Pointer { pointers, format, zone } => {
            let mut out = format!("{}={}", field.name(), pointers.join(","));
            if let Some(format) = format {
                out.push_str(&format!(",format={}", format.name()));
            }
            if let Some(zone) = zone {
                out.push_str(&format!(",zone={zone}"));
            }
            out
        }
    };
    inferred.fields.iter().filter_map(|f| inferred.field(f.field).map(|found| show(f.field, &found.entry))).collect()
}

fn of(text: &str) -> Inferred {
    infer(&Sample::cut(text.as_bytes(), true).unwrap_or_else(|e| panic!("{e}: {text}")))
}

/// Forty events made by filling `$n` with their numbers, and `$m` with one of four.
fn forty(event: &str) -> String {
    (0..40).map(|n| event.replace("$n", &(1000 + n).to_string()).replace("$m", &(n % 4).to_string()) + "\n").collect()
}

#[test]
fn events_of_many_houses() {
    for (house, event, preset, fits, expected) in [
        (
            "milliseconds, nested",
            r#"{"meta":{"ts":171032527$n,"event":"e$m"},"actor":{"id":$m,"name":"x"},"ctx":{"remote_addr":"10.0.0.$m"}}"#,
            Preset::Segment,
            false,
            &["type=/meta/event", "time=/meta/ts,format=epoch_ms", "user=/actor/id", "ip=/ctx/remote_addr"][..],
        ),
        (
            "milliseconds, flat",
            r#"{"created_at":171032527$n,"action":"e$m","_id":"5f$n","userId":"u$m"}"#,
            Preset::Segment,
            false,
            &["id=/_id", "type=/action", "time=/created_at,format=epoch_ms", "user=/userId"],
        ),
        (
            "CloudEvents",
            r#"{"specversion":"1.0","id":"a-$n","source":"/shop","type":"com.example.e$m","time":"2024-03-13T10:21:14.$nZ",
                "subject":"cart","datacontenttype":"application/json","data":{"userId":"u$m","id":"o-1"}}"#,
            Preset::Ouzel,
            true,
            &["id=/id", "type=/type", "time=/time", "user=/data/userId"],
        ),
        (
            "Google Analytics 4 export",
            r#"{"event_date":"20210131","event_timestamp":"161208000000$n","event_name":"e$m","event_previous_timestamp":null,
                "event_params":[{"key":"page_location","value":{"string_value":"https://a.example/"}}],"user_id":null,
                "user_pseudo_id":"18$m.16","user_first_touch_timestamp":"1612069510766593","device":{"category":"mobile",
                "web_info":{"browser":"Chrome","hostname":"a.example"}},"geo":{"country":"US"},"stream_id":"2100450278"}"#,
            Preset::Segment,
            false,
            &["type=/event_name", "time=/event_timestamp,format=epoch_us", "visitor=/user_pseudo_id"],
        ),
        (
            "Snowplow, enriched",
            r#"{"app_id":"shop","platform":"web","etl_tstamp":"2024-03-13 10:25:00.000","collector_tstamp":"2024-03-13 10:21:15.120",
                "dvce_created_tstamp":"2024-03-13 10:21:14.$n","dvce_sent_tstamp":"2024-03-13 10:21:14.900","event":"unstruct",
                "event_id":"4f2c9c9e-1f3a-4b1c-9f0a-00000000$n","txn_id":null,"name_tracker":"sp","user_id":"u$m",
                "user_ipaddress":"203.0.113.$m","domain_userid":"4b0dfa75-9a8c-46a1-9691-01add9db420$m","domain_sessionidx":3,
                "network_userid":"ecdff4d0-9175-40ac-a8bb-325c49733607","page_url":"https://a.example/$n","page_title":"x",
                "page_referrer":"","useragent":"Mozilla/5.0 (X11)","br_lang":"en","event_name":"e$m",
                "derived_tstamp":"2024-03-13 10:21:14.$n","domain_sessionid":"2b15e5c8-d3b1-11e4-b9d6-1681e6b8000$m"}"#,
            Preset::Segment,
            false,
            &[
                "id=/event_id",
                "type=/event_name",
                "time=/derived_tstamp,zone=UTC",
                "sent_at=/dvce_sent_tstamp,zone=UTC",
                "user=/user_id",
                "visitor=/domain_userid",
                "session=/domain_sessionid",
                "ip=/user_ipaddress",
                "user_agent=/useragent",
                "url=/page_url",
            ],
        ),
        (
            "Mixpanel",
            r#"{"event":"e$m","properties":{"time":171032$n,"distinct_id":"d$m","$insert_id":"i$n","$current_url":"https://a.example/",
                "$referrer":"https://b.example/","ip":"198.51.100.$m"}}"#,
            Preset::Segment,
            false,
            &[
                "id=/properties/$insert_id",
                "type=/event",
                "time=/properties/time,format=epoch_s",
                "visitor=/properties/distinct_id",
                "ip=/properties/ip",
                "url=/properties/$current_url",
                "referrer=/properties/$referrer",
            ],
        ),
        (
            "Elastic Common Schema",
            r#"{"@timestamp":"2024-03-13T10:21:14.$nZ","event":{"id":"e$n","action":"e$m"},"user":{"id":"u$m","name":"x"},
                "client":{"ip":"203.0.113.$m"},"url":{"full":"https://a.example/"},"user_agent":{"original":"curl/8.5.0"},
                "host":{"ip":"10.0.0.1"}}"#,
            Preset::Segment,
            false,
            &[
                "id=/event/id",
                "type=/event/action",
                "time=/@timestamp",
                "user=/user/id",
                "ip=/client/ip",
                "user_agent=/user_agent/original",
                "url=/url/full",
            ],
        ),
        (
            "Segment, from a server",
            r#"{"type":"track","event":"e$m","messageId":"m-$n","userId":"u$m","timestamp":"2024-03-13T10:21:14.$nZ","context":{"ip":"1.1.1.$m"}}"#,
            Preset::Segment,
            true,
            &["id=/messageId", "type=/event,/type", "time=/timestamp", "user=/userId", "ip=/context/ip"],
        ),
        (
            "Segment with another clock",
            r#"{"type":"track","event":"e$m","messageId":"m-$n","anonymousId":"u$m","timestamp":171032527$n}"#,
            Preset::Segment,
            true,
            &["id=/messageId", "type=/event,/type", "time=/timestamp,format=epoch_ms", "visitor=/anonymousId"],
        ),
        (
            "flat, with a zone missing",
            r#"{"id":"m-$n","type":"e$m","time":"2024-03-13 10:21:14","user":"u$m","session":"s$m","ip":"::$m"}"#,
            Preset::Ouzel,
            true,
            &["id=/id", "type=/type", "time=/time,zone=UTC", "user=/user", "session=/session", "ip=/ip"],
        ),
        (
            "an id that is the user's, a user that is an object",
            r#"{"id":"$m","type":"e$m","user":{"mail":"a@b.example"},"time":"2024-03-13T10:21:14Z","session_id":"s$m"}"#,
            Preset::Segment,
            false,
            &["type=/type", "time=/time", "session=/session_id"],
        ),
        (
            "nothing that looks like a type, and a time by its values alone",
            r#"{"moment":"2024-03-13T10:21:14.$nZ","valid_until":"2025-01-01T00:00:00Z","amount":$n}"#,
            Preset::Segment,
            false,
            &["type=value=event", "time=/moment"],
        ),
        (
            "two times that say nothing",
            r#"{"moment":"2024-03-13T10:21:14.$nZ","instant":"2024-03-13T10:21:14.$nZ","event":"e$m"}"#,
            Preset::Segment,
            false,
            &["type=/event"],
        ),
    ] {
        let inferred = of(&forty(&event.replace("\n                ", "")));
        assert_eq!(found(&inferred), expected, "{house}");
        assert_eq!((inferred.preset, inferred.preset_fits), (preset, fits), "{house}");
        assert_eq!(inferred.events, 40, "{house}");
    }
}

#[test]
fn what_could_be_a_field_is_named_with_a_reason() {
    let maybe = |event: &str, field: Field| {
        let inferred = of(&forty(event));
        let finding = inferred.fields.into_iter().find(|f| f.field == field).expect("every field");
        finding.maybe.unwrap_or_else(|| panic!("{event}: {:?}", finding.place))
    };
    for (event, field, pointer, says) in [
        (r#"{"event":"e$m","id":"$m"}"#, Field::ID, "/id", "4 different in 40"),
        (r#"{"event":"e$m","timestamp":"soon"}"#, Field::TIME, "/timestamp", "no times"),
        (r#"{"event":"e$m","peer":"1.2.3.$m"}"#, Field::IP, "/peer", "does not say whose"),
        (r#"{"event":"e$m","user":["a"]}"#, Field::USER, "/user", "a list"),
        (r#"{"event":"e$m","url":"$m"}"#, Field::URL, "/url", "no URLs"),
        (
            r#"{"event":"e$m","repo":{"url":"https://a.example/$n"}}"#,
            Field::URL,
            "/repo/url",
            "`repo` may be something else's",
        ),
        (r#"{"what":{"event":"e$m"}}"#, Field::TYPE, "/what/event", "`what` may be something else's"),
    ] {
        let (at, why) = maybe(event, field);
        assert_eq!(at, pointer, "{event}");
        assert!(why.contains(says), "{event}: {why}");
    }
}

#[test]
fn what_a_batch_has_counts_for_its_events() {
    let inferred = of(r#"{"sentAt":"2026-11-22T19:30:00.310Z","context":{"ip":"1.2.3.4","campaign":{"name":"x"}},
        "batch":[{"type":"page","anonymousId":"v","messageId":"1"},{"type":"page","userId":"u","messageId":"2"}]}"#);
    let found: Vec<_> = found(&inferred);
    let inherited = ["sent_at=/sentAt", "ip=/context/ip"];
    assert_eq!(
        found,
        ["id=/messageId", "type=/event,/type", inherited[0], "user=/userId", "visitor=/anonymousId", inherited[1]]
    );
    assert_eq!(inferred.field(Field::IP).expect("an address").events, 2);
}

/// Objects whose names are data, and people's: none of them is told.
#[test]
fn names_that_are_data_are_not_told() {
    let lines: String = (0..40).map(|n| format!("{{\"event\":\"e\",\"by\":{{\"bob{n}@mail.example\":{{\"url\":\"https://a.example/\",\"user_id\":{n}}}}}}}\n")).collect();
    let said = format!("{:?}", of(&lines));
    assert!(!said.contains("bob"), "{said}");
}

#[test]
fn a_type_is_looked_for_in_several_places() {
    let text: String = (0..40)
        .map(|n| match n % 3 {
            0 => format!("{{\"action\":\"a{}\",\"id\":{n}}}\n", n % 4),
            1 => format!("{{\"event_name\":\"e{}\",\"id\":{n}}}\n", n % 4),
            _ => format!("{{\"verb\":\"v{}\",\"event_name\":\"\",\"id\":{n}}}\n", n % 4),
        })
        .collect();
    let inferred = of(&text);
    let of_type = inferred.field(Field::TYPE).expect("a type");
    assert_eq!(of_type.entry, MapEntry::pointers(&["/event_name", "/action", "/verb"]));
    assert_eq!((of_type.events, of_type.sure), (40, Sure::Sure));
}

#[test]
fn real_files() {
    let read = |path: &str| {
        let bytes = support::data(path);
        let cut = bytes.len().min(ouzel_wire::infer::sample::BYTES_MAX);
        Sample::cut(&bytes[..cut], cut == bytes.len()).expect("a sample")
    };
    let github = infer(&read("nested/github-events.ndjson"));
    assert_eq!(found(&github), ["id=/id", "type=/type", "time=/created_at", "user=/actor/id"]);
    assert!(
        github.fields.iter().filter_map(|f| github.field(f.field)).all(|f| f.events == 100 && f.sure == Sure::Sure)
    );
    assert_eq!(github.events, 100);

    let shop = infer(&read("clicks/ecom.csv"));
    assert_eq!(shop.preset, Preset::Csv);
    assert_eq!(
        found(&shop),
        [
            "type=/event,/event_type,/event_name,/type",
            "time=/timestamp,zone=UTC",
            "user=/user_id,/userId,/user,/customer_id",
            "session=/session_id,/sessionId,/session",
        ]
    );
    assert!(shop.field(Field::TIME).expect("a time").zone_is_assumed);

    let web = infer(&read("weblogs/apache_logs"));
    assert_eq!((web.preset, web.preset_fits, web.events), (Preset::AccessLog, true, 1_000));
    assert_eq!(web.map().count(), 0, "the preset says it all");

    let auth = support::data("auth/auth.log");
    assert!(Sample::cut(&auth, true).expect_err("a log of another kind").what.contains("syslog"));
}
