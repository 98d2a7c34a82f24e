//! One regular expression of an operator's file, matched in bounded time and memory.
//!
//! A pattern that is plain text is looked for as text. Any other becomes one automaton with two engines on it: a lazy DFA
//! says whether it matches, in one pass whatever the pattern, and a backtracker with a bit for each state and byte says
//! where its groups are, for the one pattern that is wanted.
//!
//! Classes (`\d`, `\w`) are ASCII, a dot is any byte but a line feed, and a bound of 100 and more on a single character's
//! repetition is none: such bounds keep backtracking engines from exploding, which these do not.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use regex_automata::Input;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, backtrack};
use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::{Hir, HirKind, Literal, Repetition};

use crate::sieve::Need;

/// Bytes of text that are matched. Of 2,084 published agents the longest has 517.
pub(crate) const TEXT_MAX: usize = 1024;

/// Bytes of one pattern's automaton. The largest of uap-core's has 60 KiB.
const AUTOMATON_MAX: usize = 512 << 10;

/// Bytes of states a lazy DFA remembers before it forgets them all. Most patterns come by with a hundredth; a few with long
/// lists of names are ten times slower with a quarter.
const STATES_MAX: usize = 512 << 10;

/// Bytes of states that all patterns of a file remember. Ordinary agents make it 1 MiB for uap-core's; what this bounds
/// is the memory that hostile texts can make of many patterns.
const ALL_STATES_MAX: usize = 16 << 20;

/// Levels of groups in a pattern; what reads it is recursive.
const NEST_MAX: u32 = 64;

/// Bounds of repetition that only backtracking engines need: uap-core writes `.{0,200}`.
const BOUND_MIN: u32 = 100;

/// What the patterns of a file remember together.
#[derive(Default)]
pub(crate) struct Remembered(AtomicUsize);

impl Remembered {
    /// To be called now and then: lets all patterns forget when it has become too much.
    pub(crate) fn bound<'p>(&self, patterns: impl IntoIterator<Item = &'p Pattern>) {
        if self.0.load(Ordering::Relaxed) > ALL_STATES_MAX {
            patterns.into_iter().for_each(|p| p.forget(self));
        }
    }
}

pub(crate) struct Pattern {
    engine: Engine,
    groups: usize,
}

enum Engine {
    Text(Box<str>),
    Automaton(Box<Automaton>),
}

struct Automaton {
    dfa: DFA,
    backtracker: backtrack::BoundedBacktracker,
    /// One for all threads, so that memory does not grow with them; it is held for less than a microsecond, and only by
    /// texts that were not seen before.
    cache: Mutex<Option<Box<Cache>>>,
}

impl Pattern {
    /// The pattern, and what a text must have in it to match. The error says what is wrong, and at which character.
    pub(crate) fn parse(text: &str, any_case: bool) -> Result<(Pattern, Need), String> {
        let mut parser = regex_syntax::ParserBuilder::new();
        parser.unicode(false).utf8(false).nest_limit(NEST_MAX).case_insensitive(any_case);
        let hir = loosened(parser.build().parse(text).map_err(|e| plain(&e))?);
        let need = Need::of(&hir);
        let groups = hir.properties().explicit_captures_len();
        let engine = match plain_text(&hir) {
            Some(text) => Engine::Text(text.into()),
            None => Engine::Automaton(Box::new(Automaton::build(&hir)?)),
        };
        Ok((Pattern { engine, groups }, need))
    }

    /// Groups in it, without the whole match.
    pub(crate) fn groups(&self) -> usize {
        self.groups
    }

    /// Whether it matches `text`, of at most [`TEXT_MAX`] bytes.
    pub(crate) fn is_match(&self, text: &str, remembered: &Remembered) -> bool {
        match &self.engine {
            Engine::Text(wanted) => text.contains(&**wanted),
            Engine::Automaton(automaton) => automaton.is_match(text, remembered),
        }
    }

    /// Where the first match and its groups are in `text`, of at most [`TEXT_MAX`] bytes.
    pub(crate) fn captures(&self, text: &str) -> Option<Captures> {
        match &self.engine {
            Engine::Text(wanted) => {
                let start = text.find(&**wanted)?;
                Some(Captures(vec![NonMaxUsize::new(start), NonMaxUsize::new(start + wanted.len())]))
            }
            Engine::Automaton(automaton) => automaton.captures(text),
        }
    }

