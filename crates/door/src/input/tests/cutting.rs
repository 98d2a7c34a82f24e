//! The pieces in which bytes come leave no trace in the records.

use event::record::records;
use proptest::prelude::*;

use super::super::feed::{Fed, Feed, Ids, Sink};
use super::*;
use crate::collect::Collector;

const LIMIT: usize = 200;

/// What a feed makes of `bytes` given in pieces: per record the key or id with the value, in order per partition.
fn fed(preset: Preset, bytes: &[u8], cuts: &[usize]) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    let mut config = DecoderConfig::new("input", FieldMap::preset(preset));
    config.limits.event = LIMIT;
    let mut collector = Collector::new(Arc::new(Decoder::build(config).expect("a preset")), 2);
    let mut feed = Feed::new(preset, LIMIT, Ids::Position("file:test".into()));
    feed.first.settled = true;
    let mut out = Vec::new();
    let mut drain = |collector: &mut Collector| {
        for block in collector.take() {
            for r in records(&block.bytes).map(|r| r.expect("a record")) {
                out.push((u32::from(block.to.topic.0), r.header_bytes.to_vec(), r.value.expect("a value").to_vec()));
            }
        }
    };
    let mut at = 0;
    for cut in cuts.iter().copied().chain([bytes.len()]) {
        feed.buf().extend_from_slice(&bytes[at..cut]);
        at = cut;
        loop {
            // A sink that is full after every record: the feed must go on where it stopped.
            let mut sink = Sink { collector: &mut collector, full: 1, received: event::Micros(5), rng: &RealRng };
            let fed = if cut == bytes.len() { feed.take_last(&mut sink) } else { feed.take(&mut sink) };
            drain(&mut collector);
            match fed {
                Fed::Full => {}
                Fed::Hungry => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(feed.position(), bytes.len() as u64);
    out
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[ \\t]{0,2}\\{\"type\":\"[a-z\\\\]\\[,]{0,5}\"(,\"x\":\\[1,\\{\\}\\])?\\}[ \\r]{0,2}".prop_map(String::into_bytes),
        1 => Just(b"1.2.3.4 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"agent\"".to_vec()),
        1 => Just(Vec::new()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => Just(vec![b'x'; LIMIT + 1]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn any_cutting_gives_the_same_events(
        head in prop::sample::select(vec![&b""[..], b"[", b"\xef\xbb\xbf", b"\xef\xbb\xbf [", b" \n", b"a,b,type\n"]),
        pieces in prop::collection::vec((piece(), prop::sample::select(b"\n\n\n,]".to_vec())), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut bytes = head.to_vec();
        for (piece, separator) in pieces {
            bytes.extend_from_slice(&piece);
            bytes.push(separator);
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|c| c.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        for preset in [Preset::Ouzel, Preset::AccessLog] {
            prop_assert_eq!(fed(preset, &bytes, &cuts), fed(preset, &bytes, &[]), "{:?}", preset);
        }
    }
}

/// The same for records longer than what is held: about 97 KiB, and just below and above.
#[test]
fn a_long_record_is_the_same_in_any_pieces() {
    let held = KEEP_AND_SLACK;
    for length in [held - 1, held, held + 1, 3 * held] {
        let mut bytes = b"{\"type\":\"a\"}\n".to_vec();
        bytes.resize(bytes.len() + length, b'y');
        bytes.extend_from_slice(b"\n{\"type\":\"b\"}\n");
        let whole = fed(Preset::Ouzel, &bytes, &[]);
        assert_eq!(whole.len(), 3);
        for step in [1000, 4096, 65_536] {
            let cuts: Vec<usize> = (step..bytes.len()).step_by(step).collect();
            let got = fed(Preset::Ouzel, &bytes, &cuts);
            // The message may say it either way; the letter's facts are the same.
            let facts = |records: &[(u32, Vec<u8>, Vec<u8>)]| -> Vec<serde_json::Value> {
                let values =
                    records.iter().map(|(_, _, v)| serde_json::from_slice::<serde_json::Value>(v).expect("JSON"));
                values
                    .map(|mut v| {
                        v.as_object_mut().expect("an object").remove("message");
                        v
                    })
                    .collect()
            };
            assert_eq!(facts(&got), facts(&whole), "{length} bytes by {step}");
        }
    }
}

const KEEP_AND_SLACK: usize = event::dead_letter::KEEP + 64 * 1024;
