//! Looking for damage in every byte, and, when asked, moving the damaged part aside.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

use event::record::records;
use event::{Micros, Offset, TopicPartition};
use seam::fs::write_atomically;
use seam::{Clock, File, Fs};

use super::dir::{FORMAT, Format, Lock, index_path, io_error, journal_dir, segment_path};
use super::frame::{Checkpoint, Entry, Frame, Standing, Window, encode, padding};
use super::keep::Copy;
use super::open::segments;
use super::segment::{Positions, next_good};
use crate::contract::LogError;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// No record is shorter; an upper bound for how many were in bytes nobody can read.
const RECORD_MIN: u64 = 12;

/// A stretch of a file that is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    pub file: PathBuf,
    pub at: u64,
    pub len: u64,
    pub what: String,
}

/// What is in a journal, byte by byte.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VerifyReport {
    pub segments: u64,
    pub frames: u64,
    pub records: u64,
    /// Of good frames.
    pub bytes: u64,
    pub damage: Vec<Damage>,
    /// The begin of a frame that was never finished, at the very end. No damage: it is cut off at the next start.
    pub torn: Option<Damage>,
}

/// Offsets that are gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lost {
    pub partition: TopicPartition,
    /// `[from, to)`.
    pub from: Offset,
    pub to: Offset,
    /// `false`: nothing tells how many records were there. `to` is beyond them all, and none of these is given out again.
    pub certain: bool,
}

/// What [`repair_quarantine`] did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RepairReport {
    pub damage: Vec<Damage>,
    /// Copies of the damaged bytes, in `DIR/quarantine`.
    pub quarantined: Vec<PathBuf>,
    pub lost: Vec<Lost>,
}

/// Reads every byte of every segment of the journal in `dir`. Changes nothing.
pub fn verify(dir: &Path, fs: &dyn Fs) -> Result<VerifyReport, LogError> {
    Ok(survey(dir, fs)?.report)
}

/// A segment as it was found.
struct Found {
    number: u64,
    path: PathBuf,
    /// What its first frame says, if that is readable.
    checkpoint: Option<Checkpoint>,
    /// Bytes `[from, to)` that hold no good frame.
    holes: Vec<(u64, u64)>,
    /// Blocks whose bytes are bad in frames that are good otherwise: where the block begins.
    bad_blocks: Vec<(u64, Entry)>,
    first_good: Option<(u64, Micros)>,
    last_seq: u64,
    end: u64,
    /// Segments after this one that are not there.
    missing_after: u64,
    /// Its last frame was never finished.
    torn: bool,
}

impl Found {
    fn is_whole(&self) -> bool {
        self.holes.is_empty() && self.bad_blocks.is_empty() && self.missing_after == 0 && !self.torn
    }
}

struct Survey {
    format: Format,
    report: VerifyReport,
    segments: Vec<Found>,
}

fn format_of(dir: &Path, fs: &dyn Fs) -> Result<Format, LogError> {
    Format::read(fs, dir)?.ok_or_else(|| LogError::Format {
        dir: dir.display().to_string(),
        found: "none".into(),
        known: FORMAT,
    })
}

