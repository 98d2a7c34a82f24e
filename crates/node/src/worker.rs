//! Gives a stage a thread: its turns, and the waiting between them.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use event::TopicPartition;
use log::{Aborted, Generation, Log};
use stage::{Stage, StageStatus, Then, Trouble, Turn};
use tokio::sync::Notify;

/// How long a thread with nothing to do sleeps before it looks whether it is to stop.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// Between two tries of a commit that the log aborted for want of disk.
const FULL_WAIT: Duration = Duration::from_millis(200);
/// Between two batches of a stage whose state is at its bound.
const BOUND_WAIT: Duration = Duration::from_millis(100);
/// How often a stage that is held looks whether it was let go.
const HELD_WAIT: Duration = Duration::from_millis(5);

/// Runs until told to stop or until going on would be wrong; the latter is in the status and in the answer. `bell` is rung when
/// there is something for the stage that is not in the log.
pub fn run(
    mut stage: impl Stage,
    mine: &[TopicPartition],
    generation: Generation,
    log: &dyn Log,
    status: &StageStatus,
    bell: &Notify,
    stop: &AtomicBool,
) -> Result<(), String> {
    let result = stage.grant(mine, generation).and_then(|()| turns(&mut stage, log, bell, stop));
    if let Err(reason) = &result {
        status.set_trouble(Some(Trouble { reason: reason.clone(), fatal: true }));
    }
    result
}

fn turns(stage: &mut impl Stage, log: &dyn Log, bell: &Notify, stop: &AtomicBool) -> Result<(), String> {
    // It waits for two things at once, and runs nothing.
    let waits = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let waits = waits.map_err(|e| format!("a stage cannot wait: {e}"))?;
    let mut changes = log.subscribe();
    loop {
        let reading = !stop.load(Relaxed);
        match stage.turn(reading)? {
            Turn::Busy => {}
            Turn::Submitted(ticket) => match stage.settle(ticket.wait())? {
                Then::GoOn => {}
                // Told to stop, nobody waits for room: the next start does this batch again.
                Then::NoRoom if !reading => return Ok(()),
                Then::NoRoom => std::thread::sleep(FULL_WAIT),
                // In one process nobody takes a partition away.
                Then::Fenced => return Err(format!("a stage cannot commit: {}", Aborted::Fenced)),
            },
            Turn::Idle if !reading => break,
            Turn::Idle | Turn::Waiting => waits.block_on(async {
                tokio::select! {
                    // A log that has closed is told of by the next turn.
                    _ = changes.changed() => {}
                    () = bell.notified() => {}
                    () = tokio::time::sleep(IDLE_WAIT) => {}
                }
            }),
            Turn::Crowded => std::thread::sleep(BOUND_WAIT),
            Turn::Held => std::thread::sleep(HELD_WAIT),
        }
    }
    stage.finish();
    Ok(())
}
