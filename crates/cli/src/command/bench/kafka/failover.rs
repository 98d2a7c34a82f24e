//! A worker is killed while events come, and a new one starts: how long each partition's outputs pause, and for what.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use event::Micros;
use log_kafka::watch::{Flow, Watch};
use seam::{Clock, RealClock};
use serde_json::{Value, json};
use session::operator::GROUP as SESSIONS_GROUP;

use super::child::{Held, Worker};
use super::load::{Load, Pace, Sent, rendered};
use super::measure::{IN_ENRICHED, IN_SESSIONS, WINDOW};
use super::moments::{Looks, Takeover, grants, write_takeover};
use super::place::{Ground, Place, progress};
use crate::command::bench::sessions::{crowd, median, medians};
use crate::exit::{Exit, Failed, Result};

const WORKERS: u32 = 3;
const PARTITIONS: u32 = 12;
const COMMIT_AGE: Duration = Duration::from_millis(10);
/// Events a second while workers come and go.
const RATE: u64 = 5_000;
/// Before a kill: everything flows.
const CALM: Duration = Duration::from_secs(5);
/// Partitions flow again when all had a record within this time.
const FLOWS: Duration = Duration::from_millis(500);
/// The dead are not missed before this.
const NOT_BEFORE: Duration = Duration::from_secs(3);
/// After all flow again: a second rebalance would be seen.
const AFTER: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Groups of the stages, each with the topic of the watch that it writes.
const GROUPS: [(&str, usize); 2] = [("enrich", IN_ENRICHED), (SESSIONS_GROUP, IN_SESSIONS)];

pub fn run(place: &Place<'_>) -> Result<Value> {
    let ground = place.ground(PARTITIONS)?;
    progress(&format!("failover: {WORKERS} workers start"));
    let mut workers = ground.workers(WORKERS, COMMIT_AGE)?;
    let topics = [event::topic::ENRICHED, event::topic::SESSIONS].map(|id| ground.kafka.topic(id));
    let watch = Watch::start(&ground.kafka, &topics.each_ref().map(String::as_str));
    let watch = watch.map_err(|why| Failed::environment("reading what comes out", &why))?;
    let mut load = Load { log: ground.log()?, decoder: place.decoder.clone(), visitors: None, turns_before: 0 };
    let (sent, stop) = (Sent::default(), AtomicBool::new(false));

    let mut figures = fill(place, &ground, &load, &mut workers, &watch, &sent)?;
    load.visitors = Some(place.args.sessions);
    let mut batches = rendered()?;
    let mut runs = Ok(Vec::new());
    let mut sending = Ok(0);
    let read = || watch.records(IN_ENRICHED);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| load.run(Pace::Rate(RATE), &mut batches, &sent, &read, &stop));
        let mut stage = Stage { ground: &ground, watch: &watch, workers: &mut workers };
        runs = (0..place.args.runs).map(|n| stage.cycle(n, place.args.runs)).collect();
        stop.store(true, Relaxed);
        sending = sender.join().unwrap_or_else(|_| Err(Failed::new(Exit::Failed, "the sender panicked")));
    });
    sending?;
    let runs: Vec<(Value, Value)> = runs?;
    for (part, runs) in ["kill", "join"].iter().zip([0, 1].map(|n| pick(&runs, n))) {
        figures[part] = medians(&runs);
        // Of the last one, to look at.
        let words = runs.last().and_then(Value::as_object).into_iter().flatten().filter(|(_, v)| v.is_string());
        words.for_each(|(name, value)| figures[part][name] = value.clone());
    }
    figures["kills"] = json!(runs.len());
    figures["sends_behind"] = json!(sent.behind.load(Relaxed));
    let clock = RealClock::new();
    let not_read = || sent.events.load(Relaxed) as i64 - watch.records(IN_ENRICHED) as i64;
    while not_read() > 0 && clock.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(LOOK_EVERY);
    }
    figures["not_read"] = json!(not_read());
    workers.iter_mut().for_each(|worker| worker.child.stop());
    match not_read() {
        0 => Ok(figures),
        n => {
            let all = sent.events.load(Relaxed);
            Err(Failed::new(Exit::Failed, format!("failover: {all} events were sent, and {} came out", all as i64 - n)))
        }
    }
}

fn pick(runs: &[(Value, Value)], n: usize) -> Vec<Value> {
    runs.iter().map(|(kill, join)| if n == 0 { kill.clone() } else { join.clone() }).collect()
}

