//! Records as lines, to standard output or a file.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use ouzel_gen::Batch;

use super::feed::Feed;
use super::{Pace, STATUS_EVERY, Stop};
use crate::exit::{Failed, Result, plain};

/// Records written at a time, at most; when paced, those that are due within [`TOGETHER`].
const TOGETHER_MAX: usize = 256;
const TOGETHER: Duration = Duration::from_millis(2);

pub fn to_file(feed: &mut Feed, pace: &Pace, stop: &Stop, path: &Path, status: impl FnMut(&Feed)) -> Result<()> {
    let name = path.display().to_string();
    let file =
        std::fs::File::create(path).map_err(|e| Failed::environment(&format!("cannot write to {name}"), &plain(&e)))?;
    write(feed, pace, stop, file, &name, status)
}

/// Writes until there is no more, it is to stop, or nobody reads any more.
pub fn write(
    feed: &mut Feed,
    pace: &Pace,
    stop: &Stop,
    mut out: impl Write,
    name: &str,
    mut status: impl FnMut(&Feed),
) -> Result<()> {
    let within_us = pace.within_us(TOGETHER);
    let mut batch = Batch::default();
    let mut shown = Duration::ZERO;
    while !stop.is_set() && feed.pull(&mut batch, TOGETHER_MAX, within_us)? {
        if let Some(due) = batch.due().and_then(|at| pace.due(at))
            && !pace.wait(due, stop)
        {
            break;
        }
        match out.write_all(&batch.body).and_then(|()| out.flush()) {
            Ok(()) => {}
            // `ouzel gen | head`: that was all that was wanted.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => break,
            Err(e) => return Err(Failed::environment(&format!("cannot write to {name}"), &plain(&e))),
        }
        let now = pace.elapsed();
        if now - shown >= STATUS_EVERY {
            shown = now;
            status(feed);
        }
    }
    Ok(())
}
