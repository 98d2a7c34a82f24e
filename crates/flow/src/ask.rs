//! What a batch needs to know, and the answers. A fact's value is JSON bytes: its source renders it once, everybody
//! splices it.

use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// A lookup source, by its place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceId(pub u16);

/// An ask of one batch; also the place of its fact in [`Facts`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct AskId(pub u32);

/// What became of a plan: the ask it led to, or why it asks nothing.
pub type Planned = Result<AskId, Status>;

/// The asks of a batch, of all its rounds, and the notes of who asked what. The same key asked of the same source twice
/// is one ask.
#[derive(Clone, Default)]
pub struct Asks {
    asked: Asked,
    notes: Notes,
}

impl Asks {
    /// Both parts, so that a plan can read the notes while it asks.
    pub fn parts(&mut self) -> (&mut Asked, &mut Notes) {
        (&mut self.asked, &mut self.notes)
    }

    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The asks from the `from`-th on, in the order of their ids.
    pub fn since(&self, from: usize) -> impl Iterator<Item = (SourceId, &[u8])> {
        (from as u32..self.asked.list.len() as u32).map(|at| self.asked.at(at))
    }

    pub fn len(&self) -> usize {
        self.asked.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.asked.list.is_empty()
    }
}

/// Who asked what: one note for each record and slot, so that `apply` need not plan again. The operator says what a slot
/// is.
#[derive(Clone, Default)]
pub struct Notes {
    slots: usize,
    planned: Vec<Planned>,
}

impl Notes {
    /// Room for so many records of so many slots; all are `Skipped` until they are set.
    pub fn lay_out(&mut self, records: usize, slots: usize) {
        self.slots = slots;
        self.planned.clear();
        self.planned.resize(records * slots, Err(Status::Skipped));
    }

    pub fn set(&mut self, record: usize, slot: usize, planned: Planned) {
        self.planned[record * self.slots + slot] = planned;
    }

    /// The notes of a record, in the order of the slots; none before they are laid out.
    pub fn of(&self, record: usize) -> &[Planned] {
        self.planned.get(record * self.slots..(record + 1) * self.slots).unwrap_or_default()
    }
}

/// The keys that are asked for, each once.
#[derive(Clone, Default)]
pub struct Asked {
    list: Vec<(SourceId, u32, u32)>,
    keys: Vec<u8>,
    /// Places in `list`, hashed by (source, key). Never iterated.
    index: HashTable<u32>,
}

impl Asked {
    /// Asks `source` for `key` (for an address its 4 or 16 bytes; for others what the source documents).
    pub fn ask(&mut self, source: SourceId, key: &[u8]) -> AskId {
        let hash = hash_of(source, key);
        if let Some(at) = self.index.find(hash, |at| self.at(*at) == (source, key)) {
            return AskId(*at);
        }
        let at = self.list.len() as u32;
        self.list.push((source, self.keys.len() as u32, key.len() as u32));
        self.keys.extend_from_slice(key);
        let (list, keys) = (&self.list, &self.keys);
        self.index.insert_unique(hash, at, |at| {
            let (source, start, len) = list[*at as usize];
            hash_of(source, &keys[start as usize..(start + len) as usize])
        });
        AskId(at)
    }

    fn at(&self, at: u32) -> (SourceId, &[u8]) {
        let (source, start, len) = self.list[at as usize];
        (source, &self.keys[start as usize..(start + len) as usize])
    }
}

