//! One program under load: what comes out, how soon, and what it costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use event::topic::{ENRICHED, SESSIONS};
use log_kafka::watch::{Latencies, Watch};
use seam::{Clock, RealClock};
use serde_json::{Value, json};

use super::child::{Child, Worker, peer};
use super::load::{Load, Pace, Sent, rendered};
use super::place::{Ground, Place, progress};
use super::process::Usage;
use crate::command::bench::sessions::{crowd, medians};
use crate::exit::{Exit, Failed, Result};

/// Topics of the watch, by their place in it.
pub const IN_ENRICHED: usize = 0;
pub const IN_SESSIONS: usize = 1;

const PARTITIONS: u32 = 4;
/// Of the closed loop: events that are sent and not read yet.
pub const WINDOW: u64 = 20_000;
/// How often it is looked whether everybody lives.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After the load, for what was sent to come out.
const DRAIN: Duration = Duration::from_secs(60);

/// Who is measured.
pub enum Subject {
    Worker(Worker),
    Peer(Child),
}

impl Subject {
    fn child(&mut self) -> &mut Child {
        match self {
            Subject::Worker(worker) => &mut worker.child,
            Subject::Peer(child) => child,
        }
    }

    /// Records of `enriched` that are not in sessions yet; the peer does not say it.
    fn sessions_lag(&mut self) -> Result<Option<f64>> {
        let Subject::Worker(worker) = self else { return Ok(None) };
        Ok(worker.status()?.and_then(|status| status["sessions"]["lag"].as_f64()))
    }
}

/// Ouzel at a commit age.
pub fn ouzel(place: &Place<'_>, what: &str, pace: Pace, commit_age: Duration) -> Result<Value> {
    let ground = place.ground(PARTITIONS)?;
    progress(&format!("{what}: a worker starts"));
    let worker = ground.workers(1, commit_age)?.remove(0);
    measure(place, &ground, what, pace, Subject::Worker(worker))
}

/// The program of `--peer` at a commit interval.
pub fn other(place: &Place<'_>, command: &str, what: &str, pace: Pace, commit: Duration) -> Result<Value> {
    let ground = place.ground(PARTITIONS)?;
    let (geo, agents) = place.reference()?;
    let topic = |id| ground.kafka.topic(id);
    let arguments = [
        ("bootstrap", ground.kafka.brokers.clone()),
        ("raw", topic(event::topic::RAW)),
        ("enriched", topic(ENRICHED)),
        ("sessions", topic(SESSIONS)),
        ("state-dir", ground.dir.join("peer-state").display().to_string()),
        ("application-id", format!("{}peer", ground.kafka.prefix)),
        ("commit-ms", commit.as_millis().to_string()),
        ("geo", geo.display().to_string()),
        ("agents", agents.display().to_string()),
    ];
    progress(&format!("{what}: it starts"));
    let mut child = peer(command, &arguments, &ground.dir.join("peer"))?;
    crowd::wait("the peer says READY", LOOK_EVERY, || {
        child.check()?;
        Ok(child.output().lines().any(|line| line.trim() == "READY").then_some(()))
    })?;
    measure(place, &ground, what, pace, Subject::Peer(child))
}