    fn forget(&self, remembered: &Remembered) {
        let Engine::Automaton(automaton) = &self.engine else { return };
        let cache = automaton.cache.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bytes = cache.map_or(0, |cache| cache.memory_usage());
        remembered.0.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of memory it holds before anything is matched.
    pub(crate) fn bytes(&self) -> usize {
        match &self.engine {
            Engine::Text(wanted) => wanted.len(),
            Engine::Automaton(a) => {
                size_of::<Automaton>() + a.backtracker.get_nfa().memory_usage() + a.dfa.memory_usage()
            }
        }
    }
}

/// Where the groups of a match are.
pub(crate) struct Captures(Vec<Option<NonMaxUsize>>);

impl Captures {
    /// The text of a group; 0 is the whole match. A group that ends within a character of several bytes ends before it.
    pub(crate) fn of<'t>(&self, group: usize, text: &'t str) -> Option<&'t str> {
        let at = self.range(group)?;
        text.get(text.ceil_char_boundary(at.start)..text.floor_char_boundary(at.end))
    }

    /// The bytes of a group.
    pub(crate) fn range(&self, group: usize) -> Option<Range<usize>> {
        Some(self.0.get(group * 2).copied()??.get()..self.0.get(group * 2 + 1).copied()??.get())
    }
}

impl Automaton {
    fn build(hir: &Hir) -> Result<Automaton, String> {
        let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(AUTOMATON_MAX));
        let nfa: NFA = thompson::Compiler::new()
            .configure(config)
            .build_from_hir(hir)
            .map_err(|_| format!("it is too large: repetitions multiply to more than {} KiB", AUTOMATON_MAX >> 10))?;
        let input = Input::new(&[0; TEXT_MAX]);
        let room = backtrack::min_visited_capacity(&nfa, &input);
        let backtracker = backtrack::Builder::new()
            .configure(backtrack::Config::new().visited_capacity(room))
            .build_from_nfa(nfa.clone())
            .map_err(|e| e.to_string())?;
        let config = DFA::config().cache_capacity(STATES_MAX).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).map_err(|e| e.to_string())?;
        Ok(Automaton { dfa, backtracker, cache: Mutex::default() })
    }

    fn is_match(&self, text: &str, remembered: &Remembered) -> bool {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let before = cache.as_ref().map_or(0, |cache| cache.memory_usage());
        let cache = cache.get_or_insert_with(|| Box::new(self.dfa.create_cache()));
        let found = self.dfa.try_search_fwd(cache, &Input::new(text).earliest(true));
        // Both under the lock, so that what is added is taken away again. A sum that wraps is the right one.
        remembered.0.fetch_add(cache.memory_usage().wrapping_sub(before), Ordering::Relaxed);
        match found {
            Ok(found) => found.is_some(),
            // It stops at a byte that it was told not to read past, and it was told of none.
            Err(_) => self.captures(text).is_some(),
        }
    }

    fn captures(&self, text: &str) -> Option<Captures> {
        let mut slots = vec![None; self.backtracker.get_nfa().group_info().slot_len()];
        let mut cache = self.backtracker.create_cache();
        let found = self.backtracker.try_search_slots(&mut cache, &Input::new(text), &mut slots);
        // It fails only where text is longer than there is room for.
        found.ok().flatten().map(|_| Captures(slots))
    }
}

