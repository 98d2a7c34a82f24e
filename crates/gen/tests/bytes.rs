//! What goes out: the same bytes for the same seed, of the size and shape asked for, taken and refused as they must be.

use std::collections::BTreeSet;

use event::Micros;
use event::key::hash64;
use ouzel_gen::generator::DEFAULT_PEOPLE;
use ouzel_gen::world::World;
use ouzel_gen::{Batch, Disorder, EventId, Form, GenConfig, Generator, Kind, Malformation, Pace, Truth};
use serde_json::Value;
use wire::{Arrival, ArrivalPosition, Decoder, DecoderConfig, FieldMap, Preset, RawRecord};

fn generator(config: GenConfig) -> Generator {
    config.build().expect("a valid configuration")
}

fn disordered() -> GenConfig {
    GenConfig { disorder: Disorder { shuffled_us: 3_000_000, ..Disorder::USUAL }, ..GenConfig::default() }
}

/// The next `n` records.
fn records(config: GenConfig, n: usize) -> Vec<(Truth, Vec<u8>)> {
    let mut generator = generator(config);
    (0..n)
        .map(|_| {
            let mut out = Vec::new();
            (generator.next(&mut out), out)
        })
        .collect()
}

fn all_bytes(config: GenConfig, n: usize) -> Vec<u8> {
    records(config, n).into_iter().flat_map(|(_, bytes)| bytes).collect()
}

/// Another number here means that the same seed no longer gives the same events: say so in CHANGELOG.md.
#[test]
fn the_first_10_000_events_of_a_seed_are_these() {
    assert_eq!(format!("{:016x}", hash64(&all_bytes(GenConfig::default(), 10_000))), CLEAN);
    assert_eq!(format!("{:016x}", hash64(&all_bytes(disordered(), 10_000))), DISORDERED);
}
const CLEAN: &str = "d1073d6bd9ec74b3";
const DISORDERED: &str = "1000a2c4b39df408";

#[test]
fn a_seed_says_everything_and_nothing_else_does() {
    let base = disordered();
    let bytes = all_bytes(base, 2_000);
    assert_eq!(bytes, all_bytes(base, 2_000));
    assert_ne!(bytes, all_bytes(GenConfig { seed: 2, ..base }, 2_000));
    // However it is taken: one by one, in batches, looked at before or not.
    let mut pulled = generator(base);
    let (mut batch, mut in_batches) = (Batch::default(), Vec::new());
    let mut truths = Vec::new();
    for n in (1..60).cycle() {
        batch.pull(&mut pulled, n, 20 * Micros::SECOND);
        in_batches.extend(batch.body.split(|b| *b == b'\n').flatten());
        truths.extend_from_slice(&batch.truths);
        if truths.len() >= 2_000 {
            break;
        }
    }
    assert!(in_batches.starts_with(&bytes));
    let one_by_one: Vec<Truth> = records(base, 2_000).into_iter().map(|(t, _)| t).collect();
    assert_eq!(truths[..2_000], one_by_one);
}

#[test]
fn a_batch_holds_what_is_due_together() {
    let config = GenConfig { people: 200_000, pace: Pace::Even { per_s: 50.0 }, ..GenConfig::default() };
    let mut generator = generator(config);
    let mut batch = Batch::default();
    for n in 0..40 {
        // 50 a second: six within 100 ms, the first of them counted.
        batch.pull(&mut generator, 100, 100_000);
        assert_eq!(batch.len(), 6);
        assert_eq!(batch.due(), Some(Micros(config.start.0 + (n * 6 + 5) * 20_000)));
        assert_eq!(batch.body.iter().filter(|b| **b == b'\n').count(), 6);
    }
    batch.pull(&mut generator, 3, 100_000);
    assert_eq!((batch.len(), batch.truths.len()), (3, 3));
}

#[test]
fn a_steady_stream_is_due_to_the_microsecond() {
    for (per_s, disorder) in [(100.0, Disorder::NONE), (7_000.0, Disorder::USUAL)] {
        let people = ouzel_gen::generator::people_for(per_s);
        let config = GenConfig { people, pace: Pace::Even { per_s }, disorder, ..GenConfig::default() };
        for (n, (truth, bytes)) in records(config, 3_000).iter().enumerate() {
            let due = Micros(config.start.0 + (n as f64 * 1e6 / per_s) as i64);
            assert_eq!(truth.arrival, due);
            if truth.kind == Kind::Good && disorder == Disorder::NONE {
                assert_eq!(time(bytes, "timestamp"), due);
                assert_eq!(time(bytes, "sentAt"), due);
            }
        }
    }
}

#[test]
fn times_are_given_where_they_are() {
    let mut generator = generator(GenConfig { pace: Pace::Given, ..GenConfig::default() });
    let mut out = Vec::new();
    for micros in [1_795_400_000_000_001, 1_795_300_000_000_000] {
        out.clear();
        generator.set_time(Micros(micros));
        let truth = generator.next(&mut out);
        assert_eq!(
            (truth.time, time(&out, "timestamp"), EventId::of(&out)),
            (Micros(micros), Micros(micros), Some(truth.id))
        );
    }
}

