//! Retention, and the files beside sealed segments. All of it away from the path of a commit.
//!
//! A record is kept until it is older than its topic keeps records, or its topic holds too much; and always until every
//! group that reads the topic has passed it. That is decided by whole segments, per topic: a topic's records go from the
//! oldest segment on. A segment all of whose topics have gone is removed, if it is the oldest; one that is mostly gone is
//! written anew without what has gone, together with small neighbours. `docs/decisions/0003` says why it is done so.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event::TopicId;
use seam::File;
use seam::fault::point;

use super::dir::index_path;
use super::frame::{ALIGN, Checkpoint, Entry, Frame, Standing, Window, encode, padding};
use super::index::{self, SegmentIndex};
use super::segment::Segment;
use super::view::{View, topics};
use super::{Drive, Durability, Shared};
use crate::contract::Input;

/// How often the keeper looks around.
const TICK: Duration = Duration::from_secs(1);
/// A segment is written anew in steps of this, each synced: a commit's fdatasync may have to wait for what is not yet
/// written of other files, and that must stay short.
const COPY_STEP: usize = 2 << 20;
/// Between two steps.
const COPY_PAUSE: Duration = Duration::from_millis(10);
/// So many small segments side by side are made one.
const MERGE_MIN: usize = 8;
/// A merged segment spans at most this part of the time its records are kept: it goes as a whole, so its oldest records
/// stay longer by its span.
const SPAN_PART: i64 = 8;

/// What the keeper is told.
#[derive(Default)]
pub(super) struct Signal {
    pub close: bool,
    pub sealed: bool,
    /// What went wrong in the last round, said once.
    error: Option<String>,
}

/// Until the journal is closed.
pub(super) fn run(shared: &Shared) {
    loop {
        {
            let signal = shared.keeper.lock().expect("keeper");
            let (mut signal, _) =
                shared.keeper_wake.wait_timeout_while(signal, TICK, |s| !s.close && !s.sealed).expect("keeper");
            if signal.close {
                return;
            }
            signal.sealed = false;
        }
        ask_roll(shared);
        for segment in sealed(shared) {
            segment.rest();
        }
        pass(shared);
    }
}

fn sealed(shared: &Shared) -> Vec<Arc<Segment>> {
    shared.view.read().expect("view").sealed.clone()
}

/// Has the writer seal the active segment if it is old: only sealed ones expire.
pub(super) fn ask_roll(shared: &Shared) {
    let age = shared.config.segment_secs as i64 * 1_000_000;
    let now = shared.clock.now().0;
    let old = {
        let view = shared.view.read().expect("view");
        view.active.as_ref().is_some_and(|a| !a.index.is_empty() && now - a.index.first_written.0 >= age)
    };
    if old {
        shared.queue.lock().expect("queue").roll = true;
        shared.wake.notify_one();
    }
}

/// One round: index files, what has expired, what can be removed or written anew. Failures are logged and tried again in
/// the next round: nothing here is needed for a commit.
pub(super) fn pass(shared: &Shared) {
    let _one_at_a_time = shared.keeping.lock().expect("keeping");
    let result = write_indexes(shared).and_then(|()| {
        advance_starts(shared);
        remove_oldest(shared)?;
        rewrite_mostly_gone(shared)
    });
    let error = result.err().map(|e| e.to_string());
    let mut signal = shared.keeper.lock().expect("keeper");
    if let Some(error) = &error
        && signal.error.as_ref() != Some(error)
    {
        tracing::warn!(error, "retention did not get through; it is tried again");
    }
    signal.error = error;
}

fn write_indexes(shared: &Shared) -> io::Result<()> {
    for segment in sealed(shared).iter().filter(|s| !s.indexed.load(Ordering::Relaxed)) {
        // What was reserved and not used is given back.
        let file = shared.fs.open(&segment.path, false)?;
        if file.len()? > segment.index.end {
            file.set_len(segment.index.end)?;
            file.sync_data()?;
        }
        store_index(shared, &segment.index)?;
        segment.indexed.store(true, Ordering::Relaxed);
    }
    Ok(())
}

fn store_index(shared: &Shared, index: &SegmentIndex) -> io::Result<()> {
    let path = index_path(&shared.journal, index.number);
    let mut tmp = path.clone().into_os_string();
    tmp.push(".tmp");
    if shared.fs.exists(tmp.as_ref()) {
        shared.fs.remove(tmp.as_ref())?;
    }
    index::store(&*shared.fs, &path, shared.salt, index)
}

/// How many of the sealed segments, from the oldest, each topic has left behind.
struct Expired {
    counts: BTreeMap<TopicId, usize>,
    /// Segments that may be touched at all, from the oldest.
    may_go: usize,
}

impl Expired {
    fn gone(&self, topic: TopicId, segment: usize) -> bool {
        self.counts.get(&topic).is_some_and(|n| segment < *n)
    }

