//! Reads committed records from any position, for many readers at once.
//!
//! A [`Cursor`] is a place in a partition from which somebody reads on: what comes next is fetched ahead for it, and a little of
//! what was read stays for others who are close behind. A client can have one cursor for each partition, so there are as many
//! clients as somebody reads a partition at different places, up to [`CLIENTS_MAX`]; beyond that the cursor that was not used for
//! longest moves.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event::record::{Chunk, records};
use event::topic::TOPICS;
use event::{BlockBuilder, Offset, TopicId, TopicPartition};
use log::{Fetch, LogError};
use rdkafka::types::RDKafkaRespErr as Code;
use tokio::sync::watch;

use crate::config::KafkaConfig;
use crate::native::{Client, HEADER, Kind, List, Message, Queue, Quiet, words};

const CLIENTS_MAX: usize = 4;
/// Bytes read ahead by one client; above this it waits until some were taken.
const AHEAD_MAX: usize = 64 << 20;
/// Bytes of a partition that stay after they were read.
const BEHIND_MAX: usize = 1 << 20;
/// A chunk is no bigger, so that little is held for a reader that wants little.
const CHUNK_MAX: usize = 256 << 10;
/// Records taken from the client in one go.
const BATCH: usize = 4096;
/// How long a thread with nothing to do waits; a cursor that moves waits for it.
const POLL: Duration = Duration::from_millis(5);
/// A cursor that nobody used for this long may move, and is given up when there is no room.
const IDLE: Duration = Duration::from_secs(5);
/// And after this in any case: what it would read nobody wants.
const UNUSED: Duration = Duration::from_secs(20);
/// A partition of which nothing was heard for this long is asked for its end: a client may stop reading one for good (seen after
/// restarts of a broker), and says nothing.
pub(crate) const SILENT: Duration = Duration::from_secs(2);
/// And once more after this, if there is more than came.
pub(crate) const MISSED: Duration = Duration::from_millis(500);
/// How long that question may take; nothing is read meanwhile.
pub(crate) const LOOK: Duration = Duration::from_millis(500);
/// How often who waits looks whether waiting is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// All cursors of the process.
pub(crate) struct Readers {
    config: KafkaConfig,
    news: watch::Sender<u64>,
    clients: Mutex<Vec<Reader>>,
    /// Positions that are known to exist: who asks below them is given what there is.
    known: Mutex<HashMap<TopicPartition, Offset>>,
}

/// One client with its cursors, and the thread that polls it.
struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    client: Client,
    state: Mutex<State>,
    /// Something arrived, or room was made.
    changed: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    cursors: HashMap<TopicPartition, Cursor>,
    /// Cursors to be placed by the thread that polls.
    moves: Vec<(TopicPartition, Option<Offset>)>,
    bytes: usize,
}

struct Cursor {
    /// What was read and stays, and what was read ahead.
    chunks: VecDeque<Chunk>,
    /// From here on all is there.
    floor: Offset,
    /// Where the first of its readers goes on.
    next: Offset,
    /// Bytes of the chunks before and behind that.
    behind: usize,
    ahead: usize,
    /// After the last thing that was read ahead.
    tail: Offset,
    /// There was nothing behind the tail when it was last looked.
    at_end: bool,
    failed: Option<Code>,
    used: Instant,
    /// When something came, or it was last looked whether something should have.
    heard: Instant,
    /// Where the partition ended when it was last looked, if that is behind the tail.
    missed: Option<Offset>,
}

/// Why there is nothing to give.
enum Nothing {
    /// The cursor was moved by another reader, or failed.
    Lost,
    Failed(Code),
}

impl Readers {
    pub fn new(config: KafkaConfig, news: watch::Sender<u64>) -> Readers {
        Readers { config, news, clients: Mutex::default(), known: Mutex::default() }
    }

