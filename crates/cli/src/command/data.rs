//! `ouzel data size|verify|repair|prune`.

use std::sync::Arc;

use log::journal::{self, Journal};
use seam::{RealClock, RealFs};
use serde_json::json;

use crate::Global;
use crate::exit::{Exit, Failed, Result, with_help};
use crate::{look, term};

#[derive(clap::Args)]
pub struct DataArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// What each topic takes on disk
    Size,
    /// Reads everything and checks every checksum
    Verify,
    /// Moves damaged parts aside, and says what is lost
    Repair {
        /// Needed: nothing else is done to damage, and never without asking
        #[arg(long)]
        quarantine: bool,
    },
    /// Removes now what retention would remove later
    Prune,
}

pub fn run(global: &Global, args: DataArgs) -> Result {
    look::not_on_kafka(
        global,
        "`ouzel data`",
        "`ouzel topics` shows what Kafka holds, `ouzel topics lag` how far the stages are",
    )?;
    let dir = look::data_dir(global)?;
    look::known(&dir)?;
    let fs: Arc<dyn seam::Fs> = Arc::new(RealFs);
    match args.what {
        What::Size => {
            let journal = Journal::open_read_only(&dir, fs.clone(), Arc::new(RealClock::new()))?;
            let sizes = journal.sizes();
            let (free, total) = fs.space(&dir).map_err(|e| Failed::environment("cannot look at the disk", &e))?;
            if global.json {
                let topics: serde_json::Map<_, _> = sizes
                    .iter()
                    .map(|s| (s.topic.name().to_owned(), json!({"bytes": s.bytes, "records": s.records})))
                    .collect();
                println!("{}", json!({"topics": topics, "disk_free": free, "disk_total": total}));
            } else {
                for s in &sizes {
                    println!(
                        "{:<10} {:>12} {:>14} records",
                        s.topic.name(),
                        term::bytes(s.bytes),
                        term::count(s.records)
                    );
                }
                println!("the disk has {} free of {}", term::bytes(free), term::bytes(total));
            }
            Ok(Exit::Fine)
        }
        What::Verify => {
            let report = journal::verify(&dir, &*fs)?;
            let damage: Vec<_> = report
                .damage
                .iter()
                .map(|d| format!("{} at byte {}, {} bytes: {}", d.file.display(), d.at, d.len, d.what))
                .collect();
            if global.json {
                println!(
                    "{}",
                    json!({"segments": report.segments, "frames": report.frames, "records": report.records,
                        "bytes": report.bytes, "damage": damage, "torn": report.torn.is_some()})
                );
            } else {
                println!(
                    "{} records in {} frames of {} segments read, {}",
                    term::count(report.records),
                    term::count(report.frames),
                    report.segments,
                    term::bytes(report.bytes)
                );
                for damage in &damage {
                    println!("damaged: {damage}");
                }
                if let Some(torn) = &report.torn {
                    println!(
                        "{}: a frame was never finished there; it was never answered, and is cut off at the next start",
                        torn.file.display()
                    );
                }
                if damage.is_empty() {
                    println!("every checksum is right");
                } else {
                    println!(
                        "`ouzel data repair --quarantine --data {}` moves the damaged parts aside and says what is lost",
                        dir.display()
                    );
                }
            }
            Ok(if damage.is_empty() { Exit::Fine } else { Exit::Data })
        }
        What::Repair { quarantine: false } => Err(Failed::usage(with_help(
            "repairing moves damaged parts of the log aside, and what they held is lost to readers",
            &format!("if that is meant: `ouzel data repair --quarantine --data {}`", dir.display()),
        ))),
        What::Repair { quarantine: true } => {
            let report = journal::repair_quarantine(&dir, &*fs, &RealClock::new())?;
            let lost: Vec<_> = report
                .lost
                .iter()
                .map(|l| {
                    let sure = if l.certain { "" } else { " at most" };
                    format!("{} from {} to {}:{sure} {} records", l.partition, l.from, l.to, term::count(l.to - l.from))
                })
                .collect();
            let aside: Vec<_> = report.quarantined.iter().map(|p| p.display().to_string()).collect();
            if global.json {
                println!("{}", json!({"quarantined": aside, "lost": lost}));
                return Ok(Exit::Fine);
            }
            if report.damage.is_empty() {
                println!("there is no damage; nothing was moved");
            }
            for path in &aside {
                println!("the damaged bytes are in {path}");
            }
            for lost in &lost {
                println!("lost: {lost}");
            }
            if !report.damage.is_empty() {
                println!("everything else is there; `ouzel run` starts again");
            }
            Ok(Exit::Fine)
        }
        What::Prune => {
            let run = node::config::RunArgs { data: Some(dir.display().to_string()), ..Default::default() };
            let loaded = look::load_as_written(global, false, run)?;
            let config = node::parts::journal_config(&loaded.config);
            let journal = Journal::open(&dir, config, fs, Arc::new(RealClock::new()))?;
            let total = |j: &Journal| j.sizes().iter().map(|s| s.bytes).sum::<u64>();
            let before = total(&journal);
            journal.maintain();
            let after = total(&journal);
            journal.close();
            if global.json {
                println!("{}", json!({"before": before, "after": after}));
            } else {
                println!("{} before, {} after", term::bytes(before), term::bytes(after));
            }
            Ok(Exit::Fine)
        }
    }
}
