//! What happens in a run, as far as its seed or its author decides it beforehand: the shape of the world, its rules, who
//! sends how much, and which disasters may come how often.

use std::time::Duration;

use enrich::DedupConfig;
use event::Micros;
use ouzel_gen::Rng;
use session::SessionsConfig;

use super::broker::Shape;
use super::process::small_dedup;
use super::source::Mood;
use crate::ledger::ProducerConfig;

const MS: i64 = Micros::SECOND / 1000;

/// A lateness that only those events exceed that are late by an hour. A lesser one may take a session away before the event
/// comes that would have joined it with the next: what sessions are then depends on the watermark, and the model, which
/// knows none, does not have them.
pub const LONG_MS: i64 = 120_000;

/// What stages are told.
#[derive(Clone, Debug)]
pub struct Rules {
    pub sessions: SessionsConfig,
    pub out_of_order_us: i64,
    pub idle_after_us: i64,
    pub dedup: DedupConfig,
    pub snapshot_every: Duration,
}

/// A disaster, or something that only feels like one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Disaster {
    /// The process is killed between two turns; what it wrote to files is there.
    Kill,
    /// It is killed in the middle of a turn, at a named point.
    KillAtPoint,
    /// The power goes between two turns: what was not synced is lost, or a part of it.
    PowerLoss,
    /// The power goes at one of the next changes of the disk, in the middle of a write or while it starts again.
    PowerCut,
    DiskFull,
    /// An fsync fails; the data may be gone.
    SyncFails,
    /// A read fails once; the next one may go well.
    ReadFails,
    /// A file that can be made again (a snapshot, a dedup run) has rotted when the process starts again.
    Rot,
    /// Stopped in good order, and started again.
    Restart,
    /// It stands still for a while; with others beside it, it comes back as a zombie.
    Pause,
    /// The wall clock is set, forward or back.
    ClockJump,
    /// Somebody sets a client's clock.
    ClientClock,
    /// The source of facts is slow, down, flaps or lies for a while.
    SourceMood,
    /// The source of facts has new data.
    Reload,
    Savepoint,
    /// Another process joins, or one that was dead comes back.
    Join,
    /// The object store fails for a while.
    StoreFails,
    /// The doors are gone for a moment, with what they had not answered.
    DoorDies,
    /// A process is killed the next time this named point is passed.
    KillAt(&'static str),
    /// It stands still for so long.
    PauseFor(Duration),
    /// So many bytes of the disk are left, for so long.
    DiskLeft(u64, Duration),
    /// The wall clock is set forward, or back, by so many milliseconds.
    ClockBy(i64),
    /// Of each directory below this one the newest file has rotted when the process starts again.
    RotNewest(&'static str),
}

impl Disaster {
    /// Those that can come to a process that has its log on its own disk.
    pub const EMBEDDED: [Disaster; 15] = [
        Disaster::Kill,
        Disaster::KillAtPoint,
        Disaster::PowerLoss,
        Disaster::PowerCut,
        Disaster::DiskFull,
        Disaster::SyncFails,
        Disaster::ReadFails,
        Disaster::Rot,
        Disaster::Restart,
        Disaster::Pause,
        Disaster::ClockJump,
        Disaster::ClientClock,
        Disaster::SourceMood,
        Disaster::Reload,
        Disaster::Savepoint,
    ];

    /// Those that can come to processes with a broker.
    pub const KAFKA: [Disaster; 13] = [
        Disaster::Kill,
        Disaster::KillAtPoint,
        Disaster::Restart,
        Disaster::Pause,
        Disaster::ClockJump,
        Disaster::ClientClock,
        Disaster::SourceMood,
        Disaster::Reload,
        Disaster::Join,
        Disaster::StoreFails,
        Disaster::DoorDies,
        Disaster::ReadFails,
        Disaster::Rot,
    ];
}

/// How a network treats what is sent over it, of a thousand messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    pub request_lost: u64,
    pub answer_lost: u64,
    /// Sent once, arrived twice.
    pub twice: u64,
    pub slow: u64,
}

/// How a log treats commits, of a thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcomes {
    pub unknown_done: u64,
    pub unknown_dropped: u64,
    pub retriable: u64,
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub shape: Shape,
    pub partitions: u32,
    pub processes: usize,
    pub rules: Rules,
    pub clients: Vec<ProducerConfig>,
    /// Events that all clients together send before it is over.
    pub events: usize,
    /// Between two disasters, on average.
    pub calm: Duration,
    /// What may come, more often the more often it is named.
    pub disasters: Vec<Disaster>,
    /// What does come, and when, from the beginning on.
    pub script: Vec<(Duration, Disaster)>,
    pub network: Network,
    pub outcomes: Outcomes,
    /// How the source of facts is when nothing has happened to it.
    pub mood: Mood,
    /// A commit is decided after so many microseconds, from the first to the second.
    pub log_takes_us: (u64, u64),
    /// Whether all sessions must be over by themselves in the end, because inputs that are idle hold nobody up. Clocks that
    /// are far apart would hold it up for longer than anybody waits.
    pub waits: bool,
    /// Of the log.
    pub segment_bytes: u64,
}