fn survey(dir: &Path, fs: &dyn Fs) -> Result<Survey, LogError> {
    let format = format_of(dir, fs)?;
    let journal = journal_dir(dir);
    let numbers = segments(fs, &journal)?;
    let mut s = Survey { format, report: VerifyReport::default(), segments: Vec::new() };
    let mut covered: Option<u64> = None;
    let mut before: Option<(u64, bool, PathBuf, u64)> = None;
    for (i, &number) in numbers.iter().enumerate() {
        if covered.is_some_and(|c| number <= c) {
            continue;
        }
        if let Some(c) = covered.filter(|c| number != c + 1) {
            let what = "this segment is missing".to_owned();
            s.report.damage.push(Damage { file: segment_path(&journal, c + 1), at: 0, len: 0, what });
            s.segments.last_mut().expect("something was covered").missing_after = number - c - 1;
            before = None;
        }
        let path = segment_path(&journal, number);
        let file = fs.open_read(&path).map_err(io_error("opening", &path))?;
        let is_last = i + 1 == numbers.len();
        let found = survey_segment(&mut s.report, &*file, number, &path, format.salt, is_last)
            .map_err(io_error("reading", &path))?;
        if let (Some((last, rewritten, path, end)), Some((first, _))) = (&before, found.first_good)
            && !rewritten
            && first != last + 1
            && found.holes.is_empty()
        {
            let what = format!("frames {}..{first} are missing at the end of the segment", last + 1);
            s.report.damage.push(Damage { file: path.clone(), at: *end, len: 0, what });
            let n = s.segments.len() - 1;
            s.segments[n].holes.push((*end, *end));
        }
        let rewritten = found.checkpoint.as_ref().is_none_or(|c| c.rewritten);
        before = (found.last_seq > 0).then(|| (found.last_seq, rewritten, path.clone(), found.end));
        covered = Some(found.checkpoint.as_ref().map_or(number, |c| c.covers));
        s.report.segments += 1;
        s.segments.push(found);
    }
    Ok(s)
}

fn survey_segment(
    report: &mut VerifyReport,
    file: &dyn File,
    number: u64,
    path: &Path,
    salt: u64,
    is_last: bool,
) -> std::io::Result<Found> {
    let mut found = Found {
        number,
        path: path.to_owned(),
        checkpoint: None,
        holes: Vec::new(),
        bad_blocks: Vec::new(),
        first_good: None,
        last_seq: 0,
        end: 0,
        missing_after: 0,
        torn: false,
    };
    let len = file.len()?;
    let mut window = Window::new(file, CHUNK);
    let mut at = 0;
    while at < len {
        let what = match window.frame(at, salt)? {
            Ok(frame) if frame.seq > found.last_seq && at + frame.size() <= len => {
                let blocks = bad_blocks(&mut window, at, &frame)?;
                // A last frame with a bad block was torn while it was written, unless another follows it.
                let torn = !blocks.is_empty()
                    && is_last
                    && next_good(&mut window, at + frame.size(), len, salt, frame.seq)?.is_none();
                if !torn {
                    for (begin, e, what) in blocks {
                        let what = format!("{what} ({}, offsets {}..{})", e.tp, e.base, e.next());
                        let len = u64::from(e.len);
                        report.damage.push(Damage { file: path.to_owned(), at: begin, len, what });
                        found.bad_blocks.push((begin, e));
                    }
                    report.frames += 1;
                    report.records += frame.entries.iter().map(|e| u64::from(e.count)).sum::<u64>();
                    report.bytes += frame.size();
                    if at == 0 {
                        found.checkpoint.clone_from(&frame.checkpoint);
                    }
                    found.first_good.get_or_insert((frame.seq, frame.written));
                    found.last_seq = frame.seq;
                    at += frame.size();
                    found.end = at;
                    continue;
                }
                "the checksum of a block is wrong"
            }
            Ok(_) => "the frame does not follow the one before it",
            Err(what) => what,
        };
        let next = next_good(&mut window, at + super::frame::ALIGN, len, salt, found.last_seq)?;
        let until = next.unwrap_or(len);
        let zeros = next.is_none() && all_zero(&mut window, at, len)?;
        let damage = || Damage { file: path.to_owned(), at, len: until - at, what: what.to_owned() };
        if next.is_none() && is_last {
            report.torn = (!zeros).then(damage);
            found.torn = !zeros;
        } else if !zeros {
            report.damage.push(damage());
            found.holes.push((at, until));
        }
        at = until;
    }
    Ok(found)
}

