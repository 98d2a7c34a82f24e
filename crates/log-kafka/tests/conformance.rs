//! The suite of all logs, on a real broker.

#![allow(clippy::disallowed_methods)] // tests stand in the real world

use std::sync::Arc;

use log::conformance::Seen;
use log::{Log, conformance};
use log_kafka::broker::{Cluster, ClusterConfig};
use log_kafka::{KafkaConfig, KafkaLog};
use ouzel_log_kafka as log_kafka;

#[test]
fn kafka_conforms() {
    let cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    // A member that leaves is to be gone at once.
    let fresh = || KafkaConfig { static_members: false, ..cluster.fresh(3) };
    conformance::suite(Seen::ByPartition, || KafkaLog::connect(fresh()).expect("connects") as Arc<dyn Log>);
    let config = fresh();
    conformance::reopening(|| KafkaLog::connect(config.clone()).expect("connects"));
}
