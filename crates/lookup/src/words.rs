//! Which words of a table are in a text, in one pass and in any case. Each word has a mark; the text gets the marks of all
//! its words.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Where a word must begin and end: at its edges there may be no other letter or digit, or anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edges {
    Any,
    /// It begins a word: `bot` in `bots`, not in `about`.
    Begins,
    /// It ends a word: `bot` in `AhrefsBot`, not in `bottom`.
    Ends,
    /// It is a word.
    Both,
}

pub(crate) struct Words {
    automaton: AhoCorasick,
    words: Vec<(u64, Edges)>,
}

impl Words {
    /// Of a table of ours; every word is there once.
    pub(crate) fn of(table: &[(u64, Edges, &[&str])]) -> Words {
        let texts = table.iter().flat_map(|(_, _, words)| words.iter());
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(texts)
            .expect("a small table");
        let words = table.iter().flat_map(|(mark, edges, words)| words.iter().map(|_| (*mark, *edges))).collect();
        Words { automaton, words }
    }

    /// The marks of all words in `text`.
    pub(crate) fn marks(&self, text: &str) -> u64 {
        self.found(text).fold(0, |marks, (mark, _)| marks | mark)
    }

    /// The mark and the place of each word in `text`, by where they end.
    pub(crate) fn found<'t>(&'t self, text: &'t str) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> + 't {
        self.automaton.find_overlapping_iter(text).filter_map(|found| {
            let (mark, edges) = self.words[found.pattern().as_usize()];
            let begins = || !text.as_bytes()[..found.start()].last().is_some_and(u8::is_ascii_alphanumeric);
            let ends = || !text.as_bytes()[found.end()..].first().is_some_and(u8::is_ascii_alphanumeric);
            let fits = match edges {
                Edges::Any => true,
                Edges::Begins => begins(),
                Edges::Ends => ends(),
                Edges::Both => begins() && ends(),
            };
            fits.then(|| (mark, found.range()))
        })
    }
}
