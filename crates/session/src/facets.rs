//! A session's bounded lists of places, devices, items and the like.
//!
//! Of each kind those that were seen first are kept, by event time and then by their bytes. So what is kept does not
//! depend on the order in which events arrive.

use crate::codec::{Reader, put_text, put_varint};
use crate::facts::Text;

/// What a list is of. Numbers are stored: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum FacetKind {
    Viewed = 0,
    Liked = 1,
    Carted = 2,
    Bought = 3,
    Place = 4,
    Device = 5,
    Network = 6,
    Bot = 7,
}

impl FacetKind {
    pub const ALL: [FacetKind; 8] = [
        FacetKind::Viewed,
        FacetKind::Liked,
        FacetKind::Carted,
        FacetKind::Bought,
        FacetKind::Place,
        FacetKind::Device,
        FacetKind::Network,
        FacetKind::Bot,
    ];

    /// How many are kept. Items: what a model of somebody's taste asks for, which is the first few; the others: more than
    /// one is rare already, and many are a sign that this is no person.
    pub fn bound(self) -> usize {
        match self {
            FacetKind::Viewed => 20,
            FacetKind::Liked | FacetKind::Carted | FacetKind::Bought => 10,
            FacetKind::Place | FacetKind::Device | FacetKind::Network => 4,
            FacetKind::Bot => 2,
        }
    }

    /// Its member in `final`.
    pub fn name(self) -> &'static str {
        match self {
            FacetKind::Viewed => "viewed",
            FacetKind::Liked => "liked",
            FacetKind::Carted => "carted",
            FacetKind::Bought => "bought",
            FacetKind::Place => "places",
            FacetKind::Device => "devices",
            FacetKind::Network => "networks",
            FacetKind::Bot => "bots",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Facet<'a> {
    kind: FacetKind,
    /// When it was first seen, in milliseconds since 1970: what tells the first ones.
    first_ms: i64,
    text: Text<'a>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Facets<'a> {
    all: Vec<Facet<'a>>,
    /// A bit for each kind that there were more of.
    over: u8,
}

impl<'a> Facets<'a> {
    pub fn add(&mut self, kind: FacetKind, first_ms: i64, text: &Text<'a>) {
        let mut same_kind = 0;
        let mut last: Option<usize> = None;
        for n in 0..self.all.len() {
            let one = &mut self.all[n];
            if one.kind != kind {
                continue;
            }
            if one.text == *text {
                one.first_ms = one.first_ms.min(first_ms);
                return;
            }
            same_kind += 1;
            let one = &self.all[n];
            if last.is_none_or(|l| (self.all[l].first_ms, &self.all[l].text) < (one.first_ms, &one.text)) {
                last = Some(n);
            }
        }
        if same_kind < kind.bound() {
            self.all.push(Facet { kind, first_ms, text: text.clone() });
            return;
        }
        self.over |= 1 << kind as u8;
        let last = &mut self.all[last.expect("a bound is at least one")];
        if (first_ms, text) < (last.first_ms, &last.text) {
            *last = Facet { kind, first_ms, text: text.clone() };
        }
    }

    pub fn absorb(&mut self, other: Facets<'a>) {
        for one in &other.all {
            self.add(one.kind, one.first_ms, &one.text);
        }
        self.over |= other.over;
    }

    /// Those of a kind, first seen first.
    pub fn of(&self, kind: FacetKind) -> Vec<&[u8]> {
        let mut some: Vec<&Facet<'_>> = self.all.iter().filter(|f| f.kind == kind).collect();
        some.sort_by(|a, b| (a.first_ms, &a.text).cmp(&(b.first_ms, &b.text)));
        some.into_iter().map(|f| &*f.text).collect()
    }

    pub fn has(&self, kind: FacetKind) -> bool {
        self.all.iter().any(|f| f.kind == kind)
    }

    /// Kinds that there were more of than are kept.
    pub fn over(&self) -> impl Iterator<Item = FacetKind> + '_ {
        FacetKind::ALL.into_iter().filter(|k| self.over >> *k as u8 & 1 == 1)
    }

    /// `start_ms`: the session's start, from which times are counted.
    pub fn encode(&self, start_ms: i64, out: &mut Vec<u8>) {
        out.push(self.over);
        put_varint(self.all.len() as u64, out);
        for one in &self.all {
            out.push(one.kind as u8);
            put_varint((one.first_ms - start_ms) as u64, out);
            put_text(&one.text, out);
        }
    }

    pub fn decode(start_ms: i64, r: &mut Reader<'a>) -> Option<Facets<'a>> {
        let over = r.byte()?;
        let len = r.count()? as usize;
        // One more than there are: most events bring at most one new.
        let mut all = Vec::with_capacity((len + 4).min(FacetKind::ALL.iter().map(|k| k.bound()).sum()));
        for _ in 0..len {
            let kind = *FacetKind::ALL.get(usize::from(r.byte()?))?;
            all.push(Facet { kind, first_ms: start_ms.wrapping_add(r.varint()? as i64), text: r.text()? });
        }
        Some(Facets { all, over })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn the_first_are_kept_whatever_the_order() {
        let seen: Vec<(i64, Vec<u8>)> =
            (0..60i64).map(|n| (n * 7 % 40, format!("i-{}", n % 25).into_bytes())).collect();
        let mut expected: Vec<(i64, &[u8])> = Vec::new();
        for n in 0..25 {
            let text = &seen[n].1;
            expected.push((seen.iter().filter(|s| s.1 == *text).map(|s| s.0).min().expect("one"), text));
        }
        expected.sort();
        for turn in 0..60 {
            let mut facets = Facets::default();
            for n in 0..60 {
                let (at, text) = &seen[(n * 17 + turn) % 60];
                facets.add(FacetKind::Viewed, *at, &Cow::Borrowed(text));
            }
            let want: Vec<&[u8]> = expected.iter().take(20).map(|e| e.1).collect();
            assert_eq!(facets.of(FacetKind::Viewed), want, "turn {turn}");
            assert_eq!(facets.over().collect::<Vec<_>>(), [FacetKind::Viewed]);
        }
    }
}
