//! A source of facts that is slow, fails, lies, or comes and goes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flow::Status;
use lookup::{Answer, ReloadReport, Source};
use ouzel_gen::Rng;

use super::SimClock;

/// What a source does with a question at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It answers truly.
    Well,
    /// It takes so long.
    Slow(Duration),
    /// It fails on each question.
    Down,
    /// It fails on every other question.
    Flapping,
    /// It answers something that is no answer to the question.
    Lying,
}

/// Says of every key what its hash says: `{"n":7}`.
#[derive(Clone)]
pub struct SimSource(Arc<Inner>);

struct Inner {
    clock: Arc<SimClock>,
    state: Mutex<(Mood, Rng)>,
    /// Grows with every reload.
    version: AtomicU64,
    asked: AtomicU64,
}

impl SimSource {
    pub fn new(clock: Arc<SimClock>, seed: u64) -> SimSource {
        let state = Mutex::new((Mood::Well, Rng::new(seed)));
        SimSource(Arc::new(Inner { clock, state, version: AtomicU64::new(1), asked: AtomicU64::new(0) }))
    }

    pub fn set(&self, mood: Mood) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).0 = mood;
    }

    /// A new version of its data.
    pub fn reload(&self) {
        self.0.version.fetch_add(1, Relaxed);
    }

    /// Questions so far.
    pub fn asked(&self) -> u64 {
        self.0.asked.load(Relaxed)
    }
}

impl Source for SimSource {
    fn pin(&self) -> Arc<dyn Answer> {
        let version = self.epoch();
        Arc::new(Pinned { source: self.clone(), version: format!("v{version}") })
    }

    fn epoch(&self) -> u64 {
        self.0.version.load(Relaxed)
    }

    fn reload_if_changed(&self) -> ReloadReport {
        ReloadReport::default()
    }

    fn refused(&self) -> Vec<String> {
        Vec::new()
    }
}

struct Pinned {
    source: SimSource,
    version: String,
}

impl Answer for Pinned {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        let inner = &self.source.0;
        inner.asked.fetch_add(1, Relaxed);
        let (mood, rng) = &mut *inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *mood {
            Mood::Down => return Status::Timeout,
            Mood::Flapping if rng.below(2) == 0 => return Status::Timeout,
            Mood::Slow(by) => inner.clock.advance(by),
            Mood::Lying => {
                out.extend_from_slice(br#"{"n":null,"lie":"\u0000\"}{","deep":[[[[]]]]}"#);
                return Status::Ok;
            }
            Mood::Well | Mood::Flapping => {}
        }
        let hash = event::key::hash64(key);
        if hash.is_multiple_of(7) {
            return Status::Miss;
        }
        out.extend_from_slice(format!("{{\"n\":{}}}", hash % 1000).as_bytes());
        Status::Ok
    }

    fn versions(&self) -> Vec<&str> {
        vec![&self.version]
    }
}
