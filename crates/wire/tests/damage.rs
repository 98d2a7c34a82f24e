//! Whatever is fed to a parser, it ends, does not panic, and what it says fits together.

mod support;

use event::{Code, HeaderRef, Micros};
use ouzel_wire::infer::{Sample, infer};
use ouzel_wire::{
    Arrival, ArrivalPosition, Decoder, DecoderConfig, FieldMap, Limits, MapEntry, Preset, RawRecord, access_log, csv,
    guess, split,
};
use support::{Chance, data, mutated};

const MUTATIONS: usize = 20_000;

/// Every truncation of every sample, and many damages of them.
fn feed(samples: &[Vec<u8>], seed: u64, mut judge: impl FnMut(&[u8])) {
    for sample in samples {
        (0..=sample.len()).for_each(|cut| judge(&sample[..cut]));
    }
    let mut chance = Chance(seed);
    for _ in 0..MUTATIONS {
        let text = mutated(chance.pick(samples).as_slice(), &mut chance);
        judge(&text);
    }
}

fn segment() -> Vec<u8> {
    include_bytes!("samples/segment.json").trim_ascii().to_vec()
}

fn decoder(preset: Preset) -> Decoder {
    let mut map = FieldMap::preset(preset);
    if preset == Preset::Csv {
        map.set("time", MapEntry::parse_cli("zone=Europe/Berlin").expect("an entry")).expect("a zone");
    }
    Decoder::build(DecoderConfig::new("web", map)).expect("a decoder")
}

const ARRIVAL: Arrival<'_> = Arrival {
    received: Micros(1_795_375_980_000_000),
    position: ArrivalPosition::At { prefix: "p", index: 1 },
    inherited: &[],
};

/// A decoded event is JSON with a type, its header reads back, and all spans are values of it; used memory makes no
/// difference.
fn judge_event(decoder: &Decoder, event: &[u8], used: &mut RawRecord) {
    let mut new = RawRecord::default();
    let result = decoder.decode(event, &ARRIVAL, &mut new);
    assert_eq!(decoder.decode(event, &ARRIVAL, used), result);
    match result {
        Ok(()) => {
            let whole: serde_json::Value = match serde_json::from_slice(event) {
                Ok(whole) => whole,
                Err(e) => return assert!(e.to_string().contains("out of range"), "{e}"),
            };
            assert!(whole.is_object() && whole.get("enriched").is_none());
            let header = HeaderRef::new(&new.header).expect("a header");
            for span in header.spans() {
                let json = header.json(span.field, event).expect("inside the event");
                serde_json::from_slice::<serde_json::Value>(json).expect("a value");
            }
            assert!(!new.key.is_empty() && !new.id.is_empty());
            assert_eq!((&new.key, &new.id, &new.header), (&used.key, &used.id, &used.header));
            assert!((Micros::EARLIEST..Micros::LATEST).contains(&new.event_time));
        }
        Err(failure) => assert!(!failure.message.is_empty()),
    }
}

#[test]
fn events() {
    let github = data("nested/github-events.ndjson");
    let mut samples = vec![segment()];
    samples.extend(split::lines(&github).step_by(29).map(|(_, e)| e.to_vec()));
    let (decoder, mut used) = (decoder(Preset::Segment), RawRecord::default());
    feed(&samples, 11, |text| judge_event(&decoder, text, &mut used));
}

