//! `ouzel run`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use door::input::error::Kind;
use node::config::{Config, Durability, Loaded, RunArgs as ConfigRunArgs, SourceKind};
use node::engine::{Accept, Engine, StartError, Summary, World};
use node::lookup_server::LookupServer;
use node::lookups::LookupsError;
use node::output::{OutputError, To};
use serde_json::json;

use crate::exit::{Exit, Failed, Result, plain, with_help};
use crate::term::{self, StatusLine};
use crate::{Global, look};

#[derive(clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Writes enriched events as NDJSON to this file, or to standard output
    #[arg(long, value_name = "FILE|-")]
    output: Option<String>,
    /// Ends when all inputs have ended and everything accepted is enriched
    #[arg(long)]
    until_idle: bool,
    /// Ends bounded inputs for good, then the run; refused beside inputs that never end
    #[arg(long)]
    close: bool,
    /// What this process does: all of it, or `lookup`, which answers lookups over HTTP and does nothing else
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',', default_value = "all")]
    roles: Vec<String>,
    /// Goes on when this program makes other sessions than those that are stored, where their state has to be rebuilt
    #[arg(long)]
    accept_divergence: bool,
}

/// Where events come from: flags that stand for keys.
#[derive(clap::Args)]
pub struct FromArgs {
    /// Reads this file (NDJSON, JSON array, CSV, access log; gzip or zstd), or - for standard input, instead of the
    /// configured sources; no port is opened unless --listen asks for one
    #[arg(long, value_name = "FILE|-")]
    input: Option<String>,
    /// Goes on reading the input as it grows, through renames and truncation
    #[arg(long, requires = "input")]
    follow: bool,
    /// Where the fields of events are: segment, ouzel, access-log, csv
    #[arg(long)]
    preset: Option<String>,
    /// One field over the preset: --map time=/created_at,zone=UTC
    #[arg(long, value_name = "FIELD=POINTER")]
    map: Vec<String>,
    /// The address to listen on (http.listen); port 0 takes any free one
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Listens on an address others can reach although there are no keys and no TLS
    #[arg(long)]
    pub insecure: bool,
}

impl FromArgs {
    pub fn config(&self) -> ConfigRunArgs {
        ConfigRunArgs {
            input: self.input.clone(),
            follow: self.follow,
            preset: self.preset.clone(),
            map: self.map.clone(),
            listen: self.listen.clone(),
            data: None,
        }
    }
}

const STATUS_EVERY: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(10);