fn measure(place: &Place<'_>, ground: &Ground<'_>, what: &str, pace: Pace, mut subject: Subject) -> Result<Value> {
    let topics = [ENRICHED, SESSIONS].map(|id| ground.kafka.topic(id));
    let watch = Watch::start(&ground.kafka, &topics.each_ref().map(String::as_str));
    let watch = watch.map_err(|why| Failed::environment("reading what comes out", &why))?;
    let load = Load { log: ground.log()?, decoder: Arc::clone(&place.decoder), visitors: None, turns_before: 0 };
    let (sent, stop) = (Sent::default(), AtomicBool::new(false));
    let mut batches = rendered()?;
    let mut runs = Ok(Vec::new());
    let mut sending = Ok(0);
    let read = || watch.records(IN_ENRICHED);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| load.run(pace, &mut batches, &sent, &read, &stop));
        let mut under_load = UnderLoad { place, watch: &watch, sent: &sent, subject: &mut subject, pace };
        runs = under_load.runs(what, &|| sender.is_finished());
        stop.store(true, Relaxed);
        sending = sender.join().unwrap_or_else(|_| Err(Failed::new(Exit::Failed, "the sender panicked")));
    });
    sending?;
    let runs = runs?;
    let not_read = drain(&watch, &sent, &mut subject)?;
    let mut figures = medians(&runs);
    figures["not_read"] = json!(not_read);
    if let Some(why) = &watch.check().err() {
        return Err(Failed::environment("reading what came out", why));
    }
    // The broker's memory of the program goes with its topics.
    subject.child().stop();
    if not_read != 0 && matches!(subject, Subject::Worker(_)) {
        let all = sent.events.load(Relaxed);
        return Err(Failed::new(
            Exit::Failed,
            format!("{all} events were sent, and {} came out", all as i64 - not_read),
        ));
    }
    Ok(figures)
}

/// How many events that were sent are not in `enriched`, once nothing more comes; below zero: some are there twice.
fn drain(watch: &Watch, sent: &Sent, subject: &mut Subject) -> Result<i64> {
    let clock = RealClock::new();
    loop {
        let not_read = sent.events.load(Relaxed) as i64 - watch.records(IN_ENRICHED) as i64;
        if not_read <= 0 || clock.elapsed() > DRAIN {
            return Ok(not_read);
        }
        subject.child().check()?;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A subject while events come.
struct UnderLoad<'u> {
    place: &'u Place<'u>,
    watch: &'u Watch,
    sent: &'u Sent,
    subject: &'u mut Subject,
    pace: Pace,
}

/// Counts at one moment.
struct Mark {
    at: Duration,
    enriched: u64,
    sessions: u64,
    behind: u64,
    subject: Usage,
    broker: Usage,
    own_cpu_s: f64,
    sessions_lag: Option<f64>,
}

impl UnderLoad<'_> {
    fn runs(&mut self, what: &str, sender_ended: &dyn Fn() -> bool) -> Result<Vec<Value>> {
        let args = self.place.args;
        progress(&format!("{what}: warms up for {} s", args.warm_up_secs));
        self.wait(args.warm_up_secs, sender_ended)?;
        (1..=args.runs).map(|n| self.span(&format!("{what}: run {n} of {}", args.runs), sender_ended)).collect()
    }

    fn span(&mut self, what: &str, sender_ended: &dyn Fn() -> bool) -> Result<Value> {
        let secs = self.place.args.secs;
        progress(&format!("{what}: {secs} s"));
        let clock = RealClock::new();
        let begun = self.mark(&clock)?;
        let _ = (self.watch.take(IN_ENRICHED), self.watch.take(IN_SESSIONS));
        self.wait(secs, sender_ended)?;
        let times = [self.watch.take(IN_ENRICHED), self.watch.take(IN_SESSIONS)];
        let ended = self.mark(&clock)?;
        let mut figures = ended.since(&begun);
        if let Pace::Rate(_) = self.pace {
            for (prefix, times) in ["", "sessions_"].into_iter().zip(&times) {
                write_quantiles(&mut figures, prefix, times);
            }
        }
        Ok(figures)
    }

    /// Sleeps; an error when somebody ends before.
    fn wait(&mut self, secs: u64, sender_ended: &dyn Fn() -> bool) -> Result<()> {
        let clock = RealClock::new();
        let span = Duration::from_secs(secs);
        while clock.elapsed() < span {
            std::thread::sleep(LOOK_EVERY.min(span.saturating_sub(clock.elapsed())));
            self.subject.child().check()?;
            self.watch.check().map_err(|why| Failed::environment("reading what comes out", &why))?;
            if sender_ended() {
                return Err(Failed::new(Exit::Failed, "the sender ended before its time"));
            }
        }
        Ok(())
    }

    fn mark(&mut self, clock: &RealClock) -> Result<Mark> {
        Ok(Mark {
            sessions_lag: self.subject.sessions_lag()?,
            at: clock.elapsed(),
            enriched: self.watch.records(IN_ENRICHED),
            sessions: self.watch.records(IN_SESSIONS),
            behind: self.sent.behind.load(Relaxed),
            subject: self.subject.child().usage()?,
            broker: self.place.broker(),
            own_cpu_s: crate::command::bench::cpu_seconds(),
        })
    }
}

