//! Where a replay makes something else than what is stored: the outputs of the sessions stage from its newest snapshot up
//! to the committed position are made again, and compared one by one with those in the log.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use drive::{Action, Driver, Input, Phase, Restored};
use event::record::{RecordRef, records};
use event::topic::{DLQ, ENRICHED, LATE, SESSIONS};
use event::{Block, Micros, Offset, Source, TopicPartition};
use flow::{Keyed, Metadata, Operator as _, Version};
use log::{Log, LogError};
use session::SessionStage;
use session::operator::GROUP;
use state::{Snapshots, StateError, Store};

use crate::config::Config;
use crate::explain;
use crate::sessions::stage;

/// Bytes of input that are replayed before they are compared.
const FETCH_BYTES: usize = 512 * 1024;
/// Stored outputs of one partition that are held at a time.
const PAGE: Offset = 4096;

/// What a replay of one partition made.
#[derive(Clone, PartialEq, Debug)]
pub struct Compared {
    pub input: TopicPartition,
    /// Position of the snapshot it began with; where there is none, of the first record.
    pub from: Offset,
    /// The committed position; `None`: nothing was ever committed.
    pub to: Option<Offset>,
    /// Outputs that were made again and are the same.
    pub same: u64,
    /// Who wrote what is stored, and who this is, if they say that they differ.
    pub versions: Option<(Version, Version)>,
    pub first: Option<Difference>,
    /// The replay could not go on, or its hash is another one although every record is the same.
    pub trouble: Option<String>,
}

/// The first record that is not the same.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// The position of the input record of which it was made.
    pub made_of: Offset,
    pub output: TopicPartition,
    /// Its position and text; `None`: nothing more is stored.
    pub stored: Option<(Offset, String)>,
    pub made: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum DivergenceError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{input}: {what}")]
    Beyond { input: TopicPartition, what: String },
}

impl Compared {
    pub fn is_same(&self) -> bool {
        self.first.is_none() && self.trouble.is_none()
    }
}

/// Replays one partition. `config`: of the program and the rules that are to be compared with what is stored.
pub fn compare(
    log: &dyn Log,
    config: &Config,
    store: Arc<dyn Store>,
    partition: u32,
) -> Result<Compared, DivergenceError> {
    let input = ENRICHED.partition(partition);
    let operator = Arc::new(stage(config));
    let (start, _) = log.bounds(input)?;
    let committed = log.committed(GROUP, &log::Input::Topic(input))?;
    let mut compared = Compared { input, from: start, to: None, same: 0, versions: None, first: None, trouble: None };
    let Some(committed) = committed else { return Ok(compared) };
    compared.to = Some(committed.next);
    let found = Snapshots::new(store, GROUP, partition).restore(committed.next)?.found;
    let beyond = |what: &str| DivergenceError::Beyond { input, what: what.to_owned() };
    let (state, metadata) = match found {
        Some(found) => {
            compared.from = found.manifest.position;
            let metadata = Metadata::decode(&found.manifest.metadata);
            (
                found.keyed,
                Some(metadata.ok_or_else(|| beyond("its snapshot was written by another version of this program"))?),
            )
        }
        None if start > 0 => return Err(beyond("there is no snapshot, and the records before its first are gone")),
        None => (Keyed::default(), None),
    };
    if let Some(stored) = Metadata::decode(&committed.metadata) {
        let (wrote, is) = (stored.version, operator.version());
        compared.versions = (wrote != is).then_some((wrote, is));
    }
    let from = Restored {
        state,
        position: compared.from,
        metadata,
        sources: log.partitions(ENRICHED),
        accept_divergence: true,
    };
    let mut driver = Driver::restored(operator, input, (), from, 1);
    driver.keep_replayed();
    let outputs = Outputs::new(log, input, compared.from, committed.next)?;
    replay(log, &mut driver, &committed, outputs, &mut compared)?;
    Ok(compared)
}

