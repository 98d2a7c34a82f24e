//! `ouzel topics`: what there is; `apply`: made as the configuration has them; `lag`: how far the stages are.

mod apply;
mod lag;

use serde_json::json;

use crate::Global;
use crate::exit::{Exit, Result};
use crate::look::Look;
use crate::term;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct TopicsArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Every partition of every topic
    #[arg(long)]
    partitions: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Makes and changes the topics on Kafka, so that they are as the configuration has them; without --yes it only says how
    Apply(apply::ApplyArgs),
    /// How far each stage is in each partition, on Kafka, and why it is no further
    Lag(lag::LagArgs),
}

pub fn run(global: &Global, args: TopicsArgs) -> Result {
    match args.what {
        Some(What::Apply(args)) => apply::run(global, &args),
        Some(What::Lag(args)) => lag::run(global, &args),
        None => list(global, &args),
    }
}

fn list(global: &Global, args: &TopicsArgs) -> Result {
    let look = Look::open(global)?;
    let topics = look.topics()?;
    let sizes = sizes(&look)?;
    let list = topics.as_array().cloned().unwrap_or_default();
    if global.json {
        println!("{}", json!({ "topics": topics, "sizes": sizes }));
        return Ok(Exit::Fine);
    }
    println!("{:<10} {:>10} {:>14} {:>12}  holds", "topic", "partitions", "records kept", "size");
    for topic in &list {
        let name = topic["name"].as_str().unwrap_or_default();
        let partitions = topic["partitions"].as_array().cloned().unwrap_or_default();
        let bounds = partitions.iter().map(|p| (p["start"].as_u64().unwrap_or(0), p["end"].as_u64().unwrap_or(0)));
        let kept: u64 = bounds.clone().map(|(s, e)| e - s).sum();
        let size = sizes[name].as_u64().map_or("?".to_owned(), term::bytes);
        let holds = topic["holds"].as_str().unwrap_or_default();
        println!("{name:<10} {:>10} {:>14} {size:>12}  {holds}", partitions.len(), term::count(kept));
        if args.partitions {
            for (p, (start, end)) in bounds.enumerate() {
                println!("  {name}/{p}: {} to {}", term::count(start), term::count(end));
            }
        }
    }
    Ok(Exit::Fine)
}

/// Bytes of each topic, by name.
fn sizes(look: &Look) -> Result<serde_json::Value> {
    match look {
        Look::Stored(journal) => {
            Ok(journal.sizes().into_iter().map(|s| (s.topic.name().to_owned(), json!(s.bytes))).collect())
        }
        // Brokers say nothing of it without a question of its own to each.
        Look::Kafka(_) => Ok(json!({})),
        Look::Running { .. } => {
            let status = look.running_json("/status.json")?.unwrap_or_default();
            let topics = status["topics"].as_array().cloned().unwrap_or_default();
            Ok(topics.iter().filter_map(|t| Some((t["name"].as_str()?.to_owned(), t["bytes"].clone()))).collect())
        }
    }
}
