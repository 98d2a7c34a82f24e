//! What the program says: logs, numbers for people, a status line.

use std::io::{IsTerminal, Write};

use crate::Global;

/// Logs go to standard error: text on a terminal, JSON lines elsewhere. `OUZEL_LOG` says how much (`info`, `debug`,
/// `ouzel_log=trace`), over `-v` and `-q`.
pub fn init_logs(global: &Global) {
    let default = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("OUZEL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_ansi(std::env::var_os("NO_COLOR").is_none()).without_time().with_target(false).init();
    } else {
        builder.json().init();
    }
}

/// `12345678` -> `12,345,678`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1536` -> `1.5 KiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// `0.00123` s -> `1.2 ms`.
pub fn span(d: std::time::Duration) -> String {
    let us = d.as_micros();
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// `3 days`, `5 h`, `12 min`: what people say of an age.
pub fn age(d: std::time::Duration) -> String {
    const HOUR: u64 = 3600;
    match d.as_secs() {
        0..HOUR => format!("{} min", d.as_secs() / 60),
        HOUR..172_800 => format!("{} h", d.as_secs() / HOUR),
        secs => format!("{} days", secs / (24 * HOUR)),
    }
}

/// A line that is written over again, on a terminal; elsewhere it is not written.
pub struct StatusLine {
    on: bool,
    shown: bool,
}

impl StatusLine {
    pub fn new(on: bool) -> StatusLine {
        StatusLine { on: on && std::io::stderr().is_terminal(), shown: false }
    }

    pub fn show(&mut self, line: &str) {
        if self.on {
            eprint!("\r\x1b[2K{line}");
            let _ = std::io::stderr().flush();
            self.shown = true;
        }
    }

    /// Takes the line away, so that something else can be written.
    pub fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[2K");
            let _ = std::io::stderr().flush();
            self.shown = false;
        }
    }
}

/// The name of this machine; empty if it has none.
pub fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the buffer is as long as it is said to be, and its last byte stays a zero.
    let answer = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|b| *b == 0).unwrap_or(0);
    if answer == 0 { String::from_utf8_lossy(&name[..end]).into_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(12345678), "12,345,678");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(span(std::time::Duration::from_micros(1234)), "1.2 ms");
        for (secs, says) in [(59, "0 min"), (3599, "59 min"), (3600, "1 h"), (172_799, "47 h"), (172_800, "2 days")] {
            assert_eq!(age(std::time::Duration::from_secs(secs)), says);
        }
    }
}
