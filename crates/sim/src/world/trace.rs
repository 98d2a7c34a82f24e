//! The story of a run: a hash by which two runs are the same or not, counts of what happened, and, when asked for, the
//! lines, as a timeline to be read.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

/// Lines that are kept: the last of them, some 20 MB.
const LINES_MAX: usize = 200_000;
/// So often a kind of line is shown between two faults; more of it is folded.
const SHOWN: u32 = 3;

/// What happened, in order. The same run has the same hash.
#[derive(Default)]
pub struct Trace {
    hash: Xxh3,
    counts: BTreeMap<&'static str, u64>,
    /// `None`: nothing is kept but the hash and the counts.
    lines: Option<VecDeque<Line>>,
    /// Lines that had to make room.
    dropped: u64,
}

struct Line {
    at: Duration,
    who: Box<str>,
    what: Box<str>,
    is_fault: bool,
}

impl Trace {
    /// Keeps no lines.
    pub fn new() -> Trace {
        Trace::default()
    }

    /// Keeps the last [`LINES_MAX`] lines, to be shown.
    pub fn kept() -> Trace {
        Trace { lines: Some(VecDeque::new()), ..Trace::default() }
    }

    /// Something happened. `at`: elapsed time, not wall time.
    pub fn note(&mut self, at: Duration, who: &str, what: fmt::Arguments<'_>) {
        self.line(at, who, what, false);
    }

    /// A fault was injected: counts it under its name, and is marked in the timeline.
    pub fn fault(&mut self, at: Duration, who: &str, name: &'static str, what: fmt::Arguments<'_>) {
        self.fired(name);
        self.line(at, who, what, true);
    }

    /// Counts a fault or an event that is to be shown to have happened at all.
    pub fn fired(&mut self, name: &'static str) {
        *self.counts.entry(name).or_insert(0) += 1;
        self.feed(name.as_bytes());
    }

    pub fn counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.counts
    }

    /// Of everything so far: times, actors, texts and counts, in their order.
    pub fn hash(&self) -> u64 {
        self.hash.digest()
    }

    fn line(&mut self, at: Duration, who: &str, what: fmt::Arguments<'_>, is_fault: bool) {
        self.hash.update(&at.as_nanos().to_le_bytes());
        self.feed(who.as_bytes());
        let Some(lines) = &mut self.lines else {
            // Formatting into a hash does not fail.
            let _ = Feed(&mut self.hash).write_fmt(what);
            self.feed(b"");
            return;
        };
        if lines.len() == LINES_MAX {
            lines.pop_front();
            self.dropped += 1;
        }
        let what = what.to_string();
        lines.push_back(Line { at, who: who.into(), what: what.as_str().into(), is_fault });
        self.feed(what.as_bytes());
    }

    /// Feeds the hash a text and a byte that no text has, so that two texts are not one.
    fn feed(&mut self, text: &[u8]) {
        self.hash.update(text);
        self.hash.update(&[0xff]);
    }
}

/// Feeds a hash what is formatted.
struct Feed<'a>(&'a mut Xxh3);

impl Write for Feed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// The timeline. What an actor has said three times since the last fault is folded to `... 37 more`; `{:#}` shows
/// everything. Numbers make no difference to what is the same.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines.iter().flatten();
        let width = lines.clone().map(|l| l.who.chars().count()).max().unwrap_or(0);
        let mut fold = Fold { width, said: BTreeMap::new(), folded: BTreeMap::new() };
        if self.dropped > 0 {
            writeln!(f, "  ({} lines before these were not kept)", self.dropped)?;
        }
        for line in lines {
            if line.is_fault {
                fold.unfold(f)?;
                fold.said.clear();
            } else if !f.alternate() && fold.takes(line) {
                continue;
            }
            fold.unfold_of(&line.who, f)?;
            let mark = if line.is_fault { '!' } else { ' ' };
            writeln!(f, "{mark} {} {:width$}  {}", Seconds(line.at), line.who, line.what)?;
        }
        fold.unfold(f)?;
        for (name, count) in &self.counts {
            writeln!(f, "  {count} x {name}")?;
        }
        Ok(())
    }
}

/// What was left out of a timeline and not said yet.
struct Fold<'a> {
    width: usize,
    /// How often an actor said this kind of line since the last fault.
    said: BTreeMap<(&'a str, String), u32>,
    /// By actor: how many lines, and when the last of them was.
    folded: BTreeMap<&'a str, (u64, Duration)>,
}

