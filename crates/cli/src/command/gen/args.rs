//! What is asked for, read and checked.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use event::Micros;
use node::config::units;
use ouzel_gen::generator::{DEFAULT_PEOPLE, peak_of, people_for};
use ouzel_gen::{Disorder, GenConfig, GenError, Pace};

use crate::exit::with_help;
use crate::term;

#[derive(clap::Args)]
pub struct GenArgs {
    /// Ends after so many records; without it and --for it goes on until nobody reads any more
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Ends after so long ("60s", "1h"): real time when it is paced, the marketplace's otherwise
    #[arg(long = "for", value_name = "DURATION")]
    span: Option<String>,
    /// Another seed is another marketplace; the same one makes the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many people there are; 100,000, or with --rate as many as make so many events [200 to a billion]
    #[arg(long, value_name = "N")]
    people: Option<u64>,

    /// Records a second of real time, each sent when it is due, however slow the receiver is
    #[arg(long, value_name = "PER_SECOND", help_heading = "Pace")]
    rate: Option<f64>,
    /// Plays the day so many times as fast as it is; 1 is as people live
    #[arg(long, value_name = "FACTOR", conflicts_with = "rate", help_heading = "Pace")]
    speed: Option<f64>,
    /// The time of the first event (2026-11-22T12:00:00Z); now when it is paced
    #[arg(long, value_name = "TIME", help_heading = "Pace")]
    start: Option<String>,

    /// Writes NDJSON to this file instead of standard output
    #[arg(long, value_name = "FILE", conflicts_with = "to", help_heading = "Where to")]
    output: Option<PathBuf>,
    /// Sends batches to an Ouzel (http://127.0.0.1:7070) or to whoever takes the same
    #[arg(long, value_name = "URL", help_heading = "Where to")]
    to: Option<String>,
    /// Records in a batch
    #[arg(long, value_name = "N", default_value_t = 100, requires = "to", help_heading = "Where to")]
    batch: usize,
    /// Connections that send side by side; with one, batches arrive in order
    #[arg(long, value_name = "N", default_value_t = 8, requires = "to", help_heading = "Where to")]
    connections: usize,
    /// Writes people.ndjson, devices.ndjson and events.ndjson: what is so, which the events do not say
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    truth: Option<PathBuf>,

    /// Nothing goes wrong; the rates below are 0 unless given
    #[arg(long, help_heading = "What goes wrong")]
    clean: bool,
    /// Events that arrive seconds to minutes after they happened [2%]
    #[arg(long, value_name = "SHARE", help_heading = "What goes wrong")]
    late: Option<String>,
    /// Events that are sent once more, with a new sentAt [5%]
    #[arg(long, value_name = "SHARE", help_heading = "What goes wrong")]
    doubled: Option<String>,
    /// Events after which another payload comes with the same id [0.1%]
    #[arg(long, value_name = "SHARE", help_heading = "What goes wrong")]
    conflicting: Option<String>,
    /// Events that arrive broken: cut off, no UTF-8, without a type, with a wrong one [1%]
    #[arg(long, value_name = "SHARE", help_heading = "What goes wrong")]
    malformed: Option<String>,
    /// Events whose timestamp is hours ahead [0.1%]
    #[arg(long, value_name = "SHARE", help_heading = "What goes wrong")]
    future: Option<String>,
    /// Devices whose clock is off, in timestamp and sentAt, by up to four minutes [2%]
    #[arg(long, value_name = "SHARE", help_heading = "What goes wrong")]
    skewed: Option<String>,
    /// Everything arrives up to this much later, so that neighbours change places [0s]
    #[arg(long, value_name = "DURATION", help_heading = "What goes wrong")]
    shuffled: Option<String>,
}

/// What is to be done.
pub struct Plan {
    pub config: GenConfig,
    pub events: Option<u64>,
    /// Of the marketplace's time, in microseconds.
    pub span_us: Option<i64>,
    /// Seconds of the marketplace in a real one.
    pub speed: Option<f64>,
    /// The start is the moment in which everything is ready.
    pub starts_now: bool,
    pub sink: Sink,
    pub batch: usize,
    pub connections: usize,
    pub truth: Option<PathBuf>,
}