/// One session for each visitor, and snapshots of them all.
fn fill(
    place: &Place<'_>,
    ground: &Ground<'_>,
    load: &Load,
    workers: &mut [Worker],
    watch: &Watch,
    sent: &Sent,
) -> Result<Value> {
    let visitors = place.args.sessions;
    progress(&format!("failover: {visitors} visitors come, one event each"));
    let clock = RealClock::new();
    load.crowd(visitors, WINDOW, sent, &|| watch.records(IN_ENRICHED))?;
    crowd::wait("each visitor has a session", LOOK_EVERY, || {
        workers.iter_mut().try_for_each(|worker| worker.child.check())?;
        Ok((watch.records(IN_SESSIONS) >= visitors).then_some(()))
    })?;
    let took = clock.elapsed().as_secs_f64();
    let loaded = SystemTime::now();
    progress("failover: snapshots of all partitions");
    crowd::wait("a snapshot of each partition", Duration::from_millis(200), || {
        workers.iter_mut().try_for_each(|worker| worker.child.check())?;
        let dir = ground.dir.join("state").join(SESSIONS_GROUP);
        let all = (0..PARTITIONS).all(|p| newest_snapshot(&dir.join(p.to_string())).is_some_and(|at| at > loaded));
        Ok(all.then_some(()))
    })?;
    let memory = workers.iter_mut().map(|worker| worker.child.usage()).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "sessions": visitors,
        "filled_per_s": visitors as f64 / took,
        "resident_mb_each": median(memory.iter().map(|usage| usage.resident as f64 / 1e6).collect()),
    }))
}

fn newest_snapshot(dir: &Path) -> Option<SystemTime> {
    let files = std::fs::read_dir(dir).ok()?.flatten();
    let manifests = files.filter(|file| file.file_name().to_string_lossy().ends_with(".manifest"));
    manifests.filter_map(|file| file.metadata().ok()?.modified().ok()).max()
}

/// Workers on stage while events come.
struct Stage<'s> {
    ground: &'s Ground<'s>,
    watch: &'s Watch,
    workers: &'s mut Vec<Worker>,
}

impl Stage<'_> {
    /// One is killed, and one starts.
    fn cycle(&mut self, n: usize, of: usize) -> Result<(Value, Value)> {
        let what = format!("failover: run {} of {of}", n + 1);
        progress(&format!("{what}: calm for {} s", CALM.as_secs()));
        std::thread::sleep(CALM);
        let at = n % self.workers.len();
        let killed = self.kill(at, &what)?;
        let joined = self.join(at, &what)?;
        Ok((killed, joined))
    }

    fn kill(&mut self, at: usize, what: &str) -> Result<Value> {
        let lost = has_some(&mut self.workers[at])?;
        let slot = self.workers[at].slot;
        progress(&format!(
            "{what}: worker {slot} is killed, with {} partitions of raw and {} of enriched",
            lost.enrich.len(),
            lost.sessions.len()
        ));
        let looks = Looks::start(&self.ground.kafka, &GROUPS.map(|(group, _)| group), slot)?;
        self.watch.mark(PARTITIONS);
        let mut dead = self.workers.remove(at);
        let (begun, wall) = (Instant::now(), RealClock::new().now());
        dead.child.kill();
        self.until_all_flow(NOT_BEFORE)?;
        let seen = looks.end();
        let mut figures = json!({});
        for (group, topic) in GROUPS {
            let mine = if topic == IN_ENRICHED { &lost.enrich } else { &lost.sessions };
            let flows = self.watch.flows(topic);
            write_pauses(&mut figures, name(topic), &flows, mine);
            let resumed = flows.iter().filter(|flow| mine.contains(&flow.partition)).map(|flow| flow.longest.until);
            let resumed = resumed.max().map(|until| until.saturating_duration_since(begun));
            let takeover = Takeover::of(group, &seen, &self.grants(group, wall), resumed);
            write_takeover(&mut figures, group, &takeover);
        }
        Ok(figures)
    }

    fn join(&mut self, at: usize, what: &str) -> Result<Value> {
        let slot = at_slot(self.workers);
        progress(&format!("{what}: a new worker {slot} starts"));
        self.watch.mark(PARTITIONS);
        let begun = Instant::now();
        let mut new = self.ground.worker(slot)?;
        has_some(&mut new)?;
        let granted = begun.elapsed();
        self.workers.insert(at.min(self.workers.len()), new);
        // Partitions move by and by: those that are given away first, then those that are taken.
        self.until_all_flow(granted + AFTER)?;
        let has = has_some(&mut self.workers[at])?;
        let mut figures = json!({
            "granted_s": granted.as_secs_f64(),
            "moved_of_raw": has.enrich.len(),
            "moved_of_enriched": has.sessions.len(),
        });
        for (topic, mine) in [(IN_ENRICHED, &has.enrich), (IN_SESSIONS, &has.sessions)] {
            write_pauses(&mut figures, name(topic), &self.watch.flows(topic), mine);
        }
        Ok(figures)
    }

    /// Waits until every partition flows, and a while longer. `not_before`: from now on.
    fn until_all_flow(&mut self, not_before: Duration) -> Result<()> {
        let begun = Instant::now();
        crowd::wait("all partitions flow again", LOOK_EVERY, || {
            self.alive()?;
            let mut flows = [IN_ENRICHED, IN_SESSIONS].into_iter().flat_map(|n| self.watch.flows(n));
            Ok((begun.elapsed() > not_before && flows.all(|flow| flow.silent < FLOWS)).then_some(()))
        })?;
        std::thread::sleep(AFTER);
        self.alive()
    }

    fn alive(&mut self) -> Result<()> {
        self.workers.iter_mut().try_for_each(|worker| worker.child.check())?;
        self.watch.check().map_err(|why| Failed::environment("reading what comes out", &why))
    }

    /// What the workers say of a group since that moment: when partitions were granted, and how long that took them.
    fn grants(&self, group: &str, since: Micros) -> Vec<(Duration, Duration)> {
        let member = format!("{}-", self.ground.kafka.group(group));
        self.workers.iter().flat_map(|worker| grants(&worker.child.log(), &member, since)).collect()
    }
}

