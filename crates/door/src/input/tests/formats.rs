//! What real inputs and the shapes people send become.

use super::*;

#[test]
fn a_web_log_is_read_once_and_again_under_another_name() {
    let Some(path) = data("weblogs/apache_logs") else { return };
    let bed = bed();
    let summary = bed.read(&path, Preset::AccessLog);
    assert_eq!((summary.accepted, summary.refused, summary.before), (10_000, 0, 0));
    let summary = bed.read(&path, Preset::AccessLog);
    assert_eq!((summary.accepted, summary.refused, summary.before), (0, 0, 10_000));
    assert_eq!(summary.note.as_deref(), Some("nothing new: its 10000 events were read before"));

    let copy = bed.file("another.log", &std::fs::read(&path).expect("the log"));
    assert_eq!(bed.read(&copy, Preset::AccessLog).accepted, 10_000);
    let raw = bed.raw();
    assert_eq!(raw.len(), 20_000);
    let mut ids: Vec<&str> = raw.iter().map(|r| r.id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 20_000, "lines that repeat are events of their own");
    assert!(bed.letters().is_empty());
}

#[test]
fn nested_events_with_a_field_map() {
    let Some(path) = data("nested/github-events.ndjson") else { return };
    let bed = bed();
    let map = mapped(
        Preset::Ouzel,
        &[
            ("id", "/id"),
            ("type", "/type"),
            ("time", "/created_at"),
            ("user", "/actor/login"),
            ("visitor", "/actor/id"),
        ],
    );
    let summary = read(&path, Preset::Ouzel, &world(bed.journal.clone(), map)).expect("read");
    assert_eq!((summary.accepted, summary.refused), (100, 0));
    assert!(bed.raw().iter().any(|r| r.id == "\"2549961020\""), "its own id");
}

#[test]
fn a_csv_file_with_a_zone() {
    let Some(path) = data("clicks/ecom.csv") else { return };
    let bed = bed();
    let world = world(bed.journal.clone(), mapped(Preset::Csv, &[("time", "zone=UTC")]));
    let summary = read(&path, Preset::Csv, &world).expect("read");
    assert_eq!((summary.accepted, summary.refused), (31_106, 0));
    assert_eq!(read(&path, Preset::Csv, &world).expect("read").accepted, 0);
    let first = &by_offset(&bed.raw())[&91];
    assert!(
        first.starts_with("{\"user_id\":\"user_0000\",\"session_id\":\"sess_000001\",\"event\":\"home\""),
        "{first}"
    );
}

#[test]
fn compression_changes_no_offset() {
    let text = lines(0, 4000);
    let bed = bed();
    bed.read(&bed.file("plain", &text), Preset::Ouzel);
    let plain = by_offset(&bed.raw());
    assert_eq!(plain.len(), 4000);
    let half = text.len() / 2;
    for (name, bytes) in [
        ("gz", gzip(&text)),
        ("zst", zstd(&text)),
        ("two members", [gzip(&text[..half]), gzip(&text[half..])].concat()),
        ("two frames", [zstd(&text[..half]), zstd(&text[half..])].concat()),
    ] {
        let bed = self::bed();
        let path = bed.file(name, &bytes);
        assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 4000, "{name}");
        assert_eq!(by_offset(&bed.raw()), plain, "{name}");
        assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 0, "{name} again");
        let streamed = read_stream(&bytes, Preset::Ouzel, &bed.world(Preset::Ouzel)).expect("read");
        assert_eq!(streamed.accepted, 4000, "{name} through a pipe");
    }
}

#[test]
fn the_shapes_of_json_files() {
    let a = r#"{"type":"a"}"#;
    let b = r#"{"type":"b","x":["]",{}]}"#;
    for (name, text, expected) in [
        ("lines", format!("{a}\n{b}\n"), vec![(0, a), (13, b)]),
        ("no newline at the end", format!("{a}\n{b}"), vec![(0, a), (13, b)]),
        ("windows", format!("\u{feff}{a}\r\n\r\n{b}\r\n"), vec![(3, a), (19, b)]),
        ("blank lines", format!("\n  \n{a}\n\t\n  {b}  \n\n"), vec![(4, a), (21, b)]),
        ("an array", format!("[{a},{b}]"), vec![(1, a), (14, b)]),
        ("an array on lines", format!(" [\n  {a},\n  {b}\n]\n"), vec![(5, a), (21, b)]),
        ("arrays", format!("[{a}]\n[{b}]"), vec![(1, a), (16, b)]),
        ("an array without its end", format!("[{a},{b}"), vec![(1, a), (14, b)]),
    ] {
        let bed = bed();
        let path = bed.file("f", text.as_bytes());
        assert_eq!(bed.read(&path, Preset::Ouzel).accepted, expected.len() as u64, "{name}");
        let got = by_offset(&bed.raw());
        assert_eq!(got.iter().map(|(o, v)| (*o, v.as_str())).collect::<Vec<_>>(), expected, "{name}");
        assert_eq!(bed.read(&path, Preset::Ouzel).accepted, 0, "{name} again");
    }
}

#[test]
fn a_stream_gives_every_event_an_id_of_its_own() {
    let bed = bed();
    let world = bed.world(Preset::Ouzel);
    let twice = "{\"type\":\"a\"}\n{\"type\":\"a\"}\n{\"type\":\"a\",\"id\":\"mine\"}\nnot json\n";
    let summary = read_stream(twice.as_bytes(), Preset::Ouzel, &world).expect("read");
    assert_eq!((summary.accepted, summary.refused, summary.identity), (3, 1, None));
    let raw = bed.raw();
    assert!(raw.iter().any(|r| r.id == "\"mine\""));
    assert_ne!(raw[0].id, raw[1].id);
    assert_eq!(bed.letters()[0]["code"], "not_json");
    let empty = read_stream(b"", Preset::Ouzel, &world).expect("read");
    assert_eq!((empty.is_empty, empty.note.as_deref()), (true, Some("it is empty")));
}