impl Scenario {
    /// What a seed decides.
    pub fn of_seed(seed: u64) -> Scenario {
        let mut rng = Rng::new(seed ^ 0x7363_656e_6172_696f);
        let shape = if rng.below(5) < 3 { Shape::Embedded } else { Shape::Kafka };
        let mut scenario = Scenario::calm(seed, shape);
        scenario.partitions = rng.between(3, 6) as u32;
        scenario.processes = if shape == Shape::Kafka { rng.between(2, 4) as usize } else { 1 };
        scenario.events = rng.between(2000, 2800) as usize;
        let gap = [300, 1000, 1000, 4000][rng.below(4) as usize] * MS;
        scenario.rules.sessions.gap_us = gap;
        scenario.rules.sessions.allowed_lateness_us = [0, 2000, LONG_MS, LONG_MS][rng.below(4) as usize] * MS;
        scenario.rules.sessions.update_every_us = [0, 200, 2000][rng.below(3) as usize] * MS;
        scenario.rules.sessions.remember_us = [5_000, 600_000_000][rng.below(2) as usize] * MS;
        scenario.rules.out_of_order_us = [0, 200, 1000][rng.below(3) as usize] * MS;
        scenario.rules.idle_after_us = [300, 2000][rng.below(2) as usize] * MS;
        scenario.rules.snapshot_every = Duration::from_millis([100, 500, 3000][rng.below(3) as usize]);
        let people = [200, 200, 1000][rng.below(3) as usize];
        for (n, client) in (0..).zip(&mut scenario.clients) {
            client.people = people;
            client.hot_per_mille = [0, 0, 300][rng.below(3) as usize];
            client.poison_per_mille = [0, 4][rng.below(2) as usize];
            client.late_per_mille = [0, 20, 100][rng.below(3) as usize];
            client.resend_per_mille = [0, 50, 200][rng.below(3) as usize];
            client.conflict_per_myriad = [10, 100][rng.below(2) as usize];
            // One of them lives an hour ahead, or twenty minutes behind, or a little off.
            if n == 0 {
                client.clock_skew_us = [0, 0, 40_000, -30_000, 3_600_000, -1_200_000][rng.below(6) as usize] * MS;
            }
        }
        scenario.calm = Duration::from_millis([500, 1500, 4000][rng.below(3) as usize]);
        let all: &[Disaster] = if shape == Shape::Kafka { &Disaster::KAFKA } else { &Disaster::EMBEDDED };
        // Some of them, and those twice as often as others: all at once hide each other.
        for disaster in all {
            (0..rng.below(4)).for_each(|_| scenario.disasters.push(*disaster));
        }
        scenario.disasters.push(Disaster::KillAtPoint);
        scenario.disasters.push(if shape == Shape::Kafka { Disaster::Kill } else { Disaster::PowerCut });
        scenario.network = Network {
            request_lost: [0, 10, 60][rng.below(3) as usize],
            answer_lost: [0, 10, 60][rng.below(3) as usize],
            twice: [0, 20][rng.below(2) as usize],
            slow: [0, 50][rng.below(2) as usize],
        };
        if shape == Shape::Kafka {
            let often = [0, 20, 80][rng.below(3) as usize];
            scenario.outcomes = Outcomes { unknown_done: often, unknown_dropped: often, retriable: often };
        }
        let together = scenario.clients.iter().all(|c| c.clock_skew_us.abs() < 60_000 * MS);
        scenario.waits = together && !scenario.disasters.contains(&Disaster::ClockJump) && rng.below(2) == 0;
        scenario
    }

    /// A world in which nothing happens.
    pub fn calm(seed: u64, shape: Shape) -> Scenario {
        let client =
            |n: u64| ProducerConfig { people: 200, ..ProducerConfig::new(seed.wrapping_mul(31).wrapping_add(n)) };
        Scenario {
            seed,
            shape,
            partitions: 3,
            processes: if shape == Shape::Kafka { 2 } else { 1 },
            rules: Rules {
                sessions: SessionsConfig {
                    gap_us: 1000 * MS,
                    allowed_lateness_us: LONG_MS * MS,
                    update_every_us: 200 * MS,
                    ..SessionsConfig::default()
                },
                out_of_order_us: 500 * MS,
                idle_after_us: 1000 * MS,
                // Beyond all jumps of a clock: within the horizon a duplicate is always told.
                dedup: small_dedup(30 * 86_400 * Micros::SECOND),
                snapshot_every: Duration::from_millis(500),
            },
            clients: (0..4).map(client).collect(),
            events: 2000,
            calm: Duration::from_secs(1),
            disasters: Vec::new(),
            script: Vec::new(),
            network: Network { request_lost: 0, answer_lost: 0, twice: 0, slow: 0 },
            outcomes: Outcomes { unknown_done: 0, unknown_dropped: 0, retriable: 0 },
            mood: Mood::Well,
            log_takes_us: (100, 3000),
            waits: true,
            segment_bytes: 256 << 10,
        }
    }
}