fn hash_of(source: SourceId, key: &[u8]) -> u64 {
    xxh3_64(key) ^ u64::from(source.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// How an ask ended, or why an enricher added nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok,
    /// The source was asked and has nothing under that key.
    Miss,
    /// From a cache, this many seconds past its time.
    Stale(u32),
    Timeout,
    /// The source answered with an error, or the key cannot be asked; the code is a word of the documentation.
    Error(&'static str),
    /// Not asked: its breaker is open.
    Open,
    /// Not asked: there is no such source, or the event has no key for it.
    Skipped,
}

impl Status {
    /// The status as it stands in `enriched.status`.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Status::Ok => out.extend_from_slice(b"ok"),
            Status::Miss => out.extend_from_slice(b"miss"),
            Status::Stale(secs) => out.extend_from_slice(format!("stale:{secs}s").as_bytes()),
            Status::Timeout => out.extend_from_slice(b"timeout"),
            Status::Error(code) => {
                out.extend_from_slice(b"error:");
                out.extend_from_slice(code.as_bytes());
            }
            Status::Open => out.extend_from_slice(b"open"),
            Status::Skipped => out.extend_from_slice(b"skipped"),
        }
    }
}

/// One answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact<'a> {
    pub status: Status,
    /// JSON; empty unless the status is `Ok` or `Stale`.
    pub json: &'a [u8],
    /// Microseconds from the ask to its end; `None` where nobody waited for it.
    pub waited: Option<u32>,
}

impl Fact<'_> {
    /// Of what was not asked for.
    pub fn none(status: Status) -> Fact<'static> {
        Fact { status, json: &[], waited: None }
    }
}

/// An answer that was waited for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    pub ask: AskId,
    pub status: Status,
    /// JSON; does not count unless the status is `Ok` or `Stale`.
    pub json: Vec<u8>,
    /// Microseconds from the ask to its end.
    pub waited: u32,
}

/// The answers to a batch's asks, in the order of their ids. Some may still be waited for.
#[derive(Default)]
pub struct Facts {
    list: Vec<Slot>,
    /// Of those that are waited for.
    pending: usize,
    /// One was waited for.
    waited: bool,
    bytes: Vec<u8>,
    /// JSON object: the version of each source that answered, as of this batch.
    pub versions: Arc<str>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// `None`: it is waited for.
    status: Option<Status>,
    start: u32,
    len: u32,
    /// [`NOBODY`]: nobody waited.
    waited: u32,
}

const NOBODY: u32 = u32::MAX;

impl Facts {
    pub fn new(versions: Arc<str>) -> Facts {
        Facts { versions, ..Facts::default() }
    }

    /// Adds the fact of the next ask; `render` appends its JSON and says how it ended, or that it is to be waited for.
    pub fn push_with(&mut self, render: impl FnOnce(&mut Vec<u8>) -> Option<Status>) {
        let start = self.bytes.len();
        let status = render(&mut self.bytes);
        self.pending += usize::from(status.is_none());
        let slot = self.slot(status, start, NOBODY);
        self.list.push(slot);
    }

    /// Ends the wait for an answer. Whether it was waited for.
    pub fn settle(&mut self, answered: &Answered) -> bool {
        let at = answered.ask.0 as usize;
        if self.list.get(at).is_none_or(|slot| slot.status.is_some()) {
            return false;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&answered.json);
        self.pending -= 1;
        self.waited = true;
        self.list[at] = self.slot(Some(answered.status), start, answered.waited.min(NOBODY - 1));
        true
    }

    /// Of what was appended from `start` on; what does not count is taken away.
    fn slot(&mut self, status: Option<Status>, start: usize, waited: u32) -> Slot {
        if !matches!(status, Some(Status::Ok | Status::Stale(_))) {
            self.bytes.truncate(start);
        }
        Slot { status, start: start as u32, len: (self.bytes.len() - start) as u32, waited }
    }

    /// Adds the answers of further asks.
    pub fn append(&mut self, more: Facts) {
        let base = self.bytes.len() as u32;
        self.list.extend(more.list.into_iter().map(|slot| Slot { start: base + slot.start, ..slot }));
        self.bytes.extend_from_slice(&more.bytes);
        self.pending += more.pending;
        self.waited |= more.waited;
    }

    /// How many asks are here, with those that are waited for.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many are waited for.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether an answer among them was waited for.
    pub fn waited(&self) -> bool {
        self.waited
    }

