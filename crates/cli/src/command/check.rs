//! `ouzel check`.

use node::config::{Config, Problem, ProblemKind, RunArgs, check};
use node::lookups::{self, Outside};
use seam::RealFs;

use crate::exit::{Exit, Result};
use crate::{Global, look};

#[derive(clap::Args)]
pub struct CheckArgs {
    /// The configuration to check, as -c
    file: Option<std::path::PathBuf>,
    /// As for `run`: lets a configuration listen on an address others can reach
    #[arg(long)]
    insecure: bool,
}

pub fn run(global: &Global, args: CheckArgs) -> Result {
    let mut load = look::load_args(global, args.insecure, RunArgs::default());
    load.file = args.file.or(load.file);
    let mut result = Config::load(&load, &RealFs);
    if let Ok(loaded) = &mut result {
        // A configuration can be right on a machine that is not: what is not there yet is told apart.
        let (missing, warnings) = check::files(loaded, &RealFs);
        let damaged = node::parts::with_assets(&mut loaded.config, &RealFs).into_iter().map(|message| Problem {
            kind: ProblemKind::Unreadable,
            message,
            place: None,
            help: Vec::new(),
        });
        let unready = lookups::check(loaded, Outside { env: &load.env, fs: &RealFs });
        loaded.warnings.extend(missing.into_iter().chain(warnings).chain(damaged).chain(unready));
    }
    let exit = if result.is_ok() { Exit::Fine } else { Exit::Usage };
    if global.json {
        println!("{}", check::json(&result, &RealFs));
    } else if result.is_ok() {
        print!("{}", check::human(&result));
    } else {
        eprint!("{}", check::human(&result));
    }
    Ok(exit)
}
