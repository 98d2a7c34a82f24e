//! Events become records: which field comes from where, what is refused, and that real data decodes.

mod support;

use event::key::{hash64, id_hash, payload_hash};
use event::{Code, Failure, Field, Flags, HeaderRef, Micros};
use ouzel_wire::json::text;
use ouzel_wire::{
    Arrival, ArrivalPosition, ClockMode, Decoder, DecoderConfig, FieldMap, Limits, MapEntry, Preset, RawRecord,
    access_log, csv, split,
};
use support::data;

const RECEIVED: &str = "2026-11-22T20:00:00Z";

fn at(text: &str) -> Micros {
    Micros::parse_rfc3339(text.as_bytes()).expect("RFC 3339")
}

fn config(preset: Preset, map: &[(&str, &str)]) -> DecoderConfig {
    let mut fields = FieldMap::preset(preset);
    for (name, entry) in map {
        fields.set(name, MapEntry::parse_cli(entry).expect("an entry")).expect("a field");
    }
    DecoderConfig::new("web", fields)
}

fn decoder(preset: Preset, map: &[(&str, &str)]) -> Decoder {
    Decoder::build(config(preset, map)).expect("a decoder")
}

fn arrival<'a>(inherited: &'a [(Field, &'a [u8])]) -> Arrival<'a> {
    Arrival { received: at(RECEIVED), position: ArrivalPosition::At { prefix: "f:9", index: 7 }, inherited }
}

/// A field as a consumer of the record sees it: the event's own value, else the inherited one.
fn field(record: &RawRecord, event: &str, field: Field) -> Option<String> {
    let header = HeaderRef::new(&record.header).expect("a header");
    let own = header.json(field, event.as_bytes()).map(|json| text(json).map_or(json.to_vec(), |t| t.into_owned()));
    let value = own.or_else(|| header.inherited_value(field).map(<[u8]>::to_vec))?;
    Some(String::from_utf8(value).expect("UTF-8"))
}

fn decode(decoder: &Decoder, event: &str) -> Result<RawRecord, Failure> {
    let mut record = RawRecord::default();
    decoder.decode(event.as_bytes(), &arrival(&[]), &mut record).map(|()| record)
}

#[test]
fn a_full_event_keeps_every_field_and_its_hashes() {
    let event = include_str!("samples/segment.json").trim();
    let record = decode(&decoder(Preset::Segment, &[]), event).expect("an event");
    for (name, expected) in [
        (Field::ID, "ajs-next-1763839980123-98f2c1a7e4b3"),
        (Field::TYPE, "Product Added"),
        (Field::TIME, "2026-11-22T19:33:00.123Z"),
        (Field::SENT_AT, "2026-11-22T19:33:00.456Z"),
        (Field::USER, "u-97980cfea0067"),
        (Field::VISITOR, "507f191e-810c-4197-a9de-860ea7c1b2d4"),
        (Field::IP, "203.0.113.77"),
        (Field::REFERRER, "https://www.google.com/search?q=running+shoes"),
        (Field::SOURCE, "web"),
    ] {
        assert_eq!(field(&record, event, name).as_deref(), Some(expected), "{name:?}");
    }
    assert!(field(&record, event, Field::CAMPAIGN).expect("a campaign").starts_with("{\"name\""));
    let h = HeaderRef::new(&record.header).expect("a header");
    assert_eq!(
        (record.key.as_slice(), h.flags()),
        (&b"507f191e-810c-4197-a9de-860ea7c1b2d4"[..], Flags::VISITOR_GIVEN)
    );
    assert_eq!((record.event_time, h.event_time()), (at("2026-11-22T19:33:00.123Z"), record.event_time));
    assert_eq!(h.received_time(), at(RECEIVED));
    assert_eq!(h.id_hash(), id_hash(b"web", &record.id));
    assert_eq!(h.type_hash(), hash64(b"Product Added"));
    assert_eq!(h.visitor_hash(), hash64(&record.key));
    let sent_at = event.find("\"2026-11-22T19:33:00.456Z\"").expect("sentAt");
    assert_eq!(h.payload_hash(), payload_hash(event.as_bytes(), Some(sent_at..sent_at + 26)));

    // What an honest retry changes leaves the payload as it was; what it does not, does not.
    let payload = |event: &str| {
        let record = decode(&decoder(Preset::Segment, &[]), event).expect("an event");
        HeaderRef::new(&record.header).expect("a header").payload_hash()
    };
    assert_eq!(payload(&event.replace("00.456Z", "07.000Z")), h.payload_hash());
    assert_ne!(payload(&event.replace("118.99", "119.99")), h.payload_hash());
}

#[test]
fn the_visitor_is_given_or_the_user_or_a_hash() {
    let d = decoder(Preset::Ouzel, &[]);
    let hash = xxhash_rust::xxh3::xxh3_128(b"1.2.3.4\0curl");
    let hash = format!("{hash:032x}");
    for (event, key, flag) in [
        (r#"{"type":"t","visitor":"v","user":"u"}"#, "v", Flags::VISITOR_GIVEN),
        (r#"{"type":"t","visitor":12,"user":"u"}"#, "12", Flags::VISITOR_GIVEN),
        (r#"{"type":"t","visitor":null,"user":7}"#, "user:7", Flags::VISITOR_USER),
        (r#"{"type":"t","visitor":"","user":"\u00e9"}"#, "user:é", Flags::VISITOR_USER),
        (r#"{"type":"t","ip":"1.2.3.4","user_agent":"curl"}"#, hash.as_str(), Flags::default()),
    ] {
        let record = decode(&d, event).expect(event);
        assert_eq!(String::from_utf8_lossy(&record.key), key, "{event}");
        let visitor_flags = Flags(record.flags.0 & (Flags::VISITOR_GIVEN.0 | Flags::VISITOR_USER.0));
        assert_eq!(visitor_flags, flag, "{event}");
        assert_eq!(field(&record, event, Field::VISITOR).as_deref(), Some(key), "{event}");
    }
}

#[test]
fn an_id_is_given_derived_fresh_or_asked_to_be_a_hash() {
    let mut record = RawRecord::default();
    let event = br#"{"type":"t","sent_at":"2026-01-01T00:00:00Z"}"#;
    let mut id = |decoder: &Decoder, position| {
        let arrival = Arrival { position, ..arrival(&[]) };
        decoder.decode(event, &arrival, &mut record).expect("an event");
        let header = HeaderRef::new(&record.header).expect("a header");
        assert_eq!(header.inherited_value(Field::ID), Some(record.id.as_slice()));
        (String::from_utf8(record.id.clone()).expect("text"), record.flags)
    };
    let plain = decoder(Preset::Ouzel, &[]);
    let derived = ArrivalPosition::At { prefix: "http:k", index: u64::MAX };
    assert_eq!(id(&plain, derived), (format!("http:k:{}", u64::MAX), Flags::DERIVED));
    assert_eq!(id(&plain, ArrivalPosition::Fresh(0xab)), (format!("{:032x}", 0xab), Flags::AT_LEAST_ONCE));
    let hash = xxhash_rust::xxh3::xxh3_128(br#"{"type":"t","sent_at":}"#);
    assert_eq!(id(&decoder(Preset::Ouzel, &[("id", "hash")]), derived), (format!("{hash:032x}"), Flags::DERIVED));
}

#[test]
fn the_clock_of_a_live_sender_is_corrected() {
    for (clock, time, sent_at, expected, future) in [
        // Ten minutes slow, and sent a minute after it happened.
        (ClockMode::Live, "2026-11-22T19:49:00Z", "2026-11-22T19:50:00Z", "2026-11-22T19:59:00Z", false),
        (ClockMode::Live, "2026-11-22T21:00:00Z", "2026-11-22T21:00:00Z", RECEIVED, false),
        (ClockMode::Live, "2026-11-22T19:50:00Z", "2026-11-22T19:49:00Z", "2026-11-22T19:50:00Z", false),
        (ClockMode::AsSent, "2026-11-22T19:49:00Z", "2026-11-22T19:50:00Z", "2026-11-22T19:49:00Z", false),
        (ClockMode::AsSent, "2026-11-22T20:05:00Z", "not even a time", "2026-11-22T20:05:00Z", false),
        (ClockMode::AsSent, "2026-11-22T20:05:00.000001Z", "", "2026-11-22T20:05:00.000001Z", true),
        (ClockMode::Live, "2026-11-22T21:00:00Z", "", "2026-11-22T21:00:00Z", true),
        (ClockMode::Live, "", "2026-11-22T19:50:00Z", RECEIVED, false),
    ] {
        let decoder = Decoder::build(DecoderConfig { clock, ..config(Preset::Ouzel, &[]) }).expect("a decoder");
        let event = format!(r#"{{"type":"t","time":"{time}","sent_at":"{sent_at}"}}"#);
        let record = decode(&decoder, &event).expect(&event);
        assert_eq!(record.event_time, at(expected), "{clock:?} {event}");
        assert_eq!(record.flags.has(Flags::FUTURE), future, "{clock:?} {event}");
    }
    let live = DecoderConfig { clock: ClockMode::Live, ..config(Preset::Ouzel, &[]) };
    let live = Decoder::build(live).expect("a decoder");
    for (event, pointer) in [
        (r#"{"type":"t","time":"2026-11-22T19:00:00Z","sent_at":"x"}"#, "/sent_at"),
        (r#"{"type":"t","time":"1970-01-01T00:00:00Z","sent_at":"2199-01-01T00:00:00Z"}"#, "/time"),
    ] {
        let failure = decode(&live, event).map(|_| ()).expect_err(event);
        assert_eq!((failure.code, failure.pointer.as_str()), (Code::BadTime, pointer));
    }
}

#[test]
fn what_the_event_lacks_is_inherited_and_what_it_has_is_not() {
    let d = decoder(Preset::Ouzel, &[("user_agent", "value=ours"), ("plan", "/plan")]);
    let inherited: &[(Field, &[u8])] = &[
        (Field::IP, b"10.0.0.1"),
        (Field::USER_AGENT, b"the connection's"),
        (Field::VISITOR, b"batch"),
        (Field::VISITOR, b"second"),
        (Field::SOURCE, b"forged"),
        (Field::URL, b""),
        (Field::REFERRER, &[b'x'; 5000]),
    ];
    let event = r#"{"type":"t","ip":"1.2.3.4","plan":{"name":"pro"}}"#;
    let mut record = RawRecord::default();
    for _ in 0..2 {
        d.decode(event.as_bytes(), &arrival(inherited), &mut record).expect("an event");
        let header = HeaderRef::new(&record.header).expect("a header");
        let mut got: Vec<_> = header.inherited().map(|(f, v)| (f, v.len())).collect();
        got.sort();
        let expected =
            [(Field::ID, 5), (Field::VISITOR, 5), (Field::USER_AGENT, 4), (Field::REFERRER, 2048), (Field::SOURCE, 3)];
        assert_eq!(got, expected);
        assert_eq!(field(&record, event, Field::IP).as_deref(), Some("1.2.3.4"));
        assert_eq!(field(&record, event, Field(16)).as_deref(), Some(r#"{"name":"pro"}"#));
        assert_eq!(
            (record.key.as_slice(), record.flags),
            (&b"batch"[..], Flags(Flags::VISITOR_GIVEN.0 | Flags::DERIVED.0))
        );
    }
    assert!(d.fields().contains(&(Field(16), "plan".into())));
}

#[test]
fn a_batch_hands_its_context_down() {
    let body = br#"{"batch":[{"type":"a"},{"event":"b","context":{"ip":"9.9.9.9"}}],"sentAt":"2026-11-22T19:50:00Z",
        "context":{"ip":"1.1.1.1","page":{"url":7},"userAgent":{}},"anonymousId":"v"}"#;
    let d =
        Decoder::build(DecoderConfig { clock: ClockMode::Live, ..config(Preset::Segment, &[]) }).expect("a decoder");
    let mut events = split::body(body, None);
    let around = events.take_batch().expect("a batch");
    let context = d.batch_context(&around).expect("JSON");
    let inherited: Vec<(Field, &[u8])> = context.iter().map(|(f, v)| (*f, v.as_ref())).collect();
    let names: Vec<_> = inherited.iter().map(|(f, _)| *f).collect();
    assert_eq!(names, [Field::SENT_AT, Field::VISITOR, Field::IP, Field::URL]);
    let mut ips = Vec::new();
    for (start, event) in events {
        let mut record = RawRecord::default();
        d.decode(event, &arrival(&inherited), &mut record).expect("an event");
        ips.push(field(&record, std::str::from_utf8(event).expect("UTF-8"), Field::IP).expect("an address"));
        assert_eq!(record.key, b"v");
        assert_eq!(&body[start..start + event.len()], event);
    }
    assert_eq!(ips, ["1.1.1.1", "9.9.9.9"]);
}

#[test]
fn every_refusal_has_its_code_and_place() {
    let limits = Limits { event: 2_000, depth: 4, members: 20 };
    let d = Decoder::build(DecoderConfig { limits, ..config(Preset::Segment, &[]) }).expect("a decoder");
    let long = format!(r#"{{"type":"t","userId":"{}"}}"#, "x".repeat(1_025));
    let huge = format!(r#"{{"type":"t","userId":"{}"}}"#, "x".repeat(2_000));
    let wide = format!(r#"{{"type":"t"{}}}"#, (0..20).map(|n| format!(r#","m{n}":0"#)).collect::<String>());
    for (event, code, pointer) in [
        ("", Code::NotJson, ""),
        (r#"{"type":"t""#, Code::NotJson, ""),
        ("[]", Code::NotObject, ""),
        (huge.as_str(), Code::TooLarge, ""),
        (r#"{"type":"t","a":[[[[]]]]}"#, Code::TooDeep, ""),
        (wide.as_str(), Code::TooManyMembers, ""),
        (r#"{"type":"t","a":1,"a":1}"#, Code::DuplicateMember, "/a"),
        (r#"{"type":"t","enriched":null}"#, Code::ReservedMember, "/enriched"),
        (r#"{"type":"t","\u0065nriched":{}}"#, Code::ReservedMember, "/enriched"),
        ("{}", Code::MissingField, "/type"),
        (r#"{"event":null,"type":""}"#, Code::MissingField, "/type"),
        (r#"{"event":{},"type":"t"}"#, Code::BadField, "/event"),
        (r#"{"type":true}"#, Code::BadField, "/type"),
        (r#"{"type":"t","messageId":{"a":1}}"#, Code::BadField, "/messageId"),
        (r#"{"type":"t","userId":["a"]}"#, Code::BadField, "/userId"),
        (r#"{"type":"t","context":{"ip":[]}}"#, Code::BadField, "/context/ip"),
        (r#"{"type":"t","context":{"campaign":3}}"#, Code::BadField, "/context/campaign"),
        (r#"{"type":"t","timestamp":{}}"#, Code::BadField, "/timestamp"),
        (long.as_str(), Code::BadField, "/userId"),
        (r#"{"type":"t","timestamp":"yesterday"}"#, Code::BadTime, "/timestamp"),
        (r#"{"type":"t","timestamp":"2026-11-22T19:33:00"}"#, Code::BadTime, "/timestamp"),
        (r#"{"type":"t","timestamp":"2200-01-01T00:00:00Z"}"#, Code::BadTime, "/timestamp"),
    ] {
        let failure = decode(&d, event).map(|_| ()).expect_err(event);
        assert_eq!((failure.code, failure.pointer.as_str()), (code, pointer), "{event}: {}", failure.message);
        assert!(!failure.message.contains("yesterday"), "no content in messages");
    }
    let record = decode(&d, r#"{"event":null,"type":"page","userId":97980}"#).expect("null counts as absent");
    assert_eq!((record.key.as_slice(), record.event_time), (&b"user:97980"[..], at(RECEIVED)));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let no_type = DecoderConfig::new("web", FieldMap::default());
    let nameless = DecoderConfig::new("", FieldMap::preset(Preset::Segment));
    let large = DecoderConfig { limits: Limits { event: 1 << 24, ..Limits::default() }, ..config(Preset::Csv, &[]) };
    for (config, says) in [
        (no_type, "needs a type"),
        (nameless, "a name of 1"),
        (large, "at most 16777215"),
        (config(Preset::Csv, &[("plan", "/enriched/plan")]), "enrichment adds"),
        (config(Preset::Csv, &[("time", "/t,format=%d.%m.%Y")]), "zone"),
        (config(Preset::Csv, &[("type", "value=")]), "a constant"),
    ] {
        let error = Decoder::build(config).map(|_| ()).expect_err(says);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn every_line_of_the_real_access_log_decodes() {
    let d = decoder(Preset::AccessLog, &[]);
    let log = data("weblogs/apache_logs");
    let (mut record, mut json) = (RawRecord::default(), Vec::new());
    let (mut count, mut addresses) = (0, std::collections::BTreeSet::new());
    for (at_byte, line) in split::lines(&log) {
        count += 1;
        json.clear();
        access_log::to_json(line, &mut json).unwrap_or_else(|f| panic!("line {count}: {}", f.message));
        let position = ArrivalPosition::At { prefix: "file", index: at_byte as u64 };
        d.decode(&json, &Arrival { position, ..arrival(&[]) }, &mut record)
            .unwrap_or_else(|f| panic!("line {count}: {f:?}"));
        let event = std::str::from_utf8(&json).expect("UTF-8");
        assert_eq!(field(&record, event, Field::TYPE).as_deref(), Some("request"));
        addresses.insert(field(&record, event, Field::IP).expect("an address"));
        assert_eq!(record.id, format!("file:{at_byte}").into_bytes());
        match count {
            1 => assert_eq!(record.event_time, at("2015-05-17T10:05:03Z")),
            8_899 => {
                let agent = field(&record, event, Field::USER_AGENT).expect("an agent");
                assert_eq!(agent, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html");
            }
            _ => {}
        }
    }
    assert_eq!((count, addresses.len()), (10_000, 1_753));
}

#[test]
fn every_row_of_the_real_csv_decodes_with_a_zone_and_none_without() {
    let file = data("clicks/ecom.csv");
    let mut lines = split::lines(&file);
    let mut rows = csv::Rows::new(lines.next().expect("a header").1).expect("a header");
    let (with_zone, without) = (decoder(Preset::Csv, &[("time", "/timestamp,zone=UTC")]), decoder(Preset::Csv, &[]));
    let (mut record, mut json, mut users, mut count) =
        (RawRecord::default(), Vec::new(), std::collections::BTreeSet::new(), 0);
    for (_, line) in lines {
        json.clear();
        rows.to_json(line, &mut json).expect("a row");
        let failure = without.decode(&json, &arrival(&[]), &mut record).expect_err("no zone");
        assert_eq!((failure.code, failure.pointer.as_str()), (Code::BadTime, "/timestamp"));
        assert!(failure.message.contains("zone=UTC"));
        with_zone.decode(&json, &arrival(&[]), &mut record).expect("an event");
        let event = std::str::from_utf8(&json).expect("UTF-8");
        if count == 0 {
            assert_eq!(record.event_time, at("2024-03-13T10:21:14Z"));
            assert_eq!(field(&record, event, Field::TYPE).as_deref(), Some("home"));
            assert_eq!(field(&record, event, Field::SESSION).as_deref(), Some("sess_000001"));
        }
        users.insert(record.key.clone());
        count += 1;
    }
    assert_eq!((count, users.len()), (31_106, 600));
}

#[test]
fn real_nested_events_decode_with_a_map_of_five_lines() {
    let map =
        [("id", "/id"), ("type", "/type"), ("time", "/created_at"), ("user", "/actor/id"), ("visitor", "/actor/login")];
    let d = decoder(Preset::Segment, &map);
    let file = data("nested/github-events.ndjson");
    let mut record = RawRecord::default();
    let mut count = 0;
    for (_, event) in split::body(&file, None) {
        d.decode(event, &arrival(&[]), &mut record).unwrap_or_else(|f| panic!("{f:?}"));
        let whole: serde_json::Value = serde_json::from_slice(event).expect("JSON");
        assert_eq!(record.key, whole["actor"]["login"].as_str().expect("a login").as_bytes());
        assert_eq!(record.id, whole["id"].as_str().expect("an id").as_bytes());
        let shown = std::str::from_utf8(event).expect("UTF-8");
        assert_eq!(field(&record, shown, Field::USER), Some(whole["actor"]["id"].to_string()));
        assert_eq!(record.event_time, at(whole["created_at"].as_str().expect("a time")));
        count += 1;
    }
    assert_eq!(count, 100);
}
