//! Which visitor was last seen with a user: the link that joins what a server says of somebody, by user, to what their
//! browser said, by visitor. It lives in memory, is fed from `raw`, and is asked by enrich; what was answered is a fact of
//! the enriched event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event::Micros;
use event::json::write_string;
use flow::Status;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use crate::reload::{Answer, ReloadReport, Source};

/// Times a user's visitors are kept for: a person has a browser or two in half an hour; beyond this the oldest goes.
const SPANS_MAX: usize = 8;
/// What an entry takes beside its visitors' bytes: the slot of the table and the list.
const ENTRY_BYTES: usize = 64;
/// What a span takes beside its visitor's bytes.
const SPAN_BYTES: usize = 48;

/// The links of all users who were seen lately. Shared: fed and asked at once.
#[derive(Clone)]
pub struct Links(Arc<Inner>);

struct Inner {
    gap_us: i64,
    bytes_max: usize,
    held: Mutex<Held>,
}

/// Two halves: when the newer one is full, the older one goes, so that who was seen lately stays.
#[derive(Default)]
struct Held {
    now: Half,
    before: Half,
}

#[derive(Default)]
struct Half {
    users: HashMap<u128, Vec<Span>>,
    bytes: usize,
}

/// A visitor was seen with the user from then to then, with no pause longer than the gap and nobody else in between.
struct Span {
    visitor: Box<[u8]>,
    from: Micros,
    to: Micros,
}

impl Links {
    /// `gap_us`: a link holds for this long after the visitor was seen, in microseconds. `bytes_max`: memory; who was seen
    /// longest ago is forgotten.
    pub fn new(gap_us: i64, bytes_max: usize) -> Links {
        Links(Arc::new(Inner { gap_us, bytes_max, held: Mutex::default() }))
    }

    /// An event of `visitor` named `user` at this time.
    pub fn saw(&self, user: &[u8], visitor: &[u8], at: Micros) {
        let key = xxh3_128(user);
        let mut held = self.held();
        let mut spans = held.now.take(key).or_else(|| held.before.take(key)).unwrap_or_default();
        note(&mut spans, visitor, at, self.0.gap_us);
        held.now.put(key, spans);
        if held.now.bytes > self.0.bytes_max / 2 {
            held.before = std::mem::take(&mut held.now);
        }
    }

    /// The visitor last seen with `user` at or before `at`, within the gap.
    pub fn visitor(&self, user: &[u8], at: Micros) -> Option<Vec<u8>> {
        let key = xxh3_128(user);
        let held = self.held();
        let spans = held.now.users.get(&key).or_else(|| held.before.users.get(&key))?;
        let holds = |s: &&Span| s.from <= at && at.0.saturating_sub(s.to.0) <= self.0.gap_us;
        spans.iter().filter(holds).max_by_key(|s| (s.to.min(at), s.from)).map(|s| s.visitor.to_vec())
    }

    /// Whether more can be learned without anybody being forgotten.
    pub fn has_room(&self) -> bool {
        let held = self.held();
        held.now.bytes + held.before.bytes < self.0.bytes_max / 2
    }

