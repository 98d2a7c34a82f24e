//! What the running process says of itself: readiness with reasons, metrics, the status page's numbers, the two sums.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use door::http::{Counters, Histogram, Site};
use door::input::error::Kind;
use door::input::{InputError, Progress as InputProgress};
use event::topic::{DLQ, ENRICHED, LATE, RAW};
use event::{Micros, TopicId};
use log::Log;
use lookup::Directory;
use seam::Clock;
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::carrier::{Carrier, Condition};
use crate::config::{Config, Durability};
use crate::explain;
use crate::lookups::Lookups;
use crate::lookups::named::Named;
use crate::roles::Roles;
use crate::seats::Seats;
use crate::sessions::Sessions;
use stage::facts::Sources;
use stage::{Committed, StageStatus, Trouble};

/// Shared by everything that runs, read by whoever asks.
pub struct Status {
    pub carrier: Arc<Carrier>,
    log: Arc<dyn Log>,
    pub roles: Roles,
    pub enrich: Arc<StageStatus>,
    /// Which partitions of `raw` are this process's.
    pub seats: Arc<Seats>,
    /// From handing a stage's commit in to its outcome.
    pub commits: Arc<Histogram>,
    /// Once it has been started, if it is wanted.
    pub sessions: OnceLock<Arc<Sessions>>,
    pub sources: Arc<Sources>,
    /// Lookups over a connection, and all of them by name.
    pub lookups: Arc<Lookups>,
    pub named: Named,
    pub http: Arc<Counters>,
    pub inputs: Mutex<Vec<Arc<InputStatus>>>,
    pub clock: Arc<dyn Clock>,
    pub data: PathBuf,
    /// The member that enrich adds.
    pub member: String,
    pub durability: &'static str,
    /// What the run goes on without, from the start.
    pub without: Vec<String>,
    pub draining: AtomicBool,
    pub admin: Admin,
    /// Events enriched a second, over the last second; f64 bits.
    rate: AtomicU64,
    sampled: Mutex<(Duration, u64)>,
}

/// One file or standard input.
pub struct InputStatus {
    pub name: String,
    pub what: String,
    pub progress: Arc<InputProgress>,
    /// What was remarkable about it, once it has ended.
    pub note: Mutex<Option<String>>,
    /// Why it stopped, if not by its end.
    pub error: Mutex<Option<InputError>>,
}

/// The two sums of `spec/events.md`, over the life of the directory; on Kafka, of the partitions of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    pub accepted: u64,
    pub refused: u64,
    pub processed: u64,
    pub quarantined: u64,
    pub deduplicated: u64,
    pub in_flight: u64,
    /// Removed by retention before they were processed: retention never does.
    pub expired: u64,
    /// In flight already when this count began; 0 for a directory's life.
    pub carried: u64,
}

impl Sums {
    pub fn received(&self) -> u64 {
        self.accepted + self.refused
    }

    /// Whether accepted (and carried) = processed + quarantined + deduplicated + in flight + expired.
    pub fn add_up(&self) -> bool {
        self.accepted + self.carried
            == self.processed + self.quarantined + self.deduplicated + self.in_flight + self.expired
    }

    pub fn json(&self) -> Value {
        json!({
            "received": self.received(), "accepted": self.accepted, "refused": self.refused,
            "processed": self.processed, "quarantined": self.quarantined, "deduplicated": self.deduplicated,
            "in_flight": self.in_flight, "expired": self.expired, "carried": self.carried, "adds_up": self.add_up(),
        })
    }

    /// What was added since `earlier`.
    pub fn since(&self, earlier: &Sums) -> Sums {
        Sums {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            refused: self.refused.saturating_sub(earlier.refused),
            processed: self.processed - earlier.processed,
            quarantined: self.quarantined - earlier.quarantined,
            deduplicated: self.deduplicated - earlier.deduplicated,
            in_flight: self.in_flight,
            expired: self.expired - earlier.expired,
            carried: earlier.in_flight,
        }
    }
}