pub fn run(global: &Global, args: RunArgs) -> Result {
    let loaded = look::load(global, args.from.insecure, args.from.config())?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    let config = &loaded.config;
    if roles(&args.roles)? == Roles::Lookup {
        return lookups_alone(global, &args, &loaded);
    }
    let endless = endless(config);
    if let (true, Some((what, flag))) = (args.close, &endless) {
        return Err(Failed::usage(with_help(
            &format!("--close ends the run when its inputs have ended, and {what} never ends"),
            &format!("leave out --close or {flag}"),
        )));
    }
    let to = args.output.as_deref().map(|o| if o == "-" { To::Stdout } else { To::File(PathBuf::from(o)) });
    let signals = Signals::install()?;
    let world = World::real();
    let accept = if args.accept_divergence { Accept::Divergence } else { Accept::Nothing };
    let mut engine = Engine::start_with(config, to.clone(), &world, accept).map_err(start_failed)?;

    for what in &engine.status.without {
        eprintln!("warning: {what}");
    }
    let people = std::io::stderr().is_terminal() && !global.quiet && !global.json;
    if people {
        banner(config, &loaded.origin, &engine);
    } else {
        tracing::info!(
            data = %config.data.dir.display(),
            http = engine.addr().map(tracing::field::display),
            "ouzel runs"
        );
    }
    // On a terminal the line would stand among the events.
    let mut line = StatusLine::new(people && !(to == Some(To::Stdout) && std::io::stdout().is_terminal()));
    let until_idle = args.until_idle || args.close || endless.is_none();
    let mut shown = Duration::ZERO;
    let mut stopping = false;
    let mut told = false;
    let mut closed = false;
    loop {
        // Beside a port, an input that failed is a reason of `/readyz` and no reason to turn senders away.
        let failed = engine.input_failed();
        if failed && engine.addr().is_some() && !told {
            told = true;
            for input in engine.status.inputs.lock().expect("no panic while held").iter() {
                if let Some(error) = input.error() {
                    tracing::error!(input = input.name, error, "an input stopped; the port goes on");
                }
            }
        }
        let asked = signals.any() || engine.status.admin.stop.load(Relaxed);
        if (asked || (failed && engine.addr().is_none())) && !stopping {
            line.clear();
            if people {
                eprintln!("stopping: finishing what was accepted (Ctrl-C again stops at once)");
            }
            engine.stop_taking();
            stopping = true;
        }
        // What waits for room on the disk may wait for long; it is safe, and the next start goes on with it.
        let stuck = stopping && engine.status.trouble().is_some();
        if engine.must_stop() || stuck {
            break;
        }
        if (stopping || until_idle) && engine.idle() {
            if !args.close || closed || stopping {
                break;
            }
            engine.close().map_err(|e| Failed::new(Exit::Environment, e))?;
            closed = true;
        }
        let now = world.clock.elapsed();
        if now - shown >= STATUS_EVERY {
            shown = now;
            line.show(&status_line(&engine));
        }
        std::thread::sleep(TICK);
    }
    line.clear();
    engine.stop_taking();
    let seconds = world.clock.elapsed().as_secs_f64();
    let status = engine.status.clone();
    for input in status.inputs.lock().expect("no panic while held").iter() {
        if let (Some(note), false) = (input.note(), global.json || global.quiet) {
            eprintln!("{}: {note}", input.what);
        }
    }
    let trouble = status.trouble().filter(|t| !t.fatal);
    let mut summary = engine.finish();
    if let (Some(trouble), 1..) = (trouble, summary.run.in_flight) {
        summary.errors.push(format!(
            "{}; {} accepted events are not enriched yet. They are safe, and the next start goes on with them",
            trouble.reason,
            term::count(summary.run.in_flight)
        ));
    }
    let noted = status.inputs.lock().expect("no panic while held").iter().any(|i| i.note().is_some());
    report(global, config, &summary, seconds, status.latency(), noted);
    if config.geo.databases.is_empty() && summary.enriched > 0 && !(people || global.quiet || global.json) {
        eprintln!("{NO_GEO}");
    }
    if summary.errors.is_empty() {
        return Ok(Exit::Fine);
    }
    let inputs = status.inputs.lock().expect("no panic while held");
    let exit = match inputs.iter().find_map(|i| i.error_kind()) {
        Some(Kind::FixConfig) => Exit::Usage,
        Some(Kind::FixInput) => Exit::Data,
        Some(Kind::Environment | Kind::Log) | None => Exit::Environment,
    };
    Err(Failed::new(exit, summary.errors.join("\n")))
}

/// What a process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Roles {
    All,
    Lookup,
}

fn roles(names: &[String]) -> Result<Roles> {
    /// Those of one process, which hand events to one another in its memory and its directory.
    const TOGETHER: [&str; 3] = ["collect", "enrich", "sessions"];
    let has = |name: &str| names.iter().any(|n| n == name);
    if let Some(unknown) =
        names.iter().find(|n| !TOGETHER.contains(&n.as_str()) && !["all", "lookup"].contains(&n.as_str()))
    {
        let help = "there are all, lookup, collect, enrich and sessions; the last three only together";
        return Err(Failed::usage(with_help(&format!("there is no role `{unknown}`"), help)));
    }
    if has("all") || TOGETHER.iter().all(|name| has(name)) {
        return Ok(Roles::All);
    }
    match TOGETHER.iter().find(|name| has(name)) {
        None => Ok(Roles::Lookup),
        Some(name) => Err(Failed::usage(with_help(
            &format!(
                "the role `{name}` cannot run by itself yet: collect, enrich and sessions share one data directory"
            ),
            "leave out --roles, or say --roles lookup for a process that answers lookups alone",
        ))),
    }
}

/// `--roles lookup`, until it is told to stop.
fn lookups_alone(global: &Global, args: &RunArgs, loaded: &Loaded) -> Result {
    let config = &loaded.config;
    let of_events = [
        (args.from.input.is_some(), "--input"),
        (args.output.is_some(), "--output"),
        (args.until_idle, "--until-idle"),
        (args.close, "--close"),
        (args.accept_divergence, "--accept-divergence"),
    ];
    if let Some((_, flag)) = of_events.into_iter().find(|(given, _)| *given) {
        let help = "leave it out: this process takes no events, it answers lookups";
        return Err(Failed::usage(with_help(&format!("{flag} is nothing for --roles lookup"), help)));
    }
    let Some(addr) = config.http.listen else {
        let what = "--roles lookup needs a port, and http.listen names none";
        return Err(Failed::usage(with_help(what, "--listen 127.0.0.1:7070, or http.listen")));
    };
    let signals = Signals::install()?;
    let server = LookupServer::start(config, addr, &World::real()).map_err(start_failed)?;
    for what in &server.without {
        eprintln!("warning: {what}");
    }
    if std::io::stderr().is_terminal() && !global.quiet && !global.json {
        eprintln!("ouzel {} · {} · lookups alone", env!("CARGO_PKG_VERSION"), loaded.origin);
        eprintln!("ask:        POST http://{}/v1/lookup/NAME", server.addr());
    } else {
        tracing::info!(http = %server.addr(), "ouzel answers lookups");
    }
    while !signals.any() {
        std::thread::sleep(TICK);
    }
    server.stop();
    Ok(Exit::Fine)
}

