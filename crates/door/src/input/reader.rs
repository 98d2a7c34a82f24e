//! The loop that reads one input: bytes, records, commits, and what comes after the end.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event::topic::RAW;
use event::{Code, Failure};
use log::Commit;

use super::bytes::{Bytes, Got};
use super::commit::{Committer, Settled};
use super::error::InputError;
use super::feed::{Fed, Feed, First, Fresh, Ids, Sink};
use super::identity::{Identity, Read, positions, recognise};
use super::watch::{self, Change};
use super::{Follow, InputConfig, InputSummary, Origin, Progress, World};
use crate::collect::Collector;

/// A commit is submitted when this much is gathered and none is in flight, so that small pieces share an fsync ...
const COMMIT_MIN: usize = 256 * 1024;
/// ... and while one is in flight, this much is gathered before reading waits for it.
const COMMIT_MAX: usize = 1024 * 1024;

/// How long a stream is waited for at a time: the pace at which `stop` is looked at.
const STREAM_WAIT: Duration = Duration::from_millis(100);
/// The same while a commit is in flight.
const STREAM_WAIT_COMMIT: Duration = Duration::from_millis(1);

pub(super) struct Reader<'a> {
    config: InputConfig,
    world: &'a World,
    progress: &'a Progress,
    stop: &'a AtomicBool,
    collector: Collector,
    committer: Committer<'a>,
    summary: InputSummary,
}

/// Opens what is under a path, and says whether it is a regular file.
#[allow(clippy::disallowed_methods)] // looking at the user's own files is what this room is for
pub(super) fn open(path: &Path) -> Result<(File, bool), InputError> {
    let opening = |e| InputError::opening(path, e);
    // Looked at before it is opened: opening a named pipe waits for its writer.
    let about = std::fs::metadata(path).map_err(opening)?;
    if about.is_dir() {
        return Err(InputError::directory(path));
    }
    Ok((File::open(path).map_err(opening)?, about.is_file()))
}

/// The file that is being read, and how far.
struct Place {
    path: PathBuf,
    identity: Identity,
    /// As of the last commit submitted.
    read: Read,
}

/// How reading came to a halt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Halt {
    End,
    Stopped,
}

/// What to do after a file's end.
enum Then {
    Done,
    Open(File),
}