    /// Whether an ask has its answer.
    pub fn has(&self, id: AskId) -> bool {
        self.list.get(id.0 as usize).is_some_and(|slot| slot.status.is_some())
    }

    /// The fact of an ask; `Skipped` for one that nobody answered.
    pub fn fact(&self, id: AskId) -> Fact<'_> {
        match self.list.get(id.0 as usize) {
            Some(Slot { status: Some(status), start, len, waited }) => Fact {
                status: *status,
                json: &self.bytes[*start as usize..(*start + *len) as usize],
                waited: Some(*waited).filter(|waited| *waited != NOBODY),
            },
            _ => Fact::none(Status::Skipped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_asks_are_one() {
        let mut asks = Asks::default();
        let (asked, notes) = asks.parts();
        let a = asked.ask(SourceId(0), b"k");
        let b = asked.ask(SourceId(1), b"k");
        let c = asked.ask(SourceId(0), b"l");
        assert_eq!(asked.ask(SourceId(0), b"k"), a);
        assert_eq!(asked.ask(SourceId(1), b"k"), b);
        assert!(a != b && b != c);
        notes.lay_out(2, 3);
        notes.set(1, 2, Ok(c));
        assert_eq!(notes.of(1), [Err(Status::Skipped), Err(Status::Skipped), Ok(c)]);
        let all: Vec<_> = asks.since(0).map(|(s, k)| (s.0, k.to_vec())).collect();
        assert_eq!(all, [(0, b"k".to_vec()), (1, b"k".to_vec()), (0, b"l".to_vec())]);
        assert_eq!(asks.since(2).count(), 1);
    }

    fn ok(json: &[u8]) -> Fact<'_> {
        Fact { status: Status::Ok, json, waited: None }
    }

    #[test]
    fn a_fact_that_is_not_ok_has_no_bytes() {
        let mut facts = Facts::default();
        facts.push_with(|out| {
            out.extend_from_slice(b"half");
            Some(Status::Error("io"))
        });
        facts.push_with(|out| {
            out.extend_from_slice(b"{}");
            Some(Status::Ok)
        });
        assert_eq!(facts.fact(AskId(0)), Fact::none(Status::Error("io")));
        assert_eq!(facts.fact(AskId(1)), ok(b"{}"));
        assert_eq!(facts.fact(AskId(2)).status, Status::Skipped);
        let mut more = Facts::default();
        more.push_with(|_| Some(Status::Miss));
        more.push_with(|out| {
            out.extend_from_slice(b"[1]");
            Some(Status::Ok)
        });
        facts.append(more);
        assert_eq!(facts.fact(AskId(1)), ok(b"{}"));
        assert_eq!(facts.fact(AskId(3)), ok(b"[1]"));
    }

    #[test]
    fn what_is_waited_for_is_settled_once() {
        let mut facts = Facts::default();
        facts.push_with(|out| {
            out.extend_from_slice(b"half");
            None
        });
        let mut more = Facts::default();
        more.push_with(|_| None);
        facts.append(more);
        assert_eq!((facts.pending(), facts.has(AskId(0)), facts.has(AskId(7))), (2, false, false));
        let answered =
            |ask, json: &[u8]| Answered { ask: AskId(ask), status: Status::Ok, json: json.to_vec(), waited: 9 };
        assert!(facts.settle(&answered(1, b"7")));
        assert_eq!(facts.fact(AskId(1)), Fact { waited: Some(9), ..ok(b"7") });
        assert!(!facts.settle(&answered(1, b"8")) && !facts.settle(&answered(7, b"8")));
        let miss = Answered { status: Status::Miss, ..answered(0, b"what does not count") };
        assert!(facts.settle(&miss));
        assert_eq!((facts.pending(), facts.fact(AskId(0))), (0, Fact { waited: Some(9), ..Fact::none(Status::Miss) }));
        assert_eq!(facts.fact(AskId(1)).json, b"7");
    }
}