/// What is wrong and what to do, with the exit code.
pub fn start_failed(e: StartError) -> Failed {
    match e {
        StartError::Log(e) => Failed::from(e),
        StartError::Map { .. } => Failed::usage(e.to_string()),
        StartError::Output(OutputError::Log(e)) => Failed::from(e),
        StartError::Output(OutputError::Directory { .. }) => Failed::usage(e.to_string()),
        StartError::Output(OutputError::Cut { .. }) => Failed::new(Exit::Data, e.to_string()),
        StartError::Output(OutputError::Io { path, source }) => {
            let why = match path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()) {
                Some(dir) => format!("there is no directory {}", dir.display()),
                None => plain(&source),
            };
            Failed::environment(&format!("cannot write to {}", path.display()), &why)
        }
        StartError::Lookup(e) => {
            let exit = match e.kind() {
                lookup::Kind::FixConfig => Exit::Usage,
                lookup::Kind::Data => Exit::Data,
                lookup::Kind::Retry => Exit::Environment,
            };
            let help = "the configuration says not to start without it (`geo.required`, or a [[lookup]]): put a good file there";
            Failed::new(exit, with_help(&e.to_string(), help))
        }
        StartError::Lookups(e @ LookupsError::Wrong { .. }) => {
            Failed::usage(with_help(&e.to_string(), "`ouzel check` says what else is wrong or missing"))
        }
        StartError::Lookups(e @ LookupsError::Threads(_)) => Failed::new(Exit::Environment, e.to_string()),
        StartError::Listen { .. } | StartError::Environment(..) => Failed::new(Exit::Environment, e.to_string()),
    }
}

/// What of a run has no end, and the flag or the key that asks for it.
fn endless(config: &Config) -> Option<(String, &'static str)> {
    if let Some(addr) = config.http.listen {
        return Some((format!("the port {addr}"), "the port (--input without --listen opens none)"));
    }
    config.sources.iter().find_map(|s| match &s.kind {
        SourceKind::File { path, follow: true } => {
            Some((format!("{}, which is followed,", path.display()), "--follow (`follow` of the source)"))
        }
        _ => None,
    })
}

const NO_GEO: &str = "no geo database: events get no place (--set geo.database=FILE.mmdb)";

fn banner(config: &Config, origin: &str, engine: &Engine) {
    eprintln!("ouzel {} · {origin} · data in {}", env!("CARGO_PKG_VERSION"), config.data.dir.display());
    if config.data.durability == Durability::Os {
        eprintln!("durability is \"os\": a power cut may lose acknowledged events");
    }
    if config.geo.databases.is_empty() {
        eprintln!("{NO_GEO}");
    }
    for source in &config.sources {
        match &source.kind {
            SourceKind::Http => {}
            SourceKind::File { path, follow } => {
                eprintln!("reading {}{}", path.display(), if *follow { ", and what comes" } else { "" });
            }
            SourceKind::Stdin => eprintln!("reading standard input"),
        }
    }
    if let Some(addr) = engine.addr() {
        eprintln!("events in:  POST http://{addr}/v1/events");
        eprintln!("look:       http://{addr}/   or   ouzel tail --follow --data {}", config.data.dir.display());
    }
}

fn status_line(engine: &Engine) -> String {
    let status = &engine.status;
    let sums = status.sums();
    let (p50, p99) = status.latency();
    let show = |d: Option<Duration>| d.map_or("-".to_owned(), term::span);
    let mut line = format!(
        "{}/s  p50 {}  p99 {}  lag {}  enriched {}  failures {}",
        term::count(status.rate() as u64),
        show(p50),
        show(p99),
        term::count(sums.in_flight),
        term::count(sums.processed),
        term::count(sums.refused + sums.quarantined),
    );
    for input in status.inputs.lock().expect("no panic while held").iter() {
        let (read, total) = (input.progress.bytes.load(Relaxed), input.progress.total.load(Relaxed));
        if let Some(why) = input.progress.waiting() {
            line.push_str(&format!("  {} waits: {why}", input.name));
        } else if total > 0 && read < total {
            line.push_str(&format!("  {} {}%", input.name, read * 100 / total));
        }
    }
    if let Some(trouble) = status.trouble() {
        line.push_str(&format!("  [{}]", trouble.reason));
    }
    line
}

