//! The one table of topics. A topic's number is stored in the journal: never reuse one.

/// A topic, by its number in [`TOPICS`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicId(pub u16);

/// A position in one partition of one topic: opaque, increasing, **with gaps** (Kafka's control records leave some).
pub type Offset = u64;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TopicPartition {
    pub topic: TopicId,
    pub partition: u32,
}

/// What is said once about a topic.
pub struct Topic {
    pub id: TopicId,
    pub name: &'static str,
    /// What its key is, for people.
    pub key: &'static str,
    pub holds: &'static str,
    /// How long it is kept when the configuration says nothing, in seconds.
    pub keep_secs: u64,
}

pub const RAW: TopicId = TopicId(0);
pub const ENRICHED: TopicId = TopicId(1);
pub const DLQ: TopicId = TopicId(2);
pub const SESSIONS: TopicId = TopicId(3);
pub const LATE: TopicId = TopicId(4);

const DAY: u64 = 86_400;

/// Every topic there is, in the order of the flow.
pub const TOPICS: [Topic; 5] = [
    Topic { id: RAW, name: "raw", key: "visitor", holds: "events as received, byte for byte", keep_secs: 7 * DAY },
    Topic {
        id: ENRICHED,
        name: "enriched",
        key: "visitor",
        holds: "the same objects with one spliced member `enriched`",
        keep_secs: 3 * DAY,
    },
    Topic {
        id: DLQ,
        name: "dlq",
        key: "event id",
        holds: "dead letters: refused and quarantined events, original bytes",
        keep_secs: 30 * DAY,
    },
    Topic {
        id: SESSIONS,
        name: "sessions",
        key: "visitor",
        holds: "sessions: updates, finals and their revisions, merges",
        keep_secs: 7 * DAY,
    },
    Topic {
        id: LATE,
        name: "late",
        key: "visitor",
        holds: "events too late for a session, with lateness and what they missed",
        keep_secs: 7 * DAY,
    },
];

impl TopicId {
    pub fn named(name: &str) -> Option<TopicId> {
        TOPICS.iter().find(|t| t.name == name).map(|t| t.id)
    }

    pub fn topic(self) -> &'static Topic {
        &TOPICS[self.0 as usize]
    }

    pub fn name(self) -> &'static str {
        TOPICS.get(self.0 as usize).map_or("unknown", |t| t.name)
    }

    pub fn partition(self, partition: u32) -> TopicPartition {
        TopicPartition { topic: self, partition }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic.name(), self.partition)
    }
}