fn replay(
    log: &dyn Log,
    driver: &mut Driver<SessionStage>,
    committed: &log::StoredPosition,
    mut outputs: Outputs<'_>,
    compared: &mut Compared,
) -> Result<(), DivergenceError> {
    while let Some(action) = driver.next_action() {
        match action {
            Action::ReadPosition => {
                driver.handle(Input::Position(Some((committed.next, committed.metadata.to_vec()))));
            }
            Action::Read { .. } if driver.phase() != Phase::Replaying => break,
            Action::Read { from } => {
                let fetch = log.fetch(compared.input, from, FETCH_BYTES)?;
                if fetch.chunks.is_empty() {
                    if fetch.next <= from {
                        compared.trouble = Some(format!("the log ends at {from}, before the committed position"));
                        return Ok(());
                    }
                    driver.handle(Input::Gap { next: fetch.next });
                } else {
                    driver.handle(Input::Records { chunks: fetch.chunks, at: Micros(0) });
                }
                let to = driver.replayed_to().min(committed.next);
                if let Some(first) = outputs.compare(driver.take_replayed(), to)? {
                    (compared.same, compared.first) = (outputs.same, Some(first));
                    return Ok(());
                }
            }
            Action::Stop(why) => {
                compared.same = outputs.same;
                compared.trouble = Some(why.to_string());
                return Ok(());
            }
            Action::Commit { .. } | Action::Ask { .. } => break,
        }
    }
    compared.same = outputs.same;
    if driver.diverged() {
        compared.trouble = Some(
            "every record is the same and the rolling hash is not: the outputs were made in another order, or the state of \
             the snapshot is another one"
                .to_owned(),
        );
    }
    Ok(())
}

/// An output, stored or made again.
struct Record {
    made_of: Offset,
    /// Where it is stored.
    offset: Offset,
    key: Vec<u8>,
    /// Without the rolling hash: after the first record that differs, each has another one.
    header: Vec<u8>,
    value: Vec<u8>,
}

impl Record {
    fn of(offset: Offset, record: &RecordRef<'_>) -> Option<Record> {
        let header = record.header()?;
        let mut bytes = Vec::new();
        event::Header { output_hash: 0, ..header.to_header() }.encode(&mut bytes);
        let value = record.value.unwrap_or_default().to_vec();
        Some(Record { made_of: header.source().offset, offset, key: record.key.to_vec(), header: bytes, value })
    }