    /// Bytes of blocks in this segment that are still kept.
    fn live(&self, view: &View, segment: usize) -> u64 {
        view.sealed[segment].index.bytes_of(|t| !self.gone(t, segment))
    }
}

fn expired(shared: &Shared, view: &View, groups: &BTreeMap<TopicId, BTreeSet<Arc<str>>>) -> Expired {
    let now = shared.clock.now().0;
    // IMPORTANT: until the active segment has its first frame, all positions are in the newest sealed one.
    let standing = view.active.as_ref().is_some_and(|a| !a.index.is_empty());
    let may_go = view.sealed.len() - usize::from(!standing && !view.sealed.is_empty());
    let mut counts = BTreeMap::new();
    for topic in topics() {
        let keep_us = (shared.config.keep_secs(topic) as i64).saturating_mul(1_000_000);
        let bytes = |x: &SegmentIndex| x.topic_bytes.get(&topic).copied().unwrap_or(0);
        let mut from_here: u64 = view.sealed.iter().map(|s| bytes(&s.index)).sum::<u64>()
            + view.active.as_ref().map_or(0, |a| bytes(&a.index));
        let mut count = 0;
        for segment in &view.sealed[..may_go] {
            let old = segment.index.last_written.0.saturating_add(keep_us) < now;
            let too_much = from_here > shared.config.max_bytes;
            if !(old || too_much) || !passed(view, &groups[&topic], topic, &segment.index) {
                break;
            }
            from_here -= bytes(&segment.index);
            count += 1;
        }
        counts.insert(topic, count);
    }
    Expired { counts, may_go }
}

/// Whether every group has passed all records of `topic` in the segment.
fn passed(view: &View, groups: &BTreeSet<Arc<str>>, topic: TopicId, index: &SegmentIndex) -> bool {
    groups.iter().all(|group| {
        index.parts.iter().filter(|(tp, _)| tp.topic == topic).all(|(tp, part)| {
            let start = view.part(*tp).map_or(0, |p| p.start);
            let next = view.positions.stored(group, &Input::Topic(*tp)).map_or(0, |p| p.next);
            next.max(start) >= part.end
        })
    })
}

/// The groups that read each topic: those with a member, and those that ever committed a position in it.
fn groups(shared: &Shared) -> BTreeMap<TopicId, BTreeSet<Arc<str>>> {
    let mut all: BTreeMap<TopicId, BTreeSet<Arc<str>>> = {
        let groups = shared.groups.lock().expect("groups");
        topics().map(|t| (t, groups.on(t).into_iter().collect())).collect()
    };
    let view = shared.view.read().expect("view");
    for (group, inputs) in &view.positions.0 {
        for input in inputs.keys() {
            if let Input::Topic(tp) = input {
                all.entry(tp.topic).or_default().insert(group.clone());
            }
        }
    }
    all
}

/// Moves the first kept offset of each partition past what has expired.
pub(super) fn advance_starts(shared: &Shared) {
    let groups = groups(shared);
    let Expired { counts, .. } = expired(shared, &shared.view.read().expect("view"), &groups);
    // Only the keeper takes segments away, so the counts still hold.
    let mut view = shared.view.write().expect("view");
    for tp in view.partitions() {
        let Some(last) = counts[&tp.topic].checked_sub(1) else { continue };
        let Some(end) = view.sealed[last].index.parts.get(&tp).map(|p| p.end) else { continue };
        view.advance_start(tp, end);
    }
}

/// Removes the oldest segments that hold nothing any more.
fn remove_oldest(shared: &Shared) -> io::Result<()> {
    let groups = groups(shared);
    loop {
        let empty = {
            let view = shared.view.read().expect("view");
            let expired = expired(shared, &view, &groups);
            !view.sealed.is_empty() && expired.may_go > 0 && expired.live(&view, 0) == 0
        };
        if !empty {
            return Ok(());
        }
        let oldest = shared.view.write().expect("view").sealed.remove(0);
        shared.fs.remove(&oldest.path)?;
        let index = index_path(&shared.journal, oldest.index.number);
        if shared.fs.exists(&index) {
            shared.fs.remove(&index)?;
        }
        // IMPORTANT: before the next one goes, or a power cut could leave a hole where a segment is missed.
        shared.fs.sync_dir(&shared.journal)?;
        point("journal.segment.retired");
    }
}

