//! What the front line counts. Relaxed atomics: each number is right, no two of them are of one moment.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use event::Code;

/// Shared by all connections and read by `/metrics` and the status page.
#[derive(Default)]
pub struct Counters {
    /// Answers by the first digit of their status: index 2 is 2xx.
    pub answers: [Count; 6],
    /// Body bytes as they came, compressed or not.
    pub body_bytes: Count,
    /// Body bytes after decompression.
    pub inflated_bytes: Count,
    /// Events that are durable in `raw`.
    pub accepted: Count,
    /// Events whose dead letter is durable in `dlq`.
    pub refused: Count,
    /// `refused` by code, in the order of [`Code::ALL`].
    refused_by_code: [Count; CODES],
    /// Batches turned away because too much was in flight.
    pub shed: Count,
    /// Batches whose commit was aborted or has an unknown outcome.
    pub not_stored: Count,
    /// From the end of a batch's body to its answer.
    pub ack: Histogram,
    /// Keys that were answered for.
    pub lookup_keys: Count,
    /// Requests for keys that were turned away because too many were being asked for.
    pub lookups_shed: Count,
    /// From the end of the body of a request for keys to its answer.
    pub lookups: Histogram,
    pub connections_open: Count,
    pub connections_total: Count,
    /// Connections refused because there were too many, in all or of one address.
    pub connections_refused: Count,
    /// Connections closed because a head, a body or the taking of an answer was too slow.
    pub too_slow: Count,
    /// Times the accept loop had to wait for descriptors or memory.
    pub accept_backoffs: Count,
}

const CODES: usize = Code::ALL.len();

/// A number that is added to.
#[derive(Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Counters {
    pub(super) fn answered(&self, status: u16) {
        self.answers[usize::from(status / 100).min(5)].add(1);
    }

    pub(super) fn refused_by(&self, tally: &Tally) {
        for (count, n) in self.refused_by_code.iter().zip(tally.0) {
            if n > 0 {
                count.add(u64::from(n));
            }
        }
    }

    /// Refused events by code, in the order of [`Code::ALL`], those that occurred.
    pub fn refusals(&self) -> impl Iterator<Item = (Code, u64)> + '_ {
        let all = Code::ALL.iter().zip(&self.refused_by_code);
        all.map(|(code, count)| (*code, count.value())).filter(|(_, n)| *n > 0)
    }

    /// Appends the metrics in Prometheus' text format, each with its help and type.
    pub fn write_metrics(&self, out: &mut String) {
        header(out, "ouzel_http_answers_total", "counter", "Answers by class of status.");
        for class in 2..=5 {
            let n = self.answers[class].value();
            let _ = writeln!(out, "ouzel_http_answers_total{{class=\"{class}xx\"}} {n}");
        }
        for (name, help, count) in [
            ("ouzel_http_body_bytes_total", "Bytes of batches as received.", &self.body_bytes),
            ("ouzel_http_inflated_bytes_total", "Bytes of batches after decompression.", &self.inflated_bytes),
            ("ouzel_http_events_accepted_total", "Events accepted over HTTP, durable in raw.", &self.accepted),
            ("ouzel_http_batches_shed_total", "Batches turned away because too much was in flight.", &self.shed),
            ("ouzel_http_batches_not_stored_total", "Batches whose commit did not happen.", &self.not_stored),
            ("ouzel_http_lookup_keys_total", "Keys answered for over HTTP.", &self.lookup_keys),
            (
                "ouzel_http_lookups_shed_total",
                "Requests for keys turned away, too many being asked for.",
                &self.lookups_shed,
            ),
            ("ouzel_http_connections_total", "Connections accepted.", &self.connections_total),
            ("ouzel_http_connections_refused_total", "Connections over a limit.", &self.connections_refused),
            ("ouzel_http_connections_too_slow_total", "Connections closed for being too slow.", &self.too_slow),
            ("ouzel_http_accept_backoffs_total", "Waits for descriptors or memory.", &self.accept_backoffs),
        ] {
            header(out, name, "counter", help);
            let _ = writeln!(out, "{name} {}", count.value());
        }
        header(out, "ouzel_http_events_refused_total", "counter", "Events refused over HTTP, by reason.");
        for (code, count) in Code::ALL.iter().zip(&self.refused_by_code) {
            if code.outcome() == event::Outcome::Refused {
                let _ = writeln!(out, "ouzel_http_events_refused_total{{code=\"{}\"}} {}", code.name(), count.value());
            }
        }
        header(out, "ouzel_http_connections", "gauge", "Connections open now.");
        let _ = writeln!(out, "ouzel_http_connections {}", self.connections_open.value());
        let help = "From the end of a batch's body to its answer.";
        self.ack.write_metrics(out, "ouzel_http_ack_seconds", help);
        let help = "From the end of the body of a request for keys to its answer.";
        self.lookups.write_metrics(out, "ouzel_http_lookup_seconds", help);
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Refusals of one batch by code; added to [`Counters`] once they are durable.
#[derive(Clone)]
pub(super) struct Tally([u32; CODES]);

impl Tally {
    pub fn new() -> Tally {
        Tally([0; CODES])
    }

    pub fn add(&mut self, code: Code) {
        if let Some(at) = Code::ALL.iter().position(|c| *c == code) {
            self.0[at] += 1;
        }
    }
}

const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Up to 2^36 us, 19 hours.
const BUCKETS: usize = 36 * SUB;

/// Durations in microseconds, in buckets of an eighth of a power of two: a quantile is at most 12.5 % too high.
pub struct Histogram {
    buckets: [Count; BUCKETS],
    sum_us: Count,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: std::array::from_fn(|_| Count::default()), sum_us: Count::default() }
    }
}

