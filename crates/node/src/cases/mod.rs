//! A user's tests of their own pipeline: cases in TOML, each with events, what is given instead of found out, and what is
//! expected. They run through the real code, from the bytes to the spliced event, and always with the same result: no log,
//! no port, no clock.
//!
//! ```text
//! tests/shop.toml --file--> cases --run--> what came out --compare--> nothing, or what is different and where
//! ```
//! * `file`: a file of cases, read with the place of everything in it
//! * `json`: TOML values as JSON
//! * `run`: one case through the pipeline
//! * `compare`: a JSON subset beside what came out

mod compare;
mod file;
mod json;
mod run;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use enrich::enricher::GivenMember;
use event::{Code, Micros};
use flow::Status;
use serde_json::Value;

pub use compare::Difference;
pub use file::{Known, read};
pub use run::{Outcome, Runner};

/// When events of a case are received that says nothing else: 2026-01-01T00:00:00Z. It is a constant, so that a case that
/// passes today passes in ten years.
pub const RECEIVED: Micros = Micros(1_767_225_600 * Micros::SECOND);

/// Most bytes of the events of one case.
pub const INPUT_MAX: usize = 16 << 20;

/// One case, checked against the configuration it is for.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// The file as it was named, and the line on which the case begins.
    pub file: String,
    pub line: usize,
    /// Its place among the configuration's sources.
    source: usize,
    received: Micros,
    /// Address and user agent of the connection.
    connection: Option<(String, String)>,
    inputs: Vec<Input>,
    members: Vec<GivenMember>,
    lookups: Vec<(String, Rows)>,
    expect: Expect,
}

#[derive(Clone, Debug)]
enum Input {
    /// What a request's body or a file would be.
    Text(Vec<u8>),
    File(PathBuf),
}

/// What a lookup's source answers in a case.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// For every key that is not in `by_key`; without it the source has nothing.
    every: Option<Answered>,
    /// As the source is asked: texts, or the bytes of addresses.
    by_key: Vec<(Vec<u8>, Answered)>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Answered {
    status: Status,
    /// JSON; empty unless the status is `Ok`.
    json: Vec<u8>,
}

/// What has to come out. What is not said must not come out: no dead letter, no duplicate, no enriched event.
#[derive(Clone, PartialEq, Debug, Default)]
struct Expect {
    /// Of the member `enriched`, in the order in which events come out.
    enriched: Option<Subsets>,
    /// Of the fields the map finds, for each event that is accepted.
    fields: Option<Subsets>,
    /// Of dead letters, in their order.
    dlq: Vec<Code>,
    duplicates: u64,
}

#[derive(Clone, PartialEq, Debug)]
enum Subsets {
    /// Has to hold for each of them, and there has to be one.
    Each(Value),
    /// One for each.
    List(Vec<Value>),
}