/// The text it is, if it is nothing else.
fn plain_text(hir: &Hir) -> Option<&str> {
    match hir.kind() {
        HirKind::Literal(Literal(bytes)) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The same without bounds that only a backtracking engine needs.
fn loosened(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Repetition(mut r) => {
            if r.min <= 1 && r.max.is_some_and(|max| max >= BOUND_MIN) && matches!(r.sub.kind(), HirKind::Class(_)) {
                r.max = None;
            }
            Hir::repetition(Repetition { sub: Box::new(loosened(*r.sub)), ..r })
        }
        HirKind::Capture(mut group) => {
            *group.sub = loosened(std::mem::replace(&mut *group.sub, Hir::empty()));
            Hir::capture(group)
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(loosened).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(loosened).collect()),
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(Literal(bytes)) => Hir::literal(bytes),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
    }
}

/// What is wrong and where, on one line; the crate's own text draws it over four.
fn plain(e: &regex_syntax::Error) -> String {
    let (what, at) = match e {
        regex_syntax::Error::Parse(e) => (e.kind().to_string(), e.span().start.column),
        regex_syntax::Error::Translate(e) => (e.kind().to_string(), e.span().start.column),
        _ => return "it is no regular expression".to_owned(),
    };
    format!("{what} (at its character {at})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, false).expect(text).0
    }

    #[test]
    fn what_matches_where() {
        let all = Remembered::default();
        for (regex, text, expected) in [
            ("Foo", "a Foo/1", Some(vec!["Foo"])),
            ("Foo", "a foo/1", None),
            (r"(\w+)/(\d+)(?:\.(\d+)|)", "Foo/12", Some(vec!["Foo/12", "Foo", "12", "-"])),
            (r"(\w+)/(\d+)(?:\.(\d+)|)", "Foo/12.3", Some(vec!["Foo/12.3", "Foo", "12", "3"])),
            (r"^(.{0,200})/(\d)$", "a b/7", Some(vec!["a b/7", "a b", "7"])),
            // Classes are ASCII; a dot is a byte, and a group never cuts a character in two.
            (r"(\d)", "٣", None),
            (r"x(.)", "xé", Some(vec!["x", ""])),
            (r"x(.)(.)y", "xéy", Some(vec!["xéy", "", ""])),
            (r"(?i)foo-(BAR)", "FOO-bar", Some(vec!["FOO-bar", "bar"])),
            // The leftmost, and of two alternatives the first.
            ("(a|ab)(c|bcd)?", "xabcd", Some(vec!["abcd", "a", "bcd"])),
        ] {
            let pattern = pattern(regex);
            assert_eq!(pattern.is_match(text, &all), expected.is_some(), "{regex} in {text}");
            let groups = pattern.captures(text);
            let texts =
                groups.map(|g| (0..=pattern.groups()).map(|n| g.of(n, text).unwrap_or("-")).collect::<Vec<_>>());
            assert_eq!(texts, expected, "{regex} in {text}");
        }
    }

    #[test]
    fn bounds_for_backtracking_engines_are_none_here() {
        let all = Remembered::default();
        let long = format!("a{}b", "x".repeat(900));
        assert!(pattern("a.{0,200}b").is_match(&long, &all));
        assert!(pattern("a.{1,100}b").is_match(&long, &all));
        assert!(!pattern("a.{0,99}b").is_match(&long, &all));
        assert!(!pattern("a.{2,200}b").is_match(&long, &all));
        assert!(!pattern("a(?:xx){0,200}b").is_match(&long, &all));
    }

    /// Texts that make each pattern see as many states as it can.
    #[test]
    fn what_is_remembered_stays_bounded() {
        let all = Remembered::default();
        let patterns: Vec<Pattern> =
            (0..60).map(|n| pattern(&format!("{n}(?:[a-m].{{0,30}}){{1,20}}[n-z]{{10}}{n}"))).collect();
        let mut rng = 0x9e37_79b9_7f4a_7c15u64;
        let mut most = 0;
        for _ in 0..150 {
            let mut text = String::new();
            while text.len() < TEXT_MAX {
                rng = rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push((b'0' + (rng >> 33) as u8 % 75) as char);
            }
            for pattern in &patterns {
                pattern.is_match(&text, &all);
            }
            most = most.max(all.0.load(Ordering::Relaxed));
            all.bound(&patterns);
        }
        let held: usize = patterns
            .iter()
            .filter_map(|p| match &p.engine {
                Engine::Automaton(a) => a.cache.lock().expect("whole").as_ref().map(|cache| cache.memory_usage()),
                Engine::Text(_) => None,
            })
            .sum();
        assert_eq!(all.0.load(Ordering::Relaxed), held, "the sum is what is held");
        assert!(most > ALL_STATES_MAX, "the texts are too tame: {most}");
        assert!(most < ALL_STATES_MAX + patterns.len() * STATES_MAX, "{most}");
        assert!(held <= ALL_STATES_MAX);
    }
}
