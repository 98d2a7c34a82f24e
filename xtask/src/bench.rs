//! Runs the program's own benches several times in release, and keeps the median of every figure. The program says what
//! it measured as JSON; nothing here knows the names of figures, so a new one appears by itself.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::step::{self, Steps};
use crate::{Stop, demo, services, workspace};

const PAGE: &str = "docs/benchmarks.md";
const BEGIN: &str = "<!-- By `cargo xtask bench`. -->\n";
const END: &str = "<!-- End of what is measured. -->\n";

/// A bench of the program.
struct Bench {
    name: &'static str,
    /// The most seconds that one measurement of it is worth.
    most: u64,
    args: &'static [&'static str],
}

impl Bench {
    const fn new(name: &'static str, most: u64) -> Bench {
        Bench { name, most, args: &[] }
    }
}

/// The benches, in the order of the page.
const BENCHES: [Bench; 6] = [
    Bench::new("enrich", 10),
    Bench::new("sessions", 20),
    Bench::new("facts", 20),
    Bench::new("lookup", 10),
    Bench::new("run", u64::MAX),
    // It is run several times here.
    Bench { name: KAFKA, most: 20, args: &["--runs", "1"] },
];

/// The one that starts brokers.
const KAFKA: &str = "kafka";

pub struct Options {
    runs: usize,
    secs: u64,
    dry: bool,
}

impl Options {
    pub fn parse(args: &[&str]) -> Result<Options> {
        let mut options = Options { runs: 3, secs: 60, dry: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut number = || -> Result<u64> {
                let value = args.next().copied().unwrap_or("");
                let number = value.parse().ok().filter(|n| *n > 0);
                number.ok_or_else(|| Stop::usage(format!("{arg} takes a number from 1, not `{value}`")).into())
            };
            match *arg {
                "--runs" => options.runs = number()? as usize,
                "--secs" => options.secs = number()?,
                "--dry" => options.dry = true,
                other => return Err(Stop::usage(format!("bench: there is no option `{other}`")).into()),
            }
        }
        Ok(options)
    }
}

pub fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::new();
    steps.step("build (release)", || demo::build_with(&["kafka"]))?;
    steps.attempt("reference data (once)", || demo::fetch_assets(&demo::program()))?;
    let mut kafka = None;
    steps.attempt("Kafka (once)", || match services::kafka::variables() {
        Ok(found) => {
            kafka = Some(found);
            Ok(None)
        }
        Err(why) => Ok(Some(format!("without `ouzel bench {KAFKA}`: {why:#}"))),
    })?;
    let before = load();
    let mut sections = Vec::new();
    for bench in BENCHES.iter().filter(|bench| bench.name != KAFKA || kafka.is_some()) {
        let mut runs = Vec::new();
        for n in 1..=options.runs {
            steps.step(&format!("bench {}, run {n} of {}", bench.name, options.runs), || {
                runs.push(measure(bench, options.secs, kafka.as_deref().unwrap_or_default())?);
                Ok(())
            })?;
        }
        sections.push((bench.name, Figures::of(&runs)));
    }
    steps.summary();

    let text = page(&sections, options, &before);
    println!("{text}");
    if !options.dry {
        let path = workspace::root().join(PAGE);
        let old = std::fs::read_to_string(&path).context(PAGE)?;
        std::fs::write(&path, replaced(&old, &text)?)?;
        step::say(&format!("{PAGE} has these figures now"));
    }
    Ok(())
}

fn measure(bench: &Bench, secs: u64, variables: &[(String, String)]) -> Result<Value> {
    let Bench { name, most, args } = bench;
    // Benches keep what they write in a directory that is theirs, on the disk that is measured.
    let dir = workspace::root().join("target/bench");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("emptying target/bench")?;
    }
    std::fs::create_dir_all(&dir)?;
    let mut command = Command::new(demo::program());
    command.args(["bench", name, "--json", "--secs", &secs.min(*most).to_string(), "--data"]).arg(dir.join("data"));
    command.args(*args);
    command.envs(variables.iter().cloned());
    let text = step::output(command.current_dir(workspace::root()))?;
    let _ = std::fs::remove_dir_all(&dir);
    serde_json::from_str(&text).with_context(|| format!("`ouzel bench {name} --json` did not print one JSON object"))
}

/// The figures of several runs of one bench: numbers by their path in the JSON, and what was said in words.
#[derive(Default)]
struct Figures {
    numbers: BTreeMap<String, Vec<f64>>,
    /// In the order of the JSON.
    order: Vec<String>,
    words: BTreeMap<String, String>,
}