impl<'a> Fold<'a> {
    /// Whether the line is left out.
    fn takes(&mut self, line: &'a Line) -> bool {
        let said = self.said.entry((&line.who, kind(&line.what))).or_insert(0);
        *said += 1;
        let takes = *said > SHOWN;
        if takes {
            let (count, last) = self.folded.entry(&line.who).or_default();
            (*count, *last) = (*count + 1, line.at);
        }
        takes
    }

    fn unfold_of(&mut self, who: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((count, last)) = self.folded.remove(who) else { return Ok(()) };
        writeln!(f, "  {} {who:width$}  ... {count} more", Seconds(last), width = self.width)
    }

    fn unfold(&mut self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut who: Vec<_> = self.folded.iter().map(|(who, (_, last))| (*last, *who)).collect();
        who.sort_unstable();
        who.into_iter().try_for_each(|(_, who)| self.unfold_of(who, f))
    }
}

/// The words of a line without those that have digits in them.
fn kind(what: &str) -> String {
    let words = what.split(' ').map(|w| if w.bytes().any(|b| b.is_ascii_digit()) { "#" } else { w });
    words.collect::<Vec<_>>().join(" ")
}

/// Seconds with milliseconds, in a column.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6}.{:03}", self.0.as_secs(), self.0.subsec_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two actors at work, interleaved, and a fault between.
    fn tell(mut trace: Trace) -> Trace {
        for n in 0..8 {
            trace.note(ms(n * 100), "door", format_args!("took {n} events"));
            trace.note(ms(n * 100 + 1), "enrich", format_args!("committed {n} of raw/0@{}", n * 7));
        }
        trace.fault(ms(800), "disk", "disk.full", format_args!("is full"));
        trace.note(ms(801), "door", format_args!("took {} events", 9));
        trace.note(ms(61_000), "enrich", format_args!("waits"));
        trace.fired("commit.aborted");
        trace
    }

    #[test]
    fn the_hash_is_of_everything_and_does_not_depend_on_what_is_kept() {
        let hash = tell(Trace::new()).hash();
        assert_eq!(hash, tell(Trace::kept()).hash());
        let others: [fn(&mut Trace); 4] = [
            |t| t.note(ms(1), "a", format_args!("bc")),
            |t| t.note(ms(1), "ab", format_args!("c")),
            |t| t.note(ms(2), "a", format_args!("bc")),
            |t| t.fired("a"),
        ];
        let mut hashes: Vec<u64> = others
            .iter()
            .map(|more| {
                let mut trace = tell(Trace::new());
                more(&mut trace);
                trace.hash()
            })
            .collect();
        hashes.push(hash);
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 5);
    }

    #[test]
    fn what_fired_is_counted() {
        let counts = tell(Trace::new()).counts().clone();
        assert_eq!(counts, BTreeMap::from([("commit.aborted", 1), ("disk.full", 1)]));
    }

    #[test]
    fn a_timeline_folds_what_is_the_same_and_tells_all_again_after_a_fault() {
        let expected = "
       0.000 door    took 0 events
       0.001 enrich  committed 0 of raw/0@0
       0.100 door    took 1 events
       0.101 enrich  committed 1 of raw/0@7
       0.200 door    took 2 events
       0.201 enrich  committed 2 of raw/0@14
       0.700 door    ... 5 more
       0.701 enrich  ... 5 more
!      0.800 disk    is full
       0.801 door    took 9 events
      61.000 enrich  waits
  1 x commit.aborted
  1 x disk.full
";
        assert_eq!(format!("\n{}", tell(Trace::kept())), expected);
        let all = format!("{:#}", tell(Trace::kept()));
        assert_eq!(all.lines().count(), 21);
        assert!(!all.contains("more"), "{all}");
    }

    #[test]
    fn only_so_many_lines_are_kept() {
        let mut trace = Trace::kept();
        for n in 0..LINES_MAX + 5 {
            trace.note(ms(n as u64), "a", format_args!("{n}"));
        }
        assert_eq!(trace.lines.as_ref().map(VecDeque::len), Some(LINES_MAX));
        let shown = trace.to_string();
        assert!(shown.starts_with("  (5 lines before these were not kept)\n       0.005 a  5\n"), "{shown:.200}");
        assert!(shown.ends_with(&format!(" a  ... {} more\n", LINES_MAX - 3)), "{shown:.200}");
    }
}
