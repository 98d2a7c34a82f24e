//! How far groups are behind.

use std::time::{Duration, Instant};

use event::{Offset, TopicId};
use log::LogError;

use crate::config::KafkaConfig;
use crate::native::{Client, Kind, Quiet, words};
use crate::position;

const ASK: Duration = Duration::from_secs(5);

/// How far a group is behind in one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lag {
    pub group: String,
    pub topic: TopicId,
    pub partition: u32,
    /// `None`: it never committed there.
    pub committed: Option<Offset>,
    /// The end for readers of what is committed.
    pub stable: Offset,
    /// The end of all that was written: what lies between is in transactions that are open.
    pub end: Offset,
    /// Who committed last.
    pub committer: Option<String>,
    /// Whether that one is a member of the group now.
    pub is_member: bool,
    /// Members that the group has.
    pub members: usize,
}

/// Reads the lag of these groups in all partitions.
///
/// # Errors
/// No broker answers within the configuration's patience, or 10 s.
pub fn read(config: &KafkaConfig, groups: &[(&str, TopicId)]) -> Result<Vec<Lag>, LogError> {
    let patience = config.patience.unwrap_or(Duration::from_secs(10));
    let begun = Instant::now();
    let failed = |doing: &str, why: &str| LogError::Io {
        doing: doing.to_owned(),
        source: std::io::Error::other(format!("Kafka at {}: {why}", config.brokers)),
    };
    let open = |isolation: &str| {
        let mut client = config.consumer(&format!("{}tools", config.prefix), "reader");
        client.set("isolation.level", isolation);
        Client::new(&client, Kind::Consumer, Quiet).map_err(|why| failed("make a client", &why))
    };
    let (stable, all) = (open("read_committed")?, open("read_uncommitted")?);
    let mut lags = Vec::new();
    for (group, topic) in groups {
        let (name, in_cluster) = (config.group(group), config.topic(*topic));
        let mut of_group = config.consumer(&format!("{}tools", config.prefix), group);
        of_group.set("isolation.level", "read_uncommitted");
        let of_group = Client::new(&of_group, Kind::Consumer, Quiet).map_err(|why| failed("make a client", &why))?;
        let members = loop {
            match position::members(*stable, &name, ASK) {
                Ok(members) => break members,
                Err(code) if begun.elapsed() > patience => {
                    return Err(failed(&format!("ask for the members of {name}"), &words(code)));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        };
        for partition in 0..config.partitions {
            let doing = format!("ask for the ends of {in_cluster}/{partition}");
            let ends = |client: &Client| {
                client.watermarks(&in_cluster, partition, ASK).map_err(|code| failed(&doing, &words(code)))
            };
            let (_, until) = ends(&stable)?;
            let (_, end) = ends(&all)?;
            let stored = position::read(*of_group, &in_cluster, partition, ASK);
            let stored = stored.map_err(|code| failed(&doing, &words(code)))?;
            let committer = stored.as_ref().and_then(|s| s.committer.clone());
            lags.push(Lag {
                group: (*group).to_owned(),
                topic: *topic,
                partition,
                committed: stored.map(|s| s.position.next),
                stable: until,
                end,
                is_member: committer.as_ref().is_some_and(|c| members.contains(c)),
                committer,
                members: members.len(),
            });
        }
    }
    Ok(lags)
}
