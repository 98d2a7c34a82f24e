//! `ouzel bench kafka`: Ouzel on a real broker of this machine, its worker a process of its own, so that what it uses is its own.
//!
//! * [`place`]: the broker, topics, configurations
//! * [`child`], [`process`]: processes that are measured, and what they use
//! * [`load`]: events, as a process with the role `collect` writes them
//! * [`measure`]: one program under load (`latency`, `max`, `curve`, `--peer`)
//! * [`failover`], [`moments`]: a worker is killed and another starts, and what that consists of
//! * [`show`]: figures for people

mod child;
mod failover;
mod load;
mod measure;
mod moments;
mod place;
mod process;
mod show;

use std::time::Duration;

use serde_json::{Value, json};

use super::KafkaArgs;
use crate::Global;
use crate::exit::{Exit, Failed, Result};
use load::Pace;
use place::Place;

const PARTS: [&str; 4] = ["latency", "max", "curve", "failover"];
/// The default of `kafka.commit_age`.
const COMMIT_AGE_MS: u64 = 15;
const CURVE_MS: [u64; 5] = [5, 10, 20, 50, 100];
/// At which commit intervals both programs are measured: the peer's default when it is exactly once, and one for low latency.
const PEER_MS: [u64; 2] = [100, 10];

pub fn run(global: &Global, args: &KafkaArgs) -> Result {
    if let Some(other) = args.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
        return Err(Failed::usage(format!("there is no part `{other}`; there are {}", PARTS.join(", "))));
    }
    if args.runs == 0 || args.secs == 0 || args.rate == 0 || args.sessions == 0 {
        return Err(Failed::usage("--runs, --secs, --rate and --sessions are from 1 on"));
    }
    // Beside other work nothing is measured that says something: people see it before they wait.
    let machine = super::machine();
    let place = Place::open(global, args)?;
    if args.peer.is_some() {
        place.reference()?;
    }
    let bench = Bench { place: &place, args };
    let mut out = json!({});
    for part in &args.parts {
        let figures = match part.as_str() {
            "latency" => bench.at(part, COMMIT_AGE_MS)?,
            "max" => {
                let pace = Pace::Window(measure::WINDOW);
                measure::ouzel(&place, part, pace, Duration::from_millis(COMMIT_AGE_MS))?
            }
            "curve" => bench.curve()?,
            _ => failover::run(&place)?,
        };
        if !global.json {
            show::part(part, &figures);
        }
        out[part] = figures;
    }
    if let Some(command) = &args.peer {
        let figures = bench.peer(command, &out)?;
        if !global.json {
            show::peer(&figures);
        }
        out["peer"] = figures;
    }
    out["settings"] = json!({
        "rate": args.rate.to_string(), "secs": args.secs.to_string(), "sessions": args.sessions.to_string(),
        "partitions": "4, in failover 12", "broker": format!("1, same cores, heap {} MiB", place::HEAP),
        "sender": "same cores", "session_timeout_s": place::SESSION_TIMEOUT.as_secs().to_string(),
        "peer": args.peer.clone().unwrap_or_else(|| "none".to_owned()),
    });
    out["machine"] = machine;
    if global.json {
        println!("{out}");
    } else {
        show::settings(&out);
    }
    Ok(Exit::Fine)
}

struct Bench<'b> {
    place: &'b Place<'b>,
    args: &'b KafkaArgs,
}

impl Bench<'_> {
    fn at(&self, what: &str, commit_ms: u64) -> Result<Value> {
        measure::ouzel(self.place, what, Pace::Rate(self.args.rate), Duration::from_millis(commit_ms))
    }

    fn curve(&self) -> Result<Value> {
        let mut figures = json!({});
        for ms in CURVE_MS {
            figures[format!("{ms}_ms")] = self.at(&format!("curve: commit_age {ms} ms"), ms)?;
        }
        Ok(figures)
    }

    /// Both programs at the same load; what was measured of Ouzel already counts.
    fn peer(&self, command: &str, measured: &Value) -> Result<Value> {
        let mut figures = json!({});
        for ms in PEER_MS {
            let name = format!("{ms}_ms");
            let ours = match measured.pointer(&format!("/curve/{name}")) {
                Some(figures) => figures.clone(),
                None => self.at(&format!("Ouzel: commit_age {ms} ms"), ms)?,
            };
            let what = format!("peer: commit interval {ms} ms");
            let pace = Pace::Rate(self.args.rate);
            let theirs = measure::other(self.place, command, &what, pace, Duration::from_millis(ms))?;
            let ratio = ratio(&theirs, &ours, "cpu_s_per_million");
            figures[&name] = json!({ "ouzel": ours, "peer": theirs, "cpu_ratio": ratio });
        }
        Ok(figures)
    }
}

/// How many times as much they need.
fn ratio(theirs: &Value, ours: &Value, figure: &str) -> Option<f64> {
    let ours = ours[figure].as_f64().filter(|ours| *ours > 0.0)?;
    Some(theirs[figure].as_f64()? / ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_needs_both() {
        let figures = |cpu: f64| json!({ "cpu_s_per_million": cpu });
        assert_eq!(ratio(&figures(30.0), &figures(10.0), "cpu_s_per_million"), Some(3.0));
        assert_eq!(ratio(&figures(30.0), &figures(0.0), "cpu_s_per_million"), None);
        assert_eq!(ratio(&json!({}), &figures(10.0), "cpu_s_per_million"), None);
    }
}
