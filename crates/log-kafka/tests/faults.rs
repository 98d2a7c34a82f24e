//! What brokers, connections and other members do to those who commit: a copy of a topic, made by several members while
//! things break, holds each record once and in order, and a reader beside it sees the same.

#![allow(clippy::disallowed_methods)] // tests stand in the real world

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
    copiers.wait_for_progress();
    for round in 0..8 {
        for api in [api::END_TXN, api::TXN_OFFSET_COMMIT, api::ADD_PARTITIONS_TO_TXN, api::PRODUCE] {
            proxy.break_one(api, if round % 2 == 0 { Fault::CutAfter } else { Fault::CutBefore });
        }
        if round % 3 == 0 {
            // Longer than anybody waits before looking again.
            proxy.break_one(api::END_TXN, Fault::Delay(1500));
        }
    }
    assert_eq!(proxy.broken(), 35);
    expect_copied(&config, feed, copiers);
}

#[test]
fn transactions_that_the_broker_aborts() {
    let cluster = proxied();
    let mut config = cluster.fresh(2);
    config.transaction_timeout = Duration::from_secs(1);
    let feed = Feed::start(&config);
    let copiers = Copiers::start(&config, 2);
    copiers.wait_for_all();
    for _ in 0..2 {
        // Nobody is let through for longer than it takes: the broker looks for transactions that took too long every ten seconds.
        cluster.proxy(0).break_one(api::END_TXN, Fault::CutBefore);
        cluster.proxy(0).set_down(true);
        std::thread::sleep(Duration::from_secs(12));
        cluster.proxy(0).set_down(false);
        copiers.wait_for_all();
    }
    expect_copied(&config, feed, copiers);
}

/// A member's session ends while it joins: it comes back as another one, and may go on with nothing of what it had.
#[test]
fn a_member_that_is_forgotten_while_it_joins() {
    let cluster = proxied();
    let config = cluster.fresh(3);
    let feed = Feed::start(&config);
    let mut copiers = Copiers::start(&config, 1);
    copiers.wait_for_all();
    cluster.proxy(0).hold(api::JOIN_GROUP, "copy-c1-0", config.session_timeout + Duration::from_secs(3));
    copiers.one_more();
    std::thread::sleep(config.session_timeout + Duration::from_secs(4));
    copiers.wait_for_all();
    expect_copied(&config, feed, copiers);
}

