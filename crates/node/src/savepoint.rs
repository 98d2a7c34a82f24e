//! Savepoints: the state of the stages copied to a place of its own, and a new directory that begins from it.
//!
//! ```text
//!  running:  hold the stage ─► a snapshot of each partition ─► copy ─► let it go
//!  stopped:  the snapshots that a clean stop left ─► copy
//!  restore:  NEWDIR: an empty log, the snapshots at position 0, position 0 committed beside what was known
//! ```
//! What was read before is in the state, not in the new log. Positions, counts and the rolling hash begin at 0 there; the
//! watermark, log time and what every partition one hop up had asserted go on. What enrich remembers (ids, links between
//! users and visitors) is a function of `raw`, which is empty there: it begins anew.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use event::topic::ENRICHED;
use event::{Micros, Offset};
use flow::{Metadata, Progress};
use log::journal::{Journal, JournalConfig, Lock};
use log::{Commit, Log, LogError, Outcome, Position};
use session::operator::GROUP;
use state::savepoint::{Beginning, Saved, Savepoint};
use state::{Directory, Snapshots, StateError, Store};

use crate::engine::World;
use crate::sessions::{STATE_DIR, Sessions};

/// Where savepoints of a data directory lie when nothing else is said.
pub const SAVEPOINTS_DIR: &str = "savepoints";

/// A savepoint that was made.
#[derive(Clone, Debug)]
pub struct Made {
    pub at: PathBuf,
    pub savepoint: Savepoint,
    /// Of all snapshots in it.
    pub bytes: u64,
    /// Records of the stage's input that it had not read: they are not in the state.
    pub unread: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SavepointError {
    /// Nothing is written over.
    #[error("{} is there already", .0.display())]
    There(PathBuf),
    /// A restore that was cut short left this.
    #[error("{} is what an earlier restore left that did not finish", .0.display())]
    Unfinished(PathBuf),
    #[error("no stage has state here")]
    Nothing,
    /// Its newest snapshot is not of the committed position.
    #[error(
        "{input} was read up to {committed}, and the newest snapshot of its state is of {snapshot}: the process was not stopped cleanly"
    )]
    NotClean { input: String, committed: Offset, snapshot: String },
    #[error("it holds the state of a stage that this program does not have: {0}")]
    OtherStage(String),
    /// The stage could not be held, or the log did not take the positions.
    #[error("{0}")]
    Stage(String),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[source]
        source: std::io::Error,
    },
}

/// Of a running process. The stage stands still meanwhile; whoever sends events does not notice. `give_up` says why it will
/// never stand still.
pub fn of_running(
    sessions: &Sessions,
    log: &dyn Log,
    data: &Path,
    to: &Path,
    world: &World,
    give_up: impl Fn() -> Option<String>,
) -> Result<Made, SavepointError> {
    vacant(to, world)?;
    let partitions = log.partitions(ENRICHED);
    let held = sessions.parts.hold.ask(partitions, give_up).map_err(SavepointError::Stage)?;
    let snapped = held.snapped.iter().filter_map(|(p, at)| Some((*p, (*at)?)));
    let made = export(log, data, to, snapped.collect(), world)?;
    drop(held);
    Ok(made)
}

/// Of a stopped directory, from the snapshots that a clean stop left. Nobody starts on it meanwhile.
pub fn of_stopped(data: &Path, to: &Path, world: &World) -> Result<Made, SavepointError> {
    vacant(to, world)?;
    let _lock = Lock::acquire(&*world.fs, data)?;
    let journal = Journal::open_read_only(data, world.fs.clone(), world.clock.clone())?;
    let mut snapped = Vec::new();
    for p in 0..journal.partitions(ENRICHED) {
        let stored = journal.committed(GROUP, &log::Input::Topic(ENRICHED.partition(p)))?;
        snapped.extend(stored.map(|stored| (p, stored.next)));
    }
    export(&*journal, data, to, snapped, world)
}

