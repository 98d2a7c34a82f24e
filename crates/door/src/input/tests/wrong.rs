//! What people see when an input is not what they think it is.

use event::dead_letter::KEEP;
use sha2::{Digest as _, Sha256};

use super::*;

fn error(bed: &Bed, path: &Path, preset: Preset) -> String {
    read(path, preset, &bed.world(preset))
        .expect_err("an error")
        .to_string()
        .replace(bed.dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn a_wrong_preset_stores_nothing_and_names_the_right_one() {
    let Some(path) = data("weblogs/apache_logs") else { return };
    let bed = bed();
    let e = read(&path, Preset::Segment, &bed.world(Preset::Segment)).expect_err("wrong preset").to_string();
    assert!(e.contains("its first 100 records are all malformed; line 1 looks like a combined access log; add `--preset access-log`"), "{e}");
    assert!(e.contains("The first failure: not_json"), "{e}");
    assert!(bed.raw().is_empty() && bed.letters().is_empty());
    assert_eq!(bed.read(&path, Preset::AccessLog).accepted, 10_000, "the right one begins at the beginning");
}

#[test]
fn a_wrong_preset_is_found_in_a_short_file_too() {
    let bed = bed();
    let path = bed.file("a.csv", b"user_id,event\n1,home\n2,cart\n");
    let e = error(&bed, &path, Preset::Segment);
    assert!(
        e.contains(
            "its first 3 records are all malformed; line 1 looks like the header of a CSV file; add `--preset csv`"
        ),
        "{e}"
    );
    assert!(bed.letters().is_empty());
    assert_eq!(bed.read(&path, Preset::Csv).accepted, 2);

    let e = error(&bed, &bed.file("no-type", b"{\"kind\":\"a\"}\n{\"kind\":\"b\"}\n"), Preset::Ouzel);
    assert!(e.contains("--map type="), "{e}");
}

#[test]
fn bad_events_cost_neither_their_neighbours_nor_the_run() {
    let bed = bed();
    let deep = format!("{{\"type\":\"t\",\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let lines: [&[u8]; 7] = [
        b"{\"type\":\"cut",
        b"{\"type\":\"good1\"}",
        deep.as_bytes(),
        b"{\"type\":\"a\",\"type\":\"b\"}",
        b"\xff\xfe{}",
        b"[1]",
        b"{\"type\":\"good2\"}",
    ];
    let path = bed.file("f", &lines.join(&b'\n'));
    let summary = bed.read(&path, Preset::Ouzel);
    assert_eq!((summary.accepted, summary.refused), (2, 5));
    let mut codes: Vec<String> = bed.letters().iter().map(|l| l["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    assert_eq!(codes, ["duplicate_member", "not_json", "not_object", "not_utf8", "too_deep"]);
    assert_eq!(bed.read(&path, Preset::Ouzel).refused, 0, "they are not refused again");

    // One bad event alone is an input with one refusal, and its dead letter is there to be looked at.
    let alone = bed.read(&bed.file("alone", b"{\"type\":"), Preset::Ouzel);
    assert_eq!((alone.accepted, alone.refused), (0, 1));
    assert!(alone.note.expect("a note").contains("not valid JSON"));
}

#[test]
fn an_endless_line_is_refused_by_its_length_and_hash() {
    for (name, open, close) in [("lines", "", "\n"), ("array", "[", ",")] {
        let bed = bed();
        let mut long = b"{\"type\":\"long\",\"pad\":\"".to_vec();
        long.resize(10 << 20, b'x');
        long.extend_from_slice(b"\"}");
        let good = |n| format!("{{\"type\":\"good{n}\"}}");
        let mut text = format!("{open}{}{close}", good(1)).into_bytes();
        let at = text.len();
        text.extend_from_slice(&long);
        text.extend_from_slice(format!("{close}{}", good(2)).as_bytes());
        let path = bed.file("f", &text);
        let summary = bed.read(&path, Preset::Ouzel);
        assert_eq!((summary.accepted, summary.refused), (2, 1), "{name}");
        let letter = &bed.letters()[0];
        assert_eq!(letter["code"], "too_large");
        assert_eq!(letter["length"], long.len());
        assert_eq!(letter["event"].as_str().map(str::len), Some(KEEP));
        let hash: String = Sha256::digest(&long).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(letter["sha256"], hash);
        assert!(letter["position"].as_str().unwrap().ends_with(&format!(":{at}")));
        assert_eq!(bed.read(&path, Preset::Ouzel).refused, 0, "{name} again");
    }
}

#[test]
fn paths_that_lead_to_no_events() {
    let bed = bed();
    bed.file("access.log", b"");
    let path = |name: &str| bed.dir.path().join(name);
    assert_eq!(
        error(&bed, &path("acess.log"), Preset::Ouzel),
        "there is no file DIR/acess.log; did you mean DIR/access.log?"
    );
    assert_eq!(error(&bed, &path("nothing-like-it"), Preset::Ouzel), "there is no file DIR/nothing-like-it");
    assert_eq!(
        error(&bed, bed.dir.path(), Preset::Ouzel),
        "DIR is a directory; --input takes one file, for example access.log"
    );
    let empty = bed.read(&path("access.log"), Preset::Ouzel);
    assert_eq!((empty.accepted, empty.is_empty, empty.note.as_deref()), (0, true, Some("it is empty")));
    let blank = bed.read(&bed.file("blank", b"\n\n"), Preset::Ouzel);
    assert_eq!(blank.note.as_deref(), Some("there are no events in it"));

    let zip = error(&bed, &bed.file("a.zip", b"PK\x03\x04...."), Preset::Ouzel);
    assert!(zip.contains("is a zip archive; unpack it first"), "{zip}");
    let twice = error(&bed, &bed.file("twice", &gzip(&gzip(b"{}"))), Preset::Ouzel);
    assert!(twice.contains("compressed twice"), "{twice}");
    let grows = error(&bed, &bed.file("grows", &zstd(&vec![b'\n'; 64 << 20])), Preset::Ouzel);
    assert!(grows.contains("grows more than 10000 times when decompressed"), "{grows}");
    let header = error(&bed, &bed.file("h.csv", b"a,a\n1,2\n"), Preset::Csv);
    assert!(header.contains("no CSV header") && header.contains("same name"), "{header}");
}

#[test]
fn what_stands_before_damage_is_stored_and_read_once() {
    for (name, packed) in [("gzip", gzip(&lines(0, 5000))), ("zstd", zstd(&lines(0, 5000)))] {
        let bed = bed();
        let cut = bed.file("f", &packed[..packed.len() * 2 / 3]);
        let e = error(&bed, &cut, Preset::Ouzel);
        assert!(e.contains(&format!("the {name} data ends in the middle, after ")), "{e}");
        let before = numbers(&bed.raw());
        assert!(!before.is_empty() && before.len() < 5000);
        let whole = bed.file("f", &packed);
        assert_eq!(bed.read(&whole, Preset::Ouzel).accepted as usize, 5000 - before.len(), "{name}");
        assert_eq!(numbers(&bed.raw()), (0..5000).collect::<Vec<_>>());

        let mut flipped = packed.clone();
        let at = packed.len() / 2;
        flipped[at..at + 64].fill(0xaa);
        let e = error(&bed, &bed.file("flipped", &flipped), Preset::Ouzel);
        assert!(e.contains(&format!("bad {name} data near its byte ")), "{e}");
    }
}