    fn is_same(&self, other: &Record) -> bool {
        (&self.key, &self.header, &self.value) == (&other.key, &other.header, &other.value)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// What is stored of the outputs that were made of a range of one partition.
struct Outputs<'l> {
    log: &'l dyn Log,
    input: TopicPartition,
    to: Offset,
    stored: BTreeMap<TopicPartition, Stored>,
    same: u64,
}

/// A partition that outputs are in, read as it is needed.
struct Stored {
    next: Offset,
    end: Offset,
    held: VecDeque<Record>,
}

impl<'l> Outputs<'l> {
    fn new(log: &'l dyn Log, input: TopicPartition, from: Offset, to: Offset) -> Result<Outputs<'l>, LogError> {
        let mut stored = BTreeMap::new();
        // A visitor's partition has the same number in every topic; dead letters lie by the event's id.
        let dead = (0..log.partitions(DLQ)).map(|p| DLQ.partition(p));
        for at in [SESSIONS.partition(input.partition), LATE.partition(input.partition)].into_iter().chain(dead) {
            let next = explain::seek(log, at, Source::of(input.topic, input.partition, from))?;
            stored.insert(at, Stored { next, end: log.bounds(at)?.1, held: VecDeque::new() });
        }
        Ok(Outputs { log, input, to, stored, same: 0 })
    }

    /// Compares what was made of the input below `until` with what is stored of that.
    fn compare(&mut self, made: Vec<Block>, until: Offset) -> Result<Option<Difference>, LogError> {
        let mut by_partition: BTreeMap<TopicPartition, VecDeque<Record>> =
            self.stored.keys().map(|at| (*at, VecDeque::new())).collect();
        for block in &made {
            let records = records(&block.bytes).flatten();
            by_partition.entry(block.to).or_default().extend(records.filter_map(|r| Record::of(0, &r)));
        }
        let mut first: Option<Difference> = None;
        for (at, mut made) in by_partition {
            loop {
                let stored = self.next_stored(at, until)?;
                let made = made.pop_front();
                let made_of = match (&stored, &made) {
                    (None, None) => break,
                    (Some(stored), Some(made)) if stored.is_same(made) => {
                        self.same += 1;
                        continue;
                    }
                    (Some(one), None) | (None, Some(one)) => one.made_of,
                    (Some(stored), Some(made)) => stored.made_of.min(made.made_of),
                };
                if first.as_ref().is_none_or(|f| made_of < f.made_of) {
                    // What was made of a later record is no counterpart.
                    let here = |record: &&Record| record.made_of == made_of;
                    first = Some(Difference {
                        made_of,
                        output: at,
                        stored: stored.as_ref().filter(here).map(|r| (r.offset, r.text())),
                        made: made.as_ref().filter(here).map(Record::text),
                    });
                }
                break;
            }
        }
        Ok(first)
    }

    /// The next output that is stored in a partition, if it was made of a record below `until`.
    fn next_stored(&mut self, at: TopicPartition, until: Offset) -> Result<Option<Record>, LogError> {
        let Some(stored) = self.stored.get_mut(&at) else { return Ok(None) };
        while stored.held.is_empty() && stored.next < stored.end {
            let page = stored.next..stored.end.min(stored.next + PAGE);
            stored.next = page.end;
            explain::each(self.log, at, page, |offset, record, header| {
                let source = header.source();
                if (source.topic, source.partition) != (self.input.topic.0, self.input.partition) {
                    return Continue(());
                }
                if source.offset >= self.to {
                    stored.next = stored.end;
                    return Break(());
                }
                stored.held.extend(Record::of(offset, record));
                Continue(())
            })?;
        }
        Ok(stored.held.pop_front_if(|record| record.made_of < until))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a journal of its own in a temporary directory
mod tests {
    use super::*;
    use event::{BlockBuilder, Header};
    use log::{Commit, Journal, JournalConfig, Outcome};
    use seam::{RealClock, RealFs};

    /// Outputs in `sessions/0`, each made of a record of `enriched/0` and with a rolling hash.
    fn outputs(of: &[(Offset, &str)], hash: u64) -> Block {
        let mut block = BlockBuilder::new(SESSIONS.partition(0));
        for (offset, text) in of {
            let source = Source::of(ENRICHED, 0, *offset);
            let mut bytes = Vec::new();
            Header { source, output_hash: hash + offset, ..Header::default() }.encode(&mut bytes);
            block.push(b"v", &bytes, Some(&[text.as_bytes()]));
        }
        block.finish()
    }

    #[test]
    fn the_first_record_that_is_missing_added_or_other_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = JournalConfig { partitions: 1, allocate_step: 1 << 16, ..JournalConfig::default() };
        let journal = Journal::open(&dir.path().join("d"), config, Arc::new(RealFs), Arc::new(RealClock::new()));
        let journal = journal.expect("a journal");
        let stored = [(0, "before"), (3, "a"), (5, "b"), (5, "c"), (8, "d"), (9, "after")];
        let commit = Commit { blocks: vec![outputs(&stored, 1)], ..Commit::default() };
        assert!(matches!(journal.submit(commit).wait(), Outcome::Committed(_)));
        /// Where, what is stored there, what was made.
        type Named = (Offset, Option<&'static str>, Option<&'static str>);
        type Case = (&'static [(Offset, &'static str)], Option<Named>);
        let cases: [Case; 6] = [
            (&[(3, "a"), (5, "b"), (5, "c"), (8, "d")], None),
            (&[(3, "a"), (5, "b"), (5, "c")], Some((8, Some("d"), None))),
            (&[(3, "a"), (5, "b"), (8, "d")], Some((5, Some("c"), None))),
            (&[(3, "a"), (5, "b"), (5, "x"), (8, "d")], Some((5, Some("c"), Some("x")))),
            (&[(3, "a"), (4, "x"), (5, "b")], Some((4, None, Some("x")))),
            (&[(3, "a"), (5, "b"), (5, "c"), (8, "d"), (8, "x")], Some((8, None, Some("x")))),
        ];
        for (made, expected) in cases {
            let mut all = Outputs::new(&*journal, ENRICHED.partition(0), 3, 9).expect("it reads");
            // In two batches; the rolling hash is another one throughout.
            let (first, second): (Vec<_>, Vec<_>) = made.iter().copied().partition(|(offset, _)| *offset < 5);
            let found = match all.compare(vec![outputs(&first, 7)], 5).expect("it reads") {
                None => all.compare(vec![outputs(&second, 7)], 9).expect("it reads"),
                found => found,
            };
            let found = found.as_ref();
            let told = found.map(|d| (d.made_of, d.stored.as_ref().map(|(_, t)| t.as_str()), d.made.as_deref()));
            assert_eq!(told, expected, "{made:?}");
        }
        journal.close();
    }
}
