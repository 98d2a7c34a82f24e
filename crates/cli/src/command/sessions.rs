//! `ouzel sessions`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event::key::partition_of;
use event::topic::SESSIONS;
use event::{Offset, TopicPartition};
use node::config::RunArgs;
use serde_json::{Value, json};

use crate::exit::{Exit, Failed, Result, with_help};
use crate::look::{self, Look};
use crate::{Global, session};

#[derive(clap::Args)]
pub struct SessionsArgs {
    /// Only this visitor, as `enriched.visitor.id` has it: what is open, and what was. Without one: the newest sessions
    visitor: Option<String>,
    /// How many past sessions
    #[arg(short = 'n', long = "lines", default_value_t = 20)]
    lines: usize,
    /// Goes on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
}

/// Records asked for at a time.
const PAGE: u64 = 1000;
/// Between two looks, when following.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);

pub fn run(global: &Global, args: SessionsArgs) -> Result {
    let look = Look::open(global)?;
    let bounds = look.bounds(SESSIONS)?;
    let visitor = args.visitor.as_deref();
    let partitions: Vec<u32> = match visitor {
        Some(visitor) => vec![partition_of(visitor.as_bytes(), bounds.len() as u32)],
        None => (0..bounds.len() as u32).collect(),
    };
    let mut past = Vec::new();
    let mut next = Vec::new();
    for p in partitions {
        let (start, end) = bounds[p as usize];
        past.extend(last(&look, SESSIONS.partition(p), start, end, visitor, args.lines)?);
        next.push((SESSIONS.partition(p), end));
    }
    past.sort_by(|a, b| {
        (a["end"].as_str(), a["session_id"].as_str()).cmp(&(b["end"].as_str(), b["session_id"].as_str()))
    });
    let skip = past.len().saturating_sub(args.lines);
    let past = &past[skip..];
    let open = visitor.map(|visitor| open(global, &look, visitor)).transpose()?.flatten();
    show(global, visitor, past, open.as_ref());
    if args.follow {
        return follow(global, look, next, visitor);
    }
    match visitor {
        Some(visitor) if past.is_empty() && open.is_none() => Err(Failed::new(
            Exit::Failed,
            with_help(
                &format!("nothing is known of the visitor `{visitor}`"),
                "a visitor is named as in `enriched.visitor.id`; a user without one is `user:USER`",
            ),
        )),
        _ => Ok(Exit::Fine),
    }
}

fn show(global: &Global, visitor: Option<&str>, past: &[Value], open: Option<&Value>) {
    if global.json {
        past.iter().chain(open).for_each(|session| println!("{session}"));
        return;
    }
    if !past.is_empty() {
        println!("{}", session::head());
        past.iter().for_each(|s| println!("{}", session::row(s)));
    } else if visitor.is_none() {
        println!("no session has ended yet; one does when its gap has passed");
    }
    let Some(open) = open else { return };
    let sessions = open["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let as_of = match open["as_of"]["position"].as_u64() {
        Some(position) => format!(
            "as of position {position} of enriched/{}, {} records behind what the stage had read",
            open["as_of"]["partition"], open["as_of"]["behind"]
        ),
        None => format!("watermark {}", session::seconds(&open["watermark"])),
    };
    if sessions.is_empty() {
        println!("nothing is open ({as_of})");
    }
    for one in sessions {
        let mut one = one.clone();
        one["visitor"] = open["visitor"].clone();
        println!("\nopen ({as_of}):\n{}", session::card(&one).trim_end());
    }
}

/// The open sessions of a visitor; `None` when nothing is known of it.
fn open(global: &Global, look: &Look, visitor: &str) -> Result<Option<Value>> {
    let path = format!("/v1/sessions/{}", look::escaped(visitor.as_bytes()));
    if let Some((status, answer)) = look.running_answer(&path)? {
        return match status {
            200 => Ok(Some(answer)),
            404 => Ok(None),
            _ => Err(Failed::new(Exit::Failed, answer["message"].as_str().unwrap_or_default())),
        };
    }
    let Some(log) = look.log() else { return Ok(None) };
    let config = look::load_as_written(global, false, RunArgs::default())?.config;
    let stored = node::sessions::stored(&config, &*log, look::store(&config)?, visitor.as_bytes())?;
    let Some((stored, open)) = stored.and_then(|mut s| Some((s.open.take()?, s))).map(|(open, s)| (s, open)) else {
        return Ok(None);
    };
    let mut open: Value = serde_json::from_slice(&open).unwrap_or_default();
    open["as_of"] = json!({
        "partition": stored.at.partition, "position": stored.position, "behind": stored.committed - stored.position,
    });
    Ok(Some(open))
}

/// The last `lines` finals of a partition, each in its last revision and without those that a merge took back.
fn last(
    look: &Look,
    at: TopicPartition,
    start: Offset,
    end: Offset,
    visitor: Option<&str>,
    lines: usize,
) -> Result<Vec<Value>> {
    let mut back = (lines as u64).max(PAGE);
    let mut until = end;
    let (mut finals, mut absorbed) = (BTreeMap::new(), BTreeSet::new());
    // Further back from what was read already: what is newer stays, what is older has been revised.
    while until > start {
        let begin = until.saturating_sub(back).max(start);
        let mut from = begin;
        let mut here = Vec::new();
        while from < until {
            let page = look.records(at, from, PAGE.min(until - from), 0)?;
            look::each_record(&page, at, |record| here.push(record))?;
            if page.next <= from {
                break;
            }
            from = page.next;
        }
        here.retain(|record| record["offset"].as_u64().is_some_and(|o| o < until) && is_of(record, visitor));
        for record in here.iter_mut().rev() {
            let value = record["value"].take();
            let id = value["session_id"].as_str().unwrap_or_default().to_owned();
            match value["kind"].as_str() {
                Some("merge") => drop(absorbed.insert(value["absorbed"].as_str().unwrap_or_default().to_owned())),
                Some("final") if !absorbed.contains(&id) => drop(finals.entry(id).or_insert(value)),
                _ => {}
            }
        }
        if finals.len() >= lines {
            break;
        }
        until = begin;
        back = back.saturating_mul(4);
    }
    Ok(finals.into_values().collect())
}

fn is_of(record: &Value, visitor: Option<&str>) -> bool {
    visitor.is_none_or(|visitor| record["value"]["visitor"] == visitor)
}

/// Finals as they come; of one visitor also updates and merges.
fn follow(global: &Global, mut look: Look, mut next: Vec<(TopicPartition, Offset)>, visitor: Option<&str>) -> Result {
    loop {
        let mut any = false;
        for (at, from) in &mut next {
            let page = match (look.records(*at, *from, PAGE, 0), &look) {
                // The process has stopped: its files have the rest, and what comes once it is back.
                (Err(_), Look::Running { .. }) => {
                    look = Look::open(global)?;
                    look.records(*at, *from, PAGE, 0)?
                }
                (page, _) => page?,
            };
            any |= page.next > *from;
            *from = page.next.max(*from);
            look::each_record(&page, *at, |record| {
                let session = &record["value"];
                if is_of(&record, visitor) && (visitor.is_some() || session["kind"] == "final") {
                    println!("{}", if global.json { session.to_string() } else { session::row(session) });
                }
            })?;
        }
        if !any {
            std::thread::sleep(FOLLOW_EVERY);
            if matches!(look, Look::Stored(_)) {
                look = Look::open(global)?;
            }
        }
    }
}