    /// A position that exists: a fetch below it waits for what is there.
    pub fn exists(&self, at: TopicPartition, end: Offset) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(at).or_default();
        *known = end.max(*known);
    }

    /// The highest such position.
    pub fn known(&self, at: TopicPartition) -> Offset {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied().unwrap_or(0)
    }

    /// What is known of the end of a partition without asking: `None` if nobody reads at its end.
    pub fn end(&self, at: TopicPartition) -> Option<Offset> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = |r: &Reader| r.shared.lock().cursors.get(&at).filter(|c| c.failed.is_none()).map(|c| c.tail);
        clients.iter().filter_map(tail).max()
    }

    /// See [`log::Log::fetch`]. `give_up` is asked now and then while it waits for the cluster.
    pub fn fetch(
        &self,
        at: TopicPartition,
        from: Offset,
        max_bytes: usize,
        bounds: impl Fn() -> Result<(Offset, Offset), LogError>,
        give_up: impl Fn(Instant) -> Option<LogError>,
    ) -> Result<Fetch, LogError> {
        let begun = Instant::now();
        loop {
            let (shared, placed) = match self.at(at, from) {
                Some(shared) => (shared, false),
                None => {
                    let (start, end) = bounds()?;
                    if from < start || from > end {
                        return Err(LogError::OutOfRange { partition: at, asked: from, start, end });
                    }
                    (self.place(at, from).map_err(|what| LogError::Stopped(format!("no consumer: {what}")))?, true)
                }
            };
            // Who reads on takes what there is; else there is something, or the end, to be waited for.
            let known = self.known(at);
            let wait = placed || from < known;
            match shared.take(at, from, max_bytes, known, wait, || give_up(begun)) {
                Ok(fetch) => return fetch,
                Err(Nothing::Lost) => {}
                Err(Nothing::Failed(code)) => {
                    let (start, end) = bounds()?;
                    if from < start || from > end {
                        return Err(LogError::OutOfRange { partition: at, asked: from, start, end });
                    }
                    tracing::info!(target: "kafka", %at, from, "reading again: {}", words(code));
                    if let Some(e) = give_up(begun) {
                        return Err(e);
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// See [`log::Log::read_ahead`]. Where the position is outside of the partition, who reads it is told.
    pub fn read_ahead(&self, at: TopicPartition, from: Offset) {
        if self.at(at, from).is_none() {
            // Who reads it tries again, and says why it fails.
            let _ = self.place(at, from);
        }
    }

    pub fn close(&self) {
        let clients = std::mem::take(&mut *self.clients.lock().unwrap_or_else(PoisonError::into_inner));
        drop(clients);
    }

    /// The client with a cursor there.
    fn at(&self, at: TopicPartition, from: Offset) -> Option<Arc<Shared>> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |r: &&Reader| r.shared.lock().cursors.get(&at).is_some_and(|c| c.failed.is_none() && c.covers(from));
        clients.iter().find(fits).map(|r| r.shared.clone())
    }

    /// Places a cursor.
    fn place(&self, at: TopicPartition, from: Offset) -> Result<Arc<Shared>, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |r: &Reader| r.shared.lock().cursors.get(&at).map_or(Duration::MAX, |c| c.used.elapsed());
        let longest = clients.iter().enumerate().map(|(n, r)| (idle(r), n)).max();
        let n = match longest {
            Some((idle, n)) if idle > IDLE || clients.len() >= CLIENTS_MAX => n,
            _ => {
                let id = format!("{}reader-{}-{}", self.config.prefix, self.config.slot, clients.len());
                clients.push(Reader::start(&self.config, &id, self.news.clone())?);
                clients.len() - 1
            }
        };
        let shared = clients[n].shared.clone();
        let mut state = shared.lock();
        let cursor = Cursor::at(from);
        if let Some(old) = state.cursors.insert(at, cursor) {
            state.bytes -= old.ahead;
        }
        state.moves.push((at, Some(from)));
        drop(state);
        shared.changed.notify_all();
        Ok(shared)
    }
}

impl Cursor {
    fn at(from: Offset) -> Cursor {
        let now = Instant::now();
        Cursor {
            chunks: VecDeque::new(),
            floor: from,
            next: from,
            behind: 0,
            ahead: 0,
            tail: from,
            at_end: false,
            failed: None,
            used: now,
            heard: now,
            missed: None,
        }
    }

    fn covers(&self, from: Offset) -> bool {
        self.floor <= from && from <= self.tail
    }

    /// What follows in a partition.
    fn push(&mut self, chunk: Chunk) {
        self.ahead += chunk.bytes.len();
        self.chunks.push_back(chunk);
    }

    /// What there is from a position on, up to a number of bytes, and where to go on.
    fn read(&mut self, from: Offset, max_bytes: usize) -> (Vec<Chunk>, Offset) {
        let (mut chunks, mut next, mut bytes) = (Vec::new(), from, 0);
        let mut at = self.chunks.partition_point(|c| c.next() <= from);
        while bytes < max_bytes.max(1)
            && let Some(chunk) = self.chunks.get(at)
        {
            let chunk = from_on(chunk.clone(), from);
            bytes += chunk.bytes.len();
            next = chunk.next();
            chunks.push(chunk);
            at += 1;
        }
        if at == self.chunks.len() && self.at_end {
            // Positions that hold nothing, as marks of transactions are.
            next = self.tail;
        }
        self.pass(next);
        (chunks, next)
    }

    /// Somebody has read up to there.
    fn pass(&mut self, to: Offset) {
        if to <= self.next {
            return;
        }
        let passed = self.chunks.iter().rev().skip_while(|c| c.next() > to).take_while(|c| c.next() > self.next);
        let bytes: usize = passed.map(|c| c.bytes.len()).sum();
        self.ahead -= bytes;
        self.behind += bytes;
        self.next = to;
        while self.behind > BEHIND_MAX
            && let Some(chunk) = self.chunks.pop_front()
        {
            self.behind -= chunk.bytes.len();
            self.floor = chunk.next();
        }
    }
}

impl State {
    /// What nobody used for long is given up: where too much is read ahead, sooner; and where somebody waits for records, what was not
    /// used since he came: he would wait for good. Whoever comes back for it is placed anew.
    fn make_room(&mut self) {
        let unused: Vec<_> =
            self.cursors.iter().filter(|(_, c)| c.used.elapsed() > UNUSED).map(|(at, _)| *at).collect();
        unused.into_iter().for_each(|at| self.give_up(at));
        while self.bytes > AHEAD_MAX {
            let waits = self.cursors.values().filter(|c| c.ahead == 0 && !c.at_end && c.failed.is_none());
            let since = waits.map(|c| c.used.elapsed()).filter(|since| *since < IDLE).max();
            let (at, idle) =
                match self.cursors.iter().filter(|(_, c)| c.ahead > 0).max_by_key(|(_, c)| c.used.elapsed()) {
                    Some((at, longest)) => (*at, longest.used.elapsed()),
                    None => return,
                };
            if idle <= IDLE && since.is_none_or(|since| idle <= since) {
                return;
            }
            self.give_up(at);
        }
    }

    fn give_up(&mut self, at: TopicPartition) {
        if let Some(gone) = self.cursors.remove(&at) {
            self.bytes -= gone.ahead;
            self.moves.push((at, None));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(
        &self,
        at: TopicPartition,
        from: Offset,
        max_bytes: usize,
        known: Offset,
        wait: bool,
        give_up: impl Fn() -> Option<LogError>,
    ) -> Result<Result<Fetch, LogError>, Nothing> {
        let mut state = self.lock();
        loop {
            let cursor = state.cursors.get_mut(&at).filter(|c| c.covers(from)).ok_or(Nothing::Lost)?;
            cursor.used = Instant::now();
            if let Some(code) = cursor.failed {
                return Err(Nothing::Failed(code));
            }
            let before = cursor.ahead;
            let (chunks, next) = cursor.read(from, max_bytes);
            let end = known.max(if cursor.at_end { cursor.tail } else { cursor.tail + 1 });
            let there = !chunks.is_empty() || next > from || cursor.at_end && from >= known;
            let taken = before - cursor.ahead;
            let fetch = Fetch { chunks, next, end };
            let was_full = state.bytes > AHEAD_MAX;
            state.bytes -= taken;
            if was_full && taken > 0 {
                self.changed.notify_all();
            }
            if there || !wait {
                return Ok(Ok(fetch));
            }
            state = self.changed.wait_timeout(state, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            if let Some(e) = give_up() {
                return Ok(Err(e));
            }
        }
    }
}

/// The part of a chunk from a position on.
fn from_on(chunk: Chunk, from: Offset) -> Chunk {
    if chunk.base >= from {
        return chunk;
    }
    let mut walk = records(&chunk.bytes);
    let skipped = (chunk.base..from).take_while(|_| matches!(walk.next(), Some(Ok(_)))).count() as u32;
    let at = walk.position();
    Chunk { base: from, count: chunk.count - skipped, bytes: chunk.bytes.slice(at..) }
}

impl Reader {
    fn start(config: &KafkaConfig, id: &str, news: watch::Sender<u64>) -> Result<Reader, String> {
        let client = Client::new(&config.consumer(id, "reader"), Kind::Consumer, Quiet)?;
        let queue = Queue::new(*client, BATCH);
        let shared =
            Arc::new(Shared { client, state: Mutex::default(), changed: Condvar::new(), stop: AtomicBool::new(false) });
        let names = TOPICS.iter().map(|t| (config.topic(t.id), t.id)).collect();
        let polled = shared.clone();
        let thread = std::thread::Builder::new()
            .name("kafka-read".to_owned())
            .spawn(move || Poll { shared: polled, queue, names, news }.run())
            .map_err(|e| e.to_string())?;
        Ok(Reader { shared, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread of a client.
struct Poll {
    shared: Arc<Shared>,
    queue: Queue,
    names: Vec<(String, TopicId)>,
    news: watch::Sender<u64>,
}

/// What was read of one partition in one go.
struct Incoming {
    at: TopicPartition,
    chunks: Vec<Chunk>,
    base: Offset,
    open: Option<BlockBuilder>,
    tail: Offset,
    at_end: bool,
    failed: Option<Code>,
}

impl Poll {
    fn run(mut self) {
        let mut incoming: Vec<Incoming> = Vec::new();
        while !self.shared.stop.load(Relaxed) {
            self.move_cursors();
            self.look_after_the_silent();
            {
                let mut state = self.shared.lock();
                state.make_room();
                if state.bytes > AHEAD_MAX {
                    let _ = self.shared.changed.wait_timeout(state, POLL);
                    continue;
                }
            }
            let names = &self.names;
            self.queue.read(POLL, |message| take_in(names, &mut incoming, &message));
            if !incoming.is_empty() {
                self.hand_over(&mut incoming);
            }
        }
    }

    /// IMPORTANT: between two reads, so that what was fetched for the place before is not taken for the place after.
    fn move_cursors(&self) {
        let moves = std::mem::take(&mut self.shared.lock().moves);
        for (at, from) in moves {
            let topic = self.names.iter().find(|(_, id)| *id == at.topic).map_or("", |(name, _)| name);
            let mut list = List::new();
            list.add(topic, at.partition as i32, from.unwrap_or(0) as i64);
            // It fails where there was none before.
            let _ = self.shared.client.assign_less(&list);
            if from.is_some()
                && let Err(why) = self.shared.client.assign_more(&list)
            {
                tracing::warn!(target: "kafka", %at, "cannot be read: {why}");
                if let Some(cursor) = self.shared.lock().cursors.get_mut(&at) {
                    cursor.failed = Some(why.code);
                }
            }
        }
    }

    /// One at a time: a cursor from which nothing came although its partition went on, twice in a row, is placed anew.
    fn look_after_the_silent(&self) {
        let silent = |c: &Cursor| {
            let patience = if c.missed.is_some() { MISSED } else { SILENT };
            c.failed.is_none() && c.used.elapsed() < IDLE && c.heard.elapsed() > patience
        };
        let found = {
            let mut state = self.shared.lock();
            // Where there is no room nothing comes.
            if state.bytes > AHEAD_MAX {
                return;
            }
            let found = state.cursors.iter_mut().find(|(_, c)| silent(c));
            found.map(|(at, c)| {
                c.heard = Instant::now();
                *at
            })
        };
        let Some(at) = found else { return };
        let Some((topic, _)) = self.names.iter().find(|(_, id)| *id == at.topic) else { return };
        let Ok((_, end)) = self.shared.client.watermarks(topic, at.partition, LOOK) else { return };
        let mut state = self.shared.lock();
        let Some(cursor) = state.cursors.get_mut(&at).filter(|c| c.failed.is_none()) else { return };
        if cursor.missed.is_some_and(|missed| missed > cursor.tail) {
            tracing::info!(target: "kafka", %at, tail = cursor.tail, end, "nothing comes although there is more: read anew");
            cursor.missed = None;
            let tail = cursor.tail;
            state.moves.push((at, Some(tail)));
        } else {
            cursor.missed = (end > cursor.tail).then_some(end);
        }
    }

    fn hand_over(&self, incoming: &mut Vec<Incoming>) {
        let mut state = self.shared.lock();
        for mut new in incoming.drain(..) {
            new.close();
            // A cursor that was placed meanwhile waits for what comes after the move.
            if state.moves.iter().any(|(at, _)| *at == new.at) {
                continue;
            }
            let Some(cursor) = state.cursors.get_mut(&new.at) else { continue };
            cursor.heard = Instant::now();
            if new.failed.is_some() {
                cursor.failed = new.failed;
            } else if new.tail >= cursor.tail {
                let mut bytes = 0;
                // What is there already may come again.
                let tail = cursor.tail;
                for chunk in new.chunks.into_iter().filter(|c| c.next() > tail) {
                    let chunk = from_on(chunk, tail);
                    bytes += chunk.bytes.len();
                    cursor.push(chunk);
                }
                cursor.tail = new.tail;
                cursor.at_end = new.at_end;
                state.bytes += bytes;
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        self.news.send_modify(|n| *n += 1);
    }
}

fn take_in(names: &[(String, TopicId)], incoming: &mut Vec<Incoming>, message: &Message<'_>) {
    let topic = message.topic();
    let Some((_, id)) = names.iter().find(|(name, _)| name == topic) else {
        if let Err(code) = message.result() {
            tracing::info!(target: "kafka", "a reader: {}", words(code));
        }
        return;
    };
    let at = id.partition(message.partition().max(0) as u32);
    let n = incoming.iter().position(|i| i.at == at).unwrap_or_else(|| {
        incoming.push(Incoming { at, chunks: Vec::new(), base: 0, open: None, tail: 0, at_end: false, failed: None });
        incoming.len() - 1
    });
    let of = &mut incoming[n];
    match message.result() {
        Ok(()) => of.push(message),
        Err(Code::RD_KAFKA_RESP_ERR__PARTITION_EOF) => {
            of.tail = of.tail.max(message.offset());
            of.at_end = true;
        }
        Err(
            code @ (Code::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET
            | Code::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE
            | Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION
            | Code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC),
        ) => of.failed = Some(code),
        // The client tries again by itself.
        Err(code) => tracing::info!(target: "kafka", %at, "{}", words(code)),
    }
}

impl Incoming {
    fn push(&mut self, message: &Message<'_>) {
        let offset = message.offset();
        let size = self.open.as_ref().map_or(0, BlockBuilder::len);
        let follows = self.open.as_ref().is_some_and(|b| self.base + Offset::from(b.count()) == offset);
        if !follows || size >= CHUNK_MAX {
            self.close();
        }
        let block = self.open.get_or_insert_with(|| {
            self.base = offset;
            BlockBuilder::new(self.at)
        });
        let header = message.header(HEADER).unwrap_or_default();
        let key = message.key().unwrap_or_default();
        // Longer ones are nobody's of ours.
        let key = &key[..key.len().min(0xffff)];
        let header = if header.len() > 0xffff { &[][..] } else { header };
        match message.value() {
            Some(value) => block.push(key, header, Some(&[value])),
            None => block.push(key, header, None),
        }
        self.tail = offset + 1;
        self.at_end = false;
    }

    fn close(&mut self) {
        if let Some(block) = self.open.take() {
            let block = block.finish();
            self.chunks.push(Chunk { base: self.base, count: block.count, bytes: block.bytes });
        }
    }
}

#[cfg(test)]
mod tests {
    use event::topic::RAW;

    use super::*;

    fn cursor(bytes: usize, used_ago: Duration) -> Cursor {
        let mut cursor = Cursor::at(0);
        if bytes > 0 {
            cursor.push(Chunk { base: 0, count: 1, bytes: vec![0; bytes].into() });
            cursor.tail = 1;
        }
        cursor.used = Instant::now().checked_sub(used_ago).expect("the machine has run for some seconds");
        cursor
    }

    fn left(cursors: &[(usize, u64)]) -> Vec<u32> {
        let cursors = (0..)
            .zip(cursors)
            .map(|(p, (mib, ago_ms))| (RAW.partition(p), cursor(mib << 20, Duration::from_millis(*ago_ms))));
        let cursors: HashMap<_, _> = cursors.collect();
        let bytes = cursors.values().map(|c| c.ahead).sum();
        let mut state = State { cursors, moves: Vec::new(), bytes };
        state.make_room();
        assert_eq!(state.bytes, state.cursors.values().map(|c| c.ahead).sum::<usize>());
        let mut left: Vec<u32> = state.cursors.keys().map(|at| at.partition).collect();
        left.sort_unstable();
        let mut gone: Vec<u32> = state
            .moves
            .iter()
            .map(|(at, to)| (at.partition, to))
            .map(|(p, to)| {
                assert_eq!(*to, None);
                p
            })
            .collect();
        gone.extend(&left);
        gone.sort_unstable();
        assert_eq!(gone, (0..gone.len() as u32).collect::<Vec<_>>(), "what is given up is moved away, once");
        left
    }

    /// Somebody looked into one partition after the other, and waits in the last.
    #[test]
    fn who_waits_is_not_kept_waiting_by_what_was_read_ahead_for_nobody() {
        assert_eq!(left(&[(30, 400), (30, 300), (30, 200), (0, 0)]), [1, 2, 3]);
        assert_eq!(left(&[(70, 300), (0, 0)]), [1]);
    }

    #[test]
    fn what_is_in_use_stays_while_nobody_waits() {
        assert_eq!(left(&[(40, 400), (40, 0)]), [0, 1]);
        assert_eq!(left(&[(40, 6_000), (40, 0)]), [1], "nobody came back for it");
        assert_eq!(left(&[(10, 10_000), (10, 0), (0, 0)]), [0, 1, 2], "there is room");
        assert_eq!(left(&[(10, 60_000), (10, 0), (0, 0)]), [1, 2], "nobody will come any more");
        // He went away himself.
        assert_eq!(left(&[(40, 400), (40, 0), (0, 10_000)]), [0, 1, 2]);
    }

    /// `numbers` records of some bytes each, one a chunk, with a hole behind each.
    fn filled(numbers: Offset, bytes: usize) -> Cursor {
        let mut cursor = Cursor::at(0);
        for base in (0..numbers).map(|n| n * 2) {
            let mut block = BlockBuilder::new(RAW.partition(0));
            block.push(&vec![0; bytes.min(60_000)], b"h", None);
            cursor.push(Chunk { base, count: 1, bytes: block.finish().bytes });
            cursor.tail = base + 1;
        }
        cursor
    }

    #[test]
    fn who_comes_a_little_later_reads_the_same() {
        let mut cursor = filled(10, 10_000);
        let all = cursor.ahead;
        let (first, next) = cursor.read(0, 1 << 20);
        assert_eq!((first.len(), next), (10, 19));
        assert_eq!((cursor.ahead, cursor.behind), (0, all));
        let (again, next) = cursor.read(7, 1);
        assert_eq!((again[0].base, next), (8, 9), "7 is a hole");
        let (rest, next) = cursor.read(9, 1 << 20);
        assert_eq!((rest.len(), next), (5, 19));
        cursor.at_end = true;
        cursor.tail = 25;
        assert_eq!(cursor.read(19, 1).1, 25, "nothing is in between");
        assert_eq!(cursor.read(9, 1 << 20).1, 25);
        assert_eq!((cursor.ahead, cursor.behind), (0, all));
    }

    #[test]
    fn who_begins_within_a_chunk_gets_the_rest_of_it() {
        let mut block = BlockBuilder::new(RAW.partition(0));
        (0..3).for_each(|n: u8| block.push(&[n], b"h", None));
        let mut cursor = Cursor::at(5);
        cursor.push(Chunk { base: 5, count: 3, bytes: block.finish().bytes });
        cursor.tail = 8;
        let (rest, next) = cursor.read(6, 1);
        assert_eq!((rest[0].base, rest[0].count, next), (6, 2, 8));
        let keys: Vec<_> = rest[0].records().flatten().map(|(at, r)| (at, r.key.to_vec())).collect();
        assert_eq!(keys, [(6, vec![1]), (7, vec![2])]);
        assert_eq!(cursor.read(5, 1).0[0].count, 3, "who comes later gets all");
    }

    #[test]
    fn what_was_read_does_not_stay_for_ever() {
        let mut cursor = filled(100, 60_000);
        assert!(cursor.covers(0));
        cursor.read(0, usize::MAX);
        assert!(cursor.behind <= BEHIND_MAX && cursor.behind > BEHIND_MAX / 2);
        assert!(!cursor.covers(0) && cursor.covers(199) && cursor.covers(190));
        let (late, _) = cursor.read(cursor.floor, usize::MAX);
        assert_eq!(late.first().map(|c| c.base / 2), Some(100 - late.len() as Offset));
    }
}
