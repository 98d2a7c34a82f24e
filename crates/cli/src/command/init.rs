//! `ouzel init`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use door::input::error::Kind;
use door::input::{InputError, Origin, beginning};
use event::Field;
use node::config::init::{Looked, Reads, Tried, defaults, from_sample, source_name, try_sample};
use node::config::{Config, FILE, LoadArgs};
use seam::{Clock, Fs, RealClock, RealFs};
use serde_json::{Value, json};
use wire::MapEntry;
use wire::infer::{self, Found, Inferred, Place, Sample, infer};

use crate::exit::{Exit, Failed, Result, plain, with_help};
use crate::{Global, term};

#[derive(clap::Args)]
pub struct InitArgs {
    /// A file of your own events (NDJSON, JSON array, {"batch":[...]}, CSV, access log; gzip or zstd), or - for standard
    /// input: its fields are looked for. Without it the configuration has every key, commented out
    #[arg(long, value_name = "FILE|-")]
    from: Option<PathBuf>,
    /// Where the configuration is written, or - for standard output
    #[arg(long, short, value_name = "FILE|-", default_value = FILE)]
    output: PathBuf,
    /// Writes over a file that is there
    #[arg(long)]
    force: bool,
}

pub fn run(global: &Global, args: InitArgs) -> Result {
    if global.config.is_some() {
        let help = "-c names one to read; name the one to write with --output FILE";
        return Err(Failed::usage(with_help("`ouzel init` reads no configuration", help)));
    }
    let to = To::of(&args)?;
    match &args.from {
        None => {
            to.write(defaults())?;
            to.told(global, || {
                eprintln!("every key there is, commented out; `ouzel run` works as it is");
                eprintln!("`ouzel init --from SAMPLE` writes one for your own events instead");
            });
            if global.json && !to.is_stdout() {
                println!("{}", json!({"written": to.shown()}));
            }
            Ok(Exit::Fine)
        }
        Some(sample) => from(global, sample, &to),
    }
}

/// Where the configuration goes.
struct To {
    /// `None`: standard output.
    path: Option<PathBuf>,
}

impl To {
    fn of(args: &InitArgs) -> Result<To> {
        if args.output.as_os_str() == "-" {
            return Ok(To { path: None });
        }
        if RealFs.exists(&args.output) && !args.force {
            let what = format!("{} is there already, and was not touched", args.output.display());
            let help = "--force writes over it; --output FILE writes another, --output - shows what would be written";
            return Err(Failed::usage(with_help(&what, help)));
        }
        Ok(To { path: Some(args.output.clone()) })
    }

    fn is_stdout(&self) -> bool {
        self.path.is_none()
    }

    fn shown(&self) -> Option<String> {
        self.path.as_ref().map(|p| p.display().to_string())
    }

    fn write(&self, text: String) -> Result<()> {
        let Some(path) = &self.path else {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            return written.map_err(|e| Failed::environment("cannot write to standard output", &plain(&e)));
        };
        // The parent of a bare name is the empty path, which is no directory to anybody.
        let path = match path.parent() {
            Some(dir) if dir.as_os_str().is_empty() => Path::new(".").join(path),
            _ => path.clone(),
        };
        seam::fs::write_atomically(&RealFs, &path, text.as_bytes()).map_err(|e| {
            let why = match path.parent().filter(|dir| !RealFs.exists(dir)) {
                Some(dir) => format!("there is no directory {}", dir.display()),
                None => plain(&e),
            };
            Failed::environment(&format!("cannot write {}", path.display()), &why)
        })
    }

    /// Says where it was written, and what goes with it, where there is somebody to read it.
    fn told(&self, global: &Global, more: impl FnOnce()) {
        if global.quiet || global.json {
            return;
        }
        if let Some(path) = self.shown() {
            eprintln!("wrote {path}");
        }
        more();
    }

    /// The path by which a configuration there finds the sample.
    fn path_to(&self, sample: &Path) -> Result<String> {
        let dir = self.path.as_deref().and_then(Path::parent).filter(|dir| !dir.as_os_str().is_empty());
        let path = match dir {
            Some(dir) if sample.is_relative() => {
                let absolute = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
                let (dir, sample) = (absolute(dir), absolute(sample));
                sample.strip_prefix(&dir).map_or(sample.clone(), Path::to_owned)
            }
            _ => sample.to_owned(),
        };
        path.into_os_string().into_string().map_err(|path| {
            let what = format!("the path {} is not UTF-8, and a configuration is", path.display());
            Failed::usage(with_help(&what, "give the file another name"))
        })
    }
}