fn report(
    global: &Global,
    config: &Config,
    summary: &Summary,
    seconds: f64,
    (p50, p99): (Option<Duration>, Option<Duration>),
    noted: bool,
) {
    let run = &summary.run;
    let rate = if seconds > 0.0 { summary.enriched as f64 / seconds } else { 0.0 };
    if global.json {
        let ms = |d: Option<Duration>| d.map(|d| d.as_secs_f64() * 1e3);
        let mut out = run.json();
        for (name, value) in [
            ("enriched", json!(summary.enriched)),
            ("late", json!(summary.late)),
            ("seconds", json!(seconds)),
            ("events_per_second", json!(rate)),
            ("p50_ms", json!(ms(p50))),
            ("p99_ms", json!(ms(p99))),
            ("lines", json!(summary.lines)),
            ("total", summary.total.json()),
            ("inputs", json!(summary.inputs)),
            ("errors", json!(summary.errors)),
            ("data", json!(config.data.dir.display().to_string())),
        ] {
            out[name] = value;
        }
        // Standard output is the events' when they go there.
        if summary.lines.is_some() {
            eprintln!("{out}");
        } else {
            println!("{out}");
        }
        return;
    }
    if global.quiet {
        return;
    }
    if run.received() == 0 && run.carried == 0 {
        // Sums of nothing would hide the one line that says why.
        if !noted && summary.errors.is_empty() {
            eprintln!("nothing was received");
        }
        return;
    }
    let n = term::count;
    let before = if run.carried > 0 { format!(" (+ {} accepted before)", n(run.carried)) } else { String::new() };
    eprintln!("{} received = {} accepted + {} refused", n(run.received()), n(run.accepted), n(run.refused));
    eprintln!(
        "{} accepted{before} = {} processed + {} quarantined + {} duplicates + {} in flight + {} expired{}",
        n(run.accepted),
        n(run.processed),
        n(run.quarantined),
        n(run.deduplicated),
        n(run.in_flight),
        n(run.expired),
        if run.add_up() { "" } else { "   THIS DOES NOT ADD UP: please report it" },
    );
    eprintln!("{} events added to `enriched` in {seconds:.1} s ({}/s)", n(summary.enriched), n(rate as u64));
    let dir = config.data.dir.display();
    if summary.late > 0 {
        let late = n(summary.late);
        eprintln!(
            "{late} events were too late for their session: `ouzel tail late --data {dir}` shows which, and how late"
        );
        if summary.late * 2 > summary.enriched {
            eprintln!(
                "they are not in the order of their times, or older than what {dir} has seen: sort them, read them into a \
                 directory of their own (--data), or allow for more disorder (--set time.out_of_order=1h)"
            );
        }
    }
    if run.refused + run.quarantined > 0 {
        eprintln!("`ouzel dlq list --data {dir}` shows what was refused or set aside, and why");
    }
    if summary.enriched > 0 && summary.lines.is_none() {
        eprintln!("`ouzel tail --data {dir}` shows the enriched events");
    }
}

/// SIGINT and SIGTERM. The first is seen by the loop; the second ends the process wherever it is, also in the middle of
/// closing the port, with nothing but a word: whatever was answered is on disk.
struct Signals(Arc<AtomicBool>);

impl Signals {
    fn install() -> Result<Signals> {
        const LAST_WORDS: &[u8] = b"\nstopped at once; what was accepted is safe and is enriched at the next start\n";
        /// As shells say it of who ended by SIGINT.
        const INTERRUPTED: i32 = 130;
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let seen = seen.clone();
            let handler = move || {
                if seen.swap(true, Relaxed) {
                    // SAFETY: the bytes are static, and write may be called from a handler.
                    unsafe { libc::write(libc::STDERR_FILENO, LAST_WORDS.as_ptr().cast(), LAST_WORDS.len()) };
                    signal_hook::low_level::exit(INTERRUPTED);
                }
            };
            // SAFETY: the handler touches an atomic, writes and exits; each may be done in one.
            unsafe { signal_hook::low_level::register(signal, handler) }
                .map_err(|e| Failed::environment("cannot handle signals", &e))?;
        }
        Ok(Signals(seen))
    }

    fn any(&self) -> bool {
        self.0.load(Relaxed)
    }
}