#[test]
fn events_have_1_200_bytes_in_the_mean() {
    for config in [GenConfig::default(), GenConfig::crowd(3), GenConfig { seed: 8, ..GenConfig::of(1_000) }] {
        let mut generator = generator(config);
        let batch = Batch::render(&mut generator, 20_000, Form::Ndjson);
        let mean = batch.body.len() / 20_000;
        assert!((1150..=1250).contains(&mean), "{mean} bytes");
    }
}

fn decoder() -> Decoder {
    Decoder::build(DecoderConfig::new("gen", FieldMap::preset(Preset::Segment))).expect("a preset is valid")
}

#[test]
fn good_events_are_taken_and_malformed_ones_are_refused_for_what_is_wrong_with_them() {
    let (decoder, mut record) = (decoder(), RawRecord::default());
    let disorder = Disorder { malformed: 100_000, ..disordered().disorder };
    let (mut refused, mut ahead) = (BTreeSet::new(), BTreeSet::new());
    for (truth, bytes) in records(GenConfig { disorder, ..GenConfig::default() }, 30_000) {
        let position = ArrivalPosition::At { prefix: "gen", index: 0 };
        let arrival = Arrival { received: truth.arrival, position, inherited: &[] };
        let decoded = decoder.decode(&bytes, &arrival, &mut record);
        let shown = || String::from_utf8_lossy(&bytes).into_owned();
        match (truth.kind, decoded) {
            (Kind::Malformed, Err(failure)) => {
                assert_eq!(Some(failure.code), truth.code, "{}", shown());
                refused.insert(failure.code.name());
            }
            (Kind::Malformed, Ok(())) => panic!("taken: {}", shown()),
            (_, Err(failure)) => panic!("refused, {failure:?}: {}", shown()),
            (kind, Ok(())) => {
                let mut key = Vec::new();
                truth.visitor.write_key(&mut key);
                assert_eq!(record.key, key, "{}", shown());
                assert_eq!(record.id, truth.id.text());
                if kind == Kind::Future {
                    ahead.insert(truth.id);
                }
                assert_eq!(record.flags.has(event::Flags::FUTURE), ahead.contains(&truth.id), "{}", shown());
            }
        }
    }
    assert_eq!(refused.len(), 5, "{refused:?}");
}

#[test]
fn every_way_to_break_an_event_is_refused_with_its_code() {
    let (decoder, mut record) = (decoder(), RawRecord::default());
    let arrival = Arrival {
        received: GenConfig::default().start,
        position: ArrivalPosition::At { prefix: "gen", index: 0 },
        inherited: &[],
    };
    for (n, (_, bytes)) in records(GenConfig::default(), 600).into_iter().enumerate() {
        for malformation in Malformation::ALL {
            let mut broken = b"before it".to_vec();
            broken.extend_from_slice(&bytes);
            malformation.apply(&mut broken, 9, ouzel_gen::rng::mix(n as u64));
            assert!(broken.starts_with(b"before it"));
            let failure = decoder.decode(&broken[9..], &arrival, &mut record).expect_err("broken");
            assert_eq!(failure.code, malformation.code(), "{}", String::from_utf8_lossy(&broken[9..]));
        }
    }
}

fn time(bytes: &[u8], member: &str) -> Micros {
    let value: Value = serde_json::from_slice(bytes).expect("JSON");
    Micros::parse_rfc3339(value[member].as_str().expect("a time").as_bytes()).expect("a time")
}

/// Over the population, from the tables.
#[test]
fn there_are_enough_addresses_and_agents() {
    let world = World::new();
    let all = generator(GenConfig::default());
    let (mut agents, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let tuesday = Micros(1_795_514_400 * Micros::SECOND);
    for number in 0..DEFAULT_PEOPLE {
        let person = all.person(number).expect("of the population");
        for n in 0..person.devices() {
            let device = person.device(&world, n, 0);
            agents.insert(device.agent);
            addresses.insert(person.address(&world, &device, person.place(device.platform, 0, tuesday), 0));
        }
    }
    assert!(agents.len() >= 5_000, "{} agents", agents.len());
    assert!(addresses.len() >= 50_000, "{} addresses", addresses.len());
    assert!(world.agents.len() < usize::from(u16::MAX));
}

#[test]
fn a_million_events_have_enough_addresses_and_agents() {
    let mut generator = generator(GenConfig::crowd(1));
    let mut out = Vec::new();
    let (mut agents, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    let mut v6 = 0;
    let after = |event: &[u8], mark: &[u8]| -> Option<u64> {
        let at = event.windows(mark.len()).position(|w| w == mark)? + mark.len();
        let end = event[at..].iter().position(|b| *b == b'"')?;
        Some(hash64(&event[at..at + end]))
    };
    const EVENTS: usize = 1_000_000;
    for _ in 0..EVENTS {
        out.clear();
        generator.next(&mut out);
        let context = out.windows(11).rposition(|w| w == b"\"context\":{").expect("every event has it");
        agents.extend(after(&out[context..], b"\"userAgent\":\""));
        let address = after(&out[context..], b"\"ip\":\"");
        v6 += usize::from(
            out[context..]
                .windows(20)
                .any(|w| w.starts_with(b"\"ip\":\"2") && w[6..].iter().take(5).any(|b| *b == b':')),
        );
        addresses.extend(address);
    }
    assert!(agents.len() >= 5_000, "{} agents", agents.len());
    assert!(addresses.len() >= 50_000, "{} addresses", addresses.len());
    assert!((EVENTS / 10..EVENTS / 2).contains(&v6), "{v6} over IPv6");
}
