//! What a takeover consists of, from what the groups' coordinator says and what workers log.
//!
//! ```text
//!  killed ──► missed ──────► assigned ─────────────► granted ──────► first output
//!     session timeout  rebalance   open transactions      restore
//!                                  of the dead are ended
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use event::Micros;
use log_kafka::KafkaConfig;
use log_kafka::watch::Groups;
use serde_json::{Value, json};

use crate::exit::{Failed, Result};

const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Looks at groups until it is ended: when is a member missed?
pub struct Looks {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Missed>>,
}

/// When a group was first without the members of a slot.
pub type Missed = (String, Duration);

impl Looks {
    /// From now on, for the members of processes with this slot.
    pub fn start(config: &KafkaConfig, groups: &[&str], slot: u32) -> Result<Looks> {
        let failed = |why: &dyn std::fmt::Display| Failed::environment("looking at the groups", why);
        let client = Groups::open(config).map_err(|why| failed(&why))?;
        let (stop, slot) = (Arc::new(AtomicBool::new(false)), slot.to_string());
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let stopped = stop.clone();
        let begun = Instant::now();
        let look = move || {
            let mut missed: Vec<Missed> = Vec::new();
            while !stopped.load(Relaxed) {
                for group in groups.iter().filter(|g| !missed.iter().any(|(m, _)| m == *g)).collect::<Vec<_>>() {
                    let Some(look) = client.look(group) else { continue };
                    if !look.members.iter().any(|id| client.is_of_slot(group, id, &slot)) {
                        missed.push((group.clone(), begun.elapsed()));
                    }
                }
                std::thread::sleep(LOOK_EVERY);
            }
            missed
        };
        let thread = std::thread::Builder::new().name("looks".to_owned()).spawn(look);
        Ok(Looks { stop, thread: thread.map_err(|e| failed(&e))? })
    }

    pub fn end(self) -> Vec<Missed> {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Parts of a takeover, as far as they can be told apart.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Takeover {
    pub session_timeout: Option<Duration>,
    pub rebalance: Option<Duration>,
    pub orphans: Option<Duration>,
    pub restore: Option<Duration>,
}

impl Takeover {
    /// All since the kill. `granted`: when partitions were, and how long that took after they were assigned. `resumed`: when the
    /// last of the partitions had an output again.
    pub fn of(group: &str, missed: &[Missed], granted: &[(Duration, Duration)], resumed: Option<Duration>) -> Takeover {
        let missed = missed.iter().find(|(of, _)| of == group).map(|(_, at)| *at);
        let Some(last) = granted.iter().map(|(at, _)| *at).max() else {
            return Takeover { session_timeout: missed, ..Takeover::default() };
        };
        let assigned = granted.iter().map(|(at, took)| at.saturating_sub(*took)).max().unwrap_or(last);
        Takeover {
            session_timeout: missed,
            rebalance: missed.map(|missed| assigned.saturating_sub(missed)),
            orphans: Some(last.saturating_sub(assigned)),
            restore: resumed.map(|resumed| resumed.saturating_sub(last)),
        }
    }
}

pub fn write_takeover(figures: &mut Value, group: &str, takeover: &Takeover) {
    let Takeover { session_timeout, rebalance, orphans, restore } = takeover;
    for (name, span) in
        [("session_timeout", session_timeout), ("rebalance", rebalance), ("orphans", orphans), ("restore", restore)]
    {
        if let Some(span) = span {
            figures[format!("{group}_{name}_s")] = json!(span.as_secs_f64());
        }
    }
}

/// The lines of a worker's log that say that partitions were granted: when, since that moment, and how long it took. `member`:
/// how the names of members begin.
pub fn grants(log: &str, member: &str, since: Micros) -> Vec<(Duration, Duration)> {
    let grant = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = &line["fields"];
        if fields["message"] != "granted" || !fields["member"].as_str()?.starts_with(member) {
            return None;
        }
        let at = Micros::parse_rfc3339(line["timestamp"].as_str()?.as_bytes())?;
        let since = u64::try_from(at.0 - since.0).ok()?;
        Some((Duration::from_micros(since), parse_span(fields["took"].as_str()?)?))
    };
    log.lines().filter_map(grant).collect()
}

/// A duration as Rust shows it for debugging: `1.25ms`.
fn parse_span(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(at);
    let unit_s = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit_s).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn grants_are_read_from_a_log() {
        let line = |time: &str, member: &str, message: &str| {
            format!(
                r#"{{"timestamp":"2026-11-27T18:00:{time}Z","level":"INFO","fields":{{"message":"{message}","member":"{member}","partitions":2,"took":"12.5ms"}},"target":"kafka"}}"#
            )
        };
        let log = [
            line("01.000000", "b.enrich-0-0", "granted"),
            line("08.250000", "b.enrich-0-0", "granted"),
            line("08.250000", "b.sessions-0-0", "granted"),
            line("08.250000", "b.enrich-0-0", "fenced"),
            "thread 'main' panicked".to_owned(),
        ]
        .join("\n");
        let since = Micros::parse_rfc3339(b"2026-11-27T18:00:02Z").expect("a time");
        assert_eq!(grants(&log, "b.enrich-", since), [(MS(6250), Duration::from_micros(12_500))]);
    }

    #[test]
    fn spans_are_read_as_they_are_written() {
        for span in [Duration::ZERO, Duration::from_nanos(7), Duration::from_micros(12), MS(1500), MS(7)] {
            assert_eq!(parse_span(&format!("{span:?}")), Some(span), "{span:?}");
        }
        assert_eq!(parse_span("soon"), None);
    }

    #[test]
    fn a_takeover_is_told_in_parts_that_add_up() {
        let missed = [("enrich".to_owned(), MS(5_800)), ("sessions".to_owned(), MS(5_900))];
        // Two survivors; the later grant waited for a transaction to be ended.
        let granted = [(MS(6_000), MS(50)), (MS(6_500), MS(400))];
        let parts = Takeover::of("enrich", &missed, &granted, Some(MS(6_700)));
        let want = Takeover {
            session_timeout: Some(MS(5_800)),
            rebalance: Some(MS(300)),
            orphans: Some(MS(400)),
            restore: Some(MS(200)),
        };
        assert_eq!(parts, want);
        let sum = want.session_timeout.into_iter().chain(want.rebalance).chain(want.orphans).chain(want.restore);
        assert_eq!(sum.sum::<Duration>(), MS(6_700));
        // What was not seen is not told.
        assert_eq!(Takeover::of("sessions", &[], &[], Some(MS(1))), Takeover::default());
        let mut figures = json!({});
        write_takeover(&mut figures, "enrich", &Takeover { restore: None, ..want });
        assert_eq!(figures["enrich_rebalance_s"], 0.3);
        assert!(figures.get("enrich_restore_s").is_none(), "{figures}");
    }
}
