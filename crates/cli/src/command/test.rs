//! `ouzel test`.

use std::path::{Path, PathBuf};

use node::cases::{Case, Difference, Known, Outcome, Runner, read};
use node::config::{Config, FILE, RunArgs, read_file};
use seam::{Fs, RealFs};
use serde_json::{Value, json};

use super::run::start_failed;
use crate::exit::{Exit, Failed, Result, plain, with_help};
use crate::{Global, look};

#[derive(clap::Args)]
pub struct TestArgs {
    /// Files of cases, or directories of them; without any, tests/*.toml beside the configuration
    paths: Vec<PathBuf>,
    /// Only cases with this in their name or in their file's
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Lists the cases instead of running them
    #[arg(long)]
    list: bool,
}

/// Where cases are, beside the configuration.
const DIR: &str = "tests";

/// Most files of cases at once.
const FILES_MAX: usize = 10_000;

pub fn run(global: &Global, args: TestArgs) -> Result {
    let loaded = look::load(global, false, RunArgs::default())?;
    let config = &loaded.config;
    let runner = Runner::new(config).map_err(|e| start_failed(e.into()))?;
    let files = files(global, &args.paths)?;
    let cases = cases(&files, config, &runner)?;
    let wanted = |case: &&Case| args.filter.as_deref().is_none_or(|f| case.name.contains(f) || case.file.contains(f));
    let wanted: Vec<&Case> = cases.iter().filter(wanted).collect();
    if let (Some(filter), true) = (&args.filter, wanted.is_empty()) {
        let what = format!("none of {} cases has \"{filter}\" in its name", cases.len());
        return Err(Failed::usage(with_help(&what, "`ouzel test --list` shows their names")));
    }
    if args.list {
        list(global, &wanted);
        return Ok(Exit::Fine);
    }
    if !global.quiet && !global.json {
        for without in runner.without(&wanted) {
            eprintln!("warning: {without}");
        }
    }
    let mut failed = 0;
    let mut told = Vec::new();
    let mut unasked: Vec<String> = Vec::new();
    for case in &wanted {
        let outcome = runner.run(case).map_err(|e| Failed::usage(format!("{}: {e}", place(case))))?;
        failed += usize::from(!outcome.passed());
        let new = |name: &&String| !unasked.contains(name);
        for name in outcome.unasked.iter().filter(new).cloned().collect::<Vec<_>>() {
            if !global.quiet && !global.json {
                eprintln!("warning: {}", not_asked(&name, case));
            }
            unasked.push(name);
        }
        if global.json {
            told.push(report(case, &outcome));
        } else {
            show(global, case, &outcome);
        }
    }
    let passed = wanted.len() - failed;
    if global.json {
        println!("{}", json!({"ok": failed == 0, "passed": passed, "failed": failed, "cases": told}));
    } else if !global.quiet {
        println!("{passed} passed, {failed} failed");
    }
    Ok(if failed == 0 { Exit::Fine } else { Exit::Failed })
}

/// A lookup over a connection that a case wants and does not give.
fn not_asked(name: &str, case: &Case) -> String {
    format!(
        "{}: nobody is asked over a connection here, so `{name}` is \"skipped\": give what it answers in given.lookups.{name}",
        place(case)
    )
}