impl Status {
    #[allow(clippy::too_many_arguments)] // the parts of a process, each once
    pub fn new(
        config: &Config,
        carrier: Arc<Carrier>,
        roles: Roles,
        enrich: Arc<StageStatus>,
        sources: Arc<Sources>,
        (lookups, named): (Arc<Lookups>, Named),
        clock: Arc<dyn Clock>,
        without: Vec<String>,
    ) -> Status {
        let durability = match (carrier.journal(), config.data.durability) {
            (None, _) => "kafka: all copies that are in sync",
            (Some(_), Durability::Fsync) => "fsync",
            (Some(_), Durability::Os) => "os: a power cut may lose acknowledged events",
        };
        Status {
            log: carrier.log(),
            carrier,
            roles,
            enrich,
            seats: Arc::default(),
            commits: Arc::default(),
            sessions: OnceLock::new(),
            sources,
            lookups,
            named,
            http: Arc::default(),
            inputs: Mutex::new(Vec::new()),
            clock,
            data: config.data.dir.clone(),
            member: config.enrich.member.clone(),
            durability,
            without,
            draining: AtomicBool::new(false),
            admin: Admin::default(),
            rate: AtomicU64::new(0),
            sampled: Mutex::new((Duration::ZERO, 0)),
        }
    }

