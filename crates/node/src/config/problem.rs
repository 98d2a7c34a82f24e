//! What is wrong with a configuration, shown where it stands: source, line, column, the line with a caret, and help.

use std::fmt::{self, Write as _};
use std::ops::Range;

use super::text::{Spot, Texts};

/// Longest part of a line that is shown, in characters. Longer lines are cut around the caret.
const SHOWN_MAX: usize = 100;

/// What kind of mistake it is. The name is in the JSON of `ouzel check`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProblemKind {
    /// The file or value is not TOML.
    Syntax,
    UnknownKey,
    WrongType,
    BadValue,
    MissingKey,
    /// The file is of another version than this program reads.
    Version,
    /// Two values that do not go together.
    Conflict,
    /// A secret stands in the file itself.
    SecretInPlace,
    /// A file cannot be read.
    Unreadable,
}

impl ProblemKind {
    pub fn name(self) -> &'static str {
        match self {
            ProblemKind::Syntax => "syntax",
            ProblemKind::UnknownKey => "unknown_key",
            ProblemKind::WrongType => "wrong_type",
            ProblemKind::BadValue => "bad_value",
            ProblemKind::MissingKey => "missing_key",
            ProblemKind::Version => "version",
            ProblemKind::Conflict => "conflict",
            ProblemKind::SecretInPlace => "secret_in_place",
            ProblemKind::Unreadable => "unreadable",
        }
    }
}

/// One mistake (or warning). Holds no secret: values of secret keys are `***` already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub kind: ProblemKind,
    pub message: String,
    pub place: Option<Place>,
    /// What to do about it, one sentence each.
    pub help: Vec<String>,
}

/// Where in what somebody wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file as it was named, "environment" or "command line".
    pub source: String,
    /// From 1; `None` outside files.
    pub line: Option<usize>,
    /// From 1, in characters of the original line; `None` outside files.
    pub column: Option<usize>,
    /// The line (a part of it if it is long), secrets masked.
    pub text: String,
    /// The characters of `text` that are meant.
    pub mark: Range<usize>,
}

/// All that is wrong, in the order of the file; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors {
    pub problems: Vec<Problem>,
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_char('\n')?;
            }
            problem.show(f, "error")?;
        }
        if self.problems.len() > 1 {
            write!(f, "\n{} problems\n", self.problems.len())?;
        }
        Ok(())
    }
}

impl Problem {
    /// The problem under a heading of its own, "error" or "warning".
    pub fn show(&self, out: &mut dyn fmt::Write, heading: &str) -> fmt::Result {
        writeln!(out, "{heading}: {}", self.message)?;
        let number = self.place.as_ref().and_then(|p| p.line).map_or(String::new(), |l| l.to_string());
        let gutter = " ".repeat(number.len());
        if let Some(place) = &self.place {
            write!(out, "{gutter} --> {}", place.source)?;
            if let (Some(line), Some(column)) = (place.line, place.column) {
                write!(out, ":{line}:{column}")?;
            }
            out.write_char('\n')?;
            if !place.text.is_empty() {
                // Tabs stay tabs under the line, so that the caret stands right whatever their width.
                let before: String =
                    place.text.chars().take(place.mark.start).map(|c| if c == '\t' { c } else { ' ' }).collect();
                writeln!(out, "{gutter} |")?;
                writeln!(out, "{number} | {}", place.text)?;
                writeln!(out, "{gutter} | {before}{}", "^".repeat(place.mark.len().max(1)))?;
            }
        }
        for help in &self.help {
            writeln!(out, "{gutter} = {help}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f, "error")
    }
}

/// A problem that does not have its place rendered yet: masks are known only when all texts have been looked through.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub kind: ProblemKind,
    pub message: String,
    pub spot: Option<Spot>,
    pub help: Vec<String>,
}

impl Found {
    pub fn new(kind: ProblemKind, spot: Option<Spot>, message: impl Into<String>) -> Found {
        Found { kind, message: message.into(), spot, help: Vec::new() }
    }

    pub fn help(mut self, help: impl Into<String>) -> Found {
        self.help.push(help.into());
        self
    }
}

/// Renders problems in the order of the texts they stand in; those without a place come first.
pub(crate) fn render(mut found: Vec<Found>, texts: &Texts) -> Vec<Problem> {
    found.sort_by_key(|f| f.spot.map(|s| (s.text, s.start, s.end)));
    let mut problems: Vec<Problem> = found
        .into_iter()
        .map(|f| Problem {
            kind: f.kind,
            message: f.message,
            place: f.spot.and_then(|s| place(s, texts)),
            help: f.help,
        })
        .collect();
    problems.dedup();
    problems
}

fn place(spot: Spot, texts: &Texts) -> Option<Place> {
    let text = texts.get(spot.text);
    let content = text.content.as_str();
    let start = floor(content, spot.start);
    let end = floor(content, spot.end.max(spot.start));
    let line_start = content[..start].rfind('\n').map_or(0, |n| n + 1);
    let line_end = content[start..].find('\n').map_or(content.len(), |n| start + n);
    let line_end = if content[line_start..line_end].ends_with('\r') { line_end - 1 } else { line_end };

    // The line with masked parts replaced, and where the span is in it.
    let mut shown = String::new();
    let mut mark = None::<Range<usize>>;
    let mut width = 0;
    let mut at = line_start;
    while at < line_end {
        let in_span = at >= start && at < end.max(start + 1);
        let from = width;
        let next = match text.masks.iter().find(|m| m.contains(&at)) {
            Some(mask) => {
                shown.push_str("***");
                width += 3;
                mask.end.min(line_end)
            }
            None => {
                let c = content[at..].chars().next().expect("inside the text");
                shown.push(c);
                width += 1;
                at + c.len_utf8()
            }
        };
        if in_span || (mark.is_none() && start > at && start < next) {
            mark = Some(mark.map_or(from, |m| m.start)..width);
        }
        at = next;
    }
    // A span at the end of a line (something is missing there) has its caret behind the last character.
    let mut mark = mark.unwrap_or(width..width + 1);

    if width > SHOWN_MAX {
        let from = mark.start.saturating_sub(SHOWN_MAX / 2).min(width - SHOWN_MAX);
        let part: String = shown.chars().skip(from).take(SHOWN_MAX).collect();
        let (left, right) = (if from > 0 { "…" } else { "" }, if from + SHOWN_MAX < width { "…" } else { "" });
        shown = format!("{left}{part}{right}");
        let shift = from - left.chars().count();
        mark = mark.start - shift..(mark.end - shift).min(shown.chars().count() + 1);
    }

    let (line, column) = match text.numbered() {
        true => (
            Some(content[..line_start].matches('\n').count() + 1),
            Some(content[line_start..start].chars().count() + 1),
        ),
        false => (None, None),
    };
    Some(Place { source: text.source(), line, column, text: shown, mark })
}

/// The nearest character boundary at or before `at`.
fn floor(content: &str, at: usize) -> usize {
    let mut at = at.min(content.len());
    while !content.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The place of a spot that is in no problem (yet).
pub(crate) fn place_of(spot: Option<Spot>, texts: &Texts) -> Option<Place> {
    spot.and_then(|s| place(s, texts))
}
