//! `ouzel run`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use door::input::error::Kind;
use node::carrier::{self, CarrierError};
use node::config::{Config, Durability, Loaded, RunArgs as ConfigRunArgs, SourceKind};
use node::engine::{Accept, Engine, Start, StartError, Summary, World};
use node::lookup_server::LookupServer;
use node::lookups::LookupsError;
use node::output::{OutputError, To};
use node::roles::{ROLES, Roles, slot_of};
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
    /// What this process does: all of it, or some of collect, enrich, sessions and lookup, where the log is Kafka; `lookup`
    /// alone answers lookups over HTTP and needs no log
    #[arg(long, value_name = "ROLE,...", value_delimiter = ',', default_value = "all")]
    roles: Vec<String>,
    /// Which of the processes that share a role this is, on Kafka: a number or a name that no other has; without it the number
    /// at the end of the host's name
    #[arg(long, value_name = "SLOT")]
    slot: Option<String>,
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
    let roles = roles(&args.roles, config)?;
    if roles.is_lookup_alone() {
        return lookups_alone(global, &args, &loaded);
    }
    let shared = config.kafka.is_some();
    if shared {
        ready_for_kafka(global, &args, config, roles)?;
    }
    let endless = endless(config).filter(|_| roles.collect).or_else(|| {
        let others = "what other processes bring".to_owned();
        (shared && !args.until_idle && !roles.collect).then_some((others, "--roles without collect"))
    });
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
    let slot = if shared { slot(&args)? } else { "0".to_owned() };
    let start = Start { accept, roles, slot };
    let mut engine = Engine::start_with(config, to.clone(), &world, &start).map_err(start_failed)?;

    for what in &engine.status.without {
        eprintln!("warning: {what}");
    }
    let people = std::io::stderr().is_terminal() && !global.quiet && !global.json;
    if people {
        banner(config, &loaded.origin, &engine, &start);
    } else {
        tracing::info!(
            data = %config.data.dir.display(),
            kafka = config.kafka.as_ref().map(|k| tracing::field::display(&k.brokers)),
            roles = shared.then(|| tracing::field::display(roles)),
            slot = shared.then_some(start.slot.as_str()),
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
        // What waits for room on the disk may wait for long; it is safe, and the next start goes on with it. On Kafka others go
        // on with it, and what comes may never end.
        let stuck = stopping && (shared || engine.status.trouble().is_some());
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
    if let (Some(trouble), 1.., false) = (trouble, summary.run.in_flight, shared) {
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

fn roles(names: &[String], config: &Config) -> Result<Roles> {
    let roles = Roles::named(names).map_err(|unknown| {
        let help = format!("there are all, {}", ROLES.join(", "));
        Failed::usage(with_help(&format!("there is no role `{unknown}`"), &help))
    })?;
    if config.kafka.is_some() || roles.is_all() || roles.is_lookup_alone() {
        return Ok(roles);
    }
    Err(Failed::usage(with_help(
        &format!(
            "--roles {roles} needs a log that several processes share, and the log is the journal in {}",
            config.data.dir.display()
        ),
        "one process writes to a journal, and does all of it: leave out --roles. With [kafka] in the configuration any number \
         of processes share the work; --roles lookup alone needs no log",
    )))
}

/// What has to be right before a process works on Kafka.
fn ready_for_kafka(global: &Global, args: &RunArgs, config: &Config, roles: Roles) -> Result<()> {
    if args.close {
        let what = "--close ends sessions for good, and on Kafka other processes may still bring events";
        return Err(Failed::usage(with_help(what, "leave it out: sessions end by their gap")));
    }
    if roles.sessions && !roles.is_all() && config.state.store.is_none() && config.sessions.enabled && !global.quiet {
        eprintln!(
            "warning: the role sessions without `state.store`: no other process finds the snapshots that this one leaves in {}",
            config.data.dir.display()
        );
    }
    let world = World::real();
    let plan = carrier::plan(config, &world).map_err(carrier_failed)?;
    let lines = plan.lines();
    if lines.is_empty() {
        return Ok(());
    }
    let file = global.config.as_ref().map_or(String::new(), |file| format!(" -c {}", file.display()));
    let help = format!("`ouzel topics apply --yes{file}` does it; without --yes it only says what it would do");
    Err(Failed::new(
        Exit::Environment,
        with_help(&format!("the topics are not as the configuration has them:\n  {}", lines.join("\n  ")), &help),
    ))
}

/// Which of the processes with its roles this is.
fn slot(args: &RunArgs) -> Result<String> {
    if let Some(slot) = &args.slot {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if slot.is_empty() || slot.len() > SLOT_MAX || !slot.chars().all(plain) {
            let help = "letters, digits, `-` and `_`, such as --slot 0";
            return Err(Failed::usage(with_help(&format!("`{slot}` is no name for a slot"), help)));
        }
        return Ok(slot.clone());
    }
    let host = term::host_name();
    match slot_of(&host) {
        Some(slot) => Ok(slot.to_owned()),
        None => {
            eprintln!(
                "warning: the slot is 0, since {host:?} ends with no number: of two processes with the same slot the later \
                 fences the earlier. --slot says it"
            );
            Ok("0".into())
        }
    }
}

/// It is in the names of transactions, beside a prefix and a group.
const SLOT_MAX: usize = 64;

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
        StartError::Carrier(e) => carrier_failed(e),
        StartError::Store(_) => Failed::usage(e.to_string()),
        StartError::Lookups(e @ LookupsError::Threads(_)) => Failed::new(Exit::Environment, e.to_string()),
        StartError::Listen { .. } | StartError::Environment(..) => Failed::new(Exit::Environment, e.to_string()),
    }
}

/// Why there is no log, and what to do.
pub fn carrier_failed(e: CarrierError) -> Failed {
    match e {
        CarrierError::Log(e) => Failed::from(e),
        CarrierError::Secret { .. } => {
            Failed::usage(with_help(&e.to_string(), "`ouzel check` says what else is missing"))
        }
        CarrierError::NotBuilt => {
            Failed::usage(with_help(&e.to_string(), "take a release, or build with `--features kafka`"))
        }
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
        SourceKind::Kafka { topic, .. } => Some((format!("the topic {topic}"), "a source of kind kafka")),
        _ => None,
    })
}

