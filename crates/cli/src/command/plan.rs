//! `ouzel plan`.

use std::path::PathBuf;

use clap::ValueEnum;
use node::config::{Config, FILE, LoadArgs, RunArgs, change};
use node::plan::{Plan, json, mermaid, text};
use seam::RealFs;

use super::run::{FromArgs, start_failed};
use crate::exit::{Exit, Failed, Result, with_help};
use crate::{Global, look};

#[derive(clap::Args)]
pub struct PlanArgs {
    /// The configuration to draw, as -c
    file: Option<PathBuf>,
    /// How it is drawn; --json is for json
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// As --format mermaid: a flowchart for pages and code forges
    #[arg(long)]
    mermaid: bool,
    /// Opens reference files, and shows their versions and sizes
    #[arg(long)]
    open: bool,
    /// Instead of the drawing: what it costs to go from this configuration to the one that is meant
    #[arg(long, value_name = "OLD.toml", conflicts_with_all = ["open", "mermaid"])]
    against: Option<PathBuf>,
    /// As for `run`: where enriched events would be written
    #[arg(long, value_name = "FILE|-")]
    output: Option<String>,
    #[command(flatten)]
    from: FromArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Mermaid,
    Json,
}

pub fn run(global: &Global, args: PlanArgs) -> Result {
    let format = format(global, &args)?;
    let mut load = look::load_args(global, args.from.insecure, args.from.config());
    load.file = args.file.or(load.file);
    if let Some(old) = args.against {
        return against(&load, old, format);
    }
    let loaded = Config::load(&load, &RealFs).map_err(|e| Failed::usage(e.to_string()))?;
    let mut plan = Plan::of(&loaded, &RealFs).map_err(|e| start_failed(e.into()))?;
    plan.output = args.output;
    if args.open {
        plan.open(&loaded.config, &RealFs).map_err(|e| start_failed(e.into()))?;
    }
    match format {
        Format::Text => print!("{}", text::text(&plan)),
        Format::Mermaid => print!("{}", mermaid::mermaid(&plan)),
        Format::Json => println!("{}", json::json(&plan)),
    }
    Ok(Exit::Fine)
}

fn format(global: &Global, args: &PlanArgs) -> Result<Format> {
    let asked = [args.format, args.mermaid.then_some(Format::Mermaid), global.json.then_some(Format::Json)];
    let mut asked = asked.into_iter().flatten();
    let format = asked.next().unwrap_or(Format::Text);
    if asked.any(|other| other != format) {
        return Err(Failed::usage(with_help(
            "two ways to draw it are asked for",
            "choose one of --format text, --format mermaid (or --mermaid), --format json (or --json)",
        )));
    }
    if args.against.is_some() && format == Format::Mermaid {
        return Err(Failed::usage(with_help("a change is not drawn", "leave out --format mermaid")));
    }
    Ok(format)
}

/// The environment holds for both; flags say what is to be, and so hold for the new one only.
fn against(load: &LoadArgs, old: PathBuf, format: Format) -> Result {
    let failed = |e: node::config::ConfigErrors| Failed::usage(e.to_string());
    let (new, planned) = Config::explain(load, &RealFs).map_err(failed)?;
    let stands_in = load.file.clone().unwrap_or_else(|| FILE.into()).parent().map(|dir| load.cwd.join(dir));
    let before = LoadArgs {
        file: Some(old),
        set: Vec::new(),
        run: RunArgs::default(),
        stands_in,
        // What is in force already is not asked about.
        insecure: true,
        ..load.clone()
    };
    let (old, held) = Config::explain(&before, &RealFs).map_err(failed)?;
    let changes = change::compare(&held, &planned);
    match format {
        Format::Json => println!("{}", change::json(&changes, &old.origin, &new.origin)),
        _ => print!("{}", change::human(&changes, &old.origin, &new.origin)),
    }
    Ok(Exit::Fine)
}