/// What it has, once it says that it has something of each stage: beside other work it may answer late.
fn has_some(worker: &mut Worker) -> Result<Held> {
    crowd::wait("a worker has partitions", LOOK_EVERY, || {
        let has = worker.held()?;
        Ok((!has.enrich.is_empty() && !has.sessions.is_empty()).then_some(has))
    })
}

/// The slot that no worker has.
fn at_slot(workers: &[Worker]) -> u32 {
    (0..).find(|slot| workers.iter().all(|worker| worker.slot != *slot)).unwrap_or_default()
}

fn name(topic: usize) -> &'static str {
    if topic == IN_ENRICHED { "enriched" } else { "sessions" }
}

/// The longest pause of each of `mine`, and of all others together.
fn write_pauses(figures: &mut Value, topic: &str, flows: &[Flow], mine: &[u32]) {
    let secs = |flow: &Flow| flow.longest.length().as_secs_f64();
    let (moved, others): (Vec<&Flow>, Vec<&Flow>) = flows.iter().partition(|flow| mine.contains(&flow.partition));
    let pauses: Vec<f64> = moved.iter().map(|flow| secs(flow)).collect();
    let longest = |flows: &[&Flow]| flows.iter().map(|flow| secs(flow)).fold(0.0, f64::max);
    if !moved.is_empty() {
        figures[format!("{topic}_pause_max_s")] = json!(longest(&moved));
        figures[format!("{topic}_pause_median_s")] = json!(median(pauses));
    }
    figures[format!("{topic}_pause_of_others_s")] = json!(longest(&others));
    let each = moved.iter().map(|flow| format!("{}: {:.2}", flow.partition, secs(flow))).collect::<Vec<_>>();
    figures[format!("{topic}_pauses_s")] = json!(each.join(", "));
}

#[cfg(test)]
mod tests {
    use log_kafka::watch::Pause;

    use super::*;

    #[test]
    fn pauses_of_what_moved_are_told_apart_from_the_others() {
        let now = Instant::now();
        let flow = |partition, ms| {
            let longest = Pause { from: now, until: now + Duration::from_millis(ms) };
            Flow { partition, records: 9, longest, silent: Duration::ZERO }
        };
        let flows = [flow(0, 40), flow(1, 7_000), flow(2, 60), flow(3, 6_500), flow(4, 8_000)];
        let mut figures = json!({});
        write_pauses(&mut figures, "enriched", &flows, &[1, 3, 4]);
        assert_eq!(figures["enriched_pause_max_s"], 8.0);
        assert_eq!(figures["enriched_pause_median_s"], 7.0);
        assert_eq!(figures["enriched_pause_of_others_s"], 0.06);
        assert_eq!(figures["enriched_pauses_s"], "1: 7.00, 3: 6.50, 4: 8.00");
        // A worker that had nothing: no figure that looks like a short pause.
        let mut nothing = json!({});
        write_pauses(&mut nothing, "enriched", &flows, &[]);
        assert!(nothing.get("enriched_pause_max_s").is_none(), "{nothing}");
    }
}