const NO_GEO: &str = "no geo database: events get no place (--set geo.database=FILE.mmdb)";

fn banner(config: &Config, origin: &str, engine: &Engine, start: &Start) {
    match &config.kafka {
        None => eprintln!("ouzel {} · {origin} · data in {}", env!("CARGO_PKG_VERSION"), config.data.dir.display()),
        Some(kafka) => eprintln!(
            "ouzel {} · {origin} · Kafka at {}, topics {}* · roles {}, slot {}",
            env!("CARGO_PKG_VERSION"),
            kafka.brokers,
            kafka.prefix,
            start.roles,
            start.slot
        ),
    }
    if config.data.durability == Durability::Os {
        eprintln!("durability is \"os\": a power cut may lose acknowledged events");
    }
    if config.geo.databases.is_empty() {
        eprintln!("{NO_GEO}");
    }
    for source in config.sources.iter().filter(|_| start.roles.collect) {
        match &source.kind {
            SourceKind::Http => {}
            SourceKind::File { path, follow } => {
                eprintln!("reading {}{}", path.display(), if *follow { ", and what comes" } else { "" });
            }
            SourceKind::Stdin => eprintln!("reading standard input"),
            SourceKind::Kafka { topic, .. } => eprintln!("reading the topic {topic}, and what comes"),
        }
    }
    if let Some(addr) = engine.addr() {
        if start.roles.collect {
            eprintln!("events in:  POST http://{addr}/v1/events");
        }
        match engine.is_shared() {
            false => {
                eprintln!("look:       http://{addr}/   or   ouzel tail --follow --data {}", config.data.dir.display());
            }
            true => eprintln!("look:       http://{addr}/   or   ouzel topics lag -c {origin}"),
        }
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
    if config.kafka.is_some() {
        eprintln!(
            "in the partitions of this process: {} processed + {} quarantined + {} duplicates, {} in flight; {} refused here",
            n(run.processed),
            n(run.quarantined),
            n(run.deduplicated),
            n(run.in_flight),
            n(run.refused)
        );
        eprintln!("{} events added to `enriched` in {seconds:.1} s ({}/s)", n(summary.enriched), n(rate as u64));
        return;
    }
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