/// Copies the snapshots at these positions of the partitions of `enriched`.
fn export(
    log: &dyn Log,
    data: &Path,
    to: &Path,
    snapped: Vec<(u32, Offset)>,
    world: &World,
) -> Result<Made, SavepointError> {
    if snapped.is_empty() {
        return Err(SavepointError::Nothing);
    }
    let store: Arc<dyn Store> = Arc::new(Directory::new(world.fs.clone(), &data.join(STATE_DIR)));
    let mut manifests = Vec::new();
    let mut unread = 0;
    for (p, committed) in snapped {
        let input = ENRICHED.partition(p);
        let newest = Snapshots::new(store.clone(), GROUP, p).newest_manifest(committed)?;
        let at = newest.as_ref().map(|(_, manifest)| manifest.position);
        if at != Some(committed) {
            let snapshot = at.map_or("no position".to_owned(), |at| at.to_string());
            return Err(SavepointError::NotClean { input: input.to_string(), committed, snapshot });
        }
        manifests.extend(newest.map(|(name, _)| name));
        unread += log.bounds(input)?.1.saturating_sub(committed);
    }
    if let Some(parent) = to.parent().filter(|p| !p.as_os_str().is_empty()) {
        world.fs.create_dir_all(parent).map_err(io("making", parent))?;
    }
    let target = Directory::new(world.fs.clone(), to);
    let of = log.partitions(ENRICHED);
    let savepoint = state::savepoint::export(&*store, &manifests, &target, of, world.clock.now())?;
    let bytes = state::savepoint::bytes(&target, &savepoint)?;
    Ok(Made { at: to.to_owned(), savepoint, bytes, unread })
}

/// Makes the data directory `to` from a savepoint. It is there whole or not at all.
pub fn restore(from: &Path, to: &Path, world: &World) -> Result<Savepoint, SavepointError> {
    vacant(to, world)?;
    let source = Directory::new(world.fs.clone(), from);
    let savepoint = state::savepoint::check(&source)?;
    if let Some(other) = savepoint.partitions.iter().find(|saved| saved.operator != GROUP) {
        return Err(SavepointError::OtherStage(other.operator.clone()));
    }
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".restoring");
    let unfinished = PathBuf::from(unfinished);
    if world.fs.exists(&unfinished) {
        return Err(SavepointError::Unfinished(unfinished));
    }
    let config = JournalConfig { partitions: savepoint.of, ..JournalConfig::default() };
    let journal = Journal::open(&unfinished, config, world.fs.clone(), world.clock.clone())?;
    let begun = begin(&source, &unfinished, &journal, world);
    journal.close();
    drop(journal);
    let savepoint = begun?;
    world.fs.rename(&unfinished, to).map_err(io("renaming", &unfinished))?;
    let parent = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    world.fs.sync_dir(parent).map_err(io("syncing", parent))?;
    Ok(savepoint)
}

/// IMPORTANT: the snapshots first. A position without the state it stands for would be the loss of that state.
fn begin(from: &dyn Store, dir: &Path, journal: &Journal, world: &World) -> Result<Savepoint, SavepointError> {
    let store = Directory::new(world.fs.clone(), &dir.join(STATE_DIR));
    let positions = Mutex::new(Vec::new());
    let metadata = |saved: &Saved, was: &[u8]| {
        let was =
            Metadata::decode(was).ok_or("what was known beside it was written by another version of this program")?;
        let is = at_the_beginning(was);
        let position = Position {
            group: GROUP.into(),
            input: log::Input::Topic(ENRICHED.partition(saved.partition)),
            next: 0,
            metadata: Metadata { clocks: None, ..is.clone() }.encode().into(),
        };
        positions.lock().expect("no panic while held").push(position);
        Ok(is.encode())
    };
    let how = Beginning { random: world.rng.next_u128() as u64, now: world.clock.now(), metadata: &metadata };
    let savepoint = state::savepoint::begin(from, &store, &how)?;
    let positions = positions.into_inner().expect("no panic while held");
    match journal.submit(Commit { positions, ..Commit::default() }).wait() {
        Outcome::Committed(_) => Ok(savepoint),
        Outcome::Aborted(why) => Err(SavepointError::Stage(why.to_string())),
        Outcome::Unknown => Err(SavepointError::Stage("the log stopped".to_owned())),
    }
}

/// What was known at a position, as it is known at the beginning of another log.
fn at_the_beginning(was: Metadata) -> Metadata {
    let progress = Progress { watermark: was.progress.watermark, ..Progress::default() };
    Metadata { progress, guilty: Vec::new(), ..was }
}

/// A name for a savepoint made now: `20261127T034316Z`.
pub fn name_for(now: Micros) -> String {
    let text = now.to_string();
    let digits: String = text.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    digits + "Z"
}

fn vacant(to: &Path, world: &World) -> Result<(), SavepointError> {
    if world.fs.exists(to) { Err(SavepointError::There(to.to_owned())) } else { Ok(()) }
}

fn io(doing: &str, path: &Path) -> impl FnOnce(std::io::Error) -> SavepointError {
    let doing = format!("{doing} {}", path.display());
    move |source| SavepointError::Io { doing, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_savepoint_is_named_after_its_time() {
        assert_eq!(name_for(Micros(1_795_751_996_123_456)), "20261127T035956Z");
    }
}