impl Mark {
    fn since(&self, begun: &Mark) -> Value {
        let span = (self.at - begun.at).as_secs_f64();
        let events = (self.enriched - begun.enriched) as f64;
        let per_million = |now: f64, before: f64| per_million(now - before, events);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let mut out = json!({
            "events_per_s": events / span,
            "session_updates_per_s": (self.sessions - begun.sessions) as f64 / span,
            "cpu_s_per_million": per_million(self.subject.cpu_s, begun.subject.cpu_s),
            "resident_mb": mb(self.subject.resident),
            "peak_mb": mb(self.subject.peak),
            "broker_cpu_s_per_million": per_million(self.broker.cpu_s, begun.broker.cpu_s),
            "broker_resident_mb": mb(self.broker.resident),
            // The sender and the reader are this process.
            "sender_and_reader_cpu_s_per_million": per_million(self.own_cpu_s, begun.own_cpu_s),
            "sends_behind": self.behind - begun.behind,
        });
        if let Some((now, before)) = self.sessions_lag.zip(begun.sessions_lag) {
            out["sessions_lag"] = json!(now);
            out["sessions_lag_per_s"] = json!((now - before) / span);
        }
        out
    }
}

/// Of a million events, what was used for so many; `null` where there were none.
fn per_million(used: f64, events: f64) -> Option<f64> {
    (events > 0.0).then(|| used / events * 1e6)
}

fn write_quantiles(figures: &mut Value, prefix: &str, times: &Latencies) {
    for (name, q) in [("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)] {
        figures[format!("{prefix}{name}")] = json!(times.quantile(q).map(|d| d.as_secs_f64() * 1e3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_what_happened_between_two_marks() {
        let usage = |cpu_s| Usage { cpu_s, resident: 50_000_000, peak: 60_000_000 };
        let mark = |secs, enriched, cpu_s, lag| Mark {
            at: Duration::from_secs(secs),
            enriched,
            sessions: enriched / 10,
            behind: enriched / 1000,
            subject: usage(cpu_s),
            broker: usage(cpu_s * 2.0),
            own_cpu_s: cpu_s / 2.0,
            sessions_lag: lag,
        };
        let figures = mark(30, 300_000, 5.0, Some(40.0)).since(&mark(10, 100_000, 1.0, Some(0.0)));
        for (name, want) in [
            ("events_per_s", 10_000.0),
            ("session_updates_per_s", 1_000.0),
            ("cpu_s_per_million", 20.0),
            ("broker_cpu_s_per_million", 40.0),
            ("sender_and_reader_cpu_s_per_million", 10.0),
            ("resident_mb", 50.0),
            ("peak_mb", 60.0),
            ("sends_behind", 200.0),
            ("sessions_lag_per_s", 2.0),
        ] {
            assert_eq!(figures[name].as_f64(), Some(want), "{name} in {figures}");
        }
        // Nothing came out, and the peer does not say how far it is behind.
        let nothing = mark(30, 7, 5.0, None).since(&mark(10, 7, 1.0, None));
        assert!(nothing["cpu_s_per_million"].is_null() && nothing.get("sessions_lag").is_none(), "{nothing}");
    }

    #[test]
    fn quantiles_have_the_name_of_their_topic() {
        let mut times = Latencies::default();
        (1..=100).for_each(|ms| times.record(Duration::from_millis(ms)));
        let mut figures = json!({});
        write_quantiles(&mut figures, "sessions_", &times);
        assert!((figures["sessions_p99_ms"].as_f64().expect("a number") - 99.1).abs() < 0.01, "{figures}");
        write_quantiles(&mut figures, "", &Latencies::default());
        assert!(figures["p50_ms"].is_null(), "{figures}");
    }
}
