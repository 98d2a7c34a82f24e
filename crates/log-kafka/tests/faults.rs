//! What brokers, connections and other members do to those who commit: a copy of a topic, made by several members while
//! things break, holds each record once and in order, and a reader beside it sees the same.

mod copy;

use std::time::{Duration, Instant};

use copy::{Copiers, Feed, expect_copied};
use log_kafka::broker::{Cluster, ClusterConfig};
use log_kafka::proxy::{Fault, api};
use ouzel_log_kafka as log_kafka;

/// The names of the stories in which planted bugs must be found.
const UNKNOWN: &str = "connections_that_are_cut_after_the_request";
const TIMEOUT: &str = "transactions_that_the_broker_aborts";

fn proxied() -> Cluster {
    Cluster::start(ClusterConfig { proxied: true, ..ClusterConfig::default() }).expect("a broker")
}

#[test]
fn connections_that_are_cut_after_the_request() {
    let cluster = proxied();
    let config = cluster.fresh(3);
    let feed = Feed::start(&config);
    let copiers = Copiers::start(&config, 2);
    let proxy = cluster.proxy(0);
    for round in 0..12 {
        for api in [api::END_TXN, api::TXN_OFFSET_COMMIT, api::ADD_PARTITIONS_TO_TXN, api::PRODUCE] {
            let fault = if round % 2 == 0 { Fault::CutAfter } else { Fault::CutBefore };
            proxy.break_next(api, fault, 1);
            std::thread::sleep(Duration::from_millis(50));
        }
        // Longer than anybody waits before looking again.
        proxy.break_next(api::END_TXN, Fault::Delay(1500), 1);
        std::thread::sleep(Duration::from_millis(if round % 4 == 0 { 1800 } else { 20 }));
    }
    assert!(proxy.broken() >= 40, "{} requests were broken", proxy.broken());
    expect_copied(&config, feed, copiers);
}

#[test]
fn transactions_that_the_broker_aborts() {
    let cluster = proxied();
    let mut config = cluster.fresh(2);
    config.transaction_timeout = Duration::from_secs(1);
    let feed = Feed::start(&config);
    let copiers = Copiers::start(&config, 2);
    // The broker looks for transactions that took too long every ten seconds.
    for _ in 0..2 {
        cluster.proxy(0).break_next(api::END_TXN, Fault::Delay(12_000), 1);
        std::thread::sleep(Duration::from_secs(13));
    }
    expect_copied(&config, feed, copiers);
}

#[test]
fn members_that_come_and_go_inside_a_batch() {
    let cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    let config = log_kafka::KafkaConfig { static_members: false, ..cluster.fresh(5) };
    let feed = Feed::start(&config);
    let mut copiers = Copiers::start(&config, 1);
    for round in 0..10 {
        if round % 3 == 2 { copiers.one_less() } else { copiers.one_more() }
        std::thread::sleep(Duration::from_millis(700));
    }
    expect_copied(&config, feed, copiers);
}

#[test]
fn a_broker_that_is_killed_stopped_and_still() {
    let mut cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    let config = cluster.fresh(3);
    let feed = Feed::start(&config);
    let copiers = Copiers::start(&config, 2);
    std::thread::sleep(Duration::from_secs(1));
    cluster.kill(0);
    cluster.start_broker(0).expect("starts");
    cluster.wait_ready().expect("ready");
    std::thread::sleep(Duration::from_secs(2));
    cluster.pause(0);
    std::thread::sleep(Duration::from_secs(8));
    cluster.resume(0);
    std::thread::sleep(Duration::from_secs(1));
    cluster.stop(0);
    cluster.start_broker(0).expect("starts");
    cluster.wait_ready().expect("ready");
    std::thread::sleep(Duration::from_secs(1));
    expect_copied(&config, feed, copiers);
}

/// What a dead member left open is ended by who takes its partitions over, long before the broker would.
#[test]
fn what_the_dead_left_open_is_ended() {
    let cluster = proxied();
    let config = log_kafka::KafkaConfig { static_members: false, ..cluster.fresh(2) };
    let feed = Feed::start(&config);
    let mut copiers = Copiers::start(&config, 1);
    std::thread::sleep(Duration::from_millis(1500));
    // Its transaction is open, and will be for long: the request for its end does not come through.
    cluster.proxy(0).break_next(api::END_TXN, Fault::Delay(60_000), 1);
    std::thread::sleep(Duration::from_millis(500));
    copiers.forget_all();
    let begun = Instant::now();
    copiers.one_more();
    copiers.wait_for_progress();
    println!("the dead one's partitions went on after {:?}", begun.elapsed());
    expect_copied(&config, feed, copiers);
}

/// Bugs that a story must find, in processes of their own.
#[cfg(feature = "faults")]
#[test]
fn planted_bugs_are_found() {
    for (bug, story) in [("positions_outside", TIMEOUT), ("producer_reused", UNKNOWN)] {
        let out = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", story, "--nocapture"])
            .env("OUZEL_PLANT", bug)
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{bug} was not found by {story}");
        assert!(said.contains("the copy is wrong"), "{bug} was found by something else: {said}");
    }
}