pub enum Sink {
    Stdout,
    File(PathBuf),
    Http(Target),
}

pub struct Target {
    pub url: String,
    pub addr: SocketAddr,
    pub path: String,
}

/// More records in a batch would be more than a door takes: 1 MiB holds about 870 events.
const BATCH_MAX: usize = 800;
const CONNECTIONS_MAX: usize = 256;

impl GenArgs {
    /// # Errors
    /// What is wrong, for people.
    pub fn plan(&self, now: Micros) -> Result<Plan, String> {
        let disorder = self.disorder()?;
        if let Some(speed) = self.speed
            && !(speed > 0.0 && speed <= 1e6)
        {
            return Err("--speed is a factor above 0 and at most a million".to_owned());
        }
        let default = match self.rate {
            Some(rate) => people_for(rate),
            None => DEFAULT_PEOPLE,
        };
        let people = self.people.unwrap_or(default);
        let paced = self.rate.is_some() || self.speed.is_some();
        let start = match &self.start {
            Some(text) => time(text)?,
            None if paced => now,
            None => GenConfig::default().start,
        };
        let pace = match self.rate {
            Some(per_s) => Pace::Even { per_s },
            None => Pace::Daily { peak_per_s: peak_of(people) },
        };
        let speed = self.speed.or(self.rate.map(|_| 1.0));
        let span_us = match &self.span {
            Some(text) => {
                let span = duration("--for", text)?;
                Some((span.as_micros() as f64 * speed.unwrap_or(1.0)) as i64)
            }
            None => None,
        };
        if !(1..=BATCH_MAX).contains(&self.batch) {
            return Err(format!("--batch is from 1 to {BATCH_MAX}: a batch of more is over a door's limit of 1 MiB"));
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(format!("--connections is from 1 to {CONNECTIONS_MAX}"));
        }
        let sink = match (&self.output, &self.to) {
            (Some(path), _) if path.as_os_str() == "-" => Sink::Stdout,
            (Some(_), _) if self.events.is_none() && span_us.is_none() => {
                return Err(with_help(
                    "a file needs an end: it would fill the disk",
                    "add --events N or --for DURATION",
                ));
            }
            (Some(path), _) => Sink::File(path.clone()),
            (None, Some(url)) => Sink::Http(target(url)?),
            (None, None) => Sink::Stdout,
        };
        Ok(Plan {
            config: GenConfig { seed: self.seed, people, start, pace, disorder },
            events: self.events,
            span_us,
            speed,
            starts_now: paced && self.start.is_none(),
            sink,
            batch: self.batch,
            connections: self.connections,
            truth: self.truth.clone(),
        })
    }

    fn disorder(&self) -> Result<Disorder, String> {
        let mut disorder = if self.clean { Disorder::NONE } else { Disorder::USUAL };
        for (name, text, rate) in [
            ("--late", &self.late, &mut disorder.late),
            ("--doubled", &self.doubled, &mut disorder.doubled),
            ("--conflicting", &self.conflicting, &mut disorder.conflicting),
            ("--malformed", &self.malformed, &mut disorder.malformed),
            ("--future", &self.future, &mut disorder.future),
            ("--skewed", &self.skewed, &mut disorder.skewed),
        ] {
            if let Some(text) = text {
                *rate = share(text).map_err(|e| format!("{name} {text}: {e}"))?;
            }
        }
        if let Some(text) = &self.shuffled {
            disorder.shuffled_us = duration("--shuffled", text)?.as_micros() as i64;
        }
        Ok(disorder)
    }
}

/// Why there can be no such marketplace, with what to do.
pub fn explain(e: &GenError) -> String {
    match e {
        GenError::People => with_help(&format!("--people: {e}"), "100,000 are the default; 80 million are no problem"),
        GenError::Rate => with_help(&format!("--rate: {e}"), "--rate 1000 sends 1,000 events a second"),
        GenError::TooFewPeople { people, per_s, least } => with_help(
            &format!("{} people do not make {per_s} events a second: they would never sleep", term::count(*people)),
            &format!("--people {least} or more, or leave --people out: then there are enough"),
        ),
        GenError::Disorder(what) => with_help(
            &format!("what is to go wrong does not go together: {what}"),
            "--clean sets all rates to 0; those given beside it count",
        ),
    }
}