/// The blocks of a frame that are not what was written, with where each begins in the file.
fn bad_blocks(window: &mut Window<'_>, at: u64, frame: &Frame) -> std::io::Result<Vec<(u64, Entry, &'static str)>> {
    let mut bad = Vec::new();
    for (begin, e) in frame.blocks() {
        let bytes = window.get(at + begin, e.len as usize)?;
        if bytes.len() < e.len as usize || crc32c::crc32c(bytes) != e.crc {
            bad.push((at + begin, *e, "the checksum of a block is wrong"));
        } else if records(bytes).take_while(Result::is_ok).count() != e.count as usize {
            bad.push((at + begin, *e, "a block is not made of the records it should be made of"));
        }
    }
    Ok(bad)
}

fn all_zero(window: &mut Window<'_>, mut at: u64, len: u64) -> std::io::Result<bool> {
    while at < len {
        let bytes = window.get(at, ((len - at) as usize).min(CHUNK))?;
        if bytes.is_empty() {
            break;
        }
        if bytes.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += bytes.len() as u64;
    }
    Ok(true)
}

/// Moves what is damaged aside, so that the journal opens again, and says what is lost. Offsets that were given out are
/// never given out again. Positions stay the newest that can be read.
///
/// Takes the directory's lock; nothing is changed when nothing is damaged.
pub fn repair_quarantine(dir: &Path, fs: &dyn Fs, clock: &dyn Clock) -> Result<RepairReport, LogError> {
    let _lock = Lock::acquire(fs, dir)?;
    let survey = survey(dir, fs)?;
    let mut report = RepairReport { damage: survey.report.damage.clone(), ..RepairReport::default() };
    if report.damage.is_empty() {
        return Ok(report);
    }
    let aside = dir.join("quarantine");
    fs.create_dir_all(&aside).map_err(io_error("making", &aside))?;
    let mut walk = Walk { from_zero: survey.segments.first().is_some_and(|s| s.number == 1), ..Walk::default() };
    for found in &survey.segments {
        set_aside(fs, &aside, found, &mut report)?;
        mend(fs, found, &survey, &mut walk, Pass::Look)?;
    }
    fs.sync_dir(&aside).map_err(io_error("syncing", &aside))?;
    let last = survey.segments.last().expect("something is damaged, so something is there");
    walk.end(survey.format.partitions);
    // IMPORTANT: what says where everything stands is written before anything is mended. When this is interrupted, damage
    // is still found, and the next repair goes on.
    begin_anew(dir, fs, clock, &survey.format, last, &walk)?;
    let mut again = Walk { standings: walk.first.clone(), ..Walk::default() };
    for found in &survey.segments {
        mend(fs, found, &survey, &mut again, Pass::Write)?;
    }
    report.lost = walk.lost;
    Ok(report)
}

/// Copies the damaged bytes of a segment into the quarantine.
fn set_aside(fs: &dyn Fs, aside: &Path, found: &Found, report: &mut RepairReport) -> Result<(), LogError> {
    let blocks = found.bad_blocks.iter().map(|(begin, e)| (*begin, begin + u64::from(e.len)));
    for (from, to) in found.holes.iter().copied().chain(blocks).filter(|(from, to)| from < to) {
        let file = fs.open_read(&found.path).map_err(io_error("opening", &found.path))?;
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, from).map_err(io_error("reading", &found.path))?;
        let path = aside.join(format!("{:020}.seg.{from}-{to}", found.number));
        write_atomically(fs, &path, &bytes).map_err(io_error("writing", &path))?;
        report.quarantined.push(path);
    }
    Ok(())
}

/// What is learned on the way through all good frames, in order.
#[derive(Default)]
struct Walk {
    standings: BTreeMap<TopicPartition, (Offset, Offset)>,
    positions: Positions,
    /// Bytes since the last hole in which records may have been, and the partitions seen since then.
    hole: u64,
    seen: Vec<TopicPartition>,
    lost: Vec<Lost>,
    last_seq: u64,
    /// Whether the journal is there from its first frame on.
    from_zero: bool,
    /// Where each partition stood when it was first heard of.
    first: BTreeMap<TopicPartition, (Offset, Offset)>,
}

