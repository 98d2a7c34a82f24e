//! The pass agrees with `serde_json` on what is JSON and on where members are, and keeps its limits.

#![allow(clippy::disallowed_methods, reason = "a thread with a small stack")]

mod support;

use event::Code;
use ouzel_wire::json::{Limits, MAX_DEPTH, Pointers, Refusal, Scratch, pass, text};
use proptest::prelude::*;
use serde_json::Value;
use support::{Chance, data, mutated};

const SEGMENT: &[u8] = include_bytes!("samples/segment.json");
const LIMITS: Limits = Limits { event: 1 << 20, depth: 100, members: 100_000 };

fn check(text: &[u8], limits: &Limits) -> Result<(), Refusal> {
    pass(text, &Pointers::default(), limits, &mut Scratch::default())
}

/// Whether it is JSON at all, asked of `serde_json`, which also refuses numbers beyond a double; those are JSON.
fn is_json(text: &[u8]) -> bool {
    match serde_json::from_slice::<Value>(text) {
        Ok(_) => true,
        Err(e) if e.to_string().starts_with("number out of range") => {
            // A half surrogate behind such a number would be overlooked here; none of the tests puts both in one text.
            std::str::from_utf8(text).is_ok() && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
        }
        Err(_) => false,
    }
}

fn agrees(text: &[u8]) {
    let ours = check(text, &LIMITS);
    let shown = String::from_utf8_lossy(text);
    match ours.map_err(|r| (r.code, r.at)) {
        Ok(()) => assert!(is_json(text), "accepted, but no JSON: {shown}"),
        Err((Code::NotObject, _)) => assert!(is_json(text) && !text.trim_ascii().starts_with(b"{"), "{shown}"),
        Err((Code::DuplicateMember, _)) => assert!(is_json(text) && text.trim_ascii().starts_with(b"{"), "{shown}"),
        Err((Code::NotJson | Code::NotUtf8, at)) => {
            assert!(at <= text.len());
            assert!(!is_json(text), "refused at {at}, but JSON: {shown}");
        }
        Err(other) => panic!("{other:?} is not for {shown}"),
    }
}