/// "2%", "0.1%", to a millionth.
fn share(text: &str) -> Result<u32, String> {
    let wanted = "a share is written as a percentage with up to four places: 2%, 0.1%";
    let number = text.trim().strip_suffix('%').ok_or(wanted)?.trim();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 4 || !digits(whole) || !digits(part) {
        return Err(wanted.to_owned());
    }
    let whole: u32 = whole.parse().map_err(|_| wanted)?;
    let millionths = whole * 10_000 + format!("{part:0<4}").parse::<u32>().map_err(|_| wanted)?;
    if millionths > 1_000_000 { Err("more than all".to_owned()) } else { Ok(millionths) }
}

fn duration(name: &str, text: &str) -> Result<Duration, String> {
    let span = units::duration(text).map_err(|e| format!("{name} {text}: {e}"))?;
    // A century: what is longer is a mistake, and would not fit a time.
    const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
    if span > LONGEST { Err(format!("{name} {text}: at most a hundred years")) } else { Ok(span) }
}

fn time(text: &str) -> Result<Micros, String> {
    let time = Micros::parse_rfc3339(text.as_bytes());
    // Before 1970 and after 2200 events are refused; a century is left for the run.
    let latest = Micros(Micros::LATEST.0 - 101 * 366 * 86_400 * Micros::SECOND);
    let earliest = Micros(86_400 * Micros::SECOND);
    time.filter(|t| (earliest..latest).contains(t)).ok_or_else(|| {
        with_help(
            &format!("--start {text}: this is no time from 1970 to 2098"),
            "write it as 2026-11-22T12:00:00Z, with its zone",
        )
    })
}

fn target(url: &str) -> Result<Target, String> {
    let wrong = |what: &str| with_help(&format!("--to {url}: {what}"), "write it as http://127.0.0.1:7070");
    if url.starts_with("https://") {
        return Err(with_help(&format!("--to {url}: events are sent without TLS"), "send to a port on this machine"));
    }
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("this is no http address"))?;
    let (host, path) = rest.split_once('/').map_or((rest, "".to_owned()), |(host, path)| (host, format!("/{path}")));
    if host.is_empty() || !path.bytes().chain(host.bytes()).all(|b| b.is_ascii_graphic()) {
        return Err(wrong("this is no http address"));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
    let addr = with_port.to_socket_addrs().ok().and_then(|mut all| all.next());
    let addr = addr.ok_or_else(|| wrong("there is no such host"))?;
    let path = if matches!(path.as_str(), "" | "/") { "/v1/events".to_owned() } else { path };
    Ok(Target { url: url.to_owned(), addr, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_to_a_millionth() {
        for (text, millionths) in
            [("2%", 20_000), ("0.1%", 1_000), ("0.0001%", 1), ("100%", 1_000_000), (" 5 %", 50_000), ("0%", 0)]
        {
            assert_eq!(share(text), Ok(millionths), "{text}");
        }
        for wrong in ["2", "0.02", "%", "101%", "-1%", "0.00001%", "1e2%", "1.%x", "+3%", "٣%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn receivers_are_named_as_people_name_them() {
        for (url, addr, path) in [
            ("http://127.0.0.1:7070", "127.0.0.1:7070", "/v1/events"),
            ("http://127.0.0.1:7070/", "127.0.0.1:7070", "/v1/events"),
            ("http://127.0.0.1/v1/batch", "127.0.0.1:80", "/v1/batch"),
            ("http://[::1]:81/x?y=z", "[::1]:81", "/x?y=z"),
        ] {
            let target = target(url).expect(url);
            assert_eq!((target.addr.to_string().as_str(), target.path.as_str()), (addr, path));
        }
        for wrong in ["127.0.0.1:7070", "https://127.0.0.1", "http://", "http:///x", "http://a b/", "ftp://x"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }
}
