//! A source that is a topic of other people's: its records are decoded, keyed anew and committed with the positions in it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use door::collect::Collector;
use door::input::{InputError, Progress, World};
use log::{Aborted, Outcome};
use log_kafka::KafkaLog;
use log_kafka::foreign::Foreign;
use wire::{Arrival, ArrivalPosition};

/// How long nothing is waited for: the group's news come with each reading.
const WAIT: Duration = Duration::from_millis(50);
/// Before what could not be committed is read again.
const AGAIN: Duration = Duration::from_millis(100);

/// Takes records until it is told to stop. `name` is that of the source.
///
/// # Errors
/// What no patience helps with.
pub fn take(
    log: &KafkaLog,
    (name, topic, from_start): (&str, &str, bool),
    world: &World,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<(), InputError> {
    let mut foreign = Foreign::join(log, topic, name, from_start)?;
    let mut collector = Collector::new(world.decoder.clone(), world.log.partitions(event::topic::RAW));
    while !stop.load(Relaxed) {
        let records = foreign.read(WAIT);
        progress.at_end.store(records.is_empty() && foreign.is_at_end(), Relaxed);
        if records.is_empty() {
            continue;
        }
        let received = world.clock.now();
        for record in &records {
            // A tombstone is no event; its position is passed by like any other.
            let Some(value) = &record.value else { continue };
            let place = format!("kafka:{topic}/{}", record.partition);
            let position = ArrivalPosition::At { prefix: &place, index: record.offset };
            // Refused: its bytes are among the dead letters.
            let _ = collector.event(value, &Arrival { received, position, inherited: &[] });
        }
        let (accepted, refused) = (collector.accepted(), collector.refused());
        match foreign.commit(&collector.take()) {
            Outcome::Committed(_) => {
                progress.accepted.fetch_add(accepted, Relaxed);
                progress.refused.fetch_add(refused, Relaxed);
            }
            Outcome::Aborted(why @ (Aborted::Invalid(_) | Aborted::Closed)) => return Err(InputError::Refused(why)),
            // The same is read again.
            Outcome::Aborted(_) | Outcome::Unknown => std::thread::sleep(AGAIN),
        }
    }
    progress.finished.store(true, Relaxed);
    Ok(())
}