#[test]
fn single_texts_are_judged_rightly() {
    use Code::*;
    for (text, expected) in [
        ("{}", None),
        (" \t\r\n{ } \n", None),
        (r#"{"a":[1,-0,0.5,1e5,1E-05,-12.25e+3,1e999,123456789012345678901234567890]}"#, None),
        (r#"{"a":"\ud83d\ude00\u0000é"}"#, None),
        (r#"{"a":{"b":1,"b":2},"c":[{"a":1},{"a":1}]}"#, None),
        (r#"{"":1}"#, None),
        ("", Some((NotJson, 0))),
        ("   ", Some((NotJson, 3))),
        ("[]", Some((NotObject, 0))),
        (" 12 ", Some((NotObject, 1))),
        ("[1,]", Some((NotJson, 3))),
        ("\"x\"", Some((NotObject, 0))),
        ("nul", Some((NotJson, 3))),
        ("nulL", Some((NotJson, 3))),
        (r#"{"a":1"#, Some((NotJson, 6))),
        (r#"{"a":1}}"#, Some((NotJson, 7))),
        (r#"{"a":1,}"#, Some((NotJson, 7))),
        (r#"{"a" 1}"#, Some((NotJson, 5))),
        (r#"{a:1}"#, Some((NotJson, 1))),
        (r#"{"a":01}"#, Some((NotJson, 6))),
        (r#"{"a":-}"#, Some((NotJson, 6))),
        (r#"{"a":1.}"#, Some((NotJson, 7))),
        (r#"{"a":.5}"#, Some((NotJson, 5))),
        (r#"{"a":1e}"#, Some((NotJson, 7))),
        (r#"{"a":+1}"#, Some((NotJson, 5))),
        (r#"{"a":NaN}"#, Some((NotJson, 5))),
        (r#"{"a":"\x"}"#, Some((NotJson, 7))),
        (r#"{"a":"\u12g4"}"#, Some((NotJson, 10))),
        (r#"{"a":"\ud800"}"#, Some((NotJson, 6))),
        (r#"{"a":"\ud800\u0061"}"#, Some((NotJson, 6))),
        (r#"{"a":"\udc00\ud800"}"#, Some((NotJson, 6))),
        ("{\"a\":\"\n\"}", Some((NotJson, 6))),
        ("{\"a\":1}\0", Some((NotJson, 7))),
        ("\u{feff}{}", Some((NotJson, 0))),
        ("{\u{a0}}", Some((NotJson, 1))),
        (r#"{"a":1,"a":2}"#, Some((DuplicateMember, 7))),
        (r#"{"a":1,"b":0,"\u0061":2}"#, Some((DuplicateMember, 13))),
        (r#"{"a":1,"a":2,}"#, Some((NotJson, 13))),
        (r#"{"b":1,"a":1,"a":2,"b":1}"#, Some((DuplicateMember, 13))),
    ] {
        assert_eq!(check(text.as_bytes(), &LIMITS).err().map(|r| (r.code, r.at)), expected, "{text}");
        agrees(text.as_bytes());
    }
    assert_eq!(check(b"{\"a\":\"\xff\"}", &LIMITS).map_err(|r| (r.code, r.at)), Err((NotUtf8, 6)));
    let twice = check(br#"{"a/~b":1,"a\/\u007eb":2}"#, &LIMITS).expect_err("twice");
    assert_eq!(twice.pointer, "/a~1~0b");
}

#[test]
fn every_limit_holds_to_the_unit() {
    let limits = Limits { event: 200, depth: 3, members: 4 };
    let code = |text: &str| check(text.as_bytes(), &limits).err().map(|r| r.code);
    assert_eq!(code(&format!("{{\"a\":\"{}\"}}", "x".repeat(192))), None);
    assert_eq!(code(&format!("{{\"a\":\"{}\"}}", "x".repeat(193))), Some(Code::TooLarge));
    assert_eq!(code(r#"{"a":[[]]}"#), None);
    assert_eq!(code(r#"{"a":[[{}]]}"#), Some(Code::TooDeep));
    assert_eq!(code(r#"{"a":[[1],[1],{"b":1},{"b":1}]}"#), None, "what was left counts no more");
    assert_eq!(code(r#"{"a":{"a":1},"b":[{"a":1}]}"#), None);
    assert_eq!(code(r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#), Some(Code::TooManyMembers));
}

#[test]
fn ten_thousand_levels_are_a_plain_failure() {
    for open in ["[", "{\"a\":"] {
        let text = format!("{{\"a\":{}", open.repeat(10_000));
        assert_eq!(check(text.as_bytes(), &LIMITS).map_err(|r| r.code), Err(Code::TooDeep));
        let greedy = Limits { event: usize::MAX, depth: usize::MAX, members: usize::MAX };
        assert_eq!(check(text.as_bytes(), &greedy).map_err(|r| r.code), Err(Code::TooDeep), "MAX_DEPTH holds");
    }
}

#[test]
fn the_greatest_depth_fits_a_small_stack() {
    let body = || {
        let levels = MAX_DEPTH;
        let text =
            [r#"{"a":"#.repeat(levels / 2), "[".repeat(levels / 2), "]".repeat(levels / 2), "}".repeat(levels / 2)];
        let pointer = "/a".repeat(levels / 2) + &"/0".repeat(levels / 2 - 1);
        let (pointers, slots) = Pointers::compile(&[&pointer]).expect("a pointer");
        let (limits, mut scratch) = (Limits { depth: MAX_DEPTH, ..LIMITS }, Scratch::default());
        pass(text.concat().as_bytes(), &pointers, &limits, &mut scratch).expect("an event");
        assert_eq!(scratch.found(slots[0]).range().len(), 2, "the innermost array");
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(body).expect("a thread").join().expect("no overflow");
}

#[test]
fn a_duplicate_among_thousands_of_members_is_found() {
    let member = |n: usize| format!("\"member-{n:05}\":{n}");
    let mut members: Vec<_> = (0..2_000).map(member).collect();
    let text = |members: &[String]| format!("{{{}}}", members.join(","));
    assert_eq!(check(text(&members).as_bytes(), &LIMITS), Ok(()));
    members[1_500] = member(700);
    let refusal = check(text(&members).as_bytes(), &LIMITS).expect_err("a duplicate");
    assert_eq!((refusal.code, refusal.pointer.as_str()), (Code::DuplicateMember, "/member-00700"));
    assert_eq!(refusal.at, text(&members[..1_500]).len());
}

#[test]
fn every_truncation_and_many_damages_agree_with_serde_json() {
    let github = data("nested/github-events.ndjson");
    let mut samples = vec![SEGMENT.trim_ascii().to_vec(), serde_json::to_vec_pretty(&parsed(SEGMENT)).expect("JSON")];
    samples.extend(github.split(|b| *b == b'\n').step_by(17).filter(|l| !l.is_empty()).map(<[u8]>::to_vec));
    for sample in &samples {
        assert_eq!(check(sample, &LIMITS), Ok(()));
        (0..sample.len()).for_each(|cut| agrees(&sample[..cut]));
    }
    let mut chance = Chance(1);
    for _ in 0..20_000 {
        let text = mutated(chance.pick(&samples).as_slice(), &mut chance);
        agrees(&text);
    }
}

fn parsed(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("JSON")
}

/// What `serde_json` finds at each pointer is what the spans hold.
fn spans_agree(text: &[u8], wanted: &[&str]) {
    let (pointers, slots) = Pointers::compile(wanted).expect("pointers");
    let mut scratch = Scratch::default();
    pass(text, &pointers, &LIMITS, &mut scratch).expect("an event");
    let whole = parsed(text);
    for (pointer, slot) in wanted.iter().zip(slots) {
        let found = scratch.found(slot);
        let ours = found.is_there().then(|| parsed(&text[found.range()]));
        let shown = String::from_utf8_lossy(text);
        assert_eq!(ours.as_ref(), whole.pointer(pointer), "{pointer} in {shown}");
        let exact = &text[found.range()];
        assert_eq!(exact.trim_ascii().len(), exact.len(), "{pointer} in {shown}");
    }
}

#[test]
fn pointers_lead_where_rfc_6901_says() {
    for (text, pointer, expected) in [
        (r#"{"a":{"b": [10, {"c" : "x"} ]}}"#, "/a/b/1/c", Some(r#""x""#)),
        (r#"{"a":{"b":[10,{"c":"x"}]}}"#, "/a/b/01/c", None),
        (r#"{"a":{"b":[10,{"c":"x"}]}}"#, "/a/b/-", None),
        (r#"{"a":{"0":1}}"#, "/a/0", Some("1")),
        (r#"{"a/b":{"m~n": null }}"#, "/a~1b/m~0n", Some("null")),
        (r#"{"":{"":2}}"#, "//", Some("2")),
        (r#"{"\u0061":{"\ud83d\ude00":2}}"#, "/a/😀", Some("2")),
        (r#"{"a":{"b":1}, "x":0}"#, "/a", Some(r#"{"b":1}"#)),
        (r#"{"o":{"a":{"b":1},"a":{"c":1}}}"#, "/o/a/b", None),
        (r#"{"o":{"a":{"b":1},"a":{"b":2}}}"#, "/o/a/b", Some("2")),
        (r#"{"a":"text"}"#, "/a/b", None),
        (r#"{"longer-than-eight":1,"longer-than-night":2}"#, "/longer-than-night", Some("2")),
    ] {
        let (pointers, slots) = Pointers::compile(&[pointer]).expect("a pointer");
        let mut scratch = Scratch::default();
        pass(text.as_bytes(), &pointers, &LIMITS, &mut scratch).expect("an event");
        let found = scratch.found(slots[0]);
        assert_eq!(found.is_there().then(|| &text[found.range()]), expected, "{pointer} in {text}");
        spans_agree(text.as_bytes(), &[pointer]);
    }
}

#[test]
fn all_members_of_real_events_are_found_at_once() {
    let github = data("nested/github-events.ndjson");
    let events = github.split(|b| *b == b'\n').filter(|l| !l.is_empty()).chain([SEGMENT.trim_ascii()]);
    for event in events {
        let whole = parsed(event);
        let mut all = Vec::new();
        gather(&whole, "", &mut all);
        let all: Vec<&str> = all.iter().map(String::as_str).take(500).collect();
        spans_agree(event, &all);
        let pretty = serde_json::to_vec_pretty(&whole).expect("JSON");
        spans_agree(&pretty, &all);
    }
}

fn gather(value: &Value, pointer: &str, all: &mut Vec<String>) {
    let mut below = |name: &str, v: &Value| {
        let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(pointer.clone());
        gather(v, &pointer, all);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, v)| below(name, v)),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(n, v)| below(&n.to_string(), v)),
        _ => {}
    }
}

/// Documents with few, awkward names, so that pointers meet prefixes, duplicates, indexes and escapes.
fn document() -> impl Strategy<Value = Value> {
    let name =
        prop::sample::select(vec!["", "a", "b", "0", "1", "a/b", "~", "é\n", "longer than eight", "longer than night"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let node = leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|m| Value::Object(m.into_iter().map(|(k, v)| (k.to_string(), v)).collect())),
        ]
    });
    node.prop_map(|v| serde_json::json!({"a": v.clone(), "z": {"a": v}}))
}

proptest! {
    #[test]
    fn spans_are_what_serde_json_finds(doc in document(), pretty: bool) {
        let text = if pretty { serde_json::to_vec_pretty(&doc) } else { serde_json::to_vec(&doc) }.expect("JSON");
        let mut all = Vec::new();
        gather(&doc, "", &mut all);
        all.push("/a/nowhere".into());
        spans_agree(&text, &all.iter().map(String::as_str).take(500).collect::<Vec<_>>());
    }

    #[test]
    fn any_string_reads_as_serde_json_reads_it(s: String) {
        let json = serde_json::to_vec(&s).expect("JSON");
        prop_assert!(text(&json).is_some_and(|t| *t == *s.as_bytes()));
        let mut ours = Vec::new();
        event::json::write_string(s.as_bytes(), &mut ours);
        prop_assert_eq!(parsed(&ours), Value::from(s));
    }

    #[test]
    fn any_bytes_are_judged_as_serde_json_judges_them(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        agrees(&bytes);
        agrees(&[b"{\"a\":\"", &bytes[..], b"\"}"].concat());
        agrees(&[b"{\"a\":", &bytes[..], b"}"].concat());
    }
}