#[test]
fn access_log_lines() {
    let log = data("weblogs/apache_logs");
    let mut samples: Vec<_> = split::lines(&log).step_by(1_111).map(|(_, l)| l.to_vec()).collect();
    samples.extend(split::lines(&log).nth(8_898).map(|(_, l)| l.to_vec()));
    samples.push(br#"h - Ann Lee [17/May/2015:10:05:03 +0000] "G\x16\"\\ / HTTP/1.1" 200 - "a\xff" "b\n""#.to_vec());
    let (decoder, mut used, mut json) = (decoder(Preset::AccessLog), RawRecord::default(), Vec::new());
    feed(&samples, 12, |line| {
        json.clear();
        match access_log::to_json(line, &mut json) {
            Ok(()) => {
                let whole: serde_json::Value = serde_json::from_slice(&json).expect("the JSON form is JSON");
                assert_eq!(whole.as_object().expect("an object").len(), 9);
                judge_event(&decoder, &json, &mut used);
            }
            Err(failure) => assert_eq!(failure.code, Code::BadLine),
        }
    });
}

#[test]
fn csv_headers_and_rows() {
    let file = data("clicks/ecom.csv");
    let mut samples: Vec<_> = split::lines(&file).step_by(7_000).map(|(_, l)| l.to_vec()).collect();
    samples.push(b"\"user_0000\",sess,\"a \"\"b\"\", c\",2024-03-31 02:30:00,\"\",,x,\"y\"".to_vec());
    let (decoder, mut used, mut json) = (decoder(Preset::Csv), RawRecord::default(), Vec::new());
    let mut rows = csv::Rows::new(&samples[0]).expect("a header");
    feed(&samples, 13, |line| {
        json.clear();
        match rows.to_json(line, &mut json) {
            Ok(()) => {
                assert_eq!(
                    serde_json::from_slice::<serde_json::Value>(&json).is_ok(),
                    std::str::from_utf8(line).is_ok()
                );
                judge_event(&decoder, &json, &mut used);
            }
            Err(failure) => assert_eq!(failure.code, Code::BadLine),
        }
        if let Ok(mut rows) = csv::Rows::new(line) {
            json.clear();
            let names = rows.names().len();
            rows.to_json(&vec![b','; names - 1], &mut json).unwrap_or_else(|_| json.clear());
            let object = serde_json::from_slice::<serde_json::Value>(&json);
            assert!(json.is_empty() || object.is_ok_and(|o| o.as_object().is_some_and(|o| o.len() == names)));
        }
    });
}

/// No byte is lost: between the events there is only white space and what separates them.
#[test]
fn bodies() {
    let event = segment();
    let batch = [&b"{\"sentAt\":\"t\",\"batch\":["[..], &event[..200], b"\"}},{\"a\":[1]},{}],\"b\":1}"].concat();
    let samples = [
        event.clone(),
        [&b"[{\"a\":[1,2,{\"b\":\"],[\"}]},"[..], &event, b", 3, {\"x\":\"\\\\\"}\n]\n"].concat(),
        [&b"{\"a\":1}\n"[..], &event, b"\r\n\n{\"b\":[{\"c\":\"}\"}]}"].concat(),
        batch,
        b"{\n  \"a\": [\n{\n\"b\": 1\n}\n]\n}\n".to_vec(),
    ];
    feed(&samples, 14, |text| {
        for content_type in [None, Some("application/x-ndjson")] {
            let events = split::body(text, content_type);
            let is_batch = events.clone().take_batch().is_some();
            let mut behind = 0;
            for (at, event) in events {
                assert_eq!(&text[at..at + event.len()], event);
                assert!(at >= behind, "events follow one another");
                let between = &text[behind..at];
                assert!(
                    is_batch || between.iter().all(|b| b" \t\r\n\x0c,[]\xef\xbb\xbf".contains(b)),
                    "{between:?} was lost"
                );
                behind = at + event.len();
            }
            let rest = &text[behind..];
            assert!(is_batch || rest.iter().all(|b| b" \t\r\n\x0c,[]\xef\xbb\xbf".contains(b)), "{rest:?} was lost");
        }
    });
}

#[test]
fn guesses_and_batches() {
    let decoder = decoder(Preset::Segment);
    let log = data("weblogs/apache_logs");
    let samples = [
        segment(),
        split::lines(&log).next().expect("a line").1.to_vec(),
        b"user_id,event,timestamp".to_vec(),
        b"Mar 27 13:06:56 ip-10-77-20-248 sshd[1291]: x".to_vec(),
    ];
    feed(&samples, 15, |text| {
        guess(&[text]);
        guess(&[text, text]);
        let _ = decoder.batch_context(text);
    });
}

/// Whatever a sample holds, what is guessed of it is a map that a decoder can be built from, and every event it is said
/// to be right for is one that could be looked at.
#[test]
fn a_guessed_map_can_always_be_used() {
    let log = data("weblogs/apache_logs");
    let lines: Vec<&[u8]> = split::lines(&log).take(3).map(|(_, l)| l).collect();
    let samples = [
        [segment(), segment(), br#"{"id":1,"ts":1710325274001,"kind":"x","user":{"id":7}}"#.to_vec()].join(&b'\n'),
        b"[{\"a\":\"2024-03-13 10:21:14\"},{\"a~/b\":{\"\":\"1.2.3.4\"}}]".to_vec(),
        lines.join(&b'\n'),
        b"user_id,event,timestamp\n1,home,13.03.2024 10:21\n2,cart,14.03.2024 10:21".to_vec(),
    ];
    feed(&samples, 16, |text| {
        for whole in [true, false] {
            let Ok(sample) = Sample::cut(text, whole) else { continue };
            let inferred = infer(&sample);
            assert_eq!(inferred.events, sample.json().count());
            let mut map = FieldMap::preset(inferred.preset);
            for (field, entry) in inferred.map() {
                map.set(field.name(), entry).expect("an entry");
            }
            let decoder = Decoder::build(DecoderConfig::new("web", map)).expect("a decoder");
            for finding in &inferred.fields {
                assert!(inferred.field(finding.field).is_none_or(|found| found.events <= inferred.events));
            }
            // Where every event has the type and times can be read, none is refused for want of them.
            let mut record = RawRecord::default();
            let of_type = inferred.field(event::Field::TYPE).expect("there is always a type");
            let refused = |event: &&[u8]| {
                decoder.decode(event, &ARRIVAL, &mut record).is_err_and(|f| f.code == Code::MissingField)
            };
            assert_eq!(sample.json().filter(refused).count(), inferred.events - of_type.events);
        }
    });
}

#[test]
fn limits_hold_on_hostile_shapes() {
    let limits = Limits::default();
    let mut record = RawRecord::default();
    let decoder = decoder(Preset::Segment);
    for (text, code) in [
        ("[".repeat(10_000), Code::TooDeep),
        ("{\"a\":".repeat(5_000), Code::TooDeep),
        (format!("{{\"type\":\"{}\"}}", "\\u0061".repeat(limits.event / 6 - 4)), Code::BadField),
        (format!("{{{}}}", "\"\":0,".repeat(4_000)), Code::TooManyMembers),
        (format!("{{{}\"\":0}}", "\"\":0,".repeat(1_900)), Code::DuplicateMember),
        (format!("{{\"a\":{}}}", "9".repeat(limits.event)), Code::TooLarge),
        (format!("{{\"a\":{}}}", "9".repeat(limits.event - 100)), Code::MissingField),
        (" ".repeat(limits.event), Code::NotJson),
    ] {
        let failure = decoder.decode(text.as_bytes(), &ARRIVAL, &mut record).expect_err("refused");
        assert_eq!(failure.code, code, "{}", &text[..20]);
    }
}