impl<'a> Reader<'a> {
    pub fn new(config: InputConfig, world: &'a World, progress: &'a Progress, stop: &'a AtomicBool) -> Reader<'a> {
        let collector = Collector::new(Arc::clone(&world.decoder), world.log.partitions(RAW));
        let committer = Committer::new(&world.log, progress, stop);
        Reader { config, world, progress, stop, collector, committer, summary: InputSummary::default() }
    }

    pub fn run(mut self) -> Result<InputSummary, InputError> {
        let name = "standard input".to_owned();
        match std::mem::replace(&mut self.config.origin, Origin::Stdin) {
            Origin::File(path) => self.path(&path)?,
            Origin::Stream(fd) => self.stream(name, File::from(fd))?,
            Origin::Stdin => {
                let fd = std::io::stdin().as_fd().try_clone_to_owned();
                let fd = fd.map_err(|source| InputError::Read { name: name.clone(), at: 0, source })?;
                self.stream(name, File::from(fd))?;
            }
        }
        self.summary.accepted = self.committer.accepted;
        self.summary.refused = self.committer.refused;
        Ok(self.summary)
    }

    #[allow(clippy::disallowed_methods)] // looking at the user's own files is what this room is for
    fn path(&mut self, path: &Path) -> Result<(), InputError> {
        let (file, is_regular) = open(path)?;
        let name = path.display().to_string();
        if !is_regular {
            return self.stream(name, file);
        }
        let canonical = std::fs::canonicalize(path).map_err(|e| InputError::opening(path, e))?;
        self.summary.name = name;
        let mut file = file;
        let mut is_first = true;
        while let Then::Open(next) = self.file(&canonical, file, is_first)? {
            file = next;
            is_first = false;
        }
        Ok(())
    }

    fn stream(&mut self, name: String, file: File) -> Result<(), InputError> {
        self.summary.name = name.clone();
        let mut bytes = Bytes::of_stream(name, file, self.config.max_ratio);
        let mut feed = self.feed(Ids::Fresh(Fresh::new()));
        match self.read_on(&mut bytes, &mut feed, None)? {
            Halt::End => {
                self.summary.is_empty = bytes.raw_at() == 0;
                self.end(&mut bytes, &mut feed, None)
            }
            Halt::Stopped => self.halt(&mut bytes, &mut feed, None),
        }
    }

    /// Reads one file from where it was left to its end, and what is beyond that when it is followed.
    fn file(&mut self, path: &Path, file: File, is_first: bool) -> Result<Then, InputError> {
        let mut bytes = Bytes::of_file(self.summary.name.clone(), file, self.config.max_ratio);
        bytes.begin()?;
        while bytes.head().is_empty() {
            // Which file it is can be told from its first byte on.
            let change = self.at_file_end(path, &mut bytes)?;
            match change {
                Change::Grown | Change::Rewritten => bytes.begin()?,
                Change::Replaced(file) => return Ok(Then::Open(file)),
                Change::Idle | Change::Stopped => {
                    self.summary.is_empty = is_first;
                    self.summary.is_stopped = matches!(change, Change::Stopped);
                    self.progress.at_end.store(true, Ordering::Release);
                    self.note(None);
                    return Ok(Then::Done);
                }
            }
        }
        let (mut place, mut feed) = self.find_place(path, &mut bytes)?;
        if is_first {
            self.summary.before = place.read.accepted + place.read.refused;
        }
        loop {
            if self.read_on(&mut bytes, &mut feed, Some(&mut place))? == Halt::Stopped {
                self.halt(&mut bytes, &mut feed, Some(&mut place))?;
                return Ok(Then::Done);
            }
            if self.config.follow == Follow::No {
                self.end(&mut bytes, &mut feed, Some(&mut place))?;
                return Ok(Then::Done);
            }
            self.check_first(&feed, &bytes)?;
            if self.flush(&bytes, &feed, Some(&mut place))? == Settled::GivenUp {
                self.summary.is_stopped = true;
                return Ok(Then::Done);
            }
            match self.at_file_end(path, &mut bytes)? {
                Change::Grown => {}
                Change::Idle => {
                    self.end(&mut bytes, &mut feed, Some(&mut place))?;
                    return Ok(Then::Done);
                }
                Change::Stopped => {
                    self.halt(&mut bytes, &mut feed, Some(&mut place))?;
                    return Ok(Then::Done);
                }
                Change::Rewritten => {
                    self.end(&mut bytes, &mut feed, Some(&mut place))?;
                    let file = bytes.file().try_clone();
                    let name = || bytes.name().to_owned();
                    let file = file.map_err(|source| InputError::Read { name: name(), at: 0, source })?;
                    return Ok(Then::Open(file));
                }
                Change::Replaced(file) => {
                    // What was written between the last look at this file and the first at the other one.
                    if self.read_on(&mut bytes, &mut feed, Some(&mut place))? == Halt::Stopped {
                        self.halt(&mut bytes, &mut feed, Some(&mut place))?;
                        return Ok(Then::Done);
                    }
                    self.end(&mut bytes, &mut feed, Some(&mut place))?;
                    return Ok(Then::Open(file));
                }
            }
        }
    }

    fn feed(&self, ids: Ids) -> Feed {
        Feed::new(self.config.preset, self.world.decoder.limits().event, ids)
    }

    /// Recognises a file and goes to where its reading ended.
    fn find_place(&mut self, path: &Path, bytes: &mut Bytes) -> Result<(Place, Feed), InputError> {
        let len = bytes.file().metadata().map_or(0, |m| m.len());
        self.progress.total.store(len, Ordering::Relaxed);
        let known = recognise(&*self.world.log, path, bytes.head(), len)?;
        let mut feed = self.feed(Ids::Position(known.identity.name()));
        self.summary.identity = Some(known.identity.name());
        if let Some(read) = &known.read {
            let beginning = bytes.beginning()?;
            if let Some(before) = bytes.go_to(read.next)? {
                let name = || bytes.name().to_owned();
                feed.resume(read.next, before, &beginning)
                    .map_err(|f| InputError::Header { name: name(), what: f.message })?;
            }
        }
        let read = known.read.unwrap_or_default();
        Ok((Place { path: path.to_owned(), identity: known.identity, read }, feed))
    }

    /// Everything that is there was read and committed.
    fn at_file_end(&mut self, path: &Path, bytes: &mut Bytes) -> Result<Change, InputError> {
        let idle = match self.config.follow {
            Follow::No => return Ok(Change::Idle),
            Follow::Forever => None,
            Follow::UntilIdle(idle) => Some(idle),
        };
        self.progress.at_end.store(true, Ordering::Release);
        let change = watch::wait(path, bytes, idle, &*self.world.clock, self.stop)?;
        if matches!(change, Change::Grown | Change::Rewritten | Change::Replaced(_)) {
            self.progress.at_end.store(false, Ordering::Release);
            let len = bytes.file().metadata().map_or(0, |m| m.len());
            self.progress.total.store(len, Ordering::Relaxed);
        }
        Ok(change)
    }

    /// Reads and commits until there is nothing more to read, or until stopped.
    fn read_on(
        &mut self,
        bytes: &mut Bytes,
        feed: &mut Feed,
        mut place: Option<&mut Place>,
    ) -> Result<Halt, InputError> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Halt::Stopped);
            }
            let got = match bytes.read(feed.buf()) {
                Ok(got) => got,
                Err(e) => {
                    // The records before the damage are good.
                    self.flush(bytes, feed, place)?;
                    return Err(e);
                }
            };
            self.progress.bytes.store(bytes.raw_at(), Ordering::Relaxed);
            match got {
                Got::Closed => return Ok(Halt::End),
                Got::Nothing if place.is_some() => return Ok(Halt::End),
                Got::Nothing => {
                    self.commit_of_stream(bytes, feed)?;
                }
                Got::Data => {
                    if self.hand_on(bytes, feed, place.as_deref_mut(), Feed::take)? == Settled::GivenUp
                        || self.commit_if_due(bytes, feed, place.as_deref_mut())? == Settled::GivenUp
                    {
                        return Ok(Halt::Stopped);
                    }
                }
            }
        }
    }

    /// Hands records to the collector and commits whenever it is full.
    fn hand_on(
        &mut self,
        bytes: &Bytes,
        feed: &mut Feed,
        mut place: Option<&mut Place>,
        take: impl Fn(&mut Feed, &mut Sink<'_>) -> Fed,
    ) -> Result<Settled, InputError> {
        loop {
            // While all were refused nothing is committed: it may be the wrong preset.
            let full = if feed.first.settled { COMMIT_MAX } else { usize::MAX };
            let received = self.world.clock.now();
            let mut sink = Sink { collector: &mut self.collector, full, received, rng: &*self.world.rng };
            match take(feed, &mut sink) {
                Fed::Hungry => return Ok(Settled::Committed),
                Fed::Full => {
                    let settled = self.commit(bytes, feed, place.as_deref_mut())?;
                    if settled == Settled::GivenUp {
                        return Ok(settled);
                    }
                }
                Fed::Hopeless => return Err(malformed(&feed.first, bytes, self.looks(&feed.first))),
                Fed::NoHeader(f) => {
                    return Err(InputError::Header { name: bytes.name().to_owned(), what: f.message });
                }
            }
        }
    }

    /// Submits what was gathered, once the commit before it is settled.
    fn commit(&mut self, bytes: &Bytes, feed: &Feed, place: Option<&mut Place>) -> Result<Settled, InputError> {
        if self.committer.wait()? == Settled::GivenUp {
            return Ok(Settled::GivenUp);
        }
        let (accepted, refused) = (self.collector.accepted(), self.collector.refused());
        let blocks = self.collector.take();
        if blocks.is_empty() {
            return Ok(Settled::Committed);
        }
        let positions = place.map_or(Vec::new(), |place| {
            place.read.next = feed.position();
            place.read.raw = bytes.raw_of(place.read.next);
            place.read.accepted += accepted;
            place.read.refused += refused;
            positions(&place.path, bytes.head(), &place.identity, &place.read)
        });
        self.committer.submit(Commit { blocks, positions, generation: None }, accepted, refused);
        Ok(Settled::Committed)
    }

    fn commit_if_due(&mut self, bytes: &Bytes, feed: &Feed, place: Option<&mut Place>) -> Result<Settled, InputError> {
        let settled = self.committer.poll()?;
        let is_due = self.collector.bytes() >= COMMIT_MIN && self.committer.is_idle();
        if settled == Settled::GivenUp || !is_due || !feed.first.settled {
            return Ok(settled);
        }
        self.commit(bytes, feed, place)
    }

    /// A stream has nothing ready: what it gave so far must not wait for what it will give. That is not its end: whoever
    /// writes to a pipe may take a while to begin.
    fn commit_of_stream(&mut self, bytes: &Bytes, feed: &Feed) -> Result<(), InputError> {
        self.committer.poll()?;
        if !self.committer.is_idle() {
            bytes.is_ready(STREAM_WAIT_COMMIT);
        } else if self.collector.bytes() > 0 && feed.first.settled {
            self.commit(bytes, feed, None)?;
        } else {
            bytes.is_ready(STREAM_WAIT);
        }
        Ok(())
    }

    /// Commits all that was gathered and waits for it.
    fn flush(&mut self, bytes: &Bytes, feed: &Feed, place: Option<&mut Place>) -> Result<Settled, InputError> {
        if self.commit(bytes, feed, place)? == Settled::GivenUp {
            return Ok(Settled::GivenUp);
        }
        self.committer.wait()
    }

    /// There is no more: a last record without its end counts.
    fn end(&mut self, bytes: &mut Bytes, feed: &mut Feed, mut place: Option<&mut Place>) -> Result<(), InputError> {
        if let Err(damaged) = bytes.finish() {
            self.flush(bytes, feed, place)?;
            return Err(damaged);
        }
        let mut settled = self.hand_on(bytes, feed, place.as_deref_mut(), Feed::take_last)?;
        self.check_first(feed, bytes)?;
        if settled == Settled::Committed {
            settled = self.flush(bytes, feed, place)?;
        }
        self.summary.is_stopped |= settled == Settled::GivenUp;
        self.progress.at_end.store(settled == Settled::Committed, Ordering::Release);
        self.note(Some(feed));
        Ok(())
    }

    /// Stopped before the end: what is complete is committed, a last record without its end waits for the next run.
    fn halt(&mut self, bytes: &mut Bytes, feed: &mut Feed, place: Option<&mut Place>) -> Result<(), InputError> {
        self.summary.is_stopped = true;
        if feed.first.settled || place.is_none() {
            self.flush(bytes, feed, place)?;
        }
        Ok(())
    }

    /// At an end before [`super::feed::ALL_REFUSED`] records: whether all there were look like another format.
    fn check_first(&self, feed: &Feed, bytes: &Bytes) -> Result<(), InputError> {
        let first = &feed.first;
        if first.settled || first.refused == 0 {
            return Ok(());
        }
        let Some(guess) = self.looks(first) else { return Ok(()) };
        // Where nothing but the type is missing, a map is: what is stored now would have to be read again.
        let needs_map = first.failure.as_ref().is_some_and(|f| f.code == Code::MissingField);
        if guess.preset.is_some() || needs_map {
            return Err(malformed(first, bytes, Some(guess)));
        }
        Ok(())
    }

    /// What an input looks like whose records were all refused; never what it was taken for.
    fn looks(&self, first: &First) -> Option<wire::Guess> {
        let lines: Vec<&[u8]> = first.samples.iter().map(Vec::as_slice).collect();
        // Another format is no explanation for a record that has the right one and breaks a rule.
        let about_form = first.failure.as_ref().is_some_and(|f| is_about_form(f.code) || f.code == Code::MissingField);
        wire::guess(&lines)
            .filter(|guess| guess.preset != Some(self.config.preset) && (guess.preset.is_some() || about_form))
    }

    /// Says what is remarkable about an input that gave nothing.
    fn note(&mut self, feed: Option<&Feed>) {
        let (accepted, refused) = (self.committer.accepted, self.committer.refused);
        self.summary.note = match (accepted, refused, self.summary.before) {
            (1.., ..) => None,
            (0, 1.., _) => feed.map(|feed| self.all_refused(&feed.first, refused)),
            _ if self.summary.is_empty => Some("it is empty".to_owned()),
            (0, 0, 0) => Some("there are no events in it".to_owned()),
            (0, 0, before) => Some(format!("nothing new: its {before} events were read before")),
        };
    }

    /// Of an input that gave nothing but dead letters.
    fn all_refused(&self, first: &First, refused: u64) -> String {
        let mut out = match refused {
            1 => "its only new record was refused".to_owned(),
            n => format!("its {n} new records were all refused"),
        };
        if let Some(guess) = self.looks(first) {
            out = format!("{out}; {}", guess.sentence);
        }
        match &first.failure {
            Some(failure) => format!("{out}. The first failure: {}", shown(failure)),
            None => out,
        }
    }
}

/// Whether a failure may mean that the input has another format.
fn is_about_form(code: Code) -> bool {
    matches!(code, Code::NotJson | Code::NotObject | Code::NotUtf8 | Code::BadLine)
}

fn malformed(first: &First, bytes: &Bytes, guess: Option<wire::Guess>) -> InputError {
    let failure = first.failure.as_ref();
    InputError::Malformed {
        name: bytes.name().to_owned(),
        count: first.refused,
        looks: match guess {
            Some(guess) => guess.sentence,
            None if failure.is_none_or(|f| is_about_form(f.code)) => "it does not look like anything known".to_owned(),
            None => String::new(),
        },
        first: failure.map_or(String::new(), shown),
    }
}

/// A failure as a half-sentence, with the flag to add where one helps.
fn shown(f: &Failure) -> String {
    let mut out = match f.pointer.as_str() {
        "" => format!("{}: {}", f.code.name(), f.message),
        pointer => format!("{} at {pointer}: {}", f.code.name(), f.message),
    };
    if f.code == Code::BadTime && f.message.contains("has no zone") {
        out = format!("{out}; on the command line `--map time={},zone=UTC`", f.pointer);
    }
    out
}
