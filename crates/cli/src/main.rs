//! `ouzel`: one file per command in `command/`; here are the arguments and the exit codes.

mod alloc;
mod card;
mod command;
mod exit;
mod look;
mod send;
mod session;
mod term;
mod timeline;

use clap::{Parser, Subcommand};

use exit::Exit;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// Turns raw product events into enriched events while the user is still on the page.
#[derive(Parser)]
#[command(name = "ouzel", version, propagate_version = true, arg_required_else_help = true)]
struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Args, Clone)]
pub struct Global {
    /// Configuration file; without it ./ouzel.toml, and without that the built-in defaults
    #[arg(short = 'c', long = "config", global = true, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    /// Sets a key of the configuration, over the file and the environment: --set geo.database=city.mmdb
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The data directory (data.dir)
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<std::path::PathBuf>,
    /// For machines: JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Says more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Says nothing but errors
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Writes a configuration: one for your own events (--from), or one with every key there is
    Init(command::init::InitArgs),
    /// Takes events in, enriches them and makes them readable
    Run(command::run::RunArgs),
    /// Validates a configuration, with line, column and a suggestion
    Check(command::check::CheckArgs),
    /// Draws what would run: sources, topics, enrichers with what they read and write; or what a change costs
    Plan(command::plan::PlanArgs),
    /// Explains the configuration: its schema for editors, what holds and where it came from, every key
    Config(command::config::ConfigArgs),
    /// Runs your own cases (tests/*.toml) through the pipeline, without a port or a disk
    Test(command::test::TestArgs),
    /// Shows records of a topic, stored or as they come
    Tail(command::tail::TailArgs),
    /// Lists topics with their partitions, sizes and positions
    Topics(command::topics::TopicsArgs),
    /// Dead letters: events that were refused or set aside
    Dlq(command::dlq::DlqArgs),
    /// Sessions: the newest, or those of one visitor with what is open
    Sessions(command::sessions::SessionsArgs),
    /// Asks one of the configured lookups by hand
    Lookup(command::lookup::LookupArgs),
    /// What became of an event, from its receipt to its session; or where a replay decides otherwise (`divergence`)
    Explain(command::explain::ExplainArgs),
    /// Copies the state of the stages to a place where nothing retires it
    Savepoint(command::savepoint::SavepointArgs),
    /// Makes a new data directory that begins with the state of a savepoint
    Restore(command::restore::RestoreArgs),
    /// Sizes, verifies, repairs and prunes the data directory
    Data(command::data::DataArgs),
    /// Reference data (places, networks, user agents, bots): fetches it, lists it with its licences
    Assets(command::assets::AssetsArgs),
    /// Looks at limits, disk, fsync speed and clock, and says what to change
    Doctor(command::doctor::DoctorArgs),
    /// Makes the events of a simulated marketplace, and the truth about them
    Gen(Box<command::r#gen::GenArgs>),
    /// Measures this machine with this program
    Bench(command::bench::BenchArgs),
    /// Prints completions for a shell
    Completions(command::completions::CompletionsArgs),
    /// The version, and what it was built with
    Version,
}

fn main() -> std::process::ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            let _ = e.print();
            // Help and version are answers, not errors.
            return if e.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    term::init_logs(&args.global);
    if !matches!(args.command, Command::Run(_) | Command::Gen(_) | Command::Bench(_)) {
        // Commands that print end quietly when nobody reads any more (`ouzel dlq list | head`).
        // SAFETY: the default action is set before any thread starts.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    let global = &args.global;
    let result = match args.command {
        Command::Init(args) => command::init::run(global, args),
        Command::Run(args) => command::run::run(global, args),
        Command::Check(args) => command::check::run(global, args),
        Command::Plan(args) => command::plan::run(global, args),
        Command::Config(args) => command::config::run(global, args),
        Command::Test(args) => command::test::run(global, args),
        Command::Tail(args) => command::tail::run(global, args),
        Command::Topics(args) => command::topics::run(global, args),
        Command::Dlq(args) => command::dlq::run(global, args),
        Command::Sessions(args) => command::sessions::run(global, args),
        Command::Lookup(args) => command::lookup::run(global, args),
        Command::Explain(args) => command::explain::run(global, args),
        Command::Savepoint(args) => command::savepoint::run(global, args),
        Command::Restore(args) => command::restore::run(global, args),
        Command::Data(args) => command::data::run(global, args),
        Command::Assets(args) => command::assets::run(global, args),
        Command::Doctor(args) => command::doctor::run(global, args),
        Command::Gen(args) => command::r#gen::run(global, *args),
        Command::Bench(args) => command::bench::run(global, args),
        Command::Completions(args) => command::completions::run(args),
        Command::Version => command::version::run(global),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(failed) => {
            failed.print(global.json);
            failed.exit.into()
        }
    }
}
