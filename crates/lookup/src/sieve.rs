//! Which of many patterns may match a text, in one pass over it: each pattern needs some text of its own to match, and is
//! tried only where that was found.
//!
//! What a pattern needs is read off its syntax, as RE2's `FilteredRE2` does, but for one clause instead of a formula: a
//! list of texts of which every match has at least one.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind, Literal};

/// Texts a pattern may name. More of them narrow less than they cost.
const CHOICES_MAX: usize = 1024;

/// Bytes of a text that are looked for. Longer ones are hardly rarer.
const CHOICE_BYTES_MAX: usize = 24;

/// Shorter texts are in every agent.
const CHOICE_BYTES_MIN: usize = 2;

/// Bytes of all texts together: twenty times what 2,000 patterns of published lists come to. The automaton takes up to
/// 100 times as much while it is built.
const TOTAL_BYTES_MAX: usize = 512 << 10;

/// What a text must have in it for a pattern to match: one of these, in any case. `None`: nothing that is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need(Option<Vec<Vec<u8>>>);

impl Need {
    pub(crate) fn of(hir: &Hir) -> Need {
        let found = Found::of(hir);
        Need(better(found.need, found.exact).filter(|choices| narrows(choices)))
    }
}

pub(crate) struct Sieve {
    texts: Option<AhoCorasick>,
    /// For each text the patterns that need it.
    patterns: Vec<Box<[u32]>>,
    /// A bit for each pattern that needs nothing.
    always: Box<[u64]>,
}

impl Sieve {
    /// A sieve of patterns in their order. An error if they name too much text.
    pub(crate) fn build(needs: Vec<Need>) -> Result<Sieve, String> {
        let mut always = vec![0u64; needs.len().div_ceil(64)].into_boxed_slice();
        let mut pairs: Vec<(Vec<u8>, u32)> = Vec::new();
        for (at, need) in needs.into_iter().enumerate() {
            match need.0 {
                None => always[at / 64] |= 1 << (at % 64),
                Some(choices) => pairs.extend(choices.into_iter().map(|c| (c, at as u32))),
            }
        }
        pairs.sort();
        pairs.dedup();
        let mut texts: Vec<Vec<u8>> = Vec::new();
        let mut patterns: Vec<Vec<u32>> = Vec::new();
        for (text, at) in pairs {
            if texts.last() != Some(&text) {
                texts.push(text);
                patterns.push(Vec::new());
            }
            patterns.last_mut().expect("pushed with the text").push(at);
        }
        if texts.iter().map(Vec::len).sum::<usize>() > TOTAL_BYTES_MAX {
            return Err(format!("the texts its patterns look for come to more than {} KiB", TOTAL_BYTES_MAX >> 10));
        }
        let texts = match texts.is_empty() {
            true => None,
            false => Some(
                AhoCorasick::builder()
                    .match_kind(MatchKind::Standard)
                    .ascii_case_insensitive(true)
                    .kind(Some(AhoCorasickKind::ContiguousNFA))
                    .build(&texts)
                    .map_err(|e| e.to_string())?,
            ),
        };
        Ok(Sieve { texts, patterns: patterns.into_iter().map(Vec::into_boxed_slice).collect(), always })
    }

    /// The patterns that may match `text`.
    pub(crate) fn sift(&self, text: &str) -> Sifted {
        let mut bits = self.always.clone();
        if let Some(texts) = &self.texts {
            for found in texts.find_overlapping_iter(text) {
                for at in &self.patterns[found.pattern().as_usize()] {
                    bits[*at as usize / 64] |= 1 << (at % 64);
                }
            }
        }
        Sifted(bits)
    }

    /// Bytes of memory it holds.
    pub(crate) fn bytes(&self) -> usize {
        let patterns: usize = self.patterns.iter().map(|p| size_of_val(&**p) + size_of_val(p)).sum();
        self.texts.as_ref().map_or(0, AhoCorasick::memory_usage) + patterns + size_of_val(&*self.always)
    }
}

/// Patterns that may match, by their places.
pub(crate) struct Sifted(Box<[u64]>);

impl Sifted {
    /// Those in `from..to`, in their order.
    pub(crate) fn within(&self, from: usize, to: usize) -> impl Iterator<Item = usize> + '_ {
        let mut at = from;
        std::iter::from_fn(move || {
            while at < to {
                let rest = self.0[at / 64] >> (at % 64);
                if rest != 0 {
                    at += rest.trailing_zeros() as usize + 1;
                    return Some(at - 1).filter(|found| *found < to);
                }
                at = (at / 64 + 1) * 64;
            }
            None
        })
    }
}

