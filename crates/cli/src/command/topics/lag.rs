//! `ouzel topics lag`.

use std::fmt::Write as _;
use std::time::Duration;

use event::record::Chunk;
use event::{Micros, Offset, TopicPartition};
use log::Log;
use node::carrier::{self, Kafka, Lag};
use node::config::Config;
use node::engine::World;
use serde_json::{Value, json};

use crate::command::run::carrier_failed;
use crate::exit::{Exit, Result};
use crate::{Global, look, term};

#[derive(clap::Args)]
pub struct LagArgs {
    /// Again every two seconds, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

const WATCH_EVERY: Duration = Duration::from_secs(2);

pub fn run(global: &Global, args: &LagArgs) -> Result {
    let config = look::needs_kafka(global, "`ouzel topics lag`")?;
    let world = World::real();
    let kafka = Kafka::look(&config, &world).map_err(carrier_failed)?;
    let mut before: Vec<Row> = Vec::new();
    loop {
        let rows = rows(&config, &world, &*kafka.log(), &before)?;
        match (global.json, args.watch) {
            (true, _) => println!("{}", as_json(&rows)),
            (false, true) => print!("\x1b[H\x1b[2J{}", as_text(&rows)),
            (false, false) => print!("{}", as_text(&rows)),
        }
        if !args.watch {
            return Ok(Exit::Fine);
        }
        before = rows;
        std::thread::sleep(WATCH_EVERY);
    }
}

/// A stage in a partition, and what is to be said of it.
struct Row {
    lag: Lag,
    /// Positions it has not passed.
    behind: u64,
    /// Since the oldest of them was received.
    age: Option<Duration>,
    why: &'static str,
}

fn rows(config: &Config, world: &World, log: &dyn Log, before: &[Row]) -> Result<Vec<Row>> {
    let all = carrier::lag(config, world).map_err(carrier_failed)?;
    let now = world.clock.now();
    let row = |lag: Lag| {
        let at = lag.topic.partition(lag.partition);
        let from = lag.committed.unwrap_or_else(|| log.bounds(at).map_or(0, |(start, _)| start));
        let behind = lag.end.saturating_sub(from);
        let oldest = if behind > 0 { oldest(log, at, from) } else { None };
        let age = oldest.map(|then| Duration::from_micros((now.0 - then.0).max(0) as u64));
        let last = before.iter().find(|row| (row.lag.stage, row.lag.partition) == (lag.stage, lag.partition));
        let why = why(&lag, from, behind, last.map(|row| row.lag.committed));
        Row { lag, behind, age, why }
    };
    Ok(all.into_iter().map(row).collect())
}

/// When the first record at or above a position was received.
fn oldest(log: &dyn Log, at: TopicPartition, from: Offset) -> Option<Micros> {
    let fetch = log.fetch(at, from, 1).ok()?;
    let records = fetch.chunks.iter().flat_map(Chunk::records).flatten();
    records.filter(|(offset, _)| *offset >= from).find_map(|(_, r)| r.header()).map(|h| h.received_time())
}

/// Why it is no further. `before`: what it had committed at the look before, if there was one.
fn why(lag: &Lag, from: Offset, behind: u64, before: Option<Option<Offset>>) -> &'static str {
    if behind == 0 {
        return "";
    }
    if lag.members == 0 {
        return "no worker runs";
    }
    if lag.member.is_some() && !lag.is_member {
        return "its worker is gone, and another is to take it over";
    }
    if from >= lag.stable {
        return "waits for a transaction to end";
    }
    match before {
        Some(committed) if committed == lag.committed => {
            "stands still: a slow source, or no room; /status.json of its process says which"
        }
        Some(_) | None => "busy",
    }
}

fn as_json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "stage": row.lag.stage, "topic": row.lag.topic.name(), "partition": row.lag.partition,
            "committed": row.lag.committed, "stable": row.lag.stable, "end": row.lag.end, "lag": row.behind,
            "oldest_s": row.age.map(|age| age.as_secs_f64()), "member": row.lag.member,
            "is_member": row.lag.is_member, "members": row.lag.members,
            "why": (!row.why.is_empty()).then_some(row.why),
        })
    };
    json!({"lag": rows.iter().map(row).collect::<Vec<_>>()})
}

fn as_text(rows: &[Row]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{:<10} {:<14} {:>12} {:>10}  {:<24} why", "stage", "partition", "lag", "oldest", "member");
    for row in rows {
        let partition = row.lag.topic.partition(row.lag.partition).to_string();
        let age = row.age.map_or("-".to_owned(), term::span);
        let member = row.lag.member.as_deref().unwrap_or("-");
        let line = format!(
            "{:<10} {partition:<14} {:>12} {age:>10}  {member:<24} {}",
            row.lag.stage,
            term::count(row.behind),
            row.why
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use event::topic::RAW;

    use super::*;

    fn lag(committed: u64, stable: u64, end: u64, members: usize, is_member: bool) -> Lag {
        let (committed, member) = (Some(committed), Some("ouzel.enrich-0-1".to_owned()));
        Lag { stage: "enrich", topic: RAW, partition: 3, committed, end, stable, member, is_member, members }
    }

    #[test]
    fn the_reason_is_the_one_that_holds() {
        for (lag, before, begins) in [
            (lag(9, 9, 9, 0, false), None, ""),
            (lag(5, 9, 9, 0, false), None, "no worker runs"),
            (lag(5, 9, 9, 2, false), None, "its worker is gone"),
            (lag(5, 5, 9, 2, true), None, "waits for a transaction"),
            (lag(5, 7, 9, 2, true), None, "busy"),
            (lag(5, 7, 9, 2, true), Some(Some(4)), "busy"),
            (lag(5, 7, 9, 2, true), Some(Some(5)), "stands still"),
        ] {
            let (from, end) = (lag.committed.unwrap_or(0), lag.end);
            let why = why(&lag, from, end - from, before);
            assert!(why.starts_with(begins) && why.is_empty() == begins.is_empty(), "{lag:?}: {why}");
        }
    }

    #[test]
    fn a_row_is_a_line_with_its_reason() {
        let row = Row {
            behind: 12_000,
            age: Some(Duration::from_millis(1500)),
            why: "busy",
            lag: lag(5, 12_005, 12_005, 1, true),
        };
        let text = as_text(&[row]);
        let line = text.lines().nth(1).expect("a row");
        for part in ["enrich", "raw/3", "12,000", "ouzel.enrich-0-1", "busy"] {
            assert!(line.contains(part), "{line}");
        }
    }
}
