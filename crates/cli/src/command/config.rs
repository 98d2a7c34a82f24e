//! `ouzel config schema|show|reference`.

use node::config::reference::{self, Named};
use node::config::{Config, RunArgs, json_schema, show};
use seam::RealFs;

use crate::exit::{Exit, Failed, Result, with_help};
use crate::{Global, look};

#[derive(clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Prints a JSON Schema of ouzel.toml, for editors that complete and check while one writes
    #[command(after_help = SCHEMA_HELP)]
    Schema,
    /// Prints the configuration that holds, every key of it, as TOML that gives the same one again
    Show {
        /// With where each value came from: file and line, variable, flag or default
        #[arg(long)]
        origin: bool,
        /// As for `run`: lets a configuration listen on an address others can reach
        #[arg(long)]
        insecure: bool,
    },
    /// Explains one key, a section, or all keys, in Markdown
    Reference {
        /// data.keep.raw, source.preset, [data], OUZEL__DATA__DIR; without it all keys
        key: Option<String>,
    },
}

const SCHEMA_HELP: &str = "\
For Taplo (\"Even Better TOML\" in VS Code) and others that read its comments:
  ouzel config schema > ouzel.schema.json
and as the first line of ouzel.toml:
  #:schema ./ouzel.schema.json";

pub fn run(global: &Global, args: ConfigArgs) -> Result {
    match args.what {
        What::Schema => println!("{:#}", json_schema::json_schema()),
        What::Show { origin, insecure } => {
            let load = look::load_args(global, insecure, RunArgs::default());
            let (loaded, effective) = Config::explain(&load, &RealFs).map_err(|e| Failed::usage(e.to_string()))?;
            if global.json {
                println!("{}", show::json(&effective, &loaded.origin));
            } else {
                print!("{}", show::toml(&effective, &loaded.origin, origin));
            }
        }
        What::Reference { key: None } if global.json => println!("{}", reference::json()),
        What::Reference { key: None } => print!("{}", reference::reference()),
        What::Reference { key: Some(name) } => {
            let named = Named::find(&name).map_err(|unknown| {
                let help = match unknown.near.as_slice() {
                    [] => "`ouzel config reference` has all of them".to_owned(),
                    near => format!("did you mean `{}`?", near.join("`, `")),
                };
                Failed::usage(with_help(&unknown.to_string(), &help))
            })?;
            if global.json {
                println!("{}", named.json());
            } else {
                print!("{}", named.page());
            }
        }
    }
    Ok(Exit::Fine)
}