impl Figures {
    fn of(runs: &[Value]) -> Figures {
        let mut figures = Figures::default();
        for run in runs {
            figures.take("", run);
        }
        figures
    }

    fn take(&mut self, path: &str, value: &Value) {
        let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            // The page's first line says what it was measured on.
            Value::Object(members) => {
                members
                    .iter()
                    .filter(|(name, _)| *name != "machine")
                    .for_each(|(name, value)| self.take(&at(name), value));
            }
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, value)| self.take(&at(&n.to_string()), value))
            }
            Value::Number(number) => {
                if !self.numbers.contains_key(path) {
                    self.order.push(path.to_owned());
                }
                self.numbers.entry(path.to_owned()).or_default().extend(number.as_f64());
            }
            Value::String(text) => drop(self.words.insert(path.to_owned(), text.clone())),
            Value::Bool(yes) => drop(self.words.insert(path.to_owned(), yes.to_string())),
            Value::Null => {}
        }
    }

    fn table(&self) -> String {
        let mut out = String::from("| figure | median | lowest | highest |\n|---|---:|---:|---:|\n");
        for path in &self.order {
            let mut values = self.numbers[path].clone();
            values.sort_by(f64::total_cmp);
            let (low, high) = (values[0], values[values.len() - 1]);
            out.push_str(&format!("| `{path}` | {} | {} | {} |\n", shown(median(&values)), shown(low), shown(high)));
        }
        for (path, text) in &self.words {
            out.push_str(&format!("| `{path}` | {text} | | |\n"));
        }
        out
    }
}

/// Of sorted values, at least one.
fn median(values: &[f64]) -> f64 {
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    (low + high) / 2.0
}

/// Whole numbers with their thousands apart, small ones with three digits.
fn shown(value: f64) -> String {
    if value.fract() != 0.0 && value.abs() < 1000.0 {
        let digits = if value.abs() < 10.0 { 3 } else { 1 };
        return format!("{value:.digits$}");
    }
    let text = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (n, c) in text.chars().enumerate() {
        if n > 0 && (text.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

fn page(sections: &[(&str, Figures)], options: &Options, load: &str) -> String {
    let mut out = format!(
        "\n{} cores ({}), {}; {} runs, {} s each part, medians; load average before: {load}.\n",
        std::thread::available_parallelism().map_or(0, |n| n.get()),
        processor(),
        kernel(),
        options.runs,
        options.secs,
    );
    for (bench, figures) in sections {
        out.push_str(&format!("\n### `ouzel bench {bench}`\n\n{}", figures.table()));
    }
    out.push('\n');
    out
}

fn replaced(old: &str, section: &str) -> Result<String> {
    let (head, rest) = old.split_once(BEGIN).with_context(|| format!("{PAGE}: no line `{}`", BEGIN.trim()))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("{PAGE}: no line `{}`", END.trim()))?;
    Ok(format!("{head}{BEGIN}{section}{END}{tail}"))
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn kernel() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned()
}

/// The machine's load average over the last minute, or that it is not known.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|l| !l.is_empty()).unwrap_or("unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_path() {
        let runs = [1.5, 9.0, 2.25].map(|p99| serde_json::json!({"b": {"p99_ms": p99}, "a": [100000], "fsync": true}));
        let table = Figures::of(&runs).table();
        for line in
            ["| `b.p99_ms` | 2.250 | 1.500 | 9 |", "| `a.0` | 100,000 | 100,000 | 100,000 |", "| `fsync` | true | | |"]
        {
            assert!(table.contains(line), "{line} in\n{table}");
        }
        assert!(table.find("p99").expect("there") < table.find("a.0").expect("there"), "in the order of the JSON");
        assert_eq!(median(&[1.0, 2.0]), 1.5);
    }

    #[test]
    fn numbers_are_shown() {
        for (value, text) in
            [(0.0, "0"), (12.34, "12.3"), (999.0, "999"), (1234567.8, "1,234,568"), (-1000.0, "-1,000")]
        {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn options_are_read_or_refused() {
        let options = Options::parse(&["--runs", "5", "--dry"]).expect("options");
        assert_eq!((options.runs, options.secs, options.dry), (5, 60, true));
        for wrong in [&["--runs"][..], &["--runs", "0"], &["--secs", "x"], &["now"]] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn only_the_section_is_replaced() {
        let page = format!("# B\n{BEGIN}old\n{END}tail\n");
        assert_eq!(replaced(&page, "new\n").expect("replaced"), format!("# B\n{BEGIN}new\n{END}tail\n"));
        assert!(replaced("# B\n", "new\n").is_err());
    }
}
