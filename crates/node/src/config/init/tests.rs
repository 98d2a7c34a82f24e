use wire::infer::{Sample, infer};

use super::super::schema::{Absent, KEYS};
use super::super::{LoadArgs, SourceKind};
use super::*;

fn load(text: &str) -> Config {
    Config::load_with(&LoadArgs::default(), |_| Ok(text.to_owned())).unwrap_or_else(|e| panic!("{e}\n{text}")).config
}

#[test]
fn the_default_text_changes_nothing_and_neither_does_any_of_it() {
    let text = defaults();
    assert_eq!(load(&text), Config::defaults());
    let mut taken = 0;
    let mut section = String::new();
    let uncommented: String = text
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            if bare.starts_with('[') && bare.ends_with(']') {
                section = bare.trim_matches(['[', ']']).to_owned();
            }
            let path = bare.split_once(" = ").map(|(name, _)| format!("{section}.{name}"));
            let has_default = |p: &String| KEYS.iter().any(|k| k.path == p && matches!(k.absent, Absent::Is(_)));
            match path.as_ref().is_some_and(has_default) {
                true => {
                    taken += 1;
                    format!("{bare}\n")
                }
                false => format!("{line}\n"),
            }
        })
        .collect();
    let outside_lists = |k: &&super::super::schema::Key| matches!(k.absent, Absent::Is(_)) && !k.path.contains("[]");
    assert_eq!(taken, KEYS.iter().filter(outside_lists).count());
    assert_eq!(load(&uncommented), Config::defaults());
    for key in KEYS {
        assert!(text.contains(&format!("{} = ", key.name())), "{} is not there", key.path);
    }
}

fn of(text: &str, reads: Reads<'_>) -> (String, Config, Tried) {
    let sample = Sample::cut(text.as_bytes(), true).expect("a sample");
    let inferred = infer(&sample);
    let written = from_sample(Looked { sample: &sample, inferred: &inferred }, reads, "my \"events\"\n.ndjson", "mine");
    let config = load(&written);
    let tried = try_sample(&config, &sample, Micros(1_795_375_980_000_000)).expect("a decoder");
    (written, config, tried)
}

#[test]
fn what_is_written_is_what_was_found() {
    for (sample, reads, kind, says) in [
        (
            "{\"a~/b\":1,\"ts\":1710325274001,\"user\":{\"id\":7},\"what\":{\"event\":\"x\"}}",
            Reads::File("da\"ta\\x.ndjson"),
            SourceKind::File { path: "da\"ta\\x.ndjson".into(), follow: false },
            &["format = \"epoch_ms\"", "user = \"/user/id\"", "type = { value = \"event\" }", "# kind = \"http\""][..],
        ),
        (
            "user_id,event,timestamp\n1,view,2024-03-13 10:21:14\n",
            Reads::Stdin,
            SourceKind::Stdin,
            &["preset = \"csv\"", "time = { pointer = \"/timestamp\", zone = \"UTC\" }", "UTC IS ASSUMED"],
        ),
        (
            "{\"batch\":[{\"type\":\"page\",\"messageId\":\"m\",\"anonymousId\":\"v\"}]}",
            Reads::Requests,
            SourceKind::Http,
            &["preset = \"segment\"", "id         /messageId", "# [source.map]", "the body of a request"],
        ),
        (
            "{\"id\":1,\"type\":\"x\",\"user\":true,\"event_time\":\"03/04/2024 10:21:14\"}",
            Reads::Requests,
            SourceKind::Http,
            &["WHETHER DAY OR MONTH", "# kind = \"stdin\"", "a list or a boolean stands there"],
        ),
    ] {
        let (written, config, tried) = of(sample, reads);
        assert_eq!(config.sources[0].kind, kind, "{written}");
        assert_eq!(config.sources[0].name, "mine");
        assert_eq!((tried.accepted, tried.events()), (1, 1), "{:?}\n{written}", tried.refused);
        for says in says {
            assert!(written.contains(says), "no `{says}` in\n{written}");
        }
        assert!(written.lines().all(|l| l.chars().count() <= 120), "{written}");
        assert!(!written.contains("710325274") && !written.contains("2024-03-13"), "a value was written:\n{written}");
    }
}

#[test]
fn a_preset_in_the_way_is_told_to_look_elsewhere() {
    // The preset `csv` takes /id for the event's; these are the user's, and would make one event of all.
    let rows: String = (0..40).map(|n| format!("{},view\n", n % 4)).collect();
    let (written, config, tried) = of(&format!("id,event\n{rows}"), Reads::File("x.csv"));
    assert!(written.contains("id = \"/not_in_these_events\""), "{written}");
    assert_eq!(tried.accepted, 40);
    let decoder = wire::Decoder::build(config.decoder(&config.sources[0])).expect("a decoder");
    let mut ids = std::collections::BTreeSet::new();
    for index in 0..2 {
        let arrival =
            Arrival { received: Micros(1), position: ArrivalPosition::At { prefix: "x", index }, inherited: &[] };
        let mut record = RawRecord::default();
        decoder.decode(br#"{"id":"1","event":"view"}"#, &arrival, &mut record).expect("an event");
        ids.insert(record.id);
    }
    assert_eq!(ids.len(), 2, "ids are made from positions");
}

#[test]
fn events_over_the_limit_get_a_limit_they_fit() {
    let sample = format!("{{\"event\":\"x\",\"pad\":\"{}\"}}\n", "y".repeat(40_000));
    let (written, config, tried) = of(&sample, Reads::File("x"));
    assert_eq!((config.limits.event, tried.accepted), (65_536, 1), "{written}");
}

#[test]
fn refusals_are_told_by_reason() {
    let lines = "{\"event\":\"a\"}\n".repeat(15) + "{\"event\":\"a\",\"event\":\"b\"}\nx\n{}\n{\"event\":[]}\ny\n";
    let (_, _, tried) = of(&lines, Reads::File("x"));
    let reasons: Vec<_> = tried.refused.iter().map(|r| (r.failure.code.name(), r.events)).collect();
    assert_eq!(tried.accepted, 15, "{reasons:?}");
    assert_eq!(reasons[0], ("not_json", 2), "{reasons:?}");
    assert_eq!(tried.events(), 20);
}

#[test]
fn a_source_is_named_after_its_file() {
    for (file, name) in [
        (Some("github-events.ndjson"), "github-events"),
        (Some("access.log.gz"), "access"),
        (Some(".events.json"), "events"),
        (Some("Ereignisse März.csv"), "Ereignisse-M-rz"),
        (Some("http.ndjson"), "events"),
        (Some("日本.ndjson"), "events"),
        (None, "events"),
    ] {
        assert_eq!(source_name(file), name, "{file:?}");
    }
    assert!(source_name(Some(&"x".repeat(200))).len() <= 64);
}
