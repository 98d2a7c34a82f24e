//! `ouzel bench sessions`: what a session costs, in time, in memory and after a kill, with a million of them.
//!
//! * [`feed`]: the records to measure with
//! * [`stage`]: the stage alone (`apply`, `live` with `replay`)
//! * [`crowd`]: a program that holds a million visitors
//! * [`recovery`]: such a program, killed and started again
//! * [`snapshots`]: such a program with and without snapshots

pub(super) mod crowd;
mod feed;
mod recovery;
mod snapshots;
mod stage;

use serde_json::{Value, json};

use super::SessionsArgs;
use crate::exit::{Exit, Failed, Result};
use crate::{Global, term};

pub fn run(global: &Global, args: &SessionsArgs) -> Result {
    let mut out = json!({});
    for part in &args.parts {
        let figures = match part.as_str() {
            "apply" => json!({ "apply": stage::apply(global, args.events)? }),
            "live" => stage::live(global, args.visitors)?,
            "recovery" => json!({ "recovery": recovery::run(global, args)? }),
            "snapshots" => json!({ "snapshots": snapshots::run(global, args)? }),
            other => {
                let parts = "apply, live, recovery, snapshots";
                return Err(Failed::usage(format!("there is no part `{other}`; there are {parts}")));
            }
        };
        for (name, figures) in figures.as_object().into_iter().flatten() {
            if !global.json {
                show(name, figures);
            }
            out[name] = figures.clone();
        }
    }
    out["settings"] = json!({
        "rate": args.rate.to_string(), "secs": args.secs.to_string(), "visitors": args.visitors.to_string(),
        "sender": "same cores",
    });
    out["machine"] = super::machine();
    if global.json {
        println!("{out}");
    }
    Ok(Exit::Fine)
}

fn show(part: &str, f: &Value) {
    let n = |name: &str| f[name].as_f64().unwrap_or(0.0);
    let count = |name: &str| term::count(n(name) as u64);
    match part {
        "apply" => println!(
            "apply: {:.0} ns an event without updates, {:.0} ns with one for each, {:.0} ns as configured; {} visitors; floor {:.0} ns",
            n("off_ns"),
            n("each_ns"),
            n("configured_ns"),
            count("visitors"),
            n("floor_ns")
        ),
        "live" => println!(
            "live: {} sessions in {:.2} GiB: {:.0} B each, counted as {:.0}; {:.0} ns a first event, {:.0} ns a later one",
            count("sessions"),
            n("resident_gib"),
            n("bytes_per_session"),
            n("counted_bytes_per_session"),
            n("first_event_ns"),
            n("later_events_ns")
        ),
        "replay" => println!("replay: {} events/s, one core", count("events_per_s")),
        "recovery" => println!(
            "recovery: answers after {:.2} s, first output after {:.2} s, all partitions after {:.2} s, caught up after {:.2} s; {} events replayed",
            n("answered_s"),
            n("first_output_s"),
            n("all_partitions_s"),
            n("caught_up_s"),
            count("replayed_events")
        ),
        _ => println!(
            "snapshots: p99 {:.1} ms with, {:.1} ms without; of sessions {:.1} ms with, {:.1} ms without",
            f["with"]["p99_ms"].as_f64().unwrap_or(0.0),
            f["without"]["p99_ms"].as_f64().unwrap_or(0.0),
            f["with"]["sessions_p99_ms"].as_f64().unwrap_or(0.0),
            f["without"]["sessions_p99_ms"].as_f64().unwrap_or(0.0)
        ),
    }
}

/// The middle one; of an even number the higher of the two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of every figure of some runs.
pub(super) fn medians(runs: &[Value]) -> Value {
    let first = runs.first().and_then(Value::as_object).into_iter().flatten();
    let of = |name: &str| median(runs.iter().filter_map(|run| run[name].as_f64()).collect());
    first.filter(|(_, value)| value.is_number()).map(|(name, _)| (name.clone(), json!(of(name)))).collect()
}
