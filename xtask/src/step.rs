//! Child processes: one line before, their own output, one line after with the time, and a summary at the end.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Stop;

/// The steps of one chore, with what each took. All run, in order, until one fails.
pub struct Steps {
    started: Instant,
    done: Vec<(String, Duration, Ending)>,
}

enum Ending {
    Fine,
    Failed,
    Skipped(String),
}

impl Steps {
    pub fn new() -> Steps {
        Steps { started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step and keeps its time. On an error prints the summary so far and gives the error back.
    pub fn step(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        self.attempt(name, || work().map(|()| None))
    }

    /// The same for a step that may be impossible here: with `Some(why)` it counts as skipped, and the summary says so.
    pub fn attempt(&mut self, name: &str, work: impl FnOnce() -> Result<Option<String>>) -> Result<()> {
        say(&format!("==> {name}"));
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        match result {
            Ok(None) => {
                say(&format!("    {name}: ok in {}", seconds(took)));
                self.done.push((name.to_owned(), took, Ending::Fine));
                Ok(())
            }
            Ok(Some(why)) => {
                say(&format!("    {name}: SKIPPED, {why}"));
                self.done.push((name.to_owned(), took, Ending::Skipped(why)));
                Ok(())
            }
            Err(error) => {
                self.done.push((name.to_owned(), took, Ending::Failed));
                self.summary();
                Err(error.context(format!("`{name}` failed after {}", seconds(took))))
            }
        }
    }

    /// Notes a step that cannot run here; the summary repeats it, so that nobody takes it for passed.
    pub fn skip(&mut self, name: &str, why: String) {
        say(&format!("==> {name}: SKIPPED, {why}"));
        self.done.push((name.to_owned(), Duration::ZERO, Ending::Skipped(why)));
    }

    pub fn summary(&self) {
        say("");
        for (name, took, ending) in &self.done {
            match ending {
                Ending::Fine => say(&format!("  ok       {:>9}  {name}", seconds(*took))),
                Ending::Failed => say(&format!("  FAILED   {:>9}  {name}", seconds(*took))),
                Ending::Skipped(why) => say(&format!("  SKIPPED  {:>9}  {name}: {why}", "")),
            }
        }
        say(&format!("  in all   {:>9}", seconds(self.started.elapsed())));
    }
}

/// Runs a command with our terminal; anything but success is an error that shows the command.
pub fn run(command: &mut Command) -> Result<()> {
    let text = shown(command);
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{text}`"))?;
    if status.success() { Ok(()) } else { Err(Stop::failed(format!("`{text}` ended with {status}")).into()) }
}

/// Runs a command and gives its standard output; its standard error goes to ours.
pub fn output(command: &mut Command) -> Result<String> {
    let text = shown(command);
    let out = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{text}`"))?;
    if !out.status.success() {
        return Err(Stop::failed(format!("`{text}` ended with {}", out.status)).into());
    }
    String::from_utf8(out.stdout).with_context(|| format!("`{text}` did not print text"))
}

/// The cargo that runs us, so that a `+toolchain` holds for the children too.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Progress goes to standard error, so that a chore's own output can be piped. Nobody may be there to read it: not a
/// reason to panic, least of all while servers are ended.
pub fn say(line: &str) {
    let mut stderr = std::io::stderr();
    let bold = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none() && line.starts_with("==>");
    let _ = if bold { writeln!(stderr, "\x1b[1m{line}\x1b[0m") } else { writeln!(stderr, "{line}") };
}

/// The last lines of an output, at most `lines_max`, for an error.
pub fn tail(text: &str, lines_max: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(lines_max)..].join("\n")
}

pub fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    if let Some(name) = std::path::Path::new(&text).file_name().map(OsStr::to_string_lossy) {
        text = name.into_owned();
    }
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        for (text, lines) in [("", ""), ("a\n", "a"), ("a\nb\n\nc\n \n", "b\nc")] {
            assert_eq!(tail(text, 2), lines, "{text:?}");
        }
    }
}