fn from(global: &Global, path: &Path, to: &To) -> Result {
    let is_stdin = path.as_os_str() == "-";
    let origin = if is_stdin { Origin::Stdin } else { Origin::File(path.to_owned()) };
    let read = beginning(origin, infer::sample::BYTES_MAX).map_err(unreadable)?;
    let sample = Sample::cut(&read.bytes, read.is_whole);
    let sample = sample.map_err(|e| Failed::usage(with_help(&format!("{}: {}", read.name, e.what), &e.help)))?;
    let inferred = infer(&sample);
    let looked = Looked { sample: &sample, inferred: &inferred };
    let file = if is_stdin { None } else { path.file_name().and_then(|n| n.to_str()) };
    let found = if is_stdin || !sample.form.is_of_files() { String::new() } else { to.path_to(path)? };
    let reads = match (is_stdin, sample.form.is_of_files(), sample.form.is_of_requests()) {
        (false, true, _) => Reads::File(&found),
        (true, true, false) => Reads::Stdin,
        _ => Reads::Requests,
    };
    let text = from_sample(looked, reads, &path.display().to_string(), &source_name(file));
    // IMPORTANT: what is written was read and tried before.
    let loaded = Config::load_with(&LoadArgs::default(), |_| Ok(text.clone()));
    let config = loaded.map_err(|e| bug(&format!("what would be written is no configuration:\n{e}")))?.config;
    let tried = try_sample(&config, &sample, RealClock::new().now()).map_err(|e| bug(&e.to_string()))?;
    if tried.accepted == 0 {
        let what = format!("{}: none of its events would be accepted\n{}", read.name, reasons(&tried).trim_end());
        return Err(Failed::new(Exit::Failed, with_help(&what, "nothing was written")));
    }
    if global.json {
        // One object is all that stands on standard output.
        let inside = if to.is_stdout() { Some(text) } else { to.write(text).map(|()| None)? };
        println!("{}", report(&sample, &inferred, &tried, to, inside));
        return Ok(Exit::Fine);
    }
    to.write(text)?;
    if !global.quiet {
        show(&read.name, &sample, &inferred, &tried);
        next(path, reads, to, &sample);
    }
    Ok(Exit::Fine)
}

fn bug(what: &str) -> Failed {
    Failed::new(Exit::Failed, format!("{what}\nthis is a bug: please report it with the names of the sample's members"))
}

/// Errors of reading are worded for `ouzel run`.
fn unreadable(e: InputError) -> Failed {
    let exit = match e.kind() {
        Kind::FixConfig => Exit::Usage,
        Kind::FixInput => Exit::Data,
        Kind::Environment | Kind::Log => Exit::Environment,
    };
    let text = match &e {
        InputError::Damaged { name, what } => format!("{name}: {what}"),
        _ => e.to_string(),
    };
    Failed::new(
        exit,
        text.replace("ouzel run --input -", "ouzel init --from -").replace("--input takes", "--from takes"),
    )
}

fn show(name: &str, sample: &Sample, inferred: &Inferred, tried: &Tried) {
    let n = |n: usize| term::count(n as u64);
    let first = if sample.is_whole { "" } else { "the first " };
    let events = if sample.events.len() == 1 { "event" } else { "events" };
    eprintln!("{name}: {first}{} {events}, {}", n(sample.events.len()), sample.form.sentence());
    if inferred.preset_fits {
        eprintln!("the preset `{}` fits", inferred.preset.name());
    }
    let found: Vec<_> =
        inferred.fields.iter().filter_map(|f| Some((f.field.name(), inferred.field(f.field)?))).collect();
    let place = |found: &Found| match &found.entry {
        MapEntry::Constant(value) => format!("\"{value}\""),
        MapEntry::Pointer { .. } => found.at.join(", "),
    };
    let width = found.iter().map(|(_, f)| place(f).chars().count()).max().unwrap_or(0).clamp(5, PLACE_MAX);
    eprintln!("\n  {:<10}  {:<width$}  {:<8}  looks like", "field", "where", "how sure");
    for (field, found) in &found {
        let share = match found.entry {
            MapEntry::Constant(_) => String::new(),
            MapEntry::Pointer { .. } => format!("{} of {}: ", n(found.events), n(inferred.events)),
        };
        eprintln!("  {field:<10}  {:<width$}  {:<8}  {share}{}", place(found), found.sure.word(), found.looks);
    }
    let not_found: Vec<_> = inferred.fields.iter().filter(|f| matches!(f.place, Place::NotFound { .. })).collect();
    if !not_found.is_empty() {
        let names: Vec<_> = not_found.iter().map(|f| f.field.name()).collect();
        eprintln!("\nnot found: {}", names.join(", "));
    }
    for finding in &inferred.fields {
        if let Some((pointer, why)) = &finding.maybe {
            eprintln!("  {} could be {pointer}, but {why}", finding.field.name());
        }
    }
    eprintln!();
    let of_time = |doubt: fn(&Found) -> bool| {
        [Field::TIME, Field::SENT_AT].into_iter().filter_map(|f| inferred.field(f)).any(doubt)
    };
    if of_time(|f| f.zone_is_assumed) {
        eprintln!("the times have no zone: UTC is assumed. Where that is wrong, change `zone` in the configuration");
    }
    if of_time(|f| f.day_or_month) {
        eprintln!("day and month cannot be told apart: look at `format` in the configuration");
    }
    eprintln!("{} of {} {events} would be accepted", n(tried.accepted), n(tried.events()));
    eprint!("{}", reasons(tried));
}