impl Walk {
    fn hole(&mut self, bytes: u64) {
        self.hole += bytes.max(RECORD_MIN);
        self.seen.clear();
    }

    /// A partition is known to have had its end at `end`.
    fn stands(&mut self, tp: TopicPartition, end: Offset) {
        let new = !self.standings.contains_key(&tp);
        let before = self.standings.get(&tp).map_or(0, |(_, end)| *end);
        if self.hole > 0 && !self.seen.contains(&tp) {
            // Where a journal that has lost its first frame began is not known, unless it began at the begin.
            let certain = !new || self.from_zero;
            let from = if certain { before } else { end.saturating_sub(self.hole / RECORD_MIN + 1) };
            if end > from {
                self.lost.push(Lost { partition: tp, from, to: end, certain });
            }
            self.seen.push(tp);
        }
        if new {
            self.first.insert(tp, (0, if self.from_zero { 0 } else { end }));
        }
        self.standings.entry(tp).or_default().1 = end.max(before);
    }

    fn frame(&mut self, frame: &Frame, bad: &[(u64, Entry)], at: u64) {
        if let Some(c) = &frame.checkpoint {
            for s in &c.standings {
                self.stands(s.tp, s.end);
                let start = &mut self.standings.get_mut(&s.tp).expect("stands").0;
                *start = s.start.max(*start);
            }
            // It says where all partitions stand, so nothing is uncertain after it.
            self.hole = 0;
        }
        for (begin, e) in frame.blocks() {
            self.stands(e.tp, e.base);
            self.standings.get_mut(&e.tp).expect("stands").1 = e.next();
            if bad.iter().any(|(b, _)| *b == at + begin) {
                self.lost.push(Lost { partition: e.tp, from: e.base, to: e.next(), certain: true });
            }
        }
        for p in &frame.positions {
            self.positions.set(p);
        }
        self.last_seq = frame.seq;
    }

