//! The texts a configuration is read from, and positions in them.

use std::ops::Range;
use std::path::PathBuf;

/// A part of one of the [`Texts`], in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Spot {
    pub text: usize,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// As it was named.
    File(String),
    Environment,
    CommandLine,
    /// Nobody wrote it.
    BuiltIn,
}

#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub origin: Origin,
    pub content: String,
    /// What a relative path in it is relative to.
    pub base: PathBuf,
    /// Parts that are never shown.
    pub masks: Vec<Range<usize>>,
}

impl Text {
    /// Whether lines and columns mean something to a reader.
    pub fn numbered(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }

    pub fn source(&self) -> String {
        match &self.origin {
            Origin::File(name) => name.clone(),
            Origin::Environment => "environment".into(),
            Origin::CommandLine => "command line".into(),
            Origin::BuiltIn => "built-in defaults".into(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Texts(Vec<Text>);

impl Texts {
    pub fn add(&mut self, origin: Origin, content: String, base: PathBuf) -> usize {
        self.0.push(Text { origin, content, base, masks: Vec::new() });
        self.0.len() - 1
    }

    pub fn get(&self, text: usize) -> &Text {
        &self.0[text]
    }

    pub fn mask(&mut self, spot: Spot) {
        self.0[spot.text].masks.push(spot.start..spot.end);
    }
}