    /// Reads the sums; on a log that others work on too, those of the partitions that this process has, over their life, and
    /// what this process refused since its start. The committed positions are read before the ends, so that `in_flight` is
    /// never negative; while events flow it may be a moment old.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let (mut committed, mut ends, mut lost) = (0, 0, 0);
        for (p, Committed { progress, next, finished }) in self.mine() {
            sums.processed += progress.processed;
            sums.quarantined += progress.quarantined;
            sums.deduplicated += progress.deduplicated;
            committed += next + finished;
            lost += progress.lost;
            let (_, end) = self.log.bounds(RAW.partition(p)).unwrap_or_default();
            ends += end.max(next + finished);
        }
        sums.in_flight = ends - committed;
        let Some(journal) = self.carrier.journal() else {
            sums.accepted = sums.processed + sums.quarantined + sums.deduplicated + sums.in_flight;
            sums.refused = self.collected().1;
            return sums;
        };
        // Positions of `raw` begin at 0, so the ends count what was ever accepted, but for those that hold nothing.
        sums.accepted = ends - lost;
        let dlq = journal.sizes().into_iter().find(|t| t.topic == DLQ);
        let dead = dlq.map_or(0, |t| {
            let (kept, ever) = t.bounds.iter().fold((0, 0), |(kept, ever), (s, e)| (kept + e - s, ever + e));
            ever - kept.saturating_sub(t.records)
        });
        sums.refused = dead.saturating_sub(sums.quarantined);
        sums
    }

    /// What this process did since its start, on a log that others work on too: partitions came and went.
    pub fn sums_of_run(&self) -> Sums {
        let done = self.seats.done(&self.enrich);
        let in_flight = self.lag();
        Sums {
            accepted: done.processed + done.quarantined + done.deduplicated + in_flight,
            refused: self.collected().1,
            processed: done.processed,
            quarantined: done.quarantined,
            deduplicated: done.deduplicated,
            in_flight,
            ..Sums::default()
        }
    }

    /// What came in here since the start: accepted, refused.
    pub fn collected(&self) -> (u64, u64) {
        let inputs = self.inputs.lock().expect("no panic while held");
        let http = (self.http.accepted.value(), self.http.refused.value());
        inputs.iter().fold(http, |(accepted, refused), input| {
            let p = &input.progress;
            (accepted + p.accepted.load(Relaxed), refused + p.refused.load(Relaxed))
        })
    }

    /// What is committed of the partitions of `raw` that this process has.
    fn mine(&self) -> Vec<(u32, Committed)> {
        let all: Vec<_> = (0..).zip(self.enrich.partitions()).collect();
        if !self.carrier.is_shared() {
            return all;
        }
        let mine = self.seats.partitions();
        all.into_iter().filter(|(p, _)| mine.contains(p)).collect()
    }

    /// Records not enriched yet, by partition of this process.
    fn lags(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.mine().into_iter().map(|(p, Committed { next, finished, .. })| {
            let (_, end) = self.log.bounds(RAW.partition(p)).unwrap_or_default();
            (p, end.saturating_sub(next + finished))
        })
    }

    /// Events that were too late for their session, ever; 0 where others write them too.
    pub fn late(&self) -> u64 {
        if self.carrier.is_shared() {
            return 0;
        }
        (0..self.log.partitions(LATE)).map(|p| self.log.bounds(LATE.partition(p)).map_or(0, |(_, end)| end)).sum()
    }

    /// Records accepted and not enriched yet.
    pub fn lag(&self) -> u64 {
        self.lags().map(|(_, lag)| lag).sum()
    }

    pub fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }

    /// Why some stage cannot go on at present, or stopped for good; the latter first.
    pub fn trouble(&self) -> Option<Trouble> {
        let sessions = self.sessions.get().and_then(|s| s.status.trouble());
        let mut all: Vec<Trouble> = self.enrich.trouble().into_iter().chain(sessions).collect();
        all.sort_by_key(|t| !t.fatal);
        all.into_iter().next()
    }

    /// Takes a sample for the rate; called about twice a second.
    pub fn sample(&self) {
        let now = self.clock.elapsed();
        let done: u64 = match self.carrier.is_shared() {
            true => self.seats.done(&self.enrich).total(),
            false => self.enrich.partitions().map(|p| p.progress.total()).sum(),
        };
        let mut last = self.sampled.lock().expect("no panic while held");
        let span = (now - last.0).as_secs_f64();
        if span < 0.4 {
            return;
        }
        let rate = if last.0 == Duration::ZERO { 0.0 } else { (done - last.1.min(done)) as f64 / span };
        *last = (now, done);
        self.rate.store(rate.to_bits(), Relaxed);
    }

    /// The open sessions of a visitor, with a status for HTTP.
    fn open_sessions(&self, visitor: &[u8]) -> (u16, String) {
        let error =
            |status, code: &str, message: &str| (status, json!({"code": code, "message": message}).to_string() + "\n");
        let Some(sessions) = self.sessions.get() else {
            return error(404, "no_sessions", "no sessions are made here: sessions.enabled is false");
        };
        match sessions.open(visitor) {
            Ok(Some(json)) => (200, String::from_utf8_lossy(&json).into_owned() + "\n"),
            Ok(None) => error(
                404,
                "no_visitor",
                "nothing is known of this visitor; its sessions of before are in the topic `sessions`",
            ),
            Err(_) => error(
                503,
                "restoring",
                "the state of this visitor's partition is being restored; ask again in a moment",
            ),
        }
    }

    /// What became of an event, with a status for HTTP.
    fn explain(&self, id: &[u8], query: &str) -> (u16, String) {
        let error =
            |status, code: &str, message: &str| (status, json!({"code": code, "message": message}).to_string() + "\n");
        let mut asked =
            explain::Asked { bytes_max: explain::BYTES_OF_A_REQUEST, ..explain::Asked::new(id, &self.member) };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("source", name) => asked.source = Some(door::http::percent_decoded(name)),
                ("body", _) => asked.body = true,
                _ => return error(400, "bad_query", "this takes source=NAME and body"),
            }
        }
        let open = |visitor: &[u8]| {
            let open = self.sessions.get()?.open(visitor).ok()??;
            serde_json::from_slice(&open).ok()
        };
        match explain::explain(&*self.log, &asked, &open, &mut |_| {}) {
            Ok(told) => (if told.is_found() { 200 } else { 404 }, told.json().to_string() + "\n"),
            Err(e) => error(500, "log", &e.to_string()),
        }
    }

    /// p50 and p99 from receipt to readable in `enriched`, since the start.
    pub fn latency(&self) -> (Option<Duration>, Option<Duration>) {
        (self.enrich.latency.quantile(0.5), self.enrich.latency.quantile(0.99))
    }
}

