//! `ouzel dlq list|show`.

use event::topic::DLQ;
use serde_json::Value;

use crate::Global;
use crate::exit::{Exit, Failed, Result};
use crate::look::Look;

#[derive(clap::Args)]
pub struct DlqArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Lists dead letters, oldest first: where, when, why
    List {
        /// Only this reason, for example missing_field
        #[arg(long)]
        code: Option<String>,
        /// At most so many
        #[arg(short = 'n', long, default_value_t = 100)]
        limit: usize,
    },
    /// Shows one dead letter, with the original bytes
    Show {
        /// PARTITION:OFFSET as `list` gives it, or the event's id
        which: String,
        /// Only the original bytes, as they came
        #[arg(long)]
        original: bool,
    },
}

pub fn run(global: &Global, args: DlqArgs) -> Result {
    let look = Look::open(global)?;
    match args.what {
        What::List { code, limit } => list(global, &look, code.as_deref(), limit),
        What::Show { which, original } => show(global, &look, &which, original),
    }
}

fn list(global: &Global, look: &Look, code: Option<&str>, limit: usize) -> Result {
    if let Some(code) = code
        && event::Code::named(code).is_none()
    {
        let known: Vec<_> = event::Code::ALL.iter().map(|c| c.name()).collect();
        return Err(Failed::usage(format!("there is no code `{code}`; there are {}", known.join(", "))));
    }
    let mut found = Vec::new();
    visit(look, |record| {
        if code.is_none_or(|c| record["value"]["code"] == c) {
            found.push(record);
        }
        true
    })?;
    found.sort_by(|a, b| a["received_at"].as_str().cmp(&b["received_at"].as_str()));
    let total = found.len();
    for record in found.iter().take(limit) {
        if global.json {
            println!("{record}");
            continue;
        }
        let letter = &record["value"];
        println!(
            "{}:{}  {}  {:<18} {:<12} {}  {}",
            record["partition"],
            record["offset"],
            text(&letter["received_at"]),
            text(&letter["code"]),
            text(&letter["source"]),
            text(&letter["pointer"]),
            text(&letter["message"]),
        );
    }
    if !global.json {
        if total == 0 {
            println!("no dead letters{}", code.map(|c| format!(" with code {c}")).unwrap_or_default());
        } else if total > limit {
            println!("... and {} more; -n {total} shows all", total - limit);
        } else {
            let letters = if total == 1 { "dead letter" } else { "dead letters" };
            println!("{total} {letters}; `ouzel dlq show PARTITION:OFFSET` shows one with its original bytes");
        }
    }
    Ok(Exit::Fine)
}

fn show(global: &Global, look: &Look, which: &str, original: bool) -> Result {
    let place = which.split_once(':').and_then(|(p, o)| Some((p.parse::<u64>().ok()?, o.parse::<u64>().ok()?)));
    let mut found = None;
    visit(look, |record| {
        let here = match place {
            Some((p, o)) => record["partition"] == p && record["offset"] == o,
            None => record["value"]["id"] == which || record["key"] == which,
        };
        if here {
            found = Some(record);
        }
        !here
    })?;
    let Some(record) = found else {
        return Err(Failed::new(
            Exit::Failed,
            format!("there is no dead letter `{which}`; `ouzel dlq list` shows what there is"),
        ));
    };
    let letter = &record["value"];
    if original {
        use std::io::Write;
        let bytes = event::dead_letter::original(letter["event"].as_str(), letter["event_base64"].as_str());
        let bytes = bytes.ok_or_else(|| Failed::new(Exit::Data, "the dead letter has no original"))?;
        std::io::stdout().write_all(&bytes).map_err(|e| Failed::environment("cannot write", &e))?;
        return Ok(Exit::Fine);
    }
    if global.json {
        println!("{record}");
    } else {
        println!("{}", serde_json::to_string_pretty(&record).expect("a value"));
        if let Some(code) = letter["code"].as_str().and_then(event::Code::named) {
            println!("\n{}: {} See docs/failures/{}.md", code.name(), code.meaning(), code.name());
        }
    }
    Ok(Exit::Fine)
}

/// Calls `each` for every dead letter until it says false.
fn visit(look: &Look, mut each: impl FnMut(Value) -> bool) -> Result<()> {
    for (p, (start, end)) in look.bounds(DLQ)?.into_iter().enumerate() {
        let mut from = start;
        while from < end {
            let page = look.records(DLQ.partition(p as u32), from, 1000, 0)?;
            for line in page.lines.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
                let record = serde_json::from_slice(line)
                    .map_err(|e| Failed::new(Exit::Data, format!("dlq/{p}: a record is no JSON: {e}")))?;
                if !each(record) {
                    return Ok(());
                }
            }
            if page.next <= from {
                break;
            }
            from = page.next;
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