/// The files that are meant, in order.
fn files(global: &Global, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = in_dir(path)?;
            if found.is_empty() {
                let what = format!("there is no file of cases (*.toml) in {}", path.display());
                return Err(Failed::usage(with_help(&what, EXAMPLE)));
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    if paths.is_empty() {
        let beside = global.config.as_deref().unwrap_or(Path::new(FILE)).parent();
        let dir = beside.filter(|dir| !dir.as_os_str().is_empty()).map_or(PathBuf::from(DIR), |dir| dir.join(DIR));
        files = if dir.is_dir() { in_dir(&dir)? } else { Vec::new() };
        if files.is_empty() {
            let what = format!("there are no cases: no {}/*.toml", dir.display());
            return Err(Failed::usage(with_help(&what, EXAMPLE)));
        }
    }
    Ok(files)
}

const EXAMPLE: &str = "a first case:\n    [[case]]\n    name = \"an event is enriched\"\n    input = '{\"type\": \"view\", \"user\": \"u-1\"}'\n    \
     expect.enriched = { visitor = { id = \"user:u-1\" } }";

fn in_dir(dir: &Path) -> Result<Vec<PathBuf>> {
    let names =
        RealFs.list(dir).map_err(|e| Failed::environment(&format!("cannot list {}", dir.display()), &plain(&e)))?;
    let files: Vec<PathBuf> = names.iter().filter(|n| n.ends_with(".toml")).map(|n| dir.join(n)).collect();
    if files.len() > FILES_MAX {
        return Err(Failed::usage(format!("{} has more than {FILES_MAX} files of cases", dir.display())));
    }
    Ok(files)
}

/// The cases of all files, or everything that is wrong with any of them.
fn cases(files: &[PathBuf], config: &Config, runner: &Runner<'_>) -> Result<Vec<Case>> {
    let known = Known { config, members: runner.members() };
    let mut cases = Vec::new();
    let mut wrong = Vec::new();
    for file in files {
        let name = file.display().to_string();
        match read_file(&RealFs, file) {
            Err(e) => {
                let why = match e.kind() {
                    std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
                    _ => plain(&e),
                };
                wrong.push(format!("error: cannot read {name}: {why}\n"));
            }
            Ok(content) => match read(&name, content, file.parent().unwrap_or(Path::new("")), &known) {
                Ok(read) => cases.extend(read),
                Err(errors) => wrong.push(errors.to_string()),
            },
        }
    }
    if wrong.is_empty() { Ok(cases) } else { Err(Failed::usage(wrong.join("\n"))) }
}

fn place(case: &Case) -> String {
    format!("{}:{}", case.file, case.line)
}

fn list(global: &Global, cases: &[&Case]) {
    if global.json {
        let all: Vec<Value> = cases.iter().map(|c| json!({"file": c.file, "line": c.line, "name": c.name})).collect();
        println!("{}", json!({"cases": all}));
        return;
    }
    for case in cases {
        println!("{}  {}", place(case), case.name);
    }
}

fn show(global: &Global, case: &Case, outcome: &Outcome) {
    if outcome.passed() {
        if global.verbose > 0 {
            println!("ok      {}  {}", place(case), case.name);
        }
        return;
    }
    println!("FAILED  {}  {}", place(case), case.name);
    let several = outcome.enriched.len().max(outcome.fields.len()) > 1;
    let mut event = None;
    for difference in &outcome.differences {
        if several && difference.event != event {
            event = difference.event;
            if let Some(n) = event {
                println!("  event {}", n + 1);
            }
        }
        show_difference(difference);
    }
    if global.verbose > 0 {
        show_all(outcome);
    } else if !outcome.enriched.is_empty() {
        println!("  (-v shows all that came out)");
    }
    println!();
}

fn show_difference(Difference { pointer, expected, got, .. }: &Difference) {
    let indent = if pointer.is_empty() { "  " } else { "    " };
    if !pointer.is_empty() {
        println!("  {pointer}");
    }
    println!("{indent}expected  {expected}");
    let mut lines = got.lines();
    println!("{indent}got       {}", lines.next().unwrap_or_default());
    for line in lines {
        println!("{indent}          {line}");
    }
}

fn show_all(outcome: &Outcome) {
    for (n, enriched) in outcome.enriched.iter().enumerate() {
        println!("  enriched, event {}:", n + 1);
        let text = serde_json::to_string_pretty(enriched).unwrap_or_default();
        text.lines().for_each(|line| println!("    {line}"));
    }
    for (n, fields) in outcome.fields.iter().enumerate() {
        println!("  fields, event {}: {fields}", n + 1);
    }
}

/// For machines.
fn report(case: &Case, outcome: &Outcome) -> Value {
    let differences = outcome.differences.iter();
    let differences: Vec<Value> = differences
        .map(|d| json!({"event": d.event, "pointer": d.pointer, "expected": d.expected, "got": d.got}))
        .collect();
    let dead = outcome.dead.iter();
    let dead: Vec<Value> =
        dead.map(|(code, pointer, message)| json!({"code": code, "pointer": pointer, "message": message})).collect();
    json!({
        "file": case.file,
        "line": case.line,
        "name": case.name,
        "ok": outcome.passed(),
        "differences": differences,
        "enriched": outcome.enriched,
        "fields": outcome.fields,
        "dlq": dead,
        "duplicates": outcome.duplicates,
        "unasked": outcome.unasked,
    })
}