impl Site for Status {
    fn ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let condition = self.carrier.condition();
        let is_full = matches!(condition, Condition::Full(_));
        match condition {
            Condition::Well => {}
            Condition::Waits(why) => reasons.push(format!("Kafka: {why}")),
            Condition::Full(why) => reasons.push(format!(
                "the disk is full: {why}. Events are refused until there is room, and then taken again by themselves; \
                     make room, or lower data.min_free"
            )),
            Condition::Stopped(why) => reasons.push(format!("the log stopped, restart this process: {why}")),
        }
        // What waits for the disk as well has nothing to add.
        if let Some(trouble) = self.trouble().filter(|t| t.fatal || !is_full) {
            reasons.push(trouble.reason);
        }
        if self.draining.load(Relaxed) {
            reasons.push("stopping: what was accepted is being finished".to_owned());
        }
        for input in self.inputs.lock().expect("no panic while held").iter() {
            if let Some(error) = input.error() {
                reasons.push(format!("input {} stopped: {error}", input.name));
            }
        }
        reasons
    }

    /// An old version of a reference file, or none, is no reason to turn senders away: their events say so themselves.
    fn degraded(&self) -> Vec<String> {
        let refused = self.sources.refused().into_iter();
        let mut degraded: Vec<String> =
            refused.map(|(name, why)| format!("a file of `{name}` is not in use: {why}")).collect();
        degraded.extend(self.lookups.remarks());
        degraded.extend(self.sources.lacks().iter().map(|lack| format!("no file in use has `{lack}`")));
        degraded
    }

    fn lookups(&self) -> Option<&dyn Directory> {
        Some(&self.named)
    }

    fn metrics(&self, out: &mut String) {
        let shared = self.carrier.is_shared();
        // On a log that others work on too, what this process did: what all did is the sum over them.
        let sums = match shared {
            true => Sums { accepted: self.collected().0, ..self.sums_of_run() },
            false => self.sums(),
        };
        let since = if shared { "by this process since its start" } else { "ever" };
        let mut metric = |name: &str, kind: &str, help: &str, value: f64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        metric("ouzel_events_received_total", "counter", "accepted + refused", sums.received() as f64);
        for (name, what, value) in [
            ("ouzel_events_accepted_total", "Events durable in raw", sums.accepted),
            ("ouzel_events_refused_total", "Events refused, with their dead letter in dlq", sums.refused),
            ("ouzel_events_processed_total", "Events passed on to enriched", sums.processed),
            ("ouzel_events_quarantined_total", "Events accepted and set aside in dlq", sums.quarantined),
            ("ouzel_events_deduplicated_total", "Events that were there before", sums.deduplicated),
        ] {
            metric(name, "counter", &format!("{what}, {since}."), value as f64);
        }
        for (name, help, value) in [
            ("ouzel_events_expired_total", "Events removed by retention before they were processed.", sums.expired),
            ("ouzel_commits_total", "Commits of the enrich stage since the start.", self.enrich.commits.load(Relaxed)),
        ] {
            metric(name, "counter", help, value as f64);
        }
        metric("ouzel_events_in_flight", "gauge", "Events accepted and not enriched yet.", sums.in_flight as f64);
        let help = "Within how many events of a partition a duplicate is told, the smallest of all partitions.";
        metric("ouzel_dedup_horizon_events", "gauge", help, self.enrich.horizon() as f64);
        let help = "Within how much received time a duplicate is told, the shortest of all partitions.";
        metric("ouzel_dedup_horizon_seconds", "gauge", help, self.enrich.horizon_seconds());
        metric("ouzel_events_rate", "gauge", "Events enriched a second.", self.rate());
        if !self.carrier.is_shared() {
            let help = "Events too late for their session, in the topic late, ever.";
            metric("ouzel_events_late_total", "counter", help, self.late() as f64);
        }
        if let Some(sessions) = self.sessions.get() {
            let (bytes, visitors) = sessions.parts.size();
            let lag = sessions.lag() as f64;
            metric("ouzel_sessions_lag_records", "gauge", "Records of enriched that are not in sessions yet.", lag);
            metric("ouzel_sessions_visitors", "gauge", "Visitors of whom something is kept.", visitors as f64);
            metric("ouzel_sessions_state_bytes", "gauge", "Memory for what is kept of visitors.", bytes as f64);
            let watermark = sessions.status.totals().watermark;
            if watermark != Micros::MIN {
                let help = "The watermark of the sessions stage, the lowest of its partitions, in seconds since 1970.";
                metric("ouzel_sessions_watermark_seconds", "gauge", help, watermark.0 as f64 / 1e6);
            }
        }
        let ready = self.ready().is_empty();
        metric("ouzel_ready", "gauge", "1 when /readyz has no reason against it.", f64::from(u8::from(ready)));
        let refused = self.sources.refused().len();
        metric(
            "ouzel_assets_refused",
            "gauge",
            "Reference files whose newest version is missing or bad, and not in use.",
            refused as f64,
        );
        let stats = self.carrier.journal().map(|journal| (journal.stats(), journal.queued_bytes()));
        for (name, help, value) in stats.iter().flat_map(|(stats, _)| {
            [
                ("ouzel_journal_frames_total", "Frames written since the start.", stats.frames as f64),
                ("ouzel_journal_bytes_total", "Bytes of frames written since the start.", stats.bytes as f64),
                ("ouzel_journal_sync_seconds_total", "Time in fdatasync since the start.", stats.sync_us as f64 / 1e6),
                ("ouzel_journal_syncs_total", "Calls of fdatasync since the start.", stats.syncs as f64),
            ]
        }) {
            metric(name, "counter", help, value);
        }
        if let Some((_, queued)) = stats {
            metric("ouzel_journal_queued_bytes", "gauge", "Bytes waiting for the disk.", queued as f64);
        }
        let sessions = self.sessions.get();
        let rebalances = self.seats.rebalances() + sessions.map_or(0, |s| s.seats.rebalances());
        let help = "How often partitions came to this process or went.";
        metric("ouzel_rebalances_total", "counter", help, rebalances as f64);
        self.write_lags(out);
        let help = "From handing in a stage's commit to its outcome.";
        self.commits.write_metrics(out, "ouzel_commit_seconds", help);
        self.enrich.latency.write_metrics(
            out,
            "ouzel_enrich_latency_seconds",
            "From an event's receipt to its enriched form being readable.",
        );
        self.lookups.write_metrics(out);
        self.http.write_metrics(out);
    }

    fn status(&self) -> Value {
        let sums = self.sums();
        let (p50, p99) = self.latency();
        let collected = self.collected();
        let ms = |d: Option<Duration>| d.map(|d| d.as_secs_f64() * 1e3);
        let inputs: Vec<Value> = self.inputs.lock().expect("no panic while held").iter().map(|i| i.json()).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.clock.elapsed().as_secs_f64(),
            "rate": self.rate(),
            "p50_ms": ms(p50),
            "p99_ms": ms(p99),
            "lag": sums.in_flight,
            "sums": sums.json(),
            "collected": {"accepted": collected.0, "refused": collected.1},
            "topics": self.topics(),
            "roles": self.roles.to_string(),
            "partitions": self.partitions(),
            "inputs": inputs,
            "data": {"dir": self.data.display().to_string(), "durability": self.durability},
            "lookups": self.lookups.status(),
            "watermark": watermark(self.enrich.totals().watermark),
            "enriched": sums.processed,
            "sessions": self.sessions.get().map(|s| {
                let (bytes, keys) = s.parts.size();
                let totals = s.status.totals();
                json!({"lag": s.lag(), "processed": totals.processed, "quarantined": totals.quarantined,
                       "visitors": keys, "state_bytes": bytes, "watermark": watermark(totals.watermark)})
            }),
        })
    }

    fn look(&self, at: &str, name: &[u8], query: &str) -> Option<(u16, String)> {
        match at {
            "/v1/sessions/" => Some(self.open_sessions(name)),
            "/v1/explain/" => Some(self.explain(name, query)),
            _ => None,
        }
    }

    fn admin(&self, method: &str, path: &str, _: &str, token: Option<&str>, body: &[u8]) -> Option<(u16, String)> {
        self.admin.answer(self, method, path, token, body)
    }
}

