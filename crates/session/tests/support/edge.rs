//! What the stories of edges share: one visitor, whose events have their time for an id.

use event::Micros;
use ouzel_session::{Kind, SessionsConfig};
use serde_json::Value;

use super::{Drive, Said, Sent};

pub const SECOND: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * SECOND;
pub const GAP: i64 = 30 * MINUTE;
pub const LATENESS: i64 = 10 * MINUTE;
/// Noon of a day on which no clock is set.
pub const NOON: &str = "2026-11-22T12:00:00Z";

pub fn time(text: &str) -> i64 {
    Micros::parse_rfc3339(text.as_bytes()).expect("a time").0
}

pub fn noon() -> i64 {
    time(NOON)
}

/// A page view of the one visitor. Its id is its time.
pub fn page(at: i64) -> Sent {
    Sent {
        visitor: "v".into(),
        id: at as u128,
        at,
        received: at,
        kind: "page".into(),
        page: format!("/{}", at - noon()),
        ..Sent::default()
    }
}

pub fn late_by(delay: i64, at: i64) -> Sent {
    Sent { received: at + delay, ..page(at) }
}

pub fn gap_only() -> Drive {
    Drive::new(SessionsConfig::default().build().expect("good"), 0)
}

pub fn with(config: SessionsConfig) -> Drive {
    Drive::new(config.build().expect("good"), 0)
}

pub fn finals(said: &[Said]) -> Vec<Value> {
    said.iter().filter(|s| s.kind == Some(Kind::Final)).map(Said::value).collect()
}

pub fn counts(said: &[Said]) -> Vec<u64> {
    finals(said).iter().map(|f| f["events"].as_u64().expect("a count")).collect()
}

pub fn kinds(said: &[Said]) -> Vec<(Option<Kind>, u32)> {
    said.iter().map(|s| (s.kind, s.revision)).collect()
}

pub const UPDATE: Option<Kind> = Some(Kind::Update);
pub const FINAL: Option<Kind> = Some(Kind::Final);
pub const MERGE: Option<Kind> = Some(Kind::Merge);

/// Sends, closes, and gives the counts of the finals.
pub fn cut_into(config: SessionsConfig, events: &[Sent]) -> Vec<u64> {
    let mut drive = Drive::new(config.build().expect("good"), 10 * SECOND);
    events.iter().for_each(|e| drive.send(e));
    drive.close();
    counts(&drive.take())
}
