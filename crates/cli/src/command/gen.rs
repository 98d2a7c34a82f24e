//! `ouzel gen`: the simulated marketplace's events, paced and sent somewhere, with the truth beside them.

mod args;
mod feed;
mod http;
mod report;
mod stream;
mod truth;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use event::Micros;
use seam::{Clock, RealClock};

pub use args::GenArgs;
use args::Sink;
use feed::Feed;
use report::Report;
use truth::TruthFiles;

use crate::Global;
use crate::exit::{Exit, Failed, Result};
use crate::term::StatusLine;

const STATUS_EVERY: Duration = Duration::from_millis(500);

pub fn run(global: &Global, args: GenArgs) -> Result {
    let clock = Arc::new(RealClock::new());
    let plan = args.plan(clock.now()).map_err(Failed::usage)?;
    let mut generator = plan.config.build().map_err(|e| Failed::usage(args::explain(&e)))?;
    let stopped = Stop::install()?;
    let truth = plan.truth.as_deref().map(TruthFiles::create).transpose()?;
    let begun = clock.elapsed();
    let start = if plan.starts_now { clock.now() } else { plan.config.start };
    generator.begin_at(start);
    let pace = Pace { clock: clock.clone(), begun, start, speed: plan.speed };
    let mut feed = Feed::new(generator, &plan, start, truth);
    // What goes to standard output may end on this terminal, the line would stand among it.
    let people = !global.quiet && !global.json && !matches!(plan.sink, Sink::Stdout);
    let mut line = StatusLine::new(people);
    let mut report = Report::default();
    let result = match &plan.sink {
        Sink::Stdout => stream::write(&mut feed, &pace, &stopped, std::io::stdout().lock(), "standard output", |_| {}),
        Sink::File(path) => stream::to_file(&mut feed, &pace, &stopped, path, |feed| {
            line.show(&report::status(feed, &pace));
        }),
        Sink::Http(to) => http::send(&mut feed, &pace, &stopped, to, &plan, |feed, sent| {
            line.show(&report::sending(feed, sent, &pace));
        })
        .map(|sent| report.sent = Some(sent)),
    };
    line.clear();
    feed.finish()?;
    result?;
    report.fill(&feed, &pace);
    report.show(global, &plan);
    Ok(if report.all_arrived() { Exit::Fine } else { Exit::Failed })
}

/// When what is due.
pub struct Pace {
    clock: Arc<RealClock>,
    begun: Duration,
    start: Micros,
    /// Seconds of the marketplace in a real one; `None`: as fast as it goes.
    speed: Option<f64>,
}

impl Pace {
    /// The real moment of a moment of the marketplace.
    pub fn due(&self, at: Micros) -> Option<Duration> {
        let since_us = (at.0 - self.start.0).max(0) as f64;
        Some(self.begun + Duration::from_secs_f64(since_us / 1e6 / self.speed?))
    }

    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Seconds since the first event was due.
    pub fn seconds(&self) -> f64 {
        (self.clock.elapsed() - self.begun).as_secs_f64()
    }

    /// How much of the marketplace's time, in microseconds, passes in a real span; `None` when it is not paced.
    pub fn within_us(&self, span: Duration) -> Option<i64> {
        Some((span.as_micros() as f64 * self.speed?) as i64)
    }

    /// Waits until a real moment, or until somebody wants it to end: `false`.
    pub fn wait(&self, until: Duration, stop: &Stop) -> bool {
        loop {
            let now = self.clock.elapsed();
            if stop.is_set() {
                return false;
            }
            if now >= until {
                return true;
            }
            std::thread::sleep((until - now).min(TICK));
        }
    }
}

/// How long nobody looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);

/// Ctrl-C and SIGTERM end it after the record at hand; the second at once.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    fn install() -> Result<Stop> {
        /// As shells say it of who ended by SIGINT.
        const INTERRUPTED: i32 = 130;
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            // In this order: the first signal finds the flag down.
            signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, seen.clone())
                .and_then(|_| signal_hook::flag::register(signal, seen.clone()))
                .map_err(|e| Failed::environment("cannot handle signals", &e))?;
        }
        Ok(Stop(seen))
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }
}
