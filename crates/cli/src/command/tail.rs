//! `ouzel tail`.

use std::io::Write;
use std::ops::Range;

use event::TopicPartition;
use serde_json::Value;

use crate::Global;
use crate::exit::{Exit, Failed, Result};
use crate::look::{self, Look};

#[derive(clap::Args)]
pub struct TailArgs {
    /// raw, enriched, sessions, late or dlq
    #[arg(default_value = "enriched")]
    topic: String,
    /// Only this partition
    #[arg(long)]
    partition: Option<u32>,
    /// From this offset on instead of the last records (with --partition), or `start`
    #[arg(long, value_name = "OFFSET|start")]
    from: Option<String>,
    /// How many of the last records
    #[arg(short = 'n', long = "lines", default_value_t = 10)]
    lines: u64,
    /// Goes on with what comes, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Cards for people instead of a line of JSON each
    #[arg(long, conflicts_with = "json")]
    pretty: bool,
}

/// Records asked for at a time.
const PAGE: u64 = 1000;
/// How long a question waits for a record, when following.
const WAIT_MS: u64 = 1000;

pub fn run(global: &Global, args: TailArgs) -> Result {
    let topic = look::topic(&args.topic)?;
    let mut at = Look::open(global)?;
    let bounds = at.bounds(topic)?;
    let chosen: Vec<u32> = match args.partition {
        Some(p) if p as usize >= bounds.len() => {
            return Err(Failed::usage(format!(
                "there is no partition {p} of {}; there are 0 to {}",
                args.topic,
                bounds.len() - 1
            )));
        }
        Some(p) => vec![p],
        None => (0..bounds.len() as u32).collect(),
    };
    let mut next: Vec<(TopicPartition, u64)> = Vec::new();
    for p in &chosen {
        let (start, end) = bounds[*p as usize];
        let from = match args.from.as_deref() {
            None => end.saturating_sub(args.lines).max(start),
            Some("start") => start,
            Some(text) if args.partition.is_some() => {
                text.parse().map_err(|_| Failed::usage(format!("--from takes an offset or `start`, not `{text}`")))?
            }
            Some(_) => {
                return Err(Failed::usage("--from OFFSET needs --partition: each partition has offsets of its own"));
            }
        };
        next.push((topic.partition(*p), from));
    }
    let member = match args.pretty {
        true => look::load_as_written(global, false, node::config::RunArgs::default())?.config.enrich.member,
        false => String::new(),
    };
    let form = match (args.pretty, global.json) {
        (true, _) => Form::Card(&member),
        (_, true) => Form::Record,
        _ => Form::Value,
    };
    let mut out = std::io::stdout().lock();
    // The last records of all partitions in the order of their receipt.
    let mut last: Vec<(String, Vec<u8>)> = Vec::new();
    for (partition, from) in &mut next {
        let (start, end) = bounds[partition.partition as usize];
        if args.from.is_none() {
            last.extend(last_of(&at, *partition, start..end, args.lines)?);
            *from = end;
            continue;
        }
        while *from < end {
            let page = at.records(*partition, *from, PAGE, 0)?;
            for line in page.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                if !print(&mut out, form, line)? {
                    return Ok(Exit::Fine);
                }
            }
            if page.next <= *from {
                break;
            }
            *from = page.next;
        }
    }
    last.sort_by(|a, b| a.0.cmp(&b.0));
    let skip = last.len().saturating_sub(args.lines as usize);
    for (_, line) in &last[skip..] {
        if !print(&mut out, form, line)? {
            return Ok(Exit::Fine);
        }
    }
    if !args.follow {
        return Ok(Exit::Fine);
    }
    loop {
        let mut any = false;
        for (partition, from) in &mut next {
            let page = match (at.records(*partition, *from, PAGE, 0), &at) {
                // The process has stopped: its files have the rest, and what comes once it is back.
                (Err(_), Look::Running { .. }) => {
                    at = Look::open(global)?;
                    at.records(*partition, *from, PAGE, 0)?
                }
                (page, _) => page?,
            };
            any |= page.next > *from;
            *from = page.next.max(*from);
            for line in page.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                if !print(&mut out, form, line)? {
                    return Ok(Exit::Fine);
                }
            }
        }
        if !any {
            // Beside a process without a port, its files are opened anew to see what came.
            std::thread::sleep(std::time::Duration::from_millis(WAIT_MS / 4));
            if matches!(at, Look::Stored(_)) {
                at = Look::open(global)?;
            }
        }
    }
}

/// The last records of a partition, each with the time of its receipt. Control records lie between them and are not shown:
/// so it looks further back until there are enough.
fn last_of(at: &Look, partition: TopicPartition, kept: Range<u64>, lines: u64) -> Result<Vec<(String, Vec<u8>)>> {
    let mut back = lines;
    loop {
        let begin = kept.end.saturating_sub(back).max(kept.start);
        let mut found = Vec::new();
        let mut from = begin;
        while from < kept.end {
            let page = at.records(partition, from, PAGE, 0)?;
            for line in page.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                let record: Value = serde_json::from_slice(line)
                    .map_err(|e| Failed::new(Exit::Data, format!("{partition}: a record is no JSON: {e}")))?;
                found.push((record["received_at"].as_str().unwrap_or_default().to_owned(), line.to_vec()));
            }
            if page.next <= from {
                break;
            }
            from = page.next;
        }
        if found.len() as u64 >= lines || begin == kept.start {
            found.drain(..found.len().saturating_sub(lines as usize));
            return Ok(found);
        }
        back = back.saturating_mul(4).max(PAGE);
    }
}

/// How records are printed.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// The value alone.
    Value,
    /// All of it: partition, offset, times, value.
    Record,
    /// For people; the member that enrichers wrote.
    Card(&'a str),
}

/// Prints a record. False when nobody reads any more.
fn print(out: &mut impl Write, form: Form<'_>, line: &[u8]) -> Result<bool> {
    let shown;
    let value = match form {
        Form::Value => value_of(line),
        Form::Record => line,
        Form::Card(member) => {
            shown = crate::card::card(&serde_json::from_slice(line).unwrap_or_default(), member);
            shown.as_bytes()
        }
    };
    let result = out.write_all(value).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match result {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(Failed::environment("cannot write", &e)),
    }
}

/// The value of a record's line: its last member, verbatim.
fn value_of(line: &[u8]) -> &[u8] {
    const LABEL: &[u8] = b",\"value\":";
    // A key or a source cannot hold this text unescaped, so the first one is the member.
    line.windows(LABEL.len())
        .position(|w| w == LABEL)
        .map_or(line, |at| line[at + LABEL.len()..].strip_suffix(b"}").unwrap_or(line))
}