fn rewrite_mostly_gone(shared: &Shared) -> io::Result<()> {
    let groups = groups(shared);
    while let Some((inputs, gone)) = worth_writing_anew(shared, &groups) {
        if shared.keeper.lock().expect("keeper").close || !rewrite(shared, &inputs, &gone)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Neighbouring segments that should be one, with the topics that have left each.
type Run = (Vec<Arc<Segment>>, Vec<BTreeSet<TopicId>>);

fn worth_writing_anew(shared: &Shared, groups: &BTreeMap<TopicId, BTreeSet<Arc<str>>>) -> Option<Run> {
    let view = shared.view.read().expect("view");
    let expired = expired(shared, &view, groups);
    let whole = shared.config.segment_bytes;
    // What writing a segment anew would free: the blocks that have left it; all of it, once, when it holds nothing.
    let freed = |i: usize| {
        let index = &view.sealed[i].index;
        match expired.live(&view, i) {
            0 if !index.rewritten => index.end,
            live => index.bytes_of(|_| true) - live,
        }
    };
    let worth = |run: &[usize]| {
        let live: u64 = run.iter().map(|i| expired.live(&view, *i)).sum();
        let freed: u64 = run.iter().map(|i| freed(*i)).sum();
        (freed >= live && freed >= whole / 4) || run.len() >= MERGE_MIN
    };
    // How far apart in time the frames of one segment may be, for the topics that are still in this one.
    let span_max = |i: usize| {
        let index = &view.sealed[i].index;
        let live = index.topic_bytes.iter().filter(|(t, n)| **n > 0 && !expired.gone(**t, i));
        let keep = live.map(|(t, _)| shared.config.keep_secs(*t)).min().unwrap_or(u64::MAX);
        i64::try_from(keep).unwrap_or(i64::MAX).saturating_mul(1_000_000) / SPAN_PART
    };
    let mut run: Vec<usize> = Vec::new();
    let (mut live_in_run, mut span_of_run) = (0, i64::MAX);
    for i in 0..expired.may_go {
        let (size, live) = (view.sealed[i].index.end, expired.live(&view, i));
        let stuck = view.sealed[i].stuck.load(Ordering::Relaxed);
        let candidate = !stuck && (freed(i) >= live.max(1) || size < whole / 4);
        let first = run.first().map_or(i, |f| *f);
        let span = view.sealed[i].index.last_written.0 - view.sealed[first].index.first_written.0;
        let span_of_both = span_of_run.min(span_max(i));
        if !candidate || live_in_run + live > whole || (span > span_of_both && first != i) {
            if worth(&run) {
                break;
            }
            run.clear();
            (live_in_run, span_of_run) = (0, i64::MAX);
        }
        if candidate {
            run.push(i);
            live_in_run += live;
            span_of_run = span_of_run.min(span_max(i));
        }
    }
    if !worth(&run) {
        return None;
    }
    let gone = run.iter().map(|i| topics().filter(|t| expired.gone(*t, *i)).collect()).collect();
    Some((run.iter().map(|i| view.sealed[*i].clone()).collect(), gone))
}

/// Writes `inputs` as one segment without the topics that are `gone` from each. `false`: not now.
fn rewrite(shared: &Shared, inputs: &[Arc<Segment>], gone: &[BTreeSet<TopicId>]) -> io::Result<bool> {
    let path = inputs[0].path.clone();
    let mut tmp = path.clone().into_os_string();
    tmp.push(".tmp");
    let tmp = std::path::PathBuf::from(tmp);
    if shared.fs.exists(&tmp) {
        shared.fs.remove(&tmp)?;
    }
    let (free, _) = shared.fs.space(&shared.journal)?;
    if free < inputs.iter().map(|s| s.index.end).sum::<u64>() {
        return Ok(false);
    }
    if shared.config.durability == Durability::Os {
        // The positions in what is about to go must be on disk in what stays.
        let active = shared.view.read().expect("view").active.as_ref().map(|a| a.file.clone());
        active.map_or(Ok(()), |file| file.sync_data())?;
    }
    let file = shared.fs.open(&tmp, true)?;
    let done = copy(shared, inputs, gone, &*file);
    let index = match done {
        Ok(Some(index)) => index,
        other => {
            if other.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::InvalidData) {
                inputs.iter().for_each(|s| s.stuck.store(true, Ordering::Relaxed));
            }
            shared.fs.remove(&tmp)?;
            return other.map(|_| false);
        }
    };
    // The index file of the old one must not be taken for the new one's; the revision in it tells them apart.
    shared.fs.rename(&tmp, &path)?;
    shared.fs.sync_dir(&shared.journal)?;
    store_index(shared, &index)?;
    {
        let mut view = shared.view.write().expect("view");
        let at = view.sealed.iter().position(|s| Arc::ptr_eq(s, &inputs[0])).expect("only the keeper removes segments");
        let new = Arc::new(Segment::new(path, index, Some(file), true));
        view.sealed.splice(at..at + inputs.len(), [new]);
    }
    for old in &inputs[1..] {
        shared.fs.remove(&old.path)?;
        let index = index_path(&shared.journal, old.index.number);
        if shared.fs.exists(&index) {
            shared.fs.remove(&index)?;
        }
    }
    shared.fs.sync_dir(&shared.journal)?;
    point("journal.segment.retired");
    Ok(true)
}

fn copy(
    shared: &Shared,
    inputs: &[Arc<Segment>],
    gone: &[BTreeSet<TopicId>],
    file: &dyn File,
) -> io::Result<Option<SegmentIndex>> {
    let (first, last) = (&inputs[0].index, &inputs[inputs.len() - 1].index);
    let mut standings = Vec::new();
    for (tp, part) in &last.parts {
        let start = first.parts.get(tp).map_or(0, |p| p.start);
        let left = inputs.iter().zip(gone).filter(|(_, g)| g.contains(&tp.topic));
        let floor = left.filter_map(|(s, _)| s.index.parts.get(tp)).map(|p| p.end).max().unwrap_or(0);
        standings.push(Standing { tp: *tp, start: floor.max(part.floor), end: start });
    }
    let checkpoint = Checkpoint {
        number: first.number,
        covers: last.covers,
        revision: inputs.iter().map(|s| s.index.revision).max().unwrap_or(0) + 1,
        rewritten: true,
        standings,
    };
    let mut out = Copy::new(file, first.number);
    for (segment, gone) in inputs.iter().zip(gone) {
        let source = segment.open(&*shared.fs, shared.salt)?;
        let mut window = Window::new(&*source, COPY_STEP);
        let mut at = 0;
        while at < segment.index.end {
            let bad = |at: u64, what: &str| {
                let what = format!("{} at byte {at}: {what}; it stays as it is", segment.path.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            };
            let frame = window.frame(at, shared.salt)?.map_err(|what| bad(at, what))?;
            if let Some((at, _)) = window.bad_block(at, &frame)? {
                return Err(bad(at, "the checksum of a block is wrong"));
            }
            out.frame(shared.salt, &frame, &mut window, at, |e| !gone.contains(&e.tp.topic), &checkpoint)?;
            at += frame.size();
            if out.due() {
                out.flush()?;
                if shared.keeper.lock().expect("keeper").close {
                    return Ok(None);
                }
                if shared.config.drive == Drive::Threads {
                    std::thread::sleep(COPY_PAUSE);
                }
            }
        }
    }
    out.flush()?;
    // The ends are those of the last input, whatever was left out.
    for (tp, part) in &last.parts {
        out.index.parts.entry(*tp).or_default().end = part.end;
    }
    Ok(Some(out.index))
}

/// A segment that is being written anew.
pub(super) struct Copy<'a> {
    file: &'a dyn File,
    pub index: SegmentIndex,
    buf: Vec<u8>,
    written: u64,
    head: Vec<u8>,
}

impl<'a> Copy<'a> {
    pub fn new(file: &'a dyn File, number: u64) -> Copy<'a> {
        Copy { file, index: SegmentIndex::new(number), buf: Vec::new(), written: 0, head: Vec::new() }
    }

    /// Whether enough is gathered to write it.
    pub fn due(&self) -> bool {
        self.buf.len() >= COPY_STEP
    }

    /// Takes over what is kept of a frame; a frame of which nothing is kept is left out, but for the first.
    pub fn frame(
        &mut self,
        salt: u64,
        frame: &Frame,
        window: &mut Window<'_>,
        at: u64,
        live: impl Fn(&Entry) -> bool,
        checkpoint: &Checkpoint,
    ) -> io::Result<()> {
        let kept: Vec<(u64, Entry)> = frame.blocks().filter(|(_, e)| live(e)).map(|(b, e)| (b, *e)).collect();
        let first = self.index.is_empty();
        if kept.is_empty() && !first {
            return Ok(());
        }
        let entries: Vec<Entry> = kept.iter().map(|(_, e)| *e).collect();
        let checkpoint = first.then_some(checkpoint);
        // No positions: they are read from the last segment only, which is never written anew.
        encode(&mut self.head, salt, frame.seq, frame.written, &entries, std::iter::empty(), checkpoint);
        self.buf.extend_from_slice(&self.head);
        let mut body = 0;
        for (begin, e) in &kept {
            self.buf.extend_from_slice(window.get(at + begin, e.len as usize)?);
            body += e.len as usize;
        }
        let pad = padding(self.head.len(), body);
        self.buf.resize(self.buf.len() + pad, 0);
        let size = (self.head.len() + body + pad) as u64;
        debug_assert_eq!(size % ALIGN, 0);
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        self.index.begin(frame.seq, frame.written, checkpoint).map_err(wrong)?;
        for e in &entries {
            self.index.add_block(e.tp, e.base, e.count, e.len).map_err(wrong)?;
        }
        self.index.finish(frame.seq, frame.written, size);
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&[IoSlice::new(&self.buf)], self.written)?;
        self.written += self.buf.len() as u64;
        self.buf.clear();
        self.file.sync_data()
    }
}