/// Why events would be refused, a line each.
fn reasons(tried: &Tried) -> String {
    let mut out = String::new();
    for refused in tried.refused.iter().take(REASONS_MAX) {
        let f = &refused.failure;
        let at = if f.pointer.is_empty() { String::new() } else { format!(" at {}", f.pointer) };
        out += &format!("  {} refused: {}{at}: {}\n", term::count(refused.events as u64), f.code.name(), f.message);
    }
    match tried.refused.len() {
        n if n > REASONS_MAX => out + &format!("  and {} more reasons\n", n - REASONS_MAX),
        _ => out,
    }
}

/// Columns for a pointer; longer ones push their line to the right.
const PLACE_MAX: usize = 32;
/// Reasons for refusals that are shown.
const REASONS_MAX: usize = 10;

fn next(sample: &Path, reads: Reads<'_>, to: &To, of: &Sample) {
    let Some(written) = to.shown() else { return };
    let c = if written == FILE { String::new() } else { format!(" -c {written}") };
    let sample = sample.display();
    eprintln!("\nwrote {written}. What next:");
    let line = |command: String, does: &str| eprintln!("  {command:<44} {does}");
    line(format!("ouzel check{c}"), "what the configuration says");
    match reads {
        Reads::File(_) => {
            line(format!("ouzel run{c} --until-idle"), "reads the file and ends; without --until-idle it goes on")
        }
        Reads::Stdin => line(format!("ouzel run{c} --until-idle < FILE"), "reads it and ends"),
        Reads::Requests => {
            line(format!("ouzel run{c}"), "takes events at http://127.0.0.1:7070/v1/events");
            let is_file = sample.to_string() != "-" && !of.form.is_of_files();
            let file = if is_file { sample.to_string() } else { "FILE".into() };
            line(format!("curl --data-binary @{file} http://127.0.0.1:7070/v1/events"), "sends the sample");
        }
    }
    line(format!("ouzel tail{c}"), "shows the enriched events");
}

/// For machines.
fn report(sample: &Sample, inferred: &Inferred, tried: &Tried, to: &To, text: Option<String>) -> Value {
    let fields: Vec<Value> = inferred
        .fields
        .iter()
        .map(|f| match &f.place {
            Place::Found(found) => {
                let (pointers, format, zone, value) = match &found.entry {
                    MapEntry::Constant(value) => (Vec::new(), None, None, Some(value)),
                    MapEntry::Pointer { pointers, format, zone } => {
                        (pointers.clone(), format.as_ref().map(|f| f.name()), zone.as_ref(), None)
                    }
                };
                json!({
                    "field": f.field.name(), "pointers": pointers, "format": format, "zone": zone, "value": value,
                    "sure": found.sure.word(), "events": found.events, "looks": found.looks,
                    "zone_is_assumed": found.zone_is_assumed, "by_preset": found.by_preset,
                })
            }
            Place::NotFound { .. } => json!({"field": f.field.name(), "pointers": []}),
        })
        .zip(&inferred.fields)
        .map(|(mut field, f)| {
            field["maybe"] = f.maybe.as_ref().map(|(pointer, why)| json!({"pointer": pointer, "why": why})).into();
            field
        })
        .collect();
    let refused: Vec<Value> = tried
        .refused
        .iter()
        .map(|r| {
            let f = &r.failure;
            json!({"events": r.events, "code": f.code.name(), "pointer": f.pointer, "message": f.message})
        })
        .collect();
    json!({
        "written": to.shown(),
        "configuration": text,
        "events": sample.events.len(),
        "whole": sample.is_whole,
        "form": sample.form.sentence(),
        "preset": inferred.preset.name(),
        "preset_fits": inferred.preset_fits,
        "fields": fields,
        "accepted": tried.accepted,
        "refused": refused,
    })
}
