//! What was made and what became of it, for people and for machines.

use std::sync::atomic::Ordering::Relaxed;

use ouzel_gen::Kind;
use serde_json::{Value, json};

use super::Pace;
use super::args::{Plan, Sink};
use super::feed::{Counts, Feed};
use super::http::Sent;
use crate::Global;
use crate::term;

#[derive(Default)]
pub struct Report {
    counts: Counts,
    seconds: f64,
    pub sent: Option<Sent>,
}

pub fn status(feed: &Feed, pace: &Pace) -> String {
    let counts = &feed.counts;
    let per_s = counts.records as f64 / pace.seconds().max(1e-3);
    let visits = feed.generator().live() as u64;
    let time = counts.last.map_or(String::new(), |t| format!("  {t}"));
    let (records, per_s, visits) = (term::count(counts.records), term::count(per_s as u64), term::count(visits));
    format!("{records} events  {per_s}/s  {visits} visits going on{time}")
}

pub fn sending(feed: &Feed, sent: &Sent, pace: &Pace) -> String {
    let show = |q| sent.latency.quantile(q).map_or("-".to_owned(), term::span);
    let mut line = format!(
        "{}  accepted {}  refused {}  p50 {}  p99 {}",
        status(feed, pace),
        term::count(sent.accepted.load(Relaxed)),
        term::count(sent.refused.load(Relaxed)),
        show(0.5),
        show(0.99),
    );
    let pushed_back = sent.pushed_back.load(Relaxed);
    if pushed_back > 0 {
        line.push_str(&format!("  pushed back {}x", term::count(pushed_back)));
    }
    line
}

impl Report {
    pub fn fill(&mut self, feed: &Feed, pace: &Pace) {
        self.counts = feed.counts.clone();
        self.seconds = pace.seconds();
    }

    /// Whether everything that was to be sent was taken, or refused for what is wrong with it.
    pub fn all_arrived(&self) -> bool {
        self.sent.as_ref().is_none_or(|s| s.failed.load(Relaxed) == 0)
    }

    pub fn show(&self, global: &Global, plan: &Plan) {
        if global.json {
            let report = self.json(plan);
            // Standard output is the events' when they go there.
            if matches!(plan.sink, Sink::Stdout) {
                eprintln!("{report}");
            } else {
                println!("{report}");
            }
        } else if !global.quiet && !matches!(plan.sink, Sink::Stdout) {
            self.print(plan);
        }
    }

    fn print(&self, plan: &Plan) {
        let (n, c) = (term::count, &self.counts);
        let per_s = c.records as f64 / self.seconds.max(1e-3);
        eprintln!(
            "{} events, {}, in {:.1} s ({}/s)",
            n(c.records),
            term::bytes(c.bytes),
            self.seconds,
            n(per_s as u64)
        );
        let odd = Kind::ALL.iter().zip(c.kinds).skip(1).filter(|(_, n)| *n > 0);
        let odd: Vec<String> = odd.map(|(kind, count)| format!("{} {}", n(count), kind.name())).collect();
        if !odd.is_empty() {
            eprintln!("of them {}", odd.join(", "));
        }
        if let Some(sent) = &self.sent {
            let count = |c: &std::sync::atomic::AtomicU64| n(c.load(Relaxed));
            let show = |q| sent.latency.quantile(q).map_or("-".to_owned(), term::span);
            eprintln!("{} accepted, {} refused", count(&sent.accepted), count(&sent.refused));
            let from = if plan.speed.is_some() { "from when a batch was due" } else { "from when a batch was sent" };
            eprintln!("answers {from}: p50 {}, p99 {}", show(0.5), show(0.99));
            for (number, what) in [
                (&sent.behind, "batches were sent more than 1 ms after they were due"),
                (&sent.pushed_back, "times the receiver asked to come again later (429, 503)"),
                (&sent.resent, "batches were sent again after the connection was lost: their events may count twice"),
                (&sent.failed, "EVENTS WERE NOT TAKEN"),
            ] {
                if number.load(Relaxed) > 0 {
                    eprintln!("{} {what}", count(number));
                }
            }
            if let Some(strange) = &*sent.strange.lock().expect("no panic while held") {
                eprintln!("the first answer of that kind: {strange}");
            }
        }
        if let Some(dir) = &plan.truth {
            eprintln!("the truth is in {}", dir.display());
        }
    }

    fn json(&self, plan: &Plan) -> Value {
        let c = &self.counts;
        let time = |t: Option<event::Micros>| t.map(|t| t.to_string());
        let mut out = json!({
            "events": c.records,
            "bytes": c.bytes,
            "seconds": self.seconds,
            "events_per_second": c.records as f64 / self.seconds.max(1e-3),
            "seed": plan.config.seed,
            "people": plan.config.people,
            "first": time(c.first),
            "last": time(c.last),
        });
        for (kind, count) in Kind::ALL.iter().zip(c.kinds) {
            out[kind.name()] = json!(count);
        }
        if let Some(sent) = &self.sent {
            let ms = |q| sent.latency.quantile(q).map(|d| d.as_secs_f64() * 1e3);
            out["sent"] = json!({
                "requests": sent.requests.load(Relaxed),
                "accepted": sent.accepted.load(Relaxed),
                "refused": sent.refused.load(Relaxed),
                "pushed_back": sent.pushed_back.load(Relaxed),
                "resent": sent.resent.load(Relaxed),
                "failed": sent.failed.load(Relaxed),
                "behind": sent.behind.load(Relaxed),
                "p50_ms": ms(0.5),
                "p99_ms": ms(0.99),
            });
        }
        out["truth"] = json!(plan.truth.as_ref().map(|d| d.display().to_string()));
        out
    }
}
