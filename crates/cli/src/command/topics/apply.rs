//! `ouzel topics apply`.

use node::carrier;
use node::engine::World;
use serde_json::json;

use crate::Global;
use crate::command::run::carrier_failed;
use crate::exit::{Exit, Result};
use crate::look;

#[derive(clap::Args)]
pub struct ApplyArgs {
    /// Does it; without this it only says what it would do
    #[arg(long)]
    yes: bool,
}

pub fn run(global: &Global, args: &ApplyArgs) -> Result {
    let config = look::needs_kafka(global, "`ouzel topics apply`")?;
    let plan = carrier::plan(&config, &World::real()).map_err(carrier_failed)?;
    let lines = plan.lines();
    if args.yes && !lines.is_empty() {
        plan.apply().map_err(carrier_failed)?;
    }
    if global.json {
        println!("{}", json!({"changes": lines, "applied": args.yes}));
        return Ok(Exit::Fine);
    }
    if lines.is_empty() {
        println!("the topics are as the configuration has them");
        return Ok(Exit::Fine);
    }
    lines.iter().for_each(|line| println!("{line}"));
    match args.yes {
        true => println!("done"),
        false => println!("nothing was changed; --yes does it"),
    }
    Ok(Exit::Fine)
}