    /// What was in a hole of the last segment for partitions that nothing followed is not known: their ends move beyond
    /// all that fits in the hole.
    fn end(&mut self, partitions: u32) {
        for topic in super::view::topics() {
            for p in 0..partitions {
                let tp = topic.partition(p);
                let known = &mut self.standings.entry(tp).or_default().1;
                if self.hole > 0 && !self.seen.contains(&tp) {
                    let to = *known + self.hole / RECORD_MIN + 1;
                    self.lost.push(Lost { partition: tp, from: *known, to, certain: false });
                    *known = to;
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Look,
    Write,
}

/// Takes in what a segment's good frames say; in the second pass writes it anew without its holes, if it has any.
fn mend(fs: &dyn Fs, found: &Found, survey: &Survey, walk: &mut Walk, pass: Pass) -> Result<(), LogError> {
    let salt = survey.format.salt;
    let doing = |what: &'static str| io_error(what, &found.path);
    let source = fs.open_read(&found.path).map_err(doing("opening"))?;
    let mut tmp = found.path.clone().into_os_string();
    tmp.push(".tmp");
    let tmp = PathBuf::from(tmp);
    let target = if found.is_whole() || pass == Pass::Look {
        None
    } else {
        if fs.exists(&tmp) {
            fs.remove(&tmp).map_err(io_error("removing", &tmp))?;
        }
        Some(fs.open(&tmp, true).map_err(io_error("making", &tmp))?)
    };
    let mut out = target.as_ref().map(|file| Copy::new(&**file, found.number));
    let mut window = Window::new(&*source, CHUNK);
    let mut at = 0;
    while at < found.end || found.holes.iter().any(|(from, _)| *from == at) {
        if let Some((_, to)) = found.holes.iter().find(|(from, _)| *from == at) {
            walk.hole(to - at);
            if at == 0
                && let Some(out) = &mut out
            {
                // The frame that said where all stood is gone: one that says what is known takes its place.
                let (seq, written) = match found.first_good {
                    Some((seq, written)) => (seq - 1, written),
                    None => (walk.last_seq + 1, Micros(0)),
                };
                let c = checkpoint(found, survey, walk, 1);
                let frame = Frame {
                    seq,
                    written,
                    entries: Vec::new(),
                    positions: Vec::new(),
                    checkpoint: Some(c.clone()),
                    meta_len: 0,
                    body_len: 0,
                };
                out.frame(salt, &frame, &mut window, 0, |_| true, &c).map_err(doing("mending"))?;
            }
            if *to == at {
                break;
            }
            at = *to;
            continue;
        }
        let frame = match window.frame(at, salt).map_err(doing("reading"))? {
            Ok(frame) => frame,
            Err(what) => return Err(super::segment::damaged(&found.path, at, what)),
        };
        walk.frame(&frame, &found.bad_blocks, at);
        if let Some(out) = &mut out {
            let bad = |e: &Entry| found.bad_blocks.iter().any(|(_, b)| b == e);
            let c = match &frame.checkpoint {
                Some(c) => Checkpoint {
                    revision: c.revision + 1,
                    rewritten: true,
                    covers: c.covers + found.missing_after,
                    ..c.clone()
                },
                None => checkpoint(found, survey, walk, 1),
            };
            out.frame(salt, &frame, &mut window, at, |e| !bad(e), &c).map_err(doing("mending"))?;
            if out.due() {
                out.flush().map_err(io_error("writing", &tmp))?;
            }
        }
        at += frame.size();
    }
    if found.missing_after > 0 {
        walk.hole(RECORD_MIN);
    }
    if let Some(mut out) = out {
        out.flush().map_err(io_error("writing", &tmp))?;
        let dir = found.path.parent().expect("a segment is in a directory");
        let index = index_path(dir, found.number);
        if fs.exists(&index) {
            fs.remove(&index).map_err(io_error("removing", &index))?;
        }
        fs.rename(&tmp, &found.path).map_err(io_error("renaming", &tmp))?;
        fs.sync_dir(dir).map_err(io_error("syncing", dir))?;
    }
    Ok(())
}

/// What can be said at the begin of a segment that has lost its first frame.
fn checkpoint(found: &Found, survey: &Survey, walk: &Walk, revision: u32) -> Checkpoint {
    let next = survey.segments.iter().find(|s| s.number > found.number).map(|s| s.number);
    let mut standings: Vec<Standing> =
        walk.standings.iter().map(|(tp, (start, end))| Standing { tp: *tp, start: *start, end: *end }).collect();
    standings.sort_by_key(|s| s.tp);
    Checkpoint {
        number: found.number,
        covers: next.map_or(found.number, |n| n - 1),
        revision,
        rewritten: true,
        standings,
    }
}

/// Begins a segment after all others with a frame that says where everything stands now.
fn begin_anew(
    dir: &Path,
    fs: &dyn Fs,
    clock: &dyn Clock,
    format: &Format,
    last: &Found,
    walk: &Walk,
) -> Result<(), LogError> {
    let journal = journal_dir(dir);
    let number = last.checkpoint.as_ref().map_or(last.number, |c| c.covers) + 1;
    let standings =
        walk.standings.iter().map(|(tp, (start, end))| Standing { tp: *tp, start: *start, end: *end }).collect();
    let c = Checkpoint { number, covers: number, revision: 0, rewritten: false, standings };
    let mut head = Vec::new();
    let seq = walk.last_seq + 1;
    encode(&mut head, format.salt, seq, clock.now(), &[], walk.positions.all().iter(), Some(&c));
    head.resize(head.len() + padding(head.len(), 0), 0);
    let path = segment_path(&journal, number);
    let file = fs.open(&path, true).map_err(io_error("making", &path))?;
    file.write_all_at(&[IoSlice::new(&head)], 0).map_err(io_error("writing", &path))?;
    file.sync_data().map_err(io_error("syncing", &path))?;
    fs.sync_dir(&journal).map_err(io_error("syncing", &journal))
}