/// What is known of a part of a pattern.
struct Found {
    /// All texts it can be, if they are few. Lower case.
    exact: Option<Vec<Vec<u8>>>,
    /// Texts of which it always has one.
    need: Option<Vec<Vec<u8>>>,
}

impl Found {
    const NOTHING: Found = Found { exact: None, need: None };

    fn exactly(texts: Vec<Vec<u8>>) -> Found {
        Found { exact: Some(texts), need: None }
    }

    // Recursion is as deep as groups are nested, which whoever parsed the pattern has bounded.
    fn of(hir: &Hir) -> Found {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Found::exactly(vec![Vec::new()]),
            HirKind::Literal(Literal(bytes)) => Found::exactly(vec![bytes.to_ascii_lowercase()]),
            HirKind::Class(class) => singles(class).map_or(Found::NOTHING, Found::exactly),
            HirKind::Capture(group) => Found::of(&group.sub),
            HirKind::Repetition(r) => {
                let sub = Found::of(&r.sub);
                match (r.min, r.max) {
                    (1, Some(1)) => sub,
                    (0, Some(1)) => match sub.exact {
                        Some(mut texts) if texts.len() < CHOICES_MAX => {
                            texts.push(Vec::new());
                            Found::exactly(texts)
                        }
                        _ => Found::NOTHING,
                    },
                    (0, _) => Found::NOTHING,
                    _ => Found { exact: None, need: better(sub.need, sub.exact) },
                }
            }
            HirKind::Concat(parts) => concat(parts),
            HirKind::Alternation(parts) => alternation(parts),
        }
    }
}

fn concat(parts: &[Hir]) -> Found {
    // `run` is what the parts since the last one that is not exact can be.
    let mut run = Some(vec![Vec::new()]);
    let (mut need, mut all_exact) = (None, true);
    for part in parts {
        let found = Found::of(part);
        need = better(need, found.need);
        let joined = match (&run, &found.exact) {
            (Some(run), Some(next)) => product(run, next),
            _ => None,
        };
        if joined.is_none() {
            all_exact = false;
            need = better(need, run.take());
        }
        run = joined.or(found.exact).or(Some(vec![Vec::new()]));
    }
    match all_exact {
        true => Found { exact: run, need },
        false => Found { exact: None, need: better(need, run) },
    }
}

fn alternation(parts: &[Hir]) -> Found {
    let (mut exact, mut need) = (Some(Vec::new()), Some(Vec::new()));
    for part in parts {
        let found = Found::of(part);
        exact = exact.zip(found.exact.clone()).and_then(|(all, more)| joined(all, more));
        need = need.zip(better(found.need, found.exact)).and_then(|(all, more)| joined(all, more));
    }
    Found { exact, need }
}

fn joined(mut all: Vec<Vec<u8>>, more: Vec<Vec<u8>>) -> Option<Vec<Vec<u8>>> {
    all.extend(more);
    (all.len() <= CHOICES_MAX).then_some(all)
}

/// Every text of `a` followed by every one of `b`, if they are few.
fn product(a: &[Vec<u8>], b: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    if a.len() * b.len() > CHOICES_MAX {
        return None;
    }
    Some(a.iter().flat_map(|x| b.iter().map(move |y| [&x[..], y].concat())).collect())
}

/// The letters of a class of a few, as texts; `[Bb]` is one.
fn singles(class: &Class) -> Option<Vec<Vec<u8>>> {
    let Class::Bytes(bytes) = class else { return None };
    let count: usize = bytes.iter().map(|r| usize::from(r.end() - r.start()) + 1).sum();
    if count > 8 {
        return None;
    }
    let mut texts: Vec<Vec<u8>> =
        bytes.iter().flat_map(|r| r.start()..=r.end()).map(|b| vec![b.to_ascii_lowercase()]).collect();
    texts.sort();
    texts.dedup();
    Some(texts)
}