impl Status {
    /// Whose the sums are: `all`, or the partitions of this process alone.
    fn partitions(&self) -> Value {
        if !self.carrier.is_shared() {
            return json!("all");
        }
        let sessions = self.sessions.get().map(|s| s.seats.partitions()).unwrap_or_default();
        json!({"enrich": self.seats.partitions(), "sessions": sessions})
    }

    fn topics(&self) -> Vec<Value> {
        let bounds = |(p, (start, end)): (u32, (u64, u64))| json!({"partition": p, "start": start, "end": end});
        if let Some(journal) = self.carrier.journal() {
            let topic = |t: log::journal::TopicSize| {
                let partitions: Vec<Value> = (0..).zip(t.bounds.iter().copied()).map(bounds).collect();
                json!({"name": t.topic.name(), "records": t.records, "bytes": t.bytes, "partitions": partitions})
            };
            return journal.sizes().into_iter().map(topic).collect();
        }
        // What it reads, of its own partitions: all else has to be asked of the brokers.
        let sessions = self.sessions.get().map(|s| s.seats.partitions()).unwrap_or_default();
        let of = |topic: TopicId, mine: Vec<u32>| {
            let bounds_of = |p| self.log.bounds(topic.partition(p)).unwrap_or_default();
            let partitions: Vec<Value> = mine.into_iter().map(|p| bounds((p, bounds_of(p)))).collect();
            json!({"name": topic.name(), "partitions": partitions})
        };
        vec![of(RAW, self.seats.partitions()), of(ENRICHED, sessions)]
    }