    /// Users that are known.
    pub fn len(&self) -> usize {
        let held = self.held();
        held.now.users.len() + held.before.users.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Half {
    fn take(&mut self, key: u128) -> Option<Vec<Span>> {
        let spans = self.users.remove(&key)?;
        self.bytes -= bytes_of(&spans);
        Some(spans)
    }

    fn put(&mut self, key: u128, spans: Vec<Span>) {
        self.bytes += bytes_of(&spans);
        self.users.insert(key, spans);
    }
}

fn bytes_of(spans: &[Span]) -> usize {
    ENTRY_BYTES + spans.iter().map(|s| SPAN_BYTES + s.visitor.len()).sum::<usize>()
}

fn note(spans: &mut Vec<Span>, visitor: &[u8], at: Micros, gap_us: i64) {
    let near = |s: &Span| at.0 >= s.from.0.saturating_sub(gap_us) && at.0 <= s.to.0.saturating_add(gap_us);
    // Somebody else in between ends a span: who was seen last must stay the one that is found.
    let between = |s: &Span| {
        let (low, high) = (s.to.min(at), s.from.max(at));
        spans.iter().any(|o| *o.visitor != *s.visitor && o.to >= low && o.from <= high)
    };
    let own =
        spans.iter().position(|s| *s.visitor == *visitor && near(s) && (at >= s.from && at <= s.to || !between(s)));
    match own {
        Some(n) => {
            let span = &mut spans[n];
            (span.from, span.to) = (span.from.min(at), span.to.max(at));
        }
        None => {
            if spans.len() == SPANS_MAX {
                let oldest = (0..spans.len()).min_by_key(|n| spans[*n].to).unwrap_or(0);
                spans.swap_remove(oldest);
            }
            spans.push(Span { visitor: visitor.into(), from: at, to: at });
        }
    }
}

/// What enrich asks by: the time, then the user.
pub fn key(user: &[u8], at: Micros, out: &mut Vec<u8>) {
    out.extend_from_slice(&at.0.to_le_bytes());
    out.extend_from_slice(user);
}

impl Answer for Links {
    /// The visitor as a JSON string.
    fn answer(&self, key: &[u8], out: &mut Vec<u8>) -> Status {
        let Some((at, user)) = key.split_first_chunk::<8>() else { return Status::Error("bad_key") };
        match self.visitor(user, Micros(i64::from_le_bytes(*at))) {
            Some(visitor) => {
                write_string(&visitor, out);
                Status::Ok
            }
            None => Status::Miss,
        }
    }

    fn versions(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Source for Links {
    fn pin(&self) -> Arc<dyn Answer> {
        Arc::new(self.clone())
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn reload_if_changed(&self) -> ReloadReport {
        ReloadReport::default()
    }

    fn refused(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(links: &Links, at: i64) -> Option<String> {
        links.visitor(b"u", Micros(at)).map(|v| String::from_utf8(v).expect("text"))
    }

    #[test]
    fn the_visitor_last_seen_at_or_before_within_the_gap_is_found() {
        let links = Links::new(100, 1 << 20);
        links.saw(b"u", b"a", Micros(1000));
        assert_eq!(found(&links, 999), None, "not yet seen");
        assert_eq!(found(&links, 1000).as_deref(), Some("a"));
        assert_eq!(found(&links, 1100).as_deref(), Some("a"), "exactly the gap later");
        assert_eq!(found(&links, 1101), None);
        links.saw(b"u", b"a", Micros(1090));
        assert_eq!(found(&links, 1190).as_deref(), Some("a"));
        assert_eq!(links.visitor(b"other", Micros(1000)), None);
    }

    #[test]
    fn two_browsers_in_turn_are_told_apart_by_time() {
        let links = Links::new(100, 1 << 20);
        for (visitor, at) in [(b"a", 0), (b"b", 5), (b"a", 10), (b"b", 15)] {
            links.saw(b"u", visitor, Micros(at));
        }
        let all: Vec<_> = [0, 4, 5, 9, 10, 14, 15, 115].map(|at| found(&links, at).unwrap_or_default()).into();
        assert_eq!(all, ["a", "a", "b", "b", "a", "a", "b", "b"]);
    }

    #[test]
    fn memory_is_bounded_and_who_was_seen_lately_stays() {
        let links = Links::new(1_000_000, 100_000);
        for n in 0..10_000 {
            links.saw(format!("user {n}").as_bytes(), b"a visitor of twenty b", Micros(n));
        }
        assert!(links.len() * (ENTRY_BYTES + SPAN_BYTES + 20) <= 100_000, "{}", links.len());
        assert!(links.visitor(b"user 9999", Micros(10_000)).is_some());
        assert!(links.visitor(b"user 1", Micros(10_000)).is_none());
    }

    #[test]
    fn a_user_with_many_browsers_costs_a_bounded_list() {
        let links = Links::new(1_000_000, 1 << 20);
        for n in 0..1000 {
            links.saw(b"u", format!("v{n}").as_bytes(), Micros(n));
        }
        assert_eq!(found(&links, 1000).as_deref(), Some("v999"));
        assert_eq!(links.held().now.users.values().map(Vec::len).max(), Some(SPANS_MAX));
    }
}
