//! What is seen of lookups over a connection: metrics of each source and tier, remarks, the status page's numbers.

use std::fmt::Write as _;

use ask::counters::Reads;
use lookup::service::{Latency, Report};
use serde_json::{Value, json};

use super::running::Lookups;

/// A metric: its name, kind and help, and what each lookup has under it, with labels beside its name.
type Metric = (&'static str, &'static str, &'static str, fn(&Report) -> Vec<(String, u64)>);

fn plain(value: u64) -> Vec<(String, u64)> {
    vec![(String::new(), value)]
}

fn labelled<const N: usize>(label: &str, values: [(&str, u64); N]) -> Vec<(String, u64)> {
    values.into_iter().map(|(of, value)| (format!(",{label}=\"{of}\""), value)).collect()
}

fn reads(report: &Report) -> Vec<(String, u64)> {
    let tiers = [("local", report.local.reads), ("shared", report.desk.shared), ("source", report.desk.source)];
    let of = |(tier, Reads { hits, negative, stale, misses }): (&str, Reads)| {
        let results = [("hit", hits), ("negative", negative), ("stale", stale), ("miss", misses)];
        let tier = format!(",tier=\"{tier}\"");
        labelled("result", results).into_iter().map(move |(result, count)| (format!("{tier}{result}"), count))
    };
    tiers.into_iter().flat_map(of).collect()
}

fn settled(report: &Report) -> Vec<(String, u64)> {
    let s = report.desk.settled;
    let settled = [
        ("ok", s.ok),
        ("miss", s.miss),
        ("stale", s.stale),
        ("timeout", s.timeout),
        ("error", s.error),
        ("open", s.open),
    ];
    labelled("outcome", settled)
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";

const METRICS: [Metric; 18] = [
    ("ouzel_lookup_reads_total", COUNTER, "What each tier had: values, negatives, stale ones, nothing.", reads),
    ("ouzel_lookup_asks_total", COUNTER, "Asks that the local cache did not settle, by how they ended.", settled),
    ("ouzel_lookup_coalesced_total", COUNTER, "Asks that joined one under way.", |r| plain(r.desk.coalesced)),
    ("ouzel_lookup_cancelled_total", COUNTER, "Asks whose asker went away.", |r| plain(r.desk.cancelled)),
    ("ouzel_lookup_handed_over_total", COUNTER, "Keys whose first asker left the others.", |r| {
        plain(r.desk.handed_over)
    }),
    ("ouzel_lookup_refreshed_total", COUNTER, "Values fetched anew before their end.", |r| plain(r.desk.refreshed)),
    ("ouzel_lookup_calls_total", COUNTER, "Calls of the source, retries among them.", |r| plain(r.desk.calls)),
    ("ouzel_lookup_retries_total", COUNTER, "Calls that were made again.", |r| plain(r.desk.retries)),
    ("ouzel_lookup_failures_total", COUNTER, "Calls, or reads of the shared cache, that failed.", |r| {
        labelled("tier", [("source", r.desk.failed), ("shared", r.desk.shared_failed)])
    }),
    ("ouzel_lookup_late_total", COUNTER, "Keys whose answer came when nobody waited.", |r| plain(r.desk.late)),
    ("ouzel_lookup_breaker_opened_total", COUNTER, "How often a tier began to be left alone.", |r| {
        labelled("tier", [("source", r.desk.opened), ("shared", r.desk.shared_opened)])
    }),
    ("ouzel_lookup_leases_total", COUNTER, "Who of the processes may call: this one, or another.", |r| {
        labelled("result", [("granted", r.desk.leases_granted), ("taken", r.desk.leases_taken)])
    }),
    ("ouzel_lookup_breaker_open", GAUGE, "1 while the source is left alone.", |r| plain(u64::from(r.desk.open))),
    ("ouzel_lookup_in_flight", GAUGE, "Calls in flight.", |r| plain(r.desk.in_flight as u64)),
    ("ouzel_lookup_queued", GAUGE, "Keys that wait for a call.", |r| plain(r.desk.queued as u64)),
    ("ouzel_lookup_cache_entries", GAUGE, "Entries of the local cache.", |r| plain(r.local.entries as u64)),
    ("ouzel_lookup_cache_bytes", GAUGE, "Memory that the local cache takes.", |r| plain(r.local.resident as u64)),
    ("ouzel_lookup_evicted_total", COUNTER, "Entries given up before their time.", |r| plain(r.local.evicted)),
];

const SECONDS: &str = "ouzel_lookup_seconds";

impl Lookups {
    /// Appends the metrics of all, in Prometheus' text format.
    pub fn write_metrics(&self, out: &mut String) {
        let reports: Vec<(&str, Report)> = self.iter().map(|(name, service)| (name, service.report())).collect();
        if reports.is_empty() {
            return;
        }
        for (name, kind, help, of) in METRICS {
            header(out, name, kind, help);
            for (lookup, report) in &reports {
                for (labels, value) in of(report) {
                    let _ = writeln!(out, "{name}{{lookup=\"{lookup}\"{labels}}} {value}");
                }
            }
        }
        header(
            out,
            SECONDS,
            "histogram",
            "How long asks took that the local cache did not settle, and each tier behind it.",
        );
        for (lookup, report) in &reports {
            let l = &report.latencies;
            for (of, latency) in [("ask", &l.asks), ("shared", &l.shared), ("source", &l.source)] {
                histogram(out, &format!("lookup=\"{lookup}\",of=\"{of}\""), latency);
            }
        }
    }

    /// Sources that are left alone, one sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let of = |name: &str, report: Report| {
            let heard = report.failed.map(|failed| format!(": {}", failed.message)).unwrap_or_default();
            report.desk.open.then(|| format!("lookup `{name}`: its source fails and is left alone for a while{heard}"))
        };
        self.iter().filter_map(|(name, service)| of(name, service.report())).collect()
    }

    /// For `/status.json`.
    pub fn status(&self) -> Value {
        let ms = |us: Option<u64>| us.map(|us| us as f64 / 1e3);
        let now = self.clock.elapsed().as_micros() as u64;
        let of = |name: &str, report: Report| {
            let Report { local, desk, latencies, failed } = report;
            let failed = failed
                .map(|failed| json!({"message": failed.message, "ago_s": now.saturating_sub(failed.at) as f64 / 1e6}));
            json!({
                "name": name, "entries": local.entries, "resident_bytes": local.resident, "hits": local.reads.hits,
                "negative": local.reads.negative, "misses": local.reads.misses, "asked": desk.asked, "calls": desk.calls,
                "failed_calls": desk.failed, "in_flight": desk.in_flight, "breaker_open": desk.open,
                "ask_p50_ms": ms(latencies.asks.within(50)), "ask_p99_ms": ms(latencies.asks.within(99)),
                "source_p50_ms": ms(latencies.source.within(50)), "source_p99_ms": ms(latencies.source.within(99)),
                "failed": failed,
            })
        };
        self.iter().map(|(name, service)| of(name, service.report())).collect()
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn histogram(out: &mut String, labels: &str, latency: &Latency) {
    let mut below = 0;
    for (bucket, count) in latency.counts.iter().enumerate() {
        below += count;
        // The last bucket has no end.
        let bound = if bucket + 1 < latency.counts.len() {
            ((1u64 << bucket) as f64 / 1e6).to_string()
        } else {
            "+Inf".to_owned()
        };
        let _ = writeln!(out, "{SECONDS}_bucket{{{labels},le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(out, "{SECONDS}_sum{{{labels}}} {}", latency.sum_us as f64 / 1e6);
    let _ = writeln!(out, "{SECONDS}_count{{{labels}}} {below}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up_to_all_of_them() {
        let mut latency = Latency::default();
        (latency.counts[3], latency.counts[21], latency.sum_us) = (2, 1, 1_500_000);
        let mut out = String::new();
        histogram(&mut out, "lookup=\"a\"", &latency);
        for line in [
            "ouzel_lookup_seconds_bucket{lookup=\"a\",le=\"0.000004\"} 0",
            "ouzel_lookup_seconds_bucket{lookup=\"a\",le=\"0.000008\"} 2",
            "ouzel_lookup_seconds_bucket{lookup=\"a\",le=\"+Inf\"} 3",
            "ouzel_lookup_seconds_sum{lookup=\"a\"} 1.5",
            "ouzel_lookup_seconds_count{lookup=\"a\"} 3",
        ] {
            assert!(out.lines().any(|l| l == line), "{line}\n{out}");
        }
    }
}
