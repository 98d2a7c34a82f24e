//! A million visitors, and how a program comes to hold them.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use event::Micros;
use ouzel_gen::Visitor;
use seam::{Clock, RealClock};
use serde_json::Value;

use crate::exit::{Exit, Failed, Result};

/// Whatever takes longer than this will not happen.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The `n`-th visitor of a crowd.
pub fn visitor(n: u64) -> Visitor {
    Visitor::device(n << 1)
}

/// Writes one small event of each visitor, of this moment.
pub fn write_file(path: &Path, visitors: u64) -> Result<()> {
    let write = || {
        let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
        let (mut line, now) = (Vec::new(), RealClock::new().now());
        for n in 0..visitors {
            line.clear();
            write!(line, r#"{{"type":"page","messageId":"crowd-{n}","anonymousId":""#)?;
            visitor(n).write(&mut line);
            line.extend_from_slice(br#"","timestamp":""#);
            Micros(now.0 + n as i64).write_rfc3339(&mut line);
            line.extend_from_slice(b"\"}\n");
            out.write_all(&line)?;
        }
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
    };
    write().map_err(|e: std::io::Error| Failed::environment("writing the file of visitors", &e))
}

/// Waits until something is there, looking every `every`.
pub fn wait<T>(what: &str, every: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let clock = RealClock::new();
    loop {
        if let Some(there) = look()? {
            return Ok(there);
        }
        if clock.elapsed() > PATIENCE {
            return Err(Failed::new(Exit::Failed, format!("{what}: not within {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(every);
    }
}

/// Whether `/status.json` says that so many visitors are held and nothing waits.
pub fn holds(status: &Value, visitors: u64) -> bool {
    let sessions = &status["sessions"];
    status["lag"] == 0 && sessions["lag"] == 0 && sessions["visitors"].as_u64().is_some_and(|held| held >= visitors)
}
