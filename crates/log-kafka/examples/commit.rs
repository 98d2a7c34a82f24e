//! How long a commit takes on a broker of this machine: `cargo xtask services -- cargo run --release -p ouzel-log-kafka
//! --features broker --example commit`. Prints the time from the submission to the answer, and from there to when a reader
//! sees the records, by the pause between commits.

#![allow(clippy::disallowed_methods)] // it measures real time

use std::time::{Duration, Instant};

use event::topic::{ENRICHED, RAW};
use event::{Block, BlockBuilder};
use log::{Assignment, Commit, Input, Log, Outcome, Position};
use ouzel_log_kafka::broker::{Cluster, ClusterConfig};
use ouzel_log_kafka::{KafkaConfig, KafkaLog};

fn main() {
    let cluster = Cluster::start(ClusterConfig { heap: 1024, tuned: true, ..ClusterConfig::default() });
    let cluster = cluster.expect("a broker");
    for partitions in [1, 4] {
        for pause in [0, 2, 5, 10, 20] {
            measure(&cluster, partitions, Duration::from_millis(pause));
        }
    }
}

fn measure(cluster: &Cluster, partitions: u32, pause: Duration) {
    let config = KafkaConfig { static_members: false, ..cluster.fresh(partitions) };
    let log = KafkaLog::connect(config).expect("connects");
    let mut member = log.join("commit", RAW);
    let mut generation = None;
    while generation.is_none() {
        for news in member.poll() {
            if let Assignment::Granted { generation: g, .. } = news {
                generation = Some(g);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut at = vec![0; partitions as usize];
    let (mut answered, mut seen) = (Vec::new(), Vec::new());
    for n in 0..400u64 {
        let blocks: Vec<Block> = (0..partitions)
            .map(|p| {
                let mut block = BlockBuilder::new(ENRICHED.partition(p));
                (0..25).for_each(|_| block.push(b"key", b"header", Some(&[&[b'x'; 1200]])));
                block.finish()
            })
            .collect();
        let positions = (0..partitions)
            .map(|p| Position {
                group: "commit".into(),
                input: Input::Topic(RAW.partition(p)),
                next: n + 1,
                metadata: vec![7; 64].into(),
            })
            .collect();
        let begun = Instant::now();
        let outcome = log.submit(Commit { blocks, positions, generation }).wait();
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        let took = begun.elapsed();
        // All partitions, so that the last mark counts.
        for p in 0..partitions {
            let mut read = 0;
            while read < 25 {
                let fetch = log.fetch(ENRICHED.partition(p), at[p as usize], usize::MAX).expect("readable");
                read += fetch.chunks.iter().map(|c| c.count).sum::<u32>();
                at[p as usize] = fetch.next;
                if read < 25 {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        }
        if n >= 100 {
            answered.push(took);
            seen.push(begun.elapsed());
        }
        std::thread::sleep(pause);
    }
    let quantiles = |mut times: Vec<Duration>| {
        times.sort_unstable();
        let ms = |q: usize| times[times.len() * q / 100].as_secs_f64() * 1e3;
        format!("p50 {:.1} p90 {:.1} p99 {:.1} ms", ms(50), ms(90), ms(99))
    };
    println!("{partitions} partitions, pause {pause:?}: answered {}, seen {}", quantiles(answered), quantiles(seen));
}