    fn write_lags(&self, out: &mut String) {
        let name = "ouzel_lag_records";
        let help = "Records that a stage has not processed, by partition of this process.";
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        let enrich = self.lags().map(|(p, lag)| ("enrich", p, lag));
        let sessions = self.sessions.get().map(|s| s.lags().map(|(p, lag)| ("sessions", p, lag)));
        for (stage, partition, lag) in enrich.chain(sessions.into_iter().flatten()) {
            let _ = writeln!(out, "{name}{{stage=\"{stage}\",partition=\"{partition}\"}} {lag}");
        }
    }
}

impl InputStatus {
    pub fn failed(&self) -> bool {
        self.error.lock().expect("no panic while held").is_some()
    }

    /// The text of its error.
    pub fn error(&self) -> Option<String> {
        self.error.lock().expect("no panic while held").as_ref().map(ToString::to_string)
    }

    /// Who can do something about its error.
    pub fn error_kind(&self) -> Option<Kind> {
        self.error.lock().expect("no panic while held").as_ref().map(InputError::kind)
    }

    pub fn note(&self) -> Option<String> {
        self.note.lock().expect("no panic while held").clone()
    }

    /// Whether everything that is there was read and committed.
    pub fn at_end(&self) -> bool {
        self.progress.finished.load(Acquire) || self.progress.at_end.load(Acquire)
    }

    pub fn json(&self) -> Value {
        let p = &self.progress;
        json!({
            "name": self.name, "what": self.what,
            "bytes_read": p.bytes.load(Relaxed), "accepted": p.accepted.load(Relaxed),
            "refused": p.refused.load(Relaxed), "ended": p.finished.load(Relaxed),
            "waiting": p.waiting(), "note": self.note(), "error": self.error(),
        })
    }
}

fn watermark(w: Micros) -> Option<String> {
    (w != Micros::MIN).then(|| w.to_string())
}