impl Histogram {
    pub fn record(&self, span: Duration) {
        let us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(us)].add(1);
        self.sum_us.add(us);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Count::value).sum()
    }

    /// The duration that a share `q` (0 to 1) of all did not exceed; `None` while there are none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let total = self.count();
        let rank = ((total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(at, count)| {
            seen += count.value();
            (seen >= rank).then(|| Duration::from_micros(upper(at)))
        })
    }

    /// Appends it as a Prometheus histogram with a bound per power of two from 128 us to 16.8 s.
    pub fn write_metrics(&self, out: &mut String, name: &str, help: &str) {
        header(out, name, "histogram", help);
        let mut below = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            below += count.value();
            let bound = upper(at) + 1;
            if bound.is_power_of_two() && (128..=1 << 24).contains(&bound) {
                let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {below}", bound as f64 / 1e6);
            }
        }
        let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {below}");
        let _ = writeln!(out, "{name}_sum {}\n{name}_count {below}", self.sum_us.value() as f64 / 1e6);
    }
}

fn bucket(us: u64) -> usize {
    if us < SUB as u64 {
        return us as usize;
    }
    let exponent = us.ilog2();
    let sub = (us >> (exponent - SUB_BITS)) as usize & (SUB - 1);
    (((exponent - SUB_BITS + 1) as usize) * SUB + sub).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(at: usize) -> u64 {
    let (group, sub) = (at / SUB, (at % SUB) as u64);
    if group == 0 { sub } else { ((SUB as u64 + sub + 1) << (group - 1)) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_bucket_that_ends_at_or_just_above_it() {
        for us in (0..10_000).chain((0..30).flat_map(|e| [(1u64 << e) - 1, 1 << e, (1 << e) + 1])) {
            let at = bucket(us);
            assert!(upper(at) >= us, "{us}");
            assert!(at == 0 || upper(at - 1) < us, "{us}");
            assert!(upper(at) as f64 <= us as f64 * 1.125 + 1.0, "{us}");
        }
    }

    #[test]
    fn quantiles_and_the_exposition_agree_with_what_was_recorded() {
        let h = Histogram::default();
        assert_eq!(h.quantile(0.5), None);
        for us in 1..=1000u64 {
            h.record(Duration::from_micros(us));
        }
        let p50 = h.quantile(0.5).expect("values").as_micros();
        assert!((500..=563).contains(&p50), "{p50}");
        let mut out = String::new();
        h.write_metrics(&mut out, "x_seconds", "Help.");
        assert!(out.contains("x_seconds_bucket{le=\"0.000512\"} 511\n"), "{out}");
        assert!(out.ends_with("x_seconds_sum 0.5005\nx_seconds_count 1000\n"), "{out}");
    }

    #[test]
    fn metrics_name_every_reason_for_which_an_event_is_refused() {
        let counters = Counters::default();
        let mut tally = Tally::new();
        tally.add(Code::NotJson);
        counters.refused_by(&tally);
        let mut out = String::new();
        counters.write_metrics(&mut out);
        assert!(out.contains("ouzel_http_events_refused_total{code=\"not_json\"} 1\n"));
        assert!(out.contains("ouzel_http_events_refused_total{code=\"bad_line\"} 0\n"));
        assert!(!out.contains("operator_panic"));
    }
}