#[test]
fn members_that_come_and_go_inside_a_batch() {
    let cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    let config = log_kafka::KafkaConfig { static_members: false, ..cluster.fresh(5) };
    let feed = Feed::start(&config);
    let mut copiers = Copiers::start(&config, 1);
    for round in 0..10 {
        match round % 5 {
            2 => copiers.one_less(),
            4 => copiers.kill_one(),
            _ => copiers.one_more(),
        }
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

/// Of three brokers one after another goes and comes back: coordinators of transactions and of groups move, and leaders do.
#[test]
fn coordinators_that_move() {
    let mut cluster = Cluster::start(ClusterConfig { brokers: 3, ..ClusterConfig::default() }).expect("brokers");
    let config = cluster.fresh(3);
    let feed = Feed::start(&config);
    let copiers = Copiers::start(&config, 2);
    copiers.wait_for_all();
    for turn in 0..rounds(4, 30) {
        match turn % 2 {
            0 => cluster.stop(turn % 3),
            _ => cluster.kill(turn % 3),
        }
        std::thread::sleep(Duration::from_secs(2));
        cluster.start_broker(turn % 3).expect("starts");
        cluster.wait_ready().expect("ready");
        copiers.wait_for_all();
    }
    expect_copied(&config, feed, copiers);
}

/// In the short form, and in the long one.
fn rounds(short: usize, long: usize) -> usize {
    if std::env::var_os("OUZEL_PROVE").is_some() { long } else { short }
}

/// What a dead member left open is ended by who takes its partitions over, long before the broker would.
#[test]
fn what_the_dead_left_open_is_ended() {
    let cluster = proxied();
    let config = cluster.fresh(2);
    let feed = Feed::start(&config);
    let mut copiers = Copiers::start(&config, 1);
    copiers.wait_for_all();
    copiers.one_more();
    std::thread::sleep(Duration::from_secs(1));
    // Its transaction is open, and will be for long: the request for its end does not come through.
    cluster.proxy(0).break_one(api::END_TXN, Fault::Delay(60_000));
    copiers.kill_one();
    let begun = Instant::now();
    copiers.wait_for_all();
    println!("the dead one's partitions went on after {:?}", begun.elapsed());
    expect_copied(&config, feed, copiers);
}

/// A member that stands still for so long that others take its partitions over, and then goes on as if nothing had been.
#[test]
fn the_dead_that_walk() {
    let cluster = Cluster::start(ClusterConfig::default()).expect("a broker");
    let config = cluster.fresh(3);
    let feed = Feed::start(&config);
    let mut copiers = Copiers::start(&config, 2);
    copiers.wait_for_all();
    for _ in 0..2 {
        copiers.pause_one(Duration::from_secs(9));
        copiers.wait_for_all();
    }
    expect_copied(&config, feed, copiers);
}

/// A member loses a partition after it took a commit of it in and before it could send that one: nothing of it may come
/// through, though the member is in its group, in a newer generation.
#[test]
fn a_commit_from_before_the_partition_was_lost() {
    let cluster = proxied();
    let mut config = cluster.fresh(3);
    // For no longer it keeps a partition that is asked for.
    config.transaction_timeout = Duration::from_secs(1);
    let feed = Feed::start(&config);
    feed.wait_for_some();
    cluster.proxy(0).hold(api::INIT_PRODUCER_ID, "copy-c1", Duration::from_secs(10));
    let mut copiers = Copiers::start(&config, 1);
    std::thread::sleep(Duration::from_secs(1));
    copiers.one_more();
    copiers.wait_for_progress();
    std::thread::sleep(Duration::from_secs(8));
    copiers.wait_for_all();
    expect_copied(&config, feed, copiers);
}

/// The broker's disk is full: what it cannot write it does not acknowledge, and it ends itself. With room it goes on.
#[test]
fn a_broker_whose_disk_is_full() {
    let Some(disk) = Disk::mount(300) else { return };
    let config = ClusterConfig { dir: Some(disk.0.join("kafka")), ..ClusterConfig::default() };
    let mut cluster = Cluster::start(config).expect("a broker");
    let config = cluster.fresh(2);
    let feed = Feed::start(&config);
    let copiers = Copiers::start(&config, 1);
    copiers.wait_for_all();
    let filler = disk.0.join("filler");
    let full = std::fs::File::create(&filler).and_then(|mut file| {
        loop {
            std::io::Write::write_all(&mut file, &[0; 1 << 16])?;
        }
    });
    let why: Result<(), std::io::Error> = full;
    println!("the disk: {}", why.expect_err("it is full"));
    let begun = Instant::now();
    while cluster.is_running(0) && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("the broker has ended itself: {} after {:?}", !cluster.is_running(0), begun.elapsed());
    std::fs::remove_file(&filler).expect("removed");
    if !cluster.is_running(0) {
        cluster.start_broker(0).expect("starts");
        cluster.wait_ready().expect("ready");
    }
    copiers.wait_for_all();
    expect_copied(&config, feed, copiers);
}

/// A disk in memory of so many mebibytes, until it is dropped.
struct Disk(std::path::PathBuf);

impl Disk {
    /// `None`: this user may not, which is said, and is no answer where a machine judges.
    fn mount(mebibytes: u32) -> Option<Disk> {
        let dir = std::env::temp_dir().join(format!("ouzel-disk-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("made");
        let size = format!("size={mebibytes}m");
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(&dir).status();
        if done.is_ok_and(|status| status.success()) {
            return Some(Disk(dir));
        }
        assert!(std::env::var_os("CI").is_none(), "a small disk cannot be mounted: run this as root");
        eprintln!("SKIPPED: a small disk cannot be mounted: only root may");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A process of the other stories; by itself it does nothing.
#[test]
fn copier() {
    copy::be_a_copier();
}

/// Bugs that a story must find, in processes of their own.
#[cfg(feature = "faults")]
#[test]
fn planted_bugs_are_found() {
    for (bug, story) in [("positions_outside", TIMEOUT), ("producer_reused", UNKNOWN)] {
        // Whether a fault meets the bug is chance.
        let said = (0..4).find_map(|_| {
            let out = std::process::Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", story, "--nocapture"])
                .env("OUZEL_PLANT", bug)
                .output()
                .expect("it runs");
            let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
            (!out.status.success()).then(|| said.into_owned())
        });
        let said = said.unwrap_or_else(|| panic!("{bug} was not found by {story}"));
        let found = said.contains("the copy is wrong") || said.contains("a copier:");
        assert!(found, "{bug} was found by something else: {said}");
        println!("{bug} is found by {story}");
    }
}