/// The one that fewer texts will have: its shortest choice is longer, or it has fewer of them.
fn better(a: Option<Vec<Vec<u8>>>, b: Option<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    let (Some(a), Some(b)) = (&a, &b) else { return a.or(b).map(cut) };
    let rank = |choices: &[Vec<u8>]| {
        (choices.iter().map(|c| c.len().min(CHOICE_BYTES_MAX)).min().unwrap_or(0), usize::MAX - choices.len())
    };
    Some(cut(if rank(b) > rank(a) { b.clone() } else { a.clone() }))
}

fn cut(mut choices: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    choices.iter_mut().for_each(|c| c.truncate(CHOICE_BYTES_MAX));
    choices.sort();
    choices.dedup();
    choices
}

fn narrows(choices: &[Vec<u8>]) -> bool {
    !choices.is_empty() && choices.iter().all(|c| c.len() >= CHOICE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Pattern, Remembered};

    fn need(pattern: &str) -> Vec<String> {
        let (_, need) = Pattern::parse(pattern, false).expect(pattern);
        need.0.unwrap_or_default().into_iter().map(|c| String::from_utf8(c).expect("text")).collect()
    }

    #[test]
    fn what_a_pattern_needs() {
        for (pattern, expected) in [
            ("Googlebot", vec!["googlebot"]),
            (r"(Chrome)/(\d+)", vec!["chrome/"]),
            ("[Cc]rawl", vec!["crawl"]),
            ("(Foo|Barista) Browser", vec!["barista browser", "foo browser"]),
            (r"(?:Foo)?/\d+", vec![]),
            (r"x?Foo", vec!["foo", "xfoo"]),
            (r"(?:Foo|Bar)+\d", vec!["bar", "foo"]),
            (r"Foo.{0,200}Barista", vec!["barista"]),
            ("Foo|.*", vec![]),
            ("^(.*)$", vec![]),
            (r"\d\.\d", vec![]),
            (r"^\bFoo\b", vec!["foo"]),
            ("abcdefghijklmnopqrstuvwxyz0123456789", vec!["abcdefghijklmnopqrstuvwx"]),
        ] {
            assert_eq!(need(pattern), expected, "{pattern}");
        }
    }

    /// Patterns and texts of a few pieces: whatever matches is let through.
    #[test]
    fn nothing_that_matches_is_held_back() {
        let pieces = [
            "ab",
            "Cd",
            "[eE]f",
            "(?:ab|gh)",
            "(?:Cd)?",
            "(gh)+",
            "(?:gh)*",
            "[eE]*",
            ".",
            "[a-z]",
            "x{2,3}",
            "(?:ab|)",
            "(?:e|f|g)h",
            "\\d",
            "^",
            "$",
        ];
        let letters = ["ab", "AB", "cd", "Cd", "ef", "Ef", "gh", "x", "xx", "1", "h", "e"];
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize % n
        };
        let mut matches = 0;
        for round in 0..200 {
            let texts: Vec<String> = (0..60)
                .map(|_| {
                    (0..3)
                        .map(|_| (0..below(4)).map(|_| pieces[below(pieces.len())]).collect::<String>())
                        .collect::<Vec<_>>()
                        .join("|")
                })
                .collect();
            let (patterns, needs): (Vec<Pattern>, Vec<Need>) =
                texts.iter().map(|t| Pattern::parse(t, round % 2 == 0).expect(t)).unzip();
            let sieve = Sieve::build(needs).expect("small");
            let all = Remembered::default();
            for _ in 0..20 {
                let text: String = (0..below(8)).map(|_| letters[below(letters.len())]).collect();
                let sifted = sieve.sift(&text);
                let may: Vec<usize> = sifted.within(0, patterns.len()).collect();
                assert!(may.is_sorted());
                for (at, _) in patterns.iter().enumerate().filter(|(_, p)| p.is_match(&text, &all)) {
                    matches += 1;
                    assert!(may.contains(&at), "`{}` in `{text}`", texts[at]);
                }
                let (from, to) = (below(patterns.len()), below(patterns.len()));
                let part: Vec<usize> = may.iter().copied().filter(|at| (from..to).contains(at)).collect();
                assert_eq!(sifted.within(from, to).collect::<Vec<_>>(), part, "{from}..{to}");
            }
        }
        assert!(matches > 10_000, "{matches}");
    }

    #[test]
    fn a_sieve_of_nothing() {
        let sieve = Sieve::build(Vec::new()).expect("nothing");
        assert_eq!(sieve.sift("Googlebot").within(0, 0).count(), 0);
    }
}
