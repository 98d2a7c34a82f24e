//! A source of facts that is slow, fails, lies, or comes and goes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ask::{Answer as Told, FailureKind};
use flow::Status;
use lookup::{Answer, Key, ReloadReport, Source};
use ouzel_gen::Rng;

use super::lookup::Reply;

/// What a source does with a question at present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// It answers truly.
    Well,
    /// It takes up to so long.
    Slow(Duration),
    /// It refuses each question, or leaves it without an answer.
    Down,
    /// It does so with every other question.
    Flapping,
    /// It answers something that is no answer to the question.
    Lying,
}

/// Says of every key what its hash says: `{"n":7}`. It is asked over a connection ([`SimSource::reply`]), or as if it were a
/// file; a file is always well.
#[derive(Clone)]
pub struct SimSource(Arc<Inner>);

struct Inner {
    state: Mutex<(Mood, Rng)>,
    /// Grows with every reload.
    version: AtomicU64,
    asked: AtomicU64,
}

impl SimSource {
    pub fn new(seed: u64) -> SimSource {
        let state = Mutex::new((Mood::Well, Rng::new(seed)));
        SimSource(Arc::new(Inner { state, version: AtomicU64::new(1), asked: AtomicU64::new(0) }))
    }

    pub fn set(&self, mood: Mood) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).0 = mood;
    }

    /// A new version of its data.
    pub fn reload(&self) {
        self.0.version.fetch_add(1, Relaxed);
    }

    /// What a call comes to, and after how many microseconds; `None`: nobody answers it.
    pub fn reply(&self, keys: &[Key]) -> Option<(u64, Reply)> {
        let inner = &self.0;
        inner.asked.fetch_add(keys.len() as u64, Relaxed);
        let (mood, rng) = &mut *inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        let after = match *mood {
            // Now and then one takes longer than anybody waits.
            _ if rng.below(50) == 0 => rng.between(20_000, 90_000),
            Mood::Slow(by) => rng.below(by.as_micros() as u64 + 1),
            _ => rng.between(200, 6_000),
        };
        let fails = *mood == Mood::Down || *mood == Mood::Flapping && rng.below(2) == 0;
        if fails {
            let kinds = [FailureKind::Connection, FailureKind::Status(503), FailureKind::Timeout];
            let kind = kinds[rng.below(3) as usize];
            return (kind != FailureKind::Timeout).then(|| (after, Err(kind.into())));
        }
        let mut answers: Vec<(Key, Told)> = Vec::new();
        for key in keys {
            let told = match (*mood, value(key)) {
                (Mood::Lying, _) => Told::Value(LIE.into()),
                (_, Some(json)) => Told::Value(json.into_bytes().into()),
                (_, None) => Told::NotFound,
            };
            answers.push((key.clone(), told));
        }
        // In no order: whose answer it is stands with it.
        let turn = rng.below(answers.len() as u64) as usize;
        answers.rotate_left(turn);
        Some((after, Ok(answers)))
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

/// What a source that lies says.
pub const LIE: &[u8] = br#"{"n":null,"lie":"\u0000\"}{","deep":[[[[]]]]}"#;

/// What is true of a key; `None`: nothing is known of it.
pub fn value(key: &[u8]) -> Option<String> {
    let hash = event::key::hash64(key);
    (!hash.is_multiple_of(7)).then(|| format!("{{\"n\":{}}}", hash % 1000))
}

struct Pinned {
    source: SimSource,
    version: String,
}

impl Answer for Pinned {
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        self.source.0.asked.fetch_add(1, Relaxed);
        let Some(json) = value(key) else { return Status::Miss };
        out.extend_from_slice(json.as_bytes());
        Status::Ok
    }

    fn versions(&self) -> Vec<&str> {
        vec![&self.version]
    }
}
