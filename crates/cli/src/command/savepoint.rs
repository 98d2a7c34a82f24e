//! `ouzel savepoint`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use log::journal::Holder;
use node::admin;
use node::engine::World;
use node::savepoint::{name_for, of_stopped};
use serde_json::{Value, json};

use crate::exit::{Exit, Failed, Result, with_help};
use crate::term::StatusLine;
use crate::{Global, look, term};

#[derive(clap::Args)]
pub struct SavepointArgs {
    /// Its name below DIR/savepoints; without one, the time
    #[arg(conflicts_with = "to")]
    name: Option<String>,
    /// A directory of its own for it, anywhere; it must not be there
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Ends the running process first, cleanly: everything accepted is in the savepoint then
    #[arg(long)]
    stop: bool,
}

/// Between two looks at a process that is ending.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub fn run(global: &Global, args: SavepointArgs) -> Result {
    let help = "on Kafka a clean stop (SIGTERM) leaves a snapshot at the committed position of every partition in \
                `state.store`: whoever takes a partition over replays nothing, so a deploy needs no savepoint";
    look::not_on_kafka(global, "`ouzel savepoint`", help)?;
    let dir = look::data_dir(global)?;
    look::known(&dir)?;
    let world = World::real();
    let to = match (&args.to, &args.name) {
        (Some(to), _) => to.clone(),
        (None, Some(name)) if !is_plain(name) => {
            return Err(Failed::usage(with_help(
                &format!("`{name}` is no name for a savepoint"),
                "letters, digits, `-`, `_` and `.`, not at the beginning; --to DIR puts it anywhere",
            )));
        }
        (None, Some(name)) => admin::savepoint_dir(&dir, name),
        (None, None) => admin::savepoint_dir(&dir, &name_for(world.clock.now())),
    };
    // The process may stand in another directory.
    let to = std::path::absolute(&to).map_err(|e| Failed::environment("cannot tell where this is", &e))?;
    let said = match look::holder(&dir)? {
        Some(holder) if !args.stop => of_process(&holder, &to)?,
        Some(holder) => {
            // A place that is taken is said before anything ends.
            if to.exists() {
                return Err(there(&to));
            }
            end(global, &holder, &dir)?;
            admin::said(&of_stopped(&dir, &to, &world)?)
        }
        None => admin::said(&of_stopped(&dir, &to, &world)?),
    };
    show(global, &said);
    Ok(Exit::Fine)
}

fn is_plain(name: &str) -> bool {
    !name.starts_with(['.', '-']) && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Of a running process, which goes on.
fn of_process(holder: &Holder, to: &Path) -> Result<Value> {
    let (status, said) = look::ask(holder, "/admin/savepoint", &json!({"to": to}))?;
    match status {
        200 => Ok(said),
        409 => Err(there(to)),
        404 if said["code"] == "nothing" => Err(nothing()),
        _ => Err(Failed::new(Exit::Environment, said["message"].as_str().unwrap_or("it did not say why"))),
    }
}

fn there(to: &Path) -> Failed {
    Failed::from(node::savepoint::SavepointError::There(to.to_owned()))
}

fn nothing() -> Failed {
    Failed::from(node::savepoint::SavepointError::Nothing)
}

/// Ends the process and waits for its end. Whether it left all that it should is seen in what it left.
fn end(global: &Global, holder: &Holder, dir: &Path) -> Result<()> {
    let (status, said) = look::ask(holder, "/admin/stop", &json!({}))?;
    if status != 202 {
        return Err(Failed::new(Exit::Environment, said["message"].as_str().unwrap_or("it does not stop")));
    }
    let mut line = StatusLine::new(!global.quiet && !global.json);
    while look::holder(dir)?.is_some_and(|now| now.pid == holder.pid) {
        line.show(&format!("process {} finishes what was accepted", holder.pid));
        std::thread::sleep(LOOK_EVERY);
    }
    line.clear();
    Ok(())
}

fn show(global: &Global, said: &Value) {
    if global.json {
        println!("{said}");
        return;
    }
    let partitions = said["partitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    println!(
        "{}: the state of {} partitions, {}",
        said["savepoint"].as_str().unwrap_or_default(),
        partitions.len(),
        term::bytes(said["bytes"].as_u64().unwrap_or(0))
    );
    let of =
        |p: &Value| format!("enriched/{} up to {}", p["partition"], term::count(p["position"].as_u64().unwrap_or(0)));
    println!("{}", partitions.iter().map(of).collect::<Vec<_>>().join(", "));
    if let Some(unread @ 1..) = said["unread"].as_u64() {
        println!("{} records of enriched were not read yet, and are not in it", term::count(unread));
    }
    println!(
        "`ouzel restore {} --to NEWDIR` makes a directory that begins with it",
        said["savepoint"].as_str().unwrap_or("SAVEPOINT")
    );
}
