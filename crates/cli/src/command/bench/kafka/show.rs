//! The figures, for people.

use serde_json::Value;

use crate::term;

pub fn part(name: &str, figures: &Value) {
    match name {
        "latency" => {
            load(name, figures);
            times(figures);
        }
        "max" => {
            load("max (closed loop)", figures);
            let per_s = number(figures, "sessions_lag_per_s");
            let lag = term::count(number(figures, "sessions_lag").max(0.0) as u64);
            println!("  {lag} records of `enriched` wait for sessions at the end; {per_s:+.0} a second");
        }
        "curve" => {
            println!("curve: raw -> enriched, and -> sessions, by commit_age");
            for (age, of) in figures.as_object().into_iter().flatten() {
                println!(
                    "  {:>6}: p50 {:.1}, p99 {:.1} ms; sessions p50 {:.1}, p99 {:.1} ms; {:.1} CPU s per million",
                    age.replace('_', " "),
                    number(of, "p50_ms"),
                    number(of, "p99_ms"),
                    number(of, "sessions_p50_ms"),
                    number(of, "sessions_p99_ms"),
                    number(of, "cpu_s_per_million"),
                );
            }
        }
        _ => failover(figures),
    }
}

pub fn peer(figures: &Value) {
    println!("{:<34}{:>12}{:>12}", "", "Ouzel", "peer");
    for (interval, both) in figures.as_object().into_iter().flatten() {
        println!("commit interval {}", interval.replace('_', " "));
        for (what, name) in [
            ("events/s", "events_per_s"),
            ("CPU s per million events", "cpu_s_per_million"),
            ("resident MB, the most ever", "peak_mb"),
            ("raw -> enriched p50 ms", "p50_ms"),
            ("raw -> enriched p99 ms", "p99_ms"),
            ("raw -> sessions p50 ms", "sessions_p50_ms"),
            ("raw -> sessions p99 ms", "sessions_p99_ms"),
            ("broker's CPU s per million", "broker_cpu_s_per_million"),
            ("events that did not come out", "not_read"),
        ] {
            println!("  {what:<32}{:>12.1}{:>12.1}", number(&both["ouzel"], name), number(&both["peer"], name));
        }
        println!("  the peer needs {:.2} times the CPU", number(both, "cpu_ratio"));
    }
}

pub fn settings(out: &Value) {
    let said = |of: &str| {
        let all = out[of].as_object().into_iter().flatten();
        all.filter_map(|(name, value)| Some(format!("{name} {}", value.as_str()?))).collect::<Vec<_>>().join("; ")
    };
    println!("settings: {}", said("settings"));
    println!("machine: {}", said("machine"));
}

fn load(name: &str, f: &Value) {
    println!(
        "{name}: {} events/s; the worker: {:.1} CPU s per million, {:.0} MB resident, {:.0} at most",
        term::count(number(f, "events_per_s").max(0.0) as u64),
        number(f, "cpu_s_per_million"),
        number(f, "resident_mb"),
        number(f, "peak_mb"),
    );
    println!(
        "  beside it: the broker {:.1} CPU s per million, {:.0} MB; sender and reader {:.1} CPU s per million",
        number(f, "broker_cpu_s_per_million"),
        number(f, "broker_resident_mb"),
        number(f, "sender_and_reader_cpu_s_per_million"),
    );
}

fn times(f: &Value) {
    for (what, prefix) in [("enriched", ""), ("sessions", "sessions_")] {
        let ms = |name: &str| number(f, &format!("{prefix}{name}"));
        println!(
            "  raw -> {what}: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
            ms("p50_ms"),
            ms("p99_ms"),
            ms("p999_ms")
        );
    }
    let behind = number(f, "sends_behind");
    if behind > 0.0 {
        println!("  {behind:.0} batches were sent more than 1 ms late, which counts as theirs");
    }
}

fn failover(f: &Value) {
    println!(
        "failover: {} live sessions, made at {} a second; {:.0} MB resident each worker",
        term::count(number(f, "sessions").max(0.0) as u64),
        term::count(number(f, "filled_per_s").max(0.0) as u64),
        number(f, "resident_mb_each")
    );
    let (kill, join) = (&f["kill"], &f["join"]);
    for (group, topic) in [("enrich", "enriched"), ("sessions", "sessions")] {
        println!(
            "  killed: `{topic}` pauses {} ({} each)",
            pause(kill, topic),
            text(kill, &format!("{topic}_pauses_s"))
        );
        let s = |name: &str| number(kill, &format!("{group}_{name}_s"));
        println!(
            "    until it is missed {:.2} s, rebalance {:.2} s, its transactions ended {:.2} s, restored and first output {:.2} s",
            s("session_timeout"),
            s("rebalance"),
            s("orphans"),
            s("restore")
        );
    }
    println!("  a new worker has partitions after {:.2} s", number(join, "granted_s"));
    for topic in ["enriched", "sessions"] {
        println!(
            "  moved: `{topic}` pauses {} ({} each)",
            pause(join, topic),
            text(join, &format!("{topic}_pauses_s"))
        );
    }
}

fn pause(f: &Value, topic: &str) -> String {
    let s = |name: &str| number(f, &format!("{topic}_pause_{name}"));
    format!("{:.2} s at most, {:.2} s median; other partitions {:.2} s", s("max_s"), s("median_s"), s("of_others_s"))
}

fn number(f: &Value, name: &str) -> f64 {
    f[name].as_f64().unwrap_or(f64::NAN)
}

fn text<'v>(f: &'v Value, name: &str) -> &'v str {
    f[name].as_str().unwrap_or_default()
}
