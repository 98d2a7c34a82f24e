//! How a story is told: a calm world, what is changed in it, a few seeds, and what must be true in the end beside the laws.

use std::ops::RangeInclusive;
use std::time::Duration;

use event::record::records;
use event::{Code, TopicId};
use log::Log;
use ouzel_sim::outputs::{Outputs, Row};
use ouzel_sim::world::{Broker, Disaster, Report, Scenario, Shape, Trace, World};
use serde_json::Value;

/// So much of a story is shown when it ends badly: what led to it is mostly in there.
const LINES_SHOWN: usize = 120;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A world that has come to rest, and every law held.
pub struct Told {
    pub seed: u64,
    pub report: Report,
    pub log: Broker,
    pub outputs: Outputs,
}

/// Tells a story in a world of this shape, once for each of three seeds.
///
/// # Panics
/// If a law does not hold; the end of the story is printed.
pub fn tell(shape: Shape, change: impl Fn(&mut Scenario)) -> Vec<Told> {
    seeds().map(|seed| tell_of(seed, shape, &change)).collect()
}

/// `STORY_SEEDS=4-40` for others; with `STORY` set the whole of each story is printed.
fn seeds() -> RangeInclusive<u64> {
    let given = std::env::var("STORY_SEEDS").ok();
    let given = given.as_deref().and_then(|text| text.split_once('-'));
    given.map_or(1..=3, |(from, to)| from.parse().expect("a number")..=to.parse().expect("a number"))
}

/// The same for one seed.
pub fn tell_of(seed: u64, shape: Shape, change: impl Fn(&mut Scenario)) -> Told {
    let scenario = || {
        let mut scenario = Scenario::calm(seed, shape);
        change(&mut scenario);
        scenario
    };
    let report = World::new(scenario(), Trace::new()).run();
    if !report.violations.is_empty() {
        let story = World::new(scenario(), Trace::kept()).run().trace.to_string();
        let lines: Vec<&str> = story.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n"));
        let all: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        panic!("seed {seed}, {shape:?}: {}", all.join("\n"));
    }
    if std::env::var_os("STORY").is_some() {
        println!("{}", World::new(scenario(), Trace::kept()).run().trace);
    }
    let log = report.log.clone().expect("all is quiet, so somebody has the log");
    let mut outputs = Outputs::default();
    outputs.read(&log).expect("the oracle could read it too");
    Told { seed, report, log, outputs }
}

/// What strikes again and again.
pub fn again(times: u64, every: Duration, disaster: Disaster) -> Vec<(Duration, Disaster)> {
    (1..=times).map(|n| (every * n as u32, disaster)).collect()
}

impl Told {
    /// How often this was told.
    pub fn count(&self, name: &str) -> u64 {
        self.report.trace.counts().get(name).copied().unwrap_or(0)
    }

    /// # Panics
    /// If it happened less often.
    #[track_caller]
    pub fn fired(&self, name: &str, at_least: u64) {
        let count = self.count(name);
        assert!(
            count >= at_least,
            "seed {}: {name} happened {count} times: {:?}",
            self.seed,
            self.report.trace.counts()
        );
    }

    /// Dead letters with this code.
    pub fn letters(&self, code: Code) -> Vec<&Row> {
        self.outputs.dlq.iter().map(|(_, row)| row).filter(|row| row.code == Some(code)).collect()
    }

    /// Every event of `enriched`.
    pub fn enriched(&self) -> Vec<Value> {
        values(&self.log, event::topic::ENRICHED)
    }

    /// How many events have this status of an enricher.
    pub fn with_status(&self, enricher: &str, status: &str) -> usize {
        self.enriched().iter().filter(|event| event["enriched"]["status"][enricher] == status).count()
    }
}

/// # Panics
/// If it happened less often in all of them together.
#[track_caller]
pub fn fired_in_all(told: &[Told], name: &str, at_least: u64) {
    let count: u64 = told.iter().map(|t| t.count(name)).sum();
    assert!(count >= at_least, "{name} happened {count} times");
}

/// The values of a topic, without its control records.
pub fn values(log: &dyn Log, topic: TopicId) -> Vec<Value> {
    let mut all = Vec::new();
    for p in 0..log.partitions(topic) {
        let at = topic.partition(p);
        let (mut next, end) = log.bounds(at).expect("it is there");
        while next < end {
            let fetch = log.fetch(at, next, 1 << 22).expect("readable");
            for chunk in &fetch.chunks {
                let records = records(&chunk.bytes).map(|r| r.expect("whole"));
                let texts = records.filter_map(|r| r.value);
                all.extend(texts.map(|text| serde_json::from_slice::<Value>(text).expect("JSON")));
            }
            assert!(fetch.next > next, "{at} ends before its end");
            next = fetch.next;
        }
    }
    all
}
