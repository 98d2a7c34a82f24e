//! Other people's topics: every record is taken once, whoever reads it, whatever is in it.

#![allow(clippy::disallowed_methods)] // tests stand in the real world

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use event::BlockBuilder;
use event::topic::RAW;
use log::{Log, Outcome};
use log_kafka::broker::{Cluster, ClusterConfig};
use log_kafka::foreign::Foreign;
use log_kafka::proxy::{Fault, api};
use log_kafka::{KafkaConfig, KafkaLog};
use ouzel_log_kafka as log_kafka;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

const TOPIC: &str = "clicks";
const PARTITIONS: i32 = 3;

/// Makes the topic, and fills it with what others write: records without keys, with headers of their own, tombstones, garbage.
fn fill(producer: &BaseProducer, from: u64, count: u64) {
    for n in from..from + count {
        let garbage: Vec<u8> = (0..n % 40).map(|i| (i * 31 + n) as u8).collect();
        let key = garbage.get(..3).unwrap_or_default();
        let mut record = BaseRecord::to(TOPIC).key(key).partition((n % PARTITIONS as u64) as i32);
        if n % 7 != 0 {
            record = record.payload(&garbage);
        }
        producer.send(record).map_err(|(e, _)| e).expect("taken");
    }
    producer.flush(Duration::from_secs(30)).expect("stored");
}

fn take(config: KafkaConfig, stop: &AtomicBool) {
    let log = KafkaLog::connect(config).expect("connects");
    let mut foreign = Foreign::join(&log, TOPIC, "others", true).expect("joins");
    while !stop.load(Relaxed) {
        let records = foreign.read(Duration::from_millis(20));
        let mut block = BlockBuilder::new(RAW.partition(0));
        for r in &records {
            block.push(
                format!("{}/{}", r.partition, r.offset).as_bytes(),
                b"",
                r.value.as_deref().as_ref().map(std::slice::from_ref),
            );
        }
        if !block.is_empty() {
            let outcome = foreign.commit(&[block.finish()]);
            assert!(!matches!(&outcome, Outcome::Aborted(log::Aborted::Invalid(_))), "{outcome:?}");
        }
    }
}

#[test]
fn each_record_of_others_is_taken_once() {
    let cluster = Cluster::start(ClusterConfig { proxied: true, ..ClusterConfig::default() }).expect("a broker");
    let transaction_timeout = Duration::from_secs(1);
    let config = KafkaConfig { static_members: false, transaction_timeout, ..cluster.fresh(2) };
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.brokers());
    log_kafka::topics::make(&config, TOPIC, PARTITIONS as u32).expect("made");
    let producer: BaseProducer = client.create().expect("a producer");
    fill(&producer, 0, 3000);
    let mut members: Vec<(Arc<AtomicBool>, std::thread::JoinHandle<()>)> = Vec::new();
    for n in 0..6u64 {
        let stop = Arc::new(AtomicBool::new(false));
        let (config, stopped) = (KafkaConfig { slot: format!("f{n}"), ..config.clone() }, stop.clone());
        members.push((stop, std::thread::spawn(move || take(config, &stopped))));
        fill(&producer, 3000 + n * 500, 500);
        cluster.proxy(0).break_one(api::END_TXN, if n % 2 == 0 { Fault::CutAfter } else { Fault::CutBefore });
        if n % 2 == 1 {
            let (stop, thread) = members.remove(0);
            stop.store(true, Relaxed);
            thread.join().expect("a member");
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    // A transaction that the broker aborts, as nobody gets through to end it: what was in it is read again.
    fill(&producer, 6000, 300);
    cluster.proxy(0).break_one(api::END_TXN, Fault::CutBefore);
    cluster.proxy(0).set_down(true);
    std::thread::sleep(Duration::from_secs(12));
    cluster.proxy(0).set_down(false);
    let log = KafkaLog::connect(KafkaConfig { slot: "check".into(), ..config.clone() }).expect("connects");
    let begun = Instant::now();
    let read = || log::conformance::read_all(&*log, RAW.partition(0));
    while read().len() < 6300 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(200));
    }
    // Anything that comes twice would come by now.
    std::thread::sleep(Duration::from_millis(500));
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    read().into_iter().for_each(|(_, name)| *times.entry(name).or_default() += 1);
    for (stop, thread) in members {
        stop.store(true, Relaxed);
        thread.join().expect("a member");
    }
    let twice: Vec<_> = times.iter().filter(|(_, n)| **n > 1).take(5).collect();
    assert!(twice.is_empty(), "taken twice: {twice:?}");
    let wanted = (0..PARTITIONS).flat_map(|p| (0..2100).map(move |o| format!("{p}/{o}")));
    let missing: Vec<_> = wanted.filter(|name| !times.contains_key(name)).take(5).collect();
    assert!(missing.is_empty() && times.len() == 6300, "missing: {missing:?} of {}", times.len());
    assert_eq!(log.partitions(RAW), 2);
}
