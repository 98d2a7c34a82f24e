//! `ouzel restore`.

use std::path::PathBuf;

use node::engine::World;
use node::savepoint::restore;
use serde_json::json;

use crate::Global;
use crate::exit::{Exit, Result};

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The directory of a savepoint, as `ouzel savepoint` said it
    savepoint: PathBuf,
    /// The data directory that is made; it must not be there
    #[arg(long, value_name = "NEWDIR")]
    to: PathBuf,
}

pub fn run(global: &Global, args: RestoreArgs) -> Result {
    let savepoint = restore(&args.savepoint, &args.to, &World::real())?;
    let to = args.to.display();
    if global.json {
        println!(
            "{}",
            json!({"data": to.to_string(), "written_at": savepoint.written_at, "of": savepoint.of,
                "partitions": savepoint.partitions.len()})
        );
        return Ok(Exit::Fine);
    }
    println!(
        "{to} begins with the state of {}, in {} partitions per topic; no event is in it yet",
        savepoint.written_at, savepoint.of
    );
    println!("`ouzel run --data {to}` goes on from there");
    Ok(Exit::Fine)
}
