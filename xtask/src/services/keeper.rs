//! The process that has the servers. It lives as long as its standard input is open, and says on its standard output
//! where they are: a line `NAME=URL` each, then an empty one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};

use super::place::{self, Place};
use super::server::{Home, Running};
use super::{TICK, stop_signals, wanted};
use crate::step;

pub fn run() -> Result<()> {
    let stop = stop_signals()?;
    end_with_input(&stop);
    place::sweep();
    // IMPORTANT: before the servers, so that it is dropped, and its files are removed, after them.
    let place = Place::new()?;
    let mut servers = Vec::new();
    for kind in wanted() {
        let begun = Instant::now();
        let server = (kind.find)().with_context(|| format!("{} is not installed", kind.name))?;
        let home = Home::new(kind, place.path(), &stop)?;
        let running = Running::start(server.as_ref(), home, super::server::free_port)
            .with_context(|| format!("{} ({}) did not start", kind.name, server.program().display()))?;
        let took = step::seconds(begun.elapsed());
        step::say(&format!("    {} on port {}, in {took} ({})", kind.name, running.port(), server.program().display()));
        servers.push((kind, server, running));
    }
    for (kind, server, running) in &servers {
        println!("{}={}", kind.variable, server.url(running.home(), running.port()));
    }
    println!();
    while !stop.load(Ordering::Relaxed) {
        servers.retain_mut(|(kind, _, running)| match running.ended() {
            // Its tests fail, and this says why.
            Some(why) => {
                step::say(&format!("    {} is gone: {why}", kind.name));
                false
            }
            None => true,
        });
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// Sets `stop` when the other end of standard input is closed, also by the kernel.
fn end_with_input(stop: &Arc<AtomicBool>) {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        stop.store(true, Ordering::Relaxed);
    });
}
